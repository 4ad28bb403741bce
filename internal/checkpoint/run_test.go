package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/objstore"
)

// plainSeen is the seen-set in its simplest form: what each batch does to it, one after the other.
type plainSeen struct {
	files   map[string]objstore.Object
	givenUp map[string]bool
	loaded  map[string]bool // or skipped
}

func newPlainSeen() plainSeen {
	return plainSeen{map[string]objstore.Object{}, map[string]bool{}, map[string]bool{}}
}

func (k *plainSeen) add(r Row) {
	if s := r.Outcome.State; s == Forgotten || s == Retried {
		delete(k.files, r.Key)
		delete(k.givenUp, r.Key)
		delete(k.loaded, r.Key)
		return
	} else if s.Again() {
		return
	}
	k.loaded[r.Key] = k.loaded[r.Key] || r.Outcome.State != Quarantined
	k.givenUp[r.Key] = !k.loaded[r.Key]
	k.files[r.Key] = r.Object
}

// inMemory is a run as an object in memory.
func inMemory(t interface{ Fatal(...any) }, entries map[string]entry) *cursor {
	var b bytes.Buffer
	w, err := newRunWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if err := w.add(keyed{key, entries[key]}); err != nil {
			t.Fatal(err)
		}
	}
	index, err := w.end()
	if err != nil {
		t.Fatal(err)
	}
	s := new(objstore.Mem)
	if _, err := objstore.PutBytes(context.Background(), s, "run", b.Bytes(), objstore.Cond{}); err != nil {
		t.Fatal(err)
	}
	c, err := newLog(s, "", Options{}).openRun(context.Background(), runHead{Data: "run", Entries: int64(len(entries)), Index: index})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRunsSayWhatTheBatchesSay takes any history, cuts it into runs anywhere, merges some of them, and
// wants the answers of the history itself.
func TestRunsSayWhatTheBatchesSay(t *testing.T) {
	states := []FileState{Loaded, Quarantined, Skipped, Vanished, Overwritten, Deferred, Waiting, Failed, Forgotten, Retried}
	rapid.Check(t, func(rt *rapid.T) {
		want := newPlainSeen()
		spans := []map[string]entry{{}}
		for n := range rapid.Int64Range(1, 40).Draw(rt, "rows") {
			o := objstore.Object{Key: rapid.StringMatching(`[ab/]{0,3}`).Draw(rt, "key"), ETag: fmt.Sprint(n), Size: n, ModTime: time.Unix(n, n).UTC()}
			r := Row{File: File{Object: o, Outcome: &FileOutcome{Key: o.Key, ETag: o.ETag, State: rapid.SampledFrom(states).Draw(rt, "state"), Tries: 3, Error: "why"}},
				Batch: n, Planned: time.Unix(n, 0).UTC(), SchemaVersion: n - 1}
			want.add(r)
			if rapid.IntRange(0, 4).Draw(rt, "cut") == 0 {
				spans = append(spans, map[string]entry{})
			}
			last := spans[len(spans)-1]
			e := newEntry(r)
			if before, ok := last[o.Key]; ok {
				e = before.then(e)
			}
			last[o.Key] = e
		}
		if len(spans) > 2 && rapid.Bool().Draw(rt, "merge") {
			var cursors []*cursor
			for _, span := range spans[:2] {
				c := inMemory(rt, span)
				if err := c.next(); err != nil {
					rt.Fatal(err)
				}
				cursors = append(cursors, c)
			}
			both := map[string]entry{}
			for k, err := range merged(cursors) {
				if err != nil {
					rt.Fatal(err)
				}
				both[k.key] = k.entry
			}
			spans = append([]map[string]entry{both}, spans[2:]...)
		}
		got := newPlainSeen()
		rows := map[string]Row{}
		var cursors []*cursor
		for _, span := range spans {
			c := inMemory(rt, span)
			if err := c.next(); err != nil {
				rt.Fatal(err)
			}
			cursors = append(cursors, c)
		}
		for k, err := range merged(cursors) {
			if err != nil {
				rt.Fatal(err)
			}
			if v, ok, givenUp := k.answer(true); ok {
				got.files[k.key], got.givenUp[k.key] = v, givenUp
			}
			rows[k.key] = k.row
		}
		if !maps.Equal(got.files, want.files) {
			rt.Errorf("got %v, want %v", got.files, want.files)
		}
		if !maps.Equal(got.givenUp, want.givenUp) {
			rt.Errorf("given up: got %v, want %v", got.givenUp, want.givenUp)
		}
		for key, r := range rows {
			if r.Key != key || r.SchemaVersion != r.Batch-1 || r.Outcome.Error != "why" || !r.Planned.Equal(time.Unix(r.Batch, 0)) {
				rt.Errorf("row %+v", r)
			}
		}
	})
}

func TestADamagedRunIsAnError(t *testing.T) {
	var b bytes.Buffer
	w, err := newRunWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	for i := range n {
		o := objstore.Object{Key: fmt.Sprintf("%05d", i), ETag: "x"}
		if err := w.add(keyed{o.Key, newEntry(Row{File: File{o, &FileOutcome{State: Loaded}}})}); err != nil {
			t.Fatal(err)
		}
	}
	index, err := w.end()
	if err != nil {
		t.Fatal(err)
	}
	read := func(content []byte) error {
		s := new(objstore.Mem)
		if _, err := objstore.PutBytes(t.Context(), s, "run", content, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
		c, err := newLog(s, "", Options{}).openRun(t.Context(), runHead{Data: "run", Entries: n, Index: index})
		if err != nil {
			return err
		}
		defer c.close()
		for range n + 1 {
			if err := c.next(); err != nil {
				return err
			}
		}
		if !c.done {
			return errors.New("it has no end")
		}
		return c.readIndex(t.Context())
	}
	if err := read(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < b.Len(); at += 7 {
		damaged := bytes.Clone(b.Bytes())
		damaged[at] ^= 1
		if read(damaged) == nil {
			t.Errorf("byte %d is damaged, and nobody sees it", at)
		}
		if read(b.Bytes()[:at]) == nil {
			t.Errorf("it is cut at byte %d, and nobody sees it", at)
		}
	}
}

// BenchmarkSeen compares a listing of b.N files with a run of as many.
func BenchmarkSeen(b *testing.B) {
	s := new(objstore.Mem)
	out, err := objstore.Create(b.Context(), s, "run")
	if err != nil {
		b.Fatal(err)
	}
	size := new(counter)
	w, err := newRunWriter(io.MultiWriter(out, size))
	if err != nil {
		b.Fatal(err)
	}
	key := func(i int) string {
		return fmt.Sprintf("landing/2026/11/%02d/device-%06d/part-%08d.json.gz", i/400_000, i/100, i)
	}
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	for i := range b.N {
		o := objstore.Object{Key: key(i), ETag: fmt.Sprintf("%032x", uint64(i)*0x9e3779b97f4a7c15), Size: 2000, ModTime: at.Add(time.Duration(i) * time.Millisecond)}
		row := Row{File: File{o, &FileOutcome{State: Loaded, Records: 10, Rows: 10, Tries: 1}}, Batch: int64(i / 1000), Planned: at, Committed: at}
		if err := w.add(keyed{o.Key, newEntry(row)}); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.end(); err != nil {
		b.Fatal(err)
	}
	if _, err := out.Close(); err != nil {
		b.Fatal(err)
	}
	l := newLog(s, "", Options{})
	seen := &Seen{log: l, runs: []runHead{{Data: "run", Entries: int64(b.N)}}}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	lookup, end, err := seen.Pass(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer end()
	for i := range b.N {
		if _, known, _, err := lookup(key(i)); err != nil || !known {
			b.Fatalf("%s: %v, %v", key(i), known, err)
		}
	}
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(size.n)/float64(b.N), "bytes/file")
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1e6, "MB-more")
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// mergedMeanwhile is a store in which another process merges two runs after they were listed.
type mergedMeanwhile struct {
	objstore.Store
	merge func()
}

func (s *mergedMeanwhile) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	if s.merge != nil && key == "seen/10-19" {
		s.merge()
		s.merge = nil
	}
	return s.Store.Open(ctx, key, r)
}

func TestARunThatAnotherProcessMergedMeanwhileIsNotMissed(t *testing.T) {
	store := new(objstore.Mem)
	put := func(first, last int64) {
		t.Helper()
		r := runHead{First: first, Last: last}
		content, err := encode(headed[runHead]{Body: r})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := objstore.PutBytes(t.Context(), store, r.name(), content, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if err := store.Delete(t.Context(), name, objstore.Cond{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(0, 9)
	put(10, 19)
	l := newLog(&mergedMeanwhile{store, func() { put(0, 19); remove("seen/0-9", "seen/10-19") }}, "", Options{})
	runs, _, err := l.findRuns(t.Context())
	if err != nil || len(runs) != 1 || runs[0].Last != 19 {
		t.Errorf("got %+v, %v, want the merged run", runs, err)
	}
	put(20, 29)
	l = newLog(&listsTheRemoved{store, "seen/20-29"}, "", Options{})
	remove("seen/20-29")
	if _, _, err := l.findRuns(t.Context()); !isMissing(err) {
		t.Errorf("a run that is listed and not there: got %v", err)
	}
}

// listsTheRemoved is a store that goes on to list an object that is not there.
type listsTheRemoved struct {
	objstore.Store
	key string
}

func (s *listsTheRemoved) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for o, err := range s.Store.List(ctx, prefix, after) {
			if !yield(o, err) {
				return
			}
		}
		yield(objstore.Object{Key: s.key}, nil)
	}
}
