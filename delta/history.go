package delta

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/siltlake/silt/objstore"
)

// HistoryEntry is one version in the history of a table.
type HistoryEntry struct {
	Version   int64
	Timestamp time.Time
	CommitInfo
}

// Parameters returns the parameters of the operation as DESCRIBE HISTORY shows them: values that are not
// texts as their JSON, null as nil.
func (e HistoryEntry) Parameters() map[string]*string { return texts(e.OperationParameters) }

// Metrics returns the metrics of the operation in the same way.
func (e HistoryEntry) Metrics() map[string]*string { return texts(e.OperationMetrics) }

func texts(raw map[string]json.RawMessage) map[string]*string {
	out := make(map[string]*string, len(raw))
	for k, v := range raw {
		var text *string
		if json.Unmarshal(v, &text) != nil {
			s := string(v)
			text = &s
		}
		out[k] = text
	}
	return out
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

// A TimeError means that the log has no version that is as old as the time asked for, or not any more.
type TimeError struct{ Time, Oldest time.Time }

func (e *TimeError) Error() string {
	return fmt.Sprintf("the table has no version of %s, its oldest is of %s", e.Time.UTC().Format(time.RFC3339Nano), e.Oldest.UTC().Format(time.RFC3339Nano))
}

// versionAt returns the newest version that was there at a time: that of a table with in-commit
// timestamps by these, from the version on at which it has them, and before by the times of the files.
// A time after the newest version is that version's.
func versionAt(ctx context.Context, store objstore.Store, at time.Time) (int64, error) {
	s, err := Load(ctx, store, LoadOptions{})
	if err != nil {
		return 0, err
	}
	l, err := listLog(ctx, store, 0)
	if err != nil {
		return 0, err
	}
	enabled, since := s.inCommitTimestamps()
	times := commitTimes(l.commits)
	found, earliest := int64(-1), time.Time{}
	for i, o := range slices.Backward(l.commits) {
		when := times[i]
		if enabled && versionOf(o.Key) >= since {
			if when, err = inCommitTime(ctx, store, versionOf(o.Key)); err != nil {
				return 0, err
			}
		}
		if earliest = when; !when.After(at) {
			found = versionOf(o.Key)
			break
		}
	}
	if found < 0 || found < l.oldest() {
		return 0, &TimeError{at, earliest}
	}
	return found, nil
}

// inCommitTimestamps reports whether commits have timestamps of their own, and since which version.
func (s *Snapshot) inCommitTimestamps() (enabled bool, since int64) {
	if s.metadata == nil || !s.metadata.isTrue(propICT) {
		return false, 0
	}
	since, _ = strconv.ParseInt(s.metadata.Configuration[propICTVersion], 10, 64)
	return true, since
}

// switchedOn returns the in-commit timestamp of the version if it is the one at which an existing table
// gets them, or 0. Source: protocol, "Writer Requirements for In-commit timestamps".
func (m *Metadata) switchedOn(version int64) int64 {
	if m.Configuration[propICTVersion] != strconv.FormatInt(version, 10) {
		return 0
	}
	at, _ := strconv.ParseInt(m.Configuration[propICTTime], 10, 64)
	return at
}

// inCommitTime returns the in-commit timestamp of the snapshot's version in milliseconds, or 0 when it
// has none.
func (s *Snapshot) inCommitTime(ctx context.Context) (int64, error) {
	enabled, _ := s.inCommitTimestamps()
	switch {
	case !enabled:
		return 0, nil
	case s.ict != nil:
		return *s.ict, nil
	}
	t, err := inCommitTime(ctx, s.store, s.version)
	return millis(t), err
}

func inCommitTime(ctx context.Context, store objstore.Store, version int64) (time.Time, error) {
	actions, err := readCommit(ctx, store, version)
	if err != nil {
		return time.Time{}, err
	}
	for _, a := range actions {
		if a.CommitInfo != nil && a.CommitInfo.InCommitTimestamp != nil {
			return time.UnixMilli(*a.CommitInfo.InCommitTimestamp), nil
		}
	}
	return time.Time{}, &LogError{version, "its commit has no in-commit timestamp"}
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
