package silt

import (
	"context"
	"slices"
	"strings"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/catalog"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/merge"
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
	given     Target
	transform string // SQL over the table source; empty: the rows are those of the source
	flatten   []convert.Flatten
	merge     *merge.Spec // nil: rows are appended
	expect    []convert.Rule
}

// delivery is what a batch brings to one target.
type delivery struct {
	*target
	snapshot *delta.Snapshot // nil when there is no table yet
	change   *change
	staging  *staging // of the rows to merge; nil when they are not merged
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
	return convert.Target{Table: t.given.String(), Flatten: t.flatten, SQL: t.transform, Rules: t.expect,
		Metadata: metadata || strings.Contains(strings.ToLower(t.transform), convert.MetadataColumn.Name)}
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
	if k < 0 || tables[k] == nil {
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
