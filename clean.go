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
	"time"

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
	err := r.log.Sweep(ctx, func(ctx context.Context, b checkpoint.Batch) error {
		if r.cfg.world.now().Sub(b.Commits.Time) < r.set.clean.after {
			return checkpoint.ErrLater
		}
		for _, f := range b.Files {
			if f.Outcome.State != checkpoint.Loaded {
				continue
			}
			if err := r.cleanFile(ctx, &b, f); err != nil {
				return err
			}
		}
		return nil
	})
	held := (*checkpoint.HeldError)(nil)
	if err != nil && ctx.Err() == nil && !errors.As(err, &held) {
		r.warn(Warning{Code: "SILT-3010", Text: "the source cannot be cleaned: " + err.Error(),
			Hint: "give silt the right to do so, or set cloudFiles.cleanSource=OFF; no data is concerned"})
	}
}

// cleanFile cleans one file that was loaded. It may be called again after a crash. Another version under
// the same key is left alone.
func (r *run) cleanFile(ctx context.Context, b *checkpoint.Batch, f checkpoint.File) (err error) {
	c := r.set.clean
	store := r.source.store
	switch c.mode {
	case cleanTag:
		tagger, ok := store.(objstore.Tagger)
		if !ok {
			return fmt.Errorf("%s has no tags", r.source)
		}
		err = tagger.Tag(ctx, f.Key, map[string]string{tagName: b.Plan.Time.UTC().Format(time.DateOnly)})
	case cleanDelete:
		if f.Outcome.Bad > 0 {
			return nil // quarantine may hold only the start of a record
		}
		err = store.Delete(ctx, f.Key, objstore.Cond{IfMatch: f.ETag})
	case cleanMove:
		if err = r.moveFile(ctx, b, f); err == nil {
			err = store.Delete(ctx, f.Key, objstore.Cond{IfMatch: f.ETag})
		}
	}
	if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrPrecondition) {
		return nil // it is gone, or another version is there
	}
	if err == nil {
		r.summary.Files.Cleaned++
	}
	return err
}

// moveFile makes sure that the destination has the file. An object of the name that has another content
// stays, and the file gets the start of its ETag into its name.
func (r *run) moveFile(ctx context.Context, b *checkpoint.Batch, f checkpoint.File) error {
	day := b.Plan.Time.UTC()
	location := strings.NewReplacer("{yyyy}", day.Format("2006"), "{MM}", day.Format("01"), "{dd}", day.Format("02")).Replace(r.set.clean.destination)
	to := r.at.open(location)
	name := f.Key
	for _, key := range []string{name, withETag(name, f.ETag)} {
		there, same, err := sameContent(ctx, to, key, r.source.store, f.Object)
		switch {
		case err != nil:
			return err
		case same:
			return nil
		case there:
			continue
		}
		copied, err := objstore.Copy(ctx, to, key, r.source.store, f.Object)
		if errors.Is(err, objstore.ErrPrecondition) { // either end changed since we looked
			if _, same, err = sameContent(ctx, to, key, r.source.store, f.Object); same && err == nil {
				return nil
			}
			return err
		}
		if err == nil && copied.Size != f.Size {
			err = fmt.Errorf("the copy of %s has %d bytes of %d", r.source.URI(f.Key), copied.Size, f.Size)
		}
		return err
	}
	return fmt.Errorf("%s/%s is another file than %s", location, withETag(name, f.ETag), r.source.URI(f.Key))
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

// sameContent reports whether there is an object, and whether it holds a version of another.
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
