package s3store

import (
	"context"
	"sync"
	"time"
)

const (
	mostAtOnce = 256
	// slowEvery bounds how often the number of requests is halved: answers to requests that were made
	// together are one answer.
	slowEvery = 200 * time.Millisecond
)

// pace bounds how many requests are under way at once: half as many when the store asks to slow down,
// one more for each round of requests that it answers.
type pace struct {
	mu      *sync.Mutex
	limit   float64
	now     int
	slowed  time.Time
	waiting []chan struct{}
}

func newPace() pace { return pace{mu: new(sync.Mutex), limit: mostAtOnce} }

// acquire waits for its turn. The caller calls release with what the answer was.
func (p *pace) acquire(ctx context.Context) (release func(kind), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.now < int(p.limit) {
		p.now++
		p.mu.Unlock()
		return p.release, nil
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case <-turn:
		return p.release, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range p.waiting {
		if w == turn {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			return nil, ctx.Err()
		}
	}
	p.now-- // the turn came at the same time
	p.wake()
	return nil, ctx.Err()
}

func (p *pace) release(k kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now--
	switch k {
	case slowDown:
		if time.Since(p.slowed) >= slowEvery {
			p.slowed, p.limit = time.Now(), max(1, p.limit/2)
		}
	case fine, final:
		p.limit = min(mostAtOnce, p.limit+1/p.limit)
	}
	p.wake()
}

// wake gives turns to those who wait. The caller holds the lock.
func (p *pace) wake() {
	for len(p.waiting) > 0 && p.now < int(p.limit) {
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
		p.now++
	}
}
