package silt

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// looker reads files for a plan.
type looker struct {
	*Pipeline
	tables  []*delta.Snapshot // of the targets; nil: there is none yet
	all     []objstore.Object // that are new
	files   []objstore.Object // of these, to be read
	ahead   *objstore.Ahead   // of files, where they are far away; else nil
	workers []*convert.Converter
	unmade  []bool // targets for which no row can be made, as [delivery.unmade]
}

func (l *looker) close() {
	for _, w := range l.workers {
		_ = w.Close() // nothing is in it that is needed
	}
	if l.ahead != nil {
		l.ahead.Close()
	}
}

// look reads all files by a schema, as many at once as there are workers. Those that are torn and younger than the
// grace are not read.
func (l *looker) look(ctx context.Context, opts decode.Options, grace time.Duration) (*convert.Look, error) {
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
	convert.Wait(pieces, time.Now(), grace)
	return looks(ctx, l.workers, pieces, opts)
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
	seen, err := l.look(ctx, task.Decode, tornGrace)
	if err != nil {
		return err
	}
	if before != nil || rules.Given != nil {
		if err := l.grow(ctx, out, v, seen, rules); err != nil {
			return err
		}
	}
	if len(out.Schema.Added)+len(out.Schema.Widened) > 0 && before != nil && l.adds() { // their values would not be rescued
		if seen, err = l.look(ctx, l.task(v).Decode, tornGrace); err != nil {
			return err
		}
	}
	out.SourceSchema = v.Read()
	out.Schema.To, out.Schema.Columns = max(out.Schema.From, 0), len(out.SourceSchema.Fields)
	if out.Reason != "" {
		out.Schema.To = out.Schema.From + 1
	}
	if out.LeftOut, err = l.leftOut(ctx, v); err != nil && !(seen.Records == seen.Bad && lacksField(err)) {
		return err
	}
	out.WholeNumbers = wholeNumbers(out.SourceSchema, rules, out.Wide)
	if l.set.decode.Unwrap != "" { // silt makes it
		out.WholeNumbers = slices.DeleteFunc(out.WholeNumbers, func(at string) bool { return at == decode.SequenceMember })
	}
	out.Mixed = slices.DeleteFunc(out.Mixed, func(m MixedField) bool { // a hint or the table has another type
		path, err := schema.ParsePath(m.Path)
		return err == nil && schema.At(out.SourceSchema, path) != schema.String
	})
	l.tell(out, seen)
	if out.Files.New == 0 {
		return nil
	}
	if err := l.columns(ctx, out, rules); err != nil {
		return err
	}
	if out.Stop = l.stops(out, before != nil || rules.Given != nil); out.Stop == "" {
		return l.expect(ctx, out, v, seen)
	}
	return nil
}

// task reads records by a version of the schema.
func (l *looker) task(v *evolve.Version) convert.Task {
	t := l.set.task(v.Read())
	t.Decode.Partitions = v.PartitionNames()
	return t
}

// types gives a task what it is to know of the tables.
func (l *looker) types(t *convert.Task) {
	for i, s := range l.tables {
		l.targets[i].inform(&t.Targets[i], s)
		if l.unmade != nil && l.unmade[i] {
			leaveRows(&t.Targets[i])
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

// columns works out which columns the tables would get, and fails when SQL, an expectation or a merge cannot do with
// them.
func (l *looker) columns(ctx context.Context, out *Plan, rules evolve.Options) error {
	l.unmade = make([]bool, len(l.targets))
	task := l.set.task(out.SourceSchema)
	l.types(&task)
	for i, t := range l.targets {
		known := &schema.Struct{}
		if l.tables[i] != nil {
			known = l.tables[i].Schema()
		}
		blank := out.Read.Records == out.Read.Quarantine
		rows, _, err := rowsOf(ctx, l.workers[0], &task, &task.Targets[i])
		if err == nil {
			err = t.checkRules(ctx, l.workers[0], rows, l.tables[i])
		}
		if blank && lacksField(err) {
			if l.unmade[i], err = true, nil; t.transform != "" {
				continue // what it makes is not known
			}
		}
		if err != nil {
			return err
		}
		to, becomes := &out.Targets[i], t.becomes(rows, rules)
		if t.merge != nil {
			to.Keys = t.merge.Keys
		}
		if t.merge != nil && !blank && t.evolves(l.tables[i], becomes) == nil { // else that is what the run stops for
			if err := t.checkMerge(ctx, l.workers[0], l.tables[i], becomes); err != nil {
				return err
			}
		}
		for _, a := range schema.Additions(known, becomes.Schema) {
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
	first, err := l.look(ctx, task.Decode, 0) // as for a first schema, a torn file counts as far as it goes
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

// maxLeftOut bounds how many fields a plan asks the transform about.
const maxLeftOut = 200

func structPath(at string) ([]string, error) {
	if at == "" {
		return nil, nil
	}
	return schema.ParsePath(at)
}
