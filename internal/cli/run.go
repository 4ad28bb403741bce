package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func (a *app) runCommand() *cobra.Command {
	var watch, fromScratch bool
	var workers int
	cmd := &cobra.Command{
		Use:   "run [PIPELINE...]",
		Short: "Load new files through the pipelines of a file",
		Long: `Runs the pipelines of the pipeline file, or those that are named, one after the other, until no
new file is left. With --watch it goes on and loads files as they arrive, until it is interrupted: at
once, or when the trigger of the pipeline says.

Every file is loaded exactly once, whatever happens in between; running again is always safe.`,
		Example: `  silt run
  silt run -c silt-demo/silt.yml telemetry
  silt run --watch --log-format json`,
		ValidArgsFunction: a.completePipelines,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.configuration(true)
			if err != nil {
				return err
			}
			chosen, err := c.choose(args)
			if err != nil {
				return err
			}
			for i := range chosen {
				chosen[i].config.Workers, chosen[i].config.FromScratch = workers, fromScratch
			}
			return a.execute(cmd.Context(), c, chosen, watch)
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "go on, and load files as they arrive")
	cmd.Flags().BoolVar(&fromScratch, "from-scratch", false, fromScratchUsage)
	cmd.Flags().IntVar(&workers, "workers", 0, "`NUMBER` of tasks that run at once (default: one a processor)")
	return cmd
}

const fromScratchUsage = "load all files again into a table that has their rows, beside those, when the checkpoint is new"

// execute runs pipelines: one after the other until nothing is left, or at once and for ever with
// watch.
func (a *app) execute(ctx context.Context, c *configuration, chosen []pipeline, watch bool) (err error) {
	if watch && a.flags.output == "json" {
		return &usageError{problem: "--watch has no end, and --json is one object at the end", hint: "take a line for each event: -o jsonl"}
	}
	if i := slices.IndexFunc(chosen, func(p pipeline) bool { return watch && p.config.Trigger.Once }); i >= 0 {
		return &usageError{problem: "--watch has no end, and the trigger of " + chosen[i].name + " is once", hint: "leave --watch out, or take another trigger"}
	}
	t := a.newTeller()
	defer t.close()
	runs := &summaries{app: a, single: chosen[0].config.Name == "" && !watch}
	for i := range chosen {
		p := &chosen[i]
		tell := t.handler(p)
		p.config.Events = func(e silt.Event) {
			tell(e)
			if f, ok := e.(silt.RunFinished); ok && f.Summary != nil {
				runs.add(f.Summary)
			}
		}
	}
	opened, err := c.open(ctx, chosen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(opened)) }()
	for i, p := range opened {
		chosen[i].name = p.Name()
	}

	// From here on an interrupt ends the work between two batches.
	a.graceful.Store(true)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-a.stopping:
			t.interrupted()
			for _, p := range opened {
				p.Stop()
			}
		case <-done:
		}
	}()

	if watch {
		err = watchAll(ctx, opened)
	} else {
		err = a.runAll(ctx, opened, func(i int, err error) error { return c.placed(&chosen[i], err) })
	}
	t.close()
	if err == nil && a.interrupted() {
		if watch {
			return runs.finish(nil) // the usual end
		}
		err = &interruptedError{context.Canceled}
	}
	if err != nil {
		err = &writtenError{err, t.written()}
	}
	return runs.finish(err)
}

func closeAll(opened []*silt.Pipeline) (err error) {
	for _, p := range opened {
		err = errors.Join(err, p.Close())
	}
	return err
}

// runAll runs pipelines one after the other. One that fails does not keep the next from its files.
func (a *app) runAll(ctx context.Context, opened []*silt.Pipeline, placed func(i int, err error) error) error {
	var failed failures
	for i, p := range opened {
		if _, err := p.RunOnce(ctx); err != nil {
			err = placed(i, err)
			failed = append(failed, fmt.Errorf("pipeline %s: %w", p.Name(), err))
		}
		if a.interrupted() || ctx.Err() != nil {
			break
		}
	}
	switch len(failed) {
	case 0:
		return nil
	case 1:
		return failed[0]
	}
	return failed
}

// failures are the errors of several pipelines; all are told.
type failures []error

func (f failures) Error() string { return errors.Join(f...).Error() }

func (f failures) Unwrap() []error { return f }

func watchAll(ctx context.Context, opened []*silt.Pipeline) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range opened {
		g.Go(func() error { return p.Watch(ctx) })
	}
	return g.Wait()
}

// summaries collects and shows what runs did.
type summaries struct {
	app    *app
	single bool // the command is about one run

	mu      sync.Mutex
	all     []*silt.Summary // for -o json
	last    *silt.Summary
	givenUp int // files
}

// runJSON is the JSON form of what load and run did: load has a summary, run a list of runs.
type runJSON struct {
	Schema   string          `json:"schema"`
	Summary  *silt.Summary   `json:"summary,omitempty"`
	Runs     []*silt.Summary `json:"runs,omitempty"`
	Error    *problem        `json:"error,omitempty"`
	Written  string          `json:"written,omitempty"`
	ExitCode int             `json:"exit_code"`
	Reason   string          `json:"reason"`
}

// add shows a summary to people at once, and keeps it for programs.
func (r *summaries) add(s *silt.Summary) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.givenUp = s, r.givenUp+s.Files.Quarantined
	if r.app.flags.output == "json" {
		r.all = append(r.all, s)
	}
	if s.Error != "" && s.Files.Found == 0 {
		return // the error says all there is to say
	}
	if !r.app.machine() && !r.app.flags.quiet && (r.app.flags.logFormat == "auto" || r.app.flags.output != "auto") {
		fmt.Fprint(r.app.stdout, summaryText(s))
	}
}

// finish ends a command that ran pipelines.
func (r *summaries) finish(err error) error {
	a := r.app
	out := runJSON{Schema: "silt.run/v1", Runs: r.all, Reason: "done"}
	if r.single && len(r.all) == 1 {
		out.Summary, out.Runs = r.all[0], nil
	}
	switch {
	case err != nil:
		p := a.explained(err)
		out.Error, out.ExitCode, out.Reason = &p[0], p[0].exit, p[0].reason
		if w := (*writtenError)(nil); errors.As(err, &w) {
			out.Written = p[0].written(w)
		}
	case a.interrupted():
		out.ExitCode, out.Reason = exitInterrupted, "interrupted"
	case r.givenUp > 0:
		out.ExitCode, out.Reason = exitGivenUp, "files_given_up"
	}
	if a.flags.output == "json" {
		if e := a.printJSON(out); e != nil {
			return e
		}
		a.status = out.ExitCode
		return nil
	}
	if err != nil {
		return err
	}
	a.status = out.ExitCode
	r.suggest()
	return nil
}

// suggest tells what to do next after the last run.
func (r *summaries) suggest() {
	s := r.last
	switch {
	case s == nil:
	case s.Files.Quarantined > 0 || s.Files.Failed > 0:
		r.app.next("silt", "files", "list", s.Target, "--status", "failed,quarantined")
	case s.Records.Quarantined > 0:
		r.app.next("silt", "quarantine", "list", s.Target)
	case s.Schema.From != s.Schema.To && s.Schema.From >= 0:
		r.app.next("silt", "schema", "history", s.Target)
	case hasSQL:
		r.app.next("silt", "query", "select * from "+sqlName(s.Target)+" limit 10")
	default:
		r.app.next("silt", "table", "show", s.Target)
	}
}
