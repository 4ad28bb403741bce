package cli

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) loadCommand() *cobra.Command {
	var options []string
	var transform, compat string
	var watch, fromScratch bool
	var workers int
	cmd := &cobra.Command{
		Use:   "load SOURCE TARGET",
		Short: "Load the new files of a folder into a table, without a pipeline file",
		Long: `Loads every new JSON file below SOURCE into the Delta table TARGET, which is made when it is not
there. SOURCE is a folder and may end in a glob. TARGET is a name of three parts, such as
main.demo.events, which is the folder ./lake/main/demo/events unless a catalog in silt.yml says
otherwise; or a path, such as ./lake/events.

What was loaded is remembered beside the table: a second run loads only files that are new.`,
		Example: `  silt load ./silt-demo/day1 main.demo.events
  silt load ./landing ./lake/events --option schemaEvolutionMode=rescue
  silt load './landing/*.json.gz' main.demo.events --transform 'select *, cast(ts as date) as day from source'`,
		Args: arguments(2, 2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) < 2 {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.configuration(false)
			if err != nil {
				return err
			}
			p, err := commandPipeline(c, args[0], args[1], options, transform, compat)
			if err != nil {
				return err
			}
			p.config.Workers, p.config.FromScratch = workers, fromScratch
			return a.execute(cmd.Context(), c, []pipeline{*p}, watch)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&options, "option", nil, "an option of Auto Loader, Spark's JSON reader or Delta, as `name=value`; repeatable")
	f.StringVar(&transform, "transform", "", "`SQL` over the records, which it sees as the table source; or @file")
	f.StringVar(&compat, "compat", "", "`PROFILE` to follow: autoloader is Auto Loader's behaviour to the letter")
	f.BoolVar(&watch, "watch", false, "go on, and load files as they arrive")
	f.BoolVar(&fromScratch, "from-scratch", false, fromScratchUsage)
	f.IntVar(&workers, "workers", 0, "`NUMBER` of tasks that run at once (default: one a processor)")
	complete(cmd, "option", completeOptions)
	complete(cmd, "compat", cobra.FixedCompletions([]string{"autoloader"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// commandPipeline makes the pipeline that a command line describes. It is read by the same rules as
// one in a file, so that its mistakes are shown in the same way.
func commandPipeline(c *configuration, from, to string, options []string, transform, compat string) (*pipeline, error) {
	var faults []fault
	v := &value{kind: mapping}
	add := func(m *value, key, shown, content string) {
		doc := &document{name: "the command line", lines: []string{shown}}
		at := place{doc, 1, 1}
		at.column = len([]rune(shown)) - len([]rune(content)) + 1
		m.entries = append(m.entries, entry{key, place{doc, 1, max(1, at.column-len(key)-1)}, &value{kind: text, text: content, at: at}})
	}
	add(v, "source", from, from)
	target := &value{kind: mapping}
	t, err := targetOf(to)
	if err != nil {
		return nil, err
	}
	if t.Table != "" {
		add(target, "table", to, to)
	} else {
		add(target, "path", to, to)
	}
	v.entries = append(v.entries, entry{key: "target", at: target.entries[0].at, value: target})
	if len(options) > 0 {
		all := &value{kind: mapping}
		for _, o := range options {
			name, content, ok := strings.Cut(o, "=")
			if !ok {
				doc := &document{name: "the command line", lines: []string{"--option " + o}}
				faults = append(faults, fault{codeUsage, "--option takes name=value", "for example --option maxFilesPerTrigger=100", place{doc, 1, len("--option ") + 1}, ""})
				continue
			}
			add(all, name, "--option "+o, content)
		}
		v.entries = append(v.entries, entry{key: "options", value: all})
	}
	if transform != "" {
		add(v, "transform", "--transform "+transform, transform)
	}
	if compat != "" {
		add(v, "compat", "--compat "+compat, compat)
	}
	var doc pipelineDoc
	d := &decoder{}
	d.into(v, reflect.ValueOf(&doc).Elem(), nil)
	r := &resolver{catalogs: c.catalogs(), origins: c.origins, value: v}
	p := &pipeline{name: "load", config: r.config(doc), value: v}
	faults = append(append(faults, d.faults...), r.faults...)
	if len(faults) > 0 {
		return nil, faultsOrNil(c.more(faults, []pipeline{*p}))
	}
	return p, nil
}

var tableName = regexp.MustCompile("^([\\pL\\pN_-]+|`[^`]+`)(\\.([\\pL\\pN_-]+|`[^`]+`)){2}$")

// targetOf tells a name from a path: a name has three parts; a path has a slash or is there.
func targetOf(s string) (silt.Target, error) {
	if strings.ContainsAny(s, `/\`) || s == "." || s == ".." || isURI(s) {
		return silt.Path(s), nil
	}
	if info, err := os.Stat(s); err == nil && info.IsDir() {
		return silt.Path(s), nil
	}
	if tableName.MatchString(s) {
		return silt.Table(s), nil
	}
	return silt.Target{}, &usageError{
		problem: fmt.Sprintf("%q is no table: a name has three parts, such as main.demo.events, a path a slash", s),
		hint:    "for a folder write ./" + s,
	}
}

// sqlName writes a table as SQL names it.
func sqlName(table string) string {
	if t, err := targetOf(table); err == nil && t.Table != "" {
		return table
	}
	return "'" + strings.ReplaceAll(table, "'", "''") + "'"
}
