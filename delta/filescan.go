package delta

import (
	"context"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// Bounds returns, for each of the fields at some paths, an array of two values, below and above which no value
// of the field in the data file lies, or nil when that is not known. Bounds may be wider than the
// values are. Both are null when the field holds only null.
func (s *Snapshot) Bounds(add *Add, columns [][]string) []arrow.Array {
	in := &fileSpans{add: add, wide: s.protocol.widening()}
	out := make([]arrow.Array, len(columns))
	for i, path := range columns {
		l, err := s.binder().leaf(path)
		if err != nil || l.class == classNone {
			continue
		}
		known := in.span(l)
		switch {
		case known.onlyNull:
			out[i] = nulls(memory.DefaultAllocator, schema.ArrowType(l.typ), 2)
		case known.lo == nil || known.hi == nil || !known.exact && (l.class == classFloat || l.typ == schema.Boolean):
			// A fraction may be NaN, on whose order engines do not agree.
		default:
			out[i] = l.pair(known)
		}
	}
	return out
}

// pair returns the bounds of a span as an array, or nil when they cannot be written as values.
func (l *leaf) pair(known span) arrow.Array {
	lo, hi := *known.lo, *known.hi
	if l.class == classBytes && !known.exact { // what begins with the maximum is within
		hi.s += strings.Repeat(string(utf8.MaxRune), 8)
	}
	if lo.over < 0 || lo.over > 1 || hi.over < 0 || hi.over > 1 {
		return nil
	}
	if hi.over == 1 { // up to the next value
		if hi.i == math.MaxInt64 {
			return nil
		}
		hi.i++
		hi.d = hi.d.Add(decimal128.FromI64(1))
	}
	b := array.NewBuilder(memory.DefaultAllocator, schema.ArrowType(l.typ))
	defer b.Release()
	for _, v := range []literal{lo, hi} {
		switch b := b.(type) {
		case *array.BooleanBuilder:
			b.Append(v.i != 0)
		case *array.Int8Builder:
			b.Append(int8(max(math.MinInt8, min(math.MaxInt8, v.i))))
		case *array.Int16Builder:
			b.Append(int16(max(math.MinInt16, min(math.MaxInt16, v.i))))
		case *array.Int32Builder:
			b.Append(int32(max(math.MinInt32, min(math.MaxInt32, v.i))))
		case *array.Int64Builder:
			b.Append(v.i)
		case *array.Date32Builder:
			b.Append(arrow.Date32(v.i))
		case *array.TimestampBuilder:
			b.Append(arrow.Timestamp(v.i))
		case *array.Float32Builder:
			b.Append(float32(v.f))
		case *array.Float64Builder:
			b.Append(v.f)
		case *array.StringBuilder:
			b.Append(v.s)
		case *array.BinaryBuilder:
			b.Append([]byte(v.s))
		case *array.Decimal128Builder:
			b.Append(v.d)
		default:
			return nil
		}
	}
	return b.NewArray()
}

// Shaper makes records of one schema of those of others: columns are matched by name, at any depth and
// without case, cast as a [DataWriter] does, and null where they are missing. It belongs to one
// goroutine.
type Shaper struct {
	cols   []*column
	out    *arrow.Schema
	source *arrow.Schema // of the last record, and how to reshape it
	shapes []*reshaper
	pos    []int
}

// NewShaper returns the shaper to a schema, whose physical names do not count.
func NewShaper(to *schema.Struct) (*Shaper, error) {
	cols, err := readColumns(to, "")
	if err != nil {
		return nil, err
	}
	return &Shaper{cols: cols, out: arrow.NewSchema(outFields(cols), nil)}, nil
}

// Schema is that of the records.
func (s *Shaper) Schema() *arrow.Schema { return s.out }

// Shape returns the rows of rec, which the caller releases. Columns that the schema lacks are left out.
func (s *Shaper) Shape(ctx context.Context, rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	var err error
	if s.source == nil || !s.source.Equal(rec.Schema()) {
		if s.shapes, s.pos, err = newReshapers(s.cols, rec.Schema().Fields(), matching{}); err != nil {
			return nil, err
		}
		s.source = rec.Schema()
	}
	arrays := make([]arrow.Array, len(s.cols))
	defer releaseArrays(arrays)
	for i, c := range s.cols {
		if s.shapes[i] == nil {
			arrays[i] = nulls(memory.DefaultAllocator, c.out.Type, int(rec.NumRows()))
		} else if arrays[i], err = s.shapes[i].apply(ctx, memory.DefaultAllocator, rec.Column(s.pos[i])); err != nil {
			return nil, err
		}
	}
	return array.NewRecordBatch(s.out, arrays, rec.NumRows()), nil
}
