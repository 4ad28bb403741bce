package checkpoint

import (
	"encoding/json"
	"time"

	"github.com/siltlake/silt/objstore"
)

// Plan fixes what batch N is: which versions of which files, read under which configuration, for which
// tables. It is offsets/N; its files are in sources/0/N.
type Plan struct {
	Batch int64  `json:"batch"`
	Nonce string `json:"nonce"` // names this writing of the object
	// Time is when the batch was planned. A redo keeps it, so what is derived from it stays the same.
	Time        time.Time `json:"time"`
	Files       int       `json:"files"`
	FilesDigest string    `json:"filesDigest"`
	// Config is what the rows of the batch depend on, as the root wrote it.
	Config       json.RawMessage `json:"config,omitempty"`
	ConfigDigest string          `json:"configDigest,omitempty"`
	Engine       string          `json:"engine,omitempty"` // version of silt
	Targets      []Target        `json:"targets"`
	// Refs are the tables that SQL reads beside the files, at the versions that the batch reads.
	Refs []Target `json:"refs,omitempty"`
	// SchemaVersion is the source schema the batch is read with; -1 when there is none yet.
	SchemaVersion int64 `json:"schemaVersion"`
	// Request, when set, is what the batch carries out instead of loading its files.
	Request *RequestHead `json:"request,omitempty"`
	// Parent is the digest of offsets/N-1; empty for the first batch.
	Parent string `json:"parent,omitempty"`

	// Attempt counts the times Convert was started for the batch, from 1. It lives in the lease.
	Attempt int `json:"-"`
}

// Target is a table that a batch may write to.
type Target struct {
	Name    string `json:"name"` // "quarantine", "main"
	URI     string `json:"uri"`
	TableID string `json:"tableId,omitempty"` // empty: the table does not exist yet
	Version int64  `json:"version"`           // seen when the batch was planned
}

// Staged fixes what the batch puts into each table. From here on the sources are not needed. It is
// staged/N.
type Staged struct {
	Batch   int64          `json:"batch"`
	Nonce   string         `json:"nonce"`
	Targets []StagedTarget `json:"targets"` // committed in this order
	Files   []FileOutcome  `json:"-"`       // each planned file once, in the order of the plan; a line each
	// SchemaVersion is the version that Schema becomes, or the plan's when Schema is null.
	SchemaVersion int64           `json:"schemaVersion"`
	Schema        json.RawMessage `json:"schema,omitempty"`
	Summary       json.RawMessage `json:"summary,omitempty"`
}

// StagedTarget is what one table gets.
type StagedTarget struct {
	Name  string          `json:"name"`
	URI   string          `json:"uri"`
	Delta json.RawMessage `json:"delta,omitempty"` // opaque here
	Rows  int64           `json:"rows"`
}

// FileState is what became of a planned file.
type FileState string

// The states of a file. Those under "again" leave the file as if it had not been planned, so that the
// next batches find it again. Skipped, Forgotten and Retried are made by a [Request].
const (
	Loaded      FileState = "loaded"
	Quarantined FileState = "quarantined" // given up, as a whole
	Skipped     FileState = "skipped"     // never to be loaded

	Vanished    FileState = "vanished"    // again: it was deleted before it was read
	Overwritten FileState = "overwritten" // again: it changed before or while it was read
	Deferred    FileState = "deferred"    // again: its end is still being written
	Waiting     FileState = "waiting"     // again: its rows come only together with those of others
	Failed      FileState = "failed"      // again: it cannot be read to its end
	Forgotten   FileState = "forgotten"   // again, whatever was known of the file before
	Retried     FileState = "retried"     // as Forgotten; its tries count anew
)

// Again reports whether later batches take the file again.
func (s FileState) Again() bool { return s != Loaded && s != Quarantined && s != Skipped }

// forgets reports whether what was known of the file before counts no longer.
func (s FileState) forgets() bool { return s == Forgotten || s == Retried }

// FileOutcome is what the batch did with one file.
type FileOutcome struct {
	Key     string
	ETag    string
	State   FileState
	Records int64 // read
	Rows    int64 // into the main table
	Bad     int64 // records that became no row there
	Rescued int64 // rows with a rescued value
	// Tries counts the batches that met this version of the file, this one included. When Convert
	// leaves it 0, the Log fills it in.
	Tries int
	Error string // or the reason of the request that made the state
}

// Commits says where the batch is. It is commits/N and closes the batch.
type Commits struct {
	Batch   int64       `json:"batch"`
	Nonce   string      `json:"nonce"`
	Time    time.Time   `json:"time"`
	Targets []Committed `json:"targets"`
}

// Committed is the version in which one table has the batch.
type Committed struct {
	Name    string `json:"name"`
	URI     string `json:"uri"`
	TableID string `json:"tableId,omitempty"`
	Version int64  `json:"version"`
	TxnID   string `json:"txnId,omitempty"` // of the commit, from its commitInfo
	// Already means that the table had the batch before this commit was tried.
	Already bool `json:"already,omitempty"`
	// Counts are what the caller wants to know of the commit later; opaque here.
	Counts json.RawMessage `json:"counts,omitempty"`
}

// File is a planned file and what became of it. Outcome is nil until the batch is staged.
type File struct {
	objstore.Object
	Outcome *FileOutcome
}

// Batch is what the store says about one batch.
type Batch struct {
	Plan     Plan
	Files    []File
	Staged   *Staged   // nil: not yet
	Commits  *Commits  // nil: not closed yet
	Archived *Archived // nil: its files are not cleaned yet
}

// Run is an object of runs/: one run's summary as the root wrote it.
type Run struct {
	ID   string
	Body json.RawMessage
}
