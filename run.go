package silt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

// run is one run of a pipeline: it performs the effects of its batches, and adds up what they did.
type run struct {
	*Pipeline
	log      *checkpoint.Log
	seen     *checkpoint.Seen
	watching bool
	begun    bool
	started  time.Time
	summary  *Summary
	// tried are the files that this run could not load, by key.
	tried map[string]tried
	// hold keeps the run from making batches of some of the files that are to come together.
	hold hold
	// ahead are new files of the last listing that no batch has taken yet.
	ahead []objstore.Object
	// beyond is how many files of the last listing are neither loaded nor ahead, and 1 more when others may
	// be there.
	beyond int
	// listed says that there was one by this run.
	listed bool
	// recovered is how many of the batches an earlier run had left.
	recovered int
	// arrivals are hints of new files; nil is that each look lists. Gate keeps files waiting; nil does not.
	arrivals *arrivals
	gate     *gate
	// presence is what is known of the folder of the source, by all runs of a watch.
	presence *presence
	// uncompacted says that the checkpoint could not be made smaller, which is told once.
	uncompacted bool

	progress progress
}

func newRun(p *Pipeline, log *checkpoint.Log) *run {
	now := time.Now()
	r := &run{Pipeline: p, log: log, started: now, tried: map[string]tried{}, presence: new(presence)}
	r.summary = &Summary{
		Pipeline: p.name, Run: newULID(), Source: p.source.String(), Target: p.targets[0].name,
		Started: now, Schema: SchemaChange{From: -2, To: -1}, Warnings: slices.Clone(p.set.notes),
	}
	for _, t := range p.targets {
		r.summary.Targets = append(r.summary.Targets, TargetSummary{Table: t.name})
	}
	r.progress.emit = p.emit
	return r
}

// next is the run that follows r in a watch.
func (r *run) next() *run {
	n := newRun(r.Pipeline, r.log)
	n.watching, n.seen, n.tried, n.ahead, n.hold = r.watching, r.seen, r.tried, r.ahead, r.hold
	n.arrivals, n.gate, n.presence = r.arrivals, r.gate, r.presence
	return n
}

// start tells once that the run has begun. A watching run begins when there is something to do.
func (r *run) start() {
	if !r.begun {
		r.begun = true
		r.emit(RunStarted{Time: r.started, Pipeline: r.name, Run: r.summary.Run, Source: r.summary.Source, Target: r.summary.Target})
	}
}

// finish ends the run. What it did is kept, also when it failed.
func (r *run) finish(ctx context.Context, err error) (*Summary, error) {
	s := r.summary
	s.Took = time.Since(r.started)
	if s.Schema.From == -2 {
		s.Schema.From = -1
		if v, latestErr := r.schemas.Latest(ctx); v != nil && latestErr == nil {
			s.Schema.From, s.Schema.To, s.Schema.Columns = v.Number, v.Number, len(v.Schema.Fields)
		}
	}
	if err != nil {
		s.Error = err.Error()
	}
	if s.Batches > 0 || err != nil {
		body, jsonErr := json.Marshal(s)
		if jsonErr == nil {
			jsonErr = r.log.PutRun(context.WithoutCancel(ctx), s.Run, body)
		}
		if jsonErr != nil && err == nil {
			r.warn(Warning{Code: "SILT-6004", Text: "the summary of the run could not be kept: " + jsonErr.Error()})
		}
	}
	r.emit(RunFinished{Summary: s, Err: err})
	return s, err
}

func (r *run) warn(w Warning) {
	r.summary.Warnings = append(r.summary.Warnings, w)
	r.emit(w)
}

// batch finishes or makes one batch.
func (r *run) batch(ctx context.Context) (idle bool, err error) {
	started := time.Now()
	out, err := r.log.RunBatch(ctx, r)
	if err != nil || out.Idle {
		return out.Idle, err
	}
	if !out.Discovered { // what was discovered for the batch, or what its request makes new, is in none
		r.beyond++
	}
	r.start()
	if out.Recovered {
		r.recovered++
		r.emit(Recovered{Batch: out.Plan.Batch})
	}
	if out.Plan.Request != nil {
		r.requested(out)
		return false, nil
	}
	return false, r.add(out, started)
}

// emptied reports whether batches took all of the last listing, so that a run of what was there when it listed
// needs no other one.
func (r *run) emptied() bool { return r.arrivals == nil && len(r.ahead)+r.beyond == 0 }

// requested tells of a batch that carried out what somebody had asked for.
func (r *run) requested(out checkpoint.Outcome) {
	for _, f := range out.Staged.Files {
		delete(r.tried, f.Key)
	}
	q := out.Plan.Request
	if r.arrivals != nil && (q.Action == checkpoint.Forget || q.Action == checkpoint.Retry) { // no hint tells of them
		for _, f := range out.Staged.Files {
			r.arrivals.pending[f.Key] = time.Time{}
		}
	}
	r.emit(FilesChanged{Batch: out.Plan.Batch, Request: q.ID, Action: FileAction(q.Action), Reason: q.Reason, Actor: q.Actor, Files: len(out.Staged.Files)})
}

// add adds a closed batch to the summary.
func (r *run) add(out checkpoint.Outcome, started time.Time) error {
	s := r.summary
	var b batchSummary
	if err := json.Unmarshal(out.Staged.Summary, &b); err != nil {
		return fmt.Errorf("batch %d: summary: %w", out.Plan.Batch, err)
	}
	s.Batches++
	told := len(s.Warnings)
	s.add(&b)
	if b.Postponed != "" {
		r.beyond++
	}
	r.hold = r.hold.after(b.Postponed, r.watching, started)
	if r.arrivals != nil {
		r.arrivals.hold = r.hold.until
	}
	loaded := 0
	for i := range out.Staged.Files {
		f := &out.Staged.Files[i]
		s.Files.Found++
		if f.State.Again() && b.Postponed == "" {
			r.tried[f.Key] = r.again(f, started)
		}
		if r.arrivals != nil {
			r.arrivals.closed(f, r.tried[f.Key].until)
		}
		switch f.State {
		case checkpoint.Loaded:
			loaded++
			s.Files.Loaded++
			if f.Bad > 0 {
				s.Files.WithBad++
			}
			continue
		case checkpoint.Quarantined:
			s.Files.Quarantined++
		case checkpoint.Deferred:
			s.Files.Deferred++
		case checkpoint.Waiting:
			s.Files.Waiting++
		case checkpoint.Vanished, checkpoint.Overwritten:
			s.Files.Vanished++
		case checkpoint.Failed:
			s.Files.Failed++
		}
		r.beyond++ // the file may be tried again, or be there in another version
		r.emit(FileFailed{File: r.source.URI(f.Key), Tries: f.Tries, GivenUp: f.State == checkpoint.Quarantined, Err: fileError(f.Error)})
	}
	event := BatchCommitted{Batch: out.Plan.Batch, Table: r.targets[0].name, Files: loaded, Rows: b.Rows,
		RescuedRows: b.Rescued.Rows, Quarantined: b.Records.Quarantined, Took: time.Since(started)}
	for i, c := range out.Commits.Targets {
		staged := out.Staged.Targets[i]
		t, to := r.tableOf(staged)
		v := TableVersion{Table: t.name, Version: c.Version, Batch: out.Plan.Batch, Rows: staged.Rows}
		s.Commits = append(s.Commits, v)
		if c.Name == quarantineTable {
			continue
		}
		event.Tables = append(event.Tables, v)
		if to == r.targets[0] {
			event.Version = &v.Version
		}
		s.addTable(v, c, to)
	}
	for _, w := range s.Warnings[told:] {
		r.emit(w)
	}
	r.emit(event)
	return nil
}

// fileError is the error of a file as it was kept.
type fileError string

func (e fileError) Error() string { return string(e) }

// batchSummary is the part of a Summary that one batch makes. It is staged, so that a batch that is
// finished by a later run counts there as it would have here.
type batchSummary struct {
	Bytes          int64            `json:"bytes"`
	Records        RecordCounts     `json:"records"`
	Rows           int64            `json:"rows"`
	QuarantineRows int64            `json:"quarantineRows"`
	Schema         SchemaChange     `json:"schema"`
	Rescued        RescuedCounts    `json:"rescued"`
	Transform      *TransformCounts `json:"transform,omitempty"`
	Expect         *ExpectCounts    `json:"expect,omitempty"`
	Warnings       []Warning        `json:"warnings,omitempty"`
	// Postponed says why all files were left to the next batch; empty: they were not.
	Postponed string `json:"postponed,omitempty"`
}

func (s *Summary) add(b *batchSummary) {
	s.Bytes += b.Bytes
	s.Rows += b.Rows
	if b.Transform != nil {
		if s.Transform == nil {
			s.Transform = new(TransformCounts)
		}
		s.Transform.add(b.Transform)
	}
	s.Records.Read += b.Records.Read
	s.Records.Loaded += b.Records.Loaded
	s.Records.Quarantined += b.Records.Quarantined
	s.Records.Dropped += b.Records.Dropped
	if s.Schema.From == -2 {
		s.Schema.From = b.Schema.From
	}
	s.Schema.To, s.Schema.Columns = b.Schema.To, b.Schema.Columns
	s.Schema.Added = append(s.Schema.Added, b.Schema.Added...)
	s.Schema.Widened = append(s.Schema.Widened, b.Schema.Widened...)
	s.Schema.Pending = b.Schema.Pending
	for _, f := range b.Schema.Uncarried {
		i := slices.IndexFunc(s.Schema.Uncarried, func(g NewField) bool { return g.Path == f.Path })
		if i < 0 {
			s.Schema.Uncarried = append(s.Schema.Uncarried, f)
		} else {
			s.Schema.Uncarried[i].Rows += f.Rows
		}
	}
	if b.Expect != nil {
		if s.Expect == nil {
			s.Expect = &ExpectCounts{}
		}
		s.Expect.add(b.Expect)
	}
	s.Rescued.Rows += b.Rescued.Rows
	for _, p := range b.Rescued.Paths {
		i := slices.IndexFunc(s.Rescued.Paths, func(q RescuedPath) bool { return q.Path == p.Path && q.Reason == p.Reason })
		if i < 0 {
			s.Rescued.Paths = append(s.Rescued.Paths, p)
		} else {
			s.Rescued.Paths[i].Values += p.Values
		}
	}
	for _, w := range b.Warnings {
		if !slices.Contains(s.Warnings, w) {
			s.Warnings = append(s.Warnings, w)
		}
	}
}

// Discover implements [checkpoint.Effects].
func (r *run) Discover(ctx context.Context) ([]objstore.Object, error) {
	var err error
	if r.seen, err = r.log.Seen(ctx); err != nil {
		return nil, err
	}
	if err := r.checkNew(ctx); err != nil || r.hold.holds(time.Now()) {
		return nil, err
	}
	if files := r.nextAhead(); len(files) > 0 {
		return files, nil
	}
	whole := r.arrivals == nil || r.arrivals.listNow()
	if whole {
		if err := r.compact(ctx); err != nil {
			return nil, err
		}
	}
	found, err := r.find(ctx, r.wanted(r.set), whole)
	if err != nil {
		err = fmt.Errorf("source %s: %w", r.source, err)
		if r.waitsFor(err) {
			return nil, nil
		}
		return nil, err
	}
	if whole {
		if err := r.isThere(ctx); err != nil {
			return nil, err
		}
	}
	r.listed = r.listed || whole
	if whole {
		r.summary.Files.PassedOver = r.source.passedOver(found.PassedOver)
	}
	if r.heldBack(found, whole) {
		return nil, nil
	}
	r.ahead, r.beyond = found.Ahead, found.Waiting-len(found.Ahead)
	if !whole || found.Young > 0 {
		r.beyond++
	}
	files, bytes := len(found.Files)+found.Waiting, found.WaitingBytes
	for _, f := range found.Files {
		bytes += f.Size
	}
	if r.summary.Batches == 0 && (whole || files > 0) {
		if whole || r.watching {
			r.summary.Files.Changed, r.summary.Files.Skipped = len(found.Changed), len(found.Skipped)
		}
		if !r.watching || files > 0 {
			r.start()
			r.progress.total(files, bytes)
			r.emit(Listed{Files: files, Changed: len(found.Changed), Skipped: len(found.Skipped), Bytes: bytes, PassedOver: r.source.passedOver(found.PassedOver)})
		}
		if !r.watching && whole {
			r.warnOfListing(found)
		}
	}
	return found.Files, nil
}

// listAhead is how many new files are kept of one listing, so that it serves many batches.
const listAhead = 100_000

// nextAhead takes the next batch from the last listing. What another loader has planned since is left
// out. A file that has changed since is found out when it is read, as with any batch.
func (r *run) nextAhead() (files []objstore.Object) {
	for len(files) == 0 && len(r.ahead) > 0 {
		files, r.ahead = r.set.source.Cut(r.ahead)
		files = slices.DeleteFunc(files, func(o objstore.Object) bool {
			before, known, givenUp := r.seen.Recent(o.Key)
			return r.leave(o) || known && (before.ETag == o.ETag || !r.set.source.AllowOverwrites && !givenUp)
		})
	}
	return files
}

// tried is a file that a run could not load.
type tried struct {
	etag  string
	times int       // in this run
	until time.Time // when this version may be tried again; zero is never by this run
}

const (
	// retryFirst and retryLast are how long a watching run waits before it reads a file again that it
	// could not read; the wait doubles with each try.
	retryFirst, retryLast = time.Minute, time.Hour
	// retryChanging is how often a run takes a file that changes whenever it is read.
	retryChanging = 3
)

// again says when a file is taken again that this run could not load. A watching run waits, another one
// leaves it to the next.
func (r *run) again(f *checkpoint.FileOutcome, now time.Time) tried {
	t := tried{etag: f.ETag, times: r.tried[f.Key].times + 1}
	if r.watching {
		t.until = now.Add(retryWait(f.Tries))
	}
	return t
}

// retryWait is how long a watching run waits after so many tries.
func retryWait(tries int) time.Duration {
	if n := max(0, tries-1); n < 6 {
		return retryFirst << n
	}
	return retryLast
}

// leave reports whether this run takes a version of a file not, or not yet.
func (r *run) leave(o objstore.Object) bool {
	t, ok := r.tried[o.Key]
	switch {
	case !ok:
		return false
	case t.etag == o.ETag:
		return t.until.IsZero() || time.Now().Before(t.until)
	}
	return t.times >= retryChanging && !r.watching
}

func (r *run) warnOfListing(found *source.Found) {
	if n := len(found.Changed); n > 0 && !r.set.source.AllowOverwrites {
		r.warn(Warning{Code: "SILT-3005", Hint: "load them again with the option cloudFiles.allowOverwrites=true",
			Text: fmt.Sprintf("%s changed after %s loaded, first %s", plural(n, "file", "files"), map[bool]string{true: "it was", false: "they were"}[n == 1], r.source.URI(found.Changed[0].Key))})
	}
	if n := len(found.Skipped); n > 0 {
		r.warn(Warning{Code: "SILT-3006",
			Text: fmt.Sprintf("%s cannot be read, first %s: %s", plural(n, "file or folder", "files or folders"), r.source.URI(found.Skipped[0].Key), found.Skipped[0].Reason)})
	}
}

// warnOfNew warns of targets that earlier batches did not go to.
func (r *run) warnOfNew(added []*target, batch int64) {
	for _, t := range added {
		r.warn(Warning{Code: "SILT-6011", Text: fmt.Sprintf("table %s is new among the targets of the pipeline: it gets files from batch %d on, and those that were loaded before are not in it", t.name, batch),
			Hint: "to have all of them in it, load them into it alone: silt load " + r.source.String() + " " + t.given.String()})
	}
}

// plural is a number and what it counts.
func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// wanted are the files of the next batch.
func (r *run) wanted(set *settings) source.Options {
	o := set.source
	o.Glob, o.Leave = r.source.glob, r.leave
	if r.watching && !isRemote(r.source.path) {
		o.MinAge = minAge
	}
	return o
}

// minAge is how old a file in a folder must be before a watching run takes it: it may still be written. An
// object of S3 is there as a whole or not at all.
const minAge = 2 * time.Second

// pinned is what the rows of a batch depend on beside the files. It is kept in the plan for those who
// look back. A batch that is done again before it was staged takes the configuration of then: it may
// have stopped because of a mistake in the old one, and no row of it is anywhere yet.
type pinned struct {
	Source      string            `json:"source"` // the folder; says what keys are relative to
	Options     map[string]string `json:"options,omitempty"`
	Transform   string            `json:"transform,omitempty"`
	Lineage     []string          `json:"lineage"`
	Compat      string            `json:"compat,omitempty"`
	Uncarried   string            `json:"uncarried,omitempty"`
	OnCorrupt   string            `json:"onCorrupt,omitempty"`
	PartitionBy []string          `json:"partitionBy,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	// Expect are the expectations by name.
	Expect  map[string]Expectation `json:"expect,omitempty"`
	Targets []pinnedTarget         `json:"targets,omitempty"` // when there are several
	Flatten []Flatten              `json:"flatten,omitempty"`
	Refs    map[string]string      `json:"refs,omitempty"`
}

// pinnedTarget is what the rows of one of several targets depend on.
type pinnedTarget struct {
	Table       string                 `json:"table"`
	Transform   string                 `json:"transform,omitempty"`
	PartitionBy []string               `json:"partitionBy,omitempty"`
	Properties  map[string]string      `json:"properties,omitempty"`
	Expect      map[string]Expectation `json:"expect,omitempty"`
}

// pinned is that of the configuration.
func (p *Pipeline) pinned() pinned {
	c := p.cfg
	out := pinned{Source: p.source.path, Options: c.Options, Lineage: p.set.lineage, Compat: c.Compat, Uncarried: c.Uncarried, OnCorrupt: c.OnCorrupt,
		Flatten: c.Flatten, Refs: c.Refs}
	if len(c.Targets) == 0 {
		out.Transform, out.PartitionBy, out.Properties = p.set.targets[0].transform, c.Target.PartitionBy, c.Target.Properties
		out.Expect = c.Target.Expect
		return out
	}
	for _, t := range p.targets {
		out.Targets = append(out.Targets, pinnedTarget{t.name, t.transform, t.given.PartitionBy, t.given.Properties, t.given.Expect})
	}
	return out
}

// Plan implements [checkpoint.Effects].
func (r *run) Plan(ctx context.Context, batch int64, _ []objstore.Object) (checkpoint.Plan, error) {
	config, err := json.Marshal(r.pinned())
	if err != nil {
		return checkpoint.Plan{}, err
	}
	sum := sha256.Sum256(config)
	p := checkpoint.Plan{Config: config, ConfigDigest: hex.EncodeToString(sum[:]), Engine: "silt/" + Version, SchemaVersion: -1}
	latest, err := r.schemas.Latest(ctx)
	if err != nil {
		return p, err
	}
	if latest != nil {
		p.SchemaVersion = latest.Number
	}
	added, err := r.checkTargets(ctx)
	if err != nil {
		return p, err
	}
	if batch > 0 {
		r.warnOfNew(added, batch)
	}
	for _, t := range r.tables() {
		target := checkpoint.Target{Name: t.role, URI: t.uri(), Version: -1}
		s, err := t.load(ctx)
		if err != nil {
			return p, err
		}
		if s != nil {
			target.TableID, target.Version = s.Metadata().ID, s.Version()
		}
		p.Targets = append(p.Targets, target)
	}
	p.Refs, err = r.pinRefs(ctx)
	return p, err
}

// A TargetError says that a checkpoint belongs to another table.
type TargetError struct{ Location, Was, Is string }

func (e *TargetError) Error() string {
	return fmt.Sprintf("the checkpoint %s has loaded its files into %s, and the target is %s now", e.Location, e.Was, e.Is)
}

// progress adds up what the workers tell.
type progress struct {
	emit func(Event)
	mu   sync.Mutex
	now  Progress
	last time.Time
}

// progressEvery bounds how often progress is told.
const progressEvery = 100 * time.Millisecond

func (p *progress) total(files int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.FilesTotal, p.now.BytesTotal = files, bytes
}

// restart begins again after a first look at the files.
func (p *progress) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = Progress{Phase: p.now.Phase, FilesTotal: p.now.FilesTotal, BytesTotal: p.now.BytesTotal}
}

func (p *progress) phase(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.Phase != name {
		p.now.Phase = name
		p.tell()
	}
}

func (p *progress) add(files int, bytes, rows, rescued int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.FilesDone += files
	p.now.BytesDone += bytes
	p.now.Rows += rows
	p.now.RescuedRows += rescued
	if time.Since(p.last) >= progressEvery {
		p.tell()
	}
}

func (p *progress) tell() {
	p.last = time.Now()
	p.emit(p.now)
}

// NeedsAttention reports whether files were given up, which ends a run with another exit status.
func (s *Summary) NeedsAttention() bool { return s.Files.Quarantined > 0 }
