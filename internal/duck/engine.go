//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

// Engine is one in-memory database, used by one goroutine at a time.
type Engine struct{}

// Open opens an empty database.
func Open(context.Context, Options) (*Engine, error) { return nil, errTODO }

func (e *Engine) Close() error { return nil }

func (e *Engine) Prepare(context.Context, string, *schema.Struct, TransformOptions) (*Transform, error) {
	return nil, errTODO
}

func (e *Engine) Carried(context.Context, string, *schema.Struct, *schema.Struct) (bool, error) {
	return false, errTODO
}

func (e *Engine) Tables(context.Context, string) ([]TableName, error) { return nil, errTODO }

func (e *Engine) Query(context.Context, string, map[TableName]func() (array.RecordReader, error)) (array.RecordReader, error) {
	return nil, errTODO
}

// Transform is a SELECT checked against the schema of its source.
type Transform struct{}

func (t *Transform) Close()                 {}
func (t *Transform) Schema() *schema.Struct { return nil }
func (t *Transform) RowLocal() bool         { return false }
func (t *Transform) Carries() []string      { return nil }

func (t *Transform) Apply(context.Context, arrow.RecordBatch) ([]arrow.RecordBatch, error) {
	return nil, errTODO
}

func (t *Transform) ApplyRows(context.Context, arrow.RecordBatch) ([]Rows, []FailedRow, error) {
	return nil, nil, errTODO
}

func (t *Transform) ApplyAll(context.Context, array.RecordReader) (array.RecordReader, error) {
	return nil, errTODO
}

var errTODO = errors.New("not built yet")
