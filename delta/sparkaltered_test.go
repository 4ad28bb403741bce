package delta_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// TestSparkGoesOn lets Spark read tables whose metadata, checkpoints and checksums are silt's, and change
// them: before each commit Spark compares the checksum with the table, and each of its own goes on from
// silt's. Then silt checks everything, every row and every checksum.
func TestSparkGoesOn(t *testing.T) {
	spark := sparkPython(t)
	tables := map[string]func(t *testing.T, dir string) *delta.Snapshot{
		"mapped_later": func(t *testing.T, dir string) *delta.Snapshot {
			store := objstore.NewDir(dir)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, p STRING, a STRING, s STRUCT<x: BIGINT, y: STRING>"), PartitionBy: []string{"p"}},
				`{"id":1,"p":"k","a":"one","s":{"x":1,"y":"a"}}`, `{"id":3,"p":"j","a":"three","s":{"x":3,"y":"c"}}`)
			s = altered(t)(s.SetProperties(t.Context(), map[string]string{"delta.columnMapping.mode": "name"}))
			s = altered(t)(s.RenameColumn(t.Context(), []string{"a"}, "b c"))
			s = altered(t)(s.RenameColumn(t.Context(), []string{"p"}, "part"))
			s = altered(t)(s.DropColumns(t.Context(), []string{"s", "y"}))
			s = altered(t)(s.AddColumns(t.Context(), delta.NewColumn{Path: []string{"s", "y"}, Type: schema.Long}))
			return appended(t, store, s, `{"id":2,"part":"k","b c":"two","s":{"x":2,"y":3}}`)
		},
		"widened": func(t *testing.T, dir string) *delta.Snapshot {
			store := objstore.NewDir(dir)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id INT, l ARRAY<SMALLINT>")}, `{"id":1,"l":[3]}`, `{"id":3,"l":null}`)
			s = altered(t)(s.SetProperties(t.Context(), map[string]string{"delta.enableTypeWidening": "true"}))
			s = altered(t)(s.ChangeColumn(t.Context(), []string{"id"}, delta.ColumnChange{Type: schema.Long}))
			s = altered(t)(s.ChangeColumn(t.Context(), []string{"l", "element"}, delta.ColumnChange{Type: schema.Integer}))
			return appended(t, store, s, `{"id":3000000000,"l":[70000]}`)
		},
		"tracked_later_and_optimized": func(t *testing.T, dir string) *delta.Snapshot {
			store := objstore.NewDir(dir)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT")}, ids(1, 2)...)
			s = appended(t, store, s, ids(3)...)
			s = altered(t)(s.SetProperties(t.Context(), map[string]string{"delta.enableRowTracking": "true", "delta.enableDeletionVectors": "true"}))
			s = appended(t, store, s, ids(4)...)
			s, _, err := s.Optimize(t.Context(), delta.OptimizeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"timed_later": func(t *testing.T, dir string) *delta.Snapshot {
			store := objstore.NewDir(dir)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT")}, ids(1, 3)...)
			s = altered(t)(s.SetProperties(t.Context(), map[string]string{"delta.enableInCommitTimestamps": "true"}))
			return appended(t, store, s, ids(2)...)
		},
	}
	for name, properties := range map[string]map[string]string{
		"checkpoint":                 {},
		"checkpoint_with_values":     {"delta.checkpoint.writeStatsAsStruct": "true"},
		"checkpoint_of_values_only":  {"delta.checkpoint.writeStatsAsStruct": "true", "delta.checkpoint.writeStatsAsJson": "false"},
		"sidecars":                   {"delta.checkpointPolicy": "v2"},
		"sidecars_of_values":         {"delta.checkpointPolicy": "v2", "delta.checkpoint.writeStatsAsStruct": "true", "delta.columnMapping.mode": "name"},
		"checkpoint_without_commits": {},
	} {
		tables[name] = func(t *testing.T, dir string) *delta.Snapshot {
			store := objstore.NewDir(dir)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, d DECIMAL(10,2), ts TIMESTAMP, day DATE, s STRUCT<x: STRING>"), Properties: properties},
				`{"id":1,"d":"1.25","ts":"2024-01-01 00:00:00.123456Z","day":"2024-02-29","s":{"x":"a"}}`, `{"id":3}`)
			for i := range 11 {
				s = appended(t, store, s, fmt.Sprintf(`{"id":%d}`, 10+i))
			}
			if name == "checkpoint_without_commits" {
				withoutCommits(t, dir, 10)
			}
			return s
		}
	}
	dir := t.TempDir()
	var jobs bytes.Buffer
	want := map[string][]string{}
	for name, table := range tables {
		path := filepath.Join(dir, name)
		want[name] = rows(t, table(t, path))
		row := map[string]any{"id": 101}
		if name == "mapped_later" {
			row["part"] = nil
		}
		line, _ := json.Marshal(map[string]any{"name": name, "path": path, "append": []any{row},
			"sql": []string{"DELETE FROM {t} WHERE id = 3", "UPDATE {t} SET id = 102 WHERE id = 101", "OPTIMIZE {t}"}})
		jobs.Write(append(line, '\n'))
	}
	for _, r := range askSpark(t, spark, dir, jobs.Bytes(), len(want)) {
		t.Run(r.Name+"/"+r.Stage, func(t *testing.T) {
			r.Reader = "Spark"
			if r.Error != "" {
				t.Fatal(r.Error)
			}
			if r.Stage == "read" {
				r.same(t, want[r.Name])
				return
			}
			s := load(t, objstore.NewDir(filepath.Join(dir, r.Name)))
			r.same(t, rows(t, s))
			check, err := s.CheckRows(t.Context())
			if err != nil || len(check.Findings) != 0 || !check.Checksum {
				t.Errorf("got %+v, %v", check, err)
			}
		})
	}
}
