package parquetenc

import (
	"fmt"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// How levels are made. The fields between two lists share a scope: its entries are what a leaf in it
// writes, one for each value, null or empty list, and its positions are the successive elements of the
// arrays in it. An entry has a position unless the list above is null or empty there.
//
// Entries and positions carry a mark: the definition level at which they end, when something above is
// null or empty, or alive. What is alive needs no work on the way down: only the leaf knows its level.
// A nil slice of marks says that all are alive, which is the usual case.
const (
	alive   = 0xFF
	skipped = 0xFE // a position without an entry: what Arrow has below a null
)

type scope struct {
	n       int    // entries
	reps    []byte // of the entries; nil is all 0
	marks   []byte // of the entries
	base    int    // first position
	npos    int    // positions
	skipped bool   // some positions are marked so
}

// walk hands the array, which holds the values of the node in the scope, on to the leaves below. p are
// the marks of the positions.
func (w *Writer) walk(n *node, a arrow.Array, s *scope, p []byte) error {
	if s.base+s.npos > a.Len() {
		return fmt.Errorf("column %s has %d values, want %d", n.path, a.Len(), s.base+s.npos)
	}
	if a.NullN() > 0 {
		var found bool
		if p, found = w.mark(a, s, p, byte(n.def)); found && !n.nullable {
			return fmt.Errorf("column %s has a null where none is allowed", n.path)
		}
	}
	switch n.kind {
	case kindLeaf:
		n.leaf.append(w, a, s, p)
		return nil
	case kindStruct:
		st := a.(*array.Struct)
		for i, k := range n.kids {
			if err := w.walk(k, st.Field(i), s, p); err != nil {
				return err
			}
		}
		return nil
	}
	list, ok := a.(*array.List)
	if m, isMap := a.(*array.Map); isMap {
		list, ok = m.List, true
	}
	if !ok {
		return fmt.Errorf("column %s is a %T, want a list", n.path, a)
	}
	in := w.expand(n, list, s, p)
	p = nil
	if in.skipped {
		p = in.marks[in.n:]
		in.marks = in.marks[:in.n]
	}
	if n.kind == kindList {
		return w.walk(n.kids[0], list.ListValues(), &in, p)
	}
	entries := list.ListValues().(*array.Struct)
	for i, k := range n.kids {
		if err := w.walk(k, entries.Field(i), &in, p); err != nil {
			return err
		}
	}
	return nil
}

// mark returns the marks of the positions with what is null in a marked by its level, and reports
// whether anything is that was alive.
func (w *Writer) mark(a arrow.Array, s *scope, p []byte, level byte) ([]byte, bool) {
	bitmap, at := a.NullBitmapBytes(), a.Data().Offset()+s.base
	var out []byte
	for i := 0; i < s.npos; i += 8 {
		nulls := ^eightBits(bitmap, at+i)
		if n := s.npos - i; n < 8 {
			nulls &= 1<<n - 1
		}
		for ; nulls != 0; nulls &= nulls - 1 {
			j := i + bits.TrailingZeros8(nulls)
			if p != nil && p[j] != alive {
				continue
			}
			if out == nil {
				if out = w.bytes(s.npos); p != nil {
					copy(out, p)
				} else {
					fill(out, alive)
				}
			}
			out[j] = level
		}
	}
	if out == nil {
		return p, false
	}
	return out, true
}

// eightBits returns the eight bits of the bitmap from bit i on; those behind its end are 0.
func eightBits(bitmap []byte, i int) uint8 {
	b := bitmap[i/8] >> (i % 8)
	if i%8 != 0 && i/8+1 < len(bitmap) {
		b |= bitmap[i/8+1] << (8 - i%8)
	}
	return b
}

// expand returns the scope in a list. When positions are skipped, the marks of the positions follow
// those of the entries.
func (w *Writer) expand(n *node, list *array.List, s *scope, p []byte) scope {
	at := list.Data().Offset() + s.base
	var offsets []int32
	if s.npos > 0 {
		offsets = list.Offsets()[at : at+s.npos+1]
	} else {
		offsets = []int32{0}
	}
	level := byte(n.def) // of an empty list
	if n.nullable {
		level++
	}
	first := int(offsets[0])
	in := scope{base: first, npos: int(offsets[s.npos]) - first}
	reps, marks := w.bytes(s.n+in.npos), w.bytes(s.n+2*in.npos)
	rep := byte(n.rep + 1)
	k, pos, all := 0, 0, true
	var holes []byte // the marks of the positions in the list
	for e := range s.n {
		r, d := byte(0), byte(alive)
		if s.reps != nil {
			r = s.reps[e]
		}
		if s.marks != nil {
			d = s.marks[e]
		}
		if d == alive {
			if p != nil {
				for p[pos] == skipped {
					holes = skip(holes, &in, marks, offsets, pos)
					pos++
				}
				d = p[pos]
			}
			from, to := offsets[pos], offsets[pos+1]
			pos++
			if d == alive {
				if from == to {
					d = level
				} else {
					reps[k], marks[k] = r, alive
					k++
					for range to - from - 1 {
						reps[k], marks[k] = rep, alive
						k++
					}
					continue
				}
			} else if from != to {
				holes = skip(holes, &in, marks, offsets, pos-1)
			}
		}
		reps[k], marks[k] = r, d
		k++
		all = false
	}
	for ; pos < s.npos; pos++ { // the rest is skipped
		holes = skip(holes, &in, marks, offsets, pos)
	}
	in.n, in.reps = k, reps[:k]
	switch {
	case in.skipped:
		copy(marks[k:], holes)
		in.marks = marks[:k+in.npos]
	case !all:
		in.marks = marks[:k]
	}
	return in
}

// skip marks the elements of a list that has no value. The marks of positions are kept at the end of
// the marks until all entries are there.
func skip(holes []byte, in *scope, marks []byte, offsets []int32, pos int) []byte {
	from, to := int(offsets[pos]-offsets[0]), int(offsets[pos+1]-offsets[0])
	if from == to {
		return holes
	}
	if holes == nil {
		holes = marks[len(marks)-in.npos:]
		fill(holes, alive)
		in.skipped = true
	}
	fill(holes[from:to], skipped)
	return holes
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// levels adds the levels of the entries to the open page of a leaf.
func (c *column) levels(s *scope, p []byte) {
	if c.maxRep > 0 {
		c.reps = append(c.reps, s.reps...)
	}
	from := c.entries
	c.entries += s.n
	if s.marks == nil && p == nil {
		if len(c.defs) > 0 {
			c.defs = grow(c.defs, c.entries)
			fill(c.defs[from:], byte(c.maxDef))
		}
		return
	}
	// Until something is null, the page has no levels.
	have := len(c.defs)
	c.defs = grow(c.defs, c.entries)
	if have == 0 {
		fill(c.defs[:from], byte(c.maxDef))
	}
	out, most := c.defs[from:], byte(c.maxDef)
	switch {
	case p == nil:
		for i, m := range s.marks {
			out[i] = min(m, most)
		}
	case s.marks == nil && !s.skipped:
		for i, m := range p {
			out[i] = min(m, most)
		}
	default:
		pos := 0
		for i := range out {
			m := byte(alive)
			if s.marks != nil {
				m = s.marks[i]
			}
			if m == alive {
				for p[pos] == skipped {
					pos++
				}
				m = p[pos]
				pos++
			}
			out[i] = min(m, most)
		}
	}
}

// grow returns b with n elements; the new ones are to be set.
func grow[T any](b []T, n int) []T {
	if n > cap(b) {
		b = append(make([]T, 0, max(n, 2*cap(b))), b...)
	}
	return b[:n]
}

// bytes is about the size of the values from..to of the node's array in Arrow's memory.
func (n *node) bytes(a arrow.Array, from, to int) (size int64) {
	if from >= to {
		return 0
	}
	switch n.kind {
	case kindStruct:
		for i, k := range n.kids {
			size += k.bytes(a.(*array.Struct).Field(i), from, to)
		}
		return size
	case kindList, kindMap:
		l := a.(array.ListLike)
		first, _ := l.ValueOffsets(from)
		_, last := l.ValueOffsets(to - 1)
		size = int64(to-from) * 4
		if n.kind == kindList {
			return size + n.kids[0].bytes(l.ListValues(), int(first), int(last))
		}
		for i, k := range n.kids {
			size += k.bytes(l.ListValues().(*array.Struct).Field(i), int(first), int(last))
		}
		return size
	}
	if n.leaf.physical == typeByteArray && a.Data().Buffers()[1] != nil {
		offsets := arrow.Int32Traits.CastFromBytes(a.Data().Buffers()[1].Bytes())[a.Data().Offset():]
		return int64(to-from)*4 + int64(offsets[to]-offsets[from])
	}
	return int64(to-from) * int64(max(1, n.leaf.width))
}
