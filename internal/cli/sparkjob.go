package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A script is read as text: its strings and calls are found, and nothing is run. What depends on
// variables is known where these are given plain values in the same script.

// sparkStream is what a PySpark script says about one stream: from readStream to where it is written.
type sparkStream struct {
	line    int
	name    string // queryName, or that of the function it is in
	format  string
	source  string
	table   string
	path    string
	options []sparkOption
	columns []string // partitionBy
	trigger [2]string
	left    []leftOver
	writes  bool // past writeStream
}

// sparkOption is an option of a reader or a writer.
type sparkOption struct {
	name, text string
	line       int
}

// leftOver is something that was not carried over.
type leftOver struct {
	Line int    `json:"line"`
	What string `json:"what"`
	Why  string `json:"why"`
}

func (s *sparkStream) leave(line int, what, why string) {
	s.left = append(s.left, leftOver{line, cut(what, 80), why})
}

// sparkStreams finds the streams of Auto Loader, or of Spark's JSON source, in a script or notebook.
func sparkStreams(text string) []*sparkStream {
	p := &sparkReader{tokens: pyTokens(cellsOf(text)), known: map[string]string{}, dicts: map[string][]sparkOption{}, vars: map[string]*sparkStream{}}
	p.read()
	return slices.DeleteFunc(p.streams, func(s *sparkStream) bool {
		return !strings.EqualFold(s.format, "cloudFiles") && !strings.EqualFold(s.format, "json")
	})
}

// cellsOf returns the code in the cells of a notebook, or the text when it is none.
func cellsOf(text string) string {
	var notebook struct {
		Cells []struct {
			Type   string          `json:"cell_type"`
			Source json.RawMessage `json:"source"`
		} `json:"cells"`
	}
	if json.Unmarshal([]byte(text), &notebook) != nil || notebook.Cells == nil {
		return text
	}
	var b strings.Builder
	for _, c := range notebook.Cells {
		if c.Type != "code" {
			continue
		}
		var lines []string
		var whole string
		if json.Unmarshal(c.Source, &lines) == nil {
			whole = strings.Join(lines, "")
		} else {
			_ = json.Unmarshal(c.Source, &whole) // a cell of another form has nothing to say
		}
		b.WriteString(whole + "\n")
	}
	return b.String()
}

// sparkReader goes through the tokens of a script once.
type sparkReader struct {
	tokens  []pyToken
	known   map[string]string        // variables with plain values
	dicts   map[string][]sparkOption // and with dictionaries of options
	def     string                   // the function that began last
	streams []*sparkStream

	now      *sparkStream            // that calls belong to
	vars     map[string]*sparkStream // by the variables that hold them
	assigned string                  // the variable that was assigned last
}

func (p *sparkReader) at(i int) pyToken {
	if i < 0 || i >= len(p.tokens) {
		return pyToken{}
	}
	return p.tokens[i]
}

func (p *sparkReader) read() {
	for i := 0; i < len(p.tokens); i++ {
		t := p.tokens[i]
		if t.kind != pyName {
			continue
		}
		before, after := p.at(i-1), p.at(i+1)
		switch {
		case t.text == "def" && after.kind == pyName:
			p.def = after.text
		case t.text == "readStream":
			p.now = &sparkStream{line: t.line, name: p.def}
			p.streams = append(p.streams, p.now)
			p.vars[p.assigned] = p.now
		case t.text == "writeStream" && p.now != nil:
			p.now.writes = true
		case after.text == "=" && before.text != "." && before.text != "(" && before.text != ",":
			p.assigned = t.text
			p.assign(t.text, i+2)
		case p.vars[t.text] != nil && before.text != "." && after.text == ".":
			p.now = p.vars[t.text]
			if before.text == "=" || before.text == "(" && p.at(i-2).text == "=" {
				p.vars[p.assigned] = p.now
			}
		case after.text == "(" && before.text == ".":
			end := p.closing(i + 1)
			if p.now != nil && p.call(p.now, t, i+2, end) {
				i = end
			}
		}
	}
}

// assign notes a variable whose value starts at i.
func (p *sparkReader) assign(name string, i int) {
	if p.at(i).text == "{" {
		p.dicts[name] = p.dict(i, p.closing(i))
		return
	}
	end := i
	for end < len(p.tokens) && p.tokens[end].line == p.at(i).line {
		end++
	}
	if v, ok := p.value(i, end); ok {
		p.known[name] = v
	} else {
		delete(p.known, name)
	}
}

// closing returns the index of the bracket that closes the one at i.
func (p *sparkReader) closing(i int) int {
	depth := 0
	for ; i < len(p.tokens); i++ {
		switch p.tokens[i].text {
		case "(", "[", "{":
			if p.tokens[i].kind == pyMark {
				depth++
			}
		case ")", "]", "}":
			if p.tokens[i].kind == pyMark {
				if depth--; depth == 0 {
					return i
				}
			}
		}
	}
	return len(p.tokens)
}

// arguments splits what is between brackets at its commas.
func (p *sparkReader) arguments(i, end int) (spans [][2]int) {
	start := i
	for ; i < end; i++ {
		if p.tokens[i].kind != pyMark {
			continue
		}
		switch p.tokens[i].text {
		case "(", "[", "{":
			i = min(p.closing(i), end)
		case ",":
			spans, start = append(spans, [2]int{start, i}), i+1
		}
	}
	if start < end {
		spans = append(spans, [2]int{start, end})
	}
	return spans
}

// value is the text of a plain expression: strings, numbers, booleans, known variables, and sums of them.
func (p *sparkReader) value(i, end int) (string, bool) {
	var b strings.Builder
	if i >= end {
		return "", false
	}
	for ; i < end; i++ {
		t := p.tokens[i]
		switch {
		case t.kind == pyText:
			s, ok := t.text, true
			if t.format {
				s, ok = p.fill(s)
			}
			if !ok {
				return "", false
			}
			b.WriteString(s)
		case t.kind == pyNumber:
			b.WriteString(t.text)
		case t.text == "True", t.text == "False", t.text == "true", t.text == "false":
			b.WriteString(strings.ToLower(t.text))
		case t.kind == pyName && p.at(i+1).text != "(" && p.at(i+1).text != ".":
			v, ok := p.known[t.text]
			if !ok {
				return "", false
			}
			b.WriteString(v)
		case t.text != "+" && t.text != "(" && t.text != ")":
			return "", false
		}
	}
	return b.String(), true
}

// fill replaces {name} in an f-string.
func (p *sparkReader) fill(s string) (string, bool) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "{")
		b.WriteString(before)
		if !ok {
			return b.String(), true
		}
		name, after, ok := strings.Cut(rest, "}")
		v, known := p.known[strings.TrimSpace(name)]
		if !ok || !known {
			return "", false
		}
		b.WriteString(v)
		s = after
	}
}

// dict reads {"name": value, ...}.
func (p *sparkReader) dict(i, end int) (options []sparkOption) {
	for _, span := range p.arguments(i+1, min(end, len(p.tokens))) {
		if p.at(span[0]).kind == pyText && p.at(span[0]+1).text == ":" {
			options = append(options, p.option(p.at(span[0]).text, p.at(span[0]).line, span[0]+2, span[1]))
		}
	}
	return options
}

// option is an option whose value is an expression; one that is not plain is marked by unknownValue.
func (p *sparkReader) option(name string, line, i, end int) sparkOption {
	if v, ok := p.value(i, end); ok {
		return sparkOption{name, v, line}
	}
	return sparkOption{name, unknownValue + p.source(i, end), line}
}

// unknownValue starts the text of a value that only running the script would tell.
const unknownValue = "\x00"

// source is the code of a span, about as it was written.
func (p *sparkReader) source(i, end int) string {
	var b strings.Builder
	for ; i < end && i < len(p.tokens); i++ {
		t := p.tokens[i]
		if t.kind == pyText {
			b.WriteString(`"` + t.text + `"`)
			continue
		}
		if t.text == "," {
			b.WriteString(", ")
			continue
		}
		b.WriteString(t.text)
	}
	return b.String()
}

// pythonSteps are calls that make other rows of the rows of a stream.
var pythonSteps = []string{
	"select", "selectExpr", "withColumn", "withColumns", "withColumnRenamed", "filter", "where", "drop", "join", "groupBy", "agg",
	"dropDuplicates", "distinct", "union", "unionByName", "withWatermark", "transform", "foreachBatch", "foreach", "map", "flatMap",
}

const whyPython = "Python code: write it as SQL under transform"

// call takes a method call whose arguments are the tokens from i to end. It reports whether these need no
// second look.
func (p *sparkReader) call(s *sparkStream, method pyToken, i, end int) bool {
	args := p.arguments(i, min(end, len(p.tokens)))
	first, plain := "", false
	if len(args) > 0 {
		first, plain = p.value(args[0][0], args[0][1])
	}
	code := "." + method.text + "(" + p.source(i, min(end, len(p.tokens))) + ")"
	take := func(into *string) {
		if len(args) == 0 {
			return
		}
		if named, v, ok := p.keyword(args[0]); ok && (named == "path" || named == "tableName") {
			first, plain = v, true
		}
		if !plain {
			s.leave(method.line, code, "its value is known only when the script runs")
			return
		}
		*into = first
	}
	switch method.text {
	case "format":
		if s.writes {
			if plain && !strings.EqualFold(first, "delta") {
				s.leave(method.line, code, "silt writes Delta tables")
			}
		} else if plain {
			s.format = first
		}
	case "json":
		if !s.writes {
			s.format = "json"
			take(&s.source)
		}
	case "option":
		if len(args) == 2 && plain {
			s.options = append(s.options, p.option(first, method.line, args[1][0], args[1][1]))
		} else {
			s.leave(method.line, code, "the name of the option is known only when the script runs")
		}
	case "options":
		p.readOptions(s, method, args, code)
	case "schema":
		if plain {
			s.options = append(s.options, sparkOption{"schema", first, method.line})
		} else {
			s.leave(method.line, code, "a schema made in Python: give it as DDL in the option schema, or its .json() in a file as schema: \"@file\"")
		}
	case "load":
		if !s.writes {
			take(&s.source)
		}
	case "toTable", "table", "saveAsTable":
		if s.writes {
			take(&s.table)
		}
	case "start":
		if s.writes {
			take(&s.path)
		}
	case "queryName":
		take(&s.name)
	case "partitionBy":
		for _, span := range args {
			if v, ok := p.value(span[0], span[1]); ok {
				s.columns = append(s.columns, v)
			}
		}
	case "clusterBy":
		s.leave(method.line, code, "silt does not cluster tables yet")
	case "outputMode":
		if plain && !strings.EqualFold(first, "append") {
			s.leave(method.line, code, "silt appends")
		}
	case "trigger":
		p.readTrigger(s, method, i, args, code)
	default:
		if slices.Contains(pythonSteps, method.text) && !isModule(p.at(i-4).text) {
			s.leave(method.line, code, whyPython)
			return true
		}
		return false
	}
	return true
}

// isModule says whether a call is one of a library, such as F.transform, and no step of a stream.
func isModule(name string) bool { return name == "F" || name == "f" || name == "functions" }

func (p *sparkReader) readOptions(s *sparkStream, method pyToken, args [][2]int, code string) {
	for _, span := range args {
		switch {
		case p.at(span[0]).text == "*": // **name or **{...}
			k := span[0]
			for p.at(k).text == "*" {
				k++
			}
			switch dict, known := p.dicts[p.at(k).text]; {
			case p.at(k).text == "{":
				s.options = append(s.options, p.dict(k, p.closing(k))...)
			case known:
				for _, o := range dict {
					o.line = method.line
					s.options = append(s.options, o)
				}
			default:
				s.leave(method.line, code, "its value is known only when the script runs")
			}
		case p.at(span[0]+1).text == "=":
			s.options = append(s.options, p.option(p.at(span[0]).text, method.line, span[0]+2, span[1]))
		}
	}
}

// keyword reads name=value.
func (p *sparkReader) keyword(span [2]int) (name, text string, ok bool) {
	if p.at(span[0]).kind != pyName || p.at(span[0]+1).text != "=" {
		return "", "", false
	}
	text, ok = p.value(span[0]+2, span[1])
	return p.at(span[0]).text, text, ok
}

func (p *sparkReader) readTrigger(s *sparkStream, method pyToken, i int, args [][2]int, code string) {
	for _, span := range args {
		name, text, ok := p.keyword(span)
		if !ok && span[1]-span[0] >= 3 && p.at(span[0]).text == "Trigger" { // Scala
			name = strings.ToLower(p.at(span[0] + 2).text[:1]) + p.at(span[0] + 2).text[1:]
			text, ok = p.value(span[0]+4, span[1]-1)
			if !ok {
				text, ok = "true", true
			}
		}
		switch {
		case ok && (name == "availableNow" || name == "once"):
			s.trigger = [2]string{"availableNow", "true"}
		case ok && name == "processingTime":
			s.trigger = [2]string{"processingTime", text}
		default:
			s.leave(method.line, code, "silt has availableNow and processingTime")
		}
	}
}

// pyKind is the kind of a token of Python.
type pyKind uint8

const (
	pyMark pyKind = iota
	pyName
	pyText
	pyNumber
)

type pyToken struct {
	kind   pyKind
	text   string // of a text without its quotes and escapes
	line   int
	format bool // an f-string
}

// pyTokens splits Python into tokens, without comments. It understands enough of Scala, too.
func pyTokens(text string) (tokens []pyToken) {
	line := 1
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r' || c == '\\':
			i++
		case c == '#' || strings.HasPrefix(text[i:], "//") && strings.TrimSpace(text[strings.LastIndexByte(text[:i], '\n')+1:i]) == "":
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == '"' || c == '\'':
			content, n := pyString(text[i:], false)
			tokens = append(tokens, pyToken{kind: pyText, text: content, line: line})
			line += strings.Count(text[i:i+n], "\n")
			i += n
		case isLetter(c):
			n := 1
			for i+n < len(text) && (isLetter(text[i+n]) || isDigit(text[i+n])) {
				n++
			}
			word := text[i : i+n]
			if n <= 2 && i+n < len(text) && (text[i+n] == '"' || text[i+n] == '\'') && strings.Trim(strings.ToLower(word), "rbufs") == "" {
				lower := strings.ToLower(word)
				content, m := pyString(text[i+n:], strings.Contains(lower, "r"))
				tokens = append(tokens, pyToken{kind: pyText, text: content, line: line, format: strings.ContainsAny(lower, "f")})
				line += strings.Count(text[i+n:i+n+m], "\n")
				i += n + m
				continue
			}
			tokens = append(tokens, pyToken{kind: pyName, text: word, line: line})
			i += n
		case isDigit(c):
			n := 1
			for i+n < len(text) && (isDigit(text[i+n]) || text[i+n] == '.' || text[i+n] == '_') {
				n++
			}
			tokens = append(tokens, pyToken{kind: pyNumber, text: strings.ReplaceAll(text[i:i+n], "_", ""), line: line})
			i += n
		default:
			tokens = append(tokens, pyToken{kind: pyMark, text: string(c), line: line})
			i++
		}
	}
	return tokens
}

func isLetter(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// pyString reads the string that s starts with, and returns how long it is there.
func pyString(s string, raw bool) (content string, n int) {
	quote := s[:1]
	if strings.HasPrefix(s, strings.Repeat(quote, 3)) {
		quote = s[:3]
	}
	var b strings.Builder
	for i := len(quote); i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], quote):
			return b.String(), i + len(quote)
		case s[i] == '\\' && i+1 < len(s) && !raw:
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case '\n':
			default:
				b.WriteByte(s[i])
			}
		case s[i] == '\n' && len(quote) == 1:
			return b.String(), i // it has no end
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), len(s)
}

// where says in which line of a script something stands.
func (l leftOver) where(file string) string { return fmt.Sprintf("%s:%d", file, l.Line) }
