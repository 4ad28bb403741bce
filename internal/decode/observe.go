package decode

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/schema"
)

// Position is a place in a file.
type Position struct {
	File   string `json:"file"`   // as in [File.URI]
	Line   int64  `json:"line"`   // from 1
	Offset int64  `json:"offset"` // of the record, in bytes of the decompressed file
}

// Compare orders positions by file and offset, so that "first" does not depend on who looked first.
func (p Position) Compare(q Position) int {
	switch {
	case p.File < q.File:
		return -1
	case p.File > q.File:
		return 1
	}
	return int(min(max(p.Offset-q.Offset, -1), 1))
}

// Observed is what was seen at one place of the data for which the schema has no column: how many
// values of each kind, and what is inside them. Two observations of one place can be merged in any
// order. It is a value that can travel.
type Observed struct {
	Nulls    int64 `json:"nulls,omitempty"`
	Booleans int64 `json:"booleans,omitempty"`
	Longs    int64 `json:"longs,omitempty"`    // integers that fit int64
	Decimals int64 `json:"decimals,omitempty"` // larger integers of at most 38 digits, and fractions if asked for
	Doubles  int64 `json:"doubles,omitempty"`  // all other numbers
	Blanks   int64 `json:"blanks,omitempty"`   // empty strings
	Strings  int64 `json:"strings,omitempty"`  // other strings
	Times    int64 `json:"times,omitempty"`    // strings that are timestamps, if asked for
	Objects  int64 `json:"objects,omitempty"`
	Arrays   int64 `json:"arrays,omitempty"`
	// Digits is the most digits of the Decimals before the point, and Scale the most behind it.
	Digits int `json:"digits,omitempty"`
	Scale  int `json:"scale,omitempty"`
	// First is where the first value that is not null stands.
	First *Position `json:"first,omitempty"`
	// Fields are the members of the objects, in the order of their first appearance.
	Fields []ObservedField `json:"fields,omitempty"`
	// Root means that the objects are records.
	Root bool `json:"root,omitempty"`
	// Wide means that the objects have more different keys than are told apart, see [Options.MaxKeys];
	// Fields is empty then, and Each is what was seen under any of them.
	Wide bool      `json:"wide,omitempty"`
	Each *Observed `json:"each,omitempty"`
	// Untold counts the values whose keys are not told apart because there are too many, other than in
	// Wide objects, and FirstUntold is where the first of them stands.
	Untold      int64     `json:"untold,omitempty"`
	FirstUntold *Position `json:"firstUntold,omitempty"`
	// Element is what was seen in the arrays.
	Element *Observed `json:"element,omitempty"`

	index  map[string]int // of Fields, when there are many
	limits *limits        // shared by all that belongs to one first look
}

// limits bound what is observed.
type limits struct {
	keys  int // told apart in one object
	root  int // likewise, of a record
	names int // told apart in all objects together
	told  int
	// smallest means that of names that differ by case the smallest is taken, not the commonest.
	smallest bool
}

func newLimits(opts *Options) *limits {
	keys := cmp.Or(opts.MaxKeys, MaxKeys)
	return &limits{keys: keys, root: max(maxRootKeys, 2*opts.MaxColumns), names: max(maxNames, 10*keys, 10*opts.MaxColumns), smallest: opts.Compat}
}

// ObservedField is a member of objects that were seen.
type ObservedField struct {
	Name string `json:"name"`
	*Observed
}

// MaxKeys is the number of different keys that are told apart in one object, unless [Options.MaxKeys]
// says otherwise. Objects with more are keyed by data, such as ids, and are no structs.
const MaxKeys = 1000

// maxNames is the number of fields that are told apart in one look at a source, at any depth.
const maxNames = 100_000

// maxRootKeys is the least number of different keys that are told apart at the top level, where an object
// cannot be anything else than a struct.
const maxRootKeys = 10_000

// Values is the number of values seen that are not null.
func (o *Observed) Values() int64 {
	return o.Booleans + o.Longs + o.Decimals + o.Doubles + o.Blanks + o.Strings + o.Times + o.Objects + o.Arrays
}

// Type is the type that inference gives to the values seen: the unification of their types, with
// fields sorted by name, those that differ only by case as one, in the commonest spelling. An empty string fits what else was seen, and is a STRING alone. A place where
// only null was seen is VOID, an object without typed fields an empty struct.
//
// Source: Spark's JsonInferSchema; Auto Loader, "Schema inference".
func (o *Observed) Type() schema.Type {
	var t schema.Type = schema.Void
	for _, seen := range []struct {
		n int64
		t schema.Type
	}{
		{o.Booleans, schema.Boolean}, {o.Longs, schema.Long}, {o.Decimals, o.decimal()},
		{o.Doubles, schema.Double}, {o.Strings, schema.String}, {o.Times, schema.Timestamp},
	} {
		if seen.n > 0 {
			t = schema.Unify(t, seen.t)
		}
	}
	if o.Objects > 0 {
		t = schema.Unify(t, o.Struct())
	}
	if o.Arrays > 0 {
		var element schema.Type = schema.Void
		if o.Element != nil {
			element = o.Element.Type()
		}
		t = schema.Unify(t, &schema.Array{Element: element, ContainsNull: true})
	}
	if t == schema.Void && o.Blanks > 0 {
		return schema.String
	}
	return t
}

// decimal is the type of the Decimals.
func (o *Observed) decimal() schema.Type {
	if o.Digits+o.Scale > schema.MaxPrecision {
		return schema.Double
	}
	return schema.Decimal{Precision: max(o.Digits+o.Scale, 1), Scale: o.Scale}
}

// Struct is the struct of the members seen in objects.
func (o *Observed) Struct() *schema.Struct {
	s := &schema.Struct{}
	spelled := o.spellings()
	for _, f := range o.Fields {
		name := f.Name
		if common, ok := spelled[schema.Fold(name)]; ok {
			name = common.Name
		}
		s.Fields = append(s.Fields, schema.Nullable(name, f.Type()))
	}
	return schema.Unify(s, s).(*schema.Struct)
}

// spellings returns the commonest spelling of each name that was met in several, by its folded form. Under
// compat there are none, and the smallest is taken.
func (o *Observed) spellings() map[string]ObservedField {
	if o.limits != nil && o.limits.smallest {
		return nil
	}
	all := make(map[string]ObservedField, len(o.Fields))
	twins := map[string]ObservedField{}
	for _, f := range o.Fields {
		key := schema.Fold(f.Name)
		g, ok := all[key]
		if ok && (g.Values() > f.Values() || g.Values() == f.Values() && schema.CompareNames(g.Name, f.Name) < 0) {
			f = g
		}
		if all[key] = f; ok {
			twins[key] = f
		}
	}
	return twins
}

// Field returns what was seen under a name, or nil.
func (o *Observed) Field(name string) *Observed {
	if o == nil {
		return nil
	}
	if i := o.find(name); i >= 0 {
		return o.Fields[i].Observed
	}
	return nil
}

func (o *Observed) find(name string) int {
	if o.index != nil {
		if i, ok := o.index[name]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(o.Fields, func(f ObservedField) bool { return f.Name == name })
}

// field returns the observation of a member, a new one if need be: that of any member in a Wide object,
// and nil for one key too many elsewhere.
func (o *Observed) field(name string) *Observed {
	if o.Wide {
		return o.Each
	}
	if i := o.find(name); i >= 0 {
		return o.Fields[i].Observed
	}
	if o.limits == nil {
		o.limits = newLimits(&Options{})
	}
	switch l := o.limits; {
	case !o.Root && len(o.Fields) >= l.keys:
		o.widen()
		return o.Each
	case o.Root && len(o.Fields) >= l.root, l.told >= l.names:
		return nil
	}
	o.limits.told++
	f := ObservedField{Name: name, Observed: &Observed{limits: o.limits}}
	o.Fields = append(o.Fields, f)
	if len(o.Fields) == indexFrom {
		o.index = make(map[string]int)
		for i, f := range o.Fields {
			o.index[f.Name] = i
		}
	} else if o.index != nil {
		o.index[name] = len(o.Fields) - 1
	}
	return f.Observed
}

// widen gives up telling the keys apart.
func (o *Observed) widen() {
	if o.Wide {
		return
	}
	o.Wide, o.Each = true, &Observed{limits: o.limits}
	for _, f := range o.Fields {
		if o.limits != nil {
			o.limits.told -= 1 + f.told()
		}
		o.Each.Merge(f.Observed)
	}
	o.Fields, o.index = nil, nil
}

// told is the number of fields below o.
func (o *Observed) told() int {
	if o == nil {
		return 0
	}
	n := len(o.Fields) + o.Element.told() + o.Each.told()
	for _, f := range o.Fields {
		n += f.told()
	}
	return n
}

// leaveOut notes a value whose key is not told apart.
func (o *Observed) leaveOut(n int64, at Position) {
	o.Untold += n
	if o.FirstUntold == nil || at.Compare(*o.FirstUntold) < 0 {
		first := at // a copy, so that only the first one is allocated
		o.FirstUntold = &first
	}
}

// indexFrom is the number of names from which on a map is faster than looking through them.
const indexFrom = 16

// Merge adds what p saw to o. It keeps no part of p.
func (o *Observed) Merge(p *Observed) {
	if p == nil {
		return
	}
	o.Root = o.Root || p.Root
	o.Nulls += p.Nulls
	o.Booleans += p.Booleans
	o.Longs += p.Longs
	o.Decimals += p.Decimals
	o.Doubles += p.Doubles
	o.Blanks += p.Blanks
	o.Strings += p.Strings
	o.Times += p.Times
	o.Objects += p.Objects
	o.Arrays += p.Arrays
	o.Digits, o.Scale = max(o.Digits, p.Digits), max(o.Scale, p.Scale)
	if p.First != nil {
		o.note(*p.First)
	}
	if o.limits == nil && p.limits != nil {
		l := *p.limits
		l.told = 0
		o.limits = &l
	}
	if p.Wide {
		o.widen()
		o.Each.Merge(p.Each)
	}
	for _, f := range p.Fields {
		if mine := o.field(f.Name); mine != nil {
			mine.Merge(f.Observed)
		} else if f.First != nil {
			o.leaveOut(f.Values(), *f.First)
		}
	}
	if p.FirstUntold != nil {
		o.leaveOut(p.Untold, *p.FirstUntold)
	}
	if p.Element != nil {
		if o.Element == nil {
			o.Element = &Observed{limits: o.limits}
		}
		o.Element.Merge(p.Element)
	}
}

// note keeps the first of the positions it is told.
func (o *Observed) note(at Position) {
	if o.First == nil || at.Compare(*o.First) < 0 {
		first := at // a copy, so that only the first one is allocated
		o.First = &first
	}
}

// observe adds the value at i, which is known to be valid, to o, and returns its end.
func (p *parser) observe(o *Observed, i int) int {
	if o == nil {
		return p.Value(i, 0)
	}
	if p.Text[i] != 'n' && (o.First == nil || p.position.Compare(*o.First) < 0) {
		o.note(p.position)
	}
	switch p.Text[i] {
	case 'n':
		o.Nulls++
		return i + len("null")
	case 't':
		o.primitive(&o.Booleans, p.opts)
		return i + len("true")
	case 'f':
		o.primitive(&o.Booleans, p.opts)
		return i + len("false")
	case '"':
		end, info := p.String(i)
		p.observeString(o, i, end, info)
		return end
	case '{':
		o.Objects++
		return p.observeObject(o, i)
	case '[':
		o.Arrays++
		return p.observeArray(o, i)
	}
	n, end := p.Number(i)
	if _, ok := n.Int64(); ok {
		o.primitive(&o.Longs, p.opts)
	} else if n.Integer && n.Digits <= schema.MaxPrecision || p.opts.PrefersDecimal {
		o.number(n, p.opts)
	} else {
		o.primitive(&o.Doubles, p.opts)
	}
	return end
}

// primitive counts a number or a boolean as what it is, or as a string when that is asked for.
func (o *Observed) primitive(count *int64, opts *Options) {
	if opts.PrimitivesAsString {
		count = &o.Strings
	}
	*count++
}

// number counts a number as a decimal, if one can hold it. Source: Spark's JsonInferSchema; a negative
// scale, with which Spark fails, makes a DOUBLE.
func (o *Observed) number(n jsonscan.Num, opts *Options) {
	scale := -n.Exp10
	precision := max(n.Digits, scale, 1)
	if n.Special || scale < 0 || precision > schema.MaxPrecision {
		o.primitive(&o.Doubles, opts)
		return
	}
	o.primitive(&o.Decimals, opts)
	o.Digits, o.Scale = max(o.Digits, precision-scale), max(o.Scale, scale)
}

// observeString counts the string between the quotes at i and before end.
func (p *parser) observeString(o *Observed, i, end int, info jsonscan.StringInfo) {
	raw := p.Text[i+1 : end-1]
	switch {
	case len(raw) == 0 && p.opts.BlankAsNull:
		o.Nulls++
		return
	case len(raw) == 0:
		o.Blanks++
		return
	case info&jsonscan.Escaped != 0: // neither a number nor a time needs escapes
	case p.opts.PrefersDecimal:
		s := jsonscan.Scanner{Space: jsonscan.Anywhere, MaxDepth: 1}
		s.Reset(p.separators.plain(raw))
		if n, last := s.Number(0); last == s.End && s.End > 0 && -n.Exp10 >= 0 && max(n.Digits, -n.Exp10) <= schema.MaxPrecision {
			o.number(n, p.opts)
			return
		}
	}
	if p.opts.InferTimestamp && info&jsonscan.Escaped == 0 {
		if _, ok := p.parseTimestamp(raw, p.location, true); ok {
			o.Times++
			return
		}
	}
	o.Strings++
}

func (p *parser) observeObject(o *Observed, i int) int {
	next := 0 // of the fields, if this object has them in the order of the first
	for i = p.Blank(i + 1); p.Text[i] != '}'; {
		end, info, value := p.Name(i)
		name := p.name(i, end, info)
		var member *Observed
		if next < len(o.Fields) && o.Fields[next].Name == string(name) {
			member = o.Fields[next].Observed
		} else {
			member = o.member(name)
			if member == nil && canName(name) && p.Text[value] != 'n' {
				o.leaveOut(1, p.position)
			}
		}
		next++
		if i = p.Blank(p.observe(member, value)); p.Text[i] == ',' {
			i = p.Blank(i + 1)
		}
	}
	return i + 1
}

// member is field without making a string of a name that is known. It is nil for what cannot be the name
// of a column.
func (o *Observed) member(name []byte) *Observed {
	if o.Wide {
		return o.Each
	}
	if o.index != nil {
		if i, ok := o.index[string(name)]; ok {
			return o.Fields[i].Observed
		}
	} else {
		for _, f := range o.Fields {
			if f.Name == string(name) {
				return f.Observed
			}
		}
	}
	if !canName(name) {
		return nil
	}
	return o.field(string(name))
}

// maxName is the length of the longest name of a column, in bytes.
const maxName = 1024

// canName reports whether a column can have the name: readers of tables take a NUL for its end, and a
// very long one is a value in the wrong place.
func canName(name []byte) bool {
	return len(name) > 0 && len(name) <= maxName && bytes.IndexByte(name, 0) < 0
}

func (p *parser) observeArray(o *Observed, i int) int {
	for i = p.Blank(i + 1); p.Text[i] != ']'; {
		if o.Element == nil {
			o.Element = &Observed{limits: o.limits}
		}
		if i = p.Blank(p.observe(o.Element, i)); p.Text[i] == ',' {
			i = p.Blank(i + 1)
		}
	}
	return i + 1
}
