package source

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/objstore"
)

// Hinted is the part of a store that has the objects under some keys and no others. [Discover] looks at
// it as it looks at a whole store, so that a hint of a file decides no more than where to look.
type Hinted struct {
	objstore.Store
	keys    []string
	objects []objstore.Object // as the last listing met them
}

// NewHinted returns the part of a store with the objects under keys.
func NewHinted(store objstore.Store, keys []string) *Hinted {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	return &Hinted{Store: store, keys: slices.Compact(keys)}
}

// Objects are those that the last listing met, in the order of their keys.
func (h *Hinted) Objects() []objstore.Object { return h.objects }

// hintedAtOnce is how many objects are asked for at the same time.
const hintedAtOnce = 32

// List implements [objstore.Store]. It asks for each object; one that is not there is passed over.
func (h *Hinted) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		met := make([]objstore.Object, len(h.keys)) // without a key: not there
		refused := make([]error, len(h.keys))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(hintedAtOnce)
		for i, key := range h.keys {
			if !strings.HasPrefix(key, prefix) || startAfter != "" && key <= startAfter {
				continue
			}
			g.Go(func() (err error) {
				met[i], err = h.stat(ctx, key)
				if oe := (*objstore.ObjectError)(nil); errors.As(err, &oe) {
					refused[i], err = err, nil
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			yield(objstore.Object{}, err)
			return
		}
		h.objects = nil
		for i, o := range met {
			if refused[i] == nil && o.Key == "" {
				continue
			}
			if refused[i] == nil {
				h.objects = append(h.objects, o)
			}
			if !yield(o, refused[i]) {
				return
			}
		}
	}
}

// stat is the object under a key, or none. Whoever may list an object may not be allowed to read it, and
// then a listing has the last word: what it shows is found, and fails when it is read.
func (h *Hinted) stat(ctx context.Context, key string) (objstore.Object, error) {
	r, o, err := h.Open(ctx, key, objstore.Range{Len: 1})
	switch {
	case err == nil:
		return o, r.Close()
	case errors.Is(err, objstore.ErrNotExist):
		return objstore.Object{}, nil
	case ctx.Err() != nil:
		return objstore.Object{}, err
	}
	for o, err := range h.Store.List(ctx, key, "") {
		switch oe := (*objstore.ObjectError)(nil); {
		case errors.As(err, &oe):
			if oe.Key == key {
				return objstore.Object{}, err
			}
		case err != nil || o.Key == key:
			return o, err
		case o.Key > key:
			return objstore.Object{}, nil
		}
	}
	return objstore.Object{}, nil
}
