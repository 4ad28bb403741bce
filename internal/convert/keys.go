package convert

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// keyless returns, for each row of rec, whether one of the target's key columns is null, or nil when none
// is.
func (o *output) keyless(rec arrow.RecordBatch) []string {
	var why []string
	for _, key := range o.to.Keys {
		i := slices.IndexFunc(rec.Schema().Fields(), func(f arrow.Field) bool { return schema.Fold(f.Name) == schema.Fold(key) })
		if i < 0 || rec.Column(i).NullN() == 0 && rec.Column(i).DataType().ID() != arrow.NULL {
			continue
		}
		if why == nil {
			why = make([]string, rec.NumRows())
		}
		for row := range why {
			if why[row] == "" && rec.Column(i).IsNull(row) {
				why[row] = "the key column " + schema.Quote(key) + " is NULL"
			}
		}
	}
	return why
}

// keyed sets the records aside whose rows have no key, and returns the others and the function that gives
// the row of b of each. The caller releases the rows. A record of which SQL makes several rows goes to the
// quarantine once.
func (o *output) keyed(ctx context.Context, b *decode.Batch, rec arrow.RecordBatch, from func(int64) int) (arrow.RecordBatch, func(int64) int, error) {
	why := o.keyless(rec)
	if why == nil {
		rec.Retain()
		return rec, from, nil
	}
	var keep []int64
	last := -1
	for row, reason := range why {
		if reason == "" {
			keep = append(keep, int64(row))
			continue
		}
		at := from(int64(row))
		if at == last {
			continue
		}
		last = at
		x := o.record(b, at)
		x.reason, x.detail = ReasonKey, o.named(reason)
		if err := o.setAside(ctx, o.outcome(b, at), x); err != nil {
			return nil, nil, err
		}
	}
	kept, err := takeRows(ctx, rec, keep)
	return kept, func(row int64) int { return from(keep[row]) }, err
}

// keyedWhole is keyed for rows of SQL over the whole batch, whose records are not known: the rows
// themselves are set aside, as JSON.
func (o *output) keyedWhole(ctx context.Context, rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	why := o.keyless(rec)
	if why == nil {
		rec.Retain()
		return rec, nil
	}
	rows := array.RecordToStructArray(rec)
	defer rows.Release()
	var keep []int64
	for row, reason := range why {
		if reason == "" {
			keep = append(keep, int64(row))
			continue
		}
		text, err := json.Marshal(rows.GetOneForMarshal(row))
		if err != nil {
			return nil, err
		}
		if err := o.quarantine.add(ctx, quarantined{reason: ReasonKey, detail: o.named(reason) + ", in a row of SQL over the whole batch", text: text}); err != nil {
			return nil, err
		}
	}
	return takeRows(ctx, rec, keep)
}

func takeRows(ctx context.Context, rec arrow.RecordBatch, rows []int64) (arrow.RecordBatch, error) {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(rows, nil)
	index := b.NewArray()
	defer index.Release()
	out, err := compute.Take(ctx, compute.TakeOptions{}, compute.NewDatumWithoutOwning(rec), compute.NewDatumWithoutOwning(index))
	if err != nil {
		return nil, fmt.Errorf("rows without a key: %w", err)
	}
	return out.(*compute.RecordDatum).Value, nil
}
