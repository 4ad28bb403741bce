package evolve_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

func ddl(t testing.TB, text string) *schema.Struct {
	t.Helper()
	s, err := schema.ParseDDL(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hints(t testing.TB, text string) []schema.Hint {
	t.Helper()
	h, err := schema.ParseHints(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// observe is what a decoder meets in records, one a line, that it reads by a schema.
func observe(t testing.TB, s *schema.Struct, records string) map[string]*decode.Observed {
	t.Helper()
	file := decode.File{URI: "f", Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(records)), nil
	}}
	r, err := decode.NewReader([]decode.File{file}, decode.Options{Schema: s, Rescue: "_rescued_data", Observe: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := r.Next(t.Context())
		if err == io.EOF {
			return r.Observed()
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Record.Release()
	}
}

func TestInfer(t *testing.T) {
	tests := []struct {
		name, records string
		opts          evolve.Options
		want, pending string
	}{
		{name: "columns_and_fields_are_sorted", records: `{"b":1,"a":{"z":true,"y":"x"}}`,
			want: "a STRUCT<y: STRING, z: BOOLEAN>,b BIGINT"},
		{name: "types_of_all_records_are_unified", records: `{"a":1,"b":[1]}` + "\n" + `{"a":1.5,"b":["x"],"c":[{"k":1}]}`,
			want: "a DOUBLE,b ARRAY<STRING>,c ARRAY<STRUCT<k: BIGINT>>"},
		{name: "without_types_every_column_is_a_string", records: `{"a":{"b":1},"c":2}`, opts: evolve.Options{StringsOnly: true},
			want: "a STRING,c STRING"},
		{name: "what_has_no_type_waits", records: `{"a":[],"b":{},"c":[{}],"d":{"e":[null],"f":1},"g":""}`,
			want: "d STRUCT<f: BIGINT>,g STRING", pending: "a b c d.e"},
		{name: "what_has_no_type_is_a_string_when_asked_for", records: `{"a":[],"b":{},"d":{"e":[null]}}`, opts: evolve.Options{UntypedAsString: true},
			want: "a ARRAY<STRING>,d STRUCT<e: ARRAY<STRING>>", pending: "b"},
		{name: "a_hint_replaces_a_type", records: `{"a":{"x":1},"b":[{"id":1}]}`,
			opts: evolve.Options{Hints: hints(t, "a map<string,string>, b.element.id int")},
			want: "a MAP<STRING, STRING>,b ARRAY<STRUCT<id: INT>>"},
		{name: "a_hint_for_what_is_not_there_comes_last", records: `{"b":1}`, opts: evolve.Options{Hints: hints(t, "a.b.c int, l.element.x string")},
			want: "b BIGINT,a STRUCT<b: STRUCT<c: INT>>,l ARRAY<STRUCT<x: STRING>>"},
		{name: "a_hint_decides_the_spelling", records: `{"id":1}`, opts: evolve.Options{Hints: hints(t, "ID bigint")}, want: "ID BIGINT"},
		{name: "a_nested_hint_on_a_string_makes_a_struct", records: `{"a":{"b":1}}`,
			opts: evolve.Options{StringsOnly: true, Hints: hints(t, "a.b int")}, want: "a STRUCT<b: INT>"},
		{name: "reserved_names_get_no_column", records: `{"_RESCUED_data":1,"a":2}`, opts: evolve.Options{Reserved: []string{"_rescued_data"}},
			want: "a BIGINT"},
		{name: "names_the_table_cannot_have_get_no_column_at_any_depth", records: `{"a b":1,"c":{"d e":1,"f":2}}`,
			opts: evolve.Options{ValidName: func(n string) bool { return !strings.Contains(n, " ") }}, want: "c STRUCT<f: BIGINT>"},
		{name: "the_table_gives_types_and_spellings", records: `{"ID":1,"s":{"x":1,"new":1},"l":[1]}`,
			opts: evolve.Options{Table: ddl(t, "id STRING,s STRUCT<x: INT>,l STRING,more INT")},
			want: "id STRING,l STRING,s STRUCT<new: BIGINT, x: INT>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := evolve.Infer(observe(t, &schema.Struct{}, test.records)[""], test.opts)
			if got := d.Schema.DDL(); got != test.want {
				t.Errorf("schema\n got %s\nwant %s", got, test.want)
			}
			if got := strings.Join(d.Pending, " "); got != test.pending {
				t.Errorf("pending %q, want %q", got, test.pending)
			}
		})
	}
}

func TestEvolve(t *testing.T) {
	tests := []struct {
		name, before, records string
		opts                  evolve.Options
		want, added           string
	}{
		{name: "new_fields_come_last_and_sorted", before: "m BIGINT", records: `{"z":1,"m":1,"c":"x"}`, want: "m BIGINT,c STRING,z BIGINT", added: "c z"},
		{name: "new_nested_fields_come_last_in_their_struct", before: "s STRUCT<m: BIGINT>,l ARRAY<STRUCT<a: STRUCT<b: BIGINT>>>",
			records: `{"s":{"a":1},"l":[{"a":{"c":true}}]}`,
			want:    "s STRUCT<m: BIGINT, a: BIGINT>,l ARRAY<STRUCT<a: STRUCT<b: BIGINT, c: BOOLEAN>>>", added: "s.a l.element.a.c"},
		{name: "values_of_a_map_evolve", before: "m MAP<STRING, STRUCT<a: BIGINT>>", records: `{"m":{"k":{"b":1}}}`,
			want: "m MAP<STRING, STRUCT<a: BIGINT, b: BIGINT>>", added: "m.value.b"},
		{name: "values_of_a_map_that_a_hint_made_evolve", before: "m MAP<STRING, STRUCT<a: INT>>", records: `{"m":{"k":{"b":{"c":1}}}}`, opts: evolve.Options{Hints: hints(t, "m map<string, struct<a: int>>")},
			want: "m MAP<STRING, STRUCT<a: INT, b: STRUCT<c: BIGINT>>>", added: "m.value.b"},
		{name: "a_struct_that_a_hint_made_does_not", before: "s STRUCT<a: INT>", records: `{"s":{"b":1}}`, opts: evolve.Options{Hints: hints(t, "s struct<a: int>")}, want: "s STRUCT<a: INT>"},
		{name: "another_spelling_is_not_new", before: "id BIGINT", records: `{"ID":1}`, want: "id BIGINT"},
		{name: "a_value_that_does_not_fit_changes_nothing", before: "id BIGINT", records: `{"id":"x"}`, want: "id BIGINT"},
		{name: "nothing_without_a_type_is_new", before: "id BIGINT", records: `{"a":null,"b":[],"c":{}}`, want: "id BIGINT"},
		{name: "mode_rescue_keeps_the_schema", before: "id BIGINT", records: `{"a":1}`, opts: evolve.Options{Mode: evolve.Rescue}, want: "id BIGINT"},
		{name: "a_hint_types_a_new_field", before: "id BIGINT", records: `{"a":{"b":1,"c":2}}`, opts: evolve.Options{Hints: hints(t, "a.b double")},
			want: "id BIGINT,a STRUCT<b: DOUBLE, c: BIGINT>", added: "a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := ddl(t, test.before)
			d, err := evolve.Evolve(before, observe(t, before, test.records), test.opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Schema.DDL(); got != test.want {
				t.Errorf("schema\n got %s\nwant %s", got, test.want)
			}
			var added []string
			for _, f := range d.Added {
				added = append(added, f.String())
				if f.First.File != "f" || f.First.Line != 1 || f.Values == 0 {
					t.Errorf("%s is told to come from %+v, %d values", f, f.First, f.Values)
				}
			}
			if got := strings.Join(added, " "); got != test.added {
				t.Errorf("added %q, want %q", got, test.added)
			}
			again, err := evolve.Evolve(d.Schema, observe(t, d.Schema, test.records), test.opts)
			if err != nil || !schema.Equal(again.Schema, d.Schema) {
				t.Errorf("the same records change the schema again, to %s (%v)", again.Schema.DDL(), err)
			}
		})
	}
	t.Run("mode_failOnNewColumns_names_the_fields", func(t *testing.T) {
		before := ddl(t, "id BIGINT")
		_, err := evolve.Evolve(before, observe(t, before, `{"a":1}`), evolve.Options{Mode: evolve.FailOnNewColumns})
		var stop *evolve.NewColumnsError
		if !errors.As(err, &stop) || stop.Fields[0].String() != "a" {
			t.Errorf("error %v", err)
		}
	})
}

func TestLocation(t *testing.T) {
	store := new(objstore.Mem)
	l := evolve.NewLocation(store, "_schemas/")
	if v, err := l.Latest(t.Context()); v != nil || err != nil {
		t.Fatalf("an empty location has version %v, error %v", v, err)
	}
	first := &evolve.Version{Number: 0, Schema: ddl(t, "a BIGINT,`b c` STRUCT<d: STRING>"), WrittenAt: time.Unix(1, 0).UTC(),
		Reason: "inferred", Query: "q", Pending: []string{"x"}}
	second := &evolve.Version{Number: 1, Schema: ddl(t, "a BIGINT,b STRUCT<c: STRING, d: BIGINT>,e BIGINT"), Batch: 3, Query: "q",
		Uncarried: []string{"b.d", "e"}, Added: []evolve.Field{{Path: []string{"e"}, DDL: "BIGINT", Type: schema.Long}}}
	for _, v := range []*evolve.Version{first, second, second} {
		if err := l.Put(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("versions_come_back_as_they_were", func(t *testing.T) {
		all, err := l.History(t.Context())
		if err != nil || len(all) != 2 {
			t.Fatalf("%d versions, error %v", len(all), err)
		}
		if got := all[0]; !schema.Equal(got.Schema, first.Schema) || got.Reason != "inferred" || !slices.Equal(got.Pending, first.Pending) || !got.WrittenAt.Equal(first.WrittenAt) {
			t.Errorf("version 0 is %+v", got)
		}
		if got := all[1]; got.Batch != 3 || got.Added[0].Type != schema.Long {
			t.Errorf("version 1 is %+v", got)
		}
	})
	t.Run("fields_that_are_not_carried_are_not_read", func(t *testing.T) {
		v, err := l.Latest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := v.Read().DDL(), "a BIGINT,b STRUCT<c: STRING>"; got != want {
			t.Errorf("read by %s, want %s", got, want)
		}
	})
	t.Run("another_writer_s_version_is_not_overwritten", func(t *testing.T) {
		other := *second
		other.Query = "other"
		if err := l.Put(t.Context(), &other); !errors.Is(err, evolve.ErrVersionTaken) {
			t.Errorf("error %v, want ErrVersionTaken", err)
		}
	})
	t.Run("the_form_is_Auto_Loader_s", func(t *testing.T) {
		text, _, err := objstore.ReadAll(t.Context(), store, "_schemas/0")
		if err != nil {
			t.Fatal(err)
		}
		if want := "v1\n" + `{"dataSchemaJson":"{\"type\":\"struct\",`; !strings.HasPrefix(string(text), want) {
			t.Errorf("starts with %.60q, want %q", text, want)
		}
	})
}
