package silt

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/watch"
	"github.com/siltlake/silt/objstore/s3store"
)

// Watch loads files as they arrive, until [Pipeline.Stop] or until ctx ends. Each round that found
// something is a run with its own Summary, told as an Event. When it looks, and when it loads what it
// finds, is for [Config.Poll] and [Config.Trigger] to say.
func (p *Pipeline) Watch(ctx context.Context) error {
	log, err := p.openLog(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	r := newRun(p, log)
	r.watching = true
	if err := r.listen(ctx); err != nil {
		return err
	}
	defer func() { r.deafen(ctx) }()
	// Who stops the pipeline ends the wait for files, and not the work on them.
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	defer func() { cancel(); <-stopped }()
	go func() {
		defer close(stopped)
		select {
		case <-p.stopped:
			cancel()
		case <-waiting.Done():
		}
	}()
	if p.set.schedule != nil {
		if err := r.rest(waiting); err != nil && waiting.Err() == nil {
			return err
		}
	}
	cleaned := time.Now()
	for !p.stop.Load() && ctx.Err() == nil {
		idle, err := r.batch(ctx)
		if err != nil {
			_, err = r.finish(ctx, err)
			return err
		}
		if !idle {
			continue
		}
		if r.gate != nil {
			r.gate.open = false
		}
		if r.summary.Batches > 0 || time.Since(cleaned) > cleanEvery {
			r.clean(ctx)
			cleaned = time.Now()
		}
		if r.summary.Batches > 0 {
			if _, err := r.finish(ctx, nil); err != nil {
				return err
			}
			r = r.next()
		}
		if r.arrivals != nil { // so that it does not keep the next file waiting
			if err := r.compact(ctx); err != nil {
				return err
			}
		}
		if err := r.rest(waiting); err != nil && waiting.Err() == nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.summary.Batches > 0 {
		_, err = r.finish(ctx, nil)
		return err
	}
	return nil
}

const (
	// cleanEvery is how often a watching run looks for files to clean when none arrive.
	cleanEvery = time.Minute
	// askEvery is how often at least a watching run looks for requests of people, see [PlanFiles].
	askEvery = 20 * time.Second
	// pollEvery is how often a watching run lists its source when nothing tells it of files.
	pollEvery = time.Second
	// listShare is how many times as long as a listing took a watched folder is not listed again: a network
	// file system does not tell of what other machines put there.
	listShare = 100
	// listFolder is how often a watched folder is listed at least, listBucket a bucket that has a queue, and
	// listDeaf one whose queue cannot be read.
	listFolder, listBucket, listDeaf = time.Minute, 24 * time.Hour, time.Minute
)

// listen begins to hear hints, where there are any.
func (r *run) listen(ctx context.Context) error {
	if f := r.cfg.Trigger.FileArrival; f != nil && r.watching {
		r.gate = &gate{FileArrival: *f}
	}
	if r.cfg.Trigger.Once {
		return nil // what is there now is all that counts
	}
	hints, pace, err := r.hinter(ctx)
	if hints == nil || err != nil {
		return err
	}
	r.arrivals = &arrivals{hints: hints, pending: map[string]time.Time{}, pace: pace, gate: r.gate}
	return nil
}

// hinter is what tells of files in the source; nil is nothing.
func (r *run) hinter(ctx context.Context) (hinter, listPace, error) {
	o := r.wanted(r.set)
	wants, err := o.Wants()
	if err != nil {
		return nil, listPace{}, err
	}
	switch {
	case r.set.queueURL != "":
		queue, err := r.set.queue(ctx)
		if err != nil {
			return nil, listPace{}, err
		}
		bucket, prefix, _ := s3store.ParseURI(r.source.path)
		most := cmp.Or(r.set.backfill, listBucket)
		pace := listPace{most: most, failing: min(most, max(listDeaf, r.cfg.Poll))}
		return newQueueHints(ctx, queue, bucket, prefix, wants), pace, nil
	case !r.watching || isRemote(r.source.path) || r.set.schedule != nil:
		return nil, listPace{}, nil
	}
	folder, err := watch.Open(r.source.path, func(folder string) bool { return !wants(folder) })
	if err != nil {
		if !errors.Is(err, watch.ErrNoWatch) && !errors.Is(err, fs.ErrNotExist) {
			r.warn(unwatched(err))
		}
		return nil, listPace{}, nil
	}
	most := cmp.Or(r.set.backfill, listFolder)
	return &folderHints{folder}, listPace{least: min(most, cmp.Or(r.cfg.Poll, pollEvery)), most: most, share: listShare}, nil
}

// deafen ends the hearing of hints. What could not be settled comes again.
func (r *run) deafen(ctx context.Context) {
	if r.arrivals != nil {
		_ = r.arrivals.hints.close(ctx)
	}
}

// rest returns when it is time to look for files again.
func (r *run) rest(ctx context.Context) error {
	pause := r.cfg.Poll
	if r.arrivals == nil {
		pause = cmp.Or(pause, pollEvery)
	}
	if r.set.schedule != nil {
		at, err := r.set.schedule.next(time.Now())
		if err != nil {
			return err
		}
		pause = time.Until(at)
	}
	if err := sleep(ctx, pause); err != nil {
		return err
	}
	if pause > 0 { // whatever was heard meanwhile is looked at together
		if r.arrivals != nil {
			r.hear(ctx, min(time.Second, time.Until(r.arrivals.wake())))
		}
		return ctx.Err()
	}
	ask := time.Now().Add(askEvery)
	for r.arrivals != nil {
		at := earliest(r.arrivals.wake(), ask)
		wait := time.Until(at)
		heard := r.hear(ctx, wait)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case r.arrivals == nil || wait <= 0 || heard && r.gate == nil:
			return nil
		case r.arrivals.failing:
			if err := sleep(ctx, min(hearAgain, time.Until(at))); err != nil {
				return err
			}
		}
	}
	return nil
}

// more reports whether hints tell of files that a listing before them did not show. It is for a run that
// ends when nothing is left.
func (r *run) more(ctx context.Context) bool {
	return r.arrivals != nil && r.hear(ctx, time.Second)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compact makes the checkpoint smaller. That it cannot be is told once, unless the run must end.
func (r *run) compact(ctx context.Context) error {
	err := r.log.Compact(ctx)
	if err == nil {
		return nil
	}
	held := (*checkpoint.HeldError)(nil)
	if ctx.Err() != nil || errors.As(err, &held) {
		return err
	}
	if !r.uncompacted {
		r.uncompacted = true
		r.warn(Warning{Code: "SILT-6010", Text: "the checkpoint could not be made smaller: " + err.Error()})
	}
	return nil
}
