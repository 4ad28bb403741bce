package parquetenc

import (
	"encoding/binary"
	"errors"

	"github.com/siltlake/silt/internal/parquetleaf"
)

// How a row group is made of those of other files: column by column, of their chunks as they are, or of
// rows of their leaves. The columns are given by turns, in any order, and then the group is ended.

// Columns are the leaf columns of the file, in order, and their paths.
func (w *Writer) Columns() (columns []parquetleaf.Column, paths [][]string) {
	for _, c := range w.columns {
		columns = append(columns, parquetleaf.Column{Physical: parquetleaf.Physical(c.physical), Width: c.width, MaxDef: c.maxDef, MaxRep: c.maxRep})
		paths = append(paths, c.path)
	}
	return columns, paths
}

// Tell calls f with the statistics of each chunk as its row group ends.
func (w *Writer) Tell(f func(column int, s ChunkStats)) { w.tell = f }

// ChunkStats are the statistics of a chunk.
type ChunkStats struct {
	Nulls int64 // entries without a value
	// Min and Max are bounds as they stand in a file, both nil when there is no value in bounds. Of byte
	// strings that are longer than [LongestBound] there is only the beginning.
	Min, Max []byte
	NaN      bool // some values are NaN, which is in no bounds; of a chunk made here
}

// LongestBound is the length in bytes of the longest byte string that is in statistics as a whole.
const LongestBound = longestBound

func (c *column) stats() ChunkStats {
	if c.copied != nil {
		return c.copied.Stats
	}
	s := ChunkStats{Nulls: c.total - c.values, NaN: c.bounds.nan}
	switch {
	case !c.bounds.any:
	case c.physical == typeByteArray || c.physical == typeFixed:
		s.Min, s.Max = append([]byte{}, c.bounds.min...), append([]byte{}, c.bounds.max...)
	default:
		s.Min, s.Max = bound(c.physical, c.bounds.lo, true), bound(c.physical, c.bounds.hi, false)
	}
	return s
}

// Chunk is a chunk of another file, which has the column as this one has it.
type Chunk struct {
	// Bytes are its pages, that of its dictionary first.
	Bytes []byte
	// Dict says that there is a dictionary page, and Data is where the data pages begin in Bytes.
	Dict bool
	Data int64
	// Codec and Encodings are as they are numbered in Parquet.
	Codec     int
	Encodings []int
	// Entries is the number of values and of places without one; Raw is the size before compression.
	Entries, Raw int64
	Stats        ChunkStats
}

// CopyChunk makes a chunk that of a column in the open row group. It keeps the bytes until the group ends.
func (w *Writer) CopyChunk(column int, k *Chunk) { w.columns[column].copied = k }

// AppendLeaf appends the rows from..to of a leaf to a column of the open row group.
func (w *Writer) AppendLeaf(column int, l *parquetleaf.Leaf, from, to int) {
	c := w.columns[column]
	step := max(1, l.Rows()*pieceRows/max(1, l.Entries, len(l.Data)/32))
	for ; from < to; from += step {
		c.appendLeaf(w, l, from, min(to, from+step))
	}
}

func (c *column) appendLeaf(w *Writer, l *parquetleaf.Leaf, from, to int) {
	entry, entryEnd, value, valueEnd := l.Span(from, to)
	if c.byDict && (valueEnd-value > manyValues || len(l.Data) > w.limits.dict && hasLongText(l, value, valueEnd, w.limits.dict)) {
		c.leaveDict(w)
	}
	if c.maxRep > 0 {
		c.reps = append(c.reps, l.Reps[entry:entryEnd]...)
	}
	switch {
	case l.Defs != nil:
		if len(c.defs) == 0 {
			c.defs = grow(c.defs, c.entries)
			fill(c.defs, byte(c.maxDef))
		}
		c.defs = append(c.defs, l.Defs[entry:entryEnd]...)
	case len(c.defs) > 0:
		c.defs = grow(c.defs, c.entries+entryEnd-entry)
		fill(c.defs[c.entries:], byte(c.maxDef))
	}
	c.entries += entryEnd - entry
	c.total += int64(entryEnd - entry)
	before := c.values
	switch {
	case value == valueEnd:
	case c.physical == typeBoolean:
		c.leafBooleans(l, value, valueEnd)
	case c.byDict && l.Indices != nil:
		c.mapIndices(l, l.Indices[value:valueEnd])
	case c.isNumber():
		c.addNumbers(w.leafNumbers(l, value, valueEnd))
	default:
		for i := value; i < valueEnd; i++ {
			c.addText(l.Text(i))
		}
	}
	c.settle(w, before)
}

func hasLongText(l *parquetleaf.Leaf, from, to, n int) bool {
	for i := from; i < to; i++ {
		if len(l.Text(i)) > n {
			return true
		}
	}
	return false
}

// leafNumbers are values of a leaf as they follow each other.
func (w *Writer) leafNumbers(l *parquetleaf.Leaf, from, to int) []uint64 {
	if l.Indices == nil {
		return l.Numbers[from:to]
	}
	if cap(w.numbers) < to-from {
		w.numbers = make([]uint64, to-from+pieceRows)
	}
	out := w.numbers[:to-from]
	for i, at := range l.Indices[from:to] {
		out[i] = l.Numbers[at]
	}
	return out
}

func (c *column) leafBooleans(l *parquetleaf.Leaf, from, to int) {
	trues := 0
	for _, v := range l.Numbers[from:to] {
		if c.bits%8 == 0 {
			c.plain = append(c.plain, 0)
		}
		c.plain[len(c.plain)-1] |= byte(v&1) << (c.bits % 8)
		c.bits++
		trues += int(v & 1)
	}
	c.values += int64(to - from)
	c.bounds.booleans(to-from-trues, trues)
}

// mapIndices appends values that are given by their places in the dictionary of a leaf.
func (c *column) mapIndices(l *parquetleaf.Leaf, indices []uint32) {
	remap := c.remaps[l]
	if remap == nil {
		if c.remaps == nil {
			c.remaps = map[*parquetleaf.Leaf][]uint32{}
		}
		remap = make([]uint32, len(l.Numbers)+len(l.Ends))
		c.remaps[l] = remap
	}
	at := len(c.indices)
	c.indices = grow(c.indices, at+len(indices))
	out := c.indices[at:]
	for i, from := range indices {
		to := remap[from]
		if to == 0 {
			if c.isNumber() {
				c.one[0] = l.Numbers[from]
				to = c.nums.add(c.found[:0], c.one[:])[0] + 1
			} else {
				to = c.texts.find(l.Entry(int(from))) + 1
			}
			remap[from] = to
		}
		out[i] = to - 1
	}
	c.values += int64(len(indices))
}

// EndRows ends a row group of so many rows.
func (w *Writer) EndRows(rows int64) error {
	if w.err != nil {
		return w.err
	}
	for _, c := range w.columns {
		if c.copied == nil && c.total == 0 || c.maxRep == 0 && c.copied == nil && c.total != rows {
			w.err = errors.New("the columns of a row group differ in their rows")
			return w.err
		}
	}
	w.rows += rows
	w.groupRows = rows
	w.err = w.endGroup()
	return w.err
}

// copyChunk writes a chunk as it was.
func (w *Writer) copyChunk(c *column, k *chunk) {
	from := c.copied
	*k = chunk{data: w.pos + from.Data, raw: from.Raw, packed: int64(len(from.Bytes))}
	if from.Dict {
		k.dict = w.pos
	}
	w.write(from.Bytes)
}

// meta writes what the footer says of the chunk.
func (k *Chunk) meta(t *thrift, c *column, at *chunk) {
	t.open()
	t.i64(2, 0)
	t.begin(3)
	t.i32(1, int(c.physical))
	t.list(2, thriftI32, len(k.Encodings))
	for _, e := range k.Encodings {
		t.b = binary.AppendVarint(t.b, int64(e))
	}
	t.list(3, thriftBinary, len(c.path))
	for _, name := range c.path {
		t.element(name)
	}
	t.i32(4, k.Codec)
	t.i64(5, k.Entries)
	t.i64(6, k.Raw)
	t.i64(7, at.packed)
	t.i64(9, at.data)
	if at.dict > 0 {
		t.i64(11, at.dict)
	}
	t.begin(12)
	t.i64(3, k.Stats.Nulls)
	if hi := k.Stats.Max; hi != nil && len(hi) <= longestBound {
		t.bytes(5, hi)
	}
	if lo := k.Stats.Min; lo != nil && len(lo) <= longestBound {
		t.bytes(6, lo)
	}
	t.end()
	t.end()
	t.end()
}
