package silt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
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

// rows are the rows of the table as JSON, without NULLs and without the named columns.
func (l *lab) rows(without ...string) []string {
	l.t.Helper()
	s, err := delta.Load(l.t.Context(), objstore.NewDir(l.cfg.Target.Path), delta.LoadOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for rec, err := range s.Scan(delta.ScanOptions{}).Batches(l.t.Context()) {
		if err != nil {
			l.t.Fatal(err)
		}
		text, err := rec.MarshalJSON()
		rec.Release()
		if err != nil {
			l.t.Fatal(err)
		}
		var rows []map[string]any
		if err := json.Unmarshal(text, &rows); err != nil {
			l.t.Fatal(err)
		}
		for _, row := range rows {
			for _, name := range append(without, "ingestion_timestamp", "source_file") {
				delete(row, name)
			}
			text, err := json.Marshal(trim(row))
			if err != nil {
				l.t.Fatal(err)
			}
			out = append(out, strings.ReplaceAll(string(text), "file://"+l.cfg.Source+"/", ""))
		}
	}
	slices.Sort(out)
	return out
}

// trim removes nulls.
func trim(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil {
				delete(v, k)
			} else {
				v[k] = trim(x)
			}
		}
	case []any:
		for i := range v {
			v[i] = trim(v[i])
		}
	}
	return v
}

func (l *lab) want(rows ...string) {
	l.t.Helper()
	if diff := cmp.Diff(rows, l.rows()); diff != "" {
		l.t.Errorf("rows of the table (-want +got):\n%s", diff)
	}
}

func (l *lab) quarantine() []silt.QuarantinedRecord {
	l.t.Helper()
	var all []silt.QuarantinedRecord
	for q, err := range silt.Quarantine(l.t.Context(), l.cfg) {
		if err != nil {
			l.t.Fatal(err)
		}
		all = append(all, q)
	}
	return all
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

func TestLoad(t *testing.T) {
	t.Run("what_does_not_fit_is_rescued_and_counted", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1,"geo":{"lat":1.5}}`+"\n")
		l.run()
		l.file("2.json", `{"id":"x","geo":{"lat":"n/a"}}`+"\n"+`{"ID":3,"geo":7}`+"\n")
		s := l.run()
		l.want(
			`{"_rescued_data":"{\"ID\":3,\"geo\":7,\"_file_path\":\"2.json\"}"}`,
			`{"_rescued_data":"{\"id\":\"x\",\"geo\":{\"lat\":\"n/a\"},\"_file_path\":\"2.json\"}","geo":{}}`,
			`{"geo":{"lat":1.5},"id":1}`)
		if s.Rescued.Rows != 2 || len(s.Rescued.Paths) != 4 {
			t.Errorf("rescued %+v", s.Rescued)
		}
	})
	t.Run("a_name_in_other_letters_than_its_column_is_told_as_such", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1,"l":[{"k":1}]}`+"\n")
		l.run()
		l.cfg.Options = map[string]string{"schemaEvolutionMode": "rescue"}
		l.file("2.json", `{"ID":2,"l":[{"K":2}],"new":1}`+"\n")
		got := map[string]string{}
		for _, p := range l.run().Rescued.Paths {
			got[p.Path] = p.Reason
		}
		if diff := cmp.Diff(map[string]string{"ID": "case", "l.element.K": "case", "new": "unknown"}, got); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
	})
	t.Run("a_corrupt_record_is_quarantined_with_its_text_and_place", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1}`+"\n"+`{"id":2,,}`+"\n"+`{"id":3}`+"\n")
		s := l.run()
		l.want(`{"id":1}`, `{"id":3}`)
		if s.Records.Read != 3 || s.Records.Loaded != 2 || s.Records.Quarantined != 1 || s.Files.WithBad != 1 {
			t.Errorf("counts %+v %+v", s.Records, s.Files)
		}
		q := l.quarantine()
		if len(q) != 1 || string(q[0].Record) != `{"id":2,,}` || q[0].Line != 2 || q[0].Offset != 9 || q[0].Reason != "not JSON" {
			t.Fatalf("quarantine %+v", q)
		}
	})
	t.Run("a_corrupt_record_goes_to_its_column_when_a_hint_asks_for_it", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"schemaHints": "_corrupt_record string"}
		l.file("1.json", `{"id":1}`+"\n"+`{"id":`+"\n"+`{"id":3}`+"\n")
		l.run()
		l.want(`{"_corrupt_record":"{\"id\":"}`, `{"id":1}`, `{"id":3}`)
	})
	t.Run("mode_rescue_keeps_the_schema", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"cloudFiles.schemaEvolutionMode": "rescue"}
		l.file("1.json", `{"id":1}`+"\n")
		l.run()
		l.file("2.json", `{"id":2,"new":{"a":[1]}}`+"\n")
		s := l.run()
		l.want(`{"_rescued_data":"{\"new\":{\"a\":[1]},\"_file_path\":\"2.json\"}","id":2}`, `{"id":1}`)
		if len(s.Schema.Added) != 0 || s.Schema.To != 0 {
			t.Errorf("schema %+v", s.Schema)
		}
	})
	t.Run("mode_failOnNewColumns_stops_and_writes_nothing", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"schemaEvolutionMode": "failOnNewColumns"}
		l.file("1.json", `{"id":1}`+"\n")
		l.run()
		l.file("2.json", `{"id":2,"new":1}`+"\n")
		_, err := l.tryRun()
		var stop *silt.NewColumnsError
		if !errors.As(err, &stop) || stop.Fields[0].Path != "new" || stop.Fields[0].Line != 1 {
			t.Errorf("error %v", err)
		}
		l.want(`{"id":1}`)
		l.cfg.Options = nil
		l.run()
		l.want(`{"id":1}`, `{"id":2,"new":1}`)
	})
	t.Run("hints_type_columns_and_nested_fields", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"schemaHints": "at timestamp, v.soc double, tags map<string,string>, absent.x int"}
		l.file("1.json", `{"id":1,"at":"2024-01-02T03:04:05Z","v":{"soc":80},"tags":{"a":"b"}}`+"\n")
		l.run()
		want := "at TIMESTAMP,id BIGINT,tags MAP<STRING, STRING>,v STRUCT<soc: DOUBLE>,absent STRUCT<x: INT>,_rescued_data STRING,ingestion_timestamp TIMESTAMP,source_file STRING"
		if got := l.schema(); got != want {
			t.Errorf("schema\n got %s\nwant %s", got, want)
		}
	})
	t.Run("a_field_that_was_only_null_or_empty_is_pending", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1,"a":[],"b":{},"c":null}`+"\n")
		s := l.run()
		l.want(`{"_rescued_data":"{\"a\":[],\"b\":{},\"_file_path\":\"1.json\"}","id":1}`)
		if !slices.Equal(s.Schema.Pending, []string{"a", "b", "c"}) {
			t.Errorf("pending %q", s.Schema.Pending)
		}
		l.file("2.json", `{"id":2,"a":[1.5],"b":{"x":true}}`+"\n")
		l.run()
		l.want(`{"_rescued_data":"{\"a\":[],\"b\":{},\"_file_path\":\"1.json\"}","id":1}`, `{"a":[1.5],"b":{"x":true},"id":2}`)
	})
	t.Run("the_limits_of_a_batch_do_not_show_in_the_rows", func(t *testing.T) {
		var first []string
		for _, limit := range []string{"1", "2", "1000"} {
			l := newLab(t)
			l.cfg.Options = map[string]string{"maxFilesPerTrigger": limit}
			l.file("1.json", `{"a":1}`+"\n")
			l.file("2.json", `{"a":1.5,"b":1}`+"\n")
			l.file("3.json", `{"a":"x","b":{"c":1}}`+"\n")
			s := l.run()
			if s.Files.Loaded != 3 || s.Files.Found != 3 {
				t.Errorf("limit %s: files %+v", limit, s.Files)
			}
			if first == nil {
				first = l.rows()
			} else {
				l.want(first...)
			}
		}
	})
	t.Run("a_truncated_gzip_loads_nothing_and_the_batch_goes_on", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1}`+"\n")
		l.file("2.json.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV")
		for try := 1; try <= 6; try++ {
			s := l.run()
			given := s.Files.Quarantined == 1
			if try < 5 && s.Files.Failed != 1 || given != (try == 5) {
				t.Errorf("try %d: files %+v", try, s.Files)
			}
		}
		l.want(`{"id":1}`)
		if q := l.quarantine(); len(q) != 1 || q[0].Reason != "file" {
			t.Errorf("quarantine %+v", q)
		}
	})
	t.Run("a_field_named_as_a_column_of_ours_is_rescued", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1,"source_file":"mine","_rescued_data":5}`+"\n")
		l.run()
		l.want(`{"_rescued_data":"{\"source_file\":\"mine\",\"_rescued_data\":5,\"_file_path\":\"1.json\"}","id":1}`)
	})
	t.Run("a_name_that_needs_mapping_makes_a_mapped_table_and_is_rescued_in_another", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"a b":1}`+"\n")
		l.run()
		l.want(`{"a b":1}`)
		l = newLab(t)
		l.file("1.json", `{"a":1}`+"\n")
		l.run()
		l.file("2.json", `{"a":2,"a b":1,"s":{"x,y":1,"z":2}}`+"\n")
		l.run()
		l.want(`{"_rescued_data":"{\"a b\":1,\"s\":{\"x,y\":1},\"_file_path\":\"2.json\"}","a":2,"s":{"z":2}}`, `{"a":1}`)
	})
	t.Run("an_existing_table_gives_its_types_as_hints", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"schemaHints": "id string"}
		l.file("1.json", `{"id":"a"}`+"\n")
		l.run()
		l.cfg.Name, l.cfg.Options, l.cfg.FromScratch = "another", nil, true
		l.file("1.json", `{"id":7}`+"\n")
		l.run()
		l.want(`{"id":"7"}`, `{"id":"a"}`)
	})
	t.Run("a_changed_file_is_told_of_and_loaded_only_when_asked", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1}`+"\n")
		l.run()
		l.file("1.json", `{"id":1}`+"\n"+`{"id":2}`+"\n")
		if s := l.run(); s.Files.Changed != 1 || s.Batches != 0 || len(s.Warnings) != 1 {
			t.Errorf("summary %+v", s)
		}
		l.cfg.Options = map[string]string{"allowOverwrites": "true"}
		l.run()
		l.want(`{"id":1}`, `{"id":1}`, `{"id":2}`)
	})
	t.Run("a_file_that_ends_inside_a_record_waits_while_it_is_young", func(t *testing.T) {
		l := newLab(t)
		l.clock = time.Now().Add(-time.Minute)
		l.file("1.json", `{"id":1}`+"\n"+`{"id":`)
		if s := l.run(); s.Files.Deferred != 1 || s.Rows != 0 {
			t.Errorf("young: %+v", s.Files)
		}
		l.clock = time.Now().Add(-time.Hour)
		l.file("1.json", `{"id":1}`+"\n"+`{"id":`)
		if s := l.run(); s.Files.Loaded != 1 || s.Records.Quarantined != 1 {
			t.Errorf("old: %+v %+v", s.Files, s.Records)
		}
		l.want(`{"id":1}`)
	})
	t.Run("a_replaced_table_stops_the_run_of_a_batch_planned_before", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1}`+"\n")
		l.run()
		if _, err := silt.Open(t.Context(), silt.Config{Source: l.dir, Target: l.cfg.Target}); err == nil {
			t.Error("a table inside the source is accepted")
		}
	})
}

func TestWatch(t *testing.T) {
	l := newLab(t)
	l.cfg.Poll = time.Millisecond
	committed := make(chan silt.BatchCommitted, 10)
	started := false
	l.cfg.Events = func(e silt.Event) {
		switch e := e.(type) {
		case silt.RunStarted:
			started = true
		case silt.RunFinished:
			started = false
		case silt.BatchCommitted:
			if !started {
				t.Error("a batch is committed before its run has started")
			}
			committed <- e
		}
	}
	p, err := silt.Open(t.Context(), l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- p.Watch(t.Context()) }()
	for i, content := range []string{`{"id":1}`, `{"id":2,"new":true}`} {
		l.file(string(rune('a'+i))+".json", content+"\n")
		if c := <-committed; c.Version == nil || *c.Version != int64(i) || c.Rows != 1 {
			t.Errorf("batch %+v", c)
		}
	}
	p.Stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.want(`{"id":1}`, `{"id":2,"new":true}`)
	states, err := silt.States(t.Context(), l.cfg)
	if err != nil || len(states) != 1 {
		t.Fatalf("%d states, error %v", len(states), err)
	}
	runs, err := states[0].Runs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := int64(0)
	for _, r := range runs { // one or two, as the second file came before or after the first round was over
		rows += r.Rows
	}
	if rows != 2 {
		t.Errorf("%d runs tell of %d rows, want 2", len(runs), rows)
	}
}

// canonicalJSON is JSON with sorted keys and without blanks.
func canonicalJSON(t *testing.T, text []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestALargeFileIsReadInParts(t *testing.T) {
	const lines, badLine, newLine = 300_000, 290_001, 150_001 // from 1
	var b strings.Builder
	for i := range lines {
		switch i + 1 {
		case badLine:
			b.WriteString(`{"id":` + "\n")
		case newLine:
			b.WriteString(`{"id":5,"new":true,"pad":"` + strings.Repeat("x", 40) + `"}` + "\n")
		default:
			b.WriteString(`{"id":5,"pad":"` + strings.Repeat("x", 40) + `"}` + "\n")
		}
	}
	l := newLab(t)
	l.cfg.Workers = 3
	l.file("0.json", `{"id":5,"pad":"x"}`+"\n")
	l.run()
	l.file("1.json", b.String())
	s := l.run()
	if s.Files.Loaded != 1 || s.Records.Read != lines || s.Rows != lines-1 || s.Bytes != int64(b.Len()) {
		t.Errorf("files %+v, records %+v, rows %d, bytes %d of %d", s.Files, s.Records, s.Rows, s.Bytes, b.Len())
	}
	if len(s.Schema.Added) != 1 || s.Schema.Added[0].Line != newLine {
		t.Errorf("added %+v", s.Schema.Added)
	}
	if q := l.quarantine(); len(q) != 1 || q[0].Line != badLine || q[0].Offset != int64(strings.Index(b.String(), `{"id":`+"\n")) {
		t.Errorf("quarantine %+v", q)
	}
	info, err := silt.DescribeTable(t.Context(), l.cfg, nil)
	if err != nil || info.Rows != lines || info.Files < 4 {
		t.Errorf("table %+v, error %v: the file was not read in parts", info, err)
	}
}

func TestWhatFreshEyesFound(t *testing.T) {
	t.Run("one_very_wide_record_takes_no_column_from_the_others", func(t *testing.T) {
		l := newLab(t)
		var b strings.Builder
		b.WriteString(`{"k":2`)
		for i := range 1500 {
			fmt.Fprintf(&b, `,"w%d":1`, i)
		}
		l.file("1.json", `{"k":1,"v":1}`+"\n"+b.String()+"}\n")
		if s := l.run(); s.Schema.Columns != 1502 || s.Rescued.Rows != 0 {
			t.Errorf("%d columns, rescued %+v", s.Schema.Columns, s.Rescued)
		}
	})
	t.Run("names_that_lower_to_the_same_are_one_column", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"İ":1}`)
		l.run()
		l.file("2.json", `{"i̇":2}`)
		if s := l.run(); len(s.Schema.Added) != 0 || s.Rescued.Rows != 1 {
			t.Errorf("schema %+v", s.Schema)
		}
	})
	t.Run("values_that_hinted_types_would_change_are_rescued", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"schemaHints": "f float, b binary, t timestamp"}
		l.file("1.json", `{"f":16777217}`+"\n"+`{"f":0.1}`+"\n"+`{"b":"NaN"}`+"\n"+`{"b":"aGk="}`+"\n"+`{"t":1704067200123}`+"\n"+`{"t":1704067200}`+"\n")
		if s := l.run(); s.Rescued.Rows != 3 {
			t.Errorf("rescued %+v", s.Rescued)
		}
	})
	t.Run("a_record_above_the_limit_is_quarantined_although_it_is_in_memory", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"maxRecordBytes": "1k"}
		l.file("1.json", `{"k":"`+strings.Repeat("x", 5000)+`"}`+"\n"+`{"k":"y"}`+"\n")
		if s := l.run(); s.Records.Quarantined != 1 || s.Rows != 1 {
			t.Errorf("records %+v", s.Records)
		}
	})
	t.Run("a_file_that_was_given_up_and_then_mended_is_loaded", func(t *testing.T) {
		l := newLab(t)
		whole := zipped(`{"k":1}` + "\n")
		l.file("1.json.gz", whole[:15])
		for range 5 {
			l.run()
		}
		l.file("1.json.gz", whole)
		if s := l.run(); s.Files.Loaded != 1 || s.Files.Changed != 0 {
			t.Errorf("files %+v", s.Files)
		}
		l.want(`{"k":1}`)
	})
	t.Run("a_table_that_is_gone_stops_the_next_load", func(t *testing.T) {
		l := newLab(t)
		l.cfg.CheckpointLocation = filepath.Join(l.dir, "checkpoint")
		l.file("1.json", `{"k":1}`)
		l.run()
		if err := os.RemoveAll(l.cfg.Target.Path); err != nil {
			t.Fatal(err)
		}
		l.file("2.json", `{"k":2}`)
		_, err := l.tryRun()
		var gone *silt.ReplacedError
		if !errors.As(err, &gone) || gone.Found != "gone" {
			t.Errorf("error %v", err)
		}
		if err := os.RemoveAll(l.cfg.CheckpointLocation); err != nil {
			t.Fatal(err)
		}
		l.run()
		l.want(`{"k":1}`, `{"k":2}`)
	})
}
