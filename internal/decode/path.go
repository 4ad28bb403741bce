package decode

import (
	"fmt"
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/jsonscan"
)

// pathStep is a step from a container to what is in it: the member of a name, or each element.
type pathStep struct {
	name string
	each bool
}

// parsePath reads a record path: $, then steps that are .name, ['name'] or [*].
func parsePath(text string) ([]pathStep, error) {
	rest, ok := strings.CutPrefix(text, "$")
	bad := func() ([]pathStep, error) {
		return nil, fmt.Errorf("record path %q: want $ and steps such as .Records, ['a b'] and [*], at %q", text, rest)
	}
	if !ok {
		rest = text
		return bad()
	}
	var steps []pathStep
	for rest != "" {
		var s pathStep
		switch {
		case strings.HasPrefix(rest, "[*]"):
			s.each, rest = true, rest[3:]
		case strings.HasPrefix(rest, "['"):
			end := strings.Index(rest, "']")
			if end < 0 {
				return bad()
			}
			s.name, rest = rest[2:end], rest[end+2:]
		case rest[0] == '.':
			n := strings.IndexAny(rest[1:], ".[")
			if n < 0 {
				n = len(rest) - 1
			}
			if n == 0 {
				return bad()
			}
			s.name, rest = rest[1:n+1], rest[n+1:]
		default:
			return bad()
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// CheckRecordPath reports what is wrong with a record path.
func CheckRecordPath(text string) error {
	_, err := parsePath(text)
	return err
}

// EnvelopeColumn is the column of what is kept of the objects around a record.
const EnvelopeColumn = "_envelope"

// envelope is where a reader stands in a file whose records are at a path inside its values. A value of
// the file is never held as a whole: its containers are entered along the path, and what lies beside it
// is passed over.
type envelope struct {
	steps []pathStep
	// level is the number of containers that are open; the record or container that a step leads to is
	// one level further.
	level int
	// want is set where a value must follow, after where one has been read in the open container, and
	// comma behind the comma that follows it.
	want, after, comma bool
	kept               []keptMember
	records            bool // one was read in this value of the file
	ahead              bool // what is to be kept of this value is known already
}

// keptMember is a member of an object around the records.
type keptMember struct {
	path  []string
	value []byte
}

// readPath reads a file whose records are at a path inside its values.
func (r *Reader) readPath() (full bool, err error) {
	in, e := r.in, &r.envelope
	for {
		if r.full() {
			return true, nil
		}
		r.window()
		i := r.skip(in.pos)
		r.countLines(i)
		in.pos = i
		switch {
		case i == in.end && !in.eof:
			err = r.more()
		case i == in.end && e.level == 0:
			return false, nil
		case i == in.end:
			r.p.Fail(i, jsonscan.Truncated)
			err = r.brokenEnvelope(i)
		case !e.want:
			err = r.inEnvelope(i)
		case e.level == len(e.steps):
			err = r.envelopeRecord(i)
		default:
			err = r.enter(i)
		}
		if err != nil {
			return false, err
		}
	}
}

// inEnvelope takes what stands between the values of the container that was entered last.
func (r *Reader) inEnvelope(i int) error {
	in, e, p := r.in, &r.envelope, &r.p
	step := e.steps[e.level-1]
	end := byte('}')
	if step.each {
		end = ']'
	}
	switch c := p.Text[i]; {
	case c == end && e.comma:
		p.Fail(i, jsonscan.TrailingComma)
		return r.brokenEnvelope(i)
	case c == end:
		e.level--
		e.after, e.comma = true, false
		if e.level == 0 {
			e.want = true
			e.forget()
		}
		in.pos++
		return nil
	case e.after && c == ',':
		e.after, e.comma = false, true
		in.pos++
		return nil
	case e.after:
		p.Fail(i, jsonscan.NoComma)
		return r.brokenEnvelope(i)
	case step.each:
		e.want, e.comma = true, false
		return nil
	}
	return r.envelopeMember(i, step.name)
}

// envelopeMember takes the member at i of an object around the records, up to its value when that is
// where the path leads.
func (r *Reader) envelopeMember(i int, name string) error {
	in, e, p := r.in, &r.envelope, &r.p
	if p.Text[i] != '"' {
		p.Fail(i, jsonscan.NoName)
		return r.brokenEnvelope(i)
	}
	nameEnd, info := p.String(i)
	if nameEnd < 0 {
		return r.moreOrBroken(i)
	}
	value := p.Blank(nameEnd)
	if value < in.end && p.Text[value] == ':' {
		value = p.Blank(value + 1)
	} else if value < in.end {
		p.Fail(value, jsonscan.NoColon)
		return r.brokenEnvelope(i)
	}
	if value >= in.end {
		p.Fail(value, jsonscan.Truncated)
		return r.moreOrBroken(i)
	}
	key := string(p.name(i, nameEnd, info))
	if key == name {
		in.pos = value
		e.want, e.comma = true, false
		return nil
	}
	end := p.Value(value, e.level)
	if end < 0 {
		return r.moreOrBroken(i)
	}
	if end == in.end && !in.eof {
		p.Fail(end, jsonscan.Truncated)
		return r.moreOrBroken(i)
	}
	if path := append(e.path(), key); !e.ahead && r.keeps(path) {
		if e.records {
			p.Fail(i, jsonscan.AfterRecords)
			r.at(i)
			r.spoil(i, end)
		} else {
			r.keep(path, value, end)
		}
	}
	in.pos = end
	e.after, e.comma = true, false
	return nil
}

// path is the names of the objects that are open, but for the outermost.
func (e *envelope) path() (path []string) {
	for _, s := range e.steps[:e.level-1] {
		if !s.each {
			path = append(path, s.name)
		}
	}
	return path
}

// keeps reports whether the member at a path, or one below it, is to be kept.
func (r *Reader) keeps(path []string) bool {
	at := strings.Join(path, ".")
	return slices.ContainsFunc(r.opts.RecordKeep, func(keep string) bool { return keep == at || strings.HasPrefix(keep, at+".") })
}

// keep keeps what is to be kept of the member at a path, whose value is given.
func (r *Reader) keep(path []string, value, end int) {
	p := &r.p
	if slices.Contains(r.opts.RecordKeep, strings.Join(path, ".")) {
		r.envelope.keep(path, p.Text[value:end])
	} else if p.Text[value] == '{' {
		p.eachMember(value, func(raw []byte, value, end int) {
			if at := append(slices.Clone(path), string(raw)); r.keeps(at) {
				r.keep(at, value, end)
			}
		})
	}
}

// keep notes a member; of a repeated one the last counts.
func (e *envelope) keep(path []string, value []byte) {
	m := keptMember{path, slices.Clone(value)}
	for k := range e.kept {
		if slices.Equal(e.kept[k].path, path) {
			e.kept[k] = m
			return
		}
	}
	e.kept = append(e.kept, m)
}

// enter enters the container at i, which the next step leads into.
func (r *Reader) enter(i int) error {
	in, e, p := r.in, &r.envelope, &r.p
	step := e.steps[e.level]
	open := byte('{')
	if step.each {
		open = '['
	}
	r.at(i)
	if p.Text[i] == open {
		if e.level == 0 && len(r.opts.RecordKeep) > 0 && !r.lookAhead(i) {
			return r.more()
		}
		e.level++
		e.want, e.after, e.comma = false, false, false
		in.pos++
		return nil
	}
	end := p.Value(i, e.level)
	switch {
	case end < 0:
		return r.moreOrBroken(i)
	case end == in.end && !in.eof:
		p.Fail(end, jsonscan.Truncated)
		return r.moreOrBroken(i)
	case p.Text[i] != 'n': // null holds no records, and nothing else
		p.Fail(i, jsonscan.NotOnPath)
		r.spoil(i, end)
	}
	r.valueRead(end)
	return nil
}

// lookAhead collects what is to be kept of a value of the file that fits the buffer, because it may
// stand behind the records. It is false when more of the file is needed to know.
func (r *Reader) lookAhead(i int) bool {
	in, p := r.in, &r.p
	if end := p.Value(i, 0); end < 0 {
		return p.Why != jsonscan.Truncated || in.eof || in.end-in.pos > r.opts.MaxRecord
	}
	r.collect(i, nil, 0)
	r.envelope.ahead = true
	return true
}

// collect keeps what is to be kept below the value at i, a container of the given level.
func (r *Reader) collect(i int, path []string, level int) {
	e, p := &r.envelope, &r.p
	if level == len(e.steps) || e.steps[level].each || p.Text[i] != '{' {
		return
	}
	p.eachMember(i, func(raw []byte, value, end int) {
		at := append(slices.Clone(path), string(raw))
		if string(raw) == e.steps[level].name {
			r.collect(value, at, level+1)
		} else if r.keeps(at) {
			r.keep(at, value, end)
		}
	})
}

// valueRead goes on behind a value of the open container, or of the file.
func (r *Reader) valueRead(end int) {
	e := &r.envelope
	r.countLines(end)
	r.in.pos = end
	e.want, e.after, e.comma = e.level == 0, true, false
	if e.level == 0 {
		e.forget()
	}
}

// forget lets go of what is known of a value of the file that has been read.
func (e *envelope) forget() { e.kept, e.records, e.ahead = e.kept[:0], false, false }

// envelopeRecord reads the record at i.
func (r *Reader) envelopeRecord(i int) error {
	in, e, p := r.in, &r.envelope, &r.p
	r.at(i)
	p.envelope = e.text(p.envelope[:0])
	end := p.record(i)
	p.envelope = p.envelope[:0]
	if end >= 0 {
		e.records = true
		r.row(i, end)
		r.valueRead(end)
		return nil
	}
	at, why := p.At, p.Why
	if why == jsonscan.Truncated {
		return r.moreOrBroken(i)
	}
	if end = p.Value(i, e.level); end < 0 || end == in.end && !in.eof {
		return r.moreOrBroken(i)
	}
	p.At, p.Why = at, why // it is JSON, and no record
	r.spoil(i, end)
	r.valueRead(end)
	return nil
}

// text is the member that holds what was kept, or nothing.
func (e *envelope) text(dst []byte) []byte {
	if len(e.kept) == 0 {
		return dst
	}
	dst = append(dst, `"`+EnvelopeColumn+`":`...)
	return appendKept(dst, e.kept, 0)
}

// appendKept appends the members as objects in objects; depth is the number of names that are written.
func appendKept(dst []byte, kept []keptMember, depth int) []byte {
	dst = append(dst, '{')
	for k := 0; k < len(kept); {
		if k > 0 {
			dst = append(dst, ',')
		}
		name := kept[k].path[depth]
		dst = append(jsonscan.AppendQuoted(dst, name), ':')
		n := k + 1
		for n < len(kept) && len(kept[n].path) > depth+1 && len(kept[k].path) > depth+1 && kept[n].path[depth] == name {
			n++
		}
		if len(kept[k].path) == depth+1 {
			dst = append(dst, kept[k].value...)
		} else {
			dst = appendKept(dst, kept[k:n], depth+1)
		}
		k = n
	}
	return append(dst, '}')
}

// moreOrBroken reads more of the file when what stands at i is not complete, else it is broken.
func (r *Reader) moreOrBroken(i int) error {
	in, p := r.in, &r.p
	switch {
	case p.Why != jsonscan.Truncated || in.eof:
		return r.brokenEnvelope(i)
	case in.end-in.pos > r.opts.MaxRecord:
		p.Fail(i, jsonscan.TooLong)
		return r.brokenEnvelope(i)
	}
	return r.more()
}

// brokenEnvelope makes what is left of the file a bad record: behind an error it is not known where in
// an envelope one is.
func (r *Reader) brokenEnvelope(i int) error {
	in, p, e := r.in, &r.p, &r.envelope
	if p.Why == jsonscan.Truncated && r.mayGrow() {
		return ErrTorn
	}
	start := *p
	for !in.eof && in.end-in.pos <= r.opts.MaxRecord {
		start.At -= in.pos
		if err := r.more(); err != nil {
			return err
		}
		start.At += in.pos
	}
	r.window()
	p.At, p.Why = start.At, start.Why
	r.at(in.pos)
	e.level, e.want = 0, true
	e.forget()
	if in.eof {
		r.spoil(in.pos, in.end)
		in.pos = in.end
		return nil
	}
	return r.tooLong(nowhere, 0)
}

// enveloped reads the record at i with the member that holds what is kept of its envelope.
func (p *parser) enveloped(i, row int) int {
	end := p.Value(i, 0)
	switch {
	case end < 0:
		return corrupt
	case p.Text[i] != '{':
		return p.Fail(i, jsonscan.NotAnObject)
	}
	p.plain = append(p.plain[:0], p.Text[i:end-1]...)
	if p.Blank(i+1) < end-1 {
		p.plain = append(p.plain, ',')
	}
	p.plain = append(append(p.plain, p.envelope...), '}')
	return p.instead(row, end)
}
