package merge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siltlake/silt/schema"
)

// sparkJob is a table and merges into it, for testdata/spark.py.
type sparkJob struct {
	Name   string       `json:"name"`
	Path   string       `json:"path"`
	Create *sparkCreate `json:"create"` // nil: there is a table
	Steps  []sparkMerge `json:"steps"`
}

// sparkCreate makes a table. Rows is a file of JSON, one a line.
type sparkCreate struct {
	Schema      string            `json:"schema"`
	PartitionBy []string          `json:"partitionBy"`
	Properties  map[string]string `json:"properties"`
	Rows        string            `json:"rows"`
}

type sparkMerge struct {
	Schema string `json:"schema"`
	Rows   string `json:"rows"`
	SQL    string `json:"sql"`
}

// job writes the rows of the history into a folder, and is the job to make it there.
func (h sparkHistory) job(t *testing.T, dir string) sparkJob {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	file := func(name, columns string, rows []row) string {
		var text bytes.Buffer
		for i, r := range rows {
			out := toSpark(r, ddl(t, columns)).(map[string]any)
			out["_position"] = i
			line, err := json.Marshal(out)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(append(line, '\n'))
		}
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	job := sparkJob{Name: h.Name, Path: filepath.Join(dir, "spark")}
	job.Create = &sparkCreate{h.Schema, h.PartitionBy, h.Properties, file("rows.json", h.Schema, h.Rows)}
	for i, s := range h.Steps {
		m := sparkMerge{s.Schema, file(fmt.Sprintf("step%d.json", i+1), s.Schema, s.Rows), s.SQL}
		if strings.Contains(s.SQL, "_position") {
			m.Schema += ",_position INT"
		}
		job.Steps = append(job.Steps, m)
	}
	return job
}

// toSpark is a value as Spark reads it from JSON: maps are objects.
func toSpark(v any, typ schema.Type) any {
	if r, ok := v.(row); ok {
		v = map[string]any(r)
	}
	switch typ := typ.(type) {
	case *schema.Struct:
		in, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		out := map[string]any{}
		for _, f := range typ.Fields {
			if in[f.Name] != nil {
				out[f.Name] = toSpark(in[f.Name], f.Type)
			}
		}
		return out
	case *schema.Array:
		out := []any{}
		for _, x := range v.([]any) {
			out = append(out, toSpark(x, typ.Element))
		}
		return out
	case *schema.Map:
		out := map[string]any{}
		for _, x := range v.([]any) {
			entry := x.(map[string]any)
			out[entry["key"].(string)] = toSpark(entry["value"], typ.Value)
		}
		return out
	case schema.Decimal:
		return json.Number(v.(string))
	}
	return v
}

// fromSpark is a value that Spark has read, as silt writes it.
func fromSpark(v any) any {
	switch v := v.(type) {
	case map[string]any:
		entries, ok := v["map"].([]any)
		if !ok {
			for name, x := range v {
				v[name] = fromSpark(x)
			}
			return v
		}
		for i, x := range entries {
			entry := x.([]any)
			entries[i] = map[string]any{"key": entry[0], "value": fromSpark(entry[1])}
		}
		return entries
	case []any:
		for i, x := range v {
			v[i] = fromSpark(x)
		}
	}
	return v
}

// askSpark lets Spark do the jobs, and returns the outcome of each step by the name of the job; that of a
// job without steps is the table.
func askSpark(t *testing.T, spark, dir string, jobs []sparkJob) map[string][]outcome {
	t.Helper()
	var text bytes.Buffer
	for _, j := range jobs {
		line, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	list, out := filepath.Join(dir, "jobs"), filepath.Join(dir, "out")
	if err := os.WriteFile(list, text.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	jars := filepath.Join(filepath.Dir(filepath.Dir(spark)), "jars")
	shared := filepath.Join("..", "..", "delta", "testdata")
	if text, err := exec.CommandContext(t.Context(), spark, filepath.Join("testdata", "spark.py"), jars, shared, list, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text[max(0, len(text)-3000):])
	}
	said, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	all := outcomes(t, said)
	for _, j := range jobs {
		if len(all[j.Name]) != max(1, len(j.Steps)) {
			t.Fatalf("Spark, %s: %d outcomes of %d steps", j.Name, len(all[j.Name]), len(j.Steps))
		}
	}
	return all
}

// outcomes are what Spark said, by the name of the job.
func outcomes(t *testing.T, said []byte) map[string][]outcome {
	t.Helper()
	all := map[string][]outcome{}
	for line := range bytes.Lines(said) {
		var x struct {
			Name, Schema, Error string
			Rows                []map[string]any
		}
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatal(err)
		}
		o := outcome{Schema: ddl(t, x.Schema).DDL()}
		if o.SeveralMatches = strings.Contains(x.Error, "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE"); x.Error != "" && !o.SeveralMatches {
			t.Fatalf("Spark, %s: %s", x.Name, x.Error)
		}
		for _, r := range x.Rows {
			o.Rows = append(o.Rows, fromSpark(r).(map[string]any))
		}
		o.Rows = ordered(o.Rows)
		all[x.Name] = append(all[x.Name], o)
	}
	return all
}
