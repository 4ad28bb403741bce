package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) filesSkipCommand() *cobra.Command {
	return a.fileVerb(silt.SkipFiles, "Never load some files",
		`Makes that files are never loaded: new ones, those that failed, and those that were given up. Files that
are loaded stay so. Another version under the same name counts as a changed file, not as a new one.

The request is kept in the checkpoint. The loader at work carries it out before its next batch, or else
the next run does; silt files forget takes it back.`,
		`  silt files skip s3://acme-raw/orders/2026/test.json --reason "test data"
  silt files skip '*/tmp-*.json' --pipeline telemetry --dry-run`)
}

func (a *app) filesForgetCommand() *cobra.Command {
	return a.fileVerb(silt.ForgetFiles, "Load files again that are loaded, skipped or given up",
		`Makes that files count as new ones, so that the next run loads them as they are by then. Rows that the
table has of them stay: where rows are appended they are in the table twice then, unless they are deleted
first. A merge finds them by their key.

It shows the files and asks first when rows would be doubled; --yes answers.`,
		`  silt files forget in/2026-05-01.json --dry-run
  silt table delete main.demo.orders --where "source_file like '%/2026-05-01.json'"
  silt files forget in/2026-05-01.json --reason "prices were wrong" --yes`)
}

func (a *app) filesRetryCommand() *cobra.Command {
	return a.fileVerb(silt.RetryFiles, "Read files again that could not be read, given up or not",
		`Makes that the next run reads files that failed, as if it were the first time: those that were given up
too, and without the pause that a watching run makes. Put good files in their place first.`,
		`  silt files retry in/cut.json.gz
  silt files retry '*' --pipeline telemetry`)
}

// fileVerb makes a command that asks for something to be done about files.
func (a *app) fileVerb(action silt.FileAction, short, long, example string) *cobra.Command {
	r := silt.FileRequest{Action: action}
	dryRun, pipeline := false, ""
	cmd := &cobra.Command{
		Use: string(action) + " FILE|GLOB...", Short: short, Long: long, Example: example,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var which []string
			if pipeline != "" {
				which = []string{pipeline}
			}
			cfg, err := a.which(which)
			if err != nil {
				return err
			}
			r.Files, r.Actor = args, a.actor()
			plans, err := silt.PlanFiles(cmd.Context(), cfg, r)
			if err != nil {
				return err
			}
			return a.askFor(cmd, cfg.Target.String(), plans, dryRun)
		},
	}
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "the `PIPELINE|TABLE` that the files are for (default: the only one)")
	cmd.Flags().StringVar(&r.Reason, "reason", "", "why, as a `TEXT` that is kept with the files")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and write nothing")
	complete(cmd, "pipeline", a.completeTables)
	return cmd
}

// actor is who gives the command.
func (a *app) actor() string { return cmp.Or(a.env("SILT_ACTOR"), a.env("USER"), a.env("USERNAME")) }

// doubled says whether rows would be in the table twice.
func doubled(p *silt.FilePlan) bool { return p.Rows > 0 && p.Appends }

func (a *app) askFor(cmd *cobra.Command, table string, plans []*silt.FilePlan, dryRun bool) error {
	files, rows := 0, int64(0)
	for _, p := range plans {
		files += len(p.Files)
		if doubled(p) {
			rows += p.Rows
		}
		if !a.machine() {
			a.tellFilePlan(p, table, dryRun)
		}
	}
	if !dryRun && files > 0 {
		if rows > 0 {
			if err := a.confirm(fmt.Sprintf("Load %s again, so that %s will be there twice?", count(files, "file"), count(rows, "row"))); err != nil {
				return err
			}
		}
		for _, p := range plans {
			if err := p.Put(cmd.Context()); err != nil {
				return err
			}
		}
	}
	if a.machine() {
		return a.printJSON(result("silt.files_request/v1", member{"requests", plans}, member{"dryRun", dryRun}))
	}
	switch {
	case files == 0:
		fmt.Fprintln(a.stdout, "There is nothing to do.")
	case dryRun:
		fmt.Fprintln(a.stdout, "Nothing has been written.")
	default:
		for _, p := range plans {
			if p.Request != "" {
				fmt.Fprintf(a.stdout, "Request %s is kept. The loader at work carries it out before its next batch, or else the next run does.\n", p.Request)
			}
		}
		a.next("silt", "files", "list", table)
	}
	return nil
}

// tellFilePlan says what a request does in one pipeline.
func (a *app) tellFilePlan(p *silt.FilePlan, table string, dryRun bool) {
	const most = 20
	if len(p.Files) > 0 {
		fmt.Fprintf(a.stdout, "%s %s %s of pipeline %s:\n", would(dryRun), p.Action, count(len(p.Files), "file"), p.Pipeline)
	}
	t := &textTable{}
	for _, f := range p.Files[:min(len(p.Files), most)] {
		what := f.Status
		if f.Rows > 0 {
			what += ", " + count(f.Rows, "row")
		}
		if f.Error != "" {
			what += ", " + f.Error
		}
		t.add("  "+f.Path, what)
	}
	t.body(a.stdout)
	if n := len(p.Files) - most; n > 0 {
		fmt.Fprintf(a.stdout, "  and %s more\n", thousands(n))
	}
	for i, l := range p.Left {
		if i == most {
			fmt.Fprintf(a.stdout, "and %s more stay as they are\n", thousands(len(p.Left)-most))
			break
		}
		fmt.Fprintf(a.stdout, "%s stays as it is: %s\n", l.Path, l.Why)
	}
	if n := len(p.Gone); n > 0 {
		fmt.Fprintf(a.stdout, "! %s not in the source any more, and cannot be loaded again: first %s\n", plural(n, "1 file is", thousands(n)+" files are"), p.Gone[0])
	}
	if doubled(p) {
		fmt.Fprintf(a.stdout, "! the table has %s of them, which will be there twice. To replace them, delete them first:\n", count(p.Rows, "row"))
		fmt.Fprintln(a.stdout, "  "+shell("silt", "table", "delete", table, "--where", "source_file in ("+sqlTexts(p.Files, 3)+")"))
	}
}

// sqlTexts are the names of files as literals of SQL; dots stand for those after the first.
func sqlTexts(files []silt.FileState, most int) string {
	var all []string
	for i, f := range files {
		if i == most {
			all = append(all, "…")
			break
		}
		all = append(all, "'"+strings.ReplaceAll(f.Path, "'", "''")+"'")
	}
	return strings.Join(all, ", ")
}

// sayRequests tells what loaders have been asked for and have not done yet.
func (a *app) sayRequests(cmd *cobra.Command, states []*silt.State) error {
	if a.machine() {
		return nil
	}
	for _, s := range states {
		all, err := s.Requests(cmd.Context())
		if err != nil {
			return err
		}
		for _, r := range all {
			text := fmt.Sprintf("request %s waits for the next run of %s: %s %s", r.ID, s.Pipeline, r.Action, count(len(r.Files), "file"))
			if r.Reason != "" {
				text += " (" + r.Reason + ")"
			}
			a.say(text)
		}
	}
	return nil
}

func (a *app) filesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show FILE [PIPELINE|TABLE]",
		Short:   "Show all that is known of a file: each batch that met it, the newest first",
		Example: `  silt files show s3://acme-raw/orders/2026/05/a.json main.demo.orders`,
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, states, err := a.states(cmd, args[1:])
			if err != nil {
				return err
			}
			var all []any
			for _, s := range states {
				for f, err := range s.FilesNamed(cmd.Context(), args[0]) {
					if err != nil {
						return err
					}
					all = append(all, f)
				}
			}
			if len(all) == 0 {
				return &silt.NoFileError{Name: args[0], Target: cfg.Target.String()}
			}
			if a.listed() {
				return a.printAll("silt.files/v1", "files", all)
			}
			for i, f := range all {
				if i > 0 {
					fmt.Fprintln(a.stdout)
				}
				t := &textTable{}
				if err := members(f, func(name, text string) {
					if text != "" {
						t.add(name, text)
					}
				}); err != nil {
					return err
				}
				t.body(a.stdout)
			}
			return nil
		},
	}
}
