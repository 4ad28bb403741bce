package delta_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

var stormSeed = flag.Uint64("storm.seed", 0, "seed of the faults in TestStorm and TestWritersTogether; 0 is another one each time")

// A stormy store answers to some puts into the log as a network and a busy store do: the answer is lost,
// the put is refused and may be repeated (409), it does not arrive, or it arrives late, when its writer
// has long been told that it failed. Some reads fail.
type stormy struct {
	objstore.Store
	mu       sync.Mutex
	random   *rand.Rand
	late     []latePut
	calm     bool
	happened map[string]int // how often each kind of fault came
}

type latePut struct {
	key  string
	body []byte
}

func newStormy(t *testing.T, store objstore.Store) *stormy {
	seed := *stormSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-storm.seed=%d", seed)
	return &stormy{Store: store, random: rand.New(rand.NewPCG(seed, 0)), happened: map[string]int{}}
}

// draw returns the fault of one call, or "".
func (s *stormy) draw(faults ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.random.IntN(60)
	if s.calm || n >= len(faults) {
		return ""
	}
	s.happened[faults[n]]++
	return faults[n]
}

var (
	errReset   = errors.New("connection reset")
	errRepeat  = errors.New("409 ConditionalRequestConflict")
	putFaults  = strings.Fields("lost lost lost lost dropped dropped 409 409 late late late late")
	readFaults = strings.Fields("unread")
	errUnread  = errors.New("503 SlowDown")
)

func (s *stormy) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (objstore.Object, error) {
	if !strings.HasPrefix(key, "_delta_log/0") || !cond.IfAbsent {
		return s.Store.Put(ctx, key, body, cond)
	}
	if s.draw(slices.Repeat([]string{"land"}, 30)...) != "" {
		s.land(1)
	}
	switch s.draw(putFaults...) {
	case "lost":
		if _, err := s.Store.Put(ctx, key, body, cond); err != nil {
			return objstore.Object{}, err
		}
		return objstore.Object{}, errReset
	case "dropped":
		return objstore.Object{}, errReset
	case "409":
		return objstore.Object{}, errRepeat
	case "late":
		b, err := io.ReadAll(body)
		if err != nil {
			return objstore.Object{}, err
		}
		s.mu.Lock()
		s.late = append(s.late, latePut{key, b})
		s.mu.Unlock()
		return objstore.Object{}, errReset
	}
	return s.Store.Put(ctx, key, body, cond)
}

// land lets up to n late puts arrive.
func (s *stormy) land(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; n > 0 && len(s.late) > 0; n-- {
		i := s.random.IntN(len(s.late))
		p := s.late[i]
		s.late = slices.Delete(s.late, i, i+1)
		_, err := s.Store.Put(context.Background(), p.key, bytes.NewReader(p.body), objstore.Cond{IfAbsent: true})
		if err == nil {
			s.happened["landed"]++
		}
	}
}

func (s *stormy) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	if strings.HasPrefix(key, "_delta_log/") && s.draw(readFaults...) != "" {
		return nil, objstore.Object{}, errUnread
	}
	return s.Store.Open(ctx, key, r)
}

// stop ends the storm; what is late arrives.
func (s *stormy) stop() {
	s.land(len(s.late))
	s.mu.Lock()
	s.calm = true
	s.mu.Unlock()
}

// writer appends rows with ids of its own, each in one commit, until it knows that it is in the table.
type writer struct {
	t     *testing.T
	store objstore.Store
	app   string
	nth   int64
	last  *delta.Snapshot
}

// append commits one row. Grow adds a column of that name in the same commit.
func (w *writer) append(ctx context.Context, id int, grow string) error {
	s := ddl(w.t, "id BIGINT")
	row := fmt.Sprintf(`{"id":%d}`, id)
	if grow != "" {
		s = ddl(w.t, "id BIGINT, "+grow+" STRUCT<x: BIGINT>")
		row = fmt.Sprintf(`{"id":%d,%q:{"x":%d}}`, id, grow, id)
	}
	rec := record(w.t, s, row)
	var adds []*delta.Add
	for try := 0; ; try++ {
		if try == 200 {
			return fmt.Errorf("row %d: it is not in the table after %d tries", id, try)
		}
		tx, err := w.begin(ctx)
		if err != nil {
			continue // a read failed
		}
		if err := tx.SetSchema(s); err != nil {
			return err
		}
		if adds == nil {
			if adds, err = w.files(ctx, tx.WriteContext(), rec); err != nil {
				return err
			}
		}
		tx.Add(adds...)
		tx.SetTxn(w.app, w.nth)
		tx.SetNonce(fmt.Sprintf("%s-%d", w.app, w.nth))
		next, err := tx.Commit(ctx, nil)
		if err == nil {
			w.last, w.nth = next, w.nth+1
			return nil
		}
		w.last = nil // as another process that takes over
	}
}

func (w *writer) files(ctx context.Context, wc delta.WriteContext, rec arrow.RecordBatch) ([]*delta.Add, error) {
	d, err := delta.NewDataWriter(ctx, w.store, wc, delta.DataWriterOptions{})
	if err != nil {
		return nil, err
	}
	defer d.Abort(ctx)
	if err := d.Write(ctx, rec); err != nil {
		return nil, err
	}
	return d.Close(ctx)
}

// delete deletes a row. Whether a try has done it, of which the answer is lost, the next one sees.
func (w *writer) delete(ctx context.Context, id int) error {
	where := delta.Compare{Column: []string{"id"}, Op: delta.Equal, Value: int64(id)}
	for try := 0; ; try++ {
		s, err := delta.Load(ctx, w.store, delta.LoadOptions{})
		if err == nil {
			s, _, err = s.DeleteRows(ctx, where, delta.ChangeOptions{})
		}
		if err == nil {
			w.last = s
			return nil
		}
		if try == 200 {
			return fmt.Errorf("row %d: it is not deleted after %d tries: %w", id, try, err)
		}
	}
}

func (w *writer) begin(ctx context.Context) (*delta.Transaction, error) {
	var err error
	if w.last == nil {
		w.last, err = delta.Load(ctx, w.store, delta.LoadOptions{})
	} else if w.nth%2 == 0 { // else it writes to the version it knows, which is old by now
		w.last, err = w.last.Update(ctx)
	}
	if err != nil {
		w.last = nil
		return nil, err
	}
	return w.last.Begin("WRITE"), nil
}

// TestStorm lets four writers make 1,000 commits through a store that loses, refuses and delays puts,
// while the table grows, rows are deleted, files packed and checkpoints written.
func TestStorm(t *testing.T) {
	const writers, each = 4, 250
	inner := new(objstore.Mem)
	newTable(t, inner, delta.TableOptions{Schema: ddl(t, "id BIGINT"), Properties: map[string]string{"delta.enableDeletionVectors": "true"}}, ids(0)...)
	store := newStormy(t, inner)
	packed := 0
	deleted := func(id int) bool { return id%25 == 3 }
	var group sync.WaitGroup
	for n := range writers {
		w := &writer{t: t, store: store, app: fmt.Sprint("writer", n)}
		group.Go(func() {
			for i := range each {
				grow := ""
				if i%50 == 25 {
					grow = fmt.Sprintf("c%d", (i/50+n)%5) // two may add the same
				}
				if err := w.append(t.Context(), 1+n*each+i, grow); err != nil {
					t.Error(err)
					return
				}
				if id := 1 + n*each + i - 5; i >= 5 && deleted(id) {
					if err := w.delete(t.Context(), id); err != nil {
						t.Error(err)
						return
					}
				}
				switch {
				case i%20 == 10:
					_ = w.last.WriteCheckpoint(t.Context()) // a help that may fail
				case n == 0 && i%40 == 20:
					if s, m, err := w.last.Optimize(t.Context(), delta.OptimizeOptions{}); err == nil && m.NumRemovedFiles > 0 {
						packed, w.last = packed+1, s
					}
				}
			}
		})
	}
	group.Wait()
	store.stop()
	t.Logf("faults: %v, packed %d times", store.happened, packed)
	s := load(t, inner)
	var want []int
	for id := range writers*each + 1 {
		if last := (id-1)%each >= each-5; id == 0 || last || !deleted(id) {
			want = append(want, id)
		}
	}
	if got := rowIDs(t, s); !slices.Equal(got, want) {
		t.Errorf("got %d rows, want each of %d once", len(got), len(want))
	}
	wantOneEntryEach(t, inner, s.Version(), writers, each)
	if s, _, err := s.Optimize(t.Context(), delta.OptimizeOptions{}); err != nil || !slices.Equal(rowIDs(t, s), want) {
		t.Errorf("packed in the calm, it has other rows: %v", err)
	}
}

// wantOneEntryEach checks each version of the log: it is whole, its nonce is nobody else's, and each
// commit of each writer is one version.
func wantOneEntryEach(t *testing.T, store objstore.Store, newest int64, writers, each int) {
	t.Helper()
	nonces, txns := map[string]int64{}, map[string]bool{}
	for v := range newest + 1 {
		content, _, err := objstore.ReadAll(t.Context(), store, fmt.Sprintf("_delta_log/%020d.json", v))
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(content))
		for d.More() {
			var a struct {
				CommitInfo *struct{ TxnID string }
				Txn        *struct {
					AppID   string
					Version int64
				}
			}
			if err := d.Decode(&a); err != nil {
				t.Fatalf("version %d is torn: %v", v, err)
			}
			switch {
			case a.CommitInfo != nil && a.CommitInfo.TxnID != "":
				if before, ok := nonces[a.CommitInfo.TxnID]; ok {
					t.Errorf("versions %d and %d are one change", before, v)
				}
				nonces[a.CommitInfo.TxnID] = v
			case a.Txn != nil:
				key := fmt.Sprintf("%s-%d", a.Txn.AppID, a.Txn.Version)
				if txns[key] {
					t.Errorf("version %d: %s was committed before", v, key)
				}
				txns[key] = true
			}
		}
	}
	if len(txns) != writers*each {
		t.Errorf("got %d commits of the writers, want %d", len(txns), writers*each)
	}
}
