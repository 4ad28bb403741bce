package schema

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// Arrow returns the Arrow schema in which silt holds rows of s. Timestamps are in microseconds, in UTC
// or without a zone; the element of a list is called "element".
func (s *Struct) Arrow() *arrow.Schema { return arrow.NewSchema(arrowFields(s), nil) }

func arrowFields(s *Struct) []arrow.Field {
	fields := make([]arrow.Field, len(s.Fields))
	for i, f := range s.Fields {
		fields[i] = arrow.Field{Name: f.Name, Type: ArrowType(f.Type), Nullable: f.Nullable}
	}
	return fields
}

var arrowPrimitives = [...]arrow.DataType{
	Void:         arrow.Null,
	Boolean:      arrow.FixedWidthTypes.Boolean,
	Byte:         arrow.PrimitiveTypes.Int8,
	Short:        arrow.PrimitiveTypes.Int16,
	Integer:      arrow.PrimitiveTypes.Int32,
	Long:         arrow.PrimitiveTypes.Int64,
	Float:        arrow.PrimitiveTypes.Float32,
	Double:       arrow.PrimitiveTypes.Float64,
	String:       arrow.BinaryTypes.String,
	Binary:       arrow.BinaryTypes.Binary,
	Date:         arrow.PrimitiveTypes.Date32,
	Timestamp:    &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
	TimestampNTZ: &arrow.TimestampType{Unit: arrow.Microsecond},
	Variant: arrow.StructOf(
		arrow.Field{Name: "value", Type: arrow.BinaryTypes.Binary},
		arrow.Field{Name: "metadata", Type: arrow.BinaryTypes.Binary}),
}

// ArrowType returns the Arrow type that holds values of t.
func ArrowType(t Type) arrow.DataType {
	switch t := t.(type) {
	case Decimal:
		return &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
	case *Array:
		return arrow.ListOfField(arrow.Field{Name: "element", Type: ArrowType(t.Element), Nullable: t.ContainsNull})
	case *Map:
		return arrow.MapOfFields(
			arrow.Field{Name: "key", Type: ArrowType(t.Key)},
			arrow.Field{Name: "value", Type: ArrowType(t.Value), Nullable: t.ValueContainsNull})
	case *Struct:
		return arrow.StructOf(arrowFields(t)...)
	case Primitive:
		return arrowPrimitives[t]
	}
	panic(fmt.Sprintf("no Arrow type for %T", t))
}

// FromArrow returns the schema of rows in the given Arrow schema: the inverse of [Struct.Arrow]. It
// fails for a type that no column type holds exactly.
func FromArrow(s *arrow.Schema) (*Struct, error) { return fromArrowFields(s.Fields()) }

func fromArrowFields(fields []arrow.Field) (*Struct, error) {
	out := &Struct{Fields: make([]Field, len(fields))}
	for i, f := range fields {
		t, err := FromArrowType(f.Type)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Quote(f.Name), err)
		}
		out.Fields[i] = Field{Name: f.Name, Type: t, Nullable: f.Nullable}
	}
	return out, nil
}

// FromArrowType returns the column type of an Arrow type.
func FromArrowType(t arrow.DataType) (Type, error) {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return newDecimal(int(t.Precision), int(t.Scale))
	case *arrow.TimestampType:
		switch {
		case t.Unit != arrow.Microsecond:
			return nil, fmt.Errorf("%s: want a timestamp in microseconds", t)
		case t.TimeZone == "":
			return TimestampNTZ, nil
		}
		return Timestamp, nil
	case *arrow.MapType:
		k, err := FromArrowType(t.KeyType())
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		v, err := FromArrowType(t.ItemType())
		if err != nil {
			return nil, fmt.Errorf("value: %w", err)
		}
		return &Map{Key: k, Value: v, ValueContainsNull: t.ItemField().Nullable}, nil
	case *arrow.ListType:
		e, err := FromArrowType(t.Elem())
		if err != nil {
			return nil, fmt.Errorf("element: %w", err)
		}
		return &Array{Element: e, ContainsNull: t.ElemField().Nullable}, nil
	case *arrow.StructType:
		return fromArrowFields(t.Fields())
	}
	for p, at := range arrowPrimitives {
		if at.ID() == t.ID() && Primitive(p) != Variant {
			return Primitive(p), nil
		}
	}
	return nil, fmt.Errorf("no column type holds Arrow's %s", t)
}
