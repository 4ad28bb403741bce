// Package checkpoint is the life of a batch, kept as objects that are written once.
//
// A batch is planned, converted, staged, committed and archived. Each step that decides something ends
// in one create-once object, and what is decided stays decided: whoever comes next, after a crash or
// beside us, reads it and goes on from there.
//
//	metadata      the query id: the name under which tables know this checkpoint
//	lease         who is at work; saves work, and nothing is wrong without it
//	sources/0/N   the versions of files in batch N; means nothing alone
//	offsets/N     the plan of batch N
//	staged/N      what each table gets, to the byte; the sources are not needed any more
//	commits/N     the tables have it; the batch is closed
//	archive/N     what became of the sources; nothing is left to do
//	seen/A-B      what batches A to B did with each file, sorted; made of the objects of the batches
//	runs/ID       the summary of a run
//	requests/ID   what somebody wants to be done about files, and requests/done/ID when it is
//
// [Next] decides what to do from what is known; it does no I/O and is what the model in the tests
// explores. [Log.RunBatch] does it. What the world outside the checkpoint has to do with a batch is
// behind [Effects].
package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/siltlake/silt/internal/crash"
	"github.com/siltlake/silt/objstore"
)

// Options of a Log. The zero Options are ready.
type Options struct {
	Clock    func() time.Time // nil is time.Now
	NewID    func() string    // unique names; nil makes random UUIDs
	Owner    string           // host:pid, for people and for a restart on the same host
	Pipeline string           // the pipeline's name, for people
	// Fan is how many batches a run of the files seen holds, and how many runs are merged to one; 0 is 10.
	Fan int
	// Keep is how many of the newest batches keep all their objects; 0 is 100.
	Keep int
}

// Effects are what a batch does to the world outside the checkpoint. All of them may be called again
// for a batch after a crash, with the same arguments, by this or another process. They are called by
// one goroutine at a time. An error ends RunBatch and leaves the batch for the next one.
type Effects interface {
	// Discover returns the new files for the next batch. None means that there is nothing to do. When
	// it is called, every earlier batch is closed and in [Log.Seen].
	Discover(ctx context.Context) ([]objstore.Object, error)
	// Plan fills the configuration, the engine, the targets and the schema version. The Log fills the
	// rest.
	Plan(ctx context.Context, batch int64, files []objstore.Object) (Plan, error)
	// Convert reads the files as planned and writes data files that nobody names yet. It is not called
	// once the batch is staged. A file that is gone, changed or broken is an outcome, not an error.
	Convert(ctx context.Context, p Plan, files []objstore.Object) (Staged, error)
	// PutSchema writes the source schema of the stage, if it has one, create-once.
	PutSchema(ctx context.Context, p Plan, s Staged) error
	// Commit puts s.Targets[target] into its table, unless the table has the batch already.
	Commit(ctx context.Context, p Plan, s Staged, target int) (Committed, error)
	// Archive cleans the sources of a closed batch. It may do nothing; ErrLater leaves it to Sweep.
	Archive(ctx context.Context, p Plan, s Staged) error
}

// ErrLater means that the sources of a batch are not cleaned yet.
var ErrLater = errors.New("not yet")

// Outcome is what RunBatch did.
type Outcome struct {
	Idle       bool // there was nothing to do; all else is zero
	Recovered  bool // the batch was planned before this call
	Discovered bool // its files are all those that this call discovered
	Plan       Plan
	Staged     Staged
	Commits    Commits
}

// HeldError means that another process works on the checkpoint.
type HeldError struct {
	Owner string // host:pid
	Epoch int64
	Until time.Time
	// Lost means that this process had the lease and was taken over.
	Lost bool
}

func (e *HeldError) Error() string {
	if e.Lost {
		return fmt.Sprintf("the checkpoint was taken over by %s, epoch %d", e.Owner, e.Epoch)
	}
	return fmt.Sprintf("the checkpoint is held by %s, epoch %d, until %s", e.Owner, e.Epoch, e.Until.Format(time.RFC3339))
}

// StateError means that what the checkpoint holds cannot have come about by the protocol, or cannot be
// read. Nothing was changed.
type StateError struct {
	Object  string // key below the checkpoint
	Problem string
	Next    string // the command to run next
}

func (e *StateError) Error() string {
	return fmt.Sprintf("checkpoint: %s: %s; next: %s", e.Object, e.Problem, e.Next)
}

// Log is one checkpoint. Its methods are called by one goroutine at a time.
type Log struct {
	store  objstore.Store
	prefix string // empty, or ends in a slash
	clock  func() time.Time
	newID  func() string
	meta   metadata
	lease  *lease // nil: to be looked at only
	fan    int64
	keep   int64

	seen   *Seen
	runs   []runHead    // as found by Open
	at     int64        // the batch at hand: RunBatch starts there
	parent string       // digest of the plan before it
	did    *RequestHead // what the batch before it carried out
	last   int64        // greatest batch that has a plan, as found by Open; -1: none
	swept  int64        // the first batch that may have to be cleaned
	// cleaned are the batches from swept on that have been, as found by the first Sweep.
	cleaned map[int64]bool
}

// metadata is the object of that name.
type metadata struct {
	ID       string    `json:"id"`
	Created  time.Time `json:"created"`
	Pipeline string    `json:"pipeline,omitempty"`
}

// Open opens the checkpoint below prefix, or creates it, and takes its lease; [Log.Close] gives it
// back. It is a *HeldError when another process has it.
func Open(ctx context.Context, store objstore.Store, prefix string, o Options) (*Log, error) {
	l := newLog(store, prefix, o)
	var err error
	if l.lease, err = take(ctx, store, l.prefix+"lease", l.newID(), o.Owner, l.clock); err != nil {
		return nil, err
	}
	crash.Point("after-lease")
	content, known, err := l.read(ctx, "metadata", name("offsets", 0))
	switch {
	case err != nil:
	case known == Have:
		l.meta, err = l.decodeMetadata(content)
	default:
		l.meta, err = l.create(ctx, metadata{ID: l.newID(), Created: l.clock().UTC(), Pipeline: o.Pipeline})
	}
	if err == nil {
		crash.Point("after-metadata")
		err = l.locate(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// OpenReadOnly opens a checkpoint to be looked at. It takes no lease and writes nothing. A checkpoint
// that does not exist is objstore.ErrNotExist.
func OpenReadOnly(ctx context.Context, store objstore.Store, prefix string) (*Log, error) {
	l := newLog(store, prefix, Options{})
	var err error
	if l.meta, err = l.readMetadata(ctx); err != nil {
		return nil, err
	}
	return l, l.locate(ctx)
}

func newLog(store objstore.Store, prefix string, o Options) *Log {
	l := &Log{store: store, prefix: prefix, clock: o.Clock, newID: o.NewID,
		fan: int64(cmp.Or(o.Fan, defaultFan)), keep: int64(cmp.Or(o.Keep, defaultKeep))}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		l.prefix += "/"
	}
	if l.clock == nil {
		l.clock = time.Now
	}
	if l.newID == nil {
		l.newID = uuid.NewString
	}
	return l
}

// ID is the query id: the application id of the tables' transactions.
func (l *Log) ID() string { return l.meta.ID }

// Hold returns nil while the lease is ours. Effects call it before they write what a later process would
// take for the word of the one that works on the batch.
func (l *Log) Hold(ctx context.Context) error { return l.lease.hold(ctx) }

// Close ends the renewal of the lease and gives it back.
func (l *Log) Close() error {
	if l.lease == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := l.lease.release(ctx)
	l.lease = nil
	return err
}

func (l *Log) readMetadata(ctx context.Context) (metadata, error) {
	content, _, err := objstore.ReadAll(ctx, l.store, l.prefix+"metadata")
	if err != nil {
		return metadata{}, err
	}
	return l.decodeMetadata(content)
}

func (l *Log) decodeMetadata(content []byte) (metadata, error) {
	m, err := decodeHead[metadata](content)
	if err != nil {
		return m, l.broken("metadata", err)
	}
	return m, nil
}

// create writes metadata where there is none. Plans without it are a checkpoint that lost its id:
// under a new id the tables would take every batch again.
func (l *Log) create(ctx context.Context, m metadata) (metadata, error) {
	plans, err := l.ids(ctx, "offsets")
	if err != nil {
		return m, err
	}
	if len(plans) > 0 {
		there, err := l.readMetadata(ctx) // another process may have made it, and gone on, since we looked
		if errors.Is(err, objstore.ErrNotExist) {
			err = &StateError{"metadata", "it is missing, and there are plans of batches", nextDoctor}
		}
		return there, err
	}
	content, err := encode(headed[metadata]{Body: m})
	if err != nil {
		return m, err
	}
	ours, err := l.put(ctx, "metadata", content)
	if err == nil && !ours {
		return l.readMetadata(ctx)
	}
	return m, err
}
