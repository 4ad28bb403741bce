package merge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

// conditions evaluate the SQL of a spec. What asks for the source alone is evaluated once for all change
// rows, the rest for each pair of rows that meet.
type conditions struct {
	engine         *duck.Engine
	src            *source
	delete, update condition
	mu             sync.Mutex // the engine belongs to one goroutine
}

// condition is one of them.
type condition struct {
	name string // in the spec
	sql  string
	// holds is the value for each change row; nil when there is no condition, or when it asks for the
	// target.
	holds []bool
}

// rowTable is the table that conditions are evaluated on: the change rows, or the pairs.
var rowTable = duck.TableName{Name: duck.Source}

func newConditions(ctx context.Context, spec Spec, o Options, src *source, from, table *schema.Struct) (*conditions, error) {
	c := &conditions{src: src, delete: condition{name: "deleteWhen", sql: spec.DeleteWhen}, update: condition{name: "updateWhen", sql: spec.UpdateWhen}}
	if spec.DeleteWhen == "" && spec.UpdateWhen == "" {
		return c, nil
	}
	if o.SQL == nil {
		return nil, duck.ErrNoSQL
	}
	var err error
	if c.engine, err = o.SQL(ctx); err != nil {
		return nil, err
	}
	for _, x := range []*condition{&c.delete, &c.update} {
		if x.sql == "" {
			continue
		}
		if err := c.bind(ctx, x, from, table); err != nil {
			return nil, x.failed(err)
		}
	}
	return c, nil
}

// failed is the error of a condition.
func (x *condition) failed(err error) error { return &ConditionError{x.name, inCondition(err, x.sql)} }

// inCondition is an error of what [holdsSQL] made of a condition, with its place in the condition.
func inCondition(err error, condition string) error {
	if mistake, ok := errors.AsType[*duck.SQLError](err); ok {
		return mistake.In(condition, 2)
	}
	return err
}

// bind evaluates a condition on the source, or else finds that it can be on pairs.
func (c *conditions) bind(ctx context.Context, x *condition, from, table *schema.Struct) error {
	sql, empty := holdsSQL(x.sql, "source"), c.src.raw.NewSlice(0, 0)
	defer empty.Release()
	_, err := c.eval(ctx, sql, rowTable, empty)
	if err == nil { // one that fails on a row is none over pairs
		x.holds, err = c.eval(ctx, sql, rowTable, c.src.raw)
		return err
	}
	none, noneErr := pairOf(empty, emptyOf(table))
	if noneErr != nil {
		return noneErr
	}
	defer none.Release()
	if _, pairErr := c.eval(ctx, pairSQL(x.sql), rowTable, none); pairErr != nil {
		return c.explain(ctx, x, from, table, err, pairErr)
	}
	return nil
}

// explain is the error of a condition that is none over rows of these columns. ofRows is what it says of the change
// rows alone, ofPairs what it says of pairs; where a column is missing, there is more to say.
func (c *conditions) explain(ctx context.Context, x *condition, from, table *schema.Struct, ofRows, ofPairs error) error {
	missing := c.missing(ctx, holdsSQL(x.sql, "source"), from)
	switch {
	case missing == nil:
		return ofRows // it is the simpler form
	case schema.Fold(missing.Name) != "target":
		return missing
	}
	both := &schema.Struct{Fields: []schema.Field{schema.Nullable("source", from), schema.Nullable("target", table)}}
	if missing = c.missing(ctx, pairSQL(x.sql), both); missing == nil {
		return ofPairs
	}
	for _, side := range []string{"source.", "target."} {
		missing.Missing = strings.TrimPrefix(missing.Missing, side)
	}
	return missing
}

// missing is the mistake in SQL that names what is not among the columns, nil when that is not its mistake.
func (c *conditions) missing(ctx context.Context, sql string, columns *schema.Struct) *duck.SQLError {
	t, err := c.engine.Prepare(ctx, sql, columns, duck.TransformOptions{})
	if err == nil {
		t.Close()
		return nil
	}
	if mistake, ok := errors.AsType[*duck.SQLError](err); ok && mistake.Name != "" {
		return mistake
	}
	return nil
}

func emptyOf(table *schema.Struct) arrow.RecordBatch {
	rec, _ := concat(table.Arrow(), nil)
	return rec
}

// holdsSQL asks for the value of a condition, the first line of which is the second.
func holdsSQL(condition, from string) string {
	return "SELECT coalesce(CAST((\n" + condition + "\n) AS BOOLEAN), false) AS holds FROM " + from
}

func pairSQL(condition string) string {
	return holdsSQL(condition, "(SELECT source.*, source, target FROM source AS pairs) AS pairs")
}

// pairOf makes one record of two with as many rows, each of which becomes a column.
func pairOf(source, target arrow.RecordBatch) (arrow.RecordBatch, error) {
	a, b := array.RecordToStructArray(source), array.RecordToStructArray(target)
	defer a.Release()
	defer b.Release()
	s := arrow.NewSchema([]arrow.Field{{Name: "source", Type: a.DataType()}, {Name: "target", Type: b.DataType()}}, nil)
	return array.NewRecordBatch(s, []arrow.Array{a, b}, source.NumRows()), nil
}

// eval runs SQL that makes a boolean of each row.
func (c *conditions) eval(ctx context.Context, sql string, name duck.TableName, rec arrow.RecordBatch) ([]bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out, err := c.engine.Query(ctx, sql, map[duck.TableName]func() (array.RecordReader, error){
		name: func() (array.RecordReader, error) {
			return array.NewRecordReader(rec.Schema(), []arrow.RecordBatch{rec})
		},
	})
	if err != nil {
		return nil, err
	}
	defer out.Release()
	holds := make([]bool, 0, rec.NumRows())
	for out.Next() {
		col := out.RecordBatch().Column(0).(*array.Boolean)
		for i := range col.Len() {
			holds = append(holds, col.Value(i))
		}
	}
	if err := out.Err(); err != nil {
		return nil, err
	}
	if int64(len(holds)) != rec.NumRows() {
		return nil, &duck.SQLError{Message: "it does not look at one row by itself", SQL: sql, Hint: "write a condition without aggregates and unnest"}
	}
	return holds, nil
}

// mayDelete reports whether a change row may delete the row that it meets.
func (c *conditions) mayDelete(row int32) bool {
	return c.delete.sql != "" && (c.delete.holds == nil || c.delete.holds[row])
}

// mayChange reports whether a change row may change the row that it meets.
func (c *conditions) mayChange(row int32) bool {
	return c.mayDelete(row) || c.update.holds == nil || c.update.holds[row]
}

// allDeleted reports whether all change rows of a key delete what they meet, so that it does not matter
// which of them counts.
func (c *conditions) allDeleted(s *source, row int32) bool {
	if c.delete.holds == nil {
		return false
	}
	for ; row >= 0; row = s.next[row] {
		if !c.delete.holds[row] {
			return false
		}
	}
	return true
}

// deletesNew reports whether a change row that meets none is a deletion. A condition over the target is
// not true of it.
func (c *conditions) deletesNew(row int32) bool { return c.delete.holds != nil && c.delete.holds[row] }

// pairs evaluates the conditions for rows of the table and the change rows that they meet.
func (c *conditions) pairs(ctx context.Context, old arrow.RecordBatch, at, by []int32) (deletes, updates []bool, err error) {
	if deletes, err = c.delete.pairs(ctx, c, old, at, by, false); err != nil {
		return nil, nil, c.delete.failed(err)
	}
	if updates, err = c.update.pairs(ctx, c, old, at, by, true); err != nil {
		return nil, nil, c.update.failed(err)
	}
	return deletes, updates, nil
}

func (x *condition) pairs(ctx context.Context, c *conditions, old arrow.RecordBatch, at, by []int32, without bool) ([]bool, error) {
	out := slices.Repeat([]bool{without}, len(at))
	switch {
	case x.sql == "" || len(at) == 0:
		return out, nil
	case x.holds != nil:
		for k, row := range by {
			out[k] = x.holds[row]
		}
		return out, nil
	}
	source, err := take(ctx, c.src.raw, by)
	if err != nil {
		return nil, err
	}
	defer source.Release()
	target, err := take(ctx, old, at)
	if err != nil {
		return nil, err
	}
	defer target.Release()
	both, err := pairOf(source, target)
	if err != nil {
		return nil, err
	}
	defer both.Release()
	return c.eval(ctx, pairSQL(x.sql), rowTable, both)
}
