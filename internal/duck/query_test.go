//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/go-cmp/cmp"
)

var mem = memory.DefaultAllocator

func TestTables(t *testing.T) {
	e := open(t, Options{})
	for _, c := range []struct{ sql, want string }{
		{"SELECT 1", ""},
		{"SELECT * FROM events", "events"},
		{"SELECT * FROM main.demo.events e JOIN demo.sites USING (id)", "main.demo.events demo.sites"},
		{"SELECT * FROM './lake/main/demo/events'", "./lake/main/demo/events"},
		{`SELECT * FROM "a.b"."c d"`, "a.b.c d"},
		{"SELECT * FROM events a, events b", "events"},
		{"WITH events AS (SELECT * FROM raw) SELECT * FROM events", "raw"},
		{"WITH a AS (SELECT * FROM a) SELECT * FROM a", "a"},
		{"WITH a AS (SELECT 1), b AS (SELECT * FROM a, c) SELECT * FROM b", "c"},
		{"WITH RECURSIVE r AS (SELECT * FROM seed UNION ALL SELECT * FROM r) SELECT * FROM r", "seed"},
		{"SELECT (SELECT max(x) FROM a), * FROM b WHERE id IN (SELECT id FROM c)", "a b c"},
		{"SELECT * FROM a UNION SELECT * FROM b ORDER BY 1", "a b"},
		{"SELECT * FROM read_parquet('x.parquet'), unnest([1])", ""},
		{"SELECT * FROM (PIVOT sales ON year IN (2020) USING sum(amount))", "sales"},
		{"DESCRIBE events", "events"},
		{"SUMMARIZE events", "events"},
		{"FROM events", "events"},
	} {
		t.Run(c.sql, func(t *testing.T) {
			names, err := e.Tables(t.Context(), c.sql)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, n := range names {
				got = append(got, n.String())
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestQuery(t *testing.T) {
	s := ddl(t, "id BIGINT, name STRING, tags ARRAY<STRING>")
	const rows = `
{"id":1,"name":"a","tags":["x","y"]}
{"id":2,"name":"b","tags":[]}
{"id":3,"name":"c","tags":null}`
	opened := 0
	open1 := func() (array.RecordReader, error) { opened++; return batches(t, s, rows), nil }
	tables := map[TableName]func() (array.RecordReader, error){
		{"main", "demo", "events"}:      open1,
		{"", "demo", "events"}:          open1,
		{"", "", "events"}:              open1,
		{"", "", "./lake/demo/events"}:  open1,
		{"main", "demo", "we ird.name"}: open1,
		{"", "", "broken"}:              func() (array.RecordReader, error) { return nil, errors.New("no such log") },
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "x.csv")
	if err := os.WriteFile(file, []byte("k,v\n1,one\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	e := open(t, Options{Files: true})
	for _, c := range []struct {
		name, sql, want string
		opens           int
	}{
		{"count", "SELECT count(*) AS n FROM main.demo.events", `{"n":3}`, 1},
		{"by_its_last_name", "SELECT events.id FROM main.demo.events WHERE events.id = 1", `{"id":1}`, 1},
		{"by_its_full_name", "SELECT main.demo.events.id FROM main.demo.events WHERE main . demo.EVENTS.id = 2", `{"id":2}`, 1},
		{"by_schema_and_name", "SELECT demo.events.id FROM demo.events WHERE demo.events.id = 2", `{"id":2}`, 1},
		{"by_alias", "SELECT e.id FROM main.demo.events AS e WHERE e.id = 3", `{"id":3}`, 1},
		{"by_path", "SELECT id FROM './lake/demo/events' WHERE id = 3", `{"id":3}`, 1},
		{"quoted", `SELECT "we ird.name".id FROM main."demo"."we ird.name" WHERE id = 1`, `{"id":1}`, 1},
		{"other_alphabets_before_it", "SELECT 'éüx' AS e, events.id FROM events LIMIT 1", `{"e":"éüx","id":1}`, 1},
		{"twice", "SELECT a.id FROM events a JOIN events b ON a.id = b.id + 1 ORDER BY a.id", `{"id":2}; {"id":3}`, 2},
		{"in_a_step_that_is_used_twice", "WITH s AS (SELECT id FROM events) SELECT a.id FROM s a, s b WHERE a.id = b.id + 1 ORDER BY ALL", `{"id":2}; {"id":3}`, -1},
		{"in_a_recursive_step", "WITH RECURSIVE r AS (SELECT 1::BIGINT AS k UNION ALL SELECT k + 1 FROM r, events e WHERE e.id = k) SELECT max(k) AS k FROM r", `{"k":4}`, -1},
		{"in_a_subquery", "SELECT id FROM events WHERE id = (SELECT max(id) FROM main.demo.events)", `{"id":3}`, 2},
		{"one_name_in_two_columns", "SELECT a.id, b.id FROM events a, events b WHERE a.id = 1 AND b.id = 2", `{"id":2}`, 2},
		{"the_order_stays_under_casts", "SELECT id::HUGEINT AS id FROM events ORDER BY id DESC", `{"id":"3"}; {"id":"2"}; {"id":"1"}`, 1},
		{"a_sum_is_a_decimal", "SELECT sum(id) AS s FROM events", `{"s":"6"}`, 1},
		{"local_times_stay_local", "SELECT TIMESTAMP '2024-07-01 12:00:00' AS t", `{"t":"2024-07-01T12:00:00"}`, 0},
		{"DESCRIBE", "SELECT column_name, column_type FROM (DESCRIBE events)", `{"column_name":"id","column_type":"BIGINT"}; {"column_name":"name","column_type":"VARCHAR"}; {"column_name":"tags","column_type":"VARCHAR[]"}`, 1},
		{"SUMMARIZE", "SELECT column_name, max FROM (SUMMARIZE events) LIMIT 1", `{"column_name":"id","max":"3"}`, 1},
		{"TABLE", "TABLE events LIMIT 1", `{"id":1,"name":"a","tags":["x","y"]}`, 1},
		{"a_semicolon", "SELECT id::HUGEINT AS h FROM events LIMIT 1; -- done", `{"h":"1"}`, 1},
		{"a_file", "SELECT v, name FROM events JOIN '" + file + "' ON id = k", `{"name":"a","v":"one"}`, 1},
		{"no_table_at_all", "SELECT 1 AS one, NULL AS nothing", `{"nothing":null,"one":1}`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			opened = 0
			r, err := e.Query(t.Context(), c.sql, tables)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, strings.Join(drain(t, r), "; ")); diff != "" {
				t.Error(diff)
			}
			if c.opens >= 0 && opened != c.opens {
				t.Errorf("opened %d times, want %d", opened, c.opens)
			}
		})
	}
	for _, c := range []struct{ name, sql, at, want string }{
		{"unknown_column", "SELECT id,\n events.nmae FROM main.demo.events", "2:2", `"nmae"`},
		{"unknown_column_after_the_table", "SELECT id FROM main.demo.events\nWHERE nmae = 1", "2:7", `"nmae"`},
		{"unknown_table", "SELECT * FROM\n nope", "2:2", "nope"},
		{"syntax", "SELECT FROM WHERE", "1:13", "syntax"},
		{"COPY", "COPY events TO 'x'", "0:0", "only a SELECT"},
		{"a_cast_that_fails", "SELECT name::INT FROM events", "", "Could not convert string 'a'"},
		{"no_column_holds", "SELECT union_value(a := 1) AS u", "0:0", "UNION"},
		{"time_travel", "SELECT * FROM events AT (VERSION => 1)", "1:15", "AT"},
		{"feeds", "SELECT * FROM __silt_feed(1)", "1:15", "not allowed"},
	} {
		t.Run("mistakes/"+c.name, func(t *testing.T) {
			r, err := e.Query(t.Context(), c.sql, tables)
			if err == nil {
				for r.Next() {
				}
				err = r.Err()
				r.Release()
			}
			var mistake *SQLError
			if !errors.As(err, &mistake) || !strings.Contains(mistake.Message, c.want) {
				t.Fatalf("got %v, want a *SQLError with %s", err, c.want)
			}
			if c.at != "" && fmt.Sprintf("%d:%d", mistake.Line, mistake.Column) != c.at {
				t.Errorf("at %d:%d, want %s", mistake.Line, mistake.Column, c.at)
			}
		})
	}
	t.Run("a_table_that_does_not_open", func(t *testing.T) {
		_, err := e.Query(t.Context(), "SELECT * FROM broken", tables)
		if err == nil || err.Error() != "table broken: no such log" {
			t.Error(err)
		}
	})
	t.Run("without_leave_there_are_no_files", func(t *testing.T) {
		e := open(t, Options{})
		if _, err := e.Query(t.Context(), "SELECT * FROM '"+file+"'", nil); err == nil {
			t.Error("read a file")
		}
	})
	t.Run("nothing_is_left_behind", func(t *testing.T) {
		r, err := e.Query(t.Context(), "SELECT count(*) AS n FROM duckdb_views() WHERE NOT internal", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := drain(t, r); got[0] != `{"n":0}` {
			t.Error(got)
		}
		if n := len(e.feeds.byID); n != 0 {
			t.Errorf("%d feeds left", n)
		}
	})
}
