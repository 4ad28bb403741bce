//go:build duckdb_arrow

package silt_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

func TestFlatten(t *testing.T) {
	flat := func(l *lab, f ...silt.Flatten) { l.cfg.Flatten, l.cfg.Lineage = f, []string{} }
	t.Run("fields_of_objects_are_columns_in_the_place_of_their_object", func(t *testing.T) {
		l := newLab(t)
		flat(l, silt.Flatten{Columns: []string{"Vehicle"}})
		l.file("1.json", `{"id":1,"vehicle":{"vin":"a","battery":{"soc":0.5,"cells":[1,2]}},"at":3}`+"\n"+
			`{"id":2,"vehicle":null}`+"\n"+`{"id":3,"vehicle":{"battery":null}}`+"\n"+`{"id":4}`+"\n")
		l.run()
		if want := "at BIGINT,id BIGINT,vehicle_battery_cells ARRAY<BIGINT>,vehicle_battery_soc DOUBLE,vehicle_vin STRING,_rescued_data STRING"; l.schema() != want {
			t.Errorf("schema %s, want %s", l.schema(), want)
		}
		l.want(`{"at":3,"id":1,"vehicle_battery_cells":[1,2],"vehicle_battery_soc":0.5,"vehicle_vin":"a"}`, `{"id":2}`, `{"id":3}`, `{"id":4}`)
	})
	t.Run("a_new_field_is_a_column_in_the_run_that_meets_it", func(t *testing.T) {
		l := newLab(t)
		flat(l, silt.Flatten{Columns: []string{"*"}, Separator: "."})
		l.cfg.Flatten[0].Separator = "__"
		l.file("1.json", `{"id":1,"v":{"a":1}}`+"\n")
		l.run()
		l.file("2.json", `{"id":2,"v":{"a":2,"b":{"c":true}},"w":{"x":"y"}}`+"\n")
		if s := l.run(); len(s.Commits) != 1 || len(s.Schema.Uncarried) != 0 || s.Rescued.Rows != 0 {
			t.Errorf("summary %+v", s)
		}
		l.want(`{"id":1,"v__a":1}`, `{"id":2,"v__a":2,"v__b__c":true,"w__x":"y"}`)
	})
	t.Run("prefix_and_depth_say_how_columns_are_named_and_how_far_it_goes", func(t *testing.T) {
		l := newLab(t)
		none := ""
		flat(l, silt.Flatten{Columns: []string{"v"}, Prefix: &none, Depth: 1})
		l.file("1.json", `{"id":1,"v":{"a":1,"b":{"c":true}}}`+"\n")
		l.run()
		l.want(`{"a":1,"b":{"c":true},"id":1}`)
	})
	t.Run("the_SQL_sees_the_flat_columns", func(t *testing.T) {
		l := newLab(t)
		flat(l, silt.Flatten{Columns: []string{"v"}})
		l.cfg.Transform = "SELECT id, v_a * 2 AS twice FROM source WHERE v_a > 1"
		l.file("1.json", `{"id":1,"v":{"a":1}}`+"\n"+`{"id":2,"v":{"a":2}}`+"\n")
		l.run()
		l.want(`{"id":2,"twice":4}`)
		l.file("2.json", `{"id":3,"v":{"a":3,"b":5}}`+"\n")
		s := l.run()
		if len(s.Schema.Uncarried) != 1 || s.Schema.Uncarried[0].Path != "v.b" {
			t.Errorf("uncarried %+v", s.Schema.Uncarried)
		}
		l.want(`{"_rescued_data":"{\"v\":{\"b\":5},\"_file_path\":\"2.json\"}","id":3,"twice":6}`, `{"id":2,"twice":4}`)
	})
	t.Run("SQL_over_the_whole_batch_sees_them_too", func(t *testing.T) {
		l := newLab(t)
		flat(l, silt.Flatten{Columns: []string{"v"}})
		l.cfg.Transform = "SELECT v_a, count(*) AS n FROM source GROUP BY v_a"
		l.file("1.json", `{"v":{"a":1}}`+"\n"+`{"v":{"a":1}}`+"\n")
		l.run()
		l.want(`{"n":2,"v_a":1}`)
	})
	t.Run("of_two_fields_that_would_be_one_column_one_is_rescued_and_told", func(t *testing.T) {
		l := newLab(t)
		flat(l, silt.Flatten{Columns: []string{"v"}})
		l.file("1.json", `{"V_A":1,"v":{"a":2,"A_":{"x":1},"a__x":2}}`+"\n")
		s := l.run()
		l.want(`{"V_A":1,"_rescued_data":"{\"v\":{\"a\":2,\"a__x\":2},\"_file_path\":\"1.json\"}","v_A__x":1}`)
		if len(s.Warnings) != 2 || s.Warnings[0].Code != "SILT-7010" || !strings.Contains(s.Warnings[0].Text, "v.a and V_A would both be column") {
			t.Errorf("warnings %+v", s.Warnings)
		}
		if len(s.Schema.Uncarried) != 2 {
			t.Errorf("uncarried %+v", s.Schema.Uncarried)
		}
		l.file("2.json", `{"V_A":3,"v":{"a":4}}`+"\n")
		l.run()
		if rows := l.rows(); rows[1] != `{"V_A":3,"_rescued_data":"{\"v\":{\"a\":4},\"_file_path\":\"2.json\"}"}` {
			t.Errorf("rows %q", rows)
		}
	})
	t.Run("a_field_that_comes_later_gives_way_whichever_it_is", func(t *testing.T) {
		l := newLab(t)
		flat(l, silt.Flatten{Columns: []string{"v"}})
		l.file("1.json", `{"v":{"a":2}}`+"\n")
		l.run()
		l.file("2.json", `{"v":{"a":3},"v_a":"top"}`+"\n")
		if s := l.run(); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Text, "v_a and v.a would both be column") {
			t.Errorf("warnings %+v", s.Warnings)
		}
		l.cfg.Transform = "SELECT *, 1 AS one FROM source" // accepted anew: what was put aside stays
		l.file("3.json", `{"v":{"a":4},"v_a":"top"}`+"\n")
		l.run()
		l.want(`{"_rescued_data":"{\"v_a\":\"top\",\"_file_path\":\"2.json\"}","v_a":3}`,
			`{"_rescued_data":"{\"v_a\":\"top\",\"_file_path\":\"3.json\"}","one":1,"v_a":4}`, `{"v_a":2}`)
	})
	t.Run("without_rescued_data_it_is_an_error", func(t *testing.T) {
		l := newLab(t)
		flat(l, silt.Flatten{Columns: []string{"v"}})
		l.cfg.Options = map[string]string{"schema": "v_a BIGINT, v STRUCT<a: BIGINT>", "schemaEvolutionMode": "none"}
		l.file("1.json", `{"v_a":1,"v":{"a":2}}`+"\n")
		_, err := l.tryRun()
		var twice *silt.FlattenError
		if !errors.As(err, &twice) || twice.Column != "v_a" || l.isTable() {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a_column_that_is_no_object_stays", func(t *testing.T) {
		l := newLab(t)
		flat(l, silt.Flatten{Columns: []string{"v", "nope"}})
		l.file("1.json", `{"v":[{"a":1}]}`+"\n")
		l.run()
		l.want(`{"v":[{"a":1}]}`)
	})
	t.Run("names_of_lineage_and_rescued_data_are_taken", func(t *testing.T) {
		l := newLab(t)
		none := ""
		l.cfg.Flatten = []silt.Flatten{{Columns: []string{"v"}, Prefix: &none}}
		l.file("1.json", `{"v":{"source_file":"mine","_rescued_data":"x","b":1}}`+"\n")
		s := l.run()
		if len(s.Warnings) != 2 || s.Rescued.Rows != 1 {
			t.Errorf("summary %+v", s)
		}
	})
	t.Run("mistakes_are_told_when_it_is_opened", func(t *testing.T) {
		for _, f := range [][]silt.Flatten{{{}}, {{Columns: []string{"a", "A"}}}, {{Columns: []string{""}}}, {{Columns: []string{"a"}, Depth: -1}}} {
			l := newLab(t)
			l.cfg.Flatten = f
			var e *silt.ConfigError
			if _, err := silt.Open(t.Context(), l.cfg); !errors.As(err, &e) || e.Faults[0].Key[0] != "flatten" {
				t.Errorf("%+v: error %v", f, err)
			}
		}
	})
}
