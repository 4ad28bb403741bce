package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/siltlake/silt/schema"
)

// alteration is what a commit makes of a table's metadata and protocol.
type alteration struct {
	metadata   *Metadata
	protocol   *Protocol
	schema     *schema.Struct
	parameters map[string]json.RawMessage // that the history shows, under Spark's names
	adds       []*Add                     // files of the table that are described anew
}

// alteration returns one that changes nothing yet.
func (s *Snapshot) alteration() alteration {
	m := *s.metadata
	m.Configuration = maps.Clone(notNil(m.Configuration))
	m.PartitionColumns = slices.Clone(m.PartitionColumns)
	return alteration{metadata: &m, protocol: s.protocol, schema: s.schema}
}

// setSchema gives the table another schema: ids and physical names to new columns of a table whose
// columns are mapped, and the features that types need.
func (a *alteration) setSchema(sc *schema.Struct) error {
	if columnMapping(a.protocol, a.metadata) != "" {
		var err error
		if sc, a.metadata.Configuration, err = mapColumns(sc, a.metadata.Configuration); err != nil {
			return err
		}
	}
	text, err := json.Marshal(sc)
	if err != nil {
		return err
	}
	a.schema, a.metadata.SchemaString = sc, string(text)
	a.protocol = a.protocol.withFeatures(typeFeatures(sc))
	return nil
}

// alter commits a change of what the table is. It is made anew when others have committed meanwhile:
// nothing of it depends on the rows.
func (s *Snapshot) alter(ctx context.Context, operation string, change func(base *Snapshot) (alteration, error)) (*Snapshot, error) {
	for try := 1; ; try++ {
		a, err := change(s)
		if err == nil {
			err = s.protocol.checkMaintain()
		}
		if err != nil {
			return nil, err
		}
		t := s.beginSpecial(operation, special{isolation: serializable, alone: true, parameters: a.parameters})
		t.plan = plan{schema: a.schema, metadata: a.metadata, protocol: a.protocol,
			metadataChanged: !sameMetadata(a.metadata, s.metadata), protoChange: a.protocol != s.protocol}
		if !t.plan.metadataChanged && !t.plan.protoChange && len(a.adds) == 0 {
			return s, nil
		}
		t.Add(a.adds...)
		next, err := t.Commit(ctx, nil)
		var conflict *ConflictError
		if err == nil || !errors.As(err, &conflict) || try == maxTries {
			return next, err
		}
		if s, err = s.Update(ctx); err != nil {
			return nil, err
		}
	}
}

// A ColumnError says why a column cannot be added or changed.
type ColumnError struct {
	Path   []string
	Reason string
}

func (e *ColumnError) Error() string {
	return fmt.Sprintf("column %s: %s", schema.Path(e.Path...), e.Reason)
}

// NewColumn is a column to add. Rows that are there already have null in it.
type NewColumn struct {
	// Path leads to the column: its name, behind those of the structs that it is in. The parts of arrays
	// and maps are element, key and value.
	Path    []string
	Type    schema.Type
	Comment string
	// After is the column of the same struct behind which it comes; empty is at the end.
	After string
	// First puts it before all others.
	First bool
}

// AddColumns adds columns in one commit.
func (s *Snapshot) AddColumns(ctx context.Context, columns ...NewColumn) (*Snapshot, error) {
	return s.alter(ctx, "ADD COLUMNS", func(base *Snapshot) (alteration, error) {
		a := base.alteration()
		sc := base.schema
		var log []any
		for _, c := range columns {
			if len(c.Path) == 0 || c.Path[len(c.Path)-1] == "" || c.Type == nil {
				return a, &ColumnError{c.Path, "it has a name and a type"}
			}
			f := schema.Nullable(c.Path[len(c.Path)-1], c.Type)
			if c.Comment != "" {
				var err error
				if f, err = f.WithMetadata("comment", c.Comment); err != nil {
					return a, err
				}
			}
			var err error
			if sc, err = editStruct(sc, c.Path, func(st *schema.Struct) (*schema.Struct, error) {
				if st.IndexFold(f.Name) >= 0 {
					return nil, &ColumnError{c.Path, "it is there already"}
				}
				return placed(st, f, c.Path, place{c.First, c.After})
			}); err != nil {
				return a, err
			}
			if err := checkNames(c.Path[:len(c.Path)-1], schema.NewStruct(f)); err != nil {
				return a, err
			}
			entry := map[string]any{"column": fieldLog(c.Path, f)}
			if p := (place{c.First, c.After}).String(); p != "" {
				entry["position"] = p
			}
			log = append(log, entry)
		}
		if path := NeedsMapping(sc); path != "" && base.columnMapping() == "" && NeedsMapping(base.schema) == "" {
			return a, &NameError{path}
		}
		text, err := json.Marshal(log)
		if err != nil {
			return a, err
		}
		a.parameters = map[string]json.RawMessage{"columns": quoteJSON(string(text))}
		return a, a.setSchema(sc)
	})
}

// RenameColumn gives a column another name, in one commit. The data files stay as they are, so the
// table's columns must be mapped: see [Snapshot.SetProperties].
func (s *Snapshot) RenameColumn(ctx context.Context, path []string, name string) (*Snapshot, error) {
	return s.alter(ctx, "RENAME COLUMN", func(base *Snapshot) (alteration, error) {
		a := base.alteration()
		path, _, err := base.column(path)
		if err == nil {
			err = base.changeable(path, "renamed")
		}
		if err != nil {
			return a, err
		}
		to := append(slices.Clone(path[:len(path)-1]), name)
		sc, err := editStruct(base.schema, path, func(st *schema.Struct) (*schema.Struct, error) {
			i := st.Index(path[len(path)-1])
			if j := st.IndexFold(name); name == "" || j >= 0 && j != i {
				return nil, &ColumnError{to, "there is such a column already"}
			}
			out := schema.NewStruct(slices.Clone(st.Fields)...)
			out.Fields[i].Name = name
			return out, nil
		})
		if err != nil {
			return a, err
		}
		if len(path) == 1 {
			for i, c := range a.metadata.PartitionColumns {
				if schema.Fold(c) == schema.Fold(path[0]) {
					a.metadata.PartitionColumns[i] = name
				}
			}
		}
		a.editStatsColumns(path, to)
		a.parameters = map[string]json.RawMessage{"oldColumnPath": quoteJSON(logPath(path)), "newColumnPath": quoteJSON(logPath(to))}
		return a, a.setSchema(sc)
	})
}

// DropColumns takes columns away in one commit. The data files stay as they are, so the table's columns
// must be mapped: see [Snapshot.SetProperties]. A column of the same name that is added later is another.
func (s *Snapshot) DropColumns(ctx context.Context, paths ...[]string) (*Snapshot, error) {
	return s.alter(ctx, "DROP COLUMNS", func(base *Snapshot) (alteration, error) {
		a := base.alteration()
		sc := base.schema
		names := []string{}
		for _, path := range paths {
			path, _, err := base.column(path)
			if err == nil {
				err = base.changeable(path, "dropped")
			}
			if err == nil {
				err = base.droppable(path)
			}
			if err != nil {
				return a, err
			}
			if sc, err = editStruct(sc, path, func(st *schema.Struct) (*schema.Struct, error) {
				i := st.Index(path[len(path)-1])
				switch {
				case i < 0:
					return nil, &ColumnError{path, "it is named twice"}
				case len(st.Fields) == 1:
					return nil, &ColumnError{path, "it is the only one left, and there is no struct without any"}
				}
				return schema.NewStruct(slices.Delete(slices.Clone(st.Fields), i, i+1)...), nil
			}); err != nil {
				return a, err
			}
			a.editStatsColumns(path, nil)
			names = append(names, logPath(path))
		}
		text, err := json.Marshal(names)
		if err != nil {
			return a, err
		}
		a.parameters = map[string]json.RawMessage{"columns": quoteJSON(string(text))}
		if len(dataColumns(sc, a.metadata)) == 0 {
			return a, &ColumnError{paths[0], "no column but those of the partitions would be left"}
		}
		return a, a.setSchema(sc)
	})
}

// ColumnChange is what is to become of a column; what is nil or zero stays.
type ColumnChange struct {
	Comment *string
	// Nullable lets a column have null. The other way round is not possible.
	Nullable *bool
	// Type is a wider one. The table needs the property delta.enableTypeWidening.
	Type schema.Type
	// First and After move the column within its struct.
	First bool
	After string
}

// ChangeColumn changes a column in one commit. Its path may lead to the element of an array, or to the key
// or the value of a map, whose type may become wider.
func (s *Snapshot) ChangeColumn(ctx context.Context, path []string, c ColumnChange) (*Snapshot, error) {
	return s.alter(ctx, "CHANGE COLUMN", func(base *Snapshot) (alteration, error) {
		a := base.alteration()
		path, f, err := base.column(path)
		if err != nil {
			return a, err
		}
		part := f.Name == "" // of an array or a map, not a field
		if part && (c.Comment != nil || c.Nullable != nil || c.First || c.After != "") {
			return a, &ColumnError{path, "only the type of a part of an array or a map can be changed"}
		}
		sc := base.schema
		if c.Type != nil && !schema.Equal(c.Type, f.Type) {
			if err := base.widenable(path, f.Type, c.Type); err != nil {
				return a, err
			}
			if sc, err = widenAt(sc, path, c.Type); err != nil {
				return a, err
			}
			f.Type = c.Type
		}
		if !part {
			sc, err = editStruct(sc, path, func(st *schema.Struct) (*schema.Struct, error) {
				i := st.Index(path[len(path)-1])
				f := st.Fields[i]
				if c.Comment != nil {
					if f, err = f.WithMetadata("comment", *c.Comment); err != nil {
						return nil, err
					}
				}
				if c.Nullable != nil && *c.Nullable != f.Nullable {
					if !*c.Nullable {
						return nil, &ColumnError{path, "it may have null, and rows with null may be there"}
					}
					f.Nullable = true
				}
				out := schema.NewStruct(slices.Clone(st.Fields)...)
				out.Fields[i] = f
				if !c.First && c.After == "" {
					return out, nil
				}
				out.Fields = slices.Delete(out.Fields, i, i+1)
				return placed(out, f, path, place{c.First, c.After})
			})
			if err != nil {
				return a, err
			}
			if _, f, err = (&Snapshot{schema: sc}).column(path); err != nil {
				return a, err
			}
		}
		text, err := json.Marshal(fieldLog(path, f))
		if err != nil {
			return a, err
		}
		a.parameters = map[string]json.RawMessage{"column": quoteJSON(string(text))}
		if p := (place{c.First, c.After}).String(); p != "" {
			a.parameters["position"] = quoteJSON(p)
		}
		return a, a.setSchema(sc)
	})
}

// column finds a column, whatever the case of the names, and returns its path as the schema has it. Of a
// part of an array or a map the field has no name.
func (s *Snapshot) column(path []string) (found []string, f schema.Field, err error) {
	var t schema.Type = s.schema
	for _, name := range path {
		missing := &ColumnError{path, "the table does not have it"}
		switch at := t.(type) {
		case *schema.Struct:
			i := at.IndexFold(name)
			if i < 0 {
				return nil, f, missing
			}
			f = at.Fields[i]
			name = f.Name
		case *schema.Array:
			if f = (schema.Field{Type: at.Element, Nullable: at.ContainsNull}); schema.Fold(name) != "element" {
				return nil, f, missing
			}
			name = "element"
		case *schema.Map:
			switch schema.Fold(name) {
			case "key":
				f, name = schema.Field{Type: at.Key}, "key"
			case "value":
				f, name = schema.Field{Type: at.Value, Nullable: at.ValueContainsNull}, "value"
			default:
				return nil, f, missing
			}
		default:
			return nil, f, missing
		}
		found, t = append(found, name), f.Type
	}
	if len(found) == 0 {
		return nil, f, &ColumnError{path, "it has a name"}
	}
	return found, f, nil
}

// changeable fails when the column cannot be renamed or dropped.
func (s *Snapshot) changeable(path []string, verb string) error {
	if _, f, err := s.column(path); err != nil {
		return err
	} else if f.Name == "" {
		return &ColumnError{path, "a part of an array or a map cannot be " + verb}
	}
	if s.columnMapping() == "" {
		return &ColumnError{path, "it can be " + verb + " only where columns are mapped; " + propMappingMode + "=" + mappingName + " maps those of this table"}
	}
	return s.independent(path, verb)
}

// independent fails when SQL of the table speaks of the column: a constraint, or the expression of a
// generated column.
func (s *Snapshot) independent(path []string, verb string) error {
	speaks := func(sql string) bool { return mentions(sql, path[0]) }
	for _, name := range slices.Sorted(maps.Keys(s.metadata.Configuration)) {
		if sql := s.metadata.Configuration[name]; strings.HasPrefix(name, "delta.constraints.") && speaks(sql) {
			return &ColumnError{path, fmt.Sprintf("it cannot be %s: the constraint %s (%s) speaks of it", verb, strings.TrimPrefix(name, "delta.constraints."), sql)}
		}
	}
	var err error
	walkFields(nil, s.schema, func(at []string, f schema.Field) {
		for _, key := range []string{"delta.generationExpression", "delta.invariants"} {
			sql, ok := f.MetadataString(key)
			if !ok && f.Metadata[key] != nil {
				sql = string(f.Metadata[key])
			}
			own := key == "delta.invariants" && len(at) >= len(path) && slices.Equal(at[:len(path)], path)
			if err == nil && sql != "" && (speaks(sql) || own) {
				err = &ColumnError{path, fmt.Sprintf("it cannot be %s: the expression of column %s (%s) speaks of it", verb, schema.Path(at...), sql)}
			}
		}
	})
	return err
}

// droppable fails when the files of the table are laid out by the column.
func (s *Snapshot) droppable(path []string) error {
	if len(path) == 1 && isPartitionColumn(s.metadata, path[0]) {
		return &ColumnError{path, "the table is partitioned by it"}
	}
	clustered, err := s.clusteringPaths()
	if err != nil {
		return err
	}
	for _, c := range clustered {
		if len(c) >= len(path) && samePath(c[:len(path)], path) {
			return &ColumnError{path, "the table is clustered by it"}
		}
	}
	return nil
}

// widenable fails when the type cannot become the other one with the data files as they are.
func (s *Snapshot) widenable(path []string, from, to schema.Type) error {
	_, f, err := s.column(path[:1])
	if err != nil {
		return err
	}
	switch {
	case !widens(from, to) && !widensNumber(from, to):
		return &ColumnError{path, fmt.Sprintf("%s cannot become %s", from, to)}
	case !s.metadata.isTrue(propTypeWidening) || !s.protocol.widening():
		return &ColumnError{path, fmt.Sprintf("%s becomes %s only in a table with %s=true", from, to, propTypeWidening)}
	case f.Metadata["delta.identity.start"] != nil:
		return &ColumnError{path, "it is an identity column"}
	case len(path) == 1 && isPartitionColumn(s.metadata, path[0]) && to == schema.TimestampNTZ:
		return &ColumnError{path, "the table is partitioned by it"}
	}
	return s.independent(path, "changed")
}

// widenAt gives the column at the path the type, and notes it at the nearest field.
func widenAt(sc *schema.Struct, path []string, to schema.Type) (*schema.Struct, error) {
	incoming, err := rewritePaths(nil, sc, func(_ []string, f schema.Field) schema.Field { return f })
	if err == nil {
		incoming, err = withType(incoming, path, to)
	}
	if err != nil {
		return nil, err
	}
	return widening(func(from, in schema.Type) bool { return widens(from, in) || widensNumber(from, in) }).fields(sc, incoming.(*schema.Struct))
}

// withType returns t with another type at a path that is there.
func withType(t schema.Type, path []string, to schema.Type) (schema.Type, error) {
	if len(path) == 0 {
		return to, nil
	}
	switch t := t.(type) {
	case *schema.Struct:
		out := schema.NewStruct(slices.Clone(t.Fields)...)
		i := out.Index(path[0])
		var err error
		out.Fields[i].Type, err = withType(out.Fields[i].Type, path[1:], to)
		return out, err
	case *schema.Array:
		e, err := withType(t.Element, path[1:], to)
		return &schema.Array{Element: e, ContainsNull: t.ContainsNull}, err
	case *schema.Map:
		out := *t
		var err error
		if path[0] == "key" {
			out.Key, err = withType(t.Key, path[1:], to)
		} else {
			out.Value, err = withType(t.Value, path[1:], to)
		}
		return &out, err
	}
	return nil, &ColumnError{path, "the table does not have it"}
}

// editStruct replaces the struct that the last name of the path is in.
func editStruct(sc *schema.Struct, path []string, edit func(*schema.Struct) (*schema.Struct, error)) (*schema.Struct, error) {
	if len(path) == 1 {
		return edit(sc)
	}
	parent, f, err := (&Snapshot{schema: sc}).column(path[:len(path)-1])
	if err != nil {
		return nil, err
	}
	st, ok := f.Type.(*schema.Struct)
	if !ok {
		return nil, &ColumnError{path, schema.Path(parent...) + " is no struct"}
	}
	out, err := edit(st)
	if err != nil {
		return nil, err
	}
	t, err := withType(sc, parent, out)
	if err != nil {
		return nil, err
	}
	return t.(*schema.Struct), nil
}

// place is where in its struct a column is to be; the zero place is at the end.
type place struct {
	first bool
	after string
}

// String is the place in SQL.
func (p place) String() string {
	switch {
	case p.first:
		return "FIRST"
	case p.after != "":
		return "AFTER " + schema.Quote(p.after)
	}
	return ""
}

func placed(st *schema.Struct, f schema.Field, path []string, p place) (*schema.Struct, error) {
	at := len(st.Fields)
	switch {
	case p.first:
		at = 0
	case p.after != "":
		if at = st.IndexFold(p.after) + 1; at == 0 {
			return nil, &ColumnError{path, "there is no column " + schema.Quote(p.after) + " for it to come after"}
		}
	}
	return schema.NewStruct(slices.Insert(slices.Clone(st.Fields), at, f)...), nil
}

// editStatsColumns keeps the property of the columns with statistics in step with a column that got
// another path, or that is gone: then it is nil.
func (a *alteration) editStatsColumns(path, to []string) {
	text, ok := a.metadata.Configuration[propStatsColumns]
	names, err := parseColumnList(text)
	if !ok || err != nil {
		return
	}
	var kept []string
	for _, n := range names {
		if len(n) >= len(path) && samePath(n[:len(path)], path) {
			if to == nil {
				continue
			}
			n = append(slices.Clone(to), n[len(path):]...)
		}
		kept = append(kept, schema.Path(n...))
	}
	if len(kept) == 0 {
		delete(a.metadata.Configuration, propStatsColumns)
		return
	}
	a.metadata.Configuration[propStatsColumns] = strings.Join(kept, ",")
}

// dataColumns returns the columns that are in the data files.
func dataColumns(sc *schema.Struct, m *Metadata) (out []schema.Field) {
	for _, f := range sc.Fields {
		if !isPartitionColumn(m, f.Name) {
			out = append(out, f)
		}
	}
	return out
}

// fieldLog is a column as the history shows it.
func fieldLog(path []string, f schema.Field) map[string]any {
	var name json.RawMessage
	switch f.Type.(type) {
	case *schema.Struct:
		name = json.RawMessage(`"struct"`)
	case *schema.Array:
		name = json.RawMessage(`"array"`)
	case *schema.Map:
		name = json.RawMessage(`"map"`)
	default:
		name = typeName(f.Type)
	}
	metadata := f.Metadata
	if metadata == nil {
		metadata = map[string]json.RawMessage{}
	}
	return map[string]any{"name": logPath(path), "type": name, "nullable": f.Nullable, "metadata": metadata}
}

// logPath is a path as Spark's history shows it.
func logPath(path []string) string {
	names := make([]string, len(path))
	for i, n := range path {
		if names[i] = n; strings.Contains(n, ".") {
			names[i] = "`" + n + "`"
		}
	}
	return strings.Join(names, ".")
}

// mentions reports whether SQL has the name as an identifier, in any case. What stands in quotes of texts
// does not count.
func mentions(sql, name string) bool {
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case c == '\'':
			i++
			for i < len(sql) && sql[i] != c {
				if sql[i] == '\\' {
					i++
				}
				i++
			}
			i++
		case c == '`' || c == '"': // the latter is a text to some
			end := strings.IndexByte(sql[i+1:], c)
			if end < 0 {
				return true // it cannot be told
			}
			if schema.Fold(sql[i+1:i+1+end]) == schema.Fold(name) {
				return true
			}
			i += end + 2
		case isWord(c):
			start := i
			for i < len(sql) && isWord(sql[i]) {
				i++
			}
			if schema.Fold(sql[start:i]) == schema.Fold(name) {
				return true
			}
		default:
			i++
		}
	}
	return false
}

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
