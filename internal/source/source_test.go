package source_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// listing is a store that only lists.
type listing struct {
	objstore.Store
	files []objstore.Object
	errs  []error
}

func (l listing) List(_ context.Context, prefix, _ string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for _, o := range l.files {
			if strings.HasPrefix(o.Key, prefix) && !yield(o, nil) {
				return
			}
		}
		for _, err := range l.errs {
			if !yield(objstore.Object{}, err) {
				return
			}
		}
	}
}

// files makes objects of keys, each a minute younger than the one before, of 10 bytes.
func files(keys ...string) []objstore.Object {
	var list []objstore.Object
	for i, key := range keys {
		list = append(list, objstore.Object{Key: key, Size: 10, ETag: "1", ModTime: noon.Add(time.Duration(i) * time.Minute)})
	}
	return list
}

type seen map[string]objstore.Object

func (s seen) Pass(context.Context) (func(string) (objstore.Object, bool, bool, error), func(), error) {
	return func(key string) (objstore.Object, bool, bool, error) {
		o, ok := s[key]
		return o, ok, false, nil
	}, func() {}, nil
}

func keys(list []objstore.Object) string {
	var keys []string
	for _, o := range list {
		keys = append(keys, o.Key)
	}
	return strings.Join(keys, " ")
}

func discover(t *testing.T, s objstore.Store, o source.Options, known seen) *source.Found {
	t.Helper()
	found, err := source.Discover(t.Context(), s, o, known)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestNames(t *testing.T) {
	all := []string{
		"in/a.json", "in/day1/b.json", "in/day1/x/c.json", "in/day2/d.csv", "in/e.json._COPYING_",
		"in/_tmp/f.json", "in/_g.json", "in/.h.json", "in/_p=1/i.json", "in/_p=1/_j=1", "in/.q=2/k.json", "in/day1/.git/l.json",
		"in/day3/", "inside/m.json", "out/n.json",
		"", // the mark of the folder that is the store
	}
	for _, c := range []struct {
		name, want string
		o          source.Options
	}{
		{"all_below_the_prefix", "in/a.json in/day1/b.json in/day1/x/c.json in/day2/d.csv in/_p=1/i.json in/.q=2/k.json", source.Options{Prefix: "in"}},
		{"a_slash_after_the_prefix_changes_nothing", "in/a.json in/day1/b.json in/day1/x/c.json in/day2/d.csv in/_p=1/i.json in/.q=2/k.json", source.Options{Prefix: "in/"}},
		{"a_named_folder_is_not_hidden", "in/_tmp/f.json", source.Options{Prefix: "in/_tmp"}},
		{"a_star_crosses_slashes", "in/a.json in/day1/b.json in/day1/x/c.json in/_p=1/i.json in/.q=2/k.json", source.Options{Prefix: "in", Glob: "*.json"}},
		{"a_strict_star_does_not", "in/a.json", source.Options{Prefix: "in", Glob: "*.json", StrictGlobber: true}},
		{"two_stars_always_do", "in/a.json in/day1/b.json in/day1/x/c.json in/_p=1/i.json in/.q=2/k.json", source.Options{Prefix: "in", Glob: "**/*.json", StrictGlobber: true}},
		{"a_folder_that_matches_is_wanted_whole", "in/day1/b.json in/day1/x/c.json in/day2/d.csv", source.Options{Prefix: "in", Glob: "day[1-9]", StrictGlobber: true}},
		{"a_slash_at_the_end_wants_folders", "in/day1/b.json in/day1/x/c.json", source.Options{Prefix: "in", Glob: "{a.json,day1}/", StrictGlobber: true}},
		{"alternatives", "in/a.json in/day2/d.csv", source.Options{Prefix: "in", Glob: "{a.json,day2/*.{csv,tsv}}", StrictGlobber: true}},
		{"a_negated_set", "in/day2/d.csv", source.Options{Prefix: "in", Glob: "day[^1]", StrictGlobber: true}},
		{"on_the_file_name", "in/day1/b.json in/day1/x/c.json", source.Options{Prefix: "in", PathGlobFilter: "[bc].json"}},
		{"on_both", "in/day1/x/c.json", source.Options{Prefix: "in", Glob: "day1/*/*", PathGlobFilter: "*.json"}},
		{"modified_after_is_exclusive", "in/day2/d.csv in/_p=1/i.json in/.q=2/k.json", source.Options{Prefix: "in", ModifiedAfter: noon.Add(2 * time.Minute)}},
		{"an_age_is_a_bound_too", "in/day2/d.csv in/_p=1/i.json in/.q=2/k.json", source.Options{Prefix: "in", MaxAge: time.Hour, Now: noon.Add(time.Hour + 2*time.Minute)}},
		{"modified_before_is_exclusive", "in/a.json in/day1/b.json", source.Options{Prefix: "in", ModifiedBefore: noon.Add(2 * time.Minute)}},
		{"the_whole_store", "in/a.json in/day1/b.json in/day1/x/c.json in/day2/d.csv in/_p=1/i.json in/.q=2/k.json inside/m.json out/n.json", source.Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := keys(discover(t, listing{files: files(all...)}, c.o, nil).Files); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestFilesPassedOverAreCountedByWhatKeepsThemOut(t *testing.T) {
	list := listing{files: files("in/a.json", "in/b.json", "in/c.json", "in/d.csv", "in/e.md5", "in/_f.json", "in/day/", "in/x/g.json", "in/h.json", "inside")}
	o := source.Options{Prefix: "in", Glob: "*", StrictGlobber: true, PathGlobFilter: "*.{json,md5}", Exclude: "*.md5",
		ModifiedAfter: noon, ModifiedBefore: noon.Add(8 * time.Minute)}
	f := discover(t, list, o, nil)
	if got, want := fmt.Sprint(f.PassedOver), "map[exclude:1 hidden:1 modifiedAfter:1 modifiedBefore:1 pathGlobFilter:1]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	o = source.Options{Prefix: "in", Glob: "?.json", StrictGlobber: true, MaxAge: time.Minute, Now: noon.Add(2 * time.Minute)}
	known := seen{"in/a.json": {Key: "in/a.json", ETag: "0"}}
	if got, want := fmt.Sprint(discover(t, list, o, known).PassedOver), "map[glob:3 hidden:1 maxFileAge:1]"; got != want {
		t.Errorf("where one is known: got %s, want %s", got, want)
	}
}

func TestCheckGlob(t *testing.T) {
	for pattern, want := range map[string]string{
		"":            "",
		"a*?[a-z]{b}": "",
		`\*\[\{`:      "",
		"[]a]":        "",
		"[a":          `glob "[a": character 1: [ without ]`,
		"{a":          `glob "{a": { without }`,
		"a}":          `glob "a}": character 2: } without {`,
		`a\`:          `glob "a\\": nothing follows the last \`,
	} {
		if got := fmt.Sprint(source.CheckGlob(pattern)); got != want && (want != "" || got != "<nil>") {
			t.Errorf("%s: got %s, want %s", pattern, got, want)
		}
	}
	for _, pattern := range []string{"[z-a]", "[a"} {
		if _, err := source.Discover(t.Context(), listing{}, source.Options{Glob: pattern}, seen{}); err == nil {
			t.Errorf("%s: no error", pattern)
		}
	}
}

// TestAQuotedGlobMatchesItself holds for any name that a glob of it, with each special character
// quoted, matches it and nothing else.
func TestAQuotedGlobMatchesItself(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		part := rapid.StringOfN(rapid.RuneFrom([]rune(`ab*?[]{}^-,\ é!`)), 1, 8, -1)
		name, other := part.Draw(rt, "name"), part.Draw(rt, "other")
		var glob strings.Builder
		for _, c := range name {
			if strings.ContainsRune(`*?[]{},\`, c) {
				glob.WriteByte('\\')
			}
			glob.WriteRune(c)
		}
		found, err := source.Discover(context.Background(), listing{files: files(name, other)}, source.Options{Glob: glob.String(), StrictGlobber: true}, seen{})
		if err != nil {
			rt.Fatal(err)
		}
		for _, o := range found.Files {
			if o.Key != name {
				rt.Errorf("%s matches %s", glob.String(), o.Key)
			}
		}
		if len(found.Files) == 0 {
			rt.Errorf("%s does not match %s", glob.String(), name)
		}
	})
}

func TestWhatIsNew(t *testing.T) {
	list := listing{files: files("a", "b", "c")}
	known := seen{"a": {Key: "a", ETag: "1"}, "b": {Key: "b", ETag: "0"}}
	t.Run("a_changed_file_is_reported_and_not_taken", func(t *testing.T) {
		f := discover(t, list, source.Options{}, known)
		if keys(f.Files) != "c" || keys(f.Changed) != "b" {
			t.Errorf("got %s, changed %s", keys(f.Files), keys(f.Changed))
		}
	})
	t.Run("it_is_taken_when_overwrites_are_allowed", func(t *testing.T) {
		f := discover(t, list, source.Options{AllowOverwrites: true}, known)
		if keys(f.Files) != "b c" || keys(f.Changed) != "b" {
			t.Errorf("got %s, changed %s", keys(f.Files), keys(f.Changed))
		}
	})
	t.Run("a_young_file_waits", func(t *testing.T) {
		f := discover(t, list, source.Options{MinAge: 2 * time.Minute, Now: noon.Add(3 * time.Minute)}, nil)
		if keys(f.Files) != "a b" || f.Young != 1 {
			t.Errorf("got %s, %d young", keys(f.Files), f.Young)
		}
	})
	t.Run("a_name_that_is_listed_twice_is_one_file", func(t *testing.T) {
		twice := listing{files: append(files("a", "b"), files("a", "b")...)}
		if f := discover(t, twice, source.Options{}, nil); keys(f.Files) != "a b" {
			t.Errorf("got %s", keys(f.Files))
		}
	})
}

func TestLimits(t *testing.T) {
	list := files("d", "c", "b", "a", "e") // by time
	for _, c := range []struct {
		name, want string
		o          source.Options
		waiting    int
	}{
		{"none", "d c b a e", source.Options{}, 0},
		{"files", "d c", source.Options{MaxFiles: 2}, 3},
		{"the_file_that_passes_the_bytes_is_in", "d c", source.Options{MaxBytes: 15}, 3},
		{"the_file_that_reaches_them_is_the_last", "d c", source.Options{MaxBytes: 20}, 3},
		{"one_file_is_always_taken", "d", source.Options{MaxBytes: 1}, 4},
		{"the_lower_of_both", "d c b", source.Options{MaxFiles: 3, MaxBytes: 1000}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := discover(t, listing{files: list}, c.o, nil)
			if keys(f.Files) != c.want || f.Waiting != c.waiting || f.WaitingBytes != int64(10*c.waiting) {
				t.Errorf("got %s, waiting %d files of %d bytes", keys(f.Files), f.Waiting, f.WaitingBytes)
			}
		})
	}
}

// TestABatchIsTheSameInAnyOrderOfListing compares with sorting everything first.
func TestABatchIsTheSameInAnyOrderOfListing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := source.Options{MaxFiles: rapid.IntRange(0, 6).Draw(rt, "most files"), MaxBytes: int64(rapid.IntRange(0, 40).Draw(rt, "most bytes"))}
		var list []objstore.Object
		for i := range rapid.IntRange(0, 12).Draw(rt, "files") {
			list = append(list, objstore.Object{
				Key: fmt.Sprintf("%02d", i), ETag: "1", Size: int64(rapid.IntRange(0, 15).Draw(rt, "size")),
				ModTime: noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "minute")) * time.Minute),
			})
		}
		sorted := slices.Clone(list)
		slices.SortStableFunc(sorted, func(a, b objstore.Object) int { return a.ModTime.Compare(b.ModTime) })
		var want []objstore.Object
		bytes := int64(0)
		for _, f := range sorted {
			if o.MaxFiles > 0 && len(want) == o.MaxFiles || o.MaxBytes > 0 && bytes >= o.MaxBytes {
				break
			}
			want = append(want, f)
			bytes += f.Size
		}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "order"), 0))
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		found, err := source.Discover(context.Background(), listing{files: list}, o, seen{})
		if err != nil {
			rt.Fatal(err)
		}
		if keys(found.Files) != keys(want) || found.Waiting != len(list)-len(want) {
			rt.Errorf("got %s and %d waiting, want %s", keys(found.Files), found.Waiting, keys(want))
		}
	})
}

func TestOneListingServesManyBatches(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var list []objstore.Object
		for i := range rapid.IntRange(1, 60).Draw(rt, "files") {
			list = append(list, objstore.Object{Key: fmt.Sprintf("%03d", i), ETag: "1", Size: rapid.Int64Range(0, 9).Draw(rt, "size"),
				ModTime: time.Unix(rapid.Int64Range(0, 9).Draw(rt, "time"), 0)})
		}
		o := source.Options{MaxFiles: rapid.IntRange(0, 9).Draw(rt, "maxFiles"), MaxBytes: rapid.Int64Range(0, 30).Draw(rt, "maxBytes")}
		with := o
		with.Ahead = rapid.IntRange(0, 70).Draw(rt, "ahead")
		known := seen{}
		var ahead []objstore.Object
		for listings := 0; len(known) < len(list); {
			alone, err := source.Discover(context.Background(), listing{files: list}, o, known)
			if err != nil {
				rt.Fatal(err)
			}
			var batch []objstore.Object
			if batch, ahead = with.Cut(ahead); len(batch) == 0 {
				f, err := source.Discover(context.Background(), listing{files: list}, with, known)
				if err != nil {
					rt.Fatal(err)
				}
				batch, ahead = f.Files, f.Ahead
				if listings++; f.Waiting != alone.Waiting || f.WaitingBytes != alone.WaitingBytes {
					rt.Errorf("%d files of %d bytes wait, want %d of %d", f.Waiting, f.WaitingBytes, alone.Waiting, alone.WaitingBytes)
				}
			}
			// The last one of those kept may be short of files that were not.
			if got, want := keys(batch), keys(alone.Files); got != want && (len(ahead) > 0 || !strings.HasPrefix(want, got)) {
				rt.Fatalf("got %s, want %s", got, want)
			}
			for _, f := range batch {
				known[f.Key] = f
			}
			if with.Ahead >= len(list) && listings > 1 {
				rt.Fatal("it listed twice")
			}
		}
	})
}

func TestWhatCannotBeSeen(t *testing.T) {
	denied := func(key string) error { return &objstore.ObjectError{Key: key, Err: objstore.ErrPermission} }
	t.Run("is_collected", func(t *testing.T) {
		s := listing{files: files("in/a.json"), errs: []error{
			&objstore.ObjectError{Key: "in/pipe.json", Err: objstore.ErrNotRegular},
			denied("in/closed/"), denied("in/.hidden/"), denied("in/other.txt"),
			&objstore.ObjectError{Key: "in/b.json", Err: &os.PathError{Op: "lstat", Path: "/secret", Err: syscall.EIO}},
		}}
		f := discover(t, s, source.Options{Prefix: "in", Glob: "*.json"}, nil)
		want := []source.Skipped{
			{Key: "in/pipe.json", Reason: "not a regular file"}, {Key: "in/closed/", Reason: "permission denied"},
			{Key: "in/b.json", Reason: "input/output error"},
		}
		if keys(f.Files) != "in/a.json" || !slices.Equal(f.Skipped, want) {
			t.Errorf("got %s, %v", keys(f.Files), f.Skipped)
		}
	})
	for name, err := range map[string]error{
		"the_folder_itself_ends_it": denied("in/"), "a_folder_above_ends_it": denied(""), "any_other_error_ends_it": errors.New("no network"),
	} {
		t.Run(name, func(t *testing.T) {
			s := listing{files: files("in/a"), errs: []error{err}}
			if _, got := source.Discover(t.Context(), s, source.Options{Prefix: "in"}, seen{}); !errors.Is(got, err) {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("{}"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("in/a/1.json")
	write("in/2.json")
	if err := os.MkdirAll(filepath.Join(dir, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "in/pipe"), 0o666); err != nil {
		t.Skip(err)
	}
	s := objstore.NewDir(dir)
	f := discover(t, s, source.Options{Prefix: "in"}, nil)
	if len(f.Files) != 2 || len(f.Skipped) != 1 || f.Skipped[0].Key != "in/pipe" {
		t.Errorf("got %s, %v", keys(f.Files), f.Skipped)
	}
	t.Run("an_empty_one_has_nothing", func(t *testing.T) {
		if f := discover(t, s, source.Options{Prefix: "empty"}, nil); len(f.Files) != 0 {
			t.Errorf("got %s", keys(f.Files))
		}
	})
	for name, c := range map[string]struct {
		store  objstore.Store
		prefix string
	}{
		"one_that_is_not_there":         {s, "nowhere"},
		"a_store_that_is_not_there":     {objstore.NewDir(filepath.Join(dir, "nowhere")), ""},
		"one_that_vanishes_at_the_look": {vanishing{objstore.NewDir(dir), filepath.Join(dir, "in")}, "in"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := source.Discover(t.Context(), c.store, source.Options{Prefix: c.prefix}, seen{})
			if !errors.Is(err, source.ErrNoFolder) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// vanishing loses its folder after the first file of a listing.
type vanishing struct {
	*objstore.Dir
	path string
}

func (v vanishing) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for o, err := range v.Dir.List(ctx, prefix, after) {
			if !yield(o, err) {
				return
			}
			os.RemoveAll(v.path)
		}
	}
}

// TestNaughtyNames makes a file of every naughty string that can be a file's name.
func TestNaughtyNames(t *testing.T) {
	dir := t.TempDir()
	made := map[string]bool{}
	for _, name := range append(naughtyStrings(t), "\xff\xfe", "a\nb", "%2e%2e%2f", "trailing ", strings.Repeat("k", 255)) {
		if strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") || name == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o666); err == nil {
			made[name] = true
		}
	}
	if len(made) < 5 {
		t.Fatalf("only %d names", len(made))
	}
	s := objstore.NewDir(dir)
	f := discover(t, s, source.Options{}, nil)
	if len(f.Files) != len(made) || len(f.Skipped) != 0 {
		t.Errorf("got %d files and %d skipped, want %d", len(f.Files), len(f.Skipped), len(made))
	}
	known := seen{}
	for _, o := range f.Files {
		if !made[o.Key] {
			t.Errorf("%q was not made", o.Key)
		}
		if b, _, err := objstore.ReadAll(t.Context(), s, o.Key); err != nil || !bytes.Equal(b, []byte("{}")) {
			t.Errorf("%q: %v", o.Key, err)
		}
		known[o.Key] = o
	}
	if f := discover(t, s, source.Options{}, known); len(f.Files)+len(f.Changed) != 0 {
		t.Errorf("found again: %q %q", keys(f.Files), keys(f.Changed))
	}
}

// naughtyStrings are those of the test data, or none.
func naughtyStrings(t *testing.T) []string {
	root := os.Getenv("SILT_TESTDATA")
	if root == "" {
		root = "../../../shared"
	}
	paths, err := filepath.Glob(filepath.Join(root, "data/json/real/naughty-strings/data/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Log("no naughty-strings below SILT_TESTDATA, a few names only")
	}
	var all []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		if err := json.Unmarshal(text, &list); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, s := range list {
			if strings.Contains(path, "base64") {
				raw, err := base64.StdEncoding.DecodeString(s)
				if err != nil {
					t.Fatal(err)
				}
				s = string(raw)
			}
			all = append(all, s)
		}
	}
	return all
}
