package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestTargetKills kills runs into three tables, one of which is merged, before, between and after the commits
// of a batch, and wants each row once in each of them.
func TestTargetKills(t *testing.T) {
	if os.Getenv("SILT_PYTHON") == "" {
		t.Skip("left out: SILT_PYTHON is not set; make test sets it")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newWorld(t, rand.New(rand.NewPCG(seed, 0)))
	write(t, filepath.Join(w.dir, "silt.yml"), []byte(`version: 1
pipelines:
  kills:
    source: `+w.source+`
    options: { maxFilesPerTrigger: 3 }
    targets:
      - table: main.kills.t
      - table: main.kills.lines
        transform: select line, file from source
      - table: main.kills.files
        transform: select file, line from source
        write: merge
        merge: { keys: [file], sequenceBy: line }
`))
	silt := func(at string) result {
		cmd := siltCommand(t, w.dir, "run", "--json")
		cmd.Env = append(cmd.Env, "SILT_CRASH_AT="+at)
		return run(t, cmd)
	}
	w.arrive(5) // one of them has a bad record, so that the quarantine is committed to, too
	for _, point := range []string{"after-staged", "after-changes", "before-commit", "before-commit:2", "before-commit:3", "before-commit:4",
		"after-commit", "after-commit:2", "after-commit:3", "after-commit:4", "after-merge", "after-merge:2", "before-commits", "after-commits"} {
		killed := false
		for range 5 {
			w.arrive(5)
			r := silt(point)
			if killed = r.code == -1; killed {
				break
			}
			if r.code != 0 {
				t.Fatalf("a run that was to die at %s: %v", point, r)
			}
		}
		if !killed {
			t.Errorf("no run was killed at %s", point)
		}
	}
	if r := silt(""); r.code != 0 {
		t.Fatalf("the last run: %v", r)
	}
	w.compare()
	last := map[string]int{}
	for _, text := range w.rows {
		var row struct {
			File string `json:"file"`
			Line int    `json:"line"`
		}
		if err := json.Unmarshal([]byte(text), &row); err != nil {
			t.Fatal(err)
		}
		last[row.File] = max(last[row.File], row.Line)
	}
	var files []string
	for _, name := range slices.Sorted(maps.Keys(last)) {
		files = append(files, fmt.Sprintf(`{"file": "%s", "line": %d}`, name, last[name]))
	}
	for _, reader := range readers {
		sameLines(t, "lines, by "+reader, rows(t, lake(w.dir, "main.kills.lines"), "--reader", reader, "--columns", "file,line"), lines(w.rows))
		sameLines(t, "files, by "+reader, rows(t, lake(w.dir, "main.kills.files"), "--reader", reader, "--columns", "file,line"), lines(files))
	}
}

// TestOverwriteKills kills runs whose rows come in the place of all others before and after their commits, and
// wants the rows of the last run that found files, and no others.
func TestOverwriteKills(t *testing.T) {
	if os.Getenv("SILT_PYTHON") == "" {
		t.Skip("left out: SILT_PYTHON is not set; make test sets it")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newWorld(t, rand.New(rand.NewPCG(seed, 0)))
	silt := func(at string) result {
		cmd := siltCommand(t, w.dir, "load", w.source, "main.kills.t", "--json", "--option", "write.mode=overwrite")
		cmd.Env = append(cmd.Env, "SILT_CRASH_AT="+at)
		return run(t, cmd)
	}
	w.arrive(2)
	if r := silt(""); r.code != 0 {
		t.Fatalf("the first run: %v", r)
	}
	for _, point := range []string{"before-staged", "after-staged", "before-commit", "after-commit", "before-commits"} {
		w.rows = nil
		w.arrive(2)
		if r := silt(point); r.code != -1 {
			t.Fatalf("a run that was to die at %s: %v", point, r)
		}
		if r := silt(""); r.code != 0 {
			t.Fatalf("a run after a kill at %s: %v", point, r)
		}
		slices.Sort(w.rows)
		for _, reader := range readers {
			sameLines(t, "rows after a kill at "+point+", by "+reader, rows(t, lake(w.dir, "main.kills.t"), "--reader", reader, "--columns", "file,line"), lines(w.rows))
		}
	}
}
