// Command bench loads made-up telemetry with silt and, side by side, with DuckDB into Parquet, and
// prints what each needs: MB of JSON per second of processor time, peak memory, and rows.
//
// Only processor time counts, user and system, of whole processes: on a shared machine the clock on
// the wall says little. The two take turns, so that what slows the machine slows both.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/siltlake/silt/internal/telemetry"
)

func main() {
	silt := flag.String("silt", "bin/silt", "the binary")
	python := flag.String("python", "python3", "a Python with the packages of requirements.txt")
	cache := flag.String("cache", ".cache/bench", "folder for data and results")
	size := flag.Int64("mb", 256, "size of the data, in MB of 1,000,000 bytes")
	files := flag.Int("files", 200, "number of files")
	seed := flag.Uint64("seed", 15, "seed of the data")
	runs := flag.Int("runs", 3, "runs of each")
	evolve := flag.Bool("evolve", false, "late files have new fields")
	flag.Parse()
	b := bench{silt: abs(*silt), python: abs(*python), cache: abs(*cache), runs: *runs}
	o := telemetry.Options{Bytes: *size * 1_000_000, Files: *files, Seed: *seed, Evolve: *evolve}
	if err := b.all(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// abs is path as seen from everywhere, but for the name of a program.
func abs(path string) string {
	if !strings.Contains(path, "/") {
		return path
	}
	if full, err := filepath.Abs(path); err == nil {
		path = full
	}
	return path
}

type bench struct {
	silt, python, cache string
	runs                int
}

// usage is what one run needed.
type usage struct {
	cpu, wall time.Duration
	peak      int64 // bytes resident
	rows      int64
}

func (b *bench) all(o telemetry.Options) error {
	source, size, err := b.data(o)
	if err != nil {
		return err
	}
	script, err := filepath.Abs("bench/duck_parquet.py")
	if err != nil {
		return err
	}
	peers := []struct {
		name    string
		command func(out string) *exec.Cmd
	}{
		{"silt load", func(string) *exec.Cmd { return exec.Command(b.silt, "load", source, "./table", "--json") }},
		{"DuckDB read_json to Parquet", func(out string) *exec.Cmd { return exec.Command(b.python, script, source, out) }},
	}
	used := make([][]usage, len(peers))
	for range b.runs {
		for i, p := range peers {
			u, err := b.measure(p.command)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			used[i] = append(used[i], u)
		}
	}
	mb := float64(size) / 1e6
	fmt.Printf("%.0f MB of JSON in %d files, %d runs of each by turns; the median, and the best in brackets\n\n", mb, o.Files, b.runs)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tMB per CPU-second\tCPU-seconds\tseconds\tpeak MB\trows\t")
	for i, p := range peers {
		slices.SortFunc(used[i], func(a, b usage) int { return int(a.cpu - b.cpu) })
		median, best := used[i][len(used[i])/2], used[i][0]
		fmt.Fprintf(w, "%s\t%.0f (%.0f)\t%.2f (%.2f)\t%.2f\t%.0f\t%d\t\n", p.name, mb/median.cpu.Seconds(), mb/best.cpu.Seconds(),
			median.cpu.Seconds(), best.cpu.Seconds(), median.wall.Seconds(), float64(median.peak)/1e6, median.rows)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nsilt does %.2f times as much as DuckDB with the same processor time.\n", float64(used[1][b.runs/2].cpu)/float64(used[0][b.runs/2].cpu))
	if used[0][0].rows != used[1][0].rows {
		return fmt.Errorf("the rows differ: %d and %d", used[0][0].rows, used[1][0].rows)
	}
	return nil
}

// data makes the source, or finds it from an earlier run.
func (b *bench) data(o telemetry.Options) (dir string, size int64, err error) {
	dir = filepath.Join(b.cache, fmt.Sprintf("in-%d-%d-%d-%v", o.Bytes, o.Files, o.Seed, o.Evolve))
	if _, err := os.Stat(dir); err != nil {
		half := dir + ".half"
		if err := os.RemoveAll(half); err != nil {
			return "", 0, err
		}
		if _, err := telemetry.Generate(half, o); err != nil {
			return "", 0, err
		}
		if err := os.Rename(half, dir); err != nil {
			return "", 0, err
		}
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
	}
	return dir, size, err
}

// measure runs a command in an empty folder. It prints JSON with the number of rows.
func (b *bench) measure(command func(out string) *exec.Cmd) (usage, error) {
	dir, err := os.MkdirTemp(b.cache, "out-")
	if err != nil {
		return usage{}, err
	}
	defer os.RemoveAll(dir)
	cmd := command(filepath.Join(dir, "out"))
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return usage{}, fmt.Errorf("%w\n%s%s", err, stdout.String(), stderr.String())
	}
	u := usage{wall: time.Since(began), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = int64(r.Maxrss) * 1024 //nolint:unconvert // it is an int32 on other machines
	}
	var out struct {
		Rows    int64
		Summary struct{ Rows int64 } // silt's
	}
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
		return usage{}, fmt.Errorf("what it printed: %w\n%s", err, stdout.String())
	}
	u.rows = out.Rows + out.Summary.Rows
	return u, nil
}
