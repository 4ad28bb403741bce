//go:build duckdb_arrow

package silt_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

func TestAStagedBatchThatCannotBeMergedNamesItsFilesAndHasAWayOut(t *testing.T) {
	stops := func(t *testing.T, l *lab) *silt.StagedMergeError {
		t.Helper()
		before := l.rows()
		var e *silt.StagedMergeError
		for range 2 { // it stays so until it is mended
			if _, err := l.tryRun(); !errors.As(err, &e) {
				t.Fatalf("got %v, want a StagedMergeError", err)
			}
		}
		if !slices.Equal(e.Files, []string{"b.json"}) || e.Batch != 1 {
			t.Errorf("got %+v", e)
		}
		l.want(before...)
		return e
	}
	for name, c := range map[string]struct{ broken, mended string }{
		"a_condition_on_the_source_is_mended":     {"CAST(source.op AS INT) = 9", "TRY_CAST(source.op AS INT) = 9"},
		"a_condition_on_both_sides_is_mended_too": {"CAST(source.op AS INT) > CAST(target.op AS INT)", "TRY_CAST(source.op AS INT) > CAST(target.op AS INT)"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Lineage = []string{}
			l.cfg.Target.Write, l.cfg.Target.Merge = "merge", silt.Merge{Keys: []string{"id"}}
			l.file("a.json", `{"id":1,"op":"1"}`+"\n"+`{"id":2,"op":"2"}`+"\n")
			l.run()
			l.cfg.Target.Merge.DeleteWhen = c.broken
			l.file("b.json", `{"id":1,"op":"9"}`+"\n"+`{"id":2,"op":"x"}`+"\n")
			if e := stops(t, l); e.Condition != "deleteWhen" || e.Key != "" || strings.Join(e.Setting, ".") != "target.merge.deleteWhen" {
				t.Errorf("got %+v", e)
			}
			l.cfg.Target.Merge.DeleteWhen = c.mended
			l.run()
			l.want(`{"id":2,"op":"x"}`)
		})
	}
	t.Run("a_condition_on_the_source_fails_on_a_row_that_meets_none", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Lineage = []string{}
		l.cfg.Target.Write, l.cfg.Target.Merge = "merge", silt.Merge{Keys: []string{"id"}}
		l.file("a.json", `{"id":1,"op":"1"}`+"\n")
		l.run()
		l.cfg.Target.Merge.DeleteWhen = "CAST(source.op AS INT) = 9"
		l.file("b.json", `{"id":2,"op":"9"}`+"\n"+`{"id":3,"op":"x"}`+"\n")
		stops(t, l)
		l.cfg.Target.Merge.DeleteWhen = "TRY_CAST(source.op AS INT) = 9"
		l.run()
		l.want(`{"id":1,"op":"1"}`, `{"id":3,"op":"x"}`)
	})
	t.Run("a_row_that_several_meet_is_deleted", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Compat = "autoloader"
		l.cfg.Options = map[string]string{"cloudFiles.inferColumnTypes": "true", "cloudFiles.schemaLocation": t.TempDir()}
		l.cfg.Target.Write, l.cfg.Target.Merge = "merge", silt.Merge{Keys: []string{"id"}}
		l.file("a.json", `{"id":1,"n":1}`+"\n"+`{"id":2,"n":1}`+"\n")
		l.run()
		l.file("b.json", `{"id":1,"n":2}`+"\n"+`{"id":1,"n":3}`+"\n")
		if e := stops(t, l); e.Key != "id=1" || e.Condition != "" {
			t.Errorf("got %+v", e)
		}
		if _, err := silt.DeleteRows(t.Context(), l.cfg, "id = 1", false); err != nil {
			t.Fatal(err)
		}
		l.run()
		l.want(`{"id":1,"n":2}`, `{"id":1,"n":3}`, `{"id":2,"n":1}`)
	})
}
