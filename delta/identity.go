package delta

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// identity numbers the rows of a column GENERATED AS IDENTITY: start, start+step, … beyond the numbers
// that were given before. Source: protocol, "Identity Columns".
type identity struct {
	column     string
	next, step int64
	done       bool // next does not fit 64 bits
	open       bool // rows may bring values
}

// identities returns those of the columns that are numbered, from a place of their series on.
func identities(s *schema.Struct, cols []*column, from int64) ([]*identity, error) {
	out := make([]*identity, len(cols))
	for i, c := range cols {
		id, err := newIdentity(fieldOf(s, c))
		if err != nil {
			return nil, err
		}
		if id != nil && from > 0 {
			room := uint64(math.MaxInt64) - uint64(id.next)
			if id.step < 0 {
				room = uint64(id.next) - uint64(1<<63)
			}
			if id.done = id.done || uint64(from) > room/min(uint64(id.step), -uint64(id.step)); !id.done {
				id.next += from * id.step
			}
		}
		out[i] = id
	}
	return out, nil
}

// identityPaths are the columns that are numbered.
func identityPaths(s *schema.Struct) (out [][]string) {
	for _, f := range s.Fields {
		if f.Metadata[metaIdentity] != nil {
			out = append(out, []string{f.Name})
		}
	}
	return out
}

func newIdentity(f schema.Field) (*identity, error) {
	start, ok := f.MetadataInt(metaIdentity)
	if !ok {
		return nil, nil
	}
	step, _ := f.MetadataInt(metaIdentityStep)
	if f.Type != schema.Long || step == 0 {
		return nil, fmt.Errorf("column %s is an identity of type %s with step %d", schema.Quote(f.Name), f.Type, step)
	}
	id := &identity{column: f.Name, next: start, step: step}
	id.open = string(f.Metadata[metaIdentityOpen]) == "true"
	if mark, ok := f.MetadataInt(metaIdentityMark); ok && reaches(mark, start, step > 0) {
		// The first number of the series beyond the mark, which need not be of the series.
		id.next = start + (mark-start)/step*step
		id.advance()
	}
	return id, nil
}

func (id *identity) advance() {
	if id.step > 0 && id.next > math.MaxInt64-id.step || id.step < 0 && id.next < math.MinInt64-id.step {
		id.done = true
		return
	}
	id.next += id.step
}

// values numbers n rows.
func (id *identity) values(mem memory.Allocator, n int) (arrow.Array, error) {
	b := array.NewInt64Builder(mem)
	defer b.Release()
	b.Reserve(n)
	for range n {
		if id.done {
			return nil, fmt.Errorf("column %s has no numbers left", schema.Quote(id.column))
		}
		b.UnsafeAppend(id.next)
		id.advance()
	}
	return b.NewArray(), nil
}

// markIdentities returns the plan with the greatest numbers that new files hold. It fails when some of
// them were given out already: by a writer of another version, or by two of this one.
func (p plan) markIdentities(adds []*Add, rewritten bool, version int64) (plan, error) {
	fields := slices.Clone(p.schema.Fields)
	changed := false
	for i, f := range fields {
		id, err := newIdentity(f)
		if err != nil {
			return p, err
		}
		if id == nil {
			continue
		}
		physical, err := physicalName(f, columnMapping(p.protocol, p.metadata))
		if err != nil {
			return p, err
		}
		given := numbersGiven(adds, physical, id.step > 0)
		mark, had := f.MetadataInt(metaIdentityMark)
		for k, g := range given {
			if !id.open && !rewritten && (had && reaches(mark, g.first, id.step > 0) || k > 0 && reaches(given[k-1].last, g.first, id.step > 0)) {
				return p, &ConflictError{MetadataChanged, version, "numbers of the identity column " + schema.Quote(f.Name) + " were given out twice"}
			}
		}
		if len(given) == 0 {
			continue
		}
		last := given[len(given)-1].last
		if had && reaches(mark, last, id.step > 0) {
			continue
		}
		if fields[i], err = f.WithMetadata(metaIdentityMark, last); err != nil {
			return p, err
		}
		changed = true
	}
	if !changed {
		return p, nil
	}
	s := schema.NewStruct(fields...)
	text, err := json.Marshal(s)
	if err != nil {
		return p, err
	}
	m := *p.metadata
	m.SchemaString = string(text)
	p.schema, p.metadata, p.metadataChanged = s, &m, true
	return p, nil
}

// reaches reports whether a is as far in a series as b, or further.
func reaches(a, b int64, up bool) bool { return a == b || (a > b) == up }

// numbers are those of one file, in the order in which they are given.
type numbers struct{ first, last int64 }

// numbersGiven returns the numbers that files have in a column, by their statistics, in order.
func numbersGiven(adds []*Add, physical string, up bool) (out []numbers) {
	for _, a := range adds {
		var s struct{ MinValues, MaxValues map[string]json.RawMessage }
		if json.Unmarshal([]byte(a.Stats), &s) != nil {
			continue
		}
		lo, errLo := strconv.ParseInt(string(s.MinValues[physical]), 10, 64)
		hi, errHi := strconv.ParseInt(string(s.MaxValues[physical]), 10, 64)
		switch {
		case errLo != nil || errHi != nil: // no number in it
		case up:
			out = append(out, numbers{lo, hi})
		default:
			out = append(out, numbers{hi, lo})
		}
	}
	slices.SortFunc(out, func(a, b numbers) int {
		if up {
			return cmp.Compare(a.first, b.first)
		}
		return cmp.Compare(b.first, a.first)
	})
	return out
}
