package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/siltlake/silt/internal/crash"
)

// TestKills kills the binary, at every named crash point and at random times, while files keep
// arriving; starts it again, and again; and wants every record in the table, or in quarantine, once.
func TestKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const perWorld = 24 // kills until a new table is begun, and the old one is checked
	fired := make(map[string]int)
	random := 0
	// One of the points is reached under onSchemaChange: fail alone, see TestAKillWhereARunStopsForTheSchema,
	// and two where rows are merged, see TestMergeKills.
	points := slices.DeleteFunc(slices.Clone(crash.Points), func(name string) bool {
		return slices.Contains([]string{"after-new-schema", "after-changes", "after-merge"}, name)
	})
	for done := 0; done < *kills; done += perWorld {
		w := newWorld(t, rand.New(rand.NewPCG(seed, uint64(done))))
		for n := range min(perWorld, *kills-done) {
			w.arrive(1 + w.rand.IntN(4))
			switch at := (done + n) / 3 * 2; {
			case n == 0: // reached in the first run of a checkpoint only
				w.killAt("after-metadata", fired)
			case (done+n)%3 == 2:
				random += w.killAnyTime()
			default:
				w.killAt(points[(at+(done+n)%3)%len(points)], fired)
			}
		}
		w.check()
	}
	t.Logf("killed at points %v and %d times at random", fired, random)
	for _, name := range points {
		if *kills >= 3*len(points) && fired[name] == 0 {
			t.Errorf("no run was to be killed at %s", name)
		}
	}
}

// TestAKillWhereARunStopsForTheSchema kills runs between the version of the schema that they stop for and
// the stop, and where they go on from there, and wants every record once.
func TestAKillWhereARunStopsForTheSchema(t *testing.T) {
	w := newWorld(t, rand.New(rand.NewPCG(1, 2)))
	write(t, filepath.Join(w.dir, "silt.yml"), []byte(`version: 1
pipelines:
  kills:
    source: `+w.source+`
    target: { table: main.kills.t }
    compat: autoloader
    onSchemaChange: fail
    onCorrupt: quarantine
    lineage: [source_file]
    options: { inferColumnTypes: true, mergeSchema: true, maxFilesPerTrigger: 3 }
`))
	silt := func(at string) result {
		cmd := siltCommand(t, w.dir, "run", "--json")
		cmd.Env = append(cmd.Env, "SILT_CRASH_AT="+at)
		return run(t, cmd)
	}
	const stopped = 4
	w.arrive(2)
	if r := silt(""); r.code != 0 {
		t.Fatalf("the first run: %v", r)
	}
	for _, point := range []string{"after-new-schema", "before-convert:2", "in-convert", "before-staged", "after-staged", "after-schema", "before-commit", "after-commit"} {
		w.arrive(3) // one of them has a new field
		for _, at := range []string{"after-new-schema", point} {
			if r := silt(at); r.code != -1 && at != point {
				t.Fatalf("a run that was to die at %s: %v", at, r)
			}
		}
		for n := 0; ; n++ {
			r := silt("")
			if r.code == 0 {
				break
			}
			if r.code != stopped || n > 3 {
				t.Fatalf("a run after a kill at %s: %v", point, r)
			}
		}
	}
	w.compare()
}

// world is a source, a table and what must be in it.
type world struct {
	t           *testing.T
	rand        *rand.Rand
	dir, source string
	files       int
	rows, bad   []string // of each record, and each line that is none, its file and number
	typical     time.Duration
}

func newWorld(t *testing.T, r *rand.Rand) *world {
	w := &world{t: t, rand: r, dir: t.TempDir(), source: filepath.Join(t.TempDir(), "in"), typical: 300 * time.Millisecond}
	if err := os.Mkdir(w.source, 0o777); err != nil {
		t.Fatal(err)
	}
	return w
}

// arrive brings files: each appears whole. Every third has a new field, every fifth a line that is no
// record.
func (w *world) arrive(n int) {
	for range n {
		w.files++
		name := fmt.Sprintf("f%06d.json", w.files)
		var text strings.Builder
		for line := 1; line <= 1+w.rand.IntN(20); line++ {
			if w.files%5 == 0 && line == 2 {
				fmt.Fprintf(&text, "{\"file\":\"%s\",\"line\":%d,\n", name, line)
				w.bad = append(w.bad, fmt.Sprintf(`{"line": %d, "source_file": "file://%s"}`, line, filepath.Join(w.source, name)))
				continue
			}
			fmt.Fprintf(&text, `{"file":"%s","line":%d,"in":{"value":%d}`, name, line, w.rand.IntN(1000))
			if w.files%3 == 0 {
				fmt.Fprintf(&text, `,"in%d":{"list":[{"deep":%d}]}`, w.files/3, line)
			}
			text.WriteString("}\n")
			w.rows = append(w.rows, fmt.Sprintf(`{"file": "%s", "line": %d}`, name, line))
		}
		write(w.t, filepath.Join(w.dir, "arriving"), []byte(text.String()))
		if err := os.Rename(filepath.Join(w.dir, "arriving"), filepath.Join(w.source, name)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) command(env ...string) *exec.Cmd {
	cmd := siltCommand(w.t, w.dir, "load", w.source, "main.kills.t", "--json", "--option", "maxFilesPerTrigger=3")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// killAt lets a run kill itself at a point: the first or the second time it gets there, if there is
// work enough for that.
func (w *world) killAt(name string, fired map[string]int) {
	for nth := 1 + w.rand.IntN(2); nth > 0; nth-- {
		switch r := run(w.t, w.command(fmt.Sprintf("SILT_CRASH_AT=%s:%d", name, nth))); r.code {
		case -1:
			fired[name]++
			return
		case 0:
			w.arrive(3) // one of them has a new field
		default:
			w.t.Fatalf("a run that was to die at %s: %v", name, r)
		}
	}
	w.t.Errorf("no run was killed at %s", name)
}

// killAnyTime kills a run at a random moment, and returns 1 if it was still at work. More files arrive
// meanwhile.
func (w *world) killAnyTime() int {
	cmd := w.command()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	kill := time.AfterFunc(time.Duration(w.rand.Int64N(int64(w.typical)*5/4)), func() { cmd.Process.Kill() })
	w.arrive(2)
	err := cmd.Wait()
	kill.Stop()
	switch status := cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case status.Signaled():
		return 1
	case err != nil:
		w.t.Fatalf("a run that was to die: %v\n%s", err, stderr.String())
	}
	w.typical = time.Since(began)
	return 0
}

// check runs to the end and compares.
func (w *world) check() {
	t := w.t
	t.Helper()
	for range 2 {
		if s, r := tryLoad(t, w.command()); r.code != 0 {
			t.Fatalf("the last run: %v", r)
		} else if s.Files.Found != s.Files.Loaded {
			t.Errorf("the last run: %+v", s)
		}
	}
	w.compare()
}

// compare looks at what is in the tables.
func (w *world) compare() {
	t := w.t
	t.Helper()
	slices.Sort(w.rows)
	slices.Sort(w.bad)
	for _, reader := range readers {
		sameLines(t, "rows, by "+reader, rows(t, lake(w.dir, "main.kills.t"), "--reader", reader, "--columns", "file,line"), lines(w.rows))
		sameLines(t, "quarantine, by "+reader, rows(t, lake(w.dir, "main.kills.t")+"_quarantine", "--reader", reader, "--columns", "source_file,line"), lines(w.bad))
	}
	if t.Failed() {
		t.FailNow()
	}
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}
