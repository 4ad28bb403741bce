package cli

import (
	"strings"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print what makes a shell complete silt's commands: " + strings.Join(shells, ", "),
		Example: `  source <(silt completion bash)
  silt completion zsh > "${fpath[1]}/_silt"
  silt completion fish > ~/.config/fish/completions/silt.fish`,
		Args:      arguments(1, 1),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return usage(cmd, "it takes "+strings.Join(shells, ", "), "there is no completion for %q", args[0])
		},
	}
}

// complete gives a flag its completions.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // there is no such flag
	}
}

func (a *app) completePipelines(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	c, err := a.configuration(false)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return pipelineNames(c.pipelines()), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeTables(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.configuration(false)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return append(pipelineNames(c.pipelines()), c.lakeTables()...), cobra.ShellCompDirectiveDefault
}

func completeOptions(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, o := range silt.OptionTable() {
		if o.Class != silt.OptionRefused {
			words = append(words, cobra.CompletionWithDesc(strings.TrimPrefix(o.Name, "cloudFiles.")+"=", o.Doc))
		}
	}
	return words, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
