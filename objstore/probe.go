package objstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Check is one promise of a store, tried out.
type Check struct {
	Name string
	Took time.Duration
	// Err is nil when the store keeps the promise.
	Err error
	// Needed tells that nothing may be written to a store that does not keep it.
	Needed bool
}

// ErrUnsafe marks the error of a Check that the store does not keep what it promises, as against a
// request that failed.
var ErrUnsafe = errors.New("the store is not safe to write to")

// maxSkew is how far the clocks of the store and of this machine may be apart.
const maxSkew = 5 * time.Minute

// Probe tries out, below prefix, what silt needs of a store, and removes what it has written. The first
// check that fails because a request did ends it.
func Probe(ctx context.Context, s Store, prefix string) []Check {
	p := &probe{store: s, prefix: prefix + "probe-" + rand.Text() + "/"}
	var all []Check
	for _, c := range []struct {
		name   string
		needed bool
		do     func(context.Context) error
	}{
		{"write and read", true, p.write},
		{"put if absent", true, p.ifAbsent},
		{"put if unchanged", true, p.ifMatch},
		{"list after write", true, p.list},
		{"ranges", true, p.ranges},
		{"delete if unchanged", false, p.deletes},
		{"clock", false, p.clock},
	} {
		began := time.Now()
		err := c.do(ctx)
		all = append(all, Check{c.name, time.Since(began), err, c.needed})
		if err != nil && !errors.Is(err, ErrUnsafe) {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, key := range slices.Sorted(maps.Keys(p.written)) {
		_ = s.Delete(ctx, key, Cond{})
	}
	return all
}

// Unsafe is the first of the checks that says that the store must not be written to; nil is none.
func Unsafe(checks []Check) error {
	for _, c := range checks {
		if c.Err != nil && c.Needed {
			return fmt.Errorf("%s: %w", c.Name, c.Err)
		}
	}
	return nil
}

type probe struct {
	store   Store
	prefix  string
	written map[string]bool
}

func (p *probe) put(ctx context.Context, name, content string, c Cond) (Object, error) {
	if p.written == nil {
		p.written = map[string]bool{}
	}
	p.written[p.prefix+name] = true
	return PutBytes(ctx, p.store, p.prefix+name, []byte(content), c)
}

func (p *probe) holds(ctx context.Context, name, want string) error {
	got, _, err := ReadAll(ctx, p.store, p.prefix+name)
	if err == nil && string(got) != want {
		err = unsafe("it returns other bytes than were written")
	}
	return err
}

func unsafe(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsafe, fmt.Sprintf(format, args...))
}

func (p *probe) write(ctx context.Context) error {
	if _, err := p.put(ctx, "a", "one", Cond{}); err != nil {
		return err
	}
	return p.holds(ctx, "a", "one")
}

const (
	probeRounds = 4
	probeRacers = 8
)

// ifAbsent puts one key twice, then from many sides at once: one of them must win, and stay.
func (p *probe) ifAbsent(ctx context.Context) error {
	switch _, err := p.put(ctx, "a", "two", Cond{IfAbsent: true}); {
	case err == nil:
		return unsafe("it ignores If-None-Match, so that two writers overwrite each other")
	case !errors.Is(err, ErrPrecondition):
		return err
	}
	if err := p.holds(ctx, "a", "one"); err != nil {
		return err
	}
	for round := range probeRounds {
		name := fmt.Sprintf("race-%d", round)
		winner, err := p.race(ctx, name, Cond{IfAbsent: true})
		if err == nil {
			err = p.holds(ctx, name, winner)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// race puts one key from many sides, and returns the content of the one that won. No two contents are
// the same, because their ETags could be.
func (p *probe) race(ctx context.Context, name string, c Cond) (string, error) {
	errs := make([]error, probeRacers)
	contents := make([]string, probeRacers)
	p.written[p.prefix+name] = true
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			contents[i] = rand.Text()
			_, errs[i] = PutBytes(ctx, p.store, p.prefix+name, []byte(contents[i]), c)
		})
	}
	wg.Wait()
	won, winner := 0, ""
	for i, err := range errs {
		switch {
		case err == nil:
			won, winner = won+1, contents[i]
		case !errors.Is(err, ErrPrecondition):
			return "", err
		}
	}
	if won != 1 {
		return "", unsafe("of %d writers at once %d were told that they won", probeRacers, won)
	}
	return winner, nil
}

func (p *probe) ifMatch(ctx context.Context) error {
	first, err := p.put(ctx, "b", "one", Cond{})
	if err != nil {
		return err
	}
	if _, err := p.put(ctx, "b", "two", Cond{IfMatch: first.ETag}); err != nil {
		return err
	}
	switch _, err := p.put(ctx, "b", "three", Cond{IfMatch: first.ETag}); {
	case err == nil:
		return unsafe("it ignores If-Match, so that two loaders can hold one lease")
	case !errors.Is(err, ErrPrecondition):
		return err
	}
	for range probeRounds {
		_, o, err := ReadAll(ctx, p.store, p.prefix+"b")
		if err != nil {
			return err
		}
		winner, err := p.race(ctx, "b", Cond{IfMatch: o.ETag})
		if err == nil {
			err = p.holds(ctx, "b", winner)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *probe) list(ctx context.Context) error {
	for _, name := range []string{"list/b", "list/a/b", "list/a-b"} {
		if _, err := p.put(ctx, name, name, Cond{}); err != nil {
			return err
		}
	}
	names := func(after string) (string, error) {
		var all []string
		for o, err := range p.store.List(ctx, p.prefix+"list/", after) {
			if err != nil {
				return "", err
			}
			all = append(all, strings.TrimPrefix(o.Key, p.prefix+"list/"))
		}
		return strings.Join(all, " "), nil
	}
	got, err := names("")
	if err != nil {
		return err
	}
	if got != "a-b a/b b" {
		return unsafe("it lists %q after these were written: a-b a/b b", got)
	}
	if got, err = names(p.prefix + "list/a-b"); err == nil && got != "a/b b" {
		err = unsafe("after a-b it lists %q, not a/b and b", got)
	}
	return err
}

func (p *probe) ranges(ctx context.Context) error {
	o, err := p.put(ctx, "range", "0123456789", Cond{})
	if err != nil {
		return err
	}
	r, _, err := p.store.Open(ctx, p.prefix+"range", Range{Off: 3, Len: 4, IfMatch: o.ETag})
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err = cmp.Or(err, r.Close()); err == nil && string(got) != "3456" {
		err = unsafe("asked for a range it returns %q", got)
	}
	if err != nil {
		return err
	}
	if r, _, err = p.store.Open(ctx, p.prefix+"range", Range{IfMatch: "another"}); err == nil {
		r.Close()
		return unsafe("it reads a version that was not asked for")
	}
	if !errors.Is(err, ErrPrecondition) {
		return err
	}
	return nil
}

func (p *probe) deletes(ctx context.Context) error {
	o, err := p.put(ctx, "d", "one", Cond{})
	if err != nil {
		return err
	}
	if _, err = p.put(ctx, "d", "two", Cond{}); err != nil {
		return err
	}
	switch err := p.store.Delete(ctx, p.prefix+"d", Cond{IfMatch: o.ETag}); {
	case err == nil:
		return unsafe("it deletes a version that it was not asked to delete; cleanSource would lose files that are written again")
	case !errors.Is(err, ErrPrecondition):
		return err
	}
	return nil
}

func (p *probe) clock(ctx context.Context) error {
	before := time.Now()
	if _, err := p.put(ctx, "clock", "", Cond{}); err != nil {
		return err
	}
	for o, err := range p.store.List(ctx, p.prefix+"clock", "") {
		if err != nil {
			return err
		}
		if skew := o.ModTime.Sub(before); skew > maxSkew || skew < -maxSkew {
			return unsafe("its clock and that of this machine are %s apart", skew.Abs().Round(time.Second))
		}
	}
	return nil
}
