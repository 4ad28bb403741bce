package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// What archive/N says is needed for longer than the object is there: files are cleaned long after their
// batch was put into a run, so that no entry of a run can say it. Before archive/N is removed it is copied
// to a list:
//
//	seen/archived/LEVEL-ID  the Archived of some batches, a line each, sorted
//
// Lists of one level are merged to one of the next, up to the highest one. A batch may be in several of
// them, because they are written before what they take the place of is removed.

// archivedLevels is the highest level: a reader holds the batches of such a list in memory.
const archivedLevels = 3

const archivedLists = "seen/archived/"

// archivedHead is the first line of a list.
type archivedHead struct {
	Batches int `json:"batches"`
}

// keepArchived writes a list, and merges those of which there are enough.
func (l *Log) keepArchived(ctx context.Context, facts []Archived) error {
	if len(facts) == 0 {
		return nil
	}
	if _, err := l.putArchivedList(ctx, 0, facts); err != nil {
		return err
	}
	lists, err := l.findArchivedLists(ctx)
	if err != nil {
		return err
	}
	for level := range archivedLevels {
		if int64(len(lists[level])) < l.fan {
			continue
		}
		all := map[int64]*Archived{}
		for _, object := range lists[level] {
			if err := l.readArchivedList(ctx, object, all); isMissing(err) {
				return nil // another process has merged it
			} else if err != nil {
				return err
			}
		}
		var sorted []Archived
		for _, n := range slices.Sorted(maps.Keys(all)) {
			sorted = append(sorted, *all[n])
		}
		merged, err := l.putArchivedList(ctx, level+1, sorted)
		if err != nil {
			return err
		}
		for _, object := range lists[level] {
			if err := l.remove(ctx, object); err != nil {
				return err
			}
		}
		lists[level+1] = append(lists[level+1], merged)
	}
	return nil
}

func (l *Log) putArchivedList(ctx context.Context, level int, facts []Archived) (object string, err error) {
	lines := []any{headed[archivedHead]{Body: archivedHead{len(facts)}}}
	for _, a := range facts {
		a.Nonce = "" // a list is nobody's word
		lines = append(lines, a)
	}
	content, err := encode(lines...)
	if err != nil {
		return "", err
	}
	object = fmt.Sprintf("%s%d-%s", archivedLists, level, l.newID())
	ours, err := l.put(ctx, object, content)
	if err == nil && !ours {
		err = fmt.Errorf("%s: there is another one", object)
	}
	return object, err
}

// findArchivedLists finds the lists, by their level.
func (l *Log) findArchivedLists(ctx context.Context) (lists [archivedLevels + 1][]string, err error) {
	for o, err := range l.store.List(ctx, l.prefix+archivedLists, "") {
		if err != nil {
			return lists, fmt.Errorf("list seen: %w", err)
		}
		object := strings.TrimPrefix(o.Key, l.prefix)
		text, _, ok := strings.Cut(strings.TrimPrefix(object, archivedLists), "-")
		if level, err := strconv.Atoi(text); ok && err == nil && 0 <= level && level <= archivedLevels {
			lists[level] = append(lists[level], object)
		}
	}
	return lists, nil
}

// readArchivedList adds what a list says.
func (l *Log) readArchivedList(ctx context.Context, object string, all map[int64]*Archived) error {
	content, err := l.mustRead(ctx, object)
	if err != nil {
		return err
	}
	_, lines, err := decode(content)
	for line := range bytes.Lines(lines) {
		var a Archived
		if err = json.Unmarshal(line, &a); err != nil {
			break
		}
		addArchived(all, a)
	}
	if err != nil {
		return l.broken(object, err)
	}
	return nil
}

// addArchived keeps what was said first of a batch: a late put may have brought another archive/N, after the first
// one was removed.
func addArchived(all map[int64]*Archived, a Archived) {
	if before, ok := all[a.Batch]; !ok || a.Time.Before(before.Time) {
		all[a.Batch] = &a
	}
}

// Archives are what became of the files of batches before the given one, as far as files were cleaned.
// Together with [Log.Rows] they tell of batches whose objects were removed.
func (l *Log) Archives(ctx context.Context, before int64) (map[int64]*Archived, error) {
	all := map[int64]*Archived{}
	// These first: what is removed before it is read is in a list by then.
	cleaned, err := l.ids(ctx, "archive")
	if err != nil {
		return nil, err
	}
	for n := range cleaned {
		if n >= before {
			continue
		}
		a, err := l.readArchived(ctx, n)
		if err != nil {
			return nil, err
		}
		if a != nil && a.Mode != "" {
			addArchived(all, *a)
		}
	}
	for gone := ""; ; {
		lists, err := l.findArchivedLists(ctx)
		if err != nil {
			return nil, err
		}
		err = nil
		for _, object := range slices.Concat(lists[:]...) {
			if err = l.readArchivedList(ctx, object, all); err != nil {
				break
			}
		}
		var e *StateError
		if !isMissing(err) || !errors.As(err, &e) || e.Object == gone {
			return all, err
		}
		gone = e.Object // another process has merged it since it was listed
	}
}
