package delta

import (
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/extensions"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// castShredded puts variants together whose parts are stored as columns of their own. Source: Parquet,
// "Variant Shredding".
func castShredded(_ context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
	storage := completeGroup(mem, a.(*array.Struct))
	defer storage.Release()
	t, err := extensions.NewVariantType(storage.DataType())
	if err != nil {
		return nil, err
	}
	src := array.NewExtensionArrayWithStorage(t, storage).(*extensions.VariantArray)
	defer src.Release()
	b := array.NewStructBuilder(mem, schema.ArrowType(schema.Variant).(*arrow.StructType))
	defer b.Release()
	values, metadata := b.FieldBuilder(0).(*array.BinaryBuilder), b.FieldBuilder(1).(*array.BinaryBuilder)
	for i := range src.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		v, err := src.Value(i)
		if err != nil {
			return nil, fmt.Errorf("variant in row %d: %w", i, err)
		}
		b.Append(true)
		values.Append(v.Bytes())
		metadata.Append(v.Metadata().Bytes())
	}
	return b.NewArray(), nil
}

// completeGroup returns the group of a shredded value with a typed_value in it and in all groups below,
// of nulls where there is none: the reader of the library expects one. The caller releases it.
func completeGroup(mem memory.Allocator, st *array.Struct) arrow.Array {
	t := st.DataType().(*arrow.StructType)
	var fields []arrow.Field
	var kids []arrow.ArrayData
	defer func() { releaseData(kids) }()
	typed := false
	for i, f := range t.Fields() {
		kid := st.Field(i)
		kid.Retain()
		if f.Name == "typed_value" {
			typed = true
			whole := completeTyped(mem, kid)
			kid.Release()
			kid, f.Type = whole, whole.DataType()
		}
		f.Nullable = f.Nullable || f.Name == "value"
		fields = append(fields, f)
		kids = append(kids, kid.Data())
	}
	if !typed {
		fields = append(fields, arrow.Field{Name: "typed_value", Type: arrow.PrimitiveTypes.Int64, Nullable: true})
		kids = append(kids, nulls(mem, arrow.PrimitiveTypes.Int64, st.Len()).Data())
	}
	return structOf(mem, st, fields, kids)
}

// completeTyped does the same for a typed_value: an object of groups, a list of groups, or a scalar.
func completeTyped(mem memory.Allocator, a arrow.Array) arrow.Array {
	switch a := a.(type) {
	case *array.Struct:
		fields := a.DataType().(*arrow.StructType).Fields()
		kids := make([]arrow.ArrayData, len(fields))
		defer releaseData(kids)
		for i := range fields {
			kid := a.Field(i)
			kid.Retain()
			if st, ok := kid.(*array.Struct); ok {
				kid.Release()
				kid = completeGroup(mem, st)
			}
			fields[i].Type, kids[i] = kid.DataType(), kid.Data()
		}
		return structOf(mem, a, fields, kids)
	case *array.List:
		st, ok := a.ListValues().(*array.Struct)
		if !ok {
			break
		}
		kid := completeGroup(mem, st)
		defer kid.Release()
		elem := a.DataType().(*arrow.ListType).ElemField()
		elem.Type = kid.DataType()
		data := array.NewData(arrow.ListOfField(elem), a.Len(), a.Data().Buffers(), []arrow.ArrayData{kid.Data()}, a.NullN(), a.Data().Offset())
		defer data.Release()
		return array.NewListData(data)
	}
	a.Retain()
	return a
}

// structOf returns a struct of other fields that is null where like is null.
func structOf(mem memory.Allocator, like arrow.Array, fields []arrow.Field, kids []arrow.ArrayData) arrow.Array {
	valid := validity(mem, like)
	if valid != nil {
		defer valid.Release()
	}
	data := array.NewData(arrow.StructOf(fields...), like.Len(), []*memory.Buffer{valid}, kids, like.NullN(), 0)
	defer data.Release()
	return array.NewStructData(data)
}
