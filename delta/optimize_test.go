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
	"sync"
	"testing"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

func files(t *testing.T, s *delta.Snapshot) []*delta.Add {
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

// meanwhile does something once, before the first data file is written.
type meanwhile struct {
	objstore.Store
	once sync.Once
	do   func()
}

func (m *meanwhile) Create(ctx context.Context, key string) (objstore.Writer, error) {
	m.once.Do(m.do)
	return objstore.Create(ctx, m.Store, key)
}

func TestOptimize(t *testing.T) {
	t.Run("small_files_become_one_and_no_row_changes", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		_, m, err := grown(t, store, 10, map[string]string{"delta.appendOnly": "true"}).Optimize(t.Context(), delta.OptimizeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if m.NumRemovedFiles != 10 || m.NumAddedFiles != 1 || m.NumAddedBytes == 0 || m.NumRemovedBytes <= m.NumAddedBytes {
			t.Errorf("got %+v", m)
		}
		s := load(t, store)
		all := files(t, s)
		if len(all) != 1 || all[0].Size != m.NumAddedBytes || all[0].DataChange || !strings.Contains(all[0].Stats, `"numRecords":10`) {
			t.Errorf("got %+v", all)
		}
		if info, err := os.Stat(filepath.Join(dir, all[0].Path)); err != nil || info.Size() != all[0].Size {
			t.Errorf("got a file of %d bytes, %v, want %d", info.Size(), err, all[0].Size)
		}
		wantRows(t, s, ids(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)...)
		h := history(t, store)[0]
		if h.Operation != "OPTIMIZE" || h.IsolationLevel != "SnapshotIsolation" || string(h.OperationParameters["predicate"]) != `"[]"` ||
			string(h.OperationMetrics["numRemovedFiles"]) != `"10"` || string(h.OperationMetrics["p50FileSize"]) != fmt.Sprintf("%q", fmt.Sprint(all[0].Size)) {
			t.Errorf("got %s %s %s %s", h.Operation, h.IsolationLevel, h.OperationParameters, h.OperationMetrics)
		}
		if again, m, err := s.Optimize(t.Context(), delta.OptimizeOptions{}); err != nil || again.Version() != s.Version() || m.NumRemovedFiles != 0 {
			t.Errorf("optimized again: got version %d, %+v, %v", again.Version(), m, err)
		}
		if os.Getenv("SILT_PYTHON") != "" {
			readersSee(t, dir, rows(t, s)...)
		}
	})
	t.Run("partitions_and_the_texts_of_their_values_stay_apart", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		sc := ddl(t, "id BIGINT, p STRING, ts TIMESTAMP")
		s := newTable(t, store, delta.TableOptions{Schema: sc, PartitionBy: []string{"p", "ts"}})
		var want []string
		for i := range 3 {
			tx := s.Begin("WRITE")
			lines := []string{fmt.Sprintf(`{"id":%d,"p":"a/b","ts":"2024-01-01 00:00:00Z"}`, i), fmt.Sprintf(`{"id":%d,"p":null,"ts":null}`, 10+i)}
			appendRows(t, store, tx, record(t, sc, lines...))
			s = commit(t, tx)
		}
		// As another engine may write it.
		old := files(t, s)
		tx := s.Begin("WRITE")
		text := "2024-01-01 00:00:00"
		for _, a := range old[:2] {
			b := *a
			if a.PartitionValues["ts"] == nil {
				continue
			}
			b.PartitionValues = map[string]*string{"p": a.PartitionValues["p"], "ts": &text}
			tx.Add(&b)
		}
		s = commit(t, tx)
		want = sorted(rows(t, s))
		s, m, err := s.Optimize(t.Context(), delta.OptimizeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if m.NumAddedFiles != 2 || m.NumRemovedFiles != 5 {
			t.Errorf("got %+v: a file with values of another spelling has a partition of its own", m)
		}
		if got := sorted(rows(t, s)); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if os.Getenv("SILT_PYTHON") != "" {
			readersSee(t, dir, rows(t, s)...)
		}
	})
	t.Run("files_fill_up_to_the_target_and_larger_ones_stay", func(t *testing.T) {
		store := new(objstore.Mem)
		s := grown(t, store, 9, nil)
		size := files(t, s)[0].Size
		s, m, err := s.Optimize(t.Context(), delta.OptimizeOptions{TargetSize: 3*size + size/2})
		if err != nil || m.NumAddedFiles != 3 || m.NumRemovedFiles != 9 {
			t.Errorf("got %+v, %v, want three files for nine", m, err)
		}
		if _, m, err = s.Optimize(t.Context(), delta.OptimizeOptions{TargetSize: size / 2}); err != nil || m.NumRemovedFiles != 0 {
			t.Errorf("got %+v, %v, want nothing to do", m, err)
		}
	})
	t.Run("a_dry_run_writes_nothing", func(t *testing.T) {
		store := new(objstore.Mem)
		s, m, err := grown(t, store, 3, nil).Optimize(t.Context(), delta.OptimizeOptions{DryRun: true})
		if err != nil || m.NumRemovedFiles != 3 || m.NumAddedFiles != 0 || s.Version() != 2 || load(t, store).Version() != 2 {
			t.Errorf("got version %d, %+v, %v", s.Version(), m, err)
		}
	})
	t.Run("appends_of_others_are_no_conflict", func(t *testing.T) {
		store := &meanwhile{Store: new(objstore.Mem)}
		s := grown(t, store.Store, 3, nil)
		store.do = func() { commit(t, begin(t, store.Store, 3)) }
		loaded, err := delta.Load(t.Context(), store, delta.LoadOptions{})
		if err != nil || loaded.Version() != s.Version() {
			t.Fatal(err)
		}
		s, m, err := loaded.Optimize(t.Context(), delta.OptimizeOptions{})
		if err != nil || m.NumRemovedFiles != 3 || s.Version() != 4 {
			t.Fatalf("got %+v, %v", m, err)
		}
		if got := sorted(rows(t, load(t, store))); !slices.Equal(got, ids(0, 1, 2, 3)) {
			t.Errorf("got %v", got)
		}
	})
	t.Run("rows_that_others_delete_stay_deleted", func(t *testing.T) {
		sc := ddl(t, "id BIGINT, p STRING")
		store := &meanwhile{Store: new(objstore.Mem)}
		s := newTable(t, store.Store, delta.TableOptions{Schema: sc, PartitionBy: []string{"p"}})
		for i := range 3 {
			tx := s.Begin("WRITE")
			appendRows(t, store.Store, tx, record(t, sc, fmt.Sprintf(`{"id":%d,"p":"a"}`, i), fmt.Sprintf(`{"id":%d,"p":"b"}`, 10+i)))
			s = commit(t, tx)
		}
		var gone []string
		store.do = func() {
			tx := load(t, store.Store).Begin("DELETE")
			for _, a := range files(t, s) {
				if *a.PartitionValues["p"] == "b" && len(gone) == 0 {
					gone = append(gone, a.Path)
					tx.Remove(a.Remove(time.Now(), true))
				}
			}
			commit(t, tx)
		}
		s, m, err := load(t, store).Optimize(t.Context(), delta.OptimizeOptions{})
		if err != nil || m.NumRemovedFiles != 3 || m.NumAddedFiles != 1 {
			t.Fatalf("got %+v, %v, want the other partition packed", m, err)
		}
		if got := rows(t, s); len(got) != 5 {
			t.Errorf("got rows %v", got)
		}
		// What was made in vain is not left behind.
		n := 0
		for _, err := range store.List(t.Context(), "p=b/", "") {
			if n++; err != nil {
				t.Fatal(err)
			}
		}
		if n != 3 {
			t.Errorf("got %d files in the partition, want the three old ones", n)
		}
		// With nothing left to do there is a conflict.
		store = &meanwhile{Store: store.Store}
		s = load(t, store)
		for range 2 {
			tx := s.Begin("WRITE")
			appendRows(t, store.Store, tx, record(t, sc, `{"id":7,"p":"c"}`))
			s = commit(t, tx)
		}
		store.do = func() {
			tx := load(t, store.Store).Begin("DELETE")
			for _, a := range files(t, s) {
				tx.Remove(a.Remove(time.Now(), true))
			}
			commit(t, tx)
		}
		var conflict *delta.ConflictError
		if _, _, err := load(t, store).Optimize(t.Context(), delta.OptimizeOptions{}); !errors.As(err, &conflict) || conflict.Kind != delta.ConcurrentDeleteDelete {
			t.Errorf("got %v, want %s", err, delta.ConcurrentDeleteDelete)
		}
	})
	t.Run("a_lost_answer_doubles_nothing", func(t *testing.T) {
		store := &lossy{Store: new(objstore.Mem)}
		s := grown(t, store, 3, nil)
		store.fates = []fate{lost}
		if _, _, err := s.Optimize(t.Context(), delta.OptimizeOptions{}); err != nil {
			t.Fatal(err)
		}
		wantRows(t, load(t, store), ids(0, 1, 2)...)
	})
	t.Run("rows_that_are_tracked_keep_their_ids", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := grown(t, store, 3, map[string]string{"delta.enableRowTracking": "true"})
		rowIDs := func(s *delta.Snapshot) []string {
			var out []string
			for rec, err := range s.Scan(delta.ScanOptions{RowIDs: true}).Batches(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				n := int(rec.NumCols())
				for i := range int(rec.NumRows()) {
					out = append(out, rec.Column(0).ValueStr(i)+" "+rec.Column(n-2).ValueStr(i)+" "+rec.Column(n-1).ValueStr(i))
				}
			}
			slices.Sort(out)
			return out
		}
		want := rowIDs(s)
		for range 2 { // the second time the ids are in the files
			var err error
			if s, _, err = s.Optimize(t.Context(), delta.OptimizeOptions{}); err != nil {
				t.Fatal(err)
			}
			if got := rowIDs(s); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			s = appended(t, store, s, fmt.Sprintf(`{"id":%d}`, 100+s.Version()))
			want = rowIDs(s)
		}
		if tags := history(t, store)[1].Tags; string(tags["delta.rowTracking.preserved"]) != `"true"` {
			t.Errorf("got %v", tags)
		}
		a := files(t, s)
		if seen := *a[0].BaseRowID; len(a) != 2 || seen < 3 || strings.Contains(a[0].Stats, "row-id") {
			t.Errorf("got %+v", a[0])
		}
		readersSee(t, dir, rows(t, s)...)
	})
	t.Run("a_file_that_is_not_as_the_log_says_is_not_lost", func(t *testing.T) {
		store := new(objstore.Mem)
		s := grown(t, store, 2, nil)
		a := *files(t, s)[0]
		a.Stats = `{"numRecords":2}`
		tx := s.Begin("WRITE")
		tx.Add(&a)
		s = commit(t, tx)
		if _, _, err := s.Optimize(t.Context(), delta.OptimizeOptions{}); err == nil || !strings.Contains(err.Error(), "it has 1 rows, and the log says 2") {
			t.Errorf("got %v", err)
		}
	})
}

// TestOptimizeOfOthers packs the tables of Spark and compares all rows.
func TestOptimizeOfOthers(t *testing.T) {
	tables, _ := filepath.Glob(filepath.Join(testdata(t), "spark-4.4.0-generated", "*", "delta"))
	more, _ := filepath.Glob(filepath.Join(testdata(t), "dat-v0.0.3", "out", "reader_tests", "generated", "*", "delta"))
	for _, from := range append(tables, more...) {
		name := filepath.Base(filepath.Dir(from))
		t.Run(name, func(t *testing.T) {
			dir := copyTable(t, from)
			makeWritable(t, dir)
			s := load(t, objstore.NewDir(dir))
			want := sorted(rows(t, s))
			_, m, err := s.Optimize(t.Context(), delta.OptimizeOptions{})
			var unsupported *delta.UnsupportedError
			if errors.As(err, &unsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", m)
			s = load(t, objstore.NewDir(dir))
			if got := sorted(rows(t, s)); !slices.Equal(got, want) {
				t.Errorf("got\n%.2000s\nwant\n%.2000s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if os.Getenv("SILT_PYTHON") != "" && name != "column_mapping_id" && name != "variant" {
				readersSee(t, dir, rows(t, s)...)
			}
		})
	}
}

// Many small files become few.
func ExampleSnapshot_Optimize() {
	ctx := context.Background()
	s, err := delta.Load(ctx, objstore.NewDir("lake/events"), delta.LoadOptions{})
	if err != nil {
		log.Fatal(err)
	}
	s, m, err := s.Optimize(ctx, delta.OptimizeOptions{TargetSize: 256 << 20})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("version %d: %d files became %d\n", s.Version(), m.NumRemovedFiles, m.NumAddedFiles)
}
