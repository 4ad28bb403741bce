package delta_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

var withVectors = map[string]string{"delta.enableDeletionVectors": "true"}

// numbered makes a table with files of n rows each, whose ids go on from file to file.
func numbered(t *testing.T, store objstore.Store, properties map[string]string, files, n int) *delta.Snapshot {
	t.Helper()
	s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT"), Properties: properties})
	for f := range files {
		var texts []string
		for i := range n {
			texts = append(texts, fmt.Sprintf(`{"id":%d}`, f*n+i))
		}
		tx := s.Begin("WRITE")
		appendRows(t, store, tx, record(t, s.Schema(), texts...))
		s = commit(t, tx)
	}
	return s
}

func bitmap(rows ...uint64) *roaring64.Bitmap { return roaring64.BitmapOf(rows...) }

// filesOf returns the data files in the order of the log.
func filesOf(t *testing.T, s *delta.Snapshot) []*delta.Add {
	t.Helper()
	var out []*delta.Add
	for a, err := range s.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

func remove(t *testing.T, tx *delta.Transaction, file *delta.Add, rows *roaring64.Bitmap, want int64) {
	t.Helper()
	if n, err := tx.Delete(t.Context(), file, rows); err != nil || n != want {
		t.Fatalf("deleted %d, %v, want %d", n, err, want)
	}
}

func TestDelete(t *testing.T) {
	t.Run("few_rows_stand_in_the_log", func(t *testing.T) {
		store := new(objstore.Mem)
		s := numbered(t, store, withVectors, 1, 5)
		tx := s.Begin("DELETE")
		remove(t, tx, filesOf(t, s)[0], bitmap(1, 3), 2)
		s = commit(t, tx)
		wantRows(t, s, `{"id":0}`, `{"id":2}`, `{"id":4}`)
		dv := filesOf(t, s)[0].DeletionVector
		if dv.StorageType != "i" || dv.Cardinality != 2 || dv.Offset != nil {
			t.Errorf("got %+v", dv)
		}
		if stats := filesOf(t, s)[0].Stats; !strings.Contains(stats, `"numRecords":5`) || !strings.Contains(stats, `"tightBounds":false`) || !strings.Contains(stats, `"maxValues":{"id":4}`) {
			t.Errorf("got statistics %s", stats)
		}
	})
	t.Run("many_rows_of_many_files_go_into_one_file", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := numbered(t, store, withVectors, 3, 2000)
		tx := s.Begin("DELETE")
		var want []int
		for f, a := range filesOf(t, s) {
			gone := roaring64.New()
			for i := range uint64(2000) {
				if (i*7919)%5 == uint64(f) {
					gone.Add(i)
				} else {
					want = append(want, f*2000+int(i))
				}
			}
			remove(t, tx, a, gone, 400)
		}
		s = commit(t, tx)
		if got := rowIDs(t, s); !slices.Equal(got, want) {
			t.Errorf("got %d rows, want %d", len(got), len(want))
		}
		offsets := map[int32]bool{}
		for _, a := range filesOf(t, s) {
			if a.DeletionVector.StorageType != "u" || a.DeletionVector.PathOrInlineDV != filesOf(t, s)[0].DeletionVector.PathOrInlineDV {
				t.Errorf("got %+v, want all in one file", a.DeletionVector)
			}
			offsets[*a.DeletionVector.Offset] = true
		}
		if len(offsets) != 3 || !offsets[1] {
			t.Errorf("got offsets %v", offsets)
		}
		if r, err := s.Check(t.Context()); err != nil || len(r.Findings) > 0 {
			t.Errorf("check: %v, %v", r.Findings, err)
		}
	})
	t.Run("adds_to_what_is_deleted_already", func(t *testing.T) {
		store := new(objstore.Mem)
		s := numbered(t, store, withVectors, 1, 6)
		for _, rows := range []*roaring64.Bitmap{bitmap(0, 1), bitmap(1, 2)} {
			tx := s.Begin("DELETE")
			if _, err := tx.Delete(t.Context(), filesOf(t, s)[0], rows); err != nil {
				t.Fatal(err)
			}
			s = commit(t, tx)
		}
		wantRows(t, s, `{"id":3}`, `{"id":4}`, `{"id":5}`)
		if a := filesOf(t, s); len(a) != 1 || a[0].DeletionVector.Cardinality != 3 {
			t.Errorf("got %+v", a)
		}
		wantRows(t, loadAt(t, store, s.Version()-1), `{"id":2}`, `{"id":3}`, `{"id":4}`, `{"id":5}`)
	})
	t.Run("of_all_rows_removes_the_file", func(t *testing.T) {
		store := new(objstore.Mem)
		s := numbered(t, store, nil, 1, 3)
		tx := s.Begin("DELETE")
		remove(t, tx, filesOf(t, s)[0], bitmap(0, 1, 2), 3)
		if s = commit(t, tx); len(filesOf(t, s)) != 0 {
			t.Errorf("got files %v", filesOf(t, s))
		}
	})
	t.Run("of_no_row_changes_nothing", func(t *testing.T) {
		s := numbered(t, new(objstore.Mem), nil, 1, 3)
		tx := s.Begin("DELETE")
		remove(t, tx, filesOf(t, s)[0], bitmap(), 0)
		if s = commit(t, tx); len(filesOf(t, s)) != 1 || filesOf(t, s)[0].DeletionVector != nil {
			t.Errorf("got files %v", filesOf(t, s))
		}
	})
	for name, c := range map[string]struct {
		properties map[string]string
		rows       *roaring64.Bitmap
		want       string
	}{
		"needs_the_table_to_allow_it":  {nil, bitmap(1), "delta.enableDeletionVectors"},
		"of_a_row_that_is_not_there":   {withVectors, bitmap(3), "row 3 of a file of 3"},
		"an_append_only_table_is_safe": {map[string]string{"delta.enableDeletionVectors": "true", "delta.appendOnly": "true"}, bitmap(1), "append-only"},
	} {
		t.Run(name, func(t *testing.T) {
			s := numbered(t, new(objstore.Mem), c.properties, 1, 3)
			tx := s.Begin("DELETE")
			_, err := tx.Delete(t.Context(), filesOf(t, s)[0], c.rows)
			if err == nil {
				_, err = tx.Commit(t.Context(), nil)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	t.Run("two_of_one_file_contradict_each_other", func(t *testing.T) {
		store := new(objstore.Mem)
		s := numbered(t, store, withVectors, 1, 5)
		a, b := s.Begin("DELETE"), s.Begin("DELETE")
		remove(t, a, filesOf(t, s)[0], bitmap(0), 1)
		remove(t, b, filesOf(t, s)[0], bitmap(1), 1)
		commit(t, a)
		wantConflict(t, b, delta.ConcurrentDeleteDelete)
	})
	t.Run("of_other_files_are_rebased", func(t *testing.T) {
		store := new(objstore.Mem)
		s := numbered(t, store, withVectors, 2, 2)
		a, b := s.Begin("DELETE"), s.Begin("DELETE")
		remove(t, a, filesOf(t, s)[0], bitmap(0), 1)
		remove(t, b, filesOf(t, s)[1], bitmap(1), 1)
		commit(t, a)
		wantRows(t, commit(t, b), `{"id":1}`, `{"id":2}`)
	})
	t.Run("is_seen_through_a_checkpoint", func(t *testing.T) {
		store := new(objstore.Mem)
		s := numbered(t, store, withVectors, 2, 2)
		tx := s.Begin("DELETE")
		remove(t, tx, filesOf(t, s)[0], bitmap(0), 1)
		s = commit(t, tx)
		if err := s.WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantRows(t, load(t, store), rows(t, s)...)
	})
}

func loadAt(t *testing.T, store objstore.Store, version int64) *delta.Snapshot {
	t.Helper()
	s, err := delta.Load(t.Context(), store, delta.LoadOptions{Version: &version})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantConflict(t *testing.T, tx *delta.Transaction, kind delta.ConflictKind) {
	t.Helper()
	_, err := tx.Commit(t.Context(), nil)
	var conflict *delta.ConflictError
	if !errors.As(err, &conflict) || conflict.Kind != kind {
		t.Errorf("got %v, want a conflict %s", err, kind)
	}
}

func TestReads(t *testing.T) {
	low := delta.Compare{Column: []string{"id"}, Op: delta.Less, Value: 2} // of the first of two files of two rows
	for _, c := range []struct {
		name       string
		properties map[string]string
		read       delta.Predicate
		other      func(t *testing.T, store objstore.Store, s *delta.Snapshot, tx *delta.Transaction)
		want       delta.ConflictKind // empty: none
	}{
		{"a_blind_append_is_taken_to_come_later", withVectors, nil, appendID(0), ""},
		{"a_blind_append_contradicts_when_serializable", map[string]string{"delta.enableDeletionVectors": "true", "delta.isolationLevel": "Serializable"}, low, appendID(0), delta.ConcurrentAppend},
		{"a_blind_append_of_other_rows_does_not", map[string]string{"delta.enableDeletionVectors": "true", "delta.isolationLevel": "Serializable"}, low, appendID(9), ""},
		{"rows_by_one_who_read_contradict", withVectors, low, readAndAppend(0), delta.ConcurrentAppend},
		{"other_rows_by_one_who_read_do_not", withVectors, low, readAndAppend(9), ""},
		{"a_file_that_was_read_is_changed", withVectors, low, deleteFirst(0), delta.ConcurrentDeleteRead},
		{"a_file_that_was_not_read_is_changed", withVectors, low, deleteFirst(1), ""},
		{"the_whole_table_was_read", withVectors, nil, deleteFirst(1), delta.ConcurrentDeleteRead},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := new(objstore.Mem)
			s := numbered(t, store, c.properties, 2, 2)
			tx, other := s.Begin("UPDATE"), s.Begin("WRITE")
			if err := tx.Read(c.read); err != nil {
				t.Fatal(err)
			}
			appendRows(t, store, tx, record(t, s.Schema(), `{"id":100}`))
			c.other(t, store, s, other)
			commit(t, other)
			if c.want != "" {
				wantConflict(t, tx, c.want)
				return
			}
			after := commit(t, tx)
			h, err := delta.History(t.Context(), store, 1)
			if err != nil || h[0].Version != after.Version() || *h[0].IsBlindAppend {
				t.Errorf("got history %+v, %v", h, err)
			}
		})
	}
}

func appendID(id int) func(*testing.T, objstore.Store, *delta.Snapshot, *delta.Transaction) {
	return func(t *testing.T, store objstore.Store, s *delta.Snapshot, tx *delta.Transaction) {
		appendRows(t, store, tx, record(t, s.Schema(), fmt.Sprintf(`{"id":%d}`, id)))
	}
}

func readAndAppend(id int) func(*testing.T, objstore.Store, *delta.Snapshot, *delta.Transaction) {
	return func(t *testing.T, store objstore.Store, s *delta.Snapshot, tx *delta.Transaction) {
		if err := tx.Read(nil); err != nil {
			t.Fatal(err)
		}
		appendID(id)(t, store, s, tx)
	}
}

func deleteFirst(file int) func(*testing.T, objstore.Store, *delta.Snapshot, *delta.Transaction) {
	return func(t *testing.T, _ objstore.Store, s *delta.Snapshot, tx *delta.Transaction) {
		remove(t, tx, filesOf(t, s)[file], bitmap(0), 1)
	}
}
