package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/schema"
	"github.com/spf13/cobra"
)

func (a *app) schemaCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "schema", Short: "Show what silt knows about the data of a source, and since when", Args: cobra.ArbitraryArgs, RunE: group}
	version, all := int64(-1), false
	show := &cobra.Command{
		Use:               "show [PIPELINE|TABLE]",
		Short:             "Show the source schema: every field with its type",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			histories, err := a.histories(cmd, args)
			if err != nil {
				return err
			}
			return a.showSchemas(histories, version, all)
		},
	}
	show.Flags().BoolVar(&all, "all", false, "list all paths that have no type yet")
	show.Flags().Int64Var(&version, "version", -1, "the version to show (default: the newest)")
	history := &cobra.Command{
		Use:               "history [PIPELINE|TABLE]",
		Short:             "Show how the source schema grew",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			histories, err := a.histories(cmd, args)
			if err != nil {
				return err
			}
			return a.showHistories(histories)
		},
	}
	cmd.AddCommand(show, history, a.schemaDiffCommand(), a.schemaRollbackCommand(), a.schemaInferCommand(), a.schemaExportCommand())
	return cmd
}

// history is what one pipeline knows about its source.
type history struct {
	Pipeline string           `json:"pipeline"`
	Target   string           `json:"target"`
	Versions []historyVersion `json:"versions"`
}

// historyVersion is a version, with the run that wrote it and what that run told of fields that the SQL
// does not carry.
type historyVersion struct {
	silt.SchemaVersion
	Run             string          `json:"run,omitempty"`
	UncarriedFields []silt.NewField `json:"uncarriedFields,omitempty"`
}

func (a *app) histories(cmd *cobra.Command, args []string) ([]history, error) {
	cfg, states, err := a.states(cmd, args)
	if err != nil {
		return nil, err
	}
	var all []history
	for _, s := range states {
		versions, err := s.SchemaHistory(cmd.Context())
		if err != nil {
			return nil, err
		}
		runs, err := s.Runs(cmd.Context())
		if err != nil {
			return nil, err
		}
		h := history{Pipeline: s.Pipeline, Target: cfg.Target.String()}
		for i := range versions {
			h.Versions = append(h.Versions, withRun(versions, i, runs))
		}
		all = append(all, h)
	}
	return all, nil
}

// states returns what is remembered about the pipelines of [PIPELINE|TABLE].
func (a *app) states(cmd *cobra.Command, args []string) (silt.Config, []*silt.State, error) {
	cfg, err := a.which(args)
	if err != nil {
		return cfg, nil, err
	}
	states, err := silt.States(cmd.Context(), cfg)
	if err == nil && len(states) == 0 {
		err = &notLoadedError{cfg.Target.String()}
	}
	return cfg, states, err
}

// notLoadedError says that silt has loaded nothing into a table.
type notLoadedError struct{ table string }

func (e *notLoadedError) Error() string { return "silt has loaded nothing into " + e.table + " yet" }

// showSchemas writes the fields of the newest version, or of another, and what there is to know about them.
func (a *app) showSchemas(histories []history, version int64, all bool) error {
	var shown []any
	for _, h := range histories {
		if len(h.Versions) == 0 {
			continue
		}
		v := h.Versions[len(h.Versions)-1]
		if version >= 0 {
			i := indexVersion(h.Versions, version)
			if i < 0 {
				return &usageError{problem: fmt.Sprintf("there is no version %d of the source schema", version), hint: "silt schema history lists them"}
			}
			v = h.Versions[i]
		}
		if a.machine() {
			shown = append(shown, struct {
				Pipeline string `json:"pipeline"`
				Target   string `json:"target"`
				silt.SchemaVersion
			}{h.Pipeline, h.Target, v.SchemaVersion})
			continue
		}
		fmt.Fprintf(a.stdout, "%s   source schema v%d of %s, %s\n\n", h.Target, v.Version, h.Pipeline, clock(v.WrittenAt))
		writeFields(a.stdout, v.Schema)
		if n := len(v.Pending); n > 0 {
			most := 8
			if all {
				most = n
			}
			fmt.Fprintf(a.stdout, "\n%s with only null, [] or {} so far, so no type yet:\n", count(n, "path"))
			for _, at := range v.Pending[:min(n, most)] {
				fmt.Fprintln(a.stdout, "  "+at)
			}
			if n > most {
				fmt.Fprintf(a.stdout, "  +%s more; --all lists them\n", thousands(n-most))
			}
		}
		wide := slices.DeleteFunc(slices.Clone(v.Wide), func(w silt.WideObject) bool { return w.Hint == "" })
		if len(wide) > 0 {
			fmt.Fprintf(a.stdout, "\nkeys that look like ids; as a map each of these is one column, in a new table with the option\n  schemaHints: |\n")
			for i, o := range wide {
				fmt.Fprintf(a.stdout, "    %s%s\n", o.Hint, map[bool]string{true: ","}[i < len(wide)-1])
			}
		}
		writeWide(a.stdout, v.Wide)
		if len(v.Uncarried) > 0 {
			fmt.Fprintf(a.stdout, "\nnot carried into the table by the SQL, kept in _rescued_data: %s\n", some(v.Uncarried, 12))
		}
	}
	if a.machine() {
		return a.printAll("silt.schema/v1", "schemas", shown)
	}
	if len(histories) > 0 {
		a.next("silt", "schema", "history", histories[0].Target)
	}
	return nil
}

func indexVersion(versions []historyVersion, version int64) int {
	for i, v := range versions {
		if v.Version == version {
			return i
		}
	}
	return -1
}

func (a *app) showHistories(histories []history) error {
	if a.listed() {
		all := make([]any, len(histories))
		for i, h := range histories {
			all[i] = h
		}
		return a.printAll("silt.schema_history/v1", "pipelines", all)
	}
	for _, h := range histories {
		fmt.Fprintf(a.stdout, "%s   source schema of %s\n", h.Target, h.Pipeline)
		for i := range h.Versions {
			a.showVersion(&h, i)
		}
	}
	if len(histories) > 0 {
		a.next("silt", "schema", "show", histories[0].Target)
	}
	return nil
}

// showVersion writes when and why a version came, and what was new in it.
func (a *app) showVersion(h *history, i int) {
	v := h.Versions[i]
	words := []string{fmt.Sprintf("v%d", v.Version), clock(v.WrittenAt), v.Reason}
	switch {
	case i == 0:
		columns := 0
		if v.Schema != nil {
			columns = len(v.Schema.Fields)
		}
		words = append(words, count(columns, "column"))
	case len(v.Added) > 0:
		words = append(words, count(len(v.Added), "new field"))
	case len(v.UncarriedFields) > 0:
		words = append(words, "no new column")
	}
	if v.Reason != "rollback" {
		words = append(words, fmt.Sprintf("batch %d", v.Batch))
	}
	if v.Run != "" {
		words = append(words, "run "+v.Run)
	}
	fmt.Fprintf(a.stdout, "\n%s\n", strings.Join(words, "   "))
	most := mostPlanned
	if a.flags.verbose {
		most = 1 << 30
	}
	t := &textTable{}
	for _, f := range v.Added[:min(len(v.Added), most)] {
		t.add("  + "+f.Path, cut(ddlText(f.DDL), 60), where(f.File, f.Line))
	}
	if more := len(v.Added) - most; more > 0 {
		t.add(fmt.Sprintf("  and %s more; -v shows all", thousands(more)))
	}
	if i > 0 {
		versions := h.plain()
		if d, err := silt.DiffSchemas(versions, versions[i-1].Version, v.Version); err == nil {
			for _, f := range d.Removed {
				t.add("  - "+f.Path, cut(ddlText(f.DDL), 60))
			}
			for _, f := range d.Changed {
				t.add("  ~ "+f.Path, cut(ddlText(f.Before), 30)+" -> "+cut(ddlText(f.After), 30))
			}
		}
	}
	t.body(a.stdout)
	line := func(_, format string, args ...any) { fmt.Fprintf(a.stdout, "    "+format+"\n", args...) }
	if n := len(v.UncarriedFields); n > 0 {
		fmt.Fprintf(a.stdout, "  %s read but not in the table, kept in the rescued data: the SQL does not carry %s\n", count(n, "field"), plural(n, "it", "them"))
		uncarriedList(line, v.UncarriedFields, most)
	}
	if len(v.Pending) > 0 {
		fmt.Fprintf(a.stdout, "  only null, [] or {} so far, so no column yet: %s\n", some(v.Pending, 12))
	}
}

// writeWide writes which objects have too many fields, or would better be maps.
func writeWide(w io.Writer, objects []silt.WideObject) {
	for _, o := range objects {
		name, what := o.Path, "keyed by ids, "+thousands(o.Keys)+" of them"
		switch {
		case o.Path == "":
			name, what = "the records", "more fields than maxColumns; the others are rescued"
		case o.Rescued && o.Hint != "":
			what = "so many keys that they look like ids; they have no columns and are rescued"
		case o.Rescued:
			what = "more fields than maxObjectKeys or maxColumns; the others are rescued"
		}
		fmt.Fprintf(w, "\n%s: %s, first at %s\n", name, what, where(o.File, o.Line))
		if o.Hint != "" {
			fmt.Fprintf(w, "  as a map it is one column: schemaHints: %s\n", cut(o.Hint, 200))
		}
	}
}

// plain returns the versions alone.
func (h *history) plain() []silt.SchemaVersion {
	out := make([]silt.SchemaVersion, len(h.Versions))
	for i, v := range h.Versions {
		out[i] = v.SchemaVersion
	}
	return out
}

// withRun finds the run whose batch wrote a version.
func withRun(versions []silt.SchemaVersion, i int, runs []*silt.Summary) historyVersion {
	v := historyVersion{SchemaVersion: versions[i]}
	var before []string
	if i > 0 {
		before = versions[i-1].Uncarried
	}
	var told []silt.NewField
	if v.Reason != "rollback" {
		for _, r := range runs {
			if slices.ContainsFunc(r.Commits, func(c silt.TableVersion) bool { return c.Batch == v.Batch }) {
				v.Run, told = r.Run, r.Schema.Uncarried
				break
			}
		}
	}
	for _, path := range v.Uncarried {
		if slices.Contains(before, path) {
			continue
		}
		f := silt.NewField{Path: path}
		if k := slices.IndexFunc(told, func(n silt.NewField) bool { return n.Path == path }); k >= 0 {
			f = told[k]
		}
		v.UncarriedFields = append(v.UncarriedFields, f)
	}
	return v
}

// writeFields writes fields as a tree with their types.
func writeFields(out io.Writer, s *schema.Struct) {
	t := &textTable{}
	addFields(t, "", s)
	t.body(out)
}

func addFields(t *textTable, indent string, s *schema.Struct) {
	if s == nil {
		return
	}
	for _, f := range s.Fields {
		word, inner := typeWord(f.Type)
		t.add(indent+schema.Quote(f.Name), word)
		addFields(t, indent+"  ", inner)
	}
}

// typeWord is a type in a word or two, and the struct inside it if there is one.
func typeWord(t schema.Type) (string, *schema.Struct) {
	switch t := t.(type) {
	case *schema.Struct:
		return "struct", t
	case *schema.Array:
		word, inner := typeWord(t.Element)
		return "array of " + word, inner
	case *schema.Map:
		word, inner := typeWord(t.Value)
		return "map of " + strings.ToLower(t.Key.String()) + " to " + word, inner
	}
	return strings.ToLower(t.String()), nil
}
