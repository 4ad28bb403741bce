//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// Transform is a SELECT checked against the schema of its source.
type Transform struct {
	e       *Engine
	sql     string // as the user wrote it
	in      *arrow.Schema
	out     *output
	arrow   *arrow.Schema
	carries []string

	needs []need // of refs
	ready bool   // these are read, and the statement is bound

	local bool
	feed  *feed
	run   *stmt         // local: the statement over feed, its last column the row number
	fed   *arrow.Schema // local: in with the row number
	rows  arrow.Array   // local: 0, 1, 2, ... as long as the longest batch so far

	whole string // not local: the statement, over the table called name
	name  string
	twice bool // not local: source is read more than once, so it has to be a table
}

// Prepare checks sql, which selects from [Source] alone, and finds what comes out of it. A mistake in it
// is a *[SQLError].
func (e *Engine) Prepare(ctx context.Context, sql string, source *schema.Struct, o TransformOptions) (*Transform, error) {
	plain, tree, err := e.describe(ctx, sql, source)
	if err != nil {
		return nil, err
	}
	t := &Transform{e: e, sql: sql, in: source.Arrow(), name: e.name(), needs: e.needs(tree)}
	added, err := t.plan(ctx, tree, source, o, plain)
	if err != nil {
		t.Close()
		return nil, err
	}
	if err := e.c.markNulls(ctx, sql, plain); err != nil && ctx.Err() != nil {
		t.Close()
		return nil, err // otherwise INTEGER will do
	}
	columns := slices.Clone(plain)
	for _, name := range added {
		all, _, err := e.describe(ctx, "SELECT "+ident(name)+" FROM source", source)
		if err != nil {
			t.Close()
			return nil, err
		}
		columns = append(columns, all...)
	}
	if t.out, err = newOutput(columns, source, local); err == nil {
		err = t.out.unique()
	}
	if err == nil && o.Types != nil {
		err = t.out.as(o.Types, columns)
	}
	if err == nil {
		err = t.bind(ctx)
	}
	if err != nil {
		t.Close()
		var mistake *SQLError
		if errors.As(err, &mistake) {
			mistake.SQL = sql
		}
		return nil, err
	}
	t.arrow = t.out.schema.Arrow()
	for _, name := range o.Carry {
		if t.out.schema.IndexFold(name) >= 0 {
			t.carries = append(t.carries, name)
		}
	}
	return t, nil
}

// describe parses sql and binds it to an empty source.
func (e *Engine) describe(ctx context.Context, sql string, source *schema.Struct) ([]column, node, error) {
	tree, err := e.c.parse(ctx, sql)
	if err != nil {
		return nil, nil, err
	}
	if err := refuse(tree, sql); err != nil {
		return nil, nil, err
	}
	if err := e.onlySource(tree, sql); err != nil {
		return nil, nil, err
	}
	if e.feed != nil {
		e.feed.close()
	}
	if e.feed, err = e.addFeed(ctx, e.c, Source, source.Arrow()); err != nil {
		return nil, nil, err
	}
	s, err := e.c.prepare(sql)
	if err != nil {
		return nil, nil, missing(sqlError(err, sql, same), tree, source)
	}
	defer s.close()
	return s.columns(), tree, nil
}

// onlySource fails for SQL that names a table other than source and the refs.
func (e *Engine) onlySource(tree node, sql string) error {
	var mistake *SQLError
	tables(sub(tree, "node"), nil, func(t node) {
		if mistake != nil || isSource(t) || e.refOf(t) != nil {
			return
		}
		mistake = &SQLError{
			Message: fmt.Sprintf("table %s: a transform reads the table source and no other", tableName(t)),
			Hint:    "select from source",
			SQL:     sql,
		}
		if names := e.refNames(); len(names) > 1 {
			mistake.Message = fmt.Sprintf("table %s: a transform reads the table source and the refs", tableName(t))
			mistake.Hint = "there are " + strings.Join(names, ", ")
		}
		mistake.place(location(t))
	})
	if mistake != nil {
		return mistake
	}
	if uses(sub(tree, "node"), nil) == 0 {
		return &SQLError{Message: "the SQL does not read the table source, so no record would be in its result", Hint: "select from source", SQL: sql}
	}
	return nil
}

// plan finds how the statement runs: by batch when each row goes its own way, else over the whole of
// the source. It returns the carried columns that come after those of the user's SELECT.
func (t *Transform) plan(ctx context.Context, tree node, source *schema.Struct, o TransformOptions, plain []column) (added []string, err error) {
	carry := make([]string, 0, len(o.Carry))
	for _, name := range o.Carry {
		i := source.IndexFold(name)
		if i < 0 {
			return nil, fmt.Errorf("carry %s: no such column in the source", schema.Quote(name))
		}
		carry = append(carry, duckName(source.Fields[i].Name))
	}
	if c, ok := findChain(tree); ok && c.local {
		row := "__silt_row"
		for source.IndexFold(row) >= 0 {
			row += "_"
		}
		fields := append(slices.Clone(t.in.Fields()), arrow.Field{Name: row, Type: arrow.PrimitiveTypes.Int32})
		t.fed = arrow.NewSchema(fields, nil)
		if t.feed, err = t.e.addFeed(ctx, t.e.c, t.name, t.fed); err != nil {
			return nil, err
		}
		if added, ok := t.tryCarry(ctx, tree, cargo{carry, row}, source, plain); ok {
			t.local = true
			return added, nil
		}
		t.feed.close()
		t.feed = nil
	}
	if _, ok := findChain(tree); ok && len(carry) > 0 {
		f, err := t.e.addFeed(ctx, t.e.c, t.name, t.in)
		if err != nil {
			return nil, err
		}
		defer f.close()
		if added, ok := t.tryCarry(ctx, tree, cargo{columns: carry}, source, plain); ok {
			return added, nil
		}
	}
	t.twice = uses(sub(tree, "node"), nil) > 1 || isRecursive(tree)
	var edits []edit
	seen := map[int]bool{}
	tables(sub(tree, "node"), nil, func(n node) {
		if at := location(n); !seen[at] && isSource(n) {
			seen[at] = true
			edits = append(edits, replaceTable(t.sql, n, t.name))
		}
	})
	t.whole, _ = splice(t.sql, edits)
	t.whole = statement(t.whole)
	return nil, nil
}

func (t *Transform) tryCarry(ctx context.Context, tree node, g cargo, source *schema.Struct, plain []column) ([]string, bool) {
	st := clone(tree).(node)
	c, _ := findChain(st)
	sql, added, err := t.e.c.carry(ctx, st, c.links, g, t.name, source, plain)
	if err != nil {
		return nil, false
	}
	t.whole = statement(sql)
	return added, true
}

func isRecursive(tree node) bool {
	found := false
	each(tree, func(n node) bool {
		found = found || str(n, "type") == "RECURSIVE_CTE_NODE"
		return !found
	})
	return found
}

// bind wraps the statement in the casts to the output's types.
func (t *Transform) bind(ctx context.Context) error {
	if !t.local {
		if !t.out.exact() {
			t.whole = t.out.wrap(t.whole, 0)
		}
		return nil
	}
	t.whole = t.out.wrap(t.whole, 1)
	var err error
	t.run, err = t.e.c.prepare(t.whole)
	return sqlError(err, t.sql, nil)
}

// begin reads the refs that the statement needs, and binds it to what was read.
func (t *Transform) begin(ctx context.Context) error {
	if t.ready || len(t.needs) == 0 {
		return nil
	}
	if err := t.e.keep(ctx, t.needs); err != nil {
		return err
	}
	t.ready = true
	if !t.local {
		return nil
	}
	t.run.close()
	var err error
	if t.run, err = t.e.c.prepare(t.whole); err != nil {
		t.run = nil
	}
	return err
}

// Close gives back what the transform holds; the engine goes on.
func (t *Transform) Close() {
	if t.run != nil {
		t.run.close()
	}
	if t.feed != nil {
		t.feed.close()
	}
	if t.rows != nil {
		t.rows.Release()
	}
	t.run, t.feed, t.rows = nil, nil, nil
}

// Schema is the schema of the output: the columns that the SQL names, then the carried ones that it
// does not name.
func (t *Transform) Schema() *schema.Struct { return t.out.schema }

// RowLocal reports whether each row of the source makes its output by itself, so that the SQL may run
// on any part of a batch.
func (t *Transform) RowLocal() bool { return t.local }

// Carries returns those columns of [TransformOptions.Carry] that the output has: all of them when the
// SQL is row-local, fewer when it aggregates.
func (t *Transform) Carries() []string { return t.carries }

// Apply runs row-local SQL on one batch. It does not keep rec. The caller releases the batches, each
// of at most 2048 rows. When the SQL fails on one row it fails as a whole; see [Transform.ApplyRows].
func (t *Transform) Apply(ctx context.Context, rec arrow.RecordBatch) ([]arrow.RecordBatch, error) {
	parts, err := t.apply(ctx, rec)
	if err != nil {
		return nil, sqlError(err, t.sql, nil)
	}
	out := make([]arrow.RecordBatch, len(parts))
	for i, p := range parts {
		out[i] = p.Batch
	}
	return out, nil
}

func (t *Transform) apply(ctx context.Context, rec arrow.RecordBatch) (out []Rows, err error) {
	if !t.local {
		return nil, errors.New("the SQL is not row-local: it runs on the whole batch only")
	}
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	fed, err := t.number(rec)
	if err != nil {
		return nil, err
	}
	defer fed.Release()
	t.feed.load(fed)
	defer t.feed.load(nil)
	defer func() {
		if err != nil {
			releaseRows(out)
			out = nil
		}
	}()
	r, err := t.run.run(ctx)
	if err != nil {
		return nil, err
	}
	defer r.close()
	for {
		got, err := r.next(ctx)
		if err != nil || got == nil {
			return out, err
		}
		b, err := batch(got, t.arrow)
		if err != nil {
			got.Release()
			return out, err
		}
		row := got.Column(t.arrow.NumFields()).(*array.Int32)
		out = append(out, Rows{b, slices.Clone(row.Int32Values())})
		got.Release()
	}
}

func releaseRows(parts []Rows) {
	for _, p := range parts {
		p.Batch.Release()
	}
}

// number returns rec with the row number as its last column.
func (t *Transform) number(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	if err := fits(rec.Schema(), t.in); err != nil {
		return nil, err
	}
	n := int(rec.NumRows())
	if t.rows == nil || t.rows.Len() < n {
		b := array.NewInt32Builder(memory.DefaultAllocator)
		defer b.Release()
		b.Reserve(n)
		for i := range n {
			b.UnsafeAppend(int32(i))
		}
		if t.rows != nil {
			t.rows.Release()
		}
		t.rows = b.NewArray()
	}
	rows := array.NewSlice(t.rows, 0, int64(n))
	defer rows.Release()
	return array.NewRecordBatch(t.fed, append(slices.Clone(rec.Columns()), rows), rec.NumRows()), nil
}

// fits fails for a batch whose values do not lie as the schema says.
func fits(got, want *arrow.Schema) error {
	if got == want {
		return nil
	}
	if got.NumFields() != want.NumFields() {
		return fmt.Errorf("the batch has %d columns, the source %d", got.NumFields(), want.NumFields())
	}
	for i, f := range want.Fields() {
		if !alike(got.Field(i).Type, f.Type) {
			return fmt.Errorf("column %s is %s, in the source %s", schema.Quote(f.Name), got.Field(i).Type, f.Type)
		}
	}
	return nil
}

// alike reports whether arrays of the two types lie in memory in one way and mean the same.
func alike(a, b arrow.DataType) bool {
	if a.ID() != b.ID() {
		return false
	}
	switch a := a.(type) {
	case arrow.NestedType:
		x, y := a.Fields(), b.(arrow.NestedType).Fields()
		return slices.EqualFunc(x, y, func(f, g arrow.Field) bool {
			return alike(f.Type, g.Type) && (a.ID() != arrow.STRUCT || f.Name == g.Name)
		})
	case *arrow.TimestampType:
		b := b.(*arrow.TimestampType)
		return a.Unit == b.Unit && (a.TimeZone == "") == (b.TimeZone == "")
	}
	return arrow.TypeEqual(a, b)
}

// failuresToStop is after how many failed rows, none having passed, the SQL is held to be at fault and
// not the data.
const failuresToStop = 64

// ApplyRows is [Transform.Apply] that goes on past rows on which the SQL fails: it halves the batch
// until single rows fail, and returns the output of the others in order. When the first 64 rows that it
// comes to all fail, that is a *[SQLError].
func (t *Transform) ApplyRows(ctx context.Context, rec arrow.RecordBatch) (out []Rows, failed []FailedRow, err error) {
	passed := false
	var half func(lo, hi int64) error
	half = func(lo, hi int64) error {
		part := rec.NewSlice(lo, hi)
		rows, err := t.apply(ctx, part)
		part.Release()
		switch {
		case err == nil:
			for _, p := range rows {
				for i := range p.From {
					p.From[i] += int32(lo)
				}
			}
			out = append(out, rows...)
			passed = passed || hi > lo
			return nil
		case !ofRow(err):
			return sqlError(err, t.sql, nil)
		case hi-lo > 1:
			mid := lo + (hi-lo)/2
			if err := half(lo, mid); err != nil {
				return err
			}
			return half(mid, hi)
		}
		mistake, _ := errors.AsType[*SQLError](sqlError(err, t.sql, nil))
		failed = append(failed, FailedRow{int(lo), errors.New(mistake.Message)})
		if !passed && len(failed) >= failuresToStop {
			mistake.Message = "the SQL fails on every row: " + mistake.Message
			return mistake
		}
		return nil
	}
	if err := half(0, rec.NumRows()); err != nil {
		releaseRows(out)
		return nil, nil, err
	}
	return out, failed, nil
}

// ApplyAll runs the SQL on the whole of in, which it reads to its end while the result is read, and
// does not release. SQL that needs more than [Options.MemoryLimit] spills to [Options.TempDir].
func (t *Transform) ApplyAll(ctx context.Context, in array.RecordReader) (array.RecordReader, error) {
	if t.local {
		var ready []arrow.RecordBatch
		next := func() (arrow.RecordBatch, error) {
			for len(ready) == 0 {
				if !in.Next() {
					return nil, in.Err()
				}
				var err error
				if ready, err = t.Apply(ctx, in.RecordBatch()); err != nil {
					return nil, err
				}
			}
			first := ready[0]
			ready = ready[1:]
			return first, nil
		}
		return newReader(t.arrow, next, func() {
			for _, r := range ready {
				r.Release()
			}
		}), nil
	}
	if err := fits(in.Schema(), t.in); err != nil {
		return nil, err
	}
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	q, err := t.e.newQuery()
	if err != nil {
		return nil, err
	}
	once := false
	open := func() (array.RecordReader, error) {
		if once {
			return nil, errors.New("source is read twice")
		}
		once = true
		in.Retain()
		return in, nil
	}
	how := stream
	if t.twice {
		how = table
	}
	if err = q.open(ctx, t.name, t.in, open, how); err == nil {
		err = q.start(ctx, t.whole)
	}
	if err != nil {
		q.close()
		return nil, sqlError(err, t.sql, nil)
	}
	return q.reader(ctx, t.arrow, t.sql), nil
}

// Carried reports whether what with has and without lacks shows in the output of sql: whether its
// columns or their types differ, or it needs the new fields to be valid at all.
func (e *Engine) Carried(ctx context.Context, sql string, with, without *schema.Struct) (bool, error) {
	a, _, err := e.describe(ctx, sql, with)
	if err != nil {
		return false, err
	}
	b, _, err := e.describe(ctx, sql, without)
	var mistake *SQLError
	switch {
	case errors.As(err, &mistake):
		return true, nil
	case err != nil:
		return false, err
	}
	x, err := newOutput(a, with, local)
	if err != nil {
		return false, err
	}
	y, err := newOutput(b, without, local)
	if err != nil {
		return false, err
	}
	return !schema.Equal(x.schema, y.schema), nil
}
