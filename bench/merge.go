package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// mergePart merges changes by key: one row in twenty of nested telemetry into all files of a table, beside
// deltalake and Spark; one row into a great many; and changes of rows of which all versions are kept.
func mergePart(config) *part {
	return &part{"merge", func(c config, peers []*contender, g *gates) error {
		m := &mergeBench{config: c}
		for _, step := range []func(*gates) error{m.telemetry, m.narrow, m.versions} {
			if err := step(g); err != nil {
				return err
			}
		}
		return nil
	}}
}

type mergeBench struct{ config }

// cached returns a folder of the cache, which children make unless it is there. The place that is given to
// them is another one until all are done.
func (m *mergeBench) cached(name string, make func(dir string) []*exec.Cmd) (string, error) {
	dir := filepath.Join(m.cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	half := dir + ".half"
	if err := os.RemoveAll(half); err != nil {
		return "", err
	}
	for _, cmd := range make(half) {
		if _, err := run(cmd); err != nil {
			return "", err
		}
	}
	return dir, os.Rename(half, dir)
}

// telemetry merges into every file of a table, which are written again or whose rows are marked.
func (m *mergeBench) telemetry(g *gates) error {
	const files, recordBytes = 100, 1432
	d, err := m.data(m.mergeRows*recordBytes, files)
	if err != nil {
		return err
	}
	known := d.dir + ".schema"
	if _, err := os.Stat(known); err != nil {
		if _, err := run(m.child("schema", d.dir, known)); err != nil {
			return err
		}
	}
	name := filepath.Base(d.dir)
	table, err := m.cached("table-"+name, func(dir string) []*exec.Cmd {
		return []*exec.Cmd{m.child("telemetry-table", d.dir, known, dir)}
	})
	if err != nil {
		return err
	}
	marked, err := m.cached("vectors-"+name, func(dir string) []*exec.Cmd {
		if err := copyOf(table)(dir); err != nil {
			return nil
		}
		return []*exec.Cmd{m.child("vectors", dir)}
	})
	if err != nil {
		return err
	}
	changes, err := m.cached("changes-"+name, func(dir string) []*exec.Cmd {
		return []*exec.Cmd{m.child("telemetry-changes", d.dir, dir, "20")}
	})
	if err != nil {
		return err
	}
	all := []*contender{
		m.silt("silt", table, changes, "event_id", known), m.silt("silt, deletion vectors", marked, changes, "event_id", known),
		m.deltalake("deltalake", table, changes, "event_id"),
		m.spark("Spark", table, changes, "event_id"), m.spark("Spark, deletion vectors", marked, changes, "event_id"),
	}
	used, err := m.turns(fmt.Sprintf("One row in twenty of %d rows of nested telemetry in %d files", m.mergeRows, files), all)
	if err != nil {
		return err
	}
	by := func(a, b string) float64 {
		if used[a].cpu == 0 {
			return 0
		}
		return float64(used[a].cpu) / float64(used[b].cpu)
	}
	g.atLeast("merge, files written again: the processor time of deltalake", by("deltalake", "silt"), 2)
	g.atLeast("merge, deletion vectors: the processor time of deltalake", by("deltalake", "silt, deletion vectors"), 5)
	g.atLeast("merge, files written again: the processor time of Spark", by("Spark", "silt"), 2)
	g.atLeast("merge, deletion vectors: that of Spark with them", by("Spark, deletion vectors", "silt, deletion vectors"), 5)
	g.atMost("merge: peak memory of silt, in MB", float64(max(used["silt"].peak, used["silt, deletion vectors"].peak))/1e6, 1000)
	return nil
}

// narrow merges one row into many.
func (m *mergeBench) narrow(g *gates) error {
	changes, err := m.cached(fmt.Sprintf("narrow-change-%d", m.narrowRows), func(dir string) []*exec.Cmd {
		return []*exec.Cmd{m.child("narrow-changes", dir, strconv.FormatInt(m.narrowRows, 10), "1", "0")}
	})
	if err != nil {
		return err
	}
	for _, keys := range []string{"clustered", "random"} {
		table, err := m.cached(fmt.Sprintf("narrow-%s-%d", keys, m.narrowRows), func(dir string) []*exec.Cmd {
			return []*exec.Cmd{m.child("narrow-table", dir, strconv.FormatInt(m.narrowRows, 10), "100", keys)}
		})
		if err != nil {
			return err
		}
		mine := m.silt("silt", table, changes, "id", "")
		used, err := m.turns(fmt.Sprintf("One row into %d narrow rows in 100 files, %s keys", m.narrowRows, keys), []*contender{mine})
		if err != nil {
			return err
		}
		if keys == "clustered" {
			g.atMost("merge of one row, clustered keys: CPU-seconds", used["silt"].cpu.Seconds(), 10)
		}
		g.atMost("merge of one row, "+keys+" keys: peak memory of silt, in MB", float64(used["silt"].peak)/1e6, 512)
	}
	return nil
}

// versions changes every row of a table that keeps all versions.
func (m *mergeBench) versions(g *gates) error {
	changes, err := m.cached(fmt.Sprintf("scd-changes-%d", m.scdRows), func(dir string) []*exec.Cmd {
		return []*exec.Cmd{m.child("narrow-changes", dir, strconv.FormatInt(m.scdRows, 10), strconv.FormatInt(m.scdRows, 10), "1")}
	})
	if err != nil {
		return err
	}
	table, err := m.cached(fmt.Sprintf("scd-%d", m.scdRows), func(dir string) []*exec.Cmd {
		return []*exec.Cmd{m.child("narrow-changes", dir+"/_first", strconv.FormatInt(m.scdRows, 10), strconv.FormatInt(m.scdRows, 10), "0"),
			m.load(dir+"/_first", dir, "id", "write.scd=2", "write.sequenceBy=at")}
	})
	if err != nil {
		return err
	}
	mine := m.silt("silt", table, changes, "id", "", "write.scd=2", "write.sequenceBy=at")
	used, err := m.turns(fmt.Sprintf("A change of each of %d rows, of which all versions are kept", m.scdRows), []*contender{mine})
	if err != nil {
		return err
	}
	g.atMost("versions of rows: peak memory of silt, in MB", float64(used["silt"].peak)/1e6, 1000)
	return nil
}

// load returns silt merging a folder into a table.
func (m *mergeBench) load(changes, table, key string, options ...string) *exec.Cmd {
	args := []string{"load", changes, table, "--workers", strconv.Itoa(m.threads), "--quiet"}
	for _, o := range append([]string{"write.mode=merge", "write.keys=" + key}, options...) {
		args = append(args, "--option", o)
	}
	cmd := exec.Command(m.config.silt, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(m.threads))
	return cmd
}

// silt merges with silt; schema is the file of that of the changes, empty for what they are found to have.
func (m *mergeBench) silt(name, table, changes, key, schema string, options ...string) *contender {
	if schema != "" {
		options = append(options, "schema=@"+schema)
	}
	return &contender{name: name, prepare: copyOf(table), rows: m.count, command: func(_, out string) *exec.Cmd {
		return m.load(changes, "./"+filepath.Base(out), key, options...)
	}}
}

// deltalake is nil when it is not installed.
func (m *mergeBench) deltalake(name, table, changes, key string) *contender {
	if m.config.versions["deltalake"] == "" {
		fmt.Println("merge: deltalake: LEFT OUT: it is not installed")
		return nil
	}
	return &contender{name: name, prepare: copyOf(table), rows: m.count, command: func(_, out string) *exec.Cmd {
		cmd := exec.Command(m.python, abs("bench/peers/deltalake_merge.py"), changes, out, key)
		cmd.Env = append(os.Environ(), "TOKIO_WORKER_THREADS="+strconv.Itoa(m.threads))
		return cmd
	}}
}

// spark is nil when it is not installed, or not wanted.
func (m *mergeBench) spark(name, table, changes, key string) *contender {
	p := known[slices.IndexFunc(known, func(p peer) bool { return p.key == "spark" })]
	if !slices.Contains(m.peers, "spark") {
		return nil
	}
	if why := m.missing(p); why != "" {
		fmt.Printf("merge: %s: LEFT OUT: %s\n", name, why)
		return nil
	}
	p.script = "spark_merge.py"
	return &contender{name: name, prepare: copyOf(table), rows: m.count, command: func(_, out string) *exec.Cmd {
		cmd := m.script(p, changes, out)
		cmd.Args[len(cmd.Args)-1] = key
		return cmd
	}}
}

func (m *mergeBench) count(out string) (int64, error) {
	answer, err := m.child("count", out).Output()
	if err != nil {
		return 0, fmt.Errorf("count the rows: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(answer)), 10, 64)
}

// turns lets all do their work by turns, and prints what they need. All end with as many rows.
func (m *mergeBench) turns(title string, all []*contender) (map[string]usage, error) {
	all = slices.DeleteFunc(all, func(t *contender) bool { return t == nil })
	runs, used := map[string][]usage{}, map[string]usage{}
	for n := range m.runs {
		for _, t := range all {
			u, err := m.measure(t, "")
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			told(n, t, u)
			if runs[t.name] = append(runs[t.name], u); u.rows != runs[all[0].name][0].rows {
				return nil, errors.New("the rows differ: " + t.name + " left " + strconv.FormatInt(u.rows, 10) + ", " + all[0].name + " " + strconv.FormatInt(runs[all[0].name][0].rows, 10))
			}
		}
	}
	fmt.Printf("\n%s, %d runs of each by turns, of which the median; peak memory is the highest\n\n", title, m.runs)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tCPU-seconds\tby silt's\tpeak MB\trows\t")
	for _, t := range all {
		u := median(runs[t.name])
		used[t.name] = u
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.0f\t%d\t\n", t.name, u.cpu.Seconds(), float64(u.cpu)/float64(used[all[0].name].cpu), float64(u.peak)/1e6, u.rows)
	}
	return used, w.Flush()
}
