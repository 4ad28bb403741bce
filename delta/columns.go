package delta

import (
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/scalar"

	"github.com/siltlake/silt/schema"
)

// column is a node of the tree that says what to make of the columns of an Arrow record: by which name
// or id a field is found in the source, and as what it comes out. The same tree serves both ways. To
// read, it is found by the physical name and comes out under the logical one; to write, the other way
// round.
type column struct {
	typ   schema.Type
	name  string        // to find it by
	id    int64         // to find it by when not 0; then the name does not count
	out   arrow.Field   // what it becomes
	path  []string      // logical, for messages
	isKey bool          // a partition column that is read: its value is in the log
	def   scalar.Scalar // what it is in rows to be written that lack it; nil is null
	kids  []*column     // of a struct: its fields; of an array: the element; of a map: key and value
}

// fieldIDKey is the key under which Arrow's Parquet code keeps field ids.
const fieldIDKey = "PARQUET:field_id"

// columnTree builds the trees.
type columnTree struct {
	mode  string // of column mapping
	write bool
}

// readColumns returns the tree that makes rows of s from data files.
func readColumns(s *schema.Struct, mode string) ([]*column, error) {
	return columnTree{mode: mode}.fields(nil, s)
}

// writeColumns returns the tree that makes data files from rows of s. Columns that are always null
// are left out, because data files cannot hold them.
func writeColumns(s *schema.Struct, mode string) ([]*column, error) {
	return columnTree{mode: mode, write: true}.fields(nil, s)
}

func (t columnTree) fields(path []string, s *schema.Struct) ([]*column, error) {
	cols := make([]*column, 0, len(s.Fields))
	for _, f := range s.Fields {
		if t.write && f.Type == schema.Void {
			continue
		}
		c, err := t.field(append(path[:len(path):len(path)], f.Name), f)
		if err != nil {
			return nil, err
		}
		cols = append(cols, c)
	}
	if t.write && len(cols) == 0 && len(path) > 0 {
		return nil, fmt.Errorf("column %s is a struct without a field that a data file can hold", schema.Path(path...))
	}
	return cols, nil
}

func (t columnTree) field(path []string, f schema.Field) (*column, error) {
	physical, err := physicalName(f, t.mode)
	if err != nil {
		return nil, err
	}
	c, err := t.node(path, f.Type)
	if err != nil {
		return nil, err
	}
	c.name, c.out.Name, c.out.Nullable = f.Name, f.Name, f.Nullable
	switch {
	case t.write:
		c.out.Name = physical
		c.def, _ = columnDefault(f)
		if id, ok := f.MetadataInt(metaColumnID); ok && t.mode != "" {
			c.out.Metadata = arrow.NewMetadata([]string{fieldIDKey}, []string{strconv.FormatInt(id, 10)})
		}
	case t.mode == mappingID:
		if c.id, _ = f.MetadataInt(metaColumnID); c.id == 0 {
			return nil, fmt.Errorf("column %s has no %s although columns are mapped by id", schema.Path(path...), metaColumnID)
		}
		c.name = physical
	default:
		c.name = physical
	}
	return c, nil
}

// node returns the column of a type without what a field adds to it.
func (t columnTree) node(path []string, typ schema.Type) (*column, error) {
	c := &column{typ: typ, path: path}
	var err error
	switch typ := typ.(type) {
	case *schema.Struct:
		if c.kids, err = t.fields(path, typ); err == nil {
			c.out.Type = arrow.StructOf(outFields(c.kids)...)
		}
	case *schema.Array:
		var e *column
		if e, err = t.part(path, "element", typ.Element, typ.ContainsNull); err == nil {
			c.kids = []*column{e}
			c.out.Type = arrow.ListOfField(e.out)
		}
	case *schema.Map:
		var k, v *column
		if k, err = t.part(path, "key", typ.Key, false); err != nil {
			break
		}
		if v, err = t.part(path, "value", typ.Value, typ.ValueContainsNull); err == nil {
			c.kids = []*column{k, v}
			c.out.Type = arrow.MapOfFields(k.out, v.out)
		}
	default:
		c.out.Type = schema.ArrowType(typ)
		if typ == schema.Variant {
			for _, f := range c.out.Type.(*arrow.StructType).Fields() {
				c.kids = append(c.kids, &column{typ: schema.Binary, name: f.Name, out: f, path: append(path[:len(path):len(path)], f.Name)})
			}
		}
	}
	return c, err
}

// part returns the column of the element of an array, or of the key or value of a map.
func (t columnTree) part(path []string, name string, typ schema.Type, nullable bool) (*column, error) {
	path = append(path[:len(path):len(path)], name)
	if t.write && typ == schema.Void {
		return nil, fmt.Errorf("column %s is always null, and a data file cannot hold that", schema.Path(path...))
	}
	c, err := t.node(path, typ)
	if err != nil {
		return nil, err
	}
	c.name, c.out.Name, c.out.Nullable = name, name, nullable
	return c, nil
}

func outFields(cols []*column) []arrow.Field {
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		fields[i] = c.out
	}
	return fields
}
