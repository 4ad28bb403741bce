//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

// A transform names other tables as views. Before it first runs, the columns that it needs are read into a
// table of DuckDB, which spills like all of them, and the view is laid over that: a table is read once for
// an engine and not for each batch.

// ref is a table that SQL may read beside source.
type ref struct {
	Ref
	name    string   // of the view, as the user wrote it
	feed    *feed    // of its columns, without rows
	table   string   // what was read; empty: nothing yet
	columns []string // that are in table
}

func (e *Engine) addRefs(ctx context.Context, refs map[string]Ref) error {
	for name, r := range refs {
		f, err := e.addFeed(ctx, e.c, ident(name), r.Schema.Arrow())
		if err != nil {
			return fmt.Errorf("ref %s: %w", schema.Quote(name), err)
		}
		e.refs = append(e.refs, &ref{Ref: r, name: name, feed: f})
	}
	return nil
}

// refOf is the ref that a statement names at a place, or nil.
func (e *Engine) refOf(t node) *ref {
	if str(t, "schema_name") != "" || str(t, "catalog_name") != "" {
		return nil
	}
	i := slices.IndexFunc(e.refs, func(r *ref) bool { return schema.Fold(r.name) == schema.Fold(str(t, "table_name")) })
	if i < 0 {
		return nil
	}
	return e.refs[i]
}

// need is what a statement reads of a ref.
type need struct {
	ref     *ref
	columns []string
}

// needs returns the columns that a statement may read of refs: those whose names stand in it anywhere, all of
// them where a * or the name of the table may mean them.
func (e *Engine) needs(tree node) (all []need) {
	seen := map[*ref][]string{} // the names by which it is known
	tables(sub(tree, "node"), nil, func(t node) {
		if r := e.refOf(t); r != nil {
			name := str(t, "alias")
			if name == "" {
				name = r.name
			}
			seen[r] = append(seen[r], schema.Fold(name))
		}
	})
	if len(seen) == 0 {
		return nil
	}
	words, every := map[string]bool{}, map[string]bool{}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case string:
			words[schema.Fold(v)] = true
		case []any:
			for _, w := range v {
				visit(w)
			}
		case node:
			switch {
			case str(v, "type") == "STAR":
				every[schema.Fold(str(v, "relation_name"))] = true
			case str(v, "ref_type") == "NATURAL":
				every[""] = true
			case str(v, "class") == "COLUMN_REF" && len(list(v, "column_names")) == 1:
				name, _ := list(v, "column_names")[0].(string)
				every[schema.Fold(name)] = true // the whole row, if it is the name of a table
			}
			for _, w := range v {
				visit(w)
			}
		}
	}
	visit(tree)
	for _, r := range e.refs {
		names, used := seen[r]
		if !used {
			continue
		}
		n := need{ref: r}
		whole := every[""] || slices.ContainsFunc(names, func(name string) bool { return every[name] })
		for _, f := range r.Schema.Fields {
			_, err := sqlType(f.Type)
			if whole || err != nil || words[schema.Fold(duckName(f.Name))] {
				n.columns = append(n.columns, f.Name)
			}
		}
		all = append(all, n)
	}
	return all
}

// keep reads what is needed of refs, unless an earlier transform has.
func (e *Engine) keep(ctx context.Context, needs []need) error {
	for _, n := range needs {
		r := n.ref
		if r.table != "" && !slices.ContainsFunc(n.columns, func(c string) bool { return !slices.Contains(r.columns, c) }) {
			continue
		}
		var columns []string // in the order of the table
		for _, f := range r.Schema.Fields {
			if slices.Contains(n.columns, f.Name) || slices.Contains(r.columns, f.Name) {
				columns = append(columns, f.Name)
			}
		}
		if err := e.read(ctx, r, columns); err != nil {
			return fmt.Errorf("ref %s: %w", schema.Quote(r.name), err)
		}
	}
	return nil
}

func (e *Engine) read(ctx context.Context, r *ref, columns []string) error {
	wanted := columns
	if len(wanted) == 0 { // only its rows count
		wanted = []string{r.Schema.Fields[0].Name}
	}
	in, err := r.Open(ctx, wanted)
	if err != nil {
		return err
	}
	defer in.Release()
	feed, table := e.name(), e.name()
	f, err := e.addFeed(ctx, e.c, feed, in.Schema())
	if err != nil {
		return err
	}
	defer f.close()
	f.loadReaders(func() (array.RecordReader, error) { in.Retain(); return in, nil })
	if err := e.c.exec(ctx, "CREATE TABLE "+table+" AS SELECT * FROM "+feed); err != nil {
		if f.err != nil {
			return f.err
		}
		return err
	}
	items := make([]string, len(r.Schema.Fields))
	for i, field := range r.Schema.Fields {
		name := ident(duckName(field.Name))
		if items[i] = name; !slices.Contains(wanted, field.Name) {
			sql, err := sqlType(field.Type)
			if err != nil {
				return err
			}
			items[i] = "CAST(NULL AS " + sql + ") AS " + name
		}
	}
	if err := e.c.exec(ctx, "CREATE OR REPLACE VIEW "+ident(r.name)+" AS SELECT "+strings.Join(items, ", ")+" FROM "+table); err != nil {
		return err
	}
	if r.table != "" {
		if err := e.c.exec(ctx, "DROP TABLE "+r.table); err != nil {
			return err
		}
	}
	r.table, r.columns = table, wanted
	return nil
}

// refNames are the names of refs, for a mistake.
func (e *Engine) refNames() []string {
	names := []string{Source}
	for _, r := range e.refs {
		names = append(names, r.name)
	}
	return names
}
