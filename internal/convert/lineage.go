package convert

import (
	"path"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// LineageColumns are the columns that say where a row comes from.
var LineageColumns = schema.NewStruct(
	schema.Nullable("ingestion_timestamp", schema.Timestamp), // when the batch was planned
	schema.Nullable("source_file", schema.String),            // URI
	schema.Nullable("processing_date", schema.Date),          // the day of ingestion_timestamp, in the pipeline's zone
	schema.Nullable("batch_id", schema.Long),
)

// MetadataColumn describes the file of a row. Source: Databricks, "File metadata column".
var MetadataColumn = schema.Nullable("_metadata", schema.NewStruct(
	schema.Nullable("file_path", schema.String),
	schema.Nullable("file_name", schema.String),
	schema.Nullable("file_size", schema.Long),
	schema.Nullable("file_block_start", schema.Long),
	schema.Nullable("file_block_length", schema.Long),
	schema.Nullable("file_modification_time", schema.Timestamp),
))

// Source is the schema of the rows that a task reads, as a target sees them: the columns of the data, which
// may be flattened, the rescued data, lineage, and _metadata if the target asks for it.
func (t *Task) Source(to *Target) *schema.Struct { return to.flattened(t, t.source(to.Metadata)) }

// metadata reports whether a target asks for _metadata.
func (t *Task) metadata() bool {
	return slices.ContainsFunc(t.Targets, func(to Target) bool { return to.Metadata })
}

// Read is the schema of the rows that a task reads, with all that a target asks for.
func (t *Task) Read() *schema.Struct { return t.source(t.metadata()) }

func (t *Task) source(metadata bool) *schema.Struct {
	s := t.Decode.Schema
	if t.Decode.Rescue != "" {
		s = s.Append(schema.Nullable(t.Decode.Rescue, schema.String))
	}
	for _, name := range t.Lineage {
		s = s.Append(LineageColumns.Fields[LineageColumns.Index(name)])
	}
	if metadata {
		s = s.Append(MetadataColumn)
	}
	return s
}

// withLineage returns the rows of b with the columns behind the data. It takes over b's record.
func (r *run) withLineage(b *decode.Batch) arrow.RecordBatch {
	t, metadata := r.task, r.task.metadata()
	if len(t.Lineage) == 0 && !metadata {
		return b.Record
	}
	rec := b.Record
	defer rec.Release()
	columns := rec.Columns()[:rec.NumCols():rec.NumCols()]
	fields := rec.Schema().Fields()
	add := func(f schema.Field, fill func(array.Builder, *run, []decode.Run)) {
		field := schema.NewStruct(f).Arrow().Field(0)
		builder := array.NewBuilder(memory.DefaultAllocator, field.Type)
		defer builder.Release()
		builder.Reserve(int(rec.NumRows()))
		fill(builder, r, b.Runs)
		columns, fields = append(columns, builder.NewArray()), append(fields, field)
	}
	for _, name := range t.Lineage {
		add(LineageColumns.Fields[LineageColumns.Index(name)], lineageValues[name])
	}
	if metadata {
		add(MetadataColumn, metadataValue)
	}
	out := array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, rec.NumRows())
	for _, c := range columns[rec.NumCols():] {
		c.Release()
	}
	return out
}

// lineageValues append the values of the rows in runs, for which there is room.
var lineageValues = map[string]func(array.Builder, *run, []decode.Run){
	"ingestion_timestamp": func(b array.Builder, r *run, runs []decode.Run) {
		t, now := b.(*array.TimestampBuilder), arrow.Timestamp(r.task.Time.UnixMicro())
		for range rowsOf(runs) {
			t.UnsafeAppend(now)
		}
	},
	"source_file": func(b array.Builder, r *run, runs []decode.Run) {
		s, size := b.(*array.StringBuilder).BinaryBuilder, 0
		for _, files := range runs {
			size += len(r.uri(files)) * files.Rows
		}
		s.ReserveData(size)
		for _, files := range runs {
			uri := []byte(r.uri(files))
			for range files.Rows {
				s.Append(uri)
			}
		}
	},
	"processing_date": func(b array.Builder, r *run, runs []decode.Run) {
		d, today := b.(*array.Date32Builder), arrow.Date32FromTime(r.task.Time.In(r.task.zone()))
		for range rowsOf(runs) {
			d.UnsafeAppend(today)
		}
	},
	"batch_id": func(b array.Builder, r *run, runs []decode.Run) {
		for range rowsOf(runs) {
			b.(*array.Int64Builder).UnsafeAppend(r.task.Batch)
		}
	},
}

func rowsOf(runs []decode.Run) (n int) {
	for _, files := range runs {
		n += files.Rows
	}
	return n
}

// uri is that of the file of rows.
func (r *run) uri(files decode.Run) string { return r.reader.Reports()[files.File].URI }

// zone is that of the option timeZone; the decoder has checked it.
func (t *Task) zone() *time.Location {
	if loc, err := time.LoadLocation(t.Decode.TimeZone); err == nil {
		return loc
	}
	return time.UTC
}

// metadataValue is like lineageValues, for what is known of the files.
func metadataValue(b array.Builder, r *run, runs []decode.Run) {
	s := b.(*array.StructBuilder)
	for _, files := range runs {
		o, uri := r.task.Files[r.files[files.File]], r.uri(files)
		for range files.Rows {
			s.Append(true)
			s.FieldBuilder(0).(*array.StringBuilder).Append(uri)
			s.FieldBuilder(1).(*array.StringBuilder).Append(path.Base(uri))
			s.FieldBuilder(2).(*array.Int64Builder).Append(o.Size)
			s.FieldBuilder(3).(*array.Int64Builder).Append(0)
			s.FieldBuilder(4).(*array.Int64Builder).Append(o.Size)
			s.FieldBuilder(5).(*array.TimestampBuilder).Append(arrow.Timestamp(o.ModTime.UnixMicro()))
		}
	}
}
