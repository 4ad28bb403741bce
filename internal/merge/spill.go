package merge

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
)

// How change rows are merged that are more than memory may hold.
//
// Their keys are read alone, and so are those of the table, which tells for each row in which files of the
// table its key may be (meet.go). The files are put into groups, so that the rows that are about one group
// fit into memory. Then the rows are read once more, and each goes to the groups that it is about, in a
// temporary file (spool.go). A row whose key is nowhere is inserted at once; those of which several may
// have one key that is nowhere make groups without files. At last each group is merged as if there was no
// other, which is right because all rows of a key are in the same groups. A row that is about several
// groups has the greatest of its outcomes.
//
// What stays in memory are five bytes for each row, and four more for each group that it is about.
//
// The history of rows is decided on by keys instead: see historyspill.go.

// spill merges change rows that are more than memory may hold.
type spill struct {
	*merger
	meeting meeting
	changes Changes
	perRow  int64 // bytes, as far as is known

	groups  []group
	groupOf []int32 // of files, which are counted from 1
	apart   int     // the first of the groups without files
	spool   *spool

	// By change row.
	outcomes    []outcome
	conflicting *roaring.Bitmap
}

// group is some files of the table and the change rows that are about them.
type group struct {
	files []*delta.Add
	rows  []int32
}

// memory is how many bytes of change rows are held at once.
func (o *Options) memory() int64 { return cmp.Or(o.Memory, defaultMemory) }

const defaultMemory = 256 << 20

func newSpill(m *merger, changes Changes, large *largeError) *spill {
	const perKey = 32 // bytes, while there is another copy of them
	limit := int(max(4, m.o.memory()/perKey))
	return &spill{merger: m, changes: changes, perRow: max(1, large.bytes/large.rows), conflicting: roaring.New(),
		meeting: meeting{merger: m, changes: changes, limit: limit}}
}

func (sp *spill) run(ctx context.Context) error {
	work := sp.groupByGroup
	if sp.spec.History {
		work = newHistorySpill(sp).run
	}
	if err := work(ctx); err != nil {
		return err
	}
	sp.counts.count(sp.outcomes)
	sp.counts.Conflicting = int64(sp.conflicting.GetCardinality())
	return nil
}

// groupByGroup merges the rows of one group of files after those of the other.
func (sp *spill) groupByGroup(ctx context.Context) error {
	if err := sp.meeting.find(ctx); err != nil {
		return err
	}
	sp.outcomes = make([]outcome, len(sp.meeting.at))
	sp.divide()
	var err error
	if sp.spool, err = newSpool(sp.o.TempDir, len(sp.groups)); err != nil {
		return err
	}
	defer sp.spool.close()
	if err := sp.route(ctx); err != nil {
		return err
	}
	for i, g := range sp.groups {
		rows := Changes{Schema: sp.changes.Schema, Rows: sp.spool.rows(i)}
		if err := sp.merge(ctx, rows, g.rows, g.files); err != nil {
			return err
		}
		sp.groups[i] = group{}
	}
	return sp.rest(ctx)
}

// chained reports whether change rows of one key are all kept.
func (sp *spill) chained() bool { return sp.spec.Duplicates == FailOnDuplicates }

// divide puts the files into groups. Half of the memory is for the rows of one, because they are there
// twice while they are read.
func (sp *spill) divide() {
	most := max(1, sp.o.memory()/2/sp.perRow)
	rows := make([]int64, len(sp.meeting.files.files)+1) // by file
	shared := int64(0)
	for _, at := range sp.meeting.at {
		switch {
		case at > 0:
			rows[at]++
		case at < keyless && !sp.chained():
			shared++
		}
	}
	for _, o := range sp.meeting.more {
		rows[o.file]++
	}
	sp.groups, sp.groupOf = groupFiles(sp.meeting.files.files, rows, most)
	sp.apart = len(sp.groups)
	sp.groups = append(sp.groups, make([]group, (shared+most-1)/most)...)
}

// groupFiles puts files into groups that have most rows at most, unless one file has more. The rows, and the
// group of a file, are by its number from 1 on.
func groupFiles(files []*delta.Add, rows []int64, most int64) (groups []group, groupOf []int32) {
	groupOf = make([]int32, len(rows))
	sum := int64(0)
	for i, add := range files {
		n := rows[i+1]
		if sum += n; len(groups) == 0 || sum > most {
			groups, sum = append(groups, group{}), n
		}
		last := len(groups) - 1
		groups[last].files = append(groups[last].files, add)
		groupOf[i+1] = int32(last)
	}
	return groups, groupOf
}

// route puts the change rows into the spool, and inserts those whose key is nowhere.
func (sp *spill) route(ctx context.Context) error {
	places := make([][]int32, len(sp.groups))
	more := sp.meeting.more
	return sp.read(ctx, func(rec arrow.RecordBatch, first int32) error {
		var inserts []int32
		for g := range places {
			places[g] = places[g][:0]
		}
		to := func(g, i int32) {
			if n := len(places[g]); n == 0 || places[g][n-1] != i {
				places[g] = append(places[g], i)
			}
		}
		for i := range int32(rec.NumRows()) {
			switch at := sp.meeting.at[first+i]; {
			case at > 0:
				for to(sp.groupOf[at], i); len(more) > 0 && more[0].row == first+i; more = more[1:] {
					to(sp.groupOf[more[0].file], i)
				}
			case at == alone || sp.chained():
				inserts = append(inserts, i)
			case at < keyless:
				to(int32(sp.apart+hashOf(at)%(len(sp.groups)-sp.apart)), i)
			}
		}
		for g, rows := range places {
			if err := sp.put(ctx, g, rec, first, rows); err != nil {
				return err
			}
		}
		return sp.insertNew(ctx, rec, first, inserts)
	})
}

// read yields the change rows again, and the number of the first of them.
func (sp *spill) read(ctx context.Context, work func(rec arrow.RecordBatch, first int32) error) error {
	first := int32(0)
	for rec, err := range sp.changes.Rows(ctx, nil) {
		if err != nil {
			return err
		}
		n := int32(rec.NumRows())
		err = work(rec, first)
		if rec.Release(); err != nil {
			return err
		}
		first += n
	}
	return nil
}

// put puts rows of a record, of which the first has a number, into a group.
func (sp *spill) put(ctx context.Context, g int, rec arrow.RecordBatch, first int32, places []int32) error {
	if len(places) == 0 {
		return nil
	}
	rows, err := take(ctx, rec, places)
	if err != nil {
		return err
	}
	defer rows.Release()
	sp.groups[g].rows = append(sp.groups[g].rows, numbers(first, places)...)
	return sp.spool.write(g, rows)
}

func numbers(first int32, places []int32) []int32 {
	out := make([]int32, len(places))
	for k, i := range places {
		out[k] = first + i
	}
	return out
}

// insertNew inserts rows of a record, which meet no row of the table.
func (sp *spill) insertNew(ctx context.Context, rec arrow.RecordBatch, first int32, places []int32) error {
	if len(places) == 0 {
		return nil
	}
	rows, err := take(ctx, rec, places)
	if err != nil {
		return err
	}
	one := func(context.Context, [][]string) iter.Seq2[arrow.RecordBatch, error] {
		return func(yield func(arrow.RecordBatch, error) bool) { yield(rows, nil) }
	}
	return sp.merge(ctx, Changes{Schema: sp.changes.Schema, Rows: one}, numbers(first, places), nil)
}

// merge merges change rows with these numbers into files, or inserts them when there are none.
func (sp *spill) merge(ctx context.Context, changes Changes, rows []int32, files []*delta.Add) error {
	src, err := readSource(ctx, sp.spec, changes, sp.table, 0)
	if err != nil {
		return err
	}
	if err := sp.use(ctx, src, changes.Schema); err != nil {
		return err
	}
	if len(files) == 0 {
		err = sp.insert(ctx)
	} else {
		err = sp.update(ctx, all(files))
	}
	sp.collect(rows)
	return err
}

// collect takes the outcomes of the change rows that are in memory, which have these numbers.
func (sp *spill) collect(rows []int32) {
	for i, o := range sp.src.outcomes {
		sp.outcomes[rows[i]] = max(sp.outcomes[rows[i]], o)
	}
	for _, i := range sp.src.conflicting {
		sp.conflicting.Add(uint32(rows[i]))
	}
}

// rest inserts the rows that share the hash of a row of the table, and meet none for all that.
func (sp *spill) rest(ctx context.Context) error {
	if !slices.Contains(sp.outcomes, waiting) {
		return nil
	}
	return sp.read(ctx, func(rec arrow.RecordBatch, first int32) error {
		var inserts []int32
		for i := range int32(rec.NumRows()) {
			if sp.outcomes[first+i] == waiting {
				inserts = append(inserts, i)
			}
		}
		return sp.insertNew(ctx, rec, first, inserts)
	})
}
