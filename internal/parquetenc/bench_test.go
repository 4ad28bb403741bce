package parquetenc_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/parquetenc"
	"github.com/siltlake/silt/schema"
)

type benchData struct {
	recs []arrow.RecordBatch
	json int64 // bytes
	err  error
}

// benchRecords are the records of the NDJSON files in the folder that SILT_BENCHDATA names.
var benchRecords = sync.OnceValue(func() (d benchData) {
	names, _ := filepath.Glob(filepath.Join(os.Getenv("SILT_BENCHDATA"), "*.json"))
	var files []decode.File
	for _, name := range names {
		files = append(files, decode.File{URI: name, Open: func(context.Context) (io.ReadCloser, error) { return os.Open(name) }})
		if info, err := os.Stat(name); err == nil {
			d.json += info.Size()
		}
	}
	all := func(o decode.Options, each func(arrow.RecordBatch) error) *decode.Reader {
		r, err := decode.NewReader(files, o)
		for err == nil {
			var b *decode.Batch
			if b, err = r.Next(context.Background()); err == nil {
				err = each(b.Record)
			}
		}
		if err != io.EOF {
			d.err = err
		}
		return r
	}
	look := all(decode.Options{Schema: &schema.Struct{}, Observe: true}, func(arrow.RecordBatch) error { return nil })
	if d.err != nil || len(files) == 0 {
		return d
	}
	all(decode.Options{Schema: look.Observed()[""].Struct(), Rescue: "_rescued_data"}, func(rec arrow.RecordBatch) error {
		var b bytes.Buffer // a record is valid until the next one: keep a copy
		w := ipc.NewWriter(&b, ipc.WithSchema(rec.Schema()))
		if err := w.Write(rec); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		r, err := ipc.NewReader(&b)
		if err != nil {
			return err
		}
		rec, err = r.Read()
		if err != nil {
			return err
		}
		rec.Retain()
		d.recs = append(d.recs, rec)
		return nil
	})
	return d
})

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWriters writes the same records with this package and with arrow-go.
func BenchmarkWriters(b *testing.B) {
	d := benchRecords()
	if d.err != nil {
		b.Fatal(d.err)
	}
	if len(d.recs) == 0 {
		b.Skip("SILT_BENCHDATA names no folder of NDJSON files")
	}
	s := d.recs[0].Schema()
	for _, codec := range []struct {
		name  string
		ours  parquetenc.Codec
		arrow compress.Compression
	}{
		{"zstd", parquetenc.Zstd, compress.Codecs.Zstd},
		{"snappy", parquetenc.Snappy, compress.Codecs.Snappy},
		{"none", parquetenc.Uncompressed, compress.Codecs.Uncompressed},
	} {
		run := func(name string, write func(w io.Writer) error) {
			b.Run(codec.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				var size counter
				began := cpu()
				for b.Loop() {
					size = 0
					if err := write(&size); err != nil {
						b.Fatal(err)
					}
				}
				used := (cpu() - began).Seconds() / float64(b.N)
				b.ReportMetric(float64(d.json)/1e6/used, "MB/cpu-s")
				b.ReportMetric(float64(size)/1e6, "MB")
			})
		}
		run("silt", func(w io.Writer) error {
			f, err := parquetenc.NewWriter(w, s, parquetenc.Options{Codec: codec.ours})
			if err != nil {
				return err
			}
			for _, r := range d.recs {
				if err := f.Write(r); err != nil {
					return err
				}
			}
			_, err = f.Close()
			return err
		})
		run("arrow", func(w io.Writer) error {
			props := parquet.NewWriterProperties(parquet.WithCompression(codec.arrow), parquet.WithCompressionLevel(1))
			f, err := pqarrow.NewFileWriter(s, w, props, pqarrow.DefaultWriterProps())
			if err != nil {
				return err
			}
			for _, r := range d.recs {
				if err := f.WriteBuffered(r); err != nil {
					return err
				}
			}
			return f.Close()
		})
	}
}
