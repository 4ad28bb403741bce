package delta

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/schema"
)

// The tests are inside the package, because what a file may hold is not exported.

func conditionOf(t testing.TB, s *schema.Struct, p Predicate, keys ...string) condition {
	t.Helper()
	c, err := binder{schema: s, keys: keys}.predicate(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ddlOf(t testing.TB, text string) *schema.Struct {
	t.Helper()
	s, err := schema.ParseDDL(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func is(column string, op Op, value any) Predicate {
	path, err := schema.ParsePath(column)
	if err != nil {
		panic(err)
	}
	return Compare{path, op, value}
}

func TestSkipping(t *testing.T) {
	type file struct {
		ddl, stats string
		wide       bool
	}
	longA := strings.Repeat("a", 32)
	for _, c := range []struct {
		name string
		file file
		p    Predicate
		keep bool
	}{
		{"below_the_minimum", file{ddl: "a BIGINT", stats: `{"numRecords":2,"minValues":{"a":3},"maxValues":{"a":5}}`}, is("a", Less, 3), false},
		{"at_the_minimum", file{ddl: "a BIGINT", stats: `{"numRecords":2,"minValues":{"a":3},"maxValues":{"a":5}}`}, is("a", LessEqual, 3), true},
		{"between_whole_numbers", file{ddl: "a BIGINT", stats: `{"numRecords":2,"minValues":{"a":3},"maxValues":{"a":5}}`}, is("a", Greater, 4.5), true},
		{"equal_to_no_whole_number", file{ddl: "a BIGINT", stats: `{"numRecords":2,"minValues":{"a":3},"maxValues":{"a":3}}`}, is("a", Equal, 3.5), false},
		{"large_whole_numbers_keep_their_digits", file{ddl: "a BIGINT", stats: `{"minValues":{"a":9007199254740993},"maxValues":{"a":9007199254740993}}`}, is("a", Equal, int64(9007199254740992)), false},
		{"beyond_the_type", file{ddl: "a INT", stats: `{"minValues":{"a":1},"maxValues":{"a":2}}`}, is("a", Less, 1e30), true},
		{"no_statistics", file{ddl: "a BIGINT"}, is("a", Equal, 3), true},
		{"broken_statistics", file{ddl: "a BIGINT", stats: `{"minValues":{"a":`}, is("a", Equal, 3), true},
		{"statistics_of_other_columns", file{ddl: "a BIGINT, b BIGINT", stats: `{"minValues":{"b":1},"maxValues":{"b":2}}`}, is("a", Equal, 3), true},
		{"one_bound", file{ddl: "a BIGINT", stats: `{"minValues":{"a":4}}`}, is("a", Equal, 3), false},
		{"a_text_for_a_number", file{ddl: "a BIGINT", stats: `{"minValues":{"a":"x"},"maxValues":{"a":"y"}}`}, is("a", Equal, 3), true},

		{"a_timestamp_within_the_last_millisecond", file{ddl: "t TIMESTAMP", stats: `{"minValues":{"t":"2024-01-01T00:00:00.000Z"},"maxValues":{"t":"2024-01-01T00:00:00.123Z"}}`}, is("t", GreaterEqual, "2024-01-01T00:00:00.123999Z"), true},
		{"a_timestamp_behind_it", file{ddl: "t TIMESTAMP", stats: `{"minValues":{"t":"2024-01-01T00:00:00.000Z"},"maxValues":{"t":"2024-01-01T00:00:00.123Z"}}`}, is("t", GreaterEqual, "2024-01-01T00:00:00.124Z"), false},
		{"a_timestamp_in_a_zone", file{ddl: "t TIMESTAMP", stats: `{"minValues":{"t":"2024-01-01T01:00:00.000+01:00"},"maxValues":{"t":"2024-01-01T01:00:00.000+01:00"}}`}, is("t", Equal, "2024-01-01T00:00:00Z"), true},
		{"a_timestamp_in_no_zone", file{ddl: "t TIMESTAMP", stats: `{"minValues":{"t":"2024-01-01T01:00:00.000"},"maxValues":{"t":"2024-01-01T01:00:00.000"}}`}, is("t", Equal, "2020-01-01T00:00:00Z"), true},

		{"a_text_that_begins_with_a_cut_maximum", file{ddl: "s STRING", stats: `{"minValues":{"s":"` + longA + `"},"maxValues":{"s":"` + longA + `"}}`}, is("s", Equal, longA+"zz"), true},
		{"a_text_above_it", file{ddl: "s STRING", stats: `{"minValues":{"s":"a"},"maxValues":{"s":"` + longA + `"}}`}, is("s", Equal, "b"), false},
		{"a_text_is_ordered_by_bytes", file{ddl: "s STRING", stats: `{"minValues":{"s":"\uffff"},"maxValues":{"s":"\ud83d\ude00"}}`}, is("s", Equal, "\uffff!"), true},
		{"not_equal_to_what_may_be_cut", file{ddl: "s STRING", stats: `{"minValues":{"s":"x"},"maxValues":{"s":"x"},"nullCount":{"s":0}}`}, is("s", NotEqual, "x"), true},

		{"a_NaN_that_the_maximum_leaves_out", file{ddl: "f DOUBLE", stats: `{"minValues":{"f":1.0},"maxValues":{"f":2.0}}`}, is("f", Greater, 5.0), true},
		{"a_NaN_is_not_equal_to_a_number", file{ddl: "f DOUBLE", stats: `{"minValues":{"f":1.0},"maxValues":{"f":2.0}}`}, is("f", Equal, 5.0), false},
		{"a_search_for_NaN", file{ddl: "f DOUBLE", stats: `{"minValues":{"f":1.0},"maxValues":{"f":2.0}}`}, is("f", Equal, math.NaN()), true},
		{"a_minimum_that_is_NaN", file{ddl: "f DOUBLE", stats: `{"minValues":{"f":"NaN"},"maxValues":{"f":"NaN"}}`}, is("f", Equal, 5.0), true},
		{"negative_zero", file{ddl: "f DOUBLE", stats: `{"minValues":{"f":0.0},"maxValues":{"f":0.0}}`}, is("f", Equal, math.Copysign(0, -1)), true},
		{"a_float_by_its_own_digits", file{ddl: "f FLOAT", stats: `{"minValues":{"f":0.7},"maxValues":{"f":0.7}}`}, is("f", Equal, float32(0.7)), true},
		{"a_double_that_was_a_float", file{ddl: "f DOUBLE", stats: `{"minValues":{"f":0.7},"maxValues":{"f":0.7}}`, wide: true}, is("f", Equal, float64(float32(0.7))), true},

		{"a_decimal_that_went_through_a_double", file{ddl: "d DECIMAL(38,2)", stats: `{"minValues":{"d":1.2345678901234567e17},"maxValues":{"d":1.2345678901234567e17}}`}, is("d", Equal, json.Number("123456789012345678.01")), true},
		{"a_decimal_elsewhere", file{ddl: "d DECIMAL(38,2)", stats: `{"minValues":{"d":1.00},"maxValues":{"d":2.00}}`}, is("d", Equal, json.Number("3")), false},
		{"a_decimal_that_was_a_whole_number", file{ddl: "d DECIMAL(12,2)", stats: `{"minValues":{"d":1},"maxValues":{"d":2}}`}, is("d", Greater, json.Number("2.01")), false},

		{"no_nulls", file{ddl: "a BIGINT", stats: `{"numRecords":2,"nullCount":{"a":0}}`}, IsNull{[]string{"a"}}, false},
		{"some_nulls", file{ddl: "a BIGINT", stats: `{"numRecords":2,"nullCount":{"a":1}}`}, IsNull{[]string{"a"}}, true},
		{"nulls_only", file{ddl: "a BIGINT", stats: `{"numRecords":2,"nullCount":{"a":2}}`}, is("a", NotEqual, 3), false},
		{"nulls_only_and_not_null", file{ddl: "a BIGINT", stats: `{"numRecords":2,"nullCount":{"a":2}}`}, Not{IsNull{[]string{"a"}}}, false},
		{"nulls_of_a_list", file{ddl: "a ARRAY<INT>", stats: `{"numRecords":2,"nullCount":{"a":0}}`}, IsNull{[]string{"a"}}, true},
		{"a_field_of_a_struct", file{ddl: "s STRUCT<x: INT>", stats: `{"numRecords":2,"minValues":{"s":{"x":4}},"maxValues":{"s":{"x":5}},"nullCount":{"s":{"x":0}}}`}, is("s.x", Equal, 3), false},

		{"none_of_some_values", file{ddl: "a BIGINT", stats: `{"minValues":{"a":3},"maxValues":{"a":5}}`}, In{[]string{"a"}, []any{1, 2, 6, nil}}, false},
		{"one_of_some_values", file{ddl: "a BIGINT", stats: `{"minValues":{"a":3},"maxValues":{"a":5}}`}, In{[]string{"a"}, []any{1, 4, 6}}, true},
		{"not_one_of_null", file{ddl: "a BIGINT", stats: `{"minValues":{"a":3},"maxValues":{"a":5}}`}, Not{In{[]string{"a"}, []any{1, nil}}}, false},
		{"null_compares_with_nothing", file{ddl: "a BIGINT"}, is("a", Equal, nil), false},
		{"and", file{ddl: "a BIGINT, b BIGINT", stats: `{"minValues":{"a":3},"maxValues":{"a":5}}`}, And{is("b", Equal, 1), is("a", Equal, 1)}, false},
		{"or", file{ddl: "a BIGINT, b BIGINT", stats: `{"minValues":{"a":3},"maxValues":{"a":5}}`}, Or{is("b", Equal, 1), is("a", Equal, 1)}, true},
		{"not_or", file{ddl: "a BIGINT", stats: `{"minValues":{"a":3},"maxValues":{"a":5},"nullCount":{"a":0}}`}, Not{Or{is("a", Less, 6), is("a", Equal, 9)}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := ddlOf(t, c.file.ddl)
			got := conditionOf(t, s, c.p).mayHold(&fileSpans{add: &Add{Stats: c.file.stats}, wide: c.file.wide})
			if got != c.keep {
				t.Errorf("kept: %v, want %v", got, c.keep)
			}
		})
	}
}

func TestSkippingByPartition(t *testing.T) {
	s := ddlOf(t, "p INT, q STRING, day DATE, f DOUBLE")
	text := func(s string) *string { return &s }
	add := &Add{PartitionValues: map[string]*string{"p": text("7"), "q": nil, "day": text("2024-02-29"), "f": text("NaN")}}
	for _, c := range []struct {
		p            Predicate
		keep, always bool
	}{
		{is("p", Equal, 7), true, true}, {is("p", NotEqual, 7), false, false}, {is("p", Greater, 6.5), true, true}, {In{[]string{"p"}, []any{1, 7}}, true, true},
		{Not{In{[]string{"p"}, []any{1, 7}}}, false, false}, {IsNull{[]string{"q"}}, true, true}, {is("q", Equal, "x"), false, false},
		{is("q", NotEqual, "x"), false, false}, {Not{IsNull{[]string{"q"}}}, false, false}, {is("day", Equal, "2024-02-29"), true, true},
		{is("day", Less, "2024-02-29T00:00:01Z"), true, true}, {is("f", Greater, 1e300), true, true}, {is("f", Equal, math.NaN()), true, true}, {is("f", Less, 1), false, false},
	} {
		b := conditionOf(t, s, c.p, s.Names()...)
		if keep, always := b.mayHold(&fileSpans{add: add}), b.alwaysHolds(&fileSpans{add: add}); keep != c.keep || always != c.always {
			t.Errorf("%s: kept %v, always %v", predicateText(c.p), keep, always)
		}
	}
}

func TestPredicatesThatMakeNoSense(t *testing.T) {
	s := ddlOf(t, "a BIGINT, s STRUCT<x: INT>, l ARRAY<INT>, d DATE, b BOOLEAN")
	for want, p := range map[string]Predicate{
		"the table has no column nope":                  is("nope", Equal, 1),
		"the table has no column s.y":                   is("s.y", Equal, 1),
		"column a is BIGINT, which has no fields":       is("a.b", Equal, 1),
		"whose values cannot be compared":               is("l", Equal, 1),
		"column a is BIGINT: x":                         is("a", Equal, "x"),
		"true (bool) is no value of it":                 is("a", Equal, true),
		"column d is DATE":                              is("d", Equal, "yesterday"),
		"1 (int) is no value of it":                     is("b", Equal, 1),
		"without a column":                              Compare{},
		"a part that is nil":                            And{nil},
		"a Not of nothing":                              Not{},
		"unknown comparison":                            Compare{Column: []string{"a"}, Op: 77},
		"column a is BIGINT: 1e999999999 (json.Number)": is("a", Equal, json.Number("1e999999999")),
	} {
		if _, err := (binder{schema: s}).predicate(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestSkippingTrustsNoWriter makes statistics of values as different writers do, and checks that no file
// with a matching value is skipped.
func TestSkippingTrustsNoWriter(t *testing.T) {
	numbers := []float64{-1e300, -2.5, -0.7, math.Copysign(0, -1), 0, 0.1, 0.3, 0.7, 1, 16777217, 1e15, 123456789012345680, math.Inf(1), math.NaN()}
	rapid.Check(t, func(rt *rapid.T) {
		values := rapid.SliceOfN(rapid.SampledFrom(numbers), 1, 4).Draw(rt, "values")
		isFloat := rapid.Bool().Draw(rt, "float")
		withNaN := rapid.Bool().Draw(rt, "NaN in the statistics")
		widened := rapid.Bool().Draw(rt, "widened")
		if isFloat || widened {
			for i, v := range values {
				values[i] = float64(float32(v))
			}
		}
		lo, hi, any := 0.0, 0.0, false
		nan := false
		for _, v := range values {
			switch {
			case math.IsNaN(v):
				nan = true
			case !any:
				lo, hi, any = v, v, true
			default:
				lo, hi = min(lo, v), max(hi, v)
			}
		}
		text := func(v float64) string {
			bits := 64
			if isFloat || widened {
				bits = 32
			}
			if math.IsInf(v, 0) || math.IsNaN(v) {
				return `"` + floatText(v, 64) + `"`
			}
			return strconv.FormatFloat(v, 'g', -1, bits)
		}
		stats := `{"numRecords":4`
		switch {
		case any && nan && withNaN:
			stats += fmt.Sprintf(`,"minValues":{"f":%s},"maxValues":{"f":"NaN"}`, text(lo))
		case any:
			stats += fmt.Sprintf(`,"minValues":{"f":%s},"maxValues":{"f":%s}`, text(lo), text(hi))
		case withNaN:
			stats += `,"minValues":{"f":"NaN"},"maxValues":{"f":"NaN"}`
		}
		stats += "}"
		typ := schema.Double
		if isFloat {
			typ = schema.Float
		}
		s := schema.NewStruct(schema.Nullable("f", typ))
		at := rapid.SampledFrom(append(numbers, values...)).Draw(rt, "at")
		op := Op(rapid.IntRange(0, 5).Draw(rt, "op"))
		c := conditionOf(t, s, Compare{[]string{"f"}, op, at})
		if c.mayHold(&fileSpans{add: &Add{Stats: stats}, wide: widened}) {
			return
		}
		for _, v := range values {
			if op.holds(compareFloats(v, at)) {
				rt.Fatalf("%v %s %v, and the file is skipped: %s", v, op, at, stats)
			}
		}
	})
}

func FuzzStatistics(f *testing.F) {
	f.Add(`{"numRecords":1,"minValues":{"a":1,"s":"x","t":"2024-01-01T00:00:00Z","d":1e400,"st":{"x":1}},"maxValues":{"f":"NaN"},"nullCount":{"a":-1}}`)
	s, err := schema.ParseDDL("a BIGINT, b TINYINT, f DOUBLE, r FLOAT, s STRING, t TIMESTAMP, n TIMESTAMP_NTZ, day DATE, d DECIMAL(38,10), ok BOOLEAN, st STRUCT<x: INT>, l ARRAY<INT>")
	if err != nil {
		f.Fatal(err)
	}
	var p Or
	for name, v := range map[string]any{"a": 5, "b": 5, "f": 5.5, "r": 5.5, "s": "x", "t": "2024-01-01", "n": "2024-01-01", "day": "2024-01-01", "d": 5, "ok": true, "st.x": 5} {
		for op := range GreaterEqual + 1 {
			p = append(p, is(name, op, v))
		}
		path, _ := schema.ParsePath(name)
		p = append(p, In{path, []any{v, nil}}, IsNull{path}, Not{IsNull{path}})
	}
	p = append(p, IsNull{[]string{"l"}})
	c := conditionOf(f, s, p)
	f.Fuzz(func(_ *testing.T, stats string) {
		in := &fileSpans{add: &Add{Stats: stats}, wide: true}
		c.leaves(func(l *leaf) {
			if l.alwaysHolds(in) && !l.mayHold(in) {
				panic("always true, and never: " + stats)
			}
		})
		looseStats(stats, 1)
	})
}
