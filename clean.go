package silt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/objstore"
)

// cleaning is what becomes of a source file once its batch is closed. The zero cleaning is nothing.
type cleaning struct {
	mode cleanMode
	// after is how long a batch is closed before its files are cleaned.
	after time.Duration
	// destination is where files are moved to; {yyyy}, {MM} and {dd} in it are the day of the batch.
	destination string
}

type cleanMode string

// The modes of cleanSource.
const (
	cleanOff    cleanMode = ""
	cleanDelete cleanMode = "DELETE"
	cleanMove   cleanMode = "MOVE"
	cleanTag    cleanMode = "TAG"
)

// The defaults and least values of cleanSource.retentionDuration. Source: Auto Loader, "cleanSource".
const (
	defaultRetention  = 30 * 24 * time.Hour
	minDeleteRetained = 7 * 24 * time.Hour
)

// tagName is the mark of a file that is loaded; its value is the day of the batch.
const tagName = "silt.loaded"

// Archive implements [checkpoint.Effects]. What is to be cleaned is so after the run, by the batches
// that are due: a source that cannot be cleaned does not keep new files from being loaded.
func (r *run) Archive(ctx context.Context, _ checkpoint.Plan, s checkpoint.Staged) error {
	if slices.ContainsFunc(r.targets, func(t *target) bool { return t.merge != nil }) {
		if err := r.forget(ctx, s.Batch); err != nil {
			return err
		}
	}
	if r.set.clean.mode != cleanOff {
		return checkpoint.ErrLater
	}
	return nil
}

// clean cleans the files of all batches that are due.
func (r *run) clean(ctx context.Context) {
	if r.set.clean.mode == cleanOff {
		return
	}
	err := r.log.Sweep(ctx, func(ctx context.Context, b *checkpoint.Cleaning) (checkpoint.Archived, error) {
		if r.cfg.world.now().Sub(b.Commits.Time) < r.set.clean.after {
			return checkpoint.Archived{}, checkpoint.ErrLater
		}
		return r.cleanBatch(ctx, b)
	})
	held := (*checkpoint.HeldError)(nil)
	if err != nil && ctx.Err() == nil && !errors.As(err, &held) {
		r.warn(Warning{Code: "SILT-3010", Text: "the source cannot be cleaned: " + err.Error(),
			Hint: "give silt the right to do so, take another moveDestination, or set cloudFiles.cleanSource=OFF; no data is concerned"})
	}
}

// rule is how the files of a batch are cleaned that was planned at a time.
func (c *cleaning) rule(planned time.Time) checkpoint.Rule {
	rule := checkpoint.Rule{Mode: string(c.mode)}
	if c.mode == cleanMove {
		day := planned.UTC()
		rule.Location = strings.NewReplacer("{yyyy}", day.Format("2006"), "{MM}", day.Format("01"), "{dd}", day.Format("02")).Replace(c.destination)
	}
	return rule
}

// cleanedAtOnce is how many files of a source in S3 are cleaned together: each needs a few requests, which take
// as long however small it is.
const cleanedAtOnce = 8

// cleanBatch cleans the files of a batch that were loaded, and says what became of them. It may be called
// again after a crash. After an error no further file is begun.
func (r *run) cleanBatch(ctx context.Context, b *checkpoint.Cleaning) (checkpoint.Archived, error) {
	out := checkpoint.Archived{Rule: r.set.clean.rule(b.Plan.Time)}
	was := make([]checkpoint.ArchivedFile, len(b.Files))
	var cleaned atomic.Int64
	g, going := errgroup.WithContext(ctx)
	g.SetLimit(r.together(b.Files, out.Rule))
	for i, f := range b.Files {
		if was[i] = (checkpoint.ArchivedFile{Key: f.Key, Mode: out.Mode}); f.Outcome.State != checkpoint.Loaded {
			continue
		}
		g.Go(func() (err error) {
			if going.Err() != nil {
				return context.Cause(ctx) // nil when another file could not be cleaned, which says so
			}
			was[i], err = r.cleanFile(ctx, b, f, out.Rule)
			if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrPrecondition) {
				was[i], err = r.uncleaned(ctx, b, f, out.Rule, err)
			} else if err == nil && was[i].Mode != "" {
				cleaned.Add(1)
			}
			return err
		})
	}
	err := g.Wait()
	r.summary.Files.Cleaned += int(cleaned.Load())
	for i, f := range b.Files {
		if was[i] != (checkpoint.ArchivedFile{Key: f.Key, Mode: out.Mode}) {
			out.Other = append(out.Other, was[i])
		}
	}
	return out, err
}

// together is how many files of a batch may be cleaned at once. It is one where they may get in each other's
// way, because the other name of a file is the name of another, and in a folder, whose files are copied through
// memory and wait for the same disk.
func (r *run) together(files []checkpoint.File, rule checkpoint.Rule) int {
	if !isRemote(r.source.path) {
		return 1
	}
	if cleanMode(rule.Mode) == cleanMove {
		keys := map[string]bool{}
		for _, f := range files {
			keys[f.Key] = true
		}
		for _, f := range files {
			if keys[withETag(f.Key, f.ETag)] {
				return 1
			}
		}
	}
	return cleanedAtOnce
}

// cleanFile cleans one file that was loaded, and says what became of it. It is ErrNotExist when the file is
// gone, and ErrPrecondition when another version is there, which is left alone.
func (r *run) cleanFile(ctx context.Context, b *checkpoint.Cleaning, f checkpoint.File, rule checkpoint.Rule) (checkpoint.ArchivedFile, error) {
	was := checkpoint.ArchivedFile{Key: f.Key, Mode: rule.Mode}
	store := r.source.store
	switch cleanMode(rule.Mode) {
	case cleanTag:
		tagger, ok := store.(objstore.Tagger)
		if !ok {
			return was, fmt.Errorf("%s has no tags", r.source)
		}
		if err := r.inSource(ctx, f); err != nil {
			return was, err
		}
		return was, tagger.Tag(ctx, f.Key, map[string]string{tagName: b.Plan.Time.UTC().Format(time.DateOnly)})
	case cleanDelete:
		if err := r.inSource(ctx, f); err != nil { // a store need not say that what it deletes is not there
			return was, err
		}
		if !mayDelete(f) {
			return checkpoint.ArchivedFile{Key: f.Key}, nil
		}
		if err := b.Begin(ctx, rule); err != nil {
			return was, err
		}
		return was, store.Delete(ctx, f.Key, objstore.Cond{IfMatch: f.ETag})
	}
	name, err := r.copyFile(ctx, rule.Location, f)
	if err != nil {
		return was, err
	}
	if err := b.Begin(ctx, rule); err != nil {
		return was, err
	}
	err = store.Delete(ctx, f.Key, objstore.Cond{IfMatch: f.ETag})
	if errors.Is(err, objstore.ErrNotExist) {
		err = nil // gone since it was copied
	}
	return movedTo(rule, rule, f.Key, name), err
}

// inSource is nil when the source has the version of a file that was loaded, ErrNotExist when the file is
// gone, and ErrPrecondition when another version is there.
func (r *run) inSource(ctx context.Context, f checkpoint.File) error {
	there, _, err := r.source.store.Open(ctx, f.Key, objstore.Range{Len: 1, IfMatch: f.ETag})
	if err != nil {
		return err
	}
	return there.Close()
}

// mayDelete reports whether all of a file is in tables: of a bad record quarantine may hold only the start.
func mayDelete(f checkpoint.File) bool { return f.Outcome.Bad == 0 }

// movedTo says that a file has a name below the location of a rule, which need not be that of its batch.
func movedTo(by, rule checkpoint.Rule, key, name string) checkpoint.ArchivedFile {
	was := checkpoint.ArchivedFile{Key: key, Mode: string(cleanMove)}
	if name != key || by != rule {
		was.To = folder{path: by.Location}.URI(name)
	}
	return was
}

// uncleaned says what became of a file of which cleanFile did not find the version, or returns its error when
// that was about something else. Silt has taken the version away when an earlier call began to clean the
// batch, by this rule or the one that was configured then: a move left it at its place. A deletion leaves
// nothing, and a version that is replaced counts as one that its writer has replaced.
func (r *run) uncleaned(ctx context.Context, b *checkpoint.Cleaning, f checkpoint.File, rule checkpoint.Rule, why error) (checkpoint.ArchivedFile, error) {
	left := checkpoint.ArchivedFile{Key: f.Key}
	err := r.inSource(ctx, f)
	gone := errors.Is(err, objstore.ErrNotExist)
	switch {
	case err == nil:
		return left, why
	case !gone && !errors.Is(err, objstore.ErrPrecondition):
		return left, err
	}
	begun, err := b.Begun(ctx)
	if err != nil || begun.Mode == "" {
		return left, err
	}
	deleted := false
	for _, by := range []checkpoint.Rule{rule, begun} {
		switch cleanMode(by.Mode) {
		case cleanDelete:
			deleted = gone && mayDelete(f)
		case cleanMove:
			name, err := r.findMoved(ctx, by.Location, f)
			if err != nil {
				return left, err
			}
			if name == "" {
				continue
			}
			return movedTo(by, rule, f.Key, name), nil
		}
	}
	if deleted {
		return checkpoint.ArchivedFile{Key: f.Key, Mode: string(cleanDelete)}, nil
	}
	return left, nil
}

// movedNames are those that a moved file may have: its own, or another where that is taken.
func movedNames(f checkpoint.File) []string { return []string{f.Key, withETag(f.Key, f.ETag)} }

// findMoved returns the name below a location of a file that was moved there, or none.
func (r *run) findMoved(ctx context.Context, location string, f checkpoint.File) (string, error) {
	to := r.at.open(location)
	for _, name := range slices.Backward(movedNames(f)) {
		got, there, err := to.Open(ctx, name, objstore.Range{Len: 1})
		if errors.Is(err, objstore.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if err := got.Close(); err != nil {
			return "", err
		}
		if there.Size == f.Size {
			return name, nil
		}
	}
	return "", nil
}

// copyFile makes sure that a folder has the file, and returns the name that it has there. An object of the
// name that has another content stays, and the file gets the start of its ETag into its name.
func (r *run) copyFile(ctx context.Context, location string, f checkpoint.File) (name string, err error) {
	to, from := r.at.open(location), r.source.store
	if r.source.holds(location+"/"+f.Key, false) { // to take it for its own copy would lose it
		return "", fmt.Errorf("%s would be moved to %s, which lies inside the source", r.source.URI(f.Key), folder{path: location}.URI(f.Key))
	}
	for _, name := range movedNames(f) {
		there, same, err := sameContent(ctx, to, name, from, f.Object)
		if err == nil && !there {
			var copied objstore.Object
			copied, err = objstore.Copy(ctx, to, name, from, f.Object)
			if err == nil && copied.Size != f.Size {
				err = fmt.Errorf("the copy of %s has %d bytes of %d", r.source.URI(f.Key), copied.Size, f.Size)
			}
			if err == nil {
				return name, nil
			}
			if errors.Is(err, objstore.ErrPrecondition) { // either end changed since we looked
				changed := err
				if there, same, err = sameContent(ctx, to, name, from, f.Object); err == nil && !there {
					err = changed
				}
			}
		}
		if err != nil {
			return "", err
		}
		if same {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s/%s is another file than %s", location, withETag(f.Key, f.ETag), r.source.URI(f.Key))
}

// withETag puts the start of an ETag before the end of a name.
func withETag(key, etag string) string {
	etag = strings.ReplaceAll(etag, "-", "")
	dir, name := path.Split(key)
	base, end, _ := strings.Cut(name, ".")
	if end != "" {
		end = "." + end
	}
	return dir + base + "-" + etag[:min(8, len(etag))] + end
}

// sameContent reports whether there is an object, and whether it holds a version of another. It is an error
// when both are one file that two paths lead to.
func sameContent(ctx context.Context, s objstore.Store, key string, from objstore.Store, o objstore.Object) (there, same bool, err error) {
	got, a, err := s.Open(ctx, key, objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	defer got.Close()
	if a.Size != o.Size {
		return true, false, nil
	}
	if _, local := s.(*objstore.Dir); local && a.ETag == o.ETag { // it names the inode
		return true, false, fmt.Errorf("%s is at the destination already, because both are one folder", o.Key)
	}
	want, _, err := from.Open(ctx, o.Key, objstore.Range{IfMatch: o.ETag})
	if err != nil {
		return true, false, err
	}
	defer want.Close()
	same, err = equal(got, want)
	return true, same, err
}

// equal reports whether two readers read the same.
func equal(a, b io.Reader) (bool, error) {
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		end, endB := isEnd(err), isEnd(errB)
		switch {
		case end && endB:
			return true, nil
		case err != nil && !end:
			return false, err
		case errB != nil && !endB:
			return false, errB
		}
	}
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
