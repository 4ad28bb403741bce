package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// patchColumns are of all types; `long` makes a row group end.
const patchColumns = "id BIGINT, ok BOOLEAN, small TINYINT, i INT, f FLOAT, d DOUBLE, dec DECIMAL(9,2), wide DECIMAL(30,4), day DATE, at TIMESTAMP, name STRING, " +
	"st STRUCT<x: INT, tags: ARRAY<STRING>, in: STRUCT<y: DOUBLE, z: STRING>>, l ARRAY<STRUCT<a: BIGINT, t: ARRAY<DOUBLE>>>, m MAP<STRING, STRUCT<k: INT>>, long STRING"

// patchRow draws a row as JSON that Arrow reads.
func patchRow(r *rand.Rand, s *schema.Struct, long int) map[string]any {
	row := map[string]any{}
	for _, f := range s.Fields {
		row[f.Name] = patchValue(r, f.Type)
	}
	if r.IntN(2) == 0 {
		row["long"] = strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(long)) + fmt.Sprint(r.Uint64())
	}
	return row
}

func patchValue(r *rand.Rand, typ schema.Type) any {
	if r.IntN(5) == 0 {
		return nil
	}
	switch typ := typ.(type) {
	case *schema.Struct:
		out := map[string]any{}
		for _, f := range typ.Fields {
			out[f.Name] = patchValue(r, f.Type)
		}
		return out
	case *schema.Array:
		list := make([]any, r.IntN(4))
		for i := range list {
			list[i] = patchValue(r, typ.Element)
		}
		return list
	case *schema.Map:
		list := []any{}
		for i := range r.IntN(3) {
			list = append(list, map[string]any{"key": fmt.Sprint("k", i), "value": patchValue(r, typ.Value)})
		}
		return list
	case schema.Decimal:
		return fmt.Sprintf("%d.%02d", r.IntN(20000)-10000, r.IntN(100))
	}
	switch typ {
	case schema.Boolean:
		return r.IntN(2) == 0
	case schema.Date:
		return fmt.Sprintf("20%02d-01-02", r.IntN(90)+10)
	case schema.Timestamp:
		return fmt.Sprintf("20%02d-01-02 03:04:05.%06dZ", r.IntN(90)+10, r.IntN(1000000))
	case schema.String:
		return fmt.Sprint("text ", r.IntN(40))
	case schema.Float, schema.Double:
		return float64(r.IntN(1000)-500) / 4
	}
	return r.IntN(250) - 125
}

func patchRecord(t *testing.T, s *schema.Struct, rows []map[string]any) arrow.RecordBatch {
	t.Helper()
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.Arrow(), strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// patchTable makes a table of one file, of several row groups when its rows are long.
func patchTable(t *testing.T, s *schema.Struct, rec arrow.RecordBatch, codec string) (*Snapshot, *Add) {
	t.Helper()
	tx, err := NewTable(new(objstore.Mem), TableOptions{Schema: s, Properties: map[string]string{propCodec: codec}})
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewDataWriter(t.Context(), tx.store, tx.WriteContext(), DataWriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.format.RowGroupBytes = 1
	if err := w.Write(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	adds, err := w.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tx.Add(adds...)
	snapshot, err := tx.Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot, adds[0]
}

// patchRows reads the rows of a snapshot.
func patchedRows(t *testing.T, s *Snapshot) (rows []string) {
	t.Helper()
	for rec, err := range s.Scan(ScanOptions{}).Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, recordRows(t, rec)...)
		rec.Release()
	}
	return rows
}

func recordRows(t *testing.T, rec arrow.RecordBatch) (rows []string) {
	t.Helper()
	st := array.RecordToStructArray(rec)
	defer st.Release()
	for i := range st.Len() {
		b, err := json.Marshal(st.GetOneForMarshal(i))
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, string(b))
	}
	return rows
}

// TestPatch replaces and removes rows of random files, and wants the rows, and the statistics, that the
// general way makes of them.
func TestPatch(t *testing.T) {
	s := ddlOf(t, patchColumns)
	copied, spliced, groups := 0, 0, 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		rows := make([]map[string]any, 1+r.IntN(400))
		for i := range rows {
			rows[i] = patchRow(r, s, []int{1, 100, 20_000}[seed%3])
		}
		rec := patchRecord(t, s, rows)
		snapshot, add := patchTable(t, s, rec, []string{"zstd", "snappy", "none", "gzip"}[seed%4])
		patch := FilePatch{Gone: roaring64.New()}
		var changes []map[string]any
		want := slices.Clone(rows)
		kept := []map[string]any{}
		oneColumn := s.Fields[1+r.IntN(len(s.Fields)-1)].Name
		for i := range rows {
			next := rows[i]
			switch kind := r.IntN(30); {
			case kind == 0 && seed%2 == 0 && i > 0:
				patch.Gone.Add(uint64(i))
				continue
			case kind == 1:
				next = patchRow(r, s, 50)
			case kind == 2 && seed%2 == 1:
				next = map[string]any{}
				for k, v := range rows[i] {
					next[k] = v
				}
				next[oneColumn] = patchRow(r, s, 50)[oneColumn]
			case kind > 3:
				kept = append(kept, next)
				continue
			}
			patch.Places, changes, want[i] = append(patch.Places, int64(i)), append(changes, next), next
			kept = append(kept, next)
		}
		patch.Rows = patchRecord(t, s, changes)
		p, err := snapshot.NewPatcher(t.Context(), snapshot.Begin("X").WriteContext(), DataWriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		differ, made, err := p.Patch(t.Context(), add, patch)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		again, err := p.Differ(t.Context(), add, patch)
		if err != nil || !slices.Equal(differ, again) {
			t.Fatalf("seed %d: rows that differ %v, without a file %v, %v", seed, differ, again, err)
		}
		before, after := recordRows(t, rec), recordRows(t, patchRecord(t, s, want))
		for k, i := range patch.Places {
			if differ[k] != (before[i] != after[i]) {
				t.Fatalf("seed %d: row %d differs: %t\n%s\n%s", seed, i, differ[k], before[i], after[i])
			}
		}
		if made == nil {
			if slices.Contains(differ, true) || !patch.Gone.IsEmpty() {
				t.Fatalf("seed %d: no file", seed)
			}
			continue
		}
		p.Keep()
		tx := snapshot.Begin("X")
		tx.Add(made)
		tx.Remove(add.Remove(time.UnixMilli(1), true))
		next, err := tx.Commit(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		expected := patchRecord(t, s, kept)
		if got, want := patchedRows(t, next), recordRows(t, expected); !slices.Equal(got, want) {
			for i := range want {
				if i >= len(got) || got[i] != want[i] {
					t.Fatalf("seed %d: %d rows, want %d; row %d\n%s\nwant\n%s", seed, len(got), len(want), i, got[min(i, len(got)-1)], want[i])
				}
			}
			t.Fatalf("seed %d: %d rows, want %d", seed, len(got), len(want))
		}
		if _, plain := patchTable(t, s, expected, "zstd"); plain.Stats != made.Stats {
			t.Fatalf("seed %d: statistics\n%s\nwant\n%s", seed, made.Stats, plain.Stats)
		}
		f, err := p.open(t.Context(), made)
		if err != nil {
			t.Fatalf("seed %d: the file cannot be patched again: %v", seed, err)
		}
		groups += len(f.groups) - 1
		spliced++
		if seed%2 == 1 {
			copied++
		}
		p.Close(t.Context())
	}
	if groups == 0 || copied == 0 || spliced < 30 {
		t.Errorf("%d files, %d with columns as they were, %d more row groups: the test is too easy", spliced, copied, groups)
	}
}

// TestPatchRefuses leaves to the general way what it does not understand.
func TestPatchRefuses(t *testing.T) {
	s := ddlOf(t, "id BIGINT, d DOUBLE")
	rec := patchRecord(t, s, []map[string]any{{"id": 1, "d": 2.5}})
	snapshot, add := patchTable(t, s, rec, "zstd")
	for _, c := range []struct {
		name    string
		columns string
	}{
		{"a_column_of_another_type", "id INT, d DOUBLE"},
		{"a_column_that_the_file_lacks_in_a_struct", "id BIGINT, d STRUCT<x: INT>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wc := snapshot.Begin("X").WriteContext()
			wc.Schema = ddlOf(t, c.columns)
			p, err := snapshot.NewPatcher(t.Context(), wc, DataWriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close(t.Context())
			if _, _, err := p.Patch(t.Context(), add, FilePatch{}); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("error %v, want %v", err, errors.ErrUnsupported)
			}
		})
	}
}

// TestPatchAddsColumns patches a file that lacks a column.
func TestPatchAddsColumns(t *testing.T) {
	s := ddlOf(t, "id BIGINT, d DOUBLE")
	snapshot, add := patchTable(t, s, patchRecord(t, s, []map[string]any{{"id": 1, "d": 2.5}, {"id": 2, "d": nil}}), "zstd")
	tx := snapshot.Begin("X")
	wide := ddlOf(t, "id BIGINT, d DOUBLE, l ARRAY<STRUCT<a: INT>>, t STRING")
	if err := tx.SetSchema(wide); err != nil {
		t.Fatal(err)
	}
	p, err := snapshot.NewPatcher(t.Context(), tx.WriteContext(), DataWriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	differ, made, err := p.Patch(t.Context(), add, FilePatch{Places: []int64{1}, Rows: patchRecord(t, wide, []map[string]any{{"id": 2, "d": nil, "l": []any{map[string]any{"a": 1}}, "t": "x"}})})
	if err != nil || !differ[0] {
		t.Fatal(differ, err)
	}
	p.Keep()
	tx.Add(made)
	tx.Remove(add.Remove(time.UnixMilli(1), true))
	next, err := tx.Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`{"d":2.5,"id":1,"l":null,"t":null}`, `{"d":null,"id":2,"l":[{"a":1}],"t":"x"}`}
	if got := patchedRows(t, next); !slices.Equal(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
	if want := `{"numRecords":2,"minValues":{"id":1,"d":2.5,"t":"x"},"maxValues":{"id":2,"d":2.5,"t":"x"},"nullCount":{"id":0,"d":1,"l":1,"t":1}}`; made.Stats != want {
		t.Errorf("statistics %s\nwant       %s", made.Stats, want)
	}
}
