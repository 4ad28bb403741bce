package evolve

import (
	"maps"
	"slices"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// Widen adds to a decision the columns that take a wider type, in the mode
// [AddNewColumnsWithTypeWidening]: demands are what was seen of the numbers that did not fit, by the
// path of the column. A demand that no wider type of the column meets is left alone.
//
// Source: Auto Loader, "Automatic type widening".
func (d *Decision) Widen(demands map[string]*decode.Observed, opts Options) error {
	if opts.Mode != AddNewColumnsWithTypeWidening || opts.TypesFixed {
		return nil
	}
	for _, at := range slices.Sorted(maps.Keys(demands)) {
		path, err := schema.ParsePath(at)
		if err != nil {
			return err
		}
		o := demands[at]
		d.Schema = retype(d.Schema, path, func(t schema.Type) schema.Type {
			wide := schema.Unify(t, o.Type())
			if !widens(t, wide) {
				return t
			}
			f := Field{Path: path, Type: wide, DDL: wide.String(), From: t.String(), Values: o.Values()}
			if o.First != nil {
				f.First = *o.First
			}
			d.Widened = append(d.Widened, f)
			return wide
		}).(*schema.Struct)
	}
	return nil
}

// retype returns t with the type at an existing path replaced by what f makes of it.
func retype(t schema.Type, path []string, f func(schema.Type) schema.Type) schema.Type {
	if len(path) == 0 {
		return f(t)
	}
	switch t := t.(type) {
	case *schema.Struct:
		i := t.Index(path[0])
		if i < 0 {
			return t
		}
		out := &schema.Struct{Fields: slices.Clone(t.Fields)}
		out.Fields[i].Type = retype(t.Fields[i].Type, path[1:], f)
		return out
	case *schema.Array:
		return &schema.Array{Element: retype(t.Element, path[1:], f), ContainsNull: t.ContainsNull}
	case *schema.Map:
		out := *t
		if path[0] == "key" {
			out.Key = retype(t.Key, path[1:], f)
		} else {
			out.Value = retype(t.Value, path[1:], f)
		}
		return &out
	}
	return t
}

// widens reports whether a column of one type may become one of the other: integers wider integers,
// decimals, and all but BIGINT doubles; FLOAT a DOUBLE; a decimal one with more digits.
func widens(from, to schema.Type) bool {
	if from == to {
		return false
	}
	switch from := from.(type) {
	case schema.Decimal:
		to, ok := to.(schema.Decimal)
		return ok && to.Scale >= from.Scale && to.Precision-to.Scale >= from.Precision-from.Scale
	case schema.Primitive:
		switch from {
		case schema.Float:
			return to == schema.Double
		case schema.Byte, schema.Short, schema.Integer, schema.Long:
			return schema.Unify(from, to) == to && (to != schema.Double || from != schema.Long)
		}
	}
	return false
}

// keepWider returns the type that a hint or the table gives, but for the parts in which the column has
// become wider since.
func keepWider(given, column schema.Type) schema.Type {
	return schema.Replace(given, column, func(g, c schema.Type) (schema.Type, bool) {
		return c, schema.IsScalar(g) && c != nil && widens(g, c)
	})
}
