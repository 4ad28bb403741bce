package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/siltlake/silt/internal/parquetenc"
	"github.com/siltlake/silt/internal/parquetleaf"
)

// How rows of a data file are replaced.
//
// A merge changes few rows of a file, and often few of its columns. So the file is not made Arrow of: what
// the rows become is written as a Parquet file in memory, and then both are compared and spliced leaf by
// leaf, by levels and values. A chunk without another value is copied as it is, compressed.
//
// This is for files that hold their columns just as they would be written now, in common encodings. All
// others are [errors.ErrUnsupported], and are read and written in the general way.

// FilePatch says what becomes of some rows of a data file.
type FilePatch struct {
	// Places are the positions of rows in the file, which grow.
	Places []int64
	// Rows are what these become, as many as there are places. Columns are matched as by
	// [DataWriter.Write]; those of the table that it lacks stay as they are. A struct has all of its fields.
	Rows arrow.RecordBatch
	// Gone are the positions of rows that are left out; nil is none.
	Gone *roaring64.Bitmap
	// Passive says of a top-level column that a row is not another one by it alone; nil: none is.
	Passive func(column string) bool
}

// Patcher replaces rows of data files of a snapshot. It belongs to one goroutine.
type Patcher struct {
	s       *Snapshot
	w       *DataWriter
	decoder parquetleaf.Decoder
	columns []parquetleaf.Column
	paths   [][]string
	stored  []*schema.Column // as a file has them that is written now
	tops    []int            // the column of the writer that each leaf belongs to
	reads   []*column        // by column of the writer: as files are read
	order   []int            // leaves in which rows differed come first
}

// NewPatcher returns a patcher whose files fit the write context. The error is [errors.ErrUnsupported]
// where rows need more than their values: where they are tracked, or where conditions and generated values
// hang on them. Close it.
func (s *Snapshot) NewPatcher(ctx context.Context, wc WriteContext, o DataWriterOptions) (*Patcher, error) {
	if len(wc.NeedsSQL) > 0 || len(wc.Constraints) > 0 || wc.RowIDColumn != "" || o.RowIDs || o.Where != nil || s.ChangeDataFeed() {
		return nil, errors.ErrUnsupported
	}
	for _, f := range wc.Schema.Fields {
		for key := range f.Metadata {
			if strings.HasPrefix(key, "delta.identity.") || key == "delta.generationExpression" {
				return nil, errors.ErrUnsupported
			}
		}
	}
	w, err := NewDataWriter(ctx, s.store, wc, o)
	if err != nil {
		return nil, err
	}
	p := &Patcher{s: s, w: w}
	var file bytes.Buffer
	pq, err := parquetenc.NewWriter(&file, w.out, w.format)
	if err != nil {
		return nil, err
	}
	p.columns, p.paths = pq.Columns()
	reads, err := readColumns(wc.Schema, wc.Mapping)
	if err != nil {
		return nil, err
	}
	for _, c := range w.cols {
		p.reads = append(p.reads, reads[slices.IndexFunc(reads, func(r *column) bool { return r.path[0] == c.path[0] })])
	}
	if _, err := pq.Close(); err != nil {
		return nil, err
	}
	meta, err := parquetMeta(file.Bytes())
	if err != nil {
		return nil, err
	}
	for i := range p.columns {
		p.stored = append(p.stored, meta.Schema.Column(i))
		p.tops = append(p.tops, slices.IndexFunc(w.cols, func(c *column) bool { return c.out.Name == p.paths[i][0] }))
		p.order = append(p.order, i)
	}
	return p, nil
}

// Close frees what the patcher holds, and deletes its files unless Patch returned them.
func (p *Patcher) Close(ctx context.Context) {
	p.decoder.Close()
	p.w.Abort(ctx)
}

// patchRows are what rows become, leaf by leaf.
type patchRows struct {
	p      *Patcher
	rec    arrow.RecordBatch // as a data file has it; nil without rows
	leaves []*parquetleaf.Leaf
	keep   []bool // by leaf: the column stays as it is
}

// rows takes what rows become, which the caller releases.
func (p *Patcher) rows(ctx context.Context, rec arrow.RecordBatch) (*patchRows, error) {
	r := &patchRows{p: p, leaves: make([]*parquetleaf.Leaf, len(p.columns)), keep: make([]bool, len(p.columns))}
	if rec == nil || rec.NumRows() == 0 {
		return r, nil
	}
	rows, keys, err := p.w.reshape(ctx, rec)
	if err != nil {
		return nil, err
	}
	if keys != nil {
		keys.Release()
	}
	r.rec = rows
	for i, top := range p.tops {
		r.keep[i] = p.w.shapes[top] == nil
	}
	return r, nil
}

func (r *patchRows) release() {
	if r.rec != nil {
		r.rec.Release()
	}
}

// leaf is a leaf of what the rows become.
func (r *patchRows) leaf(i int) (*parquetleaf.Leaf, error) {
	if r.leaves[i] != nil {
		return r.leaves[i], nil
	}
	top := r.p.tops[i]
	one := arrow.NewSchema([]arrow.Field{r.p.w.out.Field(top)}, nil)
	rec := array.NewRecordBatch(one, []arrow.Array{r.rec.Column(top)}, r.rec.NumRows())
	defer rec.Release()
	var file bytes.Buffer
	pq, err := parquetenc.NewWriter(&file, one, parquetenc.Options{Codec: parquetenc.Uncompressed})
	if err != nil {
		return nil, err
	}
	if err := pq.Write(rec); err != nil {
		return nil, err
	}
	if _, err := pq.Close(); err != nil {
		return nil, err
	}
	meta, err := parquetMeta(file.Bytes())
	if err != nil || len(meta.RowGroups) != 1 {
		return nil, errors.Join(err, errors.ErrUnsupported)
	}
	first := slices.Index(r.p.tops, top)
	for n := range meta.Schema.NumColumns() {
		chunk, err := chunkOf(meta, 0, n)
		if err != nil {
			return nil, err
		}
		at := first + n
		if r.leaves[at], err = r.p.decoder.Decode(r.p.columns[at], file.Bytes()[chunk.at:chunk.at+chunk.size], 0, int(chunk.entries)); err != nil {
			return nil, fmt.Errorf("rows to write: %w", err)
		}
	}
	return r.leaves[i], nil
}

// Differ reports which of the rows at the places are others than what they become. It reads as few columns
// as tell that.
func (p *Patcher) Differ(ctx context.Context, add *Add, patch FilePatch) (differ []bool, err error) {
	defer recovered(&err)
	f, err := p.open(ctx, add)
	if err != nil {
		return nil, err
	}
	rows, err := p.rows(ctx, patch.Rows)
	if err != nil {
		return nil, err
	}
	defer rows.release()
	differ = make([]bool, len(patch.Places))
	var firsts []int
	for _, g := range f.groups {
		from, to := g.of(patch.Places)
		left := to - from
		for _, i := range p.order {
			if left == 0 {
				break
			}
			if rows.keep[i] || p.isPassive(i, patch) {
				continue
			}
			old, err := f.leaf(g, i)
			if err != nil {
				return nil, err
			}
			now, err := rows.leaf(i)
			if err != nil {
				return nil, err
			}
			found := 0
			for k := from; k < to; k++ {
				if !differ[k] && !parquetleaf.Equal(old, int(patch.Places[k]-g.first), now, k) {
					differ[k] = true
					found++
				}
			}
			if left -= found; found > 0 {
				firsts = append(firsts, i)
			}
		}
	}
	for _, i := range firsts {
		at := slices.Index(p.order, i)
		p.order = slices.Insert(slices.Delete(p.order, at, at+1), 0, i)
	}
	return differ, nil
}

func (p *Patcher) isPassive(leaf int, patch FilePatch) bool {
	return patch.Passive != nil && patch.Passive(p.w.cols[p.tops[leaf]].name)
}

// Patch writes a data file with the rows in their places, unless nothing differs. It reports which of the
// rows at the places are others than what they become: the rest stays as it was. The partition of the file
// is that of the rows.
func (p *Patcher) Patch(ctx context.Context, add *Add, patch FilePatch) (differ []bool, made *Add, err error) {
	defer recovered(&err)
	if add.DeletionVector != nil {
		return nil, nil, errors.ErrUnsupported
	}
	f, err := p.open(ctx, add)
	if err != nil {
		return nil, nil, err
	}
	rows, err := p.rows(ctx, patch.Rows)
	if err != nil {
		return nil, nil, err
	}
	defer rows.release()
	part, err := p.partition(add)
	if err != nil {
		return nil, nil, err
	}
	x := &patching{Patcher: p, f: f, patch: patch, rows: rows, differ: make([]bool, len(patch.Places))}
	if any, err := x.compare(); err != nil || !any {
		return x.differ, nil, err
	}
	if made, err = x.write(ctx, part); err != nil {
		return nil, nil, err
	}
	p.w.adds = append(p.w.adds, made)
	return x.differ, made, nil
}

// Keep says that the files that Patch has written belong to the caller.
func (p *Patcher) Keep() { p.w.adds = nil }

// partition is that of a file.
func (p *Patcher) partition(add *Add) (*partition, error) {
	if len(p.w.keys) == 0 {
		return nil, nil
	}
	part := &partition{cols: p.w.keys}
	for _, c := range p.w.keys {
		part.texts = append(part.texts, add.value(c.out.Name))
	}
	return part, nil
}

// patching is the patching of one file.
type patching struct {
	*Patcher
	f      *patchFile
	patch  FilePatch
	rows   *patchRows
	differ []bool
	// changed says, by row group and leaf, that a value of a row that stays in the file changes.
	changed [][]bool
}

// compare finds the rows that differ, and the columns in which they do.
func (x *patching) compare() (any bool, err error) {
	for _, g := range x.f.groups {
		changed := make([]bool, len(x.columns))
		x.changed = append(x.changed, changed)
		from, to := g.of(x.patch.Places)
		passive := map[int][]int{}
		for i := range x.columns {
			if from == to || x.rows.keep[i] {
				continue
			}
			old, err := x.f.leaf(g, i)
			if err != nil {
				return false, err
			}
			now, err := x.rows.leaf(i)
			if err != nil {
				return false, err
			}
			for k := from; k < to; k++ {
				if parquetleaf.Equal(old, int(x.patch.Places[k]-g.first), now, k) {
					continue
				}
				if x.isPassive(i, x.patch) {
					passive[i] = append(passive[i], k)
				} else {
					x.differ[k], changed[i], any = true, true, true
				}
			}
		}
		for i, list := range passive {
			changed[i] = slices.ContainsFunc(list, func(k int) bool { return x.differ[k] })
		}
		any = any || g.loses(x.patch.Gone) > 0
	}
	return any, nil
}

// write writes the file.
func (x *patching) write(ctx context.Context, part *partition) (*Add, error) {
	out, err := x.w.newFile(ctx, part)
	if err != nil {
		return nil, err
	}
	stats := newPatchStats(x.Patcher, out.stats)
	out.pq.Tell(stats.chunk)
	for n, g := range x.f.groups {
		rows := g.rows - g.loses(x.patch.Gone)
		if rows == 0 {
			continue
		}
		for i := range x.columns {
			if err = ctx.Err(); err == nil {
				err = x.column(out.pq, g, i, x.changed[n][i] || rows != g.rows, stats)
			}
			if err != nil {
				out.abort()
				return nil, err
			}
		}
		if err := out.pq.EndRows(rows); err != nil {
			out.abort()
			return nil, fmt.Errorf("write data file %s: %w", out.key, err)
		}
		stats.file.rows += rows
	}
	if stats.file.rows == 0 {
		out.abort()
		return nil, errors.ErrUnsupported // all rows are gone: there is no file to write
	}
	a, err := out.close()
	if err != nil {
		return nil, fmt.Errorf("write data file %s: %w", out.key, err)
	}
	return a, nil
}

// column writes a column of a row group: the chunk as it is, or spliced.
func (x *patching) column(pq *parquetenc.Writer, g *patchGroup, i int, changed bool, stats *patchStats) error {
	if !changed {
		if chunk, ok := x.f.copy(g, i); ok && !stats.wantsValues(i, chunk) {
			pq.CopyChunk(i, chunk)
			if !stats.wantsLeaf(i) {
				return nil
			}
			old, err := x.f.leaf(g, i)
			if err == nil {
				stats.copied(i, old)
			}
			return err
		}
	}
	old, err := x.f.leaf(g, i)
	if err != nil {
		return err
	}
	put := func(l *parquetleaf.Leaf, from, to int) {
		if from < to {
			pq.AppendLeaf(i, l, from, to)
			stats.nulls(i, l, from, to)
		}
	}
	at := 0 // rows before are written
	k, end := g.of(x.patch.Places)
	gone := g.gone(x.patch.Gone)
	for {
		next := int(g.rows)
		isGone := len(gone) > 0
		if isGone {
			next = gone[0]
		}
		for k < end && !x.differ[k] {
			k++
		}
		isChange := k < end && int(x.patch.Places[k]-g.first) < next
		if isChange {
			next, isGone = int(x.patch.Places[k]-g.first), false
		}
		put(old, at, next)
		at = next + 1
		switch {
		case isChange && x.rows.keep[i]:
			put(old, next, next+1)
			k++
		case isChange:
			put(x.rows.leaves[i], k, k+1)
			k++
		case isGone:
			gone = gone[1:]
		default:
			return nil
		}
	}
}

// patchGroup is a row group.
type patchGroup struct {
	number      int
	first, rows int64
	bytes       []byte // all of its chunks, once they are read
	at          int64  // of the bytes in the file
	leaves      map[int]*parquetleaf.Leaf
	held        int // bytes of the leaves
}

// of returns which of places are in the group.
func (g *patchGroup) of(places []int64) (from, to int) {
	from, _ = slices.BinarySearch(places, g.first)
	to, _ = slices.BinarySearch(places, g.first+g.rows)
	return from, to
}

// gone are the rows of the group that are left out.
func (g *patchGroup) gone(all *roaring64.Bitmap) (rows []int) {
	if all != nil {
		eachIn(all, rowRun{g.first, g.rows}, func(i int64) { rows = append(rows, int(i)) })
	}
	return rows
}

// loses is how many rows of the group are left out.
func (g *patchGroup) loses(all *roaring64.Bitmap) int64 { return int64(len(g.gone(all))) }

// open opens a data file that holds its columns as they would be written now.
func (p *Patcher) open(ctx context.Context, add *Add) (f *patchFile, err error) {
	defer recovered(&err)
	store, key, err := p.s.locate(add.Path)
	if err != nil {
		return nil, err
	}
	r, err := newObjectReader(ctx, store, key, add.Size)
	if err != nil {
		return nil, err
	}
	return p.file(r)
}
