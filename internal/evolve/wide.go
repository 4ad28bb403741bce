package evolve

import (
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// Wide is an object, or the top level of the records, with more fields than a schema has room for, or
// one whose keys look like data.
type Wide struct {
	// Path is that of the object; it is empty for the top level.
	Path []string `json:"path,omitempty"`
	// Keys is the number of different keys: of those that have no column when Rescued is set, else of
	// all. It is the least they are when keys were not told apart.
	Keys int `json:"keys"`
	// Rescued means that fields have no column because there are too many of them, so that their values
	// go to the rescued data.
	Rescued bool `json:"rescued,omitempty"`
	// Deep means that they have none because they are nested too deep.
	Deep bool `json:"deep,omitempty"`
	// Hint is the schema hint that makes the object a map, empty where that is no way out.
	Hint string `json:"hint,omitempty"`
	// First is where the first value without a column is, or the first value of the object.
	First decode.Position `json:"first"`
}

func (w Wide) String() string { return schema.Path(w.Path...) }

const (
	// wideFrom is the number of different keys of one shape from which an object looks like a map;
	// idsFrom is that for keys that look like ids.
	wideFrom = 50
	idsFrom  = 6
	// narrowShare is the share of its keys that an object of a fixed shape has at least, on average.
	narrowShare = 0.2
	idsShare    = 0.5
)

// KeyedByData returns the objects, at path or inside, whose keys look like data: more of them than are
// told apart, or many, of one type, and few of them in each object.
func KeyedByData(path []string, o *decode.Observed) []Wide { return keyedByData(nil, path, o) }

func keyedByData(out []Wide, path []string, o *decode.Observed) []Wide {
	if o == nil {
		return out
	}
	step := func(name string) []string { return append(path[:len(path):len(path)], name) }
	out = keyedByData(out, step("element"), o.Element)
	if len(path) > 0 && o.Wide {
		w := Wide{Path: path, Keys: decode.MaxKeys, Rescued: true, Hint: mapHint(path, o.Each.Type())}
		return append(out, first(w, o.Each))
	}
	if len(path) > 0 && o.Untold > 0 {
		out = append(out, Wide{Path: path, Keys: 1, Rescued: true, First: *o.FirstUntold})
	}
	if n := len(o.Fields); len(path) > 0 && o.Objects > 0 && n >= idsFrom {
		var t schema.Type = schema.Void
		values := int64(0)
		for _, f := range o.Fields {
			t = schema.Unify(t, f.Type())
			values += f.Values()
		}
		share := float64(values) / float64(o.Objects) / float64(n)
		ids := t != schema.String && t != schema.Void && share < idsShare && likeIDs(o.Struct().Names())
		if ids || n >= wideFrom && t != schema.String && share < narrowShare {
			return append(out, first(Wide{Path: path, Keys: n, Hint: mapHint(path, t)}, o))
		}
	}
	for _, f := range o.Fields {
		out = keyedByData(out, step(f.Name), f.Observed)
	}
	return out
}

func first(w Wide, o *decode.Observed) Wide {
	if o != nil && o.First != nil {
		w.First = *o.First
	}
	return w
}

// likeIDs reports whether nearly all names have a digit.
func likeIDs(names []string) bool {
	n := 0
	for _, name := range names {
		if strings.ContainsAny(name, "0123456789") {
			n++
		}
	}
	return n*10 >= len(names)*9
}

// mapHint is the hint that makes a map with values of type t of the object at path.
func mapHint(path []string, t schema.Type) string {
	if t = typed(t); t == nil {
		t = schema.String
	}
	value := t.String()
	if schema.IsScalar(t) {
		value = strings.ToLower(value)
	}
	return schema.Path(path...) + " map<string, " + value + ">"
}

// typed returns t without the fields that have no type yet, or nil when nothing is left.
func typed(t schema.Type) schema.Type {
	switch t := t.(type) {
	case *schema.Struct:
		out := &schema.Struct{}
		for _, f := range t.Fields {
			if f.Type = typed(f.Type); f.Type != nil {
				out.Fields = append(out.Fields, f)
			}
		}
		if len(out.Fields) > 0 {
			return out
		}
		return nil
	case *schema.Array:
		if e := typed(t.Element); e != nil {
			return &schema.Array{Element: e, ContainsNull: true}
		}
		return nil
	}
	if t == schema.Void {
		return nil
	}
	return t
}

// noteWide keeps what of the objects seen at path is worth telling, once the schema is what it becomes:
// a hint may have made a map of one.
func (d *Decision) noteWide(path []string, o *decode.Observed) {
	for _, w := range KeyedByData(path, o) {
		if t := schema.At(d.Schema, w.Path); t == nil || isStruct(t) {
			d.Wide = append(d.Wide, w)
		}
	}
	if s, ok := schema.At(d.Schema, path).(*schema.Struct); ok && len(path) > 0 && looksKeyed(s) &&
		!slices.ContainsFunc(d.Wide, func(w Wide) bool { return slices.Equal(w.Path, path) }) {
		d.Wide = append(d.Wide, first(Wide{Path: path, Keys: len(s.Fields), Hint: mapHint(path, valueType(s))}, o))
	}
}

// looksKeyed reports whether the fields of a struct that has grown are many, of one type, and named by
// ids.
func looksKeyed(s *schema.Struct) bool {
	if len(s.Fields) < wideFrom || !likeIDs(s.Names()) {
		return false
	}
	return valueType(s) != schema.String
}

// valueType is the type that all fields fit.
func valueType(s *schema.Struct) schema.Type {
	var t schema.Type = schema.Void
	for _, f := range s.Fields {
		t = schema.Unify(t, f.Type)
	}
	return t
}

func isStruct(t schema.Type) bool {
	_, is := t.(*schema.Struct)
	return is
}
