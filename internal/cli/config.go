package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check the pipeline file, show what it means", Args: cobra.ArbitraryArgs, RunE: group}
	check := &cobra.Command{
		Use:   "check",
		Short: "Check the pipeline file; all mistakes are told at once",
		Long: `Checks all of the pipeline file, and tells all mistakes at once. SQL is checked against the columns of its
source once a run, or the option schema, has made them known.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.configuration(true)
			if err != nil {
				return err
			}
			chosen, err := c.choose(nil)
			if err != nil {
				return err
			}
			opened, err := c.open(cmd.Context(), chosen)
			if err != nil {
				return err
			}
			defer closeAll(opened) //nolint:errcheck // nothing was written
			var failed failures
			for i, p := range opened {
				if err := p.CheckSQL(cmd.Context()); err != nil {
					err = c.placed(&chosen[i], err)
					failed = append(failed, fmt.Errorf("pipeline %s: %w", p.Name(), err))
				}
			}
			if failed != nil {
				return failed
			}
			names := pipelineNames(chosen)
			if a.machine() {
				return a.printJSON(result("silt.config_check/v1", member{"file", c.path}, member{"pipelines", names}))
			}
			fmt.Fprintf(a.stdout, "%s is right: %s (%s)\n", c.path, count(len(names), "pipeline"), some(names, 12))
			a.next("silt", "run", "-c", c.path)
			return nil
		},
	}
	show := &cobra.Command{
		Use:   "show",
		Short: "Show the configuration as silt reads it, with the origin of each value",
		Args:  arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			c, err := a.configuration(true)
			if err != nil {
				return err
			}
			lines := c.resolved()
			if a.listed() {
				return a.printAll("silt.config/v1", "values", leaves(lines))
			}
			writeResolved(a, lines)
			return nil
		},
	}
	schema := &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the pipeline file, for editors",
		Example: "  silt config schema > silt.schema.json",
		Args:    arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			s, err := fileSchema()
			if err != nil {
				return err
			}
			return a.printJSON(s)
		},
	}
	cmd.AddCommand(check, show, schema)
	return cmd
}

// resolvedLine is a line of config show: a key, and its value when it has one of its own.
type resolvedLine struct {
	path   []string
	text   string // YAML; empty for a key with keys below it
	origin string
}

// resolved returns the configuration in the order of the file, the defaults behind what is written.
func (c *configuration) resolved() []resolvedLine {
	var lines []resolvedLine
	var walk func(path []string, v *value)
	walk = func(path []string, v *value) {
		if v.kind != mapping {
			lines = append(lines, resolvedLine{path, yamlText(v, path), origin(v)})
			return
		}
		if len(path) > 0 {
			lines = append(lines, resolvedLine{path: path})
		}
		for _, e := range v.entries {
			if len(path) == 0 && e.key == "environments" {
				continue
			}
			walk(append(slices.Clip(path), e.key), e.value)
		}
		switch {
		case len(path) == 2 && path[0] == "pipelines":
			lines = append(lines, pipelineDefaults(path, v)...)
		case len(path) == 3 && path[0] == "pipelines" && path[2] == "options":
			lines = append(lines, optionDefaults(path, v, c.doc.Pipelines[path[1]].Compat)...)
		case len(path) == 3 && path[0] == "pipelines" && path[2] == "target":
			lines = append(lines, missing(path, v, "write", "append")...)
		}
	}
	walk(nil, c.root)
	return lines
}

func missing(path []string, v *value, pairs ...string) (lines []resolvedLine) {
	for i := 0; i < len(pairs); i += 2 {
		if v.get(pairs[i]) == nil {
			lines = append(lines, resolvedLine{append(slices.Clip(path), pairs[i]), pairs[i+1], "default"})
		}
	}
	return lines
}

func pipelineDefaults(path []string, v *value) []resolvedLine {
	lineage := "[ingestion_timestamp, source_file]"
	compat := ""
	if e := v.get("compat"); e != nil {
		compat = e.value.text
	}
	if compat == "autoloader" {
		lineage = "off"
	}
	lines := missing(path, v, "lineage", lineage, "uncarried", "rescue", "onCorrupt", map[bool]string{true: "nullRow", false: "quarantine"}[compat == "autoloader"],
		"onConstraint", map[bool]string{true: "fail", false: "quarantine"}[compat == "autoloader"])
	if compat == "autoloader" {
		lines = append(lines, missing(path, v, "onSchemaChange", "evolve")...)
	}
	if v.get("options") == nil {
		at := append(slices.Clip(path), "options")
		lines = append(append(lines, resolvedLine{path: at}), optionDefaults(at, &value{kind: mapping}, compat)...)
	}
	return lines
}

func optionDefaults(path []string, v *value, compat string) (lines []resolvedLine) {
	table := silt.OptionTable()
	slices.SortFunc(table, func(a, b silt.OptionInfo) int { return strings.Compare(plainName(a.Name), plainName(b.Name)) })
	for _, o := range table {
		text := o.Default
		if compat == "autoloader" && o.CompatDefault != "" {
			text = o.CompatDefault
		}
		if text == "" || o.Class != silt.OptionHonoured || v.getFold(o.Name) != nil {
			continue
		}
		lines = append(lines, resolvedLine{append(slices.Clip(path), strings.TrimPrefix(o.Name, "cloudFiles.")), text, "default"})
	}
	return lines
}

// yamlText writes a value as YAML on one line, or as a block of lines. Secrets are not shown.
func yamlText(v *value, path []string) string {
	if v.secret || v.kind <= text && v.text != "" && isSecret(path[len(path)-1]) {
		return masked
	}
	switch v.kind {
	case null:
		return "null"
	case list:
		var items []string
		for _, item := range v.items {
			items = append(items, yamlText(item, path))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case mapping:
		var items []string
		for _, e := range v.entries {
			items = append(items, e.key+": "+yamlText(e.value, append(slices.Clip(path), e.key)))
		}
		return "{ " + strings.Join(items, ", ") + " }"
	case text:
		if strings.Contains(v.text, "\n") {
			return v.text
		}
		b, err := yaml.Marshal(v.text)
		if err != nil {
			return string(appendString(nil, v.text))
		}
		return strings.TrimSuffix(string(b), "\n")
	}
	return v.text
}

// origin says where a value comes from.
func origin(v *value) string {
	text := v.at.String()
	if len(v.vars) > 0 {
		text += ", from " + strings.Join(v.vars, ", ")
	}
	return text
}

func writeResolved(a *app, lines []resolvedLine) {
	widths := 0
	left := make([]string, len(lines))
	for i, l := range lines {
		indent := strings.Repeat("  ", len(l.path)-1)
		left[i] = indent + l.path[len(l.path)-1] + ":"
		switch {
		case l.text == "":
		case strings.Contains(l.text, "\n"):
			left[i] += " |"
		default:
			left[i] += " " + l.text
		}
		if n := len([]rune(left[i])); n <= 60 {
			widths = max(widths, n)
		}
	}
	for i, l := range lines {
		line := left[i]
		if l.origin != "" {
			line += strings.Repeat(" ", max(0, widths-len([]rune(line)))) + "   # " + l.origin
		}
		fmt.Fprintln(a.stdout, line)
		if strings.Contains(l.text, "\n") {
			indent := strings.Repeat("  ", len(l.path))
			for _, more := range strings.Split(strings.TrimSuffix(l.text, "\n"), "\n") {
				fmt.Fprintln(a.stdout, strings.TrimRight(indent+more, " "))
			}
		}
	}
}

// leaves are the lines that hold values, for programs.
func leaves(lines []resolvedLine) []any {
	var all []any
	for _, l := range lines {
		if l.origin != "" {
			all = append(all, object{{"path", l.path}, {"value", l.text}, {"origin", l.origin}})
		}
	}
	return all
}
