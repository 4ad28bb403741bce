package decode

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/schema"
)

// parser reads records into columns.
//
// It is one recursive descent over the text, led by the schema: the key of each member is compared
// with the field that follows the last one, and the value is converted where it stands and appended
// to its column. There is no tree and no second pass, and a record allocates nothing.
//
// What has no column or does not fit one is cut from the text by offset into the rescued text, which
// is built from the inside out: a container that finds the text longer than it was at its start puts
// its own brackets, and its parent the key, around what came. So the way of a good record does not
// know of rescue.
//
// Every method that reads a value returns the offset behind it, or misfit when the value is JSON but
// not of the column's type (nothing was appended then), or corrupt when the text is not JSON.
type parser struct {
	jsonscan.Scanner
	opts     *Options
	root     *column
	location *time.Location // of timestamps without a zone
	formats
	separators separators

	position Position // of the record being read
	rescued  []byte   // the rescued text of the record, so far
	unknown  []unknown
	misfits  []misfitting
	// misfitted says, under Options.Strict, that the last record has a value that does not fit, the first
	// of them at misfitAt.
	misfitted bool
	misfitAt  int
	// repeated is set when a key of the record came twice. The record is then read again with spans,
	// so that a value can be taken back.
	repeated bool
	spans    []span
	// named are the members of open objects that are in the rescued text, when one key must not be
	// there twice.
	named []namedMember

	// cells is the number of values in the lists and maps of the record, NULLs of their structs included,
	// and maxCells the most that a record may have: {} takes a byte or two of the text, and in a list of
	// structs the memory of all their fields.
	cells, maxCells int
	limits          *limits // of what is observed

	plain       []byte // what is read in place of the last record
	envelope    []byte // the member that is added to a record
	nameBuffer  []byte
	valueBuffer []byte

	// quickNumber and quickString are the characters of a number, and the bytes of a string, up to which
	// no limit asks for a look at them.
	quickNumber, quickString int

	isLenient bool
	rewritten jsonscan.Rewritten // the last record that was read leniently
	written   []byte             // the text that rewritten was made of, while that is read
	// settled is set when something was observed of the last record.
	settled bool
	// respelled is set when a number was written as one would write a value of another type.
	respelled bool

	variants variants
}

const (
	corrupt = jsonscan.Bad
	misfit  = -2
)

// unknown is a member for which its struct has no column.
type unknown struct {
	parent    *column
	name, end int // of the key with its quotes
	info      jsonscan.StringInfo
	value     int
}

// misfitting is a value that does not fit its column.
type misfitting struct {
	c     *column
	value int
}

// span is where the value that a column now holds was read.
type span struct {
	c             *column
	row           int
	name, nameEnd int // of the key with its quotes
	start, end    int
	from, to      int // what was rescued inside of it, with its key, in the rescued text
}

// namedMember is a member in the rescued text.
type namedMember struct {
	name, nameEnd int // in the record
	start, end    int // of the value in the rescued text
}

// record reads the object at i as one row. When it returns corrupt, no trace of the record is left.
func (p *parser) record(i int) int {
	row := p.root.n
	switch {
	case p.opts.Unwrap != "":
		return p.unwrapped(i, row)
	case len(p.envelope) > 0:
		return p.enveloped(i, row)
	}
	end := p.strict(i, row)
	if end < 0 && p.isLenient {
		return p.lenient(i, row)
	}
	if end-i > p.opts.MaxRecord {
		p.rollback(row)
		return p.Fail(i, jsonscan.TooLong)
	}
	if len(p.unknown)+len(p.misfits) > 0 {
		p.settle()
	}
	return end
}

// strict is record for text that is JSON, and settles nothing.
func (p *parser) strict(i, row int) int {
	end := p.tryRecord(i, row)
	if end == corrupt && p.repeated {
		p.rollback(row)
		end = p.tryRecord(i, row)
	}
	p.repeated = false
	if end == corrupt {
		p.rollback(row)
	}
	return end
}

func (p *parser) tryRecord(i, row int) int {
	p.forget(traces{})
	p.cells = 0
	if p.opts.Variant {
		p.root.appended()
		p.root.kids[0].fill(row) // corrupt records before it have a row and no value
		end := p.variant(i, p.root.kids[0], 0)
		if end == misfit {
			return p.Fail(i, jsonscan.RepeatedKey)
		}
		return end
	}
	if p.Text[i] != '{' {
		if p.Value(i, 0) < 0 {
			return corrupt
		}
		return p.Fail(i, jsonscan.NotAnObject)
	}
	p.root.appended()
	return p.object(i, p.root, row, 1)
}

func (p *parser) rollback(row int) {
	p.root.truncate(row)
	p.forget(traces{})
}

// traces are the lengths of what a record leaves behind beside its columns.
type traces struct{ rescued, unknown, misfits, spans, named int }

func (p *parser) traces() traces {
	return traces{len(p.rescued), len(p.unknown), len(p.misfits), len(p.spans), len(p.named)}
}

// forget takes back what was left behind since t.
func (p *parser) forget(t traces) {
	p.rescued, p.unknown, p.misfits = p.rescued[:t.rescued], p.unknown[:t.unknown], p.misfits[:t.misfits]
	p.spans, p.named = p.spans[:t.spans], p.named[:t.named]
}

// slim gives up buffers that an unusually long record made large.
func (p *parser) slim() {
	p.rescued, p.plain, p.valueBuffer = slim(p.rescued), slim(p.plain), slim(p.valueBuffer)
	p.unknown, p.misfits, p.spans, p.named = slim(p.unknown), slim(p.misfits), slim(p.spans), slim(p.named)
	if cap(p.rewritten.Text) > largeBuffer {
		p.rewritten = jsonscan.Rewritten{}
	}
}

// object reads the object at i into the kids of c. The row of c is there already.
func (p *parser) object(i int, c *column, row, depth int) int {
	if depth > p.MaxDepth {
		return p.Fail(i, jsonscan.TooDeep)
	}
	b := p.Text
	if i++; b[i] <= ' ' {
		i = p.Blank(i)
	}
	if b[i] == '}' {
		return i + 1
	}
	mark, named := len(p.rescued), len(p.named)
	expected := &c.first
	for {
		if jsonscan.At(b, i) != '"' {
			return p.Fail(i, jsonscan.NoName)
		}
		name, before := i, len(p.rescued)
		kid := *expected
		var info jsonscan.StringInfo
		if kid != nil && jsonscan.Load(b, i+1)&kid.mask == kid.word && (len(kid.name) < 8 || kid.hasRest(b, i+1)) {
			i += len(kid.name) + 2
		} else if kid, i, info = p.lookup(c, i); i < 0 {
			return corrupt
		} else if kid != nil {
			*expected = kid
		}
		nameEnd := i
		if jsonscan.At(b, i) != ':' {
			if i = p.Blank(i); b[i] != ':' {
				return p.Fail(i, jsonscan.NoColon)
			}
		}
		if i++; jsonscan.At(b, i) <= ' ' {
			i = p.Blank(i)
		}
		value := i
		if kid != nil {
			expected = &kid.next
		}
		if kid == nil || kid.n > row || p.repeated {
			i = p.member(member{unknown{c, name, nameEnd, info, value}, before, mark, named}, kid, row, depth)
		} else if i = p.value(i, kid, row, depth); i < 0 || len(p.rescued) > before {
			i = p.finish(member{unknown{c, name, nameEnd, info, value}, before, mark, named}, kid, i, depth)
		}
		if i < 0 {
			return corrupt
		}
		if jsonscan.At(b, i) <= ' ' {
			i = p.Blank(i)
		}
		if jsonscan.At(b, i) == ',' {
			if i++; jsonscan.At(b, i) <= ' ' {
				i = p.Blank(i)
			}
			continue
		}
		if b[i] != '}' {
			return p.Fail(i, jsonscan.NoComma)
		}
		p.named = p.named[:named]
		if len(p.rescued) > mark {
			p.insertRescued(mark, "{")
			p.rescued = append(p.rescued, '}')
		}
		return i + 1
	}
}

// member is one of an object, and what was rescued before it and before the object.
type member struct {
	unknown
	before, mark, named int
}

// member reads the value of a member that has no column, or a column that has the row already, or any
// when there are spans to note.
func (p *parser) member(m member, kid *column, row, depth int) int {
	var end int
	if kid == nil {
		end = p.Value(m.value, depth)
		if end < 0 {
			return corrupt
		}
		p.rescueUnknown(m.parent, m.mark, m.named, m.unknown, end)
		return end
	}
	var replaced *span
	if kid.n > row {
		end, replaced = p.again(kid, row, depth, m.value)
	} else {
		end = p.value(m.value, kid, row, depth)
	}
	fits := end >= 0
	if end = p.finish(m, kid, end, depth); end < 0 || !fits {
		return end
	}
	to := len(p.rescued)
	if replaced != nil && !p.opts.Compat {
		gone := p.unrescue(m.mark, replaced)
		m.before, to = m.before-gone, to-gone
		p.misfits = append(p.misfits, misfitting{kid, replaced.start})
		p.rescue(m.mark, m.named, replaced.name, replaced.nameEnd, replaced.start, replaced.end)
	}
	if p.repeated {
		p.spans = append(p.spans, span{kid, row, m.name, m.end, m.value, end, max(m.before, m.mark), to})
	}
	return end
}

// finish gives what was rescued in a value its key, or rescues the value if it does not fit.
func (p *parser) finish(m member, kid *column, end, depth int) int {
	switch {
	case end == misfit:
		if end = p.Value(m.value, depth); end < 0 {
			return corrupt
		}
		p.misfits = append(p.misfits, misfitting{kid, m.value})
		p.rescue(m.mark, m.named, m.name, m.end, m.value, end)
	case end < 0:
		return corrupt
	case len(p.rescued) > m.before:
		p.nameRescued(m.mark, m.before, m.name, m.end)
	}
	return end
}

// lookup finds the column for the key at i, which is not the expected one, and the end of the key. The
// column is nil when there is none, the end Bad when the text is not JSON.
func (p *parser) lookup(c *column, i int) (kid *column, end int, info jsonscan.StringInfo) {
	if len(c.keys) < indexFrom {
		w := jsonscan.Load(p.Text, i+1)
		for k := range c.keys {
			if w&c.keys[k].mask != c.keys[k].word {
				continue
			}
			if found := c.kids[k]; len(found.name) < 8 || found.hasRest(p.Text, i+1) {
				return found, i + len(found.name) + 2, 0
			}
		}
	}
	if end, info = p.String(i); end < 0 {
		return nil, end, 0
	}
	name := p.name(i, end, info)
	if k, ok := c.index[string(name)]; ok {
		kid = c.kids[k]
	} else if c.folded != nil {
		if k, ok := c.folded[schema.Fold(string(name))]; ok {
			kid = c.kids[k]
		}
	}
	return kid, end, info
}

// name returns the name of a member whose quotes are at i and before end: nil when it is no text. It
// is valid until the next call.
func (p *parser) name(i, end int, info jsonscan.StringInfo) []byte {
	raw := p.Text[i+1 : end-1]
	if info&jsonscan.Escaped == 0 {
		return raw
	}
	var exact bool
	if p.nameBuffer, exact = jsonscan.AppendUnescaped(p.nameBuffer[:0], raw); !exact {
		return nil
	}
	return p.nameBuffer
}

// again reads the value of a key whose column already has the row. The last value that fits wins; the
// one it replaces is returned.
func (p *parser) again(kid *column, row, depth, value int) (end int, replaced *span) {
	if !p.repeated {
		p.repeated = true // start over, this time with spans
		return corrupt, nil
	}
	k := len(p.spans) - 1
	for p.spans[k].c != kid || p.spans[k].row != row {
		k--
	}
	old := p.spans[k]
	kid.truncate(row)
	before := p.traces()
	end = p.value(value, kid, row, depth)
	if end == misfit {
		p.value(old.start, kid, row, depth) // it fitted before, and left its traces then
		p.forget(before)
		return misfit, nil
	}
	return end, &old
}

// value reads the value at i as the given row of c. A null is left out.
func (p *parser) value(i int, c *column, row, depth int) int {
	b := p.Text
	if b[i] == 'n' {
		return p.Literal(i)
	}
	if c.n < row {
		c.fill(row)
	}
	switch c.kind {
	case kindLong:
		if v, end := p.Long(i); end > 0 && end-i <= p.quickNumber {
			c.put(uint64(v))
			return end
		}
		n, end, ok := p.integer(i)
		if !ok {
			return end
		}
		c.put(uint64(n))
		return end
	case kindDouble:
		if f, end := p.Double(i); end > 0 && end-i <= p.quickNumber {
			c.put(math.Float64bits(f))
			return end
		}
		f, end := p.double(i)
		if end < 0 {
			return end
		}
		c.put(math.Float64bits(f))
		return end
	case kindString:
		if b[i] == '"' {
			if end := p.AppendString(&c.data, i); end > 0 && end-i <= p.quickString {
				c.ended(len(c.data))
				return end
			}
			c.data = c.data[:c.offsets[c.n]]
		}
		return p.text(i, c, depth)
	case kindStruct:
		if b[i] != '{' {
			return misfit
		}
		c.appended()
		return p.object(i, c, row, depth+1)
	case kindList:
		if b[i] != '[' {
			return misfit
		}
		return p.list(i, c, depth+1)
	case kindMap:
		if b[i] != '{' {
			return misfit
		}
		return p.mapping(i, c, depth+1)
	case kindBoolean:
		if b[i] != 't' && b[i] != 'f' {
			return misfit
		}
		end := p.Literal(i)
		if end < 0 {
			return corrupt
		}
		truth := byte(0)
		if b[i] == 't' {
			truth = 1
		}
		c.fixed = append(c.fixed, truth)
		c.appended()
		return end
	}
	if c.kind == kindVariant {
		return p.variant(i, c, depth)
	}
	return p.rareValue(i, c)
}

// integer reads an integer. In silt's own profile it may be written with a point: 80.0 is 80.
func (p *parser) integer(i int) (v int64, end int, ok bool) {
	if c := p.Text[i]; c-'0' > 9 && c != '-' {
		return 0, misfit, false
	}
	n, end := p.Number(i)
	if end < 0 {
		return 0, corrupt, false
	}
	if v, ok = n.Int64(); !ok && !p.opts.Compat {
		v, ok = n.Whole()
		p.respelled = p.respelled || ok
	}
	if !ok {
		return 0, misfit, false
	}
	return v, end, true
}

// double reads a number, or one of the words for what is no number. In silt's own profile the double
// must not lose anything: neither overflow nor, for an integer, any digit.
func (p *parser) double(i int) (f float64, end int) {
	c := p.Text[i]
	if c-'0' > 9 && c != '-' {
		if c == '"' {
			return p.nonNumber(i)
		}
		if !p.NonNumeric || c != 'N' && c != 'I' && c != '+' {
			return 0, misfit
		}
	}
	n, end := p.Number(i)
	if end < 0 {
		return 0, corrupt
	}
	f = n.Float64(p.Text[i:end])
	if p.opts.Compat || n.Special {
		return f, end
	}
	switch {
	case math.IsInf(f, 0), f == 0 && n.Mantissa != 0:
		return 0, misfit
	case n.Integer && n.Mantissa > 1<<53 && !exactInteger(n, f):
		return 0, misfit
	case n.Integer && n.Digits > 19:
		return 0, misfit
	case n.Digits > exactDigits && p.opts.Unwrap != "":
		return 0, misfit // DynamoDB's numbers are decimal
	}
	return f, end
}

// exactDigits is the most digits of a number that a double can have come from.
const exactDigits = 17

func exactInteger(n jsonscan.Num, f float64) bool {
	f = math.Abs(f)
	return f < math.MaxUint64 && uint64(f) == n.Mantissa
}

func (p *parser) nonNumber(i int) (f float64, end int) {
	end, _ = p.String(i)
	if end < 0 {
		return 0, corrupt
	}
	if !p.NonNumeric {
		return 0, misfit
	}
	p.respelled = true
	switch string(p.Text[i+1 : end-1]) {
	case "NaN":
		return math.NaN(), end
	case "Infinity", "+Infinity", "+INF":
		return math.Inf(1), end
	case "-Infinity", "-INF":
		return math.Inf(-1), end
	}
	return 0, misfit
}

// text reads a string, or keeps any other value as its text.
func (p *parser) text(i int, c *column, depth int) int {
	var end int
	if p.Text[i] == '"' {
		var info jsonscan.StringInfo
		if end, info = p.String(i); end < 0 {
			return corrupt
		}
		if end-i > p.MaxString && p.Fits(i, end) < 0 {
			return corrupt
		}
		if raw := p.Text[i+1 : end-1]; info&jsonscan.Escaped == 0 {
			c.data = append(c.data, raw...)
		} else {
			var exact bool
			if c.data, exact = jsonscan.AppendUnescaped(c.data, raw); !exact && !p.opts.Compat {
				c.data = c.data[:c.offsets[c.n]]
				return misfit
			}
		}
	} else {
		if end = p.Value(i, depth); end < 0 {
			return corrupt
		}
		c.data = append(c.data, p.asWritten(i, end)...)
	}
	c.offsets = append(c.offsets, int32(len(c.data)))
	c.appended()
	return end
}

// list reads the array at i. One element that does not fit makes the whole list not fit, unless the
// elements are structs, where only the field is lost.
func (p *parser) list(i int, c *column, depth int) int {
	if depth > p.MaxDepth {
		return p.Fail(i, jsonscan.TooDeep)
	}
	b, element := p.Text, c.kids[0]
	first := int(c.offsets[c.n])
	mark := p.traces()
	n, rescued := 0, 0
	if i++; b[i] <= ' ' {
		i = p.Blank(i)
	}
	ended := b[i] == ']'
	room := p.maxCells - p.cells
	if !ended && (element.kind == kindDouble || element.kind == kindLong) {
		element.fill(first)
		if n, i, ended = p.numbers(i, element, room); b[i] <= ' ' {
			i = p.Blank(i)
		}
	}
	if !ended {
		for {
			before := len(p.rescued)
			if i = p.value(i, element, first+n, depth); i < 0 {
				if i == misfit {
					element.truncate(first)
					p.forget(mark)
				}
				return i
			}
			if len(p.rescued) > before {
				p.padRescued(before, n, rescued)
				rescued = n + 1
			}
			if n++; n*element.cells > room {
				return p.Fail(i, jsonscan.TooMany)
			}
			if b[i] <= ' ' {
				i = p.Blank(i)
			}
			if b[i] == ',' {
				if i++; b[i] <= ' ' {
					i = p.Blank(i)
				}
				continue
			}
			if b[i] != ']' {
				return p.Fail(i, jsonscan.NoComma)
			}
			break
		}
	}
	if rescued > 0 {
		p.padRescued(len(p.rescued), n, rescued)
		p.insertRescued(mark.rescued, "[")
		p.rescued = append(p.rescued, ']')
	}
	p.cells += n * element.cells
	element.fill(first + n)
	c.offsets = append(c.offsets, int32(first+n))
	c.appended()
	return i + 1
}

// numbers reads elements of an array, from the one at i on, while they are of the usual form and nothing
// but commas is between them, and they are no more than most. It returns how many they are, and the offset of the next element, or of
// the bracket if the array ends.
func (p *parser) numbers(i int, c *column, most int) (n, next int, ended bool) {
	text, fixed := p.Text, c.fixed
	for !ended && n < most {
		var bits uint64
		var end int
		if c.kind == kindDouble {
			var f float64
			f, end = p.Double(i)
			bits = math.Float64bits(f)
		} else {
			var v int64
			v, end = p.Long(i)
			bits = uint64(v)
		}
		if end == 0 || end-i > p.quickNumber || text[end] != ',' && text[end] != ']' {
			break
		}
		fixed = binary.LittleEndian.AppendUint64(fixed, bits)
		n++
		if i = end; text[i] == ',' {
			i++
		} else {
			ended = true
		}
	}
	c.fixed = fixed
	c.n += n
	if c.nulls {
		c.valid = appendRepeated(c.valid, 1, n)
	}
	return n, i, ended
}

// mapping reads the object at i as a map. One value that does not fit makes the whole map not fit,
// unless the values are structs. Of a repeated key the last value counts under compat; in silt's own
// profile such a map does not fit, because it would lose a value.
func (p *parser) mapping(i int, c *column, depth int) int {
	if depth > p.MaxDepth {
		return p.Fail(i, jsonscan.TooDeep)
	}
	entries, end := p.entries(i, depth, entryCells+c.kids[1].cells)
	if end < 0 {
		return corrupt
	}
	entries, repeated := p.lastOfEach(entries)
	if repeated && !p.opts.Compat {
		return misfit
	}
	key, value := c.kids[0], c.kids[1]
	first := int(c.offsets[c.n])
	mark := p.traces()
	for k, e := range entries {
		row, before := first+k, len(p.rescued)
		r := p.key(e, key, row, depth)
		if r >= 0 {
			r = p.value(e.value, value, row, depth)
		}
		if r == misfit {
			key.truncate(first)
			value.truncate(first)
			p.forget(mark)
		}
		if r < 0 {
			return r
		}
		if len(p.rescued) > before {
			p.nameRescued(mark.rescued, before, e.start, e.end)
		}
	}
	if len(p.rescued) > mark.rescued {
		p.insertRescued(mark.rescued, "{")
		p.rescued = append(p.rescued, '}')
	}
	value.fill(first + len(entries))
	c.offsets = append(c.offsets, int32(first+len(entries)))
	c.appended()
	return end
}

// key reads the key of a map. A whole number is taken from its text, as it can be written in one way only,
// so that no two keys become one.
func (p *parser) key(e entry, c *column, row, depth int) int {
	switch c.kind {
	case kindLong, kindInteger, kindShort, kindByte:
		if v, err := strconv.ParseInt(string(p.Text[e.start+1:e.end-1]), 10, 64); err != nil || strconv.FormatInt(v, 10) != string(p.Text[e.start+1:e.end-1]) {
			return misfit
		}
		return p.value(e.start+1, c, row, depth)
	}
	return p.value(e.start, c, row, depth)
}

// entryCells is what an entry takes while keys are compared, in values of a column.
const entryCells = 16

// entry is a member of an object that is read as a map.
type entry struct {
	start, end int // of the key with its quotes
	info       jsonscan.StringInfo
	value      int
}

func (p *parser) entries(i, depth, cells int) (entries []entry, end int) {
	end = p.Value(i, depth-1)
	if end < 0 {
		return nil, corrupt
	}
	for i = p.Blank(i + 1); p.Text[i] != '}'; {
		nameEnd, info, value := p.Name(i)
		if entries = append(entries, entry{i, nameEnd, info, value}); len(entries)*cells > p.maxCells-p.cells {
			return nil, p.Fail(i, jsonscan.TooMany)
		}
		if i = p.Blank(p.Value(value, depth)); p.Text[i] == ',' {
			i = p.Blank(i + 1)
		}
	}
	p.cells += len(entries) * cells
	return entries, end
}

// lastOfEach keeps, of entries with one key, the last in the place of the first.
func (p *parser) lastOfEach(entries []entry) (kept []entry, repeated bool) {
	if len(entries) < 2 {
		return entries, false
	}
	at := make(map[string]int, len(entries))
	kept = entries[:0]
	for _, e := range entries {
		name := string(p.name(e.start, e.end, e.info))
		if k, ok := at[name]; ok {
			kept[k] = e
			repeated = true
			continue
		}
		at[name] = len(kept)
		kept = append(kept, e)
	}
	return kept, repeated
}

// rareValue reads the kinds that come with an explicit schema or a hint.
func (p *parser) rareValue(i int, c *column) int {
	switch c.kind {
	case kindByte, kindShort, kindInteger:
		v, end, ok := p.integer(i)
		if !ok {
			return end
		}
		bits := 8 * widths[c.kind]
		if v<<(64-bits)>>(64-bits) != v {
			return misfit
		}
		c.fixed = binary.LittleEndian.AppendUint64(c.fixed, uint64(v))[:len(c.fixed)+bits/8]
		c.appended()
		return end
	case kindFloat:
		f, end := p.double(i)
		if end < 0 {
			return end
		}
		switch narrow := float64(float32(f)); {
		case math.IsInf(f, 0), math.IsNaN(f):
		case math.IsInf(narrow, 0) && (!p.opts.Compat || p.opts.Widen):
			return misfit
		case !p.opts.Compat && narrow != f && f == math.Trunc(f):
			return misfit // a whole number must not lose a digit
		}
		c.fixed = binary.LittleEndian.AppendUint32(c.fixed, math.Float32bits(float32(f)))
		c.appended()
		return end
	case kindDecimal:
		return p.decimal(i, c)
	}
	return p.stringValue(i, c)
}

// stringValue reads the kinds whose values are written as strings.
func (p *parser) stringValue(i int, c *column) int {
	if p.Text[i] != '"' {
		if c.kind == kindTimestamp {
			return p.epoch(i, c)
		}
		return misfit
	}
	end, info := p.String(i)
	if end < 0 {
		return corrupt
	}
	raw := p.Text[i+1 : end-1]
	if info&jsonscan.Escaped != 0 {
		p.valueBuffer, _ = jsonscan.AppendUnescaped(p.valueBuffer[:0], raw)
		raw = p.valueBuffer
	}
	switch c.kind {
	case kindBinary:
		padded, bare := strictPadded, strictBare
		if p.opts.Compat {
			padded, bare = base64.StdEncoding, base64.RawStdEncoding
		}
		n, err := padded.AppendDecode(c.data, raw)
		if err != nil {
			if n, err = bare.AppendDecode(c.data, raw); err != nil {
				return misfit
			}
		}
		c.data = n
		c.offsets = append(c.offsets, int32(len(c.data)))
	case kindDate:
		days, ok := p.parseDate(raw)
		if !ok {
			return misfit
		}
		c.fixed = binary.LittleEndian.AppendUint32(c.fixed, uint32(days))
	case kindTimestamp, kindTimestampNTZ:
		micros, ok := p.parseTimestamp(raw, p.location, c.kind == kindTimestamp)
		if !ok {
			return misfit
		}
		c.fixed = binary.LittleEndian.AppendUint64(c.fixed, uint64(micros))
	}
	c.appended()
	return end
}

// epoch reads a whole number of seconds since 1970 as a timestamp.
func (p *parser) epoch(i int, c *column) int {
	v, end, ok := p.integer(i)
	if !ok {
		return end
	}
	if v > maxEpoch || v < -maxEpoch || !p.opts.Compat && (v < firstSecond || v > lastSecond) {
		return misfit
	}
	c.fixed = binary.LittleEndian.AppendUint64(c.fixed, uint64(v*1_000_000))
	c.appended()
	return end
}

// maxEpoch is the most seconds that fit a timestamp in microseconds.
const maxEpoch = math.MaxInt64 / 1_000_000

// The seconds of the years 1 to 9999, which all readers know. Milliseconds taken for seconds are far
// beyond.
const firstSecond, lastSecond = -62_135_596_800, 253_402_300_799

// The encodings whose text is the only one for its bytes: NaN is no base64, although some decode it.
var strictPadded, strictBare = base64.StdEncoding.Strict(), base64.RawStdEncoding.Strict()
