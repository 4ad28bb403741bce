package parquetenc

import (
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
)

// physical is the type of a leaf in Parquet.
type physical uint8

const (
	typeBoolean   physical = 0
	typeInt32     physical = 1
	typeInt64     physical = 2
	typeFloat     physical = 4
	typeDouble    physical = 5
	typeByteArray physical = 6
	typeFixed     physical = 7
)

// Kinds of nodes.
type kind uint8

const (
	kindLeaf kind = iota
	kindStruct
	kindList
	kindMap
)

// maxLevels is the deepest nesting of nullable fields and lists; the values above mark entries.
const maxLevels = 250

// node is a field of the schema.
type node struct {
	name     string
	path     string // for messages
	typ      arrow.DataType
	kind     kind
	nullable bool
	id       int // of the field; -1 is none
	def      int // the definition level of a value whose parent is there, before its own
	rep      int // the repetition level
	kids     []*node
	leaf     *column
}

// fieldIDKey is the key of field ids in the metadata of Arrow fields.
const fieldIDKey = "PARQUET:field_id"

func newNode(path string, f arrow.Field, def, rep int) (*node, error) {
	n := &node{name: f.Name, path: path, typ: f.Type, nullable: f.Nullable, id: -1, def: def, rep: rep}
	if text, ok := f.Metadata.GetValue(fieldIDKey); ok {
		id, err := strconv.ParseInt(text, 10, 32)
		if err != nil || id < 0 {
			return nil, fmt.Errorf("column %s: the field id is %q", path, text)
		}
		n.id = int(id)
	}
	if f.Nullable {
		def++
	}
	if def > maxLevels {
		return nil, fmt.Errorf("column %s is nested more than %d levels deep", path, maxLevels)
	}
	var kids []arrow.Field
	switch t := f.Type.(type) {
	case *arrow.StructType:
		n.kind, kids = kindStruct, t.Fields()
		if len(kids) == 0 {
			return nil, fmt.Errorf("column %s is a struct without fields", path)
		}
	case *arrow.MapType:
		n.kind, def, rep = kindMap, def+1, rep+1
		key, item := t.KeyField(), t.ItemField()
		key.Name, key.Nullable, item.Name = "key", false, "value"
		kids = []arrow.Field{key, item}
	case *arrow.ListType:
		n.kind, def, rep = kindList, def+1, rep+1
		e := t.ElemField()
		e.Name = "element"
		kids = []arrow.Field{e}
	default:
		if !leafType(f.Type) {
			return nil, fmt.Errorf("column %s: Parquet files of silt hold no %s", path, f.Type)
		}
		n.leaf = newColumn(n, def, rep)
	}
	for _, k := range kids {
		kid, err := newNode(path+"."+k.Name, k, def, rep)
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, kid)
	}
	return n, nil
}

func leafType(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.TimestampType:
		return t.Unit == arrow.Microsecond
	case *arrow.Decimal128Type:
		return t.Precision > 0 && t.Precision <= 38
	}
	switch t.ID() {
	case arrow.BOOL, arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.FLOAT32, arrow.FLOAT64,
		arrow.DATE32, arrow.STRING, arrow.BINARY:
		return true
	}
	return false
}

// physicalType returns the Parquet type of a leaf, and the bytes of a value, 0 when they differ.
func physicalType(t arrow.DataType) (physical, int) {
	switch t.ID() {
	case arrow.BOOL:
		return typeBoolean, 0
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.DATE32:
		return typeInt32, 4
	case arrow.FLOAT32:
		return typeFloat, 4
	case arrow.FLOAT64:
		return typeDouble, 8
	case arrow.DECIMAL128:
		switch p := t.(*arrow.Decimal128Type).Precision; {
		case p <= 9:
			return typeInt32, 4
		case p <= 18:
			return typeInt64, 8
		default:
			return typeFixed, decimalSize(p)
		}
	case arrow.STRING, arrow.BINARY:
		return typeByteArray, 0
	}
	return typeInt64, 8
}

// decimalSize is the least number of bytes that hold all decimals of a precision.
func decimalSize(precision int32) int {
	// ceil((precision*log2(10) + 1) / 8), where 10^38 < 2^126.3
	bits := int(float64(precision)*3.3219280948873626) + 2
	return (bits + 7) / 8
}

// Repetitions and converted types, as they are numbered in Parquet.
const (
	required = 0
	optional = 1
	repeated = 2

	convertedUTF8      = 0
	convertedMap       = 1
	convertedList      = 3
	convertedDecimal   = 5
	convertedDate      = 6
	convertedTimestamp = 10 // in microseconds
	convertedInt8      = 15
	convertedInt16     = 16
)

// elements returns how many elements the schema of a file has for the node.
func (n *node) elements() int {
	count := 1
	if n.kind == kindList || n.kind == kindMap {
		count++
	}
	for _, k := range n.kids {
		count += k.elements()
	}
	return count
}

// schema writes the elements of the node. Beside each logical type stands the converted type that says
// the same to older readers, when there is one.
func (n *node) schema(t *thrift) {
	repetition := required
	if n.nullable {
		repetition = optional
	}
	t.open()
	if n.kind == kindLeaf {
		t.i32(1, int(n.leaf.physical))
		if n.leaf.physical == typeFixed {
			t.i32(2, n.leaf.width)
		}
	}
	t.i32(3, repetition)
	t.string(4, n.name)
	switch n.kind {
	case kindLeaf:
		n.leafAnnotations(t)
	case kindStruct:
		t.i32(5, len(n.kids))
		n.fieldID(t)
	case kindList:
		n.group(t, convertedList, 3, "list")
		return
	case kindMap:
		n.group(t, convertedMap, 2, "key_value")
		return
	}
	t.end()
	for _, k := range n.kids {
		k.schema(t)
	}
}

// group goes on with the element of a list or map, and the repeated group in it.
func (n *node) group(t *thrift, converted int, logical int16, name string) {
	t.i32(5, 1)
	t.i32(6, converted)
	n.fieldID(t)
	t.begin(10)
	t.empty(logical)
	t.end()
	t.end()

	t.open()
	t.i32(3, repeated)
	t.string(4, name)
	t.i32(5, len(n.kids))
	t.end()
	for _, k := range n.kids {
		k.schema(t)
	}
}

func (n *node) fieldID(t *thrift) {
	if n.id >= 0 {
		t.i32(9, n.id)
	}
}

func (n *node) leafAnnotations(t *thrift) {
	switch typ := n.typ.(type) {
	case *arrow.StringType:
		t.i32(6, convertedUTF8)
		n.fieldID(t)
		t.begin(10)
		t.empty(1)
		t.end()
	case *arrow.Date32Type:
		t.i32(6, convertedDate)
		n.fieldID(t)
		t.begin(10)
		t.empty(6)
		t.end()
	case *arrow.Int8Type:
		t.i32(6, convertedInt8)
		n.intType(t, 8)
	case *arrow.Int16Type:
		t.i32(6, convertedInt16)
		n.intType(t, 16)
	case *arrow.TimestampType:
		utc := typ.TimeZone != ""
		if utc { // the converted type would say UTC of one without a zone, too
			t.i32(6, convertedTimestamp)
		}
		n.fieldID(t)
		t.begin(10)
		t.begin(8)
		t.bool(1, utc)
		t.begin(2)
		t.empty(2) // microseconds
		t.end()
		t.end()
		t.end()
	case *arrow.Decimal128Type:
		t.i32(6, convertedDecimal)
		t.i32(7, int(typ.Scale))
		t.i32(8, int(typ.Precision))
		n.fieldID(t)
		t.begin(10)
		t.begin(5)
		t.i32(1, int(typ.Scale))
		t.i32(2, int(typ.Precision))
		t.end()
		t.end()
	default:
		n.fieldID(t)
	}
}

func (n *node) intType(t *thrift, bits byte) {
	n.fieldID(t)
	t.begin(10)
	t.begin(10)
	t.i8(1, bits)
	t.bool(2, true)
	t.end()
	t.end()
}
