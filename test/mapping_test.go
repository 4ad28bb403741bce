package test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMappedColumns loads into a table whose columns have made-up names in data files, while its schema grows
// in a batch of several tasks and, after a kill, while the batch is staged; DuckDB must find all values.
func TestMappedColumns(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "in")
	silt := func(at, hints string) result {
		write(t, filepath.Join(dir, "silt.yml"), []byte(`version: 1
pipelines:
  mapped:
    source: `+source+`
    options: { schemaHints: "`+hints+`" }
    target: { table: main.mapped.t, properties: { delta.columnMapping.mode: name } }
`))
		cmd := siltCommand(t, dir, "run", "--json", "--workers", "2")
		cmd.Env = append(cmd.Env, "SILT_CRASH_AT="+at)
		return run(t, cmd)
	}
	var want []string
	file := func(name, record string, n int) {
		pad := ""
		if n > 1 {
			pad = strings.Repeat("x", 60<<10)
		}
		write(t, filepath.Join(source, name), []byte(strings.Repeat(strings.TrimSuffix(record, "}")+`,"pad":"`+pad+`"}`+"\n", n)))
		for range n {
			want = append(want, strings.NewReplacer(":", ": ", ",", ", ").Replace(record))
		}
	}
	file("0.json", `{"id":0}`, 1)
	if r := silt("", "id bigint"); r.code != 0 {
		t.Fatal(r)
	}
	for i, record := range []string{`{"hinted":1,"id":1}`, `{"id":2,"o":{"a":1}}`} {
		file(fmt.Sprintf("big/%d.json", i), record, 80)
	}
	if r := silt("", "hinted bigint"); r.code != 0 {
		t.Fatal(r)
	}
	file("3.json", `{"id":3,"new":4}`, 1)
	if r := silt("after-staged", "hinted bigint"); r.code != -1 {
		t.Fatal(r)
	}
	if r := run(t, siltCommand(t, dir, "table", "add-column", "main.mapped.t", "new", "bigint")); r.code != 0 {
		t.Fatal(r)
	}
	if r := silt("", "hinted bigint"); r.code != 0 {
		t.Fatal(r)
	}
	slices.Sort(want)
	sameLines(t, "rows, by duckdb", rows(t, lake(dir, "main.mapped.t"), "--reader", "duckdb", "--columns", "hinted,id,new,o"), lines(want))
}
