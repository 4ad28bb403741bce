package silt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/crash"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

const (
	// taskBytes is the most a task reads, as stored, when it could read less, give or take a file.
	taskBytes = 64 << 20
	// minTaskBytes is the least for which the work is split further.
	minTaskBytes = 4 << 20
	// tornGrace is how old a file must be before the torn record at its end is taken for what it is.
	tornGrace = 10 * time.Minute
	// maxTries is how often a file that cannot be read is tried.
	maxTries = 5
	// inferFiles and inferBytes bound the first look at a source. Source: Auto Loader, "Configure
	// schema inference and evolution", sampleSize.
	inferFiles = 1000
	inferBytes = 50 << 30
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
	table    *delta.Snapshot // the target; nil when there is none yet
	rules    evolve.Options

	ahead   *objstore.Ahead // of the files, where they are far away; else nil
	workers []*convert.Converter
	rowwise bool   // SQL, if any, may run on any part of the batch
	guessed *guess // nil when the schema is known
	results []*convert.Result
	tasks   []convert.Task
	change  *change  // of the target
	staging *staging // of the rows to merge; nil when they are appended
	aside   *change  // of the quarantine
}

// Convert implements [checkpoint.Effects].
//
// Records are read by the schema that is known. Where a task meets a new field that becomes a column,
// that task alone is done again by the schema that has it; files written by other tasks stay valid,
// because a column they lack reads as NULL.
func (r *run) Convert(ctx context.Context, plan checkpoint.Plan, files []objstore.Object) (checkpoint.Staged, error) {
	if err := r.samePlace(plan); err != nil {
		return checkpoint.Staged{}, err
	}
	c := &conversion{run: r, set: r.set, plan: plan, files: files}
	defer c.close()
	if err := c.begin(ctx); err != nil {
		return checkpoint.Staged{}, err
	}
	if err := c.load(ctx); err != nil {
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
	if c.set.merge != nil {
		c.staging = newStaging(c.state, c.plan.Batch, ulid.Make().String())
		stores.Target = c.staging.store
	}
	long := new(sync.Mutex)
	for range c.Pipeline.workers() {
		w := convert.New(stores, c.duckOptions(c.set))
		w.Long = long
		w.Progress = func(bytes, rows, rescued int64) { c.progress.add(0, bytes, rows, rescued) }
		c.workers = append(c.workers, w)
	}
	if c.table, err = c.target.load(ctx); err != nil {
		return err
	}
	c.rules = c.set.rules(c.table)
	if w, ok := c.set.narrow(c.target.name, c.rules); ok {
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

// rules are the rules of evolution for fields that go into a table; nil is a table to be made.
func (s *settings) rules(table *delta.Snapshot) evolve.Options {
	rules := s.evolution
	if table == nil || s.transform != "" {
		return rules
	}
	rules.TypesFixed = !strings.EqualFold(table.Metadata().Configuration[typeWidening], "true")
	rules.Table = &schema.Struct{}
	for _, f := range table.Schema().Fields {
		ours := func(r string) bool { return schema.Fold(r) == schema.Fold(f.Name) }
		if !slices.ContainsFunc(rules.Reserved, ours) {
			rules.Table.Fields = append(rules.Table.Fields, f)
		}
	}
	if mode := table.Metadata().Configuration["delta.columnMapping.mode"]; mode != "name" && mode != "id" {
		rules.ValidName = delta.ValidName
	}
	return rules
}

// narrow is the warning that a table cannot take the wider types that the mode asks for.
func (s *settings) narrow(table string, rules evolve.Options) (Warning, bool) {
	if rules.Mode != evolve.AddNewColumnsWithTypeWidening || !rules.TypesFixed {
		return Warning{}, false
	}
	return Warning{Code: "SILT-2006", Text: fmt.Sprintf("the types of table %s cannot become wider, so numbers that do not fit are rescued", table),
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

// infer makes the first schema of all files that are there, not only of those in the batch, so that
// the limits of a batch do not show in the schema.
func (c *conversion) infer(ctx context.Context) error {
	c.version = &evolve.Version{WrittenAt: c.plan.Time, Batch: c.plan.Batch, Query: c.log.ID(), Reason: "inferred"}
	if c.rules.Given != nil {
		c.version.Reason, c.version.Schema = "given", c.rules.Given
		c.partition(c.files)
		return c.accept(ctx)
	}
	o := c.wanted(c.set)
	o.MaxFiles, o.MaxBytes = inferFiles, inferBytes
	sample, err := c.present(ctx, o)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(sample))
	for _, f := range sample {
		there[f.Key] = true
	}
	for _, f := range c.files {
		if !there[f.Key] {
			sample = append(sample, f)
		}
	}
	c.progress.phase("infer")
	opts := c.set.decode
	opts.BatchBytes = 1 << 20
	ok, err := c.guess(ctx, sample, opts)
	if err == nil && !ok {
		err = c.look(ctx, sample, opts)
	}
	if err == nil && c.set.compat && len(c.version.Schema.Fields) == 0 {
		return &NoSchemaError{Source: c.source.String(), Files: len(sample)}
	}
	return err
}

// nothingToInfer is the error of a first run under compat that finds no file, where Auto Loader has one.
// Source: Auto Loader, "FAQ": an empty directory needs a schema.
func (r *run) nothingToInfer(ctx context.Context) error {
	e := r.set.evolution
	if !r.set.compat || r.summary.Batches > 0 || e.Given != nil || len(e.Hints) > 0 || r.set.decode.Variant {
		return nil
	}
	if v, err := r.schemas.Latest(ctx); v != nil || err != nil {
		return err
	}
	return &NoSchemaError{Source: r.source.String()}
}

// A NoSchemaError stops the first run of a pipeline under compat: autoloader that has nothing to infer a
// schema from.
type NoSchemaError struct {
	Source string
	Files  int // that are there, all of whose records are corrupt or empty
}

func (e *NoSchemaError) Error() string {
	if e.Files == 0 {
		return "there is no file in " + e.Source + " to infer a schema from"
	}
	return fmt.Sprintf("no record in the %s of %s has a field to infer a schema from", plural(e.Files, "file", "files"), e.Source)
}

// present are the first of the files that are there, up to the limits of o: by the listing that this run has
// planned the batch by, or, when an earlier one did that, by a new one.
func (c *conversion) present(ctx context.Context, o source.Options) ([]objstore.Object, error) {
	if c.listed {
		files, _ := o.Cut(slices.Concat(c.files, c.run.ahead))
		return files, nil
	}
	found, err := source.Discover(ctx, c.source.store, o, c.seen)
	if err != nil {
		return nil, err
	}
	return found.Files, nil
}

// look makes the first schema of what it sees in files.
func (c *conversion) look(ctx context.Context, files []objstore.Object, opts decode.Options) error {
	pieces, err := pieces(ctx, c.workers[0], files, opts)
	if err != nil {
		return err
	}
	total := new(decode.Observed)
	seen := make([]*decode.Observed, len(c.workers))
	g, gctx := errgroup.WithContext(ctx)
	for i, w := range c.workers {
		g.Go(func() (err error) {
			seen[i], err = w.Observe(gctx, every(pieces, i, len(c.workers)), opts)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, o := range seen {
		total.Merge(o)
	}
	d := evolve.Infer(total, c.rules)
	c.version.Schema, c.pending = d.Schema, d.Pending
	c.noteWide(d.Wide)
	if !c.rules.StringsOnly {
		c.warnings = append(c.warnings, strays(d.Schema, total)...)
	}
	c.added = d.Added
	c.partition(files)
	c.progress.restart()
	return c.accept(ctx)
}

// partition finds the columns that the folders of the files make. Fields of the data that come later
// and have such a name are not columns.
func (c *conversion) partition(files []objstore.Object) {
	keys := make([]string, len(files))
	for i, f := range files {
		keys[i] = f.Key
	}
	if s := evolve.Partitions(keys, c.set.partitions, c.rules); len(s.Fields) > 0 {
		c.version.Partitions = s
		c.reservePartitions()
	}
}

func (c *conversion) reservePartitions() {
	if c.version.Partitions != nil {
		c.rules.Reserved = append(slices.Clone(c.rules.Reserved), c.version.Partitions.Names()...)
	}
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
	c.version.Transform, c.version.Uncarried = c.set.digest(), nil
	return nil
}

// digest names a transform; it is empty for none.
func (s *settings) digest() string {
	if s.transform == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s.transform))
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
	if err := c.shape(ctx); err != nil {
		return err
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

// grow makes the fields of a decision part of the schema, and returns the tasks that must be done
// again.
func (c *conversion) grow(ctx context.Context, d *evolve.Decision) (again []int, err error) {
	reason := "new fields"
	if len(d.Added) == 0 {
		reason = "wider types"
	}
	c.renew(reason)
	uncarried := c.version.Uncarried
	c.version.Schema = d.Schema
	var columns []evolve.Field
	for _, f := range d.Added {
		if covered(uncarried, f) {
			continue
		}
		carried, err := c.carries(ctx, f)
		if err != nil {
			return nil, err
		}
		if carried {
			columns = append(columns, f)
			continue
		}
		if c.set.uncarried == "fail" {
			return nil, &UncarriedError{newField(f)}
		}
		c.version.Uncarried = append(c.version.Uncarried, f.String())
	}
	c.added, c.widened = append(c.added, columns...), append(c.widened, d.Widened...)
	if c.set.stopsOnChange {
		return nil, c.halt(ctx, d)
	}
	if len(columns)+len(d.Widened) == 0 {
		return nil, nil
	}
	if err := c.shape(ctx); err != nil {
		return nil, err
	}
	for i, r := range c.results {
		if r != nil && (meets(r, columns) || demands(r, d.Widened)) {
			c.workers[0].Discard(ctx, r)
			c.results[i] = nil
			again = append(again, i)
		}
	}
	for i := range c.tasks {
		c.fill(&c.tasks[i])
	}
	return again, nil
}

// halt writes the version of the schema that a decision has made, and stops the run. Nothing of the
// batch is staged, so that the next run reads the same files by that version; see [conversion.start].
// A run that is killed between the two stops at neither, and loses nothing.
func (c *conversion) halt(ctx context.Context, d *evolve.Decision) error {
	c.version.Added, c.version.Widened, c.version.Pending = c.added, c.widened, c.pending
	c.noteWide(d.Wide)
	if err := c.log.Hold(ctx); err != nil {
		return err
	}
	if err := c.schemas.Put(ctx, c.version); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	crash.Point("after-new-schema")
	stop := &SchemaChangedError{From: -1, To: c.version.Number, Added: newFields(d.Added), Widened: newFields(d.Widened)}
	if c.before != nil {
		stop.From = c.before.Number
	}
	c.summary.add(&batchSummary{Schema: c.schemaChange()})
	c.evolved(stop.Added, stop.Widened)
	return stop
}

// A SchemaChangedError stops a run, where [Config.OnSchemaChange] says so, after the source schema got a
// new version. The next run goes on by that version.
type SchemaChangedError struct {
	From, To int64 // versions of the source schema; From is -1 when there was none
	Added    []NewField
	Widened  []NewField
}

func (e *SchemaChangedError) Error() string {
	all := slices.Concat(e.Added, e.Widened)
	text := fmt.Sprintf("the source schema has changed to version %d", e.To)
	if len(all) > 0 {
		text += fmt.Sprintf(": %s %s, first at %s line %d", all[0].Path, all[0].DDL, all[0].File, all[0].Line)
	}
	if len(all) > 1 {
		text += fmt.Sprintf(", and %d more", len(all)-1)
	}
	return text
}

// A NewColumnsError stops a pipeline in the mode failOnNewColumns.
type NewColumnsError struct{ Fields []NewField }

func (e *NewColumnsError) Error() string {
	f := e.Fields[0]
	text := fmt.Sprintf("new column %s %s, first at %s line %d", f.Path, f.DDL, f.File, f.Line)
	if n := len(e.Fields) - 1; n > 0 {
		text += fmt.Sprintf(", and %d more", n)
	}
	return text
}

// newColumns makes the error of evolve one that callers can see into.
func newColumns(err error) error {
	var stop *evolve.NewColumnsError
	if !errors.As(err, &stop) {
		return err
	}
	return &NewColumnsError{newFields(stop.Fields)}
}

// covered reports whether f is, or lies in, one of the paths.
func covered(paths []string, f evolve.Field) bool {
	at := f.String()
	return slices.ContainsFunc(paths, func(p string) bool { return at == p || strings.HasPrefix(at, p+".") })
}

// demands reports whether a task met numbers for which one of the columns was not wide enough.
func demands(r *convert.Result, widened []evolve.Field) bool {
	return slices.ContainsFunc(widened, func(f evolve.Field) bool { return r.Demands[f.String()] != nil })
}

// meets reports whether a task saw one of the fields without a column for it.
func meets(r *convert.Result, fields []evolve.Field) bool {
	for _, f := range fields {
		for n := range f.Path {
			if o := r.Observed[schema.Path(f.Path[:n]...)].Field(f.Path[n]); o != nil && o.Values() > 0 {
				return true
			}
		}
	}
	return false
}

// An UncarriedError stops a pipeline whose transform leaves out a new field.
type UncarriedError struct{ Field NewField }

func (e *UncarriedError) Error() string {
	return fmt.Sprintf("new field %s %s is not in the table: the transform does not carry it", e.Field.Path, e.Field.DDL)
}

// carries reports whether the values of a new field reach the table through the transform.
func (c *conversion) carries(ctx context.Context, f evolve.Field) (bool, error) {
	return c.set.carries(ctx, c.workers[0], c.version, f)
}

// carries reports whether the values of a field of v reach the table through the transform.
func (s *settings) carries(ctx context.Context, w *convert.Converter, v *evolve.Version, f evolve.Field) (bool, error) {
	if s.transform == "" || s.uncarried == "allow" {
		return true, nil
	}
	engine, err := w.Engine(ctx)
	if err != nil {
		return false, err
	}
	less := *v
	less.Uncarried = append(slices.Clone(v.Uncarried), f.String())
	with, without := s.task(v.Read()), s.task(less.Read())
	return engine.Carried(ctx, s.transform, with.Source(), without.Source())
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
	return convert.Task{
		Decode: opts, TornGrace: tornGrace, Lineage: s.lineage, SQL: s.transform, OnCorrupt: s.onCorrupt,
		Metadata: s.metadata || strings.Contains(strings.ToLower(s.transform), convert.MetadataColumn.Name),
	}
}

// task is what all tasks of the batch have in common, for records that are read by a schema.
func (c *conversion) task(read *schema.Struct) convert.Task {
	t := c.set.task(read)
	t.Decode.Partitions = c.version.PartitionNames()
	t.Batch, t.Time = c.plan.Batch, c.plan.Time
	if m := c.set.merge; m != nil && m.Duplicates == merge.LastWins {
		if t.Keys = m.Keys; m.History {
			t.Keys = append(slices.Clip(t.Keys), m.SequenceBy)
		}
	}
	t.Tags = map[string]string{"silt.query": c.log.ID(), "silt.batch": fmt.Sprint(c.plan.Batch)}
	return t
}

// shape works out what the table's schema becomes with the source schema of now.
func (c *conversion) shape(ctx context.Context) error {
	task := c.task(c.version.Read())
	if c.table != nil {
		task.Types = c.table.Schema()
	}
	rows, transform, err := c.workers[0].TargetSchema(ctx, &task)
	if err != nil {
		return err
	}
	c.rowwise = true
	if transform != nil {
		c.rowwise = transform.RowLocal()
		transform.Close()
	}
	t := c.cfg.Target
	c.change = &change{Schema: rows, PartitionBy: t.PartitionBy, Properties: t.Properties, Evolves: c.set.mergeSchema}
	if c.set.merge != nil {
		c.change.Source, c.change.Schema = rows, merge.Columns(*c.set.merge, rows)
	}
	if c.rules.Mode == evolve.AddNewColumnsWithTypeWidening && !c.rules.TypesFixed {
		c.change.Widens = true
		c.change.Properties = maps.Clone(t.Properties)
		if c.change.Properties == nil {
			c.change.Properties = map[string]string{}
		}
		c.change.Properties[typeWidening] = "true"
	}
	if err := c.target.evolves(c.table, c.change); err != nil {
		return err
	}
	if c.aside == nil {
		c.aside = &change{Schema: convert.QuarantineColumns, Evolves: true}
	}
	return nil
}

// contexts are what the writers of the two tables need, as of the schema of now.
func (c *conversion) contexts(ctx context.Context) (target, quarantine delta.WriteContext, err error) {
	if c.staging != nil {
		target, err = c.mergeContext(ctx)
	} else {
		target, err = c.appendContext()
	}
	if err != nil {
		return target, quarantine, err
	}
	aside, err := c.quarantine.load(ctx)
	if err != nil {
		return target, quarantine, err
	}
	tx, err := c.quarantine.begin(aside, c.aside)
	if err != nil {
		return target, quarantine, err
	}
	return target, tx.WriteContext(), nil
}

// appendContext is what writers of rows to append need.
func (c *conversion) appendContext() (delta.WriteContext, error) {
	tx, err := c.target.begin(c.table, c.change)
	if err != nil {
		return delta.WriteContext{}, err
	}
	wc := tx.WriteContext()
	c.change.Schema, c.change.Constraints, c.change.NeedsSQL = wc.Schema, wc.Constraints, wc.NeedsSQL
	return wc, nil
}

// split divides the files into tasks: small files share one, and a large file of lines has several.
func (c *conversion) split(ctx context.Context) error {
	var total int64
	for _, f := range c.files {
		total += f.Size
	}
	size := min(max(total/int64(len(c.workers))+1, minTaskBytes), taskBytes)
	var group []objstore.Object
	var bytes, before int64 // of the group, and of those before it
	end := size             // of the group, counted from the first
	add := func(files []objstore.Object, part convert.Part) {
		if len(files) > 0 {
			c.tasks = append(c.tasks, convert.Task{Files: files, Part: part, Index: len(c.tasks)})
		}
	}
	flush := func() {
		add(group, convert.Part{})
		group, bytes, before = nil, 0, before+bytes
		end = max(end+size, before+size/2) // a file that is larger than size moves it
	}
	for _, f := range c.files {
		if c.rowwise && f.Size >= 2*size {
			parts, err := c.workers[0].Split(ctx, f, c.set.decode, size)
			if err != nil {
				return err
			}
			if len(parts) > 1 {
				for _, part := range parts {
					add([]objstore.Object{f}, part)
				}
				continue
			}
		}
		// A task ends where the files come nearest to a multiple of size: were each to stay below it, what they
		// lack would be one more task, of a few files, with a data file of its own.
		if c.rowwise && bytes > 0 && before+bytes+f.Size/2 > end {
			flush()
		}
		group, bytes = append(group, f), bytes+f.Size
	}
	flush()
	for i := range c.tasks {
		c.fill(&c.tasks[i])
	}
	return nil
}

// unite takes back all parts of a file of which one could not be read: a file is loaded as a whole or
// not at all.
func (c *conversion) unite(ctx context.Context) {
	broken := map[string]convert.FileOutcome{}
	for i, t := range c.tasks {
		if f := c.results[i].Files[0]; t.Part.End > 0 && f.State != convert.Loaded {
			broken[t.Files[0].Key] = f
		}
	}
	for i, t := range c.tasks {
		if f, ok := broken[t.Files[0].Key]; ok && t.Part.End > 0 {
			c.workers[0].Discard(ctx, c.results[i])
			c.results[i] = &convert.Result{Task: i, Files: []convert.FileOutcome{f}}
		}
	}
}

// fill gives a task the schema of now.
func (c *conversion) fill(t *convert.Task) {
	common := c.task(c.version.Read())
	common.Files, common.Part, common.Index = t.Files, t.Part, t.Index
	if c.table != nil && c.set.transform != "" {
		common.Types = c.table.Schema()
	}
	common.Name = fmt.Sprintf("part-%s-%d-%d", queryPrefix(c.log.ID()), c.plan.Batch, t.Index)
	*t = common
}

// queryPrefix is the start of a query id, as it stands in the names of data files.
func queryPrefix(id string) string { return id[:min(len(id), 8)] }

// do runs tasks, as many at once as there are workers.
func (c *conversion) do(ctx context.Context, tasks []int) error {
	target, quarantine, err := c.contexts(ctx)
	if err != nil {
		return err
	}
	queue := make(chan int)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		for _, i := range tasks {
			select {
			case queue <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for _, w := range c.workers {
		g.Go(func() error {
			for i := range queue {
				t := c.tasks[i]
				t.Target, t.Quarantine = target, quarantine
				result, err := w.Run(ctx, t)
				if err != nil {
					return err
				}
				c.results[i] = result
				c.progress.add(len(t.Files), 0, 0, 0)
			}
			return nil
		})
	}
	return g.Wait()
}

// observed is what all tasks met without a column for it.
func (c *conversion) observed() map[string]*decode.Observed {
	return united(c.results, func(r *convert.Result) map[string]*decode.Observed { return r.Observed })
}

// united is what all tasks observed of one kind.
func united(results []*convert.Result, of func(*convert.Result) map[string]*decode.Observed) map[string]*decode.Observed {
	all := map[string]*decode.Observed{}
	for _, r := range results {
		for at, o := range of(r) {
			if all[at] == nil {
				all[at] = new(decode.Observed)
			}
			all[at].Merge(o)
		}
	}
	return all
}

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
