package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Batches yields the batches that have a plan, the newest first, as far back as their objects are kept.
// An error ends it.
func (l *Log) Batches(ctx context.Context) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for n := l.last; n >= 0; n-- {
			b, _, err := l.readBatch(ctx, n)
			if gone := (*StateError)(nil); errors.As(err, &gone) && n < l.held() {
				return // its objects were removed; a late put may have brought some of them back
			}
			if err == nil {
				err = l.readEnd(ctx, n, &b)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// readEnd adds what comes after the stage.
func (l *Log) readEnd(ctx context.Context, n int64, b *Batch) error {
	content, known, err := l.look(ctx, name("commits", n))
	if err != nil || known == Absent {
		return err
	}
	c, err := decodeHead[Commits](content)
	if err != nil {
		return l.broken(name("commits", n), err)
	}
	b.Commits = &c
	b.Archived, err = l.readArchived(ctx, n)
	return err
}

// Rows yields the last row of each file that runs hold and that was last met by a batch before the given
// one, in the order of keys. An error ends it.
func (l *Log) Rows(ctx context.Context, before int64) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for k, err := range l.entries(ctx, l.runs) {
			if err != nil {
				yield(Row{}, err)
				return
			}
			if k.row.Batch < before && !yield(k.row, nil) {
				return
			}
		}
	}
}

// held is the first batch that no run holds.
func (l *Log) held() int64 {
	if len(l.runs) == 0 {
		return 0
	}
	return l.runs[len(l.runs)-1].Last + 1
}

// Runs yields the summaries of runs in the order of their ids. One that cannot be read is a *StateError,
// and the next one follows.
func (l *Log) Runs(ctx context.Context) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		prefix := l.prefix + "runs/"
		for o, err := range l.store.List(ctx, prefix, "") {
			if err != nil {
				yield(Run{}, fmt.Errorf("list runs: %w", err))
				return
			}
			r := Run{ID: strings.TrimPrefix(o.Key, prefix)}
			content, known, err := l.look(ctx, "runs/"+r.ID)
			if err == nil && known == Have {
				r.Body, err = decodeHead[json.RawMessage](content)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}
