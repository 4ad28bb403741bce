package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/objstore"
)

// RestoreMetrics says what a restore did. Sizes are in bytes.
type RestoreMetrics struct {
	NumRestoredFiles, RestoredFilesSize           int64
	NumRemovedFiles, RemovedFilesSize             int64
	NumOfFilesAfterRestore, TableSizeAfterRestore int64
}

// A GoneError means that files of a version are no longer there, because they were vacuumed.
type GoneError struct {
	Version int64
	Paths   []string
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("version %d cannot be restored: %d of its files are gone, the first is %s", e.Version, len(e.Paths), e.Paths[0])
}

// Restore makes the table again what it was at another version, as its next version: the files, the
// schema and the properties. The versions between stay in the history. The protocol is never lowered,
// and what applications have noted with a txn stays: a loader does not load again what it has loaded.
// The restored files must all be there, otherwise the error is a [*GoneError].
//
// s is the newest version. A commit by others meanwhile is a [*ConflictError], since rows that nobody
// has looked at would be taken away.
func (s *Snapshot) Restore(ctx context.Context, to LoadOptions) (*Snapshot, RestoreMetrics, error) {
	old, t, m, err := s.restoration(ctx, to)
	switch {
	case err != nil:
		return nil, m, err
	case t == nil:
		return s, m, nil
	}
	if err := old.checkFiles(ctx, t.adds); err != nil {
		return nil, m, err
	}
	t.special.metrics = m.texts()
	next, err := t.Commit(ctx, nil)
	return next, m, err
}

// PlanRestore says what [Snapshot.Restore] would do, and does nothing. It returns the version that would
// be restored, and finds out whether its files are there.
func (s *Snapshot) PlanRestore(ctx context.Context, to LoadOptions) (*Snapshot, RestoreMetrics, error) {
	old, t, m, err := s.restoration(ctx, to)
	if err == nil && t != nil {
		err = old.checkFiles(ctx, t.adds)
	}
	return old, m, err
}

// restoration returns the version to restore and the transaction that does it, which is nil when there is
// nothing to do.
func (s *Snapshot) restoration(ctx context.Context, to LoadOptions) (old *Snapshot, t *Transaction, m RestoreMetrics, err error) {
	if to.Version == nil && to.Timestamp.IsZero() {
		return nil, nil, m, errors.New("restore: want a version or a time")
	}
	if to.Resolve == nil {
		to.Resolve = s.resolve
	}
	if old, err = Load(ctx, s.store, to); err != nil {
		return nil, nil, m, err
	}
	if old.version > s.version {
		return nil, nil, m, &VersionError{Version: old.version, Newest: s.version}
	}
	p, err := s.restoredPlan(old)
	if err != nil {
		return nil, nil, m, err
	}
	t = s.beginSpecial("RESTORE", special{parameters: restoreParameters(to), isolation: serializable, alone: true, domains: s.restoredDomains(old)})
	t.plan = p
	if err := t.restoreFiles(ctx, old, &m); err != nil {
		return nil, nil, m, err
	}
	if old.version == s.version || len(t.adds)+len(t.removes)+len(t.special.domains) == 0 && !p.metadataChanged && !p.protoChange {
		t = nil
	}
	return old, t, m, nil
}

func restoreParameters(to LoadOptions) map[string]json.RawMessage {
	p := map[string]json.RawMessage{"version": json.RawMessage("null"), "timestamp": json.RawMessage("null")}
	if to.Version != nil {
		p["version"] = json.RawMessage(strconv.FormatInt(*to.Version, 10))
	} else {
		p["timestamp"] = quoteJSON(to.Timestamp.UTC().Format(time.RFC3339Nano))
	}
	return p
}

func (m RestoreMetrics) texts() map[string]string {
	return countTexts(map[string]int64{
		"numRestoredFiles": m.NumRestoredFiles, "restoredFilesSize": m.RestoredFilesSize,
		"numRemovedFiles": m.NumRemovedFiles, "removedFilesSize": m.RemovedFilesSize,
		"numOfFilesAfterRestore": m.NumOfFilesAfterRestore, "tableSizeAfterRestore": m.TableSizeAfterRestore,
	})
}

func countTexts(counts map[string]int64) map[string]string {
	texts := make(map[string]string, len(counts))
	for k, n := range counts {
		texts[k] = strconv.FormatInt(n, 10)
	}
	return texts
}

// The properties that a restore does not take back: those of in-commit timestamps, without which the
// times of versions would no longer grow.
var keptProperties = []string{propICT, propICTVersion, propICTTime}

// restoredPlan returns the old metadata on the protocol of both versions.
func (s *Snapshot) restoredPlan(old *Snapshot) (plan, error) {
	for _, at := range []*Snapshot{s, old} {
		if err := at.protocol.checkMaintain(); err != nil {
			return plan{}, err
		}
	}
	if use := fieldsWith("delta.identity.start")(old.metadata, old.schema); use != "" {
		return plan{}, &UnsupportedError{"restore", []string{"identityColumns (" + use + ")"}}
	}
	m := *old.metadata
	m.Configuration = notNil(maps.Clone(m.Configuration))
	for _, key := range keptProperties {
		if v, ok := s.metadata.Configuration[key]; ok {
			m.Configuration[key] = v
		} else {
			delete(m.Configuration, key)
		}
	}
	// An id that a column once had is never another's. Source: protocol, "Column Mapping".
	was, _ := strconv.ParseInt(m.Configuration[propMaxColumnID], 10, 64)
	if is, _ := strconv.ParseInt(s.metadata.Configuration[propMaxColumnID], 10, 64); is > was {
		m.Configuration[propMaxColumnID] = strconv.FormatInt(is, 10)
	}
	p := plan{schema: old.schema, metadata: &m, protocol: s.protocol.union(old.protocol)}
	p.protoChange = p.protocol != s.protocol
	p.metadataChanged = !sameMetadata(&m, s.metadata)
	return p, nil
}

func sameMetadata(a, b *Metadata) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// restoredDomains returns what becomes of the columns that the table is clustered by. Other domains
// stay: nothing is known of what they are about.
func (s *Snapshot) restoredDomains(old *Snapshot) []DomainMetadata {
	is, now := s.domains[clusteringDomain]
	was, then := old.domains[clusteringDomain]
	switch {
	case then && (!now || was.Configuration != is.Configuration):
		return []DomainMetadata{was}
	case now && !then:
		is.Removed = true
		return []DomainMetadata{is}
	}
	return nil
}

// restoreFiles adds the files that only the old version has, and removes those that only the read one
// has.
func (t *Transaction) restoreFiles(ctx context.Context, old *Snapshot, m *RestoreMetrics) error {
	now := time.Now()
	wanted := map[fileKey]bool{}
	for a, err := range old.Files(ctx) {
		if err != nil {
			return err
		}
		wanted[a.key()] = true
		m.NumOfFilesAfterRestore++
		m.TableSizeAfterRestore += a.Size
	}
	present := map[fileKey]bool{}
	for a, err := range t.read.Files(ctx) {
		if err != nil {
			return err
		}
		if k := a.key(); wanted[k] {
			present[k] = true
			continue
		}
		t.removes = append(t.removes, a.Remove(now, true))
		m.NumRemovedFiles++
		m.RemovedFilesSize += a.Size
	}
	for a, err := range old.Files(ctx) {
		if err != nil {
			return err
		}
		if present[a.key()] {
			continue
		}
		again := *a
		again.DataChange = true
		t.Add(&again)
		m.NumRestoredFiles++
		m.RestoredFilesSize += a.Size
	}
	return nil
}

// key identifies the logical file.
func (a *Add) key() fileKey { return fileKey{canonicalPath(a.Path), a.DeletionVector.id()} }

func (r *Remove) key() fileKey { return fileKey{canonicalPath(r.Path), r.DeletionVector.id()} }

// lookups is how many files are looked at together.
const lookups = 16

// checkFiles fails when one of the files is not there as the log says, or its deletion vector is not.
func (s *Snapshot) checkFiles(ctx context.Context, adds []*Add) error {
	wrong := make([]string, len(adds))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, a := range adds {
		g.Go(func() (err error) {
			wrong[i], err = s.checkFile(ctx, a)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	gone := &GoneError{Version: s.version}
	for _, path := range wrong {
		if path != "" {
			gone.Paths = append(gone.Paths, path)
		}
	}
	if len(gone.Paths) > 0 {
		return gone
	}
	return nil
}

// checkFile returns the path of what is not there of the file; empty when all is.
func (s *Snapshot) checkFile(ctx context.Context, a *Add) (gone string, err error) {
	size, err := s.sizeOf(ctx, a.Path)
	switch {
	case errors.Is(err, objstore.ErrNotExist), err == nil && size != a.Size:
		return a.Path, nil
	case err != nil:
		return "", fmt.Errorf("data file %s: %w", a.Path, err)
	}
	path, err := a.DeletionVector.path()
	if err != nil || path == "" {
		return "", err
	}
	if _, err = s.sizeOf(ctx, path); errors.Is(err, objstore.ErrNotExist) {
		return path, nil
	}
	return "", err
}

// sizeOf returns the size of the object of a path as the log has it.
func (s *Snapshot) sizeOf(ctx context.Context, path string) (int64, error) {
	store, key, err := s.locate(path)
	if err != nil {
		return 0, err
	}
	body, o, err := store.Open(ctx, key, objstore.Range{Len: 1})
	if err != nil {
		return 0, err
	}
	return o.Size, body.Close()
}

// path returns the path of the file with the deletion vector, as the log would have it; empty for one
// that is in the log itself.
func (d *DeletionVectorDescriptor) path() (string, error) {
	switch {
	case d == nil, d.StorageType == dvInline:
		return "", nil
	case d.StorageType == dvRelative:
		key, err := deletionVectorKey(d.PathOrInlineDV)
		return encodePath(key), err
	}
	return d.PathOrInlineDV, nil
}
