package merge_test

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
)

// TestNestedEvolution makes the same MERGE as Spark did, into the table that Spark had made, and wants the
// same table.
func TestNestedEvolution(t *testing.T) {
	dir := filepath.Join(cmp.Or(os.Getenv("SILT_TESTDATA"), "../../../shared"), "data/delta/spark-4.4.0-generated/merge_nested_evolution/delta")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("left out: no tables of Spark (%v); set SILT_TESTDATA", err)
	}
	x := &table{t: t, store: new(objstore.Mem), options: merge.Options{Workers: 2}}
	for _, pattern := range []string{"*.parquet", "_delta_log/*0.json", "_delta_log/*1.json"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			key, _ := filepath.Rel(dir, f)
			if _, err := objstore.PutBytes(t.Context(), x.store, filepath.ToSlash(key), text, objstore.Cond{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	source := ddl(t, "id BIGINT, s STRUCT<a: BIGINT, b: STRING>, l ARRAY<STRUCT<a: BIGINT, b: STRING>>, m MAP<STRING, STRUCT<a: BIGINT, b: STRING>>, extra STRING")
	counts := x.merge(merge.Spec{Keys: []string{"id"}}, changes(t, source,
		`{"id":2,"s":{"a":20,"b":"x"},"l":[{"a":20,"b":"x"}],"m":[{"key":"k","value":{"a":20,"b":"x"}}],"extra":"new2"}`+"\n"+
			`{"id":3,"s":{"a":30,"b":"y"},"l":[{"a":30,"b":"y"}],"m":[{"key":"k","value":{"a":30,"b":"y"}}],"extra":"new3"}`))

	spark := &table{t: t, store: objstore.NewDir(dir)}
	if got, want := x.rows(), spark.rows(); got != want {
		t.Errorf("rows\n%s\nwant\n%s", got, want)
	}
	if got, want := x.load().Schema().DDL(), spark.load().Schema().DDL(); got != want {
		t.Errorf("schema %s\nwant   %s", got, want)
	}
	history, err := delta.History(t.Context(), spark.store, 1)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := delta.History(t.Context(), x.store, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range history[0].Metrics() {
		if strings.HasSuffix(name, "Ms") || strings.Contains(name, "Bytes") || strings.HasPrefix(name, "numTargetFiles") {
			continue
		}
		if got := ours[0].Metrics()[name]; got == nil || *got != *want {
			b, _ := json.Marshal(got)
			t.Errorf("metric %s: %s, want %s", name, b, *want)
		}
	}
	if counts.Updated != 1 || counts.Inserted != 1 {
		t.Errorf("counts %+v", counts)
	}
}
