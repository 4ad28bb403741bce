package silt_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/parquet/compress"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/internal/checkpoint"
)

// The simulator drives pipelines, all of them but SQL, through stores in memory, call by call: in a
// bubble of testing/synctest every call waits until the scheduler, and nothing but the seed, says whose
// turn it is and what becomes of it. Meanwhile files arrive, change and vanish, others write to the table,
// processes die, and clocks jump.
//
// A seed first has its storm. Then the faults end, and all must come to rest: every record of every
// version of a file that a batch took is in the table or in quarantine once, or the batch says why it is
// not, and a further run finds nothing to do. See [simulation.check].

var (
	seeds    = flag.Int("seeds", 50, "how many seeds TestSimulation tries")
	seed     = flag.Uint64("seed", 1, "the first seed of TestSimulation")
	sweepAll = flag.Bool("sweep", false, "try each kind of fault at each call, not at some")
	simTrace = flag.Bool("sim.trace", false, "print all that happened in a seed that fails")
)

// weather is what a seed is like.
type weather struct {
	loaders   int
	alone     bool // each loader has a lease of its own, so that nothing keeps them apart
	calls     int  // of the storm
	faults    int  // of a hundred calls
	kinds     []verdict
	kills     int // at most
	swap      int // of a hundred calls, those after which another goes on
	events    int // of a thousand calls, those before which something else happens
	files     int
	page      int // objects of a page of a listing
	foreign   bool
	merge     bool
	clean     string
	overwrite bool // allowOverwrites
	batch     int  // maxFilesPerTrigger
	skew      time.Duration
	skewed    bool // the clocks of loaders jump
	warm      bool // the checkpoint is there
}

func newWeather(dice *rand.Rand) weather {
	w := weather{
		loaders: 1 + dice.IntN(3), alone: dice.IntN(2) == 0, calls: 50 + dice.IntN(350), faults: dice.IntN(25), kills: dice.IntN(6),
		swap: 1 + dice.IntN(60), events: 5 + dice.IntN(60), files: 2 + dice.IntN(6), page: 1 + dice.IntN(5), foreign: dice.IntN(2) == 0,
		merge: dice.IntN(4) == 0, clean: []string{"OFF", "MOVE", "MOVE", "DELETE"}[dice.IntN(4)], overwrite: dice.IntN(3) == 0,
		batch: 1 + dice.IntN(3), skewed: dice.IntN(3) == 0, warm: dice.IntN(4) > 0,
	}
	for v := pass + 1; v < verdicts; v++ {
		if dice.IntN(2) == 0 {
			w.kinds = append(w.kinds, v)
		}
	}
	if dice.IntN(3) == 0 {
		w.skew = time.Duration(dice.IntN(120)-60) * time.Minute
	}
	return w
}

// simulation is one seed under way.
type simulation struct {
	weather
	dice  *rand.Rand
	cloud *cloud
	files *simFiles
	other *foreigner

	ask     chan question
	ends    chan ended
	waiting []question
	last    *process // whose turn it was
	flying  []func() // what lands late
	loaders []*loader
	runs    int
	calm    bool
	calls   int
	failure error

	trace []string
	sum   uint64 // of the trace
}

// loader is a place for processes, one after the other.
type loader struct {
	number int
	run    *process // nil: none is running
	clock  time.Duration
	calm   bool // its last run began after the storm
	quiet  bool // and found nothing, and all was well
}

// question is a call that waits for its turn.
type question struct {
	simCall
	answer chan verdict
}

type ended struct {
	by      *process
	loader  *loader
	summary *silt.Summary
	err     error
	panic   string
}

func newSimulation(seed uint64, bug canary) *simulation {
	s := &simulation{dice: rand.New(rand.NewPCG(seed, 0)), ask: make(chan question, 200), ends: make(chan ended, 10)}
	s.weather = newWeather(s.dice)
	s.cloud = &cloud{bug: bug, skew: s.skew, aged: map[string]time.Duration{}}
	s.cloud.taken = s.mayTake
	s.files = newSimFiles(s)
	s.other = &foreigner{sim: s, merge: s.merge}
	for i := range s.weather.loaders {
		s.loaders = append(s.loaders, &loader{number: i})
	}
	return s
}

func (s *simulation) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", s.sum, line)
	s.sum = h.Sum64()
	s.trace = append(s.trace, line)
}

// config is that of a process.
func (s *simulation) config(p *process, clock func() time.Time) silt.Config {
	cfg := silt.Config{
		Name: "sim", Source: "s3://landing/in", Target: silt.Path("s3://lake/t"), CheckpointLocation: "s3://lake/cp", Workers: 1,
		Options: map[string]string{
			"cloudFiles.maxFilesPerTrigger": fmt.Sprint(s.batch), "cloudFiles.allowOverwrites": fmt.Sprint(s.overwrite),
			"cloudFiles.cleanSource": s.clean,
		},
	}
	switch s.clean {
	case "MOVE":
		cfg.Options["cloudFiles.cleanSource.moveDestination"] = "s3://lake/old"
		cfg.Options["cloudFiles.cleanSource.retentionDuration"] = "0 seconds"
	case "DELETE":
		cfg.Options["cloudFiles.cleanSource.retentionDuration"] = "7 days"
	}
	if s.merge {
		cfg.Target.Write, cfg.Target.Merge = "merge", silt.Merge{Keys: []string{"k"}, SequenceBy: "seq"}
	}
	return cfg.In(p.at, clock)
}

// outside is somebody who meets no faults and need not wait.
func (s *simulation) outside() *process { return &process{name: "-", cloud: s.cloud, page: 1000} }

// load is the life of a process: one run.
func (s *simulation) load(ctx context.Context, p *process, clock func() time.Time) (*silt.Summary, error) {
	pipeline, err := silt.Open(ctx, s.config(p, clock))
	if err != nil {
		return nil, err
	}
	defer pipeline.Close()
	return pipeline.RunOnce(ctx)
}

func (s *simulation) begin(ctx context.Context, l *loader) {
	s.runs++
	p := s.newProcess(fmt.Sprintf("%d.%d", l.number, s.runs))
	if s.alone {
		p.lease = fmt.Sprintf("lease-%d", l.number)
	}
	ctx, p.kill = context.WithCancel(ctx)
	l.run, l.calm = p, s.calm
	s.note("%s begins", p.name)
	clock := func() time.Time { return time.Now().Add(l.clock) }
	go s.guard(p, l, func() (*silt.Summary, error) { return s.load(ctx, p, clock) })
}

func (s *simulation) newProcess(name string) *process {
	return &process{name: name, cloud: s.cloud, page: s.page, judge: s.judge, later: func(f func()) { s.flying = append(s.flying, f) }}
}

// guard tells of the end of what a process does.
func (s *simulation) guard(p *process, l *loader, do func() (*silt.Summary, error)) {
	e := ended{by: p, loader: l}
	defer func() {
		if r := recover(); r != nil {
			e.panic = fmt.Sprintf("%v\n%s", r, debug.Stack())
		}
		p.kill()
		s.ends <- e
	}()
	e.summary, e.err = do()
}

// judge waits for the turn of a call.
func (s *simulation) judge(c simCall) verdict {
	if strings.Contains(c.key, "/probe-") { // it only tries the store out
		return pass
	}
	q := question{c, make(chan verdict)}
	s.ask <- q
	return <-q.answer
}

// run is a seed from its start to its end.
func (s *simulation) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.warm {
		if _, err := s.load(ctx, s.outside(), nil); err != nil {
			return fmt.Errorf("before the storm: %w", err)
		}
	}
	s.files.arrive()
	for _, l := range s.loaders {
		if s.dice.IntN(2) == 0 {
			s.begin(ctx, l)
		}
	}
	for s.failure == nil && !s.calm {
		if s.collect(); s.failure != nil {
			break
		}
		if s.calls > s.weather.calls {
			s.calm = true
			break
		}
		if s.happens() {
			s.happen(ctx)
			continue
		}
		s.turn(ctx)
	}
	if s.failure == nil {
		s.settle(ctx)
	}
	s.stop()
	if s.failure != nil {
		return s.failure
	}
	return s.check(ctx)
}

// collect waits until nobody can go on without a turn, and learns who has ended.
func (s *simulation) collect() {
	synctest.Wait()
	for len(s.ask) > 0 {
		s.waiting = append(s.waiting, <-s.ask)
	}
	slices.SortStableFunc(s.waiting, func(a, b question) int { // which of them came first is not in the seed
		return cmp.Or(cmp.Compare(a.by.name, b.by.name), cmp.Compare(a.op, b.op), cmp.Compare(a.key, b.key))
	})
	var all []ended
	for len(s.ends) > 0 {
		all = append(all, <-s.ends)
	}
	slices.SortFunc(all, func(a, b ended) int { return cmp.Compare(a.by.name, b.by.name) })
	for _, e := range all {
		s.ended(e)
	}
}

func (s *simulation) ended(e ended) {
	if e.loader == nil {
		s.other.ended(e)
		return
	}
	l := e.loader
	l.run, l.quiet = nil, false
	what := "killed"
	switch {
	case e.panic != "":
		s.fail(errors.New("panic: " + e.panic))
	case e.by.dead.Load():
	case e.err != nil:
		what = "error"
		s.judgeError(e)
	default:
		what = fmt.Sprintf("%d batches", e.summary.Batches)
		l.quiet = l.calm && e.summary.Batches == 0
	}
	s.note("%s ends: %s", e.by.name, what)
}

// judgeError holds that a run failed for a reason.
func (s *simulation) judgeError(e ended) {
	var state *checkpoint.StateError
	var replaced *silt.ReplacedError
	var target *silt.TargetError
	var before *silt.LoadedBeforeError // no memory is ever lost
	var held *checkpoint.HeldError
	switch {
	case errors.As(e.err, &state), errors.As(e.err, &replaced), errors.As(e.err, &target), errors.As(e.err, &before):
		s.fail(fmt.Errorf("%s: %w", e.by.name, e.err))
	case s.calm && !errors.As(e.err, &held) && !errors.Is(e.err, errFault):
		s.fail(fmt.Errorf("%s, without faults: %w", e.by.name, e.err))
	}
}

func (s *simulation) fail(err error) {
	if s.failure == nil {
		s.failure = err
		s.note("%v", err)
	}
}

func (s *simulation) happens() bool {
	return s.dice.IntN(1000) < s.events
}

// happen is what comes from outside.
func (s *simulation) happen(ctx context.Context) {
	switch s.dice.IntN(10) {
	case 0, 1:
		s.files.arrive()
	case 2:
		s.files.change()
	case 3, 4:
		s.land()
	case 5:
		s.begins(ctx)
	case 6, 7:
		if s.foreign {
			s.other.begin(ctx)
		}
	case 8:
		if s.skewed {
			l := s.loaders[s.dice.IntN(len(s.loaders))]
			l.clock = time.Duration(s.dice.IntN(120)-60) * time.Minute
			s.note("the clock of %d is off by %s", l.number, l.clock)
		}
	case 9:
		d := []time.Duration{time.Second, 5 * time.Second, 40 * time.Second, time.Hour}[s.dice.IntN(4)]
		s.note("%s pass", d)
		time.Sleep(d)
	}
}

// land lets a late call have its effect.
func (s *simulation) land() {
	if len(s.flying) > 0 {
		i := s.dice.IntN(len(s.flying))
		f := s.flying[i]
		s.flying = slices.Delete(s.flying, i, i+1)
		s.note("something lands late")
		f()
	}
}

// begins lets a loader run that does not.
func (s *simulation) begins(ctx context.Context) bool {
	var idle []*loader
	for _, l := range s.loaders {
		if l.run == nil {
			idle = append(idle, l)
		}
	}
	if len(idle) == 0 {
		return false
	}
	s.begin(ctx, idle[s.dice.IntN(len(idle))])
	return true
}

// turn answers one call; when none waits, a loader begins, or time passes.
func (s *simulation) turn(ctx context.Context) {
	if len(s.waiting) == 0 {
		if s.calm || s.dice.IntN(2) == 0 || !s.begins(ctx) {
			time.Sleep(3 * time.Second)
		}
		return
	}
	i := slices.IndexFunc(s.waiting, func(q question) bool { return q.by == s.last })
	if i < 0 || s.dice.IntN(100) < s.swap {
		i = s.dice.IntN(len(s.waiting))
	}
	q := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.last = q.by
	s.calls++
	if q.op == "delete" && strings.HasPrefix(q.key, landing) && !s.calm && s.dice.IntN(8) == 0 {
		s.files.replace(q.key) // between a look at the file and this, which chance seldom meets
	}
	v := s.verdict(q.simCall)
	s.note("%s %s %s: %s", q.by.name, q.op, q.key, v)
	if v.kills() {
		s.bury(q.by)
	}
	q.answer <- v
}

// verdict chooses what becomes of a call.
func (s *simulation) verdict(c simCall) verdict {
	if s.calm || c.by == s.other.process || len(s.kinds) == 0 || s.dice.IntN(100) >= s.faults {
		return pass
	}
	v := s.kinds[s.dice.IntN(len(s.kinds))]
	if v.kills() {
		if s.kills--; s.kills < 0 {
			return pass
		}
	}
	if !v.fits(c) {
		return dropped
	}
	return v
}

// bury answers all other calls of a process that is about to die.
func (s *simulation) bury(p *process) {
	p.die()
	s.waiting = slices.DeleteFunc(s.waiting, func(q question) bool {
		if q.by == p {
			q.answer <- killBefore
		}
		return q.by == p
	})
}

// settle lets all come to rest without faults.
func (s *simulation) settle(ctx context.Context) {
	s.note("calm")
	for s.files.arrive() {
	}
	for _, l := range s.loaders {
		if l.run != nil && s.dice.IntN(2) == 0 {
			s.note("%s is killed", l.run.name)
			s.bury(l.run)
		}
	}
	limit := s.calls + 20_000
	for round := 0; s.failure == nil; round++ {
		for s.busy() && s.failure == nil {
			if s.collect(); s.busy() {
				if s.happens() {
					s.land()
				}
				s.turn(ctx)
			}
			if s.calls > limit || round > 60 {
				s.fail(errors.New("there is no end"))
			}
		}
		if s.failure != nil {
			return
		}
		if !slices.ContainsFunc(s.loaders, func(l *loader) bool { return !l.quiet }) {
			return
		}
		// A lease runs out, a torn file is old enough, and a source may be cleaned.
		time.Sleep(11 * time.Minute)
		for _, l := range s.loaders {
			if !l.quiet {
				s.begin(ctx, l)
			}
		}
	}
}

func (s *simulation) busy() bool {
	return s.other.process != nil || slices.ContainsFunc(s.loaders, func(l *loader) bool { return l.run != nil })
}

// stop ends all processes.
func (s *simulation) stop() {
	for s.busy() {
		for _, l := range s.loaders {
			if l.run != nil {
				s.bury(l.run)
			}
		}
		if s.other.process != nil {
			s.bury(s.other.process)
		}
		time.Sleep(time.Second)
		s.collect()
		for _, q := range s.waiting {
			q.answer <- killBefore
		}
		s.waiting = nil
	}
}

// Arrow has one decoder for all, which must not be made in a bubble: others could not use it then.
var warmUp = sync.OnceFunc(func() {
	zstd, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		panic(err)
	}
	zstd.Decode(nil, zstd.Encode(make([]byte, 100), []byte("x")))
})

// simulate runs one seed. The trace says what happened; its sum is the same for the same seed.
func simulate(t *testing.T, seed uint64, bug canary) (s *simulation, err error) {
	warmUp()
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(t *testing.T) {
		s = newSimulation(seed, bug)
		err = s.run(t.Context())
	})
	return s, err
}

func (s *simulation) said() string {
	lines := s.trace
	if !*simTrace && len(lines) > 40 {
		lines = lines[len(lines)-40:]
	}
	return fmt.Sprintf("%+v\n\t%s", s.weather, strings.Join(lines, "\n\t"))
}

func TestSimulation(t *testing.T) {
	calls, failed := 0, 0
	for i := range *seeds {
		n := *seed + uint64(i)
		ok := t.Run(fmt.Sprint(n), func(t *testing.T) {
			s, err := simulate(t, n, canary{})
			calls += s.calls
			if err != nil {
				t.Errorf("%v\nagain: go test -tags duckdb_arrow -run TestSimulation . -seeds 1 -seed %d -sim.trace\n%s", err, n, s.said())
			}
		})
		if !ok {
			if failed++; failed == 3 {
				break
			}
		}
	}
	t.Logf("%d calls of stores", calls)
}

func TestTheSameSeedIsTheSameSimulation(t *testing.T) {
	for i := range max(*seeds/2, 1) {
		n := *seed + uint64(i)
		a, _ := simulate(t, n, canary{})
		b, _ := simulate(t, n, canary{})
		if a.sum == b.sum {
			continue
		}
		at := 0
		for at < min(len(a.trace), len(b.trace)) && a.trace[at] == b.trace[at] {
			at++
		}
		t.Errorf("seed %d: after\n\t%s\ncomes\n\t%s\nand\n\t%s", n, strings.Join(a.trace[max(0, at-5):at], "\n\t"),
			strings.Join(a.trace[at:min(at+3, len(a.trace))], "\n\t"), strings.Join(b.trace[at:min(at+3, len(b.trace))], "\n\t"))
	}
}
