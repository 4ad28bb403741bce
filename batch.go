package silt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

const (
	// taskBytes is about what a task reads, as stored, when it could read less: up to half as much again, so
	// that no task is left with a small rest.
	taskBytes = 64 << 20
	// minTaskBytes is the least for which the work is split further.
	minTaskBytes = 4 << 20
	// tornGrace is how old a file must be before the torn record at its end is taken for what it is.
	tornGrace = 10 * time.Minute
	// maxTries is how often a file that cannot be read is tried.
	maxTries = 5
	// typeWidening is the property of a table whose types may grow.
	typeWidening = "delta.enableTypeWidening"
)

// conversion is the making of one batch: from its files to what is staged.
type conversion struct {
	*run
	set   *settings
	plan  checkpoint.Plan
	files []objstore.Object

	before  *evolve.Version // to start with; nil when the source had no schema
	version *evolve.Version // as it becomes
	added   []evolve.Field
	widened []evolve.Field
	pending []string
	// warnings are what the batch has to tell.
	warnings []Warning
	rules    evolve.Options

	ahead   *objstore.Ahead // of the files, where they are far away; else nil
	workers []*convert.Converter
	rowwise bool   // SQL, if any, may run on any part of the batch
	blank   bool   // files were read for the schema, and those of the batch have no record
	guessed *guess // nil when the schema is known
	results []*convert.Result
	tasks   []convert.Task
	// postponed says why all files are left to the next batch; empty: they are not.
	postponed string
	// deliveries are to the targets, in their order.
	deliveries []*delivery
	aside      *change // of the quarantine
}

// Convert implements [checkpoint.Effects].
//
// Records are read by the schema that is known. Where a task meets a new field that becomes a column,
// that task alone is done again by the schema that has it; files written by other tasks stay valid,
// because a column they lack reads as NULL, and those that they have keep their physical names.
func (r *run) Convert(ctx context.Context, plan checkpoint.Plan, files []objstore.Object) (checkpoint.Staged, error) {
	if _, err := r.samePlaces(plan); err != nil {
		return checkpoint.Staged{}, err
	}
	var warnings []Warning
	for {
		staged, err := r.convert(ctx, plan, files, warnings)
		var gone *refGoneError
		if !errors.As(err, &gone) {
			return staged, err
		}
		var told Warning
		if plan.Refs, told, err = r.repin(ctx, plan.Refs, gone); err != nil {
			return checkpoint.Staged{}, err
		}
		warnings = append(warnings, told)
		r.progress.restart()
	}
}

// convert makes the batch with the refs as of the versions of the plan.
func (r *run) convert(ctx context.Context, plan checkpoint.Plan, files []objstore.Object, warnings []Warning) (checkpoint.Staged, error) {
	c := &conversion{run: r, set: r.set, plan: plan, files: files, warnings: warnings}
	defer c.close()
	if err := c.begin(ctx); err != nil {
		return checkpoint.Staged{}, err
	}
	err := c.load(ctx)
	if err == nil {
		err = c.unmade()
	}
	if err == nil {
		err = c.violated()
	}
	if err != nil {
		c.discard(ctx)
		return checkpoint.Staged{}, err
	}
	staged, err := c.stage(ctx)
	if err != nil {
		c.discard(ctx)
	}
	return staged, err
}

// begin finds the schema to start with.
func (c *conversion) begin(ctx context.Context) (err error) {
	if c.seen == nil { // a batch that an earlier process planned
		if c.seen, err = c.log.Seen(ctx); err != nil {
			return err
		}
	}
	stores := c.stores()
	if isRemote(c.source.path) {
		c.ahead = objstore.NewAhead(ctx, stores.Source, c.files)
		stores.Source = c.ahead
	}
	tables, err := c.snapshots(ctx)
	if err != nil {
		return err
	}
	for i, t := range c.targets {
		d := &delivery{target: t, snapshot: tables[i]}
		if t.merge != nil {
			d.staging = newStaging(c.state, c.plan.Batch, newULID())
			stores.Targets[i] = d.staging.store
		}
		c.deliveries = append(c.deliveries, d)
	}
	sql, err := c.sqlOptions(ctx, c.plan.Refs)
	if err != nil {
		return err
	}
	long := new(sync.Mutex)
	for range c.Pipeline.workers() {
		w := convert.New(stores, sql)
		w.Long = long
		w.Progress = func(bytes, rows, rescued int64) { c.progress.add(0, bytes, rows, rescued) }
		c.workers = append(c.workers, w)
	}
	c.rules = c.set.rules(tables)
	if w, ok := c.narrow(c.rules); ok {
		c.warnings = append(c.warnings, w)
	}
	switch c.before, err = c.start(ctx); {
	case err != nil:
		return err
	case c.before != nil:
		return c.resume(ctx)
	}
	return c.infer(ctx)
}

// start is the version of the schema to start with: the one that the batch was planned with, or the one
// that an earlier try of it wrote before it stopped for that, see [conversion.halt]; nil is none.
func (c *conversion) start(ctx context.Context) (*evolve.Version, error) {
	latest, err := c.schemas.Latest(ctx)
	switch {
	case err != nil:
		return nil, err
	case latest != nil && latest.Number > c.plan.SchemaVersion && latest.Batch == c.plan.Batch && latest.Query == c.log.ID():
		return latest, nil
	case c.plan.SchemaVersion < 0:
		return nil, nil
	}
	return c.schemas.Version(ctx, c.plan.SchemaVersion)
}

// narrow is the warning that a table cannot take the wider types that the mode asks for.
func (p *Pipeline) narrow(rules evolve.Options) (Warning, bool) {
	if rules.Mode != evolve.AddNewColumnsWithTypeWidening || !rules.TypesFixed {
		return Warning{}, false
	}
	return Warning{Code: "SILT-2006", Text: fmt.Sprintf("the types of table %s cannot become wider, so numbers that do not fit are rescued", p.targets[p.set.plain()].name),
		Hint: "set the table's property " + typeWidening + " to true; readers must know the feature then"}, true
}

// unplaced is the warning that files lie in folders k=v that make no column, when nobody has said which do.
func (s *settings) unplaced(files []objstore.Object, v *evolve.Version, rules evolve.Options) (Warning, bool) {
	if s.partitions != nil || rules.Given != nil {
		return Warning{}, false
	}
	read := v.Read()
	var names []string
	first := ""
	for _, f := range files {
		for _, folder := range decode.FolderValues(f.Key) {
			if read.IndexFold(folder.Name) >= 0 || slices.Contains(names, folder.Name) {
				continue
			}
			if names = append(names, folder.Name); first == "" {
				first = f.Key
			}
		}
	}
	if names == nil {
		return Warning{}, false
	}
	all := strings.Join(append(v.PartitionNames(), names...), ",")
	return Warning{Code: "SILT-2007", Text: fmt.Sprintf("files lie in folders %s=…, for which there is no column, first %s", strings.Join(names, "=…, "), first),
		Hint: "to have it from now on, set cloudFiles.partitionColumns: " + all}, true
}

// pieces divides the large ones of some files, so that several workers can look at them.
func pieces(ctx context.Context, w *convert.Converter, files []objstore.Object, opts decode.Options) ([]convert.Piece, error) {
	var all []convert.Piece
	for _, f := range files {
		parts := []convert.Part{{}}
		if f.Size >= taskBytes {
			var err error
			if parts, err = w.Split(ctx, f, opts, taskBytes/4); err != nil {
				return nil, err
			}
		}
		for _, part := range parts {
			all = append(all, convert.Piece{Object: f, Part: part})
		}
	}
	return all, nil
}

// every returns the elements first, first+step, first+2*step …
func every[E any](all []E, first, step int) (some []E) {
	for k := first; k < len(all); k += step {
		some = append(some, all[k])
	}
	return some
}

// resume starts from the schema that the batch was planned with. Hints and types of the table that are
// new since then are laid over it.
func (c *conversion) resume(ctx context.Context) error {
	v := *c.before
	c.version, c.pending = &v, v.Pending
	if c.before.Number > c.plan.SchemaVersion && c.plan.SchemaVersion >= 0 && !c.rules.Mode.Adds() {
		planned, err := c.schemas.Version(ctx, c.plan.SchemaVersion)
		if err != nil {
			return err
		}
		c.renew("new fields refused") // the run stopped for them, and the mode has been changed since
		c.version.Schema, c.version.Uncarried, c.pending = planned.Schema, planned.Uncarried, planned.Pending
		v.Schema = planned.Schema
	}
	if want := c.set.partitions; want != nil && !slices.Equal(want, v.PartitionNames()) && len(want)+len(v.PartitionNames()) > 0 {
		c.renew("partition columns")
		c.version.Partitions = nil
		c.partition(c.files)
	} else {
		c.reservePartitions()
	}
	if c.rules.Given == nil {
		if s := c.rules.Overlay(v.Schema); !schema.Equal(s, v.Schema) {
			c.renew("hints")
			c.version.Schema = s
		}
	} else if !schema.Equal(c.rules.Given, v.Schema) {
		c.renew("given")
		c.version.Schema = c.rules.Given
	}
	if v.Transform != c.set.digest() {
		c.renew("transform")
		return c.accept(ctx)
	}
	return nil
}

// renew makes the version one that the batch writes.
func (c *conversion) renew(reason string) {
	if c.before != nil && c.version.Number == c.before.Number {
		c.version = &evolve.Version{Number: c.before.Number + 1, Schema: c.version.Schema, Partitions: c.version.Partitions, Uncarried: c.version.Uncarried, Wide: c.version.Wide,
			Transform: c.version.Transform, WrittenAt: c.plan.Time, Batch: c.plan.Batch, Query: c.log.ID(), Reason: reason}
	}
}

// noteWide remembers the objects with too many fields, and warns of those that no version told of before.
func (c *conversion) noteWide(found []evolve.Wide) {
	for _, w := range found {
		i := slices.IndexFunc(c.version.Wide, func(v evolve.Wide) bool { return v.String() == w.String() })
		if i >= 0 && (c.version.Wide[i].Rescued || !w.Rescued) {
			continue
		}
		if w.Rescued {
			c.renew("too many fields")
			c.warnings = append(c.warnings, c.set.tooMany(w))
		}
		if c.isNew() {
			all := slices.Clone(c.version.Wide)
			if i >= 0 {
				all = slices.Delete(all, i, i+1)
			}
			c.version.Wide = append(all, w)
		}
	}
}

// tooMany warns of fields that have no column because there are too many.
func (s *settings) tooMany(w evolve.Wide) Warning {
	where := ""
	if w.First.File != "" {
		where = fmt.Sprintf(", first at %s:%d", w.First.File, w.First.Line)
	}
	out := Warning{Code: "SILT-3007"}
	switch {
	case w.Deep:
		at := strings.SplitAfterN(w.String(), ".", 4)
		out.Text = fmt.Sprintf("%s… is nested deeper than columns can be%s", strings.Join(at[:min(3, len(at))], ""), where)
	case len(w.Path) == 0:
		out.Text = fmt.Sprintf("the records have more fields than the %d columns of maxColumns; the others have none%s", s.evolution.MaxColumns, where)
	case w.Hint != "":
		out.Text = fmt.Sprintf("%s has so many different keys that they look like data; it has no column for them%s", w, where)
	default:
		out.Text = fmt.Sprintf("%s has more fields than maxObjectKeys or maxColumns allow; the others have no column%s", w, where)
	}
	if s.rescue != "" {
		out.Text += "; values are kept in " + s.rescue
	}
	if w.Hint != "" {
		out.Hint = "make it a map: schemaHints: " + w.Hint
	}
	return out
}

// isNew reports whether the batch writes its version of the schema.
func (c *conversion) isNew() bool { return c.before == nil || c.version.Number != c.before.Number }

// accept takes the transform as one that was written knowing all fields so far: what it leaves out is
// left out on purpose.
func (c *conversion) accept(context.Context) error {
	c.version.Transform = c.set.digest()
	told, err := c.set.settleNames(c.version)
	c.warnings = append(c.warnings, told...)
	return err
}

// digest names the transforms; it is empty for none.
func (s *settings) digest() string {
	all := s.sqls()
	if len(all) == 0 {
		return ""
	}
	for _, t := range s.targets {
		if len(t.flatten) == 0 {
			continue
		}
		rules, err := json.Marshal(t.flatten)
		if err != nil {
			panic(err) // strings and numbers
		}
		all = append(all, string(rules))
	}
	sum := sha256.Sum256([]byte(strings.Join(all, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// load runs the tasks until no new field is left.
func (c *conversion) load(ctx context.Context) error {
	if w, ok := c.set.unplaced(c.files, c.version, c.rules); ok {
		c.warnings = append(c.warnings, w)
	}
	if c.guessed != nil {
		if done, err := c.loadGuessed(ctx); done || err != nil {
			return err
		}
	}
	c.progress.phase("load")
	err := c.shape(ctx)
	if lacksField(err) {
		err = c.foresee(ctx, err)
	}
	if err != nil {
		return tellPending(err, c.pending)
	}
	if err := c.split(ctx); err != nil {
		return err
	}
	c.results = make([]*convert.Result, len(c.tasks))
	again := slices.Collect(seq(len(c.tasks)))
	for round := 0; len(again) > 0; round++ {
		if err := c.do(ctx, again); err != nil {
			return err
		}
		c.unite(ctx)
		d, err := evolve.Evolve(c.version.Schema, c.observed(), c.rules)
		if err != nil {
			return newColumns(err)
		}
		if err := d.Widen(united(c.results, func(r *convert.Result) map[string]*decode.Observed { return r.Demands }), c.rules); err != nil {
			return err
		}
		c.pending = untyped(d.Schema, merged(c.pending, d.Pending))
		if len(d.Added)+len(d.Widened) == 0 {
			c.noteWide(d.Wide)
			return nil
		}
		if round > 100 {
			return fmt.Errorf("the schema does not settle; last change %s", append(d.Added, d.Widened...)[0])
		}
		if again, err = c.grow(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func seq(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// merged is the union of two sorted lists.
func merged(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// untyped returns the paths that have no column by now.
func untyped(s *schema.Struct, paths []string) []string {
	return slices.DeleteFunc(paths, func(at string) bool {
		path, err := schema.ParsePath(at)
		return err == nil && has(s, path)
	})
}

func has(t schema.Type, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch t := t.(type) {
	case *schema.Struct:
		i := t.IndexFold(path[0])
		return i >= 0 && has(t.Fields[i].Type, path[1:])
	case *schema.Array:
		return has(t.Element, path[1:])
	case *schema.Map:
		return path[0] == "value" && has(t.Value, path[1:])
	}
	return false
}

// task is what all tasks have in common that read records by a schema.
func (s *settings) task(read *schema.Struct) convert.Task {
	opts := s.decode
	opts.Schema = read
	opts.Observe = s.evolution.Mode.Adds() || s.evolution.Mode == evolve.FailOnNewColumns
	if i := read.Index(s.corrupt); i >= 0 && read.Fields[i].Type == schema.String {
		opts.Corrupt = s.corrupt
	}
	opts.Widen = s.evolution.Mode == evolve.AddNewColumnsWithTypeWidening
	opts.NullRows = s.onCorrupt == convert.NullRow
	t := convert.Task{Decode: opts, TornGrace: tornGrace, Lineage: s.lineage, OnCorrupt: s.onCorrupt, FailFast: s.failFast}
	for _, to := range s.targets {
		t.Targets = append(t.Targets, to.task(s.metadata))
	}
	return t
}

// task is what all tasks of the batch have in common, for records that are read by a schema.
func (c *conversion) task(read *schema.Struct) convert.Task {
	t := c.set.task(read)
	t.Decode.Partitions = c.version.PartitionNames()
	t.Batch, t.Time = c.plan.Batch, c.plan.Time
	for i, d := range c.deliveries {
		d.inform(&t.Targets[i], d.snapshot)
		if d.unmade != nil {
			leaveRows(&t.Targets[i])
		}
	}
	t.Tags = map[string]string{"silt.query": c.log.ID(), "silt.batch": fmt.Sprint(c.plan.Batch)}
	return t
}

// shape works out what the schemas of the tables become with the source schema of now.
func (c *conversion) shape(ctx context.Context) error {
	for _, d := range c.deliveries {
		d.unmade = nil
	}
	task := c.task(c.version.Read())
	c.rowwise = true
	for i, d := range c.deliveries {
		rows, whole, err := rowsOf(ctx, c.workers[0], &task, &task.Targets[i])
		if err == nil {
			err = d.checkRules(ctx, c.workers[0], rows, d.snapshot)
		}
		if c.blank && lacksField(err) {
			d.unmade, err = err, nil
			leaveRows(&task.Targets[i])
			if rows = task.Source(&task.Targets[i]); d.transform != "" && d.snapshot != nil {
				rows = d.snapshot.Schema() // a table that is emptied keeps its columns
			}
		}
		if err != nil {
			return err
		}
		c.rowwise = c.rowwise && !whole
		if d.change != nil && d.merge == nil { // data files may have been written under it
			rows = delta.Named(rows, d.change.Schema)
		}
		d.change = d.becomes(rows, c.rules)
		if err := d.evolves(d.snapshot, d.change); err != nil {
			return err
		}
		if d.merge == nil {
			continue
		}
		if err = d.checkMerge(ctx, c.workers[0], d.snapshot, d.change); c.blank && lacksField(err) {
			d.unmade, err = err, nil
		}
		if err != nil {
			return err
		}
	}
	if c.aside == nil {
		c.aside = &change{Schema: convert.QuarantineColumns, Evolves: true}
	}
	return nil
}

// contexts are what the writers of the tables need, as of the schema of now.
func (c *conversion) contexts(ctx context.Context) (targets []delta.WriteContext, quarantine delta.WriteContext, err error) {
	for _, d := range c.deliveries {
		wc, err := c.context(ctx, d)
		if err != nil {
			return nil, quarantine, err
		}
		targets = append(targets, wc)
	}
	aside, err := c.quarantine.load(ctx)
	if err != nil {
		return nil, quarantine, err
	}
	tx, err := c.quarantine.begin(aside, c.aside)
	if err != nil {
		return nil, quarantine, err
	}
	quarantine = tx.WriteContext()
	c.aside.Schema = quarantine.Schema
	return targets, quarantine, nil
}

// context is what the writers for one target need.
func (c *conversion) context(ctx context.Context, d *delivery) (delta.WriteContext, error) {
	if d.staging != nil {
		return c.mergeContext(ctx, d)
	}
	tx, err := d.begin(d.snapshot, d.change)
	if err != nil {
		return delta.WriteContext{}, err
	}
	wc := tx.WriteContext()
	d.change.Schema, d.change.Constraints, d.change.NeedsSQL = wc.Schema, wc.Constraints, wc.NeedsSQL
	return wc, nil
}

// queryPrefix is the start of a query id, as it stands in the names of data files.
func queryPrefix(id string) string { return id[:min(len(id), 8)] }

// discard removes the data files of a batch that will not be.
func (c *conversion) discard(ctx context.Context) {
	for _, r := range c.results {
		if r != nil {
			c.workers[0].Discard(context.WithoutCancel(ctx), r)
		}
	}
}

func (c *conversion) close() {
	for _, w := range c.workers {
		_ = w.Close() // nothing is in it that is needed
	}
	if c.ahead != nil {
		c.ahead.Close()
	}
}
