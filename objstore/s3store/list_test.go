package s3store_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/objstore/s3store"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// keysOf lists a store to its end.
func keysOf(ctx context.Context, s objstore.Store, prefix, after string) (keys []string, err error) {
	for o, err := range s.List(ctx, prefix, after) {
		if err != nil {
			return keys, err
		}
		keys = append(keys, o.Key)
	}
	return keys, nil
}

// randomKeys are keys in a few folders, large and small, whose names sort near the slash.
func randomKeys(rng *rand.Rand) []string {
	names := []string{"a", "a-b", "a.b", "a0", "b", "b c", "c+d", "é", "zz", "%2F", "day=01", "~"}
	keys := map[string]bool{}
	for range 1 + rng.IntN(6) { // folders that are large
		folder := ""
		for range rng.IntN(4) {
			folder += names[rng.IntN(len(names))] + "/"
		}
		for range rng.IntN(60) {
			key := folder
			for range rng.IntN(3) * rng.IntN(2) {
				key += names[rng.IntN(len(names))] + "/"
			}
			keys[key+names[rng.IntN(len(names))]+fmt.Sprint(rng.IntN(30))] = true
		}
		if rng.IntN(3) == 0 && folder != "" {
			keys[folder] = true // the mark of a folder
		}
	}
	for range rng.IntN(30) { // folders of one key
		keys[names[rng.IntN(len(names))]+fmt.Sprint(rng.IntN(99))+"/"+names[rng.IntN(len(names))]] = true
	}
	var sorted []string
	for k := range keys {
		sorted = append(sorted, k)
	}
	slices.Sort(sorted)
	return sorted
}

// TestAListingThatReadsAheadHasAllKeysInOrder lists random keys in small pages, and compares.
func TestAListingThatReadsAheadHasAllKeysInOrder(t *testing.T) {
	server := serve(t)
	asked := 0
	server.Inject(func(c s3test.Call) s3test.Fault {
		if c.Folders {
			asked++
		}
		return s3test.None
	})
	seed := rand.Uint64()
	for i := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, i))
		root := fmt.Sprintf("case%d/", i)
		keys := randomKeys(rng)
		for _, k := range keys {
			server.Put("b", root+k, k)
		}
		server.Pages(1 + rng.IntN(9))
		store := open(t, options(server.URL), root)
		prefix, after := "", ""
		if len(keys) > 0 && rng.IntN(2) == 0 {
			k := keys[rng.IntN(len(keys))]
			prefix = k[:rng.IntN(len(k)+1)]
		}
		if len(keys) > 0 && rng.IntN(2) == 0 {
			after = keys[rng.IntN(len(keys))]
		}
		var want []string
		for _, k := range keys {
			if strings.HasPrefix(k, prefix) && (after == "" || k > after) {
				want = append(want, k)
			}
		}
		got, err := keysOf(t.Context(), store, prefix, after)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("seed %d, case %d: prefix %q after %q: %v\ngot  %q\nwant %q", seed, i, prefix, after, err, got, want)
		}
	}
	if server.Inject(nil); asked == 0 {
		t.Error("no listing asked for folders")
	}
}

// folders puts keys into a bucket: n folders of m keys each.
func folders(server *s3test.Server, n, m int) {
	for i := range n {
		for j := range m {
			server.Put("b", fmt.Sprintf("p%05d/f%05d", i, j), "")
		}
	}
}

// TestAListingMeetsWhatIsThereAllTheTime puts and deletes keys beside a listing.
func TestAListingMeetsWhatIsThereAllTheTime(t *testing.T) {
	server := serve(t)
	folders(server, 30, 40)
	stays := server.Keys("b", "")
	server.Pages(5)
	store := open(t, options(server.URL), "")
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	var got []string
	last := ""
	for o, err := range store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if o.Key <= last {
			t.Fatalf("seed %d: %q after %q", seed, o.Key, last)
		}
		if last = o.Key; !strings.Contains(o.Key, "new") {
			got = append(got, o.Key)
		}
		key := fmt.Sprintf("p%05d%s/f%05dnew", rng.IntN(32), []string{"", "-", "0"}[rng.IntN(3)], rng.IntN(50))
		if server.Put("b", key, ""); rng.IntN(2) == 0 {
			if err := store.Delete(t.Context(), key, objstore.Cond{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.Equal(got, stays) {
		t.Fatalf("seed %d: got %d keys that stay, want %d", seed, len(got), len(stays))
	}
}

// noneLists fails when a listing left a goroutine.
func noneLists(t *testing.T) {
	t.Helper()
	var all strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(all.String(), "s3store.(*listing)") {
		t.Fatalf("a goroutine is left:\n%s", all.String())
	}
}

// TestAListingThatCannotGoOnSaysSo refuses one request of a listing after the other.
func TestAListingThatCannotGoOnSaysSo(t *testing.T) {
	server := serve(t)
	folders(server, 6, 12)
	want := server.Keys("b", "")
	server.Pages(3)
	store := open(t, options(server.URL), "")
	for n := 0; ; n++ {
		lists, hit := 0, false
		server.Inject(func(c s3test.Call) s3test.Fault {
			if lists++; lists-1 != n {
				return s3test.None
			}
			if hit = !c.Folders; !hit { // it does without
				n = -1
			}
			return s3test.Denied
		})
		asked := n
		got, err := keysOf(t.Context(), store, "", "")
		noneLists(t)
		server.Inject(nil)
		switch {
		case n < 0 || !hit:
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("request %d for folders is refused: %d keys, %v", asked, len(got), err)
			}
		case !errors.Is(err, objstore.ErrPermission) || !slices.Equal(got, want[:len(got)]):
			t.Fatalf("request %d is refused: %d keys, %v", n, len(got), err)
		}
		if n = asked; lists <= n {
			break
		}
	}
}

// TestAListingThatIsCanceledDoesNotLookComplete cancels after each number of keys.
func TestAListingThatIsCanceledDoesNotLookComplete(t *testing.T) {
	server := serve(t)
	folders(server, 6, 12)
	all := len(server.Keys("b", ""))
	server.Pages(3)
	store := open(t, options(server.URL), "")
	for n := 1; n < all; n += 5 {
		ctx, cancel := context.WithCancel(t.Context())
		met := 0
		var failed error
		for _, err := range store.List(ctx, "", "") {
			if err != nil {
				failed = err
				break
			}
			if met++; met == n {
				cancel()
			}
		}
		cancel()
		if met < all && !errors.Is(failed, context.Canceled) {
			t.Fatalf("canceled after %d keys: %d keys, %v", n, met, failed)
		}
		noneLists(t)
		for range store.List(t.Context(), "", "") {
			if met--; met <= 0 {
				break
			}
		}
		noneLists(t)
	}
}

// TestAListingReadsAheadAndNotWithoutEnd holds the reader back while the listing goes ahead.
func TestAListingReadsAheadAndNotWithoutEnd(t *testing.T) {
	// What may be held, the pages of which only a part counts, and requests for folders.
	const size, most = 2, 16*4 + 64 + 30 + 20
	server := serve(t)
	folders(server, 30, 40)
	server.Pages(size)
	ahead := make(chan struct{})
	var pages atomic.Int64
	server.Inject(func(c s3test.Call) s3test.Fault {
		if n := pages.Add(1); n == 60 {
			close(ahead)
		}
		return s3test.None
	})
	store := open(t, options(server.URL), "")
	met := 0
	for _, err := range store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if met++; met == 2*size {
			<-ahead
		}
		if n := int(pages.Load()) - met/size; n > most {
			t.Fatalf("%d pages ahead", n)
		}
	}
}

// TestRequestsOfAListing counts requests, which cost time and money, beside those of one page after the
// other.
func TestRequestsOfAListing(t *testing.T) {
	for _, c := range []struct {
		name       string
		n, m, most int // folders, keys in each, requests
	}{
		{"many tiny folders", 6000, 2, 60},
		{"folders smaller than a page", 80, 80, 32 + 32/6},
		{"folders of about a page", 30, 201, 31 + 31/2},
		{"large folders", 10, 1100, 55 + 10},
		{"one folder", 1, 4000, 21},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t)
			server.Pages(200)
			folders(server, c.n, c.m)
			got, err := keysOf(t.Context(), open(t, options(server.URL), ""), "", "")
			if err != nil || len(got) != c.n*c.m {
				t.Fatalf("%d keys, %v", len(got), err)
			}
			calls, _ := server.Calls()
			t.Logf("%d requests for %d keys", calls, len(got))
			if calls > c.most {
				t.Errorf("%d requests, want at most %d", calls, c.most)
			}
		})
	}
}

type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

var listPage = flag.Int("list.page", 50, "keys in each of the 1,000 pages of TestAListingDoesNotWaitForEachAnswer")

// TestAListingDoesNotWaitForEachAnswer lists a thousand pages of a server that takes 30 ms for each, by a
// clock that stands still while anything works.
func TestAListingDoesNotWaitForEachAnswer(t *testing.T) {
	const latency = 30 * time.Millisecond
	for _, c := range []struct {
		name    string
		folders int
		most    time.Duration
	}{
		{"200 folders", 200, 4 * time.Second},
		{"20 folders", 20, 16 * time.Second},
		{"one folder", 1, 1001 * latency},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t)
			server.Pages(*listPage)
			folders(server, c.folders, *listPage*1000/c.folders)
			o := options(server.URL)
			o.Transport = transport(func(r *http.Request) (*http.Response, error) {
				time.Sleep(latency)
				return server.Transport().RoundTrip(r)
			})
			store := open(t, o, "")
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got, err := keysOf(t.Context(), store, "", "")
				if err != nil || len(got) != *listPage*1000 {
					t.Fatalf("%d keys, %v", len(got), err)
				}
				took := time.Since(began)
				calls, _ := server.Calls()
				if t.Logf("%d keys, %d requests: %.1f s", len(got), calls, took.Seconds()); took > c.most {
					t.Errorf("it took longer than %v", c.most)
				}
			})
		})
	}
}

// BenchmarkList lists 100,000 keys.
func BenchmarkList(b *testing.B) {
	server := s3test.New("b")
	defer server.Close()
	folders(server, 20, 5000)
	var pages sync.Map // what the server answers, made once
	o := options(server.URL)
	o.Transport = transport(func(r *http.Request) (*http.Response, error) {
		page, ok := pages.Load(r.URL.RawQuery)
		if !ok {
			answer, err := server.Transport().RoundTrip(r)
			if err != nil {
				return nil, err
			}
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				return nil, err
			}
			page, _ = pages.LoadOrStore(r.URL.RawQuery, body)
		}
		body := page.([]byte)
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body))}, nil
	})
	c, err := s3store.New(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if got, err := keysOf(b.Context(), c.Store("b", ""), "", ""); err != nil || len(got) != 100_000 {
			b.Fatal(len(got), err)
		}
	}
}
