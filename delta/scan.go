package delta

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// ScanOptions says what to read.
type ScanOptions struct {
	// Columns are the top-level columns wanted, in the order wanted, matched without case; nil is all.
	Columns []string
}

// Scan reads the rows of a snapshot.
type Scan struct {
	s      *Snapshot
	schema *schema.Struct
	err    error // of the options
}

// Scan returns a scan of the snapshot's rows.
func (s *Snapshot) Scan(o ScanOptions) *Scan {
	sc := &Scan{s: s, schema: s.schema}
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
func (sc *Scan) Schema() *arrow.Schema { return sc.schema.Arrow() }

// Batches yields the rows, file by file. Fields that a file lacks, at any depth, are null. The caller
// releases each batch.
func (sc *Scan) Batches(ctx context.Context) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		cols, err := sc.columns()
		if err != nil {
			yield(nil, err)
			return
		}
		for add, err := range sc.s.Files(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			for rec, err := range sc.s.readFile(ctx, memory.DefaultAllocator, add, cols) {
				if err != nil {
					yield(nil, fmt.Errorf("data file %s: %w", add.Path, err))
					return
				}
				rec.Retain()
				if !yield(rec, nil) {
					return
				}
			}
		}
	}
}

func (sc *Scan) columns() ([]*column, error) {
	if sc.err != nil {
		return nil, sc.err
	}
	mode := sc.s.columnMapping()
	cols, err := readColumns(sc.schema, mode)
	if err != nil {
		return nil, err
	}
	for _, name := range sc.s.metadata.PartitionColumns {
		if i := sc.schema.IndexFold(name); i >= 0 {
			cols[i].isKey = true
		}
	}
	return cols, nil
}

// readFile yields the rows of a data file. A batch is valid until the next.
func (s *Snapshot) readFile(ctx context.Context, mem memory.Allocator, add *Add, cols []*column) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		store, key, err := s.locate(add.Path)
		if err != nil {
			yield(nil, err)
			return
		}
		f, err := openParquet(ctx, mem, store, key, add.Size)
		if err != nil {
			yield(nil, err)
			return
		}
		rows := f.batches(ctx, cols, fillPartition(mem, add))
		if add.DeletionVector == nil {
			rows(yield)
			return
		}
		deleted, err := s.readDeletionVector(ctx, add.DeletionVector)
		if err != nil {
			yield(nil, err)
			return
		}
		position := int64(0)
		for rec, err := range rows {
			if err != nil {
				yield(nil, err)
				return
			}
			kept, err := keepRows(ctx, mem, rec, position, deleted)
			if err != nil {
				yield(nil, err)
				return
			}
			position += rec.NumRows()
			more := kept.NumRows() == 0 || yield(kept, nil)
			kept.Release()
			if !more {
				return
			}
		}
	}
}

// fillPartition fills partition columns with the file's value, and other missing columns with null.
func fillPartition(mem memory.Allocator, add *Add) func(c *column, n int) (arrow.Array, error) {
	return func(c *column, n int) (arrow.Array, error) {
		if !c.isKey {
			return nulls(mem, c.out.Type, n), nil
		}
		v, err := parsePartitionValue(c.typ, add.PartitionValues[c.name])
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
