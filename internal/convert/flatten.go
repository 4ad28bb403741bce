package convert

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// Flatten makes columns of the fields of structs, in the place of the column that holds these. It goes by
// the schema alone, so a field that becomes part of the schema is a column at once. No value is copied.
type Flatten struct {
	// Columns are top-level columns of the data, found without case; "*" is all of them. One that is no
	// struct stays as it is.
	Columns []string `json:"columns"`
	// Separator stands between the names on the way to a field.
	Separator string `json:"separator"`
	// Prefix stands before the names of fields; nil is the name of the column and the separator.
	Prefix *string `json:"prefix,omitempty"`
	// Depth is how many levels of structs are flattened; 0 is all. Deeper ones stay structs.
	Depth int `json:"depth,omitempty"`
}

// AllColumns among the columns of a [Flatten] is every column.
const AllColumns = "*"

// flatColumn is a column of flattened rows.
type flatColumn struct {
	name  string
	steps []int    // from the column of the data down to the field
	path  []string // the same, as names
	typ   schema.Type
}

// flattened are the columns that the first of the rules that names a column makes of each column of s.
func flattened(rules []Flatten, s *schema.Struct) (columns []flatColumn) {
	for i, f := range s.Fields {
		c := flatColumn{f.Name, []int{i}, []string{f.Name}, f.Type}
		k := slices.IndexFunc(rules, func(r Flatten) bool { return r.takes(f.Name) })
		if st, ok := f.Type.(*schema.Struct); ok && k >= 0 && len(st.Fields) > 0 {
			r := rules[k]
			prefix := f.Name + r.Separator
			if r.Prefix != nil {
				prefix = *r.Prefix
			}
			columns = r.spread(columns, c, prefix, st, 1)
		} else {
			columns = append(columns, c)
		}
	}
	return columns
}

func (r Flatten) takes(column string) bool {
	return slices.ContainsFunc(r.Columns, func(c string) bool { return c == AllColumns || schema.Fold(c) == schema.Fold(column) })
}

func (r Flatten) spread(columns []flatColumn, at flatColumn, prefix string, s *schema.Struct, level int) []flatColumn {
	for i, f := range s.Fields {
		c := flatColumn{prefix + f.Name, append(slices.Clip(at.steps), i), append(slices.Clip(at.path), f.Name), f.Type}
		if inner, ok := f.Type.(*schema.Struct); ok && len(inner.Fields) > 0 && (r.Depth == 0 || level < r.Depth) {
			columns = r.spread(columns, c, c.name+r.Separator, inner, level+1)
		} else {
			columns = append(columns, c)
		}
	}
	return columns
}

// Collision is two fields that flattening would give one name.
type Collision struct {
	// Path is the field that gives way, Other the column or field that keeps the name.
	Path, Other []string
	Column      string
}

// Collisions are the fields of the source that flattening would give a name which is taken already: by a
// column that is not flattened, or by a field that comes before. Columns differ in more than case.
func (t *Task) Collisions() (all []Collision) {
	for i := range t.Targets {
		all = append(all, t.collisions(&t.Targets[i])...)
	}
	return all
}

func (t *Task) collisions(to *Target) (all []Collision) {
	if len(to.Flatten) == 0 {
		return nil
	}
	taken := map[string][]string{}
	for _, name := range t.source(true).Names()[len(t.Decode.Schema.Fields):] {
		taken[schema.Fold(name)] = []string{name}
	}
	columns := flattened(to.Flatten, t.Decode.Schema)
	for _, c := range columns {
		if len(c.path) == 1 {
			taken[schema.Fold(c.name)] = c.path
		}
	}
	for _, c := range columns {
		if len(c.path) == 1 {
			continue
		}
		if other, is := taken[schema.Fold(c.name)]; is {
			all = append(all, Collision{c.path, other, c.name})
		} else {
			taken[schema.Fold(c.name)] = c.path
		}
	}
	return all
}

// flattened is the schema of rows whose columns behind the data are those of source.
func (to *Target) flattened(t *Task, source *schema.Struct) *schema.Struct {
	if len(to.Flatten) == 0 {
		return source
	}
	out := &schema.Struct{}
	for _, c := range flattened(to.Flatten, t.Decode.Schema) {
		out.Fields = append(out.Fields, schema.Nullable(c.name, c.typ))
	}
	out.Fields = append(out.Fields, source.Fields[len(t.Decode.Schema.Fields):]...)
	return out
}

// flat returns rows as flattened says. The caller releases them.
func (to *Target) flat(t *Task, rec arrow.RecordBatch) arrow.RecordBatch {
	var columns []arrow.Array
	for _, c := range flattened(to.Flatten, t.Decode.Schema) {
		columns = append(columns, fieldOf(rec.Column(c.steps[0]), c.steps[1:]))
	}
	for _, c := range rec.Columns()[len(t.Decode.Schema.Fields):] {
		c.Retain()
		columns = append(columns, c)
	}
	out := array.NewRecordBatch(t.Source(to).Arrow(), columns, rec.NumRows())
	for _, c := range columns {
		c.Release()
	}
	return out
}

// fieldOf is a field of structs, null where one of the structs around it is.
func fieldOf(a arrow.Array, steps []int) arrow.Array {
	a.Retain()
	for _, i := range steps {
		outer := a
		a = within(outer.(*array.Struct), i)
		outer.Release()
	}
	return a
}

// within is field i of s, null where s is.
func within(s *array.Struct, i int) arrow.Array {
	field := s.Field(i)
	if s.NullN() == 0 {
		field.Retain()
		return field
	}
	data := field.Data()
	n, off := data.Len(), data.Offset()
	bits := memory.NewResizableBuffer(memory.DefaultAllocator)
	defer bits.Release()
	bits.Resize(int(bitutil.BytesForBits(int64(off + n))))
	if own := field.NullBitmapBytes(); field.NullN() == 0 || len(own) == 0 {
		bitutil.CopyBitmap(s.NullBitmapBytes(), s.Data().Offset(), n, bits.Bytes(), off)
	} else {
		bitutil.BitmapAnd(s.NullBitmapBytes(), own, int64(s.Data().Offset()), int64(off), bits.Bytes(), int64(off), int64(n))
	}
	buffers := slices.Clone(data.Buffers())
	buffers[0] = bits
	out := array.NewData(data.DataType(), n, buffers, data.Children(), array.UnknownNullCount, off)
	defer out.Release()
	return array.MakeFromData(out)
}
