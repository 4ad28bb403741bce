// Package jsonscan finds the tokens of JSON text, and converts them, without building a tree.
//
// A [Scanner] works on a text in memory by offset: each method takes the offset of a token and
// returns the offset behind it, or [Bad] after noting in the Scanner where and why the text is not
// JSON. It accepts exactly RFC 8259 with UTF-8, and nothing is allocated on the way.
//
// The scanner never asks whether it is at the end. The text is followed by a byte that no token can
// contain (see [Scanner.Text]), so every loop stops there by itself.
package jsonscan

import (
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Bad is returned in place of an offset when the text is not JSON.
const Bad = -1

// Padding is the number of bytes that must be readable behind the end of a text. Their content does
// not matter, except for the first one.
const Padding = 8

// The blanks between tokens, as sets of bytes below 64.
const (
	// Lines are blanks when a record is a line: a line feed or a carriage return ends it.
	Lines uint64 = 1<<' ' | 1<<'\t'
	// Anywhere are all blanks that JSON has.
	Anywhere = Lines | 1<<'\n' | 1<<'\r'
)

// Reason says why a text is not JSON.
type Reason uint8

// The reasons. Truncated means that the text ends inside a value and could go on.
const (
	None Reason = iota
	Truncated
	NoValue
	NoName
	NoColon
	NoComma
	TrailingComma
	ControlCharacter
	Escape
	InvalidUTF8
	Number
	Literal
	TooDeep
	NotAnObject
	TooLong
	NumberTooLong
	StringTooLong
	NotOnPath
	AfterRecords
	RepeatedKey
	TooMany
	Misfit
)

var reasons = [...]string{
	None:             "no error",
	Truncated:        "the text ends inside a value",
	NoValue:          "a value is expected here",
	NoName:           "a name in double quotes is expected here",
	NoColon:          "a colon is expected after a name",
	NoComma:          "a comma or a closing bracket is expected here",
	TrailingComma:    "a comma stands before a closing bracket",
	ControlCharacter: "a control character stands in a string",
	Escape:           "an unknown escape stands in a string",
	InvalidUTF8:      "a string is not valid UTF-8",
	Number:           "this is not a JSON number",
	Literal:          "only true, false and null may stand without quotes",
	TooDeep:          "the nesting is too deep",
	NotAnObject:      "a record must be an object",
	TooLong:          "the record is longer than the limit",
	NumberTooLong:    "a number has more digits than the limit",
	StringTooLong:    "a string is longer than the limit",
	RepeatedKey:      "an object has a key twice",
	TooMany:          "the record has more values than the limit on its length allows",
	Misfit:           "a value does not fit its column",
	NotOnPath:        "the record path leads into a container of another kind",
	AfterRecords:     "a member that is to be kept comes behind the records of an envelope too large to be read twice",
}

func (r Reason) String() string { return reasons[r] }

// Scanner scans one text at a time. The fields may be set at will between calls.
type Scanner struct {
	// Text holds the text in Text[:End], and at least Padding bytes more. Text[End] is a byte that is
	// neither a blank nor part of a token: a line feed if Space is Lines, else NUL.
	Text []byte
	End  int
	// Space is the set of blanks: Lines or Anywhere.
	Space uint64
	// MaxDepth is the number of arrays and objects that may be open at once.
	MaxDepth int
	// MaxNumber is the number of characters that a number may have, its sign not counted, and MaxString
	// that of UTF-16 code units in a string value; 0 is no limit. Source: Jackson's
	// StreamReadConstraints.
	MaxNumber, MaxString int
	// NonNumeric takes NaN and the infinities for numbers, see [Scanner.Number].
	NonNumeric bool

	// At and Why are the place and the reason of the last Bad.
	At  int
	Why Reason
}

// Reset makes the scanner scan a copy of text.
func (s *Scanner) Reset(text []byte) {
	s.Text = append(append(s.Text[:0], text...), make([]byte, Padding)...)
	s.End = len(text)
	if s.Space == Lines {
		s.Text[s.End] = '\n'
	}
}

// Fail notes that the text is not JSON at offset i, and returns Bad.
func (s *Scanner) Fail(i int, why Reason) int {
	if i >= s.End {
		i, why = s.End, Truncated
	}
	s.At, s.Why = i, why
	return Bad
}

// Blank returns the offset of the first byte at or after i that is no blank.
func (s *Scanner) Blank(i int) int {
	for s.Text[i] <= ' ' && s.Space>>s.Text[i]&1 != 0 {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stringStops marks, in the high bit of each byte, the quotes, backslashes and control characters of w.
// Only the lowest mark is exact.
//
// What is below 0x21 after its bit 1 was turned is a control character, or the quote 0x22.
func stringStops(w uint64) uint64 {
	return ((w ^ ones*2 - ones*0x21) | (w ^ ones*'\\' - ones)) &^ w & highs
}

// StringInfo says what a string contains.
type StringInfo uint8

// Escaped strings must be unescaped; the others can be copied.
const (
	Escaped StringInfo = 1 << iota
	nonASCII
)

// String returns the end of the string whose opening quote is at i, behind its closing quote.
func (s *Scanner) String(i int) (end int, info StringInfo) {
	b := s.Text
	start := i + 1
	i = start
	for {
		w := Load(b, i)
		stop := stringStops(w)
		if stop == 0 {
			if w&highs != 0 {
				info |= nonASCII
			}
			i += 8
			continue
		}
		n := bits.TrailingZeros64(stop) / 8
		if w&highs&(1<<(8*n)-1) != 0 {
			info |= nonASCII
		}
		i += n
		switch {
		case b[i] == '"':
			if info&nonASCII != 0 && !utf8.Valid(b[start:i]) {
				return s.Fail(start+invalidUTF8(b[start:i]), InvalidUTF8), 0
			}
			return i + 1, info
		case b[i] == '\\':
			info |= Escaped
			if i = s.escape(i); i < 0 {
				return Bad, 0
			}
		default:
			return s.Fail(i, ControlCharacter), 0
		}
	}
}

// Fits returns end, the end of the string at i, unless the string is longer than MaxString.
func (s *Scanner) Fits(i, end int) int {
	if s.MaxString <= 0 || end-i-2 <= s.MaxString {
		return end
	}
	units := 0
	for raw := s.Text[i+1 : end-1]; len(raw) > 0; units++ {
		switch c := raw[0]; {
		case c == '\\' && raw[1] == 'u':
			raw = raw[6:]
		case c == '\\':
			raw = raw[2:]
		default:
			_, n := utf8.DecodeRune(raw)
			if n == 4 {
				units++
			}
			raw = raw[n:]
		}
	}
	if units > s.MaxString {
		return s.Fail(i, StringTooLong)
	}
	return end
}

// escape returns the end of the escape that starts at i.
func (s *Scanner) escape(i int) int {
	switch s.Text[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= s.End || hexDigit(s.Text[j]) < 0 {
				return s.Fail(j, Escape)
			}
		}
		return i + 6
	}
	return s.Fail(i+1, Escape)
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// Literal returns the end of the token true, false or null at i.
func (s *Scanner) Literal(i int) int {
	switch w := Load(s.Text, i); {
	case uint32(w) == wordNull, uint32(w) == wordTrue:
		return i + 4
	case w<<24 == wordFalse<<24:
		return i + 5
	}
	return s.badLiteral(i)
}

// The words as Load returns them.
const (
	wordNull  = 'n' | 'u'<<8 | 'l'<<16 | 'l'<<24
	wordTrue  = 't' | 'r'<<8 | 'u'<<16 | 'e'<<24
	wordFalse = uint64('f' | 'a'<<8 | 'l'<<16 | 's'<<24 | 'e'<<32)
)

// badLiteral finds where the token at i ceases to be one of the words.
func (s *Scanner) badLiteral(i int) int {
	word := "null"
	switch s.Text[i] {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	}
	for j := range len(word) {
		if s.Text[i+j] != word[j] {
			return s.Fail(i+j, Literal)
		}
	}
	return i + len(word)
}

// Value returns the end of the value that starts at i, which is no blank. It checks everything that
// is in it. Depth is the number of arrays and objects that are open around it.
func (s *Scanner) Value(i, depth int) int {
	switch c := s.Text[i]; c {
	case '"':
		end, _ := s.String(i)
		if end-i > s.MaxString && s.MaxString > 0 {
			return s.Fits(i, end)
		}
		return end
	case '{':
		return s.object(i, depth+1)
	case '[':
		return s.array(i, depth+1)
	case 't', 'f', 'n':
		return s.Literal(i)
	default:
		if c == '-' || '0' <= c && c <= '9' || s.NonNumeric && (c == 'N' || c == 'I' || c == '+') {
			_, end := s.Number(i)
			return end
		}
		return s.Fail(i, NoValue)
	}
}

func (s *Scanner) object(i, depth int) int {
	if depth > s.MaxDepth {
		return s.Fail(i, TooDeep)
	}
	if i = s.Blank(i + 1); s.Text[i] == '}' {
		return i + 1
	}
	for {
		_, _, value := s.Name(i)
		if value < 0 {
			return Bad
		}
		end := s.Value(value, depth)
		if end < 0 {
			return Bad
		}
		i = s.Blank(end)
		switch s.Text[i] {
		case ',':
			if i = s.Blank(i + 1); s.Text[i] == '}' {
				return s.Fail(i, TrailingComma)
			}
		case '}':
			return i + 1
		default:
			return s.Fail(i, NoComma)
		}
	}
}

// Name returns, for the member that starts at i, the end of its name, what the name contains, and the
// offset of its value. The value is Bad when the text is not JSON.
func (s *Scanner) Name(i int) (end int, info StringInfo, value int) {
	if s.Text[i] != '"' {
		return Bad, 0, s.Fail(i, NoName)
	}
	if end, info = s.String(i); end < 0 {
		return Bad, 0, Bad
	}
	i = s.Blank(end)
	if s.Text[i] != ':' {
		return Bad, 0, s.Fail(i, NoColon)
	}
	return end, info, s.Blank(i + 1)
}

func (s *Scanner) array(i, depth int) int {
	if depth > s.MaxDepth {
		return s.Fail(i, TooDeep)
	}
	if i = s.Blank(i + 1); s.Text[i] == ']' {
		return i + 1
	}
	for {
		end := s.Value(i, depth)
		if end < 0 {
			return Bad
		}
		i = s.Blank(end)
		switch s.Text[i] {
		case ',':
			if i = s.Blank(i + 1); s.Text[i] == ']' {
				return s.Fail(i, TrailingComma)
			}
		case ']':
			return i + 1
		default:
			return s.Fail(i, NoComma)
		}
	}
}

// A SyntaxError says where and why a text is not JSON.
type SyntaxError struct {
	Offset int64 // in bytes from the start of the file
	Line   int64 // from 1
	Reason Reason
}

func (e *SyntaxError) Error() string {
	return "line " + strconv.FormatInt(e.Line, 10) + ", byte " + strconv.FormatInt(e.Offset, 10) + ": " + e.Reason.String()
}
