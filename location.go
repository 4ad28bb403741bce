package silt

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/catalog"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/objstore/s3store"
)

// A location is the name of a folder as silt keeps it: an absolute path of this machine, or
// s3://bucket/prefix without a slash at its end.

// absolute is the location that a path or a URI names.
func absolute(location string) (string, error) {
	if bucket, key, ok := s3store.ParseURI(location); ok {
		return "s3://" + strings.TrimRight(bucket+"/"+key, "/"), nil
	}
	path, err := localPath(location)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// isRemote reports whether a location is no folder of this machine.
func isRemote(location string) bool {
	_, _, ok := s3store.ParseURI(location)
	return ok
}

// realPath is a location without links, as far as it is there.
func realPath(location string) string {
	if isRemote(location) {
		return location
	}
	if to, err := filepath.EvalSymlinks(location); err == nil {
		return to
	}
	dir := filepath.Dir(location)
	if dir == location {
		return location
	}
	return filepath.Join(realPath(dir), filepath.Base(location))
}

// localPath is the path that a path or a file URI names.
func localPath(location string) (string, error) {
	scheme, rest, ok := strings.Cut(location, ":/")
	switch {
	case !ok || len(scheme) < 2 || strings.ContainsAny(scheme, "/\\"):
		return location, nil
	case strings.EqualFold(scheme, "file"):
		return "/" + strings.TrimLeft(rest, "/"), nil
	case isRemote(location):
		return "", fmt.Errorf("%s is no folder of this machine", location)
	}
	return "", fmt.Errorf("%s: %w; silt reads and writes folders and S3", location, &unsupportedError{scheme})
}

// unsupportedError is a location that is valid and out of reach.
type unsupportedError struct{ scheme string }

func (e *unsupportedError) Error() string {
	return "locations that start with " + e.scheme + ": are not supported yet"
}

// uriOf is the URI of a location.
func uriOf(location string) string {
	if isRemote(location) {
		return location
	}
	return "file://" + location
}

// place is where the target is, or the first of several, with its quarantine and the pipelines' state.
func (c Config) place() (catalog.Place, error) { return c.placeOf(c.each()[0]) }

// placeOf is where a target, its quarantine and the state of pipelines that load into it are.
func (c Config) placeOf(t Target) (catalog.Place, error) {
	var p catalog.Place
	if t.Table == "" {
		location := t.Path
		if !isRemote(location) {
			path, err := localPath(location)
			if err != nil {
				return p, err
			}
			location = path
		}
		p = catalog.AtPath(location)
	} else {
		name, err := catalog.ParseName(t.Table)
		if err != nil {
			return p, err
		}
		p = lakeOf(c.Catalogs, name.Catalog).Place(name)
	}
	var err error
	for _, at := range []*string{&p.Path, &p.Quarantine, &p.State} {
		if *at, err = absolute(*at); err != nil {
			return p, err
		}
	}
	return p, nil
}

func lakeOf(catalogs map[string]Catalog, name string) catalog.Local {
	return catalog.Local{Lake: cmp.Or(catalogs[name].Path, DefaultLake), Open: new(places).open}
}

// places opens locations, all of those in S3 through one client.
type places struct {
	o     s3store.Options
	world world

	once   sync.Once
	client *s3store.Client
	err    error
}

// places are those that a Config can reach.
func (c Config) places() *places {
	set, _ := c.parse() // what is wrong is told elsewhere
	return &places{o: set.s3, world: c.world}
}

// open returns the store of a location. It makes no request: what is wrong is told by the store.
func (p *places) open(location string) objstore.Store {
	if p.world.open != nil {
		return p.world.open(location)
	}
	bucket, prefix, ok := s3store.ParseURI(location)
	if !ok {
		return objstore.NewDir(location)
	}
	p.once.Do(func() { p.client, p.err = s3store.New(context.Background(), p.o) })
	if p.err != nil {
		return outOfReach{p.err}
	}
	return p.client.Store(bucket, prefix)
}

// filesOf finds the data files that the log of the table at a location names by an absolute URI or path,
// as that of a shallow clone does. A table in S3 names no file of this machine: its log was written by
// others, who have no say over what is read here.
func (p *places) filesOf(table string) delta.Resolver {
	return func(uri string) (objstore.Store, string, error) {
		file, err := url.PathUnescape(uri)
		if err == nil {
			file, err = absolute(file)
		}
		switch {
		case err != nil:
			return nil, "", fmt.Errorf("data file %s: %w", uri, err)
		case isRemote(table) && !isRemote(file):
			return nil, "", fmt.Errorf("data file %s is on this machine, and its table in S3", uri)
		}
		i := strings.LastIndexByte(filepath.ToSlash(file), '/')
		return p.open(file[:i]), file[i+1:], nil
	}
}

// outOfReach is a store that cannot be asked.
type outOfReach struct{ err error }

func (s outOfReach) Open(context.Context, string, objstore.Range) (io.ReadCloser, objstore.Object, error) {
	return nil, objstore.Object{}, s.err
}

func (s outOfReach) Put(context.Context, string, io.ReadSeeker, objstore.Cond) (objstore.Object, error) {
	return objstore.Object{}, s.err
}

func (s outOfReach) List(context.Context, string, string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) { yield(objstore.Object{}, s.err) }
}

func (s outOfReach) Delete(context.Context, string, objstore.Cond) error { return s.err }
