package objstore_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/objstore/objstoretest"
)

func TestMem(t *testing.T) {
	objstoretest.Run(t, func(*testing.T) objstore.Store { return new(objstore.Mem) })
}

func TestDir(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Store {
		return objstore.NewDir(filepath.Join(t.TempDir(), "made by the first write"))
	})
}

// plain hides every method of a store but those of the interface.
type plain struct{ objstore.Store }

func TestCreateWithoutStreams(t *testing.T) {
	objstoretest.Run(t, func(*testing.T) objstore.Store { return plain{new(objstore.Mem)} })
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// listing renders a listing: keys, and errors as key!.
func listing(t *testing.T, s objstore.Store) string {
	t.Helper()
	var out []string
	for o, err := range s.List(t.Context(), "", "") {
		var oe *objstore.ObjectError
		switch {
		case errors.As(err, &oe):
			out = append(out, oe.Key+"!")
		case err != nil:
			t.Fatal(err)
		default:
			out = append(out, o.Key)
		}
	}
	return strings.Join(out, " ")
}

func TestDirNeverLeavesItsFolder(t *testing.T) {
	base := t.TempDir()
	write(t, filepath.Join(base, "outside"), "secret")
	write(t, filepath.Join(base, "in", "file"), "x")
	for link, target := range map[string]string{
		"inside": "file", "out": "../outside", "loop": "loop", "up": "..", "abs": filepath.Join(base, "outside"),
	} {
		if err := os.Symlink(target, filepath.Join(base, "in", link)); err != nil {
			t.Skip(err)
		}
	}
	s := objstore.NewDir(filepath.Join(base, "in"))
	if got, want := listing(t, s), "abs! file inside loop! out! up!"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, key := range []string{"../outside", "out", "abs", "up/outside"} {
		if _, _, err := objstore.ReadAll(t.Context(), s, key); err == nil {
			t.Errorf("%s was read", key)
		}
		if _, err := objstore.PutBytes(t.Context(), s, key+"/new", nil, objstore.Cond{}); err == nil {
			t.Errorf("%s/new was written", key)
		}
	}
}

func TestDirPassesOverWhatIsNotAFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), "x")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Skip(err)
	}
	s := objstore.NewDir(dir)
	if got, want := listing(t, s), "a pipe!"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	_, _, err := s.Open(t.Context(), "pipe", objstore.Range{})
	if !errors.Is(err, objstore.ErrNotRegular) {
		t.Errorf("opening a pipe: got %v", err)
	}
}

func TestDirGoesOnPastAnUnreadableFolder(t *testing.T) {
	if os.Getuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("root reads every folder")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "1"), "x")
	write(t, filepath.Join(dir, "b", "1"), "x")
	if err := os.Chmod(filepath.Join(dir, "a"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Join(dir, "a"), 0o777)
	if got, want := listing(t, objstore.NewDir(dir)), "a/! b/1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDirReadFailsWhenTheFileChangesUnderIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, strings.Repeat("old", 1000))
	r, _, err := objstore.NewDir(filepath.Dir(path)).Open(t.Context(), "f", objstore.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("more")
	f.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, objstore.ErrPrecondition) {
		t.Errorf("got %v, want ErrPrecondition", err)
	}
}

func TestDirListsAFolderThatWasMadeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	s := objstore.NewDir(dir)
	write(t, filepath.Join(dir, "a"), "x")
	if got := listing(t, s); got != "a" {
		t.Fatal(got)
	}
	os.RemoveAll(dir)
	if got := listing(t, s); got != "" {
		t.Errorf("a removed folder lists %s", got)
	}
	write(t, filepath.Join(dir, "b"), "x")
	if got := listing(t, s); got != "b" {
		t.Errorf("got %s, want b", got)
	}
}

func TestDirListsNoTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, ".silt-tmp-ABC"), "x")
	if got := listing(t, objstore.NewDir(dir)); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestProbe(t *testing.T) {
	for name, s := range map[string]objstore.Store{"memory": new(objstore.Mem), "a_folder": objstore.NewDir(t.TempDir())} {
		t.Run(name+"_is_safe_and_nothing_stays", func(t *testing.T) {
			for _, c := range objstore.Probe(t.Context(), s, "") {
				if c.Err != nil {
					t.Errorf("%s: %v", c.Name, c.Err)
				}
			}
			if got := listing(t, s); got != "" {
				t.Errorf("it left %s", got)
			}
		})
	}
}
