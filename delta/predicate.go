package delta

import (
	"fmt"
	"slices"

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
