package silt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// TableChange is what a change of a table's columns or properties does, or would do.
type TableChange struct {
	Table string `json:"table"`
	// Version is the one that was changed, NewVersion what it has become: the same in a dry run, and when
	// there is nothing to do.
	Version    int64 `json:"version"`
	NewVersion int64 `json:"newVersion"`
	// Before and After are the columns.
	Before *schema.Struct `json:"-"`
	After  *schema.Struct `json:"schema"`
	// Set are the properties that get a value, Unset those that are taken away.
	Set   map[string]string `json:"set,omitempty"`
	Unset []string          `json:"unset,omitempty"`
	// Features are those that readers or writers of the table need from then on.
	Features []string `json:"addedFeatures,omitempty"`
	// Changes reports whether there is anything to do.
	Changes bool `json:"changes"`
}

// Alteration is one change of a table's columns or properties: one of the fields but DryRun is set.
type Alteration struct {
	Add    []delta.NewColumn
	Rename *ColumnRename
	Drop   [][]string
	Change *ColumnAlteration
	Set    map[string]string // properties
	Unset  []string
	// DryRun finds out what the commit would do, and writes nothing.
	DryRun bool
}

// ColumnRename gives the column at a path another name.
type ColumnRename struct {
	Path []string
	Name string
}

// ColumnAlteration changes the column at a path.
type ColumnAlteration struct {
	Path []string
	delta.ColumnChange
}

func (a *Alteration) do(ctx context.Context, s *delta.Snapshot) (*delta.Snapshot, error) {
	switch {
	case a.Add != nil:
		return s.AddColumns(ctx, a.Add...)
	case a.Rename != nil:
		return s.RenameColumn(ctx, a.Rename.Path, a.Rename.Name)
	case a.Drop != nil:
		return s.DropColumns(ctx, a.Drop...)
	case a.Change != nil:
		return s.ChangeColumn(ctx, a.Change.Path, a.Change.ColumnChange)
	case a.Set != nil:
		return s.SetProperties(ctx, a.Set)
	case a.Unset != nil:
		return s.UnsetProperties(ctx, a.Unset...)
	}
	return s, nil
}

// AlterTable changes the columns or the properties of a table, in one commit. No data file is written anew.
func AlterTable(ctx context.Context, cfg Config, a Alteration) (*TableChange, error) {
	t, s, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	var next *delta.Snapshot
	if a.DryRun {
		next, err = rehearse(ctx, t.store, &a)
	} else {
		next, err = a.do(ctx, s)
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	c := &TableChange{Table: t.name, Version: s.Version(), NewVersion: next.Version(), Before: s.Schema(), After: next.Schema()}
	before, after := s.Metadata().Configuration, next.Metadata().Configuration
	for k, v := range after {
		if old, ok := before[k]; !ok || old != v {
			if c.Set == nil {
				c.Set = map[string]string{}
			}
			c.Set[k] = v
		}
	}
	for _, k := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[k]; !ok {
			c.Unset = append(c.Unset, k)
		}
	}
	had := s.Protocol().Features()
	for _, f := range next.Protocol().Features() {
		if !slices.Contains(had, f) {
			c.Features = append(c.Features, f)
		}
	}
	if c.Changes = next.Version() > s.Version(); a.DryRun {
		c.NewVersion = c.Version
	}
	return c, nil
}

// rehearse makes a change whose commit stays in memory.
func rehearse(ctx context.Context, store objstore.Store, a *Alteration) (*delta.Snapshot, error) {
	s, err := delta.Load(ctx, &rehearsal{Store: store}, delta.LoadOptions{})
	if err != nil {
		return nil, err
	}
	return a.do(ctx, s)
}

// rehearsal is a store whose writes stay in memory.
type rehearsal struct {
	objstore.Store
	written objstore.Mem
}

// Open reads what was written here, or else what is there.
func (s *rehearsal) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	body, o, err := s.written.Open(ctx, key, r)
	if errors.Is(err, objstore.ErrNotExist) {
		return s.Store.Open(ctx, key, r)
	}
	return body, o, err
}

// Put writes to memory. What is there counts for the condition.
func (s *rehearsal) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (objstore.Object, error) {
	if cond.IfAbsent {
		there, _, err := s.Store.Open(ctx, key, objstore.Range{Len: 1})
		if err == nil {
			there.Close()
			return objstore.Object{}, objstore.ErrPrecondition
		}
	}
	return s.written.Put(ctx, key, body, cond)
}

// Delete does nothing.
func (s *rehearsal) Delete(context.Context, string, objstore.Cond) error { return nil }

// CleanLogOptions say what of a log to delete.
type CleanLogOptions struct {
	// Retention is how long versions stay readable; nil is what the table says, or 30 days.
	Retention *time.Duration
	// DryRun deletes nothing.
	DryRun bool
}

// LogCleanup says what of the log of a table only old versions need. Sizes are in bytes.
type LogCleanup struct {
	Table string `json:"table"`
	// Before is the time since when all versions stay readable, Oldest the oldest version that does.
	Before  time.Time    `json:"before"`
	Oldest  int64        `json:"oldestVersion"`
	Files   []UnusedFile `json:"files"`
	Bytes   int64        `json:"sizeInBytes"`
	Deleted int64        `json:"numDeletedFiles"`
}

// CleanLog deletes what the log of a table needs only for versions that are older than the retention.
// Those versions can no longer be read, or restored, then.
func CleanLog(ctx context.Context, cfg Config, o CleanLogOptions) (*LogCleanup, error) {
	t, s, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	r, err := s.CleanLog(ctx, delta.CleanLogOptions{Retention: o.Retention, DryRun: o.DryRun})
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	out := &LogCleanup{Table: t.name, Before: r.Before, Oldest: r.Oldest, Files: make([]UnusedFile, len(r.Files)), Bytes: r.Bytes, Deleted: r.Deleted}
	for i, f := range r.Files {
		out.Files[i] = UnusedFile{f.Key, f.Size, f.ModTime}
	}
	return out, nil
}
