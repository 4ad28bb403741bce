package silt

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/siltlake/silt/internal/duck"
)

// Config describes one pipeline. The zero value of every field but Source and Target is its default.
type Config struct {
	// Name is the pipeline's name. Empty: "load-" and a hash of the canonical source, so that two
	// sources never share a checkpoint.
	Name string
	// Source is the folder where files arrive, as a path or URI. It may end in a glob.
	Source string
	// Target is the table to write.
	Target Target
	// Targets are the tables to write when there are several, instead of Target. A record is read once, each
	// table gets what its own Transform makes of it, and a batch is in each of them exactly once. The
	// quarantine, and the checkpoint unless CheckpointLocation says otherwise, are beside the first.
	Targets []Target
	// Catalogs resolve the first part of table names. A name that is not here is a folder of that name
	// in [DefaultLake].
	Catalogs map[string]Catalog
	// CheckpointLocation is where silt remembers what it has loaded. Empty: "_silt" in the table's
	// folder, or in the catalog's.
	CheckpointLocation string
	// Options are those of Auto Loader, Spark's JSON reader and Delta, under their names, in any case,
	// with or without the prefix "cloudFiles."; see [OptionTable].
	Options map[string]string
	// Flatten makes columns of the fields of columns that hold objects, before the Transform sees the rows.
	Flatten []Flatten
	// Transform is SQL over the records of a batch, which it sees as the table "source"; see [Steps]. Each of
	// several Targets has its own instead.
	Transform string
	// Refs are Delta tables that the Transform may read beside "source", by the names that it calls them: each
	// a table name or a path. A batch reads the version that was the newest when it was planned, also when it
	// is done again.
	Refs map[string]string
	// Lineage are the columns that say where a row comes from: ingestion_timestamp, source_file,
	// processing_date, batch_id. Nil means the first two, an empty slice none.
	Lineage []string
	// Compat is "autoloader" for Auto Loader's behaviour to the letter, else empty.
	Compat string
	// Uncarried says what happens to a new field that the transform does not carry into the table:
	// "rescue" (the default), "allow" or "fail".
	Uncarried string
	// OnCorrupt says what happens to text that is no record: "quarantine" (the default), "drop" or
	// "fail". With a column for it (option columnNameOfCorruptRecord) it goes there.
	OnCorrupt string
	// OnSchemaChange is "fail" to stop when a new column, or a wider type, has become part of the source
	// schema, before anything is loaded with it; the next run goes on by the new schema. Empty or
	// "evolve": the run goes on by itself. Only under Compat, which is Auto Loader's way to ask for eyes.
	OnSchemaChange string
	// FromScratch lets a new checkpoint load files of which the target has rows already, beside those rows.
	// Otherwise that is a [*LoadedBeforeError].
	FromScratch bool
	// Workers is the number of tasks that run at once; 0 is the number of processors.
	Workers int
	// Poll is how often a watching run looks for new files. 0 is at once where something tells of them: the
	// system of a folder, or the queue of the option cloudFiles.queueUrl; else it is a second.
	Poll time.Duration
	// Trigger says when the pipeline loads what has arrived.
	Trigger Trigger
	// TempDir is where SQL and large merges spill to; empty is the system's.
	TempDir string
	// Events is told what happens. Nil means nobody.
	Events Handler

	world world
}

// Target names a table: by a name in a catalog or by a location.
type Target struct {
	// Table is a name of three parts, catalog.schema.table.
	Table string
	// Path is a folder or URI.
	Path string
	// Transform is that of the Config, for this table alone. Empty: the rows are the records.
	Transform string
	// PartitionBy are the columns by which a new table is partitioned.
	PartitionBy []string
	// Properties are the table properties of a new table.
	Properties map[string]string
	// MergeSchema says whether new columns become part of the table; nil is what the option of that name
	// says.
	MergeSchema *bool
	// Write is "append", the default, "merge", or "overwrite": the rows of each batch, which then is all that
	// is new, come in the place of those that are there.
	Write string
	// ReplaceWhere makes an overwrite one of the rows for which it is true, as [delta.ParsePredicate] reads
	// it. A row for which it is not true is an error.
	ReplaceWhere string
	// OverwriteSchema makes an overwrite one of the schema and the partitioning too.
	OverwriteSchema bool
	// Merge says how rows are merged.
	Merge Merge
	// Expect are rules for the rows that go to the table, by name.
	Expect map[string]Expectation
	// OnConstraint says what happens to a row that breaks a CHECK constraint, NOT NULL or another rule of the
	// table itself: "quarantine", the default, or "fail", the default under Compat.
	OnConstraint string
}

// Path is the Target of the table at a folder or URI.
func Path(path string) Target { return Target{Path: path} }

// Table is the Target with a name of three parts.
func Table(name string) Target { return Target{Table: name} }

func (t Target) String() string {
	if t.Table != "" {
		return t.Table
	}
	return t.Path
}

// Catalog resolves table names.
type Catalog struct {
	// Type is "local", the default: schemas and tables are folders below Path.
	Type string
	// Path is the folder of a local catalog.
	Path string
}

// DefaultLake is the folder of catalogs that have no configuration: the table a.b.c is at
// lake/a/b/c.
const DefaultLake = "lake"

// Fault is one mistake in a Config.
type Fault struct {
	// Code names the kind of mistake, as in "silt explain".
	Code string
	// Key is the path of the mistake in the configuration: "options.maxFilesPerTrigger".
	Key []string
	// Problem says what is wrong, Hint what to do; a Hint may be empty.
	Problem, Hint string
	// Err is what the mistake is about, when that is more than a text; else nil.
	Err error
}

func (f Fault) String() string {
	line := ""
	if mistake, ok := errors.AsType[*duck.SQLError](f.Err); ok && mistake.Line > 1 {
		line = fmt.Sprintf("line %d: ", mistake.Line)
	}
	return strings.Join(f.Key, ".") + ": " + line + f.Problem
}

// ConfigError holds all mistakes in a Config.
type ConfigError struct{ Faults []Fault }

func (e *ConfigError) Error() string {
	texts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		texts[i] = f.String()
	}
	return fmt.Sprintf("configuration: %s", strings.Join(texts, "; "))
}

// Unwrap returns what the mistakes are about.
func (e *ConfigError) Unwrap() (all []error) {
	for _, f := range e.Faults {
		if f.Err != nil {
			all = append(all, f.Err)
		}
	}
	return all
}

// The codes of Faults.
const (
	CodeMissing       = "SILT-1101" // a required value is missing
	CodeValue         = "SILT-1102" // a value is not valid
	CodeContradiction = "SILT-1103" // two values contradict each other
	CodeUnknownOption = "SILT-1104" // there is no option of that name
	CodeUnsupported   = "SILT-1105" // silt does not support it yet
)
