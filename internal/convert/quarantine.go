package convert

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

// QuarantineColumns are those of a quarantine table.
var QuarantineColumns = schema.NewStruct(
	schema.Nullable("id", schema.String), // of the record: the same however often it is read
	schema.Nullable("quarantined_at", schema.Timestamp),
	schema.Nullable("batch_id", schema.Long),
	schema.Nullable("source_file", schema.String), // URI
	schema.Nullable("line", schema.Long),          // from 1
	schema.Nullable("offset", schema.Long),        // bytes into the decompressed file
	schema.Nullable("length", schema.Long),        // bytes of the record in the file
	schema.Nullable("reason", schema.String),      // one of the reasons below
	schema.Nullable("detail", schema.String),
	schema.Nullable("error_at", schema.Long),                                            // bytes into the record
	schema.Nullable("cut", schema.Boolean),                                              // the record is longer than what is kept
	schema.Nullable("record", schema.String),                                            // the text; NULL when it is not UTF-8
	schema.Nullable("record_bytes", schema.Binary),                                      // the bytes, when they are not UTF-8
	schema.Nullable("rules", &schema.Array{Element: schema.String, ContainsNull: true}), // that rows of the record break; NULL when none
)

// The reasons in a quarantine table.
const (
	ReasonNotJSON   = "not JSON"
	ReasonTransform = "transform"
	ReasonKey       = "key"     // a row without a value in a key column
	ReasonFile      = "file"    // the file could not be read after many tries; there is no record
	ReasonRescued   = "rescued" // a copy: the record is loaded, and SQL over the whole batch has no place for its rescued data
	// A row breaks rules: those of the pipeline, or those of the table.
	ReasonExpectation = "expectation"
	ReasonConstraint  = "constraint"
)

// maxQuarantineRows and maxQuarantineBytes bound the rows that are held before they are written, and
// their texts.
const maxQuarantineRows, maxQuarantineBytes = 4096, 8 << 20

// quarantine collects the rows of the quarantine table. Its data file is begun by the first of them.
type quarantine struct {
	run    *run
	b      *array.RecordBuilder
	bytes  int
	writer *delta.DataWriter
	rows   int64
}

func newQuarantine(r *run) *quarantine {
	return &quarantine{run: r, b: array.NewRecordBuilder(memory.DefaultAllocator, QuarantineColumns.Arrow())}
}

// quarantined is one row.
type quarantined struct {
	decode.Position
	length         int64
	reason, detail string
	at             int64
	cut            bool
	rules          []string
	text           []byte
}

func (q *quarantine) add(ctx context.Context, x quarantined) error {
	if q.rows++; q.run.judging {
		return nil
	}
	t, text := q.run.task, x.text
	isLong := len(text) >= maxQuarantineBytes
	if isLong {
		if err := q.flush(ctx); err != nil {
			return err
		}
		text = nil
	}
	sum := crc32.ChecksumIEEE([]byte(x.File))
	if x.Line == 0 { // it has no place
		sum = crc32.Update(sum, crc32.IEEETable, x.text)
	}
	id := fmt.Sprintf("%d-%08x-%d", t.Batch, sum, x.Offset)
	fields := q.b.Fields()
	fields[0].(*array.StringBuilder).Append(id)
	fields[1].(*array.TimestampBuilder).Append(arrow.Timestamp(t.Time.UnixMicro()))
	for i, n := range map[int]int64{2: t.Batch, 4: x.Line, 5: x.Offset, 6: x.length, 9: x.at} {
		fields[i].(*array.Int64Builder).Append(n)
	}
	fields[3].(*array.StringBuilder).Append(x.File)
	fields[7].(*array.StringBuilder).Append(x.reason)
	fields[8].(*array.StringBuilder).Append(x.detail)
	fields[10].(*array.BooleanBuilder).Append(x.cut)
	column := 11
	if utf8.Valid(x.text) {
		fields[11].(*array.StringBuilder).Append(string(text))
		fields[12].AppendNull()
	} else {
		column = 12
		fields[11].AppendNull()
		fields[12].(*array.BinaryBuilder).Append(text)
	}
	rules := fields[13].(*array.ListBuilder)
	if rules.Append(x.rules != nil); x.rules != nil {
		rules.ValueBuilder().(*array.StringBuilder).AppendValues(x.rules, nil)
	}
	q.bytes += len(text)
	if isLong {
		return q.flushLong(ctx, column, x.text)
	}
	if fields[0].Len() >= maxQuarantineRows || q.bytes >= maxQuarantineBytes {
		return q.flush(ctx)
	}
	return nil
}

// flush writes the rows that are held.
func (q *quarantine) flush(ctx context.Context) error {
	rec := q.b.NewRecordBatch()
	q.bytes = 0
	defer rec.Release()
	return q.write(ctx, rec)
}

// flushLong is flush for one row whose text has not been copied into it.
func (q *quarantine) flushLong(ctx context.Context, column int, text []byte) error {
	rec := q.b.NewRecordBatch()
	defer rec.Release()
	columns := slices.Clone(rec.Columns())
	offsets := arrow.Int32Traits.CastToBytes([]int32{0, int32(len(text))})
	data := array.NewData(columns[column].DataType(), 1, []*memory.Buffer{nil, memory.NewBufferBytes(offsets), memory.NewBufferBytes(text)}, nil, 0, 0)
	columns[column] = array.MakeFromData(data)
	long := array.NewRecordBatch(rec.Schema(), columns, 1)
	defer long.Release()
	return q.write(ctx, long)
}

func (q *quarantine) write(ctx context.Context, rec arrow.RecordBatch) error {
	if rec.NumRows() == 0 {
		return nil
	}
	if q.writer == nil {
		w, err := q.run.writer(ctx, q.run.stores.Quarantine, q.run.task.Quarantine, "")
		if err != nil {
			return err
		}
		q.writer = w
	}
	return q.writer.Write(ctx, rec)
}

func (q *quarantine) close(ctx context.Context) ([]*delta.Add, error) {
	defer q.b.Release()
	if err := q.flush(ctx); err != nil || q.writer == nil {
		return nil, err
	}
	w := q.writer
	q.writer = nil
	return w.Close(ctx)
}

func (q *quarantine) abort(ctx context.Context) {
	if q.writer != nil {
		q.writer.Abort(ctx)
	}
}

// bad sets the bad records of a batch aside.
func (r *run) bad(ctx context.Context, b *decode.Batch) error {
	for _, rec := range b.Bad {
		x := quarantined{Position: rec.Position, length: rec.Length, reason: ReasonNotJSON, detail: rec.Reason.String(),
			at: rec.At, cut: rec.Cut, text: rec.Text}
		if err := r.setAside(ctx, r.fileOf(rec.File), x); err != nil {
			return err
		}
	}
	return nil
}

// failed notes the rows on which the SQL failed.
func (o *output) failed(rows []duck.FailedRow) {
	for _, row := range rows {
		o.apart.note(row.Row, unfit, []reason{{ReasonTransform, "", o.named(row.Err.Error())}})
	}
}

// record is the record of a row.
func (r *run) record(b *decode.Batch, row int) quarantined {
	return quarantined{Position: r.position(b, row), length: int64(b.Places[row].Length), text: b.Text(row)}
}

// position is where the record of a row stands.
func (r *run) position(b *decode.Batch, row int) decode.Position {
	at := decode.Position{Line: b.Places[row].Line, Offset: b.Places[row].Offset}
	for _, files := range b.Runs {
		if row -= files.Rows; row < 0 {
			at.File = r.uri(files)
			break
		}
	}
	return at
}

// rescued copies the records of a batch that have rescued data, but for those that are used.
func (r *run) rescued(ctx context.Context, b *decode.Batch, used *usage) error {
	column := b.Record.Column(len(r.task.Decode.Schema.Fields)).(*array.String)
	for row := range column.Len() {
		if column.IsNull(row) || used.has(row) {
			continue
		}
		x := r.record(b, row)
		x.reason, x.detail = ReasonRescued, "what does not fit a column: "+column.Value(row)
		if err := r.quarantine.add(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// setAside takes a record out of those that are loaded, as OnCorrupt says.
func (r *run) setAside(ctx context.Context, f *FileOutcome, x quarantined) error {
	switch r.task.OnCorrupt {
	case DropCorrupt:
		f.Dropped++
		return nil
	case FailOnCorrupt:
		return &CorruptError{x.Position, x.detail, x.text, r.task.FailFast}
	}
	f.Bad++
	return r.quarantine.add(ctx, x)
}

// fileOf finds the outcome of a file by its URI.
func (r *run) fileOf(uri string) *FileOutcome {
	for k, report := range r.reader.Reports() {
		if report.URI == uri {
			return &r.result.Files[r.files[k]]
		}
	}
	panic("a record comes from no file")
}

// QuarantineFiles writes a row for each file that is given up, and returns the data files.
func (c *Converter) QuarantineFiles(ctx context.Context, t Task, reasons []error) ([]*delta.Add, error) {
	r := &run{Converter: c, task: &t}
	q := newQuarantine(r)
	for i, o := range t.Files {
		x := quarantined{Position: decode.Position{File: c.stores.URI(o.Key)}, length: o.Size, reason: ReasonFile,
			detail: reasons[i].Error(), cut: true}
		if err := q.add(ctx, x); err != nil {
			q.abort(ctx)
			return nil, err
		}
	}
	return q.close(ctx)
}
