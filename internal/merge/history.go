package merge

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
)

// How the history of rows is kept.
//
// Of the keys that the changes are about, all versions in the table are looked up. With the changes they
// are events in time: a version begins, or the row is deleted. Each version ends where the next event
// begins. So it does not matter in which order changes arrive, but for one thing: a deletion that finds no
// version before it leaves nothing behind, and is not known to a change that comes later and is older.
//
// Times are places in one array, of the changes' sequences and of the bounds of versions; -1 is null.

// history merges into a table that keeps all versions of its rows.
type history struct {
	*merger
	versions map[int32][]version // by the first change row of their key
	times    arrow.Array
	actions  map[string]map[int64]action // by the path of a file, and the place of a row in it
	inserts  []insertion
}

// version is a row of the table.
type version struct {
	path     string
	place    int64
	from, to int32 // in times
}

// action is what becomes of a version.
type action struct {
	to     int32 // valid to
	by     int32 // the change row that replaces its content; -1: none does
	same   bool  // its bounds stay
	remove bool
}

// insertion is a change row that becomes a version.
type insertion struct{ row, to int32 }

// event is something that happens to a row in time: a version of the table begins, a change comes, or,
// when both are missing, the row was deleted.
type event struct {
	at      int32
	version *version
	change  int32 // row; -1 for none
}

func (h *history) run(ctx context.Context) error {
	if h.sql.delete.sql != "" && h.sql.delete.holds == nil || h.sql.update.sql != "" || h.spec.InsertOnly || h.spec.DeleteMissing {
		return errors.New("a history of rows has no one row to compare with: deleteWhen can ask for the source alone, and there is no updateWhen, insertOnly or notMatchedBySource")
	}
	h.versions, h.actions = map[int32][]version{}, map[string]map[int64]action{}
	parts := []arrow.Array{h.src.seq}
	if h.s != nil {
		bounds, err := h.find(ctx)
		defer releaseAll(bounds)
		if err != nil {
			return err
		}
		parts = append(parts, bounds...)
	}
	var err error
	if h.times, err = array.Concatenate(parts, memory.DefaultAllocator); err != nil {
		return err
	}
	defer h.times.Release()
	h.decideAll()
	if len(h.actions) > 0 {
		err := h.each(ctx, h.candidates(ctx), func(ctx context.Context, add *delta.Add) error {
			if h.actions[add.Path] == nil {
				return nil
			}
			return h.replace(ctx, add)
		})
		if err != nil {
			return err
		}
	}
	return h.insertAll(ctx)
}

// find looks up the versions of the changes' keys, and returns their bounds.
func (h *history) find(ctx context.Context) ([]arrow.Array, error) {
	paths := append(slices.Clip(h.src.met.keys), []string{ValidFrom}, []string{ValidTo})
	if slices.ContainsFunc(paths, func(p []string) bool { return !hasField(h.s.Schema(), p) }) {
		return nil, nil // no row of the table is met
	}
	var bounds []arrow.Array
	next := int32(h.src.seq.Len())
	err := h.each(ctx, h.candidates(ctx), func(ctx context.Context, add *delta.Add) error {
		shaper, err := h.shaper(paths)
		if err != nil {
			return err
		}
		for part, err := range h.s.Scan(delta.ScanOptions{Fields: paths}).File(ctx, add) {
			if err != nil {
				return err
			}
			rec, err := shaper.Shape(ctx, part.RecordBatch)
			part.Release()
			if err != nil {
				return err
			}
			err = func() error {
				defer rec.Release()
				keys := h.keysOf(rec)
				defer keys.release()
				var at []int32
				var found []int32
				for i := range int(rec.NumRows()) {
					if row := keys.find(i); row >= 0 {
						at, found = append(at, int32(i)), append(found, row)
					}
				}
				if len(at) == 0 {
					return nil
				}
				from, err := takeArray(ctx, rec.Column(int(rec.NumCols())-2), at)
				if err != nil {
					return err
				}
				to, err := takeArray(ctx, rec.Column(int(rec.NumCols())-1), at)
				if err != nil {
					return err
				}
				h.mu.Lock()
				defer h.mu.Unlock()
				n := int32(len(at))
				for k, i := range at {
					h.versions[found[k]] = append(h.versions[found[k]], version{add.Path, part.Place(int(i)), next + int32(k), next + n + int32(k)})
				}
				bounds, next = append(bounds, from, to), next+2*n
				return nil
			}()
			if err != nil {
				return err
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.counts.FilesScanned++
		return nil
	})
	return bounds, err
}

func takeArray(ctx context.Context, a arrow.Array, places []int32) (arrow.Array, error) {
	index := indexes(places)
	defer index.Release()
	return compute.TakeArray(ctx, a, index)
}

func (h *history) compare(a, b int32) int { return compare(h.times, int(a), h.times, int(b)) }

// decideAll finds what becomes of each key.
func (h *history) decideAll() {
	first := make(map[int32]bool, len(h.src.order))
	for _, row := range h.src.order {
		if first[row] {
			continue
		}
		var rows []int32
		for r := row; r >= 0; r = h.src.next[r] {
			first[r] = true
			rows = append(rows, r)
		}
		h.decideKey(h.changesOf(rows), h.versions[row])
	}
}

// changesOf orders the changes of a key. Of those with one sequence the last counts.
func (h *history) changesOf(rows []int32) []int32 {
	rows = slices.DeleteFunc(rows, func(r int32) bool {
		if h.src.seq.IsNull(int(r)) {
			h.src.outcomes[r] = skipped // it has no place in time
			return true
		}
		return false
	})
	slices.SortStableFunc(rows, h.compare)
	var out []int32
	for i, r := range rows {
		if i+1 < len(rows) && h.compare(r, rows[i+1]) == 0 {
			h.src.outcomes[r] = lost
			if !h.src.same(int(r), int(rows[i+1])) {
				h.src.conflicting = append(h.src.conflicting, r)
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// decideKey puts the changes of a key among its versions.
func (h *history) decideKey(changes []int32, versions []version) {
	var events []event
	slices.SortStableFunc(versions, func(a, b version) int { return h.compare(a.from, b.from) })
	for i := range versions {
		v := &versions[i]
		events = append(events, event{v.from, v, -1})
		if h.times.IsNull(int(v.to)) || i+1 < len(versions) && h.compare(versions[i+1].from, v.to) <= 0 {
			continue
		}
		events = append(events, event{v.to, nil, -1}) // it was deleted
	}
	for _, c := range changes {
		events = append(events, event{c, nil, c})
	}
	// Of the events at one time the version comes first, then the deletion, then the change.
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Or(h.compare(a.at, b.at), cmp.Compare(rank(a), rank(b))) })
	alive := false
	for i := 0; i < len(events); {
		end := i + 1
		for end < len(events) && h.compare(events[i].at, events[end].at) == 0 {
			end++
		}
		alive = h.moment(events[i:end], events[end:], alive)
		i = end
	}
}

func rank(e event) int {
	switch {
	case e.version != nil:
		return 0
	case e.change < 0:
		return 1
	}
	return 2
}

// moment decides on the events of one time, knowing those behind it and whether the row is there before
// it. It returns whether the row is there after it.
func (h *history) moment(now, later []event, alive bool) bool {
	to := int32(-1)
	if len(later) > 0 {
		to = later[0].at
	}
	change := now[len(now)-1].change
	gone := change >= 0 && h.sql.deletesNew(change)
	found := false
	for _, e := range now {
		switch v := e.version; {
		case v == nil:
		case gone || found: // there was a version, and by now there is none, or another one, at its time
			h.act(v, action{remove: true})
		case change >= 0:
			found = true
			h.src.outcomes[change] = unchanged // until it is known to change
			h.act(v, action{to: to, by: change, same: h.ends(v, to)})
		case !h.ends(v, to):
			h.act(v, action{to: to, by: -1})
			fallthrough
		default:
			found = true
		}
	}
	switch {
	case gone:
		if h.src.outcomes[change] = skipped; alive || now[0].version != nil {
			h.src.outcomes[change] = deleted
		}
		return false
	case change >= 0 && !found:
		h.src.outcomes[change] = inserted
		h.inserts = append(h.inserts, insertion{change, to})
		return true
	}
	return found
}

// ends reports whether a version is valid to a time as it is.
func (h *history) ends(v *version, to int32) bool {
	if to < 0 || h.times.IsNull(int(v.to)) {
		return to < 0 && h.times.IsNull(int(v.to))
	}
	return h.compare(to, v.to) == 0
}

func (h *history) act(v *version, a action) {
	if h.actions[v.path] == nil {
		h.actions[v.path] = map[int64]action{}
	}
	h.actions[v.path][v.place] = a
}

// plan is [merger.plan].
func (h *history) plan(ctx context.Context, add *delta.Add, part delta.FileRows, old arrow.RecordBatch, sum *fileSum) (*decision, arrow.RecordBatch, error) {
	d := &decision{gone: make([]bool, old.NumRows())}
	var replaced, by, to []int32
	var same []bool
	for i := range int(old.NumRows()) {
		a, ok := h.actions[add.Path][part.Place(i)]
		switch {
		case !ok:
			continue
		case a.remove:
			d.gone[i] = true
			d.deleted++
			continue
		case a.by >= 0:
			replaced, by = append(replaced, int32(len(d.update))), append(by, a.by)
		}
		d.update, to, same = append(d.update, int32(i)), append(to, a.to), append(same, a.same)
	}
	if len(d.update) == 0 && d.deleted == 0 {
		return d, nil, nil
	}
	was, err := take(ctx, old, d.update)
	if err != nil {
		return nil, nil, err
	}
	defer was.Release()
	now, err := h.replaced(ctx, was, replaced, by, same, sum)
	if err != nil {
		return nil, nil, err
	}
	defer now.Release()
	var at, bounds, kept []int32 // of the rows that do change
	for k, i := range d.update {
		if !same[k] {
			at, bounds, kept = append(at, i), append(bounds, to[k]), append(kept, int32(k))
		}
	}
	if d.update = at; len(at) == 0 && d.deleted == 0 {
		return d, nil, nil
	}
	rest, err := take(ctx, now, kept)
	if err != nil {
		return nil, nil, err
	}
	defer rest.Release()
	sum.updated += int64(len(at))
	sum.deleted += int64(d.deleted)
	changed, err := h.bounded(ctx, rest, nil, bounds)
	return d, changed, err
}

// replaced puts the content of changes into some of the rows, and notes of which it is another one.
func (h *history) replaced(ctx context.Context, was arrow.RecordBatch, rows, by []int32, same []bool, sum *fileSum) (arrow.RecordBatch, error) {
	if len(rows) == 0 {
		was.Retain()
		return was, nil
	}
	before, err := take(ctx, was, rows)
	if err != nil {
		return nil, err
	}
	defer before.Release()
	change, err := take(ctx, h.src.rows, by)
	if err != nil {
		return nil, err
	}
	defer change.Release()
	after, err := h.combine.update(ctx, before, change)
	if err != nil {
		return nil, err
	}
	defer after.Release()
	places := make([]int32, was.NumRows())
	for i := range places {
		places[i] = int32(i)
	}
	for k, i := range rows {
		if h.differ(before, k, after, k) {
			places[i], same[i] = int32(len(places)+k), false
			sum.met[by[k]] = max(sum.met[by[k]], updated)
		}
	}
	both, err := concat(was.Schema(), []arrow.RecordBatch{was, after})
	if err != nil {
		return nil, err
	}
	defer both.Release()
	return take(ctx, both, places)
}

// bounded returns rows with other bounds: from, unless it is nil, and to are places in times.
func (h *history) bounded(ctx context.Context, rec arrow.RecordBatch, from, to []int32) (arrow.RecordBatch, error) {
	cols := slices.Clone(rec.Columns())
	var made []arrow.Array
	defer func() { releaseAll(made) }()
	set := func(name string, a arrow.Array, err error) error {
		if err == nil {
			made = append(made, a)
			cols[columnOf(rec.Schema().Fields(), name)] = a
		}
		return err
	}
	if from != nil {
		a, err := takeArray(ctx, h.times, from)
		if err := set(ValidFrom, a, err); err != nil {
			return nil, err
		}
	}
	b := array.NewInt32Builder(memory.DefaultAllocator)
	defer b.Release()
	current := array.NewBooleanBuilder(memory.DefaultAllocator)
	defer current.Release()
	for _, at := range to {
		if current.Append(at < 0); at < 0 {
			b.AppendNull()
		} else {
			b.Append(at)
		}
	}
	index := b.NewArray()
	defer index.Release()
	a, err := compute.TakeArray(ctx, h.times, index)
	if err := set(ValidTo, a, err); err != nil {
		return nil, err
	}
	if err := set(IsCurrent, current.NewArray(), nil); err != nil {
		return nil, err
	}
	if n := h.src.rows.NumCols(); rec.NumCols() > n { // a row of the table, that is another one now
		null := array.MakeArrayOfNull(memory.DefaultAllocator, arrow.PrimitiveTypes.Int64, int(rec.NumRows()))
		made = append(made, null)
		cols[n+1] = null
	}
	return array.NewRecordBatch(rec.Schema(), cols, rec.NumRows()), nil
}

// insertAll writes the changes that become versions.
func (h *history) insertAll(ctx context.Context) error {
	for part := range slices.Chunk(h.inserts, insertRows) {
		rows, to := make([]int32, len(part)), make([]int32, len(part))
		for i, x := range part {
			rows[i], to[i] = x.row, x.to
		}
		all, err := take(ctx, h.src.rows, rows)
		if err != nil {
			return err
		}
		rec, err := h.bounded(ctx, all, rows, to)
		all.Release()
		if err != nil {
			return err
		}
		known := h.known(rec)
		rec.Release()
		err = h.out.insert(ctx, known)
		known.Release()
		if err != nil {
			return err
		}
	}
	return nil
}
