package merge_test

import (
	"context"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

var (
	benchRows    = flag.Int("merge.rows", 2_000_000, "rows of the table of BenchmarkMerge")
	benchFiles   = flag.Int("merge.files", 20, "data files of the table")
	benchChanges = flag.Int("merge.changes", 1000, "changes, half of which are of rows that are there")
	benchKeys    = flag.String("merge.keys", "clustered", "clustered or random: how the keys lie in the files")
	benchVectors = flag.Bool("merge.vectors", false, "whether the table has deletion vectors")
	benchShape   = flag.String("merge.shape", "narrow", "narrow or nested rows")
	benchDir     = flag.String("merge.dir", "", "folder of the table, which is made unless it is there; empty: a temporary one")
)

// BenchmarkMerge reports the processor time and the peak of the memory of one merge.
func BenchmarkMerge(b *testing.B) {
	dir := *benchDir
	if dir == "" {
		dir = b.TempDir()
	}
	s := benchSchema()
	store := objstore.NewDir(dir)
	if _, err := os.Stat(dir + "/_delta_log"); err != nil {
		benchTable(b, store, s)
	}
	b.ResetTimer()
	for b.Loop() {
		runtime.GC()
		before := cpu()
		t, err := delta.Load(b.Context(), store, delta.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		tx := t.Begin("MERGE")
		r := rand.New(rand.NewPCG(1, 2))
		ids := make([]int64, *benchChanges)
		for i := range ids {
			ids[i] = r.Int64N(int64(2 * *benchRows))
		}
		if *benchChanges == 1 {
			ids[0] = int64(*benchRows / 2)
		}
		c := merge.Changes{Schema: s, Rows: func(context.Context, [][]string) iter.Seq2[arrow.RecordBatch, error] {
			return func(yield func(arrow.RecordBatch, error) bool) { yield(benchRecord(s, ids, 7), nil) }
		}}
		res, err := merge.Into(b.Context(), tx, t, store, merge.Spec{Keys: []string{"id"}, Duplicates: merge.LastWins}, c, merge.Options{Workers: 2})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((cpu() - before).Seconds(), "cpu-s/op")
		b.ReportMetric(float64(peak())/1024, "peak-MB")
		b.Logf("%+v", res.Counts)
		res.Discard(b.Context())
	}
}

func benchSchema() *schema.Struct {
	text := "id BIGINT, ts BIGINT, v DOUBLE"
	if *benchShape == "nested" {
		text = "id BIGINT, ts BIGINT, vehicle STRUCT<vin: STRING, battery: STRUCT<soc: DOUBLE, temp: DOUBLE>>, signals ARRAY<STRUCT<name: STRING, value: DOUBLE, unit: STRING>>, note STRING"
	}
	s, err := schema.ParseDDL(text)
	if err != nil {
		panic(err)
	}
	return s
}

func benchRecord(s *schema.Struct, ids []int64, salt int64) arrow.RecordBatch {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, s.Arrow())
	defer rb.Release()
	for _, id := range ids {
		rb.Field(0).(*array.Int64Builder).Append(id)
		rb.Field(1).(*array.Int64Builder).Append(id*1000 + salt)
		if *benchShape != "nested" {
			rb.Field(2).(*array.Float64Builder).Append(float64(id%1000) + float64(salt))
			continue
		}
		v := rb.Field(2).(*array.StructBuilder)
		v.Append(true)
		v.FieldBuilder(0).(*array.StringBuilder).Append("VIN" + strconv.FormatInt(id%5000, 10))
		bat := v.FieldBuilder(1).(*array.StructBuilder)
		bat.Append(true)
		bat.FieldBuilder(0).(*array.Float64Builder).Append(float64(id%101) + float64(salt))
		bat.FieldBuilder(1).(*array.Float64Builder).Append(float64(id % 37))
		l := rb.Field(3).(*array.ListBuilder)
		l.Append(true)
		e := l.ValueBuilder().(*array.StructBuilder)
		for k := range 5 {
			e.Append(true)
			e.FieldBuilder(0).(*array.StringBuilder).Append("signal" + strconv.Itoa(k))
			e.FieldBuilder(1).(*array.Float64Builder).Append(float64(id*7+int64(k)) / 3)
			e.FieldBuilder(2).(*array.StringBuilder).Append("unit")
		}
		rb.Field(4).(*array.StringBuilder).Append(fmt.Sprintf("note of %d", id))
	}
	return rb.NewRecordBatch()
}

func benchTable(b *testing.B, store objstore.Store, s *schema.Struct) {
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: s, Properties: map[string]string{"delta.enableDeletionVectors": strconv.FormatBool(*benchVectors)}})
	if err != nil {
		b.Fatal(err)
	}
	per := *benchRows / *benchFiles
	r := rand.New(rand.NewPCG(3, 4))
	for f := range *benchFiles {
		w, err := delta.NewDataWriter(b.Context(), store, tx.WriteContext(), delta.DataWriterOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for from := 0; from < per; from += 20000 {
			ids := make([]int64, min(20000, per-from))
			for i := range ids {
				if ids[i] = int64(f*per + from + i); *benchKeys == "random" {
					ids[i] = r.Int64N(int64(*benchRows))
				}
			}
			rec := benchRecord(s, ids, 0)
			err := w.Write(b.Context(), rec)
			rec.Release()
			if err != nil {
				b.Fatal(err)
			}
		}
		adds, err := w.Close(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		tx.Add(adds...)
	}
	if _, err := tx.Commit(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory the process has had, in KiB.
func peak() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Maxrss
}
