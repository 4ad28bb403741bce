// Package test drives the real binary, from outside, and looks at what it did through programs that
// are not silt.
//
// SILT_PYTHON is a Python with the packages of requirements-oracle.txt, SILT_TESTDATA the folder of
// real data; tests that miss one of them are left out and say so. The Makefile sets the first.
package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	kills  = flag.Int("kills", 51, "number of kills in TestKills")
	update = flag.Bool("update", false, "rewrite the golden files")
)

// build makes the binary, with crash points in it, and returns its path.
var build = sync.OnceValues(func() (string, error) {
	// The result of a test is taken from a cache when the files it looked at are the same: look at all
	// that the binary is made of.
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case strings.HasSuffix(name, ".go"), strings.HasPrefix(name, "test/"), name == "go.mod":
			_, err = os.Stat(filepath.Join("..", name))
		}
		return err
	})
	if err != nil {
		return "", err
	}
	binary, err := filepath.Abs("../.cache/test/silt")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-tags", "duckdb_arrow,crashpoints", "-o", binary, "./cmd/silt")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// silt is the path of the binary.
func silt(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int // -1: killed
}

func (r result) String() string {
	return fmt.Sprintf("exit status %d\nstdout:\n%sstderr:\n%s", r.code, r.stdout, r.stderr)
}

// environment is that of all commands.
func environment(more ...string) []string {
	keep := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TZ=UTC", "LC_ALL=C.UTF-8", "TMPDIR=" + os.TempDir()}
	return append(keep, more...)
}

// siltCommand is a command of the binary in a folder.
func siltCommand(t testing.TB, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(silt(t), args...)
	cmd.Dir, cmd.Env = dir, environment()
	return cmd
}

// run runs a command to its end, within two minutes.
func run(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGQUIT) })
	err := cmd.Wait()
	stop()
	timedOut := ctx.Err() != nil
	cancel()
	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if timedOut || err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v\n%v", cmd.Args, err, r)
	}
	return r
}

// summary is what of a run's summary the tests look at. Its sums must add up.
type summary struct {
	Files struct {
		Found, Loaded, Failed, Quarantined, Deferred, Vanished, Skipped int
	}
	Records struct{ Read, Loaded, Quarantined, Dropped int64 }
	Rows    int64
	Batches int
}

// load loads a folder and returns the summary.
func load(t testing.TB, dir, source, target string, more ...string) summary {
	t.Helper()
	s, r := tryLoad(t, siltCommand(t, dir, append([]string{"load", source, target, "--json"}, more...)...))
	if r.code != 0 {
		t.Fatalf("silt load %s %s %s: %v", source, target, strings.Join(more, " "), r)
	}
	return s
}

// tryLoad is load for runs that may fail.
func tryLoad(t testing.TB, cmd *exec.Cmd) (summary, result) {
	t.Helper()
	r := run(t, cmd)
	var out struct {
		summary
		Summary *summary `json:"summary"`
	}
	if len(r.stdout) > 0 {
		if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
			t.Fatalf("%v: %v\n%v", cmd.Args, err, r)
		}
	}
	s := out.summary
	if out.Summary != nil {
		s = *out.Summary
	}
	f, n := s.Files, s.Records
	if f.Found != f.Loaded+f.Failed+f.Quarantined+f.Deferred+f.Vanished || n.Read != n.Loaded+n.Quarantined+n.Dropped {
		t.Errorf("%v: the summary does not add up: %+v", cmd.Args, s)
	}
	return s, r
}

// lake is the folder of a table in the local catalog of a working directory.
func lake(dir, table string) string {
	return filepath.Join(dir, "lake", filepath.FromSlash(strings.ReplaceAll(table, ".", "/")))
}

// oracle runs a Python script of the folder oracle. It fails when the script does.
func oracle(t testing.TB, script string, args ...string) (string, error) {
	t.Helper()
	python := os.Getenv("SILT_PYTHON")
	if python == "" {
		t.Skip("left out: SILT_PYTHON is not set; make test sets it")
	}
	cmd := exec.Command(python, append([]string{filepath.Join("oracle", script)}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", script, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), err
}

// readers are the programs that read what silt wrote.
var readers = []string{"deltalake", "duckdb"}

// rows reads a table, without what differs from load to load.
func rows(t testing.TB, table string, args ...string) string {
	t.Helper()
	out, err := oracle(t, "rows.py", append([]string{table, "--without", "ingestion_timestamp,quarantined_at"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// conserved wants every record of the folder in the table, by all readers.
func conserved(t testing.TB, table, folder string, args ...string) {
	t.Helper()
	for _, reader := range readers {
		out, err := oracle(t, "conserve.py", append([]string{table, folder, "--reader", reader}, args...)...)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Log(strings.TrimSpace(out))
	}
}

// testData is the folder of real data.
func testData(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SILT_TESTDATA")
	if dir == "" {
		dir = "../../shared"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "json", "real")); err != nil {
		t.Skip("left out: no real data; SILT_TESTDATA is the folder that holds data/json/real")
	}
	return dir
}

// write writes a file, and the folders above it.
func write(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
}

// settled copies a folder and makes its files an hour old, so that one that ends inside a record is not
// taken for one that is still being written.
func settled(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyFile copies a file into a folder.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o777)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
