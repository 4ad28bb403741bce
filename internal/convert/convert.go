// Package convert is the data path: it makes data files of tables, the targets and their quarantine, from
// the files of a source.
//
// A [Task] says which files and how; it holds all that its rows depend on, so it can run anywhere, and
// running it twice does no harm. Its [Result] says which data files there are now, what became of each
// source file, and what was met for which there is no column. No table changes: that is up to those
// who get the Result.
//
//	bytes -> decode -> [SQL] -> data files of a target, for each of them
//	           |          |
//	           +----------+--> data files of the quarantine
package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/crash"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Task is a part of a batch.
type Task struct {
	Batch int64             `json:"batch"`
	Index int               `json:"index"` // within the batch
	Files []objstore.Object `json:"files"`
	// Part is the part to read of the only file; the zero Part is all of it.
	Part Part `json:"part,omitzero"`
	// Time is the time of loading: the same for all tasks of a batch, and for a batch done again.
	Time   time.Time      `json:"time"`
	Decode decode.Options `json:"decode"`
	// TornGrace makes a file that ends inside a record wait while it is younger than this at Time: it
	// may still be written. Otherwise what is there of the record is bad.
	TornGrace time.Duration `json:"tornGrace,omitempty"`
	// Lineage are the columns that say where a row comes from, see [LineageColumns].
	Lineage []string `json:"lineage,omitempty"`
	// OnCorrupt says what happens to text that is no record.
	OnCorrupt OnCorrupt `json:"onCorrupt,omitempty"`
	// FailFast means that OnCorrupt is what the option mode says. It is for the error only.
	FailFast bool `json:"failFast,omitempty"`

	// Targets are the tables that rows go to, in the order of [Stores.Targets]. A record is read once.
	Targets    []Target           `json:"targets"`
	Quarantine delta.WriteContext `json:"quarantine"`
	// Name starts the names of the task's data files.
	Name string `json:"name"`
	// Tags are put on each data file.
	Tags map[string]string `json:"tags,omitempty"`
}

// Target is one table of a task, and how its rows are made.
type Target struct {
	// Table is its name, for people.
	Table string `json:"table,omitempty"`
	// Flatten makes columns of fields before the SQL sees the rows.
	Flatten []Flatten `json:"flatten,omitempty"`
	// SQL makes the rows of the table from those of the source; empty: they are the same.
	SQL string `json:"sql,omitempty"`
	// Metadata adds the column _metadata to what the SQL sees, or to the table when there is no SQL.
	Metadata bool `json:"metadata,omitempty"`
	// Types are the columns of the table whose types SQL must meet.
	Types *schema.Struct `json:"types,omitempty"`
	// Keys are columns of the table without a value in which a row is set aside, like text that is no
	// record. They may be fields in structs, by their paths.
	Keys [][]string `json:"keys,omitempty"`
	// Order is the column that orders the rows of a key, nil without. A row is set aside where it has none
	// because the value of the record is rescued: what its place is among the others is not known.
	Order []string `json:"order,omitempty"`
	// Rules are held against the rows that go to the table; Known are columns that the table has, of which
	// rules may speak although the rows lack them.
	Rules []Rule         `json:"rules,omitempty"`
	Known *schema.Struct `json:"known,omitempty"`

	// Where is true for every row, as [delta.ParsePredicate] reads it, or the task is impossible; empty: always.
	Where string             `json:"where,omitempty"`
	Write delta.WriteContext `json:"write"`
	// Merge is set when the rows are written to be merged into the table.
	Merge *Merge `json:"merge,omitempty"`
	// FailOnConstraint makes a row that breaks a rule of the table the end of the task; else it is set aside.
	FailOnConstraint bool `json:"failOnConstraint,omitempty"`
}

// OnCorrupt is what happens to text that is no record, and to a row on which the SQL fails.
type OnCorrupt uint8

// The zero OnCorrupt loses nothing.
const (
	QuarantineCorrupt OnCorrupt = iota
	DropCorrupt
	FailOnCorrupt
	// NullRow makes a row of NULLs of it and loses its text, as Spark does. A row on which the SQL
	// fails is quarantined all the same.
	NullRow
)

// A CorruptError stops a task under FailOnCorrupt.
type CorruptError struct {
	decode.Position
	Reason string
	Text   []byte
	// FailFast means that the option mode says so.
	FailFast bool
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s line %d: %s", e.File, e.Line, e.Reason)
}

// Result is what a Task made.
type Result struct {
	Task int
	// Targets are what the tables get, in the order of the task.
	Targets []Made
	// Quarantine are the new data files of the quarantine, and Quarantined the rows in them.
	Quarantine  []*delta.Add
	Quarantined int64
	// Dropped is the number of records with rescued data that the SQL makes no row of, in no table.
	Dropped int64
	// Files holds an outcome for each file of the task, in its order.
	Files []FileOutcome
	// Observed is what was met for which there is no column, by the path of the struct it was in;
	// Misfits counts values that did not fit their column, by its path.
	Observed map[string]*decode.Observed
	Misfits  map[string]decode.Rescued
	// Demands is what was seen of numbers for which their columns would have to be wider.
	Demands map[string]*decode.Observed
	// Respelled is that of [decode.Reader].
	Respelled bool
}

// Made is what one table gets.
type Made struct {
	Adds []*delta.Add
	Rows int64
	// None is the number of records of which the SQL makes no row, Several of those of which it makes more than
	// one; those on which it fails are in neither. Unknown means that it works on all records at once.
	None, Several int64
	Unknown       bool
	// Expect holds what became of the other rows, and of the rules.
	Expect Expectations
}

// Rows is the number of rows in all targets.
func (r *Result) Rows() (n int64) {
	for _, m := range r.Targets {
		n += m.Rows
	}
	return n
}

// State is what became of a file.
type State uint8

// The states. Only the rows of a Loaded file are in the result.
const (
	Failed State = iota
	Loaded
	Deferred    // ends inside a record and may still be written
	Waiting     // could be read, and its rows come only together with those of a file that could not
	Vanished    // is not there any more
	Overwritten // is another version by now
)

// FileOutcome is what became of one file of a task.
type FileOutcome struct {
	State State
	// Records is the number of records read, Bad of those that went to the quarantine, Dropped of those
	// that were dropped, Rows of the rows in all targets, Rescued of records with rescued data, Blank of rows
	// of NULLs made of text that no column keeps.
	Records, Bad, Dropped, Rows, Rescued, Blank int64
	Bytes                                       int64 // as stored
	Err                                         error // of a file that is not Loaded
}

// Stores are where a Converter reads and writes.
type Stores struct {
	Source objstore.Store
	// URI is the full name of a source file.
	URI func(key string) string
	// Targets and Quarantine are rooted at their tables.
	Targets    []objstore.Store
	Quarantine objstore.Store
}

// Converter runs tasks, one at a time. It keeps a SQL engine between them.
type Converter struct {
	stores Stores
	sql    duck.Options
	engine *duck.Engine
	// Progress, when set, is told how many bytes of source files and how many rows have been read since
	// it was told last.
	Progress func(bytes, rows, rescued int64)
	// Long, when set, is locked by whoever holds a record that is longer than a few MiB, so that
	// Converters that share it need the memory for one of them, not for one each.
	Long sync.Locker
}

// New returns a Converter. SQL is opened when a task needs it.
func New(stores Stores, sql duck.Options) *Converter { return &Converter{stores: stores, sql: sql} }

// Close releases the engine.
func (c *Converter) Close() error {
	if c.engine == nil {
		return nil
	}
	e := c.engine
	c.engine = nil
	return e.Close()
}

// Engine returns the SQL engine, which is opened by the first call.
func (c *Converter) Engine(ctx context.Context) (*duck.Engine, error) {
	if c.engine == nil {
		e, err := duck.Open(ctx, c.sql)
		if err != nil {
			return nil, err
		}
		c.engine = e
	}
	return c.engine, nil
}

// Run runs a task. An error says that the task as a whole is impossible, and none of its data files
// are left; a file that cannot be read is no error.
func (c *Converter) Run(ctx context.Context, t Task) (*Result, error) { return c.try(ctx, t, false) }

// try runs a task, writing or not, without the files that cannot be read.
func (c *Converter) try(ctx context.Context, t Task, judging bool) (*Result, error) {
	out := &Result{Task: t.Index, Files: make([]FileOutcome, len(t.Files))}
	for {
		left := make([]int, 0, len(t.Files)) // files still to be read
		for i := range t.Files {
			if out.Files[i].Err == nil {
				left = append(left, i)
			}
		}
		r := run{Converter: c, task: &t, result: out, files: left, judging: judging}
		err := r.do(ctx)
		if err == nil {
			return out, nil
		}
		r.abort(ctx)
		var failed *decode.FileError
		if !errors.As(err, &failed) {
			return nil, err
		}
		// Rows of the file were written already, so everything is done again without it.
		i := left[failed.Index]
		state, ok := stateOf(failed.Err)
		if !ok {
			return nil, fmt.Errorf("read %s: %w", t.Files[i].Key, failed.Err)
		}
		*out = Result{Task: t.Index, Files: out.Files}
		out.Files[i] = FileOutcome{State: state, Err: failed.Err}
	}
}

// stateOf classifies why a file cannot be read. It is not ok when the fault may lie with the store, so
// that nothing is known about the file.
func stateOf(err error) (s State, ok bool) {
	var content *decode.ContentError
	switch {
	case err == nil:
		return Loaded, true
	case errors.Is(err, decode.ErrTorn):
		return Deferred, true
	case errors.Is(err, objstore.ErrNotExist):
		return Vanished, true
	case errors.Is(err, objstore.ErrPrecondition):
		return Overwritten, true
	case errors.As(err, &content), errors.Is(err, objstore.ErrPermission), errors.Is(err, objstore.ErrNotRegular):
		return Failed, true
	}
	return Failed, false
}

// open returns a file as the decoder reads it: the planned version, and no other.
func (c *Converter) open(p Piece, deferTorn bool) decode.File {
	return decode.File{
		URI: c.stores.URI(p.Key), Key: p.Key, DeferTorn: deferTorn, Base: p.Part.Start, Lines: p.Part.Lines,
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			r := objstore.Range{IfMatch: p.ETag, Off: p.Part.Start}
			if p.Part.End > 0 {
				r.Len = p.Part.End - p.Part.Start
			}
			body, _, err := c.stores.Source.Open(ctx, p.Key, r)
			return body, err
		},
	}
}

// Observe reads files without writing anything, and returns what is in them: the first look at a
// source. Files that cannot be read are passed over; they come up again when they are loaded.
func (c *Converter) Observe(ctx context.Context, files []Piece, opts decode.Options) (*decode.Observed, error) {
	opts.Schema, opts.Rescue, opts.Corrupt, opts.Observe, opts.KeepText = &schema.Struct{}, "", "", true, false
	total := new(decode.Observed)
	var last *decode.Reader
	for _, o := range files { // one reader each, so that a file that fails leaves nothing behind
		r, err := decode.NewReader([]decode.File{c.open(o, false)}, o.framed(opts))
		if err != nil {
			return nil, err
		}
		if last != nil {
			r.Follow(last)
		}
		last = r
		r.TakeTurns(c.Long)
		for {
			b, err := r.Next(ctx)
			if err == nil {
				c.progress(0, b.Record.NumRows(), 0)
				b.Record.Release()
				continue
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err == io.EOF && r.Reports()[0].Err == nil {
				total.Merge(r.Observed()[""])
			}
			break
		}
		c.progress(o.bytes(), 0, 0)
	}
	return total, nil
}

func (c *Converter) progress(bytes, rows, rescued int64) {
	if c.Progress != nil {
		c.Progress(bytes, rows, rescued)
	}
}

// run is one attempt at a task.
type run struct {
	*Converter
	task   *Task
	result *Result
	files  []int // indexes into the task's files
	// judging means that nothing is written.
	judging bool

	reader     *decode.Reader
	outputs    []*output
	quarantine *quarantine
	// keepRescued copies records with rescued data of which no row is made as they are read to the
	// quarantine, because no SQL over the whole batch can carry it.
	keepRescued bool
	apart       apart
	spool       *spool // nil: nobody needs the rows twice
	told        int64  // bytes that progress was told of
	toldRescued int64  // rows, likewise
}

func (r *run) do(ctx context.Context) error {
	t := r.task
	files := make([]decode.File, len(r.files))
	for k, i := range r.files {
		o := t.Files[i]
		files[k] = r.open(Piece{Object: o, Part: t.Part}, mayWait(o, t.Part, t.Time, t.TornGrace))
	}
	opts := Piece{Part: t.Part}.framed(t.Decode)
	opts.KeepText = slices.ContainsFunc(t.Targets, func(to Target) bool { return to.keepsText() })
	var err error
	if r.reader, err = decode.NewReader(files, opts); err != nil {
		return err
	}
	r.reader.TakeTurns(r.Long)
	defer r.reader.Close()
	r.result.Targets = make([]Made, len(t.Targets))
	for i := range t.Targets {
		o := &output{run: r, to: &t.Targets[i], made: &r.result.Targets[i]}
		if !r.judging {
			o.store = r.stores.Targets[i]
		}
		o.made.Expect.Rules = make([]RuleOutcome, len(o.to.Rules))
		r.apart.drops = r.apart.drops || slices.ContainsFunc(o.to.Rules, func(x Rule) bool { return x.Then == DropRow })
		r.outputs = append(r.outputs, o)
		if err := o.prepare(ctx); err != nil {
			return err
		}
		defer o.release(ctx)
	}
	r.quarantine = newQuarantine(r)
	for _, o := range r.outputs {
		if r.judging {
			break
		}
		if o.writer, err = r.writer(ctx, o.store, o.to.Write, o.to.Where); err != nil {
			return err
		}
		if o.changes, err = o.newChanges(ctx); err != nil {
			return err
		}
	}
	if err := r.all(ctx); err != nil {
		return err
	}
	return r.close(ctx)
}

// all takes the rows of the task to all targets.
func (r *run) all(ctx context.Context) error {
	var whole []*output
	for _, o := range r.outputs {
		if o.isWhole() {
			whole = append(whole, o)
		}
	}
	rescue := r.task.Decode.Rescue
	r.keepRescued = rescue != "" && len(whole) > 0 &&
		!slices.ContainsFunc(whole, func(o *output) bool { return slices.Contains(o.transform.Carries(), rescue) })
	switch {
	case len(whole) == 0:
		return r.stream(ctx)
	case len(r.outputs) == 1:
		return whole[0].fromReader(ctx)
	}
	var err error
	if r.spool, err = newSpool(r.sql.TempDir, r.task.Read().Arrow()); err != nil {
		return err
	}
	defer r.spool.close()
	if err := r.stream(ctx); err != nil {
		return err
	}
	for _, o := range whole {
		if err := o.fromSpool(ctx, r.spool); err != nil {
			return err
		}
	}
	return nil
}

// stream takes one batch of the decoder after the other all the way.
func (r *run) stream(ctx context.Context) error {
	for {
		b, err := r.next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.batch(ctx, b); err != nil {
			return err
		}
		crash.Point("in-convert")
	}
}

// next returns the next batch that has rows, with its lineage, and sets bad records aside.
func (r *run) next(ctx context.Context) (*decode.Batch, error) {
	for {
		b, err := r.reader.Next(ctx)
		if err != nil {
			return nil, err
		}
		r.tell()
		if err := r.bad(ctx, b); err != nil {
			return nil, err
		}
		if b.Record.NumRows() == 0 {
			b.Record.Release()
			continue
		}
		b.Record = r.withLineage(b)
		return b, nil
	}
}

// tell reports progress.
func (r *run) tell() {
	var bytes, rescued int64
	rows := int64(0)
	for _, f := range r.reader.Reports() {
		bytes += f.Bytes
		rescued += f.Rescued
		rows += f.Rows
	}
	r.progress(bytes-r.told, 0, rescued-r.toldRescued)
	r.told, r.toldRescued = bytes, rescued
}

// batch takes the rows of a batch into the targets, and to the spool.
func (r *run) batch(ctx context.Context, b *decode.Batch) error {
	defer b.Record.Release()
	r.apart.begin(b)
	var used *usage
	if rescue := r.task.Decode.Rescue; rescue != "" {
		used = newUsage(b.Record.Column(len(r.task.Decode.Schema.Fields)))
	}
	for _, o := range r.outputs {
		if o.isWhole() {
			continue
		}
		if err := o.batch(ctx, b, used); err != nil {
			return err
		}
	}
	if err := r.settle(ctx, b); err != nil {
		return err
	}
	switch {
	case r.spool == nil:
		r.result.Dropped += used.unused()
		return nil
	case r.keepRescued:
		if err := r.rescued(ctx, b, used); err != nil {
			return err
		}
	}
	return r.spool.write(b.Record)
}

// count adds rows of the target to the files that they come from; from gives the row of b.
func (r *run) count(b *decode.Batch, rows int64, from func(int64) int) {
	k, first := 0, 0 // the run of the row before, and its first row
	for row := range rows {
		at := from(row)
		if at < first {
			k, first = 0, 0
		}
		for ; at >= first+b.Runs[k].Rows; k++ {
			first += b.Runs[k].Rows
		}
		r.result.Files[r.files[b.Runs[k].File]].Rows++
	}
}

// outcome is that of the file from which a row of b comes.
func (r *run) outcome(b *decode.Batch, row int) *FileOutcome {
	for _, run := range b.Runs {
		if row -= run.Rows; row < 0 {
			return &r.result.Files[r.files[run.File]]
		}
	}
	panic("a row comes from no file")
}

// numberBits is the room that tasks leave each other in the series of an identity column.
const numberBits = 32

func (r *run) writer(ctx context.Context, store objstore.Store, wc delta.WriteContext, where string) (*delta.DataWriter, error) {
	var all delta.Predicate
	if where != "" {
		var err error
		if all, err = delta.ParsePredicate(where); err != nil {
			return nil, err
		}
	}
	name := func(part int) string { return fmt.Sprintf("%s-%d-%s.parquet", r.task.Name, part, uuid.NewString()) }
	return delta.NewDataWriter(ctx, store, wc, delta.DataWriterOptions{Name: name, Tags: r.task.Tags, Where: all,
		Evaluator: Evaluator{Engine: r.Engine}, NumberFrom: int64(r.task.Index) << numberBits})
}

// close ends the data files and fills the result.
func (r *run) close(ctx context.Context) error {
	for k, report := range r.reader.Reports() {
		f := &r.result.Files[r.files[k]]
		state, ok := stateOf(report.Err)
		if !ok {
			return fmt.Errorf("read %s: %w", report.URI, report.Err)
		}
		f.State, f.Err, f.Bytes = state, report.Err, report.Bytes
		f.Records, f.Rescued, f.Blank = report.Records, report.Rescued, report.Blank
	}
	var err error
	for _, o := range r.outputs {
		if o.writer == nil {
			continue
		}
		if o.made.Adds, err = o.writer.Close(ctx); err != nil {
			return err
		}
		o.writer = nil
	}
	if r.result.Quarantine, err = r.quarantine.close(ctx); err != nil {
		return err
	}
	r.result.Quarantined = r.quarantine.rows
	r.result.Observed, r.result.Misfits, r.result.Demands = r.reader.Observed(), r.reader.Misfits(), r.reader.Demands()
	r.result.Respelled = r.reader.Respelled()
	return nil
}

// abort removes what was written.
func (r *run) abort(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	for _, o := range r.outputs {
		if o.writer != nil {
			o.writer.Abort(ctx)
		}
	}
	if r.quarantine != nil {
		r.quarantine.abort(ctx)
	}
	r.Discard(ctx, r.result)
}

// Discard removes the data files of a result that is not wanted. A file that cannot be removed stays
// until the table is vacuumed.
func (c *Converter) Discard(ctx context.Context, r *Result) {
	for i, made := range r.Targets {
		for _, add := range made.Adds {
			_ = c.stores.Targets[i].Delete(ctx, add.Path, objstore.Cond{})
		}
	}
	for _, add := range r.Quarantine {
		_ = c.stores.Quarantine.Delete(ctx, add.Path, objstore.Cond{})
	}
}
