package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
)

// Seen knows which version of a file is planned. It is no copy: RunBatch adds each batch it closes. What
// [Log.Compact] has put into runs it reads from there, so that it is small however many files there are.
type Seen struct {
	log    *Log
	end    int64 // the batch to add next
	runs   []runHead
	groups []group // of the batches after the runs
	// tried are files that were taken again when a batch last met them. One that a run holds may have
	// been loaded since; then it is not asked for.
	tried map[string]try
}

// group is what some batches in a row did.
type group struct {
	first   int64
	entries map[string]entry
}

// try is the last outcome of a file that is taken again.
type try struct {
	FileOutcome
	at time.Time
}

// entry is what a span of batches did with one key. Entries of spans that follow each other are put
// together by then.
type entry struct {
	row Row // of the last batch that met the key
	// file is the version that was planned last and not taken again, when row is of one that is.
	file   *objstore.Object
	loaded bool // some version was, or is to be skipped
	forgot bool // what was known before the span counts no longer
}

// Row is what became of a file in the last batch that met it.
type Row struct {
	File          // its Outcome is nil when the batch is not staged
	Batch         int64
	Planned       time.Time
	Committed     time.Time // zero: not yet
	SchemaVersion int64
}

func (e *entry) again() bool { return e.row.Outcome != nil && e.row.Outcome.State.Again() }

// version is the version that was planned last and is not taken again; nil is none.
func (e *entry) version() *objstore.Object {
	if e.again() {
		return e.file
	}
	return &e.row.Object
}

// then is the entry of the spans of e and of next, which follows it.
func (e *entry) then(next entry) entry {
	if next.forgot {
		return next
	}
	next.forgot = e.forgot
	next.loaded = next.loaded || e.loaded
	if v := e.version(); next.again() && next.file == nil && v != nil {
		kept := *v // e may be written over by what is returned
		next.file = &kept
	}
	return next
}

func newEntry(r Row) entry {
	if r.Outcome == nil {
		return entry{row: r, loaded: true}
	}
	s := r.Outcome.State
	return entry{row: r, loaded: s == Loaded || s == Skipped, forgot: s.forgets()}
}

// failing reports whether the last try of the file is worth to be remembered.
func (r *Row) failing() bool {
	if r.Outcome == nil {
		return false
	}
	switch r.Outcome.State {
	case Deferred, Waiting, Failed, Retried:
		return true
	}
	return false
}

// Tried returns the last outcome of this version of a file, if it was deferred, waited or failed, and when its
// batch was planned.
func (s *Seen) Tried(o objstore.Object) (last FileOutcome, at time.Time, ok bool) {
	t, ok := s.tried[o.Key]
	if !ok || t.ETag != o.ETag {
		return FileOutcome{}, time.Time{}, false
	}
	return t.FileOutcome, t.at, true
}

// Recent returns the version of a file that was planned last and is not taken again, and whether no
// version was ever loaded, as far as the batches know that no run holds. Those since the last pass are
// among them as long as [Log.Compact] was not called.
func (s *Seen) Recent(key string) (v objstore.Object, known, givenUp bool) {
	var all entry
	for _, g := range s.groups {
		if e, ok := g.entries[key]; ok {
			all, known = all.join(known, e), true
		}
	}
	return all.answer(known)
}

// join is then, for an entry that may be the first.
func (e *entry) join(known bool, next entry) entry {
	if !known {
		return next
	}
	return e.then(next)
}

func (e *entry) answer(known bool) (objstore.Object, bool, bool) {
	if !known {
		return objstore.Object{}, false, false
	}
	v := e.version()
	if v == nil {
		return objstore.Object{}, false, false
	}
	return *v, true, !e.loaded
}

// Pass starts a look at keys, which come in ascending order. Lookup returns the version of the file
// that was planned last and is not taken again, and whether it was given up and no version of it was
// ever loaded, so that another version is a new file.
func (s *Seen) Pass(ctx context.Context) (lookup func(key string) (v objstore.Object, known, givenUp bool, err error), end func(), err error) {
	cursors, err := s.open(ctx)
	if isMissing(err) {
		var changed bool
		if changed, err = s.refresh(ctx); err == nil && changed {
			cursors, err = s.open(ctx)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	end = func() {
		for _, c := range cursors {
			c.close()
		}
	}
	last := ""
	return func(key string) (objstore.Object, bool, bool, error) {
		if key < last {
			return objstore.Object{}, false, false, fmt.Errorf("%q comes after %q", key, last)
		}
		last = key
		var all entry
		known := false
		for _, c := range cursors {
			if err := c.seek(ctx, key); err != nil {
				return objstore.Object{}, false, false, err
			}
			if c.at.key == key && c.ok {
				all, known = all.join(known, c.at.entry), true
			}
		}
		for _, g := range s.groups {
			if e, ok := g.entries[key]; ok {
				all, known = all.join(known, e), true
			}
		}
		v, known, givenUp := all.answer(known)
		return v, known, givenUp, nil
	}, end, nil
}

// open opens all runs.
func (s *Seen) open(ctx context.Context) (cursors []*cursor, err error) {
	for _, r := range s.runs {
		c, err := s.log.openRun(ctx, r)
		if err != nil {
			for _, c := range cursors {
				c.close()
			}
			return nil, err
		}
		cursors = append(cursors, c)
	}
	return cursors, nil
}

// refresh looks for the runs again, which another process may have merged. It reports whether they are
// others.
func (s *Seen) refresh(ctx context.Context) (changed bool, err error) {
	runs, _, err := s.log.findRuns(ctx)
	if err != nil || slices.EqualFunc(runs, s.runs, func(a, b runHead) bool { return a.Data == b.Data }) {
		return false, err
	}
	if err := s.refill(ctx, runs); err != nil {
		return false, err
	}
	s.log.runs = slices.Clone(runs)
	return true, nil
}

// add takes batch n in, unless it has it. Without outcomes, the batch is planned and not staged.
func (s *Seen) add(n int64, rows []Row) {
	if n < s.end {
		return
	}
	s.end = n + 1
	fan := s.log.fan
	if len(s.groups) == 0 || n%fan == 0 && s.log.lease != nil {
		s.groups = append(s.groups, group{n, map[string]entry{}})
	}
	entries := s.groups[len(s.groups)-1].entries
	for _, r := range rows {
		e := newEntry(r)
		if before, ok := entries[r.Key]; ok {
			e = before.then(e)
		}
		entries[r.Key] = e
		if r.failing() {
			s.tried[r.Key] = try{*r.Outcome, r.Planned}
		} else {
			delete(s.tried, r.Key)
		}
	}
}

// rowsOf are the rows of a batch; committed is zero when it is not closed.
func rowsOf(p Plan, files []objstore.Object, s *Staged, committed time.Time) []Row {
	rows := make([]Row, len(files))
	for i, f := range files {
		rows[i] = Row{File: File{Object: f}, Batch: p.Batch, Planned: p.Time, Committed: committed, SchemaVersion: p.SchemaVersion}
		if s != nil {
			rows[i].Outcome, rows[i].SchemaVersion = &s.Files[i], s.SchemaVersion
		}
	}
	return rows
}

// Seen returns the files of all closed batches, less those that are taken again. In a log that is open
// to be looked at, the files of a batch that is not closed yet are in it too.
func (l *Log) Seen(ctx context.Context) (*Seen, error) {
	if l.seen != nil {
		return l.seen, nil
	}
	end := l.at
	closed, err := l.exists(ctx, name("commits", l.at))
	switch {
	case err != nil:
		return nil, err
	case l.lease == nil:
		end = l.last + 1
	case closed:
		end++
	}
	seen, err := l.readSeen(ctx, end)
	if isMissing(err) { // another process may have put batches into runs since
		runs, _, findErr := l.findRuns(ctx)
		if findErr != nil {
			return nil, findErr
		}
		if l.runs = runs; l.held() > 0 {
			seen, err = l.readSeen(ctx, end)
		}
	}
	if err == nil && l.lease != nil {
		l.seen = seen
	}
	return seen, err
}

// readSeen reads what the runs do not hold.
func (l *Log) readSeen(ctx context.Context, end int64) (*Seen, error) {
	seen := &Seen{log: l, runs: slices.Clone(l.runs), tried: map[string]try{}}
	parent := ""
	for _, r := range seen.runs {
		seen.end, parent = r.Last+1, r.Parent
		for _, t := range r.Failing {
			seen.tried[t.key()] = t.try()
		}
	}
	for n := seen.end; n < end; n++ {
		b, sum, err := l.readBatch(ctx, n)
		if err != nil {
			return nil, err
		}
		if b.Plan.Parent != parent {
			return nil, &StateError{name("offsets", n), "it does not follow " + name("offsets", n-1) + " (another digest)", nextDoctor}
		}
		parent = sum
		seen.add(n, b.rows())
	}
	return seen, nil
}

// rows are those of a batch as it was read.
func (b *Batch) rows() []Row {
	committed := time.Time{}
	if b.Commits != nil {
		committed = b.Commits.Time
	}
	files := make([]objstore.Object, len(b.Files))
	for i, f := range b.Files {
		files[i] = f.Object
	}
	return rowsOf(b.Plan, files, b.Staged, committed)
}

// readBatch reads all objects of a batch that has a plan, and the digest of the plan.
func (l *Log) readBatch(ctx context.Context, n int64) (Batch, string, error) {
	var b Batch
	content, err := l.mustRead(ctx, name("offsets", n))
	if err != nil {
		return b, "", err
	}
	if b.Plan, err = decodeHead[Plan](content); err != nil {
		return b, "", l.broken(name("offsets", n), err)
	}
	sum := digest(content)
	if content, err = l.mustRead(ctx, name("sources/0", n)); err != nil {
		return b, sum, err
	}
	sources, err := decodeSources(content)
	if err != nil {
		return b, sum, l.broken(name("sources/0", n), err)
	}
	files := sources.files
	if sources.sum != b.Plan.FilesDigest {
		return b, sum, &StateError{name("sources/0", n), "its files are not those of " + name("offsets", n), nextDoctor}
	}
	b.Files = make([]File, len(files))
	for i, f := range files {
		b.Files[i].Object = f
	}
	content, known, err := l.look(ctx, name("staged", n))
	if err != nil || known == Absent {
		return b, sum, err
	}
	s, err := decodeStaged(content, len(files))
	if err != nil {
		return b, sum, l.broken(name("staged", n), err)
	}
	b.Staged = &s
	for i := range b.Files {
		b.Files[i].Outcome = &s.Files[i]
	}
	return b, sum, nil
}

// look reads an object and changes nothing.
func (l *Log) look(ctx context.Context, object string) ([]byte, Known, error) {
	content, _, err := objstore.ReadAll(ctx, l.store, l.prefix+object)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, Absent, nil
	}
	if err != nil {
		return nil, Unknown, fmt.Errorf("read %s: %w", object, err)
	}
	if _, _, err := decode(content); err != nil {
		return nil, Unknown, l.broken(object, err)
	}
	return content, Have, nil
}

const missing = "it is missing"

func (l *Log) mustRead(ctx context.Context, object string) ([]byte, error) {
	content, known, err := l.look(ctx, object)
	if err == nil && known == Absent {
		err = &StateError{object, missing, nextDoctor}
	}
	return content, err
}

// isMissing reports whether an object was not there that must be.
func isMissing(err error) bool {
	var e *StateError
	return errors.As(err, &e) && strings.HasPrefix(e.Problem, missing)
}
