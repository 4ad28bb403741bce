// Package evolve decides how the schema of a source grows, and remembers it.
//
// It sees no data: the decoder reports what it [decode.Observed], [Infer] makes the first schema of
// it, and [Evolve] a further one. Both return a [Decision], a value that can be looked at before
// anything is done. A [Location] keeps each schema that was decided as a [Version].
//
// A schema grows and never shrinks: a field keeps its place and its type, and a new one comes last in
// its struct. Source: Auto Loader, "Configure schema inference and evolution".
package evolve

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// Mode is the option schemaEvolutionMode.
type Mode uint8

// The modes.
const (
	// AddNewColumns makes a new field a column.
	AddNewColumns Mode = iota
	// Rescue leaves the schema alone: new fields go to the rescued data.
	Rescue
	// FailOnNewColumns stops at a new field.
	FailOnNewColumns
	// None leaves the schema alone, and new fields go nowhere unless a rescue column is asked for.
	None
	// AddNewColumnsWithTypeWidening is AddNewColumns, and lets a column become wide enough for the
	// numbers that it meets.
	AddNewColumnsWithTypeWidening
)

var modeNames = [...]string{"addNewColumns", "rescue", "failOnNewColumns", "none", "addNewColumnsWithTypeWidening"}

// Adds reports whether new fields become columns.
func (m Mode) Adds() bool { return m == AddNewColumns || m == AddNewColumnsWithTypeWidening }

func (m Mode) String() string { return modeNames[m] }

// Modes returns the names of the modes.
func Modes() []string { return slices.Clone(modeNames[:]) }

// ParseMode reads the name of a mode, in any case.
func ParseMode(name string) (Mode, bool) {
	i := slices.IndexFunc(modeNames[:], func(m string) bool { return strings.EqualFold(m, name) })
	return Mode(max(i, 0)), i >= 0
}

// Options are the rules of one pipeline.
type Options struct {
	Mode Mode
	// Given is the schema when it is not inferred.
	Given *schema.Struct
	// Hints are laid over what is inferred.
	Hints []schema.Hint
	// StringsOnly makes every inferred column a STRING: inferColumnTypes=false.
	StringsOnly bool
	// UntypedAsString makes a STRING of a field that has held only null, [] or {} so far, instead of
	// waiting for a value: Auto Loader's behaviour.
	UntypedAsString bool
	// Reserved are top-level names, compared without case, that no field of the data can have.
	Reserved []string
	// Table holds the columns of the table when fields are written into it as they are: its types and
	// spellings win.
	Table *schema.Struct
	// ValidName says whether the table can have a column, at any depth, of this name; nil: of any.
	ValidName func(string) bool
	// TypesFixed means that the table cannot take wider types.
	TypesFixed bool
	// MaxColumns is the number of columns, the fields inside of them counted, to which a schema grows by
	// itself; 0 is 5000. MaxKeys is that of the fields of one object inside a record; 0 is
	// [decode.MaxKeys]. Fields beyond are rescued.
	MaxColumns, MaxKeys int

	grows bool // there is a schema already
}

// Field is a field that the schema gets, or does not get yet.
type Field struct {
	Path  []string        `json:"path"`
	Type  schema.Type     `json:"-"`
	DDL   string          `json:"type,omitempty"`
	From  string          `json:"from,omitempty"` // the type before, when it became wider
	First decode.Position `json:"first"`
	// Values is the number of values seen that are not null.
	Values int64 `json:"values"`
}

func (f Field) String() string { return schema.Path(f.Path...) }

// Decision is how a schema goes on.
type Decision struct {
	Schema *schema.Struct
	// Added are the fields that the schema did not have, in its order.
	Added []Field
	// Widened are the columns that have a wider type.
	Widened []Field
	// Pending are the paths at which only null, [] or {} was seen.
	Pending []string
	// Wide are the objects with too many fields, and those that would better be maps.
	Wide []Wide

	// lost are the paths of objects that get no column although they hold values: those with more keys than
	// are told apart, and those that are nested too deep.
	lost map[string]bool
}

// A NewColumnsError stops a pipeline in the mode FailOnNewColumns.
type NewColumnsError struct{ Fields []Field }

func (e *NewColumnsError) Error() string {
	f := e.Fields[0]
	text := fmt.Sprintf("new column %s %s, first at %s line %d", f, f.DDL, f.First.File, f.First.Line)
	if n := len(e.Fields) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}

// Infer returns the first schema of a source in which o was seen at the top level; o is nil when
// nothing was. Added is what the table, if there is one, does not have. A Given schema is returned as
// it is.
func Infer(o *decode.Observed, opts Options) *Decision {
	if opts.Given != nil {
		return &Decision{Schema: opts.Given}
	}
	if o == nil {
		o = new(decode.Observed)
	}
	d := &Decision{Schema: &schema.Struct{}}
	fields := d.newFields(nil, d.Schema, o, opts)
	laid := opts
	laid.TypesFixed = true // no column has become wider than its hint yet
	d.Schema = laid.Overlay(d.Schema.Append(fields...))
	d.noteWide(nil, o)
	known := opts.Table
	if known == nil {
		known = &schema.Struct{}
	}
	d.Added = describe(schema.Additions(known, d.Schema), map[string]*decode.Observed{"": o})
	return d
}

// Evolve returns the schema that follows s when fields were seen for which it has no column: observed
// by the path of the struct they are in. In the mode FailOnNewColumns the error is a
// [*NewColumnsError].
func Evolve(s *schema.Struct, observed map[string]*decode.Observed, opts Options) (*Decision, error) {
	d := &Decision{Schema: s}
	opts.grows = true
	for _, at := range slices.Sorted(maps.Keys(observed)) {
		path, err := structPath(at)
		if err != nil {
			return nil, err
		}
		d.Schema = edit(d.Schema, path, func(t schema.Type) schema.Type {
			if st, ok := t.(*schema.Struct); ok {
				return st.Append(d.newFields(path, st, observed[at], opts)...)
			}
			return t
		}).(*schema.Struct)
	}
	if opts.Given == nil {
		d.Schema = opts.Overlay(d.Schema)
	}
	for _, at := range slices.Sorted(maps.Keys(observed)) {
		path, _ := structPath(at) // as above
		d.noteWide(path, observed[at])
	}
	d.Added = describe(schema.Additions(s, d.Schema), observed)
	switch {
	case opts.Mode == FailOnNewColumns && len(d.Added) > 0:
		return nil, &NewColumnsError{d.Added}
	case !opts.Mode.Adds():
		d.Schema, d.Added, d.Wide = s, nil, nil
	}
	return d, nil
}

// structPath is the inverse of schema.Path, which is empty for the top level.
func structPath(at string) ([]string, error) {
	if at == "" {
		return nil, nil
	}
	return schema.ParsePath(at)
}

// newFields returns, sorted by name, the fields that the struct at path gets for what was seen in its
// objects.
func (d *Decision) newFields(path []string, s *schema.Struct, o *decode.Observed, opts Options) []schema.Field {
	for _, w := range KeyedByData(path, o) {
		if w.Rescued {
			d.lose(w.Path)
		}
	}
	var fields []schema.Field
	for _, f := range o.Struct().Fields {
		at := append(path[:len(path):len(path)], f.Name)
		switch {
		case s.IndexFold(f.Name) >= 0, opts.rejects(at):
			continue
		case opts.UntypedAsString && opts.grows && f.Type == schema.Void:
			continue // a null adds nothing to a schema that is there
		case opts.StringsOnly && len(path) == 0 && !opts.hintsBelow(f.Name):
			if f.Type = schema.Type(schema.String); o.Field(f.Name).Values() == 0 && !opts.UntypedAsString {
				f.Type = d.finish(at, schema.Void, opts)
			}
		default:
			if f.Type = d.finish(at, f.Type, opts); f.Type != nil && opts.StringsOnly {
				f.Type = stringLeaves(f.Type)
			}
		}
		if f.Type != nil {
			fields = append(fields, f)
		}
	}
	return d.limit(path, s, fields, o, opts)
}

// defaultMaxColumns is a number that files, tables and those who look at them can still bear.
const defaultMaxColumns = 5000

// limit returns as many of the new fields of the struct at path as there is room for: those that were
// seen first.
func (d *Decision) limit(path []string, s *schema.Struct, fields []schema.Field, o *decode.Observed, opts Options) []schema.Field {
	room := cmp.Or(opts.MaxColumns, defaultMaxColumns) - d.Schema.Leaves()
	number := len(fields)
	if len(path) > 0 {
		number = max(0, cmp.Or(opts.MaxKeys, decode.MaxKeys)-len(s.Fields))
	}
	position := func(f schema.Field) decode.Position {
		if seen := o.Field(f.Name); seen != nil && seen.First != nil {
			return *seen.First
		}
		return decode.Position{}
	}
	if n := schema.NewStruct(fields...).Leaves(); n > room || len(fields) > number {
		slices.SortStableFunc(fields, func(a, b schema.Field) int { return position(a).Compare(position(b)) })
	}
	var kept []schema.Field
	out := Wide{Path: path, Rescued: true}
	for _, f := range fields {
		leaves := schema.NewStruct(f).Leaves()
		if leaves > room || len(kept) == number {
			if out.Keys++; out.Keys == 1 {
				out.First = position(f)
			}
			continue
		}
		room -= leaves
		kept = append(kept, f)
	}
	if o.Untold > 0 {
		if out.Keys++; out.Keys == 1 || o.FirstUntold.Compare(out.First) < 0 {
			out.First = *o.FirstUntold
		}
	}
	if out.Keys > 0 {
		if all := s.Append(fields...); len(path) > 0 && looksKeyed(all) {
			out.Hint = mapHint(path, valueType(all))
		}
		d.Wide = append(d.Wide, out)
	}
	schema.SortFields(kept)
	return kept
}

func (o Options) rejects(path []string) bool {
	name := path[len(path)-1]
	if len(path) == 1 && slices.ContainsFunc(o.Reserved, func(r string) bool { return schema.Fold(r) == schema.Fold(name) }) {
		return true
	}
	return o.ValidName != nil && !o.ValidName(name)
}

// hintsBelow reports whether a hint is for a part of the column.
func (o Options) hintsBelow(column string) bool {
	return slices.ContainsFunc(o.Hints, func(h schema.Hint) bool {
		return len(h.Path) > 1 && schema.Fold(h.Path[0]) == schema.Fold(column)
	})
}

// stringLeaves returns t with STRING for everything that has no parts.
func stringLeaves(t schema.Type) schema.Type {
	switch t := t.(type) {
	case *schema.Struct:
		out := &schema.Struct{}
		for _, f := range t.Fields {
			f.Type = stringLeaves(f.Type)
			out.Fields = append(out.Fields, f)
		}
		return out
	case *schema.Array:
		return &schema.Array{Element: stringLeaves(t.Element), ContainsNull: true}
	}
	return schema.String
}

// finish is the type of a column for what was seen, or nil when that has no type yet: VOID, a list of
// it, an object without typed fields. Source: Spark's JsonInferSchema, canonicalizeType.
func (d *Decision) finish(path []string, t schema.Type, opts Options) schema.Type {
	if len(path) > maxDepth && !schema.IsScalar(t) {
		d.Wide = append(d.Wide, Wide{Path: path, Keys: 1, Rescued: true, Deep: true})
		for n := 1; n <= len(path); n++ {
			d.lose(path[:n])
		}
		return nil
	}
	switch t := t.(type) {
	case schema.Primitive:
		if t != schema.Void {
			return t
		}
		if opts.UntypedAsString {
			return schema.String
		}
	case *schema.Array:
		if e := d.finish(append(path[:len(path):len(path)], "element"), t.Element, opts); e != nil {
			return &schema.Array{Element: e, ContainsNull: true}
		}
		return nil
	case *schema.Struct:
		out := &schema.Struct{}
		for _, f := range t.Fields {
			at := append(path[:len(path):len(path)], f.Name)
			if opts.rejects(at) {
				continue
			}
			if f.Type = d.finish(at, f.Type, opts); f.Type != nil {
				out.Fields = append(out.Fields, f)
			}
		}
		if len(out.Fields) > 0 {
			return out
		}
	default:
		return t
	}
	if d.lost[schema.Path(path...)] {
		return nil
	}
	for len(path) > 1 && path[len(path)-1] == "element" {
		path = path[:len(path)-1] // it is the list that has no type yet
	}
	d.Pending = append(d.Pending, schema.Path(path...))
	return nil
}

// maxDepth is the deepest nesting of objects and lists that becomes columns. Readers of Parquet and of
// Arrow have limits not far above.
const maxDepth = 50

// lose notes that the object or list at path has values and no column, so that it is not pending.
func (d *Decision) lose(path []string) {
	if d.lost == nil {
		d.lost = map[string]bool{}
	}
	d.lost[schema.Path(path...)] = true
}

// describe says of each addition where it was seen first.
func describe(added []schema.Addition, observed map[string]*decode.Observed) []Field {
	var fields []Field
	for _, a := range added {
		f := Field{Path: a.Path, Type: a.Type, DDL: a.Type.String()}
		if o := find(a.Path, observed); o != nil {
			f.Values = o.Values()
			if o.First != nil {
				f.First = *o.First
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// find returns what was seen at a path. The observation of a struct further up holds it when the
// struct is new itself.
func find(path []string, observed map[string]*decode.Observed) *decode.Observed {
	for n := len(path) - 1; n >= 0; n-- {
		o := observed[schema.Path(path[:n]...)]
		for _, step := range path[n:] {
			switch {
			case o == nil:
			case step == "element" && o.Element != nil && o.Field(step) == nil:
				o = o.Element
			default:
				o = o.Field(step)
			}
		}
		if o != nil {
			return o
		}
	}
	return nil
}
