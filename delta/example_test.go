package delta_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// A table is made with its first rows, then read.
func Example() {
	ctx := context.Background()
	store := new(objstore.Mem) // or objstore.NewDir("lake/events")
	columns := schema.NewStruct(
		schema.Nullable("id", schema.Long),
		schema.Nullable("geo", schema.NewStruct(schema.Nullable("lat", schema.Double))))
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: columns})
	if err != nil {
		log.Fatal(err)
	}
	w, err := delta.NewDataWriter(ctx, store, tx.WriteContext(), delta.DataWriterOptions{})
	if err != nil {
		log.Fatal(err)
	}
	rows, _, err := array.RecordFromJSON(memory.DefaultAllocator, columns.Arrow(), strings.NewReader(`[{"id":1,"geo":{"lat":52.5}},{"id":2}]`))
	if err != nil {
		log.Fatal(err)
	}
	defer rows.Release()
	if err := w.Write(ctx, rows); err != nil {
		log.Fatal(err)
	}
	files, err := w.Close(ctx)
	if err != nil {
		log.Fatal(err)
	}
	tx.Add(files...)
	tx.SetTxn("my-loader", 0) // a second commit of batch 0 does nothing
	s, err := tx.Commit(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	for rec, err := range s.Scan(delta.ScanOptions{}).Batches(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		text, _ := rec.MarshalJSON()
		fmt.Printf("version %d: %s", s.Version(), text)
		rec.Release()
	}
	// Output:
	// version 0: [{"geo":{"lat":52.5},"id":1}
	// ,{"geo":null,"id":2}
	// ]
}

// All files are replaced in one commit, under the schema they have now.
func ExampleAdd_Remove() {
	ctx := context.Background()
	store := new(objstore.Mem)
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: schema.NewStruct(schema.Nullable("id", schema.Long))})
	if err != nil {
		log.Fatal(err)
	}
	tx.Add(&delta.Add{Path: "old.parquet", DataChange: true})
	s, err := tx.Commit(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	tx = s.Begin("WRITE")
	for old, err := range s.Files(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		tx.Remove(old.Remove(time.Now(), true))
	}
	tx.Add(&delta.Add{Path: "new.parquet", DataChange: true})
	if s, err = tx.Commit(ctx, nil); err != nil {
		log.Fatal(err)
	}
	for f := range s.Files(ctx) {
		fmt.Println(f.Path)
	}
	// Output: new.parquet
}

// A column gets another name and another is added, without a data file being written.
func ExampleSnapshot_SetProperties() {
	ctx := context.Background()
	store := new(objstore.Mem)
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: schema.NewStruct(schema.Nullable("id", schema.Long))})
	if err != nil {
		log.Fatal(err)
	}
	s, err := tx.Commit(ctx, nil)
	if err == nil { // from now on columns are found by what they were first called
		s, err = s.SetProperties(ctx, map[string]string{"delta.columnMapping.mode": "name"})
	}
	if err == nil {
		s, err = s.RenameColumn(ctx, []string{"id"}, "vehicle id")
	}
	if err == nil {
		s, err = s.AddColumns(ctx, delta.NewColumn{Path: []string{"speed"}, Type: schema.Double, Comment: "km/h"})
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Schema().DDL())
	// What cannot be is refused, and changes nothing.
	_, err = s.SetProperties(ctx, map[string]string{"delta.columnMapping.mode": "none"})
	fmt.Println(err)
	// Output:
	// `vehicle id` BIGINT,speed DOUBLE
	// property delta.columnMapping.mode=none: the columns are mapped by name, and the data files are named by it
}

// Only what no version of the last two days needs is deleted from the log.
func ExampleSnapshot_CleanLog() {
	ctx := context.Background()
	store := new(objstore.Mem) // or objstore.NewDir("lake/events")
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: schema.NewStruct(schema.Nullable("id", schema.Long))})
	if err != nil {
		log.Fatal(err)
	}
	s, err := tx.Commit(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	retention := 48 * time.Hour
	found, err := s.CleanLog(ctx, delta.CleanLogOptions{Retention: &retention, DryRun: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d files of %d bytes could be deleted, the oldest version would be %d\n", len(found.Files), found.Bytes, found.Oldest)
	// Output: 0 files of 0 bytes could be deleted, the oldest version would be 0
}

// Rows are deleted and updated by a condition; the table keeps a feed of what has changed.
func ExampleSnapshot_UpdateRows() {
	ctx := context.Background()
	s := exampleRows(ctx, map[string]string{"delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true"},
		`[{"id":1,"city":"Berlin"},{"id":2,"city":"Paris"},{"id":3,"city":"Rome"}]`)
	s, changed, err := s.UpdateRows(ctx, delta.Compare{Column: []string{"id"}, Op: delta.Equal, Value: 2},
		[]delta.Assignment{{Column: "city", Value: "Lyon"}}, delta.ChangeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	s, deleted, err := s.DeleteRows(ctx, delta.In{Column: []string{"city"}, Values: []any{"Rome", "Oslo"}}, delta.ChangeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(changed.NumUpdatedRows, "updated,", deleted.NumDeletedRows, "deleted")
	for rec, err := range s.Changes(ctx, 1, s.Version()) {
		if err != nil {
			log.Fatal(err)
		}
		for i := range int(rec.NumRows()) {
			fmt.Println(rec.Column(3).ValueStr(i), rec.Column(2).ValueStr(i), rec.Column(0).ValueStr(i), rec.Column(1).ValueStr(i))
		}
		rec.Release()
	}
	// Output:
	// 1 updated, 1 deleted
	// 1 update_preimage 2 Paris
	// 1 update_postimage 2 Lyon
	// 2 delete 3 Rome
}

// A scan with a condition skips files that cannot have such rows.
func ExampleSnapshot_Scan() {
	ctx := context.Background()
	s := exampleRows(ctx, nil, `[{"id":1,"city":"Berlin"},{"id":2,"city":"Paris"}]`)
	for rec, err := range s.Scan(delta.ScanOptions{
		Columns: []string{"city"},
		Where:   delta.And{delta.Compare{Column: []string{"id"}, Op: delta.Greater, Value: 1}, delta.Not{Predicate: delta.IsNull{Column: []string{"city"}}}},
	}).Batches(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		text, _ := rec.MarshalJSON()
		fmt.Printf("%s", text)
		rec.Release()
	}
	// Output:
	// [{"city":"Paris"}
	// ]
}

// Rows of a condition are replaced by others, in one commit.
func ExampleTransaction_Replace() {
	ctx := context.Background()
	store := new(objstore.Mem)
	s := exampleRowsIn(ctx, store, nil, `[{"id":1,"city":"Berlin"},{"id":2,"city":"Paris"}]`)
	old := delta.Compare{Column: []string{"id"}, Op: delta.GreaterEqual, Value: 2}
	tx := s.Begin("WRITE")
	if _, err := tx.Replace(ctx, old, delta.ChangeOptions{}); err != nil {
		log.Fatal(err)
	}
	w, err := delta.NewDataWriter(ctx, store, tx.WriteContext(), delta.DataWriterOptions{Where: old})
	if err != nil {
		log.Fatal(err)
	}
	rows, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.Schema().Arrow(), strings.NewReader(`[{"id":5,"city":"Oslo"}]`))
	if err != nil {
		log.Fatal(err)
	}
	defer rows.Release()
	if err := w.Write(ctx, rows); err != nil {
		log.Fatal(err)
	}
	files, err := w.Close(ctx)
	if err != nil {
		log.Fatal(err)
	}
	tx.Add(files...)
	if s, err = tx.Commit(ctx, nil); err != nil {
		log.Fatal(err)
	}
	for rec := range s.Scan(delta.ScanOptions{}).Batches(ctx) {
		for i := range int(rec.NumRows()) {
			fmt.Println(rec.Column(0).ValueStr(i), rec.Column(1).ValueStr(i))
		}
		rec.Release()
	}
	// Output:
	// 1 Berlin
	// 5 Oslo
}

func exampleRows(ctx context.Context, properties map[string]string, rows string) *delta.Snapshot {
	return exampleRowsIn(ctx, new(objstore.Mem), properties, rows)
}

func exampleRowsIn(ctx context.Context, store objstore.Store, properties map[string]string, text string) *delta.Snapshot {
	columns := schema.NewStruct(schema.Nullable("id", schema.Long), schema.Nullable("city", schema.String))
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: columns, Properties: properties})
	if err != nil {
		log.Fatal(err)
	}
	w, err := delta.NewDataWriter(ctx, store, tx.WriteContext(), delta.DataWriterOptions{})
	if err != nil {
		log.Fatal(err)
	}
	rows, _, err := array.RecordFromJSON(memory.DefaultAllocator, columns.Arrow(), strings.NewReader(text))
	if err != nil {
		log.Fatal(err)
	}
	defer rows.Release()
	if err := w.Write(ctx, rows); err != nil {
		log.Fatal(err)
	}
	files, err := w.Close(ctx)
	if err != nil {
		log.Fatal(err)
	}
	tx.Add(files...)
	s, err := tx.Commit(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	return s
}
