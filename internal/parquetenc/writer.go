// Package parquetenc writes Parquet files from Arrow records, with far less processor time than a
// general writer: levels come from Arrow's offsets and bitmaps, values go through a dictionary that grows
// as they come, and nothing is allocated for a record once the buffers have their size.
//
// A [Writer] writes one file: pages of the first version, compressed as they are full and kept until
// their row group ends. It knows the types of silt's tables and no others.
//
// Source: https://github.com/apache/parquet-format.
package parquetenc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
)

// Options say how a file is written. The zero value is the default.
type Options struct {
	Codec Codec
	// CreatedBy names the writer in the footer.
	CreatedBy string
	// RowGroupBytes is the size of compressed pages at which a row group ends; 0 is 16 MiB. They are
	// held in memory until then.
	RowGroupBytes int64
}

const (
	defaultRowGroupBytes = 16 << 20
	rowGroupRows         = 1 << 20
)

// limits bound what the writer keeps for one column, in such a way that many columns need no more
// memory than a few.
type limits struct {
	entries int // of a page
	page    int // bytes of values of a page
	dict    int // bytes of a dictionary
	block   int // bytes of a block of finished pages
}

func limitsFor(columns int) limits {
	share := func(n, least int) int { return max(least, n*32/max(32, columns)) }
	return limits{entries: share(64<<10, 1<<10), page: share(256<<10, 16<<10), dict: share(1<<20, 16<<10), block: share(64<<10, 4<<10)}
}

// Writer writes a file. It belongs to one goroutine.
type Writer struct {
	out     *bufio.Writer
	pos     int64 // in the file
	schema  *arrow.Schema
	last    *arrow.Schema // of the last record
	opts    Options
	codec   Codec
	fields  []*node
	columns []*column
	limits  limits
	packer

	rows, groupRows int64
	held            int64  // bytes of finished pages
	footer          thrift // row groups
	groups          int
	chunks          []chunk // of the row group that is written out

	t       thrift // for page headers
	page    []byte // the page that is being made
	numbers []uint64
	scratch []byte // levels and marks of the rows at hand
	used    int
	free    [][]byte
	tell    func(column int, s ChunkStats)
	err     error
}

// Info says what a finished file is like.
type Info struct {
	Bytes, Rows int64
	RowGroups   int
}

// NewWriter returns a writer of a file with the given columns to w. It fails for types that it cannot
// write. Field ids stand in the metadata of fields, as Arrow's Parquet code has them.
func NewWriter(w io.Writer, schema *arrow.Schema, o Options) (*Writer, error) {
	if o.RowGroupBytes <= 0 {
		o.RowGroupBytes = defaultRowGroupBytes
	}
	f := &Writer{out: bufio.NewWriterSize(w, 64<<10), schema: schema, last: schema, opts: o, codec: o.Codec}
	if schema.NumFields() == 0 {
		return nil, errors.New("the schema has no columns")
	}
	for _, field := range schema.Fields() {
		n, err := newNode(field.Name, field, 0, 0)
		if err != nil {
			return nil, err
		}
		f.fields = append(f.fields, n)
		f.columns = n.leaves(f.columns, nil)
	}
	f.limits = limitsFor(len(f.columns))
	f.chunks = make([]chunk, len(f.columns))
	if err := f.packer.open(o.Codec); err != nil {
		return nil, err
	}
	f.footer.reset()
	f.write([]byte(magic))
	return f, f.err
}

const magic = "PAR1"

// leaves appends the leaves below the node, and sets their paths in the file.
func (n *node) leaves(columns []*column, above []string) []*column {
	path := append(above[:len(above):len(above)], n.name)
	switch n.kind {
	case kindLeaf:
		n.leaf.path = path
		return append(columns, n.leaf)
	case kindList:
		path = append(path, "list")
	case kindMap:
		path = append(path, "key_value")
	}
	for _, k := range n.kids {
		columns = k.leaves(columns, path)
	}
	return columns
}

// pieceBytes and pieceRows bound what is encoded at a time, so that it stays in the processor's cache.
const (
	pieceBytes = 1 << 20
	pieceRows  = 4 << 10
)

// Write adds the rows of a record, whose columns are those of the schema, in order. It does not keep
// rec. After an error the file is of no use.
func (w *Writer) Write(rec arrow.RecordBatch) error {
	if w.err != nil {
		return w.err
	}
	if s := rec.Schema(); s != w.last {
		if err := w.check(s); err != nil {
			return err
		}
		w.last = s
	}
	var size int64
	rows := int(rec.NumRows())
	for i, n := range w.fields {
		size += n.bytes(rec.Column(i), 0, rows)
	}
	step := int(min(pieceRows, max(1, int64(rows)*pieceBytes/max(1, size))))
	for from := 0; from < rows && w.err == nil; from += step {
		w.err = w.encode(rec, from, min(rows, from+step))
	}
	return w.err
}

// check refuses records of another schema. Names and what else stands beside the types do not count.
func (w *Writer) check(s *arrow.Schema) error {
	if s.NumFields() != len(w.fields) {
		return fmt.Errorf("the record has %d columns, want %d", s.NumFields(), len(w.fields))
	}
	for i, f := range s.Fields() {
		if !w.fields[i].accepts(f.Type) {
			return fmt.Errorf("column %s: the record has %s, want %s", w.fields[i].path, f.Type, w.fields[i].typ)
		}
	}
	return nil
}

func (n *node) accepts(t arrow.DataType) bool {
	if t.ID() != n.typ.ID() {
		return false
	}
	switch t := t.(type) {
	case *arrow.StructType:
		if t.NumFields() != len(n.kids) {
			return false
		}
		for i, k := range n.kids {
			if !k.accepts(t.Field(i).Type) {
				return false
			}
		}
		return true
	case *arrow.MapType:
		return n.kids[0].accepts(t.KeyType()) && n.kids[1].accepts(t.ItemType())
	case *arrow.ListType:
		return n.kids[0].accepts(t.Elem())
	}
	return arrow.TypeEqual(t, n.typ)
}

func (w *Writer) encode(rec arrow.RecordBatch, from, to int) error {
	w.used = 0
	for i, n := range w.fields {
		s := scope{n: to - from, base: from, npos: to - from}
		if err := w.walk(n, rec.Column(i), &s, nil); err != nil {
			return err
		}
	}
	if len(w.scratch) > largePage {
		w.scratch = nil
	}
	w.rows += int64(to - from)
	w.groupRows += int64(to - from)
	if w.held >= w.opts.RowGroupBytes || w.groupRows >= rowGroupRows {
		return w.endGroup()
	}
	return nil
}

// bytes returns n bytes to write to, which are valid until the next rows.
func (w *Writer) bytes(n int) []byte {
	if w.used+n > len(w.scratch) {
		w.scratch, w.used = make([]byte, 2*len(w.scratch)+n), 0 // the old one is still in use
	}
	b := w.scratch[w.used : w.used+n : w.used+n]
	w.used += n
	return b
}

func (w *Writer) block() []byte {
	if n := len(w.free); n > 0 {
		b := w.free[n-1]
		w.free = w.free[:n-1]
		return b
	}
	return make([]byte, 0, w.limits.block)
}

// Size is about how many bytes the file would have if it ended now.
func (w *Writer) Size() int64 {
	n := w.pos
	for _, c := range w.columns {
		n += c.size()
	}
	return n
}

func (w *Writer) write(p []byte) {
	if w.err == nil {
		_, w.err = w.out.Write(p)
	}
	w.pos += int64(len(p))
}

// Close ends the file. It does not close what the file is written to.
func (w *Writer) Close() (Info, error) {
	if w.err == nil && w.groupRows > 0 {
		w.err = w.endGroup()
	}
	if w.err != nil {
		return Info{}, w.err
	}
	w.writeFooter()
	if w.err == nil {
		w.err = w.out.Flush()
	}
	if w.err != nil {
		return Info{}, w.err
	}
	w.err = errors.New("the file is closed")
	w.packer.close()
	return Info{Bytes: w.pos, Rows: w.rows, RowGroups: w.groups}, nil
}

// Encodings, as they are numbered in Parquet.
const (
	encodingPlain = 0
	encodingRLE   = 3
	encodingDict  = 8
)

// chunk is what the footer says of the chunk of a column.
type chunk struct {
	dict, data   int64 // offsets; dict 0 is none
	raw, packed  int64 // bytes, with headers
	dictP, plain int   // data pages by encoding
	codec        Codec
}

// endGroup writes out a row group.
func (w *Writer) endGroup() error {
	if w.groups > math.MaxInt16 {
		return errors.New("the file has too many row groups")
	}
	start := w.pos
	var raw, packed int64
	for i, c := range w.columns {
		if c.copied != nil {
			w.copyChunk(c, &w.chunks[i])
		} else if err := w.endChunk(c, &w.chunks[i]); err != nil {
			return err
		}
		if w.tell != nil {
			w.tell(i, c.stats())
		}
		raw += w.chunks[i].raw
		packed += w.chunks[i].packed
	}
	t := &w.footer
	t.open()
	t.list(1, thriftStruct, len(w.columns))
	for i, c := range w.columns {
		if c.copied != nil {
			c.copied.meta(t, c, &w.chunks[i])
		} else {
			c.meta(t, &w.chunks[i])
		}
		c.reset()
	}
	t.i64(2, raw)
	t.i64(3, w.groupRows)
	t.i64(5, start)
	t.i64(6, packed)
	t.i16(7, int16(w.groups))
	t.end()
	w.groups++
	w.groupRows, w.held = 0, 0
	return w.err
}

func (w *Writer) endChunk(c *column, k *chunk) error {
	*k = chunk{}
	if c.entries > 0 {
		c.flush(w)
	}
	start := w.pos
	if n := c.distinct(); n > 0 {
		c.dictBounds()
		w.page = c.appendDict(w.page[:0])
		b, raw := w.page, len(w.page)
		packed := w.compress(b)
		if c.stored && int64(raw-len(packed))*20 > c.body.size() {
			c.unstore(w) // uses the buffers of the dictionary
			w.page = c.appendDict(w.page[:0])
			b = w.page
			packed = w.compress(b)
		}
		if !c.stored {
			b = packed
		}
		k.dict = start
		w.header(k, 2, raw, len(b), n, encodingPlain)
		w.write(b)
	}
	k.data = w.pos
	k.codec = w.codec
	if c.stored {
		k.codec = Uncompressed
	}
	r := c.body.reader()
	for _, p := range c.pages {
		encoding := encodingPlain
		if p.dict {
			encoding = encodingDict
			k.dictP++
		} else {
			k.plain++
		}
		w.header(k, 0, p.raw, p.packed, p.entries, encoding)
		for left := p.packed; left > 0 && w.err == nil; {
			b := r.next(left)
			w.write(b)
			left -= len(b)
		}
	}
	c.body.free(w)
	k.packed = w.pos - start
	return w.err
}

// header writes the header of a page, and counts the page.
func (w *Writer) header(k *chunk, typ, raw, packed, entries, encoding int) {
	t := &w.t
	t.reset()
	t.i32(1, typ)
	t.i32(2, raw)
	t.i32(3, packed)
	if typ == 0 {
		t.begin(5)
		t.i32(1, entries)
		t.i32(2, encoding)
		t.i32(3, encodingRLE)
		t.i32(4, encodingRLE)
	} else {
		t.begin(7)
		t.i32(1, entries)
		t.i32(2, encoding)
	}
	t.end()
	t.end()
	w.write(t.b)
	k.raw += int64(len(t.b) + raw)
}

// meta writes what the footer says of the chunk.
func (c *column) meta(t *thrift, k *chunk) {
	t.open()
	t.i64(2, 0)
	t.begin(3)
	t.i32(1, int(c.physical))
	encodings := []int{encodingPlain, encodingRLE, encodingDict}
	if k.dictP == 0 {
		encodings = encodings[:2]
	}
	t.list(2, thriftI32, len(encodings))
	for _, e := range encodings {
		t.b = binary.AppendVarint(t.b, int64(e))
	}
	t.list(3, thriftBinary, len(c.path))
	for _, name := range c.path {
		t.element(name)
	}
	t.i32(4, k.codec.number())
	t.i64(5, c.total)
	t.i64(6, k.raw)
	t.i64(7, k.packed)
	t.i64(9, k.data)
	if k.dict > 0 {
		t.i64(11, k.dict)
	}
	t.begin(12)
	c.bounds.statistics(t, c.physical, c.total-c.values)
	t.end()
	c.encodingStats(t, k)
	t.end()
	t.end()
}

// encodingStats tell readers whether the dictionary has all values.
func (c *column) encodingStats(t *thrift, k *chunk) {
	stats := [][3]int{{2, encodingPlain, 1}, {0, encodingDict, k.dictP}, {0, encodingPlain, k.plain}}
	if k.dict == 0 {
		stats[0][2] = 0
	}
	n := 0
	for _, s := range stats {
		n += min(1, s[2])
	}
	t.list(13, thriftStruct, n)
	for _, s := range stats {
		if s[2] > 0 {
			t.open()
			t.i32(1, s[0])
			t.i32(2, s[1])
			t.i32(3, s[2])
			t.end()
		}
	}
}

func (w *Writer) writeFooter() {
	t := &w.t
	t.reset()
	t.i32(1, 1)
	elements := 1
	for _, n := range w.fields {
		elements += n.elements()
	}
	t.list(2, thriftStruct, elements)
	t.open()
	t.string(4, "spark_schema")
	t.i32(5, len(w.fields))
	t.end()
	for _, n := range w.fields {
		n.schema(t)
	}
	t.i64(3, w.rows)
	t.list(4, thriftStruct, w.groups)
	t.b = append(t.b, w.footer.b...)
	t.string(6, w.opts.CreatedBy)
	t.list(7, thriftStruct, len(w.columns))
	for range w.columns { // bounds have the order of their types
		t.open()
		t.empty(1)
		t.end()
	}
	t.end()
	size := len(t.b)
	w.write(t.b)
	w.write(append(binary.LittleEndian.AppendUint32(nil, uint32(size)), magic...))
}
