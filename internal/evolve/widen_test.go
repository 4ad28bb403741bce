package evolve

import (
	"testing"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

func parsed(t *testing.T, text string) schema.Type {
	t.Helper()
	typ, err := schema.ParseType(text)
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

func TestWiden(t *testing.T) {
	long, double := &decode.Observed{Longs: 1}, &decode.Observed{Doubles: 1}
	decimal := func(digits, scale int) *decode.Observed {
		return &decode.Observed{Decimals: 1, Digits: digits, Scale: scale}
	}
	for _, test := range []struct {
		name, column string
		seen         *decode.Observed
		want         string
	}{
		{"an_integer_becomes_wide_enough", "TINYINT", long, "BIGINT"},
		{"an_int_counts_ten_digits", "INT", decimal(3, 2), "DECIMAL(12,2)"},
		{"a_bigint_counts_twenty", "BIGINT", decimal(1, 1), "DECIMAL(21,1)"},
		{"a_bigint_does_not_become_a_double", "BIGINT", double, "BIGINT"},
		{"nor_by_way_of_too_many_digits", "BIGINT", decimal(30, 10), "BIGINT"},
		{"an_int_becomes_a_double", "INT", double, "DOUBLE"},
		{"a_float_becomes_a_double", "FLOAT", double, "DOUBLE"},
		{"a_decimal_grows_on_both_sides", "DECIMAL(2,1)", decimal(3, 2), "DECIMAL(5,2)"},
		{"a_decimal_does_not_become_a_double", "DECIMAL(38,0)", decimal(1, 1), "DECIMAL(38,0)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := schema.NewStruct(schema.Nullable("s", schema.NewStruct(schema.Nullable("x", &schema.Array{Element: parsed(t, test.column), ContainsNull: true}))))
			d := &Decision{Schema: s}
			if err := d.Widen(map[string]*decode.Observed{"s.x.element": test.seen}, Options{Mode: AddNewColumnsWithTypeWidening}); err != nil {
				t.Fatal(err)
			}
			if got, want := d.Schema.DDL(), "s STRUCT<x: ARRAY<"+test.want+">>"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if changed := test.want != test.column; changed != (len(d.Widened) == 1) {
				t.Errorf("widened %v", d.Widened)
			}
		})
	}
	t.Run("other_modes_and_tables_that_cannot_keep_their_types", func(t *testing.T) {
		for _, opts := range []Options{{Mode: AddNewColumns}, {Mode: AddNewColumnsWithTypeWidening, TypesFixed: true}} {
			d := &Decision{Schema: schema.NewStruct(schema.Nullable("a", schema.Integer))}
			if err := d.Widen(map[string]*decode.Observed{"a": long}, opts); err != nil || d.Schema.DDL() != "a INT" {
				t.Errorf("%+v: %s, %v", opts, d.Schema.DDL(), err)
			}
		}
	})
	t.Run("hints_and_the_table_do_not_make_a_column_narrow_again", func(t *testing.T) {
		hints, err := schema.ParseHints("a INT, s STRUCT<x: INT, y: STRING>")
		if err != nil {
			t.Fatal(err)
		}
		s := parsed(t, "STRUCT<a: BIGINT, s: STRUCT<x: BIGINT>>").(*schema.Struct)
		opts := Options{Mode: AddNewColumnsWithTypeWidening, Hints: hints, Table: schema.NewStruct(schema.Nullable("a", schema.Integer))}
		if got, want := opts.Overlay(s).DDL(), "a BIGINT,s STRUCT<x: BIGINT, y: STRING>"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
