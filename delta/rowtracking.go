package delta

import (
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"

	"github.com/siltlake/silt/schema"
)

// The domain in which a table keeps the greatest row id given out, and the properties that name the
// columns in which files keep the ids and versions of rows that have moved. Source: protocol, "Row
// Tracking".
const (
	rowTrackingDomain = "delta.rowTracking"
	propRowIDColumn   = "delta.rowTracking.materializedRowIdColumnName"
	propRowVersion    = "delta.rowTracking.materializedRowCommitVersionColumnName"
	propRowTracking   = "delta.enableRowTracking"
	// tagRowTracking in a commit says whether rows that moved kept their ids.
	tagRowTracking = "delta.rowTracking.preserved"
)

// rowColumns returns the names of the columns in which data files keep the ids of rows that have moved and
// the versions that changed them last; empty when rows are not tracked.
func rowColumns(p *Protocol, m *Metadata) (id, version string) {
	if !p.supports("rowTracking") || !m.isTrue(propRowTracking) {
		return "", ""
	}
	return m.Configuration[propRowIDColumn], m.Configuration[propRowVersion]
}

// TracksRows reports whether rows of the table keep an id when they move from file to file. Whoever writes
// rows of the table anew reads them with [ScanOptions.RowIDs] and writes them with
// [DataWriterOptions.RowIDs].
func (s *Snapshot) TracksRows() bool {
	id, version := rowColumns(s.protocol, s.metadata)
	return id != "" && version != ""
}

// rowColumn is one of those columns, to be read or written.
func rowColumn(name string) *column {
	return &column{typ: schema.Long, name: name, path: []string{name}, out: arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true}}
}

// withRowIDs returns a record whose last two columns are row ids and row versions, with those filled in
// that the file does not keep: they follow from the places of the rows and from the add.
func withRowIDs(mem memory.Allocator, l located, add *Add) (arrow.RecordBatch, error) {
	if add.BaseRowID == nil || add.DefaultRowCommitVersion == nil {
		return nil, fmt.Errorf("rows of the table are tracked, and the file has no ids")
	}
	rows := l.fileRows()
	n := int(l.rec.NumCols()) - 2
	columns := append([]arrow.Array(nil), l.rec.Columns()...)
	for k, value := range []func(i int) int64{
		func(i int) int64 { return *add.BaseRowID + rows.Place(i) },
		func(int) int64 { return *add.DefaultRowCommitVersion },
	} {
		kept := columns[n+k].(*array.Int64)
		b := array.NewInt64Builder(mem)
		defer b.Release()
		b.Reserve(kept.Len())
		for i := range kept.Len() {
			if kept.IsValid(i) {
				b.UnsafeAppend(kept.Value(i))
			} else {
				b.UnsafeAppend(value(i))
			}
		}
		full := b.NewArray()
		defer full.Release()
		columns[n+k] = full
	}
	return array.NewRecordBatch(l.rec.Schema(), columns, l.rec.NumRows()), nil
}

// changedRows returns a record whose last column, the row version, is null: the rows have changed with the
// commit that writes them, and it is what their file says of all its rows.
func changedRows(mem memory.Allocator, rec arrow.RecordBatch) arrow.RecordBatch {
	columns := append([]arrow.Array(nil), rec.Columns()...)
	null := nulls(mem, arrow.PrimitiveTypes.Int64, int(rec.NumRows()))
	defer null.Release()
	columns[len(columns)-1] = null
	return array.NewRecordBatch(rec.Schema(), columns, rec.NumRows())
}

type rowTracking struct {
	HighWaterMark int64 `json:"rowIdHighWaterMark"`
}

func nameRowColumns(m *Metadata) {
	m.Configuration[propRowIDColumn] = "_row-id-col-" + uuid.NewString()
	m.Configuration[propRowVersion] = "_row-commit-version-col-" + uuid.NewString()
}

// trackRows gives the rows of new files the next ids, on top of base, and returns the files with them
// and the domain with the mark behind them. Files that have ids keep them.
func trackRows(base *Snapshot, adds []*Add) ([]*Add, *DomainMetadata, error) {
	mark := rowTracking{-1}
	if text, ok := base.Domain(rowTrackingDomain); ok {
		if err := json.Unmarshal([]byte(text), &mark); err != nil {
			return nil, nil, fmt.Errorf("domain %s: %w", rowTrackingDomain, err)
		}
	}
	out := make([]*Add, len(adds))
	changed := false
	for i, a := range adds {
		if out[i] = a; a.BaseRowID != nil {
			continue
		}
		n, ok := a.records()
		if !ok {
			return nil, nil, fmt.Errorf("data file %s does not say how many rows it has, which row tracking needs", a.Path)
		}
		tracked, first, version := *a, mark.HighWaterMark+1, base.version+1
		tracked.BaseRowID, tracked.DefaultRowCommitVersion = &first, &version
		out[i], changed = &tracked, true
		mark.HighWaterMark += n
	}
	if !changed {
		return out, nil, nil
	}
	text, err := json.Marshal(mark)
	return out, &DomainMetadata{Domain: rowTrackingDomain, Configuration: string(text)}, err
}
