package decode

import (
	"bytes"

	"github.com/siltlake/silt/internal/jsonscan"
)

// lenient reads a record that the scanner refused: it is written again as JSON, and that is read. When
// it fails too, At and Why tell of the original; Truncated means that more text could help.
func (p *parser) lenient(i, row int) int {
	at, why := p.opts.Lenient.Rewrite(&p.Scanner, i, &p.rewritten)
	if why != jsonscan.None {
		return p.Fail(at, why)
	}
	original := p.Scanner
	p.written = p.Text
	defer func() { p.written = nil }()
	n := len(p.rewritten.Text)
	p.rewritten.Text = append(p.rewritten.Text, make([]byte, jsonscan.Padding)...)
	p.Text, p.End, p.Space = p.rewritten.Text, n, jsonscan.Anywhere
	start := p.Blank(0)
	end := p.strict(start, row)
	if end >= 0 && p.Blank(end) < n {
		end = p.Fail(p.Blank(end), jsonscan.NoComma)
		p.rollback(row)
	}
	if end >= 0 {
		p.settle()
		p.misfitAt = p.rewritten.Origin(p.misfitAt)
	}
	failed, reason := p.At, p.Why
	p.Scanner = original
	if end < 0 {
		p.At, p.Why = min(p.rewritten.Origin(failed), p.End), reason
		return corrupt
	}
	return p.rewritten.End
}

// asWritten is the value between i and end as the file has it. In silt's own profile an object or a list of
// a record that was made strict is JSON, so that SQL can look into it.
func (p *parser) asWritten(i, end int) []byte {
	if p.written == nil || !p.opts.Compat && (p.Text[i] == '{' || p.Text[i] == '[') {
		return p.Text[i:end]
	}
	start, last := p.rewritten.Origin(i), p.rewritten.Origin(end-1)
	for c := p.Text[i]; '0' <= c && c <= '9' && start > 0 && p.written[start-1] == '0'; {
		start-- // a zero in front that was left out
	}
	return p.written[start : last+1]
}

// readSeparated reads a file whose records are divided by a text of the user's.
func (r *Reader) readSeparated() (full bool, err error) {
	in, sep := r.in, []byte(r.opts.LineSep)
	for searched := 0; ; {
		if r.full() {
			return true, nil
		}
		k := bytes.Index(in.buf[in.pos+searched:in.end], sep)
		switch {
		case k >= 0:
			err = r.readPiece(in.pos + searched + k)
			in.pos += searched + k + len(sep)
			searched = 0
		case in.eof && in.pos == in.end:
			return false, nil
		case in.eof:
			err = r.readPiece(in.end)
			in.pos = in.end
		case in.end-in.pos > r.opts.MaxRecord:
			find := func(text []byte) int { return bytes.Index(text, sep) }
			if err = r.tooLong(find, len(sep)-1); err == nil && in.pos < in.end {
				in.pos += len(sep)
			}
			searched = 0
		default:
			searched = max(0, in.end-in.pos-len(sep)+1)
			err = in.fill()
		}
		if err != nil {
			return false, err
		}
	}
}

// readPiece reads the records from the start of the window to end, which is a separator or the end of
// the file.
func (r *Reader) readPiece(end int) error {
	in, p := r.in, &r.p
	r.countLines(in.pos)
	behind := in.buf[end]
	in.buf[end] = 0
	p.Text, p.End = in.buf, end
	defer func() { in.buf[end] = behind }()
	i := in.pos
	if bytes.HasPrefix(p.Text[i:end], bom) {
		i += len(bom)
	}
	piece := i
	for i = r.skip(i); i < end; i = r.skip(i) {
		r.at(i)
		next := r.lineValue(i)
		if next < 0 {
			if !r.opts.Compat {
				piece = i
			}
			if p.Why == jsonscan.Truncated && end == in.end && in.eof && r.mayGrow() {
				return ErrTorn
			}
			r.spoil(piece, end)
			break
		}
		if i = next; r.opts.Compat {
			break
		}
	}
	r.countLines(end)
	return nil
}

// skip returns the offset of the first byte at or after i that is no blank and in no comment.
func (r *Reader) skip(i int) int { return r.p.Skip(i, r.opts.Lenient.Comments) }
