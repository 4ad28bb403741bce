package decode

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/schema"
)

// kind is the physical form of a column.
type kind uint8

const (
	kindBoolean kind = iota
	kindByte
	kindShort
	kindInteger
	kindLong
	kindFloat
	kindDouble
	kindDecimal
	kindDate
	kindTimestamp
	kindTimestampNTZ
	kindString
	kindBinary
	kindStruct
	kindVariant
	kindList
	kindMap
)

// widths holds the bytes a value of each fixed-width kind takes; a boolean takes a byte until the
// batch is built.
var widths = [...]int{
	kindBoolean: 1, kindByte: 1, kindShort: 2, kindInteger: 4, kindLong: 8, kindFloat: 4, kindDouble: 8,
	kindDecimal: 16, kindDate: 4, kindTimestamp: 8, kindTimestampNTZ: 8, kindMap: 0,
}

var primitiveKinds = map[schema.Type]kind{
	schema.Boolean: kindBoolean, schema.Byte: kindByte, schema.Short: kindShort, schema.Integer: kindInteger,
	schema.Long: kindLong, schema.Float: kindFloat, schema.Double: kindDouble, schema.Date: kindDate,
	schema.Timestamp: kindTimestamp, schema.TimestampNTZ: kindTimestampNTZ, schema.String: kindString, schema.Binary: kindBinary,
}

// column collects the values of one field in the layout that Arrow has.
//
// A column may lag behind: rows that its parent has and it has not are null, and are filled in when
// the next value comes or the batch is built. So a field that is missing from a record costs nothing,
// and a value that does not fit is made NULL by not appending it.
type column struct {
	kind kind
	name string
	key
	tail uint64 // the last bytes of a longer key and its closing quote
	// first is the field that came first in the last object, and next the one that followed this field
	// when it came last: what comes in the same order again is found at once.
	first, next *column
	dtype       arrow.DataType
	decimal     schema.Decimal

	n       int    // rows
	nulls   bool   // some row is null, and valid is in use
	valid   []byte // one byte a row: 1, or 0 for null
	fixed   []byte // values of a fixed-width kind
	offsets []int32
	data    []byte // the bytes of strings

	// cells is the number of values that a row has in the leaves below the column, lists counted as one.
	cells int

	kids  []*column      // fields of a struct, element of a list, key and value of a map
	keys  []key          // of the kids
	index map[string]int // names of the kids of a struct
	// folded holds them in the form of schema.Fold, when case is ignored.
	folded map[string]int

	packed, packedValues []byte // bitmaps of the last batch
	// seen is what was met below a struct without a column, and misfit what did not fit the column.
	seen   *Observed
	misfit Rescued
	demand *Observed // what numbers that do not fit would need, if asked for
}

// key compares the first bytes of a key and its closing quote in one step.
type key struct{ word, mask uint64 }

// noKey is never found.
var noKey = key{word: 1}

func newColumn(name string, t schema.Type) *column {
	c := &column{name: name, dtype: schema.ArrowType(t)}
	c.setKey()
	switch t := t.(type) {
	case *schema.Struct:
		c.kind = kindStruct
		c.index = make(map[string]int, len(t.Fields))
		for i, f := range t.Fields {
			kid := newColumn(f.Name, f.Type)
			c.kids = append(c.kids, kid)
			c.keys = append(c.keys, kid.key)
			c.index[f.Name] = i
		}
	case *schema.Array:
		c.kind = kindList
		c.kids = []*column{newColumn("element", t.Element)}
	case *schema.Map:
		c.kind = kindMap
		c.kids = []*column{newColumn("key", t.Key), newColumn("value", t.Value)}
	case schema.Decimal:
		c.kind, c.decimal = kindDecimal, t
	case schema.Primitive:
		if t == schema.Variant {
			c.kind = kindVariant
			c.kids = []*column{newColumn("value", schema.Binary), newColumn("metadata", schema.Binary)}
			break
		}
		c.kind = kindOf(t)
	}
	c.cells = 1
	if c.isGroup() {
		for _, kid := range c.kids {
			c.cells += kid.cells
		}
	}
	c.reset()
	return c
}

func kindOf(t schema.Primitive) kind {
	k, ok := primitiveKinds[t]
	if !ok {
		panic("no column can hold " + t.String())
	}
	return k
}

// setKey prepares the comparison of keys. A name that JSON must escape never stands in the text as it
// is, and gets a comparison that fails.
func (c *column) setKey() {
	if strings.ContainsFunc(c.name, func(r rune) bool { return r == '"' || r == '\\' || r < ' ' }) {
		c.key = noKey
		return
	}
	key := append([]byte(c.name), '"')
	var w [8]byte
	n := copy(w[:], key)
	c.word = binary.LittleEndian.Uint64(w[:])
	c.mask = ^uint64(0) >> (8 * (8 - n))
	if len(key) > 8 {
		c.tail = binary.LittleEndian.Uint64(key[len(key)-8:])
	}
}

// foldKeys lets the kids of a struct be found in any case. Of names that differ only by case the first
// counts.
func (c *column) foldKeys() {
	if c.kind != kindStruct {
		return
	}
	c.folded = make(map[string]int, len(c.kids))
	for i := len(c.kids) - 1; i >= 0; i-- {
		c.folded[schema.Fold(c.kids[i].name)] = i
	}
}

// hide keeps the keys of records from the kid at k.
func (c *column) hide(k int) {
	c.kids[k].key, c.keys[k] = noKey, noKey
	delete(c.index, c.kids[k].name)
}

// hasRest reports whether the text at i, behind the opening quote of a key, is the name of the column
// and a closing quote, when the first 8 bytes are known to be the same.
func (c *column) hasRest(text []byte, i int) bool {
	n := len(c.name)
	if len(text)-i <= n || jsonscan.Load(text, i+n-7) != c.tail {
		return false
	}
	return n < 16 || string(text[i+8:i+n]) == c.name[8:]
}

// reset forgets all rows.
func (c *column) reset() {
	c.n, c.nulls = 0, false
	c.valid, c.fixed, c.data = slim(c.valid), slim(c.fixed), slim(c.data)
	c.packed, c.packedValues = slim(c.packed), slim(c.packedValues)
	if c.offsets = slim(c.offsets); c.hasOffsets() {
		c.offsets = append(c.offsets, 0)
	}
	for _, kid := range c.kids {
		kid.reset()
	}
}

// isGroup reports whether the rows of the column are those of its kids.
func (c *column) isGroup() bool { return c.kind == kindStruct || c.kind == kindVariant }

func (c *column) hasOffsets() bool { return c.kind >= kindString && !c.isGroup() }

// appended counts a row whose value is stored.
func (c *column) appended() {
	c.n++
	if c.nulls {
		c.valid = append(c.valid, 1)
	}
}

// put appends a value of 8 bytes.
func (c *column) put(w uint64) {
	n := len(c.fixed)
	if n+8 > cap(c.fixed) {
		c.fixed = slices.Grow(c.fixed, max(64, n))
	}
	c.fixed = c.fixed[:n+8]
	binary.LittleEndian.PutUint64(c.fixed[n:], w)
	c.appended()
}

// ended appends the end of a value with offsets.
func (c *column) ended(offset int) {
	c.offsets = append(c.offsets, int32(offset))
	c.appended()
}

// fill adds nulls until the column has n rows.
func (c *column) fill(n int) {
	missing := n - c.n
	if missing <= 0 {
		return
	}
	if !c.nulls {
		c.nulls = true
		c.valid = appendRepeated(c.valid[:0], 1, c.n)
	}
	c.valid = appendRepeated(c.valid, 0, missing)
	switch {
	case c.hasOffsets():
		last := c.offsets[c.n]
		for range missing {
			c.offsets = append(c.offsets, last)
		}
	case !c.isGroup():
		c.fixed = appendRepeated(c.fixed, 0, missing*widths[c.kind])
	}
	c.n = n
}

func appendRepeated(dst []byte, value byte, n int) []byte {
	dst = slices.Grow(dst, n)
	tail := dst[len(dst) : len(dst)+n]
	for i := range tail {
		tail[i] = value
	}
	return dst[:len(dst)+n]
}

// truncate forgets the rows from n on.
func (c *column) truncate(n int) {
	if c.n <= n {
		// A struct gets a row before its kids do, so they have none from n on either. A list gets it
		// when it is complete: its kids may hold elements of one that is not.
		if c.hasOffsets() {
			c.truncateKids(int(c.offsets[c.n]))
		}
		return
	}
	c.n = n
	if c.nulls {
		c.valid = c.valid[:n]
	}
	switch {
	case c.isGroup():
		c.truncateKids(n)
	case c.hasOffsets():
		c.offsets = c.offsets[:n+1]
		end := int(c.offsets[n])
		if len(c.kids) > 0 {
			c.truncateKids(end)
		} else {
			c.data = c.data[:end]
		}
	default:
		c.fixed = c.fixed[:n*widths[c.kind]]
	}
}

func (c *column) truncateKids(n int) {
	for _, kid := range c.kids {
		kid.truncate(n)
	}
}

// build returns the column with n rows as Arrow data. The data aliases the column until reset.
func (c *column) build(n int) *array.Data {
	c.fill(n)
	bitmap, nulls := c.bitmap()
	switch c.kind {
	case kindStruct, kindVariant:
		return array.NewData(c.dtype, n, []*memory.Buffer{bitmap}, c.buildKids(n), nulls, 0)
	case kindList, kindMap:
		elements := c.buildKids(int(c.offsets[n]))
		if c.kind == kindMap {
			entries := c.dtype.(*arrow.MapType).Elem()
			elements = []arrow.ArrayData{array.NewData(entries, int(c.offsets[n]), []*memory.Buffer{nil}, elements, 0, 0)}
		}
		return array.NewData(c.dtype, n, []*memory.Buffer{bitmap, c.offsetBuffer()}, elements, nulls, 0)
	case kindString, kindBinary:
		return array.NewData(c.dtype, n, []*memory.Buffer{bitmap, c.offsetBuffer(), memory.NewBufferBytes(c.data)}, nil, nulls, 0)
	case kindBoolean:
		c.packedValues = pack(c.packedValues, c.fixed)
		return array.NewData(c.dtype, n, []*memory.Buffer{bitmap, memory.NewBufferBytes(c.packedValues)}, nil, nulls, 0)
	}
	return array.NewData(c.dtype, n, []*memory.Buffer{bitmap, memory.NewBufferBytes(c.fixed)}, nil, nulls, 0)
}

func (c *column) buildKids(n int) []arrow.ArrayData {
	data := make([]arrow.ArrayData, len(c.kids))
	for i, kid := range c.kids {
		data[i] = kid.build(n)
	}
	return data
}

func (c *column) offsetBuffer() *memory.Buffer {
	return memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(c.offsets))
}

func (c *column) bitmap() (*memory.Buffer, int) {
	if !c.nulls {
		return nil, 0
	}
	c.packed = pack(c.packed, c.valid)
	nulls := 0
	for _, v := range c.valid {
		nulls += int(1 - v)
	}
	return memory.NewBufferBytes(c.packed), nulls
}

// pack makes a bitmap, least significant bit first, of bytes that are 0 or 1.
func pack(dst, values []byte) []byte {
	dst = dst[:0]
	for len(values) >= 8 {
		// Multiplying gathers the lowest bits of eight bytes in the highest byte.
		dst = append(dst, byte(binary.LittleEndian.Uint64(values)*0x0102040810204080>>56))
		values = values[8:]
	}
	if len(values) > 0 {
		var last byte
		for i, v := range values {
			last |= v << i
		}
		dst = append(dst, last)
	}
	return dst
}
