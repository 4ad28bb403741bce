// Package cli is the command line of silt: files, flags and environment become a [silt.Config], what
// the pipelines tell becomes text for people or JSON for programs, and errors become a code, a place,
// one recommended fix and an exit status.
//
// It is the only package that reads flags and the environment. Each command has its file; every
// command returns an error and writes none: [Main] reports it, once.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Exit statuses, as interface for scripts.
const (
	exitDone        = 0
	exitFailed      = 1 // nothing half-written
	exitUsage       = 2 // nothing was started
	exitGivenUp     = 3 // done, but for files that cannot be read
	exitStopped     = 4 // by the rules of the pipeline
	exitAccess      = 5
	exitConflict    = 6 // another writer
	exitInterrupted = 130
)

// patience is how long a command may take to stop after the second interrupt. What it leaves is
// finished by the next run.
const patience = 2 * time.Second

// Main runs one command and returns its exit status. args are without the program's name; env looks a
// variable up.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: env, stopping: make(chan struct{})}

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	status := make(chan int, 1)
	go func() { status <- a.run(ctx, args) }()

	var late <-chan time.Time
	for n := 0; ; {
		select {
		case s := <-status:
			return s
		case <-late:
			fmt.Fprintln(stderr, "stopped; the next run finishes what this one left")
			return exitInterrupted
		case <-signals:
			switch n++; n {
			case 1:
				close(a.stopping)
				if !a.graceful.Load() {
					cancel()
				}
			case 2:
				cancel()
				late = time.After(patience)
			default:
				return exitInterrupted
			}
		}
	}
}

// run runs one command and reports its error.
func (a *app) run(ctx context.Context, args []string) (status int) {
	defer func() {
		if r := recover(); r != nil {
			status = a.report(&panicError{value: r, stack: stack()})
		}
	}()
	root := a.command()
	root.SetArgs(args)
	// The format of errors must be known even when the flags are what is wrong.
	a.flags.output = wantedOutput(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return a.status
	case a.interrupted() && ctx.Err() != nil:
		err = &interruptedError{err}
	}
	return a.report(err)
}

// interrupted says whether the user asked to stop.
func (a *app) interrupted() bool {
	select {
	case <-a.stopping:
		return true
	default:
		return false
	}
}

// command builds the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "silt",
		Short:         "Load nested JSON files into Delta Lake tables, exactly once, while their schema grows",
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          group,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	cobra.EnableCommandSorting = false
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.flags.check(a) }
	a.flags.register(root.PersistentFlags())
	root.AddGroup(&cobra.Group{ID: groupMain, Title: "Commands:"}, &cobra.Group{ID: groupMore, Title: "More:"})
	for _, c := range []*cobra.Command{
		a.initCommand(), a.planCommand(), a.runCommand(), a.quarantineCommand(), a.filesCommand(), a.tableCommand(), a.queryCommand(),
		a.doctorCommand(),
	} {
		c.GroupID = groupMain
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{
		a.demoCommand(), a.loadCommand(), a.previewCommand(), a.schemaCommand(), a.runsCommand(), a.checkpointCommand(), a.configCommand(), a.explainCommand(),
		a.completionCommand(), a.versionCommand(),
	} {
		c.GroupID = groupMore
		root.AddCommand(c)
	}
	help(root)
	return root
}
