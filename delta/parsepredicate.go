package delta

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A PredicateError says where a text is no predicate.
type PredicateError struct {
	Text    string
	Offset  int // bytes into Text
	Problem string
}

func (e *PredicateError) Error() string {
	return fmt.Sprintf("%s: %s", e.Problem, around(e.Text, e.Offset))
}

// around is the part of a text at an offset, for people.
func around(text string, at int) string {
	if at >= len(text) {
		return "at the end"
	}
	rest := text[at:]
	if n := 20; utf8.RuneCountInString(rest) > n {
		rest = string([]rune(rest)[:n]) + "…"
	}
	return "at " + rest
}

// ParsePredicate reads a condition as SQL writes it: comparisons of a column with a value (=, <>, <, <=, >, >=),
// IN, BETWEEN, IS NULL, and these under NOT, AND, OR and in parentheses. A column may lead through structs and
// stand in back-ticks; a value is a number, a text in single quotes, which may follow DATE or TIMESTAMP, TRUE,
// FALSE or NULL. An error is a *[PredicateError]: there are no functions and no expressions, so that a condition
// can be held against the statistics of files.
func ParsePredicate(text string) (Predicate, error) {
	p := &predicateParser{text: text}
	out, err := p.or()
	if err == nil && p.peek().text != "" {
		err = p.wrong(p.peek(), "the condition goes on after its end")
	}
	return out, err
}

// token is a word, a sign or a literal; an empty one is the end.
type token struct {
	text string
	at   int
	kind tokenKind
}

type tokenKind uint8

const (
	tokenSign tokenKind = iota
	tokenWord
	tokenQuotedName
	tokenNumber
	tokenText
	tokenBroken // a quote that does not end, or one of another kind
)

type predicateParser struct {
	text string
	at   int
}

func (p *predicateParser) wrong(t token, problem string) error {
	return &PredicateError{p.text, t.at, problem}
}

func (p *predicateParser) peek() token {
	at := p.at
	t := p.next()
	p.at = at
	return t
}

func isNameRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

func (p *predicateParser) next() token {
	p.at = len(p.text) - len(strings.TrimLeftFunc(p.text[p.at:], unicode.IsSpace))
	start, rest := p.at, p.text[p.at:]
	take := func(n int, kind tokenKind) token {
		p.at += n
		return token{rest[:n], start, kind}
	}
	if rest == "" {
		return token{at: start}
	}
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case r == '\'' || r == '`':
		kind := tokenText
		if r == '`' {
			kind = tokenQuotedName
		}
		for i := 1; i < len(rest); i++ {
			if rest[i] != rest[0] {
				continue
			}
			if i+1 < len(rest) && rest[i+1] == rest[0] {
				i++
				continue
			}
			t := take(i+1, kind)
			quote := string(r)
			t.text = strings.ReplaceAll(t.text[1:i], quote+quote, quote)
			return t
		}
		return take(len(rest), tokenBroken)
	case r == '"':
		return take(1, tokenBroken)
	case unicode.IsDigit(r) || (r == '.' || r == '-' || r == '+') && len(rest) > 1 && (rest[1] >= '0' && rest[1] <= '9' || rest[1] == '.'):
		n := 1
		for n < len(rest) && (isNameRune(rune(rest[n])) || rest[n] == '.' || (rest[n] == '-' || rest[n] == '+') && (rest[n-1] == 'e' || rest[n-1] == 'E')) {
			n++
		}
		return take(n, tokenNumber)
	case isNameRune(r):
		n := strings.IndexFunc(rest, func(r rune) bool { return !isNameRune(r) })
		if n < 0 {
			n = len(rest)
		}
		return take(n, tokenWord)
	}
	for _, sign := range []string{"<=>", "<=", ">=", "<>", "!=", "=="} {
		if strings.HasPrefix(rest, sign) {
			return take(len(sign), tokenSign)
		}
	}
	return take(size, tokenSign)
}

// word takes the next token if it is one of the words, which are not case-sensitive.
func (p *predicateParser) word(words ...string) bool {
	at := p.at
	for _, w := range words {
		if t := p.next(); t.kind != tokenWord || !strings.EqualFold(t.text, w) {
			p.at = at
			return false
		}
	}
	return true
}

func (p *predicateParser) sign(text string) bool {
	at := p.at
	if t := p.next(); t.kind == tokenSign && t.text == text {
		return true
	}
	p.at = at
	return false
}

func (p *predicateParser) or() (Predicate, error) {
	first, err := p.and()
	if err != nil {
		return nil, err
	}
	all := Or{first}
	for p.word("or") {
		next, err := p.and()
		if err != nil {
			return nil, err
		}
		all = append(all, next)
	}
	if len(all) == 1 {
		return first, nil
	}
	return all, nil
}

func (p *predicateParser) and() (Predicate, error) {
	first, err := p.not()
	if err != nil {
		return nil, err
	}
	all := And{first}
	for p.word("and") {
		next, err := p.not()
		if err != nil {
			return nil, err
		}
		all = append(all, next)
	}
	if len(all) == 1 {
		return first, nil
	}
	return all, nil
}

func (p *predicateParser) not() (Predicate, error) {
	if p.word("not") {
		is, err := p.not()
		return Not{is}, err
	}
	if p.sign("(") {
		in, err := p.or()
		if err == nil && !p.sign(")") {
			err = p.wrong(p.peek(), "a parenthesis is not closed")
		}
		return in, err
	}
	if at := p.at; p.word("true") || p.word("false") {
		is := strings.EqualFold(strings.TrimSpace(p.text[at:p.at]), "true")
		if t := p.peek(); t.kind == tokenWord || t.text == "" || t.text == ")" {
			if is {
				return And{}, nil
			}
			return Or{}, nil
		}
		p.at = at
	}
	return p.test()
}

var comparisons = map[string]Op{"=": Equal, "==": Equal, "<>": NotEqual, "!=": NotEqual, "<": Less, "<=": LessEqual, ">": Greater, ">=": GreaterEqual}

// mirrored are the comparisons with their sides exchanged.
var mirrored = [...]Op{Equal, NotEqual, Greater, GreaterEqual, Less, LessEqual}

func (p *predicateParser) test() (Predicate, error) {
	if p.isValue() {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		t := p.next()
		op, ok := comparisons[t.text]
		if !ok || t.kind != tokenSign {
			return nil, p.wrong(t, "a value is compared by =, <>, <, <=, > or >=")
		}
		column, err := p.column()
		return Compare{column, mirrored[op], v}, err
	}
	column, err := p.column()
	if err != nil {
		return nil, err
	}
	switch {
	case p.word("is", "not", "null"):
		return Not{IsNull{column}}, nil
	case p.word("is", "null"):
		return IsNull{column}, nil
	case p.word("not", "in"):
		in, err := p.in(column)
		return Not{in}, err
	case p.word("in"):
		return p.in(column)
	case p.word("not", "between"):
		is, err := p.between(column)
		return Not{is}, err
	case p.word("between"):
		return p.between(column)
	}
	t := p.next()
	op, ok := comparisons[t.text]
	switch {
	case t.text == "(":
		return nil, p.wrong(t, "there are no functions")
	case !ok || t.kind != tokenSign:
		return nil, p.wrong(t, "a column is compared by =, <>, <, <=, >, >=, IN, BETWEEN or IS NULL")
	}
	v, err := p.value()
	return Compare{column, op, v}, err
}

func (p *predicateParser) column() ([]string, error) {
	var path []string
	for {
		t := p.next()
		switch {
		case t.kind == tokenBroken && strings.HasPrefix(t.text, `"`):
			return nil, p.wrong(t, "a double quote: a text stands in single quotes, the name of a column in back-ticks")
		case t.kind == tokenBroken:
			return nil, p.wrong(t, "a quote is not closed")
		case t.kind != tokenWord && t.kind != tokenQuotedName:
			return nil, p.wrong(t, "want the name of a column")
		}
		path = append(path, t.text)
		if !p.sign(".") {
			return path, nil
		}
	}
}

func (p *predicateParser) in(column []string) (Predicate, error) {
	if !p.sign("(") {
		return nil, p.wrong(p.peek(), "IN takes a list in parentheses")
	}
	var values []any
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		if p.sign(")") {
			return In{column, values}, nil
		}
		if !p.sign(",") {
			return nil, p.wrong(p.peek(), "want a comma or a parenthesis")
		}
	}
}

func (p *predicateParser) between(column []string) (Predicate, error) {
	from, err := p.value()
	if err != nil {
		return nil, err
	}
	if !p.word("and") {
		return nil, p.wrong(p.peek(), "BETWEEN takes two values with AND")
	}
	to, err := p.value()
	return And{Compare{column, GreaterEqual, from}, Compare{column, LessEqual, to}}, err
}

// isValue reports whether a value comes next, and no column.
func (p *predicateParser) isValue() bool {
	at := p.at
	defer func() { p.at = at }()
	t := p.next()
	switch t.kind {
	case tokenNumber, tokenText:
		return true
	case tokenWord:
		word := strings.ToLower(t.text)
		return slices.Contains([]string{"null", "true", "false"}, word) || (word == "date" || word == "timestamp") && p.peek().kind == tokenText
	}
	return false
}

func (p *predicateParser) value() (any, error) {
	t := p.next()
	switch t.kind {
	case tokenText:
		return t.text, nil
	case tokenNumber:
		text := strings.TrimPrefix(t.text, "+")
		if strings.HasPrefix(text, ".") {
			text = "0" + text
		}
		if !json.Valid([]byte(text)) {
			return nil, p.wrong(t, "this is no number")
		}
		return json.Number(text), nil
	case tokenWord:
		switch strings.ToLower(t.text) {
		case "null":
			return nil, nil
		case "true":
			return true, nil
		case "false":
			return false, nil
		case "date", "timestamp":
			if v := p.next(); v.kind == tokenText {
				return v.text, nil
			}
		}
	case tokenBroken:
		if strings.HasPrefix(t.text, `"`) {
			return nil, p.wrong(t, "a double quote: a text stands in single quotes, the name of a column in back-ticks")
		}
		return nil, p.wrong(t, "a quote is not closed")
	}
	return nil, p.wrong(t, "want a value: a number, a text in single quotes, TRUE, FALSE or NULL")
}
