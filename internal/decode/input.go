package decode

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/siltlake/silt/internal/jsonscan"
)

// A ContentError says that a file cannot be read to its end, although its store delivers all of it:
// the compressed stream is cut off or damaged, or inflates beyond any use.
type ContentError struct {
	Offset int64 // bytes of the file that were read, compressed
	Err    error
}

func (e *ContentError) Error() string {
	return fmt.Sprintf("compressed stream ends badly near byte %d: %v", e.Offset, e.Err)
}

func (e *ContentError) Unwrap() error { return e.Err }

// ErrInflates means that a compressed file grows beyond the ratio that data has.
var ErrInflates = errors.New("the stream inflates more than 200-fold")

const (
	// inflateFrom is the number of decompressed bytes up to which any ratio is fine.
	inflateFrom = 64 << 20
	inflateMax  = 200
	chunkSize   = 1 << 20
	// largeBuffer is the size from which on a buffer is not kept for what comes next.
	largeBuffer = 8 << 20
)

// input is the decompressed text of one file, seen through a window.
type input struct {
	body    countingReader
	text    io.Reader
	release func() // of a compressed text; else nil

	// buf[pos:end] is the window; there is always room for the scanner's padding behind end.
	buf      []byte
	pos, end int
	base     int64 // offset of buf[0] in the text
	eof      bool
	// most is the size to which the buffer grows by doubling: the longest record and a bit.
	most int
	turn *turn
}

// countingReader counts what the store delivers, and tells its errors from those of a decompressor.
type countingReader struct {
	r   io.ReadCloser
	n   int64
	err error // other than io.EOF
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

var codecs = []struct {
	magic, extension string
	open             func(io.Reader) (io.Reader, func(), error)
}{
	{"\x1f\x8b", ".gz", func(r io.Reader) (io.Reader, func(), error) {
		in := bufio.NewReader(r)
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, err
		}
		z.Multistream(false)
		return &gzipMembers{z, in}, func() {}, nil
	}},
	{"\x28\xb5\x2f\xfd", ".zst", func(r io.Reader) (io.Reader, func(), error) {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(inflateFrom))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}},
	{"BZh", ".bz2", func(r io.Reader) (io.Reader, func(), error) { return bzip2.NewReader(r), func() {}, nil }},
}

// gzipMembers reads the members of a gzip file, one behind the other. There may be zeros between and behind
// them: tapes and block devices pad with those, and gzip passes over them.
type gzipMembers struct {
	z  *gzip.Reader
	in *bufio.Reader
}

func (g *gzipMembers) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	if err != io.EOF {
		return n, err
	}
	for c := byte(0); c == 0; {
		if c, err = g.in.ReadByte(); err != nil {
			return n, err
		}
	}
	if err = g.in.UnreadByte(); err == nil {
		err = g.z.Reset(g.in)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // a header was begun
	}
	g.z.Multistream(false)
	return n, err
}

// headSize is how much of a file is read first, in bytes, to know its codec and its encoding.
const headSize = 64 << 10

// openInput starts to read a file. The codec is known by the first bytes, or under compat by the
// extension alone. The buffer is used if it is large enough.
func openInput(uri string, body io.ReadCloser, opts *Options, t *turn, buf []byte) (*input, error) {
	in := &input{body: countingReader{r: body}, buf: buf[:0], most: opts.MaxRecord + 2*chunkSize, turn: t}
	in.text = &in.body
	if cap(in.buf) < chunkSize+jsonscan.Padding {
		in.buf = make([]byte, 0, chunkSize+jsonscan.Padding)
	}
	in.buf = in.buf[:cap(in.buf)]
	n, err := io.ReadAtLeast(in.text, in.buf[:headSize], 4)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return in, err
	}
	head := in.buf[:n]
	open := codecOf(uri, head, opts.Compat)
	if open == nil && !opts.isTranscoded(head) {
		in.end = n
		return in, nil
	}
	text := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(head)), in.text), headSize)
	in.text = text
	if open != nil {
		if in.text, in.release, err = open(text); err != nil {
			return in, in.fault(err)
		}
	}
	in.text = toUTF8(in.text, opts.Encoding, opts.looks())
	return in, nil
}

// codecOf returns what opens the text of a compressed file, or nil.
func codecOf(uri string, head []byte, compat bool) func(io.Reader) (io.Reader, func(), error) {
	for _, c := range codecs {
		if is := bytes.HasPrefix(head, []byte(c.magic)); compat && path.Ext(uri) == c.extension || !compat && is {
			return c.open
		}
	}
	return nil
}

// fault is err, as a ContentError when the store is not to blame.
func (in *input) fault(err error) error {
	if in.body.err != nil {
		return in.body.err
	}
	return &ContentError{Offset: in.body.n, Err: err}
}

func (in *input) close() {
	if in.release != nil {
		in.release()
	}
	in.body.r.Close()
}

// fill reads more text behind the window, which it moves to the front of the buffer. A window that holds
// much of a long record grows by half, so that little is read beyond its end.
func (in *input) fill() error {
	if in.eof {
		return nil
	}
	if in.pos > 0 {
		copy(in.buf, in.buf[in.pos:in.end])
		in.base += int64(in.pos)
		in.pos, in.end = 0, in.end-in.pos
	}
	in.fit()
	room := len(in.buf) - jsonscan.Padding
	if len(in.buf) > largeBuffer {
		room = min(room, in.end+max(in.end/2, chunkSize))
	}
	for in.end < room {
		n, err := in.text.Read(in.buf[in.end:room])
		in.end += n
		if err == io.EOF {
			in.eof = true
			return nil
		}
		if err != nil {
			return in.fault(err)
		}
		if size := in.base + int64(in.end); size > inflateFrom && size > inflateMax*in.body.n {
			return in.fault(ErrInflates)
		}
	}
	return nil
}

// fit lets the buffer grow when the window takes more than half of it, and makes a large one small again
// when the window is.
func (in *input) fit() {
	size := len(in.buf)
	switch room := size - jsonscan.Padding; {
	case size > largeBuffer && in.end <= chunkSize/2:
		size = chunkSize + jsonscan.Padding
	case in.end <= room/2, size >= in.most && in.end+chunkSize <= room:
		return
	case size < in.most:
		size = min(2*size, in.most)
	default:
		size += 4 * chunkSize
	}
	if size > largeBuffer {
		in.turn.take()
	}
	buf := make([]byte, size)
	copy(buf, in.buf[:in.end])
	in.buf = buf
}

// skipTo drops text up to what find finds, which becomes the start of the window, or all of it. It
// returns the number of bytes dropped. The last overlap bytes of a window may be part of what is to be
// found.
func (in *input) skipTo(find func([]byte) int, overlap int) (n int64, err error) {
	for {
		window := in.buf[in.pos:in.end]
		if k := find(window); k >= 0 {
			in.pos += k
			return n + int64(k), nil
		}
		keep := min(overlap, len(window))
		if in.eof {
			keep = 0
		}
		n += int64(len(window) - keep)
		in.pos = in.end - keep
		if in.eof {
			return n, nil
		}
		if err := in.fill(); err != nil {
			return n, err
		}
	}
}

// CanSplit reports, from the start of a file, whether it can be read in parts that end with a line
// feed: it is not compressed, and has its records on lines.
func CanSplit(head []byte, opts Options) bool {
	for _, c := range codecs {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return false
		}
	}
	head = bytes.TrimPrefix(head, bom)
	switch {
	case opts.LineSep != "" || opts.isTranscoded(head) || opts.RecordPath != "":
		return false
	case opts.Framing == "":
		opts.MaxDepth = cmp.Or(opts.MaxDepth, defaultMaxDepth)
		return detect(head, false, &opts) == byLine
	}
	return opts.Framing == "lines"
}

// framing is how records stand in a file.
type framing uint8

const (
	// byLine means a record a line, or several, or an array of them.
	byLine framing = iota
	// byValue means that values follow each other, over as many lines as they like; a top-level array
	// holds records.
	byValue
	// byPath means that records are at a path inside the values of the file.
	byPath
	// byFile means that the file is one record, or one array of records.
	byFile
	// bySeparator means that a text of the user's divides the records.
	bySeparator
)

// detectLines is the number of lines at the start of a file that are tried.
const detectLines = 10

// detect tells from the start of a text, or all of it, how its records are framed.
func detect(text []byte, all bool, opts *Options) framing {
	text = bytes.TrimLeft(text, " \t\r\n")
	if len(text) == 0 {
		return byLine
	}
	if text[0] == '[' {
		return byValue
	}
	lines := bytes.SplitN(text[:min(len(text), chunkSize)], []byte("\n"), detectLines+1)
	if len(lines) == 1 {
		return byLine
	}
	s := jsonscan.Scanner{Space: jsonscan.Anywhere, MaxDepth: opts.MaxDepth, NonNumeric: opts.NonNumeric}
	if text[0] == '{' {
		s.Reset(lines[0])
		if s.Value(0, 0) < 0 && s.Why == jsonscan.Truncated {
			s.Reset(text) // most of a chunk, which is rarely worth a copy
			if end := s.Value(0, 0); end >= 0 || s.Why == jsonscan.Truncated && !all {
				return byValue
			}
		}
	}
	for _, line := range lines[:len(lines)-1] {
		if s.Reset(line); s.Text[0] == '{' && s.Value(0, 0) >= 0 {
			return byLine
		}
	}
	return byValue
}
