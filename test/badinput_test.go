package test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestBadInput brings what must not stop a load, or must stop it safely: nothing is lost, and the file
// is named.
func TestBadInput(t *testing.T) {
	good := func(t *testing.T, source string) {
		t.Helper()
		for i := range 3 {
			write(t, filepath.Join(source, fmt.Sprintf("good-%d.json", i)), numbered(i*10, 10))
		}
	}
	world := func(t *testing.T) (dir, source string) {
		t.Helper()
		dir, source = t.TempDir(), filepath.Join(t.TempDir(), "in")
		good(t, source)
		return dir, source
	}

	t.Run("a_truncated_file_is_loaded_when_it_is_whole", func(t *testing.T) {
		dir, source := world(t)
		whole := numbered(100, 10)
		file := filepath.Join(source, "growing.json")
		write(t, file, whole[:len(whole)-30])
		s := load(t, dir, source, "main.bad.t")
		if s.Files.Loaded != 3 || s.Files.Deferred != 1 {
			t.Errorf("got %+v, want one file deferred", s)
		}
		write(t, file, whole)
		load(t, dir, source, "main.bad.t")
		wantNumbers(t, lake(dir, "main.bad.t"), 0, 10, 10, 10, 20, 10, 100, 10)
		conserved(t, lake(dir, "main.bad.t"), source)
	})
	t.Run("a_torn_record_inside_a_file_is_set_aside", func(t *testing.T) {
		dir, source := world(t)
		write(t, filepath.Join(source, "torn.json"), append([]byte("{\"n\":1,\"te\n"), numbered(100, 2)...))
		s := load(t, dir, source, "main.bad.t")
		if s.Files.Loaded != 4 || s.Records.Quarantined != 1 {
			t.Errorf("got %+v, want four files loaded and one record set aside", s)
		}
		conserved(t, lake(dir, "main.bad.t"), source)
	})
	t.Run("a_truncated_gzip_loads_nothing_until_it_is_whole", func(t *testing.T) {
		dir, source := world(t)
		file, whole := filepath.Join(source, "cut.json.gz"), gzipped(t, numbered(100, 500))
		write(t, file, whole[:len(whole)*2/3])
		s, r := tryLoad(t, siltCommand(t, dir, "load", source, "main.bad.t", "--json"))
		if r.code != 0 || s.Files.Loaded != 3 || s.Files.Failed != 1 {
			t.Errorf("want one file failed, got %+v\n%v", s, r)
		}
		if !strings.Contains(r.stdout+r.stderr, "cut.json.gz") {
			t.Errorf("the file is not named: %v", r)
		}
		wantNumbers(t, lake(dir, "main.bad.t"), 0, 10, 10, 10, 20, 10)
		write(t, file, whole)
		load(t, dir, source, "main.bad.t")
		wantNumbers(t, lake(dir, "main.bad.t"), 0, 10, 10, 10, 20, 10, 100, 500)
	})
	t.Run("a_file_that_stays_broken_is_given_up_by_name", func(t *testing.T) {
		dir, source := world(t)
		whole := gzipped(t, numbered(100, 500))
		write(t, filepath.Join(source, "cut.json.gz"), whole[:len(whole)/2])
		for try := 1; ; try++ {
			_, r := tryLoad(t, siltCommand(t, dir, "load", source, "main.bad.t", "--json"))
			if r.code == 3 && try == 5 && strings.Contains(r.stdout+r.stderr, "cut.json.gz") {
				break
			}
			if r.code != 0 || try == 5 {
				t.Fatalf("try %d: %v", try, r)
			}
		}
		wantNumbers(t, lake(dir, "main.bad.t"), 0, 10, 10, 10, 20, 10)
	})
	t.Run("an_empty_file_is_no_record", func(t *testing.T) {
		dir, source := world(t)
		write(t, filepath.Join(source, "empty.json"), nil)
		write(t, filepath.Join(source, "blank.json"), []byte(" \n\n"))
		if s := load(t, dir, source, "main.bad.t"); s.Files.Loaded != 5 || s.Records.Read != 30 {
			t.Errorf("got %+v, want 5 files with 30 records", s)
		}
		conserved(t, lake(dir, "main.bad.t"), source)
	})
	t.Run("what_is_no_file_is_skipped", func(t *testing.T) {
		dir, source := world(t)
		if err := syscall.Mkfifo(filepath.Join(source, "pipe.json"), 0o666); err != nil {
			t.Fatal(err)
		}
		for name, to := range map[string]string{"loop.json": "loop.json", "gone.json": "nowhere", "out.json": "/etc/passwd", "circle": "."} {
			if err := os.Symlink(to, filepath.Join(source, name)); err != nil {
				t.Fatal(err)
			}
		}
		if s := load(t, dir, source, "main.bad.t"); s.Files.Loaded != 3 || s.Files.Skipped == 0 {
			t.Errorf("got %+v, want 3 files loaded and others skipped", s)
		}
		wantNumbers(t, lake(dir, "main.bad.t"), 0, 10, 10, 10, 20, 10)
	})
	t.Run("an_unreadable_file_is_named_and_the_rest_loaded", func(t *testing.T) {
		dir, command := unprivileged(t)
		source := filepath.Join(dir, "in")
		good(t, source)
		file := filepath.Join(source, "secret.json")
		write(t, file, numbered(100, 10))
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		s, r := tryLoad(t, command("load", source, "main.bad.t", "--json"))
		if r.code != 0 || s.Files.Loaded != 3 || s.Files.Failed+s.Files.Skipped != 1 || !strings.Contains(r.stdout+r.stderr, "secret.json") {
			t.Errorf("want one file failed, got %+v\n%v", s, r)
		}
		if err := os.Chmod(file, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, r := tryLoad(t, command("load", source, "main.bad.t", "--json")); r.code != 0 {
			t.Error(r)
		}
		wantNumbers(t, lake(dir, "main.bad.t"), 0, 10, 10, 10, 20, 10, 100, 10)
	})
	t.Run("files_that_vanish_after_they_were_planned", func(t *testing.T) {
		dir, source := world(t)
		gone := filepath.Join(source, "sub")
		write(t, filepath.Join(gone, "a.json"), numbered(100, 10))
		cmd := siltCommand(t, dir, "load", source, "main.bad.t", "--json")
		cmd.Env = append(cmd.Env, "SILT_CRASH_AT=after-offsets")
		if r := run(t, cmd); r.code != -1 {
			t.Fatalf("want it killed: %v", r)
		}
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
		s := load(t, dir, source, "main.bad.t")
		if s.Files.Loaded != 3 || s.Files.Vanished != 1 {
			t.Errorf("got %+v, want one file vanished", s)
		}
		wantNumbers(t, lake(dir, "main.bad.t"), 0, 10, 10, 10, 20, 10)
	})
	t.Run("a_folder_that_is_gone_is_no_empty_one", func(t *testing.T) {
		dir, source := world(t)
		load(t, dir, source, "main.bad.t")
		if err := os.Rename(source, source+".away"); err != nil {
			t.Fatal(err)
		}
		_, r := tryLoad(t, siltCommand(t, dir, "load", source, "main.bad.t", "--json"))
		if r.code == 0 || !strings.Contains(r.stderr+r.stdout, source) {
			t.Errorf("want an error that names the folder: %v", r)
		}
		wantNumbers(t, lake(dir, "main.bad.t"), 0, 10, 10, 10, 20, 10)
	})
	t.Run("a_full_disk_stops_it_and_space_lets_it_go_on", func(t *testing.T) {
		dir, source := t.TempDir(), filepath.Join(t.TempDir(), "in")
		for i := range 8 {
			write(t, filepath.Join(source, fmt.Sprintf("f%d.json", i)), noise(i, 20_000))
		}
		small := filepath.Join(dir, "lake")
		mount(t, small, "size=3m")
		_, r := tryLoad(t, siltCommand(t, dir, "load", source, "main.bad.t", "--json"))
		if r.code == 0 || !strings.Contains(r.stderr+r.stdout, "no space left") {
			t.Fatalf("want an error of a full disk: %v", r)
		}
		if out, err := exec.Command("mount", "-o", "remount,size=200m", small).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		load(t, dir, source, "main.bad.t")
		var want []int
		for i := range 8 {
			want = append(want, i*20_000, 20_000)
		}
		wantNumbers(t, lake(dir, "main.bad.t"), want...)
	})
}

// numbered is so many records with successive numbers, and some text.
func numbered(first, count int) []byte {
	var out bytes.Buffer
	for n := first; n < first+count; n++ {
		fmt.Fprintf(&out, `{"n":%d,"text":"record number %d"}`+"\n", n, n)
	}
	return out.Bytes()
}

// noise is numbered, with text that does not compress.
func noise(file, count int) []byte {
	var out bytes.Buffer
	x := uint64(file + 1)
	for n := file * count; n < (file+1)*count; n++ {
		x = x*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&out, `{"n":%d,"text":"%x%x"}`+"\n", n, x, x*0x9e3779b97f4a7c15)
	}
	return out.Bytes()
}

func gzipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// wantNumbers wants the column n to hold the numbers from each first on, so many, each once.
func wantNumbers(t testing.TB, table string, firstCount ...int) {
	t.Helper()
	seen := make(map[string]int)
	for line := range strings.Lines(rows(t, table, "--columns", "n")) {
		seen[strings.TrimSpace(line)]++
	}
	for i := 0; i < len(firstCount); i += 2 {
		for n := firstCount[i]; n < firstCount[i]+firstCount[i+1]; n++ {
			seen[fmt.Sprintf(`{"n": %d}`, n)]--
		}
	}
	bad := 0
	for row, times := range seen {
		if times != 0 {
			if bad++; bad <= 5 {
				t.Errorf("row %s is there %+d times too often", row, times)
			}
		}
	}
}

// unprivileged is a folder, and commands in it of a user whom file modes bind.
func unprivileged(t *testing.T) (dir string, command func(args ...string) *exec.Cmd) {
	t.Helper()
	if os.Getuid() != 0 {
		dir := t.TempDir()
		return dir, func(args ...string) *exec.Cmd { return siltCommand(t, dir, args...) }
	}
	dir, err := os.MkdirTemp("", "silt-test") // those of the testing package are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "silt")
	copyFile(t, silt(t), binary)
	return dir, func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Dir, cmd.Env = dir, environment("HOME="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd
	}
}

// mount makes a small file system at a path, until the test ends.
func mount(t *testing.T, path, options string) {
	t.Helper()
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("left out: a full disk needs root, to mount a small one")
	}
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", path).CombinedOutput(); err != nil {
		t.Skipf("left out: a full disk needs leave to mount a small one: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", path).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}
