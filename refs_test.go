//go:build duckdb_arrow

package silt_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/siltlake/silt"
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
