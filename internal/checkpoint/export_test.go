package checkpoint

import (
	"context"
	"fmt"

	"github.com/siltlake/silt/objstore"
)

// Seal gives lines the trailer of an object.
func Seal(lines string) string {
	return lines + fmt.Sprintf(`{"length":%d,"crc32c":%q}`, len(lines), checksum([]byte(lines))) + "\n"
}

// Lookup is a pass for one key.
func (s *Seen) Lookup(key string) (objstore.Object, bool) {
	lookup, end, err := s.Pass(context.Background())
	if err != nil {
		panic(err) // of a store in memory
	}
	defer end()
	o, known, _, err := lookup(key)
	if err != nil {
		panic(err)
	}
	return o, known
}

// Len is the number of files that no run holds.
func (s *Seen) Len() (n int) {
	for _, g := range s.groups {
		for key := range g.entries {
			if _, known, _ := s.Recent(key); known {
				n++
			}
		}
	}
	return n
}
