//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/siltlake/silt/schema"
)

func open(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func ddl(t testing.TB, text string) *schema.Struct {
	t.Helper()
	s, err := schema.ParseDDL(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// records reads rows of JSON, one a line.
func records(t testing.TB, s *schema.Struct, rows string) arrow.RecordBatch {
	t.Helper()
	text := "[" + strings.ReplaceAll(strings.TrimSpace(rows), "\n", ",") + "]"
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.Arrow(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rec.Release)
	return rec
}

// rowsOf writes a batch as JSON, one row a line.
func rowsOf(t testing.TB, rec arrow.RecordBatch) []string {
	t.Helper()
	text, err := rec.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = string(r)
	}
	return out
}

func drain(t testing.TB, r array.RecordReader) []string {
	t.Helper()
	defer r.Release()
	var out []string
	for r.Next() {
		out = append(out, rowsOf(t, r.RecordBatch())...)
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return out
}

// anyType draws a column type; depth bounds how far it is nested.
func anyType(depth int) *rapid.Generator[schema.Type] {
	return rapid.Custom(func(t *rapid.T) schema.Type {
		kinds := 15
		if depth == 0 {
			kinds = 12
		}
		switch k := rapid.IntRange(0, kinds-1).Draw(t, "kind"); k {
		case 9:
			p := rapid.IntRange(1, 38).Draw(t, "precision")
			return schema.Decimal{Precision: p, Scale: rapid.IntRange(0, p).Draw(t, "scale")}
		case 12:
			return &schema.Array{Element: anyType(depth-1).Draw(t, "element"), ContainsNull: true}
		case 13:
			return &schema.Map{Key: schema.String, Value: anyType(depth-1).Draw(t, "value"), ValueContainsNull: true}
		case 14:
			s := &schema.Struct{}
			for i := range rapid.IntRange(1, 3).Draw(t, "fields") {
				s.Fields = append(s.Fields, schema.Nullable(fmt.Sprintf("%s%d", anyName.Draw(t, "name"), i), anyType(depth-1).Draw(t, "field")))
			}
			return s
		default:
			return []schema.Type{
				schema.Boolean, schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Float, schema.Double,
				schema.String, schema.Binary, nil, schema.Date, schema.Timestamp,
			}[k]
		}
	})
}

var anyName = rapid.SampledFrom([]string{"a", "B", "with space", `q"uote`, "é", "select", "dot.ted", "new\nline", "", "nul\x00", "__silt_row"})

// anyValue draws the JSON of a value of t, as array.RecordFromJSON reads it.
func anyValue(t *rapid.T, typ schema.Type) any {
	if rapid.IntRange(0, 4).Draw(t, "null") == 0 {
		return nil
	}
	switch typ := typ.(type) {
	case schema.Decimal:
		digits := rapid.StringMatching(`[1-9][0-9]*`).Draw(t, "digits")
		digits = digits[:min(len(digits), max(typ.Precision-typ.Scale, 0))]
		if digits == "" {
			digits = "0"
		}
		return "-" + digits
	case *schema.Array:
		out := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			out = append(out, anyValue(t, typ.Element))
		}
		return out
	case *schema.Map:
		out := []any{}
		for i := range rapid.IntRange(0, 3).Draw(t, "entries") {
			out = append(out, map[string]any{"key": fmt.Sprint("k", i), "value": anyValue(t, typ.Value)})
		}
		return out
	case *schema.Struct:
		out := map[string]any{}
		for _, f := range typ.Fields {
			out[f.Name] = anyValue(t, f.Type)
		}
		return out
	}
	switch typ {
	case schema.Boolean:
		return rapid.Bool().Draw(t, "bool")
	case schema.Byte:
		return rapid.Int8().Draw(t, "byte")
	case schema.Short:
		return rapid.Int16().Draw(t, "short")
	case schema.Integer:
		return rapid.Int32().Draw(t, "int")
	case schema.Long:
		return rapid.Int64().Draw(t, "long")
	case schema.Float:
		return rapid.Float32Range(-1e30, 1e30).Draw(t, "float")
	case schema.Double:
		return rapid.Float64Range(-1e300, 1e300).Draw(t, "double")
	case schema.String:
		return rapid.String().Draw(t, "string")
	case schema.Binary:
		return base64.StdEncoding.EncodeToString(rapid.SliceOf(rapid.Byte()).Draw(t, "binary"))
	case schema.Date:
		return fmt.Sprintf("%04d-%02d-11", rapid.IntRange(1900, 2200).Draw(t, "year"), rapid.IntRange(1, 12).Draw(t, "month"))
	case schema.Timestamp:
		return fmt.Sprintf("2024-%02d-11T10:11:12.%06dZ", rapid.IntRange(1, 12).Draw(t, "month"), rapid.IntRange(0, 999999).Draw(t, "micros"))
	}
	panic(typ)
}

// TestRoundTrip draws a schema, rows and a slice of them, and wants SELECT * to give the slice back:
// types, names and values, whatever the offsets of the arrays.
func TestRoundTrip(t *testing.T) {
	e := open(t, Options{})
	rapid.Check(t, func(r *rapid.T) {
		s := &schema.Struct{}
		for i := range rapid.IntRange(1, 4).Draw(r, "columns") {
			s.Fields = append(s.Fields, schema.Nullable(fmt.Sprintf("%s%d", anyName.Draw(r, "name"), i), anyType(3).Draw(r, "type")))
		}
		var rows []any
		for range rapid.IntRange(1, 20).Draw(r, "rows") {
			row := map[string]any{}
			for _, f := range s.Fields {
				row[f.Name] = anyValue(r, f.Type)
			}
			rows = append(rows, row)
		}
		text, err := json.Marshal(rows)
		if err != nil {
			r.Fatal(err)
		}
		few, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.Arrow(), strings.NewReader(string(text)))
		if err != nil {
			r.Fatal(err)
		}
		rec := repeat(r, few, rapid.SampledFrom([]int{1, 1, 1, 700}).Draw(r, "times"))
		lo := rapid.Int64Range(0, rec.NumRows()-1).Draw(r, "from")
		hi := rapid.Int64Range(lo, rec.NumRows()).Draw(r, "to")
		part := rec.NewSlice(lo, hi)

		tr, err := e.Prepare(t.Context(), "SELECT * FROM source", s, TransformOptions{})
		if err != nil {
			r.Fatal(err)
		}
		defer tr.Close()
		if !schema.Equal(tr.Schema(), s) {
			r.Fatalf("got schema %s, want %s", tr.Schema(), s)
		}
		out, failed, err := tr.ApplyRows(t.Context(), part)
		if err != nil || failed != nil {
			r.Fatal(err, failed)
		}
		at := int64(0)
		for _, o := range out {
			if !o.Batch.Schema().Equal(s.Arrow()) {
				r.Fatalf("got %s, want %s", o.Batch.Schema(), s.Arrow())
			}
			want := part.NewSlice(at, at+o.Batch.NumRows())
			for i, c := range o.Batch.Columns() {
				if !array.Equal(c, want.Column(i)) {
					r.Fatalf("rows from %d, column %s: got %v, want %v", at, s.Fields[i].Name, c, want.Column(i))
				}
			}
			for i, from := range o.From {
				if from != int32(at)+int32(i) {
					r.Fatalf("row %d comes from %d", at+int64(i), from)
				}
			}
			at += o.Batch.NumRows()
			o.Batch.Release()
		}
		if at != part.NumRows() {
			r.Fatalf("got %d rows, want %d", at, part.NumRows())
		}
	})
}

func repeat(t *rapid.T, rec arrow.RecordBatch, times int) arrow.RecordBatch {
	cols := make([]arrow.Array, rec.NumCols())
	for i, c := range rec.Columns() {
		parts := make([]arrow.Array, times)
		for j := range parts {
			parts[j] = c
		}
		var err error
		if cols[i], err = array.Concatenate(parts, memory.DefaultAllocator); err != nil {
			t.Fatal(err)
		}
	}
	return array.NewRecordBatch(rec.Schema(), cols, rec.NumRows()*int64(times))
}

// TestTypes holds the table of type.go.
func TestTypes(t *testing.T) {
	e := open(t, Options{TimeZone: "Europe/Berlin"})
	source := ddl(t, "id BIGINT, local TIMESTAMP_NTZ")
	rec := records(t, source, `{"id":1,"local":"2024-07-01 12:00:00"}`)
	for _, c := range []struct{ sql, typ, value string }{
		{"true", "BOOLEAN", `true`},
		{"1::TINYINT", "TINYINT", `1`},
		{"1::SMALLINT", "SMALLINT", `1`},
		{"1::INTEGER", "INT", `1`},
		{"1::BIGINT", "BIGINT", `1`},
		{"255::UTINYINT", "SMALLINT", `255`},
		{"65535::USMALLINT", "INT", `65535`},
		{"4294967295::UINTEGER", "BIGINT", `4294967295`},
		{"18446744073709551615::UBIGINT", "DECIMAL(20,0)", `"18446744073709551615"`},
		{"99999999999999999999999999999999999999::HUGEINT", "DECIMAL(38,0)", `"99999999999999999999999999999999999999"`},
		{"1.5::FLOAT", "FLOAT", `1.5`},
		{"1e10", "DOUBLE", `10000000000`},
		{"1.25", "DECIMAL(3,2)", `"1.25"`},
		{"'a'", "STRING", `"a"`},
		{`'{"a":1}'::JSON`, "STRING", `"{\"a\":1}"`},
		{"'5d0f7c4e-6b0a-4a3c-9d6b-0a4a3c9d6b0a'::UUID", "STRING", `"5d0f7c4e-6b0a-4a3c-9d6b-0a4a3c9d6b0a"`},
		{"'b'::ENUM('a','b')", "STRING", `"b"`},
		{"TIME '10:11:12'", "STRING", `"10:11:12"`},
		{"INTERVAL 36 HOUR", "STRING", `"36:00:00"`},
		{`'\x01\xFF'::BLOB`, "BINARY", `"Af8="`},
		{"DATE '2024-07-01'", "DATE", `"2024-07-01"`},
		{"TIMESTAMPTZ '2024-07-01 12:00:00+00'", "TIMESTAMP", `"2024-07-01T12:00:00Z"`},
		{"TIMESTAMP '2024-07-01 12:00:00'", "TIMESTAMP", `"2024-07-01T10:00:00Z"`},
		{"'2024-07-01 12:00:00'::TIMESTAMP_S", "TIMESTAMP", `"2024-07-01T10:00:00Z"`},
		{"'2024-07-01 12:00:00.123'::TIMESTAMP_MS", "TIMESTAMP", `"2024-07-01T10:00:00.123Z"`},
		{"'2024-07-01 12:00:00.123456789'::TIMESTAMP_NS", "TIMESTAMP", `"2024-07-01T10:00:00.123456Z"`},
		{"NULL", "STRING", `null`},
		{"[]", "ARRAY<STRING>", `[]`},
		{"{'a': NULL, 'b': [NULL]}", "STRUCT<a: STRING, b: ARRAY<STRING>>", `{"a":null,"b":[null]}`},
		{"[1, 2]", "ARRAY<INT>", `[1,2]`},
		{"[1, 2]::UTINYINT[2]", "ARRAY<SMALLINT>", `[1,2]`},
		{"{'a': 1::UBIGINT, 'b': {'c': TIMESTAMP '2024-07-01 12:00:00'}}", "STRUCT<a: DECIMAL(20,0), b: STRUCT<c: TIMESTAMP>>", `{"a":"1","b":{"c":"2024-07-01T10:00:00Z"}}`},
		{"MAP {'a': 1::UTINYINT}", "MAP<STRING, SMALLINT>", `[{"key":"a","value":1}]`},
		{"local", "TIMESTAMP", `"2024-07-01T10:00:00Z"`},
	} {
		t.Run(c.sql, func(t *testing.T) {
			tr, err := e.Prepare(t.Context(), "SELECT "+c.sql+" AS v FROM source", source, TransformOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if got := tr.Schema().Fields[0].Type.String(); got != c.typ {
				t.Errorf("got %s, want %s", got, c.typ)
			}
			out, err := tr.Apply(t.Context(), rec)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{`{"v":` + c.value + `}`}, rowsOf(t, out[0])); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a_column_of_local_times_that_passes_unchanged_keeps_its_type", func(t *testing.T) {
		tr, err := e.Prepare(t.Context(), "SELECT * FROM source", source, TransformOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if !schema.Equal(tr.Schema(), source) {
			t.Errorf("got %s, want %s", tr.Schema(), source)
		}
	})
	for sql, want := range map[string]string{
		"union_value(a := 1)":    "UNION",
		"'101'::BIT":             "BIT",
		"1::UHUGEINT":            "UHUGEINT",
		"row(1, 2)":              "without a name",
		"[{'a': 1::UHUGEINT}]":   "UHUGEINT",
		"MAP {1: '101'::BIT}":    "BIT",
		"123::BIGNUM":            "BIGNUM",
		"{'v': 1}::VARIANT":      "VARIANT",
		"'POINT(1 2)'::GEOMETRY": "GEOMETRY",
	} {
		t.Run("no_column_holds/"+sql, func(t *testing.T) {
			_, err := e.Prepare(t.Context(), "SELECT "+sql+" AS v FROM source", source, TransformOptions{})
			if err == nil || !strings.Contains(err.Error(), "column v: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want column v and %s", err, want)
			}
		})
	}
}
