package merge

import (
	"github.com/apache/arrow-go/v18/arrow"
)

// index finds a row by its key.
type index struct {
	ints  map[int64]int32 // of a single key that is a whole number at heart
	texts map[string]int32
}

func newIndex(keys []arrow.Array, n int) *index {
	if len(keys) == 1 && integer(keys[0]) != nil {
		return &index{ints: make(map[int64]int32, n)}
	}
	return &index{texts: make(map[string]int32, n)}
}

// keyBytes is the key at i; it is not ok when a part is null.
func keyBytes(b []byte, keys []arrow.Array, i int) (key []byte, ok bool) {
	for _, k := range keys {
		if k.IsNull(i) {
			return b, false
		}
		b = appendKey(b, k, i)
	}
	return b, true
}

// put notes row i, unless its key is known; then it returns the row that has it.
func (x *index) put(keys []arrow.Array, i int) (row int32, known, null bool) {
	if x.ints != nil {
		if keys[0].IsNull(i) {
			return 0, false, true
		}
		k := integer(keys[0])(i)
		if row, known = x.ints[k]; !known {
			x.ints[k] = int32(i)
		}
		return row, known, false
	}
	b, ok := keyBytes(nil, keys, i)
	if !ok {
		return 0, false, true
	}
	if row, known = x.texts[string(b)]; !known {
		x.texts[string(b)] = int32(i)
	}
	return row, known, false
}

// set makes row i that of its key.
func (x *index) set(keys []arrow.Array, i int) {
	if x.ints != nil {
		x.ints[integer(keys[0])(i)] = int32(i)
		return
	}
	b, _ := keyBytes(nil, keys, i)
	x.texts[string(b)] = int32(i)
}

// finder returns the function that finds the row for the key at i of other columns, or -1.
func (x *index) finder(keys []arrow.Array) func(i int) int32 {
	if x.ints != nil {
		a, at := keys[0], integer(keys[0])
		return func(i int) int32 {
			if a.IsNull(i) {
				return -1
			}
			if row, ok := x.ints[at(i)]; ok {
				return row
			}
			return -1
		}
	}
	var b []byte
	return func(i int) int32 {
		var ok bool
		if b, ok = keyBytes(b[:0], keys, i); !ok {
			return -1
		}
		if row, ok := x.texts[string(b)]; ok {
			return row
		}
		return -1
	}
}
