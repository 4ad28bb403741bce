//go:build duckdb_arrow

package duck

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAMistakeTellsWhatIsMissingInTheSource(t *testing.T) {
	e := open(t, Options{})
	s := ddl(t, "id BIGINT, vehicle STRUCT<vin: STRING, battery: STRUCT<soc: DOUBLE>>, l ARRAY<STRUCT<k: STRING, v: BIGINT>>, `a b` STRING, m ARRAY<STRUCT<k: STRING>>")
	for _, c := range []struct{ sql, want string }{
		{"SELECT idd FROM source", "1:8 idd idd [id"},
		{"SELECT s.idd FROM source AS s", "1:8 idd idd [id"},
		{"SELECT id FROM source ORDER BY nope", "1:32 nope nope ["},
		{`SELECT "a c" FROM source`, "1:8 a c `a c` ["},
		{"SELECT vehicle.vinn FROM source", "1:8 vinn vehicle.vinn [vin battery]"},
		{"SELECT id,\n vehicle.battery.sok FROM source", "2:2 sok vehicle.battery.sok [soc]"},
		{"SELECT source.vehicle.vinn FROM source", "1:8 vinn vehicle.vinn [vin battery]"},
		{"SELECT vehicle['vinn'] FROM source", "1:16 vinn vehicle.vinn [vin]"},
		{"SELECT vehicl.vin FROM source", "1:8 vehicl vehicl.vin [id vehicle l a b m]"},
		{"SELECT x.vv FROM source, unnest(l) AS t(x)", "1:8 vv l.element.vv ["},
		{"SELECT upper(op) AS op FROM source", "1:14 op op ["},
		{"SELECT * EXCLUDE (op) FROM source", "0:0 op op ["},
		{"SELECT * EXCLUDE (source.op) FROM source", "0:0 op op ["},
		{"SELECT id FROM source QUALIFY row_number() OVER (PARTITION BY id ORDER BY seq) = 1", "1:75 seq seq ["},
		{"SELECT id FROM source JOIN (SELECT 1 AS z) AS t USING (z)", "0:0 z z ["},
		{"SELECT l[1].vv FROM source", "0:0 vv l.element.vv [v]"},
	} {
		_, err := e.Prepare(t.Context(), c.sql, s, TransformOptions{})
		var m *SQLError
		if !errors.As(err, &m) {
			t.Fatalf("%s: got %v, want a *SQLError", c.sql, err)
		}
		if got := fmt.Sprintf("%d:%d %s %s %s", m.Line, m.Column, m.Name, m.Missing, m.Known); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.sql, got, c.want)
		}
	}
}
