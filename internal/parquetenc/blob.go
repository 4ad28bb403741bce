package parquetenc

import "slices"

// blob holds bytes in blocks, which it takes from the writer and gives back.
type blob struct {
	blocks [][]byte
	n      int64
}

func (b *blob) append(w *Writer, p []byte) {
	b.n += int64(len(p))
	for len(p) > 0 {
		if n := len(b.blocks); n == 0 || len(b.blocks[n-1]) == cap(b.blocks[n-1]) {
			b.blocks = append(b.blocks, w.block())
		}
		last := &b.blocks[len(b.blocks)-1]
		n := min(len(p), cap(*last)-len(*last))
		*last = append(*last, p[:n]...)
		p = p[n:]
	}
}

// keep is append for bytes that are the blob's from now on, and that it does not copy.
func (b *blob) keep(p []byte) {
	b.n += int64(len(p))
	if n := len(b.blocks); n > 0 {
		b.blocks[n-1] = slices.Clip(b.blocks[n-1])
	}
	b.blocks = append(b.blocks, slices.Clip(p))
}

func (b *blob) size() int64 { return b.n }

func (b *blob) free(w *Writer) {
	for i, block := range b.blocks {
		if cap(block) == w.limits.block && int64(len(w.free))*int64(cap(block)) < w.opts.RowGroupBytes {
			w.free = append(w.free, block[:0])
		}
		b.blocks[i] = nil
	}
	b.blocks, b.n = b.blocks[:0], 0
}

func (b *blob) reader() blobReader { return blobReader{blocks: b.blocks} }

type blobReader struct {
	blocks [][]byte
	at     int // in the first block
}

// next returns at most n bytes, in place.
func (r *blobReader) next(n int) []byte {
	if r.at == len(r.blocks[0]) {
		r.blocks, r.at = r.blocks[1:], 0
	}
	p := r.blocks[0][r.at:]
	p = p[:min(n, len(p))]
	r.at += len(p)
	return p
}

// read appends n bytes to b.
func (r *blobReader) read(b []byte, n int) []byte {
	for n > 0 {
		p := r.next(n)
		b = append(b, p...)
		n -= len(p)
	}
	return b
}
