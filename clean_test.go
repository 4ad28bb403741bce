package silt_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// filesBelow lists the files below a folder and what they hold.
func filesBelow(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all = append(all, fmt.Sprintf("%s=%s", filepath.ToSlash(rel), text))
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

// writeFile writes a file, and the folders above it.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestCleanSource(t *testing.T) {
	day := time.Now().UTC().Format("2006/01/02")
	type world struct {
		dir, in, old string
		cfg          silt.Config
	}
	setUp := func(t *testing.T, options map[string]string) *world {
		dir := t.TempDir()
		w := &world{dir: dir, in: filepath.Join(dir, "in"), old: filepath.Join(dir, "old")}
		writeFile(t, filepath.Join(w.in, "sub/a.json"), `{"id":1}`)
		writeFile(t, filepath.Join(w.in, "b.json"), `{"id":2}`)
		w.cfg = silt.Config{Source: w.in, Target: silt.Path(filepath.Join(dir, "t")), Options: maps.Clone(options)}
		return w
	}
	move := func(to string) map[string]string {
		return map[string]string{"cleanSource": "MOVE", "cleanSource.retentionDuration": "0 seconds", "cleanSource.moveDestination": to}
	}
	t.Run("move_takes_files_to_the_day_of_their_batch", func(t *testing.T) {
		w := setUp(t, nil)
		w.cfg.Options = move(w.old + "/{yyyy}/{MM}/{dd}")
		s, err := runOnce(t, w.cfg)
		if err != nil || s.Files.Cleaned != 2 || s.Rows != 2 {
			t.Errorf("got %+v, %v", s, err)
		}
		if got, want := filesBelow(t, w.old), fmt.Sprintf(`%s/b.json={"id":2} %s/sub/a.json={"id":1}`, day, day); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := filesBelow(t, w.in); got != "" {
			t.Errorf("the source has %s", got)
		}
	})
	t.Run("a_name_that_is_taken_gets_the_start_of_the_etag", func(t *testing.T) {
		w := setUp(t, nil)
		w.cfg.Options = move(w.old)
		writeFile(t, filepath.Join(w.old, "b.json"), `{"id":9}`)
		if _, err := runOnce(t, w.cfg); err != nil {
			t.Fatal(err)
		}
		got := filesBelow(t, w.old)
		if !strings.Contains(got, `b.json={"id":9}`) || strings.Count(got, "b-") != 1 || strings.Count(got, `{"id":2}`) != 1 {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a_copy_that_is_there_already_is_the_file", func(t *testing.T) {
		w := setUp(t, nil)
		w.cfg.Options = move(w.old)
		writeFile(t, filepath.Join(w.old, "b.json"), `{"id":2}`)
		if _, err := runOnce(t, w.cfg); err != nil {
			t.Fatal(err)
		}
		if got, want := filesBelow(t, w.old), `b.json={"id":2} sub/a.json={"id":1}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("files_stay_until_they_are_due", func(t *testing.T) {
		w := setUp(t, map[string]string{"cleanSource": "DELETE"})
		if s, err := runOnce(t, w.cfg); err != nil || s.Files.Cleaned != 0 {
			t.Errorf("got %+v, %v", s, err)
		}
		w.cfg.Options = move(w.old)
		if s, err := runOnce(t, w.cfg); err != nil || s.Files.Cleaned != 2 { // of the batch of the run before
			t.Errorf("got %+v, %v", s, err)
		}
		if s, err := runOnce(t, w.cfg); err != nil || s.Files.Cleaned != 0 {
			t.Errorf("got %+v, %v", s, err)
		}
	})
	t.Run("a_source_that_cannot_be_cleaned_is_a_warning", func(t *testing.T) {
		w := setUp(t, nil)
		writeFile(t, w.old, "no folder")
		w.cfg.Options = move(w.old)
		s, err := runOnce(t, w.cfg)
		if err != nil || s.Rows != 2 || len(s.Warnings) != 1 || s.Warnings[0].Code != "SILT-3010" {
			t.Errorf("got %+v, %v", s, err)
		}
	})
	t.Run("a_hidden_folder_of_the_table_takes_files_which_vacuum_passes_over", func(t *testing.T) {
		w := setUp(t, move(""))
		w.cfg.Options["cleanSource.moveDestination"] = filepath.Join(w.dir, "t/_old/{yyyy}")
		if s, err := runOnce(t, w.cfg); err != nil || s.Files.Cleaned != 2 {
			t.Errorf("got %+v, %v", s, err)
		}
	})
	t.Run("a_file_that_would_be_moved_into_the_source_stays", func(t *testing.T) {
		w := setUp(t, move(""))
		w.cfg.Options["cleanSource.moveDestination"] = w.dir
		writeFile(t, filepath.Join(w.in, "in/b.json"), `{"id":2}`)
		s, err := runOnce(t, w.cfg)
		if err != nil || s.Rows != 3 || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Text, "inside the source") {
			t.Errorf("got %+v, %v", s, err)
		}
		if got := filesBelow(t, w.in); !strings.Contains(got, `in/b.json={"id":2}`) {
			t.Errorf("the source has %s", got)
		}
		if s, err := runOnce(t, w.cfg); err != nil || s.Rows != 0 {
			t.Errorf("got %+v, %v", s, err)
		}
	})
	t.Run("a_folder_that_becomes_a_link_to_the_source_takes_nothing_from_it", func(t *testing.T) {
		w := setUp(t, move(""))
		w.cfg.Options["cleanSource.moveDestination"] = w.old
		p, err := silt.Open(t.Context(), w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		before := filesBelow(t, w.in)
		if err := os.Symlink(w.in, w.old); err != nil {
			t.Skip(err)
		}
		s, err := p.RunOnce(t.Context())
		if err != nil || s.Rows != 2 || s.Files.Cleaned != 0 || len(s.Warnings) != 1 {
			t.Errorf("got %+v, %v", s, err)
		}
		if got := filesBelow(t, w.in); got != before {
			t.Errorf("the source has %s", got)
		}
	})
	for name, options := range map[string]map[string]string{
		"a_destination_inside_the_source_is_refused": {"cleanSource": "MOVE", "cleanSource.moveDestination": "SOURCE/old"},
		"one_that_is_the_source_on_some_day_is":      {"cleanSource": "MOVE", "cleanSource.moveDestination": "DAYS/{yyyy}"},
		"one_that_lies_in_it_on_some_day_is":         {"cleanSource": "MOVE", "cleanSource.moveDestination": "DAYS/{yyyy}/{MM}/{dd}"},
		"one_that_a_vacuum_of_the_table_empties_is":  {"cleanSource": "MOVE", "cleanSource.moveDestination": "DIR/t/old"},
		"one_that_a_link_leads_into_it_is":           {"cleanSource": "MOVE", "cleanSource.moveDestination": "LINK/old"},
		"move_needs_a_destination":                   {"cleanSource": "MOVE"},
		"delete_waits_for_a_week":                    {"cleanSource": "DELETE", "cleanSource.retentionDuration": "1 day"},
		"folders_have_no_tags":                       {"cleanSource": "TAG"},
		"a_destination_alone_means_nothing":          {"cleanSource.moveDestination": "old"},
		"a_time_is_a_number_and_a_unit":              {"cleanSource": "DELETE", "cleanSource.retentionDuration": "a while"},
	} {
		t.Run(name, func(t *testing.T) {
			w := setUp(t, options)
			link := filepath.Join(w.dir, "link")
			if err := os.Symlink(w.in, link); err != nil {
				t.Skip(err)
			}
			days := filepath.Join(w.dir, "days")
			if strings.HasPrefix(options["cleanSource.moveDestination"], "DAYS") {
				w.cfg.Source = filepath.Join(days, "2026")
				writeFile(t, filepath.Join(w.cfg.Source, "a.json"), `{"id":1}`)
			}
			for k, v := range w.cfg.Options {
				w.cfg.Options[k] = strings.NewReplacer("SOURCE", w.in, "LINK", link, "DAYS", days, "DIR", w.dir).Replace(v)
			}
			if p, err := silt.Open(t.Context(), w.cfg); err == nil {
				p.Close()
				t.Error("no error")
			}
		})
	}
}

func TestCleanSourceInS3(t *testing.T) {
	options := func(server *s3test.Server, mode string) map[string]string {
		return map[string]string{"s3.endpoint": server.URL, "cleanSource": mode, "cleanSource.retentionDuration": "0 seconds"}
	}
	t.Run("move_copies_in_the_store", func(t *testing.T) {
		server, cfg := s3Config(t)
		cfg.Options = options(server, "MOVE")
		cfg.Options["cleanSource.moveDestination"] = "s3://lake/old"
		server.Put("landing", "orders/a b/1.json", `{"id":1}`)
		s, err := runOnce(t, cfg)
		_, calls := server.Calls()
		if err != nil || s.Files.Cleaned != 1 || calls["CopyObject"] != 2 { // the first tells what the store does
			t.Errorf("got %+v, %v, %v", s, err, calls)
		}
		if got, _ := server.Get("lake", "old/a b/1.json"); got != `{"id":1}` || len(server.Keys("landing", "")) > 0 {
			t.Errorf("got %s and %v", got, server.Keys("landing", ""))
		}
		states, err := silt.States(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for f, err := range states[0].Files(t.Context()) {
			if err != nil || f.ArchiveMode != "MOVE" || f.MoveLocation != "s3://lake/old/a b/1.json" {
				t.Errorf("got %+v, %v", f, err)
			}
		}
	})
	t.Run("a_version_that_came_later_stays", func(t *testing.T) {
		server, cfg := s3Config(t)
		cfg.Options = options(server, "MOVE")
		cfg.Options["cleanSource.moveDestination"] = "s3://lake/old"
		server.Put("landing", "orders/1.json", `{"id":1}`)
		server.Inject(func(c s3test.Call) s3test.Fault {
			if c.Op == "CopyObject" {
				go server.Put("landing", "orders/1.json", `{"id":2}`) // while the server looks at the copy
			}
			return s3test.None
		})
		if _, err := runOnce(t, cfg); err != nil {
			t.Fatal(err)
		}
		// Either it came before the delete, and stays, or after it.
		deadline := time.Now().Add(5 * time.Second)
		for got := ""; got != `{"id":2}`; got, _ = server.Get("landing", "orders/1.json") {
			if time.Now().After(deadline) {
				t.Fatal("the new version is gone")
			}
		}
	})
	t.Run("tag_marks_files", func(t *testing.T) {
		server, cfg := s3Config(t)
		cfg.Options = options(server, "TAG")
		server.Put("landing", "orders/1.json", `{"id":1}`)
		if s, err := runOnce(t, cfg); err != nil || s.Files.Cleaned != 1 || !strings.Contains(server.Tags("landing", "orders/1.json"), "silt.loaded") {
			t.Errorf("got %+v, %v, %s", s, err, server.Tags("landing", "orders/1.json"))
		}
		states, err := silt.States(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for f, err := range states[0].Files(t.Context()) {
			if err != nil || f.ArchiveMode != "TAG" || f.ArchiveTime == nil || f.MoveLocation != "" {
				t.Errorf("got %+v, %v", f, err)
			}
		}
	})
	t.Run("whatever_fails_each_file_is_moved_once_and_none_is_lost", func(t *testing.T) {
		for _, f := range []s3test.Fault{s3test.Reset, s3test.InternalAfter, s3test.ResetAfter, s3test.Late, s3test.Cut, s3test.ErrorIn200} {
			server, cfg := s3Config(t)
			cfg.Options = options(server, "MOVE")
			cfg.Options["cleanSource.moveDestination"] = "s3://lake/old"
			for i := range 3 {
				server.Put("landing", fmt.Sprintf("orders/%d.json", i), fmt.Sprintf(`{"id":%d}`, i))
			}
			n := 0
			server.Inject(func(c s3test.Call) s3test.Fault {
				if c.Op == "CopyObject" || c.Op == "DeleteObject" || strings.HasPrefix(c.Key, "old/") {
					if n++; n%2 == 0 {
						return f
					}
				}
				return s3test.None
			})
			for range 20 {
				_, _ = runOnce2(t, cfg)
				server.Settle()
				if len(server.Keys("landing", "")) == 0 {
					break
				}
			}
			server.Inject(nil)
			if _, err := runOnce(t, cfg); err != nil {
				t.Errorf("%s: %v", f, err)
			}
			for i := range 3 {
				if got, _ := server.Get("lake", fmt.Sprintf("old/%d.json", i)); got != fmt.Sprintf(`{"id":%d}`, i) {
					t.Errorf("%s: moved %q", f, got)
				}
			}
			if left := append(server.Keys("landing", ""), server.Keys("lake", "old/")...); len(left) != 3 {
				t.Errorf("%s: there are %v", f, left)
			}
			if info, err := silt.DescribeTable(t.Context(), cfg, nil); err != nil || info.Rows != 3 {
				t.Errorf("%s: %+v, %v", f, info, err)
			}
		}
	})
}

// archive is a pipeline in memory whose files are cleaned, its clock, and what is done in place of a call of
// the source.
type archive struct {
	t      *testing.T
	cfg    silt.Config
	now    time.Time
	source archiveSource

	mu     sync.Mutex
	stores map[string]*objstore.Mem
}

// archiveSource is a source; its hooks, when set, are asked before a file is opened, before it is taken away,
// and after. Several may be at once.
type archiveSource struct {
	*objstore.Mem
	open, before, after func(key string) error
}

func (s *archiveSource) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	if s.open != nil {
		if err := s.open(key); err != nil {
			return nil, objstore.Object{}, err
		}
	}
	return s.Mem.Open(ctx, key, r)
}

func (s *archiveSource) Delete(ctx context.Context, key string, cond objstore.Cond) error {
	if s.before != nil {
		if err := s.before(key); err != nil {
			return err
		}
	}
	err := s.Mem.Delete(ctx, key, cond)
	if err == nil && s.after != nil {
		err = s.after(key)
	}
	return err
}

func newArchive(t *testing.T, mode, destination string) *archive {
	a := &archive{t: t, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), stores: map[string]*objstore.Mem{}}
	a.source.Mem = a.at("s3://landing/in")
	a.cfg = silt.Config{Name: "p", Source: "s3://landing/in", Target: silt.Path("s3://lake/t"), CheckpointLocation: "s3://lake/cp",
		Options: map[string]string{"cleanSource": mode, "cleanSource.retentionDuration": "7 days"}}
	if destination != "" {
		a.cfg.Options["cleanSource.moveDestination"] = destination
	}
	a.cfg = a.cfg.In(func(location string) objstore.Store {
		if location == "s3://landing/in" {
			return &a.source
		}
		return a.at(location)
	}, func() time.Time { return a.now })
	return a
}

func (a *archive) at(location string) *objstore.Mem {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stores[location] == nil {
		a.stores[location] = new(objstore.Mem)
	}
	return a.stores[location]
}

func (a *archive) put(location, key, text string) {
	a.t.Helper()
	if _, err := objstore.PutBytes(a.t.Context(), a.at(location), key, []byte(text), objstore.Cond{}); err != nil {
		a.t.Fatal(err)
	}
}

func (a *archive) remove(location, key string) {
	a.t.Helper()
	if err := a.at(location).Delete(a.t.Context(), key, objstore.Cond{}); err != nil {
		a.t.Fatal(err)
	}
}

// run loads the files that are there.
func (a *archive) run() {
	a.t.Helper()
	if s, err := runOnce(a.t, a.cfg); err != nil || s.Rows == 0 {
		a.t.Fatalf("got %+v, %v", s, err)
	}
}

// clean is a run a week and a minute later.
func (a *archive) clean() *silt.Summary {
	a.t.Helper()
	a.now = a.now.Add(7*24*time.Hour + time.Minute)
	s, err := runOnce(a.t, a.cfg)
	if err != nil || s.Rows != 0 {
		a.t.Fatalf("got %+v, %v", s, err)
	}
	return s
}

// state is what is known of each file, a line each, sorted.
func (a *archive) state() string {
	a.t.Helper()
	states, err := silt.States(a.t.Context(), a.cfg)
	if err != nil || len(states) != 1 {
		a.t.Fatalf("got %d states, %v", len(states), err)
	}
	var lines []string
	for f, err := range states[0].Files(a.t.Context()) {
		if err != nil {
			a.t.Fatal(err)
		}
		at := "-"
		if f.ArchiveTime != nil {
			at = f.ArchiveTime.Format("01-02 15:04")
		}
		lines = append(lines, strings.TrimSpace(strings.Join([]string{strings.TrimPrefix(f.Path, "s3://landing/in/"), at, f.ArchiveMode, f.MoveLocation}, " ")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (a *archive) want(want ...string) {
	a.t.Helper()
	if got := a.state(); got != strings.Join(want, "\n") {
		a.t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestTheStateOfFilesSaysWhereTheyWent(t *testing.T) {
	const landing, old = "s3://landing/in", "s3://lake/old/2026/05/01"
	t.Run("moved_files_are_at_the_day_of_their_batch", func(t *testing.T) {
		a := newArchive(t, "MOVE", "s3://lake/old/{yyyy}/{MM}/{dd}")
		a.put(landing, "a b/1.json", `{"id":1}`)
		a.put(landing, "2.json", `{"id":2}`)
		a.put(old, "2.json", "another file")
		a.run()
		a.want("2.json -", "a b/1.json -")
		a.clean()
		_, o, err := objstore.ReadAll(t.Context(), a.at(old), "2.json")
		if err != nil || o.Size != int64(len("another file")) {
			t.Errorf("got %+v, %v", o, err)
		}
		renamed := ""
		for o := range a.at(old).List(t.Context(), "2-", "") {
			renamed = o.Key
		}
		want := []string{"2.json 05-08 12:01 MOVE " + old + "/" + renamed, "a b/1.json 05-08 12:01 MOVE " + old + "/a b/1.json"}
		a.want(want...)
		a.clean()
		a.want(want...)
		a.cfg.Options["cleanSource.moveDestination"] = "s3://lake/elsewhere"
		a.want(want...)
		a.cfg.Options = map[string]string{}
		a.want(want...)
	})
	t.Run("a_file_that_is_not_deleted_has_no_time", func(t *testing.T) {
		a := newArchive(t, "DELETE", "")
		a.put(landing, "bad.json", "{\"id\":1}\nnone\n")
		a.put(landing, "good.json", `{"id":2}`)
		a.put(landing, "removed.json", `{"id":3}`)
		a.put(landing, "written_again.json", `{"id":4}`)
		a.put(landing, "written_while_it_is_cleaned.json", `{"id":5}`)
		a.run()
		a.remove(landing, "removed.json")
		a.put(landing, "written_again.json", `{"id":44}`)
		a.source.before = func(key string) error {
			if strings.HasPrefix(key, "written_while") {
				a.put(landing, key, `{"id":55}`)
			}
			return nil
		}
		if s := a.clean(); s.Files.Cleaned != 1 || len(filter(s.Warnings, "SILT-3010")) > 0 {
			t.Errorf("got %+v", s)
		}
		a.want("bad.json -", "good.json 05-08 12:01 DELETE", "removed.json -", "written_again.json -", "written_while_it_is_cleaned.json -")
	})
	t.Run("of_what_others_take_away_nothing_is_said_however_it_is_cleaned", func(t *testing.T) {
		for _, mode := range []string{"DELETE", "MOVE"} {
			a := newArchive(t, mode, map[string]string{"MOVE": "s3://lake/old"}[mode])
			a.put(landing, "1.json", `{"id":1}`)
			a.put("s3://lake/old", "1.json", `{"id":0}`)
			a.run()
			a.remove(landing, "1.json")
			a.clean()
			a.want("1.json -")
		}
	})
	killed := errors.New("it is killed")
	// resumed is an archive that was killed when the second of its three files was taken away, and the third one
	// was still to be looked at.
	resumed := func(t *testing.T, mode, destination string) *archive {
		a := newArchive(t, mode, destination)
		for i := range 3 {
			a.put(landing, fmt.Sprintf("%d.json", i), fmt.Sprintf(`{"id":%d}`, i))
		}
		a.run()
		gone := []chan struct{}{make(chan struct{}), make(chan struct{})}
		a.source.open = func(key string) error {
			if key == "2.json" {
				<-gone[1]
				return killed
			}
			return nil
		}
		a.source.before = func(key string) error {
			if key == "1.json" {
				<-gone[0]
			}
			return nil
		}
		a.source.after = func(key string) error {
			if key == "1.json" {
				close(gone[1])
				return killed
			}
			close(gone[0])
			return nil
		}
		if s := a.clean(); len(filter(s.Warnings, "SILT-3010")) != 1 {
			t.Errorf("got %+v", s)
		}
		a.want("0.json -", "1.json -", "2.json -")
		a.source.open, a.source.before, a.source.after = nil, nil, nil
		return a
	}
	t.Run("who_goes_on_after_a_kill_says_the_same_of_all_files", func(t *testing.T) {
		a := resumed(t, "DELETE", "")
		a.clean()
		want := []string{"0.json 05-15 12:02 DELETE", "1.json 05-15 12:02 DELETE", "2.json 05-15 12:02 DELETE"}
		a.want(want...)
		a.clean()
		a.want(want...)
		a = resumed(t, "MOVE", "s3://lake/old")
		a.clean()
		a.want("0.json 05-15 12:02 MOVE s3://lake/old/0.json", "1.json 05-15 12:02 MOVE s3://lake/old/1.json", "2.json 05-15 12:02 MOVE s3://lake/old/2.json")
	})
	t.Run("a_file_that_was_written_again_since_it_was_moved_is_there", func(t *testing.T) {
		a := resumed(t, "MOVE", "s3://lake/old")
		a.put(landing, "1.json", `{"id":11}`)
		a.put(landing, "2.json", `{"id":22}`)
		a.clean()
		a.want("0.json 05-15 12:02 MOVE s3://lake/old/0.json", "1.json 05-15 12:02 MOVE s3://lake/old/1.json", "2.json -")
		a = resumed(t, "DELETE", "")
		a.put(landing, "1.json", `{"id":11}`)
		a.clean()
		a.want("0.json 05-15 12:02 DELETE", "1.json -", "2.json 05-15 12:02 DELETE")
	})
	t.Run("a_file_that_was_moved_by_a_rule_before_is_there", func(t *testing.T) {
		a := resumed(t, "MOVE", "s3://lake/old")
		a.cfg.Options["cleanSource.moveDestination"] = "s3://lake/new"
		a.clean()
		a.want("0.json 05-15 12:02 MOVE s3://lake/old/0.json", "1.json 05-15 12:02 MOVE s3://lake/old/1.json", "2.json 05-15 12:02 MOVE s3://lake/new/2.json")
		a = resumed(t, "MOVE", "s3://lake/old")
		a.cfg.Options["cleanSource"] = "DELETE"
		delete(a.cfg.Options, "cleanSource.moveDestination")
		a.clean()
		a.want("0.json 05-15 12:02 MOVE s3://lake/old/0.json", "1.json 05-15 12:02 MOVE s3://lake/old/1.json", "2.json 05-15 12:02 DELETE")
	})
	t.Run("what_is_said_stays_when_the_objects_of_old_batches_are_removed", func(t *testing.T) {
		a := newArchive(t, "MOVE", "s3://lake/old/{yyyy}/{MM}/{dd}")
		a.cfg.Options["maxFilesPerTrigger"] = "1"
		var want []string
		for i := range 115 {
			key := fmt.Sprintf("%03d.json", i)
			a.put(landing, key, fmt.Sprintf(`{"id":%d}`, i))
			want = append(want, key+" 05-08 12:01 MOVE "+old+"/"+key)
		}
		a.put(old, "000.json", "another file")
		a.run()
		a.clean()
		want[0] = strings.Split(a.state(), "\n")[0]
		a.want(want...)
		for i := range 15 {
			key := fmt.Sprintf("later%02d.json", i)
			a.put(landing, key, `{"id":1}`)
			want = append(want, key+" -")
		}
		a.run()
		if _, err := runOnce(t, a.cfg); err != nil { // which begins with that
			t.Fatal(err)
		}
		a.want(want...)
		for o := range a.at("s3://lake/cp").List(t.Context(), "archive/", "") {
			if o.Key == "archive/0" || o.Key == "archive/begun/0" {
				t.Errorf("%s is there still", o.Key)
			}
		}
		if !strings.HasPrefix(want[0], "000.json 05-08 12:01 MOVE "+old+"/000-") {
			t.Errorf("got %s", want[0])
		}
	})
	t.Run("a_place_that_another_takes_while_a_file_is_copied_costs_no_file", func(t *testing.T) {
		a := newArchive(t, "MOVE", "s3://lake/old")
		a.put(landing, "1.json", `{"id":1}`)
		a.run()
		rival := &takenPlace{Mem: a.at("s3://lake/old"), key: "1.json"}
		cfg := a.cfg
		a.cfg = a.cfg.In(func(location string) objstore.Store {
			switch location {
			case landing:
				return &a.source
			case "s3://lake/old":
				return rival
			}
			return a.at(location)
		}, func() time.Time { return a.now })
		a.clean()
		a.cfg = cfg
		place := strings.TrimPrefix(a.state(), "1.json 05-08 12:01 MOVE s3://lake/old/")
		content, _, err := objstore.ReadAll(t.Context(), a.at("s3://lake/old"), place)
		if err != nil || string(content) != `{"id":1}` || place == "1.json" {
			t.Errorf("%s: got %s, %v", place, content, err)
		}
	})
}

func TestFilesOfAStoreAreCleanedTogether(t *testing.T) {
	const files, together = 20, 8
	setUp := func(t *testing.T, mode string) (*archive, []string) {
		a := newArchive(t, mode, map[string]string{"MOVE": "s3://lake/old"}[mode])
		var want []string
		for i := range files {
			key := fmt.Sprintf("%02d.json", i)
			a.put("s3://landing/in", key, fmt.Sprintf(`{"id":%d}`, i))
			place := map[string]string{"MOVE": " s3://lake/old/" + key}[mode]
			want = append(want, key+" 05-08 12:01 "+mode+place)
		}
		a.run()
		return a, want
	}
	for _, mode := range []string{"MOVE", "DELETE"} {
		t.Run("eight_at_once/"+mode, func(t *testing.T) {
			a, want := setUp(t, mode)
			var mu sync.Mutex
			begun, now, most := 0, 0, 0
			all := make(chan struct{})
			a.source.before = func(string) error {
				mu.Lock()
				begun++
				now++
				if most = max(most, now); begun == together {
					close(all)
				}
				mu.Unlock()
				select {
				case <-all:
					return nil
				case <-time.After(time.Minute):
					return errors.New("it is alone")
				}
			}
			a.source.after = func(string) error {
				mu.Lock()
				defer mu.Unlock()
				now--
				return nil
			}
			if s := a.clean(); s.Files.Cleaned != files || most != together {
				t.Errorf("%d are cleaned, %d at once", s.Files.Cleaned, most)
			}
			a.want(want...)
		})
	}
	for _, why := range []string{"a_file_that_cannot_be_cleaned", "a_stop"} {
		t.Run("none_is_begun_after_"+why, func(t *testing.T) {
			a, want := setUp(t, "MOVE")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var begun atomic.Int64
			a.source.before = func(string) error {
				if begun.Add(1) != 3 {
					return nil
				}
				if why == "a_stop" {
					cancel()
					return ctx.Err()
				}
				return errors.New("it is kept")
			}
			a.now = a.now.Add(7*24*time.Hour + time.Minute)
			p, err := silt.Open(ctx, a.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			s, err := p.RunOnce(ctx)
			if why != "a_stop" && err != nil || s == nil {
				t.Fatalf("got %+v, %v", s, err)
			}
			if n := int(begun.Load()); n > 2+together || s.Files.Cleaned > n-1 {
				t.Errorf("%d are begun, %d cleaned", n, s.Files.Cleaned)
			}
			a.source.before = nil
			a.now = a.now.Add(-7*24*time.Hour - time.Minute)
			a.clean()
			a.want(want...)
		})
	}
	t.Run("none_takes_the_place_of_another_whose_name_it_would_get", func(t *testing.T) {
		server, cfg := s3Config(t)
		cfg.Options = map[string]string{"s3.endpoint": server.URL, "cleanSource": "MOVE", "cleanSource.retentionDuration": "0 seconds",
			"cleanSource.moveDestination": "s3://lake/old"}
		server.Put("lake", "old/1.json", "another file")
		server.Put("landing", "orders/1.json", `{"id":1}`)
		sum := md5.Sum([]byte(`{"id":1}`)) // its ETag in S3
		server.Put("landing", fmt.Sprintf("orders/1-%x.json", sum[:4]), `{"id":2}`)
		if _, err := runOnce(t, cfg); err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, bucket := range []string{"landing", "lake"} {
			for _, key := range server.Keys(bucket, "o") { // of orders/, and of old/
				content, _ := server.Get(bucket, key)
				got[content] = true
			}
		}
		if want := map[string]bool{"another file": true, `{"id":1}`: true, `{"id":2}`: true}; !maps.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	})
}

// takenPlace is a folder where another writes under a key just before somebody else does.
type takenPlace struct {
	*objstore.Mem
	key string
}

func (s *takenPlace) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (objstore.Object, error) {
	if key == s.key {
		if _, err := objstore.PutBytes(ctx, s.Mem, key, []byte("another file"), objstore.Cond{}); err != nil {
			return objstore.Object{}, err
		}
	}
	return s.Mem.Put(ctx, key, body, cond)
}

// filter are the warnings of a code.
func filter(all []silt.Warning, code string) (some []silt.Warning) {
	for _, w := range all {
		if w.Code == code {
			some = append(some, w)
		}
	}
	return some
}
