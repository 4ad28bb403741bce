package convert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/decode"
)

// Rows that break a rule of the table itself, a CHECK constraint or NOT NULL, are set aside like those that
// break a rule of the pipeline: the table could not take the batch with them.

// A RowError is the error of a row that the table does not take, with where it comes from.
type RowError struct {
	decode.Position
	Err error
}

func (e *RowError) Error() string { return fmt.Sprintf("%s line %d: %v", e.File, e.Line, e.Err) }

func (e *RowError) Unwrap() error { return e.Err }

// offer writes the rows of rec that the table takes, and says what becomes of them, nil when it takes all.
func (o *output) offer(ctx context.Context, rec arrow.RecordBatch, place func(row int64) decode.Position) (*judged, error) {
	var broken []delta.Violation
	var err error
	if !o.judging {
		broken, err = o.unwanted(ctx, rec)
	}
	if err != nil {
		var outside *delta.ConstraintError // the condition of an overwrite, which sets no row aside
		if errors.As(err, &outside) {
			return nil, placed(place(int64(outside.Row)), err)
		}
		return nil, err
	}
	if len(broken) == 0 {
		o.written(rec)
		return nil, nil
	}
	if o.to.FailOnConstraint {
		first := broken[0]
		return nil, placed(place(int64(first.Row)), first.Err)
	}
	out := &judged{fates: make([]fate, rec.NumRows()), reasons: map[int64][]reason{}}
	for _, v := range broken {
		row := int64(v.Row)
		out.fates[row] = aside
		out.reasons[row] = append(out.reasons[row], reason{ReasonConstraint, v.Rule, o.named(v.Err.Error())})
		first := &BrokenRow{Position: place(row), Values: valuesOf(v.Err)}
		o.made.Expect.constraint(v.Rule, RuleOutcome{Broken: 1, First: first})
	}
	for row, f := range out.fates {
		if f == 0 {
			out.fates[row] = kept
			out.kept = append(out.kept, int64(row))
		}
	}
	o.made.Expect.Quarantined += int64(len(out.fates) - len(out.kept))
	rest, err := takeRows(ctx, rec, out.kept)
	if err != nil {
		return nil, err
	}
	defer rest.Release()
	again, err := o.unwanted(ctx, rest)
	if err == nil && len(again) > 0 {
		err = again[0].Err // it may not depend on other rows
	}
	if err != nil {
		return nil, err
	}
	o.written(rest)
	return out, nil
}

// placed is the error of a row with where it comes from, where that is known.
func placed(at decode.Position, err error) error {
	if at.File == "" {
		return err
	}
	return &RowError{at, err}
}

// offerWhole is offer for rows of SQL over the whole batch.
func (o *output) offerWhole(ctx context.Context, rec arrow.RecordBatch) error {
	broken, err := o.offer(ctx, rec, func(row int64) decode.Position { return positionOf(rec, int(row)) })
	if broken == nil || err != nil {
		return err
	}
	return o.setRowsAside(ctx, rec, broken)
}

// unwanted writes rec, unless rows of it break rules of the table, which it returns.
func (o *output) unwanted(ctx context.Context, rec arrow.RecordBatch) ([]delta.Violation, error) {
	if o.changes == nil {
		return o.writer.Offer(ctx, rec)
	}
	broken, err := o.changes.violations(ctx, rec)
	if err != nil || len(broken) > 0 {
		return broken, err
	}
	return nil, o.writer.Write(ctx, rec)
}

// written counts rows that were written.
func (o *output) written(rec arrow.RecordBatch) {
	o.made.Rows += rec.NumRows()
	o.progress(0, rec.NumRows(), 0)
}

// valuesOf are the values that break a constraint.
func valuesOf(err error) string {
	var broken *delta.ConstraintError
	if !errors.As(err, &broken) {
		return ""
	}
	var out []string
	for _, v := range broken.Values {
		out = append(out, v.Column+" = "+v.JSON)
	}
	return strings.Join(out, ", ")
}

// Merge is what rows to be merged are to know of the table.
type Merge struct {
	// Write is the context of the table itself.
	Write delta.WriteContext `json:"write"`
	// DeleteWhen is true for rows that delete, which no rule is about.
	DeleteWhen string `json:"deleteWhen,omitempty"`
}

// keepsText reports whether records may be set aside for what becomes of their rows.
func (to *Target) keepsText() bool {
	return to.SQL != "" || len(to.Keys)+len(to.Rules) > 0 || to.Write.HasRules() || to.Merge != nil && to.Merge.Write.HasRules()
}

// changes holds rows that are to be merged against the rules of the table. What a row lacks, the row in the
// table may have: a rule is asked only where the row has all columns that it names.
type changes struct {
	judge   *delta.DataWriter // that writes nothing
	deletes *rules            // met by the rows that delete; nil: none do
}

// newChanges returns nil when the rows are not merged, or the table has no rules, or it cannot be told which
// rows they are about.
func (o *output) newChanges(ctx context.Context) (*changes, error) {
	m := o.to.Merge
	if m == nil || !m.Write.HasRules() {
		return nil, nil
	}
	out := &changes{}
	if m.DeleteWhen != "" {
		rows := o.task.Source(o.to)
		if o.transform != nil {
			rows = o.transform.Schema()
		}
		var err error
		if out.deletes, err = o.newRules(ctx, []Rule{{Check: m.DeleteWhen}}, nil, rows); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			return nil, nil // it asks for the row in the table
		}
	}
	var err error
	out.judge, err = delta.NewDataWriter(ctx, o.store, m.Write, delta.DataWriterOptions{Evaluator: Evaluator{Engine: o.Engine}, Partial: true})
	if err != nil {
		out.deletes.close()
		return nil, err
	}
	return out, nil
}

func (c *changes) violations(ctx context.Context, rec arrow.RecordBatch) ([]delta.Violation, error) {
	found, err := c.judge.Violations(ctx, rec)
	if len(found) == 0 || c.deletes == nil || err != nil {
		return found, err
	}
	stays, err := c.deletes.broken(ctx, rec)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(v delta.Violation) bool { return stays == nil || stays[v.Row] == nil }), nil
}

func (c *changes) close(ctx context.Context) {
	if c != nil {
		c.judge.Abort(ctx)
		c.deletes.close()
	}
}
