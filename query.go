package silt

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow/array"
)

// QueryOptions say where the tables of a query are.
type QueryOptions struct {
	Catalogs map[string]Catalog
	// Configs are pipelines whose state the tables silt.files, silt.runs, silt.schema_history and
	// silt.quarantine show.
	Configs []Config
	// Version, when set, is the version at which every table is read.
	Version *int64
	TempDir string
}

// Query runs SQL over tables that are named as catalog.schema.table, or as a quoted path. The caller
// releases the reader.
func Query(ctx context.Context, sql string, o QueryOptions) (array.RecordReader, error) {
	panic("not yet")
}
