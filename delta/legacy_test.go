package delta_test

import (
	"bytes"
	"testing"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	pq "github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/siltlake/silt/objstore"
)

// legacyFile writes a file of one list column of 32-bit numbers, [[1,null?,2],[],null], in an old form of
// nesting. MaxDef is the level of a number that is there.
func legacyFile(t *testing.T, list pq.Node, values []int32, def, rep []int16) []byte {
	t.Helper()
	root, err := pq.NewGroupNode("root", parquet.Repetitions.Required, pq.FieldList{list}, -1)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := file.NewParquetWriter(&b, root)
	group, err := w.AppendRowGroupChecked()
	if err != nil {
		t.Fatal(err)
	}
	cw, err := group.NextColumn()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cw.(*file.Int32ColumnChunkWriter).WriteBatch(values, def, rep); err != nil {
		t.Fatal(err)
	}
	cw.Close()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestLegacyNesting(t *testing.T) {
	group := must[*pq.GroupNode](t)
	for _, c := range []struct {
		name     string
		list     pq.Node
		def, rep []int16
		want     []string
	}{
		{"two_levels", group(pq.NewGroupNodeConverted("l", parquet.Repetitions.Optional, pq.FieldList{
			pq.NewInt32Node("array", parquet.Repetitions.Repeated, -1)}, pq.ConvertedTypes.List, -1)),
			[]int16{2, 2, 1, 0}, []int16{0, 1, 0, 0}, []string{`{"l":[1,2]}`, `{"l":[]}`, `{"l":null}`}},
		{"bag_and_array", group(pq.NewGroupNodeConverted("l", parquet.Repetitions.Optional, pq.FieldList{
			group(pq.NewGroupNode("bag", parquet.Repetitions.Repeated, pq.FieldList{pq.NewInt32Node("array", parquet.Repetitions.Optional, -1)}, -1))},
			pq.ConvertedTypes.List, -1)),
			[]int16{3, 3, 1, 0}, []int16{0, 1, 0, 0}, []string{`{"l":[1,2]}`, `{"l":[]}`, `{"l":null}`}},
		{"no_annotation", pq.NewInt32Node("l", parquet.Repetitions.Repeated, -1),
			[]int16{1, 1, 0, 0}, []int16{0, 1, 0, 0}, []string{`{"l":[1,2]}`, `{"l":[]}`, `{"l":[]}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := new(objstore.Mem)
			put(t, store, "a.parquet", legacyFile(t, c.list, []int32{1, 2}, c.def, c.rep))
			logOf(t, store, head(t, "l ARRAY<BIGINT>")+addLine("a.parquet"))
			wantRows(t, load(t, store), c.want...)
		})
	}
}
