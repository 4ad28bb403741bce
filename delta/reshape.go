package delta

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// A reshaper makes arrays of one type from arrays of another: it finds fields, at any depth, by name
// or by id, fills in those the source lacks, leaves out those nobody wants, renames, and casts
// scalars. Buffers that do not change are shared. It is made once for a source type.
type reshaper struct {
	col  *column
	same bool // the source is what is wanted
	pos  []int
	kids []*reshaper // nil where the source has no such field
	cast castFunc    // of a scalar; nil when only the field around it differs
	// enforce makes a null where none is allowed an error.
	enforce bool
}

// matching is how arrays are reshaped: to be written, with NOT NULL checked unless it is lax, or as they were
// read.
type matching struct{ write, lax bool }

// newReshapers returns the reshapers of the columns for a source with these fields; nil stands for a
// column that the source lacks.
func newReshapers(cols []*column, fields []arrow.Field, m matching) ([]*reshaper, []int, error) {
	find := fieldFinder(fields)
	out, pos := make([]*reshaper, len(cols)), make([]int, len(cols))
	for i, c := range cols {
		pos[i] = find(c)
		if pos[i] < 0 {
			continue
		}
		r, err := newReshaper(c, fields[pos[i]].Type, m)
		if err != nil {
			return nil, nil, err
		}
		out[i] = r
	}
	return out, pos, nil
}

// fieldFinder returns the function that finds the field of a column, or -1. A field by another case is
// found when none has the very name, and one by name when no field has an id: tables that were made from
// files of other origins have such.
func fieldFinder(fields []arrow.Field) func(*column) int {
	names, folded, ids := make(map[string]int, len(fields)), make(map[string]int, len(fields)), map[int64]int{}
	for i, f := range fields {
		names[f.Name] = i
		folded[schema.Fold(f.Name)] = i
		if text, ok := f.Metadata.GetValue(fieldIDKey); ok {
			if id, err := strconv.ParseInt(text, 10, 64); err == nil {
				ids[id] = i
			}
		}
	}
	return func(c *column) int {
		if c.isKey {
			return -1 // its values are in the log
		}
		if c.id != 0 && len(ids) > 0 {
			if i, ok := ids[c.id]; ok {
				return i
			}
			return -1
		}
		if i, ok := names[c.name]; ok {
			return i
		}
		if i, ok := folded[schema.Fold(c.name)]; ok {
			return i
		}
		return -1
	}
}

func newReshaper(c *column, src arrow.DataType, m matching) (*reshaper, error) {
	r := &reshaper{col: c, enforce: m.write && !m.lax}
	if ext, ok := src.(arrow.ExtensionType); ok {
		storage, err := newReshaper(c, ext.StorageType(), m)
		r.cast = func(ctx context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
			return storage.apply(ctx, mem, a.(array.ExtensionArray).Storage())
		}
		return r, err
	}
	if src.ID() == arrow.NULL {
		return r, nil
	}
	var err error
	switch typ := c.typ.(type) {
	case *schema.Struct:
		st, ok := src.(*arrow.StructType)
		if !ok {
			break
		}
		r.kids, r.pos, err = newReshapers(c.kids, st.Fields(), m)
		return r.settle(src), err
	case *schema.Array:
		var elem arrow.DataType
		switch lt := src.(type) {
		case *arrow.ListType:
			elem = lt.Elem()
		case *arrow.LargeListType:
			elem = lt.Elem()
		default:
			return nil, r.mismatch(src)
		}
		e, err := newReshaper(c.kids[0], elem, m)
		r.kids = []*reshaper{e}
		return r.settle(src), err
	case *schema.Map:
		mt, ok := src.(*arrow.MapType)
		if !ok {
			break
		}
		k, err := newReshaper(c.kids[0], mt.KeyType(), m)
		if err != nil {
			return nil, err
		}
		v, err := newReshaper(c.kids[1], mt.ItemType(), m)
		r.kids = []*reshaper{k, v}
		return r.settle(src), err
	default:
		if st, ok := src.(*arrow.StructType); ok && typ == schema.Variant {
			if _, shredded := st.FieldIdx("typed_value"); shredded {
				r.cast = castShredded
				return r, nil
			}
			r.kids, r.pos, err = newReshapers(c.kids, st.Fields(), m)
			if err == nil && slices.Contains(r.kids, nil) {
				err = r.mismatch(src)
			}
			return r, err
		}
		if arrow.TypeEqual(src, c.out.Type) {
			r.same = true
			return r, nil
		}
		if cast := castTo(typ, src); cast != nil {
			r.cast = cast
			return r, nil
		}
		if cast := storedAs(typ, src); m.write && cast != nil {
			r.cast = cast
			return r, nil
		}
	}
	return nil, r.mismatch(src)
}

func (r *reshaper) mismatch(src arrow.DataType) error {
	return fmt.Errorf("column %s is %s, and Arrow's %s does not fit it", schema.Path(r.col.path...), r.col.typ, src)
}

// settle notes when nothing is to be done.
func (r *reshaper) settle(src arrow.DataType) *reshaper {
	r.same = !r.enforce && arrow.TypeEqual(src, r.col.out.Type)
	for i, k := range r.kids {
		r.same = r.same && k != nil && k.same && (r.pos == nil || r.pos[i] == i)
	}
	return r
}

// apply returns a reshaped, which the caller releases.
func (r *reshaper) apply(ctx context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
	if r.same {
		a.Retain()
		return a, nil
	}
	if a.DataType().ID() == arrow.NULL {
		return nulls(mem, r.col.out.Type, a.Len()), nil
	}
	if r.cast != nil {
		out, err := r.cast(ctx, mem, a)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", schema.Path(r.col.path...), err)
		}
		return out, nil
	}
	switch a := a.(type) {
	case *array.Struct:
		return r.applyStruct(ctx, mem, a)
	case *array.Map:
		return r.applyMap(ctx, mem, a)
	case *array.List:
		return r.applyList(ctx, mem, a, a.Data().Buffers()[1], a.ListValues())
	case *array.LargeList:
		return r.applyLargeList(ctx, mem, a)
	}
	return nil, r.mismatch(a.DataType())
}

func (r *reshaper) applyStruct(ctx context.Context, mem memory.Allocator, a *array.Struct) (arrow.Array, error) {
	kids := make([]arrow.ArrayData, len(r.kids))
	defer releaseData(kids)
	for i, k := range r.kids {
		var kid arrow.Array
		if k == nil {
			kid = nulls(mem, r.col.kids[i].out.Type, a.Len())
		} else {
			var err error
			if kid, err = k.apply(ctx, mem, a.Field(r.pos[i])); err != nil {
				return nil, err
			}
		}
		kids[i] = kid.Data()
		kids[i].Retain()
		kid.Release()
		if r.enforce && !r.col.kids[i].out.Nullable && hasNull(kids[i], a) {
			return nil, notNullError(r.col.kids[i])
		}
	}
	valid := validity(mem, a)
	if valid != nil {
		defer valid.Release()
	}
	data := array.NewData(r.col.out.Type, a.Len(), []*memory.Buffer{valid}, kids, a.NullN(), 0)
	defer data.Release()
	return array.NewStructData(data), nil
}

func (r *reshaper) applyList(ctx context.Context, mem memory.Allocator, a arrow.Array, offsets *memory.Buffer, values arrow.Array) (arrow.Array, error) {
	kid, err := r.kids[0].apply(ctx, mem, values)
	if err != nil {
		return nil, err
	}
	defer kid.Release()
	if r.enforce && !r.col.kids[0].out.Nullable && kid.NullN() > 0 {
		return nil, notNullError(r.col.kids[0])
	}
	data := array.NewData(r.col.out.Type, a.Len(), []*memory.Buffer{a.Data().Buffers()[0], offsets},
		[]arrow.ArrayData{kid.Data()}, a.NullN(), a.Data().Offset())
	defer data.Release()
	return array.NewListData(data), nil
}

func (r *reshaper) applyLargeList(ctx context.Context, mem memory.Allocator, a *array.LargeList) (arrow.Array, error) {
	large := a.Offsets() // of the slice, one more than it is long
	if n := len(large); n > 0 && large[n-1] > 1<<31-1 {
		return nil, fmt.Errorf("column %s: a list of more than 2^31 elements in one batch", schema.Path(r.col.path...))
	}
	narrow := make([]int32, a.Data().Offset()+a.Len()+1)
	for i := range a.Len() + 1 {
		narrow[a.Data().Offset()+i] = int32(large[i])
	}
	buf := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(narrow))
	defer buf.Release()
	return r.applyList(ctx, mem, a, buf, a.ListValues())
}

func (r *reshaper) applyMap(ctx context.Context, mem memory.Allocator, a *array.Map) (arrow.Array, error) {
	keys, err := r.kids[0].apply(ctx, mem, a.Keys())
	if err != nil {
		return nil, err
	}
	defer keys.Release()
	items, err := r.kids[1].apply(ctx, mem, a.Items())
	if err != nil {
		return nil, err
	}
	defer items.Release()
	switch {
	case r.enforce && keys.NullN() > 0:
		return nil, notNullError(r.col.kids[0])
	case r.enforce && !r.col.kids[1].out.Nullable && items.NullN() > 0:
		return nil, notNullError(r.col.kids[1])
	}
	entries := array.NewData(r.col.out.Type.(*arrow.MapType).Elem(), keys.Len(), []*memory.Buffer{nil},
		[]arrow.ArrayData{keys.Data(), items.Data()}, 0, 0)
	defer entries.Release()
	data := array.NewData(r.col.out.Type, a.Len(), a.Data().Buffers(), []arrow.ArrayData{entries}, a.NullN(), a.Data().Offset())
	defer data.Release()
	return array.NewMapData(data), nil
}

func releaseData(data []arrow.ArrayData) {
	for _, d := range data {
		if d != nil {
			d.Release()
		}
	}
}

// validity returns the validity bitmap of a, moved to start at its first value, or nil when nothing is
// null. The caller releases it.
func validity(mem memory.Allocator, a arrow.Array) *memory.Buffer {
	if a.NullN() == 0 {
		return nil
	}
	buf, off := a.Data().Buffers()[0], a.Data().Offset()
	if off == 0 {
		buf.Retain()
		return buf
	}
	moved := memory.NewResizableBuffer(mem)
	moved.Resize(int(bitutil.BytesForBits(int64(a.Len()))))
	bitutil.CopyBitmap(buf.Bytes(), off, a.Len(), moved.Bytes(), 0)
	return moved
}

// hasNull reports whether kid, a field of parent, is null somewhere where its parent is not.
func hasNull(kid arrow.ArrayData, parent arrow.Array) bool {
	if kid.NullN() == 0 && kid.DataType().ID() != arrow.NULL {
		return false
	}
	bits, off := kid.Buffers()[0], kid.Offset()
	for i := range kid.Len() {
		if parent.IsValid(i) && (bits == nil || !bitutil.BitIsSet(bits.Bytes(), off+i)) {
			return true
		}
	}
	return false
}

// ErrNotNull is the cause of the error for a null in a column that is NOT NULL.
var ErrNotNull = fmt.Errorf("null in a column that is NOT NULL")

func notNullError(c *column) error {
	return fmt.Errorf("column %s: %w", schema.Path(c.path...), ErrNotNull)
}

// nulls returns n nulls of the type, which may have parts that are always null; Arrow's own maker of nulls
// does not know those.
func nulls(mem memory.Allocator, t arrow.DataType, n int) arrow.Array {
	var kids []arrow.ArrayData
	var width int // bytes of offsets
	switch t := t.(type) {
	case *arrow.NullType:
		return array.NewNull(n)
	case *arrow.StructType:
		for _, f := range t.Fields() {
			kids = append(kids, nulls(mem, f.Type, n).Data())
		}
	case *arrow.MapType:
		kids, width = []arrow.ArrayData{nulls(mem, t.Elem(), 0).Data()}, (n+1)*arrow.Int32SizeBytes
	case *arrow.ListType:
		kids, width = []arrow.ArrayData{nulls(mem, t.Elem(), 0).Data()}, (n+1)*arrow.Int32SizeBytes
	default:
		return array.MakeArrayOfNull(mem, t, n)
	}
	defer releaseData(kids)
	buffers := []*memory.Buffer{zeros(mem, int(bitutil.BytesForBits(int64(n))))}
	if width > 0 {
		buffers = append(buffers, zeros(mem, width))
	}
	defer func() {
		for _, b := range buffers {
			b.Release()
		}
	}()
	data := array.NewData(t, n, buffers, kids, n, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

func zeros(mem memory.Allocator, n int) *memory.Buffer {
	b := memory.NewResizableBuffer(mem)
	b.Resize(n)
	clear(b.Bytes())
	return b
}
