package decode

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// pattern reads dates and times by a pattern of letters, as Java's DateTimeFormatter does under Spark:
// strictly, with names in English and in any case. A fraction may have fewer digits than letters. What
// the pattern does not say is 1970, January, the 1st, or midnight.
//
// Source: java.time.format.DateTimeFormatter, "Patterns for Formatting and Parsing"; Spark, "Datetime
// Patterns for Formatting and Parsing".
type pattern struct{ parts []part }

// part is a letter and how often it stands there, a literal text, or an optional section.
type part struct {
	letter   byte // 0 for a literal, '[' for a section
	n        int
	literal  string
	optional []part
	// adjacent means that another number follows at once, so that this one has no more than n digits.
	adjacent bool
}

const numericLetters = "yuMLdDHhmsSQ"

// ParsePattern checks a pattern of letters.
func ParsePattern(text string) error {
	_, err := parsePattern(text)
	return err
}

func parsePattern(text string) (*pattern, error) {
	parts, rest, err := partsOf(text, 0)
	if err == nil && rest != "" {
		err = fmt.Errorf("pattern %q: ] without [", text)
	}
	if err != nil {
		return nil, err
	}
	return &pattern{parts}, nil
}

// partsOf reads parts up to the end, or to the bracket that closes a section.
func partsOf(text string, depth int) (parts []part, rest string, err error) {
	for text != "" {
		c := text[0]
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
			n := len(text) - len(strings.TrimLeft(text, string(c)))
			if err := checkLetter(c, n); err != nil {
				return nil, "", err
			}
			p := part{letter: c, n: n}
			if k := len(parts) - 1; k >= 0 && parts[k].isNumber() && p.isNumber() {
				parts[k].adjacent = true
			}
			parts, text = append(parts, p), text[n:]
		case c == '\'':
			var literal string
			if literal, text, err = quoted(text[1:]); err != nil {
				return nil, "", err
			}
			parts = append(parts, part{literal: literal})
		case c == '[':
			var inner []part
			if inner, text, err = partsOf(text[1:], depth+1); err != nil {
				return nil, "", err
			}
			if text == "" {
				return nil, "", fmt.Errorf("a [ is not closed")
			}
			parts, text = append(parts, part{letter: '[', optional: inner}), text[1:]
		case c == ']' && depth > 0:
			return parts, text, nil
		case c == ']':
			return parts, text, nil
		case c == '{' || c == '}' || c == '#':
			return nil, "", fmt.Errorf("%q must be quoted in a pattern", string(c))
		default:
			_, n := utf8.DecodeRuneInString(text)
			parts, text = append(parts, part{literal: text[:n]}), text[n:]
		}
	}
	return parts, "", nil
}

// quoted reads a literal behind its opening quote; two quotes are one.
func quoted(text string) (literal, rest string, err error) {
	if strings.HasPrefix(text, "'") {
		return "'", text[1:], nil
	}
	for {
		k := strings.IndexByte(text, '\'')
		if k < 0 {
			return "", "", fmt.Errorf("a quote is not closed")
		}
		literal += text[:k]
		if text = text[k+1:]; !strings.HasPrefix(text, "'") {
			return literal, text, nil
		}
		literal, text = literal+"'", text[1:]
	}
}

// mostLetters is how often a letter may stand in a row.
var mostLetters = map[byte]int{
	'y': 9, 'u': 9, 'M': 4, 'L': 4, 'd': 2, 'D': 3, 'H': 2, 'h': 2, 'm': 2, 's': 2, 'S': 9, 'a': 1, 'E': 4,
	'z': 4, 'V': 2, 'X': 3, 'x': 3, 'Z': 3, 'Q': 2,
}

func checkLetter(c byte, n int) error {
	most, ok := mostLetters[c]
	switch {
	case !ok:
		return fmt.Errorf("the pattern letter %s is not supported; use y M d D H h m s S a E Q z V X x Z", string(c))
	case n > most:
		return fmt.Errorf("%s stands %d times in a row, at most %d are supported", string(c), n, most)
	case c == 'V' && n != 2:
		return fmt.Errorf("the pattern letter V must stand twice")
	}
	return nil
}

func (p part) isNumber() bool {
	if p.letter == 0 || strings.IndexByte(numericLetters, p.letter) < 0 {
		return false
	}
	return p.letter != 'M' && p.letter != 'L' || p.n <= 2
}

// moment is what a pattern read.
type moment struct {
	year, month, day, yearDay     int
	hour, hour12, minute, second  int // hours are -1 when not given
	nanos, weekday, quarter, half int
	zone                          *time.Location
}

// parse reads the whole text.
func (p *pattern) parse(text []byte) (m moment, ok bool) {
	m = moment{year: 1970, month: 1, day: 1, hour: -1, hour12: -1, weekday: -1}
	rest, ok := m.read(p.parts, text)
	return m, ok && len(rest) == 0
}

func (m *moment) read(parts []part, text []byte) (rest []byte, ok bool) {
	for _, p := range parts {
		switch p.letter {
		case 0:
			if text, ok = bytes.CutPrefix(text, []byte(p.literal)); !ok {
				if len(text) < len(p.literal) || !strings.EqualFold(string(text[:len(p.literal)]), p.literal) {
					return nil, false
				}
				text = text[len(p.literal):]
			}
		case '[':
			inner := *m
			if after, ok := inner.read(p.optional, text); ok {
				*m, text = inner, after
			}
		default:
			if text, ok = m.field(p, text); !ok {
				return nil, false
			}
		}
	}
	return text, true
}

// field reads what one run of letters stands for.
func (m *moment) field(p part, b []byte) (rest []byte, ok bool) {
	switch p.letter {
	case 'y', 'u':
		return m.readYear(p, b)
	case 'M', 'L':
		if p.n > 2 {
			return name(b, &m.month, months[:], p.n == 3, 1)
		}
		return digits(b, &m.month, p.n, max(p.n, 2))
	case 'd':
		return digits(b, &m.day, p.n, 2)
	case 'D':
		return digits(b, &m.yearDay, p.n, 3)
	case 'H':
		return digits(b, &m.hour, p.n, 2)
	case 'h':
		return digits(b, &m.hour12, p.n, 2)
	case 'm':
		return digits(b, &m.minute, p.n, 2)
	case 's':
		return digits(b, &m.second, p.n, 2)
	case 'S':
		return m.readFraction(p, b)
	case 'Q':
		return digits(b, &m.quarter, p.n, 2)
	case 'a':
		return name(b, &m.half, []string{"AM", "PM"}, false, 0)
	case 'E':
		return name(b, &m.weekday, weekdays[:], p.n < 4, 0)
	case 'X', 'x', 'Z':
		return m.readOffset(p, b)
	}
	return m.readZone(b)
}

func digits(b []byte, to *int, lo, hi int) (rest []byte, ok bool) {
	n, i := 0, 0
	for i < len(b) && i < hi && b[i]-'0' <= 9 {
		n = n*10 + int(b[i]-'0')
		i++
	}
	*to = n
	return b[i:], i >= lo
}

func (m *moment) readYear(p part, b []byte) (rest []byte, ok bool) {
	switch {
	case p.n == 2:
		rest, ok = digits(b, &m.year, 2, 2)
		m.year += 2000
		return rest, ok
	case p.adjacent:
		return digits(b, &m.year, p.n, max(p.n, 1))
	}
	return digits(b, &m.year, p.n, 9)
}

func (m *moment) readFraction(p part, b []byte) (rest []byte, ok bool) {
	i := 0
	m.nanos = 0
	for n := range 9 {
		m.nanos *= 10
		if n == i && i < p.n && i < len(b) && b[i]-'0' <= 9 {
			m.nanos += int(b[i] - '0')
			i++
		}
	}
	return b[i:], i > 0
}

var (
	months = [...]string{"January", "February", "March", "April", "May", "June", "July", "August", "September",
		"October", "November", "December"}
	weekdays = [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
)

// name reads one of the names, or of their first three letters, and counts them from first.
func name(b []byte, to *int, names []string, short bool, first int) (rest []byte, ok bool) {
	for i, n := range names {
		if short {
			n = n[:3]
		}
		if len(b) >= len(n) && strings.EqualFold(string(b[:len(n)]), n) {
			*to = i + first
			return b[len(n):], true
		}
	}
	return nil, false
}

// readOffset reads an offset: X1 is +hh with or without mm, X2 +hhmm, X3 +hh:mm, all of them or Z; x is
// the same without Z; Z1 to Z3 are +hhmm.
func (m *moment) readOffset(p part, b []byte) (rest []byte, ok bool) {
	if p.letter == 'X' && len(b) > 0 && (b[0] == 'Z' || b[0] == 'z') {
		m.zone = time.UTC
		return b[1:], true
	}
	if len(b) == 0 || b[0] != '+' && b[0] != '-' {
		return nil, false
	}
	var hour, minute int
	if rest, ok = digits(b[1:], &hour, 2, 2); !ok {
		return nil, false
	}
	colon := p.n == 3 && p.letter != 'Z'
	after, more := bytes.CutPrefix(rest, []byte(":"))
	if more != colon {
		after = rest
	}
	if after, ok = digits(after, &minute, 2, 2); ok && more == colon {
		rest = after
	} else if p.n > 1 || p.letter == 'Z' {
		return nil, false
	} else {
		minute = 0
	}
	if hour > 18 || minute > 59 {
		return nil, false
	}
	seconds := hour*3600 + minute*60
	if b[0] == '-' {
		seconds = -seconds
	}
	m.zone = time.FixedZone("", seconds)
	return rest, true
}

// shortZones are the abbreviations that Java knows and time.LoadLocation does not.
var shortZones = map[string]string{
	"EDT": "America/New_York", "EST": "America/New_York", "CST": "America/Chicago", "CDT": "America/Chicago",
	"MST": "America/Denver", "MDT": "America/Denver", "PST": "America/Los_Angeles", "PDT": "America/Los_Angeles",
	"CET": "Europe/Paris", "CEST": "Europe/Paris", "BST": "Europe/London", "IST": "Asia/Kolkata", "JST": "Asia/Tokyo",
}

// readZone reads the name of a zone, or UTC, GMT or Z.
func (m *moment) readZone(b []byte) (rest []byte, ok bool) {
	n := 0
	for n < len(b) && (b[n]|0x20-'a' < 26 || b[n]-'0' <= 9 || bytes.IndexByte([]byte("/_+-:"), b[n]) >= 0) {
		n++
	}
	id := string(b[:n])
	if m.zone, ok = zoneOf(id); ok {
		return b[n:], true
	}
	if long, known := shortZones[id]; known {
		id = long
	}
	loc, err := time.LoadLocation(id)
	m.zone = loc
	return b[n:], err == nil && id != ""
}

// days returns the days since 1970, if there is such a day.
func (m *moment) days() (days int64, ok bool) {
	if m.year < minYear || m.year > maxYear {
		return 0, false
	}
	if m.yearDay > 0 {
		t := time.Date(m.year, 1, m.yearDay, 0, 0, 0, 0, time.UTC)
		if t.Year() != m.year {
			return 0, false
		}
		m.month, m.day = int(t.Month()), t.Day()
	}
	if m.month < 1 || m.month > 12 || m.day < 1 || m.day > daysIn(m.year, m.month) {
		return 0, false
	}
	if m.quarter != 0 && m.quarter != (m.month+2)/3 {
		return 0, false
	}
	days = daysSinceEpoch(m.year, m.month, m.day)
	if m.weekday >= 0 && int64(m.weekday) != ((days+4)%7+7)%7 {
		return 0, false
	}
	return days, true
}

// micros returns the microseconds since 1970 that clocks show.
func (m *moment) micros() (micros int64, ok bool) {
	days, ok := m.days()
	if m.hour12 >= 0 && m.hour < 0 {
		if m.hour12 < 1 || m.hour12 > 12 {
			return 0, false
		}
		m.hour = m.hour12%12 + 12*m.half
	}
	m.hour = max(m.hour, 0)
	if !ok || m.hour > 23 || m.minute > 59 || m.second > 59 {
		return 0, false
	}
	return (days*24*3600+int64(m.hour*3600+m.minute*60+m.second))*1_000_000 + int64(m.nanos/1000), true
}

// formats are the patterns that the options give. The zero value reads as time.go says.
type formats struct {
	date, timestamp, ntz *pattern
	fallback             bool // also read what is not of a pattern's form
}

func (o *Options) formats() (f formats, err error) {
	f.fallback = o.DateFallback
	for _, x := range []struct {
		text string
		to   **pattern
	}{{o.DateFormat, &f.date}, {o.TimestampFormat, &f.timestamp}, {o.NTZFormat, &f.ntz}} {
		if x.text == "" {
			continue
		}
		if *x.to, err = parsePattern(x.text); err != nil {
			return f, err
		}
	}
	return f, nil
}

// parseDate returns the days since 1970 of a date.
func (f *formats) parseDate(text []byte) (days int32, ok bool) {
	if f.date != nil {
		if m, ok := f.date.parse(text); ok {
			d, ok := m.days()
			return int32(d), ok
		}
		if !f.fallback {
			return 0, false
		}
	}
	return parseDate(text)
}

// parseTimestamp is as the function of this name, by the pattern if there is one.
func (f *formats) parseTimestamp(text []byte, loc *time.Location, zoned bool) (micros int64, ok bool) {
	p := f.ntz
	if zoned {
		p = f.timestamp
	}
	if p != nil {
		if m, ok := p.parse(text); ok && (zoned || m.zone == nil) {
			micros, ok := m.micros()
			if m.zone != nil {
				loc = m.zone
			}
			if zoned {
				micros = inZone(micros, loc)
			}
			return micros, ok
		}
		if !f.fallback {
			return 0, false
		}
	}
	return parseTimestamp(text, loc, zoned)
}
