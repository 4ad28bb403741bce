package checkpoint

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// quickLine reads a line of a list as encode writes it: its fields in their order, with nothing between
// them and no escapes. Of a batch of many files that is nearly all that there is to read. What it reads is
// what encoding/json would; a line that is written in another way is left to that.
type quickLine struct {
	rest []byte
	odd  bool // the line is not one of those
}

// field passes over the start of a field, and reports whether it is the next one.
func (q *quickLine) field(start string) bool {
	if len(q.rest) < len(start) || string(q.rest[:len(start)]) != start {
		return false
	}
	q.rest = q.rest[len(start):]
	return true
}

// bytes is the text of a field, of which start ends in the quote; nil when it is not there.
func (q *quickLine) bytes(start string) []byte {
	if !q.field(start) {
		return nil
	}
	end := bytes.IndexByte(q.rest, '"')
	if end < 0 {
		q.odd = true
		return nil
	}
	text := q.rest[:end]
	q.rest = q.rest[end+1:]
	ascii := true
	for _, c := range text {
		if c < ' ' || c == '\\' {
			q.odd = true
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if !ascii && !utf8.Valid(text) {
		q.odd = true
	}
	return text
}

func (q *quickLine) number(start string) (n int64) {
	if !q.field(start) {
		return 0
	}
	i := 0
	for ; i < len(q.rest) && '0' <= q.rest[i] && q.rest[i] <= '9'; i++ {
		n = 10*n + int64(q.rest[i]-'0')
	}
	if i == 0 || i > 18 || i > 1 && q.rest[0] == '0' { // 19 digits can be too many for 64 bits
		q.odd = true
	}
	q.rest = q.rest[i:]
	return n
}

func (q *quickLine) time(start string) (t time.Time) {
	text := q.bytes(start)
	if text == nil || t.UnmarshalText(text) != nil {
		q.odd = true
	}
	return t
}

// end reports whether the whole line was read.
func (q *quickLine) end() bool {
	return !q.odd && (string(q.rest) == "}\n" || string(q.rest) == "}")
}

func quickFile(line []byte) (l fileLine, ok bool) {
	q := quickLine{rest: line}
	l.Key = string(q.bytes(`{"key":"`))
	l.Size = q.number(`,"size":`)
	l.ModTime = q.time(`,"modTime":"`)
	l.ETag = string(q.bytes(`,"etag":"`))
	l.VersionID = string(q.bytes(`,"versionId":"`))
	return l, q.end()
}

func quickOutcome(line []byte) (l outcomeLine, ok bool) {
	q := quickLine{rest: line}
	l.Key = string(q.bytes(`{"key":"`))
	l.ETag = string(q.bytes(`,"etag":"`))
	l.State = stateOf(q.bytes(`,"state":"`))
	l.Records = q.number(`,"records":`)
	l.Rows = q.number(`,"rows":`)
	l.Bad = q.number(`,"bad":`)
	l.Rescued = q.number(`,"rescued":`)
	l.Tries = int(q.number(`,"tries":`))
	l.Error = string(q.bytes(`,"error":"`))
	return l, q.end() && int64(l.Tries) < 1<<31
}

// stateOf is the text, without a copy of it for the state of nearly every file.
func stateOf(text []byte) FileState {
	if string(text) == string(Loaded) {
		return Loaded
	}
	return FileState(text)
}
