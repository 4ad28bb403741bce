//go:build cgo && duckdb_arrow && !nosql

package merge_test

import (
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/merge"
)

// TestChangeSkipsFiles deletes rows by conditions, and wants the files that cannot have such rows not to be
// opened, and the rows that SQL means, and no others, to be gone.
func TestChangeSkipsFiles(t *testing.T) {
	const columns = "id BIGINT, name STRING, day DATE, seen TIMESTAMP, price DECIMAL(9,2), d DOUBLE, s STRUCT<x: INT>, p STRING"
	files := []lines{
		`{"id":1,"name":"a","day":"2020-01-01","seen":"2020-01-01 10:00:00Z","price":"1.50","d":0.5,"s":{"x":1},"p":"u"}` + "\n" + `{"id":2,"name":"b","day":"2020-01-02","seen":"2020-01-02 10:00:00Z","price":"2.50","d":1.5,"s":{"x":2},"p":"u"}`,
		`{"id":11,"name":"k","day":"2021-01-01","seen":"2021-01-01 10:00:00Z","price":"11.50","d":10.5,"s":{"x":11},"p":"v"}` + "\n" + `{"id":12,"name":null,"day":null,"seen":null,"price":null,"d":null,"s":null,"p":"v"}`,
		`{"id":21,"name":"t","day":"2022-01-01","seen":"2022-01-01 10:00:00Z","price":"21.50","d":20.5,"s":{"x":21},"p":"w"}` + "\n" + `{"id":22,"name":"u","day":"2022-01-02","seen":"2022-01-02 10:00:00Z","price":"22.50","d":21.5,"s":{"x":22},"p":"w"}`,
	}
	for _, c := range []struct {
		where         string
		scanned, rows int64
	}{
		{"id = 1", 1, 1},
		{"id IN (1, 21) AND name <> 'zz'", 2, 2},
		{"12 < id", 1, 2},
		{"target.id BETWEEN 2 AND 11", 2, 2},
		{"name = 'k' AND length(name) = 1", 1, 1},
		{"day < '2021-01-01'", 1, 2},
		{"day >= DATE '2022-01-02'", 1, 1},
		{"seen < '2020-01-02'", 1, 1},
		{"seen >= TIMESTAMP '2022-01-01 10:00:00'", 1, 2},
		{"price > 11.5", 1, 2},
		{"price = 11.50", 1, 1},
		{"d > 10 AND d < 11", 2, 1}, // NaN would be greater than all
		{"s.x = 22", 1, 1},
		{"target.s.x = 22 AND p = 'w'", 1, 1},
		{"p = 'v'", 1, 2},
		{"id = 1 OR id = 21", 3, 2},
		{"id + 0 = 1", 3, 1},
		{"id = '1'", 3, 1},
		{"name IS NULL", 3, 1},
		{"NOT (id > 1)", 1, 1},
		{"id = 1e0", 3, 1},
		{"target.id = (SELECT 1)", 3, 1},
		{"id = 99", 0, 0},
	} {
		t.Run(c.where, func(t *testing.T) {
			for _, vectors := range []string{"false", "true"} {
				x := create(t, delta.TableOptions{Schema: ddl(t, columns), PartitionBy: []string{"p"}, Properties: map[string]string{"delta.enableDeletionVectors": vectors}}, files...)
				s := x.load()
				tx := s.Begin("DELETE")
				r, err := merge.Change(t.Context(), tx, s, x.store, merge.RowChange{Where: c.where}, merge.Options{SQL: engine})
				if err != nil {
					t.Fatal(err)
				}
				if r.FilesScanned != c.scanned || r.TargetDeleted != c.rows {
					t.Errorf("%d files opened and %d rows deleted, want %d and %d", r.FilesScanned, r.TargetDeleted, c.scanned, c.rows)
				}
			}
		})
	}
}
