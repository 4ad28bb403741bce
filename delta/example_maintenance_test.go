package delta_test

import (
	"context"
	"errors"
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

// exampleTable makes a table of so many versions of one row each.
func exampleTable(ctx context.Context, store objstore.Store, versions int) *delta.Snapshot {
	columns := schema.NewStruct(schema.Nullable("id", schema.Long))
	var s *delta.Snapshot
	for i := range versions {
		tx, err := delta.NewTable(store, delta.TableOptions{Schema: columns})
		if s != nil {
			tx, err = s.Begin("WRITE"), nil
		}
		if err != nil {
			log.Fatal(err)
		}
		w, err := delta.NewDataWriter(ctx, store, tx.WriteContext(), delta.DataWriterOptions{})
		if err != nil {
			log.Fatal(err)
		}
		rows, _, err := array.RecordFromJSON(memory.DefaultAllocator, columns.Arrow(), strings.NewReader(fmt.Sprintf(`[{"id":%d}]`, i)))
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
	}
	return s
}

// Small files are packed into one, in a version that changes no row. The old ones stay for those who read
// older versions, until they are vacuumed.
func ExampleRetentionError() {
	ctx, store := context.Background(), new(objstore.Mem)
	s := exampleTable(ctx, store, 3)
	s, m, err := s.Optimize(ctx, delta.OptimizeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("version %d: %d files became %d\n", s.Version(), m.NumRemovedFiles, m.NumAddedFiles)
	day := 24 * time.Hour
	_, err = s.Vacuum(ctx, delta.VacuumOptions{Retention: &day})
	var short *delta.RetentionError
	fmt.Println("a day is too short:", errors.As(err, &short))
	r, err := s.Vacuum(ctx, delta.VacuumOptions{DryRun: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(r.Files), "files left the table more than a week ago")
	// Output:
	// version 3: 3 files became 1
	// a day is too short: true
	// 0 files left the table more than a week ago
}

// A restore is looked at first. It makes a new version that is as the old one was.
func ExampleSnapshot_PlanRestore() {
	ctx, store := context.Background(), new(objstore.Mem)
	s := exampleTable(ctx, store, 3)
	first := int64(0)
	_, m, err := s.PlanRestore(ctx, delta.LoadOptions{Version: &first})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d files would leave, %d would come back\n", m.NumRemovedFiles, m.NumRestoredFiles)
	s, _, err = s.Restore(ctx, delta.LoadOptions{Version: &first})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version", s.Version())
	history, err := delta.History(ctx, store, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(history[0].Operation, *history[0].Parameters()["version"])
	// Output:
	// 2 files would leave, 0 would come back
	// version 3
	// RESTORE 0
}

// A table is read as it was.
func ExampleLoad_version() {
	ctx, store := context.Background(), new(objstore.Mem)
	exampleTable(ctx, store, 3)
	v := int64(1)
	s, err := delta.Load(ctx, store, delta.LoadOptions{Version: &v})
	if err != nil {
		log.Fatal(err)
	}
	d, err := s.Detail(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("version %d has %d files\n", s.Version(), d.NumFiles)
	v = 7
	_, err = delta.Load(ctx, store, delta.LoadOptions{Version: &v})
	fmt.Println(err)
	// Output:
	// version 1 has 2 files
	// the table has no version 7, its newest is 2
}

// A check compares what the log says with the files that are there.
func ExampleSnapshot_Check() {
	ctx, store := context.Background(), new(objstore.Mem)
	s := exampleTable(ctx, store, 2)
	for f := range s.Files(ctx) {
		if err := store.Delete(ctx, f.Path, objstore.Cond{}); err != nil {
			log.Fatal(err)
		}
		break
	}
	r, err := s.Check(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range r.Findings {
		fmt.Println(f.Subject, "of version", f.Version, "—", f.Problem)
	}
	// Output: file of version 1 — it is not there
}

// Columns are renamed without writing data files anew, once they are mapped.
func ExampleSnapshot_RenameColumn() {
	ctx, store := context.Background(), new(objstore.Mem)
	s := exampleTable(ctx, store, 1)
	s, err := s.SetProperties(ctx, map[string]string{"delta.columnMapping.mode": "name"})
	if err != nil {
		log.Fatal(err)
	}
	if s, err = s.RenameColumn(ctx, []string{"id"}, "event id"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Schema().Fields[0].Name)
	// Output: event id
}
