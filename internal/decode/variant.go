package decode

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/jsonscan"
)

// A VARIANT holds any JSON value in a binary form: the value, and beside it the names of all members.
//
// Source: Parquet, "Variant Binary Encoding"; which number becomes what is as in Spark's parse_json: an
// integer the narrowest that holds it, a number with a point a decimal of at most 38 digits, any other a
// double.

// The basic types, in the two low bits of the first byte, and the primitive types in those above.
const (
	variantPrimitive = 0
	variantShort     = 1
	variantObject    = 2
	variantArray     = 3

	variantNull      = 0
	variantTrue      = 1
	variantFalse     = 2
	variantInt8      = 3
	variantInt16     = 4
	variantInt32     = 5
	variantInt64     = 6
	variantDouble    = 7
	variantDecimal4  = 8
	variantDecimal8  = 9
	variantDecimal16 = 10
	variantString    = 16
)

// variants encodes one value after the other. Its buffers are used again.
type variants struct {
	value    []byte
	names    []string
	ids      map[string]int
	metadata []byte
	scratch  []byte
}

// variant reads any value as the next row of c. An object with a repeated key does not fit.
func (p *parser) variant(i int, c *column, depth int) int {
	end := p.Value(i, depth)
	if end < 0 {
		return corrupt
	}
	v := &p.variants
	v.value, v.names = v.value[:0], v.names[:0]
	if v.ids == nil {
		v.ids = map[string]int{}
	}
	clear(v.ids)
	if p.encode(v, i) < 0 {
		return misfit
	}
	for k, bytes := range [][]byte{v.value, v.dictionary()} {
		kid := c.kids[k]
		kid.fill(c.n)
		kid.data = append(kid.data, bytes...)
		kid.offsets = append(kid.offsets, int32(len(kid.data)))
		kid.appended()
	}
	c.appended()
	return end
}

// encode appends the value at i, which is known to be valid, and returns its end, or misfit.
func (p *parser) encode(v *variants, i int) int {
	switch p.Text[i] {
	case 'n':
		v.value = append(v.value, variantNull<<2)
		return i + len("null")
	case 't':
		v.value = append(v.value, variantTrue<<2)
		return i + len("true")
	case 'f':
		v.value = append(v.value, variantFalse<<2)
		return i + len("false")
	case '"':
		end, info := p.String(i)
		v.text(p.text8(v, i, end, info))
		return end
	case '{':
		return p.encodeObject(v, i)
	case '[':
		return p.encodeArray(v, i)
	}
	n, end := p.Number(i)
	v.number(n, p.Text[i:end])
	return end
}

// text8 is the text of a string.
func (p *parser) text8(v *variants, i, end int, info jsonscan.StringInfo) []byte {
	raw := p.Text[i+1 : end-1]
	if info&jsonscan.Escaped == 0 {
		return raw
	}
	v.scratch, _ = jsonscan.AppendUnescaped(v.scratch[:0], raw)
	return v.scratch
}

func (v *variants) text(text []byte) {
	if len(text) < 64 {
		v.value = append(v.value, byte(len(text)<<2|variantShort))
	} else {
		v.value = append(v.value, variantString<<2)
		v.value = binary.LittleEndian.AppendUint32(v.value, uint32(len(text)))
	}
	v.value = append(v.value, text...)
}

func (v *variants) number(n jsonscan.Num, text []byte) {
	b := binary.LittleEndian
	if whole, ok := n.Int64(); ok {
		switch {
		case whole == int64(int8(whole)):
			v.value = append(v.value, variantInt8<<2, byte(whole))
		case whole == int64(int16(whole)):
			v.value = b.AppendUint16(append(v.value, variantInt16<<2), uint16(whole))
		case whole == int64(int32(whole)):
			v.value = b.AppendUint32(append(v.value, variantInt32<<2), uint32(whole))
		default:
			v.value = b.AppendUint64(append(v.value, variantInt64<<2), uint64(whole))
		}
		return
	}
	scale := -n.Exp10
	exponent := slices.ContainsFunc(text, func(c byte) bool { return c|0x20 == 'e' })
	if n.Special || exponent || scale > 38 || n.Digits > 38 {
		v.value = b.AppendUint64(append(v.value, variantDouble<<2), math.Float64bits(n.Float64(text)))
		return
	}
	unscaled, _ := scaled(n, text, scale, false)
	switch precision := max(n.Digits, scale); {
	case precision <= 9:
		v.value = b.AppendUint32(append(v.value, variantDecimal4<<2, byte(scale)), uint32(unscaled.LowBits()))
	case precision <= 18:
		v.value = b.AppendUint64(append(v.value, variantDecimal8<<2, byte(scale)), unscaled.LowBits())
	default:
		v.value = b.AppendUint64(append(v.value, variantDecimal16<<2, byte(scale)), unscaled.LowBits())
		v.value = b.AppendUint64(v.value, uint64(unscaled.HighBits()))
	}
}

// member is one of an object: its name, and where its value starts behind the first.
type variantMember struct {
	id, start int
	name      string
}

func (p *parser) encodeObject(v *variants, i int) int {
	start := len(v.value)
	var members []variantMember
	for i = p.Blank(i + 1); p.Text[i] != '}'; {
		nameEnd, info, at := p.Name(i)
		id := v.id(p.text8(v, i, nameEnd, info))
		members = append(members, variantMember{id, len(v.value) - start, v.names[id]})
		if i = p.encode(v, at); i < 0 {
			return misfit
		}
		if i = p.Blank(i); p.Text[i] == ',' {
			i = p.Blank(i + 1)
		}
	}
	slices.SortFunc(members, func(a, b variantMember) int { return strings.Compare(a.name, b.name) })
	largest := 0
	for k, m := range members {
		if k > 0 && m.id == members[k-1].id {
			return misfit
		}
		largest = max(largest, m.id)
	}
	size := len(v.value) - start
	ids, offsets := width(largest), width(size)
	h := v.header(byte(offsets-1|(ids-1)<<2), len(members), 4, variantObject)
	for _, m := range members {
		h = appendWidth(h, m.id, ids)
	}
	for _, m := range members {
		h = appendWidth(h, m.start, offsets)
	}
	v.insert(start, appendWidth(h, size, offsets))
	return i + 1
}

func (p *parser) encodeArray(v *variants, i int) int {
	start := len(v.value)
	var starts []int
	for i = p.Blank(i + 1); p.Text[i] != ']'; {
		starts = append(starts, len(v.value)-start)
		if i = p.encode(v, i); i < 0 {
			return misfit
		}
		if i = p.Blank(i); p.Text[i] == ',' {
			i = p.Blank(i + 1)
		}
	}
	size := len(v.value) - start
	offsets := width(size)
	h := v.header(byte(offsets-1), len(starts), 2, variantArray)
	for _, s := range starts {
		h = appendWidth(h, s, offsets)
	}
	v.insert(start, appendWidth(h, size, offsets))
	return i + 1
}

// header begins what precedes the values of a container: the bit large says that the number of its
// parts takes four bytes.
func (v *variants) header(bits byte, n, large int, basic byte) []byte {
	h := v.scratch[:0]
	if n < 256 {
		return append(h, bits<<2|basic, byte(n))
	}
	h = append(h, (bits|1<<large)<<2|basic)
	return binary.LittleEndian.AppendUint32(h, uint32(n))
}

// insert puts a header before what was appended since start.
func (v *variants) insert(start int, header []byte) {
	v.scratch = header
	v.value = slices.Insert(v.value, start, header...)
}

// id is the number of a name, a new one if need be.
func (v *variants) id(name []byte) int {
	if id, ok := v.ids[string(name)]; ok {
		return id
	}
	v.ids[string(name)] = len(v.names)
	v.names = append(v.names, string(name))
	return len(v.names) - 1
}

// dictionary returns the names, in the order of their numbers.
func (v *variants) dictionary() []byte {
	total := 0
	for _, n := range v.names {
		total += len(n)
	}
	size := width(max(total, len(v.names)))
	m := append(v.metadata[:0], byte(1|(size-1)<<6)) // version 1, names not sorted
	m = appendWidth(m, len(v.names), size)
	total = 0
	for _, n := range v.names {
		m = appendWidth(m, total, size)
		total += len(n)
	}
	m = appendWidth(m, total, size)
	for _, n := range v.names {
		m = append(m, n...)
	}
	v.metadata = m
	return m
}

// width is the number of bytes that a number takes.
func width(n int) int {
	switch {
	case n < 1<<8:
		return 1
	case n < 1<<16:
		return 2
	case n < 1<<24:
		return 3
	}
	return 4
}

func appendWidth(dst []byte, n, width int) []byte {
	for range width {
		dst = append(dst, byte(n))
		n >>= 8
	}
	return dst
}
