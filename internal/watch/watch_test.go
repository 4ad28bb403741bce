package watch_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/siltlake/silt/internal/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, root string, skip func(string) bool) *watch.Folder {
	t.Helper()
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		t.Skip("this system is not watched")
	}
	f, err := watch.Open(root, skip)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
}

// hear waits until all keys were told of, and returns those that were.
func hear(t *testing.T, f *watch.Folder, want ...string) (all []string) {
	t.Helper()
	for slices.ContainsFunc(want, func(k string) bool { return !slices.Contains(all, k) }) {
		select {
		case <-f.Changed():
		case <-t.Context().Done():
			t.Fatalf("heard %v, want %v", all, want)
		}
		keys, lost, err := f.Take()
		if err != nil || lost {
			t.Fatalf("lost %v, %v", lost, err)
		}
		all = append(all, keys...)
	}
	return all
}

func TestFolder(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "before.json"))
	write(t, filepath.Join(root, "deep", "er", "before.json"))
	f := open(t, root, func(folder string) bool { return strings.HasPrefix(filepath.Base(folder), "_") })

	t.Run("a_file_that_is_made_is_told_of", func(t *testing.T) {
		write(t, filepath.Join(root, "a b+é.json"))
		write(t, filepath.Join(root, "deep", "er", "c.json"))
		if got := hear(t, f, "a b+é.json", "deep/er/c.json"); slices.Contains(got, "before.json") {
			t.Errorf("got %v", got)
		}
	})
	t.Run("a_file_that_grows_is_told_of_again", func(t *testing.T) {
		file, err := os.OpenFile(filepath.Join(root, "before.json"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteString("\n{}"); err != nil {
			t.Fatal(err)
		}
		hear(t, f, "before.json")
	})
	t.Run("a_new_folder_is_watched_with_what_is_in_it", func(t *testing.T) {
		for range 20 {
			dir, err := os.MkdirTemp(root, "new")
			if err != nil {
				t.Fatal(err)
			}
			at := filepath.Base(dir)
			write(t, filepath.Join(dir, "x", "y", "early.json"))
			hear(t, f, at+"/x/y/early.json")
			write(t, filepath.Join(dir, "x", "y", "later.json"))
			hear(t, f, at+"/x/y/later.json")
		}
	})
	t.Run("a_file_or_folder_that_is_moved_in_is_told_of", func(t *testing.T) {
		outside := t.TempDir()
		write(t, filepath.Join(outside, "moved.json"))
		write(t, filepath.Join(outside, "folder", "in.json"))
		for _, name := range []string{"moved.json", "folder"} {
			if err := os.Rename(filepath.Join(outside, name), filepath.Join(root, name)); err != nil {
				t.Skip(err) // two file systems
			}
		}
		hear(t, f, "moved.json", "folder/in.json")
	})
	t.Run("what_is_skipped_and_what_is_removed_is_not_told_of", func(t *testing.T) {
		write(t, filepath.Join(root, "_side", "x.json"))
		if err := os.Remove(filepath.Join(root, "deep", "er", "c.json")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, "last.json"))
		if got := hear(t, f, "last.json"); slices.Contains(got, "_side/x.json") || slices.Contains(got, "deep/er/c.json") {
			t.Errorf("got %v", got)
		}
	})
	t.Run("a_folder_that_goes_away_is_for_a_listing", func(t *testing.T) {
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
		for {
			<-f.Changed()
			if _, lost, err := f.Take(); lost && err == nil {
				return
			}
		}
	})
}

func TestOpenOfWhatIsNotThere(t *testing.T) {
	if _, err := watch.Open(filepath.Join(t.TempDir(), "absent"), nil); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, watch.ErrNoWatch) {
		t.Errorf("got %v", err)
	}
}
