package silt_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/internal/convert"
)

// TestLostTextIsWarnedOf holds that a row of NULLs, which compat makes of text that is no record, is told.
func TestLostTextIsWarnedOf(t *testing.T) {
	for _, test := range []struct {
		name    string
		options map[string]string
		warns   bool
	}{
		{name: "no_column_keeps_it", warns: true},
		{name: "one_variant_does_not_keep_it", options: map[string]string{"singleVariantColumn": "v"}, warns: true},
		{name: "the_corrupt_column_keeps_it", options: map[string]string{"schemaHints": "_corrupt_record string"}},
		{name: "it_is_dropped", options: map[string]string{"mode": "DROPMALFORMED"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Compat, l.cfg.Options = "autoloader", test.options
			l.file("1.json", `{"a":1}`+"\n{bad\n"+`{"a":2}`+"\n")
			warned := slices.ContainsFunc(l.run().Warnings, func(w silt.Warning) bool {
				return w.Code == "SILT-3009" && strings.HasPrefix(w.Text, "1 corrupt record became a row of NULLs, and the text is lost, first in 1.json")
			})
			if warned != test.warns {
				t.Errorf("warned %v, want %v", warned, test.warns)
			}
		})
	}
}

// TestWithoutRescuedData holds what a value that does not fit does to its record when there is no column
// for rescued data, in each mode of the JSON reader. Source: Spark's FailureSafeParser.
func TestWithoutRescuedData(t *testing.T) {
	const text = `{"a":1,"b":"x"}` + "\n" + `{"a":"bad","b":"y"}` + "\n" + `{bad` + "\n" + `{"a":3,"new":true}` + "\n"
	fits := []string{`{"a":1,"b":"x"}`, `{"a":3}`}
	for _, test := range []struct {
		name, mode, schema string
		compat             []string // rows under compat: autoloader
		silt               []string // rows in silt's own profile
		bad, dropped       int64    // of these in silt's own profile
		stops              bool
	}{
		{name: "it_is_NULL_and_lost", schema: "a bigint, b string",
			compat: append([]string{`{"b":"y"}`, `{}`}, fits...), silt: append([]string{`{"b":"y"}`}, fits...), bad: 1},
		{name: "its_record_is_in_the_corrupt_column_beside_what_fits", schema: "a bigint, b string, _corrupt_record string",
			compat: append([]string{`{"_corrupt_record":"{\"a\":\"bad\",\"b\":\"y\"}","b":"y"}`, `{"_corrupt_record":"{bad"}`}, fits...)},
		{name: "DROPMALFORMED_drops_its_record", mode: "DROPMALFORMED", schema: "a bigint, b string", compat: fits, dropped: 2},
		{name: "DROPMALFORMED_drops_its_record_where_there_is_a_corrupt_column_too", mode: "DROPMALFORMED", schema: "a bigint, b string, _corrupt_record string", compat: fits, dropped: 2},
		{name: "FAILFAST_stops_the_run", mode: "FAILFAST", schema: "a bigint, b string", stops: true},
		{name: "FAILFAST_stops_the_run_where_there_is_a_corrupt_column_too", mode: "FAILFAST", schema: "a bigint, b string, _corrupt_record string", stops: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, compat := range []string{"", "autoloader"} {
				l := newLab(t)
				l.cfg.Compat = compat
				l.cfg.Options = map[string]string{"schema": test.schema, "schemaEvolutionMode": "none"}
				if test.mode != "" {
					l.cfg.Options["mode"] = test.mode
				}
				l.file("1.json", text)
				s, err := l.tryRun()
				if test.stops {
					var corrupt *convert.CorruptError
					if !errors.As(err, &corrupt) || corrupt.Line != 2 || !strings.Contains(corrupt.Reason, "does not fit") {
						t.Errorf("compat %q: error %v, want one about line 2", compat, err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				want := slices.Clone(test.compat)
				if compat == "" && test.silt != nil {
					want = slices.Clone(test.silt)
				}
				slices.Sort(want)
				if diff := cmp.Diff(want, l.rows()); diff != "" {
					t.Errorf("compat %q (-want +got):\n%s", compat, diff)
				}
				if r := s.Records; compat == "" && (r.Quarantined != test.bad || r.Dropped != test.dropped || r.Read != 4 || r.Loaded != 4-test.bad-test.dropped) {
					t.Errorf("records %+v", r)
				}
			}
		})
	}
	t.Run("with_rescued_data_only_corrupt_records_are_malformed", func(t *testing.T) {
		for mode, want := range map[string][]string{
			"DROPMALFORMED": {`{"_rescued_data":"{\"a\":\"bad\",\"_file_path\":\"1.json\"}","b":"y"}`, `{"_rescued_data":"{\"new\":true,\"_file_path\":\"1.json\"}","a":3}`, `{"a":1,"b":"x"}`},
			"FAILFAST":      nil,
		} {
			l := newLab(t)
			l.cfg.Compat = "autoloader"
			l.cfg.Options = map[string]string{"schema": "a bigint, b string", "mode": mode, "rescuedDataColumn": "_rescued_data"}
			l.file("1.json", text)
			_, err := l.tryRun()
			var corrupt *convert.CorruptError
			if want == nil {
				if !errors.As(err, &corrupt) || corrupt.Line != 3 {
					t.Errorf("%s: error %v, want one about line 3", mode, err)
				}
				continue
			}
			if diff := cmp.Diff(want, l.rows()); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", mode, err, diff)
			}
		}
	})
	t.Run("bad_records_of_silt_s_own_onCorrupt_are_text_that_is_no_record", func(t *testing.T) {
		l := newLab(t)
		l.cfg.OnCorrupt = "drop"
		l.cfg.Options = map[string]string{"schema": "a bigint, b string", "schemaEvolutionMode": "none"}
		l.file("1.json", text)
		if s := l.run(); s.Records.Dropped != 1 {
			t.Errorf("records %+v", s.Records)
		}
		l.want(`{"a":1,"b":"x"}`, `{"a":3}`, `{"b":"y"}`)
	})
}
