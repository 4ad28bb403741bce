// Package objstoretest holds the contract of [objstore.Store] as tests, and a store that fails on
// purpose.
package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/siltlake/silt/objstore"
)

// Run tests a store that starts out empty. Make returns a new one for each test.
func Run(t *testing.T, make func(t *testing.T) objstore.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, objstore.Store)
	}{
		{"what is put is read back", putThenOpen},
		{"a range is a part of the object", ranges},
		{"an absent key is ErrNotExist", absent},
		{"a put replaces the whole object and its ETag", replace},
		{"IfAbsent stores only the first content", ifAbsent},
		{"of many racing IfAbsent puts one wins", ifAbsentRace},
		{"IfMatch stores only over the named version", ifMatch},
		{"a read is pinned to the named version", pinnedOpen},
		{"a delete honours its condition", deleteCond},
		{"a listing is in byte order", listOrder},
		{"a listing starts after a key and inside a prefix", listBounds},
		{"keys are opaque", oddKeys},
		{"a failing body leaves nothing behind", failingBody},
		{"a stream becomes an object when it is closed", create},
		{"an ended context stops every call", endedContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, make(t)) })
	}
}

func put(t *testing.T, s objstore.Store, key, content string) objstore.Object {
	t.Helper()
	o, err := objstore.PutBytes(t.Context(), s, key, []byte(content), objstore.Cond{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func get(t *testing.T, s objstore.Store, key string) string {
	t.Helper()
	b, _, err := objstore.ReadAll(t.Context(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want %v", err, target)
	}
}

func putThenOpen(t *testing.T, s objstore.Store) {
	for _, content := range []string{"", "x", strings.Repeat("abc", 100_000)} {
		o := put(t, s, "a/b", content)
		r, opened, err := s.Open(t.Context(), "a/b", objstore.Range{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(got) != content {
			t.Errorf("got %d bytes and %v, want %d", len(got), err, len(content))
		}
		if o.Size != int64(len(content)) || opened.Size != o.Size || opened.ETag != o.ETag || opened.Key != "a/b" {
			t.Errorf("put says %+v, open %+v", o, opened)
		}
	}
}

func ranges(t *testing.T, s objstore.Store) {
	put(t, s, "k", "0123456789")
	for _, c := range []struct {
		off, n int64
		want   string
	}{{0, 0, "0123456789"}, {3, 0, "3456789"}, {3, 4, "3456"}, {8, 9, "89"}, {10, 0, ""}, {12, 0, ""}} {
		r, o, err := s.Open(t.Context(), "k", objstore.Range{Off: c.off, Len: c.n})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(got) != c.want || o.Size != 10 {
			t.Errorf("range %d+%d: got %q (%v) of %d bytes, want %q of 10", c.off, c.n, got, err, o.Size, c.want)
		}
	}
}

func absent(t *testing.T, s objstore.Store) {
	_, _, err := s.Open(t.Context(), "nothing/here", objstore.Range{})
	want(t, err, objstore.ErrNotExist)
	if err := s.Delete(t.Context(), "nothing/here", objstore.Cond{}); err != nil {
		t.Errorf("deleting what is not there: got %v", err)
	}
	for o, err := range s.List(t.Context(), "", "") {
		t.Errorf("an empty store lists %v, %v", o, err)
	}
}

func replace(t *testing.T, s objstore.Store) {
	first := put(t, s, "k", "one, and long")
	second := put(t, s, "k", "two")
	if first.ETag == second.ETag {
		t.Errorf("both versions have ETag %s", first.ETag)
	}
	if got := get(t, s, "k"); got != "two" {
		t.Errorf("got %q, want two", got)
	}
}

func ifAbsent(t *testing.T, s objstore.Store) {
	cond := objstore.Cond{IfAbsent: true}
	if _, err := objstore.PutBytes(t.Context(), s, "k", []byte("one"), cond); err != nil {
		t.Fatal(err)
	}
	_, err := objstore.PutBytes(t.Context(), s, "k", []byte("two"), cond)
	want(t, err, objstore.ErrPrecondition)
	if got := get(t, s, "k"); got != "one" {
		t.Errorf("got %q, want one", got)
	}
}

func ifAbsentRace(t *testing.T, s objstore.Store) {
	const racers = 16
	for round := range 20 {
		key := fmt.Sprintf("log/%03d", round)
		var wg sync.WaitGroup
		won := make([]bool, racers)
		for i := range racers {
			wg.Go(func() {
				_, err := objstore.PutBytes(t.Context(), s, key, []byte(fmt.Sprint(i)), objstore.Cond{IfAbsent: true})
				if won[i] = err == nil; err != nil {
					want(t, err, objstore.ErrPrecondition)
				}
			})
		}
		wg.Wait()
		winner := slices.Index(won, true)
		if winner < 0 || slices.Contains(won[winner+1:], true) {
			t.Fatalf("got winners %v, want one", won)
		}
		if got := get(t, s, key); got != fmt.Sprint(winner) {
			t.Fatalf("got the bytes of %s, want those of the winner %d", got, winner)
		}
	}
}

func ifMatch(t *testing.T, s objstore.Store) {
	first := put(t, s, "k", "one")
	second, err := objstore.PutBytes(t.Context(), s, "k", []byte("two"), objstore.Cond{IfMatch: first.ETag})
	if err != nil {
		t.Fatal(err)
	}
	_, err = objstore.PutBytes(t.Context(), s, "k", []byte("three"), objstore.Cond{IfMatch: first.ETag})
	want(t, err, objstore.ErrPrecondition)
	if got := get(t, s, "k"); got != "two" {
		t.Errorf("got %q, want two", got)
	}
	_, err = objstore.PutBytes(t.Context(), s, "gone", []byte("x"), objstore.Cond{IfMatch: second.ETag})
	want(t, err, objstore.ErrNotExist)
}

func pinnedOpen(t *testing.T, s objstore.Store) {
	first := put(t, s, "k", "one")
	put(t, s, "k", "two")
	_, _, err := s.Open(t.Context(), "k", objstore.Range{IfMatch: first.ETag})
	want(t, err, objstore.ErrPrecondition)
}

func deleteCond(t *testing.T, s objstore.Store) {
	first := put(t, s, "k", "one")
	second := put(t, s, "k", "two")
	want(t, s.Delete(t.Context(), "k", objstore.Cond{IfMatch: first.ETag}), objstore.ErrPrecondition)
	if err := s.Delete(t.Context(), "k", objstore.Cond{IfMatch: second.ETag}); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), "k", objstore.Cond{IfMatch: second.ETag}); err != nil {
		want(t, err, objstore.ErrNotExist)
	}
}

func list(t *testing.T, s objstore.Store, prefix, startAfter string) string {
	t.Helper()
	var keys []string
	for o, err := range s.List(t.Context(), prefix, startAfter) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return strings.Join(keys, " ")
}

func listOrder(t *testing.T, s objstore.Store) {
	for _, key := range []string{"b", "a/z", "a-b", "a.b", "a0", "A", "é", "a/b/c", "a/b!"} {
		put(t, s, key, "x")
	}
	if got, want := list(t, s, "", ""), "A a-b a.b a/b! a/b/c a/z a0 b é"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for range s.List(t.Context(), "", "") {
		break // stopping early is the caller's right
	}
}

func listBounds(t *testing.T, s objstore.Store) {
	for _, key := range []string{"a/1", "a/2", "a/b/1", "a/b/2", "ab/1", "b"} {
		put(t, s, key, "x")
	}
	for _, c := range []struct{ prefix, after, want string }{
		{"a/", "", "a/1 a/2 a/b/1 a/b/2"},
		{"a", "a/2", "a/b/1 a/b/2 ab/1"},
		{"a/b", "", "a/b/1 a/b/2"},
		{"", "a/b/1", "a/b/2 ab/1 b"},
		{"", "a/b", "a/b/1 a/b/2 ab/1 b"},
		{"a/", "zzz", ""},
		{"c", "", ""},
	} {
		if got := list(t, s, c.prefix, c.after); got != c.want {
			t.Errorf("List(%q, %q): got %s, want %s", c.prefix, c.after, got, c.want)
		}
	}
}

func oddKeys(t *testing.T, s objstore.Store) {
	for _, key := range []string{"a b", "a+b", "a%20b", "ünïcode/😀", "x=1/y=a%3Ab", "quote'\"`", strings.Repeat("long", 60)} {
		put(t, s, key, key)
		if got := get(t, s, key); got != key {
			t.Errorf("%q: got %q", key, got)
		}
		if got := list(t, s, key, ""); got != key {
			t.Errorf("%q: listed as %q", key, got)
		}
	}
}

func failingBody(t *testing.T, s objstore.Store) {
	broken := errors.New("broken body")
	body := struct {
		io.Reader
		io.Seeker
	}{io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), bytes.NewReader(nil)}
	_, err := s.Put(t.Context(), "k", body, objstore.Cond{IfAbsent: true})
	want(t, err, broken)
	absent(t, s)
}

func create(t *testing.T, s objstore.Store) {
	w, err := objstore.Create(t.Context(), s, "data/part-0")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := io.WriteString(w, "abc"); err != nil {
			t.Fatal(err)
		}
	}
	o, err := w.Close()
	if err != nil || o.Size != 9 {
		t.Fatalf("got %+v, %v, want 9 bytes", o, err)
	}
	w.Abort() // does nothing now
	if got := get(t, s, "data/part-0"); got != "abcabcabc" {
		t.Errorf("got %q", got)
	}
	w, err = objstore.Create(t.Context(), s, "data/part-1")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "abc")
	w.Abort()
	if got := list(t, s, "data/", ""); got != "data/part-0" {
		t.Errorf("after an abort the store lists %s", got)
	}
}

func endedContext(t *testing.T, s objstore.Store) {
	put(t, s, "k", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Open(ctx, "k", objstore.Range{})
	want(t, err, context.Canceled)
	_, err = objstore.PutBytes(ctx, s, "l", nil, objstore.Cond{})
	want(t, err, context.Canceled)
	want(t, s.Delete(ctx, "k", objstore.Cond{}), context.Canceled)
	for _, err := range s.List(ctx, "", "") {
		want(t, err, context.Canceled)
	}
}
