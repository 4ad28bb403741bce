package s3store_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/objstore/objstoretest"
	"github.com/siltlake/silt/objstore/s3store"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// serve starts a server with the bucket "b".
func serve(t *testing.T) *s3test.Server {
	t.Helper()
	s := s3test.New("b", "other")
	t.Cleanup(s.Close)
	return s
}

// options are those of a client that does not wait.
func options(url string) s3store.Options {
	return s3store.Options{Endpoint: url, Region: "us-east-1", Backoff: time.Millisecond, Part: 64 << 10,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
}

func open(t *testing.T, o s3store.Options, prefix string) *s3store.Store {
	t.Helper()
	c, err := s3store.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c.Store("b", prefix)
}

func TestContract(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Store { return open(t, options(serve(t).URL), "some/prefix") })
}

func TestContractInParts(t *testing.T) {
	o := func(t *testing.T) s3store.Options {
		o := options(serve(t).URL)
		o.Part = 1000
		return o
	}
	objstoretest.Run(t, func(t *testing.T) objstore.Store { return open(t, o(t), "") })
}

// once makes a fault happen to the first call of an operation.
func once(op string, f s3test.Fault) func(s3test.Call) s3test.Fault {
	done := false
	return func(c s3test.Call) s3test.Fault {
		if c.Op != op || done {
			return s3test.None
		}
		done = true
		return f
	}
}

// TestEveryFaultOnce makes each fault happen to each request of a small life, each alone. What may be
// repeated succeeds; a conditional put says what happened, or that it does not know.
func TestEveryFaultOnce(t *testing.T) {
	server := serve(t)
	content := strings.Repeat("0123456789", 10_000)
	type step struct {
		name string
		do   func(t *testing.T, s *s3store.Store) error
	}
	read := func(t *testing.T, s objstore.Store, key string) (string, error) {
		b, _, err := objstore.ReadAll(t.Context(), s, key)
		return string(b), err
	}
	same := func(got, want string) error {
		if got != want {
			return fmt.Errorf("got %d bytes, want %d", len(got), len(want))
		}
		return nil
	}
	steps := []step{
		{"put", func(t *testing.T, s *s3store.Store) error {
			_, err := objstore.PutBytes(t.Context(), s, "small", []byte("small"), objstore.Cond{})
			return err
		}},
		{"put in parts", func(t *testing.T, s *s3store.Store) error {
			_, err := objstore.PutBytes(t.Context(), s, "large", []byte(content), objstore.Cond{})
			return err
		}},
		{"read", func(t *testing.T, s *s3store.Store) error {
			got, err := read(t, s, "large")
			return cmp.Or(err, same(got, content))
		}},
		{"read a part", func(t *testing.T, s *s3store.Store) error {
			r, _, err := s.Open(t.Context(), "large", objstore.Range{Off: 10, Len: 50_000})
			if err != nil {
				return err
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			return cmp.Or(err, same(string(got), content[10:50_010]))
		}},
		{"stream", func(t *testing.T, s *s3store.Store) error {
			w, err := objstore.Create(t.Context(), s, "stream")
			if err != nil {
				return err
			}
			for i := 0; i < len(content); i += 1000 {
				if _, err := io.WriteString(w, content[i:i+1000]); err != nil {
					return err
				}
			}
			_, err = w.Close()
			if err != nil {
				return err
			}
			got, err := read(t, s, "stream")
			return cmp.Or(err, same(got, content))
		}},
		{"copy", func(t *testing.T, s *s3store.Store) error {
			o := objstore.Object{Key: "small", Size: 5}
			_, err := s.CopyFrom(t.Context(), "copy", s, o)
			if err != nil && !errors.Is(err, objstore.ErrPrecondition) { // an earlier try may have taken the key
				return err
			}
			got, err := read(t, s, "copy")
			return cmp.Or(err, same(got, "small"))
		}},
		{"tag", func(t *testing.T, s *s3store.Store) error {
			return s.Tag(t.Context(), "small", map[string]string{"silt": "loaded"})
		}},
		{"list", func(t *testing.T, s *s3store.Store) error {
			n := 0
			for _, err := range s.List(t.Context(), "", "") {
				if err != nil {
					return err
				}
				n++
			}
			return same(strings.Repeat("x", n), "xxxx")
		}},
		{"delete", func(t *testing.T, s *s3store.Store) error {
			return s.Delete(t.Context(), "copy", objstore.Cond{})
		}},
	}
	life := func(t *testing.T, prefix string) {
		s := open(t, options(server.URL), prefix)
		for _, st := range steps {
			if err := st.do(t, s); err != nil {
				t.Errorf("%s: %v", st.name, err)
			}
		}
	}
	// Of each operation, the first and the second request stand for all.
	var at []int
	ops := map[string]int{}
	server.Inject(func(c s3test.Call) s3test.Fault {
		if ops[c.Op]++; ops[c.Op] <= 2 {
			at = append(at, c.N)
		}
		return s3test.None
	})
	life(t, "warm up")
	total, _ := server.Calls()
	t.Logf("%d requests, %d of them with %d faults", total, len(at), len(s3test.Faults()))
	for _, f := range s3test.Faults() {
		if f == s3test.Denied { // an answer, and no fault
			continue
		}
		for _, n := range at {
			first, _ := server.Calls()
			var hit s3test.Call
			server.Inject(func(c s3test.Call) s3test.Fault {
				if c.N != first+n {
					return s3test.None
				}
				hit = c
				return f
			})
			t.Run(fmt.Sprintf("%s at request %d", f, n), func(t *testing.T) {
				life(t, fmt.Sprintf("%s-%d", f, n))
				if t.Failed() {
					t.Logf("it was %s %s", hit.Op, hit.Key)
				}
			})
			server.Settle()
		}
	}
}

func TestAConditionalPutIsNotRepeated(t *testing.T) {
	for f, want := range map[s3test.Fault]struct {
		landed, known bool
		calls         int
	}{
		s3test.InternalError: {false, false, 1}, s3test.SlowDown: {false, false, 1}, s3test.TooMany: {false, false, 1},
		s3test.Reset: {false, false, 1}, s3test.Denied: {false, false, 1},
		s3test.InternalAfter: {true, false, 1}, s3test.SlowDownAfter: {true, false, 1}, s3test.ResetAfter: {true, false, 1},
		s3test.Cut:      {true, false, 1},
		s3test.Conflict: {true, true, 2}, s3test.HangFor100ms: {true, true, 1},
	} {
		for _, cond := range []string{"IfAbsent", "IfMatch", "IfAbsent in parts"} {
			t.Run(fmt.Sprintf("%s, %s", f, cond), func(t *testing.T) {
				server := serve(t)
				s := open(t, options(server.URL), "")
				c, content, op := objstore.Cond{IfAbsent: true}, "new", "PutObject"
				switch cond {
				case "IfMatch":
					o, err := objstore.PutBytes(t.Context(), s, "k", []byte("old"), objstore.Cond{})
					if err != nil {
						t.Fatal(err)
					}
					c = objstore.Cond{IfMatch: o.ETag}
				case "IfAbsent in parts":
					content, op = strings.Repeat("new", 50_000), "CompleteMultipartUpload"
				}
				_, before := server.Calls()
				server.Inject(once(op, f))
				_, err := objstore.PutBytes(t.Context(), s, "k", []byte(content), c)
				_, after := server.Calls()
				if n := after[op] - before[op]; n != want.calls {
					t.Errorf("%d requests, want %d", n, want.calls)
				}
				if got, _ := server.Get("b", "k"); (got == content) != want.landed {
					t.Errorf("landed: %v", got == content)
				}
				if known := err == nil; known != want.known || errors.Is(err, objstore.ErrPrecondition) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestALatePutIsUnknown(t *testing.T) {
	server := serve(t)
	s := open(t, options(server.URL), "")
	server.Inject(once("PutObject", s3test.Late))
	_, err := objstore.PutBytes(t.Context(), s, "k", []byte("ours"), objstore.Cond{IfAbsent: true})
	if err == nil || errors.Is(err, objstore.ErrPrecondition) {
		t.Errorf("got %v", err)
	}
	server.Settle()
	_, err = objstore.PutBytes(t.Context(), s, "k", []byte("ours"), objstore.Cond{IfAbsent: true})
	if !errors.Is(err, objstore.ErrPrecondition) {
		t.Errorf("got %v, want ErrPrecondition", err)
	}
}

func TestReadsArePinned(t *testing.T) {
	content := strings.Repeat("old!", 200_000)
	for name, change := range map[string]func(*s3test.Server, *s3store.Store){
		"when_the_object_is_replaced": func(s *s3test.Server, _ *s3store.Store) { s.Put("b", "k", strings.Repeat("new!", 200_000)) },
		"when_it_is_deleted": func(_ *s3test.Server, s *s3store.Store) {
			_ = s.Delete(context.Background(), "k", objstore.Cond{})
		},
	} {
		for _, lax := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lax=%v", name, lax), func(t *testing.T) {
				server := serve(t)
				server.Relax(s3test.Lax{ReadConditions: lax})
				s := open(t, options(server.URL), "")
				server.Put("b", "k", content)
				server.Inject(once("GetObject", s3test.Cut))
				r, _, err := s.Open(t.Context(), "k", objstore.Range{})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				change(server, s)
				got, err := io.ReadAll(r)
				if !errors.Is(err, objstore.ErrPrecondition) || !strings.HasPrefix(content, string(got)) {
					t.Errorf("got %d bytes and %v, want ErrPrecondition", len(got), err)
				}
			})
		}
	}
}

func TestAReadThatIsCutEverywhereEnds(t *testing.T) {
	server := serve(t)
	s := open(t, options(server.URL), "")
	server.Put("b", "k", strings.Repeat("x", 1_000_000))
	t.Run("while_it_moves_on_it_goes_on", func(t *testing.T) {
		server.Inject(func(c s3test.Call) s3test.Fault { return s3test.Cut })
		r, _, err := s.Open(t.Context(), "k", objstore.Range{Len: 900_000})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if n, err := io.Copy(io.Discard, r); n < 899_000 {
			t.Errorf("got %d bytes, %v", n, err)
		}
	})
	t.Run("it_ends_when_the_store_is_gone", func(t *testing.T) {
		server.Inject(once("GetObject", s3test.Cut))
		r, _, err := s.Open(t.Context(), "k", objstore.Range{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		server.Inject(func(c s3test.Call) s3test.Fault { return s3test.InternalError })
		if _, err := io.Copy(io.Discard, r); err == nil || errors.Is(err, objstore.ErrPrecondition) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAListing(t *testing.T) {
	server := serve(t)
	s := open(t, options(server.URL), "in")
	for i := range 2500 {
		server.Put("b", fmt.Sprintf("in/%05d", i), "x")
	}
	count := func(after string) (n int, err error) {
		for _, e := range s.List(t.Context(), "", after) {
			if e != nil {
				return n, e
			}
			n++
		}
		return n, nil
	}
	for after, want := range map[string]int{"": 2500, "00999": 1500, "02499": 0} {
		if n, err := count(after); n != want || err != nil {
			t.Errorf("after %q: %d and %v, want %d", after, n, err, want)
		}
	}
	t.Run("out_of_order_is_an_error", func(t *testing.T) {
		server.Relax(s3test.Lax{Unordered: true})
		if _, err := count(""); err == nil || !strings.Contains(err.Error(), "order") {
			t.Errorf("got %v", err)
		}
	})
}

func TestSlowDownHalvesTheRequests(t *testing.T) {
	server := serve(t)
	s := open(t, options(server.URL), "")
	server.Put("b", "k", "x")
	var n atomic.Int64
	server.Inject(func(c s3test.Call) s3test.Fault {
		if n.Add(1)%2 != 0 {
			return s3test.SlowDown
		}
		return s3test.None
	})
	var g errgroup.Group
	for range 50 {
		g.Go(func() error {
			_, _, err := objstore.ReadAll(t.Context(), s, "k")
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if now, limit := s.Pace(); now != 0 || limit >= 256 {
		t.Errorf("%d requests are under way, and the limit is %.1f", now, limit)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	server := serve(t)
	server.Put("b", "k", "x")
	t.Run("no_bucket_is_not_an_absent_object", func(t *testing.T) {
		c, err := s3store.New(t.Context(), options(server.URL))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = objstore.ReadAll(t.Context(), c.Store("nowhere", ""), "k")
		if !errors.Is(err, s3store.ErrNoBucket) || errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("denied_is_ErrPermission", func(t *testing.T) {
		server.Inject(once("GetObject", s3test.Denied))
		_, _, err := objstore.ReadAll(t.Context(), open(t, options(server.URL), ""), "k")
		if !errors.Is(err, objstore.ErrPermission) || !strings.Contains(err.Error(), "GetObject s3://b/k: 403 AccessDenied") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a_store_that_is_not_there_ends_in_an_error", func(t *testing.T) {
		o := options("http://127.0.0.1:1")
		o.Tries = 3
		_, _, err := objstore.ReadAll(t.Context(), open(t, o, ""), "k")
		if !errors.Is(err, s3store.ErrUnreachable) || errors.Is(err, objstore.ErrNotExist) ||
			!strings.HasPrefix(err.Error(), "GetObject s3://b/k: dial tcp 127.0.0.1:1: ") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a_store_that_never_answers_too", func(t *testing.T) {
		o := options(server.URL)
		o.Timeout, o.Tries = 20*time.Millisecond, 2
		server.Inject(func(s3test.Call) s3test.Fault { return s3test.HangFor100ms })
		defer server.Inject(nil)
		if _, _, err := objstore.ReadAll(t.Context(), open(t, o, ""), "k"); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a_store_without_ranges_is_refused", func(t *testing.T) {
		server.Put("b", "long", "0123456789")
		server.Relax(s3test.Lax{Ranges: true})
		defer server.Relax(s3test.Lax{})
		if _, _, err := open(t, options(server.URL), "").Open(t.Context(), "long", objstore.Range{Off: 3}); err == nil || !strings.Contains(err.Error(), "ranges") {
			t.Errorf("got %v", err)
		}
	})
}

func TestACopyIsOfTheVersion(t *testing.T) {
	server := serve(t)
	s := open(t, options(server.URL), "")
	o, err := objstore.PutBytes(t.Context(), s, "a b+c/ü", []byte("one"), objstore.Cond{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.CopyFrom(t.Context(), "copy", s, o)
	if err != nil || c.ETag != o.ETag || c.Size != 3 {
		t.Errorf("got %+v, %v", c, err)
	}
	server.Put("b", "a b+c/ü", "two")
	if _, err := s.CopyFrom(t.Context(), "copy2", s, o); !errors.Is(err, objstore.ErrPrecondition) {
		t.Errorf("got %v, want ErrPrecondition", err)
	}
	if _, err := s.CopyFrom(t.Context(), "copy", new(objstore.Mem), o); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
}

func TestOfCopiesAtOnceTheFirstAloneIsCarried(t *testing.T) {
	server := serve(t)
	s := open(t, options(server.URL), "")
	o, err := objstore.PutBytes(t.Context(), s, "from", []byte("ours"), objstore.Cond{})
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			_, err := s.CopyFrom(t.Context(), fmt.Sprint("to", i), s, o)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, calls := server.Calls(); calls["PutObject"] != 2 || calls["CopyObject"] != 2+7 {
		t.Errorf("got %v", calls)
	}
}

func TestACopyTakesNoKeyThatAnotherHas(t *testing.T) {
	for name, lax := range map[string]bool{"a_store_that_honours_the_condition_of_a_copy": false, "one_that_ignores_it": true} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			server.Relax(s3test.Lax{CopyConditions: lax})
			s := open(t, options(server.URL), "")
			o, err := objstore.PutBytes(t.Context(), s, "from", []byte("ours"), objstore.Cond{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Tag(t.Context(), "from", map[string]string{"a": "b"}); err != nil {
				t.Fatal(err)
			}
			server.Put("b", "taken", "another's")
			for i := range 3 {
				if _, err := s.CopyFrom(t.Context(), "taken", s, o); !errors.Is(err, objstore.ErrPrecondition) {
					t.Errorf("copy %d: got %v, want ErrPrecondition", i, err)
				}
				free := fmt.Sprint("free", i)
				if c, err := s.CopyFrom(t.Context(), free, s, o); err != nil || c.Size != o.Size {
					t.Errorf("copy %d: got %+v, %v", i, c, err)
				}
				if got, _ := server.Get("b", free); got != "ours" || server.Tags("b", free) != server.Tags("b", "from") {
					t.Errorf("copy %d: got %q with tags %s", i, got, server.Tags("b", free))
				}
			}
			if got, _ := server.Get("b", "taken"); got != "another's" {
				t.Errorf("got %q", got)
			}
			if _, calls := server.Calls(); !lax && calls["CopyObject"] != 2+2+2 { // the first is made twice, and one a key after that
				t.Errorf("got %d copies", calls["CopyObject"])
			}
		})
	}
}

func TestParseURI(t *testing.T) {
	for uri, want := range map[string]string{
		"s3://b/a/c": "b|a/c|true", "s3a://b": "b||true", "S3://b/": "b||true", "s3:///x": "|x|false",
		"gs://b/c": "||false", "./s3/b": "||false",
	} {
		bucket, key, ok := s3store.ParseURI(uri)
		if got := fmt.Sprintf("%s|%s|%v", bucket, key, ok); got != want {
			t.Errorf("%s: got %s, want %s", uri, got, want)
		}
	}
}

func TestProbe(t *testing.T) {
	for name, c := range map[string]struct {
		lax    s3test.Lax
		fails  string
		unsafe bool
	}{
		"a_store_that_keeps_its_promises":       {},
		"one_that_ignores_conditions":           {s3test.Lax{PutConditions: true}, "put if absent, put if unchanged", true},
		"one_that_lists_in_another_order":       {s3test.Lax{Unordered: true}, "list after write", true},
		"one_without_ranges":                    {s3test.Lax{Ranges: true}, "ranges", true},
		"one_that_deletes_what_it_should_not":   {s3test.Lax{DeleteConditions: true}, "delete if unchanged", false},
		"one_whose_reads_ignore_conditions_too": {s3test.Lax{ReadConditions: true}, "", false}, // the client looks itself
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t)
			server.Relax(c.lax)
			checks := objstore.Probe(t.Context(), open(t, options(server.URL), ""), "some/")
			var failed []string
			for _, check := range checks {
				if check.Err != nil {
					failed = append(failed, check.Name)
				}
			}
			if got := strings.Join(failed, ", "); got != c.fails {
				t.Errorf("%q fails, want %q", got, c.fails)
			}
			if err := objstore.Unsafe(checks); (err != nil) != c.unsafe {
				t.Errorf("got %v", err)
			}
			if keys := server.Keys("b", ""); len(keys) > 0 {
				t.Errorf("it left %v", keys)
			}
		})
	}
}
