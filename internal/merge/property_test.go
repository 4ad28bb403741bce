package merge_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"pgregory.net/rapid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

var histories = flag.Int("histories", 1000, "number of random histories that are compared with the model")

// row is a row of the model: what is not there is null.
type row map[string]any

// model is what merges do to rows, by the rules as they are written.
type model struct{ rows []row }

func (m *model) append(rows []row) { m.rows = append(m.rows, rows...) }

// merge merges change rows of a schema into a table that then has a schema, and returns what it counts.
func (m *model) merge(spec merge.Spec, s, table *schema.Struct, changes []row) merge.Counts {
	c := merge.Counts{Rows: int64(len(changes))}
	key := func(r row) string {
		var parts []string
		for _, k := range spec.Keys {
			v := valueAt(r, k)
			parts = append(parts, fmt.Sprintf("%T%v", v, v))
		}
		return strings.Join(parts, "|")
	}
	seq := func(r row) float64 {
		if spec.SequenceBy == "" {
			return -1
		}
		if v, ok := valueAt(r, spec.SequenceBy).(float64); ok {
			return v
		}
		return -1
	}
	winners := map[string]row{}
	var order []string
	for _, r := range changes {
		k := key(r)
		old, again := winners[k]
		if !again {
			order = append(order, k)
		} else {
			c.Duplicates++
			if spec.SequenceBy != "" && seq(r) < seq(old) {
				continue
			}
		}
		winners[k] = r
	}
	met := map[string]string{}
	rank := map[string]int{"": 0, "late": 1, "unchanged": 2, "skipped": 3, "updated": 4}
	note := func(k, what string) {
		if rank[what] > rank[met[k]] {
			met[k] = what
		}
	}
	var rows []row
	for _, old := range m.rows {
		k := key(old)
		change, ok := winners[k]
		switch {
		case !ok && spec.DeleteMissing:
			c.TargetDeleted++
			continue
		case !ok:
		case spec.SequenceBy != "" && seq(change) < seq(old):
			note(k, "late")
		case spec.InsertOnly:
			note(k, "skipped")
		default:
			next := update(old, change, s, table, spec.IgnoreNullUpdates)
			if reflect.DeepEqual(normal(next), normal(old)) {
				note(k, "unchanged")
			} else {
				note(k, "updated")
				c.TargetUpdated++
				old = next
			}
		}
		rows = append(rows, old)
	}
	for _, k := range order {
		switch met[k] {
		case "":
			c.Inserted++
			rows = append(rows, update(row{}, winners[k], s, table, false))
		case "late":
			c.Late++
		case "unchanged":
			c.Unchanged++
		case "skipped":
			c.Skipped++
		case "updated":
			c.Updated++
		}
	}
	m.rows = rows
	return c
}

// valueAt is the value at a path, null where a struct above it is.
func valueAt(r row, text string) any {
	path, err := schema.ParsePath(text)
	if err != nil {
		panic(err)
	}
	var v any = map[string]any(r)
	for _, name := range path {
		st, _ := v.(map[string]any)
		v = nil
		for k, in := range st {
			if schema.Fold(k) == schema.Fold(name) {
				v = in
			}
		}
	}
	return v
}

func update(old, change map[string]any, s, table *schema.Struct, ignoreNull bool) row {
	out := row{}
	maps.Copy(out, old)
	for _, f := range s.Fields {
		v := change[f.Name]
		st, ok := f.Type.(*schema.Struct)
		before, _ := old[f.Name].(map[string]any)
		after, _ := v.(map[string]any)
		switch {
		case v == nil && ignoreNull:
		case ok && (after != nil || before != nil && lacks(st, fieldOf(table, f.Name))):
			out[f.Name] = map[string]any(update(before, after, st, fieldOf(table, f.Name), ignoreNull))
		default:
			out[f.Name] = v
		}
	}
	return out
}

func fieldOf(s *schema.Struct, name string) *schema.Struct {
	return s.Fields[s.IndexFold(name)].Type.(*schema.Struct)
}

// lacks reports whether a table has fields in a struct, at any depth of structs, that the source does not know.
func lacks(source, table *schema.Struct) bool {
	return slices.ContainsFunc(table.Fields, func(f schema.Field) bool {
		i := source.IndexFold(f.Name)
		if i < 0 {
			return true
		}
		st, ok := source.Fields[i].Type.(*schema.Struct)
		return ok && lacks(st, f.Type.(*schema.Struct))
	})
}

// normal is a row without its nulls.
func normal(r map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range r {
		if v != nil {
			out[k] = normalValue(v)
		}
	}
	return out
}

func normalValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return normal(v)
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = normalValue(x)
		}
		return out
	}
	return v
}

// parse is a row of JSON.
func parse(t testing.TB, text string) row {
	t.Helper()
	r := row{}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// ordered are the rows without their nulls, in the order of their texts.
func ordered(rows []row) []row {
	out := make([]row, len(rows))
	for i, r := range rows {
		out[i] = normal(r)
	}
	slices.SortFunc(out, func(a, b row) int { return strings.Compare(texts([]row{a}), texts([]row{b})) })
	return out
}

func texts(rows []row) string {
	out := make([]string, len(rows))
	for i, r := range rows {
		b, err := json.Marshal(normal(r))
		if err != nil {
			panic(err)
		}
		out[i] = string(b)
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

// pool are the columns that a source may have beside its keys.
const pool = "ts BIGINT, a STRING, n BIGINT, s STRUCT<x: BIGINT, y: STRING, in: STRUCT<p: BIGINT, q: STRING>>, l ARRAY<STRUCT<x: BIGINT, y: STRING>>, " +
	"m MAP<STRING, STRUCT<x: BIGINT, y: STRING>>, price DECIMAL(10,2), at TIMESTAMP, `odd name` STRING"

// subset draws some of the fields, at any depth.
func subset(t *rapid.T, s *schema.Struct, mapped bool) *schema.Struct {
	out := &schema.Struct{}
	for _, f := range s.Fields {
		if strings.Contains(f.Name, " ") && !mapped || rapid.IntRange(0, 3).Draw(t, "leave out "+f.Name) == 0 {
			continue
		}
		switch typ := f.Type.(type) {
		case *schema.Struct:
			f.Type = subset(t, typ, mapped)
		case *schema.Array:
			f.Type = &schema.Array{Element: subset(t, typ.Element.(*schema.Struct), mapped), ContainsNull: true}
		case *schema.Map:
			f.Type = &schema.Map{Key: typ.Key, Value: subset(t, typ.Value.(*schema.Struct), mapped), ValueContainsNull: true}
		}
		out.Fields = append(out.Fields, f)
	}
	if len(out.Fields) == 0 {
		out.Fields = s.Fields[:1]
	}
	return out
}

// value draws a value as JSON has it.
func value(t *rapid.T, typ schema.Type) any {
	if rapid.IntRange(0, 4).Draw(t, "null") == 0 {
		return nil
	}
	switch typ := typ.(type) {
	case *schema.Struct:
		out := map[string]any{}
		for _, f := range typ.Fields {
			out[f.Name] = value(t, f.Type)
		}
		return out
	case *schema.Array:
		list := make([]any, rapid.IntRange(0, 2).Draw(t, "length"))
		for i := range list {
			list[i] = value(t, typ.Element)
		}
		return list
	case *schema.Map:
		entries := []any{}
		for _, k := range []string{"j", "k"} {
			if rapid.Bool().Draw(t, "entry "+k) {
				entries = append(entries, map[string]any{"key": k, "value": value(t, typ.Value)})
			}
		}
		return entries
	case schema.Decimal:
		return rapid.SampledFrom([]string{"0.25", "-1.75", "80.51", "12345678.99"}).Draw(t, "decimal")
	}
	switch typ {
	case schema.String:
		return rapid.SampledFrom([]string{"", "x", "y", "long enough to be cut in the statistics of a file, with something behind"}).Draw(t, "text")
	case schema.Timestamp:
		return rapid.SampledFrom([]string{"1969-12-31T23:59:59.999999Z", "2024-02-29T12:00:00.000001Z", "2024-02-29T12:00:00.654321Z"}).Draw(t, "time")
	}
	return float64(rapid.IntRange(0, 5).Draw(t, "number"))
}

// keySets are columns with keys among them, and their paths.
var keySets = map[string][]string{
	"id BIGINT": {"id"}, "k STRING": {"k"}, "id BIGINT, k STRING": {"id", "k"},
	"d STRUCT<id: BIGINT, note: STRING>":                         {"d.id"},
	"d STRUCT<e: STRUCT<`i.d`: BIGINT>, note: STRING>, k STRING": {"d.e.`i.d`", "k"},
	"d STRUCT<id: BIGINT, k: STRING>":                            {"D.k", "d.ID"},
}

// keyValues draws the values of keys and of what lies beside them. A key may be null only where rows are not
// merged.
func keyValues(t *rapid.T, s *schema.Struct, nulls bool) row {
	r := row{}
	for _, f := range s.Fields {
		st, ok := f.Type.(*schema.Struct)
		switch {
		case f.Name == "note":
			r[f.Name] = value(t, f.Type)
			continue
		case nulls && rapid.IntRange(0, 9).Draw(t, "null key") == 0:
			r[f.Name] = nil
			continue
		case ok:
			r[f.Name] = map[string]any(keyValues(t, st, nulls))
			continue
		}
		v := rapid.IntRange(0, 15).Draw(t, f.Name)
		if r[f.Name] = any(float64(v)); f.Type == schema.String {
			r[f.Name] = strconv.Itoa(v % 3)
		}
	}
	return r
}

// batch draws rows, whose keys may be null if so it is said.
func batch(t *rapid.T, keys, columns *schema.Struct, nulls bool) (*schema.Struct, []row) {
	if st, ok := keys.Fields[0].Type.(*schema.Struct); ok && st.Index("note") >= 0 && rapid.IntRange(0, 2).Draw(t, "without a note") == 0 {
		f := keys.Fields[0]
		f.Type = &schema.Struct{Fields: st.Fields[:1]}
		keys = &schema.Struct{Fields: append([]schema.Field{f}, keys.Fields[1:]...)}
	}
	s := &schema.Struct{Fields: slices.Concat(keys.Fields, columns.Fields)}
	rows := make([]row, rapid.IntRange(0, 8).Draw(t, "rows"))
	for i := range rows {
		rows[i] = keyValues(t, keys, nulls)
		for _, f := range columns.Fields {
			rows[i][f.Name] = value(t, f.Type)
		}
	}
	return s, rows
}

func asLines(rows []row) lines {
	var b strings.Builder
	for _, r := range rows {
		text, _ := json.Marshal(r)
		b.Write(append(text, '\n'))
	}
	return lines(b.String())
}

// TestHistories compares random histories of merges, appends, packing and conflicts with the model.
func TestHistories(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		if err := flag.Set("rapid.checks", strconv.Itoa(*histories)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = flag.Set("rapid.checks", f.DefValue) }()
	}
	all := ddl(t, pool)
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(t, rt, all)
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			h.step()
			h.check()
		}
	})
}

type history struct {
	*table
	rt            *rapid.T
	all           *schema.Struct
	keys          *schema.Struct // the columns that hold the keys
	paths         []string       // of the keys
	mapped        bool
	feed, tracked bool
	model         model
	txn           int64
}

func newHistory(t *testing.T, rt *rapid.T, all *schema.Struct) *history {
	h := &history{rt: rt, all: all, mapped: rapid.Bool().Draw(rt, "column mapping")}
	columns := rapid.SampledFrom(slices.Sorted(maps.Keys(keySets))).Draw(rt, "keys")
	h.keys, h.paths = ddl(t, columns), keySets[columns]
	o := delta.TableOptions{Properties: map[string]string{}}
	if rapid.Bool().Draw(rt, "deletion vectors") {
		o.Properties["delta.enableDeletionVectors"] = "true"
	}
	h.feed, h.tracked = rapid.IntRange(0, 2).Draw(rt, "feed") == 0, rapid.IntRange(0, 2).Draw(rt, "row tracking") == 0
	if h.feed {
		o.Properties["delta.enableChangeDataFeed"] = "true"
	}
	if h.tracked {
		o.Properties["delta.enableRowTracking"] = "true"
	}
	if h.mapped {
		o.Properties["delta.columnMapping.mode"] = "name"
	}
	if last := h.keys.Fields[len(h.keys.Fields)-1]; rapid.IntRange(0, 3).Draw(rt, "partitioned") == 0 && schema.IsScalar(last.Type) {
		o.PartitionBy = []string{last.Name}
	}
	var rows []row
	o.Schema, rows = batch(rt, h.keys, subset(rt, all, h.mapped), true)
	h.table = &table{t: t, store: new(objstore.Mem), options: spilling(rt, merge.Options{Workers: 2})}
	tx, err := delta.NewTable(h.store, o)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(rows, 3) {
		tx.Add(h.write(tx, o.Schema, part)...)
	}
	if _, err := tx.Commit(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h.model.append(rows)
	return h
}

// spilling lets change rows go through files in half of the histories, with hashes of keys of which many
// are the same in half of these.
func spilling(t *rapid.T, o merge.Options) merge.Options {
	if !rapid.Bool().Draw(t, "spills") {
		return o
	}
	o.Memory = rapid.SampledFrom([]int64{1, 300}).Draw(t, "memory")
	if rapid.Bool().Draw(t, "weak hashes") {
		return merge.WithHashBits(o, 2)
	}
	return o
}

func (h *history) write(tx *delta.Transaction, s *schema.Struct, rows []row) []*delta.Add {
	w, err := delta.NewDataWriter(h.t.Context(), h.store, tx.WriteContext(), delta.DataWriterOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := w.Write(h.t.Context(), record(h.t, s, asLines(rows))); err != nil {
		h.t.Fatal(err)
	}
	adds, err := w.Close(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return adds
}

// others lets another writer change the table.
func (h *history) others() {
	if rapid.IntRange(0, 2).Draw(h.rt, "other writer packs") == 0 && !h.tracked {
		if _, _, err := h.load().Optimize(h.t.Context(), delta.OptimizeOptions{}); err != nil {
			h.t.Fatal(err)
		}
		return
	}
	s, rows := batch(h.rt, h.keys, subset(h.rt, h.all, h.mapped), true)
	if len(rows) == 0 {
		return
	}
	tx := h.load().Begin("WRITE")
	if err := tx.SetSchema(s); err != nil {
		h.t.Fatal(err)
	}
	tx.Add(h.write(tx, s, rows)...)
	if _, err := tx.Commit(h.t.Context(), nil); err != nil {
		h.t.Fatal(err)
	}
	h.model.append(rows)
}

func (h *history) step() {
	spec := merge.Spec{Keys: h.paths, Duplicates: merge.LastWins}
	columns := subset(h.rt, h.all, h.mapped)
	if sequence := rapid.SampledFrom([]string{"", "ts", "s.x"}).Draw(h.rt, "sequence"); sequence != "" {
		if path, _ := schema.ParsePath(sequence); schema.At(columns, path) != nil {
			spec.SequenceBy = sequence
		}
	}
	switch rapid.IntRange(0, 8).Draw(h.rt, "kind") {
	case 0:
		spec.InsertOnly = true
	case 1:
		spec.DeleteMissing = true
	case 2:
		spec.IgnoreNullUpdates = true
	}
	s, rows := batch(h.rt, h.keys, columns, false)
	c := merge.Changes{Schema: s, Rows: changes(h.t, s, asLines(rows)).Rows}
	h.txn++
	for try := 0; ; try++ {
		tx, r, err := h.begin(spec, c)
		if err != nil {
			h.t.Fatal(err)
		}
		tx.SetTxn("history", h.txn)
		if try < 2 && rapid.IntRange(0, 3).Draw(h.rt, "conflict") == 0 {
			h.others()
		}
		before, ids := h.rows(), h.ids()
		next, err := tx.Commit(h.t.Context(), nil)
		var conflict *delta.ConflictError
		if errors.As(err, &conflict) {
			r.Discard(h.t.Context())
			continue
		}
		if err != nil {
			h.t.Fatal(err)
		}
		h.checkFeed(next, before)
		after := h.ids()
		for id, key := range ids {
			if now, ok := after[id]; ok && now != key || !ok && !spec.DeleteMissing {
				h.rt.Fatalf("row id %d was that of %s, and is that of %q", id, key, now)
			}
		}
		want := h.model.merge(spec, s, next.Schema(), rows)
		want.TargetUpdated, want.TargetDeleted = r.TargetUpdated, r.TargetDeleted // an append may be ordered behind
		got := ofRows(r.Counts)
		got.BytesAdded, got.BytesRemoved, got.Conflicting = 0, 0, 0
		if got != want {
			h.rt.Fatalf("counts %+v\nwant   %+v\nspec %+v", got, want, spec)
		}
		break
	}
	if rapid.IntRange(0, 3).Draw(h.rt, "again") == 0 { // by a process that does not know of it
		tx, r, err := h.begin(spec, c)
		if err != nil {
			h.t.Fatal(err)
		}
		tx.SetTxn("history", h.txn)
		if _, err := tx.Commit(h.t.Context(), nil); err != nil || !tx.AlreadyCommitted() {
			h.rt.Fatalf("committed again: %v", err)
		}
		r.Discard(h.t.Context())
	}
}

// ids are the keys of the rows by their ids, where rows are tracked.
func (h *history) ids() map[int64]string {
	out := map[int64]string{}
	if !h.tracked {
		return out
	}
	var paths [][]string
	for _, text := range h.paths {
		path, err := schema.ParsePath(text)
		if err != nil {
			h.t.Fatal(err)
		}
		paths = append(paths, path)
	}
	for rec, err := range h.load().Scan(delta.ScanOptions{Fields: paths, RowIDs: true}).Batches(h.t.Context()) {
		if err != nil {
			h.t.Fatal(err)
		}
		n := int(rec.NumCols()) - 2
		for i := range int(rec.NumRows()) {
			key := ""
			for c := range n {
				key += rec.Column(c).ValueStr(i) + "|"
			}
			id := rec.Column(n).(*array.Int64).Value(i)
			if out[id] != "" {
				h.rt.Fatalf("two rows have the id %d", id)
			}
			out[id] = key
		}
		rec.Release()
	}
	return out
}

// checkFeed wants the changes of a version to make of the rows before it those after it.
func (h *history) checkFeed(s *delta.Snapshot, before string) {
	if !h.feed {
		return
	}
	count := map[string]int{}
	tally := func(text string, n int) {
		for line := range strings.SplitSeq(text, "\n") {
			if line != "" {
				count[texts([]row{parse(h.t, line)})] += n
			}
		}
	}
	tally(before, 1)
	tally(h.rows(), -1)
	for rec, err := range s.Changes(h.t.Context(), s.Version(), s.Version()) {
		if err != nil {
			h.t.Fatal(err)
		}
		st := array.RecordToStructArray(rec)
		for i := range st.Len() {
			b, err := json.Marshal(st.GetOneForMarshal(i))
			if err != nil {
				h.t.Fatal(err)
			}
			r := parse(h.t, string(b))
			n := 1
			if kind := r["_change_type"]; kind == "delete" || kind == "update_preimage" {
				n = -1
			}
			for _, c := range []string{"_change_type", "_commit_version", "_commit_timestamp"} {
				delete(r, c)
			}
			count[texts([]row{r})] += n
		}
		rec.Release()
	}
	for text, n := range count {
		if n != 0 {
			h.rt.Fatalf("the changes of version %d leave %+d of %s", s.Version(), n, text)
		}
	}
}

// check compares the table with the model.
func (h *history) check() {
	if got, want := texts(h.parsed()), texts(h.model.rows); got != want {
		h.rt.Fatalf("rows\n%s\nwant\n%s", got, want)
	}
}
