package convert

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/objstore"
)

// Part is a part of a file of lines. The zero Part is the whole of any file.
type Part struct {
	Start int64 `json:"start"` // bytes; the first of a line
	End   int64 `json:"end"`   // behind a line feed, or the end of the file
	// Lines is the number of line feeds before Start.
	Lines int64 `json:"lines"`
}

// Piece is a file, or a part of one.
type Piece struct {
	objstore.Object
	Part Part `json:"part,omitzero"`
	// Waits means that a record that is torn at its end makes the file one that is not read.
	Waits bool `json:"waits,omitempty"`
}

// mayWait reports whether a file that ends inside a record, or this last part of it, waits at a time, since it may
// still be written.
func mayWait(o objstore.Object, part Part, now time.Time, grace time.Duration) bool {
	return now.Sub(o.ModTime) < grace && (part.End == 0 || part.End == o.Size)
}

// Wait makes pieces wait as tasks with this grace would at a time.
func Wait(pieces []Piece, now time.Time, grace time.Duration) {
	for i, p := range pieces {
		pieces[i].Waits = mayWait(p.Object, p.Part, now, grace)
	}
}

// bytes is how much there is to read.
func (p Piece) bytes() int64 {
	if p.Part.End > 0 {
		return p.Part.End - p.Part.Start
	}
	return p.Size
}

// framed are the options to read the piece by: a part has its records on lines.
func (p Piece) framed(opts decode.Options) decode.Options {
	if p.Part.End > 0 {
		opts.Framing = "lines"
	}
	return opts
}

// Head returns the part of a file of lines that is its lines within the first size bytes. It is not ok
// when the file cannot be divided, or is no longer.
func (c *Converter) Head(ctx context.Context, o objstore.Object, opts decode.Options, size int64) (p Part, ok bool) {
	if o.Size <= size {
		return Part{}, false
	}
	body, _, err := c.stores.Source.Open(ctx, o.Key, objstore.Range{IfMatch: o.ETag, Len: size})
	if err != nil {
		return Part{}, false // whoever reads it will say so
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil || !decode.CanSplit(text, opts) {
		return Part{}, false
	}
	end := bytes.LastIndexByte(text, '\n') + 1
	return Part{End: int64(end)}, end > 0
}

// splitChunk is how much of a file Split reads at once.
const splitChunk = 1 << 20

// Split divides a large file of lines into parts of about size bytes, which can be read at the same
// time and give the rows that the whole gives. A file that cannot be divided is one part, the zero one.
func (c *Converter) Split(ctx context.Context, o objstore.Object, opts decode.Options, size int64) ([]Part, error) {
	whole := []Part{{}}
	if o.Size <= size {
		return whole, nil
	}
	body, _, err := c.stores.Source.Open(ctx, o.Key, objstore.Range{IfMatch: o.ETag})
	if err != nil {
		return whole, nil // whoever reads it will say so
	}
	defer body.Close()
	var parts []Part
	now := Part{}
	at, lines := int64(0), int64(0)
	chunk := make([]byte, splitChunk)
	for {
		n, err := io.ReadFull(body, chunk)
		text := chunk[:n]
		if at == 0 && !decode.CanSplit(text, opts) {
			return whole, nil
		}
		for len(text) > 0 {
			// The part ends behind the first line feed at or after its size.
			skip := min(max(now.Start+size-at-1, 0), int64(len(text)))
			k := bytes.IndexByte(text[skip:], '\n')
			if k < 0 {
				lines += int64(bytes.Count(text, newline))
				at += int64(len(text))
				break
			}
			cut := skip + int64(k) + 1
			lines += int64(bytes.Count(text[:cut], newline))
			at += cut
			text = text[cut:]
			now.End = at
			parts = append(parts, now)
			now = Part{Start: at, Lines: lines}
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if now.End = at; now.Start < at {
				parts = append(parts, now)
			}
			if at != o.Size || len(parts) < 2 {
				return whole, nil
			}
			return parts, nil
		case err != nil:
			return whole, ctx.Err()
		}
	}
}

var newline = []byte("\n")
