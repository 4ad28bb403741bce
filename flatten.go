package silt

import (
	"fmt"
	"slices"

	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/schema"
)

// Flatten makes columns of the fields of objects: vehicle.battery.soc becomes vehicle_battery_soc. It goes
// by the schema of the source, so that a new field is a new column in the run that meets it. Lists and maps
// stay as they are. Fields that would get a name which another column has are rescued; see
// [SchemaChange.Uncarried].
type Flatten struct {
	// Columns are the columns to flatten; "*" is all that hold objects.
	Columns []string
	// Separator stands between the names on the way to a field; empty is an underscore.
	Separator string
	// Prefix stands before the names of the fields. Nil is the name of the column and the separator.
	Prefix *string
	// Depth is how many levels of objects are flattened; 0 is all.
	Depth int
}

// everything is the SQL of a transform that only flattens.
const everything = "SELECT * FROM source"

// flatten reads Config.Flatten.
func (p *parser) flatten() {
	named := map[string]bool{}
	for i, f := range p.config.Flatten {
		key := []string{"flatten"}
		if len(p.config.Flatten) > 1 {
			key = append(key, fmt.Sprint(i))
		}
		if len(f.Columns) == 0 {
			p.fault(CodeMissing, key, "columns: [vehicle], or '*' for all that hold objects", "there are no columns to flatten")
		}
		for _, name := range f.Columns {
			if folded := schema.Fold(name); name == "" || named[folded] {
				p.fault(CodeValue, append(slices.Clip(key), "columns"), "", "column %s stands here twice, or has no name", schema.Quote(name))
			} else {
				named[folded] = true
			}
		}
		if f.Depth < 0 {
			p.fault(CodeValue, append(slices.Clip(key), "depth"), "leave it out for all levels", "depth is %d; it takes whole numbers above 0", f.Depth)
		}
		sep := f.Separator
		if sep == "" {
			sep = "_"
		}
		for _, t := range p.set.targets {
			t.flatten = append(t.flatten, convert.Flatten{Columns: f.Columns, Separator: sep, Prefix: f.Prefix, Depth: f.Depth})
		}
	}
	for _, t := range p.set.targets {
		if len(t.flatten) > 0 && t.transform == "" {
			t.transform = everything
		}
	}
}

// A FlattenError stops a run when two fields would become one column and there is no rescued data to keep
// the values of one of them in.
type FlattenError struct {
	Path, Other string // the fields
	Column      string // that both would be
}

func (e *FlattenError) Error() string {
	return fmt.Sprintf("flatten: %s and %s would both be column %s", e.Path, e.Other, schema.Quote(e.Column))
}

// collisions are the fields of v that flattening would give a name that is taken.
func (s *settings) collisions(v *evolve.Version) []convert.Collision {
	if !slices.ContainsFunc(s.targets, func(t *targetSettings) bool { return len(t.flatten) > 0 }) {
		return nil
	}
	t := s.task(v.Read())
	return t.Collisions()
}

// settleNames puts the fields of v aside that flattening would give a name that is taken, and takes those
// back whose names are free by now. Others stay aside, since their columns hold values of another field.
func (s *settings) settleNames(v *evolve.Version) (warnings []Warning, err error) {
	before := slices.Clone(v.Uncarried)
	if warnings, err = s.putAside(v, s.collisions(v)); err != nil {
		return nil, err
	}
	for _, at := range before {
		less := *v
		less.Uncarried = slices.DeleteFunc(slices.Clone(v.Uncarried), func(p string) bool { return p == at })
		if len(s.collisions(&less)) == 0 {
			v.Uncarried = less.Uncarried
		}
	}
	if len(v.Uncarried) == 0 {
		v.Uncarried = nil
	}
	return warnings, nil
}

// settleField is settleNames for a field that has become part of v before the later ones: it gives way to
// fields that were there.
func (s *settings) settleField(v *evolve.Version, f evolve.Field, later []evolve.Field) ([]Warning, error) {
	probe := *v
	probe.Uncarried = slices.Clone(v.Uncarried)
	for _, l := range later {
		probe.Uncarried = append(probe.Uncarried, l.String())
	}
	found := s.collisions(&probe)
	for i, c := range found {
		if !covered([]string{f.String()}, evolve.Field{Path: c.Path}) { // f has the name that a field has had
			found = []convert.Collision{{Path: f.Path, Other: found[i].Path, Column: c.Column}}
			break
		}
	}
	return s.putAside(v, found)
}

func (s *settings) putAside(v *evolve.Version, found []convert.Collision) (warnings []Warning, err error) {
	v.Uncarried = slices.Clone(v.Uncarried)
	for _, c := range found {
		at, other := schema.Path(c.Path...), schema.Path(c.Other...)
		if s.rescue == "" {
			return nil, &FlattenError{at, other, c.Column}
		}
		v.Uncarried = append(v.Uncarried, at)
		warnings = append(warnings, Warning{Code: "SILT-7010",
			Text: fmt.Sprintf("flatten: %s and %s would both be column %s; the values of %s are kept in %s", at, other, schema.Quote(c.Column), at, s.rescue),
			Hint: "another separator or prefix of flatten gives them two columns"})
	}
	return warnings, nil
}
