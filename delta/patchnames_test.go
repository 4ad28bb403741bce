package delta

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// TestPatchOfAFileThatNamesItsColumnsInAnotherCase patches a file of a column `name` in a table that has `Name`:
// readers find it, so a file that is written anew must not lose its values.
func TestPatchOfAFileThatNamesItsColumnsInAnotherCase(t *testing.T) {
	file := ddlOf(t, "id BIGINT, name STRING")
	rec := patchRecord(t, file, []map[string]any{{"id": 1, "name": "a"}, {"id": 2, "name": "b"}})
	table := ddlOf(t, "id BIGINT, Name STRING")
	snapshot, add := foreignTable(t, table, file, rec)
	if got, want := patchedRows(t, snapshot), []string{`{"Name":"a","id":1}`, `{"Name":"b","id":2}`}; !slices.Equal(got, want) {
		t.Fatalf("rows %v, want %v", got, want)
	}
	p, err := snapshot.NewPatcher(t.Context(), snapshot.Begin("X").WriteContext(), DataWriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	patch := FilePatch{Places: []int64{0}, Rows: patchRecord(t, ddlOf(t, "id BIGINT"), []map[string]any{{"id": 9}})}
	if _, _, err := p.Patch(t.Context(), add, patch); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error %v, want %v", err, errors.ErrUnsupported)
	}
}

// TestPatchOfAFileWhoseNullsStandElsewhere patches a file in which the struct is never NULL and its field may be, in
// a table where it is the other way round: the levels are as many, and mean something else.
func TestPatchOfAFileWhoseNullsStandElsewhere(t *testing.T) {
	file := ddlOf(t, "id BIGINT, s STRUCT<in: STRUCT<x: INT>> NOT NULL")
	table := ddlOf(t, "id BIGINT, s STRUCT<in: STRUCT<x: INT> NOT NULL>")
	rec := patchRecord(t, file, []map[string]any{{"id": 1, "s": map[string]any{"in": map[string]any{"x": 1}}}})
	field := arrow.Field{Name: "s", Type: rec.Column(1).DataType()}
	rec = array.NewRecordBatch(arrow.NewSchema([]arrow.Field{rec.Schema().Field(0), field}, nil), rec.Columns(), 1)
	snapshot, add := foreignTable(t, table, file, rec)
	p, err := snapshot.NewPatcher(t.Context(), snapshot.Begin("X").WriteContext(), DataWriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	if _, _, err := p.Patch(t.Context(), add, FilePatch{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error %v, want %v", err, errors.ErrUnsupported)
	}
}

// foreignTable makes a table of a schema whose only file was written by another one.
func foreignTable(t *testing.T, table, file *schema.Struct, rec arrow.RecordBatch) (*Snapshot, *Add) {
	t.Helper()
	tx, err := NewTable(new(objstore.Mem), TableOptions{Schema: table})
	if err != nil {
		t.Fatal(err)
	}
	wc := tx.WriteContext()
	wc.Schema = file
	w, err := NewDataWriter(t.Context(), tx.store, wc, DataWriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	adds, err := w.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	adds[0].Stats, adds[0].ModificationTime = "", time.Now().UnixMilli()
	tx.Add(adds...)
	snapshot, err := tx.Commit(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot, adds[0]
}
