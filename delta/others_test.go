package delta_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// edited writes a table partitioned by p of this type, whose log is edited, old by new, and loads it.
func edited(t *testing.T, typ, value string, edits ...string) (*delta.Snapshot, error) {
	t.Helper()
	from, to := new(objstore.Mem), new(objstore.Mem)
	newTable(t, from, delta.TableOptions{Schema: ddl(t, "i BIGINT, p "+typ), PartitionBy: []string{"p"}}, `{"i":1,"p":`+value+`}`)
	for o, err := range from.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		content, _, err := objstore.ReadAll(t.Context(), from, o.Key)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(o.Key, ".crc") {
			continue
		}
		if strings.HasSuffix(o.Key, ".json") {
			content = []byte(strings.NewReplacer(edits...).Replace(string(content)))
		}
		put(t, to, o.Key, content)
	}
	return delta.Load(t.Context(), to, delta.LoadOptions{})
}

func TestLogsOfOtherWriters(t *testing.T) {
	for name, c := range map[string]struct {
		edits []string
		want  string // empty: `{"i":1,"p":7}`
	}{
		"sizes_are_texts_or_have_a_point":         {edits: []string{`"modificationTime":`, `"modificationTime":5.0,"was":`, `"size":`, `"size":"300","was2":`}},
		"properties_are_numbers_and_booleans":     {edits: []string{`"configuration":{}`, `"configuration":{"a":5,"b":true,"c":null}`}},
		"a_partition_value_is_a_number":           {edits: []string{`"p":"7"`, `"p":7`}},
		"a_partition_value_has_spaces":            {edits: []string{`"p":"7"`, `"p":" 7 "`}},
		"a_partition_value_is_of_another_case":    {edits: []string{`"p":"7"`, `"P":"7"`}},
		"a_boolean_is_a_text":                     {edits: []string{`"dataChange":true`, `"dataChange":"true"`}},
		"a_mapping_that_is_no_feature_is_ignored": {edits: []string{`"configuration":{`, `"configuration":{"delta.columnMapping.mode":"other"`}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := edited(t, "INT", "7", c.edits...)
			if err != nil {
				t.Fatal(err)
			}
			wantRows(t, s, `{"i":1,"p":7}`)
		})
	}
}

func TestUnreadableTablesAreRefusedByName(t *testing.T) {
	for name, c := range map[string]struct {
		edits []string
		want  string
	}{
		"data_files_of_another_format": {[]string{`"provider":"parquet"`, `"provider":"orc"`}, "data files of the format orc"},
		"an_unknown_mapping_of_columns": {[]string{`"configuration":{`, `"configuration":{"delta.columnMapping.mode":"other"`,
			`"minReaderVersion":1,"minWriterVersion":2`, `"minReaderVersion":2,"minWriterVersion":5`}, "columnMapping (delta.columnMapping.mode other)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := edited(t, "INT", "7", c.edits...)
			var unsupported *delta.UnsupportedError
			if !errors.As(err, &unsupported) || !slices.Equal(unsupported.Features, []string{c.want}) {
				t.Errorf("got %v, want an UnsupportedError of %s", err, c.want)
			}
		})
	}
}

// TestTimesOfOtherWriters reads partition values as Spark writes them, and others like it.
func TestTimesOfOtherWriters(t *testing.T) {
	const date, timestamp = `"2020-01-01"`, `"2020-01-01T00:00:00Z"`
	for _, c := range []struct{ typ, value, text, want string }{
		{"DATE", date, "+10002-09-26", "10002-09-26"},
		{"DATE", date, "-0002-04-07", "-0002-04-07"},
		{"DATE", date, "2020-1-2", "2020-01-02"},
		{"DATE", date, "2020-01-02 00:00:00", "2020-01-02"},
		{"TIMESTAMP", timestamp, "+11476-08-15T05:20:00.000000Z", "300000000000000000"}, // Arrow has no text for it,
		{"TIMESTAMP", timestamp, "1400-02-28 01:02:03.000004", "1400-02-28T01:02:03.000004Z"},
		{"TIMESTAMP", timestamp, "2020-01-01T02:00:00.000+0200", "2020-01-01T00:00:00Z"},
		{"TIMESTAMP", timestamp, "2020-01-01T02:00:00+02", "2020-01-01T00:00:00Z"},
		{"TIMESTAMP", timestamp, "2020-01-01 02:00:00 -05:30", "2020-01-01T07:30:00Z"},
		{"TIMESTAMP", timestamp, "2020-01-01 02:00 UTC", "2020-01-01T02:00:00Z"},
		{"DATE", date, "2020-02-30", ""},
		{"DATE", date, "2020-01-02 01:00:00", ""},
		{"TIMESTAMP", timestamp, "2020-01-01 24:00:00", ""},
		{"TIMESTAMP", timestamp, "+999999-01-01 00:00:00", ""},
	} {
		t.Run(c.text, func(t *testing.T) {
			was := `"p":"2020-01-01"`
			if c.typ == "TIMESTAMP" {
				was = `"p":"2020-01-01T00:00:00.000000Z"`
			}
			s, err := edited(t, c.typ, c.value, was, `"p":"`+c.text+`"`)
			if err != nil {
				t.Fatal(err)
			}
			got, err := readRows(t.Context(), s)
			switch {
			case c.want == "" && err == nil:
				t.Errorf("read %s", got)
			case c.want != "" && err != nil:
				t.Error(err)
			case c.want != "" && !strings.Contains(got[0], `"p":"`+c.want):
				t.Errorf("got %s, want %s", got[0], c.want)
			}
		})
	}
}

// TestColumnsOfNothingButNull reads a file whose columns have no type, because its writer saw only null.
func TestColumnsOfNothingButNull(t *testing.T) {
	store := new(objstore.Mem)
	columns := ddl(t, "id BIGINT, a ARRAY<STRING>, m MAP<STRING, INT>, s STRUCT<x: INT>, i INT")
	tx := newTable(t, store, delta.TableOptions{Schema: columns}).Begin("WRITE")
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}
	for _, name := range []string{"a", "m", "s", "i"} {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.Null, Nullable: true})
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(fields, nil), strings.NewReader(`[{"id":1},{"id":2}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	var b bytes.Buffer
	w, err := pqarrow.NewFileWriter(rec.Schema(), &b, nil, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(rec), w.Close()); err != nil {
		t.Fatal(err)
	}
	size := int64(b.Len())
	put(t, store, "f.parquet", b.Bytes())
	tx.Add(&delta.Add{Path: "f.parquet", Size: size, PartitionValues: map[string]*string{}, DataChange: true})
	wantRows(t, commit(t, tx), `{"a":null,"i":null,"id":1,"m":null,"s":null}`, `{"a":null,"i":null,"id":2,"m":null,"s":null}`)
}

func TestFieldsThatAreAlwaysNull(t *testing.T) {
	store := new(objstore.Mem)
	columns := schema.NewStruct(schema.Nullable("id", schema.Long),
		schema.Nullable("s", schema.NewStruct(schema.Nullable("a", schema.Integer), schema.Nullable("v", schema.Void))))
	s := newTable(t, store, delta.TableOptions{Schema: columns}, `{"id":1,"s":{"a":1}}`, `{"id":2,"s":null}`, `{"id":3,"s":{"a":3}}`)
	if _, _, err := s.DeleteRows(t.Context(), delta.Compare{Column: []string{"id"}, Value: 1}, delta.ChangeOptions{}); err != nil {
		t.Fatal(err)
	}
	wantRows(t, load(t, store), `{"id":2,"s":null}`, `{"id":3,"s":{"a":3,"v":null}}`)
}

// TestOldDaysOfSpark2 reads files whose footers say that their old days are those of the Julian calendar.
func TestOldDaysOfSpark2(t *testing.T) {
	days := []arrow.Date32{-719164, -208180, -141428, -141427, 0} // the first three are 0001-01-01, 1400-01-01, 1582-10-04
	for name, c := range map[string]struct {
		key, value string
		want       []string
	}{
		"spark_2":         {"org.apache.spark.version", "2.4.5", []string{"0001-01-01", "1400-01-01", "1582-10-04", "1582-10-15", "1970-01-01"}},
		"spark_3_told_so": {"org.apache.spark.legacyDateTime", "", []string{"0001-01-01", "1400-01-01", "1582-10-04", "1582-10-15", "1970-01-01"}},
		"spark_3":         {"org.apache.spark.version", "3.5.0", []string{"0000-12-30", "1400-01-09", "1582-10-14", "1582-10-15", "1970-01-01"}},
	} {
		t.Run(name, func(t *testing.T) {
			store := new(objstore.Mem)
			tx := newTable(t, store, delta.TableOptions{Schema: ddl(t, "d DATE, t ARRAY<TIMESTAMP>")}).Begin("WRITE")
			dates := array.NewDate32Builder(memory.DefaultAllocator)
			lists := array.NewListBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"})
			dates.AppendValues(days, nil)
			for _, d := range days {
				lists.Append(true)
				lists.ValueBuilder().(*array.TimestampBuilder).Append(arrow.Timestamp(int64(d)*86400e6 + 1e6))
			}
			columns := []arrow.Array{dates.NewArray(), lists.NewArray()}
			sc := arrow.NewSchema([]arrow.Field{{Name: "d", Type: columns[0].DataType(), Nullable: true}, {Name: "t", Type: columns[1].DataType(), Nullable: true}}, nil)
			var b bytes.Buffer
			w, err := pqarrow.NewFileWriter(sc, &b, nil, pqarrow.DefaultWriterProps())
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.AppendKeyValueMetadata(c.key, c.value), w.Write(array.NewRecordBatch(sc, columns, 5)), w.Close()); err != nil {
				t.Fatal(err)
			}
			size := int64(b.Len())
			put(t, store, "f.parquet", b.Bytes())
			tx.Add(&delta.Add{Path: "f.parquet", Size: size, PartitionValues: map[string]*string{}, DataChange: true})
			var want []string
			for _, d := range c.want {
				want = append(want, `{"d":"`+d+`","t":["`+d+`T00:00:01Z"]}`)
			}
			got := rows(t, commit(t, tx))
			if !slices.Equal(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestRowsOfATableThatCannotBeWrittenAreRefusedByTheFeature(t *testing.T) {
	s, err := edited(t, "STRING", `"a"`, `"minReaderVersion":1,"minWriterVersion":2`,
		`"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["icebergCompatV1"]`, `"configuration":{}`, `"configuration":{"delta.enableIcebergCompatV1":"true"}`)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = s.DeleteRows(t.Context(), delta.Compare{Column: []string{"i"}, Op: delta.Equal, Value: int64(1)}, delta.ChangeOptions{})
	var refused *delta.UnsupportedError
	if !errors.As(err, &refused) || !slices.ContainsFunc(refused.Features, func(f string) bool { return strings.HasPrefix(f, "icebergCompatV1") }) {
		t.Error(err)
	}
}
