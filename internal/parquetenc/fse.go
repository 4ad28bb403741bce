package parquetenc

import "math/bits"

// fse writes symbols by a finite state entropy table (RFC 8878, section 4.1): the more often a symbol is
// there, the more of the table's states are its own, and the fewer bits it takes.
type fse struct {
	log    int // of the number of states; 0 when all symbols are the same, which take no bits
	norm   [64]uint16
	states [1 << 9]uint16 // the states of each symbol in order, plus the number of states
	spread [1 << 9]byte   // the symbol of each state
	steps  [64]step
	state  uint32
}

// step is how one comes to a state of a symbol: by how many bits of the state before, and where from.
type step struct {
	bits uint32 // added to the state before, the number of bits in the upper half
	from int32
}

// count makes the table for the symbols, all below 64, and reports whether there are two different ones.
func (t *fse) count(symbols []byte, maxLog int) bool {
	var counts, odd [64]int // two, or one waits for the other
	for i, s := range symbols {
		if i&1 == 0 {
			counts[s&63]++
		} else {
			odd[s&63]++
		}
	}
	for s, n := range odd {
		counts[s] += n
	}
	different, most := 0, 0
	for s, n := range counts {
		if n > 0 {
			different++
		}
		if n > counts[most] {
			most = s
		}
	}
	t.log, t.state = 0, 0
	if different == 1 {
		return false
	}
	t.log = min(max(bits.Len(uint(len(symbols)))-2, 6), maxLog)
	size := 1 << t.log
	left := size
	for s, n := range counts {
		t.norm[s] = 0
		if n > 0 {
			t.norm[s] = uint16(max(1, n*(size-different)/len(symbols)))
			left -= int(t.norm[s])
		}
	}
	t.norm[most] += uint16(left) // left is not negative: shares are of size less one for each symbol that is there
	t.build()
	return true
}

// build lays out the states by norm.
func (t *fse) build() {
	size := 1 << t.log
	var next [64]int
	at, total := 0, 0
	for s, n := range t.norm {
		next[s] = total
		for range n {
			t.spread[at] = byte(s)
			at = (at + size>>1 + size>>3 + 3) & (size - 1)
		}
		switch n {
		case 0:
		case 1:
			t.steps[s] = step{uint32(t.log<<16 - size), int32(total - 1)}
		default:
			most := t.log - (bits.Len16(n-1) - 1) // bits
			t.steps[s] = step{uint32(most<<16 - int(n)<<most), int32(total - int(n))}
		}
		total += int(n)
	}
	for i, s := range t.spread[:size] {
		t.states[next[s]] = uint16(size + i)
		next[s]++
	}
}

// appendTable appends norm as a reader expects it.
func (t *fse) appendTable(out []byte) []byte {
	w := newBitWriter(out, 2*len(t.norm))
	w.add(uint32(t.log-5), 4)
	left := 1<<t.log + 1 // states, plus one
	threshold, width := 1<<t.log, uint8(t.log+1)
	for s := 0; left > 1; {
		n := int(t.norm[s])
		s++
		most := 2*threshold - 1 - left // values below it take a bit less
		left -= n
		v := n + 1
		if v >= threshold {
			v += most
		}
		if v < most {
			w.add(uint32(v), width-1)
		} else {
			w.add(uint32(v), width)
		}
		for left < threshold {
			width--
			threshold >>= 1
		}
		w.flush()
		if n > 0 {
			continue
		}
		zeros := 0 // that follow
		for t.norm[s+zeros] == 0 {
			zeros++
		}
		s += zeros
		for ; zeros >= 3; zeros -= 3 {
			w.add(3, 2)
			w.flush()
		}
		w.add(uint32(zeros), 2)
		w.flush()
	}
	return w.close()
}

// begin takes the state of the last symbol.
func (t *fse) begin(symbol byte) {
	if t.log == 0 {
		return
	}
	s := &t.steps[symbol&63]
	n := (s.bits + 1<<15) >> 16
	t.state = uint32(t.states[(int32((n<<16-s.bits)>>n)+s.from)&511])
}

// encode writes what a reader needs to come from the state of symbol to the one that follows it.
func (t *fse) encode(w *bitWriter, symbol byte) {
	if t.log == 0 {
		return
	}
	s := &t.steps[symbol&63]
	n := (t.state + s.bits) >> 16 & 15
	w.add(t.state&(1<<n-1), uint8(n))
	t.state = uint32(t.states[(int32(t.state>>n)+s.from)&511])
}

// end writes the first state.
func (t *fse) end(w *bitWriter) {
	w.add(t.state&(1<<t.log-1), uint8(t.log))
}
