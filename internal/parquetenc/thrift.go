package parquetenc

import "encoding/binary"

// The types of fields in Thrift's compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftBinary = 8
	thriftList   = 9
	thriftStruct = 12
)

// thrift appends structs in Thrift's compact protocol to b. Fields are written in the order of their
// ids; each begin has its end.
type thrift struct {
	b    []byte
	last []int16 // id of the last field, of each struct that is open
}

func (t *thrift) reset() { t.b, t.last = t.b[:0], append(t.last[:0], 0) }

func (t *thrift) field(id int16, typ byte) {
	last := &t.last[len(t.last)-1]
	if d := id - *last; d > 0 && d < 16 {
		t.b = append(t.b, byte(d)<<4|typ)
	} else {
		t.b = binary.AppendVarint(append(t.b, typ), int64(id))
	}
	*last = id
}

func (t *thrift) i16(id int16, v int16) {
	t.field(id, thriftI16)
	t.b = binary.AppendVarint(t.b, int64(v))
}

func (t *thrift) i32(id int16, v int) {
	t.field(id, thriftI32)
	t.b = binary.AppendVarint(t.b, int64(v))
}

func (t *thrift) i64(id int16, v int64) {
	t.field(id, thriftI64)
	t.b = binary.AppendVarint(t.b, v)
}

func (t *thrift) i8(id int16, v byte) {
	t.field(id, 3)
	t.b = append(t.b, v)
}

func (t *thrift) bool(id int16, v bool) {
	if v {
		t.field(id, thriftTrue)
	} else {
		t.field(id, thriftFalse)
	}
}

func (t *thrift) bytes(id int16, v []byte) {
	t.field(id, thriftBinary)
	t.b = append(binary.AppendUvarint(t.b, uint64(len(v))), v...)
}

func (t *thrift) string(id int16, v string) {
	t.field(id, thriftBinary)
	t.element(v)
}

// element appends a string in a list.
func (t *thrift) element(v string) {
	t.b = append(binary.AppendUvarint(t.b, uint64(len(v))), v...)
}

func (t *thrift) list(id int16, typ byte, n int) {
	t.field(id, thriftList)
	if n < 15 {
		t.b = append(t.b, byte(n)<<4|typ)
	} else {
		t.b = binary.AppendUvarint(append(t.b, 0xF0|typ), uint64(n))
	}
}

// begin opens a struct that is a field; open one that is an element of a list.
func (t *thrift) begin(id int16) {
	t.field(id, thriftStruct)
	t.open()
}

func (t *thrift) open() { t.last = append(t.last, 0) }

func (t *thrift) end() {
	t.b = append(t.b, 0)
	t.last = t.last[:len(t.last)-1]
}

// empty writes a field that is a struct without fields.
func (t *thrift) empty(id int16) {
	t.begin(id)
	t.end()
}
