package merge

import (
	"context"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
)

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

// added takes new files. The caller holds the lock.
func (m *merger) added(adds []*delta.Add) {
	m.adds = append(m.adds, adds...)
	for _, a := range adds {
		m.counts.FilesAdded++
		m.counts.BytesAdded += a.Size
	}
}
