package s3store

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/objstore"
)

const (
	// spansAhead is how many spans are listed at once, at most; spansAtFirst is how many before it is
	// known how large they are.
	spansAhead, spansAtFirst = 16, 4
	// pagesOfSpan is how many pages each span may hold; pagesShared is how many more all of them may.
	// A page has 1,000 objects of some 200 bytes.
	pagesOfSpan, pagesShared = 4, 64
)

// A listing hands out the keys below a prefix in their order while it asks for those that follow.
//
// The keys are cut into spans. A span is all keys after one and up to another, whether or not there is
// such a key, so that the spans together are all keys, wherever they are cut and whatever comes and
// goes meanwhile. Each is listed page by page; where it is cut decides only how many requests that
// takes. The places are names of folders, which a listing with a delimiter tells ([listing.cuts]).
//
// A page does not end where its span ends. When it goes beyond, and no one lists the next span yet, it
// becomes part of this one; so small spans cost no more requests than one listing would. How many
// spans are listed at once grows by one with each that is large, and halves with each that is small.
type listing struct {
	store  *Store
	prefix string

	mu     sync.Mutex
	change *sync.Cond // of anything below
	spans  []*span    // in the order of keys; the first is handed out
	window int        // of how many spans, from the first, pages are asked for
	held   int        // pages in memory, or asked for
	pages  int        // ever
	asked  int        // requests for folders
	// knows has the levels whose last folder is known; silent is a store that tells no folders.
	knows  map[string]bool
	silent bool

	start func(*span) // begins to list a span
}

// span is the keys from a place up to an end.
type span struct {
	at  place
	end string // empty: the end of all
	// level is more than the lengths of the levels by whose folders the span cannot be cut any more.
	level int

	started, over bool
	pages         []page // that are to be handed out
	held          int    // those, and the one that is asked for
	inside        int    // pages since the last end
}

func newListing(s *Store, prefix string) *listing {
	l := &listing{store: s, prefix: prefix, window: spansAtFirst, knows: map[string]bool{}}
	l.change = sync.NewCond(&l.mu)
	return l
}

// ahead hands out all spans. It returns when no goroutine of it is left.
func (l *listing) ahead(ctx context.Context, yield func(objstore.Object, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	defer func() { // whoever stops early wants to know nothing more
		cancel()
		_ = g.Wait()
	}()
	g.Go(func() error {
		<-ctx.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.change.Broadcast()
		return nil
	})
	l.start = func(sp *span) { g.Go(func() error { return l.list(ctx, sp) }) }
	for {
		p, ok := l.take(ctx)
		if !ok {
			break
		}
		for _, o := range p.objects {
			if !yield(o, nil) {
				return
			}
		}
	}
	cancel()
	if err := cmp.Or(g.Wait(), context.Cause(ctx)); len(l.spans) > 0 {
		yield(objstore.Object{}, err)
	}
}

// take waits for the next page. There is none after the last, and none after an error; then spans are left.
func (l *listing) take(ctx context.Context) (p page, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ctx.Err() == nil && len(l.spans) > 0 {
		l.startSpans()
		first := l.spans[0]
		switch {
		case len(first.pages) > 0:
			p, first.pages = first.pages[0], first.pages[1:]
			l.hold(first, -1)
			return p, true
		case first.over:
			l.spans = l.spans[1:]
			l.change.Broadcast()
		default:
			l.change.Wait()
		}
	}
	return page{}, false
}

// hold counts pages of a span. The caller holds the lock.
func (l *listing) hold(sp *span, n int) {
	sp.held += n
	l.held += n
	l.change.Broadcast()
}

// startSpans begins to list what is in the window. The caller holds the lock.
func (l *listing) startSpans() {
	for _, sp := range l.spans[:min(l.window, len(l.spans))] {
		if !sp.started {
			sp.started = true
			l.start(sp)
		}
	}
}

// list asks for the pages of a span, one after the other.
func (l *listing) list(ctx context.Context, sp *span) error {
	for {
		if err := l.turn(ctx, sp); err != nil {
			return err
		}
		p, err := l.page(ctx, sp.at)
		if err != nil {
			return err
		}
		switch inside := l.add(sp, p); {
		case sp.over:
			return nil
		case inside:
			if ends, level := l.cuts(ctx, sp, p); len(ends) > 0 {
				l.mu.Lock()
				l.cut(sp, ends, level)
				l.startSpans()
				l.mu.Unlock()
			}
		}
	}
}

// turn waits until there is room for a page of the span. Each has some of its own; of the room that all
// share, the earlier get more, because they are handed out first.
func (l *listing) turn(ctx context.Context, sp *span) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ctx.Err() == nil {
		i := slices.Index(l.spans, sp)
		if sp.held < pagesOfSpan || i < spansAhead && l.held < pagesOfSpan*spansAhead+pagesShared*(spansAhead-i)/spansAhead {
			l.hold(sp, 1)
			return nil
		}
		l.change.Wait()
	}
	return context.Cause(ctx)
}

// add takes a page of a span in, and reports whether all of it lies inside.
func (l *listing) add(sp *span, p page) (inside bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sp.inside++
	sp.at = p.next
	listed := len(p.objects)
	used := listed
	inside = true
	for sp.end != "" && (!p.more || p.last() > sp.end) {
		if inside { // the first end that the page goes beyond
			inside = false
			used = sort.Search(len(p.objects), func(i int) bool { return p.objects[i].Key > sp.end })
		}
		next := slices.Index(l.spans, sp) + 1
		if l.spans[next].started {
			sp.over = true
			p.objects = p.objects[:sort.Search(len(p.objects), func(i int) bool { return p.objects[i].Key > sp.end })]
			break
		}
		sp.end, sp.level = l.spans[next].end, min(sp.level, l.spans[next].level)
		l.spans = slices.Delete(l.spans, next, next+1)
	}
	if sp.end == "" && !p.more {
		sp.over = true
	}
	switch {
	case !inside && sp.inside == 1:
		l.window = max(1, l.window/2)
	case sp.inside == 2 && (inside || used >= listed/3):
		l.window = min(spansAhead, l.window+1)
	}
	if !inside {
		sp.inside = 0
	}
	sp.pages = append(sp.pages, p)
	l.startSpans()
	l.change.Broadcast()
	return inside
}
