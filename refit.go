package silt

import (
	"context"
	"fmt"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// fitted is a change whose data files the table can take, and those of them that were written for that.
type fitted struct {
	*change
	store objstore.Store
	adds  []*delta.Add
}

// fit returns a staged change as the table takes it by now. Where another has given a column of the batch to
// the table meanwhile, has begun or ended to map its columns, or has made it with other partitions, it has other
// names for what the data files hold; then their rows are written again. What is staged stays as it is.
func (t *table) fit(ctx context.Context, s *delta.Snapshot, c *change) (fitted, error) {
	out := fitted{change: c, store: t.store}
	replaced := c.Replaces != nil && c.Replaces.Schema
	switch {
	case s == nil || c.Merge != nil || len(c.Adds) == 0,
		replaced && s.FitsReplaced(c.Schema),
		!replaced && s.Fits(c.Schema, c.Adds):
		return out, nil
	}
	again := *c
	again.Schema, again.Adds, again.NeedsSQL = delta.Unnamed(c.Schema), nil, nil
	tx, err := t.begin(s, &again)
	if err != nil {
		return out, err
	}
	wc := tx.WriteContext()
	if out.adds, err = s.Rewrite(ctx, c.Schema, c.Adds, wc); err != nil {
		return out, fmt.Errorf("table %s: %w", t.name, err)
	}
	again.Schema, again.Adds, again.NeedsSQL = wc.Schema, out.adds, c.NeedsSQL
	out.change = &again
	return out, nil
}

// discard removes the files that were written for a commit which did not use them, as far as it can.
func (f fitted) discard(ctx context.Context) {
	for _, a := range f.adds {
		_ = f.store.Delete(context.WithoutCancel(ctx), a.Path, objstore.Cond{})
	}
}
