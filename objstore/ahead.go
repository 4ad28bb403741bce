package objstore

import (
	"bytes"
	"context"
	"io"
	"sync"
)

const (
	aheadMost  = 1 << 20  // bytes of an object that is read ahead
	aheadBytes = 32 << 20 // of all objects that are read ahead and not opened yet
	aheadCount = 32       // objects after the one that is opened
)

// Ahead is a Store whose small objects are read before they are opened: when one of a list is, so are
// those that follow it there. A store that is far away answers many requests at once as fast as one.
type Ahead struct {
	Store
	list []Object
	at   map[string]int // index in list, by key

	ctx    context.Context // of NewAhead: reading goes on between two calls of Open
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	read   []*aheadRead // by index; nil: not begun
	opened []int        // how often each was
	bytes  int64
}

// aheadRead is an object on its way.
type aheadRead struct {
	done    chan struct{} // closed when the others are set
	content []byte
	object  Object
	err     error
}

// NewAhead returns an Ahead for objects that are opened in about the order of the list. Close ends it.
func NewAhead(ctx context.Context, s Store, list []Object) *Ahead {
	a := &Ahead{Store: s, list: list, at: make(map[string]int, len(list)), read: make([]*aheadRead, len(list)), opened: make([]int, len(list))}
	a.ctx, a.cancel = context.WithCancel(ctx)
	for i, o := range list {
		a.at[o.Key] = i
	}
	return a
}

// Close ends all reading ahead, and waits for it.
func (a *Ahead) Close() {
	a.cancel()
	a.wg.Wait()
}

// Open implements [Store].
func (a *Ahead) Open(ctx context.Context, key string, r Range) (io.ReadCloser, Object, error) {
	i, ok := a.at[key]
	if !ok || r.Off > 0 || r.Len > 0 || r.IfMatch != a.list[i].ETag {
		return a.Store.Open(ctx, key, r)
	}
	read := a.take(i)
	if read == nil {
		return a.Store.Open(ctx, key, r)
	}
	select {
	case <-read.done:
	case <-ctx.Done():
		return nil, Object{}, context.Cause(ctx)
	}
	if read.err != nil {
		return a.Store.Open(ctx, key, r) // which says what is wrong, if it still is
	}
	return io.NopCloser(bytes.NewReader(read.content)), read.object, nil
}

// take hands an object out that is on its way, or nil, and begins to read those after it that were not
// opened as often.
func (a *Ahead) take(i int) *aheadRead {
	a.mu.Lock()
	defer a.mu.Unlock()
	read, times := a.read[i], a.opened[i]
	a.read[i] = nil
	a.opened[i]++
	if read != nil {
		a.bytes -= a.list[i].Size
	}
	for j := i + 1; j < min(i+1+aheadCount, len(a.list)); j++ {
		size := a.list[j].Size
		if a.read[j] != nil || a.opened[j] > times || size > aheadMost {
			continue
		}
		if a.bytes+size > aheadBytes {
			break
		}
		a.bytes += size
		next := &aheadRead{done: make(chan struct{})}
		a.read[j] = next
		a.wg.Go(func() {
			defer close(next.done)
			next.fetch(a.ctx, a.Store, a.list[j])
		})
	}
	return read
}

func (r *aheadRead) fetch(ctx context.Context, s Store, o Object) {
	body, object, err := s.Open(ctx, o.Key, Range{IfMatch: o.ETag})
	if err != nil {
		r.err = err
		return
	}
	content := bytes.NewBuffer(make([]byte, 0, o.Size+bytes.MinRead))
	_, r.err = content.ReadFrom(body)
	_ = body.Close()
	r.content, r.object = content.Bytes(), object
}
