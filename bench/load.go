package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/tabwriter"
)

// part is one measurement.
type part struct {
	name string
	run  func(c config, peers []*contender, g *gates) error
}

// loadPart loads few large files.
func loadPart(config) *part {
	return &part{"load", func(c config, peers []*contender, g *gates) error {
		d, err := c.data(c.mb*1_000_000, c.files)
		if err != nil {
			return err
		}
		r, err := c.load(d, peers)
		if err != nil {
			return err
		}
		silt := r["silt"]
		g.atLeast("the processor time of DuckDB", ratio(r, "duckdb"), 2.2)
		g.atLeast("the processor time of pyarrow + deltalake", ratio(r, "pyarrow"), 3)
		g.atLeast("the processor time of Spark", ratio(r, "spark"), 15)
		g.atMost("peak memory of silt, in MB", float64(silt.peak)/1e6, 256)
		if duck, ok := r["duckdb"]; ok {
			g.atMost("size of silt's files by that of DuckDB's", float64(silt.bytes)/float64(duck.bytes), 1.1)
		}
		return nil
	}}
}

// smallPart loads many small files.
func smallPart(config) *part {
	return &part{"small", func(c config, peers []*contender, g *gates) error {
		d, err := c.data(c.small*14_000, int(c.small))
		if err != nil {
			return err
		}
		r, err := c.load(d, peers)
		if err != nil {
			return err
		}
		for _, p := range peers {
			if p.key == "duckdb-unordered" {
				continue // shown for comparison
			}
			g.atLeast("small files: the processor time of "+p.name, ratio(r, p.key), 10)
		}
		return nil
	}}
}

// ratio is the processor time of a peer by silt's; 0 when it was not measured.
func ratio(r map[string]usage, key string) float64 {
	return float64(r[key].cpu) / float64(r["silt"].cpu)
}

// dataset is a folder of NDJSON files.
type dataset struct {
	dir   string
	files int
	size  int64
}

// data makes a source, or finds it from an earlier run.
func (c *config) data(size int64, files int) (d dataset, err error) {
	d = dataset{dir: filepath.Join(c.cache, fmt.Sprintf("in-%d-%d-%d-%v", size, files, c.seed, c.evolve)), files: files}
	if _, err := os.Stat(d.dir); err != nil {
		half := d.dir + ".half"
		if err := os.RemoveAll(half); err != nil {
			return d, err
		}
		if _, err := run(c.child("generate", half, strconv.FormatInt(size, 10), strconv.Itoa(files), strconv.FormatUint(c.seed, 10), strconv.FormatBool(c.evolve))); err != nil {
			return d, err
		}
		if err := os.Rename(half, d.dir); err != nil {
			return d, err
		}
	}
	entries, err := os.ReadDir(d.dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			d.size += info.Size()
		}
	}
	return d, err
}

// loads is the command by which silt loads.
func (c *config) loads(source, out string) *exec.Cmd {
	threads := strconv.Itoa(c.threads)
	cmd := exec.Command(c.silt, "load", source, "./"+filepath.Base(out), "--workers", threads, "--quiet")
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+threads)
	return cmd
}

// load lets silt's decoder, silt and the peers load the same files by turns, and prints what they need.
func (c *config) load(d dataset, peers []*contender) (map[string]usage, error) {
	known := d.dir + ".schema"
	if _, err := run(c.child("schema", d.dir, known)); err != nil { // also brings the files into memory
		return nil, err
	}
	threads := strconv.Itoa(c.threads)
	all := append([]*contender{
		{key: "decode", name: "silt's decoder alone", keeps: true, command: func(source, _ string) *exec.Cmd {
			return c.child("decode", source, known, threads)
		}},
		{key: "silt", name: "silt, the whole load", command: func(source, out string) *exec.Cmd {
			return c.loads(source, out)
		}},
	}, peers...)
	used := make(map[string][]usage)
	for n := range c.runs {
		for _, t := range all {
			u, err := c.measure(t, d.dir)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			told(n, t, u)
			used[t.key] = append(used[t.key], u)
		}
	}
	fmt.Printf("\n%.0f MB of JSON in %d files, %d threads, %d runs of each by turns, of which the median; peak memory is the highest\n\n", float64(d.size)/1e6, d.files, c.threads, c.runs)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tCPU-seconds\tby silt's\tMB per CPU-second\tpeak MB\tMB written\trows\t")
	r := make(map[string]usage)
	for _, t := range all {
		r[t.key] = median(used[t.key])
	}
	for _, t := range all {
		u := r[t.key]
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.1f\t%.0f\t", t.name, u.cpu.Seconds(), ratio(r, t.key), float64(d.size)/1e6/u.cpu.Seconds(), float64(u.peak)/1e6)
		if t.keeps {
			fmt.Fprint(w, "\t\t\n")
		} else {
			fmt.Fprintf(w, "%.1f\t%d\t\n", float64(u.bytes)/1e6, u.rows)
		}
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	for _, t := range all {
		for _, u := range used[t.key] {
			if !t.keeps && u.rows != r["silt"].rows {
				return nil, fmt.Errorf("the rows differ: %s wrote %d, silt %d", t.name, u.rows, r["silt"].rows)
			}
		}
	}
	return r, nil
}
