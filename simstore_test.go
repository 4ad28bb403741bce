package silt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/siltlake/silt/objstore"
)

// verdict is what becomes of one call of a store.
type verdict int

const (
	pass       verdict = iota
	dropped            // not done, and the answer is an error
	slow               // not done, and the answer is an error after a while
	denied             // not done, and the answer is that the caller may not
	lost               // done, and the answer is an error
	slowLost           // the same, after a while
	slowDone           // done, and answered after a while
	resent             // done, and the answer is that the condition does not hold: something on the way sent it again
	late               // the answer is an error, and it is done later
	cut                // the answer ends in its middle
	killBefore         // not done, and the process is gone
	killAfter          // done, and the process is gone
	killLate           // done later, and the process is gone
	verdicts
)

func (v verdict) String() string {
	return [...]string{"pass", "dropped", "slow", "denied", "lost", "slow_and_lost", "slow", "resent", "late", "cut",
		"kill_before", "kill_after", "kill_late"}[v]
}

func (v verdict) kills() bool { return v >= killBefore }

// fits reports whether v is another thing than pass and dropped for a call.
func (v verdict) fits(c simCall) bool {
	switch v {
	case lost, slowLost, late, killAfter, killLate:
		return c.writes()
	case resent:
		return c.cond && c.op == "put"
	case cut:
		return !c.writes()
	}
	return true
}

var (
	errFault = errors.New("fault on purpose")
	errGone  = errors.New("the process is gone")
)

// longCall is how long a slow call takes: longer than a lease, and no multiple of its renewal.
const longCall = 41_300 * time.Millisecond

// simCall is one call of a store, before it is done.
type simCall struct {
	by   *process
	op   string // open, read (of the rest of a body), list (of a page), put, copy, delete
	key  string // with its bucket
	cond bool
}

func (c simCall) writes() bool { return c.op == "put" || c.op == "copy" || c.op == "delete" }

// process is one run of a loader, or somebody else who uses the stores. Judge is asked about each call;
// nil lets all pass.
type process struct {
	name  string
	cloud *cloud
	judge func(simCall) verdict
	later func(func()) // takes what lands late
	// lease, when set, is where this process has its lease: it then meets nobody.
	lease string
	page  int // objects of one page of a listing
	dead  atomic.Bool
	kill  context.CancelFunc
}

// do carries out one call. Act may be carried out late, or never.
func (p *process) do(ctx context.Context, c simCall, act func() error) (verdict, error) {
	switch {
	case p.dead.Load():
		return pass, errGone
	case ctx.Err() != nil:
		return pass, ctx.Err()
	case p.judge == nil:
		return pass, act()
	}
	c.by = p
	v := p.judge(c)
	if p.dead.Load() {
		return v, errGone
	}
	if v == slow || v == slowLost || v == slowDone {
		t := time.NewTimer(longCall)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		if p.dead.Load() {
			return v, errGone
		}
	}
	switch v {
	case dropped, slow:
		return v, errFault
	case denied:
		return v, fmt.Errorf("%w: %w", errFault, objstore.ErrPermission)
	case lost, slowLost:
		_ = act()
		return v, errFault
	case resent:
		if err := act(); err != nil {
			return v, err
		}
		return v, fmt.Errorf("%w: %w", errFault, objstore.ErrPrecondition)
	case late:
		p.later(func() { _ = act() })
		return v, errFault
	case killBefore, killAfter, killLate:
		if v == killAfter {
			_ = act()
		} else if v == killLate {
			p.later(func() { _ = act() })
		}
		p.die()
		return v, errGone
	}
	return v, act()
}

func (p *process) die() {
	p.dead.Store(true)
	p.kill()
}

// cloud is what all processes share.
type cloud struct {
	mem  objstore.Mem
	skew time.Duration            // of the clock of the store
	aged map[string]time.Duration // how much older than its put an object looks
	bug  canary
	// taken is told of each object that a process is about to take away.
	taken func(c simCall, etag string)
}

// canary is a bug: a rule that does not hold.
type canary struct {
	name string
	// lax says of which calls the condition is ignored.
	lax func(simCall) bool
	// read changes what processes read.
	read func(c simCall, content []byte) []byte
	// wrote is told of what is put.
	wrote func(c *cloud, key string)
	// answer changes the verdict of a call that had its effect or not.
	answer func(c *cloud, call simCall, v verdict, err error) error
}

// etag is that of the object that is there.
func (c *cloud) etag(key string) (string, error) {
	r, o, err := c.mem.Open(context.Background(), key, objstore.Range{})
	if err != nil {
		return "", err
	}
	return o.ETag, r.Close()
}

func (c *cloud) seen(o objstore.Object) objstore.Object {
	o.ModTime = o.ModTime.Add(c.skew - c.aged[o.Key])
	return o
}

func (c *cloud) cond(call simCall, cond objstore.Cond) objstore.Cond {
	if c.bug.lax != nil && c.bug.lax(call) {
		return objstore.Cond{}
	}
	return cond
}

// at is a location as a process sees it.
func (p *process) at(location string) objstore.Store {
	return view{p, strings.TrimPrefix(location, "s3://") + "/"}
}

type view struct {
	*process
	prefix string
}

func (v view) name(key string) string {
	if v.process.lease != "" && key == "lease" {
		return v.prefix + v.process.lease
	}
	return v.prefix + key
}

func (v view) own(o objstore.Object) objstore.Object {
	o.Key = strings.TrimPrefix(o.Key, v.prefix)
	return o
}

// Open implements [objstore.Store].
func (v view) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	call := simCall{op: "open", key: v.name(key), cond: r.IfMatch != ""}
	var content []byte
	var o objstore.Object
	is, err := v.do(ctx, call, func() error {
		r := r
		r.IfMatch = v.cloud.cond(call, objstore.Cond{IfMatch: r.IfMatch}).IfMatch
		body, there, err := v.cloud.mem.Open(context.Background(), call.key, r)
		if err != nil {
			return err
		}
		o = v.cloud.seen(there)
		content, err = io.ReadAll(body)
		if v.cloud.bug.read != nil && v.judge != nil {
			content = v.cloud.bug.read(call, content)
			o.Size = int64(len(content))
		}
		return err
	})
	if err != nil {
		return nil, objstore.Object{}, fmt.Errorf("%s: %w", key, err)
	}
	b := &body{ctx: ctx, view: v, object: o, rest: content}
	if is == cut {
		b.broken = len(content) / 2
		b.cut = true
	}
	return b, v.own(o), nil
}

// body is the content of an object on its way. When it is cut, the store asks for the rest, as long as
// it is of the same version.
type body struct {
	ctx    context.Context // of Open
	view   view
	object objstore.Object
	rest   []byte
	cut    bool
	broken int // bytes before the cut
	err    error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.cut && b.broken == 0 {
		call := simCall{op: "read", key: b.object.Key, cond: true}
		var is verdict
		is, b.err = b.view.do(b.ctx, call, func() error {
			body, _, err := b.view.cloud.mem.Open(context.Background(), b.object.Key, objstore.Range{IfMatch: b.object.ETag})
			if err == nil {
				err = body.Close()
			}
			return err
		})
		if b.err == nil && is == cut {
			b.err = errFault
		}
		if b.err != nil {
			return 0, b.err
		}
		b.cut = false
	}
	if b.cut {
		p = p[:min(len(p), b.broken)]
	}
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	b.broken -= n
	return n, nil
}

func (b *body) Close() error { return nil }

// Put implements [objstore.Store].
func (v view) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (objstore.Object, error) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return objstore.Object{}, err
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return objstore.Object{}, err
	}
	call := simCall{by: v.process, op: "put", key: v.name(key), cond: cond != objstore.Cond{}}
	var o objstore.Object
	is, err := v.do(ctx, call, func() error {
		there, err := v.cloud.mem.Put(context.Background(), call.key, bytes.NewReader(content), v.cloud.cond(call, cond))
		if err == nil {
			o = v.cloud.seen(there)
			if v.cloud.bug.wrote != nil && v.judge != nil {
				v.cloud.bug.wrote(v.cloud, call.key)
			}
		}
		return err
	})
	if v.cloud.bug.answer != nil && v.judge != nil {
		err = v.cloud.bug.answer(v.cloud, call, is, err)
	}
	if err != nil {
		return objstore.Object{}, fmt.Errorf("%s: %w", key, err)
	}
	return v.own(o), nil
}

// List implements [objstore.Store].
func (v view) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		call := simCall{op: "list", key: v.prefix + prefix}
		after := ""
		if startAfter != "" {
			after = v.prefix + startAfter
		}
		for {
			var page []objstore.Object
			is, err := v.do(ctx, call, func() error {
				for o, err := range v.cloud.mem.List(context.Background(), call.key, after) {
					if err != nil {
						return err
					}
					if page = append(page, v.cloud.seen(o)); len(page) == v.page {
						break
					}
				}
				return nil
			})
			whole := page
			if is == cut && err == nil {
				page, err = page[:len(page)/2], errFault
			}
			for _, o := range page {
				if !yield(v.own(o), nil) {
					return
				}
			}
			if err != nil {
				yield(objstore.Object{}, err)
				return
			}
			if len(whole) < v.page {
				return
			}
			after = whole[len(whole)-1].Key
		}
	}
}

// Delete implements [objstore.Store].
func (v view) Delete(ctx context.Context, key string, cond objstore.Cond) error {
	call := simCall{by: v.process, op: "delete", key: v.name(key), cond: cond != objstore.Cond{}}
	_, err := v.do(ctx, call, func() error {
		cond := v.cloud.cond(call, cond)
		if there, err := v.cloud.etag(call.key); err == nil && v.cloud.taken != nil && (cond.IfMatch == "" || cond.IfMatch == there) {
			v.cloud.taken(call, there)
		}
		return v.cloud.mem.Delete(context.Background(), call.key, cond)
	})
	return err
}

// CopyFrom implements [objstore.Copier].
func (v view) CopyFrom(ctx context.Context, key string, from objstore.Store, o objstore.Object) (objstore.Object, error) {
	source, ok := from.(view)
	if !ok {
		return objstore.Object{}, errors.ErrUnsupported
	}
	call := simCall{by: v.process, op: "copy", key: v.name(key), cond: true}
	var copied objstore.Object
	_, err := v.do(ctx, call, func() error {
		body, _, err := v.cloud.mem.Open(context.Background(), source.name(o.Key), objstore.Range{IfMatch: o.ETag})
		if err != nil {
			return err
		}
		content, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		there, err := v.cloud.mem.Put(context.Background(), call.key, bytes.NewReader(content), v.cloud.cond(call, objstore.Cond{IfAbsent: true}))
		copied = v.cloud.seen(there)
		return err
	})
	return v.own(copied), err
}
