package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/siltlake/silt/internal/crash"
)

// RunBatch finishes the batch an earlier run left, or else plans one, and closes it. After an error the
// batch stays as it is in the store, and the next call, here or in another process, goes on with it.
func (l *Log) RunBatch(ctx context.Context, e Effects) (Outcome, error) {
	if l.lease == nil {
		return Outcome{}, errors.New("the checkpoint is open to be looked at only")
	}
	// Who takes the lease over ends the work, wherever it is.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.lease.gone, func() { cancel(context.Cause(l.lease.gone)) })()

	b := &batch{Log: l, effects: e, n: l.at}
	for {
		done, err := b.do(ctx, Next(b.s))
		if held := (*HeldError)(nil); err != nil && errors.As(context.Cause(ctx), &held) {
			err = held
		}
		if err != nil || done {
			return b.out, err
		}
	}
}

// batch is the batch at hand: what is known about it, and the content of what is there.
type batch struct {
	*Log
	effects Effects
	n       int64
	s       State
	sourcesObject
	planSum string // digest of offsets/N
	out     Outcome
}

// do carries an action out. It changes State as the action says, and nothing else decides.
func (b *batch) do(ctx context.Context, a Action) (done bool, err error) {
	switch a {
	case ReadPlan:
		err = b.readPlan(ctx)
	case ReadSources:
		err = b.readSources(ctx)
	case Discover:
		err = b.discover(ctx)
	case PutSources:
		err = b.putSources(ctx)
	case PutPlan:
		err = b.putPlan(ctx)
	case ReadCommits:
		err = b.readCommits(ctx)
	case ReadStaged:
		err = b.readStaged(ctx)
	case Convert:
		err = b.convert(ctx)
	case PutStaged:
		err = b.putStaged(ctx)
	case PutSchema:
		err = b.putSchema(ctx)
	case Commit:
		err = b.commit(ctx)
	case PutCommits:
		err = b.putCommits(ctx)
	case ReadArchive:
		_, b.s.Archive, err = b.read(ctx, name("archive", b.n))
	case Archive:
		err = b.archive(ctx)
	case PutArchive:
		err = b.putArchive(ctx)
	case NextBatch:
		b.next()
		*b = batch{Log: b.Log, effects: b.effects, n: b.at}
	case Done:
		b.next()
		return true, nil
	case Idle:
		b.out = Outcome{Idle: true}
		return true, nil
	case Stop:
		err = b.contradiction()
	}
	if err != nil {
		err = fmt.Errorf("batch %d: %w", b.n, err)
	}
	return false, err
}

// next makes the batch after this one the one at hand.
func (b *batch) next() {
	if b.seen != nil {
		b.seen.add(b.n, rowsOf(b.out.Plan, b.files, &b.out.Staged, b.out.Commits.Time))
	}
	b.at, b.parent, b.did = b.n+1, b.planSum, b.out.Plan.Request
	b.last = max(b.last, b.n)
}

// putOnce puts an object of this batch, and turns the answer into what is known.
func (b *batch) putOnce(ctx context.Context, kind string, content []byte) (Known, error) {
	ours, err := b.put(ctx, name(kind, b.n), content)
	if err != nil || !ours {
		return Unknown, err
	}
	return Have, nil
}

func (b *batch) readPlan(ctx context.Context) error {
	object := name("offsets", b.n)
	content, known, err := b.read(ctx, object, name("staged", b.n), name("commits", b.n), name("offsets", b.n+1))
	if err != nil || known != Have {
		b.s.Plan = known
		return err
	}
	p, err := decodeHead[Plan](content)
	if err != nil {
		return b.broken(object, err)
	}
	if p.Parent != b.parent {
		return &StateError{object, "it does not follow " + name("offsets", b.n-1) + " (another digest)", nextDoctor}
	}
	b.s.Plan, b.s.Staged, b.s.Commits = Have, Unknown, Unknown
	b.out.Plan, b.planSum = p, digest(content)
	return b.checkFiles()
}

func (b *batch) readSources(ctx context.Context) error {
	object := name("sources/0", b.n)
	content, known, err := b.read(ctx, object, name("offsets", b.n))
	if err != nil || known != Have {
		b.s.Sources = known
		return err
	}
	if b.sourcesObject, err = decodeSources(content); err != nil {
		return b.broken(object, err)
	}
	b.s.Sources = Have
	return b.checkFiles()
}

// checkFiles holds that the plan is that of the files, once both are known.
func (b *batch) checkFiles() error {
	if b.s.Plan == Have && b.s.Sources == Have && b.out.Plan.FilesDigest != b.sum {
		return &StateError{name("sources/0", b.n), "its files are not those of " + name("offsets", b.n), nextDoctor}
	}
	return nil
}

func (b *batch) discover(ctx context.Context) error {
	var err error
	if b.request, b.files, err = b.requested(ctx); err == nil && b.request == nil {
		b.files, err = b.effects.Discover(ctx)
	}
	b.s.Files = Have
	if len(b.files) == 0 {
		b.s.Files = Absent
	}
	return err
}

func (b *batch) putSources(ctx context.Context) error {
	content, err := encodeSources(b.n, b.newID(), b.files, b.request)
	if err != nil {
		return err
	}
	crash.Point("before-sources")
	if b.s.Sources, err = b.putOnce(ctx, "sources/0", content); err != nil || b.s.Sources != Have {
		return err
	}
	crash.Point("after-sources")
	b.out.Discovered = b.request == nil
	b.sourcesObject, err = decodeSources(content) // as every other process will see them
	return err
}

func (b *batch) putPlan(ctx context.Context) error {
	p, err := b.effects.Plan(ctx, b.n, b.files)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	p.Batch, p.Nonce, p.Time, p.Parent = b.n, b.newID(), b.clock().UTC(), b.parent
	p.Files, p.FilesDigest, p.Request = len(b.files), b.sum, b.request
	content, err := encode(headed[Plan]{Body: p})
	if err != nil {
		return err
	}
	crash.Point("before-offsets")
	if b.s.Plan, err = b.putOnce(ctx, "offsets", content); err != nil || b.s.Plan != Have {
		return err
	}
	crash.Point("after-offsets")
	// A plan that did not exist until now has nothing after it.
	b.s.Staged, b.s.Commits = Absent, Absent
	b.out.Plan, b.planSum = p, digest(content)
	return nil
}

func (b *batch) readCommits(ctx context.Context) error {
	object := name("commits", b.n)
	content, known, err := b.read(ctx, object, name("offsets", b.n+1))
	if err == nil && known == Have {
		if b.out.Commits, err = decodeHead[Commits](content); err != nil {
			err = b.broken(object, err)
		}
	}
	b.s.Commits = known
	// A batch that is open when it is first looked at is another run's.
	b.out.Recovered = b.out.Recovered || known == Absent
	return err
}

func (b *batch) readStaged(ctx context.Context) error {
	object := name("staged", b.n)
	// A torn stage is never taken for an absent one: a table may have its rows.
	content, known, err := b.look(ctx, object)
	if err != nil || known != Have {
		b.s.Staged = known
		return err
	}
	s, err := decodeStaged(content, len(b.files))
	if err != nil {
		return b.broken(object, err)
	}
	b.stagedIs(s)
	return nil
}

func (b *batch) stagedIs(s Staged) {
	b.out.Staged = s
	b.s.Staged, b.s.Targets = Have, uint8(len(s.Targets))
}

func (b *batch) convert(ctx context.Context) error {
	var err error
	if b.out.Plan.Attempt, err = b.lease.attempt(ctx, b.n); err != nil {
		return err
	}
	crash.Point("before-convert")
	if r := b.out.Plan.Request; r != nil {
		b.out.Staged, err = b.carryOut(ctx, *r)
		b.s.Converted = err == nil
		return err
	}
	s, err := b.effects.Convert(ctx, b.out.Plan, b.files)
	if err != nil {
		return err
	}
	if len(s.Files) != len(b.files) || len(s.Targets) > 255 {
		return fmt.Errorf("convert: %d outcomes of %d files, %d targets", len(s.Files), len(b.files), len(s.Targets))
	}
	seen, err := b.Seen(ctx)
	if err != nil {
		return err
	}
	for i := range s.Files {
		o, f := &s.Files[i], b.files[i]
		if o.Key != f.Key || o.State == "" {
			return fmt.Errorf("convert: outcome %d is %q of %s, not of %s", i, o.State, o.Key, f.Key)
		}
		o.ETag = f.ETag
		if o.Tries == 0 {
			last, _, _ := seen.Tried(f)
			o.Tries = last.Tries + 1
		}
	}
	s.Batch, s.Nonce = b.n, b.newID()
	b.out.Staged, b.s.Converted = s, true
	return nil
}

func (b *batch) putStaged(ctx context.Context) error {
	content, err := encodeStaged(b.out.Staged)
	if err != nil {
		return err
	}
	crash.Point("before-staged")
	known, err := b.putOnce(ctx, "staged", content)
	b.s.Staged = known
	if err != nil || known != Have {
		return err
	}
	crash.Point("after-staged")
	s, err := decodeStaged(content, len(b.files)) // as every other process will see it
	b.stagedIs(s)
	return err
}

func (b *batch) putSchema(ctx context.Context) error {
	if err := b.lease.hold(ctx); err != nil {
		return err
	}
	if err := b.effects.PutSchema(ctx, b.out.Plan, b.out.Staged); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	crash.Point("after-schema")
	b.s.Schema = true
	return nil
}

func (b *batch) commit(ctx context.Context) error {
	if err := b.lease.hold(ctx); err != nil {
		return err
	}
	t := b.out.Staged.Targets[b.s.Committed]
	crash.Point("before-commit")
	c, err := b.effects.Commit(ctx, b.out.Plan, b.out.Staged, int(b.s.Committed))
	if err != nil {
		return fmt.Errorf("commit to %s: %w", t.URI, err)
	}
	crash.Point("after-commit")
	c.Name, c.URI = t.Name, t.URI
	b.out.Commits.Targets = append(b.out.Commits.Targets, c)
	b.s.Committed++
	return nil
}

func (b *batch) putCommits(ctx context.Context) error {
	c := &b.out.Commits
	c.Batch, c.Nonce, c.Time = b.n, b.newID(), b.clock().UTC()
	content, err := encode(headed[Commits]{Body: *c})
	if err != nil {
		return err
	}
	crash.Point("before-commits")
	if b.s.Commits, err = b.putOnce(ctx, "commits", content); err != nil {
		return err
	}
	crash.Point("after-commits")
	// Whoever wrote it: the tables have the batch, and this run of the machine saw to it.
	b.s.Closed = true
	return nil
}

func (b *batch) archive(ctx context.Context) error {
	if err := b.lease.hold(ctx); err != nil {
		return err
	}
	switch err := b.effects.Archive(ctx, b.out.Plan, b.out.Staged); {
	case errors.Is(err, ErrLater):
		b.s.Later = true
		return nil
	case err != nil:
		return fmt.Errorf("archive: %w", err)
	}
	crash.Point("after-archive")
	b.s.Cleaned = true
	return nil
}

func (b *batch) putArchive(ctx context.Context) error {
	content, err := encode(headed[Archived]{Body: Archived{Batch: b.n, Nonce: b.newID()}})
	if err != nil {
		return err
	}
	b.s.Archive, err = b.putOnce(ctx, "archive", content)
	if err == nil {
		crash.Point("after-archive-put")
	}
	return err
}

func (b *batch) contradiction() error {
	if b.s.Sources == Absent {
		return &StateError{name("sources/0", b.n), "it is missing, and " + name("offsets", b.n) + " is there", nextDoctor}
	}
	return &StateError{name("staged", b.n), "it is missing, and " + name("commits", b.n) + " is there", nextDoctor}
}

// PutRun keeps the summary of a run.
func (l *Log) PutRun(ctx context.Context, id string, body json.RawMessage) error {
	content, err := encode(headed[json.RawMessage]{Body: body})
	if err != nil {
		return err
	}
	ours, err := l.put(ctx, "runs/"+id, content)
	if err == nil && !ours {
		err = fmt.Errorf("runs/%s: there is another one", id)
	}
	return err
}
