package evolve

import (
	"slices"

	"github.com/siltlake/silt/schema"
)

// Overlay lays the hints over a schema, and the types and spellings of the table over both.
func (o Options) Overlay(s *schema.Struct) *schema.Struct {
	for _, h := range o.Hints {
		s = edit(s, h.Path, func(t schema.Type) schema.Type { return o.given(grown(h.Type, t), t) }).(*schema.Struct)
		if h.Comment != "" && len(h.Path) == 1 {
			i := s.Index(h.Path[0])
			if f, err := s.Fields[i].WithMetadata("comment", h.Comment); err == nil {
				s.Fields[i] = f
			}
		}
	}
	if o.Table != nil {
		s = o.given(adopt(s, o.Table), s).(*schema.Struct)
	}
	return s
}

// given is the type that a column takes from a hint or the table.
func (o Options) given(t, column schema.Type) schema.Type {
	if o.Mode != AddNewColumnsWithTypeWidening || o.TypesFixed {
		return t
	}
	return keepWider(t, column)
}

// grown returns the type of a hint with the fields that the objects in its maps have got since: a map comes
// from a hint alone, and what its objects bring would else never become columns.
func grown(hint, column schema.Type) schema.Type {
	return schema.Replace(hint, column, func(h, c schema.Type) (schema.Type, bool) {
		hm, ok := h.(*schema.Map)
		if cm, both := c.(*schema.Map); ok && both {
			return &schema.Map{Key: hm.Key, Value: withFieldsOf(cm.Value, hm.Value), ValueContainsNull: true}, true
		}
		return nil, false
	})
}

// withFieldsOf returns the type of a hint with the fields that the column has beside its own, at any depth.
func withFieldsOf(column, hint schema.Type) schema.Type {
	switch h := hint.(type) {
	case *schema.Struct:
		c, ok := column.(*schema.Struct)
		if !ok {
			return hint
		}
		out := &schema.Struct{Fields: slices.Clone(h.Fields)}
		for _, f := range c.Fields {
			if i := out.IndexFold(f.Name); i >= 0 {
				out.Fields[i].Type = withFieldsOf(f.Type, out.Fields[i].Type)
			} else {
				out.Fields = append(out.Fields, f)
			}
		}
		return out
	case *schema.Array:
		if c, ok := column.(*schema.Array); ok {
			return &schema.Array{Element: withFieldsOf(c.Element, h.Element), ContainsNull: true}
		}
	}
	return grown(hint, column)
}

// edit returns t with the type at path replaced by what f makes of it. What is missing on the way is
// made: a list for a step "element", else a struct; f is then given nil. A field takes the spelling of
// the path. Source: Auto Loader, "Override schema inference with schema hints".
func edit(t schema.Type, path []string, f func(schema.Type) schema.Type) schema.Type {
	if len(path) == 0 {
		return f(t)
	}
	step, rest := path[0], path[1:]
	switch t := t.(type) {
	case *schema.Struct:
		out := &schema.Struct{Fields: slices.Clone(t.Fields)}
		i := out.IndexFold(step)
		if i < 0 {
			i = len(out.Fields)
			out.Fields = append(out.Fields, schema.Nullable(step, nil))
		}
		out.Fields[i].Name = step
		out.Fields[i].Type = edit(out.Fields[i].Type, rest, f)
		return out
	case *schema.Array:
		if step == "element" {
			return &schema.Array{Element: edit(t.Element, rest, f), ContainsNull: true}
		}
	case *schema.Map:
		switch step {
		case "key":
			return &schema.Map{Key: edit(t.Key, rest, f), Value: t.Value, ValueContainsNull: true}
		case "value":
			return &schema.Map{Key: t.Key, Value: edit(t.Value, rest, f), ValueContainsNull: true}
		}
	}
	if step == "element" {
		return &schema.Array{Element: edit(nil, rest, f), ContainsNull: true}
	}
	return edit(&schema.Struct{}, path, f)
}

// adopt returns s with the types and spellings that the table has for the same fields. Where one of
// them has parts and the other does not, the table's type stands whole.
func adopt(s, table schema.Type) schema.Type {
	switch t := table.(type) {
	case *schema.Struct:
		s, ok := s.(*schema.Struct)
		if !ok {
			return nullable(t)
		}
		out := &schema.Struct{Fields: slices.Clone(s.Fields)}
		for i, f := range out.Fields {
			if k := t.IndexFold(f.Name); k >= 0 {
				out.Fields[i].Name = t.Fields[k].Name
				out.Fields[i].Type = adopt(f.Type, t.Fields[k].Type)
			}
		}
		return out
	case *schema.Array:
		if s, ok := s.(*schema.Array); ok {
			return &schema.Array{Element: adopt(s.Element, t.Element), ContainsNull: true}
		}
	case *schema.Map:
		if s, ok := s.(*schema.Map); ok {
			return &schema.Map{Key: adopt(s.Key, t.Key), Value: adopt(s.Value, t.Value), ValueContainsNull: true}
		}
	}
	return nullable(table)
}

// nullable returns t as a reader has it: everything may be null, and metadata is the table's affair.
func nullable(t schema.Type) schema.Type {
	switch t := t.(type) {
	case *schema.Struct:
		out := &schema.Struct{}
		for _, f := range t.Fields {
			out.Fields = append(out.Fields, schema.Nullable(f.Name, nullable(f.Type)))
		}
		return out
	case *schema.Array:
		return &schema.Array{Element: nullable(t.Element), ContainsNull: true}
	case *schema.Map:
		return &schema.Map{Key: nullable(t.Key), Value: nullable(t.Value), ValueContainsNull: true}
	}
	return t
}
