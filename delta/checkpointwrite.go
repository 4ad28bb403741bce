package delta

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// checkpointColumns are those that are written. Source: protocol, "Checkpoint Schema".
var checkpointColumns = schema.NewStruct(
	schema.Nullable("txn", txnColumn),
	schema.Nullable("add", addColumn),
	schema.Nullable("remove", removeColumn),
	schema.Nullable("metaData", metaDataColumn),
	schema.Nullable("protocol", protocolColumn),
	schema.Nullable("domainMetadata", domainColumn))

// The rows of a checkpoint that are encoded at a time, and those of one row group.
const (
	checkpointBatch = 4096
	checkpointGroup = 64 << 10
)

// WriteCheckpoint writes the log checkpoint of the snapshot's version, so that readers need not read
// the commits up to it, and points _last_checkpoint to it. It changes nothing about the table: a
// failure can be passed over.
func (s *Snapshot) WriteCheckpoint(ctx context.Context) error {
	var b bytes.Buffer
	w, err := newCheckpointWriter(&b)
	if err != nil {
		return fmt.Errorf("checkpoint of version %d: %w", s.version, err)
	}
	hint := lastCheckpoint{Version: s.version}
	for a, err := range s.reconciled(ctx) {
		if err == nil {
			err = w.write(a)
		}
		if err != nil {
			return fmt.Errorf("checkpoint of version %d: %w", s.version, err)
		}
		hint.Size++
		if a.Add != nil {
			hint.NumOfAddFiles++
		}
	}
	if err := w.close(); err != nil {
		return fmt.Errorf("checkpoint of version %d: %w", s.version, err)
	}
	hint.SizeInBytes = int64(b.Len())
	if _, err := objstore.PutBytes(ctx, s.store, checkpointKey(s.version), b.Bytes(), objstore.Cond{}); err != nil {
		return fmt.Errorf("checkpoint of version %d: %w", s.version, err)
	}
	if old, ok := readLastCheckpoint(ctx, s.store); ok && old.Version > s.version {
		return nil
	}
	text, err := json.Marshal(hint)
	if err != nil {
		return err
	}
	_, err = objstore.PutBytes(ctx, s.store, lastCheckpointKey, text, objstore.Cond{})
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
		tail, err := s.tailState()
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
		if s.checkpoint != nil {
			for a, err := range s.checkpoint.removes(ctx, s.store, s.sidecars) {
				if err != nil {
					yield(nil, err)
					return
				}
				if r.isNew(a.Remove.Path, a.Remove.DeletionVector) && deref(a.Remove.DeletionTimestamp) > oldest && !yield(a.Remove, nil) {
					return
				}
			}
		}
		for _, a := range r.removes {
			if deref(a.DeletionTimestamp) > oldest && !yield(a, nil) {
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
		d += time.Duration(n) * unit
	}
	return d, nil
}

// checkpointWriter encodes actions as rows.
type checkpointWriter struct {
	b  *array.RecordBuilder
	pq *pqarrow.FileWriter
	n  int
}

func newCheckpointWriter(w io.Writer) (*checkpointWriter, error) {
	mem := memory.DefaultAllocator
	sc := checkpointColumns.Arrow()
	pq, err := pqarrow.NewFileWriter(sc, w, parquet.NewWriterProperties(
		parquet.WithCompression(compress.Codecs.Snappy), parquet.WithCreatedBy("silt version "+version()),
		parquet.WithMaxRowGroupLength(checkpointGroup), parquet.WithDataPageVersion(parquet.DataPageV1),
		parquet.WithRootName("spark_schema")), pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, err
	}
	return &checkpointWriter{b: array.NewRecordBuilder(mem, sc), pq: pq}, nil
}

func (w *checkpointWriter) write(a action) error {
	values := [...][]any{a.Txn.row(), a.Add.row(), a.Remove.row(), a.MetaData.row(), a.Protocol.row(), a.DomainMetadata.row()}
	for i, v := range values {
		appendRow(w.b.Field(i).(*array.StructBuilder), v)
	}
	if w.n++; w.n%checkpointBatch == 0 {
		return w.flush()
	}
	return nil
}

func (w *checkpointWriter) flush() (err error) {
	defer recovered(&err)
	rec := w.b.NewRecordBatch()
	defer rec.Release()
	if rec.NumRows() == 0 {
		return nil
	}
	return w.pq.WriteBuffered(rec)
}

func (w *checkpointWriter) close() error {
	defer w.b.Release()
	if err := w.flush(); err != nil {
		return err
	}
	return w.pq.Close()
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
	return []any{int32(p.MinReaderVersion), int32(p.MinWriterVersion), p.ReaderFeatures, p.WriterFeatures}
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
	default:
		b.AppendNull()
	}
}
