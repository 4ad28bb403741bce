package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
)

const (
	nextDoctor  = "silt doctor"
	nextUpgrade = "install a newer silt"

	putTries = 8
)

func name(kind string, n int64) string { return kind + "/" + strconv.FormatInt(n, 10) }

// put writes an object that must be absent, and reports whether it is this content that is there now.
//
// Only two answers of the store say what happened: stored, and refused. After any other one the object
// is read. When it is not there, it may still arrive, so the same content is put again, and never
// another under the same name as long as this call runs.
func (l *Log) put(ctx context.Context, object string, content []byte) (ours bool, err error) {
	if l.lease != nil {
		if err := l.lease.hold(ctx); err != nil {
			return false, err
		}
	}
	for try := range putTries {
		if try > 0 {
			if err := pause(ctx, try); err != nil {
				return false, err
			}
		}
		if _, err = objstore.PutBytes(ctx, l.store, l.prefix+object, content, objstore.Cond{IfAbsent: true}); err == nil {
			return true, nil
		}
		there, _, readErr := objstore.ReadAll(ctx, l.store, l.prefix+object)
		if readErr == nil {
			return bytes.Equal(there, content), nil
		}
		if ctx.Err() != nil || errors.Is(err, objstore.ErrPermission) {
			break
		}
	}
	return false, fmt.Errorf("write %s: %w", object, err)
}

// pause waits longer with each try, at random, so that loaders do not meet again.
func pause(ctx context.Context, try int) error {
	most := min(10*time.Millisecond<<try, 2*time.Second)
	t := time.NewTimer(most/2 + rand.N(most/2))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// exists asks for the object itself: a listing may be old.
func (l *Log) exists(ctx context.Context, object string) (bool, error) {
	r, _, err := l.store.Open(ctx, l.prefix+object, objstore.Range{Len: 1})
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read %s: %w", object, err)
	}
	return true, r.Close()
}

// read returns the content of an object, and whether it is there. One that is torn counts as absent,
// and is removed, when none of those that would follow it exists: then its put never returned, and
// nobody has acted on it. If one does, it was whole once, and the store has lost a part of it.
func (l *Log) read(ctx context.Context, object string, followers ...string) ([]byte, Known, error) {
	content, o, err := objstore.ReadAll(ctx, l.store, l.prefix+object)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, Absent, nil
	}
	if err != nil {
		return nil, Unknown, fmt.Errorf("read %s: %w", object, err)
	}
	if _, _, err = decode(content); err == nil {
		return content, Have, nil
	}
	if !errors.Is(err, errTorn) || l.lease == nil {
		return nil, Unknown, l.broken(object, err)
	}
	for _, f := range followers {
		there, err := l.exists(ctx, f)
		if err != nil {
			return nil, Unknown, err
		}
		if there {
			return nil, Unknown, &StateError{object, errTorn.Error() + ", and " + f + " is there", nextDoctor}
		}
	}
	if err := l.lease.hold(ctx); err != nil {
		return nil, Unknown, err
	}
	err = l.store.Delete(ctx, l.prefix+object, objstore.Cond{IfMatch: o.ETag})
	if err != nil && !errors.Is(err, objstore.ErrNotExist) {
		return nil, Unknown, fmt.Errorf("remove the torn %s: %w", object, err)
	}
	return nil, Absent, nil
}

// broken is the error of an object that cannot be read.
func (l *Log) broken(object string, err error) error {
	if f := formatError(0); errors.As(err, &f) {
		return &StateError{object, f.Error(), nextUpgrade}
	}
	return &StateError{object, err.Error(), nextDoctor}
}

// locate finds the greatest batch that has a plan, and checks that what is below it is whole. The
// listing is only a hint: a name it lacks is asked for.
func (l *Log) locate(ctx context.Context) error {
	plans, err := l.ids(ctx, "offsets")
	if err != nil {
		return err
	}
	closed, err := l.ids(ctx, "commits")
	if err != nil {
		return err
	}
	if l.runs, _, err = l.findRuns(ctx); err != nil {
		return err
	}
	held := int64(0) // by runs, so that objects of batches below may be gone
	if len(l.runs) > 0 {
		held = l.runs[len(l.runs)-1].Last + 1
	}
	l.last = held - 1
	for n := range plans {
		l.last = max(l.last, n)
	}
	for {
		there, err := l.exists(ctx, name("offsets", l.last+1))
		if err != nil {
			return err
		}
		if !there {
			break
		}
		l.last++
	}
	for n := held; n < l.last; n++ {
		for _, listed := range []struct {
			kind string
			ids  map[int64]bool
		}{{"offsets", plans}, {"commits", closed}} {
			if listed.ids[n] {
				continue
			}
			there, err := l.exists(ctx, name(listed.kind, n))
			if err != nil {
				return err
			}
			if !there {
				return &StateError{name(listed.kind, n), "it is missing, and " + name("offsets", l.last) + " is there", nextDoctor}
			}
		}
	}
	for n := range closed {
		if n > l.last {
			return &StateError{name("offsets", n), "it is missing, and " + name("commits", n) + " is there", nextDoctor}
		}
	}
	l.at = max(l.last, 0)
	if l.at > 0 {
		content, err := l.mustRead(ctx, name("offsets", l.at-1))
		if err != nil {
			return err
		}
		l.parent = digest(content)
	}
	return nil
}

// ids lists the numbers of the objects of a kind.
func (l *Log) ids(ctx context.Context, kind string) (map[int64]bool, error) {
	ids := map[int64]bool{}
	prefix := l.prefix + kind + "/"
	for o, err := range l.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind, err)
		}
		if n, err := strconv.ParseInt(strings.TrimPrefix(o.Key, prefix), 10, 64); err == nil && n >= 0 {
			ids[n] = true
		}
	}
	return ids, nil
}
