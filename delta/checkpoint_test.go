package delta_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// withoutCommits deletes the commits that the checkpoint of a version replaces.
func withoutCommits(t *testing.T, dir string, version int64) {
	t.Helper()
	for v := range version + 1 {
		for _, ext := range []string{"json", "crc"} {
			os.Remove(filepath.Join(dir, fmt.Sprintf("_delta_log/%020d.%s", v, ext)))
		}
	}
}

func addTexts(t *testing.T, s *delta.Snapshot) (out []string) {
	t.Helper()
	for _, a := range files(t, s) {
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	slices.Sort(out)
	return out
}

func TestCheckpoint(t *testing.T) {
	types := `i8 TINYINT, i16 SMALLINT, i32 INT, i64 BIGINT, f FLOAT, d DOUBLE, s STRING, day DATE, ts TIMESTAMP,
		dec DECIMAL(20,3), st STRUCT<a: BIGINT, b: STRUCT<c: STRING>>, l ARRAY<BIGINT>, bin BINARY, bool BOOLEAN, p DATE`
	lines := []string{
		`{"i8":-8,"i16":-300,"i32":70000,"i64":9007199254740993,"f":0.5,"d":1.5,"s":"sé\"","day":"2024-02-29","ts":"2024-02-29 12:00:00.000001Z","dec":"1.250","st":{"a":1,"b":{"c":"x"}},"l":[1],"bool":true,"p":"2024-01-01"}`,
		`{"i8":1,"d":-1e300,"p":null}`,
	}
	for name, properties := range map[string]map[string]string{
		"classic":                     {},
		"with_parsed_statistics":      {"delta.checkpoint.writeStatsAsStruct": "true"},
		"with_parsed_statistics_only": {"delta.checkpoint.writeStatsAsStruct": "true", "delta.checkpoint.writeStatsAsJson": "false"},
		"mapped":                      {"delta.columnMapping.mode": "name"},
		"mapped_with_parsed":          {"delta.columnMapping.mode": "name", "delta.checkpoint.writeStatsAsStruct": "true"},
		"with_sidecars":               {"delta.checkpointPolicy": "v2"},
		"with_sidecars_and_parsed_statistics": {"delta.checkpointPolicy": "v2", "delta.checkpoint.writeStatsAsStruct": "true",
			"delta.checkpoint.writeStatsAsJson": "false", "delta.columnMapping.mode": "name"},
	} {
		t.Run("has_all_that_the_commits_have/"+name, func(t *testing.T) {
			dir := t.TempDir()
			store := objstore.NewDir(dir)
			o := delta.TableOptions{Schema: ddl(t, types), Properties: properties}
			if properties["delta.columnMapping.mode"] == "" { // DuckDB does not find the values of mapped ones
				o.PartitionBy = []string{"p"}
			}
			s := newTable(t, store, o, lines...)
			s = appended(t, store, s, lines[1])
			tx := s.Begin("WRITE")
			tx.SetTxn("app", 7)
			tx.Remove(files(t, s)[0].Remove(time.Now(), true))
			s = commit(t, tx)
			want, read := addTexts(t, s), rows(t, s)
			if err := s.WriteCheckpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			withoutCommits(t, dir, 2)
			s = load(t, store)
			if v, ok := s.TxnVersion("app"); !ok || v != 7 {
				t.Errorf("got txn %d, %v", v, ok)
			}
			if got := dataChanges(addTexts(t, s)); !slices.Equal(statsSorted(t, got), statsSorted(t, dataChanges(want))) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			sortedEqual(t, "silt", canonicals(t, rows(t, s)), read)
			readersSee(t, dir, read...)
		})
	}
	t.Run("is_written_every_so_many_commits", func(t *testing.T) {
		dir := t.TempDir()
		grown(t, objstore.NewDir(dir), 8, map[string]string{"delta.checkpointInterval": "3"})
		list, _ := filepath.Glob(filepath.Join(dir, "_delta_log/*.checkpoint.parquet"))
		if len(list) != 2 || !strings.Contains(list[0], "03.") || !strings.Contains(list[1], "06.") {
			t.Errorf("got %v", list)
		}
		hint, err := os.ReadFile(filepath.Join(dir, "_delta_log/_last_checkpoint"))
		if err != nil || !strings.Contains(string(hint), `"version":6,`) {
			t.Errorf("got %s, %v", hint, err)
		}
	})
	t.Run("of_an_older_version_is_not_written", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		grown(t, store, 4, nil)
		s, err := delta.Load(t.Context(), store, at(2))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list, _ := filepath.Glob(filepath.Join(dir, "_delta_log/*.checkpoint.parquet")); len(list) != 0 {
			t.Errorf("got %v", list)
		}
	})
	t.Run("has_its_sum_in_the_hint", func(t *testing.T) {
		store := new(objstore.Mem)
		s := grown(t, store, 2, map[string]string{"delta.checkpointPolicy": "v2"})
		if err := s.WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		text, _, err := objstore.ReadAll(t.Context(), store, "_delta_log/_last_checkpoint")
		if err != nil {
			t.Fatal(err)
		}
		var hint struct {
			Version, Size, SizeInBytes, NumOfAddFiles int64
			V2Checkpoint                              struct {
				Path             string
				SizeInBytes      int64
				ModificationTime int64
				SidecarFiles     []struct {
					Path                          string
					SizeInBytes, ModificationTime int64
				}
			}
			Checksum string
		}
		if err := json.Unmarshal(text, &hint); err != nil {
			t.Fatal(err)
		}
		v2 := hint.V2Checkpoint
		if hint.Version != 1 || hint.NumOfAddFiles != 2 || hint.Size != 6 || len(v2.SidecarFiles) != 1 {
			t.Errorf("got %s", text)
		}
		side := v2.SidecarFiles[0]
		// Source: protocol, "JSON checksum".
		canon := fmt.Sprintf(`"numOfAddFiles"=2,"size"=6,"sizeInBytes"=%d,"v2Checkpoint"+"modificationTime"=%d,"v2Checkpoint"+"path"="%s",`+
			`"v2Checkpoint"+"sidecarFiles"+0+"modificationTime"=%d,"v2Checkpoint"+"sidecarFiles"+0+"path"="%s","v2Checkpoint"+"sidecarFiles"+0+"sizeInBytes"=%d,`+
			`"v2Checkpoint"+"sizeInBytes"=%d,"version"=1`, hint.SizeInBytes, v2.ModificationTime, v2.Path, side.ModificationTime, side.Path, side.SizeInBytes, v2.SizeInBytes)
		sum := md5.Sum([]byte(canon))
		if want := hex.EncodeToString(sum[:]); hint.Checksum != want {
			t.Errorf("got %s, want %s of %s", hint.Checksum, want, canon)
		}
	})
	t.Run("of_very_many_files_takes_little_memory", func(t *testing.T) {
		if testing.Short() {
			t.Skip("a long test")
		}
		store := objstore.NewDir(t.TempDir())
		manyFiles(t, store, 300_000)
		peak := peakHeap(func() {
			if err := load(t, store).WriteCheckpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		if peak > 403<<20 {
			t.Errorf("got %d MB", peak>>20)
		}
		n := 0
		peak = peakHeap(func() {
			for _, err := range load(t, store).Files(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
		})
		if n != 300_000 || peak > 200<<20 {
			t.Errorf("got %d files, %d MB", n, peak>>20)
		}
	})
	t.Run("is_read_by_others_who_go_on_from_it", func(t *testing.T) {
		for name, properties := range map[string]map[string]string{"classic": {"delta.checkpoint.writeStatsAsStruct": "true"}, "v2": {"delta.checkpointPolicy": "v2"}} {
			dir := t.TempDir()
			store := objstore.NewDir(dir)
			grown(t, store, 12, properties)
			withoutCommits(t, dir, 10)
			cmd := exec.CommandContext(t.Context(), python(t), "-c", `
import sys, deltalake, pyarrow
deltalake.write_deltalake(sys.argv[1], pyarrow.table({"id": pyarrow.array([99], pyarrow.int64())}), mode="append")`, dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Logf("%s: deltalake refuses: %.300s", name, bytes.TrimSpace(out))
				continue
			}
			wantRows(t, load(t, store), ids(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 99)...)
		}
	})
}

// dataChanges makes adds of commits what they are in a checkpoint.
func dataChanges(adds []string) []string {
	out := slices.Clone(adds)
	for i, a := range out {
		out[i] = strings.Replace(a, `"dataChange":true`, `"dataChange":false`, 1)
	}
	return out
}

// statsSorted brings the statistics of adds, which are texts in them, to one form.
func statsSorted(t *testing.T, adds []string) []string {
	t.Helper()
	var out []string
	for _, text := range adds {
		var a map[string]any
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		if stats, ok := a["stats"].(string); ok {
			a["stats"] = canonical(t, stats)
		}
		one, _ := json.Marshal(a)
		out = append(out, string(one))
	}
	return out
}

func TestAppendCostsTheSame(t *testing.T) {
	read := func(n int) int64 {
		mem := new(objstore.Mem)
		manyFiles(t, mem, n)
		if err := load(t, mem).WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		store := &countingStore{Store: mem}
		for i := range 3 {
			tx := load(t, store).Begin("WRITE")
			tx.Add(&delta.Add{Path: fmt.Sprintf("new-%d", i), Size: 1, DataChange: true})
			tx.SetTxn("app", int64(i))
			commit(t, tx)
		}
		checkSum(t, mem, load(t, mem))
		return store.bytes.Load()
	}
	small, large := read(20_000), read(60_000)
	if large > small+small/10+1000 {
		t.Errorf("three appends to 60,000 files read %d bytes, to 20,000 %d", large, small)
	}
}

func BenchmarkAppendWithChecksum(b *testing.B) {
	for _, n := range []int{1000, 30_000, 300_000} {
		b.Run(fmt.Sprintf("%d_files", n), func(b *testing.B) {
			store := objstore.NewDir(b.TempDir())
			manyFiles(b, store, n)
			s, err := delta.Load(b.Context(), store, delta.LoadOptions{})
			if err == nil {
				err = s.WriteCheckpoint(b.Context())
			}
			if err != nil {
				b.Fatal(err)
			}
			i := 0
			for b.Loop() {
				if err := appendOne(b.Context(), store, i); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

func appendOne(ctx context.Context, store objstore.Store, i int) error {
	s, err := delta.Load(ctx, store, delta.LoadOptions{})
	if err != nil {
		return err
	}
	tx := s.Begin("WRITE")
	tx.Add(&delta.Add{Path: fmt.Sprintf("new-%d", i), Size: 1, DataChange: true})
	_, err = tx.Commit(ctx, nil)
	return err
}

func TestUpdate(t *testing.T) {
	t.Run("reads_what_was_committed_since", func(t *testing.T) {
		mem := new(objstore.Mem)
		first := grown(t, mem, 2, nil)
		newest := grownFrom(t, mem, 2, 9)
		got, err := first.Update(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Version() != newest.Version() || !slices.Equal(addTexts(t, got), addTexts(t, newest)) {
			t.Errorf("got version %d with %d files", got.Version(), len(files(t, got)))
		}
		if same, err := got.Update(t.Context()); err != nil || same != got {
			t.Errorf("got %v, %v", same, err)
		}
	})
	t.Run("loads_the_table_when_commits_are_gone", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		first := grown(t, store, 2, nil)
		newest := grownFrom(t, store, 2, 13) // with a checkpoint of version 10
		withoutCommits(t, dir, 9)
		got, err := first.Update(t.Context())
		if err != nil || got.Version() != newest.Version() || len(files(t, got)) != 13 {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("loads_the_table_when_it_is_far_behind", func(t *testing.T) {
		mem := new(objstore.Mem)
		grown(t, mem, 1, nil)
		grownFrom(t, mem, 1, 115)
		store := &countingStore{Store: mem}
		behind, err := delta.Load(t.Context(), store, at(0))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := behind.Update(t.Context()); err != nil || got.Version() != 114 || len(files(t, got)) != 115 {
			t.Errorf("got %v, %v", got, err)
		}
		if n := store.opens.Load(); n > 30 {
			t.Errorf("it took %d reads", n)
		}
	})
}

// grownFrom appends rows of the ids from from on below to.
func grownFrom(t *testing.T, store objstore.Store, from, to int) (s *delta.Snapshot) {
	t.Helper()
	for id := from; id < to; id++ {
		s = commit(t, begin(t, store, id))
	}
	return s
}
