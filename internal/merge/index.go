package merge

import (
	"hash/maphash"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
)

// index finds a row by its key. It is a table of rows by the hashes of their keys; the keys stay where they
// are, so that it has eight bytes for a place and nothing for the collector of garbage to follow.
type index struct {
	keys  []arrow.Array
	hash  func(i int) (uint64, bool)
	seed  maphash.Seed
	slots []slot // a power of two of them, of which some stay free
}

// slot is a place for a row, which is counted from 1.
type slot struct {
	tag uint32 // of the hash of its key
	row int32  // 0: free
}

// newIndex returns the index of up to n rows with these keys.
func newIndex(keys []arrow.Array, n int) *index {
	x := &index{keys: keys, seed: maphash.MakeSeed(), slots: make([]slot, 1<<bits.Len(uint(n+n/3)))}
	x.hash = hasher(x.seed, keys)
	return x
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

// hasher returns the hash of the key at i, for one goroutine. It is not ok when a part of the key is null.
func hasher(seed maphash.Seed, keys []arrow.Array) func(i int) (hash uint64, ok bool) {
	if len(keys) == 1 && integer(keys[0]) != nil { // a whole number at heart
		a, at := keys[0], integer(keys[0])
		return func(i int) (uint64, bool) {
			if a.IsNull(i) {
				return 0, false
			}
			return maphash.Comparable(seed, at(i)), true
		}
	}
	var b []byte
	return func(i int) (_ uint64, ok bool) {
		b, ok = keyBytes(b[:0], keys, i)
		return maphash.Bytes(seed, b), ok
	}
}

// weaker is a hash of so many bits; 0 is all.
func weaker(hash func(i int) (uint64, bool), bits int) func(i int) (uint64, bool) {
	if bits == 0 {
		return hash
	}
	return func(i int) (uint64, bool) {
		h, ok := hash(i)
		return h >> (64 - bits), ok
	}
}

// slot is that of the key at i of other columns, or the free one where it belongs.
func (x *index) slot(hash uint64, keys []arrow.Array, i int) *slot {
	tag, mask := tagOf(hash), uint64(len(x.slots)-1)
	for at := hash; ; at++ {
		s := &x.slots[at&mask]
		if s.row == 0 || s.tag == tag && sameKey(x.keys, int(s.row-1), keys, i) {
			return s
		}
	}
}

func tagOf(hash uint64) uint32 { return uint32(hash >> 32) }

func sameKey(a []arrow.Array, i int, b []arrow.Array, j int) bool {
	for c := range a {
		if compare(a[c], i, b[c], j) != 0 {
			return false
		}
	}
	return true
}

// put notes row i, unless its key is known; then it returns the row that has it.
func (x *index) put(i int) (row int32, known, null bool) {
	hash, ok := x.hash(i)
	if !ok {
		return 0, false, true
	}
	s := x.slot(hash, x.keys, i)
	if s.row > 0 {
		return s.row - 1, true, false
	}
	*s = slot{tagOf(hash), int32(i) + 1}
	return 0, false, false
}

// set makes row i that of its key, which is known.
func (x *index) set(i int) {
	hash, _ := x.hash(i)
	x.slot(hash, x.keys, i).row = int32(i) + 1
}

// finder returns the function that finds the row for the key at i of other columns, or -1.
func (x *index) finder(keys []arrow.Array) func(i int) int32 {
	hash := hasher(x.seed, keys)
	return func(i int) int32 {
		h, ok := hash(i)
		if !ok {
			return -1
		}
		return x.slot(h, keys, i).row - 1
	}
}
