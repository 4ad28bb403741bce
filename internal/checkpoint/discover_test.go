//go:build unix

package checkpoint_test

import (
	"context"
	"flag"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

var discoverFiles = flag.Int("discover.files", 200_000, "files listed in TestOneNewFileAmongMany")

var arrived = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

// landed is file i of a listing, in the order of keys.
func landed(i int) objstore.Object {
	n := strconv.Itoa(100_000_000 + i)
	return objstore.Object{Key: "landing/2026/11/device-" + n[:6] + "/part-" + n + ".json.gz", Size: 2000,
		ETag: strconv.FormatUint(uint64(i)*0x9e3779b97f4a7c15, 16) + strconv.FormatUint(uint64(i)*0xd6e8feb86659fd93, 16), ModTime: arrived.Add(time.Duration(i) * time.Millisecond)}
}

// manyFiles is a source of n files and one that is new. At is called now and then during a listing.
type manyFiles struct {
	objstore.Store
	n  int
	at func()
}

func (m manyFiles) List(context.Context, string, string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for i := range m.n {
			if i%(m.n/8) == m.n/16 {
				m.at()
			}
			o := landed(i)
			if !yield(o, nil) {
				return
			}
			if i == m.n/2 {
				o.Key += ".new"
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// TestOneNewFileAmongMany lists files that are all known but one, in memory that does not grow with them.
func TestOneNewFileAmongMany(t *testing.T) {
	n := *discoverFiles
	dir := t.TempDir()
	seen, err := checkpoint.SeenRun(objstore.NewDir(dir), n, landed)
	if err != nil {
		t.Fatal(err)
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := int64(0)
	listed := manyFiles{n: n, at: func() {
		runtime.GC()
		runtime.ReadMemStats(&now)
		most = max(most, int64(now.HeapAlloc)-int64(before.HeapAlloc))
	}}
	began := cpu(t)
	found, err := source.Discover(t.Context(), listed, source.Options{Ahead: 1000}, seen)
	used := cpu(t) - began
	if err != nil || len(found.Files) != 1 || found.Files[0].Key != landed(n/2).Key+".new" || len(found.Changed) > 0 {
		t.Fatalf("got %+v, %v", found, err)
	}
	run, err := os.Stat(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files: %.2f CPU seconds, %.1f MB of heap, a run of %.0f MB", n, used.Seconds(), float64(most)/1e6, float64(run.Size())/1e6)
	if most > 16e6 {
		t.Errorf("%d bytes of heap for %d files", most, n)
	}
}

// TestAHintAmongManyFiles looks for one file that a hint names, when very many are known.
func TestAHintAmongManyFiles(t *testing.T) {
	n := *discoverFiles
	store := objstore.NewDir(t.TempDir())
	seen, err := checkpoint.SeenRun(store, n, landed)
	if err != nil {
		t.Fatal(err)
	}
	began := cpu(t)
	lookup, end, err := seen.Pass(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for _, i := range []int{n / 3, n - 1} {
		if v, known, _, err := lookup(landed(i).Key); err != nil || !known || v.ETag != landed(i).ETag {
			t.Fatalf("file %d: got %+v, %v, %v", i, v, known, err)
		}
	}
	t.Logf("%d files: %.4f CPU seconds", n, (cpu(t) - began).Seconds())
}

// cpu is the time that this process has worked.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
