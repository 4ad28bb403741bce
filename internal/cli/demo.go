package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/siltlake/silt/internal/telemetry"
	"github.com/spf13/cobra"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Write made-up telemetry, a pipeline file and commands to try into ./silt-demo",
		Args:  arguments(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "silt-demo"
			if len(args) > 0 {
				dir = args[0]
			}
			sum, err := telemetry.WriteDemo(dir)
			if errors.Is(err, fs.ErrExist) {
				return &usageError{problem: "the folder " + dir + " is there and not empty; nothing was written", hint: "name another one: silt demo DIR"}
			}
			if err != nil {
				return err
			}
			if a.machine() {
				return a.printJSON(result("silt.demo/v1", member{"demo", sum}))
			}
			fmt.Fprintf(a.stdout, "Wrote %s:\n", dir)
			for _, w := range sum.Waves {
				fmt.Fprintf(a.stdout, "  %-6s  %s, %s, %s: %s\n", w.Name, count(w.Files, "file"), count(w.Records, "record"), size(w.Bytes), w.About)
			}
			fmt.Fprintf(a.stdout, "  silt.yml and README.md, which has all of what follows\n")
			for _, s := range sum.Next {
				fmt.Fprintf(a.stdout, "\n%s\n", s.About)
				for _, c := range s.Commands {
					fmt.Fprintf(a.stdout, "  %s\n", c)
				}
			}
			return nil
		},
	}
}
