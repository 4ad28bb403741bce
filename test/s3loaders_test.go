package test

import (
	"bytes"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/objstore/s3store"
)

// TestS3Server kills loaders that share a checkpoint on the S3 server that SILT_S3 names, and stops
// some of them to go on later. Their lease is taken from them again and again, so that they really work
// at the same time. It wants every record in the table, or in quarantine, once, and every file in the
// archive. "make s3" starts a server.
func TestS3Server(t *testing.T) {
	url := os.Getenv("SILT_S3")
	if url == "" {
		t.Skip("left out: SILT_S3 is not set; make s3 sets it")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const perLake = 250 // kills until a new lake is begun, and the old one is checked: a few hundred batches
	began := time.Now()
	for killed := 0; killed < *kills; {
		l := newS3Lake(t, url, rand.New(rand.NewPCG(seed, uint64(killed))))
		killed += l.kill(min(perLake, *kills-killed))
		files := len(l.names)
		l.check()
		t.Logf("%d kills; here %d loaders went on after a stop, and %d lost their lease; %d files; %.1f kills/s",
			killed, l.stopped, l.lost, files, float64(killed)/time.Since(began).Seconds())
	}
}

// s3Lake is a bucket with a source, a checkpoint, a table and an archive, and what must be in them.
type s3Lake struct {
	t           *testing.T
	rand        *rand.Rand
	url, bucket string
	dir         string // of silt.yml
	store       *s3store.Store
	names       []string      // files that arrived
	rows, bad   []string      // of each record, and each line that is none, its file and number
	typical     time.Duration // of a run that nobody kills
	zombies     []*s3Loader
	stopped     int // loaders that were stopped
	lost        int // loaders that ended because another one had the lease
}

// s3Loader is a run of the binary.
type s3Loader struct {
	cmd     *exec.Cmd
	stderr  bytes.Buffer
	began   time.Time
	ended   chan error
	resumes int // rounds until it goes on
}

func newS3Lake(t *testing.T, url string, r *rand.Rand) *s3Lake {
	t.Helper()
	keys := credentials.NewStaticCredentialsProvider("test", "test", "")
	client, err := s3store.New(t.Context(), s3store.Options{Endpoint: url, Region: "us-east-1", Credentials: keys})
	if err != nil {
		t.Fatal(err)
	}
	l := &s3Lake{t: t, rand: r, url: url, bucket: "silt-" + strings.ToLower(crand.Text()), dir: t.TempDir()}
	api := s3.New(s3.Options{BaseEndpoint: &url, UsePathStyle: true, Region: "us-east-1", Credentials: keys})
	if _, err := api.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &l.bucket}); err != nil {
		t.Fatal(err)
	}
	l.store = client.Store(l.bucket, "")
	write(t, filepath.Join(l.dir, "silt.yml"), []byte(strings.ReplaceAll(`version: 1
catalogs:
  main: { path: s3://BUCKET/lake }
pipelines:
  orders:
    source: s3://BUCKET/in/
    checkpointLocation: s3://BUCKET/checkpoint
    target: { table: main.demo.orders }
    options:
      maxFilesPerTrigger: 2
      cleanSource: MOVE
      cleanSource.retentionDuration: 0 seconds
      cleanSource.moveDestination: s3://BUCKET/old
`, "BUCKET", l.bucket)))
	t.Cleanup(func() {
		for _, z := range l.zombies {
			_ = z.cmd.Process.Kill()
		}
	})
	l.arrive(3)
	l.typical = time.Second
	first := l.start()
	l.end(first, <-first.ended)
	return l
}

// arrive brings files. Every fifth has a line that is no record, every 20th a new field.
func (l *s3Lake) arrive(n int) {
	l.t.Helper()
	for range n {
		l.names = append(l.names, fmt.Sprintf("f%05d.json", len(l.names)+1))
		n, name := len(l.names), l.names[len(l.names)-1]
		var text strings.Builder
		for line := 1; line <= 3; line++ {
			if n%5 == 0 && line == 2 {
				text.WriteString("{no record\n")
				l.bad = append(l.bad, fmt.Sprintf(`{"line": %d, "source_file": "s3://%s/in/%s"}`, line, l.bucket, name))
				continue
			}
			fmt.Fprintf(&text, `{"file":"%s","line":%d,"in":{"v%d":1}}`+"\n", name, line, n/20)
			l.rows = append(l.rows, fmt.Sprintf(`{"file": "%s", "line": %d}`, name, line))
		}
		if _, err := objstore.PutBytes(l.t.Context(), l.store, "in/"+name, []byte(text.String()), objstore.Cond{}); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *s3Lake) command(args ...string) *exec.Cmd {
	cmd := siltCommand(l.t, l.dir, args...)
	cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1",
		"AWS_ENDPOINT_URL="+l.url, "AWS_EC2_METADATA_DISABLED=true")
	return cmd
}

func (l *s3Lake) start() *s3Loader {
	l.t.Helper()
	s := &s3Loader{cmd: l.command("run", "--quiet"), began: time.Now(), ended: make(chan error, 1)}
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	return s
}

// end looks at how a loader ended that nobody killed: it did its work, or another one was at it.
func (l *s3Lake) end(s *s3Loader, err error) {
	l.t.Helper()
	switch {
	case err == nil:
		l.typical = (3*l.typical + min(time.Since(s.began), 10*time.Second)) / 4
	case strings.Contains(s.stderr.String(), "SILT-6001"):
		l.lost++
	default:
		l.t.Fatalf("a loader: %v\n%s", err, s.stderr.String())
	}
}

// somewhen is a moment of a run, and now and then one after its end.
func (l *s3Lake) somewhen() time.Duration {
	return time.Duration(l.rand.Int64N(int64(l.typical) * 5 / 4))
}

// kill kills n loaders. Up to four are at work at the same time: the lease is taken from one when the
// next one begins. Some are stopped, and go on a few rounds later.
func (l *s3Lake) kill(n int) int {
	l.t.Helper()
	killed := 0
	for killed < n {
		l.arrive(1 + l.rand.IntN(2))
		l.resume(false)
		var loaders []*s3Loader
		for i := range 1 + l.rand.IntN(4) {
			if i > 0 {
				time.Sleep(l.somewhen() / 4)
				if err := l.store.Delete(l.t.Context(), "checkpoint/lease", objstore.Cond{}); err != nil && !errors.Is(err, objstore.ErrNotExist) {
					l.t.Fatal(err)
				}
			}
			loaders = append(loaders, l.start())
		}
		for _, s := range loaders {
			select {
			case err := <-s.ended:
				l.end(s, err)
				continue
			case <-time.After(time.Until(s.began.Add(l.somewhen()))):
			}
			if l.rand.IntN(10) == 0 {
				l.stopped++
				s.resumes = 1 + l.rand.IntN(5)
				_ = s.cmd.Process.Signal(syscall.SIGSTOP)
				l.zombies = append(l.zombies, s)
				continue
			}
			_ = s.cmd.Process.Kill()
			var exit *exec.ExitError
			if err := <-s.ended; errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
				killed++
			} else {
				l.end(s, err)
			}
		}
	}
	return killed
}

// resume lets those that were stopped go on to their end, when it is time or at once.
func (l *s3Lake) resume(all bool) {
	l.t.Helper()
	l.zombies = slices.DeleteFunc(l.zombies, func(s *s3Loader) bool {
		if s.resumes--; s.resumes > 0 && !all {
			return false
		}
		_ = s.cmd.Process.Signal(syscall.SIGCONT)
		l.end(s, <-s.ended)
		return true
	})
}

// check runs to the end, compares, and removes all.
func (l *s3Lake) check() {
	t := l.t
	t.Helper()
	l.resume(true)
	for try := 0; ; try++ {
		res := run(t, l.command("run", "--quiet"))
		if res.code == 0 {
			break
		}
		if try > 40 || !strings.Contains(res.stderr, "SILT-6001") { // a lease that was not given back
			t.Fatal(res)
		}
		time.Sleep(time.Second)
	}
	slices.Sort(l.rows)
	slices.Sort(l.bad)
	table, aside := l.fetch("lake/main/demo/orders/"), l.fetch("lake/main/demo/orders_quarantine/")
	for _, reader := range readers {
		sameLines(t, "rows, by "+reader, rows(t, table, "--reader", reader, "--columns", "file,line"), lines(l.rows))
		sameLines(t, "quarantine, by "+reader, rows(t, aside, "--reader", reader, "--columns", "source_file,line"), lines(l.bad))
	}
	for prefix, want := range map[string][]string{"in/": nil, "old/": l.committed()} {
		if keys := l.keys(prefix); !slices.Equal(keys, want) {
			t.Errorf("%s has %d files, want %d", prefix, len(keys), len(want))
		}
	}
	if t.Failed() {
		t.Fatalf("see bucket %s", l.bucket)
	}
	for _, key := range l.keys("") {
		if err := l.store.Delete(t.Context(), key, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
	}
}

// committed are the files of closed batches, as silt tells them. They must be those that arrived.
func (l *s3Lake) committed() []string {
	l.t.Helper()
	res := run(l.t, l.command("files", "list", "--limit", "0", "--json"))
	var list struct {
		Files []struct{ Path, Status string }
	}
	if err := json.Unmarshal([]byte(res.stdout), &list); res.code != 0 || err != nil {
		l.t.Fatal(err, res)
	}
	var all []string
	for _, f := range list.Files {
		if f.Status == "loaded" {
			all = append(all, strings.TrimPrefix(f.Path, "s3://"+l.bucket+"/in/"))
		}
	}
	slices.Sort(all)
	if !slices.Equal(all, l.names) {
		l.t.Errorf("silt files lists %d files as loaded, want %d", len(all), len(l.names))
	}
	return all
}

// keys are those below a prefix, without it.
func (l *s3Lake) keys(prefix string) []string {
	l.t.Helper()
	var keys []string
	for o, err := range l.store.List(l.t.Context(), prefix, "") {
		if err != nil {
			l.t.Fatal(err)
		}
		keys = append(keys, strings.TrimPrefix(o.Key, prefix))
	}
	return keys
}

// fetch copies what is below a prefix into a folder, for readers of folders.
func (l *s3Lake) fetch(prefix string) string {
	l.t.Helper()
	to := l.t.TempDir()
	for _, key := range l.keys(prefix) {
		content, _, err := objstore.ReadAll(l.t.Context(), l.store, prefix+key)
		if err != nil {
			l.t.Fatal(err)
		}
		write(l.t, filepath.Join(to, filepath.FromSlash(key)), content)
	}
	return to
}
