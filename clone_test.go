package silt_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

// shallowClone is a lab whose table is a shallow clone of l's: its log names the data files of l's table.
func shallowClone(t *testing.T, l *lab) *lab {
	c := newLab(t)
	table := l.cfg.Target.Path
	commits, err := filepath.Glob(filepath.Join(table, "_delta_log", "*.json"))
	if err != nil || len(commits) == 0 {
		t.Fatalf("%d commits, %v", len(commits), err)
	}
	for _, name := range commits {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(text, []byte(`{"add":{"path":"`), []byte(`{"add":{"path":"file://`+table+`/`))
		to := filepath.Join(c.cfg.Target.Path, "_delta_log", filepath.Base(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestAShallowClone(t *testing.T) {
	l := twoLoads(t)
	want := l.rows()
	c := shallowClone(t, l)
	check := func(l *lab) {
		t.Helper()
		r, err := silt.CheckTable(t.Context(), l.cfg, silt.CheckOptions{Rows: true})
		if err != nil || len(r.Findings) > 0 || r.Rows != 2 {
			t.Errorf("checked: %+v, %v", r, err)
		}
	}
	check(c)
	if _, err := silt.OptimizeTable(t.Context(), c.cfg, silt.OptimizeOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := silt.VacuumTable(t.Context(), c.cfg, silt.VacuumOptions{Force: true}); err != nil {
		t.Error(err)
	}
	check(c)
	if got := c.rows(); !slices.Equal(got, want) {
		t.Errorf("it has %v, want %v", got, want)
	}
	check(l) // whose files the clone's vacuum leaves alone
}

func TestATableInS3NamesNoFileOfThisMachine(t *testing.T) {
	server, cfg := s3Config(t)
	l := twoLoads(t)
	parquet, err := filepath.Glob(filepath.Join(l.cfg.Target.Path, "*.parquet"))
	if err != nil || len(parquet) == 0 {
		t.Fatal(parquet, err)
	}
	server.Put("landing", "orders/a.json", `{"id":1}`)
	if _, err := runOnce(t, cfg); err != nil {
		t.Fatal(err)
	}
	server.Put("lake", "tables/main/demo/orders/_delta_log/00000000000000000001.json",
		`{"add":{"path":"file://`+parquet[0]+`","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}`+"\n")
	r, err := silt.CheckTable(t.Context(), cfg, silt.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Problem, "is on this machine, and its table in S3") {
		t.Errorf("found %+v", r.Findings)
	}
}
