package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// watcher is the binary while it watches.
type watcher struct {
	cmd    *exec.Cmd
	events chan watchEvent // closed when the process has ended
	errors strings.Builder
	wait   func() error
}

// watchEvent is a line that a watching run prints.
type watchEvent struct {
	Event string
	Code  string
	Files int
	Rows  int64
	at    time.Time
}

func watchWith(t *testing.T, cmd *exec.Cmd) *watcher {
	t.Helper()
	w := &watcher{cmd: cmd, events: make(chan watchEvent, 1000)}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = &w.errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			e := watchEvent{at: time.Now()}
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				w.events <- e
			}
		}
	}()
	w.wait = sync.OnceValue(func() error {
		for range w.events { //nolint:revive // until the process has ended
		}
		return cmd.Wait()
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = w.wait()
	})
	return w
}

// committed waits for the next batch that is in the table.
func (w *watcher) committed(t *testing.T) watchEvent {
	t.Helper()
	for e := range w.events {
		if e.Event == "batch_committed" {
			return e
		}
	}
	t.Fatalf("it ended: %v\n%s", w.wait(), &w.errors)
	return watchEvent{}
}

// stop interrupts the process and waits for its end.
func (w *watcher) stop(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	const interrupted = 130
	if err := w.wait(); err != nil && w.cmd.ProcessState.ExitCode() != interrupted {
		t.Errorf("%v\n%s", err, &w.errors)
	}
}

// until asks again and again.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long until %s", what)
		}
	}
}

// notifiedWorld is s3World with a queue that gets the events of the source.
func notifiedWorld(t *testing.T) (*s3test.Server, *s3test.Queue, string) {
	t.Helper()
	server, dir := s3World(t)
	queue := server.NewQueue("arrivals")
	server.Notify("landing", "orders/", queue)
	write(t, filepath.Join(dir, "silt.yml"), []byte(`version: 1
catalogs:
  main:
    path: s3://lake/tables
pipelines:
  orders:
    source: s3://landing/orders/
    checkpointLocation: s3://lake/checkpoints/orders
    target:
      table: main.demo.orders
    options:
      useNotifications: true
      queueUrl: `+queue.URL()+"\n"))
	return server, queue, dir
}

// TestNotificationKills kills a watching run between the receipt of a message and the end of the batch that
// its file is in. The message comes again, and every record is in the table once.
func TestNotificationKills(t *testing.T) {
	server, queue, dir := notifiedWorld(t)
	var want []string
	arrive := func(n int) {
		for range n {
			name := fmt.Sprintf("orders/f %03d+.json", len(want)/2)
			server.Put("landing", name, fmt.Sprintf(`{"file":%q,"line":1}`+"\n"+`{"file":%q,"line":2}`+"\n", name, name))
			for line := 1; line <= 2; line++ {
				want = append(want, fmt.Sprintf(`{"file": "%s", "line": %d}`, name, line))
			}
		}
	}
	arrive(1)
	if r := run(t, s3Command(t, server, dir, "run", "--quiet")); r.code != 0 {
		t.Fatal(r)
	}
	for _, point := range []string{"after-sources", "after-offsets", "after-staged", "after-commit", "after-commits"} {
		cmd := s3Command(t, server, dir, "run", "--watch", "-o", "jsonl")
		cmd.Env = append(cmd.Env, "SILT_CRASH_AT="+point)
		w := watchWith(t, cmd)
		until(t, "it listens", func() bool { return queue.Waiting() > 0 })
		arrive(2)
		if err := w.wait(); cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("it was not killed at %s: %v\n%s", point, err, &w.errors)
		}
		if _, inFlight := queue.Len(); inFlight == 0 {
			t.Errorf("killed at %s, it had deleted its messages", point)
		}
		queue.Return()
		w = watchWith(t, s3Command(t, server, dir, "run", "--watch", "-o", "jsonl"))
		until(t, "the queue is empty", func() bool { n, _ := queue.Len(); return n == 0 })
		w.stop(t)
	}
	slices.Sort(want)
	table := download(t, server, "lake", "tables/main/demo/orders/")
	for _, reader := range readers {
		sameLines(t, "rows, by "+reader, rows(t, table, "--reader", reader, "--columns", "file,line"), lines(want))
	}
}

// latency brings files to a watching run, one after the other, and returns how long it was from the start of
// each put until its commit was told, in order.
func latency(t *testing.T, w *watcher, files int, put func(i int)) []time.Duration {
	t.Helper()
	var all []time.Duration
	for i := range files {
		began := time.Now()
		put(i)
		all = append(all, w.committed(t).at.Sub(began))
	}
	slices.Sort(all)
	t.Logf("from the put to the commit: median %v, longest %v of %d", all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond), len(all))
	if median := all[len(all)/2]; median > time.Second {
		t.Errorf("it takes %v until a file is committed", median)
	}
	return all
}

func TestNotificationLatency(t *testing.T) {
	server, queue, dir := notifiedWorld(t)
	server.Put("landing", "orders/first.json", `{"id":-1}`)
	w := watchWith(t, s3Command(t, server, dir, "run", "--watch", "-o", "jsonl"))
	w.committed(t)
	before, _ := server.Calls()
	const files = 30
	latency(t, w, files, func(i int) { server.Put("landing", fmt.Sprintf("orders/%d.json", i), fmt.Sprintf(`{"id":%d}`, i)) })
	after, _ := server.Calls()
	t.Logf("%d requests a file", (after-before)/files)
	w.stop(t)
	if n, _ := queue.Len(); n > 0 {
		t.Errorf("%d messages are left", n)
	}
}

// TestS3ServerNotifications loads what a server that is not ours tells a queue of, as S3 would. "make s3" starts
// one.
func TestS3ServerNotifications(t *testing.T) {
	url := os.Getenv("SILT_S3")
	if url == "" {
		t.Skip("left out: SILT_S3 is not set; make s3 sets it")
	}
	ctx := t.Context()
	keys := credentials.NewStaticCredentialsProvider("test", "test", "")
	queues := sqs.New(sqs.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: keys})
	buckets := s3.New(s3.Options{BaseEndpoint: &url, UsePathStyle: true, Region: "us-east-1", Credentials: keys})
	name := fmt.Sprintf("silt-%d", time.Now().UnixNano())
	queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := buckets.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	_, err = buckets.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: &name, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			Events: []types.Event{"s3:ObjectCreated:*"}, QueueArn: aws.String("arn:aws:sqs:us-east-1:000000000000:" + name),
			Filter: &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{{Name: "prefix", Value: aws.String("in/")}}}},
		}}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := url + (*queue.QueueUrl)[strings.Index(*queue.QueueUrl, "/000000000000/"):]
	write(t, filepath.Join(dir, "silt.yml"), []byte(strings.NewReplacer("BUCKET", name, "QUEUE", at).Replace(`version: 1
catalogs:
  main: { path: s3://BUCKET/lake }
pipelines:
  orders:
    source: s3://BUCKET/in/
    checkpointLocation: s3://BUCKET/checkpoint
    target: { table: main.demo.orders }
    options: { useNotifications: true, queueUrl: "QUEUE" }
`)))
	command := func(args ...string) *exec.Cmd {
		cmd := siltCommand(t, dir, args...)
		cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1",
			"AWS_ENDPOINT_URL="+url, "AWS_EC2_METADATA_DISABLED=true")
		return cmd
	}
	put := func(i int) {
		key, body := fmt.Sprintf("in/a b+c é=%d.json", i), fmt.Sprintf(`{"id":%d}`, i)
		if _, err := buckets.PutObject(ctx, &s3.PutObjectInput{Bucket: &name, Key: &key, Body: strings.NewReader(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if r := run(t, command("doctor")); r.code != 0 || !strings.Contains(r.stdout, "queue: events") {
		t.Error(r)
	}
	put(-1)
	w := watchWith(t, command("run", "--watch", "-o", "jsonl"))
	w.committed(t)
	latency(t, w, 30, put)
	w.stop(t)
	if r := run(t, command("query", "select count(*) as n, count(distinct id) as ids from main.demo.orders", "-o", "csv")); !strings.HasSuffix(r.stdout, "31,31\n") {
		t.Error(r)
	}
	out, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &at, AttributeNames: []sqstypes.QueueAttributeName{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"}})
	if err != nil || out.Attributes["ApproximateNumberOfMessages"] != "0" || out.Attributes["ApproximateNumberOfMessagesNotVisible"] != "0" {
		t.Errorf("the queue is not empty, %v", err)
	}
}
