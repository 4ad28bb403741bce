package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/internal/telemetry"
)

// TestSameRows loads the same files in different ways.
func TestSameRows(t *testing.T) {
	source := filepath.Join(t.TempDir(), "in")
	generate(t, source, telemetry.Options{Records: 600, Files: 30, Seed: 21, Evolve: true, Widen: true, Dirty: 3})
	names, err := filepath.Glob(filepath.Join(source, "*"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	load(t, dir, source, "main.same.plain")
	want, wantAside := content(t, lake(dir, "main.same.plain"))
	if n := strings.Count(want, "\n") + strings.Count(wantAside, "\n"); n < 600 {
		t.Fatalf("only %d rows and quarantined records", n)
	}
	same := func(t *testing.T, dir, table string) {
		t.Helper()
		got, gotAside := content(t, lake(dir, table))
		sameLines(t, "rows", got, want)
		sameLines(t, "quarantine", gotAside, wantAside)
	}

	for _, files := range []int{1, 3, 7, 1000} {
		t.Run(fmt.Sprintf("in_batches_of_%d", files), func(t *testing.T) {
			dir := t.TempDir()
			s := load(t, dir, source, "main.same.t", "--option", fmt.Sprint("maxFilesPerTrigger=", files))
			if n := (len(names) + files - 1) / files; s.Batches != n {
				t.Errorf("got %d batches, want %d", s.Batches, n)
			}
			same(t, dir, "main.same.t")
		})
	}
	for workers := 1; workers <= 4; workers++ {
		t.Run(fmt.Sprintf("by_%d_workers", workers), func(t *testing.T) {
			dir := t.TempDir()
			load(t, dir, source, "main.same.t", "--workers", fmt.Sprint(workers))
			same(t, dir, "main.same.t")
		})
	}
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("in_another_order_of_arrival_%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			for i, n := range r.Perm(len(names)) {
				at := time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC)
				if err := os.Chtimes(names[i], at, at); err != nil {
					t.Fatal(err)
				}
			}
			dir := t.TempDir()
			load(t, dir, source, "main.same.t", "--option", "maxFilesPerTrigger=11")
			same(t, dir, "main.same.t")
		})
	}
	t.Run("loading_twice_changes_nothing", func(t *testing.T) {
		dir := t.TempDir()
		load(t, dir, source, "main.same.t")
		before := listing(t, filepath.Join(lake(dir, "main.same.t"), "_delta_log"))
		s := load(t, dir, source, "main.same.t")
		if s.Files.Found != 0 || s.Rows != 0 {
			t.Errorf("the second load did something: %+v", s)
		}
		if after := listing(t, filepath.Join(lake(dir, "main.same.t"), "_delta_log")); after != before {
			t.Errorf("the log was\n%s\nand is\n%s", before, after)
		}
		same(t, dir, "main.same.t")
	})
}

// content is all of a table, and of its quarantine.
func content(t testing.TB, table string) (all, aside string) {
	t.Helper()
	return rows(t, table), rows(t, table+"_quarantine", "--columns", "source_file,line,offset,length,reason,detail,record,record_bytes")
}

func sameLines(t testing.TB, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Errorf("%s: got %d, want %d; the first that differ:\ngot  %s\nwant %s", what, len(a)-1, len(b)-1, a[i], b[i])
			return
		}
	}
	t.Errorf("%s: got %d, want %d", what, len(a)-1, len(b)-1)
}

// listing is the names and sizes of the files in a folder.
func listing(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, e.Name(), info.Size())
	}
	return out.String()
}
