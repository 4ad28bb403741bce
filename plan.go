package silt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/evolve"
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
	// Expect is what the expectations would make of the rows of what was read; nil without any.
	Expect *ExpectCounts `json:"expect,omitempty"`
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
	// PassedOver are not among New.
	PassedOver PassedOver `json:"passedOver,omitempty"`
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
	err = l.fill(ctx, out, before, rules)
	if lacksField(err) && len(l.files) < len(files) { // a file that was passed over may bring it
		l.close()
		o.Full = true
		return p.looked(ctx, o)
	}
	return out, l, tellPending(err, out.Schema.Pending)
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
	asked := &requestedFiles{}
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
	found, err := source.Discover(ctx, p.source.store, wanted, seenAfter{seen, asked})
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", p.source, err)
	}
	out.Files.Changed, out.Files.Skipped = len(found.Changed), len(found.Skipped)
	out.Files.PassedOver = p.source.passedOver(found.PassedOver)
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
