package silt_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// A sweep runs a scenario as often as it has calls of a store, for each kind of fault, with this one fault
// at this one call, and then without faults until all is at rest.

// sweepFiles are two batches of one file each: with a record that is none, and with a new field.
var sweepFiles = []version{
	{key: "a.json", rows: []simRow{{ID: 1, K: 1, Seq: 1}, {ID: 2, K: 2, Seq: 4}}, bad: []string{"no record 1"},
		text: `{"id":1,"k":1,"seq":1}` + "\n" + `{"id":2,"k":2,"seq":4}` + "\nno record 1\n"},
	{key: "b.json", rows: []simRow{{ID: 3, K: 1, Seq: 2, field: "x1"}, {ID: 4, K: 2, Seq: 3}},
		text: `{"id":3,"k":1,"seq":2,"x1":"y3"}` + "\n" + `{"id":4,"k":2,"seq":3}` + "\n"},
}

// sweepStep is how far apart the calls are at which a fault is tried.
func sweepStep(some int) int {
	if *sweepAll {
		return 1
	}
	return some
}

// sweepKind is a form of the scenario.
type sweepKind struct {
	name  string
	merge bool
	batch int // most files in one
}

var sweepKinds = []sweepKind{{"append", false, 1}, {"merge", true, 1}, {"together", false, 2}}

func TestAFaultAtEachCall(t *testing.T) {
	for _, kind := range sweepKinds {
		t.Run(kind.name, func(t *testing.T) {
			runs, calls := 0, 0
			for v := pass + 1; v < verdicts; v++ {
				at := int(v) % sweepStep(11)
				for ; ; at += sweepStep(11) {
					n, what, err := oneFault(t, kind, at, v)
					if err != nil {
						t.Errorf("%s at call %d, %s: %v", v, at, what, err)
					}
					if n <= at {
						calls = n
						break
					}
					runs++
				}
			}
			t.Logf("%d calls, %d faults, each alone", calls, runs)
			if calls < 90 {
				t.Errorf("%d calls, want more", calls)
			}
		})
	}
}

// oneFault runs the scenario with one fault. It returns how many calls there were, and which of them had the
// fault.
func oneFault(t *testing.T, kind sweepKind, at int, v verdict) (calls int, what string, err error) {
	calls, what, _, err = oneEvent(t, kind, at, func(_ context.Context, _ *simulation, c simCall) verdict {
		if !v.fits(c) {
			return dropped
		}
		return v
	})
	return calls, what, err
}

// TestAnotherLoaderAtEachCall lets another loader, whose lease is another, load all files while the first one
// is at one of its calls. Then the first one goes on, and has no reason to fail.
func TestAnotherLoaderAtEachCall(t *testing.T) {
	for _, kind := range sweepKinds {
		t.Run(kind.name, func(t *testing.T) {
			for at := 0; ; at++ {
				var other error
				calls, what, first, err := oneEvent(t, kind, at, func(ctx context.Context, s *simulation, _ simCall) verdict {
					s.weather.loaders = 2
					_, other = s.load(ctx, s.another(), nil)
					return pass
				})
				if err := cmp.Or(first, other, err); err != nil {
					t.Errorf("at call %d, %s: %v", at, what, err)
				}
				if calls <= at {
					t.Logf("%d calls", calls)
					break
				}
			}
		})
	}
}

// another is a loader whose lease is another.
func (s *simulation) another() *process {
	p := s.outside()
	p.lease = "lease-2"
	return p
}

// TestAPlanBesideTheFirstBatch lets another loader load all files while a plan is at one of its calls. What the
// table has by then is nothing that the checkpoint has lost.
func TestAPlanBesideTheFirstBatch(t *testing.T) {
	calls := 1
	for at := 0; at < calls; at++ {
		warmUp()
		synctest.Test(t, func(t *testing.T) {
			s := newSweep(sweepKinds[0])
			p := s.outside()
			var met atomic.Int64 // a plan makes some calls at once
			p.judge = func(simCall) verdict {
				if met.Add(1)-1 == int64(at) {
					if _, err := s.load(t.Context(), s.another(), nil); err != nil {
						t.Errorf("at call %d: %v", at, err)
					}
				}
				return pass
			}
			pipeline, err := silt.Open(t.Context(), s.config(p, nil))
			if err != nil {
				t.Fatal(err)
			}
			defer pipeline.Close()
			plan, err := pipeline.Plan(t.Context(), silt.PlanOptions{})
			if err != nil {
				t.Fatalf("at call %d: %v", at, err)
			}
			calls = int(met.Load())
			for _, w := range plan.Warnings {
				if w.Code == "SILT-6014" {
					t.Errorf("at call %d: %s", at, w.Text)
				}
			}
		})
	}
	if calls < 10 {
		t.Errorf("%d calls, want more", calls)
	}
}

// newSweep is the scenario.
func newSweep(kind sweepKind) *simulation {
	s := newSimulation(1, canary{})
	s.weather = weather{loaders: 1, page: 1000, batch: kind.batch, merge: kind.merge, clean: "MOVE"}
	s.cloud.skew = 0
	for _, f := range sweepFiles {
		f.key = landing + f.key
		s.files.put(&f)
	}
	return s
}

// oneEvent runs the scenario, in which something happens at one call, and then until all is at rest. It
// returns how many calls there were, which of them it was, the error of the first run, and what is wrong in
// the end.
func oneEvent(t *testing.T, kind sweepKind, at int, event func(context.Context, *simulation, simCall) verdict) (calls int, what string, first, err error) {
	warmUp()
	cryptotest.SetGlobalRandom(t, uint64(at))
	synctest.Test(t, func(t *testing.T) {
		s := newSweep(kind)
		var mu sync.Mutex // the renewal of the lease calls too, and files are cleaned together
		isIt := func(c simCall) bool {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(c.key, "/probe-") {
				return false
			}
			calls++
			if calls-1 == at+4 && len(s.flying) > 0 {
				s.land()
			}
			if calls-1 != at {
				return false
			}
			what = c.op + " " + c.key
			return true
		}
		judge := func(c simCall) verdict {
			if isIt(c) {
				return event(t.Context(), s, c)
			}
			return pass
		}
		for run := 0; ; run++ {
			if run == 10 {
				err = fmt.Errorf("there is no end: %w", err)
				return
			}
			ctx, cancel := context.WithCancel(t.Context())
			p := &process{cloud: s.cloud, page: s.page, judge: judge, kill: cancel, later: func(f func()) {
				mu.Lock()
				defer mu.Unlock()
				s.flying = append(s.flying, f)
			}}
			var summary *silt.Summary
			if summary, err = s.load(ctx, p, nil); run == 0 {
				first = err
			}
			cancel()
			if err == nil && summary.Batches == 0 && !p.dead.Load() {
				break
			}
			if err == nil && summary.Batches > 0 {
				continue
			}
			time.Sleep(time.Minute) // until a lease that was not given back runs out
		}
		if err = s.check(t.Context()); err == nil {
			err = s.failure
		}
	})
	return calls, what, first, err
}

// TestS3FaultAtEachCall is the same over HTTP, where the kinds of faults are those of the server.
func TestS3FaultAtEachCall(t *testing.T) {
	begun := emptyS3Checkpoint(t)
	for _, kind := range sweepKinds {
		for i, f := range s3test.Faults() {
			t.Run(kind.name+"/"+f.String(), func(t *testing.T) {
				runs := 0
				for at := i * 7 % sweepStep(67); ; at += sweepStep(67) {
					requests, what, err := oneS3Fault(t, begun, kind, at, f)
					if err != nil {
						t.Errorf("at request %d, %s: %v", at, what, err)
					}
					if requests <= at {
						t.Logf("%d requests, %d faults, each alone", requests, runs)
						break
					}
					runs++
				}
			})
		}
	}
}

// emptyS3Checkpoint is what a run leaves that finds no files: a store that has it needs no trying out.
func emptyS3Checkpoint(t *testing.T) map[string]string {
	server, cfg := s3Config(t)
	if _, err := runOnce(t, cfg); err != nil {
		t.Fatal(err)
	}
	begun := map[string]string{}
	for _, key := range server.Keys("lake", "") {
		begun[key], _ = server.Get("lake", key)
	}
	return begun
}

func oneS3Fault(t *testing.T, begun map[string]string, kind sweepKind, at int, f s3test.Fault) (requests int, what string, err error) {
	server, cfg := s3Config(t)
	defer server.Close()
	for key, content := range begun {
		server.Put("lake", key, content)
	}
	cfg.Options["maxFilesPerTrigger"], cfg.Options["cleanSource"] = fmt.Sprint(kind.batch), "MOVE"
	cfg.Options["cleanSource.moveDestination"], cfg.Options["cleanSource.retentionDuration"] = "s3://lake/old", "0 seconds"
	if kind.merge {
		cfg.Target.Write, cfg.Target.Merge = "merge", silt.Merge{Keys: []string{"k"}, SequenceBy: "seq"}
	}
	for _, v := range sweepFiles {
		server.Put("landing", "orders/"+v.key, v.text)
	}
	server.Inject(func(c s3test.Call) s3test.Fault {
		requests++
		if requests-1 != at {
			return s3test.None
		}
		what = c.Op + " " + c.Key
		return f
	})
	passed := time.Duration(0)
	cfg = cfg.In(nil, func() time.Time { return time.Now().Add(passed) })
	for run := 0; ; run++ {
		summary, err := runOnce2(t, cfg)
		server.Settle()
		if err == nil && summary.Batches == 0 {
			break
		}
		if run == 6 {
			return requests, what, fmt.Errorf("there is no end: %w", err)
		}
		if err != nil {
			passed += time.Minute // until a lease that was not given back runs out
		}
	}
	server.Inject(nil)
	info, err := silt.DescribeTable(t.Context(), cfg, nil)
	if err != nil {
		return requests, what, err
	}
	if want := map[bool]int64{false: 4, true: 2}[kind.merge]; info.Rows != want {
		return requests, what, fmt.Errorf("the table has %d rows, want %d", info.Rows, want)
	}
	bad := 0
	for _, err := range silt.Quarantine(t.Context(), cfg) {
		if err != nil {
			return requests, what, err
		}
		bad++
	}
	if bad != 1 {
		return requests, what, fmt.Errorf("%d records are in quarantine, want 1", bad)
	}
	if left := server.Keys("landing", ""); len(left) > 0 {
		return requests, what, errors.New("the source still has " + strings.Join(left, ", "))
	}
	if old := server.Keys("lake", "old/"); len(old) != len(sweepFiles) {
		return requests, what, errors.New("the archive has " + strings.Join(old, ", "))
	}
	return requests, what, nil
}
