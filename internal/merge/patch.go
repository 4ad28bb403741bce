package merge

import (
	"context"
	"sync"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
)

// found is what the keys of a file tell of its rows.
type found struct {
	rows   int64             // that are not deleted
	places []int64           // of those that are to be updated
	by     []int32           // the change row of each
	gone   *roaring64.Bitmap // those to be deleted
	// deletedBy are the change rows that delete; missing is how many rows no change row meets.
	deletedBy, skippedBy []int32
	missing              int64
}

func newFound() *found { return &found{gone: roaring64.New()} }

// miss notes a row that no change row meets, and that is deleted for it.
func (f *found) miss(place int64) {
	f.gone.Add(uint64(place))
	f.missing++
}

// patches replaces rows of files without reading all of their columns, see [delta.Patcher]. That is
// possible where a change row says all that its columns become: it has whole columns, and nothing hangs on
// what the table has. Where the rows are marked as deleted, nothing of them is needed but what tells whether
// they change.
type patches struct {
	*merger
	ctx  context.Context // of the merge: a patcher outlives the work on a file
	mu   sync.Mutex
	free []*delta.Patcher
}

func newPatches(ctx context.Context, m *merger) *patches {
	if m.s == nil || m.rows != nil || m.history != nil || m.spec.IgnoreNullUpdates ||
		m.sql.delete.sql != "" && m.sql.delete.holds == nil || m.sql.update.sql != "" && m.sql.update.holds == nil {
		return nil
	}
	for _, p := range m.src.fields {
		if p.has && !p.whole() || !p.has && m.s.WritesDeletionVectors() {
			return nil
		}
	}
	for _, name := range m.wc.PartitionBy { // a row stays in its partition
		if !m.src.met.isKey(name) {
			return nil
		}
	}
	p := &patches{merger: m, ctx: ctx}
	first, err := p.get()
	if err != nil {
		return nil // the general way says what is wrong, if it is
	}
	p.put(first)
	return p
}

func (p *patches) get() (*delta.Patcher, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		got := p.free[n-1]
		p.free = p.free[:n-1]
		return got, nil
	}
	return p.s.NewPatcher(p.ctx, p.out.kept, p.o.Writer)
}

func (p *patches) put(one *delta.Patcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, one)
}

func (p *patches) close(ctx context.Context) {
	if p == nil {
		return
	}
	for _, one := range p.free {
		one.Close(ctx)
	}
}

// found notes what becomes of a row that a change row meets.
func (p *patches) found(f *found, place int64, row int32) {
	switch {
	case p.sql.mayDelete(row):
		f.gone.Add(uint64(place))
		f.deletedBy = append(f.deletedBy, row)
	case p.spec.InsertOnly || p.sql.update.holds != nil && !p.sql.update.holds[row]:
		f.skippedBy = append(f.skippedBy, row)
	default:
		f.places, f.by = append(f.places, place), append(f.by, row)
	}
}

// file replaces the rows of a file. The error is [errors.ErrUnsupported] where that takes more than it can.
func (p *patches) file(ctx context.Context, add *delta.Add, f *found) error {
	one, err := p.get()
	if err != nil {
		return err
	}
	defer p.put(one)
	patch := delta.FilePatch{Places: f.places, Gone: f.gone, Passive: p.src.passive}
	all, err := take(ctx, p.src.rows, f.by)
	if err != nil {
		return err
	}
	defer all.Release()
	patch.Rows = p.known(all)
	defer patch.Rows.Release()
	var differ []bool
	var made *delta.Add
	marks := p.s.WritesDeletionVectors()
	if marks || p.o.DryRun {
		differ, err = one.Differ(ctx, add, patch)
	} else {
		differ, made, err = one.Patch(ctx, add, patch)
	}
	if err != nil {
		return err
	}
	sum := fileSum{met: map[int32]outcome{}, deleted: int64(f.gone.GetCardinality()), missing: f.missing}
	for _, row := range f.skippedBy {
		sum.met[row] = max(sum.met[row], skipped)
	}
	for _, row := range f.deletedBy {
		sum.met[row] = max(sum.met[row], deleted)
	}
	var changed []int32
	for k, row := range f.by {
		if differ[k] {
			sum.met[row] = max(sum.met[row], updated)
			sum.updated++
			changed = append(changed, int32(k))
		}
	}
	if marks {
		return p.mark(ctx, add, f, &sum, all, changed)
	}
	one.Keep()
	p.merger.mu.Lock()
	defer p.merger.mu.Unlock()
	p.sum(&sum)
	if sum.updated+sum.deleted == 0 {
		return nil // as it was
	}
	p.counts.TargetCopied += f.rows - sum.updated - sum.deleted
	p.counts.FilesRemoved++
	p.counts.BytesRemoved += add.Size
	p.removes = append(p.removes, add.Remove(time.Now(), true))
	if made != nil {
		p.added([]*delta.Add{made})
	}
	return nil
}

// mark marks the rows that change as deleted, and writes what they become, which are the changed ones of
// all, elsewhere.
func (p *patches) mark(ctx context.Context, add *delta.Add, f *found, sum *fileSum, all arrow.RecordBatch, changed []int32) error {
	for _, k := range changed {
		f.gone.Add(uint64(f.places[k]))
	}
	rec := all
	if len(changed) < len(f.by) {
		var err error
		if rec, err = take(ctx, all, changed); err != nil {
			return err
		}
		defer rec.Release()
	}
	if err := p.out.move(rec); err != nil {
		return err
	}
	return p.marked(ctx, add, f.gone, f.rows, sum)
}
