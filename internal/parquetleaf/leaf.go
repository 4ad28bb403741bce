// Package parquetleaf reads the leaf columns of Parquet files as they stand there: levels and values,
// without making nested arrays of them. Rows can be compared and picked column by column at a fraction of
// what a general reader needs.
//
// It knows what most writers write: plain and dictionary pages of both versions. Anything else is
// [ErrUnsupported], and is left to a general reader.
//
// Source: https://github.com/apache/parquet-format.
package parquetleaf

import (
	"bytes"
	"errors"
	"math"
)

// ErrUnsupported says that a column is stored in a way that this package does not read.
var ErrUnsupported = errors.New("a way to store a column that is not read leaf by leaf")

// Physical is the type of a leaf, as it is numbered in Parquet.
type Physical uint8

// The physical types.
const (
	Boolean   Physical = 0
	Int32     Physical = 1
	Int64     Physical = 2
	Float     Physical = 4
	Double    Physical = 5
	ByteArray Physical = 6
	Fixed     Physical = 7
)

// Column says what the leaf column of a file is like.
type Column struct {
	Physical Physical
	// Width is the size in bytes of values of Fixed.
	Width int
	// MaxDef and MaxRep are the greatest levels.
	MaxDef, MaxRep int
}

// isNumber reports whether values are kept as numbers.
func (c Column) isNumber() bool {
	return c.Physical == Int32 || c.Physical == Int64 || c.Physical == Float || c.Physical == Double
}

// Leaf is the entries of a leaf column for some rows.
type Leaf struct {
	Column
	// Entries is the number of values and of places without one.
	Entries int
	// Defs are the definition levels of the entries; nil when each has a value. Reps are their repetition
	// levels; nil when each row has one entry.
	Defs, Reps []byte

	// Indices are the places of the values in what follows; nil: they follow each other there.
	Indices []uint32
	// Numbers are values as bits, those of four bytes in the lower half; a Boolean is 0 or 1.
	Numbers []uint64
	// Data has the byte strings, of which the i-th ends at Ends[i].
	Data []byte
	Ends []uint32

	starts []int32 // the first entry of each row, and the end; nil: each row has one entry
	values []int32 // the first value of each row, and the end; nil: as starts
}

// Null returns a column without a value in n rows, none of which has more than one entry.
func Null(c Column, n int) *Leaf {
	l := &Leaf{Column: c, Entries: n, Defs: make([]byte, n)}
	if c.MaxRep > 0 {
		l.Reps = make([]byte, n)
	}
	l.index()
	return l
}

// Rows is the number of rows.
func (l *Leaf) Rows() int {
	if l.starts == nil {
		return l.Entries
	}
	return len(l.starts) - 1
}

// index finds the rows.
func (l *Leaf) index() {
	if l.Reps != nil {
		l.starts = make([]int32, 0, bytes.Count(l.Reps, []byte{0})+1)
		for i, r := range l.Reps {
			if r == 0 {
				l.starts = append(l.starts, int32(i))
			}
		}
		l.starts = append(l.starts, int32(l.Entries))
	}
	if l.Defs == nil {
		return
	}
	most := []byte{byte(l.MaxDef)}
	n, at := l.Rows(), int32(0)
	l.values = make([]int32, n+1)
	if l.starts == nil {
		for i, d := range l.Defs {
			l.values[i] = at
			if d == most[0] {
				at++
			}
		}
	} else {
		for i := range n {
			l.values[i] = at
			at += int32(bytes.Count(l.Defs[l.starts[i]:l.starts[i+1]], most))
		}
	}
	l.values[n] = at
}

// Span returns the entries and the values of the rows from..to, each as first and end.
func (l *Leaf) Span(from, to int) (entry, entryEnd, value, valueEnd int) {
	entry, entryEnd = from, to
	if l.starts != nil {
		entry, entryEnd = int(l.starts[from]), int(l.starts[to])
	}
	value, valueEnd = entry, entryEnd
	if l.values != nil {
		value, valueEnd = int(l.values[from]), int(l.values[to])
	}
	return entry, entryEnd, value, valueEnd
}

// Values is the number of values.
func (l *Leaf) Values() int {
	if l.Indices != nil {
		return len(l.Indices)
	}
	return len(l.Numbers) + len(l.Ends)
}

func (l *Leaf) place(i int) int {
	if l.Indices != nil {
		return int(l.Indices[i])
	}
	return i
}

// Number is the i-th value of a column of numbers.
func (l *Leaf) Number(i int) uint64 { return l.Numbers[l.place(i)] }

// Text is the i-th value of a column of byte strings.
func (l *Leaf) Text(i int) []byte { return l.Entry(l.place(i)) }

// Entry is the i-th of the byte strings that are kept.
func (l *Leaf) Entry(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = l.Ends[i-1]
	}
	return l.Data[start:l.Ends[i]]
}

// Equal reports whether row i of a is row j of b, in columns of one kind. The two zeros are equal, and so
// is all that is no number.
func Equal(a *Leaf, i int, b *Leaf, j int) bool {
	ae, aend, av, avend := a.Span(i, i+1)
	be, bend, bv, bvend := b.Span(j, j+1)
	if aend-ae != bend-be || avend-av != bvend-bv {
		return false
	}
	for k := range aend - ae {
		if a.def(ae+k) != b.def(be+k) || a.Reps != nil && a.Reps[ae+k] != b.Reps[be+k] {
			return false
		}
	}
	if a.isNumber() || a.Physical == Boolean {
		for k := range avend - av {
			if x, y := a.Number(av+k), b.Number(bv+k); x != y && !a.sameNumber(x, y) {
				return false
			}
		}
		return true
	}
	for k := range avend - av {
		if !bytes.Equal(a.Text(av+k), b.Text(bv+k)) {
			return false
		}
	}
	return true
}

func (l *Leaf) def(i int) byte {
	if l.Defs == nil {
		return byte(l.MaxDef)
	}
	return l.Defs[i]
}

// sameNumber compares bits that differ.
func (l *Leaf) sameNumber(x, y uint64) bool {
	var a, b float64
	switch l.Physical {
	case Double:
		a, b = math.Float64frombits(x), math.Float64frombits(y)
	case Float:
		a, b = float64(math.Float32frombits(uint32(x))), float64(math.Float32frombits(uint32(y)))
	default:
		return false
	}
	return a == b || a != a && b != b
}

// HasNaN reports whether one of the values from..to is no number.
func (l *Leaf) HasNaN(from, to int) bool {
	for i := from; i < to; i++ {
		v := l.Number(i)
		if l.Physical == Double && v&^(1<<63) > 0x7FF0<<48 || l.Physical == Float && uint32(v)&^(1<<31) > 0x7F80<<16 {
			return true
		}
	}
	return false
}

// Bytes is about the memory that the leaf takes.
func (l *Leaf) Bytes() int {
	return cap(l.Defs) + cap(l.Reps) + 4*(cap(l.Indices)+cap(l.Ends)+cap(l.starts)+cap(l.values)) + 8*cap(l.Numbers) + cap(l.Data)
}
