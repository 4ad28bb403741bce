package silt_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt"
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
	for name, options := range map[string]map[string]string{
		"a_destination_inside_the_source_is_refused": {"cleanSource": "MOVE", "cleanSource.moveDestination": "SOURCE/old"},
		"move_needs_a_destination":                   {"cleanSource": "MOVE"},
		"delete_waits_for_a_week":                    {"cleanSource": "DELETE", "cleanSource.retentionDuration": "1 day"},
		"folders_have_no_tags":                       {"cleanSource": "TAG"},
		"a_destination_alone_means_nothing":          {"cleanSource.moveDestination": "old"},
		"a_time_is_a_number_and_a_unit":              {"cleanSource": "DELETE", "cleanSource.retentionDuration": "a while"},
	} {
		t.Run(name, func(t *testing.T) {
			w := setUp(t, options)
			for k, v := range w.cfg.Options {
				w.cfg.Options[k] = strings.Replace(v, "SOURCE", w.in, 1)
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
		if err != nil || s.Files.Cleaned != 1 || calls["CopyObject"] != 1 {
			t.Errorf("got %+v, %v, %v", s, err, calls)
		}
		if got, _ := server.Get("lake", "old/a b/1.json"); got != `{"id":1}` || len(server.Keys("landing", "")) > 0 {
			t.Errorf("got %s and %v", got, server.Keys("landing", ""))
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
