package silt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/crash"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/schema"
)

// grow makes the fields of a decision part of the schema, and returns the tasks that must be done
// again.
func (c *conversion) grow(ctx context.Context, d *evolve.Decision) (again []int, err error) {
	reason := "new fields"
	if len(d.Added) == 0 {
		reason = "wider types"
	}
	c.renew(reason)
	uncarried := c.version.Uncarried
	c.version.Schema = d.Schema
	var columns []evolve.Field
	for i, f := range d.Added {
		if covered(uncarried, f) {
			continue
		}
		told, err := c.set.settleField(c.version, f, d.Added[i+1:])
		if err != nil {
			return nil, err
		}
		c.warnings = append(c.warnings, told...)
		if len(told) > 0 && c.set.uncarried == "fail" {
			return nil, &UncarriedError{newField(f)}
		}
		if covered(c.version.Uncarried, f) {
			continue
		}
		left, err := c.leaves(ctx, f)
		if err != nil {
			return nil, err
		}
		if len(left) < len(c.targets) {
			columns = append(columns, f)
			c.noteLeft(f, left)
			continue
		}
		if c.set.uncarried == "fail" {
			return nil, &UncarriedError{newField(f)}
		}
		c.version.Uncarried = append(c.version.Uncarried, f.String())
	}
	c.added, c.widened = append(c.added, columns...), append(c.widened, d.Widened...)
	if c.set.stopsOnChange {
		return nil, c.halt(ctx, d)
	}
	if len(columns)+len(d.Widened) == 0 {
		return nil, nil
	}
	if err := c.shape(ctx); err != nil {
		return nil, err
	}
	for i, r := range c.results {
		if r != nil && (meets(r, columns) || demands(r, d.Widened)) {
			c.workers[0].Discard(ctx, r)
			c.results[i] = nil
			again = append(again, i)
		}
	}
	for i := range c.tasks {
		c.fill(&c.tasks[i])
	}
	return again, nil
}

// halt writes the version of the schema that a decision has made, and stops the run. Nothing of the
// batch is staged, so that the next run reads the same files by that version; see [conversion.start].
// A run that is killed between the two stops at neither, and loses nothing.
func (c *conversion) halt(ctx context.Context, d *evolve.Decision) error {
	c.version.Added, c.version.Widened, c.version.Pending = c.added, c.widened, c.pending
	c.noteWide(d.Wide)
	if err := c.log.Hold(ctx); err != nil {
		return err
	}
	if err := c.schemas.Put(ctx, c.version); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	crash.Point("after-new-schema")
	stop := &SchemaChangedError{From: -1, To: c.version.Number, Added: newFields(d.Added), Widened: newFields(d.Widened)}
	if c.before != nil {
		stop.From = c.before.Number
	}
	c.summary.add(&batchSummary{Schema: c.schemaChange()})
	c.evolved(stop.Added, stop.Widened)
	return stop
}

// A SchemaChangedError stops a run, where [Config.OnSchemaChange] says so, after the source schema got a
// new version. The next run goes on by that version.
type SchemaChangedError struct {
	From, To int64 // versions of the source schema; From is -1 when there was none
	Added    []NewField
	Widened  []NewField
}

func (e *SchemaChangedError) Error() string {
	all := slices.Concat(e.Added, e.Widened)
	text := fmt.Sprintf("the source schema has changed to version %d", e.To)
	if len(all) > 0 {
		text += fmt.Sprintf(": %s %s, first at %s line %d", all[0].Path, all[0].DDL, all[0].File, all[0].Line)
	}
	if len(all) > 1 {
		text += fmt.Sprintf(", and %d more", len(all)-1)
	}
	return text
}

// A NewColumnsError stops a pipeline in the mode failOnNewColumns.
type NewColumnsError struct{ Fields []NewField }

func (e *NewColumnsError) Error() string {
	f := e.Fields[0]
	text := fmt.Sprintf("new column %s %s, first at %s line %d", f.Path, f.DDL, f.File, f.Line)
	if n := len(e.Fields) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}

// newColumns makes the error of evolve one that callers can see into.
func newColumns(err error) error {
	var stop *evolve.NewColumnsError
	if !errors.As(err, &stop) {
		return err
	}
	return &NewColumnsError{newFields(stop.Fields)}
}

// covered reports whether f is, or lies in, one of the paths.
func covered(paths []string, f evolve.Field) bool {
	at := f.String()
	return slices.ContainsFunc(paths, func(p string) bool { return at == p || strings.HasPrefix(at, p+".") })
}

// demands reports whether a task met numbers for which one of the columns was not wide enough.
func demands(r *convert.Result, widened []evolve.Field) bool {
	return slices.ContainsFunc(widened, func(f evolve.Field) bool { return r.Demands[f.String()] != nil })
}

// meets reports whether a task saw one of the fields without a column for it.
func meets(r *convert.Result, fields []evolve.Field) bool {
	for _, f := range fields {
		for n := range f.Path {
			if o := r.Observed[schema.Path(f.Path[:n]...)].Field(f.Path[n]); o != nil && o.Values() > 0 {
				return true
			}
		}
	}
	return false
}

// An UncarriedError stops a pipeline whose transform leaves out a new field.
type UncarriedError struct{ Field NewField }

func (e *UncarriedError) Error() string {
	return fmt.Sprintf("new field %s %s is not in the table: the transform does not carry it", e.Field.Path, e.Field.DDL)
}

// leaves returns the targets whose transforms do not carry the values of a new field.
func (c *conversion) leaves(ctx context.Context, f evolve.Field) ([]*targetSettings, error) {
	return c.set.leaves(ctx, c.workers[0], c.version, f)
}

// noteLeft warns of a field that is in some of the tables, and that the transforms of others leave out: a row
// that goes to those alone is without it.
func (c *conversion) noteLeft(f evolve.Field, left []*targetSettings) {
	if len(left) == 0 {
		return
	}
	names := make([]string, len(left))
	for i, t := range left {
		names[i] = t.given.String()
	}
	c.warnings = append(c.warnings, Warning{Code: "SILT-7008",
		Text: fmt.Sprintf("the new field %s %s is not in %s: the SQL of other targets carries it, and theirs does not", f, f.DDL, strings.Join(names, ", ")),
		Hint: "rows that go to them alone are without it: name it in their SQL, or add a target that has all records"})
}

// leaves returns the targets to which the values of a field of v do not come because their transforms do not
// carry them; none, when another has all records as they are.
func (s *settings) leaves(ctx context.Context, w *convert.Converter, v *evolve.Version, f evolve.Field) ([]*targetSettings, error) {
	if s.plain() >= 0 || s.uncarried == "allow" {
		return nil, nil
	}
	engine, err := w.Engine(ctx)
	if err != nil {
		return nil, err
	}
	less := *v
	less.Uncarried = append(slices.Clone(v.Uncarried), f.String())
	return s.unchanged(ctx, engine, s.task(v.Read()), s.task(less.Read()))
}

// unchanged returns the targets in which it does not show what a source with has and one without lacks.
func (s *settings) unchanged(ctx context.Context, engine *duck.Engine, with, without convert.Task) (out []*targetSettings, err error) {
	for i := range with.Targets {
		to := &with.Targets[i]
		carried, err := engine.Carried(ctx, to.SQL, with.Source(to), without.Source(to))
		if err != nil {
			return nil, err
		}
		if !carried {
			out = append(out, s.targets[i])
		}
	}
	return out, nil
}
