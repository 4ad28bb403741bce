package merge

import (
	"context"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
)

// version is a row of the table.
type version struct {
	place    int64 // in its file
	file     int32
	key      int32 // the first change row of the key
	from, to int32 // in times
}

// find looks up the versions of the changes' keys.
func (h *history) find(ctx context.Context) error {
	return h.meet(ctx, func(use func(versionRows) error) error {
		return h.scanVersions(ctx, func(_ context.Context, v versionRows) error { return use(v) })
	})
}

// versionRows are rows of the table, as far as it takes to find what becomes of them.
type versionRows struct {
	rec   arrow.RecordBatch // keys, and behind them the bounds
	file  func(i int) int32
	place func(i int) int64
}

// bound is one of the bounds at some places.
func (v *versionRows) bound(ctx context.Context, name string, at []int32) (arrow.Array, error) {
	return takeArray(ctx, v.rec.Column(columnOf(v.rec.Schema().Fields(), name)), at)
}

// scanVersions yields the rows of the table, from several goroutines.
func (h *history) scanVersions(ctx context.Context, use func(context.Context, versionRows) error) error {
	paths := append(slices.Clip(h.src.met.keys), []string{ValidFrom}, []string{ValidTo})
	if h.s == nil || slices.ContainsFunc(paths, func(p []string) bool { return !hasField(h.s.Schema(), p) }) {
		return nil // no row of the table is met
	}
	return h.each(ctx, h.candidates(ctx), func(ctx context.Context, add *delta.Add) error {
		shaper, err := h.shaper(paths)
		if err != nil {
			return err
		}
		for part, err := range h.s.Scan(delta.ScanOptions{Fields: paths}).File(ctx, add) {
			if err != nil {
				return err
			}
			rec, err := shaper.Shape(ctx, part.RecordBatch)
			part.Release()
			if err != nil {
				return err
			}
			err = use(ctx, versionRows{rec, func(int) int32 { return h.files.number(add) }, part.Place})
			if rec.Release(); err != nil {
				return err
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.counts.FilesScanned++
		return nil
	})
}

// meet keeps those of some rows of the table that have the keys of changes. The rows may come from several
// goroutines.
func (h *history) meet(ctx context.Context, rows func(use func(versionRows) error) error) error {
	bounds := []arrow.Array{h.src.seq}
	defer func() { releaseAll(bounds[1:]) }()
	next := int32(h.src.seq.Len())
	err := rows(func(v versionRows) error {
		keys := h.keysOf(v.rec)
		defer keys.release()
		var at, found []int32
		for i := range int(v.rec.NumRows()) {
			if row := keys.find(i); row >= 0 {
				at, found = append(at, int32(i)), append(found, row)
			}
		}
		if len(at) == 0 {
			return nil
		}
		from, err := v.bound(ctx, ValidFrom, at)
		if err != nil {
			return err
		}
		to, err := v.bound(ctx, ValidTo, at)
		if err != nil {
			from.Release()
			return err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		n := int32(len(at))
		for k, i := range at {
			h.versions = append(h.versions, version{v.place(int(i)), v.file(int(i)), found[k], next + int32(k), next + n + int32(k)})
		}
		bounds, next = append(bounds, from, to), next+2*n
		return nil
	})
	if err != nil {
		return err
	}
	h.times, err = array.Concatenate(bounds, memory.DefaultAllocator)
	return err
}
