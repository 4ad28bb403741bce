package delta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// written returns what a writer under the context makes of the records.
func written(t *testing.T, wc delta.WriteContext, recs ...arrow.RecordBatch) ([]*delta.Add, error) {
	t.Helper()
	w, err := delta.NewDataWriter(t.Context(), new(objstore.Mem), wc, delta.DataWriterOptions{})
	if err != nil {
		return nil, err
	}
	for _, rec := range recs {
		if err := w.Write(t.Context(), rec); err != nil {
			w.Abort(t.Context())
			return nil, err
		}
	}
	return w.Close(t.Context())
}

// statsOf returns the statistics of the one file that the record becomes.
func statsOf(t *testing.T, s *schema.Struct, rec arrow.RecordBatch) string {
	t.Helper()
	tx, err := delta.NewTable(new(objstore.Mem), delta.TableOptions{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	adds, err := written(t, tx.WriteContext(), rec)
	if err != nil {
		t.Fatal(err)
	}
	return adds[0].Stats
}

func TestStatistics(t *testing.T) {
	for _, c := range []struct {
		name, ddl string
		rows      []string
		want      string
	}{
		{"a_null_struct_counts_as_null_for_its_leaves", "s STRUCT<a: BIGINT, t: STRUCT<b: STRING>>",
			[]string{`{"s":{"a":1,"t":{"b":"x"}}}`, `{"s":null}`, `{"s":{"a":null,"t":null}}`},
			`{"numRecords":3,"minValues":{"s":{"a":1,"t":{"b":"x"}}},"maxValues":{"s":{"a":1,"t":{"b":"x"}}},"nullCount":{"s":{"a":2,"t":{"b":2}}}}`},
		{"lists_and_maps_have_a_null_count_only", "l ARRAY<BIGINT>, m MAP<STRING, BIGINT>, b BOOLEAN, x BINARY",
			[]string{`{"l":[1],"m":null,"b":true,"x":"AA=="}`},
			`{"numRecords":1,"minValues":{},"maxValues":{},"nullCount":{"l":0,"m":1,"b":0,"x":0}}`},
		{"timestamps_are_rounded_outwards_to_milliseconds", "t TIMESTAMP",
			[]string{`{"t":"1969-12-31 23:59:59.999001Z"}`, `{"t":"2024-01-01 00:00:00.000001Z"}`},
			`{"numRecords":2,"minValues":{"t":"1969-12-31T23:59:59.999Z"},"maxValues":{"t":"2024-01-01T00:00:00.001Z"},"nullCount":{"t":0}}`},
		{"decimals_keep_every_digit", "d DECIMAL(38,10), e DECIMAL(9,2), f DECIMAL(5,0)",
			[]string{`{"d":"12345678901234567890.0123456789","e":"-0.05","f":"7"}`, `{"d":"-1","e":"3","f":"8"}`},
			`{"numRecords":2,"minValues":{"d":-1.0000000000,"e":-0.05,"f":7},"maxValues":{"d":12345678901234567890.0123456789,"e":3.00,"f":8},"nullCount":{"d":0,"e":0,"f":0}}`},
		{"dates_are_dates", "d DATE", []string{`{"d":"1969-12-31"}`, `{"d":"2024-02-29"}`},
			`{"numRecords":2,"minValues":{"d":"1969-12-31"},"maxValues":{"d":"2024-02-29"},"nullCount":{"d":0}}`},
		{"a_column_of_nulls_has_no_bounds", "d BIGINT, s STRING", []string{`{}`, `{}`},
			`{"numRecords":2,"minValues":{},"maxValues":{},"nullCount":{"d":2,"s":2}}`},
		{"strings_are_cut_to_a_prefix_below_and_above", "s STRING, u STRING",
			[]string{fmt.Sprintf(`{"s":%q,"u":%q}`, strings.Repeat("a", 40), strings.Repeat("é", 40))},
			fmt.Sprintf(`{"numRecords":1,"minValues":{"s":%q,"u":%q},"maxValues":{"s":"%s","u":"%s"},"nullCount":{"s":0,"u":0}}`,
				strings.Repeat("a", 32), strings.Repeat("é", 32), strings.Repeat("a", 32)+"\x7f", strings.Repeat("é", 32)+"\U0010FFFF")},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := ddl(t, c.ddl)
			if got := statsOf(t, s, record(t, s, c.rows...)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	t.Run("nan_is_the_greatest_number_and_zeros_have_both_signs", func(t *testing.T) {
		s := ddl(t, "a DOUBLE, b DOUBLE, c DOUBLE, d DOUBLE")
		b := array.NewRecordBuilder(memory.DefaultAllocator, s.Arrow())
		defer b.Release()
		for i, values := range [][]float64{{math.NaN(), 1}, {0, math.Copysign(0, -1)}, {math.NaN(), math.NaN()}, {math.Inf(1), math.Inf(-1)}} {
			b.Field(i).(*array.Float64Builder).AppendValues(values, nil)
		}
		rec := b.NewRecordBatch()
		defer rec.Release()
		want := `{"numRecords":2,"minValues":{"a":1.0,"b":-0.0,"c":"NaN","d":"-Infinity"},"maxValues":{"a":"NaN","b":0.0,"c":"NaN","d":"Infinity"},"nullCount":{"a":0,"b":0,"c":0,"d":0}}`
		if got := statsOf(t, s, rec); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
	t.Run("the_first_32_leaves_have_statistics", func(t *testing.T) {
		var cols []string
		for i := range 40 {
			cols = append(cols, fmt.Sprintf("c%d STRUCT<x: BIGINT>", i))
		}
		s := ddl(t, strings.Join(cols, ", "))
		var stats struct{ NullCount map[string]any }
		if err := json.Unmarshal([]byte(statsOf(t, s, record(t, s, `{}`))), &stats); err != nil {
			t.Fatal(err)
		}
		if n := len(stats.NullCount); n != 32 {
			t.Errorf("got %d columns, want 32", n)
		}
	})
}

func TestDataWriter(t *testing.T) {
	context := func(t *testing.T, text string) delta.WriteContext {
		tx, err := delta.NewTable(new(objstore.Mem), delta.TableOptions{Schema: ddl(t, text)})
		if err != nil {
			t.Fatal(err)
		}
		return tx.WriteContext()
	}
	for _, c := range []struct{ name, table, rec, row, want string }{
		{"refuses_null_in_a_not_null_column", "a BIGINT NOT NULL", "a BIGINT", `{"a":null}`, "column a: null in a column that is NOT NULL"},
		{"refuses_null_in_a_not_null_field_of_a_struct", "s STRUCT<a: BIGINT NOT NULL>", "s STRUCT<a: BIGINT>", `{"s":{"a":null}}`, "column s.a: null in a column that is NOT NULL"},
		{"refuses_a_missing_not_null_field", "s ARRAY<STRUCT<a: BIGINT NOT NULL>>", "s ARRAY<STRUCT<b: BIGINT>>", `{"s":[{"b":1}]}`, "column s.element.a: null in a column that is NOT NULL"},
		{"refuses_a_column_that_the_table_lacks", "a BIGINT", "b BIGINT", `{"b":1}`, "the table has no column b"},
		{"refuses_a_number_that_does_not_fit", "a INT", "a BIGINT", `{"a":3000000000}`, "column a: "},
		{"refuses_another_type", "a BIGINT", "a BOOLEAN", `{"a":true}`, "column a is BIGINT, and Arrow's bool does not fit it"},
		{"refuses_text_that_is_no_value", "a BIGINT", "a STRING", `{"a":"1x"}`, `column a: "1x" is no BIGINT`},
		{"refuses_to_lose_digits", "a BIGINT", "a DOUBLE", `{"a":1.5}`, "column a: 1.5 is no whole number"},
		{"refuses_to_lose_digits_of_long_numbers", "a DOUBLE", "a BIGINT", `{"a":9007199254740993}`, "column a: 9007199254740993 would lose digits"},
		{"refuses_to_lose_digits_of_doubles", "a FLOAT", "a DOUBLE", `{"a":0.1}`, "column a: 0.1 would lose digits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := ddl(t, c.rec)
			_, err := written(t, context(t, c.table), record(t, s, c.row))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got error %v, want %s", err, c.want)
			}
			if strings.Contains(c.want, "NOT NULL") && !errors.Is(err, delta.ErrNotNull) {
				t.Error("the error is not ErrNotNull")
			}
		})
	}
	t.Run("a_null_struct_may_have_not_null_fields", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "s STRUCT<a: BIGINT NOT NULL>")}, `{"s":{"a":1}}`)
		tx := s.Begin("WRITE")
		appendRows(t, store, tx, record(t, ddl(t, "s STRUCT<a: BIGINT>"), `{"s":null}`, `{"s":{"a":2}}`))
		wantRows(t, commit(t, tx), `{"s":{"a":1}}`, `{"s":null}`, `{"s":{"a":2}}`)
	})
	t.Run("void_columns_are_in_no_file_and_read_as_null", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "v VOID, s STRUCT<v: VOID, a: BIGINT>")}, `{"v":null,"s":{"v":null,"a":1}}`, `{"s":null}`)
		wantRows(t, s, `{"s":{"a":1,"v":null},"v":null}`, `{"s":null,"v":null}`)
	})
	t.Run("columns_that_no_file_can_hold_are_refused", func(t *testing.T) {
		for _, text := range []string{"v VOID", "a BIGINT, l ARRAY<VOID>", "a BIGINT, s STRUCT<v: VOID>"} {
			if _, err := written(t, context(t, text)); err == nil {
				t.Errorf("%s: no error", text)
			}
		}
	})
	t.Run("defaults_fill_missing_columns_and_no_nulls", func(t *testing.T) {
		withDefault := func(name string, typ schema.Type, sql string) schema.Field {
			f, err := schema.Nullable(name, typ).WithMetadata("CURRENT_DEFAULT", sql)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		s := schema.NewStruct(schema.Nullable("id", schema.Long), withDefault("s", schema.String, "'x'"), withDefault("n", schema.Long, "-7"),
			withDefault("d", schema.Decimal{Precision: 5, Scale: 2}, "1.5"), withDefault("day", schema.Date, "DATE '2024-02-29'"), withDefault("b", schema.Boolean, "TRUE"))
		store := new(objstore.Mem)
		tx, err := delta.NewTable(store, delta.TableOptions{Schema: s, Properties: map[string]string{"delta.feature.allowColumnDefaults": "supported"}})
		if err != nil {
			t.Fatal(err)
		}
		appendRows(t, store, tx, record(t, ddl(t, "id BIGINT"), `{"id":1}`), record(t, s, `{"id":2}`))
		wantRows(t, commit(t, tx), `{"b":true,"d":"1.5","day":"2024-02-29","id":1,"n":-7,"s":"x"}`, `{"b":null,"d":null,"day":null,"id":2,"n":null,"s":null}`)
		for _, sql := range []string{"current_timestamp()", "'a' || 'b'", "'it''s'", "1 + 1"} {
			tx, err := delta.NewTable(new(objstore.Mem), delta.TableOptions{Schema: schema.NewStruct(withDefault("s", schema.String, sql)),
				Properties: map[string]string{"delta.feature.allowColumnDefaults": "supported"}})
			if err == nil {
				t.Errorf("default %s is not refused: %s", sql, tx.WriteContext().Refused)
			}
		}
	})
	t.Run("variants_are_written_as_they_are", func(t *testing.T) {
		s := newTable(t, new(objstore.Mem), delta.TableOptions{Schema: ddl(t, "id BIGINT, v VARIANT")},
			`{"id":1,"v":{"value":"DAU=","metadata":"AQAA"}}`, `{"id":2,"v":null}`)
		if got := s.Protocol().Features(); !slices.Contains(got, "variantType") {
			t.Errorf("got features %q", got)
		}
		wantRows(t, s, `{"id":1,"v":{"metadata":"AQAA","value":"DAU="}}`, `{"id":2,"v":null}`)
	})
	t.Run("a_partition_whose_folder_would_have_too_long_a_name_has_none", func(t *testing.T) {
		long := strings.Repeat("é", 150)
		store := objstore.NewDir(t.TempDir())
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, p STRING"), PartitionBy: []string{"p"}},
			`{"id":1,"p":"short"}`, `{"id":2,"p":"`+long+`"}`, `{"id":3,"p":"`+long+`x"}`)
		wantRows(t, s, `{"id":2,"p":"`+long+`"}`, `{"id":3,"p":"`+long+`x"}`, `{"id":1,"p":"short"}`)
		folders := map[string]int{}
		for o, err := range store.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(o.Key, ".parquet") {
				folders[path.Dir(o.Key)]++
			}
		}
		if !maps.Equal(folders, map[string]int{"p=short": 1, ".": 2}) {
			t.Errorf("files are in %v", folders)
		}
	})
	t.Run("files_roll_at_the_target_size", func(t *testing.T) {
		s := ddl(t, "a BIGINT, s STRING")
		wc := context(t, "a BIGINT, s STRING")
		wc.TargetSize = 64 << 10
		wc.Codec = "uncompressed"
		b := array.NewRecordBuilder(memory.DefaultAllocator, s.Arrow())
		defer b.Release()
		for i := range 200_000 {
			b.Field(0).(*array.Int64Builder).Append(int64(i))
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("%032x", i*7919))
		}
		rec := b.NewRecordBatch()
		defer rec.Release()
		adds, err := written(t, wc, rec)
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for _, a := range adds {
			var stats struct{ NumRecords int64 }
			json.Unmarshal([]byte(a.Stats), &stats)
			n += stats.NumRecords
		}
		if len(adds) < 2 || n != 200_000 {
			t.Errorf("got %d files with %d rows", len(adds), n)
		}
	})
	t.Run("an_aborted_writer_leaves_nothing", func(t *testing.T) {
		store := objstore.NewDir(t.TempDir())
		w, err := delta.NewDataWriter(t.Context(), store, context(t, "a BIGINT"), delta.DataWriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(t.Context(), record(t, ddl(t, "a BIGINT"), `{"a":1}`)); err != nil {
			t.Fatal(err)
		}
		w.Abort(t.Context())
		for o := range store.List(t.Context(), "", "") {
			t.Errorf("%s is left", o.Key)
		}
	})
}
