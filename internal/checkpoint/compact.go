package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/siltlake/silt/objstore"
)

// findRuns finds the runs that hold the batches from the first on without a gap, and those that longer
// ones have taken the place of. It looks again when one is gone that was listed: another process may have
// merged it, whose run the next listing names.
func (l *Log) findRuns(ctx context.Context) (runs []runHead, old []string, err error) {
	for gone := ""; ; {
		spans, err := l.listRuns(ctx)
		if err != nil {
			return nil, nil, err
		}
		runs, old, err = l.readRuns(ctx, spans)
		var e *StateError
		if !isMissing(err) || !errors.As(err, &e) || e.Object == gone {
			return runs, old, err
		}
		gone = e.Object
	}
}

// listRuns lists the first and the last batch of each run.
func (l *Log) listRuns(ctx context.Context) (spans [][2]int64, err error) {
	prefix := l.prefix + "seen/"
	for o, err := range l.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list seen: %w", err)
		}
		from, to, ok := strings.Cut(strings.TrimPrefix(o.Key, prefix), "-")
		first, err1 := strconv.ParseInt(from, 10, 64)
		last, err2 := strconv.ParseInt(to, 10, 64)
		if ok && err1 == nil && err2 == nil {
			spans = append(spans, [2]int64{first, last})
		}
	}
	return spans, nil
}

// readRuns reads the longest runs of those that were listed.
func (l *Log) readRuns(ctx context.Context, spans [][2]int64) (runs []runHead, old []string, err error) {
	longest := map[int64]int64{} // last batch by first
	for _, s := range spans {
		longest[s[0]] = max(longest[s[0]], s[1])
	}
	chosen := map[[2]int64]bool{}
	for at := int64(0); ; {
		last, ok := longest[at]
		if !ok {
			break
		}
		r := runHead{First: at, Last: last}
		content, err := l.mustRead(ctx, r.name())
		if err != nil {
			return nil, nil, err
		}
		if r, err = decodeHead[runHead](content); err != nil {
			return nil, nil, l.broken(fmt.Sprintf("seen/%d-%d", at, last), err)
		}
		runs = append(runs, r)
		chosen[[2]int64{at, last}] = true
		at = last + 1
	}
	for _, s := range spans {
		if len(runs) > 0 && !chosen[s] && s[1] <= runs[len(runs)-1].Last {
			old = append(old, fmt.Sprintf("seen/%d-%d", s[0], s[1]))
		}
	}
	return runs, old, nil
}

// Compact puts what closed batches did into runs, merges runs, and removes the objects of old batches
// that runs hold and whose sources are cleaned. What it does can be left undone: an error of it means
// nothing for any batch.
func (l *Log) Compact(ctx context.Context) error {
	if l.lease == nil {
		return errors.New("the checkpoint is open to be looked at only")
	}
	s, err := l.Seen(ctx)
	if err != nil {
		return err
	}
	err = l.compact(ctx, s)
	if isMissing(err) { // another process may have done it
		if changed, refreshErr := s.refresh(ctx); changed || refreshErr != nil {
			return refreshErr
		}
	}
	return err
}

func (l *Log) compact(ctx context.Context, s *Seen) error {
	grown := false
	for s.end-s.runsEnd() >= l.fan {
		if err := l.newRun(ctx, s); err != nil {
			return err
		}
		grown = true
		if err := l.mergeTail(ctx, s); err != nil {
			return err
		}
	}
	if err := l.mergeTail(ctx, s); err != nil { // what an earlier process left
		return err
	}
	l.runs = slices.Clone(s.runs)
	if !grown {
		return nil
	}
	return l.purge(ctx, s)
}

// mergeTail merges the last runs as long as there are enough of one length.
func (l *Log) mergeTail(ctx context.Context, s *Seen) error {
	for n := int(l.fan); len(s.runs) >= n; {
		tail := s.runs[len(s.runs)-n:]
		if slices.ContainsFunc(tail, func(r runHead) bool { return r.Last-r.First != tail[0].Last-tail[0].First }) {
			break
		}
		merged, err := l.mergeRuns(ctx, tail)
		if err != nil {
			return err
		}
		s.runs = append(s.runs[:len(s.runs)-n:len(s.runs)-n], merged)
	}
	return nil
}

func (s *Seen) runsEnd() int64 {
	if len(s.runs) == 0 {
		return 0
	}
	return s.runs[len(s.runs)-1].Last + 1
}

// newRun makes a run of the first batches that no run holds.
func (l *Log) newRun(ctx context.Context, s *Seen) error {
	r := runHead{First: s.runsEnd()}
	r.Last = r.First + l.fan - 1
	entries := map[string]entry{}
	for n := r.First; n <= r.Last; n++ {
		b, sum, err := l.readBatch(ctx, n)
		if err != nil {
			return err
		}
		if err := l.readEnd(ctx, n, &b); err != nil {
			return err
		}
		if b.Commits == nil || b.Staged == nil {
			return &StateError{name("commits", n), "it is missing, and the batch is closed", nextDoctor}
		}
		for _, row := range b.rows() {
			e := newEntry(row)
			if before, ok := entries[row.Key]; ok {
				e = before.then(e)
			}
			entries[row.Key] = e
		}
		r.Parent = sum
	}
	r, err := l.writeRun(ctx, r, func(yield func(keyed, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			if !yield(keyed{key, entries[key]}, nil) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	runs := append(slices.Clone(s.runs), r)
	groups := slices.DeleteFunc(slices.Clone(s.groups), func(g group) bool { return g.first <= r.Last })
	if len(groups) == 0 || groups[0].first > r.Last+1 { // a group held batches of both
		return s.refill(ctx, runs)
	}
	s.runs, s.groups = runs, groups
	return nil
}

// refill reads the batches again that no run holds; none, when the runs hold more than this process has
// seen. After an error the Seen is as it was.
func (s *Seen) refill(ctx context.Context, runs []runHead) error {
	fresh := &Seen{log: s.log, runs: runs, tried: s.tried}
	fresh.end = fresh.runsEnd()
	for n := fresh.end; n < s.end; n++ {
		b, _, err := s.log.readBatch(ctx, n)
		if err != nil {
			return err
		}
		fresh.add(n, b.rows())
	}
	*s = *fresh
	return nil
}

// mergeRuns makes one run of several that follow each other.
func (l *Log) mergeRuns(ctx context.Context, runs []runHead) (runHead, error) {
	last := runs[len(runs)-1]
	return l.writeRun(ctx, runHead{First: runs[0].First, Last: last.Last, Parent: last.Parent}, l.entries(ctx, runs))
}

// entries yields those of runs that follow each other, one for each key. An error ends it.
func (l *Log) entries(ctx context.Context, runs []runHead) iter.Seq2[keyed, error] {
	return func(yield func(keyed, error) bool) {
		var cursors []*cursor
		defer func() {
			for _, c := range cursors {
				c.close()
			}
		}()
		for _, r := range runs {
			c, err := l.openRun(ctx, r)
			if err == nil {
				cursors = append(cursors, c)
				err = c.next()
			}
			if err != nil {
				yield(keyed{}, err)
				return
			}
		}
		for k, err := range merged(cursors) {
			if !yield(k, err) || err != nil {
				return
			}
		}
	}
}

// merged yields the entries of runs that follow each other, one for each key. The cursors are at their
// first entries.
func merged(cursors []*cursor) iter.Seq2[keyed, error] {
	return func(yield func(keyed, error) bool) {
		for {
			least, found := "", false
			for _, c := range cursors {
				if c.ok && (!found || c.at.key < least) {
					least, found = c.at.key, true
				}
			}
			if !found {
				return
			}
			out := keyed{key: least}
			known := false
			for _, c := range cursors {
				if !c.ok || c.at.key != least {
					continue
				}
				out.entry, known = out.join(known, c.at.entry), true
				if err := c.next(); err != nil {
					yield(keyed{}, err)
					return
				}
			}
			if !yield(out, nil) {
				return
			}
		}
	}
}

// writeRun writes a run, or returns the one that another process has written meanwhile.
func (l *Log) writeRun(ctx context.Context, r runHead, entries iter.Seq2[keyed, error]) (runHead, error) {
	if err := l.lease.hold(ctx); err != nil {
		return r, err
	}
	r.Data = fmt.Sprintf("seen/data/%d-%d-%s", r.First, r.Last, l.newID())
	w, err := objstore.Create(ctx, l.store, l.prefix+r.Data)
	if err != nil {
		return r, fmt.Errorf("write %s: %w", r.Data, err)
	}
	defer w.Abort()
	e, err := newRunWriter(w)
	if err != nil {
		return r, err
	}
	for k, err := range entries {
		if err == nil {
			err = e.add(k)
		}
		if err != nil {
			return r, fmt.Errorf("write %s: %w", r.Data, err)
		}
		r.Entries++
		if row := &k.row; row.failing() {
			o := row.Outcome
			r.Failing = append(r.Failing, tryLine{toWire(k.key), row.ETag, o.State, o.Tries, row.Planned, o.Error})
		}
	}
	if r.Index, err = e.end(); err == nil {
		_, err = w.Close()
	}
	if err != nil {
		return r, fmt.Errorf("write %s: %w", r.Data, err)
	}
	content, err := encode(headed[runHead]{Body: r})
	if err != nil {
		return r, err
	}
	ours, err := l.put(ctx, r.name(), content)
	if err != nil || ours {
		return r, err
	}
	content, err = l.mustRead(ctx, r.name())
	if err != nil {
		return r, err
	}
	theirs, err := decodeHead[runHead](content)
	if err != nil {
		return r, l.broken(r.name(), err)
	}
	return theirs, l.remove(ctx, r.Data)
}

func (l *Log) remove(ctx context.Context, object string) error {
	if err := l.lease.hold(ctx); err != nil {
		return err
	}
	if err := l.store.Delete(ctx, l.prefix+object, objstore.Cond{}); err != nil {
		return fmt.Errorf("remove %s: %w", object, err)
	}
	return nil
}

// purge removes what is not needed any more: runs that longer ones hold, with their data, and the
// objects of old batches. A plan stays, small as it is: a process that slept for long meets it, and does
// not take the batch for one that nobody has planned. What became of the files in the source stays in a list.
func (l *Log) purge(ctx context.Context, s *Seen) error {
	runs, old, err := l.findRuns(ctx)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, r := range runs {
		named[l.prefix+r.Data] = true
	}
	for _, object := range old {
		if err := l.remove(ctx, object); err != nil {
			return err
		}
	}
	for o, err := range l.store.List(ctx, l.prefix+"seen/data/", "") {
		if err != nil {
			return fmt.Errorf("list seen: %w", err)
		}
		name := strings.TrimPrefix(o.Key, l.prefix)
		_, span, _ := strings.Cut(name, "data/")
		merged := slices.ContainsFunc(old, func(object string) bool { return strings.HasPrefix("seen/"+span, object+"-") })
		if !named[o.Key] && (merged || l.clock().Sub(o.ModTime) > orphanAge) {
			if err := l.remove(ctx, name); err != nil {
				return err
			}
		}
	}
	if err := l.purgeRequests(ctx); err != nil {
		return err
	}
	archived, err := l.ids(ctx, "archive")
	if err != nil {
		return err
	}
	var done []int64
	var facts []Archived
	begun := map[int64]bool{} // where archive/begun/N may be
	for _, n := range slices.Sorted(maps.Keys(archived)) {
		if n >= s.runsEnd() || n >= s.end-l.keep {
			continue
		}
		done = append(done, n)
		a, err := l.readArchived(ctx, n)
		if err != nil {
			return err
		}
		if a != nil && a.Mode != "" {
			facts, begun[n] = append(facts, *a), true
		}
	}
	if err := l.keepArchived(ctx, facts); err != nil {
		return err
	}
	for _, n := range done {
		for _, kind := range []string{"sources/0", "staged", "commits", "archive/begun", "archive"} {
			if kind == "archive/begun" && !begun[n] {
				continue
			}
			if err := l.remove(ctx, name(kind, n)); err != nil {
				return err
			}
		}
	}
	return nil
}
