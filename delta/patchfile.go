package delta

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/siltlake/silt/internal/parquetenc"
	"github.com/siltlake/silt/internal/parquetleaf"
)

// patchFile is a data file that is read leaf by leaf.
type patchFile struct {
	p      *Patcher
	r      *objectReader
	meta   *metadata.FileMetaData
	leaves []int // of the file, by leaf of the table; -1: the file lacks the column
	groups []*patchGroup
}

// groupBytes is up to which size a row group is read at once, and how much of it is kept decoded.
const groupBytes = 64 << 20

func parquetMeta(b []byte) (*metadata.FileMetaData, error) {
	r, err := file.NewParquetReader(bytes.NewReader(b), file.WithReadProps(parquet.NewReaderProperties(memory.DefaultAllocator)))
	if err != nil {
		return nil, err
	}
	return r.MetaData(), nil
}

// file takes a file, unless it holds a column in another way than it would be written now.
func (p *Patcher) file(r *objectReader) (*patchFile, error) {
	reader, err := file.NewParquetReader(r, file.WithReadProps(parquet.NewReaderProperties(memory.DefaultAllocator)))
	if err != nil {
		return nil, err
	}
	f := &patchFile{p: p, r: r, meta: reader.MetaData()}
	if julianOf(f.meta) != (julian{}) {
		return nil, errors.ErrUnsupported
	}
	s := f.meta.Schema
	var names []arrow.Field // of the file
	for i := range s.Root().NumFields() {
		f := s.Root().Field(i)
		names = append(names, arrow.Field{Name: f.Name()})
		if id := f.FieldID(); id >= 0 {
			names[i].Metadata = arrow.NewMetadata([]string{fieldIDKey}, []string{strconv.Itoa(int(id))})
		}
	}
	find := fieldFinder(names)
	for i, want := range p.stored {
		at, top := s.ColumnIndexByName(want.Path()), find(p.reads[p.tops[i]])
		switch {
		case at < 0 && (top >= 0 || p.columns[i].MaxDef == 0), at >= 0 && (top < 0 || names[top].Name != p.paths[i][0] || !sameLeaf(s.Column(at), want)):
			return nil, errors.ErrUnsupported
		}
		f.leaves = append(f.leaves, at)
	}
	first := int64(0)
	for g := range f.meta.NumRowGroups() {
		n := f.meta.RowGroup(g).NumRows()
		f.groups = append(f.groups, &patchGroup{number: g, first: first, rows: n})
		first += n
	}
	return f, nil
}

// sameLeaf reports whether the levels and values of two leaves of one path mean the same.
func sameLeaf(a, b *schema.Column) bool {
	if !a.Equals(b) {
		return false
	}
	for x, y := a.SchemaNode(), b.SchemaNode(); x.Parent() != nil && y.Parent() != nil; x, y = x.Parent(), y.Parent() {
		if x.RepetitionType() != y.RepetitionType() {
			return false
		}
	}
	return true
}

// chunkPlace is where a chunk lies.
type chunkPlace struct {
	at, size, entries int64
	dict              int64 // bytes of the page of the dictionary
	meta              *metadata.ColumnChunkMetaData
}

func chunkOf(meta *metadata.FileMetaData, group, leaf int) (chunkPlace, error) {
	m, err := meta.RowGroup(group).ColumnChunk(leaf)
	if err != nil {
		return chunkPlace{}, err
	}
	c := chunkPlace{at: m.DataPageOffset(), size: m.TotalCompressedSize(), entries: m.NumValues(), meta: m}
	if m.HasDictionaryPage() && m.DictionaryPageOffset() > 0 && m.DictionaryPageOffset() < c.at {
		c.dict = c.at - m.DictionaryPageOffset()
		c.at = m.DictionaryPageOffset()
	}
	if c.at < 4 || c.size < 0 || c.entries < 0 || m.FilePath() != "" || m.CryptoMetadata() != nil {
		return c, errors.ErrUnsupported
	}
	return c, nil
}

// bytes are those of a chunk.
func (f *patchFile) bytes(g *patchGroup, c chunkPlace) ([]byte, error) {
	if c.at+c.size > f.r.obj.Size {
		return nil, errors.ErrUnsupported
	}
	if g.bytes == nil {
		if err := f.fetch(g); err != nil {
			return nil, err
		}
	}
	if c.at >= g.at && c.at+c.size <= g.at+int64(len(g.bytes)) {
		return g.bytes[c.at-g.at : c.at-g.at+c.size], nil
	}
	b := make([]byte, c.size)
	_, err := f.r.ReadAt(b, c.at)
	return b, err
}

// fetch reads the chunks of a group at once, when they are not too many.
func (f *patchFile) fetch(g *patchGroup) error {
	from, to := f.r.obj.Size, int64(0)
	for _, leaf := range f.leaves {
		if leaf < 0 {
			continue
		}
		c, err := chunkOf(f.meta, g.number, leaf)
		if err != nil {
			return err
		}
		from, to = min(from, c.at), max(to, c.at+c.size)
	}
	g.bytes, g.at = []byte{}, from
	if to-from > groupBytes || to > f.r.obj.Size || from > to {
		return nil
	}
	g.bytes = make([]byte, to-from)
	_, err := f.r.ReadAt(g.bytes, from)
	return err
}

// leaf decodes a column of a group. What has been decoded before is kept as long as it is not too much.
func (f *patchFile) leaf(g *patchGroup, i int) (*parquetleaf.Leaf, error) {
	if l := g.leaves[i]; l != nil {
		return l, nil
	}
	if f.leaves[i] < 0 {
		return parquetleaf.Null(f.p.columns[i], int(g.rows)), nil
	}
	c, err := chunkOf(f.meta, g.number, f.leaves[i])
	if err != nil {
		return nil, err
	}
	b, err := f.bytes(g, c)
	if err != nil {
		return nil, err
	}
	l, err := f.p.decoder.Decode(f.p.columns[i], b, codecNumber(c.meta.Compression()), int(c.entries))
	if err != nil || int64(l.Rows()) != g.rows {
		return nil, errors.ErrUnsupported // the general way says what is wrong, if it is
	}
	if g.held += l.Bytes(); g.held < groupBytes {
		if g.leaves == nil {
			g.leaves = map[int]*parquetleaf.Leaf{}
		}
		g.leaves[i] = l
	}
	return l, nil
}

// copy returns a chunk as it is. It is not ok when it cannot be copied.
func (f *patchFile) copy(g *patchGroup, i int) (*parquetenc.Chunk, bool) {
	if f.leaves[i] < 0 {
		return nil, false
	}
	c, err := chunkOf(f.meta, g.number, f.leaves[i])
	if err != nil {
		return nil, false
	}
	b, err := f.bytes(g, c)
	stats, statsErr := c.meta.Statistics()
	codec := codecNumber(c.meta.Compression())
	if err != nil || statsErr != nil || stats == nil || !stats.HasNullCount() || codec < 0 {
		return nil, false
	}
	k := &parquetenc.Chunk{Bytes: b, Dict: c.dict > 0, Data: c.dict, Codec: codec, Entries: c.entries, Raw: c.meta.TotalUncompressedSize(),
		Stats: parquetenc.ChunkStats{Nulls: stats.NullCount()}}
	for _, e := range c.meta.Encodings() {
		k.Encodings = append(k.Encodings, int(e))
	}
	if stats.HasMinMax() && f.meta.Schema.Column(f.leaves[i]).ColumnOrder() == parquet.ColumnOrders.TypeDefinedOrder {
		k.Stats.Min, k.Stats.Max = stats.EncodeMin(), stats.EncodeMax()
	}
	return k, true
}

// codecNumber is the number of a codec in Parquet; -1 when its chunks are not taken.
func codecNumber(c compress.Compression) int {
	switch c {
	case compress.Codecs.Uncompressed:
		return 0
	case compress.Codecs.Snappy:
		return 1
	case compress.Codecs.Gzip:
		return 2
	case compress.Codecs.Zstd:
		return 6
	}
	return -1
}
