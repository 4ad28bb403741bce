package parquetenc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"pgregory.net/rapid"

	"github.com/siltlake/silt/internal/parquetenc"
)

// intSource is where random choices come from: rapid, or the input of a fuzz test.
type intSource func(label string, n int) int

var leaves = []arrow.DataType{
	arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32,
	arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.BinaryTypes.String,
	arrow.BinaryTypes.Binary, arrow.FixedWidthTypes.Date32, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
	&arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.Decimal128Type{Precision: 9, Scale: 2},
	&arrow.Decimal128Type{Precision: 18, Scale: 0}, &arrow.Decimal128Type{Precision: 38, Scale: 10},
	&arrow.Decimal128Type{Precision: 19, Scale: 19},
}

// randomType returns a type of at most the given depth.
func randomType(pick intSource, depth int) arrow.DataType {
	n := len(leaves)
	if depth > 0 {
		n += 12
	}
	i := pick("type", n)
	switch {
	case i < len(leaves):
		return leaves[i]
	case i < len(leaves)+5:
		return arrow.StructOf(randomFields(pick, depth-1, 3)...)
	case i < len(leaves)+10:
		return arrow.ListOfField(randomField(pick, "element", depth-1))
	}
	key := leaves[7]
	if pick("key", 2) == 1 {
		key = leaves[4]
	}
	return arrow.MapOfFields(arrow.Field{Name: "key", Type: key}, randomField(pick, "value", depth-1))
}

func randomField(pick intSource, name string, depth int) arrow.Field {
	return arrow.Field{Name: name, Type: randomType(pick, depth), Nullable: pick("nullable", 4) > 0}
}

func randomFields(pick intSource, depth, most int) []arrow.Field {
	fields := make([]arrow.Field, 1+pick("fields", most))
	for i := range fields {
		fields[i] = randomField(pick, fmt.Sprintf("c%d", i), depth)
	}
	return fields
}

// randomArray returns n values. It makes what is below a null, too, and nothing of it must be written.
func randomArray(pick intSource, f arrow.Field, n int) arrow.Array {
	style := pick("style", 6) // of the nulls: none, all, a few, many
	valid, nulls := bitmapOf(n, func(int) bool {
		switch {
		case !f.Nullable || style < 2:
			return true
		case style == 2:
			return false
		}
		return pick("valid", style) > 0
	})
	distinct := []int{1, 3, 50, math.MaxInt32}[pick("distinct", 4)]
	data := func(children []arrow.ArrayData, buffers ...*memory.Buffer) arrow.Array {
		d := array.NewData(f.Type, n, append([]*memory.Buffer{valid}, buffers...), children, nulls, 0)
		defer d.Release()
		return array.MakeFromData(d)
	}
	offsets := func(most int) ([]int32, *memory.Buffer) {
		out := make([]int32, n+1)
		at := int32(pick("first", 3))
		for i := range out {
			out[i] = at
			at += int32(pick("length", most+1))
		}
		return out, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(out))
	}
	switch t := f.Type.(type) {
	case *arrow.StructType:
		var kids []arrow.ArrayData
		for _, k := range t.Fields() {
			kids = append(kids, randomArray(pick, k, n).Data())
		}
		return data(kids)
	case *arrow.ListType:
		ends, b := offsets(3)
		return data([]arrow.ArrayData{randomArray(pick, t.ElemField(), int(ends[n])).Data()}, b)
	case *arrow.MapType:
		ends, b := offsets(2)
		entries := arrow.Field{Type: t.Elem()}
		return data([]arrow.ArrayData{randomArray(pick, entries, int(ends[n])).Data()}, b)
	case *arrow.StringType, *arrow.BinaryType:
		out, text := make([]int32, 1, n+1), []byte(nil)
		for range n {
			text = append(text, randomText(pick, distinct)...)
			out = append(out, int32(len(text)))
		}
		return data(nil, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(out)), memory.NewBufferBytes(text))
	case *arrow.BooleanType:
		b, _ := bitmapOf(n, func(int) bool { return pick("bool", min(distinct, 4)) == 0 })
		return data(nil, b)
	case *arrow.Decimal128Type:
		out := make([]decimal128.Num, n)
		for i := range out {
			out[i] = decimal128.FromI64(int64(pick("decimal", min(distinct, 99999999))))
			if t.Precision > 18 {
				out[i] = out[i].Mul(decimal128.FromU64(uint64(pick("times", 1<<30))))
			}
			if pick("sign", 2) == 1 {
				out[i] = out[i].Negate()
			}
		}
		return data(nil, memory.NewBufferBytes(arrow.Decimal128Traits.CastToBytes(out)))
	}
	width := f.Type.(arrow.FixedWidthDataType).Bytes()
	raw := make([]byte, 0, n*width)
	for range n {
		v := uint64(pick("number", distinct))
		if distinct > 50 {
			v = v*v*v ^ v<<40
		}
		switch f.Type.ID() {
		case arrow.DATE32: // what every reader can show
			v %= 20_000
		case arrow.TIMESTAMP:
			v %= 4e15
		case arrow.FLOAT64:
			v = math.Float64bits(randomFloat(pick, v))
		case arrow.FLOAT32:
			v = uint64(math.Float32bits(float32(randomFloat(pick, v))))
		}
		for i := range width {
			raw = append(raw, byte(v>>(8*i)))
		}
	}
	return data(nil, memory.NewBufferBytes(raw))
}

func randomFloat(pick intSource, v uint64) float64 {
	switch pick("float", 12) {
	case 0:
		return math.NaN()
	case 1:
		return math.Copysign(0, -1)
	case 2:
		return 0
	case 3:
		return math.Inf(1)
	case 4:
		return -float64(v) / 100
	}
	return float64(v) / 100
}

func randomText(pick intSource, distinct int) string {
	n := pick("text", distinct)
	switch n % 7 {
	case 0:
		return ""
	case 1:
		return strings.Repeat("ü", n%400)
	}
	return fmt.Sprintf("%d and more of it all", n)[:2+n%17]
}

func bitmapOf(n int, set func(int) bool) (*memory.Buffer, int) {
	b, unset := make([]byte, (n+7)/8), 0
	for i := range n {
		if set(i) {
			b[i/8] |= 1 << (i % 8)
		} else {
			unset++
		}
	}
	return memory.NewBufferBytes(b), unset
}

func randomRecord(pick intSource, s *arrow.Schema, n int) arrow.RecordBatch {
	cols := make([]arrow.Array, s.NumFields())
	for i, f := range s.Fields() {
		cols[i] = randomArray(pick, f, n)
	}
	return array.NewRecordBatch(s, cols, int64(n))
}

// encode writes the records into a file.
func encode(t testing.TB, o parquetenc.Options, s *arrow.Schema, recs ...arrow.RecordBatch) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := parquetenc.NewWriter(&b, s, o)
	if err != nil {
		t.Fatal(err)
	}
	rows := int64(0)
	for _, r := range recs {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
		rows += r.NumRows()
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if info.Rows != rows || info.Bytes != int64(b.Len()) {
		t.Fatalf("Close says %+v, want %d rows in %d bytes", info, rows, b.Len())
	}
	return b.Bytes()
}

// read reads a file with arrow-go.
func read(t testing.TB, b []byte) arrow.Table {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := fr.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// texts are the rows of an array, in one form for each value: exact, with the bits of floats.
func texts(a arrow.Array) []string {
	out := make([]string, a.Len())
	for i := range out {
		out[i] = text(a, i)
	}
	return out
}

func text(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "null"
	}
	switch a := a.(type) {
	case *array.Struct:
		var kids []string
		for k := range a.NumField() {
			kids = append(kids, text(a.Field(k), i))
		}
		return "{" + strings.Join(kids, ",") + "}"
	case array.ListLike: // and maps
		from, to := a.ValueOffsets(i)
		var kids []string
		for ; from < to; from++ {
			kids = append(kids, text(a.ListValues(), int(from)))
		}
		return "[" + strings.Join(kids, ",") + "]"
	case *array.Float64:
		return fmt.Sprintf("%x", math.Float64bits(a.Value(i)))
	case *array.Float32:
		return fmt.Sprintf("%x", math.Float32bits(a.Value(i)))
	case *array.String:
		return fmt.Sprintf("%q", a.Value(i))
	case *array.Binary:
		return fmt.Sprintf("%x", a.Value(i))
	}
	return a.ValueStr(i)
}

// same fails unless the file has what is in the records.
func same(t testing.TB, b []byte, s *arrow.Schema, recs []arrow.RecordBatch) {
	t.Helper()
	table := read(t, b)
	for i, f := range s.Fields() {
		var got, want []string
		for _, c := range table.Column(i).Data().Chunks() {
			got = append(got, texts(c)...)
		}
		for _, r := range recs {
			want = append(want, texts(r.Column(i))...)
		}
		if len(got) != len(want) {
			t.Fatalf("%s has %d values, want %d", f, len(got), len(want))
		}
		for j := range want {
			if got[j] != want[j] {
				t.Fatalf("%s, row %d is\n%.500s, want\n%.500s", f, j, got[j], want[j])
			}
		}
	}
}

func TestAnyRecordsReadBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// Choices of values come from one seed, because rapid is slow to draw each.
		pick := splitmix(rapid.Uint64().Draw(rt, "seed"))
		s := arrow.NewSchema(randomFields(pick, rapid.IntRange(0, 4).Draw(rt, "depth"), 4), nil)
		var recs []arrow.RecordBatch
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 3000), 0, 4).Draw(rt, "rows") {
			r := randomRecord(pick, s, n)
			if n > 2 && pick("slice", 3) == 0 {
				from := pick("from", n/2)
				r = r.NewSlice(int64(from), int64(n-pick("to", n/2)))
			}
			recs = append(recs, r)
		}
		o := parquetenc.Options{Codec: parquetenc.Codec(pick("codec", 4)), CreatedBy: "silt version test"}
		o.RowGroupBytes = int64([]int{0, 1, 20_000}[pick("groups", 3)])
		same(t, encode(t, o, s, recs...), s, recs)
	})
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte("any"), uint16(10))
	f.Add([]byte{20, 3, 1, 22, 5, 5, 0, 0, 1, 9, 200}, uint16(1000))
	f.Fuzz(func(t *testing.T, data []byte, rows uint16) {
		i := 0
		pick := func(_ string, n int) int {
			if len(data) == 0 {
				return 0
			}
			v := int(data[i%len(data)]) + i/len(data)
			i++
			return v % n
		}
		s := arrow.NewSchema(randomFields(pick, 3, 3), nil)
		rec := randomRecord(pick, s, int(rows%2000))
		same(t, encode(t, parquetenc.Options{RowGroupBytes: 4096}, s, rec), s, []arrow.RecordBatch{rec})
	})
}

func TestDictionary(t *testing.T) {
	numbers := func(n int, value func(i int) int64) arrow.RecordBatch {
		b := array.NewInt64Builder(memory.DefaultAllocator)
		s := array.NewStringBuilder(memory.DefaultAllocator)
		for i := range n {
			b.Append(value(i))
			s.Append(fmt.Sprint("value ", value(i)))
		}
		return array.NewRecordBatch(arrow.NewSchema([]arrow.Field{
			{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "s", Type: arrow.BinaryTypes.String}}, nil),
			[]arrow.Array{b.NewArray(), s.NewArray()}, int64(n))
	}
	for _, test := range []struct {
		name        string
		value       func(i int) int64
		dict, plain bool // pages there are
	}{
		{"few_values_are_in_the_dictionary", func(i int) int64 { return int64(i % 100) }, true, false},
		{"one_value_is_in_the_dictionary", func(i int) int64 { return 7 }, true, false},
		{"prices_are_in_the_dictionary", func(i int) int64 { return int64(uint64(i+1) * 0x9E3779B97F4A7C15 >> 32 % 5000) }, true, false},
		{"values_that_differ_are_not", func(i int) int64 { return int64(i) * 1e10 }, false, true},
		{"values_that_begin_to_differ_are_not_any_more", func(i int) int64 { return int64(max(i%100, i-300_000)) }, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			rec := numbers(700_000, test.value)
			b := encode(t, parquetenc.Options{}, rec.Schema(), rec)
			same(t, b, rec.Schema(), []arrow.RecordBatch{rec})
			r, err := file.NewParquetReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				chunk, err := r.MetaData().RowGroup(0).ColumnChunk(i)
				if err != nil {
					t.Fatal(err)
				}
				var dict, plain bool
				for _, s := range chunk.EncodingStats() {
					if s.PageType == 0 {
						dict = dict || s.Encoding == parquet.Encodings.RLEDict
						plain = plain || s.Encoding == parquet.Encodings.Plain
					}
				}
				if dict != test.dict || plain != test.plain {
					t.Errorf("column %d: pages of dictionary %v and plain %v, want %v and %v", i, dict, plain, test.dict, test.plain)
				}
			}
		})
	}
}

func TestStatistics(t *testing.T) {
	nan, zero := math.NaN(), math.Copysign(0, -1)
	for _, test := range []struct {
		name     string
		values   []float64
		min, max float64
		none     bool
	}{
		{"leave_NaN_out", []float64{nan, -3, nan, 2}, -3, 2, false},
		{"of_NaN_alone_have_no_bounds", []float64{nan, nan}, 0, 0, true},
		{"have_the_zero_below_and_above", []float64{0, zero}, zero, 0, false},
		{"go_to_the_infinities", []float64{1, math.Inf(1), math.Inf(-1)}, math.Inf(-1), math.Inf(1), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := array.NewFloat64Builder(memory.DefaultAllocator)
			b.AppendValues(test.values, nil)
			b.AppendNull()
			s := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Float64, Nullable: true}}, nil)
			rec := array.NewRecordBatch(s, []arrow.Array{b.NewArray()}, int64(len(test.values)+1))
			r, err := file.NewParquetReader(bytes.NewReader(encode(t, parquetenc.Options{}, s, rec)))
			if err != nil {
				t.Fatal(err)
			}
			chunk, _ := r.MetaData().RowGroup(0).ColumnChunk(0)
			stats, err := chunk.Statistics()
			if err != nil {
				t.Fatal(err)
			}
			if stats.NullCount() != 1 {
				t.Errorf("null count is %d, want 1", stats.NullCount())
			}
			if stats.HasMinMax() == test.none {
				t.Fatalf("has bounds: %v, want %v", stats.HasMinMax(), !test.none)
			}
			if test.none {
				return
			}
			min, max := chunkBounds(t, stats.EncodeMin(), stats.EncodeMax())
			if math.Float64bits(min) != math.Float64bits(test.min) || math.Float64bits(max) != math.Float64bits(test.max) {
				t.Errorf("bounds are %v and %v, want %v and %v", min, max, test.min, test.max)
			}
		})
	}
}

func chunkBounds(t *testing.T, lo, hi []byte) (float64, float64) {
	t.Helper()
	return arrow.Float64Traits.CastFromBytes(lo)[0], arrow.Float64Traits.CastFromBytes(hi)[0]
}

func TestSchema(t *testing.T) {
	id := func(n string) arrow.Metadata { return arrow.NewMetadata([]string{"PARQUET:field_id"}, []string{n}) }
	s := arrow.NewSchema([]arrow.Field{
		{Name: "list", Type: arrow.ListOfField(arrow.Field{Name: "item", Type: arrow.PrimitiveTypes.Int8, Nullable: true}), Nullable: true, Metadata: id("3")},
		{Name: "map", Type: arrow.MapOfFields(arrow.Field{Name: "k", Type: arrow.BinaryTypes.String}, arrow.Field{Name: "v", Type: arrow.FixedWidthTypes.Date32, Nullable: true}), Metadata: id("7")},
		{Name: "s", Type: arrow.StructOf(
			arrow.Field{Name: "utc", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Metadata: id("9")},
			arrow.Field{Name: "local", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
			arrow.Field{Name: "d9", Type: &arrow.Decimal128Type{Precision: 9, Scale: 2}},
			arrow.Field{Name: "d18", Type: &arrow.Decimal128Type{Precision: 18, Scale: 2}},
			arrow.Field{Name: "d38", Type: &arrow.Decimal128Type{Precision: 38, Scale: 2}},
			arrow.Field{Name: "b", Type: arrow.BinaryTypes.Binary})},
	}, nil)
	r, err := file.NewParquetReader(bytes.NewReader(encode(t, parquetenc.Options{CreatedBy: "silt version 1"}, s)))
	if err != nil {
		t.Fatal(err)
	}
	const want = `required group field_id=-1 spark_schema {
  optional group field_id=3 list (List) {
    repeated group field_id=-1 list {
      optional int32 field_id=-1 element (Int(bitWidth=8, isSigned=true));
    }
  }
  required group field_id=7 map (Map) {
    repeated group field_id=-1 key_value {
      required byte_array field_id=-1 key (String);
      optional int32 field_id=-1 value (Date);
    }
  }
  required group field_id=-1 s {
    required int64 field_id=9 utc (Timestamp(isAdjustedToUTC=true, timeUnit=microseconds, is_from_converted_type=false, force_set_converted_type=false));
    optional int64 field_id=-1 local (Timestamp(isAdjustedToUTC=false, timeUnit=microseconds, is_from_converted_type=false, force_set_converted_type=false));
    required int32 field_id=-1 d9 (Decimal(precision=9, scale=2));
    required int64 field_id=-1 d18 (Decimal(precision=18, scale=2));
    required fixed_len_byte_array field_id=-1 d38 (Decimal(precision=38, scale=2));
    required byte_array field_id=-1 b;
  }
}
`
	if got := r.MetaData().Schema.String(); got != want {
		t.Errorf("the schema is\n%s\nwant\n%s", got, want)
	}
	if by := r.MetaData().GetCreatedBy(); by != "silt version 1" {
		t.Errorf("created by %q", by)
	}
}

func TestRefusals(t *testing.T) {
	deep := arrow.PrimitiveTypes.Int64
	for range 300 {
		deep = arrow.StructOf(arrow.Field{Name: "x", Type: deep, Nullable: true})
	}
	for _, test := range []struct {
		name string
		typ  arrow.DataType
		want string
	}{
		{"of_a_type_that_tables_have_not", arrow.PrimitiveTypes.Uint64, "column x: Parquet files of silt hold no uint64"},
		{"of_a_struct_without_fields", arrow.StructOf(), "column x is a struct without fields"},
		{"of_too_many_levels", deep, "levels deep"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parquetenc.NewWriter(new(bytes.Buffer), arrow.NewSchema([]arrow.Field{{Name: "x", Type: test.typ}}, nil), parquetenc.Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
		})
	}
	t.Run("of_a_null_that_is_not_allowed", func(t *testing.T) {
		s := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int64}}, nil)
		b := array.NewInt64Builder(memory.DefaultAllocator)
		b.AppendNull()
		w, err := parquetenc.NewWriter(new(bytes.Buffer), s, parquetenc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(array.NewRecordBatch(s, []arrow.Array{b.NewArray()}, 1)); err == nil {
			t.Error("a null is written")
		}
	})
	t.Run("of_a_full_disk", func(t *testing.T) {
		s := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int64}}, nil)
		w, err := parquetenc.NewWriter(full{}, s, parquetenc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("the error is %v, want %v", err, errFull)
		}
	})
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
