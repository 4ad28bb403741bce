package silt

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// variantsAsText gives values of type VARIANT, at any depth, as the text of their JSON, which SQL can look
// into. Their fields say so; see [schema.HoldsJSON].
func variantsAsText(r array.RecordReader) array.RecordReader {
	var fields []arrow.Field
	some := false
	for _, f := range r.Schema().Fields() {
		text := variantField(f)
		some = some || !arrow.TypeEqual(text.Type, f.Type)
		fields = append(fields, text)
	}
	if !some {
		return r
	}
	metadata := r.Schema().Metadata()
	return &variantReader{RecordReader: r, schema: arrow.NewSchema(fields, &metadata)}
}

// variantField is f with text where it has variants.
func variantField(f arrow.Field) arrow.Field {
	if arrow.TypeEqual(f.Type, schema.ArrowType(schema.Variant)) {
		return schema.JSONField(f)
	}
	switch t := f.Type.(type) {
	case *arrow.ListType:
		f.Type = arrow.ListOfField(variantField(t.ElemField()))
	case *arrow.MapType:
		f.Type = arrow.MapOfFields(t.KeyField(), variantField(t.ItemField()))
	case *arrow.StructType:
		fields := t.Fields()
		for i := range fields {
			fields[i] = variantField(fields[i])
		}
		f.Type = arrow.StructOf(fields...)
	}
	return f
}

// withoutVariants is t with STRING where it has VARIANT.
func withoutVariants(t schema.Type) schema.Type {
	switch t := t.(type) {
	case *schema.Array:
		return &schema.Array{Element: withoutVariants(t.Element), ContainsNull: t.ContainsNull}
	case *schema.Map:
		return &schema.Map{Key: t.Key, Value: withoutVariants(t.Value), ValueContainsNull: t.ValueContainsNull}
	case *schema.Struct:
		fields := slices.Clone(t.Fields)
		for i := range fields {
			fields[i].Type = withoutVariants(fields[i].Type)
		}
		return schema.NewStruct(fields...)
	}
	if t == schema.Variant {
		return schema.String
	}
	return t
}

type variantReader struct {
	array.RecordReader
	schema *arrow.Schema
	batch  arrow.RecordBatch
	err    error
}

func (r *variantReader) Schema() *arrow.Schema          { return r.schema }
func (r *variantReader) RecordBatch() arrow.RecordBatch { return r.batch }
func (r *variantReader) Record() arrow.RecordBatch      { return r.batch }

func (r *variantReader) Err() error {
	if r.err != nil {
		return r.err
	}
	return r.RecordReader.Err()
}

func (r *variantReader) Next() bool {
	r.drop()
	if r.err != nil || !r.RecordReader.Next() {
		return false
	}
	in := r.RecordReader.RecordBatch()
	columns := make([]arrow.Array, in.NumCols())
	for i, c := range in.Columns() {
		data, err := variantText(c.Data(), r.schema.Field(i).Type)
		if err != nil {
			r.err = err
			return false
		}
		columns[i] = array.MakeFromData(data)
		data.Release()
		defer columns[i].Release()
	}
	r.batch = array.NewRecordBatch(r.schema, columns, in.NumRows())
	return true
}

func (r *variantReader) Release() {
	r.drop()
	r.RecordReader.Release()
}

func (r *variantReader) drop() {
	if r.batch != nil {
		r.batch.Release()
		r.batch = nil
	}
}

// variantText is data as to, a type that [variantField] made: with text in the place of variants. What has
// none is not copied.
func variantText(data arrow.ArrayData, to arrow.DataType) (arrow.ArrayData, error) {
	if arrow.TypeEqual(data.DataType(), to) {
		data.Retain()
		return data, nil
	}
	if to.ID() == arrow.STRING {
		return variantStrings(data)
	}
	var want []arrow.DataType
	switch t := to.(type) {
	case *arrow.ListType:
		want = []arrow.DataType{t.Elem()}
	case *arrow.MapType:
		want = []arrow.DataType{t.Elem()}
	case *arrow.StructType:
		for _, f := range t.Fields() {
			want = append(want, f.Type)
		}
	}
	children := make([]arrow.ArrayData, len(want))
	for i, c := range data.Children() {
		child, err := variantText(c, want[i])
		if err != nil {
			return nil, err
		}
		defer child.Release()
		children[i] = child
	}
	return array.NewData(to, data.Len(), data.Buffers(), children, data.NullN(), data.Offset()), nil
}

// variantStrings is the JSON of each variant.
func variantStrings(data arrow.ArrayData) (arrow.ArrayData, error) {
	a := array.NewStructData(data)
	defer a.Release()
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	values, metadata := a.Field(0).(*array.Binary), a.Field(1).(*array.Binary)
	var text []byte
	for i := range a.Len() {
		// Inside a struct that is NULL, a variant may be one of no bytes.
		if a.IsNull(i) || len(metadata.Value(i)) == 0 {
			b.AppendNull()
			continue
		}
		var err error
		if text, err = decode.AppendVariantJSON(text[:0], values.Value(i), metadata.Value(i)); err != nil {
			return nil, err
		}
		b.Append(string(text))
	}
	out := b.NewArray()
	defer out.Release()
	out.Data().Retain()
	return out.Data(), nil
}
