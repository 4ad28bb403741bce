package delta

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"

	"github.com/siltlake/silt/schema"
)

// castFunc returns the values of a as another type. It fails when one does not fit.
type castFunc func(ctx context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error)

// castTo returns the cast from Arrow's src to t, or nil when there is none that keeps every value. It
// covers what data files hold for a type, now or before it was widened (protocol, "Reader Requirements
// for Type Widening"), and what other engines hand over to be written.
func castTo(t schema.Type, src arrow.DataType) castFunc {
	if d, ok := src.(*arrow.DictionaryType); ok {
		return castDictionary(t, d)
	}
	switch id := src.ID(); t {
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		if arrow.IsInteger(id) {
			return arrowCast(schema.ArrowType(t))
		}
	case schema.Float:
		if id == arrow.FLOAT16 {
			return arrowCast(schema.ArrowType(t))
		}
	case schema.Double:
		if arrow.IsInteger(id) && id != arrow.INT64 && id != arrow.UINT64 || id == arrow.FLOAT32 || id == arrow.FLOAT16 {
			return arrowCast(schema.ArrowType(t))
		}
	case schema.String:
		switch id {
		case arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY:
			return arrowCast(schema.ArrowType(t))
		case arrow.STRING_VIEW, arrow.BINARY_VIEW:
			return castStringView
		}
	case schema.Binary:
		switch id {
		case arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY, arrow.FIXED_SIZE_BINARY:
			return arrowCast(schema.ArrowType(t))
		case arrow.BINARY_VIEW:
			return castBinaryView
		}
	case schema.Date:
		if id == arrow.DATE64 {
			return arrowCast(schema.ArrowType(t))
		}
	case schema.Timestamp, schema.TimestampNTZ:
		switch src := src.(type) {
		case *arrow.TimestampType:
			if src.TimeZone == int96.TimeZone {
				return castInt96(schema.ArrowType(t))
			}
			return castTimestamp(src.Unit, schema.ArrowType(t))
		case *arrow.Date32Type:
			if t == schema.TimestampNTZ {
				return castDateToTimestamp
			}
		}
	}
	if d, ok := t.(schema.Decimal); ok && (arrow.IsDecimal(src.ID()) || arrow.IsInteger(src.ID())) {
		return arrowCast(schema.ArrowType(d))
	}
	return nil
}

// storedAs returns the cast from Arrow's src to t that a column takes when rows are written, beyond those
// of castTo, or nil: the implicit casts of Spark's streaming sink. Text must be a value of the type in
// the form in which Delta writes it, and no digit of a number may be lost.
func storedAs(t schema.Type, src arrow.DataType) castFunc {
	switch id := src.ID(); {
	case !schema.IsScalar(t) || t == schema.Void || t == schema.Variant || t == schema.Binary:
	case t == schema.String && (arrow.IsInteger(id) || id == arrow.BOOL || id == arrow.DATE32 || id == arrow.DECIMAL128):
		return castEach(t, func(a arrow.Array, i int) (string, error) {
			text, err := partitionText(a, i)
			if text == nil {
				return "", err
			}
			return *text, err
		})
	case t == schema.String:
	case id == arrow.STRING || id == arrow.LARGE_STRING:
		return castEach(t, func(a arrow.Array, i int) (string, error) { return strings.TrimSpace(a.ValueStr(i)), nil })
	case isNumber(t) && (id == arrow.DECIMAL128 || id == arrow.FLOAT64 || id == arrow.FLOAT32 || id == arrow.INT64 || id == arrow.UINT64):
		return castEach(t, func(a arrow.Array, i int) (string, error) { return numberText(t, a, i) })
	}
	return nil
}

// numberText writes a number as text of another type of numbers. It fails when digits would be lost.
func numberText(t schema.Type, a arrow.Array, i int) (string, error) {
	v, ok := ValueOf(a, i)
	if u, is := a.(*array.Uint64); is {
		v, ok = u.Value(i), true
	}
	f, r, isNumber := number(v)
	_, isDecimal := t.(schema.Decimal)
	isFloat := t == schema.Float || t == schema.Double
	switch {
	case !ok || !isNumber:
	case r == nil && isFloat: // NaN and infinity
		return floatText(f, 64), nil
	case r == nil:
	case isDecimal && len(r.Denom().Bits()) < 16: // a float may have a thousand digits
		return r.FloatString(76), nil
	case isFloat:
		bits := 64
		if t == schema.Float {
			bits = 32
		}
		nearest, _ := r.Float64()
		text := floatText(nearest, bits)
		if back := parseRat(text); arrow.IsFloating(a.DataType().ID()) && float64(float32(nearest)) == nearest || back != nil && back.Cmp(r) == 0 {
			return text, nil
		}
		return "", fmt.Errorf("%s would lose digits", a.ValueStr(i))
	case r.IsInt():
		return r.Num().String(), nil
	default:
		return "", fmt.Errorf("%s is no whole number", a.ValueStr(i))
	}
	return "", fmt.Errorf("%s is no value of %s", a.ValueStr(i), t)
}

// castEach makes values of a type from their texts.
func castEach(t schema.Type, text func(a arrow.Array, i int) (string, error)) castFunc {
	return func(_ context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
		b := array.NewBuilder(mem, schema.ArrowType(t))
		defer b.Release()
		for i := range a.Len() {
			if a.IsNull(i) {
				b.AppendNull()
				continue
			}
			s, err := text(a, i)
			if err != nil {
				return nil, err
			}
			v, err := parseScalar(t, s)
			if err != nil {
				return nil, fmt.Errorf("%q is no %s: %w", s, t, err)
			}
			if err := scalar.Append(b, v); err != nil {
				return nil, err
			}
		}
		return b.NewArray(), nil
	}
}

func arrowCast(to arrow.DataType) castFunc {
	return func(ctx context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
		return compute.CastArray(compute.WithAllocator(ctx, mem), a, compute.SafeCastOptions(to))
	}
}

func castDictionary(t schema.Type, src *arrow.DictionaryType) castFunc {
	then := castTo(t, src.ValueType)
	if then == nil && !arrow.TypeEqual(src.ValueType, schema.ArrowType(t)) {
		return nil
	}
	return func(ctx context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
		plain, err := compute.CastArray(compute.WithAllocator(ctx, mem), a, compute.SafeCastOptions(src.ValueType))
		if err != nil || then == nil {
			return plain, err
		}
		defer plain.Release()
		return then(ctx, mem, plain)
	}
}

// castTimestamp changes the unit to microseconds, downwards where digits are lost, and the zone
// without changing the instant.
func castTimestamp(unit arrow.TimeUnit, to arrow.DataType) castFunc {
	return func(_ context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
		src := a.(*array.Timestamp)
		b := array.NewTimestampBuilder(mem, to.(*arrow.TimestampType))
		defer b.Release()
		b.Reserve(src.Len())
		for i := range src.Len() {
			if src.IsNull(i) {
				b.UnsafeAppendBoolToBitmap(false)
				continue
			}
			us, ok := micros(int64(src.Value(i)), unit)
			if !ok {
				return nil, fmt.Errorf("timestamp %d %s is out of range", src.Value(i), unit)
			}
			b.UnsafeAppend(arrow.Timestamp(us))
		}
		return b.NewArray(), nil
	}
}

// The parts of an INT96: nanoseconds of the day, and the day by the Julian count, in which 1970 begins on
// the day julianEpoch.
const (
	int96Size   = 12
	julianEpoch = 2440588
	dayMicros   = 24 * 60 * 60 * 1_000_000
)

func castInt96(to arrow.DataType) castFunc {
	return func(_ context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
		b := array.NewTimestampBuilder(mem, to.(*arrow.TimestampType))
		defer b.Release()
		b.Reserve(a.Len())
		var raw []byte
		if buf := a.Data().Buffers()[1]; buf != nil {
			raw = buf.Bytes()
		}
		for i := range a.Len() {
			if a.IsNull(i) {
				b.UnsafeAppendBoolToBitmap(false)
				continue
			}
			at := (a.Data().Offset() + i) * int96Size
			if at+int96Size > len(raw) {
				return nil, fmt.Errorf("a timestamp of twelve bytes is cut off")
			}
			nanos := int64(binary.LittleEndian.Uint64(raw[at:]))
			day := int64(binary.LittleEndian.Uint32(raw[at+8:])) - julianEpoch
			us := day*dayMicros + floorDiv(nanos, 1000)
			if day > math.MaxInt64/dayMicros-1 || day < math.MinInt64/dayMicros+1 {
				return nil, fmt.Errorf("timestamp on day %d is out of range", day)
			}
			b.UnsafeAppend(arrow.Timestamp(us))
		}
		return b.NewArray(), nil
	}
}

func micros(v int64, unit arrow.TimeUnit) (us int64, ok bool) {
	scale := int64(1)
	switch unit {
	case arrow.Nanosecond:
		us = v / 1000
		if v%1000 < 0 {
			us--
		}
		return us, true
	case arrow.Millisecond:
		scale = 1000
	case arrow.Second:
		scale = 1_000_000
	}
	us = v * scale
	return us, us/scale == v
}

func castDateToTimestamp(_ context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
	src := a.(*array.Date32)
	b := array.NewTimestampBuilder(mem, schema.ArrowType(schema.TimestampNTZ).(*arrow.TimestampType))
	defer b.Release()
	for i := range src.Len() {
		if src.IsNull(i) {
			b.AppendNull()
		} else {
			b.Append(arrow.Timestamp(int64(src.Value(i)) * dayMicros))
		}
	}
	return b.NewArray(), nil
}

func castStringView(_ context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
	b := array.NewStringBuilder(mem)
	defer b.Release()
	for i := range a.Len() {
		switch a := a.(type) {
		case *array.StringView:
			appendOrNull(a.IsNull(i), b, func() { b.Append(a.Value(i)) })
		case *array.BinaryView:
			appendOrNull(a.IsNull(i), b, func() { b.BinaryBuilder.Append(a.Value(i)) })
		}
	}
	return b.NewArray(), nil
}

func castBinaryView(_ context.Context, mem memory.Allocator, a arrow.Array) (arrow.Array, error) {
	b := array.NewBinaryBuilder(mem, arrow.BinaryTypes.Binary)
	defer b.Release()
	src := a.(*array.BinaryView)
	for i := range src.Len() {
		appendOrNull(src.IsNull(i), b, func() { b.Append(src.Value(i)) })
	}
	return b.NewArray(), nil
}

func appendOrNull(null bool, b array.Builder, value func()) {
	if null {
		b.AppendNull()
	} else {
		value()
	}
}
