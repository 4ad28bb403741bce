package silt

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

func some(keys ...string) *source.Found {
	f := new(source.Found)
	for _, k := range keys {
		f.Files = append(f.Files, objstore.Object{Key: k, Size: 1})
	}
	return f
}

// TestGate holds the meaning of Databricks' two times: a trigger fires no sooner than the one since the last,
// and not while files arrive within the other.
func TestGate(t *testing.T) {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	type step struct {
		second int
		found  *source.Found // nil: a hint
		passes bool
	}
	const idle = -1
	for name, c := range map[string]struct {
		FileArrival
		hinted bool
		steps  []step
	}{
		"without times, the first file opens it": {FileArrival{}, false, []step{{0, some("a"), true}, {1, some("b"), true}}},
		"it waits until no file arrives":         {FileArrival{0, 15 * time.Second}, false, []step{{0, some("a"), false}, {10, some("a", "b"), false}, {15, some("a", "b"), false}, {24, some("a", "b"), false}, {25, some("a", "b"), true}}},
		"hints are arrivals":                     {FileArrival{0, 15 * time.Second}, true, []step{{0, nil, false}, {10, nil, false}, {24, some("a"), false}, {25, some("a"), true}}},
		"it stays open until nothing is left": {FileArrival{time.Minute, 0}, false, []step{{0, some("a"), true}, {1, some("b"), true}, {idle, nil, false},
			{2, some("c"), false}, {59, some("c"), false}, {60, some("c"), true}, {61, some("d"), true}}},
		"both count": {FileArrival{time.Minute, 15 * time.Second}, false, []step{{0, some("a"), false}, {15, some("a"), true}, {idle, nil, false},
			{20, some("b"), false}, {70, some("b", "c"), false}, {75, some("b", "c"), false}, {85, some("b", "c"), true}}},
	} {
		t.Run(name, func(t *testing.T) {
			g := gate{FileArrival: c.FileArrival}
			for i, s := range c.steps {
				switch {
				case s.second == idle:
					g.open = false
				case s.found == nil:
					g.touch(at(s.second))
				case g.pass(s.found, !c.hinted, at(s.second)) != s.passes:
					t.Fatalf("step %d: got %v", i, !s.passes)
				}
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		expression string
		zone       *time.Location
		from       string
		want       []string
	}{
		"each night":                 {"0 2 * * *", time.UTC, "2026-05-01T02:00:00Z", []string{"2026-05-02T02:00:00Z", "2026-05-03T02:00:00Z"}},
		"each quarter of an hour":    {"*/15 * * * *", time.UTC, "2026-05-01T02:07:09Z", []string{"2026-05-01T02:15:00Z", "2026-05-01T02:30:00Z"}},
		"in a zone":                  {"0 2 * * MON-FRI", berlin, "2026-05-01T12:00:00Z", []string{"2026-05-04T00:00:00Z", "2026-05-05T00:00:00Z"}},
		"an hour that comes twice":   {"30 2 * * *", berlin, "2026-10-24T12:00:00Z", []string{"2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"}},
		"an hour that is left out":   {"30 2 * * *", berlin, "2026-03-28T12:00:00Z", []string{"2026-03-30T00:30:00Z"}},
		"a day that is rarely there": {"0 0 29 2 *", time.UTC, "2026-05-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if now, err = (schedule{c.expression, c.zone}).next(now); err != nil || now.UTC().Format(time.RFC3339) != want {
					t.Fatalf("got %s, %v, want %s", now, err, want)
				}
			}
		})
	}
}

func TestHold(t *testing.T) {
	now := time.Unix(1000, 0)
	if h := (hold{}).after(postponedUnreadable, false, now); !h.holds(now.Add(24 * time.Hour)) {
		t.Error("a run that does not watch makes a batch of the files that are left after it has postponed one")
	}
	if h := (hold{}).after(postponedChanged, false, now); h.holds(now) {
		t.Error("what has changed is not taken again at once")
	}
	h := hold{}
	for range retryChanging {
		h = h.after(postponedChanged, false, now)
	}
	if !h.holds(now) {
		t.Error("a file that always changes keeps the run from its end")
	}
	h = (hold{}).after(postponedUnreadable, true, now).after(postponedUnreadable, true, now)
	if !h.holds(now.Add(2*retryFirst-1)) || h.holds(now.Add(2*retryFirst)) {
		t.Errorf("a watching run that has postponed twice waits until %v", h.until)
	}
	if h = h.after("", true, now); h.holds(now) {
		t.Error("after a batch that was not postponed nothing is made")
	}
	a := &arrivals{pending: map[string]time.Time{"a": now}, hold: now.Add(time.Minute)}
	if at := a.wake(); !at.Equal(a.hold) {
		t.Errorf("a file that waits wakes the run at %v, before it may be taken", at)
	}
}

// silence is a hinter that never tells of anything.
type silence struct{}

func (silence) hear(ctx context.Context, wait time.Duration) (heard, error) {
	return heard{}, sleep(ctx, wait)
}
func (silence) settle([]string)              {}
func (silence) broken(error) (Warning, bool) { return Warning{}, false }
func (silence) close(context.Context) error  { return nil }

func TestRequestsAreLookedForWhileNothingArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun(&Pipeline{source: folder{}, targets: []*target{{}}, set: &settings{}}, nil)
		r.arrivals = &arrivals{hints: silence{}, pending: map[string]time.Time{}, list: time.Now().Add(24 * time.Hour)}
		began := time.Now()
		if err := r.rest(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != askEvery {
			t.Errorf("it looks after %v, want %v", took, askEvery)
		}
	})
}
