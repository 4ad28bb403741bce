package parquetenc

import (
	"bytes"
	"encoding/binary"
	"math"
)

// bounds are the least and the greatest value of a chunk. Numbers are kept as keys that have the order
// of the values when they are compared as unsigned numbers.
type bounds struct {
	any      bool
	nan      bool // some were NaN, which is in no bounds
	lo, hi   uint64
	min, max []byte // of byte strings
	// first are the first bytes of min and max: most strings are between them by those alone.
	first [2]uint64
}

func (b *bounds) reset() { *b = bounds{min: b.min[:0], max: b.max[:0]} }

const sign = 1 << 63

// numbers takes values in, given as their bits.
func (b *bounds) numbers(p physical, vals []uint64) {
	if len(vals) == 0 {
		return
	}
	lo, hi := uint64(math.MaxUint64), uint64(0)
	switch p {
	case typeInt32:
		for _, v := range vals {
			k := uint64(int64(int32(v))) ^ sign
			lo, hi = min(lo, k), max(hi, k)
		}
	case typeInt64:
		for _, v := range vals {
			k := v ^ sign
			lo, hi = min(lo, k), max(hi, k)
		}
	case typeDouble:
		for _, v := range vals {
			k := v ^ (uint64(int64(v)>>63) | sign)
			if v&^sign <= 0x7FF0<<48 {
				lo, hi = min(lo, k), max(hi, k)
			} else {
				b.nan = true
			}
		}
	case typeFloat:
		for _, v := range vals {
			f := float64(math.Float32frombits(uint32(v)))
			if v := math.Float64bits(f); f == f {
				k := v ^ (uint64(int64(v)>>63) | sign)
				lo, hi = min(lo, k), max(hi, k)
			} else {
				b.nan = true
			}
		}
	}
	if lo > hi { // nothing but NaN
		return
	}
	if b.any {
		lo, hi = min(lo, b.lo), max(hi, b.hi)
	}
	b.any, b.lo, b.hi = true, lo, hi
}

func (b *bounds) booleans(falses, trues int) {
	for v, n := range []int{falses, trues} {
		if n > 0 && !b.any {
			b.any, b.lo, b.hi = true, uint64(v), uint64(v)
		} else if n > 0 {
			b.lo, b.hi = min(b.lo, uint64(v)), max(b.hi, uint64(v))
		}
	}
}

// text takes a byte string in. Of one that is too long to be told only the beginning is kept.
func (b *bounds) text(p physical, v []byte) {
	if p == typeByteArray && b.any && len(v) >= 8 {
		if x := binary.BigEndian.Uint64(v); b.first[0] < x && x < b.first[1] {
			return
		}
	}
	v = v[:min(len(v), longestBound+1)]
	switch {
	case !b.any:
		b.any = true
		b.min, b.max = append(b.min[:0], v...), append(b.max[:0], v...)
	case lessText(p, v, b.min):
		b.min = append(b.min[:0], v...)
	case lessText(p, b.max, v):
		b.max = append(b.max[:0], v...)
	default:
		return
	}
	b.first = [2]uint64{firstBytes(b.min), firstBytes(b.max)}
}

// firstBytes are the first eight bytes of v as a number, with zeros for those it lacks. Where two such
// numbers differ they have the order of what they are of.
func firstBytes(v []byte) uint64 {
	var b [8]byte
	copy(b[:], v)
	return binary.BigEndian.Uint64(b[:])
}

// lessText compares strings by their bytes, and decimals, of two's complement, as numbers.
func lessText(p physical, a, b []byte) bool {
	if p == typeFixed && a[0] != b[0] {
		return int8(a[0]) < int8(b[0])
	}
	return bytes.Compare(a, b) < 0
}

// longestBound is the length of a bound in bytes above which it is left out of the footer. Bounds that
// are cut are not understood by all readers.
const longestBound = 256

// statistics writes the statistics of a chunk.
func (b *bounds) statistics(t *thrift, p physical, nulls int64) {
	t.i64(3, nulls)
	if !b.any {
		return
	}
	lo, hi := b.min, b.max
	if p != typeByteArray && p != typeFixed {
		lo, hi = bound(p, b.lo, true), bound(p, b.hi, false)
	}
	if len(hi) <= longestBound {
		t.bytes(5, hi)
	}
	if len(lo) <= longestBound {
		t.bytes(6, lo)
	}
	if len(hi) <= longestBound {
		t.bool(7, true)
	}
	if len(lo) <= longestBound {
		t.bool(8, true)
	}
}

// bound returns a number as it stands in statistics. A zero is -0 below and +0 above: the two are equal,
// and a reader may take either.
func bound(p physical, key uint64, lower bool) []byte {
	switch p {
	case typeBoolean:
		return []byte{byte(key)}
	case typeInt32:
		return binary.LittleEndian.AppendUint32(nil, uint32(key^sign))
	case typeInt64:
		return binary.LittleEndian.AppendUint64(nil, key^sign)
	}
	v := key ^ sign
	if key&sign == 0 {
		v = ^key
	}
	f := math.Float64frombits(v)
	if f == 0 {
		f = 0
		if lower {
			f = math.Copysign(0, -1)
		}
	}
	if p == typeFloat {
		return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(f)))
	}
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(f))
}
