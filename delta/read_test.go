package delta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// logOf puts the lines of the entries of a log, from version 0 on.
func logOf(t *testing.T, store objstore.Store, entries ...string) {
	t.Helper()
	for v, e := range entries {
		put(t, store, fmt.Sprintf("_delta_log/%020d.json", v), []byte(e))
	}
}

// head is the first lines of a log.
func head(t *testing.T, ddlText string) string {
	t.Helper()
	text, err := json.Marshal(ddl(t, ddlText))
	if err != nil {
		t.Fatal(err)
	}
	quoted, _ := json.Marshal(string(text))
	return `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"0e5b4b9e-0000-4000-8000-000000000000","format":{"provider":"parquet","options":{}},"schemaString":` + string(quoted) +
		`,"partitionColumns":[],"configuration":{}}}
`
}

func addLine(path string) string {
	return fmt.Sprintf(`{"add":{"path":%q,"partitionValues":{},"size":0,"modificationTime":0,"dataChange":true}}`+"\n", path)
}

func removeLine(path string) string {
	return fmt.Sprintf(`{"remove":{"path":%q,"dataChange":true}}`+"\n", path)
}

func TestRead(t *testing.T) {
	t.Run("old_timestamps_of_twelve_bytes_far_from_1970", func(t *testing.T) {
		store := new(objstore.Mem)
		content, err := os.ReadFile(filepath.Join("testdata", "int96.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		put(t, store, "int96.parquet", content)
		logOf(t, store, head(t, "id BIGINT, ts TIMESTAMP, s STRUCT<t: TIMESTAMP>, l ARRAY<TIMESTAMP>, m MAP<STRING, TIMESTAMP>")+addLine("int96.parquet"))
		lo, mid, hi := `"0001-01-01T00:00:00Z"`, `"1969-12-31T23:59:59.999999Z"`, `"9999-12-31T23:59:59.999999Z"`
		wantRows(t, load(t, store),
			`{"id":0,"l":[`+lo+`,null,`+hi+`],"m":[{"key":"k","value":`+hi+`}],"s":{"t":`+hi+`},"ts":`+lo+`}`,
			`{"id":1,"l":[],"m":[],"s":null,"ts":`+mid+`}`,
			`{"id":2,"l":null,"m":null,"s":{"t":null},"ts":`+hi+`}`,
			`{"id":3,"l":[`+mid+`],"m":[{"key":"a","value":`+lo+`},{"key":"b","value":null}],"s":{"t":`+lo+`},"ts":null}`,
			`{"id":4,"l":[`+lo+`],"m":[],"s":{"t":`+mid+`},"ts":`+mid+`}`,
			`{"id":5,"l":[`+hi+`,`+hi+`],"m":[{"key":"z","value":`+mid+`}],"s":{"t":`+hi+`},"ts":`+lo+`}`)
	})
}

func TestLog(t *testing.T) {
	files := func(t *testing.T, s *delta.Snapshot) []string {
		t.Helper()
		var paths []string
		for a, err := range s.Files(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, a.Path)
		}
		return paths
	}
	h := head(t, "id BIGINT")
	t.Run("a_path_is_the_same_in_any_spelling", func(t *testing.T) {
		store := new(objstore.Mem)
		logOf(t, store, h+addLine("a%20b%25c.parquet")+addLine("p=x%253Ay/d.parquet")+addLine("kept")+addLine("file:/x/y%20z")+addLine("file:///x/two"),
			removeLine("a b%25c.parquet")+removeLine("p%3Dx%253Ay/d.parquet")+removeLine("file:///x/y z")+removeLine("/x/two"))
		if got := files(t, load(t, store)); !slices.Equal(got, []string{"kept"}) {
			t.Errorf("got %q, want only kept", got)
		}
	})
	t.Run("a_removed_file_that_is_added_again_is_there", func(t *testing.T) {
		store := new(objstore.Mem)
		logOf(t, store, h+addLine("a"), removeLine("a"), addLine("a"))
		if got := files(t, load(t, store)); !slices.Equal(got, []string{"a"}) {
			t.Errorf("got %q, want a", got)
		}
	})
	t.Run("a_deletion_vector_makes_another_logical_file", func(t *testing.T) {
		store := new(objstore.Mem)
		withDV := func(kind, dv string) string {
			return fmt.Sprintf(`{%q:{"path":"a","partitionValues":{},"size":0,"modificationTime":0,"dataChange":true,"deletionVector":{"storageType":"i","pathOrInlineDv":%q,"sizeInBytes":1,"cardinality":1}}}`+"\n", kind, dv)
		}
		logOf(t, store, h+addLine("a"), removeLine("a")+withDV("add", "x"), withDV("add", "y")+withDV("remove", "x"))
		got := files(t, load(t, store))
		if len(got) != 1 {
			t.Errorf("got %d files, want 1", len(got))
		}
	})
	for _, c := range []struct {
		name    string
		entries []string
		want    string
	}{
		{"a_log_without_protocol_is_refused", []string{strings.SplitAfter(h, "\n")[1]}, "the Delta log is broken at version 0: there is no protocol action up to it"},
		{"a_log_without_metadata_is_refused", []string{strings.SplitAfter(h, "\n")[0]}, "the Delta log is broken at version 0: there is no metaData action up to it"},
		{"a_torn_entry_is_named", []string{h, `{"add":{"path`}, "the Delta log is broken at version 1: line 1: unexpected end of JSON input"},
		{"an_unknown_reader_feature_is_named", []string{`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","timeTravel"],"writerFeatures":["deletionVectors","timeTravel"]}}` + "\n" + strings.SplitAfter(h, "\n")[1]},
			"this version of silt cannot read a table with timeTravel"},
		{"a_future_reader_version_is_named", []string{`{"protocol":{"minReaderVersion":4,"minWriterVersion":7}}` + "\n" + strings.SplitAfter(h, "\n")[1]},
			"this version of silt cannot read a table with reader version 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := new(objstore.Mem)
			logOf(t, store, c.entries...)
			if _, err := delta.Load(t.Context(), store, delta.LoadOptions{}); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	t.Run("unknown_actions_and_fields_are_passed_over", func(t *testing.T) {
		store := new(objstore.Mem)
		logOf(t, store, h+`{"newAction":{"x":1}}`+"\n"+`{"add":{"path":"a","partitionValues":{},"size":0,"modificationTime":0,"dataChange":true,"new":{"y":[1]}}}`+"\n"+
			`{"commitInfo":{"operationParameters":"none","timestamp":"now"}}`)
		if got := files(t, load(t, store)); !slices.Equal(got, []string{"a"}) {
			t.Errorf("got %q, want a", got)
		}
	})
	t.Run("a_missing_commit_is_named", func(t *testing.T) {
		store := new(objstore.Mem)
		logOf(t, store, h, addLine("a"), addLine("b"))
		store.Delete(t.Context(), "_delta_log/00000000000000000001.json", objstore.Cond{})
		var broken *delta.LogError
		if _, err := delta.Load(t.Context(), store, delta.LoadOptions{}); !errors.As(err, &broken) || broken.Version != 1 {
			t.Errorf("got %v, want a LogError of version 1", err)
		}
	})
	t.Run("a_compacted_log_stands_in_for_missing_commits", func(t *testing.T) {
		store := new(objstore.Mem)
		logOf(t, store, h, addLine("a"), removeLine("a")+addLine("b"), addLine("c"))
		for v := 1; v <= 2; v++ {
			store.Delete(t.Context(), fmt.Sprintf("_delta_log/%020d.json", v), objstore.Cond{})
		}
		put(t, store, "_delta_log/00000000000000000001.00000000000000000002.compacted.json", []byte(removeLine("a")+addLine("b")))
		s := load(t, store)
		if got := files(t, s); s.Version() != 3 || !slices.Equal(got, []string{"b", "c"}) {
			t.Errorf("got version %d with %q", s.Version(), got)
		}
	})
	t.Run("a_checkpoint_in_parts_counts_when_all_are_there", func(t *testing.T) {
		// Two ordinary checkpoints of other tables serve as the parts: one has the table, one only files.
		store, other := new(objstore.Mem), new(objstore.Mem)
		logOf(t, store, h+addLine("a"))
		logOf(t, other, h+addLine("b"))
		parts := make([][]byte, 2)
		for i, s := range []objstore.Store{store, other} {
			if err := load(t, s).WriteCheckpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			parts[i], _, _ = objstore.ReadAll(t.Context(), s, "_delta_log/00000000000000000000.checkpoint.parquet")
		}
		multi := new(objstore.Mem)
		put(t, multi, "_delta_log/00000000000000000005.checkpoint.0000000001.0000000002.parquet", parts[0])
		put(t, multi, "_delta_log/00000000000000000006.json", []byte(addLine("c")))
		var broken *delta.LogError
		if _, err := delta.Load(t.Context(), multi, delta.LoadOptions{}); !errors.As(err, &broken) || !strings.Contains(broken.Reason, "0000000001.0000000002") {
			t.Errorf("got %v, want a LogError that names the part", err)
		}
		put(t, multi, "_delta_log/00000000000000000005.checkpoint.0000000002.0000000002.parquet", parts[1])
		s := load(t, multi)
		if got := files(t, s); s.Version() != 6 || !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("got version %d with %q", s.Version(), got)
		}
	})
	t.Run("a_stale_or_broken_hint_does_no_harm", func(t *testing.T) {
		for _, hint := range []string{`{"version":7,"size":1}`, `{"vers`, `{"version":0,"size":1}`, `{"version":1,"size":1}`} {
			store := new(objstore.Mem)
			logOf(t, store, h+addLine("a"), addLine("b"))
			put(t, store, "_delta_log/_last_checkpoint", []byte(hint))
			if got := files(t, load(t, store)); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("with %s got %q", hint, got)
			}
		}
	})
	t.Run("versions_are_found_by_number_and_by_time", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		logOf(t, store, h+addLine("a"), addLine("b"), addLine("c"))
		for v, at := range []string{"2024-01-01 00:00:00", "2024-01-01 00:00:00", "2024-01-03 00:00:00"} {
			setTime(t, dir, int64(v), at)
		}
		for v := range int64(3) {
			s, err := delta.Load(t.Context(), store, delta.LoadOptions{Version: &v})
			if err != nil || len(files(t, s)) != int(v)+1 {
				t.Errorf("version %d: got %v", v, err)
			}
		}
		for at, want := range map[string]int64{"2024-01-01T00:00:00Z": 0, "2024-01-01T00:00:00.001Z": 1, "2024-01-02T00:00:00Z": 1, "2025-01-01T00:00:00Z": 2} {
			when, _ := time.Parse(time.RFC3339Nano, at)
			s, err := delta.Load(t.Context(), store, delta.LoadOptions{Timestamp: when})
			if err != nil || s.Version() != want {
				t.Errorf("at %s got %v, want version %d", at, err, want)
			}
		}
		if _, err := delta.Load(t.Context(), store, delta.LoadOptions{Timestamp: time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)}); err == nil {
			t.Error("a time before the table is no error")
		}
		var gone *delta.VersionError
		v := int64(3)
		if _, err := delta.Load(t.Context(), store, delta.LoadOptions{Version: &v}); !errors.As(err, &gone) {
			t.Errorf("got %v, want a VersionError", err)
		}
	})
	t.Run("files_outside_the_table_are_resolved", func(t *testing.T) {
		store, elsewhere := new(objstore.Mem), new(objstore.Mem)
		s := newTable(t, elsewhere, delta.TableOptions{Schema: ddl(t, "id BIGINT")}, `{"id":7}`)
		logOf(t, store, h+addLine("s3://bucket/other/"+files(t, s)[0]))
		s, err := delta.Load(t.Context(), store, delta.LoadOptions{Resolve: func(uri string) (objstore.Store, string, error) {
			return elsewhere, strings.TrimPrefix(uri, "s3://bucket/other/"), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		wantRows(t, s, `{"id":7}`)
		if _, err := readRows(t.Context(), load(t, store)); err == nil {
			t.Error("without a resolver there is no error")
		}
	})
	t.Run("no_table", func(t *testing.T) {
		if _, err := delta.Load(t.Context(), new(objstore.Mem), delta.LoadOptions{}); !errors.Is(err, delta.ErrNoTable) {
			t.Errorf("got %v, want ErrNoTable", err)
		}
	})
}
