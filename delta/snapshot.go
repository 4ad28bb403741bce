package delta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Snapshot is one version of a table. It is immutable. What it knows of the data files is read when it
// is asked for: loading a table to append to it does not load the list of its files.
type Snapshot struct {
	store    objstore.Store
	resolve  Resolver
	version  int64
	protocol *Protocol
	metadata *Metadata
	schema   *schema.Struct
	txns     map[string]Txn
	domains  map[string]DomainMetadata
	ict      *int64 // in-commit timestamp of the newest commit that was read

	checkpoint *checkpoint // nil without
	sidecars   []sidecar
	tail       []entryFiles // of the commits behind the checkpoint, in order
}

// entryFiles is what one commit does to the data files of the table.
type entryFiles struct {
	version int64
	adds    []*Add
	removes []*Remove
	lines   [][]byte // of more such actions, not yet parsed
}

func (e *entryFiles) take(a action) bool {
	switch {
	case a.Add != nil:
		e.adds = append(e.adds, a.Add)
	case a.Remove != nil:
		e.removes = append(e.removes, a.Remove)
	default:
		return false
	}
	return true
}

// parsed returns e with everything parsed.
func (e entryFiles) parsed() (entryFiles, error) {
	if len(e.lines) == 0 {
		return e, nil
	}
	actions, err := parseFileActions(e.lines)
	if err != nil {
		return e, &LogError{e.version, err.Error()}
	}
	e.adds, e.removes, e.lines = slices.Clip(e.adds), slices.Clip(e.removes), nil
	for _, a := range actions {
		e.take(a)
	}
	return e, nil
}

// LoadOptions says which version to load.
type LoadOptions struct {
	Version *int64 // nil: the newest, unless Timestamp says other
	// Timestamp asks for the newest version that was there at this time. The zero time asks for none.
	Timestamp time.Time
	// Resolve finds files that lie outside of the table, such as those of a shallow clone. nil: reading
	// them is an error.
	Resolve Resolver
}

// A Resolver returns the store and the key of a file that the log names by an absolute URI or path.
type Resolver func(uri string) (store objstore.Store, key string, err error)

// locate returns the store and the key of the path of an add or of a deletion vector.
func (s *Snapshot) locate(path string) (objstore.Store, string, error) {
	if !isAbsolute(path) {
		key, err := decodePath(path)
		return s.store, key, err
	}
	if s.resolve == nil {
		return nil, "", fmt.Errorf("%s lies outside the table", path)
	}
	return s.resolve(path)
}

// Load reads the log of the table at the root of the store. Without a log the error is [ErrNoTable].
func Load(ctx context.Context, store objstore.Store, o LoadOptions) (*Snapshot, error) {
	version := int64(newest)
	switch {
	case o.Version != nil:
		version = *o.Version
		if version < 0 {
			return nil, &VersionError{Version: version}
		}
	case !o.Timestamp.IsZero():
		var err error
		if version, err = versionAt(ctx, store, o.Timestamp); err != nil {
			return nil, err
		}
	}
	seg, err := listSegment(ctx, store, version)
	if err != nil {
		return nil, err
	}
	s, err := loadSegment(ctx, store, seg)
	if err != nil {
		return nil, err
	}
	s.resolve = o.Resolve
	return s, nil
}

// noTable is what the first entry of a log builds on.
func noTable(store objstore.Store) *Snapshot {
	return &Snapshot{store: store, version: -1, txns: map[string]Txn{}, domains: map[string]DomainMetadata{}}
}

func loadSegment(ctx context.Context, store objstore.Store, seg *segment) (*Snapshot, error) {
	b := &snapshotBuilder{*noTable(store)}
	b.s.version, b.s.checkpoint = seg.checkpointVersion(), seg.checkpoint
	if seg.checkpoint != nil {
		for a, err := range seg.checkpoint.table(ctx, store) {
			if err != nil {
				return nil, err
			}
			b.take(a)
		}
	}
	for _, o := range seg.commits {
		text, _, err := objstore.ReadAll(ctx, store, o.Key)
		if err != nil {
			return nil, err
		}
		actions, lines, err := parseTableActions(text)
		if err != nil {
			return nil, &LogError{versionOf(o.Key), err.Error()}
		}
		b.entry(o.to, actions, lines)
	}
	return b.finish()
}

// snapshotBuilder is a snapshot under construction: actions come in the order of the log.
type snapshotBuilder struct{ s Snapshot }

// take applies an action that is not about files.
func (b *snapshotBuilder) take(a action) {
	switch {
	case a.Protocol != nil:
		b.s.protocol = a.Protocol
	case a.MetaData != nil:
		b.s.metadata, b.s.schema = a.MetaData, nil
	case a.Txn != nil:
		b.s.txns[a.Txn.AppID] = *a.Txn
	case a.DomainMetadata != nil && a.DomainMetadata.Removed:
		delete(b.s.domains, a.DomainMetadata.Domain)
	case a.DomainMetadata != nil:
		b.s.domains[a.DomainMetadata.Domain] = *a.DomainMetadata
	case a.Sidecar != nil:
		b.s.sidecars = append(b.s.sidecars, *a.Sidecar)
	}
}

// entry applies the next commit, which leads to a version. Lines are its actions that are not parsed.
func (b *snapshotBuilder) entry(version int64, actions []action, lines [][]byte) {
	files := entryFiles{version: version, lines: lines}
	b.s.ict = nil
	for _, a := range actions {
		switch {
		case a.CommitInfo != nil:
			b.s.ict = a.CommitInfo.InCommitTimestamp
		case !files.take(a):
			b.take(a)
		}
	}
	b.s.version = version
	b.s.tail = append(b.s.tail, files)
}

func (b *snapshotBuilder) finish() (*Snapshot, error) {
	s := &b.s
	switch {
	case s.protocol == nil:
		return nil, &LogError{s.version, "there is no protocol action up to it"}
	case s.metadata == nil:
		return nil, &LogError{s.version, "there is no metaData action up to it"}
	}
	if err := s.protocol.checkRead(); err != nil {
		return nil, err
	}
	if s.schema == nil {
		var err error
		if s.schema, err = schema.ParseJSON([]byte(s.metadata.SchemaString)); err != nil {
			return nil, &LogError{s.version, "its schema: " + err.Error()}
		}
	}
	return s, nil
}

// after returns the snapshot that the next entries make of s.
func (s *Snapshot) after(entries ...[]action) (*Snapshot, error) {
	b := &snapshotBuilder{*s}
	b.s.txns, b.s.domains = maps.Clone(s.txns), maps.Clone(s.domains)
	b.s.tail = slices.Clip(s.tail)
	for _, e := range entries {
		b.entry(b.s.version+1, e, nil)
	}
	return b.finish()
}

// Update returns the newest version of the table. It reads only what was committed since s.
func (s *Snapshot) Update(ctx context.Context) (*Snapshot, error) {
	entries, err := readEntries(ctx, s.store, s.version+1)
	if err != nil || len(entries) == 0 {
		return s, err
	}
	return s.after(entries...)
}

// readEntries reads the commits from a version on, to the newest.
func readEntries(ctx context.Context, store objstore.Store, version int64) ([][]action, error) {
	var entries [][]action
	for {
		actions, err := readCommit(ctx, store, version+int64(len(entries)))
		if errors.Is(err, objstore.ErrNotExist) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, actions)
	}
}

// Version returns the number of the version.
func (s *Snapshot) Version() int64 { return s.version }

// Metadata returns the table's metadata, which the caller does not change.
func (s *Snapshot) Metadata() *Metadata { return s.metadata }

// Protocol returns what the table needs of its readers and writers. The caller does not change it.
func (s *Snapshot) Protocol() *Protocol { return s.protocol }

// Schema returns the columns of the table, partition columns included.
func (s *Snapshot) Schema() *schema.Struct { return s.schema }

// TxnVersion returns the newest version that the application has written into the table.
func (s *Snapshot) TxnVersion(appID string) (version int64, ok bool) {
	t, ok := s.txns[appID]
	return t.Version, ok
}

// Domain returns the configuration that the table keeps under the name of a domain.
func (s *Snapshot) Domain(name string) (configuration string, ok bool) {
	d, ok := s.domains[name]
	return d.Configuration, ok
}

// fileKey identifies a logical file: a data file with one deletion vector or none.
// Source: protocol, "Action Reconciliation".
type fileKey struct{ path, dv string }

// tailState is what the commits behind the checkpoint say of files. Their actions are visited from the
// newest to the oldest, each logical file once: its state is what the first visit says.
type tailState struct {
	seen    map[fileKey]struct{}
	adds    []*Add
	removes []*Remove
}

// first reports whether the logical file is seen for the first time.
func (r *tailState) first(path string, dv *DeletionVectorDescriptor) bool {
	k := fileKey{canonicalPath(path), dv.id()}
	if _, ok := r.seen[k]; ok {
		return false
	}
	r.seen[k] = struct{}{}
	return true
}

// tailState returns what the commits behind the checkpoint leave of data files and tombstones, in the
// order of the log.
func (s *Snapshot) tailState() (*tailState, error) {
	r := &tailState{seen: map[fileKey]struct{}{}}
	for i := len(s.tail) - 1; i >= 0; i-- {
		e, err := s.tail[i].parsed()
		if err != nil {
			return nil, err
		}
		for j := len(e.adds) - 1; j >= 0; j-- {
			if a := e.adds[j]; r.first(a.Path, a.DeletionVector) {
				r.adds = append(r.adds, a)
			}
		}
		for j := len(e.removes) - 1; j >= 0; j-- {
			if a := e.removes[j]; r.first(a.Path, a.DeletionVector) {
				r.removes = append(r.removes, a)
			}
		}
	}
	slices.Reverse(r.adds)
	slices.Reverse(r.removes)
	return r, nil
}

// Files yields the data files of the table, older ones first.
func (s *Snapshot) Files(ctx context.Context) iter.Seq2[*Add, error] {
	return func(yield func(*Add, error) bool) {
		r, err := s.tailState()
		if err != nil {
			yield(nil, err)
			return
		}
		s.liveFiles(ctx, r)(yield)
	}
}

func (s *Snapshot) liveFiles(ctx context.Context, r *tailState) iter.Seq2[*Add, error] {
	return func(yield func(*Add, error) bool) {
		if s.checkpoint != nil {
			for a, err := range s.checkpoint.adds(ctx, s.store, s.sidecars) {
				if err != nil {
					yield(nil, fmt.Errorf("list the data files: %w", err))
					return
				}
				if r.isNew(a.Add.Path, a.Add.DeletionVector) && !yield(a.Add, nil) {
					return
				}
			}
		}
		for _, a := range r.adds {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// isNew reports whether the logical file has not been visited, without visiting it: a checkpoint names
// each one once.
func (r *tailState) isNew(path string, dv *DeletionVectorDescriptor) bool {
	if len(r.seen) == 0 {
		return true
	}
	_, ok := r.seen[fileKey{canonicalPath(path), dv.id()}]
	return !ok
}
