//go:build cgo && duckdb_arrow && !nosql

package duck

/*
#include <stdint.h>
#include <stdlib.h>

void siltFeedBind(void *info);
void siltFeedInit(void *info);
void siltFeedFill(void *info, void *chunk);
void siltFeedEnd(void *scan);
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime/cgo"
	"strconv"
	"sync"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	bindings "github.com/duckdb/duckdb-go-bindings"

	"github.com/siltlake/silt/schema"
)

// A feed is the table behind a view: Arrow data that DuckDB reads where it lies. The views select from
// a table function of silt's own, which DuckDB asks for the columns that the statement needs, 2048 rows
// at a time.
//
// DuckDB has a function for Arrow streams itself (duckdb_arrow_scan), but in version 1.5.6 it is of no
// use: it gives the stream no word about which columns and filters the optimizer has moved into the
// scan and then takes the stream as if it had obeyed. `SELECT id, z FROM view WHERE …` reads wrong
// columns, or crashes.
//
// A statement that is prepared once can run on one batch after another: load, run, load, run.
type feed struct {
	c      *conn
	all    *feeds
	name   string // of the view
	id     int64
	schema *arrow.Schema
	cols   []conversion

	rec  arrow.RecordBatch                  // loaded: every scan reads this batch
	open func() (array.RecordReader, error) // or loaded: every scan opens and releases a reader
	err  error                              // of a reader, kept here since it reaches DuckDB as text only
}

// conversion is how DuckDB takes in a column of Arrow, as a batch of that column.
type conversion struct {
	schema *arrow.Schema
	conv   bindings.ArrowConvertedSchema
}

// feeds are the feeds of an engine, which DuckDB knows by number.
type feeds struct {
	mu   sync.Mutex
	byID map[int64]*feed
	c    *conn // for conversions
}

const feedFunction = "__silt_feed"

// registerFeeds makes the table function known to the database. What the handle holds on to stays until
// the database is closed, and then the caller deletes it.
func registerFeeds(c *conn, all *feeds) (cgo.Handle, error) {
	h := cgo.NewHandle(all)
	p := (*C.uintptr_t)(C.malloc(C.sizeof_uintptr_t))
	*p = C.uintptr_t(h)
	f := bindings.CreateTableFunction()
	defer bindings.DestroyTableFunction(&f)
	bindings.TableFunctionSetName(f, feedFunction)
	id := bindings.CreateLogicalType(bindings.TypeBigInt)
	defer bindings.DestroyLogicalType(&id)
	bindings.TableFunctionAddParameter(f, id)
	bindings.TableFunctionSetExtraInfo(f, unsafe.Pointer(p), unsafe.Pointer(C.free))
	bindings.TableFunctionSetBind(f, unsafe.Pointer(C.siltFeedBind))
	bindings.TableFunctionSetInit(f, unsafe.Pointer(C.siltFeedInit))
	bindings.TableFunctionSetFunction(f, unsafe.Pointer(C.siltFeedFill))
	bindings.TableFunctionSupportsProjectionPushdown(f, true)
	if bindings.RegisterTableFunction(c.c, f) == bindings.StateError {
		h.Delete()
		return 0, errors.New("duckdb: the table function cannot be registered")
	}
	return h, nil
}

// addFeed makes a view over data of the schema. What is prepared on it must not run after the feed is
// closed.
func (e *Engine) addFeed(ctx context.Context, c *conn, name string, s *arrow.Schema) (*feed, error) {
	f := &feed{c: c, all: e.feeds, name: name, schema: s}
	for i, field := range s.Fields() {
		one := arrow.NewSchema([]arrow.Field{{Name: "c", Type: field.Type, Nullable: true}}, nil)
		conv, ed := bindings.SchemaFromArrow(e.feeds.c.c, one)
		if err := errorData(ed); err != nil {
			f.close()
			return nil, fmt.Errorf("column %s: %w", schema.Quote(s.Field(i).Name), err)
		}
		f.cols = append(f.cols, conversion{one, conv})
	}
	e.names++
	f.id = int64(e.names)
	e.feeds.mu.Lock()
	e.feeds.byID[f.id] = f
	e.feeds.mu.Unlock()
	err := c.exec(ctx, "CREATE OR REPLACE VIEW "+name+" AS SELECT * FROM "+feedFunction+"("+strconv.FormatInt(f.id, 10)+")")
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *feed) close() {
	// Statements that list views look into each of them.
	_ = f.c.exec(context.Background(), "DROP VIEW IF EXISTS "+f.name)
	f.forget()
}

// forget is close for a feed whose view stays.
func (f *feed) forget() {
	f.all.mu.Lock()
	delete(f.all.byID, f.id)
	f.all.mu.Unlock()
	for i := range f.cols {
		bindings.DestroyArrowConvertedSchema(&f.cols[i].conv)
	}
}

// load makes rec the table. The feed does not keep it beyond the next load.
func (f *feed) load(rec arrow.RecordBatch) { f.rec, f.open, f.err = rec, nil, nil }

// loadReaders makes the table what a reader of open gives; each scan opens one and releases it.
func (f *feed) loadReaders(open func() (array.RecordReader, error)) {
	f.rec, f.open, f.err = nil, open, nil
}

// scan is one reading of a feed.
type scan struct {
	f       *feed
	columns []int // that DuckDB wants, in its order; -1 for one that it only counts
	reader  array.RecordReader
	rec     arrow.RecordBatch
	at      int64 // the row of rec that comes next
	before  arrow.RecordBatch
}

// next returns the next rows, which are at most limit, or nil at the end.
func (s *scan) next(limit int64) (rec arrow.RecordBatch, from, to int64, err error) {
	for s.rec == nil || s.at >= s.rec.NumRows() {
		if s.reader == nil {
			return nil, 0, 0, nil
		}
		if !s.reader.Next() {
			return nil, 0, 0, s.reader.Err()
		}
		// What DuckDB was given last may be in its hands still.
		if s.before != nil {
			s.before.Release()
		}
		s.before, s.rec, s.at = s.rec, s.reader.RecordBatch(), 0
		s.rec.Retain()
	}
	from = s.at
	s.at = min(s.at+limit, s.rec.NumRows())
	return s.rec, from, s.at, nil
}

func (s *scan) end() {
	for _, r := range []arrow.RecordBatch{s.before, s.rec} {
		if r != nil {
			r.Release()
		}
	}
	if s.reader != nil {
		s.reader.Release()
	}
}

// fill gives DuckDB the next rows.
func (s *scan) fill(out bindings.DataChunk) error {
	rec, from, to, err := s.next(int64(bindings.VectorSize()))
	if err != nil || rec == nil {
		return err
	}
	for i, col := range s.columns {
		if col < 0 {
			continue
		}
		if err := s.f.column(rec.Column(col), col, from, to, bindings.DataChunkGetVector(out, bindings.IdxT(i))); err != nil {
			return err
		}
	}
	bindings.DataChunkSetSize(out, bindings.IdxT(to-from))
	return nil
}

// column makes a vector refer to the values of an array from one row to another. Each column is
// handed over by itself since DuckDB ties the memory of a batch to its first column only.
func (f *feed) column(a arrow.Array, col int, from, to int64, out bindings.Vector) error {
	slice := array.NewSliceData(a.Data(), from, to)
	data := unshift(slice)
	slice.Release()
	part := array.MakeFromData(data)
	data.Release()
	defer part.Release()
	one := array.NewRecordBatch(f.cols[col].schema, []arrow.Array{part}, to-from)
	defer one.Release()
	chunk, ed := bindings.DataChunkFromArrow(f.all.c.c, one, f.cols[col].conv)
	if err := errorData(ed); err != nil {
		return err
	}
	bindings.VectorReferenceVector(out, bindings.DataChunkGetVector(chunk, 0))
	bindings.DestroyDataChunk(&chunk)
	return nil
}

// unshift returns data without an offset in a struct: DuckDB 1.5.6 adds it twice for what is inside.
// The offset goes to the fields; only the bits that say which structs are null are copied.
func unshift(data arrow.ArrayData) arrow.ArrayData {
	if len(data.Children()) == 0 {
		data.Retain()
		return data
	}
	isStruct := data.DataType().ID() == arrow.STRUCT
	children := make([]arrow.ArrayData, len(data.Children()))
	for i, c := range data.Children() {
		if isStruct {
			slice := array.NewSliceData(c, int64(data.Offset()), int64(data.Offset()+data.Len()))
			children[i] = unshift(slice)
			slice.Release()
		} else {
			children[i] = unshift(c)
		}
		defer children[i].Release()
	}
	buffers, offset := data.Buffers(), data.Offset()
	if isStruct {
		if valid := buffers[0]; valid != nil && offset != 0 {
			bits := memory.NewResizableBuffer(memory.DefaultAllocator)
			defer bits.Release()
			bits.Resize(int(bitutil.BytesForBits(int64(data.Len()))))
			bitutil.CopyBitmap(valid.Bytes(), offset, data.Len(), bits.Bytes(), 0)
			buffers = []*memory.Buffer{bits}
		}
		offset = 0
	}
	return array.NewData(data.DataType(), data.Len(), buffers, children, data.NullN(), offset)
}

//export siltFeedBind
func siltFeedBind(p unsafe.Pointer) {
	info := bindings.BindInfo{Ptr: p}
	all := cgo.Handle(*(*C.uintptr_t)(bindings.BindGetExtraInfo(info))).Value().(*feeds)
	v := bindings.BindGetParameter(info, 0)
	id := bindings.GetInt64(v)
	bindings.DestroyValue(&v)
	all.mu.Lock()
	f := all.byID[id]
	all.mu.Unlock()
	if f == nil {
		bindings.BindSetError(info, "no such table")
		return
	}
	for _, field := range f.schema.Fields() {
		t, err := logicalType(field)
		if err != nil {
			bindings.BindSetError(info, "column "+schema.Quote(field.Name)+": "+err.Error())
			return
		}
		bindings.BindAddResultColumn(info, duckName(field.Name), t)
		bindings.DestroyLogicalType(&t)
	}
	data := (*C.int64_t)(C.malloc(C.sizeof_int64_t))
	*data = C.int64_t(id)
	bindings.BindSetBindData(info, unsafe.Pointer(data), unsafe.Pointer(C.free))
}

//export siltFeedInit
func siltFeedInit(p unsafe.Pointer) {
	info := bindings.InitInfo{Ptr: p}
	all := cgo.Handle(*(*C.uintptr_t)(bindings.InitGetExtraInfo(info))).Value().(*feeds)
	all.mu.Lock()
	f := all.byID[int64(*(*C.int64_t)(bindings.InitGetBindData(info)))]
	all.mu.Unlock()
	if f == nil {
		bindings.InitSetError(info, "no such table")
		return
	}
	s := &scan{f: f}
	for i := range bindings.InitGetColumnCount(info) {
		col := -1 // the row id, of which only the count matters
		if at := bindings.InitGetColumnIndex(info, i); at < bindings.IdxT(len(f.cols)) {
			col = int(at)
		}
		s.columns = append(s.columns, col)
	}
	switch {
	case f.rec != nil:
		s.rec = f.rec
		s.rec.Retain()
	case f.open != nil:
		var err error
		if s.reader, err = f.open(); err != nil {
			f.err = err
			bindings.InitSetError(info, err.Error())
			return
		}
	}
	data := (*C.uintptr_t)(C.malloc(C.sizeof_uintptr_t))
	*data = C.uintptr_t(cgo.NewHandle(s))
	bindings.InitSetInitData(info, unsafe.Pointer(data), unsafe.Pointer(C.siltFeedEnd))
	bindings.InitSetMaxThreads(info, 1)
}

//export siltFeedFill
func siltFeedFill(p, chunk unsafe.Pointer) {
	info := bindings.FunctionInfo{Ptr: p}
	s := cgo.Handle(*(*C.uintptr_t)(bindings.FunctionGetInitData(info))).Value().(*scan)
	if err := s.fill(bindings.DataChunk{Ptr: chunk}); err != nil {
		s.f.err = err
		bindings.FunctionSetError(info, err.Error())
	}
}

//export siltFeedEnd
func siltFeedEnd(data unsafe.Pointer) {
	h := cgo.Handle(*(*C.uintptr_t)(data))
	h.Value().(*scan).end()
	h.Delete()
	C.free(data)
}
