package decode

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/siltlake/silt/internal/jsonscan"
)

var errVariant = errors.New("the bytes are no variant")

// AppendVariantJSON appends the JSON of a variant, given its two parts. Dates, times and bytes become
// strings.
func AppendVariantJSON(dst, value, metadata []byte) (text []byte, err error) {
	defer func() {
		if r := recover(); r != nil { // an offset leads out of the bytes
			text, err = dst, errVariant
		}
	}()
	names := variantNames{metadata, int(metadata[0]>>6) + 1}
	return names.append(dst, value, 0)
}

// variantNames is the dictionary of names.
type variantNames struct {
	bytes []byte
	width int
}

func (n variantNames) name(id int) []byte {
	count := readWidth(n.bytes[1:], n.width)
	offsets := n.bytes[1+n.width:]
	text := offsets[(count+1)*n.width:]
	return text[readWidth(offsets[id*n.width:], n.width):readWidth(offsets[(id+1)*n.width:], n.width)]
}

func readWidth(b []byte, width int) (n int) {
	for k := width - 1; k >= 0; k-- {
		n = n<<8 | int(b[k])
	}
	return n
}

// maxVariantDepth bounds the nesting that is followed.
const maxVariantDepth = 2000

func (n variantNames) append(dst, v []byte, depth int) ([]byte, error) {
	if depth > maxVariantDepth {
		return dst, errVariant
	}
	header := v[0] >> 2
	switch v[0] & 3 {
	case variantPrimitive:
		return appendPrimitive(dst, header, v[1:])
	case variantShort:
		return jsonscan.AppendQuoted(dst, v[1:1+header]), nil
	case variantObject:
		return n.parts(dst, v[1:], header&16 != 0, int(header>>2&3)+1, int(header&3)+1, depth)
	}
	return n.parts(dst, v[1:], header&4 != 0, 0, int(header&3)+1, depth)
}

// parts appends the members of an object, or the elements of an array, whose ids take no bytes.
func (n variantNames) parts(dst, v []byte, large bool, ids, offsets, depth int) (out []byte, err error) {
	size := 1
	if large {
		size = 4
	}
	count := readWidth(v, size)
	id := v[size:]
	at := id[count*ids:]
	data := at[(count+1)*offsets:]
	brackets := "[]"
	if ids > 0 {
		brackets = "{}"
	}
	dst = append(dst, brackets[0])
	for k := range count {
		if k > 0 {
			dst = append(dst, ',')
		}
		if ids > 0 {
			dst = append(jsonscan.AppendQuoted(dst, n.name(readWidth(id[k*ids:], ids))), ':')
		}
		if dst, err = n.append(dst, data[readWidth(at[k*offsets:], offsets):], depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, brackets[1]), nil
}

func appendPrimitive(dst []byte, kind byte, v []byte) ([]byte, error) {
	b := binary.LittleEndian
	switch kind {
	case variantNull:
		return append(dst, "null"...), nil
	case variantTrue:
		return append(dst, "true"...), nil
	case variantFalse:
		return append(dst, "false"...), nil
	case variantInt8:
		return strconv.AppendInt(dst, int64(int8(v[0])), 10), nil
	case variantInt16:
		return strconv.AppendInt(dst, int64(int16(b.Uint16(v))), 10), nil
	case variantInt32:
		return strconv.AppendInt(dst, int64(int32(b.Uint32(v))), 10), nil
	case variantInt64:
		return strconv.AppendInt(dst, int64(b.Uint64(v)), 10), nil
	case variantDouble:
		return appendFloat(dst, math.Float64frombits(b.Uint64(v)), 64), nil
	case 14: // float
		return appendFloat(dst, float64(math.Float32frombits(b.Uint32(v))), 32), nil
	case variantDecimal4:
		return append(dst, decimal128.FromI64(int64(int32(b.Uint32(v[1:])))).ToString(int32(v[0]))...), nil
	case variantDecimal8:
		return append(dst, decimal128.FromI64(int64(b.Uint64(v[1:]))).ToString(int32(v[0]))...), nil
	case variantDecimal16:
		return append(dst, decimal128.New(int64(b.Uint64(v[9:])), b.Uint64(v[1:])).ToString(int32(v[0]))...), nil
	case 11: // date
		return appendTime(dst, time.Unix(int64(int32(b.Uint32(v)))*24*3600, 0), time.DateOnly), nil
	case 12: // timestamp
		return appendTime(dst, time.UnixMicro(int64(b.Uint64(v))), time.RFC3339Nano), nil
	case 13: // without a zone
		return appendTime(dst, time.UnixMicro(int64(b.Uint64(v))), "2006-01-02T15:04:05.999999"), nil
	case 15: // bytes
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), v[4:4+b.Uint32(v)]), '"'), nil
	case variantString:
		return jsonscan.AppendQuoted(dst, v[4:4+b.Uint32(v)]), nil
	}
	return dst, errVariant
}

func appendTime(dst []byte, t time.Time, layout string) []byte {
	return append(t.UTC().AppendFormat(append(dst, '"'), layout), '"')
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}
