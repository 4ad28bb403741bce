package delta

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"

	"github.com/siltlake/silt/schema"
)

// partition is one set of values of the partition columns; nil is that of an unpartitioned table.
type partition struct {
	cols  []*column
	texts []*string // nil is null
}

// key tells partitions apart.
func (p *partition) key() string {
	if p == nil {
		return ""
	}
	var b strings.Builder
	for _, t := range p.texts {
		if t == nil {
			b.WriteString("-;")
		} else {
			b.WriteString(strconv.Itoa(len(*t)) + ":" + *t)
		}
	}
	return b.String()
}

// hiveNull is the name of the folder of null.
const hiveNull = "__HIVE_DEFAULT_PARTITION__"

// The bytes that the name of a folder may have, and the folders of a file together. File systems take 255
// for a name, S3 takes 1024 for a key.
const (
	longestFolder  = 200
	longestFolders = 600
)

// dir is the folder of the partition's files, which ends in a slash or is empty. Readers take values
// from the log, so it is for people only: a partition whose folders would have names too long for a file
// system or a store has none.
func (p *partition) dir() string {
	if p == nil {
		return ""
	}
	var b strings.Builder
	for i, c := range p.cols {
		before := b.Len()
		b.WriteString(hiveEscape(c.out.Name) + "=")
		if t := p.texts[i]; t == nil {
			b.WriteString(hiveNull)
		} else {
			b.WriteString(hiveEscape(*t))
		}
		b.WriteByte('/')
		if b.Len()-before > longestFolder || b.Len() > longestFolders {
			return ""
		}
	}
	return b.String()
}

// values are the partition's values as an add has them, by physical name.
func (p *partition) values() map[string]*string {
	values := map[string]*string{}
	if p != nil {
		for i, c := range p.cols {
			values[c.out.Name] = p.texts[i]
		}
	}
	return values
}

// hiveEscape percent-encodes what Hive does not have in the name of a folder.
func hiveEscape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == 0x7F || strings.IndexByte("\"#%'*/:=?\\{}[]^", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// appendPartitions writes each row into the file of its partition.
func (w *DataWriter) appendPartitions(ctx context.Context, rows, keys arrow.RecordBatch) error {
	var order []*partition
	groups := map[string][]int64{}
	for i := range int(keys.NumRows()) {
		p := &partition{cols: w.keys, texts: make([]*string, len(w.keys))}
		for j := range w.keys {
			var err error
			if p.texts[j], err = partitionText(keys.Column(j), i); err != nil {
				return fmt.Errorf("partition column %s: %w", schema.Path(w.keys[j].path...), err)
			}
		}
		k := p.key()
		if groups[k] == nil {
			order = append(order, p)
		}
		groups[k] = append(groups[k], int64(i))
	}
	for _, p := range order {
		part, err := takeRows(ctx, w.o.Allocator, rows, groups[p.key()])
		if err != nil {
			return err
		}
		err = w.append(ctx, p, part)
		part.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// takeRows returns the rows at the given places.
func takeRows(ctx context.Context, mem memory.Allocator, rec arrow.RecordBatch, places []int64) (arrow.RecordBatch, error) {
	if int64(len(places)) == rec.NumRows() {
		rec.Retain()
		return rec, nil
	}
	b := array.NewInt64Builder(mem)
	defer b.Release()
	b.AppendValues(places, nil)
	index := b.NewArray()
	defer index.Release()
	out, err := compute.Take(compute.WithAllocator(ctx, mem), compute.TakeOptions{BoundsCheck: false},
		compute.NewDatumWithoutOwning(rec), compute.NewDatumWithoutOwning(index))
	if err != nil {
		return nil, err
	}
	return out.(*compute.RecordDatum).Value, nil
}

// partitionText writes a value as the log has it; nil is null, and so is the empty string, which the
// log cannot tell from it.
func partitionText(a arrow.Array, i int) (*string, error) {
	if a.IsNull(i) {
		return nil, nil
	}
	var text string
	switch a := a.(type) {
	case *array.String:
		text = a.Value(i)
	case *array.Binary:
		text = string(a.Value(i))
	case *array.Boolean:
		text = strconv.FormatBool(a.Value(i))
	case *array.Int8:
		text = strconv.FormatInt(int64(a.Value(i)), 10)
	case *array.Int16:
		text = strconv.FormatInt(int64(a.Value(i)), 10)
	case *array.Int32:
		text = strconv.FormatInt(int64(a.Value(i)), 10)
	case *array.Int64:
		text = strconv.FormatInt(a.Value(i), 10)
	case *array.Float32:
		text = floatText(float64(a.Value(i)), 32)
	case *array.Float64:
		text = floatText(a.Value(i), 64)
	case *array.Decimal128:
		text = string(decimalText(a.Value(i), a.DataType().(*arrow.Decimal128Type).Scale))
	case *array.Date32:
		text = a.Value(i).ToTime().Format(time.DateOnly)
	case *array.Timestamp:
		layout := "2006-01-02T15:04:05.000000"
		if a.DataType().(*arrow.TimestampType).TimeZone != "" {
			layout += "Z"
		} else {
			layout = "2006-01-02 15:04:05.000000"
		}
		text = time.UnixMicro(int64(a.Value(i))).UTC().Format(layout)
	default:
		return nil, fmt.Errorf("no partition column can be of Arrow's type %s", a.DataType())
	}
	if text == "" {
		return nil, nil
	}
	return &text, nil
}

func floatText(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	text := strconv.FormatFloat(f, 'g', -1, bits)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// parsePartitionValue reads the text in which a partition value stands in the log; nil and the empty
// text are null. Source: protocol, "Partition Value Serialization".
func parsePartitionValue(t schema.Type, text *string) (scalar.Scalar, error) {
	if text == nil || *text == "" {
		return nil, nil
	}
	plain := *text
	if t != schema.String && t != schema.Binary {
		plain = strings.TrimSpace(plain)
	}
	v, err := parseScalar(t, plain)
	if err != nil {
		return nil, fmt.Errorf("%q is no %s: %w", *text, t, err)
	}
	return v, nil
}

func parseScalar(t schema.Type, text string) (scalar.Scalar, error) {
	at := schema.ArrowType(t)
	switch t := t.(type) {
	case schema.Decimal:
		n, err := parseDecimal(text, t)
		return scalar.NewDecimal128Scalar(n, at), err
	case schema.Primitive:
		switch t {
		case schema.Boolean:
			b, err := strconv.ParseBool(strings.ToLower(text))
			return scalar.NewBooleanScalar(b), err
		case schema.Byte:
			n, err := strconv.ParseInt(text, 10, 8)
			return scalar.NewInt8Scalar(int8(n)), err
		case schema.Short:
			n, err := strconv.ParseInt(text, 10, 16)
			return scalar.NewInt16Scalar(int16(n)), err
		case schema.Integer:
			n, err := strconv.ParseInt(text, 10, 32)
			return scalar.NewInt32Scalar(int32(n)), err
		case schema.Long:
			n, err := strconv.ParseInt(text, 10, 64)
			return scalar.NewInt64Scalar(n), err
		case schema.Float:
			f, err := parseFloat(text, 32)
			return scalar.NewFloat32Scalar(float32(f)), err
		case schema.Double:
			f, err := parseFloat(text, 64)
			return scalar.NewFloat64Scalar(f), err
		case schema.String:
			return scalar.NewStringScalar(text), nil
		case schema.Binary:
			return scalar.NewBinaryScalar(memory.NewBufferBytes(parseBinary(text)), at), nil
		case schema.Date:
			d, err := parseTime(text)
			if err == nil && d.Unix()%86400 != 0 {
				err = fmt.Errorf("it is not midnight")
			}
			return scalar.NewDate32Scalar(arrow.Date32(floorDiv(d.Unix(), 86400))), err
		case schema.Timestamp, schema.TimestampNTZ:
			ts, err := parseTimestamp(text)
			return scalar.NewTimestampScalar(arrow.Timestamp(ts), at), err
		}
	}
	return nil, fmt.Errorf("no partition column can be of this type")
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func parseFloat(text string, bits int) (float64, error) {
	switch text {
	case "Infinity", "+Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil && math.IsInf(f, 0) { // too large for the type; the nearest is what other readers take
		return f, nil
	}
	return f, err
}

// parseBinary reads bytes that are written as a Java string of escapes, \u0001, or as they are.
func parseBinary(text string) []byte {
	if !strings.Contains(text, `\u`) {
		return []byte(text)
	}
	var out []byte
	for text != "" {
		if strings.HasPrefix(text, `\u`) && len(text) >= 6 {
			if b, err := hex.DecodeString(text[2:6]); err == nil && b[0] == 0 {
				out, text = append(out, b[1]), text[6:]
				continue
			}
		}
		out, text = append(out, text[0]), text[1:]
	}
	return out
}

// timeForm is how engines write dates and times: years of more than four digits or below zero as Java does,
// seconds, the time and the zone only where there are some.
var timeForm = regexp.MustCompile(`^([+-]?\d{4,6})-(\d\d?)-(\d\d?)` +
	`(?:[T ](\d\d?):(\d\d?)(?::(\d\d?)(?:\.(\d{1,9}))?)?(?: ?(?:(Z|UTC)|([+-])(\d\d):?(\d\d)?))?)?$`)

// parseTime reads a date or a time. One without a zone is UTC.
func parseTime(text string) (time.Time, error) {
	m := timeForm.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, fmt.Errorf("want a date as 2006-01-02, with or without a time as 15:04:05")
	}
	n := make([]int, len(m))
	for i, digits := range m {
		n[i], _ = strconv.Atoi(digits)
	}
	nanos, _ := strconv.Atoi((m[7] + "000000000")[:9])
	day := time.Date(n[1], time.Month(n[2]), n[3], 0, 0, 0, 0, time.UTC)
	if day.Month() != time.Month(n[2]) || n[4] > 23 || n[5] > 59 || n[6] > 59 || n[10] > 18 || n[11] > 59 {
		return time.Time{}, fmt.Errorf("there is no such time")
	}
	zone := time.Duration(n[10])*time.Hour + time.Duration(n[11])*time.Minute
	if m[9] == "-" {
		zone = -zone
	}
	return time.Date(n[1], time.Month(n[2]), n[3], n[4], n[5], n[6], nanos, time.UTC).Add(-zone), nil
}

// maxYear is the last whole one that microseconds reach.
const maxYear = 294246

// parseTimestamp returns microseconds since 1970.
func parseTimestamp(text string) (int64, error) {
	t, err := parseTime(text)
	if err == nil && (t.Year() > maxYear || t.Year() < -maxYear+2*1970) {
		err = fmt.Errorf("out of the range of microseconds")
	}
	return t.UnixMicro(), err
}

// parseDecimal reads decimal text exactly.
func parseDecimal(text string, d schema.Decimal) (decimal128.Num, error) {
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(text), "e")
	exp := 0
	if hasExponent {
		var err error
		if exp, err = strconv.Atoi(exponent); err != nil || exp > 100 || exp < -100 {
			return decimal128.Num{}, fmt.Errorf("not a decimal")
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits, scale := whole+fraction, len(fraction)-exp
	for ; scale < d.Scale; scale++ {
		digits += "0"
	}
	for ; scale > d.Scale; scale-- {
		if !strings.HasSuffix(digits, "0") {
			return decimal128.Num{}, fmt.Errorf("more than %d digits after the point", d.Scale)
		}
		digits = digits[:len(digits)-1]
	}
	if strings.Trim(digits, "+-0") == "" {
		return decimal128.Num{}, nil
	}
	return decimal128.FromString(digits, int32(d.Precision), 0)
}

// repeatScalar returns n values of v.
func repeatScalar(mem memory.Allocator, v scalar.Scalar, n int) (arrow.Array, error) {
	return scalar.MakeArrayFromScalar(v, n, mem)
}
