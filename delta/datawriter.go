package delta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"

	"github.com/siltlake/silt/internal/parquetenc"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// WriteContext is all that a writer of data files needs to know of the table. It can travel as JSON.
// The files that are written under it fit the transaction that it comes from, and any later one whose
// SetSchema is given its Schema.
type WriteContext struct {
	// Schema is the table's, with the metadata of column mapping.
	Schema *schema.Struct `json:"schema"`
	// Mapping is the mode of column mapping: name, id, or empty for none.
	Mapping     string   `json:"mapping,omitempty"`
	PartitionBy []string `json:"partitionBy,omitempty"`
	// Codec names Parquet's compression.
	Codec string `json:"codec"`
	// TargetSize is about the size of a data file in bytes.
	TargetSize int64        `json:"targetSize"`
	Stats      StatsColumns `json:"stats"`
	// RowIDColumn and RowVersionColumn are the names under which data files keep the ids of rows that
	// have moved, and the versions that changed them last; empty when the table does not track rows.
	RowIDColumn      string `json:"rowIdColumn,omitempty"`
	RowVersionColumn string `json:"rowVersionColumn,omitempty"`
	// TightBounds says that statistics tell whether they are exact, for tables with deletion vectors.
	TightBounds bool `json:"tightBounds,omitempty"`
	// Constraints are the conditions that rows must meet.
	Constraints []Constraint `json:"constraints,omitempty"`
	// NeedsSQL names the features for which the writer needs an [Evaluator].
	NeedsSQL []string `json:"needsSQL,omitempty"`
	// Refused says why the table cannot be written; empty when it can.
	Refused string `json:"refused,omitempty"`
	refusal error  // the same, where it is not forgotten
}

// Err is the error of a table that cannot be written, mostly an [*UnsupportedError]; nil when it can.
func (wc WriteContext) Err() error {
	switch {
	case wc.refusal != nil:
		return wc.refusal
	case wc.Refused != "":
		return errors.New(wc.Refused)
	}
	return nil
}

// DataWriterOptions are what a writer of data files may be told.
type DataWriterOptions struct {
	// Name returns the name of the next data file, which must be used by nobody else, without a folder.
	// Parts count from 0. nil: part-<part>-<uuid>.<codec>.parquet.
	Name func(part int) string
	// Tags become the tags of each Add.
	Tags map[string]string
	// RowIDs says that the rows come with their ids, from a scan with [ScanOptions.RowIDs], and keep them.
	// A row whose version is null has changed; one whose id is null is new.
	RowIDs bool
	// Where is true for every row, or the write fails: it is that of [Transaction.Replace].
	Where Predicate
	// Evaluator evaluates constraints and generated columns; nil refuses tables that have any.
	Evaluator Evaluator
	// Partial says that rows are changes of rows, whose other columns keep their values; see
	// [DataWriter.Violations].
	Partial bool
	// NumberFrom is the place in the series of an identity column that the first row gets, from 0. Writers
	// under one context leave each other room: a number that two of them give fails the commit.
	NumberFrom int64
	// Allocator is where Arrow memory comes from; nil is Go's.
	Allocator memory.Allocator
}

// DataWriter writes rows into data files. It belongs to one goroutine.
type DataWriter struct {
	store objstore.Store
	wc    WriteContext
	o     DataWriterOptions
	cols  []*column // those in data files
	keys  []*column // partition columns
	// tracked is the number of cols before those of row ids, which have no statistics.
	tracked int
	out     *arrow.Schema
	format  parquetenc.Options
	source  *arrow.Schema // of the last record, and how to reshape it
	shapes  []*reshaper
	pos     []int
	dir     string               // of all files; ends in a slash or is empty
	rules   *rules               // nil when the table has none
	ids     []*identity          // by column, keys last; nil for those that are not numbered
	open    map[string]*dataFile // by partition
	adds    []*Add
	parts   int
	err     error
}

// pieceBytes is the size, in Arrow's memory, of the pieces in which records are handed on.
const pieceBytes = 4 << 20

// NewDataWriter returns a writer of data files below the root of the store.
func NewDataWriter(ctx context.Context, store objstore.Store, wc WriteContext, o DataWriterOptions) (*DataWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := wc.Err(); err != nil {
		return nil, err
	}
	cols, err := writeColumns(wc.Schema, wc.Mapping)
	if err != nil {
		return nil, err
	}
	w := &DataWriter{store: store, wc: wc, o: o, open: map[string]*dataFile{}}
	if w.o.Allocator == nil {
		w.o.Allocator = memory.DefaultAllocator
	}
	if err := w.splitKeys(cols); err != nil {
		return nil, err
	}
	if len(w.cols) == 0 {
		return nil, errors.New("the table has no column that a data file can hold")
	}
	codec, err := parquetCodec(wc.Codec)
	if err != nil {
		return nil, err
	}
	if w.tracked = len(w.cols); o.RowIDs {
		if wc.RowIDColumn == "" || wc.RowVersionColumn == "" {
			return nil, fmt.Errorf("the rows of the table are not tracked (%s)", propRowTracking)
		}
		w.cols = append(w.cols, rowColumn(wc.RowIDColumn), rowColumn(wc.RowVersionColumn))
	}
	all := w.all()
	if w.ids, err = identities(wc.Schema, all, o.NumberFrom); err != nil {
		return nil, err
	}
	if w.rules, err = newRules(ctx, wc, all, o.Where, o.Evaluator); err != nil {
		return nil, err
	}
	w.out = arrow.NewSchema(outFields(w.cols), nil)
	w.format = parquetenc.Options{Codec: codec, CreatedBy: "silt version " + version()}
	return w, nil
}

// all are the columns of the table, partition columns last.
func (w *DataWriter) all() []*column { return append(slices.Clip(w.cols), w.keys...) }

// splitKeys sets partition columns, which stand in the paths and in the log, apart from the others.
func (w *DataWriter) splitKeys(cols []*column) error {
	for _, name := range w.wc.PartitionBy {
		i := slices.IndexFunc(cols, func(c *column) bool { return schema.Fold(c.name) == schema.Fold(name) })
		if i < 0 {
			return fmt.Errorf("the table is partitioned by %s, which is no column that can hold a value", schema.Quote(name))
		}
		w.keys = append(w.keys, cols[i])
	}
	for _, c := range cols {
		if !slices.Contains(w.keys, c) {
			w.cols = append(w.cols, c)
		}
	}
	return nil
}

func parquetCodec(name string) (parquetenc.Codec, error) {
	switch strings.ToLower(name) {
	case "", "zstd":
		return parquetenc.Zstd, nil
	case "snappy":
		return parquetenc.Snappy, nil
	case "gzip":
		return parquetenc.Gzip, nil
	case "none", "uncompressed":
		return parquetenc.Uncompressed, nil
	}
	return 0, fmt.Errorf("property %s: unknown codec %q, want zstd, snappy, gzip or uncompressed", propCodec, name)
}

// Write adds the rows of rec, whose columns are matched to the table's by name, at any depth and
// without case. Those that are missing are null, or what the table has as their default. It does not keep
// rec. After an error the writer can
// only be aborted.
func (w *DataWriter) Write(ctx context.Context, rec arrow.RecordBatch) error {
	if w.err == nil {
		w.err = w.write(ctx, rec)
	}
	return w.err
}

func (w *DataWriter) write(ctx context.Context, rec arrow.RecordBatch) error {
	if rec.NumRows() == 0 {
		return nil
	}
	rows, keys, err := w.reshape(ctx, rec)
	if err != nil {
		return err
	}
	defer rows.Release()
	if len(w.keys) == 0 {
		return w.append(ctx, nil, rows)
	}
	defer keys.Release()
	return w.appendPartitions(ctx, rows, keys)
}

// reshape returns the record as data files hold it, and its partition columns.
func (w *DataWriter) reshape(ctx context.Context, rec arrow.RecordBatch) (rows, keys arrow.RecordBatch, err error) {
	all := w.all()
	if w.source == nil || !w.source.Equal(rec.Schema()) {
		fields := rec.Schema().Fields()
		shapes, pos, err := newReshapers(all, fields, matching{write: true})
		if err != nil {
			return nil, nil, err
		}
		if err := w.checkExtra(fields, pos); err != nil {
			return nil, nil, err
		}
		for i, id := range w.ids {
			if id != nil && shapes[i] != nil && !id.open {
				return nil, nil, &IdentityError{all[i].name}
			}
		}
		w.source, w.shapes, w.pos = rec.Schema(), shapes, pos
	}
	arrays, err := w.arrays(ctx, rec, w.shapes, w.pos)
	defer func() { releaseArrays(arrays) }()
	if err != nil {
		return nil, nil, err
	}
	if err := w.rules.apply(ctx, w, arrays, func(i int) bool { return w.shapes[i] != nil }, rec.NumRows()); err != nil {
		return nil, nil, err
	}
	for i, c := range all {
		if !c.out.Nullable && arrays[i].NullN() > 0 {
			return nil, nil, notNullError(c)
		}
	}
	n := len(w.cols)
	rows = array.NewRecordBatch(w.out, arrays[:n], rec.NumRows())
	if len(w.keys) > 0 {
		keys = array.NewRecordBatch(arrow.NewSchema(outFields(w.keys), nil), arrays[n:], rec.NumRows())
	}
	return rows, keys, nil
}

// arrays returns the columns of the table for a record, some of them nil after an error. The caller releases
// them.
func (w *DataWriter) arrays(ctx context.Context, rec arrow.RecordBatch, shapes []*reshaper, pos []int) ([]arrow.Array, error) {
	all := w.all()
	arrays := make([]arrow.Array, len(all))
	for i, c := range all {
		var err error
		switch {
		case shapes[i] != nil:
			arrays[i], err = shapes[i].apply(ctx, w.o.Allocator, rec.Column(pos[i]))
		case w.ids[i] != nil:
			arrays[i], err = w.ids[i].values(w.o.Allocator, int(rec.NumRows()))
		default:
			arrays[i], err = missing(w.o.Allocator, c, int(rec.NumRows()))
		}
		if err != nil {
			return arrays, err
		}
	}
	return arrays, nil
}

// missing returns n values of a column that the rows do not have.
func missing(mem memory.Allocator, c *column, n int) (arrow.Array, error) {
	if c.def == nil {
		return nulls(mem, c.out.Type, n), nil
	}
	return repeatScalar(mem, c.def, n)
}

// checkExtra refuses a record with a column that would be lost.
func (w *DataWriter) checkExtra(fields []arrow.Field, pos []int) error {
	for i, f := range fields {
		if slices.Contains(pos, i) || f.Type.ID() == arrow.NULL {
			continue
		}
		if j := w.wc.Schema.IndexFold(f.Name); j < 0 || w.wc.Schema.Fields[j].Type != schema.Void {
			return fmt.Errorf("the table has no column %s", schema.Quote(f.Name))
		}
		return fmt.Errorf("column %s of the table can only hold nulls", schema.Quote(f.Name))
	}
	return nil
}

// append writes rows, as data files hold them, into the open file of a partition.
func (w *DataWriter) append(ctx context.Context, p *partition, rows arrow.RecordBatch) error {
	step := max(1, int64(float64(rows.NumRows())*pieceBytes/float64(max(1, recordBytes(rows)))))
	for from := int64(0); from < rows.NumRows(); from += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := w.open[p.key()]
		if f == nil {
			var err error
			if f, err = w.newFile(ctx, p); err != nil {
				return err
			}
			w.open[p.key()] = f
		}
		piece := rows.NewSlice(from, min(from+step, rows.NumRows()))
		err := f.append(piece)
		piece.Release()
		if err != nil {
			return fmt.Errorf("write data file %s: %w", f.key, err)
		}
		if f.pq.Size() >= w.wc.TargetSize {
			if err := w.finish(p.key()); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish closes the open file of a partition.
func (w *DataWriter) finish(key string) error {
	f := w.open[key]
	add, err := f.close()
	if err != nil {
		return fmt.Errorf("write data file %s: %w", f.key, err)
	}
	delete(w.open, key)
	add.Tags = maps.Clone(w.o.Tags)
	w.adds = append(w.adds, add)
	return nil
}

// Close finishes the data files. When it returns without an error they are durable; they become part of
// the table when a transaction adds them and commits.
func (w *DataWriter) Close(ctx context.Context) ([]*Add, error) {
	defer w.rules.close()
	if w.err == nil {
		w.err = ctx.Err()
	}
	for _, key := range slices.Sorted(maps.Keys(w.open)) {
		if w.err == nil {
			w.err = w.finish(key)
		}
	}
	if w.err != nil {
		w.Abort(ctx)
		return nil, w.err
	}
	w.err = errors.New("the data writer is closed")
	return w.adds, nil
}

// Abort gives up the files that are not finished, and deletes those that are, as far as it can: a file
// that stays is part of no table, and is vacuumed. After Close it does nothing.
func (w *DataWriter) Abort(ctx context.Context) {
	w.rules.close()
	if w.err != nil && len(w.open) == 0 {
		return
	}
	for _, f := range w.open {
		f.abort()
	}
	clear(w.open)
	for _, a := range w.adds {
		if key, err := decodePath(a.Path); err == nil {
			_ = w.store.Delete(context.WithoutCancel(ctx), key, objstore.Cond{})
		}
	}
	w.adds = nil
	if w.err == nil {
		w.err = errors.New("the data writer is aborted")
	}
}

// dataFile is one file that is being written.
type dataFile struct {
	key   string
	part  *partition
	w     objstore.Writer
	pq    *parquetenc.Writer
	stats *fileStats
}

func (w *DataWriter) newFile(ctx context.Context, p *partition) (*dataFile, error) {
	var name string
	if w.o.Name != nil {
		name = w.o.Name(w.parts)
	} else {
		name = fmt.Sprintf("part-%05d-%s.%s.parquet", w.parts, uuid.NewString(), strings.ToLower(w.wc.Codec))
	}
	w.parts++
	f := &dataFile{key: w.dir + p.dir() + name, part: p, stats: newFileStats(w.cols[:w.tracked], w.wc.Stats, w.wc.TightBounds)}
	ow, err := objstore.Create(ctx, w.store, f.key)
	if err != nil {
		return nil, fmt.Errorf("write data file %s: %w", f.key, err)
	}
	f.w = ow
	if f.pq, err = parquetenc.NewWriter(ow, w.out, w.format); err != nil {
		ow.Abort()
		return nil, fmt.Errorf("write data file %s: %w", f.key, err)
	}
	f.stats.tellBounds(f.pq, w.cols[:w.tracked])
	return f, nil
}

func (f *dataFile) append(rows arrow.RecordBatch) error {
	f.stats.add(rows)
	return f.pq.Write(rows)
}

func (f *dataFile) close() (*Add, error) {
	info, err := f.pq.Close()
	if err != nil {
		f.w.Abort()
		return nil, err
	}
	o, err := f.w.Close()
	if err != nil {
		f.w.Abort()
		return nil, err
	}
	return &Add{Path: encodePath(f.key), PartitionValues: f.part.values(), Size: info.Bytes,
		ModificationTime: millis(o.ModTime), DataChange: true, Stats: f.stats.json()}, nil
}

func (f *dataFile) abort() { f.w.Abort() }

// recordBytes is the size of the rows of rec in Arrow's memory.
func recordBytes(rec arrow.RecordBatch) (n int64) {
	for _, c := range rec.Columns() {
		n += arrayBytes(c)
	}
	return n
}

func arrayBytes(a arrow.Array) int64 {
	n := int64(a.Len()) / 8
	switch a := a.(type) {
	case *array.String:
		n += int64(a.Len())*4 + int64(len(a.ValueBytes()))
	case *array.Binary:
		n += int64(a.Len())*4 + int64(len(a.ValueBytes()))
	case *array.Struct:
		for i := range a.NumField() {
			n += arrayBytes(a.Field(i))
		}
	case array.ListLike:
		n += int64(a.Len()) * 4
		if a.Len() > 0 {
			from, _ := a.ValueOffsets(0)
			_, to := a.ValueOffsets(a.Len() - 1)
			if all := a.ListValues(); to > from && all.Len() > 0 {
				n += int64(float64(arrayBytes(all)) * float64(to-from) / float64(all.Len()))
			}
		}
	default:
		if t, ok := a.DataType().(arrow.FixedWidthDataType); ok {
			n += int64(a.Len()) * int64(t.BitWidth()) / 8
		}
	}
	return n
}

// version is that of silt in the running program.
func version() string {
	const module = "github.com/siltlake/silt"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == module && m.Version != "" && m.Version != "(devel)" {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return "devel"
}
