package convert

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// keyless returns, for each row of rec, whether one of the target's key columns is null, or nil when none
// is.
func (o *output) keyless(rec arrow.RecordBatch) []string {
	var why []string
	for _, key := range o.to.Keys {
		all := steps(rec, key)
		if len(all) < len(key) { // no record has had it so far
			all = append(all, nil)
		}
		for _, a := range all {
			if a != nil && a.NullN() == 0 && a.DataType().ID() != arrow.NULL {
				continue
			}
			if why == nil {
				why = make([]string, rec.NumRows())
			}
			for row := range why {
				if why[row] == "" && (a == nil || a.IsNull(row)) {
					why[row] = "the key column " + schema.Path(key...) + " is NULL"
				}
			}
		}
	}
	return why
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
