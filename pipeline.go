package silt

import "context"

// Pipeline loads new files into its table. It is used by one goroutine at a time.
type Pipeline struct{}

// Open checks the whole Config and returns its pipeline. All mistakes are in one [*ConfigError].
// Nothing is written.
func Open(ctx context.Context, cfg Config) (*Pipeline, error) { panic("not yet") }

// RunOnce loads every file that is there, in batches, and stops. The Summary is not nil when the run
// started, even when err is not nil.
func (p *Pipeline) RunOnce(ctx context.Context) (*Summary, error) { panic("not yet") }

// Watch loads files as they arrive, until ctx ends; it then finishes the batch it is in. Each round
// that found something is a run with its own Summary, told as an Event.
func (p *Pipeline) Watch(ctx context.Context) error { panic("not yet") }

// Close releases what the pipeline holds.
func (p *Pipeline) Close() error { return nil }
