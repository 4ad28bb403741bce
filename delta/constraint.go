package delta

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

// An Evaluator evaluates SQL as tables keep it: the conditions of CHECK constraints and the expressions
// of generated columns, in the dialect of Spark. Without one, tables that have any are not written.
type Evaluator interface {
	// Bind checks expressions over rows with these columns. An error means that one of them cannot be
	// evaluated exactly as Spark does: then nothing is written.
	Bind(ctx context.Context, columns *schema.Struct, expressions []Expression) (BoundExpressions, error)
}

// Expression is SQL and the type of its value.
type Expression struct {
	SQL  string
	Type schema.Type
}

// BoundExpressions are expressions over one schema. They belong to one goroutine.
type BoundExpressions interface {
	// Eval returns the values of the expressions, in their order, for each row of rec, which the caller
	// releases. It does not keep rec.
	Eval(ctx context.Context, rec arrow.RecordBatch) ([]arrow.Array, error)
	Close()
}

// Constraint is a condition that every row of a table meets.
type Constraint struct {
	// Name is that of a CHECK constraint; one that a column has is named by the column's path.
	Name string `json:"name"`
	SQL  string `json:"sql"`
}

// The properties and metadata keys of constraints and generated values. Source: protocol, "CHECK
// Constraints", "Column Invariants", "Generated Columns", "Identity Columns".
const (
	propConstraint   = "delta.constraints."
	metaInvariants   = "delta.invariants"
	metaGenerated    = "delta.generationExpression"
	metaIdentity     = "delta.identity.start"
	metaIdentityStep = "delta.identity.step"
	metaIdentityMark = "delta.identity.highWaterMark"
	metaIdentityOpen = "delta.identity.allowExplicitInsert"
)

// constraints returns the conditions on the rows of a table, in a fixed order.
func constraints(m *Metadata, s *schema.Struct) (out []Constraint, err error) {
	for key, sql := range m.Configuration {
		if name, ok := strings.CutPrefix(key, propConstraint); ok {
			out = append(out, Constraint{name, sql})
		}
	}
	walkFields(nil, s, func(path []string, f schema.Field) {
		text, ok := f.MetadataString(metaInvariants)
		if !ok {
			return
		}
		var rule struct{ Expression struct{ Expression string } }
		if e := json.Unmarshal([]byte(text), &rule); e != nil || rule.Expression.Expression == "" {
			err = fmt.Errorf("column %s: %s is not understood", schema.Path(path...), metaInvariants)
			return
		}
		out = append(out, Constraint{schema.Path(path...), rule.Expression.Expression})
	})
	slices.SortFunc(out, func(a, b Constraint) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// A ConstraintError means that a row breaks a rule of its table. Nothing of the rows that came with it is
// in the table.
type ConstraintError struct {
	// Kind is "CHECK constraint", "generated column" or "condition of the overwrite"; Name is that of the
	// constraint or the column.
	Kind, Name string
	SQL        string
	// Row is the place of the row in the record that it came with.
	Row int
	// Values are those of the columns that the SQL names, in the row that breaks the rule.
	Values []ColumnValue
}

// The kinds of a ConstraintError.
const (
	kindCheck     = "CHECK constraint"
	kindGenerated = "generated column"
	kindWhere     = "condition of the overwrite"
)

// ColumnValue is the value of a column in a row, as JSON.
type ColumnValue struct{ Column, JSON string }

func (e *ConstraintError) Error() string {
	var values []string
	for _, v := range e.Values {
		values = append(values, schema.Quote(v.Column)+" = "+v.JSON)
	}
	text := fmt.Sprintf("%s %s (%s) is violated", e.Kind, schema.Quote(e.Name), e.SQL)
	if len(values) > 0 {
		text += " by a row with " + strings.Join(values, ", ")
	}
	return text
}

// IsOverwrite reports whether it is the condition of an overwrite that the row does not meet, and no rule of the
// table.
func (e *ConstraintError) IsOverwrite() bool { return e.Kind == kindWhere }

// An IdentityError means that rows bring values for a column that the table numbers itself, GENERATED
// ALWAYS AS IDENTITY.
type IdentityError struct{ Column string }

func (e *IdentityError) Error() string {
	return fmt.Sprintf("column %s is GENERATED ALWAYS AS IDENTITY: rows cannot bring values for it", schema.Quote(e.Column))
}

// fieldOf returns the field of a column of data files, which may be one of row ids.
func fieldOf(s *schema.Struct, c *column) schema.Field {
	if i := s.IndexFold(c.name); i >= 0 {
		return s.Fields[i]
	}
	f := schema.Nullable(c.name, c.typ)
	f, _ = f.WithMetadata(metaPhysicalName, c.name) // a text in memory: it does not fail
	return f
}

// rules computes and checks the rows that a writer is given.
type rules struct {
	columns   []*column   // logical, of rows as data files hold them
	shapes    []*reshaper // from physical names
	logical   *arrow.Schema
	generated []int // places of generated columns
	values    BoundExpressions
	input     []int // places of the columns that values sees
	checks    []Constraint
	holds     BoundExpressions
	where     condition // that every row meets; nil is true
	whereText string
}

// newRules binds what the table demands of its rows; all are the columns of the table as data files hold
// them. It returns nil when nothing is demanded.
func newRules(ctx context.Context, wc WriteContext, all []*column, where Predicate, e Evaluator) (*rules, error) {
	r := &rules{checks: wc.Constraints}
	if where != nil {
		var err error
		if r.where, err = (binder{schema: wc.Schema, mode: wc.Mapping}).predicate(where); err != nil {
			return nil, err
		}
		r.whereText = predicateText(where)
	}
	var made []Expression
	input := &schema.Struct{}
	var fields []schema.Field
	for i, c := range all {
		f := fieldOf(wc.Schema, c)
		fields = append(fields, f)
		if sql, ok := f.MetadataString(metaGenerated); ok {
			r.generated = append(r.generated, i)
			made = append(made, Expression{sql, f.Type})
		} else {
			r.input = append(r.input, i)
			input.Fields = append(input.Fields, f)
		}
	}
	sql := len(made)+len(r.checks) > 0
	switch {
	case !sql && r.where == nil:
		return nil, nil
	case sql && e == nil:
		return nil, &UnsupportedError{"write", wc.NeedsSQL}
	}
	table := schema.NewStruct(fields...)
	var err error
	if r.columns, err = readColumns(table, wc.Mapping); err != nil {
		return nil, err
	}
	if r.shapes, _, err = newReshapers(r.columns, outFields(all), matching{}); err != nil {
		return nil, err
	}
	r.logical = arrow.NewSchema(outFields(r.columns), nil)
	if len(made) > 0 {
		if r.values, err = e.Bind(ctx, input, made); err != nil {
			return nil, unbound(ctx, wc, err)
		}
	}
	if len(r.checks) > 0 {
		var list []Expression
		for _, c := range r.checks {
			list = append(list, Expression{c.SQL, schema.Boolean})
		}
		if r.holds, err = e.Bind(ctx, table, list); err != nil {
			r.close()
			return nil, unbound(ctx, wc, err)
		}
	}
	return r, nil
}

// unbound says that the table is not written, because SQL that it keeps cannot be evaluated.
func unbound(ctx context.Context, wc WriteContext, err error) error {
	if ctx.Err() != nil || len(wc.NeedsSQL) == 0 {
		return err
	}
	names := slices.Clone(wc.NeedsSQL)
	names[len(names)-1] += ": " + err.Error()
	return &UnsupportedError{"write", names}
}

func (r *rules) close() {
	if r == nil {
		return
	}
	if r.values != nil {
		r.values.Close()
	}
	if r.holds != nil {
		r.holds.Close()
	}
	r.values, r.holds = nil, nil
}

// apply fills in the generated columns that are not given, and checks those that are, and the
// constraints. The arrays are those of n rows in the order of the table's columns.
func (r *rules) apply(ctx context.Context, w *DataWriter, arrays []arrow.Array, given func(i int) bool, n int64) error {
	if r == nil {
		return nil
	}
	if r.values != nil {
		if err := r.generate(ctx, w, arrays, given, n); err != nil {
			return err
		}
	}
	if r.holds == nil && r.where == nil {
		return nil
	}
	rec, err := r.record(ctx, w, arrays, nil, n)
	if err != nil {
		return err
	}
	defer rec.Release()
	if err := r.meets(rec); err != nil || r.holds == nil {
		return err
	}
	holds, err := r.evaluate(ctx, rec)
	if err != nil {
		return err
	}
	defer releaseArrays(holds)
	for k, a := range holds {
		is := a.(*array.Boolean)
		for i := range is.Len() {
			if is.IsNull(i) || !is.Value(i) {
				return &ConstraintError{kindCheck, r.checks[k].Name, r.checks[k].SQL, i, valuesOf(rec, i, r.checks[k].SQL)}
			}
		}
	}
	return nil
}

// meets fails when a row is not of those that the writer was told to expect.
func (r *rules) meets(rec arrow.RecordBatch) error {
	if r.where == nil {
		return nil
	}
	is := make([]bool, rec.NumRows())
	if err := r.where.mark(rec, is); err != nil {
		return err
	}
	if i := slices.Index(is, false); i >= 0 {
		return &ConstraintError{kindWhere, "where", r.whereText, i, valuesOf(rec, i, r.whereText)}
	}
	return nil
}

func (r *rules) generate(ctx context.Context, w *DataWriter, arrays []arrow.Array, given func(i int) bool, n int64) error {
	rec, err := r.record(ctx, w, arrays, r.input, n)
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
		c := r.columns[i]
		if !given(i) {
			arrays[i].Release()
			values[k].Retain()
			arrays[i] = values[k]
			continue
		}
		if row := firstDifference(arrays[i], values[k]); row >= 0 {
			f := w.wc.Schema.Fields[w.wc.Schema.IndexFold(c.out.Name)]
			sql, _ := f.MetadataString(metaGenerated)
			e := &ConstraintError{kindGenerated, f.Name, sql, row, valuesOf(rec, row, sql)}
			e.Values = append(e.Values, ColumnValue{f.Name, valueJSON(arrays[i], row)})
			return e
		}
	}
	return nil
}

// record returns the rows under their logical names; places are the columns wanted, nil is all.
func (r *rules) record(ctx context.Context, w *DataWriter, arrays []arrow.Array, places []int, n int64) (arrow.RecordBatch, error) {
	if places == nil {
		for i := range arrays {
			places = append(places, i)
		}
	}
	var out []arrow.Array
	var fields []arrow.Field
	defer func() { releaseArrays(out) }()
	for _, i := range places {
		a, err := r.shapes[i].apply(ctx, w.o.Allocator, arrays[i])
		if err != nil {
			return nil, err
		}
		out, fields = append(out, a), append(fields, r.logical.Field(i))
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), out, n), nil
}

func releaseArrays(list []arrow.Array) {
	for _, a := range list {
		if a != nil {
			a.Release()
		}
	}
}

// firstDifference returns the first row in which the arrays differ, with null equal to null, or -1.
func firstDifference(a, b arrow.Array) int {
	if array.Equal(a, b) {
		return -1
	}
	for i := range a.Len() {
		if differsAt(a, b, i) {
			return i
		}
	}
	return -1
}

func differsAt(a, b arrow.Array, i int) bool {
	return !array.SliceEqual(a, int64(i), int64(i+1), b, int64(i), int64(i+1)) && !(isNaN(a, i) && isNaN(b, i))
}

func isNaN(a arrow.Array, i int) bool {
	switch a := a.(type) {
	case *array.Float32:
		return a.IsValid(i) && a.Value(i) != a.Value(i)
	case *array.Float64:
		return a.IsValid(i) && a.Value(i) != a.Value(i)
	}
	return false
}

var sqlWord = regexp.MustCompile(`[\pL\pN_]+`)

// valuesOf returns the values in a row of the columns that the SQL names.
func valuesOf(rec arrow.RecordBatch, row int, sql string) (out []ColumnValue) {
	for _, i := range named(rec.Schema(), sql) {
		out = append(out, ColumnValue{rec.ColumnName(i), valueJSON(rec.Column(i), row)})
	}
	return out
}

func valueJSON(a arrow.Array, row int) string {
	text, err := json.Marshal(a.GetOneForMarshal(row))
	if err != nil {
		return a.ValueStr(row)
	}
	return string(text)
}
