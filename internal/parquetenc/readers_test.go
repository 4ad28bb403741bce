package parquetenc_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/parquetenc"
)

// splitmix makes choices from a seed.
func splitmix(state uint64) intSource {
	return func(_ string, n int) int {
		state += 0x9E3779B97F4A7C15
		z := state
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return int((z ^ z>>31) % uint64(n))
	}
}

// large are columns whose pages are large enough to be compressed by what their values have in common.
var large = []arrow.Field{
	{Name: "id", Type: arrow.BinaryTypes.String},
	{Name: "time", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "count", Type: arrow.PrimitiveTypes.Int64},
	{Name: "decimal", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
}

// largeRecord is a record of them.
func largeRecord(from intSource, s *arrow.Schema, rows int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	for i := range rows {
		b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("%08x-%08x-%08x", from("", 1<<32), from("", 1<<32), from("", 1<<32)))
		b.Field(2).(*array.Int64Builder).Append(int64(i + from("", 3)))
		if from("", 50) == 0 {
			b.Field(1).AppendNull()
			b.Field(3).AppendNull()
			continue
		}
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("2026-11-01T%02d:%02d:%02d.%03dZ", i/3600%24, i/60%60, from("", 60), from("", 1000)))
		b.Field(3).(*array.Float64Builder).Append(float64(from("", 400_000)) / 1000)
	}
	return b.NewRecordBatch()
}

func TestOtherReaders(t *testing.T) {
	python := os.Getenv("SILT_PYTHON")
	if python == "" {
		t.Skip("SILT_PYTHON is not set: a Python with pyarrow (and duckdb, polars), to read silt's files with")
	}
	var flat []arrow.Field
	for i, typ := range leaves {
		flat = append(flat, arrow.Field{Name: "c_" + string(rune('a'+i)), Type: typ, Nullable: true})
	}
	list := func(t arrow.DataType) arrow.DataType {
		return arrow.ListOfField(arrow.Field{Name: "element", Type: t, Nullable: true})
	}
	text, number := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Float64
	inner := arrow.StructOf(arrow.Field{Name: "x", Type: list(number), Nullable: true}, arrow.Field{Name: "y", Type: text, Nullable: true})
	nested := []arrow.Field{
		{Name: "l", Type: list(arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "ls", Type: list(inner), Nullable: true},
		{Name: "lll", Type: list(list(list(text))), Nullable: true},
		{Name: "s", Type: arrow.StructOf(arrow.Field{Name: "s", Type: inner, Nullable: true}, arrow.Field{Name: "b", Type: arrow.FixedWidthTypes.Boolean, Nullable: true}), Nullable: true},
		{Name: "m", Type: arrow.MapOfFields(arrow.Field{Name: "key", Type: arrow.PrimitiveTypes.Int64}, arrow.Field{Name: "value", Type: inner, Nullable: true}), Nullable: true},
	}
	for _, test := range []struct {
		name   string
		fields []arrow.Field
		rows   int
		o      parquetenc.Options
	}{
		{"agree_on_every_type", flat, 5000, parquetenc.Options{}},
		{"agree_on_many_row_groups", flat, 5000, parquetenc.Options{RowGroupBytes: 1}},
		{"agree_on_snappy", flat, 1000, parquetenc.Options{Codec: parquetenc.Snappy}},
		{"agree_on_gzip", flat, 1000, parquetenc.Options{Codec: parquetenc.Gzip}},
		{"agree_on_what_is_not_compressed", flat, 1000, parquetenc.Options{Codec: parquetenc.Uncompressed}},
		{"agree_on_nested_values", nested, 3000, parquetenc.Options{}},
		{"agree_on_nested_values_in_row_groups", nested, 9000, parquetenc.Options{RowGroupBytes: 20_000}},
		{"agree_on_large_pages", large, 60_000, parquetenc.Options{}},
		{"agree_on_no_rows", append(flat, nested...), 0, parquetenc.Options{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(4) {
				t.Logf("seed %d", seed)
				s := arrow.NewSchema(test.fields, nil)
				rec := randomRecord(splitmix(seed), s, test.rows)
				if s.Field(0).Name == "id" {
					rec = largeRecord(splitmix(seed), s, test.rows)
				}
				dir := t.TempDir()
				path, rows := filepath.Join(dir, "a.parquet"), filepath.Join(dir, "a.arrow")
				if err := os.WriteFile(path, encode(t, test.o, s, rec), 0o600); err != nil {
					t.Fatal(err)
				}
				writeIPC(t, rows, rec)
				if out, err := exec.Command(python, filepath.Join("testdata", "read.py"), path, rows).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%.3000s", err, out)
				} else {
					t.Logf("%s", out)
				}
			}
		})
	}
}

func writeIPC(t *testing.T, path string, rec arrow.RecordBatch) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := ipc.NewFileWriter(f, ipc.WithSchema(rec.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
