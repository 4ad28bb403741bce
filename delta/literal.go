package delta

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/siltlake/silt/schema"
)

// class is how the values of a type are ordered.
type class uint8

const (
	classNone class = iota // not at all
	classInt               // whole numbers, booleans, dates, timestamps: int64
	classFloat
	classDecimal
	classBytes
)

func classOf(t schema.Type) class {
	switch t {
	case schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Boolean, schema.Date, schema.Timestamp, schema.TimestampNTZ:
		return classInt
	case schema.Float, schema.Double:
		return classFloat
	case schema.String, schema.Binary:
		return classBytes
	}
	if _, ok := t.(schema.Decimal); ok {
		return classDecimal
	}
	return classNone
}

// literal is a value of a class.
type literal struct {
	i int64
	f float64
	d decimal128.Num // scaled as the column's type
	s string
	// over says that the value lies between i, or d, and the next one: 1; above all: 2; below all: -2.
	over int8
}

func compareLiterals(c class, a, b literal) int {
	switch c {
	case classFloat:
		return compareFloats(a.f, b.f)
	case classBytes:
		return cmp.Compare(a.s, b.s)
	}
	if a.over == 2 || a.over == -2 || b.over == 2 || b.over == -2 {
		return cmp.Compare(a.over, b.over)
	}
	order := cmp.Compare(a.i, b.i)
	if c == classDecimal {
		order = a.d.Cmp(b.d)
	}
	return cmp.Or(order, cmp.Compare(a.over, b.over))
}

// compareFloats takes NaN for equal to itself and greater than all else, and the zeros for equal.
func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	}
	switch an, bn := a != a, b != b; {
	case an && bn:
		return 0
	case an:
		return 1
	}
	return -1
}

// literal returns a value of Go as one of the column's type.
func (l *leaf) literal(v any) (literal, error) {
	x, err := newLiteral(l.typ, l.class, v)
	if err != nil {
		return x, fmt.Errorf("predicate: column %s is %s: %w", schema.Path(l.path...), l.typ, err)
	}
	return x, nil
}

func newLiteral(t schema.Type, c class, v any) (literal, error) {
	wrong := fmt.Errorf("%v (%T) is no value of it", v, v)
	switch c {
	case classBytes:
		switch v := v.(type) {
		case string:
			return literal{s: v}, nil
		case []byte:
			return literal{s: string(v)}, nil
		}
		return literal{}, wrong
	case classFloat:
		if text, ok := v.(string); ok {
			f, err := parseFloat(strings.TrimSpace(text), 64)
			return literal{f: f}, err
		}
		f, r, ok := number(v)
		if !ok {
			return literal{}, wrong
		}
		if r != nil {
			f, _ = r.Float64()
		}
		return literal{f: f}, nil
	}
	switch t {
	case schema.Boolean:
		switch v := v.(type) {
		case bool:
			return boolLiteral(v), nil
		case string:
			b, err := strconv.ParseBool(strings.ToLower(v))
			return boolLiteral(b), err
		}
		return literal{}, wrong
	case schema.Date, schema.Timestamp, schema.TimestampNTZ:
		return timeLiteral(t, v, wrong)
	}
	if text, ok := v.(string); ok {
		v = json.Number(strings.TrimSpace(text))
	}
	f, r, ok := number(v)
	switch {
	case !ok:
		return literal{}, wrong
	case r != nil:
		return ratLiteral(t, r), nil
	case math.IsInf(f, -1):
		return literal{over: -2}, nil
	}
	return literal{over: 2}, nil // infinity, and NaN above it
}

func boolLiteral(b bool) literal {
	if b {
		return literal{i: 1}
	}
	return literal{}
}

// number returns a number as a fraction, or else as the float64 that is NaN or an infinity.
func number(v any) (f float64, r *big.Rat, ok bool) {
	switch v := v.(type) {
	case int, int8, int16, int32, int64:
		r = new(big.Rat).SetInt64(reflect.ValueOf(v).Int())
	case uint, uint8, uint16, uint32, uint64:
		r = new(big.Rat).SetUint64(reflect.ValueOf(v).Uint())
	case float32:
		f, r = float64(v), new(big.Rat).SetFloat64(float64(v))
	case float64:
		f, r = v, new(big.Rat).SetFloat64(v)
	case *big.Int:
		r = new(big.Rat).SetInt(v)
	case *big.Rat:
		r = v
	case json.Number:
		switch v {
		case "NaN", "Infinity", "-Infinity":
			f, _ = parseFloat(string(v), 64)
			return f, nil, true
		}
		r = parseRat(string(v))
		return 0, r, r != nil
	default:
		return 0, nil, false
	}
	return f, r, true
}

// maxExponent bounds the exponents of numbers in text: beyond it lies no value of any type.
const maxExponent = 400

// parseRat reads a number as it stands in JSON or SQL; nil is none.
func parseRat(text string) *big.Rat {
	if len(text) > 1000 || !numberLiteral.MatchString(text) {
		return nil
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if n, err := strconv.Atoi(text[i+1:]); err != nil || n > maxExponent || n < -maxExponent {
			return nil
		}
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil
	}
	return r
}

// ratLiteral returns a fraction as a value of a whole number or decimal type.
func ratLiteral(t schema.Type, r *big.Rat) literal {
	d, isDecimal := t.(schema.Decimal)
	if isDecimal {
		r = new(big.Rat).Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.Scale)), nil)))
	}
	floor, rest := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int))
	var x literal
	switch {
	case isDecimal && floor.BitLen() > 126, !isDecimal && !floor.IsInt64():
		return literal{over: int8(2 * floor.Sign())}
	case isDecimal:
		x.d = decimal128.FromBigInt(floor)
	default:
		x.i = floor.Int64()
	}
	if rest.Sign() > 0 {
		x.over = 1
	}
	return x
}

func timeLiteral(t schema.Type, v any, wrong error) (literal, error) {
	at, ok := v.(time.Time)
	if text, isText := v.(string); isText {
		us, err := parseTimestamp(text)
		if err != nil {
			return literal{}, err
		}
		at, ok = time.UnixMicro(us), true
	}
	if !ok {
		return literal{}, wrong
	}
	if t == schema.Date {
		x := literal{i: floorDiv(at.Unix(), 24*60*60)}
		if at.Unix() != x.i*24*60*60 || at.Nanosecond() != 0 {
			x.over = 1
		}
		return x, nil
	}
	x := literal{i: at.UnixMicro()}
	if at.Nanosecond()%1000 != 0 {
		x.over = 1
	}
	return x, nil
}

// ValueOf returns the value in row i of an array in the form in which predicates take it; nil is null.
// It is not ok for types that cannot be compared.
func ValueOf(a arrow.Array, i int) (v any, ok bool) {
	if a.IsNull(i) {
		return nil, true
	}
	switch a := a.(type) {
	case *array.Boolean:
		return a.Value(i), true
	case *array.Int8:
		return a.Value(i), true
	case *array.Int16:
		return a.Value(i), true
	case *array.Int32:
		return a.Value(i), true
	case *array.Int64:
		return a.Value(i), true
	case *array.Float32:
		return a.Value(i), true
	case *array.Float64:
		return a.Value(i), true
	case *array.String:
		return strings.Clone(a.Value(i)), true
	case *array.Binary:
		return bytes.Clone(a.Value(i)), true
	case *array.Date32:
		return a.Value(i).ToTime(), true
	case *array.Timestamp:
		us, ok := micros(int64(a.Value(i)), a.DataType().(*arrow.TimestampType).Unit)
		return time.UnixMicro(us).UTC(), ok
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		return new(big.Rat).SetFrac(a.Value(i).BigInt(), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)), true
	}
	return nil, false
}
