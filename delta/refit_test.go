package delta_test

import (
	"errors"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// writtenFor writes a row for a table that is to get the columns, and returns the schema of the context too.
func writtenFor(t *testing.T, store objstore.Store, s *delta.Snapshot, columns, row string) (*schema.Struct, []*delta.Add) {
	t.Helper()
	tx := s.Begin("WRITE")
	if err := tx.SetSchema(ddl(t, columns)); err != nil {
		t.Fatal(err)
	}
	wc := tx.WriteContext()
	w, err := delta.NewDataWriter(t.Context(), store, wc, delta.DataWriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), record(t, ddl(t, columns), row)); err != nil {
		t.Fatal(err)
	}
	adds, err := w.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return wc.Schema, adds
}

func TestFilesWithColumnsUnderOtherNamesAreNotAddedAndCanBeWrittenAgain(t *testing.T) {
	const columns, row = "id INT, new STRUCT<a: INT>, k INT", `{"id":2,"new":{"a":3},"k":4}`
	mapped := map[string]string{"delta.columnMapping.mode": "name"}
	gets := func(t *testing.T, s *delta.Snapshot) *delta.Snapshot {
		s, err := s.AddColumns(t.Context(), delta.NewColumn{Path: []string{"new"}, Type: ddl(t, "a INT")})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	becomesMapped := func(t *testing.T, s *delta.Snapshot) *delta.Snapshot {
		s, err := s.SetProperties(t.Context(), mapped)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, c := range map[string]struct {
		properties map[string]string
		meanwhile  func(*testing.T, *delta.Snapshot) *delta.Snapshot
	}{
		"the_column_came":              {mapped, gets},
		"the_column_came_by_id":        {map[string]string{"delta.columnMapping.mode": "id"}, gets},
		"the_table_became_mapped":      {nil, becomesMapped},
		"it_became_mapped_and_it_came": {nil, func(t *testing.T, s *delta.Snapshot) *delta.Snapshot { return gets(t, becomesMapped(t, s)) }},
	} {
		t.Run(name, func(t *testing.T) {
			store := new(objstore.Mem)
			s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id INT"), Properties: c.properties}, `{"id":1}`)
			files, adds := writtenFor(t, store, s, columns, row)
			if !s.Fits(files, adds) {
				t.Error("they do not fit the table that they were written for")
			}
			late := s.Begin("WRITE")
			if err := late.SetSchema(files); err != nil {
				t.Fatal(err)
			}
			late.Add(adds...)
			now := c.meanwhile(t, s)
			var conflict *delta.ConflictError
			if _, err := late.Commit(t.Context(), nil); !errors.As(err, &conflict) || conflict.Kind != delta.MetadataChanged {
				t.Errorf("got %v", err)
			}
			if now.Fits(files, adds) {
				t.Error("they fit")
			}
			tx := now.Begin("WRITE")
			if err := tx.SetSchema(delta.Unnamed(files)); err != nil {
				t.Fatal(err)
			}
			wc := tx.WriteContext()
			again, err := now.Rewrite(t.Context(), files, adds, wc)
			if err != nil || !now.Fits(wc.Schema, again) {
				t.Fatalf("fits %t, error %v", now.Fits(wc.Schema, again), err)
			}
			tx.Add(again...)
			wantRows(t, commit(t, tx), `{"id":1,"k":null,"new":null}`, `{"id":2,"k":4,"new":{"a":3}}`)
		})
	}
	t.Run("columns_keep_names_that_they_have", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: ddl(t, "id INT"), Properties: mapped})
		files, adds := writtenFor(t, store, s, columns, row)
		tx := s.Begin("WRITE")
		if err := tx.SetSchema(delta.Named(ddl(t, "later INT, K INT, new STRUCT<b: INT, a: INT>, id INT"), files)); err != nil {
			t.Fatal(err)
		}
		appendRows(t, store, tx, record(t, ddl(t, "later INT, id INT"), `{"later":5,"id":1}`))
		tx.Add(adds...)
		wantRows(t, commit(t, tx), `{"K":null,"id":1,"later":5,"new":null}`, `{"K":4,"id":2,"later":null,"new":{"a":3,"b":null}}`)
	})
}

func TestAnExclusiveNewTableIsNotAddedToAnother(t *testing.T) {
	store := new(objstore.Mem)
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: ddl(t, "id INT"), Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	appendRows(t, store, tx, record(t, ddl(t, "id INT"), `{"id":2}`))
	newTable(t, store, delta.TableOptions{Schema: ddl(t, "id INT")}, `{"id":1}`)
	var conflict *delta.ConflictError
	if _, err := tx.Commit(t.Context(), nil); !errors.As(err, &conflict) {
		t.Errorf("got %v", err)
	}
	wantRows(t, load(t, store), `{"id":1}`)
}
