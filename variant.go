package silt

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// variantsAsText gives the columns of type VARIANT as the text of their JSON, which SQL can look into.
func variantsAsText(r array.RecordReader) array.RecordReader {
	fields := slices.Clone(r.Schema().Fields())
	var columns []int
	for i, f := range fields {
		if arrow.TypeEqual(f.Type, schema.ArrowType(schema.Variant)) {
			fields[i].Type = arrow.BinaryTypes.String
			columns = append(columns, i)
		}
	}
	if columns == nil {
		return r
	}
	metadata := r.Schema().Metadata()
	return &variantReader{RecordReader: r, schema: arrow.NewSchema(fields, &metadata), columns: columns}
}

type variantReader struct {
	array.RecordReader
	schema  *arrow.Schema
	columns []int // of VARIANT
	batch   arrow.RecordBatch
	err     error
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
	columns := slices.Clone(in.Columns())
	for _, i := range r.columns {
		text, err := variantText(columns[i].(*array.Struct))
		if err != nil {
			r.err = err
			return false
		}
		defer text.Release()
		columns[i] = text
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

// variantText is the JSON of each variant.
func variantText(a *array.Struct) (arrow.Array, error) {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	values, metadata := a.Field(0).(*array.Binary), a.Field(1).(*array.Binary)
	var text []byte
	for i := range a.Len() {
		if a.IsNull(i) {
			b.AppendNull()
			continue
		}
		var err error
		if text, err = decode.AppendVariantJSON(text[:0], values.Value(i), metadata.Value(i)); err != nil {
			return nil, err
		}
		b.Append(string(text))
	}
	return b.NewArray(), nil
}
