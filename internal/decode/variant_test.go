package decode

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"pgregory.net/rapid"
)

// variantRows reads a text as variants and returns them as JSON.
func variantRows(t testing.TB, text string) (rows []string, bad int) {
	t.Helper()
	r, err := NewReader([]File{file("f", text)}, Options{Schema: ddl(t, "v VARIANT"), Variant: true, Framing: "lines"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := r.Next(t.Context())
		if err == io.EOF {
			return rows, bad
		}
		if err != nil {
			t.Fatal(err)
		}
		bad += len(b.Bad)
		v := b.Record.Column(0).(*array.Struct)
		for i := range v.Len() {
			text, err := AppendVariantJSON(nil, v.Field(0).(*array.Binary).Value(i), v.Field(1).(*array.Binary).Value(i))
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, string(text))
		}
	}
}

func TestVariant(t *testing.T) {
	long := strings.Repeat("é", 100)
	for _, test := range []struct{ name, text, want string }{
		{"scalars", `[null,true,false,1,-129,70000,5000000000,1.50,0.05,1e3,"x"]`, `[null,true,false,1,-129,70000,5000000000,1.50,0.05,1000,"x"]`},
		{"members_by_name", `{"b":{"x":"é"},"a":1}`, `{"a":1,"b":{"x":"é"}}`},
		{"digits", `[12345678901234567890,123456789.123456789123456789,0.000]`, `[12345678901234567890,123456789.123456789123456789,0.000]`},
		{"long_strings", `["` + long + `"]`, `["` + long + `"]`},
		{"many_elements", "[" + strings.Repeat("1,", 300) + "2]", "[" + strings.Repeat("1,", 300) + "2]"},
		{"escapes", `{"a\u0041\n":"\ud83d\ude00"}`, `{"aA\n":"😀"}`},
		{"a_value_that_is_no_object", `5`, `5`},
		{"empty", `[{},[]]`, `[{},[]]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if rows, bad := variantRows(t, test.text); bad > 0 || len(rows) != 1 || rows[0] != test.want {
				t.Errorf("got %q and %d bad, want %s", rows, bad, test.want)
			}
		})
	}
	t.Run("a_repeated_key_is_bad", func(t *testing.T) {
		if rows, bad := variantRows(t, "{\"a\":{\"b\":1,\"b\":2}}\n[1]\n"); bad != 1 || len(rows) != 1 {
			t.Errorf("got %q and %d bad", rows, bad)
		}
	})
	t.Run("a_variant_beside_other_columns", func(t *testing.T) {
		opts := Options{Schema: ddl(t, "a BIGINT, v VARIANT"), Rescue: "_r", NoFilePath: true, Framing: "lines"}
		got := decodeFiles(t, opts, file("f", "{\"a\":1,\"v\":{\"x\":1}}\n{\"a\":2}\n{\"v\":{\"x\":1,\"x\":2},\"a\":3}\n"))
		if len(got.rows) != 3 || !strings.Contains(got.rows[2], `{\"v\":{\"x\":1,\"x\":2}}`) || strings.Contains(got.rows[1], `"v"`) {
			t.Errorf("got %q", got.rows)
		}
	})
	t.Run("a_row_without_a_value_stays_in_its_place", func(t *testing.T) {
		opts := Options{Schema: ddl(t, "v VARIANT"), Variant: true, NullRows: true, Compat: true, Framing: "lines"}
		got := decodeFiles(t, opts, file("f", "[1]\n[1,\n{\"a\":[2,x]}\n[3]\n"))
		var has []bool
		for _, row := range got.rows {
			has = append(has, strings.Contains(row, `"v"`))
		}
		if !slices.Equal(has, []bool{true, false, false, true}) {
			t.Errorf("got %q", got.rows)
		}
	})
	t.Run("any_bytes_are_refused_or_shown", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			_, _ = AppendVariantJSON(nil, rapid.SliceOf(rapid.Byte()).Draw(t, "value"), rapid.SliceOf(rapid.Byte()).Draw(t, "metadata"))
		})
	})
}
