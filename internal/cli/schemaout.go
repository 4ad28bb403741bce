package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/jsonschema-go/jsonschema"
	"github.com/siltlake/silt"
	"github.com/siltlake/silt/schema"
	"github.com/spf13/cobra"
)

// schemaForms are the forms that a schema is exported in.
var schemaForms = []string{"ddl", "jsonschema", "arrow", "spark"}

func (a *app) schemaExportCommand() *cobra.Command {
	form, out, version := "ddl", "", int64(-1)
	cmd := &cobra.Command{
		Use:   "export [PIPELINE|TABLE]",
		Short: "Write the source schema as DDL, JSON Schema, Arrow or Spark's JSON",
		Long: `Writes the source schema for other programs: ddl is what the option schema takes, spark the JSON of a
StructType (which the option schema takes from a file, too), jsonschema a JSON Schema that the records
follow, arrow an Arrow IPC stream that has the schema and no rows.`,
		Example: `  silt schema export --format ddl
  silt schema export main.demo.events --format jsonschema --out events.schema.json
  silt schema export --format arrow --out events.arrow`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			histories, err := a.histories(cmd, args)
			if err != nil {
				return err
			}
			h := histories[0]
			if len(h.Versions) == 0 {
				return &notLoadedError{h.Target}
			}
			v := h.Versions[len(h.Versions)-1]
			if version >= 0 {
				i := indexVersion(h.Versions, version)
				if i < 0 {
					return schemaVersionError(fmt.Errorf("version %d: %w", version, silt.ErrNoSchemaVersion))
				}
				v = h.Versions[i]
			}
			text, err := exportSchema(v.Schema, form, h.Target)
			if err != nil {
				return err
			}
			return a.writeOut(out, text, form == "arrow")
		},
	}
	f := cmd.Flags()
	f.StringVar(&form, "format", form, "`FORM`: "+strings.Join(schemaForms, ", "))
	f.StringVar(&out, "out", "", "write to `FILE`")
	f.Int64Var(&version, "version", -1, "the version to write (default: the newest)")
	complete(cmd, "format", cobra.FixedCompletions(schemaForms, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// writeOut writes a result to a file, or to the standard output.
func (a *app) writeOut(path string, content []byte, binary bool) error {
	switch {
	case path != "":
		if err := os.WriteFile(path, content, 0o666); err != nil {
			return &usageError{problem: "the file cannot be written: " + err.Error(), hint: "name another file: --out FILE"}
		}
		a.say("Wrote " + path + ".")
		return nil
	case binary && a.isTerminal(a.stdout):
		return &usageError{problem: "this form is no text", hint: "write it to a file: --out FILE"}
	}
	_, err := a.stdout.Write(content)
	return err
}

// exportSchema writes a schema in one of the schemaForms.
func exportSchema(s *schema.Struct, form, title string) ([]byte, error) {
	switch form {
	case "ddl":
		return []byte(ddlLines(s)), nil
	case "spark":
		b, err := json.Marshal(s)
		return append(b, '\n'), err
	case "jsonschema":
		js := jsonSchema(s)
		js.Schema, js.Title = "https://json-schema.org/draft/2020-12/schema", title
		b, err := json.MarshalIndent(js, "", "  ")
		return append(b, '\n'), err
	case "arrow":
		var b bytes.Buffer
		err := ipc.NewWriter(&b, ipc.WithSchema(s.Arrow())).Close()
		return b.Bytes(), err
	}
	hint := "it takes " + strings.Join(schemaForms, ", ")
	if n := nearest(form, schemaForms); n != "" {
		hint = "did you mean " + n + "?"
	}
	return nil, &usageError{problem: fmt.Sprintf("there is no form %q of a schema", form), hint: hint}
}

// ddlLines writes columns as DDL, one a line.
func ddlLines(s *schema.Struct) string {
	lines := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		lines[i] = (&schema.Struct{Fields: []schema.Field{f}}).DDL()
	}
	return strings.Join(lines, ",\n") + "\n"
}

// jsonSchema describes the JSON whose values have a type. A field may be missing and may be null.
func jsonSchema(t schema.Type) *jsonschema.Schema {
	switch t := t.(type) {
	case *schema.Struct:
		s := &jsonschema.Schema{Types: []string{"object", "null"}, Properties: map[string]*jsonschema.Schema{}}
		for _, f := range t.Fields {
			s.Properties[f.Name] = jsonSchema(f.Type)
			s.PropertyOrder = append(s.PropertyOrder, f.Name)
		}
		return s
	case *schema.Array:
		return &jsonschema.Schema{Types: []string{"array", "null"}, Items: jsonSchema(t.Element)}
	case *schema.Map:
		return &jsonschema.Schema{Types: []string{"object", "null"}, AdditionalProperties: jsonSchema(t.Value)}
	case schema.Decimal:
		return &jsonschema.Schema{Types: []string{"number", "null"}}
	}
	switch t {
	case schema.Boolean:
		return &jsonschema.Schema{Types: []string{"boolean", "null"}}
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		return &jsonschema.Schema{Types: []string{"integer", "null"}}
	case schema.Float, schema.Double:
		return &jsonschema.Schema{Types: []string{"number", "null"}}
	case schema.Date:
		return &jsonschema.Schema{Types: []string{"string", "null"}, Format: "date"}
	case schema.Timestamp:
		return &jsonschema.Schema{Types: []string{"string", "null"}, Format: "date-time"}
	case schema.Binary, schema.TimestampNTZ:
		return &jsonschema.Schema{Types: []string{"string", "null"}}
	}
	return &jsonschema.Schema{Description: "text, or any other value as its text"}
}

func (a *app) schemaInferCommand() *cobra.Command {
	var options []string
	full, conflicts := false, false
	form := ""
	cmd := &cobra.Command{
		Use:   "infer PATH",
		Short: "Say what the files of a folder hold: fields, types, conflicts; write nothing",
		Example: `  silt schema infer ./landing
  silt schema infer './landing/*.json.gz' --full --conflicts
  silt schema infer ./landing --format ddl > schema.ddl`,
		Args: arguments(1, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := commandPipeline(&configuration{}, args[0], "./nowhere", options, "", "")
			if err != nil {
				return err
			}
			plan, err := silt.InferSchema(cmd.Context(), p.config, silt.PlanOptions{Full: full})
			if err != nil {
				return p.located(err)
			}
			switch {
			case form != "":
				text, err := exportSchema(plan.SourceSchema, form, plan.Source)
				if err != nil {
					return err
				}
				return a.writeOut("", text, form == "arrow")
			case a.machine():
				return a.printJSON(inferJSON(plan))
			}
			a.showInferred(plan, conflicts)
			a.next("silt", "init", args[0])
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&full, "full", false, "read all files")
	f.BoolVar(&conflicts, "conflicts", false, "show only what should be decided: fields of several kinds, keys that are ids, whole numbers")
	f.StringArrayVar(&options, "option", nil, "an option, such as schemaHints, as `name=value`; repeatable")
	f.StringVar(&form, "format", "", "`FORM` instead of the tree: "+strings.Join(schemaForms, ", "))
	complete(cmd, "option", completeOptions)
	complete(cmd, "format", cobra.FixedCompletions(schemaForms, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// located puts the mistakes that the root found in a pipeline of the command line into their places.
func (p *pipeline) located(err error) error {
	var mistakes *silt.ConfigError
	if errors.As(err, &mistakes) {
		return faultsOrNil(locate(mistakes, p.value, p.value))
	}
	return err
}

func inferJSON(p *silt.Plan) object {
	return result("silt.schema_infer/v1", member{"source", p.Source}, member{"files", p.Files}, member{"read", p.Read},
		member{"ddl", p.SourceSchema.DDL()}, member{"sourceSchema", p.SourceSchema}, member{"pending", p.Schema.Pending},
		member{"mixed", p.Mixed}, member{"wide", p.Wide}, member{"wholeNumbers", p.WholeNumbers})
}

func (a *app) showInferred(p *silt.Plan, conflicts bool) {
	w := &planWriter{most: mostPlanned, plan: p}
	if a.flags.verbose || conflicts {
		w.most = 1 << 30
	}
	if !conflicts {
		writeFields(a.stdout, p.SourceSchema)
		fmt.Fprintln(a.stdout)
	}
	fmt.Fprintln(&w.b, p.Source)
	w.files()
	if n := len(p.Schema.Pending); n > 0 {
		w.line("pending", "only null, [] or {} so far, so no column yet: %s", some(p.Schema.Pending, w.most))
	}
	w.advice()
	if n := p.Read.Quarantine; n > 0 {
		w.line("bad", "%s no JSON: silt plan shows them", count(n, "record"))
	}
	fmt.Fprint(a.stdout, w.b.String())
}
