package delta_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// drawType draws a column type of at most the given depth.
func drawType(t *rapid.T, depth int) schema.Type {
	kinds := 5
	if depth > 0 {
		kinds = 8
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return schema.Long
	case 1:
		return schema.String
	case 2:
		return schema.Boolean
	case 3:
		return schema.Double
	case 4:
		return schema.Decimal{Precision: 20, Scale: 0}
	case 5:
		return &schema.Array{Element: drawType(t, depth-1), ContainsNull: true}
	case 6:
		return &schema.Map{Key: schema.String, Value: drawType(t, depth-1), ValueContainsNull: true}
	}
	return drawStruct(t, depth-1)
}

func drawStruct(t *rapid.T, depth int) *schema.Struct {
	s := &schema.Struct{}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 3, rapid.ID).Draw(t, "names") {
		s.Fields = append(s.Fields, schema.Nullable(name, drawType(t, depth)))
	}
	return s
}

// drawValue draws the JSON of a value, as Arrow's JSON has it.
func drawValue(t *rapid.T, typ schema.Type) any {
	if rapid.IntRange(0, 4).Draw(t, "null") == 0 {
		return nil
	}
	switch typ := typ.(type) {
	case *schema.Struct:
		m := map[string]any{}
		for _, f := range typ.Fields {
			m[f.Name] = drawValue(t, f.Type)
		}
		return m
	case *schema.Array:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			list = append(list, drawValue(t, typ.Element))
		}
		return list
	case *schema.Map:
		list := []any{}
		for i := range rapid.IntRange(0, 3).Draw(t, "entries") {
			list = append(list, map[string]any{"key": fmt.Sprint("k", i), "value": drawValue(t, typ.Value)})
		}
		return list
	case schema.Decimal:
		return fmt.Sprint(rapid.Int64().Draw(t, "decimal"))
	}
	switch typ {
	case schema.Long:
		return rapid.Int64().Draw(t, "long")
	case schema.String:
		return rapid.SampledFrom([]string{"", "x", "é", "a longer text"}).Draw(t, "text")
	case schema.Boolean:
		return rapid.Bool().Draw(t, "bool")
	}
	return float64(rapid.IntRange(-8, 8).Draw(t, "double")) / 4
}

// widened returns the JSON of a value of one type as a value of a later type that has more fields.
func widened(v any, from, to schema.Type) any {
	if v == nil {
		return nil
	}
	switch to := to.(type) {
	case *schema.Struct:
		in, was := v.(map[string]any), from.(*schema.Struct)
		out := map[string]any{}
		for _, f := range to.Fields {
			out[f.Name] = nil
			if i := was.Index(f.Name); i >= 0 {
				out[f.Name] = widened(in[f.Name], was.Fields[i].Type, f.Type)
			}
		}
		return out
	case *schema.Array:
		out := []any{}
		for _, e := range v.([]any) {
			out = append(out, widened(e, from.(*schema.Array).Element, to.Element))
		}
		return out
	case *schema.Map:
		out := []any{}
		for _, e := range v.([]any) {
			m := e.(map[string]any)
			out = append(out, map[string]any{"key": m["key"], "value": widened(m["value"], from.(*schema.Map).Value, to.Value)})
		}
		return out
	}
	return v
}

type modelRow struct {
	schema *schema.Struct
	value  map[string]any
}

// TestAnyHistory appends rows of any schemas, in any slices and partitions, and compares with a model.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := new(objstore.Mem)
		var table *schema.Struct
		var model []modelRow
		partitioned := rapid.Bool().Draw(rt, "partitioned")
		for batch := range rapid.IntRange(1, 4).Draw(rt, "batches") {
			s := drawStruct(rt, 3)
			s.Fields = append(s.Fields, schema.Nullable("p", schema.String))
			var tx *delta.Transaction
			var err error
			if batch == 0 {
				o := delta.TableOptions{Schema: s}
				if partitioned {
					o.PartitionBy = []string{"p"}
				}
				tx, err = delta.NewTable(store, o)
			} else {
				tx = load(t, store).Begin("WRITE")
				err = tx.SetSchema(s)
				if err == nil && !sameScalars(s, tx.Schema()) {
					continue // other types for one name
				}
			}
			if err != nil {
				continue
			}
			var texts []string
			for range rapid.IntRange(1, 6).Draw(rt, "rows") {
				v := map[string]any{}
				for _, f := range s.Fields {
					v[f.Name] = drawValue(rt, f.Type)
				}
				v["p"] = rapid.SampledFrom([]any{"x", "y", nil}).Draw(rt, "p")
				model = append(model, modelRow{s, v})
				text, _ := json.Marshal(v)
				texts = append(texts, string(text))
			}
			rec := record(t, s, texts...)
			w, err := delta.NewDataWriter(t.Context(), store, tx.WriteContext(), delta.DataWriterOptions{})
			if err != nil {
				rt.Fatal(err)
			}
			for from := int64(0); from < rec.NumRows(); {
				to := min(rec.NumRows(), from+rapid.Int64Range(1, 6).Draw(rt, "slice"))
				slice := rec.NewSlice(from, to)
				if err := w.Write(t.Context(), slice); err != nil {
					rt.Fatal(err)
				}
				slice.Release()
				from = to
			}
			adds, err := w.Close(t.Context())
			if err != nil {
				rt.Fatal(err)
			}
			tx.Add(adds...)
			table = commit(t, tx).Schema()
			if rapid.Bool().Draw(rt, "checkpoint") {
				if err := load(t, store).WriteCheckpoint(t.Context()); err != nil {
					rt.Fatal(err)
				}
			}
		}
		var want []string
		for _, r := range model {
			text, _ := json.Marshal(widened(r.value, r.schema, table))
			want = append(want, canonical(t, string(text)))
		}
		got := canonicals(t, rows(t, load(t, store)))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			rt.Fatalf("schema %s\ngot\n%s\nwant\n%s", table, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// sameScalars reports whether each field of a has the same type in b, as far as it is a scalar.
func sameScalars(a, b schema.Type) bool {
	switch a := a.(type) {
	case *schema.Struct:
		b, ok := b.(*schema.Struct)
		if !ok {
			return false
		}
		for _, f := range a.Fields {
			if i := b.Index(f.Name); i < 0 || !sameScalars(f.Type, b.Fields[i].Type) {
				return false
			}
		}
		return true
	case *schema.Array:
		b, ok := b.(*schema.Array)
		return ok && sameScalars(a.Element, b.Element)
	case *schema.Map:
		b, ok := b.(*schema.Map)
		return ok && sameScalars(a.Value, b.Value)
	}
	return a == b
}
