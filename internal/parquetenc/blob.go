package parquetenc

// blob holds bytes in blocks, which it takes from the writer and gives back.
type blob struct {
	blocks [][]byte
}

func (b *blob) append(w *Writer, p []byte) {
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

func (b *blob) size() int64 {
	n := len(b.blocks)
	if n == 0 {
		return 0
	}
	return int64(n-1)*int64(cap(b.blocks[0])) + int64(len(b.blocks[n-1]))
}

func (b *blob) free(w *Writer) {
	for i, block := range b.blocks {
		w.free = append(w.free, block[:0])
		b.blocks[i] = nil
	}
	b.blocks = b.blocks[:0]
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
