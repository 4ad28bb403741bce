package silt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/objstore/s3store"
)

// queueHints hears of the events of a bucket from a queue of SQS.
//
// A message is deleted once all of its files are settled: in a closed batch, known, or not wanted. Until
// then it stays hidden from others, for a short time that is renewed again and again; when this process
// dies, it comes again soon. One that is no event of S3 is left alone, so that the queue's redrive policy
// takes it away.
type queueHints struct {
	queue  *s3store.Queue
	bucket string
	prefix string // of keys; empty, or ends in a slash
	wants  func(key string) bool

	odd     string // the first message that is no event; empty when there was none, or when that was told
	told    bool
	stop    context.CancelFunc
	stopped chan struct{}

	mu   sync.Mutex
	held map[string]*heldMessage   // by receipt
	by   map[string][]*heldMessage // by key
	done []string                  // receipts to delete
}

// heldMessage is a message some of whose files are not settled.
type heldMessage struct {
	receipt string
	left    int
}

const (
	// hideFor is how long a message is hidden that is being followed up; hideEvery is how often that is
	// renewed.
	hideFor   = 2 * time.Minute
	hideEvery = 40 * time.Second
	// receiveFull is how many messages one answer has at most.
	receiveFull = 10
	// receiveAtOnce is how many requests for messages are under way while there are many.
	receiveAtOnce = 8
)

// newQueueHints starts to keep the messages hidden that hear will return; close ends that.
func newQueueHints(ctx context.Context, queue *s3store.Queue, bucket, prefix string, wants func(string) bool) *queueHints {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	ctx, stop := context.WithCancel(ctx)
	q := &queueHints{queue: queue, bucket: bucket, prefix: prefix, wants: wants, stop: stop, stopped: make(chan struct{}),
		held: map[string]*heldMessage{}, by: map[string][]*heldMessage{}}
	go q.keepHidden(ctx)
	return q
}

func (q *queueHints) keepHidden(ctx context.Context) {
	defer close(q.stopped)
	tick := time.NewTicker(hideEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = q.queue.Hide(ctx, q.receipts(), hideFor) // then they come again, which does no harm
		case <-ctx.Done():
			return
		}
	}
}

// receipts are those of the messages that are held.
func (q *queueHints) receipts() (all []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r := range q.held {
		all = append(all, r)
	}
	return all
}

func (q *queueHints) hear(ctx context.Context, wait time.Duration) (heard, error) {
	if err := q.forget(ctx); err != nil {
		return heard{}, err
	}
	messages, err := q.queue.Receive(ctx, wait, hideFor)
	keys := q.take(messages)
	for len(messages) >= receiveFull && err == nil && len(keys) < hintsMost { // there are more
		messages, err = q.receive(ctx)
		keys = append(keys, q.take(messages)...)
	}
	if len(keys) == 0 && err == nil && wait < time.Second { // for which a queue does not wait
		err = sleep(ctx, wait)
	}
	if len(keys) > 0 {
		err = nil // what was received counts; another hear tells what is wrong
	}
	return heard{keys: keys, odd: q.oddMessage()}, err
}

// receive makes several requests at once, none of which waits.
func (q *queueHints) receive(ctx context.Context) ([]s3store.Message, error) {
	parts := make([][]s3store.Message, receiveAtOnce)
	g, ctx := errgroup.WithContext(ctx)
	for i := range parts {
		g.Go(func() (err error) {
			parts[i], err = q.queue.Receive(ctx, 0, hideFor)
			return err
		})
	}
	err := g.Wait()
	return slices.Concat(parts...), err
}

// take returns the keys of messages, and holds those that have any.
func (q *queueHints) take(messages []s3store.Message) (keys []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range messages {
		events, err := s3store.ParseEvents(m.Body)
		if err != nil {
			if q.odd == "" {
				q.odd = cmp.Or(m.Body, "nothing")
			}
			continue
		}
		h := &heldMessage{receipt: m.Receipt}
		for _, e := range events {
			for _, key := range e.Keys {
				rel, below := strings.CutPrefix(key, q.prefix)
				if !e.Created || e.Bucket != q.bucket || !below || !q.wants(rel) || slices.Contains(q.by[rel], h) {
					continue
				}
				h.left++
				q.by[rel] = append(q.by[rel], h)
				keys = append(keys, rel)
			}
		}
		if h.left == 0 {
			q.done = append(q.done, m.Receipt)
		} else {
			q.held[m.Receipt] = h
		}
	}
	return keys
}

// oddMessage tells, once, of a message that is no event of S3.
func (q *queueHints) oddMessage() []Warning {
	if q.told || q.odd == "" {
		return nil
	}
	q.told = true
	const most = 80
	text := q.odd
	if len(text) > most {
		text = text[:most] + "…"
	}
	return []Warning{{Code: "SILT-5006", Text: fmt.Sprintf("the queue has a message that is no event of S3: %q", text),
		Hint: "give silt a queue of its own; such messages stay in it until its redrive policy takes them away"}}
}

func (q *queueHints) settle(keys []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, k := range keys {
		for _, h := range q.by[k] {
			if h.left--; h.left == 0 {
				delete(q.held, h.receipt)
				q.done = append(q.done, h.receipt)
			}
		}
		delete(q.by, k)
	}
}

// forget deletes the messages that are settled. After an error they are deleted again the next time, which
// does no harm.
func (q *queueHints) forget(ctx context.Context) error {
	q.mu.Lock()
	done := q.done
	q.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(receiveAtOnce)
	for chunk := range slices.Chunk(done, receiveFull) {
		g.Go(func() error { return q.queue.Delete(ctx, chunk) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	q.mu.Lock()
	q.done = q.done[len(done):]
	q.mu.Unlock()
	return nil
}

func (q *queueHints) broken(err error) (Warning, bool) {
	w := Warning{Code: "SILT-5005", Text: "the queue cannot be read, so the source is listed every minute: " + err.Error(), Hint: "silt doctor tries the queue out"}
	var e *s3store.Error
	if errors.As(err, &e) && e.Hint != "" {
		w.Hint = e.Hint
	}
	return w, false
}

// close deletes what is settled, and gives back what is not.
func (q *queueHints) close(ctx context.Context) error {
	q.stop()
	<-q.stopped
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(q.forget(ctx), q.queue.Hide(ctx, q.receipts(), 0))
}
