package delta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/siltlake/silt/delta"
)

func TestParsePredicate(t *testing.T) {
	eq := func(column string, v any) delta.Predicate {
		return delta.Compare{Column: strings.Split(column, "."), Op: delta.Equal, Value: v}
	}
	for text, want := range map[string]delta.Predicate{
		"day = '2026-01-05'":      eq("day", "2026-01-05"),
		"day = DATE '2026-01-05'": eq("day", "2026-01-05"),
		"date = '2026-01-05'":     eq("date", "2026-01-05"),
		"a.`b c`.d == 1.5e3":      delta.Compare{Column: []string{"a", "b c", "d"}, Op: delta.Equal, Value: json.Number("1.5e3")},
		"3 < n":                   delta.Compare{Column: []string{"n"}, Op: delta.Greater, Value: json.Number("3")},
		"n >= -3":                 delta.Compare{Column: []string{"n"}, Op: delta.GreaterEqual, Value: json.Number("-3")},
		"n = .5":                  eq("n", json.Number("0.5")),
		"s = 'it''s'":             eq("s", "it's"),
		"s = ''":                  eq("s", ""),
		"b = true":                eq("b", true),
		"true":                    delta.And{},
		"not (false or b = NULL)": delta.Not{Predicate: delta.Or{delta.Or{}, eq("b", nil)}},
		"a = 1 or b = 2 and c = 3": delta.Or{eq("a", json.Number("1")),
			delta.And{eq("b", json.Number("2")), eq("c", json.Number("3"))}},
		"x in (1, 'a', null)":   delta.In{Column: []string{"x"}, Values: []any{json.Number("1"), "a", nil}},
		"x Not In (1)":          delta.Not{Predicate: delta.In{Column: []string{"x"}, Values: []any{json.Number("1")}}},
		"x is not null":         delta.Not{Predicate: delta.IsNull{Column: []string{"x"}}},
		"`select` IS NULL":      delta.IsNull{Column: []string{"select"}},
		"x between 1 and 2":     delta.And{delta.Compare{Column: []string{"x"}, Op: delta.GreaterEqual, Value: json.Number("1")}, delta.Compare{Column: []string{"x"}, Op: delta.LessEqual, Value: json.Number("2")}},
		"größe <> TIMESTAMP'x'": delta.Compare{Column: []string{"größe"}, Op: delta.NotEqual, Value: "x"},
	} {
		got, err := delta.ParsePredicate(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, %v; want %#v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                    "want the name of a column: at the end",
		"day":                 "a column is compared by =, <>, <, <=, >, >=, IN, BETWEEN or IS NULL: at the end",
		"day = ":              "want a value: a number, a text in single quotes, TRUE, FALSE or NULL: at the end",
		"day = today()":       "want a value: a number, a text in single quotes, TRUE, FALSE or NULL: at today()",
		"year(day) = 2026":    "there are no functions: at (day) = 2026",
		`day = "2026"`:        `a double quote: a text stands in single quotes, the name of a column in back-ticks: at "2026"`,
		"day = 'x":            "a quote is not closed: at 'x",
		"(a = 1":              "a parenthesis is not closed: at the end",
		"a = 1 b = 2":         "the condition goes on after its end: at b = 2",
		"a = 12x":             "this is no number: at 12x",
		"a in 1":              "IN takes a list in parentheses: at 1",
		"a in ()":             "want a value: a number, a text in single quotes, TRUE, FALSE or NULL: at )",
		"a in (1":             "want a comma or a parenthesis: at the end",
		"a between 1":         "BETWEEN takes two values with AND: at the end",
		"a <=> 1":             "a column is compared by =, <>, <, <=, >, >=, IN, BETWEEN or IS NULL: at <=> 1",
		"1 = 1":               "want the name of a column: at 1",
		"a = 1; drop table x": "the condition goes on after its end: at ; drop table x",
	} {
		_, err := delta.ParsePredicate(text)
		var wrong *delta.PredicateError
		if !errors.As(err, &wrong) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParsePredicate(f *testing.F) {
	for _, text := range []string{"day = '2026-01-05' and not (`a b`.c in (1,-2.5e3,null) or x is not null)", "a between 1 and 'b'", "true", "'", "`", "(((", "a.", "-", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := delta.ParsePredicate(text)
		if (p == nil || err != nil) && err == nil {
			t.Errorf("%q: no predicate and no error", text)
		}
		_ = fmt.Sprint(err)
	})
}
