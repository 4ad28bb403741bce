package silt

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/schema"
)

// expect says what the expectations would make of the rows, by reading the files of a plan once more.
func (l *looker) expect(ctx context.Context, out *Plan, v *evolve.Version, seen *convert.Look) error {
	if !l.set.expects() {
		return nil
	}
	tasks, err := l.judging(ctx, v, seen)
	if err != nil {
		return err
	}
	results := make([]*convert.Result, len(tasks))
	g, gctx := errgroup.WithContext(ctx)
	for k, w := range l.workers {
		g.Go(func() error {
			for i := k; i < len(tasks); i += len(l.workers) {
				var err error
				if results[i], err = w.Judge(gctx, tasks[i]); err != nil {
					return fmt.Errorf("expectations: %w", err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, t := range l.targets {
		out.Expect = out.Expect.with(t.judged(i, results))
	}
	if r := out.Expect.stops(); r != nil {
		out.Stop = fmt.Sprintf("%s the expectation %s, which is to stop it", plural(int(r.Broken), "row breaks", "rows break"), schema.Quote(r.Rule))
	}
	return nil
}

// judging are the tasks that read the files of a plan: as many as there are workers, and one for each part of a
// large file. SQL over all records at once makes them one.
func (l *looker) judging(ctx context.Context, v *evolve.Version, seen *convert.Look) ([]convert.Task, error) {
	all := l.task(v)
	l.types(&all)
	all.Time = time.Now()
	whole := false
	for i := range all.Targets {
		_, atOnce, err := rowsOf(ctx, l.workers[0], &all, &all.Targets[i])
		if err != nil {
			return nil, err
		}
		whole = whole || atOnce
	}
	files := slices.Clone(l.files)
	for _, u := range seen.Unreadable {
		for i := len(files) - 1; i >= 0; i-- {
			if l.source.URI(files[i].Key) == u.URI {
				files = slices.Delete(files, i, i+1)
			}
		}
	}
	if whole {
		all.Files = files
		return []convert.Task{all}, nil
	}
	pieces, err := pieces(ctx, l.workers[0], files, all.Decode)
	if err != nil {
		return nil, err
	}
	var tasks []convert.Task
	small := max(1, (len(files)+len(l.workers)-1)/len(l.workers))
	for _, p := range pieces {
		last := len(tasks) - 1
		if p.Part == (convert.Part{}) && last >= 0 && tasks[last].Part == p.Part && len(tasks[last].Files) < small {
			tasks[last].Files = append(tasks[last].Files, p.Object)
			continue
		}
		next := all
		next.Files, next.Part = append(next.Files, p.Object), p.Part
		tasks = append(tasks, next)
	}
	return tasks, nil
}
