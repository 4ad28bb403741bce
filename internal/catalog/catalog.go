// Package catalog says where tables with names are. A [Name] has three parts, as in Unity Catalog. A
// [Local] catalog keeps tables in folders, of this machine or of a bucket, and needs no server.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Name is the name of a table.
type Name struct{ Catalog, Schema, Table string }

// stateFolder is the folder in a lake where silt keeps what it knows about the lake's tables, and the
// one in a table that has no catalog. Readers of Delta tables pass over names that start with "_".
const stateFolder = "_silt"

// ParseName reads a name; a part may stand in back-ticks.
func ParseName(text string) (Name, error) {
	parts, err := schema.ParsePath(text)
	if err != nil {
		return Name{}, fmt.Errorf("table name %q: %w", text, err)
	}
	if len(parts) != 3 {
		return Name{}, fmt.Errorf("table name %q has %d parts, want three: catalog.schema.table", text, len(parts))
	}
	for i, p := range parts {
		if !validPart(p) || i == 0 && p == stateFolder {
			return Name{}, fmt.Errorf("table name %q: %q cannot be the name of a folder", text, p)
		}
	}
	return Name{parts[0], parts[1], parts[2]}, nil
}

func validPart(p string) bool {
	return p != "" && p != "." && p != ".." && !strings.ContainsFunc(p, func(r rune) bool {
		return r < ' ' || r == '/' || r == '\\' || r == 0x7f
	})
}

func (n Name) String() string { return schema.Path(n.Catalog, n.Schema, n.Table) }

// Quarantine is the name of the table's quarantine table.
func (n Name) Quarantine() Name { return Name{n.Catalog, n.Schema, n.Table + QuarantineSuffix} }

// QuarantineSuffix follows the name of a table in that of its quarantine table.
const QuarantineSuffix = "_quarantine"

// Place is where a table and what silt knows about it are.
type Place struct {
	Table string // the name, or the path when it has none
	// Path, Quarantine and State are folders: of the table, of its quarantine table, and of the
	// checkpoints of the pipelines that load into it.
	Path, Quarantine, State string
}

// Local is a catalog whose tables are folders: a.b.c is the folder a/b/c in the lake.
type Local struct {
	Lake string // path or URI
	// Open returns the store of a lake that is no folder of this machine.
	Open func(location string) objstore.Store
}

// Join is the location of a folder inside another, which is a path or a URI.
func Join(location string, names ...string) string {
	if !isURI(location) {
		return filepath.Join(append([]string{location}, names...)...)
	}
	return strings.TrimRight(location, "/") + "/" + strings.Join(names, "/")
}

func isURI(location string) bool { return strings.Contains(location, "://") }

// Place returns where a table is, or would be.
func (l Local) Place(n Name) Place {
	at := func(n Name) string { return Join(l.Lake, n.Catalog, n.Schema, n.Table) }
	return Place{Table: n.String(), Path: at(n), Quarantine: at(n.Quarantine()),
		State: Join(l.Lake, stateFolder, n.Catalog+"."+n.Schema+"."+n.Table)}
}

// AtPath returns the places of a table that has no name.
func AtPath(location string) Place {
	if isURI(location) {
		location = strings.TrimRight(location, "/")
	} else {
		location = filepath.Clean(location)
	}
	return Place{Table: location, Path: location, Quarantine: location + QuarantineSuffix, State: Join(location, stateFolder)}
}

// Tables returns the names of the tables of one catalog, sorted.
func (l Local) Tables(catalog string) ([]Name, error) {
	var names []Name
	schemas, err := l.folders(catalog)
	if err != nil {
		return nil, err
	}
	for _, s := range schemas {
		tables, err := l.folders(catalog, s)
		if err != nil {
			return nil, err
		}
		for _, t := range tables {
			if l.isTable(catalog, s, t) {
				names = append(names, Name{catalog, s, t})
			}
		}
	}
	slices.SortFunc(names, func(a, b Name) int { return strings.Compare(a.String(), b.String()) })
	return names, nil
}

// Catalogs returns the names of the catalogs in the lake.
func (l Local) Catalogs() ([]string, error) { return l.folders() }

// lookFor bounds a look at a lake that is not on this machine: it is for lists that people are shown.
const lookFor = 15 * time.Second

func (l Local) isTable(names ...string) bool {
	if !isURI(l.Lake) {
		_, err := os.Stat(Join(l.Lake, append(names, "_delta_log")...))
		return err == nil
	}
	inner, err := l.folders(names...)
	return err == nil && slices.Contains(inner, "_delta_log")
}

// Folders returns the names of the folders of a store below a prefix, which is empty or ends in a slash.
func Folders(ctx context.Context, store objstore.Store, prefix string) ([]string, error) {
	var names []string
	for after := ""; ; {
		found := false
		for o, err := range store.List(ctx, prefix, after) {
			if err != nil {
				return nil, err
			}
			name, _, folder := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
			if after = o.Key; folder {
				names = append(names, name)
				after, found = prefix+name+"/\U0010FFFF", true // beyond all that is in it
				break
			}
		}
		if !found {
			return names, nil
		}
	}
}

// folders lists the folders in a folder of the lake, which may be absent.
func (l Local) folders(names ...string) ([]string, error) {
	if isURI(l.Lake) {
		ctx, cancel := context.WithTimeout(context.Background(), lookFor)
		defer cancel()
		all, err := Folders(ctx, l.Open(Join(l.Lake, names...)), "")
		return slices.DeleteFunc(all, func(name string) bool { return name == stateFolder }), err
	}
	return localFolders(Join(l.Lake, names...))
}

func localFolders(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != stateFolder {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
