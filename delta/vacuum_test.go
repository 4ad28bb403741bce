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
)

const week = 7 * 24 * time.Hour

// aged puts files into the folder whose last change was days ago.
func aged(t *testing.T, dir string, days int, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	age(t, dir, days, names...)
}

func age(t *testing.T, dir string, days int, names ...string) {
	t.Helper()
	when := time.Now().AddDate(0, 0, -days)
	for _, name := range names {
		if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
}

// ageAll makes every file of the folder days old.
func ageAll(t *testing.T, dir string, days int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			age(t, dir, days, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func keys(files []objstore.Object) []string {
	out := []string{}
	for _, f := range files {
		out = append(out, f.Key)
	}
	return out
}

// removed takes the file with the row out of the table, as of some days ago.
func removed(t *testing.T, s *delta.Snapshot, index, days int) (*delta.Snapshot, string) {
	t.Helper()
	var files []*delta.Add
	for a, err := range s.Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, a)
	}
	tx := s.Begin("DELETE")
	tx.Remove(files[index].Remove(time.Now().AddDate(0, 0, -days), true))
	return commit(t, tx), files[index].Path
}

func TestVacuum(t *testing.T) {
	table := func(t *testing.T) (string, *delta.Snapshot) {
		dir := t.TempDir()
		return dir, grown(t, objstore.NewDir(dir), 3, nil)
	}
	t.Run("deletes_what_left_the_table_before_the_retention_and_what_never_was_in_it", func(t *testing.T) {
		dir, s := table(t)
		s, old := removed(t, s, 0, 8)
		s, fresh := removed(t, s, 0, 6)
		ageAll(t, dir, 30)
		aged(t, dir, 8, "orphan.parquet", "p=1/orphan.parquet")
		aged(t, dir, 6, "staged.parquet")
		version := s.Version()
		r, err := s.Vacuum(t.Context(), delta.VacuumOptions{DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"orphan.parquet", "p=1/orphan.parquet", old}
		slices.Sort(want)
		if got := keys(r.Files); !slices.Equal(got, want) || r.Deleted != 0 || r.Bytes == 0 {
			t.Errorf("got %v, %d deleted, want to delete %v", got, r.Deleted, want)
		}
		if s = load(t, objstore.NewDir(dir)); s.Version() != version {
			t.Errorf("a dry run made version %d", s.Version())
		}
		if r, err = s.Vacuum(t.Context(), delta.VacuumOptions{}); err != nil || r.Deleted != 3 {
			t.Fatalf("got %d deleted, %v", r.Deleted, err)
		}
		for _, name := range want {
			if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		for _, name := range []string{fresh, "staged.parquet"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
		s = load(t, objstore.NewDir(dir))
		wantRows(t, s, ids(2)...)
		h := history(t, objstore.NewDir(dir))
		if h[1].Operation != "VACUUM START" || string(h[1].OperationMetrics["numFilesToDelete"]) != `"3"` || string(h[1].OperationParameters["defaultRetentionMillis"]) != "604800000" {
			t.Errorf("got %s %s %s", h[1].Operation, h[1].OperationParameters, h[1].OperationMetrics)
		}
		if h[0].Operation != "VACUUM END" || string(h[0].OperationParameters["status"]) != `"COMPLETED"` || string(h[0].OperationMetrics["numDeletedFiles"]) != `"3"` {
			t.Errorf("got %s %s %s", h[0].Operation, h[0].OperationParameters, h[0].OperationMetrics)
		}
		if os.Getenv("SILT_PYTHON") != "" {
			readersSee(t, dir, rows(t, s)...)
		}
	})
	t.Run("writes_nothing_when_there_is_nothing_to_delete", func(t *testing.T) {
		dir, s := table(t)
		ageAll(t, dir, 30)
		if r, err := s.Vacuum(t.Context(), delta.VacuumOptions{}); err != nil || len(r.Files) != 0 {
			t.Errorf("got %v, %v", keys(r.Files), err)
		}
		if v := load(t, objstore.NewDir(dir)).Version(); v != 2 {
			t.Errorf("got version %d", v)
		}
	})
	t.Run("leaves_hidden_files_and_other_tables_alone", func(t *testing.T) {
		dir := t.TempDir()
		s := newTable(t, objstore.NewDir(dir), delta.TableOptions{Schema: ddl(t, "id BIGINT, `_day` STRING"), PartitionBy: []string{"_day"}},
			`{"id":1,"_day":"mo"}`)
		newTable(t, objstore.NewDir(filepath.Join(dir, "inner")), delta.TableOptions{Schema: ddl(t, "id BIGINT")}, ids(1)...)
		aged(t, dir, 30, "_silt/load-1/offsets/0", "_silt/sources/x.parquet", ".x.parquet.crc", "_x.parquet", "a/.hidden/x.parquet", "_other=1/x.parquet",
			"inner/orphan.parquet", "a/_change_data/x.parquet", "_change_data/_x")
		aged(t, dir, 30, "_change_data/x.parquet", "_change_data/_day=mo/x.parquet", "_day=mo/x.parquet")
		r, err := s.Vacuum(t.Context(), delta.VacuumOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"_change_data/_day=mo/x.parquet", "_change_data/x.parquet", "_day=mo/x.parquet"}
		if got := keys(r.Files); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, name := range []string{"_silt/load-1/offsets/0", "_silt/sources/x.parquet", "inner/orphan.parquet"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
		wantRows(t, load(t, objstore.NewDir(filepath.Join(dir, "inner"))), ids(1)...)
	})
	t.Run("refuses_a_short_retention_unless_forced", func(t *testing.T) {
		dir, s := table(t)
		s, gone := removed(t, s, 0, 1)
		age(t, dir, 2, gone)
		for _, d := range []time.Duration{0, time.Hour, week - 1, -1} {
			var short *delta.RetentionError
			if _, err := s.Vacuum(t.Context(), delta.VacuumOptions{Retention: &d, DryRun: true}); !errors.As(err, &short) {
				t.Errorf("%s: got %v", d, err)
			}
		}
		var none time.Duration
		if r, err := s.Vacuum(t.Context(), delta.VacuumOptions{Retention: &none, Force: true}); err != nil || !slices.Equal(keys(r.Files), []string{gone}) {
			t.Errorf("got %v, %v, want %s", keys(r.Files), err, gone)
		}
		wantRows(t, load(t, objstore.NewDir(dir)), ids(1, 2)...)
	})
	t.Run("keeps_what_the_newest_version_needs_whatever_it_is_given", func(t *testing.T) {
		dir, s := table(t)
		before := s
		s, gone := removed(t, s, 0, 30)
		ageAll(t, dir, 60)
		if _, _, err := s.Restore(t.Context(), at(before.Version())); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Vacuum(t.Context(), delta.VacuumOptions{}); err != nil || len(r.Files) != 0 {
			t.Errorf("got %v, %v: %s is in the table again", keys(r.Files), err, gone)
		}
	})
	t.Run("finds_files_whose_paths_are_written_in_other_ways", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, p STRING"), PartitionBy: []string{"p"}}, `{"id":1,"p":"a b%/é:"}`)
		tx := s.Begin("WRITE")
		aged(t, dir, 30, "x/abs.parquet", "dot.parquet")
		tx.Add(&delta.Add{Path: "file://" + dir + "/x/abs.parquet", Size: 1, PartitionValues: map[string]*string{"p": nil}},
			&delta.Add{Path: "./dot.parquet", Size: 1, PartitionValues: map[string]*string{"p": nil}})
		s = commit(t, tx)
		ageAll(t, dir, 30)
		if r, err := s.Vacuum(t.Context(), delta.VacuumOptions{DryRun: true}); err != nil || len(r.Files) != 0 {
			t.Errorf("got %v, %v", keys(r.Files), err)
		}
	})
	t.Run("keeps_deletion_vectors", func(t *testing.T) {
		dir := copyTable(t, filepath.Join(testdata(t), "spark-4.4.0-generated", "dv_heavy", "delta"))
		makeWritable(t, dir)
		want := sorted(rows(t, load(t, objstore.NewDir(dir))))
		ageAll(t, dir, 1000)
		var none time.Duration
		r, err := load(t, objstore.NewDir(dir)).Vacuum(t.Context(), delta.VacuumOptions{Retention: &none, Force: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Deleted == 0 {
			t.Error("nothing was deleted")
		}
		if got := sorted(rows(t, load(t, objstore.NewDir(dir)))); !slices.Equal(got, want) {
			t.Errorf("got %d rows, want %d", len(got), len(want))
		}
	})
	t.Run("works_from_a_checkpoint", func(t *testing.T) {
		dir, s := table(t)
		s, _ = removed(t, s, 0, 1)
		if err := s.WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		ageAll(t, dir, 30)
		if r, err := load(t, objstore.NewDir(dir)).Vacuum(t.Context(), delta.VacuumOptions{}); err != nil || len(r.Files) != 0 {
			t.Errorf("got %v, %v: a tombstone is a day old", keys(r.Files), err)
		}
	})
	t.Run("refuses_features_that_are_not_known", func(t *testing.T) {
		dir, s := table(t)
		name := filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.json", s.Version()+1))
		if err := os.WriteFile(name, []byte(`{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["newThing"]}}`), 0o666); err != nil {
			t.Fatal(err)
		}
		var unsupported *delta.UnsupportedError
		if _, err := s.Vacuum(t.Context(), delta.VacuumOptions{DryRun: true}); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "newThing") {
			t.Errorf("got %v", err)
		}
	})
}

// What a vacuum would delete is known before.
func ExampleSnapshot_Vacuum() {
	ctx := context.Background()
	s, err := delta.Load(ctx, objstore.NewDir("lake/events"), delta.LoadOptions{})
	if err != nil {
		log.Fatal(err)
	}
	r, err := s.Vacuum(ctx, delta.VacuumOptions{DryRun: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range r.Files {
		fmt.Println(f.Key, f.Size)
	}
}
