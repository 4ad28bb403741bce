package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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
	ict      *int64 // in-commit timestamp of the version; nil when it was not read
	nonce    string // of the version's commit; empty when it has none or was not read

	checkpoint *checkpoint // nil without
	sidecars   []sidecar
	// unlisted says that the sidecars are not known, because the checkpoint was not read.
	unlisted bool
	tail     []entryFiles // of the commits behind the checkpoint, in order

	latest   int64   // the newest version that was seen in the log
	checksum int64   // the newest version up to this one that was seen to have a checksum; -1 is none
	total    *counts // of a version up to this one; nil when not known
}

// entryFiles is what one file of the log does to the data files of the table: a commit, or the
// compaction of several.
type entryFiles struct {
	from, version int64 // the first and the last of its commits
	adds          []*Add
	removes       []*Remove
	lines         [][]byte // of more such actions, not yet parsed
	unread        *logFile // the file, when nothing of it has been read
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

// read returns e with its lines.
func (e entryFiles) read(ctx context.Context, store objstore.Store) (entryFiles, error) {
	if e.unread == nil {
		return e, nil
	}
	actions, lines, err := readLogFile(ctx, store, *e.unread)
	if err != nil {
		return e, err
	}
	e.unread, e.lines = nil, lines
	for _, a := range actions {
		e.take(a)
	}
	return e, nil
}

// readLogFile reads the actions of a file of the log, and the lines of those that are about files.
func readLogFile(ctx context.Context, store objstore.Store, f logFile) (actions []action, lines [][]byte, err error) {
	text, _, err := objstore.ReadAll(ctx, store, f.Key)
	if err != nil {
		return nil, nil, err
	}
	if actions, lines, err = parseTableActions(text); err != nil {
		return nil, nil, &LogError{versionOf(f.Key), err.Error()}
	}
	return actions, lines, nil
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
		return nil, "", fmt.Errorf("%s lies outside the table, as the files of a shallow clone do", path)
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
	s, err := loadVersion(ctx, store, version)
	if err != nil {
		return nil, err
	}
	s.resolve = o.Resolve
	return s, nil
}

// loadVersion loads a version from its newest checkpoint, or when that cannot be read, from what is before
// it, as far as that is still there.
func loadVersion(ctx context.Context, store objstore.Store, version int64) (*Snapshot, error) {
	seg, err := listSegment(ctx, store, version)
	if err != nil {
		return nil, err
	}
	s, err := loadSegment(ctx, store, seg)
	var unsupported *UnsupportedError
	if err == nil || seg.checkpoint == nil || errors.As(err, &unsupported) || ctx.Err() != nil {
		return s, err
	}
	l, listErr := listLog(ctx, store, 0)
	if listErr != nil {
		return nil, err
	}
	for seg.checkpoint != nil {
		delete(l.checkpoints, seg.checkpoint.version)
		var segErr, loadErr error
		if seg, segErr = l.segment(version); segErr != nil {
			return nil, err
		}
		if s, loadErr = loadSegment(ctx, store, seg); loadErr == nil {
			return s, nil
		}
	}
	return nil, err
}

// noTable is what the first entry of a log builds on.
func noTable(store objstore.Store) *Snapshot {
	return &Snapshot{store: store, version: -1, txns: map[string]Txn{}, domains: map[string]DomainMetadata{},
		latest: -1, checksum: -1, total: &counts{version: -1}}
}

// logReads is how many files of a log are read together.
const logReads = 8

func loadSegment(ctx context.Context, store objstore.Store, seg *segment) (*Snapshot, error) {
	b := &snapshotBuilder{*noTable(store)}
	b.s.version, b.s.latest, b.s.checksum, b.s.checkpoint = seg.checkpointVersion(), seg.latest, seg.checksumVersion(), seg.checkpoint
	if b.s.version >= 0 {
		b.s.total = nil
	}
	known := b.s.version // what is needed of the log up to this version is known
	if sum := seg.shortcut(ctx, store); sum != nil {
		known = seg.checksumVersion()
		b.start(known, sum)
	} else if seg.checkpoint != nil {
		for a, err := range seg.checkpoint.table(ctx, store) {
			if err != nil {
				return nil, err
			}
			b.take(a)
		}
	}
	actions, lines := make([][]action, len(seg.commits)), make([][][]byte, len(seg.commits))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(logReads)
	for i, f := range seg.commits {
		if f.to > known {
			g.Go(func() (err error) {
				actions[i], lines[i], err = readLogFile(gctx, store, f)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, f := range seg.commits {
		if f.to <= known {
			b.s.tail = append(b.s.tail, entryFiles{from: versionOf(f.Key), version: f.to, unread: &f})
			continue
		}
		b.entry(versionOf(f.Key), f.to, actions[i], lines[i])
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

// start takes a checksum for everything that the log says up to its version, but for the files.
func (b *snapshotBuilder) start(version int64, sum *checksum) {
	b.s.version, b.s.protocol, b.s.metadata, b.s.ict, b.s.nonce = version, sum.Protocol, sum.Metadata, sum.InCommitTimestamp, sum.TxnID
	for _, t := range sum.Txns {
		b.s.txns[t.AppID] = t
	}
	for _, d := range sum.Domains {
		b.s.domains[d.Domain] = d
	}
	b.s.unlisted, b.s.total = b.s.checkpoint != nil, sum.counts(version)
}

// entry applies the next commit, or the compaction of several, which leads to a version. Lines are its
// actions that are not parsed.
func (b *snapshotBuilder) entry(from, version int64, actions []action, lines [][]byte) {
	files := entryFiles{from: from, version: version, lines: lines}
	b.s.ict, b.s.nonce = nil, ""
	for _, a := range actions {
		switch {
		case a.CommitInfo != nil:
			b.s.ict, b.s.nonce = a.CommitInfo.InCommitTimestamp, a.CommitInfo.TxnID
		case !files.take(a):
			b.take(a)
		}
	}
	b.s.version, b.s.latest = version, max(b.s.latest, version)
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
	if err := s.metadata.checkRead(s.protocol); err != nil {
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
		b.entry(b.s.version+1, b.s.version+1, e, nil)
	}
	return b.finish()
}

// manyCommits is how many commits an update reads at most. Behind more of them, the table is loaded from a
// checkpoint that is newer.
const manyCommits = 100

// Update returns the newest version of the table. It lists and reads only what was committed since s, as
// long as that is all there and not very much.
func (s *Snapshot) Update(ctx context.Context) (*Snapshot, error) {
	l, err := listLog(ctx, s.store, s.version+1)
	if err != nil {
		return s, err
	}
	newest := l.newestVersion()
	if newest <= s.version {
		return s, nil
	}
	whole := int64(len(l.commits)) == newest-s.version && versionOf(l.commits[0].Key) == s.version+1
	if !whole || len(l.commits) > manyCommits && len(l.checkpoints) > 0 {
		return Load(ctx, s.store, LoadOptions{Resolve: s.resolve})
	}
	entries := make([][]action, len(l.commits))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(logReads)
	for i, o := range l.commits {
		g.Go(func() (err error) {
			entries[i], err = readCommit(gctx, s.store, versionOf(o.Key))
			return err
		})
	}
	if err := g.Wait(); err != nil {
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
	adds    []fileLine
	removes []fileLine
}

// fileLine is a file action that may not be parsed yet: a log of very many files is never held in memory
// as anything but its text.
type fileLine struct {
	add    *Add
	remove *Remove
	line   []byte
}

// first reports whether the logical file is seen for the first time.
func (r *tailState) first(k fileKey) bool {
	if _, ok := r.seen[k]; ok {
		return false
	}
	r.seen[k] = struct{}{}
	return true
}

// tailState returns what the commits behind the checkpoint leave of data files and tombstones, in the
// order of the log.
func (s *Snapshot) tailState(ctx context.Context) (*tailState, error) {
	r := &tailState{seen: map[fileKey]struct{}{}}
	for i := len(s.tail) - 1; i >= 0; i-- {
		e, err := s.tail[i].read(ctx, s.store)
		if err == nil {
			err = r.visit(e)
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Reverse(r.adds)
	slices.Reverse(r.removes)
	return r, nil
}

// visit visits the actions of an entry, those of files that the table has before those that it has not
// any more: where a commit names one file both ways, it is there.
func (r *tailState) visit(e entryFiles) error {
	for _, a := range slices.Backward(e.adds) {
		if r.first(a.key()) {
			r.adds = append(r.adds, fileLine{add: a})
		}
	}
	var removes []fileLine
	for _, line := range slices.Backward(e.lines) {
		f := fileLine{line: line}
		key, isAdd, ok := lineKey(line)
		if !ok {
			a, err := parseAction(line)
			switch {
			case err != nil:
				return &LogError{e.version, err.Error()}
			case a.Add != nil:
				f, key, isAdd = fileLine{add: a.Add}, a.Add.key(), true
			case a.Remove != nil:
				f = fileLine{remove: a.Remove}
			default:
				continue
			}
		}
		switch {
		case !isAdd:
			removes = append(removes, f)
		case r.first(key):
			r.adds = append(r.adds, f)
		}
	}
	for _, a := range slices.Backward(e.removes) {
		removes = append(removes, fileLine{remove: a})
	}
	for _, f := range removes {
		key, _, ok := lineKey(f.line)
		if !ok {
			key = f.remove.key()
		}
		if r.first(key) {
			r.removes = append(r.removes, f)
		}
	}
	return nil
}

// lineKey returns which logical file a line is about, when that can be seen without parsing it.
func lineKey(line []byte) (key fileKey, isAdd, ok bool) {
	rest, isAdd := bytes.CutPrefix(line, []byte(`{"add":{"path":"`))
	if !isAdd {
		if rest, ok = bytes.CutPrefix(line, []byte(`{"remove":{"path":"`)); !ok {
			return key, false, false
		}
	}
	end := bytes.IndexAny(rest, "\"\\")
	if end < 0 || rest[end] != '"' || bytes.Contains(rest[end:], []byte("eletionVector")) {
		return key, isAdd, false
	}
	return fileKey{path: canonicalPath(string(rest[:end]))}, isAdd, true
}

// parseChunk is how many lines are parsed together, on all processors.
const parseChunk = 4096

// parsedLines yields the file actions, parsed.
func parsedLines(ctx context.Context, files []fileLine) iter.Seq2[fileLine, error] {
	return func(yield func(fileLine, error) bool) {
		for chunk := range slices.Chunk(files, parseChunk) {
			if chunk = slices.Clone(chunk); !yieldAll(chunk, parseLines(ctx, chunk), yield) {
				return
			}
		}
	}
}

func yieldAll(files []fileLine, err error, yield func(fileLine, error) bool) bool {
	if err != nil {
		return yield(fileLine{}, err) && false
	}
	for _, f := range files {
		if !yield(f, nil) {
			return false
		}
	}
	return true
}

func parseLines(ctx context.Context, files []fileLine) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for part := range slices.Chunk(files, parseChunk/8) {
		g.Go(func() error {
			for i, f := range part {
				if f.line == nil {
					continue
				}
				a, err := parseAction(f.line)
				if err != nil {
					return fmt.Errorf("the Delta log is broken: %w", err)
				}
				part[i] = fileLine{add: a.Add, remove: a.Remove}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// Files yields the data files of the table, older ones first.
func (s *Snapshot) Files(ctx context.Context) iter.Seq2[*Add, error] {
	return func(yield func(*Add, error) bool) {
		r, err := s.tailState(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		s.liveFiles(ctx, r)(yield)
	}
}

func (s *Snapshot) liveFiles(ctx context.Context, r *tailState) iter.Seq2[*Add, error] {
	return func(yield func(*Add, error) bool) {
		for a, err := range s.checkpointActions(ctx, addColumns) {
			if err != nil {
				yield(nil, fmt.Errorf("list the data files: %w", err))
				return
			}
			if r.isNew(a.Add.Path, a.Add.DeletionVector) && !yield(a.Add, nil) {
				return
			}
		}
		for f, err := range parsedLines(ctx, r.adds) {
			if err != nil || f.add != nil {
				if !yield(f.add, err) || err != nil {
					return
				}
			}
		}
	}
}

// checkpointActions yields the actions of the given columns in the checkpoint, none without one.
func (s *Snapshot) checkpointActions(ctx context.Context, columns *schema.Struct) iter.Seq2[action, error] {
	return func(yield func(action, error) bool) {
		if s.checkpoint == nil {
			return
		}
		sidecars := s.sidecars
		if s.unlisted {
			for a, err := range s.checkpoint.table(ctx, s.store) {
				if err != nil {
					yield(action{}, err)
					return
				}
				if a.Sidecar != nil {
					sidecars = append(sidecars, *a.Sidecar)
				}
			}
		}
		s.checkpoint.files(ctx, s.store, sidecars, columns)(yield)
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
