package delta_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// python returns the Python whose deltalake and DuckDB the package is checked against, or skips.
func python(t *testing.T) string {
	t.Helper()
	path := os.Getenv("SILT_PYTHON")
	if path == "" {
		t.Skip("SILT_PYTHON is not set: a Python with deltalake (and duckdb, duckdb-extension-delta), to read silt's tables with")
	}
	return path
}

// readersSee fails unless every reader of testdata/read.py sees these rows, in any order.
func readersSee(t *testing.T, folder string, want ...string) {
	t.Helper()
	cmd := exec.Command(python(t), filepath.Join("testdata", "read.py"), folder)
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("read %s: %v\n%.2000s", folder, err, cmd.Stderr)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	readers := 0
	for lines.Scan() {
		var got struct {
			Reader, Refuses, Error string
			Rows                   []json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Refuses != "" {
			t.Logf("%s refuses: %s", got.Reader, got.Refuses)
			continue
		}
		if got.Error != "" {
			t.Errorf("%s: %s", got.Reader, got.Error)
			continue
		}
		readers++
		var rows []string
		for _, r := range got.Rows {
			rows = append(rows, canonical(t, string(r)))
		}
		sortedEqual(t, got.Reader, rows, want)
	}
	if readers == 0 {
		t.Fatal("no reader has read anything")
	}
}

func sortedEqual(t *testing.T, who string, got, want []string) {
	t.Helper()
	var canon []string
	for _, w := range want {
		canon = append(canon, canonical(t, w))
	}
	slices.Sort(got)
	slices.Sort(canon)
	if !slices.Equal(got, canon) {
		t.Errorf("%s sees\n%s\nwant\n%s", who, strings.Join(got, "\n"), strings.Join(canon, "\n"))
	}
}

// canonical is JSON with sorted keys.
func canonical(t *testing.T, text string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out, err := json.Marshal(simplify(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

var decimal = regexp.MustCompile(`^-?\d+\.\d+$`)

var scientific = regexp.MustCompile(`^-?\d+(\.\d+)?[eE]-?\d+$`)

var timestamp = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z?)$`)

// simplify brings what is equal and spelled differently to one form: maps, and whole numbers.
func simplify(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if list, ok := v["map"].([]any); ok && len(v) == 1 {
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			return simplify(list)
		}
		for k, x := range v {
			v[k] = simplify(x)
		}
	case []any:
		isMap := false
		for i, x := range v {
			if m, ok := x.(map[string]any); ok && len(m) == 2 && m["key"] != nil {
				isMap, x = true, []any{m["key"], m["value"]}
			}
			v[i] = simplify(x)
		}
		if isMap {
			slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	case string:
		if scientific.MatchString(v) {
			if r, ok := new(big.Rat).SetString(v); ok {
				v = r.FloatString(38)
			}
		}
		if m := decimal.FindStringSubmatch(v); m != nil {
			return strings.TrimSuffix(strings.TrimRight(v, "0"), ".")
		}
		if m := timestamp.FindStringSubmatch(v); m != nil {
			return m[1] + strings.TrimRight(m[2], ".0") + m[3]
		}
	case json.Number:
		if whole, ok := strings.CutSuffix(string(v), ".0"); ok {
			return json.Number(whole)
		}
	}
	return v
}

func TestOtherReaders(t *testing.T) {
	t.Run("see_every_type_and_the_growth_of_the_schema", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		first := ddl(t, `b BOOLEAN, i8 TINYINT, i16 SMALLINT, i32 INT, i64 BIGINT, f FLOAT, d DOUBLE, s STRING, day DATE, ts TIMESTAMP,
			d9 DECIMAL(9,2), d18 DECIMAL(18,3), d38 DECIMAL(38,10),
			st STRUCT<a: BIGINT>, l ARRAY<STRUCT<x: BIGINT>>, m MAP<STRING, STRUCT<v: BIGINT>>`)
		newTable(t, store, delta.TableOptions{Schema: first},
			`{"b":true,"i8":-8,"i16":-300,"i32":70000,"i64":9007199254740993,"f":0.5,"d":1.5,"s":"sé","day":"2024-02-29","ts":"2024-02-29 12:00:00.000001Z","d9":"1.25","d18":"-1.001","d38":"12345678901234567890.0123456789","st":{"a":1},"l":[{"x":1},null,{"x":null}],"m":[{"key":"k","value":{"v":1}}]}`,
			`{}`)
		more := ddl(t, `st STRUCT<b: STRUCT<c: STRING>>, l ARRAY<STRUCT<y: ARRAY<STRING>>>, m MAP<STRING, STRUCT<w: DOUBLE>>, new STRUCT<z: BIGINT>`)
		tx := load(t, store).Begin("WRITE")
		if err := tx.SetSchema(more); err != nil {
			t.Fatal(err)
		}
		appendRows(t, store, tx, record(t, more, `{"st":{"b":{"c":"x"}},"l":[{"y":["a",null]},{"y":null}],"m":[{"key":"k","value":{"w":0.25}},{"key":"j","value":null}],"new":{"z":1}}`))
		s := commit(t, tx)
		want := rows(t, s)
		readersSee(t, dir, want...)
		if err := s.WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		for v := range 2 {
			if err := os.Remove(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.json", v))); err != nil {
				t.Fatal(err)
			}
		}
		readersSee(t, dir, want...)
		sortedEqual(t, "silt", canonicals(t, rows(t, load(t, store))), want)
	})
	t.Run("see_columns_with_names_that_need_mapping", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := ddl(t, "id BIGINT, `a b` STRUCT<`c;d`: STRING, `=`: ARRAY<STRUCT<`{}`: BIGINT>>>")
		newTable(t, store, delta.TableOptions{Schema: s}, `{"id":1,"a b":{"c;d":"x","=":[{"{}":2}]}}`)
		more := ddl(t, "`new (1)` MAP<STRING, STRUCT<`\t`: BIGINT>>, `a b` STRUCT<` `: BIGINT>")
		tx := load(t, store).Begin("WRITE")
		if err := tx.SetSchema(more); err != nil {
			t.Fatal(err)
		}
		appendRows(t, store, tx, record(t, more, `{"new (1)":[{"key":"k","value":{"\t":5}}],"a b":{" ":7}}`))
		readersSee(t, dir, rows(t, commit(t, tx))...)
	})
	t.Run("see_types_that_have_grown", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		newTable(t, store, delta.TableOptions{Schema: ddl(t, "a INT, s STRUCT<f: FLOAT>, d DECIMAL(5,2)"), Properties: map[string]string{"delta.enableTypeWidening": "true"}},
			`{"a":1,"s":{"f":0.5},"d":"1.25"}`)
		more := ddl(t, "a BIGINT, s STRUCT<f: DOUBLE>, d DECIMAL(10,4)")
		tx := load(t, store).Begin("WRITE")
		if err := tx.SetSchema(more); err != nil {
			t.Fatal(err)
		}
		appendRows(t, store, tx, record(t, more, `{"a":3000000000,"s":{"f":0.1},"d":"2.0625"}`))
		readersSee(t, dir, rows(t, commit(t, tx))...)
	})
	t.Run("see_timestamps_without_zone", func(t *testing.T) {
		dir := t.TempDir()
		s := newTable(t, objstore.NewDir(dir), delta.TableOptions{Schema: ddl(t, "n TIMESTAMP_NTZ, t TIMESTAMP")},
			`{"n":"1969-12-31 23:59:59.999999","t":"2024-01-01 00:00:00Z"}`)
		if p := s.Protocol(); p.MinReaderVersion != 3 || p.MinWriterVersion != 7 {
			t.Errorf("got protocol %+v, want 3,7", p)
		}
		readersSee(t, dir, rows(t, s)...)
	})
	t.Run("see_that_rows_are_deleted", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := numbered(t, store, withVectors, 3, 3000)
		for round := range 2 {
			tx := s.Begin("DELETE")
			for f, a := range filesOf(t, s) {
				gone := bitmap(uint64(round))
				for i := range uint64(f * 1000) {
					gone.Add((i*i*7 + uint64(round)) % 3000)
				}
				if _, err := tx.Delete(t.Context(), a, gone); err != nil {
					t.Fatal(err)
				}
			}
			s = commit(t, tx)
			readersSee(t, dir, rows(t, s)...)
		}
	})
	t.Run("see_partitions", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := ddl(t, "id BIGINT, p STRING, day DATE, ts TIMESTAMP, i INT")
		snap := newTable(t, store, delta.TableOptions{Schema: s, PartitionBy: []string{"p", "day", "ts", "i"}},
			`{"id":1,"p":"a b/c=d:%é","day":"2024-01-01","ts":"2024-01-01 01:02:03.000004Z","i":-1}`,
			`{"id":2,"p":null,"day":null,"ts":null,"i":null}`, `{"id":3,"p":"x","day":"1960-01-01","ts":"1960-01-01 01:02:03Z","i":7}`,
			`{"id":4,"p":"x","day":"1960-01-01","ts":"1960-01-01 01:02:03Z","i":7}`)
		readersSee(t, dir, rows(t, snap)...)
	})
}

func canonicals(t *testing.T, rows []string) []string {
	t.Helper()
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = canonical(t, r)
	}
	return out
}

// rowIDs returns the values of column id, sorted.
func rowIDs(t *testing.T, s *delta.Snapshot) []int {
	t.Helper()
	var ids []int
	for _, r := range rows(t, s) {
		var row struct{ ID int }
		if err := json.Unmarshal([]byte(r), &row); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, row.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestOtherWriters(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		t.Run(fmt.Sprintf("change_silts_table_and_silt_reads_on/checkpoint=%v", checkpoint), func(t *testing.T) {
			dir := t.TempDir()
			store := objstore.NewDir(dir)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id BIGINT, l ARRAY<STRUCT<a: STRING>>")}, `{"id":1}`, `{"id":2,"l":[{"a":"x"}]}`)
			if checkpoint {
				if err := s.WriteCheckpoint(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(python(t), filepath.Join("testdata", "change.py"), dir)
			cmd.Stderr = new(bytes.Buffer)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%.2000s", err, cmd.Stderr)
			}
			var want struct {
				Version int64
				IDs     []int
			}
			if err := json.Unmarshal(out, &want); err != nil {
				t.Fatal(err)
			}
			s = load(t, store)
			if got := rowIDs(t, s); s.Version() != want.Version || !slices.Equal(got, want.IDs) {
				t.Errorf("got version %d with ids %v, want %+v", s.Version(), got, want)
			}
			tx := s.Begin("WRITE")
			appendRows(t, store, tx, record(t, ddl(t, "id BIGINT"), `{"id":3}`))
			s = commit(t, tx)
			readersSee(t, dir, rows(t, s)...)
			if err := s.WriteCheckpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := rowIDs(t, load(t, store)); !slices.Equal(got, rowIDs(t, s)) {
				t.Errorf("from the checkpoint got ids %v", got)
			}
			readersSee(t, dir, rows(t, s)...)
		})
	}
}

// TestWritersTogether lets silt, through a store that loses, refuses and delays puts, and deltalake, as
// processes of its own, write to one table.
func TestWritersTogether(t *testing.T) {
	py := python(t)
	dir := t.TempDir()
	plain := objstore.NewDir(dir)
	newTable(t, plain, delta.TableOptions{Schema: ddl(t, "id BIGINT")})
	store := newStormy(t, plain)
	const ours, theirs, each = 2, 2, 40
	var g errgroup.Group
	for n := range theirs {
		g.Go(func() error {
			out, err := exec.Command(py, filepath.Join("testdata", "append.py"), dir, strconv.Itoa(n*each), strconv.Itoa((n+1)*each)).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w\n%.2000s", err, out)
			}
			return nil
		})
	}
	for n := range ours {
		w := &writer{t: t, store: store, app: fmt.Sprint("writer", n)}
		g.Go(func() error {
			for i := range each {
				if err := w.append(t.Context(), (theirs+n)*each+i, ""); err != nil {
					return err
				}
				if w.last.Version()%10 == 0 {
					_ = w.last.WriteCheckpoint(t.Context()) // a help that may fail
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	store.stop()
	t.Logf("faults: %v", store.happened)
	s := load(t, plain)
	var want []int
	for id := range (ours + theirs) * each {
		want = append(want, id)
	}
	if got := rowIDs(t, s); s.Version() != int64(len(want)) || !slices.Equal(got, want) {
		t.Errorf("got version %d with %d rows, want %d of each", s.Version(), len(got), len(want))
	}
	wantOneEntryEach(t, plain, s.Version(), ours, each)
	readersSee(t, dir, rows(t, s)...)
}
