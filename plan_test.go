package silt_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/schema"
)

func (l *lab) plan(full bool) *silt.Plan {
	l.t.Helper()
	p, err := silt.Open(l.t.Context(), l.cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	defer p.Close()
	plan, err := p.Plan(l.t.Context(), silt.PlanOptions{Full: full})
	if err != nil {
		l.t.Fatal(err)
	}
	return plan
}

func TestPlan(t *testing.T) {
	t.Run("a_plan_of_a_first_run_tells_the_schema_and_writes_nothing", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1,"v":{"soc":80},"e":[]}`+"\n"+`{"id":2,,}`+"\n")
		p := l.plan(false)
		if p.TableVersion != -1 || p.Files.New != 1 || p.Schema.From != -1 || p.Schema.To != 0 || len(p.Schema.Added) != 2 {
			t.Errorf("plan %+v", p)
		}
		if got := strings.Join(p.WholeNumbers, " "); got != "id v.soc" {
			t.Errorf("whole numbers %q", got)
		}
		if p.Read.Records != 2 || p.Read.Quarantine != 1 || len(p.Bad) != 1 || p.Bad[0].Line != 2 || !p.Read.Full {
			t.Errorf("read %+v, bad %+v", p.Read, p.Bad)
		}
		if len(p.Differences) == 0 || len(p.Schema.Pending) != 1 {
			t.Errorf("differences %q, pending %q", p.Differences, p.Schema.Pending)
		}
		if _, err := os.Stat(l.cfg.Target.Path); err == nil {
			t.Error("there is a table")
		}
	})
	t.Run("a_torn_file_that_may_still_be_written_waits_in_a_plan_as_in_a_run", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1}`+"\n")
		l.file("2.json", `{"id":2}`+"\n"+`{"id":`)
		now := time.Now()
		if err := os.Chtimes(filepath.Join(l.cfg.Source, "2.json"), now, now); err != nil {
			t.Fatal(err)
		}
		p := l.plan(false)
		if p.Read.Records != 1 || p.Read.Quarantine != 0 || len(p.Unreadable) != 1 || !strings.Contains(p.Unreadable[0].Error, "may still be written") {
			t.Errorf("read %+v, unreadable %+v", p.Read, p.Unreadable)
		}
		if s := l.run(); s.Records.Read != 1 || s.Files.Deferred != 1 {
			t.Errorf("the run: %+v, %+v", s.Records, s.Files)
		}
	})
	t.Run("a_plan_does_not_repeat_advice_that_was_taken", func(t *testing.T) {
		l := newLab(t)
		text := `{"m":1}` + "\n" + `{"m":"x"}` + "\n"
		for i := range 60 {
			text += fmt.Sprintf(`{"by":{"%08x-77":{"v":1.5}}}`+"\n", i)
		}
		l.file("1.json", text)
		if p := l.plan(false); len(p.Wide) != 1 || len(p.Mixed) != 1 {
			t.Errorf("plan tells of %+v and %+v", p.Wide, p.Mixed)
		}
		l.cfg.Options = map[string]string{"schemaHints": "m string, by map<string, struct<v: double>>"}
		if p := l.plan(false); len(p.Wide) != 0 || len(p.Mixed) != 0 {
			t.Errorf("plan still tells of %+v and %+v", p.Wide, p.Mixed)
		}
	})
	t.Run("a_plan_says_what_the_run_then_does", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1,"v":{"soc":80}}`+"\n")
		l.run()
		l.file("2.json", `{"id":"x","v":{"soc":80.5,"t":1.5},"firmware":"1"}`+"\n")
		p := l.plan(false)
		s := l.run()
		if len(p.Schema.Added) != 2 || p.Schema.Added[0].Path != s.Schema.Added[0].Path || p.Schema.Added[1] != s.Schema.Added[1] || p.Schema.To != s.Schema.To {
			t.Errorf("planned %+v, done %+v", p.Schema, s.Schema)
		}
		if len(p.Conflicts) != 2 || p.Conflicts[0].Path != "id" || p.Conflicts[1].Path != "v.soc" || p.Read.Rescued != s.Rescued.Rows {
			t.Errorf("conflicts %+v", p.Conflicts)
		}
		if again := l.plan(true); again.Files.New != 0 || len(again.Schema.Added) != 0 {
			t.Errorf("after the run: %+v", again)
		}
	})
	t.Run("an_object_keyed_by_ids_is_told_with_a_hint_for_a_map", func(t *testing.T) {
		l := newLab(t)
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, `{"id":%d,"readings":{"sensor-%03d":1.5,"sensor-%03d":2}}`+"\n", i, i, i+1)
		}
		l.file("1.json", b.String())
		p := l.plan(false)
		if len(p.Wide) != 1 || p.Wide[0].Hint != "readings map<string, double>" || p.Wide[0].Keys != 101 || p.Wide[0].Line != 1 {
			t.Fatalf("wide %+v", p.Wide)
		}
		l.cfg.Options = map[string]string{"schemaHints": p.Wide[0].Hint}
		l.run()
		if got := l.schema(); !strings.Contains(got, "readings MAP<STRING, DOUBLE>") {
			t.Errorf("schema %s", got)
		}
	})
	t.Run("the_sequence_of_a_change_is_no_number_that_could_get_fractions", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"unwrap": "dynamodb"}
		l.file("1.json", `{"eventName":"INSERT","dynamodb":{"Keys":{"id":{"S":"a"}},"NewImage":{"id":{"S":"a"},"n":{"N":"5"}},"SequenceNumber":"111"}}`+"\n")
		if p := l.plan(false); strings.Join(p.WholeNumbers, " ") != "n" || schema.At(p.SourceSchema, []string{"_sequence"}) != schema.Long {
			t.Errorf("whole numbers %q in %s", p.WholeNumbers, p.SourceSchema)
		}
	})
	t.Run("a_large_source_is_read_in_part", func(t *testing.T) {
		l := newLab(t)
		for i := range 900 {
			l.file(fmt.Sprintf("%03d.json", i), `{"id":1}`+"\n")
		}
		if p := l.plan(false); p.Read.Full || p.Read.Files > 400 || p.Read.Files < 200 || p.Files.New != 900 {
			t.Errorf("read %+v of %+v", p.Read, p.Files)
		}
		if p := l.plan(true); !p.Read.Full || p.Read.Files != 900 {
			t.Errorf("full: read %+v of %+v", p.Read, p.Files)
		}
	})
}
