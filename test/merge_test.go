package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/internal/crash"
)

// changing is a source whose records change rows of a table, and the rows that must come of it: of each
// key the record with the greatest sequence.
type changing struct {
	t           *testing.T
	rand        *rand.Rand
	dir, source string
	files, seq  int
	last        map[int]int // sequence by key
	rows        map[int]map[string]any
	keyless     []string
	options     []string
	same        bool // no new fields: what one source knows and another does not keeps its value
}

func newChanging(t *testing.T, r *rand.Rand) *changing {
	w := &changing{t: t, rand: r, dir: t.TempDir(), source: filepath.Join(t.TempDir(), "in"), last: map[int]int{}, rows: map[int]map[string]any{}}
	if err := os.Mkdir(w.source, 0o777); err != nil {
		t.Fatal(err)
	}
	return w
}

// arrive brings files. Their records are in no order; some have new fields, and some no key.
func (w *changing) arrive(n int) {
	for range n {
		w.files++
		name := fmt.Sprintf("f%06d.json", w.files)
		var text strings.Builder
		for line := 1; line <= 1+w.rand.IntN(20); line++ {
			w.seq++
			id, seq := w.rand.IntN(60), w.seq+w.rand.IntN(200)*1000
			row := map[string]any{"id": id, "seq": seq, "in": map[string]any{"value": w.rand.IntN(1000)}}
			if w.files%3 == 0 && !w.same {
				row[fmt.Sprintf("new%d", w.files/3)] = map[string]any{"list": []any{map[string]any{"deep": line}}}
			}
			if w.files%5 == 0 && line == 2 {
				delete(row, "id")
				w.keyless = append(w.keyless, fmt.Sprintf(`{"line": %d, "reason": "key", "source_file": "file://%s"}`, line, filepath.Join(w.source, name)))
			} else if last, ok := w.last[id]; !ok || seq > last {
				w.last[id], w.rows[id] = seq, row
			}
			b, err := json.Marshal(row)
			if err != nil {
				w.t.Fatal(err)
			}
			text.Write(append(b, '\n'))
		}
		write(w.t, filepath.Join(w.dir, "arriving"), []byte(text.String()))
		if err := os.Rename(filepath.Join(w.dir, "arriving"), filepath.Join(w.source, name)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *changing) command(env ...string) *exec.Cmd {
	args := []string{"load", w.source, "main.merged.t", "--json", "--option", "maxFilesPerTrigger=3",
		"--option", "write.mode=merge", "--option", "write.keys=id", "--option", "write.sequenceBy=seq"}
	cmd := siltCommand(w.t, w.dir, append(args, w.options...)...)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// killAt lets a run kill itself at a point, if there is work enough for that.
func (w *changing) killAt(name string) {
	for range 3 {
		w.arrive(1 + w.rand.IntN(5))
		switch r := run(w.t, w.command("SILT_CRASH_AT="+name)); r.code {
		case -1:
			return
		case 0:
		default:
			w.t.Fatalf("a run that was to die at %s: %v", name, r)
		}
	}
	w.t.Errorf("no run was killed at %s", name)
}

// check runs to the end and compares. Rows with other ids are those of others.
func (w *changing) check() {
	t := w.t
	t.Helper()
	if s, r := tryLoad(t, w.command()); r.code != 0 {
		t.Fatalf("the last run: %v", r)
	} else if s.Files.Found != s.Files.Loaded {
		t.Errorf("the last run: %+v", s)
	}
	var want []string
	for _, id := range slices.Sorted(maps.Keys(w.rows)) {
		want = append(want, pythonJSON(t, w.rows[id]))
	}
	slices.Sort(want)
	slices.Sort(w.keyless)
	for _, reader := range readers {
		got := rows(t, lake(w.dir, "main.merged.t"), "--reader", reader, "--without", "ingestion_timestamp,source_file")
		var ours []string
		for line := range strings.Lines(got) {
			if !strings.Contains(line, `"id": -`) {
				ours = append(ours, strings.TrimSuffix(line, "\n"))
			}
		}
		sameLines(t, "rows, by "+reader, lines(ours), lines(want))
		sameLines(t, "quarantine, by "+reader, rows(t, lake(w.dir, "main.merged.t")+"_quarantine", "--reader", reader, "--columns", "source_file,line,reason"), lines(w.keyless))
	}
	if t.Failed() {
		t.FailNow()
	}
}

// pythonJSON is a value as Python writes it with sorted keys.
func pythonJSON(t *testing.T, v any) string {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, strconv.Quote(k)+": "+pythonJSON(t, v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, pythonJSON(t, x))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// TestMergeKills kills the binary at every crash point of a merge, while files keep arriving, and wants
// of each key the record with the greatest sequence, whatever order they came in.
func TestMergeKills(t *testing.T) {
	if os.Getenv("SILT_PYTHON") == "" {
		t.Skip("left out: SILT_PYTHON is not set; make test sets it")
	}
	for _, vectors := range []bool{false, true} {
		t.Run(fmt.Sprintf("deletion_vectors_%t", vectors), func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			w := newChanging(t, rand.New(rand.NewPCG(seed, 0)))
			if vectors {
				w.withProperty("delta.enableDeletionVectors")
			}
			w.arrive(3)
			for _, name := range crash.Points {
				if name != "after-metadata" && name != "after-new-schema" { // of the first run, and of no merge
					w.killAt(name)
				}
			}
			w.check()
		})
	}
}

// withProperty makes the table with a property that is true.
func (w *changing) withProperty(name string) {
	write(w.t, filepath.Join(w.dir, "silt.yml"), fmt.Appendf(nil, `version: 1
pipelines:
  merging:
    source: %s
    target: { table: main.merged.t, write: merge, merge: { keys: [id], sequenceBy: seq }, properties: { %s: "true" } }
    options: { maxFilesPerTrigger: 3 }
`, w.source, name))
	w.arrive(1)
	if r := run(w.t, siltCommand(w.t, w.dir, "run", "--json")); r.code != 0 {
		w.t.Fatalf("the first run: %v", r)
	}
}

// TestMergeLoaders lets loaders of two sources merge into one table at the same time, and others pack its
// files.
func TestMergeLoaders(t *testing.T) {
	if os.Getenv("SILT_PYTHON") == "" {
		t.Skip("left out: SILT_PYTHON is not set; make test sets it")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newChanging(t, rand.New(rand.NewPCG(seed, 0)))
	w.same = true
	w.arrive(3)
	if r := run(t, w.command()); r.code != 0 {
		t.Fatal(r)
	}
	w.arrive(30)
	other := *w // has the same keys, later sequences and other files
	other.source, other.keyless = filepath.Join(t.TempDir(), "other"), nil
	if err := os.Mkdir(other.source, 0o777); err != nil {
		t.Fatal(err)
	}
	other.arrive(30)
	done := make(chan result)
	for _, c := range []*changing{w, &other} {
		cmd := c.command()
		go func() { done <- quietly(cmd) }()
	}
	for left := 2; left > 0; {
		select {
		case r := <-done:
			if left--; r.code != 0 {
				t.Error(r)
			}
		default:
			if r := run(t, siltCommand(t, w.dir, "table", "optimize", "main.merged.t")); r.code != 0 && r.code != 6 {
				t.Error(r)
			}
		}
	}
	w.keyless = append(w.keyless, other.keyless...)
	w.check()
}

// TestMergeTogether merges while another writer appends to the table and packs its files.
func TestMergeTogether(t *testing.T) {
	if os.Getenv("SILT_PYTHON") == "" {
		t.Skip("left out: SILT_PYTHON is not set; make test sets it")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newChanging(t, rand.New(rand.NewPCG(seed, 0)))
	w.arrive(3)
	if r := run(t, w.command()); r.code != 0 {
		t.Fatal(r)
	}
	w.arrive(60)
	other := exec.Command(os.Getenv("SILT_PYTHON"), "oracle/append.py", lake(w.dir, "main.merged.t"))
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	other.Stdout, other.Stderr = &stdout, &stderr
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	w.check()
	in.Close()
	if err := other.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	n, err := strconv.Atoi(strings.TrimSpace(stdout.String()))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the other writer appended %d rows meanwhile", n)
	w.check()
	got := rows(t, lake(w.dir, "main.merged.t"), "--columns", "id")
	if others := strings.Count(got, `"id": -`); others != n {
		t.Errorf("%d rows of the other writer are there, want %d", others, n)
	}
}
