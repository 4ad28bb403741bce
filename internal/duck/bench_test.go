//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// telemetry is a batch of n rows of 30 leaves, some of them nested in arrays.
func telemetry(b testing.TB, n int) (*schema.Struct, arrow.RecordBatch) {
	b.Helper()
	s, err := schema.ParseDDL("id BIGINT, ts TIMESTAMP, station STRUCT<id: STRING, site: STRUCT<city: STRING, lat: DOUBLE, lon: DOUBLE>, power: DOUBLE>, " +
		"a1 DOUBLE, a2 DOUBLE, a3 DOUBLE, a4 DOUBLE, a5 DOUBLE, b1 BIGINT, b2 BIGINT, b3 BIGINT, b4 BIGINT, c1 STRING, c2 STRING, c3 STRING, c4 STRING, " +
		"d1 BOOLEAN, d2 BOOLEAN, cells ARRAY<STRUCT<id: INT, temps: ARRAY<DOUBLE>>>, signals ARRAY<STRUCT<name: STRING, value: DOUBLE>>, _rescued_data STRING")
	if err != nil {
		b.Fatal(err)
	}
	var rows strings.Builder
	rows.WriteByte('[')
	for i := range n {
		if i > 0 {
			rows.WriteByte(',')
		}
		fmt.Fprintf(&rows, `{"id":%d,"ts":"2024-05-01T10:%02d:00Z","station":{"id":"st-%d","site":{"city":"Berlin","lat":52.5,"lon":13.4},"power":%d.5},`+
			`"a1":1.5,"a2":2.5,"a3":3.5,"a4":4.5,"a5":%d.25,"b1":1,"b2":2,"b3":3,"b4":4,"c1":"charging","c2":"a rather longer text than twelve","c3":"x","c4":"y",`+
			`"d1":true,"d2":false,"cells":[{"id":1,"temps":[1.5,2.5,3.5]},{"id":2,"temps":[1.5,2.5]}],"signals":[{"name":"v","value":%d},{"name":"a","value":2}]}`,
			i, i%60, i%50, i%100, i, i)
	}
	rows.WriteByte(']')
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.Arrow(), strings.NewReader(rows.String()))
	if err != nil {
		b.Fatal(err)
	}
	return s, rec
}

// BenchmarkApply measures what a call costs: by itself (1 row) and by row.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct{ name, sql string }{
		{"all", "SELECT * FROM source"},
		{"narrow", "SELECT id, station.site.city AS city, a1 * 2 AS a FROM source WHERE d1"},
		{"unnest", "SELECT id, ts, s.name, s.value FROM source, unnest(signals) AS t(s)"},
	} {
		for _, n := range []int{1, 2048, 20_000} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				s, rec := telemetry(b, n)
				defer rec.Release()
				e, err := Open(b.Context(), Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				t, err := e.Prepare(b.Context(), c.sql, s, TransformOptions{Carry: []string{"_rescued_data"}})
				if err != nil {
					b.Fatal(err)
				}
				defer t.Close()
				for b.Loop() {
					out, _, err := t.ApplyRows(context.Background(), rec)
					if err != nil {
						b.Fatal(err)
					}
					releaseRows(out)
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
			})
		}
	}
}

// BenchmarkOpen measures a database and a transform.
func BenchmarkOpen(b *testing.B) {
	s, rec := telemetry(b, 1)
	rec.Release()
	for b.Loop() {
		e, err := Open(b.Context(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := e.Prepare(b.Context(), "SELECT * FROM source", s, TransformOptions{}); err != nil {
			b.Fatal(err)
		}
		e.Close()
	}
}
