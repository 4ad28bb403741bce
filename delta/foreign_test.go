package delta_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

func TestAppendToTablesOfOthers(t *testing.T) {
	refused := map[string]string{
		"identity_generated_default_check": "checkConstraints (property delta.constraints.late), generatedColumns (column day)",
	}
	tables, _ := filepath.Glob(filepath.Join(testdata(t), "spark-4.4.0-generated", "*"))
	for _, table := range tables {
		name := filepath.Base(table)
		t.Run(name, func(t *testing.T) {
			dir := copyTable(t, filepath.Join(table, "delta"))
			makeWritable(t, dir)
			store := objstore.NewDir(dir)
			s := load(t, store)
			tx := s.Begin("WRITE")
			wc := tx.WriteContext()
			if want, ok := refused[name]; ok {
				var unsupported *delta.UnsupportedError
				_, err := delta.NewDataWriter(t.Context(), store, wc, delta.DataWriterOptions{})
				if !errors.As(err, &unsupported) || strings.Join(unsupported.Features, ", ") != want {
					t.Errorf("got %v, want an UnsupportedError of %s", err, want)
				}
				return
			}
			before := rows(t, s)
			more := schema.NewStruct(schema.Nullable("silt_new", schema.NewStruct(schema.Nullable("x", schema.Long))))
			if err := tx.SetSchema(more); err != nil {
				t.Fatal(err)
			}
			appendRows(t, store, tx, record(t, more, `{"silt_new":{"x":1}}`))
			commit(t, tx)
			tx = load(t, store).Begin("WRITE")
			appendRows(t, store, tx, record(t, more, `{"silt_new":{"x":2}}`))
			after := commit(t, tx)
			want := rows(t, after)
			if len(want) != len(before)+2 {
				t.Errorf("got %d rows, want %d", len(want), len(before)+2)
			}
			if err := after.WriteCheckpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := rows(t, load(t, store))
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Error("from the checkpoint other rows are read")
			}
			t.Run("others_see_it", func(t *testing.T) {
				if name == "column_mapping_id" {
					t.Skip("DuckDB does not see partition values of tables that are mapped by id, silt's or Spark's")
				}
				readersSee(t, dir, want...)
			})
		})
	}
}

func makeWritable(t *testing.T, dir string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	})
}

// TestStatisticsOfOthers writes Spark's rows again and compares the statistics with Spark's. They differ
// where silt rounds the upper bound of a timestamp up.
func TestStatisticsOfOthers(t *testing.T) {
	dir := filepath.Join(testdata(t), "spark-4.4.0-generated", "stats_edge", "delta")
	disk := objstore.NewDir(dir)
	head, err := os.ReadFile(filepath.Join(dir, "_delta_log", "00000000000000000000.json"))
	if err != nil {
		t.Fatal(err)
	}
	for add, err := range load(t, disk).Files(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		t.Run(add.Path, func(t *testing.T) {
			store := new(objstore.Mem)
			line, _ := json.Marshal(map[string]any{"add": add})
			put(t, store, "_delta_log/00000000000000000000.json", append(slices.Clone(head), line...))
			content, _, err := objstore.ReadAll(t.Context(), disk, add.Path)
			if err != nil {
				t.Fatal(err)
			}
			put(t, store, add.Path, content)
			s := load(t, store)
			var recs []arrow.RecordBatch
			for rec, err := range s.Scan(delta.ScanOptions{}).Batches(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				recs = append(recs, rec)
			}
			adds, err := written(t, s.Begin("WRITE").WriteContext(), recs...)
			if err != nil {
				t.Fatal(err)
			}
			got, want := withoutUpperTimes(t, adds[0].Stats), withoutUpperTimes(t, add.Stats)
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// withoutUpperTimes returns statistics without the upper bounds of timestamps.
func withoutUpperTimes(t *testing.T, stats string) string {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(stats))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	delete(m["maxValues"].(map[string]any), "ts")
	delete(m["maxValues"].(map[string]any), "ntz")
	text, _ := json.Marshal(m)
	return canonical(t, string(text))
}

func put(t *testing.T, store objstore.Store, key string, content []byte) {
	t.Helper()
	if _, err := objstore.PutBytes(t.Context(), store, key, content, objstore.Cond{}); err != nil {
		t.Fatal(err)
	}
}
