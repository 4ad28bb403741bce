package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) tableCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "table", Short: "Show a Delta table and its versions, and look after it", Args: cobra.ArbitraryArgs, RunE: group}
	var v tableVersion
	show := &cobra.Command{
		Use:               "show [PIPELINE|TABLE]",
		Short:             "Show a table's columns, size and properties",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.whichTable(args)
			if err != nil {
				return err
			}
			at, err := v.of(cmd, cfg)
			if err != nil {
				return err
			}
			t, err := silt.DescribeTable(cmd.Context(), cfg, at)
			if err != nil {
				return err
			}
			return a.showTable(t)
		},
	}
	v.at(show, "to show")
	limit := 20
	history := &cobra.Command{
		Use:               "history [PIPELINE|TABLE]",
		Short:             "Show the versions of a table, the newest first",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.whichTable(args)
			if err != nil {
				return err
			}
			versions, err := silt.TableHistory(cmd.Context(), cfg, limit)
			if err != nil {
				return err
			}
			return a.showVersions(cfg.Target.String(), versions)
		},
	}
	history.Flags().IntVar(&limit, "limit", limit, "most versions to show; 0 shows all")
	cmd.AddCommand(show, history, a.tableDetailCommand(), a.tableRestoreCommand(), a.tableOptimizeCommand(), a.tableVacuumCommand(),
		a.tableCheckpointCommand(), a.tableCheckCommand(), a.tableCleanLogCommand(), a.tablePropertiesCommand(), a.tableAddColumnCommand(),
		a.tableRenameColumnCommand(), a.tableDropColumnCommand(), a.tableChangeColumnCommand(),
		a.tableMergeCommand(), a.tableUpdateCommand(), a.tableDeleteCommand())
	return cmd
}

func (a *app) showTable(t *silt.TableInfo) error {
	if a.machine() {
		return a.printJSON(result("silt.table/v1", member{"table", t}))
	}
	line := func(label, text string) { fmt.Fprintf(a.stdout, "%-12s %s\n", label, text) }
	line("table", t.Name)
	if t.Location != t.Name {
		line("location", t.Location)
	}
	version := strconv.FormatInt(t.Version, 10)
	if t.Modified != nil {
		version += ", " + clock(*t.Modified)
	}
	line("version", version)
	rows := "unknown: some files have no statistics"
	if t.Rows >= 0 {
		rows = thousands(t.Rows)
	}
	line("rows", rows)
	line("files", fmt.Sprintf("%s, %s", thousands(t.Files), size(t.Bytes)))
	if t.CreatedAt != nil {
		line("created", clock(*t.CreatedAt))
	}
	if len(t.Partition) > 0 {
		line("partitioned", "by "+strings.Join(t.Partition, ", "))
	}
	protocol := fmt.Sprintf("reader %d, writer %d", t.MinReader, t.MinWriter)
	if len(t.Features) > 0 {
		protocol += ": " + strings.Join(t.Features, ", ")
	}
	line("protocol", protocol)
	for _, k := range slices.Sorted(maps.Keys(t.Properties)) {
		line("property", k+" = "+t.Properties[k])
	}
	line("id", t.ID)
	fmt.Fprintln(a.stdout)
	writeFields(a.stdout, t.Schema)
	a.next("silt", "table", "history", t.Name)
	return nil
}

func (a *app) showVersions(table string, versions []silt.TableHistoryEntry) error {
	if a.listed() {
		all := make([]any, len(versions))
		for i, v := range versions {
			all[i] = v
		}
		return a.printAll("silt.table_history/v1", "versions", all)
	}
	t := &textTable{header: []string{"VERSION", "TIME", "OPERATION", "ROWS", "FILES", "WHAT"}, right: []bool{true, false, false, true, true}}
	for _, v := range versions {
		t.add(fmt.Sprint(v.Version), instantText(v.Timestamp), v.Operation, metric(v, "numOutputRows"), metric(v, "numFiles", "numAddedFiles", "numTargetFilesAdded"), parameters(v))
	}
	t.write(a.stdout)
	if len(versions) > 0 && versions[0].Version > 0 && hasSQL {
		a.next("silt", "query", "select count(*) from "+sqlName(table), "--version", fmt.Sprint(versions[0].Version-1))
	}
	return nil
}

// metric is the first of the named metrics that the version has.
func metric(v silt.TableHistoryEntry, names ...string) string {
	for _, n := range names {
		if raw, ok := v.OperationMetrics[n]; ok {
			return strings.Trim(string(raw), `"`)
		}
	}
	return ""
}

func parameters(v silt.TableHistoryEntry) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(v.OperationParameters)) {
		if k == "queryId" || k == "source" || k == "pipeline" {
			continue // tells programs whose batch it is
		}
		var text string
		if json.Unmarshal(v.OperationParameters[k], &text) != nil {
			text = string(v.OperationParameters[k])
		}
		if text != "" && text != "[]" && text != "{}" {
			parts = append(parts, k+"="+text)
		}
	}
	return strings.Join(parts, " ")
}
