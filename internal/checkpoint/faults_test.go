package checkpoint_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/objstore"
)

// verdict is what becomes of one call of a store.
type verdict int

const (
	pass       verdict = iota
	lost               // done, and the answer is an error
	dropped            // not done, and the answer is an error
	late               // the answer is an error, and it is done later
	killBefore         // not done, and the process is gone
	killAfter          // done, and the process is gone
	verdicts
)

func (v verdict) String() string {
	return [...]string{"pass", "lost", "dropped", "late", "kill_before", "kill_after"}[v]
}

var (
	errFault = errors.New("fault on purpose")
	errDead  = errors.New("the process is gone")
)

// call is one call of a store, before it is done.
type call struct {
	process *process
	op, key string
	write   bool
}

// process is one loader's view of a store. Judge is asked about each call.
type process struct {
	objstore.Store
	judge func(call) verdict
	later func(func()) // takes what lands late
	// lease, when set, is the key this process has its lease under: it then meets nobody.
	lease string
	keep  int // batches that keep their objects
	dead  atomic.Bool
	kill  context.CancelFunc
}

// do carries out one call under its verdict. Act may be carried out late, or never.
func (p *process) do(c call, act func() error) error {
	if p.dead.Load() {
		return errDead
	}
	c.process = p
	v := p.judge(c)
	if p.dead.Load() {
		return errDead
	}
	switch v {
	case lost:
		act()
		return errFault
	case dropped:
		return errFault
	case late:
		p.later(func() { act() })
		return errFault
	case killBefore, killAfter:
		if v == killAfter {
			act()
		}
		p.dead.Store(true)
		p.kill()
		return errDead
	}
	return act()
}

func (p *process) name(key string) string {
	if p.lease != "" && strings.HasSuffix(key, "/lease") {
		return p.lease
	}
	return key
}

func (p *process) Open(ctx context.Context, key string, r objstore.Range) (body io.ReadCloser, o objstore.Object, err error) {
	err = p.do(call{op: "open", key: key}, func() (err error) {
		body, o, err = p.Store.Open(context.WithoutCancel(ctx), p.name(key), r)
		return err
	})
	return body, o, err
}

func (p *process) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (o objstore.Object, err error) {
	err = p.do(call{op: "put", key: key, write: true}, func() (err error) {
		o, err = p.Store.Put(context.WithoutCancel(ctx), p.name(key), body, cond)
		return err
	})
	return o, err
}

func (p *process) Delete(ctx context.Context, key string, cond objstore.Cond) error {
	return p.do(call{op: "delete", key: key, write: true}, func() error {
		return p.Store.Delete(context.WithoutCancel(ctx), p.name(key), cond)
	})
}

func (p *process) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		err := p.do(call{op: "list", key: prefix}, func() error { return nil })
		if err != nil {
			yield(objstore.Object{}, err)
			return
		}
		for o, err := range p.Store.List(ctx, prefix, after) {
			if !yield(o, err) {
				return
			}
		}
	}
}

// goneOwner is on this host and its process is not, so that its lease can be taken at once.
const goneOwner = "here:99999999"

// load is the life of one process: it opens the checkpoint and loads until there is nothing to do,
// going on after errors, or until it is killed or must stop.
func (p *process) load(ctx context.Context, y *toy) error {
	ctx, p.kill = context.WithCancel(ctx)
	defer p.kill()
	y.store = p
	var log *checkpoint.Log
	for range 300 { // more than there are faults and batches
		var err error
		if log == nil {
			log, err = checkpoint.Open(ctx, p, "cp", checkpoint.Options{Owner: goneOwner, Fan: 2, Keep: p.keep})
		}
		if err == nil {
			y.log = log
			var out checkpoint.Outcome
			if out, err = log.RunBatch(ctx, y); err == nil && out.Idle {
				err = log.Sweep(ctx, y.clean)
			}
			if err == nil && out.Idle {
				log.Close() // a lease that is not given back runs out
				return nil
			}
		}
		var held *checkpoint.HeldError
		var state *checkpoint.StateError
		if p.dead.Load() || errors.As(err, &held) || errors.As(err, &state) {
			if log != nil {
				log.Close()
			}
			return err
		}
	}
	return errors.New("no end")
}

// check holds that each record is in a table once, and each file archived unless it is kept; and that a file
// of which it is said to be moved is so.
func check(s objstore.Store, keep bool, want []string) error {
	if got := rows(s); !slices.Equal(got, want) {
		return fmt.Errorf("rows: got %v, want %v", got, want)
	}
	for o := range s.List(context.Background(), "src/", "") {
		if !keep {
			return fmt.Errorf("%s is not archived", o.Key)
		}
	}
	log, err := checkpoint.OpenReadOnly(context.Background(), s, "cp")
	if err != nil {
		return err
	}
	moved, err := movedFiles(log)
	if err != nil {
		return err
	}
	for _, key := range moved {
		if _, _, err := objstore.ReadAll(context.Background(), s, archiveOf(key)); err != nil {
			return fmt.Errorf("%s is said to be moved: %w", key, err)
		}
		if _, _, err := objstore.ReadAll(context.Background(), s, key); !errors.Is(err, objstore.ErrNotExist) {
			return errors.Join(fmt.Errorf("%s is said to be moved, and is there", key), err)
		}
	}
	return nil
}

// movedFiles are the keys of those that the log says to be moved. All batches must be closed and archived.
func movedFiles(log *checkpoint.Log) (moved []string, err error) {
	ctx := context.Background()
	oldest := int64(1000)
	tell := func(a *checkpoint.Archived, key string) error {
		was := a.Of(key)
		if was.Mode == "" {
			return nil
		}
		if want := toyRule(a.Batch); a.Rule != want || a.Time.IsZero() || was.To != "" {
			return fmt.Errorf("%s of batch %d: archived is %+v", key, a.Batch, a)
		}
		moved = append(moved, key)
		return nil
	}
	for b, err := range log.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		oldest = b.Plan.Batch
		if b.Commits == nil || b.Archived == nil {
			return nil, fmt.Errorf("batch %d is not closed and archived", b.Plan.Batch)
		}
		for _, f := range b.Files {
			if f.Outcome.State != checkpoint.Loaded {
				continue
			}
			if err := tell(b.Archived, f.Key); err != nil {
				return nil, err
			}
		}
	}
	archives, err := log.Archives(ctx, oldest)
	if err != nil {
		return nil, err
	}
	for r, err := range log.Rows(ctx, oldest) {
		if err != nil {
			return nil, err
		}
		if a := archives[r.Batch]; a != nil && r.Outcome.State == checkpoint.Loaded {
			if err := tell(a, r.Key); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(moved)
	return moved, nil
}

func TestAFaultAtEachCall(t *testing.T) {
	for v := lost; v < verdicts; v++ {
		t.Run(v.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := 0
				for ; oneFault(t, v, at, false, false); at++ {
					oneFault(t, v, at, true, false)
				}
				for at := 0; oneFault(t, v, at, false, true); at++ {
				}
				t.Logf("%d calls", at)
				if at < 50 {
					t.Errorf("got %d calls, want more", at)
				}
			})
		})
	}
}

// oneFault loads three files in three batches, with a fault at one call. It reports whether there was
// such a call.
func oneFault(t *testing.T, v verdict, at int, keep, later bool) bool {
	mem := new(objstore.Mem)
	for _, key := range []string{"a", "b", "c"} {
		putFile(mem, "src/"+key, key+"1 "+key+"2")
	}
	var mu sync.Mutex // the renewal calls too
	n := 0
	var landing func()
	p := &process{Store: mem, keep: 1, later: func(f func()) { landing = f }}
	what := ""
	p.judge = func(c call) verdict {
		mu.Lock()
		defer mu.Unlock()
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
	first := p.load(t.Context(), &toy{batch: 1, keep: keep, later: later, coin: coin})
	if first != nil && !p.dead.Load() {
		t.Errorf("%s at %s: %v", v, what, first)
	}
	second := &process{Store: mem, keep: 1, judge: func(call) verdict { return pass }}
	if err := second.load(t.Context(), &toy{batch: 1, keep: keep, later: later, coin: coin}); err != nil {
		t.Errorf("%s at %s: then: %v", v, what, err)
	}
	if err := check(mem, keep, []string{"a1", "a2", "b1", "b2", "c1", "c2"}); err != nil {
		t.Errorf("%s at %s: %v", v, what, err)
	}
	if later && !keep {
		log, err := checkpoint.OpenReadOnly(t.Context(), mem, "cp")
		if err != nil {
			t.Fatal(err)
		}
		if moved, err := movedFiles(log); err != nil || len(moved) != 3 {
			t.Errorf("%s at %s: moved are %v, %v", v, what, moved, err)
		}
	}
	return n > at
}

// weather is how much happens in a run of two loaders.
type weather struct {
	seed   uint64
	keep   bool // loaded files stay where they are
	faults int  // of a hundred calls
	kills  int  // at most
	swap   int  // of a hundred calls, those after which the other loader goes on
	// old is how many batches keep their objects. Who is more behind than that, without a lease, finds
	// them gone and stops.
	old int
}

// TestTwoLoadersWithoutALease runs two loaders that do not see each other's lease, call by call, in an
// order and with faults that follow from a seed.
func TestTwoLoadersWithoutALease(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := weather{
			seed:   rapid.Uint64().Draw(rt, "seed"),
			keep:   rapid.Bool().Draw(rt, "files stay"),
			faults: rapid.IntRange(0, 40).Draw(rt, "faults in a hundred calls"),
			kills:  rapid.IntRange(0, 5).Draw(rt, "kills"),
			swap:   rapid.IntRange(1, 60).Draw(rt, "swaps in a hundred calls"),
			old:    rapid.SampledFrom([]int{1, 100}).Draw(rt, "batches that keep their objects"),
		}
		var err error
		synctest.Test(t, func(t *testing.T) { err = twoLoaders(t.Context(), w) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// question is a call that waits for its turn.
type question struct {
	call
	answer chan verdict
}

func twoLoaders(ctx context.Context, w weather) error {
	mem := new(objstore.Mem)
	ask := make(chan question, 100)
	judge := func(c call) verdict {
		q := question{c, make(chan verdict)}
		ask <- q
		return <-q.answer
	}
	var flying []func()
	type ended struct {
		loader int
		err    error
	}
	ends := make(chan ended, 2)
	start := func(i int, seed uint64) {
		p := &process{Store: mem, judge: judge, keep: w.old, lease: fmt.Sprintf("cp/lease-%d", i)}
		p.later = func(f func()) { flying = append(flying, f) }
		go func() {
			err := p.load(ctx, &toy{batch: 2, keep: w.keep, later: w.seed%3 == 0, coin: rand.New(rand.NewPCG(seed, uint64(i)))})
			if p.dead.Load() {
				err = errDead
			}
			ends <- ended{i, err}
		}()
	}
	dice := rand.New(rand.NewPCG(w.seed, 0))

	files := []string{"a", "b", "c", "d"}
	var want []string
	arrive := func() {
		putFile(mem, "src/"+files[0], files[0]+"1 "+files[0]+"2")
		want = append(want, files[0]+"1", files[0]+"2")
		files = files[1:]
	}
	arrive()
	start(0, 1)
	start(1, 2)
	var failed error // then nothing works any more, and all end
	running, turn, calls := 2, 0, 0
	asked := false // that a file that may be loaded by then be loaded again
	var waiting []question
	for running > 0 {
		synctest.Wait()
		for len(ask) > 0 {
			waiting = append(waiting, <-ask)
		}
		slices.SortFunc(waiting, func(a, b question) int { // which of them came first is not in the seed
			return cmp.Or(cmp.Compare(a.process.lease, b.process.lease), cmp.Compare(a.key, b.key))
		})
		for len(ends) > 0 {
			e := <-ends
			if errors.Is(e.err, errDead) && failed == nil {
				start(e.loader, dice.Uint64())
				continue
			}
			behind := (*checkpoint.StateError)(nil)
			if e.err != nil && failed == nil && !(w.old == 1 && errors.As(e.err, &behind)) {
				failed = fmt.Errorf("loader %d: %w", e.loader, e.err)
			}
			running--
		}
		if len(waiting) == 0 {
			time.Sleep(3 * time.Second) // they pause
			continue
		}
		if dice.IntN(100) < w.swap {
			turn++
		}
		i := turn % len(waiting)
		q := waiting[i]
		waiting = slices.Delete(waiting, i, i+1)
		if dice.IntN(20) == 0 && len(files) > 0 {
			arrive()
		}
		if w.keep && !asked && dice.IntN(30) == 0 {
			asked = true
			if err := forgetA(ctx, mem); err != nil {
				return err
			}
		}
		if dice.IntN(10) == 0 && len(flying) > 0 {
			flying[0]()
			flying = flying[1:]
		}
		v := pass
		if calls++; calls < 300 && dice.IntN(100) < w.faults {
			if v = dropped; q.write {
				v = lost + verdict(dice.IntN(int(verdicts-lost)))
			}
			if v >= killBefore {
				if w.kills--; w.kills < 0 {
					v = pass
				}
			}
		}
		if calls > 5000 && failed == nil {
			failed = errors.New("no end")
		}
		if failed != nil {
			v = killBefore
		}
		q.answer <- v
	}
	if failed != nil {
		return failed
	}
	for len(files) > 0 {
		arrive()
	}
	end := &process{Store: mem, keep: w.old, judge: func(call) verdict { return pass }}
	if err := end.load(ctx, &toy{batch: 2, keep: w.keep, later: w.seed%3 == 0, coin: rand.New(rand.NewPCG(3, 3))}); err != nil {
		return err
	}
	for _, f := range flying { // what lands after everything does no harm
		f()
	}
	switch n := plannedRequests(mem); {
	case n > 1:
		return fmt.Errorf("a request was done %d times", n)
	case n == 1:
		want = append(want, "a1", "a2")
		slices.Sort(want)
	}
	return check(mem, w.keep, want)
}

// forgetA asks that the file a be loaded again.
func forgetA(ctx context.Context, s objstore.Store) error {
	for o, err := range s.List(ctx, "src/a", "") {
		if err != nil {
			return err
		}
		return checkpoint.PutRequest(ctx, s, "cp", checkpoint.Request{RequestHead: checkpoint.RequestHead{ID: "01", Action: checkpoint.Forget},
			Files: []checkpoint.RequestFile{{Object: o}}})
	}
	return errors.New("there is no file a")
}

// plannedRequests counts the batches that are one.
func plannedRequests(s objstore.Store) (n int) {
	for o := range s.List(context.Background(), "cp/offsets/", "") {
		if content, _, err := objstore.ReadAll(context.Background(), s, o.Key); err == nil && strings.Contains(string(content), `"request":{"id":"01"`) {
			n++
		}
	}
	return n
}
