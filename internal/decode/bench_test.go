package decode

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func BenchmarkReader(b *testing.B) {
	files, _ := filepath.Glob(filepath.Join(os.Getenv("SILT_BENCHDATA"), "*.json"))
	if len(files) == 0 {
		b.Skip("SILT_BENCHDATA names no folder of NDJSON files")
	}
	var list []File
	var size int64
	for _, f := range files {
		fi, err := os.Stat(f)
		if err != nil {
			b.Fatal(err)
		}
		size += fi.Size()
		list = append(list, File{URI: f, Open: func(context.Context) (io.ReadCloser, error) { return os.Open(f) }})
	}
	s := inferSchema(b, list)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(list, Options{Schema: s, Rescue: "_rescued_data", Observe: true})
		if err != nil {
			b.Fatal(err)
		}
		drain(b, r)
	}
}
