package silt_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
)

// twoLoads is a lab whose table has two versions of one file each.
func twoLoads(t *testing.T) *lab {
	l := newLab(t)
	l.file("a.json", `{"id":1}`)
	l.run()
	l.file("b.json", `{"id":2,"geo":{"lat":1.5}}`)
	l.run()
	return l
}

func TestMaintenance(t *testing.T) {
	first := int64(0)
	t.Run("a_restore_is_what_was_planned", func(t *testing.T) {
		l := twoLoads(t)
		p, err := silt.PlanRestore(t.Context(), l.cfg, &first, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if p.Version != 1 || p.To != 0 || p.RemovedFiles != 1 || p.RestoredFiles != 0 || len(p.Removed) != 1 || p.Removed[0].Path != "geo" {
			t.Errorf("planned %+v", p)
		}
		if v, err := p.Restore(t.Context()); err != nil || v != 2 {
			t.Errorf("got version %d and %v, want 2", v, err)
		}
		if got := l.rows(); !slices.Equal(got, []string{`{"id":1}`}) {
			t.Errorf("got %v", got)
		}
		if s := l.run(); s.Files.Loaded != 0 {
			t.Errorf("%d files are loaded again", s.Files.Loaded)
		}
	})
	t.Run("a_restore_is_not_done_when_others_have_written_since_it_was_planned", func(t *testing.T) {
		l := twoLoads(t)
		p, err := silt.PlanRestore(t.Context(), l.cfg, &first, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		l.file("c.json", `{"id":3}`)
		l.run()
		var conflict *delta.ConflictError
		if _, err := p.Restore(t.Context()); !errors.As(err, &conflict) {
			t.Errorf("got %v, want a ConflictError", err)
		}
		if got := l.rows(); len(got) != 3 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("a_version_is_found_by_its_time", func(t *testing.T) {
		l := twoLoads(t)
		versions, err := silt.TableHistory(t.Context(), l.cfg, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range versions {
			if got, err := silt.TableVersionAt(t.Context(), l.cfg, v.Timestamp); err != nil || got != v.Version {
				t.Errorf("at %s got version %d and %v, want %d", v.Timestamp, got, err, v.Version)
			}
		}
		var early *delta.TimeError
		if _, err := silt.TableVersionAt(t.Context(), l.cfg, versions[1].Timestamp.Add(-time.Second)); !errors.As(err, &early) {
			t.Errorf("got %v, want a TimeError", err)
		}
	})
	t.Run("packing_tells_how_far_it_is_and_keeps_the_rows", func(t *testing.T) {
		l := twoLoads(t)
		before := l.rows()
		var last silt.TableProgress
		r, err := silt.OptimizeTable(t.Context(), l.cfg, silt.OptimizeOptions{Progress: func(p silt.TableProgress) { last = p }})
		if err != nil {
			t.Fatal(err)
		}
		if r.PackedFiles != 2 || r.WrittenFiles != 1 || r.Files != 1 || r.Version != 2 {
			t.Errorf("got %+v", r)
		}
		if last.FilesTotal != 2 || last.Files < 2 || last.BytesRead == 0 || last.BytesTotal != r.PackedBytes {
			t.Errorf("told %+v", last)
		}
		if got := l.rows(); !slices.Equal(got, before) {
			t.Errorf("got %v, want %v", got, before)
		}
	})
	t.Run("a_vacuum_deletes_what_it_has_shown", func(t *testing.T) {
		l := twoLoads(t)
		if _, err := silt.OptimizeTable(t.Context(), l.cfg, silt.OptimizeOptions{}); err != nil {
			t.Fatal(err)
		}
		o := silt.VacuumOptions{Retention: new(time.Duration)}
		var short *delta.RetentionError
		if _, err := silt.VacuumTable(t.Context(), l.cfg, o); !errors.As(err, &short) {
			t.Fatalf("got %v, want a RetentionError", err)
		}
		o.Force, o.DryRun = true, true
		plan, err := silt.VacuumTable(t.Context(), l.cfg, o)
		if err != nil || len(plan.Files) != 2 || plan.Deleted != 0 {
			t.Fatalf("planned %+v, %v", plan, err)
		}
		var last silt.TableProgress
		o.DryRun, o.Progress = false, func(p silt.TableProgress) { last = p }
		done, err := silt.VacuumTable(t.Context(), l.cfg, o)
		if err != nil || done.Deleted != 2 || !slices.Equal(done.Files, plan.Files) || last.Files == 0 {
			t.Errorf("got %+v, %v, told %+v", done, err, last)
		}
		report, err := silt.CheckTable(t.Context(), l.cfg, silt.CheckOptions{Rows: true})
		if err != nil || len(report.Findings) > 0 {
			t.Errorf("the check found %+v, %v", report, err)
		}
		var gone *delta.GoneError
		if _, err := silt.PlanRestore(t.Context(), l.cfg, &first, time.Time{}); !errors.As(err, &gone) {
			t.Errorf("got %v, want a GoneError", err)
		}
	})
}
