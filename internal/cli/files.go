package cli

import (
	"slices"
	"strconv"
	"strings"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

// fileStatuses are the states of files that [silt.FileState] names.
var fileStatuses = []string{"planned", "loaded", "quarantined", "skipped", "vanished", "overwritten", "deferred", "waiting", "failed", "forgotten", "retried"}

func (a *app) filesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "files", Short: "Show which files were found and what became of them", Args: cobra.ArbitraryArgs, RunE: group}
	var statuses []string
	limit := 100
	list := &cobra.Command{
		Use:   "list [PIPELINE|TABLE]",
		Short: "List files, the newest batch first",
		Long: `Lists the files that batches met, the newest batch first. What cleanSource did is in the column ARCHIVED;
silt files show says where a file was moved to.`,
		Example: `  silt files list main.demo.events
  silt files list --status failed,quarantined --json`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, s := range statuses {
				if !slices.Contains(fileStatuses, s) {
					hint := "it takes " + strings.Join(fileStatuses, ", ")
					if n := nearest(s, fileStatuses); n != "" {
						hint = "did you mean " + n + "?"
					}
					return usage(cmd, hint, "there is no status %q", s)
				}
			}
			cfg, states, err := a.states(cmd, args)
			if err != nil {
				return err
			}
			var all []silt.FileState
			more := false
			for _, s := range states {
				for f, err := range s.Files(cmd.Context()) {
					if err != nil {
						return err
					}
					if len(statuses) > 0 && !slices.Contains(statuses, f.Status) {
						continue
					}
					if more = limit > 0 && len(all) == limit; more {
						break
					}
					all = append(all, f)
				}
			}
			if err := a.showFiles(cfg.Target.String(), all, more); err != nil {
				return err
			}
			return a.sayRequests(cmd, states)
		},
	}
	list.Flags().StringSliceVar(&statuses, "status", nil, "only files in `STATUS`: "+strings.Join(fileStatuses, ", "))
	list.Flags().IntVar(&limit, "limit", limit, "most files to show; 0 shows all")
	complete(list, "status", cobra.FixedCompletions(fileStatuses, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(list, a.filesShowCommand(), a.filesSkipCommand(), a.filesForgetCommand(), a.filesRetryCommand())
	return cmd
}

func (a *app) showFiles(table string, files []silt.FileState, more bool) error {
	if a.listed() {
		all := make([]any, len(files))
		for i, f := range files {
			all[i] = f
		}
		return a.printAll("silt.files/v1", "files", all)
	}
	if len(files) == 0 {
		a.say("no such files")
		return nil
	}
	base := commonFolder(files)
	if base != "" {
		a.say("files in " + base)
	}
	t := &textTable{header: []string{"STATUS", "FILE", "SIZE", "FOUND", "BATCH", "ROWS", "RESCUED", "BAD", "TRIES"},
		right: []bool{false, false, true, false, true, true, true, true, true}}
	cleaned := slices.ContainsFunc(files, func(f silt.FileState) bool { return f.ArchiveTime != nil })
	if cleaned {
		t.header = append(t.header, "ARCHIVED")
	}
	t.header = append(t.header, "ERROR")
	failed := ""
	for _, f := range files {
		cells := []string{f.Status, strings.TrimPrefix(f.Path, base), size(f.Size), clock(f.DiscoveryTime), strconv.FormatInt(f.Batch, 10),
			thousands(f.Rows), thousands(f.Rescued), thousands(f.Bad), strconv.Itoa(f.Tries)}
		if cleaned {
			cells = append(cells, archived(f))
		}
		t.add(append(cells, f.Error+f.Reason)...)
		if f.Bad > 0 {
			failed = f.Path
		}
	}
	t.write(a.stdout)
	if more {
		a.say("and more: --limit 0 shows all")
	}
	if failed != "" {
		a.next("silt", "quarantine", "list", table)
	}
	return nil
}

// archived is how a file was cleaned, and when; empty when it was not.
func archived(f silt.FileState) string {
	if f.ArchiveTime == nil {
		return ""
	}
	return f.ArchiveMode + " " + clock(*f.ArchiveTime)
}

// commonFolder is the folder that all files are below, with its slash.
func commonFolder(files []silt.FileState) string {
	base := files[0].Path[:strings.LastIndexByte(files[0].Path, '/')+1]
	for _, f := range files {
		for !strings.HasPrefix(f.Path, base) {
			base = base[:strings.LastIndexByte(strings.TrimSuffix(base, "/"), '/')+1]
		}
	}
	return base
}
