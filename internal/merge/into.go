package merge

import (
	"context"
	"sync"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Result is what a merge is about to do.
type Result struct {
	Counts
	store   objstore.Store
	adds    []*delta.Add
	changes []*delta.ChangeFile
}

// Discard deletes the data files of a merge that is not committed, as far as it can.
func (r *Result) Discard(ctx context.Context) {
	for _, a := range r.adds {
		_ = r.store.Delete(context.WithoutCancel(ctx), a.Path, objstore.Cond{})
	}
	for _, c := range r.changes {
		_ = r.store.Delete(context.WithoutCancel(ctx), c.Path, objstore.Cond{})
	}
}

// Into merges the changes into the table of a transaction. The snapshot is what the transaction builds
// on, nil for a new table; the store is the table's. The transaction has the schema that the table is to
// have, and gets the files to add and to remove, its commit info, and what it depends on.
func Into(ctx context.Context, tx *delta.Transaction, s *delta.Snapshot, store objstore.Store, spec Spec, changes Changes, o Options) (*Result, error) {
	began := time.Now()
	m := &merger{spec: spec, o: o, tx: tx, s: s, store: store, wc: tx.WriteContext(), began: began}
	if err := m.wc.Err(); err != nil {
		return nil, err
	}
	if err := m.checkTable(); err != nil {
		return nil, err
	}
	if err := m.begin(ctx, changes); err != nil {
		return nil, err
	}
	defer m.src.release()
	if err := m.finish(ctx); err != nil {
		return nil, err
	}
	tx.SetReads(func(a *delta.Add) bool { return spec.DeleteMissing || s == nil || m.pruner.meets(a) })
	tx.SetCommitInfo(delta.CommitDetails{Parameters: m.parameters(), Metrics: m.metrics()})
	return &Result{m.counts, store, m.adds, m.changes}, nil
}

// finish does the work, and gives the transaction what came of it.
func (m *merger) finish(ctx context.Context) error {
	err := m.run(ctx)
	m.out.abort(ctx)
	if err != nil {
		(&Result{store: m.store, adds: m.adds, changes: m.changes}).Discard(ctx)
		return err
	}
	m.tx.Add(m.adds...)
	m.tx.Remove(m.removes...)
	m.tx.AddChanges(m.changes...)
	m.tx.KeepsRowIDs()
	return nil
}

// merger is one merge.
type merger struct {
	spec  Spec
	o     Options
	tx    *delta.Transaction
	s     *delta.Snapshot // nil: a new table
	store objstore.Store
	wc    delta.WriteContext
	table *schema.Struct // the columns that data files hold, after the merge
	began time.Time

	src     *source
	pruner  *pruner
	sql     *conditions
	combine combiner
	history *history // nil: rows are replaced
	patches *patches // nil: files are read and written as a whole
	rows    *rowPlan // of an update or a deletion; nil: it is a merge

	mu       sync.Mutex
	out      *output
	outcomes []outcome // by change row
	adds     []*delta.Add
	removes  []*delta.Remove
	changes  []*delta.ChangeFile
	counts   Counts
}

// checkTable refuses tables whose rows need more than their values kept when they move.
func (m *merger) checkTable() error {
	if m.s == nil {
		return nil
	}
	if len(m.wc.NeedsSQL) > 0 && m.o.Writer.Evaluator == nil {
		return &delta.UnsupportedError{Operation: "merge into", Features: m.wc.NeedsSQL}
	}
	return nil
}

// useTable finds the columns that data files hold.
func (m *merger) useTable() {
	m.table = &schema.Struct{}
	for _, f := range m.wc.Schema.Fields {
		if f.Type != schema.Void {
			m.table.Fields = append(m.table.Fields, f)
		}
	}
}

func (m *merger) begin(ctx context.Context, changes Changes) error {
	m.useTable()
	var err error
	if m.src, err = readSource(ctx, m.spec, changes, m.table); err != nil {
		return err
	}
	if m.sql, err = newConditions(ctx, m.spec, m.o, m.src, changes.Schema, m.table); err != nil {
		m.src.release()
		return err
	}
	if m.spec.History {
		m.history = &history{merger: m}
	}
	m.pruner = newPruner(m.s, m.src.met.keys, m.src.keys, m.src.order)
	m.combine = combiner{m.src.fields, m.spec.IgnoreNullUpdates}
	m.outcomes = make([]outcome, m.src.rows.NumRows())
	for _, r := range m.src.order {
		m.outcomes[r] = waiting
	}
	return nil
}

func (m *merger) run(ctx context.Context) error {
	m.out = newOutput(ctx, m)
	m.patches = newPatches(ctx, m)
	defer m.patches.close(ctx)
	switch {
	case m.rows != nil:
		m.o.Workers = 1 // SQL belongs to one goroutine
		if err := m.files(ctx, m.file); err != nil {
			return err
		}
	case m.history != nil:
		if err := m.history.run(ctx); err != nil {
			return err
		}
	case m.s != nil:
		if err := m.files(ctx, m.file); err != nil {
			return err
		}
		fallthrough
	default:
		if err := m.insert(ctx); err != nil {
			return err
		}
	}
	if err := m.out.close(ctx); err != nil {
		return err
	}
	m.count()
	return nil
}
