package delta_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// oldLog makes a table of one row a version, whose version v was committed n-1-v days ago, at noon.
func oldLog(t *testing.T, n int, properties map[string]string) (string, *delta.Snapshot) {
	t.Helper()
	dir := t.TempDir()
	store := objstore.NewDir(dir)
	s := grown(t, store, n, properties)
	logFiles, _ := filepath.Glob(filepath.Join(dir, "_delta_log", "*"))
	for _, path := range logFiles {
		var v int
		if _, err := fmt.Sscanf(filepath.Base(path), "%d.", &v); err != nil {
			v = n - 1
		}
		when := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, v-n+1).Add(time.Minute)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	return dir, s
}

func days(n int) *time.Duration {
	d := time.Duration(n) * 24 * time.Hour
	return &d
}

func TestCleanLog(t *testing.T) {
	clean := func(t *testing.T, s *delta.Snapshot, o delta.CleanLogOptions) delta.CleanLogResult {
		t.Helper()
		r, err := s.CleanLog(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	left := func(t *testing.T, dir string) string {
		t.Helper()
		var names []string
		list, _ := filepath.Glob(filepath.Join(dir, "_delta_log", "0*"))
		for _, path := range list {
			names = append(names, strings.TrimLeft(filepath.Base(path)[:19], "0")+filepath.Base(path)[19:])
		}
		return strings.Join(names, " ")
	}
	t.Run("what_is_older_than_the_retention_goes_up_to_a_checkpoint", func(t *testing.T) {
		dir, s := oldLog(t, 25, nil) // with checkpoints of 10 and 20
		r := clean(t, s, delta.CleanLogOptions{Retention: days(9)})
		if r.Oldest != 10 || r.Deleted != 20 || len(r.Files) != 20 {
			t.Errorf("got %d, %d deleted of %d", r.Oldest, r.Deleted, len(r.Files))
		}
		if got := left(t, dir); !strings.HasPrefix(got, "10.checkpoint.parquet 10.crc 10.json 11.crc 11.json") {
			t.Errorf("left are %s", got)
		}
		for v := int64(10); v < 25; v++ {
			old, err := delta.Load(t.Context(), objstore.NewDir(dir), delta.LoadOptions{Version: &v})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(files(t, old)); got != int(v)+1 {
				t.Errorf("version %d: got %d files", v, got)
			}
		}
		if r := clean(t, s, delta.CleanLogOptions{Retention: days(9)}); len(r.Files) != 0 {
			t.Errorf("a second time got %v", keys(r.Files))
		}
		readersSee(t, dir, rows(t, load(t, objstore.NewDir(dir)))...)
	})
	t.Run("the_time_within_the_retention_can_be_travelled_to", func(t *testing.T) {
		for _, keep := range []int{0, 1, 8, 23} {
			dir, s := oldLog(t, 25, map[string]string{"delta.checkpointInterval": "3"})
			r := clean(t, s, delta.CleanLogOptions{Retention: days(keep)})
			if r.Before.After(time.Now().Add(-time.Duration(keep) * 24 * time.Hour)) {
				t.Errorf("%d days: everything before %s went", keep, r.Before)
			}
			for at := r.Before; at.Before(time.Now()); at = at.Add(24 * time.Hour) {
				if _, err := delta.Load(t.Context(), objstore.NewDir(dir), delta.LoadOptions{Timestamp: at}); err != nil {
					t.Errorf("%d days: %s: %v", keep, at, err)
				}
			}
		}
	})
	t.Run("without_a_checkpoint_before_it_nothing_goes", func(t *testing.T) {
		_, s := oldLog(t, 9, nil)
		if r := clean(t, s, delta.CleanLogOptions{Retention: days(0)}); len(r.Files) != 0 || r.Oldest != 0 {
			t.Errorf("got %d, %v", r.Oldest, keys(r.Files))
		}
	})
	t.Run("a_dry_run_deletes_nothing", func(t *testing.T) {
		dir, s := oldLog(t, 12, nil)
		before := left(t, dir)
		if r := clean(t, s, delta.CleanLogOptions{Retention: days(0), DryRun: true}); len(r.Files) != 20 || r.Deleted != 0 || r.Bytes == 0 {
			t.Errorf("got %+v", r)
		}
		if got := left(t, dir); got != before {
			t.Errorf("left are %s", got)
		}
	})
	t.Run("the_table_says_how_long", func(t *testing.T) {
		_, s := oldLog(t, 35, map[string]string{"delta.logRetentionDuration": "interval 20 days"})
		if r := clean(t, s, delta.CleanLogOptions{DryRun: true}); r.Oldest != 10 {
			t.Errorf("got %d", r.Oldest)
		}
		_, s = oldLog(t, 35, nil) // 30 days
		if r := clean(t, s, delta.CleanLogOptions{DryRun: true}); r.Oldest != 0 {
			t.Errorf("got %d", r.Oldest)
		}
	})
	t.Run("commits_go_before_their_checkpoint_and_the_oldest_first", func(t *testing.T) {
		dir, s := oldLog(t, 25, nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := clean(t, s, delta.CleanLogOptions{Retention: days(0), DryRun: true})
		for i, f := range r.Files { // whenever it is cut off, the newest version can be read
			if err := os.Remove(filepath.Join(dir, f.Key)); err != nil {
				t.Fatal(err)
			}
			if got, err := delta.Load(ctx, objstore.NewDir(dir), delta.LoadOptions{}); err != nil || len(files(t, got)) != 25 {
				t.Fatalf("after %d: %v", i, err)
			}
			if i%7 == 0 {
				if err := os.Remove(filepath.Join(dir, "_delta_log/_last_checkpoint")); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
		}
	})
	t.Run("sidecars_that_no_checkpoint_names_go", func(t *testing.T) {
		dir, s := oldLog(t, 25, map[string]string{"delta.checkpointPolicy": "v2"})
		sidecars := func() int {
			list, _ := filepath.Glob(filepath.Join(dir, "_delta_log/_sidecars/*.parquet"))
			for _, path := range list {
				age(t, filepath.Dir(path), 3, filepath.Base(path))
			}
			return len(list)
		}
		if got := sidecars(); got != 2 {
			t.Fatalf("got %d sidecars", got)
		}
		if r := clean(t, s, delta.CleanLogOptions{Retention: days(0)}); r.Oldest != 20 {
			t.Errorf("got %+v", r)
		}
		if got := sidecars(); got != 1 {
			t.Errorf("got %d sidecars", got)
		}
		if got := len(files(t, load(t, objstore.NewDir(dir)))); got != 25 {
			t.Errorf("got %d files", got)
		}
	})
	for name, properties := range map[string]map[string]string{
		"a_protected_checkpoint_stays":         {"delta.feature.checkpointProtection": "supported", "delta.requireCheckpointProtectionBeforeVersion": "21"},
		"a_table_that_keeps_its_log_has_it_on": {"delta.enableExpiredLogCleanup": "false"},
	} {
		t.Run(name, func(t *testing.T) {
			_, s := oldLog(t, 25, properties)
			var protected *delta.ProtectedError
			if _, err := s.CleanLog(t.Context(), delta.CleanLogOptions{Retention: days(0)}); !errors.As(err, &protected) {
				t.Errorf("got %v, want a ProtectedError", err)
			}
		})
	}
	t.Run("a_checkpoint_that_cannot_be_read_keeps_the_commits", func(t *testing.T) {
		dir, s := oldLog(t, 12, nil)
		if err := os.Truncate(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.checkpoint.parquet", 10)), 100); err != nil {
			t.Fatal(err)
		}
		before := left(t, dir)
		if _, err := s.CleanLog(t.Context(), delta.CleanLogOptions{Retention: days(0)}); err == nil {
			t.Error("got no error")
		}
		if got := left(t, dir); got != before {
			t.Errorf("left are %s", got)
		}
	})
}
