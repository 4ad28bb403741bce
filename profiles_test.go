package silt_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// differences are the points in which silt's default profile and compat: autoloader differ. Each is a
// row of docs/compat.md and a test.
var differences = []struct {
	point, silt, autoloader string // as the page says it
	file, content           string
	options                 map[string]string
	siltRows, compatRows    []string
	refused                 string // the mistake that compat: autoloader finds in the options instead
}{
	{
		point: "Types of inferred columns", silt: "inferred: BIGINT, DOUBLE, STRUCT …", autoloader: "STRING, unless `inferColumnTypes` is true",
		file: "1.json", content: `{"a":1,"b":{"c":true}}`,
		siltRows: []string{`{"a":1,"b":{"c":true}}`}, compatRows: []string{`{"a":"1","b":"{\"c\":true}"}`},
	},
	{
		point: "Text behind the first value of a line", silt: "further records, or quarantined when it is no JSON", autoloader: "ignored without a word",
		file: "1.json", content: `{"a":1}{"a":2}`, options: map[string]string{"inferColumnTypes": "true"},
		siltRows: []string{`{"a":1}`, `{"a":2}`}, compatRows: []string{`{"a":1}`},
	},
	{
		point: "Records that span lines", silt: "recognised in each file", autoloader: "only with `multiLine`",
		file: "1.json", content: "{\n \"a\": 1\n}\n{\n \"a\": 2\n}\n", options: map[string]string{"schema": "a bigint"},
		siltRows: []string{`{"a":1}`, `{"a":2}`}, compatRows: []string{`{}`, `{}`, `{}`, `{}`, `{}`, `{}`},
	},
	{
		point: "A number that its column cannot hold exactly", silt: "NULL and rescued", autoloader: "rounded",
		file: "1.json", content: `{"a":9007199254740993}`, options: map[string]string{"inferColumnTypes": "true", "schemaHints": "a double"},
		siltRows:   []string{`{"_rescued_data":"{\"a\":9007199254740993,\"_file_path\":\"1.json\"}"}`},
		compatRows: []string{`{"a":9007199254740992}`},
	},
	{
		point: "A whole number written as 80.0 in a whole-number column", silt: "fits", autoloader: "NULL and rescued",
		file: "1.json", content: `{"a":80.0}`, options: map[string]string{"inferColumnTypes": "true", "schemaHints": "a bigint"},
		siltRows: []string{`{"a":80}`}, compatRows: []string{`{"_rescued_data":"{\"a\":80.0,\"_file_path\":\"1.json\"}"}`},
	},
	{
		point: "A key that an object has twice", silt: "the last value in the column, the earlier ones rescued", autoloader: "the last value, the earlier ones lost",
		file: "1.json", content: `{"a":1,"a":2}`, options: map[string]string{"inferColumnTypes": "true"},
		siltRows: []string{`{"_rescued_data":"{\"a\":1,\"_file_path\":\"1.json\"}","a":2}`}, compatRows: []string{`{"a":2}`},
	},
	{
		point: "A field that has held only null, [] or {}", silt: "waits for a value and is rescued meanwhile", autoloader: "becomes STRING, or ARRAY<STRING>, for ever",
		file: "1.json", content: `{"a":[],"b":1}`, options: map[string]string{"inferColumnTypes": "true"},
		siltRows: []string{`{"_rescued_data":"{\"a\":[],\"_file_path\":\"1.json\"}","b":1}`}, compatRows: []string{`{"a":[],"b":1}`},
	},
	{
		point: "Compressed files", silt: "recognised by their content", autoloader: "recognised by the name alone",
		file: "1.json", content: zipped(`{"a":1}` + "\n"), options: map[string]string{"schema": "a bigint"},
		siltRows: []string{`{"a":1}`}, compatRows: []string{`{}`},
	},
	{
		point: "Strings in single quotes", silt: "no JSON, unless `allowSingleQuotes` is true", autoloader: "read",
		file: "1.json", content: "{'a':1}\n", options: map[string]string{"schema": "a bigint"},
		siltRows: nil, compatRows: []string{`{"a":1}`},
	},
	{
		point: "Text that is no record", silt: "goes to the quarantine table with its place and the reason", autoloader: "becomes a row of NULLs, and is lost",
		file: "1.json", content: "{bad\n{\"a\":1}\n", options: map[string]string{"schema": "a bigint"},
		siltRows: []string{`{"a":1}`}, compatRows: []string{`{"a":1}`, `{}`},
	},
	{
		point: "A value that is no object, also `null`", silt: "quarantined", autoloader: "a row of NULLs",
		file: "1.json", content: "null\n7\n{\"a\":3}\n", options: map[string]string{"schema": "a bigint"},
		siltRows: []string{`{"a":3}`}, compatRows: []string{`{"a":3}`, `{}`, `{}`},
	},
	{
		point: "A list of objects with another value in it", silt: "its objects are rows, the other is quarantined", autoloader: "a row of NULLs for the whole list",
		file: "1.json", content: `[{"a":1},2]`, options: map[string]string{"schema": "a bigint"},
		siltRows: []string{`{"a":1}`}, compatRows: []string{`{}`},
	},
	{
		point: "NDJSON with `multiLine` on", silt: "all records", autoloader: "the first record of the file, the others lost",
		file: "1.json", content: "{\"a\":1}\n{\"a\":2}\n", options: map[string]string{"schema": "a bigint", "multiLine": "true"},
		siltRows: []string{`{"a":1}`, `{"a":2}`}, compatRows: []string{`{"a":1}`},
	},
	{
		point: "A number with more digits than its DECIMAL column has places", silt: "NULL and rescued", autoloader: "rounded half up",
		file: "1.json", content: `{"a":1.005}`, options: map[string]string{"inferColumnTypes": "true", "schemaHints": "a decimal(5,2)"},
		siltRows: []string{`{"_rescued_data":"{\"a\":1.005,\"_file_path\":\"1.json\"}"}`}, compatRows: []string{`{"a":"1.01"}`},
	},
	{
		point: "`1e400` in a DOUBLE column", silt: "NULL and rescued", autoloader: "Infinity",
		file: "1.json", content: `{"a":1e400}`, options: map[string]string{"inferColumnTypes": "true", "schemaHints": "a double"},
		siltRows: []string{`{"_rescued_data":"{\"a\":1e400,\"_file_path\":\"1.json\"}"}`}, compatRows: []string{`{"a":"+Inf"}`},
	},
	{
		point: "Half of a surrogate pair in a string", silt: "NULL and rescued as it is written", autoloader: "replaced by ?",
		file: "1.json", content: `{"a":"x\ud800"}`, options: map[string]string{"inferColumnTypes": "true"},
		siltRows: []string{`{"_rescued_data":"{\"a\":\"x\\ud800\",\"_file_path\":\"1.json\"}"}`}, compatRows: []string{`{"a":"x?"}`},
	},
	{
		point: "A string that is no proper base64 in a BINARY column", silt: "NULL and rescued", autoloader: "what can be read of it",
		file: "1.json", content: `{"a":"YR=="}`, options: map[string]string{"inferColumnTypes": "true", "schemaHints": "a binary"},
		siltRows: []string{`{"_rescued_data":"{\"a\":\"YR==\",\"_file_path\":\"1.json\"}"}`}, compatRows: []string{`{"a":"YQ=="}`},
	},
	{
		point: "A key of an object of ids twice, in a MAP column", silt: "the whole map is rescued", autoloader: "the last value, the earlier ones lost",
		file: "1.json", content: `{"a":{"k":1,"k":2}}`, options: map[string]string{"inferColumnTypes": "true", "schemaHints": "a map<string, bigint>"},
		siltRows: []string{`{"_rescued_data":"{\"a\":{\"k\":1,\"k\":2},\"_file_path\":\"1.json\"}"}`}, compatRows: []string{`{"a":[{"key":"k","value":2}]}`},
	},
	{
		point: "A number of more than 1000 digits, a string of more than 20 million characters", silt: "read, up to `maxRecordBytes`", autoloader: "its record is corrupt; see `maxNumLen`, `maxStringLen`",
		file: "1.json", content: `{"a":` + strings.Repeat("7", 1001) + `}`, options: map[string]string{"schema": "a string"},
		siltRows: []string{`{"a":"` + strings.Repeat("7", 1001) + `"}`}, compatRows: []string{`{}`},
	},
	{
		point: "Files in UTF-16 or UTF-32", silt: "recognised by their first bytes", autoloader: "only with `encoding`, or with `multiLine`; else corrupt",
		file: "1.json", content: "{\x00\"\x00a\x00\"\x00:\x001\x00}\x00", options: map[string]string{"schema": "a bigint"},
		siltRows: []string{`{"a":1}`}, compatRows: []string{`{}`},
	},
	{
		point: "An encoding that is not UTF-8, in files of lines", silt: "line ends are found in the decoded text", autoloader: "needs `lineSep`", refused: "needs lineSep in files of lines",
		file: "1.json", content: "{\"a\":\"\xe9\"}\n{\"a\":\"b\"}\n", options: map[string]string{"schema": "a string", "encoding": "ISO-8859-1"},
		siltRows: []string{`{"a":"b"}`, `{"a":"é"}`},
	},
	{
		point: "Keys that differ only by case: the column's name", silt: "the commonest spelling", autoloader: "the smallest in the order of code units",
		file: "1.json", content: "{\"Temp\":1}\n{\"temp\":2}\n{\"temp\":3}\n", options: map[string]string{"inferColumnTypes": "true", "spark.databricks.sql.rescuedDataColumn.filePath.enabled": "false"},
		siltRows: []string{`{"_rescued_data":"{\"Temp\":1}"}`, `{"temp":2}`, `{"temp":3}`}, compatRows: []string{`{"Temp":1}`, `{"_rescued_data":"{\"temp\":2}"}`, `{"_rescued_data":"{\"temp\":3}"}`},
	},
	{
		point: "Types of columns from folders `k=v`", silt: "inferred: INT, DATE, STRING …", autoloader: "STRING, unless `inferColumnTypes` is true",
		file: "day=2024-01-02/h=07/1.json", content: `{"a":"x"}`,
		siltRows: []string{`{"a":"x","day":"2024-01-02","h":7}`}, compatRows: []string{`{"a":"x","day":"2024-01-02","h":"07"}`},
	},
	{
		point: "A key that has the name of a folder's column", silt: "the folder's value in the column, the key's rescued", autoloader: "the folder's value in the column, the key's lost",
		file: "h=7/1.json", content: `{"a":"x","h":8}`, options: map[string]string{"inferColumnTypes": "true"},
		siltRows: []string{`{"_rescued_data":"{\"h\":8,\"_file_path\":\"h=7/1.json\"}","a":"x","h":7}`}, compatRows: []string{`{"a":"x","h":7}`},
	},
	{
		point: "Type widening met by a whole number written as 80.0", silt: "fits; the column stays", autoloader: "the column becomes DECIMAL(21,1)",
		file: "1.json", content: `{"a":80.0}`, options: map[string]string{"inferColumnTypes": "true", "schemaHints": "a bigint", "schemaEvolutionMode": "addNewColumnsWithTypeWidening"},
		siltRows: []string{`{"a":80}`}, compatRows: []string{`{"a":"80"}`},
	},
	{
		point: "A key that a given `schema` does not have", silt: "rescued", autoloader: "lost, unless `rescuedDataColumn` is set",
		file: "1.json", content: `{"a":1,"b":2}`, options: map[string]string{"schema": "a bigint"},
		siltRows: []string{`{"_rescued_data":"{\"b\":2,\"_file_path\":\"1.json\"}","a":1}`}, compatRows: []string{`{"a":1}`},
	},
	{
		point: "Two records of one key in a merge", silt: "the last counts, see [merge](merge.md)", autoloader: "both are inserted; an error when the table has the key",
		file: "1.json", content: `{"a":1,"b":1}` + "\n" + `{"a":1,"b":2}`, options: map[string]string{"inferColumnTypes": "true", "write.mode": "merge", "write.keys": "a"},
		siltRows: []string{`{"a":1,"b":2}`}, compatRows: []string{`{"a":1,"b":1}`, `{"a":1,"b":2}`},
	},
	{
		point: "NULL in the key of a merge", silt: "the record goes to the quarantine", autoloader: "meets nothing, and is inserted",
		file: "1.json", content: `{"a":1,"b":1}` + "\n" + `{"b":2}`, options: map[string]string{"inferColumnTypes": "true", "write.mode": "merge", "write.keys": "a"},
		siltRows: []string{`{"a":1,"b":1}`}, compatRows: []string{`{"a":1,"b":1}`, `{"b":2}`},
	},
	{
		point: "`addNewColumns` with option `schema`", silt: "the schema is where it starts from", autoloader: "refused", refused: "addNewColumns does not go with option schema",
		file: "1.json", content: `{"a":1,"b":2}`, options: map[string]string{"schema": "a bigint", "schemaEvolutionMode": "addNewColumns"},
		siltRows: []string{`{"a":1,"b":2}`},
	},
}

// likenesses are what both profiles do with values that do not quite fit: rows of docs/compat.md too.
// spark says what Spark does when that is another thing.
var likenesses = []struct {
	point, both, spark string
	hint, content      string
	rows               []string
}{
	{point: "A timestamp with more than six digits of a second", both: "cut to microseconds", hint: "a timestamp",
		content: `{"a":"2024-01-02T03:04:05.123456789Z"}`, rows: []string{`{"a":"2024-01-02T03:04:05.123456Z"}`}},
	{point: "A timestamp in a DATE column", both: "its day, without a shift of zones; the time is dropped", hint: "a date",
		content: `{"a":"2024-01-02T23:59:59-08:00"}`, rows: []string{`{"a":"2024-01-02"}`}},
	{point: "A day, a month or a year in a TIMESTAMP column", both: "its first midnight", hint: "a timestamp",
		content: `{"a":"2024-01"}`, rows: []string{`{"a":"2024-01-01T00:00:00Z"}`}},
	{point: "A whole number in a TIMESTAMP column", both: "seconds since 1970", hint: "a timestamp",
		content: `{"a":1704164645}`, rows: []string{`{"a":"2024-01-02T03:04:05Z"}`}},
	{point: "The texts NaN, Infinity, -Infinity in a DOUBLE column", both: "that number, unless `allowNonNumericNumbers` is false", hint: "a double",
		content: `{"a":"-Infinity"}`, rows: []string{`{"a":"-Inf"}`}},
	{point: "Text that holds a number in a DECIMAL column", both: "the number, with or without group separators", hint: "a decimal(10,2)",
		content: `{"a":"2.50"}` + "\n" + `{"a":"1,234.5"}`, rows: []string{`{"a":"1234.5"}`, `{"a":"2.5"}`}},
	{point: "Text that holds a number in any other column of numbers", both: "NULL and rescued", hint: "a bigint",
		content: `{"a":"2"}`, rows: []string{`{"_rescued_data":"{\"a\":\"2\",\"_file_path\":\"1.json\"}"}`}},
	{point: "A number, boolean, object or list in a STRING column", both: "its text as it is written", hint: "a string",
		content: `{"a":1.50}` + "\n" + `{"a":{"k": 1}}`, rows: []string{`{"a":"1.50"}`, `{"a":"{\"k\": 1}"}`}},
	{point: "A fraction that FLOAT or DOUBLE cannot hold to the last digit", both: "the nearest one", hint: "a float",
		content: `{"a":0.1}`, rows: []string{`{"a":0.1}`}},
	{point: "`{}` in a STRUCT column", both: "a struct of NULLs", hint: "a struct<x: bigint>",
		content: `{"a":{}}`, rows: []string{`{"a":{}}`}},
	{point: "One value of a list or map that does not fit", both: "the whole list or map is NULL and rescued", hint: "a array<bigint>",
		content: `{"a":[1,"x"]}`, rows: []string{`{"_rescued_data":"{\"a\":[1,\"x\"],\"_file_path\":\"1.json\"}"}`}},
	{point: "A whole number as text in a DATE column", both: "NULL and rescued", spark: "days since 1970: \"1\" is 1970-01-02, \"20240102\" a day in the year 57385", hint: "a date",
		content: `{"a":"20240102"}`, rows: []string{`{"_rescued_data":"{\"a\":\"20240102\",\"_file_path\":\"1.json\"}"}`}},
	{point: "A time without a day in a TIMESTAMP column", both: "NULL and rescued", spark: "that time of today", hint: "a timestamp",
		content: `{"a":"03:04:05"}`, rows: []string{`{"_rescued_data":"{\"a\":\"03:04:05\",\"_file_path\":\"1.json\"}"}`}},
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func TestProfiles(t *testing.T) {
	for _, d := range differences {
		t.Run(strings.ReplaceAll(d.point, " ", "_"), func(t *testing.T) {
			for _, compat := range []string{"", "autoloader"} {
				l := newLab(t)
				l.cfg.Compat, l.cfg.Options = compat, d.options
				l.file(d.file, d.content)
				if compat != "" && d.refused != "" {
					if _, err := l.tryRun(); err == nil || !strings.Contains(err.Error(), d.refused) {
						t.Errorf("error %v, want one that it %s", err, d.refused)
					}
					continue
				}
				l.run()
				want := d.siltRows
				if compat != "" {
					want = d.compatRows
				}
				var got []string
				if want != nil || l.isTable() {
					got = l.rows()
				}
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("compat %q (-want +got):\n%s", compat, diff)
				}
			}
		})
	}
	for _, d := range likenesses {
		t.Run(strings.ReplaceAll(d.point, " ", "_"), func(t *testing.T) {
			for _, compat := range []string{"", "autoloader"} {
				l := newLab(t)
				l.cfg.Compat, l.cfg.Options = compat, map[string]string{"inferColumnTypes": "true", "schemaHints": d.hint}
				l.file("1.json", d.content)
				l.run()
				if diff := gocmp.Diff(d.rows, l.rows()); diff != "" {
					t.Errorf("compat %q (-want +got):\n%s", compat, diff)
				}
			}
		})
	}
	t.Run("a_star_in_the_source_crosses_a_slash_under_compat_alone", func(t *testing.T) {
		for compat, want := range map[string]int64{"": 1, "autoloader": 2} {
			l := newLab(t)
			l.cfg.Compat = compat
			l.file("1.json", `{"a":1}`)
			l.file("sub/2.json", `{"a":2}`)
			l.cfg.Source += "/*.json"
			if s := l.run(); s.Rows != want {
				t.Errorf("compat %q: %d rows, want %d", compat, s.Rows, want)
			}
		}
	})
	t.Run("a_batch_has_as_many_files_as_Auto_Loader_s_under_compat_alone", func(t *testing.T) {
		for compat, want := range map[string]int{"": 1, "autoloader": 2} {
			l := newLab(t)
			l.cfg.Compat = compat
			for i := range 1001 {
				l.file(fmt.Sprintf("%d.json", i), `{"a":1}`)
			}
			if s := l.run(); s.Batches != want || s.Rows != 1001 {
				t.Errorf("compat %q: %d rows in %d batches, want 1001 in %d", compat, s.Rows, s.Batches, want)
			}
		}
	})
	t.Run("lineage_columns_are_silt_s_alone", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Compat = "autoloader"
		l.file("1.json", `{"a":1}`)
		l.run()
		if got, want := l.schema(), "a STRING,_rescued_data STRING"; got != want {
			t.Errorf("schema %s, want %s", got, want)
		}
	})
	t.Run("the_table_grows_without_mergeSchema_in_silt_alone", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"a":1}`)
		l.cfg.Compat = "autoloader"
		l.run()
		l.file("2.json", `{"b":1}`)
		if _, err := l.tryRun(); err == nil || !strings.Contains(err.Error(), "mergeSchema") {
			t.Errorf("error %v", err)
		}
		l.cfg.Options = map[string]string{"mergeSchema": "true"}
		l.run()
		l.want(`{"a":"1"}`, `{"b":"1"}`)
	})
}

func (l *lab) isTable() bool {
	_, err := os.Stat(l.cfg.Target.Path + "/_delta_log")
	return err == nil
}

func TestCompatPageIsUpToDate(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Where silt differs from Auto Loader\n\n" +
		"silt's defaults are chosen so that nothing is lost. `compat: autoloader` gives Auto Loader's and Spark's behaviour. This\n" +
		"page is made from the tests that hold each row, by `make golden`; defaults of single options are in [options](options.md).\n\n" +
		"| point | silt | compat: autoloader |\n|---|---|---|\n")
	for _, d := range differences {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", d.point, d.silt, d.autoloader)
	}
	b.WriteString("| Columns beside the data | `_rescued_data`, `ingestion_timestamp`, `source_file` | `_rescued_data` |\n" +
		"| Most files of a batch | 10,000, and 10 GiB; options set other limits | 1,000 |\n" +
		"| `*` in the source | stays inside one folder name | crosses slashes, unless `cloudFiles.useStrictGlobber` is true |\n" +
		"| A new column | becomes part of the table in the same commit as its first rows | the same, when `mergeSchema` is on |\n" +
		"\nUnder `compat: autoloader` too, a new column does not stop the run, unless `onSchemaChange: fail` asks for it: then the\n" +
		"new schema is written, the run stops with exit status 4, and the next run loads the same files by it. In both, text that\n" +
		"is no record goes to the corrupt record column when there is one.\n" +
		"\n## The same in both\n\nValues that fit although something of them is lost, or that might be thought to. Where Spark does another thing, which would\n" +
		"make a wrong value of a right one, neither profile follows.\n\n| value | silt, in both profiles | Spark |\n|---|---|---|\n")
	for _, d := range likenesses {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", d.point, d.both, cmp.Or(d.spark, "the same"))
	}
	b.WriteString("\nWhat becomes of data in each mode of evolution is told in [what happens to your data](what-happens.md).\n")
	const page = "docs/compat.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the tests say (%v); run make golden", page, err)
	}
}
