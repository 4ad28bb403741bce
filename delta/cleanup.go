package delta

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
)

// CleanLogOptions say what of a log to delete.
type CleanLogOptions struct {
	// Retention is how long versions stay readable; nil is what the table says, or else 30 days.
	Retention *time.Duration
	// DryRun finds the files and deletes none.
	DryRun bool
}

// CleanLogResult is what a clean-up of a log has found and done.
type CleanLogResult struct {
	// Before is the time since when all versions stay readable.
	Before time.Time
	// Oldest is the oldest version that stays readable.
	Oldest int64
	// Files are those of the log that no version since Before needs, in the order in which they are
	// deleted.
	Files []objstore.Object
	Bytes int64 // of the files
	// Deleted is how many of the files were deleted.
	Deleted int64
}

// A ProtectedError means that the table forbids what was asked of its log.
type ProtectedError struct {
	// Property is the one that does.
	Property string
	Value    string
}

func (e *ProtectedError) Error() string {
	return fmt.Sprintf("the log stays: the table has %s=%s", e.Property, e.Value)
}

// The properties of log clean-up. Source: Delta, "Table properties reference", and the protocol,
// "Checkpoint Protection".
const (
	propLogRetention      = "delta.logRetentionDuration"
	propLogCleanup        = "delta.enableExpiredLogCleanup"
	propProtectedVersions = "delta.requireCheckpointProtectionBeforeVersion"
)

// defaultLogRetention is what a table has that does not say. Source: Delta, "delta.logRetentionDuration".
const defaultLogRetention = 30 * 24 * time.Hour

// sidecarAge is how old a sidecar must be that no checkpoint names: somebody may be writing the one that
// does.
const sidecarAge = 24 * time.Hour

// CleanLog deletes what the log needs only for versions that are older than the retention: commits, log
// checkpoints and checksums. Everything from the newest log checkpoint on from which the oldest version
// within the retention can be read stays; where there is no such checkpoint, nothing is deleted. The data
// files stay, too: those are vacuumed. Older versions can no longer be read after that.
//
// Days count whole, as Delta has it: what has expired since midnight (UTC) stays until the next.
//
// A clean-up that ends early leaves a log that can be read, and the next one goes on.
func (s *Snapshot) CleanLog(ctx context.Context, o CleanLogOptions) (CleanLogResult, error) {
	var r CleanLogResult
	retention := s.metadata.logRetention()
	if o.Retention != nil {
		retention = *o.Retention
	}
	if retention < 0 {
		return r, fmt.Errorf("clean the log: a retention of %s is less than none", retention)
	}
	s, err := Load(ctx, s.store, LoadOptions{Resolve: s.resolve})
	if err != nil {
		return r, err
	}
	if err := s.protocol.checkMaintain(); err != nil {
		return r, err
	}
	if v := s.metadata.Configuration[propLogCleanup]; strings.EqualFold(v, "false") {
		return r, &ProtectedError{propLogCleanup, v}
	}
	r.Before = time.Now().Add(-retention).UTC()
	if retention >= 24*time.Hour {
		r.Before = r.Before.Truncate(24 * time.Hour)
	}
	l, err := listLog(ctx, s.store, 0)
	if err != nil {
		return r, err
	}
	keep, err := s.oldestKept(ctx, l, r.Before)
	if r.Oldest = keep; err != nil || keep <= 0 {
		r.Oldest = l.oldest()
		return r, err
	}
	if err := s.protects(keep); err != nil {
		return r, err
	}
	if r.Files, err = s.expired(ctx, keep); err != nil {
		return r, err
	}
	for _, f := range r.Files {
		r.Bytes += f.Size
	}
	if o.DryRun {
		return r, nil
	}
	for files := r.Files; len(files) > 0; {
		n := 1
		for rank(files[0].Key) == 0 && n < len(files) && rank(files[n].Key) == 0 {
			n++
		}
		if err := s.deleteLog(ctx, files[:n], &r); err != nil {
			return r, err
		}
		files = files[n:]
	}
	return r, nil
}

// deleteLog deletes files of the log together.
func (s *Snapshot) deleteLog(ctx context.Context, files []objstore.Object, r *CleanLogResult) error {
	part := VacuumResult{Files: files}
	err := s.deleteFiles(ctx, &part)
	r.Deleted += part.Deleted
	return err
}

func (m *Metadata) logRetention() time.Duration {
	if d, err := parseInterval(m.Configuration[propLogRetention]); err == nil {
		return d
	}
	return defaultLogRetention
}

// oldestKept returns the version of the log checkpoint from which on everything is kept, or -1 when that
// is all. It has read that checkpoint.
func (s *Snapshot) oldestKept(ctx context.Context, l *listing, before time.Time) (int64, error) {
	needed, err := versionAt(ctx, s.store, before)
	var tooOld *TimeError
	switch {
	case errors.As(err, &tooOld): // nothing has expired
		return -1, nil
	case err != nil:
		return -1, err
	}
	seg, err := l.segment(needed)
	switch {
	case err != nil:
		return -1, err
	case seg.checkpoint == nil:
		return -1, nil
	}
	// What is deleted is deleted for good: the checkpoint, its sidecars, and every commit behind it must
	// be there.
	if _, err := l.segment(s.version); err != nil {
		return -1, err
	}
	at, err := loadSegment(ctx, s.store, &segment{version: seg.checkpoint.version, checkpoint: seg.checkpoint, latest: s.version})
	if err != nil {
		return -1, err
	}
	for _, err := range at.Files(ctx) {
		if err != nil {
			return -1, err
		}
	}
	for v := seg.checkpoint.version + 1; v <= s.version; v++ {
		if _, ok := slices.BinarySearchFunc(l.commits, v, func(o objstore.Object, v int64) int { return int(versionOf(o.Key) - v) }); !ok {
			return -1, &LogError{v, "its commit is missing, and would be missed after a clean-up"}
		}
	}
	return seg.checkpoint.version, nil
}

// protects fails when the table forbids to delete what comes before a version. Source: protocol,
// "Checkpoint Protection": all versions under protection go at once, or none.
func (s *Snapshot) protects(keep int64) error {
	text := s.metadata.Configuration[propProtectedVersions]
	if !s.protocol.supports("checkpointProtection") || text == "" {
		return nil
	}
	if v, err := strconv.ParseInt(text, 10, 64); err != nil || keep < v {
		return &ProtectedError{propProtectedVersions, text}
	}
	return nil
}

// expired returns the files of the log that are of no use once the versions before keep are gone, in the
// order in which they are to be deleted: the oldest version first, and of each the commit before its log
// checkpoint, so that at any time what is there can be read from a checkpoint on.
func (s *Snapshot) expired(ctx context.Context, keep int64) ([]objstore.Object, error) {
	var files []objstore.Object
	var sidecars []objstore.Object
	for o, err := range s.store.List(ctx, logDir, "") {
		if errors.Is(err, objstore.ErrNotRegular) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the Delta log: %w", err)
		}
		name := strings.TrimPrefix(o.Key, logDir)
		switch {
		case strings.HasPrefix(o.Key, sidecarDir):
			if time.Since(o.ModTime) > sidecarAge && strings.HasSuffix(o.Key, ".parquet") {
				sidecars = append(sidecars, o)
			}
		case compactedName.MatchString(name):
			if to, err := strconv.ParseInt(compactedName.FindStringSubmatch(name)[2], 10, 64); err == nil && to < keep {
				files = append(files, o)
			}
		case commitName.MatchString(name), checkpointName.MatchString(name), checksumName.MatchString(name):
			if versionOf(o.Key) < keep {
				files = append(files, o)
			}
		}
	}
	slices.SortStableFunc(files, func(a, b objstore.Object) int {
		if d := versionOf(a.Key) - versionOf(b.Key); d != 0 {
			return int(max(-1, min(1, d)))
		}
		return rank(a.Key) - rank(b.Key)
	})
	unused, err := s.unusedSidecars(ctx, sidecars, files)
	return append(files, unused...), err
}

// rank orders the files of one version.
func rank(key string) int {
	switch name := strings.TrimPrefix(key, logDir); {
	case checkpointName.MatchString(name):
		return 1
	default:
		return 0
	}
}

// unusedSidecars returns those that no checkpoint names which stays.
func (s *Snapshot) unusedSidecars(ctx context.Context, sidecars, gone []objstore.Object) ([]objstore.Object, error) {
	if len(sidecars) == 0 {
		return nil, nil
	}
	l, err := listLog(ctx, s.store, 0)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for version, objects := range l.checkpoints {
		for _, o := range objects {
			if slices.ContainsFunc(gone, func(g objstore.Object) bool { return g.Key == o.Key }) {
				continue
			}
			c := &checkpoint{version, []objstore.Object{o}}
			for a, err := range c.table(ctx, s.store) {
				if err != nil {
					return nil, err
				}
				if a.Sidecar != nil {
					used[path.Base(a.Sidecar.Path)] = true
				}
			}
		}
	}
	return slices.DeleteFunc(sidecars, func(o objstore.Object) bool { return used[path.Base(o.Key)] }), nil
}
