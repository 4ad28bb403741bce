package silt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/siltlake/silt"
)

// TestALongLife loads many batches, so that the checkpoint puts what it has seen into runs and removes
// the objects of old batches, and wants that nothing changes by that.
func TestALongLife(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	cfg := silt.Config{Source: in, Target: silt.Path(filepath.Join(dir, "t")), CheckpointLocation: filepath.Join(dir, "cp"),
		Options: map[string]string{"maxFilesPerTrigger": "1"}}
	const files = 135
	for i := range files {
		writeFile(t, filepath.Join(in, fmt.Sprintf("%03d.json", i)), fmt.Sprintf(`{"id":%d}`, i))
		if i%45 != 44 {
			continue
		}
		if s, err := runOnce(t, cfg); err != nil || s.Files.Loaded != 45 || len(s.Warnings) > 0 {
			t.Fatalf("got %+v, %v", s, err)
		}
		if s, err := runOnce(t, cfg); err != nil || s.Files.Found != 0 {
			t.Fatalf("again: %+v, %v", s, err)
		}
	}
	count := func(folder string) int {
		entries, err := os.ReadDir(filepath.Join(dir, "cp", folder))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if n := count("staged"); n > 110 {
		t.Errorf("there are the stages of %d batches", n)
	}
	// A run of 100 batches, three of ten, and their data.
	if n, m := count("seen"), count("seen/data"); n != 5 || m != 4 {
		t.Errorf("there are %d entries in seen, and %d in seen/data", n, m)
	}
	t.Run("runs_that_are_made_together_are_merged_too", func(t *testing.T) {
		cfg := cfg
		cfg.Target, cfg.CheckpointLocation = silt.Path(filepath.Join(dir, "t2")), filepath.Join(dir, "cp2")
		if s, err := runOnce(t, cfg); err != nil || s.Batches != files {
			t.Fatalf("got %+v, %v", s, err)
		}
		if s, err := runOnce(t, cfg); err != nil || s.Batches != 0 { // what is merged is so before a listing
			t.Fatalf("again: %+v, %v", s, err)
		}
		entries, err := os.ReadDir(filepath.Join(dir, "cp2", "seen"))
		if err != nil || len(entries) != 5 {
			t.Errorf("there are %v, %v", entries, err)
		}
	})
	t.Run("files_of_old_batches_are_still_listed", func(t *testing.T) {
		states, err := silt.States(t.Context(), cfg)
		if err != nil || len(states) != 1 {
			t.Fatalf("got %v, %v", states, err)
		}
		seen := map[string]bool{}
		for f, err := range states[0].Files(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[f.Path] || f.Status != "loaded" || f.Rows != 1 || f.CommitTime == nil || f.DiscoveryTime.IsZero() {
				t.Errorf("got %+v, there before: %v", f, seen[f.Path])
			}
			seen[f.Path] = true
		}
		if len(seen) != files {
			t.Errorf("%d files, want %d", len(seen), files)
		}
	})
	t.Run("a_file_of_an_old_batch_that_changed_is_told", func(t *testing.T) {
		writeFile(t, filepath.Join(in, "000.json"), `{"id":1000}`)
		s, err := runOnce(t, cfg)
		if err != nil || s.Files.Changed != 1 || s.Files.Found != 0 {
			t.Errorf("got %+v, %v", s, err)
		}
		cfg := cfg
		cfg.Options = map[string]string{"allowOverwrites": "true"}
		if s, err = runOnce(t, cfg); err != nil || s.Files.Loaded != 1 {
			t.Errorf("got %+v, %v", s, err)
		}
		if s, err = runOnce(t, cfg); err != nil || s.Files.Found != 0 {
			t.Errorf("again: %+v, %v", s, err)
		}
	})
	t.Run("a_plan_knows_them", func(t *testing.T) {
		p, err := silt.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if plan, err := p.Plan(t.Context(), silt.PlanOptions{}); err != nil || plan.Files.New != 0 {
			t.Errorf("got %+v, %v", plan, err)
		}
	})
}
