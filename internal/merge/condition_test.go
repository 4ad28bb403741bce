//go:build cgo && duckdb_arrow && !nosql

package merge_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/merge"
)

// engine opens SQL, once for all tests.
var (
	theEngine = sync.OnceValues(func() (*duck.Engine, error) { return duck.Open(context.Background(), duck.Options{}) })
	engine    = func(context.Context) (*duck.Engine, error) { return theEngine() }
)

func TestConditions(t *testing.T) {
	for _, c := range []struct {
		name, source string
		spec         merge.Spec
		changes      lines
		want         lines
		counts       merge.Counts
		err          string
	}{
		{
			name: "an_operation_deletes", source: "id BIGINT, op STRING, a STRING", spec: merge.Spec{Keys: []string{"id"}, DeleteWhen: "op = 'D'", Except: []string{"op"}, Duplicates: merge.LastWins},
			changes: `{"id":1,"op":"D"}` + "\n" + `{"id":2,"op":"U","a":"Y"}` + "\n" + `{"id":7,"op":"D"}` + "\n" + `{"id":8,"op":null,"a":"n"}`,
			want:    `{"id":2,"a":"Y","v":2}` + "\n" + `{"id":3,"a":"z","v":3}` + "\n" + `{"id":8,"a":"n","v":null}`,
			counts:  merge.Counts{Rows: 4, Deleted: 1, Updated: 1, Skipped: 1, Inserted: 1, TargetUpdated: 1, TargetDeleted: 1},
		},
		{
			name: "a_condition_sees_both_rows", source: "id BIGINT, v BIGINT, a STRING", spec: merge.Spec{Keys: []string{"id"}, UpdateWhen: "source.v > target.v", DeleteWhen: "source.v = -target.v"},
			changes: `{"id":1,"v":9,"a":"new"}` + "\n" + `{"id":2,"v":1,"a":"old"}` + "\n" + `{"id":3,"v":-3}` + "\n" + `{"id":4,"v":4}`,
			want:    `{"id":1,"a":"new","v":9}` + "\n" + `{"id":2,"a":"y","v":2}` + "\n" + `{"id":4,"a":null,"v":4}`,
			counts:  merge.Counts{Rows: 4, Deleted: 1, Updated: 1, Skipped: 1, Inserted: 1, TargetUpdated: 1, TargetDeleted: 1},
		},
		{
			name: "an_update_can_depend_on_the_source_alone", source: "id BIGINT, v BIGINT", spec: merge.Spec{Keys: []string{"id"}, UpdateWhen: "source.v IS NOT NULL"},
			changes: `{"id":1,"v":null}` + "\n" + `{"id":2,"v":5}`,
			want:    `{"id":1,"a":"x","v":1}` + "\n" + `{"id":2,"a":"y","v":5}` + "\n" + `{"id":3,"a":"z","v":3}`,
			counts:  merge.Counts{Rows: 2, Updated: 1, Skipped: 1, TargetUpdated: 1},
		},
		{
			name: "a_condition_on_no_column", source: "id BIGINT", spec: merge.Spec{Keys: []string{"id"}, DeleteWhen: "nothing = 1"},
			changes: `{"id":1}`, err: "nothing",
		},
		{
			name: "a_condition_over_all_rows", source: "id BIGINT, v BIGINT", spec: merge.Spec{Keys: []string{"id"}, DeleteWhen: "count(v) > 0"},
			changes: `{"id":1,"v":1}`, err: "deleteWhen: sql: it does not look at one row by itself",
		},
		{
			name: "a_condition_with_several_answers", source: "id BIGINT", spec: merge.Spec{Keys: []string{"id"}, UpdateWhen: "unnest([true, false])"},
			changes: `{"id":1}`, err: "updateWhen: sql: it does not look at one row by itself",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, vectors := range []string{"false", "true"} {
				x := create(t, delta.TableOptions{Schema: ddl(t, "id BIGINT, a STRING, v BIGINT"), Properties: map[string]string{"delta.enableDeletionVectors": vectors}},
					`{"id":1,"a":"x","v":1}`+"\n"+`{"id":2,"a":"y","v":2}`, `{"id":3,"a":"z","v":3}`)
				x.options.SQL = engine
				tx, r, err := x.begin(c.spec, changes(t, ddl(t, c.source), c.changes))
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("error %v, want %s in it", err, c.err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tx.Commit(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				counts := ofRows(r.Counts)
				counts.BytesAdded, counts.BytesRemoved = 0, 0
				if counts != c.counts {
					t.Errorf("counts %+v\nwant   %+v", counts, c.counts)
				}
				if got := x.rows(); got != canonical(t, c.want) {
					t.Errorf("rows\n%s\nwant\n%s", got, c.want)
				}
			}
		})
	}
}

func TestConstraints(t *testing.T) {
	for _, vectors := range []string{"false", "true"} {
		x := create(t, delta.TableOptions{Schema: ddl(t, "id BIGINT, v BIGINT"),
			Properties: map[string]string{"delta.constraints.pos": "v > 0", "delta.enableDeletionVectors": vectors}})
		spec := merge.Spec{Keys: []string{"id"}}
		if _, _, err := x.begin(spec, changes(t, ddl(t, "id BIGINT, v BIGINT"), `{"id":1,"v":5}`)); err == nil || !strings.Contains(err.Error(), "checkConstraints") {
			t.Errorf("without an evaluator: %v", err)
		}
		x.options.SQL = engine
		x.options.Writer.Evaluator = convert.Evaluator{Engine: engine}
		x.merge(spec, changes(t, ddl(t, "id BIGINT, v BIGINT"), `{"id":1,"v":1}`+"\n"+`{"id":2,"v":2}`))
		x.merge(spec, changes(t, ddl(t, "id BIGINT, v BIGINT"), `{"id":1,"v":5}`+"\n"+`{"id":3,"v":3}`))
		if _, _, err := x.begin(spec, changes(t, ddl(t, "id BIGINT, v BIGINT"), `{"id":2,"v":-5}`)); err == nil || !strings.Contains(err.Error(), "v > 0") {
			t.Errorf("a row that breaks the constraint: %v", err)
		}
		if got, want := x.rows(), canonical(t, `{"id":1,"v":5}`+"\n"+`{"id":2,"v":2}`+"\n"+`{"id":3,"v":3}`); got != want {
			t.Errorf("rows\n%s\nwant\n%s", got, want)
		}
	}
}
