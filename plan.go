package silt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
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

	Files PlannedFiles `json:"files"`
	// Read is how much of the new files this plan has read. What follows speaks of that part alone.
	Read PlannedRead `json:"read"`
	// Schema is how the source schema would change. Where the mode says so, Added fields would not
	// become columns but be rescued, or stop the run.
	Schema SchemaChange `json:"schema"`
	// Conflicts are values that do not fit their columns; they would be rescued.
	Conflicts []RescuedPath `json:"conflicts,omitempty"`
	// WholeNumbers are columns that were inferred from whole numbers alone: a later 80.5 would be
	// rescued.
	WholeNumbers []string `json:"wholeNumbers,omitempty"`
	// Wide are objects with so many different keys that these look like ids.
	Wide []WideObject `json:"wide,omitempty"`
	// Bad are the first of the records that would be quarantined.
	Bad        []QuarantinedRecord `json:"bad,omitempty"`
	Unreadable []UnreadableFile    `json:"unreadable,omitempty"`
	// Differences are the defaults in which the pipeline differs from Auto Loader.
	Differences []string `json:"differences,omitempty"`

	Warnings []Warning `json:"warnings,omitempty"`
}

// PlannedFiles counts the files that the next run would meet.
type PlannedFiles struct {
	New          int   `json:"new"`
	Bytes        int64 `json:"bytes"`
	Changed      int   `json:"changed"`
	FailedBefore int   `json:"failedBefore"` // among New
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

// WideObject is an object whose keys look like data.
type WideObject struct {
	Path string `json:"path"`
	Keys int    `json:"keys"` // different ones; 1000 means at least that many
	// Hint is the schema hint that makes it a map.
	Hint string `json:"hint"`
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
}

const (
	// planFiles and planBytes bound what a plan reads that is not full.
	planFiles = 400
	planBytes = 64 << 20
)

// Plan says what the next run would do. Nothing is written.
func (p *Pipeline) Plan(ctx context.Context, o PlanOptions) (*Plan, error) {
	out := &Plan{Pipeline: p.name, Source: p.source.String(), Target: p.place.Table, TableVersion: -1,
		Mode: p.set.evolution.Mode.String(), Warnings: p.set.notes, Differences: p.differences()}
	files, err := p.planFiles(ctx, out)
	if err != nil {
		return nil, err
	}
	table, err := p.target.load(ctx)
	if err != nil {
		return nil, err
	}
	if table != nil {
		out.TableVersion = table.Version()
	}
	before, err := p.schemas.Latest(ctx)
	if err != nil {
		return nil, err
	}
	rules := p.set.rules(table)
	rules.Mode = evolve.AddNewColumns // a plan tells of new fields in any mode
	l := &looker{Pipeline: p, files: files}
	if !o.Full {
		l.files = sample(files)
	}
	defer l.close()
	return out, l.fill(ctx, out, before, rules)
}

// planFiles lists what is new.
func (p *Pipeline) planFiles(ctx context.Context, out *Plan) ([]objstore.Object, error) {
	var seen source.Seen = nothingSeen{}
	log, err := checkpoint.OpenReadOnly(ctx, p.state, "")
	switch {
	case err == nil:
		known, err := log.Seen(ctx)
		if err != nil {
			return nil, err
		}
		seen = known
		defer func() {
			_ = log.Close()
		}()
	case !errors.Is(err, objstore.ErrNotExist):
		return nil, err
	}
	wanted := p.set.source
	wanted.Glob, wanted.MaxFiles, wanted.MaxBytes = p.source.glob, 0, 0
	found, err := source.Discover(ctx, p.source.store, wanted, seen)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", p.source, err)
	}
	out.Files.New, out.Files.Changed, out.Files.Skipped = len(found.Files), len(found.Changed), len(found.Skipped)
	for _, f := range found.Files {
		out.Files.Bytes += f.Size
		if known, ok := seen.(*checkpoint.Seen); ok {
			if last, _, tried := known.Tried(f); tried && last.State == checkpoint.Failed {
				out.Files.FailedBefore++
			}
		}
	}
	return found.Files, nil
}

type nothingSeen struct{}

func (nothingSeen) Lookup(string) (objstore.Object, bool) { return objstore.Object{}, false }

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
	files   []objstore.Object
	workers []*convert.Converter
}

func (l *looker) close() {
	for _, w := range l.workers {
		_ = w.Close() // nothing is in it that is needed
	}
}

// look reads all files by a schema, as many at once as there are workers.
func (l *looker) look(ctx context.Context, opts decode.Options) (*convert.Look, error) {
	if l.workers == nil {
		for range l.Pipeline.workers() {
			l.workers = append(l.workers, convert.New(l.stores(), l.duckOptions(l.set)))
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
	v := &evolve.Version{Schema: &schema.Struct{}}
	out.Schema.From = -1
	switch {
	case before != nil:
		now := *before
		v, out.Schema.From = &now, before.Number
		if rules.Given == nil {
			v.Schema = rules.Overlay(v.Schema)
		}
	case rules.Given != nil:
		v.Schema = rules.Given
	default:
		task := l.set.task(v.Schema)
		task.Decode.Rescue, task.Decode.Corrupt, task.Decode.Observe = "", "", true
		first, err := l.look(ctx, task.Decode)
		if err != nil {
			return err
		}
		d := evolve.Infer(first.Observed[""], rules)
		v.Schema, out.Schema.Pending = d.Schema, d.Pending
		out.Schema.Added = newFields(d.Added)
		out.Wide = wide(nil, first.Observed[""], nil)
	}
	task := l.set.task(v.Read())
	task.Decode.Observe = true
	seen, err := l.look(ctx, task.Decode)
	if err != nil {
		return err
	}
	if before != nil {
		d, err := evolve.Evolve(v.Schema, seen.Observed, rules)
		if err != nil {
			return err
		}
		v.Schema, out.Schema.Pending = d.Schema, merged(v.Pending, d.Pending)
		for _, f := range d.Added {
			if covered(v.Uncarried, f) {
				continue
			}
			carried, err := l.set.carries(ctx, l.workers[0], v, f)
			if err != nil {
				return err
			}
			if carried {
				out.Schema.Added = append(out.Schema.Added, newField(f))
			} else {
				out.Schema.Uncarried = append(out.Schema.Uncarried, newField(f))
			}
		}
		for at, o := range seen.Observed {
			path, err := structPath(at)
			if err != nil {
				return err
			}
			out.Wide = wide(path, o, out.Wide)
		}
	}
	out.Schema.To, out.Schema.Columns = max(out.Schema.From, 0), len(v.Read().Fields)
	if len(out.Schema.Added) > 0 {
		out.Schema.To = out.Schema.From + 1
	}
	out.WholeNumbers = wholeNumbers(v.Read(), rules)
	l.tell(out, seen)
	return nil
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
		out.Conflicts = append(out.Conflicts, RescuedPath{Path: at, Values: m.Count, Reason: "mismatch", File: m.First.File, Line: m.First.Line})
	}
	slices.SortFunc(out.Conflicts, func(a, b RescuedPath) int {
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

// wholeNumbers lists the columns that are BIGINT because only whole numbers were seen.
func wholeNumbers(s *schema.Struct, rules evolve.Options) []string {
	if rules.Given != nil {
		return nil
	}
	var paths []string
	schema.Walk(s, func(path []string, t schema.Type) {
		hinted := slices.ContainsFunc(rules.Hints, func(h schema.Hint) bool { return slices.Equal(h.Path, path) })
		if t == schema.Long && !hinted {
			paths = append(paths, schema.Path(path...))
		}
	})
	return paths
}

const (
	// wideFrom is the number of different keys of one shape from which an object looks like a map.
	wideFrom = 50
	// narrowShare is the share of its keys that an object of a fixed shape has at least, on average.
	narrowShare = 0.2
)

// wide finds objects whose keys look like data: many keys, of one type, and few of them in each object.
func wide(path []string, o *decode.Observed, out []WideObject) []WideObject {
	if o == nil {
		return out
	}
	if o.Element != nil {
		out = wide(append(slices.Clone(path), "element"), o.Element, out)
	}
	n := len(o.Fields)
	if o.Wide {
		n = decode.MaxKeys
	}
	if len(path) > 0 && o.Objects > 0 && n >= wideFrom {
		var t schema.Type = schema.Void
		values := int64(0)
		for _, f := range o.Fields {
			t = schema.Unify(t, f.Type())
			values += f.Values()
		}
		if share := float64(values) / float64(o.Objects) / float64(n); o.Wide || t != schema.String && share < narrowShare {
			w := WideObject{Path: schema.Path(path...), Keys: n}
			if t == schema.Void {
				t = schema.String
			}
			w.Hint = w.Path + " map<string, " + strings.ToLower(t.String()) + ">"
			if o.First != nil {
				w.File, w.Line = o.First.File, o.First.Line
			}
			return append(out, w)
		}
	}
	for _, f := range o.Fields {
		out = wide(append(slices.Clone(path), f.Name), f.Observed, out)
	}
	return out
}

// differences lists the options that have another value here than Auto Loader would give them.
func (p *Pipeline) differences() []string {
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
			out = append(out, fmt.Sprintf("%s=%s (there: %s)", strings.TrimPrefix(o.Name, "cloudFiles."), o.Default, o.CompatDefault))
		}
	}
	if len(p.set.lineage) > 0 && p.cfg.Lineage == nil {
		out = append(out, "lineage="+strings.Join(p.set.lineage, ",")+" (there: none)")
	}
	return out
}
