package convert

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

// Evaluator evaluates the SQL that tables keep, which is Spark's, with DuckDB: that part of it on which
// both agree. The rest is refused.
type Evaluator struct {
	// Engine returns the SQL engine; it is asked when there is something to evaluate.
	Engine func(context.Context) (*duck.Engine, error)
}

// Bind implements [delta.Evaluator].
func (e Evaluator) Bind(ctx context.Context, columns *schema.Struct, expressions []delta.Expression) (delta.BoundExpressions, error) {
	engine, err := e.Engine(ctx)
	if err != nil {
		return nil, err
	}
	var list []string
	want := &schema.Struct{}
	for i, x := range expressions {
		p := sparkParser{columns: columns}
		sql, err := p.translate(x.SQL)
		if err != nil {
			return nil, &ExpressionError{x.SQL, err}
		}
		for _, c := range p.casts {
			if err := c.check(ctx, engine, columns); err != nil {
				return nil, &ExpressionError{x.SQL, err}
			}
		}
		name := fmt.Sprintf("x%d", i)
		list = append(list, "("+sql+"\n) AS "+name)
		want.Fields = append(want.Fields, schema.Nullable(name, x.Type))
	}
	t, err := engine.Prepare(ctx, "SELECT "+strings.Join(list, ", ")+" FROM source", columns, duck.TransformOptions{Types: want})
	if err == nil && (!t.RowLocal() || len(t.Schema().Fields) != len(expressions)) {
		t.Close()
		err = errors.New("it is no expression over one row")
	}
	if err != nil {
		return nil, &ExpressionError{expressions[0].SQL, err}
	}
	return &boundExpressions{t, expressions}, nil
}

// An ExpressionError means that an expression of a table cannot be evaluated here, or not as Spark does.
type ExpressionError struct {
	SQL string
	Err error
}

func (e *ExpressionError) Error() string {
	return fmt.Sprintf("the expression %s cannot be evaluated: %v", e.SQL, e.Err)
}

func (e *ExpressionError) Unwrap() error { return e.Err }

type boundExpressions struct {
	t    *duck.Transform
	list []delta.Expression
}

func (b *boundExpressions) Close() { b.t.Close() }

// Eval implements [delta.BoundExpressions].
func (b *boundExpressions) Eval(ctx context.Context, rec arrow.RecordBatch) ([]arrow.Array, error) {
	parts, failed, err := b.t.ApplyRows(ctx, rec)
	defer func() {
		for _, p := range parts {
			p.Batch.Release()
		}
	}()
	if err == nil && len(failed) > 0 {
		err = failed[0].Err
	}
	if err != nil {
		return nil, &ExpressionError{b.list[0].SQL, err}
	}
	out := make([]arrow.Array, len(b.list))
	for i, x := range b.list {
		var list []arrow.Array
		for _, p := range parts {
			list = append(list, p.Batch.Column(i))
		}
		if len(list) == 0 {
			out[i] = array.MakeArrayOfNull(memory.DefaultAllocator, schema.ArrowType(x.Type), 0)
		} else if out[i], err = array.Concatenate(list, memory.DefaultAllocator); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sparkParser makes DuckDB's SQL of an expression of Spark's: names in double quotes, texts in single
// ones, types by their names there. It knows those words and functions that mean the same in both.
type sparkParser struct {
	columns *schema.Struct
	tokens  []string
	pos     int
	casts   []sparkCast
}

// sparkCast is a CAST that means the same only from some types.
type sparkCast struct {
	inner string // DuckDB's SQL
	text  string // the value when it is a text literal
	to    schema.Type
}

var sparkToken = regexp.MustCompile("^(?:[ \\t\\r\\n]+|`(?:[^`]|``)+`|'[^'\\\\]*'|\"[^\"\\\\]*\"|[0-9]+(?:\\.[0-9]*)?(?:[eE][+-]?[0-9]+)?[lL]?\\b|\\.[0-9]+|[\\pL_][\\pL\\pN_]*|<=>|<>|!=|<=|>=|==|\\|\\||[-+*/%=<>(),.])")

func (p *sparkParser) translate(sql string) (string, error) {
	for rest := sql; rest != ""; {
		t := sparkToken.FindString(rest)
		rest = rest[len(t):]
		switch {
		case t == "":
			return "", fmt.Errorf("%.20q is not understood", rest)
		case t == "-" && strings.HasPrefix(rest, "-"), t == "/" && strings.HasPrefix(rest, "*"):
			return "", errors.New("comments are not understood")
		case len(t) > 1 && strings.ContainsAny(t[:1], `'"`) && strings.HasPrefix(rest, t[:1]):
			return "", errors.New("a doubled quote is not understood") // one text or two, by version
		case strings.TrimSpace(t) != "":
			p.tokens = append(p.tokens, t)
		}
	}
	out, err := p.until()
	if err == nil && p.pos < len(p.tokens) {
		err = fmt.Errorf("unexpected %s", p.tokens[p.pos])
	}
	return out, err
}

func (p *sparkParser) peek() string {
	if p.pos < len(p.tokens) {
		return p.tokens[p.pos]
	}
	return ""
}

// The words that mean the same in both dialects.
var sparkWords = []string{"AND", "OR", "NOT", "IN", "IS", "NULL", "TRUE", "FALSE", "LIKE", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE", "END"}

// The functions that do, by name and what they are called in DuckDB.
var sparkFunctions = map[string]string{
	"year": "year", "month": "month", "day": "day", "dayofmonth": "day", "hour": "hour", "minute": "minute", "quarter": "quarter",
	"lower": "lower", "lcase": "lower", "upper": "upper", "ucase": "upper", "length": "length", "char_length": "length", "character_length": "length",
	"trim": "trim", "ltrim": "ltrim", "rtrim": "rtrim", "coalesce": "coalesce", "nullif": "nullif", "abs": "abs",
	"floor": "floor", "ceil": "ceil", "ceiling": "ceil", "substring": "substring", "substr": "substring", "date_trunc": "date_trunc",
}

// until translates up to one of the words, or an end of brackets, without taking it.
func (p *sparkParser) until(words ...string) (string, error) {
	var b strings.Builder
	depth := 0
	put := func(s string) { b.WriteString(s + " ") }
	for p.pos < len(p.tokens) {
		t := p.peek()
		upper := strings.ToUpper(t)
		switch {
		case depth == 0 && (t == ")" || slices.Contains(words, upper)):
			return strings.TrimSpace(b.String()), nil
		case t == "(":
			depth++
		case t == ")":
			depth--
		}
		p.pos++
		next := p.peek()
		switch {
		case t[0] == '`':
			put(ident(strings.ReplaceAll(t[1:len(t)-1], "``", "`")))
		case t[0] == '\'' || t[0] == '"':
			put("'" + strings.ReplaceAll(t[1:len(t)-1], "'", "''") + "'")
		case t[0] >= '0' && t[0] <= '9':
			put(strings.TrimRight(t, "lL"))
		case t == "==":
			put("=")
		case t == "<=>":
			put("IS NOT DISTINCT FROM")
		case !isWord(t):
			put(t)
		case b.Len() > 0 && strings.HasSuffix(b.String(), ". "), p.isColumn(t) && next != "(":
			put(ident(t))
		case upper == "CAST" && next == "(":
			s, err := p.cast()
			if err != nil {
				return "", err
			}
			put(s)
		case upper == "DATE_FORMAT" && next == "(":
			s, err := p.dateFormat()
			if err != nil {
				return "", err
			}
			put(s)
		case (upper == "DATE" || upper == "TIMESTAMP") && strings.HasPrefix(next, "'"):
			to, _ := schema.ParseType(upper)
			c := sparkCast{"", next[1 : len(next)-1], to}
			p.casts = append(p.casts, c)
			put(duckTypeName(to))
		case slices.Contains(sparkWords, upper):
			put(upper)
		case next == "(" && sparkFunctions[strings.ToLower(t)] != "":
			if err := p.checkCall(strings.ToLower(t)); err != nil {
				return "", err
			}
			put(sparkFunctions[strings.ToLower(t)])
		case next == "(":
			return "", fmt.Errorf("the function %s is not known to mean the same", t)
		default:
			return "", fmt.Errorf("there is no column %s", t)
		}
	}
	if depth != 0 || len(words) > 0 {
		return "", errors.New("it ends too early")
	}
	return strings.TrimSpace(b.String()), nil
}

func isWord(t string) bool { return !strings.ContainsAny(t[:1], "<>!=|+-*/%(),.'\"`0123456789") }

func (p *sparkParser) isColumn(name string) bool { return p.columns.IndexFold(name) >= 0 }

func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// checkCall looks at the arguments where a function agrees only for some.
func (p *sparkParser) checkCall(name string) error {
	if name != "substring" && name != "substr" {
		return nil
	}
	depth := 0
	for _, t := range p.tokens[p.pos:] { // places count from 1; what 0 and less mean differs
		switch t {
		case "(":
			depth++
		case ")":
			depth--
		case "-", "0":
			return fmt.Errorf("%s is not known to mean the same with %s", name, t)
		}
		if depth == 0 {
			break
		}
	}
	return nil
}

// cast translates CAST(expression AS type), after the word CAST.
func (p *sparkParser) cast() (string, error) {
	p.pos++ // the bracket
	from := p.pos
	inner, err := p.until("AS")
	if err != nil {
		return "", err
	}
	c := sparkCast{inner: inner}
	if p.pos == from+1 && p.tokens[from][0] == '\'' {
		c.text = p.tokens[from][1 : len(p.tokens[from])-1]
	}
	if p.peek() == ")" {
		return "", errors.New("want AS in CAST")
	}
	p.pos++
	var name string
	for depth := 0; depth > 0 || p.peek() != ")"; p.pos++ {
		switch p.peek() {
		case "":
			return "", errors.New("it ends too early")
		case "(":
			depth++
		case ")":
			depth--
		}
		name += p.peek()
	}
	p.pos++
	if c.to, err = schema.ParseType(name); err != nil {
		return "", err
	}
	p.casts = append(p.casts, c)
	return "CAST((" + inner + ") AS " + duckTypeName(c.to) + ")", nil
}

// duckTypeName is the type in DuckDB's words.
func duckTypeName(t schema.Type) string {
	switch t {
	case schema.Timestamp:
		return "TIMESTAMPTZ"
	case schema.TimestampNTZ:
		return "TIMESTAMP"
	case schema.String:
		return "VARCHAR"
	}
	return t.String()
}

var (
	dateText      = regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)
	timestampText = regexp.MustCompile(`^\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d{1,6})?Z?)?$`)
)

// check fails for a cast that DuckDB and Spark do in different ways.
func (c sparkCast) check(ctx context.Context, engine *duck.Engine, columns *schema.Struct) error {
	switch {
	case c.text != "" && c.to == schema.Date && dateText.MatchString(c.text), c.text != "" && c.to == schema.Timestamp && timestampText.MatchString(c.text):
		return nil
	case c.inner == "":
		return fmt.Errorf("%s '%s' is not understood", c.to, c.text)
	}
	t, err := engine.Prepare(ctx, "SELECT ("+c.inner+") AS x FROM source", columns, duck.TransformOptions{})
	if err != nil {
		return err
	}
	from := t.Schema().Fields[0].Type
	t.Close()
	if !sameCast(from, c.to) {
		return fmt.Errorf("a CAST from %s to %s is not known to mean the same", from, c.to)
	}
	return nil
}

func sameCast(from, to schema.Type) bool {
	_, fromDecimal := from.(schema.Decimal)
	_, toDecimal := to.(schema.Decimal)
	whole := func(t schema.Type) bool {
		return t == schema.Byte || t == schema.Short || t == schema.Integer || t == schema.Long
	}
	switch {
	case from == to:
		return true
	case whole(to):
		return whole(from) || from == schema.Boolean
	case to == schema.Double, to == schema.Float:
		return whole(from) || from == schema.Float || fromDecimal
	case toDecimal:
		return whole(from) || fromDecimal
	case to == schema.String:
		return whole(from) || from == schema.Boolean || from == schema.Date
	case to == schema.Date:
		return from == schema.Timestamp || from == schema.TimestampNTZ
	case to == schema.Timestamp:
		return from == schema.Date
	}
	return false
}

// dateFormats are the letters of date_format that are known, and DuckDB's.
var dateFormats = strings.NewReplacer("yyyy", "%Y", "MM", "%m", "dd", "%d", "HH", "%H", "mm", "%M", "ss", "%S")

var dateFormat = regexp.MustCompile(`^(?:yyyy|MM|dd|HH|mm|ss|[-_/: .])+$`)

// dateFormat translates date_format(expression, 'pattern'), after the name.
func (p *sparkParser) dateFormat() (string, error) {
	p.pos++ // the bracket
	inner, err := p.until(",")
	if err != nil {
		return "", err
	}
	if p.peek() != "," || p.pos+2 >= len(p.tokens) || p.tokens[p.pos+2] != ")" {
		return "", errors.New("date_format wants a value and a pattern")
	}
	pattern := strings.Trim(p.tokens[p.pos+1], `'"`)
	if !dateFormat.MatchString(pattern) {
		return "", fmt.Errorf("the pattern %q of date_format is not understood", pattern)
	}
	p.pos += 3
	return "strftime((" + inner + "), '" + dateFormats.Replace(pattern) + "')", nil
}
