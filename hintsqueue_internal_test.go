package silt

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/siltlake/silt/objstore/s3store"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// heldQueue is a queue by a clock that stands still while anything works, and one who follows up its messages.
type heldQueue struct {
	t      *testing.T
	server *s3test.Server
	at     *s3test.Queue
	other  *s3store.Queue // as another loader sees it
	hints  *queueHints
}

func withHeldQueue(t *testing.T, test func(t *testing.T, h *heldQueue)) {
	server := s3test.New("landing")
	t.Cleanup(server.Close)
	synctest.Test(t, func(t *testing.T) {
		h := &heldQueue{t: t, server: server, at: server.NewQueue("arrivals")}
		open := func() *s3store.Queue {
			q, err := s3store.OpenQueue(t.Context(), s3store.Options{Region: "us-east-1", Tries: 2, Transport: server.Transport(),
				Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}, h.at.URL())
			if err != nil {
				t.Fatal(err)
			}
			return q
		}
		h.other = open()
		h.hints = newQueueHints(t.Context(), open(), "landing", "orders", func(string) bool { return true })
		defer h.hints.stop()
		test(t, h)
	})
}

// arrive puts an event of each of n files into the queue, and has all of them heard.
func (h *heldQueue) arrive(n int) (keys []string) {
	h.t.Helper()
	for i := range n {
		h.at.Send(s3test.EventOf("ObjectCreated:Put", "landing", fmt.Sprintf("orders/%d.json", i), 8, ""))
	}
	heard, err := h.hints.hear(h.t.Context(), 0)
	if err != nil || len(heard.keys) != n {
		h.t.Fatalf("heard %v, %v", heard, err)
	}
	return heard.keys
}

// seen is how many messages another loader would get.
func (h *heldQueue) seen() int {
	all, inFlight := h.at.Len()
	return all - inFlight
}

func TestAMessageStaysHiddenWhileItsFileIsLoaded(t *testing.T) {
	withHeldQueue(t, func(t *testing.T, h *heldQueue) {
		keys := h.arrive(25) // more than one request renews
		for range 60 {
			time.Sleep(30 * time.Second)
			if n := h.seen(); n > 0 {
				t.Fatalf("others see %d messages", n)
			}
		}
		h.hints.settle(keys)
		if err := h.hints.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, _ := h.at.Len(); n > 0 {
			t.Errorf("%d messages of loaded files are left", n)
		}
	})
}

func TestAMessageComesAgainSoonAfterItsLoaderDied(t *testing.T) {
	withHeldQueue(t, func(t *testing.T, h *heldQueue) {
		h.arrive(1)
		time.Sleep(10*time.Minute + time.Second)
		h.hints.stop() // as a kill does: nothing is given back
		died := time.Now()
		for h.seen() == 0 {
			time.Sleep(time.Second)
		}
		if took := time.Since(died); took < hideFor-hideEvery || took > hideFor {
			t.Errorf("it came after %v", took)
		}
		if m, err := h.other.Receive(t.Context(), 0, time.Minute); err != nil || len(m) != 1 || m[0].Received != 2 {
			t.Errorf("got %+v, %v", m, err)
		}
	})
}

func TestAMessageIsGivenBackAtTheEnd(t *testing.T) {
	withHeldQueue(t, func(t *testing.T, h *heldQueue) {
		keys := h.arrive(3)
		h.hints.settle(keys[:1])
		if err := h.hints.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all, inFlight := h.at.Len(); all != 2 || inFlight != 0 {
			t.Errorf("%d messages are left, %d of them hidden", all, inFlight)
		}
	})
}

// TestARenewalThatFailsIsMadeUpForByTheNext refuses renewals for longer and longer.
func TestARenewalThatFailsIsMadeUpForByTheNext(t *testing.T) {
	withHeldQueue(t, func(t *testing.T, h *heldQueue) {
		h.arrive(1)
		refuse := func(d time.Duration) (seen bool) {
			h.server.Inject(func(c s3test.Call) s3test.Fault {
				if c.Op == "ChangeMessageVisibilityBatch" {
					return s3test.Denied
				}
				return s3test.None
			})
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
				seen = seen || h.seen() > 0
			}
			h.server.Inject(nil)
			return seen
		}
		if refuse(hideEvery + time.Second) {
			t.Error("it was seen after one renewal that failed")
		}
		time.Sleep(2 * hideFor)
		if h.seen() > 0 {
			t.Error("it was seen after that")
		}
		if !refuse(hideFor + hideEvery) {
			t.Error("it is hidden for good, though nobody renews it")
		}
	})
}

// TestASettledMessageIsRenewedNoMore counts requests to the queue.
func TestASettledMessageIsRenewedNoMore(t *testing.T) {
	withHeldQueue(t, func(t *testing.T, h *heldQueue) {
		h.hints.settle(h.arrive(1))
		time.Sleep(10 * hideEvery)
		if _, ops := h.server.Calls(); ops["ChangeMessageVisibilityBatch"] > 0 {
			t.Errorf("%d renewals", ops["ChangeMessageVisibilityBatch"])
		}
		if _, err := h.hints.hear(context.WithoutCancel(t.Context()), 0); err != nil {
			t.Fatal(err)
		}
		if n, _ := h.at.Len(); n > 0 {
			t.Error("it is left")
		}
	})
}
