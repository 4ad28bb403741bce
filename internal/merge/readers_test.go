package merge_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/siltlake/silt/objstore"
)

// TestMergesAreReadByOthers makes the recorded histories, and wants deltalake and DuckDB to read the rows that
// Spark made.
func TestMergesAreReadByOthers(t *testing.T) {
	python := os.Getenv("SILT_PYTHON")
	if python == "" {
		t.Skip("SILT_PYTHON is not set: a Python with deltalake, duckdb and duckdb-extension-delta; make test sets it up")
	}
	dir := t.TempDir()
	args := []string{filepath.Join("..", "..", "delta", "testdata", "read.py")}
	want := map[string][]row{}
	unread := map[string][]string{} // columns in which DuckDB's delta_scan has NULL: of partitions, under column mapping
	for _, h := range recordedHistories(t) {
		if h.needsSQL() && engine == nil {
			continue
		}
		path := filepath.Join(dir, h.Name)
		x := h.create(t, objstore.NewDir(path))
		for _, s := range h.Steps {
			s.make(x)
		}
		args = append(args, path)
		want[path] = h.Steps[len(h.Steps)-1].Spark.Rows
		if h.Properties["delta.columnMapping.mode"] != "" {
			unread[path] = h.PartitionBy
		}
	}
	cmd := exec.CommandContext(t.Context(), python, args...)
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]int{}
	for line := range bytes.Lines(said) {
		var x struct {
			Path, Reader, Refuses, Error string
			Rows                         []map[string]any
		}
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatal(err)
		}
		name := x.Reader + ", " + filepath.Base(x.Path)
		switch {
		case x.Error != "":
			t.Errorf("%s: %s", name, x.Error)
			continue
		case x.Refuses != "": // what it cannot read in tables of its own either
			t.Logf("%s refuses: %.200s", name, x.Refuses)
			continue
		}
		var got []row
		for _, r := range x.Rows {
			got = append(got, fromSpark(r).(map[string]any))
		}
		want := want[x.Path]
		if x.Reader == "duckdb" {
			got, want = without(got, unread[x.Path]), without(want, unread[x.Path])
		}
		if got, want := texts(got), texts(want); got != want {
			t.Errorf("%s reads\n%s\nwant\n%s", name, got, want)
		}
		read[x.Reader]++
	}
	t.Log(read)
	if read["duckdb"] != len(want) || read["deltalake"] < len(want)/2 {
		t.Errorf("of %d tables they read %v", len(want), read)
	}
}

// without leaves columns out.
func without(rows []row, columns []string) []row {
	out := make([]row, len(rows))
	for i, r := range rows {
		out[i] = maps.Clone(r)
		for _, c := range columns {
			delete(out[i], c)
		}
	}
	return out
}
