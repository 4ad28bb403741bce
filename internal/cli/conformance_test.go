package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

var casesFile = flag.String("cases", "", "file of conformance cases; else spec/conformance.json in SILT_TESTDATA")

// conformanceCase is a case as it stands in the file.
type conformanceCase struct {
	ID, Title, Kind string
	Options         map[string]any
	Batches         [][]struct {
		Name, Content string
		Base64        string `json:"content_base64"`
	}
	Expect struct {
		Schema string
		Rows   []json.RawMessage
		Error  *string
		Steps  []struct {
			Error       *string
			SchemaAfter string `json:"schema_after"`
		}
	}
}

func TestConformance(t *testing.T) {
	for _, c := range conformanceCases(t) {
		t.Run(c.ID, func(t *testing.T) {
			problems := c.run(t, "")
			switch {
			case strings.Contains(strings.Join(problems, ""), duck.ErrNoSQL.Error()):
				t.Skip(duck.ErrNoSQL)
			case len(problems) > 0:
				t.Errorf("%s\n%s", c.Title, strings.Join(problems, "\n"))
			}
		})
	}
}

// TestConformanceStops holds that under onSchemaChange: fail a run stops where Auto Loader stops, with the
// schema that Auto Loader has then, and that the table is the same in the end.
func TestConformanceStops(t *testing.T) {
	for _, c := range conformanceCases(t) {
		if c.Kind == "delta" || c.Expect.Error != nil {
			continue
		}
		t.Run(c.ID, func(t *testing.T) {
			if problems := c.run(t, "fail"); len(problems) > 0 {
				t.Errorf("%s\n%s", c.Title, strings.Join(problems, "\n"))
			}
		})
	}
}

func conformanceCases(t *testing.T) []conformanceCase {
	t.Helper()
	file := *casesFile
	if file == "" {
		file = filepath.Join(cmp.Or(os.Getenv("SILT_TESTDATA"), "../../../shared"), "spec", "conformance.json")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Skipf("left out: no conformance cases (%v); set SILT_TESTDATA", err)
	}
	var cases []conformanceCase
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// run feeds the batches of a case to a pipeline, and returns what is not as expected.
func (c *conformanceCase) run(t *testing.T, onSchemaChange string) (problems []string) {
	root := t.TempDir()
	source := filepath.Join(root, "source")
	table := filepath.Join(root, "table")
	cfg := silt.Config{Name: "case", Source: source, Target: silt.Path(table), Compat: "autoloader", OnSchemaChange: onSchemaChange,
		CheckpointLocation: filepath.Join(root, "checkpoint"), Options: map[string]string{}}
	for name, v := range c.Options {
		if !strings.HasPrefix(name, "target.") && !strings.HasPrefix(name, "write.") {
			cfg.Options[name] = fmt.Sprint(v)
		}
	}
	if c.Kind == "delta" {
		cfg.Options["mergeSchema"] = fmt.Sprint(cmp.Or(c.Options["write.mergeSchema"], c.Options["write.schemaEvolution"], "false"))
		for _, name := range []string{"txnAppId", "txnVersion"} {
			if v, ok := c.Options["write."+name]; ok {
				cfg.Options[name] = fmt.Sprint(v)
			}
		}
		if c.Options["write.mode"] == "merge" {
			cfg.Target.Write = "merge"
			for _, k := range c.Options["write.keys"].([]any) {
				cfg.Target.Merge.Keys = append(cfg.Target.Merge.Keys, k.(string))
			}
		}
		if err := c.target(t, table); err != nil {
			return []string{"target: " + err.Error()}
		}
	} else {
		cfg.Options["mergeSchema"] = "true"
	}
	failed := func(err error) []string {
		if c.Expect.Error == nil {
			return append(problems, "error: "+err.Error())
		}
		return problems
	}
	clock := time.Now().Add(-time.Hour)
	var err error
	var fails bool
	var stops []string // the schema at each
	for _, batch := range c.Batches {
		for _, f := range batch {
			content := []byte(f.Content)
			if f.Base64 != "" {
				if content, err = base64.StdEncoding.DecodeString(f.Base64); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(source, f.Name)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, content, 0o666); err != nil {
				t.Fatal(err)
			}
			clock = clock.Add(time.Second)
			if err := os.Chtimes(path, clock, clock); err != nil {
				t.Fatal(err)
			}
		}
		p, err := silt.Open(t.Context(), cfg)
		if err != nil {
			return failed(err)
		}
		for _, err = p.RunOnce(t.Context()); errors.As(err, new(*silt.SchemaChangedError)); _, err = p.RunOnce(t.Context()) {
			stops = append(stops, latestSchema(t, cfg))
		}
		p.Close()
		if err != nil {
			problems, fails = failed(err), true
			if c.Expect.Error == nil {
				return problems
			}
			break
		}
	}
	if c.Expect.Error != nil && !fails {
		problems = append(problems, "no error, want "+*c.Expect.Error)
	}
	if onSchemaChange == "fail" {
		var want []string
		for _, s := range c.Expect.Steps {
			if s.Error != nil {
				want = append(want, s.SchemaAfter)
			}
		}
		if !slices.Equal(stops, want) {
			problems = append(problems, fmt.Sprintf("stops: %q\nwant:  %q", stops, want))
		}
	}
	got, rows, err := c.result(t, cfg)
	if err != nil {
		return append(problems, err.Error())
	}
	if want := c.Expect.Schema; want != "" && got != want {
		problems = append(problems, "schema: "+got, "want:   "+want)
	}
	var want []string
	for _, r := range c.Expect.Rows {
		want = append(want, canonicalRow(t, bytes.ReplaceAll(r, []byte("${ROOT}"), []byte("file://"+source))))
	}
	slices.Sort(want)
	if !slices.Equal(rows, want) {
		problems = append(problems, "rows: "+strings.Join(rows, "\n      "), "want: "+strings.Join(want, "\n      "))
	}
	return problems
}

// latestSchema is the newest version of the source schema.
func latestSchema(t *testing.T, cfg silt.Config) string {
	states, err := silt.States(t.Context(), cfg)
	if err != nil || len(states) == 0 {
		t.Fatal("no state", err)
	}
	history, err := states[0].SchemaHistory(t.Context())
	if err != nil || len(history) == 0 {
		t.Fatal("no schema", err)
	}
	return history[len(history)-1].Schema.DDL()
}

// target makes the table of a case that has one.
func (c *conformanceCase) target(t *testing.T, path string) error {
	s, err := schema.ParseDDL(fmt.Sprint(c.Options["target.ddl"]))
	if err != nil {
		return err
	}
	props := map[string]string{}
	if p, ok := c.Options["target.props"].(map[string]any); ok {
		for k, v := range p {
			props[k] = fmt.Sprint(v)
		}
	}
	store := objstore.NewDir(path)
	tx, err := delta.NewTable(store, delta.TableOptions{Schema: s, Properties: props})
	if err != nil {
		return err
	}
	rows, err := json.Marshal(c.Options["target.rows"])
	if err != nil {
		return err
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s.Arrow(), bytes.NewReader(rows))
	if err != nil {
		return err
	}
	if rec.NumRows() > 0 {
		w, err := delta.NewDataWriter(t.Context(), store, tx.WriteContext(), delta.DataWriterOptions{Evaluator: convert.Evaluator{
			Engine: func(ctx context.Context) (*duck.Engine, error) { return duck.Open(ctx, duck.Options{}) }}})
		if err != nil {
			return err
		}
		if err := w.Write(t.Context(), rec); err != nil {
			return err
		}
		adds, err := w.Close(t.Context())
		if err != nil {
			return err
		}
		tx.Add(adds...)
	}
	if v, ok := c.Options["write.lastTxnVersion"].(float64); ok {
		tx.SetTxn(fmt.Sprint(c.Options["write.txnAppId"]), int64(v))
	}
	_, err = tx.Commit(t.Context(), nil)
	return err
}

// result reads the table: for a reader case the schema of the source with the rescued data behind it,
// else the table's.
func (c *conformanceCase) result(t *testing.T, cfg silt.Config) (ddl string, rows []string, err error) {
	s, err := delta.Load(t.Context(), objstore.NewDir(cfg.Target.Path), delta.LoadOptions{})
	if err == nil {
		ddl = s.Schema().DDL()
		for rec, err := range s.Scan(delta.ScanOptions{}).Batches(t.Context()) {
			if err != nil {
				return ddl, nil, err
			}
			rows = append(rows, recordRows(t, rec)...)
			rec.Release()
		}
		slices.Sort(rows)
	} else if !strings.Contains(err.Error(), delta.ErrNoTable.Error()) {
		return "", nil, err
	}
	if c.Kind == "delta" {
		return ddl, rows, nil
	}
	states, err := silt.States(t.Context(), cfg)
	if err != nil || len(states) == 0 {
		return ddl, rows, err
	}
	history, err := states[0].SchemaHistory(t.Context())
	if err != nil {
		return ddl, rows, err
	}
	if len(history) == 0 { // the first batch failed; it would have been read by what is given
		given, err := schema.ParseDDL(cfg.Options["schema"])
		if err != nil || len(given.Fields) == 0 {
			return ddl, rows, err
		}
		if name := cfg.Options["rescuedDataColumn"]; name != "" {
			given = given.Append(schema.Nullable(name, schema.String))
		}
		return given.DDL(), rows, nil
	}
	read := history[len(history)-1].Schema
	if s != nil {
		for _, f := range s.Schema().Fields {
			if read.IndexFold(f.Name) < 0 {
				read = read.Append(f)
			}
		}
	}
	return read.DDL(), rows, nil
}

func recordRows(t *testing.T, rec arrow.RecordBatch) []string {
	t.Helper()
	structs := array.RecordToStructArray(rec)
	defer structs.Release()
	var rows []string
	for i := range structs.Len() {
		rows = append(rows, canonicalRow(t, encoding{}.json(nil, structs, i)))
	}
	return rows
}

// canonicalRow is a row with sorted keys. Its numbers are as they are written when they are whole and
// fit 64 bits, else the doubles they are.
func canonicalRow(t *testing.T, text []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	out, err := json.Marshal(canonicalNumbers(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func canonicalNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = canonicalNumbers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = canonicalNumbers(x)
		}
	case json.Number:
		if _, err := v.Int64(); err != nil {
			f, _ := v.Float64()
			return f
		}
	}
	return v
}
