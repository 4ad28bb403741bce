// Package source finds the files of a folder or bucket that no batch has yet.
//
// A file is known by its key. Its version is the ETag: another version under a known key is a changed
// file, reported, and new only if [Options.AllowOverwrites] says so. Age and order of names decide
// nothing about what is new, so a file that arrives late, with an old time or a name that sorts early,
// is found. What the filters pass over is not remembered anywhere: with another filter it is found
// later.
package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
)

// ErrNoFolder means that the folder to look in does not exist, or went away during the look. It is not
// the same as an empty one: a disk that is not mounted looks like that.
var ErrNoFolder = errors.New("the folder does not exist")

// Options say which files are wanted. The zero Options want all.
type Options struct {
	// Prefix is the folder in the store below which to look; empty is the whole store.
	Prefix string
	// Glob is matched against the key below Prefix, or a folder of it: then all files below are wanted.
	Glob string
	// StrictGlobber keeps * and ? of Glob inside one part of the path. Otherwise they match slashes.
	StrictGlobber bool
	// PathGlobFilter is a glob on the file's name, without its folders.
	PathGlobFilter string
	// Exclude is such a glob for files that are passed over; empty passes over none.
	Exclude string

	ModifiedAfter, ModifiedBefore time.Time // exclusive; zero is no bound
	// MaxAge passes over files modified longer than this before Now; zero passes over none.
	MaxAge time.Duration
	// MinAge passes over files modified less than this before Now: they may still be written.
	MinAge time.Duration
	Now    time.Time // for MinAge and MaxAge; zero is the current time

	// MaxFiles and MaxBytes end the batch; zero is no limit. The file that passes MaxBytes is in it.
	MaxFiles int
	MaxBytes int64
	// Ahead is how many files are kept for this batch and those after it.
	Ahead int

	// Leave reports which versions are to be left alone for now; nil leaves none.
	Leave func(objstore.Object) bool

	// AllowOverwrites makes a changed file a new one.
	AllowOverwrites bool
}

// Seen knows the files that were planned before.
type Seen interface {
	// Pass starts a look at keys, which come in ascending order, and which the caller ends. Lookup returns
	// the version of a file that was planned, if it is known, and whether no version of it was ever
	// loaded: then another version is new.
	Pass(ctx context.Context) (lookup func(key string) (v objstore.Object, known, givenUp bool, err error), end func(), err error)
}

// Found is the result of a look.
type Found struct {
	// Files of the next batch, in the order of modification time, then of key.
	Files []objstore.Object
	// Ahead are the files after them, in that order, as many as were to be kept.
	Ahead []objstore.Object
	// Waiting files are new and beyond the limits of the batch; Ahead are among them.
	Waiting      int
	WaitingBytes int64
	// Young files are new and not MinAge old; worth another look soon.
	Young int
	// Changed are other versions of known files. They are in Files too only with AllowOverwrites.
	Changed []objstore.Object
	// Skipped are wanted by name and cannot be looked at.
	Skipped []Skipped
	// PassedOver counts the files that no batch has and that the filters keep out, by the first that does.
	PassedOver map[Filter]int
}

// Skipped is a file or, with a slash at its end, a folder that a look could not see.
type Skipped struct {
	Key    string
	Reason string
}

// Discover lists the store once and returns what is new. It keeps no more than the files of the next
// batch and those ahead in memory. A file or folder that cannot be seen does not end it; that the folder to look in is
// not there does, with ErrNoFolder.
func Discover(ctx context.Context, store objstore.Store, o Options, seen Seen) (*Found, error) {
	w, err := o.wanted()
	if err != nil {
		return nil, err
	}
	next := queue{maxFiles: o.MaxFiles, maxBytes: o.MaxBytes, ahead: o.Ahead}
	found := &Found{PassedOver: map[Filter]int{}}
	lookup, end, err := seen.Pass(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	for obj, err := range store.List(ctx, w.prefix, "") {
		var oe *objstore.ObjectError
		switch {
		case errors.As(err, &oe):
			if strings.HasPrefix(w.prefix, oe.Key) { // the folder itself, or one above it
				return nil, listError(w.prefix, err)
			}
			if w.name(oe.Key) == Kept {
				found.Skipped = append(found.Skipped, Skipped{oe.Key, reason(oe.Err)})
			}
			continue
		case err != nil:
			return nil, listError(w.prefix, err)
		case isFolder(obj.Key):
			continue
		}
		before, known, givenUp, err := lookup(obj.Key)
		if err != nil {
			return nil, fmt.Errorf("the files seen: %w", err)
		}
		if by := w.filter(obj); by != Kept {
			if !known {
				found.PassedOver[by]++
			}
			continue
		}
		if known && before.ETag == obj.ETag || o.Leave != nil && o.Leave(obj) {
			continue
		}
		if known && !givenUp {
			found.Changed = append(found.Changed, obj)
			if !o.AllowOverwrites {
				continue
			}
		}
		if o.MinAge > 0 && w.now.Sub(obj.ModTime) < o.MinAge {
			found.Young++
			continue
		}
		next.push(obj)
	}
	// After the listing, because a folder that goes away during it only lists less.
	if f, ok := store.(folders); ok {
		if err := f.CheckFolder(ctx, w.prefix); err != nil {
			if errors.Is(err, objstore.ErrNotExist) {
				err = fmt.Errorf("%w: %w", ErrNoFolder, err)
			}
			return nil, err
		}
	}
	found.Files, found.Ahead = o.Cut(next.sorted())
	found.Waiting, found.WaitingBytes = next.waiting+len(found.Ahead), next.waitingBytes
	for _, f := range found.Ahead {
		found.WaitingBytes += f.Size
	}
	return found, nil
}

// Cut splits files into those of a batch and those after it.
func (o Options) Cut(files []objstore.Object) (batch, ahead []objstore.Object) {
	bytes := int64(0)
	for i, f := range files {
		if i > 0 && (o.MaxFiles > 0 && i >= o.MaxFiles || o.MaxBytes > 0 && bytes >= o.MaxBytes) {
			return files[:i:i], files[i:]
		}
		bytes += f.Size
	}
	return files, nil
}

func listError(prefix string, err error) error {
	if prefix == "" {
		return fmt.Errorf("list: %w", err)
	}
	return fmt.Errorf("list %s: %w", prefix, err)
}

// folders is what a store can do in which a folder exists by itself.
type folders interface {
	// CheckFolder is ErrNotExist unless the folder exists.
	CheckFolder(ctx context.Context, prefix string) error
}

func reason(err error) string {
	switch {
	case errors.Is(err, objstore.ErrNotRegular):
		return "not a regular file"
	case errors.Is(err, objstore.ErrPermission):
		return "permission denied"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}
