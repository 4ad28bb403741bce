package cli

import (
	"fmt"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor [PIPELINE|TABLE]",
		Short: "Try out what a pipeline needs: source, stores, checkpoint, table",
		Long: `Lists and reads the source, looks into the queue of its notifications, tries out what the stores of
checkpoint and table promise (that of racing writers one wins, that what was written is listed, ranges,
clock), and reads the checkpoint and the table. What it writes it removes again. Without an argument it
looks at all pipelines of the file.

A store that does not keep a promise on which exactly-once rests is refused by silt run too.`,
		Example: `  silt doctor
  silt doctor telemetry --json`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			configs, err := a.diagnosed(args)
			if err != nil {
				return err
			}
			var all []silt.Finding
			for _, cfg := range configs {
				findings, err := silt.Doctor(cmd.Context(), cfg)
				if err != nil {
					return err
				}
				all = append(all, findings...)
			}
			return a.showFindings(all)
		},
	}
}

// diagnosed are the pipelines that an argument means; without one, all of the file.
func (a *app) diagnosed(args []string) ([]silt.Config, error) {
	c, err := a.configuration(false)
	if err != nil {
		return nil, err
	}
	if len(args) > 0 || len(c.pipelines()) == 0 {
		cfg, err := a.found(args)
		return []silt.Config{cfg}, err
	}
	chosen, err := c.choose(nil)
	if err != nil {
		return nil, err
	}
	var configs []silt.Config
	for _, p := range chosen {
		configs = append(configs, p.config)
	}
	return configs, nil
}

func (a *app) showFindings(all []silt.Finding) error {
	bad := 0
	for _, f := range all {
		if f.Level == silt.LevelFail {
			bad++
		}
	}
	if bad > 0 {
		a.status = exitAccess
	}
	if a.listed() {
		shown := make([]any, len(all))
		for i, f := range all {
			o := object{{"level", f.Level}, {"what", f.What}, {"detail", f.Detail}}
			if f.Err != nil {
				o = append(o, member{"problems", a.explained(f.Err)})
			}
			shown[i] = o
		}
		return a.printAll("silt.doctor/v1", "findings", shown)
	}
	wide := 0
	for _, f := range all {
		wide = max(wide, len(f.What))
	}
	for _, f := range all {
		level := f.Level
		if level == silt.LevelFail {
			level = "FAIL"
		}
		fmt.Fprintf(a.stdout, "%-5s %-*s   %s\n", level, wide, f.What, f.Detail)
		if f.Err == nil {
			continue
		}
		for _, p := range a.explained(f.Err) {
			if p.Hint != "" {
				fmt.Fprintf(a.stdout, "%-5s %-*s   %s (%s)\n", "", wide, "", p.Hint, p.Code)
			}
		}
	}
	if bad > 0 {
		fmt.Fprintf(a.stdout, "%s to fix\n", count(bad, "problem"))
	}
	return nil
}
