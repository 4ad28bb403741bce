package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what one run needed, and left.
type usage struct {
	cpu   time.Duration
	peak  int64 // bytes resident, of the largest process
	rows  int64 // -1 when it writes none
	bytes int64 // of its files
}

// measure runs a command in an empty folder. Nothing in this process may have grown large before: a
// child begins with the peak of its parent.
func (c *config) measure(t *contender, source string) (u usage, err error) {
	dir, err := os.MkdirTemp(c.cache, "out-")
	if err != nil {
		return usage{}, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "out")
	if t.prepare != nil {
		if err := t.prepare(out); err != nil {
			return usage{}, err
		}
	}
	cmd := t.command(source, out)
	cmd.Dir = dir
	u, err = run(cmd)
	if err != nil || t.keeps {
		return u, err
	}
	if t.rows != nil {
		u.rows, err = t.rows(out)
		return u, err
	}
	u.rows, u.bytes, err = c.written(out)
	return u, err
}

// told shows that it goes on.
func told(n int, t *contender, u usage) {
	fmt.Fprintf(os.Stderr, "run %d: %s: %.2f CPU-seconds\n", n+1, t.name, u.cpu.Seconds())
}

// run runs a command and says what it and its children needed.
func run(cmd *exec.Cmd) (usage, error) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return usage{}, fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, said.String())
	}
	u := usage{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), rows: -1}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peak = int64(r.Maxrss) * 1024 //nolint:unconvert // it is an int32 on other machines
	}
	return u, nil
}

// written counts the rows and the bytes of the Parquet files below out.
func (c *config) written(out string) (rows, size int64, err error) {
	answer, err := exec.Command(c.python, abs("bench/peers/rows.py"), out).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("count the rows: %w", err)
	}
	if rows, err = strconv.ParseInt(strings.TrimSpace(string(answer)), 10, 64); err != nil {
		return 0, 0, err
	}
	err = filepath.WalkDir(out, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), "_"):
			return fs.SkipDir
		case filepath.Ext(name) != ".parquet":
			return nil
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return rows, size, err
}

// median is the run in the middle by processor time, with the highest of the peaks.
func median(all []usage) usage {
	slices.SortFunc(all, func(a, b usage) int { return cmp.Compare(a.cpu, b.cpu) })
	m := all[len(all)/2]
	for _, u := range all {
		m.peak = max(m.peak, u.peak)
	}
	return m
}
