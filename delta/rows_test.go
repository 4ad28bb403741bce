package delta_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"pgregory.net/rapid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// TestChanges deletes and updates rows of drawn tables by drawn predicates, and compares the rows, their
// ids and the feed of changes with a model.
func TestChanges(t *testing.T) {
	cols := drawnColumns()
	rapid.Check(t, func(rt *rapid.T) {
		d := drawTable(t, rt, cols)
		var ids map[int]int64
		if d.snap.TracksRows() {
			ids = d.rowIDs(t, rt)
		}
		for range rapid.IntRange(1, 4).Draw(rt, "changes") {
			p := drawPredicate(rt, cols, 1)
			meant := d.want(p)
			before := map[int]string{}
			for _, id := range meant {
				before[id] = d.rows[id].json(cols)
			}
			var next *delta.Snapshot
			var m delta.ChangeMetrics
			var err error
			var want []string
			if rapid.Bool().Draw(rt, "update") {
				i := rapid.IntRange(0, len(cols)-1).Draw(rt, "set")
				for len(cols[i].path) > 1 {
					i--
				}
				k := rapid.IntRange(-1, len(cols[i].values)-1).Draw(rt, "to")
				set := delta.Assignment{Column: cols[i].path[0]}
				if k >= 0 {
					set.Value = cols[i].values[k].value
				}
				next, m, err = d.snap.UpdateRows(t.Context(), p.p, []delta.Assignment{set}, delta.ChangeOptions{})
				for _, id := range meant {
					r := drawnRow{id, slices.Clone(d.rows[id].values)}
					r.values[i] = k
					d.rows[id] = r
					want = append(want, "update_preimage "+before[id], "update_postimage "+r.json(cols))
				}
				if err == nil && m.NumUpdatedRows != int64(len(meant)) {
					rt.Fatalf("%d rows updated, want %d", m.NumUpdatedRows, len(meant))
				}
			} else {
				next, m, err = d.snap.DeleteRows(t.Context(), p.p, delta.ChangeOptions{})
				for _, id := range meant {
					delete(d.rows, id)
					delete(ids, id)
					want = append(want, "delete "+before[id])
				}
				if err == nil && m.NumDeletedRows != int64(len(meant)) {
					rt.Fatalf("%d rows deleted, want %d", m.NumDeletedRows, len(meant))
				}
			}
			if err != nil {
				rt.Fatal(err)
			}
			if len(meant) == 0 && next.Version() != d.snap.Version() {
				rt.Fatal("a change of no rows made a version")
			}
			if next.ChangeDataFeed() && len(meant) > 0 {
				d.sameChanges(t, rt, next, want)
			}
			d.snap = next
			if rapid.Bool().Draw(rt, "reload") {
				d.snap = load(t, d.store)
			}
			d.same(t, rt, cols)
			if ids != nil {
				if got := d.rowIDs(t, rt); fmt.Sprint(got) != fmt.Sprint(ids) {
					rt.Fatalf("got row ids %v, want %v", got, ids)
				}
			}
		}
	})
}

func (d *drawnTable) same(t *testing.T, rt *rapid.T, cols []drawnColumn) {
	var want []string
	for _, r := range d.rows {
		want = append(want, withoutNulls(t, r.json(cols)))
	}
	var got []string
	for _, r := range rows(t, d.snap) {
		got = append(got, withoutNulls(t, r))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		rt.Fatalf("got rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// withoutNulls is a row in one form: without members that are null, and structs that have no others.
func withoutNulls(t *testing.T, row string) string {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(row))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(pruned(v))
	return canonical(t, string(text))
}

func pruned(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		if n, is := v.(json.Number); is {
			f, _ := n.Float64()
			if i, err := n.Int64(); err == nil {
				return i
			}
			if f > -1e30 && f < 1e30 { // a FLOAT is written with its own digits or with those of a double
				f = float64(float32(f))
			}
			return f + 0 // of the two zeros one
		}
		return v
	}
	for k, x := range m {
		if m[k] = pruned(x); m[k] == nil {
			delete(m, k)
		}
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

// rowIDs returns the row id of each row.
func (d *drawnTable) rowIDs(t *testing.T, rt *rapid.T) map[int]int64 {
	out := map[int]int64{}
	for rec, err := range d.snap.Scan(delta.ScanOptions{Columns: []string{"id"}, RowIDs: true}).Batches(t.Context()) {
		if err != nil {
			rt.Fatal(err)
		}
		for i, id := range idsOf(rec) {
			out[id] = rec.Column(1).(*array.Int64).Value(i)
		}
		rec.Release()
	}
	return out
}

func (d *drawnTable) sameChanges(t *testing.T, rt *rapid.T, s *delta.Snapshot, want []string) {
	var got []string
	for rec, err := range s.Changes(t.Context(), s.Version(), s.Version()) {
		if err != nil {
			rt.Fatal(err)
		}
		text, err := rec.MarshalJSON()
		if err != nil {
			rt.Fatal(err)
		}
		rec.Release()
		var list []map[string]any
		dec := json.NewDecoder(strings.NewReader(string(text)))
		dec.UseNumber()
		if err := dec.Decode(&list); err != nil {
			rt.Fatal(err)
		}
		for _, r := range list {
			kind := r["_change_type"].(string)
			if r["_commit_version"].(json.Number).String() != fmt.Sprint(s.Version()) || r["_commit_timestamp"] == nil {
				rt.Fatalf("got change %v", r)
			}
			for _, name := range []string{"_change_type", "_commit_version", "_commit_timestamp"} {
				delete(r, name)
			}
			row, _ := json.Marshal(r)
			got = append(got, kind+" "+withoutNulls(t, string(row)))
		}
	}
	for i, w := range want {
		kind, row, _ := strings.Cut(w, " ")
		want[i] = kind + " " + withoutNulls(t, row)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		rt.Fatalf("got changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestChangesOfVersions(t *testing.T) {
	store := new(objstore.Mem)
	s := numbered(t, store, map[string]string{"delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true"}, 2, 2)
	tx := s.Begin("DELETE")
	remove(t, tx, filesOf(t, s)[0], bitmap(1), 1)
	s = commit(t, tx)
	s, _, err := s.DeleteRows(t.Context(), nil, delta.ChangeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for rec, err := range s.Changes(t.Context(), 1, s.Version()) {
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range idsOf(rec) {
			got = append(got, fmt.Sprintf("%s %s %d", rec.Column(2).ValueStr(i), rec.Column(1).ValueStr(i), id))
		}
	}
	slices.Sort(got)
	want := []string{"1 insert 0", "1 insert 1", "2 insert 2", "2 insert 3", "3 delete 1", "4 delete 0", "4 delete 2", "4 delete 3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	t.Run("are_not_known_when_they_were_not_kept", func(t *testing.T) {
		s := numbered(t, new(objstore.Mem), nil, 1, 2)
		for _, err := range s.Changes(t.Context(), 0, 1) {
			if err == nil || !strings.Contains(err.Error(), "delta.enableChangeDataFeed was not set") {
				t.Errorf("got %v", err)
			}
			return
		}
		t.Error("no error")
	})
}
