package parquetenc

import (
	"encoding/binary"
	"math/bits"
)

// minMatch is the least number of bytes for which a sequence is smaller than their codes.
const minMatch = 4

// findAbove finds what the bytes from..to of b have in common with those width bytes before them.
func (f *framer) findAbove(b []byte, from, to, width int) {
	if width <= 0 || width > blockMax {
		return
	}
	begin := from           // of the literals
	i := max(from+1, width) // a match has a literal before it, see offsetValue
	for i+8 <= to {
		x := binary.LittleEndian.Uint64(b[i:]) ^ binary.LittleEndian.Uint64(b[i-width:])
		run := equalBytes(x)
		run &= run >> 8
		run &= run >> 16 // four in a row
		if run == 0 {
			i += 8 - minMatch + 1
			continue
		}
		skip := bits.TrailingZeros64(run) / 8
		n := bits.TrailingZeros64(x>>(8*skip)) / 8
		i += skip
		if skip+n >= 8 {
			n = 8 - skip
			n += same(b, i+n, i+n-width, to)
		}
		f.found = append(f.found, sequence{uint32(i - begin), uint32(n), uint32(width)})
		begin = i + n
		i = begin + 1
	}
}

// equalBytes has the highest bit of each byte set that is zero in x, and no other.
func equalBytes(x uint64) uint64 {
	const low = 0x7F7F7F7F7F7F7F7F
	return ^(x&low + low | x | low)
}

// placesLog is of how many endings of decimals one remembers the place. Those of three digits end in some
// hundred ways.
const placesLog = 12

// findDecimals finds in the doubles from..to of b the five low bytes of earlier ones, and what is the same
// around them.
func (f *framer) findDecimals(b []byte, from, to int) {
	const rest = 64 - 8*5 // bits that are not looked at
	begin := from
	for i := from + (len(b)-from)%8; i+8 <= to; i += 8 {
		v := binary.LittleEndian.Uint64(b[i:])
		place := &f.places[hash64(v<<rest)>>(64-placesLog)]
		p := int(*place) - 1
		*place = uint32(i + 1)
		if p < 0 || i-p > blockMax || (v^binary.LittleEndian.Uint64(b[p:]))<<rest != 0 {
			continue
		}
		start, end := i, i+8
		if x := v ^ binary.LittleEndian.Uint64(b[p:]); x != 0 {
			end = i + bits.TrailingZeros64(x)/8
		}
		if p >= 8 {
			x := binary.LittleEndian.Uint64(b[i-8:]) ^ binary.LittleEndian.Uint64(b[p-8:])
			start = max(begin, i-bits.LeadingZeros64(x)/8)
		}
		f.found = append(f.found, sequence{uint32(start - begin), uint32(end - start), uint32(i - p)})
		begin = end
	}
}

// same is how many bytes from i on are those from p on, p < i; up to to.
func same(b []byte, i, p, to int) int {
	n := 0
	for ; i+n+8 <= to; n += 8 {
		if x := binary.LittleEndian.Uint64(b[i+n:]) ^ binary.LittleEndian.Uint64(b[p+n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
	}
	for i+n < to && b[i+n] == b[p+n] {
		n++
	}
	return n
}
