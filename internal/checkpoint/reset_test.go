package checkpoint_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/objstore"
)

func TestABatchOfAnotherProcessIsThereThoughTheLogWasNew(t *testing.T) {
	s := new(objstore.Mem)
	has := func(want bool) {
		t.Helper()
		if got, err := checkpoint.HasBatch(t.Context(), s, "cp"); got != want || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	has(false)
	log := open(t, s, checkpoint.Options{Owner: goneOwner})
	has(false)
	putFile(s, "src/a", "a1")
	other := &process{Store: s, keep: 1, judge: func(call) verdict { return pass }, lease: "cp/lease-2"}
	if err := other.load(t.Context(), newToy(s, nil)); err != nil {
		t.Fatal(err)
	}
	if !log.IsNew() {
		t.Error("the log asks the store")
	}
	has(true)
	if _, err := checkpoint.Reset(t.Context(), s, "cp", goneOwner); err != nil {
		t.Fatal(err)
	}
	has(false)
}

func TestReset(t *testing.T) {
	t.Run("all_files_are_new_under_another_id", func(t *testing.T) {
		s := loaded(t)
		putFile(s, "cp/_schemas/0", "")
		if _, err := checkpoint.Reset(t.Context(), s, "cp", goneOwner); err != nil {
			t.Fatal(err)
		}
		for o := range s.List(t.Context(), "cp/", "") {
			if o.Key != "cp/lease" && o.Key != "cp/_schemas/0" {
				t.Errorf("%s is there", o.Key)
			}
		}
		log := open(t, s, checkpoint.Options{Owner: goneOwner})
		if !log.IsNew() || log.ID() == "id-2" {
			t.Errorf("the log of %s is not new", log.ID())
		}
	})
	t.Run("not_while_somebody_loads", func(t *testing.T) {
		s := loaded(t)
		open(t, s, checkpoint.Options{Owner: "elsewhere:1"})
		var held *checkpoint.HeldError
		if n, err := checkpoint.Reset(t.Context(), s, "cp", goneOwner); n != 0 || !errors.As(err, &held) {
			t.Errorf("got %d, %v", n, err)
		}
	})
	// A killed reset leaves the old memory, or one that stops every run, or none; never batches that are
	// loaded under an id whose batches tables have.
	t.Run("killed_at_each_call", func(t *testing.T) {
		calls := 0
		for more := true; more; calls++ {
			s := loaded(t)
			n := 0
			p := &process{Store: s, keep: 100}
			p.judge = func(call) verdict {
				if n++; n-1 == calls {
					return killAfter
				}
				return pass
			}
			var ctx context.Context
			ctx, p.kill = context.WithCancel(t.Context())
			_, _ = checkpoint.Reset(ctx, p, "cp", goneOwner)
			more = n > calls
			next := &process{Store: s, keep: 100, judge: func(call) verdict { return pass }}
			err := next.load(t.Context(), newToy(s, nil))
			state := (*checkpoint.StateError)(nil)
			want := strings.Fields("a1 b1 c1")
			switch _, _, gone := objstore.ReadAll(t.Context(), s, "cp/metadata"); {
			case errors.As(err, &state) && gone != nil:
			case err != nil:
				t.Fatalf("call %d: %v", calls, err)
			case !slices.Equal(rows(s), want):
				want = strings.Fields("a1 a1 b1 b1 c1 c1")
			}
			if got := rows(s); !slices.Equal(got, want) {
				t.Errorf("call %d: got %v", calls, got)
			}
		}
		if calls < 15 {
			t.Errorf("got %d calls, want more", calls)
		}
	})
}
