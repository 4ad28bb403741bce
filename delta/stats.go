package delta

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/siltlake/silt/schema"
)

// StatsColumns says for which columns data files carry statistics.
type StatsColumns struct {
	// Leaves is how many leaf columns have statistics, in the order of the schema; -1 is all.
	Leaves int `json:"leaves"`
	// Names, when not nil, are the columns that have statistics instead: paths of logical names.
	Names [][]string `json:"names,omitempty"`
	// Always are the columns that have statistics in any case, because the table is clustered by them.
	Always [][]string `json:"always,omitempty"`
	// PrefixLength is the number of characters after which strings are cut.
	PrefixLength int `json:"prefixLength"`
}

// The defaults of delta.dataSkippingNumIndexedCols and delta.dataSkippingStringPrefixLength.
const (
	defaultStatsLeaves  = 32
	defaultStatsStrings = 32
)

// fileStats collects the statistics of one data file. The tree of nodes mirrors the columns.
// Source: protocol, "Per-file Statistics".
type fileStats struct {
	rows  int64
	tight bool // write tightBounds
	nodes []*statsNode
}

type statsNode struct {
	name   string // physical
	leaf   bool   // else a struct
	nulls  int64
	bounds bounds // nil when the type has none
	told   bool   // the bounds are told, and need no look at the values
	kids   []*statsNode
	pos    int // among the fields of its struct
}

// newFileStats returns the collector for the columns, which are those of the data file.
func newFileStats(cols []*column, which StatsColumns, tight bool) *fileStats {
	left := which.Leaves
	if left < 0 {
		left = math.MaxInt
	}
	return &fileStats{tight: tight, nodes: statsNodes(cols, which, &left)}
}

func statsNodes(cols []*column, which StatsColumns, left *int) []*statsNode {
	var nodes []*statsNode
	for i, c := range cols {
		n := &statsNode{name: c.out.Name, pos: i}
		if _, ok := c.typ.(*schema.Struct); ok {
			if n.kids = statsNodes(c.kids, which, left); len(n.kids) > 0 {
				nodes = append(nodes, n)
			}
			continue
		}
		if !which.covers(c.path, left) {
			continue
		}
		n.leaf, n.bounds = true, newBounds(c.typ, which.PrefixLength)
		nodes = append(nodes, n)
	}
	return nodes
}

// covers reports whether the leaf column has statistics.
func (w StatsColumns) covers(path []string, left *int) bool {
	if w.Names == nil {
		if *left--; *left >= 0 {
			return true
		}
	}
	for _, name := range append(slices.Clip(w.Names), w.Always...) {
		if len(name) <= len(path) && samePath(name, path[:len(name)]) {
			return true
		}
	}
	return false
}

func samePath(a, b []string) bool {
	for i := range a {
		if schema.Fold(a[i]) != schema.Fold(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// add takes the rows of a record of the data file's columns into account.
func (s *fileStats) add(rec arrow.RecordBatch) {
	s.rows += rec.NumRows()
	for _, n := range s.nodes {
		n.add(rec.Column(n.pos), nil)
	}
}

// add takes the values of a into account. A value whose bit in above is not set lies in a struct that
// is null; above nil means that there is none.
func (n *statsNode) add(a arrow.Array, above []byte) {
	valid := above
	if a.NullN() > 0 {
		bits, off := a.Data().Buffers()[0].Bytes(), a.Data().Offset()
		switch {
		case above == nil && off == 0:
			valid = bits
		case above == nil:
			valid = make([]byte, bitutil.BytesForBits(int64(a.Len())))
			bitutil.CopyBitmap(bits, off, a.Len(), valid, 0)
		default:
			valid = make([]byte, bitutil.BytesForBits(int64(a.Len())))
			bitutil.BitmapAnd(bits, above, int64(off), 0, valid, 0, int64(a.Len()))
		}
	}
	if !n.leaf {
		st := a.(*array.Struct)
		for _, k := range n.kids {
			k.add(st.Field(k.pos), valid)
		}
		return
	}
	if valid != nil {
		n.nulls += int64(a.Len() - bitutil.CountSetBits(valid, 0, a.Len()))
	}
	if n.bounds != nil && !n.told {
		n.bounds.add(a, valid)
	}
}

// json returns the statistics as they stand in an add.
func (s *fileStats) json() string {
	var b bytes.Buffer
	b.WriteString(`{"numRecords":`)
	b.Write(strconv.AppendInt(nil, s.rows, 10))
	for _, part := range []struct {
		name  string
		value func(*statsNode) []byte
	}{
		{"minValues", func(n *statsNode) []byte { return n.bound(bounds.min) }},
		{"maxValues", func(n *statsNode) []byte { return n.bound(bounds.max) }},
		{"nullCount", func(n *statsNode) []byte { return strconv.AppendInt(nil, n.nulls, 10) }},
	} {
		b.WriteString(`,"` + part.name + `":`)
		writeStats(&b, s.nodes, part.value)
	}
	if s.tight {
		b.WriteString(`,"tightBounds":true`)
	}
	b.WriteByte('}')
	return b.String()
}

func (n *statsNode) bound(get func(bounds) []byte) []byte {
	if n.bounds == nil {
		return nil
	}
	return get(n.bounds)
}

func writeStats(b *bytes.Buffer, nodes []*statsNode, value func(*statsNode) []byte) {
	b.WriteByte('{')
	first := true
	for _, n := range nodes {
		var v []byte
		if n.leaf {
			v = value(n)
		} else {
			var sub bytes.Buffer
			if writeStats(&sub, n.kids, value); sub.Len() > len("{}") {
				v = sub.Bytes()
			}
		}
		if v == nil {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.Write(quoteJSON(n.name))
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
}

func quoteJSON(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string in memory: it does not fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// bounds are the least and the greatest value of a column.
type bounds interface {
	// add takes those values of a into account whose bit in valid is set; nil is all.
	add(a arrow.Array, valid []byte)
	// min and max return a JSON value, or nil when there is none.
	min() []byte
	max() []byte
}

// newBounds returns the bounds of a type, or nil for one whose values have none.
func newBounds(t schema.Type, prefix int) bounds {
	switch t := t.(type) {
	case schema.Decimal:
		return &decimalBounds{scale: int32(t.Scale)}
	case schema.Primitive:
		switch t {
		case schema.Byte:
			return &intBounds[int8]{values: func(a arrow.Array) []int8 { return a.(*array.Int8).Int8Values() }, text: intText}
		case schema.Short:
			return &intBounds[int16]{values: func(a arrow.Array) []int16 { return a.(*array.Int16).Int16Values() }, text: intText}
		case schema.Integer:
			return &intBounds[int32]{values: func(a arrow.Array) []int32 { return a.(*array.Int32).Int32Values() }, text: intText}
		case schema.Long:
			return &intBounds[int64]{values: func(a arrow.Array) []int64 { return a.(*array.Int64).Int64Values() }, text: intText}
		case schema.Date:
			return &intBounds[arrow.Date32]{values: func(a arrow.Array) []arrow.Date32 { return a.(*array.Date32).Date32Values() }, text: dateText}
		case schema.Timestamp, schema.TimestampNTZ:
			layout := "2006-01-02T15:04:05.000"
			if t == schema.Timestamp {
				layout += "Z"
			}
			return &intBounds[arrow.Timestamp]{values: func(a arrow.Array) []arrow.Timestamp { return a.(*array.Timestamp).TimestampValues() }, text: timestampText(layout)}
		case schema.Float:
			return &floatBounds[float32]{bits: 32, values: func(a arrow.Array) []float32 { return a.(*array.Float32).Float32Values() }}
		case schema.Double:
			return &floatBounds[float64]{bits: 64, values: func(a arrow.Array) []float64 { return a.(*array.Float64).Float64Values() }}
		case schema.String:
			return &stringBounds{prefix: prefix}
		}
	}
	return nil
}

// intBounds are those of types that are whole numbers inside.
type intBounds[T ~int8 | ~int16 | ~int32 | ~int64] struct {
	values func(arrow.Array) []T
	text   func(v int64, upper bool) []byte
	lo, hi T
	any    bool
}

func (b *intBounds[T]) add(a arrow.Array, valid []byte) {
	for i, v := range b.values(a) {
		switch {
		case valid != nil && !bitutil.BitIsSet(valid, i):
		case !b.any:
			b.lo, b.hi, b.any = v, v, true
		case v < b.lo:
			b.lo = v
		case v > b.hi:
			b.hi = v
		}
	}
}

func (b *intBounds[T]) min() []byte {
	if !b.any {
		return nil
	}
	return b.text(int64(b.lo), false)
}

func (b *intBounds[T]) max() []byte {
	if !b.any {
		return nil
	}
	return b.text(int64(b.hi), true)
}

func intText(v int64, _ bool) []byte { return strconv.AppendInt(nil, v, 10) }

func dateText(v int64, _ bool) []byte {
	return timeText(time.Unix(v*24*60*60, 0).UTC(), time.DateOnly)
}

// timestampText writes milliseconds. Whatever is below is rounded outwards, so that the bounds stay
// bounds.
func timestampText(layout string) func(us int64, upper bool) []byte {
	return func(us int64, upper bool) []byte {
		ms := floorDiv(us, 1000)
		if upper && us%1000 != 0 {
			ms++
		}
		return timeText(time.UnixMilli(ms).UTC(), layout)
	}
}

// timeText leaves a bound out when its year has not four digits: readers do not agree on those.
func timeText(t time.Time, layout string) []byte {
	if t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return []byte(`"` + t.Format(layout) + `"`)
}

// floatBounds orders NaN above everything, as Spark does.
type floatBounds[T ~float32 | ~float64] struct {
	values   func(arrow.Array) []T
	bits     int
	lo, hi   T
	any, nan bool // any: a value that is not NaN
}

func (b *floatBounds[T]) add(a arrow.Array, valid []byte) {
	for i, v := range b.values(a) {
		switch {
		case valid != nil && !bitutil.BitIsSet(valid, i):
		case v != v:
			b.nan = true
		case !b.any:
			b.lo, b.hi, b.any = v, v, true
		case v < b.lo:
			b.lo = v
		case v > b.hi:
			b.hi = v
		}
	}
}

func (b *floatBounds[T]) min() []byte {
	switch {
	case b.any && b.lo == 0:
		return []byte("-0.0") // below both zeros
	case b.any:
		return b.json(b.lo)
	case b.nan:
		return []byte(`"NaN"`)
	}
	return nil
}

func (b *floatBounds[T]) max() []byte {
	switch {
	case b.nan:
		return []byte(`"NaN"`)
	case b.any && b.hi == 0:
		return []byte("0.0")
	case b.any:
		return b.json(b.hi)
	}
	return nil
}

func (b *floatBounds[T]) json(v T) []byte {
	switch {
	case math.IsInf(float64(v), 1):
		return []byte(`"Infinity"`)
	case math.IsInf(float64(v), -1):
		return []byte(`"-Infinity"`)
	}
	text := strconv.AppendFloat(nil, float64(v), 'g', -1, b.bits)
	if !bytes.ContainsAny(text, ".e") {
		text = append(text, ".0"...)
	}
	return text
}

type decimalBounds struct {
	scale  int32
	lo, hi decimal128.Num
	any    bool
}

func (b *decimalBounds) add(a arrow.Array, valid []byte) {
	for i, v := range a.(*array.Decimal128).Values() {
		switch {
		case valid != nil && !bitutil.BitIsSet(valid, i):
		case !b.any:
			b.lo, b.hi, b.any = v, v, true
		case v.Less(b.lo):
			b.lo = v
		case b.hi.Less(v):
			b.hi = v
		}
	}
}

func (b *decimalBounds) min() []byte {
	if !b.any {
		return nil
	}
	return decimalText(b.lo, b.scale)
}

func (b *decimalBounds) max() []byte {
	if !b.any {
		return nil
	}
	return decimalText(b.hi, b.scale)
}

// decimalText writes every digit, as a JSON number without an exponent.
func decimalText(v decimal128.Num, scale int32) []byte {
	digits := new(big.Int).Abs(v.BigInt()).Append(nil, 10)
	for len(digits) <= int(scale) {
		digits = append([]byte{'0'}, digits...)
	}
	var out []byte
	if v.Sign() < 0 {
		out = append(out, '-')
	}
	point := len(digits) - int(scale)
	out = append(out, digits[:point]...)
	if scale > 0 {
		out = append(append(out, '.'), digits[point:]...)
	}
	return out
}

// stringBounds orders strings by their bytes.
type stringBounds struct {
	prefix int
	lo, hi string
	any    bool
}

func (b *stringBounds) add(a arrow.Array, valid []byte) {
	s := a.(*array.String)
	for i := range s.Len() {
		if valid != nil && !bitutil.BitIsSet(valid, i) {
			continue
		}
		v := b.head(s.Value(i))
		switch {
		case !b.any:
			b.lo, b.hi, b.any = strings.Clone(v), strings.Clone(v), true
		case v < b.lo:
			b.lo = strings.Clone(v)
		case v > b.hi:
			b.hi = strings.Clone(v)
		}
	}
}

// most is how many bytes of a string decide what its bound is cut to: twice the prefix, in UTF-16 units of
// which one is at most three bytes. What follows makes no difference to the bounds.
func (b *stringBounds) most() int { return 3 * (2*b.prefix + 2) }

// head is as much of v as that.
func (b *stringBounds) head(v string) string {
	n := b.most()
	if len(v) <= n {
		return v
	}
	for n > 0 && !utf8.RuneStart(v[n]) {
		n--
	}
	return v[:n]
}

func (b *stringBounds) min() []byte {
	if !b.any || !utf8.ValidString(b.lo) {
		return nil
	}
	return quoteJSON(truncateMin(b.lo, b.prefix))
}

func (b *stringBounds) max() []byte {
	if !b.any || !utf8.ValidString(b.hi) {
		return nil
	}
	text, ok := truncateMax(b.hi, b.prefix)
	if !ok {
		return nil
	}
	return quoteJSON(text)
}

// truncateMin cuts s after prefix characters: a prefix is never above what it begins.
func truncateMin(s string, prefix int) string {
	n := 0
	for i := range s {
		if n == prefix {
			return s[:i]
		}
		n++
	}
	return s
}

// truncateMax cuts s after prefix UTF-16 units, without splitting a character, and appends one that is
// above the first that is cut. It goes on when the cut falls before the greatest character there is,
// and gives up at twice the prefix.
func truncateMax(s string, prefix int) (string, bool) {
	units := 0
	for i, r := range s {
		width := 1
		if r > 0xFFFF {
			width = 2
		}
		if units+width > prefix && r != utf8.MaxRune {
			if units > 2*prefix {
				return "", false
			}
			if r < 0x7F {
				return s[:i] + "\x7F", true
			}
			return s[:i] + string(utf8.MaxRune), true
		}
		units += width
	}
	if units > 2*prefix {
		return "", false
	}
	return s, true
}
