package delta_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"pgregory.net/rapid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// The columns over which predicates are drawn, and their values: the JSON of a value, and what it is to
// the model. Values are few, so that comparisons meet.
type drawnColumn struct {
	path   []string
	typ    schema.Type
	values []drawnValue
}

type drawnValue struct {
	json  string
	model any // bool, int64, float64 or string; times are texts that sort as they do
	value any // as a predicate has it
}

func drawnColumns() []drawnColumn {
	long := strings.Repeat("long", 8)
	text := func(s ...string) (out []drawnValue) {
		for _, v := range s {
			j, _ := json.Marshal(v)
			out = append(out, drawnValue{string(j), v, v})
		}
		return out
	}
	float := func(fs ...float64) (out []drawnValue) {
		for _, f := range fs {
			out = append(out, drawnValue{fmt.Sprint(f), f, f})
		}
		return out
	}
	whole := func(ns ...int64) (out []drawnValue) {
		for _, n := range ns {
			out = append(out, drawnValue{fmt.Sprint(n), n, n})
		}
		return out
	}
	timed := func(layout string, quote string, at ...string) (out []drawnValue) {
		for _, a := range at {
			v, err := time.Parse(time.RFC3339Nano, a)
			if err != nil {
				panic(err)
			}
			out = append(out, drawnValue{quote + v.Format(layout) + quote, v.Format("2006-01-02T15:04:05.000000"), v})
		}
		return out
	}
	return []drawnColumn{
		{[]string{"n"}, schema.Long, whole(-1, 0, 1, 7, math.MaxInt64, math.MinInt64)},
		{[]string{"b"}, schema.Byte, whole(-128, 0, 1, 127)},
		{[]string{"f"}, schema.Double, float(-1.5, math.Copysign(0, -1), 0, 0.1, 2.5, 1e300)},
		{[]string{"r"}, schema.Float, float(-1.5, 0, 2.5, float64(float32(0.7)), float64(float32(0.3)))},
		{[]string{"t"}, schema.String, append(text("", "a", "ab", "b", "é", "😀", long+"a", long+"b", long+"😀x"), text(long)...)},
		{[]string{"ok"}, schema.Boolean, []drawnValue{{"true", int64(1), true}, {"false", int64(0), false}}},
		{[]string{"d"}, schema.Date, timed("2006-01-02", `"`, "2024-01-01T00:00:00Z", "2024-02-29T00:00:00Z", "1969-12-31T00:00:00Z")},
		{[]string{"ts"}, schema.Timestamp, timed("2006-01-02T15:04:05.000000Z", `"`, "2024-01-01T00:00:00.123Z", "2024-01-01T00:00:00.123001Z", "2024-01-01T00:00:00.123999Z", "2024-01-01T00:00:00.124Z", "1969-12-31T23:59:59.999999Z")},
		{[]string{"dec"}, schema.Decimal{Precision: 38, Scale: 2}, []drawnValue{
			{`"1.00"`, 1.0, json.Number("1")}, {`"-2.50"`, -2.5, json.Number("-2.5")}, {`"123456789012345678.01"`, 123456789012345678.01, json.Number("123456789012345678.01")},
		}},
		{[]string{"s", "x"}, schema.Integer, whole(-1, 0, 1, 7)},
		{[]string{"s", "u", "y"}, schema.String, text("p", "q")},
		{[]string{"p"}, schema.String, text("k1", "k2", "k 3%")},
	}
}

// drawnSchema is that of the columns.
func drawnSchema() *schema.Struct {
	return schema.NewStruct(
		schema.Nullable("n", schema.Long), schema.Nullable("b", schema.Byte), schema.Nullable("f", schema.Double), schema.Nullable("r", schema.Float),
		schema.Nullable("t", schema.String), schema.Nullable("ok", schema.Boolean), schema.Nullable("d", schema.Date), schema.Nullable("ts", schema.Timestamp),
		schema.Nullable("dec", schema.Decimal{Precision: 38, Scale: 2}),
		schema.Nullable("s", schema.NewStruct(schema.Nullable("x", schema.Integer), schema.Nullable("u", schema.NewStruct(schema.Nullable("y", schema.String))))),
		schema.Nullable("p", schema.String), schema.Nullable("id", schema.Long))
}

// drawnRow is a row of the model: for each column the index of its value, or -1 for null.
type drawnRow struct {
	id     int
	values []int
}

func drawRow(t *rapid.T, id int, cols []drawnColumn) drawnRow {
	r := drawnRow{id: id}
	for _, c := range cols {
		r.values = append(r.values, rapid.IntRange(-1, len(c.values)-1).Draw(t, c.path[0]))
	}
	return r
}

func (r drawnRow) json(cols []drawnColumn) string {
	tree := map[string]any{"id": r.id}
	for i, c := range cols {
		if r.values[i] < 0 {
			continue
		}
		at := tree
		for _, name := range c.path[:len(c.path)-1] {
			if at[name] == nil {
				at[name] = map[string]any{}
			}
			at = at[name].(map[string]any)
		}
		at[c.path[len(c.path)-1]] = json.RawMessage(c.values[r.values[i]].json)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// tri is a truth value of SQL.
type tri int

const (
	no tri = iota
	unknown
	yes
)

// drawnPredicate is a predicate and its meaning.
type drawnPredicate struct {
	p    delta.Predicate
	test func(drawnRow) tri
}

func drawPredicate(t *rapid.T, cols []drawnColumn, depth int) drawnPredicate {
	kind := rapid.IntRange(0, 6).Draw(t, "predicate")
	if depth == 0 && kind > 3 {
		kind -= 4
	}
	switch kind {
	case 4, 5:
		var parts []drawnPredicate
		var list []delta.Predicate
		for range rapid.IntRange(0, 3).Draw(t, "parts") {
			d := drawPredicate(t, cols, depth-1)
			parts, list = append(parts, d), append(list, d.p)
		}
		if kind == 4 {
			return drawnPredicate{delta.And(list), func(r drawnRow) tri {
				v := yes
				for _, p := range parts {
					v = min(v, p.test(r))
				}
				return v
			}}
		}
		return drawnPredicate{delta.Or(list), func(r drawnRow) tri {
			v := no
			for _, p := range parts {
				v = max(v, p.test(r))
			}
			return v
		}}
	case 6:
		d := drawPredicate(t, cols, depth-1)
		return drawnPredicate{delta.Not{Predicate: d.p}, func(r drawnRow) tri { return yes - d.test(r) }}
	}
	i := rapid.IntRange(0, len(cols)-1).Draw(t, "column")
	c := cols[i]
	truth := func(b bool) tri {
		if b {
			return yes
		}
		return no
	}
	if kind == 3 {
		return drawnPredicate{delta.IsNull{Column: c.path}, func(r drawnRow) tri { return truth(r.values[i] < 0) }}
	}
	if kind == 2 {
		var values []any
		var places []int
		for range rapid.IntRange(0, 3).Draw(t, "values") {
			k := rapid.IntRange(-1, len(c.values)-1).Draw(t, "value")
			places = append(places, k)
			if k < 0 {
				values = append(values, nil)
			} else {
				values = append(values, c.values[k].value)
			}
		}
		return drawnPredicate{delta.In{Column: c.path, Values: values}, func(r drawnRow) tri {
			v := no
			for _, k := range places {
				if k < 0 || r.values[i] < 0 {
					v = max(v, unknown)
				} else {
					v = max(v, truth(compareDrawn(c.values[r.values[i]].model, c.values[k].model) == 0))
				}
			}
			return v
		}}
	}
	k := rapid.IntRange(-1, len(c.values)-1).Draw(t, "value")
	op := delta.Op(rapid.IntRange(0, 5).Draw(t, "op"))
	var value any
	if k >= 0 {
		value = c.values[k].value
	}
	return drawnPredicate{delta.Compare{Column: c.path, Op: op, Value: value}, func(r drawnRow) tri {
		if k < 0 || r.values[i] < 0 {
			return unknown
		}
		o := compareDrawn(c.values[r.values[i]].model, c.values[k].model)
		return truth([]bool{o == 0, o != 0, o < 0, o <= 0, o > 0, o >= 0}[op])
	}}
}

func compareDrawn(a, b any) int {
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case string:
		return cmp.Compare(a, b.(string))
	}
	x, y := a.(float64), b.(float64)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// drawnTable is a table and its model: the rows of each file that are left.
type drawnTable struct {
	store objstore.Store
	snap  *delta.Snapshot
	rows  map[int]drawnRow // by id
}

func drawTable(t *testing.T, rt *rapid.T, cols []drawnColumn) *drawnTable {
	d := &drawnTable{store: new(objstore.Mem), rows: map[int]drawnRow{}}
	o := delta.TableOptions{Schema: drawnSchema(), Properties: map[string]string{}}
	for _, p := range []string{"delta.enableDeletionVectors", "delta.enableChangeDataFeed", "delta.enableRowTracking"} {
		if rapid.Bool().Draw(rt, p) {
			o.Properties[p] = "true"
		}
	}
	if rapid.Bool().Draw(rt, "partitioned") {
		o.PartitionBy = []string{"p"}
	}
	if mode := rapid.SampledFrom([]string{"", "name", "id"}).Draw(rt, "mapping"); mode != "" {
		o.Properties["delta.columnMapping.mode"] = mode
	}
	tx, err := delta.NewTable(d.store, o)
	if err != nil {
		rt.Fatal(err)
	}
	d.snap = commit(t, tx)
	id := 0
	for range rapid.IntRange(1, 4).Draw(rt, "commits") {
		var texts []string
		for range rapid.IntRange(1, 5).Draw(rt, "rows") {
			r := drawRow(rt, id, cols)
			d.rows[id] = r
			texts = append(texts, r.json(cols))
			id++
		}
		tx := d.snap.Begin("WRITE")
		appendRows(t, d.store, tx, record(t, o.Schema, texts...))
		d.snap = commit(t, tx)
	}
	return d
}

// deleteSome deletes rows by deletion vectors.
func (d *drawnTable) deleteSome(t *testing.T, rt *rapid.T) {
	if !d.snap.WritesDeletionVectors() {
		return
	}
	tx := d.snap.Begin("DELETE")
	changed := false
	for add, err := range d.snap.Files(t.Context()) {
		if err != nil {
			rt.Fatal(err)
		}
		gone := roaring64.New()
		for b, err := range d.snap.Scan(delta.ScanOptions{Columns: []string{"id"}}).File(t.Context(), add) {
			if err != nil {
				rt.Fatal(err)
			}
			for i, id := range idsOf(b.RecordBatch) {
				if rapid.IntRange(0, 2).Draw(rt, "delete") == 0 {
					gone.Add(uint64(b.Place(i)))
					delete(d.rows, id)
				}
			}
			b.Release()
		}
		n, err := tx.Delete(t.Context(), add, gone)
		if err != nil || n != int64(gone.GetCardinality()) {
			rt.Fatalf("deleted %d of %d rows: %v", n, gone.GetCardinality(), err)
		}
		changed = changed || n > 0
	}
	if changed {
		d.snap = commit(t, tx)
	}
}

func (d *drawnTable) want(p drawnPredicate) (out []int) {
	for id, r := range d.rows {
		if p.test(r) == yes {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// TestPredicates compares what scans return, and what they may skip, with a model.
func TestPredicates(t *testing.T) {
	cols := drawnColumns()
	rapid.Check(t, func(rt *rapid.T) {
		d := drawTable(t, rt, cols)
		for range rapid.IntRange(0, 2).Draw(rt, "deletes") {
			d.deleteSome(t, rt)
		}
		if rapid.Bool().Draw(rt, "reload") {
			if err := d.snap.WriteCheckpoint(t.Context()); err != nil {
				rt.Fatal(err)
			}
			d.snap = load(t, d.store)
		}
		for range 5 {
			p := drawPredicate(rt, cols, 2)
			got := scanIDs(t, rt, d.snap, delta.ScanOptions{Columns: []string{"id"}, Where: p.p})
			if want := d.want(p); !slices.Equal(got, want) {
				rt.Fatalf("%#v: got rows %v, want %v", p.p, got, want)
			}
			all := scanIDs(t, rt, d.snap, delta.ScanOptions{Where: p.p, SkipOnly: true})
			for _, id := range d.want(p) {
				if !slices.Contains(all, id) {
					rt.Fatalf("%#v: row %d is skipped", p.p, id)
				}
			}
		}
	})
}

func scanIDs(t *testing.T, rt *rapid.T, s *delta.Snapshot, o delta.ScanOptions) (out []int) {
	for rec, err := range s.Scan(o).Batches(t.Context()) {
		if err != nil {
			rt.Fatal(err)
		}
		out = append(out, idsOf(rec)...)
		rec.Release()
	}
	slices.Sort(out)
	return out
}

// TestBounds checks that the bounds of a file hold for all of its rows.
func TestBounds(t *testing.T) {
	cols := drawnColumns()
	var paths [][]string
	for _, c := range cols {
		paths = append(paths, c.path)
	}
	rapid.Check(t, func(rt *rapid.T) {
		d := drawTable(t, rt, cols)
		for _, add := range filesOf(t, d.snap) {
			for i, b := range d.snap.Bounds(add, paths) {
				if b == nil {
					continue
				}
				lo, _ := delta.ValueOf(b, 0)
				hi, _ := delta.ValueOf(b, 1)
				outside := delta.Predicate(delta.Not{Predicate: delta.IsNull{Column: paths[i]}})
				if lo != nil {
					outside = delta.Or{delta.Compare{Column: paths[i], Op: delta.Less, Value: lo}, delta.Compare{Column: paths[i], Op: delta.Greater, Value: hi}}
				}
				for rows, err := range d.snap.Scan(delta.ScanOptions{Where: outside}).File(t.Context(), add) {
					if err != nil {
						rt.Fatal(err)
					}
					rt.Fatalf("column %s: %d rows outside of %v and %v", schema.Path(paths[i]...), rows.NumRows(), lo, hi)
				}
				b.Release()
			}
		}
	})
}
