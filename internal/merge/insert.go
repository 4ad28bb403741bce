package merge

import (
	"context"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/schema"
)

// insert writes the change rows that no row of the table has met.
func (m *merger) insert(ctx context.Context) error {
	var rows []int32
	for _, r := range m.src.order {
		switch {
		case m.src.outcomes[r] != waiting:
		case m.sql.deletesNew(r):
			m.src.outcomes[r] = skipped
		default:
			m.src.outcomes[r] = inserted
			rows = append(rows, r)
		}
	}
	for part := range slices.Chunk(rows, insertRows) {
		rec, err := m.insertion(ctx, part)
		if err != nil {
			return err
		}
		err = m.out.insert(ctx, rec)
		rec.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// insertRows is how many rows are gathered at a time.
const insertRows = 16 << 10

// insertion is change rows without the columns that the source lacks: the writer knows their defaults.
func (m *merger) insertion(ctx context.Context, rows []int32) (arrow.RecordBatch, error) {
	all, err := take(ctx, m.src.rows, rows)
	if err != nil {
		return nil, err
	}
	defer all.Release()
	return m.known(all), nil
}

// known is a record without the columns that neither the source nor the history of a row fills.
func (m *merger) known(all arrow.RecordBatch) arrow.RecordBatch {
	var fields []arrow.Field
	var cols []arrow.Array
	for i, f := range all.Schema().Fields() {
		if m.src.fields[i].has || m.history != nil && slices.Contains([]string{ValidFrom, ValidTo, IsCurrent}, schema.Fold(f.Name)) {
			fields, cols = append(fields, f), append(cols, all.Column(i))
		}
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, all.NumRows())
}
