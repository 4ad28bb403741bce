package parquetenc

import (
	"encoding/binary"
	"math/bits"
)

// Levels and indices of the dictionary are written as runs of one value, or groups of eight values in
// as few bits as the greatest needs. Source: Parquet, "Run Length Encoding / Bit-Packing Hybrid".

// appendLevels appends levels of at most width bits, with their length before them.
func appendLevels(b []byte, levels []byte, width int) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = appendHybrid(b, levels, width)
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// appendLevelRun appends one level n times, with the length before.
func appendLevelRun(b []byte, level byte, n int) []byte {
	b = append(b, 0, 0, 0, 0)
	at := len(b)
	b = append(binary.AppendUvarint(b, uint64(n)<<1), level)
	binary.LittleEndian.PutUint32(b[at-4:], uint32(len(b)-at))
	return b
}

func appendHybrid(b []byte, v []byte, width int) []byte {
	start := 0 // of the values that wait to be packed: always whole groups of eight before i
	for i := 0; i < len(v); {
		if run := levelRun(v[i:]); run >= 24 {
			b = packLevels(b, v[start:i], width)
			b = append(binary.AppendUvarint(b, uint64(run)<<1), v[i])
			i += run
			start = i
		} else {
			i = min(i+8, len(v))
		}
	}
	return packLevels(b, v[start:], width)
}

// levelRun is how many bytes at the start of v equal the first.
func levelRun(v []byte) int {
	want := uint64(v[0]) * 0x0101010101010101
	i := 0
	for ; i+8 <= len(v); i += 8 {
		if d := binary.LittleEndian.Uint64(v[i:]) ^ want; d != 0 {
			return i + bits.TrailingZeros64(d)/8
		}
	}
	for ; i < len(v) && v[i] == v[0]; i++ {
	}
	return i
}

func packLevels(b []byte, v []byte, width int) []byte {
	if len(v) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64((len(v)+7)/8)<<1|1)
	for ; len(v) >= 8; v = v[8:] {
		b = packEight(b, binary.LittleEndian.Uint64(v), width)
	}
	if len(v) > 0 { // the rest of the group is zeros: readers look at it
		var last [8]byte
		copy(last[:], v)
		b = packEight(b, binary.LittleEndian.Uint64(last[:]), width)
	}
	return b
}

// packEight appends the low bits of the eight bytes of x.
func packEight(b []byte, x uint64, width int) []byte {
	switch width {
	case 1:
		return append(b, byte((x&0x0101010101010101)*0x0102040810204080>>56))
	case 2:
		x = (x | x>>6) & 0x000F000F000F000F
		x = (x | x>>12) & 0x000000FF000000FF
		return append(b, byte(x), byte(x>>32))
	}
	var acc uint64
	for i := range 8 {
		acc |= x >> (8 * i) & 0xFF << (width * i)
	}
	for i := range width {
		b = append(b, byte(acc>>(8*i)))
	}
	return b
}

// appendIndices appends indices of the dictionary, of at most width bits.
func appendIndices(b []byte, v []uint32, width int) []byte {
	start := 0
	for i := 0; i < len(v); {
		if v[i] == v[min(i+1, len(v)-1)] {
			run := 1
			for i+run < len(v) && v[i+run] == v[i] {
				run++
			}
			if run >= 16 || run == len(v) {
				b = packIndices(b, v[start:i], width)
				b = binary.AppendUvarint(b, uint64(run)<<1)
				for n := 0; n < width; n += 8 {
					b = append(b, byte(v[i]>>n))
				}
				i += run
				start = i
				continue
			}
		}
		i = min(i+8, len(v))
	}
	return packIndices(b, v[start:], width)
}

func packIndices(b []byte, v []uint32, width int) []byte {
	if len(v) == 0 {
		return b
	}
	groups := (len(v) + 7) / 8
	b = binary.AppendUvarint(b, uint64(groups)<<1|1)
	end := len(b) + groups*width
	var acc uint64
	n := 0 // bits in acc, fewer than 32
	for _, x := range v {
		acc |= uint64(x) << n
		if n += width; n >= 32 {
			b = binary.LittleEndian.AppendUint32(b, uint32(acc))
			acc >>= 32
			n -= 32
		}
	}
	for ; n > 0; n -= 8 {
		b = append(b, byte(acc))
		acc >>= 8
	}
	for len(b) < end {
		b = append(b, 0)
	}
	return b
}
