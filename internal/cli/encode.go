package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// encoding is a text form of values in tables. The JSON form is part of the interface: integers of any
// length as numbers, decimals as strings with their whole scale, doubles as numbers or "NaN",
// "Infinity", "-Infinity", times as yyyy-MM-ddTHH:mm:ss[.ffffff]Z in UTC, bytes in base64, structs and
// maps as objects. The text form is for people and for csv and plain: the same without quotes at the
// top, null as nothing.
type encoding struct {
	// bare leaves the quotes of strings inside values away where they are not needed.
	bare bool
}

// text appends row i of a for people.
func (e encoding) text(dst []byte, a arrow.Array, i int) []byte {
	if a.IsNull(i) {
		return dst
	}
	if s, ok := plainText(a, i); ok {
		return append(dst, s...)
	}
	return e.json(dst, a, i)
}

// plainText is the text of a value that JSON writes in quotes.
func plainText(a arrow.Array, i int) (string, bool) {
	switch a := a.(type) {
	case array.StringLike:
		return a.Value(i), true
	case *array.Dictionary:
		return plainText(a.Dictionary(), a.GetValueIndex(i))
	case array.ExtensionArray:
		return plainText(a.Storage(), i)
	case *array.Decimal128:
		return decimalText(a, i), true
	case *array.Decimal256:
		return decimalText(a, i), true
	case *array.Timestamp, *array.Date32, *array.Date64, *array.Time32, *array.Time64, *array.MonthDayNanoInterval:
		return momentText(a, i), true
	case *array.Binary:
		return base64.StdEncoding.EncodeToString(a.Value(i)), true
	case *array.LargeBinary:
		return base64.StdEncoding.EncodeToString(a.Value(i)), true
	case *array.BinaryView:
		return base64.StdEncoding.EncodeToString(a.Value(i)), true
	case *array.FixedSizeBinary:
		return base64.StdEncoding.EncodeToString(a.Value(i)), true
	}
	return "", false
}

// value appends row i of a, which holds values of f, as JSON: text that is JSON as what it says.
func (e encoding) value(dst []byte, f arrow.Field, a arrow.Array, i int) []byte {
	if s, ok := a.(array.StringLike); ok && schema.HoldsJSON(f) && !a.IsNull(i) {
		var out bytes.Buffer
		if err := json.Compact(&out, []byte(s.Value(i))); err == nil {
			return append(dst, out.Bytes()...)
		}
	}
	return e.json(dst, a, i)
}

// json appends row i of a as JSON.
func (e encoding) json(dst []byte, a arrow.Array, i int) []byte {
	if a.IsNull(i) {
		return append(dst, "null"...)
	}
	if s, ok := plainText(a, i); ok {
		return e.string(dst, s)
	}
	switch a := a.(type) {
	case *array.Null:
		return append(dst, "null"...)
	case *array.Boolean:
		return strconv.AppendBool(dst, a.Value(i))
	case *array.Int8:
		return strconv.AppendInt(dst, int64(a.Value(i)), 10)
	case *array.Int16:
		return strconv.AppendInt(dst, int64(a.Value(i)), 10)
	case *array.Int32:
		return strconv.AppendInt(dst, int64(a.Value(i)), 10)
	case *array.Int64:
		return strconv.AppendInt(dst, a.Value(i), 10)
	case *array.Uint8:
		return strconv.AppendUint(dst, uint64(a.Value(i)), 10)
	case *array.Uint16:
		return strconv.AppendUint(dst, uint64(a.Value(i)), 10)
	case *array.Uint32:
		return strconv.AppendUint(dst, uint64(a.Value(i)), 10)
	case *array.Uint64:
		return strconv.AppendUint(dst, a.Value(i), 10)
	case *array.Float16:
		return float(dst, float64(a.Value(i).Float32()), 32)
	case *array.Float32:
		return float(dst, float64(a.Value(i)), 32)
	case *array.Float64:
		return float(dst, a.Value(i), 64)
	case *array.Struct:
		return e.structure(dst, a, i)
	case *array.Map:
		return e.entries(dst, a, i)
	case array.ListLike:
		from, to := a.ValueOffsets(i)
		element := a.DataType().(arrow.ListLikeType).ElemField()
		dst = append(dst, '[')
		for j := from; j < to; j++ {
			if j > from {
				dst = e.comma(dst)
			}
			dst = e.value(dst, element, a.ListValues(), int(j))
		}
		return append(dst, ']')
	case *array.Dictionary:
		return e.json(dst, a.Dictionary(), a.GetValueIndex(i))
	case array.ExtensionArray:
		return e.json(dst, a.Storage(), i)
	case array.Union:
		child := a.ChildID(i)
		if dense, ok := a.(*array.DenseUnion); ok {
			i = int(dense.ValueOffset(i))
		}
		return e.json(dst, a.Field(child), i)
	}
	return e.string(dst, a.ValueStr(i))
}

// variantType is the form in which Arrow holds a VARIANT.
var variantType = schema.ArrowType(schema.Variant)

func (e encoding) structure(dst []byte, a *array.Struct, i int) []byte {
	if arrow.TypeEqual(a.DataType(), variantType) {
		value, metadata := a.Field(0).(*array.Binary).Value(i), a.Field(1).(*array.Binary).Value(i)
		if text, err := decode.AppendVariantJSON(dst, value, metadata); err == nil {
			return text
		}
	}
	dst = append(dst, '{')
	for f, field := range a.DataType().(*arrow.StructType).Fields() {
		if f > 0 {
			dst = e.comma(dst)
		}
		dst = e.value(e.key(dst, field.Name), field, a.Field(f), i)
	}
	return append(dst, '}')
}

func (e encoding) entries(dst []byte, a *array.Map, i int) []byte {
	from, to := a.ValueOffsets(i)
	item := a.DataType().(*arrow.MapType).ItemField()
	dst = append(dst, '{')
	for j := int(from); j < int(to); j++ {
		if j > int(from) {
			dst = e.comma(dst)
		}
		key := string(encoding{}.text(nil, a.Keys(), j))
		dst = e.value(e.key(dst, key), item, a.Items(), j)
	}
	return append(dst, '}')
}

func (e encoding) comma(dst []byte) []byte {
	if e.bare {
		return append(dst, ", "...)
	}
	return append(dst, ',')
}

func (e encoding) key(dst []byte, name string) []byte {
	dst = e.string(dst, name)
	if e.bare {
		return append(dst, ": "...)
	}
	return append(dst, ':')
}

func (e encoding) string(dst []byte, s string) []byte {
	if e.bare && s != "" && len(s) <= 64 && !strings.ContainsAny(s, "{}[]\",: \n\r\t") {
		return append(dst, s...)
	}
	return appendString(dst, s)
}

// appendString appends s as a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = hex.AppendEncode(dst, []byte{c})
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// float appends the shortest number that reads back as f. What JSON has no number for is a string.
func float(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	if format == 'f' && !strings.Contains(string(dst[from:]), ".") {
		dst = append(dst, ".0"...)
	}
	return dst
}

func decimalText(a arrow.Array, i int) string {
	switch a := a.(type) {
	case *array.Decimal128:
		return a.Value(i).ToString(a.DataType().(*arrow.Decimal128Type).Scale)
	case *array.Decimal256:
		return a.Value(i).ToString(a.DataType().(*arrow.Decimal256Type).Scale)
	}
	return a.ValueStr(i)
}

func momentText(a arrow.Array, i int) string {
	switch a := a.(type) {
	case *array.Timestamp:
		t := a.DataType().(*arrow.TimestampType)
		layout := "2006-01-02T15:04:05.000000"
		moment := a.Value(i).ToTime(t.Unit)
		if moment.Nanosecond() == 0 {
			layout = "2006-01-02T15:04:05"
		}
		if t.TimeZone != "" {
			layout += "Z"
		}
		return year(moment.UTC(), layout)
	case *array.Date32:
		return year(a.Value(i).ToTime(), "2006-01-02")
	case *array.Date64:
		return year(a.Value(i).ToTime(), "2006-01-02")
	case *array.Time32:
		return a.Value(i).FormattedString(a.DataType().(*arrow.Time32Type).Unit)
	case *array.Time64:
		return a.Value(i).FormattedString(a.DataType().(*arrow.Time64Type).Unit)
	}
	return a.ValueStr(i)
}

// year writes a time whose year may have more than four digits, or be before year 1.
func year(t time.Time, layout string) string {
	if y := t.Year(); y < 0 || y > 9999 {
		return strconv.Itoa(y) + t.Format(strings.TrimPrefix(layout, "2006"))
	}
	return t.Format(layout)
}
