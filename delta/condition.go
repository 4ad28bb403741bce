package delta

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

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
