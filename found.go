package silt

import (
	"cmp"
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/schema"
)

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
		text := u.Err.Error()
		if u.State == convert.Deferred {
			text += ", and the file may still be written"
		}
		out.Unreadable = append(out.Unreadable, UnreadableFile{u.URI, text})
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
