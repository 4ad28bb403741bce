// Command bench loads made-up telemetry with silt and, side by side, with those that do the same, and
// prints what each needs: seconds of processor time, MB of JSON for each, peak memory, and what it
// wrote. It ends non-zero when silt needs more than it may, or when one of them lost a row.
//
// Only processor time counts, user and system, of whole processes and those that they start: on a
// shared machine the clock on the wall says little. All take turns, so that what slows the machine
// slows all of them.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

type config struct {
	silt, python, jars, cache string
	self                      string // this program, which is also some of those that are measured
	peers, parts              []string
	versions                  map[string]string // of Python's packages
	mb, small                 int64
	files, runs, threads      int
	seed                      uint64
	evolve, gates             bool
	adds                      int

	mergeRows, narrowRows, scdRows int64
}

func main() {
	if run, ok := children[os.Getenv(childVariable)]; ok {
		if err := run(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := bench(flags()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func flags() config {
	var c config
	silt := flag.String("silt", "bin/silt", "the binary")
	python := flag.String("python", "python3", "a Python with the packages of requirements.txt")
	jars := flag.String("jars", ".cache/peers/jars", "folder of the jars of pom.xml")
	cache := flag.String("cache", ".cache/bench", "folder for data and results")
	peers := flag.String("peers", "duckdb,duckdb-unordered,clickhouse,pyarrow,polars,spark", "those to measure silt against")
	parts := flag.String("parts", "load,small,tiny,log,merge", "what to measure: load is few large files, small is many small ones, tiny is very small ones, also from an S3 server, log is a table of many data files, merge is changes by key")
	flag.Int64Var(&c.mb, "mb", 256, "size of the data in large files, in MB of 1,000,000 bytes")
	flag.IntVar(&c.files, "files", 50, "number of large files")
	flag.Int64Var(&c.small, "small", 10_000, "number of small files, of 14 KB each")
	flag.IntVar(&c.adds, "adds", 300_000, "number of data files in the table of part log")
	flag.Int64Var(&c.mergeRows, "merge-rows", 2_000_000, "rows of nested telemetry, in 100 files, that part merge merges one in twenty into")
	flag.Int64Var(&c.narrowRows, "narrow-rows", 100_000_000, "rows of the narrow table that part merge merges one row into")
	flag.Int64Var(&c.scdRows, "scd-rows", 1_000_000, "rows of which part merge keeps all versions")
	flag.Uint64Var(&c.seed, "seed", 15, "seed of the data")
	flag.IntVar(&c.runs, "runs", 3, "runs of each")
	flag.IntVar(&c.threads, "threads", runtime.NumCPU(), "threads that each may use")
	flag.BoolVar(&c.evolve, "evolve", false, "late files have new fields")
	flag.BoolVar(&c.gates, "gates", true, "end non-zero when silt needs more than it may")
	flag.Parse()
	c.silt, c.python, c.jars, c.cache = abs(*silt), abs(*python), abs(*jars), abs(*cache)
	c.peers, c.parts = words(*peers), words(*parts)
	return c
}

func words(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })
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

func bench(c config) error {
	var err error
	if c.self, err = os.Executable(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.cache, 0o777); err != nil {
		return err
	}
	all := []*part{loadPart(c), smallPart(c), tinyPart(c), logPart(c), mergePart(c)}
	for _, name := range c.parts {
		if !slices.ContainsFunc(all, func(p *part) bool { return p.name == name }) {
			return fmt.Errorf("-parts: there is no part %q", name)
		}
	}
	if c.versions, err = installed(c.python); err != nil {
		return err
	}
	who, err := findPeers(c)
	if err != nil {
		return err
	}
	var g gates
	for _, p := range all {
		if slices.Contains(c.parts, p.name) {
			if err := p.run(c, who, &g); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return g.report(c.gates)
}
