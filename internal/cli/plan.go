package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/schema"
	"github.com/spf13/cobra"
)

func (a *app) planCommand() *cobra.Command {
	var options []string
	var transform, compat, out string
	var full, exitCode bool
	cmd := &cobra.Command{
		Use:   "plan [PIPELINE...] | plan SOURCE TARGET",
		Short: "Say what the next run would do, and write nothing",
		Long: `Looks at the new files and says what the next run would do: which fields would become columns and
where they come from, which values would be rescued, which records quarantined. It reads all of a
small source and some files of a large one, spread over all, unless --full is given. Nothing is written.

With SOURCE and TARGET it speaks of silt load, without a pipeline file.`,
		Example: `  silt plan
  silt plan telemetry --full
  silt plan ./landing main.demo.events --option schemaEvolutionMode=rescue
  silt plan --exit-code -q          exit status 10 when a run would change anything`,
		ValidArgsFunction: a.completePipelines,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, chosen, err := a.planned(args, options, transform, compat)
			if err != nil {
				return err
			}
			opened, err := c.open(cmd.Context(), chosen)
			if err != nil {
				return err
			}
			defer closeAll(opened) //nolint:errcheck // nothing was written
			var plans []*silt.Plan
			var failed failures
			for i, p := range opened {
				plan, err := p.Plan(cmd.Context(), silt.PlanOptions{Full: full})
				err = c.placed(&chosen[i], err)
				switch {
				case err == nil:
					plans = append(plans, plan)
				case cmd.Context().Err() != nil:
					return err
				default:
					failed = append(failed, fmt.Errorf("pipeline %s: %w", p.Name(), err))
				}
			}
			if out != "" && failed == nil {
				if err := a.savePlans(out, plans); err != nil {
					return err
				}
			}
			if err := a.showPlans(plans, failed, exitCode, out); err != nil {
				return err
			}
			if failed == nil && out == "" {
				a.suggestRun(cmd, args, chosen, plans, options, transform, compat)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&full, "full", false, "read all new files")
	f.BoolVar(&exitCode, "exit-code", false, "exit with 10 when a run would change anything")
	f.StringVar(&out, "out", "", "write the plan as JSON to `FILE` too")
	f.StringArrayVar(&options, "option", nil, "with SOURCE and TARGET: an option, as `name=value`; repeatable")
	f.StringVar(&transform, "transform", "", "with SOURCE and TARGET: `SQL` over the records; or @file")
	f.StringVar(&compat, "compat", "", "with SOURCE and TARGET: the `PROFILE` to follow")
	complete(cmd, "option", completeOptions)
	complete(cmd, "compat", cobra.FixedCompletions([]string{"autoloader"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// planned finds what the arguments of plan mean: pipelines of the file, or a source and a target.
func (a *app) planned(args, options []string, transform, compat string) (*configuration, []pipeline, error) {
	loose := len(options) > 0 || transform != "" || compat != ""
	if len(args) == 2 || loose {
		c, err := a.configuration(false)
		if err != nil {
			return nil, nil, err
		}
		names := pipelineNames(c.pipelines())
		if len(args) == 2 && (loose || !slices.Contains(names, args[0]) && !slices.Contains(names, args[1])) {
			p, err := commandPipeline(c, args[0], args[1], options, transform, compat)
			if err != nil {
				return nil, nil, err
			}
			return c, []pipeline{*p}, nil
		}
		if loose {
			return nil, nil, &usageError{problem: "--option, --transform and --compat go with SOURCE and TARGET; a pipeline has its own",
				hint: "change them with --set pipelines.NAME.options.name=value"}
		}
	}
	c, err := a.configuration(true)
	if err != nil {
		return nil, nil, err
	}
	chosen, err := c.choose(args)
	return c, chosen, err
}

// exitChanges is the status of plan and of schema diff with --exit-code when there is something to tell.
const exitChanges = 10

// changes says whether a run would change anything.
func changes(p *silt.Plan) bool { return p.Files.New > 0 }

// planJSON is the JSON form of plans.
type planJSON struct {
	Schema   string       `json:"schema"`
	Plans    []*silt.Plan `json:"plans"`
	Error    *problem     `json:"error,omitempty"`
	Errors   []problem    `json:"errors,omitempty"` // all, when there are several
	ExitCode int          `json:"exit_code"`
	Reason   string       `json:"reason"`
}

// showPlans writes plans, and the errors of those that could not be made.
func (a *app) showPlans(plans []*silt.Plan, failed failures, exitCode bool, saved string) error {
	out := planJSON{Schema: "silt.plan/v1", Plans: plans, Reason: "done"}
	if exitCode && slices.ContainsFunc(plans, changes) {
		out.ExitCode, out.Reason = exitChanges, "changes"
	}
	if failed != nil {
		all := a.explained(failed)
		out.Error, out.ExitCode, out.Reason = &all[0], all[0].exit, all[0].reason
		if len(all) > 1 {
			out.Errors = all
		}
	}
	switch a.flags.output {
	case "json":
		a.status = out.ExitCode
		return a.printJSON(out)
	case "jsonl":
		for _, p := range plans {
			if err := a.printJSON(p); err != nil {
				return err
			}
		}
	default:
		for i, p := range plans {
			if a.flags.quiet {
				break
			}
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			fmt.Fprint(a.stdout, planText(p, a.flags.verbose))
		}
		if saved != "" {
			a.say("The plan is in " + saved + ".")
		}
	}
	if len(failed) == 1 {
		return failed[0]
	}
	if failed != nil {
		return failed
	}
	a.status = out.ExitCode
	return nil
}

// savePlans writes plans to a file, as --json has them.
func (a *app) savePlans(path string, plans []*silt.Plan) error {
	f, err := os.Create(path)
	if err != nil {
		return &usageError{problem: "the plan cannot be written: " + err.Error(), hint: "name another file: --out FILE"}
	}
	to := &app{stdout: f, flags: globalFlags{output: "json"}}
	if err := to.printJSON(planJSON{Schema: "silt.plan/v1", Plans: plans, Reason: "done"}); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

// suggestRun tells the command that does what was planned.
func (a *app) suggestRun(cmd *cobra.Command, args []string, chosen []pipeline, plans []*silt.Plan, options []string, transform, compat string) {
	if !slices.ContainsFunc(plans, changes) {
		return
	}
	if len(chosen) == 1 && chosen[0].config.Name == "" {
		words := append([]string{"silt", "load"}, args...)
		for _, o := range options {
			words = append(words, "--option", o)
		}
		if transform != "" {
			words = append(words, "--transform", transform)
		}
		if compat != "" {
			words = append(words, "--compat", compat)
		}
		a.next(words...)
		return
	}
	words := []string{"silt", "run"}
	if a.flags.config != "" {
		words = append(words, "-c", a.flags.config)
	}
	if cmd.Flags().Changed("env") {
		words = append(words, "--env", a.flags.environment)
	}
	a.next(append(words, args...)...)
}

// mostPlanned is how many fields, conflicts and records a plan lists without -v.
const mostPlanned = 20

// planText writes what the next run would do.
func planText(p *silt.Plan, all bool) string {
	w := &planWriter{most: mostPlanned, plan: p}
	if all {
		w.most = 1 << 30
	}
	table := tableState(p.Target, p.TableVersion)
	fmt.Fprintf(&w.b, "%s  %s -> %s\n", p.Pipeline, p.Source, table)
	for _, t := range p.Targets[min(1, len(p.Targets)):] {
		fmt.Fprintf(&w.b, "%s  %s -> %s\n", strings.Repeat(" ", len([]rune(p.Pipeline))), strings.Repeat(" ", len([]rune(p.Source))), tableState(t.Table, t.Version))
	}
	w.files()
	if p.Files.New > 0 || p.Reason != "" && p.TableVersion >= 0 {
		w.schema()
	}
	if p.Files.New > 0 {
		w.data()
		w.advice()
	}
	warnings(w.line, p.Warnings)
	if len(p.Differences) > 0 && (p.Schema.From < 0 || all) {
		w.differences(p.Differences)
	}
	fmt.Fprintf(&w.b, "%s Nothing has been written.\n", w.verdict())
	return w.b.String()
}

// placeText says in the place of what the rows of a run would come.
func placeText(t silt.PlannedTarget) string {
	if t.ReplaceWhere != "" {
		return "in place of the rows for which " + t.ReplaceWhere
	}
	return "in place of all rows that are there"
}

// tableState is the name of a table and what there is of it.
func tableState(name string, version int64) string {
	if version < 0 {
		return name + " (a new table)"
	}
	return fmt.Sprintf("%s (version %d)", name, version)
}

// wrap joins words to lines of about width characters.
func wrap(words []string, width int) (lines []string) {
	line := ""
	for i, word := range words {
		if i < len(words)-1 {
			word += ","
		}
		switch {
		case line == "":
			line = word
		case len(line)+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// planWriter writes one plan.
type planWriter struct {
	b    strings.Builder
	plan *silt.Plan
	most int // lines of a list
}

func (w *planWriter) line(label, format string, args ...any) {
	fmt.Fprintf(&w.b, "  %-11s %s\n", label, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

// differences writes the defaults that are not those of Auto Loader: those that show in every table, and
// how many more there are.
func (w *planWriter) differences(all []string) {
	if len(all) == 0 {
		return
	}
	if w.most <= mostPlanned {
		few := slices.DeleteFunc(slices.Clone(all), func(d string) bool {
			return !slices.ContainsFunc([]string{"inferColumnTypes=", "mergeSchema=", "lineage="}, func(p string) bool { return strings.HasPrefix(d, p) })
		})
		if more := len(all) - len(few); more > 0 && len(few) > 0 {
			all = few
			all[len(few)-1] += fmt.Sprintf(" and %d more; -v shows all", more)
		}
	}
	for i, line := range wrap(all, 90) {
		w.line([]string{"differs", ""}[min(i, 1)], "%s%s", []string{"from Auto Loader: ", ""}[min(i, 1)], line)
	}
}

// list writes the first of n things in columns, and how many more there are.
func (w *planWriter) list(n int, row func(i int) []string, more string) {
	t := &textTable{}
	for i := range min(n, w.most) {
		t.add(row(i)...)
	}
	var b strings.Builder
	t.body(&b)
	for _, line := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		w.line("", "%s", line)
	}
	if n > w.most {
		w.line("", "and %s more %s; -v shows all", thousands(n-w.most), more)
	}
}

func (w *planWriter) files() {
	f, r := w.plan.Files, w.plan.Read
	parts := []string{"none new"}
	if f.New > 0 {
		parts[0] = fmt.Sprintf("%s new (%s)", thousands(f.New), size(f.Bytes))
	}
	for _, p := range []struct {
		n    int
		what string
	}{
		{f.Unfinished, "of them in a batch that an earlier run did not finish"}, {f.FailedBefore, "of them failed before"}, {f.Changed, "changed since they were loaded"}, {f.Skipped, "cannot be read"},
	} {
		if p.n > 0 {
			parts = append(parts, thousands(p.n)+" "+p.what)
		}
	}
	w.line("files", "%s", strings.Join(parts, ", "))
	if text := passedText(f.PassedOver); text != "" {
		w.line("", "%s", text)
	}
	switch {
	case f.New == 0:
	case r.Full:
		w.line("read", "all of them: %s", count(r.Records, "record"))
	default:
		w.line("read", "%s of them, spread over all (%s of %s): %s; what follows is about these, --full reads all",
			thousands(r.Files), size(r.Bytes), size(f.Bytes), count(r.Records, "record"))
	}
}

// schema writes how the source schema would change.
func (w *planWriter) schema() {
	p := w.plan
	s := p.Schema
	changed := fmt.Sprintf("v%d -> v%d   ", s.From, s.To)
	switch {
	case s.From < 0:
		w.line("schema", "would be v0   %s %s", count(s.Columns, "column"), map[string]string{"given": "as the option schema gives them"}[p.Reason])
	case p.Reason == "hints", p.Reason == "given", p.Reason == "transform", p.Reason == "partition columns":
		why := map[string]string{"hints": "the hints or the table's types changed", "given": "the option schema changed", "transform": "the SQL changed",
			"partition columns": "the option partitionColumns changed"}
		w.line("schema", "%s%s", changed, why[p.Reason])
	case p.Reason != "" && len(s.Added) == 0:
		w.line("schema", "%s%s", changed, changesText(s))
	case p.Reason != "":
		w.line("schema", "%s%s would become %s", changed, count(len(s.Added), "new field"), plural(len(s.Added), "a column", "columns"))
	default:
		w.line("schema", "v%d   %s", s.From, map[bool]string{true: "no new fields", false: w.kept(len(s.Added))}[len(s.Added) == 0])
	}
	if p.Reason == "given" && len(s.Added) > 0 {
		w.line("", "%s", w.kept(len(s.Added)))
	}
	if len(s.Added) > 0 {
		w.list(len(s.Added), func(i int) []string {
			n := s.Added[i]
			return []string{"+ " + n.Path, cut(ddlText(n.DDL), 60), where(n.File, n.Line)}
		}, "fields")
	}
	if n := len(s.Widened); n > 0 {
		w.line("wider", "%s would get a type that holds all numbers", count(n, "column"))
		w.list(n, func(i int) []string {
			n := s.Widened[i]
			return []string{"~ " + n.Path, ddlText(n.From) + " -> " + ddlText(n.DDL), where(n.File, n.Line)}
		}, "columns")
	}
	if n := len(p.Folders); n > 0 && (s.From < 0 || p.Reason == "partition columns") {
		var all []string
		for _, f := range p.Folders {
			all = append(all, f.Path+" "+ddlText(f.DDL))
		}
		w.line("folders", "%s from folders k=v: %s", count(n, "column"), some(all, w.most))
	}
	for _, t := range p.Targets {
		if !p.Transform || len(t.Columns) == 0 || p.Stop != "" {
			continue
		}
		it := "the SQL would give it"
		if len(p.Targets) > 1 {
			it = t.Table + " would get"
		}
		w.line("table", "%s %s", it, count(len(t.Columns), map[bool]string{true: "column", false: "new column"}[t.Version < 0]))
		w.list(len(t.Columns), func(i int) []string {
			return []string{"+ " + t.Columns[i].Path, cut(ddlText(t.Columns[i].DDL), 60)}
		}, "columns")
	}
	if n := len(s.Uncarried); n > 0 {
		w.line("transform", "%s would be read and not be in the table: the SQL does not carry %s", count(n, "new field"), plural(n, "it", "them"))
		uncarriedList(w.line, s.Uncarried, w.most)
	}
	if n := len(p.LeftOut); n > 0 {
		w.line("left out", "%s the SQL was written without: %s", count(n, "field"), some(p.LeftOut, w.most))
	}
	if len(s.Pending) > 0 {
		most := mostPending
		if w.most > mostPlanned {
			most = w.most
		}
		pendingLines(w.line, s.Pending, most, "; -v shows all")
	}
}

// kept says what new fields do where they do not become columns.
func (w *planWriter) kept(n int) string {
	fields := count(n, "new field")
	if w.plan.Mode == "addNewColumns" {
		return fields + " would become " + plural(n, "a column", "columns")
	}
	mode := " (schemaEvolutionMode: " + w.plan.Mode + ")"
	switch {
	case w.plan.Mode == "failOnNewColumns":
		return fields + " would stop the run before anything is written" + mode
	case w.plan.RescuedColumn == "":
		return fields + " would be ignored, " + plural(n, "its", "their") + " values lost" + mode
	}
	return fields + " would be kept in " + w.plan.RescuedColumn + mode
}

// data writes what would become of records and values.
func (w *planWriter) data() {
	p := w.plan
	if p.Stop != "" {
		w.line("! stops", "%s", p.Stop)
		w.expect()
		return
	}
	rows := p.Read.Records - p.Read.Quarantine
	if p.Expect != nil && !p.Transform && len(p.Targets) == 1 {
		rows = p.Expect.Kept
	}
	about := ""
	if !p.Read.Full && p.Read.Bytes > 0 {
		rows = int64(float64(rows) / float64(p.Read.Bytes) * float64(p.Files.Bytes))
		about = "about "
	}
	through := map[bool]string{true: ", through the SQL", false: ""}[p.Transform]
	verb := "loaded"
	if len(p.Keys) > 0 {
		verb = "merged on " + strings.Join(p.Keys, ", ")
	}
	if len(p.Targets) == 1 && p.Targets[0].Write == "overwrite" {
		verb = "loaded " + placeText(p.Targets[0])
	}
	if len(p.Targets) > 1 {
		verb, through = "loaded", fmt.Sprintf(" into %d tables", len(p.Targets))
	}
	w.line("records", "%s%s would be %s%s", about, thousands(rows), verb, through)
	for _, t := range p.Targets {
		if len(p.Targets) > 1 && len(t.Keys) > 0 {
			w.line("", "merged into %s on %s", t.Table, strings.Join(t.Keys, ", "))
		}
		if len(p.Targets) > 1 && t.Write == "overwrite" {
			w.line("", "into %s %s", t.Table, placeText(t))
		}
	}
	w.expect()
	if p.Read.Rescued > 0 && p.RescuedColumn != "" {
		w.line("rescued", "%s would keep values in %s", count(p.Read.Rescued, "record"), p.RescuedColumn)
	}
	if n := len(p.Conflicts); n > 0 {
		fate := "would be kept in " + p.RescuedColumn
		if p.RescuedColumn == "" {
			fate = "would be lost: there is no rescued data column"
		}
		w.line("conflicts", "%s with values that do not fit; these %s", count(n, "column"), fate)
		w.list(n, func(i int) []string {
			c := p.Conflicts[i]
			return []string{"! " + c.Path, ddlText(c.Column), count(c.Values, "value"), where(c.File, c.Line)}
		}, "columns")
	}
	if n := p.Read.Quarantine; n > 0 {
		w.line("bad", "%s would be quarantined", count(n, "record"))
		for _, r := range p.Bad[:min(len(p.Bad), w.most, 5)] {
			w.line("", "%s  %s", where(r.File, r.Line), r.Detail)
			text, column := around(r.Record, int(r.ErrorAt))
			w.line("", "  %s", text)
			if r.ErrorAt >= 0 {
				w.line("", "  %s^", strings.Repeat(" ", column))
			}
		}
	}
	if otherFiles(p) {
		w.line("", "to leave out files that are no JSON: the option pathGlobFilter, such as *.json*")
	}
	if n := len(p.Unreadable); n > 0 {
		w.line("unreadable", "%s would load no row, and be tried again", count(n, "file"))
		w.list(n, func(i int) []string {
			u := p.Unreadable[i]
			_, why, ok := strings.Cut(u.Error, u.File+": ")
			if !ok {
				why = u.Error
			}
			return []string{where(u.File, 0), cut(why, 100)}
		}, "files")
	}
}

// expect writes what the expectations would make of the rows that were read.
func (w *planWriter) expect() {
	e := w.plan.Expect
	if e == nil {
		return
	}
	of := "all new files"
	if !w.plan.Read.Full {
		of = "the files that were read"
	}
	w.line("expect", "%s, in %s", expectText(e), of)
	w.list(len(e.Rules), func(i int) []string {
		r := e.Rules[i]
		name, first := r.Rule, ""
		if len(w.plan.Targets) > 1 {
			name = r.Table + ": " + name
		}
		if r.File != "" {
			first = "first " + where(r.File, r.Line)
		}
		return []string{map[bool]string{true: "! ", false: "  "}[r.Broken > 0] + name, r.OnViolation, thousands(r.Met) + " met", thousands(r.Broken) + " broken", first}
	}, "rules")
}

// advice writes what is better decided before the load.
func (w *planWriter) advice() {
	p := w.plan
	if p.RecordPath != "" {
		w.line("envelope", "each file is one object around a list. For a row of each of its elements, set the option")
		w.line("", "  recordPath: %s", p.RecordPath)
	}
	for _, o := range p.Wide {
		keys := thousands(o.Keys)
		if o.Hint == "" {
			continue // a warning tells of it
		}
		if o.Rescued {
			keys += " or more"
		}
		w.line("ids", "%s has %s different keys, which look like ids; as a map it is one column. The hint:", o.Path, keys)
		w.line("", "  %s", cut(o.Hint, 200))
	}
	if n := len(p.Mixed); n > 0 {
		w.line("mixed", "%s of several kinds would become text", count(n, "field"))
		w.list(n, func(i int) []string {
			m := p.Mixed[i]
			return []string{"! " + m.Path, kinds(m), where(m.File, m.Line)}
		}, "fields")
	}
	if n := len(p.WholeNumbers); n > 0 {
		holds, would := "paths hold", "a later 80.5 would be rescued"
		if n == 1 {
			holds = "path holds"
		}
		if p.RescuedColumn == "" {
			would = "a later 80.5 would be lost"
		}
		w.line("whole", "%s %s only whole numbers so far; %s", thousands(n), holds, would)
		paths := idsLast(p.WholeNumbers)
		most := 4
		if w.most > mostPlanned {
			most = w.most
		}
		for _, at := range paths[:min(n, most)] {
			w.line("", "%s", at)
		}
		if n > most {
			w.line("", "+%s more; -v shows all", thousands(n-most))
		}
		if p.Schema.From < 0 && p.TableVersion < 0 {
			w.line("", "where fractions are to be expected, say so before the first load: schemaHints: %s double", paths[0])
		}
	}
}

// idsLast puts paths that name ids last: what they hold stays whole.
func idsLast(paths []string) []string {
	id := func(at string) int {
		name := strings.Trim(at[strings.LastIndexByte(at, '.')+1:], "`")
		if strings.EqualFold(name, "id") || strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "Id") || strings.HasSuffix(name, "ID") {
			return 1
		}
		return 0
	}
	return slices.SortedStableFunc(slices.Values(paths), func(a, b string) int { return id(a) - id(b) })
}

// otherFiles says whether a bad record comes from a file that does not look like one of JSON.
func otherFiles(p *silt.Plan) bool {
	return slices.ContainsFunc(p.Bad, func(r silt.QuarantinedRecord) bool {
		name := strings.ToLower(r.File[strings.LastIndexByte(r.File, '/')+1:])
		return !strings.Contains(name, "json") && !strings.HasSuffix(name, ".gz") && !strings.HasSuffix(name, ".zst")
	})
}

// verdict is the sum of a plan.
func (w *planWriter) verdict() string {
	p := w.plan
	if p.Files.New == 0 {
		return "There is nothing to load."
	}
	if p.Stop != "" {
		return "The run would stop."
	}
	var parts []string
	add := func(n int, one, more string) {
		if n > 0 {
			parts = append(parts, thousands(n)+" "+plural(n, one, more))
		}
	}
	tables, columns := 0, 0 // that are new; to add to those that are there
	for _, t := range p.Targets {
		if t.Version < 0 {
			tables++
		} else {
			columns += len(t.Columns)
		}
	}
	if tables == 1 && len(p.Targets) == 1 {
		parts = append(parts, "A table of "+count(len(p.Columns), "column"))
	} else {
		add(tables, "new table", "new tables")
	}
	add(columns, "column to add", "columns to add")
	add(len(p.Schema.Widened), "column to widen", "columns to widen")
	add(len(p.Conflicts), "conflict", "conflicts")
	add(int(p.Read.Quarantine), "record for quarantine", "records for quarantine")
	add(len(p.Unreadable), "file that cannot be read", "files that cannot be read")
	if len(parts) == 0 {
		return plural(len(p.Targets), "The table keeps its", "The tables keep their") + " columns."
	}
	return strings.Join(parts, ", ") + "."
}

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// kinds says which kinds of values a field has, and how many.
func kinds(m silt.MixedField) string {
	var parts []string
	for _, k := range []struct {
		n    int64
		what string
	}{{m.Numbers, "number"}, {m.Texts, "text"}, {m.Booleans, "boolean"}, {m.Objects, "object"}, {m.Lists, "list"}} {
		if k.n > 0 {
			parts = append(parts, count(k.n, k.what))
		}
	}
	return strings.Join(parts, ", ")
}

// ddlText writes a DDL type with its words in lower case and its names as they are.
func ddlText(ddl string) string {
	t, err := schema.ParseType(ddl)
	if err != nil {
		return ddl
	}
	return lowerType(t)
}

func lowerType(t schema.Type) string {
	switch t := t.(type) {
	case *schema.Struct:
		fields := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			fields[i] = schema.Quote(f.Name) + ": " + lowerType(f.Type)
		}
		return "struct<" + strings.Join(fields, ", ") + ">"
	case *schema.Array:
		return "array<" + lowerType(t.Element) + ">"
	case *schema.Map:
		return "map<" + lowerType(t.Key) + ", " + lowerType(t.Value) + ">"
	}
	return strings.ToLower(t.String())
}
