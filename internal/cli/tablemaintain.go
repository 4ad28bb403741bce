package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

// tableVersion is the version of a table that --version or --timestamp asks for.
type tableVersion struct {
	number    int64
	timestamp string
}

// at gives a command the flags that choose a version.
func (v *tableVersion) at(cmd *cobra.Command, what string) {
	cmd.Flags().Int64Var(&v.number, "version", -1, "the version "+what+" (default: the newest)")
	cmd.Flags().StringVar(&v.timestamp, "timestamp", "", "the version that was there at this `TIME`: 2024-05-01, \"2024-05-01 12:30:00\", 2024-05-01T12:30:00.123Z")
}

// chosen returns what the flags say; nothing when neither is given.
func (v *tableVersion) chosen(cmd *cobra.Command) (version *int64, at time.Time, err error) {
	number, timestamp := cmd.Flags().Changed("version"), cmd.Flags().Changed("timestamp")
	switch {
	case number && timestamp:
		return nil, at, usage(cmd, "say one of them", "--version and --timestamp contradict each other")
	case number && v.number < 0:
		return nil, at, usage(cmd, "silt table history lists versions", "--version is %d; versions start at 0", v.number)
	case number:
		return &v.number, at, nil
	case timestamp:
		if at, err = instant(v.timestamp); err != nil {
			return nil, at, usage(cmd, "write 2024-05-01, \"2024-05-01 12:30:00\" (local time) or 2024-05-01T12:30:00.123Z", "--timestamp is %q, which is no time", v.timestamp)
		}
	}
	return nil, at, nil
}

// of returns the number of the version of a table that the flags choose; nil is the newest.
func (v *tableVersion) of(cmd *cobra.Command, cfg silt.Config) (*int64, error) {
	version, at, err := v.chosen(cmd)
	if err != nil || at.IsZero() {
		return version, err
	}
	n, err := silt.TableVersionAt(cmd.Context(), cfg, at)
	return &n, err
}

// instantLayouts are how times may be written, as silt prints them too.
var instantLayouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999 -07:00", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02"}

// instant reads a time; one without a zone is local.
func instant(text string) (t time.Time, err error) {
	for _, layout := range instantLayouts {
		if t, err = time.ParseInLocation(layout, strings.TrimSpace(text), time.Local); err == nil {
			return t, nil
		}
	}
	return t, err
}

// table makes a command about one table.
func (a *app) tableVerb(use, short, long, example string, run func(cmd *cobra.Command, cfg silt.Config) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " [PIPELINE|TABLE]", Short: short, Long: long, Example: example,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.whichTable(args)
			if err != nil {
				return err
			}
			return run(cmd, cfg)
		},
	}
}

func (a *app) tableDetailCommand() *cobra.Command {
	var v tableVersion
	cmd := a.tableVerb("detail", "Show what DESCRIBE DETAIL shows, under its names", "", "", func(cmd *cobra.Command, cfg silt.Config) error {
		version, err := v.of(cmd, cfg)
		if err != nil {
			return err
		}
		d, err := silt.DetailTable(cmd.Context(), cfg, version)
		if err != nil {
			return err
		}
		if a.machine() {
			return a.printJSON(result("silt.table_detail/v1", member{"detail", d}))
		}
		t := &textTable{}
		err = members(d, func(name, text string) { t.add(name, text) })
		t.body(a.stdout)
		return err
	})
	v.at(cmd, "to show")
	return cmd
}

func (a *app) tableRestoreCommand() *cobra.Command {
	var v tableVersion
	dryRun := false
	cmd := a.tableVerb("restore", "Make a table again what it was at an earlier version",
		`Makes a table again what it was at another version: its rows, columns and properties, as a new version.
The versions between stay in the history, so a restore can be taken back by another one.

What silt loaded after that version counts as loaded: it is not loaded again. To load files again, use
a new table.`,
		`  silt table restore main.demo.events --version 3 --dry-run
  silt table restore main.demo.events --timestamp "2024-05-01 12:30:00" --yes`,
		func(cmd *cobra.Command, cfg silt.Config) error {
			version, at, err := v.chosen(cmd)
			if err != nil {
				return err
			}
			if version == nil && at.IsZero() {
				return usage(cmd, "silt table history lists versions", "restore needs --version or --timestamp")
			}
			plan, err := silt.PlanRestore(cmd.Context(), cfg, version, at)
			if err != nil {
				return err
			}
			return a.restore(cmd, plan, dryRun)
		})
	v.at(cmd, "to restore")
	cmd.Flags().Lookup("version").Usage = "the version to restore"
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and write nothing")
	return cmd
}

func (a *app) restore(cmd *cobra.Command, p *silt.RestorePlan, dryRun bool) error {
	written := p.Version
	if !a.machine() {
		a.tellRestore(p, dryRun)
	}
	if !dryRun {
		if err := a.confirm(fmt.Sprintf("Restore version %d?", p.To)); err != nil {
			return err
		}
		var err error
		if written, err = p.Restore(cmd.Context()); err != nil {
			return err
		}
	}
	if a.machine() {
		return a.printJSON(result("silt.table_restore/v1", member{"restore", p}, member{"restored", written > p.Version}, member{"newVersion", written}))
	}
	switch {
	case dryRun:
		fmt.Fprintln(a.stdout, "Nothing has been written.")
		a.next("silt", "table", "restore", p.Table, "--version", fmt.Sprint(p.To))
		return nil
	case written == p.Version:
		fmt.Fprintf(a.stdout, "Version %d is that already; nothing was written.\n", written)
	default:
		fmt.Fprintf(a.stdout, "Restored version %d as version %d.\n", p.To, written)
	}
	a.next("silt", "table", "history", p.Table)
	return nil
}

func (a *app) tellRestore(p *silt.RestorePlan, dryRun bool) {
	fmt.Fprintf(a.stdout, "%s make %s (version %d) again what it was at version %d:\n", would(dryRun), p.Table, p.Version, p.To)
	t := &textTable{}
	t.add("  files", fmt.Sprintf("%s (%s) come back, %s (%s) leave; %s (%s) then", thousands(p.RestoredFiles), size(p.RestoredBytes),
		thousands(p.RemovedFiles), size(p.RemovedBytes), thousands(p.FilesAfter), size(p.BytesAfter)))
	label := "  columns"
	add := func(text string) {
		t.add(label, text)
		label = ""
	}
	for _, f := range p.Added {
		add("+ " + f.Path + "  " + cut(ddlText(f.DDL), 60))
	}
	for _, f := range p.Removed {
		add("- " + f.Path + "  " + cut(ddlText(f.DDL), 60))
	}
	for _, f := range p.Changed {
		add("~ " + f.Path + "  " + cut(ddlText(f.Before), 30) + " -> " + cut(ddlText(f.After), 30))
	}
	t.body(a.stdout)
	if p.To < p.Version {
		fmt.Fprintf(a.stdout, "The history keeps all versions. Files that were loaded after version %d count as loaded.\n", p.To)
	}
}

// would starts a sentence about what a command does, or would do.
func would(dryRun bool) string {
	if dryRun {
		return "Would"
	}
	return "Will"
}

func (a *app) tableOptimizeCommand() *cobra.Command {
	dryRun, target := false, ""
	cmd := a.tableVerb("optimize", "Pack the small files of a table into larger ones",
		`Packs small data files into larger ones, partition by partition, and leaves out rows that are marked as
deleted. No row changes, and others may read and write meanwhile. The old files stay, for older
versions, until silt table vacuum deletes them.`,
		`  silt table optimize main.demo.events --dry-run
  silt table optimize ./lake/events --target-size 256MB`,
		func(cmd *cobra.Command, cfg silt.Config) error {
			o := silt.OptimizeOptions{DryRun: dryRun}
			if target != "" {
				var err error
				if o.TargetSize, err = silt.ParseSize(target); err != nil || o.TargetSize <= 0 {
					return usage(cmd, "write 256MB or 1g", "--target-size is %q, which is no size", target)
				}
			}
			progress := a.watch("packing")
			o.Progress = progress.tell
			r, err := silt.OptimizeTable(cmd.Context(), cfg, o)
			progress.close()
			if err != nil {
				return err
			}
			return a.showOptimize(r, dryRun)
		})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be packed, and write nothing")
	cmd.Flags().StringVar(&target, "target-size", "", "about the `SIZE` of the new files (default: the table's delta.targetFileSize, else 128MB)")
	return cmd
}

func (a *app) showOptimize(r *silt.OptimizeReport, dryRun bool) error {
	if a.machine() {
		return a.printJSON(result("silt.table_optimize/v1", member{"optimize", r}, member{"dryRun", dryRun}))
	}
	deleted := ""
	if r.DeletionVectors > 0 {
		deleted = fmt.Sprintf(", %s of them with deleted rows,", thousands(r.DeletionVectors))
	}
	switch {
	case r.PackedFiles == 0:
		fmt.Fprintf(a.stdout, "%s has no small files to pack: %s, %s.\n", r.Table, count(r.Files, "file"), size(r.Bytes))
	case dryRun:
		fmt.Fprintf(a.stdout, "Would pack %s (%s)%s of the %s of %s.\nNothing has been written.\n", count(r.PackedFiles, "file"), size(r.PackedBytes), deleted,
			thousands(r.Files), r.Table)
		a.next("silt", "table", "optimize", r.Table)
	default:
		fmt.Fprintf(a.stdout, "Packed %s (%s)%s of %s into %s (%s), as version %d. No row has changed.\n", count(r.PackedFiles, "file"), size(r.PackedBytes), deleted,
			r.Table, thousands(r.WrittenFiles), size(r.WrittenBytes), r.Version)
		a.say("The old files stay for older versions until they are vacuumed.")
		a.next("silt", "table", "vacuum", r.Table, "--dry-run")
	}
	return nil
}

func (a *app) tableVacuumCommand() *cobra.Command {
	dryRun, force, retain := false, false, ""
	cmd := a.tableVerb("vacuum", "Delete files that no recent version of a table needs",
		`Deletes data files that left the table longer ago than the retention, and files that no version ever
named and that are older. The retention is what the table says (delta.deletedFileRetentionDuration), or
seven days. Versions that need the deleted files can no longer be read or restored.

It shows the files and asks first; --yes answers.`,
		`  silt table vacuum main.demo.events --dry-run
  silt table vacuum main.demo.events --retain 30d --yes`,
		func(cmd *cobra.Command, cfg silt.Config) error {
			o := silt.VacuumOptions{Force: force}
			var err error
			if o.Retention, err = retained(cmd, retain, "write 7d, 168h or \"7 days\""); err != nil {
				return err
			}
			return a.vacuum(cmd, cfg, o, dryRun)
		})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "list the files, and delete none")
	cmd.Flags().StringVar(&retain, "retain", "", "how long files stay that have left the table, as a `TIME`: 7d, 168h (default: what the table says, else 7d)")
	cmd.Flags().BoolVar(&force, "force", false, "allow less than 7d, when nobody else reads or writes the table")
	return cmd
}

// retained is the value of --retain, nil when it is not given.
func retained(cmd *cobra.Command, text, hint string) (*time.Duration, error) {
	if text == "" {
		return nil, nil
	}
	d, ok := retention(text)
	if !ok {
		return nil, usage(cmd, hint, "--retain is %q, which is no time", text)
	}
	return &d, nil
}

// retention reads 30d beside what interval reads.
func retention(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(strings.TrimSpace(text), "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > 100_000 {
			return 0, false
		}
		return time.Duration(math.Round(n * float64(24*time.Hour))), true
	}
	d, ok := interval(text)
	return d, ok && d >= 0
}

func (a *app) vacuum(cmd *cobra.Command, cfg silt.Config, o silt.VacuumOptions, dryRun bool) error {
	plan := o
	plan.DryRun = true
	r, err := silt.VacuumTable(cmd.Context(), cfg, plan)
	if err != nil {
		return err
	}
	if !a.machine() {
		a.tellVacuum(r, dryRun)
	}
	if !dryRun && len(r.Files) > 0 {
		if err := a.confirm("Delete " + them(len(r.Files)) + "?"); err != nil {
			return err
		}
		progress := a.watch("deleting")
		progress.total = silt.TableProgress{FilesTotal: int64(len(r.Files))}
		o.Progress = progress.tell
		r, err = silt.VacuumTable(cmd.Context(), cfg, o)
		progress.close()
		if err != nil {
			return err
		}
	}
	if a.machine() {
		return a.printJSON(result("silt.table_vacuum/v1", member{"vacuum", r}, member{"dryRun", dryRun}))
	}
	switch {
	case dryRun:
		fmt.Fprintln(a.stdout, "Nothing has been deleted.")
		if len(r.Files) > 0 {
			a.next(vacuumWords(cmd, r.Table)...)
		}
	case len(r.Files) > 0:
		fmt.Fprintf(a.stdout, "Deleted %s (%s).\n", count(r.Deleted, "file"), size(r.Bytes))
		a.next("silt", "table", "check", r.Table)
	}
	return nil
}

// vacuumWords is the command that does what a dry run has shown.
func vacuumWords(cmd *cobra.Command, table string) []string {
	words := []string{"silt", "table", "vacuum", table}
	if f := cmd.Flags().Lookup("retain"); f.Changed {
		words = append(words, "--retain", f.Value.String())
	}
	if f := cmd.Flags().Lookup("force"); f.Changed {
		words = append(words, "--force")
	}
	return words
}

func them(n int) string { return plural(n, "it", "them") }

// mostFiles is how many files people are shown.
const mostFiles = 8

func (a *app) tellVacuum(r *silt.VacuumReport, dryRun bool) {
	if len(r.Files) == 0 {
		fmt.Fprintf(a.stdout, "%s has no file that only versions before %s need.\n", r.Table, clock(r.Before))
		return
	}
	fmt.Fprintf(a.stdout, "%s delete %s (%s) of %s, which only versions before %s need, or none:\n", would(dryRun), count(len(r.Files), "file"), size(r.Bytes),
		r.Table, clock(r.Before))
	t := &textTable{right: []bool{false, true}}
	for _, f := range r.Files[:min(len(r.Files), mostFiles)] {
		t.add("  "+f.Path, size(f.Size), clock(f.Modified))
	}
	t.body(a.stdout)
	if more := len(r.Files) - mostFiles; more > 0 {
		fmt.Fprintf(a.stdout, "  and %s more; --dry-run --json lists all\n", thousands(more))
	}
}

func (a *app) tableCheckpointCommand() *cobra.Command {
	return a.tableVerb("checkpoint", "Write a checkpoint of a table's log",
		`Writes a checkpoint of the log at the newest version, so that readers need not read the versions before
it one by one. Loads do it by themselves every ten versions. It changes nothing about the table.`, "",
		func(cmd *cobra.Command, cfg silt.Config) error {
			version, err := silt.CheckpointTable(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if a.machine() {
				return a.printJSON(result("silt.table_checkpoint/v1", member{"table", cfg.Target.String()}, member{"version", version}))
			}
			fmt.Fprintf(a.stdout, "The log of %s has a checkpoint at version %d.\n", cfg.Target, version)
			return nil
		})
}

func (a *app) tableCheckCommand() *cobra.Command {
	var v tableVersion
	rows := false
	cmd := a.tableVerb("check", "Compare what a table's log says with the files that are there",
		`Compares what a table says with what is there: that the log has no gap, that its checkpoints and checksums
agree with the versions, and that each data file is there in its size with statistics that can be read.
With --rows it reads every row, too, and compares them with the statistics. It changes nothing. When it
finds something it exits with 1.`, `  silt table check main.demo.events
  silt table check ./lake/events --rows`,
		func(cmd *cobra.Command, cfg silt.Config) error {
			version, err := v.of(cmd, cfg)
			if err != nil {
				return err
			}
			progress := a.watch("checking")
			r, err := silt.CheckTable(cmd.Context(), cfg, silt.CheckOptions{Version: version, Rows: rows, Progress: progress.tell})
			progress.close()
			if err != nil {
				return err
			}
			return a.showCheck(r, rows)
		})
	v.at(cmd, "to check")
	cmd.Flags().BoolVar(&rows, "rows", false, "read every row")
	return cmd
}

// mostFindings is how many findings people are shown.
const mostFindings = 20

func (a *app) showCheck(r *silt.TableReport, rows bool) error {
	if len(r.Findings) > 0 {
		a.status = exitFailed
	}
	if a.machine() {
		o := result("silt.table_check/v1", member{"check", r})
		o[len(o)-1].value = a.status
		return a.printJSON(o)
	}
	for _, f := range r.Findings[:min(len(r.Findings), mostFindings)] {
		what := f.Subject
		if f.Path != "" {
			what += " " + f.Path
		} else {
			what += fmt.Sprintf(" of version %d", f.Version)
		}
		fmt.Fprintf(a.stdout, "! %s: %s\n", what, f.Problem)
		if f.Fix != "" {
			fmt.Fprintf(a.stdout, "    %s\n", f.Fix)
		}
	}
	if more := len(r.Findings) - mostFindings; more > 0 {
		fmt.Fprintf(a.stdout, "! and %s more; --json lists all\n", thousands(more))
	}
	looked := fmt.Sprintf("%s (%s), %s in the log", count(r.Files, "file"), size(r.Bytes), count(r.Commits, "version"))
	if r.Checksum {
		looked += ", a checksum"
	}
	if rows {
		looked += ", " + count(r.Rows, "row")
	}
	if len(r.Findings) == 0 {
		fmt.Fprintf(a.stdout, "%s is as its log says at version %d: %s.\n", r.Table, r.Version, looked)
	} else {
		fmt.Fprintf(a.stdout, "%s at version %d: %s found; looked at %s.\n", r.Table, r.Version, count(len(r.Findings), "problem"), looked)
	}
	if r.Orphans > 0 {
		fmt.Fprintf(a.stdout, "%s (%s) below it %s in no version of the log; silt table vacuum deletes what stays so for a week.\n",
			count(r.Orphans, "file"), size(r.OrphanBytes), plural(int(r.Orphans), "is", "are"))
	}
	return nil
}

// instantText writes a time so that --timestamp takes it and means the same version: with all its digits.
func instantText(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000 -07:00") }

// days writes a retention: 7d, 36h, 20m.
func days(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	text := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if rest, ok := strings.CutSuffix(text, zero); ok && rest != "" && strings.Trim(rest[len(rest)-1:], "hm") == "" {
			text = rest
		}
	}
	return text
}
