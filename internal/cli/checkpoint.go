package cli

import (
	"fmt"
	"maps"
	"slices"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) checkpointCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "checkpoint", Short: "Show what a pipeline remembers, make that anew from its table, or begin from scratch", Args: cobra.ArbitraryArgs, RunE: group}
	cmd.AddCommand(a.checkpointShowCommand(), a.checkpointAdoptCommand(), a.checkpointResetCommand())
	return cmd
}

func (a *app) checkpointShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show [PIPELINE|TABLE]",
		Short:             "Show what is remembered, and where",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, states, err := a.states(cmd, args)
			if err != nil {
				return err
			}
			var all []any
			for i, s := range states {
				c, err := s.Checkpoint(cmd.Context())
				if err != nil {
					return err
				}
				if all = append(all, c); !a.listed() {
					if i > 0 {
						fmt.Fprintln(a.stdout)
					}
					a.tellCheckpoint(c)
				}
			}
			if a.listed() {
				return a.printAll("silt.checkpoints/v1", "checkpoints", all)
			}
			return nil
		},
	}
}

func (a *app) tellCheckpoint(c *silt.CheckpointInfo) {
	t := &textTable{}
	t.add("pipeline", c.Pipeline)
	t.add("location", c.Location)
	t.add("query id", c.Query)
	t.add("created", clock(c.Created))
	t.add("batches", thousands(c.Batches))
	if c.Unfinished >= 0 {
		t.add("unfinished", fmt.Sprintf("batch %d; the next run goes on with it", c.Unfinished))
	}
	label := "files"
	for _, status := range slices.Sorted(maps.Keys(c.Files)) {
		t.add(label, thousands(c.Files[status])+" "+status)
		label = ""
	}
	for _, r := range c.Requests {
		t.add("request", fmt.Sprintf("%s: %s %s", r.ID, r.Action, count(len(r.Files), "file")))
	}
	if c.Owner != "" {
		t.add("at work", c.Owner+", until "+clock(c.Until)+" if it does not renew its lease")
	}
	t.body(a.stdout)
}

func (a *app) checkpointAdoptCommand() *cobra.Command {
	dryRun := false
	cmd := &cobra.Command{
		Use:   "adopt [PIPELINE]",
		Short: "Make a lost checkpoint anew from the files that the table names",
		Long: `Reads the column source_file of the table and of its quarantine, lists the source, and makes that files
of which there are rows count as loaded. The next run begins with that, and loads the others.

Files that were loaded and left no row anywhere, such as empty ones, are loaded again. So are files whose
rows were all deleted from the table. A file that is younger than its rows counts as changed.`,
		Example: `  silt checkpoint adopt telemetry --dry-run
  silt checkpoint adopt telemetry --yes`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completePipelines,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.which(args)
			if err != nil {
				return err
			}
			p, err := silt.PlanAdopt(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			return a.adopt(cmd, p, dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would count as loaded, and write nothing")
	return cmd
}

func (a *app) adopt(cmd *cobra.Command, p *silt.AdoptPlan, dryRun bool) error {
	if !a.machine() {
		a.tellAdopt(p, dryRun)
	}
	adopted := !dryRun && p.Files > 0
	if adopted {
		if err := a.confirm("Make the checkpoint of " + p.Pipeline + " from the table?"); err != nil {
			return err
		}
		if err := p.Adopt(cmd.Context(), a.actor()); err != nil {
			return err
		}
	}
	if a.machine() {
		return a.printJSON(result("silt.checkpoint_adopt/v1", member{"adopt", p}, member{"adopted", adopted}))
	}
	switch {
	case p.Files == 0:
		fmt.Fprintln(a.stdout, "There is nothing to adopt.")
	case dryRun:
		fmt.Fprintln(a.stdout, "Nothing has been written.")
		a.next("silt", "checkpoint", "adopt", p.Pipeline)
	default:
		fmt.Fprintln(a.stdout, "The next run takes these files as loaded, before it loads any.")
		a.next("silt", "run", p.Pipeline)
	}
	return nil
}

func (a *app) tellAdopt(p *silt.AdoptPlan, dryRun bool) {
	fmt.Fprintf(a.stdout, "%s make the checkpoint of pipeline %s from version %d of %s:\n", would(dryRun), p.Pipeline, p.Version, p.Table)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(a.stdout, "  %-8s "+format+"\n", append([]any{label}, args...)...)
	}
	line("loaded", "%s, of which the table has %s", count(p.Files, "file"), count(p.Rows, "row"))
	if p.Gone > 0 {
		line("", "%s of them not in the source any more", thousands(p.Gone))
	}
	if n := len(p.Changed); n > 0 {
		line("changed", "%s, younger than their rows, first %s", count(n, "file"), p.Changed[0])
	}
	if p.New > 0 {
		line("new", "%s without a row, which the next run loads, first %s", count(p.New, "file"), p.FirstNew)
	}
	if p.Foreign > 0 {
		line("others", "%s of other sources", count(p.Foreign, "row"))
	}
}

func (a *app) checkpointResetCommand() *cobra.Command {
	dryRun := false
	cmd := &cobra.Command{
		Use:   "reset [PIPELINE|TABLE]",
		Short: "Forget all files, so that they can be loaded from scratch",
		Long: `Removes what a pipeline remembers of files. Its table stays as it is, and so do the versions of its
schema and the summaries of its runs. Into a table that has rows of the source, the next run loads only
with --from-scratch, or after silt checkpoint adopt.

It says what is forgotten and asks first; --yes answers.`,
		Example: `  silt checkpoint reset telemetry --dry-run`,
		Args:    arguments(0, 1), ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.which(args)
			if err != nil {
				return err
			}
			plans, err := silt.PlanReset(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if len(plans) == 0 {
				return &notLoadedError{cfg.Target.String()}
			}
			return a.reset(cmd, plans, dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be forgotten, and write nothing")
	return cmd
}

func (a *app) reset(cmd *cobra.Command, plans []*silt.ResetPlan, dryRun bool) error {
	if !a.machine() {
		for _, p := range plans {
			fmt.Fprintf(a.stdout, "%s forget all files of pipeline %s:\n", would(dryRun), p.Pipeline)
			a.tellCheckpoint(p.CheckpointInfo)
		}
	}
	if !dryRun {
		if err := a.confirm("Forget them?"); err != nil {
			return err
		}
		for _, p := range plans {
			if err := p.Reset(cmd.Context()); err != nil {
				return err
			}
			if !a.machine() {
				fmt.Fprintf(a.stdout, "Removed %s of %s.\n", count(p.Removed, "object"), p.Location)
			}
		}
	}
	if a.machine() {
		return a.printJSON(result("silt.checkpoint_reset/v1", member{"reset", plans}, member{"dryRun", dryRun}))
	}
	if dryRun {
		fmt.Fprintln(a.stdout, "Nothing has been written.")
	}
	return nil
}
