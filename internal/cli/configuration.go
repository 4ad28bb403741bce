package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/siltlake/silt"
)

// defaultFile is the pipeline file of the working directory.
const defaultFile = "silt.yml"

// configuration is the pipeline file with the overlays of --env and --set on it. Without a file it is
// empty but for what --set says.
type configuration struct {
	path string // of the file as the user gave it; empty: there is none
	dir  string // that paths in the file are relative to
	root *value
	doc  fileDoc
	// origins collects where the SQL of transforms was written.
	origins *[]sqlOrigin
	// faults are mistakes in pipelines, for commands that may not need those.
	faults []fault
}

// pipeline is a pipeline of the file.
type pipeline struct {
	name   string
	config silt.Config
	at     place
	value  *value
}

// fileError says that the pipeline file cannot be read.
type fileError struct {
	path, problem, hint string
}

func (e *fileError) Error() string { return e.path + ": " + e.problem }

// configuration reads the pipeline file that the flags, the environment or the working directory name.
// When need is set, there must be one, and all of it must be right; else mistakes in its pipelines do
// not matter until one is chosen.
func (a *app) configuration(need bool) (*configuration, error) {
	path := a.flags.config
	if path == "" {
		path = a.env("SILT_CONFIG")
	}
	if path == "" {
		if _, err := os.Stat(defaultFile); err == nil {
			path = defaultFile
		} else if need {
			return nil, &fileError{defaultFile, "there is none in this folder", "name one with -c FILE, write one with silt init SOURCE, or do without: silt load SOURCE TARGET"}
		}
	}
	c := &configuration{path: path, root: &value{kind: mapping}, origins: &a.origins}
	var faults []fault
	if path != "" {
		data, err := readFile(path)
		if err != nil {
			return nil, err
		}
		data = strings.TrimPrefix(data, "\ufeff") // as some editors begin a text
		c.dir = filepath.Dir(path)
		doc := &document{name: path, lines: strings.Split(strings.ReplaceAll(data, "\r\n", "\n"), "\n"), file: true}
		var root *value
		if root, faults = parseYAML(doc, data); root == nil {
			return nil, faultsOrNil(faults)
		}
		x := &expander{env: a.env, dir: c.dir}
		x.expand(root)
		faults = append(faults, x.faults...)
		c.root = root
	}
	faults = append(faults, c.overlay(a)...)
	d := &decoder{}
	d.into(c.root, reflect.ValueOf(&c.doc).Elem(), nil)
	faults = append(faults, d.faults...)
	if path != "" {
		if e := c.root.get("version"); e == nil {
			faults = append(faults, fault{silt.CodeMissing, "the version of the format is missing", "write version: 1", c.root.at, "version"})
		} else if c.doc.Version != 1 && e.value.kind == number {
			faults = append(faults, fault{codeValue, "version is " + e.value.text + "; this silt reads version 1", "", e.value.at, "version"})
		}
	}
	if need && len(faults) > 0 {
		all := c.pipelines()
		faults = append(faults, c.resolve(all)...)
		return nil, faultsOrNil(c.more(faults, all))
	}
	for _, f := range faults {
		if !strings.HasPrefix(f.path, "pipelines.") {
			return nil, faultsOrNil(faults)
		}
	}
	c.faults = faults
	return c, nil
}

// more adds what else is wrong with pipelines that have mistakes already, so that all come in one go.
// What only seems to be missing because its line is wrong is not said.
func (c *configuration) more(faults []fault, chosen []pipeline) []fault {
	opened, err := c.open(context.Background(), chosen)
	_ = closeAll(opened) // they have done nothing
	if e := (*faultError)(nil); errors.As(err, &e) {
		known := slices.Clone(faults)
		for _, f := range e.faults {
			if !slices.ContainsFunc(known, f.follows) {
				faults = append(faults, f)
			}
		}
	}
	return faults
}

// follows says whether f is only a consequence of first.
func (f fault) follows(first fault) bool {
	if f.path == first.path {
		return true
	}
	pipeline := func(path string) string {
		steps := strings.SplitN(path, ".", 3)
		return strings.Join(steps[:min(2, len(steps))], ".")
	}
	return f.code == silt.CodeMissing && (pipeline(f.path) == pipeline(first.path) || f.at == first.at)
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &fileError{path, "there is no such file", "name the pipeline file with -c FILE"}
	case err != nil:
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		return "", &fileError{path, err.Error(), "name the pipeline file with -c FILE"}
	case len(b) > maxFileSize:
		return "", &fileError{path, "it is larger than " + size(maxFileSize), "name the pipeline file with -c FILE, not a file of data"}
	}
	return string(b), nil
}

// overlay applies the environment and --set.
func (c *configuration) overlay(a *app) (faults []fault) {
	if name := a.flags.environment; name != "" && c.path != "" {
		environments := c.root.get("environments")
		var known []string
		var chosen *entry
		if environments != nil {
			for _, e := range environments.value.entries {
				known = append(known, e.key)
			}
			chosen = environments.value.get(name)
		}
		switch {
		case chosen == nil:
			hint := c.path + " has no environments"
			if len(known) > 0 {
				hint = "it has " + strings.Join(known, ", ")
			}
			faults = append(faults, fault{codeName, fmt.Sprintf("there is no environment %q", name), hint, place{source: &document{name: "--env " + name}}, "environments"})
		case chosen.value.kind == mapping:
			c.root = overlay("", c.root, chosen.value)
		}
	}
	for _, arg := range a.flags.set {
		v, f := setValue(arg)
		if f != nil {
			faults = append(faults, *f)
			continue
		}
		c.root = overlay("", c.root, v)
	}
	return faults
}

// setValue makes a configuration of one value from a.b=c. What follows options is the name of an option
// and may hold dots.
func setValue(arg string) (*value, *fault) {
	doc := &document{name: "--set " + arg, lines: []string{"--set " + arg}}
	at := func(i int) place { return place{doc, 1, len("--set ") + i + 1} }
	path, text, ok := strings.Cut(arg, "=")
	if !ok || path == "" {
		return nil, &fault{codeUsage, "--set takes a.b=c", "for example --set pipelines.telemetry.options.maxFilesPerTrigger=100", at(0), ""}
	}
	v := scalar(text, at(len(path)+1))
	if strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{") {
		if parsed, faults := parseYAML(doc, text); parsed != nil && len(faults) == 0 {
			v = parsed
			v.at = at(len(path) + 1)
		}
	}
	steps := strings.Split(path, ".")
	if i := slices.Index(steps, "options"); i >= 0 && i+2 < len(steps) {
		steps = append(steps[:i+1:i+1], strings.Join(steps[i+1:], "."))
	}
	end := len(path)
	for i := len(steps) - 1; i >= 0; i-- {
		start := end - len(steps[i])
		v = &value{kind: mapping, at: at(start), entries: []entry{{steps[i], at(start), v}}}
		end = start - 1
	}
	return v, nil
}

// pipelines returns the pipelines in the order of the file. Mistakes that it meets are returned by
// check.
func (c *configuration) pipelines() []pipeline {
	var all []pipeline
	e := c.root.get("pipelines")
	if e == nil {
		return nil
	}
	for _, p := range e.value.entries {
		all = append(all, pipeline{name: p.key, at: p.at, value: p.value})
	}
	return all
}

// choose returns the pipelines with these names, all when there are none, with their Configs. All
// mistakes that can be seen without opening them are in one error.
func (c *configuration) choose(names []string) ([]pipeline, error) {
	all := c.pipelines()
	if len(all) == 0 {
		return nil, &fileError{c.path, "it has no pipelines", "add one under pipelines:"}
	}
	chosen := all
	if len(names) > 0 {
		chosen = nil
		for _, n := range names {
			i := slices.IndexFunc(all, func(p pipeline) bool { return p.name == n })
			if i < 0 {
				return nil, &nameError{"pipeline", n, c.path, pipelineNames(all)}
			}
			chosen = append(chosen, all[i])
		}
	}
	return chosen, faultsOrNil(append(c.faultsOf(chosen), c.resolve(chosen)...))
}

// faultsOf returns the mistakes that were found in pipelines so far.
func (c *configuration) faultsOf(chosen []pipeline) (faults []fault) {
	for _, f := range c.faults {
		if slices.ContainsFunc(chosen, func(p pipeline) bool { return strings.HasPrefix(f.path+".", "pipelines."+p.name+".") }) {
			faults = append(faults, f)
		}
	}
	return faults
}

func pipelineNames(all []pipeline) []string {
	var names []string
	for _, p := range all {
		names = append(names, p.name)
	}
	return names
}

// resolve fills the Configs of pipelines and returns what is wrong with them.
func (c *configuration) resolve(chosen []pipeline) (faults []fault) {
	for i := range chosen {
		p := &chosen[i]
		r := &resolver{dir: c.dir, catalogs: c.catalogs(), origins: c.origins, value: p.value, path: []string{"pipelines", p.name}}
		p.config = r.config(c.doc.Pipelines[p.name])
		p.config.Name = p.name
		faults = append(faults, r.faults...)
	}
	return faults
}

// open opens pipelines. The mistakes of all are in one error.
func (c *configuration) open(ctx context.Context, chosen []pipeline) (opened []*silt.Pipeline, err error) {
	var faults []fault
	for _, p := range chosen {
		one, e := silt.Open(ctx, p.config)
		var mistakes *silt.ConfigError
		switch {
		case errors.As(e, &mistakes):
			faults = append(faults, locate(mistakes, c.root, p.value, p.path()...)...)
		case e != nil && err == nil:
			err = e
		case e == nil:
			opened = append(opened, one)
		}
	}
	if len(faults) > 0 {
		err = faultsOrNil(faults)
	}
	if err != nil {
		return nil, errors.Join(err, closeAll(opened))
	}
	return opened, nil
}

// path is the path of the pipeline in the file.
func (p *pipeline) path() []string {
	if p.config.Name == "" {
		return nil
	}
	return []string{"pipelines", p.config.Name}
}

// catalogs returns the catalogs of the file, with their paths made relative to the working directory.
// Catalogs that the file only uses have their lake beside it.
func (c *configuration) catalogs() map[string]silt.Catalog {
	catalogs := map[string]silt.Catalog{}
	for name, doc := range c.doc.Catalogs {
		catalogs[name] = silt.Catalog{Type: doc.Type, Path: relative(c.dir, doc.Path)}
	}
	for _, p := range c.doc.Pipelines {
		used := []string{p.Target.Table}
		for _, t := range p.Targets {
			used = append(used, t.Table)
		}
		for _, at := range p.Refs {
			if tableName.MatchString(at) {
				used = append(used, at)
			}
		}
		for _, at := range used {
			name, _, named := strings.Cut(at, ".")
			if named && catalogs[name].Path == "" {
				catalogs[name] = silt.Catalog{Type: catalogs[name].Type, Path: relative(c.dir, silt.DefaultLake)}
			}
		}
	}
	return catalogs
}

// nameError says that something has no such name.
type nameError struct {
	thing, name, in string
	known           []string
}

func (e *nameError) Error() string {
	return fmt.Sprintf("there is no %s %q in %s", e.thing, e.name, e.in)
}

// relative makes a path that is relative to dir one that is relative to the working directory. URIs
// stay.
func relative(dir, path string) string {
	if path == "" || dir == "" || dir == "." || filepath.IsAbs(path) || isURI(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func isURI(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	return ok && len(scheme) > 1 && strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// pathOptions are the options that hold a path.
var pathOptions = []string{"schemalocation", "checkpointlocation", "badrecordspath", "cleansource.movedestination"}

// resolver makes a Config of a pipeline of the file or of the command line.
type resolver struct {
	dir      string // that paths are relative to; empty: the working directory
	catalogs map[string]silt.Catalog
	origins  *[]sqlOrigin
	value    *value
	path     []string // of value
	faults   []fault
}

func (r *resolver) config(p pipelineDoc) silt.Config {
	c := silt.Config{
		Source:             relative(r.dir, p.Source),
		Catalogs:           r.catalogs,
		CheckpointLocation: relative(r.dir, p.CheckpointLocation),
		Options:            map[string]string{},
		Flatten:            p.Flatten.config(),
		Transform:          r.transform(p.Transform, "transform"),
		Refs:               r.refs(p.Refs),
		Lineage:            p.Lineage,
		Compat:             p.Compat,
		Uncarried:          p.Uncarried,
		OnCorrupt:          p.OnCorrupt,
		OnSchemaChange:     p.OnSchemaChange,
	}
	for name, text := range p.Options {
		c.Options[name] = text
		if slices.Contains(pathOptions, plainName(name)) {
			c.Options[name] = relative(r.dir, text)
		} else if file, ok := strings.CutPrefix(text, "@"); ok && (plainName(name) == "schema" || plainName(name) == "schemahints") {
			c.Options[name] = "@" + relative(r.dir, file)
		}
	}
	c.Target = r.target(p.Target, "target")
	c.Target.Expect, c.Target.OnConstraint = expectations(p.Expect), p.OnConstraint
	for i, t := range p.Targets {
		to := r.target(t.target(), "targets", strconv.Itoa(i))
		to.Transform = r.transform(t.Transform, "targets", strconv.Itoa(i), "transform")
		to.Expect, to.OnConstraint = expectations(t.Expect), cmp.Or(t.OnConstraint, p.OnConstraint)
		c.Targets = append(c.Targets, to)
	}
	if p.Target.MergeSchema != nil {
		for name := range c.Options {
			if plainName(name) == "mergeschema" {
				r.fault(codeContradiction, "remove one of them", "mergeSchema stands under options too", "target", "mergeSchema")
			}
		}
	}
	r.trigger(p.Trigger, &c)
	return c
}

func (r *resolver) fault(code, hint, problem string, path ...string) {
	found, at := r.value.find(path)
	if found != nil && found.at.line > 0 && found.kind <= text {
		at = found.at
	}
	r.faults = append(r.faults, fault{code, problem, hint, at, r.key(path...)})
}

// key is the path of a key in the whole configuration.
func (r *resolver) key(path ...string) string {
	return strings.Join(append(slices.Clip(r.path), path...), ".")
}

// target reads the target at a path.
func (r *resolver) target(t targetDoc, path ...string) silt.Target {
	switch t.Write {
	case "", "append", "merge", "overwrite":
	default:
		r.fault(codeValue, "write append, merge or overwrite", fmt.Sprintf("write is %q; it takes append, merge and overwrite", t.Write), append(slices.Clip(path), "write")...)
	}
	out := silt.Target{Table: t.Table, Path: relative(r.dir, t.Path), Write: t.Write, ReplaceWhere: t.ReplaceWhere, OverwriteSchema: t.OverwriteSchema, MergeSchema: t.MergeSchema, PartitionBy: t.PartitionBy, Properties: t.Properties}
	if t.Merge != nil {
		out.Merge = silt.Merge(*t.Merge)
	}
	return out
}
