package silt

import (
	"context"
	"slices"
	"time"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/source"
)

// How files are noticed. A listing of the source finds all that are new, and costs the more the more files
// there are. Hints tell of single files that may have arrived, at once: the events of a bucket, or what the
// system tells of a folder. Hints come late, twice, in any order, or never, so they only say where to look:
// what is there, and whether it is new, is asked of the store and of the checkpoint, as with a listing. There
// is a listing at the start of a run, and one now and then, for the hints that never came.

// hinter tells of files that may have arrived. It is used by one goroutine at a time.
type hinter interface {
	// hear returns what there is to hear, and waits for it up to wait. An error means that there are no hints
	// for now; hear may be tried again.
	hear(ctx context.Context, wait time.Duration) (heard, error)
	// settle says that files need no hint any more: they are in a closed batch, or are not wanted.
	settle(keys []string)
	// broken is the warning that hints fail by err. Final means that they do for good.
	broken(err error) (w Warning, final bool)
	close(ctx context.Context) error
}

// heard is what a hinter has to say.
type heard struct {
	keys []string // of files that may have arrived
	lost bool     // there are others, which only a listing finds
	odd  []Warning
}

// arrivals are the hints of a pipeline that nobody has followed up yet, and when to list.
type arrivals struct {
	hints   hinter
	pending map[string]time.Time // keys, and when to look at each; zero is now
	list    time.Time            // when to list; zero is now
	pace    listPace
	failing bool // hear fails
	gate    *gate
	hold    time.Time // before that nothing is to be done
}

// listPace says how long it is from one listing to the next.
type listPace struct {
	least, most time.Duration
	// share is how many times as long as a listing took it is until the next; 0 is always most.
	share int
	// failing is the pace while there are no hints.
	failing time.Duration
}

func (p listPace) after(took time.Duration, failing bool) time.Duration {
	switch {
	case failing:
		return min(p.failing, p.most)
	case p.share > 0:
		return min(max(p.least, time.Duration(p.share)*took), p.most)
	}
	return p.most
}

const (
	// hintsMost bounds how many files are looked at by hints at once; what is beyond is heard later.
	hintsMost = 10_000
	// hearMost is the longest that a hinter is asked to wait in one go.
	hearMost = 20 * time.Second
	// hearAgain is how long it is from a failure of hints until they are tried again.
	hearAgain = 5 * time.Second
)

// due are the keys to look at now.
func (a *arrivals) due(now time.Time) (keys []string) {
	for k, at := range a.pending {
		if !at.After(now) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys[:min(len(keys), hintsMost)]
}

// settle forgets keys, and says so to who told of them.
func (a *arrivals) settle(keys ...string) {
	for _, k := range keys {
		delete(a.pending, k)
	}
	a.hints.settle(keys)
}

// looked takes what a look at keys found. What is new stays until its batch is closed.
func (a *arrivals) looked(keys []string, h *source.Hinted, found *source.Found, minAge time.Duration, now time.Time) {
	stays := map[string]time.Time{}
	if minAge > 0 {
		for _, o := range h.Objects() {
			if ripe := o.ModTime.Add(minAge); ripe.After(now) {
				stays[o.Key] = ripe
			}
		}
	}
	for _, f := range slices.Concat(found.Files, found.Ahead) {
		stays[f.Key] = time.Time{}
	}
	var rest []string
	for _, k := range keys {
		if at, ok := stays[k]; ok {
			a.pending[k] = at
		} else {
			rest = append(rest, k)
		}
	}
	a.settle(rest...)
}

// listed takes what a listing found.
func (a *arrivals) listed(found *source.Found, began time.Time, minAge time.Duration) {
	now := time.Now()
	a.list = now.Add(a.pace.after(now.Sub(began), a.failing))
	switch {
	case found.Waiting > len(found.Ahead):
		a.list = time.Time{} // there is more than was kept
	case found.Young > 0:
		a.list = earliest(a.list, now.Add(minAge))
	}
}

// closed takes the outcome of a file in a batch that is closed. Until is when it is tried again, if it is.
func (a *arrivals) closed(f *checkpoint.FileOutcome, until time.Time) {
	a.settle(f.Key)
	switch f.State {
	case checkpoint.Vanished, checkpoint.Overwritten: // there may be another version
		a.pending[f.Key] = time.Now().Add(time.Second)
	default:
		if f.State.Again() {
			a.pending[f.Key] = until
		}
	}
}

// wake is when there is something to do without a hint.
func (a *arrivals) wake() time.Time {
	at := a.list
	for _, t := range a.pending {
		at = earliest(at, t)
	}
	if a.gate != nil && !a.gate.open {
		if again := a.gate.again(); again.After(at) {
			at = again
		}
	}
	if a.hold.After(at) {
		return a.hold
	}
	return at
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// hear takes hints for as long as wait says, or until the first. It reports whether there is one.
func (r *run) hear(ctx context.Context, wait time.Duration) bool {
	a := r.arrivals
	h, err := a.hints.hear(ctx, min(max(wait, 0), hearMost))
	if ctx.Err() != nil {
		return false
	}
	now := time.Now()
	for _, w := range h.odd {
		r.warn(w)
	}
	if err != nil {
		r.deaf(ctx, err, now)
		return false
	}
	if a.failing || h.lost {
		a.failing, a.list = false, time.Time{} // what was not heard is found by a listing
	}
	for _, k := range h.keys {
		a.pending[k] = time.Time{}
	}
	if len(h.keys) > 0 && a.gate != nil {
		a.gate.touch(now)
	}
	return len(h.keys) > 0 || h.lost
}

// deaf goes on without hints, which is told once.
func (r *run) deaf(ctx context.Context, err error, now time.Time) {
	a := r.arrivals
	w, final := a.hints.broken(err)
	if !a.failing {
		a.failing = true
		r.warn(w)
		a.list = earliest(a.list, now.Add(a.pace.after(0, true)))
	}
	if final {
		_ = a.hints.close(ctx) // it has failed already
		r.arrivals = nil
	}
}

// listNow reports whether a listing is due.
func (a *arrivals) listNow() bool { return !a.list.After(time.Now()) }

// find finds the files of the next batch: by a listing of the whole source, or where the hints say.
func (r *run) find(ctx context.Context, o source.Options, whole bool) (found *source.Found, err error) {
	a, now := r.arrivals, time.Now()
	if whole {
		o.Ahead = listAhead
		if found, err = source.Discover(ctx, r.source.store, o, r.seen); err == nil && a != nil {
			a.listed(found, now, o.MinAge)
		}
		return found, err
	}
	keys := a.due(now)
	if len(keys) == 0 {
		return &source.Found{}, nil
	}
	o.Ahead = len(keys)
	h := source.NewHinted(r.source.store, keys)
	if found, err = source.Discover(ctx, h, o, r.seen); err == nil {
		a.looked(keys, h, found, o.MinAge, now)
	}
	return found, err
}

// heldBack reports whether what was found is not to be loaded yet.
func (r *run) heldBack(found *source.Found, whole bool) bool {
	if r.gate == nil || r.gate.pass(found, whole, time.Now()) {
		return false
	}
	if a := r.arrivals; a != nil && whole {
		a.list = earliest(a.list, r.gate.again())
	}
	return true
}
