package silt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// The roles of the tables of a batch, in the order in which they are committed.
const (
	quarantineTable = "quarantine"
	mainTable       = "main"
)

// table is a table that a pipeline writes.
type table struct {
	role, name, path string
	checkpoint       string         // the folder that says which files it has
	source, pipeline string         // that its rows come from
	store            objstore.Store // rooted at the table
	files            delta.Resolver // of what lies outside it
	txn              *txn           // that the user names; nil is none
}

func openTable(at *places, role, name, path string) table {
	return table{role: role, name: name, path: path, store: at.open(path), files: at.filesOf(path)}
}

func (t *table) uri() string { return uriOf(t.path) }

// load returns the newest version, or nil when there is no table yet.
func (t *table) load(ctx context.Context) (*delta.Snapshot, error) {
	s, err := delta.Load(ctx, t.store, delta.LoadOptions{Resolve: t.files})
	if errors.Is(err, delta.ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	return s, nil
}

// change is what a batch does to a table: staged, then committed.
type change struct {
	// Schema holds the columns of the batch, with what the table's metadata says of them.
	Schema *schema.Struct `json:"schema"`
	// PartitionBy and Properties are those of a new table.
	PartitionBy []string          `json:"partitionBy,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	Adds        []*delta.Add      `json:"adds"`
	Rows        int64             `json:"rows"`
	// Evolves is false when the table must have all columns already.
	Evolves bool `json:"evolves"`
	// Widens means that the table's types grow with those of Schema.
	Widens bool `json:"widens,omitempty"`
	// Constraints and NeedsSQL are the rules of the table that the rows were written under.
	Constraints []delta.Constraint `json:"constraints,omitempty"`
	NeedsSQL    []string           `json:"needsSQL,omitempty"`
	// Merge, when set, says how the rows in Changes, a folder of the checkpoint that is a table of the
	// columns Source, meet those of the table. There are no Adds then: they are computed anew for each
	// version that the commit tries to build on.
	Merge   *merge.Spec    `json:"merge,omitempty"`
	Changes string         `json:"changes,omitempty"`
	Source  *schema.Struct `json:"-"`
	// Replaces, when set, says which rows of the table go in the same commit.
	Replaces *replacement `json:"replaces,omitempty"`
}

// begin starts the transaction of a change, on the table or for a new one.
func (t *table) begin(s *delta.Snapshot, c *change) (*delta.Transaction, error) {
	written := func(tx *delta.Transaction) error {
		if len(c.Adds) == 0 || len(c.NeedsSQL) == 0 {
			return nil
		}
		return tx.WrittenUnder(delta.WriteContext{Schema: c.Schema, Constraints: c.Constraints, NeedsSQL: c.NeedsSQL})
	}
	if s == nil {
		tx, err := delta.NewTable(t.store, delta.TableOptions{Schema: c.Schema, PartitionBy: c.PartitionBy, Properties: c.Properties, Exclusive: c.Replaces != nil})
		if err == nil {
			err = written(tx)
		}
		return tx, err
	}
	operation := "STREAMING UPDATE" // Spark's name for a batch of a stream
	switch {
	case c.Merge != nil:
		operation = "MERGE"
	case c.Replaces != nil:
		operation = "WRITE"
	}
	tx := s.Begin(operation)
	if c.Widens {
		tx.WidenNumbers()
	}
	err := c.setSchema(tx, s)
	if err == nil {
		err = written(tx)
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	return tx, nil
}

// txn is an application's version that the user names, so that a load into a table that has it, or a
// later one, does nothing.
type txn struct {
	appID   string
	version int64
}

// isNew reports whether the table does not have the version yet. Later batches of a query do not bring it
// again: they would be taken for what the table has.
func (x *txn) isNew(s *delta.Snapshot) bool {
	if x == nil || s == nil {
		return x != nil
	}
	v, ok := s.TxnVersion(x.appID)
	return !ok || v < x.version
}

// had reports whether the table has the version, and not from the query itself: a query whose earlier
// batches brought it goes on.
func (x *txn) had(s *delta.Snapshot, query string) bool {
	if x == nil || s == nil {
		return false
	}
	v, ok := s.TxnVersion(x.appID)
	_, ours := s.TxnVersion(query)
	return ok && v >= x.version && !ours
}

// A MismatchError says that a batch has columns the table lacks, and that the table must not change.
type MismatchError struct {
	Table  string
	Fields []string // paths
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("table %s has no column %s, and mergeSchema is off", e.Table, e.Fields[0])
}

// A ReplacedError says that the table that earlier batches went to is gone, or another is in its place.
type ReplacedError struct {
	Table, Planned, Found string // ids of tables; Found may be "gone"
	// Checkpoint is the folder to remove to load everything again into a new table.
	Checkpoint string
}

func (e *ReplacedError) Error() string {
	if e.Found == "gone" {
		return fmt.Sprintf("table %s is gone, and files were loaded into it before; to load all of them again into a new table, remove the checkpoint %s", e.Table, e.Checkpoint)
	}
	return fmt.Sprintf("table %s is another one than files were loaded into before (its id is %s, it was %s); to load all of them into this one, remove the checkpoint %s",
		e.Table, e.Found, e.Planned, e.Checkpoint)
}

// evolves checks that the table may take the columns of a change.
func (t *table) evolves(s *delta.Snapshot, c *change) error {
	if s == nil || c.Evolves || c.Replaces != nil && c.Replaces.Schema {
		return nil
	}
	added := schema.Additions(s.Schema(), c.Schema)
	if len(added) == 0 {
		return nil
	}
	e := &MismatchError{Table: t.name}
	for _, a := range added {
		e.Fields = append(e.Fields, schema.Path(a.Path...))
	}
	return e
}

// commitTries bounds how often a commit starts over because a table came or changed meanwhile.
const commitTries = 5

// commit puts a staged change into the table, unless the table has it. The snapshot is what the table is
// then, nil when it had the change.
func (t *table) commit(ctx context.Context, query string, plan checkpoint.Plan, staged checkpoint.Staged, target checkpoint.StagedTarget, merge merger, recheck func(context.Context, *delta.Transaction, *change) error) (checkpoint.Committed, *delta.Snapshot, error) {
	done := checkpoint.Committed{Name: t.role, URI: t.uri(), TxnID: staged.Nonce + "-" + t.role}
	var was change
	if err := json.Unmarshal(target.Delta, &was); err != nil {
		return done, nil, fmt.Errorf("staged/%d: %s: %w", plan.Batch, t.role, err)
	}
	for try := 1; ; try++ {
		s, err := t.load(ctx)
		if err != nil {
			return done, nil, err
		}
		if err := t.expected(s, plan); err != nil {
			return done, nil, err
		}
		if s != nil {
			done.TableID, done.Version = s.Metadata().ID, s.Version()
			if v, ok := s.TxnVersion(query); ok && v >= plan.Batch {
				done.Already = true
				if was.Merge != nil {
					done.Counts, _ = t.earlierCounts(ctx, done.TxnID)
				}
				return done, nil, nil
			}
		}
		if was.Merge == nil && t.txn.had(s, query) { // in Spark, too, it is not for MERGE
			done.Already = true
			return done, nil, nil
		}
		c, err := t.fit(ctx, s, &was)
		if err != nil {
			return done, nil, t.staged(staged, err)
		}
		tx, err := t.begin(s, c.change)
		if err != nil {
			c.discard(ctx)
			return done, nil, err
		}
		tx.SetTxn(query, plan.Batch)
		if c.Merge == nil && t.txn.isNew(s) {
			tx.SetTxn(t.txn.appID, t.txn.version)
		}
		tx.SetNonce(done.TxnID)
		tries := commitTries
		var merged *mergeResult
		if c.Merge != nil {
			if merged, err = merge(ctx, tx, s, t.store, c.change); err != nil {
				if t.has(ctx, query, plan.Batch) { // so that whoever did it may have removed the changes
					continue
				}
				return done, nil, t.staged(staged, fmt.Errorf("table %s: merge: %w", t.name, err))
			}
			tries = mergeTries
		} else if c.Replaces != nil && s != nil {
			if done.Counts, err = c.replace(ctx, tx, query, plan.Batch); err != nil {
				c.discard(ctx)
				return done, nil, fmt.Errorf("table %s: %w", t.name, err)
			}
			tx.Add(c.Adds...)
			tries = mergeTries
		} else {
			tx.Add(c.Adds...)
			if err := recheck(ctx, tx, c.change); err != nil {
				c.discard(ctx)
				return done, nil, t.staged(staged, fmt.Errorf("table %s: %w", t.name, err))
			}
			tx.SetCommitInfo(delta.CommitDetails{Parameters: map[string]string{
				"outputMode": "Append", "queryId": query, "epochId": strconv.FormatInt(plan.Batch, 10),
				sourceParameter: t.source, pipelineParameter: t.pipeline,
			}})
		}
		after, err := tx.Commit(ctx, nil)
		if err != nil && !errors.Is(err, delta.ErrOutcomeUnknown) || err == nil && !tx.InTable() {
			c.discard(ctx)
		}
		if merged != nil {
			if done.Counts, err = merged.settle(ctx, tx, err); err == nil && tx.AlreadyCommitted() {
				done.Counts, _ = t.earlierCounts(ctx, done.TxnID)
			}
		}
		var conflict *delta.ConflictError
		if errors.As(err, &conflict) && try < tries {
			continue
		}
		if err != nil {
			return done, nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		done.TableID, done.Version, done.Already = after.Metadata().ID, after.Version(), tx.AlreadyCommitted()
		return done, after, nil
	}
}

// has reports whether the table has a batch by now.
func (t *table) has(ctx context.Context, query string, batch int64) bool {
	s, err := t.load(ctx)
	if err != nil || s == nil {
		return false
	}
	v, ok := s.TxnVersion(query)
	return ok && v >= batch
}

// expected fails when the table is not the one that the batch was planned for.
func (t *table) expected(s *delta.Snapshot, plan checkpoint.Plan) error {
	for _, target := range plan.Targets {
		if target.URI != t.uri() || target.TableID == "" {
			continue
		}
		if s == nil {
			return &ReplacedError{t.name, target.TableID, "gone", t.checkpoint}
		}
		if id := s.Metadata().ID; id != target.TableID {
			return &ReplacedError{t.name, target.TableID, id, t.checkpoint}
		}
	}
	return nil
}
