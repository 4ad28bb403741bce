package checkpoint

import "sort"

// runIndex tells where the blocks of a run begin, in ascending order.
type runIndex []blockStart

type blockStart struct {
	key    string // of its first entry
	offset int64  // bytes
}

// find returns the last block that begins at a key or before it, -1 for none.
func (x runIndex) find(key string) int {
	return sort.Search(len(x), func(i int) bool { return x[i].key > key }) - 1
}

func (x runIndex) append(b []byte) []byte {
	last := blockStart{}
	for _, s := range x {
		b = appendKey(b, last.key, s.key)
		b = appendUint(b, uint64(s.offset-last.offset))
		last = s
	}
	return b
}

// decodeIndex is of a run of so many bytes.
func decodeIndex(b []byte, size int64) (runIndex, error) {
	x := runIndex{}
	d := decoder{b: b}
	var key []byte
	for offset := int64(0); len(d.b) > 0; {
		key = d.key(key)
		offset += int64(min(d.uint(), uint64(size)))
		if d.bad || offset > size {
			return nil, errRun
		}
		x = append(x, blockStart{string(key), offset})
	}
	return x, nil
}
