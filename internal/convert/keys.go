package convert

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// keyless returns, for each row of rec, why it cannot be merged, or nil when all can: one of the target's key
// columns is null, or what orders the rows is, although the record has a value for it.
func (o *output) keyless(rec arrow.RecordBatch) []string {
	var why []string
	say := func(row int, text string) {
		if why == nil {
			why = make([]string, rec.NumRows())
		}
		if why[row] == "" {
			why[row] = text
		}
	}
	for _, key := range o.to.Keys {
		all := steps(rec, key)
		if len(all) < len(key) { // no record has had it so far
			all = append(all, nil)
		}
		for _, a := range all {
			if a != nil && a.NullN() == 0 && a.DataType().ID() != arrow.NULL {
				continue
			}
			for row := range int(rec.NumRows()) {
				if a != nil && a.IsValid(row) {
					continue
				}
				text := "the key column " + schema.Path(key...) + " is NULL"
				if slices.Equal(key, o.to.Order) {
					text = o.orderless()
				}
				if value := o.rescuedAt(rec, row, key); value != "" {
					text += ", and the rescued data has " + value + " for it"
				}
				say(row, text)
			}
		}
	}
	all := steps(rec, o.to.Order)
	if len(all) < len(o.to.Order) {
		return why
	}
	for _, a := range all {
		for row := 0; row < a.Len() && a.NullN() > 0; row++ {
			if a.IsValid(row) {
				continue
			}
			if value := o.rescuedAt(rec, row, o.to.Order); value != "" {
				say(row, o.orderless()+", and the rescued data has "+value+" for it")
			}
		}
	}
	return why
}

// orderless says of a row that it has no place among those of its key.
func (o *output) orderless() string {
	return "the column " + schema.Path(o.to.Order...) + ", which orders the rows of a key, is NULL"
}

// rescuedAt is the text of the value that the rescued data of a row has for a column, or for a struct that the
// column is in; empty when it has none.
func (o *output) rescuedAt(rec arrow.RecordBatch, row int, path []string) string {
	i := slices.IndexFunc(rec.Schema().Fields(), func(f arrow.Field) bool { return f.Name == o.task.Decode.Rescue })
	if i < 0 || rec.Column(i).IsNull(row) {
		return ""
	}
	text, ok := rec.Column(i).(*array.String)
	if !ok {
		return ""
	}
	value := json.RawMessage(text.Value(row))
	for _, name := range path {
		var fields map[string]json.RawMessage
		if json.Unmarshal(value, &fields) != nil {
			break // in the place of the struct
		}
		value = nil
		for key, v := range fields {
			if schema.Fold(key) == schema.Fold(name) {
				value = v
			}
		}
		if value == nil {
			return ""
		}
	}
	return string(value[:min(len(value), 100)])
}

// steps are the structs on the way to a field and the field itself, as far as rec has them.
func steps(rec arrow.RecordBatch, path []string) (all []arrow.Array) {
	fields, at := rec.Schema().Fields(), rec.Column
	for _, name := range path {
		i := slices.IndexFunc(fields, func(f arrow.Field) bool { return schema.Fold(f.Name) == schema.Fold(name) })
		if i < 0 {
			return all
		}
		a := at(i)
		all = append(all, a)
		st, ok := a.(*array.Struct)
		if !ok {
			return all
		}
		fields, at = st.DataType().(*arrow.StructType).Fields(), st.Field
	}
	return all
}

func takeRows(ctx context.Context, rec arrow.RecordBatch, rows []int64) (arrow.RecordBatch, error) {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(rows, nil)
	index := b.NewArray()
	defer index.Release()
	out, err := compute.Take(ctx, compute.TakeOptions{}, compute.NewDatumWithoutOwning(rec), compute.NewDatumWithoutOwning(index))
	if err != nil {
		return nil, fmt.Errorf("rows without a key: %w", err)
	}
	return out.(*compute.RecordDatum).Value, nil
}
