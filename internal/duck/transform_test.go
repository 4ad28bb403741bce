//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/go-cmp/cmp"

	"github.com/siltlake/silt/schema"
)

const eventsDDL = "id BIGINT, name STRING, signals ARRAY<STRUCT<n: STRING, v: DOUBLE>>, geo STRUCT<lat: DOUBLE>, _rescued_data STRING, source_file STRING"

const events = `
{"id":1,"name":"a","signals":[{"n":"x","v":1.5},{"n":"y","v":2.5}],"geo":{"lat":52.5},"_rescued_data":"r1","source_file":"f"}
{"id":2,"name":"12","signals":[],"geo":null,"_rescued_data":null,"source_file":"f"}
{"id":3,"name":null,"signals":[{"n":"z","v":null}],"geo":{"lat":null},"_rescued_data":"r3","source_file":"g"}`

func prepare(t testing.TB, e *Engine, sql string, s *schema.Struct, carry ...string) *Transform {
	t.Helper()
	tr, err := e.Prepare(t.Context(), sql, s, TransformOptions{Carry: carry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// TestRowLocal holds which SQL runs by batch, what it carries, and where each row comes from.
func TestRowLocal(t *testing.T) {
	e := open(t, Options{})
	s := ddl(t, eventsDDL)
	rec := records(t, s, events)
	for _, c := range []struct {
		name, sql string
		columns   string // without those carried
		rows      string // the columns, and the row each comes from
	}{
		{"a_projection", "SELECT id, geo.lat AS lat FROM source", "id BIGINT,lat DOUBLE", "1 52.5 <0; 2 NULL <1; 3 NULL <2"},
		{"a_filter", "SELECT id FROM source WHERE id > 1", "id BIGINT", "2 <1; 3 <2"},
		{"a_filter_on_a_column_that_is_not_selected", "SELECT geo FROM source WHERE name = 'a'", "geo STRUCT<lat: DOUBLE>", `{"lat":52.5} <0`},
		{"nothing_left", "SELECT id FROM source WHERE false", "id BIGINT", ""},
		{"unnest_in_FROM", "SELECT s.id, x.n FROM source s, unnest(s.signals) AS t(x)", "id BIGINT,n STRING", "1 x <0; 1 y <0; 3 z <2"},
		{"unnest_by_CROSS_JOIN", "SELECT id, x.n FROM source CROSS JOIN unnest(signals) AS t(x)", "id BIGINT,n STRING", "1 x <0; 1 y <0; 3 z <2"},
		{"unnest_that_keeps_rows_without_elements", "SELECT id, x.n FROM source LEFT JOIN unnest(signals) AS t(x) ON true", "id BIGINT,n STRING", "1 x <0; 1 y <0; 2 NULL <1; 3 z <2"},
		{"unnest_in_SELECT", "SELECT id, unnest(signals).n AS n FROM source", "id BIGINT,n STRING", "1 x <0; 1 y <0; 3 z <2"},
		{"unnest_into_columns", "SELECT id, unnest(signals, recursive := true) FROM source", "id BIGINT,n STRING,v DOUBLE", "1 x 1.5 <0; 1 y 2.5 <0; 3 z NULL <2"},
		{"lateral_subquery", "SELECT id, n FROM source s, LATERAL (SELECT unnest(s.signals).n AS n)", "id BIGINT,n STRING", "1 x <0; 1 y <0; 3 z <2"},
		{"aggregate_of_an_array_of_the_row", "SELECT id, (SELECT sum(x.v) FROM unnest(signals) AS t(x)) AS sum FROM source", "id BIGINT,sum DOUBLE", "1 4 <0; 2 NULL <1; 3 NULL <2"},
		{"list_functions", "SELECT list_sum(list_transform(signals, s -> s.v)) AS sum FROM source", "sum DOUBLE", "4 <0; NULL <1; NULL <2"},
		{"named_steps", "WITH a AS (SELECT id, unnest(signals) AS s FROM source), b AS (SELECT id, s.v * 2 AS v FROM a WHERE s.v IS NOT NULL) SELECT * FROM b", "id BIGINT,v DOUBLE", "1 3 <0; 1 5 <0"},
		{"a_step_that_nobody_uses", "WITH a AS (SELECT count(*) FROM source) SELECT id FROM source", "id BIGINT", "1 <0; 2 <1; 3 <2"},
		{"a_step_of_a_name_that_hides_nothing", "WITH Source2 AS (SELECT id AS k FROM source) SELECT SOURCE2.k FROM source2", "k BIGINT", "1 <0; 2 <1; 3 <2"},
		{"subquery_in_FROM", "SELECT q.id FROM (SELECT id FROM source WHERE id < 3) AS q", "id BIGINT", "1 <0; 2 <1"},
		{"subquery_without_a_name", "SELECT id FROM (SELECT id FROM source)", "id BIGINT", "1 <0; 2 <1; 3 <2"},
		{"join_with_a_list_of_values", "SELECT s.id, k FROM source s LEFT JOIN (VALUES (1, 'one')) AS m(i, k) ON m.i = s.id", "id BIGINT,k STRING", "1 one <0; 2 NULL <1; 3 NULL <2"},
		{"FROM_first", "FROM source SELECT id", "id BIGINT", "1 <0; 2 <1; 3 <2"},
		{"columns_by_pattern", "SELECT COLUMNS('^i') FROM source", "id BIGINT", "1 <0; 2 <1; 3 <2"},
		{"columns_by_lambda", "SELECT COLUMNS(c -> c LIKE 'i%') FROM source", "id BIGINT", "1 <0; 2 <1; 3 <2"},
		{"columns_in_a_function", "SELECT concat_ws('|', *COLUMNS(* EXCLUDE (signals, geo))) AS c FROM source WHERE id = 1", "c STRING", "1|a|r1|f <0"},
		{"columns_in_WHERE", "SELECT id FROM source WHERE COLUMNS(* EXCLUDE (geo, signals, _rescued_data)) IS NOT NULL", "id BIGINT", "1 <0; 2 <1"},
		{"the_whole_row", "SELECT to_json(source)->>'$._rescued_data' AS r, json_keys(to_json(source)) AS k FROM source WHERE id = 1", "r STRING,k ARRAY<STRING>", `r1 ["id","name","signals","geo","_rescued_data","source_file"] <0`},
		{"the_whole_row_of_a_step", "WITH a AS (SELECT id FROM source) SELECT to_json(a) AS j FROM a WHERE id = 1", "j STRING", `{"id":1} <0`},
		{"a_lambda_parameter_called_as_the_table", "SELECT list_transform([1], source -> source + 1) AS l FROM source WHERE id = 1", "l ARRAY<INT>", `[2] <0`},
		{"a_number_with_an_exponent", "SELECT 1e10 AS d FROM source WHERE id = 1", "d DOUBLE", "1e+10 <0"},
		{"IS_TRUE", "SELECT (id = 1) IS TRUE AS b FROM source", "b BOOLEAN", "false <1; false <2; true <0"},
		{"comments_and_a_semicolon", "SELECT id -- ; the key\nFROM source /* all; */ ; ", "id BIGINT", "1 <0; 2 <1; 3 <2"},
		{"quotes_and_other_alphabets", `SELECT 'it''s "é" \n' AS "näme ""x""" FROM source WHERE id = 1`, "`näme \"x\"` STRING", `it's "é" \n <0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := prepare(t, e, c.sql, s, "_rescued_data", "source_file")
			if !tr.RowLocal() {
				t.Fatal("not row-local")
			}
			if diff := cmp.Diff([]string{"_rescued_data", "source_file"}, tr.Carries()); diff != "" {
				t.Error(diff)
			}
			if want := c.columns + ",_rescued_data STRING,source_file STRING"; tr.Schema().DDL() != want {
				t.Errorf("got  %s\nwant %s", tr.Schema().DDL(), want)
			}
			out, failed, err := tr.ApplyRows(t.Context(), rec)
			if err != nil || failed != nil {
				t.Fatal(err, failed)
			}
			var got []string
			for _, part := range out {
				n := int(part.Batch.NumCols()) - 2
				rescued, file := part.Batch.Column(n), part.Batch.Column(n+1)
				for i, from := range part.From {
					var row []string
					for j := range n {
						row = append(row, valueOf(part.Batch.Column(j), i))
					}
					got = append(got, strings.Join(row, " ")+fmt.Sprint(" <", from))
					if want := []string{"r1", "NULL", "r3"}[from]; valueOf(rescued, i) != want {
						t.Errorf("row %d carries %s, want %s", i, valueOf(rescued, i), want)
					}
					if want := []string{"f", "f", "g"}[from]; valueOf(file, i) != want {
						t.Errorf("row %d carries file %s, want %s", i, valueOf(file, i), want)
					}
				}
			}
			slices.Sort(got) // a join may change the order
			if diff := cmp.Diff(c.rows, strings.Join(got, "; ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func valueOf(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "NULL"
	}
	return a.ValueStr(i)
}

// TestNotRowLocal holds which SQL runs once over the whole, and what it carries then.
func TestNotRowLocal(t *testing.T) {
	e := open(t, Options{})
	s := ddl(t, eventsDDL)
	for _, c := range []struct {
		name, sql string
		carries   string
		rows      string
	}{
		{"aggregate", "SELECT count(*) AS n FROM source", "", `{"n":3}`},
		{"aggregate_in_a_macro", "SELECT geomean(id) AS g FROM source WHERE id = 1", "", `{"g":1}`},
		{"aggregate_that_a_subquery_pushes_out", "SELECT (SELECT sum(s.id)) AS n FROM source s", "", `{"n":"6"}`},
		{"GROUP_BY", "SELECT source_file, count(*) AS n FROM source GROUP BY source_file ORDER BY n", "source_file", `{"n":1,"source_file":"g"}; {"n":2,"source_file":"f"}`},
		{"GROUP_BY_ALL", "SELECT source_file, count(*) AS n FROM source GROUP BY ALL ORDER BY n", "source_file", `{"n":1,"source_file":"g"}; {"n":2,"source_file":"f"}`},
		{"DISTINCT", "SELECT DISTINCT id > 1 AS b FROM source ORDER BY b", "", `{"b":false}; {"b":true}`},
		{"window", "SELECT id, row_number() OVER (ORDER BY id DESC) AS r FROM source ORDER BY id", "_rescued_data source_file",
			`{"_rescued_data":"r1","id":1,"r":3,"source_file":"f"}; {"_rescued_data":null,"id":2,"r":2,"source_file":"f"}; {"_rescued_data":"r3","id":3,"r":1,"source_file":"g"}`},
		{"QUALIFY", "SELECT id FROM source QUALIFY row_number() OVER (PARTITION BY source_file ORDER BY id DESC) = 1 ORDER BY id", "_rescued_data source_file",
			`{"_rescued_data":null,"id":2,"source_file":"f"}; {"_rescued_data":"r3","id":3,"source_file":"g"}`},
		{"ORDER_and_LIMIT", "SELECT id FROM source ORDER BY id DESC LIMIT 1", "_rescued_data source_file", `{"_rescued_data":"r3","id":3,"source_file":"g"}`},
		{"LIMIT_in_a_step", "WITH a AS (SELECT id FROM source ORDER BY id LIMIT 1) SELECT * FROM a", "_rescued_data source_file", `{"_rescued_data":"r1","id":1,"source_file":"f"}`},
		{"self_join", "SELECT a.id FROM source a JOIN source b ON a.id = b.id + 1 ORDER BY ALL", "", `{"id":2}; {"id":3}`},
		{"a_step_used_twice", "WITH s AS (SELECT id FROM source) SELECT a.id FROM s a, s b WHERE a.id = b.id + 1 ORDER BY ALL", "", `{"id":2}; {"id":3}`},
		{"UNION_ALL", "SELECT id FROM source WHERE id = 1 UNION ALL SELECT -id FROM source WHERE id = 2", "", `{"id":1}; {"id":-2}`},
		{"subquery_over_source", "SELECT id FROM source WHERE id = (SELECT max(id) FROM source)", "", `{"id":3}`},
		{"recursive", "WITH RECURSIVE r AS (SELECT 0 AS k UNION ALL SELECT k + 1 FROM r, source WHERE id = 1 AND k < 3) SELECT max(k) AS k FROM r", "", `{"k":3}`},
		{"full_join", "SELECT id, k FROM source FULL JOIN (VALUES (1), (9)) AS m(k) ON k = id ORDER BY k, id", "_rescued_data source_file",
			`{"_rescued_data":"r1","id":1,"k":1,"source_file":"f"}; {"_rescued_data":null,"id":null,"k":9,"source_file":null}; {"_rescued_data":null,"id":2,"k":null,"source_file":"f"}; {"_rescued_data":"r3","id":3,"k":null,"source_file":"g"}`},
		{"sample", "SELECT count(*) AS n FROM (SELECT id FROM source USING SAMPLE 100%)", "", `{"n":3}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := prepare(t, e, c.sql, s, "_rescued_data", "source_file")
			if tr.RowLocal() {
				t.Error("row-local")
			}
			if got := strings.Join(tr.Carries(), " "); got != c.carries {
				t.Errorf("carries %q, want %q", got, c.carries)
			}
			for range 2 {
				r, err := tr.ApplyAll(t.Context(), batches(t, s, events))
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(drain(t, r), "; "); got != c.rows {
					t.Errorf("got  %s\nwant %s", got, c.rows)
				}
			}
		})
	}
}

// batches reads rows of JSON, one batch a line.
func batches(t testing.TB, s *schema.Struct, rows string) array.RecordReader {
	t.Helper()
	var recs []arrow.RecordBatch
	for row := range strings.SplitSeq(strings.TrimSpace(rows), "\n") {
		recs = append(recs, records(t, s, row))
	}
	r, err := array.NewRecordReader(s.Arrow(), recs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Release)
	return r
}

func TestCarry(t *testing.T) {
	e := open(t, Options{})
	s := ddl(t, eventsDDL)
	for _, c := range []struct{ name, sql, want string }{
		{"a_star_has_it_where_it_stands", "SELECT *, 1 AS one FROM source", "id name signals geo _rescued_data source_file one"},
		{"named_by_the_user", "SELECT _rescued_data, id FROM source", "_rescued_data id source_file"},
		{"named_in_other_case", "SELECT _RESCUED_DATA, id FROM source", "_rescued_data id source_file"},
		{"taken_for_something_else", "SELECT 'x' AS _rescued_data, id FROM source", "_rescued_data id source_file"},
		{"excluded_by_the_user", "SELECT * EXCLUDE (_rescued_data, signals) FROM source", "id name geo source_file _rescued_data"},
		{"through_a_step_with_a_star", "WITH a AS (SELECT id FROM source) SELECT *, 1 AS one FROM a", "id one _rescued_data source_file"},
		{"through_a_step_that_names_one", "WITH a AS (SELECT source_file, id FROM source) SELECT id FROM a", "id _rescued_data source_file"},
		{"through_a_subquery", "SELECT n + 1 AS n FROM (SELECT id AS n FROM source s)", "n _rescued_data source_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := prepare(t, e, c.sql, s, "_rescued_data", "source_file")
			if got := strings.Join(tr.Schema().Names(), " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if !tr.RowLocal() {
				t.Error("not row-local")
			}
		})
	}
	t.Run("a_source_with_a_column_called_as_the_row_number", func(t *testing.T) {
		s := ddl(t, "id BIGINT, __silt_row STRING")
		tr := prepare(t, e, "SELECT * FROM source", s)
		out, _, err := tr.ApplyRows(t.Context(), records(t, s, `{"id":1,"__silt_row":"mine"}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := rowsOf(t, out[0].Batch)[0]; got != `{"__silt_row":"mine","id":1}` {
			t.Error(got)
		}
	})
	t.Run("a_column_that_the_source_lacks_is_an_error", func(t *testing.T) {
		_, err := e.Prepare(t.Context(), "SELECT * FROM source", s, TransformOptions{Carry: []string{"nope"}})
		if err == nil || !strings.Contains(err.Error(), "nope") {
			t.Error(err)
		}
	})
}

func TestMistakes(t *testing.T) {
	e := open(t, Options{})
	s := ddl(t, eventsDDL)
	for _, c := range []struct {
		name, sql string
		at        string // line:column
		want      string
		hint      string
	}{
		{"unknown_column", "SELECT id,\n  nmae FROM source", "2:3", "there is no column nmae", `"name"`},
		{"unknown_column_after_other_alphabets", "SELECT 'éé', nmae FROM source", "1:14", "there is no column nmae", `"name"`},
		{"unknown_function", "SELECT uper(name) FROM source", "1:8", "uper", "upper"},
		{"unknown_field", "SELECT geo.lon FROM source", "1:8", "there is no field lon in geo", "lat"},
		{"syntax", "SELECT id,, name FROM source", "1:11", "syntax error", ""},
		{"no_end", "SELECT id FROM", "1:15", "end of input", ""},
		{"empty", "", "0:0", "empty", ""},
		{"only_a_comment", "-- nothing", "0:0", "empty", ""},
		{"two_statements", "SELECT 1 FROM source; SELECT 2 FROM source", "0:0", "2 statements", ""},
		{"another_table", "SELECT * FROM events", "1:15", "table events: a transform reads the table source and no other", "source"},
		{"a_file", "SELECT * FROM source, '/etc/passwd'", "1:23", "/etc/passwd", ""},
		{"a_file_by_function", "SELECT * FROM source, read_text('/etc/passwd')", "1:23", "disabled", ""},
		{"a_file_by_csv", "SELECT * FROM source, read_csv('/etc/passwd')", "1:23", "disabled", ""},
		{"a_glob", "SELECT * FROM source, glob('/etc/*')", "1:23", "disabled", ""},
		{"the_network", "SELECT * FROM source, read_parquet('https://example.com/x.parquet')", "", "", ""},
		{"no_source", "SELECT 1 AS x", "0:0", "does not read the table source", "select from source"},
		{"CREATE", "CREATE TABLE t (a INT)", "0:0", "only a SELECT", ""},
		{"COPY", "COPY (SELECT 1) TO '/tmp/x'", "0:0", "only a SELECT", ""},
		{"ATTACH", "ATTACH '/tmp/x.db'", "0:0", "only a SELECT", ""},
		{"INSTALL", "INSTALL httpfs", "0:0", "only a SELECT", ""},
		{"LOAD", "LOAD httpfs", "0:0", "only a SELECT", ""},
		{"PRAGMA", "PRAGMA version", "0:0", "only a SELECT", ""},
		{"SET", "SET threads = 8", "0:0", "only a SELECT", ""},
		{"INSERT", "INSERT INTO source VALUES (1)", "0:0", "only a SELECT", ""},
		{"parameters", "SELECT ? FROM source", "0:0", "parameters", ""},
		{"one_name_twice", "SELECT id, name AS ID FROM source", "0:0", "two columns are called ID", "AS"},
		{"memory", "SELECT * FROM arrow_scan(1, 2, 3)", "1:15", "arrow_scan() is not allowed", ""},
		{"sql_in_a_text", "SELECT * FROM query('SELECT * FROM source LIMIT 1')", "1:15", "query() is not allowed", ""},
		{"NUL", "SELECT '\x00' FROM source", "0:0", "NUL", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := e.Prepare(t.Context(), c.sql, s, TransformOptions{})
			var mistake *SQLError
			if !errors.As(err, &mistake) {
				t.Fatalf("got %v, want a *SQLError", err)
			}
			if c.at != "" && fmt.Sprintf("%d:%d", mistake.Line, mistake.Column) != c.at {
				t.Errorf("at %d:%d, want %s: %s", mistake.Line, mistake.Column, c.at, mistake.Message)
			}
			if !strings.Contains(mistake.Message, c.want) || strings.ContainsAny(mistake.Message, "\n{}") {
				t.Errorf("got %q, want one line with %q", mistake.Message, c.want)
			}
			if !strings.Contains(mistake.Hint, c.hint) {
				t.Errorf("got hint %q, want %q", mistake.Hint, c.hint)
			}
			if mistake.SQL != c.sql {
				t.Errorf("got SQL %q", mistake.SQL)
			}
		})
	}
	t.Run("the_engine_goes_on", func(t *testing.T) { prepare(t, e, "SELECT * FROM source", s) })
}

func TestApplyRows(t *testing.T) {
	e := open(t, Options{})
	s := ddl(t, "id BIGINT, name STRING")
	many := func(n int, bad func(int) bool) arrow.RecordBatch {
		var b strings.Builder
		for i := range n {
			name := "7"
			if bad(i) {
				name = fmt.Sprint("x", i)
			}
			fmt.Fprintf(&b, "{\"id\":%d,\"name\":%q}\n", i, name)
		}
		return records(t, s, b.String())
	}
	tr := prepare(t, e, "SELECT id, CAST(name AS INT) AS n FROM source WHERE id % 2 = 0 OR name <> '7'", s)
	for _, c := range []struct {
		name string
		rows int
		bad  func(int) bool
	}{
		{"no_bad_row", 5000, func(int) bool { return false }},
		{"a_few", 5000, func(i int) bool { return i%1000 == 3 }},
		{"the_first_and_the_last", 5000, func(i int) bool { return i == 0 || i == 4999 }},
		{"all_of_a_few", 3, func(int) bool { return true }},
		{"most", 1000, func(i int) bool { return i%8 != 0 }},
		{"no_rows", 1, func(int) bool { return false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := many(c.rows, c.bad)
			out, failed, err := tr.ApplyRows(t.Context(), rec)
			if err != nil {
				t.Fatal(err)
			}
			var want, got, wantFailed, gotFailed []int
			for i := range c.rows {
				switch {
				case c.bad(i):
					wantFailed = append(wantFailed, i)
				case i%2 == 0:
					want = append(want, i)
				}
			}
			for _, part := range out {
				ids := part.Batch.Column(0).(*array.Int64)
				for i, from := range part.From {
					if ids.Value(i) != int64(from) {
						t.Fatalf("row %d comes from %d", ids.Value(i), from)
					}
					got = append(got, int(from))
				}
			}
			for _, f := range failed {
				gotFailed = append(gotFailed, f.Row)
				if want := fmt.Sprintf("Could not convert string 'x%d' to INT32 when casting from source column name", f.Row); f.Err.Error() != want {
					t.Errorf("got %q, want %q", f.Err, want)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error("rows", diff)
			}
			if diff := cmp.Diff(wantFailed, gotFailed); diff != "" {
				t.Error("failed", diff)
			}
		})
	}
	t.Run("SQL_that_fails_on_every_row_is_at_fault_itself", func(t *testing.T) {
		_, _, err := tr.ApplyRows(t.Context(), many(5000, func(i int) bool { return true }))
		var mistake *SQLError
		if !errors.As(err, &mistake) || !strings.Contains(mistake.Message, "fails on every row: Could not convert") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("Apply_fails_as_a_whole", func(t *testing.T) {
		_, err := tr.Apply(t.Context(), many(10, func(i int) bool { return i == 3 }))
		var mistake *SQLError
		if !errors.As(err, &mistake) || !strings.Contains(mistake.Message, "'x3'") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a_number_too_big_for_its_column_fails_its_row", func(t *testing.T) {
		tr := prepare(t, e, "SELECT id, CASE WHEN id = 1 THEN 170141183460469231731687303715884105727::HUGEINT ELSE 1 END AS h FROM source", s)
		out, failed, err := tr.ApplyRows(t.Context(), many(3, func(int) bool { return false }))
		if err != nil || len(failed) != 1 || failed[0].Row != 1 || len(out) == 0 {
			t.Errorf("got %v, %v", failed, err)
		}
	})
	t.Run("a_division_by_zero_is_NULL", func(t *testing.T) {
		tr := prepare(t, e, "SELECT 1 // id AS n FROM source", s)
		out, _, err := tr.ApplyRows(t.Context(), many(1, func(int) bool { return false }))
		if err != nil || rowsOf(t, out[0].Batch)[0] != `{"n":null}` {
			t.Error(err)
		}
	})
	t.Run("a_batch_of_other_columns_is_refused", func(t *testing.T) {
		other := ddl(t, "id BIGINT, name BIGINT")
		_, err := tr.Apply(t.Context(), records(t, other, `{"id":1,"name":2}`))
		if err == nil || !strings.Contains(err.Error(), "column name is int64") {
			t.Error(err)
		}
	})
}

func TestApplyAll(t *testing.T) {
	s := ddl(t, "id BIGINT, name STRING")
	big := func(t *testing.T, n int) array.RecordReader { return &generator{s: s.Arrow(), left: n, t: t} }

	t.Run("row_local_SQL_goes_batch_by_batch", func(t *testing.T) {
		tr := prepare(t, open(t, Options{}), "SELECT id FROM source WHERE id % 1000 = 0", s)
		r, err := tr.ApplyAll(t.Context(), big(t, 10))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(drain(t, r)); got != 100 {
			t.Errorf("got %d rows, want 100", got)
		}
	})
	t.Run("a_sort_that_does_not_fit_in_memory_spills", func(t *testing.T) {
		dir := t.TempDir()
		tr := prepare(t, open(t, Options{MemoryLimit: 64 << 20, TempDir: dir}), "SELECT * FROM source ORDER BY hash(id)", s)
		r, err := tr.ApplyAll(t.Context(), big(t, 150)) // 150 MB
		if err != nil {
			t.Fatal(err)
		}
		spilt, _ := os.ReadDir(dir)
		if len(spilt) == 0 {
			t.Error("no file in the spill folder")
		}
		n := int64(0)
		for r.Next() {
			n += r.RecordBatch().NumRows()
		}
		if r.Err() != nil || n != 1_500_000 {
			t.Errorf("got %d rows, %v", n, r.Err())
		}
		r.Release()
	})
	t.Run("a_table_that_is_kept_spills", func(t *testing.T) {
		tr := prepare(t, open(t, Options{MemoryLimit: 64 << 20, TempDir: t.TempDir()}),
			"SELECT id, name FROM source WHERE id > (SELECT avg(id) FROM source)", s)
		r, err := tr.ApplyAll(t.Context(), big(t, 150))
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for r.Next() {
			n += r.RecordBatch().NumRows()
		}
		if r.Err() != nil || n != 750_000 {
			t.Errorf("got %d rows, %v", n, r.Err())
		}
		r.Release()
	})
	t.Run("without_a_folder_the_limit_is_an_error", func(t *testing.T) {
		tr := prepare(t, open(t, Options{MemoryLimit: 64 << 20}), "SELECT * FROM source ORDER BY hash(id)", s)
		r, err := tr.ApplyAll(t.Context(), big(t, 150))
		if err == nil {
			for r.Next() {
			}
			err = r.Err()
			r.Release()
		}
		var mistake *SQLError
		if err == nil || errors.As(err, &mistake) || !strings.Contains(err.Error(), "memory") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an_error_of_the_input_comes_back_as_it_is", func(t *testing.T) {
		broken := errors.New("the disk is gone")
		for _, sql := range []string{"SELECT count(*) AS n FROM source", "SELECT count(*) AS n FROM source a, source b WHERE a.id = b.id"} {
			tr := prepare(t, open(t, Options{}), sql, s)
			r, err := tr.ApplyAll(t.Context(), &generator{s: s.Arrow(), left: 3, err: broken, t: t})
			if err == nil {
				for r.Next() {
				}
				err = r.Err()
				r.Release()
			}
			if !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("a_result_may_be_left_half_read", func(t *testing.T) {
		e := open(t, Options{})
		tr := prepare(t, e, "SELECT id, row_number() OVER () AS n FROM source", s)
		for range 3 {
			r, err := tr.ApplyAll(t.Context(), big(t, 10))
			if err != nil {
				t.Fatal(err)
			}
			if !r.Next() {
				t.Error(r.Err())
			}
			prepare(t, e, "SELECT * FROM source", s) // the engine can be used meanwhile
			if !r.Next() {
				t.Error(r.Err())
			}
			r.Release()
		}
	})
	t.Run("a_cancelled_context_ends_it", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tr := prepare(t, open(t, Options{}), "SELECT count(*) AS n FROM source a, range(1_000_000_000_000) b", s)
		g := &generator{s: s.Arrow(), left: 3, t: t, each: cancel}
		r, err := tr.ApplyAll(ctx, g)
		if err == nil {
			for r.Next() {
			}
			err = r.Err()
			r.Release()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// generator is a reader of batches of 10,000 rows, about 1 MB.
type generator struct {
	t    *testing.T
	s    *arrow.Schema
	left int
	n    int
	err  error
	each func()
	rec  arrow.RecordBatch
}

func (g *generator) Next() bool {
	if g.left == 0 {
		return false
	}
	g.left--
	if g.each != nil {
		g.each()
	}
	ids, names := array.NewInt64Builder(mem), array.NewStringBuilder(mem)
	for range 10_000 {
		ids.Append(int64(g.n))
		names.Append(fmt.Sprintf("%0100d", g.n))
		g.n++
	}
	g.rec = array.NewRecordBatch(g.s, []arrow.Array{ids.NewArray(), names.NewArray()}, 10_000)
	return true
}

func (g *generator) Err() error {
	if g.left == 0 {
		return g.err
	}
	return nil
}
func (g *generator) RecordBatch() arrow.RecordBatch { return g.rec }
func (g *generator) Record() arrow.RecordBatch      { return g.rec }
func (g *generator) Schema() *arrow.Schema          { return g.s }
func (g *generator) Retain()                        {}
func (g *generator) Release()                       {}

func TestCarried(t *testing.T) {
	e := open(t, Options{})
	before := ddl(t, "id BIGINT, geo STRUCT<lat: DOUBLE>")
	for _, c := range []struct {
		name, sql, after string
		want             bool
	}{
		{"a_star", "SELECT * FROM source", "id BIGINT, geo STRUCT<lat: DOUBLE>, new STRING", true},
		{"not_named", "SELECT id FROM source", "id BIGINT, geo STRUCT<lat: DOUBLE>, new STRING", false},
		{"named", "SELECT id, new FROM source", "id BIGINT, geo STRUCT<lat: DOUBLE>, new STRING", true},
		{"a_field_of_a_struct_that_is_passed", "SELECT geo FROM source", "id BIGINT, geo STRUCT<lat: DOUBLE, lon: DOUBLE>", true},
		{"a_field_beside_the_one_that_is_named", "SELECT geo.lat FROM source", "id BIGINT, geo STRUCT<lat: DOUBLE, lon: DOUBLE>", false},
		{"all_fields_of_a_struct", "SELECT geo.* FROM source", "id BIGINT, geo STRUCT<lat: DOUBLE, lon: DOUBLE>", true},
		{"by_pattern", "SELECT COLUMNS('^n|id') FROM source", "id BIGINT, geo STRUCT<lat: DOUBLE>, new STRING", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := e.Carried(t.Context(), c.sql, ddl(t, c.after), before)
			if err != nil || got != c.want {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
	t.Run("SQL_that_is_wrong_either_way_is_an_error", func(t *testing.T) {
		var mistake *SQLError
		if _, err := e.Carried(t.Context(), "SELECT nope FROM source", before, before); !errors.As(err, &mistake) {
			t.Error(err)
		}
	})
}

func TestTypesOfTheTable(t *testing.T) {
	tests := []struct{ name, sql, types, out, good, failed string }{
		{"a_whole_number_widens", "SELECT 7 AS a FROM source", "A BIGINT", "a BIGINT", `{"a":7}`, ""},
		{"a_fraction_fails_where_it_would_be_rounded", "SELECT x AS a FROM source", "a BIGINT", "a BIGINT", `{"a":80}`, "80.5 does not fit the type BIGINT exactly"},
		{"text_is_read", "SELECT s AS a FROM source", "a INT", "a INT", `{"a":7}`, "Could not convert string 'n/a' to INT32"},
		{"decimals_keep_their_digits", "SELECT x::DECIMAL(10,3) AS a FROM source", "a DECIMAL(10,0)", "a DECIMAL(10,0)", `{"a":"80"}`, "does not fit the type DECIMAL(10,0) exactly"},
		{"fields_are_found_by_name", "SELECT {'p%s': 1, 'q': 's'} AS a FROM source", "a STRUCT<`p%s`: BIGINT, q: STRING>", "a STRUCT<`p%s`: BIGINT, q: STRING>",
			`{"a":{"p%s":1,"q":"s"}}`, ""},
		{"other_columns_stay", "SELECT s, 1 AS b FROM source", "z INT", "s STRING,b INT", `{"b":1,"s":"7"}`, ""},
	}
	in := ddl(t, "x DOUBLE, s STRING")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := open(t, Options{})
			tr, err := e.Prepare(t.Context(), test.sql, in, TransformOptions{Types: ddl(t, test.types)})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if got := tr.Schema().DDL(); got != test.out {
				t.Errorf("schema %s, want %s", got, test.out)
			}
			rec := records(t, in, `{"x":80,"s":"7"}{"x":80.5,"s":"n/a"}`)
			defer rec.Release()
			rows, failed, err := tr.ApplyRows(t.Context(), rec)
			if err != nil {
				t.Fatal(err)
			}
			text, err := rows[0].Batch.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), test.good) {
				t.Errorf("rows %s, want %s", text, test.good)
			}
			for _, r := range rows {
				r.Batch.Release()
			}
			switch {
			case test.failed == "" && len(failed) == 0:
			case test.failed == "" || len(failed) != 1 || failed[0].Row != 1 || !strings.Contains(failed[0].Err.Error(), test.failed):
				t.Errorf("failed %+v, want row 1: %s", failed, test.failed)
			}
		})
	}
	t.Run("a_struct_is_no_number", func(t *testing.T) {
		_, err := open(t, Options{}).Prepare(t.Context(), "SELECT {'p': 1} AS a FROM source", in, TransformOptions{Types: ddl(t, "a INT")})
		var mistake *SQLError
		if !errors.As(err, &mistake) || !strings.Contains(mistake.Message, "column a is STRUCT<p: INT> in the SQL and INT in the table") {
			t.Errorf("error %v", err)
		}
	})
}
