//go:build !cgo || !duckdb_arrow || nosql

package duck

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

// Engine is a database; this binary has none.
type Engine struct{}

// Open returns [ErrNoSQL].
func Open(context.Context, Options) (*Engine, error) { return nil, ErrNoSQL }

func (e *Engine) Close() error { return nil }

func (e *Engine) Prepare(context.Context, string, *schema.Struct, TransformOptions) (*Transform, error) {
	return nil, ErrNoSQL
}

func (e *Engine) Carried(context.Context, string, *schema.Struct, *schema.Struct) (bool, error) {
	return false, ErrNoSQL
}

func (e *Engine) FilterOf(context.Context, string, string) (*Filter, error) { return nil, ErrNoSQL }

func (e *Engine) Tables(context.Context, string) ([]TableName, error) { return nil, ErrNoSQL }

func (e *Engine) Query(context.Context, string, map[TableName]func() (array.RecordReader, error)) (array.RecordReader, error) {
	return nil, ErrNoSQL
}

// Transform is a user's SQL; this binary makes none.
type Transform struct{}

func (t *Transform) Close()                 {}
func (t *Transform) Schema() *schema.Struct { return nil }
func (t *Transform) RowLocal() bool         { return false }
func (t *Transform) Carries() []string      { return nil }

func (t *Transform) Apply(context.Context, arrow.RecordBatch) ([]arrow.RecordBatch, error) {
	return nil, ErrNoSQL
}

func (t *Transform) ApplyRows(context.Context, arrow.RecordBatch) ([]Rows, []FailedRow, error) {
	return nil, nil, ErrNoSQL
}

func (t *Transform) ApplyAll(context.Context, array.RecordReader) (array.RecordReader, error) {
	return nil, ErrNoSQL
}
