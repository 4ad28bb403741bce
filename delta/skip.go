package delta

import (
	"encoding/json"
	"math/big"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/scalar"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	pq "github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/siltlake/silt/schema"
)

// Which files can be left out.
//
// Statistics are bounds and no more than that: a file is skipped only if no value within them can meet
// the predicate, and kept when they are missing or cannot be read. Writers have made them in different
// ways, so bounds are taken for a little wider than they say:
//
//	timestamps   end at the millisecond, and some writers cut the maximum off there: plus 999 µs
//	texts        are cut, and not every writer raises a maximum that is: what begins with it is within
//	fractions    of a writer that leaves NaN out may be NaN all the same, which is above everything;
//	             the text of a float that is a double by now is the shortest of either
//	decimals     of more than 15 digits may have gone through a double
//	deleted rows widen nothing: bounds hold for fewer rows, too
//
// The values of partition columns are exact.

// span is what is known of the values of a column in some rows.
type span struct {
	lo, hi *literal // nil is unknown
	// exact: lo, which is hi, is the very value of all rows that are not null.
	exact            bool
	noNull, onlyNull bool
}

// above reports whether v is above all values of the span.
func (s span) above(c class, v literal) bool {
	if s.hi == nil || compareLiterals(c, v, *s.hi) <= 0 {
		return false
	}
	return s.exact || c != classBytes || !strings.HasPrefix(v.s, s.hi.s)
}

// below reports whether v is below all values of the span.
func (s span) below(c class, v literal) bool { return s.lo != nil && compareLiterals(c, v, *s.lo) < 0 }

// mayBe reports whether a value of the span may be v.
func (s span) mayBe(c class, v literal) bool {
	if s.below(c, v) {
		return false
	}
	if c == classFloat && !s.exact && v.f != v.f {
		return true
	}
	return !s.above(c, v)
}

// mayOp reports whether a value of the span may compare so with v.
func (s span) mayOp(c class, op Op, v literal) bool {
	if s.exact {
		return op.holds(compareLiterals(c, *s.lo, v))
	}
	switch op {
	case Equal:
		return s.mayBe(c, v)
	case NotEqual:
		return !s.only(c, v)
	case Less:
		return s.lo == nil || compareLiterals(c, *s.lo, v) < 0
	case LessEqual:
		return !s.below(c, v)
	}
	// Greater, GreaterEqual
	if c == classFloat || s.hi == nil {
		return true // a NaN that the bounds do not tell of
	}
	if op == GreaterEqual || c == classBytes {
		return !s.above(c, v)
	}
	return compareLiterals(c, *s.hi, v) > 0
}

// only reports whether all values of the span are v.
func (s span) only(c class, v literal) bool {
	if s.lo == nil || s.hi == nil || compareLiterals(c, *s.lo, v) != 0 || compareLiterals(c, *s.hi, v) != 0 {
		return false
	}
	return s.exact || c == classInt || c == classDecimal
}

func (l *leaf) mayHold(in spans) bool {
	s := in.span(l)
	switch {
	case l.test == testNever:
		return false
	case l.test == testNull:
		return !s.noNull
	case s.onlyNull: // all that is left asks for a value
		return false
	case l.test == testNotNull:
		return true
	case l.test == testOp:
		return s.mayOp(l.class, l.op, l.value)
	case l.test == testNotIn:
		return !(s.exact && l.has(*s.lo))
	}
	return l.mayBeIn(s)
}

// mayBeIn reports whether one of the leaf's values, which are in order, may be in the span.
func (l *leaf) mayBeIn(s span) bool {
	from := 0
	if s.lo != nil {
		from, _ = searchLiterals(l.class, l.values, *s.lo)
	}
	for _, v := range l.values[from:] {
		if s.mayBe(l.class, v) {
			return true
		}
		// A text above may begin with the maximum, and those that do follow it at once.
		if s.above(l.class, v) && !(l.class == classFloat && !s.exact) {
			return false
		}
	}
	return false
}

func (l *leaf) alwaysHolds(in spans) bool {
	s := in.span(l)
	switch {
	case l.test == testNull:
		return s.onlyNull
	case !s.noNull || s.onlyNull || l.test == testNever:
		return false
	case l.test == testNotNull:
		return true
	case !s.exact:
		return false
	case l.test == testOp:
		return l.op.holds(compareLiterals(l.class, *s.lo, l.value))
	}
	return l.has(*s.lo) == (l.test == testIn)
}

// fileSpans are those of a data file, from its partition values and statistics.
type fileSpans struct {
	add    *Add
	wide   bool // whether the types of columns may have been narrower when the file was written
	parsed bool
	stats  struct {
		NumRecords                      *int64
		MinValues, MaxValues, NullCount map[string]json.RawMessage
	}
}

func (f *fileSpans) span(l *leaf) span {
	if l.isKey {
		return f.key(l)
	}
	if !f.parsed {
		f.parsed = true
		if f.add.Stats != "" && json.Unmarshal([]byte(f.add.Stats), &f.stats) != nil {
			f.stats.MinValues, f.stats.MaxValues, f.stats.NullCount = nil, nil, nil
		}
	}
	var s span
	var nulls int64
	if raw := memberOf(f.stats.NullCount, l.physical); raw != nil && json.Unmarshal(raw, &nulls) == nil {
		s.noNull = nulls == 0
		s.onlyNull = f.stats.NumRecords != nil && nulls == *f.stats.NumRecords && nulls > 0
	}
	if l.class == classNone {
		return span{} // the nulls of what has parts are counted in more than one way
	}
	s.lo = l.bound(memberOf(f.stats.MinValues, l.physical), false, f.wide)
	s.hi = l.bound(memberOf(f.stats.MaxValues, l.physical), true, f.wide)
	return s
}

// key is the span of a partition column.
func (f *fileSpans) key(l *leaf) span {
	v, err := parsePartitionValue(l.typ, f.add.value(l.physical[0]))
	switch {
	case err != nil:
		return span{}
	case v == nil:
		return span{onlyNull: true}
	}
	x, ok := scalarLiteral(v)
	if !ok {
		return span{noNull: true}
	}
	return span{lo: &x, hi: &x, exact: true, noNull: true}
}

// memberOf returns the value at a path of nested objects; nil when there is none.
func memberOf(m map[string]json.RawMessage, path []string) json.RawMessage {
	for i, name := range path {
		raw, ok := m[name]
		if !ok || string(raw) == "null" {
			return nil
		}
		if i == len(path)-1 {
			return raw
		}
		m = nil
		if json.Unmarshal(raw, &m) != nil {
			return nil
		}
	}
	return nil
}

// bound reads a bound as it stands in statistics; nil when it tells nothing.
func (l *leaf) bound(raw json.RawMessage, upper, wide bool) *literal {
	if raw == nil {
		return nil
	}
	text := string(raw)
	quoted := raw[0] == '"'
	if quoted && json.Unmarshal(raw, &text) != nil {
		return nil
	}
	var x literal
	switch l.class {
	case classBytes:
		if !quoted || l.typ != schema.String {
			return nil
		}
		x.s = text
	case classFloat:
		return floatBound(l.typ, text, upper, wide)
	case classDecimal:
		return decimalBound(l.typ.(schema.Decimal), text, upper)
	default:
		return l.intBound(text, quoted, upper)
	}
	return &x
}

func (l *leaf) intBound(text string, quoted, upper bool) *literal {
	var x literal
	switch l.typ {
	case schema.Boolean:
		if text != "true" && text != "false" {
			return nil
		}
		x = boolLiteral(text == "true")
	case schema.Date, schema.Timestamp, schema.TimestampNTZ:
		us, err := parseTimestamp(text)
		switch {
		case err != nil || !quoted:
			return nil
		case l.typ == schema.Date:
			x.i = floorDiv(us, dayMicros)
		case l.typ == schema.Timestamp && !hasZone(text), l.typ == schema.TimestampNTZ && hasZone(text):
			return nil // of a zone that nobody knows
		case upper:
			x.i = us + 999
		default:
			x.i = us
		}
	default:
		r := parseRat(text)
		if r == nil {
			return nil
		}
		x = ratLiteral(l.typ, r)
	}
	return &x
}

// hasZone reports whether the text of a timestamp ends in a zone.
func hasZone(text string) bool {
	i := strings.IndexAny(text, "T ")
	return strings.HasSuffix(text, "Z") || i > 0 && strings.ContainsAny(text[i+1:], "+-")
}

func floatBound(t schema.Type, text string, upper, wide bool) *literal {
	bits := 64
	if t == schema.Float {
		bits = 32
	}
	f, err := parseFloat(text, bits)
	if err != nil || f != f && !upper { // a writer for which NaN is below everything may have more above it
		return nil
	}
	if t == schema.Double && wide {
		if g, err := parseFloat(text, 32); err == nil && (g > f) == upper {
			f = g
		}
	}
	return &literal{f: f}
}

// exactDigits is the number of decimal digits that every double keeps.
const exactDigits = 15

func decimalBound(t schema.Decimal, text string, upper bool) *literal {
	r := parseRat(text)
	if r == nil {
		return nil
	}
	if t.Precision > exactDigits {
		// Further out by more than a double is away from the number whose nearest it is.
		slack := new(big.Rat).Quo(new(big.Rat).Abs(r), new(big.Rat).SetInt64(1<<50))
		if upper {
			r = new(big.Rat).Add(r, slack)
		} else {
			r = new(big.Rat).Sub(r, slack)
		}
	}
	x := ratLiteral(t, r)
	return &x
}

func scalarLiteral(v scalar.Scalar) (x literal, ok bool) {
	switch v := v.(type) {
	case *scalar.Boolean:
		return boolLiteral(v.Value), true
	case *scalar.Int8:
		x.i = int64(v.Value)
	case *scalar.Int16:
		x.i = int64(v.Value)
	case *scalar.Int32:
		x.i = int64(v.Value)
	case *scalar.Int64:
		x.i = v.Value
	case *scalar.Date32:
		x.i = int64(v.Value)
	case *scalar.Timestamp:
		x.i = int64(v.Value)
	case *scalar.Float32:
		x.f = float64(v.Value)
	case *scalar.Float64:
		x.f = v.Value
	case *scalar.String:
		x.s = string(v.Data())
	case *scalar.Binary:
		x.s = string(v.Data())
	case *scalar.Decimal128:
		x.d = v.Value
	default:
		return x, false
	}
	return x, true
}

// groupSpans are those of a row group, from the statistics of Parquet. They are used for whole numbers,
// dates, timestamps and texts, where all writers agree on them.
type groupSpans struct {
	schema *pq.Schema
	group  *metadata.RowGroupMetaData
}

func (g groupSpans) span(l *leaf) (s span) {
	if l.isKey || strings.Contains(strings.Join(l.physical, ""), ".") {
		return s
	}
	i := g.schema.ColumnIndexByName(strings.Join(l.physical, "."))
	if i < 0 {
		return s
	}
	chunk, err := g.group.ColumnChunk(i)
	if err != nil {
		return s
	}
	stats, err := chunk.Statistics()
	if err != nil || stats == nil {
		return s
	}
	if stats.HasNullCount() {
		s.noNull, s.onlyNull = stats.NullCount() == 0, stats.NullCount() == chunk.NumValues() && chunk.NumValues() > 0
	}
	if !stats.HasMinMax() || !l.comparesAs(g.schema.Column(i)) {
		return s
	}
	switch st := stats.(type) {
	case *metadata.Int32Statistics:
		s.lo, s.hi = &literal{i: int64(st.Min())}, &literal{i: int64(st.Max())}
	case *metadata.Int64Statistics:
		s.lo, s.hi = &literal{i: st.Min()}, &literal{i: st.Max()}
	case *metadata.ByteArrayStatistics:
		s.lo, s.hi = &literal{s: string(st.Min())}, &literal{s: string(st.Max())}
	}
	return s
}

// comparesAs reports whether the values of a column of Parquet are in the order and the unit of the
// leaf's.
func (l *leaf) comparesAs(c *pq.Column) bool {
	switch logical := c.LogicalType().(type) {
	case pq.StringLogicalType:
		return l.typ == schema.String
	case pq.DateLogicalType:
		return l.typ == schema.Date
	case pq.TimestampLogicalType:
		return (l.typ == schema.Timestamp || l.typ == schema.TimestampNTZ) && logical.TimeUnit() == pq.TimeUnitMicros
	case pq.IntLogicalType:
		return logical.IsSigned() && isWhole(l.typ)
	case pq.NoLogicalType, pq.UnknownLogicalType, nil:
		return isWhole(l.typ)
	}
	return false
}

func isWhole(t schema.Type) bool {
	return t == schema.Byte || t == schema.Short || t == schema.Integer || t == schema.Long
}

func searchLiterals(c class, list []literal, v literal) (int, bool) {
	lo, hi := 0, len(list)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if compareLiterals(c, list[mid], v) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(list) && compareLiterals(c, list[lo], v) == 0
}
