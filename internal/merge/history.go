package merge

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"

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
// Versions and what becomes of them are kept in arrays in order, so that a million of them are no work for
// the collector of garbage.

// history merges into a table that keeps all versions of its rows.
type history struct {
	*merger
	files    fileNumbers // of those that hold versions
	versions []version   // by key, and then from when
	times    arrow.Array
	actions  []action                // while they are decided on
	becomes  map[*delta.Add][]action // of rows of a file, by their places
	inserts  []insertion
	events   []event // of the key that is decided on
}

// action is what becomes of a version.
type action struct {
	place  int64
	file   int32
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

// check refuses what has no meaning where a row has many versions.
func (h *history) check() error {
	if h.sql.delete.sql != "" && h.sql.delete.holds == nil || h.sql.update.sql != "" || h.spec.InsertOnly || h.spec.DeleteMissing {
		return errors.New("a history of rows has no one row to compare with: deleteWhen can ask for the source alone, and there is no updateWhen, insertOnly or notMatchedBySource")
	}
	return nil
}

func (h *history) run(ctx context.Context) error {
	if err := h.check(); err != nil {
		return err
	}
	if err := h.find(ctx); err != nil {
		return err
	}
	defer h.forget()
	h.src.index = nil // nothing is looked up any more
	h.decideAll()
	if err := h.apply(ctx); err != nil {
		return err
	}
	return h.insertAll(ctx)
}

// forget gives up what was decided.
func (h *history) forget() {
	if h.times != nil {
		h.times.Release()
	}
	h.times, h.actions, h.becomes, h.inserts = nil, nil, nil, nil
}

// apply writes what becomes of versions.
func (h *history) apply(ctx context.Context) error {
	h.becomes = map[*delta.Add][]action{}
	slices.SortFunc(h.actions, func(a, b action) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.place, b.place)) })
	var files []*delta.Add
	for rest := h.actions; len(rest) > 0; {
		add := h.files.file(rest[0].file)
		n := sort.Search(len(rest), func(i int) bool { return rest[i].file > rest[0].file })
		files = append(files, add)
		h.becomes[add], rest = rest[:n], rest[n:]
	}
	return h.each(ctx, all(files), h.replace)
}

func (h *history) compare(a, b int32) int { return compare(h.times, int(a), h.times, int(b)) }

// decideAll finds what becomes of each key.
func (h *history) decideAll() {
	follows := make([]bool, len(h.src.next)) // another row of its key
	for _, next := range h.src.next {
		if next >= 0 {
			follows[next] = true
		}
	}
	slices.SortFunc(h.versions, func(a, b version) int {
		if c := cmp.Compare(a.key, b.key); c != 0 {
			return c
		}
		return cmp.Or(h.compare(a.from, b.from), cmp.Compare(a.file, b.file), cmp.Compare(a.place, b.place))
	})
	rest := h.versions
	var rows []int32
	for _, key := range h.src.order {
		if follows[key] {
			continue
		}
		rows = rows[:0]
		for r := key; r >= 0; r = h.src.next[r] {
			rows = append(rows, r)
		}
		n := 0
		for n < len(rest) && rest[n].key == key {
			n++
		}
		h.decideKey(h.changesOf(rows), rest[:n])
		rest = rest[n:]
	}
	h.versions, h.events = nil, nil
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
	out := rows[:0]
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

// decideKey puts the changes of a key among its versions, which are in order.
func (h *history) decideKey(changes []int32, versions []version) {
	events := h.events[:0]
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
	h.events = events
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
			h.act(v, action{to: -1, by: -1, remove: true})
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
	a.file, a.place = v.file, v.place
	h.actions = append(h.actions, a)
}

// plan is [merger.plan].
func (h *history) plan(ctx context.Context, add *delta.Add, part delta.FileRows, old arrow.RecordBatch, sum *fileSum) (*decision, arrow.RecordBatch, error) {
	d := &decision{gone: make([]bool, old.NumRows())}
	var replaced, by, to []int32
	var same []bool
	actions := h.becomes[add]
	if old.NumRows() > 0 {
		actions = actions[placeOf(actions, part.Place(0)):]
	}
	for i := range int(old.NumRows()) {
		if len(actions) == 0 || actions[0].place != part.Place(i) {
			continue
		}
		a := actions[0]
		actions = actions[1:]
		switch {
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

// placeOf is where the actions on rows from a place on begin.
func placeOf(actions []action, place int64) int {
	return sort.Search(len(actions), func(i int) bool { return actions[i].place >= place })
}

// replaced puts the content of changes into some of the rows, and notes of which it is another one.
func (h *history) replaced(ctx context.Context, was arrow.RecordBatch, rows, by []int32, same []bool, sum *fileSum) (arrow.RecordBatch, error) {
	if len(rows) == 0 {
		was.Retain()
		return was, nil
	}
	before, after, err := h.combined(ctx, was, rows, by)
	if err != nil {
		return nil, err
	}
	defer before.Release()
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
	current := array.NewBooleanBuilder(memory.DefaultAllocator)
	defer current.Release()
	for _, at := range to {
		current.Append(at < 0)
	}
	a, err := takeTimes(ctx, h.times, to)
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

// takeTimes returns the times at some places; -1 is null.
func takeTimes(ctx context.Context, times arrow.Array, places []int32) (arrow.Array, error) {
	b := array.NewInt32Builder(memory.DefaultAllocator)
	defer b.Release()
	for _, at := range places {
		if at < 0 {
			b.AppendNull()
		} else {
			b.Append(at)
		}
	}
	index := b.NewArray()
	defer index.Release()
	return compute.TakeArray(ctx, times, index)
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
