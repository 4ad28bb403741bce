package merge

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
)

// spool holds parts of rows in one temporary file, which has no name where the system allows that, so that
// nothing is left of it after a crash. One goroutine uses it.
type spool struct {
	file  *os.File
	size  int64
	parts []spooled
	buf   bytes.Buffer // of one write
}

// spooled is a part: an Arrow stream, in pieces of the file.
type spooled struct {
	w      *ipc.Writer // nil while there are no rows
	pieces []piece
}

type piece struct{ at, size int64 }

func newSpool(dir string, parts int) (*spool, error) {
	f, err := os.CreateTemp(dir, "silt-merge-*")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(f.Name()) // where that fails, it is done when the file is closed
	return &spool{file: f, parts: make([]spooled, parts)}, nil
}

// write appends rows to a part.
func (s *spool) write(part int, rec arrow.RecordBatch) error {
	p := &s.parts[part]
	if p.w == nil {
		p.w = ipc.NewWriter(&s.buf, ipc.WithSchema(rec.Schema()), ipc.WithLZ4())
	}
	err := p.w.Write(rec)
	if err == nil {
		err = s.flush(p)
	}
	if err != nil {
		return fmt.Errorf("change rows in %s: %w", s.file.Name(), err)
	}
	return nil
}

func (s *spool) flush(p *spooled) error {
	defer s.buf.Reset()
	n, err := s.file.WriteAt(s.buf.Bytes(), s.size)
	p.pieces = append(p.pieces, piece{s.size, int64(n)})
	s.size += int64(n)
	return err
}

// rows yields the rows of a part, to which nothing is written any more.
func (s *spool) rows(part int) func(context.Context, [][]string) iter.Seq2[arrow.RecordBatch, error] {
	return func(context.Context, [][]string) iter.Seq2[arrow.RecordBatch, error] {
		return func(yield func(arrow.RecordBatch, error) bool) {
			if s.parts[part].w == nil {
				return
			}
			if err := s.read(&s.parts[part], func(rec arrow.RecordBatch) bool { return yield(rec, nil) }); err != nil {
				yield(nil, fmt.Errorf("change rows in %s: %w", s.file.Name(), err))
			}
		}
	}
}

func (s *spool) read(p *spooled, yield func(arrow.RecordBatch) bool) error {
	pieces := make([]io.Reader, len(p.pieces))
	for i, x := range p.pieces {
		pieces[i] = io.NewSectionReader(s.file, x.at, x.size)
	}
	r, err := ipc.NewReader(bufio.NewReaderSize(io.MultiReader(pieces...), 64<<10))
	if err != nil {
		return err
	}
	defer r.Release()
	for r.Next() {
		rec := r.RecordBatch()
		if rec.Retain(); !yield(rec) {
			return nil
		}
	}
	return r.Err()
}

func (s *spool) close() {
	_ = s.file.Close() // nothing is in it that is needed
	_ = os.Remove(s.file.Name())
}
