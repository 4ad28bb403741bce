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

// SeenRun is a Seen of which a store has all n files in one run, as if batches had loaded them.
func SeenRun(s objstore.Store, n int, file func(int) objstore.Object) (*Seen, error) {
	out, err := objstore.Create(context.Background(), s, "run")
	if err != nil {
		return nil, err
	}
	w, err := newRunWriter(out)
	if err != nil {
		return nil, err
	}
	for i := range n {
		o := file(i)
		row := Row{File: File{o, &FileOutcome{State: Loaded, Records: 10, Rows: 10, Tries: 1}}, Batch: int64(i / 1000), Planned: o.ModTime, Committed: o.ModTime}
		if err := w.add(keyed{o.Key, newEntry(row)}); err != nil {
			return nil, err
		}
	}
	index, err := w.end()
	if err != nil {
		return nil, err
	}
	if _, err := out.Close(); err != nil {
		return nil, err
	}
	return &Seen{log: newLog(s, "", Options{}), runs: []runHead{{Data: "run", Entries: int64(n), Index: index}}}, nil
}
