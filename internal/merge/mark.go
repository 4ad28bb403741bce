package merge

import (
	"context"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/siltlake/silt/delta"
)

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
