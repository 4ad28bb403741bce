package convert

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/schema"
)

// Carried are the columns that are in the target although the SQL does not name them.
func (t *Task) Carried() []string {
	carry := t.Lineage
	if t.Decode.Rescue != "" {
		carry = append([]string{t.Decode.Rescue}, carry...)
	}
	return carry
}

// Transform is the SQL of a target of the task, checked. Its output has the types that the table has for
// columns and fields of the same names.
func (c *Converter) Transform(ctx context.Context, t *Task, to *Target) (*duck.Transform, error) {
	engine, err := c.Engine(ctx)
	if err != nil {
		return nil, err
	}
	o := duck.TransformOptions{Carry: t.Carried()}
	tr, err := engine.Prepare(ctx, to.SQL, t.Source(to), o)
	if err != nil || to.Types == nil {
		return tr, err
	}
	o.Types = evolve.Options{Table: to.Types}.Overlay(tr.Schema())
	if schema.Equal(o.Types, tr.Schema()) {
		return tr, nil
	}
	tr.Close()
	return engine.Prepare(ctx, to.SQL, t.Source(to), o)
}

// fromReader runs SQL over all rows of the task at once, as they are read.
func (o *output) fromReader(ctx context.Context) error {
	in := &taskReader{ctx: ctx, o: o, schema: o.task.Source(o.to).Arrow()}
	in.refs.Store(1)
	defer in.Release()
	return in.cause(o.whole(ctx, in))
}

// whole runs SQL over all rows of a reader at once.
func (o *output) whole(ctx context.Context, in array.RecordReader) error {
	o.made.Unknown = true
	out, err := o.transform.ApplyAll(ctx, in)
	if err != nil {
		return err
	}
	defer out.Release()
	for out.Next() {
		rec, err := o.siftWhole(ctx, out.RecordBatch())
		if err != nil {
			return err
		}
		err = o.offerWhole(ctx, rec)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return out.Err()
}

// taskReader is the rows of a task as SQL reads them.
type taskReader struct {
	ctx    context.Context // of the call of whole that it lives in
	o      *output
	schema *arrow.Schema
	refs   atomic.Int64
	rec    arrow.RecordBatch
	err    error
}

// cause is the error that ended the input, which says more than what SQL makes of it.
func (t *taskReader) cause(err error) error {
	if t.err != nil {
		return t.err
	}
	return err
}

func (t *taskReader) Schema() *arrow.Schema { return t.schema }

func (t *taskReader) Next() bool {
	if t.rec != nil {
		t.rec.Release()
		t.rec = nil
	}
	b, err := t.o.next(t.ctx)
	if err != nil {
		if err != io.EOF {
			t.err = err
		}
		return false
	}
	defer b.Record.Release()
	if t.o.keepRescued {
		if t.err = t.o.rescued(t.ctx, b, nil); t.err != nil {
			return false
		}
	}
	in := t.o.view(b.Record)
	defer in.Release()
	// The decoder uses its memory again, and SQL may read ahead.
	if t.rec, t.err = CopyRecord(in); t.err != nil {
		return false
	}
	return true
}

func (t *taskReader) RecordBatch() arrow.RecordBatch { return t.rec }

func (t *taskReader) Record() arrow.RecordBatch { return t.rec }

func (t *taskReader) Err() error { return t.err }

func (t *taskReader) Retain() { t.refs.Add(1) }

func (t *taskReader) Release() {
	if t.refs.Add(-1) == 0 && t.rec != nil {
		t.rec.Release()
		t.rec = nil
	}
}

// CopyRecord returns a record that shares no memory with rec.
func CopyRecord(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, rec.NumCols())
	for i, c := range rec.Columns() {
		column, err := array.Concatenate([]arrow.Array{c}, memory.DefaultAllocator)
		if err != nil {
			return nil, err
		}
		defer column.Release()
		columns[i] = column
	}
	return array.NewRecordBatch(rec.Schema(), columns, rec.NumRows()), nil
}

// TargetSchema is the schema of the rows that the task makes for a target.
func (c *Converter) TargetSchema(ctx context.Context, t *Task, to *Target) (*schema.Struct, *duck.Transform, error) {
	if to.SQL == "" {
		return t.Source(to), nil, nil
	}
	tr, err := c.Transform(ctx, t, to)
	if err != nil {
		return nil, nil, err
	}
	return tr.Schema(), tr, nil
}
