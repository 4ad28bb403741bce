package silt_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// differences are the points in which silt's default profile and compat: autoloader differ. Each is a
// row of docs/compat.md and a test.
var differences = []struct {
	point, silt, autoloader string // as the page says it
	file, content           string
	options                 map[string]string
	siltRows, compatRows    []string
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
				l.run()
				want := d.siltRows
				if compat != "" {
					want = d.compatRows
				}
				var got []string
				if want != nil || l.isTable() {
					got = l.rows()
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("compat %q (-want +got):\n%s", compat, diff)
				}
			}
		})
	}
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
		"| A new column | becomes part of the table in the same commit as its first rows | the same, when `mergeSchema` is on |\n" +
		"\nUnder `compat: autoloader` too, a new column does not stop the run, unless `onSchemaChange: fail` asks for it: then the\n" +
		"new schema is written, the run stops with exit status 4, and the next run loads the same files by it. In both, text that\n" +
		"is no record goes to the corrupt record column when there is one.\n")
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
