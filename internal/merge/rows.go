package merge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// RowChange updates or deletes rows of a table. Its SQL is over the columns of the table, also as target.*.
type RowChange struct {
	// Where says which rows; empty: all.
	Where string
	// Set gives columns new values; without any the rows are deleted.
	Set []Assignment
}

// Assignment gives a column the value of an expression over the row as it was.
type Assignment struct{ Column, SQL string }

// Change makes the change of a table for a transaction on a snapshot, as [Into] does it for a merge.
func Change(ctx context.Context, tx *delta.Transaction, s *delta.Snapshot, store objstore.Store, c RowChange, o Options) (*Result, error) {
	m := &merger{o: o, tx: tx, s: s, store: store, wc: tx.WriteContext(), began: time.Now()}
	if err := m.wc.Err(); err != nil {
		return nil, err
	}
	if err := m.checkTable(); err != nil {
		return nil, err
	}
	if o.SQL == nil {
		return nil, duck.ErrNoSQL
	}
	none := Changes{Schema: &schema.Struct{}, Rows: noRows}
	m.useTable()
	var err error
	if m.src, err = takeSource(ctx, m.spec, none, m.table, 0); err != nil {
		return nil, err
	}
	defer m.src.release()
	engine, err := o.SQL(ctx)
	if err != nil {
		return nil, err
	}
	m.sql = &conditions{engine: engine, src: m.src}
	if m.rows, err = newRowPlan(ctx, m, c); err != nil {
		return nil, err
	}
	defer m.rows.close()
	if err := tx.Read(m.rows.skip); err != nil {
		return nil, err
	}
	if err := m.finish(ctx); err != nil {
		return nil, err
	}
	predicate, _ := json.Marshal(slices.DeleteFunc([]string{c.Where}, func(s string) bool { return s == "" }))
	tx.SetCommitInfo(delta.CommitDetails{Parameters: map[string]string{"predicate": string(predicate)}, Metrics: m.rowMetrics(len(c.Set) > 0)})
	return &Result{m.counts, store, m.adds, m.changes}, nil
}

// rowPlan decides on rows by SQL. It belongs to one goroutine at a time.
type rowPlan struct {
	*merger
	where   string          // a SELECT that makes a boolean of each row; empty: all rows are meant
	columns []string        // that the condition looks at; nil is all
	skip    delta.Predicate // is true of all rows that are meant; nil: nothing is known of them
	deletes bool
	values  *duck.Transform // of the columns that are set; nil when none is, but to null
	set     []int           // their places in the table
	nulls   []int           // places of columns that become null
}

func newRowPlan(ctx context.Context, m *merger, c RowChange) (*rowPlan, error) {
	p := &rowPlan{merger: m}
	if c.Where != "" {
		p.where = holdsSQL(c.Where, "target")
		none := emptyOf(m.table)
		_, err := m.sql.eval(ctx, p.where, targetTable, none)
		none.Release()
		if err != nil {
			return nil, fmt.Errorf("where: %w", inCondition(err, c.Where))
		}
		filter, err := m.sql.engine.FilterOf(ctx, c.Where, targetTable.Name)
		if err != nil {
			return nil, fmt.Errorf("where: %w", err)
		}
		p.skip = skipOf(m.s.Schema(), filter.Terms)
		p.columns = lookedAt(m.s.Schema(), filter.Columns)
	}
	p.deletes = len(c.Set) == 0
	types := &schema.Struct{}
	sql := "SELECT "
	for i, a := range c.Set {
		at := m.table.IndexFold(a.Column)
		switch {
		case at < 0:
			return nil, &ColumnError{Column: schema.Quote(a.Column), Problem: "gets a value, and the table does not have it"}
		case slices.Contains(p.set, at) || slices.Contains(p.nulls, at):
			return nil, &ColumnError{Column: schema.Quote(a.Column), Problem: "gets two values"}
		case strings.EqualFold(strings.TrimSpace(a.SQL), "null"): // which has no type in SQL
			p.nulls = append(p.nulls, at)
			continue
		}
		p.set = append(p.set, at)
		f := m.table.Fields[at]
		types.Fields = append(types.Fields, schema.Nullable(fmt.Sprintf("c%d", i), f.Type))
		if len(p.set) > 1 {
			sql += ", "
		}
		sql += fmt.Sprintf("(%s\n) AS c%d", a.SQL, i)
	}
	if len(p.set) == 0 {
		return p, nil
	}
	var err error
	if p.values, err = m.sql.engine.Prepare(ctx, sql+" FROM source AS target", m.table, duck.TransformOptions{Types: types}); err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	return p, nil
}

func (p *rowPlan) close() {
	if p.values != nil {
		p.values.Close()
	}
}

// targetTable is the name of the table in conditions over it alone.
var targetTable = duck.TableName{Name: "target"}

// marks says which rows are meant.
func (p *rowPlan) marks(ctx context.Context, rows arrow.RecordBatch) ([]bool, error) {
	if p.where == "" {
		return slices.Repeat([]bool{true}, int(rows.NumRows())), nil
	}
	return p.sql.eval(ctx, p.where, targetTable, rows)
}

// look reports whether a file has rows that are meant.
func (p *rowPlan) look(ctx context.Context, add *delta.Add) (touched bool, err error) {
	if p.where == "" {
		return true, nil
	}
	names := p.columns
	if names == nil {
		names = p.table.Names()
	}
	paths := make([][]string, len(names))
	for i, name := range names {
		paths[i] = []string{name}
	}
	shaper, err := p.shaper(paths)
	if err != nil {
		return false, err
	}
	p.counts.FilesScanned++
	for part, err := range p.s.Scan(delta.ScanOptions{Columns: p.columns, Where: p.skip, SkipOnly: true}).File(ctx, add) {
		if err != nil {
			return false, err
		}
		rec, err := shaper.Shape(ctx, part.RecordBatch)
		part.Release()
		if err != nil {
			return false, err
		}
		is, err := p.marks(ctx, rec)
		rec.Release()
		if err != nil || slices.Contains(is, true) {
			return true, err
		}
	}
	return false, nil
}

// plan is [merger.plan].
func (p *rowPlan) plan(ctx context.Context, old arrow.RecordBatch, sum *fileSum) (*decision, arrow.RecordBatch, error) {
	d := &decision{gone: make([]bool, old.NumRows())}
	plain := p.plain(old)
	defer plain.Release()
	is, err := p.marks(ctx, plain)
	if err != nil {
		return nil, nil, err
	}
	for i, meant := range is {
		switch {
		case !meant:
		case p.deletes:
			d.gone[i] = true
			d.deleted++
		default:
			d.update = append(d.update, int32(i))
		}
	}
	if len(d.update) == 0 && d.deleted == 0 {
		return d, nil, nil
	}
	sum.updated += int64(len(d.update))
	sum.deleted += int64(d.deleted)
	was, err := take(ctx, old, d.update)
	if err != nil || p.deletes {
		return d, was, err
	}
	defer was.Release()
	changed, err := p.assign(ctx, was)
	return d, changed, err
}

// plain is a record without the ids of rows.
func (p *rowPlan) plain(rec arrow.RecordBatch) arrow.RecordBatch {
	n := len(p.table.Fields)
	return array.NewRecordBatch(arrow.NewSchema(rec.Schema().Fields()[:n], nil), rec.Columns()[:n], rec.NumRows())
}

// assign returns rows with their new values.
func (p *rowPlan) assign(ctx context.Context, was arrow.RecordBatch) (arrow.RecordBatch, error) {
	cols := slices.Clone(was.Columns())
	nulls := p.nulls
	if n := len(p.table.Fields); len(cols) > n { // the version that changed the row last
		nulls = append(slices.Clip(nulls), n+1)
	}
	for _, at := range nulls {
		null := array.MakeArrayOfNull(memory.DefaultAllocator, cols[at].DataType(), int(was.NumRows()))
		defer null.Release()
		cols[at] = null
	}
	if p.values != nil {
		values, err := p.evaluate(ctx, was)
		if err != nil {
			return nil, fmt.Errorf("set: %w", err)
		}
		defer values.Release()
		for i, at := range p.set {
			cols[at] = values.Column(i)
		}
	}
	return array.NewRecordBatch(was.Schema(), cols, was.NumRows()), nil
}

// evaluate returns the values of the columns that are set.
func (p *rowPlan) evaluate(ctx context.Context, was arrow.RecordBatch) (arrow.RecordBatch, error) {
	plain := p.plain(was)
	defer plain.Release()
	parts, err := p.values.Apply(ctx, plain)
	defer func() {
		for _, r := range parts {
			r.Release()
		}
	}()
	if err != nil {
		return nil, err
	}
	values, err := concat(p.values.Schema().Arrow(), parts)
	if err == nil && values.NumRows() != was.NumRows() {
		values.Release()
		return nil, fmt.Errorf("the expressions make %d rows of %d", values.NumRows(), was.NumRows())
	}
	return values, err
}

// rowMetrics are those of an update or a deletion under Spark's names.
func (m *merger) rowMetrics(update bool) map[string]string {
	c := &m.counts
	out := map[string]string{}
	for name, n := range map[string]int64{
		"numAddedFiles": c.FilesAdded, "numRemovedFiles": c.FilesRemoved, "numAddedBytes": c.BytesAdded, "numRemovedBytes": c.BytesRemoved,
		"numCopiedRows": c.TargetCopied, "numAddedChangeFiles": int64(len(m.changes)), "executionTimeMs": time.Since(m.began).Milliseconds(),
		"numDeletionVectorsAdded": c.VectorsAdded, "numDeletionVectorsUpdated": c.VectorsUpdated, "numDeletionVectorsRemoved": 0,
	} {
		out[name] = strconv.FormatInt(n, 10)
	}
	if update {
		out["numUpdatedRows"] = strconv.FormatInt(c.TargetUpdated, 10)
	} else {
		out["numDeletedRows"] = strconv.FormatInt(c.TargetDeleted, 10)
	}
	return out
}
