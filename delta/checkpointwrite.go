package delta

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"
	"github.com/google/uuid"

	"github.com/siltlake/silt/internal/parquetenc"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// The columns of checkpoints that are written. Source: protocol, "Checkpoint Schema".
var (
	classicColumns = schema.NewStruct(
		schema.Nullable("txn", txnColumn),
		schema.Nullable("add", addColumn),
		schema.Nullable("remove", removeColumn),
		schema.Nullable("metaData", metaDataColumn),
		schema.Nullable("protocol", protocolColumn),
		schema.Nullable("domainMetadata", domainColumn))
	sidecarColumns = schema.NewStruct(
		schema.Nullable("add", addColumn),
		schema.Nullable("remove", removeColumn))
	// The file actions are in sidecars; Spark 4.2 with Delta 4.4.0 wants to find the columns here all the same.
	manifestColumns = schema.NewStruct(
		schema.Nullable("txn", txnColumn),
		schema.Nullable("add", addColumn),
		schema.Nullable("remove", removeColumn),
		schema.Nullable("metaData", metaDataColumn),
		schema.Nullable("protocol", protocolColumn),
		schema.Nullable("domainMetadata", domainColumn),
		schema.Nullable("checkpointMetadata", schema.NewStruct(
			schema.Nullable("version", schema.Long),
			schema.Nullable("tags", stringMap))),
		schema.Nullable("sidecar", schema.NewStruct(
			schema.Nullable("path", schema.String),
			schema.Nullable("sizeInBytes", schema.Long),
			schema.Nullable("modificationTime", schema.Long),
			schema.Nullable("tags", stringMap))))
)

// The rows of a checkpoint that are encoded at a time, those of a sidecar, and the bytes of a row group.
const (
	checkpointBatch = 4096
	sidecarRows     = 100_000
	checkpointGroup = 8 << 20
)

// WriteCheckpoint writes the log checkpoint of the snapshot's version, so that readers need not read
// the commits up to it, and points _last_checkpoint to it. A table whose property delta.checkpointPolicy
// is v2 gets one with sidecars, others one file. Its memory does not grow with the table's list of files,
// but for what the commits since the last checkpoint say.
//
// It changes nothing about the table: a failure can be passed over. A commit does it by itself, every
// delta.checkpointInterval versions. For a version that is not the newest, or that has a checkpoint, there
// is nothing to do.
func (s *Snapshot) WriteCheckpoint(ctx context.Context) error {
	_, err := s.writeCheckpoint(ctx)
	return err
}

func (s *Snapshot) writeCheckpoint(ctx context.Context) (*checkpoint, error) {
	if s.latest > s.version || s.checkpoint != nil && s.checkpoint.version == s.version {
		return s.checkpoint, nil
	}
	w := &checkpointWriter{s: s, hint: lastCheckpoint{Version: s.version}, counts: counts{version: s.version}}
	write := w.writeClassic
	if s.protocol.supports("v2Checkpoint") && strings.EqualFold(s.metadata.Configuration[propCheckpointPolicy], "v2") {
		write = w.writeV2
	}
	cp, err := write(ctx)
	if err == nil {
		err = w.point(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint of version %d: %w", s.version, err)
	}
	// All files have been counted, so the version can have a checksum that it may not have had.
	counted := *s
	counted.total = &w.counts
	_ = counted.writeChecksum(ctx)
	return cp, nil
}

// checkpointWriter writes one checkpoint.
type checkpointWriter struct {
	s      *Snapshot
	hint   lastCheckpoint
	counts counts
}

// count takes note of an action that was written.
func (w *checkpointWriter) count(a action) {
	w.hint.Size++
	if a.Add != nil {
		w.hint.NumOfAddFiles++
		w.counts.files++
		w.counts.bytes += a.Add.Size
	}
}

// writeClassic writes all actions into one file. Readers know its name, so it must not be seen in part:
// it is put as a whole.
func (w *checkpointWriter) writeClassic(ctx context.Context) (*checkpoint, error) {
	var file spool
	defer file.close()
	rows, err := w.s.newActionWriter(&file, classicColumns)
	if err != nil {
		return nil, err
	}
	defer rows.release()
	for a, err := range w.s.reconciled(ctx) {
		if err == nil {
			err = rows.write(a)
		}
		if err != nil {
			return nil, err
		}
		w.count(a)
	}
	if err := rows.close(); err != nil {
		return nil, err
	}
	body, err := file.reader()
	if err != nil {
		return nil, err
	}
	o, err := w.s.store.Put(ctx, checkpointKey(w.s.version), body, objstore.Cond{})
	w.hint.SizeInBytes = o.Size
	return &checkpoint{w.s.version, []objstore.Object{o}}, err
}

// writeV2 writes the file actions into sidecars, and what is not about files into the file that names
// them. Source: protocol, "V2 spec".
func (w *checkpointWriter) writeV2(ctx context.Context) (*checkpoint, error) {
	var manifest bytes.Buffer
	rows, err := w.s.newActionWriter(&manifest, manifestColumns)
	if err != nil {
		return nil, err
	}
	defer rows.release()
	if err := rows.write(action{CheckpointMetadata: &checkpointMetadata{Version: w.s.version}}); err != nil {
		return nil, err
	}
	var side *sidecarWriter
	defer func() { side.abort() }()
	var sidecars []sidecar
	end := func() error {
		if side == nil {
			return nil
		}
		x, err := side.close()
		if err != nil {
			return err
		}
		side, sidecars = nil, append(sidecars, x)
		return rows.write(action{Sidecar: &x})
	}
	for a, err := range w.s.reconciled(ctx) {
		if err != nil {
			return nil, err
		}
		w.count(a)
		if a.Add == nil && a.Remove == nil {
			if err := rows.write(a); err != nil {
				return nil, err
			}
			continue
		}
		if side == nil {
			if side, err = w.s.newSidecarWriter(ctx); err != nil {
				return nil, err
			}
		}
		if err := side.rows.write(a); err != nil {
			return nil, err
		}
		if side.rows.n == sidecarRows {
			if err := end(); err != nil {
				return nil, err
			}
		}
	}
	if err := end(); err != nil {
		return nil, err
	}
	if err := rows.close(); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%020d.checkpoint.%s.parquet", w.s.version, uuid.NewString())
	o, err := objstore.PutBytes(ctx, w.s.store, logDir+name, manifest.Bytes(), objstore.Cond{IfAbsent: true})
	if err != nil {
		return nil, err
	}
	w.hint.Size += int64(len(sidecars)) + 1
	w.hint.SizeInBytes = o.Size
	for _, x := range sidecars {
		w.hint.SizeInBytes += x.SizeInBytes
	}
	w.hint.V2 = &lastV2{Path: name, SizeInBytes: o.Size, ModificationTime: millis(o.ModTime)}
	if len(sidecars) <= maxHintSidecars {
		w.hint.V2.SidecarFiles = sidecars
	}
	return &checkpoint{w.s.version, []objstore.Object{o}}, nil
}

// sidecarWriter streams file actions into one sidecar, whose name nobody knows before its end.
type sidecarWriter struct {
	name string
	out  objstore.Writer
	rows *actionWriter
}

func (s *Snapshot) newSidecarWriter(ctx context.Context) (*sidecarWriter, error) {
	w := &sidecarWriter{name: uuid.NewString() + ".parquet"}
	var err error
	if w.out, err = objstore.Create(ctx, s.store, sidecarDir+w.name); err != nil {
		return nil, err
	}
	if w.rows, err = s.newActionWriter(w.out, sidecarColumns); err != nil {
		w.out.Abort()
		return nil, err
	}
	return w, nil
}

func (w *sidecarWriter) close() (sidecar, error) {
	if err := w.rows.close(); err != nil {
		return sidecar{}, err
	}
	o, err := w.out.Close()
	w.rows.release()
	return sidecar{Path: w.name, SizeInBytes: o.Size, ModificationTime: millis(o.ModTime)}, err
}

// abort gives up a sidecar that is open; nil is none.
func (w *sidecarWriter) abort() {
	if w != nil {
		w.out.Abort()
		w.rows.release()
	}
}

// point lets _last_checkpoint name the checkpoint, unless it names a newer one.
func (w *checkpointWriter) point(ctx context.Context) error {
	if old, ok := readLastCheckpoint(ctx, w.s.store); ok && old.Version > w.s.version {
		return nil
	}
	text, err := w.hint.marshal()
	if err != nil {
		return err
	}
	_, err = objstore.PutBytes(ctx, w.s.store, lastCheckpointKey, text, objstore.Cond{})
	return err
}

// reconciled yields the actions that make up the snapshot. Source: protocol, "Action Reconciliation".
func (s *Snapshot) reconciled(ctx context.Context) iter.Seq2[action, error] {
	return func(yield func(action, error) bool) {
		if !yield(action{Protocol: s.protocol}, nil) || !yield(action{MetaData: s.metadata}, nil) {
			return
		}
		for _, id := range slices.Sorted(maps.Keys(s.txns)) {
			t := s.txns[id]
			if !yield(action{Txn: &t}, nil) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.domains)) {
			d := s.domains[name]
			if !yield(action{DomainMetadata: &d}, nil) {
				return
			}
		}
		tail, err := s.tailState(ctx)
		if err != nil {
			yield(action{}, err)
			return
		}
		for r, err := range s.tombstones(ctx, tail, time.Now().Add(-s.metadata.retention())) {
			if !yield(action{Remove: r}, err) || err != nil {
				return
			}
		}
		for a, err := range s.liveFiles(ctx, tail) {
			if err == nil {
				kept := *a
				kept.DataChange = false
				a = &kept
			}
			if !yield(action{Add: a}, err) || err != nil {
				return
			}
		}
	}
}

// tombstones yields the removes since a time, whose files are kept for readers of older versions.
func (s *Snapshot) tombstones(ctx context.Context, r *tailState, since time.Time) iter.Seq2[*Remove, error] {
	return func(yield func(*Remove, error) bool) {
		oldest := millis(since)
		for a, err := range s.checkpointActions(ctx, removeColumns) {
			if err != nil {
				yield(nil, err)
				return
			}
			if r.isNew(a.Remove.Path, a.Remove.DeletionVector) && deref(a.Remove.DeletionTimestamp) > oldest && !yield(a.Remove, nil) {
				return
			}
		}
		for f, err := range parsedLines(ctx, r.removes) {
			if err != nil {
				yield(nil, err)
				return
			}
			if f.remove != nil && deref(f.remove.DeletionTimestamp) > oldest && !yield(f.remove, nil) {
				return
			}
		}
	}
}

// retention is how long removed files are kept.
func (m *Metadata) retention() time.Duration {
	if d, err := parseInterval(m.Configuration[propRetention]); err == nil {
		return d
	}
	return 7 * 24 * time.Hour
}

// parseInterval reads an interval as table properties have them, such as "interval 1 week".
func parseInterval(text string) (time.Duration, error) {
	words := strings.Fields(strings.ToLower(text))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, fmt.Errorf("%q is no interval", text)
	}
	var d time.Duration
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseInt(words[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no interval", text)
		}
		unit, ok := map[string]time.Duration{"week": 7 * 24 * time.Hour, "day": 24 * time.Hour, "hour": time.Hour, "minute": time.Minute,
			"second": time.Second, "millisecond": time.Millisecond, "microsecond": time.Microsecond}[strings.TrimSuffix(words[i+1], "s")]
		if !ok {
			return 0, fmt.Errorf("%q is no interval", text)
		}
		part := time.Duration(n) * unit
		if n < 0 || part/unit != time.Duration(n) || d > math.MaxInt64-part {
			return 0, fmt.Errorf("%q is no interval", text)
		}
		d += part
	}
	return d, nil
}

// actionWriter encodes actions as the rows of a Parquet file.
type actionWriter struct {
	b     *array.RecordBuilder
	pq    *parquetenc.Writer
	kinds []string
	parse *parsedColumns // nil when adds have no parsed columns
	n     int
}

func (s *Snapshot) newActionWriter(w io.Writer, columns *schema.Struct) (*actionWriter, error) {
	out := &actionWriter{}
	if i := columns.Index("add"); i >= 0 {
		var err error
		if out.parse, err = s.parsedColumns(); err != nil {
			return nil, err
		}
		if out.parse != nil {
			columns = schema.NewStruct(slices.Clone(columns.Fields)...)
			columns.Fields[i].Type = schema.NewStruct(append(slices.Clip(addColumn.Fields), out.parse.fields()...)...)
		}
	}
	for _, f := range columns.Fields {
		out.kinds = append(out.kinds, f.Name)
	}
	sc := columns.Arrow()
	var err error
	if out.pq, err = parquetenc.NewWriter(w, sc, parquetenc.Options{Codec: parquetenc.Snappy, CreatedBy: "silt version " + version(), RowGroupBytes: checkpointGroup}); err != nil {
		return nil, err
	}
	out.b = array.NewRecordBuilder(memory.DefaultAllocator, sc)
	return out, nil
}

func (w *actionWriter) write(a action) error {
	kind := a.kind()
	for i, name := range w.kinds {
		var row []any
		if name == kind {
			row = a.row()
			if a.Add != nil && w.parse != nil {
				row = w.parse.row(a.Add, row)
			}
		}
		appendRow(w.b.Field(i).(*array.StructBuilder), row)
	}
	if w.n++; w.n%checkpointBatch == 0 {
		return w.flush()
	}
	return nil
}

func (w *actionWriter) flush() (err error) {
	defer recovered(&err)
	rec := w.b.NewRecordBatch()
	defer rec.Release()
	if rec.NumRows() == 0 {
		return nil
	}
	return w.pq.Write(rec)
}

func (w *actionWriter) close() error {
	if err := w.flush(); err != nil {
		return err
	}
	_, err := w.pq.Close()
	return err
}

func (w *actionWriter) release() { w.b.Release() }

// row returns the fields of the action, in the order of its columns.
func (a action) row() []any {
	switch {
	case a.Add != nil:
		return a.Add.row()
	case a.Remove != nil:
		return a.Remove.row()
	case a.MetaData != nil:
		return a.MetaData.row()
	case a.Protocol != nil:
		return a.Protocol.row()
	case a.Txn != nil:
		return a.Txn.row()
	case a.DomainMetadata != nil:
		return a.DomainMetadata.row()
	case a.Sidecar != nil:
		return []any{a.Sidecar.Path, a.Sidecar.SizeInBytes, a.Sidecar.ModificationTime, map[string]string(nil)}
	case a.CheckpointMetadata != nil:
		return []any{a.CheckpointMetadata.Version, map[string]string(nil)}
	}
	return nil
}

// The rows of the kinds of actions, in the order of their columns; nil is null.

func (t *Txn) row() []any {
	if t == nil {
		return nil
	}
	return []any{t.AppID, t.Version, t.LastUpdated}
}

func (a *Add) row() []any {
	if a == nil {
		return nil
	}
	return []any{a.Path, notNil(a.PartitionValues), a.Size, a.ModificationTime, a.DataChange, orNull(a.Stats), a.Tags,
		a.DeletionVector.row(), a.BaseRowID, a.DefaultRowCommitVersion, orNull(a.ClusteringProvider)}
}

func (r *Remove) row() []any {
	if r == nil {
		return nil
	}
	return []any{r.Path, r.DeletionTimestamp, r.DataChange, r.ExtendedFileMetadata, r.PartitionValues, r.Size,
		r.DeletionVector.row(), r.BaseRowID, r.DefaultRowCommitVersion}
}

func (d *DeletionVectorDescriptor) row() []any {
	if d == nil {
		return nil
	}
	return []any{d.StorageType, d.PathOrInlineDV, d.Offset, d.SizeInBytes, d.Cardinality}
}

func (m *Metadata) row() []any {
	if m == nil {
		return nil
	}
	return []any{m.ID, orNull(m.Name), orNull(m.Description), []any{m.Format.Provider, notNil(m.Format.Options)},
		m.SchemaString, append([]string{}, m.PartitionColumns...), notNil(m.Configuration), m.CreatedTime}
}

func (p *Protocol) row() []any {
	if p == nil {
		return nil
	}
	readers, writers := p.ReaderFeatures, p.WriterFeatures
	if p.MinReaderVersion >= featureReader { // source: protocol, "Checkpoint Schema"
		readers = append([]string{}, readers...)
	}
	if p.MinWriterVersion >= featureWriter {
		writers = append([]string{}, writers...)
	}
	return []any{int32(p.MinReaderVersion), int32(p.MinWriterVersion), readers, writers}
}

func (d *DomainMetadata) row() []any {
	if d == nil {
		return nil
	}
	return []any{d.Domain, d.Configuration, d.Removed}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func notNil[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func appendRow(b *array.StructBuilder, fields []any) {
	if fields == nil {
		b.AppendNull()
		return
	}
	b.Append(true)
	for i, v := range fields {
		appendField(b.FieldBuilder(i), v)
	}
}

func appendField(b array.Builder, v any) {
	switch v := v.(type) {
	case string:
		b.(*array.StringBuilder).Append(v)
	case bool:
		b.(*array.BooleanBuilder).Append(v)
	case int64:
		b.(*array.Int64Builder).Append(v)
	case int32:
		b.(*array.Int32Builder).Append(v)
	case *int64:
		if v == nil {
			b.AppendNull()
		} else {
			b.(*array.Int64Builder).Append(*v)
		}
	case *int32:
		if v == nil {
			b.AppendNull()
		} else {
			b.(*array.Int32Builder).Append(*v)
		}
	case []string:
		l := b.(*array.ListBuilder)
		l.Append(v != nil)
		for _, s := range v {
			l.ValueBuilder().(*array.StringBuilder).Append(s)
		}
	case map[string]string:
		m := b.(*array.MapBuilder)
		m.Append(v != nil)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			m.KeyBuilder().(*array.StringBuilder).Append(k)
			m.ItemBuilder().(*array.StringBuilder).Append(v[k])
		}
	case map[string]*string:
		m := b.(*array.MapBuilder)
		m.Append(v != nil)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			m.KeyBuilder().(*array.StringBuilder).Append(k)
			appendField(m.ItemBuilder(), v[k])
		}
	case *string:
		if v == nil {
			b.AppendNull()
		} else {
			b.(*array.StringBuilder).Append(*v)
		}
	case []any:
		appendRow(b.(*array.StructBuilder), v)
	case scalar.Scalar:
		if v == nil || scalar.Append(b, v) != nil {
			b.AppendNull()
		}
	default:
		b.AppendNull()
	}
}
