package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// globalFlags are the flags of every command.
type globalFlags struct {
	config      string
	environment string
	set         []string
	quiet       bool
	verbose     bool
	logLevel    string
	logFormat   string
	output      string
	json        bool
	noColor     bool
	color       string
	yes         bool
	noInput     bool
	progress    string
}

// choices are the flags that take one of a few words.
var choices = map[string][]string{
	"output":     {"auto", "table", "json", "jsonl", "csv", "plain"},
	"log-level":  {"debug", "info", "warn", "error"},
	"log-format": {"auto", "text", "json"},
	"color":      {"auto", "always", "never"},
	"progress":   {"auto", "bar", "log", "none"},
}

func (g *globalFlags) register(f *pflag.FlagSet) {
	f.StringVarP(&g.config, "config", "c", "", "pipeline `FILE` (else $SILT_CONFIG, else ./silt.yml)")
	f.StringVar(&g.environment, "env", "", "`NAME` of an overlay under environments: (else $SILT_ENV)")
	f.StringArrayVar(&g.set, "set", nil, "set a value of the pipeline file, as `a.b=c`; repeatable")
	f.BoolVarP(&g.quiet, "quiet", "q", false, "say nothing but errors and results")
	f.BoolVarP(&g.verbose, "verbose", "v", false, "say more; with an error, its whole chain")
	f.StringVar(&g.logLevel, "log-level", "info", "least `LEVEL` of log lines: debug, info, warn, error")
	f.StringVar(&g.logFormat, "log-format", "auto", "`FORMAT` of log lines: auto, text, json")
	f.StringVarP(&g.output, "output", "o", "auto", "`FORMAT` of results: auto, table, json, jsonl, csv, plain")
	f.BoolVar(&g.json, "json", false, "same as -o json")
	f.BoolVar(&g.noColor, "no-color", false, "no colours (also $NO_COLOR, TERM=dumb)")
	f.StringVar(&g.color, "color", "auto", "`WHEN` to use colours: auto, always, never")
	f.BoolVarP(&g.yes, "yes", "y", false, "answer yes to every question")
	f.BoolVar(&g.noInput, "no-input", false, "ask nothing; a question is an error")
	f.StringVar(&g.progress, "progress", "auto", "`KIND` of progress: auto, bar, log, none")
}

// check validates the flags that take one of a few words, all at once.
func (g *globalFlags) check(a *app) error {
	var problems []string
	for _, c := range []struct{ name, value string }{
		{"output", g.output}, {"log-level", g.logLevel}, {"log-format", g.logFormat},
		{"color", g.color}, {"progress", g.progress},
	} {
		if words := choices[c.name]; !slices.Contains(words, c.value) {
			p := fmt.Sprintf("--%s is %q; it takes %s", c.name, c.value, strings.Join(words, ", "))
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		g.output = "auto"
		return &usageError{problem: strings.Join(problems, "; ")}
	}
	if g.json {
		if g.output != "auto" && g.output != "json" {
			return &usageError{problem: "--json and -o " + g.output + " contradict each other"}
		}
		g.output = "json"
	}
	if g.environment == "" {
		g.environment = a.env("SILT_ENV")
	}
	return nil
}

// level is the least level of log lines.
func (g *globalFlags) level() slog.Level {
	switch {
	case g.logLevel == "debug" || g.verbose && g.logLevel == "info":
		return slog.LevelDebug
	case g.logLevel == "warn" || g.quiet && g.logLevel == "info":
		return slog.LevelWarn
	case g.logLevel == "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// wantedOutput finds the format in args that may not parse.
func wantedOutput(args []string) string {
	for i, arg := range args {
		switch {
		case arg == "--json", arg == "-ojson", arg == "--output=json", arg == "-o=json":
			return "json"
		case (arg == "-o" || arg == "--output") && i+1 < len(args):
			if args[i+1] == "json" || args[i+1] == "jsonl" {
				return args[i+1]
			}
		case arg == "--":
			return "auto"
		}
	}
	return "auto"
}

// usageError is a mistake on the command line.
type usageError struct {
	problem string
	hint    string // what to write instead; may be empty
	command string // whose help says more; may be empty
}

func (e *usageError) Error() string { return e.problem }

func usage(cmd *cobra.Command, hint, format string, args ...any) error {
	return &usageError{problem: fmt.Sprintf(format, args...), hint: hint, command: cmd.CommandPath()}
}

// flagError turns what pflag says into a usageError with the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			return usage(cmd, "", "there is no flag -%s", name)
		}
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				known = append(known, f.Name)
			}
		})
		hint := ""
		if n := nearest(name, known); n != "" {
			hint = "did you mean --" + n + "?"
		}
		return usage(cmd, hint, "there is no flag --%s", name)
	case errors.As(err, &missing):
		return usage(cmd, "", "--%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return usage(cmd, "", "--%s is %q, which is no %s", f.Name, invalid.GetValue(), f.Value.Type())
	}
	return usage(cmd, "", "%s", err)
}

// group is the RunE of a command that only has commands below it.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	hint := ""
	if n := nearest(args[0], known); n != "" {
		hint = "did you mean " + cmd.CommandPath() + " " + n + "?"
	}
	return usage(cmd, hint, "there is no command %q", cmd.CommandPath()+" "+args[0])
}

// arguments checks the number of arguments of a command; what names them, as its usage does.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(cmd, "usage: "+cmd.UseLine(), "%s needs %s", cmd.CommandPath(), count(least, "argument"))
		case most >= 0 && len(args) > most:
			return usage(cmd, "usage: "+cmd.UseLine(), "%s takes %s; %q is too many", cmd.CommandPath(), count(most, "argument"), args[most])
		}
		return nil
	}
}
