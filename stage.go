package silt

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// stage gathers what the batch is.
func (c *conversion) stage(ctx context.Context) (checkpoint.Staged, error) {
	s := checkpoint.Staged{SchemaVersion: c.plan.SchemaVersion}
	if c.before != nil {
		s.SchemaVersion = c.before.Number
	}
	c.postpone(ctx)
	b := batchSummary{Schema: c.schemaChange(), Expect: c.expectations(), Postponed: c.postponed}
	if len(c.set.sqls()) > 0 {
		b.Transform = new(TransformCounts)
	}
	dropped := int64(0)
	for _, r := range c.results {
		for k, made := range r.Targets {
			to := c.deliveries[k].change
			to.Adds, to.Rows = append(to.Adds, made.Adds...), to.Rows+made.Rows
			if c.deliveries[k].transform != "" {
				b.Transform.add(&TransformCounts{Rows: made.Rows, None: made.None, Several: made.Several, Unknown: made.Unknown})
			}
		}
		c.aside.Adds = append(c.aside.Adds, r.Quarantine...)
		c.aside.Rows += r.Quarantined
		dropped += r.Dropped
	}
	if dropped > 0 {
		b.Warnings = append(b.Warnings, Warning{Code: "SILT-7004", Text: fmt.Sprintf("the SQL makes no row of %s with rescued data, so that is not in the table", plural(int(dropped), "record", "records")),
			Hint: "a filter may mean it; unnest of an empty list drops its record: write LEFT JOIN unnest(…) ON true to keep it"})
	}
	outcomes := c.outcomes()
	blank, first := int64(0), ""
	for _, o := range c.files {
		out, err := c.outcome(ctx, o, outcomes[o.Key])
		if err != nil {
			return s, err
		}
		s.Files = append(s.Files, out)
		b.count(outcomes[o.Key])
		if f := outcomes[o.Key]; f.State == convert.Loaded && f.Blank > 0 {
			if blank += f.Blank; first == "" {
				first = o.Key
			}
		}
	}
	if blank > 0 {
		b.Warnings = append(b.Warnings, Warning{Code: "SILT-3009", Text: fmt.Sprintf("%s, and the text is lost, first in %s", plural(int(blank), "corrupt record became a row of NULLs", "corrupt records became rows of NULLs"), first),
			Hint: "a column keeps the text: schemaHints: " + c.set.corrupt + " STRING; or keep it aside: onCorrupt: quarantine"})
	}
	adds := 0
	for _, d := range c.deliveries {
		b.Rows += d.change.Rows
		adds += len(d.change.Adds)
	}
	b.QuarantineRows = c.aside.Rows
	if !c.rowwise {
		b.Warnings = append(b.Warnings, Warning{Code: "SILT-7003", Text: "the SQL works on each batch as a whole, so its result depends on which files come together",
			Hint: "raise cloudFiles.maxFilesPerTrigger, or aggregate when the table is read"})
	}
	b.Warnings = append(append(b.Warnings, c.warnings...), b.Expect.warnings()...)
	b.Rescued.Paths = c.rescued()
	if c.isNew() && (len(c.version.Schema.Fields) > 0 || adds > 0) {
		c.version.Added, c.version.Widened, c.version.Pending = c.added, c.widened, c.pending
		text, err := c.version.MarshalText()
		if err != nil {
			return s, err
		}
		if s.Schema, err = json.Marshal(string(text)); err != nil {
			return s, err
		}
		s.SchemaVersion = c.version.Number
		if len(b.Schema.Added)+len(b.Schema.Widened) > 0 || c.before == nil {
			c.evolved(b.Schema.Added, b.Schema.Widened)
		}
	}
	// The quarantine comes first, then the targets in their order.
	err := addStaged(&s, &c.quarantine, c.aside)
	for _, d := range c.deliveries {
		if d.replaces != nil && c.nothingToReplace(d) {
			d.change.Replaces = nil
		}
		if err == nil && d.staging != nil && len(d.change.Adds) > 0 {
			err = d.change.merged(ctx, d.staging, d.merge)
		}
		if err == nil {
			err = addStaged(&s, &d.table, d.change)
		}
	}
	if err != nil {
		return s, err
	}
	s.Summary, err = json.Marshal(b)
	c.progress.phase("commit")
	return s, err
}

// addStaged adds what a table gets to a stage, if it gets something.
func addStaged(s *checkpoint.Staged, t *table, c *change) error {
	if len(c.Adds) == 0 && c.Merge == nil && c.Replaces == nil {
		return nil
	}
	target := checkpoint.StagedTarget{Name: t.role, URI: t.uri(), Rows: c.Rows}
	var err error
	if target.Delta, err = json.Marshal(c); err != nil {
		return err
	}
	s.Targets = append(s.Targets, target)
	return nil
}

// evolved tells of a new version of the source schema.
func (c *conversion) evolved(added, widened []NewField) {
	e := SchemaEvolved{Batch: c.plan.Batch, From: -1, To: c.version.Number, Added: []NewField{}, Widened: []NewField{}}
	if c.before != nil {
		e.From = c.before.Number
	}
	e.Added, e.Widened = append(e.Added, added...), append(e.Widened, widened...)
	c.emit(e)
}

// outcomes says of each file what became of it, over all tasks that read a part of it.
func (c *conversion) outcomes() map[string]convert.FileOutcome {
	all := make(map[string]convert.FileOutcome, len(c.files))
	for i, t := range c.tasks {
		for k, f := range c.results[i].Files {
			sum, again := all[t.Files[k].Key]
			if again {
				sum.Records += f.Records
				sum.Bad += f.Bad
				sum.Dropped += f.Dropped
				sum.Rows += f.Rows
				sum.Rescued += f.Rescued
				sum.Blank += f.Blank
				sum.Bytes += f.Bytes
				f = sum
			}
			all[t.Files[k].Key] = f
		}
	}
	return all
}

func (b *batchSummary) count(f convert.FileOutcome) {
	if f.State != convert.Loaded {
		return
	}
	b.Bytes += f.Bytes
	b.Records.Read += f.Records
	b.Records.Quarantined += f.Bad
	b.Records.Dropped += f.Dropped
	b.Records.Loaded += f.Records - f.Bad - f.Dropped
	b.Rescued.Rows += f.Rescued
}

// outcome is what the checkpoint keeps of a file. A file that failed too often is given up: it gets a
// row in the quarantine table.
func (c *conversion) outcome(ctx context.Context, o objstore.Object, f convert.FileOutcome) (checkpoint.FileOutcome, error) {
	out := checkpoint.FileOutcome{Key: o.Key, ETag: o.ETag, State: checkpoint.Loaded, Records: f.Records, Rows: f.Rows, Bad: f.Bad, Rescued: f.Rescued, Tries: 1}
	if f.State == convert.Loaded {
		return out, nil
	}
	out = checkpoint.FileOutcome{Key: o.Key, ETag: o.ETag, Tries: 1, Error: f.Err.Error()}
	if last, _, ok := c.seen.Tried(o); ok {
		out.Tries = last.Tries + 1
	}
	switch f.State {
	case convert.Deferred:
		out.State = checkpoint.Deferred
	case convert.Waiting:
		out.State = checkpoint.Waiting
	case convert.Vanished:
		out.State = checkpoint.Vanished
	case convert.Overwritten:
		out.State = checkpoint.Overwritten
	default:
		out.State = checkpoint.Failed
		if out.Tries >= maxTries {
			out.State = checkpoint.Quarantined
			return out, c.giveUp(ctx, o, f.Err)
		}
	}
	return out, nil
}

func (c *conversion) giveUp(ctx context.Context, o objstore.Object, cause error) error {
	t := c.task(&schema.Struct{})
	t.Files, t.Index = []objstore.Object{o}, len(c.tasks)
	t.Name = fmt.Sprintf("part-%s-%d-file", queryPrefix(c.log.ID()), c.plan.Batch)
	var err error
	if _, t.Quarantine, err = c.contexts(ctx); err != nil {
		return err
	}
	adds, err := c.workers[0].QuarantineFiles(ctx, t, []error{cause})
	if err != nil {
		return err
	}
	c.aside.Adds, c.aside.Rows = append(c.aside.Adds, adds...), c.aside.Rows+1
	return nil
}

// schemaChange tells how the source schema changed.
func (c *conversion) schemaChange() SchemaChange {
	out := SchemaChange{From: -1, To: c.version.Number, Columns: len(c.version.Read().Fields), Pending: c.pending}
	if c.before != nil {
		out.From = c.before.Number
	}
	if c.before != nil || c.rules.Table != nil { // else all of it is new
		for _, f := range c.added {
			out.Added = append(out.Added, newField(f))
		}
	}
	for _, f := range c.widened {
		out.Widened = append(out.Widened, newField(f))
	}
	observed := c.observed()
	for _, at := range c.version.Uncarried {
		path, err := schema.ParsePath(at)
		if err != nil {
			continue
		}
		o := observed[schema.Path(path[:len(path)-1]...)].Field(path[len(path)-1])
		if o == nil {
			continue
		}
		f := NewField{Path: at, DDL: o.Type().String(), Rows: o.Values()}
		if o.First != nil {
			f.File, f.Line = o.First.File, o.First.Line
		}
		out.Uncarried = append(out.Uncarried, f)
	}
	return out
}

func newField(f evolve.Field) NewField {
	return NewField{Path: f.String(), DDL: f.DDL, From: f.From, File: f.First.File, Line: f.First.Line, Rows: f.Values}
}

// rescued lists what went into the rescued data, by path.
func (c *conversion) rescued() []RescuedPath {
	if c.set.rescue == "" {
		return nil
	}
	misfits := map[string]decode.Rescued{}
	for _, r := range c.results {
		for at, m := range r.Misfits {
			all := misfits[at]
			all.Merge(m)
			misfits[at] = all
		}
	}
	var paths []RescuedPath
	for at, m := range misfits {
		paths = append(paths, RescuedPath{Path: at, Values: m.Count, Reason: "mismatch", File: m.First.File, Line: m.First.Line})
	}
	for at, o := range c.observed() {
		for _, f := range o.Fields {
			if f.First == nil {
				continue
			}
			name := schema.Path(f.Name)
			if at != "" {
				name = at + "." + name
			}
			reason := "unknown"
			switch {
			case slices.Contains(c.pending, name):
				reason = "untyped"
			case c.version != nil && differsInCase(c.version.Schema, at, f.Name):
				reason = "case"
			}
			paths = append(paths, RescuedPath{Path: name, Values: f.Values(), Reason: reason, File: f.First.File, Line: f.First.Line})
		}
	}
	slices.SortFunc(paths, func(a, b RescuedPath) int {
		return cmp.Or(-cmp.Compare(a.Values, b.Values), strings.Compare(a.Path, b.Path))
	})
	return paths
}

// differsInCase reports whether the struct of s at a path has a field whose name differs from name in
// case only.
func differsInCase(s *schema.Struct, at, name string) bool {
	path, err := structPath(at)
	if err != nil {
		return false
	}
	in, ok := schema.At(s, path).(*schema.Struct)
	if !ok {
		return false
	}
	i := in.IndexFold(name)
	return i >= 0 && in.Fields[i].Name != name
}

// PutSchema implements [checkpoint.Effects].
func (r *run) PutSchema(ctx context.Context, _ checkpoint.Plan, s checkpoint.Staged) error {
	if len(s.Schema) == 0 || string(s.Schema) == "null" {
		return nil
	}
	var text string
	if err := json.Unmarshal(s.Schema, &text); err != nil {
		return fmt.Errorf("staged/%d: schema: %w", s.Batch, err)
	}
	v := &evolve.Version{Number: s.SchemaVersion}
	if err := v.UnmarshalText([]byte(text)); err != nil {
		return fmt.Errorf("staged/%d: schema: %w", s.Batch, err)
	}
	return r.schemas.Put(ctx, v)
}

// Commit implements [checkpoint.Effects].
func (r *run) Commit(ctx context.Context, plan checkpoint.Plan, staged checkpoint.Staged, target int) (checkpoint.Committed, error) {
	// What is staged for a table that is no target any more goes there all the same: its data files are there.
	if _, err := r.samePlaces(plan); err != nil {
		return checkpoint.Committed{}, err
	}
	t, to := r.tableOf(staged.Targets[target])
	if t != &r.quarantine {
		t.txn = r.set.txn
	}
	done, after, err := t.commit(ctx, r.log.ID(), plan, staged, staged.Targets[target], r.merger(to), r.recheck)
	if stopped := (*StagedMergeError)(nil); errors.As(err, &stopped) && to != nil {
		stopped.Setting = to.mergeKeys[stopped.Condition]
	}
	if err == nil && t == &r.quarantine && r.set.badRecords != "" {
		err = r.putBadRecords(ctx, after, plan, staged.Targets[target])
	}
	if err != nil || done.Already || after.Version() == 0 || after.Version()%after.Metadata().CheckpointInterval() != 0 {
		return done, err
	}
	// The commit has written a checkpoint, or could not, and kept that to itself.
	if err := after.WriteCheckpoint(ctx); err != nil && !errors.Is(err, context.Canceled) {
		r.warn(Warning{Code: "SILT-4004", Text: fmt.Sprintf("table %s: its log got no checkpoint at version %d: %v", t.name, done.Version, err)})
	}
	return done, nil
}
