package merge

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
)

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
	if d, err = m.decide(ctx, old, sum); err != nil || len(d.update) == 0 && d.deleted == 0 {
		return d, nil, err
	}
	if changed, err = m.changed(ctx, old, d, sum); err == nil && len(d.update) == 0 && d.deleted == 0 {
		changed.Release()
		changed = nil
	}
	return d, changed, err
}

func (m *merger) decide(ctx context.Context, old arrow.RecordBatch, sum *fileSum) (*decision, error) {
	d := &decision{gone: make([]bool, old.NumRows())}
	remove := func(i int) {
		d.gone[i] = true
		d.deleted++
	}
	if _, ok := m.keyColumns(); !ok { // the table lacks the keys, so that no row is met
		for i := range d.gone {
			remove(i)
			sum.missing++
		}
		return d, nil
	}
	keys := m.keysOf(old)
	defer keys.release()
	var at, by []int32
	for i := range int(old.NumRows()) {
		row := keys.find(i)
		switch {
		case row < 0 && m.spec.DeleteMissing:
			remove(i)
			sum.missing++
		case row < 0 || m.src.late(row, keys.seq, i):
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
	was, all, err := m.combined(ctx, old, d.update, d.by)
	if err != nil {
		return nil, err
	}
	defer was.Release()
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

// combined returns some rows of old, and what they become by change rows.
func (m *merger) combined(ctx context.Context, old arrow.RecordBatch, rows, by []int32) (was, now arrow.RecordBatch, err error) {
	change, err := take(ctx, m.src.rows, by)
	if err != nil {
		return nil, nil, err
	}
	defer change.Release()
	if was, err = take(ctx, old, rows); err != nil {
		return nil, nil, err
	}
	if now, err = m.combine.update(ctx, was, change); err != nil {
		was.Release()
		return nil, nil, err
	}
	return was, now, nil
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
