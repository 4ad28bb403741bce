//go:build duckdb_arrow

package silt_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

func expect(pairs ...string) map[string]silt.Expectation {
	out := map[string]silt.Expectation{}
	for i := 0; i < len(pairs); i += 3 {
		out[pairs[i]] = silt.Expectation{Check: pairs[i+1], OnViolation: pairs[i+2]}
	}
	return out
}

// found is what rules found, in short.
func found(e *silt.ExpectCounts) string {
	if e == nil {
		return "nothing"
	}
	out := fmt.Sprintf("%d = %d + %d + %d", e.Rows, e.Kept, e.Quarantined, e.Dropped)
	for _, r := range e.Rules {
		out += fmt.Sprintf(" %s %d/%d", r.Rule, r.Met, r.Broken)
	}
	return out
}

func TestExpectations(t *testing.T) {
	t.Run("a_row_that_breaks_a_rule_is_quarantined_dropped_or_told_of", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Target.Expect = expect("has_id", "id IS NOT NULL", "", "low", "soc >= 0", "drop", "high", "soc <= 100", "warn")
		l.file("a.json", `{"id":1,"soc":5}`+"\n"+`{"id":null,"soc":101}`+"\n"+`{"id":3,"soc":-1}`+"\n"+`{"id":4,"soc":200}`+"\n")
		s := l.run()
		l.want(`{"id":1,"soc":5}`, `{"id":4,"soc":200}`)
		if got, want := found(s.Expect), "4 = 2 + 1 + 1 has_id 3/1 high 2/2 low 3/1"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
		if r := s.Records; r != (silt.RecordCounts{Read: 4, Loaded: 2, Quarantined: 1, Dropped: 1}) {
			t.Errorf("records %+v", r)
		}
		q := l.quarantine()
		if len(q) != 1 || q[0].Reason != "expectation" || q[0].Line != 2 || string(q[0].Record) != `{"id":null,"soc":101}` ||
			strings.Join(q[0].Rules, ",") != "has_id,high" || !strings.HasSuffix(q[0].File, "a.json") {
			t.Errorf("quarantine %+v", q)
		}
		if len(s.Warnings) != 1 || s.Warnings[0].Code != "SILT-3012" || !strings.Contains(s.Warnings[0].Text, "a.json:2") {
			t.Errorf("warnings %+v", s.Warnings)
		}
	})
	t.Run("the_values_are_those_of_the_columns_that_the_check_names_whatever_their_names", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Target.Expect = expect("r", `"a.b"."c d" > 0 AND source.e > 0`, "")
		l.file("a.json", `{"a":1,"b":2,"c":3,"d":4,"e":5,"a.b":{"c d":0}}`+"\n")
		s := l.run()
		if got, want := s.Expect.Rules[0].Values, "`a.b` = {\"c d\":0}, e = 5"; got != want {
			t.Errorf("values %s, want %s", got, want)
		}
	})
	t.Run("a_row_that_breaks_several_goes_to_quarantine_once", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Target.Expect = expect("a", "id > 0", "quarantine", "b", "v = 'x'", "", "c", "id < 0", "drop")
		l.file("a.json", `{"id":0,"v":"y"}`+"\n")
		s := l.run()
		if q := l.quarantine(); len(q) != 1 || strings.Join(q[0].Rules, ",") != "a,b,c" {
			t.Errorf("quarantine %+v", q)
		}
		if got, want := found(s.Expect), "1 = 0 + 1 + 0 a 0/1 b 0/1 c 0/1"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
	})
	t.Run("null_and_a_failing_condition_break_a_rule", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Target.Expect = expect("positive", "n > 0", "", "number", "CAST(text AS INTEGER) > 0", "")
		l.file("a.json", `{"n":1,"text":"1"}`+"\n"+`{"n":null,"text":"1"}`+"\n"+`{"n":1,"text":"x"}`+"\n")
		if got, want := found(l.run().Expect), "3 = 1 + 2 + 0 number 2/1 positive 2/1"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
	})
	t.Run("fail_stops_the_batch_and_the_next_run_sees_the_same", func(t *testing.T) {
		l := newLab(t)
		l.file("0.json", `{"id":0}`+"\n")
		l.run()
		l.cfg.Target.Expect = expect("has_id", "id IS NOT NULL", "fail")
		l.file("a.json", `{"id":1}`+"\n"+`{"id":null}`+"\n"+`{"id":null}`+"\n")
		for range 2 {
			s, err := l.tryRun()
			var broken *silt.ViolationError
			if !errors.As(err, &broken) || broken.Rule != "has_id" || broken.Rows != 2 || broken.Line != 2 || broken.Values != "id = null" {
				t.Fatalf("got %v", err)
			}
			if s.Rows != 0 || len(s.Commits) != 0 {
				t.Errorf("summary %+v", s)
			}
			l.want(`{"id":0}`)
		}
		l.cfg.Target.Expect = expect("has_id", "id IS NOT NULL", "quarantine")
		if s := l.run(); s.Rows != 1 || s.Records.Quarantined != 2 {
			t.Errorf("after the rule was changed: %+v", s)
		}
		l.want(`{"id":0}`, `{"id":1}`)
	})
	t.Run("a_value_that_makes_a_column_wider_is_no_null_to_a_rule_that_fails", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"schemaEvolutionMode": "addNewColumnsWithTypeWidening"}
		l.cfg.Target.Expect = expect("has_n", "n IS NOT NULL", "fail")
		l.file("a.json", `{"n":1}`+"\n")
		l.run()
		l.file("b.json", `{"n":1.5,"more":2}`+"\n")
		if s := l.run(); s.Rows != 1 || found(s.Expect) != "1 = 1 + 0 + 0 has_n 1/0" {
			t.Errorf("found %s", found(s.Expect))
		}
	})
	t.Run("behind_SQL_that_multiplies_rows_the_record_is_kept_and_counted_once", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT id, x FROM source, unnest(l) AS t(x)"
		l.cfg.Target.Expect = expect("small", "x < 10", "", "even", "x % 2 = 0", "drop")
		l.file("a.json", `{"id":1,"l":[2,20,22,3]}`+"\n"+`{"id":2,"l":[4,5]}`+"\n"+`{"id":3,"l":[1,3]}`+"\n")
		s := l.run()
		l.want(`{"id":1,"x":2}`, `{"id":2,"x":4}`)
		if got, want := found(s.Expect), "8 = 2 + 2 + 4 even 4/4 small 6/2"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
		if r := s.Records; r != (silt.RecordCounts{Read: 3, Loaded: 1, Quarantined: 1, Dropped: 1}) {
			t.Errorf("records %+v", r)
		}
		if q := l.quarantine(); len(q) != 1 || string(q[0].Record) != `{"id":1,"l":[2,20,22,3]}` || strings.Join(q[0].Rules, ",") != "small" {
			t.Errorf("quarantine %+v", q)
		}
	})
	t.Run("a_row_of_SQL_over_the_whole_batch_is_kept_itself", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT k, count(*) AS n FROM source GROUP BY k"
		l.cfg.Target.Expect = expect("many", "n > 1", "")
		l.file("a.json", `{"k":"a"}`+"\n"+`{"k":"b"}`+"\n"+`{"k":"a"}`+"\n")
		s := l.run()
		l.want(`{"k":"a","n":2}`)
		if got, want := found(s.Expect), "2 = 1 + 1 + 0 many 1/1"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
		if q := l.quarantine(); len(q) != 1 || string(q[0].Record) != `{"k":"b","n":1}` {
			t.Errorf("quarantine %+v", q)
		}
	})
	t.Run("a_merge_sees_the_rows_that_are_left", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Target.Write, l.cfg.Target.Merge = "merge", silt.Merge{Keys: []string{"id"}, SequenceBy: "at"}
		l.cfg.Target.Expect = expect("positive", "v > 0", "", "odd", "v % 2 = 1", "drop")
		l.file("a.json", `{"id":1,"at":1,"v":1}`+"\n"+`{"id":1,"at":2,"v":-1}`+"\n"+`{"id":null,"at":1,"v":-3}`+"\n"+`{"id":2,"at":1,"v":2}`+"\n")
		s := l.run()
		l.want(`{"at":1,"id":1,"v":1}`)
		if got, want := found(s.Expect), "4 = 1 + 2 + 1 odd 1/3 positive 2/2"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
		if s.Merge.Rows != 1 || s.Merge.Inserted != 1 || s.Records != (silt.RecordCounts{Read: 4, Loaded: 1, Quarantined: 2, Dropped: 1}) {
			t.Errorf("merge %+v, records %+v", s.Merge, s.Records)
		}
	})
	t.Run("a_column_reads_as_NULL_that_a_hint_or_the_table_knows", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"schemaHints": "soc DOUBLE"}
		l.cfg.Target.Expect = expect("full", "soc IS NULL OR soc > 99", "")
		l.file("a.json", `{"id":1,"v":{"x":1}}`+"\n")
		l.run()
		l.cfg.Options, l.cfg.Transform = nil, "SELECT id FROM source"
		l.cfg.Target.Expect = expect("no_x", "v.x IS NULL AND soc IS NULL", "")
		l.file("b.json", `{"id":2}`+"\n")
		if got, want := found(l.run().Expect), "1 = 1 + 0 + 0 no_x 1/0"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
	})
	t.Run("what_is_no_condition_is_a_mistake_in_the_configuration", func(t *testing.T) {
		for check, want := range map[string]string{
			"id IS NOT":                    "it ends too early",
			"idd > 0":                      "there is no column idd",
			"count(*) > 0":                 "it does not look at one row by itself",
			"row_number() OVER () > 1":     "it does not look at one row by itself",
			"id":                           "it is BIGINT, and not true or false",
			"id, id":                       "it is not one condition",
			"random() > 0.5":               "it may be another for the same row",
			"id IN (SELECT id FROM other)": "it reads the table other",
			"true) FROM source; DROP TABLE source; --": "syntax error",
			"": "the rule has no check",
		} {
			l := newLab(t)
			l.cfg.Target.Expect = expect("rule", check, "")
			l.file("a.json", `{"id":1}`+"\n")
			_, err := l.tryRun()
			var mistakes *silt.ConfigError
			if !errors.As(err, &mistakes) || !strings.Contains(err.Error(), want) || strings.Join(mistakes.Faults[0].Key[:2], ".") != "expect.rule" {
				t.Errorf("%s: got %v, want %s", check, err, want)
			}
			if _, err := os.Stat(l.cfg.Target.Path + "/_delta_log"); err == nil {
				t.Errorf("%s: there is a table", check)
			}
		}
	})
}

// Every row is loaded, quarantined or dropped, as each rule says, whatever the rules, the tasks and the SQL.
func TestExpectationsSplitAllRows(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	actions := []string{"quarantine", "drop", "warn"}
	for round := range 12 {
		l := newLab(t)
		l.cfg.Workers = 1 + rnd.IntN(3)
		l.cfg.Target.Expect = map[string]silt.Expectation{}
		type rule struct {
			modulo, rest int
			action       string
		}
		var rules []rule
		for i := range 1 + rnd.IntN(70) {
			r := rule{2 + rnd.IntN(30), rnd.IntN(3), actions[rnd.IntN(3)]}
			rules = append(rules, r)
			l.cfg.Target.Expect[fmt.Sprintf("r%03d", i)] = silt.Expectation{Check: fmt.Sprintf("n %% %d <> %d", r.modulo, r.rest), OnViolation: r.action}
		}
		multiply := round%2 == 1
		if multiply {
			l.cfg.Transform = "SELECT id, unnest(range(id, id + 3)) AS n FROM source"
		}
		want := map[string]int{}
		broken := make([]int64, len(rules))
		loaded := map[int]int{}
		id := 0
		for f := range 1 + rnd.IntN(4) {
			var text strings.Builder
			for range rnd.IntN(3000) {
				fmt.Fprintf(&text, "{\"id\":%d,\"n\":%d}\n", id, id)
				for n := id; n < id+map[bool]int{true: 3, false: 1}[multiply]; n++ {
					fate := "loaded"
					for i, r := range rules {
						if n%r.modulo != r.rest {
							continue
						}
						broken[i]++
						if r.action == "quarantine" || r.action == "drop" && fate == "loaded" {
							fate = map[string]string{"quarantine": "quarantined", "drop": "dropped"}[r.action]
						}
					}
					if want[fate]++; fate == "loaded" {
						loaded[n]++
					}
				}
				id++
			}
			l.file(fmt.Sprintf("%d.json", f), text.String())
		}
		s := l.run()
		if s.Expect == nil {
			continue // there was no record
		}
		if e := s.Expect; int(e.Kept) != want["loaded"] || int(e.Quarantined) != want["quarantined"] || int(e.Dropped) != want["dropped"] || e.Rows != e.Kept+e.Quarantined+e.Dropped {
			t.Fatalf("round %d: %s, want %v", round, found(e), want)
		}
		for i, r := range s.Expect.Rules {
			if r.Broken != broken[i] || r.Met+r.Broken != s.Expect.Rows {
				t.Errorf("round %d: rule %+v, want broken %d", round, r, broken[i])
			}
		}
		if r := s.Records; r.Read != int64(id) || r.Read != r.Loaded+r.Quarantined+r.Dropped || int(r.Quarantined) != len(l.quarantine()) {
			t.Errorf("round %d: records %+v of %d, %d in quarantine", round, r, id, len(l.quarantine()))
		}
		if s.Rows == 0 {
			continue
		}
		for _, text := range l.rows() {
			var row struct{ N int }
			if err := json.Unmarshal([]byte(text), &row); err != nil {
				t.Fatal(err)
			}
			loaded[row.N]--
		}
		for n, left := range loaded {
			if left != 0 {
				t.Fatalf("round %d: row %d is there %d times too few", round, n, left)
			}
		}
	}
}

// TestWhatHappensWithExpectations holds the last part of docs/what-happens.md.
func TestWhatHappensWithExpectations(t *testing.T) {
	for _, h := range ruleHappenings {
		for i, action := range []string{"quarantine", "drop", "warn", "fail"} {
			for _, compat := range []string{"", "autoloader"} {
				l := newLab(t)
				l.cfg.Compat = compat
				l.cfg.Options = map[string]string{"inferColumnTypes": "true", "mergeSchema": "true"}
				l.file("1.json", firstLine)
				l.run()
				l.cfg.Target.Expect = expect("low", "n < 5", action)
				l.file("2.json", h.line)
				s, err := l.tryRun()
				got := "in the table"
				var broken *silt.ViolationError
				switch {
				case errors.As(err, &broken):
					got = "**the run stops**, nothing is loaded"
				case err != nil:
					got = err.Error()
				case len(l.quarantine()) == 1 && s.Records.Loaded == 0:
					got = "quarantined"
				case s.Records.Dropped == 1:
					got = "dropped, and counted"
				case len(s.Warnings) > 0 && s.Records.Loaded == 1:
					got += ", and a warning"
				}
				if got != h.cells[i] {
					t.Errorf("%s, %s, compat %q: %s, want %s", h.event, action, compat, got, h.cells[i])
				}
			}
		}
	}
}

func TestAPlanSaysWhatRulesWouldMakeOfTheRows(t *testing.T) {
	t.Run("of_all_files_as_the_run_does_it", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Target.Expect = expect("has_id", "id IS NOT NULL", "", "low", "soc >= 0", "drop", "high", "soc <= 100", "warn")
		l.file("a.json", `{"id":1,"soc":5}`+"\n"+`{"id":null,"soc":101}`+"\nno record\n"+`{"id":3,"soc":-1}`+"\n")
		l.file("b.json", `{"id":4,"soc":200}`+"\n")
		p := l.plan(false)
		if got, want := found(p.Expect), "4 = 2 + 1 + 1 has_id 3/1 high 2/2 low 3/1"; got != want || !p.Read.Full {
			t.Errorf("the plan found %s, want %s; it read %+v", got, want, p.Read)
		}
		if _, err := os.Stat(l.cfg.Target.Path); err == nil {
			t.Error("there is a table")
		}
		if s := l.run(); found(s.Expect) != found(p.Expect) {
			t.Errorf("the run found %s, the plan %s", found(s.Expect), found(p.Expect))
		}
		if p := l.plan(false); p.Expect != nil {
			t.Errorf("a plan without files found %s", found(p.Expect))
		}
	})
	t.Run("of_what_was_read_when_that_is_not_all", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Target.Expect = expect("low", "id < 5", "fail")
		for i := range 900 {
			l.file(fmt.Sprintf("%03d.json", i), `{"id":`+fmt.Sprint(i%2*5)+"}\n")
		}
		p := l.plan(false)
		if p.Read.Full || p.Expect == nil || p.Expect.Rows != p.Read.Records || p.Expect.Rows == 900 {
			t.Errorf("found %s in %+v", found(p.Expect), p.Read)
		}
		if p = l.plan(true); found(p.Expect) != "900 = 450 + 450 + 0 low 450/450" || !strings.Contains(p.Stop, "450 rows break the expectation low") {
			t.Errorf("found %s, and stops for %q", found(p.Expect), p.Stop)
		}
	})
	t.Run("that_SQL_over_all_records_makes", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Target.Transform = "SELECT k, count(*) AS n FROM source GROUP BY k"
		l.cfg.Target.Expect = expect("several", "n > 1", "drop")
		l.file("a.json", `{"k":1}`+"\n"+`{"k":2}`+"\n")
		l.file("b.json", `{"k":1}`+"\n")
		if got, want := found(l.plan(false).Expect), "2 = 1 + 0 + 1 several 1/1"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
	})
}

func TestAPreviewMarksRowsThatBreakRules(t *testing.T) {
	l := newLab(t)
	l.cfg.Target.Expect = expect("has_id", "id IS NOT NULL", "", "high", "soc <= 100", "warn")
	l.file("a.json", `{"id":1,"soc":5}`+"\n"+`{"id":null,"soc":101}`+"\n")
	l.file("b.json", `{"id":4,"soc":200}`+"\n")
	for _, sql := range []string{"", "SELECT id, soc, 1 AS one FROM source"} {
		l.cfg.Target.Transform = sql
		p, err := silt.Open(t.Context(), l.cfg)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := p.Preview(t.Context(), silt.PreviewOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range shown.Broken {
			got = append(got, fmt.Sprintf("%d %s %s %s", b.Row, b.Rule, b.OnViolation, b.Values))
		}
		if text := strings.Join(got, "; "); text != "1 has_id quarantine id = null; 1 high warn soc = 101; 2 high warn soc = 200" {
			t.Errorf("with the SQL %q, broken are %s", sql, text)
		}
		shown.Release()
		_ = p.Close()
	}
}
