package delta

import (
	"slices"

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
	chunkBounds // node nil: nothing
	// below is the level under which an entry is a null of the node, which is a list, a map or the like; 0:
	// the node is the leaf itself.
	below int
	nan   bool
}

func newPatchStats(p *Patcher, file *fileStats) *patchStats {
	s := &patchStats{p: p, file: file, leaves: make([]leafStats, len(p.columns))}
	eachStatsLeaf(file.nodes, p.w.cols, func(n *statsNode, c *column, path []string, level int) {
		i := slices.IndexFunc(p.paths, func(p []string) bool { return len(p) >= len(path) && slices.Equal(p[:len(path)], path) })
		switch {
		case i < 0:
		case len(p.paths[i]) == len(path):
			s.leaves[i] = leafStats{chunkBounds: chunkBounds{n, c.out.Type}}
		case level > 0: // or it is never null
			s.leaves[i] = leafStats{chunkBounds: chunkBounds{node: n}, below: level}
		}
	})
	return s
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

// nulls counts the nulls of a list, a map or the like in rows from..to of one of its leaves.
func (s *patchStats) nulls(i int, l *parquetleaf.Leaf, from, to int) {
	x := &s.leaves[i]
	if x.below == 0 || l.Defs == nil {
		return
	}
	entry, end, _, _ := l.Span(from, to)
	for _, d := range l.Defs[entry:end] {
		if int(d) < x.below {
			x.node.nulls++
		}
	}
}

// copied takes a leaf whose chunk is copied, which does not tell whether there is a NaN.
func (s *patchStats) copied(i int, l *parquetleaf.Leaf) {
	s.nulls(i, l, 0, l.Rows())
	x := &s.leaves[i]
	if x.below == 0 && !x.nan {
		_, _, value, end := l.Span(0, l.Rows())
		if x.nan = l.HasNaN(value, end); x.nan {
			x.add(parquetenc.ChunkStats{NaN: true}, s.p.columns[i])
		}
	}
}

// chunk takes what a finished chunk says of itself.
func (s *patchStats) chunk(i int, k parquetenc.ChunkStats) {
	x := &s.leaves[i]
	if x.node == nil || x.below > 0 {
		return
	}
	x.node.nulls += k.Nulls
	x.add(k, s.p.columns[i])
}
