package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore/s3store"
	"github.com/siltlake/silt/schema"
)

// problem is what a person or a program is told about an error. Its JSON form is part of the
// interface.
type problem struct {
	Code  string `json:"code"`
	Title string `json:"title"`
	// Detail says more, in lines.
	Detail string `json:"detail,omitempty"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"` // in characters from 1; of a mistake in SQL
	// Path is the key in the configuration, or the field in the data.
	Path string `json:"path,omitempty"`
	// Hint is the one recommended fix.
	Hint string `json:"hint,omitempty"`
	Docs string `json:"docs"`

	exit    int
	reason  string
	wrote   string   // what the step that failed has written all the same
	place   string   // for people; empty when File and Line say it
	excerpt []string // what stands there
	sql     *duck.SQLError
}

// rule makes problems of one type of error.
type rule func(err error) (problems []problem, ok bool)

// typed is the rule for errors of type E.
func typed[E error](exit int, reason string, f func(E) problem) rule {
	return func(err error) ([]problem, bool) {
		var e E
		if !errors.As(err, &e) {
			return nil, false
		}
		p := f(e)
		p.exit, p.reason = exit, reason
		return []problem{p}, true
	}
}

// sentinel is the rule for errors that are err.
func sentinel(sentinel error, exit int, reason string, f func(error) problem) rule {
	return func(err error) ([]problem, bool) {
		if !errors.Is(err, sentinel) {
			return nil, false
		}
		p := f(err)
		p.exit, p.reason = exit, reason
		return []problem{p}, true
	}
}

// rules holds what is known about errors, by their type; the first that fits counts. What fits none is
// SILT-4000: the run failed.
var rules = []rule{
	func(err error) ([]problem, bool) {
		var e *faultError
		if !errors.As(err, &e) {
			return nil, false
		}
		var all []problem
		for i, f := range e.faults {
			p := problem{Code: f.code, Title: f.problem, Hint: f.hint, Path: f.path, exit: exitUsage, reason: "configuration"}
			if s := f.at.source; s != nil {
				if p.File = s.name; s.file {
					p.Line = f.at.line
				}
				if s.file || f.at.line == 0 {
					p.place = f.at.String()
				}
				p.excerpt = excerpt(f.at, i == 0 || len(e.faults) < 4)
			}
			all = append(all, p)
		}
		return all, true
	},
	func(err error) ([]problem, bool) {
		var e *silt.ConfigError
		if !errors.As(err, &e) {
			return nil, false
		}
		var all []problem
		for _, f := range e.Faults {
			all = append(all, problem{Code: f.Code, Title: faultTitle(f), Hint: f.Hint, Path: strings.Join(f.Key, "."), exit: exitUsage, reason: "configuration"})
		}
		return all, true
	},
	typed(exitUsage, "usage", func(e *usageError) problem {
		p := problem{Code: codeUsage, Title: e.problem, Hint: e.hint}
		if p.Hint == "" && e.command != "" {
			p.Hint = e.command + " --help says more"
		}
		return p
	}),
	typed(exitUsage, "configuration", func(e *fileError) problem {
		return problem{Code: codeNoFile, Title: "the pipeline file " + e.path + ": " + e.problem, File: e.path, Hint: e.hint}
	}),
	typed(exitUsage, "usage", func(e *nameError) problem {
		p := problem{Code: codeName, Title: e.Error()}
		if len(e.known) > 0 {
			p.Detail = "known: " + some(e.known, 12)
		}
		if n := nearest(e.name, e.known); n != "" {
			p.Hint = "did you mean " + n + "?"
		}
		return p
	}),
	typed(exitInterrupted, "interrupted", func(e *interruptedError) problem {
		return problem{Code: codeInterrupted, Title: "interrupted", Hint: "run the same command again: it goes on from here"}
	}),
	typed(exitFailed, "bug", func(e *panicError) problem {
		return problem{Code: codeBug, Title: fmt.Sprintf("silt met a case it should not: %v", e.value), Hint: "report it, with what -v prints"}
	}),
	sentinel(duck.ErrNoSQL, exitUsage, "no_sql", func(err error) problem {
		return problem{Code: codeNoSQL, Title: "this silt was built without SQL", Hint: "make build, or CGO_ENABLED=1 go build -tags duckdb_arrow ./cmd/silt (needs a C++ compiler)"}
	}),
	stagedMergeRule, // before those of the errors that it wraps
	typed(exitUsage, "sql", sqlProblem),
	typed(exitUsage, "merge", func(e *silt.MergeError) problem {
		return problem{Code: codeMerge, Title: e.Error(), Hint: "nothing has changed"}
	}),
	typed(exitStopped, "new_column", func(e *silt.NewColumnsError) problem {
		p := problem{Code: codeNewColumn, Title: "a new column arrived and this pipeline does not allow it (schemaEvolutionMode: failOnNewColumns)"}
		p.Detail, p.Path = newFieldLines(e.Fields), e.Fields[0].Path
		p.File, p.Line = e.Fields[0].File, int(e.Fields[0].Line)
		p.Hint = "to keep it aside, set schemaEvolutionMode: rescue; to make it a column, addNewColumns"
		return p
	}),
	typed(exitStopped, "schema_changed", func(e *silt.SchemaChangedError) problem {
		p := problem{Code: codeChanged, Title: fmt.Sprintf("the source schema has changed to version %d, and onSchemaChange is fail", e.To),
			Hint: "look at silt schema diff, then run the same command again: it loads the same files by the new schema; to keep the fields aside, set schemaEvolutionMode: rescue first"}
		p.wrote = fmt.Sprintf("version %d of the source schema", e.To)
		if all := slices.Concat(e.Added, e.Widened); len(all) > 0 {
			p.Detail, p.Path, p.File, p.Line = newFieldLines(all), all[0].Path, all[0].File, int(all[0].Line)
		}
		return p
	}),
	typed(exitStopped, "no_schema", func(e *silt.NoSchemaError) problem {
		return problem{Code: codeNoSchema, Title: e.Error() + ", and compat is autoloader",
			Hint: "give a schema with option schema, or schemaHints, or run again when there are good files"}
	}),
	typed(exitStopped, "new_column", func(e *silt.UncarriedError) problem {
		f := e.Field
		return problem{Code: codeUncarried, Title: "a new field arrived that the SQL does not carry into the table, and uncarried is fail", Path: f.Path,
			File: f.File, Line: int(f.Line), Detail: fmt.Sprintf("field %s (%s)", f.Path, strings.ToLower(f.DDL)),
			Hint: "add " + f.Path + " to the SQL, or keep it aside with uncarried: rescue"}
	}),
	typed(exitStopped, "flatten", func(e *silt.FlattenError) problem {
		return problem{Code: codeFlatten, Title: e.Error() + ", and there is no rescued data to keep the values of one of them in", Path: e.Path,
			Hint: "another separator or prefix of flatten gives them two columns"}
	}),
	typed(exitStopped, "new_column", func(e *silt.MismatchError) problem {
		return problem{Code: codeMismatch, Title: "the table has no such column, and mergeSchema is off: " + some(e.Fields, 4), Path: e.Fields[0],
			Detail: "table " + e.Table, Hint: "let the table grow with mergeSchema: true"}
	}),
	typed(exitUsage, "target", func(e *silt.TargetError) problem {
		return problem{Code: codeTarget, Title: "this pipeline has loaded its files into another table",
			Detail: "before " + e.Was + "\nnow    " + e.Is + "\ncheckpoint " + e.Location, Hint: "give the new table a pipeline of its own: another name, or another checkpointLocation"}
	}),
	typed(exitFailed, "unfinished", func(e *silt.UnfinishedError) problem {
		return problem{Code: codeUnfinished, Title: fmt.Sprintf("batch %d of pipeline %s is not finished, and its schema has been chosen", e.Batch, e.Pipeline),
			Detail: "nothing was written", Hint: "let silt run finish it, then run the same command again"}
	}),
	typed(exitConflict, "replaced", func(e *silt.ReplacedError) problem {
		return problem{Code: codeReplaced, Title: "the table " + e.Table + " was replaced by another one",
			Detail: "planned for id " + e.Planned + "\nfound    id " + e.Found, Hint: "put the table back, or load into a new one with a pipeline of its own"}
	}),
	typed(exitConflict, "conflict", func(e *delta.ConflictError) problem {
		return problem{Code: codeConflict, Title: fmt.Sprintf("another writer changed the table in version %d: %s", e.Version, e.Reason), Hint: "run the same command again"}
	}),
	typed(exitFailed, "name", func(e *delta.NameError) problem {
		return problem{Code: codeMapping, Title: e.Error(), Path: e.Path, Hint: "keep it aside with schemaEvolutionMode: rescue, or load into a new table"}
	}),
	sentinel(delta.ErrOutcomeUnknown, exitConflict, "unknown", func(err error) problem {
		return problem{Code: codeUnknown, Title: err.Error(), Hint: "run the same command again: it finds out, and loads nothing twice"}
	}),
	typed(exitStopped, "corrupt_record", func(e *convert.CorruptError) problem {
		if e.Reason == jsonscan.Misfit.String() {
			return problem{Code: codeCorrupt, Title: e.Reason + ", there is no rescued data, and mode is FAILFAST", File: e.File, Line: int(e.Line),
				Detail: cut(string(e.Text), 120), Hint: "to keep such values and go on, set rescuedDataColumn: _rescued_data"}
		}
		if e.FailFast {
			return problem{Code: codeCorrupt, Title: "text that is no record, and mode is FAILFAST: " + e.Reason, File: e.File, Line: int(e.Line),
				Detail: cut(string(e.Text), 120), Hint: "to keep it aside and go on, set onCorrupt: quarantine in place of mode"}
		}
		return problem{Code: codeCorrupt, Title: "text that is no record, and onCorrupt is fail: " + e.Reason, File: e.File, Line: int(e.Line),
			Detail: cut(string(e.Text), 120), Hint: "to keep it aside and go on, set onCorrupt: quarantine"}
	}),
	typed(exitStopped, "expectation", func(e *silt.ViolationError) problem {
		p := problem{Code: codeViolation, Title: fmt.Sprintf("%s the expectation %s, and its onViolation is fail", count(e.Rows, "row")+map[bool]string{true: " breaks", false: " break"}[e.Rows == 1], e.Rule),
			Path: "expect." + e.Rule, File: e.File, Line: int(e.Line), Detail: "check  " + strings.Join(strings.Fields(e.Check), " "),
			Hint: "mend the data or the check and run the same command again: it takes the same files; to keep such rows aside and go on, set onViolation: quarantine"}
		if e.Values != "" {
			p.Detail += "\nrow    " + cut(e.Values, 300)
		}
		return p
	}),
	typed(exitUsage, "checkpoint_place", func(e *silt.CheckpointPlaceError) problem {
		return problem{Code: codePlace, Title: e.Error(),
			Hint: "put " + e.Target + " first again, or keep the checkpoint where it is: checkpointLocation: " + e.Location}
	}),
	typed(exitConflict, "held", func(e *checkpoint.HeldError) problem {
		title := "another silt is loading into this table: " + e.Owner
		if e.Lost {
			title = "another silt took over this pipeline: " + e.Owner
		}
		return problem{Code: codeHeld, Title: title, Detail: "its lease ends " + clock(e.Until), Hint: "wait until it is done, then run the same command again"}
	}),
	typed(exitFailed, "state", func(e *checkpoint.StateError) problem {
		return problem{Code: codeState, Title: "what silt remembers about this pipeline is damaged: " + e.Problem, File: e.Object, Hint: e.Next}
	}),
	typed(exitFailed, "constraint", func(e *silt.StagedRowError) problem {
		return problem{Code: codeStagedRow, Title: fmt.Sprintf("batch %d breaks a rule of table %s that it was not staged by", e.Batch, e.Table),
			Detail: cut(e.Err.Error(), 300), Hint: "take the rule out of the table (ALTER TABLE … DROP CONSTRAINT) and run the same command again; then mend the row, and put the rule back"}
	}),
	typed(exitFailed, "constraint", func(e *convert.RowError) problem {
		p := problem{Code: codeConstraint, Title: e.Err.Error(), File: e.File, Line: int(e.Line), Detail: "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES; nothing was written",
			Hint: "mend the row, or the rule of the table; to keep such rows aside and go on, set onConstraint: quarantine"}
		var broken *delta.ConstraintError
		if errors.As(e.Err, &broken) && broken.IsOverwrite() {
			p.Hint = "mend the row, leave it out by a transform, or widen replaceWhere"
		}
		return p
	}),
	typed(exitFailed, "constraint", func(e *delta.ConstraintError) problem {
		return problem{Code: codeConstraint, Title: e.Error(), Detail: "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES; nothing was written",
			Hint: "mend or drop the row, in the data or by a transform, or change the constraint of the table"}
	}),
	typed(exitFailed, "identity", func(e *delta.IdentityError) problem {
		return problem{Code: codeIdentity, Title: e.Error(), Detail: "DELTA_IDENTITY_COLUMNS_EXPLICIT_INSERT_NOT_SUPPORTED; nothing was written",
			Hint: "leave the column out by a transform: the table numbers its rows itself"}
	}),
	typed(exitFailed, "unsupported_table", func(e *delta.UnsupportedError) problem {
		p := problem{Code: codeFeature, Title: e.Error(), Hint: "write to another table, or drop the feature there"}
		if e.Operation != "read" && e.Operation != "write" { // maintenance
			p.Detail, p.Hint = "nothing was written", "let an engine do it that knows the feature; loads into the table go on"
		}
		return p
	}),
	typed(exitUsage, "no_version", func(e *delta.VersionError) problem {
		return problem{Code: codeNoVersion, Title: e.Error(), Hint: "silt table history lists them"}
	}),
	typed(exitUsage, "no_version", func(e *delta.TimeError) problem {
		return problem{Code: codeNoVersion, Title: fmt.Sprintf("the table has no version of %s, its oldest is of %s", instantText(e.Time), instantText(e.Oldest)),
			Hint: "silt table history lists them"}
	}),
	typed(exitUsage, "change", func(e *delta.ColumnError) problem {
		return problem{Code: codeChange, Title: "column " + schema.Path(e.Path...) + " cannot be changed so: " + e.Reason, Path: schema.Path(e.Path...), Detail: "nothing was written"}
	}),
	typed(exitUsage, "change", func(e *delta.PropertyError) problem {
		return problem{Code: codeChange, Title: "property " + e.Name + " cannot be " + e.Value + ": " + e.Reason, Path: e.Name, Detail: "nothing was written"}
	}),
	typed(exitUsage, "protected", func(e *delta.ProtectedError) problem {
		return problem{Code: codeChange, Title: e.Error(), Path: e.Property, Detail: "nothing was deleted"}
	}),
	typed(exitFailed, "gone", func(e *delta.GoneError) problem {
		return problem{Code: codeGone, Title: fmt.Sprintf("version %d cannot be restored: %s of it were deleted", e.Version, count(len(e.Paths), "file")),
			Detail: some(e.Paths, 3) + "\nnothing was written", Hint: "restore a later version; silt table history lists them"}
	}),
	typed(exitUsage, "retention", func(e *delta.RetentionError) problem {
		return problem{Code: codeRetention, Title: "a retention of " + days(e.Retention) + " would take files from those who still read or write the table",
			Detail: "nothing was deleted", Hint: "--retain 7d or more; --force, when nobody else uses the table"}
	}),
	typed(exitFailed, "broken_log", func(e *delta.LogError) problem {
		return problem{Code: codeLog, Title: e.Error(), Hint: "compare the table's _delta_log with a backup; silt changes nothing here"}
	}),
	typed(exitUsage, "not_loaded", func(e *notLoadedError) problem {
		return problem{Code: codeNoTable, Title: e.Error(), Hint: shell("silt", "load", "SOURCE", e.table)}
	}),
	typed(exitUsage, "no_record", func(e *noRecordError) problem {
		return problem{Code: codeNoRecord, Title: e.Error(), Hint: e.list + " lists them"}
	}),
	typed(exitConflict, "loaded_before", func(e *silt.LoadedBeforeError) problem {
		return problem{Code: codeBefore, Title: "the table has rows of this source, and the checkpoint is new: its files would be loaded a second time",
			Detail: "table " + e.Table + fmt.Sprintf(", last by version %d", e.Version) + "\nsource " + e.Source + "\ncheckpoint " + e.Checkpoint,
			Hint:   "silt checkpoint adopt reads from the table which files it has; --from-scratch loads all of them beside the rows that are there"}
	}),
	typed(exitUsage, "adopt", func(e *silt.AdoptError) problem {
		return problem{Code: codeAdopt, Title: e.Error(), Detail: "nothing was written", Hint: e.Hint}
	}),
	typed(exitUsage, "no_record", func(e *silt.NoFileError) problem {
		return problem{Code: codeNoRecord, Title: e.Error(), File: e.Name, Hint: shell("silt", "files", "list", e.Target) + " lists them"}
	}),
	typed(exitUsage, "no_table", func(e *silt.UnquotedPathError) problem {
		return problem{Code: codeNoTable, Title: e.Folder + ": " + silt.ErrNoTable.Error() + ", and the folder ./" + e.Folder + " is a table",
			Hint: "write " + e.Quoted() + " in the SQL: a path has a slash and stands in quotes"}
	}),
	sentinel(silt.ErrNoTable, exitUsage, "no_table", func(err error) problem {
		title, known, _ := strings.Cut(err.Error(), "; there are ")
		p := problem{Code: codeNoTable, Title: title, Hint: "silt load SOURCE TARGET makes one"}
		if known != "" {
			p.Detail, p.Hint = "tables: "+known, "name one of them"
		}
		return p
	}),
	sentinel(delta.ErrNoTable, exitUsage, "no_table", func(err error) problem {
		return problem{Code: codeNoTable, Title: err.Error(), Hint: "name a table that exists; silt load SOURCE TARGET makes one"}
	}),
	sentinel(source.ErrNoFolder, exitUsage, "no_source", func(err error) problem {
		title, _, _ := strings.Cut(err.Error(), source.ErrNoFolder.Error())
		if _, after, ok := strings.Cut(title, "source "); ok {
			title = "source " + after
		}
		return problem{Code: codeNoSource, Title: title + source.ErrNoFolder.Error(), Hint: "check the path of the source"}
	}),
	typed(exitAccess, "unsafe_store", func(e *silt.UnsafeStoreError) problem {
		return problem{Code: codeUnsafe, Title: e.Error(), Hint: "take a store that honours conditions; silt doctor shows what was tried"}
	}),
	sentinel(s3store.ErrNoBucket, exitUsage, "no_bucket", func(err error) problem {
		return problem{Code: codeNoBucket, Title: err.Error(), Hint: "check the name of the bucket, and AWS_ENDPOINT_URL or the option s3.endpoint"}
	}),
	sentinel(s3store.ErrUnreachable, exitFailed, "unreachable", func(err error) problem {
		return problem{Code: codeUnreachable, Title: err.Error(),
			Hint: "check the network, and AWS_ENDPOINT_URL or the option s3.endpoint; then run the same command again"}
	}),
	sentinel(s3store.ErrNoQueue, exitAccess, "no_queue", func(err error) problem {
		return problem{Code: codeQueue, Title: err.Error(), Hint: "check cloudFiles.queueUrl: the URL, its region and its account"}
	}),
	typed(exitAccess, "queue", func(e *silt.QueueError) problem {
		return problem{Code: codeEvents, Title: e.Error(), Hint: e.Next}
	}),
	s3Rule,
	sentinel(fs.ErrPermission, exitAccess, "permission", func(err error) problem {
		p := problem{Code: codePermission, Title: err.Error(), Hint: "give this user the right to read and write there"}
		var at *fs.PathError
		if errors.As(err, &at) {
			p.File = at.Path
		}
		return p
	}),
	sentinel(syscall.ENOSPC, exitFailed, "disk_full", func(err error) problem {
		return problem{Code: codeDisk, Title: err.Error(), Hint: "make room, then run the same command again"}
	}),
	sentinel(context.Canceled, exitInterrupted, "interrupted", func(error) problem {
		return problem{Code: codeInterrupted, Title: "interrupted", Hint: "run the same command again: it goes on from here"}
	}),
}

// s3Rule is the rule for requests that S3 refused.
func s3Rule(err error) ([]problem, bool) {
	var e *s3store.Error
	if !errors.As(err, &e) || !errors.Is(err, fs.ErrPermission) && e.Hint == "" {
		return nil, false
	}
	p := problem{Code: codeS3Access, Title: err.Error(), Hint: e.Hint, exit: exitAccess, reason: "s3_access"}
	if p.Hint == "" {
		right := e.Op
		if right == "ListObjectsV2" {
			right = "ListBucket"
		}
		p.Hint = "allow s3:" + right + " on " + e.URI + ", or take other credentials"
	}
	return []problem{p}, true
}

// The codes of errors that stop a run. What only warns is named where it is found.
const (
	codeUncarried   = "SILT-2003"
	codeMismatch    = "SILT-2004"
	codeChanged     = "SILT-2005"
	codeNoSchema    = "SILT-2008"
	codeCorrupt     = "SILT-3002"
	codeNoSource    = "SILT-3004"
	codeViolation   = "SILT-3011"
	codeFailed      = "SILT-4000"
	codeConflict    = "SILT-4001"
	codeDisk        = "SILT-4002"
	codeFeature     = "SILT-4003"
	codeInterrupted = "SILT-4005"
	codeLog         = "SILT-4006"
	codeUnknown     = "SILT-4007"
	codeMapping     = "SILT-4008"
	codeRetention   = "SILT-4009"
	codeGone        = "SILT-4010"
	codeConstraint  = "SILT-4011"
	codeIdentity    = "SILT-4012"
	codeChange      = "SILT-4013"
	codeStagedRow   = "SILT-4014"
	codeStagedMerge = "SILT-4017"
	codePermission  = "SILT-5001"
	codeS3Access    = "SILT-5002"
	codeUnsafe      = "SILT-5003"
	codeNoBucket    = "SILT-5004"
	codeQueue       = "SILT-5005"
	codeEvents      = "SILT-5006"
	codeUnreachable = "SILT-5008"
	codeHeld        = "SILT-6001"
	codeState       = "SILT-6002"
	codeNoTable     = "SILT-6003"
	codeNoRecord    = "SILT-6005"
	codeNoVersion   = "SILT-6006"
	codeTarget      = "SILT-6007"
	codeReplaced    = "SILT-6008"
	codeUnfinished  = "SILT-6009"
	codePlace       = "SILT-6012"
	codeBefore      = "SILT-6014"
	codeAdopt       = "SILT-6015"
	codeSQL         = "SILT-7001"
	codeNoSQL       = "SILT-7002"
	codeMerge       = "SILT-7006"
	codeFlatten     = "SILT-7010"
	codeBug         = "SILT-9001"
)

// newFieldLines tells the first of some fields that a schema did not have, or not with their types.
func newFieldLines(fields []silt.NewField) string {
	var lines []string
	for _, f := range fields[:min(3, len(fields))] {
		what := ddlText(f.DDL)
		if f.From != "" {
			what = ddlText(f.From) + " -> " + what
		}
		lines = append(lines, fmt.Sprintf("column %s (%s), first in %s line %d", f.Path, what, f.File, f.Line))
	}
	if more := len(fields) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// stagedMergeRule is the rule for staged batches that cannot be merged.
func stagedMergeRule(err error) ([]problem, bool) {
	all, ok := typed(exitFailed, "merge", stagedMergeProblem)(err)
	var placed *placedError
	if ok && errors.As(err, &placed) {
		p := &all[0]
		p.excerpt = excerpt(placed.at, true)
		if s := placed.at.source; s != nil && s.file {
			p.File, p.Line, p.place = s.name, placed.at.line, placed.at.String()
		}
	}
	return all, ok
}

func stagedMergeProblem(e *silt.StagedMergeError) problem {
	p := problem{Code: codeStagedMerge, Title: fmt.Sprintf("batch %d is staged, and its rows cannot be merged into table %s", e.Batch, e.Table)}
	p.Detail = cut(e.Err.Error(), 300)
	mend := "mend " + e.Condition + " in the pipeline file, and run the same command again"
	if mistake, ok := errors.AsType[*duck.SQLError](e.Err); ok {
		p.Detail = e.Condition + ": " + cut(mistake.Message, 300)
		if mistake.Missing != "" {
			mend = "the rows of this batch have no " + mistake.Missing + ": take it out of " + e.Condition + " for one run, and put it back after it"
		}
	}
	if n := len(e.Files); n > 0 {
		shown := e.Files[:min(n, 3)]
		p.File = shown[0]
		p.Detail += "\nits rows are of " + strings.Join(shown, ", ")
		if n > len(shown) {
			p.Detail += fmt.Sprintf(" and %d more", n-len(shown))
		}
	}
	if p.Hint = mend; e.Key != "" {
		p.Hint = "delete the row that has the key from the table (silt table delete), and run the same command again: all rows of the key are inserted; then delete those too many"
	}
	return p
}

func sqlProblem(e *duck.SQLError) problem {
	p := problem{Code: codeSQL, Title: "the SQL is not right: " + e.Message, Line: e.Line, Column: e.Column, Path: e.Missing, Hint: sqlHint(e), sql: e}
	if e.Line > 0 {
		lines := strings.Split(e.SQL, "\n")
		p.excerpt = excerpt(place{&document{name: "SQL", lines: lines, file: len(lines) > 1}, e.Line, e.Column}, true)
	}
	if strings.Contains(e.Message, "column") && p.Hint == "" {
		p.Hint = "silt table show TABLE lists the columns"
	}
	return p
}

// interruptedError is what a command ended with after the user asked it to stop.
type interruptedError struct{ err error }

func (e *interruptedError) Error() string { return "interrupted: " + e.err.Error() }

func (e *interruptedError) Unwrap() error { return e.err }

// panicError is a bug.
type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprint(e.value) }

func stack() string { return string(debug.Stack()) }

// writtenError says what was written before err. It is the answer to the first question after an
// error.
type writtenError struct {
	err     error
	written string
}

// written says what was written, with what the step that failed has written.
func (p *problem) written(w *writtenError) string {
	if p.wrote == "" {
		return w.written
	}
	text := strings.Replace(w.written, "nothing was written", p.wrote+" was written, and no row", 1)
	return strings.Replace(text, "nothing else was written", p.wrote+" was written, and no other row", 1)
}

func (e *writtenError) Error() string { return e.err.Error() }

func (e *writtenError) Unwrap() error { return e.err }

// explained returns what there is to say about err, at least one problem.
func explained(err error) []problem {
	var problems []problem
	var several failures
	var stop *interruptedError
	if errors.As(err, &several) && !errors.As(err, &stop) {
		for _, e := range several {
			problems = append(problems, explained(e)...)
		}
		return problems
	}
	for _, r := range rules {
		if p, ok := r(err); ok {
			problems = p
			break
		}
	}
	if problems == nil {
		problems = []problem{{Code: codeFailed, Title: err.Error(), Hint: "run the same command again; what was loaded is not loaded twice", exit: exitFailed, reason: "failed"}}
	}
	var written *writtenError
	for i := range problems {
		problems[i].Docs = "silt explain " + problems[i].Code
		if errors.As(err, &written) { // it knows of all batches of the run
			problems[i].Detail = strings.TrimRight(strings.TrimSuffix(problems[i].Detail, "nothing was written"), "; \n")
		}
	}
	return problems
}

// errorJSON is the JSON form of a command that failed.
type errorJSON struct {
	Schema   string    `json:"schema"`
	Error    problem   `json:"error"`
	Errors   []problem `json:"errors,omitempty"` // all, when there are several
	Written  string    `json:"written,omitempty"`
	ExitCode int       `json:"exit_code"`
	Reason   string    `json:"reason"`
}

// report tells err and returns the exit status.
func (a *app) report(err error) int {
	var done *reportedError
	if errors.As(err, &done) {
		return done.status
	}
	problems := a.explained(err)
	var written *writtenError
	errors.As(err, &written)
	if a.machine() {
		out := errorJSON{Schema: "silt.error/v1", Error: problems[0], ExitCode: problems[0].exit, Reason: problems[0].reason}
		if len(problems) > 1 {
			out.Errors = problems
		}
		if written != nil {
			out.Written = problems[0].written(written)
		}
		_ = a.printJSON(out) // there is no other place to say it
	} else {
		fmt.Fprint(a.stderr, a.paint(problems, written))
	}
	if a.flags.verbose {
		fmt.Fprintln(a.stderr, err.Error())
		var p *panicError
		if errors.As(err, &p) {
			fmt.Fprintln(a.stderr, p.stack)
		}
	}
	return problems[0].exit
}

// reportedError says that the command has told its error as part of its result.
type reportedError struct {
	err    error
	status int
}

func (e *reportedError) Error() string { return e.err.Error() }

// paint writes problems for people: the cause first, the fix last because the eye ends there.
func (a *app) paint(problems []problem, written *writtenError) string {
	var b strings.Builder
	colour := a.colour(a.stderr)
	for _, p := range problems {
		label := "error " + p.Code
		if colour {
			label = "\x1b[1;31m" + label + "\x1b[0m"
		}
		title := cut(p.Title, 400)
		if p.place != "" {
			title += " (" + p.place + ")"
		}
		fmt.Fprintf(&b, "%s: %s\n", label, title)
		if p.excerpt == nil && p.place == "" && p.File != "" && !strings.Contains(p.Title, p.File) {
			at := p.File
			if p.Line > 0 {
				at += fmt.Sprintf(" line %d", p.Line)
			}
			fmt.Fprintf(&b, "  %s\n", at)
		}
		for _, line := range p.excerpt {
			b.WriteString(line + "\n")
		}
		if p.Detail != "" {
			for _, line := range strings.Split(p.Detail, "\n") {
				b.WriteString("  " + line + "\n")
			}
		}
		if written != nil {
			b.WriteString("  " + p.written(written) + "\n")
		}
		if p.Hint != "" {
			b.WriteString("  " + p.Hint + "\n")
		}
	}
	var codes []string
	for _, p := range problems {
		if len(codes) == 0 || codes[len(codes)-1] != p.Code {
			codes = append(codes, p.Code)
		}
	}
	switch {
	case len(problems) > 1 && problems[0].exit == exitUsage:
		fmt.Fprintf(&b, "%d mistakes; ", len(problems))
	case len(problems) > 1:
		fmt.Fprintf(&b, "%d errors; ", len(problems))
	default:
		b.WriteString("  ")
	}
	b.WriteString("silt explain " + codes[0] + "\n")
	return b.String()
}
