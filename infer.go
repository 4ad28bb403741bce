package silt

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

// inferFiles and inferBytes bound the first look at a source. Source: Auto Loader, "Configure
// schema inference and evolution", sampleSize.
const (
	inferFiles = 1000
	inferBytes = 50 << 30
)

// infer makes the first schema of all files that are there, not only of those in the batch, so that
// the limits of a batch do not show in the schema.
func (c *conversion) infer(ctx context.Context) error {
	c.version = &evolve.Version{WrittenAt: c.plan.Time, Batch: c.plan.Batch, Query: c.log.ID(), Reason: "inferred"}
	if c.rules.Given != nil {
		c.version.Reason, c.version.Schema = "given", c.rules.Given
		c.partition(c.files)
		return c.accept(ctx)
	}
	o := c.wanted(c.set)
	o.MaxFiles, o.MaxBytes = inferFiles, inferBytes
	sample, err := c.present(ctx, o)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(sample))
	for _, f := range sample {
		there[f.Key] = true
	}
	for _, f := range c.files {
		if !there[f.Key] {
			sample = append(sample, f)
		}
	}
	c.progress.phase("infer")
	opts := c.set.decode
	opts.BatchBytes = 1 << 20
	ok, err := c.guess(ctx, sample, opts)
	if err == nil && !ok {
		err = c.look(ctx, sample, opts)
	}
	if err == nil && c.set.compat && len(c.version.Schema.Fields) == 0 {
		return &NoSchemaError{Source: c.source.String(), Files: len(sample)}
	}
	return err
}

// nothingToInfer is the error of a first run under compat that finds no file, where Auto Loader has one.
// Source: Auto Loader, "FAQ": an empty directory needs a schema.
func (r *run) nothingToInfer(ctx context.Context) error {
	e := r.set.evolution
	if !r.set.compat || r.summary.Batches > 0 || e.Given != nil || len(e.Hints) > 0 || r.set.decode.Variant {
		return nil
	}
	if v, err := r.schemas.Latest(ctx); v != nil || err != nil {
		return err
	}
	return &NoSchemaError{Source: r.source.String()}
}

// A NoSchemaError stops the first run of a pipeline under compat: autoloader that has nothing to infer a
// schema from.
type NoSchemaError struct {
	Source string
	Files  int // that are there, all of whose records are corrupt or empty
}

func (e *NoSchemaError) Error() string {
	if e.Files == 0 {
		return "there is no file in " + e.Source + " to infer a schema from"
	}
	return fmt.Sprintf("no record in the %s of %s has a field to infer a schema from", plural(e.Files, "file", "files"), e.Source)
}

// present are the first of the files that are there, up to the limits of o: by the listing that this run has
// planned the batch by, or, when an earlier one did that, by a new one.
func (c *conversion) present(ctx context.Context, o source.Options) ([]objstore.Object, error) {
	if c.listed {
		files, _ := o.Cut(slices.Concat(c.files, c.run.ahead))
		return files, nil
	}
	found, err := source.Discover(ctx, c.source.store, o, c.seen)
	if err != nil {
		return nil, err
	}
	return found.Files, nil
}

// look makes the first schema of what it sees in files.
func (c *conversion) look(ctx context.Context, files []objstore.Object, opts decode.Options) error {
	pieces, err := pieces(ctx, c.workers[0], files, opts)
	if err != nil {
		return err
	}
	total := new(decode.Observed)
	seen := make([]*decode.Observed, len(c.workers))
	g, gctx := errgroup.WithContext(ctx)
	for i, w := range c.workers {
		g.Go(func() (err error) {
			seen[i], err = w.Observe(gctx, every(pieces, i, len(c.workers)), opts)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, o := range seen {
		total.Merge(o)
	}
	c.blank = len(total.Fields) == 0 && !total.Wide // or records without any field, see [conversion.unmade]
	d := evolve.Infer(total, c.rules)
	c.version.Schema, c.pending = d.Schema, d.Pending
	c.noteWide(d.Wide)
	if !c.rules.StringsOnly {
		c.warnings = append(c.warnings, strays(d.Schema, total)...)
	}
	c.added = d.Added
	c.partition(files)
	c.progress.restart()
	return c.accept(ctx)
}

// partition finds the columns that the folders of the files make. Fields of the data that come later
// and have such a name are not columns.
func (c *conversion) partition(files []objstore.Object) {
	keys := make([]string, len(files))
	for i, f := range files {
		keys[i] = f.Key
	}
	if s := evolve.Partitions(keys, c.set.partitions, c.rules); len(s.Fields) > 0 {
		c.version.Partitions = s
		c.reservePartitions()
	}
}

func (c *conversion) reservePartitions() {
	if c.version.Partitions != nil {
		c.rules.Reserved = append(slices.Clone(c.rules.Reserved), c.version.Partitions.Names()...)
	}
}
