//go:build duckdb_arrow

package silt_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/schema"
)

// witness is a file that exists when a text out of data has been run as SQL.
const witness = "executed.csv"

// hostileNames are names of columns that would do something if they became a part of SQL, a path or a
// pattern unquoted. No two of them are equal without case, and a table can have all of them.
func hostileNames(dir string) []string {
	run := "COPY (SELECT 1) TO '" + filepath.Join(dir, witness) + "'"
	return []string{
		`double"quote`, `single'quote`, `";` + run + `; --`, `');` + run + `; --`, `"; DROP TABLE source; --`,
		"two\nlines", "tab\tand\rreturn", "--", "/*", "*/", `back\slash`, "back`tick", "`", `"`, `""`, `'`, `''`, `\`,
		"é", "e\u0301", "名前", "😀", "\u202eright to left", "\u200b", "select", "from", "table", "group", "null", "true", "order by 1",
		"source", "source_file", "__silt_row", "_metadata", "rowid", strings.Repeat("long ", 60), " ", " led", "a.b", "a[1]", "[0]", "{x}", "x:y", "a=b", "a,b;c",
		"$1", "?", ":name", "%s", "*", "column0", "c0", "element", "key_value", "add", "../up", "a/b", "<b>&",
	}
}

// noColumns are names that no column has: the empty one, one with a NUL, that of the rescued data, and
// those that another key has in other letters.
var noColumns = []string{"", "_rescued_data", "a\x00b", "select", "é"}

// conserved wants each record in the table: what a row has in columns and what it has in _rescued_data
// are together the record. fields are the names that are rescued.
func conserved(t *testing.T, rows []map[string]any, records []map[string]any, rescued ...string) {
	t.Helper()
	aside := map[string]bool{}
	var got []string
	for _, row := range rows {
		if text, ok := row["_rescued_data"].(string); ok {
			delete(row, "_rescued_data")
			var more map[string]any
			if err := json.Unmarshal([]byte(text), &more); err != nil {
				t.Fatal(err)
			}
			delete(more, "_file_path")
			for name, v := range more {
				row[name], aside[name] = v, true
			}
		}
		got = append(got, compact(t, row))
	}
	if names := slices.Sorted(maps.Keys(aside)); !slices.Equal(names, rescued) {
		t.Errorf("rescued are %q, want %q", names, rescued)
	}
	var want []string
	for _, r := range records {
		want = append(want, compact(t, r))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func compact(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// read are the rows of a table by reader, without NULLs: of silt and, where there is a Python
// with them, of deltalake and DuckDB.
func (l *lab) read(table string) map[string][]map[string]any {
	l.t.Helper()
	var own []map[string]any
	r, err := silt.Query(l.t.Context(), "SELECT * FROM \""+strings.ReplaceAll(table, `"`, `""`)+`"`, silt.QueryOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	defer r.Release()
	for r.Next() {
		text, err := r.RecordBatch().MarshalJSON()
		if err != nil {
			l.t.Fatal(err)
		}
		var rows []map[string]any
		if err := json.Unmarshal(text, &rows); err != nil {
			l.t.Fatal(err)
		}
		own = append(own, rows...)
	}
	if r.Err() != nil {
		l.t.Fatal(r.Err())
	}
	out := map[string][]map[string]any{"silt": own}
	if python := os.Getenv("SILT_PYTHON"); python != "" {
		cmd := exec.Command(python, filepath.Join("delta", "testdata", "read.py"), table)
		cmd.Stderr = new(bytes.Buffer)
		text, err := cmd.Output()
		if err != nil {
			l.t.Fatalf("read %s: %v\n%.2000s", table, err, cmd.Stderr)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			var got struct {
				Reader, Refuses, Error string
				Rows                   []map[string]any
			}
			if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
				l.t.Fatal(err)
			}
			if got.Refuses+got.Error != "" {
				l.t.Errorf("%s: %s%s", got.Reader, got.Refuses, got.Error)
				continue
			}
			out[got.Reader] = got.Rows
		}
	}
	for _, rows := range out {
		for _, row := range rows {
			trim(row)
		}
	}
	return out
}

// wantRecords wants the table to hold the records, by all readers, and nothing to be executed.
func (l *lab) wantRecords(records []map[string]any, rescued ...string) {
	l.t.Helper()
	for reader, rows := range l.read(l.cfg.Target.Path) {
		l.t.Log(reader, len(rows), "rows")
		conserved(l.t, rows, records, rescued...)
	}
}

// lines writes records as a file of the source.
func (l *lab) lines(name string, records ...map[string]any) {
	l.t.Helper()
	var b strings.Builder
	for _, r := range records {
		b.WriteString(compact(l.t, r) + "\n")
	}
	l.file(name, b.String())
}

// quote is a name in SQL.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// TestNamesAndValuesOutOfDataAreNeverRun loads records whose names and values would be SQL, by all ways
// on which they come near it.
func TestNamesAndValuesOutOfDataAreNeverRun(t *testing.T) {
	dir := t.TempDir()
	names := hostileNames(dir)
	record := func(id int, more ...string) map[string]any {
		r := map[string]any{"id": float64(id)}
		for i, n := range append(slices.Clone(names), more...) {
			r[n] = names[(i+id)%len(names)] + "'; DROP TABLE t; --"
		}
		return r
	}
	none := []string{}
	one, two := record(1), record(2)
	ways := []struct {
		name string
		run  func(t *testing.T, l *lab)
	}{
		{"a_plain_load", func(t *testing.T, l *lab) {
			a, b := record(1, "", "_rescued_data", "a\x00b", "Select", "É"), record(2, "", "_rescued_data", "a\x00b", "Select", "É")
			l.lines("1.json", a, b)
			l.run()
			l.wantRecords([]map[string]any{a, b}, noColumns...)
		}},
		{"names_that_come_later", func(t *testing.T, l *lab) {
			l.lines("0.json", map[string]any{"id": 0})
			l.run()
			l.lines("1.json", one, two)
			l.run()
			var rescued []string // since the table has no column mapping
			for _, n := range names {
				if strings.ContainsAny(n, " ,;{}()\n\t=") {
					rescued = append(rescued, n)
				}
			}
			slices.Sort(rescued)
			l.wantRecords([]map[string]any{{"id": 0}, one, two}, rescued...)
		}},
		{"a_transform_with_a_star", func(t *testing.T, l *lab) {
			l.cfg.Transform = "SELECT * FROM source"
			a := record(1, "", "_rescued_data", "a\x00b", "Select", "É")
			l.lines("1.json", a)
			l.run()
			l.wantRecords([]map[string]any{a}, noColumns...)
		}},
		{"a_transform_of_the_whole_batch", func(t *testing.T, l *lab) {
			l.cfg.Transform = "SELECT DISTINCT * FROM source ORDER BY ALL"
			l.lines("1.json", one, two)
			l.run()
			l.wantRecords([]map[string]any{one, two})
		}},
		{"steps_and_columns_by_their_names", func(t *testing.T, l *lab) {
			var steps []silt.Step
			before := "source"
			for _, n := range names {
				if n == "source" {
					continue
				}
				steps = append(steps, silt.Step{Name: n, SQL: "SELECT *, " + quote(n) + " AS " + quote("as "+n) + " FROM " + quote(before)})
				before = n
				if len(steps) == 20 {
					break
				}
			}
			sql, err := silt.Steps(steps...)
			if err != nil {
				t.Fatal(err)
			}
			l.cfg.Transform = sql
			l.lines("1.json", one)
			l.run()
			want := maps.Clone(one)
			for _, s := range steps {
				want["as "+s.Name] = one[s.Name]
			}
			l.wantRecords([]map[string]any{want})
		}},
		{"flatten", func(t *testing.T, l *lab) {
			sep := `'";--`
			l.cfg.Flatten = []silt.Flatten{{Columns: []string{"*"}, Separator: sep}}
			a := map[string]any{"id": 1.0, "v": one}
			want := map[string]any{"id": 1.0}
			for n, v := range one {
				want["v"+sep+n] = v
			}
			for _, n := range names {
				a[n] = map[string]any{n: "x' OR 1=1 --"}
				want[n+sep+n] = "x' OR 1=1 --"
			}
			l.lines("1.json", a)
			l.run()
			l.wantRecords([]map[string]any{want})
		}},
		{"flatten_of_columns_by_their_names", func(t *testing.T, l *lab) {
			f := silt.Flatten{Prefix: new(string), Depth: 1}
			a, want := map[string]any{"id": 1.0}, map[string]any{"id": 1.0}
			for i, n := range names {
				f.Columns = append(f.Columns, n)
				a[n] = map[string]any{fmt.Sprint(`";`, i): n}
				want[fmt.Sprint(`";`, i)] = n
			}
			l.cfg.Flatten = []silt.Flatten{f}
			l.lines("1.json", a)
			l.run()
			l.wantRecords([]map[string]any{want})
		}},
		{"refs", func(t *testing.T, l *lab) {
			r := newLab(t)
			r.cfg.Lineage = none
			r.cfg.Target.Path = filepath.Join(r.dir, `t"'; DROP TABLE x; --`)
			r.lines("1.json", one, two)
			r.run()
			ref := `r"; DROP TABLE source; --`
			l.cfg.Refs = map[string]string{ref: r.cfg.Target.Path}
			l.cfg.Transform = "SELECT r.* EXCLUDE (_rescued_data) FROM source JOIN " + quote(ref) + " AS r ON r.id = source.k"
			l.lines("1.json", map[string]any{"k": 1}, map[string]any{"k": 2})
			l.run()
			l.wantRecords([]map[string]any{one, two})
		}},
		{"keys_of_a_merge", func(t *testing.T, l *lab) {
			l.cfg.Target.Write = "merge"
			for _, n := range names {
				l.cfg.Target.Merge.Keys = append(l.cfg.Target.Merge.Keys, schema.Path(n))
			}
			l.lines("1.json", one, two)
			l.run()
			other, same := record(3), maps.Clone(one)
			same["id"] = 10.0
			l.lines("2.json", other, same)
			s := l.run()
			l.wantRecords([]map[string]any{same, two, other})
			if s.Merge == nil || s.Merge.Updated != 1 || s.Merge.Inserted != 1 {
				t.Errorf("merge %+v", s.Merge)
			}
		}},
		{"partitions", func(t *testing.T, l *lab) {
			l.cfg.Target.PartitionBy = []string{`double"quote`, "--", `back\slash`, "../up", "a=b", "source", "😀", "*/", "x:y"}
			one, two := maps.Clone(one), maps.Clone(two)
			one["../up"], two["a=b"] = "../../../up", strings.Repeat("é%/=", 100)
			l.lines("1.json", one, two)
			l.run()
			for reader, rows := range l.read(l.cfg.Target.Path) {
				if reader != "duckdb" { // whose delta_scan has NULL in partition columns where columns are mapped
					conserved(t, rows, []map[string]any{one, two})
				}
			}
		}},
		{"expectations", func(t *testing.T, l *lab) {
			l.cfg.Target.Expect = map[string]silt.Expectation{}
			for _, n := range names {
				l.cfg.Target.Expect[n] = silt.Expectation{Check: quote(n) + " <> '" + strings.ReplaceAll(two[n].(string), "'", "''") + "'"}
			}
			l.lines("1.json", one, two)
			l.run()
			l.wantRecords([]map[string]any{one})
			q := l.quarantine()
			if len(q) != 1 || compact(t, decoded(t, q[0].Record)) != compact(t, two) {
				t.Fatalf("quarantine %+v", q)
			}
			if want := slices.Sorted(maps.Keys(l.cfg.Target.Expect)); !slices.Equal(q[0].Rules, want) {
				t.Errorf("rules %q\nwant  %q", q[0].Rules, want)
			}
		}},
		{"the_quarantine", func(t *testing.T, l *lab) {
			l.cfg.Target.Path = filepath.Join(l.dir, `t"'; DROP TABLE x; --`)
			var bad []string
			for _, n := range names {
				bad = append(bad, strings.TrimSuffix(compact(t, map[string]any{n: n}), "}"))
			}
			name := `a"'; DROP TABLE x; --.json`
			l.file(name, `{"id":1}`+"\n"+strings.Join(bad, "\n")+"\n")
			l.run()
			l.wantRecords([]map[string]any{{"id": 1}})
			slices.Sort(bad)
			for reader, rows := range l.read(l.cfg.Target.Path + "_quarantine") {
				var got []string
				for _, row := range rows {
					got = append(got, fmt.Sprint(row["record"]))
				}
				slices.Sort(got)
				if diff := cmp.Diff(bad, got); diff != "" {
					t.Errorf("%s: quarantine (-want +got):\n%s", reader, diff)
				}
			}
			if q := l.quarantine(); len(q) != len(bad) || filepath.Base(q[0].File) != name {
				t.Errorf("%d records in quarantine, of file %q", len(q), q[0].File)
			}
		}},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage = none
			way.run(t, l)
			if _, err := os.Stat(filepath.Join(dir, witness)); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("a name or a value was run as SQL: %v", err)
			}
		})
	}
}

func decoded(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
