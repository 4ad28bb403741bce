package merge

import (
	"cmp"
	"context"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
)

// Held keeps rows that cannot be made again, so that they can be change rows: in memory, and when they are
// too many in a temporary file. The zero value holds none, in as much memory as [Options] have by default.
type Held struct {
	Memory  int64  // bytes; 0 is 256 MiB
	TempDir string // empty is the system's

	recs  []arrow.RecordBatch
	size  int64
	spool *spool // nil while all are in memory
}

// Add keeps rows behind those that are there. It retains the record. They have one schema.
func (h *Held) Add(rec arrow.RecordBatch) error {
	if h.spool != nil {
		return h.spool.write(0, rec)
	}
	rec.Retain()
	h.recs, h.size = append(h.recs, rec), h.size+sizeOf(rec)
	if h.size <= cmp.Or(h.Memory, defaultMemory) {
		return nil
	}
	var err error
	if h.spool, err = newSpool(h.TempDir, 1); err != nil {
		return err
	}
	for _, r := range h.recs {
		if err := h.spool.write(0, r); err != nil {
			return err
		}
	}
	h.forget()
	return nil
}

// Rows is that of [Changes]. It is for one goroutine, after the last Add and before Close.
func (h *Held) Rows(ctx context.Context, fields [][]string) iter.Seq2[arrow.RecordBatch, error] {
	if h.spool != nil {
		return h.spool.rows(0)(ctx, fields)
	}
	return func(yield func(arrow.RecordBatch, error) bool) {
		for _, r := range h.recs {
			r.Retain()
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (h *Held) forget() {
	for _, r := range h.recs {
		r.Release()
	}
	h.recs = nil
}

// Close gives up the rows.
func (h *Held) Close() {
	if h.forget(); h.spool != nil {
		h.spool.close()
	}
}
