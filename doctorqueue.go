package silt

import (
	"context"
	"fmt"
	"time"

	"github.com/siltlake/silt/objstore/s3store"
)

// A QueueError says that a queue can be read and does not do what notifications need.
type QueueError struct{ URL, Problem, Next string }

func (e *QueueError) Error() string { return e.URL + ": " + e.Problem }

// peekFor is how long the messages that Doctor looks at are hidden at most; it gives them back at once.
const peekFor = 30 * time.Second

// queue tries out the queue that tells of new files, if there is one. It deletes nothing.
func (d *doctor) queue(ctx context.Context, set *settings, source string) {
	if set.queueURL == "" {
		return
	}
	began := time.Now()
	queue, err := set.queue(ctx)
	var info s3store.QueueInfo
	if err == nil {
		info, err = queue.Info(ctx)
	}
	if err != nil {
		d.add("queue", set.queueURL, err)
		return
	}
	letters := "no queue for dead letters"
	if info.DeadLetters {
		letters = "with a queue for dead letters"
	}
	d.add("queue", fmt.Sprintf("%s  about %s waiting, %d in flight, kept %s, %s  %d ms", set.queueURL, plural(info.Waiting, "message", "messages"), info.InFlight,
		days(info.Retention), letters, time.Since(began).Milliseconds()), nil)

	messages, err := queue.Receive(ctx, 0, peekFor)
	if err != nil {
		d.add("queue: receive", set.queueURL, err)
		return
	}
	receipts := make([]string, len(messages))
	for i, m := range messages {
		receipts[i] = m.Receipt
	}
	if err := queue.Hide(ctx, receipts, 0); err != nil {
		d.add("queue: give back", set.queueURL, err)
		return
	}
	d.events(messages, set.queueURL, source)
}

// days is a time in days, where it is whole ones.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return plural(int(d/day), "day", "days")
	}
	return d.String()
}

// events looks at what is in the queue: a queue that brings nothing of the source is worth a warning.
func (d *doctor) events(messages []s3store.Message, url, source string) {
	bucket, _, _ := s3store.ParseURI(source)
	odd, ours, other := 0, 0, ""
	for _, m := range messages {
		events, err := s3store.ParseEvents(m.Body)
		if err != nil {
			odd++
		}
		for _, e := range events {
			if e.Bucket == bucket {
				ours++
			} else {
				other = e.Bucket
			}
		}
	}
	warn := func(problem, next string) {
		d.add("queue: events", url, &QueueError{url, problem, next})
		d.findings[len(d.findings)-1].Level = LevelWarn
	}
	switch {
	case odd > 0:
		warn(fmt.Sprintf("%d of %s no events of S3", odd, plural(len(messages), "message is", "messages are")), "give silt a queue of its own, which only the bucket, or a topic or rule for it, sends to")
	case ours == 0 && other != "":
		warn("its events are of bucket "+other+", and the source is in "+bucket, "send the events of "+bucket+" to the queue, or name another")
	default:
		d.add("queue: events", fmt.Sprintf("%s  %s looked at", url, plural(len(messages), "message", "messages")), nil)
	}
}
