package silt_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/siltlake/silt"
)

// lab is a source folder, a table and the events of the runs between them.
type lab struct {
	t      *testing.T
	dir    string
	cfg    silt.Config
	events []silt.Event
	clock  time.Time
}

func newLab(t *testing.T) *lab {
	dir := t.TempDir()
	l := &lab{t: t, dir: dir, clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	l.cfg = silt.Config{
		Source: filepath.Join(dir, "in"), Target: silt.Path(filepath.Join(dir, "table")), TempDir: t.TempDir(),
		Events: func(e silt.Event) { l.events = append(l.events, e) },
	}
	if err := os.Mkdir(l.cfg.Source, 0o777); err != nil {
		t.Fatal(err)
	}
	return l
}

// file puts a file into the source, older than any grace.
func (l *lab) file(name, content string) {
	l.t.Helper()
	path := filepath.Join(l.cfg.Source, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		l.t.Fatal(err)
	}
	l.clock = l.clock.Add(time.Second)
	if err := os.Chtimes(path, l.clock, l.clock); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) tryRun() (*silt.Summary, error) {
	l.t.Helper()
	p, err := silt.Open(l.t.Context(), l.cfg)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.RunOnce(l.t.Context())
}

func (l *lab) run() *silt.Summary {
	l.t.Helper()
	s, err := l.tryRun()
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

func (l *lab) schema() string {
	l.t.Helper()
	info, err := silt.DescribeTable(context.Background(), l.cfg, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return info.Schema.DDL()
}

func TestANewFieldLandsInTheSameCommitAsItsFirstRows(t *testing.T) {
	l := newLab(t)
	l.file("a.json", `{"id":1,"v":{"x":1}}`+"\n")
	if s := l.run(); s.Rows != 1 || s.Records.Read != 1 || len(s.Commits) != 1 {
		t.Fatalf("first run: %+v", s)
	}
	l.file("b.json", `{"id":2,"v":{"x":2,"y":"new"},"w":[{"k":1.5}]}`+"\n")
	s := l.run()
	if len(s.Commits) != 1 || s.Commits[0].Version != 1 {
		t.Fatalf("second run: commits %+v", s.Commits)
	}
	want := "id BIGINT,v STRUCT<x: BIGINT, y: STRING>,_rescued_data STRING,ingestion_timestamp TIMESTAMP,source_file STRING,w ARRAY<STRUCT<k: DOUBLE>>"
	if got := l.schema(); got != want {
		t.Errorf("schema\n got %s\nwant %s", got, want)
	}
	if got := l.run(); got.Batches != 0 {
		t.Errorf("a third run loads %d batches, want none", got.Batches)
	}
}
