package merge

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
)

// meeting finds the files of the table whose rows change rows may meet, by hashes of their keys. It asks
// the table of as many keys at once as memory may hold: those whose hashes lie between two numbers. A hash
// that two keys have costs time and no more: who looks at the file finds that the row is not there.
type meeting struct {
	*merger
	changes Changes
	limit   int // of keys at once
	seed    maphash.Seed

	// Of the keys that the table is asked of at a time. By the first bits of their hashes, dir is where
	// they begin.
	first, last uint64
	keys        []hashed
	dir         []int32
	shift       int
	others      []other // by place in keys, those files that are not the first

	// What is found.
	files fileNumbers
	at    []int32 // by change row: a file, alone, keyless, or what sharedBy makes of a hash
	more  []other // by change row, in order, the files beside those
}

// hashed is a key of a change row.
type hashed struct {
	hash uint64
	row  int32
	file int32 // where the key was met first, of the first with the hash; 0: nowhere
}

type other struct{ row, file int32 }

// What is known of a change row that meets no file.
const (
	alone   = 0  // no other has its key
	keyless = -1 // a part of its key is null
)

// sharedBy stands for rows that may have one key, and a part of its hash.
func sharedBy(hash uint64) int32 { return -2 - int32(hash&(1<<30-1)) }

// hashOf is that part.
func hashOf(at int32) int { return int(-2 - at) }

// find reads the keys of the change rows and of the table, once unless there are too many.
func (x *meeting) find(ctx context.Context) error {
	x.seed = maphash.MakeSeed()
	for first := uint64(0); ; first = x.last + 1 {
		x.first, x.last, x.keys, x.others = first, math.MaxUint64, x.keys[:0], nil
		if err := x.read(ctx); err != nil {
			return err
		}
		x.order()
		if x.s != nil {
			if err := x.each(ctx, x.candidates(ctx), x.look); err != nil {
				return err
			}
		}
		x.keep()
		if x.last == math.MaxUint64 {
			break
		}
	}
	x.keys, x.dir = nil, nil
	slices.SortFunc(x.more, compareOthers)
	return nil
}

func compareOthers(a, b other) int {
	return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.file, b.file))
}

// read takes the hashes of the change rows, and the first time notes what keys there are.
func (x *meeting) read(ctx context.Context) error {
	var all bounds
	err := x.readKeys(ctx, x.changes, func(keys []arrow.Array, n int, first int32) error {
		if x.take(keys, n, first); x.first > 0 {
			return nil
		}
		return all.add(ctx, keys)
	})
	if err == nil && x.first == 0 {
		x.pruner, err = all.pruner(x.s, x.src.met.keys)
	}
	return err
}

// readKeys reads the keys of change rows: n at a time, of which the first has a number.
func (m *merger) readKeys(ctx context.Context, changes Changes, use func(keys []arrow.Array, n int, first int32) error) error {
	shaper, err := m.shaper(m.src.met.keys)
	if err != nil {
		return err
	}
	row := int32(0)
	for rec, err := range changes.Rows(ctx, m.src.met.keys) {
		if err != nil {
			return err
		}
		n := int(rec.NumRows())
		shaped, err := shaper.Shape(ctx, rec)
		rec.Release()
		if err != nil {
			return err
		}
		keys := m.columnsOf(shaped)
		switch {
		case n > math.MaxInt32-int(row):
			err = fmt.Errorf("a merge of more than %d rows at once is not possible: merge them in parts", math.MaxInt32)
		case n > 0:
			err = use(keys, n, row)
		}
		if releaseAll(keys); err != nil {
			return err
		}
		row += int32(n)
	}
	return nil
}

// columnsOf are the columns of the key in rec, which it releases.
func (m *merger) columnsOf(rec arrow.RecordBatch) []arrow.Array {
	defer rec.Release()
	keys := make([]arrow.Array, len(m.src.met.keys))
	for i, path := range m.src.met.keys {
		keys[i] = valuesAt(rec, path)
	}
	return keys
}

// take takes the hashes of the keys of n rows, of which the first has the number row.
func (x *meeting) take(keys []arrow.Array, n int, row int32) {
	hash := x.hasher(keys)
	for i := range n {
		h, ok := hash(i)
		if x.first == 0 {
			x.at = append(x.at, alone)
			if !ok {
				x.at[len(x.at)-1] = keyless
			}
		}
		if !ok || h < x.first || h > x.last {
			continue
		}
		x.keys = append(x.keys, hashed{hash: h, row: row + int32(i)})
		for len(x.keys) > x.limit && x.last > x.first { // leave the rest to another time
			x.last = x.first + (x.last-x.first)/2
			x.keys = slices.DeleteFunc(x.keys, func(k hashed) bool { return k.hash > x.last })
		}
	}
}

// hasher is [hasher] of the keys as they meet.
func (x *meeting) hasher(keys []arrow.Array) func(i int) (hash uint64, ok bool) {
	return weaker(hasher(x.seed, keys), x.o.hashBits)
}

// order makes the keys ones that can be looked up.
func (x *meeting) order() {
	slices.SortFunc(x.keys, func(a, b hashed) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.row, b.row)) })
	x.shift = max(0, bits.Len64(x.last-x.first)-bits.Len(uint(len(x.keys)/4)))
	x.dir = make([]int32, (x.last-x.first)>>x.shift+2)
	for _, k := range x.keys {
		x.dir[(k.hash-x.first)>>x.shift+1]++
	}
	for i := range len(x.dir) - 1 {
		x.dir[i+1] += x.dir[i]
	}
}

// index is the first key with a hash, or -1.
func (x *meeting) index(hash uint64) int32 {
	if hash < x.first || hash > x.last {
		return -1
	}
	b := (hash - x.first) >> x.shift
	from, to := x.dir[b], x.dir[b+1]
	i := from + int32(sort.Search(int(to-from), func(i int) bool { return x.keys[from+int32(i)].hash >= hash }))
	if i == to || x.keys[i].hash != hash {
		return -1
	}
	return i
}

// look notes which keys a file of the table has.
func (x *meeting) look(ctx context.Context, add *delta.Add) error {
	file := int32(0)
	if x.spec.DeleteMissing {
		file = x.files.number(add)
	}
	if slices.ContainsFunc(x.src.met.keys, func(k []string) bool { return !hasField(x.s.Schema(), k) }) {
		return nil // no row of the table is met
	}
	shaper, err := x.shaper(x.src.met.keys)
	if err != nil {
		return err
	}
	var others []other
	for part, err := range x.s.Scan(delta.ScanOptions{Fields: x.src.met.keys}).File(ctx, add) {
		if err != nil {
			return err
		}
		n := int(part.NumRows())
		shaped, err := shaper.Shape(ctx, part.RecordBatch)
		part.Release()
		if err != nil {
			return err
		}
		keys := x.columnsOf(shaped)
		hash := x.hasher(keys)
		for i := range n {
			h, ok := hash(i)
			if !ok {
				continue
			}
			k := x.index(h)
			if k < 0 {
				continue
			}
			if file == 0 {
				file = x.files.number(add)
			}
			if first := &x.keys[k].file; !atomic.CompareAndSwapInt32(first, 0, file) && atomic.LoadInt32(first) != file {
				others = append(others, other{k, file})
			}
		}
		releaseAll(keys)
	}
	slices.SortFunc(others, compareOthers)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.others = append(x.others, slices.Compact(others)...); x.first == 0 {
		x.counts.FilesScanned++
	}
	return nil
}

// keep notes for each change row what its key has met.
func (x *meeting) keep() {
	slices.SortFunc(x.others, compareOthers)
	others := x.others
	for i := 0; i < len(x.keys); {
		end := i + 1
		for end < len(x.keys) && x.keys[end].hash == x.keys[i].hash {
			end++
		}
		at := x.keys[i].file
		if at == alone && end > i+1 {
			at = sharedBy(x.keys[i].hash)
		}
		for _, k := range x.keys[i:end] {
			x.at[k.row] = at
		}
		for len(others) > 0 && others[0].row == int32(i) {
			for _, k := range x.keys[i:end] {
				x.more = append(x.more, other{k.row, others[0].file})
			}
			others = others[1:]
		}
		i = end
	}
}
