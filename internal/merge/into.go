package merge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"

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

// outcome is what became of a change row. When it meets several rows of the table, the greatest counts.
type outcome uint8

const (
	lost outcome = iota // another row of the key counts
	waiting
	late
	unchanged
	skipped
	deleted
	updated
	inserted
)

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
	m.pruner = newPruner(m.s, m.spec.Keys, m.src.keys, m.src.order)
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

// files works on the files of the table that may hold rows to change, several at once.
func (m *merger) files(ctx context.Context, work func(context.Context, *delta.Add) error) error {
	g, gctx := errgroup.WithContext(ctx)
	if g.SetLimit(max(1, m.o.Workers)); len(m.wc.NeedsSQL) > 0 {
		g.SetLimit(1) // the evaluator belongs to one goroutine
	}
	all := m.s.Files(ctx)
	if m.rows != nil {
		all = m.s.Scan(delta.ScanOptions{Where: m.rows.skip}).Files(ctx)
	}
	for add, err := range all {
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		if m.rows == nil && !m.spec.DeleteMissing && (len(m.src.order) == 0 || !m.pruner.meets(add)) {
			continue
		}
		g.Go(func() error {
			if err := work(gctx, add); err != nil {
				return fmt.Errorf("merge: %w", err)
			}
			return nil
		})
	}
	return g.Wait()
}

// file finds out whether a file has rows to change, and replaces it if so.
func (m *merger) file(ctx context.Context, add *delta.Add) error {
	if m.rows != nil {
		touched, err := m.rows.look(ctx, add)
		if err != nil || !touched {
			return err
		}
		return m.replace(ctx, add)
	}
	touched, found, err := m.look(ctx, add)
	if err != nil || !touched {
		return err
	}
	if m.patches != nil && found != nil {
		if err := m.patches.file(ctx, add, found); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return m.replace(ctx, add)
}

// replace replaces the rows of a file that change.
func (m *merger) replace(ctx context.Context, add *delta.Add) error {
	if m.s.WritesDeletionVectors() {
		return m.mark(ctx, add)
	}
	return m.rewrite(ctx, add)
}

// keyColumns are those of the table that a look needs, and the positions of keys and sequence among
// them. It is not ok when the table has not all of the keys: then no row of it is met.
func (m *merger) keyColumns() (names []string, ok bool) {
	for _, k := range m.spec.Keys {
		if m.s.Schema().IndexFold(k) < 0 {
			return nil, false
		}
		names = append(names, k)
	}
	if m.src.seq != nil && m.s.Schema().IndexFold(m.spec.SequenceBy) >= 0 {
		names = append(names, m.spec.SequenceBy)
	}
	return names, true
}

// look reads the keys of a file, notes which change rows have met a row of the table, and reports
// whether the file holds rows that change, and which, as far as keys and sequence tell.
func (m *merger) look(ctx context.Context, add *delta.Add) (touched bool, found *found, err error) {
	names, ok := m.keyColumns()
	if !ok {
		return m.spec.DeleteMissing, nil, nil
	}
	shaper, err := m.shaper(names)
	if err != nil {
		return false, nil, err
	}
	met := map[int32]outcome{}
	found = newFound()
	for part, err := range m.s.Scan(delta.ScanOptions{Columns: names}).File(ctx, add) {
		if err != nil {
			return false, nil, err
		}
		rec, err := shaper.Shape(ctx, part.RecordBatch)
		part.Release()
		if err != nil {
			return false, nil, err
		}
		find, seq := m.keysOf(rec, names)
		for i := range int(rec.NumRows()) {
			row := find(i)
			if row < 0 {
				if m.spec.DeleteMissing {
					touched = true
					found.miss(part.Place(i))
				}
				continue
			}
			if m.src.next != nil && m.src.next[row] >= 0 && !m.sql.allDeleted(m.src, row) {
				key := m.src.keyText(row)
				rec.Release()
				return false, nil, &DuplicateError{key}
			}
			switch {
			case m.src.late(row, seq, i):
				met[row] = max(met[row], late)
			case m.spec.InsertOnly && !m.sql.mayDelete(row), !m.sql.mayChange(row):
				met[row] = max(met[row], skipped)
			default:
				touched = true
				met[row] = max(met[row], unchanged) // until it is known to change
				if m.patches != nil {
					m.patches.found(found, part.Place(i), row)
				}
			}
		}
		found.rows += rec.NumRows()
		rec.Release()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.FilesScanned++
	m.note(met)
	return touched, found, nil
}

func (m *merger) shaper(names []string) (*delta.Shaper, error) {
	s := &schema.Struct{}
	for _, n := range names {
		s.Fields = append(s.Fields, m.table.Fields[m.table.IndexFold(n)])
	}
	return delta.NewShaper(s)
}

// keysOf returns what finds the change row for a row of rec, and the column of its sequence, or nil.
func (m *merger) keysOf(rec arrow.RecordBatch, names []string) (find func(i int) int32, seq arrow.Array) {
	n := len(m.spec.Keys)
	keys := make([]arrow.Array, n)
	for i := range keys {
		keys[i] = rec.Column(columnOf(rec, names[i]))
	}
	if len(names) > n {
		seq = rec.Column(columnOf(rec, names[n]))
	}
	return m.src.index.finder(keys), seq
}

// columnOf is the position of a column by its name without case.
func columnOf(rec arrow.RecordBatch, name string) int {
	return slices.IndexFunc(rec.Schema().Fields(), func(f arrow.Field) bool { return schema.Fold(f.Name) == schema.Fold(name) })
}

// note keeps what became of change rows. The caller holds the lock.
func (m *merger) note(met map[int32]outcome) {
	for row, o := range met {
		m.outcomes[row] = max(m.outcomes[row], o)
		for row = m.after(row); row >= 0 && m.history == nil; row = m.after(row) {
			m.outcomes[row] = max(m.outcomes[row], o)
		}
	}
}

// after is the next change row of the same key, or -1.
func (m *merger) after(row int32) int32 {
	if m.src.next == nil {
		return -1
	}
	return m.src.next[row]
}

// rewrite writes a file again with the changed rows in their places.
func (m *merger) rewrite(ctx context.Context, add *delta.Add) error {
	shaper, err := delta.NewShaper(m.table)
	if err != nil {
		return err
	}
	var w *delta.DataWriter
	if !m.o.DryRun {
		if w, err = m.out.keeper(ctx); err != nil {
			return err
		}
		defer w.Abort(ctx)
	}
	sum := fileSum{met: map[int32]outcome{}}
	for part, err := range m.s.Scan(delta.ScanOptions{RowIDs: m.s.TracksRows()}).File(ctx, add) {
		if err != nil {
			return err
		}
		rec, err := m.batch(ctx, shaper, add, part, &sum)
		part.Release()
		if err != nil {
			return err
		}
		if w != nil {
			err = m.out.keep(ctx, w, rec)
		}
		rec.Release()
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var adds []*delta.Add
	if sum.updated+sum.deleted > 0 && w != nil {
		if adds, err = w.Close(ctx); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sum(&sum)
	if sum.updated+sum.deleted == 0 {
		return nil // as it was
	}
	m.counts.TargetCopied += sum.copied
	m.counts.FilesRemoved++
	m.counts.BytesRemoved += add.Size
	m.removes = append(m.removes, add.Remove(time.Now(), true))
	m.added(adds)
	return nil
}

// sum notes what became of the rows of a file. The caller holds the lock.
func (m *merger) sum(s *fileSum) {
	m.note(s.met)
	m.counts.TargetUpdated += s.updated
	m.counts.TargetDeleted += s.deleted
	m.counts.TargetMissing += s.missing
}

// added takes new files. The caller holds the lock.
func (m *merger) added(adds []*delta.Add) {
	m.adds = append(m.adds, adds...)
	for _, a := range adds {
		m.counts.FilesAdded++
		m.counts.BytesAdded += a.Size
	}
}

// fileSum is what became of the rows of a file.
type fileSum struct {
	met                      map[int32]outcome
	updated, deleted, copied int64
	missing                  int64 // deleted because no change row meets them
}

// batch returns what rows of a file become, which the caller releases.
func (m *merger) batch(ctx context.Context, shaper *delta.Shaper, add *delta.Add, part delta.FileRows, sum *fileSum) (arrow.RecordBatch, error) {
	old, err := m.shape(ctx, shaper, part.RecordBatch)
	if err != nil {
		return nil, err
	}
	defer old.Release()
	d, changed, err := m.plan(ctx, add, part, old, sum)
	if err != nil {
		return nil, err
	}
	n := int(old.NumRows())
	if changed == nil {
		sum.copied += int64(n)
		old.Retain()
		return old, nil
	}
	defer changed.Release()
	if err := m.out.tell(ctx, old, d, changed); err != nil {
		return nil, err
	}
	places := make([]int32, 0, n) // in old, then in changed
	next := 0
	for i := range n {
		switch {
		case d.gone[i]:
			continue
		case next < len(d.update) && d.update[next] == int32(i):
			places = append(places, int32(n+next))
			next++
			continue
		}
		sum.copied++
		places = append(places, int32(i))
	}
	both, err := concat(old.Schema(), []arrow.RecordBatch{old, changed})
	if err != nil {
		return nil, err
	}
	defer both.Release()
	return take(ctx, both, places)
}

// mark deletes the rows of a file that change by a deletion vector, and writes what they become elsewhere.
func (m *merger) mark(ctx context.Context, add *delta.Add) error {
	shaper, err := delta.NewShaper(m.table)
	if err != nil {
		return err
	}
	sum := fileSum{met: map[int32]outcome{}}
	gone, rows := roaring64.New(), int64(0)
	for part, err := range m.s.Scan(delta.ScanOptions{RowIDs: m.s.TracksRows()}).File(ctx, add) {
		if err != nil {
			return err
		}
		rows += part.NumRows()
		err = m.markBatch(ctx, shaper, add, part, gone, &sum)
		part.Release()
		if err != nil {
			return err
		}
	}
	return m.marked(ctx, add, gone, rows, &sum)
}

// marked notes that rows of a file, which has so many, are deleted by a deletion vector.
func (m *merger) marked(ctx context.Context, add *delta.Add, gone *roaring64.Bitmap, rows int64, sum *fileSum) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sum(sum)
	if gone.IsEmpty() || m.o.DryRun {
		return nil
	}
	if _, err := m.tx.Delete(ctx, add, gone); err != nil {
		return err
	}
	switch {
	case int64(gone.GetCardinality()) == rows:
		m.counts.FilesRemoved++
		m.counts.BytesRemoved += add.Size
	case add.DeletionVector != nil:
		m.counts.VectorsUpdated++
	default:
		m.counts.VectorsAdded++
	}
	return nil
}

func (m *merger) markBatch(ctx context.Context, shaper *delta.Shaper, add *delta.Add, part delta.FileRows, gone *roaring64.Bitmap, sum *fileSum) error {
	old, err := m.shape(ctx, shaper, part.RecordBatch)
	if err != nil {
		return err
	}
	defer old.Release()
	d, changed, err := m.plan(ctx, add, part, old, sum)
	if err != nil || changed == nil {
		return err
	}
	defer changed.Release()
	if err := m.out.tell(ctx, old, d, changed); err != nil {
		return err
	}
	for i, is := range d.gone {
		if is {
			gone.Add(uint64(part.Place(i)))
		}
	}
	for _, i := range d.update {
		gone.Add(uint64(part.Place(int(i))))
	}
	return m.out.move(changed)
}

// decision is what is to become of the rows of a batch.
type decision struct {
	update []int32 // rows that may change, in order
	by     []int32 // the change row of each
	gone   []bool  // by row
	// deleted is the number of rows that are gone.
	deleted int
}

// plan decides what becomes of rows of a file, and returns those that are updated as they are to be, in
// the order of the decision. They are nil when no row changes.
func (m *merger) plan(ctx context.Context, add *delta.Add, part delta.FileRows, old arrow.RecordBatch, sum *fileSum) (d *decision, changed arrow.RecordBatch, err error) {
	switch {
	case m.rows != nil:
		return m.rows.plan(ctx, old, sum)
	case m.history != nil:
		return m.history.plan(ctx, add, part, old, sum)
	}
	names, _ := m.keyColumns()
	if d, err = m.decide(ctx, old, names, sum); err != nil || len(d.update) == 0 && d.deleted == 0 {
		return d, nil, err
	}
	if changed, err = m.changed(ctx, old, d, sum); err == nil && len(d.update) == 0 && d.deleted == 0 {
		changed.Release()
		changed = nil
	}
	return d, changed, err
}

func (m *merger) decide(ctx context.Context, old arrow.RecordBatch, names []string, sum *fileSum) (*decision, error) {
	d := &decision{gone: make([]bool, old.NumRows())}
	remove := func(i int) {
		d.gone[i] = true
		d.deleted++
	}
	if names == nil { // the table lacks the keys, so that no row is met
		for i := range d.gone {
			remove(i)
			sum.missing++
		}
		return d, nil
	}
	find, seq := m.keysOf(old, names)
	var at, by []int32
	for i := range int(old.NumRows()) {
		row := find(i)
		switch {
		case row < 0 && m.spec.DeleteMissing:
			remove(i)
			sum.missing++
		case row < 0 || m.src.late(row, seq, i):
		default:
			at, by = append(at, int32(i)), append(by, row)
		}
	}
	deletes, updates, err := m.sql.pairs(ctx, old, at, by)
	if err != nil {
		return nil, err
	}
	for k, i := range at {
		switch {
		case deletes[k]:
			remove(int(i))
			sum.met[by[k]] = max(sum.met[by[k]], deleted)
		case m.spec.InsertOnly || !updates[k]:
			sum.met[by[k]] = max(sum.met[by[k]], skipped)
		default:
			d.update, d.by = append(d.update, i), append(d.by, by[k])
		}
	}
	return d, nil
}

// changed returns the new rows of a decision, and leaves out of it those that are as they were.
func (m *merger) changed(ctx context.Context, old arrow.RecordBatch, d *decision, sum *fileSum) (arrow.RecordBatch, error) {
	was, err := take(ctx, old, d.update)
	if err != nil {
		return nil, err
	}
	defer was.Release()
	change, err := take(ctx, m.src.rows, d.by)
	if err != nil {
		return nil, err
	}
	defer change.Release()
	all, err := m.combine.update(ctx, was, change)
	if err != nil {
		return nil, err
	}
	defer all.Release()
	var at, by, other []int32
	for k, i := range d.update {
		if m.differ(was, k, all, k) {
			at, by, other = append(at, i), append(by, d.by[k]), append(other, int32(k))
			sum.met[d.by[k]] = max(sum.met[d.by[k]], updated)
		}
	}
	d.update, d.by = at, by
	sum.updated += int64(len(at))
	sum.deleted += int64(d.deleted)
	return take(ctx, all, other)
}

// differ reports whether row i of a is another than row j of b, but for passive columns.
func (m *merger) differ(a arrow.RecordBatch, i int, b arrow.RecordBatch, j int) bool {
	for c, f := range m.src.rows.Schema().Fields() {
		if m.src.fields[c].has && !m.src.passive(f.Name) && !equal(a.Column(c), i, b.Column(c), j) {
			return true
		}
	}
	return false
}

// insert writes the change rows that no row of the table has met.
func (m *merger) insert(ctx context.Context) error {
	var rows []int32
	for _, r := range m.src.order {
		switch {
		case m.outcomes[r] != waiting:
		case m.sql.deletesNew(r):
			m.outcomes[r] = skipped
		default:
			m.outcomes[r] = inserted
			rows = append(rows, r)
		}
	}
	for part := range slices.Chunk(rows, insertRows) {
		rec, err := m.insertion(ctx, part)
		if err != nil {
			return err
		}
		err = m.out.insert(ctx, rec)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// insertRows is how many rows are gathered at a time.
const insertRows = 16 << 10

// insertion is change rows without the columns that the source lacks: the writer knows their defaults.
func (m *merger) insertion(ctx context.Context, rows []int32) (arrow.RecordBatch, error) {
	all, err := take(ctx, m.src.rows, rows)
	if err != nil {
		return nil, err
	}
	defer all.Release()
	return m.known(all), nil
}

// known is a record without the columns that neither the source nor the history of a row fills.
func (m *merger) known(all arrow.RecordBatch) arrow.RecordBatch {
	var fields []arrow.Field
	var cols []arrow.Array
	for i, f := range all.Schema().Fields() {
		if m.src.fields[i].has || m.history != nil && slices.Contains([]string{ValidFrom, ValidTo, IsCurrent}, schema.Fold(f.Name)) {
			fields, cols = append(fields, f), append(cols, all.Column(i))
		}
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, all.NumRows())
}

// count adds up what became of the change rows.
func (m *merger) count() {
	c := &m.counts
	c.Rows, c.Duplicates, c.Conflicting = m.src.rows.NumRows(), m.src.duplicates, m.src.conflicting
	for _, o := range m.outcomes {
		switch o {
		case inserted:
			c.Inserted++
		case updated:
			c.Updated++
		case deleted:
			c.Deleted++
		case unchanged:
			c.Unchanged++
		case late:
			c.Late++
		case skipped:
			c.Skipped++
		}
	}
}

// parameters are those of the operation under Spark's names.
func (m *merger) parameters() map[string]string {
	var on []string
	for _, k := range m.spec.Keys {
		on = append(on, fmt.Sprintf("(target.%s = source.%s)", schema.Quote(k), schema.Quote(k)))
	}
	type clause struct {
		Predicate string `json:"predicate,omitempty"`
		Action    string `json:"actionType"`
	}
	text := func(clauses ...clause) string {
		b, _ := json.Marshal(append([]clause{}, clauses...))
		return string(b)
	}
	var matched, missing []clause
	if m.spec.DeleteWhen != "" {
		matched = append(matched, clause{m.spec.DeleteWhen, "delete"})
	}
	if !m.spec.InsertOnly {
		matched = append(matched, clause{m.spec.UpdateWhen, "update"})
	}
	if m.spec.DeleteMissing {
		missing = append(missing, clause{"", "delete"})
	}
	insert := clause{Action: "insert"}
	if m.spec.DeleteWhen != "" {
		insert.Predicate = "NOT (" + m.spec.DeleteWhen + ")"
	}
	predicate, _ := json.Marshal([]string{strings.Join(on, " AND ")})
	return map[string]string{"predicate": string(predicate), "matchedPredicates": text(matched...),
		"notMatchedPredicates": text(insert), "notMatchedBySourcePredicates": text(missing...)}
}

// metrics are those of the operation under Spark's names, and behind them those it does not have.
func (m *merger) metrics() map[string]string {
	c := &m.counts
	out := map[string]string{}
	took := time.Since(m.began).Milliseconds()
	for name, n := range map[string]int64{
		"numSourceRows": c.Rows, "numTargetRowsInserted": c.Inserted, "numTargetRowsUpdated": c.TargetUpdated,
		"numTargetRowsMatchedUpdated": c.TargetUpdated, "numTargetRowsNotMatchedBySourceUpdated": 0,
		"numTargetRowsMatchedDeleted": c.TargetDeleted - c.TargetMissing, "numTargetRowsNotMatchedBySourceDeleted": c.TargetMissing,
		"numTargetRowsDeleted": c.TargetDeleted, "numTargetRowsCopied": c.TargetCopied,
		"numOutputRows":       c.Inserted + c.TargetUpdated + c.TargetCopied,
		"numTargetFilesAdded": c.FilesAdded, "numTargetFilesRemoved": c.FilesRemoved,
		"numTargetBytesAdded": c.BytesAdded, "numTargetBytesRemoved": c.BytesRemoved,
		"numTargetChangeFilesAdded": int64(len(m.changes)), "numTargetDeletionVectorsAdded": c.VectorsAdded,
		"numTargetDeletionVectorsUpdated": c.VectorsUpdated, "numTargetDeletionVectorsRemoved": 0, "executionTimeMs": took,
	} {
		out[name] = strconv.FormatInt(n, 10)
	}
	counts, _ := json.Marshal(c)
	out["siltMerge"] = string(counts)
	return out
}
