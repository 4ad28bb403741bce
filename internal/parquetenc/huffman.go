package parquetenc

import (
	"encoding/binary"

	"github.com/klauspost/compress/huff0"
)

// huffman makes Zstandard frames of nothing but Huffman codes (RFC 8878, sections 3.1.1 and 4.2). For values
// like UUIDs, in which a search for what was there before finds little, it is faster than an encoder that
// searches, and often makes less of them.
type huffman struct {
	scratch huff0.Scratch
}

const (
	frameMagic = 0xFD2FB528
	// frameSized is a frame header whose content size has four bytes.
	frameSized = 2 << 6
	blockMax   = 128 << 10 // bytes of content
	// frameWindow is a window of one block, the least that leaves it its size. No block looks back, and a
	// reader keeps as much as the window, and may refuse one that is large.
	frameWindow = 7 << 3

	blockRaw        = 0
	blockRLE        = 1
	blockCompressed = 2
	// literalsCompressed are literals with a Huffman tree, in four streams, whose two sizes have 18 bits.
	literalsCompressed = 2 | 3<<2
	literalsHeader     = 5 // bytes
)

// append appends the frame of b to out.
func (h *huffman) append(out, b []byte) []byte {
	out = binary.LittleEndian.AppendUint32(out, frameMagic)
	out = append(out, frameSized, frameWindow)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(b)))
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), blockMax)
		out = h.block(out, b[:n], n == len(b))
		b = b[n:]
	}
	return out
}

func (h *huffman) block(out, b []byte, last bool) []byte {
	if len(b) == 0 {
		return blockHeader(out, blockRaw, 0, last)
	}
	codes, err := h.codes(b)
	switch {
	case err == huff0.ErrUseRLE:
		return append(blockHeader(out, blockRLE, len(b), last), b[0])
	case err != nil || len(codes)+literalsHeader+1 >= len(b):
		return append(blockHeader(out, blockRaw, len(b), last), b...)
	}
	out = blockHeader(out, blockCompressed, literalsHeader+len(codes)+1, last)
	sizes := literalsCompressed | uint64(len(b))<<4 | uint64(len(codes))<<22
	out = append(out, byte(sizes), byte(sizes>>8), byte(sizes>>16), byte(sizes>>24), byte(sizes>>32))
	return append(append(out, codes...), 0) // no sequences
}

// codes returns the tree and the codes of b, valid until the next ones.
func (h *huffman) codes(b []byte) ([]byte, error) {
	h.scratch.Reuse = huff0.ReusePolicyNone
	codes, _, err := huff0.Compress4X(b, &h.scratch)
	return codes, err
}

func blockHeader(out []byte, kind, size int, last bool) []byte {
	h := kind<<1 | size<<3
	if last {
		h |= 1
	}
	return append(out, byte(h), byte(h>>8), byte(h>>16))
}

// suits reports whether codes alone make little more of b than an encoder that searches and takes more than
// twice the time, which made packed bytes of it. It tries a part.
func (h *huffman) suits(b []byte, packed int) bool {
	const part = 32 << 10
	if len(b) < 2*part || packed < len(b)/3 {
		return false
	}
	codes, err := h.codes(b[len(b)-part:])
	return err == nil && int64(len(codes))*int64(len(b))*3 <= int64(packed)*part*4
}
