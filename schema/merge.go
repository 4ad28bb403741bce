package schema

import (
	"errors"
	"fmt"
)

// ErrMerge is the cause of every error of [Merge].
var ErrMerge = errors.New("schemas cannot be merged")

// A MergeError names the field in which two schemas contradict each other.
type MergeError struct {
	Path     string
	Table    Type
	Incoming Type
}

func (e *MergeError) Error() string {
	return fmt.Sprintf("column %s is %s in the table and %s in the batch", e.Path, e.Table, e.Incoming)
}

func (e *MergeError) Unwrap() error { return ErrMerge }

// Merge returns the schema a table has after a batch of the incoming schema is appended with
// mergeSchema. Fields are matched by name without case; the table's spelling, order, types and
// nullability stay; a field the table lacks comes last in its struct and is nullable. Two scalar
// types that differ are left to the writer, which casts; a scalar against a container, or two
// containers of another kind, are a [*MergeError].
//
// Merge(Merge(t, a), a) equals Merge(t, a), and Merge never drops, renames, reorders or retypes what
// t has. Source: Delta, "Automatic schema evolution".
func Merge(table, incoming *Struct) (*Struct, error) { return mergeStructs(nil, table, incoming) }

func mergeStructs(path []string, table, incoming *Struct) (*Struct, error) {
	out := &Struct{Fields: append([]Field(nil), table.Fields...)}
	byName := make(map[string]int, len(out.Fields))
	for i, f := range out.Fields {
		byName[Fold(f.Name)] = i
	}
	for _, f := range incoming.Fields {
		at := append(path[:len(path):len(path)], f.Name)
		i, ok := byName[Fold(f.Name)]
		if !ok {
			byName[Fold(f.Name)] = len(out.Fields)
			f.Nullable = true
			out.Fields = append(out.Fields, f)
			continue
		}
		t, err := mergeTypes(at, out.Fields[i].Type, f.Type)
		if err != nil {
			return nil, err
		}
		out.Fields[i].Type = t
	}
	return out, nil
}

func mergeTypes(path []string, table, incoming Type) (Type, error) {
	switch t := table.(type) {
	case *Struct:
		if in, ok := incoming.(*Struct); ok {
			return mergeStructs(path, t, in)
		}
	case *Array:
		if in, ok := incoming.(*Array); ok {
			e, err := mergeTypes(append(path[:len(path):len(path)], "element"), t.Element, in.Element)
			return &Array{Element: e, ContainsNull: t.ContainsNull}, err
		}
	case *Map:
		if in, ok := incoming.(*Map); ok {
			k, err := mergeTypes(append(path[:len(path):len(path)], "key"), t.Key, in.Key)
			if err != nil {
				return nil, err
			}
			v, err := mergeTypes(append(path[:len(path):len(path)], "value"), t.Value, in.Value)
			return &Map{Key: k, Value: v, ValueContainsNull: t.ValueContainsNull}, err
		}
	default:
		if IsScalar(incoming) {
			return table, nil
		}
	}
	return nil, &MergeError{Path: Path(path...), Table: table, Incoming: incoming}
}

// IsScalar reports whether values of t have no parts.
func IsScalar(t Type) bool {
	switch t.(type) {
	case *Struct, *Array, *Map:
		return false
	}
	return true
}

// An Addition is a field that one schema has and an earlier one lacks.
type Addition struct {
	Path []string
	Type Type
}

// Additions lists, in the order of after, the fields that after has and before lacks. A field below
// an added one is not listed by itself.
func Additions(before, after *Struct) []Addition { return additions(nil, nil, before, after) }

func additions(out []Addition, path []string, before, after Type) []Addition {
	step := func(name string) []string { return append(path[:len(path):len(path)], name) }
	switch after := after.(type) {
	case *Struct:
		before, ok := before.(*Struct)
		if !ok {
			return out
		}
		for _, f := range after.Fields {
			if i := before.IndexFold(f.Name); i >= 0 {
				out = additions(out, step(f.Name), before.Fields[i].Type, f.Type)
			} else {
				out = append(out, Addition{Path: step(f.Name), Type: f.Type})
			}
		}
	case *Array:
		if before, ok := before.(*Array); ok {
			out = additions(out, step("element"), before.Element, after.Element)
		}
	case *Map:
		if before, ok := before.(*Map); ok {
			out = additions(out, step("key"), before.Key, after.Key)
			out = additions(out, step("value"), before.Value, after.Value)
		}
	}
	return out
}

// Walk visits every field below s that has no fields of its own, and the elements, keys and values of
// lists and maps, by their paths as hints write them.
func Walk(s *Struct, visit func(path []string, t Type)) { walk(nil, s, visit) }

func walk(path []string, t Type, visit func(path []string, t Type)) {
	step := func(name string) []string { return append(path[:len(path):len(path)], name) }
	switch t := t.(type) {
	case *Struct:
		for _, f := range t.Fields {
			walk(step(f.Name), f.Type, visit)
		}
	case *Array:
		walk(step("element"), t.Element, visit)
	case *Map:
		walk(step("key"), t.Key, visit)
		walk(step("value"), t.Value, visit)
	default:
		visit(path, t)
	}
}

// At returns the type at a path below t, as hints write paths; nil when there is none. Names are matched
// without case.
func At(t Type, path []string) Type {
	if len(path) == 0 {
		return t
	}
	switch t := t.(type) {
	case *Struct:
		if i := t.IndexFold(path[0]); i >= 0 {
			return At(t.Fields[i].Type, path[1:])
		}
	case *Array:
		if path[0] == "element" {
			return At(t.Element, path[1:])
		}
	case *Map:
		switch path[0] {
		case "key":
			return At(t.Key, path[1:])
		case "value":
			return At(t.Value, path[1:])
		}
	}
	return nil
}

// Pick returns s with nothing but the fields at some paths and the structs above them, in the order in which
// they are named first. Names are matched without case. It is nil when s lacks one of them.
func Pick(s *Struct, paths [][]string) *Struct {
	out := &Struct{}
	below := map[int][][]string{} // by the field of s; none: all of it
	var order []int
	for _, path := range paths {
		i := s.IndexFold(path[0])
		if i < 0 {
			return nil
		}
		rest, again := below[i]
		switch {
		case !again:
			order = append(order, i)
			fallthrough
		case rest != nil:
			if rest = append(rest, path[1:]); len(path) == 1 {
				rest = nil
			}
			below[i] = rest
		}
	}
	for _, i := range order {
		f := s.Fields[i]
		if below[i] != nil {
			st, ok := f.Type.(*Struct)
			if !ok {
				return nil
			}
			in := Pick(st, below[i])
			if in == nil {
				return nil
			}
			f.Type = in
		}
		out.Fields = append(out.Fields, f)
	}
	return out
}

// Replace returns t with parts replaced by what f makes of them and of the parts of other at the same
// places; f reports whether it has an answer for a part and all below it. Fields are matched by name
// without case. A part at whose place other has none, or one of another kind, stays when f has none.
func Replace(t, other Type, f func(t, other Type) (Type, bool)) Type {
	if out, ok := f(t, other); ok {
		return out
	}
	switch t := t.(type) {
	case *Struct:
		o, ok := other.(*Struct)
		if !ok {
			return t
		}
		out := &Struct{Fields: append([]Field(nil), t.Fields...)}
		for i, field := range out.Fields {
			if k := o.IndexFold(field.Name); k >= 0 {
				out.Fields[i].Type = Replace(field.Type, o.Fields[k].Type, f)
			}
		}
		return out
	case *Array:
		if o, ok := other.(*Array); ok {
			return &Array{Element: Replace(t.Element, o.Element, f), ContainsNull: t.ContainsNull}
		}
	case *Map:
		if o, ok := other.(*Map); ok {
			return &Map{Key: Replace(t.Key, o.Key, f), Value: Replace(t.Value, o.Value, f), ValueContainsNull: t.ValueContainsNull}
		}
	}
	return t
}
