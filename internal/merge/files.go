package merge

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/schema"
)

// candidates are the files of the table that may hold rows to change.
func (m *merger) candidates(ctx context.Context) iter.Seq2[*delta.Add, error] {
	return func(yield func(*delta.Add, error) bool) {
		if m.s == nil {
			return
		}
		for add, err := range m.s.Files(ctx) {
			if err == nil && !m.spec.DeleteMissing && !m.pruner.meets(add) {
				continue
			}
			if !yield(add, err) {
				return
			}
		}
	}
}

// all are files that are known.
func all(files []*delta.Add) iter.Seq2[*delta.Add, error] {
	return func(yield func(*delta.Add, error) bool) {
		for _, add := range files {
			if !yield(add, nil) {
				return
			}
		}
	}
}

// fileNumbers gives numbers to files, from 1 on, for several goroutines.
type fileNumbers struct {
	mu      sync.Mutex
	files   []*delta.Add
	numbers map[string]int32 // by path
}

// number is that of a file.
func (x *fileNumbers) number(add *delta.Add) int32 {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.numbers[add.Path]
	if !ok {
		if x.numbers == nil {
			x.numbers = map[string]int32{}
		}
		x.files = append(x.files, add)
		n = int32(len(x.files))
		x.numbers[add.Path] = n
	}
	return n
}

// file is the file of a number.
func (x *fileNumbers) file(n int32) *delta.Add { return x.files[n-1] }

// each works on files, several at once.
func (m *merger) each(ctx context.Context, files iter.Seq2[*delta.Add, error], work func(context.Context, *delta.Add) error) error {
	g, gctx := errgroup.WithContext(ctx)
	if g.SetLimit(max(1, m.o.Workers)); len(m.wc.NeedsSQL) > 0 {
		g.SetLimit(1) // the evaluator belongs to one goroutine
	}
	for add, err := range files {
		if err != nil {
			return errors.Join(err, g.Wait())
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

// keyColumns are those of the table that a look needs. It is not ok when the table has not all of the keys:
// then no row of it is met.
func (m *merger) keyColumns() (paths [][]string, ok bool) {
	for _, k := range m.src.met.keys {
		if !hasField(m.s.Schema(), k) {
			return nil, false
		}
		paths = append(paths, k)
	}
	if m.ordered() {
		paths = append(paths, m.src.met.seq)
	}
	return paths, true
}

// ordered reports whether the rows of the table have a sequence.
func (m *merger) ordered() bool { return m.src.seq != nil && hasField(m.s.Schema(), m.src.met.seq) }

// insertsOnly reports whether the merge leaves all rows of the table as they are, so that it does not matter
// how many change rows meet one: Delta does not ask either.
func (m *merger) insertsOnly() bool {
	return m.spec.InsertOnly && m.spec.DeleteWhen == "" && !m.spec.DeleteMissing
}

// look reads the keys of a file, notes which change rows have met a row of the table, and reports
// whether the file holds rows that change, and which, as far as keys and sequence tell.
func (m *merger) look(ctx context.Context, add *delta.Add) (touched bool, found *found, err error) {
	paths, ok := m.keyColumns()
	if !ok {
		return m.spec.DeleteMissing, nil, nil
	}
	shaper, err := m.shaper(paths)
	if err != nil {
		return false, nil, err
	}
	met := map[int32]outcome{}
	found = newFound()
	for part, err := range m.s.Scan(delta.ScanOptions{Fields: paths}).File(ctx, add) {
		if err != nil {
			return false, nil, err
		}
		rec, err := shaper.Shape(ctx, part.RecordBatch)
		part.Release()
		if err != nil {
			return false, nil, err
		}
		keys := m.keysOf(rec)
		for i := range int(rec.NumRows()) {
			row := keys.find(i)
			if row < 0 {
				if m.spec.DeleteMissing {
					touched = true
					found.miss(part.Place(i))
				}
				continue
			}
			if m.src.next != nil && m.src.next[row] >= 0 && !m.insertsOnly() && !m.sql.allDeleted(m.src, row) {
				key := m.src.keyText(row)
				keys.release()
				rec.Release()
				return false, nil, &DuplicateError{key}
			}
			switch {
			case m.src.late(row, keys.seq, i):
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
		keys.release()
		rec.Release()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.spill == nil { // which has read the keys of the file before
		m.counts.FilesScanned++
	}
	m.note(met)
	return touched, found, nil
}

// shaper makes the fields at some paths those of the table.
func (m *merger) shaper(paths [][]string) (*delta.Shaper, error) {
	return delta.NewShaper(schema.Pick(m.table, paths))
}

// keysOf are the keys of rows of the table, and the change rows that they meet.
type keysOf struct {
	find func(i int) int32 // the change row for a row, or -1
	seq  arrow.Array       // nil without
	keys []arrow.Array
}

func (k *keysOf) release() {
	releaseAll(k.keys)
	releaseAll([]arrow.Array{k.seq})
}

func (m *merger) keysOf(rec arrow.RecordBatch) *keysOf {
	k := &keysOf{}
	for _, path := range m.src.met.keys {
		k.keys = append(k.keys, valuesAt(rec, path))
	}
	if m.history == nil && m.ordered() {
		k.seq = valuesAt(rec, m.src.met.seq)
	}
	k.find = m.src.index.finder(k.keys)
	return k
}
