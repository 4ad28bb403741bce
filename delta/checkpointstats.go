package delta

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/scalar"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/siltlake/silt/schema"
)

// parsedColumns are those of a checkpoint's adds that have the partition values and the statistics once
// more, as values instead of text. Source: protocol, "Checkpoint Schema".
type parsedColumns struct {
	json       bool           // whether statistics are written as text, too
	partitions *schema.Struct // physical names; nil without
	values     *schema.Struct // of the columns that have bounds
	nulls      *schema.Struct // of those that have a count of nulls
}

// parsedColumns returns the columns that the table's properties ask for; nil is none.
func (s *Snapshot) parsedColumns() (*parsedColumns, error) {
	p := &parsedColumns{json: !strings.EqualFold(s.metadata.Configuration[propStatsAsJSON], "false")}
	if !s.metadata.isTrue(propStatsAsStruct) {
		if p.json {
			return nil, nil
		}
		return p, nil
	}
	which, err := s.metadata.statsColumns()
	if err != nil {
		return nil, err
	}
	if which.Always, err = s.clusteringPaths(); err != nil {
		return nil, err
	}
	left := which.Leaves
	if left < 0 {
		left = int(^uint(0) >> 1)
	}
	var data, keys schema.Struct
	for _, f := range s.schema.Fields {
		if isPartitionColumn(s.metadata, f.Name) {
			if f.Name, err = physicalName(f, s.columnMapping()); err != nil {
				return nil, err
			}
			keys.Fields = append(keys.Fields, schema.Nullable(f.Name, f.Type))
			continue
		}
		data.Fields = append(data.Fields, f)
	}
	if len(keys.Fields) > 0 {
		p.partitions = &keys
	}
	p.values, p.nulls, err = s.statsStructs(nil, &data, which, &left)
	return p, err
}

func isPartitionColumn(m *Metadata, name string) bool {
	for _, c := range m.PartitionColumns {
		if schema.Fold(c) == schema.Fold(name) {
			return true
		}
	}
	return false
}

// statsStructs returns the columns below t that have bounds, and those that have a count of nulls, under
// their physical names; nil where there is none.
func (s *Snapshot) statsStructs(path []string, t *schema.Struct, which StatsColumns, left *int) (values, nulls *schema.Struct, err error) {
	values, nulls = &schema.Struct{}, &schema.Struct{}
	for _, f := range t.Fields {
		at := append(path[:len(path):len(path)], f.Name)
		name, err := physicalName(f, s.columnMapping())
		if err != nil {
			return nil, nil, err
		}
		if st, ok := f.Type.(*schema.Struct); ok {
			v, n, err := s.statsStructs(at, st, which, left)
			if err != nil {
				return nil, nil, err
			}
			if v != nil {
				values.Fields = append(values.Fields, schema.Nullable(name, v))
			}
			if n != nil {
				nulls.Fields = append(nulls.Fields, schema.Nullable(name, n))
			}
			continue
		}
		if f.Type == schema.Void || !which.covers(at, left) {
			continue
		}
		nulls.Fields = append(nulls.Fields, schema.Nullable(name, schema.Long))
		if newBounds(f.Type, which.PrefixLength) != nil {
			values.Fields = append(values.Fields, schema.Nullable(name, f.Type))
		}
	}
	if len(values.Fields) == 0 {
		values = nil
	}
	if len(nulls.Fields) == 0 {
		nulls = nil
	}
	return values, nulls, nil
}

// fields returns the columns that come behind those that every add has.
func (p *parsedColumns) fields() (out []schema.Field) {
	if p.partitions != nil {
		out = append(out, schema.Nullable("partitionValues_parsed", p.partitions))
	}
	if st := p.stats(); st != nil {
		out = append(out, schema.Nullable("stats_parsed", st))
	}
	return out
}

func (p *parsedColumns) stats() *schema.Struct {
	if p.nulls == nil {
		return nil
	}
	st := schema.NewStruct(schema.Nullable("numRecords", schema.Long), schema.Nullable("tightBounds", schema.Boolean))
	if p.values != nil {
		st.Fields = append(st.Fields, schema.Nullable("minValues", p.values), schema.Nullable("maxValues", p.values))
	}
	st.Fields = append(st.Fields, schema.Nullable("nullCount", p.nulls))
	return st
}

// statsField is the place of the statistics as text among the fields of an add.
var statsField = addColumn.Index("stats")

// row returns the add's row with the parsed columns. What cannot be parsed is null, as what is not known.
func (p *parsedColumns) row(a *Add, row []any) []any {
	if !p.json {
		row[statsField] = nil
	}
	if p.partitions != nil {
		var keys []any
		for _, f := range p.partitions.Fields {
			v, err := parsePartitionValue(f.Type, a.value(f.Name))
			if err != nil {
				v = nil
			}
			keys = append(keys, v)
		}
		row = append(row, keys)
	}
	if st := p.stats(); st != nil {
		var raw map[string]json.RawMessage
		if a.Stats == "" || json.Unmarshal([]byte(a.Stats), &raw) != nil {
			return append(row, nil)
		}
		row = append(row, statsRow(st, raw))
	}
	return row
}

func statsRow(t *schema.Struct, raw map[string]json.RawMessage) []any {
	out := make([]any, len(t.Fields))
	for i, f := range t.Fields {
		text, ok := raw[f.Name]
		if !ok || string(text) == "null" {
			continue
		}
		if st, ok := f.Type.(*schema.Struct); ok {
			var kids map[string]json.RawMessage
			if json.Unmarshal(text, &kids) == nil {
				out[i] = statsRow(st, kids)
			}
			continue
		}
		if v := statsValue(f.Type, text); v != nil {
			out[i] = v
		}
	}
	return out
}

// statsValue returns a bound or a count as a value, nil when it is none of the type.
func statsValue(t schema.Type, raw json.RawMessage) scalar.Scalar {
	text := string(raw)
	if raw[0] == '"' && json.Unmarshal(raw, &text) != nil {
		return nil
	}
	v, err := parseScalar(t, text)
	if err != nil {
		return nil
	}
	return v
}

// withParsedStats returns the columns, with the parsed statistics of adds in a file that does not have
// them as text. Where their types are not known, the adds have no statistics.
func (f *parquetFile) withParsedStats(columns *schema.Struct) (out *schema.Struct) {
	defer func() {
		if recover() != nil { // a footer that makes no sense; reading the file will say so
			out = columns
		}
	}()
	i := columns.Index("add")
	meta := f.reader.MetaData().Schema
	if i < 0 || meta.ColumnIndexByName("add.stats_parsed.numRecords") < 0 || f.hasText(meta.ColumnIndexByName("add.stats")) {
		return columns
	}
	fr, err := pqarrow.NewFileReader(f.reader, pqarrow.ArrowReadProperties{}, f.mem)
	if err != nil {
		return columns
	}
	for _, field := range fr.Manifest.Fields {
		if field.Field.Name != "add" {
			continue
		}
		keepInt96(&field, meta)
		for _, kid := range field.Children {
			if kid.Field.Name != "stats_parsed" {
				continue
			}
			t, err := schema.FromArrowType(plainTimes(kid.Field.Type))
			if err != nil {
				return columns
			}
			out := schema.NewStruct(slices.Clone(columns.Fields)...)
			out.Fields[i].Type = schema.NewStruct(append(addColumn.Fields[:len(addColumn.Fields):len(addColumn.Fields)], schema.Nullable("stats_parsed", t))...)
			return out
		}
	}
	return columns
}

// hasText reports whether the column may have a value.
func (f *parquetFile) hasText(leaf int) bool {
	if leaf < 0 {
		return false
	}
	return slices.ContainsFunc(f.groups, func(g int) bool { return !f.isNull(g, leaf) })
}

// plainTimes returns the type with timestamps of twelve bytes as others, which they are read as.
func plainTimes(t arrow.DataType) arrow.DataType {
	switch t := t.(type) {
	case *arrow.TimestampType:
		if t == int96 {
			return arrow.FixedWidthTypes.Timestamp_us
		}
	case *arrow.StructType:
		fields := t.Fields()
		for i := range fields {
			fields[i].Type = plainTimes(fields[i].Type)
		}
		return arrow.StructOf(fields...)
	}
	return t
}

// statsText returns parsed statistics as text; empty when there are none.
func statsText(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return ""
	}
	var b bytes.Buffer
	writeStatsText(&b, a, i)
	return b.String()
}

func writeStatsText(b *bytes.Buffer, a arrow.Array, i int) {
	switch a := a.(type) {
	case *array.Struct:
		b.WriteByte('{')
		first := true
		for k := range a.NumField() {
			if a.Field(k).IsNull(i) {
				continue
			}
			if !first {
				b.WriteByte(',')
			}
			first = false
			b.Write(quoteJSON(a.DataType().(*arrow.StructType).Field(k).Name))
			b.WriteByte(':')
			writeStatsText(b, a.Field(k), i)
		}
		b.WriteByte('}')
	case *array.Boolean:
		b.WriteString(strconv.FormatBool(a.Value(i)))
	case *array.Int8:
		b.WriteString(strconv.FormatInt(int64(a.Value(i)), 10))
	case *array.Int16:
		b.WriteString(strconv.FormatInt(int64(a.Value(i)), 10))
	case *array.Int32:
		b.WriteString(strconv.FormatInt(int64(a.Value(i)), 10))
	case *array.Int64:
		b.WriteString(strconv.FormatInt(a.Value(i), 10))
	case *array.Float32:
		b.Write(statsFloat(float64(a.Value(i)), 32))
	case *array.Float64:
		b.Write(statsFloat(a.Value(i), 64))
	case *array.Decimal128:
		b.Write(decimalText(a.Value(i), a.DataType().(*arrow.Decimal128Type).Scale))
	case *array.String:
		b.Write(quoteJSON(a.Value(i)))
	case *array.Date32:
		b.Write(orNullJSON(dateText(int64(a.Value(i)), false)))
	case *array.Timestamp:
		layout := "2006-01-02T15:04:05.000000"
		if a.DataType().(*arrow.TimestampType).TimeZone != "" {
			layout += "Z"
		}
		b.Write(orNullJSON(timeText(time.UnixMicro(int64(a.Value(i))).UTC(), layout)))
	default:
		b.WriteString("null")
	}
}

func statsFloat(v float64, bits int) []byte {
	if math.IsNaN(v) {
		return []byte(`"NaN"`)
	}
	return (&floatBounds[float64]{bits: bits}).json(v)
}

func orNullJSON(text []byte) []byte {
	if text == nil {
		return []byte("null")
	}
	return text
}
