package merge

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/schema"
)

// output is what a merge writes. Rows of the table keep their ids, where the table tracks rows, and their
// numbers; new rows get theirs. Where the table keeps a feed of its changes, they are told to it. Several
// goroutines use it at once.
type output struct {
	*merger
	kept delta.WriteContext // of rows of the table
	// made are columns that the source lacks and that are worked out from others, so that they must not
	// stay as they were.
	made map[string]bool
	// outer runs a function under the context of the merge: what it opens outlives the work on a file.
	outer func(func(context.Context) error) error

	moved, news *delta.DataWriter // of updated rows without a place in a file, and of new ones; nil until there are some
	feed        *delta.ChangeWriter
}

func newOutput(ctx context.Context, m *merger) *output {
	o := &output{merger: m, kept: m.wc, made: map[string]bool{}, outer: func(f func(context.Context) error) error { return f(ctx) }}
	o.kept.Schema = &schema.Struct{Fields: slices.Clone(m.wc.Schema.Fields)}
	for i, f := range o.kept.Schema.Fields {
		plain := maps.Clone(f.Metadata)
		maps.DeleteFunc(plain, func(k string, _ json.RawMessage) bool { return strings.HasPrefix(k, "delta.identity.") })
		o.kept.Schema.Fields[i].Metadata = plain
		if j := m.table.IndexFold(f.Name); f.Metadata["delta.generationExpression"] != nil && j >= 0 && !m.src.fields[j].has {
			o.made[f.Name] = true
		}
	}
	return o
}

// shape returns rows of a data file in the columns of the table, and behind them their ids, where the scan
// has them.
func (m *merger) shape(ctx context.Context, shaper *delta.Shaper, part arrow.RecordBatch) (arrow.RecordBatch, error) {
	rec, err := shaper.Shape(ctx, part)
	if err != nil || !m.hasIDs(part) {
		return rec, err
	}
	defer rec.Release()
	n := int(part.NumCols())
	fields := append(slices.Clone(rec.Schema().Fields()), part.Schema().Field(n-2), part.Schema().Field(n-1))
	cols := append(slices.Clone(rec.Columns()), part.Column(n-2), part.Column(n-1))
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, rec.NumRows()), nil
}

// hasIDs reports whether the last two columns of rows are their ids and versions.
func (m *merger) hasIDs(rec arrow.RecordBatch) bool {
	n := int(rec.NumCols())
	return m.wc.RowIDColumn != "" && n > 2 && rec.Schema().Field(n-2).Name == m.wc.RowIDColumn
}

// keeper returns a writer of rows of the table.
func (o *output) keeper(ctx context.Context) (*delta.DataWriter, error) {
	opts := o.o.Writer
	opts.RowIDs = o.s != nil && o.s.TracksRows()
	return delta.NewDataWriter(ctx, o.store, o.kept, opts)
}

// keep writes rows of the table.
func (o *output) keep(ctx context.Context, w *delta.DataWriter, rec arrow.RecordBatch) error {
	if len(o.made) == 0 {
		return w.Write(ctx, rec)
	}
	var fields []arrow.Field
	var cols []arrow.Array
	for i, f := range rec.Schema().Fields() {
		if !o.made[f.Name] {
			fields, cols = append(fields, f), append(cols, rec.Column(i))
		}
	}
	less := array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, rec.NumRows())
	defer less.Release()
	return w.Write(ctx, less)
}

// move writes updated rows that have no place in a file any more.
func (o *output) move(rec arrow.RecordBatch) error {
	if o.o.DryRun || rec.NumRows() == 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.outer(func(ctx context.Context) (err error) {
		if o.moved == nil {
			if o.moved, err = o.keeper(ctx); err != nil {
				return err
			}
		}
		return o.keep(ctx, o.moved, rec)
	})
}

// insert writes new rows.
func (o *output) insert(ctx context.Context, rec arrow.RecordBatch) (err error) {
	if o.o.DryRun || rec.NumRows() == 0 {
		return nil
	}
	if o.news == nil {
		if o.news, err = delta.NewDataWriter(ctx, o.store, o.wc, o.o.Writer); err != nil {
			return err
		}
	}
	if err := o.change(rec, delta.ChangeInsert); err != nil {
		return err
	}
	return o.news.Write(ctx, rec)
}

// tell tells the feed what becomes of rows of a file.
func (o *output) tell(ctx context.Context, old arrow.RecordBatch, d *decision, changed arrow.RecordBatch) error {
	if o.s == nil || !o.s.ChangeDataFeed() || o.o.DryRun {
		return nil
	}
	var gone []int32
	for i, is := range d.gone {
		if is {
			gone = append(gone, int32(i))
		}
	}
	for _, c := range []struct {
		rows []int32
		kind delta.ChangeType
	}{{gone, delta.ChangeDelete}, {d.update, delta.ChangeUpdatePreimage}} {
		if len(c.rows) == 0 {
			continue
		}
		rec, err := take(ctx, old, c.rows)
		if err != nil {
			return err
		}
		err = o.change(rec, c.kind)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return o.change(changed, delta.ChangeUpdatePostimage)
}

// change writes rows to the feed.
func (o *output) change(rec arrow.RecordBatch, kind delta.ChangeType) error {
	if o.s == nil || !o.s.ChangeDataFeed() || o.o.DryRun || rec.NumRows() == 0 {
		return nil
	}
	if o.hasIDs(rec) {
		n := int(rec.NumCols()) - 2
		rec = array.NewRecordBatch(arrow.NewSchema(rec.Schema().Fields()[:n], nil), rec.Columns()[:n], rec.NumRows())
		defer rec.Release()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.outer(func(ctx context.Context) (err error) {
		if o.feed == nil {
			if err := o.checkFeed(); err != nil {
				return err
			}
			if o.feed, err = delta.NewChangeWriter(ctx, o.store, o.wc, delta.DataWriterOptions{Allocator: o.o.Writer.Allocator}); err != nil {
				return err
			}
		}
		return o.feed.Write(ctx, rec, kind)
	})
}

// checkFeed refuses columns that get a value only when the rows are written, so that the feed would not
// know it.
func (o *output) checkFeed() error {
	for i, f := range o.table.Fields {
		for _, key := range []string{"delta.generationExpression", "delta.identity.start", "CURRENT_DEFAULT"} {
			if f.Metadata[key] != nil && !o.src.fields[i].has {
				return &delta.UnsupportedError{Operation: "merge into", Features: []string{"changeDataFeed (column " + schema.Quote(f.Name) + ", which the rows lack and the table fills)"}}
			}
		}
	}
	return nil
}

// close finishes the files.
func (o *output) close(ctx context.Context) error {
	for _, w := range []*delta.DataWriter{o.moved, o.news} {
		if w == nil {
			continue
		}
		adds, err := w.Close(ctx)
		if err != nil {
			return err
		}
		o.added(adds)
	}
	if o.feed == nil {
		return nil
	}
	var err error
	o.changes, err = o.feed.Close(ctx)
	return err
}

// abort gives up what is not finished.
func (o *output) abort(ctx context.Context) {
	for _, w := range []*delta.DataWriter{o.moved, o.news} {
		if w != nil {
			w.Abort(ctx)
		}
	}
	if o.feed != nil {
		o.feed.Abort(ctx)
	}
}
