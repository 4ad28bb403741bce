package delta

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"
	"github.com/google/uuid"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// ChangeFile is a file with rows that a version has changed, and how. It is there for those who follow
// the changes of a table, and not part of the table's rows. Source: protocol, "Add CDC File".
type ChangeFile struct {
	Path            string             `json:"path"`
	PartitionValues map[string]*string `json:"partitionValues"`
	Size            int64              `json:"size"`       // bytes
	DataChange      bool               `json:"dataChange"` // false
	Tags            map[string]string  `json:"tags,omitempty"`
}

// ChangeType is how a row has changed.
type ChangeType string

// The ways. Source: protocol, "Change Data Files".
const (
	ChangeInsert          ChangeType = "insert"
	ChangeDelete          ChangeType = "delete"
	ChangeUpdatePreimage  ChangeType = "update_preimage"
	ChangeUpdatePostimage ChangeType = "update_postimage"
)

// The columns of changes.
const (
	changeTypeColumn      = "_change_type"
	changeVersionColumn   = "_commit_version"
	changeTimestampColumn = "_commit_timestamp"
)

const (
	propChangeData = "delta.enableChangeDataFeed"
	changeDataDir  = "_change_data/"
)

// ChangeDataFeed reports whether a change of the table that adds and removes rows in one commit must say
// with a [ChangeWriter] which.
func (s *Snapshot) ChangeDataFeed() bool {
	return s.protocol.supports("changeDataFeed") && s.metadata.isTrue(propChangeData)
}

// AddChanges says which rows the transaction changes. Its files, if there are any, must be about every
// row that it inserts, updates or deletes: readers look at nothing else then.
func (t *Transaction) AddChanges(files ...*ChangeFile) { t.changes = append(t.changes, files...) }

// ChangeWriter writes change data files. It belongs to one goroutine.
type ChangeWriter struct{ w *DataWriter }

// NewChangeWriter returns a writer of change data files. Of the options it takes Tags and Allocator.
func NewChangeWriter(ctx context.Context, store objstore.Store, wc WriteContext, o DataWriterOptions) (*ChangeWriter, error) {
	kind := schema.Nullable(changeTypeColumn, schema.String)
	if wc.Mapping != "" {
		var err error
		if kind, err = kind.WithMetadata(metaPhysicalName, changeTypeColumn); err != nil {
			return nil, err
		}
	}
	// The values are those of the table's rows: they are neither made nor checked once more.
	plain, err := rewriteFields(wc.Schema, func(f schema.Field) (schema.Field, error) {
		f.Metadata = withoutKeys(f.Metadata, metaGenerated, metaIdentity, metaDefault, metaInvariants)
		f.Nullable = true
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	wc.Schema = plain.(*schema.Struct).Append(kind)
	wc.Constraints, wc.NeedsSQL, wc.Stats = nil, nil, StatsColumns{}
	wc.RowIDColumn, wc.RowVersionColumn = "", ""
	w, err := NewDataWriter(ctx, store, wc, DataWriterOptions{Tags: o.Tags, Allocator: o.Allocator,
		Name: func(part int) string { return fmt.Sprintf("cdc-%05d-%s.parquet", part, uuid.NewString()) }})
	if err != nil {
		return nil, err
	}
	w.dir = changeDataDir
	return &ChangeWriter{w}, nil
}

func withoutKeys[V any](m map[string]V, keys ...string) map[string]V {
	out := make(map[string]V, len(m))
	for k, v := range m {
		if !slices.Contains(keys, k) {
			out[k] = v
		}
	}
	return out
}

// Write adds rows that have changed in one way. They are matched to the table's columns as a [DataWriter]
// does it. It does not keep rec.
func (c *ChangeWriter) Write(ctx context.Context, rec arrow.RecordBatch, kind ChangeType) error {
	if rec.NumRows() == 0 {
		return nil
	}
	kinds, err := repeatScalar(c.w.o.Allocator, scalar.NewStringScalar(string(kind)), int(rec.NumRows()))
	if err != nil {
		return err
	}
	defer kinds.Release()
	fields := append(slices.Clone(rec.Schema().Fields()), arrow.Field{Name: changeTypeColumn, Type: arrow.BinaryTypes.String, Nullable: true})
	rows := array.NewRecordBatch(arrow.NewSchema(fields, nil), append(slices.Clone(rec.Columns()), kinds), rec.NumRows())
	defer rows.Release()
	return c.w.Write(ctx, rows)
}

// Close finishes the files, see [DataWriter.Close].
func (c *ChangeWriter) Close(ctx context.Context) ([]*ChangeFile, error) {
	adds, err := c.w.Close(ctx)
	out := make([]*ChangeFile, len(adds))
	for i, a := range adds {
		out[i] = &ChangeFile{Path: a.Path, PartitionValues: a.PartitionValues, Size: a.Size, Tags: a.Tags}
	}
	return out, err
}

// Abort gives up the files, see [DataWriter.Abort].
func (c *ChangeWriter) Abort(ctx context.Context) { c.w.Abort(ctx) }

// A NoChangesError means that the changes of a version are not known, because the table did not keep them
// then.
type NoChangesError struct{ Version int64 }

func (e *NoChangesError) Error() string {
	return fmt.Sprintf("the changes of version %d are not known: %s was not set", e.Version, propChangeData)
}

// ChangesSchema returns the columns of [Snapshot.Changes]: those of the table, and behind them
// _change_type, _commit_version and _commit_timestamp.
func (s *Snapshot) ChangesSchema() *schema.Struct {
	return s.schema.Append(schema.Nullable(changeTypeColumn, schema.String),
		schema.Nullable(changeVersionColumn, schema.Long), schema.Nullable(changeTimestampColumn, schema.Timestamp))
}

// Changes yields the rows that the versions from one to another, both included, have inserted, updated and
// deleted, in the columns that the table has in s. A version at which the table did not keep its changes
// is a [*NoChangesError]. The caller releases each batch.
func (s *Snapshot) Changes(ctx context.Context, from, to int64) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		if err := s.changes(ctx, from, to, func(rec arrow.RecordBatch) bool { return yield(rec, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

func (s *Snapshot) changes(ctx context.Context, from, to int64, yield func(arrow.RecordBatch) bool) error {
	if from < 0 || to > s.version || from > to {
		return &VersionError{Version: max(from, to), Newest: s.version}
	}
	l, err := listLog(ctx, s.store, from)
	if err != nil {
		return err
	}
	times := commitTimes(l.commits)
	first, err := Load(ctx, s.store, LoadOptions{Version: &from, Resolve: s.resolve})
	if err != nil {
		return err
	}
	kept := first.metadata.isTrue(propChangeData)
	for v := from; v <= to; v++ {
		actions, err := readCommit(ctx, s.store, v)
		if err != nil {
			return fmt.Errorf("changes of version %d: %w", v, err)
		}
		c := versionChanges{s: s, version: v, yield: yield}
		for i, o := range l.commits {
			if versionOf(o.Key) == v {
				c.at = times[i]
			}
		}
		for _, a := range actions {
			switch {
			case a.CommitInfo != nil && a.CommitInfo.InCommitTimestamp != nil:
				c.at = time.UnixMilli(*a.CommitInfo.InCommitTimestamp)
			case a.MetaData != nil:
				kept = a.MetaData.isTrue(propChangeData)
			case a.CDC != nil:
				c.files = append(c.files, a.CDC)
			case a.Add != nil && a.Add.DataChange:
				c.adds = append(c.adds, a.Add)
			case a.Remove != nil && a.Remove.DataChange:
				c.removes = append(c.removes, a.Remove)
			}
		}
		if !kept {
			return &NoChangesError{v}
		}
		if more, err := c.read(ctx); err != nil || !more {
			return err
		}
	}
	return nil
}

// versionChanges is what one version has changed.
type versionChanges struct {
	s       *Snapshot
	version int64
	at      time.Time
	files   []*ChangeFile
	adds    []*Add
	removes []*Remove
	yield   func(arrow.RecordBatch) bool
}

// read yields the changes: those of the change data files, or else those that adds and removes tell.
func (c *versionChanges) read(ctx context.Context) (more bool, err error) {
	for _, f := range c.files {
		if more, err = c.file(ctx, &Add{Path: f.Path, PartitionValues: f.PartitionValues, Size: f.Size}, "", nil, nil); err != nil || !more {
			return more, err
		}
	}
	if len(c.files) > 0 {
		return true, nil
	}
	added := map[string]*Add{}
	for _, a := range c.adds {
		added[canonicalPath(a.Path)] = a
	}
	for _, r := range c.removes {
		before := &Add{Path: r.Path, PartitionValues: r.PartitionValues, Size: deref(r.Size), DeletionVector: r.DeletionVector}
		if a := added[canonicalPath(r.Path)]; a != nil {
			delete(added, canonicalPath(r.Path))
			more, err = c.difference(ctx, before, a)
		} else {
			more, err = c.file(ctx, before, ChangeDelete, nil, nil)
		}
		if err != nil || !more {
			return more, err
		}
	}
	for _, a := range c.adds {
		if added[canonicalPath(a.Path)] == nil {
			continue
		}
		if more, err = c.file(ctx, a, ChangeInsert, nil, nil); err != nil || !more {
			return more, err
		}
	}
	return true, nil
}

// difference yields the rows of one file that only one of two deletion vectors deletes.
func (c *versionChanges) difference(ctx context.Context, before, after *Add) (bool, error) {
	var gone [2]*roaring64.Bitmap
	for i, a := range []*Add{before, after} {
		gone[i] = roaring64.New()
		if a.DeletionVector != nil {
			var err error
			if gone[i], err = c.s.readDeletionVector(ctx, a.DeletionVector); err != nil {
				return false, err
			}
		}
	}
	if more, err := c.file(ctx, after, ChangeDelete, nil, roaring64.AndNot(gone[1], gone[0])); err != nil || !more {
		return more, err
	}
	return c.file(ctx, after, ChangeInsert, nil, roaring64.AndNot(gone[0], gone[1]))
}

// file yields the rows of a file; without a kind, it is in the rows. Only, when it is not nil, are the only
// rows wanted.
func (c *versionChanges) file(ctx context.Context, add *Add, kind ChangeType, deleted, only *roaring64.Bitmap) (more bool, err error) {
	if only != nil && only.IsEmpty() {
		return true, nil
	}
	mem := memory.DefaultAllocator
	cols, err := c.s.Scan(ScanOptions{Allocator: mem}).columns()
	if err != nil {
		return false, err
	}
	n := len(cols)
	if kind == "" {
		cols = append(cols, &column{typ: schema.String, name: changeTypeColumn, path: []string{changeTypeColumn},
			out: arrow.Field{Name: changeTypeColumn, Type: arrow.BinaryTypes.String, Nullable: true}})
	}
	out := c.s.ChangesSchema().Arrow()
	for l, err := range c.s.readRows(ctx, add, fileRead{mem: mem, cols: cols, deleted: deleted, only: only}) {
		if err != nil {
			return false, fmt.Errorf("changes of version %d: %s: %w", c.version, add.Path, err)
		}
		rec, err := c.record(mem, out, l.rec, n, kind)
		if err != nil {
			return false, err
		}
		if !c.yield(rec) {
			return false, nil
		}
	}
	return true, nil
}

func (c *versionChanges) record(mem memory.Allocator, out *arrow.Schema, rows arrow.RecordBatch, n int, kind ChangeType) (arrow.RecordBatch, error) {
	columns := slices.Clone(rows.Columns())
	values := []scalar.Scalar{scalar.NewStringScalar(string(kind)), scalar.NewInt64Scalar(c.version),
		scalar.NewTimestampScalar(arrow.Timestamp(c.at.UnixMicro()), out.Field(n+2).Type)}
	if kind == "" {
		values = values[1:]
	}
	for _, v := range values {
		a, err := repeatScalar(mem, v, int(rows.NumRows()))
		if err != nil {
			return nil, err
		}
		defer a.Release()
		columns = append(columns, a)
	}
	return array.NewRecordBatch(out, columns, rows.NumRows()), nil
}
