package convert_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// bench is a source, a table and its quarantine in memory.
type bench struct {
	t                          *testing.T
	source, target, quarantine objstore.Mem
	task                       convert.Task
}

func newBench(t *testing.T, ddl string) *bench {
	t.Helper()
	s, err := schema.ParseDDL(ddl)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t}
	b.task = convert.Task{Batch: 7, Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Name: "part", Targets: make([]convert.Target, 1),
		Decode: decode.Options{Schema: s, Rescue: "_rescued_data", Observe: true}}
	return b
}

func (b *bench) file(key, content string) objstore.Object {
	b.t.Helper()
	o, err := objstore.PutBytes(b.t.Context(), &b.source, key, []byte(content), objstore.Cond{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.task.Files = append(b.task.Files, o)
	return o
}

func (b *bench) context(store objstore.Store, s *schema.Struct) delta.WriteContext {
	b.t.Helper()
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: s})
	if err != nil {
		b.t.Fatal(err)
	}
	return tx.WriteContext()
}

func (b *bench) run() (*convert.Result, error) {
	b.t.Helper()
	b.task.Targets[0].Write = b.context(&b.target, b.task.Source(&b.task.Targets[0]))
	b.task.Quarantine = b.context(&b.quarantine, convert.QuarantineColumns)
	c := convert.New(convert.Stores{Source: &b.source, URI: func(key string) string { return "mem:///" + key },
		Targets: []objstore.Store{&b.target}, Quarantine: &b.quarantine}, duck.Options{})
	defer c.Close()
	return c.Run(b.t.Context(), b.task)
}

// rows reads the data files of a result, one text a row.
func (b *bench) rows(store objstore.Store, s *schema.Struct, adds []*delta.Add) (rows []string) {
	b.t.Helper()
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: s})
	if err != nil {
		b.t.Fatal(err)
	}
	tx.Add(adds...)
	snapshot, err := tx.Commit(b.t.Context(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for rec, err := range snapshot.Scan(delta.ScanOptions{}).Batches(b.t.Context()) {
		if err != nil {
			b.t.Fatal(err)
		}
		for row := range int(rec.NumRows()) {
			var values []string
			for _, c := range rec.Columns() {
				values = append(values, c.ValueStr(row))
			}
			rows = append(rows, strings.Join(values, "|"))
		}
		rec.Release()
	}
	return rows
}

func (b *bench) keys(store objstore.Store) (keys []string) {
	b.t.Helper()
	for o, err := range store.List(b.t.Context(), "", "") {
		if err != nil {
			b.t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func TestRun(t *testing.T) {
	t.Run("each_row_says_where_it_comes_from", func(t *testing.T) {
		b := newBench(t, "id BIGINT")
		b.task.Lineage = convert.LineageColumns.Names()
		b.file("a", `{"id":1}`+"\n"+`{"id":2}`+"\n")
		b.file("b", `{"id":3}`+"\n")
		r, err := b.run()
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(b.rows(&b.target, b.task.Source(&b.task.Targets[0]), r.Targets[0].Adds), "\n")
		want := "1|(null)|2026-01-02T03:04:05.000006Z|mem:///a|2026-01-02|7\n" +
			"2|(null)|2026-01-02T03:04:05.000006Z|mem:///a|2026-01-02|7\n" +
			"3|(null)|2026-01-02T03:04:05.000006Z|mem:///b|2026-01-02|7"
		if got != want {
			t.Errorf("rows\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("bad_records_go_to_the_quarantine_and_are_counted_with_their_file", func(t *testing.T) {
		b := newBench(t, "id BIGINT")
		b.file("a", `{"id":1}`+"\n")
		b.file("b", "{\n"+`{"id":3}`+"\n"+`nope`+"\n")
		r, err := b.run()
		if err != nil {
			t.Fatal(err)
		}
		if r.Rows() != 2 || r.Quarantined != 2 || r.Files[1].Bad != 2 || r.Files[1].Records != 3 || r.Files[0].Bad != 0 {
			t.Errorf("result %+v", r)
		}
		if rows := b.rows(&b.quarantine, convert.QuarantineColumns, r.Quarantine); len(rows) != 2 || !strings.Contains(rows[1], "|nope|") {
			t.Errorf("quarantine %q", rows)
		}
	})
	t.Run("a_file_that_fails_after_rows_of_it_were_written_leaves_none", func(t *testing.T) {
		b := newBench(t, "id BIGINT")
		b.task.Decode.BatchRows = 1
		b.file("a", `{"id":1,"new":1}`+"\n")
		b.file("b", `{"id":2,"other":true}`+"\n"+`{"id":3}`+"\n"+`{"id":`)
		b.task.TornGrace = 1000 * time.Hour
		b.task.Time = b.task.Files[1].ModTime
		r, err := b.run()
		if err != nil {
			t.Fatal(err)
		}
		if r.Files[1].State != convert.Deferred || r.Rows() != 1 || r.Observed[""].Field("other") != nil || r.Observed[""].Field("new") == nil {
			t.Errorf("result %+v", r)
		}
		if keys := b.keys(&b.target); len(keys) != 1 {
			t.Errorf("data files %q, want one", keys)
		}
	})
	t.Run("a_file_that_vanished_or_changed_is_not_read", func(t *testing.T) {
		b := newBench(t, "id BIGINT")
		b.file("a", `{"id":1}`+"\n")
		b.file("b", `{"id":2}`+"\n")
		b.file("c", `{"id":3}`+"\n")
		if err := b.source.Delete(t.Context(), "a", objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
		if _, err := objstore.PutBytes(t.Context(), &b.source, "b", []byte("other"), objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
		r, err := b.run()
		if err != nil {
			t.Fatal(err)
		}
		if r.Files[0].State != convert.Vanished || !errors.Is(r.Files[0].Err, fs.ErrNotExist) || r.Files[1].State != convert.Overwritten ||
			r.Files[2].State != convert.Loaded || r.Rows() != 1 {
			t.Errorf("result %+v", r)
		}
	})
	t.Run("a_task_that_is_stopped_leaves_no_data_files", func(t *testing.T) {
		b := newBench(t, "id BIGINT")
		b.task.OnCorrupt = convert.FailOnCorrupt
		b.task.Decode.BatchRows = 1
		b.file("a", `{"id":1}`+"\n"+`x`+"\n")
		_, err := b.run()
		var corrupt *convert.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Line != 2 {
			t.Errorf("error %v", err)
		}
		if keys := b.keys(&b.target); len(keys) != 0 {
			t.Errorf("data files %q are left", keys)
		}
	})
	t.Run("a_store_that_fails_is_no_outcome_of_the_file", func(t *testing.T) {
		b := newBench(t, "id BIGINT")
		b.file("a", `{"id":1}`+"\n")
		b.task.Targets[0].Write, b.task.Quarantine = b.context(&b.target, b.task.Source(&b.task.Targets[0])), b.context(&b.quarantine, convert.QuarantineColumns)
		c := convert.New(convert.Stores{Source: failing{&b.source}, URI: func(key string) string { return key }, Targets: []objstore.Store{&b.target},
			Quarantine: &b.quarantine}, duck.Options{})
		if _, err := c.Run(t.Context(), b.task); !errors.Is(err, errDown) {
			t.Errorf("error %v, want that of the store", err)
		}
	})
}

var errDown = errors.New("the store is down")

// failing is a store that cannot be read.
type failing struct{ objstore.Store }

func (f failing) Open(ctx context.Context, key string, r objstore.Range) (body io.ReadCloser, o objstore.Object, err error) {
	return nil, o, errDown
}

func TestSplit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t, "id BIGINT")
		var text strings.Builder
		for i := range rapid.IntRange(0, 60).Draw(rt, "lines") {
			switch rapid.IntRange(0, 5).Draw(rt, "kind") {
			case 0:
				text.WriteString("\n")
			case 1:
				text.WriteString("bad\n")
			case 2:
				fmt.Fprintf(&text, `{"id":%d,"x":"%s"}`+"\r\n", i, strings.Repeat("x", rapid.IntRange(0, 90).Draw(rt, "long")))
			default:
				fmt.Fprintf(&text, `{"id":%d}`+"\n", i)
			}
		}
		if rapid.Bool().Draw(rt, "open end") {
			text.WriteString(`{"id":77}`)
		}
		o := b.file("a", text.String())
		c := convert.New(convert.Stores{Source: &b.source}, duck.Options{})
		opts := b.task.Decode
		opts.Framing = "lines"
		parts, err := c.Split(t.Context(), o, opts, rapid.Int64Range(1, 300).Draw(rt, "size"))
		if err != nil {
			rt.Fatal(err)
		}
		at := int64(0)
		for _, p := range parts {
			if len(parts) == 1 {
				break
			}
			before := text.String()[:p.Start]
			if p.Start != at || p.End <= p.Start || p.Start > 0 && !strings.HasSuffix(before, "\n") || p.Lines != int64(strings.Count(before, "\n")) {
				rt.Fatalf("part %+v after %d bytes", p, at)
			}
			at = p.End
		}
		if len(parts) > 1 && at != o.Size {
			rt.Fatalf("parts end at %d, the file at %d", at, o.Size)
		}
	})
}
