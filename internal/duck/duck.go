// Package duck runs SQL over Arrow record batches. It hides DuckDB, the only cgo of silt.
//
// An [Engine] is one in-memory database. A [Transform] is a user's SELECT, checked once against the
// schema of its source and then run on one record batch after another. [Engine.Query] runs any SELECT
// over tables that the caller opens by name.
//
// Promises: SQL changes nothing and reads nothing but what it is given (files only where
// [Options.Files] allows it, never the network); what comes out has exactly the Arrow types of the
// schema that [Transform.Schema] tells; a row that cannot be cast is found and named, not lost.
//
// A binary built without cgo or without the tag duckdb_arrow has the same package, in which [Open]
// returns [ErrNoSQL].
package duck

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

// ErrNoSQL is returned by [Open] in a binary that was built without DuckDB.
var ErrNoSQL = errors.New("this silt was built without SQL: build it with `make build`, or `CGO_ENABLED=1 go build -tags duckdb_arrow ./cmd/silt` (needs a C++ compiler)")

// Source is the name of the table that a transform reads.
const Source = "source"

// Options are the limits of an [Engine].
type Options struct {
	MemoryLimit int64  // bytes that DuckDB may hold before it spills; 0 is 256 MiB
	Threads     int    // of DuckDB; 0 is 1
	TempDir     string // where DuckDB spills; empty means never, the memory limit is then an error
	TimeZone    string // of the session, an IANA name; empty is UTC
	Files       bool   // SQL may read local files (read_parquet, FROM 'x.csv'); never the network
	// Refs are tables that a transform may read beside source, by their names.
	Refs map[string]Ref
}

// Ref is a table that a transform may read. What the SQL needs of it is read once for an engine, before the
// first row is made, and held to [Options.MemoryLimit] like all that DuckDB holds.
type Ref struct {
	Schema *schema.Struct
	// Open reads some of the columns, in the order of the schema.
	Open func(ctx context.Context, columns []string) (array.RecordReader, error)
}

// TransformOptions says what a transform must do beyond its SQL.
type TransformOptions struct {
	// Carry names columns of the source that must be in the output although the SQL does not name them.
	Carry []string
	// Types are types that columns of the output must have, found by name without case; nil asks for
	// none. A row whose value does not fit the type, or would be rounded by it, fails.
	Types *schema.Struct
}

// TableName is a table as a SELECT names it; parts that it leaves out are empty. A path in quotes
// stands in Name.
type TableName struct{ Catalog, Schema, Name string }

func (n TableName) String() string {
	parts := []string{n.Catalog, n.Schema, n.Name}
	for len(parts) > 1 && parts[0] == "" {
		parts = parts[1:]
	}
	return strings.Join(parts, ".")
}

// Rows is a part of a transform's output.
type Rows struct {
	Batch arrow.RecordBatch
	From  []int32 // for each row of Batch the row of the input that it came from
}

// FailedRow is a row of the input on which the SQL fails.
type FailedRow struct {
	Row int
	Err error // one line
}

// A SQLError is a mistake in a user's SQL.
type SQLError struct {
	Message string // one line, without DuckDB's prefix
	SQL     string // the user's text
	Line    int    // from 1; 0 when the place is not known
	Column  int    // in characters from 1
	Hint    string // what DuckDB suggests, such as candidate names; may be empty
	// Name is a column or field that is not there, and Known are those that are; empty when that is not the
	// mistake. Missing is its path in the source, as far as that can be told.
	Name, Missing string
	Known         []string
}

// Later is what to do about a column or field that records will have later; empty when that is not the mistake.
func (e *SQLError) Later() string {
	if e.Missing == "" {
		return ""
	}
	return "a field that records will have later reads as NULL once its type is known: schemaHints: " + e.Missing + " STRING"
}

// In is the mistake as one in a part of the SQL, which stands in lines of its own from the given one on.
func (e *SQLError) In(part string, line int) *SQLError {
	out := *e
	out.SQL = part
	switch lines := strings.Count(part, "\n") + 1; {
	case out.Line >= line+lines:
		out.Message, out.Line, out.Column = "it ends too early: "+out.Message, 0, 0
	case out.Line > 0:
		out.Line -= line - 1
	}
	return &out
}

func (e *SQLError) Error() string {
	if e.Line == 0 {
		return "sql: " + e.Message
	}
	return "sql: line " + strconv.Itoa(e.Line) + ", column " + strconv.Itoa(e.Column) + ": " + e.Message
}
