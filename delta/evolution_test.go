package delta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// evolution is a table, and a naive model of it: its rows as JSON under the columns it has.
type evolution struct {
	t     *testing.T
	rt    *rapid.T
	store objstore.Store
	s     *delta.Snapshot
	names []string // of new fields
	next  int      // id

	columns  *schema.Struct
	rows     []map[string]any
	versions map[int64]modelVersion
}

// modelVersion is what the model was at a version of the table.
type modelVersion struct {
	columns *schema.Struct
	rows    []map[string]any
}

// TestEvolution grows tables in generated histories: fields at any depth of structs, in arrays and maps,
// columns that are mapped from the start, later, or never, renamed and dropped, rows deleted, files packed,
// versions restored. Each version reads as the model has it, now and later; a sample is read by others too.
func TestEvolution(t *testing.T) {
	var sample []string
	want := map[string][]string{}
	for _, mapped := range []bool{false, true} {
		t.Run(fmt.Sprintf("mapped=%v", mapped), func(t *testing.T) {
			n := 0
			rapid.Check(t, func(rt *rapid.T) {
				var store objstore.Store = new(objstore.Mem)
				path := ""
				if n++; n%20 == 0 && os.Getenv("SILT_PYTHON") != "" {
					path = filepath.Join(t.TempDir(), fmt.Sprint(n))
					store = objstore.NewDir(path)
				}
				e := newEvolution(t, rt, store, mapped)
				for range rapid.IntRange(2, 10).Draw(rt, "steps") {
					e.step()
				}
				e.check()
				if path != "" {
					sample, want[path] = append(sample, path), e.want(e.rows)
				}
			})
			if t.Failed() || len(sample) == 0 {
				return
			}
			for _, r := range ask(t, python(t), append([]string{filepath.Join("testdata", "read.py")}, sample...)...) {
				if r.Refuses != "" {
					t.Logf("%s refuses: %s", r.Reader, r.Refuses)
					continue
				}
				if r.Error != "" {
					t.Errorf("%s: %s", r.Reader, r.Error)
					continue
				}
				r.same(t, want[r.Path])
			}
			sample = nil
		})
	}
}

func newEvolution(t *testing.T, rt *rapid.T, store objstore.Store, mapped bool) *evolution {
	e := &evolution{t: t, rt: rt, store: store, names: []string{"a", "b", "c", "d", "e"}, versions: map[int64]modelVersion{}}
	o := delta.TableOptions{Properties: map[string]string{}}
	if mapped {
		e.names = append(e.names, "a b", "x;y={}", "é")
		o.Properties["delta.columnMapping.mode"] = rapid.SampledFrom([]string{"name", "id"}).Draw(rt, "mode")
	}
	if rapid.Bool().Draw(rt, "deletion vectors") {
		o.Properties["delta.enableDeletionVectors"] = "true"
	}
	e.columns = e.grown(schema.NewStruct(schema.Nullable("id", schema.Long)), 3)
	o.Schema = e.columns
	tx, err := delta.NewTable(store, o)
	if err != nil {
		rt.Fatal(err)
	}
	e.append(tx, e.columns)
	return e
}

// step does one of the things that may be done to the table.
func (e *evolution) step() {
	mapped := e.s.Metadata().Configuration["delta.columnMapping.mode"] != ""
	switch rapid.SampledFrom([]string{"grow", "grow", "grow", "append", "pack", "delete", "map", "rename", "drop", "restore", "checkpoint"}).Draw(e.rt, "step") {
	case "grow":
		incoming := e.grown(e.columns, 3)
		tx := e.s.Begin("WRITE")
		if err := tx.SetSchema(incoming); err != nil {
			e.rt.Fatal(err)
		}
		e.append(tx, incoming)
	case "append":
		e.append(e.s.Begin("WRITE"), e.columns)
	case "pack":
		s, _, err := e.s.Optimize(e.t.Context(), delta.OptimizeOptions{})
		e.became(s, err)
	case "delete":
		e.delete()
	case "map":
		s, err := e.s.SetProperties(e.t.Context(), map[string]string{"delta.columnMapping.mode": "name"})
		if !mapped {
			e.became(s, err)
		}
	case "rename":
		if path, ok := e.field(); ok && mapped {
			e.rename(path)
		}
	case "drop":
		if path, ok := e.field(); ok && mapped {
			e.drop(path)
		}
	case "restore":
		v := rapid.Int64Range(0, e.s.Version()).Draw(e.rt, "version")
		s, _, err := e.s.Restore(e.t.Context(), delta.LoadOptions{Version: &v})
		if err == nil {
			e.columns, e.rows = e.versions[v].columns, e.versions[v].rows
		}
		e.became(s, err)
	case "checkpoint":
		if err := e.s.WriteCheckpoint(e.t.Context()); err != nil {
			e.rt.Fatal(err)
		}
		e.became(delta.Load(e.t.Context(), e.store, delta.LoadOptions{}))
	}
}

// became notes the version that the table is now.
func (e *evolution) became(s *delta.Snapshot, err error) {
	if err != nil {
		e.rt.Fatal(err)
	}
	e.s = s
	e.versions[s.Version()] = modelVersion{e.columns, e.rows}
}

// grown returns the columns with new fields here and there, and with some left out.
func (e *evolution) grown(s *schema.Struct, depth int) *schema.Struct {
	out := &schema.Struct{}
	for _, f := range s.Fields {
		if f.Name != "id" && len(s.Fields) > 1 && rapid.IntRange(0, 5).Draw(e.rt, "leave out") == 0 {
			continue
		}
		f = schema.Nullable(f.Name, e.grownType(f.Type, depth-1))
		out.Fields = append(out.Fields, f)
	}
	for rapid.IntRange(0, 2).Draw(e.rt, "add") == 0 || len(out.Fields) == 0 {
		name := rapid.SampledFrom(e.names).Draw(e.rt, "name")
		if s.IndexFold(name) < 0 && out.IndexFold(name) < 0 {
			out.Fields = append(out.Fields, schema.Nullable(name, e.newType(depth-1)))
		} else if len(out.Fields) > 0 {
			break
		}
	}
	return out
}

func (e *evolution) grownType(t schema.Type, depth int) schema.Type {
	switch t := t.(type) {
	case *schema.Struct:
		return e.grown(t, depth)
	case *schema.Array:
		return &schema.Array{Element: e.grownType(t.Element, depth), ContainsNull: true}
	case *schema.Map:
		return &schema.Map{Key: t.Key, Value: e.grownType(t.Value, depth), ValueContainsNull: true}
	}
	return t
}

func (e *evolution) newType(depth int) schema.Type {
	kinds := []string{"long", "string", "double"}
	if depth > 0 {
		kinds = append(kinds, "struct", "struct", "array", "map")
	}
	switch rapid.SampledFrom(kinds).Draw(e.rt, "kind") {
	case "string":
		return schema.String
	case "double":
		return schema.Double
	case "struct":
		return e.grown(&schema.Struct{}, depth)
	case "array":
		return &schema.Array{Element: e.newType(depth - 1), ContainsNull: true}
	case "map":
		return &schema.Map{Key: schema.String, Value: e.newType(depth - 1), ValueContainsNull: true}
	}
	return schema.Long
}

// append commits new rows of the columns that are incoming.
func (e *evolution) append(tx *delta.Transaction, incoming *schema.Struct) {
	var texts []string
	var added []map[string]any
	for range rapid.IntRange(1, 3).Draw(e.rt, "rows") {
		row := map[string]any{}
		for _, f := range incoming.Fields {
			row[f.Name] = drawValue(e.rt, f.Type)
		}
		row["id"] = e.next
		e.next++
		text, _ := json.Marshal(row)
		texts, added = append(texts, string(text)), append(added, row)
	}
	appendRows(e.t, e.store, tx, record(e.t, incoming, texts...))
	s, err := tx.Commit(e.t.Context(), nil)
	if err != nil {
		e.rt.Fatal(err)
	}
	now := unmapped(s.Schema()).(*schema.Struct)
	var all []map[string]any
	for _, r := range e.rows {
		all = append(all, widened(r, e.columns, now).(map[string]any))
	}
	for _, r := range added {
		all = append(all, widened(r, incoming, now).(map[string]any))
	}
	e.columns, e.rows = now, all
	e.became(s, nil)
}

// unmapped returns a type by its names alone.
func unmapped(t schema.Type) schema.Type {
	switch t := t.(type) {
	case *schema.Struct:
		out := &schema.Struct{}
		for _, f := range t.Fields {
			out.Fields = append(out.Fields, schema.Nullable(f.Name, unmapped(f.Type)))
		}
		return out
	case *schema.Array:
		return &schema.Array{Element: unmapped(t.Element), ContainsNull: true}
	case *schema.Map:
		return &schema.Map{Key: t.Key, Value: unmapped(t.Value), ValueContainsNull: true}
	}
	return t
}

// delete deletes one row by a deletion vector, where the table has them.
func (e *evolution) delete() {
	if !e.s.WritesDeletionVectors() {
		return
	}
	s := deleteRow(e.t, e.s, 0)
	left := rowIDs(e.t, s)
	e.rows = slices.DeleteFunc(slices.Clone(e.rows), func(r map[string]any) bool { return !slices.Contains(left, r["id"].(int)) })
	if gone := len(rowIDs(e.t, e.s)) - len(left); gone > 1 || gone == 1 && s.Version() != e.s.Version()+1 {
		e.rt.Fatalf("%d rows are gone", gone)
	}
	e.became(s, nil)
}

// field draws the path of a field in structs, but for id and for what is alone in its struct.
func (e *evolution) field() (path []string, ok bool) {
	var all [][]string
	var walk func(at []string, s *schema.Struct)
	walk = func(at []string, s *schema.Struct) {
		for _, f := range s.Fields {
			p := append(slices.Clone(at), f.Name)
			if len(s.Fields) > 1 && f.Name != "id" {
				all = append(all, p)
			}
			if st, ok := f.Type.(*schema.Struct); ok {
				walk(p, st)
			}
		}
	}
	walk(nil, e.columns)
	if len(all) == 0 {
		return nil, false
	}
	return rapid.SampledFrom(all).Draw(e.rt, "field"), true
}

func (e *evolution) rename(path []string) {
	name := rapid.SampledFrom([]string{"r", "r s", "q"}).Draw(e.rt, "new name")
	if name == path[len(path)-1] {
		return
	}
	s, err := e.s.RenameColumn(e.t.Context(), path, name)
	var taken *delta.ColumnError
	if errors.As(err, &taken) {
		return // there is a column of the name
	}
	e.edit(path, func(st *schema.Struct, i int) { st.Fields[i].Name = name }, func(row map[string]any, old string) {
		row[name] = row[old]
		delete(row, old)
	})
	e.became(s, err)
}

func (e *evolution) drop(path []string) {
	s, err := e.s.DropColumns(e.t.Context(), path)
	e.edit(path, func(st *schema.Struct, i int) { st.Fields = slices.Delete(st.Fields, i, i+1) }, func(row map[string]any, old string) { delete(row, old) })
	e.became(s, err)
}

// edit changes a field in the columns and in each row of the model.
func (e *evolution) edit(path []string, field func(*schema.Struct, int), value func(map[string]any, string)) {
	var columns func(s *schema.Struct, path []string) *schema.Struct
	columns = func(s *schema.Struct, path []string) *schema.Struct {
		out := &schema.Struct{Fields: slices.Clone(s.Fields)}
		i := out.Index(path[0])
		if len(path) == 1 {
			field(out, i)
		} else {
			out.Fields[i].Type = columns(out.Fields[i].Type.(*schema.Struct), path[1:])
		}
		return out
	}
	var in func(v any, path []string) any
	in = func(v any, path []string) any {
		row, ok := v.(map[string]any)
		if !ok {
			return v // null
		}
		row = maps.Clone(row)
		if len(path) == 1 {
			value(row, path[0])
		} else {
			row[path[0]] = in(row[path[0]], path[1:])
		}
		return row
	}
	e.columns = columns(e.columns, path)
	var rows []map[string]any
	for _, r := range e.rows {
		rows = append(rows, in(r, path).(map[string]any))
	}
	e.rows = rows
}

func (e *evolution) want(rows []map[string]any) []string {
	var out []string
	for _, r := range rows {
		text, _ := json.Marshal(r)
		out = append(out, canonical(e.t, string(text)))
	}
	slices.Sort(out)
	return out
}

// check compares every version with the model.
func (e *evolution) check() {
	for v, m := range e.versions {
		s, err := delta.Load(e.t.Context(), e.store, delta.LoadOptions{Version: &v})
		if err != nil {
			e.rt.Fatal(err)
		}
		got, want := canonicals(e.t, rows(e.t, s)), e.want(m.rows)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			e.rt.Fatalf("version %d of %d, schema %s\ngot\n%s\nwant\n%s", v, e.s.Version(), s.Schema(), strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if r, err := e.s.Check(e.t.Context()); err != nil || len(r.Findings) > 0 {
		e.rt.Fatalf("the check finds %+v, %v", r.Findings, err)
	}
}
