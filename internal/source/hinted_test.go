package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

// unreadable is a store of which some objects may be listed and not read.
type unreadable struct {
	objstore.Store
	key string
}

func (u unreadable) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	if key == u.key {
		return nil, objstore.Object{}, fmt.Errorf("GetObject %s: %w", key, fs.ErrPermission)
	}
	return u.Store.Open(ctx, key, r)
}

func TestHintsDecideNoMoreThanWhereToLook(t *testing.T) {
	store := new(objstore.Mem)
	known := seen{}
	for _, key := range []string{"in/a.json", "in/b.json", "in/b.json.gz", "in/c d+e.json", "in/_hidden.json", "in/changed.json", "in/seen.json", "other/x.json"} {
		o, err := objstore.PutBytes(t.Context(), store, key, []byte("{}"), objstore.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		switch key {
		case "in/seen.json":
			known[key] = o
		case "in/changed.json":
			o.ETag = "before"
			known[key] = o
		}
	}
	hint := func(s objstore.Store, o source.Options, hints ...string) *source.Found {
		t.Helper()
		return discover(t, source.NewHinted(s, hints), o, known)
	}
	in := source.Options{Prefix: "in"}
	for name, c := range map[string]struct {
		hints []string
		want  string
	}{
		"a new file is found, whatever the order and number of hints": {[]string{"in/c d+e.json", "in/a.json", "in/a.json"}, "in/a.json in/c d+e.json"},
		"what is not there is passed over":                            {[]string{"in/absent.json", "in/a.json"}, "in/a.json"},
		"what is not wanted is passed over":                           {[]string{"in/_hidden.json", "other/x.json"}, ""},
		"what is known is passed over":                                {[]string{"in/seen.json"}, ""},
		"nothing is found without a hint":                             {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := keys(hint(store, in, c.hints...).Files); got != c.want {
				t.Errorf("got %s", got)
			}
		})
	}
	t.Run("a changed file is one", func(t *testing.T) {
		if found := hint(store, in, "in/changed.json"); keys(found.Changed) != "in/changed.json" || len(found.Files) > 0 {
			t.Errorf("got %+v", found)
		}
	})
	t.Run("limits and age count", func(t *testing.T) {
		o := in
		o.MaxFiles, o.Ahead = 1, 5
		if found := hint(store, o, "in/a.json", "in/b.json"); len(found.Files) != 1 || len(found.Ahead) != 1 {
			t.Errorf("got %+v", found)
		}
		o.MinAge = time.Hour
		if found := hint(store, o, "in/a.json", "in/b.json"); found.Young != 2 || len(found.Files) > 0 {
			t.Errorf("got %+v", found)
		}
	})
	t.Run("what may be listed and not read is found", func(t *testing.T) {
		s := unreadable{store, "in/b.json"}
		if got := keys(hint(s, in, "in/b.json").Files); got != "in/b.json" {
			t.Errorf("got %s", got)
		}
		s.key = "in/absent.json"
		if got := keys(hint(s, in, "in/absent.json").Files); got != "" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("it finds what a listing finds, to the version", func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"a.json", "deep/b.json"} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("/", filepath.Join(dir, "link.json")); err != nil {
			t.Skip(err)
		}
		for _, s := range []objstore.Store{store, objstore.NewDir(dir)} {
			all := discover(t, s, source.Options{}, known)
			var names []string
			for o, err := range s.List(t.Context(), "", "") {
				if oe := (*objstore.ObjectError)(nil); errors.As(err, &oe) {
					o.Key = oe.Key
				}
				names = append(names, o.Key)
			}
			got := hint(s, source.Options{}, names...)
			if fmt.Sprint(got.Files, got.Changed, got.Skipped) != fmt.Sprint(all.Files, all.Changed, all.Skipped) {
				t.Errorf("got %+v, want %+v", got, all)
			}
		}
	})
}

func TestWants(t *testing.T) {
	wants, err := source.Options{Prefix: "in", Glob: "day*/*.json"}.Wants()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"in/day1/a.json": true, "in/day1/": true, "in/x/a.json": false, "in/_x/": false, "out/day1/a.json": false} {
		if wants(key) != want {
			t.Errorf("%s: got %v", key, !want)
		}
	}
}
