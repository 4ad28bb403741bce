//go:build duckdb_arrow

package silt_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

func TestTransform(t *testing.T) {
	const flat = "SELECT id, v.x AS x, s.k AS k FROM source, unnest(l) AS t(s)"
	t.Run("rows_are_flattened_and_keep_where_they_come_from", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = flat
		l.file("1.json", `{"id":1,"v":{"x":1.5},"l":[{"k":"a"},{"k":"b"}]}`+"\n"+`{"id":2,"v":{"x":2},"l":[]}`+"\n")
		s := l.run()
		l.want(`{"id":1,"k":"a","x":1.5}`, `{"id":1,"k":"b","x":1.5}`)
		if want := "id BIGINT,x DOUBLE,k STRING,_rescued_data STRING,ingestion_timestamp TIMESTAMP,source_file STRING"; l.schema() != want {
			t.Errorf("schema %s, want %s", l.schema(), want)
		}
		if s.Records.Loaded != 2 || s.Rows != 2 {
			t.Errorf("records %+v, rows %d", s.Records, s.Rows)
		}
	})
	t.Run("a_new_field_that_the_SQL_leaves_out_is_rescued_and_told", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = flat
		l.file("1.json", `{"id":1,"v":{"x":1.5},"l":[{"k":"a"}],"known":1}`+"\n")
		l.run()
		l.file("2.json", `{"id":2,"v":{"x":2,"new":7},"l":[{"k":"b","more":true}],"known":2}`+"\n")
		s := l.run()
		l.want(`{"_rescued_data":"{\"v\":{\"new\":7},\"l\":[{\"more\":true}],\"_file_path\":\"2.json\"}","id":2,"k":"b","x":2}`,
			`{"id":1,"k":"a","x":1.5}`)
		if len(s.Schema.Uncarried) != 2 || s.Schema.Uncarried[0].Path != "l.element.more" || s.Schema.Uncarried[1].Path != "v.new" || s.Schema.Uncarried[1].Line != 1 {
			t.Errorf("uncarried %+v", s.Schema.Uncarried)
		}
		// The SQL learns of it: from then on it is a column.
		l.cfg.Transform = "SELECT id, v.x AS x, v.new AS new, s.k AS k FROM source, unnest(l) AS t(s)"
		l.file("3.json", `{"id":3,"v":{"x":3,"new":8},"l":[{"k":"c","more":true}]}`+"\n")
		if s := l.run(); len(s.Schema.Uncarried) != 0 || s.Rescued.Rows != 0 {
			t.Errorf("after the SQL was changed: %+v, rescued %+v", s.Schema, s.Rescued)
		}
		if rows := l.rows(); rows[len(rows)-1] != `{"id":3,"k":"c","new":8,"x":3}` {
			t.Errorf("rows %q", rows)
		}
	})
	t.Run("a_star_carries_new_fields_at_once", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT *, v.x * 2 AS twice FROM source"
		l.file("1.json", `{"id":1,"v":{"x":1}}`+"\n")
		l.run()
		l.file("2.json", `{"id":2,"v":{"x":2,"new":7},"w":"y"}`+"\n")
		if s := l.run(); len(s.Schema.Uncarried) != 0 || len(s.Commits) != 1 {
			t.Errorf("summary %+v", s)
		}
		l.want(`{"id":1,"twice":2,"v":{"x":1}}`, `{"id":2,"twice":4,"v":{"new":7,"x":2},"w":"y"}`)
	})
	t.Run("uncarried_fail_stops_the_run", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform, l.cfg.Uncarried = "SELECT id FROM source", "fail"
		l.file("1.json", `{"id":1,"known":1}`+"\n")
		l.run()
		l.file("2.json", `{"id":2,"new":1}`+"\n")
		_, err := l.tryRun()
		var stop *silt.UncarriedError
		if !errors.As(err, &stop) || stop.Field.Path != "new" {
			t.Errorf("error %v", err)
		}
		l.cfg.Uncarried = "allow"
		l.run()
		l.want(`{"id":1}`, `{"id":2}`)
	})
	t.Run("a_row_on_which_the_SQL_fails_is_quarantined_with_its_text", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT id, CAST(n AS INTEGER) AS n FROM source"
		l.file("1.json", `{"id":1,"n":"7"}`+"\n"+`{"id":2,"n":"x"}`+"\n"+`{"id":3,"n":"9"}`+"\n")
		s := l.run()
		l.want(`{"id":1,"n":7}`, `{"id":3,"n":9}`)
		q := l.quarantine()
		if len(q) != 1 || q[0].Reason != "transform" || string(q[0].Record) != `{"id":2,"n":"x"}` || q[0].Line != 2 || !strings.Contains(q[0].Detail, "'x'") {
			t.Errorf("quarantine %+v", q)
		}
		if s.Records.Read != 3 || s.Records.Loaded != 2 || s.Records.Quarantined != 1 {
			t.Errorf("records %+v", s.Records)
		}
	})
	t.Run("results_take_the_types_of_the_table", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT CAST(a AS BIGINT) AS a FROM source"
		l.file("1.json", `{"a":1}`+"\n")
		l.run()
		l.cfg.Transform = "SELECT a FROM source"
		l.file("2.json", `{"a":2}`+"\n")
		l.run()
		l.cfg.Transform = "SELECT a + 0.5 AS a FROM source WHERE a > 2"
		l.file("3.json", `{"a":3}`+"\n"+`{"a":4}`+"\n")
		l.run()
		l.want(`{"a":1}`, `{"a":2}`)
		if q := l.quarantine(); len(q) != 2 || !strings.Contains(q[0].Detail, "3.5 does not fit the type BIGINT exactly") {
			t.Errorf("quarantine %+v", q)
		}
	})
	t.Run("SQL_over_the_whole_batch_keeps_rescued_records_aside", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT g, count(*) AS n FROM source GROUP BY g"
		l.file("1.json", `{"g":"a","n":1}`+"\n"+`{"g":"a","n":2}`+"\n")
		l.run()
		l.file("2.json", `{"g":"b","n":"x"}`+"\n"+`{"g":"b","n":2}`+"\n")
		s := l.run()
		l.want(`{"g":"a","n":2}`, `{"g":"b","n":2}`)
		q := l.quarantine()
		if len(q) != 1 || q[0].Reason != "rescued" || string(q[0].Record) != `{"g":"b","n":"x"}` || s.Records.Quarantined != 0 {
			t.Errorf("quarantine %+v", q)
		}
		if len(s.Warnings) != 1 || s.Warnings[0].Code != "SILT-7003" {
			t.Errorf("warnings %+v", s.Warnings)
		}
	})
	t.Run("records_with_rescued_data_that_the_SQL_drops_are_told_of", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT id, unnest(l) AS x FROM source"
		l.file("1.json", `{"id":1,"l":["a"]}`+"\n")
		l.run()
		l.file("2.json", `{"id":2,"l":[],"new":5}`+"\n"+`{"id":3,"l":["b"],"new":6}`+"\n")
		s := l.run()
		if len(s.Warnings) != 1 || s.Warnings[0].Code != "SILT-7004" || !strings.Contains(s.Warnings[0].Text, "no row of 1 record with") {
			t.Errorf("warnings %+v", s.Warnings)
		}
	})
	t.Run("metadata_is_there_when_the_SQL_names_it", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = "SELECT id, _metadata.file_name AS name, _metadata.file_size AS size FROM source"
		l.file("1.json", `{"id":1}`+"\n")
		l.run()
		l.want(`{"id":1,"name":"1.json","size":9}`)
	})
	t.Run("a_mistake_in_the_SQL_writes_nothing", func(t *testing.T) {
		for _, sql := range []string{"SELECT nope FROM source", "DELETE FROM source", "SELECT 1; SELECT 2", "SELECT * FROM read_csv('/etc/passwd')", "SELECT"} {
			l := newLab(t)
			l.cfg.Transform = sql
			l.file("1.json", `{"id":1}`+"\n")
			if _, err := l.tryRun(); err == nil {
				t.Errorf("%s: no error", sql)
			}
			if l.isTable() {
				t.Errorf("%s: there is a table", sql)
			}
		}
	})
}

func TestAVariantIsTextToSQL(t *testing.T) {
	l := newLab(t)
	l.cfg.Options = map[string]string{"singleVariantColumn": "doc"}
	l.file("1.json", `{"id":1,"v":{"x":["é",1.5,null]}}`+"\n"+`{"id":2}`+"\n")
	l.run()
	r, err := silt.Query(t.Context(), "select doc->'v'->>'x' as x, doc from '"+l.cfg.Target.Path+"' order by doc->>'id'", silt.QueryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if !r.Next() {
		t.Fatalf("no rows, error %v", r.Err())
	}
	text, err := r.RecordBatch().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(string(text)), `[{"doc":"{\"id\":1,\"v\":{\"x\":[\"é\",1.5,null]}}","x":"[\"é\",1.5,null]"}`+"\n,"+`{"doc":"{\"id\":2}","x":null}`+"\n]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestQuery(t *testing.T) {
	l := newLab(t)
	l.file("1.json", `{"id":1}`+"\n")
	l.run()
	l.file("2.json", `{"id":2,"v":{"x":1}}`+"\n"+`x`+"\n")
	l.run()
	zero := int64(0)
	tests := []struct {
		name, sql, want string
		version         *int64
	}{
		{"a_table_by_its_path", "select id, v.x as x from '" + l.cfg.Target.Path + "' order by id", `[{"id":1,"x":null},{"id":2,"x":1}]`, nil},
		{"an_older_version", "select * exclude (ingestion_timestamp, source_file) from '" + l.cfg.Target.Path + "'", `[{"_rescued_data":null,"id":1}]`, &zero},
		{"silt_s_files", "select status, rows from silt.files order by path", `[{"rows":1,"status":"loaded"},{"rows":1,"status":"loaded"}]`, nil},
		{"silt_s_runs", "select count(*) as n, sum(records_quarantined)::bigint as q from silt.runs", `[{"n":2,"q":1}]`, nil},
		{"silt_s_schema_history", "select version, reason from silt.schema_history order by 1", `[{"reason":"inferred","version":0},{"reason":"new fields","version":1}]`, nil},
		{"silt_s_quarantine", "select record from silt.quarantine", `[{"record":"x"}]`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := silt.Query(t.Context(), test.sql, silt.QueryOptions{Configs: []silt.Config{l.cfg}, Version: test.version})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Release()
			if !r.Next() {
				t.Fatalf("no rows, error %v", r.Err())
			}
			text, err := r.RecordBatch().MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if got := canonicalJSON(t, text); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	t.Run("an_unknown_table_is_an_error_that_says_so", func(t *testing.T) {
		_, err := silt.Query(t.Context(), "select * from main.demo.nope", silt.QueryOptions{})
		if !errors.Is(err, silt.ErrNoTable) {
			t.Errorf("error %v", err)
		}
	})
}

func TestSteps(t *testing.T) {
	steps := func(all ...silt.Step) string {
		t.Helper()
		sql, err := silt.Steps(all...)
		if err != nil {
			t.Fatal(err)
		}
		return sql
	}
	t.Run("each_reads_those_before_it_and_the_last_makes_the_rows", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = steps(
			silt.Step{Name: "exploded", SQL: "SELECT id, unnest(l) AS s FROM source; "},
			silt.Step{Name: "flat rows", SQL: "WITH x AS (SELECT * FROM exploded) -- a comment\nSELECT id, s.k AS k FROM x -- and one at the end"},
			silt.Step{Name: "last", SQL: `SELECT *, upper(k) AS big FROM "flat rows" WHERE k <> 'c'`})
		l.file("1.json", `{"id":1,"l":[{"k":"a"},{"k":"b"}]}`+"\n"+`{"id":2,"l":[{"k":"c"}]}`+"\n")
		s := l.run()
		l.want(`{"big":"A","id":1,"k":"a"}`, `{"big":"B","id":1,"k":"b"}`)
		if want := "id BIGINT,k STRING,big STRING,_rescued_data STRING,ingestion_timestamp TIMESTAMP,source_file STRING"; l.schema() != want {
			t.Errorf("schema %s, want %s", l.schema(), want)
		}
		if len(s.Warnings) != 0 {
			t.Errorf("warnings %+v: the steps work row by row", s.Warnings)
		}
	})
	t.Run("a_star_in_each_sees_new_columns_at_once", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Transform = steps(silt.Step{Name: "a", SQL: "SELECT *, id + 1 AS next FROM source"}, silt.Step{Name: "b", SQL: "SELECT * FROM a WHERE next > 0"})
		l.file("1.json", `{"id":1}`+"\n")
		l.run()
		l.file("2.json", `{"id":2,"w":"y"}`+"\n")
		if s := l.run(); len(s.Schema.Uncarried) != 0 || len(s.Commits) != 1 {
			t.Errorf("summary %+v", s)
		}
		l.want(`{"id":1,"next":2}`, `{"id":2,"next":3,"w":"y"}`)
	})
	t.Run("mistakes_name_the_step", func(t *testing.T) {
		for want, all := range map[string][]silt.Step{
			"step 1 has no name":             {{SQL: "SELECT 1"}},
			"step a has no SQL":              {{Name: "a", SQL: " ; "}},
			"two steps are called A":         {{Name: "a", SQL: "SELECT 1"}, {Name: "A", SQL: "SELECT 1"}},
			"step 1 cannot be called Source": {{Name: "Source", SQL: "SELECT 1"}},
		} {
			if _, err := silt.Steps(all...); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
		}
	})
}

func TestRecordsAreCountedByTheRowsThatSQLMakes(t *testing.T) {
	l := newLab(t)
	l.cfg.Transform = "SELECT id, CAST(unnest(l) AS INTEGER) AS x FROM source WHERE id <> 3"
	l.file("1.json", `{"id":1,"l":["1"]}`+"\n"+`{"id":2,"l":["1","2"]}`+"\n"+`{"id":3,"l":["1"]}`+"\n"+`{"id":4,"l":[]}`+"\n"+`{"id":5,"l":["x"]}`+"\n"+`{"id":6,"l":["1","2","3"]}`+"\n")
	s := l.run()
	if s.Records.Read != 6 || s.Records.Loaded != 5 || s.Records.Quarantined != 1 || s.Rows != 6 {
		t.Errorf("records %+v, rows %d", s.Records, s.Rows)
	}
	if want := (silt.TransformCounts{Rows: 6, None: 2, Several: 2}); s.Transform == nil || *s.Transform != want {
		t.Errorf("transform %+v, want %+v", s.Transform, want)
	}
	l.cfg.Transform = "SELECT count(*) AS id FROM source"
	l.file("2.json", `{"id":7}`+"\n")
	if s := l.run(); s.Transform == nil || !s.Transform.Unknown {
		t.Errorf("transform %+v", s.Transform)
	}
}
