package silt

import (
	"context"
	"time"

	"github.com/siltlake/silt/objstore/s3store"
)

// notifications reads how new files are told of, and how often the source is listed all the same.
func (p *parser) notifications() {
	const use, url, interval = "cloudFiles.useNotifications", "cloudFiles.queueUrl", "cloudFiles.backfillInterval"
	s := p.set
	remote := p.config.Source != "" && isRemote(p.config.Source)
	wanted := p.boolean(use)
	queue := p.value(url)
	switch {
	case wanted && queue == "" && !p.isGiven(url):
		p.bad(use, "set cloudFiles.queueUrl to a queue of SQS that gets the events of the bucket", "there is no queue; silt sets up none")
	case !wanted && queue != "":
		p.bad(url, "set cloudFiles.useNotifications=true", "the queue is not read while useNotifications is false")
	case wanted && p.config.Source != "" && !remote:
		p.bad(use, "take the option out: a folder is watched without it", "the events of a queue are those of a bucket")
	case wanted:
		s.queueURL = queue
		if _, err := s.queue(context.Background()); err != nil {
			p.bad(url, "write https://sqs.REGION.amazonaws.com/ACCOUNT/NAME", "%v", err)
		}
	}
	if !p.isGiven(interval) {
		return
	}
	every, ok := parseInterval(p.value(interval))
	switch {
	case !ok || every < time.Second:
		p.bad(interval, "write 1 day, 1 week or 6 hours", "%q is no time", p.value(interval))
	case remote && !wanted:
		p.note("SILT-1106", "option "+interval+" has no effect: without notifications every look lists the source", "")
	}
	s.backfill = every
}

// Requests to a queue are given up sooner than those to S3: while there is no answer, listings go on.
const (
	queueTimeout = 10 * time.Second
	queueTries   = 3
)

// queue is the one that tells of new files.
func (s *settings) queue(ctx context.Context) (*s3store.Queue, error) {
	o := s.s3
	o.Timeout, o.Tries = queueTimeout, queueTries
	return s3store.OpenQueue(ctx, o, s.queueURL)
}
