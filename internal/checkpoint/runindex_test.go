package checkpoint

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/objstore"
)

// countedStore counts the bytes that are read, and by how many requests.
type countedStore struct {
	objstore.Store
	read, opened atomic.Int64
}

func (s *countedStore) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	s.opened.Add(1)
	body, o, err := s.Store.Open(ctx, key, r)
	if err != nil {
		return nil, o, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(body, s), body}, o, nil
}

func (s *countedStore) Write(b []byte) (int, error) {
	s.read.Add(int64(len(b)))
	return len(b), nil
}

// manyBlocks is what is seen of n files, a few dozen of them in a block, whose keys are the even numbers.
func manyBlocks(t interface{ Fatal(...any) }, n int) (*Seen, *countedStore) {
	s := &countedStore{Store: new(objstore.Mem)}
	out, err := objstore.Create(context.Background(), s.Store, "run")
	if err != nil {
		t.Fatal(err)
	}
	w, err := newRunWriter(out)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range n {
		o := objstore.Object{Key: numbered(2 * i), ETag: fmt.Sprint(i)}
		var why strings.Builder
		for range 500 {
			fmt.Fprintf(&why, "%016x", random.Uint64())
		}
		if err := w.add(keyed{o.Key, newEntry(Row{File: File{o, &FileOutcome{State: Loaded, Error: why.String()}}})}); err != nil {
			t.Fatal(err)
		}
	}
	index, err := w.end()
	if err == nil {
		_, err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &Seen{log: newLog(s, "", Options{}), runs: []runHead{{Data: "run", Entries: int64(n), Index: index}}}, s
}

func numbered(i int) string { return fmt.Sprintf("landing/%07d", i) }

func TestKeysAreLookedUpAsIfAllWereRead(t *testing.T) {
	const n = 1500
	seen, store := manyBlocks(t, n)
	rapid.Check(t, func(rt *rapid.T) {
		keys := rapid.SliceOfN(rapid.IntRange(0, 2*n+50), 0, 40).Draw(rt, "keys")
		from := rapid.IntRange(0, 2*n).Draw(rt, "from")
		for i := range rapid.IntRange(0, 300).Draw(rt, "in a row") {
			keys = append(keys, from+i)
		}
		slices.Sort(keys)
		removed := rapid.IntRange(0, 10).Draw(rt, "the run is removed after lookups")
		lookup, end, err := seen.Pass(context.Background())
		if err != nil {
			rt.Fatal(err)
		}
		defer end()
		content, _, err := objstore.ReadAll(context.Background(), store.Store, "run")
		if err != nil {
			rt.Fatal(err)
		}
		for i, k := range keys {
			if i == removed { // as by another process that has merged it
				if err := store.Delete(context.Background(), "run", objstore.Cond{}); err != nil {
					rt.Fatal(err)
				}
				defer func() {
					if _, err := objstore.PutBytes(context.Background(), store, "run", content, objstore.Cond{}); err != nil {
						rt.Fatal(err)
					}
				}()
			}
			v, known, _, err := lookup(numbered(k))
			if err != nil {
				rt.Fatal(err)
			}
			want := k%2 == 0 && k < 2*n
			if known != want || want && v.ETag != fmt.Sprint(k/2) {
				rt.Fatalf("%s: got %v, %q", numbered(k), known, v.ETag)
			}
		}
	})
}

func TestFewKeysAreLookedUpByFewBlocks(t *testing.T) {
	const n = 6000
	seen, store := manyBlocks(t, n)
	_, all, err := objstore.ReadAll(t.Context(), store.Store, "run")
	if err != nil {
		t.Fatal(err)
	}
	lookup, end, err := seen.Pass(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for _, k := range []int{n, n + 1, 2*n - 2} {
		if _, known, _, err := lookup(numbered(k)); err != nil || known != (k%2 == 0) {
			t.Fatalf("%d: %v, %v", k, known, err)
		}
	}
	// The first block, and those of the keys, of 190, each with what a buffer reads beyond it.
	if read := store.read.Load(); read > all.Size/20 {
		t.Errorf("%d bytes were read of %d", read, all.Size)
	}
}

func TestKeysInBlocksThatAreNearTakeNoRequestEach(t *testing.T) {
	const n = 6000
	seen, store := manyBlocks(t, n)
	lookup, end, err := seen.Pass(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for k := 0; k < 2*n; k += 200 { // three blocks
		if _, known, _, err := lookup(numbered(k)); err != nil || !known {
			t.Fatalf("%d: %v, %v", k, known, err)
		}
	}
	// One for the blocks, and one for the index.
	if opened := store.opened.Load(); opened > 2 {
		t.Errorf("%d requests", opened)
	}
}
