package evolve

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// crowd is a source of one object with so many keys, each a number, seen in one record each.
func crowd(keys int) *decode.Observed {
	o := &decode.Observed{Objects: int64(keys), First: &decode.Position{File: "f", Line: 1}}
	for i := range keys {
		seen := decode.ObservedField{Name: fmt.Sprintf("id%d", i), Observed: &decode.Observed{Longs: 1, First: &decode.Position{File: "f", Line: int64(i + 1), Offset: int64(i)}}}
		o.Merge(&decode.Observed{Fields: []decode.ObservedField{seen}})
	}
	return &decode.Observed{Root: true, Fields: []decode.ObservedField{{Name: "o", Observed: o}}}
}

func TestTooManyFields(t *testing.T) {
	t.Run("an_object_with_more_keys_than_are_told_apart_is_no_pending_one", func(t *testing.T) {
		d := Infer(crowd(decode.MaxKeys+1), Options{})
		if len(d.Schema.Fields) != 0 || len(d.Pending) != 0 || len(d.Wide) != 1 {
			t.Fatalf("got %s, pending %v, wide %v", d.Schema, d.Pending, d.Wide)
		}
		if w := d.Wide[0]; !w.Rescued || w.Hint != "o map<string, bigint>" || w.First.Line != 1 || w.String() != "o" {
			t.Errorf("got %+v", w)
		}
	})
	t.Run("one_with_few_ids_has_columns_and_a_hint", func(t *testing.T) {
		d := Infer(crowd(20), Options{})
		if d.Schema.Leaves() != 20 || len(d.Wide) != 1 || d.Wide[0].Rescued || d.Wide[0].Hint != "o map<string, bigint>" {
			t.Fatalf("got %d columns, wide %+v", d.Schema.Leaves(), d.Wide)
		}
	})
	t.Run("a_hint_settles_it", func(t *testing.T) {
		hints, err := schema.ParseHints("o map<string, bigint>")
		if err != nil {
			t.Fatal(err)
		}
		d := Infer(crowd(decode.MaxKeys+1), Options{Hints: hints})
		if d.Schema.DDL() != "o MAP<STRING, BIGINT>" || len(d.Wide) != 0 {
			t.Errorf("got %s, wide %+v", d.Schema.DDL(), d.Wide)
		}
	})
	t.Run("columns_are_those_that_were_met_first", func(t *testing.T) {
		o := crowd(10).Fields[0].Observed
		o.Root = true
		d := Infer(o, Options{MaxColumns: 3})
		if got := strings.Join(d.Schema.Names(), " "); got != "id0 id1 id2" || len(d.Wide) != 1 {
			t.Fatalf("got %s, wide %+v", got, d.Wide)
		}
		if w := d.Wide[0]; !w.Rescued || len(w.Path) != 0 || w.Keys != 7 || w.First.Line != 4 {
			t.Errorf("got %+v", w)
		}
	})
	t.Run("fields_inside_count_as_columns", func(t *testing.T) {
		d := Infer(crowd(10), Options{MaxColumns: 9})
		if len(d.Schema.Fields) != 0 || len(d.Wide) != 2 {
			t.Errorf("got %s, wide %+v", d.Schema, d.Wide)
		}
	})
	t.Run("an_object_that_grows_stops_at_the_limit", func(t *testing.T) {
		s := schema.NewStruct(schema.Nullable("o", schema.NewStruct(schema.Nullable("a", schema.Long), schema.Nullable("b", schema.Long))))
		o := crowd(5).Fields[0].Observed
		d, err := Evolve(s, map[string]*decode.Observed{"o": o}, Options{MaxKeys: 4})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Schema.DDL(); got != "o STRUCT<a: BIGINT, b: BIGINT, id0: BIGINT, id1: BIGINT>" {
			t.Errorf("got %s", got)
		}
		if !slices.ContainsFunc(d.Wide, func(w Wide) bool { return w.Rescued && w.String() == "o" && w.Keys == 3 && w.First.Line == 3 }) {
			t.Errorf("wide %+v", d.Wide)
		}
	})
	t.Run("the_order_of_looks_does_not_matter", func(t *testing.T) {
		a, b := crowd(700), crowd(1400)
		x, y := new(decode.Observed), new(decode.Observed)
		for _, o := range []*decode.Observed{a, b} {
			x.Merge(o)
		}
		for _, o := range []*decode.Observed{b, a} {
			y.Merge(o)
		}
		if p, q := Infer(x, Options{}), Infer(y, Options{}); fmt.Sprint(p.Wide) != fmt.Sprint(q.Wide) || p.Wide[0].Hint != "o map<string, bigint>" {
			t.Errorf("got %v and %v", p.Wide, q.Wide)
		}
	})
}
