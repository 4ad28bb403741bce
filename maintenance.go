package silt

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Maintenance of a table is planned first, by looking at it, and then done. The target of the Config
// names the table; it need not be one that silt has loaded.

// TableProgress is how far the maintenance of a table is.
type TableProgress struct {
	// Files are those that were read, or deleted, of FilesTotal; 0 is an unknown total.
	Files, FilesTotal int64
	// BytesRead are those of data files, of BytesTotal.
	BytesRead, BytesTotal int64
}

// TableVersionAt returns the newest version that a table had at a time.
func TableVersionAt(ctx context.Context, cfg Config, at time.Time) (int64, error) {
	t, _, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return 0, err
	}
	s, err := delta.Load(ctx, t.store, delta.LoadOptions{Timestamp: at, Resolve: t.files})
	if err != nil {
		return 0, fmt.Errorf("table %s: %w", t.name, err)
	}
	return s.Version(), nil
}

// TableDetail is what DESCRIBE DETAIL shows of a table, under its names.
type TableDetail struct {
	Format            string            `json:"format"`
	ID                string            `json:"id"`
	Name              string            `json:"name"`
	Description       string            `json:"description"`
	Location          string            `json:"location"`
	CreatedAt         *time.Time        `json:"createdAt"`
	LastModified      *time.Time        `json:"lastModified"`
	PartitionColumns  []string          `json:"partitionColumns"`
	ClusteringColumns []string          `json:"clusteringColumns"`
	NumFiles          int64             `json:"numFiles"`
	SizeInBytes       int64             `json:"sizeInBytes"`
	Properties        map[string]string `json:"properties"`
	MinReaderVersion  int               `json:"minReaderVersion"`
	MinWriterVersion  int               `json:"minWriterVersion"`
	TableFeatures     []string          `json:"tableFeatures"`
	Version           int64             `json:"version"`
}

// DetailTable describes a table as DESCRIBE DETAIL does. With version nil it is the newest.
func DetailTable(ctx context.Context, cfg Config, version *int64) (*TableDetail, error) {
	t, s, err := loadTarget(ctx, cfg, version)
	if err != nil {
		return nil, err
	}
	d, err := s.Detail(ctx)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	out := &TableDetail{
		Format: d.Format, ID: d.ID, Name: d.Name, Description: d.Description, Location: t.uri(),
		CreatedAt: timeOrNil(d.CreatedAt), LastModified: timeOrNil(d.LastModified), PartitionColumns: d.PartitionColumns,
		ClusteringColumns: d.ClusteringColumns, NumFiles: d.NumFiles, SizeInBytes: d.SizeInBytes, Properties: d.Properties,
		MinReaderVersion: d.MinReaderVersion, MinWriterVersion: d.MinWriterVersion, TableFeatures: d.TableFeatures, Version: s.Version(),
	}
	if out.Name == "" {
		out.Name = t.name
	}
	return out, nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// RestorePlan is what a restore does to a table.
type RestorePlan struct {
	Table string `json:"table"`
	// Version is the one that the table has, To the one that it becomes again.
	Version int64 `json:"version"`
	To      int64 `json:"restores"`
	// The files that come back, those that leave, and all that there are then; sizes are in bytes.
	RestoredFiles int64 `json:"numRestoredFiles"`
	RestoredBytes int64 `json:"restoredFilesSize"`
	RemovedFiles  int64 `json:"numRemovedFiles"`
	RemovedBytes  int64 `json:"removedFilesSize"`
	FilesAfter    int64 `json:"numOfFilesAfterRestore"`
	BytesAfter    int64 `json:"tableSizeAfterRestore"`
	// Added and Removed are the columns, and fields in them, that come back and that leave.
	Added   []NewField     `json:"addedColumns,omitempty"`
	Removed []NewField     `json:"removedColumns,omitempty"`
	Changed []ChangedField `json:"changedColumns,omitempty"`

	snapshot *delta.Snapshot
	to       delta.LoadOptions
}

// PlanRestore finds out what it takes to make a table again what it was at a version, or at a time when
// version is nil. That its files are all there is part of it.
func PlanRestore(ctx context.Context, cfg Config, version *int64, at time.Time) (*RestorePlan, error) {
	t, s, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	p := &RestorePlan{Table: t.name, Version: s.Version(), snapshot: s, to: delta.LoadOptions{Version: version, Timestamp: at}}
	old, m, err := s.PlanRestore(ctx, p.to)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	p.To = old.Version()
	p.metrics(m)
	for _, a := range schema.Additions(s.Schema(), old.Schema()) {
		p.Added = append(p.Added, NewField{Path: schema.Path(a.Path...), DDL: a.Type.String()})
	}
	for _, a := range schema.Additions(old.Schema(), s.Schema()) {
		p.Removed = append(p.Removed, NewField{Path: schema.Path(a.Path...), DDL: a.Type.String()})
	}
	p.Changed = changed(nil, s.Schema(), old.Schema(), nil)
	return p, nil
}

func (p *RestorePlan) metrics(m delta.RestoreMetrics) {
	p.RestoredFiles, p.RestoredBytes = m.NumRestoredFiles, m.RestoredFilesSize
	p.RemovedFiles, p.RemovedBytes = m.NumRemovedFiles, m.RemovedFilesSize
	p.FilesAfter, p.BytesAfter = m.NumOfFilesAfterRestore, m.TableSizeAfterRestore
}

// Restore does what is planned and returns the version that the table has then, which is the planned
// one's when there is nothing to do. When others have written to the table since, the error is a
// [delta.ConflictError] and nothing is done: nobody has looked at their rows.
func (p *RestorePlan) Restore(ctx context.Context) (int64, error) {
	next, m, err := p.snapshot.Restore(ctx, p.to)
	if err != nil {
		return 0, fmt.Errorf("table %s: %w", p.Table, err)
	}
	p.metrics(m)
	return next.Version(), nil
}

// OptimizeOptions say how small files become larger ones.
type OptimizeOptions struct {
	// TargetSize is about the size of the new files in bytes; 0 is what the table says, or 128 MiB.
	TargetSize int64
	// DryRun writes nothing.
	DryRun bool
	// Progress, when set, is told now and then how far it is. It is called from several goroutines.
	Progress func(TableProgress)
}

// ParseSize reads a size in bytes as Spark writes it: a whole number and k, m, g or t, with or without a b.
func ParseSize(text string) (int64, error) { return parseBytes(text) }

// OptimizeReport says what became of the small files of a table. Sizes are in bytes.
type OptimizeReport struct {
	Table   string `json:"table"`
	Version int64  `json:"version"` // that the table has then
	// The files that were packed, or would be, and those that hold their rows now.
	PackedFiles  int64 `json:"numRemovedFiles"`
	PackedBytes  int64 `json:"numRemovedBytes"`
	WrittenFiles int64 `json:"numAddedFiles"`
	WrittenBytes int64 `json:"numAddedBytes"`
	// DeletionVectors is how many of the files had rows that were marked as deleted.
	DeletionVectors int64 `json:"numDeletionVectorsRemoved"`
	// Files are all that the table has then.
	Files int64 `json:"numFiles"`
	Bytes int64 `json:"sizeInBytes"`
}

// OptimizeTable packs the small files of a table into larger ones. It changes no row, and others may
// write meanwhile. The old files stay until they are vacuumed.
func OptimizeTable(ctx context.Context, cfg Config, o OptimizeOptions) (*OptimizeReport, error) {
	t, s, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*OptimizeReport, error) { return nil, fmt.Errorf("table %s: %w", t.name, err) }
	opt := delta.OptimizeOptions{TargetSize: o.TargetSize, DryRun: true}
	_, m, err := s.Optimize(ctx, opt)
	if err != nil {
		return fail(err)
	}
	if !o.DryRun && m.NumRemovedFiles > 0 {
		total := TableProgress{FilesTotal: m.NumRemovedFiles, BytesTotal: m.NumRemovedBytes}
		if s, err = delta.Load(ctx, &watchedStore{Store: t.store, tell: o.Progress, total: total}, delta.LoadOptions{Resolve: t.files}); err != nil {
			return fail(err)
		}
		opt.DryRun = false
		if s, m, err = s.Optimize(ctx, opt); err != nil {
			return fail(err)
		}
	}
	d, err := s.Detail(ctx)
	if err != nil {
		return fail(err)
	}
	return &OptimizeReport{Table: t.name, Version: s.Version(), PackedFiles: m.NumRemovedFiles, PackedBytes: m.NumRemovedBytes,
		WrittenFiles: m.NumAddedFiles, WrittenBytes: m.NumAddedBytes, DeletionVectors: m.NumDeletionVectorsRemoved,
		Files: d.NumFiles, Bytes: d.SizeInBytes}, nil
}

// VacuumOptions say which files to delete.
type VacuumOptions struct {
	// Retention is how long files that have left the table stay; nil is what the table says, or a week.
	Retention *time.Duration
	// Force allows less than a week. Nobody else must be writing then.
	Force bool
	// DryRun deletes nothing.
	DryRun bool
	// Progress, when set, is told now and then how far it is. It is called from several goroutines.
	Progress func(TableProgress)
}

// VacuumReport says which files of a table nothing needs. Sizes are in bytes.
type VacuumReport struct {
	Table string `json:"table"`
	// Before is the time since which no version needs the files.
	Before  time.Time    `json:"before"`
	Files   []UnusedFile `json:"files"`
	Bytes   int64        `json:"sizeInBytes"`
	Deleted int64        `json:"numDeletedFiles"`
}

// UnusedFile is a file below a table that nothing needs.
type UnusedFile struct {
	Path     string    `json:"path"` // in the table's folder
	Size     int64     `json:"size"`
	Modified time.Time `json:"modificationTime"`
}

// VacuumTable deletes the files below a table that no version within the retention needs. Older versions
// can no longer be read, or restored, then.
func VacuumTable(ctx context.Context, cfg Config, o VacuumOptions) (*VacuumReport, error) {
	t, _, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	s, err := delta.Load(ctx, &watchedStore{Store: t.store, tell: o.Progress, deletes: true}, delta.LoadOptions{Resolve: t.files})
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	r, err := s.Vacuum(ctx, delta.VacuumOptions{Retention: o.Retention, Force: o.Force, DryRun: o.DryRun})
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	out := &VacuumReport{Table: t.name, Before: r.Before, Files: make([]UnusedFile, len(r.Files)), Bytes: r.Bytes, Deleted: r.Deleted}
	for i, f := range r.Files {
		out.Files[i] = UnusedFile{f.Key, f.Size, f.ModTime}
	}
	return out, nil
}

// CheckpointTable writes the log checkpoint of the newest version of a table and returns its number.
func CheckpointTable(ctx context.Context, cfg Config) (int64, error) {
	t, s, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return 0, err
	}
	if err := s.WriteCheckpoint(ctx); err != nil {
		return 0, fmt.Errorf("table %s: %w", t.name, err)
	}
	return s.Version(), nil
}

// TableFinding is something about a table that is not as it should be.
type TableFinding struct {
	// Subject is what it is about: log, checkpoint, checksum, file, statistics or rows.
	Subject string `json:"subject"`
	Version int64  `json:"version"`
	Path    string `json:"path,omitempty"` // of the file
	Problem string `json:"problem"`
	Fix     string `json:"fix,omitempty"` // what can be done about it
}

// CheckOptions say what of a table to check.
type CheckOptions struct {
	// Version is the one to check; nil is the newest.
	Version *int64
	// Rows reads every row, too.
	Rows bool
	// Progress, when set, is told now and then how far it is. It is called from several goroutines.
	Progress func(TableProgress)
}

// TableReport is what a check of a table has looked at and found. Sizes are in bytes.
type TableReport struct {
	Table    string `json:"table"`
	Version  int64  `json:"version"`
	Files    int64  `json:"numFiles"`
	Bytes    int64  `json:"sizeInBytes"`
	Commits  int64  `json:"numCommits"`           // that are in the log
	Checksum bool   `json:"checksum"`             // whether the version has one
	Rows     int64  `json:"numRecords,omitempty"` // that were read
	// Orphans are files below the table that no version in the log names. Somebody may be about to commit
	// them.
	Orphans     int64          `json:"numOrphans"`
	OrphanBytes int64          `json:"orphanSizeInBytes"`
	Findings    []TableFinding `json:"findings"`
}

// CheckTable compares what a table says with what is there: log, checkpoints and checksums with each other,
// and with the data files. What it finds is no error.
func CheckTable(ctx context.Context, cfg Config, o CheckOptions) (*TableReport, error) {
	t, _, err := loadTarget(ctx, cfg, o.Version)
	if err != nil {
		return nil, err
	}
	s, err := delta.Load(ctx, &watchedStore{Store: t.store, tell: o.Progress}, delta.LoadOptions{Version: o.Version, Resolve: t.files})
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	check := s.Check
	if o.Rows {
		check = s.CheckRows
	}
	r, err := check(ctx)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	out := &TableReport{Table: t.name, Version: s.Version(), Files: r.Files, Bytes: r.Bytes, Commits: r.Commits, Checksum: r.Checksum,
		Rows: r.Rows, Orphans: r.Orphans, OrphanBytes: r.OrphanBytes, Findings: make([]TableFinding, len(r.Findings))}
	for i, f := range r.Findings {
		out.Findings[i] = TableFinding(f)
	}
	return out, nil
}

// watchedStore tells how many data files have been read, or deleted, through it.
type watchedStore struct {
	objstore.Store
	tell    func(TableProgress) // may be nil
	total   TableProgress       // the totals
	deletes bool                // deletions count, not reads
	files   atomic.Int64
	bytes   atomic.Int64
	last    atomic.Pointer[string] // the key read last: a file is read in many parts
	mu      sync.Mutex             // one is told at a time
}

func (w *watchedStore) progress() {
	if w.tell == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.total
	p.Files, p.BytesRead = w.files.Load(), w.bytes.Load()
	w.tell(p)
}

// Open counts what is no part of the log.
func (w *watchedStore) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	body, o, err := w.Store.Open(ctx, key, r)
	if err != nil || w.deletes || key[0] == '_' {
		return body, o, err
	}
	if last := w.last.Swap(&key); last == nil || *last != key {
		w.files.Add(1)
		w.progress()
	}
	return &watchedBody{body, w}, o, nil
}

// Create keeps the stream that the store may have.
func (w *watchedStore) Create(ctx context.Context, key string) (objstore.Writer, error) {
	return objstore.Create(ctx, w.Store, key)
}

// Delete counts the deletions that went well.
func (w *watchedStore) Delete(ctx context.Context, key string, cond objstore.Cond) error {
	err := w.Store.Delete(ctx, key, cond)
	if err == nil && w.deletes {
		w.files.Add(1)
		w.progress()
	}
	return err
}

type watchedBody struct {
	io.ReadCloser
	store *watchedStore
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.store.bytes.Add(int64(n))
	b.store.progress()
	return n, err
}
