package delta_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

func TestOffer(t *testing.T) {
	const columns = "a BIGINT, g BIGINT GENERATED ALWAYS AS (a * 2), n STRING NOT NULL, s STRUCT<x: BIGINT NOT NULL, y: BIGINT>, l ARRAY<STRUCT<z: BIGINT NOT NULL>>, m MAP<STRING, STRUCT<w: BIGINT NOT NULL>>"
	const given = "a BIGINT, g BIGINT, n STRING, s STRUCT<x: BIGINT, y: BIGINT>, l ARRAY<STRUCT<z: BIGINT>>, m MAP<STRING, STRUCT<w: BIGINT>>"
	good := `{"a":1,"g":2,"n":"x","s":{"x":1},"l":[{"z":1}],"m":[{"key":"k","value":{"w":1}}]}`
	bad := []string{
		`{"a":-1,"g":-2,"n":null}`,
		`{"a":1,"g":3,"n":"x","s":{"y":1},"l":[{"z":1},{"z":null},{}]}`,
		`{"a":1,"g":2,"n":"x","m":[{"key":"k","value":{"w":null}}]}`,
	}
	for _, mode := range []string{"none", "name"} {
		t.Run(mode, func(t *testing.T) {
			store := new(objstore.Mem)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, columns), Properties: map[string]string{"delta.columnMapping.mode": mode, "delta.constraints.pos": "a > 0"}})
			tx := s.Begin("WRITE")
			w, err := delta.NewDataWriter(t.Context(), store, tx.WriteContext(), delta.DataWriterOptions{Evaluator: smallSQL{}})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Abort(t.Context())
			offer := func(rows ...string) (out []string) {
				t.Helper()
				found, err := w.Offer(t.Context(), record(t, ddl(t, given), rows...))
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range found {
					out = append(out, fmt.Sprintf("%d %s", v.Row, v.Rule))
				}
				return out
			}
			want := []string{"1 pos", "1 NOT NULL n", "2 g", "2 NOT NULL s.x", "2 NOT NULL l.element.z", "3 NOT NULL m.value.w"}
			if got := offer(good, bad[0], bad[1], bad[2]); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := offer(good, good); got != nil {
				t.Errorf("good rows: %q", got)
			}
			adds, err := w.Close(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tx.Add(adds...)
			after, err := tx.Commit(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := rows(t, after); len(got) != 2 || !strings.Contains(got[0], `"a":1`) {
				t.Errorf("rows %q", got)
			}

			part, err := delta.NewDataWriter(t.Context(), store, after.Begin("WRITE").WriteContext(), delta.DataWriterOptions{Evaluator: smallSQL{}, Partial: true})
			if err != nil {
				t.Fatal(err)
			}
			defer part.Abort(t.Context())
			for columns, want := range map[string]string{"n STRING": "[]", "g BIGINT": "[]", "a BIGINT, g BIGINT": "[{0 g} {0 pos}]", "s STRUCT<x: BIGINT>, n STRING": "[{0 NOT NULL n}]"} {
				row := map[string]string{"n STRING": `{"n":"x"}`, "g BIGINT": `{"g":1}`}[columns]
				if row == "" {
					row = `{}`
				}
				if strings.HasPrefix(columns, "a") {
					row = `{"a":-1,"g":1}`
				}
				found, err := part.Violations(t.Context(), record(t, ddl(t, columns), row))
				if err != nil {
					t.Fatal(err)
				}
				short := []string{}
				for _, v := range found {
					short = append(short, fmt.Sprintf("{%d %s}", v.Row, v.Rule))
				}
				if got := fmt.Sprint(short); got != want {
					t.Errorf("%s: got %s, want %s", columns, got, want)
				}
			}
		})
	}
}
