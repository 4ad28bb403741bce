package delta

import (
	"encoding/json"
	"strings"

	"github.com/siltlake/silt/schema"
)

// The property that lets types grow, and the metadata key that records how. Source: protocol, "Type
// Widening".
const (
	propTypeWidening = "delta.enableTypeWidening"
	metaTypeChanges  = "delta.typeChanges"
)

// typeChange is one entry of the record. FieldPath leads from the field into its arrays and maps.
type typeChange struct {
	FromType  json.RawMessage `json:"fromType"`
	ToType    json.RawMessage `json:"toType"`
	FieldPath string          `json:"fieldPath,omitempty"`
}

// widens reports whether files of type from stay readable when the column becomes to. Source: protocol,
// "Type Widening"; whole numbers to fractions are left out, because Delta does not make those changes by
// itself.
func widens(from, to schema.Type) bool {
	switch from := from.(type) {
	case schema.Primitive:
		to, ok := to.(schema.Primitive)
		switch {
		case !ok:
		case from >= schema.Byte && from < to && to <= schema.Long: // in order of width
			return true
		case from == schema.Float:
			return to == schema.Double
		case from == schema.Date:
			return to == schema.TimestampNTZ
		}
	case schema.Decimal:
		to, ok := to.(schema.Decimal)
		return ok && from != to && to.Scale >= from.Scale && to.Precision-to.Scale >= from.Precision-from.Scale
	}
	return false
}

// WidenNumbers lets whole numbers of the table become fractions too, where its types may grow at all:
// changes that are legal and that Delta does not make by itself.
func (t *Transaction) WidenNumbers() { t.numbers = true }

// widensNumber reports whether a column of whole numbers may become one of fractions: a decimal with as
// many digits before the point, or a double, which does not hold every BIGINT. Source: protocol, "Type
// Widening".
func widensNumber(from, to schema.Type) bool {
	p, ok := from.(schema.Primitive)
	if !ok || p < schema.Byte || p > schema.Long {
		return false
	}
	if d, ok := to.(schema.Decimal); ok {
		digits := 10
		if p == schema.Long {
			digits = 20
		}
		return d.Precision-d.Scale >= digits
	}
	return to == schema.Double && p != schema.Long
}

// widening says which types grow.
type widening func(from, to schema.Type) bool

func (t *Transaction) widening() widening {
	if t.numbers {
		return func(from, to schema.Type) bool { return widens(from, to) || widensNumber(from, to) }
	}
	return widens
}

// fields returns the table's schema with the types of those scalars that are wider in the incoming
// one, and a record of it in the metadata of the nearest field.
func (w widening) fields(table, incoming *schema.Struct) (*schema.Struct, error) {
	out := &schema.Struct{Fields: append([]schema.Field(nil), table.Fields...)}
	for i, f := range out.Fields {
		j := incoming.IndexFold(f.Name)
		if j < 0 {
			continue
		}
		var changes []typeChange
		t, err := w.typ(nil, f.Type, incoming.Fields[j].Type, &changes)
		if err != nil {
			return nil, err
		}
		f.Type = t
		if len(changes) > 0 {
			if f, err = withTypeChanges(f, changes); err != nil {
				return nil, err
			}
		}
		out.Fields[i] = f
	}
	return out, nil
}

func (w widening) typ(path []string, t, incoming schema.Type, changes *[]typeChange) (schema.Type, error) {
	step := func(name string) []string { return append(path[:len(path):len(path)], name) }
	switch t := t.(type) {
	case *schema.Struct:
		if in, ok := incoming.(*schema.Struct); ok {
			return w.fields(t, in)
		}
	case *schema.Array:
		if in, ok := incoming.(*schema.Array); ok {
			e, err := w.typ(step("element"), t.Element, in.Element, changes)
			return &schema.Array{Element: e, ContainsNull: t.ContainsNull}, err
		}
	case *schema.Map:
		if in, ok := incoming.(*schema.Map); ok {
			k, err := w.typ(step("key"), t.Key, in.Key, changes)
			if err != nil {
				return nil, err
			}
			v, err := w.typ(step("value"), t.Value, in.Value, changes)
			return &schema.Map{Key: k, Value: v, ValueContainsNull: t.ValueContainsNull}, err
		}
	default:
		if w(t, incoming) {
			*changes = append(*changes, typeChange{typeName(t), typeName(incoming), strings.Join(path, ".")})
			return incoming, nil
		}
	}
	return t, nil
}

// typeName is the JSON of a scalar type.
func typeName(t schema.Type) json.RawMessage {
	text, err := schema.Nullable("", t).MarshalJSON()
	var f struct{ Type json.RawMessage }
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		panic(err) // a type that was read or made can be written
	}
	return f.Type
}

func withTypeChanges(f schema.Field, changes []typeChange) (schema.Field, error) {
	var before []json.RawMessage
	if raw, ok := f.Metadata[metaTypeChanges]; ok {
		if err := json.Unmarshal(raw, &before); err != nil {
			return f, err
		}
	}
	for _, c := range changes {
		text, err := json.Marshal(c)
		if err != nil {
			return f, err
		}
		before = append(before, text)
	}
	return f.WithMetadata(metaTypeChanges, before)
}
