package silt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/catalog"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// target is one of the tables that the rows of a batch go to: where it is, how its rows are made, and how
// they meet those that are there.
type target struct {
	table
	*targetSettings
	place catalog.Place
}

// targetSettings is what is set for one target.
type targetSettings struct {
	given       Target
	transform   string // SQL over the table source; empty: the rows are those of the source
	flatten     []convert.Flatten
	merge       *merge.Spec         // nil: rows are not merged
	mergeKeys   map[string][]string // where the configuration has its keys, sequenceBy, deleteWhen and updateWhen
	replaces    *replacement        // nil: rows replace none
	mergeSchema bool                // new columns become part of the table
	expect      []convert.Rule
	// failOnConstraint makes a row that breaks a rule of the table stop the batch.
	failOnConstraint bool
	key              []string // of the target in the configuration
}

// each returns the targets, of which there may be one.
func (c Config) each() []Target {
	if len(c.Targets) > 0 {
		return c.Targets
	}
	one := c.Target
	one.Transform = cmp.Or(strings.TrimSpace(one.Transform), c.Transform)
	return []Target{one}
}

// targetKey is the place of the k-th target in a configuration.
func (c Config) targetKey(k int) []string {
	if len(c.Targets) == 0 {
		return []string{"target"}
	}
	return []string{"targets", strconv.Itoa(k)}
}

// targets checks where rows go.
func (p *parser) targets() {
	c := p.config
	one, several := c.Target, len(c.Targets) > 0
	if several && (one.Table != "" || one.Path != "") {
		p.fault(CodeContradiction, []string{"targets"}, "keep one of them", "there is a target too")
	}
	switch transform := strings.TrimSpace(c.Transform) != ""; {
	case several && transform:
		p.fault(CodeContradiction, []string{"transform"}, "give each of the targets its own: targets: [{ table: …, transform: … }]", "there are several targets")
	case transform && strings.TrimSpace(one.Transform) != "":
		p.fault(CodeContradiction, []string{"target", "transform"}, "keep one of them", "the pipeline has a transform too")
	}
	plain := 0
	for k, t := range c.each() {
		key := c.targetKey(k)
		at := func(name string) []string { return append(slices.Clip(key), name) }
		switch {
		case t.Table == "" && t.Path == "":
			p.fault(CodeMissing, key, "give a table name such as main.demo.events, or a path", "no target")
		case t.Table != "" && t.Path != "":
			p.fault(CodeContradiction, key, "keep one of them", "both table and path are given")
		case t.Table != "":
			if _, err := catalog.ParseName(t.Table); err != nil {
				p.fault(CodeValue, at("table"), "", "%v", err)
			}
		}
		if slices.Contains(t.PartitionBy, "") {
			p.fault(CodeValue, at("partitionBy"), "", "an empty name")
		}
		s := &targetSettings{given: t, key: key, transform: strings.TrimSpace(t.Transform)}
		if s.transform == "" {
			if plain++; plain > 1 {
				s.transform = everything // the types of its table are others than those of the first
			}
		}
		p.set.targets = append(p.set.targets, s)
	}
}

// writing reads how rows reach the tables.
func (p *parser) writing() {
	for k, s := range p.set.targets {
		t, key := s.given, p.config.targetKey(k)
		p.oneOf(strings.Join(append(slices.Clip(key), "write"), "."), t.Write, "", "append", "merge", "overwrite")
		mode := p.value("write.mode")
		if t.Write != "" && p.isGiven("write.mode") && !strings.EqualFold(mode, t.Write) {
			p.fault(CodeContradiction, p.at(p.keys["write.mode"]), "keep one of them", "differs from the target's write")
		}
		if t.Write != "" {
			mode = t.Write
		}
		m := t.Merge
		given := p.mergeGiven(&m)
		p.overwriting(s, key, strings.EqualFold(mode, "overwrite"))
		switch {
		case given != "" && len(p.config.Targets) > 0:
			p.fault(CodeContradiction, p.at(p.keys[optionKey(given)]), "put it under its target: merge: { … }", "there are several targets")
		case strings.EqualFold(mode, "merge"):
			p.merging(s, m, key)
		case given != "":
			p.fault(CodeContradiction, p.at(p.keys[optionKey(given)]), "set write.mode to merge", "is for a merge, and rows are not merged")
		case len(m.Keys) > 0:
			p.fault(CodeContradiction, append(slices.Clip(key), "merge"), "write: merge", "is for a merge, and rows are not merged")
		}
	}
}

// needsAll makes every batch all that is new, because of the value at key.
func (p *parser) needsAll(key []string, why string) {
	if p.isGiven("cloudFiles.maxFilesPerTrigger") || p.isGiven("cloudFiles.maxBytesPerTrigger") {
		p.fault(CodeContradiction, key, "take maxFilesPerTrigger and maxBytesPerTrigger out", "%s, so that a batch must be all there is", why)
	}
	p.set.needsAll = true
	p.set.source.MaxFiles, p.set.source.MaxBytes = 0, 0
}

// delivery is what a batch brings to one target.
type delivery struct {
	*target
	snapshot *delta.Snapshot // nil when there is no table yet
	change   *change
	staging  *staging // of the rows to merge; nil when they are not merged
	merging  *convert.Merge
	// unmade, when set, is why no row can be made for the target: its SQL names what is not known, and the
	// files have no record that would tell.
	unmade error
}

// rowsOf are the columns of the rows that a task makes for a target of it; whole means that SQL makes all of them at
// once.
func rowsOf(ctx context.Context, w *convert.Converter, task *convert.Task, to *convert.Target) (rows *schema.Struct, whole bool, err error) {
	rows, transform, err := w.TargetSchema(ctx, task, to)
	if transform != nil {
		whole = !transform.RowLocal()
		transform.Close()
	}
	return rows, whole, err
}

// becomes is the change that rows with these columns are to a table.
func (t *target) becomes(rows *schema.Struct, rules evolve.Options) *change {
	c := &change{Schema: rows, PartitionBy: t.given.PartitionBy, Properties: t.given.Properties, Evolves: t.mergeSchema, Replaces: t.replaces}
	if t.merge != nil {
		c.Source, c.Schema = rows, merge.Columns(*t.merge, rows)
	}
	if rules.Mode == evolve.AddNewColumnsWithTypeWidening && !rules.TypesFixed {
		c.Widens = true
		c.Properties = map[string]string{}
		maps.Copy(c.Properties, t.given.Properties)
		c.Properties[typeWidening] = "true"
	}
	return c
}

// leaveRows takes from a target what cannot be done without knowing the columns of its rows.
func leaveRows(to *convert.Target) { to.Flatten, to.SQL, to.Rules = nil, "", nil }

// unmade fails when a row was made all the same for a target that has [delivery.unmade].
func (c *conversion) unmade() error {
	for i, d := range c.deliveries {
		if d.unmade != nil && slices.ContainsFunc(c.results, func(r *convert.Result) bool { return len(r.Targets) > 0 && r.Targets[i].Rows > 0 }) {
			return d.unmade
		}
	}
	return nil
}

// mergesBySQL reports whether SQL decides about rows that are merged.
func (t *target) mergesBySQL() bool {
	m := t.merge
	return m != nil && (m.DeleteWhen != "" || m.UpdateWhen != "")
}

// plain is the target that gets the rows of the source as they are, so that the types of its table are those
// by which records are read; -1 when there is none.
func (s *settings) plain() int {
	return slices.IndexFunc(s.targets, func(t *targetSettings) bool { return t.transform == "" })
}

// sqls are the transforms of the targets.
func (s *settings) sqls() (all []string) {
	for _, t := range s.targets {
		if t.transform != "" {
			all = append(all, t.transform)
		}
	}
	return all
}

// task is what all tasks have in common for a target.
func (t *targetSettings) task(metadata bool) convert.Target {
	to := convert.Target{Table: t.given.String(), Flatten: t.flatten, SQL: t.transform, Rules: t.expect, FailOnConstraint: t.failOnConstraint,
		Metadata: metadata || strings.Contains(strings.ToLower(t.transform), convert.MetadataColumn.Name)}
	if t.replaces != nil {
		to.Where = t.replaces.Where
	}
	return to
}

// inform tells what a task makes for the target what it is to know of the table as it is, nil when there is
// none.
func (t *target) inform(to *convert.Target, s *delta.Snapshot) {
	if to.SQL != "" && s != nil && !t.replacesSchema() {
		to.Types = s.Schema()
	}
	if len(to.Rules) > 0 && s != nil {
		to.Known = s.Schema()
	}
	if m := t.merge; m != nil && m.Duplicates == merge.LastWins {
		to.Keys, to.Order = m.Required(), m.Order()
	}
}

// snapshots are the tables of the targets, nil for each that is not there yet.
func (p *Pipeline) snapshots(ctx context.Context) ([]*delta.Snapshot, error) {
	all := make([]*delta.Snapshot, len(p.targets))
	for i, t := range p.targets {
		var err error
		if all[i], err = t.load(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// rules are the rules of evolution for fields that go into the tables of the targets; nil is a table to be
// made.
func (s *settings) rules(tables []*delta.Snapshot) evolve.Options {
	rules := s.evolution
	k := s.plain()
	if k < 0 || tables[k] == nil || s.targets[k].replacesSchema() {
		return rules
	}
	table := tables[k]
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

// apart checks that no two tables of the pipeline are one.
func (p *Pipeline) apart() (faults []Fault) {
	is := map[string]string{p.targets[0].place.Quarantine: "the quarantine of " + p.targets[0].name}
	for k, t := range p.targets {
		key := p.cfg.targetKey(k)
		if other, twice := is[t.path]; twice {
			faults = append(faults, Fault{Code: CodeContradiction, Key: key, Problem: "is the same table as " + other, Hint: "one table takes the rows of one transform: join them with UNION ALL"})
		}
		is[t.path] = strings.Join(key, ".")
	}
	return faults
}

// targetRole is the name of the k-th target in the checkpoint.
func targetRole(k int) string {
	if k == 0 {
		return mainTable
	}
	return mainTable + "-" + strconv.Itoa(k+1)
}

// tables are those of a batch, in the order in which they are committed.
func (p *Pipeline) tables() []*table {
	all := []*table{&p.quarantine}
	for _, t := range p.targets {
		all = append(all, &t.table)
	}
	return all
}

// tableOf is the table that a stage names, and the target that it is; nil when it is none of now.
func (p *Pipeline) tableOf(staged checkpoint.StagedTarget) (*table, *target) {
	if staged.Name == quarantineTable {
		return &p.quarantine, nil
	}
	for _, to := range p.targets {
		if to.uri() == staged.URI {
			t := to.table
			t.role = staged.Name
			return &t, to
		}
	}
	t := openTable(p.at, staged.Name, staged.URI, strings.TrimPrefix(staged.URI, "file://"))
	t.checkpoint = p.statePath
	return &t, nil
}

// checkTargets fails when the tables that the last batch went to are not those of now, or others are in
// their places: rows of earlier batches would be missing from them without a word. It returns the targets that
// are new.
func (r *run) checkTargets(ctx context.Context) (added []*target, err error) {
	for b, err := range r.log.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		if added, err = r.samePlaces(b.Plan); err != nil {
			return nil, err
		}
		for _, t := range b.Plan.Targets {
			id := t.TableID
			if b.Commits != nil && id == "" { // made by the batch
				for _, c := range b.Commits.Targets {
					if c.URI == t.URI {
						id = c.TableID
					}
				}
			}
			if err := r.sameTable(ctx, t, id); err != nil {
				return nil, err
			}
		}
		break
	}
	return added, nil
}

// sameTable fails when the target has another id than it had.
func (r *run) sameTable(ctx context.Context, was checkpoint.Target, id string) error {
	k := slices.IndexFunc(r.targets, func(t *target) bool { return t.uri() == was.URI })
	if k < 0 || was.Name == quarantineTable || id == "" {
		return nil
	}
	t := r.targets[k]
	s, err := t.load(ctx)
	switch {
	case err != nil:
		return err
	case s == nil:
		return &ReplacedError{t.name, id, "gone", r.statePath}
	case s.Metadata().ID != id:
		return &ReplacedError{t.name, id, s.Metadata().ID, r.statePath}
	}
	return nil
}

// samePlaces fails when a batch was planned for other tables: when one of them is no target any more, and
// another has come. It returns the targets that the batch was not planned for.
func (p *Pipeline) samePlaces(plan checkpoint.Plan) (added []*target, err error) {
	gone := ""
	planned := map[string]bool{}
	for _, t := range plan.Targets {
		planned[t.URI] = true
		is := func(now *target) bool { return now.uri() == t.URI }
		if t.Name != quarantineTable && gone == "" && !slices.ContainsFunc(p.targets, is) {
			gone = t.URI
		}
	}
	for _, t := range p.targets {
		if !planned[t.uri()] {
			added = append(added, t)
		}
	}
	if gone != "" && len(added) > 0 {
		return nil, &TargetError{p.statePath, gone, added[0].uri()}
	}
	return added, nil
}

// A CheckpointPlaceError says that a pipeline would begin anew because another of its targets is the first.
type CheckpointPlaceError struct {
	Location string // of the checkpoint that it has
	Target   string // that is beside it
}

func (e *CheckpointPlaceError) Error() string {
	return fmt.Sprintf("the checkpoint of the pipeline is beside %s, which is not the first of its targets: all files would be loaded again", e.Target)
}

// checkCheckpoint fails when the pipeline has no checkpoint where it is looked for, beside the first target,
// and has one beside another.
func (p *Pipeline) checkCheckpoint(ctx context.Context) error {
	if p.set.checkpoint != "" || len(p.targets) < 2 {
		return nil
	}
	if _, err := checkpoint.OpenReadOnly(ctx, p.state, ""); !errors.Is(err, objstore.ErrNotExist) {
		return nil // it is there, or its opening tells what is wrong
	}
	for _, t := range p.targets[1:] {
		location := catalog.Join(t.place.State, p.name)
		switch _, err := checkpoint.OpenReadOnly(ctx, p.at.open(location), ""); {
		case err == nil:
			return &CheckpointPlaceError{location, t.name}
		case !errors.Is(err, objstore.ErrNotExist):
			return fmt.Errorf("checkpoint %s: %w", location, err)
		}
	}
	return nil
}
