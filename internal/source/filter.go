package source

import (
	"regexp"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
)

// Filter is why a file is passed over: the name of the option that keeps it out, where there is one.
type Filter string

// The filters, in the order in which they are tried.
const (
	Kept           Filter = ""       // the file is wanted
	Elsewhere      Filter = "prefix" // it is not below the folder to look in
	Hidden         Filter = "hidden" // its name, or that of a folder, is one of unfinished and of side files
	PathGlobFilter Filter = "pathGlobFilter"
	Excluded       Filter = "exclude"
	Glob           Filter = "glob" // it does not match the pattern of the source
	ModifiedAfter  Filter = "modifiedAfter"
	ModifiedBefore Filter = "modifiedBefore"
	MaxFileAge     Filter = "maxFileAge"
)

// wanted is Options made ready.
type wanted struct {
	prefix                string // empty, or ends in a slash
	glob, file            *regexp.Regexp
	exclude               *regexp.Regexp
	onlyFolders           bool // the glob ended in a slash
	after, before, oldest time.Time
	now                   time.Time
}

func (o Options) wanted() (*wanted, error) {
	w := &wanted{prefix: o.Prefix, after: o.ModifiedAfter, before: o.ModifiedBefore, now: o.Now}
	if w.prefix != "" && !strings.HasSuffix(w.prefix, "/") {
		w.prefix += "/"
	}
	if w.now.IsZero() {
		w.now = time.Now()
	}
	if o.MaxAge > 0 {
		w.oldest = w.now.Add(-o.MaxAge)
	}
	g := loose
	if o.StrictGlobber {
		g = strict
	}
	var err error
	if o.Glob != "" {
		glob := strings.TrimRight(o.Glob, "/")
		w.onlyFolders = glob != o.Glob
		if w.glob, err = compile(glob, g); err != nil {
			return nil, err
		}
	}
	if o.PathGlobFilter != "" {
		if w.file, err = compile(o.PathGlobFilter, strict); err != nil {
			return nil, err
		}
	}
	if o.Exclude != "" {
		if w.exclude, err = compile(o.Exclude, strict); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Filter returns what tells which filter keeps an object out. MinAge is not among them, and the mark of a
// folder is no file.
func (o Options) Filter() (func(objstore.Object) Filter, error) {
	w, err := o.wanted()
	if err != nil {
		return nil, err
	}
	return func(obj objstore.Object) Filter {
		if !strings.HasPrefix(obj.Key, w.prefix) || isFolder(obj.Key) {
			return Elsewhere
		}
		return w.filter(obj)
	}, nil
}

// Wants returns a function that says whether the key of a file, or of a folder when it ends in a slash, is
// wanted as far as its name goes.
func (o Options) Wants() (func(key string) bool, error) {
	w, err := o.wanted()
	if err != nil {
		return nil, err
	}
	return func(key string) bool { return strings.HasPrefix(key, w.prefix) && w.name(key) == Kept }, nil
}

// isFolder reports whether a key is that of a folder, which a store may have an empty object for: also of
// the listed one itself, where keys are relative to it.
func isFolder(key string) bool { return key == "" || strings.HasSuffix(key, "/") }

// filter is the filter that keeps a file below the prefix out.
func (w *wanted) filter(obj objstore.Object) Filter {
	if f := w.name(obj.Key); f != Kept {
		return f
	}
	return w.time(obj.ModTime)
}

// name is the filter that keeps the key of a file, or of a folder when it ends in a slash, out.
func (w *wanted) name(key string) Filter {
	rel := strings.TrimPrefix(key, w.prefix)
	folder := isFolder(rel)
	parts := strings.Split(strings.TrimSuffix(rel, "/"), "/")
	for i, part := range parts {
		if hidden(part, folder || i < len(parts)-1) {
			return Hidden
		}
	}
	last := parts[len(parts)-1]
	switch {
	case folder: // what the patterns say about the files in it is not known
		return Kept
	case w.file != nil && !w.file.MatchString(last):
		return PathGlobFilter
	case w.exclude != nil && w.exclude.MatchString(last):
		return Excluded
	case w.glob != nil && !w.matches(rel):
		return Glob
	}
	return Kept
}

// matches reports whether the glob names the file or a folder it is in.
func (w *wanted) matches(rel string) bool {
	if !w.onlyFolders && w.glob.MatchString(rel) {
		return true
	}
	for i := strings.IndexByte(rel, '/'); i >= 0; {
		if w.glob.MatchString(rel[:i]) {
			return true
		}
		j := strings.IndexByte(rel[i+1:], '/')
		if j < 0 {
			break
		}
		i += 1 + j
	}
	return false
}

// hidden reports whether a part of a path is never read: the names of unfinished and of side files.
// A folder with a = in its name is a partition, whatever its column is called.
func hidden(part string, folder bool) bool {
	if strings.HasSuffix(part, "._COPYING_") {
		return true
	}
	return (strings.HasPrefix(part, "_") || strings.HasPrefix(part, ".")) && !(folder && strings.Contains(part, "="))
}

func (w *wanted) time(t time.Time) Filter {
	switch {
	case !w.after.IsZero() && !t.After(w.after):
		return ModifiedAfter
	case !w.before.IsZero() && !t.Before(w.before):
		return ModifiedBefore
	case !w.oldest.IsZero() && !t.After(w.oldest):
		return MaxFileAge
	}
	return Kept
}
