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
