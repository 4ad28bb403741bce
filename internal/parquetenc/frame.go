package parquetenc

import (
	"encoding/binary"

	"github.com/klauspost/compress/huff0"
)

// finder is how a framer looks for what was there before. A general encoder tries every byte; a page of a
// column is known to be one value after the other, so that few places are worth a look.
type finder uint8

const (
	// nothing is found: for values like UUIDs codes alone are as small.
	nothing finder = iota
	// above is the same place of the value before: for texts of one length, and for integers.
	above
	// decimals are the low bytes of an earlier double. A decimal fraction like 0.125 ends in one of few ways.
	decimals
)

// framer makes Zstandard frames (RFC 8878) of pages. Any reader of the format reads them; docs/decisions/0021
// says why silt makes some of its own.
type framer struct {
	codes    huff0.Scratch
	literals []byte
	found    []sequence
	sequences
	places [1 << placesLog]uint32 // of decimals by their hash, plus one
}

// sequence is a part that is there as it stands, then one that was there before.
type sequence struct {
	literals, match uint32 // bytes
	offset          uint32 // bytes back
}

const (
	frameMagic = 0xFD2FB528
	// frameSized is a frame header whose content size has four bytes.
	frameSized = 2 << 6
	blockMax   = 128 << 10 // bytes of content
	// frameWindow is a window of one block, the least that leaves it its size. A reader keeps as much as
	// the window, and may refuse one that is large. No offset is larger.
	frameWindow = 7 << 3

	blockRaw        = 0
	blockRLE        = 1
	blockCompressed = 2

	literalsRaw        = 0 | 3<<2 // with a size of 20 bits
	literalsCompressed = 2 | 3<<2 // with a Huffman tree, in four streams, whose two sizes have 18 bits
)

// append appends the frame of b to out. Values have width bytes, and the last one ends with b.
func (f *framer) append(out, b []byte, how finder, width int) []byte {
	out = binary.LittleEndian.AppendUint32(out, frameMagic)
	out = append(out, frameSized, frameWindow)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(b)))
	if how == decimals {
		clear(f.places[:])
	}
	for from := 0; from == 0 || from < len(b); from += blockMax {
		to := min(from+blockMax, len(b))
		f.found = f.found[:0]
		switch how {
		case above:
			f.findAbove(b, from, to, width)
		case decimals:
			f.findDecimals(b, from, to)
		}
		out = f.block(out, b[from:to], to == len(b))
	}
	return out
}

// block appends a block of b with what was found in it.
func (f *framer) block(out, b []byte, last bool) []byte {
	if len(b) == 0 {
		return blockHeader(out, blockRaw, 0, last)
	}
	literals := b
	if len(f.found) > 0 {
		literals = f.literals[:0]
		at := 0
		for _, s := range f.found {
			literals = append(literals, b[at:at+int(s.literals)]...)
			at += int(s.literals + s.match)
		}
		literals = append(literals, b[at:]...)
		f.literals = literals
	}
	codes, err := f.codesOf(literals)
	if err == huff0.ErrUseRLE && len(f.found) == 0 {
		return append(blockHeader(out, blockRLE, len(b), last), b[0])
	}
	start := len(out)
	out = blockHeader(out, blockCompressed, 0, last)
	body := len(out)
	if err == nil {
		sizes := literalsCompressed | uint64(len(literals))<<4 | uint64(len(codes))<<22
		out = append(out, byte(sizes), byte(sizes>>8), byte(sizes>>16), byte(sizes>>24), byte(sizes>>32))
		out = append(out, codes...)
	} else {
		size := literalsRaw | len(literals)<<4
		out = append(out, byte(size), byte(size>>8), byte(size>>16))
		out = append(out, literals...)
	}
	out = f.sequences.append(out, f.found)
	if len(out)-body >= len(b) {
		return append(blockHeader(out[:start], blockRaw, len(b), last), b...)
	}
	blockHeader(out[:start], blockCompressed, len(out)-body, last)
	return out
}

// codesOf returns the Huffman tree and the codes of b, valid until the next ones.
func (f *framer) codesOf(b []byte) ([]byte, error) {
	f.codes.Reuse = huff0.ReusePolicyNone
	codes, _, err := huff0.Compress4X(b, &f.codes)
	return codes, err
}

func blockHeader(out []byte, kind, size int, last bool) []byte {
	h := kind<<1 | size<<3
	if last {
		h |= 1
	}
	return append(out, byte(h), byte(h>>8), byte(h>>16))
}
