package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) runsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "runs", Short: "Show what earlier runs did", Args: cobra.ArbitraryArgs, RunE: group}
	limit := 20
	list := &cobra.Command{
		Use:               "list [PIPELINE|TABLE]",
		Short:             "List runs, the newest first",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			runs, err := a.runs(cmd, args)
			if err != nil {
				return err
			}
			if limit > 0 && len(runs) > limit {
				runs = runs[:limit]
			}
			return a.showRuns(runs)
		},
	}
	list.Flags().IntVar(&limit, "limit", limit, "most runs to show; 0 shows all")
	show := &cobra.Command{
		Use:   "show ID [PIPELINE|TABLE]",
		Short: "Show what one run did; the start of its ID is enough",
		Args:  arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			runs, err := a.runs(cmd, args[1:])
			if err != nil {
				return err
			}
			var found []*silt.Summary
			for _, r := range runs {
				if strings.HasPrefix(r.Run, strings.ToUpper(args[0])) {
					found = append(found, r)
				}
			}
			switch {
			case len(found) == 0:
				return &noRecordError{"run", args[0], "silt runs list"}
			case len(found) > 1:
				return usage(cmd, "write more of it", "%s runs have an ID that starts with %s", thousands(len(found)), args[0])
			}
			if a.machine() {
				return a.printJSON(result("silt.run/v1", member{"summary", found[0]}))
			}
			fmt.Fprint(a.stdout, summaryText(found[0]))
			fmt.Fprintf(a.stdout, "Run %s   %s\n", found[0].Run, clock(found[0].Started))
			if found[0].Error != "" {
				fmt.Fprintf(a.stdout, "  error       %s\n", found[0].Error)
			}
			return nil
		},
	}
	cmd.AddCommand(list, show)
	return cmd
}

// noRecordError says that something that was looked for by its ID is not there.
type noRecordError struct{ thing, id, list string }

func (e *noRecordError) Error() string { return "there is no " + e.thing + " " + e.id }

// runs returns the runs into a table, the newest first.
func (a *app) runs(cmd *cobra.Command, args []string) ([]*silt.Summary, error) {
	_, states, err := a.states(cmd, args)
	if err != nil {
		return nil, err
	}
	var all []*silt.Summary
	for _, s := range states {
		runs, err := s.Runs(cmd.Context())
		if err != nil {
			return nil, err
		}
		all = append(all, runs...)
	}
	slices.SortStableFunc(all, func(x, y *silt.Summary) int { return cmp.Compare(y.Run, x.Run) })
	return all, nil
}

func (a *app) showRuns(runs []*silt.Summary) error {
	if a.listed() {
		all := make([]any, len(runs))
		for i, r := range runs {
			all[i] = r
		}
		return a.printAll("silt.runs/v1", "runs", all)
	}
	t := &textTable{header: []string{"RUN", "STARTED", "TOOK", "PIPELINE", "FILES", "RECORDS", "ROWS", "RESCUED", "QUARANTINED", "SCHEMA", "RESULT"},
		right: []bool{false, false, true, false, true, true, true, true, true}}
	for _, r := range runs {
		result := "done"
		switch {
		case r.Error != "":
			result = "stopped: " + r.Error
		case r.Files.Failed+r.Files.Quarantined > 0:
			result = count(r.Files.Failed+r.Files.Quarantined, "file") + " failed"
		}
		version := fmt.Sprintf("v%d", r.Schema.To)
		if r.Schema.From != r.Schema.To && r.Schema.From >= 0 {
			version = fmt.Sprintf("v%d -> v%d", r.Schema.From, r.Schema.To)
		}
		t.add(r.Run, clock(r.Started), took(r.Took), r.Pipeline, thousands(r.Files.Loaded), thousands(r.Records.Read), thousands(r.Rows),
			thousands(r.Rescued.Rows), thousands(r.Records.Quarantined), version, result)
	}
	t.write(a.stdout)
	if len(runs) > 0 {
		a.next("silt", "runs", "show", runs[0].Run, runs[0].Target)
	}
	return nil
}
