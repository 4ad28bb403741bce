package delta_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/parquet/variant"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// A roundTrip is a table that silt makes by some features of Delta, in steps, for others to read and to
// change.
type roundTrip struct {
	name       string
	ddl        string
	partition  []string
	properties map[string]string
	rows       []string
	// more is appended, under the columns of grow.
	grow string
	more []string
	// unread and unchanged name readers that cannot read the table, or change it, and why: a part of what
	// they say, or of what they get wrong.
	unread, unchanged map[string]string
}

// wrongPartitions is what DuckDB 1.5.5 gets wrong: the values of partition columns are NULL in tables with
// column mapping, of which Spark sees all.
const wrongPartitions = "partition values under column mapping"

// everyType has a column of each type that every reader knows.
const everyType = `id BIGINT, b BOOLEAN, i8 TINYINT, i16 SMALLINT, i32 INT, f FLOAT, d DOUBLE, s STRING, bin BINARY, day DATE, ts TIMESTAMP,
	d9 DECIMAL(9,2), d18 DECIMAL(18,3), d38 DECIMAL(38,10),
	st STRUCT<a: BIGINT, deep: STRUCT<t: TIMESTAMP>>, l ARRAY<STRUCT<x: BIGINT, y: ARRAY<STRING>>>, m MAP<STRING, STRUCT<v: BIGINT>>`

var everyTypeRows = []string{
	`{"id":1,"b":true,"bin":"AAH/","d":1.5,"d18":"-1.001","d38":"12345678901234567890.0123456789","d9":"1.25","day":"2024-02-29","f":0.5,"i16":-300,"i32":70000,"i8":-8,"l":[{"x":1,"y":["a",null]},{"x":null,"y":[]},{"x":2,"y":null}],"m":[{"key":"k","value":{"v":1}}],"s":"sé","st":{"a":1,"deep":{"t":"1969-12-31 23:59:59.999999Z"}},"ts":"2024-02-29 12:00:00.000001Z"}`,
	`{"id":2}`,
	`{"id":3,"b":false,"bin":"","d":-0.25,"d18":"0","d38":"-1e-10","d9":"-9999999.99","day":"1900-01-01","f":2,"i16":1,"i32":1,"i8":1,"l":[],"m":[],"s":"","st":{"a":null,"deep":null},"ts":"1900-01-01 00:00:00Z"}`,
	`{"id":4,"s":"x","l":[null],"m":[{"key":"k","value":null},{"key":"","value":{"v":null}}],"st":{"a":null,"deep":{"t":null}}}`,
}

var roundTrips = []roundTrip{
	{name: "every_type", ddl: everyType, rows: everyTypeRows,
		grow: "id BIGINT, st STRUCT<b: STRUCT<c: STRING>>, l ARRAY<STRUCT<z: DOUBLE>>, m MAP<STRING, STRUCT<w: BIGINT>>, added ARRAY<MAP<STRING, BIGINT>>",
		more: []string{`{"id":10,"st":{"b":{"c":"x"}},"l":[{"z":0.5}],"m":[{"key":"j","value":{"w":7}}],"added":[[{"key":"q","value":1}],null]}`}},
	{name: "partitions", ddl: "id BIGINT, p STRING, day DATE, ts TIMESTAMP, i INT, dec DECIMAL(9,2), v STRUCT<x: BIGINT>", partition: []string{"p", "day", "ts", "i", "dec"},
		rows: []string{`{"id":1,"p":"a b/c=d:%é","day":"2024-01-01","ts":"2024-01-01 01:02:03.000004Z","i":-1,"dec":"1.50","v":{"x":1}}`, `{"id":2}`,
			`{"id":3,"p":"x","day":"1960-01-01","ts":"1960-01-01 01:02:03Z","i":7,"dec":"3.25"}`, `{"id":4,"p":"x","day":"1960-01-01","ts":"1960-01-01 01:02:03Z","i":7,"dec":"3.25"}`},
		grow: "id BIGINT, p STRING, v STRUCT<y: STRING>", more: []string{`{"id":10,"p":"x","v":{"y":"z"}}`},
		unchanged: map[string]string{"duckdb": "Failed to parse value '1960-01-01 01:02:03+00'"}}, // which it has written
	{name: "column_mapping_name", ddl: "id BIGINT, `a b` STRUCT<`c;d`: STRING, `=`: ARRAY<STRUCT<`{}`: BIGINT>>>, p STRING", partition: []string{"p"},
		rows: []string{`{"id":1,"a b":{"c;d":"x","=":[{"{}":2}]},"p":"q"}`, `{"id":2}`, `{"id":3,"p":"q"}`},
		grow: "id BIGINT, `new (1)` MAP<STRING, STRUCT<`\t`: BIGINT>>, `a b` STRUCT<` `: BIGINT>",
		more: []string{`{"id":10,"new (1)":[{"key":"k","value":{"\t":5}}],"a b":{" ":7}}`}, unread: map[string]string{"duckdb": wrongPartitions}, unchanged: map[string]string{"deltalake": "column-mapped tables is not yet supported", "duckdb": "Feature 'checkConstraints' is not supported"}},
	{name: "column_mapping_id", ddl: "id BIGINT, s STRUCT<a: BIGINT>, l ARRAY<STRUCT<x: STRING>>", properties: map[string]string{"delta.columnMapping.mode": "id"},
		rows: []string{`{"id":1,"s":{"a":2},"l":[{"x":"y"}]}`, `{"id":2}`, `{"id":3}`}, grow: "id BIGINT, s STRUCT<b: DOUBLE>", more: []string{`{"id":10,"s":{"b":0.5}}`}, unchanged: map[string]string{"deltalake": "column-mapped tables is not yet supported", "duckdb": "Feature 'checkConstraints' is not supported"}},
	{name: "type_widening", ddl: "id INT, s STRUCT<f: FLOAT>, d DECIMAL(5,2), l ARRAY<SMALLINT>", properties: map[string]string{"delta.enableTypeWidening": "true"},
		rows: []string{`{"id":1,"s":{"f":0.5},"d":"1.25","l":[1,null]}`, `{"id":2}`, `{"id":3}`},
		grow: "id BIGINT, s STRUCT<f: DOUBLE>, d DECIMAL(10,4), l ARRAY<INT>", more: []string{`{"id":3000000000,"s":{"f":0.1},"d":"2.0625","l":[70000]}`}, unread: map[string]string{"deltalake": "typeWidening"}, unchanged: map[string]string{"deltalake": "TypeWidening", "duckdb": "Feature 'typeWidening' is not supported for writes"}},
	{name: "timestamp_ntz", ddl: "id BIGINT, n TIMESTAMP_NTZ, s STRUCT<n: TIMESTAMP_NTZ>", rows: []string{`{"id":1,"n":"1969-12-31 23:59:59.999999","s":{"n":"2024-01-01 00:00:00"}}`, `{"id":2}`, `{"id":3}`}},
	{name: "in_commit_timestamps", ddl: "id BIGINT", properties: map[string]string{"delta.enableInCommitTimestamps": "true"}, rows: ids(1, 2, 3), grow: "id BIGINT, n STRING", more: []string{`{"id":10,"n":"x"}`}, unchanged: map[string]string{"deltalake": "InCommitTimestamp"}},
	{name: "row_tracking", ddl: "id BIGINT, s STRING", properties: map[string]string{"delta.enableRowTracking": "true"}, rows: ids(1, 2, 3), grow: "id BIGINT", more: ids(10), unchanged: map[string]string{"deltalake": "RowTracking"}},
	{name: "change_data_feed", ddl: "id BIGINT, s STRING", properties: map[string]string{"delta.enableChangeDataFeed": "true"}, rows: ids(1, 2, 3), grow: "id BIGINT", more: ids(10)},
	{name: "v2_checkpoint", ddl: "id BIGINT, s STRUCT<a: STRING>", properties: map[string]string{"delta.checkpointPolicy": "v2"}, rows: ids(1, 2, 3), grow: "id BIGINT", more: ids(10)},
	{name: "deletion_vectors", ddl: "id BIGINT, s STRING", properties: map[string]string{"delta.enableDeletionVectors": "true"}, rows: ids(1, 2, 3, 4, 5), grow: "id BIGINT", more: ids(10, 11)},
	{name: "not_null", ddl: "id BIGINT NOT NULL, s STRUCT<a: STRING>", rows: []string{`{"id":1,"s":{"a":"x"}}`, `{"id":2}`, `{"id":3}`}, grow: "id BIGINT, n STRING", more: []string{`{"id":10,"n":"x"}`}},
	{name: "variant", ddl: "id BIGINT, v VARIANT", rows: []string{`{"id":1,"v":{"value":"DAU=","metadata":"AQAA"}}`, `{"id":2}`, `{"id":3}`},
		unread: map[string]string{"duckdb": "Unsupported Arrow type VARIANT"}, unchanged: map[string]string{"duckdb": "Unsupported Arrow type VARIANT"}},
	{name: "append_only", ddl: "id BIGINT", properties: map[string]string{"delta.appendOnly": "true"}, rows: ids(1, 2, 3), grow: "id BIGINT", more: ids(10)},
	{name: "all_at_once", ddl: "id BIGINT, p STRING, `a b` STRUCT<x: BIGINT>", partition: []string{"p"}, properties: map[string]string{
		"delta.enableDeletionVectors": "true", "delta.enableRowTracking": "true", "delta.enableInCommitTimestamps": "true",
		"delta.checkpointPolicy": "v2", "delta.enableTypeWidening": "true"},
		rows: []string{`{"id":1,"p":"x","a b":{"x":1}}`, `{"id":2,"p":"y"}`, `{"id":3,"p":"x"}`, `{"id":4}`}, grow: "id BIGINT, `a b` STRUCT<`y z`: STRING>",
		more: []string{`{"id":10,"a b":{"y z":"w"}}`}, unread: map[string]string{"deltalake": "TypeWidening", "duckdb": wrongPartitions}, unchanged: map[string]string{"deltalake": "column-mapped tables is not yet supported", "duckdb": "Feature 'checkConstraints' is not supported"}},
}

// make makes the table in steps: rows, more rows under more columns, a row deleted, small files packed, a
// row updated, a checkpoint, and a row after it.
func (c roundTrip) make(t *testing.T, dir string) *delta.Snapshot {
	t.Helper()
	store := objstore.NewDir(dir)
	s := newTable(t, store, delta.TableOptions{Schema: ddl(t, c.ddl), PartitionBy: c.partition, Properties: maps.Clone(c.properties)}, c.rows...)
	if len(c.more) > 0 {
		tx := s.Begin("WRITE")
		more := ddl(t, c.grow)
		if err := tx.SetSchema(more); err != nil {
			t.Fatal(err)
		}
		appendRows(t, store, tx, record(t, more, c.more...))
		s = commit(t, tx)
	}
	is := func(id int64) delta.Predicate {
		return delta.Compare{Column: []string{"id"}, Op: delta.Equal, Value: id}
	}
	if c.properties["delta.appendOnly"] != "true" {
		var m delta.ChangeMetrics
		var err error
		if s, m, err = s.DeleteRows(t.Context(), is(2), delta.ChangeOptions{}); err != nil || m.NumDeletedRows != 1 {
			t.Fatalf("%s: %+v, %v", c.name, m, err)
		}
	}
	var err error
	if s, _, err = s.Optimize(t.Context(), delta.OptimizeOptions{}); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	if c.properties["delta.appendOnly"] != "true" {
		if s, _, err = s.UpdateRows(t.Context(), is(1), []delta.Assignment{{Column: "id", Value: int64(11)}}, delta.ChangeOptions{}); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
	}
	if err := s.WriteCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	tx := load(t, store).Begin("WRITE")
	appendRows(t, store, tx, record(t, ddl(t, "id BIGINT"), `{"id":20}`))
	commit(t, tx)
	s = load(t, store)
	if r, err := s.Check(t.Context()); err != nil || len(r.Findings) > 0 {
		t.Errorf("the check finds %+v, %v", r.Findings, err)
	}
	return s
}

// deleteRow deletes one row of the first file that has so many, by a deletion vector.
func deleteRow(t *testing.T, s *delta.Snapshot, row uint64) *delta.Snapshot {
	t.Helper()
	tx := s.Begin("DELETE")
	for a, err := range s.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		var stats struct{ NumRecords uint64 }
		json.Unmarshal([]byte(a.Stats), &stats)
		if stats.NumRecords <= row+1 {
			continue
		}
		if _, err := tx.Delete(t.Context(), a, roaring64.BitmapOf(row)); err != nil {
			t.Fatal(err)
		}
		return commit(t, tx)
	}
	return s
}

// seen is what a reader says about a table.
type seen struct {
	Name, Path, Reader, Stage string
	Refuses                   string // why it cannot read, or change, the table
	Error                     string
	Rows                      []json.RawMessage
}

// ask runs a Python program and returns what it says, a line each.
func ask(t *testing.T, program string, args ...string) []seen {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%.3000s", strings.Join(args, " "), err, cmd.Stderr)
	}
	return parseSeen(t, out)
}

func parseSeen(t *testing.T, out []byte) (all []seen) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var s seen
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("%.300s: %v", lines.Bytes(), err)
		}
		all = append(all, s)
	}
	return all
}

// same fails unless the reader sees the rows.
func (s seen) same(t *testing.T, want []string) {
	t.Helper()
	var got []string
	for _, r := range s.Rows {
		got = append(got, canonical(t, string(r)))
	}
	sortedEqual(t, s.Reader+" "+s.Stage, got, want)
}

// refused fails when a reader refuses a table that it is not known to refuse, or no longer refuses it.
func refused(t *testing.T, who, why string, known map[string]string) bool {
	t.Helper()
	want, expected := known[who]
	switch {
	case want == wrongPartitions:
		return true
	case why == "" && expected:
		t.Errorf("%s no longer refuses: %s", who, want)
	case why != "" && !expected:
		t.Errorf("%s refuses: %s", who, why)
	case why != "" && !strings.Contains(why, want):
		t.Errorf("%s refuses because of %s, want %s", who, why, want)
	}
	return why != ""
}

// TestRoundTrip makes tables, which others read; then DuckDB and deltalake change a copy each, and silt
// reads on.
func TestRoundTrip(t *testing.T) {
	py, dir := python(t), t.TempDir()
	writers := []string{"duckdb", "deltalake"}
	want := map[string][]string{}
	for _, c := range roundTrips {
		path := filepath.Join(dir, "silt", c.name)
		want[c.name] = rows(t, c.make(t, path))
		for _, who := range writers {
			if err := os.CopyFS(filepath.Join(dir, who, c.name), os.DirFS(path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	paths := func(who string) (all []string) {
		for _, c := range roundTrips {
			all = append(all, filepath.Join(dir, who, c.name))
		}
		return all
	}
	said := ask(t, py, append([]string{filepath.Join("testdata", "read.py")}, paths("silt")...)...)
	for _, who := range writers {
		said = append(said, ask(t, py, append([]string{filepath.Join("testdata", "theirs.py"), who}, paths(who)...)...)...)
	}
	for _, c := range roundTrips {
		t.Run(c.name, func(t *testing.T) {
			readers := 0
			for _, r := range said {
				if filepath.Base(r.Path) != c.name {
					continue
				}
				changer := filepath.Base(filepath.Dir(r.Path))
				switch {
				case r.Error != "":
					t.Errorf("%s: %s", r.Reader, r.Error)
				case changer == "silt":
					readers++
					if !refused(t, r.Reader, r.Refuses, c.unread) {
						r.same(t, want[c.name])
					}
				case !refused(t, r.Reader, r.Refuses, c.unchanged):
					r.Stage = "has changed the table and"
					now := rows(t, load(t, objstore.NewDir(r.Path)))
					r.same(t, now)
					n := len(want[c.name])
					if changer == "duckdb" || c.properties["delta.appendOnly"] == "true" {
						n++ // deltalake appends a row and deletes one
					}
					if len(now) != n {
						t.Errorf("after %s it has %d rows, want %d", changer, len(now), n)
					}
					c.goesOn(t, r.Path)
				}
			}
			if readers == 0 {
				t.Error("nobody has read it")
			}
		})
	}
}

// goesOn appends to the table that somebody else has changed, and compares it with its checkpoint.
func (c roundTrip) goesOn(t *testing.T, dir string) {
	t.Helper()
	store := objstore.NewDir(dir)
	s := load(t, store)
	tx := s.Begin("WRITE")
	appendRows(t, store, tx, record(t, ddl(t, "id BIGINT"), `{"id":30}`))
	s = commit(t, tx)
	want := rows(t, s)
	if err := s.WriteCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = load(t, store)
	got := rows(t, s)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("from the checkpoint it has rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r, err := s.Check(t.Context()); err != nil || len(r.Findings) > 0 {
		t.Errorf("the check finds %+v, %v", r.Findings, err)
	}
}

// TestSpark makes the tables of [TestRoundTrip] for Spark with Delta Lake, which reads them, appends,
// deletes, optimizes and writes a checkpoint; then silt reads on. See make spark.
func TestSpark(t *testing.T) {
	spark := sparkPython(t)
	dir := t.TempDir()
	want := map[string][]string{}
	var jobs bytes.Buffer
	for _, c := range roundTrips {
		path := filepath.Join(dir, c.name)
		want[c.name] = variantsAsJSON(t, rows(t, c.make(t, path)))
		row := map[string]any{"id": 101}
		for _, p := range c.partition {
			row[p] = nil
		}
		job := map[string]any{"name": c.name, "path": path, "append": []any{row}, "sql": []string{
			"DELETE FROM {t} WHERE id = 3", "UPDATE {t} SET id = 102 WHERE id = 101", "OPTIMIZE {t}"}}
		if c.properties["delta.appendOnly"] == "true" {
			job["sql"] = []string{"OPTIMIZE {t}"}
		}
		line, _ := json.Marshal(job)
		jobs.Write(append(line, '\n'))
	}
	for _, r := range askSpark(t, spark, dir, jobs.Bytes(), len(roundTrips)) {
		t.Run(r.Name+"/"+r.Stage, func(t *testing.T) {
			r.Reader = "Spark"
			i := slices.IndexFunc(roundTrips, func(c roundTrip) bool { return c.name == r.Name })
			if r.Error != "" {
				t.Fatal(r.Error)
			}
			if r.Stage == "read" {
				r.same(t, want[r.Name])
				return
			}
			r.same(t, variantsAsJSON(t, rows(t, load(t, objstore.NewDir(filepath.Join(dir, r.Name))))))
			roundTrips[i].goesOn(t, filepath.Join(dir, r.Name))
		})
	}
}

// sparkPython is a Python with Spark and Delta Lake.
func sparkPython(t *testing.T) string {
	t.Helper()
	spark := os.Getenv("SILT_SPARK")
	if spark == "" {
		t.Skip("SILT_SPARK is not set: a Python with pyspark, beside a folder jars of Delta Lake; make spark sets it up")
	}
	return spark
}

// askSpark has Spark do the jobs, a line each, and returns what it saw: each of the tables as it read it
// and as it changed it.
func askSpark(t *testing.T, spark, dir string, jobs []byte, tables int) []seen {
	t.Helper()
	list, out := filepath.Join(dir, "jobs"), filepath.Join(dir, "out")
	if err := os.WriteFile(list, jobs, 0o666); err != nil {
		t.Fatal(err)
	}
	jars := filepath.Join(filepath.Dir(filepath.Dir(spark)), "jars")
	if text, err := exec.CommandContext(t.Context(), spark, filepath.Join("testdata", "spark.py"), jars, list, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%.3000s", err, text)
	}
	said, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	all := parseSeen(t, said)
	stages := map[string]int{}
	for _, r := range all {
		stages[r.Stage]++
	}
	if stages["read"] != tables || stages["changed"] != tables {
		t.Errorf("got %v, want %d of each", stages, tables)
	}
	return all
}

// variantsAsJSON returns rows with the JSON of the variants in column v in the place of their bytes.
func variantsAsJSON(t *testing.T, rows []string) []string {
	t.Helper()
	out := slices.Clone(rows)
	for i, text := range rows {
		var row map[string]any
		var v struct {
			V *struct{ Metadata, Value []byte }
		}
		if json.Unmarshal([]byte(text), &v) != nil || v.V == nil || v.V.Metadata == nil {
			continue // no variant
		}
		value, err := variant.New(v.V.Metadata, v.V.Value)
		if err != nil {
			t.Fatal(err)
		}
		json.Unmarshal([]byte(text), &row)
		row["v"] = value
		text, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = string(text)
	}
	return out
}
