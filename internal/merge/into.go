package merge

import (
	"context"
	"errors"
	"iter"
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
	defer m.release()
	if err := m.begin(ctx, changes); err != nil {
		return nil, err
	}
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
	spill   *spill // nil: the change rows are in memory
	pruner  *pruner
	sql     *conditions
	combine combiner
	history *history // nil: rows are replaced
	patches *patches // nil: files are read and written as a whole
	rows    *rowPlan // of an update or a deletion; nil: it is a merge

	mu      sync.Mutex
	out     *output
	adds    []*delta.Add
	removes []*delta.Remove
	changes []*delta.ChangeFile
	counts  Counts
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

// begin takes the change rows into memory, or prepares to have them go through files.
func (m *merger) begin(ctx context.Context, changes Changes) error {
	m.useTable()
	src, err := readSource(ctx, m.spec, changes, m.table, m.o.memory())
	if large := (*largeError)(nil); errors.As(err, &large) {
		m.spill = newSpill(m, changes, large)
		src, err = readSource(ctx, m.spec, Changes{Schema: changes.Schema, Rows: noRows}, m.table, 0)
	}
	if err != nil {
		return err
	}
	if err := m.use(ctx, src, changes.Schema); err != nil {
		return err
	}
	if m.spec.History {
		m.history = &history{merger: m}
	}
	if m.spill == nil {
		m.pruner = newPruner(m.s, m.src.met.keys, m.src.keys, m.src.order)
	}
	return nil
}

// use makes change rows those that are merged, in place of any before.
func (m *merger) use(ctx context.Context, src *source, from *schema.Struct) (err error) {
	m.release()
	m.src, m.combine = src, combiner{src.fields, m.spec.IgnoreNullUpdates}
	m.sql, err = newConditions(ctx, m.spec, m.o, src, from, m.table)
	return err
}

func (m *merger) release() {
	if m.src != nil {
		m.src.release()
		m.src = nil
	}
}

// run finds what becomes of the rows, and writes it.
func (m *merger) run(ctx context.Context) error {
	m.out = newOutput(ctx, m)
	if m.rows != nil {
		m.o.Workers = 1 // SQL belongs to one goroutine
	}
	if err := m.work(ctx); err != nil {
		return err
	}
	return m.out.close(ctx)
}

func (m *merger) work(ctx context.Context) error {
	switch {
	case m.rows != nil:
		return m.each(ctx, m.s.Scan(delta.ScanOptions{Where: m.rows.skip}).Files(ctx), m.file)
	case m.spill != nil:
		return m.spill.run(ctx)
	case m.history != nil:
		if err := m.history.run(ctx); err != nil {
			return err
		}
	default:
		if err := m.update(ctx, m.candidates(ctx)); err != nil {
			return err
		}
		if err := m.insert(ctx); err != nil {
			return err
		}
	}
	m.counts.count(m.src.outcomes)
	m.counts.Conflicting = int64(len(m.src.conflicting))
	return nil
}

// update replaces the rows of files that the change rows meet.
func (m *merger) update(ctx context.Context, files iter.Seq2[*delta.Add, error]) error {
	m.patches = newPatches(ctx, m)
	defer m.patches.close(ctx)
	return m.each(ctx, files, m.file)
}
