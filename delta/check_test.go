package delta_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	// edited puts the commit of a version with something in it replaced.
	edited := func(dir string, version int64, old, now string) error {
		path := filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.json", version))
		text, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(text), old) {
			err = fmt.Errorf("%s has no %s", text, old)
		}
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.Replace(string(text), old, now, 1)), 0o666)
	}
	for name, c := range map[string]struct {
		want string
		harm func(dir string) error
	}{
		"a_file_that_is_there_twice_is_found": {"file 4: it is in the table twice", func(dir string) error {
			log, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.json", 3)))
			if err != nil {
				return err
			}
			add := string(log[strings.Index(string(log), `{"add"`):])
			add = strings.Replace(add, `"dataChange"`, `"deletionVector":{"storageType":"i","pathOrInlineDv":"wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L","sizeInBytes":40,"cardinality":0},"dataChange"`, 1)
			return os.WriteFile(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.json", 4)), []byte(add), 0o666)
		}},
		"a_value_of_a_partition_that_is_none_is_found": {`file 3: its value of the partition column p: "x" is no INT`, func(dir string) error {
			return edited(dir, 3, `"partitionValues":{"p":"3"}`, `"partitionValues":{"p":"x"}`)
		}},
		"a_value_of_a_partition_that_is_missing_is_found": {"file 3: it has no value of the partition column p", func(dir string) error {
			return edited(dir, 3, `"partitionValues":{"p":"3"}`, `"partitionValues":{}`)
		}},
		"a_checkpoint_of_which_a_part_is_missing_is_found": {"checkpoint 2: parts of it are missing", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.checkpoint.0000000001.0000000002.parquet", 2)), nil, 0o666)
		}},
		"a_hint_to_a_checkpoint_that_is_gone_is_found": {"checkpoint 1: the hint to the newest names one that is not there", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "_delta_log/_last_checkpoint"), []byte(`{"version":1,"size":5}`), 0o666)
		}},
		"a_hint_with_a_wrong_sum_is_found": {"checkpoint 1: the hint to the newest does not have the sum", func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.checkpoint.parquet", 1)), nil, 0o666); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "_delta_log/_last_checkpoint"), []byte(`{"version":1,"size":5,"checksum":"x"}`), 0o666)
		}},
		"a_checkpoint_that_cannot_be_read_is_found": {"checkpoint 2: it cannot be read", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.checkpoint.parquet", 2)), []byte("PAR1 and noise PAR1"), 0o666)
		}},
		"a_wrong_checksum_of_an_older_version_is_found": {"checksum 1: it says 7 files", func(dir string) error {
			path := filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.crc", 1))
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, []byte(strings.Replace(string(text), `"numFiles":2`, `"numFiles":7`, 1)), 0o666)
		}},
		"a_checksum_of_another_schema_is_found": {"checksum 3: its metadata is not that of the commits", func(dir string) error {
			path := filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.crc", 3))
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, []byte(strings.Replace(string(text), `\"long\"`, `\"string\"`, 1)), 0o666)
		}},
		"a_number_of_rows_that_is_wrong_is_found": {"rows 3: it has 1 rows, and the log says 8", func(dir string) error {
			return edited(dir, 3, `\"numRecords\":1,`, `\"numRecords\":8,`)
		}},
		"a_bound_that_does_not_hold_is_found": {"statistics 3: column id has 3, and the bound is 2", func(dir string) error {
			return edited(dir, 3, `\"maxValues\":{\"id\":3}`, `\"maxValues\":{\"id\":2}`)
		}},
		"a_count_of_nulls_that_is_wrong_is_found": {"statistics 3: column id is null in 0 rows, and they say 1", func(dir string) error {
			return edited(dir, 3, `\"nullCount\":{\"id\":0}`, `\"nullCount\":{\"id\":1}`)
		}},
		"a_file_that_is_no_parquet_is_found": {"rows 3: ", func(dir string) error {
			list, err := filepath.Glob(filepath.Join(dir, "p=3", "*.parquet"))
			if err != nil || len(list) != 1 {
				return fmt.Errorf("got %v", list)
			}
			content, err := os.ReadFile(list[0])
			if err != nil {
				return err
			}
			clear(content[4:])
			return os.WriteFile(list[0], content, 0o666)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			store := objstore.NewDir(dir)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, p INT"), PartitionBy: []string{"p"}}, `{"id":0,"p":0}`)
			for i := range 3 {
				s = appended(t, store, s, fmt.Sprintf(`{"id":%d,"p":%d}`, i+1, i+1))
			}
			if r, err := s.CheckRows(t.Context()); err != nil || len(r.Findings) != 0 || r.Rows != 4 {
				t.Fatalf("got %+v, %v", r, err)
			}
			if err := c.harm(dir); err != nil {
				t.Fatal(err)
			}
			r, err := load(t, store).CheckRows(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range r.Findings {
				got = append(got, fmt.Sprintf("%s %d: %s", f.Subject, f.Version, f.Problem))
				if f.Fix == "" {
					t.Errorf("there is no way out of %s", f.Problem)
				}
			}
			if !slices.ContainsFunc(got, func(text string) bool { return strings.HasPrefix(text, c.want) }) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("files_that_no_version_names_are_counted", func(t *testing.T) {
		dir, s := table(t)
		aged(t, dir, 1, "lost.parquet", "_hidden.parquet")
		if r := check(t, s); r.Orphans != 1 || r.OrphanBytes != 1 || len(r.Findings) != 0 {
			t.Errorf("got %+v", r)
		}
	})
	t.Run("every_row_of_tables_of_others_is_as_their_log_says", func(t *testing.T) {
		tables, _ := filepath.Glob(filepath.Join(testdata(t), "spark-4.4.0-generated", "*", "delta"))
		more, _ := filepath.Glob(filepath.Join(testdata(t), "dat-v0.0.3", "out", "reader_tests", "generated", "*", "delta"))
		for _, dir := range append(tables, more...) {
			s := load(t, objstore.NewDir(dir))
			r, err := s.CheckRows(t.Context())
			if err != nil || len(r.Findings) != 0 {
				t.Errorf("%s: %+v, %v", dir, r.Findings, err)
			}
		}
	})
	t.Run("tables_of_others_are_good", func(t *testing.T) {
		tables, _ := filepath.Glob(filepath.Join(testdata(t), "spark-4.4.0-generated", "*", "delta"))
		for _, dir := range tables {
			if r := check(t, load(t, objstore.NewDir(dir))); len(r.Findings) != 0 {
				t.Errorf("%s: %+v", dir, r.Findings)
			}
		}
	})
}
