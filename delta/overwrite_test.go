package delta_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

func TestReplace(t *testing.T) {
	below := delta.Compare{Column: []string{"id"}, Op: delta.Less, Value: 3}
	replace := func(t *testing.T, store objstore.Store, s *delta.Snapshot, where delta.Predicate, texts ...string) (*delta.Snapshot, error) {
		t.Helper()
		tx := s.Begin("WRITE")
		if _, err := tx.Replace(t.Context(), where, delta.ChangeOptions{}); err != nil {
			return nil, err
		}
		w, err := delta.NewDataWriter(t.Context(), store, tx.WriteContext(), delta.DataWriterOptions{Where: where})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(t.Context(), record(t, s.Schema(), texts...)); err != nil {
			return nil, err
		}
		adds, err := w.Close(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tx.Add(adds...)
		return tx.Commit(t.Context(), nil)
	}
	for name, properties := range map[string]map[string]string{"with_deletion_vectors": withVectors, "by_rewriting": nil} {
		t.Run("of_some_rows_"+name, func(t *testing.T) {
			store := new(objstore.Mem)
			s, err := replace(t, store, numbered(t, store, properties, 2, 2), below, `{"id":-7}`)
			if err != nil {
				t.Fatal(err)
			}
			got := rows(t, s)
			if strings.Join(got, " ") != `{"id":3} {"id":-7}` {
				t.Errorf("got %v", got)
			}
			h, err := delta.History(t.Context(), store, 1)
			if p := h[0].Parameters(); err != nil || *p["mode"] != "Overwrite" || *p["predicate"] != `["id < 3"]` {
				t.Errorf("got %+v, %v", h, err)
			}
		})
	}
	t.Run("tells_its_changes", func(t *testing.T) {
		store := new(objstore.Mem)
		s, err := replace(t, store, numbered(t, store, map[string]string{"delta.enableChangeDataFeed": "true"}, 2, 2), below, `{"id":-7}`)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for rec, err := range s.Changes(t.Context(), s.Version(), s.Version()) {
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range idsOf(rec) {
				got = append(got, fmt.Sprint(rec.Column(1).ValueStr(i), " ", id))
			}
		}
		slices.Sort(got)
		if strings.Join(got, ", ") != "delete 0, delete 1, delete 2, insert -7" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("of_all_rows", func(t *testing.T) {
		store := new(objstore.Mem)
		s, err := replace(t, store, numbered(t, store, nil, 2, 2), nil, `{"id":9}`)
		if err != nil {
			t.Fatal(err)
		}
		wantRows(t, s, `{"id":9}`)
	})
	t.Run("takes_no_rows_that_are_not_of_it", func(t *testing.T) {
		store := new(objstore.Mem)
		_, err := replace(t, store, numbered(t, store, nil, 2, 2), below, `{"id":1}`, `{"id":4}`)
		var broken *delta.ConstraintError
		if !errors.As(err, &broken) || !strings.Contains(err.Error(), "(id < 3) is violated by a row with id = 4") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("with_another_schema_and_partitioning", func(t *testing.T) {
		for _, mode := range []string{"none", "name", "id"} {
			dir := t.TempDir()
			store := objstore.NewDir(dir)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, p STRING"), Properties: map[string]string{"delta.columnMapping.mode": mode}}, `{"id":1,"p":"x"}`)
			tx := s.Begin("WRITE")
			next := ddl(t, "p BIGINT, id STRING")
			if err := tx.ReplaceSchema(next, "p"); err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Replace(t.Context(), nil, delta.ChangeOptions{}); err != nil {
				t.Fatal(err)
			}
			appendRows(t, store, tx, record(t, next, `{"p":5,"id":"a"}`))
			s = commit(t, tx)
			wantRows(t, s, `{"id":"a","p":5}`)
			wantRows(t, loadAt(t, store, 0), `{"id":1,"p":"x"}`)
			if p := s.Metadata().PartitionColumns; len(p) != 1 || p[0] != "p" {
				t.Errorf("got partition columns %v", p)
			}
		}
	})
	t.Run("of_the_schema_needs_that_of_all_rows", func(t *testing.T) {
		s := numbered(t, new(objstore.Mem), nil, 1, 2)
		tx := s.Begin("WRITE")
		if err := tx.ReplaceSchema(ddl(t, "x BIGINT")); err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Commit(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "stays") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("does_not_take_rows_of_others_away_unseen", func(t *testing.T) {
		store := new(objstore.Mem)
		s := numbered(t, store, map[string]string{"delta.isolationLevel": "Serializable"}, 1, 2)
		tx := s.Begin("WRITE")
		if _, err := tx.Replace(t.Context(), nil, delta.ChangeOptions{}); err != nil {
			t.Fatal(err)
		}
		other := s.Begin("WRITE")
		appendRows(t, store, other, record(t, s.Schema(), `{"id":5}`))
		commit(t, other)
		wantConflict(t, tx, delta.ConcurrentAppend)
	})
}
