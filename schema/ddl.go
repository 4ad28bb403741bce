package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// String is the struct as a DDL type: STRUCT<id: BIGINT, tags: ARRAY<STRING>>.
func (s *Struct) String() string {
	var b strings.Builder
	b.WriteString("STRUCT<")
	for i, f := range s.Fields {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Quote(f.Name) + ": " + f.Type.String())
		writeNotNull(&b, f)
	}
	b.WriteByte('>')
	return b.String()
}

// DDL is the struct as a list of columns, as it stands in CREATE TABLE: id BIGINT,tags ARRAY<STRING>.
func (s *Struct) DDL() string {
	var b strings.Builder
	for i, f := range s.Fields {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(Quote(f.Name) + " " + f.Type.String())
		writeNotNull(&b, f)
	}
	return b.String()
}

func writeNotNull(b *strings.Builder, f Field) {
	if !f.Nullable {
		b.WriteString(" NOT NULL")
	}
}

// A DDLError says where a DDL text cannot be read.
type DDLError struct {
	Text   string
	Offset int // in bytes from the start of Text
	Reason string
}

func (e *DDLError) Error() string {
	rest := e.Text[e.Offset:]
	if rest == "" {
		return fmt.Sprintf("DDL %q ends too early: %s", e.Text, e.Reason)
	}
	return fmt.Sprintf("DDL at %q: %s", rest, e.Reason)
}

// ParseDDL reads a list of columns as Spark writes them: name type [NOT NULL] [COMMENT 'text'], with
// commas between. A colon may follow the name. DEFAULT value, GENERATED ALWAYS AS (expression) and
// GENERATED {ALWAYS | BY DEFAULT} AS IDENTITY become what Delta keeps of them in the field's metadata.
func ParseDDL(text string) (*Struct, error) {
	p := &ddlParser{text: text}
	fields, err := p.fields("")
	if err != nil {
		return nil, err
	}
	return &Struct{Fields: fields}, nil
}

// ParseType reads one type.
func ParseType(text string) (Type, error) {
	p := &ddlParser{text: text}
	t, err := p.typ()
	if err != nil {
		return nil, err
	}
	if p.peek() != "" {
		return nil, p.errorf("the type is complete before this")
	}
	return t, nil
}

// A Hint gives the field at Path a type, whatever the data says.
type Hint struct {
	// Path holds the name of a column and the steps below it: the name of a struct field, "element"
	// for the elements of an array, "key" or "value" for the entries of a map.
	Path []string
	Type Type
	// Comment is the text after COMMENT.
	Comment string
}

func (h Hint) String() string { return Path(h.Path...) + " " + h.Type.String() }

// ParseHints reads schema hints: DDL columns whose names may be dotted paths. NOT NULL is read and
// ignored. Source: Auto Loader, "Override schema inference with schema hints".
func ParseHints(text string) ([]Hint, error) {
	p := &ddlParser{text: text}
	var hints []Hint
	for p.peek() != "" {
		if len(hints) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
			if p.peek() == "" {
				break
			}
		}
		h, err := p.hint()
		if err != nil {
			return nil, err
		}
		hints = append(hints, h)
	}
	return hints, nil
}

// ParsePath reads a dotted path whose steps may be in back-ticks.
func ParsePath(text string) ([]string, error) {
	p := &ddlParser{text: text}
	path, err := p.path()
	if err == nil && p.peek() != "" {
		err = p.errorf("the path is complete before this")
	}
	return path, err
}

// ParsePaths reads dotted paths with commas between.
func ParsePaths(text string) ([][]string, error) {
	p := &ddlParser{text: text}
	var paths [][]string
	for p.peek() != "" {
		path, err := p.path()
		if err != nil {
			return nil, err
		}
		if paths = append(paths, path); p.peek() == "" {
			break
		}
		if err := p.expect(","); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// ddlParser is a recursive descent over the text; pos is the start of the next token.
type ddlParser struct {
	text string
	pos  int
}

func (p *ddlParser) errorf(format string, args ...any) error {
	return &DDLError{Text: p.text, Offset: p.pos, Reason: fmt.Sprintf(format, args...)}
}

// peek returns the next token without taking it: a name, a quoted name with its back-ticks, a text
// with its quotes, a single character, or "" at the end.
func (p *ddlParser) peek() string {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
	if p.pos == len(p.text) {
		return ""
	}
	rest := p.text[p.pos:]
	switch c := rest[0]; {
	case c == '`' || c == '\'':
		return rest[:quotedEnd(rest)]
	case isWordByte(c):
		n := 1
		for n < len(rest) && isWordByte(rest[n]) {
			n++
		}
		return rest[:n]
	}
	return rest[:1]
}

// isWordByte is true for what may stand in a name without back-ticks. Wider than what Spark accepts:
// letters of any script are clear enough.
func isWordByte(c byte) bool { return isNameByte(c) || c >= 0x80 || c == '-' }

// quotedEnd returns the end of the quoted token s starts with; a doubled quote stands for one.
func quotedEnd(s string) int {
	q := s[0]
	for i := 1; i < len(s); i++ {
		if s[i] != q {
			continue
		}
		if i+1 == len(s) || s[i+1] != q {
			return i + 1
		}
		i++
	}
	return len(s)
}

func (p *ddlParser) next() string {
	t := p.peek()
	p.pos += len(t)
	return t
}

func (p *ddlParser) expect(token string) error {
	if p.peek() != token {
		return p.errorf("want %q", token)
	}
	p.next()
	return nil
}

// accept takes the next token when it is the given keyword.
func (p *ddlParser) accept(keyword string) bool {
	if !strings.EqualFold(p.peek(), keyword) {
		return false
	}
	p.next()
	return true
}

// fields reads columns up to the token end.
func (p *ddlParser) fields(end string) ([]Field, error) {
	var fields []Field
	for p.peek() != end {
		if len(fields) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		f, err := p.field()
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func (p *ddlParser) field() (Field, error) {
	name, err := p.name()
	if err != nil {
		return Field{}, err
	}
	t, notNull, comment, err := p.typed()
	if err != nil {
		return Field{}, err
	}
	f := Field{Name: name, Type: t, Nullable: !notNull}
	if comment != "" {
		if f, err = f.WithMetadata("comment", comment); err != nil {
			return f, err
		}
	}
	switch {
	case p.accept("DEFAULT"):
		sql := p.expression(",)")
		if sql == "" {
			return f, p.errorf("want a value after DEFAULT")
		}
		return f.WithMetadata("CURRENT_DEFAULT", sql)
	case p.accept("GENERATED"):
		return p.generated(f)
	}
	return f, nil
}

// generated reads what follows GENERATED: ALWAYS AS (expression), or {ALWAYS | BY DEFAULT} AS IDENTITY
// [(START WITH n INCREMENT BY m)].
func (p *ddlParser) generated(f Field) (Field, error) {
	explicit := false
	switch {
	case p.accept("ALWAYS"):
	case p.accept("BY") && p.accept("DEFAULT"):
		explicit = true
	default:
		return f, p.errorf("want ALWAYS or BY DEFAULT after GENERATED")
	}
	if !p.accept("AS") {
		return f, p.errorf("want AS")
	}
	if p.accept("IDENTITY") {
		return p.identity(f, explicit)
	}
	if err := p.expect("("); err != nil {
		return f, err
	}
	sql := p.expression(")")
	if sql == "" || explicit {
		return f, p.errorf("want GENERATED ALWAYS AS (expression)")
	}
	if err := p.expect(")"); err != nil {
		return f, err
	}
	return f.WithMetadata("delta.generationExpression", sql)
}

func (p *ddlParser) identity(f Field, explicit bool) (Field, error) {
	start, step := int64(1), int64(1)
	if p.peek() == "(" {
		p.next()
		for p.peek() != ")" {
			n := &start
			switch {
			case p.accept("START"):
				p.accept("WITH")
			case p.accept("INCREMENT"):
				p.accept("BY")
				n = &step
			default:
				return f, p.errorf("want START WITH or INCREMENT BY")
			}
			v, err := p.integer()
			if err != nil {
				return f, err
			}
			*n = int64(v)
		}
		p.next()
	}
	for _, m := range []struct {
		key   string
		value any
	}{{"delta.identity.start", start}, {"delta.identity.step", step}, {"delta.identity.allowExplicitInsert", explicit}} {
		var err error
		if f, err = f.WithMetadata(m.key, m.value); err != nil {
			return f, err
		}
	}
	return f, nil
}

// expression reads SQL up to one of the characters in ends, outside of brackets and quotes.
func (p *ddlParser) expression(ends string) string {
	p.peek()
	from, depth := p.pos, 0
	for {
		switch t := p.peek(); {
		case t == "", depth == 0 && strings.Contains(ends, t):
			return strings.TrimSpace(p.text[from:p.pos])
		case t == "(":
			depth++
		case t == ")":
			depth--
		}
		p.next()
	}
}

func (p *ddlParser) hint() (Hint, error) {
	path, err := p.path()
	if err != nil {
		return Hint{}, err
	}
	t, _, comment, err := p.typed()
	return Hint{Path: path, Type: t, Comment: comment}, err
}

// typed reads what follows a name: [:] type [NOT NULL] [COMMENT 'text'].
func (p *ddlParser) typed() (t Type, notNull bool, comment string, err error) {
	if p.peek() == ":" {
		p.next()
	}
	if t, err = p.typ(); err != nil {
		return nil, false, "", err
	}
	if p.accept("NOT") {
		if notNull = true; !p.accept("NULL") {
			return nil, false, "", p.errorf("want NULL after NOT")
		}
	}
	if p.accept("COMMENT") {
		text := p.peek()
		if len(text) < 2 || text[0] != '\'' || text[len(text)-1] != '\'' {
			return nil, false, "", p.errorf("want a comment in single quotes")
		}
		comment = strings.ReplaceAll(p.next()[1:len(text)-1], "''", "'")
	}
	return t, notNull, comment, nil
}

func (p *ddlParser) path() ([]string, error) {
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	path := []string{name}
	for p.peek() == "." {
		p.next()
		if name, err = p.name(); err != nil {
			return nil, err
		}
		path = append(path, name)
	}
	return path, nil
}

func (p *ddlParser) name() (string, error) {
	t := p.peek()
	switch {
	case t == "":
		return "", p.errorf("want a column name")
	case t[0] == '`':
		if len(t) < 2 || t[len(t)-1] != '`' {
			return "", p.errorf("the back-tick is not closed")
		}
		p.next()
		return strings.ReplaceAll(t[1:len(t)-1], "``", "`"), nil
	case isWordByte(t[0]):
		p.next()
		return t, nil
	}
	return "", p.errorf("want a column name; put special characters in back-ticks")
}

// ddlAliases maps further names of primitive types to the one that [Primitive.String] gives.
var ddlAliases = map[string]string{
	"LONG": "BIGINT", "INTEGER": "INT", "SHORT": "SMALLINT", "BYTE": "TINYINT", "REAL": "FLOAT",
}

func (p *ddlParser) typ() (Type, error) {
	start := p.pos
	word := strings.ToUpper(p.peek())
	if word == "" || !isWordByte(word[0]) {
		return nil, p.errorf("want a type")
	}
	p.next()
	switch word {
	case "ARRAY":
		e, err := p.params(1)
		if err != nil {
			return nil, err
		}
		return &Array{Element: e[0], ContainsNull: true}, nil
	case "MAP":
		e, err := p.params(2)
		if err != nil {
			return nil, err
		}
		return &Map{Key: e[0], Value: e[1], ValueContainsNull: true}, nil
	case "STRUCT":
		if err := p.expect("<"); err != nil {
			return nil, err
		}
		fields, err := p.fields(">")
		if err != nil {
			return nil, err
		}
		return &Struct{Fields: fields}, p.expect(">")
	case "DECIMAL", "DEC", "NUMERIC":
		return p.decimal()
	}
	if alias, ok := ddlAliases[word]; ok {
		word = alias
	}
	i := slices.IndexFunc(primitiveNames[:], func(n struct{ json, ddl string }) bool { return n.ddl == word })
	if i < 0 {
		p.pos = start
		p.peek()
		return nil, p.errorf("unknown type; the types are STRING, BIGINT, INT, SMALLINT, TINYINT, DOUBLE, FLOAT, " +
			"BOOLEAN, TIMESTAMP, TIMESTAMP_NTZ, DATE, BINARY, DECIMAL(p,s), VARIANT, ARRAY<t>, MAP<k,v>, STRUCT<name: t>")
	}
	return Primitive(i), nil
}

// params reads n types in angle brackets.
func (p *ddlParser) params(n int) ([]Type, error) {
	if err := p.expect("<"); err != nil {
		return nil, err
	}
	types := make([]Type, n)
	for i := range types {
		if i > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		t, err := p.typ()
		if err != nil {
			return nil, err
		}
		types[i] = t
	}
	return types, p.expect(">")
}

// decimal reads what may follow DECIMAL; alone it is DECIMAL(10,0).
func (p *ddlParser) decimal() (Type, error) {
	if p.peek() != "(" {
		return Decimal{10, 0}, nil
	}
	p.next()
	precision, err := p.integer()
	if err != nil {
		return nil, err
	}
	scale := 0
	if p.peek() == "," {
		p.next()
		if scale, err = p.integer(); err != nil {
			return nil, err
		}
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	t, err := newDecimal(precision, scale)
	if err != nil {
		return nil, p.errorf("%s", err)
	}
	return t, nil
}

func (p *ddlParser) integer() (int, error) {
	n, err := strconv.Atoi(p.peek())
	if err != nil {
		return 0, p.errorf("want a whole number")
	}
	p.next()
	return n, nil
}
