package delta_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// ddl is a schema from its DDL text.
func ddl(t *testing.T, text string) *schema.Struct {
	t.Helper()
	s, err := schema.ParseDDL(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// record makes rows of a schema from JSON objects.
func record(t *testing.T, s *schema.Struct, rows ...string) arrow.RecordBatch {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.Arrow(), strings.NewReader("["+strings.Join(rows, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rec.Release)
	return rec
}

// appendRows writes rows under the transaction's context and adds the files.
func appendRows(t *testing.T, store objstore.Store, tx *delta.Transaction, recs ...arrow.RecordBatch) {
	t.Helper()
	w, err := delta.NewDataWriter(t.Context(), store, tx.WriteContext(), delta.DataWriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs {
		if err := w.Write(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	adds, err := w.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tx.Add(adds...)
}

func commit(t *testing.T, tx *delta.Transaction) *delta.Snapshot {
	t.Helper()
	s, err := tx.Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func load(t *testing.T, store objstore.Store) *delta.Snapshot {
	t.Helper()
	s, err := delta.Load(t.Context(), store, delta.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newTable(t *testing.T, store objstore.Store, o delta.TableOptions, rows ...string) *delta.Snapshot {
	t.Helper()
	tx, err := delta.NewTable(store, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) > 0 {
		appendRows(t, store, tx, record(t, o.Schema, rows...))
	}
	return commit(t, tx)
}

// rows reads a snapshot as JSON lines.
func rows(t *testing.T, s *delta.Snapshot) []string {
	t.Helper()
	out, err := readRows(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readRows(ctx context.Context, s *delta.Snapshot) ([]string, error) {
	var out []string
	for rec, err := range s.Scan(delta.ScanOptions{}).Batches(ctx) {
		if err != nil {
			return nil, err
		}
		text, err := rec.MarshalJSON()
		if err != nil {
			return nil, err
		}
		rec.Release()
		var list []json.RawMessage
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, err
		}
		for _, l := range list {
			var b bytes.Buffer
			json.Compact(&b, l)
			out = append(out, b.String())
		}
	}
	return out, nil
}

func wantRows(t *testing.T, s *delta.Snapshot, want ...string) {
	t.Helper()
	got := rows(t, s)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTable(t *testing.T) {
	t.Run("what_is_written_is_read", func(t *testing.T) {
		store := new(objstore.Mem)
		s := ddl(t, `b BOOLEAN, i8 TINYINT, i16 SMALLINT, i32 INT, i64 BIGINT, f FLOAT, d DOUBLE, s STRING, bin BINARY, day DATE, ts TIMESTAMP,
			d9 DECIMAL(9,2), d18 DECIMAL(18,3), d38 DECIMAL(38,10),
			st STRUCT<a: BIGINT, b: STRUCT<c: STRING>>, l ARRAY<STRUCT<x: BIGINT, y: ARRAY<STRING>>>, m MAP<STRING, STRUCT<v: BIGINT>>`)
		want := []string{
			`{"b":true,"bin":"AAH/","d":1.5,"d18":"-1.001","d38":"12345678901234567890.0123456789","d9":"1.25","day":"2024-02-29","f":0.5,"i16":-300,"i32":70000,"i64":9007199254740993,"i8":-8,"l":[{"x":1,"y":["a",null]},{"x":null,"y":[]},{"x":2,"y":null}],"m":[{"key":"k","value":{"v":1}}],"s":"sé","st":{"a":1,"b":{"c":"x"}},"ts":"2024-02-29T12:00:00.000001Z"}`,
			`{"b":null,"bin":null,"d":null,"d18":null,"d38":null,"d9":null,"day":null,"f":null,"i16":null,"i32":null,"i64":null,"i8":null,"l":null,"m":null,"s":null,"st":null,"ts":null}`,
			`{"b":false,"bin":"","d":-0.25,"d18":"0","d38":"-1e-10","d9":"-9999999.99","day":"1969-12-31","f":2,"i16":1,"i32":1,"i64":1,"i8":1,"l":[],"m":[],"s":"","st":{"a":null,"b":null},"ts":"1969-12-31T23:59:59.999999Z"}`,
		}
		newTable(t, store, delta.TableOptions{Schema: s}, want...)
		wantRows(t, load(t, store), want...)
	})
	t.Run("a_reader_is_read_from_another_thread", func(t *testing.T) {
		store := new(objstore.Mem)
		newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT")}, `{"id":1}`, `{"id":2}`)
		r := load(t, store).Scan(delta.ScanOptions{}).Reader(t.Context())
		defer r.Release()
		read := make(chan int64)
		go func() {
			runtime.LockOSThread() // as a thread of C is that calls back
			var n int64
			for r.Next() {
				n += r.RecordBatch().NumRows()
			}
			read <- n
		}()
		if n := <-read; n != 2 || r.Err() != nil {
			t.Errorf("got %d rows and %v, want 2", n, r.Err())
		}
	})
	t.Run("a_reader_says_that_its_context_ended", func(t *testing.T) {
		store := new(objstore.Mem)
		newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT")}, `{"id":1}`)
		ctx, cancel := context.WithCancel(t.Context())
		r := load(t, store).Scan(delta.ScanOptions{}).Reader(ctx)
		defer r.Release()
		cancel()
		if r.Next() || !errors.Is(r.Err(), context.Canceled) {
			t.Errorf("got %v, want %v", r.Err(), context.Canceled)
		}
	})
	t.Run("older_files_lack_fields_at_any_depth", func(t *testing.T) {
		store := new(objstore.Mem)
		first := ddl(t, `id BIGINT, st STRUCT<a: BIGINT>, l ARRAY<STRUCT<x: BIGINT>>, m MAP<STRING, STRUCT<v: BIGINT>>`)
		newTable(t, store, delta.TableOptions{Schema: first}, `{"id":1,"st":{"a":1},"l":[{"x":1}],"m":[{"key":"k","value":{"v":1}}]}`)
		more := ddl(t, `id BIGINT, m MAP<STRING, STRUCT<v: BIGINT, w: STRING>>, l ARRAY<STRUCT<x: BIGINT, y: STRING>>, st STRUCT<b: STRUCT<c: BIGINT>>, new DOUBLE`)
		tx := load(t, store).Begin("WRITE")
		if err := tx.SetSchema(more); err != nil {
			t.Fatal(err)
		}
		appendRows(t, store, tx, record(t, more, `{"id":2,"m":[{"key":"k","value":{"v":1,"w":"w"}}],"l":[{"x":1,"y":"y"}],"st":{"b":{"c":3}},"new":1}`))
		commit(t, tx)
		s := load(t, store)
		wantRows(t, s,
			`{"id":1,"l":[{"x":1,"y":null}],"m":[{"key":"k","value":{"v":1,"w":null}}],"new":null,"st":{"a":1,"b":null}}`,
			`{"id":2,"l":[{"x":1,"y":"y"}],"m":[{"key":"k","value":{"v":1,"w":"w"}}],"new":1,"st":{"a":null,"b":{"c":3}}}`)
	})
	t.Run("names_that_need_mapping_make_a_mapped_table", func(t *testing.T) {
		store := new(objstore.Mem)
		s := ddl(t, "id BIGINT, `a b` STRUCT<`c;d`: STRING>")
		newTable(t, store, delta.TableOptions{Schema: s}, `{"id":1,"a b":{"c;d":"x"}}`)
		snap := load(t, store)
		if p := snap.Protocol(); p.MinReaderVersion != 2 || p.MinWriterVersion != 5 {
			t.Errorf("got protocol %d,%d, want 2,5", p.MinReaderVersion, p.MinWriterVersion)
		}
		wantRows(t, snap, `{"a b":{"c;d":"x"},"id":1}`)
	})
	t.Run("a_checkpoint_replaces_the_commits_before_it", func(t *testing.T) {
		store := new(objstore.Mem)
		s := ddl(t, "id BIGINT")
		snap := newTable(t, store, delta.TableOptions{Schema: s, Properties: map[string]string{"x.y": "z"}}, `{"id":1}`)
		tx := snap.Begin("WRITE")
		tx.SetTxn("app", 7)
		appendRows(t, store, tx, record(t, s, `{"id":2}`))
		snap = commit(t, tx)
		if err := snap.WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"0", "1"} {
			if err := store.Delete(t.Context(), "_delta_log/0000000000000000000"+v+".json", objstore.Cond{}); err != nil {
				t.Fatal(err)
			}
		}
		snap = load(t, store)
		wantRows(t, snap, `{"id":1}`, `{"id":2}`)
		if v, ok := snap.TxnVersion("app"); v != 7 || !ok {
			t.Errorf("got txn %d, %v, want 7", v, ok)
		}
		if snap.Metadata().Configuration["x.y"] != "z" {
			t.Error("the configuration is lost")
		}
	})
}

// idsOf returns the values of the column id.
func idsOf(rec arrow.RecordBatch) (out []int) {
	for i, f := range rec.Schema().Fields() {
		if f.Name == "id" {
			for _, id := range rec.Column(i).(*array.Int64).Int64Values() {
				out = append(out, int(id))
			}
		}
	}
	return out
}
