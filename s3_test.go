package silt_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// s3Config is a pipeline from a bucket into a table of another, on a server that is made for it.
func s3Config(t *testing.T) (*s3test.Server, silt.Config) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	server := s3test.New("landing", "lake")
	t.Cleanup(server.Close)
	return server, silt.Config{
		Source: "s3://landing/orders/", Target: silt.Table("main.demo.orders"),
		Catalogs: map[string]silt.Catalog{"main": {Path: "s3://lake/tables"}},
		Options:  map[string]string{"s3.endpoint": server.URL, "cloudFiles.region": "us-east-1"},
	}
}

func runOnce(t *testing.T, cfg silt.Config) (*silt.Summary, error) {
	t.Helper()
	p, err := silt.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.RunOnce(t.Context())
}

func TestS3FilesPassedOverAreCounted(t *testing.T) {
	server, cfg := s3Config(t)
	for _, key := range []string{"a.json", "b.json", "c.csv", "_tmp/d.json", "day/e.json"} {
		server.Put("landing", "orders/"+key, `{"id":1}`)
	}
	server.Age("landing", "orders/b.json", time.Now().Add(-48*time.Hour))
	cfg.Source = "s3://landing/orders/*.json"
	cfg.Options["cloudFiles.useStrictGlobber"], cfg.Options["cloudFiles.maxFileAge"] = "true", "1 day"
	const want = "map[glob:2 hidden:1 maxFileAge:1]"
	s, err := runOnce(t, cfg)
	if err != nil || s.Files.Loaded != 1 || fmt.Sprint(s.Files.PassedOver) != want {
		t.Fatalf("got %+v, %v", s, err)
	}
	if s, err = runOnce(t, cfg); err != nil || s.Files.Found != 0 || fmt.Sprint(s.Files.PassedOver) != want {
		t.Errorf("a second run: got %+v, %v", s, err)
	}
	found, err := silt.Doctor(t.Context(), cfg)
	if err != nil || !strings.Contains(found[0].Detail, "  1 file in ") || !strings.HasSuffix(found[0].Detail, ", 4 others passed over") {
		t.Errorf("got %+v, %v", found, err)
	}
}

func TestS3(t *testing.T) {
	server, cfg := s3Config(t)
	for i := range 5 {
		server.Put("landing", fmt.Sprintf("orders/day %d/a+b.json", i), fmt.Sprintf("{\"id\":%d}\n{\"id\":%d}\nno record\n", i, i+100))
	}
	server.Put("landing", "elsewhere/x.json", `{"id":1}`)
	s, err := runOnce(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.Files.Loaded != 5 || s.Rows != 10 || s.Records.Quarantined != 5 {
		t.Errorf("got %+v", s)
	}
	t.Run("a_second_run_has_nothing_to_do", func(t *testing.T) {
		if s, err := runOnce(t, cfg); err != nil || s.Files.Found != 0 {
			t.Errorf("got %+v, %v", s, err)
		}
	})
	t.Run("a_new_file_is_found_and_evolves_the_table", func(t *testing.T) {
		server.Put("landing", "orders/a.json", `{"id":7,"new":{"deep":true}}`)
		if s, err := runOnce(t, cfg); err != nil || s.Rows != 1 || len(s.Schema.Added) != 1 {
			t.Errorf("got %+v, %v", s, err)
		}
	})
	t.Run("the_table_and_its_state_are_where_names_say", func(t *testing.T) {
		for _, key := range []string{"tables/main/demo/orders/_delta_log/00000000000000000001.json",
			"tables/main/demo/orders_quarantine/_delta_log/00000000000000000000.json"} {
			if _, ok := server.Get("lake", key); !ok {
				t.Errorf("there is no %s", key)
			}
		}
		info, err := silt.DescribeTable(t.Context(), cfg, nil)
		if err != nil || info.Rows != 11 || info.Location != "s3://lake/tables/main/demo/orders" {
			t.Errorf("got %+v, %v", info, err)
		}
		states, err := silt.States(t.Context(), silt.Config{Target: cfg.Target, Catalogs: cfg.Catalogs, Options: cfg.Options})
		if err != nil || len(states) != 1 {
			t.Fatalf("got %v, %v", states, err)
		}
		n := 0
		for f, err := range states[0].Files(t.Context()) {
			if err != nil || !strings.HasPrefix(f.Path, "s3://landing/orders/") {
				t.Errorf("got %s, %v", f.Path, err)
			}
			n++
		}
		if n != 6 {
			t.Errorf("%d files, want 6", n)
		}
	})
	t.Run("a_glob_and_a_file_are_sources_too", func(t *testing.T) {
		for source, want := range map[string]int{"s3://landing/orders/day*/*.json": 5, "s3://landing/orders/a.json": 1} {
			c := cfg
			c.Source, c.Target = source, silt.Path("s3://lake/"+fmt.Sprint(want))
			if s, err := runOnce(t, c); err != nil || s.Files.Loaded != want {
				t.Errorf("%s: got %+v, %v", source, s, err)
			}
		}
	})
}

func TestAnUnsafeStoreIsRefused(t *testing.T) {
	server, cfg := s3Config(t)
	server.Put("landing", "orders/1.json", `{"id":1}`)
	server.Relax(s3test.Lax{PutConditions: true})
	p, err := silt.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, err = p.RunOnce(t.Context())
	if unsafe := (*silt.UnsafeStoreError)(nil); !errors.As(err, &unsafe) {
		t.Errorf("got %v", err)
	}
	if keys := server.Keys("lake", ""); len(keys) > 0 {
		t.Errorf("it wrote %v", keys)
	}
}

func TestDoctor(t *testing.T) {
	server, cfg := s3Config(t)
	server.Put("landing", "orders/1.json", `{"id":1}`)
	diagnose := func(t *testing.T) string {
		t.Helper()
		findings, err := silt.Doctor(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		var bad []string
		for _, f := range findings {
			if f.Level != silt.LevelOK {
				bad = append(bad, f.Level+" "+f.What)
			}
		}
		return strings.Join(bad, ", ")
	}
	t.Run("all_is_well_before_and_after_a_run", func(t *testing.T) {
		if got := diagnose(t); got != "" || len(server.Keys("lake", "")) > 0 {
			t.Errorf("got %s, and it left %v", got, server.Keys("lake", ""))
		}
		if _, err := runOnce(t, cfg); err != nil {
			t.Fatal(err)
		}
		if got := diagnose(t); got != "" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("what_cleaning_needs_is_tried_and_leaves_nothing", func(t *testing.T) {
		was := cfg.Options
		defer func() { cfg.Options = was }()
		cfg.Options = maps.Clone(was)
		cfg.Options["cleanSource"], cfg.Options["cleanSource.moveDestination"] = "MOVE", "s3://lake/old/{yyyy}"
		if got := diagnose(t); got != "" || len(server.Keys("lake", "old")) > 0 || len(server.Keys("landing", "")) != 1 {
			t.Errorf("got %s, and it left %v", got, server.Keys("lake", "old"))
		}
		server.Inject(func(c s3test.Call) s3test.Fault {
			if c.Op == "DeleteObject" && c.Bucket == "landing" || c.Op == "PutObject" && strings.HasPrefix(c.Key, "old/") {
				return s3test.Denied
			}
			return s3test.None
		})
		got := diagnose(t)
		server.Inject(nil)
		if want := "fail delete in source, fail move to"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		cfg.Options["cleanSource.moveDestination"] = "s3://nowhere/old"
		if got := diagnose(t); got != "fail move to" {
			t.Errorf("where there is no bucket: got %s", got)
		}
	})
	t.Run("a_store_that_ignores_conditions_fails", func(t *testing.T) {
		server.Relax(s3test.Lax{PutConditions: true, DeleteConditions: true})
		defer server.Relax(s3test.Lax{})
		want := "fail checkpoint: put if absent, fail checkpoint: put if unchanged, warn checkpoint: delete if unchanged, " +
			"fail table: put if absent, fail table: put if unchanged, warn table: delete if unchanged"
		if got := diagnose(t); got != want {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a_folder_is_left_as_it_is", func(t *testing.T) {
		dir := t.TempDir()
		findings, err := silt.Doctor(t.Context(), silt.Config{Source: dir, Target: silt.Path(dir + "/../lake/t")})
		if err != nil || len(findings) < 8 {
			t.Errorf("got %v, %v", findings, err)
		}
		for _, f := range findings {
			if f.Level != silt.LevelOK {
				t.Errorf("%+v", f)
			}
		}
		if entries, _ := os.ReadDir(filepath.Dir(dir)); len(entries) > 1 {
			t.Errorf("it left %v", entries)
		}
	})
}

func TestOneListingServesARun(t *testing.T) {
	server, cfg := s3Config(t)
	cfg.Options["maxFilesPerTrigger"] = "1"
	for i := range 20 {
		server.Put("landing", fmt.Sprintf("orders/%02d.json", i), `{"id":1}`)
	}
	listings := 0
	server.Inject(func(c s3test.Call) s3test.Fault {
		if c.Op == "ListObjectsV2" && c.Bucket == "landing" {
			listings++
		}
		return s3test.None
	})
	s, err := runOnce(t, cfg)
	if err != nil || s.Batches != 20 || s.Rows != 20 {
		t.Fatalf("got %+v, %v", s, err)
	}
	// One for the run, and one for the first schema.
	if listings > 2 {
		t.Errorf("%d listings of the first run", listings)
	}
	server.Put("landing", "orders/20.json", `{"id":1}`)
	listings = 0
	if s, err = runOnce(t, cfg); err != nil || s.Rows != 1 || listings != 1 {
		t.Errorf("a run of one new file: %d listings, %+v, %v", listings, s, err)
	}
}

// A file that is written over while a batch reads it is loaded by the same run, also when other batches come
// after that one.
func TestAFileThatChangesWhileItIsReadIsLoadedByTheRun(t *testing.T) {
	server, cfg := s3Config(t)
	cfg.Options["maxFilesPerTrigger"] = "1"
	cfg.Options["schemaHints"] = "id bigint"
	cfg.Workers = 1
	for i := range 3 {
		server.Put("landing", fmt.Sprintf("orders/%d.json", i), fmt.Sprintf(`{"id":%d}`, i))
		server.Age("landing", fmt.Sprintf("orders/%d.json", i), time.Unix(int64(i), 0))
	}
	if _, err := runOnce(t, cfg); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		server.Put("landing", fmt.Sprintf("orders/1%d.json", i), fmt.Sprintf(`{"id":1%d}`, i))
		server.Age("landing", fmt.Sprintf("orders/1%d.json", i), time.Unix(int64(10+i), 0))
	}
	var changing sync.Once
	var changed atomic.Bool
	server.Inject(func(c s3test.Call) s3test.Fault {
		if c.Op != "GetObject" || c.Key != "orders/10.json" {
			return s3test.None
		}
		changing.Do(func() {
			go func() {
				server.Put("landing", "orders/10.json", `{"id":100}`)
				changed.Store(true)
			}()
		})
		if !changed.Load() {
			return s3test.SlowDown
		}
		return s3test.None
	})
	s, err := runOnce(t, cfg)
	if err != nil || s.Rows != 3 || s.Files.Vanished != 1 {
		t.Errorf("got %d rows, files %+v, %v", s.Rows, s.Files, err)
	}
}

// What is asked for while a run is under way, it does: also when batches of its listing are still to come.
func TestAFileThatIsForgottenDuringARunIsLoadedAgainByIt(t *testing.T) {
	server, cfg := s3Config(t)
	cfg.Options["maxFilesPerTrigger"] = "1"
	server.Put("landing", "orders/0.json", `{"id":0}`)
	if _, err := runOnce(t, cfg); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		server.Put("landing", fmt.Sprintf("orders/1%d.json", i), `{"id":1}`)
	}
	forget := sync.OnceFunc(func() {
		asking := cfg
		asking.Events = nil
		plans, err := silt.PlanFiles(t.Context(), asking, silt.FileRequest{Action: silt.ForgetFiles, Files: []string{"0.json"}})
		if err == nil {
			err = plans[0].Put(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
	})
	cfg.Events = func(e silt.Event) {
		if _, ok := e.(silt.BatchCommitted); ok {
			forget()
		}
	}
	if s, err := runOnce(t, cfg); err != nil || s.Rows != 4 {
		t.Errorf("got %d rows, want those of 3 new files and of the one that was forgotten, %v", s.Rows, err)
	}
}

// TestS3Faults makes each kind of fault happen again and again, runs until a run ends well, and wants
// every row once.
func TestS3Faults(t *testing.T) {
	for _, f := range s3test.Faults() {
		if f == s3test.HangFor100ms {
			continue
		}
		t.Run(f.String(), func(t *testing.T) {
			server, cfg := s3Config(t)
			cfg.Options["maxFilesPerTrigger"] = "2"
			for i := range 6 {
				server.Put("landing", fmt.Sprintf("orders/%d.json", i), fmt.Sprintf("{\"id\":%d}\nno record\n", i))
			}
			for every := 5; ; every += 30 {
				n := 0
				server.Inject(func(c s3test.Call) s3test.Fault {
					if n++; n%every == 0 {
						return f
					}
					return s3test.None
				})
				s, err := runOnce2(t, cfg)
				server.Settle()
				if err == nil && s.Files.Found == 0 {
					break
				}
				if every > 3000 {
					t.Fatalf("it does not come to an end: %v", err)
				}
			}
			server.Inject(nil)
			if s, err := runOnce(t, cfg); err != nil || s.Files.Found != 0 {
				t.Errorf("without faults: %+v, %v", s, err)
			}
			info, err := silt.DescribeTable(t.Context(), cfg, nil)
			if err != nil || info.Rows != 6 {
				t.Errorf("got %+v, %v, want 6 rows", info, err)
			}
			bad := 0
			for _, err := range silt.Quarantine(t.Context(), cfg) {
				if err != nil {
					t.Fatal(err)
				}
				bad++
			}
			if bad != 6 {
				t.Errorf("%d records in quarantine, want 6", bad)
			}
		})
	}
}

// runOnce2 is runOnce for runs that may fail to open their checkpoint.
func runOnce2(t *testing.T, cfg silt.Config) (*silt.Summary, error) {
	t.Helper()
	s, err := runOnce(t, cfg)
	if s == nil {
		s = new(silt.Summary)
	}
	return s, err
}
