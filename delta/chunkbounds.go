package delta

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/parquetenc"
	"github.com/siltlake/silt/internal/parquetleaf"
)

// chunkBounds makes the bounds of a column of those of its chunks. The Parquet writer looks for the least and
// the greatest value anyway, and only once at each value of a dictionary.
type chunkBounds struct {
	node *statsNode
	typ  arrow.DataType // of the column
}

// tellBounds lets the writer of the file tell s the bounds of the columns as chunks end. From now on s.add
// counts the nulls of these columns, and does not look at their values.
func (s *fileStats) tellBounds(w *parquetenc.Writer, cols []*column) {
	columns, paths := w.Columns()
	leaves := make([]chunkBounds, len(columns))
	eachStatsLeaf(s.nodes, cols, func(n *statsNode, c *column, path []string, _ int) {
		i := slices.IndexFunc(paths, func(p []string) bool { return slices.Equal(p, path) })
		if i >= 0 && n.bounds != nil && !wantsLongBounds(n.bounds) {
			n.told = true
			leaves[i] = chunkBounds{n, c.out.Type}
		}
	})
	w.Tell(func(i int, k parquetenc.ChunkStats) {
		if leaves[i].node != nil {
			leaves[i].add(k, columns[i])
		}
	})
}

// eachStatsLeaf calls f with the leaves of nodes, which are those of cols, with their paths in the file and the
// definition level of their values.
func eachStatsLeaf(nodes []*statsNode, cols []*column, f func(n *statsNode, c *column, path []string, level int)) {
	var walk func(nodes []*statsNode, cols []*column, above []string, level int)
	walk = func(nodes []*statsNode, cols []*column, above []string, level int) {
		for _, n := range nodes {
			c, level := cols[n.pos], level
			path := append(slices.Clip(above), c.out.Name)
			if c.out.Nullable {
				level++
			}
			if n.leaf {
				f(n, c, path, level)
			} else {
				walk(n.kids, c.kids, path, level)
			}
		}
	}
	walk(nodes, cols, nil, 0)
}

// wantsLongBounds reports whether bounds are made of more of a string than chunks tell of a long one.
func wantsLongBounds(b bounds) bool {
	s, ok := b.(*stringBounds)
	return ok && s.most() > parquetenc.LongestBound
}

// add takes in what a chunk of the column says of itself.
func (x *chunkBounds) add(k parquetenc.ChunkStats, c parquetleaf.Column) {
	if x.node.bounds == nil || k.Min == nil && !k.NaN {
		return
	}
	if max(len(k.Min), len(k.Max)) > parquetenc.LongestBound && wantsLongBounds(x.node.bounds) {
		x.node.bounds = nil // only their beginning is known
		return
	}
	b := array.NewBuilder(memory.DefaultAllocator, x.typ)
	defer b.Release()
	if k.Min != nil {
		appendStored(b, c, k.Min)
		appendStored(b, c, k.Max)
	}
	switch b := b.(type) {
	case *array.Float32Builder:
		if k.NaN {
			b.Append(float32(math.NaN()))
		}
	case *array.Float64Builder:
		if k.NaN {
			b.Append(math.NaN())
		}
	}
	a := b.NewArray()
	defer a.Release()
	x.node.bounds.add(a, nil)
}

// appendStored appends a value as it stands in the statistics of a file.
func appendStored(b array.Builder, c parquetleaf.Column, v []byte) {
	var bits uint64
	switch len(v) {
	case 4:
		bits = uint64(int64(int32(binary.LittleEndian.Uint32(v))))
	case 8:
		bits = binary.LittleEndian.Uint64(v)
	}
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(bits))
	case *array.Int16Builder:
		b.Append(int16(bits))
	case *array.Int32Builder:
		b.Append(int32(bits))
	case *array.Int64Builder:
		b.Append(int64(bits))
	case *array.Date32Builder:
		b.Append(arrow.Date32(int32(bits)))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(bits))
	case *array.Float32Builder:
		b.Append(math.Float32frombits(uint32(bits)))
	case *array.Float64Builder:
		b.Append(math.Float64frombits(bits))
	case *array.StringBuilder:
		b.Append(string(v))
	case *array.Decimal128Builder:
		if c.Physical != parquetleaf.Fixed {
			b.Append(decimal128.FromI64(int64(bits)))
			return
		}
		var full [16]byte
		if len(v) > 0 && v[0] >= 0x80 {
			for i := range full {
				full[i] = 0xFF
			}
		}
		copy(full[16-min(16, len(v)):], v)
		b.Append(decimal128.New(int64(binary.BigEndian.Uint64(full[:8])), binary.BigEndian.Uint64(full[8:])))
	default:
		b.AppendNull()
	}
}
