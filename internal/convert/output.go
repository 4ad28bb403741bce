package convert

import (
	"context"
	"fmt"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/objstore"
)

// output is one target of a run.
type output struct {
	*run
	to        *Target
	made      *Made
	store     objstore.Store
	transform *duck.Transform // nil: the rows are those of the source
	rules     *rules          // nil without
	writer    *delta.DataWriter
	changes   *changes // nil: the rows are not merged, or the table has no rules
}

func (o *output) prepare(ctx context.Context) (err error) {
	rows := o.task.Source(o.to)
	if o.to.SQL != "" {
		if o.transform, err = o.Transform(ctx, o.task, o.to); err != nil {
			return err
		}
		rows = o.transform.Schema()
	}
	o.rules, err = o.newRules(ctx, o.to.Rules, o.to.Known, rows)
	return err
}

func (o *output) release(ctx context.Context) {
	if o.transform != nil {
		o.transform.Close()
	}
	o.rules.close()
	o.changes.close(ctx)
}

// isWhole reports whether the rows of the task are needed all at once.
func (o *output) isWhole() bool { return o.transform != nil && !o.transform.RowLocal() }

// named is a text that tells which target it is about, where there are several.
func (o *output) named(text string) string {
	if len(o.task.Targets) < 2 {
		return text
	}
	return o.to.Table + ": " + text
}

// view returns rows as the target sees them. The caller releases them.
func (o *output) view(rec arrow.RecordBatch) arrow.RecordBatch {
	rec.Retain()
	if !o.to.Metadata && o.task.metadata() {
		n := int(rec.NumCols()) - 1 // _metadata is the last
		less := array.NewRecordBatch(arrow.NewSchema(rec.Schema().Fields()[:n], nil), rec.Columns()[:n], rec.NumRows())
		rec.Release()
		rec = less
	}
	if len(o.to.Flatten) == 0 {
		return rec
	}
	defer rec.Release()
	return o.to.flat(o.task, rec)
}

// batch takes the rows of a batch into the target.
func (o *output) batch(ctx context.Context, b *decode.Batch, used *usage) error {
	in := o.view(b.Record)
	defer in.Release()
	if o.transform == nil {
		used.all()
		return o.rows(ctx, b, in, func(row int64) int { return int(row) })
	}
	rows, failed, err := o.transform.ApplyRows(ctx, in)
	if err != nil {
		return err
	}
	used.by(rows, failed)
	o.yield(int(in.NumRows()), rows, failed)
	for _, out := range rows {
		err := o.rows(ctx, b, out.Batch, func(row int64) int { return int(out.From[row]) })
		out.Batch.Release()
		if err != nil {
			return err
		}
	}
	o.failed(failed)
	return nil
}

// yield counts the records of a batch by how many rows the SQL makes of them.
func (o *output) yield(n int, rows []duck.Rows, failed []duck.FailedRow) {
	made := make([]int32, n)
	for _, f := range failed {
		made[f.Row] = 1
	}
	for _, out := range rows {
		for _, row := range out.From {
			made[row]++
		}
	}
	for _, k := range made {
		switch {
		case k == 0:
			o.made.None++
		case k > 1:
			o.made.Several++
		}
	}
}

// rows takes rows into the target; from gives the row of b that each comes from.
func (o *output) rows(ctx context.Context, b *decode.Batch, rec arrow.RecordBatch, from func(int64) int) error {
	rec, from, err := o.sift(ctx, b, rec, from)
	if err != nil {
		return err
	}
	defer rec.Release()
	broken, err := o.offer(ctx, rec, func(row int64) decode.Position { return o.position(b, from(row)) })
	if err != nil {
		return err
	}
	n := rec.NumRows()
	if broken != nil {
		from = o.note(broken, from)
		n = int64(len(broken.kept))
	}
	o.keep(n, from)
	o.count(b, n, from)
	return nil
}

// usage is which rows of a batch that have rescued data became rows of a target, or were set aside. A nil
// usage is of a batch without such rows.
type usage struct {
	rescued arrow.Array
	rows    []bool
}

func newUsage(rescued arrow.Array) *usage {
	if rescued.NullN() == rescued.Len() {
		return nil
	}
	return &usage{rescued, make([]bool, rescued.Len())}
}

func (u *usage) all() {
	if u == nil {
		return
	}
	for i := range u.rows {
		u.rows[i] = true
	}
}

func (u *usage) by(rows []duck.Rows, failed []duck.FailedRow) {
	if u == nil {
		return
	}
	for _, out := range rows {
		for _, row := range out.From {
			u.rows[row] = true
		}
	}
	for _, f := range failed {
		u.rows[f.Row] = true
	}
}

func (u *usage) has(row int) bool { return u != nil && u.rows[row] }

func (u *usage) unused() (n int64) {
	if u == nil {
		return 0
	}
	for row, is := range u.rows {
		if !is && u.rescued.IsValid(row) {
			n++
		}
	}
	return n
}

// spool is the rows of a task on disk, for SQL that needs all of them while other targets take them as
// they are read.
type spool struct {
	file *os.File
	w    *ipc.Writer
}

func newSpool(dir string, s *arrow.Schema) (*spool, error) {
	f, err := os.CreateTemp(dir, "silt-rows-*")
	if err != nil {
		return nil, err
	}
	return &spool{f, ipc.NewWriter(f, ipc.WithSchema(s), ipc.WithLZ4())}, nil
}

func (s *spool) write(rec arrow.RecordBatch) error {
	if err := s.w.Write(rec); err != nil {
		return fmt.Errorf("%s: %w", s.file.Name(), err)
	}
	return nil
}

func (s *spool) close() {
	_ = s.file.Close() // nothing is in it that is needed
	_ = os.Remove(s.file.Name())
}

// fromSpool runs SQL over all rows of a spool at once.
func (o *output) fromSpool(ctx context.Context, s *spool) error {
	if s.w != nil {
		if err := s.w.Close(); err != nil {
			return fmt.Errorf("%s: %w", s.file.Name(), err)
		}
		s.w = nil
	}
	if _, err := s.file.Seek(0, 0); err != nil {
		return err
	}
	r, err := ipc.NewReader(s.file)
	if err != nil {
		return fmt.Errorf("%s: %w", s.file.Name(), err)
	}
	defer r.Release()
	in := &viewReader{RecordReader: r, o: o, schema: o.task.Source(o.to).Arrow()}
	defer in.drop()
	return o.whole(ctx, in)
}

// viewReader reads rows as a target sees them.
type viewReader struct {
	array.RecordReader
	o      *output
	schema *arrow.Schema
	rec    arrow.RecordBatch
}

func (v *viewReader) Schema() *arrow.Schema { return v.schema }

func (v *viewReader) Next() bool {
	v.drop()
	if !v.RecordReader.Next() {
		return false
	}
	v.rec = v.o.view(v.RecordReader.RecordBatch())
	return true
}

func (v *viewReader) drop() {
	if v.rec != nil {
		v.rec.Release()
		v.rec = nil
	}
}

func (v *viewReader) RecordBatch() arrow.RecordBatch { return v.rec }

func (v *viewReader) Record() arrow.RecordBatch { return v.rec }
