//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	bindings "github.com/duckdb/duckdb-go-bindings"
)

// The layer over DuckDB's C interface. It goes past database/sql and its driver because these run a
// prepared statement into Arrow neither twice nor as a stream.

// conn is a connection, used by one goroutine at a time. A stream of results that is still open ends
// when the connection runs something else.
type conn struct{ c bindings.Connection }

func (e *Engine) connect() (*conn, error) {
	c := &conn{}
	if bindings.Connect(e.db, &c.c) == bindings.StateError {
		return nil, errors.New("duckdb: no connection")
	}
	return c, nil
}

func (c *conn) close() { bindings.Disconnect(&c.c) }

// interruptible runs f, which is one call of DuckDB, and interrupts it when ctx ends.
func (c *conn) interruptible(ctx context.Context, f func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		bindings.Interrupt(c.c)
	})
	f()
	if !stop() {
		<-fired // else it could hit the next call
		return ctx.Err()
	}
	return nil
}

// stmt is a prepared statement. It can run many times, one run after the other.
type stmt struct {
	c      *conn
	p      bindings.PreparedStatement
	opts   bindings.ArrowOptions
	schema *arrow.Schema // of the batches it gives; set by its first run
}

// prepare binds one SELECT. The error is a *duckError.
func (c *conn) prepare(sql string) (*stmt, error) {
	s := &stmt{c: c}
	if bindings.Prepare(c.c, sql, &s.p) == bindings.StateError {
		err := parseError(bindings.PrepareError(s.p))
		bindings.DestroyPrepare(&s.p)
		return nil, err
	}
	bindings.ConnectionGetArrowOptions(c.c, &s.opts)
	return s, nil
}

func (s *stmt) close() {
	bindings.DestroyArrowOptions(&s.opts)
	bindings.DestroyPrepare(&s.p)
}

// column is a column of a statement's result.
type column struct {
	name string
	typ  *duckType
}

func (s *stmt) columns() []column {
	out := make([]column, bindings.PreparedStatementColumnCount(s.p))
	for i := range out {
		t := bindings.PreparedStatementColumnLogicalType(s.p, bindings.IdxT(i))
		out[i] = column{bindings.PreparedStatementColumnName(s.p, bindings.IdxT(i)), newDuckType(t)}
		bindings.DestroyLogicalType(&t)
	}
	return out
}

// result is a running statement: DuckDB works while batches are taken from it.
type result struct {
	s   *stmt
	res bindings.Result
}

func (s *stmt) run(ctx context.Context) (*result, error) {
	var pending bindings.PendingResult
	defer bindings.DestroyPending(&pending)
	r := &result{s: s}
	var failed string
	err := s.c.interruptible(ctx, func() {
		if bindings.PendingPreparedStreaming(s.p, &pending) == bindings.StateError {
			failed = bindings.PendingError(pending)
			return
		}
		if bindings.ExecutePending(pending, &r.res) == bindings.StateError {
			failed = bindings.ResultError(&r.res)
			bindings.DestroyResult(&r.res)
		}
	})
	switch {
	case err != nil:
		r.close()
		return nil, err
	case failed != "":
		return nil, parseError(failed)
	}
	if s.schema == nil {
		if err := s.describe(&r.res); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

// describe finds the Arrow schema of the statement's batches.
func (s *stmt) describe(res *bindings.Result) error {
	n := bindings.ColumnCount(res)
	names, types := make([]string, n), make([]bindings.LogicalType, n)
	for i := range names {
		names[i], types[i] = bindings.ColumnName(res, bindings.IdxT(i)), bindings.ColumnLogicalType(res, bindings.IdxT(i))
		defer bindings.DestroyLogicalType(&types[i])
	}
	var ed bindings.ErrorData
	s.schema, ed = bindings.NewArrowSchema(s.opts, types, names)
	return errorData(ed)
}

// next returns the next batch, which the caller releases, or nil at the end.
func (r *result) next(ctx context.Context) (arrow.RecordBatch, error) {
	var chunk bindings.DataChunk
	defer bindings.DestroyDataChunk(&chunk)
	err := r.s.c.interruptible(ctx, func() { chunk = bindings.FetchChunk(r.res) })
	if err != nil {
		return nil, err
	}
	if chunk.Ptr == nil {
		if text := bindings.ResultError(&r.res); text != "" {
			return nil, parseError(text)
		}
		return nil, nil
	}
	rec, ed := bindings.DataChunkToArrowArray(r.s.opts, r.s.schema, chunk)
	if err := errorData(ed); err != nil {
		return nil, err
	}
	return rec, nil
}

func (r *result) close() { bindings.DestroyResult(&r.res) }

func errorData(ed bindings.ErrorData) error {
	defer bindings.DestroyErrorData(&ed)
	if !bindings.ErrorDataHasError(ed) {
		return nil
	}
	return parseError(bindings.ErrorDataMessage(ed))
}

// exec runs a statement of silt's own and drops its result.
func (c *conn) exec(ctx context.Context, sql string) error {
	return c.each(ctx, sql, func(arrow.RecordBatch) error { return nil })
}

// text runs a statement of silt's own that gives one string.
func (c *conn) text(ctx context.Context, sql string) (string, error) {
	var out string
	err := c.each(ctx, sql, func(rec arrow.RecordBatch) error {
		col, ok := rec.Column(0).(*array.String)
		if !ok || col.Len() != 1 {
			return fmt.Errorf("%s: want one string, got %s", sql, rec.Column(0).DataType())
		}
		out = strings.Clone(col.Value(0)) // the batch is DuckDB's memory
		return nil
	})
	return out, err
}

func (c *conn) each(ctx context.Context, sql string, f func(arrow.RecordBatch) error) error {
	s, err := c.prepare(sql)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := s.run(ctx)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		rec, err := r.next(ctx)
		if err != nil || rec == nil {
			return err
		}
		err = f(rec)
		rec.Release()
		if err != nil {
			return err
		}
	}
}
