//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

func tableName(t node) TableName {
	return TableName{str(t, "catalog_name"), str(t, "schema_name"), str(t, "table_name")}
}

// Tables lists the tables that a SELECT names, each once, in the order of the text. Steps of its WITH
// are no tables, and functions such as read_parquet are left alone.
func (e *Engine) Tables(ctx context.Context, sql string) ([]TableName, error) {
	tree, err := e.c.parse(ctx, sql)
	if err != nil {
		return nil, err
	}
	var out []TableName
	for _, t := range mentions(tree) {
		if name := tableName(t); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// mentions returns the places where a statement names a table, in the order of the text.
func mentions(tree node) []node {
	var out []node
	tables(sub(tree, "node"), nil, func(t node) {
		if !slices.ContainsFunc(out, func(o node) bool { return is(o, t) }) {
			out = append(out, t)
		}
	})
	slices.SortStableFunc(out, func(a, b node) int { return location(a) - location(b) })
	return out
}

// Query runs a SELECT over the tables it names. A table is opened anew each time that DuckDB reads it,
// which is at least once for each place that names it; the readers are released. The types of the
// result are those of the table in type.go; text that is DuckDB's JSON says so, see [schema.HoldsJSON]. A name that open does not have is left to DuckDB.
func (e *Engine) Query(ctx context.Context, sql string, open map[TableName]func() (array.RecordReader, error)) (array.RecordReader, error) {
	tree, err := e.c.parse(ctx, sql)
	if err != nil {
		return nil, err
	}
	if err := refuse(tree, sql); err != nil {
		return nil, err
	}
	q, err := e.newQuery()
	if err != nil {
		return nil, err
	}
	r, err := q.query(ctx, sql, tree, open)
	if err != nil {
		q.close()
		return nil, err
	}
	return r, nil
}

func (q *query) query(ctx context.Context, sql string, tree node, open map[TableName]func() (array.RecordReader, error)) (array.RecordReader, error) {
	var edits []edit
	var found []node
	for _, m := range mentions(tree) {
		name := tableName(m)
		f, ok := open[name]
		if !ok {
			continue // DuckDB may know it, as a file or as a table about itself, and else says where it stands
		}
		if m["at_clause"] != nil {
			mistake := &SQLError{Message: "AT (…) is not understood here", SQL: sql, Hint: "choose the table's version outside of the SQL"}
			mistake.place(location(m))
			return nil, mistake
		}
		first, err := f()
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		q.first = append(q.first, first)
		i := len(q.first) - 1
		open := func() (array.RecordReader, error) {
			if r := q.first[i]; r != nil { // the one that told the schema
				q.first[i] = nil
				return r, nil
			}
			return f()
		}
		view := q.e.name()
		if err := q.open(ctx, view, first.Schema(), open, stream); err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		edits, found = append(edits, replaceTable(sql, m, view)), append(found, m)
	}
	edits = append(edits, shortenNames(sql, tree, found)...)
	text, back := splice(sql, edits)
	s, err := q.c.prepare(text)
	if err != nil {
		return nil, sqlError(err, sql, back)
	}
	columns := s.columns()
	s.close()
	out, err := newOutput(columns, nil, none)
	if err != nil {
		if mistake, ok := errors.AsType[*SQLError](err); ok {
			mistake.SQL = sql
		}
		return nil, err
	}
	if !out.exact() {
		text, back = out.wrap(statement(text), 0), nil
	}
	if err := q.start(ctx, text); err != nil {
		return nil, sqlError(err, sql, back)
	}
	fields := out.schema.Arrow().Fields()
	for i := range fields {
		fields[i] = markJSON(fields[i], columns[i].typ)
	}
	return q.reader(ctx, arrow.NewSchema(fields, nil), sql), nil
}

// replaceTable puts a view in the place of a table, under the name by which the statement knows it.
func replaceTable(sql string, t node, view string) edit {
	at := location(t)
	n := 0
	for _, key := range []string{"catalog_name", "schema_name", "table_name"} {
		if str(t, key) != "" {
			n++
		}
	}
	end := at
	if parts := nameParts(sql, at, n); len(parts) > 0 {
		end = parts[len(parts)-1][1]
	}
	text := view
	if str(t, "alias") == "" {
		switch wordBefore(sql, at) {
		case "DESCRIBE", "DESC", "SUMMARIZE", "SHOW", "TABLE": // no alias can stand there
		default:
			text += " AS " + ident(str(t, "table_name"))
		}
	}
	return edit{at, end, text}
}

// shortenNames drops catalog and schema from columns that name their table in full: catalog.schema.t.id
// is t.id once t stands for a view.
func shortenNames(sql string, tree node, found []node) []edit {
	drop := func(names []any) int {
		for _, m := range found {
			t := tableName(m)
			full := []string{t.Catalog, t.Schema, t.Name}
			for len(full) > 1 && full[0] == "" {
				full = full[1:]
			}
			if len(full) == 1 || len(names) < len(full) || str(m, "alias") != "" {
				continue
			}
			if slices.EqualFunc(full, names[:len(full)], func(a string, b any) bool { return schema.Fold(a) == schema.Fold(b.(string)) }) {
				return len(full) - 1
			}
		}
		return 0
	}
	var edits []edit
	each(tree, func(n node) bool {
		if str(n, "type") != "COLUMN_REF" {
			return true
		}
		names := list(n, "column_names")
		if k := drop(names); k > 0 {
			at := location(n)
			if parts := nameParts(sql, at, len(names)); len(parts) == len(names) {
				edits = append(edits, edit{at, parts[k][0], ""})
			}
		}
		return false
	})
	return edits
}

// query is a statement that runs on a connection of its own, so that its stream and the engine's
// statements do not end each other.
type query struct {
	e     *Engine
	c     *conn
	feeds []*feed
	kept  []string             // tables to drop
	first []array.RecordReader // opened and not yet read
	s     *stmt
	r     *result
}

func (e *Engine) newQuery() (*query, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	return &query{e: e, c: c}, nil
}

// access says how a statement reads a table.
type access int

const (
	stream access = iota // once, as it comes
	table                // any number of times: DuckDB keeps it, and spills it
)

// open makes a table known to DuckDB under a name.
func (q *query) open(ctx context.Context, name string, s *arrow.Schema, open func() (array.RecordReader, error), how access) error {
	view := name
	if how == table {
		view = q.e.name()
	}
	f, err := q.e.addFeed(ctx, q.c, view, s)
	if err != nil {
		return err
	}
	q.feeds = append(q.feeds, f)
	f.loadReaders(open)
	if how == stream {
		return nil
	}
	q.kept = append(q.kept, name)
	return q.cause(q.c.exec(ctx, "CREATE TABLE "+name+" AS SELECT * FROM "+view))
}

// cause returns the error of a table's reader when that is what made the statement fail.
func (q *query) cause(err error) error {
	if err != nil {
		for _, f := range q.feeds {
			if f.err != nil {
				return f.err
			}
		}
	}
	return err
}

func (q *query) start(ctx context.Context, sql string) error {
	s, err := q.c.prepare(sql)
	if err != nil {
		return err
	}
	q.s = s
	q.r, err = s.run(ctx)
	return q.cause(err)
}

func (q *query) reader(ctx context.Context, s *arrow.Schema, sql string) array.RecordReader {
	next := func() (arrow.RecordBatch, error) {
		rec, err := q.r.next(ctx)
		if err != nil {
			return nil, sqlError(q.cause(err), sql, nil)
		}
		if rec == nil {
			return nil, nil
		}
		defer rec.Release()
		return batch(rec, s)
	}
	return newReader(s, next, q.close)
}

func (q *query) close() {
	if q.r != nil {
		q.r.close()
	}
	if q.s != nil {
		q.s.close()
	}
	for _, name := range q.kept {
		_ = q.c.exec(context.Background(), "DROP TABLE IF EXISTS "+name) // it goes with the engine at the latest
	}
	for _, f := range q.feeds {
		f.close()
	}
	for _, r := range q.first {
		if r != nil {
			r.Release()
		}
	}
	q.c.close()
}

// reader is an array.RecordReader over a function that gives batches, nil at the end.
type reader struct {
	refs   atomic.Int64
	schema *arrow.Schema
	next   func() (arrow.RecordBatch, error)
	close  func()
	rec    arrow.RecordBatch
	err    error
}

func newReader(s *arrow.Schema, next func() (arrow.RecordBatch, error), close func()) *reader {
	r := &reader{schema: s, next: next, close: close}
	r.refs.Store(1)
	return r
}

func (r *reader) Next() bool {
	r.drop()
	if r.err != nil || r.next == nil {
		return false
	}
	r.rec, r.err = r.next()
	if r.rec == nil {
		r.next = nil
	}
	return r.rec != nil
}

func (r *reader) drop() {
	if r.rec != nil {
		r.rec.Release()
		r.rec = nil
	}
}

func (r *reader) RecordBatch() arrow.RecordBatch { return r.rec }
func (r *reader) Record() arrow.RecordBatch      { return r.rec }
func (r *reader) Schema() *arrow.Schema          { return r.schema }
func (r *reader) Err() error                     { return r.err }
func (r *reader) Retain()                        { r.refs.Add(1) }

func (r *reader) Release() {
	if r.refs.Add(-1) == 0 {
		r.drop()
		r.next = nil
		r.close()
	}
}
