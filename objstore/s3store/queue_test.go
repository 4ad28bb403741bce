package s3store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/siltlake/silt/objstore/s3store"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

func openQueue(t *testing.T, url string) *s3store.Queue {
	t.Helper()
	q, err := s3store.OpenQueue(t.Context(), s3store.Options{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		Backoff: time.Nanosecond, Tries: 4}, url)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func bodies(messages []s3store.Message) (all []string) {
	for _, m := range messages {
		all = append(all, m.Body)
	}
	return all
}

func receipts(messages []s3store.Message) (all []string) {
	for _, m := range messages {
		all = append(all, m.Receipt)
	}
	return all
}

func TestQueue(t *testing.T) {
	server := s3test.New("landing")
	defer server.Close()
	at := server.NewQueue("events")
	q := openQueue(t, at.URL())
	ctx := t.Context()
	receive := func(t *testing.T) []s3store.Message {
		t.Helper()
		m, err := q.Receive(ctx, 0, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	t.Run("what a bucket tells is received, and comes again until it is deleted", func(t *testing.T) {
		server.Put("landing", "in/before.json", "{}")
		server.Notify("landing", "in/", at)
		server.Put("landing", "in/a b.json", "{}")
		server.Put("landing", "elsewhere/c.json", "{}")
		first := receive(t)
		if len(first) != 2 || first[0].Received != 1 {
			t.Fatalf("got %+v", first)
		}
		for i, want := range [][]s3store.Event{nil, {{Bucket: "landing", Keys: []string{"in/a b.json", "in/a+b.json"}, Created: true}}} {
			if got, err := s3store.ParseEvents(first[i].Body); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, %v", got, err)
			}
		}
		if hidden := receive(t); len(hidden) > 0 {
			t.Errorf("got %v while they are hidden", hidden)
		}
		at.Return()
		again := receive(t)
		if !slices.Equal(bodies(again), bodies(first)) || again[0].Received != 2 {
			t.Errorf("got %+v", again)
		}
		if err := q.Delete(ctx, receipts(again)); err != nil {
			t.Fatal(err)
		}
		if n, _ := at.Len(); n > 0 {
			t.Errorf("%d are left", n)
		}
	})
	t.Run("a queue that was made again does not know the deliveries before, and that is no error", func(t *testing.T) {
		made := server.NewQueue("again")
		q := openQueue(t, made.URL())
		made.Send("before")
		before, err := q.Receive(ctx, 0, time.Hour)
		if err != nil || len(before) != 1 {
			t.Fatalf("got %v, %v", before, err)
		}
		made = server.NewQueue("again")
		made.Send("after")
		after, err := q.Receive(ctx, 0, time.Hour)
		if err != nil || len(after) != 1 {
			t.Fatalf("got %v, %v", after, err)
		}
		if err := q.Delete(ctx, slices.Concat(receipts(before), receipts(after))); err != nil {
			t.Error(err)
		}
		if n, _ := made.Len(); n > 0 {
			t.Errorf("%d are left", n)
		}
	})
	t.Run("who waits is woken", func(t *testing.T) {
		got := make(chan []s3store.Message)
		go func() {
			m, err := q.Receive(ctx, 20*time.Second, time.Hour)
			if err != nil {
				t.Error(err)
			}
			got <- m
		}()
		at.Send("hello")
		m := <-got
		if !slices.Equal(bodies(m), []string{"hello"}) {
			t.Errorf("got %+v", m)
		}
		if err := q.Hide(ctx, receipts(m), 0); err != nil {
			t.Fatal(err)
		}
		if m = receive(t); len(m) != 1 {
			t.Error("it is still hidden")
		}
		if err := q.Delete(ctx, receipts(m)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("more than one request takes", func(t *testing.T) {
		for i := range 25 {
			at.Send(fmt.Sprint(i))
		}
		var all []s3store.Message
		for len(all) < 25 {
			all = append(all, receive(t)...)
		}
		if err := q.Hide(ctx, receipts(all), time.Minute); err != nil {
			t.Fatal(err)
		}
		if info, err := q.Info(ctx); err != nil || info.InFlight != 25 || info.Waiting != 0 || info.Retention != 4*24*time.Hour {
			t.Errorf("got %+v, %v", info, err)
		}
		if err := q.Delete(ctx, receipts(all)); err != nil {
			t.Fatal(err)
		}
		if n, _ := at.Len(); n > 0 {
			t.Errorf("%d are left", n)
		}
	})
	t.Run("a request that fails is made again", func(t *testing.T) {
		for _, fault := range s3test.Faults() {
			switch fault {
			case s3test.Denied, s3test.Late, s3test.Expired, s3test.Conflict: // no failure, or one that stays
				continue
			}
			at.Send(fault.String())
			failed := map[string]bool{}
			server.Inject(func(c s3test.Call) s3test.Fault {
				if failed[c.Op] {
					return s3test.None
				}
				failed[c.Op] = true
				return fault
			})
			var m []s3store.Message
			for len(m) == 0 {
				m = receive(t)
				at.Return() // an answer that was lost has hidden it
			}
			if err := q.Delete(ctx, receipts(receive(t))); err != nil {
				t.Errorf("%s: %v", fault, err)
			}
			if n, _ := at.Len(); n > 0 {
				t.Errorf("%s: %d are left", fault, n)
			}
		}
		server.Inject(nil)
	})
	t.Run("what stays wrong is told", func(t *testing.T) {
		server.Inject(func(s3test.Call) s3test.Fault { return s3test.Denied })
		if _, err := q.Info(ctx); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v", err)
		}
		server.Inject(nil)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := q.Info(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		at.Remove()
		_, err := q.Receive(ctx, 0, time.Minute)
		if e := (*s3store.Error)(nil); !errors.Is(err, s3store.ErrNoQueue) || !errors.As(err, &e) || e.Hint == "" {
			t.Errorf("got %v", err)
		}
	})
}

func TestQueueURLs(t *testing.T) {
	for _, url := range []string{"", "events", "arn:aws:sqs:us-east-1:1:events", "https://sqs.us-east-1.amazonaws.com", "https://sqs.us-east-1.amazonaws.com/", "s3://bucket/x"} {
		if _, err := s3store.OpenQueue(t.Context(), s3store.Options{}, url); err == nil {
			t.Errorf("%q is taken for a queue", url)
		}
	}
	for host, want := range map[string]string{
		"sqs.eu-west-1.amazonaws.com": "eu-west-1", "sqs.cn-north-1.amazonaws.com.cn": "cn-north-1", "eu-west-1.queue.amazonaws.com": "eu-west-1",
		"vpce-1.sqs.us-west-2.vpce.amazonaws.com": "us-west-2", "sqs-fips.us-east-1.amazonaws.com": "us-east-1", "sqs.amazonaws.com": "", "queue.amazonaws.com": "", "127.0.0.1": "", "localhost": "",
	} {
		if got := s3store.QueueRegion(host); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}
