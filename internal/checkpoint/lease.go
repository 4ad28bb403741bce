package checkpoint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
)

const (
	leaseTTL = 30 * time.Second
	// A lease that ends later than this from now was written by a clock that is wrong, here or there,
	// and would keep everybody out for as long as it is.
	leaseDoubt = 10 * time.Minute
)

// leaseBody is the lease object. It is the only one that is ever written over.
type leaseBody struct {
	Epoch  int64  `json:"epoch"` // grows by one with each holder
	Owner  string `json:"owner"` // host:pid
	Holder string `json:"holder"`
	// Until is when the lease ends if it is not renewed; zero when it was given back.
	Until time.Time `json:"until,omitzero"`
	// Attempts counts the starts of Convert for the batch at hand.
	Attempts map[int64]int `json:"attempts,omitempty"`
}

// lease is held from take to release. It keeps two loaders from doing the same work; that they do no
// harm rests on the create-once objects alone, so no clock has to be right.
type lease struct {
	store objstore.Store
	key   string
	clock func() time.Time

	turn    // guards what is below
	body    leaseBody
	extra   map[string]json.RawMessage // fields a newer silt wrote
	etag    string
	renewed time.Time
	lost    *HeldError

	stop func()        // ends the renewal
	done chan struct{} // closed when it has ended
	// gone is cancelled, with a *HeldError as its cause, when another process takes the lease over.
	gone context.Context
}

// take takes the lease and renews it until release, or the end of ctx.
func take(ctx context.Context, store objstore.Store, key, holder, owner string, clock func() time.Time) (*lease, error) {
	l := &lease{store: store, key: key, clock: clock, turn: newTurn(), done: make(chan struct{})}
	err := l.acquire(ctx, holder, owner)
	// What was lost to a put that came in between, such as a late one of the holder before, may be free.
	for try := 1; try < 4 && isFree(err, owner, clock()); try++ {
		err = l.acquire(ctx, holder, owner)
	}
	if err != nil {
		return nil, err
	}
	renewal, stop := context.WithCancel(ctx)
	gone, lose := context.WithCancelCause(context.WithoutCancel(ctx))
	l.stop, l.gone = stop, gone
	go l.renew(renewal, lose)
	return l, nil
}

func isFree(err error, owner string, now time.Time) bool {
	h := (*HeldError)(nil)
	return errors.As(err, &h) && !held(leaseBody{Owner: h.Owner, Until: h.Until}, owner, now)
}

// acquire writes the lease if nobody holds it.
func (l *lease) acquire(ctx context.Context, holder, owner string) error {
	cond := objstore.Cond{IfAbsent: true}
	switch body, extra, o, err := readLease(ctx, l.store, l.key); {
	case errors.Is(err, objstore.ErrNotExist):
	case errors.Is(err, errTorn):
		cond = objstore.Cond{IfMatch: o.ETag}
	case err != nil:
		return err
	case held(body, owner, l.clock()):
		return &HeldError{Owner: body.Owner, Epoch: body.Epoch, Until: body.Until}
	default:
		l.body, l.extra = body, extra
		cond = objstore.Cond{IfMatch: o.ETag}
	}
	l.body.Epoch++
	l.body.Holder, l.body.Owner = holder, owner
	return l.write(ctx, cond)
}

// held reports whether somebody is still at work.
func held(b leaseBody, owner string, now time.Time) bool {
	if !b.Until.After(now) || b.Until.Sub(now) > leaseDoubt {
		return false
	}
	host, pid, ok := cutLast(b.Owner, ":")
	ours, _, _ := cutLast(owner, ":")
	id, err := strconv.Atoi(pid)
	return !ok || host != ours || err != nil || !pidGone(id)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (l *lease) renew(ctx context.Context, lose context.CancelCauseFunc) {
	defer close(l.done)
	tick := time.NewTicker(leaseTTL / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		if ctx.Err() != nil { // a tick may have come too
			return
		}
		// An answer other than "lost" may be different next time, and hold stops who must not wait.
		var held *HeldError
		if errors.As(l.update(ctx, func(*leaseBody) {}), &held) {
			lose(held)
			return
		}
	}
}

// hold returns nil while the lease is ours. It is called before every write, because the process may
// have been stopped for an hour since the last one.
func (l *lease) hold(ctx context.Context) error {
	if err := l.lock(ctx); err != nil {
		return err
	}
	now, lost := l.clock(), l.lost
	// Two clocks: one of them may have slept with the machine, the other may have been set.
	lapsed := max(now.Sub(l.renewed), now.Round(0).Sub(l.renewed.Round(0))) >= leaseTTL
	l.unlock()
	switch {
	case lost != nil:
		return lost
	case lapsed:
		return l.update(ctx, func(*leaseBody) {})
	}
	return nil
}

// attempt counts a start of Convert and returns the count.
func (l *lease) attempt(ctx context.Context, batch int64) (int, error) {
	n := 0
	err := l.update(ctx, func(b *leaseBody) {
		n = b.Attempts[batch] + 1
		b.Attempts = map[int64]int{batch: n}
	})
	return n, err
}

// update changes the lease and renews it.
func (l *lease) update(ctx context.Context, change func(*leaseBody)) error {
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.unlock()
	if l.lost != nil {
		return l.lost
	}
	change(&l.body)
	return l.write(ctx, objstore.Cond{IfMatch: l.etag})
}

// write puts the lease if cond holds. A lost answer is settled by reading: what is there is ours when
// it names our holder. The caller has the lock.
func (l *lease) write(ctx context.Context, cond objstore.Cond) error {
	now := l.clock()
	l.body.Until = now.Add(leaseTTL)
	return l.put(ctx, cond, now)
}

func (l *lease) put(ctx context.Context, cond objstore.Cond, now time.Time) error {
	content, err := l.encode()
	if err != nil {
		return err
	}
	for range 3 {
		var o objstore.Object
		if o, err = objstore.PutBytes(ctx, l.store, l.key, content, cond); err == nil {
			l.etag, l.renewed = o.ETag, now
			return nil
		}
		there, _, o, readErr := readLease(ctx, l.store, l.key)
		switch {
		case errors.Is(readErr, objstore.ErrNotExist):
			cond = objstore.Cond{IfAbsent: true}
			continue
		case readErr != nil:
			return fmt.Errorf("write lease: %w", cmp.Or(ctx.Err(), err))
		case there.Holder != l.body.Holder && !there.Until.After(now) && !isUnmet(err):
			return fmt.Errorf("write lease: %w", err) // nobody has it, and it cannot be written
		case there.Holder != l.body.Holder:
			lost := &HeldError{Owner: there.Owner, Epoch: there.Epoch, Until: there.Until, Lost: l.etag != ""}
			if lost.Lost {
				l.lost = lost
			}
			return lost
		}
		// Ours: this put, or one whose answer was lost earlier, and then this one is to be repeated.
		l.etag = o.ETag
		cond = objstore.Cond{IfMatch: o.ETag}
		if there.Until.Equal(l.body.Until) && maps.Equal(there.Attempts, l.body.Attempts) {
			l.renewed = now
			return nil
		}
	}
	return fmt.Errorf("write lease: %w", err)
}

// isUnmet reports whether a put found another version than it was to replace. A store may say that there is none
// when another put of the object is under way.
func isUnmet(err error) bool {
	return errors.Is(err, objstore.ErrPrecondition) || errors.Is(err, objstore.ErrNotExist)
}

// release ends the renewal and gives the lease back, so that the next process need not wait.
func (l *lease) release(ctx context.Context) error {
	l.stop()
	<-l.done
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.unlock()
	if l.lost != nil {
		return nil
	}
	l.body.Until = time.Time{}
	err := l.put(ctx, objstore.Cond{IfMatch: l.etag}, l.clock())
	if l.lost != nil {
		return nil
	}
	return err
}

// encode is the lease with the fields that this silt does not know.
func (l *lease) encode() ([]byte, error) {
	text, err := headed[leaseBody]{Body: l.body}.MarshalJSON()
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSuffix(text, []byte("}"))
	for _, name := range slices.Sorted(maps.Keys(l.extra)) {
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		text = fmt.Appendf(text, ",%s:%s", quoted, l.extra[name])
	}
	return encode(json.RawMessage(append(text, '}')))
}

func readLease(ctx context.Context, store objstore.Store, key string) (leaseBody, map[string]json.RawMessage, objstore.Object, error) {
	content, o, err := objstore.ReadAll(ctx, store, key)
	if err != nil {
		return leaseBody{}, nil, o, err
	}
	body, err := decodeHead[leaseBody](content)
	if err != nil {
		return leaseBody{}, nil, o, fmt.Errorf("lease: %w", err)
	}
	extra, err := decodeHead[map[string]json.RawMessage](content)
	for _, name := range []string{"format", "epoch", "owner", "holder", "until", "attempts"} {
		delete(extra, name)
	}
	return body, extra, o, err
}
