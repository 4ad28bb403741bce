package delta

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// ScanOptions says what to read.
type ScanOptions struct {
	// Columns are the top-level columns wanted, in the order wanted, matched without case; nil is all.
	Columns []string
	// Fields are the paths of the fields wanted, in place of Columns: of a struct come those alone that are
	// named, or all when it is.
	Fields [][]string
	// Where leaves out the rows for which it is not true. Files and row groups that have no other rows are
	// not read, as far as partition values and statistics tell.
	Where Predicate
	// SkipOnly makes Where leave out files and row groups only: their rows come whether it is true for
	// them or not.
	SkipOnly bool
	// RowIDs adds two columns behind the others, see [Snapshot.TracksRows]: the id of each row, and the
	// version that changed it last. Their names are the table's own.
	RowIDs bool
	// Allocator is where Arrow memory comes from; nil is Go's.
	Allocator memory.Allocator
}

// Scan reads the rows of a snapshot.
type Scan struct {
	s      *Snapshot
	o      ScanOptions
	schema *schema.Struct // what is wanted
	where  condition      // nil is true
	rows   condition      // of o.Where, when it is about rows, too
	err    error          // of the options
}

// Scan returns a scan of the snapshot's rows.
func (s *Snapshot) Scan(o ScanOptions) *Scan {
	sc := &Scan{s: s, o: o, schema: s.schema}
	if sc.o.Allocator == nil {
		sc.o.Allocator = memory.DefaultAllocator
	}
	if sc.where, sc.err = s.binder().predicate(o.Where); !o.SkipOnly {
		sc.rows = sc.where
	}
	if o.Fields != nil {
		if sc.schema = schema.Pick(s.schema, o.Fields); sc.schema == nil {
			sc.schema, sc.err = s.schema, fmt.Errorf("the table has not all of the fields %v", o.Fields)
		}
		return sc
	}
	if o.Columns == nil {
		return sc
	}
	sc.schema = &schema.Struct{}
	for _, name := range o.Columns {
		i := s.schema.IndexFold(name)
		if i < 0 {
			sc.err = fmt.Errorf("the table has no column %s", schema.Quote(name))
			continue
		}
		sc.schema.Fields = append(sc.schema.Fields, s.schema.Fields[i])
	}
	return sc
}

// Schema returns the columns of the scan's batches.
func (sc *Scan) Schema() *arrow.Schema {
	if !sc.o.RowIDs {
		return sc.schema.Arrow()
	}
	id, version := rowColumns(sc.s.protocol, sc.s.metadata)
	return arrow.NewSchema(append(sc.schema.Arrow().Fields(), rowColumn(id).out, rowColumn(version).out), nil)
}

// Batches yields the rows, file by file. Fields that a file lacks, at any depth, are null. The caller
// releases each batch.
func (sc *Scan) Batches(ctx context.Context) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		for add, err := range sc.Files(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			for b, err := range sc.File(ctx, add) {
				if !yield(b.RecordBatch, err) || err != nil {
					return
				}
			}
		}
	}
}

// Files yields the data files that may have rows of the scan.
func (sc *Scan) Files(ctx context.Context) iter.Seq2[*Add, error] {
	return func(yield func(*Add, error) bool) {
		if sc.err != nil {
			yield(nil, sc.err)
			return
		}
		for add, err := range sc.s.Files(ctx) {
			if err == nil && !sc.s.mayHold(sc.where, add) {
				continue
			}
			if !yield(add, err) || err != nil {
				return
			}
		}
	}
}

// mayHold reports whether the file may have rows for which c is true; nil is true for all.
func (s *Snapshot) mayHold(c condition, add *Add) bool {
	return c == nil || c.mayHold(&fileSpans{add: add, wide: s.protocol.widening()})
}

// FileRows are rows of one data file. Rows that its deletion vector deletes are left out.
type FileRows struct {
	arrow.RecordBatch
	first  int64
	places []int64 // nil: the rows follow each other from first
}

// Place is the position in the file of a row of the batch, counted from 0 over all rows of the file:
// [Transaction.Delete] names rows so. Places grow from row to row.
func (r FileRows) Place(i int) int64 {
	if r.places == nil {
		return r.first + int64(i)
	}
	return r.places[i]
}

// File yields the rows of one data file of the snapshot, in the columns of the scan. The caller releases
// each batch.
func (sc *Scan) File(ctx context.Context, add *Add) iter.Seq2[FileRows, error] {
	return func(yield func(FileRows, error) bool) {
		cols, err := sc.columns()
		if err != nil {
			yield(FileRows{}, err)
			return
		}
		r := fileRead{mem: sc.o.Allocator, cols: cols, where: sc.where, rows: sc.rows}
		for l, err := range sc.s.readRows(ctx, add, r) {
			if err != nil {
				yield(FileRows{}, fmt.Errorf("data file %s: %w", add.Path, err))
				return
			}
			rows := l.fileRows()
			if rows.RecordBatch, err = sc.output(l, add); err != nil {
				yield(FileRows{}, fmt.Errorf("data file %s: %w", add.Path, err))
				return
			}
			if !yield(rows, nil) {
				return
			}
		}
	}
}

// output returns the columns that are wanted of a record.
func (sc *Scan) output(l located, add *Add) (arrow.RecordBatch, error) {
	if !sc.o.RowIDs {
		return firstColumns(l.rec, len(sc.schema.Fields)), nil
	}
	all, err := withRowIDs(sc.o.Allocator, l, add)
	if err != nil {
		return nil, err
	}
	defer all.Release()
	n, m := len(sc.schema.Fields), int(all.NumCols())
	fields := append(slices.Clone(all.Schema().Fields()[:n]), all.Schema().Fields()[m-2:]...)
	columns := append(slices.Clone(all.Columns()[:n]), all.Columns()[m-2:]...)
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, all.NumRows()), nil
}

// firstColumns returns a record of the first n columns.
func firstColumns(rec arrow.RecordBatch, n int) arrow.RecordBatch {
	if n == int(rec.NumCols()) {
		rec.Retain()
		return rec
	}
	return array.NewRecordBatch(arrow.NewSchema(rec.Schema().Fields()[:n], nil), rec.Columns()[:n], rec.NumRows())
}

// columns are those of the scan, and behind them those that only the predicate looks at.
func (sc *Scan) columns() ([]*column, error) {
	if sc.err != nil {
		return nil, sc.err
	}
	read := sc.schema
	if sc.rows != nil {
		read = sc.withLeaves()
	}
	mode := sc.s.columnMapping()
	cols, err := readColumns(read, mode)
	if err != nil {
		return nil, err
	}
	for _, name := range sc.s.metadata.PartitionColumns {
		if i := read.IndexFold(name); i >= 0 {
			cols[i].isKey = true
		}
	}
	if sc.o.RowIDs {
		if !sc.s.TracksRows() {
			return nil, fmt.Errorf("the rows of the table are not tracked (%s)", propRowTracking)
		}
		id, version := rowColumns(sc.s.protocol, sc.s.metadata)
		cols = append(cols, rowColumn(id), rowColumn(version))
	}
	return cols, nil
}

// withLeaves returns the scan's schema with what the predicate looks at and nobody else wants.
func (sc *Scan) withLeaves() *schema.Struct {
	out := &schema.Struct{Fields: slices.Clone(sc.schema.Fields)}
	n := len(out.Fields)
	sc.rows.leaves(func(l *leaf) {
		i := out.Index(l.path[0])
		if i >= 0 && i < n {
			return
		}
		f := narrowed(sc.s.schema, l.path)
		if i < 0 {
			out.Fields = append(out.Fields, f)
		} else {
			out.Fields[i] = sc.s.schema.Fields[sc.s.schema.Index(l.path[0])] // of two leaves
		}
	})
	return out
}

// narrowed returns the first field of a path with nothing below it but the path.
func narrowed(s *schema.Struct, path []string) schema.Field {
	f := s.Fields[s.Index(path[0])]
	if in, ok := f.Type.(*schema.Struct); ok && len(path) > 1 {
		f.Type = schema.NewStruct(narrowed(in, path[1:]))
	}
	return f
}

// fileRead is how a data file is read.
type fileRead struct {
	mem   memory.Allocator
	cols  []*column
	where condition // by which row groups are skipped; nil is true
	rows  condition // for which rows are kept; nil is true
	// deleted are the positions of rows to leave out, in place of the file's deletion vector, when it is
	// not nil.
	deleted *roaring64.Bitmap
	// only are the positions of the only rows to read, deleted or not; nil is all.
	only *roaring64.Bitmap
}

// located is a record and where its rows lie in their file.
type located struct {
	rec  arrow.RecordBatch
	runs []rowRun
	kept []int64 // the rows of the runs that are in the record; nil is all
}

// rowRun is rows that follow each other in a file.
type rowRun struct{ at, n int64 }

// fileRows returns the record with the places of its rows.
func (l located) fileRows() FileRows {
	if len(l.runs) == 1 && l.kept == nil {
		return FileRows{RecordBatch: l.rec, first: l.runs[0].at}
	}
	all := make([]int64, 0, l.rec.NumRows())
	for _, r := range l.runs {
		for i := range r.n {
			all = append(all, r.at+i)
		}
	}
	if l.kept == nil {
		return FileRows{RecordBatch: l.rec, places: all}
	}
	places := make([]int64, len(l.kept))
	for i, row := range l.kept {
		places[i] = all[row]
	}
	return FileRows{RecordBatch: l.rec, places: places}
}

// readFile yields the rows of a data file. A batch is valid until the next.
func (s *Snapshot) readFile(ctx context.Context, mem memory.Allocator, add *Add, cols []*column) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		for l, err := range s.readRows(ctx, add, fileRead{mem: mem, cols: cols}) {
			if !yield(l.rec, err) {
				return
			}
		}
	}
}

// readRows yields the rows of a data file. A record is valid until the next.
func (s *Snapshot) readRows(ctx context.Context, add *Add, r fileRead) iter.Seq2[located, error] {
	return func(yield func(located, error) bool) {
		store, key, err := s.locate(add.Path)
		if err != nil {
			yield(located{}, err)
			return
		}
		f, err := openParquet(ctx, r.mem, store, key, add.Size)
		if err == nil && r.where != nil && s.columnMapping() != mappingID {
			err = f.skipGroups(r.where)
		}
		if err != nil {
			yield(located{}, err)
			return
		}
		if r.deleted == nil && r.only == nil && add.DeletionVector != nil {
			if r.deleted, err = s.readDeletionVector(ctx, add.DeletionVector); err != nil {
				yield(located{}, err)
				return
			}
		}
		runs := f.runs()
		for rec, err := range f.batches(ctx, r.cols, fillPartition(r.mem, add)) {
			var l located
			if err == nil {
				l.runs, runs = takeRuns(runs, rec.NumRows())
				l, err = r.keep(ctx, rec, l.runs)
			}
			if err != nil {
				yield(located{}, err)
				return
			}
			more := l.rec.NumRows() == 0 || yield(l, nil)
			l.rec.Release()
			if !more {
				return
			}
		}
	}
}

// takeRuns splits runs after the first n rows.
func takeRuns(runs []rowRun, n int64) (first, rest []rowRun) {
	for n > 0 && len(runs) > 0 {
		r := runs[0]
		if r.n > n {
			first = append(first, rowRun{r.at, n})
			rest = append([]rowRun{{r.at + n, r.n - n}}, runs[1:]...)
			return first, rest
		}
		first, runs, n = append(first, r), runs[1:], n-r.n
	}
	return first, runs
}

// keep returns the rows that are neither deleted nor left out by the predicate.
func (r *fileRead) keep(ctx context.Context, rec arrow.RecordBatch, runs []rowRun) (located, error) {
	n := int(rec.NumRows())
	if r.deleted == nil && r.only == nil && r.rows == nil {
		rec.Retain()
		return located{rec, runs, nil}, nil
	}
	is := make([]bool, n)
	if r.rows == nil {
		for i := range is {
			is[i] = true
		}
	} else if err := r.rows.mark(rec, is); err != nil {
		return located{}, err
	}
	row := int64(0)
	for _, run := range runs {
		if r.deleted != nil {
			eachIn(r.deleted, run, func(i int64) { is[row+i] = false })
		}
		if r.only != nil {
			wanted := make([]bool, run.n)
			eachIn(r.only, run, func(i int64) { wanted[i] = true })
			for i, w := range wanted {
				is[row+int64(i)] = is[row+int64(i)] && w
			}
		}
		row += run.n
	}
	kept := make([]int64, 0, n)
	for i, k := range is {
		if k {
			kept = append(kept, int64(i))
		}
	}
	out, err := takeRows(ctx, r.mem, rec, kept)
	if len(kept) == n {
		kept = nil
	}
	return located{out, runs, kept}, err
}

// eachIn calls f for each position of the run that is in rows, counted from the run's first.
func eachIn(rows *roaring64.Bitmap, run rowRun, f func(i int64)) {
	it := rows.Iterator()
	it.AdvanceIfNeeded(uint64(run.at))
	for it.HasNext() && int64(it.PeekNext()) < run.at+run.n {
		f(int64(it.Next()) - run.at)
	}
}

// fillPartition fills partition columns with the file's value, and other missing columns with null.
func fillPartition(mem memory.Allocator, add *Add) func(c *column, n int) (arrow.Array, error) {
	return func(c *column, n int) (arrow.Array, error) {
		if !c.isKey {
			return nulls(mem, c.out.Type, n), nil
		}
		v, err := parsePartitionValue(c.typ, add.value(c.name))
		if err != nil {
			return nil, fmt.Errorf("partition column %s: %w", schema.Path(c.path...), err)
		}
		if v == nil {
			return nulls(mem, c.out.Type, n), nil
		}
		return repeatScalar(mem, v, n)
	}
}

// Reader returns the scan as a reader, for consumers that take one. Its batches are valid until the
// next. The caller releases the reader.
//
// The scan runs in a goroutine of its own until Release, and only while Next waits for it: a consumer
// may call from a thread that is not Go's, where an iterator cannot be pulled.
func (sc *Scan) Reader(ctx context.Context) array.RecordReader {
	ctx, cancel := context.WithCancel(ctx)
	r := &scanReader{schema: sc.Schema(), cancel: cancel, want: make(chan struct{}), got: make(chan scanned)}
	r.refs.Store(1)
	go r.run(ctx, sc.Batches(ctx))
	return r
}

type scanReader struct {
	schema *arrow.Schema
	cancel func()
	want   chan struct{}
	got    chan scanned // one for each want, then closed
	end    error        // set before got is closed: why there is no more, other than that all was read
	cur    arrow.RecordBatch
	err    error
	refs   atomic.Int64
}

// scanned is a batch, or why there is none.
type scanned struct {
	rec arrow.RecordBatch
	err error
}

func (r *scanReader) run(ctx context.Context, batches iter.Seq2[arrow.RecordBatch, error]) {
	defer close(r.got)
	wanted := func() bool {
		select {
		case <-r.want:
			return true
		case <-ctx.Done():
			r.end = ctx.Err()
			return false
		}
	}
	if !wanted() {
		return
	}
	for rec, err := range batches {
		r.got <- scanned{rec, err} // Next waits for it
		if !wanted() {
			return
		}
	}
}

func (r *scanReader) Retain() { r.refs.Add(1) }

func (r *scanReader) Release() {
	if r.refs.Add(-1) > 0 {
		return
	}
	r.drop()
	r.cancel()
	<-r.got
}

func (r *scanReader) drop() {
	if r.cur != nil {
		r.cur.Release()
		r.cur = nil
	}
}

func (r *scanReader) Schema() *arrow.Schema { return r.schema }

func (r *scanReader) Next() bool {
	r.drop()
	if r.err != nil {
		return false
	}
	select {
	case r.want <- struct{}{}:
	case <-r.got: // it has ended
		r.err = r.end
		return false
	}
	next, ok := <-r.got
	if !ok {
		r.err = r.end
		return false
	}
	if next.err != nil {
		r.err = next.err
		return false
	}
	r.cur = next.rec
	return true
}

func (r *scanReader) RecordBatch() arrow.RecordBatch { return r.cur }

func (r *scanReader) Record() arrow.RecordBatch { return r.cur }

func (r *scanReader) Err() error { return r.err }
