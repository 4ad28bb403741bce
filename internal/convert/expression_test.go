//go:build cgo && duckdb_arrow && !nosql

package convert_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

func TestEvaluator(t *testing.T) {
	engine, err := duck.Open(t.Context(), duck.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	e := convert.Evaluator{Engine: func(context.Context) (*duck.Engine, error) { return engine, nil }}
	columns, err := schema.ParseDDL("a BIGINT, d DOUBLE, s STRING, ts TIMESTAMP, day DATE, st STRUCT<x: INT>, `b c` BIGINT, dec DECIMAL(10,2), ok BOOLEAN")
	if err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, columns.Arrow(), strings.NewReader(
		`[{"a":7,"d":2.5,"s":"Ab","ts":"2024-02-29 23:59:59.5Z","day":"2024-02-29","st":{"x":3},"b c":1,"dec":"1.25","ok":true},{"a":-1}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Release()
	for _, c := range []struct{ sql, typ, want string }{
		{"a > 0", "BOOLEAN", `[true,false]`},
		{"a == 7 AND s <=> NULL OR NOT (a IN (1, 7L))", "BOOLEAN", `[false,true]`},
		{"s LIKE \"A%\" and length(s) = 2", "BOOLEAN", `[true,null]`},
		{"st.x BETWEEN 1 AND 3", "BOOLEAN", `[true,null]`},
		{"`b c` + a * 2", "BIGINT", `[15,null]`},
		{"a / 2", "DOUBLE", `[3.5,-0.5]`},
		{"CAST(ts AS DATE)", "DATE", `["2024-02-29",null]`},
		{"year(ts) * 100 + MONTH(ts)", "INT", `[202402,null]`},
		{"date_format(ts, 'yyyy-MM-dd HH:mm:ss')", "STRING", `["2024-02-29 23:59:59",null]`},
		{"ts > '2000-01-01' and day >= DATE '2024-02-29' and ts < timestamp '2025-01-01 00:00:00'", "BOOLEAN", `[true,null]`},
		{"CAST(a AS INT)", "INT", `[7,-1]`},
		{"CASE WHEN a > 0 THEN upper(s) ELSE 'none' END", "STRING", `["AB","none"]`},
		{"coalesce(s, 'x') || 'y'", "STRING", `["Aby","xy"]`},
		{"substring(s, 1, 1)", "STRING", `["A",null]`},
		{"A > 0", "BOOLEAN", `[true,false]`},
		{"dec * 2 > 2.49 AND dec IS NOT NULL AND ok", "BOOLEAN", `[true,false]`},
	} {
		typ, err := schema.ParseType(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.Bind(t.Context(), columns, []delta.Expression{{SQL: c.sql, Type: typ}})
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		out, err := b.Eval(t.Context(), rec)
		b.Close()
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		text, _ := json.Marshal(out[0])
		if string(text) != c.want || out[0].DataType().String() != schema.ArrowType(typ).String() {
			t.Errorf("%s: got %s of %s, want %s", c.sql, text, out[0].DataType(), c.want)
		}
		out[0].Release()
	}
	for _, sql := range []string{
		"CAST(d AS INT)", "CAST(s AS INT)", "CAST(d AS STRING)", "CAST(ts AS STRING)", "CAST(dec AS BIGINT)", "concat(s, 'x')", "rand() > 0", "current_date() > day",
		"s RLIKE 'x'", "a > 0) AS y, (1", "a > 0 -- x", "/* x */ a > 0", "nothing > 0", "a > (select 1)", "substring(s, 0, 1)", "substr(s, -1)", "s = 'a\\'b'", "s = 'a''b'",
		"round(d)", "dayofweek(ts)", "date_format(ts, 'EEE')", "a > ", "(a > 0", "a > 0)", "CAST(a)", "CAST(a AS", "sum(a) > 0", "a; drop table x", "to_date(s)", "",
	} {
		if b, err := e.Bind(t.Context(), columns, []delta.Expression{{SQL: sql, Type: schema.Boolean}}); err == nil {
			b.Close()
			t.Errorf("%q is taken", sql)
		}
	}
}
