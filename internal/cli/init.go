package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/siltlake/silt"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/schema"
	"github.com/spf13/cobra"
)

func (a *app) initCommand() *cobra.Command {
	out, target, job := defaultFile, "", ""
	full := false
	cmd := &cobra.Command{
		Use:   "init [SOURCE]",
		Short: "Look at files and write a pipeline file for them",
		Long: `Looks at the files of SOURCE and writes a pipeline file with comments. What is better decided before the
first load stands in it as hints to be uncommented: numbers that were whole so far, objects whose keys
are ids, fields with values of several kinds. No table is made.

With --from-spark it reads a PySpark script or notebook for its Auto Loader streams and carries their
options over; the script is read as text, and what could not be carried is told.`,
		Example: `  silt init ./landing
  silt init ./landing --target main.demo.events
  silt init --from-spark job.py`,
		Args: arguments(0, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && job == "" {
				return usage(cmd, "for example: silt init ./landing", "where are the files?")
			}
			if _, err := os.Stat(out); err == nil && !a.flags.yes {
				return usage(cmd, "write another with --out FILE, or over it with --yes", "there is a file %s already; nothing was written", out)
			}
			d := &draft{app: a, file: out, full: full}
			if job != "" {
				if err := d.fromSpark(job); err != nil {
					return err
				}
			}
			if err := d.arguments(cmd, args, target); err != nil {
				return err
			}
			if err := d.look(cmd.Context()); err != nil {
				return err
			}
			if err := os.WriteFile(out, []byte(d.text()), 0o666); err != nil {
				return usage(cmd, "name another file: --out FILE", "the pipeline file cannot be written: %s", err)
			}
			return a.showDraft(d)
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", out, "write the pipeline file to `FILE`")
	f.StringVar(&target, "target", "", "the `TABLE`: a name of three parts or a path (default: main.default and the name of the folder)")
	f.StringVar(&job, "from-spark", "", "carry over the streams of a PySpark script or notebook `FILE`")
	f.BoolVar(&full, "full", false, "read all files, not only some of a large source")
	return cmd
}

// draft is a pipeline file in the making.
type draft struct {
	app       *app
	file      string
	full      bool
	job       string // the script that it comes from
	pipelines []*draftPipeline
}

// draftPipeline is a pipeline of a draft.
type draftPipeline struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Target string `json:"target"`
	// Plan is what a first run would do; nil when the files could not be looked at, which Unseen says
	// why.
	Plan   *silt.Plan `json:"plan,omitempty"`
	Unseen string     `json:"unseen,omitempty"`
	// Left is what the script has and the pipeline has not, Differences are those from Auto Loader.
	Left        []leftOver `json:"left,omitempty"`
	Differences []string   `json:"differences,omitempty"`

	line       int // of the script
	options    []sparkOption
	partition  []string
	checkpoint string
	trigger    [2]string
}

// arguments takes the source and the target of the command line, which go before those of a script.
func (d *draft) arguments(cmd *cobra.Command, args []string, target string) error {
	if d.job == "" {
		d.pipelines = []*draftPipeline{{}}
	}
	if len(d.pipelines) > 1 && (len(args) > 0 || target != "") {
		return usage(cmd, "leave SOURCE and --target out, and change the file afterwards", "%s has %s; SOURCE and --target are for one", d.job, count(len(d.pipelines), "stream"))
	}
	p := d.pipelines[0]
	if len(args) > 0 {
		p.Source = args[0]
	}
	if target != "" {
		p.Target = target
	}
	taken := map[string]bool{}
	for _, p := range d.pipelines {
		if p.Name == "" {
			p.Name = nameOf(p.Source, p.Target)
		}
		p.Name = unique(cleanName(p.Name), taken)
		if p.Target == "" {
			p.Target = "main.default." + strings.ReplaceAll(p.Name, "-", "_")
		}
	}
	return nil
}

// generic are names of folders that say nothing about what is in them.
var generic = []string{"", ".", "data", "landing", "raw", "in", "input", "incoming", "inbox", "json", "files", "tmp"}

// nameOf makes a pipeline's name of its folder, or of its table where that says more.
func nameOf(from, to string) string {
	if i := strings.IndexAny(from, "*?[{"); i >= 0 {
		from = from[:strings.LastIndexByte(from[:i], '/')+1]
	}
	if abs, err := filepath.Abs(from); err == nil && !isURI(from) {
		from = abs
	}
	folder := filepath.Base(filepath.ToSlash(from))
	if !slices.Contains(generic, folder) {
		return strings.TrimSuffix(strings.TrimSuffix(folder, ".gz"), ".json")
	}
	if t, err := targetOf(to); err == nil && to != "" {
		if t.Table != "" {
			return strings.Trim(t.Table[strings.LastIndexByte(t.Table, '.')+1:], "`")
		}
		return filepath.Base(t.Path)
	}
	if above := filepath.Base(filepath.Dir(from)); !slices.Contains(generic, above) && above != "/" {
		return above
	}
	return "events"
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

func cleanName(name string) string {
	return cmp.Or(strings.Trim(notInName.ReplaceAllString(name, "_"), "_-"), "events")
}

func unique(name string, taken map[string]bool) string {
	out := name
	for n := 2; taken[out]; n++ {
		out = fmt.Sprintf("%s_%d", name, n)
	}
	taken[out] = true
	return out
}

// fromSpark takes the streams of a script.
func (d *draft) fromSpark(job string) error {
	text, err := os.ReadFile(job)
	if err != nil {
		return &usageError{problem: "the script cannot be read: " + err.Error(), hint: "silt init --from-spark FILE"}
	}
	d.job = job
	for _, s := range sparkStreams(string(text)) {
		p := &draftPipeline{Name: s.name, Source: s.source, line: s.line, partition: s.columns, trigger: s.trigger, Left: s.left}
		p.target(s)
		for _, o := range s.options {
			p.option(o)
		}
		if p.Source == "" {
			if !slices.ContainsFunc(p.Left, func(l leftOver) bool { return strings.HasPrefix(l.What, ".load(") }) {
				p.Left = append(p.Left, leftOver{s.line, ".load(...)", "where the files are is not in the script"})
			}
			p.Source = "./landing"
		}
		d.pipelines = append(d.pipelines, p)
	}
	if d.pipelines == nil {
		return &usageError{problem: job + " has no stream of cloudFiles or json: no spark.readStream.format(\"cloudFiles\")", hint: "without a script: silt init SOURCE"}
	}
	return nil
}

// target takes the table of a stream. A name of two parts belongs to a catalog that Spark knows.
func (p *draftPipeline) target(s *sparkStream) {
	for i, o := range s.options {
		if s.path == "" && s.writes && plainName(o.name) == "path" {
			s.path = o.text
			s.options = slices.Delete(s.options, i, i+1)
			break
		}
	}
	switch parts := strings.Count(s.table, "."); {
	case s.table == "":
		p.Target = s.path
	case parts == 2:
		p.Target = s.table
	default:
		p.Target = "main." + s.table
		if parts == 0 {
			p.Target = "main.default." + s.table
		}
		p.Left = append(p.Left, leftOver{s.line, s.table, "a table's name has three parts here: " + p.Target})
	}
	if t := p.Target; t != "" && !tableName.MatchString(t) && !strings.ContainsAny(t, `/\`) {
		p.Target = "./" + t
	}
}

// option takes an option, unless silt knows better.
func (p *draftPipeline) option(o sparkOption) {
	leave := func(why string) {
		p.Left = append(p.Left, leftOver{o.line, o.name + "=" + cut(strings.TrimPrefix(o.text, unknownValue), 60), why})
	}
	key := plainName(o.name)
	info := func() (silt.OptionInfo, bool) {
		for _, i := range silt.OptionTable() {
			if plainName(i.Name) == key {
				return i, true
			}
		}
		return silt.OptionInfo{}, false
	}
	found, known := info()
	switch {
	case key == "checkpointlocation" && !strings.HasPrefix(o.text, unknownValue):
		p.checkpoint = strings.TrimSuffix(o.text, "/") + "_silt"
		leave("a checkpoint of Spark cannot be continued; silt keeps its own, and begins with all files that are there")
	case key == "checkpointlocation", key == "schemalocation":
		leave("silt keeps this beside the table, and begins anew")
	case !known && !strings.HasPrefix(key, "resourcetag."):
		leave("silt has no such option")
	case known && found.Class == silt.OptionRefused:
		leave(found.Reason)
	case !known || found.Class == silt.OptionNoEffect:
		leave("not needed: " + cmp.Or(found.Reason, "silt creates no resources"))
	case strings.HasPrefix(o.text, unknownValue):
		leave("its value is known only when the script runs")
	default:
		if i := slices.IndexFunc(p.options, func(q sparkOption) bool { return plainName(q.name) == key }); i >= 0 {
			p.options[i] = o // the last one counts in Spark
			return
		}
		p.options = append(p.options, o)
	}
}

// look opens each pipeline, takes out what is not valid, and looks at its files.
func (d *draft) look(ctx context.Context) error {
	for _, p := range d.pipelines {
		if err := d.lookAt(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (d *draft) lookAt(ctx context.Context, p *draftPipeline) error {
	opened, err := d.open(ctx, p)
	if err != nil {
		return err
	}
	defer opened.Close()
	p.Differences = opened.Differences()
	p.Plan, err = opened.Plan(ctx, silt.PlanOptions{Full: d.full})
	if d.job != "" && errors.Is(err, source.ErrNoFolder) {
		p.Unseen, err = "there is no folder "+p.Source+" here", nil
	}
	p.partitions()
	slices.SortStableFunc(p.Left, func(a, b leftOver) int { return a.Line - b.Line })
	return err
}

// partitions keeps the partition columns that are there. Python code of the script may have made others.
func (p *draftPipeline) partitions() {
	python := slices.ContainsFunc(p.Left, func(l leftOver) bool { return l.Why == whyPython })
	p.partition = slices.DeleteFunc(p.partition, func(name string) bool {
		there := p.Plan == nil && !python || p.Plan != nil && slices.ContainsFunc(p.Plan.Columns, func(c silt.NewField) bool { return c.Path == schema.Quote(name) })
		if !there {
			p.Left = append(p.Left, leftOver{p.line, ".partitionBy(" + name + ")", "the records have no such field: add it to partitionBy of the target when the SQL makes it"})
		}
		return !there
	})
}

// open opens a pipeline as a run would. Options of a script that are not valid are taken out.
func (d *draft) open(ctx context.Context, p *draftPipeline) (*silt.Pipeline, error) {
	for {
		var words []string
		for _, o := range p.options {
			words = append(words, o.name+"="+o.text)
		}
		made, err := commandPipeline(&configuration{dir: filepath.Dir(d.file)}, p.Source, p.Target, words, "", "")
		if err != nil {
			return nil, err
		}
		made.config.Target.PartitionBy, made.config.CheckpointLocation = p.partition, p.checkpoint
		made.config.Name = p.Name
		opened, err := silt.Open(ctx, made.config)
		var mistakes *silt.ConfigError
		if d.job == "" || !errors.As(err, &mistakes) {
			if errors.As(err, &mistakes) {
				return nil, made.located(err)
			}
			return opened, err
		}
		n := len(p.options)
		for _, f := range mistakes.Faults {
			switch {
			case len(f.Key) > 1 && f.Key[0] == "options":
				p.options = slices.DeleteFunc(p.options, func(o sparkOption) bool {
					bad := plainName(o.name) == plainName(f.Key[1])
					if bad {
						p.Left = append(p.Left, leftOver{o.line, o.name + "=" + o.text, cmp.Or(f.Hint, f.Problem)})
					}
					return bad
				})
			case f.Key[0] == "checkpointLocation" && p.checkpoint != "":
				p.checkpoint, n = "", -1
			case f.Key[0] == "source" && f.Code == codeUnsupported:
				p.Left = append(p.Left, leftOver{p.line, p.Source, "silt cannot read there yet: bring the files into " + p.place("landing")})
				p.Source, n = p.place("landing"), -1
			case f.Key[0] == "target" && f.Code == codeUnsupported:
				p.Left = append(p.Left, leftOver{p.line, p.Target, "silt cannot write there yet"})
				p.Target, n = p.place("lake"), -1
			}
		}
		if len(p.options) == n {
			return nil, err
		}
	}
}

// place is a folder for a pipeline whose own is out of reach.
func (p *draftPipeline) place(kind string) string { return "./" + kind + "/" + p.Name }

// text writes the pipeline file.
func (d *draft) text() string {
	w := &draftWriter{draft: d}
	from := ""
	if d.job != "" {
		from = " from " + yamlComment(d.job)
	}
	w.line(0, "# Written by silt init%s. silt config check checks it, silt plan says what a run would do, and", from)
	w.line(0, "# silt run does it. silt config schema prints a JSON Schema of this file, for editors. Paths are")
	w.line(0, "# relative to this file.")
	w.line(0, "version: 1")
	w.line(0, "")
	w.line(0, "pipelines:")
	for i, p := range d.pipelines {
		if i > 0 {
			w.line(0, "")
		}
		w.pipeline(p)
	}
	return w.b.String()
}

// draftWriter writes a draft as YAML.
type draftWriter struct {
	b     strings.Builder
	draft *draft
}

func (w *draftWriter) line(indent int, format string, args ...any) {
	w.b.WriteString(strings.TrimRight(strings.Repeat("  ", indent)+fmt.Sprintf(format, args...), " ") + "\n")
}

// comment writes text over lines of comments.
func (w *draftWriter) comment(indent int, format string, args ...any) {
	text := yamlComment(fmt.Sprintf(format, args...))
	hang := strings.Repeat(" ", len(text)-len(strings.TrimLeft(text, " -"))) // of an item of a list
	line := text[:len(hang)]
	for i, word := range strings.Fields(text[len(hang):]) {
		if i > 0 && 2*indent+len(line)+len(word) > 98 {
			w.line(indent, "# %s", line)
			line = hang + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	w.line(indent, "# %s", line)
}

// yamlComment is text that stays within its line.
func yamlComment(text string) string { return cut(text, 4000) }

// scalarText writes a text as a YAML scalar.
func scalarText(text string) string {
	if k := scalarKind(text); k == boolean || k == number {
		return text // options are read as they are written
	}
	b, err := yaml.Marshal(text)
	if out := strings.TrimSuffix(string(b), "\n"); err == nil && !strings.Contains(out, "\n") {
		return out
	}
	return string(appendString(nil, text))
}

func (w *draftWriter) pipeline(p *draftPipeline) {
	w.line(1, "%s:", scalarText(p.Name))
	if w.draft.job != "" {
		w.comment(2, "%s, line %d.", w.draft.job, p.line)
		if p.Unseen != "" {
			w.comment(2, "The files were not looked at: %s.", p.Unseen)
		}
		if len(p.Left) > 0 {
			w.comment(2, "Not carried over:")
		}
		for _, l := range p.Left {
			w.comment(2, "- line %d, %s: %s", l.Line, l.What, l.Why)
		}
	}
	w.line(2, "source: %s", scalarText(w.draft.relative(p.Source)))
	if p.checkpoint != "" {
		w.line(2, "checkpointLocation: %s", scalarText(w.draft.relative(p.checkpoint)))
	}
	w.line(0, "")
	w.line(2, "options:")
	w.options(p)
	w.line(0, "")
	w.comment(2, "SQL over the records of a batch, which it sees as the table source:")
	w.line(2, "#")
	w.line(2, "# transform: |")
	w.line(2, "#   SELECT *, CAST(… AS DATE) AS day FROM source")
	w.line(0, "")
	w.line(2, "target:")
	if t, err := targetOf(p.Target); err == nil && t.Table != "" {
		w.line(3, "table: %s", scalarText(p.Target))
	} else {
		w.line(3, "path: %s", scalarText(w.draft.relative(p.Target)))
	}
	if len(p.partition) > 0 {
		var names []string
		for _, n := range p.partition {
			names = append(names, scalarText(n))
		}
		w.line(3, "partitionBy: [%s]", strings.Join(names, ", "))
	}
	if p.trigger[0] != "" {
		w.line(0, "")
		if p.trigger[0] == "processingTime" {
			w.comment(2, "How often silt run --watch looks for files; silt run alone loads what is there and stops.")
		}
		w.line(2, "trigger: { %s: %s }", p.trigger[0], scalarTrigger(p.trigger))
	}
	if w.draft.job != "" && len(p.Differences) > 0 {
		w.line(0, "")
		w.comment(2, "Auto Loader's behaviour to the letter. Without it, these defaults differ:")
		for _, diff := range p.Differences {
			w.comment(2, "  %s", diff)
		}
		w.line(2, "#")
		w.line(2, "# compat: autoloader")
	}
}

func scalarTrigger(t [2]string) string {
	if t[0] == "availableNow" {
		return "true"
	}
	return scalarText(t[1])
}

// relative makes a path of the working directory one that is relative to the file.
func (d *draft) relative(path string) string {
	if filepath.IsAbs(path) || isURI(path) {
		return path
	}
	dir := filepath.Dir(d.file)
	out := path
	if dir != "." {
		from, err1 := filepath.Abs(dir)
		to, err2 := filepath.Abs(path)
		rel, err3 := filepath.Rel(from, to)
		if errors.Join(err1, err2, err3) != nil {
			return path
		}
		if out = filepath.ToSlash(rel); strings.HasSuffix(path, "/") {
			out += "/"
		}
	}
	if out != "." && !strings.HasPrefix(out, "./") && !strings.HasPrefix(out, "../") {
		out = "./" + out
	}
	return out
}

// options writes the options, and hints to choose from.
func (w *draftWriter) options(p *draftPipeline) {
	given := func(name string) bool {
		return slices.ContainsFunc(p.options, func(o sparkOption) bool { return plainName(o.name) == plainName(name) })
	}
	if !given("format") {
		w.line(3, "format: json")
	}
	for _, o := range p.options {
		name := o.name
		if short, ok := strings.CutPrefix(name, "cloudFiles."); ok {
			name = short
		}
		w.line(3, "%s: %s", name, scalarText(o.text))
	}
	if !given("schemaEvolutionMode") && !given("schema") {
		w.line(0, "")
		w.comment(3, "What becomes of a field that nobody announced. addNewColumns: a column, at any depth. rescue: it is kept in the column _rescued_data until someone decides. failOnNewColumns: the run stops.")
		w.line(3, "schemaEvolutionMode: addNewColumns")
	}
	if p.Plan != nil && p.Plan.RecordPath != "" {
		w.line(0, "")
		w.comment(3, "Each file is one object around a list. For a row of each of its elements, take the # out; recordKeep takes members beside the list along.")
		w.line(3, "# recordPath: %s", p.Plan.RecordPath)
	}
	w.hints(p, given("schemaHints"))
}

// hints writes what is better decided before the first load, as comments.
func (w *draftWriter) hints(p *draftPipeline, given bool) {
	plan := p.Plan
	if plan == nil || len(plan.Wide)+len(plan.WholeNumbers)+len(plan.Mixed) == 0 {
		return
	}
	w.line(0, "")
	if given {
		w.comment(3, "To be decided before the first load, because a column keeps its type. Lines to add to the schemaHints above:")
	} else {
		w.comment(3, "To be decided before the first load, because a column keeps its type. Take the # from schemaHints and from the lines that are right, and the other lines out:")
	}
	for _, o := range plan.Wide {
		w.comment(3, "- %s has %s different keys that look like ids; as a map it is one column.", o.Path, thousands(o.Keys))
	}
	for _, m := range plan.Mixed {
		w.comment(3, "- %s has %s; as a string it keeps all of them.", m.Path, kinds(m))
	}
	if n := len(plan.WholeNumbers); n > 0 {
		holds := plural(n, "1 field holds", thousands(n)+" fields hold")
		w.comment(3, "- %s only whole numbers so far; a later 80.5 would be kept in _rescued_data. Those that may get fractions are better a double.", holds)
	}
	w.line(3, "#")
	indent := "#   "
	if !given {
		w.line(3, "# schemaHints: |")
	}
	for _, o := range plan.Wide {
		w.line(3, "%s%s,", indent, o.Hint)
	}
	for _, m := range plan.Mixed {
		w.line(3, "%s%s string,", indent, m.Path)
	}
	for _, at := range idsLast(plan.WholeNumbers) {
		w.line(3, "%s%s double,", indent, at)
	}
}

// showDraft tells what was found and written.
func (a *app) showDraft(d *draft) error {
	if a.machine() {
		return a.printJSON(result("silt.init/v1", member{"file", d.file}, member{"pipelines", d.pipelines}))
	}
	for _, p := range d.pipelines {
		from := ""
		if d.job != "" {
			from = fmt.Sprintf("   from %s:%d", d.job, p.line)
		}
		fmt.Fprintf(a.stdout, "%s  %s -> %s%s\n", p.Name, p.Source, p.Target, from)
		w := &planWriter{most: mostPlanned, plan: p.Plan}
		if a.flags.verbose {
			w.most = 1 << 30
		}
		if p.Plan != nil {
			w.files()
			if p.Plan.Files.New > 0 {
				w.line("schema", "%s, %s", count(p.Plan.Schema.Columns, "column"), count(leavesOf(p.Plan), "field"))
				w.advice()
				if n := p.Plan.Read.Quarantine; n > 0 {
					w.line("bad", "%s would be quarantined; silt plan shows them", count(n, "record"))
				}
				if n := len(p.Plan.Unreadable); n > 0 {
					w.line("unreadable", "%s; silt plan shows them", count(n, "file"))
				}
			}
		}
		if p.Unseen != "" {
			w.line("files", "not looked at: %s", p.Unseen)
			if d.job != "" {
				w.line("", "with a copy of some of them: silt init FOLDER --from-spark %s", d.job)
			}
		}
		if d.job != "" {
			var names []string
			for _, o := range p.options {
				names = append(names, o.name)
			}
			if len(names) > 0 {
				w.line("carried", "%s", some(names, 12))
			}
			for i, l := range p.Left {
				w.line([]string{"not carried", ""}[min(i, 1)], "%s  %s", l.where(d.job), l.What)
				w.line("", "  %s", l.Why)
			}
			w.differences(p.Differences)
		}
		fmt.Fprint(a.stdout, w.b.String())
	}
	fmt.Fprintf(a.stdout, "Wrote %s: %s. No table was made.\n", d.file, count(len(d.pipelines), "pipeline"))
	if d.file != defaultFile {
		a.next("silt", "plan", "-c", d.file)
	} else {
		a.next("silt", "plan")
	}
	return nil
}

// leavesOf is the number of fields that hold values.
func leavesOf(p *silt.Plan) int {
	n := 0
	schema.Walk(p.SourceSchema, func([]string, schema.Type) { n++ })
	return n
}
