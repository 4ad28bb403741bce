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
//	archive/N     the sources are cleaned; nothing is left to do
//	runs/ID       the summary of a run
//
// [Next] decides what to do from what is known; it does no I/O and is what the model in the tests
// explores. [Log.RunBatch] does it. What the world outside the checkpoint has to do with a batch is
// behind [Effects].
package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/siltlake/silt/objstore"
)

// Options of a Log. The zero Options are ready.
type Options struct {
	Clock    func() time.Time // nil is time.Now
	NewID    func() string    // unique names; nil makes random UUIDs
	Owner    string           // host:pid, for people and for a restart on the same host
	Pipeline string           // the pipeline's name, for people
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
	// Archive cleans the sources of a closed batch. It may do nothing.
	Archive(ctx context.Context, p Plan, s Staged) error
}

// Outcome is what RunBatch did.
type Outcome struct {
	Idle      bool // there was nothing to do; all else is zero
	Recovered bool // the batch was planned before this call
	Plan      Plan
	Staged    Staged
	Commits   Commits
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
type Log struct{}

// Open opens the checkpoint below prefix, or creates it, and takes its lease; [Log.Close] gives it
// back. It is a *HeldError when another process has it.
func Open(ctx context.Context, store objstore.Store, prefix string, o Options) (*Log, error) {
	panic("not yet")
}

// OpenReadOnly opens a checkpoint to be looked at. It takes no lease and writes nothing. A checkpoint
// that does not exist is objstore.ErrNotExist.
func OpenReadOnly(ctx context.Context, store objstore.Store, prefix string) (*Log, error) {
	panic("not yet")
}

// Close ends the renewal of the lease and gives it back.
func (l *Log) Close() error { panic("not yet") }

// ID is the query id: the application id of the tables' transactions.
func (l *Log) ID() string { panic("not yet") }

// RunBatch finishes the batch an earlier run left, or else plans one, and closes it.
func (l *Log) RunBatch(ctx context.Context, e Effects) (Outcome, error) { panic("not yet") }

// Seen returns the files of all planned batches, less those that are taken again. RunBatch keeps it up
// to date.
func (l *Log) Seen(ctx context.Context) (*Seen, error) { panic("not yet") }

// Seen knows which version of a file is planned.
type Seen struct{}

// Lookup returns the version of the file that was planned last and is not taken again.
func (s *Seen) Lookup(key string) (objstore.Object, bool) { panic("not yet") }

// Tried returns the last outcome of this version of a file that is taken again, and when its batch was
// planned.
func (s *Seen) Tried(o objstore.Object) (last FileOutcome, at time.Time, ok bool) { panic("not yet") }

// Batches yields the batches, the newest first.
func (l *Log) Batches(ctx context.Context) iter.Seq2[Batch, error] { panic("not yet") }

// PutRun keeps the summary of a run.
func (l *Log) PutRun(ctx context.Context, id string, body json.RawMessage) error { panic("not yet") }

// Runs yields the summaries of runs in the order of their ids.
func (l *Log) Runs(ctx context.Context) iter.Seq2[Run, error] { panic("not yet") }
