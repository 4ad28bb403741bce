package silt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Plan is what the next run would do.
type Plan struct {
	Pipeline string `json:"pipeline"`
	Source   string `json:"source"`
	Target   string `json:"target"`
	// TableVersion is the newest version of the table; -1: there is none yet.
	TableVersion int64  `json:"tableVersion"`
	Mode         string `json:"schemaEvolutionMode"`
	// RescuedColumn takes what has no column or does not fit its column; empty: it is lost.
	RescuedColumn string `json:"rescuedDataColumn"`

	Files PlannedFiles `json:"files"`
	// Read is how much of the new files this plan has read. What follows speaks of that part alone.
	Read PlannedRead `json:"read"`
	// Schema is how the source schema would change. Where the mode says so, Added fields would not
	// become columns but be rescued, or stop the run.
	Schema SchemaChange `json:"schema"`
	// Reason is why the source schema would get a new version: "inferred", "given", "hints",
	// "partition columns", "transform", "new fields" or "wider types"; empty when it would get none.
	Reason string `json:"reason,omitempty"`
	// SourceSchema is the schema by which records would be read.
	SourceSchema *schema.Struct `json:"sourceSchema"`
	// Columns are those that the table would get; of a new table all. Of several targets, Target, TableVersion,
	// Columns and Keys are those of the first, and Targets has all.
	Columns []NewField `json:"columns,omitempty"`
	// Targets are the tables that rows would go to.
	Targets []PlannedTarget `json:"targets"`
	// Folders are the columns that folders k=v on the way to the files make.
	Folders []NewField `json:"folders,omitempty"`
	// Stop is why the run would stop before it has written anything; empty when it would not.
	Stop string `json:"stop,omitempty"`
	// Keys are the columns by which rows would be merged; nil: they would be appended.
	Keys []string `json:"keys,omitempty"`
	// Transform means that SQL makes the rows. LeftOut are fields that the transform was written without. They are not in the table.
	Transform bool     `json:"transform,omitempty"`
	LeftOut   []string `json:"leftOut,omitempty"`
	// Conflicts are columns with values that do not fit them; these would be rescued.
	Conflicts []Conflict `json:"conflicts,omitempty"`
	// Mixed are new fields whose values are of several kinds, so that they would become text.
	Mixed []MixedField `json:"mixed,omitempty"`
	// WholeNumbers are columns that were inferred from whole numbers alone: a later 80.5 would be
	// rescued.
	WholeNumbers []string `json:"wholeNumbers,omitempty"`
	// Wide are objects with so many different keys that these look like ids.
	Wide []WideObject `json:"wide,omitempty"`
	// RecordPath leads to the records when each file is one object around a list of them; empty when
	// they are not like that, or the option recordPath says it.
	RecordPath string `json:"recordPath,omitempty"`
	// Bad are the first of the records that would be quarantined.
	Bad        []QuarantinedRecord `json:"bad,omitempty"`
	Unreadable []UnreadableFile    `json:"unreadable,omitempty"`
	// Differences are the defaults in which the pipeline differs from Auto Loader.
	Differences []string `json:"differences,omitempty"`

	Warnings []Warning `json:"warnings,omitempty"`
}

// PlannedTarget is a table that rows would go to.
type PlannedTarget struct {
	Table   string `json:"table"`
	Version int64  `json:"version"` // -1: there is none yet
	// Write is "append", "merge" or "overwrite"; Keys are those of a merge, ReplaceWhere is that of an overwrite.
	Write        string     `json:"write"`
	Keys         []string   `json:"keys,omitempty"`
	ReplaceWhere string     `json:"replaceWhere,omitempty"`
	Columns      []NewField `json:"columns,omitempty"`
}

// PlannedFiles counts the files that the next run would meet.
type PlannedFiles struct {
	New          int   `json:"new"`
	Bytes        int64 `json:"bytes"`
	Changed      int   `json:"changed"`
	FailedBefore int   `json:"failedBefore"` // among New
	Unfinished   int   `json:"unfinished"`   // among New: in a batch that an earlier run did not finish
	Skipped      int   `json:"skipped"`
}

// PlannedRead is what a plan has read.
type PlannedRead struct {
	Files   int64 `json:"files"`
	Bytes   int64 `json:"bytes"`
	Records int64 `json:"records"`
	// Quarantine is the number of records that would be quarantined, Rescued that of records with
	// rescued data.
	Quarantine int64 `json:"quarantine"`
	Rescued    int64 `json:"rescued"`
	Full       bool  `json:"full"`
}

// Conflict is a column that some values do not fit.
type Conflict struct {
	RescuedPath
	// Column is its type.
	Column string `json:"column"`
}

// MixedField is a field with values of several kinds; each count is that of the values of one kind.
type MixedField struct {
	Path     string `json:"path"`
	Type     string `json:"type"` // that all of them fit
	Booleans int64  `json:"booleans,omitempty"`
	Numbers  int64  `json:"numbers,omitempty"`
	Texts    int64  `json:"texts,omitempty"`
	Objects  int64  `json:"objects,omitempty"`
	Lists    int64  `json:"lists,omitempty"`
	// File and Line are where its first value is.
	File string `json:"file"`
	Line int64  `json:"line"`
}

// WideObject is an object whose keys look like data, or one with more fields than there may be columns;
// an empty path is the top level of the records.
type WideObject struct {
	Path string `json:"path"`
	Keys int    `json:"keys"` // different ones; when they are Rescued, at least as many
	// Rescued means that its fields, or those beyond the limit, have no column. Their values are rescued.
	Rescued bool `json:"rescued,omitempty"`
	// Hint is the schema hint that makes it a map; empty where none does.
	Hint string `json:"hint,omitempty"`
	File string `json:"file"`
	Line int64  `json:"line"`
}

// UnreadableFile is a file no row of which would be loaded.
type UnreadableFile struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

// PlanOptions say how thorough a plan is.
type PlanOptions struct {
	// Full reads all new files; otherwise some of them, spread over all.
	Full bool

	fresh bool // as if nothing had been loaded and there were no table
	again bool // of all files, also of those that are loaded
}

const (
	// planFiles and planBytes bound what a plan reads that is not full.
	planFiles = 400
	planBytes = 64 << 20
)

// Plan says what the next run would do. Nothing is written.
func (p *Pipeline) Plan(ctx context.Context, o PlanOptions) (*Plan, error) {
	out, l, err := p.looked(ctx, o)
	if l != nil {
		l.close()
	}
	return out, err
}

// looked makes a plan and returns it with the looker that has read the files, to be closed.
func (p *Pipeline) looked(ctx context.Context, o PlanOptions) (*Plan, *looker, error) {
	out := &Plan{Pipeline: p.name, Source: p.source.String(), Target: p.targets[0].name, TableVersion: -1,
		Mode: p.set.evolution.Mode.String(), RescuedColumn: p.set.rescue, Transform: len(p.set.sqls()) > 0,
		Warnings: slices.Clone(p.set.notes), Differences: p.Differences()}
	files, err := p.planFiles(ctx, out, o.fresh || o.again)
	if err != nil {
		return nil, nil, err
	}
	tables := make([]*delta.Snapshot, len(p.targets))
	var before *evolve.Version
	if !o.fresh {
		if tables, err = p.snapshots(ctx); err != nil {
			return nil, nil, err
		}
		if before, err = p.schemas.Latest(ctx); err != nil {
			return nil, nil, err
		}
	}
	for i, t := range p.targets {
		to := PlannedTarget{Table: t.name, Version: -1, Write: "append"}
		switch {
		case t.merge != nil:
			to.Write = "merge"
		case t.replaces != nil:
			to.Write, to.ReplaceWhere = "overwrite", t.replaces.Where
		}
		if tables[i] != nil {
			to.Version = tables[i].Version()
		}
		out.Targets = append(out.Targets, to)
	}
	out.TableVersion = out.Targets[0].Version
	rules := p.set.rules(tables)
	if w, ok := p.narrow(rules); ok {
		out.Warnings = append(out.Warnings, w)
	}
	rules.Mode = evolve.AddNewColumns // a plan tells of new fields in any mode
	l := &looker{Pipeline: p, all: files, files: files, tables: tables}
	if !o.Full {
		l.files = sample(files)
	}
	return out, l, l.fill(ctx, out, before, rules)
}

// InferSchema says what the files of a source hold: the plan of a first load, into a table that is not
// there. The target of cfg does not matter. Nothing is written.
func InferSchema(ctx context.Context, cfg Config, o PlanOptions) (*Plan, error) {
	p, err := OpenSource(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	o.fresh = true
	return p.Plan(ctx, o)
}

// OpenSource opens a pipeline whose files are to be looked at: its table is one that is not there, whatever
// the target of cfg.
func OpenSource(ctx context.Context, cfg Config) (*Pipeline, error) {
	cfg.Target, cfg.Targets = Path("nowhere"), nil
	if from, err := openFolder(cfg.places(), cfg.Source); err == nil {
		cfg.Target = Path(from.path + ".nowhere") // beside the source, since it must not lie in it
	}
	return Open(ctx, cfg)
}

// planFiles lists what is new.
func (p *Pipeline) planFiles(ctx context.Context, out *Plan, fresh bool) ([]objstore.Object, error) {
	var seen source.Seen = nothingSeen{}
	var left []objstore.Object
	asked := requestedFiles{}
	if !fresh {
		log, err := checkpoint.OpenReadOnly(ctx, p.state, "")
		switch {
		case err == nil:
			known, err := log.Seen(ctx)
			if err != nil {
				return nil, err
			}
			seen = known
			if left, err = unfinished(ctx, log); err != nil {
				return nil, err
			}
			defer func() {
				_ = log.Close()
			}()
		case !errors.Is(err, objstore.ErrNotExist):
			return nil, err
		}
		if asked, err = p.requestsAhead(ctx, out, log); err != nil {
			return nil, err
		}
	}
	wanted := p.set.source
	wanted.Glob, wanted.MaxFiles, wanted.MaxBytes = p.source.glob, 0, 0
	found, err := source.Discover(ctx, p.source.store, wanted, seen)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", p.source, err)
	}
	out.Files.Changed, out.Files.Skipped = len(found.Changed), len(found.Skipped)
	files := append(left, slices.DeleteFunc(found.Files, asked.leave)...)
	out.Files.New, out.Files.Unfinished = len(files), len(left)
	for _, f := range files {
		out.Files.Bytes += f.Size
		if known, ok := seen.(*checkpoint.Seen); ok {
			if last, _, tried := known.Tried(f); tried && last.State == checkpoint.Failed {
				out.Files.FailedBefore++
			}
		}
	}
	return files, nil
}

// unfinished returns the files of the batch that the next run finishes before anything else.
func unfinished(ctx context.Context, log *checkpoint.Log) (files []objstore.Object, err error) {
	for b, err := range log.Batches(ctx) {
		if err != nil || b.Commits != nil || b.Plan.Request != nil {
			return nil, err
		}
		for _, f := range b.Files {
			files = append(files, f.Object)
		}
		break
	}
	return files, nil
}

type nothingSeen struct{}

func (nothingSeen) Pass(context.Context) (func(string) (objstore.Object, bool, bool, error), func(), error) {
	return func(string) (objstore.Object, bool, bool, error) { return objstore.Object{}, false, false, nil }, func() {}, nil
}

// sample takes some files, spread over all of them.
func sample(files []objstore.Object) []objstore.Object {
	step := max(1, (len(files)+planFiles-1)/planFiles)
	var out []objstore.Object
	bytes := int64(0)
	for i := 0; i < len(files) && (bytes < planBytes || len(out) == 0); i += step {
		out = append(out, files[i])
		bytes += files[i].Size
	}
	return out
}

// looker reads files for a plan.
type looker struct {
	*Pipeline
	tables  []*delta.Snapshot // of the targets; nil: there is none yet
	all     []objstore.Object // that are new
	files   []objstore.Object // of these, to be read
	ahead   *objstore.Ahead   // of files, where they are far away; else nil
	workers []*convert.Converter
}

func (l *looker) close() {
	for _, w := range l.workers {
		_ = w.Close() // nothing is in it that is needed
	}
	if l.ahead != nil {
		l.ahead.Close()
	}
}

// look reads all files by a schema, as many at once as there are workers.
func (l *looker) look(ctx context.Context, opts decode.Options) (*convert.Look, error) {
	if l.workers == nil {
		stores := l.stores()
		if isRemote(l.source.path) {
			l.ahead = objstore.NewAhead(ctx, stores.Source, l.files)
			stores.Source = l.ahead
		}
		sql, err := l.sqlOptions(ctx, nil)
		if err != nil {
			return nil, err
		}
		long := new(sync.Mutex)
		for range l.Pipeline.workers() {
			w := convert.New(stores, sql)
			w.Long = long
			l.workers = append(l.workers, w)
		}
	}
	pieces, err := pieces(ctx, l.workers[0], l.files, opts)
	if err != nil {
		return nil, err
	}
	looks := make([]*convert.Look, len(l.workers))
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range l.workers {
		g.Go(func() (err error) {
			looks[i], err = w.Look(ctx, every(pieces, i, len(l.workers)), opts)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, other := range looks[1:] {
		looks[0].Merge(other)
	}
	return looks[0], nil
}

// fill reads the files and says what came of them.
func (l *looker) fill(ctx context.Context, out *Plan, before *evolve.Version, rules evolve.Options) error {
	v, err := l.begin(ctx, out, before, rules)
	if err != nil {
		return err
	}
	if v.Partitions != nil {
		rules.Reserved = append(slices.Clone(rules.Reserved), v.Partitions.Names()...)
		for _, f := range v.Partitions.Fields {
			out.Folders = append(out.Folders, NewField{Path: schema.Path(f.Name), DDL: f.Type.String()})
		}
	}
	if w, ok := l.set.unplaced(l.all, v, rules); ok {
		out.Warnings = append(out.Warnings, w)
	}
	if before == nil {
		told, err := l.set.settleNames(v)
		if err != nil {
			return err
		}
		out.Warnings = append(out.Warnings, told...)
	}
	task := l.task(v)
	task.Decode.Observe = true
	seen, err := l.look(ctx, task.Decode)
	if err != nil {
		return err
	}
	if before != nil || rules.Given != nil {
		if err := l.grow(ctx, out, v, seen, rules); err != nil {
			return err
		}
	}
	if len(out.Schema.Added)+len(out.Schema.Widened) > 0 && before != nil && l.adds() { // their values would not be rescued
		if seen, err = l.look(ctx, l.task(v).Decode); err != nil {
			return err
		}
	}
	out.SourceSchema = v.Read()
	out.Schema.To, out.Schema.Columns = max(out.Schema.From, 0), len(out.SourceSchema.Fields)
	if out.Reason != "" {
		out.Schema.To = out.Schema.From + 1
	}
	if out.LeftOut, err = l.leftOut(ctx, v); err != nil {
		return err
	}
	out.WholeNumbers = wholeNumbers(out.SourceSchema, rules, out.Wide)
	out.Mixed = slices.DeleteFunc(out.Mixed, func(m MixedField) bool { // a hint or the table has another type
		path, err := schema.ParsePath(m.Path)
		return err == nil && schema.At(out.SourceSchema, path) != schema.String
	})
	l.tell(out, seen)
	if out.Files.New == 0 {
		return nil
	}
	if err := l.columns(ctx, out); err != nil {
		return err
	}
	out.Stop = l.stops(out, before != nil || rules.Given != nil)
	return nil
}

// task reads records by a version of the schema.
func (l *looker) task(v *evolve.Version) convert.Task {
	t := l.set.task(v.Read())
	t.Decode.Partitions = v.PartitionNames()
	return t
}

// types gives the SQL of a task the types of the tables.
func (l *looker) types(t *convert.Task) {
	for i, s := range l.tables {
		if s != nil && t.Targets[i].SQL != "" && !l.targets[i].replacesSchema() {
			t.Targets[i].Types = s.Schema()
		}
	}
}

// partitions are the columns that the folders of all new files make.
func (l *looker) partitions(rules evolve.Options) *schema.Struct {
	keys := make([]string, len(l.all))
	for i, f := range l.all {
		keys[i] = f.Key
	}
	if s := evolve.Partitions(keys, l.set.partitions, rules); len(s.Fields) > 0 {
		return s
	}
	return nil
}

// columns works out which columns the table would get.
func (l *looker) columns(ctx context.Context, out *Plan) error {
	task := l.set.task(out.SourceSchema)
	l.types(&task)
	for i, t := range l.targets {
		known := &schema.Struct{}
		if l.tables[i] != nil {
			known = l.tables[i].Schema()
		}
		rows, transform, err := l.workers[0].TargetSchema(ctx, &task, &task.Targets[i])
		if err != nil {
			return err
		}
		if transform != nil {
			transform.Close()
		}
		to := &out.Targets[i]
		if t.merge != nil {
			to.Keys = t.merge.Keys
			rows = merge.Columns(*t.merge, rows)
		}
		for _, a := range schema.Additions(known, rows) {
			to.Columns = append(to.Columns, NewField{Path: schema.Path(a.Path...), DDL: a.Type.String()})
		}
	}
	out.Columns, out.Keys = out.Targets[0].Columns, out.Targets[0].Keys
	return nil
}

// stops says why the run would stop. grown means that new fields meet a schema that is there.
func (l *looker) stops(out *Plan, grown bool) string {
	switch {
	case grown && l.set.evolution.Mode == evolve.FailOnNewColumns && len(out.Schema.Added) > 0:
		return "schemaEvolutionMode is failOnNewColumns, and there is a new field " + out.Schema.Added[0].Path
	case grown && l.set.stopsOnChange && l.adds() && len(out.Schema.Added)+len(out.Schema.Widened) > 0:
		f := slices.Concat(out.Schema.Added, out.Schema.Widened)[0]
		return "onSchemaChange is fail, and " + f.Path + " would change the source schema; the run after it would load the files"
	case l.set.uncarried == "fail" && len(out.Schema.Uncarried) > 0:
		return "uncarried is fail, and the SQL does not carry the new field " + out.Schema.Uncarried[0].Path
	case l.set.onCorrupt == convert.FailOnCorrupt && out.Read.Quarantine > 0:
		return "a record is corrupt, and such are to stop it"
	}
	for i, t := range out.Targets {
		if l.tables[i] != nil && !l.targets[i].mergeSchema && !l.targets[i].replacesSchema() && len(t.Columns) > 0 {
			of := ""
			if len(out.Targets) > 1 {
				of = " " + t.Table
			}
			return "mergeSchema is off, and the table" + of + " has no column " + t.Columns[0].Path
		}
	}
	return ""
}

// adds reports whether new fields become columns.
func (l *looker) adds() bool { return l.set.evolution.Mode.Adds() }

// begin finds the schema that the next run would start with.
func (l *looker) begin(ctx context.Context, out *Plan, before *evolve.Version, rules evolve.Options) (*evolve.Version, error) {
	if before != nil {
		v := *before
		out.Schema.From = before.Number
		switch {
		case rules.Given != nil:
			if v.Schema = rules.Given; !schema.Equal(v.Schema, before.Schema) {
				out.Reason = "given"
			}
		default:
			if v.Schema = rules.Overlay(v.Schema); !schema.Equal(v.Schema, before.Schema) {
				out.Reason = "hints"
			}
		}
		if want := l.set.partitions; want != nil && !slices.Equal(want, v.PartitionNames()) && len(want)+len(v.PartitionNames()) > 0 {
			v.Partitions, out.Reason = l.partitions(rules), "partition columns"
		}
		if v.Transform != l.set.digest() {
			v.Transform, out.Reason = l.set.digest(), "transform"
			told, err := l.set.settleNames(&v)
			out.Warnings = append(out.Warnings, told...)
			if err != nil {
				return nil, err
			}
		}
		return &v, nil
	}
	v := &evolve.Version{Schema: rules.Given, Transform: l.set.digest()}
	out.Schema.From, out.Reason = -1, "given"
	v.Partitions = l.partitions(rules)
	if v.Schema != nil {
		return v, nil
	}
	task := l.set.task(&schema.Struct{})
	task.Decode.Rescue, task.Decode.Corrupt, task.Decode.Observe = "", "", true
	first, err := l.look(ctx, task.Decode)
	if err != nil {
		return nil, err
	}
	seen := first.Observed[""]
	d := evolve.Infer(seen, rules)
	v.Schema, out.Schema.Pending, out.Reason = d.Schema, d.Pending, "inferred"
	out.Schema.Added = newFields(d.Added)
	out.Wide = wide(nil, seen, nil)
	l.warnWide(out, d.Wide, nil)
	if l.set.decode.RecordPath == "" && l.set.decode.Unwrap == "" && first.Records == first.Files {
		out.RecordPath = recordList(seen, first.Records)
	}
	out.Mixed = undecided(mixed(nil, seen, out.Wide, nil), rules.Hints)
	out.Wide = slices.DeleteFunc(out.Wide, func(w WideObject) bool { // a hint has made a map of it
		return !w.Rescued && !slices.ContainsFunc(d.Wide, func(left evolve.Wide) bool { return left.String() == w.Path })
	})
	return v, nil
}

// grow says what would come of the fields that were seen and have no column in v, and makes them part
// of it when they would become columns.
func (l *looker) grow(ctx context.Context, out *Plan, v *evolve.Version, seen *convert.Look, rules evolve.Options) error {
	d, err := evolve.Evolve(v.Schema, seen.Observed, rules)
	if err != nil {
		return err
	}
	out.Schema.Pending = untyped(d.Schema, merged(v.Pending, d.Pending))
	l.warnWide(out, d.Wide, v.Wide)
	known := *v
	for i, f := range d.Added {
		if covered(known.Uncarried, f) {
			continue
		}
		after := known
		after.Schema, after.Uncarried = d.Schema, v.Uncarried
		told, err := l.set.settleField(&after, f, d.Added[i+1:])
		if err != nil {
			return err
		}
		out.Warnings = append(out.Warnings, told...)
		if v.Uncarried = after.Uncarried; covered(v.Uncarried, f) {
			out.Schema.Uncarried = append(out.Schema.Uncarried, newField(f))
			continue
		}
		left, err := l.set.leaves(ctx, l.workers[0], &after, f)
		if err != nil {
			return err
		}
		if len(left) < len(l.targets) {
			out.Schema.Added = append(out.Schema.Added, newField(f))
		} else {
			out.Schema.Uncarried = append(out.Schema.Uncarried, newField(f))
			v.Uncarried = append(slices.Clip(v.Uncarried), f.String())
		}
	}
	for _, at := range sortedKeys(seen.Observed) {
		path, err := structPath(at)
		if err != nil {
			return err
		}
		out.Wide = wide(path, seen.Observed[at], out.Wide)
		out.Mixed = mixed(path, seen.Observed[at], out.Wide, out.Mixed)
	}
	if !l.adds() {
		return nil
	}
	rules.Mode = l.set.evolution.Mode
	if err := d.Widen(seen.Demands, rules); err != nil {
		return err
	}
	out.Schema.Widened = newFields(d.Widened)
	v.Schema = d.Schema
	switch {
	case out.Reason != "":
	case len(out.Schema.Added)+len(out.Schema.Uncarried) > 0:
		out.Reason = "new fields"
	case len(d.Widened) > 0:
		out.Reason = "wider types"
	}
	return nil
}

// manyElements is the number of elements, for each object around them, from which a list looks like
// records although other members stand beside it.
const manyElements = 10

// recordList is the record path to the one list of objects that each record is made of, if there is one;
// o is what was seen at the top level of so many records.
func recordList(o *decode.Observed, records int64) string {
	if o == nil {
		return ""
	}
	list := -1
	for i, f := range o.Fields {
		switch {
		case f.Objects > 0 || list >= 0 && f.Arrays > 0:
			return ""
		case f.Arrays > 0:
			list = i
		}
	}
	if list < 0 {
		return ""
	}
	f := o.Fields[list]
	if f.Arrays != records || f.Element == nil || f.Element.Objects == 0 || f.Element.Values() != f.Element.Objects ||
		len(o.Fields) > 1 && f.Element.Objects < manyElements*records {
		return ""
	}
	path := "$." + f.Name + "[*]"
	if decode.CheckRecordPath(path) != nil {
		return ""
	}
	return path
}

// maxLeftOut bounds how many fields a plan asks the transform about.
const maxLeftOut = 200

// leftOut lists the fields of v that the transform does not carry into the table.
func (l *looker) leftOut(ctx context.Context, v *evolve.Version) ([]string, error) {
	if l.set.plain() >= 0 {
		return nil, nil
	}
	engine, err := l.workers[0].Engine(ctx)
	if err != nil {
		return nil, err
	}
	with := l.set.task(v.Read())
	var out []string
	asked := 0
	var visit func(path []string, t schema.Type) error
	visit = func(path []string, t schema.Type) error {
		switch t := t.(type) {
		case *schema.Array:
			return visit(append(slices.Clip(path), "element"), t.Element)
		case *schema.Struct:
			if len(t.Fields) == 1 && len(path) > 0 {
				return nil // goes where the struct goes
			}
			for _, f := range t.Fields {
				if asked++; asked > maxLeftOut {
					return nil
				}
				at := append(slices.Clip(path), f.Name)
				less := *v
				less.Uncarried = append(slices.Clip(v.Uncarried), schema.Path(at...))
				left, err := l.set.unchanged(ctx, engine, with, l.set.task(less.Read()))
				if err != nil {
					return err
				}
				if len(left) == len(l.targets) {
					out = append(out, schema.Path(at...))
				} else if err := visit(at, f.Type); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return out, visit(nil, v.Read())
}

func structPath(at string) ([]string, error) {
	if at == "" {
		return nil, nil
	}
	return schema.ParsePath(at)
}

func newFields(fields []evolve.Field) []NewField {
	out := make([]NewField, len(fields))
	for i, f := range fields {
		out[i] = newField(f)
	}
	return out
}

// tell puts what was read into the plan.
func (l *looker) tell(out *Plan, seen *convert.Look) {
	out.Read = PlannedRead{Files: seen.Files, Bytes: seen.Bytes, Records: seen.Records, Quarantine: seen.Bad, Rescued: seen.Rescued,
		Full: len(l.files) == out.Files.New}
	for at, m := range seen.Misfits {
		c := Conflict{RescuedPath: RescuedPath{Path: at, Values: m.Count, Reason: "mismatch"}}
		if m.First != nil {
			c.File, c.Line = m.First.File, m.First.Line
		}
		if path, err := schema.ParsePath(at); err == nil {
			if t := schema.At(out.SourceSchema, path); t != nil {
				c.Column = t.String()
			}
		}
		out.Conflicts = append(out.Conflicts, c)
	}
	slices.SortFunc(out.Conflicts, func(a, b Conflict) int {
		return cmp.Or(-cmp.Compare(a.Values, b.Values), strings.Compare(a.Path, b.Path))
	})
	for _, b := range seen.FirstBad {
		out.Bad = append(out.Bad, QuarantinedRecord{File: b.File, Line: b.Line, Offset: b.Offset, Length: b.Length, Cut: b.Cut,
			Reason: convert.ReasonNotJSON, Detail: b.Reason.String(), ErrorAt: b.At, Record: b.Text})
	}
	for _, u := range seen.Unreadable {
		out.Unreadable = append(out.Unreadable, UnreadableFile{u.URI, u.Err.Error()})
	}
}

// wholeNumbers lists the columns that are BIGINT because only whole numbers were seen. What would
// better be a map is not listed field by field.
func wholeNumbers(s *schema.Struct, rules evolve.Options, maps []WideObject) []string {
	if rules.Given != nil {
		return nil
	}
	var paths []string
	schema.Walk(s, func(path []string, t schema.Type) {
		hinted := slices.ContainsFunc(rules.Hints, func(h schema.Hint) bool {
			return len(h.Path) <= len(path) && slices.EqualFunc(h.Path, path[:len(h.Path)], func(a, b string) bool { return schema.Fold(a) == schema.Fold(b) })
		})
		if at := schema.Path(path...); t == schema.Long && !hinted && !inside(maps, at) {
			paths = append(paths, at)
		}
	})
	return paths
}

// inside reports whether a path lies in one of the objects.
func inside(objects []WideObject, at string) bool {
	return slices.ContainsFunc(objects, func(w WideObject) bool { return at == w.Path || strings.HasPrefix(at, w.Path+".") })
}

// mixed finds fields whose values are of several kinds. Whole numbers and fractions are of one kind,
// and an empty string is of any.
func mixed(path []string, o *decode.Observed, maps []WideObject, out []MixedField) []MixedField {
	if o == nil || len(path) > 0 && inside(maps, schema.Path(path...)) {
		return out
	}
	m := MixedField{Path: schema.Path(path...), Type: o.Type().String(), Booleans: o.Booleans, Numbers: o.Longs + o.Decimals + o.Doubles,
		Texts: o.Strings, Objects: o.Objects, Lists: o.Arrays}
	kinds := 0
	for _, n := range []int64{m.Booleans, m.Numbers, m.Texts, m.Objects, m.Lists} {
		if n > 0 {
			kinds++
		}
	}
	if kinds > 1 && len(path) > 0 {
		if o.First != nil {
			m.File, m.Line = o.First.File, o.First.Line
		}
		return append(out, m)
	}
	if o.Element != nil {
		out = mixed(append(slices.Clip(path), "element"), o.Element, maps, out)
	}
	for _, f := range o.Fields {
		out = mixed(append(slices.Clip(path), f.Name), f.Observed, maps, out)
	}
	return out
}

// undecided leaves out the fields whose type a hint says.
func undecided(all []MixedField, hints []schema.Hint) []MixedField {
	return slices.DeleteFunc(all, func(m MixedField) bool {
		return slices.ContainsFunc(hints, func(h schema.Hint) bool { return schema.Fold(schema.Path(h.Path...)) == schema.Fold(m.Path) })
	})
}

// warnWide warns of fields that have no column because there are too many, unless it is known.
func (l *looker) warnWide(out *Plan, found, known []evolve.Wide) {
	for _, w := range found {
		if w.Rescued && !slices.ContainsFunc(known, func(v evolve.Wide) bool { return v.Rescued && v.String() == w.String() }) {
			out.Warnings = append(out.Warnings, l.set.tooMany(w))
		}
	}
}

// wide lists the objects whose keys look like data.
func wide(path []string, o *decode.Observed, out []WideObject) []WideObject {
	for _, w := range evolve.KeyedByData(path, o) {
		out = append(out, wideObject(w))
	}
	return out
}

func wideObject(w evolve.Wide) WideObject {
	return WideObject{Path: w.String(), Keys: w.Keys, Rescued: w.Rescued, Hint: w.Hint, File: w.First.File, Line: w.First.Line}
}

// Differences lists the options that have another value here than Auto Loader would give them.
func (p *Pipeline) Differences() []string {
	if p.set.compat {
		return nil
	}
	var out []string
	for _, o := range OptionTable() {
		if o.CompatDefault == "" || o.CompatDefault == o.Default {
			continue
		}
		given := false
		for name := range p.cfg.Options {
			given = given || optionKey(name) == optionKey(o.Name)
		}
		if !given {
			name := strings.TrimPrefix(o.Name, "cloudFiles.")
			if o.Default == "" {
				name += " not set"
			} else {
				name += "=" + o.Default
			}
			out = append(out, name+" (there: "+o.CompatDefault+")")
		}
	}
	if len(p.set.lineage) > 0 && p.cfg.Lineage == nil {
		out = append(out, "lineage="+strings.Join(p.set.lineage, ",")+" (there: none)")
	}
	return out
}
