package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

// Violation is a rule of the table that a row breaks.
type Violation struct {
	Row int // of the record
	// Rule is the name of a CHECK constraint, the path of a column for its invariant or its generation, or
	// NOT NULL and the path of a column.
	Rule string
	// Err is a [*ConstraintError], or wraps [ErrNotNull].
	Err error
}

// Offer is [DataWriter.Write] for rows that may break the rules of the table. When one does, nothing of
// rec is written, the writer is as before, and the violations of all rows are returned, in the order of
// the rows.
func (w *DataWriter) Offer(ctx context.Context, rec arrow.RecordBatch) ([]Violation, error) {
	if w.err != nil {
		return nil, w.err
	}
	// Rows are held against the rules before the first of them is handed on.
	err := w.write(ctx, rec)
	if !isOfRow(err) {
		w.err = err
		return nil, err
	}
	found, judgeErr := w.Violations(ctx, rec)
	if judgeErr != nil || len(found) == 0 {
		w.err = errors.Join(err, judgeErr)
	}
	return found, w.err
}

// HasRules reports whether rows may break a rule of the table. A context without columns, which is that of no
// table, has none.
func (wc WriteContext) HasRules() bool {
	if wc.Schema == nil {
		return false
	}
	found := len(wc.Constraints) > 0
	walkFields(nil, wc.Schema, func(_ []string, f schema.Field) {
		_, generated := f.MetadataString(metaGenerated)
		found = found || generated || !f.Nullable
	})
	return found || holdsNoNull(wc.Schema)
}

// holdsNoNull reports whether lists or maps of a type hold values that must not be null.
func holdsNoNull(t schema.Type) bool {
	switch t := t.(type) {
	case *schema.Struct:
		return slices.ContainsFunc(t.Fields, func(f schema.Field) bool { return holdsNoNull(f.Type) })
	case *schema.Array:
		return !t.ContainsNull || holdsNoNull(t.Element)
	case *schema.Map:
		return !t.ValueContainsNull || holdsNoNull(t.Value)
	}
	return false
}

// Recheck holds the rows of the files that are to be added against the rules of the table, when these are
// others than those of the context that the files were written under. It fails with the error of the first
// row that breaks one: a [*ConstraintError], or one that wraps [ErrNotNull].
func (t *Transaction) Recheck(ctx context.Context, under WriteContext, e Evaluator) error {
	if t.read == nil || len(t.adds) == 0 {
		return nil
	}
	now := t.WriteContext()
	if sameRules(under, now) {
		t.files = &under
		return nil
	}
	w, err := NewDataWriter(ctx, t.read.store, now, DataWriterOptions{Evaluator: e})
	if err != nil {
		return err
	}
	defer w.Abort(ctx)
	scan := t.read.Scan(ScanOptions{})
	for _, add := range t.adds {
		for rows, err := range scan.File(ctx, add) {
			if err != nil {
				return err
			}
			found, err := w.Violations(ctx, rows.RecordBatch)
			rows.Release()
			if err == nil && len(found) > 0 {
				err = found[0].Err
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// sameRules reports whether rows that meet the rules of one context meet those of the other.
func sameRules(was, now WriteContext) bool {
	return slices.Equal(was.Constraints, now.Constraints) && slices.Equal(was.NeedsSQL, now.NeedsSQL) &&
		slices.Equal(notNull(was.Schema), notNull(now.Schema))
}

// notNull are the paths of the columns that are NOT NULL.
func notNull(s *schema.Struct) (paths []string) {
	walkFields(nil, s, func(path []string, f schema.Field) {
		if !f.Nullable {
			paths = append(paths, schema.Path(path...))
		}
	})
	slices.Sort(paths)
	return paths
}

// isOfRow reports whether an error says that a row breaks a rule of the table.
func isOfRow(err error) bool {
	var broken *ConstraintError
	return errors.Is(err, ErrNotNull) || errors.As(err, &broken) && broken.Kind != kindWhere
}

// Violations returns the rules of the table that rows break, in the order of the rows, and writes nothing.
// With [DataWriterOptions.Partial] a rule is judged only where rec has all columns that it names.
func (w *DataWriter) Violations(ctx context.Context, rec arrow.RecordBatch) ([]Violation, error) {
	all := w.all()
	shapes, pos, err := newReshapers(all, rec.Schema().Fields(), matching{write: true, lax: true})
	if err != nil {
		return nil, err
	}
	arrays, err := w.arrays(ctx, rec, shapes, pos)
	defer releaseArrays(arrays)
	if err != nil {
		return nil, err
	}
	j := &judge{w: w, arrays: arrays, n: rec.NumRows(), given: func(i int) bool { return shapes[i] != nil }}
	if err := j.rules(ctx, w.rules); err != nil {
		return nil, err
	}
	rows := make([]int, rec.NumRows())
	for i := range rows {
		rows[i] = i
	}
	for i, c := range all {
		if j.judges(i) && strict(c) {
			j.nulls(c, arrays[i], rows)
		}
	}
	slices.SortStableFunc(j.found, func(a, b Violation) int { return a.Row - b.Row })
	return slices.CompactFunc(j.found, func(a, b Violation) bool { return a.Row == b.Row && a.Rule == b.Rule }), nil
}

// judge collects the violations of a record.
type judge struct {
	w      *DataWriter
	arrays []arrow.Array
	n      int64
	given  func(i int) bool
	found  []Violation
}

// judges reports whether rules about a column are judged.
func (j *judge) judges(i int) bool { return j.given(i) || !j.w.o.Partial }

// knows reports whether rules that name columns of the record are judged.
func (j *judge) knows(rec arrow.RecordBatch, places []int, sql string) bool {
	return !slices.ContainsFunc(named(rec.Schema(), sql), func(k int) bool {
		i := k
		if places != nil {
			i = places[k]
		}
		return !j.judges(i)
	})
}

func (j *judge) add(row int, rule string, err error) {
	j.found = append(j.found, Violation{row, rule, err})
}

func (j *judge) rules(ctx context.Context, r *rules) error {
	if r == nil {
		return nil
	}
	if err := j.generated(ctx, r); err != nil || r.holds == nil {
		return err
	}
	rec, err := r.record(ctx, j.w, j.arrays, nil, j.n)
	if err != nil {
		return err
	}
	defer rec.Release()
	holds, err := r.evaluate(ctx, rec)
	if err != nil {
		return err
	}
	defer releaseArrays(holds)
	for k, a := range holds {
		x, is := r.checks[k], a.(*array.Boolean)
		if !j.knows(rec, nil, x.SQL) {
			continue
		}
		for i := range is.Len() {
			if is.IsNull(i) || !is.Value(i) {
				j.add(i, x.Name, &ConstraintError{kindCheck, x.Name, x.SQL, i, valuesOf(rec, i, x.SQL)})
			}
		}
	}
	return nil
}

// generated fills in generated columns that are not given, and judges those that are.
func (j *judge) generated(ctx context.Context, r *rules) error {
	if r.values == nil {
		return nil
	}
	rec, err := r.record(ctx, j.w, j.arrays, r.input, j.n)
	if err != nil {
		return err
	}
	defer rec.Release()
	values, err := r.generation(ctx, rec)
	if err != nil {
		return err
	}
	defer releaseArrays(values)
	for k, i := range r.generated {
		f := j.w.wc.Schema.Fields[j.w.wc.Schema.IndexFold(r.columns[i].out.Name)]
		sql, _ := f.MetadataString(metaGenerated)
		switch {
		case !j.given(i):
			j.arrays[i].Release()
			values[k].Retain()
			j.arrays[i] = values[k]
		case j.knows(rec, r.input, sql):
			for row := range int(j.n) {
				if differsAt(j.arrays[i], values[k], row) {
					e := &ConstraintError{kindGenerated, f.Name, sql, row, valuesOf(rec, row, sql)}
					e.Values = append(e.Values, ColumnValue{f.Name, valueJSON(j.arrays[i], row)})
					j.add(row, f.Name, e)
				}
			}
		}
	}
	return nil
}

// strict reports whether a column, or something in it, is NOT NULL.
func strict(c *column) bool { return !c.out.Nullable || slices.ContainsFunc(c.kids, strict) }

// nulls finds the nulls of a column that is NOT NULL, or has such in it. The rows are those of the values;
// -1 is a value inside one that is null.
func (j *judge) nulls(c *column, a arrow.Array, rows []int) {
	for i, row := range rows {
		if row >= 0 && !c.out.Nullable && a.IsNull(i) {
			j.add(row, "NOT NULL "+schema.Path(c.path...), notNullError(c))
		}
	}
	if !slices.ContainsFunc(c.kids, strict) {
		return
	}
	switch a := a.(type) {
	case *array.Struct:
		inner := slices.Clone(rows)
		for i := range inner {
			if a.IsNull(i) {
				inner[i] = -1
			}
		}
		for k, kid := range c.kids {
			if strict(kid) {
				j.nulls(kid, a.Field(k), inner)
			}
		}
	case *array.Map:
		j.nulls(c.kids[0], a.Keys(), inside(a.List, rows, a.Keys().Len()))
		j.nulls(c.kids[1], a.Items(), inside(a.List, rows, a.Items().Len()))
	case *array.List:
		j.nulls(c.kids[0], a.ListValues(), inside(a, rows, a.ListValues().Len()))
	}
}

// inside returns the rows of the n values of lists.
func inside(a *array.List, rows []int, n int) []int {
	out := slices.Repeat([]int{-1}, n)
	for i := range a.Len() {
		if a.IsNull(i) {
			continue
		}
		from, to := a.ValueOffsets(i)
		for k := from; k < to; k++ {
			out[k] = rows[i]
		}
	}
	return out
}

// named returns the places of the columns that SQL names.
func named(s *arrow.Schema, sql string) (places []int) {
	words := map[string]bool{}
	for _, w := range sqlWord.FindAllString(sql, -1) {
		words[schema.Fold(w)] = true
	}
	for i, f := range s.Fields() {
		if words[schema.Fold(f.Name)] || strings.Contains(sql, "`"+f.Name+"`") {
			places = append(places, i)
		}
	}
	return places
}

// evaluate returns for each constraint whether rows meet it.
func (r *rules) evaluate(ctx context.Context, rec arrow.RecordBatch) ([]arrow.Array, error) {
	holds, err := r.holds.Eval(ctx, rec)
	if err != nil {
		return nil, err
	}
	for k, a := range holds {
		if is, ok := a.(*array.Boolean); !ok || int64(is.Len()) != rec.NumRows() {
			releaseArrays(holds)
			return nil, fmt.Errorf("constraint %s: its value is %d of %s, want %d of boolean", r.checks[k].Name, a.Len(), a.DataType(), rec.NumRows())
		}
	}
	return holds, nil
}

// generation returns the values of the generated columns.
func (r *rules) generation(ctx context.Context, rec arrow.RecordBatch) ([]arrow.Array, error) {
	values, err := r.values.Eval(ctx, rec)
	if err != nil {
		return nil, err
	}
	for k, i := range r.generated {
		c := r.columns[i]
		if int64(values[k].Len()) != rec.NumRows() || !arrow.TypeEqual(values[k].DataType(), c.out.Type) {
			err := fmt.Errorf("generated column %s: its value is %d of %s, want %d of %s", c.out.Name, values[k].Len(), values[k].DataType(), rec.NumRows(), c.out.Type)
			releaseArrays(values)
			return nil, err
		}
	}
	return values, nil
}
