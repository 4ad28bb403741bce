//go:build duckdb_arrow

package silt_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// table makes the table of the lab, empty.
func (l *lab) table(columns string, properties map[string]string) *delta.Snapshot {
	l.t.Helper()
	s, err := schema.ParseDDL(columns)
	if err != nil {
		l.t.Fatal(err)
	}
	tx, err := delta.NewTable(objstore.NewDir(l.cfg.Target.Path), delta.TableOptions{Schema: s, Properties: properties})
	if err != nil {
		l.t.Fatal(err)
	}
	snapshot, err := tx.Commit(l.t.Context(), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return snapshot
}

func TestConstraints(t *testing.T) {
	const columns = "id BIGINT NOT NULL, v STRUCT<x: BIGINT NOT NULL>, n BIGINT, g BIGINT GENERATED ALWAYS AS (n + 1)"
	check := map[string]string{"delta.constraints.positive": "n > 0"}
	lines := `{"id":1,"n":1}` + "\n" + `{"n":2}` + "\n" + `{"id":3,"v":{"y":1},"n":3}` + "\n" + `{"id":4,"n":-4}` + "\n" + `{"id":null,"n":0}` + "\n"
	t.Run("a_row_that_breaks_a_rule_of_the_table_is_quarantined", func(t *testing.T) {
		l := newLab(t)
		l.table(columns, check)
		l.cfg.Target.Expect = expect("one", "n <> 1 OR id = 1", "")
		l.file("a.json", lines)
		s := l.run()
		l.want(`{"g":2,"id":1,"n":1}`)
		want := "5 = 1 + 4 + 0 one 5/0 NOT NULL id 3/2 NOT NULL v.x 4/1 positive 3/2"
		if got := found(s.Expect); got != want {
			t.Errorf("found %s, want %s", got, want)
		}
		if s.Records != (silt.RecordCounts{Read: 5, Loaded: 1, Quarantined: 4}) {
			t.Errorf("records %+v", s.Records)
		}
		q := l.quarantine()
		if len(q) != 4 || q[0].Reason != "constraint" || q[0].Line != 2 || string(q[0].Record) != `{"n":2}` || q[0].Rules[0] != "NOT NULL id" ||
			strings.Join(q[3].Rules, ",") != "positive,NOT NULL id" || !strings.Contains(q[2].Detail, "n = -4") {
			t.Errorf("quarantine %+v", q)
		}
		l.file("b.json", `{"id":6,"n":6,"g":8}`+"\n"+`{"id":6,"n":6,"g":7}`+"\n")
		if got, want := found(l.run().Expect), "2 = 1 + 1 + 0 one 2/0 g 1/1"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
	})
	t.Run("or_it_stops_the_batch", func(t *testing.T) {
		for _, how := range []string{"option", "compat"} {
			l := newLab(t)
			l.table(columns, check)
			if l.cfg.Target.OnConstraint = "fail"; how == "compat" {
				l.cfg.Target.OnConstraint, l.cfg.Compat = "", "autoloader"
				l.cfg.Options = map[string]string{"schema": "id BIGINT, n BIGINT"}
			}
			l.file("a.json", `{"id":1,"n":1}`+"\n"+`{"id":1,"n":-1}`+"\n")
			_, err := l.tryRun()
			var broken *delta.ConstraintError
			if !errors.As(err, &broken) || broken.Name != "positive" || !strings.Contains(err.Error(), "a.json line 2") {
				t.Errorf("%s: got %v", how, err)
			}
			l.want()
		}
	})
	t.Run("behind_SQL_and_of_SQL_over_the_whole_batch", func(t *testing.T) {
		l := newLab(t)
		l.table("id BIGINT, n BIGINT", check)
		l.cfg.Transform = "SELECT id, unnest(range(-1, id)) AS n FROM source"
		l.file("a.json", `{"id":3}`+"\n"+`{"id":1}`+"\n")
		s := l.run()
		l.want(`{"id":3,"n":1}`, `{"id":3,"n":2}`)
		if got, want := found(s.Expect), "6 = 2 + 4 + 0 positive 2/4"; got != want || s.Records.Quarantined != 2 || len(l.quarantine()) != 2 {
			t.Errorf("found %s, want %s; records %+v", got, want, s.Records)
		}
		l.cfg.Transform = "SELECT id, count(*) - 1 AS n FROM source GROUP BY id"
		l.file("b.json", `{"id":7}`+"\n"+`{"id":8}`+"\n"+`{"id":8}`+"\n")
		if got, want := found(l.run().Expect), "2 = 1 + 1 + 0 positive 1/1"; got != want {
			t.Errorf("found %s, want %s", got, want)
		}
	})
	t.Run("before_a_merge_as_far_as_the_row_tells", func(t *testing.T) {
		l := newLab(t)
		l.table("id BIGINT NOT NULL, n BIGINT, name STRING NOT NULL, op STRING", check)
		l.cfg.Target.Write = "merge"
		l.cfg.Target.Merge = silt.Merge{Keys: []string{"id"}, DeleteWhen: "source.op = 'D'"}
		l.file("a.json", `{"id":1,"n":1,"name":"a","op":"U"}`+"\n"+`{"id":2,"n":-2,"name":"b"}`+"\n"+`{"id":3,"n":3}`+"\n"+`{"id":4,"n":4,"name":"d"}`+"\n")
		s := l.run()
		l.want(`{"id":1,"n":1,"name":"a","op":"U"}`, `{"id":4,"n":4,"name":"d"}`)
		if got, want := found(s.Expect), "4 = 2 + 2 + 0 NOT NULL name 3/1 positive 3/1"; got != want || s.Records.Quarantined != 2 || s.Merge.Rows != 2 {
			t.Errorf("found %s, want %s; %+v, %+v", got, want, s.Records, s.Merge)
		}
		l.cfg.Target.Merge.IgnoreNullUpdates = true // a NULL may be a value that stays: only the merge can tell
		l.file("b.json", `{"id":4,"n":4}`+"\n")
		l.run()
		l.file("c.json", `{"id":9,"n":9}`+"\n")
		var staged *silt.StagedRowError
		if _, err := l.tryRun(); !errors.As(err, &staged) || staged.Batch != 2 || !errors.Is(err, delta.ErrNotNull) {
			t.Errorf("a new row without a name: got %v", err)
		}
		l.cfg.Target.Merge.IgnoreNullUpdates = false
		l.alter(func(m *delta.Metadata) {
			m.SchemaString = strings.Replace(m.SchemaString, `"name":"name","type":"string","nullable":false`, `"name":"name","type":"string","nullable":true`, 1)
		})
		l.run()
		l.want(`{"id":1,"n":1,"name":"a","op":"U"}`, `{"id":4,"n":4,"name":"d"}`, `{"id":9,"n":9}`)
		l.file("d.json", `{"id":9,"op":"D"}`+"\n"+`{"id":1,"op":"D"}`+"\n"+`{"id":4,"n":5,"name":"e"}`+"\n")
		l.run()
		l.want(`{"id":4,"n":5,"name":"e"}`)
	})
}

// alter commits another metadata of the table.
func (l *lab) alter(change func(m *delta.Metadata)) {
	store := objstore.NewDir(l.cfg.Target.Path)
	s, err := delta.Load(context.Background(), store, delta.LoadOptions{})
	if err != nil {
		l.t.Error(err)
		return
	}
	m := *s.Metadata()
	m.Configuration = maps.Clone(m.Configuration)
	change(&m)
	line, _ := json.Marshal(map[string]any{"metaData": m})
	if _, err := store.Put(context.Background(), fmt.Sprintf("_delta_log/%020d.json", s.Version()+1), bytes.NewReader(line), objstore.Cond{IfAbsent: true}); err != nil {
		l.t.Error(err)
	}
}

func TestConstraintsThatComeAfterABatchIsStaged(t *testing.T) {
	positive := func(m *delta.Metadata) { m.Configuration["delta.constraints.positive"] = "n > 0" }
	allPositive := func(m *delta.Metadata) { delete(m.Configuration, "delta.constraints.positive") }
	nullable := func(from, to bool) func(m *delta.Metadata) {
		text := `"name":"n","type":"long","nullable":%t`
		return func(m *delta.Metadata) {
			m.SchemaString = strings.Replace(m.SchemaString, fmt.Sprintf(text, from), fmt.Sprintf(text, to), 1)
		}
	}
	for name, c := range map[string]struct {
		add, drop func(m *delta.Metadata)
		row       string // that breaks it
	}{
		"CHECK":    {positive, allPositive, `{"id":2,"n":-1}`},
		"NOT_NULL": {nullable(true, false), nullable(false, true), `{"id":2}`},
	} {
		lab := func(t *testing.T, rows string) *lab {
			l := newLab(t)
			l.table("id BIGINT, n BIGINT", map[string]string{"delta.constraints.any": "id IS NOT NULL"})
			l.file("a.json", rows+"\n")
			told := false
			l.cfg.Events = func(e silt.Event) { // it comes when the rows are written and not committed
				if p, ok := e.(silt.Progress); ok && p.Phase == "commit" && !told {
					told = true
					l.alter(c.add)
				}
			}
			return l
		}
		t.Run(name+"/that_the_rows_meet_is_no_matter", func(t *testing.T) {
			l := lab(t, `{"id":1,"n":1}`)
			l.run()
			l.want(`{"id":1,"n":1}`)
		})
		t.Run(name+"/that_a_row_breaks_is_told_and_the_batch_waits", func(t *testing.T) {
			l := lab(t, `{"id":1,"n":1}`+"\n"+c.row)
			for range 2 {
				_, err := l.tryRun()
				var staged *silt.StagedRowError
				if !errors.As(err, &staged) || staged.Batch != 0 {
					t.Fatalf("got %v", err)
				}
				l.want()
			}
			l.alter(c.drop)
			l.run()
			l.want(`{"id":1,"n":1}`, c.row)
		})
	}
}

func TestABatchThatWaitedIsCommittedByTheNamesThatColumnsHaveByThen(t *testing.T) {
	l := newLab(t)
	l.table("id BIGINT, n BIGINT", map[string]string{"delta.constraints.any": "id IS NOT NULL", "delta.columnMapping.mode": "name"})
	l.file("a.json", `{"id":1,"n":-1,"new":2}`)
	l.meanwhile(func(objstore.Store, *delta.Snapshot) error {
		l.alter(func(m *delta.Metadata) { m.Configuration["delta.constraints.positive"] = "n > 0" })
		return nil
	})
	_, err := l.tryRun()
	var staged *silt.StagedRowError
	if !errors.As(err, &staged) {
		t.Fatalf("got %v", err)
	}
	s, err := delta.Load(t.Context(), objstore.NewDir(l.cfg.Target.Path), delta.LoadOptions{})
	if err == nil {
		_, err = s.AddColumns(t.Context(), delta.NewColumn{Path: []string{"new"}, Type: schema.Long})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.tryRun(); !errors.As(err, &staged) { // its rows are held against the rules of now, wherever they are
		t.Fatalf("got %v", err)
	}
	l.want()
	l.alter(func(m *delta.Metadata) { delete(m.Configuration, "delta.constraints.positive") })
	l.run()
	l.want(`{"id":1,"n":-1,"new":2}`)
}
