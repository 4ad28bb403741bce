package jsonscan

import (
	"slices"
	"unicode/utf8"
)

// Leniency says which texts that are not JSON are read as if they were.
//
// The scanner itself stays strict but for NonNumeric. A text that it refuses is rewritten by
// [Leniency.Rewrite] and scanned again, so that leniency costs nothing where it is not needed.
//
// Source: Jackson's JsonReadFeature, as Spark's JSON options name them.
type Leniency struct {
	Comments      bool `json:"comments,omitempty"`      // /* */ and // are blanks
	SingleQuotes  bool `json:"singleQuotes,omitempty"`  // 'a' is a string or a name, and \' an escape
	UnquotedNames bool `json:"unquotedNames,omitempty"` // {a:1}
	LeadingZeros  bool `json:"leadingZeros,omitempty"`  // 007 is 7
	AnyEscape     bool `json:"anyEscape,omitempty"`     // \q is q
	ControlChars  bool `json:"controlChars,omitempty"`  // a raw tab, say, in a string
}

// Rewritten is a text made strict.
type Rewritten struct {
	Text []byte
	// End is the offset behind the value in the original.
	End int
	// shifts hold where the two texts part: pairs of an offset in Text and the one in the original that
	// it comes from.
	shifts [][2]int
}

// Origin returns the offset in the original that the offset i in Text comes from.
func (r *Rewritten) Origin(i int) int {
	k, found := slices.BinarySearchFunc(r.shifts, i, func(s [2]int, i int) int { return s[0] - i })
	if !found {
		k--
	}
	if k < 0 {
		return i
	}
	return r.shifts[k][1] + i - r.shifts[k][0]
}

// Rewrite reads one value that starts at i, comments before it included, and writes it as JSON into
// out, whose buffers are used again. It looks at tokens and brackets only: whether the result is JSON
// is for a Scanner to find out. When the text ends before the value does it returns Truncated and how
// far it came; otherwise None.
//
// The text ends at s.End, or at a line end that is no blank.
func (l Leniency) Rewrite(s *Scanner, i int, out *Rewritten) (at int, why Reason) {
	w := rewriter{Leniency: l, s: s, out: out}
	out.Text, out.shifts = out.Text[:0], append(out.shifts[:0], [2]int{0, i})
	at, why = w.value(i)
	out.End = at
	return at, why
}

type rewriter struct {
	Leniency
	s    *Scanner
	out  *Rewritten
	open []byte // brackets
	name bool   // the next token is the name of a member
}

// ends reports whether the text ends at i.
func (w *rewriter) ends(i int) bool {
	return i >= w.s.End || (w.s.Text[i] == '\n' || w.s.Text[i] == '\r') && w.s.Space == Lines
}

// part notes that what is written next comes from i.
func (w *rewriter) part(i int) {
	if last := len(w.out.shifts) - 1; last >= 0 && w.out.shifts[last][0] == len(w.out.Text) {
		w.out.shifts = w.out.shifts[:last] // nothing was written since
	}
	w.out.shifts = append(w.out.shifts, [2]int{len(w.out.Text), i})
}

func (w *rewriter) value(i int) (int, Reason) {
	for {
		if w.ends(i) {
			return i, Truncated
		}
		var why Reason
		switch c := w.s.Text[i]; {
		case c == '"' || c == '\'' && w.SingleQuotes:
			if i, why = w.text(i); why != None {
				return i, why
			}
			w.name = false
		case c == '/' && w.Comments && w.s.Text[i+1] == '*', c == '/' && w.Comments && w.s.Text[i+1] == '/':
			if i, why = w.s.comment(i); why != None {
				return i, why
			}
			w.out.Text = append(w.out.Text, ' ')
			w.part(i)
			continue
		case w.name && w.UnquotedNames && isNameByte(c):
			i = w.bareName(i)
		case '0' <= c && c <= '9':
			i = w.number(i)
		case c <= ' ':
			w.out.Text = append(w.out.Text, c)
			i++
			continue
		default:
			i = w.mark(i)
		}
		if len(w.open) == 0 {
			return i, None
		}
	}
}

// mark copies a byte that is no string, name or number, and follows the brackets.
func (w *rewriter) mark(i int) int {
	c := w.s.Text[i]
	w.out.Text = append(w.out.Text, c)
	switch c {
	case '{', '[':
		w.open = append(w.open, c)
		w.name = c == '{'
	case '}', ']':
		w.open = w.open[:max(0, len(w.open)-1)]
		w.name = false
	case ',':
		w.name = len(w.open) > 0 && w.open[len(w.open)-1] == '{'
	}
	return i + 1
}

// text copies the string at i.
func (w *rewriter) text(i int) (int, Reason) {
	b, quote := w.s.Text, w.s.Text[i]
	w.out.Text = append(w.out.Text, '"')
	for i++; ; {
		if w.ends(i) {
			return i, Truncated
		}
		switch c := b[i]; {
		case c == quote:
			w.out.Text = append(w.out.Text, '"')
			return i + 1, None
		case c == '"':
			w.out.Text = append(w.out.Text, '\\', '"')
			i++
			w.part(i)
		case c == '\\' && w.ends(i+1):
			return i + 1, Truncated
		case c == '\\':
			i = w.escape(i)
		case c < ' ' && w.ControlChars:
			w.out.Text = appendEscaped(w.out.Text, rune(c))
			i++
			w.part(i)
		default:
			w.out.Text = append(w.out.Text, c)
			i++
		}
	}
}

// escape copies the escape at i, or the character behind the backslash where JSON has no such escape.
func (w *rewriter) escape(i int) int {
	c := w.s.Text[i+1]
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't', 'u':
		w.out.Text = append(w.out.Text, '\\', c)
		return i + 2
	}
	if !w.AnyEscape && !(c == '\'' && w.SingleQuotes) {
		w.out.Text = append(w.out.Text, '\\')
		return i + 1
	}
	if c < ' ' && !w.ControlChars {
		w.out.Text = append(w.out.Text, c) // the scanner will refuse it
		return i + 2
	}
	if c < utf8.RuneSelf {
		w.out.Text = appendEscaped(w.out.Text, rune(c))
	} else {
		w.out.Text = append(w.out.Text, c)
	}
	w.part(i + 2)
	return i + 2
}

// bareName copies a name that has no quotes.
func (w *rewriter) bareName(i int) int {
	w.out.Text = append(w.out.Text, '"')
	w.part(i)
	for ; i < w.s.End && isNameByte(w.s.Text[i]); i++ {
		w.out.Text = append(w.out.Text, w.s.Text[i])
	}
	w.out.Text = append(w.out.Text, '"')
	w.part(i)
	w.name = false
	return i
}

// isNameByte is true for what a name without quotes may be made of. Source: Jackson's
// CharTypes.getInputCodeLatin1JsNames.
func isNameByte(c byte) bool {
	switch {
	case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c >= utf8.RuneSelf:
		return true
	case c == '_', c == '$', c == '@', c == '#', c == '*', c == '-', c == '+':
		return true
	}
	return false
}

// number copies the digits at i without leading zeros. What precedes them is copied already, and what
// may follow them is copied as it comes.
func (w *rewriter) number(i int) int {
	b := w.s.Text
	if last := len(w.out.Text) - 1; w.LeadingZeros && (last < 0 || !isNumberTail(w.out.Text[last]) || w.out.Text[last] == '-') {
		start := i
		for b[i] == '0' && b[i+1]-'0' <= 9 {
			i++
		}
		if i > start {
			w.part(i)
		}
	}
	for ; i < w.s.End && isNumberTail(b[i]); i++ {
		w.out.Text = append(w.out.Text, b[i])
	}
	return i
}

// comment returns the end of the comment at i, where a slash and a slash or a star stand.
func (s *Scanner) comment(i int) (end int, why Reason) {
	line := s.Text[i+1] == '/'
	for i += 2; i < s.End; i++ {
		c := s.Text[i]
		switch {
		case c == '\n' || c == '\r':
			if line {
				return i, None
			}
			if s.Space == Lines {
				return i, Truncated
			}
		case !line && c == '*' && i+1 < s.End && s.Text[i+1] == '/':
			return i + 2, None
		}
	}
	if line && s.Space == Lines {
		return i, None
	}
	return i, Truncated
}

// Skip returns the offset of the first byte at or after i that is no blank and in no comment, if there
// may be comments. A comment that does not end is left for the value that it stands before.
func (s *Scanner) Skip(i int, comments bool) int {
	for i = s.Blank(i); comments && s.Text[i] == '/' && (s.Text[i+1] == '/' || s.Text[i+1] == '*'); i = s.Blank(i) {
		end, why := s.comment(i)
		if why != None {
			return i
		}
		i = end
	}
	return i
}
