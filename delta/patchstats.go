package delta

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/parquetenc"
	"github.com/siltlake/silt/internal/parquetleaf"
)

// patchStats makes the statistics of a data file of those of its chunks.
type patchStats struct {
	p      *Patcher
	file   *fileStats
	leaves []leafStats // by leaf of the table
}

// leafStats is what a leaf has to do with the statistics of the file.
type leafStats struct {
	node *statsNode     // nil: nothing
	typ  arrow.DataType // of the leaf, when the node has bounds
	// below is the level under which an entry is a null of the node, which is a list, a map or the like; 0:
	// the node is the leaf itself.
	below int
	nan   bool
}

func newPatchStats(p *Patcher, file *fileStats) *patchStats {
	s := &patchStats{p: p, file: file, leaves: make([]leafStats, len(p.columns))}
	s.nodes(file.nodes, p.w.cols, nil, 0)
	return s
}

func (s *patchStats) nodes(nodes []*statsNode, cols []*column, above []string, def int) {
	for _, n := range nodes {
		c := cols[n.pos]
		path := append(slices.Clip(above), c.out.Name)
		level := def
		if c.out.Nullable {
			level++
		}
		if !n.leaf {
			s.nodes(n.kids, c.kids, path, level)
			continue
		}
		i := slices.IndexFunc(s.p.paths, func(p []string) bool { return len(p) >= len(path) && slices.Equal(p[:len(path)], path) })
		if i < 0 {
			continue
		}
		switch {
		case len(s.p.paths[i]) == len(path):
			s.leaves[i] = leafStats{node: n, typ: c.out.Type}
		case level > 0: // or it is never null
			s.leaves[i] = leafStats{node: n, below: level}
		}
	}
}

// wantsValues reports whether the statistics of a chunk do not tell the bounds of its values, so that it
// has to be gone through.
func (s *patchStats) wantsValues(i int, k *parquetenc.Chunk) bool {
	n := s.leaves[i].node
	return n != nil && s.leaves[i].below == 0 && n.bounds != nil && k.Stats.Min == nil && k.Stats.Nulls < k.Entries
}

// wantsLeaf reports whether a leaf has to be seen although its chunk is copied.
func (s *patchStats) wantsLeaf(i int) bool {
	x := s.leaves[i]
	return x.node != nil && (x.below > 0 || x.node.bounds != nil && s.isFraction(i))
}

func (s *patchStats) isFraction(i int) bool {
	c := s.p.columns[i].Physical
	return c == parquetleaf.Double || c == parquetleaf.Float
}

// leaf takes rows from..to of a leaf.
func (s *patchStats) leaf(i int, l *parquetleaf.Leaf, from, to int) {
	x := &s.leaves[i]
	switch {
	case x.node == nil:
	case x.below > 0:
		if l.Defs != nil {
			entry, end, _, _ := l.Span(from, to)
			for _, d := range l.Defs[entry:end] {
				if int(d) < x.below {
					x.node.nulls++
				}
			}
		}
	case x.node.bounds != nil && s.isFraction(i) && !x.nan:
		_, _, value, end := l.Span(from, to)
		if x.nan = l.HasNaN(value, end); x.nan {
			x.bound(parquetenc.ChunkStats{Min: s.number(i, math.NaN()), Max: s.number(i, math.NaN())}, s.p.columns[i])
		}
	}
}

// number is a fraction as it stands in a file.
func (s *patchStats) number(i int, v float64) []byte {
	if s.p.columns[i].Physical == parquetleaf.Float {
		return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v)))
	}
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
}

// chunk takes what a finished chunk says of itself.
func (s *patchStats) chunk(i int, k parquetenc.ChunkStats) {
	x := &s.leaves[i]
	if x.node == nil || x.below > 0 {
		return
	}
	x.node.nulls += k.Nulls
	if x.node.bounds != nil && k.Min != nil {
		x.bound(k, s.p.columns[i])
	}
}

// bound takes bounds as they stand in a file.
func (x *leafStats) bound(k parquetenc.ChunkStats, c parquetleaf.Column) {
	if b, ok := x.node.bounds.(*stringBounds); ok && max(len(k.Min), len(k.Max)) > parquetenc.LongestBound && 3*(2*b.prefix+2) > parquetenc.LongestBound {
		x.node.bounds = nil // only their beginning is known
		return
	}
	b := array.NewBuilder(memory.DefaultAllocator, x.typ)
	defer b.Release()
	for _, v := range [][]byte{k.Min, k.Max} {
		appendStored(b, c, v)
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
		b.Append(strings.Clone(string(v)))
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
