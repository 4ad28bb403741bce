package merge

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

// Columns are named by their paths in structs, as [schema.ParsePath] reads them. What lies in a struct that is
// null is null.

// met is how the rows of the table are met: by keys, and in the order of a sequence, nil without.
type met struct {
	keys [][]string
	seq  []string
}

func (s Spec) met() (m met, err error) {
	for _, text := range s.Keys {
		path, err := schema.ParsePath(text)
		if err != nil {
			return m, &ColumnError{Column: text, Problem: "is a key, and is no name of a column: " + err.Error(), Setting: "keys"}
		}
		m.keys = append(m.keys, path)
	}
	if s.SequenceBy == "" {
		return m, nil
	}
	if m.seq, err = schema.ParsePath(s.SequenceBy); err != nil {
		return m, &ColumnError{Column: s.SequenceBy, Problem: "is what orders the changes, and is no name of a column: " + err.Error(), Setting: "sequenceBy"}
	}
	return m, nil
}

// Required are the columns without a value in which a row cannot be merged, by their paths. It is nil where
// the spec names one wrongly, as [Check] tells.
func (s Spec) Required() [][]string {
	m, err := s.met()
	switch {
	case err != nil:
		return nil
	case s.History && m.seq != nil:
		return append(m.keys, m.seq)
	}
	return m.keys
}

// Order is the path of the column that orders the changes, nil without.
func (s Spec) Order() []string {
	m, _ := s.met() // as [Check] tells
	return m.seq
}

// isKey reports whether a top-level column is a key.
func (m met) isKey(column string) bool {
	return slices.ContainsFunc(m.keys, func(k []string) bool { return len(k) == 1 && schema.Fold(k[0]) == schema.Fold(column) })
}

// valuesAt returns the values of rec at a path, which the caller releases.
func valuesAt(rec arrow.RecordBatch, path []string) arrow.Array {
	a := rec.Column(columnOf(rec.Schema().Fields(), path[0]))
	a.Retain()
	for _, name := range path[1:] {
		st := a.(*array.Struct)
		a = below(st, columnOf(st.DataType().(*arrow.StructType).Fields(), name))
		st.Release()
	}
	return a
}

// columnOf is the position of a field by its name without case.
func columnOf(fields []arrow.Field, name string) int {
	return slices.IndexFunc(fields, func(f arrow.Field) bool { return schema.Fold(f.Name) == schema.Fold(name) })
}

// hasField reports whether a schema has a field of structs at a path.
func hasField(s *schema.Struct, path []string) bool { return schema.Pick(s, [][]string{path}) != nil }
