package silt

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
)

// SQL, keys and rules are held against the columns that are known before any record is read. One of them may name
// a field that comes with this very batch: the first deletion brings the column that says what a change is. Then,
// and only then, the files are read once more, before they are loaded, for the fields that they bring.

// lacksField reports whether an error is that SQL, a rule or a merge names a field that no record has had so far.
func lacksField(err error) bool {
	var several *ConfigError
	if errors.As(err, &several) {
		return slices.ContainsFunc(several.Faults, func(f Fault) bool { return lacksField(f.Err) })
	}
	var mistake *duck.SQLError
	var column *merge.ColumnError
	return errors.As(err, &mistake) && mistake.Name != "" || errors.As(err, &column) && column.Missing
}

// tellPending says of an error that names a field of which only values without a type have been seen that it is there.
func tellPending(err error, pending []string) error {
	tell := func(err error) *duck.SQLError {
		mistake, ok := errors.AsType[*duck.SQLError](err)
		if !ok {
			return nil
		}
		for _, field := range pending {
			if field == mistake.Missing || strings.HasPrefix(mistake.Missing, field+".") {
				mistake.Message = field + " has held only null, [] or {} so far, which have no type"
				return mistake
			}
		}
		return nil
	}
	var several *ConfigError
	if !errors.As(err, &several) {
		_ = tell(err) // which is shown as it is
		return err
	}
	for i, f := range several.Faults {
		if mistake := tell(f.Err); mistake != nil {
			several.Faults[i].Problem = mistake.Message
		}
	}
	return err
}

// foresee makes those fields part of the schema that the files bring, where one that is named and not known is among
// them; cause is the error when none is. The files of the batch are read first, then others that are there, at most as
// many as for a first schema: so it does not matter where a batch ends, and one that was planned before the field
// came is not in the way of those that have it.
func (c *conversion) foresee(ctx context.Context, cause error) error {
	if c.before == nil && c.rules.Given == nil {
		return cause // they have been read, for the first schema
	}
	c.progress.phase("infer")
	defer c.progress.phase("load")
	seen, err := c.lookAt(ctx, c.files)
	if err != nil {
		return err
	}
	if c.blank = seen.Records == seen.Bad; c.blank {
		return c.shape(ctx)
	}
	if !c.rules.Mode.Adds() {
		return cause
	}
	d, lacks, err := c.assume(ctx, seen)
	if err != nil {
		return err
	}
	var others []objstore.Object
	if lacks != nil {
		if others, err = c.others(ctx); err != nil {
			return err
		}
	}
	// What comes next is the likeliest to have it: as a rule a few files do, and no more are read.
	for few := 8; lacks != nil && len(others) > 0; few *= 4 {
		next := others[:min(few, len(others))]
		others = others[len(next):]
		more, err := c.lookAt(ctx, next)
		if err != nil {
			return err
		}
		seen.Merge(more)
		if d, lacks, err = c.assume(ctx, seen); err != nil {
			return err
		}
	}
	if lacks != nil {
		c.pending = merged(c.pending, d.Pending)
		return lacks
	}
	_, err = c.grow(ctx, d)
	return err
}

// assume is the decision about the fields that were seen; lacks is set when what is named is not among them either.
func (c *conversion) assume(ctx context.Context, seen *convert.Look) (d *evolve.Decision, lacks, err error) {
	if d, err = evolve.Evolve(c.version.Schema, seen.Observed, c.rules); err != nil {
		return nil, nil, newColumns(err)
	}
	before := c.version.Schema
	c.version.Schema = d.Schema
	if err := c.shape(ctx); lacksField(err) {
		lacks = err
	}
	c.version.Schema = before
	return d, lacks, nil
}

// others are files that are there beside those of the batch, as many as a first schema is made of.
func (c *conversion) others(ctx context.Context) ([]objstore.Object, error) {
	o := c.wanted(c.set)
	o.MaxFiles, o.MaxBytes = inferFiles, inferBytes
	there, err := c.present(ctx, o)
	if err != nil {
		return nil, err
	}
	ours := make(map[string]bool, len(c.files))
	for _, f := range c.files {
		ours[f.Key] = true
	}
	return slices.DeleteFunc(slices.Clone(there), func(f objstore.Object) bool { return ours[f.Key] }), nil
}

// lookAt reads files by the schema of now, and writes nothing.
func (c *conversion) lookAt(ctx context.Context, files []objstore.Object) (*convert.Look, error) {
	opts := c.task(c.version.Read()).Decode
	pieces, err := pieces(ctx, c.workers[0], files, opts)
	if err != nil {
		return nil, err
	}
	defer c.progress.restart()
	return looks(ctx, c.workers, pieces, opts)
}

// looks is what workers see in pieces of files.
func looks(ctx context.Context, workers []*convert.Converter, pieces []convert.Piece, opts decode.Options) (*convert.Look, error) {
	all := make([]*convert.Look, len(workers))
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range workers {
		g.Go(func() (err error) {
			all[i], err = w.Look(ctx, every(pieces, i, len(workers)), opts)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, other := range all[1:] {
		all[0].Merge(other)
	}
	return all[0], nil
}
