package test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/internal/crash"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// s3World is a server with a source, and a folder with a pipeline file for it.
func s3World(t *testing.T) (*s3test.Server, string) {
	t.Helper()
	server := s3test.New("landing", "lake")
	t.Cleanup(server.Close)
	dir := t.TempDir()
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
      maxFilesPerTrigger: 2
`))
	return server, dir
}

func s3Command(t *testing.T, server *s3test.Server, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := siltCommand(t, dir, args...)
	cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=us-east-1",
		"AWS_ENDPOINT_URL="+server.URL, "AWS_EC2_METADATA_DISABLED=true")
	return cmd
}

// download copies what is below a prefix of a bucket into a folder, for readers of folders.
func download(t *testing.T, server *s3test.Server, bucket, prefix string) string {
	t.Helper()
	dir := t.TempDir()
	for _, key := range server.Keys(bucket, prefix) {
		content, _ := server.Get(bucket, key)
		write(t, filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(key, prefix))), []byte(content))
	}
	return dir
}

func TestS3Binary(t *testing.T) {
	server, dir := s3World(t)
	for i := range 5 {
		server.Put("landing", fmt.Sprintf("orders/%d.json", i), fmt.Sprintf(`{"id":%d,"geo":{"lat":1.5}}`, i))
	}
	if r := run(t, s3Command(t, server, dir, "run")); r.code != 0 {
		t.Fatal(r)
	}
	t.Run("names_paths_and_files_are_queried", func(t *testing.T) {
		for _, sql := range []string{"select count(*) as n from main.demo.orders", "select count(*) as n from 's3://lake/tables/main/demo/orders'",
			"select count(*) as n from silt.files"} {
			if r := run(t, s3Command(t, server, dir, "query", sql, "-o", "csv")); r.code != 0 || !strings.HasSuffix(r.stdout, "5\n") {
				t.Errorf("%s: %v", sql, r)
			}
		}
	})
	t.Run("load_needs_no_file", func(t *testing.T) {
		for range 2 {
			r := run(t, s3Command(t, server, t.TempDir(), "load", "s3://landing/orders/", "s3://lake/other"))
			if r.code != 0 {
				t.Fatal(r)
			}
		}
		if n := len(server.Keys("lake", "other/_delta_log/0")); n == 0 {
			t.Error("there is no log")
		}
	})
	t.Run("a_bucket_that_is_not_there_is_told", func(t *testing.T) {
		r := run(t, s3Command(t, server, dir, "load", "s3://nowhere/in/", "s3://lake/t"))
		if r.code == 0 || !strings.Contains(r.stderr, "nowhere") {
			t.Error(r)
		}
	})
	t.Run("refused_access_has_its_status", func(t *testing.T) {
		server.Inject(func(c s3test.Call) s3test.Fault {
			if c.Op == "ListObjectsV2" {
				return s3test.Denied
			}
			return s3test.None
		})
		defer server.Inject(nil)
		if r := run(t, s3Command(t, server, dir, "run")); r.code != 5 || !strings.Contains(r.stderr, "AccessDenied") {
			t.Error(r)
		}
	})
}

// TestS3Kills kills the binary at every named point while requests fail, one in twenty, in every way;
// starts it again, and again; and wants every record in the table, or in quarantine, once.
func TestS3Kills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	server, dir := s3World(t)
	var good, bad []string
	files := 0
	arrive := func(n int) {
		for range n {
			files++
			name := fmt.Sprintf("orders/f%04d.json", files)
			text := ""
			for line := 1; line <= 1+files%4; line++ {
				if files%5 == 0 && line == 2 {
					text += "{no record\n"
					bad = append(bad, fmt.Sprintf(`{"line": %d, "source_file": "s3://landing/%s"}`, line, name))
					continue
				}
				text += fmt.Sprintf(`{"file":"%s","line":%d,"in":{"v%d":1}}`+"\n", name, line, files/3)
				good = append(good, fmt.Sprintf(`{"file": "%s", "line": %d}`, name, line))
			}
			server.Put("landing", name, text)
		}
	}
	faults := s3test.Faults()
	inject := func() {
		server.Inject(func(s3test.Call) s3test.Fault {
			if r.IntN(20) > 0 {
				return s3test.None
			}
			return faults[r.IntN(len(faults))]
		})
	}
	killed := 0
	for _, point := range crash.Points {
		if point == "after-new-schema" { // only under compat
			continue
		}
		arrive(3)
		inject()
		cmd := s3Command(t, server, dir, "run")
		cmd.Env = append(cmd.Env, "SILT_CRASH_AT="+point)
		if res := run(t, cmd); res.code == -1 {
			killed++
		}
		server.Settle()
	}
	server.Inject(nil)
	if res := run(t, s3Command(t, server, dir, "run")); res.code != 0 {
		t.Fatal(res)
	}
	t.Logf("%d kills, %d files", killed, files)
	if killed < len(crash.Points)/3 {
		t.Errorf("only %d runs were killed", killed)
	}
	slices.Sort(good)
	slices.Sort(bad)
	table := download(t, server, "lake", "tables/main/demo/orders/")
	aside := download(t, server, "lake", "tables/main/demo/orders_quarantine/")
	for _, reader := range readers {
		sameLines(t, "rows, by "+reader, rows(t, table, "--reader", reader, "--columns", "file,line"), lines(good))
		sameLines(t, "quarantine, by "+reader, rows(t, aside, "--reader", reader, "--columns", "source_file,line"), lines(bad))
	}
}
