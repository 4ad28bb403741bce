package merge

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// take returns the rows of rec at the given places, which may repeat.
func take(ctx context.Context, rec arrow.RecordBatch, places []int32) (arrow.RecordBatch, error) {
	index := indexes(places)
	defer index.Release()
	out, err := compute.Take(ctx, compute.TakeOptions{}, compute.NewDatumWithoutOwning(rec), compute.NewDatumWithoutOwning(index))
	if err != nil {
		return nil, err
	}
	return out.(*compute.RecordDatum).Value, nil
}

func indexes(places []int32) arrow.Array {
	b := array.NewInt32Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(places, nil)
	return b.NewArray()
}

// combiner makes the rows that a table has after an update of those it had and of the changes.
type combiner struct {
	fields     []*presence
	ignoreNull bool
}

// update returns the row that each of old becomes by the change at the same place.
func (c combiner) update(ctx context.Context, old, change arrow.RecordBatch) (arrow.RecordBatch, error) {
	cols := make([]arrow.Array, old.NumCols())
	defer releaseAll(cols)
	for i := range cols {
		switch i - len(c.fields) {
		case 0: // the id of the row
			old.Column(i).Retain()
			cols[i] = old.Column(i)
			continue
		case 1: // the version that changed it last, which is that of the merge
			cols[i] = array.MakeArrayOfNull(memory.DefaultAllocator, arrow.PrimitiveTypes.Int64, int(old.NumRows()))
			continue
		}
		var err error
		if cols[i], err = c.column(ctx, old.Column(i), change.Column(i), c.fields[i]); err != nil {
			return nil, err
		}
	}
	return array.NewRecordBatch(old.Schema(), cols, old.NumRows()), nil
}

func releaseAll(all []arrow.Array) {
	for _, a := range all {
		if a != nil {
			a.Release()
		}
	}
}

// column returns the new values of a field. A field that the source lacks, at any depth of structs,
// keeps its value; lists and maps are replaced as a whole.
func (c combiner) column(ctx context.Context, old, change arrow.Array, p *presence) (arrow.Array, error) {
	switch {
	case !p.has:
		old.Retain()
		return old, nil
	case p.kids != nil && (c.ignoreNull || !p.whole()):
		return c.structs(ctx, old.(*array.Struct), change.(*array.Struct), p)
	case c.ignoreNull && change.NullN() > 0:
		return firstValid(ctx, change, old)
	}
	change.Retain()
	return change, nil
}

// structs combines field by field. A struct stays one where the source has null for it, so that fields that
// the source does not know keep their values, and is null where both are: what Delta made the rule in 4.4.
func (c combiner) structs(ctx context.Context, old, change *array.Struct, p *presence) (arrow.Array, error) {
	n := old.Len()
	bits := memory.NewResizableBuffer(memory.DefaultAllocator)
	defer bits.Release()
	bits.Resize(int(bitutil.BytesForBits(int64(n))))
	valid := bits.Bytes()
	clear(valid)
	for i := range n {
		if change.IsValid(i) || old.IsValid(i) {
			bitutil.SetBit(valid, i)
		}
	}
	kids := make([]arrow.Array, old.NumField())
	defer releaseAll(kids)
	data := make([]arrow.ArrayData, len(kids))
	for f := range kids {
		a, b := below(old, f), below(change, f)
		var err error
		kids[f], err = c.column(ctx, a, b, p.kids[f])
		a.Release()
		b.Release()
		if err != nil {
			return nil, err
		}
		data[f] = kids[f].Data()
	}
	out := array.NewData(old.DataType(), n, []*memory.Buffer{bits}, data, array.UnknownNullCount, 0)
	defer out.Release()
	return array.NewStructData(out), nil
}

// below returns a field of a struct as values that are null where the struct is.
func below(s *array.Struct, f int) arrow.Array {
	kid := s.Field(f)
	if s.NullN() == 0 || kid.DataType().ID() == arrow.NULL {
		kid.Retain()
		return kid
	}
	d := kid.Data()
	bits := memory.NewResizableBuffer(memory.DefaultAllocator)
	defer bits.Release()
	bits.Resize(int(bitutil.BytesForBits(int64(d.Offset() + d.Len()))))
	clear(bits.Bytes())
	for i := range kid.Len() {
		if s.IsValid(i) && kid.IsValid(i) {
			bitutil.SetBit(bits.Bytes(), d.Offset()+i)
		}
	}
	buffers := append([]*memory.Buffer{bits}, d.Buffers()[1:]...)
	out := array.NewData(d.DataType(), d.Len(), buffers, d.Children(), array.UnknownNullCount, d.Offset())
	defer out.Release()
	return array.MakeFromData(out)
}

// firstValid returns the values of a, and where they are null those of b.
func firstValid(ctx context.Context, a, b arrow.Array) (arrow.Array, error) {
	both, err := array.Concatenate([]arrow.Array{a, b}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	defer both.Release()
	places := make([]int32, a.Len())
	for i := range places {
		if places[i] = int32(i); a.IsNull(i) {
			places[i] += int32(a.Len())
		}
	}
	index := indexes(places)
	defer index.Release()
	return compute.TakeArray(ctx, both, index)
}

func takeArray(ctx context.Context, a arrow.Array, places []int32) (arrow.Array, error) {
	index := indexes(places)
	defer index.Release()
	return compute.TakeArray(ctx, a, index)
}
