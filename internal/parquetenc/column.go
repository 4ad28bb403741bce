package parquetenc

import (
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/siltlake/silt/internal/parquetleaf"
)

// column writes the chunks of a leaf, one after the other. Values go through a dictionary as long as
// that pays; what is there of the open page is then their indices.
type column struct {
	node           *node
	path           []string
	physical       physical
	width          int // bytes of a value, 0 when they differ
	maxDef, maxRep int

	// The open page.
	entries int
	defs    []byte // empty while nothing is null
	reps    []byte
	indices []uint32
	plain   []byte
	bits    int // booleans in plain

	// The chunk.
	byDict bool // values go into the dictionary
	nums   numbers
	texts  texts
	total  int64 // entries
	values int64 // of them not null
	body   blob
	pages  []page
	stored bool // pages do not get smaller, and are not compressed
	large  int  // pages without the dictionary on which it pays to find out how to compress them
	framed bool // by frames of what find finds
	find   finder
	bounds bounds
	remaps map[*parquetleaf.Leaf][]uint32 // from the places in other dictionaries to those in this one, plus one
	copied *Chunk                         // nil: the chunk is made here
	one    [1]uint64                      // for a single number, and its index
	found  [1]uint32
}

// largePage is the size from which on the buffers for a page are not kept for the next one: an unusually
// long value was in it.
const largePage = 8 << 20

// manyValues is the number of values, all in one list, of which no dictionary is made.
const manyValues = 1 << 20

// page is a finished data page in the body of its chunk.
type page struct {
	entries     int
	raw, packed int // bytes, before and after compression
	dict        bool
}

func newColumn(n *node, maxDef, maxRep int) *column {
	c := &column{node: n, maxDef: maxDef, maxRep: maxRep}
	c.physical, c.width = physicalType(n.typ)
	c.reset()
	return c
}

// reset begins a chunk.
func (c *column) reset() {
	c.pages, c.total, c.values, c.stored, c.large, c.framed = c.pages[:0], 0, 0, false, 0, false
	c.bounds.reset()
	clear(c.remaps)
	c.copied = nil
	if c.byDict = c.physical != typeBoolean; c.byDict {
		if c.isNumber() {
			c.nums.reset()
		} else {
			c.texts.reset()
		}
	}
}

func (c *column) isNumber() bool {
	return c.physical == typeInt32 || c.physical == typeInt64 || c.physical == typeFloat || c.physical == typeDouble
}

// distinct and dictBytes are the size of the dictionary.
func (c *column) distinct() int { return len(c.nums.vals) + len(c.texts.ends) }

func (c *column) dictBytes() int {
	return len(c.nums.vals)*c.width + len(c.texts.data) + 4*len(c.texts.ends)
}

// append adds the values of an array in a scope; p are the marks of their positions.
func (c *column) append(w *Writer, a arrow.Array, s *scope, p []byte) {
	if c.byDict && s.npos > 0 && a.Data().Buffers()[1] != nil &&
		(s.npos > manyValues || c.physical == typeByteArray && hasLong(a, s, w.limits.dict)) {
		c.leaveDict(w) // before it holds values so long or so many
	}
	c.levels(s, p)
	before := c.values
	if s.npos > 0 && a.Data().Buffers()[1] != nil { // nil: all are null
		switch {
		case c.physical == typeBoolean:
			c.addBooleans(a, s, p)
		case c.isNumber():
			c.addNumbers(w.numbersOf(a, s, p))
		case c.physical == typeFixed:
			c.addDecimals(a, s, p)
		default:
			c.addTexts(a, s, p)
		}
	}
	c.total += int64(s.n)
	c.settle(w, before)
}

// settle leaves the dictionary when it does not pay, and the page when it is full, after values were added
// to those there were before.
func (c *column) settle(w *Writer, before int64) {
	if c.byDict && c.values != before {
		if c.dictBytes() > w.limits.dict || c.values >= 1000 && !c.repeats() && !c.willRepeat() {
			c.leaveDict(w)
		}
	}
	if c.entries >= w.limits.entries || len(c.plain) >= w.limits.page {
		c.flush(w)
	}
}

// repeats reports whether a quarter of the values were there before.
func (c *column) repeats() bool { return int64(c.distinct())*4 <= c.values*3 }

// willRepeat reports whether values are of so few that a dictionary will pay once there are more of them.
// Of n values that are drawn at random from m, about n²/2m were drawn before.
func (c *column) willRepeat() bool {
	const few = 8192
	n := c.values
	return n < 4*few && n*n <= 2*few*(n-int64(c.distinct()))
}

// numbersOf returns the bits of the values that are there.
func (w *Writer) numbersOf(a arrow.Array, s *scope, p []byte) []uint64 {
	from := a.Data().Offset() + s.base
	to := from + s.npos
	raw := a.Data().Buffers()[1].Bytes()
	if id := a.DataType().ID(); p == nil && (id == arrow.INT64 || id == arrow.FLOAT64 || id == arrow.TIMESTAMP) {
		return arrow.Uint64Traits.CastFromBytes(raw)[from:to]
	}
	if cap(w.numbers) < s.npos {
		w.numbers = make([]uint64, s.npos+min(s.npos, pieceBytes))
	}
	out := w.numbers[:s.npos]
	switch a.DataType().ID() {
	case arrow.INT8:
		return compact(out, arrow.Int8Traits.CastFromBytes(raw)[from:to], p, func(v int8) uint64 { return uint64(uint32(v)) })
	case arrow.INT16:
		return compact(out, arrow.Int16Traits.CastFromBytes(raw)[from:to], p, func(v int16) uint64 { return uint64(uint32(v)) })
	case arrow.INT32, arrow.DATE32, arrow.FLOAT32:
		return compact(out, arrow.Uint32Traits.CastFromBytes(raw)[from:to], p, func(v uint32) uint64 { return uint64(v) })
	case arrow.DECIMAL128:
		if a.DataType().(*arrow.Decimal128Type).Precision <= 9 {
			return compact(out, arrow.Decimal128Traits.CastFromBytes(raw)[from:to], p, func(v decimal128.Num) uint64 { return uint64(uint32(v.LowBits())) })
		}
		return compact(out, arrow.Decimal128Traits.CastFromBytes(raw)[from:to], p, func(v decimal128.Num) uint64 { return v.LowBits() })
	}
	return compact(out, arrow.Uint64Traits.CastFromBytes(raw)[from:to], p, func(v uint64) uint64 { return v })
}

// compact writes the values whose marks are alive to out, which has room for all.
func compact[T any](out []uint64, src []T, p []byte, as func(T) uint64) []uint64 {
	if p == nil {
		for i, v := range src {
			out[i] = as(v)
		}
		return out
	}
	n := 0
	for i, v := range src {
		out[n] = as(v)
		if p[i] == alive {
			n++
		}
	}
	return out[:n]
}

func (c *column) addNumbers(vals []uint64) {
	c.values += int64(len(vals))
	if c.byDict {
		c.indices = c.nums.add(c.indices, vals)
		return
	}
	c.bounds.numbers(c.physical, vals)
	c.plain = c.appendNumbers(c.plain, vals)
}

func (c *column) appendNumbers(b []byte, vals []uint64) []byte {
	at := len(b)
	b = grow(b, at+len(vals)*c.width)
	if c.width == 4 {
		for i, v := range vals {
			binary.LittleEndian.PutUint32(b[at+4*i:], uint32(v))
		}
		return b
	}
	for i, v := range vals {
		binary.LittleEndian.PutUint64(b[at+8*i:], v)
	}
	return b
}

func (c *column) addBooleans(a arrow.Array, s *scope, p []byte) {
	raw, at := a.Data().Buffers()[1].Bytes(), a.Data().Offset()+s.base
	trues, n := 0, 0
	for i := range s.npos {
		if p != nil && p[i] != alive {
			continue
		}
		if c.bits%8 == 0 {
			c.plain = append(c.plain, 0)
		}
		bit := raw[(at+i)/8] >> ((at + i) % 8) & 1
		c.plain[len(c.plain)-1] |= bit << (c.bits % 8)
		c.bits++
		n++
		trues += int(bit)
	}
	c.values += int64(n)
	c.bounds.booleans(n-trues, trues)
}

func (c *column) addTexts(a arrow.Array, s *scope, p []byte) {
	from := a.Data().Offset() + s.base
	buffers := a.Data().Buffers()
	offsets := arrow.Int32Traits.CastFromBytes(buffers[1].Bytes())[from : from+s.npos+1]
	var data []byte
	if buffers[2] != nil {
		data = buffers[2].Bytes()
	}
	switch size := int(offsets[s.npos] - offsets[0]); {
	case c.byDict:
		c.findTexts(data, offsets, p)
	case size <= pieceBytes:
		c.plainTexts(data, offsets, p)
	default:
		for i := range s.npos {
			if p == nil || p[i] == alive {
				c.addText(data[offsets[i]:offsets[i+1]])
			}
		}
	}
}

// findTexts adds the texts between the offsets to the dictionary, and their indices to the page.
func (c *column) findTexts(data []byte, offsets []int32, p []byte) {
	n := len(c.indices)
	out := grow(c.indices, n+len(offsets)-1)
	for i := range len(offsets) - 1 {
		if p == nil || p[i] == alive {
			out[n] = c.texts.find(data[offsets[i]:offsets[i+1]])
			n++
		}
	}
	c.values += int64(n - len(c.indices))
	c.indices = out[:n]
}

// plainTexts adds the texts between the offsets to the page.
func (c *column) plainTexts(data []byte, offsets []int32, p []byte) {
	at := len(c.plain)
	b := grow(c.plain, at+4*(len(offsets)-1)+int(offsets[len(offsets)-1]-offsets[0]))
	for i := range len(offsets) - 1 {
		if p == nil || p[i] == alive {
			v := data[offsets[i]:offsets[i+1]]
			c.bounds.text(c.physical, v)
			binary.LittleEndian.PutUint32(b[at:], uint32(len(v)))
			at += 4 + copy(b[at+4:], v)
			c.values++
		}
	}
	c.plain = b[:at]
}

// hasLong reports whether there is a value that is longer than n bytes.
func hasLong(a arrow.Array, s *scope, n int) bool {
	from := a.Data().Offset() + s.base
	offsets := arrow.Int32Traits.CastFromBytes(a.Data().Buffers()[1].Bytes())[from : from+s.npos+1]
	if int(offsets[s.npos]-offsets[0]) <= n {
		return false
	}
	for i := range s.npos {
		if int(offsets[i+1]-offsets[i]) > n {
			return true
		}
	}
	return false
}

func (c *column) addText(v []byte) {
	c.values++
	if c.byDict {
		c.indices = append(c.indices, c.texts.find(v))
		return
	}
	c.bounds.text(c.physical, v)
	c.plain = c.appendText(c.plain, v)
}

func (c *column) appendText(b, v []byte) []byte {
	if c.width == 0 {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
	}
	return append(b, v...)
}

func (c *column) addDecimals(a arrow.Array, s *scope, p []byte) {
	from := a.Data().Offset() + s.base
	vals := arrow.Decimal128Traits.CastFromBytes(a.Data().Buffers()[1].Bytes())[from : from+s.npos]
	var b [16]byte
	for i, v := range vals {
		if p == nil || p[i] == alive {
			binary.BigEndian.PutUint64(b[:], uint64(v.HighBits()))
			binary.BigEndian.PutUint64(b[8:], v.LowBits())
			c.addText(b[16-c.width:])
		}
	}
}

// dictBounds takes the dictionary into the bounds.
func (c *column) dictBounds() {
	c.bounds.numbers(c.physical, c.nums.vals)
	for i := range c.texts.ends {
		c.bounds.text(c.physical, c.texts.at(uint32(i)))
	}
}

// leaveDict goes on without the dictionary. If no page has been written by it, it was not there.
func (c *column) leaveDict(w *Writer) {
	if len(c.pages) > 0 {
		if c.entries > 0 {
			c.flush(w)
		}
		c.unstore(w)
		c.byDict = false
		return
	}
	c.byDict = false
	c.dictBounds()
	for _, i := range c.indices {
		if c.isNumber() {
			c.plain = c.appendNumbers(c.plain, c.nums.vals[i:i+1])
		} else {
			c.plain = c.appendText(c.plain, c.texts.at(i))
		}
	}
	c.indices = c.indices[:0]
	c.nums.vals = c.nums.vals[:0]
	c.texts.ends, c.texts.data = c.texts.ends[:0], c.texts.data[:0]
}

// appendDict appends the dictionary as it stands in its page.
func (c *column) appendDict(b []byte) []byte {
	b = c.appendNumbers(b, c.nums.vals)
	for i := range c.texts.ends {
		b = c.appendText(b, c.texts.at(uint32(i)))
	}
	return b
}

// flush finishes the open page.
func (c *column) flush(w *Writer) {
	if c.byDict && len(c.pages) == 0 && !c.repeats() {
		c.leaveDict(w)
	}
	b := w.page[:0]
	isLarge := len(c.plain) > largePage
	if isLarge {
		b = make([]byte, 0, len(c.plain)+len(c.defs)+len(c.reps)+64)
	}
	if c.maxRep > 0 {
		b = appendLevels(b, c.reps, bits.Len(uint(c.maxRep)))
	}
	if c.maxDef > 0 {
		if len(c.defs) == 0 {
			b = appendLevelRun(b, byte(c.maxDef), c.entries)
		} else {
			b = appendLevels(b, c.defs, bits.Len(uint(c.maxDef)))
		}
	}
	dict := c.byDict && c.distinct() > 0 // a page of nulls needs none
	if dict {
		width := max(1, bits.Len(uint(c.distinct()-1)))
		b = appendIndices(append(b, byte(width)), c.indices, width)
	} else {
		b = append(b, c.plain...)
	}
	if isLarge {
		c.plain = nil
	} else {
		w.page = b
	}
	p := page{entries: c.entries, raw: len(b), dict: dict}
	if !c.stored {
		if isLarge {
			w.packed = make([]byte, 0, len(b)+len(b)/128) // or it grows, and is there twice for a while
		}
		packed := c.compress(w, b, dict)
		if c.stored = len(c.pages) == 0 && len(packed)*20 > len(b)*19; !c.stored {
			b = packed
		}
	}
	p.packed = len(b)
	if isLarge && len(b) > cap(b)/2 {
		c.body.keep(b)
	} else {
		c.body.append(w, b)
	}
	c.pages = append(c.pages, p)
	w.held += int64(p.packed)
	c.entries, c.bits = 0, 0
	c.defs, c.reps, c.indices, c.plain = c.defs[:0], c.reps[:0], c.indices[:0], c.plain[:0]
	if isLarge {
		c.defs, c.reps, c.indices = nil, nil, nil
		w.packed, w.numbers = nil, nil
	}
}

// compress compresses a page.
func (c *column) compress(w *Writer, b []byte, dict bool) []byte {
	if dict || w.codec != Zstd {
		return w.compress(b)
	}
	width := c.pageWidth()
	if len(b) >= enough {
		if c.large%alike == 0 {
			c.choose(w, b, width)
		}
		c.large++
	}
	if c.framed && (width > 0 || c.find == nothing) {
		return w.compressBy(b, c.find, width)
	}
	return w.compress(b)
}

// alike is for how many large pages one of them tells how they are compressed.
const alike = 8

// choose finds out whether frames suit a page.
func (c *column) choose(w *Writer, b []byte, width int) {
	finders := []finder{nothing, above}
	switch {
	case width == 0:
		finders = finders[:1]
	case c.physical == typeDouble:
		finders[1] = decimals
	}
	c.find, c.framed = w.suits(b, width, finders...)
}

// pageWidth is how many bytes each value takes in the open page, 0 when they differ. Of texts it looks at some.
func (c *column) pageWidth() int {
	if c.physical != typeByteArray || len(c.plain) < 4 {
		return c.width
	}
	length := binary.LittleEndian.Uint32(c.plain)
	width := int64(length) + 4
	n := int64(len(c.plain)) / width
	if n*width != int64(len(c.plain)) {
		return 0
	}
	for i := range int64(16) {
		if binary.LittleEndian.Uint32(c.plain[n*i/16*width:]) != length {
			return 0
		}
	}
	return int(width)
}

// unstore compresses the pages that were stored as they are: another part of the chunk gains from
// compression, and a chunk has one codec.
func (c *column) unstore(w *Writer) {
	if !c.stored || w.codec == Uncompressed {
		return
	}
	c.stored = false
	old := c.body
	c.body = blob{}
	r := old.reader()
	for i := range c.pages {
		p := &c.pages[i]
		w.page = r.read(w.page[:0], p.packed)
		packed := w.compress(w.page)
		c.body.append(w, packed)
		w.held += int64(len(packed) - p.packed)
		p.packed = len(packed)
	}
	old.free(w)
}

// size is about how many bytes the chunk has, as far as it is there.
func (c *column) size() int64 {
	n := len(c.plain) + len(c.defs)/8 + len(c.reps)/8
	if c.byDict {
		n += len(c.indices)*bits.Len(uint(c.distinct()))/8 + c.dictBytes()
	}
	return c.body.size() + int64(n)
}
