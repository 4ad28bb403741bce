package delta

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/parquetenc"
)

// drawnArray has n values of a type, some of which are null. Those of a struct that is null are hidden by it.
func drawnArray(t *testing.T, r *rand.Rand, typ arrow.DataType, n int) arrow.Array {
	t.Helper()
	if st, ok := typ.(*arrow.StructType); ok {
		kids := make([]arrow.Array, st.NumFields())
		for i, f := range st.Fields() {
			kids[i] = drawnArray(t, r, f.Type, n)
		}
		valid, nulls := make([]byte, bitutil.BytesForBits(int64(n))), 0
		for i := range n {
			bitutil.SetBitTo(valid, i, r.IntN(3) > 0)
			nulls += 1 - int(valid[i/8]>>(i%8)&1)
		}
		a, err := array.NewStructArrayWithFieldsAndNulls(kids, st.Fields(), memory.NewBufferBytes(valid), nulls, 0)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	b := array.NewBuilder(memory.DefaultAllocator, typ)
	nulls := r.IntN(11)
	few := r.Uint64N(20) + 1
	for range n {
		if r.IntN(10) < nulls {
			b.AppendNull()
			continue
		}
		v := int64(r.Uint64N(few)) - 3
		if few > 10 {
			v = int64(r.Uint64())
		}
		switch b := b.(type) {
		case *array.BooleanBuilder:
			b.Append(v > 0)
		case *array.Int8Builder:
			b.Append(int8(v))
		case *array.Int16Builder:
			b.Append(int16(v))
		case *array.Int32Builder:
			b.Append(int32(v))
		case *array.Int64Builder:
			b.Append(v)
		case *array.Date32Builder:
			b.Append(arrow.Date32(v % 1e6))
		case *array.TimestampBuilder:
			b.Append(arrow.Timestamp(v % (1 << 52)))
		case *array.Float32Builder:
			b.Append([]float32{float32(v) / 3, 0, float32(math.Copysign(0, -1)), float32(math.NaN()), float32(math.Inf(int(v)))}[r.IntN(int(few))%5])
		case *array.Float64Builder:
			b.Append([]float64{float64(v) / 3, 0, math.Copysign(0, -1), math.NaN(), math.Inf(int(v))}[r.IntN(int(few))%5])
		case *array.Decimal128Builder:
			d := decimal128.FromI64(v % 1e5)
			if typ.(*arrow.Decimal128Type).Precision > 18 {
				d = d.Mul(decimal128.FromI64(1e15))
			}
			b.Append(d)
		case *array.StringBuilder:
			b.Append(strings.Repeat([]string{"", "a", "\x00", "é", "中", "\U0001F600", "\U0010FFFF"}[r.IntN(int(few))%7], r.IntN(300)) + "b"[:r.IntN(2)])
		default:
			t.Fatalf("no value of %s is drawn", typ)
		}
	}
	return b.NewArray()
}

func TestBoundsOfChunksAreThoseOfTheirValues(t *testing.T) {
	s := ddlOf(t, `a BOOLEAN, b TINYINT, c SMALLINT, d INT, e BIGINT, f FLOAT, g DOUBLE, h STRING, i DATE, j TIMESTAMP,
		k TIMESTAMP_NTZ, l DECIMAL(7,2), m DECIMAL(15,3), n DECIMAL(30,0), left_out BIGINT,
		st STRUCT<e: BIGINT, g: DOUBLE, h: STRING, in: STRUCT<h: STRING, m: DECIMAL(15,3)>>`)
	cols, err := writeColumns(s, "")
	if err != nil {
		t.Fatal(err)
	}
	fields := outFields(cols)
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		which := StatsColumns{Leaves: -1, PrefixLength: []int{32, 1, 41, 42, 1000}[r.IntN(5)]}
		if r.IntN(3) == 0 {
			which.Leaves = r.IntN(16)
		}
		told, seen := newFileStats(cols, which, false), newFileStats(cols, which, false)
		w, err := parquetenc.NewWriter(new(bytes.Buffer), arrow.NewSchema(fields, nil), parquetenc.Options{RowGroupBytes: 1 << r.IntN(20)})
		if err != nil {
			t.Fatal(err)
		}
		told.tellBounds(w, cols)
		for range r.IntN(4) {
			n := 1 + r.IntN(60)
			arrays := make([]arrow.Array, len(fields))
			for i, f := range fields {
				arrays[i] = drawnArray(t, r, f.Type, n)
			}
			rec := array.NewRecordBatch(arrow.NewSchema(fields, nil), arrays, int64(n))
			told.add(rec)
			seen.add(rec)
			if err := w.Write(rec); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := told.json(), seen.json(); got != want {
			t.Fatalf("seed %d: %+v: chunks have\n%s\nand their values\n%s", seed, which, got, want)
		}
	}
}
