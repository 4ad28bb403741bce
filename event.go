package silt

import "time"

// Event is something that happens while a pipeline runs: one of the types below. Events are the only
// telemetry silt has; logs, progress bars and alerts are made from them.
type Event interface{ event() }

// Handler takes events. It is called from any goroutine, one call at a time, and must return soon.
type Handler func(Event)

// RunStarted is the first event of a run.
type RunStarted struct {
	Time     time.Time
	Pipeline string
	Run      string
	Source   string
	Target   string
}

// Recovered says that a batch an earlier run left unfinished is being finished.
type Recovered struct{ Batch int64 }

// Listed says what a listing of the source found. Files and Bytes are new and will be loaded by this
// run; Changed files were loaded before with other content; PassedOver are kept out by the options.
type Listed struct {
	Files, Changed, Skipped int
	Bytes                   int64
	PassedOver              PassedOver
}

// Progress tells how far a run is. It comes often.
type Progress struct {
	Phase                 string // "infer", "load", "commit"
	FilesDone, FilesTotal int
	BytesDone, BytesTotal int64 // as stored
	Rows, RescuedRows     int64
}

// SchemaEvolved says that new columns, or fields inside columns, or wider types become part of the table
// with the batch; where [Config.OnSchemaChange] is "fail", with the next run of it. Added and Widened are
// empty rather than nil.
type SchemaEvolved struct {
	Batch    int64
	From, To int64 // versions of the source schema; From is -1 when there was none
	Added    []NewField
	Widened  []NewField // columns that have a wider type
}

// NewField is a field that the source schema or the table did not have.
type NewField struct {
	Path string `json:"path"`
	// DDL is the type.
	DDL string `json:"type"`
	// From is the type before, of a column that became wider.
	From string `json:"from,omitempty"`
	// File and Line are where the field was met first.
	File string `json:"file,omitempty"`
	Line int64  `json:"line,omitempty"`
	// Rows is the number of records that had it, where known.
	Rows int64 `json:"rows,omitempty"`
}

// FileFailed says that a file could not be read to its end. No row of it is loaded.
type FileFailed struct {
	File  string
	Bytes int64
	Tries int
	// GivenUp means that it is not tried again.
	GivenUp bool
	Err     error
}

// BatchCommitted says that a batch is in the tables.
type BatchCommitted struct {
	Batch       int64
	Table       string // the target, or the first of several
	Version     *int64 // of that table; nil: the batch has changed nothing in it
	Files       int
	Rows        int64          // of all targets
	Tables      []TableVersion // all targets that got rows
	RescuedRows int64
	Quarantined int64
	Took        time.Duration
}

// Warning is something a person should know about and a run goes on with.
type Warning struct {
	Code string `json:"code"` // as in "silt explain"
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// FilesChanged says that a batch carried out what somebody had asked for, see [PlanFiles]. No table changes
// by it.
type FilesChanged struct {
	Batch         int64
	Request       string // its id
	Action        FileAction
	Reason, Actor string
	Files         int // that it still applied to
}

// RunFinished is the last event of a run. Err is nil when it did all there was to do.
type RunFinished struct {
	Summary *Summary
	Err     error
}

func (RunStarted) event()     {}
func (Recovered) event()      {}
func (Listed) event()         {}
func (Progress) event()       {}
func (SchemaEvolved) event()  {}
func (FileFailed) event()     {}
func (BatchCommitted) event() {}
func (FilesChanged) event()   {}
func (Warning) event()        {}
func (RunFinished) event()    {}
