//go:build duckdb_arrow

package silt_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

func (l *lab) tryPlan() (*silt.Plan, error) {
	l.t.Helper()
	p, err := silt.Open(l.t.Context(), l.cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	defer p.Close()
	return p.Plan(l.t.Context(), silt.PlanOptions{})
}

// unknown fails when an error is none about a field that is not known, at a key of the configuration.
func unknown(t *testing.T, err error, key, field string) {
	t.Helper()
	var e *silt.ConfigError
	if !errors.As(err, &e) || len(e.Faults) != 1 || strings.Join(e.Faults[0].Key, ".") != key || !strings.Contains(e.Faults[0].Problem, field) {
		t.Errorf("got %v, want one that %s names no field %s", err, key, field)
	}
}

func merging(l *lab, m silt.Merge) {
	m.Keys = []string{"k"}
	l.cfg.Target.Write, l.cfg.Target.Merge = "merge", m
}

func TestAFieldThatComesWithTheBatchIsKnownToWhatNamesIt(t *testing.T) {
	for _, c := range []struct {
		name  string
		use   func(l *lab)
		file  string
		wants []string
	}{
		{"a_deletion", func(l *lab) { merging(l, silt.Merge{DeleteWhen: "op = 'delete'"}) }, `{"k":1,"op":"delete"}`, []string{`{"k":2,"v":20}`}},
		{"a_deletion_of_the_source", func(l *lab) { merging(l, silt.Merge{DeleteWhen: "source.op = 'delete'"}) }, `{"k":1,"op":"delete"}`, []string{`{"k":2,"v":20}`}},
		{"a_field_in_a_struct", func(l *lab) { merging(l, silt.Merge{DeleteWhen: "meta.gone"}) }, `{"k":1,"meta":{"gone":true}}`, []string{`{"k":2,"v":20}`}},
		{"a_condition_over_the_table", func(l *lab) { merging(l, silt.Merge{UpdateWhen: "target.n IS NULL AND source.n > 0"}) },
			`{"k":1,"n":1,"v":11}` + "\n" + `{"k":2,"n":-1,"v":21}`, []string{`{"k":1,"n":1,"v":11}`, `{"k":2,"v":20}`}},
		{"the_sequence", func(l *lab) { merging(l, silt.Merge{SequenceBy: "seq"}) },
			`{"k":1,"seq":2,"v":12}` + "\n" + `{"k":1,"seq":1,"v":11}`, []string{`{"k":1,"seq":2,"v":12}`, `{"k":2,"v":20}`}},
		{"an_expectation", func(l *lab) {
			merging(l, silt.Merge{})
			l.cfg.Target.Expect = expect("good", "n > 0", "")
		}, `{"k":1,"n":1,"v":11}` + "\n" + `{"k":2,"n":-1,"v":21}`, []string{`{"k":1,"n":1,"v":11}`, `{"k":2,"v":20}`}},
		{"a_transform", func(l *lab) {
			merging(l, silt.Merge{})
			l.cfg.Transform = "SELECT k, upper(op) AS op FROM source"
		}, `{"k":1,"op":"x","z":1}`, []string{`{"k":1,"op":"X","v":10}`, `{"k":2,"v":20}`}},
		{"behind_a_transform", func(l *lab) {
			merging(l, silt.Merge{DeleteWhen: "op = 'delete'"})
			l.cfg.Transform = "SELECT * FROM source"
		}, `{"k":1,"op":"delete"}`, []string{`{"k":2,"v":20}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage = []string{}
			merging(l, silt.Merge{})
			l.file("a.json", `{"k":1,"v":10}`+"\n"+`{"k":2,"v":20}`+"\n")
			l.run()
			l.file("b.json", c.file+"\n")
			c.use(l)
			if _, err := l.tryPlan(); err != nil {
				t.Errorf("the plan: %v", err)
			}
			l.run()
			if got := l.rows("_rescued_data"); !slices.Equal(got, c.wants) {
				t.Errorf("got %v, want %v", got, c.wants)
			}
		})
	}
}

func TestAFieldThatIsNamedMayComeWithALaterBatch(t *testing.T) {
	first := func(t *testing.T) *lab {
		l := newLab(t)
		l.cfg.Lineage = []string{}
		merging(l, silt.Merge{})
		l.file("a.json", `{"k":1}`+"\n"+`{"k":2}`+"\n"+`{"k":3}`+"\n")
		l.run()
		merging(l, silt.Merge{DeleteWhen: "op = 'delete'"})
		return l
	}
	t.Run("of_the_same_run", func(t *testing.T) {
		l := first(t)
		l.cfg.Options = map[string]string{"maxFilesPerTrigger": "1"}
		l.file("b.json", `{"k":1,"v":1}`+"\n")
		l.file("c.json", `{"k":2,"op":"delete"}`+"\n")
		l.file("d.json", `{"k":3,"v":3}`+"\n")
		if s := l.run(); s.Batches != 3 || s.Merge.Deleted != 1 {
			t.Errorf("got %d batches, %+v", s.Batches, s.Merge)
		}
		l.want(`{"k":1,"v":1}`, `{"k":3,"v":3}`)
	})
	t.Run("and_no_more_files_are_read_than_it_takes_to_find_it", func(t *testing.T) {
		l := first(t)
		l.cfg.Options = map[string]string{"maxFilesPerTrigger": "1"}
		l.file("b.json", `{"k":1}`+"\n")
		l.file("c.json", `{"k":2,"op":"delete"}`+"\n")
		for i := range 10 {
			l.file(fmt.Sprintf("d%d.json", i), `{"k":1}`+"\n")
		}
		l.file("e.json", `{"k":1,"far":1}`+"\n")
		var grown []silt.SchemaEvolved
		l.cfg.Events = func(e silt.Event) {
			if e, ok := e.(silt.SchemaEvolved); ok {
				grown = append(grown, e)
			}
		}
		l.run()
		if len(grown) != 2 || len(grown[0].Added) != 1 || grown[0].Batch != 1 || grown[0].Added[0].Path != "op" || grown[1].Added[0].Path != "far" {
			t.Errorf("the schema grew by %+v", grown)
		}
		l.want(`{"far":1,"k":1}`, `{"k":3}`)
	})
	t.Run("of_a_later_run", func(t *testing.T) {
		l := first(t)
		l.file("b.json", `{"k":1,"v":1}`+"\n")
		for range 2 {
			_, err := l.tryRun()
			unknown(t, err, "target.merge.deleteWhen", "op")
			_, err = l.tryPlan()
			unknown(t, err, "target.merge.deleteWhen", "op")
		}
		l.want(`{"k":1}`, `{"k":2}`, `{"k":3}`)
		l.file("c.json", `{"k":2,"op":"delete"}`+"\n")
		if _, err := l.tryPlan(); err != nil {
			t.Errorf("the plan: %v", err)
		}
		l.run()
		l.want(`{"k":1,"v":1}`, `{"k":3}`)
	})
	t.Run("that_is_not_read_for_a_plan_at_once", func(t *testing.T) {
		l := first(t)
		for i := range 402 {
			l.file(fmt.Sprintf("b%03d.json", i), map[bool]string{true: `{"k":2,"op":"delete"}`, false: `{"k":1}`}[i == 7]+"\n")
		}
		if p, err := l.tryPlan(); err != nil || !p.Read.Full {
			t.Errorf("the plan: %v", err)
		}
	})
	t.Run("or_from_a_hint", func(t *testing.T) {
		l := first(t)
		l.file("b.json", `{"k":1,"v":1}`+"\n")
		l.cfg.Options = map[string]string{"schemaHints": "op STRING"}
		l.run()
		l.want(`{"k":1,"v":1}`, `{"k":2}`, `{"k":3}`)
	})
}

func TestAFieldThatNobodyKnowsIsAMistakeOfWhatNamesIt(t *testing.T) {
	for _, c := range []struct {
		name, key, field, hint string
		use                    func(l *lab)
	}{
		{"a_deletion", "target.merge.deleteWhen", "column op", "schemaHints: op STRING", func(l *lab) { merging(l, silt.Merge{DeleteWhen: "op = 'delete'"}) }},
		{"a_condition_over_the_table", "target.merge.updateWhen", "field n in target", "schemaHints: n STRING", func(l *lab) { merging(l, silt.Merge{UpdateWhen: "source.v > target.n"}) }},
		{"an_option", "options.write.deleteWhen", "column op", "schemaHints: op STRING", func(l *lab) {
			merging(l, silt.Merge{})
			l.cfg.Options = map[string]string{"write.deleteWhen": "op = 'delete'"}
		}},
		{"the_sequence", "target.merge.sequenceBy", "seq", "", func(l *lab) { merging(l, silt.Merge{SequenceBy: "seq"}) }},
		{"an_expectation", "expect.good", "column n", "schemaHints: n STRING", func(l *lab) { l.cfg.Target.Expect = expect("good", "n > 0", "") }},
		{"an_expectation_behind_a_transform", "expect.good", "column op", "the columns that the transform makes", func(l *lab) {
			l.cfg.Transform = "SELECT k FROM source"
			l.cfg.Target.Expect = expect("good", "op IS NOT NULL", "")
		}},
		{"a_key_behind_a_transform", "target.merge.keys", "column k", "the columns that the transform makes", func(l *lab) { l.cfg.Transform = "SELECT v FROM source" }},
		{"where_new_fields_are_rescued", "target.merge.deleteWhen", "column new", "schemaHints: new STRING", func(l *lab) {
			merging(l, silt.Merge{DeleteWhen: "new = 1"})
			l.cfg.Options = map[string]string{"schemaEvolutionMode": "rescue"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage = []string{}
			merging(l, silt.Merge{})
			l.file("a.json", `{"k":1,"v":1}`+"\n")
			l.run()
			l.file("b.json", `{"k":1,"new":1}`+"\n")
			c.use(l)
			_, planned := l.tryPlan()
			_, err := l.tryRun()
			for _, err := range []error{planned, err} {
				unknown(t, err, c.key, c.field)
				var e *silt.ConfigError
				if errors.As(err, &e) && !strings.Contains(e.Faults[0].Hint, c.hint) {
					t.Errorf("hint %q, want %q in it", e.Faults[0].Hint, c.hint)
				}
			}
			l.want(`{"k":1,"v":1}`)
		})
	}
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("which_has_only_been_null_and_has_no_type/first=%v", first), func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage = []string{}
			merging(l, silt.Merge{})
			if !first {
				l.file("a.json", `{"k":1}`+"\n")
				l.run()
			}
			l.file("b.json", `{"k":1,"gone":null}`+"\n")
			l.cfg.Transform = "SELECT k, gone FROM source"
			for _, try := range []func() error{func() error { _, err := l.tryPlan(); return err }, func() error { _, err := l.tryRun(); return err }} {
				if err := try(); err == nil || !strings.Contains(err.Error(), "gone has held only null") {
					t.Errorf("behind a transform: %v", err)
				}
			}
			l.cfg.Transform = ""
			merging(l, silt.Merge{DeleteWhen: "gone"})
			_, err := l.tryPlan()
			unknown(t, err, "target.merge.deleteWhen", "gone has held only null, [] or {} so far, which have no type")
			_, err = l.tryRun()
			unknown(t, err, "target.merge.deleteWhen", "gone has held only null, [] or {} so far, which have no type")
			l.file("c.json", `{"k":1,"gone":true}`+"\n")
			l.run()
			if got := l.rows(); len(got) != 0 {
				t.Errorf("got %v, want no row", got)
			}
		})
	}
	t.Run("in_a_struct_that_has_only_been_null", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT coalesce(after.k, before.k) AS k FROM source"
		l.file("a.json", `{"before":null,"after":{"k":1}}`+"\n")
		for _, try := range []func() error{func() error { _, err := l.tryPlan(); return err }, func() error { _, err := l.tryRun(); return err }} {
			if err := try(); err == nil || !strings.Contains(err.Error(), "before has held only null") {
				t.Errorf("got %v", err)
			}
		}
		l.file("b.json", `{"before":{"k":2},"after":null}`+"\n")
		if s := l.run(); s.Rows != 2 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("on_the_first_run", func(t *testing.T) {
		l := newLab(t)
		merging(l, silt.Merge{DeleteWhen: "op = 'delete'"})
		l.file("a.json", `{"k":1}`+"\n")
		_, err := l.tryPlan()
		unknown(t, err, "target.merge.deleteWhen", "op")
		_, err = l.tryRun()
		unknown(t, err, "target.merge.deleteWhen", "op")
	})
}

func TestARunThatStopsForTheSchemaStopsForAFieldThatIsNamedToo(t *testing.T) {
	l := newLab(t)
	l.cfg.Lineage, l.cfg.Compat = []string{}, "autoloader"
	l.cfg.Options = map[string]string{"cloudFiles.inferColumnTypes": "true", "cloudFiles.schemaLocation": t.TempDir(), "mergeSchema": "true"}
	merging(l, silt.Merge{})
	l.file("a.json", `{"k":1}`+"\n"+`{"k":2}`+"\n")
	l.run()
	l.cfg.OnSchemaChange = "fail"
	merging(l, silt.Merge{DeleteWhen: "op = 'delete'"})
	l.file("b.json", `{"k":1,"op":"delete"}`+"\n")
	var stop *silt.SchemaChangedError
	if _, err := l.tryRun(); !errors.As(err, &stop) || len(stop.Added) != 1 || stop.Added[0].Path != "op" {
		t.Fatalf("got %v, want a stop for op", err)
	}
	l.run()
	l.want(`{"k":2}`)
}

func TestFilesWithoutAnyRecordAreNotHeldAgainstWhatNamesFields(t *testing.T) {
	torn := func() string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(`{"k":1}`)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()[:12]
	}()
	uses := map[string]func(l *lab){
		"an_expectation": func(l *lab) { l.cfg.Target.Expect = expect("good", "n > 0", "") },
		"a_transform":    func(l *lab) { l.cfg.Transform = "SELECT k, n FROM source" },
		"a_transform_over_the_whole_batch": func(l *lab) {
			l.cfg.Transform = "SELECT k, max(n) AS n FROM source GROUP BY k"
			l.cfg.Target.Expect = expect("good", "n > 0", "")
		},
		"a_merge": func(l *lab) { merging(l, silt.Merge{DeleteWhen: "n < 0"}) },
	}
	for name, use := range uses {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/first=%v", name, first), func(t *testing.T) {
				l := newLab(t)
				l.cfg.Lineage = []string{}
				want := []string{`{"k":2,"n":2}`}
				if !first {
					l.file("0.json", `{"k":0}`+"\n")
					l.run()
					want = append([]string{`{"k":0}`}, want...)
				}
				use(l)
				l.file("a.json.gz", torn)
				l.file("b.json", "no record\n")
				if p, err := l.tryPlan(); err != nil || len(p.Unreadable) != 1 {
					t.Errorf("the plan: %v", err)
				}
				s, err := l.tryRun()
				if err != nil || s.Files.Failed != 1 || s.Records.Quarantined != 1 || s.Rows != 0 {
					t.Fatalf("got %+v, %v", s, err)
				}
				l.file("c.json", `{"k":2,"n":2}`+"\n")
				l.run()
				if got := l.rows("_rescued_data"); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
	}
	t.Run("but_records_without_fields_are", func(t *testing.T) {
		l := newLab(t)
		uses["an_expectation"](l)
		l.file("a.json", "{}\n")
		_, err := l.tryRun()
		unknown(t, err, "expect.good", "column n")
		_, err = l.tryPlan()
		unknown(t, err, "expect.good", "column n")
	})
	t.Run("and_in_a_merge_they_have_no_key", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Lineage = []string{}
		uses["a_merge"](l)
		l.file("a.json", "{}\n")
		if s := l.run(); s.Records.Quarantined != 1 || s.Rows != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestATableIsEmptiedByFilesWithoutAnyRecordWhateverTheSQLNames(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("first=%v", first), func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage, l.cfg.Target.Write = []string{}, "overwrite"
			if !first {
				l.file("0.json", `{"k":0}`+"\n")
				l.run()
			}
			l.cfg.Transform = "SELECT k, n FROM source"
			l.file("a.json", "[]")
			if _, err := l.tryPlan(); err != nil {
				t.Errorf("the plan: %v", err)
			}
			if s := l.run(); s.Files.Loaded != 1 || s.Rows != 0 {
				t.Errorf("got %+v", s)
			}
			if !first {
				l.want()
			}
			l.file("b.json", `{"k":1,"n":1}`+"\n")
			l.run()
			l.want(`{"k":1,"n":1}`)
		})
	}
}
