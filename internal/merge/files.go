package merge

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/schema"
)

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
