package delta_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

func TestCheck(t *testing.T) {
	table := func(t *testing.T) (string, *delta.Snapshot) {
		dir := t.TempDir()
		s := grown(t, objstore.NewDir(dir), 4, nil)
		if err := s.WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		return dir, load(t, objstore.NewDir(dir))
	}
	check := func(t *testing.T, s *delta.Snapshot) delta.CheckReport {
		r, err := s.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("a_good_table_has_no_findings", func(t *testing.T) {
		_, s := table(t)
		if r := check(t, s); len(r.Findings) != 0 || r.Files != 4 || r.Commits != 4 {
			t.Errorf("got %+v", r)
		}
	})
	for name, c := range map[string]struct {
		subject string
		harm    func(dir, file string) error
	}{
		"a_file_that_is_gone_is_found":    {"file", func(dir, file string) error { return os.Remove(filepath.Join(dir, file)) }},
		"a_file_that_is_cut_off_is_found": {"file", func(dir, file string) error { return os.Truncate(filepath.Join(dir, file), 10) }},
		"a_gap_in_the_log_is_found": {"log", func(dir, _ string) error {
			return os.Remove(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.json", 1)))
		}},
		"a_checkpoint_that_differs_is_found": {"checkpoint", func(dir, _ string) error {
			return os.WriteFile(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.json", 3)), nil, 0o666)
		}},
		"a_wrong_checksum_is_found": {"checksum", func(dir, _ string) error {
			return os.WriteFile(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.crc", 3)), []byte(`{"numFiles":5}`), 0o666)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := table(t)
			if err := c.harm(dir, files(t, s)[0].Path); err != nil {
				t.Fatal(err)
			}
			if r := check(t, load(t, objstore.NewDir(dir))); len(r.Findings) != 1 || r.Findings[0].Subject != c.subject {
				t.Errorf("got %+v", r.Findings)
			}
		})
	}
	t.Run("tables_of_others_are_good", func(t *testing.T) {
		tables, _ := filepath.Glob(filepath.Join(testdata(t), "spark-4.4.0-generated", "*", "delta"))
		for _, dir := range tables {
			if r := check(t, load(t, objstore.NewDir(dir))); len(r.Findings) != 0 {
				t.Errorf("%s: %+v", dir, r.Findings)
			}
		}
	})
}
