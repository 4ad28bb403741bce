package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/siltlake/silt/objstore"
)

// IsNew reports whether there was no batch when the log was opened, and this process has made none since. See
// [HasBatch].
func (l *Log) IsNew() bool { return l.last < 0 }

// HasBatch asks the store whether the checkpoint below prefix has a batch by now, which another process may
// have made since a log was opened. There need not be a checkpoint. It is the plan of the first batch that
// tells: it is there before any table has a row of the checkpoint, and is never removed but by [Reset].
func HasBatch(ctx context.Context, store objstore.Store, prefix string) (bool, error) {
	return newLog(store, prefix, Options{}).exists(ctx, name("offsets", 0))
}

// Pipeline is the name of the pipeline that made the checkpoint.
func (l *Log) Pipeline() string { return l.meta.Pipeline }

// Created is when the checkpoint was made.
func (l *Log) Created() time.Time { return l.meta.Created }

// Owner is who holds the lease, as host:pid, and until when; empty is nobody.
func (l *Log) Owner(ctx context.Context) (string, time.Time, error) {
	body, _, _, err := readLease(ctx, l.store, l.prefix+"lease")
	if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, errTorn) {
		return "", time.Time{}, nil
	}
	if err != nil || !held(body, "", l.clock()) {
		return "", time.Time{}, err
	}
	return body.Owner, body.Until, nil
}

// Reset removes what the checkpoint below prefix remembers, and the folders more, and returns how many
// objects that were. The next process makes a checkpoint with another id. Schemas and the summaries of runs
// stay. It is a *HeldError while another process works on the checkpoint.
//
// The id goes first: as long as there are batches and no id, every run stops, and Reset goes on where it was.
// Under the old id with no batches, tables would pass over new batches as ones that they have.
func Reset(ctx context.Context, store objstore.Store, prefix, owner string, more ...string) (removed int, err error) {
	l := newLog(store, prefix, Options{Owner: owner})
	if l.lease, err = take(ctx, store, l.prefix+"lease", l.newID(), owner, l.clock); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	for _, at := range append([]string{"metadata", "commits/", "archive/", "staged/", "sources/", "seen/", requests, "offsets/"}, more...) {
		for o, err := range store.List(ctx, l.prefix+at, "") {
			if err != nil {
				return removed, fmt.Errorf("list %s: %w", at, err)
			}
			if err := l.remove(ctx, o.Key[len(l.prefix):]); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}
