package delta_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// grown makes a table of n versions, each with the row of its number.
func grown(t *testing.T, store objstore.Store, n int, properties map[string]string) *delta.Snapshot {
	t.Helper()
	s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT"), Properties: properties}, ids(0)...)
	for id := 1; id < n; id++ {
		s = commit(t, begin(t, store, id))
	}
	return s
}

func at(version int64) delta.LoadOptions { return delta.LoadOptions{Version: &version} }

func history(t *testing.T, store objstore.Store) []delta.HistoryEntry {
	t.Helper()
	h, err := delta.History(t.Context(), store, 0)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRestore(t *testing.T) {
	t.Run("the_rows_and_the_schema_of_an_older_version_come_back", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		grown(t, store, 2, nil)
		tx := load(t, store).Begin("WRITE")
		if err := tx.SetSchema(ddl(t, "id BIGINT, more STRING")); err != nil {
			t.Fatal(err)
		}
		tx.SetTxn("loader", 7)
		appendRows(t, store, tx, record(t, tx.Schema(), `{"id":9,"more":"x"}`))
		s, m, err := commit(t, tx).Restore(t.Context(), at(1))
		if err != nil {
			t.Fatal(err)
		}
		if m.NumRemovedFiles != 1 || m.NumRestoredFiles != 0 || m.NumOfFilesAfterRestore != 2 || m.TableSizeAfterRestore == 0 {
			t.Errorf("got %+v", m)
		}
		wantRows(t, s, ids(0, 1)...)
		wantRows(t, load(t, store), ids(0, 1)...)
		if v, ok := s.TxnVersion("loader"); !ok || v != 7 {
			t.Errorf("got txn %d, %v, want 7: a loader does not load again", v, ok)
		}
		h := history(t, store)[0]
		if p := h.OperationParameters; h.Operation != "RESTORE" || string(p["version"]) != "1" || string(p["timestamp"]) != "null" {
			t.Errorf("got %s with %s", h.Operation, p)
		}
		s, m, err = s.Restore(t.Context(), at(2)) // and forward again
		if err != nil || m.NumRestoredFiles != 1 {
			t.Fatalf("got %+v, %v", m, err)
		}
		wantRows(t, s, `{"id":0,"more":null}`, `{"id":1,"more":null}`, `{"id":9,"more":"x"}`)
		if os.Getenv("SILT_PYTHON") != "" {
			readersSee(t, dir, rows(t, s)...)
		}
	})
	t.Run("of_a_time_is_to_the_version_that_was_there", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := grown(t, store, 3, nil)
		for v := range 3 {
			when := time.Date(2024, 1, 1+v, 0, 0, 0, 0, time.UTC)
			if err := os.Chtimes(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.json", v)), when, when); err != nil {
				t.Fatal(err)
			}
		}
		s, _, err := s.Restore(t.Context(), delta.LoadOptions{Timestamp: time.Date(2024, 1, 2, 12, 0, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		wantRows(t, s, ids(0, 1)...)
		if p := history(t, store)[0].OperationParameters; string(p["version"]) != "null" || string(p["timestamp"]) != `"2024-01-02T12:00:00Z"` {
			t.Errorf("got %s", p)
		}
	})
	t.Run("of_what_the_table_is_changes_nothing", func(t *testing.T) {
		store := new(objstore.Mem)
		s := grown(t, store, 2, nil)
		if s, m, err := s.Restore(t.Context(), at(1)); err != nil || s.Version() != 1 || m.NumRemovedFiles != 0 {
			t.Errorf("got version %d, %+v, %v", s.Version(), m, err)
		}
	})
	t.Run("needs_the_files_to_be_there", func(t *testing.T) {
		store := new(objstore.Mem)
		s := grown(t, store, 2, nil)
		tx := s.Begin("DELETE")
		var first string
		for a := range s.Files(t.Context()) {
			if first == "" {
				first = a.Path
			}
			tx.Remove(a.Remove(time.Now(), true))
		}
		s = commit(t, tx)
		if err := store.Delete(t.Context(), first, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
		var gone *delta.GoneError
		if _, _, err := s.Restore(t.Context(), at(1)); !errors.As(err, &gone) || !slices.Equal(gone.Paths, []string{first}) {
			t.Errorf("got %v, want that %s is gone", err, first)
		}
		if v := load(t, store).Version(); v != 2 {
			t.Errorf("got version %d: something was written", v)
		}
	})
	t.Run("fails_when_somebody_writes_meanwhile", func(t *testing.T) {
		store := new(objstore.Mem)
		s := grown(t, store, 2, nil)
		commit(t, begin(t, store, 2))
		var conflict *delta.ConflictError
		if _, _, err := s.Restore(t.Context(), at(0)); !errors.As(err, &conflict) || conflict.Kind != delta.ConcurrentWrite {
			t.Errorf("got %v, want %s", err, delta.ConcurrentWrite)
		}
		wantRows(t, load(t, store), ids(0, 1, 2)...)
	})
	t.Run("survives_a_lost_answer", func(t *testing.T) {
		store := &lossy{Store: new(objstore.Mem)}
		s := grown(t, store, 2, nil)
		store.fates = []fate{lost}
		s, _, err := s.Restore(t.Context(), at(0))
		if err != nil || s.Version() != 2 {
			t.Fatalf("got %v", err)
		}
		wantRows(t, load(t, store), ids(0)...)
	})
	t.Run("lowers_no_protocol_and_no_column_id", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT"), Properties: map[string]string{
			"delta.columnMapping.mode": "name", "delta.enableInCommitTimestamps": "true"}}, ids(0)...)
		tx := s.Begin("WRITE")
		if err := tx.SetSchema(ddl(t, "id BIGINT, n TIMESTAMP_NTZ")); err != nil {
			t.Fatal(err)
		}
		s, _, err := commit(t, tx).Restore(t.Context(), at(0))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(s.Protocol().ReaderFeatures, "timestampNtz") {
			t.Errorf("got protocol %+v", s.Protocol())
		}
		if c := s.Metadata().Configuration; c["delta.columnMapping.maxColumnId"] != "2" || c["delta.enableInCommitTimestamps"] != "true" {
			t.Errorf("got properties %v", c)
		}
		wantRows(t, load(t, store), ids(0)...)
	})
	t.Run("takes_from_an_append_only_table_nothing", func(t *testing.T) {
		store := new(objstore.Mem)
		s := grown(t, store, 2, map[string]string{"delta.appendOnly": "true"})
		if _, _, err := s.Restore(t.Context(), at(0)); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("brings_deletion_vectors_back", func(t *testing.T) {
		dir := copyTable(t, filepath.Join(testdata(t), "spark-4.4.0-generated", "dv_heavy", "delta"))
		makeWritable(t, dir)
		store := objstore.NewDir(dir)
		newest := load(t, store)
		for v := range newest.Version() {
			old, err := delta.Load(t.Context(), store, at(v))
			if err != nil {
				t.Fatal(err)
			}
			s, _, err := load(t, store).Restore(t.Context(), at(v))
			var gone *delta.GoneError
			if errors.As(err, &gone) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := sorted(rows(t, s)), sorted(rows(t, old)); !slices.Equal(got, want) {
				t.Errorf("version %d: got %d rows, want %d", v, len(got), len(want))
			}
		}
	})
}

func sorted(rows []string) []string { slices.Sort(rows); return rows }

// The last load was a mistake: the table becomes what it was before.
func ExampleSnapshot_Restore() {
	ctx := context.Background()
	store := new(objstore.Mem)
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: schema.NewStruct(schema.Nullable("id", schema.Long))})
	if err != nil {
		log.Fatal(err)
	}
	tx.Add(&delta.Add{Path: "good.parquet", DataChange: true})
	s, err := tx.Commit(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	tx = s.Begin("WRITE")
	tx.Add(&delta.Add{Path: "mistake.parquet", DataChange: true})
	if s, err = tx.Commit(ctx, nil); err != nil {
		log.Fatal(err)
	}
	before := s.Version() - 1
	s, m, err := s.Restore(ctx, delta.LoadOptions{Version: &before})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("version %d: %d files removed, %d left\n", s.Version(), m.NumRemovedFiles, m.NumOfFilesAfterRestore)
	// Output: version 2: 1 files removed, 1 left
}
