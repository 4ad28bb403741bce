package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/objstore/objstoretest"
)

// slow answers after a while, and counts how many requests it has at once.
type slow struct {
	objstore.Store
	now, most, opens atomic.Int64
}

func (s *slow) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	s.opens.Add(1)
	for n := s.now.Add(1); ; {
		most := s.most.Load()
		if n <= most || s.most.CompareAndSwap(most, n) {
			break
		}
	}
	defer s.now.Add(-1)
	time.Sleep(time.Second)
	return s.Store.Open(ctx, key, r)
}

func TestAhead(t *testing.T) {
	t.Run("keeps_the_contract", func(t *testing.T) {
		objstoretest.Run(t, func(t *testing.T) objstore.Store {
			a := objstore.NewAhead(t.Context(), new(objstore.Mem), []objstore.Object{{Key: "k", ETag: "1", Size: 1}})
			t.Cleanup(a.Close)
			return a
		})
	})
	list := func(s objstore.Store, n int) (all []objstore.Object) {
		for i := range n {
			o, err := objstore.PutBytes(t.Context(), s, fmt.Sprintf("%03d", i), []byte(fmt.Sprint(i)), objstore.Cond{})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, o)
		}
		return all
	}
	t.Run("many_objects_take_the_time_of_few", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &slow{Store: new(objstore.Mem)}
			all := list(s.Store, 200)
			a := objstore.NewAhead(context.Background(), s, all)
			defer a.Close()
			began := time.Now()
			var wg sync.WaitGroup
			for _, half := range [][]objstore.Object{all[:100], all[100:]} { // two workers
				wg.Go(func() {
					for _, o := range half {
						r, got, err := a.Open(context.Background(), o.Key, objstore.Range{IfMatch: o.ETag})
						if err != nil {
							t.Error(err)
							continue
						}
						b, err := io.ReadAll(r)
						if err != nil || got != o || strings.TrimLeft(o.Key, "0") != strings.TrimLeft(string(b), "0") {
							t.Errorf("%s: got %s, %+v, %v", o.Key, b, got, err)
						}
					}
				})
			}
			wg.Wait()
			if took := time.Since(began); took > 8*time.Second || s.opens.Load() != 200 {
				t.Errorf("%d opens took %s", s.opens.Load(), took)
			}
		})
	})
	t.Run("another_version_is_refused", func(t *testing.T) {
		s := new(objstore.Mem)
		all := list(s, 3)
		if _, err := objstore.PutBytes(t.Context(), s, "001", []byte("new"), objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
		a := objstore.NewAhead(t.Context(), s, all)
		defer a.Close()
		for i, o := range all {
			_, _, err := a.Open(t.Context(), o.Key, objstore.Range{IfMatch: o.ETag})
			if i == 1 && !errors.Is(err, objstore.ErrPrecondition) || i != 1 && err != nil {
				t.Errorf("%s: got %v", o.Key, err)
			}
		}
	})
}
