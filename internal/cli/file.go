package cli

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/siltlake/silt"
)

// These are the types of the pipeline file. A key is here only when a Config has no place for it under
// the name of Auto Loader, Spark or Delta: those stand under options.

type fileDoc struct {
	Version      int                    `json:"version" jsonschema:"The version of this format: 1."`
	Catalogs     map[string]catalogDoc  `json:"catalogs,omitempty" jsonschema:"Where table names are resolved: the first part of a name is a catalog. A catalog that is not here is a folder below ./lake."`
	Pipelines    map[string]pipelineDoc `json:"pipelines,omitempty" jsonschema:"The pipelines by name."`
	Environments map[string]overlayDoc  `json:"environments,omitempty" jsonschema:"Overlays over this file, chosen by --env or SILT_ENV."`
}

// overlayDoc is what an environment changes.
type overlayDoc struct {
	Catalogs  map[string]catalogDoc  `json:"catalogs,omitempty"`
	Pipelines map[string]pipelineDoc `json:"pipelines,omitempty"`
}

type catalogDoc struct {
	Type string `json:"type,omitempty" jsonschema:"local: schemas and tables are folders below path."`
	Path string `json:"path,omitempty" jsonschema:"The folder of the catalog, relative to this file."`
}

func (catalogDoc) later() []string { return []string{"uri", "token"} }

type pipelineDoc struct {
	Source             string               `json:"source,omitempty" jsonschema:"The folder where files arrive, as a path relative to this file or a URI. It may end in a glob."`
	CheckpointLocation string               `json:"checkpointLocation,omitempty" jsonschema:"Where silt remembers what it has loaded. Default: _silt in the table's folder, or in the catalog's."`
	Options            optionsDoc           `json:"options,omitempty" jsonschema:"Options of Auto Loader, Spark's JSON reader and Delta, under their names, in any case, with or without the prefix cloudFiles."`
	Flatten            flattenDoc           `json:"flatten,omitempty" jsonschema:"Columns whose objects become columns of their own, before the transform sees the rows."`
	Transform          transformDoc         `json:"transform,omitempty" jsonschema:"SQL over the records of a batch, which it sees as the table source; or @file; or steps of SQL by name, each of which reads those before it."`
	Refs               map[string]string    `json:"refs,omitempty" jsonschema:"Delta tables that the transform may read beside source, by the names that it calls them: table names, or paths relative to this file."`
	Target             targetDoc            `json:"target,omitempty" jsonschema:"The table to write."`
	Targets            []oneOfDoc           `json:"targets,omitempty" jsonschema:"Several tables to write, instead of target: each with its own transform. A record is read once."`
	Expect             map[string]expectDoc `json:"expect,omitempty" jsonschema:"Rules for the rows that go to the table, by name: a condition, or check and onViolation."`
	Lineage            lineageDoc           `json:"lineage,omitempty" jsonschema:"The columns that say where a row comes from, or off. Default: ingestion_timestamp, source_file."`
	Compat             string               `json:"compat,omitempty" jsonschema:"autoloader: Auto Loader's and Spark's behaviour to the letter."`
	Uncarried          string               `json:"uncarried,omitempty" jsonschema:"What happens to a new field that the transform does not carry into the table. Default: rescue."`
	OnCorrupt          string               `json:"onCorrupt,omitempty" jsonschema:"What happens to text that is no record. Default: quarantine."`
	OnConstraint       string               `json:"onConstraint,omitempty" jsonschema:"What happens to a row that breaks a CHECK constraint or NOT NULL of the table. Default: quarantine; under compat fail."`
	OnSchemaChange     string               `json:"onSchemaChange,omitempty" jsonschema:"Only under compat: fail stops the run when new columns have become part of the source schema; the next run loads them. Default: evolve."`
	Trigger            triggerDoc           `json:"trigger,omitempty" jsonschema:"When the pipeline runs. silt run loads what is there and stops; with --watch it looks again."`
}

func (pipelineDoc) later() []string {
	return []string{"promote", "alerts", "rename", "keepMetadata", "onBadRecords"}
}

type targetDoc struct {
	Table           string            `json:"table,omitempty" jsonschema:"A name of three parts: catalog.schema.table."`
	Path            string            `json:"path,omitempty" jsonschema:"A folder, relative to this file, or a URI."`
	Write           string            `json:"write,omitempty" jsonschema:"How rows reach the table: they are appended, merged by key, or those of a run replace all. Default: append."`
	Merge           *mergeDoc         `json:"merge,omitempty" jsonschema:"How rows are merged: only with write: merge."`
	ReplaceWhere    string            `json:"replaceWhere,omitempty" jsonschema:"With write: overwrite: replace only the rows for which this condition is true, such as day = '2026-01-05'."`
	OverwriteSchema bool              `json:"overwriteSchema,omitempty" jsonschema:"With write: overwrite: replace the schema and the partitioning too. Default: false."`
	MergeSchema     *bool             `json:"mergeSchema,omitempty" jsonschema:"Whether new columns become part of the table. Default: true."`
	PartitionBy     []string          `json:"partitionBy,omitempty" jsonschema:"The columns by which a new table is partitioned."`
	Properties      map[string]string `json:"properties,omitempty" jsonschema:"Table properties of a new table."`
}

func (targetDoc) later() []string { return []string{"clusterBy"} }

// oneOfDoc is one of several targets.
type oneOfDoc struct {
	Table           string               `json:"table,omitempty" jsonschema:"A name of three parts: catalog.schema.table."`
	Path            string               `json:"path,omitempty" jsonschema:"A folder, relative to this file, or a URI."`
	Transform       transformDoc         `json:"transform,omitempty" jsonschema:"SQL over the records of a batch, which it sees as the table source; or @file; or steps. Without it the rows are the records."`
	Write           string               `json:"write,omitempty" jsonschema:"How rows reach the table: they are appended, merged by key, or those of a run replace all. Default: append."`
	Merge           *mergeDoc            `json:"merge,omitempty" jsonschema:"How rows are merged: only with write: merge."`
	Expect          map[string]expectDoc `json:"expect,omitempty" jsonschema:"Rules for the rows that go to the table, by name: a condition, or check and onViolation."`
	ReplaceWhere    string               `json:"replaceWhere,omitempty" jsonschema:"With write: overwrite: replace only the rows for which this condition is true, such as day = '2026-01-05'."`
	OverwriteSchema bool                 `json:"overwriteSchema,omitempty" jsonschema:"With write: overwrite: replace the schema and the partitioning too. Default: false."`
	OnConstraint    string               `json:"onConstraint,omitempty" jsonschema:"What happens to a row that breaks a CHECK constraint or NOT NULL of the table. Default: that of the pipeline."`
	MergeSchema     *bool                `json:"mergeSchema,omitempty" jsonschema:"Whether new columns become part of the table. Default: true."`
	PartitionBy     []string             `json:"partitionBy,omitempty" jsonschema:"The columns by which a new table is partitioned."`
	Properties      map[string]string    `json:"properties,omitempty" jsonschema:"Table properties of a new table."`
}

func (oneOfDoc) later() []string { return []string{"clusterBy"} }

// target is what both kinds of targets say.
func (t oneOfDoc) target() targetDoc {
	return targetDoc{Table: t.Table, Path: t.Path, Write: t.Write, Merge: t.Merge, ReplaceWhere: t.ReplaceWhere, OverwriteSchema: t.OverwriteSchema, MergeSchema: t.MergeSchema, PartitionBy: t.PartitionBy, Properties: t.Properties}
}

type mergeDoc struct {
	Keys               []string `json:"keys,omitempty" jsonschema:"The columns that say which row of the table a row is about: id, or device.id for a field in a struct. A row without a value in one of them is quarantined."`
	SequenceBy         string   `json:"sequenceBy,omitempty" jsonschema:"The column that orders the changes of a key, also a field in a struct: an older row never replaces a newer one."`
	DeleteWhen         string   `json:"deleteWhen,omitempty" jsonschema:"SQL over source and target: rows for which it is true are deleted from the table."`
	UpdateWhen         string   `json:"updateWhen,omitempty" jsonschema:"SQL over source and target: rows for which it is not true are not updated."`
	InsertOnly         bool     `json:"insertOnly,omitempty" jsonschema:"Leave rows that are in the table as they are."`
	NotMatchedBySource string   `json:"notMatchedBySource,omitempty" jsonschema:"delete: delete the rows of the table that are not in the batch."`
	IgnoreNullUpdates  bool     `json:"ignoreNullUpdates,omitempty" jsonschema:"Keep what the table has where a row has NULL."`
	SCD                int      `json:"scd,omitempty" jsonschema:"2: keep all versions of a row, with the columns valid_from, valid_to and is_current. 1, the default: keep the last."`
	ExceptColumns      []string `json:"exceptColumns,omitempty" jsonschema:"Columns that are not written to the table."`
}

// expectDoc is a rule: a text is its check.
type expectDoc struct {
	Check       string `json:"check,omitempty" jsonschema:"SQL over one row as it goes to the table: true when the row meets the rule. NULL breaks it."`
	OnViolation string `json:"onViolation,omitempty" jsonschema:"What happens to a row that breaks the rule. Default: quarantine."`
}

func (x *expectDoc) decode(d *decoder, v *value, path []string) {
	if v.kind == mapping {
		d.structure(v, reflect.ValueOf(x).Elem(), path)
	} else if d.scalar(v, path) {
		x.Check = v.text
	}
}

// expectSchema is the JSON Schema of a rule.
func expectSchema() *jsonschema.Schema {
	text := func(what string, words ...any) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Description: what, Enum: words}
	}
	check := "SQL over one row as it goes to the table: true when the row meets the rule. NULL breaks it."
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		text(check),
		{Type: "object", Properties: map[string]*jsonschema.Schema{"check": text(check),
			"onViolation": text("What happens to a row that breaks the rule. Default: quarantine.", "quarantine", "drop", "fail", "warn")},
			PropertyOrder: []string{"check", "onViolation"}, Required: []string{"check"}, AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}}},
	}}
}

// optionsDoc is a mapping of option names to text, numbers or booleans as they are written.
type optionsDoc map[string]string

func (o *optionsDoc) decode(d *decoder, v *value, path []string) {
	if v.kind != mapping {
		d.wrongKind(v, path, "a mapping", "")
		return
	}
	*o = optionsDoc{}
	seen := map[string]entry{}
	for _, e := range v.entries {
		at := append(slices.Clip(path), e.key)
		if first, ok := seen[plainName(e.key)]; ok {
			d.fault(e.at, at, codeContradiction, "remove one of them", "%s and %s are the same option", first.key, e.key)
			continue
		}
		seen[plainName(e.key)] = e
		switch {
		case e.value.kind == null:
			d.fault(e.at, at, codeKind, "give it one, or remove it", "the option %s has no value", e.key)
		case d.scalar(e.value, at):
			(*o)[e.key] = e.value.text
		}
	}
}

// lineageDoc is a list of columns, or off. Nil means the default.
type lineageDoc []string

func (l *lineageDoc) decode(d *decoder, v *value, path []string) {
	if v.kind == text && v.text == "off" || v.kind == boolean && v.text == "false" {
		*l = lineageDoc{}
		return
	}
	var columns []string
	d.into(v, reflect.ValueOf(&columns).Elem(), path)
	*l = columns
}

// fileSchema is the JSON Schema of the pipeline file.
func fileSchema() (*jsonschema.Schema, error) {
	word := func(s *jsonschema.Schema, values ...any) { s.Enum = values }
	s, err := jsonschema.For[fileDoc](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[optionsDoc]():   optionsSchema(),
		reflect.TypeFor[expectDoc]():    expectSchema(),
		reflect.TypeFor[transformDoc](): transformSchema(),
		reflect.TypeFor[flattenDoc]():   flattenSchema(),
		reflect.TypeFor[lineageDoc](): {AnyOf: []*jsonschema.Schema{
			{Const: jsonschema.Ptr[any]("off")},
			{Type: "array", Items: &jsonschema.Schema{Type: "string", Enum: []any{"ingestion_timestamp", "source_file", "processing_date", "batch_id"}}},
		}},
	}})
	if err != nil {
		return nil, err
	}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "silt.yml"
	word(s.Properties["version"], 1)
	for _, doc := range []*jsonschema.Schema{s, s.Properties["environments"].AdditionalProperties} {
		word(doc.Properties["catalogs"].AdditionalProperties.Properties["type"], "local")
		p := doc.Properties["pipelines"].AdditionalProperties
		word(p.Properties["compat"], "autoloader")
		word(p.Properties["uncarried"], "rescue", "allow", "fail")
		word(p.Properties["onCorrupt"], "quarantine", "drop", "fail")
		word(p.Properties["onConstraint"], "quarantine", "fail")
		word(p.Properties["onSchemaChange"], "evolve", "fail")
		word(p.Properties["targets"].Items.Properties["onConstraint"], "quarantine", "fail")
		for _, t := range []*jsonschema.Schema{p.Properties["target"], p.Properties["targets"].Items} {
			word(t.Properties["write"], "append", "merge", "overwrite")
			word(t.Properties["merge"].Properties["notMatchedBySource"], "delete")
		}
	}
	return s, nil
}

// optionsSchema names every option that silt takes, with and without its prefix.
func optionsSchema() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{}}
	for _, o := range silt.OptionTable() {
		if o.Class == silt.OptionRefused {
			continue
		}
		p := &jsonschema.Schema{Types: []string{"string", "number", "boolean"}, Description: describe(o)}
		if len(o.Values) > 0 {
			p = &jsonschema.Schema{Description: p.Description}
			for _, v := range o.Values {
				p.Enum = append(p.Enum, v)
				if b, err := strconv.ParseBool(v); err == nil {
					p.Enum = append(p.Enum, b)
				}
			}
		}
		names := []string{o.Name}
		if short, ok := strings.CutPrefix(o.Name, "cloudFiles."); ok {
			names = append(names, short)
		}
		for _, n := range names {
			s.Properties[n] = p.CloneSchemas()
			s.PropertyOrder = append(s.PropertyOrder, n)
		}
	}
	return s
}

// describe is what is known about an option, in a line.
func describe(o silt.OptionInfo) string {
	text := strings.TrimSuffix(o.Doc, ".")
	if o.Class == silt.OptionNoEffect {
		text += ". Accepted without effect"
	}
	if o.Default != "" {
		text += ". Default: " + o.Default
	}
	if o.CompatDefault != "" && o.CompatDefault != o.Default {
		text += "; under compat: autoloader " + o.CompatDefault
	}
	return text + "."
}
