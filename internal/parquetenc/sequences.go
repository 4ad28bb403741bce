package parquetenc

import (
	"encoding/binary"
	"math/bits"
)

// sequences writes the sequences of a block (RFC 8878, section 3.1.1.3.2): how many there are, a table for
// each of the three codes of a sequence, and a bit stream that is read from its end.
type sequences struct {
	codes  [sequenceParts][]byte
	tables [sequenceParts]fse
}

// What a sequence has codes for, in the order of their tables.
const (
	literalsPart = iota
	offsetPart
	matchPart
	sequenceParts
)

// maxLog is the largest accuracy of their tables.
var maxLog = [sequenceParts]int{9, 8, 9}

const (
	tableRLE  = 1
	tableFSE  = 2
	minLength = 3 // of a match
)

// append appends them to out. There are less than 0x7F00, from which on their number is written otherwise:
// in a block each takes more than minMatch bytes.
func (s *sequences) append(out []byte, all []sequence) []byte {
	switch n := len(all); {
	case n == 0:
		return append(out, 0)
	case n < 128:
		out = append(out, byte(n))
	default:
		out = append(out, byte(n>>8)+128, byte(n))
	}
	for k := range s.codes {
		s.codes[k] = grow(s.codes[k][:0], len(all))
	}
	last := uint32(0)
	for i, q := range all {
		s.codes[literalsPart][i] = literalCode(q.literals)
		s.codes[offsetPart][i] = byte(bits.Len32(offsetValue(q, last)) - 1)
		s.codes[matchPart][i] = matchCode(q.match - minLength)
		last = q.offset
	}
	modes := len(out)
	out = append(out, 0)
	for k := range s.tables {
		t := &s.tables[k]
		if t.count(s.codes[k], maxLog[k]) {
			out[modes] |= tableFSE << (6 - 2*k)
			out = t.appendTable(out)
		} else {
			out[modes] |= tableRLE << (6 - 2*k)
			out = append(out, s.codes[k][0])
		}
	}
	return s.appendBits(out, all)
}

// appendBits appends the bit stream, of the last sequence first.
func (s *sequences) appendBits(out []byte, all []sequence) []byte {
	const most = 11 // bytes of a sequence
	w := newBitWriter(out, (len(all)+2)*most)
	literals, offsets, matches := &s.tables[literalsPart], &s.tables[offsetPart], &s.tables[matchPart]
	for i := len(all) - 1; i >= 0; i-- {
		l, o, m := s.codes[literalsPart][i], s.codes[offsetPart][i], s.codes[matchPart][i]
		if i == len(all)-1 {
			matches.begin(m)
			offsets.begin(o)
			literals.begin(l)
		} else {
			offsets.encode(&w, o)
			matches.encode(&w, m)
			literals.encode(&w, l)
		}
		w.flush()
		q := &all[i]
		w.add(q.literals-literalBases[l], literalBits[l])
		w.add(q.match-minLength-matchBases[m], matchBits[m])
		if o > 0 { // 0 is the offset before, in no bits
			w.add(q.offset+3-1<<o, o)
		}
		w.flush()
	}
	matches.end(&w)
	offsets.end(&w)
	literals.end(&w)
	w.add(1, 1) // where the stream begins for a reader
	return w.close()
}

// offsetValue is what stands for an offset: 1 for the same as before, when there are literals in front of the
// match; last is the one before in the block, or 0.
func offsetValue(q sequence, last uint32) uint32 {
	if q.offset == last && q.literals > 0 {
		return 1
	}
	return q.offset + 3
}

// Lengths have a code for their base and bits to add to it. Those of matches are without minLength.
var (
	literalBits, literalBases, literalCodes = lengths(16, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
	matchBits, matchBases, matchCodes       = lengths(32, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
)

// lookedUp is the number of lengths whose codes are looked up.
const lookedUp = 256

// lengths are the codes of which single stand for themselves, and the rest have so many bits each.
func lengths(single int, rest ...byte) (extra [64]byte, bases [64]uint32, codes [lookedUp]byte) {
	copy(extra[single:], rest)
	base := uint32(0)
	for code, n := range extra[:single+len(rest)] {
		bases[code] = base
		for v := base; v < min(base+1<<n, lookedUp); v++ {
			codes[v] = byte(code)
		}
		base += 1 << n
	}
	return extra, bases, codes
}

// literalCode and matchCode are the codes of lengths; those of large ones go up by powers of two.
func literalCode(n uint32) byte {
	if n < lookedUp {
		return literalCodes[n]
	}
	return byte(bits.Len32(n) + 18)
}

func matchCode(n uint32) byte {
	if n < lookedUp {
		return matchCodes[n]
	}
	return byte(bits.Len32(n) + 35)
}

// bitWriter appends bits, the lowest first.
type bitWriter struct {
	out  []byte
	at   int
	held uint64
	n    uint8 // bits held
}

// newBitWriter has room for size bytes.
func newBitWriter(out []byte, size int) bitWriter {
	return bitWriter{out: grow(out, len(out)+size+8), at: len(out)}
}

// add adds the n low bits of v, the only ones that are set. At most 56 bits may be added before flush.
func (w *bitWriter) add(v uint32, n uint8) {
	w.held |= uint64(v) << (w.n & 63)
	w.n += n
}

// flush leaves less than 8 bits held.
func (w *bitWriter) flush() {
	binary.LittleEndian.PutUint64(w.out[w.at:], w.held)
	w.at += int(w.n / 8)
	w.held >>= w.n & 56
	w.n %= 8
}

func (w *bitWriter) close() []byte {
	w.n += 7
	w.flush()
	return w.out[:w.at]
}
