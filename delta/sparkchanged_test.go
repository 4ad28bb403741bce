package delta_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// TestSparkAfterChanges lets Spark read tables whose rows silt has deleted, updated and replaced, by
// deletion vectors and by rewriting, with a feed of changes, row ids, numbers and constraints; then Spark
// changes them, and silt reads on.
func TestSparkAfterChanges(t *testing.T) {
	spark := sparkPython(t)
	small := delta.Compare{Column: []string{"id"}, Op: delta.Less, Value: 500}
	change := func(t *testing.T, s *delta.Snapshot) *delta.Snapshot {
		s, _, err := s.DeleteRows(t.Context(), delta.And{small, delta.Compare{Column: []string{"n"}, Value: 1}}, delta.ChangeOptions{})
		if err == nil {
			s, _, err = s.UpdateRows(t.Context(), delta.And{small, delta.Compare{Column: []string{"n"}, Value: 2}}, []delta.Assignment{{Column: "n", Value: 20}}, delta.ChangeOptions{})
		}
		if err == nil {
			s, _, err = s.DeleteRows(t.Context(), delta.Compare{Column: []string{"id"}, Value: 1000}, delta.ChangeOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	many := func(t *testing.T, dir string, o delta.TableOptions) *delta.Snapshot {
		store := objstore.NewDir(dir)
		o.Schema = ddl(t, "id BIGINT, n BIGINT, p STRING")
		var texts []string
		for i := range 1000 {
			texts = append(texts, fmt.Sprintf(`{"id":%d,"n":%d,"p":"%c"}`, i, (i*i)%7, 'a'+i%3))
		}
		return appended(t, store, newTable(t, store, o, texts...), `{"id":1000,"n":5,"p":"a"}`)
	}
	on := func(keys ...string) map[string]string {
		out := map[string]string{}
		for _, k := range keys {
			out[k] = "true"
		}
		return out
	}
	vectors, feed, tracked := "delta.enableDeletionVectors", "delta.enableChangeDataFeed", "delta.enableRowTracking"
	mapped := on(vectors, feed, tracked)
	mapped["delta.columnMapping.mode"] = "name"
	tables := map[string]delta.TableOptions{
		"rewritten": {Properties: on(feed)}, "vectors": {Properties: on(vectors)}, "vectors_in_partitions": {Properties: on(vectors, feed), PartitionBy: []string{"p"}},
		"tracked": {Properties: on(tracked)}, "tracked_vectors": {Properties: on(tracked, vectors)}, "mapped": {Properties: mapped},
	}
	dir := t.TempDir()
	var jobs bytes.Buffer
	want := map[string][]string{}
	job := func(name string, s *delta.Snapshot, row map[string]any, sql ...string) {
		want[name] = rows(t, s)
		line, _ := json.Marshal(map[string]any{"name": name, "path": filepath.Join(dir, name), "append": []any{row}, "sql": sql})
		jobs.Write(append(line, '\n'))
	}
	for name, o := range tables {
		job(name, change(t, many(t, filepath.Join(dir, name), o)), map[string]any{"id": 2000, "n": 3, "p": "b"},
			"DELETE FROM {t} WHERE n = 3 AND id < 900", "UPDATE {t} SET n = 40 WHERE n = 4", "OPTIMIZE {t}")
	}
	ruled := filepath.Join(dir, "ruled")
	store := objstore.NewDir(ruled)
	s := newTable(t, store, delta.TableOptions{Properties: map[string]string{"delta.constraints.pos": "a > 0"},
		Schema: ddl(t, "a BIGINT, i BIGINT GENERATED ALWAYS AS IDENTITY (START WITH 5 INCREMENT BY 2), g BIGINT GENERATED ALWAYS AS (a * 2), d STRING DEFAULT 'x'")})
	s, err := insert(t, store, s, smallSQL{}, "a BIGINT", []string{`{"a":1}`, `{"a":2}`})
	if err != nil {
		t.Fatal(err)
	}
	job("ruled", s, map[string]any{"a": 3}, "UPDATE {t} SET a = 10 WHERE a = 1")
	replaced := filepath.Join(dir, "replaced")
	store = objstore.NewDir(replaced)
	s = newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, p STRING")}, `{"id":1,"p":"x"}`)
	tx := s.Begin("WRITE")
	next := ddl(t, "p BIGINT, id STRING")
	if err := tx.ReplaceSchema(next, "p"); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Replace(t.Context(), nil, delta.ChangeOptions{}); err != nil {
		t.Fatal(err)
	}
	appendRows(t, store, tx, record(t, next, `{"p":5,"id":"a"}`))
	job("replaced", commit(t, tx), map[string]any{"p": 6, "id": "b"})

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
			if check, err := s.CheckRows(t.Context()); err != nil || len(check.Findings) != 0 {
				t.Errorf("got %+v, %v", check, err)
			}
		})
	}
}
