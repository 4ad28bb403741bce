package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestTogether lets others work on the same table at the same time.
func TestTogether(t *testing.T) {
	arrive := func(t *testing.T, source string, first, count int) {
		t.Helper()
		for n := first; n < first+count; n++ {
			write(t, filepath.Join(source, fmt.Sprintf("f%05d.json", n)), fmt.Appendf(nil, `{"id":%d,"in":{"a":%d,"new%d":1}}`+"\n", n, n, n/40))
		}
	}
	want := func(t *testing.T, table string, from, to int) {
		t.Helper()
		var list []string
		for n := from; n < to; n++ {
			list = append(list, fmt.Sprintf(`{"id": %d}`, n))
		}
		got := strings.Split(strings.TrimSpace(rows(t, table, "--columns", "id")), "\n")
		seen := make(map[string]int)
		for _, row := range got {
			seen[row]++
		}
		for _, row := range list {
			seen[row]--
		}
		for row, n := range seen {
			if n != 0 {
				t.Errorf("row %s is there %+d times too often", row, n)
				return
			}
		}
	}

	t.Run("loaders_of_one_source", func(t *testing.T) {
		dir, source := t.TempDir(), filepath.Join(t.TempDir(), "in")
		arrive(t, source, 0, 200)
		done := make(chan result)
		for range 4 {
			cmd := siltCommand(t, dir, "load", source, "main.together.t", "--json", "--option", "maxFilesPerTrigger=10")
			go func() { done <- quietly(cmd) }()
		}
		good := 0
		for range 4 {
			switch r := <-done; r.code {
			case 0:
				good++
			case 6: // another one has it
			default:
				t.Error(r)
			}
		}
		if good == 0 {
			t.Error("all gave way")
		}
		load(t, dir, source, "main.together.t")
		want(t, lake(dir, "main.together.t"), 0, 200)
	})
	t.Run("loaders_of_two_sources", func(t *testing.T) {
		dir, a, b := t.TempDir(), filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
		arrive(t, a, 0, 200)
		arrive(t, b, 200, 200)
		done := make(chan result)
		for _, source := range []string{a, b} {
			cmd := siltCommand(t, dir, "load", source, "main.together.t", "--json", "--option", "maxFilesPerTrigger=10")
			go func() { done <- quietly(cmd) }()
		}
		for range 2 {
			if r := <-done; r.code != 0 {
				t.Error(r)
			}
		}
		want(t, lake(dir, "main.together.t"), 0, 400)
	})
	t.Run("another_writer", func(t *testing.T) {
		if os.Getenv("SILT_PYTHON") == "" {
			t.Skip("left out: SILT_PYTHON is not set; make test sets it")
		}
		dir, source := t.TempDir(), filepath.Join(t.TempDir(), "in")
		arrive(t, source, 0, 10)
		load(t, dir, source, "main.together.t")
		arrive(t, source, 10, 390)
		other := exec.Command(os.Getenv("SILT_PYTHON"), "oracle/append.py", lake(dir, "main.together.t"))
		in, err := other.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stdout, stderr strings.Builder
		other.Stdout, other.Stderr = &stdout, &stderr
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		load(t, dir, source, "main.together.t", "--option", "maxFilesPerTrigger=20")
		in.Close()
		if err := other.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
		n, err := strconv.Atoi(strings.TrimSpace(stdout.String()))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("the other writer appended %d rows meanwhile", n)
		want(t, lake(dir, "main.together.t"), -n, 400)
	})
}

// quietly runs a command; what went wrong is in the result.
func quietly(cmd *exec.Cmd) result {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return result{stderr: err.Error(), code: -1}
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}
