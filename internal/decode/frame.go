package decode

import (
	"bytes"

	"github.com/siltlake/silt/internal/jsonscan"
)

// readLines reads a file that has its records on lines.
func (r *Reader) readLines() (full bool, err error) {
	in := r.in
	for {
		limit, base := in.lastLineEnd(), in.base
		for in.pos < limit && in.base == base { // else a record that spans lines moved the window
			if r.full() {
				return true, nil
			}
			r.p.Text, r.p.End = in.buf, limit-1
			if in.pos, err = r.readLine(in.pos); err != nil {
				return false, err
			}
			if r.framing != byLine {
				return r.read()
			}
			in.pos = min(in.pos, in.end)
			r.line++
		}
		switch {
		case in.base != base:
		case in.eof && in.pos == in.end:
			return false, nil
		case in.eof:
			if r.full() {
				return true, nil
			}
			in.buf[in.end] = '\n' // the last line has none; there is room for it
			r.p.Text, r.p.End = in.buf, in.end
			if in.pos, err = r.readLine(in.pos); err != nil {
				return false, err
			}
			in.pos = min(in.pos, in.end)
			r.line++
		case in.end-in.pos > r.opts.MaxRecord:
			if err := r.tooLong(anyLineEnd, 0); err != nil {
				return false, err
			}
		default:
			if err := in.fill(); err != nil {
				return false, err
			}
		}
	}
}

// anyLineEnd and nowhere say where a record ends that is too long.
func anyLineEnd(text []byte) int { return bytes.IndexAny(text, "\r\n") }

func nowhere([]byte) int { return -1 }

// lastLineEnd returns the offset behind the last line end in the window, or the start of the window.
func (in *input) lastLineEnd() int {
	window := in.buf[in.pos:in.end]
	k := bytes.LastIndexByte(window, '\n')
	if k < 0 && (len(window) > 0 && !in.eof && len(window) >= chunkSize/2 || in.eof) {
		k = bytes.LastIndexByte(window, '\r')
	}
	return in.pos + k + 1
}

// readLine reads the records of one line, and returns the offset behind its end. Text behind a record
// is more records or, as a whole, a bad one; under compat it is ignored. Where framing is another than byLine
// afterwards, nothing was read.
func (r *Reader) readLine(i int) (next int, err error) {
	p := &r.p
	if bytes.HasPrefix(p.Text[i:p.End], bom) {
		i += len(bom)
	}
	line := i
	for i = r.skip(i); !isLineEnd(p.Text[i]); i = r.skip(i) {
		r.at(i)
		end := r.lineValue(i)
		if r.assumed {
			r.assumed = false
			if end < 0 && r.isFramedOtherwise() {
				return line, nil
			}
		}
		if end < 0 && r.maySpan(i) {
			if end, err = r.spanning(i); err != nil {
				return i, err
			}
			if end >= 0 {
				i, line = end, end
				continue
			}
			i, line = r.in.pos, r.in.pos
			r.at(i)
			end = r.lineValue(i) // once more, for the reason
		}
		if end < 0 {
			if !r.opts.Compat {
				line = i
			}
			return r.badLine(line)
		}
		if i = end; r.opts.Compat {
			break
		}
	}
	return r.lineEnd(i), nil
}

// isFramedOtherwise looks at a file after all that was taken for one of lines. Nothing of it has been read yet.
func (r *Reader) isFramedOtherwise() bool {
	in := r.in
	if r.framing = detect(in.buf[in.pos:in.end], in.eof, &r.opts); r.framing == byLine {
		return false
	}
	r.p.Space = jsonscan.Anywhere
	return true
}

// maySpan reports whether what begins at i, and is broken, may be a record that goes on in the next line,
// in a file of which the records were found to stand on lines.
func (r *Reader) maySpan(i int) bool {
	p := &r.p
	return r.opts.Framing == "" && !r.opts.Compat && p.Text[i] == '{' && (p.At >= p.End || isLineEnd(p.Text[p.At])) &&
		p.position.Offset >= r.spanned
}

// spanning reads the record that begins at i and may take several lines. It returns where it ends, or -1 if
// there is none; the window begins at i then. What it has tried in vain is not tried again, so that all
// text is read twice at most.
func (r *Reader) spanning(i int) (end int, err error) {
	in, p := r.in, &r.p
	p.Space = jsonscan.Anywhere
	defer func() { p.Space = jsonscan.Lines }()
	in.pos = i
	for {
		r.window()
		if end = p.record(in.pos); end >= 0 {
			r.row(in.pos, end)
			r.line += int64(bytes.Count(in.buf[in.pos:end], newline))
			in.pos = end
			break
		}
		if p.Why != jsonscan.Truncated || in.eof || in.end-in.pos > r.opts.MaxRecord {
			r.spanned = p.position.Offset + int64(p.At-in.pos)
			end = -1
			break
		}
		if err = in.fill(); err != nil {
			return -1, err
		}
	}
	for in.lastLineEnd() == in.pos && !in.eof && in.end-in.pos <= r.opts.MaxRecord {
		if err = in.fill(); err != nil {
			return -1, err
		}
		end = min(end, in.pos)
	}
	limit := in.lastLineEnd()
	if limit == in.pos || in.eof {
		in.buf[in.end] = '\n' // as readLines has it for the last line
		limit = in.end + 1
	}
	p.Text, p.End = in.buf, limit-1
	return end, nil
}

var newline = []byte("\n")

func isLineEnd(c byte) bool { return c == '\n' || c == '\r' }

// lineEnd returns the offset behind the next line end at or after i: a line feed, or a carriage return
// that none follows.
func (r *Reader) lineEnd(i int) int {
	b := r.p.Text[i : r.p.End+1]
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		n = len(b)
	}
	if k := bytes.IndexByte(b[:n], '\r'); k >= 0 && k < n-1 {
		return i + k + 1
	}
	return min(i+n+1, r.p.End+1)
}

// lineValue reads the value at i: a record, or an array of records. An array with anything else in it
// is bad as a whole.
func (r *Reader) lineValue(i int) int {
	p := &r.p
	if p.Text[i] != '[' || r.opts.Variant {
		end := p.record(i)
		if end >= 0 {
			r.row(i, end)
		}
		return end
	}
	before, file, text := mark{p.root.n, len(r.runs), len(r.places), len(r.bad)}, *r.file, r.batchText
	runs := append([]Run(nil), r.runs...)
	r.inList, r.listMisfit = r.opts.Compat, false
	end := r.lineArray(i)
	r.inList = false
	if end < 0 || r.listMisfit && r.opts.Aside {
		p.rollback(before.rows)
		if r.rescue != nil {
			r.rescue.truncate(before.rows)
		}
		r.runs = append(r.runs[:0], runs...)
		r.unplace(before.places)
		r.bad = r.bad[:before.bad]
		*r.file, r.batchText = file, text
	}
	if end >= 0 && r.listMisfit {
		r.misfitList(before.rows, end)
	}
	return end
}

func (r *Reader) lineArray(i int) int {
	p := &r.p
	if i = r.skip(i + 1); p.Text[i] == ']' {
		return i + 1
	}
	for {
		end := p.record(i)
		if end < 0 {
			return corrupt
		}
		r.row(i, end)
		i = r.skip(end)
		switch p.Text[i] {
		case ',':
			i = r.skip(i + 1)
		case ']':
			return i + 1
		default:
			return p.Fail(i, jsonscan.NoComma)
		}
	}
}

// badLine makes what is left of a line from start on a bad record.
func (r *Reader) badLine(start int) (next int, err error) {
	p := &r.p
	next = r.lineEnd(start)
	if p.At >= next-1 || isLineEnd(p.Text[p.At]) {
		p.At, p.Why = min(p.At, next-1), jsonscan.Truncated
	}
	if next > r.in.end && p.Why == jsonscan.Truncated && r.mayGrow() {
		return next, ErrTorn
	}
	r.spoil(start, min(next, r.in.end))
	return next, nil
}

// mayGrow reports whether the current file may still be written.
func (r *Reader) mayGrow() bool { return r.files[len(r.reports)-1].DeferTorn }

// readValues reads a file in which values follow each other. A bad one ends where the next begins: at
// a line that opens an object or array with the same indent.
func (r *Reader) readValues() (full bool, err error) {
	in := r.in
	for {
		if r.full() {
			return true, nil
		}
		r.window()
		i := r.skip(in.pos)
		r.noteIndent(in.buf[in.pos:i])
		r.countLines(i)
		in.pos = i
		switch {
		case i < in.end && r.structure(i):
			in.pos++
		case i < in.end:
			err = r.readValue(i)
		case in.eof:
			return false, r.endValues()
		default:
			err = r.more()
		}
		if err != nil {
			return false, err
		}
	}
}

// readValue reads the record at i, or more of the file when the record does not end in the window.
func (r *Reader) readValue(i int) error {
	in, p := r.in, &r.p
	r.at(i)
	end := corrupt
	if r.inArray && r.last == tokenValue {
		p.Fail(i, jsonscan.NoComma)
	} else {
		end = p.record(i)
	}
	switch {
	case end >= 0:
		r.row(i, end)
		r.countLines(end)
		in.pos, r.last = end, tokenValue
	case p.Why == jsonscan.Truncated && !in.eof && in.end-in.pos <= r.opts.MaxRecord:
		return r.more()
	default:
		return r.resume()
	}
	return nil
}

// window points the scanner at the buffer.
func (r *Reader) window() {
	r.in.buf[r.in.end] = 0
	r.p.Text, r.p.End = r.in.buf, r.in.end
}

// more reads more of the file. The window moves to the front of the buffer.
func (r *Reader) more() error {
	pos := r.in.pos
	err := r.in.fill()
	r.counted -= pos - r.in.pos
	return err
}

// countLines counts the lines up to an offset.
func (r *Reader) countLines(to int) {
	if r.counted < to {
		r.line += int64(bytes.Count(r.in.buf[r.counted:to], []byte("\n")))
		r.counted = to
	}
}

// noteIndent keeps the indent of a value, given the blanks before it.
func (r *Reader) noteIndent(blanks []byte) {
	if k := bytes.LastIndexByte(blanks, '\n'); k >= 0 {
		r.indent = append([]byte{}, blanks[k+1:]...)
	} else if r.last != tokenNone {
		r.indent = nil // it does not begin a line
	}
}

// token is what was last read between records.
type token uint8

const (
	tokenNone token = iota
	tokenOpen
	tokenComma
	tokenValue
)

// structure takes what stands between records: the brackets of a top-level array, and commas. It
// reports whether there was any at i.
func (r *Reader) structure(i int) bool {
	switch c := r.p.Text[i]; {
	case c == '[' && !r.inArray && !r.opts.Variant:
		r.inArray, r.last = true, tokenOpen
	case c == ']' && r.inArray && r.last != tokenComma:
		r.inArray, r.last = false, tokenValue
	case c == ',' && r.inArray && r.last == tokenValue:
		r.last = tokenComma
	default:
		return false
	}
	return true
}

// endValues checks that the file does not end inside an array.
func (r *Reader) endValues() error {
	if !r.inArray {
		return nil
	}
	r.inArray = false
	if r.mayGrow() {
		return ErrTorn
	}
	r.at(r.in.end)
	r.p.Fail(r.in.end, jsonscan.Truncated)
	r.spoil(r.in.end, r.in.end)
	return nil
}

// resume makes the text from the start of the window to the next record, or to the end of the file, a
// bad record.
func (r *Reader) resume() error {
	in, p := r.in, &r.p
	start := *p
	for searched := 1; ; {
		if k := r.nextStart(in.buf[in.pos+searched : in.end]); k >= 0 {
			end := in.pos + searched + k
			p.At, p.Why = start.At, start.Why
			r.spoil(in.pos, in.pos+len(bytes.TrimRight(in.buf[in.pos:end], " \t\r\n,")))
			r.countLines(end)
			in.pos, r.last = end, tokenComma
			return nil
		}
		if in.eof {
			p.At, p.Why = start.At, start.Why
			if p.Why == jsonscan.Truncated && r.mayGrow() {
				return ErrTorn
			}
			r.spoil(in.pos, in.end)
			in.pos, r.inArray = in.end, false
			return nil
		}
		if in.end-in.pos > r.opts.MaxRecord {
			r.inArray = false
			return r.tooLong(nowhere, 0)
		}
		searched = max(1, in.end-in.pos-len(r.indent)-2)
		start.At -= in.pos
		if err := r.more(); err != nil {
			return err
		}
		start.At += in.pos
	}
}

// nextStart returns the offset of the line end before the next record in text, or -1.
func (r *Reader) nextStart(text []byte) int {
	if r.indent == nil {
		return -1
	}
	first := -1
	for _, open := range []string{"{", "["} {
		if k := bytes.Index(text, []byte("\n"+string(r.indent)+open)); k >= 0 && (first < 0 || k < first) {
			first = k
		}
	}
	return first
}

// readFile reads a file that is one record or one array of records. Anything behind it is ignored;
// anything wrong in it makes one bad record of the whole file. Source: Spark's multiLine.
func (r *Reader) readFile() error {
	in := r.in
	for !in.eof {
		if in.end-in.pos > r.opts.MaxRecord {
			return r.tooLong(nowhere, 0)
		}
		if err := in.fill(); err != nil {
			return err
		}
	}
	r.window()
	i := r.skip(in.pos)
	if i >= in.end {
		return nil
	}
	r.at(i)
	if r.lineValue(i) < 0 {
		r.spoil(in.pos, in.end)
	}
	in.pos = in.end
	return nil
}
