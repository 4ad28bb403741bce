package silt

import (
	"fmt"
	"time"

	"github.com/adhocore/gronx"

	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

// Trigger says when a pipeline loads what has arrived. The zero Trigger is at once, as far as
// [Config.Poll] lets it.
type Trigger struct {
	// Once makes RunOnce load one batch of all files that are there, whatever the options say about the
	// size of batches. Source: Spark, Trigger.Once.
	Once bool
	// FileArrival makes a watching run wait before it loads what has arrived; nil does not.
	FileArrival *FileArrival
	// Schedule is a cron expression of five fields: minute, hour, day of the month, month, day of the
	// week. A watching run loads at these times and at no other; empty is no schedule.
	Schedule string
	// TimeZone is that of the Schedule; empty is UTC.
	TimeZone string
}

// FileArrival is a trigger of Databricks' jobs. Both of its times may be 0. Source: Databricks, "Trigger
// jobs when new files arrive".
type FileArrival struct {
	// MinTimeBetweenTriggers is the least time from one load to the next.
	MinTimeBetweenTriggers time.Duration
	// WaitAfterLastChange is how long no file must have arrived before what is there is loaded.
	WaitAfterLastChange time.Duration
}

// trigger checks the Trigger of a Config.
func (p *parser) trigger() {
	t := p.config.Trigger
	given := 0
	for _, is := range []bool{t.Once, t.FileArrival != nil, t.Schedule != "", p.config.Poll > 0} {
		if is {
			given++
		}
	}
	if given > 1 {
		p.fault(CodeContradiction, []string{"trigger"}, "keep one of them", "a pipeline has one trigger")
	}
	if f := t.FileArrival; f != nil && (f.MinTimeBetweenTriggers < 0 || f.WaitAfterLastChange < 0) {
		p.fault(CodeValue, []string{"trigger", "fileArrival"}, "write 60s or 5m", "a time is below 0")
	}
	if t.Once {
		p.set.source.MaxFiles, p.set.source.MaxBytes = 0, 0
	}
	if t.Schedule == "" {
		if t.TimeZone != "" {
			p.fault(CodeContradiction, []string{"trigger", "timeZone"}, "set schedule too", "there is no schedule that it is for")
		}
		return
	}
	zone, err := time.LoadLocation(t.TimeZone)
	if err != nil {
		p.fault(CodeValue, []string{"trigger", "timeZone"}, "write a name such as Europe/Berlin", "there is no zone %q", t.TimeZone)
		zone = time.UTC
	}
	s := schedule{t.Schedule, zone}
	if _, err := s.next(time.Now()); err != nil {
		p.fault(CodeValue, []string{"trigger", "schedule"}, `write minute, hour, day of the month, month, day of the week: "0 2 * * *"`, "%v", err)
		return
	}
	p.set.schedule = &s
}

// schedule is a cron expression.
type schedule struct {
	expression string
	zone       *time.Location
}

// next is the first time of the schedule after t.
func (s schedule) next(t time.Time) (time.Time, error) {
	segments, err := gronx.Segments(s.expression)
	if err != nil || len(segments) != 6 || segments[0] != "0" { // it puts the seconds first
		return time.Time{}, fmt.Errorf("%q has not five fields", s.expression)
	}
	at, err := gronx.NextTickAfter(s.expression, t.In(s.zone), false)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no schedule, or one with no time to come", s.expression)
	}
	return at, nil
}

// gate keeps files that have arrived waiting, as a FileArrival says. It is open from the moment at which it
// lets the first through until none is left.
type gate struct {
	FileArrival
	open    bool
	fired   time.Time // when it opened last; zero is never
	changed time.Time // when a file arrived last; zero is never
	waiting crowd
}

// crowd tells whether the files that wait are the same as at the last listing.
type crowd struct {
	files int
	bytes int64
	last  objstore.Object // of those that are kept
}

func crowdOf(found *source.Found) crowd {
	c := crowd{files: len(found.Files) + found.Waiting, bytes: found.WaitingBytes}
	for _, f := range found.Files {
		c.bytes += f.Size
		c.last = f
	}
	if n := len(found.Ahead); n > 0 {
		c.last = found.Ahead[n-1]
	}
	return c
}

// touch says that files arrive.
func (g *gate) touch(now time.Time) {
	if !g.open {
		g.changed = now
	}
}

// again is when the gate may open.
func (g *gate) again() time.Time {
	at := g.changed.Add(g.WaitAfterLastChange)
	if next := g.fired.Add(g.MinTimeBetweenTriggers); !g.fired.IsZero() && next.After(at) {
		at = next
	}
	return at
}

// pass reports whether what was found may be loaded. Whole says that a listing found it.
func (g *gate) pass(found *source.Found, whole bool, now time.Time) bool {
	if len(found.Files) == 0 || g.open {
		return true
	}
	if c := crowdOf(found); whole && c != g.waiting {
		g.waiting, g.changed = c, now
	}
	if now.Before(g.again()) {
		return false
	}
	g.open, g.fired, g.waiting = true, now, crowd{}
	return true
}
