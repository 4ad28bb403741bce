package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/schema"
	"github.com/spf13/cobra"
)

func (a *app) schemaCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "schema", Short: "Show what silt knows about the data of a source, and since when", Args: cobra.ArbitraryArgs, RunE: group}
	version := int64(-1)
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
			return a.showSchemas(histories, version)
		},
	}
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
	cmd.AddCommand(show, history)
	return cmd
}

// history is what one pipeline knows about its source.
type history struct {
	Pipeline string               `json:"pipeline"`
	Target   string               `json:"target"`
	Versions []silt.SchemaVersion `json:"versions"`
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
		all = append(all, history{s.Pipeline, cfg.Target.String(), versions})
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

func (a *app) showSchemas(histories []history, version int64) error {
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
			}{h.Pipeline, h.Target, v})
			continue
		}
		fmt.Fprintf(a.stdout, "%s   source schema v%d of %s, %s\n\n", h.Target, v.Version, h.Pipeline, clock(v.WrittenAt))
		writeFields(a.stdout, v.Schema)
		if len(v.Pending) > 0 {
			fmt.Fprintf(a.stdout, "\nno type yet, only null, [] or {} so far: %s\n", some(v.Pending, 12))
		}
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

func indexVersion(versions []silt.SchemaVersion, version int64) int {
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
		for i, v := range h.Versions {
			if i == 0 {
				columns := 0
				if v.Schema != nil {
					columns = len(v.Schema.Fields)
				}
				fmt.Fprintf(a.stdout, "\nv%d   %s   %s   %s\n", v.Version, clock(v.WrittenAt), v.Reason, count(columns, "column"))
				continue
			}
			fmt.Fprintf(a.stdout, "\nv%d   %s   %s   %s\n", v.Version, clock(v.WrittenAt), v.Reason, count(len(v.Added), "new field"))
			t := &textTable{}
			for _, f := range v.Added {
				t.add("  + "+f.Path, cut(strings.ToLower(f.DDL), 60), where(f.File, f.Line))
			}
			t.body(a.stdout)
		}
	}
	if len(histories) > 0 {
		a.next("silt", "schema", "show", histories[0].Target)
	}
	return nil
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
