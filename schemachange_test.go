package silt_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siltlake/silt"
)

// TestOnSchemaChangeFail holds what Config.OnSchemaChange promises: a run that stops has written the
// schema and no row, and the run after it loads each row once.
func TestOnSchemaChangeFail(t *testing.T) {
	strict := func(t *testing.T, options map[string]string) *lab {
		l := newLab(t)
		l.cfg.Compat, l.cfg.OnSchemaChange = "autoloader", "fail"
		l.cfg.Options = map[string]string{"inferColumnTypes": "true", "mergeSchema": "true", "maxFilesPerTrigger": "1"}
		for k, v := range options {
			l.cfg.Options[k] = v
		}
		return l
	}
	stops := func(l *lab, want ...string) {
		l.t.Helper()
		s, err := l.tryRun()
		var stop *silt.SchemaChangedError
		if !errors.As(err, &stop) {
			l.t.Fatalf("error %v, want that the schema has changed", err)
		}
		var got []string
		for _, f := range append(stop.Added, stop.Widened...) {
			got = append(got, f.Path+" "+f.DDL)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			l.t.Errorf("it stopped for (-want +got):\n%s", diff)
		}
		if s.Schema.To != stop.To || len(s.Schema.Added)+len(s.Schema.Widened) != len(want) {
			l.t.Errorf("the summary says %+v", s.Schema)
		}
	}
	t.Run("each_batch_that_brings_a_column_stops_once", func(t *testing.T) {
		l := strict(t, nil)
		l.file("1.json", `{"a":1}`)
		l.run()
		l.file("2.json", `{"a":2,"b":2}`)
		l.file("3.json", `{"a":3,"s":{"x":3}}`)
		l.file("4.json", `{"a":4,"s":{"x":4,"y":"z"}}`)
		stops(l, "b BIGINT")
		l.want(`{"a":1}`)
		stops(l, "s STRUCT<x: BIGINT>")
		l.want(`{"a":1}`, `{"a":2,"b":2}`)
		stops(l, "s.y STRING")
		l.run()
		l.want(`{"a":1}`, `{"a":2,"b":2}`, `{"a":3,"s":{"x":3}}`, `{"a":4,"s":{"x":4,"y":"z"}}`)
		if s := l.run(); s.Batches != 0 {
			t.Errorf("%d batches are left", s.Batches)
		}
	})
	t.Run("a_wider_type_stops_too", func(t *testing.T) {
		l := strict(t, map[string]string{"schemaEvolutionMode": "addNewColumnsWithTypeWidening"})
		l.file("1.json", `{"a":1}`)
		l.run()
		l.file("2.json", `{"a":1.5}`)
		stops(l, "a DECIMAL(21,1)")
		l.run()
		l.want(`{"a":"1"}`, `{"a":"1.5"}`)
	})
	t.Run("what_is_no_change_of_the_schema_does_not_stop", func(t *testing.T) {
		for mode, option := range map[string]string{"rescue": "rescue", "none": "none"} {
			t.Run(mode, func(t *testing.T) {
				l := strict(t, map[string]string{"schemaEvolutionMode": option})
				l.file("1.json", `{"a":1}`)
				l.run()
				l.file("2.json", `{"a":2,"b":2}`)
				l.run()
			})
		}
		l := strict(t, nil)
		l.file("1.json", `{"a":1}`)
		l.run()
		l.file("2.json", `{"a":"x","A":2,"n":null,"e":{}}`)
		l.run()
	})
	t.Run("the_event_comes_with_the_stop_and_not_again", func(t *testing.T) {
		l := strict(t, nil)
		l.file("1.json", `{"a":1}`)
		l.run()
		l.file("2.json", `{"b":1}`)
		l.events = nil
		stops(l, "b BIGINT")
		l.run()
		n := 0
		for _, e := range l.events {
			if e, ok := e.(silt.SchemaEvolved); ok && e.From == 0 && e.To == 1 && len(e.Added) == 1 {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d events, want 1: %+v", n, l.events)
		}
	})
	t.Run("a_run_that_may_go_on_by_itself_takes_the_batch_from_there", func(t *testing.T) {
		l := strict(t, nil)
		l.file("1.json", `{"a":1}`)
		l.run()
		l.file("2.json", `{"a":2,"b":2}`)
		l.file("3.json", `{"c":3}`)
		stops(l, "b BIGINT")
		l.cfg.OnSchemaChange = ""
		l.run()
		l.want(`{"a":1}`, `{"a":2,"b":2}`, `{"c":3}`)
	})
	t.Run("the_columns_are_refused_by_another_mode", func(t *testing.T) {
		l := strict(t, nil)
		l.file("1.json", `{"a":1}`)
		l.run()
		l.file("2.json", `{"a":2,"b":2}`)
		stops(l, "b BIGINT")
		l.cfg.Options["schemaEvolutionMode"] = "rescue"
		l.run()
		l.file("3.json", `{"b":3}`)
		l.run()
		l.want(`{"_rescued_data":"{\"b\":2,\"_file_path\":\"2.json\"}","a":2}`, `{"_rescued_data":"{\"b\":3,\"_file_path\":\"3.json\"}"}`, `{"a":1}`)
		if got := l.schema(); got != "a BIGINT,_rescued_data STRING" {
			t.Errorf("the table has %s", got)
		}
		l.cfg.Options["schemaEvolutionMode"] = "addNewColumns"
		l.file("4.json", `{"b":4}`)
		stops(l, "b BIGINT")
		l.run()
		if got := l.schema(); got != "a BIGINT,_rescued_data STRING,b BIGINT" {
			t.Errorf("the table has %s", got)
		}
	})
	t.Run("without_mergeSchema_the_table_refuses_the_column_after_the_stop", func(t *testing.T) {
		l := strict(t, map[string]string{"mergeSchema": "false"})
		l.file("1.json", `{"a":1}`)
		l.run()
		l.file("2.json", `{"a":2,"b":2}`)
		stops(l, "b BIGINT")
		var mismatch *silt.MismatchError
		if _, err := l.tryRun(); !errors.As(err, &mismatch) {
			t.Errorf("error %v, want a mismatch", err)
		}
		l.cfg.Options["mergeSchema"] = "true"
		l.run()
		l.want(`{"a":1}`, `{"a":2,"b":2}`)
	})
	t.Run("a_watch_stops_as_well", func(t *testing.T) {
		l := strict(t, nil)
		l.file("1.json", `{"a":1}`)
		l.run()
		l.file("2.json", `{"b":1}`)
		p, err := silt.Open(t.Context(), l.cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		var stop *silt.SchemaChangedError
		if err := p.Watch(t.Context()); !errors.As(err, &stop) {
			t.Errorf("error %v", err)
		}
	})
}
