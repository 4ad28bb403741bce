package merge_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/objstore"
)

var (
	again     = flag.Bool("update", false, "draw the histories that Spark makes again, and record what it makes of them")
	sparkSeed = flag.Int("spark-seed", 0, "let Spark make other histories than the recorded ones, of this seed and the ones behind it")
)

const (
	// recorded are histories and what Spark made of them, one a line.
	recorded = "testdata/spark-merges.json"
	// sparkHistories is how many are drawn.
	sparkHistories = 50
)

func recordedHistories(t *testing.T) []sparkHistory {
	t.Helper()
	text, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	var all []sparkHistory
	for line := range bytes.Lines(text) {
		var h sparkHistory
		if err := json.Unmarshal(line, &h); err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	if len(all) == 0 {
		t.Error("no history is recorded; make spark-merge SPARK=-update records some")
	}
	return all
}

func drawnHistories(t *testing.T, seed int) []sparkHistory {
	all := make([]sparkHistory, sparkHistories)
	for i := range all {
		all[i] = rapid.Custom(func(rt *rapid.T) sparkHistory { return drawSparkHistory(t, rt) }).Example(seed + i)
		all[i].Name = fmt.Sprintf("seed_%02d", seed+i)
	}
	return all
}

// TestMergesOfSpark makes the merges that Spark has made, into the same tables, and wants the same
// rows and columns after each.
func TestMergesOfSpark(t *testing.T) {
	for _, h := range recordedHistories(t) {
		t.Run(h.Name, func(t *testing.T) {
			if h.needsSQL() && engine == nil {
				t.Skip("conditions need a build with SQL")
			}
			x := h.create(t, new(objstore.Mem))
			for i, s := range h.Steps {
				s.Spark.equal(t, fmt.Sprintf("step %d: %s", i+1, s.SQL), s.make(x))
			}
		})
	}
}

// TestSparkMerges lets Spark make the recorded merges into tables of its own, read the tables into which
// silt has made them, and make the last merge in place of silt.
func TestSparkMerges(t *testing.T) {
	spark := os.Getenv("SILT_SPARK")
	switch {
	case spark == "":
		t.Skip("SILT_SPARK is not set: a Python with pyspark, beside a folder jars of Delta Lake; make spark-merge sets it up")
	case engine == nil:
		t.Fatal("conditions need a build with SQL")
	}
	var all []sparkHistory
	switch {
	case *sparkSeed > 0:
		all = drawnHistories(t, *sparkSeed)
	case *again:
		all = drawnHistories(t, 1)
	default:
		all = recordedHistories(t)
	}
	dir := t.TempDir()
	ours := make([]outcome, len(all))
	var own, silts []sparkJob
	for i, h := range all {
		job := h.job(t, filepath.Join(dir, h.Name))
		last := len(h.Steps) - 1
		whole, rest := filepath.Join(dir, h.Name, "silt"), filepath.Join(dir, h.Name, "both")
		for _, path := range []string{whole, rest} {
			x := h.create(t, objstore.NewDir(path))
			for _, s := range h.Steps[:last] {
				s.make(x)
			}
			if path == whole {
				ours[i] = h.Steps[last].make(x)
			}
		}
		own = append(own, job)
		silts = append(silts, sparkJob{Name: h.Name + " read", Path: whole}, sparkJob{Name: h.Name + " last", Path: rest, Steps: job.Steps[last:]})
	}
	made := askSpark(t, spark, dir, slices.Concat(own, silts))
	for i, h := range all {
		t.Run(h.Name, func(t *testing.T) {
			for j, s := range h.Steps {
				got := made[h.Name][j]
				if all[i].Steps[j].Spark = got; *sparkSeed == 0 && !*again {
					s.Spark.equal(t, fmt.Sprintf("step %d of Spark, which is recorded otherwise: %s", j+1, s.SQL), got)
				}
			}
			want := made[h.Name][len(h.Steps)-1]
			want.equal(t, "what silt makes of the last step", ours[i])
			want.equal(t, "the last step, by Spark in silt's table", made[h.Name+" last"][0])
			want.SeveralMatches = false
			want.equal(t, "silt's table, as Spark reads it", made[h.Name+" read"][0])
			x := &table{t: t, store: objstore.NewDir(filepath.Join(dir, h.Name, "both"))}
			want.equal(t, "silt's table with Spark's last step, as silt reads it", x.outcome())
		})
	}
	if *again {
		save(t, all)
	}
}

// save records histories.
func save(t *testing.T, all []sparkHistory) {
	t.Helper()
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	lines.SetEscapeHTML(false)
	for _, h := range all {
		h.Rows = ordered(h.Rows)
		for i, s := range h.Steps {
			for j, r := range s.Rows {
				h.Steps[i].Rows[j] = normal(r)
			}
		}
		if err := lines.Encode(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(recorded, text.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// equal fails unless the outcome is that of another.
func (o outcome) equal(t *testing.T, what string, got outcome) {
	t.Helper()
	if got.SeveralMatches != o.SeveralMatches {
		t.Errorf("%s: refused for several matches: %t, want %t", what, got.SeveralMatches, o.SeveralMatches)
	}
	if got.Schema != o.Schema {
		t.Errorf("%s: columns\n%s\nwant\n%s", what, got.Schema, o.Schema)
	}
	if got, want := texts(got.Rows), texts(o.Rows); got != want {
		t.Errorf("%s: rows\n%s\nwant\n%s", what, got, want)
	}
}
