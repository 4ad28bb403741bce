package delta

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/siltlake/silt/objstore"
)

// HistoryEntry is one version in the history of a table.
type HistoryEntry struct {
	Version   int64
	Timestamp time.Time
	CommitInfo
}

// History returns the newest versions of the table whose commits are still in the log, the newest
// first; limit 0 is all of them.
func History(ctx context.Context, store objstore.Store, limit int) ([]HistoryEntry, error) {
	l, err := listLog(ctx, store, 0)
	if err != nil {
		return nil, err
	}
	if l.newestVersion() < 0 {
		return nil, ErrNoTable
	}
	times := commitTimes(l.commits)
	var out []HistoryEntry
	for i, o := range slices.Backward(l.commits) {
		if limit > 0 && len(out) == limit {
			break
		}
		actions, err := readCommit(ctx, store, versionOf(o.Key))
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		e := HistoryEntry{Version: versionOf(o.Key), Timestamp: times[i]}
		for _, a := range actions {
			if a.CommitInfo != nil {
				e.CommitInfo = *a.CommitInfo
			}
		}
		if ict := e.InCommitTimestamp; ict != nil {
			e.Timestamp = time.UnixMilli(*ict)
		}
		out = append(out, e)
	}
	return out, nil
}

// commitTimes returns when the commits were made: when their files were, but later from one to the
// next. Source: protocol, "Writer Requirements for In-commit timestamps", for tables without them.
func commitTimes(commits []objstore.Object) []time.Time {
	times := make([]time.Time, len(commits))
	for i, o := range commits {
		times[i] = o.ModTime.Truncate(time.Millisecond)
		if i > 0 && !times[i].After(times[i-1]) {
			times[i] = times[i-1].Add(time.Millisecond)
		}
	}
	return times
}
