package merge

import (
	"slices"
	"sort"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
)

// pruner says which data files may hold rows with one of some keys. It lives on in the transaction.
type pruner struct {
	s     *delta.Snapshot
	paths [][]string
	keys  []arrow.Array
	// sorted holds, for each key column, the rows that have a value there, by that value.
	sorted [][]int32
}

func newPruner(s *delta.Snapshot, paths [][]string, keys []arrow.Array, rows []int32) *pruner {
	p := &pruner{s: s, paths: paths, keys: keys}
	for _, a := range keys {
		a.Retain() // for good
		sorted := slices.DeleteFunc(slices.Clone(rows), func(r int32) bool { return a.IsNull(int(r)) })
		slices.SortFunc(sorted, func(i, j int32) int { return compare(a, int(i), a, int(j)) })
		p.sorted = append(p.sorted, sorted)
	}
	return p
}

// meets reports whether the file may hold a row with one of the keys. It holds none when some column
// has no value of the keys between the file's bounds.
func (p *pruner) meets(add *delta.Add) bool {
	bounds := p.s.Bounds(add, p.paths)
	defer func() {
		for _, b := range bounds {
			if b != nil {
				b.Release()
			}
		}
	}()
	for c, b := range bounds {
		if b == nil || !arrow.TypeEqual(b.DataType(), p.keys[c].DataType()) {
			continue
		}
		if b.IsNull(0) {
			return false
		}
		sorted, a := p.sorted[c], p.keys[c]
		i := sort.Search(len(sorted), func(i int) bool { return compare(a, int(sorted[i]), b, 0) >= 0 })
		if i == len(sorted) || compare(a, int(sorted[i]), b, 1) > 0 {
			return false
		}
	}
	return true
}
