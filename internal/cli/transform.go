package cli

import (
	"cmp"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/internal/duck"
)

// transformDoc is SQL, or steps of it: a list of names and SQL, or a mapping of them in its order.
type transformDoc []stepDoc

// stepDoc is a step of a transform; the only one has no name when it is written as text.
type stepDoc struct {
	Name string `json:"name" jsonschema:"What later steps call the rows of this one."`
	SQL  string `json:"sql" jsonschema:"SQL over source and the steps before, or @file."`

	value *value // of the SQL
}

func (t *transformDoc) decode(d *decoder, v *value, path []string) {
	switch v.kind {
	case mapping:
		for _, e := range v.entries {
			if at := append(slices.Clip(path), e.key); e.value.kind == null {
				d.fault(e.at, at, codeKind, "write name: SELECT …", "the step %s has no SQL", e.key)
			} else if d.scalar(e.value, at) {
				*t = append(*t, stepDoc{e.key, e.value.text, e.value})
			}
		}
	case list:
		for i, item := range v.items {
			var s struct {
				Name string `json:"name"`
				SQL  string `json:"sql"`
			}
			at := append(slices.Clip(path), strconv.Itoa(i))
			if item.kind != mapping {
				d.wrongKind(item, at, "a mapping of name and sql", "")
				continue
			}
			d.into(item, reflect.ValueOf(&s).Elem(), at)
			step := stepDoc{s.Name, s.SQL, item}
			if e := item.get("sql"); e != nil {
				step.value = e.value
			}
			*t = append(*t, step)
		}
	default:
		if d.scalar(v, path) {
			*t = transformDoc{{"", v.text, v}}
		}
	}
}

// transformSchema is the JSON Schema of a transformDoc.
func transformSchema() *jsonschema.Schema {
	text := func() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		text(),
		{Type: "object", AdditionalProperties: text()},
		{Type: "array", Items: &jsonschema.Schema{Type: "object", Required: []string{"name", "sql"}, AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
			Properties: map[string]*jsonschema.Schema{"name": text(), "sql": text()}}},
	}}
}

// transform makes SQL of the transform at a path, and remembers where it was written.
func (r *resolver) transform(doc transformDoc, at ...string) string {
	var steps []silt.Step
	var origin sqlOrigin
	for _, s := range doc {
		part := sqlPart{text: s.SQL, at: s.value.at}
		if name, ok := strings.CutPrefix(s.SQL, "@"); ok {
			name = relative(r.dir, strings.TrimSpace(name))
			b, err := os.ReadFile(name)
			if err != nil {
				r.faults = append(r.faults, fault{codeValue, "the file of the transform: " + err.Error(), "", s.value.at, r.key(at...)})
			}
			part = sqlPart{text: strings.TrimPrefix(string(b), "\ufeff"), file: name}
		}
		steps, origin.parts = append(steps, silt.Step{Name: s.Name, SQL: part.text}), append(origin.parts, part)
	}
	if len(doc) == 1 && doc[0].Name == "" && doc[0].value.kind <= text {
		origin.sql = strings.TrimSpace(steps[0].SQL)
	} else {
		sql, err := silt.Steps(steps...)
		if err != nil {
			r.fault(codeValue, "a step is a name and one SELECT", "transform: "+err.Error(), at...)
		}
		origin.sql = sql
	}
	if r.origins != nil && origin.sql != "" {
		*r.origins = append(*r.origins, origin)
	}
	return origin.sql
}

// refs makes the paths among refs relative to the working directory.
func (r *resolver) refs(doc map[string]string) map[string]string {
	var refs map[string]string
	for name, at := range doc {
		if refs == nil {
			refs = map[string]string{}
		}
		if refs[name] = at; !tableName.MatchString(at) {
			refs[name] = relative(r.dir, at)
		}
	}
	return refs
}

// sqlOrigin is where the SQL of a transform was written.
type sqlOrigin struct {
	sql   string // as the pipeline has it
	parts []sqlPart
}

// sqlPart is a text of SQL in a file of its own, or in the configuration.
type sqlPart struct {
	text string
	file string // empty: in the configuration
	at   place
}

// place is where the configuration, or a file of SQL, has what stands at a line and column of the SQL.
func (o sqlOrigin) place(line, column int) (place, bool) {
	offset, ok := offsetOf(o.sql, line, column)
	if !ok {
		return place{}, false
	}
	from := 0
	for _, p := range o.parts {
		body := strings.TrimFunc(p.text, func(r rune) bool { return r == ';' || unicode.IsSpace(r) })
		i := strings.Index(o.sql[from:], body)
		if i < 0 || body == "" {
			continue
		}
		start := from + i
		from = start + len(body)
		if offset < start || offset > from {
			continue
		}
		lead := strings.Index(p.text, body)
		return p.place(lead + offset - start), true
	}
	return place{}, false
}

// offsetOf is the offset of a line and column, both from 1 and the column in characters.
func offsetOf(text string, line, column int) (int, bool) {
	at := 0
	for range line - 1 {
		i := strings.IndexByte(text[at:], '\n')
		if i < 0 {
			return 0, false
		}
		at += i + 1
	}
	for range column - 1 {
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	return at, line > 0
}

func (p sqlPart) place(offset int) place {
	if p.file != "" {
		before := p.text[:offset]
		doc := &document{name: p.file, lines: strings.Split(strings.ReplaceAll(p.text, "\r\n", "\n"), "\n"), file: true}
		return place{doc, strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1}
	}
	return p.at.along(p.text, offset)
}

// along is the place of text[offset:], where text is written from p on, however YAML folds, indents and
// quotes it: both are followed by their characters that are no space.
func (p place) along(text string, offset int) place {
	if p.source == nil || p.line < 1 {
		return p
	}
	var want []rune
	index := 0
	for i, r := range text {
		if unicode.IsSpace(r) {
			continue
		}
		if i < offset {
			index++
		}
		want = append(want, r)
	}
	if len(want) == 0 {
		return p
	}
	index = min(index, len(want)-1)
	next := 0
	for line := p.line; line <= len(p.source.lines); line++ {
		for column, r := range []rune(p.source.lines[line-1]) {
			if line == p.line && column < p.column-1 || unicode.IsSpace(r) || r != want[next] {
				continue
			}
			if next == index {
				return place{p.source, line, column + 1}
			}
			next++
		}
	}
	return p
}

// explained returns what there is to say about err; a mistake in SQL is shown where it was written.
func (a *app) explained(err error) []problem {
	all := explained(err)
	for i := range all {
		p := &all[i]
		if p.sql == nil {
			continue
		}
		for _, o := range a.origins {
			if o.sql != p.sql.SQL {
				continue
			}
			at, ok := o.place(p.sql.Line, p.sql.Column)
			if !ok && len(o.parts) == 1 && o.parts[0].file == "" {
				at, ok = o.parts[0].at, true
			}
			if ok && at.source != nil && at.source.file {
				p.File, p.Line, p.Column, p.place = at.source.name, at.line, at.column, at.String()
				p.excerpt = excerpt(at, true)
			}
			break
		}
	}
	return all
}

// sqlHint is the way out of a mistake in SQL.
func sqlHint(e *duck.SQLError) string {
	return cmp.Or(withNearest(e.Name, e.Known, e.Later()), e.Hint)
}

// withNearest is a hint after the one of the known names that was meant, as far as that can be told.
func withNearest(name string, known []string, hint string) string {
	if n := nearest(name, known); n != "" {
		return strings.TrimSpace("did you mean " + n + "? " + hint)
	}
	return hint
}
