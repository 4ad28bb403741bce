package silt_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/objstore/s3store"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// TestDoctorLooksIntoTheQueue holds what doctor says of a queue, and that it leaves the messages as they were.
func TestDoctorLooksIntoTheQueue(t *testing.T) {
	event := func(bucket, key string) string { return s3test.EventOf("ObjectCreated:Put", bucket, key, 8, `"x"`) }
	refuse := func(op string) func(s3test.Call) s3test.Fault {
		return func(c s3test.Call) s3test.Fault {
			if c.Op == op {
				return s3test.Denied
			}
			return s3test.None
		}
	}
	type want struct{ level, what, detail string }
	for name, c := range map[string]struct {
		messages []string
		do       func(*s3test.Server, *s3test.Queue)
		want     []want
		is       error // that of the last finding
	}{
		"an empty one is fine": {want: []want{{"ok", "queue", "about 0 messages waiting, 0 in flight, kept 4 days, no queue for dead letters"}, {"ok", "queue: events", "0 messages looked at"}}},
		"events of the bucket are what it is for": {messages: []string{event("landing", "orders/a.json")},
			want: []want{{"ok", "queue", "about 1 message waiting"}, {"ok", "queue: events", "1 message looked at"}}},
		"a queue for dead letters is told": {do: func(_ *s3test.Server, q *s3test.Queue) { q.Redrive() },
			want: []want{{"ok", "queue", "with a queue for dead letters"}, {"ok", "queue: events", ""}}},
		"events of another bucket are a warning": {messages: []string{event("other", "orders/a.json")},
			want: []want{{"ok", "queue", ""}, {"warn", "queue: events", "its events are of bucket other, and the source is in landing"}}},
		"events of two buckets are none": {messages: []string{event("other", "a.json"), event("landing", "orders/a.json")},
			want: []want{{"ok", "queue", ""}, {"ok", "queue: events", "2 messages looked at"}}},
		"what is no event is a warning": {messages: []string{"hello", event("landing", "orders/a.json")},
			want: []want{{"ok", "queue", ""}, {"warn", "queue: events", "1 of 2 messages are no events of S3"}}},
		"one that is not there": {do: func(_ *s3test.Server, q *s3test.Queue) { q.Remove() },
			want: []want{{"fail", "queue", "does not exist"}}, is: s3store.ErrNoQueue},
		"one that may not be looked at": {do: func(s *s3test.Server, _ *s3test.Queue) { s.Inject(refuse("GetQueueAttributes")) },
			want: []want{{"fail", "queue", "GetQueueAttributes"}}, is: fs.ErrPermission},
		"one that may not be received from": {do: func(s *s3test.Server, _ *s3test.Queue) { s.Inject(refuse("ReceiveMessage")) },
			want: []want{{"ok", "queue", ""}, {"fail", "queue: receive", "ReceiveMessage"}}, is: fs.ErrPermission},
		"one that takes nothing back": {messages: []string{event("landing", "orders/a.json")}, do: func(s *s3test.Server, _ *s3test.Queue) { s.Inject(refuse("ChangeMessageVisibilityBatch")) },
			want: []want{{"ok", "queue", ""}, {"fail", "queue: give back", "ChangeMessageVisibilityBatch"}}, is: fs.ErrPermission},
	} {
		t.Run(name, func(t *testing.T) {
			server, cfg := s3Config(t)
			queue := server.NewQueue("arrivals")
			cfg.Options["cloudFiles.useNotifications"], cfg.Options["cloudFiles.queueUrl"] = "true", queue.URL()
			for _, m := range c.messages {
				queue.Send(m)
			}
			if c.do != nil {
				c.do(server, queue)
			}
			all, err := silt.Doctor(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			var got []silt.Finding
			for _, f := range all {
				if f.What == "queue" || strings.HasPrefix(f.What, "queue:") {
					got = append(got, f)
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("got %+v", got)
			}
			for i, w := range c.want {
				if f := got[i]; f.Level != w.level || f.What != w.what || !strings.Contains(f.Detail, w.detail) || !strings.Contains(f.Detail, queue.URL()) {
					t.Errorf("got %+v, want %+v", f, w)
				}
			}
			switch last := got[len(got)-1]; {
			case c.is != nil && !errors.Is(last.Err, c.is):
				t.Errorf("got %v, want %v", last.Err, c.is)
			case last.Level == silt.LevelWarn:
				if e := (*silt.QueueError)(nil); !errors.As(last.Err, &e) || e.Next == "" {
					t.Errorf("got %v, which does not say what to do", last.Err)
				}
			}
			left, inFlight := queue.Len()
			if hidden := got[len(got)-1].What == "queue: give back"; left != len(c.messages) || inFlight > 0 && !hidden {
				t.Errorf("%d messages are left of %d, %d of them hidden", left, len(c.messages), inFlight)
			}
		})
	}
}
