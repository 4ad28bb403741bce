package silt

import (
	"time"

	"github.com/siltlake/silt/internal/source"
)

// Summary is what a run did. Its sums add up: Files.Found is the sum of the other counts of files,
// Records.Read that of the other counts of records.
type Summary struct {
	Pipeline string        `json:"pipeline"`
	Run      string        `json:"run"`
	Source   string        `json:"source"`
	Target   string        `json:"target"`
	Started  time.Time     `json:"started"`
	Took     time.Duration `json:"took"` // nanoseconds
	Batches  int           `json:"batches"`

	Files   FileCounts   `json:"files"`
	Bytes   int64        `json:"bytes"` // of the files loaded, as stored
	Records RecordCounts `json:"records"`
	// Rows is the number of rows made for the targets, all together. It differs from Records.Loaded when a
	// transform filters or multiplies rows, and when there are several targets.
	Rows int64 `json:"rows"`
	// Transform says how the SQL made the Rows of records; nil without SQL.
	Transform *TransformCounts `json:"transform,omitempty"`
	// Merge says what became of the Rows when they are merged and not appended. Of several targets, each has
	// its own.
	Merge *MergeCounts `json:"merge,omitempty"`
	// Targets are the tables that rows go to. The sum of their Rows is Rows.
	Targets []TargetSummary `json:"targets"`

	// Expect says what the rules for rows found; nil when there are none, and no row broke one of the table.
	Expect *ExpectCounts `json:"expect,omitempty"`

	Schema   SchemaChange   `json:"schema"`
	Rescued  RescuedCounts  `json:"rescued"`
	Commits  []TableVersion `json:"commits"`
	Warnings []Warning      `json:"warnings,omitempty"`
	// Error is why the run stopped early; empty when it did not.
	Error string `json:"error,omitempty"`
}

// FileCounts counts the files of a run.
type FileCounts struct {
	Found       int `json:"found"`
	Loaded      int `json:"loaded"`
	Failed      int `json:"failed"`      // unreadable; tried again by the next run
	Quarantined int `json:"quarantined"` // given up after too many tries
	Deferred    int `json:"deferred"`    // still being written
	Vanished    int `json:"vanished"`    // gone, or another file by now
	// Waiting files could be read, and come with the next run: their rows come in the place of others only
	// together with those of a file that is not readable.
	Waiting int `json:"waiting,omitempty"`
	// WithBad is the number of loaded files that held bad records. Changed files were loaded earlier
	// and have other content now; they are not among Found.
	WithBad int `json:"withBad"`
	Changed int `json:"changed"`
	Skipped int `json:"skipped"` // not regular files
	// Cleaned were loaded, now or earlier, and are deleted, moved or tagged by now.
	Cleaned int `json:"cleaned,omitempty"`
	// PassedOver are not among Found.
	PassedOver PassedOver `json:"passedOver,omitempty"`
}

// PassedOver counts the files that were not loaded and that the options keep out, as the last listing met
// them. Each is under the first that does: "hidden" (a name that begins with _ or ., as those of unfinished
// files do), "pathGlobFilter", "exclude" (what an export has beside its data), "glob" (the pattern of the
// source), "modifiedAfter", "modifiedBefore", "maxFileAge".
type PassedOver map[string]int

// passedOver takes what a look at the source kept out. A source that is one file says nothing of those
// beside it.
func (f folder) passedOver(by map[source.Filter]int) PassedOver {
	out := PassedOver{}
	for filter, n := range by {
		if !f.single || filter != source.Glob && filter != source.Hidden {
			out[string(filter)] = n
		}
	}
	return out
}

// TransformCounts counts what SQL makes of records, over all targets that have some. Records on which it
// fails are quarantined and not counted here.
type TransformCounts struct {
	Rows int64 `json:"rows"`
	// None is the number of records of which it makes no row, Several of those of which it makes more than one.
	None    int64 `json:"none"`
	Several int64 `json:"several"`
	// Unknown means that some SQL works on whole batches, whose rows come from no record of their own.
	Unknown bool `json:"unknown,omitempty"`
}

func (t *TransformCounts) add(o *TransformCounts) {
	t.Rows += o.Rows
	t.None += o.None
	t.Several += o.Several
	t.Unknown = t.Unknown || o.Unknown
}

// RecordCounts counts the records of a run.
type RecordCounts struct {
	Read        int64 `json:"read"`
	Loaded      int64 `json:"loaded"`
	Quarantined int64 `json:"quarantined"`
	// Dropped are left out by the option mode=DROPMALFORMED, or because expectations drop all of their rows.
	Dropped int64 `json:"dropped"`
}

// SchemaChange is how the source schema changed in a run.
type SchemaChange struct {
	From    int64      `json:"from"` // -1: there was none
	To      int64      `json:"to"`
	Columns int        `json:"columns"`
	Added   []NewField `json:"added,omitempty"`
	// Widened are columns that have a wider type.
	Widened []NewField `json:"widened,omitempty"`
	// Uncarried are fields that were read and that the transform does not carry into the table. Their
	// values are in the rescued data.
	Uncarried []NewField `json:"uncarried,omitempty"`
	// Pending are paths that have held only null, [] or {} so far, and have no type.
	Pending []string `json:"pending,omitempty"`
}

// RescuedCounts says what went into the rescued data.
type RescuedCounts struct {
	Rows  int64         `json:"rows"`
	Paths []RescuedPath `json:"paths,omitempty"`
}

// RescuedPath is a path whose values, or some of them, were rescued.
type RescuedPath struct {
	Path   string `json:"path"`
	Values int64  `json:"values"`
	// Reason is "mismatch" for values that do not fit their column, "unknown" for a field without a
	// column, "case" for one whose name a column has in other letters, upper case or lower, "untyped" for
	// one that has held only null, [] or {}.
	Reason string `json:"reason"`
	File   string `json:"file"` // of the first value
	Line   int64  `json:"line"`
}

// TargetSummary is what a run did to one table.
type TargetSummary struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"` // made for it
	// Version is that of the last commit; nil when the run has made none, and the table is as it was.
	Version *int64       `json:"version,omitempty"`
	Merge   *MergeCounts `json:"merge,omitempty"`
	// Replaced is the number of rows in whose place they came; nil when they came in the place of none.
	Replaced *int64 `json:"replaced,omitempty"`
}

// TableVersion is a version that a commit made.
type TableVersion struct {
	Table   string `json:"table"`
	Version int64  `json:"version"`
	Batch   int64  `json:"batch"`
	Rows    int64  `json:"rows"`
}
