// Package catalog says where tables with names are. A [Name] has three parts, as in Unity Catalog. A
// [Local] catalog keeps tables in folders and needs no server.
package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
type Local struct{ Lake string }

// Place returns where a table is, or would be.
func (l Local) Place(n Name) Place {
	at := func(n Name) string { return filepath.Join(l.Lake, n.Catalog, n.Schema, n.Table) }
	return Place{Table: n.String(), Path: at(n), Quarantine: at(n.Quarantine()),
		State: filepath.Join(l.Lake, stateFolder, n.Catalog+"."+n.Schema+"."+n.Table)}
}

// AtPath returns the places of a table that has no name.
func AtPath(path string) Place {
	path = filepath.Clean(path)
	return Place{Table: path, Path: path, Quarantine: path + QuarantineSuffix, State: filepath.Join(path, stateFolder)}
}

// Tables returns the names of the tables of one catalog, sorted.
func (l Local) Tables(catalog string) ([]Name, error) {
	var names []Name
	schemas, err := folders(filepath.Join(l.Lake, catalog))
	if err != nil {
		return nil, err
	}
	for _, s := range schemas {
		tables, err := folders(filepath.Join(l.Lake, catalog, s))
		if err != nil {
			return nil, err
		}
		for _, t := range tables {
			if _, err := os.Stat(filepath.Join(l.Lake, catalog, s, t, "_delta_log")); err == nil {
				names = append(names, Name{catalog, s, t})
			}
		}
	}
	slices.SortFunc(names, func(a, b Name) int { return strings.Compare(a.String(), b.String()) })
	return names, nil
}

// Catalogs returns the names of the catalogs in the lake.
func (l Local) Catalogs() ([]string, error) { return folders(l.Lake) }

// folders lists the folders in a folder, which may be absent.
func folders(path string) ([]string, error) {
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
