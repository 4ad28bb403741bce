package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/schema"
	"github.com/spf13/cobra"
)

// again says what becomes of a field that the files still have under its old name.
const again = `A load whose files have the old field still meets it as a new one, and does with it what
schemaEvolutionMode says: addNewColumns adds it again.`

// mapped says what the table needs for a command.
const mapped = `The data files stay as they are, so the table's columns must be mapped by name:
  silt table properties set TABLE delta.columnMapping.mode=name
which older readers and writers of Delta do not know.`

// columnPath reads the path of a column.
func columnPath(cmd *cobra.Command, text string) ([]string, error) {
	path, err := schema.ParsePath(text)
	if err != nil {
		return nil, usage(cmd, "write a.b.c, with `...` around names that have points", "%q is no column: %v", text, err)
	}
	return path, nil
}

// columnType reads a type as DDL has it.
func columnType(cmd *cobra.Command, text string) (schema.Type, error) {
	typ, err := schema.ParseType(text)
	if err != nil {
		return nil, usage(cmd, "write bigint, array<string> or struct<a: double>", "%q is no type: %v", text, err)
	}
	return typ, nil
}

// alterVerb makes a command that changes a table's columns or properties.
func (a *app) alterVerb(cmd *cobra.Command, change func(cmd *cobra.Command, args []string) (silt.Alteration, error)) *cobra.Command {
	dryRun := false
	cmd.ValidArgsFunction = a.completeTables
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := a.whichTable(args[:1])
		if err != nil {
			return err
		}
		c, err := change(cmd, args[1:])
		if err != nil {
			return err
		}
		c.DryRun = dryRun
		return a.alter(cmd, cfg, c)
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and write nothing")
	return cmd
}

func (a *app) alter(cmd *cobra.Command, cfg silt.Config, c silt.Alteration) error {
	dryRun, takes := c.DryRun, c.Drop != nil // what takes something away asks first
	if takes && !dryRun {
		c.DryRun = true
		plan, err := silt.AlterTable(cmd.Context(), cfg, c)
		if err != nil {
			return err
		}
		if !a.machine() {
			a.tellChange(plan, &c, "Will change")
		}
		if err := a.confirm("Drop " + them(len(c.Drop)) + "?"); err != nil {
			return err
		}
		c.DryRun = false
	}
	done, err := silt.AlterTable(cmd.Context(), cfg, c)
	if err != nil {
		return err
	}
	if a.machine() {
		return a.printJSON(result("silt.table_change/v1", member{"change", done}, member{"dryRun", dryRun}))
	}
	switch {
	case !done.Changes:
		fmt.Fprintf(a.stdout, "%s is like that already at version %d; nothing was written.\n", done.Table, done.Version)
		return nil
	case dryRun:
		a.tellChange(done, &c, "Would change")
		fmt.Fprintln(a.stdout, "Nothing has been written.")
		return nil
	case takes:
		fmt.Fprintf(a.stdout, "Changed %s: it is version %d now.\n", done.Table, done.NewVersion)
	default:
		a.tellChange(done, &c, "Changed")
	}
	a.next("silt", "table", "show", done.Table)
	return nil
}

func (a *app) tellChange(c *silt.TableChange, from *silt.Alteration, verb string) {
	version := fmt.Sprintf("version %d", c.Version)
	if c.NewVersion > c.Version {
		version += fmt.Sprintf(" -> %d", c.NewVersion)
	}
	fmt.Fprintf(a.stdout, "%s %s (%s):\n", verb, c.Table, version)
	t := &textTable{}
	switch {
	case from.Rename != nil:
		to := append(slices.Clone(from.Rename.Path[:len(from.Rename.Path)-1]), from.Rename.Name)
		t.add("  ~ "+schema.Path(from.Rename.Path...), "-> "+schema.Path(to...))
	case from.Change != nil:
		t.add("  ~ "+schema.Path(from.Change.Path...), columnChangeText(c, from.Change))
	default:
		for _, f := range schema.Additions(c.Before, c.After) {
			t.add("  + "+schema.Path(f.Path...), cut(ddlText(f.Type.String()), 60))
		}
		for _, f := range schema.Additions(c.After, c.Before) {
			t.add("  - "+schema.Path(f.Path...), cut(ddlText(f.Type.String()), 60))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(c.Set)) {
		t.add("  property", k+" = "+c.Set[k])
	}
	for _, k := range c.Unset {
		t.add("  property", k+" is taken away")
	}
	if len(c.Features) > 0 {
		t.add("  needs", strings.Join(c.Features, ", ")+" of those who read or write the table")
	}
	t.body(a.stdout)
}

// columnChangeText says what becomes of a column.
func columnChangeText(c *silt.TableChange, change *silt.ColumnAlteration) string {
	var parts []string
	if change.Type != nil {
		was := "?"
		schema.Walk(c.Before, func(path []string, t schema.Type) {
			if strings.EqualFold(schema.Path(path...), schema.Path(change.Path...)) {
				was = ddlText(t.String())
			}
		})
		parts = append(parts, cut(was, 30)+" -> "+cut(ddlText(change.Type.String()), 30))
	}
	if change.Comment != nil {
		parts = append(parts, fmt.Sprintf("comment %q", *change.Comment))
	}
	if change.Nullable != nil {
		parts = append(parts, "may have NULL")
	}
	switch {
	case change.First:
		parts = append(parts, "comes first")
	case change.After != "":
		parts = append(parts, "comes after "+change.After)
	}
	return strings.Join(parts, ", ")
}

func (a *app) tableAddColumnCommand() *cobra.Command {
	var comment, after string
	first := false
	cmd := a.alterVerb(&cobra.Command{
		Use:   "add-column PIPELINE|TABLE COLUMN TYPE [COLUMN TYPE]...",
		Short: "Add columns, or fields in a struct",
		Long:  `Adds columns in one version of the table. Rows that are there have NULL in them. Loads add columns by themselves; this is for those that come first.`,
		Example: `  silt table add-column main.demo.events vehicle.battery.temp_c double
  silt table add-column ./lake/events tags "array<string>" --comment "as sent" --first`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 3 || len(args)%2 == 0 {
				return usage(cmd, "usage: "+cmd.UseLine(), "add-column takes a table, and pairs of a column and its type")
			}
			return nil
		},
	}, func(cmd *cobra.Command, args []string) (silt.Alteration, error) {
		var c silt.Alteration
		for i := 0; i < len(args); i += 2 {
			path, err := columnPath(cmd, args[i])
			if err != nil {
				return c, err
			}
			typ, err := columnType(cmd, args[i+1])
			if err != nil {
				return c, err
			}
			c.Add = append(c.Add, delta.NewColumn{Path: path, Type: typ, Comment: comment, After: after, First: first})
		}
		return c, nil
	})
	cmd.Flags().StringVar(&comment, "comment", "", "what the column is, as a `TEXT`")
	cmd.Flags().StringVar(&after, "after", "", "put it behind this `COLUMN` of the same struct")
	cmd.Flags().BoolVar(&first, "first", false, "put it before all others")
	return cmd
}

func (a *app) tableRenameColumnCommand() *cobra.Command {
	return a.alterVerb(&cobra.Command{
		Use:     "rename-column PIPELINE|TABLE COLUMN NAME",
		Short:   "Give a column another name, without writing its data anew",
		Long:    "Gives a column, or a field in a struct, another name.\n\n" + mapped + "\n\n" + again,
		Example: `  silt table rename-column main.demo.events vehicle.battery.soc state_of_charge`,
		Args:    arguments(3, 3),
	}, func(cmd *cobra.Command, args []string) (silt.Alteration, error) {
		path, err := columnPath(cmd, args[0])
		return silt.Alteration{Rename: &silt.ColumnRename{Path: path, Name: args[1]}}, err
	})
}

func (a *app) tableDropColumnCommand() *cobra.Command {
	return a.alterVerb(&cobra.Command{
		Use:   "drop-column PIPELINE|TABLE COLUMN...",
		Short: "Take columns away, without writing the data anew",
		Long: `Takes columns, or fields in structs, away in one version of the table. It shows them and asks first; --yes
answers. A restore of the version before brings them back.

` + mapped + "\n\n" + again,
		Example: `  silt table drop-column main.demo.events debug vehicle.raw --dry-run`,
		Args:    arguments(2, -1),
	}, func(cmd *cobra.Command, args []string) (silt.Alteration, error) {
		var c silt.Alteration
		for _, arg := range args {
			path, err := columnPath(cmd, arg)
			if err != nil {
				return c, err
			}
			c.Drop = append(c.Drop, path)
		}
		return c, nil
	})
}

func (a *app) tableChangeColumnCommand() *cobra.Command {
	var typ, comment, after string
	first, nullable := false, false
	cmd := a.alterVerb(&cobra.Command{
		Use:   "change-column PIPELINE|TABLE COLUMN",
		Short: "Change a column's comment, place or type, or let it have NULL",
		Long: `Changes a column, or a field in a struct. A type can only become a wider one (int to bigint, float to
double), and the table needs the property delta.enableTypeWidening=true for it.`,
		Example: `  silt table change-column main.demo.events odometer --type bigint
  silt table change-column main.demo.events vin --comment "as on the plate" --first`,
		Args: arguments(2, 2),
	}, func(cmd *cobra.Command, args []string) (silt.Alteration, error) {
		path, err := columnPath(cmd, args[0])
		if err != nil {
			return silt.Alteration{}, err
		}
		c := silt.ColumnAlteration{Path: path, ColumnChange: delta.ColumnChange{First: first, After: after}}
		changed := cmd.Flags().Changed
		if changed("type") {
			if c.Type, err = columnType(cmd, typ); err != nil {
				return silt.Alteration{}, err
			}
		}
		if changed("comment") {
			c.Comment = &comment
		}
		if changed("nullable") {
			c.Nullable = &nullable
		}
		if c.Type == nil && c.Comment == nil && c.Nullable == nil && !first && after == "" {
			return silt.Alteration{}, usage(cmd, "say --type, --comment, --nullable, --first or --after", "nothing is to change")
		}
		return silt.Alteration{Change: &c}, nil
	})
	cmd.Flags().StringVar(&typ, "type", "", "the wider `TYPE` it gets")
	cmd.Flags().StringVar(&comment, "comment", "", "what the column is, as a `TEXT`")
	cmd.Flags().BoolVar(&nullable, "nullable", false, "let it have NULL")
	cmd.Flags().StringVar(&after, "after", "", "put it behind this `COLUMN` of the same struct")
	cmd.Flags().BoolVar(&first, "first", false, "put it before all others of its struct")
	return cmd
}

func (a *app) tablePropertiesCommand() *cobra.Command {
	cmd := a.tableVerb("properties", "Show a table's properties; set or unset them", "", `  silt table properties main.demo.events
  silt table properties set main.demo.events delta.enableDeletionVectors=true
  silt table properties unset main.demo.events delta.appendOnly`, func(cmd *cobra.Command, cfg silt.Config) error {
		d, err := silt.DetailTable(cmd.Context(), cfg, nil)
		if err != nil {
			return err
		}
		if a.machine() {
			return a.printJSON(result("silt.table_properties/v1", member{"table", cfg.Target.String()}, member{"version", d.Version}, member{"properties", d.Properties}))
		}
		t := &textTable{}
		for _, k := range slices.Sorted(maps.Keys(d.Properties)) {
			t.add(k, d.Properties[k])
		}
		t.body(a.stdout)
		if len(d.Properties) == 0 {
			a.say(cfg.Target.String() + " has no properties.")
		}
		return nil
	})
	set := a.alterVerb(&cobra.Command{
		Use:   "set PIPELINE|TABLE NAME=VALUE...",
		Short: "Set properties, with the features of Delta that they ask for",
		Long: `Sets properties of a table in one version. Some of them make the table need features that older readers or
writers of Delta do not know; --dry-run names them. They stay when the property is unset.`,
		Args: arguments(2, -1),
	}, func(cmd *cobra.Command, args []string) (silt.Alteration, error) {
		c := silt.Alteration{Set: map[string]string{}}
		for _, arg := range args {
			name, value, ok := strings.Cut(arg, "=")
			if !ok || name == "" {
				return c, usage(cmd, "write delta.appendOnly=true", "%q is no property with a value", arg)
			}
			c.Set[name] = value
		}
		return c, nil
	})
	unset := a.alterVerb(&cobra.Command{
		Use:   "unset PIPELINE|TABLE NAME...",
		Short: "Take properties away",
		Args:  arguments(2, -1),
	}, func(_ *cobra.Command, args []string) (silt.Alteration, error) {
		return silt.Alteration{Unset: args}, nil
	})
	cmd.AddCommand(set, unset)
	return cmd
}

func (a *app) tableCleanLogCommand() *cobra.Command {
	dryRun, retain := false, ""
	cmd := a.tableVerb("clean-log", "Delete what the log needs only for old versions",
		`Deletes versions, checkpoints and checksums of the log that are older than the retention: what the table
says (delta.logRetentionDuration), or 30 days. Those versions can no longer be read or restored. Loads do
not clean up by themselves.

It shows the files and asks first; --yes answers.`,
		`  silt table clean-log main.demo.events --dry-run
  silt table clean-log main.demo.events --retain 90d --yes`,
		func(cmd *cobra.Command, cfg silt.Config) error {
			o := silt.CleanLogOptions{DryRun: true}
			var err error
			if o.Retention, err = retained(cmd, retain, "write 30d or 720h"); err != nil {
				return err
			}
			return a.cleanLog(cmd, cfg, o, dryRun)
		})
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "list the files, and delete none")
	cmd.Flags().StringVar(&retain, "retain", "", "how long versions stay readable, as a `TIME`: 30d, 720h (default: what the table says, else 30d)")
	return cmd
}

func (a *app) cleanLog(cmd *cobra.Command, cfg silt.Config, o silt.CleanLogOptions, dryRun bool) error {
	r, err := silt.CleanLog(cmd.Context(), cfg, o)
	if err != nil {
		return err
	}
	if !a.machine() {
		if len(r.Files) == 0 {
			fmt.Fprintf(a.stdout, "The log of %s has nothing that only versions before %s need.\n", r.Table, clock(r.Before))
		} else {
			fmt.Fprintf(a.stdout, "%s delete %s (%s) of the log of %s. The oldest version that can be read then is %d.\n", would(dryRun),
				count(len(r.Files), "file"), size(r.Bytes), r.Table, r.Oldest)
		}
	}
	if !dryRun && len(r.Files) > 0 {
		if err := a.confirm("Delete " + them(len(r.Files)) + "?"); err != nil {
			return err
		}
		o.DryRun = false
		if r, err = silt.CleanLog(cmd.Context(), cfg, o); err != nil {
			return err
		}
	}
	if a.machine() {
		return a.printJSON(result("silt.table_clean_log/v1", member{"cleanLog", r}, member{"dryRun", dryRun}))
	}
	switch {
	case dryRun:
		fmt.Fprintln(a.stdout, "Nothing has been deleted.")
	case len(r.Files) > 0:
		fmt.Fprintf(a.stdout, "Deleted %s (%s).\n", count(r.Deleted, "file"), size(r.Bytes))
	}
	return nil
}
