package delta

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/siltlake/silt/schema"
)

// A Predicate is a condition on the rows of a table: [Compare], [In], [IsNull], [And], [Or] or [Not]. It
// is true, false or null, as in SQL; only the rows for which it is true are meant.
//
// A column is a path of names from the root of the schema through structs, matched without case. A value
// is a bool, a number of Go or of math/big, a json.Number, a string, a []byte, a time.Time, or nil for
// null. A string stands for a value of any scalar type in the form in which Delta writes it. Numbers are
// compared by their exact value, but floating-point columns as float64, where NaN is equal to itself and
// greater than all else, as in Spark. Strings are compared by their bytes.
type Predicate interface {
	// bind finds the columns in the table. With not it binds the opposite.
	bind(b binder, not bool) (condition, error)
}

// Op is how a column is compared with a value.
type Op uint8

// The comparisons.
const (
	Equal Op = iota
	NotEqual
	Less
	LessEqual
	Greater
	GreaterEqual
)

// opposites are the comparisons that are true where the others are false.
var opposites = [...]Op{NotEqual, Equal, GreaterEqual, Greater, LessEqual, Less}

func (o Op) String() string { return [...]string{"=", "<>", "<", "<=", ">", ">="}[o] }

// holds reports whether the comparison is true when the column's value is below (-1), equal to (0) or
// above (1) the other.
func (o Op) holds(order int) bool {
	switch o {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Less:
		return order < 0
	case LessEqual:
		return order <= 0
	case Greater:
		return order > 0
	}
	return order >= 0
}

// Compare compares a column with a value. With null, on either side, it is null.
type Compare struct {
	Column []string
	Op     Op
	Value  any
}

// In is true for rows whose column has one of the values.
type In struct {
	Column []string
	Values []any
}

// IsNull is true for rows whose column is null, or lies in a struct that is null.
type IsNull struct{ Column []string }

// And is true where all are true; an empty one is true.
type And []Predicate

// Or is true where one is true; an empty one is false.
type Or []Predicate

// Not is true where the other is false.
type Not struct{ Predicate Predicate }

// binder is the table that a predicate is about.
type binder struct {
	schema *schema.Struct
	mode   string // of column mapping
	keys   []string
}

func (s *Snapshot) binder() binder {
	return binder{s.schema, s.columnMapping(), s.metadata.PartitionColumns}
}

// bindPredicate returns the condition; nil when there is no predicate.
func (b binder) predicate(p Predicate) (condition, error) {
	if p == nil {
		return nil, nil
	}
	return p.bind(b, false)
}

// condition is a predicate of a table. It has no Not, so that it suffices to know where it is true.
type condition interface {
	// mayHold reports whether it can be true for a row of which only the spans of its columns are known.
	mayHold(in spans) bool
	// alwaysHolds reports whether it is true for all such rows.
	alwaysHolds(in spans) bool
	// mark sets true[i] where it is true for row i.
	mark(rec arrow.RecordBatch, is []bool) error
	// leaves calls f for each column it looks at.
	leaves(f func(*leaf))
}

// spans says what is known of a column of a set of rows.
type spans interface{ span(l *leaf) span }

// leaf is a comparison of a column.
type leaf struct {
	path     []string // logical, as in the schema
	physical []string
	typ      schema.Type
	class    class
	isKey    bool // a partition column

	test   test
	op     Op        // of testOp
	value  literal   // of testOp
	values []literal // of testIn and testNotIn, in order
	ints   map[int64]struct{}
	texts  map[string]struct{}
}

// test is what a leaf asks of its column.
type test uint8

const (
	testNever test = iota // null for every row
	testOp
	testIn
	testNotIn
	testNull
	testNotNull
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

func (b binder) leaf(path []string) (*leaf, error) {
	l := &leaf{}
	var t schema.Type = b.schema
	for i, name := range path {
		s, ok := t.(*schema.Struct)
		if !ok {
			return nil, fmt.Errorf("predicate: column %s is %s, which has no fields", schema.Path(path[:i]...), t)
		}
		j := s.IndexFold(name)
		if j < 0 {
			return nil, fmt.Errorf("predicate: the table has no column %s", schema.Path(path[:i+1]...))
		}
		f := s.Fields[j]
		physical, err := physicalName(f, b.mode)
		if err != nil {
			return nil, err
		}
		l.path, l.physical, t = append(l.path, f.Name), append(l.physical, physical), f.Type
	}
	if len(path) == 0 {
		return nil, fmt.Errorf("predicate: a comparison without a column")
	}
	l.typ, l.class = t, classOf(t)
	l.isKey = len(l.path) == 1 && slices.ContainsFunc(b.keys, func(k string) bool { return schema.Fold(k) == schema.Fold(l.path[0]) })
	return l, nil
}

// ordered returns the leaf of a column whose values have an order.
func (b binder) ordered(path []string) (*leaf, error) {
	l, err := b.leaf(path)
	if err == nil && l.class == classNone && l.typ != schema.Void {
		return nil, fmt.Errorf("predicate: column %s is %s, whose values cannot be compared", schema.Path(l.path...), l.typ)
	}
	return l, err
}

func (p Compare) bind(b binder, not bool) (condition, error) {
	l, err := b.ordered(p.Column)
	if err != nil || l.typ == schema.Void {
		return l, err
	}
	if p.Op > GreaterEqual {
		return nil, fmt.Errorf("predicate: unknown comparison %d", p.Op)
	}
	if p.Value == nil {
		return l, nil
	}
	l.test, l.op = testOp, p.Op
	if not {
		l.op = opposites[p.Op]
	}
	l.value, err = l.literal(p.Value)
	return l, err
}

func (p In) bind(b binder, not bool) (condition, error) {
	l, err := b.ordered(p.Column)
	if err != nil || l.typ == schema.Void {
		return l, err
	}
	hasNull := false
	for _, v := range p.Values {
		if v == nil {
			hasNull = true
			continue
		}
		x, err := l.literal(v)
		if err != nil {
			return nil, err
		}
		l.values = append(l.values, x)
	}
	switch {
	case !not && len(l.values) > 0:
		l.test = testIn
	case not && !hasNull:
		l.test = testNotIn
		if len(p.Values) == 0 { // NOT (a IN ()) is true, even for null
			return all(nil), nil
		}
	}
	slices.SortFunc(l.values, func(x, y literal) int { return compareLiterals(l.class, x, y) })
	l.index()
	return l, nil
}

// index makes the values of whole numbers and texts quick to find.
func (l *leaf) index() {
	switch l.class {
	case classInt:
		l.ints = make(map[int64]struct{}, len(l.values))
		for _, v := range l.values {
			if v.over == 0 {
				l.ints[v.i] = struct{}{}
			}
		}
	case classBytes:
		l.texts = make(map[string]struct{}, len(l.values))
		for _, v := range l.values {
			l.texts[v.s] = struct{}{}
		}
	}
}

func (p IsNull) bind(b binder, not bool) (condition, error) {
	l, err := b.leaf(p.Column)
	if err != nil {
		return nil, err
	}
	l.test = testNull
	if not {
		l.test = testNotNull
	}
	return l, nil
}

func (p Not) bind(b binder, not bool) (condition, error) {
	if p.Predicate == nil {
		return nil, fmt.Errorf("predicate: a Not of nothing")
	}
	return p.Predicate.bind(b, !not)
}

func (p And) bind(b binder, not bool) (condition, error) {
	parts, err := bindAll(b, p, not)
	if not {
		return anyOf(parts), err
	}
	return all(parts), err
}

func (p Or) bind(b binder, not bool) (condition, error) {
	parts, err := bindAll(b, p, not)
	if not {
		return all(parts), err
	}
	return anyOf(parts), err
}

func bindAll(b binder, list []Predicate, not bool) ([]condition, error) {
	var out []condition
	for _, p := range list {
		if p == nil {
			return nil, fmt.Errorf("predicate: an And or Or with a part that is nil")
		}
		c, err := p.bind(b, not)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
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

// all is true where all are true, anyOf where one is.
type (
	all   []condition
	anyOf []condition
)

func (a all) mayHold(in spans) bool {
	return !slices.ContainsFunc(a, func(c condition) bool { return !c.mayHold(in) })
}

func (a all) alwaysHolds(in spans) bool {
	return !slices.ContainsFunc(a, func(c condition) bool { return !c.alwaysHolds(in) })
}

func (a all) leaves(f func(*leaf)) {
	for _, c := range a {
		c.leaves(f)
	}
}

func (a all) mark(rec arrow.RecordBatch, is []bool) error {
	for i := range is {
		is[i] = true
	}
	part := make([]bool, len(is))
	for _, c := range a {
		clear(part)
		if err := c.mark(rec, part); err != nil {
			return err
		}
		for i, v := range part {
			is[i] = is[i] && v
		}
	}
	return nil
}

func (a anyOf) mayHold(in spans) bool {
	return slices.ContainsFunc(a, func(c condition) bool { return c.mayHold(in) })
}

func (a anyOf) alwaysHolds(in spans) bool {
	return slices.ContainsFunc(a, func(c condition) bool { return c.alwaysHolds(in) })
}

func (a anyOf) leaves(f func(*leaf)) { all(a).leaves(f) }

func (a anyOf) mark(rec arrow.RecordBatch, is []bool) error {
	for _, c := range a {
		part := make([]bool, len(is))
		if err := c.mark(rec, part); err != nil {
			return err
		}
		for i, v := range part {
			is[i] = is[i] || v
		}
	}
	return nil
}

func (l *leaf) leaves(f func(*leaf)) { f(l) }

// column returns the leaf's column in a record of logical columns, and whether it is null in a row.
func (l *leaf) column(rec arrow.RecordBatch) (a arrow.Array, isNull func(i int) bool, err error) {
	at := rec.Schema().FieldIndices(l.path[0])
	if len(at) == 0 {
		return nil, nil, fmt.Errorf("predicate: the rows have no column %s", schema.Path(l.path[:1]...))
	}
	a = rec.Column(at[0])
	above := []arrow.Array{a}
	for i, name := range l.path[1:] {
		st, ok := a.(*array.Struct)
		if !ok {
			return nil, nil, fmt.Errorf("predicate: column %s of the rows is no struct", schema.Path(l.path[:i+1]...))
		}
		j, ok := st.DataType().(*arrow.StructType).FieldIdx(name)
		if !ok {
			return nil, nil, fmt.Errorf("predicate: the rows have no column %s", schema.Path(l.path[:i+2]...))
		}
		a = st.Field(j)
		above = append(above, a)
	}
	above = slices.DeleteFunc(above, func(a arrow.Array) bool { return a.NullN() == 0 && a.DataType().ID() != arrow.NULL })
	switch len(above) {
	case 0:
		return a, func(int) bool { return false }, nil
	case 1:
		return a, above[0].IsNull, nil
	}
	return a, func(i int) bool {
		return slices.ContainsFunc(above, func(a arrow.Array) bool { return a.IsNull(i) })
	}, nil
}

func (l *leaf) mark(rec arrow.RecordBatch, is []bool) error {
	if l.test == testNever {
		return nil
	}
	a, isNull, err := l.column(rec)
	if err != nil {
		return err
	}
	switch l.test {
	case testNull, testNotNull:
		for i := range is {
			is[i] = isNull(i) == (l.test == testNull)
		}
		return nil
	}
	holds, err := l.rowTest(a)
	if err != nil {
		return err
	}
	for i := range is {
		is[i] = !isNull(i) && holds(i)
	}
	return nil
}

// rowTest returns the function that tests the value in a row, which is not null.
func (l *leaf) rowTest(a arrow.Array) (func(i int) bool, error) {
	value := func(i int) literal { return literal{} }
	switch a := a.(type) {
	case *array.Boolean:
		value = func(i int) literal { return boolLiteral(a.Value(i)) }
	case *array.Int8:
		value = func(i int) literal { return literal{i: int64(a.Value(i))} }
	case *array.Int16:
		value = func(i int) literal { return literal{i: int64(a.Value(i))} }
	case *array.Int32:
		value = func(i int) literal { return literal{i: int64(a.Value(i))} }
	case *array.Int64:
		value = func(i int) literal { return literal{i: a.Value(i)} }
	case *array.Date32:
		value = func(i int) literal { return literal{i: int64(a.Value(i))} }
	case *array.Timestamp:
		value = func(i int) literal { return literal{i: int64(a.Value(i))} }
	case *array.Float32:
		value = func(i int) literal { return literal{f: float64(a.Value(i))} }
	case *array.Float64:
		value = func(i int) literal { return literal{f: a.Value(i)} }
	case *array.String:
		value = func(i int) literal { return literal{s: a.Value(i)} }
	case *array.Binary:
		value = func(i int) literal { return literal{s: string(a.Value(i))} }
	case *array.Decimal128:
		value = func(i int) literal { return literal{d: a.Value(i)} }
	default:
		return nil, fmt.Errorf("predicate: column %s comes as Arrow's %s", schema.Path(l.path...), a.DataType())
	}
	switch l.test {
	case testIn:
		return func(i int) bool { return l.has(value(i)) }, nil
	case testNotIn:
		return func(i int) bool { return !l.has(value(i)) }, nil
	}
	return func(i int) bool { return l.op.holds(compareLiterals(l.class, value(i), l.value)) }, nil
}

// has reports whether the value is one of the leaf's.
func (l *leaf) has(v literal) bool {
	switch l.class {
	case classInt:
		_, ok := l.ints[v.i]
		return ok
	case classBytes:
		_, ok := l.texts[v.s]
		return ok
	}
	_, ok := searchLiterals(l.class, l.values, v)
	return ok
}
