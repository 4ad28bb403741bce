package parquetleaf

import "encoding/binary"

// header is that of a page. Source: parquet.thrift, PageHeader.
type header struct {
	kind, raw, packed int
	entries, encoding int
	defs, reps        int // bytes of levels, in pages of the second version
	compressed        bool
}

// readHeader reads a header at the start of b, and returns its length.
func readHeader(b []byte) (h header, n int, err error) {
	t := &thriftReader{b: b}
	h = header{kind: -1, packed: -1, compressed: true}
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1:
			h.kind = t.int(typ)
		case id == 2:
			h.raw = t.int(typ)
		case id == 3:
			h.packed = t.int(typ)
		case (id == 5 || id == 7 || id == 8) && typ == thriftStruct:
			t.fields(func(field int16, typ byte) { t.page(&h, id, field, typ) })
		default:
			t.skip(typ)
		}
	})
	if t.bad {
		return h, 0, errShort
	}
	return h, len(b) - len(t.b), nil
}

// page reads a field of what a header says of its kind of page.
func (t *thriftReader) page(h *header, kind, field int16, typ byte) {
	switch {
	case field == 1:
		h.entries = t.int(typ)
	case field == 2 && kind != 8, field == 4 && kind == 8:
		h.encoding = t.int(typ)
	case field == 5 && kind == 8:
		h.defs = t.int(typ)
	case field == 6 && kind == 8:
		h.reps = t.int(typ)
	case field == 7 && kind == 8 && (typ == thriftTrue || typ == thriftFalse):
		h.compressed = typ == thriftTrue
	default:
		t.skip(typ)
	}
}

// The types of fields in Thrift's compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// thriftReader reads Thrift's compact protocol. After what is bad it reads zeros.
type thriftReader struct {
	b     []byte
	bad   bool
	depth int
}

func (t *thriftReader) byte() byte {
	if len(t.b) == 0 {
		t.bad = true
		return 0
	}
	v := t.b[0]
	t.b = t.b[1:]
	return v
}

func (t *thriftReader) uvarint() uint64 {
	v, n := binary.Uvarint(t.b)
	if n <= 0 {
		t.bad, t.b = true, nil
		return 0
	}
	t.b = t.b[n:]
	return v
}

// int reads a whole number.
func (t *thriftReader) int(typ byte) int {
	switch typ {
	case thriftI16, thriftI32, thriftI64:
		v := t.uvarint()
		return int(int64(v>>1) ^ -int64(v&1))
	}
	t.bad = true
	return 0
}

// fields calls f for each field of a struct, which reads it.
func (t *thriftReader) fields(f func(id int16, typ byte)) {
	if t.depth++; t.depth > 16 {
		t.bad = true
	}
	defer func() { t.depth-- }()
	for id := int16(0); !t.bad; {
		h := t.byte()
		if h == 0 {
			return
		}
		if d := h >> 4; d > 0 {
			id += int16(d)
		} else {
			v := t.uvarint()
			id = int16(int64(v>>1) ^ -int64(v&1))
		}
		f(id, h&0xF)
	}
}

func (t *thriftReader) skip(typ byte) {
	switch typ {
	case thriftTrue, thriftFalse:
	case thriftByte:
		t.byte()
	case thriftI16, thriftI32, thriftI64:
		t.uvarint()
	case thriftDouble:
		t.cut(8)
	case thriftBinary:
		t.cut(t.uvarint())
	case thriftStruct:
		t.fields(func(_ int16, typ byte) { t.skip(typ) })
	case thriftList, thriftSet:
		h := t.byte()
		n := uint64(h >> 4)
		if n == 15 {
			n = t.uvarint()
		}
		for ; n > 0 && !t.bad; n-- {
			if h&0xF <= thriftFalse {
				t.byte()
			} else {
				t.skip(h & 0xF)
			}
		}
	default:
		t.bad = true
	}
}

func (t *thriftReader) cut(n uint64) {
	if n > uint64(len(t.b)) {
		t.bad, t.b = true, nil
		return
	}
	t.b = t.b[n:]
}
