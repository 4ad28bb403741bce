package delta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"golang.org/x/sync/errgroup"
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

func TestChangesOfOthers(t *testing.T) {
	table := filepath.Join(testdata(t), "spark-4.4.0-generated", "cdf")
	s := load(t, objstore.NewDir(filepath.Join(table, "delta")))
	names, want := parquetRows(t, filepath.Join(table, "expected_changes"))
	var got []string
	for rec, err := range s.Changes(t.Context(), 0, s.Version()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, cells(rec, names)...)
		rec.Release()
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRowIDsOfOthers(t *testing.T) {
	table := filepath.Join(testdata(t), "spark-4.4.0-generated", "row_tracking")
	dir := copyTable(t, filepath.Join(table, "delta"))
	makeWritable(t, dir)
	s := load(t, objstore.NewDir(dir))
	idsOfRows := func(s *delta.Snapshot) []string {
		var out []string
		for rec, err := range s.Scan(delta.ScanOptions{RowIDs: true}).Batches(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range idsOf(rec) {
				out = append(out, fmt.Sprintf("id: int64 %d; row_id: int64 %s; row_commit_version: int64 %s; ", id, rec.Column(2).ValueStr(i), rec.Column(3).ValueStr(i)))
			}
			rec.Release()
		}
		slices.Sort(out)
		return out
	}
	_, want := parquetRows(t, filepath.Join(table, "expected_row_tracking"))
	v := regexp.MustCompile(`v: "[^"]*"; `)
	for i := range want {
		want[i] = v.ReplaceAllString(want[i], "")
	}
	slices.Sort(want)
	got := idsOfRows(s)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s, _, err := s.UpdateRows(t.Context(), delta.Compare{Column: []string{"id"}, Value: 5}, []delta.Assignment{{Column: "v", Value: "silt"}}, delta.ChangeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if strings.HasPrefix(want[i], "id: int64 5;") {
			want[i] = fmt.Sprintf("id: int64 5; row_id: int64 5; row_commit_version: int64 %d; ", s.Version())
		}
	}
	if got := idsOfRows(s); !slices.Equal(got, want) {
		t.Errorf("after an update got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	readersSee(t, dir, rows(t, s)...)
}

// TestOthersSeeChanges has deltalake read the feed of changes that silt has written.
func TestOthersSeeChanges(t *testing.T) {
	py := python(t)
	for name, o := range map[string]delta.TableOptions{
		"by_rewriting": {}, "of_partitions": {PartitionBy: []string{"p"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			store := objstore.NewDir(dir)
			o.Schema = ddl(t, "id BIGINT, p STRING")
			o.Properties = maps.Clone(o.Properties)
			if o.Properties == nil {
				o.Properties = map[string]string{}
			}
			o.Properties["delta.enableChangeDataFeed"] = "true"
			s := newTable(t, store, o, `{"id":1,"p":"x"}`, `{"id":2,"p":"y"}`, `{"id":3,"p":"y"}`)
			s, _, err := s.UpdateRows(t.Context(), delta.Compare{Column: []string{"id"}, Value: 2}, []delta.Assignment{{Column: "p", Value: "z"}}, delta.ChangeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if s, _, err = s.DeleteRows(t.Context(), delta.Compare{Column: []string{"id"}, Op: delta.Greater, Value: 2}, delta.ChangeOptions{}); err != nil {
				t.Fatal(err)
			}
			readersSee(t, dir, rows(t, s)...)
			out, err := exec.Command(py, filepath.Join("testdata", "changes.py"), dir).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%.2000s", err, out)
			}
			var want []string
			for rec, err := range s.Changes(t.Context(), 0, s.Version()) {
				if err != nil {
					t.Fatal(err)
				}
				for i, id := range idsOf(rec) {
					want = append(want, fmt.Sprintf("%d %s %s %s", id, rec.Column(1).ValueStr(i), rec.Column(2).ValueStr(i), rec.Column(3).ValueStr(i)))
				}
			}
			got := strings.Split(strings.TrimSpace(string(out)), "\n")
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("deltalake sees\n%s\nsilt\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestChangersTogether has several change the same rows at once: what contradicts is done again, and
// nothing is lost or done twice.
func TestChangersTogether(t *testing.T) {
	for name, properties := range map[string]map[string]string{"by_deletion_vectors": withVectors, "by_rewriting": {"delta.enableChangeDataFeed": "true"}} {
		t.Run(name, func(t *testing.T) {
			store := new(objstore.Mem)
			newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, a BIGINT"), Properties: properties}, `{"id":0,"a":1}`, `{"id":1,"a":1}`, `{"id":2,"a":1}`)
			var g errgroup.Group
			const workers, each = 4, 6
			for w := range workers {
				g.Go(func() error {
					for i := range each {
						row := int64(100 + w*each + i)
						change := func(s *delta.Snapshot) error {
							_, _, err := s.UpdateRows(t.Context(), delta.In{Column: []string{"id"}, Values: []any{i % 3, row}},
								[]delta.Assignment{{Column: "a", SQL: "a * 2"}}, delta.ChangeOptions{Evaluator: smallSQL{}})
							return err
						}
						tx := load(t, store).Begin("WRITE")
						appendRows(t, store, tx, record(t, ddl(t, "id BIGINT, a BIGINT"), fmt.Sprintf(`{"id":%d,"a":1}`, row)))
						if _, err := tx.Commit(t.Context(), nil); err != nil {
							return err
						}
						if err := again(t, store, change); err != nil {
							return err
						}
						if i%2 == 0 {
							continue
						}
						if err := again(t, store, func(s *delta.Snapshot) error {
							_, _, err := s.DeleteRows(t.Context(), delta.Compare{Column: []string{"id"}, Value: row}, delta.ChangeOptions{})
							return err
						}); err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			var want []string
			for id := range 3 {
				want = append(want, fmt.Sprintf(`{"a":%d,"id":%d}`, 1<<(workers*each/3), id))
			}
			for w := range workers {
				for i := 0; i < each; i += 2 {
					want = append(want, fmt.Sprintf(`{"a":2,"id":%d}`, 100+w*each+i))
				}
			}
			sortedEqual(t, "silt", canonicals(t, rows(t, load(t, store))), want)
		})
	}
}

// again makes a change of the newest version until nobody contradicts it.
func again(t *testing.T, store objstore.Store, change func(*delta.Snapshot) error) error {
	for range 200 {
		err := change(load(t, store))
		var conflict *delta.ConflictError
		if !errors.As(err, &conflict) {
			return err
		}
	}
	return errors.New("200 conflicts")
}
