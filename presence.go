package silt

import (
	"context"
	"errors"
	"time"

	"github.com/siltlake/silt/internal/source"
)

// presence is what a watch knows of the folder of its source. A folder may go away for a moment, as when it is
// replaced by another or when what is mounted there is mounted again; that ends no watch. One that never was
// there is a mistake in the configuration.
type presence struct{ met, missing bool }

// waitsFor reports whether a listing that failed by err is to be tried again until the folder is there, and
// tells of it once.
func (r *run) waitsFor(err error) bool {
	p := r.presence
	if !r.watching || !p.met || isRemote(r.source.path) || !errors.Is(err, source.ErrNoFolder) {
		return false
	}
	if !p.missing {
		p.missing = true
		r.warn(Warning{Code: "SILT-3004", Text: "the folder of the source is gone, and is looked for again and again: " + r.source.String()})
	}
	if r.arrivals != nil {
		r.arrivals.list = time.Now().Add(pollEvery)
	}
	return true
}

// isThere says that a listing found the folder. When it is there again, it is watched anew, since the system
// goes on to tell of the folder that was there before.
func (r *run) isThere(ctx context.Context) error {
	p := r.presence
	again := p.missing
	p.met, p.missing = true, false
	if !again || r.arrivals == nil {
		return nil
	}
	r.deafen(ctx)
	g, hold := r.gate, r.arrivals.hold
	r.arrivals = nil
	if err := r.listen(ctx); err != nil {
		return err
	}
	if r.gate = g; r.arrivals != nil {
		r.arrivals.gate, r.arrivals.hold = g, hold
	}
	return nil
}
