package silt_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// byTasks puts files into the source of which each is a task of its own, of lines that begin with the text, and
// returns how many lines a file has.
func (l *lab) byTasks(begins ...string) int {
	l.t.Helper()
	l.cfg.Workers = len(begins)
	const lines = 80
	for i, begin := range begins {
		l.file(fmt.Sprintf("big/%d.json", i), strings.Repeat(begin+`,"pad":"`+strings.Repeat("x", 60<<10)+`"}`+"\n", lines))
	}
	return lines
}

// values counts the rows of a table for which SQL would say that column IS NOT NULL.
func (l *lab) values(table, column string) (n int) {
	l.t.Helper()
	s, err := delta.Load(l.t.Context(), objstore.NewDir(table), delta.LoadOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	for rec, err := range s.Scan(delta.ScanOptions{Columns: []string{column}}).Batches(l.t.Context()) {
		if err != nil {
			l.t.Fatal(err)
		}
		n += int(rec.NumRows()) - rec.Column(0).NullN()
		rec.Release()
	}
	return n
}

func (l *lab) wantValues(table string, want map[string]int) {
	l.t.Helper()
	for column, n := range want {
		if got := l.values(table, column); got != n {
			l.t.Errorf("column %s has %d values, want %d", column, got, n)
		}
	}
}

// A column of a mapped table has a name in data files that is made up when the column is.
func TestColumnsKeepTheirPhysicalNamesWhileTheSchemaGrowsInABatch(t *testing.T) {
	for _, mode := range []string{"name", "id"} {
		mapped := map[string]string{"delta.columnMapping.mode": mode}
		t.Run(mode+"/a_new_table_of_a_known_schema", func(t *testing.T) {
			l := newLab(t)
			l.cfg.Options = map[string]string{"cloudFiles.schemaLocation": filepath.Join(l.dir, "schemas")}
			l.file("1.json", `{"id":1,"o":{"a":1},"pad":""}`)
			l.run()
			l.cfg.Target = silt.Path(filepath.Join(l.dir, "mapped"))
			l.cfg.Target.Properties = mapped
			n := l.byTasks(`{"id":2,"o":{"a":1}`, `{"id":2,"o":{"a":1}`, `{"id":3,"o":{"a":2,"b":{"c":[{"d":3}]}},"new":1`)
			l.run()
			l.wantValues(l.cfg.Target.Path, map[string]int{"id": 3*n + 1, "pad": 3*n + 1, "new": n, "source_file": 3*n + 1})
			if got := strings.Count(strings.Join(l.rows("pad"), "\n"), `"o":{"a":2,"b":{"c":[{"d":3}]}}`); got != n {
				t.Errorf("%d rows have the nested fields, want %d", got, n)
			}
			if got := strings.Count(strings.Join(l.rows("pad"), "\n"), `"o":{"a":1}`); got != 2*n+1 {
				t.Errorf("%d rows have the nested field of before, want %d", got, 2*n+1)
			}
		})
		t.Run(mode+"/a_hint_and_a_field_that_are_both_new", func(t *testing.T) {
			l := newLab(t)
			l.cfg.Target.Properties = mapped
			l.file("1.json", `{"id":1,"pad":""}`)
			l.run()
			l.cfg.Options = map[string]string{"schemaHints": "at TIMESTAMP"}
			n := l.byTasks(`{"id":2,"at":"2026-01-01T00:00:00Z"`, `{"id":3,"new":1`)
			l.run()
			l.wantValues(l.cfg.Target.Path, map[string]int{"id": 2*n + 1, "at": n, "new": n})
		})
	}
	t.Run("a_target_that_comes_later", func(t *testing.T) {
		l := newLab(t)
		l.file("1.json", `{"id":1,"pad":""}`)
		one, two := silt.Path(l.cfg.Target.Path), silt.Path(filepath.Join(l.dir, "two"))
		two.Properties = map[string]string{"delta.columnMapping.mode": "name"}
		l.cfg.Target, l.cfg.Targets = silt.Target{}, []silt.Target{one}
		l.run()
		l.cfg.Targets = append(l.cfg.Targets, two)
		n := l.byTasks(`{"id":2`, `{"id":3,"new":1`)
		l.run()
		l.wantValues(two.Path, map[string]int{"id": 2 * n, "new": n})
	})
	t.Run("an_overwrite_of_the_schema", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Target.Properties = map[string]string{"delta.columnMapping.mode": "name"}
		l.cfg.Target.Write, l.cfg.Target.OverwriteSchema = "overwrite", true
		l.file("1.json", `{"id":1,"pad":""}`)
		l.run()
		n := l.byTasks(`{"id":2`, `{"id":3,"new":1`)
		l.run()
		l.wantValues(l.cfg.Target.Path, map[string]int{"id": 2 * n, "pad": 2 * n, "new": n})
	})
}

// meanwhile does something to the table when a batch is written and not committed.
func (l *lab) meanwhile(do func(store objstore.Store, s *delta.Snapshot) error) {
	told := false
	l.cfg.Events = func(e silt.Event) {
		if p, ok := e.(silt.Progress); !ok || p.Phase != "commit" || told {
			return
		}
		told = true
		store := objstore.NewDir(l.cfg.Target.Path)
		s, err := delta.Load(context.Background(), store, delta.LoadOptions{})
		if errors.Is(err, delta.ErrNoTable) {
			s, err = nil, nil
		}
		if err == nil {
			err = do(store, s)
		}
		if err != nil {
			l.t.Error(err)
		}
	}
}

func TestATableThatIsAlteredWhileABatchIsStagedHasAllItsValues(t *testing.T) {
	column := func(name string, t schema.Type) delta.NewColumn {
		return delta.NewColumn{Path: []string{name}, Type: t}
	}
	mapping := map[string]string{"delta.columnMapping.mode": "name"}
	steps := func(all ...func(*delta.Snapshot) (*delta.Snapshot, error)) func(objstore.Store, *delta.Snapshot) error {
		return func(_ objstore.Store, s *delta.Snapshot) (err error) {
			for _, step := range all {
				if err == nil {
					s, err = step(s)
				}
			}
			return err
		}
	}
	ctx := t.Context()
	add := func(name string, t schema.Type) func(*delta.Snapshot) (*delta.Snapshot, error) {
		return func(s *delta.Snapshot) (*delta.Snapshot, error) { return s.AddColumns(ctx, column(name, t)) }
	}
	toMapped := func(s *delta.Snapshot) (*delta.Snapshot, error) { return s.SetProperties(ctx, mapping) }
	made := func(o delta.TableOptions) func(objstore.Store, *delta.Snapshot) error {
		return func(store objstore.Store, _ *delta.Snapshot) error {
			tx, err := delta.NewTable(store, o)
			if err == nil {
				_, err = tx.Commit(ctx, nil)
			}
			return err
		}
	}
	ddl := func(text string) *schema.Struct {
		s, err := schema.ParseDDL(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, c := range map[string]struct {
		first      bool // the batch is the first, of a new table
		properties map[string]string
		target     func(*silt.Target)
		meanwhile  func(objstore.Store, *delta.Snapshot) error
		want       []string
	}{
		"it_gets_the_new_column":             {properties: mapping, meanwhile: steps(add("new", schema.Long))},
		"by_id":                              {properties: map[string]string{"delta.columnMapping.mode": "id"}, meanwhile: steps(add("new", schema.Long))},
		"by_id_it_gets_another_column":       {properties: map[string]string{"delta.columnMapping.mode": "id"}, meanwhile: steps(add("other", schema.Long))},
		"it_gets_another_column":             {properties: mapping, meanwhile: steps(add("other", schema.Long))},
		"it_gets_the_new_column_as_a_struct": {properties: mapping, meanwhile: steps(add("deep", ddl("b BIGINT")))},
		"its_columns_become_mapped":          {meanwhile: steps(toMapped)},
		"they_become_mapped_and_it_gets_it":  {meanwhile: steps(toMapped, add("new", schema.Long))},
		"a_column_is_renamed": {properties: mapping, meanwhile: steps(func(s *delta.Snapshot) (*delta.Snapshot, error) {
			return s.RenameColumn(ctx, []string{"k"}, "was")
		}), want: []string{`{"id":1,"was":7}`, `{"deep":{"a":1},"id":2,"k":8,"new":3}`}},
		"a_column_is_dropped": {properties: mapping, meanwhile: steps(func(s *delta.Snapshot) (*delta.Snapshot, error) {
			return s.DropColumns(ctx, []string{"k"})
		}), want: []string{`{"id":1}`, `{"deep":{"a":1},"id":2,"k":8,"new":3}`}},
		"another_makes_it_mapped":      {first: true, meanwhile: made(delta.TableOptions{Schema: ddl("id BIGINT, `a name` STRING"), Properties: mapping})},
		"another_makes_it_unmapped":    {first: true, properties: mapping, meanwhile: made(delta.TableOptions{Schema: ddl("id BIGINT")})},
		"another_makes_it_partitioned": {first: true, meanwhile: made(delta.TableOptions{Schema: ddl("id BIGINT, k BIGINT"), PartitionBy: []string{"k"}})},
		"another_makes_it_without_partitions": {first: true, target: func(t *silt.Target) { t.PartitionBy = []string{"k"} },
			meanwhile: made(delta.TableOptions{Schema: ddl("id BIGINT")})},
		"an_overwrite_of_one_that_becomes_mapped": {target: func(t *silt.Target) { t.Write, t.OverwriteSchema = "overwrite", true },
			meanwhile: steps(toMapped), want: []string{`{"deep":{"a":1},"id":2,"k":8,"new":3}`}},
		"an_overwrite_of_one_that_is_made_mapped": {first: true, target: func(t *silt.Target) { t.Write, t.OverwriteSchema = "overwrite", true },
			meanwhile: made(delta.TableOptions{Schema: ddl("id BIGINT, k BIGINT"), Properties: mapping})},
		"an_overwrite_of_one_that_gets_the_new_column": {properties: mapping, target: func(t *silt.Target) { t.Write = "overwrite" },
			meanwhile: steps(add("new", schema.Long)), want: []string{`{"deep":{"a":1},"id":2,"k":8,"new":3}`}},
		"a_merge_into_one_that_gets_the_new_column": {properties: mapping, target: func(t *silt.Target) { t.Write, t.Merge.Keys = "merge", []string{"id"} },
			meanwhile: steps(add("new", schema.Long))},
		"a_merge_into_one_that_becomes_mapped": {target: func(t *silt.Target) { t.Write, t.Merge.Keys = "merge", []string{"id"} },
			meanwhile: steps(toMapped, add("new", schema.Long))},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Target.Properties = c.properties
			if c.target != nil {
				c.target(&l.cfg.Target)
			}
			want := []string{`{"deep":{"a":1},"id":2,"k":8,"new":3}`}
			if !c.first {
				l.file("1.json", `{"id":1,"k":7}`)
				l.run()
				want = append(want, `{"id":1,"k":7}`)
			}
			if c.want != nil {
				want = slices.Sorted(slices.Values(c.want))
			}
			l.meanwhile(c.meanwhile)
			l.file("2.json", `{"id":2,"k":8,"new":3,"deep":{"a":1}}`)
			l.run()
			l.want(want...)
			l.file("3.json", `{"id":4,"new":4,"deep":{"a":2}}`) // and the next batch goes on
			l.run()
			if got := strings.Join(l.rows(), "\n"); !strings.Contains(got, `{"deep":{"a":2},"id":4,"new":4}`) {
				t.Errorf("the next batch: %s", got)
			}
		})
	}
}

// beaten is the store of a table of which another puts the first version when it is put.
type beaten struct {
	*objstore.Dir
	first *sync.Once
	make  func()
}

func (b beaten) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (objstore.Object, error) {
	if key == "_delta_log/00000000000000000000.json" {
		b.first.Do(b.make)
	}
	return b.Dir.Put(ctx, key, body, cond)
}

func TestAnOverwriteReplacesTheRowsOfATableThatIsMadeMeanwhile(t *testing.T) {
	for name, properties := range map[string]map[string]string{"plain": nil, "mapped": {"delta.columnMapping.mode": "name"}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Target.Write = "overwrite"
			first := new(sync.Once)
			cfg := l.cfg
			l.cfg = l.cfg.In(func(location string) objstore.Store {
				store := objstore.NewDir(location)
				if location != l.cfg.Target.Path {
					return store
				}
				return beaten{store, first, func() {
					other := &lab{t: t, dir: l.dir, cfg: cfg}
					other.cfg.Source, other.cfg.CheckpointLocation = t.TempDir(), t.TempDir()
					other.cfg.Target.Write, other.cfg.Target.Properties = "append", properties
					other.file("other.json", `{"id":1}`)
					other.run()
				}}
			}, nil)
			l.file("1.json", `{"id":2,"new":3}`)
			l.run()
			l.want(`{"id":2,"new":3}`)
		})
	}
}
