package silt_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

// mergeFiles merges the files of a folder of the lab by id, which their names and contents are given for.
func (l *lab) mergeFiles(glob string, files map[string]string) (*silt.RowChanges, error) {
	l.t.Helper()
	dir := l.t.TempDir()
	for name, text := range files {
		if strings.HasSuffix(name, ".gz") {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			if _, err := z.Write([]byte(text)); err != nil || z.Close() != nil {
				l.t.Fatal(err)
			}
			text = b.String()
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			l.t.Fatal(err)
		}
	}
	return silt.MergeTable(l.t.Context(), l.cfg, silt.TableMerge{Source: filepath.Join(dir, glob), Merge: silt.Merge{Keys: []string{"id"}}})
}

func TestFilesOfJSONAreMergedByTheTypesOfTheTable(t *testing.T) {
	const hints = "id string, at string, t timestamp, d date, n bigint, dec decimal(20,2), bin binary, m map<string,bigint>, ms map<string,struct<a:bigint>>, s struct<a:bigint,b:string>, l array<struct<x:string>>, txt string, v variant"
	const row = `{"id":"1","at":"2024-01-01T00:00:00Z","t":"2024-01-01T00:00:00Z","d":"2024-01-01","n":1,"dec":1.25,"bin":"aGk=","m":{"a":1},"ms":{"k":{"a":1}},"s":{"a":1,"b":"x"},"l":[{"x":"1"}],"txt":"old"}`
	for _, c := range []struct {
		name, text string
		want       string // the columns that change in the row
	}{
		{"a_time_in_a_column_of_text_stays_as_it_is_written", `{"id":"1","at":"2024-02-03T04:05:06.700+01:00"}`, `"at":"2024-02-03T04:05:06.700+01:00"`},
		{"so_does_a_number", `{"id":1,"txt":1.50}`, `"txt":"1.50"`},
		{"and_an_object", `{"id":"1","txt":{"b": 1}}`, `"txt":"{\"b\": 1}"`},
		{"times_and_dates_are_read_from_text", `{"id":"1","t":"2024-02-03T04:05:06+01:00","d":"2024-02-03"}`, `"t":"2024-02-03T03:05:06Z","d":"2024-02-03"`},
		{"a_decimal_is_exact", `{"id":"1","dec":123456789012345678.25}`, `"dec":"123456789012345678.25"`},
		{"a_map_stays_one", `{"id":"1","m":{"b":2,"c":3}}`, `"m":[{"key":"b","value":2},{"key":"c","value":3}]`},
		{"fields_of_a_struct_that_the_file_lacks_keep_their_values", `{"id":"1","s":{"a":2}}`, `"s":{"a":2,"b":"x"}`},
		{"a_column_that_is_only_null_becomes_NULL", `{"id":"1","txt":null,"n":null,"s":{"b":null}}`, `"txt":null,"n":null,"s":{"a":1}`},
		{"names_are_compared_without_case", `{"ID":"1","N":5}`, `"n":5`},
		{"a_variant_takes_anything", `{"id":"1","v":[1,{"a":null}]}`, `"v":{"metadata":"AQEAAWE=","value":"AwIAAggMAQIBAAABAA=="}`},
		{"new_fields_become_columns", `{"id":"1","new":"2024-01-01T00:00:00Z","s":{"c":true},"l":[{"x":"2","y":1}]}`,
			`"new":"2024-01-01T00:00:00Z","s":{"a":1,"b":"x","c":true},"l":[{"x":"2","y":1}]`},
		{"also_in_the_structs_of_a_map", `{"id":"1","ms":{"k":{"a":2,"z":3}}}`, `"ms":[{"key":"k","value":{"a":2,"z":3}}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage = []string{}
			l.cfg.Options = map[string]string{"schemaHints": hints}
			l.file("a.json", row)
			l.run()
			before := l.rows()[0]
			if _, err := l.mergeFiles("a.json", map[string]string{"a.json": c.text + "\n"}); err != nil {
				t.Fatal(err)
			}
			l.want(patched(t, before, "{"+c.want+"}"))
		})
	}
}

func TestFilesOfJSONAreMergedHoweverTheyStand(t *testing.T) {
	for _, c := range []struct {
		name, glob string
		files      map[string]string
	}{
		{"lines", "a.ndjson", map[string]string{"a.ndjson": `{"id":"1","n":2}` + "\n" + `{"id":"2","n":3}` + "\n"}},
		{"an_array", "a.json", map[string]string{"a.json": "[\n{\"id\":\"1\",\n\"n\":2},\n{\"id\":\"2\",\"n\":3}]"}},
		{"gzip", "a.json.gz", map[string]string{"a.json.gz": `{"id":"1","n":2}` + "\n" + `{"id":"2","n":3}` + "\n"}},
		{"several_files", "*.json", map[string]string{"a.json": `{"id":"1","n":2}`, "b.json": `[{"id":"2","n":3}]`, "c.txt": "no record"}},
		{"a_file_that_a_load_would_pass_over", "_fix[1].json", map[string]string{"_fix[1].json": `{"id":"1","n":2}{"id":"2","n":3}`, "_fix1.json": "no record"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage = []string{}
			l.cfg.Options = map[string]string{"schemaHints": "id string"}
			l.file("a.json", `{"id":"1","n":1}`)
			l.run()
			r, err := l.mergeFiles(c.glob, c.files)
			if err != nil {
				t.Fatal(err)
			}
			if r.RowsUpdated != 1 || r.Merge.Inserted != 1 {
				t.Errorf("got %+v", r)
			}
			l.want(`{"id":"1","n":2}`, `{"id":"2","n":3}`)
		})
	}
}

func TestAFileOfJSONThatCannotBeMergedWholeIsAnError(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a_value_that_does_not_fit_its_column", `{"id":"1"}` + "\n" + `{"id":"2","n":"x"}`, `a.json line 2: n is BIGINT, which {"n":"x"} does not fit`},
		{"in_a_struct", `{"id":"1","s":{"a":true}}`, `a.json line 1: s.a is BIGINT, which {"s":{"a":true}} does not fit`},
		{"a_name_that_no_column_of_the_table_can_have", `{"id":"1","a b":1}`, `a.json line 1: no column can hold {"a b":1}`},
		{"a_key_that_is_there_twice", "\n" + `{"id":"1","n":1,"n":2}`, `a.json line 2: the key of n is there twice: {"n":1} beside another`},
		{"text_that_is_no_record", `{"id":"1","n":1}` + "\n" + `{"id":"1",`, `a.json line 2: the text ends inside a value`},
		{"a_file_without_a_record", "\n", "a.json has a field"},
		{"a_key_that_the_records_lack", `{"n":1}`, "column id is a key, and the rows do not have it"},
		{"a_file_that_is_not_there", "", "b.json: there is no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage = []string{}
			l.cfg.Options = map[string]string{"schemaHints": "id string"}
			l.file("a.json", `{"id":"1","n":1,"s":{"a":1}}`)
			l.run()
			before := l.rows()
			glob := "a.json"
			if c.text == "" {
				glob = "b.json"
			}
			_, err := l.mergeFiles(glob, map[string]string{"a.json": c.text})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if merge := (*silt.MergeError)(nil); c.text != "" && !errors.As(err, &merge) {
				t.Errorf("%v is no MergeError", err)
			}
			l.want(before...)
		})
	}
}

// patched is a row as l.rows makes it, with other values for some columns.
func patched(t *testing.T, row, patch string) string {
	t.Helper()
	all := map[string]any{}
	for _, text := range []string{row, patch} {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
	}
	out, err := json.Marshal(trim(all))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestFilesOfJSONInS3AreMerged(t *testing.T) {
	server, cfg := s3Config(t)
	server.Put("landing", "orders/a.json", `{"id":1,"n":1}`)
	if _, err := runOnce(t, cfg); err != nil {
		t.Fatal(err)
	}
	server.Put("landing", "fixes.json", `{"id":1,"n":2}`)
	server.Put("landing", "fixes/1.json", `{"id":1,"n":3}`)
	server.Put("landing", "fixes/2.json", `{"id":2,"n":3}`)
	for source, want := range map[string]int64{"s3://landing/fixes.json": 1, "s3://landing/fixes/*.json": 2} {
		r, err := silt.MergeTable(t.Context(), cfg, silt.TableMerge{Source: source, Merge: silt.Merge{Keys: []string{"id"}}, DryRun: true})
		if err != nil || r.Merge.Rows != want {
			t.Errorf("%s: got %+v, %v", source, r, err)
		}
	}
}
