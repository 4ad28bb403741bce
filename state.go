package silt

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/catalog"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// State is what silt remembers about one pipeline, read without changing it.
type State struct {
	// Pipeline is its name, Location the folder of its checkpoint.
	Pipeline, Location string

	source  folder // empty when the configuration does not tell it
	at      *places
	store   objstore.Store  // of the checkpoint
	log     *checkpoint.Log // nil when the pipeline has not run
	schemas *evolve.Location
}

// FileState is what became of one version of a file. The names are those of Databricks'
// cloud_files_state where it has them.
type FileState struct {
	Path    string    `json:"path"` // URI, or the key where the source is not known
	Size    int64     `json:"size"`
	ModTime time.Time `json:"modification_time"`
	ETag    string    `json:"etag"`
	// Status is planned, loaded, quarantined, skipped, vanished, overwritten, deferred, waiting, failed, forgotten or
	// retried.
	Status string `json:"status"`
	Batch  int64  `json:"batch_id"`
	// CreateTime is when the version came to be, which is all that stores know of it: ModTime.
	CreateTime time.Time `json:"create_time"`
	// DiscoveryTime is when the batch was planned; zero of a file that no batch has met.
	DiscoveryTime time.Time `json:"discovery_time,omitzero"`
	// ProcessedTime is when the batch was complete that met the file last; CommitTime is the same, unless a
	// later batch is to take the file again.
	ProcessedTime *time.Time `json:"processed_time"`
	CommitTime    *time.Time `json:"commit_time"`
	// ArchiveTime is when cleanSource was done with all files of the batch. It is nil of a file that was
	// left, or taken away by somebody else.
	ArchiveTime   *time.Time `json:"archive_time"`
	ArchiveMode   string     `json:"archive_mode,omitempty"`  // MOVE, DELETE or TAG
	MoveLocation  string     `json:"move_location,omitempty"` // URI of where the file was moved to
	Records       int64      `json:"records"`
	Rows          int64      `json:"rows"`
	Rescued       int64      `json:"rescued_rows"`
	Bad           int64      `json:"corrupt_records"`
	Tries         int        `json:"tries"`
	Error         string     `json:"error,omitempty"`
	Reason        string     `json:"reason,omitempty"` // why it is skipped, forgotten, retried or adopted
	SchemaVersion int64      `json:"schema_version"`

	key string // below the source
}

// SchemaVersion is one version of the source schema.
type SchemaVersion struct {
	Version   int64          `json:"version"`
	WrittenAt time.Time      `json:"written_at"`
	Reason    string         `json:"reason"` // "inferred", "new fields", "given", "hints", "transform"
	Batch     int64          `json:"batch_id"`
	Schema    *schema.Struct `json:"schema"`
	Added     []NewField     `json:"added"`
	// Uncarried are known fields that the transform leaves out and whose values are rescued.
	Uncarried []string `json:"uncarried,omitempty"`
	Pending   []string `json:"pending,omitempty"`
	// Wide are the objects with too many fields, and those that would better be maps.
	Wide []WideObject `json:"wide,omitempty"`
}

// States returns what is remembered about the pipelines that load into the target. When cfg has a
// Source, a CheckpointLocation or a Name, only that pipeline's.
func States(ctx context.Context, cfg Config) ([]*State, error) {
	place, err := cfg.place()
	if err != nil {
		return nil, err
	}
	set, _ := cfg.parse()
	var from folder
	at := &places{o: set.s3, world: cfg.world}
	if cfg.Source != "" {
		if from, err = openFolder(at, cfg.Source); err != nil {
			return nil, err
		}
	}
	switch {
	case set.checkpoint != "":
		path, err := absolute(set.checkpoint)
		if err != nil {
			return nil, err
		}
		return oneState(ctx, at, path, from, set.schemaLocation)
	case cfg.Name != "" || cfg.Source != "":
		return oneState(ctx, at, catalog.Join(place.State, cfg.pipelineName(from)), from, set.schemaLocation)
	}
	names, err := catalog.Folders(ctx, at.open(place.State), "")
	if err != nil {
		return nil, err
	}
	var all []*State
	for _, name := range names {
		states, err := oneState(ctx, at, catalog.Join(place.State, name), from, set.schemaLocation)
		if err != nil {
			return nil, err
		}
		all = append(all, states...)
	}
	return all, nil
}

// oneState is the state below a folder, or nothing when there is none.
func oneState(ctx context.Context, at *places, location string, from folder, schemaLocation string) ([]*State, error) {
	store := at.open(location)
	log, err := checkpoint.OpenReadOnly(ctx, store, "")
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	schemas := store
	if schemaLocation != "" {
		there, err := absolute(schemaLocation)
		if err != nil {
			return nil, err
		}
		schemas = at.open(there)
	}
	return []*State{{Pipeline: cmp.Or(log.Pipeline(), path.Base(location)), Location: location, source: from, at: at, store: store, log: log,
		schemas: evolve.NewLocation(schemas, schemasPrefix)}}, nil
}

// from is the folder of the source, as far as the configuration or the newest batch tells it.
func (s *State) from(ctx context.Context) (folder, error) {
	if s.source.path != "" {
		return s.source, nil
	}
	for b, err := range s.log.Batches(ctx) {
		var c pinned
		if err == nil && json.Unmarshal(b.Plan.Config, &c) == nil && c.Source != "" {
			return folder{store: s.at.open(c.Source), path: c.Source}, nil
		}
		return folder{}, err
	}
	return folder{}, nil
}

// uri is the full name of a file, as far as it is known.
func (s *State) uri(b *checkpoint.Batch, key string) string {
	if s.source.path != "" {
		return s.source.URI(key)
	}
	var c pinned
	if json.Unmarshal(b.Plan.Config, &c) == nil && c.Source != "" {
		return folder{path: c.Source}.URI(key)
	}
	return key
}

// Files yields the files that were planned, the newest batch first. Of batches so old that their objects
// are gone, each file is there once, with what its last batch made of it, in the order of keys.
func (s *State) Files(ctx context.Context) iter.Seq2[FileState, error] {
	return func(yield func(FileState, error) bool) {
		oldest, last := int64(0), checkpoint.Batch{}
		for b, err := range s.log.Batches(ctx) {
			if err != nil {
				yield(FileState{}, err)
				return
			}
			oldest, last = b.Plan.Batch, b
			for _, f := range b.Files {
				if !yield(s.file(&b, f), nil) {
					return
				}
			}
		}
		archives, err := s.log.Archives(ctx, oldest)
		if err != nil {
			yield(FileState{}, err)
			return
		}
		for r, err := range s.log.Rows(ctx, oldest) {
			if err != nil {
				yield(FileState{}, err)
				return
			}
			out := s.row(&last, r)
			out.archived(archives[r.Batch])
			if !yield(out, nil) {
				return
			}
		}
	}
}

// row is a file of a batch whose objects were removed. Last is a batch that has the folder of the source.
func (s *State) row(last *checkpoint.Batch, r checkpoint.Row) FileState {
	out := newFileState(r.Object, s.uri(last, r.Key), r.Outcome)
	out.Batch, out.DiscoveryTime, out.SchemaVersion = r.Batch, r.Planned, r.SchemaVersion
	out.closed(r.Committed)
	return out
}

// newFileState is what an outcome says of a version of a file; nil says that it is planned.
func newFileState(f objstore.Object, uri string, o *checkpoint.FileOutcome) FileState {
	out := FileState{key: f.Key, Path: uri, Size: f.Size, ModTime: f.ModTime, CreateTime: f.ModTime, ETag: f.ETag, Status: "planned"}
	if o == nil {
		return out
	}
	out.Status, out.Tries, out.Error = string(o.State), o.Tries, o.Error
	out.Records, out.Rows, out.Rescued, out.Bad = o.Records, o.Rows, o.Rescued, o.Bad
	switch o.State {
	case checkpoint.Loaded, checkpoint.Skipped, checkpoint.Forgotten, checkpoint.Retried:
		out.Reason, out.Error = o.Error, ""
	}
	return out
}

// closed says when the batch was complete that has the file.
func (f *FileState) closed(at time.Time) {
	f.ProcessedTime = &at
	if !checkpoint.FileState(f.Status).Again() {
		f.CommitTime = &at
	}
}

// archived says what became of the file in the source; nil is nothing yet.
func (f *FileState) archived(a *checkpoint.Archived) {
	if a == nil || checkpoint.FileState(f.Status) != checkpoint.Loaded {
		return
	}
	was := a.Of(f.key)
	if was.Mode == "" {
		return
	}
	f.ArchiveTime, f.ArchiveMode, f.MoveLocation = &a.Time, was.Mode, was.To
	if cleanMode(was.Mode) == cleanMove && was.To == "" {
		f.MoveLocation = folder{path: a.Location}.URI(f.key)
	}
}

func (s *State) file(b *checkpoint.Batch, f checkpoint.File) FileState {
	out := newFileState(f.Object, s.uri(b, f.Key), f.Outcome)
	out.Batch, out.DiscoveryTime, out.SchemaVersion = b.Plan.Batch, b.Plan.Time, b.Plan.SchemaVersion
	if f.Outcome != nil {
		out.SchemaVersion = b.Staged.SchemaVersion
	}
	if b.Commits != nil {
		out.closed(b.Commits.Time)
		out.archived(b.Archived)
	} else {
		out.Status = "planned"
	}
	return out
}

// Runs returns the summaries of runs, the newest first.
func (s *State) Runs(ctx context.Context) ([]*Summary, error) {
	var all []*Summary
	for r, err := range s.log.Runs(ctx) {
		if err != nil {
			return nil, err
		}
		sum := new(Summary)
		if err := json.Unmarshal(r.Body, sum); err != nil {
			return nil, fmt.Errorf("run %s: %w", r.ID, err)
		}
		all = append(all, sum)
	}
	slices.Reverse(all)
	return all, nil
}

// SchemaHistory returns the versions of the source schema, the oldest first.
func (s *State) SchemaHistory(ctx context.Context) ([]SchemaVersion, error) {
	versions, err := s.schemas.History(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]SchemaVersion, len(versions))
	for i, v := range versions {
		out[i] = SchemaVersion{Version: v.Number, WrittenAt: v.WrittenAt, Reason: v.Reason, Batch: v.Batch,
			Schema: v.Data(), Uncarried: v.Uncarried, Pending: v.Pending}
		for _, f := range v.Added {
			out[i].Added = append(out[i].Added, newField(f))
		}
		for _, w := range v.Wide {
			out[i].Wide = append(out[i].Wide, wideObject(w))
		}
	}
	return out, nil
}

// QuarantinedRecord is a record that could not become a row.
type QuarantinedRecord struct {
	ID     string    `json:"id"` // of the place of the record; stable
	Time   time.Time `json:"quarantined_at"`
	Batch  int64     `json:"batch_id"`
	File   string    `json:"source_file"`
	Line   int64     `json:"line"`
	Offset int64     `json:"offset"` // bytes into the decompressed file
	Length int64     `json:"length"` // bytes
	Cut    bool      `json:"cut"`    // Record holds only the start
	// Reason is "not JSON", "transform", "key", "expectation", "constraint", "file" or "rescued".
	Reason string `json:"reason"`
	// Rules are those that rows of the record break.
	Rules   []string `json:"rules,omitempty"`
	Detail  string   `json:"detail"`
	ErrorAt int64    `json:"error_at"` // bytes into Record
	Record  []byte   `json:"-"`
}

// Quarantine yields the records in the quarantine table of the target.
func Quarantine(ctx context.Context, cfg Config) iter.Seq2[QuarantinedRecord, error] {
	return func(yield func(QuarantinedRecord, error) bool) {
		place, err := cfg.place()
		if err != nil {
			yield(QuarantinedRecord{}, err)
			return
		}
		t := openTable(cfg.places(), quarantineTable, place.Table, place.Quarantine)
		s, err := t.load(ctx)
		if err != nil {
			yield(QuarantinedRecord{}, err)
			return
		}
		if s == nil {
			return
		}
		for rec, err := range s.Scan(delta.ScanOptions{}).Batches(ctx) {
			if err != nil {
				yield(QuarantinedRecord{}, err)
				return
			}
			for row := range int(rec.NumRows()) {
				if !yield(quarantinedRecord(rec, row), nil) {
					rec.Release()
					return
				}
			}
			rec.Release()
		}
	}
}

// ErrNoTable means that there is no table of the name, or at the path.
var ErrNoTable = errors.New("there is no such table")

// TableInfo describes a table.
type TableInfo struct {
	Name       string            `json:"name"`
	Location   string            `json:"location"`
	Version    int64             `json:"version"`
	ID         string            `json:"id"`
	Files      int64             `json:"numFiles"`
	Bytes      int64             `json:"sizeInBytes"`
	Rows       int64             `json:"numRecords"` // -1 when statistics are missing
	CreatedAt  *time.Time        `json:"createdAt"`
	Modified   *time.Time        `json:"lastModified"`
	Partition  []string          `json:"partitionColumns"`
	Properties map[string]string `json:"properties"`
	MinReader  int               `json:"minReaderVersion"`
	MinWriter  int               `json:"minWriterVersion"`
	Features   []string          `json:"tableFeatures"`
	Schema     *schema.Struct    `json:"schema"`
}

// TableHistoryEntry is one version of a table, under the names of DESCRIBE HISTORY.
type TableHistoryEntry struct {
	Version             int64                      `json:"version"`
	Timestamp           time.Time                  `json:"timestamp"`
	Operation           string                     `json:"operation"`
	OperationParameters map[string]json.RawMessage `json:"operationParameters"`
	OperationMetrics    map[string]json.RawMessage `json:"operationMetrics"`
	ReadVersion         *int64                     `json:"readVersion,omitempty"`
	IsolationLevel      string                     `json:"isolationLevel,omitempty"`
	IsBlindAppend       *bool                      `json:"isBlindAppend,omitempty"`
	UserName            string                     `json:"userName,omitempty"`
	EngineInfo          string                     `json:"engineInfo"`
	UserMetadata        string                     `json:"userMetadata,omitempty"`
}

// loadTarget opens the target of a Config.
func loadTarget(ctx context.Context, cfg Config, version *int64) (*table, *delta.Snapshot, error) {
	place, err := cfg.place()
	if err != nil {
		return nil, nil, err
	}
	t := openTable(cfg.places(), mainTable, place.Table, place.Path)
	s, err := delta.Load(ctx, t.store, delta.LoadOptions{Version: version, Resolve: t.files})
	if errors.Is(err, delta.ErrNoTable) {
		return nil, nil, fmt.Errorf("%s: %w%s", place.Table, ErrNoTable, knownTables(cfg.Catalogs, cfg.Target.Table != ""))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("table %s: %w", place.Table, err)
	}
	return &t, s, nil
}

// DescribeTable tells what the table is. With version nil it is the newest.
func DescribeTable(ctx context.Context, cfg Config, version *int64) (*TableInfo, error) {
	t, s, err := loadTarget(ctx, cfg, version)
	if err != nil {
		return nil, err
	}
	m, p := s.Metadata(), s.Protocol()
	out := &TableInfo{
		Name: t.name, Location: t.uri(), Version: s.Version(), ID: m.ID, Partition: m.PartitionColumns,
		Properties: m.Configuration, MinReader: p.MinReaderVersion, MinWriter: p.MinWriterVersion,
		Features: merged(p.ReaderFeatures, p.WriterFeatures), Schema: s.Schema(),
	}
	if m.CreatedTime != nil {
		at := time.UnixMilli(*m.CreatedTime).UTC()
		out.CreatedAt = &at
	}
	for add, err := range s.Files(ctx) {
		if err != nil {
			return nil, err
		}
		out.Files++
		out.Bytes += add.Size
		var stats struct {
			NumRecords *int64 `json:"numRecords"`
		}
		if json.Unmarshal([]byte(add.Stats), &stats) != nil || stats.NumRecords == nil || out.Rows < 0 {
			out.Rows = -1
			continue
		}
		out.Rows += *stats.NumRecords
		if add.DeletionVector != nil {
			out.Rows -= add.DeletionVector.Cardinality
		}
	}
	history, err := delta.History(ctx, t.store, 1)
	if err == nil && len(history) > 0 && version == nil {
		at := history[0].Timestamp
		out.Modified = &at
	}
	return out, nil
}

// TableHistory returns the newest versions of the table, at most limit (0: all), the newest first.
func TableHistory(ctx context.Context, cfg Config, limit int) ([]TableHistoryEntry, error) {
	t, _, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	entries, err := delta.History(ctx, t.store, limit)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	out := make([]TableHistoryEntry, len(entries))
	for i, e := range entries {
		out[i] = TableHistoryEntry{Version: e.Version, Timestamp: e.Timestamp, Operation: e.Operation,
			OperationParameters: e.OperationParameters, OperationMetrics: e.OperationMetrics,
			ReadVersion: e.ReadVersion, IsolationLevel: e.IsolationLevel, IsBlindAppend: e.IsBlindAppend, UserName: e.UserName,
			EngineInfo: e.EngineInfo, UserMetadata: e.UserMetadata}
	}
	return out, nil
}
