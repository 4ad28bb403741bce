//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/siltlake/silt/schema"
)

// What DuckDB says of a column or field that is not there.
var (
	noColumnText = regexp.MustCompile(`^Referenced column "(.+)" not found in FROM clause` +
		`|^Referenced column (.+) not found in FROM clause and can't find in alias map` +
		`|^(?:Values list|Table) ".+" does not have a column named "(.+)"` +
		`|^Column "(?:"[^"]+"\.)?(.+)" (?:referenced that exists in the SELECT clause|in (?:EXCLUDE|REPLACE) list not found|was selected but was not found|does not exist on (?:left|right) side of join)`)
	noFieldText = regexp.MustCompile(`^Could not find key "(.+)" in struct`)
	noTableText = regexp.MustCompile(`^Referenced table "(.+)" not found`)
	quotedText  = regexp.MustCompile(`"([^"]+)"`)
)

// missing fills in what there is to say about a column or field that the SQL names and the source lacks.
func missing(err error, tree node, source *schema.Struct) error {
	var e *SQLError
	if !errors.As(err, &e) {
		return err
	}
	var candidates []string
	for _, m := range quotedText.FindAllStringSubmatch(e.Hint, -1) {
		candidates = append(candidates, siltName(m[1]))
	}
	switch {
	case noColumnText.MatchString(e.Message):
		name := siltName(strings.Join(noColumnText.FindStringSubmatch(e.Message)[1:], ""))
		e.Name, e.Missing, e.Known = name, schema.Path(name), merge(candidates, source.Names())
		e.Message = "there is no column " + schema.Quote(name)
		if ref := mentioned(tree, name); ref != nil && e.Line == 0 {
			e.place(location(ref))
		}
	case noFieldText.MatchString(e.Message):
		name := siltName(noFieldText.FindStringSubmatch(e.Message)[1])
		e.field(name, candidates, tree, source)
	case noTableText.MatchString(e.Message):
		// Of a.b with neither a table nor a column a.
		name := siltName(noTableText.FindStringSubmatch(e.Message)[1])
		if ref := mentioned(tree, name); ref != nil && e.Line > 0 {
			e.Name, e.Missing, e.Known = name, schema.Path(namesOf(ref)...), source.Names()
			e.Message = "there is no column or table " + schema.Quote(name)
		}
	}
	return err
}

func merge(a, b []string) []string {
	for _, name := range b {
		if !slices.Contains(a, name) {
			a = append(a, name)
		}
	}
	return a
}

// field is missing for a field of a struct, of which DuckDB tells no place.
func (e *SQLError) field(name string, siblings []string, tree node, source *schema.Struct) {
	e.Name, e.Known = name, siblings
	e.Message = "there is no field " + schema.Quote(name)
	ref := mentioned(tree, name)
	if ref == nil {
		return
	}
	if e.Line == 0 {
		e.place(location(ref))
	}
	path := namesOf(ref)
	if len(path) > 1 && source.IndexFold(path[0]) < 0 {
		path = path[1:] // the table's name
	}
	if i := slices.IndexFunc(path, func(p string) bool { return schema.Fold(p) == schema.Fold(name) }); i > 0 {
		path = path[:i]
		if st, ok := schema.At(source, path).(*schema.Struct); ok {
			e.Known = st.Names()
			e.Missing = schema.Path(append(slices.Clip(path), name)...)
			e.Message += " in " + schema.Path(path...)
			return
		}
	}
	// Otherwise it is in a struct of the source that has the fields that DuckDB suggests.
	var homes [][]string
	schema.Walk(source, func(path []string, _ schema.Type) {
		for n := 1; n < len(path); n++ {
			home := slices.Clone(path[:n])
			st, ok := schema.At(source, home).(*schema.Struct)
			has := func(s string) bool { return ok && st.IndexFold(s) >= 0 }
			if ok && !slices.ContainsFunc(siblings, func(s string) bool { return !has(s) }) &&
				!slices.ContainsFunc(homes, func(h []string) bool { return slices.Equal(h, home) }) {
				homes = append(homes, home)
			}
		}
	})
	if len(siblings) > 0 && len(homes) == 1 {
		e.Missing = schema.Path(append(homes[0], name)...)
		e.Message += " in " + schema.Path(homes[0]...)
	}
}

// mentioned is the first place of a statement that names a column or field.
func mentioned(tree node, name string) (found node) {
	each(tree, func(n node) bool {
		if found != nil {
			return false
		}
		is := func(v any) bool { s, _ := v.(string); return schema.Fold(siltName(s)) == schema.Fold(name) }
		switch {
		case str(n, "class") == "COLUMN_REF" && slices.ContainsFunc(list(n, "column_names"), is):
			found = n
		case str(n, "class") == "CONSTANT" && is(sub(n, "value")["value"]):
			found = n
		}
		return found == nil
	})
	return found
}

// namesOf are the parts of a column as the statement names it, or the text of a constant.
func namesOf(ref node) (names []string) {
	for _, v := range list(ref, "column_names") {
		if s, ok := v.(string); ok {
			names = append(names, siltName(s))
		}
	}
	if names == nil {
		s, _ := sub(ref, "value")["value"].(string)
		names = []string{strings.TrimSpace(s)}
	}
	return names
}
