package merge_test

import (
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// TestSpillingChangesNothing merges the same into two tables, into one of them by way of files, with all
// that a spec can say, and with null in keys.
func TestSpillingChangesNothing(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		if err := flag.Set("rapid.checks", strconv.Itoa(*histories/4)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = flag.Set("rapid.checks", f.DefValue) }()
	}
	all := ddl(t, "ts BIGINT, a STRING, n BIGINT, s STRUCT<x: BIGINT, y: STRING>")
	rapid.Check(t, func(rt *rapid.T) {
		set := rapid.SampledFrom(slices.Sorted(maps.Keys(keySets))).Draw(rt, "keys")
		keys := ddl(t, set)
		o := delta.TableOptions{Schema: &schema.Struct{Fields: append(keys.Fields, all.Fields...)}, Properties: map[string]string{
			"delta.enableDeletionVectors": strconv.FormatBool(rapid.Bool().Draw(rt, "vectors")),
			"delta.enableChangeDataFeed":  strconv.FormatBool(rapid.IntRange(0, 3).Draw(rt, "feed") == 0),
		}}
		versions := rapid.IntRange(0, 2).Draw(rt, "versions") == 0
		if versions {
			o.Schema = merge.Columns(historyOf(merge.Spec{}), o.Schema)
		}
		tables := make([]*table, 2)
		for i := range tables {
			tables[i] = &table{t: t, store: new(objstore.Mem), options: merge.Options{Workers: 2, SQL: engine}}
			tx, err := delta.NewTable(tables[i].store, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Commit(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
		tables[1].options.Memory = rapid.SampledFrom([]int64{1, 300}).Draw(rt, "memory")
		if rapid.Bool().Draw(rt, "weak hashes") {
			tables[1].options = merge.WithHashBits(tables[1].options, 2)
		}
		for range rapid.IntRange(1, 5).Draw(rt, "steps") {
			spec := anySpec(rt, keySets[set])
			if versions {
				spec = historyOf(spec)
			}
			s, rows := batch(rt, keys, all, true)
			half := rapid.IntRange(0, len(rows)).Draw(rt, "first batch")
			c := changes(t, s, asLines(rows[:half]), asLines(rows[half:]))
			var counts [2]merge.Counts
			var errs [2]error
			for i, x := range tables {
				tx, r, err := x.begin(spec, c)
				if errs[i] = err; err != nil {
					continue
				}
				counts[i] = ofRows(r.Counts)
				counts[i].BytesAdded, counts[i].BytesRemoved = 0, 0
				if _, err := tx.Commit(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			if counts[0] != counts[1] {
				rt.Fatalf("counts in memory    %+v\nby way of files     %+v\nspec %+v\nof %s", counts[0], counts[1], spec, asLines(rows))
			}
			if (errs[0] == nil) != (errs[1] == nil) || errs[0] != nil && !errors.As(errs[1], new(*merge.DuplicateError)) {
				rt.Fatalf("error in memory: %v\nby way of files: %v\nspec %+v\nof %s", errs[0], errs[1], spec, asLines(rows))
			}
			if a, b := tables[0].rows(), tables[1].rows(); a != b {
				rt.Fatalf("rows in memory\n%s\nby way of files\n%s\nspec %+v\nof %s", a, b, spec, asLines(rows))
			}
		}
	})
}

// anySpec draws a spec; conditions where there is SQL.
func anySpec(t *rapid.T, keys []string) merge.Spec {
	some := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, name) == 0 }
	spec := merge.Spec{Keys: keys, InsertOnly: some("insert only"), DeleteMissing: some("delete missing"), IgnoreNullUpdates: some("ignore nulls")}
	if rapid.Bool().Draw(t, "last wins") {
		spec.Duplicates = merge.LastWins
	}
	if rapid.Bool().Draw(t, "sequence") {
		spec.SequenceBy = "ts"
	}
	if some("except") {
		spec.Except = []string{"a"}
	}
	if some("passive") {
		spec.Passive = []string{"n"}
	}
	if engine != nil {
		spec.DeleteWhen = rapid.SampledFrom([]string{"", "", "a = 'x'", "source.n > target.n"}).Draw(t, "delete when")
		spec.UpdateWhen = rapid.SampledFrom([]string{"", "", "n > 2", "source.n <> target.n"}).Draw(t, "update when")
	}
	return spec
}

// historyOf makes a spec one that keeps all versions, without what that does not go with.
func historyOf(spec merge.Spec) merge.Spec {
	spec.History, spec.SequenceBy, spec.InsertOnly, spec.DeleteMissing, spec.UpdateWhen = true, "ts", false, false, ""
	spec.DeleteWhen = strings.ReplaceAll(spec.DeleteWhen, "source.n > target.n", "n > 3")
	return spec
}

func TestHeldRowsCanBeReadAgain(t *testing.T) {
	s := ddl(t, "id BIGINT, a STRING")
	for _, memory := range []int64{0, 40, 1} {
		held := &merge.Held{Memory: memory, TempDir: t.TempDir()}
		for rec, err := range changes(t, s, `{"id":1,"a":"x"}`, `{"id":1,"a":"y"}`+"\n"+`{"id":2,"a":"z"}`).Rows(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			if err := held.Add(rec); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			x := create(t, delta.TableOptions{Schema: s}, `{"id":1,"a":"w"}`)
			x.merge(merge.Spec{Keys: []string{"id"}, Duplicates: merge.LastWins}, merge.Changes{Schema: s, Rows: held.Rows})
			if got, want := x.rows(), canonical(t, `{"id":1,"a":"y"}`+"\n"+`{"id":2,"a":"z"}`); got != want {
				t.Errorf("rows, held in %d bytes\n%s\nwant\n%s", memory, got, want)
			}
		}
		held.Close()
		if left, err := os.ReadDir(held.TempDir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
}

// TestNothingIsLeftOfSpilling looks for temporary files after merges that went well, and that did not.
func TestNothingIsLeftOfSpilling(t *testing.T) {
	x := create(t, delta.TableOptions{Schema: ddl(t, "id BIGINT, a STRING")}, `{"id":1,"a":"x"}`+"\n"+`{"id":2,"a":"x"}`, `{"id":3,"a":"x"}`)
	x.options.Memory, x.options.TempDir = 1, t.TempDir()
	c := changes(t, ddl(t, "id BIGINT, a STRING"), `{"id":1,"a":"y"}`+"\n"+`{"id":3,"a":"y"}`, `{"id":3,"a":"z"}`+"\n"+`{"id":4,"a":"y"}`)
	if _, _, err := x.begin(merge.Spec{Keys: []string{"id"}}, c); !errors.As(err, new(*merge.DuplicateError)) {
		t.Errorf("merged two rows of one key: %v", err)
	}
	counts := x.merge(merge.Spec{Keys: []string{"id"}, Duplicates: merge.LastWins}, c)
	if counts.Updated != 2 || counts.Inserted != 1 || counts.Duplicates != 1 || counts.Conflicting != 1 || counts.FilesScanned != 2 {
		t.Errorf("counts %+v", counts)
	}
	left, err := filepath.Glob(filepath.Join(x.options.TempDir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %s %v", strings.Join(left, ", "), err)
	}
	x.options.TempDir = filepath.Join(x.options.TempDir, "gone")
	if _, _, err := x.begin(merge.Spec{Keys: []string{"id"}}, c); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), x.options.TempDir) {
		t.Errorf("without a folder for temporary files: %v", err)
	}
	if _, err := os.Stat(x.options.TempDir); err == nil {
		t.Error("the folder for temporary files was made")
	}
}
