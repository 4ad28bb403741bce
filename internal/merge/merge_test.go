package merge_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// lines are JSON rows, one a line.
type lines string

func (l lines) array() string {
	return "[" + strings.Join(strings.Split(strings.TrimSpace(string(l)), "\n"), ",") + "]"
}

func record(t testing.TB, s *schema.Struct, rows lines) arrow.RecordBatch {
	t.Helper()
	text := rows.array()
	if strings.TrimSpace(string(rows)) == "" {
		text = "[]"
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.Arrow(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func ddl(t testing.TB, text string) *schema.Struct {
	t.Helper()
	s, err := schema.ParseDDL(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// changes are rows in batches.
func changes(t testing.TB, s *schema.Struct, batches ...lines) merge.Changes {
	return merge.Changes{Schema: s, Rows: func(context.Context, [][]string) iter.Seq2[arrow.RecordBatch, error] {
		return func(yield func(arrow.RecordBatch, error) bool) {
			for _, b := range batches {
				if !yield(record(t, s, b), nil) {
					return
				}
			}
		}
	}}
}

// table is a table under test.
type table struct {
	t       testing.TB
	store   objstore.Store
	options merge.Options
}

// create makes a table in memory, with one data file for each text of rows.
func create(t testing.TB, o delta.TableOptions, files ...lines) *table {
	t.Helper()
	return createIn(t, new(objstore.Mem), o, files...)
}

func createIn(t testing.TB, store objstore.Store, o delta.TableOptions, files ...lines) *table {
	t.Helper()
	x := &table{t: t, store: store, options: merge.Options{Workers: 2}}
	tx, err := delta.NewTable(x.store, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range files {
		w, err := delta.NewDataWriter(t.Context(), x.store, tx.WriteContext(), delta.DataWriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		rec := record(t, o.Schema, rows)
		if err := w.Write(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		adds, err := w.Close(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tx.Add(adds...)
	}
	if _, err := tx.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *table) load() *delta.Snapshot {
	x.t.Helper()
	s, err := delta.Load(x.t.Context(), x.store, delta.LoadOptions{})
	if errors.Is(err, delta.ErrNoTable) {
		return nil
	}
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// begin starts a merge of changes; the schema of the table grows with theirs.
func (x *table) begin(spec merge.Spec, c merge.Changes) (*delta.Transaction, *merge.Result, error) {
	x.t.Helper()
	s := x.load()
	tx := s.Begin("MERGE")
	if err := tx.SetSchema(merge.Columns(spec, c.Schema)); err != nil {
		return nil, nil, err
	}
	r, err := merge.Into(x.t.Context(), tx, s, x.store, spec, c, x.options)
	return tx, r, err
}

// merge merges and commits.
func (x *table) merge(spec merge.Spec, c merge.Changes) merge.Counts {
	x.t.Helper()
	tx, r, err := x.begin(spec, c)
	if err != nil {
		x.t.Fatal(err)
	}
	if _, err := tx.Commit(x.t.Context(), nil); err != nil {
		x.t.Fatal(err)
	}
	return r.Counts
}

// rows are those of the table as sorted JSON texts.
func (x *table) rows() string {
	x.t.Helper()
	var out []string
	for rec, err := range x.load().Scan(delta.ScanOptions{}).Batches(x.t.Context()) {
		if err != nil {
			x.t.Fatal(err)
		}
		st := array.RecordToStructArray(rec)
		for i := range st.Len() {
			b, err := json.Marshal(st.GetOneForMarshal(i))
			if err != nil {
				x.t.Fatal(err)
			}
			out = append(out, string(b))
		}
		rec.Release()
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// parsed are the rows of the table without their nulls, in an order of their own.
func (x *table) parsed() []row {
	x.t.Helper()
	rows := []row{}
	for line := range strings.SplitSeq(x.rows(), "\n") {
		if line != "" {
			rows = append(rows, parse(x.t, line))
		}
	}
	return ordered(rows)
}

// ofRows are the counts that do not depend on how rows are replaced.
func ofRows(c merge.Counts) merge.Counts {
	c.TargetMissing = 0
	c.TargetCopied, c.FilesAdded, c.FilesRemoved, c.FilesScanned, c.VectorsAdded, c.VectorsUpdated = 0, 0, 0, 0, 0, 0
	return c
}

// canonical are the rows as [table.rows] writes them.
func canonical(t testing.TB, rows lines) string {
	t.Helper()
	var all []any
	if err := json.Unmarshal([]byte(rows.array()), &all); err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(all))
	for i, row := range all {
		b, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = string(b)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func TestMerge(t *testing.T) {
	upsert := merge.Spec{Keys: []string{"id"}, Duplicates: merge.LastWins}
	bySeq := merge.Spec{Keys: []string{"id"}, SequenceBy: "ts", Duplicates: merge.LastWins}
	for _, c := range []struct {
		name           string
		table          string
		files          []lines
		spec           merge.Spec
		source         string
		changes        []lines
		want           lines
		counts         merge.Counts
		untouchedFiles int
	}{
		{
			name: "rows_are_updated_and_inserted", table: "id BIGINT, a STRING", files: []lines{`{"id":1,"a":"x"}` + "\n" + `{"id":2,"a":"y"}`, `{"id":9,"a":"z"}`},
			spec: upsert, source: "id BIGINT, a STRING", changes: []lines{`{"id":2,"a":"Y"}`, `{"id":3,"a":"new"}`},
			want:   "{\"id\":1,\"a\":\"x\"}\n{\"id\":2,\"a\":\"Y\"}\n{\"id\":3,\"a\":\"new\"}\n{\"id\":9,\"a\":\"z\"}",
			counts: merge.Counts{Rows: 2, Updated: 1, Inserted: 1, TargetUpdated: 1, TargetCopied: 1, FilesScanned: 1, FilesRemoved: 1, FilesAdded: 2},
		},
		{
			name: "keys_in_structs_leave_files_out_by_their_bounds_and_null_meets_nothing", table: "d STRUCT<id: BIGINT, n: STRING>, m STRUCT<ts: BIGINT>",
			files: []lines{`{"d":{"id":1,"n":"a"},"m":{"ts":5}}` + "\n" + `{"d":{"id":2,"n":"b"},"m":{"ts":5}}` + "\n" + `{"d":null,"m":null}` + "\n" + `{"d":{"id":null,"n":"c"},"m":null}`, `{"d":{"id":9,"n":"z"},"m":null}`, `{"d":null,"m":null}`},
			spec:  merge.Spec{Keys: []string{"d.id"}, SequenceBy: "m.ts", Duplicates: merge.LastWins}, source: "d STRUCT<id: BIGINT, n: STRING>, m STRUCT<ts: BIGINT>",
			changes: []lines{`{"d":{"id":1,"n":"A"},"m":{"ts":6}}` + "\n" + `{"d":{"id":1,"n":"-"},"m":{"ts":4}}` + "\n" + `{"d":{"id":2,"n":"late"},"m":null}` + "\n" + `{"d":{"id":3,"n":"new"},"m":null}`},
			want: `{"d":null,"m":null}` + "\n" + `{"d":null,"m":null}` + "\n" + `{"d":{"id":null,"n":"c"},"m":null}` + "\n" + `{"d":{"id":1,"n":"A"},"m":{"ts":6}}` + "\n" + `{"d":{"id":2,"n":"b"},"m":{"ts":5}}` + "\n" +
				`{"d":{"id":3,"n":"new"},"m":null}` + "\n" + `{"d":{"id":9,"n":"z"},"m":null}`,
			counts: merge.Counts{Rows: 4, Updated: 1, Inserted: 1, Late: 1, Duplicates: 1, TargetUpdated: 1, TargetCopied: 3, FilesScanned: 1, FilesRemoved: 1, FilesAdded: 2}, untouchedFiles: 2,
		},
		{
			name: "what_the_source_lacks_keeps_its_value", table: "id BIGINT, a STRING, s STRUCT<x: INT, y: INT>", files: []lines{`{"id":1,"a":"x","s":{"x":1,"y":5}}`},
			spec: upsert, source: "id BIGINT, s STRUCT<x: INT>", changes: []lines{`{"id":1,"s":{"x":9}}`, `{"id":2,"s":{"x":7}}`},
			want:   `{"id":1,"a":"x","s":{"x":9,"y":5}}` + "\n" + `{"id":2,"a":null,"s":{"x":7,"y":null}}`,
			counts: merge.Counts{Rows: 2, Updated: 1, Inserted: 1, TargetUpdated: 1, FilesScanned: 1, FilesRemoved: 1, FilesAdded: 2},
		},
		{
			name: "nested_fields_are_added_and_other_rows_keep_theirs", table: "id BIGINT, s STRUCT<a: BIGINT>, l ARRAY<STRUCT<a: BIGINT>>, m MAP<STRING, STRUCT<a: BIGINT>>",
			files: []lines{`{"id":1,"s":{"a":1},"l":[{"a":1}],"m":[{"key":"k","value":{"a":1}}]}` + "\n" + `{"id":2,"s":{"a":2},"l":[{"a":2},null],"m":[{"key":"k","value":{"a":2}}]}` + "\n" + `{"id":4,"s":null,"l":null,"m":null}`},
			spec:  upsert, source: "id BIGINT, s STRUCT<a: BIGINT, b: STRING>, l ARRAY<STRUCT<a: BIGINT, b: STRING>>, m MAP<STRING, STRUCT<a: BIGINT, b: STRING>>, extra STRING",
			changes: []lines{`{"id":2,"s":{"a":20,"b":"x"},"l":[{"a":20,"b":"x"}],"m":[{"key":"k","value":{"a":20,"b":"x"}}],"extra":"new2"}` + "\n" + `{"id":3,"s":{"a":30,"b":"y"},"l":[{"a":30,"b":"y"}],"m":[{"key":"k","value":{"a":30,"b":"y"}}],"extra":"new3"}`},
			want: `{"id":1,"s":{"a":1,"b":null},"l":[{"a":1,"b":null}],"m":[{"key":"k","value":{"a":1,"b":null}}],"extra":null}
{"id":2,"s":{"a":20,"b":"x"},"l":[{"a":20,"b":"x"}],"m":[{"key":"k","value":{"a":20,"b":"x"}}],"extra":"new2"}
{"id":3,"s":{"a":30,"b":"y"},"l":[{"a":30,"b":"y"}],"m":[{"key":"k","value":{"a":30,"b":"y"}}],"extra":"new3"}
{"id":4,"s":null,"l":null,"m":null,"extra":null}`,
			counts: merge.Counts{Rows: 2, Updated: 1, Inserted: 1, TargetUpdated: 1, TargetCopied: 2, FilesScanned: 1, FilesRemoved: 1, FilesAdded: 2},
		},
		{
			name: "a_late_row_changes_nothing", table: "id BIGINT, ts BIGINT, a STRING", files: []lines{`{"id":1,"ts":5,"a":"x"}`},
			spec: bySeq, source: "id BIGINT, ts BIGINT, a STRING", changes: []lines{`{"id":1,"ts":4,"a":"old"}`},
			want: `{"id":1,"ts":5,"a":"x"}`, counts: merge.Counts{Rows: 1, Late: 1, FilesScanned: 1},
		},
		{
			name: "the_last_in_sequence_counts", table: "id BIGINT, ts BIGINT, a STRING", files: []lines{`{"id":1,"ts":5,"a":"x"}`},
			spec: bySeq, source: "id BIGINT, ts BIGINT, a STRING", changes: []lines{`{"id":1,"ts":8,"a":"b"}` + "\n" + `{"id":1,"ts":7,"a":"a"}`, `{"id":1,"ts":8,"a":"b"}`},
			want:   `{"id":1,"ts":8,"a":"b"}`,
			counts: merge.Counts{Rows: 3, Updated: 1, Duplicates: 2, TargetUpdated: 1, FilesScanned: 1, FilesRemoved: 1, FilesAdded: 1},
		},
		{
			name: "without_a_sequence_the_last_counts", table: "id BIGINT, a STRING", spec: upsert, source: "id BIGINT, a STRING",
			changes: []lines{`{"id":1,"a":"a"}`, `{"id":1,"a":"b"}`}, want: `{"id":1,"a":"b"}`,
			counts: merge.Counts{Rows: 2, Inserted: 1, Duplicates: 1, Conflicting: 1, FilesAdded: 1},
		},
		{
			name: "what_does_not_change_is_not_written", table: "id BIGINT, a STRING, at BIGINT", files: []lines{`{"id":1,"a":"x","at":1}`},
			spec:   merge.Spec{Keys: []string{"id"}, Passive: []string{"at"}},
			source: "id BIGINT, a STRING, at BIGINT", changes: []lines{`{"id":1,"a":"x","at":2}`},
			want: `{"id":1,"a":"x","at":1}`, counts: merge.Counts{Rows: 1, Unchanged: 1, FilesScanned: 1},
		},
		{
			name: "null_keys_never_match", table: "id BIGINT, a BIGINT", files: []lines{`{"id":null,"a":1}`},
			spec: merge.Spec{Keys: []string{"id"}}, source: "id BIGINT, a BIGINT", changes: []lines{`{"id":null,"a":5}`},
			want: `{"id":null,"a":1}` + "\n" + `{"id":null,"a":5}`, counts: merge.Counts{Rows: 1, Inserted: 1, FilesAdded: 1},
		},
		{
			name: "two_new_rows_of_a_key_are_both_inserted_as_in_Delta", table: "id BIGINT, a BIGINT", files: []lines{`{"id":9,"a":1}`},
			spec: merge.Spec{Keys: []string{"id"}}, source: "id BIGINT, a BIGINT", changes: []lines{`{"id":1,"a":2}` + "\n" + `{"id":1,"a":3}`},
			want: `{"id":1,"a":2}` + "\n" + `{"id":1,"a":3}` + "\n" + `{"id":9,"a":1}`, counts: merge.Counts{Rows: 2, Inserted: 2, FilesAdded: 1},
		},
		{
			name: "insert_only_leaves_rows_alone", table: "id BIGINT, a BIGINT", files: []lines{`{"id":1,"a":1}`},
			spec: merge.Spec{Keys: []string{"id"}, InsertOnly: true}, source: "id BIGINT, a BIGINT", changes: []lines{`{"id":1,"a":2}` + "\n" + `{"id":2,"a":3}`},
			want: `{"id":1,"a":1}` + "\n" + `{"id":2,"a":3}`, counts: merge.Counts{Rows: 2, Inserted: 1, Skipped: 1, FilesScanned: 1, FilesAdded: 1},
		},
		{
			name: "insert_only_may_meet_a_row_twice_as_in_Delta", table: "id BIGINT, a BIGINT", files: []lines{`{"id":1,"a":1}`},
			spec: merge.Spec{Keys: []string{"id"}, InsertOnly: true}, source: "id BIGINT, a BIGINT", changes: []lines{`{"id":1,"a":2}` + "\n" + `{"id":2,"a":3}` + "\n" + `{"id":1,"a":4}` + "\n" + `{"id":2,"a":5}`},
			want: `{"id":1,"a":1}` + "\n" + `{"id":2,"a":3}` + "\n" + `{"id":2,"a":5}`, counts: merge.Counts{Rows: 4, Inserted: 2, Skipped: 2, FilesScanned: 1, FilesAdded: 1},
		},
		{
			name: "rows_the_source_lacks_are_deleted_when_asked", table: "id BIGINT, a BIGINT", files: []lines{`{"id":1,"a":1}` + "\n" + `{"id":2,"a":2}`, `{"id":30,"a":3}`},
			spec: merge.Spec{Keys: []string{"id"}, DeleteMissing: true}, source: "id BIGINT, a BIGINT", changes: []lines{`{"id":1,"a":1}`},
			want: `{"id":1,"a":1}`, counts: merge.Counts{Rows: 1, Unchanged: 1, TargetDeleted: 2, TargetMissing: 2, TargetCopied: 1, FilesScanned: 2, FilesRemoved: 2, FilesAdded: 1},
		},
		{
			name: "null_updates_are_ignored_when_asked", table: "id BIGINT, a STRING, s STRUCT<x: INT, y: INT>", files: []lines{`{"id":1,"a":"x","s":{"x":1,"y":2}}` + "\n" + `{"id":2,"a":"x","s":{"x":1,"y":2}}`},
			spec: merge.Spec{Keys: []string{"id"}, IgnoreNullUpdates: true}, source: "id BIGINT, a STRING, s STRUCT<x: INT, y: INT>",
			changes: []lines{`{"id":1,"a":null,"s":{"x":null,"y":3}}` + "\n" + `{"id":2,"a":"b","s":null}`},
			want:    `{"id":1,"a":"x","s":{"x":1,"y":3}}` + "\n" + `{"id":2,"a":"b","s":{"x":1,"y":2}}`,
			counts:  merge.Counts{Rows: 2, Updated: 2, TargetUpdated: 2, FilesScanned: 1, FilesRemoved: 1, FilesAdded: 1},
		},
		{
			name: "excepted_columns_stay_out", table: "id BIGINT, a STRING", files: []lines{`{"id":1,"a":"x"}`},
			spec: merge.Spec{Keys: []string{"id"}, Except: []string{"OP"}}, source: "id BIGINT, op STRING, a STRING", changes: []lines{`{"id":1,"op":"U","a":"y"}`},
			want: `{"id":1,"a":"y"}`, counts: merge.Counts{Rows: 1, Updated: 1, TargetUpdated: 1, FilesScanned: 1, FilesRemoved: 1, FilesAdded: 1},
		},
		{
			name: "a_null_struct_keeps_fields_the_source_does_not_know", table: "id BIGINT, s STRUCT<x: INT, y: INT>", files: []lines{`{"id":1,"s":{"x":1,"y":2}}` + "\n" + `{"id":2,"s":{"x":1,"y":null}}` + "\n" + `{"id":3,"s":null}` + "\n" + `{"id":4,"s":null}`},
			spec: merge.Spec{Keys: []string{"id"}}, source: "id BIGINT, s STRUCT<x: INT>", changes: []lines{`{"id":1,"s":null}` + "\n" + `{"id":2,"s":null}` + "\n" + `{"id":3,"s":{"x":4}}` + "\n" + `{"id":4,"s":null}`},
			want:   `{"id":1,"s":{"x":null,"y":2}}` + "\n" + `{"id":2,"s":{"x":null,"y":null}}` + "\n" + `{"id":3,"s":{"x":4,"y":null}}` + "\n" + `{"id":4,"s":null}`,
			counts: merge.Counts{Rows: 4, Updated: 3, Unchanged: 1, TargetUpdated: 3, TargetCopied: 1, FilesScanned: 1, FilesRemoved: 1, FilesAdded: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, vectors := range []string{"false", "true"} {
				x := create(t, delta.TableOptions{Schema: ddl(t, c.table), Properties: map[string]string{"delta.enableDeletionVectors": vectors}}, c.files...)
				counts := x.merge(c.spec, changes(t, ddl(t, c.source), c.changes...))
				counts.BytesAdded, counts.BytesRemoved = 0, 0
				want := c.counts
				if vectors == "true" {
					counts = ofRows(counts)
					want = ofRows(want)
				}
				if counts != want {
					t.Errorf("deletion vectors %s: counts %+v\nwant   %+v", vectors, counts, want)
				}
				if got := x.rows(); got != canonical(t, c.want) {
					t.Errorf("deletion vectors %s: rows\n%s\nwant\n%s", vectors, got, c.want)
				}
			}
		})
	}
}

func TestFeed(t *testing.T) {
	for _, vectors := range []string{"false", "true"} {
		x := create(t, delta.TableOptions{Schema: ddl(t, "id BIGINT, a STRING"), Properties: map[string]string{"delta.enableDeletionVectors": vectors, "delta.enableChangeDataFeed": "true"}},
			`{"id":1,"a":"x"}`+"\n"+`{"id":2,"a":"y"}`+"\n"+`{"id":3,"a":"z"}`)
		x.merge(merge.Spec{Keys: []string{"id"}, DeleteMissing: true}, changes(t, ddl(t, "id BIGINT, a STRING"), `{"id":1,"a":"X"}`+"\n"+`{"id":2,"a":"y"}`+"\n"+`{"id":4,"a":"n"}`))
		var got []string
		s := x.load()
		for rec, err := range s.Changes(t.Context(), s.Version(), s.Version()) {
			if err != nil {
				t.Fatal(err)
			}
			for i := range int(rec.NumRows()) {
				got = append(got, rec.Column(2).ValueStr(i)+" "+rec.Column(0).ValueStr(i)+" "+rec.Column(1).ValueStr(i))
			}
			rec.Release()
		}
		slices.Sort(got)
		if want := []string{"delete 3 z", "insert 4 n", "update_postimage 1 X", "update_preimage 1 x"}; !slices.Equal(got, want) {
			t.Errorf("deletion vectors %s: changes %q, want %q", vectors, got, want)
		}
	}
}

func TestMergeFails(t *testing.T) {
	for _, c := range []struct {
		name, source string
		spec         merge.Spec
		rows         lines
		want         string
	}{
		{"two_changes_of_one_row_are_an_error_as_in_Delta", "id BIGINT, a BIGINT", merge.Spec{Keys: []string{"id"}}, `{"id":1,"a":2}` + "\n" + `{"id":1,"a":3}`,
			"merge: several rows of the source have the key id=1 of one row of the table; keep one of each key, or say which is the last"},
		{"a_key_the_rows_lack", "a BIGINT", merge.Spec{Keys: []string{"id"}}, `{"a":2}`, "column id is a key, and the rows do not have it"},
		{"a_key_that_has_parts", "id BIGINT, s STRUCT<x: INT>", merge.Spec{Keys: []string{"s"}}, `{"id":2,"s":{"x":1}}`, "column s is a key, and cannot be: it is a struct; name a field in it, such as s.x"},
		{"a_key_in_a_struct_that_the_rows_have_without_it", "id BIGINT, s STRUCT<x: INT>", merge.Spec{Keys: []string{"s.y"}}, `{"id":2,"s":{"x":1}}`, "column s.y is a key, and the rows do not have it"},
		{"a_key_below_what_has_no_fields", "id BIGINT, l ARRAY<STRUCT<x: INT>>", merge.Spec{Keys: []string{"l.x"}}, `{"id":2,"l":[{"x":1}]}`,
			"column l.x is a key, and cannot be: l is ARRAY<STRUCT<x: INT>>, which has no fields that a row has once"},
		{"a_key_with_a_point_in_its_name_without_back_ticks", "id BIGINT, `s.x` INT", merge.Spec{Keys: []string{"s.x"}}, `{"id":2,"s.x":1}`,
			"column s.x is a key, and the rows do not have it; a name with points in it is written in back-ticks: `s.x`"},
		{"a_key_that_is_no_name", "id BIGINT", merge.Spec{Keys: []string{"`id"}}, `{"id":2}`,
			"column `id is a key, and is no name of a column: DDL at \"`id\": the back-tick is not closed"},
		{"a_sequence_in_a_struct_that_the_rows_lack", "id BIGINT", merge.Spec{Keys: []string{"id"}, SequenceBy: "meta.seq"}, `{"id":2}`,
			"column meta.seq is what orders the changes, and the rows do not have it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := create(t, delta.TableOptions{Schema: ddl(t, "id BIGINT, a BIGINT")}, `{"id":1,"a":1}`)
			_, _, err := x.begin(c.spec, changes(t, ddl(t, c.source), c.rows))
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}
