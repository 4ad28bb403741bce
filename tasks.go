package silt

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/objstore"
)

// split divides the files into tasks: small files share one, and a large file of lines has several.
func (c *conversion) split(ctx context.Context) error {
	var total int64
	for _, f := range c.files {
		total += f.Size
	}
	size := max(total/max(int64(len(c.workers)), (total+taskBytes/2)/taskBytes)+1, minTaskBytes)
	var group []objstore.Object
	var bytes, before int64 // of the group, and of those before it
	end := size             // of the group, counted from the first
	add := func(files []objstore.Object, part convert.Part) {
		if len(files) > 0 {
			c.tasks = append(c.tasks, convert.Task{Files: files, Part: part, Index: len(c.tasks)})
		}
	}
	flush := func() {
		add(group, convert.Part{})
		group, bytes, before = nil, 0, before+bytes
		end = max(end+size, before+size/2) // a file that is larger than size moves it
	}
	for _, f := range c.files {
		if c.rowwise && f.Size >= 2*size {
			parts, err := c.workers[0].Split(ctx, f, c.set.decode, size)
			if err != nil {
				return err
			}
			if len(parts) > 1 {
				for _, part := range parts {
					add([]objstore.Object{f}, part)
				}
				continue
			}
		}
		// A task ends where the files come nearest to a multiple of size: were each to stay below it, what they
		// lack would be one more task, of a few files, with a data file of its own.
		if c.rowwise && bytes > 0 && before+bytes+f.Size/2 > end {
			flush()
		}
		group, bytes = append(group, f), bytes+f.Size
	}
	flush()
	for i := range c.tasks {
		c.fill(&c.tasks[i])
	}
	return nil
}

// unite takes back all parts of a file of which one could not be read: a file is loaded as a whole or
// not at all.
func (c *conversion) unite(ctx context.Context) {
	broken := map[string]convert.FileOutcome{}
	for i, t := range c.tasks {
		if f := c.results[i].Files[0]; t.Part.End > 0 && f.State != convert.Loaded {
			broken[t.Files[0].Key] = f
		}
	}
	for i, t := range c.tasks {
		if f, ok := broken[t.Files[0].Key]; ok && t.Part.End > 0 {
			c.workers[0].Discard(ctx, c.results[i])
			c.results[i] = &convert.Result{Task: i, Files: []convert.FileOutcome{f}}
		}
	}
}

// fill gives a task the schema of now.
func (c *conversion) fill(t *convert.Task) {
	common := c.task(c.version.Read())
	common.Files, common.Part, common.Index = t.Files, t.Part, t.Index
	common.Name = fmt.Sprintf("part-%s-%d-%d", queryPrefix(c.log.ID()), c.plan.Batch, t.Index)
	*t = common
}

// do runs tasks, as many at once as there are workers.
func (c *conversion) do(ctx context.Context, tasks []int) error {
	targets, quarantine, err := c.contexts(ctx)
	if err != nil {
		return err
	}
	queue := make(chan int)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		for _, i := range tasks {
			select {
			case queue <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for _, w := range c.workers {
		g.Go(func() error {
			for i := range queue {
				t := c.tasks[i]
				t.Targets, t.Quarantine = slices.Clone(t.Targets), quarantine
				for k, wc := range targets {
					t.Targets[k].Write, t.Targets[k].Merge = wc, c.deliveries[k].merging
				}
				result, err := w.Run(ctx, t)
				if err != nil {
					return err
				}
				c.results[i] = result
				c.progress.add(len(t.Files), 0, 0, 0)
			}
			return nil
		})
	}
	return g.Wait()
}

// observed is what all tasks met without a column for it.
func (c *conversion) observed() map[string]*decode.Observed {
	return united(c.results, func(r *convert.Result) map[string]*decode.Observed { return r.Observed })
}

// united is what all tasks observed of one kind.
func united(results []*convert.Result, of func(*convert.Result) map[string]*decode.Observed) map[string]*decode.Observed {
	all := map[string]*decode.Observed{}
	for _, r := range results {
		for at, o := range of(r) {
			if all[at] == nil {
				all[at] = new(decode.Observed)
			}
			all[at].Merge(o)
		}
	}
	return all
}
