package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/siltlake/silt/internal/telemetry"
)

// TestFileSchema holds the JSON Schema for editors to what silt itself reads.
func TestFileSchema(t *testing.T) {
	s, err := fileSchema()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var read jsonschema.Schema
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	resolved, err := read.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	validate := func(t *testing.T, file string) error {
		t.Helper()
		var v any
		if err := yaml.Unmarshal([]byte(file), &v); err != nil {
			t.Fatal(err)
		}
		return resolved.Validate(v)
	}

	t.Chdir(t.TempDir())
	if _, err := telemetry.WriteDemo("demo"); err != nil {
		t.Fatal(err)
	}
	demo, err := os.ReadFile(filepath.Join("demo", "silt.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"the_demo": string(demo),
		"every_key": `
version: 1
catalogs: { main: { type: local, path: ./lake } }
pipelines:
  a:
    source: ./in
    checkpointLocation: ./state
    options: { format: json, cloudFiles.maxFilesPerTrigger: 10, inferColumnTypes: true, allowComments: false }
    flatten: [{ columns: [a], separator: ., prefix: "", depth: 2 }]
    transform: [{ name: one, sql: select * from source }]
    target: { path: ./t, write: append, mergeSchema: true, partitionBy: [day], properties: { a: b } }
    lineage: [source_file]
    compat: autoloader
    uncarried: allow
    onCorrupt: drop
    onConstraint: fail
    expect: { a: "b > 0", c: { check: "d IS NOT NULL", onViolation: warn } }
    trigger: { availableNow: true }
  b: { source: x, target: { table: a.b.c }, lineage: "off", trigger: { processingTime: 30s } }
environments: { prod: { pipelines: { a: { source: ./other } } } }
`,
	} {
		t.Run(name+"_is_right", func(t *testing.T) {
			if err := validate(t, file); err != nil {
				t.Error(err)
			}
			dir := t.TempDir()
			path := filepath.Join(dir, "silt.yml")
			if err := os.WriteFile(path, []byte(file), 0o666); err != nil {
				t.Fatal(err)
			}
			a := &app{env: func(string) string { return "" }, flags: globalFlags{config: path}}
			if _, err := a.configuration(true); err != nil {
				t.Error(err)
			}
		})
	}
	for name, file := range map[string]string{
		"an_unknown_key":    "version: 1\npipelines: { a: { sorce: x } }",
		"another_version":   "version: 2",
		"no_version":        "pipelines: {}",
		"a_word_not_known":  "version: 1\npipelines: { a: { onCorrupt: keep } }",
		"a_key_for_later":   "version: 1\npipelines: { a: { promote: {} } }",
		"no_such_violation": "version: 1\npipelines: { a: { expect: { a: { check: b, onViolation: keep } } } }",
		"a_wrong_kind":      "version: 1\npipelines: { a: { target: { mergeSchema: 'yes' } } }",
	} {
		t.Run(name+"_is_wrong", func(t *testing.T) {
			if validate(t, file) == nil {
				t.Error("the schema takes it")
			}
		})
	}
}

func TestExpand(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("secret", []byte("s3cr#t: {}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"A": "a: b # c", "EMPTY": "", "N": "5"}
	for _, c := range []struct{ text, want, problem string }{
		{"${A}", "a: b # c", ""},
		{"x${A}y${N}", "xa: b # cy5", ""},
		{"${NONE:-default}", "default", ""},
		{"${EMPTY:-default}", "default", ""},
		{"${NONE:-}", "", ""},
		{"${NONE:-${N}}", "5", ""},
		{"${N:-x}", "5", ""},
		{"$$", "$", ""},
		{"$${A}", "${A}", ""},
		{"^a$", "^a$", ""},
		{"$1 $x", "$1 $x", ""},
		{"${file:secret}", "s3cr#t: {}", ""},
		{"${NONE}", "", "the variable NONE is not set"},
		{"${NONE:?set it}", "", "the variable NONE is not set: set it"},
		{"${A", "${A", "${ without its }"},
		{"${1A}", "", "${1A} is no variable"},
		{"${A:+b}", "", "${A:+b} is no variable"},
		{"${cmd:date}", "", "silt does not run commands for values yet"},
		{"${file:nothing}", "", "cannot read the file of ${file:...}: open nothing: no such file or directory"},
	} {
		x := &expander{env: func(name string) string { return env[name] }}
		v := &value{kind: text, text: c.text}
		x.expand(v)
		problem := ""
		if len(x.faults) > 0 {
			problem = x.faults[0].problem
		}
		if v.text != c.want || problem != c.problem {
			t.Errorf("%s: got %q, %q; want %q, %q", c.text, v.text, problem, c.want, c.problem)
		}
	}
}

// FuzzFile wants an answer to any text, without a panic and within the limits.
func FuzzFile(f *testing.F) {
	f.Add("version: 1\npipelines: { a: { source: x, options: { format: json } } }")
	f.Add("a: &a [x, x]\nb: *a\nc: { <<: *a }\n---\nd: |\n  text\n")
	f.Add("? [a]\n: !!binary x\n- 0x1f\n- .nan")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "silt.yml")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		a := &app{env: func(string) string { return "" }, flags: globalFlags{config: path}}
		c, err := a.configuration(true)
		switch {
		case err != nil:
			if s := a.paint(explained(err), nil); !strings.HasPrefix(s, "error SILT-1") {
				t.Errorf("got %s", s)
			}
		default:
			c.resolved()
		}
	})
}
