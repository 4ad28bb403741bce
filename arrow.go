package silt

import (
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// appendValue adds a value of a Go type to a column of the Arrow type that holds it; nil is NULL.
func appendValue(b array.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.AppendNull()
	case string:
		b.(*array.StringBuilder).Append(v)
	case int64:
		b.(*array.Int64Builder).Append(v)
	case float64:
		b.(*array.Float64Builder).Append(v)
	case bool:
		b.(*array.BooleanBuilder).Append(v)
	case time.Time:
		b.(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMicro()))
	default:
		panic(fmt.Sprintf("no column for %T", v))
	}
}

// row reads one row of a record by the names of its columns. What is NULL or absent is zero.
type row struct {
	rec arrow.RecordBatch
	n   int
}

func (r row) column(name string) arrow.Array {
	indices := r.rec.Schema().FieldIndices(name)
	if len(indices) == 0 || r.rec.Column(indices[0]).IsNull(r.n) {
		return nil
	}
	return r.rec.Column(indices[0])
}

func (r row) text(name string) string {
	if c, ok := r.column(name).(*array.String); ok {
		return c.Value(r.n)
	}
	return ""
}

func (r row) bytes(name string) []byte {
	if c, ok := r.column(name).(*array.Binary); ok {
		return c.Value(r.n)
	}
	return nil
}

func (r row) texts(name string) (out []string) {
	list, ok := r.column(name).(*array.List)
	if !ok {
		return nil
	}
	if values, ok := list.ListValues().(*array.String); ok {
		from, to := list.ValueOffsets(r.n)
		for i := from; i < to; i++ {
			out = append(out, values.Value(int(i)))
		}
	}
	return out
}

func (r row) long(name string) int64 {
	if c, ok := r.column(name).(*array.Int64); ok {
		return c.Value(r.n)
	}
	return 0
}

func (r row) truth(name string) bool {
	c, ok := r.column(name).(*array.Boolean)
	return ok && c.Value(r.n)
}

func (r row) time(name string) time.Time {
	if c, ok := r.column(name).(*array.Timestamp); ok {
		return c.Value(r.n).ToTime(arrow.Microsecond)
	}
	return time.Time{}
}

// quarantinedRecord reads a row of a quarantine table.
func quarantinedRecord(rec arrow.RecordBatch, n int) QuarantinedRecord {
	r := row{rec, n}
	q := QuarantinedRecord{
		ID: r.text("id"), Time: r.time("quarantined_at"), Batch: r.long("batch_id"), File: r.text("source_file"),
		Line: r.long("line"), Offset: r.long("offset"), Length: r.long("length"), Cut: r.truth("cut"),
		Reason: r.text("reason"), Detail: r.text("detail"), ErrorAt: r.long("error_at"),
		Rules: r.texts("rules"),
	}
	if q.Record = append(q.Record, r.bytes("record_bytes")...); q.Record == nil {
		q.Record = []byte(r.text("record"))
	}
	return q
}
