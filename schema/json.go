package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MarshalJSON writes the schema as Delta's schemaString has it.
// Source: Delta protocol, "Schema Serialization Format".
func (s *Struct) MarshalJSON() ([]byte, error) { return s.appendJSON(nil) }

func (p Primitive) appendJSON(dst []byte) ([]byte, error) {
	return append(append(append(dst, '"'), primitiveNames[p].json...), '"'), nil
}

func (d Decimal) appendJSON(dst []byte) ([]byte, error) {
	return append(append(append(dst, '"'), strings.ToLower(d.String())...), '"'), nil
}

func (a *Array) appendJSON(dst []byte) ([]byte, error) {
	dst, err := a.Element.appendJSON(append(dst, `{"type":"array","elementType":`...))
	dst = strconv.AppendBool(append(dst, `,"containsNull":`...), a.ContainsNull)
	return append(dst, '}'), err
}

func (m *Map) appendJSON(dst []byte) ([]byte, error) {
	dst, err := m.Key.appendJSON(append(dst, `{"type":"map","keyType":`...))
	if err != nil {
		return dst, err
	}
	dst, err = m.Value.appendJSON(append(dst, `,"valueType":`...))
	dst = strconv.AppendBool(append(dst, `,"valueContainsNull":`...), m.ValueContainsNull)
	return append(dst, '}'), err
}

func (s *Struct) appendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, `{"type":"struct","fields":[`...)
	for i, f := range s.Fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = f.appendJSON(dst); err != nil {
			return dst, err
		}
	}
	return append(dst, `]}`...), nil
}

// MarshalJSON writes the field as it stands in a schemaString.
func (f Field) MarshalJSON() ([]byte, error) { return f.appendJSON(nil) }

func (f Field) appendJSON(dst []byte) ([]byte, error) {
	name, err := marshal(f.Name)
	if err != nil {
		return dst, err
	}
	dst = append(append(append(dst, `{"name":`...), name...), `,"type":`...)
	if dst, err = f.Type.appendJSON(dst); err != nil {
		return dst, err
	}
	dst = strconv.AppendBool(append(dst, `,"nullable":`...), f.Nullable)
	dst = append(dst, `,"metadata":`...)
	if len(f.Metadata) == 0 {
		return append(dst, `{}}`...), nil
	}
	meta, err := marshal(f.Metadata)
	return append(append(dst, meta...), '}'), err
}

// marshal is json.Marshal without the escaping of <, > and &.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// ParseJSON reads a schemaString.
func ParseJSON(text []byte) (*Struct, error) {
	s := new(Struct)
	if err := s.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	return s, nil
}

// UnmarshalJSON reads a schemaString.
func (s *Struct) UnmarshalJSON(text []byte) error {
	t, err := parseType(text)
	if err != nil {
		return err
	}
	st, ok := t.(*Struct)
	if !ok {
		return fmt.Errorf("schema is of type %s, want a struct", t)
	}
	*s = *st
	return nil
}

// UnmarshalJSON reads a field as it stands in a schemaString.
func (f *Field) UnmarshalJSON(text []byte) error {
	var j jsonField
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	field, err := j.field()
	if err == nil {
		*f = field
	}
	return err
}

// jsonType holds the members of every container type.
type jsonType struct {
	Type              string          `json:"type"`
	Fields            []jsonField     `json:"fields"`
	ElementType       json.RawMessage `json:"elementType"`
	ContainsNull      *bool           `json:"containsNull"` // nil is true, which is the cautious one
	KeyType           json.RawMessage `json:"keyType"`
	ValueType         json.RawMessage `json:"valueType"`
	ValueContainsNull *bool           `json:"valueContainsNull"`
}

type jsonField struct {
	Name     string                     `json:"name"`
	Type     json.RawMessage            `json:"type"`
	Nullable bool                       `json:"nullable"`
	Metadata map[string]json.RawMessage `json:"metadata"`
}

func (j jsonField) field() (Field, error) {
	t, err := parseType(j.Type)
	if err != nil {
		return Field{}, fmt.Errorf("field %s: %w", Quote(j.Name), err)
	}
	f := Field{Name: j.Name, Type: t, Nullable: j.Nullable}
	if len(j.Metadata) > 0 {
		f.Metadata = j.Metadata
	}
	return f, nil
}

func parseType(text []byte) (Type, error) {
	text = bytes.TrimSpace(text)
	if len(text) > 0 && text[0] == '"' {
		var name string
		if err := json.Unmarshal(text, &name); err != nil {
			return nil, err
		}
		return ParsePrimitive(name)
	}
	var j jsonType
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, fmt.Errorf("schema JSON: %w", err)
	}
	switch j.Type {
	case "struct":
		s := &Struct{Fields: make([]Field, 0, len(j.Fields))}
		for _, jf := range j.Fields {
			f, err := jf.field()
			if err != nil {
				return nil, err
			}
			s.Fields = append(s.Fields, f)
		}
		return s, nil
	case "array":
		e, err := parseType(j.ElementType)
		if err != nil {
			return nil, fmt.Errorf("array element: %w", err)
		}
		return &Array{Element: e, ContainsNull: j.ContainsNull == nil || *j.ContainsNull}, nil
	case "map":
		k, err := parseType(j.KeyType)
		if err != nil {
			return nil, fmt.Errorf("map key: %w", err)
		}
		v, err := parseType(j.ValueType)
		if err != nil {
			return nil, fmt.Errorf("map value: %w", err)
		}
		return &Map{Key: k, Value: v, ValueContainsNull: j.ValueContainsNull == nil || *j.ValueContainsNull}, nil
	}
	return nil, fmt.Errorf("unknown type %q in schema JSON", j.Type)
}

// ParsePrimitive reads the name a primitive type or a decimal has in schema JSON, such as "long" or
// "decimal(10,2)".
func ParsePrimitive(name string) (Type, error) {
	i := slices.IndexFunc(primitiveNames[:], func(n struct{ json, ddl string }) bool { return n.json == name })
	if i >= 0 {
		return Primitive(i), nil
	}
	switch {
	case name == "null": // Spark before 3.1 wrote this for void
		return Void, nil
	case name == "decimal":
		return Decimal{10, 0}, nil
	case strings.HasPrefix(name, "decimal(") && strings.HasSuffix(name, ")"):
		precision, scale, ok := strings.Cut(name[len("decimal("):len(name)-1], ",")
		p, err := strconv.Atoi(strings.TrimSpace(precision))
		s, err2 := strconv.Atoi(strings.TrimSpace(scale))
		if ok && err == nil && err2 == nil {
			return newDecimal(p, s)
		}
	}
	return nil, fmt.Errorf("unknown type %q", name)
}

func newDecimal(p, s int) (Type, error) {
	if p < 1 || p > MaxPrecision || s < 0 || s > p {
		return nil, fmt.Errorf("DECIMAL(%d,%d): precision is 1 to %d, scale 0 to the precision", p, s, MaxPrecision)
	}
	return Decimal{p, s}, nil
}
