package cli

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) schemaDiffCommand() *cobra.Command {
	exitCode := false
	cmd := &cobra.Command{
		Use:   "diff [PIPELINE|TABLE] [VERSION] [VERSION]",
		Short: "Compare two versions of the source schema: the last two, one with the newest, or any two",
		Example: `  silt schema diff
  silt schema diff main.demo.events 0 2`,
		Args:              arguments(0, 3),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, versions := numbers(args)
			if len(names) > 1 || len(versions) > 2 {
				return usage(cmd, "usage: "+cmd.UseLine(), "diff takes one pipeline or table, and at most two versions")
			}
			histories, err := a.histories(cmd, names)
			if err != nil {
				return err
			}
			return a.showDiffs(histories, versions, exitCode)
		},
	}
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 10 when the versions differ")
	return cmd
}

// numbers splits arguments into versions and names.
func numbers(args []string) (names []string, versions []int64) {
	for _, arg := range args {
		if n, err := strconv.ParseInt(strings.TrimPrefix(arg, "v"), 10, 64); err == nil && n >= 0 {
			versions = append(versions, n)
		} else {
			names = append(names, arg)
		}
	}
	return names, versions
}

// diffJSON is a comparison for programs.
type diffJSON struct {
	Pipeline string `json:"pipeline"`
	Target   string `json:"target"`
	*silt.SchemaDiff
}

func (a *app) showDiffs(histories []history, versions []int64, exitCode bool) error {
	var all []any
	for _, h := range histories {
		if len(h.Versions) == 0 {
			continue
		}
		from, to := between(h.plain(), versions)
		d, err := silt.DiffSchemas(h.plain(), from, to)
		if err != nil {
			return schemaVersionError(err)
		}
		if exitCode && !d.Empty() {
			a.status = exitChanges
		}
		if a.machine() {
			all = append(all, diffJSON{h.Pipeline, h.Target, d})
			continue
		}
		fmt.Fprintf(a.stdout, "%s   source schema of %s   v%d -> v%d\n", h.Target, h.Pipeline, d.From, d.To)
		a.writeDiff(d)
	}
	if a.flags.output == "json" {
		o := result("silt.schema_diff/v1", member{"diffs", all})
		o[len(o)-1].value = a.status
		return a.printJSON(o)
	}
	if a.machine() {
		return a.printAll("", "", all)
	}
	if len(histories) > 0 {
		a.next("silt", "schema", "history", histories[0].Target)
	}
	return nil
}

// between returns the versions to compare: as given, or what comes before the newest, and the newest.
func between(all []silt.SchemaVersion, given []int64) (from, to int64) {
	to = all[len(all)-1].Version
	switch len(given) {
	case 2:
		return given[0], given[1]
	case 1:
		return given[0], to
	}
	return all[max(0, len(all)-2)].Version, to
}

func schemaVersionError(err error) error {
	if errors.Is(err, silt.ErrNoSchemaVersion) {
		return &usageError{problem: err.Error(), hint: "silt schema history lists them"}
	}
	return err
}

func (a *app) writeDiff(d *silt.SchemaDiff) {
	if d.Empty() {
		fmt.Fprintln(a.stdout, "  no difference")
		return
	}
	t := &textTable{}
	for _, f := range d.Added {
		note := ""
		if f.Uncarried {
			note = "not in the table: the SQL does not carry it"
		}
		t.add("  + "+f.Path, cut(ddlText(f.DDL), 60), fmt.Sprintf("v%d", f.Version), where(f.File, f.Line), note)
	}
	for _, f := range d.Removed {
		t.add("  - "+f.Path, cut(ddlText(f.DDL), 60))
	}
	for _, f := range d.Changed {
		t.add("  ~ "+f.Path, cut(ddlText(f.Before), 30)+" -> "+cut(ddlText(f.After), 30))
	}
	t.body(a.stdout)
}

func (a *app) schemaRollbackCommand() *cobra.Command {
	dryRun := false
	cmd := &cobra.Command{
		Use:   "rollback VERSION [PIPELINE|TABLE]",
		Short: "Make an earlier version of the source schema the newest one",
		Long: `Writes an earlier version of the source schema again, as the newest one. Records are read by it from
the next load on. The table keeps its columns and rows; a field that the version lacks has NULL in new
rows, unless the next load adds it again: with schemaEvolutionMode addNewColumns it does, as soon as a
record has it.`,
		Example: `  silt schema rollback 3 --dry-run
  silt schema rollback 3 main.demo.events --yes`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, versions := numbers(args)
			if len(versions) != 1 || len(names) > 1 {
				return usage(cmd, "usage: "+cmd.UseLine(), "rollback takes the number of a version, and a pipeline or table")
			}
			return a.rollback(cmd, names, versions[0], dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and write nothing")
	return cmd
}

func (a *app) rollback(cmd *cobra.Command, names []string, version int64, dryRun bool) error {
	cfg, states, err := a.states(cmd, names)
	if err != nil {
		return err
	}
	if len(states) > 1 {
		var known []string
		for _, s := range states {
			known = append(known, s.Pipeline)
		}
		return usage(cmd, "name a pipeline of the pipeline file", "%s pipelines load into %s: %s", thousands(len(states)), cfg.Target, some(known, 8))
	}
	s := states[0]
	versions, err := s.SchemaHistory(cmd.Context())
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return &notLoadedError{cfg.Target.String()}
	}
	newest := versions[len(versions)-1].Version
	d, err := silt.DiffSchemas(versions, newest, version)
	if err != nil {
		return schemaVersionError(err)
	}
	written := newest
	if !a.machine() {
		verb := "Would write"
		if !dryRun {
			verb = "Will write"
		}
		fmt.Fprintf(a.stdout, "%s version %d of the source schema of %s, equal to version %d:\n", verb, newest+1, s.Pipeline, version)
		a.writeDiff(d)
		a.tellRollback(d)
	}
	if !dryRun {
		if err := a.confirm("Go back to version " + fmt.Sprint(version) + "?"); err != nil {
			return err
		}
		if written, err = silt.RollbackSchema(cmd.Context(), s, version); err != nil {
			return err
		}
	}
	if a.machine() {
		return a.printJSON(result("silt.schema_rollback/v1", member{"pipeline", s.Pipeline}, member{"target", cfg.Target.String()},
			member{"equals", version}, member{"version", written}, member{"written", written > newest}, member{"diff", d}))
	}
	switch {
	case dryRun:
		fmt.Fprintln(a.stdout, "Nothing has been written.")
	case written == newest:
		fmt.Fprintf(a.stdout, "Version %d is the same already; nothing was written.\n", newest)
	default:
		fmt.Fprintf(a.stdout, "Wrote version %d.\n", written)
	}
	a.next("silt", "schema", "history", cfg.Target.String())
	return nil
}

// tellRollback says what a version that lacks fields does not undo.
func (a *app) tellRollback(d *silt.SchemaDiff) {
	if len(d.Removed) == 0 {
		return
	}
	n := len(d.Removed)
	fmt.Fprintf(a.stdout, `The table keeps its columns and rows. A load that meets %s adds %s again when
schemaEvolutionMode is addNewColumns; with rescue the values are kept in _rescued_data, and a line in
schemaHints gives %s another type.
`, plural(n, "this field", "these fields"), plural(n, "it", "them"), plural(n, "it", "a field"))
}

// confirm asks a question on a terminal. Elsewhere --yes must have answered it.
func (a *app) confirm(question string) error {
	if a.flags.yes {
		return nil
	}
	if a.flags.noInput || a.machine() || !a.isTerminal(a.stderr) || !a.isTerminalInput() {
		return &usageError{problem: "this changes something and nobody can be asked; nothing was written", hint: "look with --dry-run, then say --yes"}
	}
	fmt.Fprint(a.stderr, question+" [y/N] ")
	line, _ := bufio.NewReader(a.stdin).ReadString('\n')
	if !slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line))) {
		return &usageError{problem: "not confirmed; nothing was written"}
	}
	return nil
}
