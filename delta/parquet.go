package delta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/siltlake/silt/objstore"
)

// tailSize is how much of the end of a file is read at once: enough for the footer of most files, and
// for the whole of small ones.
const tailSize = 64 << 10

// objectReader reads an object at any offset, as the Parquet library wants it. It belongs to one
// goroutine and reads one version of the object.
type objectReader struct {
	ctx   context.Context // of the read that it is made for
	store objstore.Store
	key   string
	obj   objstore.Object
	tail  []byte // the last bytes of the object
	pos   int64
}

// newObjectReader opens the object, whose size is known from the log; 0 when it is not.
func newObjectReader(ctx context.Context, store objstore.Store, key string, size int64) (*objectReader, error) {
	r := &objectReader{ctx: ctx, store: store, key: key}
	body, o, err := store.Open(ctx, key, objstore.Range{Off: max(0, size-tailSize)})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	r.obj = o
	if size <= 0 || o.Size != size { // the log is wrong about it, or silent
		body.Close()
		if body, _, err = store.Open(ctx, key, objstore.Range{Off: max(0, o.Size-tailSize), IfMatch: o.ETag}); err != nil {
			return nil, err
		}
		defer body.Close()
	}
	r.tail, err = io.ReadAll(body)
	return r, err
}

func (r *objectReader) ReadAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if start := r.obj.Size - int64(len(r.tail)); off >= start && off <= r.obj.Size {
		n := copy(p, r.tail[off-start:])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	if off < 0 || off > r.obj.Size {
		return 0, fmt.Errorf("read at %d of %d bytes", off, r.obj.Size)
	}
	body, _, err := r.store.Open(r.ctx, r.key, objstore.Range{Off: off, Len: int64(len(p)), IfMatch: r.obj.ETag})
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.ReadFull(body, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func (r *objectReader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += r.pos
	case io.SeekEnd:
		off += r.obj.Size
	}
	r.pos = off
	return off, nil
}

// parquetFile is an open data file, checkpoint or sidecar.
type parquetFile struct {
	mem    memory.Allocator
	reader *file.Reader
	groups []int // the row groups to read
	julian julian
}

func openParquet(ctx context.Context, mem memory.Allocator, store objstore.Store, key string, size int64) (f *parquetFile, err error) {
	defer recovered(&err)
	r, err := newObjectReader(ctx, store, key, size)
	if err != nil {
		return nil, err
	}
	reader, err := file.NewParquetReader(r, file.WithReadProps(parquet.NewReaderProperties(mem)))
	if err != nil {
		return nil, err
	}
	calendar := julianOf(reader.MetaData())
	// The table's schema counts, not the Arrow schema that some writers leave in a file.
	reader.MetaData().FileMetaData.KeyValueMetadata = nil
	f = &parquetFile{mem: mem, reader: reader, julian: calendar, groups: make([]int, reader.NumRowGroups())}
	for i := range f.groups {
		f.groups[i] = i
	}
	return f, nil
}

// skipNulls leaves out the row groups in which all of the columns are null, as far as their statistics
// tell. A column is named by the path of a leaf.
func (f *parquetFile) skipNulls(leaves []string) (err error) {
	defer recovered(&err)
	meta := f.reader.MetaData()
	f.groups = slices.DeleteFunc(f.groups, func(g int) bool {
		for _, leaf := range leaves {
			if i := meta.Schema.ColumnIndexByName(leaf); i >= 0 && !f.isNull(g, i) {
				return false
			}
		}
		return true
	})
	return nil
}

// isNull reports whether the statistics of a row group say that the column of a leaf is null in all rows.
func (f *parquetFile) isNull(group, leaf int) bool {
	chunk, err := f.reader.MetaData().RowGroup(group).ColumnChunk(leaf)
	if err != nil {
		return false
	}
	stats, err := chunk.Statistics()
	return err == nil && stats != nil && stats.HasNullCount() && stats.NullCount() >= chunk.NumValues()
}

// skipGroups leaves out the row groups for no row of which c can be true, as far as their statistics tell.
func (f *parquetFile) skipGroups(c condition) (err error) {
	defer recovered(&err)
	if f.julian != (julian{}) {
		return nil // the statistics count their days otherwise
	}
	meta := f.reader.MetaData()
	f.groups = slices.DeleteFunc(f.groups, func(g int) bool {
		return !c.mayHold(groupSpans{meta.Schema, meta.RowGroup(g)})
	})
	return nil
}

// runs are the rows of the row groups to read, by their positions in the file.
func (f *parquetFile) runs() []rowRun {
	var runs []rowRun
	at := int64(0)
	for g := range f.reader.NumRowGroups() {
		n := f.reader.MetaData().RowGroup(g).NumRows()
		if slices.Contains(f.groups, g) {
			runs = append(runs, rowRun{at, n})
		}
		at += n
	}
	return runs
}

func (f *parquetFile) rows() (n int64) {
	for _, g := range f.groups {
		n += f.reader.MetaData().RowGroup(g).NumRows()
	}
	return n
}

// batchBytes is about how much of a file is decoded at a time; batchRows are the most rows of it.
const (
	batchBytes = 8 << 20
	batchRows  = 32 << 10
)

func (f *parquetFile) batchRows() int64 {
	var rows, size int64
	for _, i := range f.groups {
		g := f.reader.MetaData().RowGroup(i)
		rows, size = rows+g.NumRows(), size+g.TotalByteSize()
	}
	if rows == 0 || size <= 0 {
		return batchRows
	}
	return min(batchRows, max(64, batchBytes*rows/size))
}

// batches yields the file's rows as the columns want them. Fill makes n values of a column that is not
// in the file. The batch is valid until the next one; whoever keeps it retains it.
func (f *parquetFile) batches(ctx context.Context, cols []*column, fill func(c *column, n int) (arrow.Array, error)) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		b, err := f.newBatcher(ctx, cols, fill)
		if err != nil {
			yield(nil, err)
			return
		}
		defer b.release()
		for {
			rec, err := b.next(ctx)
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			more := yield(rec, nil)
			rec.Release()
			if !more {
				return
			}
		}
	}
}

type batcher struct {
	mem    memory.Allocator
	cols   []*column
	shapes []*reshaper
	pos    []int
	schema *arrow.Schema
	fill   func(c *column, n int) (arrow.Array, error)
	julian julian
	reader pqarrow.RecordReader // nil when no column is in the file
	left   int64                // rows still to come
	size   int64                // rows of a batch
}

func (f *parquetFile) newBatcher(ctx context.Context, cols []*column, fill func(c *column, n int) (arrow.Array, error)) (b *batcher, err error) {
	defer recovered(&err)
	props := pqarrow.ArrowReadProperties{BatchSize: f.batchRows()}
	fr, err := pqarrow.NewFileReader(f.reader, props, f.mem)
	if err != nil {
		return nil, err
	}
	fields := make([]arrow.Field, len(fr.Manifest.Fields))
	for i := range fields {
		keepInt96(&fr.Manifest.Fields[i], f.reader.MetaData().Schema)
		fields[i] = *fr.Manifest.Fields[i].Field
	}
	find := fieldFinder(fields)
	var leaves []int
	seen := map[int]bool{}
	for _, c := range cols {
		if i := find(c); i >= 0 && !seen[i] {
			seen[i] = true
			leaves = appendLeaves(leaves, &fr.Manifest.Fields[i])
		}
	}
	b = &batcher{mem: f.mem, cols: cols, fill: fill, julian: f.julian, left: f.rows(), size: props.BatchSize,
		schema: arrow.NewSchema(outFields(cols), nil)}
	var have []arrow.Field
	if len(leaves) > 0 && b.left > 0 {
		if b.reader, err = fr.GetRecordReader(ctx, leaves, f.groups); err != nil {
			return nil, err
		}
		have = b.reader.Schema().Fields()
	}
	if b.shapes, b.pos, err = newReshapers(cols, have, matching{}); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// int96 marks timestamps in Parquet's old form of twelve bytes, which Spark writes by default: they reach
// beyond what Arrow's nanoseconds hold, so the library is made to hand the bytes over as they are, as if
// they were microseconds. An array of this type can only be cast.
var int96 = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "int96"}

// keepInt96 gives the timestamps of twelve bytes in a field that type.
func keepInt96(f *pqarrow.SchemaField, s *schema.Schema) {
	if f.IsLeaf() {
		if f.ColIndex >= 0 && s.Column(f.ColIndex).PhysicalType() == parquet.Types.Int96 {
			f.Field.Type = int96
		}
		return
	}
	kids := make([]arrow.Field, len(f.Children))
	for i := range f.Children {
		keepInt96(&f.Children[i], s)
		kids[i] = *f.Children[i].Field
	}
	switch f.Field.Type.(type) { // a variant, an extension, has no such timestamps
	case *arrow.StructType:
		f.Field.Type = arrow.StructOf(kids...)
	case *arrow.MapType:
		if entries, ok := kids[0].Type.(*arrow.StructType); ok && entries.NumFields() == 2 {
			f.Field.Type = arrow.MapOfFields(entries.Field(0), entries.Field(1))
		}
	case *arrow.ListType:
		f.Field.Type = arrow.ListOfField(kids[0])
	}
}

func appendLeaves(leaves []int, f *pqarrow.SchemaField) []int {
	if f.IsLeaf() {
		return append(leaves, f.ColIndex)
	}
	for i := range f.Children {
		leaves = appendLeaves(leaves, &f.Children[i])
	}
	return leaves
}

func (b *batcher) next(ctx context.Context) (rec arrow.RecordBatch, err error) {
	defer recovered(&err)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if b.left <= 0 {
		return nil, io.EOF
	}
	n := min(b.left, b.size)
	var src arrow.RecordBatch
	if b.reader != nil {
		if !b.reader.Next() {
			if err := b.reader.Err(); err != nil && err != io.EOF {
				return nil, err
			}
			return nil, fmt.Errorf("the file ends %d rows before its footer says", b.left)
		}
		src = b.reader.RecordBatch()
		n = src.NumRows()
	}
	b.left -= n
	arrays := make([]arrow.Array, len(b.cols))
	defer releaseArrays(arrays)
	for i, c := range b.cols {
		if b.shapes[i] == nil {
			arrays[i], err = b.fill(c, int(n))
		} else if arrays[i], err = b.shapes[i].apply(ctx, b.mem, src.Column(b.pos[i])); err == nil {
			arrays[i] = b.julian.rebase(b.mem, arrays[i])
		}
		if err != nil {
			return nil, err
		}
	}
	return array.NewRecordBatch(b.schema, arrays, n), nil
}

func (b *batcher) release() {
	if b.reader != nil {
		b.reader.Release()
		b.reader = nil
	}
}

// fillNull is the fill of files without partition columns.
func fillNull(mem memory.Allocator) func(c *column, n int) (arrow.Array, error) {
	return func(c *column, n int) (arrow.Array, error) { return nulls(mem, c.out.Type, n), nil }
}

// recovered turns a panic of the Parquet library, which hostile files can cause, into an error.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("reading Parquet: %v", p)
	}
}
