package silt

import (
	"context"
	"errors"
	"fmt"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/merge"
)

// A StagedRowError says that a batch cannot be committed, because a row of it breaks a rule of the table. The
// rows of a batch are fixed when it is staged, and those that break a rule are set aside before; so the rule
// has come since then, or it is about a row that a merge makes of one in the table.
type StagedRowError struct {
	Table string
	Batch int64
	// Err is a [*delta.ConstraintError], or wraps [delta.ErrNotNull].
	Err error
}

func (e *StagedRowError) Error() string {
	return fmt.Sprintf("table %s: batch %d was staged, and cannot be committed: %v", e.Table, e.Batch, e.Err)
}

func (e *StagedRowError) Unwrap() error { return e.Err }

// A StagedMergeError says that a batch cannot be committed, because its rows, which are fixed, cannot be merged
// into the table as it is: a condition fails on a row, or several rows have the key of one row of the table.
type StagedMergeError struct {
	Table string
	Batch int64
	// Files are the keys of the files that have rows in the batch.
	Files []string
	// Condition is deleteWhen or updateWhen, Key what several rows have; one of them is empty.
	Condition, Key string
	// Setting is the path of the Condition in the configuration; nil when the table is no target any more.
	Setting []string
	Err     error
}

func (e *StagedMergeError) Error() string {
	return fmt.Sprintf("table %s: batch %d was staged, and cannot be merged: %v", e.Table, e.Batch, e.Err)
}

func (e *StagedMergeError) Unwrap() error { return e.Err }

// staged makes the error of a row one that says that its batch is staged.
func (t *table) staged(batch checkpoint.Staged, err error) error {
	var broken *delta.ConstraintError
	if errors.As(err, &broken) || errors.Is(err, delta.ErrNotNull) {
		return &StagedRowError{t.name, batch.Batch, err}
	}
	e := &StagedMergeError{Table: t.name, Batch: batch.Batch}
	var condition *merge.ConditionError
	var duplicate *merge.DuplicateError
	switch {
	case errors.As(err, &condition):
		e.Condition, e.Err = condition.Name, condition
	case errors.As(err, &duplicate):
		e.Key, e.Err = duplicate.Key, duplicate
	default:
		return err
	}
	for _, f := range batch.Files {
		if f.Rows > 0 {
			e.Files = append(e.Files, f.Key)
		}
	}
	return e
}

// recheck holds the rows of a staged change against the rules that the table has by now.
func (p *Pipeline) recheck(ctx context.Context, tx *delta.Transaction, c *change) error {
	sql, done := p.sql()
	defer done()
	return tx.Recheck(ctx, delta.WriteContext{Schema: c.Schema, Constraints: c.Constraints, NeedsSQL: c.NeedsSQL}, convert.Evaluator{Engine: sql})
}

// sql returns the function that opens a SQL engine when it is called first, and the one that closes it.
func (p *Pipeline) sql() (open func(context.Context) (*duck.Engine, error), done func()) {
	var engine *duck.Engine
	open = func(ctx context.Context) (*duck.Engine, error) {
		if engine != nil {
			return engine, nil
		}
		var err error
		engine, err = duck.Open(ctx, p.duckOptions(p.set))
		return engine, err
	}
	return open, func() {
		if engine != nil {
			engine.Close()
		}
	}
}
