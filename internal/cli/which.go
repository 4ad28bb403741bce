package cli

import (
	"slices"
	"strings"

	"github.com/siltlake/silt"
)

// which finds what the argument [PIPELINE|TABLE] means, for what silt knows about it: a pipeline of the file,
// the name of a table, or a path. Without it, it is the only pipeline of the file, or the only table of the
// lake. What is known about one of several targets lies beside the first of them.
func (a *app) which(args []string) (silt.Config, error) {
	cfg, err := a.found(args)
	if err != nil || len(cfg.Targets) > 0 || len(args) == 0 {
		return firstOf(cfg), err
	}
	c, err := a.configuration(false)
	if err != nil {
		return cfg, err
	}
	all := c.pipelines()
	c.resolve(all)
	for _, p := range all {
		for _, t := range p.config.Targets {
			if t.Table != "" && t.Table == cfg.Target.Table || t.Path != "" && t.Path == cfg.Target.Path {
				return firstOf(p.config), nil
			}
		}
	}
	return cfg, nil
}

// firstOf is the configuration with the first of several targets alone.
func firstOf(cfg silt.Config) silt.Config {
	if len(cfg.Targets) > 0 {
		cfg.Target, cfg.Targets = cfg.Targets[0], nil
	}
	return cfg
}

// whichTable finds what the argument [PIPELINE|TABLE] means, for a command about one table.
func (a *app) whichTable(args []string) (silt.Config, error) {
	cfg, err := a.found(args)
	if err != nil || len(cfg.Targets) == 0 {
		return cfg, err
	}
	names := make([]string, len(cfg.Targets))
	for i, t := range cfg.Targets {
		names[i] = t.String()
	}
	return cfg, &usageError{problem: "the pipeline " + cfg.Name + " writes several tables", hint: "name one of " + strings.Join(names, ", ")}
}

// found is the configuration of the pipeline or the table that the argument means.
func (a *app) found(args []string) (silt.Config, error) {
	c, err := a.configuration(false)
	if err != nil {
		return silt.Config{}, err
	}
	all := c.pipelines()
	if len(args) == 0 {
		return a.onlyOne(c, all)
	}
	for _, p := range all {
		if p.name == args[0] {
			chosen, err := c.choose([]string{p.name})
			if err != nil {
				return silt.Config{}, err
			}
			return chosen[0].config, nil
		}
	}
	t, err := targetOf(args[0])
	if err != nil {
		known := append(pipelineNames(all), c.lakeTables()...)
		if len(known) == 0 {
			return silt.Config{}, err
		}
		return silt.Config{}, &nameError{"pipeline or table", args[0], "this folder", known}
	}
	return silt.Config{Target: t, Catalogs: c.catalogs()}, nil
}

func (a *app) onlyOne(c *configuration, all []pipeline) (silt.Config, error) {
	if len(all) == 1 {
		chosen, err := c.choose(nil)
		if err != nil {
			return silt.Config{}, err
		}
		return chosen[0].config, nil
	}
	known := pipelineNames(all)
	if len(all) == 0 {
		known = c.lakeTables()
		if len(known) == 1 {
			return silt.Config{Target: silt.Table(known[0]), Catalogs: c.catalogs()}, nil
		}
	}
	hint := "name a pipeline of silt.yml, or a table such as main.demo.events or ./lake/events"
	if len(known) > 0 {
		hint = "name one of " + some(known, 8)
	}
	return silt.Config{}, &usageError{problem: "which table?", hint: hint}
}

// lakeTables returns the names of the tables in the catalogs, less those that silt keeps beside them.
func (c *configuration) lakeTables() []string {
	return slices.DeleteFunc(silt.Tables(c.catalogs()), func(name string) bool { return strings.HasSuffix(name, "_quarantine") })
}
