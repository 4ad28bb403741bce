//go:build duckdb_arrow

package silt_test

import (
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// variants makes a table whose rows have the variant 7 in all kinds of places.
func variants(t *testing.T) (folder string) {
	s, err := schema.ParseDDL("id BIGINT, v VARIANT, s STRUCT<v: VARIANT, n: BIGINT>, l ARRAY<VARIANT>, m MAP<STRING, VARIANT>")
	if err != nil {
		t.Fatal(err)
	}
	const seven = `{"value":"DAc=","metadata":"AQAA"}`
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.Arrow(), strings.NewReader(`[{"id":1,"v":`+seven+`,"s":{"v":`+seven+`,"n":3},"l":[`+seven+`,null],"m":[{"key":"k","value":`+seven+`}]},
		{"id":2,"v":null,"s":null,"l":[],"m":null},{"id":3,"v":null,"s":{"v":null,"n":4},"l":null,"m":[{"key":"k","value":null}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	folder = t.TempDir()
	store := objstore.NewDir(folder)
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: s})
	if err != nil {
		t.Fatal(err)
	}
	w, err := delta.NewDataWriter(t.Context(), store, tx.WriteContext(), delta.DataWriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	adds, err := w.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range adds {
		tx.Add(a)
	}
	if _, err := tx.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestVariantsAtAnyDepthAreJSONToSQL(t *testing.T) {
	folder := variants(t)
	r, err := silt.Query(t.Context(), "SELECT *, v->'$' AS part, s.v AS inner, CAST(id AS VARCHAR) AS text FROM '"+folder+"' ORDER BY id", silt.QueryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if !r.Next() {
		t.Fatalf("no rows, error %v", r.Err())
	}
	text, err := r.RecordBatch().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := canonicalJSON(t, text), canonicalJSON(t, []byte(`[
		{"id":1,"v":"7","s":{"v":"7","n":3},"l":["7",null],"m":[{"key":"k","value":"7"}],"part":"7","inner":"7","text":"1"},
		{"id":2,"v":null,"s":null,"l":[],"m":null,"part":null,"inner":null,"text":"2"},
		{"id":3,"v":null,"s":{"v":null,"n":4},"l":null,"m":[{"key":"k","value":null}],"part":null,"inner":null,"text":"3"}]`)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var json []string
	var look func(at string, f arrow.Field)
	look = func(at string, f arrow.Field) {
		at += f.Name
		if schema.HoldsJSON(f) {
			json = append(json, at)
		}
		switch to := f.Type.(type) {
		case *arrow.StructType:
			for _, f := range to.Fields() {
				look(at+".", f)
			}
		case *arrow.MapType:
			look(at+".", to.ItemField())
		case *arrow.ListType:
			look(at+".", to.ElemField())
		}
	}
	for _, f := range r.Schema().Fields() {
		look("", f)
	}
	if got, want := strings.Join(json, " "), "v s.v l.element m.value part inner"; got != want {
		t.Errorf("JSON is in %s, want %s", got, want)
	}
}

func TestARefWithVariantsIsReadAsText(t *testing.T) {
	l := newLab(t)
	l.cfg.Refs = map[string]string{"r": variants(t)}
	l.cfg.Transform = "SELECT id, r.s.v AS v, r.l AS l, r.v->>'$' AS t FROM source JOIN r USING (id)"
	l.file("1.json", `{"id":1}`+"\n"+`{"id":2}`+"\n")
	l.run()
	l.want(`{"id":1,"l":["7",null],"t":"7","v":"7"}`, `{"id":2,"l":[]}`)
}
