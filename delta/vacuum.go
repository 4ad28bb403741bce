package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/objstore"
)

// MinRetention is how long files must have been out of the table before they are vacuumed, unless that is
// forced: readers of older versions, and writers that have not committed yet, need them.
const MinRetention = 7 * 24 * time.Hour

// VacuumOptions say what to vacuum.
type VacuumOptions struct {
	// Retention is how long files that are not in the table stay; nil is what the table says, or else
	// [MinRetention].
	Retention *time.Duration
	// DryRun finds the files and deletes none.
	DryRun bool
	// Force allows a retention below [MinRetention]. Nobody else must be writing then.
	Force bool
}

// VacuumResult is what a vacuum has found and done.
type VacuumResult struct {
	// Before is the time before which the files were last needed.
	Before time.Time
	// Files are those that nothing needs, in the order of their keys.
	Files []objstore.Object
	Bytes int64 // of the files
	// Deleted is how many of the files were deleted.
	Deleted int64
	// Folders is how many folders were looked at.
	Folders int64
}

// A RetentionError means that a vacuum would delete files that others may still need.
type RetentionError struct{ Retention time.Duration }

func (e *RetentionError) Error() string {
	return fmt.Sprintf("a retention of %s is less than %s: readers of older versions and writers that have not committed would lose their files",
		e.Retention, MinRetention)
}

// Vacuum deletes the files below the table that no version within the retention needs: those that have
// left the table longer ago, and those that no commit ever named and that are older. It leaves alone
// what is hidden, as everything of silt is whose name starts with an underscore; what is outside of the
// table; and whatever lies in another table inside this one. Older versions can no longer be read after
// that.
//
// When there is something to delete, two versions, VACUUM START and VACUUM END, say so in the history.
func (s *Snapshot) Vacuum(ctx context.Context, o VacuumOptions) (VacuumResult, error) {
	var r VacuumResult
	retention := s.metadata.retention()
	if o.Retention != nil {
		retention = *o.Retention
	}
	if retention < 0 || retention < MinRetention && !o.Force {
		return r, &RetentionError{retention}
	}
	s, err := s.Update(ctx)
	if err != nil {
		return r, err
	}
	if err := s.protocol.checkMaintain(); err != nil {
		return r, err
	}
	r.Before = time.Now().Add(-retention)
	needed, err := s.needed(ctx, r.Before)
	if err != nil {
		return r, err
	}
	if err := s.unneeded(ctx, needed, &r); err != nil || o.DryRun || len(r.Files) == 0 {
		return r, err
	}
	started, err := s.beginSpecial("VACUUM START", special{isolation: snapshotIsolation, parameters: vacuumParameters(o, s.metadata),
		metrics: countTexts(map[string]int64{"numFilesToDelete": int64(len(r.Files)), "sizeOfDataToDelete": r.Bytes})}).Commit(ctx, nil)
	if err != nil {
		return r, err
	}
	if started.version != s.version+1 { // a restore may have brought files back meanwhile
		if needed, err = started.needed(ctx, r.Before); err != nil {
			return r, err
		}
		r.Files = slices.DeleteFunc(r.Files, func(f objstore.Object) bool { return needed[f.Key] })
	}
	failed := s.deleteFiles(ctx, &r)
	status := `"COMPLETED"`
	if failed != nil {
		status = `"FAILED"`
	}
	_, err = started.beginSpecial("VACUUM END", special{isolation: snapshotIsolation, parameters: map[string]json.RawMessage{"status": json.RawMessage(status)},
		metrics: countTexts(map[string]int64{"numDeletedFiles": r.Deleted, "numVacuumedDirectories": r.Folders})}).Commit(context.WithoutCancel(ctx), nil)
	return r, errors.Join(failed, err)
}

func vacuumParameters(o VacuumOptions, m *Metadata) map[string]json.RawMessage {
	ms := func(d time.Duration) json.RawMessage { return strconv.AppendInt(nil, d.Milliseconds(), 10) }
	p := map[string]json.RawMessage{
		"retentionCheckEnabled":  strconv.AppendBool(nil, !o.Force),
		"defaultRetentionMillis": ms(m.retention()),
	}
	if o.Retention != nil {
		p["specifiedRetentionMillis"] = ms(*o.Retention)
	}
	return p
}

// needed returns the keys of the files that the table has, or has had since a time, with those of their
// deletion vectors.
func (s *Snapshot) needed(ctx context.Context, since time.Time) (map[string]bool, error) {
	keys := map[string]bool{}
	tail, err := s.tailState(ctx)
	if err != nil {
		return nil, err
	}
	for a, err := range s.liveFiles(ctx, tail) {
		if err == nil {
			err = need(keys, a.Path, a.DeletionVector)
		}
		if err != nil {
			return nil, err
		}
	}
	for r, err := range s.tombstones(ctx, tail, since) {
		if err == nil {
			err = need(keys, r.Path, r.DeletionVector)
		}
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func need(keys map[string]bool, file string, dv *DeletionVectorDescriptor) error {
	vector, err := dv.path()
	if err != nil {
		return err
	}
	for _, p := range []string{file, vector} {
		if p == "" {
			continue
		}
		// An absolute path may name a file of this table too, and which part of it is the key is not
		// known: any that it could be is needed.
		key := path.Clean(strings.TrimPrefix(canonicalPath(p), "/"))
		keys[key] = true
		for isAbsolute(p) {
			_, rest, ok := strings.Cut(key, "/")
			if !ok {
				break
			}
			key = rest
			keys[key] = true
		}
	}
	return nil
}

// unneeded lists the files that nothing needs.
func (s *Snapshot) unneeded(ctx context.Context, needed map[string]bool, r *VacuumResult) error {
	folders, inner := map[string]bool{}, []string{}
	for o, err := range s.store.List(ctx, "", "") {
		if errors.Is(err, objstore.ErrNotRegular) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list the files of the table: %w", err)
		}
		if i := strings.Index(o.Key, "/"+logDir); i >= 0 {
			inner = append(inner, o.Key[:i+1])
			continue
		}
		if s.isHidden(o.Key) {
			continue
		}
		folders[path.Dir(o.Key)] = true
		if o.ModTime.Before(r.Before) && !needed[path.Clean(o.Key)] {
			r.Files = append(r.Files, o)
		}
	}
	inner = slices.Compact(inner)
	r.Files = slices.DeleteFunc(r.Files, func(o objstore.Object) bool {
		return slices.ContainsFunc(inner, func(table string) bool { return strings.HasPrefix(o.Key, table) })
	})
	r.Folders = int64(len(folders))
	for _, f := range r.Files {
		r.Bytes += f.Size
	}
	return nil
}

// changeData is the folder of change data files. Source: protocol, "Change Data Files".
const changeData = "_change_data"

// isHidden reports whether a part of the key starts as what is no data: with an underscore or a point.
// Folders of change data, and of partition columns with such names, are not hidden.
func (s *Snapshot) isHidden(key string) bool {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		if p == "" || p[0] != '_' && p[0] != '.' {
			continue
		}
		folder := i < len(parts)-1
		if i == 0 && folder && p == changeData || folder && s.isPartitionFolder(p) {
			continue
		}
		return true
	}
	return false
}

func (s *Snapshot) isPartitionFolder(name string) bool {
	column, _, ok := strings.Cut(name, "=")
	return ok && slices.ContainsFunc(s.metadata.PartitionColumns, func(c string) bool {
		if hiveEscape(c) == column {
			return true
		}
		i := s.schema.IndexFold(c)
		if i < 0 {
			return false
		}
		physical, err := physicalName(s.schema.Fields[i], s.columnMapping())
		return err == nil && hiveEscape(physical) == column
	})
}

func (s *Snapshot) deleteFiles(ctx context.Context, r *VacuumResult) error {
	var deleted atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for _, f := range r.Files {
		g.Go(func() error {
			if err := s.store.Delete(ctx, f.Key, objstore.Cond{}); err != nil {
				return fmt.Errorf("delete %s: %w", f.Key, err)
			}
			deleted.Add(1)
			return nil
		})
	}
	err := g.Wait()
	r.Deleted = deleted.Load()
	return err
}
