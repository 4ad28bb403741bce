package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// The groups of commands on the first help screen.
const (
	groupMain = "main"
	groupMore = "more"
)

const start = `
Try it:
  silt demo                                       made-up telemetry in ./silt-demo
  silt load ./silt-demo/day1 main.demo.events     a table in ./lake, which grows with its data
  silt query "select count(*) from main.demo.events"
`

// help gives commands their help: short for silt itself, with its flags for all others.
func help(root *cobra.Command) {
	root.SetHelpCommand(&cobra.Command{Use: "help [COMMAND]", Short: "Say what a command does, as --help does", Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			for of := root; ; args = args[1:] {
				i := slices.IndexFunc(of.Commands(), func(c *cobra.Command) bool { return len(args) > 0 && c.Name() == args[0] })
				if i < 0 {
					return group(of, args)
				}
				of = of.Commands()[i]
			}
		}})
	cobra.AddTemplateFunc("start", func() string { return start })
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(`{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`)
}

var usageTemplate = strings.TrimPrefix(`
Usage: {{if .Runnable}}{{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}{{end}}
{{if not .HasParent}}{{start}}{{end}}{{if .HasExample}}
Examples:
{{.Example}}
{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if eq (len .Groups) 0}}
Commands:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}
{{else}}{{range $group := .Groups}}
{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}
{{end}}{{end}}{{end}}{{if .HasParent}}{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{if .HasAvailableInheritedFlags}}
Flags of all commands:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{else}}
silt COMMAND --help says more, and lists the flags of all commands; silt explain CODE explains an error.
{{end}}`, "\n")
