package cli

import (
	"io"
	"strings"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) queryCommand() *cobra.Command {
	var v tableVersion
	cmd := &cobra.Command{
		Use:   "query SQL",
		Short: "Ask tables in SQL",
		Long: `Runs SQL (DuckDB's) over tables, which are named as catalog.schema.table or as a quoted path. The
tables silt.files, silt.runs, silt.schema_history and silt.quarantine hold what silt knows about the
pipelines of the pipeline file. SQL of - is read from the standard input, @file from a file.

JSON has integers of any length as numbers, decimals as strings, times as 2006-01-02T15:04:05.000000Z;
a VARIANT, and what SQL knows as JSON, is there as what it says.`,
		Example: `  silt query "select count(*) from main.demo.events"
  silt query "select vehicle.vin, avg(vehicle.battery.soc) from './lake/events' group by 1" -o csv
  silt query "select * from main.demo.events" --version 2 -o jsonl
  silt query "select count(*) from main.demo.events" --timestamp 2024-05-01`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sql, err := a.sql(args[0])
			if err != nil {
				return err
			}
			c, err := a.configuration(false)
			if err != nil {
				return err
			}
			o := silt.QueryOptions{Catalogs: c.catalogs()}
			if o.Version, o.Time, err = v.chosen(cmd); err != nil {
				return err
			}
			for _, p := range c.pipelines() {
				one := []pipeline{p}
				if len(c.faultsOf(one)) == 0 && len(c.resolve(one)) == 0 {
					o.Configs = append(o.Configs, one[0].config)
				}
			}
			rows, err := silt.Query(cmd.Context(), sql, o)
			if err != nil {
				return err
			}
			defer rows.Release()
			_, err = a.writeRows(rows)
			return err
		},
	}
	v.at(cmd, "of the tables to read")
	return cmd
}

// sql returns the SQL that an argument stands for.
func (a *app) sql(arg string) (string, error) {
	if arg == "-" {
		b, err := io.ReadAll(io.LimitReader(a.stdin, maxFileSize))
		return string(b), err
	}
	if path, ok := strings.CutPrefix(arg, "@"); ok {
		return readFile(path)
	}
	return arg, nil
}
