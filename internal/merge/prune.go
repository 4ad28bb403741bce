package merge

import (
	"context"
	"slices"
	"sort"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
)

// pruner says which data files may hold rows with one of some keys. It lives on in the transaction.
type pruner struct {
	s     *delta.Snapshot
	paths [][]string
	keys  []arrow.Array
	// spans of values, by key column, are apart from each other and in order.
	spans [][]span
}

// span holds all values between two of a column of keys, which are their places in it.
type span struct{ from, to int32 }

// newPruner returns the pruner for rows with keys.
func newPruner(s *delta.Snapshot, paths [][]string, keys []arrow.Array, rows []int32) *pruner {
	spans := make([][]span, len(keys))
	for c := range keys {
		spans[c] = make([]span, len(rows))
		for i, r := range rows {
			spans[c][i] = span{r, r}
		}
	}
	return spanPruner(s, paths, keys, spans)
}

// spanPruner returns the pruner for keys that lie in spans. Those that begin with null hold nothing.
func spanPruner(s *delta.Snapshot, paths [][]string, keys []arrow.Array, spans [][]span) *pruner {
	p := &pruner{s: s, paths: paths, keys: keys}
	for c, a := range keys {
		a.Retain() // for good
		sorted := slices.DeleteFunc(spans[c], func(x span) bool { return a.IsNull(int(x.from)) })
		slices.SortFunc(sorted, func(x, y span) int { return compare(a, int(x.from), a, int(y.from)) })
		apart := sorted[:0]
		for _, x := range sorted {
			if n := len(apart); n == 0 || compare(a, int(apart[n-1].to), a, int(x.from)) < 0 {
				apart = append(apart, x)
			} else if compare(a, int(apart[n-1].to), a, int(x.to)) < 0 {
				apart[n-1].to = x.to
			}
		}
		p.spans = append(p.spans, apart)
	}
	return p
}

// meets reports whether the file may hold a row with one of the keys. It holds none when some column
// has no value of the keys between the file's bounds.
func (p *pruner) meets(add *delta.Add) bool {
	if slices.ContainsFunc(p.spans, func(s []span) bool { return len(s) == 0 }) {
		return false // no row has a key
	}
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
		spans, a := p.spans[c], p.keys[c]
		i := sort.Search(len(spans), func(i int) bool { return compare(a, int(spans[i].to), b, 0) >= 0 })
		if i == len(spans) || compare(a, int(spans[i].from), b, 1) > 0 {
			return false
		}
	}
	return true
}

// bounds gathers the least and the greatest values of keys, batch by batch.
type bounds struct{ parts [][]arrow.Array } // two values each, by key column

func (x *bounds) add(ctx context.Context, keys []arrow.Array) error {
	if x.parts == nil {
		x.parts = make([][]arrow.Array, len(keys))
	}
	for c, a := range keys {
		least, most := 0, 0
		for i := range a.Len() {
			if a.IsNull(least) || a.IsValid(i) && compare(a, i, a, least) < 0 {
				least = i
			}
			if compare(a, i, a, most) > 0 {
				most = i
			}
		}
		two, err := takeArray(ctx, a, []int32{int32(least), int32(most)})
		if err != nil {
			return err
		}
		x.parts[c] = append(x.parts[c], two)
	}
	return nil
}

// pruner returns the pruner for what was added.
func (x *bounds) pruner(s *delta.Snapshot, paths [][]string) (*pruner, error) {
	keys, spans := make([]arrow.Array, len(x.parts)), make([][]span, len(x.parts))
	defer releaseAll(keys)
	for c, parts := range x.parts {
		var err error
		keys[c], err = array.Concatenate(parts, memory.DefaultAllocator)
		if releaseAll(parts); err != nil {
			return nil, err
		}
		for i := range parts {
			spans[c] = append(spans[c], span{int32(2 * i), int32(2*i + 1)})
		}
	}
	return spanPruner(s, paths, keys, spans), nil
}
