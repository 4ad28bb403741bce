package checkpoint_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/objstore"
)

// ask puts a request about files that are there.
func ask(t *testing.T, s objstore.Store, id string, what checkpoint.Verb, keys ...string) {
	t.Helper()
	r := checkpoint.Request{RequestHead: checkpoint.RequestHead{ID: id, Action: what, Reason: "because", Time: time.Unix(1, 0).UTC()}}
	for _, key := range keys {
		f := checkpoint.RequestFile{Object: objstore.Object{Key: key}, Rows: 7}
		for o := range s.List(context.Background(), key, "") {
			f.Object = o
		}
		r.Files = append(r.Files, f)
	}
	if err := checkpoint.PutRequest(context.Background(), s, "cp", r); err != nil {
		t.Fatal(err)
	}
}

// waiting are the ids of the requests that are not done.
func waiting(t *testing.T, s objstore.Store) (ids []string) {
	t.Helper()
	for r, err := range checkpoint.Requests(context.Background(), s, "cp") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

func TestRequests(t *testing.T) {
	s := loaded(t)
	run := func(t *testing.T, broken ...string) []checkpoint.Outcome {
		t.Helper()
		log := open(t, s, checkpoint.Options{Owner: goneOwner, Fan: 2})
		defer log.Close()
		y := newToy(s, log)
		y.broken = map[string]bool{}
		for _, key := range broken {
			y.broken[key] = true
		}
		out, err := y.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := func(t *testing.T, all ...string) {
		t.Helper()
		if got := rows(s); !slices.Equal(got, all) {
			t.Errorf("got %v, want %v", got, all)
		}
		if ids := waiting(t, s); len(ids) > 0 {
			t.Errorf("%v are not done", ids)
		}
	}
	t.Run("a_skipped_file_is_never_loaded", func(t *testing.T) {
		putFile(s, "src/d", "d1")
		ask(t, s, "01", checkpoint.Skip, "src/d")
		out := run(t)
		want(t, "a1", "b1", "c1")
		if len(out) != 1 || out[0].Plan.Request == nil || len(out[0].Staged.Targets) != 0 || out[0].Staged.Files[0].State != checkpoint.Skipped || out[0].Staged.Files[0].Error != "because" {
			t.Errorf("got %+v", out)
		}
	})
	t.Run("a_loaded_file_cannot_be_skipped", func(t *testing.T) {
		ask(t, s, "02", checkpoint.Skip, "src/a")
		if out := run(t); len(out) != 0 {
			t.Errorf("got %+v", out)
		}
		want(t, "a1", "b1", "c1")
	})
	t.Run("a_forgotten_file_is_loaded_again_once", func(t *testing.T) {
		ask(t, s, "03", checkpoint.Forget, "src/a", "src/d")
		run(t)
		want(t, "a1", "a1", "b1", "c1", "d1")
		run(t)
		want(t, "a1", "a1", "b1", "c1", "d1")
	})
	t.Run("another_version_than_the_one_that_was_meant_is_not_forgotten", func(t *testing.T) {
		r := checkpoint.Request{RequestHead: checkpoint.RequestHead{ID: "04", Action: checkpoint.Forget}, Files: []checkpoint.RequestFile{{Object: objstore.Object{Key: "src/b", ETag: "other"}}}}
		if err := checkpoint.PutRequest(t.Context(), s, "cp", r); err != nil {
			t.Fatal(err)
		}
		run(t)
		want(t, "a1", "a1", "b1", "c1", "d1")
	})
	t.Run("a_file_that_is_retried_counts_its_tries_anew", func(t *testing.T) {
		putFile(s, "src/e", "e1")
		run(t, "src/e") // until it is left alone, after three tries
		ask(t, s, "05", checkpoint.Retry, "src/e")
		out := run(t, "src/e")
		if n := len(out); n != 4 || out[0].Staged.Files[0].State != checkpoint.Retried || out[1].Staged.Files[0].Tries != 1 || out[3].Staged.Files[0].Tries != 3 {
			t.Errorf("got %d batches: %+v", n, out)
		}
		ask(t, s, "06", checkpoint.Retry, "src/e")
		run(t)
		want(t, "a1", "a1", "b1", "c1", "d1", "e1")
	})
	t.Run("an_adopted_file_counts_as_loaded", func(t *testing.T) {
		putFile(s, "src/f", "f1")
		ask(t, s, "07", checkpoint.Adopt, "src/f", "src/a")
		out := run(t)
		want(t, "a1", "a1", "b1", "c1", "d1", "e1")
		if len(out) != 1 || len(out[0].Staged.Files) != 1 || out[0].Staged.Files[0].State != checkpoint.Loaded || out[0].Staged.Files[0].Rows != 7 {
			t.Errorf("got %+v", out)
		}
	})
	t.Run("what_was_done_long_ago_is_removed", func(t *testing.T) {
		late := func() time.Time { return time.Now().Add(48 * time.Hour) }
		for i := range 4 {
			putFile(s, fmt.Sprintf("src/z%d", i), "")
		}
		log := open(t, s, checkpoint.Options{Owner: goneOwner, Fan: 2, Clock: late})
		y := newToy(s, log)
		y.batch = 1
		if _, err := y.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for o := range s.List(t.Context(), "cp/requests/", "") {
			t.Errorf("%s is there", o.Key)
		}
	})
	t.Run("a_request_to_do_something_else_is_refused", func(t *testing.T) {
		r := checkpoint.Request{RequestHead: checkpoint.RequestHead{ID: "08", Action: "drop"}, Files: []checkpoint.RequestFile{{}}}
		if err := checkpoint.PutRequest(t.Context(), s, "cp", r); err == nil {
			t.Error("no error")
		}
	})
}

// TestARequestIsDoneOnceWhateverFails has a fault at each call of a loader that finds requests: one to load a
// file again, which shows when it is done twice, and one to skip a file.
func TestARequestIsDoneOnceWhateverFails(t *testing.T) {
	for v := lost; v < verdicts; v++ {
		t.Run(v.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := 0
				for more := true; more; at++ {
					more = oneFaultInRequest(t, v, at)
				}
				t.Logf("%d calls", at)
				if at < 40 {
					t.Errorf("got %d calls, want more", at)
				}
			})
		})
	}
}

func oneFaultInRequest(t *testing.T, v verdict, at int) bool {
	t.Helper()
	mem := loaded(t)
	putFile(mem, "src/d", "d1")
	ask(t, mem, "01", checkpoint.Forget, "src/a")
	ask(t, mem, "02", checkpoint.Skip, "src/d")
	n, what := 0, ""
	var landing func()
	p := &process{Store: mem, keep: 100, later: func(f func()) { landing = f }}
	p.judge = func(c call) verdict {
		n++
		if n-1 == at+4 && landing != nil {
			landing()
		}
		if n-1 != at || !c.write && v == late {
			return pass
		}
		what = c.op + " " + c.key
		return v
	}
	coin := rand.New(rand.NewPCG(uint64(v), uint64(at)))
	if err := p.load(t.Context(), &toy{batch: 1, keep: true, coin: coin}); err != nil && !p.dead.Load() {
		t.Errorf("%s at %s: %v", v, what, err)
	}
	second := &process{Store: mem, keep: 100, judge: func(call) verdict { return pass }}
	if err := second.load(t.Context(), &toy{batch: 1, keep: true, coin: coin}); err != nil {
		t.Errorf("%s at %s: then: %v", v, what, err)
	}
	if err := check(mem, true, strings.Fields("a1 a1 b1 c1")); err != nil {
		t.Errorf("%s at %s: %v", v, what, err)
	}
	if ids := waiting(t, mem); len(ids) > 0 {
		t.Errorf("%s at %s: %v are not done", v, what, ids)
	}
	return n > at
}
