package cli

import (
	"fmt"
	"strings"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) tableMergeCommand() *cobra.Command {
	var m silt.TableMerge
	cmd := a.tableVerb("merge", "Merge rows into a table by key",
		`Each row of the source meets the row of the table that has the same keys: it is inserted, or it updates
or deletes what is there. Columns that the source lacks keep their values, new columns become part of the
table. Two rows of the source that meet one row of the table are an error, and NULL in a key meets nothing.

The source is a file of JSON, a glob of such files, the name or path of a table, SQL, or another file that
SQL can read. JSON is read by the types of the columns that the table has; a value that does not fit its
column is an error. A pipeline merges by itself: see target.write in the pipeline file.`,
		`  silt table merge main.demo.events --source fixes.json --keys event_id --dry-run
  silt table merge main.demo.events --source main.demo.events_new --keys event_id --sequence-by recorded_at
  silt table merge main.demo.events --source changes.parquet --keys event_id --delete-when "source.op = 'D'" --except-columns op`,
		func(cmd *cobra.Command, cfg silt.Config) error {
			switch {
			case m.Source == "":
				return usage(cmd, "give --source SQL, a table or a file", "where do the rows come from?")
			case len(m.Merge.Keys) == 0:
				return usage(cmd, "name the columns that say which row of the table a row is about: --keys id", "which are the keys?")
			case m.Merge.NotMatchedBySource != "" && m.Merge.NotMatchedBySource != "delete":
				return usage(cmd, "write delete", "--not-matched-by-source is %q; it takes delete", m.Merge.NotMatchedBySource)
			}
			c, err := silt.MergeTable(cmd.Context(), cfg, m)
			if err != nil {
				return err
			}
			return a.showChange(c, "merge", "silt.table_merge/v1")
		})
	f := cmd.Flags()
	f.StringVar(&m.Source, "source", "", "the rows: a file of JSON or a glob, a table, or `SQL`")
	f.StringSliceVar(&m.Merge.Keys, "keys", nil, "the `COLUMNS` that say which row of the table a row is about; device.id is a field in a struct")
	f.StringVar(&m.Merge.SequenceBy, "sequence-by", "", "the `COLUMN` that orders changes: an older row never replaces a newer one")
	f.StringVar(&m.Merge.DeleteWhen, "delete-when", "", "delete where this `SQL` over source and target is true")
	f.StringVar(&m.Merge.UpdateWhen, "update-when", "", "update only where this `SQL` over source and target is true")
	f.BoolVar(&m.Merge.InsertOnly, "insert-only", false, "leave rows that are in the table as they are")
	f.StringVar(&m.Merge.NotMatchedBySource, "not-matched-by-source", "", "`delete`: delete the rows of the table that the source does not have")
	f.BoolVar(&m.Merge.IgnoreNullUpdates, "ignore-null-updates", false, "keep what the table has where a row has NULL")
	f.StringSliceVar(&m.Merge.ExceptColumns, "except-columns", nil, "`COLUMNS` of the source that do not go into the table")
	f.BoolVar(&m.KeepSchema, "keep-schema", false, "refuse columns that the table does not have")
	f.BoolVar(&m.DryRun, "dry-run", false, "say what would change, and write nothing")
	return cmd
}

func (a *app) tableUpdateCommand() *cobra.Command {
	var u silt.RowUpdate
	var set []string
	cmd := a.tableVerb("update", "Give columns of some rows other values",
		`Gives columns new values in the rows for which the condition is true. Both are SQL over the columns of the
table as they were.`,
		`  silt table update main.demo.events --set "status = 'done'" --where "id = 7" --dry-run
  silt table update main.demo.events --set "total = price * n" --set "checked = true" --all`,
		func(cmd *cobra.Command, cfg silt.Config) error {
			if len(set) == 0 {
				return usage(cmd, `write --set "column = expression"`, "which column gets which value?")
			}
			if err := whichRows(cmd, u.Where); err != nil {
				return err
			}
			for _, text := range set {
				column, sql, ok := strings.Cut(text, "=")
				if column = strings.Trim(strings.TrimSpace(column), "`\""); !ok || column == "" || strings.TrimSpace(sql) == "" {
					return usage(cmd, `write --set "column = expression"`, "--set is %q", text)
				}
				u.Set = append(u.Set, silt.Assignment{Column: column, SQL: strings.TrimSpace(sql)})
			}
			c, err := silt.UpdateTable(cmd.Context(), cfg, u)
			if err != nil {
				return err
			}
			return a.showChange(c, "update", "silt.table_update/v1")
		})
	cmd.Flags().StringArrayVar(&set, "set", nil, "a column and its value: \"`column = expression`\"; may be repeated")
	rowFlags(cmd, &u.Where, &u.DryRun)
	return cmd
}

func (a *app) tableDeleteCommand() *cobra.Command {
	where, dryRun := "", false
	cmd := a.tableVerb("delete", "Delete rows of a table",
		`Deletes the rows for which the condition, SQL over the columns of the table, is true. Older versions keep
them until silt table vacuum.`,
		`  silt table delete main.demo.events --where "recorded_at < '2020-01-01'" --dry-run
  silt table delete main.demo.events --all`,
		func(cmd *cobra.Command, cfg silt.Config) error {
			if err := whichRows(cmd, where); err != nil {
				return err
			}
			c, err := silt.DeleteRows(cmd.Context(), cfg, where, dryRun)
			if err != nil {
				return err
			}
			return a.showChange(c, "delete", "silt.table_delete/v1")
		})
	rowFlags(cmd, &where, &dryRun)
	return cmd
}

func rowFlags(cmd *cobra.Command, where *string, dryRun *bool) {
	cmd.Flags().StringVar(where, "where", "", "the `SQL` condition that says which rows")
	cmd.Flags().Bool("all", false, "all rows")
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "say what would change, and write nothing")
}

// whichRows wants rows to be named, so that a forgotten condition does not change all of them.
func whichRows(cmd *cobra.Command, where string) error {
	all := cmd.Flags().Changed("all")
	switch {
	case where == "" && !all:
		return usage(cmd, "give --where SQL, or --all", "which rows?")
	case where != "" && all:
		return usage(cmd, "say one of them", "--where and --all contradict each other")
	}
	return nil
}

// showChange tells what a change of rows did.
func (a *app) showChange(c *silt.RowChanges, verb, kind string) error {
	if a.machine() {
		return a.printJSON(result(kind, member{"change", c}))
	}
	var rows []string
	inserted := int64(0)
	if c.Merge != nil {
		inserted = c.Merge.Inserted
	}
	for _, p := range []struct {
		n    int64
		what string
	}{{inserted, "inserted"}, {c.RowsUpdated, "updated"}, {c.RowsDeleted, "deleted"}} {
		if p.n > 0 {
			rows = append(rows, thousands(p.n)+" "+p.what)
		}
	}
	switch {
	case len(rows) == 0:
		fmt.Fprintf(a.stdout, "Nothing to %s: no row of %s (version %d) changes.\n", verb, c.Table, c.Version)
	case c.DryRun:
		fmt.Fprintf(a.stdout, "Would change %s (version %d): %s.\n", c.Table, c.Version, strings.Join(rows, ", "))
	default:
		fmt.Fprintf(a.stdout, "Changed %s, as version %d: %s.\n", c.Table, c.Version, strings.Join(rows, ", "))
	}
	if c.Merge != nil {
		fmt.Fprintf(a.stdout, "  source  %s\n", strings.Replace(mergeSum(*c.Merge), "made", "read", 1))
	}
	if len(rows) > 0 {
		fmt.Fprintf(a.stdout, "  files   %s\n", filesText(c))
	}
	if c.DryRun {
		fmt.Fprintln(a.stdout, "Nothing has been written.")
	}
	return nil
}

// filesText is what a change does to files.
func filesText(c *silt.RowChanges) string {
	var parts []string
	if c.FilesRemoved > 0 {
		verb := "replaced"
		if c.RowsCopied+c.RowsUpdated == 0 {
			verb = "removed"
		}
		text := thousands(c.FilesRemoved) + " " + verb
		if c.RowsCopied > 0 {
			text += " (" + count(c.RowsCopied, "row") + " written again)"
		}
		parts = append(parts, text)
	}
	if c.FilesMarked > 0 {
		parts = append(parts, thousands(c.FilesMarked)+" with rows marked as deleted")
	}
	if c.FilesAdded > 0 {
		parts = append(parts, thousands(c.FilesAdded)+" written ("+size(c.BytesAdded)+")")
	}
	if len(parts) == 0 {
		return "new ones only"
	}
	return strings.Join(parts, ", ")
}
