package silt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/schema"
)

// TableMerge is a merge into a table outside of any pipeline. It follows Delta's rules: two rows of the
// source that meet one row of the table are an error, NULL in a key meets nothing, and rows of the source
// that meet nothing are all inserted.
type TableMerge struct {
	// Source is SQL that makes the rows, or the name or path of a table, or the path of a file of data. Files
	// of JSON, of which a glob may name several, are read by the types that the table has, and without SQL.
	Source string
	Merge  Merge
	// KeepSchema means that the table must have all columns of the source already.
	KeepSchema bool
	// DryRun finds what would change, and writes nothing.
	DryRun bool
}

// RowUpdate gives columns of some rows of a table other values.
type RowUpdate struct {
	// Where is SQL over the columns of the table; empty: all rows.
	Where string
	// Set are the columns, in order.
	Set    []Assignment
	DryRun bool
}

// Assignment gives a column the value of a SQL expression over the row as it was.
type Assignment struct{ Column, SQL string }

// RowChanges is what a change of a table's rows did, or would do.
type RowChanges struct {
	Table string `json:"table"`
	// Version is the one that the table has now, and in a dry run too. When nothing changes there is no new
	// one.
	Version int64 `json:"version"`
	DryRun  bool  `json:"dryRun"`
	// Merge says what became of the rows of the source; nil when there was no source.
	Merge *MergeCounts `json:"merge,omitempty"`
	// The rows of the table.
	RowsUpdated int64 `json:"rowsUpdated"`
	RowsDeleted int64 `json:"rowsDeleted"`
	RowsCopied  int64 `json:"rowsCopied"` // written again as they were
	// The files of the table; FilesMarked are those that got a deletion vector.
	FilesScanned int64 `json:"filesScanned"`
	FilesRemoved int64 `json:"filesRemoved"`
	FilesAdded   int64 `json:"filesAdded"`
	FilesMarked  int64 `json:"filesMarked"`
	BytesRemoved int64 `json:"bytesRemoved"`
	BytesAdded   int64 `json:"bytesAdded"`
}

// MergeTable merges rows into the table that the Config names.
func MergeTable(ctx context.Context, cfg Config, m TableMerge) (*RowChanges, error) {
	if len(m.Merge.Keys) == 0 {
		return nil, errors.New("a merge needs keys")
	}
	rows, done, err := m.rows(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	defer done()
	spec := m.Merge.spec()
	if spec.Duplicates = merge.FailOnDuplicates; m.Merge.SCD == 2 {
		spec.History = true
	}
	return changeTable(ctx, cfg, "MERGE", m.DryRun, true, func(tx *delta.Transaction, s *delta.Snapshot, t *table, o merge.Options) (*merge.Result, error) {
		columns := merge.Columns(*spec, rows.Schema)
		if added := schema.Additions(s.Schema(), columns); m.KeepSchema && len(added) > 0 {
			return nil, fmt.Errorf("the table has no column %s", schema.Path(added[0].Path...))
		}
		if err := tx.SetSchema(columns); err != nil {
			return nil, err
		}
		o.Writer.Evaluator = convert.Evaluator{Engine: o.SQL}
		return merge.Into(ctx, tx, s, t.store, *spec, *rows, o)
	})
}

// UpdateTable updates rows of the table that the Config names.
func UpdateTable(ctx context.Context, cfg Config, u RowUpdate) (*RowChanges, error) {
	if len(u.Set) == 0 {
		return nil, errors.New("an update needs a column to set")
	}
	c := merge.RowChange{Where: u.Where}
	for _, a := range u.Set {
		c.Set = append(c.Set, merge.Assignment(a))
	}
	return changeRows(ctx, cfg, "UPDATE", u.DryRun, c)
}

// DeleteRows deletes the rows of the table that the Config names for which where, SQL over its columns, is
// true; when it is empty, all of them.
func DeleteRows(ctx context.Context, cfg Config, where string, dryRun bool) (*RowChanges, error) {
	return changeRows(ctx, cfg, "DELETE", dryRun, merge.RowChange{Where: where})
}

func changeRows(ctx context.Context, cfg Config, operation string, dryRun bool, c merge.RowChange) (*RowChanges, error) {
	return changeTable(ctx, cfg, operation, dryRun, false, func(tx *delta.Transaction, s *delta.Snapshot, t *table, o merge.Options) (*merge.Result, error) {
		o.Writer.Evaluator = convert.Evaluator{Engine: o.SQL}
		return merge.Change(ctx, tx, s, t.store, c, o)
	})
}

// changeTable makes a change of rows the next version of a table. When somebody else changes what it
// depends on meanwhile, it is worked out again.
func changeTable(ctx context.Context, cfg Config, operation string, dryRun, isMerge bool, make func(*delta.Transaction, *delta.Snapshot, *table, merge.Options) (*merge.Result, error)) (*RowChanges, error) {
	t, s, err := loadTarget(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	var engine *duck.Engine
	defer func() {
		if engine != nil {
			engine.Close()
		}
	}()
	o := merge.Options{Workers: 2, DryRun: dryRun, TempDir: cfg.TempDir, SQL: func(ctx context.Context) (*duck.Engine, error) {
		if engine != nil {
			return engine, nil
		}
		var err error
		engine, err = duck.Open(ctx, duck.Options{TempDir: cmp.Or(cfg.TempDir, os.TempDir())})
		return engine, err
	}}
	for try := 1; ; try++ {
		tx := s.Begin(operation)
		r, err := make(tx, s, t, o)
		if err != nil {
			return nil, mergeError(fmt.Errorf("table %s: %w", t.name, err))
		}
		out := tableChange(t.name, s.Version(), dryRun, isMerge, r.Counts)
		if dryRun || r.Inserted+r.TargetUpdated+r.TargetDeleted == 0 {
			return out, nil
		}
		after, err := tx.Commit(ctx, nil)
		var conflict *delta.ConflictError
		switch {
		case errors.As(err, &conflict) && try < mergeTries:
			r.Discard(ctx)
			if s, err = s.Update(ctx); err != nil {
				return nil, fmt.Errorf("table %s: %w", t.name, err)
			}
			continue
		case err != nil:
			if !errors.Is(err, delta.ErrOutcomeUnknown) {
				r.Discard(ctx)
			}
			return nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		out.Version = after.Version()
		return out, nil
	}
}

func tableChange(name string, version int64, dryRun, isMerge bool, c merge.Counts) *RowChanges {
	out := &RowChanges{Table: name, Version: version, DryRun: dryRun,
		RowsUpdated: c.TargetUpdated, RowsDeleted: c.TargetDeleted, RowsCopied: c.TargetCopied,
		FilesScanned: c.FilesScanned, FilesRemoved: c.FilesRemoved, FilesAdded: c.FilesAdded, FilesMarked: c.VectorsAdded + c.VectorsUpdated,
		BytesRemoved: c.BytesRemoved, BytesAdded: c.BytesAdded}
	if isMerge {
		counts := countsOf(c)
		out.Merge = &counts
	}
	return out
}

// rows are those of the source. They stay the same when the merge is worked out again: those of a table are
// of one version, and what SQL makes is kept until done.
func (m TableMerge) rows(ctx context.Context, cfg Config) (rows *merge.Changes, done func(), err error) {
	sql, files := m.kind()
	switch {
	case files:
		return jsonRows(ctx, cfg, m.Source)
	case sql == "":
		from := cfg
		if from.Target = (Target{Table: m.Source}); isPath(m.Source) {
			from.Target = Target{Path: m.Source}
		}
		_, s, err := loadTarget(ctx, from, nil)
		if err != nil {
			return nil, nil, err
		}
		return &merge.Changes{Schema: s.Schema(), Rows: func(ctx context.Context, fields [][]string) iter.Seq2[arrow.RecordBatch, error] {
			return s.Scan(delta.ScanOptions{Fields: fields}).Batches(ctx)
		}}, func() {}, nil
	}
	r, err := Query(ctx, sql, QueryOptions{Catalogs: cfg.Catalogs, TempDir: cfg.TempDir})
	if err != nil {
		return nil, nil, err
	}
	defer r.Release()
	s, err := schema.FromArrow(r.Schema())
	if err != nil {
		return nil, nil, err
	}
	held := &merge.Held{TempDir: cfg.TempDir}
	for r.Next() {
		if err := held.Add(r.RecordBatch()); err != nil {
			held.Close()
			return nil, nil, err
		}
	}
	if err := r.Err(); err != nil {
		held.Close()
		return nil, nil, err
	}
	return &merge.Changes{Schema: s, Rows: held.Rows}, held.Close, nil
}

// kind is the SQL that makes the rows, or whether they are in files of JSON. Otherwise the source is a table.
func (m TableMerge) kind() (sql string, files bool) {
	fi, err := os.Stat(m.Source)
	switch {
	case err == nil && fi.IsDir():
		return "", false
	case err == nil && isJSON(m.Source):
		return "", true
	case err == nil:
		return "SELECT * FROM '" + strings.ReplaceAll(m.Source, "'", "''") + "'", false
	}
	sql = strings.TrimSpace(m.Source)
	switch word, _, _ := strings.Cut(strings.ToLower(sql), " "); {
	case word == "select", word == "with", word == "from", word == "values", strings.HasPrefix(sql, "("):
		return sql, false
	}
	return "", isJSON(m.Source) && !isTableName(m.Source)
}
