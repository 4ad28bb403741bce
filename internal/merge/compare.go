package merge

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// integer returns the values of an array that are whole numbers at heart, which leaves out nulls.
func integer(a arrow.Array) func(i int) int64 {
	switch a := a.(type) {
	case *array.Int8:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int16:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int32:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int64:
		return a.Value
	case *array.Date32:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Timestamp:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Boolean:
		return func(i int) int64 {
			if a.Value(i) {
				return 1
			}
			return 0
		}
	}
	return nil
}

// appendKey appends the value at i so that equal values, and no others, have equal bytes behind equal
// prefixes. The value is not null.
func appendKey(b []byte, a arrow.Array, i int) []byte {
	switch a := a.(type) {
	case *array.String:
		v := a.Value(i)
		return append(binary.AppendUvarint(b, uint64(len(v))), v...)
	case *array.Binary:
		v := a.Value(i)
		return append(binary.AppendUvarint(b, uint64(len(v))), v...)
	case *array.Float32:
		return binary.BigEndian.AppendUint64(b, floatKey(float64(a.Value(i))))
	case *array.Float64:
		return binary.BigEndian.AppendUint64(b, floatKey(a.Value(i)))
	case *array.Decimal128:
		v := a.Value(i)
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(v.HighBits())), v.LowBits())
	}
	return binary.BigEndian.AppendUint64(b, uint64(integer(a)(i)))
}

// floatKey is equal for the two zeros, and for all that is no number.
func floatKey(f float64) uint64 {
	switch {
	case f == 0:
		return 0
	case math.IsNaN(f):
		return math.Float64bits(math.NaN())
	}
	return math.Float64bits(f)
}

// compare orders two values of one type. Null is least, and NaN is greatest, as in Spark.
func compare(a arrow.Array, i int, b arrow.Array, j int) int {
	switch an, bn := a.IsNull(i), b.IsNull(j); {
	case an && bn:
		return 0
	case an:
		return -1
	case bn:
		return 1
	}
	switch a := a.(type) {
	case *array.String:
		return cmp.Compare(a.Value(i), b.(*array.String).Value(j))
	case *array.Binary:
		return bytes.Compare(a.Value(i), b.(*array.Binary).Value(j))
	case *array.Float32:
		return compareFloats(float64(a.Value(i)), float64(b.(*array.Float32).Value(j)))
	case *array.Float64:
		return compareFloats(a.Value(i), b.(*array.Float64).Value(j))
	case *array.Decimal128:
		return a.Value(i).Cmp(b.(*array.Decimal128).Value(j))
	case *array.Int64:
		return cmp.Compare(a.Value(i), b.(*array.Int64).Value(j))
	}
	return cmp.Compare(integer(a)(i), integer(b)(j))
}

func compareFloats(a, b float64) int {
	switch an, bn := math.IsNaN(a), math.IsNaN(b); {
	case an && bn:
		return 0
	case an:
		return 1
	case bn:
		return -1
	}
	return cmp.Compare(a, b)
}

// orderable reports whether compare knows values of the type.
func orderable(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.DATE32, arrow.TIMESTAMP, arrow.BOOL,
		arrow.STRING, arrow.BINARY, arrow.FLOAT32, arrow.FLOAT64, arrow.DECIMAL128:
		return true
	}
	return false
}

// equal reports whether two values of one type are the same, at any depth.
func equal(a arrow.Array, i int, b arrow.Array, j int) bool {
	if a.IsNull(i) || b.IsNull(j) {
		return a.IsNull(i) && b.IsNull(j)
	}
	switch a := a.(type) {
	case *array.Struct:
		b := b.(*array.Struct)
		for f := range a.NumField() {
			if !equal(a.Field(f), i, b.Field(f), j) {
				return false
			}
		}
		return true
	case *array.Map:
		b := b.(*array.Map)
		return equalRange(a, i, a.Keys(), b, j, b.Keys()) && equalRange(a, i, a.Items(), b, j, b.Items())
	case array.ListLike:
		b := b.(array.ListLike)
		return equalRange(a, i, a.ListValues(), b, j, b.ListValues())
	}
	if orderable(a.DataType()) {
		return compare(a, i, b, j) == 0
	}
	return array.SliceEqual(a, int64(i), int64(i+1), b, int64(j), int64(j+1))
}

func equalRange(a array.ListLike, i int, as arrow.Array, b array.ListLike, j int, bs arrow.Array) bool {
	from, to := a.ValueOffsets(i)
	other, end := b.ValueOffsets(j)
	if to-from != end-other {
		return false
	}
	for k := range to - from {
		if !equal(as, int(from+k), bs, int(other+k)) {
			return false
		}
	}
	return true
}
