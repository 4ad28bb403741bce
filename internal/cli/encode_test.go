package cli

import (
	"bytes"
	"math"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/siltlake/silt/schema"
)

// column builds a column of one value and a null.
func column(t arrow.DataType, add func(array.Builder)) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, t)
	add(b)
	b.AppendNull()
	return b.NewArray()
}

func nested() (arrow.DataType, func(array.Builder)) {
	point := arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "a b", Type: arrow.BinaryTypes.String, Nullable: true})
	return arrow.ListOf(point), func(b array.Builder) {
		l := b.(*array.ListBuilder)
		l.Append(true)
		s := l.ValueBuilder().(*array.StructBuilder)
		s.Append(true)
		s.FieldBuilder(0).(*array.Int64Builder).Append(1)
		s.FieldBuilder(1).(*array.StringBuilder).Append("plain")
		s.Append(true)
		s.FieldBuilder(0).AppendNull()
		s.FieldBuilder(1).(*array.StringBuilder).Append("a, \"b\"\n")
		l.ValueBuilder().AppendNull()
	}
}

// TestEncoding holds the JSON form to the table "Value encoding" of the reader's specification.
func TestTextThatIsJSONIsWrittenAsWhatItSays(t *testing.T) {
	inside := schema.JSONField(arrow.Field{Name: "v", Nullable: true})
	values := []string{`{"a": [1, 12345678901234567890.50]}`, "NaN", "\"<é>\""}
	want := []string{`{"a":[1,12345678901234567890.50]}`, `"NaN"`, `"<é>"`}
	for _, c := range []struct {
		name          string
		typ           arrow.DataType
		put           func(b array.Builder, s string)
		before, after string
	}{
		{"in_a_column", inside.Type, func(b array.Builder, s string) { b.(*array.StringBuilder).Append(s) }, "", ""},
		{"in_a_struct", arrow.StructOf(inside), func(b array.Builder, s string) {
			b.(*array.StructBuilder).Append(true)
			b.(*array.StructBuilder).FieldBuilder(0).(*array.StringBuilder).Append(s)
		}, `{"v":`, "}"},
		{"in_a_list", arrow.ListOfField(inside), func(b array.Builder, s string) {
			b.(*array.ListBuilder).Append(true)
			b.(*array.ListBuilder).ValueBuilder().(*array.StringBuilder).Append(s)
		}, "[", "]"},
		{"in_a_map", arrow.MapOfFields(arrow.Field{Name: "key", Type: arrow.BinaryTypes.String}, inside), func(b array.Builder, s string) {
			m := b.(*array.MapBuilder)
			m.Append(true)
			m.KeyBuilder().(*array.StringBuilder).Append("k")
			m.ItemBuilder().(*array.StringBuilder).Append(s)
		}, `{"k":`, "}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := arrow.Field{Name: "c", Type: c.typ}
			if c.before == "" {
				f = inside
			}
			for i, v := range values {
				got := string(encoding{}.value(nil, f, column(c.typ, func(b array.Builder) { c.put(b, v) }), 0))
				if got != c.before+want[i]+c.after {
					t.Errorf("got %s, want %s", got, c.before+want[i]+c.after)
				}
			}
		})
	}
}

func TestEncoding(t *testing.T) {
	listType, list := nested()
	double := func(f float64) func(array.Builder) {
		return func(b array.Builder) { b.(*array.Float64Builder).Append(f) }
	}
	moment := func(us int64) func(array.Builder) {
		return func(b array.Builder) { b.(*array.TimestampBuilder).Append(arrow.Timestamp(us)) }
	}
	text := func(s string) func(array.Builder) {
		return func(b array.Builder) { b.(*array.StringBuilder).Append(s) }
	}
	f64 := arrow.PrimitiveTypes.Float64
	utc := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	for _, c := range []struct {
		name       string
		column     arrow.Array
		json, text string
	}{
		{"an_integer_beyond_2^53_is_a_number", column(arrow.PrimitiveTypes.Int64, func(b array.Builder) { b.(*array.Int64Builder).Append(math.MaxInt64) }), "9223372036854775807", "9223372036854775807"},
		{"a_decimal_is_text_with_its_whole_scale", column(&arrow.Decimal128Type{Precision: 10, Scale: 3}, func(b array.Builder) { b.(*array.Decimal128Builder).Append(decimal128.FromI64(-1500)) }), `"-1.500"`, "-1.500"},
		{"a_double", column(f64, double(0.1)), "0.1", "0.1"},
		{"a_whole_double_has_a_point", column(f64, double(80)), "80.0", "80.0"},
		{"a_huge_double", column(f64, double(1e300)), "1e+300", "1e+300"},
		{"negative_zero", column(f64, double(math.Copysign(0, -1))), "-0.0", "-0.0"},
		{"not_a_number", column(f64, double(math.NaN())), `"NaN"`, `"NaN"`},
		{"infinity", column(f64, double(math.Inf(-1))), `"-Infinity"`, `"-Infinity"`},
		{"a_timestamp_on_the_second", column(utc, moment(0)), `"1970-01-01T00:00:00Z"`, "1970-01-01T00:00:00Z"},
		{"a_timestamp_with_microseconds", column(utc, moment(1_500_000)), `"1970-01-01T00:00:01.500000Z"`, "1970-01-01T00:00:01.500000Z"},
		{"a_timestamp_before_1970", column(utc, moment(-1)), `"1969-12-31T23:59:59.999999Z"`, "1969-12-31T23:59:59.999999Z"},
		{"a_timestamp_without_zone", column(&arrow.TimestampType{Unit: arrow.Microsecond}, moment(0)), `"1970-01-01T00:00:00"`, "1970-01-01T00:00:00"},
		{"a_date", column(arrow.FixedWidthTypes.Date32, func(b array.Builder) { b.(*array.Date32Builder).Append(20000) }), `"2024-10-04"`, "2024-10-04"},
		{"bytes_are_base64", column(arrow.BinaryTypes.Binary, func(b array.Builder) { b.(*array.BinaryBuilder).Append([]byte{0xff, 0}) }), `"/wA="`, "/wA="},
		{"text", column(arrow.BinaryTypes.String, text("a\"b\\\n\x01é")), `"a\"b\\\n\u0001é"`, "a\"b\\\n\x01é"},
		{"text_that_is_no_utf8", column(arrow.BinaryTypes.String, text("a\xffb")), "\"a\uFFFDb\"", "a\xffb"},
		{"structs_in_a_list", column(listType, list), `[{"x":1,"a b":"plain"},{"x":null,"a b":"a, \"b\"\n"},null]`, `[{x: 1, "a b": plain}, {x: null, "a b": "a, \"b\"\n"}, null]`},
		{"a_map_is_an_object", column(arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32), func(b array.Builder) {
			m := b.(*array.MapBuilder)
			m.Append(true)
			m.KeyBuilder().(*array.StringBuilder).Append("k")
			m.ItemBuilder().(*array.Int32Builder).Append(7)
		}), `{"k":7}`, "{k: 7}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(encoding{}.json(nil, c.column, 0)); got != c.json {
				t.Errorf("JSON: got %s, want %s", got, c.json)
			}
			if got := string(encoding{bare: true}.text(nil, c.column, 0)); got != c.text {
				t.Errorf("text: got %s, want %s", got, c.text)
			}
			if got := string(encoding{}.json(nil, c.column, 1)); got != "null" {
				t.Errorf("null: got %s", got)
			}
		})
	}
}

func TestRows(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "n", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	b.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 1000}, nil)
	b.Field(1).(*array.StringBuilder).Append("tab\there, \"quoted\"")
	b.Field(1).AppendNull()
	batch := b.NewRecordBatch()
	for _, c := range []struct{ format, want string }{
		{"json", `{"schema":"silt.query/v1","columns":[{"name":"n","type":"BIGINT"},{"name":"n_2","type":"STRING"}],"rows":[` + "\n" +
			`{"n":1,"n_2":"tab\there, \"quoted\""},` + "\n" + `{"n":1000,"n_2":null}],"exit_code":0}` + "\n"},
		{"jsonl", `{"n":1,"n_2":"tab\there, \"quoted\""}` + "\n" + `{"n":1000,"n_2":null}` + "\n"},
		{"csv", "n,n_2\n1,\"tab\there, \"\"quoted\"\"\"\n1000,\n"},
		{"plain", "1\ttab\\there, \"quoted\"\n1000\t\n"},
		{"table", "   n  n_2\n   1  tab here, \"quoted\"\n1000  NULL\n"},
	} {
		t.Run(c.format, func(t *testing.T) {
			var out bytes.Buffer
			a := &app{stdout: &out, flags: globalFlags{output: c.format}}
			r, err := array.NewRecordReader(s, []arrow.RecordBatch{batch})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.writeRows(r); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
