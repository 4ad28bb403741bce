// Package merge brings change rows into a Delta table by key: it finds the data files that hold rows of
// these keys, and writes what replaces them. It is Delta's MERGE WITH SCHEMA EVOLUTION of one statement
// per key: a row is inserted, updated or deleted.
//
// A [Spec] says how rows meet, a [Changes] gives the rows, and [Into] makes of them files to add to and
// remove from a [delta.Transaction]. Nothing is in the table until that commits. The result depends on
// the rows, their order and the snapshot alone: whoever loses to another writer calls Into again, on
// the version that won.
//
// # How it is done
//
// The change rows are held in memory; of rows with one key the last in sequence wins. Files whose
// partition values and statistics leave no room for a key are not opened. Of the others only the key and
// sequence columns are read, to find those with rows to change. These are read once more, a batch at a
// time, and written again with the changed rows in place; where the table allows deletion vectors, the
// rows are marked and what they become is written elsewhere. New rows follow in files of their own. All
// this is done for some files of the table after the others where the change rows are more than memory may
// hold: see spill.go.
package merge

import (
	"context"
	"fmt"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

// Spec says how change rows meet the rows of a table. Columns are named without case; keys and sequence may be
// fields in structs, by their paths as [schema.ParsePath] reads them.
type Spec struct {
	// Keys are the columns by which rows meet. A row with a null among them meets none, and what lies in a
	// struct that is null is null.
	Keys []string `json:"keys"`
	// SequenceBy is the column that orders changes of a key: the row with the greatest value counts, and
	// one that is less than the row in the table is late and changes nothing. Null is least. Empty: the
	// order of the rows alone counts.
	SequenceBy string `json:"sequenceBy,omitempty"`
	// DeleteWhen is SQL over source.* and target.*: rows for which it is true are deleted, and are not
	// inserted.
	DeleteWhen string `json:"deleteWhen,omitempty"`
	// UpdateWhen is SQL over source.* and target.*: rows for which it is not true are not updated.
	UpdateWhen string `json:"updateWhen,omitempty"`
	// InsertOnly leaves rows that are in the table as they are.
	InsertOnly bool `json:"insertOnly,omitempty"`
	// DeleteMissing deletes the rows of the table that no change row meets.
	DeleteMissing bool `json:"deleteMissing,omitempty"`
	// IgnoreNullUpdates keeps the value in the table, at any depth of structs, where that of the change
	// is null.
	IgnoreNullUpdates bool `json:"ignoreNullUpdates,omitempty"`
	// History keeps all versions of a row: a change closes the version that was valid before it, and adds
	// one that is valid from its SequenceBy on. Late changes find their place between others.
	History bool `json:"history,omitempty"`
	// Except are columns of the change rows that do not go into the table.
	Except []string `json:"except,omitempty"`
	// Duplicates says what several change rows of one key mean.
	Duplicates Duplicates `json:"duplicates,omitempty"`
	// Passive are columns that do not make a row another one: a change in them alone is none.
	Passive []string `json:"passive,omitempty"`
}

// Duplicates is what several change rows of one key mean.
type Duplicates uint8

const (
	// FailOnDuplicates is Delta's rule: two change rows that meet one row of the table are an error, two
	// that meet none are both inserted.
	FailOnDuplicates Duplicates = iota
	// LastWins takes the row with the greatest sequence, and of equal ones the last.
	LastWins
)

// Changes are the change rows, in order.
type Changes struct {
	Schema *schema.Struct
	// Rows yields the rows; the merge releases each batch. It is called again where the rows are more than
	// memory may hold, and yields the same rows in the same order. Fields are the paths of those that are
	// looked at, as of [delta.ScanOptions], and nil is all of them; others may come along.
	Rows func(ctx context.Context, fields [][]string) iter.Seq2[arrow.RecordBatch, error]
}

// Options are what a merge needs beside the rows.
type Options struct {
	// SQL opens the engine for conditions. The merge does not close it.
	SQL func(ctx context.Context) (*duck.Engine, error)
	// Workers is how many files are worked on at once; 0 is one.
	Workers int
	// Writer are the options of the data files.
	Writer delta.DataWriterOptions
	// DryRun finds what would change, and writes nothing.
	DryRun bool
	// Memory is how many bytes of change rows are held at once before they go through files; 0 is 256 MiB.
	Memory int64
	// TempDir is where those files are; empty is the system's.
	TempDir string

	hashBits int // of the hashes of keys; 0 is all
}

// Counts say what became of the change rows: each is in one of the first counts but Rows, which is
// their sum.
type Counts struct {
	Rows       int64 `json:"rows"`
	Inserted   int64 `json:"inserted"`
	Updated    int64 `json:"updated"`
	Deleted    int64 `json:"deleted"`
	Unchanged  int64 `json:"unchanged"`  // as the table has it
	Late       int64 `json:"late"`       // older than the row in the table
	Duplicates int64 `json:"duplicates"` // another change of the key counts
	Skipped    int64 `json:"skipped"`    // nothing to delete, or not to be updated

	// Conflicting are the Duplicates that differ from the row that counts, without a sequence to decide.
	Conflicting int64 `json:"conflicting,omitempty"`
	// TargetUpdated, TargetDeleted and TargetCopied are rows of the table; one change row can meet several.
	// TargetMissing are those deleted because no change row meets them.
	TargetUpdated int64 `json:"targetUpdated"`
	TargetDeleted int64 `json:"targetDeleted"`
	TargetMissing int64 `json:"targetMissing,omitempty"`
	TargetCopied  int64 `json:"targetCopied"`
	// FilesScanned were read for their keys; FilesRemoved and FilesAdded are data files.
	FilesScanned int64 `json:"filesScanned"`
	FilesRemoved int64 `json:"filesRemoved"`
	FilesAdded   int64 `json:"filesAdded"`
	// VectorsAdded and VectorsUpdated are files that got a deletion vector, or another one.
	VectorsAdded   int64 `json:"vectorsAdded,omitempty"`
	VectorsUpdated int64 `json:"vectorsUpdated,omitempty"`
	BytesRemoved   int64 `json:"bytesRemoved"`
	BytesAdded     int64 `json:"bytesAdded"`
}

// A DuplicateError says that two change rows meet one row of the table.
type DuplicateError struct{ Key string }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("several rows of the source have the key %s of one row of the table; keep one of each key, or say which is the last", e.Key)
}

// A ColumnError says that a spec names a column that cannot be used. The Column is written as the spec does.
type ColumnError struct {
	Column, Problem string
	// Setting is what names it: keys or sequenceBy; empty: something else.
	Setting string
	// Missing means that the rows do not have it: they have no Name, which is a part of its path, among the Known.
	Missing bool
	Name    string
	Known   []string
}

func (e *ColumnError) Error() string { return fmt.Sprintf("column %s %s", e.Column, e.Problem) }

// A ConditionError says that a condition of a spec is no SQL over the rows, or fails on one of them.
type ConditionError struct {
	Name string // deleteWhen, updateWhen
	Err  error
}

func (e *ConditionError) Error() string { return e.Name + ": " + e.Err.Error() }

func (e *ConditionError) Unwrap() error { return e.Err }

// Columns are those that changes bring to a table.
func Columns(spec Spec, changes *schema.Struct) *schema.Struct {
	s := without(changes, spec.Except)
	by, err := spec.met()
	if err != nil || !spec.History { // the merge tells of the error
		return s
	}
	if t := schema.At(s, by.seq); t != nil && schema.IsScalar(t) {
		s = s.Append(schema.Nullable(ValidFrom, t), schema.Nullable(ValidTo, t), schema.Nullable(IsCurrent, schema.Boolean))
	}
	return s
}

// The columns of a table that keeps all versions of its rows. A version is valid from the sequence of the
// change that made it, to that of the next, which is null while it is current.
const (
	ValidFrom = "valid_from"
	ValidTo   = "valid_to"
	IsCurrent = "is_current"
)
