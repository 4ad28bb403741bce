package delta

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/scalar"

	"github.com/siltlake/silt/schema"
)

// Bounds returns, for each of the named columns, an array of two values, below and above which no value
// of the column in the data file lies, or nil when that is not known. Bounds may be wider than the
// values are. Both are null when the column holds only null.
func (s *Snapshot) Bounds(add *Add, columns []string) []arrow.Array {
	var stats struct {
		NumRecords *int64                     `json:"numRecords"`
		MinValues  map[string]json.RawMessage `json:"minValues"`
		MaxValues  map[string]json.RawMessage `json:"maxValues"`
		NullCount  map[string]json.RawMessage `json:"nullCount"`
	}
	if add.Stats != "" && json.Unmarshal([]byte(add.Stats), &stats) != nil {
		stats.MinValues = nil // broken: nothing is known
	}
	keys := map[string]bool{}
	for _, name := range s.metadata.PartitionColumns {
		keys[schema.Fold(name)] = true
	}
	out := make([]arrow.Array, len(columns))
	for i, name := range columns {
		j := s.schema.IndexFold(name)
		if j < 0 {
			continue
		}
		f := s.schema.Fields[j]
		physical, err := physicalName(f, s.columnMapping())
		if err != nil {
			continue
		}
		if keys[schema.Fold(name)] {
			if v, err := parsePartitionValue(f.Type, add.PartitionValues[physical]); err == nil {
				out[i] = pairOf(f.Type, v, v)
			}
			continue
		}
		if count := stats.NullCount[physical]; stats.NumRecords != nil && len(count) > 0 && string(count) == fmt.Sprint(*stats.NumRecords) {
			out[i] = pairOf(f.Type, nil, nil)
			continue
		}
		low, ok := parseBound(f.Type, stats.MinValues[physical])
		high, ok2 := parseBound(f.Type, stats.MaxValues[physical])
		if !ok || !ok2 {
			continue
		}
		if ts, is := high.(*scalar.Timestamp); is { // statistics are cut to milliseconds
			ts.Value += 999
		}
		out[i] = pairOf(f.Type, low, high)
	}
	return out
}

// parseBound reads a value as it stands in statistics. Fractions are left out: readers do not agree on
// NaN and on the sign of zero.
func parseBound(t schema.Type, text json.RawMessage) (scalar.Scalar, bool) {
	if text = bytes.TrimSpace(text); len(text) == 0 || string(text) == "null" || t == schema.Float || t == schema.Double || t == schema.Binary || t == schema.Boolean {
		return nil, false
	}
	value := string(text)
	if text[0] == '"' && json.Unmarshal(text, &value) != nil {
		return nil, false
	}
	v, err := parseScalar(t, value)
	return v, err == nil && v != nil
}

func pairOf(t schema.Type, low, high scalar.Scalar) arrow.Array {
	if low == nil || high == nil {
		return nulls(memory.DefaultAllocator, schema.ArrowType(t), 2)
	}
	var parts []arrow.Array
	for _, v := range []scalar.Scalar{low, high} {
		a, err := repeatScalar(memory.DefaultAllocator, v, 1)
		if err != nil {
			return nil
		}
		defer a.Release()
		parts = append(parts, a)
	}
	pair, err := array.Concatenate(parts, memory.DefaultAllocator)
	if err != nil {
		return nil
	}
	return pair
}

// Shaper makes records of one schema of those of others: columns are matched by name, at any depth and
// without case, cast as a [DataWriter] does, and null where they are missing. It belongs to one
// goroutine.
type Shaper struct {
	cols   []*column
	out    *arrow.Schema
	source *arrow.Schema // of the last record, and how to reshape it
	shapes []*reshaper
	pos    []int
}

// NewShaper returns the shaper to a schema, whose physical names do not count.
func NewShaper(to *schema.Struct) (*Shaper, error) {
	cols, err := readColumns(to, "")
	if err != nil {
		return nil, err
	}
	return &Shaper{cols: cols, out: arrow.NewSchema(outFields(cols), nil)}, nil
}

// Schema is that of the records.
func (s *Shaper) Schema() *arrow.Schema { return s.out }

// Shape returns the rows of rec, which the caller releases. Columns that the schema lacks are left out.
func (s *Shaper) Shape(ctx context.Context, rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	var err error
	if s.source == nil || !s.source.Equal(rec.Schema()) {
		if s.shapes, s.pos, err = newReshapers(s.cols, rec.Schema().Fields(), matching{}); err != nil {
			return nil, err
		}
		s.source = rec.Schema()
	}
	arrays := make([]arrow.Array, len(s.cols))
	defer func() {
		for _, a := range arrays {
			if a != nil {
				a.Release()
			}
		}
	}()
	for i, c := range s.cols {
		if s.shapes[i] == nil {
			arrays[i] = nulls(memory.DefaultAllocator, c.out.Type, int(rec.NumRows()))
		} else if arrays[i], err = s.shapes[i].apply(ctx, memory.DefaultAllocator, rec.Column(s.pos[i])); err != nil {
			return nil, err
		}
	}
	return array.NewRecordBatch(s.out, arrays, rec.NumRows()), nil
}
