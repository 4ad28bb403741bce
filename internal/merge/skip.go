package merge

import (
	"encoding/json"
	"regexp"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

// skipOf is a predicate that is true of all rows of which the terms are. Of those only the ones are taken
// that SQL and [delta.Predicate] understand alike; nil when there is none.
func skipOf(s *schema.Struct, terms []duck.Term) delta.Predicate {
	ops := map[string]delta.Op{"=": delta.Equal, "<>": delta.NotEqual, "<": delta.Less, "<=": delta.LessEqual, ">": delta.Greater, ">=": delta.GreaterEqual}
	var all delta.And
	for _, t := range terms {
		path, typ := columnAt(s, t.Column)
		values := make([]any, 0, len(t.Values))
		for _, c := range t.Values {
			if v := valueOf(typ, c); v != nil {
				values = append(values, v)
			}
		}
		switch op, ok := ops[t.Op]; {
		case typ == nil || len(values) != len(t.Values):
		case ok:
			all = append(all, delta.Compare{Column: path, Op: op, Value: values[0]})
		default:
			all = append(all, delta.In{Column: path, Values: values})
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// columnAt finds the column that a condition names, with the name of the table before or without. Of two
// that it could be it is none.
func columnAt(s *schema.Struct, names []string) ([]string, schema.Type) {
	if schema.Fold(names[0]) == targetTable.Name && len(names) > 1 {
		if s.IndexFold(names[0]) >= 0 {
			return nil, nil
		}
		names = names[1:]
	}
	var t schema.Type = s
	for _, name := range names {
		st, ok := t.(*schema.Struct)
		if !ok || st.IndexFold(name) < 0 {
			return nil, nil
		}
		t = st.Fields[st.IndexFold(name)].Type
	}
	return names, t
}

var (
	dayText    = regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)
	secondText = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`)
)

// valueOf is a constant as a predicate on a column has it, nil when the two may be compared otherwise in
// SQL.
func valueOf(typ schema.Type, c duck.Constant) any {
	_, isDecimal := typ.(schema.Decimal)
	switch typ {
	case schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Double:
		isDecimal = true
	case schema.String:
		if c.Type == "VARCHAR" {
			return c.Text
		}
	case schema.Date:
		if c.Type != "DECIMAL" && c.Type != "TIMESTAMP" && dayText.MatchString(c.Text) {
			return c.Text
		}
	case schema.Timestamp, schema.TimestampNTZ:
		switch {
		case c.Type == "DECIMAL":
		case secondText.MatchString(c.Text):
			return c.Text
		case dayText.MatchString(c.Text):
			return c.Text + " 00:00:00"
		}
	}
	if isDecimal && c.Type == "DECIMAL" {
		return json.Number(c.Text)
	}
	return nil
}

// lookedAt are the columns of a table among names, nil when it is not known which are meant.
func lookedAt(s *schema.Struct, names []string) (columns []string) {
	seen := map[int]bool{}
	for _, name := range names {
		if i := s.IndexFold(name); i >= 0 && !seen[i] {
			seen[i] = true
			columns = append(columns, s.Fields[i].Name)
		}
	}
	return columns
}
