package parquetenc

import (
	"encoding/binary"
	"math/bits"
)

// table finds the index of a value in a dictionary by its hash. Slots hold the index plus one.
type table struct {
	slots []uint32
	shift uint8 // of a hash of 64 bits to a slot
}

const firstSlots = 64

func (t *table) reset(n int) {
	if cap(t.slots) >= n {
		t.slots = t.slots[:n]
		clear(t.slots)
	} else {
		t.slots = make([]uint32, n)
	}
	t.shift = uint8(64 - bits.TrailingZeros(uint(n)))
}

// put stores an index in the first free slot for the hash.
func (t *table) put(hash uint64, index int) {
	s := hash >> t.shift
	for t.slots[s] != 0 {
		s = (s + 1) & uint64(len(t.slots)-1)
	}
	t.slots[s] = uint32(index + 1)
}

// numbers is the dictionary of a column of numbers, which are given as their bits.
type numbers struct {
	table
	vals []uint64
}

func (d *numbers) reset() {
	d.vals = d.vals[:0]
	d.table.reset(firstSlots)
}

func hash64(v uint64) uint64 { return (v ^ v>>29) * 0x9E3779B97F4A7C15 }

// add appends the indices of the values to out.
func (d *numbers) add(out []uint32, vals []uint64) []uint32 {
	mask := uint64(len(d.slots) - 1)
	at := len(out)
	out = grow(out, at+len(vals))
	indices := out[at:]
	for i, v := range vals {
		s := hash64(v) >> d.shift
		for {
			x := d.slots[s&mask]
			if x == 0 {
				d.vals = append(d.vals, v)
				x = uint32(len(d.vals))
				d.slots[s&mask] = x
				indices[i] = x - 1
				if 2*len(d.vals) > len(d.slots) {
					d.grow()
					mask = uint64(len(d.slots) - 1)
				}
				break
			}
			if d.vals[x-1] == v {
				indices[i] = x - 1
				break
			}
			s++
		}
	}
	return out
}

func (d *numbers) grow() {
	d.table.reset(4 * len(d.slots))
	for i, v := range d.vals {
		d.put(hash64(v), i)
	}
}

// texts is the dictionary of a column of byte strings.
type texts struct {
	table
	data   []byte
	ends   []uint32
	hashes []uint64
}

func (d *texts) reset() {
	d.data, d.ends, d.hashes = d.data[:0], d.ends[:0], d.hashes[:0]
	d.table.reset(firstSlots)
}

func (d *texts) at(i uint32) []byte {
	start := uint32(0)
	if i > 0 {
		start = d.ends[i-1]
	}
	return d.data[start:d.ends[i]]
}

// find returns the index of the value, which it may have to add.
func (d *texts) find(v []byte) uint32 {
	h := hashBytes(v)
	mask := uint64(len(d.slots) - 1)
	for s := h >> d.shift; ; s++ {
		x := d.slots[s&mask]
		if x == 0 {
			d.slots[s&mask] = uint32(len(d.ends) + 1)
			return d.insert(v, h)
		}
		if d.hashes[x-1] == h && (len(v) <= hashedWhole && d.length(x-1) == len(v) || string(d.at(x-1)) == string(v)) {
			return x - 1
		}
	}
}

func (d *texts) length(i uint32) int {
	if i == 0 {
		return int(d.ends[0])
	}
	return int(d.ends[i] - d.ends[i-1])
}

func (d *texts) insert(v []byte, hash uint64) uint32 {
	d.data = append(d.data, v...)
	d.ends = append(d.ends, uint32(len(d.data)))
	d.hashes = append(d.hashes, hash)
	if 2*len(d.ends) > len(d.slots) {
		d.table.reset(4 * len(d.slots))
		for i, h := range d.hashes {
			d.put(h, i)
		}
	}
	return uint32(len(d.ends) - 1)
}

// hashedWhole is the number of bytes up to which two texts of one length with the same hash are the same: each
// step of hashBytes can be undone.
const hashedWhole = 8

// hashBytes reads eight bytes at a time. Its upper half alone makes a slot.
func hashBytes(v []byte) uint64 {
	const k = 0x9E3779B97F4A7C15
	h := uint64(len(v)) * k
	if len(v) >= 8 {
		last := binary.LittleEndian.Uint64(v[len(v)-8:])
		for ; len(v) > 8; v = v[8:] {
			h = (h ^ binary.LittleEndian.Uint64(v)) * k
			h ^= h >> 32
		}
		h = (h ^ last) * k
		return (h ^ h>>32) * k
	}
	var x uint64
	switch {
	case len(v) >= 4:
		x = uint64(binary.LittleEndian.Uint32(v)) | uint64(binary.LittleEndian.Uint32(v[len(v)-4:]))<<32
	case len(v) > 0:
		x = uint64(v[0]) | uint64(v[len(v)/2])<<8 | uint64(v[len(v)-1])<<16
	}
	h = (h ^ x) * k
	return (h ^ h>>32) * k
}
