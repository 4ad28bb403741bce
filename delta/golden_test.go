package delta_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/variant"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// testdata returns the folder of tables that other engines have made, or skips.
func testdata(t *testing.T) string {
	t.Helper()
	root := os.Getenv("SILT_TESTDATA")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	dir := filepath.Join(root, "data", "delta")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no tables to read: SILT_TESTDATA is %q, and there is no %s", os.Getenv("SILT_TESTDATA"), dir)
	}
	return dir
}

// cell writes a value so that equal values of equal types have equal texts.
func cell(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "null"
	}
	switch a := a.(type) {
	case *array.Struct:
		parts := make([]string, a.NumField())
		for f := range parts {
			parts[f] = a.DataType().(*arrow.StructType).Field(f).Name + ":" + cell(a.Field(f), i)
		}
		return "{" + strings.Join(parts, ",") + "}"
	case *array.Map:
		var parts []string
		for from, to := a.ValueOffsets(i); from < to; from++ {
			parts = append(parts, cell(a.Keys(), int(from))+"="+cell(a.Items(), int(from)))
		}
		sort.Strings(parts)
		return "<" + strings.Join(parts, ",") + ">"
	case *array.List:
		var parts []string
		for from, to := a.ValueOffsets(i); from < to; from++ {
			parts = append(parts, cell(a.ListValues(), int(from)))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case *array.Timestamp:
		t := a.DataType().(*arrow.TimestampType)
		return a.Value(i).ToTime(t.Unit).Format("2006-01-02T15:04:05.000000")
	case *array.Float64:
		return strconv.FormatFloat(a.Value(i), 'g', -1, 64) + strconv.FormatBool(math.Signbit(a.Value(i)))
	case *array.Float32:
		return "f" + strconv.FormatFloat(float64(a.Value(i)), 'g', -1, 32) + strconv.FormatBool(math.Signbit(float64(a.Value(i))))
	case *array.Decimal128:
		t := a.DataType().(*arrow.Decimal128Type)
		return fmt.Sprintf("%s(%d,%d)", a.Value(i).ToString(t.Scale), t.Precision, t.Scale)
	case *array.String:
		return strconv.Quote(a.Value(i))
	case *array.Binary:
		return fmt.Sprintf("x%x", a.Value(i))
	}
	return a.DataType().Name() + " " + a.ValueStr(i)
}

func cells(rec arrow.RecordBatch, names []string) []string {
	out := make([]string, rec.NumRows())
	for i := range out {
		var b strings.Builder
		for _, name := range names {
			c := rec.Schema().FieldIndices(name)
			if len(c) != 1 {
				b.WriteString(name + ": missing; ")
				continue
			}
			fmt.Fprintf(&b, "%s: %s; ", name, cell(rec.Column(c[0]), i))
		}
		out[i] = b.String()
	}
	return out
}

// parquetRows reads the Parquet files of a folder without any of delta's code.
func parquetRows(t *testing.T, dir string) (names []string, rows []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Parquet files in %s", dir)
	}
	for _, name := range files {
		r, err := file.OpenParquetFile(name, false)
		if err != nil {
			t.Fatal(err)
		}
		fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		if err != nil {
			t.Fatal(err)
		}
		table, err := fr.ReadTable(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		names = nil
		for _, f := range table.Schema().Fields() {
			names = append(names, f.Name)
		}
		tr := array.NewTableReader(table, 0)
		for tr.Next() {
			rows = append(rows, cells(tr.RecordBatch(), names)...)
		}
		r.Close()
	}
	return names, rows
}

func sameRows(t *testing.T, s *delta.Snapshot, dir string) {
	t.Helper()
	names, want := parquetRows(t, dir)
	if got := s.Schema().Names(); !sameNames(got, names) {
		t.Errorf("got columns %q, want %q", got, names)
	}
	var got []string
	for rec, err := range s.Scan(delta.ScanOptions{}).Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, cells(rec, names)...)
		rec.Release()
	}
	slices.Sort(got)
	slices.Sort(want)
	if slices.Equal(got, want) {
		return
	}
	t.Errorf("got %d rows, want %d", len(got), len(want))
	shown := 0
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w && shown < 3 {
			shown++
			t.Logf("row %d\ngot  %s\nwant %s", i, g, w)
		}
	}
}

func sameNames(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// versionOfFolder reads the name of a folder with expected rows, such as v3; latest is nil.
func versionOfFolder(t *testing.T, name string) *int64 {
	t.Helper()
	if name == "latest" {
		return nil
	}
	v, err := strconv.ParseInt(strings.TrimPrefix(name, "v"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return &v
}

func TestTablesOfOthers(t *testing.T) {
	dir := testdata(t)
	for _, kind := range []struct{ glob, content string }{
		{"dat-v0.0.3/out/reader_tests/generated/*", "table_content"},
		{"spark-4.4.0-generated/*", ""},
	} {
		tables, err := filepath.Glob(filepath.Join(dir, kind.glob))
		if err != nil || len(tables) == 0 {
			t.Fatalf("no tables in %s", kind.glob)
		}
		for _, table := range tables {
			expected, err := os.ReadDir(filepath.Join(table, "expected"))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range expected {
				t.Run(filepath.Base(table)+"/"+e.Name(), func(t *testing.T) {
					s, err := delta.Load(t.Context(), objstore.NewDir(filepath.Join(table, "delta")), delta.LoadOptions{Version: versionOfFolder(t, e.Name())})
					if err != nil {
						t.Fatal(err)
					}
					if filepath.Base(table) == "variant" {
						sameVariants(t, s, filepath.Join(table, "expected_json"))
						return
					}
					sameRows(t, s, filepath.Join(table, "expected", e.Name(), kind.content))
					sameVersion(t, s, filepath.Join(table, "expected", e.Name(), "table_version_metadata.json"))
				})
			}
		}
	}
}

// sameVersion compares a snapshot with what the acceptance tests say of a version.
func sameVersion(t *testing.T, s *delta.Snapshot, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return
	}
	var want struct {
		Version    int64
		Properties map[string]string
		MinReader  int `json:"min_reader_version"`
		MinWriter  int `json:"min_writer_version"`
	}
	if err == nil {
		err = json.Unmarshal(text, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := s.Protocol()
	if s.Version() != want.Version || p.MinReaderVersion != want.MinReader || p.MinWriterVersion != want.MinWriter {
		t.Errorf("got version %d, protocol %d,%d, want %+v", s.Version(), p.MinReaderVersion, p.MinWriterVersion, want)
	}
	for k, v := range want.Properties {
		if got := s.Metadata().Configuration[k]; got != v {
			t.Errorf("property %s: got %q, want %q", k, got, v)
		}
	}
}

// variantJSON returns the JSON of the variants in column v, by id.
func variantJSON(t *testing.T, s *delta.Snapshot) map[string]string {
	t.Helper()
	got := map[string]string{}
	for rec, err := range s.Scan(delta.ScanOptions{Columns: []string{"id", "v"}}).Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		st := rec.Column(1).(*array.Struct)
		for i := range int(rec.NumRows()) {
			v, err := variant.New(st.Field(1).(*array.Binary).Value(i), st.Field(0).(*array.Binary).Value(i))
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			json.Compact(&b, text)
			got["id: "+cell(rec.Column(0), i)+"; "] = b.String()
		}
		rec.Release()
	}
	return got
}

func sameVariants(t *testing.T, s *delta.Snapshot, dir string) {
	t.Helper()
	_, rows := parquetRows(t, dir)
	got := variantJSON(t, s)
	for _, row := range rows {
		id, v, _ := strings.Cut(row, "v: ")
		want, err := strconv.Unquote(strings.TrimSuffix(v, "; "))
		if err != nil || got[id] != want {
			t.Errorf("%s got %s, want %s", id, got[id], want)
		}
	}
	if len(got) != len(rows) {
		t.Errorf("got %d rows, want %d", len(got), len(rows))
	}
}

func TestShreddedVariant(t *testing.T) {
	dir := filepath.Join(testdata(t), "spark-4.4.0-generated", "variant")
	files, _ := filepath.Glob(filepath.Join(dir, "expected", "v1", "*.parquet"))
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	store := new(objstore.Mem)
	log, err := os.ReadFile(filepath.Join(dir, "delta", "_delta_log", "00000000000000000000.json"))
	if err != nil {
		t.Fatal(err)
	}
	log = append(log, fmt.Sprintf(`{"add":{"path":"x.parquet","partitionValues":{},"size":%d,"modificationTime":0,"dataChange":true}}`, len(content))...)
	for key, content := range map[string][]byte{"x.parquet": content, "_delta_log/00000000000000000000.json": log} {
		if _, err := objstore.PutBytes(t.Context(), store, key, content, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
	}
	sameVariants(t, load(t, store), filepath.Join(dir, "expected_json"))
}

// copyTable copies a table, so that the times of its files can be set.
func copyTable(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

type recorded struct {
	Version             int64
	Timestamp           string
	UserMetadata        *string
	Operation           string
	OperationParameters map[string]*string
	ReadVersion         *int64
	IsolationLevel      string
	IsBlindAppend       *bool
	OperationMetrics    map[string]*string
	EngineInfo          string
}

func readJSON(t *testing.T, path string, to any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

const recordedTime = "2006-01-02 15:04:05.999999"

// setTime gives a commit the time that it had when it was made.
func setTime(t *testing.T, dir string, version int64, at string) {
	t.Helper()
	when, err := time.Parse(recordedTime, at)
	if err == nil {
		name := filepath.Join(dir, "_delta_log", fmt.Sprintf("%020d.json", version))
		if err = os.Chmod(name, 0o600); err == nil {
			err = os.Chtimes(name, when, when)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestHistoryAndDetailOfOthers(t *testing.T) {
	tables, _ := filepath.Glob(filepath.Join(testdata(t), "spark-4.4.0-generated", "*"))
	for _, table := range tables {
		t.Run(filepath.Base(table), func(t *testing.T) {
			dir := copyTable(t, filepath.Join(table, "delta"))
			store := objstore.NewDir(dir)
			var history []recorded
			readJSON(t, filepath.Join(table, "expected_history.json"), &history)
			for _, h := range history {
				setTime(t, dir, h.Version, h.Timestamp)
			}
			got, err := delta.History(t.Context(), store, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(history) {
				t.Fatalf("got %d versions, want %d", len(got), len(history))
			}
			for i, g := range got {
				sameJSON(t, recorded{g.Version, g.Timestamp.UTC().Format(recordedTime), nil, g.Operation, g.Parameters(), g.ReadVersion,
					g.IsolationLevel, g.IsBlindAppend, g.Metrics(), g.EngineInfo}, trimmed(history[i]))
			}
			var detail map[string]any
			readJSON(t, filepath.Join(table, "expected_detail.json"), &detail)
			setTime(t, dir, history[0].Version, detail["lastModified"].(string))
			d, err := load(t, store).Detail(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			delete(detail, "location")
			sameJSON(t, map[string]any{"format": d.Format, "id": d.ID, "name": null(d.Name), "description": null(d.Description),
				"createdAt": d.CreatedAt.Format(recordedTime), "lastModified": d.LastModified.Format(recordedTime),
				"partitionColumns": d.PartitionColumns, "clusteringColumns": d.ClusteringColumns, "numFiles": d.NumFiles,
				"sizeInBytes": d.SizeInBytes, "properties": d.Properties, "minReaderVersion": d.MinReaderVersion,
				"minWriterVersion": d.MinWriterVersion, "tableFeatures": d.TableFeatures}, trimTimes(detail))
		})
	}
}

// trimmed drops the zeros with which the recorded times end.
func trimmed(r recorded) recorded {
	r.Timestamp = trimTime(r.Timestamp)
	return r
}

func trimTimes(m map[string]any) map[string]any {
	for k, v := range m {
		if s, ok := v.(string); ok && strings.HasSuffix(k, "At") || k == "lastModified" {
			if !ok {
				s = v.(string)
			}
			m[k] = trimTime(s)
		}
	}
	return m
}

func trimTime(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func sameJSON(t *testing.T, got, want any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if canonical(t, string(g)) != canonical(t, string(w)) {
		t.Errorf("got  %s\nwant %s", canonical(t, string(g)), canonical(t, string(w)))
	}
}
