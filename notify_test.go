package silt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// notified is s3Config with a queue that gets the events of the source.
func notified(t *testing.T) (*s3test.Server, *s3test.Queue, silt.Config) {
	t.Helper()
	server, cfg := s3Config(t)
	queue := server.NewQueue("arrivals")
	server.Notify("landing", "", queue)
	cfg.Options["cloudFiles.useNotifications"] = "true"
	cfg.Options["cloudFiles.queueUrl"] = queue.URL()
	return server, queue, cfg
}

// watched is a pipeline that watches.
type watched struct {
	t         *testing.T
	committed chan silt.BatchCommitted
	warned    chan silt.Warning
	stop      func()
}

func watching(t *testing.T, cfg silt.Config) *watched {
	t.Helper()
	w := &watched{t: t, committed: make(chan silt.BatchCommitted, 1000), warned: make(chan silt.Warning, 1000)}
	cfg.Events = func(e silt.Event) {
		switch e := e.(type) {
		case silt.BatchCommitted:
			w.committed <- e
		case silt.Warning:
			w.warned <- e
		}
	}
	p, err := silt.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- p.Watch(t.Context()) }()
	w.stop = sync.OnceFunc(func() {
		p.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// files waits until so many files are committed, and returns in how many batches.
func (w *watched) files(n int) (batches int) {
	w.t.Helper()
	for n > 0 {
		b := <-w.committed
		n -= b.Files
		batches++
	}
	if n < 0 {
		w.t.Errorf("%d files too many", -n)
	}
	return batches
}

// rowsOf are the rows of the table, by the column id.
func rowsOf(t *testing.T, cfg silt.Config) int64 {
	t.Helper()
	info, err := silt.DescribeTable(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return info.Rows
}

// listings counts those of the source from now on.
func listings(server *s3test.Server) *int {
	n := new(int)
	server.Inject(func(c s3test.Call) s3test.Fault {
		if c.Op == "ListObjectsV2" && c.Bucket == "landing" {
			*n++
		}
		return s3test.None
	})
	return n
}

func TestNotifications(t *testing.T) {
	server, queue, cfg := notified(t)
	server.Put("landing", "orders/before.json", `{"id":0}`)
	w := watching(t, cfg)
	w.files(1)

	n := listings(server)
	for i, key := range []string{"orders/1.json", "orders/day 2/a+b %é=1.json", "orders/3.json.gz"} {
		server.Put("landing", key, fmt.Sprintf(`{"id":%d}`, i+1))
		w.files(1)
	}
	t.Run("what_is_no_new_file_of_the_source_is_passed_over", func(t *testing.T) {
		server.Put("landing", "elsewhere/x.json", `{"id":-1}`)
		server.Put("landing", "orders/_hidden/x.json", `{"id":-1}`)
		queue.Send(s3test.EventOf("ObjectCreated:Put", "other", "orders/x.json", 1, ""))
		queue.Send(s3test.EventOf("ObjectCreated:Put", "landing", "orders/absent.json", 1, ""))
		queue.Send(s3test.EventOf("ObjectRemoved:Delete", "landing", "orders/1.json", 0, ""))
		for range 3 { // late and double
			queue.Send(s3test.EventOf("s3:ObjectCreated:Put", "landing", "orders/1.json", 8, `"x"`))
		}
		queue.Send(`{"Records":[]}`)
		queue.Send("no event at all")
		queue.Send(`{"nor":"this"}`)
		server.Put("landing", "orders/4.json", `{"id":4}`)
		w.files(1)
		if odd := <-w.warned; odd.Code != "SILT-5006" || !strings.Contains(odd.Text, "no event at all") {
			t.Errorf("got %+v", odd)
		}
	})
	t.Run("many_at_once_are_loaded_together", func(t *testing.T) {
		for i := range 300 {
			server.Put("landing", fmt.Sprintf("orders/many/%03d.json", i), `{"id":5}`)
		}
		if batches := w.files(300); batches > 100 {
			t.Errorf("%d batches", batches)
		}
	})
	w.stop()
	server.Inject(nil)
	if *n > 0 {
		t.Errorf("%d listings, want none beside the first", *n)
	}
	if rows := rowsOf(t, cfg); rows != 305 {
		t.Errorf("%d rows, want 305", rows)
	}
	if left := queue.Bodies(); !slices.Equal(left, []string{"no event at all", `{"nor":"this"}`}) {
		t.Errorf("the queue has %d messages, such as %q", len(left), left[0])
	}
	if len(w.warned) > 0 {
		t.Errorf("it warned of %v too", <-w.warned)
	}
}

func TestARunEmptiesTheQueue(t *testing.T) {
	server, queue, cfg := notified(t)
	server.Put("landing", "orders/1.json", `{"id":1}`)
	arrived := false
	server.Inject(func(c s3test.Call) s3test.Fault {
		if c.Op == "ReceiveMessage" && !arrived { // after the listing
			arrived = true
			go server.Put("landing", "orders/2.json", `{"id":2}`)
		}
		return s3test.None
	})
	s, err := runOnce(t, cfg)
	if err != nil || s.Files.Loaded < 1 {
		t.Fatalf("got %+v, %v", s, err)
	}
	server.Inject(nil)
	if s2, err := runOnce(t, cfg); err != nil || s.Files.Loaded+s2.Files.Loaded != 2 {
		t.Errorf("got %+v, %v", s2, err)
	}
	if n, _ := queue.Len(); n > 0 {
		t.Errorf("the queue has %q", queue.Bodies())
	}
	if queue.Sent() != 3 {
		t.Errorf("%d messages were sent", queue.Sent())
	}
}

func TestALostNotificationIsFoundByAListing(t *testing.T) {
	server, _, cfg := notified(t)
	cfg.Options["cloudFiles.backfillInterval"] = "1 second"
	w := watching(t, cfg)
	server.Put("landing", "orders/1.json", `{"id":1}`)
	w.files(1)
	server.Mute()
	server.Put("landing", "orders/2.json", `{"id":2}`)
	w.files(1)
	w.stop()
	if rows := rowsOf(t, cfg); rows != 2 {
		t.Errorf("%d rows, want 2", rows)
	}
}

func TestListingsGoOnWithoutAQueue(t *testing.T) {
	server, queue, cfg := notified(t)
	cfg.Options["cloudFiles.backfillInterval"] = "1 second" // the pace without a queue is no slower
	w := watching(t, cfg)
	server.Put("landing", "orders/1.json", `{"id":1}`)
	w.files(1)
	queue.Remove()
	if gone := <-w.warned; gone.Code != "SILT-5005" || !strings.Contains(gone.Hint, "queueUrl") {
		t.Errorf("got %+v", gone)
	}
	server.Put("landing", "orders/2.json", `{"id":2}`)
	w.files(1)
	t.Run("a_queue_that_is_there_again_is_heard_again", func(t *testing.T) {
		queue = server.NewQueue("arrivals")
		server.Notify("landing", "", queue)
		server.Put("landing", "orders/3.json", `{"id":3}`)
		w.files(1)
		w.stop()
		if rows := rowsOf(t, cfg); rows != 3 {
			t.Errorf("%d rows, want 3", rows)
		}
		if len(w.warned) > 0 {
			t.Errorf("it warned again: %v", <-w.warned)
		}
	})
}

// TestNotificationFaults makes each kind of fault happen to one request to the queue in three, lets messages
// come again while they are followed up, and wants every row once.
func TestNotificationFaults(t *testing.T) {
	for _, f := range s3test.Faults() {
		if f == s3test.Conflict || f == s3test.ErrorIn200 || f == s3test.HangFor100ms { // not of a queue
			continue
		}
		t.Run(f.String(), func(t *testing.T) {
			server, queue, cfg := notified(t)
			cfg.Options["maxFilesPerTrigger"] = "3"
			n := 0
			server.Inject(func(c s3test.Call) s3test.Fault {
				if strings.Contains(c.Op, "Message") {
					if n++; n%3 == 0 {
						return f
					}
				}
				return s3test.None
			})
			w := watching(t, cfg)
			for i := range 20 {
				server.Put("landing", fmt.Sprintf("orders/%d.json", i), fmt.Sprintf(`{"id":%d}`, i))
				if i%5 == 0 {
					queue.Return()
				}
			}
			for left := 20; left > 0; {
				select {
				case b := <-w.committed:
					left -= b.Files
				case <-w.warned: // a fault that lasts
				case <-time.After(50 * time.Millisecond): // an answer that was lost has hidden a message
					queue.Return()
				}
			}
			server.Inject(nil)
			server.Settle()
			w.stop()
			queue.Return()
			if s, err := runOnce(t, cfg); err != nil || s.Files.Found != 0 {
				t.Errorf("got %+v, %v", s, err)
			}
			if rows := rowsOf(t, cfg); rows != 20 {
				t.Errorf("%d rows, want 20", rows)
			}
			if n, _ := queue.Len(); n > 0 {
				t.Errorf("%d messages are left", n)
			}
		})
	}
}

func TestAFileThatChangesWhileItIsReadIsTakenByItsHint(t *testing.T) {
	server, _, cfg := notified(t)
	w := watching(t, cfg)
	server.Put("landing", "orders/1.json", `{"id":1}`)
	w.files(1)
	n := listings(server)
	count := 0
	server.Inject(func(c s3test.Call) s3test.Fault {
		if c.Op == "GetObject" && c.Key == "orders/2.json" {
			if count++; count == 1 { // the look; what is read is another version
				go server.Put("landing", "orders/2.json", `{"id":3}`)
				return s3test.HangFor100ms
			}
		}
		return s3test.None
	})
	server.Put("landing", "orders/2.json", `{"id":2}`)
	w.files(1)
	w.stop()
	if rows := rowsOf(t, cfg); rows != 2 || *n > 0 {
		t.Errorf("%d rows, want 2; %d listings", rows, *n)
	}
}

func TestAFolderIsWatched(t *testing.T) {
	l := newLab(t)
	l.cfg.Options = map[string]string{"cloudFiles.backfillInterval": "1 day"}
	w := watching(t, l.cfg)
	l.file("a.json", `{"id":1}`+"\n")
	w.files(1)
	deep := filepath.Join(l.dir, "new", "folder")
	if err := os.MkdirAll(deep, 0o777); err != nil {
		t.Fatal(err)
	}
	l.file("new/folder/b.json", `{"id":2}`+"\n")
	w.files(1)
	l.file("new/folder/_hidden.json", `{"id":0}`+"\n")
	l.file("a.json", `{"id":0,"changed":true}`+"\n")
	l.file("c.json", `{"id":3}`+"\n")
	w.files(1)
	w.stop()
	l.want(`{"id":1}`, `{"id":2}`, `{"id":3}`)
}

func TestAWatchedFolderThatIsReplacedIsWatchedOn(t *testing.T) {
	l := newLab(t)
	l.cfg.Options = map[string]string{"cloudFiles.backfillInterval": "1 day"}
	w := watching(t, l.cfg)
	l.file("a.json", `{"id":1}`+"\n")
	w.files(1)
	for i := range 2 {
		if err := os.Rename(l.cfg.Source, fmt.Sprintf("%s.%d", l.cfg.Source, i)); err != nil {
			t.Fatal(err)
		}
		if gone := <-w.warned; gone.Code != "SILT-3004" {
			t.Errorf("got %+v", gone)
		}
		if err := os.Mkdir(l.cfg.Source, 0o777); err != nil {
			t.Fatal(err)
		}
		l.file(fmt.Sprintf("b%d.json", i), fmt.Sprintf(`{"id":%d}`, 2*i+2)+"\n")
		w.files(1)
		l.file(fmt.Sprintf("c%d.json", i), fmt.Sprintf(`{"id":%d}`, 2*i+3)+"\n")
		w.files(1)
	}
	w.stop()
	l.want(`{"id":1}`, `{"id":2}`, `{"id":3}`, `{"id":4}`, `{"id":5}`)
	if len(w.warned) > 0 {
		t.Errorf("it warned of %v too", <-w.warned)
	}
}

func TestAFolderThatNeverWasThereIsNotWaitedFor(t *testing.T) {
	l := newLab(t)
	if err := os.Remove(l.cfg.Source); err != nil {
		t.Fatal(err)
	}
	p, err := silt.Open(t.Context(), l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Watch(t.Context()); !errors.Is(err, source.ErrNoFolder) {
		t.Errorf("got %v", err)
	}
}

// TestAFileThatIsForgottenWhileAQueueIsWatchedIsLoadedAgain: no event tells of it.
func TestAFileThatIsForgottenWhileAQueueIsWatchedIsLoadedAgain(t *testing.T) {
	server, _, cfg := notified(t)
	w := watching(t, cfg)
	server.Put("landing", "orders/1.json", `{"id":1}`)
	w.files(1)
	n := listings(server)
	plans, err := silt.PlanFiles(t.Context(), cfg, silt.FileRequest{Action: silt.ForgetFiles, Files: []string{"1.json"}})
	if err != nil || len(plans) != 1 {
		t.Fatalf("got %+v, %v", plans, err)
	}
	if err := plans[0].Put(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Put("landing", "orders/2.json", `{"id":2}`)
	w.files(2)
	w.stop()
	if rows := rowsOf(t, cfg); rows != 3 || *n > 0 {
		t.Errorf("%d rows, want 3, by %d listings", rows, *n)
	}
}

func TestFileArrival(t *testing.T) {
	server, queue, cfg := notified(t)
	cfg.Trigger.FileArrival = &silt.FileArrival{WaitAfterLastChange: time.Second}
	w := watching(t, cfg)
	for i := range 4 {
		server.Put("landing", fmt.Sprintf("orders/%d.json", i), `{"id":1}`)
		for all, inFlight := queue.Len(); inFlight < min(all, i+1); all, inFlight = queue.Len() {
			runtime.Gosched() // until it has heard of the file
		}
	}
	if batches := w.files(4); batches != 1 {
		t.Errorf("%d batches, want 1", batches)
	}
	w.stop()
	if rows := rowsOf(t, cfg); rows != 4 {
		t.Errorf("%d rows, want 4", rows)
	}
}

func TestOnce(t *testing.T) {
	l := newLab(t)
	l.cfg.Options = map[string]string{"maxFilesPerTrigger": "1"}
	l.cfg.Trigger.Once = true
	for i := range 5 {
		l.file(fmt.Sprintf("%d.json", i), `{"id":1}`+"\n")
	}
	if s := l.run(); s.Batches != 1 || s.Files.Loaded != 5 {
		t.Errorf("got %+v", s)
	}
	if s := l.run(); s.Batches != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestTriggersAndNotificationsAreChecked(t *testing.T) {
	at := "https://sqs.eu-west-1.amazonaws.com/123/q"
	for name, c := range map[string]struct {
		source  string
		options map[string]string
		trigger silt.Trigger
		poll    time.Duration
		want    string // in the mistake; empty: none
	}{
		"a_queue":                       {"s3://b/in", map[string]string{"useNotifications": "true", "queueUrl": at}, silt.Trigger{}, 0, ""},
		"notifications_without_a_queue": {"s3://b/in", map[string]string{"useNotifications": "true"}, silt.Trigger{}, 0, "there is no queue"},
		"a_queue_without_notifications": {"s3://b/in", map[string]string{"queueUrl": at}, silt.Trigger{}, 0, "is not read"},
		"a_queue_that_is_no_URL":        {"s3://b/in", map[string]string{"useNotifications": "true", "queueUrl": "arn:aws:sqs:eu-west-1:1:q"}, silt.Trigger{}, 0, "no URL of a queue"},
		"a_queue_for_a_folder":          {t.TempDir(), map[string]string{"useNotifications": "true", "queueUrl": at}, silt.Trigger{}, 0, "those of a bucket"},
		"an_interval_that_is_none":      {"s3://b/in", map[string]string{"useNotifications": "true", "queueUrl": at, "backfillInterval": "now and then"}, silt.Trigger{}, 0, "no time"},
		"a_schedule":                    {"s3://b/in", nil, silt.Trigger{Schedule: "0 2 * * MON-FRI", TimeZone: "Europe/Berlin"}, 0, ""},
		"a_schedule_of_seconds":         {"s3://b/in", nil, silt.Trigger{Schedule: "*/5 0 2 * * *"}, 0, "five fields"},
		"a_schedule_beyond_the_clock":   {"s3://b/in", nil, silt.Trigger{Schedule: "0 25 * * *"}, 0, "25"},
		"a_day_that_never_comes":        {"s3://b/in", nil, silt.Trigger{Schedule: "0 2 31 2 *"}, 0, "no time to come"},
		"a_zone_that_is_none":           {"s3://b/in", nil, silt.Trigger{Schedule: "0 2 * * *", TimeZone: "Mars"}, 0, "no zone"},
		"a_zone_without_a_schedule":     {"s3://b/in", nil, silt.Trigger{TimeZone: "UTC"}, 0, "no schedule"},
		"two_triggers":                  {"s3://b/in", nil, silt.Trigger{Once: true}, time.Second, "one trigger"},
		"a_negative_wait":               {"s3://b/in", nil, silt.Trigger{FileArrival: &silt.FileArrival{WaitAfterLastChange: -1}}, 0, "below 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := silt.Open(t.Context(), silt.Config{Source: c.source, Target: silt.Path(t.TempDir()), Options: c.options, Trigger: c.trigger, Poll: c.poll})
			var faults *silt.ConfigError
			switch {
			case c.want == "":
				if err != nil {
					t.Errorf("got %v", err)
				}
			case !errors.As(err, &faults) || !strings.Contains(err.Error(), c.want):
				t.Errorf("got %v", err)
			}
		})
	}
}
