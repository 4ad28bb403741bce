package delta_test

import (
	"bytes"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// manyFiles puts a log of n adds into the store, in three commits after the first.
func manyFiles(tb testing.TB, store objstore.Store, n int) {
	tb.Helper()
	put := func(version int, text []byte) {
		key := fmt.Sprintf("_delta_log/%020d.json", version)
		if _, err := objstore.PutBytes(tb.Context(), store, key, text, objstore.Cond{IfAbsent: true}); err != nil {
			tb.Fatal(err)
		}
	}
	put(0, []byte(`{"commitInfo":{"timestamp":1700000000000,"operation":"CREATE TABLE","operationParameters":{}}}
{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"00000000-0000-4000-8000-000000000000","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}},{\"name\":\"name\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{"delta.checkpointInterval":"1000000"},"createdTime":1700000000000}}
`))
	for c := range 3 {
		var b bytes.Buffer
		fmt.Fprintf(&b, `{"commitInfo":{"timestamp":17000000%02d000,"operation":"WRITE","operationParameters":{},"txnId":"bulk-%d"}}`+"\n", c, c)
		for i := c * n / 3; i < (c+1)*n/3; i++ {
			fmt.Fprintf(&b, `{"add":{"path":"part-%05d-%08x-0000-4000-8000-%012x-c000.zstd.parquet","partitionValues":{},"size":%d,"modificationTime":1700000000000,"dataChange":true,"stats":"{\"numRecords\":1000,\"minValues\":{\"id\":%d,\"name\":\"a%d\"},\"maxValues\":{\"id\":%d,\"name\":\"z%d\"},\"nullCount\":{\"id\":0,\"name\":0}}"}}`+"\n",
				i%1000, uint32(i)*2654435761, i, 100000+i%777, i*1000, i, i*1000+999, i)
		}
		put(c+1, b.Bytes())
	}
}

// peakHeap returns the greatest heap while f runs, sampled, in bytes.
func peakHeap(f func()) uint64 {
	runtime.GC()
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var m runtime.MemStats
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(stop)
	<-done
	return peak.Load()
}

func BenchmarkLog300k(b *testing.B) {
	const n = 300_000
	store := objstore.NewDir(b.TempDir())
	manyFiles(b, store, n)
	open := func(b *testing.B) *delta.Snapshot {
		s, err := delta.Load(b.Context(), store, delta.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	step := func(name string, f func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			peak := peakHeap(func() {
				for b.Loop() {
					f(b)
				}
			})
			b.ReportMetric(float64(peak)/1e6, "peak-MB")
		})
	}
	list := func(b *testing.B) {
		count := 0
		for _, err := range open(b).Files(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
			count++
		}
		if count < n {
			b.Fatalf("got %d files", count)
		}
	}
	step("open/commits", func(b *testing.B) { open(b) })
	step("list/commits", list)
	b.Run("checkpoint", func(b *testing.B) {
		peak := peakHeap(func() {
			for b.Loop() {
				if err := open(b).WriteCheckpoint(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.ReportMetric(float64(peak)/1e6, "peak-MB")
	})
	step("open/checkpoint", func(b *testing.B) { open(b) })
	step("list/checkpoint", list)
}
