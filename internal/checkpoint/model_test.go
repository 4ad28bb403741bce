package checkpoint

import (
	"bytes"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// This is the protocol, explored to exhaustion: every order of the steps of one or two loaders, with
// kills, lost answers, puts that land late, files that arrive at any time, and foreign commits to the
// tables. The loaders decide by [Next], the function production runs; there is no lease and no clock.
// Where a record goes, to the main table or to quarantine, is chosen anew at each Convert.
//
// A search is breadth first, so what it prints is a shortest way to the fault. Each of the mutants at
// the end leaves one rule out, and must fail.

var large = flag.Bool("model.large", false, "explore the model with larger bounds (minutes, gigabytes)")

const (
	mFiles   = 2
	mBatches = 2
	mTargets = 2 // 0 is main, 1 is quarantine
)

// route is what a stage does with a file.
type route uint8

const (
	notPlanned route = iota
	toMain
	toQuarantine
	vanished
)

type mStage struct {
	there  bool
	routes [mFiles]route
}

type mTable struct {
	rows    [mFiles]uint8 // how often the row of a file is in
	txn     uint8         // greatest batch committed, plus 1
	version uint8
	foreign uint8 // versions of another writer, as a mask; kept where they can be overwritten
}

// mPut is a conditional put, at the store or on its way there.
type mPut struct {
	kind  uint8 // 0 is none
	batch uint8
	mask  uint8  // putSources, putPlan
	stage mStage // putStaged, putTable
	table uint8  // putTable
	at    uint8  // putTable: the version it makes
}

const (
	putSources = iota + 1
	putPlan
	putStaged
	putCommits
	putArchive
	putTable
)

// mLoader is the memory of one process.
type mLoader struct {
	s       State
	batch   uint8
	sources uint8 // files, as a mask
	plan    uint8 // the files it was made for: its digest of them
	stage   mStage
	version uint8 // of the table that Commit has loaded, plus 1
	old     bool  // there was a batch when the checkpoint was opened, or this process has made one
}

const stopped = 99 // batch of a loader that met a contradiction

func (l *mLoader) check() {
	if l.s.Plan == Have && l.s.Sources == Have && l.plan != l.sources {
		l.batch = stopped
	}
}

const (
	notArrived = iota
	present
	movedAway
)

// world is a state of the model. It holds bytes only, so that equal worlds have equal memory.
type world struct {
	src     [mFiles]uint8
	sources [mBatches]uint8
	plan    [mBatches]uint8
	staged  [mBatches]mStage
	commits [mBatches]bool
	archive [mBatches]bool
	tables  [mTargets]mTable
	flight  [2]mPut
	left    bounds
	loaders [2]mLoader
}

// bounds are the faults that may still happen.
type bounds struct {
	loaders, kills, ambiguous, foreign uint8
}

// rules are those of the protocol; a mutant breaks one.
type rules struct {
	noTxnCheck, noStage, archiveEarly, closeEarly, ownChoice bool
	overwritePlan, overwriteStage, overwriteVersion          bool
	newAsOpened                                              bool
}

func (r rules) next(s State) Action {
	a := Next(s)
	if r.archiveEarly && s.Staged == Have && s.Commits == Absent && !s.Cleaned {
		return Archive
	}
	if r.closeEarly && a == Commit && s.Committed > 0 {
		return PutCommits
	}
	return a
}

func (w *world) seen(before uint8) (mask uint8) {
	for n := range before {
		for f := range mFiles {
			planned := w.plan[n] != 0 && w.sources[n]&(1<<f) != 0
			if planned && !(w.staged[n].there && w.staged[n].routes[f] == vanished) {
				mask |= 1 << f
			}
		}
	}
	return mask
}

// restart is what locate does.
func (w *world) restart(i int) {
	w.loaders[i] = mLoader{}
	for n := range uint8(mBatches) {
		if w.plan[n] != 0 {
			w.loaders[i].batch, w.loaders[i].old = n, true
		}
	}
}

func known(there bool) Known {
	if there {
		return Have
	}
	return Absent
}

// store applies a put as the store does, and reports whether the condition held.
func (w *world) store(p mPut, r rules) bool {
	n := p.batch
	switch p.kind {
	case putSources:
		if w.sources[n] != 0 && !r.overwritePlan {
			return false
		}
		w.sources[n] = p.mask
	case putPlan:
		if w.plan[n] != 0 && !r.overwritePlan {
			return false
		}
		w.plan[n] = p.mask
	case putStaged:
		if w.staged[n].there && !r.overwriteStage {
			return false
		}
		w.staged[n] = p.stage
	case putCommits:
		if w.commits[n] {
			return false
		}
		w.commits[n] = true
	case putArchive:
		if w.archive[n] {
			return false
		}
		w.archive[n] = true
	case putTable:
		t := &w.tables[p.table]
		if t.version >= p.at {
			if t.foreign&(1<<p.at) == 0 {
				return false
			}
			t.foreign &^= 1 << p.at
		}
		for f, to := range p.stage.routes {
			if to == toMain+route(p.table) {
				t.rows[f]++
			}
		}
		t.txn, t.version = max(t.txn, n+1), max(t.version, p.at)
	}
	return true
}

// explorer collects the worlds that follow one.
type explorer struct {
	rules rules
	yield func(w world, label string, progress bool)
}

// expand yields every world that can follow w.
func (x *explorer) expand(w *world) {
	for f := range mFiles {
		if w.src[f] == notArrived {
			v := *w
			v.src[f] = present
			x.yield(v, fmt.Sprintf("file %d arrives", f), true)
		}
	}
	for t := range mTargets {
		if w.left.foreign > 0 {
			v := *w
			v.left.foreign--
			v.tables[t].version++
			if x.rules.overwriteVersion {
				v.tables[t].foreign |= 1 << v.tables[t].version
			}
			x.yield(v, fmt.Sprintf("another writer commits to table %d", t), false)
		}
	}
	for i, p := range w.flight {
		if p.kind != 0 {
			v := *w
			v.flight[i] = mPut{}
			v.store(p, x.rules)
			x.yield(v, fmt.Sprintf("put %d of batch %d lands late", p.kind, p.batch), false)
		}
	}
	for i := range int(w.left.loaders) {
		if w.left.kills > 0 && w.loaders[i] != (mLoader{}) {
			v := *w
			v.left.kills--
			v.restart(i)
			x.yield(v, fmt.Sprintf("loader %d is killed", i), false)
		}
		if w.loaders[i].batch < mBatches {
			x.step(w, i)
		}
	}
}

// step yields the worlds that follow when loader i does what it does next.
func (x *explorer) step(w *world, i int) {
	v := *w
	l := &v.loaders[i]
	n := l.batch
	a := x.rules.next(l.s)
	say := func(what string) { x.yield(v, fmt.Sprintf("loader %d, batch %d: %s", i, n, what), true) }
	switch a {
	case ReadPlan:
		l.s.Plan, l.plan = known(w.plan[n] != 0), w.plan[n]
		l.check()
		say("reads offsets")
	case ReadSources:
		l.s.Sources, l.sources = known(w.sources[n] != 0), w.sources[n]
		l.check()
		say("reads sources")
	case Discover:
		// A table that has rows, and a checkpoint that is new: its memory was lost, and nothing is loaded.
		if !l.old && w.tables[0].txn > 0 && (x.rules.newAsOpened || w.plan[0] == 0) {
			l.batch = stopped
			say("finds rows that the checkpoint does not know")
			return
		}
		for f, state := range w.src {
			if state == present {
				l.sources |= 1 << f
			}
		}
		l.sources &^= w.seen(n)
		l.s.Files = known(l.sources != 0)
		say("lists")
	case Idle: // RunBatch is called again
		*l = mLoader{batch: n, old: l.old}
		say("is idle")
	case PutSources:
		x.put(w, i, mPut{kind: putSources, batch: n, mask: l.sources}, func(l *mLoader, k Known) { l.s.Sources = k })
	case PutPlan:
		mask := l.sources
		x.put(w, i, mPut{kind: putPlan, batch: n, mask: mask}, func(l *mLoader, k Known) {
			if l.s.Plan = k; k == Have {
				l.plan, l.s.Staged, l.s.Commits = mask, Absent, Absent
			}
		})
	case ReadCommits:
		l.s.Commits = known(w.commits[n])
		say("reads commits")
	case ReadStaged:
		st := w.staged[n]
		if x.rules.noStage && w.commits[n] {
			st = mStage{there: true}
			for f := range mFiles {
				if l.sources&(1<<f) != 0 {
					st.routes[f] = toMain
				}
			}
		}
		l.s.Staged, l.s.Targets, l.stage = known(st.there), mTargets, st
		say("reads staged")
	case Convert:
		x.convert(w, i, mStage{there: true}, 0)
	case PutStaged:
		if x.rules.noStage {
			l.s.Staged = Have
			say("skips staged")
			return
		}
		x.put(w, i, mPut{kind: putStaged, batch: n, stage: l.stage}, func(l *mLoader, k Known) {
			l.s.Staged, l.s.Targets = k, mTargets
		})
	case PutSchema:
		l.s.Schema = true
		say("writes the schema")
	case Commit:
		x.commit(w, i)
	case PutCommits:
		x.put(w, i, mPut{kind: putCommits, batch: n}, func(l *mLoader, k Known) { l.s.Commits, l.s.Closed = k, true })
	case ReadArchive:
		l.s.Archive = known(w.archive[n])
		say("reads archive")
	case Archive:
		for f, to := range l.stage.routes {
			if to == toMain || to == toQuarantine {
				v.src[f] = movedAway
			}
		}
		l.s.Cleaned = true
		say("archives")
	case PutArchive:
		x.put(w, i, mPut{kind: putArchive, batch: n}, func(l *mLoader, k Known) { l.s.Archive = k })
	case NextBatch, Done:
		*l = mLoader{batch: n + 1, old: true}
		say("goes on")
	case Stop:
		l.batch = stopped
		say("stops")
	}
}

// put yields the ways a create-once put can end. Of an unknown end nothing is learnt, and the driver
// reads and puts again, which is this same action.
func (x *explorer) put(w *world, i int, p mPut, then func(*mLoader, Known)) {
	what := fmt.Sprintf("loader %d, batch %d: put %s", i, p.batch,
		[...]string{"", "sources", "offsets", "staged", "commits", "archive"}[p.kind])
	v := *w
	if v.store(p, x.rules) {
		u := v
		then(&v.loaders[i], Have)
		x.yield(v, what, true)
		if u.left.ambiguous > 0 && !x.rules.overwritePlan { // else what follows is the same again
			u.left.ambiguous--
			x.yield(u, what+", answer lost", false)
		}
	} else {
		then(&v.loaders[i], map[bool]Known{false: Unknown, true: Have}[x.rules.ownChoice])
		x.yield(v, what+", refused", true)
	}
	x.delay(w, p, what)
}

// delay yields the world in which a put is under way, and its loader has given up waiting.
func (x *explorer) delay(w *world, p mPut, what string) {
	free := slices.IndexFunc(w.flight[:], func(p mPut) bool { return p.kind == 0 })
	if w.left.ambiguous == 0 || free < 0 {
		return
	}
	u := *w
	u.left.ambiguous--
	u.flight[free] = p
	x.yield(u, what+", late", false)
}

// convert yields each way to route the files from f on.
func (x *explorer) convert(w *world, i int, st mStage, f int) {
	if f == mFiles {
		v := *w
		l := &v.loaders[i]
		l.stage, l.s.Converted, l.s.Targets = st, true, mTargets
		x.yield(v, fmt.Sprintf("loader %d, batch %d: converts to %v", i, l.batch, st.routes), true)
		return
	}
	ways := []route{toMain, toQuarantine}
	switch {
	case w.loaders[i].sources&(1<<f) == 0:
		ways = []route{notPlanned}
	case w.src[f] != present:
		ways = []route{vanished}
	}
	for _, way := range ways {
		st.routes[f] = way
		x.convert(w, i, st, f+1)
	}
}

// commit is what the effect does: load the table, look for the transaction, put the next version.
func (x *explorer) commit(w *world, i int) {
	v := *w
	l := &v.loaders[i]
	t := l.s.Committed
	tab := w.tables[t]
	what := fmt.Sprintf("loader %d, batch %d: table %d: ", i, l.batch, t)
	if l.version == 0 {
		if tab.txn > l.batch && !x.rules.noTxnCheck {
			l.s.Committed++
			x.yield(v, what+"has it", true)
			return
		}
		l.version = tab.version + 1
		x.yield(v, what+"is loaded", true)
		return
	}
	p := mPut{kind: putTable, batch: l.batch, stage: l.stage, table: t, at: l.version}
	l.version = 0 // whatever comes: load again
	v.loaders[i] = *l
	unknown := v
	if v.store(p, x.rules) {
		lost := v
		v.loaders[i].s.Committed++
		x.yield(v, what+"committed", true)
		if lost.left.ambiguous > 0 {
			lost.left.ambiguous--
			x.yield(lost, what+"committed, answer lost", false)
		}
	} else {
		x.yield(v, what+"refused", true)
	}
	x.delay(&unknown, p, what+"commit")
}

// invariant returns what must never be seen.
func (w *world) invariant() string {
	for f := range mFiles {
		rows := w.tables[0].rows[f] + w.tables[1].rows[f]
		switch {
		case rows > 1:
			return fmt.Sprintf("the row of file %d is there %d times", f, rows)
		case w.src[f] == movedAway && rows == 0:
			return fmt.Sprintf("file %d is archived and in no table", f)
		}
		for n := range mBatches {
			to := w.staged[n].routes[f]
			if w.commits[n] && (to == toMain || to == toQuarantine) && rows == 0 {
				return fmt.Sprintf("batch %d is closed, and file %d is in no table", n, f)
			}
		}
	}
	for _, l := range w.loaders {
		if l.batch == stopped {
			return "a loader met a contradiction"
		}
	}
	return ""
}

// done reports whether all is loaded once and archived.
func (w *world) done() bool {
	for f := range mFiles {
		if w.src[f] != movedAway || w.tables[0].rows[f]+w.tables[1].rows[f] != 1 {
			return false
		}
	}
	for n := range mBatches {
		if w.plan[n] != 0 && !w.archive[n] {
			return false
		}
	}
	return true
}

// canonical orders what has no order, so that mirrored worlds are one.
func (w *world) canonical() {
	if w.left.loaders == 2 && bytes.Compare(memory(&w.loaders[0]), memory(&w.loaders[1])) > 0 {
		w.loaders[0], w.loaders[1] = w.loaders[1], w.loaders[0]
	}
	if bytes.Compare(memory(&w.flight[0]), memory(&w.flight[1])) > 0 {
		w.flight[0], w.flight[1] = w.flight[1], w.flight[0]
	}
}

func memory[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// search is the result of an exploration.
type search struct {
	states, steps int
	fault         string
	trace         []string
}

// explore visits every world there is, or stops at the first fault.
func explore(b bounds, r rules) search {
	type edge struct{ from, to int32 }
	var (
		worlds = []world{{left: b}}
		index  = map[world]int32{worlds[0]: 0}
		parent = []int32{-1}
		edges  []edge // of progress: without faults
		s      search
	)
	at := int32(0)
	x := explorer{rules: r, yield: func(w world, _ string, progress bool) {
		s.steps++
		w.canonical()
		id, old := index[w]
		if !old {
			id = int32(len(worlds))
			index[w] = id
			worlds = append(worlds, w)
			parent = append(parent, at)
			if s.fault == "" {
				if s.fault = w.invariant(); s.fault != "" {
					s.trace = trace(worlds, parent, id, r)
				}
			}
		}
		if progress {
			edges = append(edges, edge{at, id})
		}
	}}
	for ; int(at) < len(worlds) && s.fault == ""; at++ {
		w := worlds[at]
		x.expand(&w)
	}
	s.states = len(worlds)
	if s.fault != "" {
		return s
	}
	// From every world the goal can be reached without a further fault.
	back := make([][]int32, len(worlds))
	for _, e := range edges {
		back[e.to] = append(back[e.to], e.from)
	}
	reaches := make([]bool, len(worlds))
	var todo []int32
	for id := range worlds {
		if worlds[id].done() {
			reaches[id] = true
			todo = append(todo, int32(id))
		}
	}
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, from := range back[id] {
			if !reaches[from] {
				reaches[from] = true
				todo = append(todo, from)
			}
		}
	}
	if id := slices.Index(reaches, false); id >= 0 {
		s.fault = "from here not all is ever loaded and archived"
		s.trace = trace(worlds, parent, int32(id), r)
	}
	return s
}

// trace repeats the way to a world to find the words for it.
func trace(worlds []world, parent []int32, id int32, r rules) []string {
	var labels []string
	for ; parent[id] >= 0; id = parent[id] {
		label := "?"
		x := explorer{rules: r, yield: func(w world, text string, _ bool) {
			if w.canonical(); w == worlds[id] {
				label = text
			}
		}}
		from := worlds[parent[id]]
		x.expand(&from)
		labels = append(labels, label)
	}
	slices.Reverse(labels)
	return labels
}

func (s search) String() string {
	return fmt.Sprintf("%s after %d steps:\n\t%s", s.fault, len(s.trace), strings.Join(s.trace, "\n\t"))
}

func TestModel(t *testing.T) {
	rows := []struct {
		name   string
		bounds bounds
		large  bool
	}{
		{"one_loader_two_kills_two_lost_answers", bounds{loaders: 1, kills: 2, ambiguous: 2}, false},
		{"one_loader_beside_another_writer", bounds{loaders: 1, kills: 1, ambiguous: 1, foreign: 1}, false},
		{"two_loaders", bounds{loaders: 2}, false},
		{"two_loaders_one_kill", bounds{loaders: 2, kills: 1}, false},
		{"two_loaders_one_lost_answer", bounds{loaders: 2, ambiguous: 1}, false},
		{"two_loaders_one_kill_one_lost_answer", bounds{loaders: 2, kills: 1, ambiguous: 1}, true},
		{"two_loaders_beside_another_writer", bounds{loaders: 2, kills: 1, foreign: 1}, true},
		{"one_loader_four_kills_two_lost_answers", bounds{loaders: 1, kills: 4, ambiguous: 2, foreign: 1}, true},
	}
	states, explored := 0, 0
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.large && !*large {
				t.Skip("with -model.large")
			}
			start := time.Now()
			s := explore(row.bounds, rules{})
			t.Logf("%d states, %d steps, %s", s.states, s.steps, time.Since(start).Round(time.Millisecond))
			if s.fault != "" {
				t.Error(s)
			}
			states += s.states
			if !row.large {
				explored++
			}
		})
	}
	if t.Logf("%d states", states); explored == 5 && states < 1_000_000 {
		t.Errorf("%d states are too few to say anything", states)
	}
}

func TestModelFindsWhatARuleIsFor(t *testing.T) {
	for _, row := range []struct {
		name   string
		rules  rules
		bounds bounds
	}{
		{"no_transaction_check", rules{noTxnCheck: true}, bounds{loaders: 1, ambiguous: 1}},
		{"no_stage", rules{noStage: true}, bounds{loaders: 1, kills: 1}},
		{"archive_before_commit", rules{archiveEarly: true}, bounds{loaders: 1}},
		{"closed_before_all_tables_have_it", rules{closeEarly: true}, bounds{loaders: 1, kills: 1}},
		{"who_is_refused_keeps_to_its_own_choice", rules{ownChoice: true}, bounds{loaders: 2}},
		{"a_checkpoint_is_new_that_was_so_when_it_was_opened", rules{newAsOpened: true}, bounds{loaders: 2}},
		{"a_stage_that_can_be_overwritten", rules{overwriteStage: true}, bounds{loaders: 2}},
		{"a_version_of_a_table_that_can_be_overwritten", rules{overwriteVersion: true}, bounds{loaders: 1, ambiguous: 1, foreign: 1}},
		{"a_plan_that_can_be_overwritten_by_another_loader", rules{overwritePlan: true}, bounds{loaders: 2}},
		{"a_plan_that_can_be_overwritten_by_a_late_put", rules{overwritePlan: true}, bounds{loaders: 1, kills: 2, ambiguous: 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := explore(row.bounds, row.rules)
			if s.fault == "" {
				t.Fatalf("no fault in %d states", s.states)
			}
			t.Log(s)
		})
	}
}
