//go:build !cgo || !duckdb_arrow || nosql

package merge_test

import (
	"context"

	"github.com/siltlake/silt/internal/duck"
)

// engine opens SQL; nil without.
var engine func(context.Context) (*duck.Engine, error)
