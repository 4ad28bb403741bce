//go:build duckdb_arrow

package silt_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// vehicles makes a table that transforms can join, and returns its path and a function that loads more rows.
func vehicles(t *testing.T, rows string) (string, func(name, rows string)) {
	r := newLab(t)
	more := func(name, rows string) {
		r.file(name, rows)
		r.run()
	}
	more("v1.json", rows)
	return r.cfg.Target.Path, more
}

func TestRefs(t *testing.T) {
	const rows = `{"vin":"a","model":{"name":"i3"},"unused":1,"at":"2024-01-01T00:00:00Z"}` + "\n" + `{"vin":"b","model":{"name":"e-Golf"}}` + "\n"
	t.Run("a_transform_joins_another_table_record_by_record", func(t *testing.T) {
		l := newLab(t)
		at, _ := vehicles(t, rows)
		l.cfg.Refs = map[string]string{"Vehicles": at}
		l.cfg.Transform = "SELECT s.id, v.model.name AS model FROM source AS s LEFT JOIN vehicles AS v ON v.vin = s.vin"
		l.file("1.json", `{"id":1,"vin":"a"}`+"\n"+`{"id":2,"vin":"b"}`+"\n"+`{"id":3,"vin":"c"}`+"\n")
		s := l.run()
		l.want(`{"id":1,"model":"i3"}`, `{"id":2,"model":"e-Golf"}`, `{"id":3}`)
		if len(s.Warnings) != 0 {
			t.Errorf("warnings %+v: the join works row by row", s.Warnings)
		}
		if !strings.HasSuffix(l.schema(), "_rescued_data STRING,ingestion_timestamp TIMESTAMP,source_file STRING") {
			t.Errorf("schema %s lacks lineage", l.schema())
		}
		l.file("2.json", `{"id":4,"vin":"a","new":1}`+"\n")
		if s := l.run(); s.Rescued.Rows != 1 {
			t.Errorf("rescued %+v", s.Rescued)
		}
	})
	t.Run("SQL_over_the_whole_batch_reads_it_too", func(t *testing.T) {
		l := newLab(t)
		at, _ := vehicles(t, rows)
		l.cfg.Refs = map[string]string{"v": at}
		l.cfg.Transform = "SELECT v.model.name AS model, count(*) AS n FROM source JOIN v USING (vin) GROUP BY ALL"
		l.file("1.json", `{"vin":"a"}`+"\n"+`{"vin":"b"}`+"\n"+`{"vin":"a"}`+"\n")
		l.run()
		l.want(`{"model":"e-Golf","n":1}`, `{"model":"i3","n":2}`)
	})
	t.Run("all_its_columns_come_with_a_star", func(t *testing.T) {
		l := newLab(t)
		at, _ := vehicles(t, rows)
		l.cfg.Refs, l.cfg.Lineage = map[string]string{"v": at}, []string{}
		l.cfg.Transform = "SELECT source.id, v.* EXCLUDE (ingestion_timestamp, source_file, _rescued_data) FROM source JOIN v ON source.vin = v.vin"
		l.file("1.json", `{"id":1,"vin":"a"}`+"\n")
		l.run()
		l.want(`{"at":"2024-01-01T00:00:00Z","id":1,"model":{"name":"i3"},"unused":1,"vin":"a"}`)
	})
	t.Run("a_batch_that_is_done_again_reads_the_version_it_was_planned_with", func(t *testing.T) {
		l := newLab(t)
		at, more := vehicles(t, rows)
		l.cfg.Refs = map[string]string{"v": at}
		l.cfg.Transform = "SELECT id, CAST(n AS INTEGER) AS n, (SELECT count(*) FROM v) AS known FROM source"
		l.cfg.OnCorrupt = "fail"
		l.file("1.json", `{"id":1,"n":"x"}`+"\n")
		if _, err := l.tryRun(); err == nil {
			t.Fatal("the run did not stop")
		}
		more("v2.json", `{"vin":"c"}`+"\n")
		l.cfg.OnCorrupt = "quarantine"
		l.cfg.Transform = "SELECT id, (SELECT count(*) FROM v) AS known FROM source"
		l.run()
		l.want(`{"id":1,"known":2}`)
		l.file("2.json", `{"id":2}`+"\n")
		l.run()
		l.want(`{"id":1,"known":2}`, `{"id":2,"known":3}`)
	})
	for _, c := range []struct {
		name string
		lose func(t *testing.T, at string, more func(name, rows string)) // version 0 of the table
	}{
		{"whose_files_were_vacuumed", func(t *testing.T, at string, more func(name, rows string)) {
			files, err := filepath.Glob(filepath.Join(at, "*.parquet"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			cfg := silt.Config{Target: silt.Path(at)}
			if _, err := silt.UpdateTable(t.Context(), cfg, silt.RowUpdate{Set: []silt.Assignment{{Column: "unused", SQL: "2"}}}); err != nil {
				t.Fatal(err)
			}
			more("v2.json", `{"vin":"c"}`+"\n")
			for _, f := range files {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"whose_log_was_cleaned", func(t *testing.T, at string, more func(name, rows string)) {
			more("v2.json", `{"vin":"c"}`+"\n")
			s, err := delta.Load(t.Context(), objstore.NewDir(at), delta.LoadOptions{})
			if err == nil {
				err = s.WriteCheckpoint(t.Context())
			}
			if err == nil {
				err = os.Remove(filepath.Join(at, "_delta_log", "00000000000000000000.json"))
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"of_a_table_that_was_made_anew", func(t *testing.T, at string, _ func(name, rows string)) {
			other, _ := vehicles(t, rows+`{"vin":"c"}`+"\n")
			if err := errors.Join(os.RemoveAll(at), os.Rename(other, at)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for kind, sql := range map[string]string{
			"row_by_row": "SELECT s.id, v.unused AS n, v.vin FROM source s JOIN v ON v.vin = s.vin",
			"as_a_whole": "SELECT s.id, max(v.unused) AS n, v.vin FROM source s JOIN v ON v.vin = s.vin GROUP BY ALL",
		} {
			t.Run("a_batch_waits_for_no_version_"+c.name+"_"+kind, func(t *testing.T) {
				l := newLab(t)
				at, more := vehicles(t, rows)
				l.cfg.Refs, l.cfg.Lineage = map[string]string{"v": at}, []string{}
				l.cfg.Transform, l.cfg.OnCorrupt = sql, "fail"
				l.file("1.json", `{"id":1,"vin":"a"}`+"\n"+`{"id":2,"vin":"c"}`+"\n"+"no record\n")
				if _, err := l.tryRun(); err == nil {
					t.Fatal("the run did not stop")
				}
				c.lose(t, at, more)
				l.cfg.OnCorrupt = "quarantine"
				s := l.run()
				told := func(w silt.Warning) bool {
					return w.Code == "SILT-4016" && strings.Contains(w.Text, "version 0 of table "+at)
				}
				if !slices.ContainsFunc(s.Warnings, told) {
					t.Errorf("warnings %+v", s.Warnings)
				}
				n := "2"
				if strings.Contains(c.name, "log") || strings.Contains(c.name, "anew") {
					n = "1"
				}
				l.want(`{"id":1,"n":`+n+`,"vin":"a"}`, `{"id":2,"vin":"c"}`)
				l.file("2.json", `{"id":3,"vin":"c"}`+"\n")
				if s := l.run(); s.Batches != 1 || slices.ContainsFunc(s.Warnings, told) {
					t.Errorf("the batch after it: %+v", s)
				}
			})
		}
	}
	t.Run("a_newest_version_that_lacks_files_is_an_error_that_says_what_to_do", func(t *testing.T) {
		l := newLab(t)
		at, more := vehicles(t, rows)
		good, err := filepath.Glob(filepath.Join(at, "*.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		more("v2.json", `{"vin":"c"}`+"\n")
		all, err := filepath.Glob(filepath.Join(at, "*.parquet"))
		if err != nil || len(all) != len(good)+1 {
			t.Fatal(all, err)
		}
		for _, f := range all {
			if !slices.Contains(good, f) {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		l.cfg.Refs, l.cfg.Lineage = map[string]string{"v": at}, []string{}
		l.cfg.Transform = "SELECT s.id, v.vin FROM source s LEFT JOIN v ON v.vin = s.vin"
		l.file("1.json", `{"id":1,"vin":"a"}`+"\n"+`{"id":2,"vin":"c"}`+"\n")
		for range 2 {
			if _, err := l.tryRun(); err == nil || !strings.Contains(err.Error(), "it is the newest: silt table check "+at+" says what the table lacks") {
				t.Fatalf("error %v", err)
			}
		}
		plan, err := silt.PlanRestore(t.Context(), silt.Config{Target: silt.Path(at)}, new(int64), time.Time{})
		if err == nil {
			_, err = plan.Restore(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		l.run()
		l.want(`{"id":1,"vin":"a"}`, `{"id":2}`)
	})
	t.Run("the_table_itself_can_be_a_ref", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT id FROM source"
		l.file("1.json", `{"id":1}`+"\n"+`{"id":2}`+"\n")
		l.run()
		l.cfg.Refs = map[string]string{"loaded": l.cfg.Target.Path}
		l.cfg.Transform = "SELECT id FROM source WHERE id NOT IN (SELECT id FROM loaded)"
		l.file("2.json", `{"id":2}`+"\n"+`{"id":3}`+"\n")
		l.run()
		l.want(`{"id":1}`, `{"id":2}`, `{"id":3}`)
	})
	t.Run("a_table_that_is_not_there_is_an_error_that_names_it", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Refs = map[string]string{"v": l.cfg.Target.Path + "-nope"}
		l.cfg.Transform = "SELECT id FROM source JOIN v USING (vin)"
		l.file("1.json", `{"id":1}`+"\n")
		_, err := l.tryRun()
		if !errors.Is(err, silt.ErrNoTable) || !strings.Contains(err.Error(), "ref v: table ") || l.isTable() {
			t.Errorf("error %v", err)
		}
	})
	t.Run("another_table_is_a_mistake_that_names_the_refs", func(t *testing.T) {
		l := newLab(t)
		at, _ := vehicles(t, rows)
		l.cfg.Refs = map[string]string{"v": at}
		l.cfg.Transform = "SELECT id FROM source JOIN w USING (vin)"
		l.file("1.json", `{"id":1}`+"\n")
		if _, err := l.tryRun(); err == nil || !strings.Contains(err.Error(), "table w: a transform reads the table source and the refs") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("mistakes_are_told_when_it_is_opened", func(t *testing.T) {
		for _, refs := range []map[string]string{{"Source": "x"}, {"": "x"}, {"a": ""}, {"a": "x", "A": "y"}, {"__silt_1": "x"}, {"a": "x.y.z.w"}} {
			l := newLab(t)
			l.cfg.Refs, l.cfg.Transform = refs, "SELECT * FROM source"
			var e *silt.ConfigError
			if _, err := silt.Open(t.Context(), l.cfg); !errors.As(err, &e) || e.Faults[0].Key[0] != "refs" {
				t.Errorf("%v: error %v", refs, err)
			}
		}
		l := newLab(t)
		l.cfg.Refs = map[string]string{"a": "x"}
		if _, err := silt.Open(t.Context(), l.cfg); err == nil || !strings.Contains(err.Error(), "no SQL that could read them") {
			t.Errorf("error %v", err)
		}
	})
}
