package delta_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// A lossy store loses answers of puts into the log: what it does with the next ones is said by fates.
type lossy struct {
	objstore.Store
	mu    sync.Mutex
	fates []fate
	puts  int
}

type fate int

const (
	stored  fate = iota // and the answer comes
	lost                // stored, but the answer is lost
	dropped             // not stored, and no answer
	resent              // stored, sent again by something on the way, and refused then
)

var errLost = errors.New("connection reset")

func (l *lossy) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (objstore.Object, error) {
	if !strings.HasPrefix(key, "_delta_log/0") {
		return l.Store.Put(ctx, key, body, cond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.puts++
	f := stored
	if len(l.fates) > 0 {
		f, l.fates = l.fates[0], l.fates[1:]
	}
	switch f {
	case lost:
		if _, err := l.Store.Put(ctx, key, body, cond); err != nil {
			return objstore.Object{}, err
		}
		return objstore.Object{}, errLost
	case dropped:
		return objstore.Object{}, errLost
	case resent:
		if _, err := l.Store.Put(ctx, key, body, cond); err != nil {
			return objstore.Object{}, err
		}
		return objstore.Object{}, objstore.ErrPrecondition
	}
	return l.Store.Put(ctx, key, body, cond)
}

// A beaten committer is too late the first few times.
type beaten struct {
	delta.LogCommitter
	times, tries int
	by           func()
}

func (b *beaten) Commit(ctx context.Context, e delta.Entry) (delta.Outcome, error) {
	if b.tries++; b.tries <= b.times {
		b.by()
	}
	return b.LogCommitter.Commit(ctx, e)
}

// begin starts an append of one row with an id.
func begin(t *testing.T, store objstore.Store, id int) *delta.Transaction {
	t.Helper()
	tx := load(t, store).Begin("WRITE")
	appendRows(t, store, tx, record(t, tx.Schema(), fmt.Sprintf(`{"id":%d}`, id)))
	return tx
}

func ids(ns ...int) []string {
	var out []string
	for _, n := range ns {
		out = append(out, fmt.Sprintf(`{"id":%d}`, n))
	}
	return out
}

func TestCommit(t *testing.T) {
	idOnly := ddl(t, "id BIGINT")
	table := func(t *testing.T) *lossy {
		store := &lossy{Store: new(objstore.Mem)}
		newTable(t, store, delta.TableOptions{Schema: idOnly}, ids(0)...)
		return store
	}
	t.Run("a_concurrent_append_is_rebased", func(t *testing.T) {
		store := table(t)
		a, b := begin(t, store, 1), begin(t, store, 2)
		commit(t, a)
		if s := commit(t, b); s.Version() != 2 {
			t.Errorf("got version %d, want 2", s.Version())
		}
		wantRows(t, load(t, store), ids(0, 1, 2)...)
	})
	for _, c := range []struct {
		name  string
		fates []fate
	}{
		{"a_lost_answer_is_found_by_its_nonce", []fate{lost}},
		{"a_put_that_did_not_arrive_is_put_again", []fate{dropped, dropped, stored}},
		{"a_second_put_that_loses_against_the_first_is_no_conflict", []fate{dropped, lost}},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := table(t)
			tx := begin(t, store, 1)
			store.fates = c.fates
			if s := commit(t, tx); s.Version() != 1 || tx.AlreadyCommitted() {
				t.Errorf("got version %d, already %v", s.Version(), tx.AlreadyCommitted())
			}
			wantRows(t, load(t, store), ids(0, 1)...)
		})
	}
	t.Run("files_of_a_commit_that_is_refused_because_it_came_before_are_in_the_table", func(t *testing.T) {
		store := table(t)
		tx, other := begin(t, store, 1), begin(t, store, 1)
		tx.SetNonce("n")
		other.SetNonce("n")
		store.fates = []fate{resent}
		if commit(t, tx); !tx.InTable() {
			t.Error("they are taken for files that nobody needs")
		}
		if commit(t, other); other.InTable() {
			t.Error("files of another try are taken for those of the table")
		}
		wantRows(t, load(t, store), ids(0, 1)...)
	})
	t.Run("a_lost_answer_of_version_0_is_found", func(t *testing.T) {
		store := &lossy{Store: new(objstore.Mem), fates: []fate{lost}}
		newTable(t, store, delta.TableOptions{Schema: idOnly}, ids(1)...)
		wantRows(t, load(t, store), ids(1)...)
	})
	t.Run("a_lost_answer_behind_other_commits_is_found", func(t *testing.T) {
		store := table(t)
		tx := begin(t, store, 1)
		other := begin(t, store, 2)
		store.fates = []fate{lost}
		commit(t, tx)
		commit(t, other)
		// The process died before it knew; the next one commits the same files with the same nonce.
		wantRows(t, load(t, store), ids(0, 1, 2)...)
	})
	t.Run("without_any_answer_the_outcome_is_unknown", func(t *testing.T) {
		store := table(t)
		tx := begin(t, store, 1)
		store.fates = []fate{dropped, dropped, dropped, dropped, dropped, dropped}
		if _, err := tx.Commit(t.Context(), nil); !errors.Is(err, delta.ErrOutcomeUnknown) || !errors.Is(err, errLost) {
			t.Errorf("got %v, want ErrOutcomeUnknown", err)
		}
	})
	t.Run("a_cancelled_commit_has_not_taken_place", func(t *testing.T) {
		store := table(t)
		tx := begin(t, store, 1)
		before := store.puts
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := tx.Commit(ctx, nil); !errors.Is(err, context.Canceled) || errors.Is(err, delta.ErrOutcomeUnknown) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if store.puts != before {
			t.Errorf("got %d puts, want none", store.puts-before)
		}
	})
	t.Run("a_txn_that_the_table_has_is_not_written_again", func(t *testing.T) {
		store := table(t)
		first := begin(t, store, 1)
		first.SetTxn("app", 4)
		second := begin(t, store, 1)
		second.SetTxn("app", 4)
		commit(t, first)
		if s := commit(t, second); s.Version() != 1 || !second.AlreadyCommitted() {
			t.Errorf("got version %d, already %v", s.Version(), second.AlreadyCommitted())
		}
		third := begin(t, store, 1)
		third.SetTxn("app", 3)
		if commit(t, third); !third.AlreadyCommitted() {
			t.Error("an older txn was committed after a newer one")
		}
		wantRows(t, load(t, store), ids(0, 1)...)
	})
	t.Run("the_same_files_are_not_added_twice", func(t *testing.T) {
		store := table(t)
		first := begin(t, store, 1)
		var adds []*delta.Add
		second := load(t, store).Begin("WRITE")
		for a, err := range commit(t, first).Files(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			adds = append(adds, a)
		}
		second.Add(adds[1])
		if commit(t, second); !second.AlreadyCommitted() {
			t.Error("the files were added again")
		}
	})
	t.Run("two_makers_of_one_table_make_one", func(t *testing.T) {
		store := new(objstore.Mem)
		make := func(ddlText, row string) *delta.Transaction {
			tx, err := delta.NewTable(store, delta.TableOptions{Schema: ddl(t, ddlText)})
			if err != nil {
				t.Fatal(err)
			}
			appendRows(t, store, tx, record(t, tx.Schema(), row))
			return tx
		}
		a, b := make("id BIGINT, a STRING", `{"id":1,"a":"x"}`), make("id BIGINT, b STRING", `{"id":2,"b":"y"}`)
		commit(t, a)
		if s := commit(t, b); s.Version() != 1 {
			t.Errorf("got version %d, want 1", s.Version())
		}
		wantRows(t, load(t, store), `{"a":"x","b":null,"id":1}`, `{"a":null,"b":"y","id":2}`)
	})
	t.Run("a_table_whose_first_commits_are_gone_is_not_made_again", func(t *testing.T) {
		store := table(t)
		commit(t, begin(t, store, 1))
		if err := load(t, store).WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		store.Delete(t.Context(), "_delta_log/00000000000000000000.json", objstore.Cond{})
		if s := newTable(t, store, delta.TableOptions{Schema: idOnly}, ids(2)...); s.Version() != 2 {
			t.Errorf("got version %d, want 2", s.Version())
		}
		wantRows(t, load(t, store), ids(0, 1, 2)...)
	})
	t.Run("a_concurrent_evolution_is_merged", func(t *testing.T) {
		store := table(t)
		grow := func(text, row string) *delta.Transaction {
			tx := load(t, store).Begin("WRITE")
			if err := tx.SetSchema(ddl(t, text)); err != nil {
				t.Fatal(err)
			}
			appendRows(t, store, tx, record(t, tx.Schema(), row))
			return tx
		}
		a, b := grow("s STRUCT<x: BIGINT>", `{"id":1,"s":{"x":1}}`), grow("s STRUCT<y: STRING>, z DOUBLE", `{"id":2,"s":{"y":"b"},"z":2}`)
		commit(t, a)
		commit(t, b)
		wantRows(t, load(t, store), `{"id":0,"s":null,"z":null}`, `{"id":1,"s":{"x":1,"y":null},"z":null}`, `{"id":2,"s":{"x":null,"y":"b"},"z":2}`)
	})
	t.Run("types_grow_where_the_table_allows_it", func(t *testing.T) {
		for _, allowed := range []bool{true, false} {
			store := new(objstore.Mem)
			o := delta.TableOptions{Schema: ddl(t, "a INT, s STRUCT<f: FLOAT>, l ARRAY<SMALLINT>, m MAP<STRING, DECIMAL(5,2)>, t STRING")}
			if allowed {
				o.Properties = map[string]string{"delta.enableTypeWidening": "true"}
			}
			newTable(t, store, o, `{"a":1,"s":{"f":0.5},"l":[2],"m":[{"key":"k","value":"1.25"}],"t":"x"}`)
			more := ddl(t, "a BIGINT, s STRUCT<f: DOUBLE>, l ARRAY<INT>, m MAP<STRING, DECIMAL(10,4)>, t STRING")
			tx := load(t, store).Begin("WRITE")
			if err := tx.SetSchema(more); err != nil {
				t.Fatal(err)
			}
			rec := record(t, more, `{"a":3000000000,"s":{"f":0.1},"l":[70000],"m":[{"key":"k","value":"2.0625"}],"t":"y"}`)
			if !allowed {
				if _, err := written(t, tx.WriteContext(), rec); err == nil {
					t.Error("a number that does not fit was written")
				}
				continue
			}
			appendRows(t, store, tx, rec)
			commit(t, tx)
			s := load(t, store)
			wantRows(t, s, `{"a":1,"l":[2],"m":[{"key":"k","value":"1.25"}],"s":{"f":0.5},"t":"x"}`,
				`{"a":3000000000,"l":[70000],"m":[{"key":"k","value":"2.0625"}],"s":{"f":0.1},"t":"y"}`)
			for _, want := range []string{
				`{"name":"a","type":"long","nullable":true,"metadata":{"delta.typeChanges":[{"fromType":"integer","toType":"long"}]}}`,
				`"metadata":{"delta.typeChanges":[{"fromType":"float","toType":"double"}]}`,
				`"metadata":{"delta.typeChanges":[{"fromType":"short","toType":"integer","fieldPath":"element"}]}`,
				`"metadata":{"delta.typeChanges":[{"fromType":"decimal(5,2)","toType":"decimal(10,4)","fieldPath":"value"}]}`,
			} {
				if !strings.Contains(s.Metadata().SchemaString, want) {
					t.Errorf("schema %s has no %s", s.Metadata().SchemaString, want)
				}
			}
		}
	})
	t.Run("a_concurrent_evolution_to_another_type_is_a_conflict", func(t *testing.T) {
		store := table(t)
		grow := func(text, row string) *delta.Transaction {
			tx := load(t, store).Begin("WRITE")
			if err := tx.SetSchema(ddl(t, text)); err != nil {
				t.Fatal(err)
			}
			appendRows(t, store, tx, record(t, tx.Schema(), row))
			return tx
		}
		a, b := grow("x BIGINT", `{"x":1}`), grow("x STRING", `{"x":"b"}`)
		commit(t, a)
		var conflict *delta.ConflictError
		if _, err := b.Commit(t.Context(), nil); !errors.As(err, &conflict) || conflict.Kind != delta.MetadataChanged {
			t.Errorf("got %v, want MetadataChanged", err)
		}
		wantRows(t, load(t, store), `{"id":0,"x":null}`, `{"id":null,"x":1}`)
	})
	t.Run("staged_files_are_committed_by_another_process", func(t *testing.T) {
		for _, mapped := range []bool{false, true} {
			store := new(objstore.Mem)
			first, more := ddl(t, "id BIGINT"), ddl(t, "id BIGINT, new STRUCT<x: BIGINT>, other STRING")
			if mapped {
				first, more = ddl(t, "id BIGINT, `a b` STRING"), ddl(t, "id BIGINT, `new one` STRUCT<`x y`: BIGINT>")
			}
			newTable(t, store, delta.TableOptions{Schema: first}, `{"id":0}`)
			tx := load(t, store).Begin("WRITE")
			if err := tx.SetSchema(more); err != nil {
				t.Fatal(err)
			}
			row := `{"id":1,"new":{"x":5}}`
			if mapped {
				row = `{"id":1,"new one":{"x y":5}}`
			}
			staged := stage(t, store, tx, record(t, tx.Schema(), row))
			// Meanwhile somebody adds columns of their own, which take the next ids.
			other := load(t, store).Begin("WRITE")
			if err := other.SetSchema(ddl(t, "`theirs` BIGINT")); err != nil {
				t.Fatal(err)
			}
			commit(t, other)
			for range 2 {
				again := load(t, store).Begin("WRITE")
				if err := again.SetSchema(staged.Schema); err != nil {
					t.Fatal(err)
				}
				again.Add(staged.Adds...)
				again.SetTxn("app", 1)
				again.SetNonce("nonce")
				commit(t, again)
			}
			if mapped {
				wantRows(t, load(t, store), `{"a b":null,"id":0,"new one":null,"theirs":null}`, `{"a b":null,"id":1,"new one":{"x y":5},"theirs":null}`)
			} else {
				wantRows(t, load(t, store), `{"id":0,"new":null,"other":null,"theirs":null}`, `{"id":1,"new":{"x":5},"other":null,"theirs":null}`)
			}
		}
	})
	t.Run("staged_files_of_a_new_table_are_committed_by_another_process", func(t *testing.T) {
		store := new(objstore.Mem)
		tx, err := delta.NewTable(store, delta.TableOptions{Schema: ddl(t, "`a b` STRUCT<`c d`: BIGINT>")})
		if err != nil {
			t.Fatal(err)
		}
		staged := stage(t, store, tx, record(t, tx.Schema(), `{"a b":{"c d":1}}`))
		if tx, err = delta.NewTable(store, delta.TableOptions{Schema: staged.Schema}); err != nil {
			t.Fatal(err)
		}
		tx.Add(staged.Adds...)
		commit(t, tx)
		wantRows(t, load(t, store), `{"a b":{"c d":1}}`)
	})
	t.Run("a_busy_table_is_caught_up_with", func(t *testing.T) {
		store := table(t)
		tx := begin(t, store, 1)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			other := func() {
				tx := load(t, store).Begin("WRITE")
				tx.SetTxn(rand.Text(), 1)
				commit(t, tx)
			}
			go func() { // a version each 20 milliseconds
				for {
					select {
					case <-time.After(20 * time.Millisecond):
						other()
					case <-ctx.Done():
						return
					}
				}
			}()
			c := &beaten{LogCommitter: delta.LogCommitter{Store: store}, times: 5, by: other}
			if _, err := tx.Commit(t.Context(), c); err != nil {
				t.Error(err)
			}
			if c.tries > 7 {
				t.Errorf("it took %d tries", c.tries)
			}
		})
	})
	t.Run("four_writers_lose_and_double_nothing", func(t *testing.T) {
		store := table(t)
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 10 {
					tx := begin(t, store, 100*w+i+1)
					tx.SetTxn(fmt.Sprint("app", w), int64(i))
					if _, err := tx.Commit(t.Context(), nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if s := load(t, store); s.Version() != 40 || len(rows(t, s)) != 41 {
			t.Errorf("got version %d with %d rows", s.Version(), len(rows(t, s)))
		}
	})
}

// staged is what of a transaction goes from one process to the next.
type staged struct {
	Schema *schema.Struct
	Adds   []*delta.Add
}

// stage writes a record's file and sends it through JSON.
func stage(t *testing.T, store objstore.Store, tx *delta.Transaction, rec arrow.RecordBatch) staged {
	t.Helper()
	var wc delta.WriteContext
	throughJSON(t, tx.WriteContext(), &wc)
	w, err := delta.NewDataWriter(t.Context(), store, wc, delta.DataWriterOptions{
		Name: func(part int) string { return fmt.Sprintf("staged-%d.parquet", part) }, Tags: map[string]string{"silt.batch": "1"}})
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
	var out staged
	throughJSON(t, staged{wc.Schema, adds}, &out)
	return out
}

func throughJSON(t *testing.T, from, to any) {
	t.Helper()
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}
