package parquetleaf_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/siltlake/silt/internal/parquetleaf"
)

// drawn are rows of a column of numbers, of texts and of lists of texts; nil is null.
type drawn struct {
	numbers []*int64
	texts   []*string
	lists   [][]*string // a nil list is null
}

func draw(r *rand.Rand, n, distinct int) (d drawn) {
	text := func() *string {
		if r.IntN(6) == 0 {
			return nil
		}
		v := fmt.Sprintf("text %0*d", r.IntN(20), r.IntN(distinct))
		return &v
	}
	for range n {
		var number *int64
		if v := int64(r.IntN(distinct)); r.IntN(5) > 0 {
			number = &v
		}
		var list []*string
		if size := r.IntN(5); size > 0 {
			list = []*string{}
			for range size - 1 {
				list = append(list, text())
			}
		}
		d.numbers, d.texts, d.lists = append(d.numbers, number), append(d.texts, text()), append(d.lists, list)
	}
	return d
}

func (d drawn) record() arrow.RecordBatch {
	s := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "t", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "l", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	text := func(b *array.StringBuilder, v *string) {
		if v == nil {
			b.AppendNull()
		} else {
			b.Append(*v)
		}
	}
	for i := range d.numbers {
		if v := d.numbers[i]; v == nil {
			b.Field(0).AppendNull()
		} else {
			b.Field(0).(*array.Int64Builder).Append(*v)
		}
		text(b.Field(1).(*array.StringBuilder), d.texts[i])
		l := b.Field(2).(*array.ListBuilder)
		l.Append(d.lists[i] != nil)
		for _, v := range d.lists[i] {
			text(l.ValueBuilder().(*array.StringBuilder), v)
		}
	}
	return b.NewRecordBatch()
}

// written writes the rows with a general writer, in one row group.
func written(t testing.TB, d drawn, o ...parquet.WriterProperty) ([]byte, *metadata.FileMetaData) {
	t.Helper()
	var out bytes.Buffer
	rec := d.record()
	defer rec.Release()
	w, err := pqarrow.NewFileWriter(rec.Schema(), &out, parquet.NewWriterProperties(o...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := file.NewParquetReader(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), r.MetaData()
}

// chunk returns a column of a file.
func chunk(t testing.TB, b []byte, meta *metadata.FileMetaData, i int) (parquetleaf.Column, []byte, int, int) {
	t.Helper()
	m, err := meta.RowGroup(0).ColumnChunk(i)
	if err != nil {
		t.Fatal(err)
	}
	at := m.DataPageOffset()
	if m.HasDictionaryPage() {
		at = m.DictionaryPageOffset()
	}
	c := meta.Schema.Column(i)
	codec := map[compress.Compression]int{compress.Codecs.Uncompressed: 0, compress.Codecs.Snappy: 1, compress.Codecs.Gzip: 2, compress.Codecs.Zstd: 6}
	return parquetleaf.Column{Physical: parquetleaf.Physical(c.PhysicalType()), MaxDef: int(c.MaxDefinitionLevel()), MaxRep: int(c.MaxRepetitionLevel())},
		b[at : at+m.TotalCompressedSize()], codec[m.Compression()], int(m.NumValues())
}

// TestDecode reads what a general writer writes, in all the ways that it has.
func TestDecode(t *testing.T) {
	for _, c := range []struct {
		name  string
		props []parquet.WriterProperty
	}{
		{"dictionary", nil},
		{"plain", []parquet.WriterProperty{parquet.WithDictionaryDefault(false)}},
		{"dictionary_then_plain", []parquet.WriterProperty{parquet.WithDictionaryPageSizeLimit(2000), parquet.WithDataPageSize(1000)}},
		{"second_version", []parquet.WriterProperty{parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithDataPageSize(2000)}},
		{"second_version_zstd", []parquet.WriterProperty{parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithCompression(compress.Codecs.Zstd)}},
		{"snappy", []parquet.WriterProperty{parquet.WithCompression(compress.Codecs.Snappy), parquet.WithDataPageSize(3000)}},
		{"gzip", []parquet.WriterProperty{parquet.WithCompression(compress.Codecs.Gzip)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, distinct := range []int{1, 7, 3000} {
				d := draw(rand.New(rand.NewPCG(3, uint64(distinct))), 5000, distinct)
				b, meta := written(t, d, c.props...)
				var x parquetleaf.Decoder
				defer x.Close()
				leaf := func(i int) *parquetleaf.Leaf {
					column, chunk, codec, entries := chunk(t, b, meta, i)
					l, err := x.Decode(column, chunk, codec, entries)
					if err != nil {
						t.Fatal(err)
					}
					if l.Rows() != 5000 {
						t.Fatalf("%d rows, want 5000", l.Rows())
					}
					return l
				}
				numbers, texts, lists := leaf(0), leaf(1), leaf(2)
				for i := range d.numbers {
					if _, _, at, end := numbers.Span(i, i+1); end-at != count(d.numbers[i]) || end > at && int64(numbers.Number(at)) != *d.numbers[i] {
						t.Fatalf("number %d", i)
					}
					if _, _, at, end := texts.Span(i, i+1); end-at != count(d.texts[i]) || end > at && string(texts.Text(at)) != *d.texts[i] {
						t.Fatalf("text %d", i)
					}
					entry, entryEnd, at, _ := lists.Span(i, i+1)
					if entryEnd-entry != max(1, len(d.lists[i])) {
						t.Fatalf("list %d has %d entries, want %d", i, entryEnd-entry, max(1, len(d.lists[i])))
					}
					for _, v := range d.lists[i] {
						if v != nil {
							if string(lists.Text(at)) != *v {
								t.Fatalf("list %d: %q, want %q", i, lists.Text(at), *v)
							}
							at++
						}
					}
					same := i > 0 && fmt.Sprint(deref(d.lists[i])) == fmt.Sprint(deref(d.lists[i-1])) && (d.lists[i] == nil) == (d.lists[i-1] == nil)
					if i > 0 && parquetleaf.Equal(lists, i, lists, i-1) != same {
						t.Fatalf("lists %d and %d: equal %t", i-1, i, !same)
					}
				}
			}
		})
	}
}

func count[T any](v *T) int {
	if v == nil {
		return 0
	}
	return 1
}

func deref(list []*string) (out []string) {
	for _, v := range list {
		if v == nil {
			out = append(out, "null")
		} else {
			out = append(out, "="+*v)
		}
	}
	return out
}

// FuzzDecode wants an error, and no more, for what is no column chunk.
func FuzzDecode(f *testing.F) {
	d := draw(rand.New(rand.NewPCG(1, 1)), 50, 5)
	for _, o := range []parquet.WriterProperty{parquet.WithDictionaryDefault(true), parquet.WithDictionaryDefault(false), parquet.WithDataPageVersion(parquet.DataPageV2)} {
		b, meta := written(f, d, o)
		for i := range 3 {
			column, chunk, codec, entries := chunk(f, b, meta, i)
			f.Add(chunk, byte(column.Physical), byte(column.MaxDef), byte(column.MaxRep), byte(codec), uint16(entries))
		}
	}
	f.Fuzz(func(t *testing.T, chunk []byte, physical, def, rep, codec byte, entries uint16) {
		var x parquetleaf.Decoder
		defer x.Close()
		c := parquetleaf.Column{Physical: parquetleaf.Physical(physical % 8), Width: 3, MaxDef: int(def % 9), MaxRep: int(rep % 4)}
		l, err := x.Decode(c, chunk, int(codec%7), int(entries))
		if err != nil {
			return
		}
		for i := range l.Rows() {
			if !parquetleaf.Equal(l, i, l, i) {
				t.Fatalf("row %d is not itself", i)
			}
		}
	})
}
