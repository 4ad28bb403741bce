// Package schema describes the columns of a table: their types, the JSON and DDL texts these are
// written in, and the rules by which two schemas become one.
//
// A [Struct] is a table's schema or the type of a nested column; a [Field] is a named, typed member
// of it. Values are immutable by convention: every function returns a new value and shares the parts
// that did not change.
//
// Two schemas meet in two ways, and the package keeps them apart:
//   - [Unify] is inference: two types seen in data become the smallest type that holds both. It is
//     commutative, associative and idempotent.
//   - [Merge] is evolution: a table takes what a batch brings. The table's types and order stay, new
//     fields come last.
package schema

import (
	"encoding/json"
	"slices"
	"strconv"
)

// Type is the type of a field: a [Primitive], a [Decimal], a [*Struct], an [*Array] or a [*Map].
type Type interface {
	// String is the type as Spark DDL, such as ARRAY<STRUCT<id: BIGINT>>.
	String() string
	// appendJSON appends the type as Delta writes it in schemaString.
	appendJSON(dst []byte) ([]byte, error)
}

// Primitive is a type without parameters.
type Primitive uint8

// The primitive types, named as in the Delta protocol, "Primitive Types". Void is the type of a value
// that is only ever null: it is never written to a data file.
const (
	Void Primitive = iota
	Boolean
	Byte
	Short
	Integer
	Long
	Float
	Double
	String
	Binary
	Date
	Timestamp
	TimestampNTZ
	Variant
)

// primitiveNames holds, for each Primitive, its name in Delta's schema JSON and in DDL.
var primitiveNames = [...]struct{ json, ddl string }{
	Void:         {"void", "VOID"},
	Boolean:      {"boolean", "BOOLEAN"},
	Byte:         {"byte", "TINYINT"},
	Short:        {"short", "SMALLINT"},
	Integer:      {"integer", "INT"},
	Long:         {"long", "BIGINT"},
	Float:        {"float", "FLOAT"},
	Double:       {"double", "DOUBLE"},
	String:       {"string", "STRING"},
	Binary:       {"binary", "BINARY"},
	Date:         {"date", "DATE"},
	Timestamp:    {"timestamp", "TIMESTAMP"},
	TimestampNTZ: {"timestamp_ntz", "TIMESTAMP_NTZ"},
	Variant:      {"variant", "VARIANT"},
}

func (p Primitive) String() string { return primitiveNames[p].ddl }

// MaxPrecision is the most digits a [Decimal] can have.
const MaxPrecision = 38

// Decimal is an exact number of at most Precision digits, Scale of them after the point.
type Decimal struct{ Precision, Scale int }

func (d Decimal) String() string {
	return "DECIMAL(" + strconv.Itoa(d.Precision) + "," + strconv.Itoa(d.Scale) + ")"
}

// Array is a list of elements.
type Array struct {
	Element      Type
	ContainsNull bool
}

func (a *Array) String() string { return "ARRAY<" + a.Element.String() + ">" }

// Map is a set of entries with unique keys. Keys are never null.
type Map struct {
	Key, Value        Type
	ValueContainsNull bool
}

func (m *Map) String() string { return "MAP<" + m.Key.String() + ", " + m.Value.String() + ">" }

// Struct is an ordered list of fields.
type Struct struct{ Fields []Field }

// Field is a named member of a [Struct].
type Field struct {
	Name     string
	Type     Type
	Nullable bool
	// Metadata is kept as it was read, unknown keys and the spelling of numbers included.
	Metadata map[string]json.RawMessage
}

// Nullable returns a nullable field without metadata.
func Nullable(name string, t Type) Field { return Field{Name: name, Type: t, Nullable: true} }

// NewStruct returns a struct of the given fields.
func NewStruct(fields ...Field) *Struct { return &Struct{Fields: fields} }

// Index returns the position of the field with exactly this name, or -1.
func (s *Struct) Index(name string) int {
	return slices.IndexFunc(s.Fields, func(f Field) bool { return f.Name == name })
}

// IndexFold returns the position of the field whose name is equal to name when case is ignored, or
// -1. Delta's column names are unique in this sense (protocol, "Schema Serialization Format").
func (s *Struct) IndexFold(name string) int {
	if i := s.Index(name); i >= 0 {
		return i
	}
	folded := Fold(name)
	return slices.IndexFunc(s.Fields, func(f Field) bool { return Fold(f.Name) == folded })
}

// Names returns the names of the fields in order.
func (s *Struct) Names() []string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	return names
}

// Append returns a struct with the given fields after those of s.
func (s *Struct) Append(fields ...Field) *Struct {
	return &Struct{Fields: append(slices.Clone(s.Fields), fields...)}
}

// Leaves returns the number of fields below s that have no fields of their own; arrays and maps count
// as the leaves inside them.
func (s *Struct) Leaves() int {
	n := 0
	for _, f := range s.Fields {
		n += leaves(f.Type)
	}
	return n
}

func leaves(t Type) int {
	switch t := t.(type) {
	case *Struct:
		return t.Leaves()
	case *Array:
		return leaves(t.Element)
	case *Map:
		return leaves(t.Key) + leaves(t.Value)
	}
	return 1
}

// WithMetadata returns f with one metadata key set to the JSON of value.
func (f Field) WithMetadata(key string, value any) (Field, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return f, err
	}
	m := make(map[string]json.RawMessage, len(f.Metadata)+1)
	for k, v := range f.Metadata {
		m[k] = v
	}
	m[key] = raw
	f.Metadata = m
	return f, nil
}

// MetadataString returns the metadata value under key when it is a JSON string.
func (f Field) MetadataString(key string) (string, bool) {
	var s string
	raw, ok := f.Metadata[key]
	if !ok || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// MetadataInt returns the metadata value under key when it is a JSON integer.
func (f Field) MetadataInt(key string) (int64, bool) {
	var n int64
	raw, ok := f.Metadata[key]
	if !ok || json.Unmarshal(raw, &n) != nil {
		return 0, false
	}
	return n, true
}

// Equal reports whether a and b have the same fields, types, nullability and order. Metadata is not
// compared.
func Equal(a, b Type) bool {
	switch a := a.(type) {
	case *Struct:
		b, ok := b.(*Struct)
		return ok && slices.EqualFunc(a.Fields, b.Fields, func(x, y Field) bool {
			return x.Name == y.Name && x.Nullable == y.Nullable && Equal(x.Type, y.Type)
		})
	case *Array:
		b, ok := b.(*Array)
		return ok && a.ContainsNull == b.ContainsNull && Equal(a.Element, b.Element)
	case *Map:
		b, ok := b.(*Map)
		return ok && a.ValueContainsNull == b.ValueContainsNull && Equal(a.Key, b.Key) && Equal(a.Value, b.Value)
	}
	return a == b
}
