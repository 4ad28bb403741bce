package convert

import (
	"context"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/internal/decode"
)

// Sample is the first rows of some files.
type Sample struct {
	// Read are the rows as they are read, Made those that the SQL of each target makes of them, nil for one
	// without SQL. They are to be released.
	Read []arrow.RecordBatch
	Made [][]arrow.RecordBatch
	// Bad is the number of bad records met on the way, FirstBad the first of them.
	Bad      int64
	FirstBad []decode.BadRecord
	// Failed says why the SQL fails on rows.
	Failed []string
	// Broken are the rules that rows break, for each target, in the order of its rows: those that the SQL
	// makes, or else those that are read.
	Broken [][]SampledBreak
}

// SampledBreak is a rule that a row breaks.
type SampledBreak struct {
	Row    int64 // of the target's, from 0
	Rule   int   // of the target's
	Values string
}

// Release gives the rows back.
func (s *Sample) Release() {
	for _, all := range append(s.Made, s.Read) {
		for _, rec := range all {
			rec.Release()
		}
	}
}

// Sample reads the first n rows of the task's files as the task would, and writes nothing.
func (c *Converter) Sample(ctx context.Context, t Task, n int64) (*Sample, error) {
	r := &run{Converter: c, task: &t}
	var files []decode.File
	for i, o := range t.Files {
		r.files = append(r.files, i)
		files = append(files, c.open(Piece{Object: o}, false))
	}
	opts := t.Decode
	opts.BatchRows = int(n)
	var err error
	if r.reader, err = decode.NewReader(files, opts); err != nil {
		return nil, err
	}
	defer r.reader.Close()
	r.reader.TakeTurns(c.Long)
	out := new(Sample)
	if err := r.sample(ctx, n, out); err != nil {
		out.Release()
		return nil, err
	}
	out.Made, out.Broken = make([][]arrow.RecordBatch, len(t.Targets)), make([][]SampledBreak, len(t.Targets))
	for i := range t.Targets {
		to := &t.Targets[i]
		if to.SQL == "" && len(to.Rules) == 0 || len(out.Read) == 0 {
			continue
		}
		o := &output{run: r, to: to}
		if err := o.sampled(ctx, out, i); err != nil {
			out.Release()
			return nil, err
		}
	}
	return out, nil
}

// sample reads rows until there are n. A file that cannot be read ends it.
func (r *run) sample(ctx context.Context, n int64, out *Sample) error {
	for n > 0 {
		b, err := r.reader.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		out.Bad += int64(len(b.Bad))
		for _, bad := range b.Bad[:min(len(b.Bad), maxShown-len(out.FirstBad))] {
			bad.Text = append([]byte(nil), bad.Text[:min(len(bad.Text), maxShownText)]...)
			out.FirstBad = append(out.FirstBad, bad)
		}
		if b.Record.NumRows() == 0 {
			b.Record.Release()
			continue
		}
		rec := r.withLineage(b)
		some := rec.NewSlice(0, min(n, rec.NumRows()))
		kept, err := CopyRecord(some) // the decoder uses its memory again
		some.Release()
		rec.Release()
		if err != nil {
			return err
		}
		out.Read = append(out.Read, kept)
		n -= kept.NumRows()
	}
	return nil
}

// sampled makes the rows of the target with a number of those of a sample, and holds them against its rules.
func (o *output) sampled(ctx context.Context, s *Sample, number int) error {
	if err := o.prepare(ctx); err != nil {
		return err
	}
	defer o.release(ctx)
	rows := make([]arrow.RecordBatch, len(s.Read))
	for i, rec := range s.Read {
		rows[i] = o.view(rec)
		defer rows[i].Release()
	}
	if o.transform != nil {
		if err := o.transformed(ctx, s, rows, &s.Made[number]); err != nil {
			return err
		}
		rows = s.Made[number]
	}
	first := int64(0)
	for _, rec := range rows {
		broken, err := o.rules.broken(ctx, rec)
		if err != nil {
			return err
		}
		for row, bits := range broken {
			if bits == nil {
				continue
			}
			for _, rule := range o.rules.of(bits) {
				s.Broken[number] = append(s.Broken[number], SampledBreak{first + int64(row), rule, o.rules.values(rule, rec, row)})
			}
		}
		first += rec.NumRows()
	}
	return nil
}

// transformed runs the SQL over the rows of a sample.
func (o *output) transformed(ctx context.Context, s *Sample, in []arrow.RecordBatch, to *[]arrow.RecordBatch) error {
	if o.isWhole() {
		r, err := array.NewRecordReader(in[0].Schema(), in)
		if err != nil {
			return err
		}
		defer r.Release()
		made, err := o.transform.ApplyAll(ctx, r)
		if err != nil {
			return err
		}
		defer made.Release()
		for made.Next() {
			rec := made.RecordBatch()
			rec.Retain()
			*to = append(*to, rec)
		}
		return made.Err()
	}
	for _, rec := range in {
		rows, failed, err := o.transform.ApplyRows(ctx, rec)
		if err != nil {
			return err
		}
		for _, made := range rows {
			*to = append(*to, made.Batch)
		}
		for _, f := range failed {
			s.Failed = append(s.Failed, o.named(f.Err.Error()))
		}
	}
	return nil
}
