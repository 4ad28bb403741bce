package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/objstore"
)

// cleaned is a store in which a process has loaded n files, one a batch, and cleaned each after its batch,
// with runs of two batches, and the objects of the newest batch only.
func cleaned(t *testing.T, n int) *objstore.Mem {
	t.Helper()
	s := new(objstore.Mem)
	o := options()
	o.Fan, o.Keep = 2, 1
	log := open(t, s, o)
	y := newToy(s, log)
	y.keep, y.later = false, true
	for i := range n {
		putFile(s, fmt.Sprintf("src/%03d", i), fmt.Sprint(i))
		loadAndClean(t, y)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

func loadAndClean(t *testing.T, y *toy) {
	t.Helper()
	if _, err := y.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := y.log.Sweep(t.Context(), y.clean); err != nil {
		t.Fatal(err)
	}
}

func openReadOnly(t *testing.T, s objstore.Store) *checkpoint.Log {
	t.Helper()
	log, err := checkpoint.OpenReadOnly(t.Context(), s, "cp")
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func keysBelow(t *testing.T, s objstore.Store, prefix string) (keys []string) {
	t.Helper()
	for o, err := range s.List(t.Context(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, strings.TrimPrefix(o.Key, prefix))
	}
	return keys
}

func TestWhatBecameOfFilesIsKnownWhenTheirBatchesAreRemoved(t *testing.T) {
	const n = 40
	s := cleaned(t, n)
	if left := keysBelow(t, s, "cp/archive/"); len(left) > 8 {
		t.Errorf("there are still %v", left)
	}
	lists := keysBelow(t, s, "cp/seen/archived/")
	levels := map[string]int{}
	for _, l := range lists {
		level, _, _ := strings.Cut(l, "-")
		levels[level]++
	}
	if levels["0"] > 1 || levels["1"] > 1 || levels["2"] > 1 || levels["3"] == 0 {
		t.Errorf("there are the lists %v", lists)
	}
	moved, err := movedFiles(openReadOnly(t, s))
	if err != nil || len(moved) != n {
		t.Errorf("got %d files, %v", len(moved), err)
	}
}

func TestAFileThatWasCleanedBeforeItsBatchWasPutIntoARunIsKnownAsOneThatWasCleanedAfter(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := new(objstore.Mem)
		o := options()
		o.Fan, o.Keep = 2, 1
		log := open(t, s, o)
		y := newToy(s, log)
		y.keep, y.later = false, true
		for i := range 12 {
			putFile(s, fmt.Sprintf("src/%03d", i), fmt.Sprint(i))
			if _, err := y.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if late && i < 8 {
				continue
			}
			if err := log.Sweep(t.Context(), y.clean); err != nil {
				t.Fatal(err)
			}
		}
		if left := keysBelow(t, s, "cp/staged/"); len(left) > 4 {
			t.Errorf("there are still the stages %v", left)
		}
		if moved, err := movedFiles(openReadOnly(t, s)); err != nil || len(moved) != 12 {
			t.Errorf("late %v: got %v, %v", late, moved, err)
		}
	}
}

func TestTheObjectOfCleanedFiles(t *testing.T) {
	s := loaded(t)
	remove("archive/0")(t, s)
	log := open(t, s, options())
	err := log.Sweep(t.Context(), func(ctx context.Context, b *checkpoint.Cleaning) (checkpoint.Archived, error) {
		rule := checkpoint.Rule{Mode: "MOVE", Location: "mem:old"}
		return checkpoint.Archived{Rule: rule, Other: []checkpoint.ArchivedFile{{Key: "src/b", Mode: "MOVE", To: "mem:old/src/b-1"}, {Key: "src/\xff"}, {Key: "src/a"}}},
			b.Begin(ctx, rule)
	})
	if err != nil {
		t.Fatal(err)
	}
	for object, want := range map[string]string{
		"archive/0": `{"format":1,"batch":0,"nonce":"id-3","time":"2026-05-01T12:00:00Z","mode":"MOVE","location":"mem:old",` +
			`"other":[{"key":"src/a"},{"key":"src/b","mode":"MOVE","to":"mem:old/src/b-1"},{"keyBase64":"c3JjL/8="}]}`,
		"archive/begun/0": `{"format":1,"batch":0,"nonce":"id-2","time":"2026-05-01T12:00:00Z","mode":"MOVE","location":"mem:old"}`,
	} {
		if got, _, _ := strings.Cut(content(t, s, "cp/"+object), "\n"); got != want {
			t.Errorf("%s: got  %s\nwant %s", object, got, want)
		}
	}
	for b, err := range openReadOnly(t, s).Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Plan.Batch != 0 {
			continue
		}
		for key, want := range map[string]checkpoint.ArchivedFile{
			"src/a":    {Key: "src/a"},
			"src/b":    {Key: "src/b", Mode: "MOVE", To: "mem:old/src/b-1"},
			"src/c":    {Key: "src/c", Mode: "MOVE"},
			"src/\xff": {Key: "src/\xff"},
		} {
			if got := b.Archived.Of(key); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
	}
}

func TestACheckpointOfASiltThatDidNotSayWhatBecameOfFilesIsRead(t *testing.T) {
	s := cleaned(t, 3)
	for _, n := range keysBelow(t, s, "cp/archive/") {
		if !strings.Contains(n, "/") {
			putFile(s, "cp/archive/"+n, checkpoint.Seal(fmt.Sprintf(`{"format":1,"batch":%s,"nonce":"x"}`, n)+"\n"))
		}
	}
	for _, list := range keysBelow(t, s, "cp/seen/archived/") {
		if err := s.Delete(t.Context(), "cp/seen/archived/"+list, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
	}
	if moved, err := movedFiles(openReadOnly(t, s)); err != nil || len(moved) != 0 {
		t.Errorf("got %v, %v, want none", moved, err)
	}
	o := options()
	o.Fan, o.Keep = 2, 1
	o.NewID = nil
	log := open(t, s, o)
	y := newToy(s, log)
	y.keep, y.later = false, true
	for i := range 8 {
		putFile(s, fmt.Sprintf("src/new%d", i), "x")
		loadAndClean(t, y)
	}
	moved, err := movedFiles(openReadOnly(t, s))
	if err != nil || len(moved) != 8 || slices.ContainsFunc(moved, func(key string) bool { return !strings.HasPrefix(key, "src/new") }) {
		t.Errorf("got %v, %v, want the new ones", moved, err)
	}
}

func TestWhoGoesOnToCleanKnowsThatItWasBegun(t *testing.T) {
	s := loaded(t)
	remove("archive/0")(t, s)
	log := open(t, s, options())
	rule := checkpoint.Rule{Mode: "DELETE"}
	killed := errors.New("it is killed")
	sweep := func(clean func(ctx context.Context, b *checkpoint.Cleaning) error) error {
		return log.Sweep(t.Context(), func(ctx context.Context, b *checkpoint.Cleaning) (checkpoint.Archived, error) {
			return checkpoint.Archived{Rule: rule}, clean(ctx, b)
		})
	}
	begun := func(ctx context.Context, b *checkpoint.Cleaning, want string) {
		t.Helper()
		if got, err := b.Begun(ctx); err != nil || got.Mode != want {
			t.Errorf("got %+v, %v, want %q", got, err, want)
		}
	}
	err := sweep(func(ctx context.Context, b *checkpoint.Cleaning) error {
		begun(ctx, b, "")
		for range 2 {
			if err := b.Begin(ctx, rule); err != nil {
				return err
			}
		}
		begun(ctx, b, "") // what is gone was not taken by an earlier call
		return killed
	})
	if !errors.Is(err, killed) {
		t.Fatal(err)
	}
	rule = checkpoint.Rule{Mode: "MOVE", Location: "mem:old"}
	if err := sweep(func(ctx context.Context, b *checkpoint.Cleaning) error {
		begun(ctx, b, "DELETE")
		return killed
	}); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	if err := sweep(func(ctx context.Context, b *checkpoint.Cleaning) error {
		if err := b.Begin(ctx, rule); err != nil {
			return err
		}
		begun(ctx, b, "DELETE")
		return killed
	}); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	torn := content(t, s, "cp/archive/begun/0")[:20]
	putFile(s, "cp/archive/begun/0", torn)
	if err := sweep(func(ctx context.Context, b *checkpoint.Cleaning) error {
		if err := b.Begin(ctx, rule); err != nil {
			return err
		}
		begun(ctx, b, "")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, s, "cp/archive/begun/0"); !strings.Contains(got, `"mode":"MOVE"`) {
		t.Errorf("a torn object is there still: %s", got)
	}
}

func TestAListOfCleanedBatchesThatIsMergedWhileItIsReadIsNotMissed(t *testing.T) {
	s := cleaned(t, 40)
	lists := keysBelow(t, s, "cp/seen/archived/")
	log, err := checkpoint.OpenReadOnly(t.Context(), &mergedLists{Mem: s, gone: "cp/seen/archived/" + lists[0]}, "cp")
	if err != nil {
		t.Fatal(err)
	}
	if moved, err := movedFiles(log); err != nil || len(moved) != 40 {
		t.Errorf("got %d files, %v", len(moved), err)
	}
}

// mergedLists is a store in which a list is under another name as soon as somebody wants to read it.
type mergedLists struct {
	*objstore.Mem
	gone string
}

func (s *mergedLists) Open(ctx context.Context, key string, r objstore.Range) (body io.ReadCloser, o objstore.Object, err error) {
	if key == s.gone {
		s.gone = ""
		text, _, err := objstore.ReadAll(ctx, s.Mem, key)
		if err != nil {
			return nil, o, err
		}
		putFile(s.Mem, "cp/seen/archived/3-merged", string(text))
		if err := s.Mem.Delete(ctx, key, objstore.Cond{}); err != nil {
			return nil, o, err
		}
	}
	return s.Mem.Open(ctx, key, r)
}

func TestALateObjectOfABatchThatIsRemovedDoesNotChangeWhatBecameOfItsFiles(t *testing.T) {
	s := cleaned(t, 8)
	putFile(s, "cp/archive/0", checkpoint.Seal(`{"format":1,"batch":0,"nonce":"late","time":"2026-05-01T12:00:01Z","mode":"MOVE","location":"mem:old/0","other":[{"key":"src/000"}]}`+"\n"))
	for range 2 { // before and after it is removed
		if moved, err := movedFiles(openReadOnly(t, s)); err != nil || len(moved) != 8 {
			t.Errorf("got %v, %v", moved, err)
		}
		o := options()
		o.Fan, o.Keep, o.NewID = 2, 1, nil
		log := open(t, s, o)
		y := newToy(s, log)
		y.later = true
		for i := range 4 {
			putFile(s, fmt.Sprintf("src/kept%d", i), "x")
			loadAndClean(t, y)
		}
		log.Close()
	}
	if slices.Contains(keysBelow(t, s, "cp/archive/"), "0") {
		t.Error("the late object is there still")
	}
}
