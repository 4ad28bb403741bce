package silt

import (
	"context"
	"errors"
	"slices"

	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// The first schema of a source is that of all its files, and to look at all of them before loading them
// takes nearly as long as loading them. A guess is the schema of the first records, by which the files
// are loaded without that look. It holds when all that is read fits it: then a look would have found the
// same schema. Otherwise nothing of it is kept, and the look is made after all.
//
// What must be true for that: a value fits its column only if inference unifies its type with that of the
// column to the column's. So a guess is made of types alone for which this is so, and those exceptions
// that a Reader tells of break it. The positions at which fields were first met are the same too, because
// the first records are those of the files that come first.

// guess is a schema that may be wrong.
type guess struct {
	files []objstore.Object // to look at, if it is
	opts  decode.Options
}

const (
	// guessFrom is the size of the files together from which on a guess is worth while, in bytes.
	guessFrom = 8 << 20
	// guessBytes is how much is read for a guess. So many files are then tried, of each so much.
	guessBytes, triedFiles, triedBytes = 1 << 20, 16, 64 << 10
)

var errGuess = errors.New("the data does not fit the guessed schema")

// guess makes the first schema a guess, if one can be made.
func (c *conversion) guess(ctx context.Context, files []objstore.Object, opts decode.Options) (ok bool, err error) {
	if !c.mayGuess(files, opts) {
		return false, nil
	}
	files = byPosition(files, c.stores().URI)
	w := c.workers[0]
	first, size := []convert.Piece{}, int64(0)
	for _, f := range files {
		if size += f.Size; size > guessBytes {
			break
		}
		first = append(first, convert.Piece{Object: f})
	}
	if len(first) == 0 {
		head, ok := w.Head(ctx, files[0], opts, guessBytes)
		if !ok {
			return false, nil
		}
		first = append(first, convert.Piece{Object: files[0], Part: head})
	}
	seen, err := w.Observe(ctx, first, opts)
	if err != nil || !isPlain(seen) {
		return false, err
	}
	d := evolve.Infer(seen, c.rules)
	c.version.Schema, c.pending, c.added = d.Schema, d.Pending, d.Added
	if len(d.Schema.Fields) == 0 || !isGuessable(d.Schema) {
		return false, nil
	}
	tried, err := c.try(ctx, files, opts)
	c.progress.restart()
	if err != nil || !tried {
		return false, err
	}
	c.partition(files)
	c.guessed = &guess{files, opts}
	return true, c.accept(ctx)
}

// byPosition returns files in the order of the positions in them.
func byPosition(files []objstore.Object, uri func(key string) string) []objstore.Object {
	type named struct {
		at   decode.Position
		file *objstore.Object
	}
	all := make([]named, len(files))
	for i := range files {
		all[i] = named{decode.Position{File: uri(files[i].Key)}, &files[i]}
	}
	slices.SortFunc(all, func(a, b named) int { return a.at.Compare(b.at) })
	sorted := make([]objstore.Object, len(files))
	for i, f := range all {
		sorted[i] = *f.file
	}
	return sorted
}

// mayGuess reports whether records are read in such a way that a guess which all of them fit is right.
func (c *conversion) mayGuess(files []objstore.Object, opts decode.Options) bool {
	var size int64
	for _, f := range files {
		size += f.Size
	}
	keys := make([]string, len(files))
	for i, f := range files {
		keys[i] = f.Key
	}
	switch {
	case size < guessFrom, len(files) != len(c.files): // a look is at all that are there
		return false
	case !c.rules.Mode.Adds(), c.rules.Mode == evolve.AddNewColumnsWithTypeWidening, len(c.deliveries) > 1, c.set.plain() < 0, c.deliveries[0].staging != nil, c.deliveries[0].replaces != nil:
		return false
	case opts.Rescue == "", opts.Compat, opts.Variant, opts.Unwrap != "", opts.RecordPath != "", opts.IgnoreCase:
		return false
	case opts.PrefersDecimal, opts.InferTimestamp, opts.PrimitivesAsString, opts.BlankAsNull, opts.Lenient != jsonscan.Leniency{}:
		return false
	}
	return len(evolve.Partitions(keys, c.set.partitions, c.rules).Fields) == 0
}

// isPlain reports whether no place has but empty strings, of which a string is made only while nothing
// else was seen there.
func isPlain(o *decode.Observed) bool {
	if o.Blanks > 0 && o.Blanks == o.Values() || o.Wide {
		return false
	}
	for _, f := range o.Fields {
		if !isPlain(f.Observed) {
			return false
		}
	}
	return o.Element == nil || isPlain(o.Element)
}

// isGuessable reports whether t is of types that take no value of which inference would make another.
func isGuessable(t schema.Type) bool {
	switch t := t.(type) {
	case *schema.Struct:
		return !slices.ContainsFunc(t.Fields, func(f schema.Field) bool { return !isGuessable(f.Type) })
	case *schema.Array:
		return isGuessable(t.Element)
	}
	return t == schema.Boolean || t == schema.Long || t == schema.Double || t == schema.String
}

// try reads the starts of some files by the guess: data that does not fit is soon met.
func (c *conversion) try(ctx context.Context, files []objstore.Object, opts decode.Options) (fits bool, err error) {
	w := c.workers[0]
	var pieces []convert.Piece
	for k := range min(triedFiles, len(files)) {
		f := files[(len(files)-1)*k/max(1, min(triedFiles, len(files))-1)]
		if f.Size <= triedBytes {
			pieces = append(pieces, convert.Piece{Object: f})
		} else if head, ok := w.Head(ctx, f, opts, triedBytes); ok {
			pieces = append(pieces, convert.Piece{Object: f, Part: head})
		}
	}
	look, err := w.Look(ctx, pieces, c.task(c.version.Read()).Decode)
	if err != nil {
		return false, err
	}
	return look.Rescued == 0 && !look.Respelled && len(look.Unreadable) == 0, nil
}

// loadGuessed runs the tasks by the guess. It is done when the guess holds; otherwise all is as if none
// had been made.
func (c *conversion) loadGuessed(ctx context.Context) (done bool, err error) {
	c.progress.phase("load")
	err = c.shape(ctx)
	if mistakes := (*ConfigError)(nil); err != nil && !errors.As(err, &mistakes) {
		return false, err
	}
	if err == nil { // else an expectation may name a column that the guess lacks
		if err := c.split(ctx); err != nil {
			return false, err
		}
		c.results = make([]*convert.Result, len(c.tasks))
		fits, err := c.doGuessed(ctx)
		if err != nil || fits {
			return fits, err
		}
	}
	c.discard(ctx)
	g := c.guessed
	c.guessed, c.results, c.tasks, c.version.Schema = nil, nil, nil, nil
	c.progress.restart()
	c.progress.phase("infer")
	return false, c.look(ctx, g.files, g.opts)
}

// doGuessed runs all tasks, until a record is met that does not fit.
func (c *conversion) doGuessed(ctx context.Context) (fits bool, err error) {
	doing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	for _, w := range c.workers {
		tell := w.Progress
		w.Progress = func(bytes, rows, rescued int64) {
			if tell(bytes, rows, rescued); rescued > 0 {
				stop(errGuess)
			}
		}
		defer func() { w.Progress = tell }()
	}
	err = c.do(doing, slices.Collect(seq(len(c.tasks))))
	switch {
	case ctx.Err() == nil && context.Cause(doing) == errGuess:
		return false, nil
	case err != nil:
		return false, err
	}
	for _, r := range c.results {
		if r.Respelled || len(r.Misfits) > 0 || slices.ContainsFunc(r.Files, func(f convert.FileOutcome) bool { return f.State != convert.Loaded }) {
			return false, nil
		}
	}
	d, err := evolve.Evolve(c.version.Schema, c.observed(), c.rules)
	if err != nil || len(d.Added)+len(d.Widened) > 0 {
		return false, err
	}
	c.pending = untyped(d.Schema, merged(c.pending, d.Pending))
	return true, nil
}
