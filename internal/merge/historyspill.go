package merge

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// How the history of rows is kept when the changes are more than memory may hold.
//
// The versions of a key may lie in any files, so what becomes of them is decided on by keys, and written by
// files. Changes, and the versions that may be of their keys, go to parts of a temporary file by the hashes
// of their keys. Of each part the changes are decided on as if there was no other, and those that begin a
// version are inserted. What becomes of the versions that are there goes to another temporary file, by
// groups of data files, and with it the changes that correct them. At last the files of each group are
// written again.
//
// What stays in memory are five bytes for each change row, and four more for one that may correct a version.

// historySpill is a [spill] into a table that keeps all versions of its rows.
type historySpill struct {
	*spill
	perRow int64 // bytes of a change row, and of what is known of it
	seed   maphash.Seed
	known  []uint64 // bits, by hash: whether a change row has it

	versions []int64 // by file, from 1 on: how many may be of the keys of changes
	schema   *arrow.Schema

	// By groups of files: in decided is what becomes of their versions, and behind all those the changes that
	// correct versions.
	byFile  []group
	groupOf []int32 // of files, from 1 on
	decided *spool
}

func newHistorySpill(sp *spill) *historySpill {
	const perRow = 64 // bytes of places, of the index and of a version
	return &historySpill{spill: sp, perRow: sp.perRow + perRow, seed: maphash.MakeSeed(), known: make([]uint64, max(1, sp.o.memory()/64))}
}

func (x *historySpill) run(ctx context.Context) error {
	if err := x.history.check(); err != nil {
		return err
	}
	if err := x.count(ctx); err != nil {
		return err
	}
	var err error
	if x.spool, err = newSpool(x.o.TempDir, 2*len(x.groups)); err != nil {
		return err
	}
	defer x.spool.close()
	if err := x.routeChanges(ctx); err != nil {
		return err
	}
	if err := x.routeVersions(ctx); err != nil {
		return err
	}
	x.byFile, x.groupOf = groupFiles(x.history.files.files, x.versions, x.most())
	if x.decided, err = newSpool(x.o.TempDir, 2*len(x.byFile)); err != nil {
		return err
	}
	defer x.decided.close()
	for part := range x.groups {
		if err := x.decide(ctx, part); err != nil {
			return err
		}
		x.groups[part] = group{}
	}
	for g := range x.byFile {
		if err := x.write(ctx, g); err != nil {
			return err
		}
		x.byFile[g] = group{}
	}
	return nil
}

// most is how many rows are held at once, with what is known of them.
func (x *historySpill) most() int64 { return max(1, x.o.memory()/2/x.perRow) }

// hasher returns the hash of the key at i.
func (x *historySpill) hasher(keys []arrow.Array) func(i int) (hash uint64, ok bool) {
	return weaker(hasher(x.seed, keys), x.o.hashBits)
}

// bit is where known has a hash.
func (x *historySpill) bit(hash uint64) (word *uint64, bit uint64) {
	at := hash % (64 * uint64(len(x.known)))
	return &x.known[at/64], 1 << (at % 64)
}

// part is where changes and versions of a hash go.
func (x *historySpill) part(hash uint64) int { return int(hash % uint64(len(x.groups))) }

// count reads the keys of the changes, and makes as many parts as it takes.
func (x *historySpill) count(ctx context.Context) error {
	var all bounds
	rows := int64(0)
	err := x.readKeys(ctx, x.changes, func(keys []arrow.Array, n int, _ int32) error {
		rows += int64(n)
		hash := x.hasher(keys)
		for i := range n {
			if h, ok := hash(i); ok {
				word, bit := x.bit(h)
				*word |= bit
			}
		}
		return all.add(ctx, keys)
	})
	if err != nil {
		return err
	}
	x.outcomes = make([]outcome, rows)
	x.groups = make([]group, (rows+x.most()-1)/x.most())
	x.pruner, err = all.pruner(x.s, x.src.met.keys)
	return err
}

// routeChanges puts the changes into their parts. Those whose keys are null, and meet nothing, are in the first.
func (x *historySpill) routeChanges(ctx context.Context) error {
	shaper, err := x.shaper(x.src.met.keys)
	if err != nil {
		return err
	}
	places := make([][]int32, len(x.groups))
	return x.read(ctx, func(rec arrow.RecordBatch, first int32) error {
		shaped, err := shaper.Shape(ctx, rec)
		if err != nil {
			return err
		}
		keys := x.columnsOf(shaped)
		defer releaseAll(keys)
		hash := x.hasher(keys)
		for i := range int32(rec.NumRows()) {
			part := 0
			if h, ok := hash(int(i)); ok {
				part = x.part(h)
			}
			places[part] = append(places[part], i)
		}
		for part, rows := range places {
			if err := x.put(ctx, part, rec, first, rows); err != nil {
				return err
			}
			places[part] = rows[:0]
		}
		return nil
	})
}

// routeVersions puts the rows of the table that may be versions of the keys of changes into their parts.
func (x *historySpill) routeVersions(ctx context.Context) error {
	x.versions = make([]int64, 1)
	return x.history.scanVersions(ctx, func(ctx context.Context, v versionRows) error {
		keys := x.history.keysOf(v.rec)
		defer keys.release()
		hash := x.hasher(keys.keys)
		places := map[int][]int32{}
		for i := range int(v.rec.NumRows()) {
			h, ok := hash(i)
			if !ok {
				continue
			}
			if word, bit := x.bit(h); *word&bit != 0 {
				places[x.part(h)] = append(places[x.part(h)], int32(i))
			}
		}
		for part, at := range places {
			if err := x.putVersions(ctx, part, v, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// putVersions puts rows of the table into a part, with where they are.
func (x *historySpill) putVersions(ctx context.Context, part int, v versionRows, at []int32) error {
	rows, err := take(ctx, v.rec, at)
	if err != nil {
		return err
	}
	defer rows.Release()
	files, places := array.NewInt32Builder(memory.DefaultAllocator), array.NewInt64Builder(memory.DefaultAllocator)
	defer files.Release()
	defer places.Release()
	for _, i := range at {
		files.Append(v.file(int(i)))
		places.Append(v.place(int(i)))
	}
	file, place := files.NewInt32Array(), places.NewInt64Array()
	defer file.Release()
	defer place.Release()
	fields := append(slices.Clone(rows.Schema().Fields()), arrow.Field{Name: "silt.file", Type: file.DataType()}, arrow.Field{Name: "silt.place", Type: place.DataType()})
	all := array.NewRecordBatch(arrow.NewSchema(fields, nil), append(slices.Clone(rows.Columns()), file, place), rows.NumRows())
	defer all.Release()
	x.merger.mu.Lock()
	defer x.merger.mu.Unlock()
	for i := range file.Len() {
		n := int(file.Value(i))
		x.versions = append(x.versions, make([]int64, max(0, n+1-len(x.versions)))...)
		x.versions[n]++
	}
	return x.spool.write(len(x.groups)+part, all)
}

// decide decides on the changes of a part, and inserts those that begin a version.
func (x *historySpill) decide(ctx context.Context, part int) error {
	h, rows := x.history, x.groups[part].rows
	src, err := readSource(ctx, x.spec, Changes{Schema: x.changes.Schema, Rows: x.spool.rows(part)}, x.table, 0)
	if err != nil {
		return err
	}
	x.schema = src.rows.Schema()
	if err := x.use(ctx, src, x.changes.Schema); err != nil {
		return err
	}
	err = h.meet(ctx, func(use func(versionRows) error) error {
		for rec, err := range x.spool.rows(len(x.groups)+part)(ctx, nil) {
			if err != nil {
				return err
			}
			n := int(rec.NumCols())
			file, place := rec.Column(n-2).(*array.Int32), rec.Column(n-1).(*array.Int64)
			err = use(versionRows{rec, file.Value, place.Value})
			if rec.Release(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer h.forget()
	h.src.index = nil // nothing is looked up any more
	h.decideAll()
	if err := h.insertAll(ctx); err != nil {
		return err
	}
	slices.SortStableFunc(h.actions, func(a, b action) int { return cmp.Compare(x.groupOf[a.file], x.groupOf[b.file]) })
	for rest := h.actions; len(rest) > 0; {
		g, n := x.groupOf[rest[0].file], 1
		for n < len(rest) && x.groupOf[rest[n].file] == g {
			n++
		}
		if err := x.keep(ctx, int(g), rest[:n], rows); err != nil {
			return err
		}
		rest = rest[n:]
	}
	x.collect(rows)
	return nil
}

// The columns of what becomes of versions.
var actionFields = []arrow.Field{
	{Name: "file", Type: arrow.PrimitiveTypes.Int32},
	{Name: "place", Type: arrow.PrimitiveTypes.Int64},
	{Name: "by", Type: arrow.PrimitiveTypes.Int32}, // among the changes of the group
	{Name: "same", Type: arrow.FixedWidthTypes.Boolean},
	{Name: "remove", Type: arrow.FixedWidthTypes.Boolean},
}

// keep keeps what becomes of versions in a group of files. The change rows have the numbers of rows.
func (x *historySpill) keep(ctx context.Context, g int, actions []action, rows []int32) error {
	to := make([]int32, len(actions))
	var by []int32
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(actionFields, nil))
	defer b.Release()
	for i, a := range actions {
		to[i] = a.to
		if a.by >= 0 {
			by, a.by = append(by, a.by), int32(len(x.byFile[g].rows))
			x.byFile[g].rows = append(x.byFile[g].rows, rows[by[len(by)-1]])
		}
		b.Field(0).(*array.Int32Builder).Append(a.file)
		b.Field(1).(*array.Int64Builder).Append(a.place)
		b.Field(2).(*array.Int32Builder).Append(a.by)
		b.Field(3).(*array.BooleanBuilder).Append(a.same)
		b.Field(4).(*array.BooleanBuilder).Append(a.remove)
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	bound, err := takeTimes(ctx, x.history.times, to)
	if err != nil {
		return err
	}
	defer bound.Release()
	fields := append(slices.Clip(actionFields), arrow.Field{Name: "to", Type: bound.DataType(), Nullable: true})
	all := array.NewRecordBatch(arrow.NewSchema(fields, nil), append(slices.Clone(rec.Columns()), bound), rec.NumRows())
	defer all.Release()
	if err := x.decided.write(g, all); err != nil || len(by) == 0 {
		return err
	}
	changes, err := take(ctx, x.src.rows, by)
	if err != nil {
		return err
	}
	defer changes.Release()
	return x.decided.write(len(x.byFile)+g, changes)
}

// write writes what becomes of the versions in a group of files.
func (x *historySpill) write(ctx context.Context, g int) error {
	h := x.history
	defer h.forget()
	changes, err := x.corrections(ctx, g)
	if err != nil {
		return err
	}
	x.src.only(changes)
	var bounds []arrow.Array
	defer func() { releaseAll(bounds) }()
	next := int32(0)
	for rec, err := range x.decided.rows(g)(ctx, nil) {
		if err != nil {
			return err
		}
		file, place, by := rec.Column(0).(*array.Int32), rec.Column(1).(*array.Int64), rec.Column(2).(*array.Int32)
		same, remove, to := rec.Column(3).(*array.Boolean), rec.Column(4).(*array.Boolean), rec.Column(5)
		for i := range to.Len() {
			a := action{place: place.Value(i), file: file.Value(i), to: -1, by: by.Value(i), same: same.Value(i), remove: remove.Value(i)}
			if to.IsValid(i) {
				a.to = next + int32(i)
			}
			h.actions = append(h.actions, a)
		}
		to.Retain()
		bounds, next = append(bounds, to), next+int32(to.Len())
		rec.Release()
	}
	if len(bounds) == 0 {
		return nil // nothing changes
	}
	if h.times, err = array.Concatenate(bounds, memory.DefaultAllocator); err != nil {
		return err
	}
	if err := h.apply(ctx); err != nil {
		return err
	}
	x.collect(x.byFile[g].rows)
	return nil
}

// corrections are the changes that correct versions in a group of files.
func (x *historySpill) corrections(ctx context.Context, g int) (arrow.RecordBatch, error) {
	var recs []arrow.RecordBatch
	defer func() {
		for _, r := range recs {
			r.Release()
		}
	}()
	for rec, err := range x.decided.rows(len(x.byFile)+g)(ctx, nil) {
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return concat(x.schema, recs)
}
