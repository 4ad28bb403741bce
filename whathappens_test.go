package silt_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt"
)

// happening is something that files bring: a row of docs/what-happens.md.
type happening struct {
	event string // as the page says it
	line  string // in a file of the second run
	// kept is the row when columns take all of the line, without the rescued data; more than one where
	// columns may get other types.
	kept []string
	// path of the file, and options, where they matter.
	path    string
	options map[string]string
	// judge says what came of it where kept does not tell.
	judge func(o *happened) string
}

// happenings are told over a table that a first run has made of firstLine.
var happenings = []happening{
	{event: "a new key", line: `{"id":2,"new":"v"}`, kept: []string{`{"id":2,"new":"v"}`}},
	{event: "a new key in an object", line: `{"id":2,"in":{"a":2,"b":"v"}}`, kept: []string{`{"id":2,"in":{"a":2,"b":"v"}}`}},
	{event: "a new key in a list of objects", line: `{"id":2,"l":[{"x":2,"y":"v"}]}`, kept: []string{`{"id":2,"l":[{"x":2,"y":"v"}]}`}},
	{event: "`80.5` in a column of whole numbers", line: `{"id":2,"n":80.5}`, kept: []string{`{"id":2,"n":"80.5"}`}},
	{event: "`80.0` in a column of whole numbers", line: `{"id":2,"n":80.0}`, kept: []string{`{"id":2,"n":80}`, `{"id":2,"n":"80"}`, `{"id":2,"n":"80.0"}`}},
	{event: "`80` in a column of fractions", line: `{"id":2,"d":80}`, kept: []string{`{"d":80,"id":2}`, `{"d":"80","id":2}`, `{"d":"80.0","id":2}`}},
	{event: "text in a column of numbers", line: `{"id":2,"n":"many"}`, kept: []string{`{"id":2,"n":"many"}`}},
	{event: "a number in quotes in a column of numbers", line: `{"id":2,"n":"5"}`, kept: []string{`{"id":2,"n":5}`}},
	{event: "a number in a column of text", line: `{"id":2,"t":5.0}`, kept: []string{`{"id":2,"t":"5.0"}`}},
	{event: "an object in a column of numbers", line: `{"id":2,"n":{"v":1}}`, kept: []string{"never"}},
	{event: "a number in place of an object", line: `{"id":2,"in":5}`, kept: []string{"never"}},
	{event: "a number too large for its column", line: `{"id":2,"n":9223372036854775808}`, kept: []string{`{"id":2,"n":"9223372036854775808"}`}},
	{event: "a number that DOUBLE would round: 2^53+1", line: `{"id":2,"f":9007199254740993}`, kept: []string{"never"}, options: map[string]string{"schemaHints": "f double"}, judge: rounded},
	{event: "`1e400`", line: `{"id":2,"f":1e400}`, kept: []string{"never"}, options: map[string]string{"schemaHints": "f double"}, judge: rounded},
	{event: "a new key that is only `null`", line: `{"id":2,"new":null}`, judge: nothing},
	{event: "a new key that is only `{}`", line: `{"id":2,"new":{}}`, kept: []string{`{"id":2,"new":{}}`}},
	{event: "a new key that is only `[]`", line: `{"id":2,"new":[]}`, kept: []string{`{"id":2,"new":[]}`}},
	{event: "a key in another case", line: `{"id":2,"N":7}`, kept: []string{`{"id":2,"n":7}`}},
	{event: "a key twice in one object", line: `{"id":2,"n":1,"n":7}`, kept: []string{"never"}, judge: twice},
	{event: "a missing key", line: `{"id":2}`, judge: nothing},
	{event: "a key that the schema given by option `schema` does not have", line: `{"id":2,"new":"v"}`, kept: []string{`{"id":2,"new":"v"}`}, options: map[string]string{"schema": "id bigint"}},
	{event: "a line that is no JSON", line: `{"id":2,oops}`, judge: corruptText},
	{event: "a file that ends inside a record", line: `{"id":2,"n":`, judge: corruptText},
	{event: "bytes that are no UTF-8", line: "{\"id\":2,\"t\":\"\xff\"}", judge: corruptText},
	{event: "a record longer than `maxRecordBytes`", line: `{"id":2,"t":"` + strings.Repeat("x", 2000) + `"}`, options: map[string]string{"maxRecordBytes": "1k"}, judge: corruptText},
	{event: "another record behind the first on a line", line: `{"id":2}{"id":3}`, judge: behind},
	{event: "text that is no JSON behind the first record of a line", line: `{"id":2} oops`, judge: behind},
	{event: "a folder `k=v` on the way to a file, for the first time", line: `{"id":2}`, path: "day=1/2.json", judge: folder},
	{event: "a file that was loaded and has another content now", line: `{"id":2}`, path: "1.json", judge: overwritten},
}

const firstLine = `{"id":1,"n":1,"d":1.5,"t":"x","in":{"a":1},"l":[{"x":1}]}`

// readings are the columns of the page: a mode, and whether there is rescued data in it.
var readings = []struct {
	title   string
	options map[string]string
}{
	{"`addNewColumns`", map[string]string{"schemaEvolutionMode": "addNewColumns"}},
	{"`addNewColumnsWithTypeWidening`", map[string]string{"schemaEvolutionMode": "addNewColumnsWithTypeWidening"}},
	{"`rescue`", map[string]string{"schemaEvolutionMode": "rescue"}},
	{"`failOnNewColumns`", map[string]string{"schemaEvolutionMode": "failOnNewColumns"}},
	{"`none` with `rescuedDataColumn`", map[string]string{"schemaEvolutionMode": "none", "rescuedDataColumn": "_rescued_data"}},
	{"`none`", map[string]string{"schemaEvolutionMode": "none"}},
}

// happened is what a run did with the line of a happening.
type happened struct {
	err     error
	summary *silt.Summary
	rows    []string          // without rescued data, but for the row of the first run
	rescued map[string]string // rescued data by the row
	bad     []silt.QuarantinedRecord
	event   *happening
	compat  string
}

// happen loads the first line, then the line of a happening.
func (h *happening) happen(t *testing.T, compat string, options map[string]string) *happened {
	l := newLab(t)
	l.cfg.Compat, l.cfg.Workers = compat, 1
	l.cfg.Options = map[string]string{"inferColumnTypes": "true", "mergeSchema": "true"}
	maps.Copy(l.cfg.Options, h.options)
	maps.Copy(l.cfg.Options, options)
	l.file("1.json", firstLine)
	o := &happened{event: h, compat: compat, rescued: map[string]string{}}
	if _, o.err = l.tryRun(); o.err != nil {
		return o
	}
	first := l.rows("_rescued_data")
	path := "2.json"
	if h.path != "" {
		path = h.path
	}
	l.file(path, h.line)
	if o.summary, o.err = l.tryRun(); o.err != nil {
		return o
	}
	for _, row := range l.rows() {
		var v map[string]any
		if err := json.Unmarshal([]byte(row), &v); err != nil {
			t.Fatal(err)
		}
		rescued, _ := v["_rescued_data"].(string)
		delete(v, "_rescued_data")
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if v["id"] == 1.0 && len(first) > 0 {
			first = nil
			continue
		}
		o.rows = append(o.rows, string(text))
		if rescued != "" {
			o.rescued[string(text)] = rescued
		}
	}
	if l.cfg.Compat == "" {
		o.bad = l.quarantine()
	}
	return o
}

// words say what came of the line.
func (o *happened) words() string {
	var refused *silt.ConfigError
	var stop *silt.NewColumnsError
	switch {
	case errors.As(o.err, &refused):
		return "refused before anything is read"
	case errors.As(o.err, &stop):
		return "**the run stops**, nothing is loaded"
	case o.err != nil:
		return "error: " + o.err.Error()
	case o.event.judge != nil:
		return o.event.judge(o)
	}
	if len(o.rows) != 1 {
		return fmt.Sprintf("%d rows", len(o.rows))
	}
	row := o.rows[0]
	kept := slices.Contains(o.event.kept, row)
	switch s := o.summary.Schema; {
	case len(s.Added) > 0 && kept:
		return "becomes a column, `" + s.Added[0].DDL + "`"
	case len(s.Widened) > 0 && kept:
		return "its column becomes `" + s.Widened[0].DDL + "`"
	case o.rescued[row] != "":
		return "rescued"
	case kept:
		return "in its column"
	}
	return "**lost**"
}

func rounded(o *happened) string {
	switch row := o.rows[0]; {
	case o.rescued[row] != "":
		return "rescued"
	case strings.Contains(row, `"f":`):
		return "**rounded**"
	}
	return "**lost**"
}

func nothing(o *happened) string {
	if o.rows[0] == `{"id":2}` && len(o.summary.Schema.Added) == 0 && o.rescued[o.rows[0]] == "" {
		return "NULL"
	}
	return "something"
}

func folder(o *happened) string {
	switch {
	case o.rows[0] != `{"id":2}` || o.rescued[o.rows[0]] != "":
		return o.rows[0]
	case len(o.summary.Warnings) != 1:
		return "no column"
	case o.compat == "":
		return "no column, and a warning; it stands in `source_file`"
	}
	return "no column, and a warning"
}

func twice(o *happened) string {
	row := o.rows[0]
	switch last := strings.Contains(row, `"n":7`); {
	case last && o.rescued[row] != "":
		return "the last is in the column, the other rescued"
	case last:
		return "the last is in the column, the other **lost**"
	}
	return row
}

func corruptText(o *happened) string {
	switch {
	case len(o.bad) == 1 && len(o.rows) == 0:
		return "quarantined"
	case len(o.rows) == 1 && o.rows[0] == "{}":
		return "a row of NULLs, the text **lost**"
	}
	return fmt.Sprint(o.rows)
}

func behind(o *happened) string {
	switch {
	case len(o.rows) == 2:
		return "a row of its own"
	case len(o.rows) == 1 && len(o.bad) == 1:
		return "quarantined"
	case len(o.rows) == 1:
		return "**lost**"
	}
	return fmt.Sprint(o.rows, o.bad)
}

func overwritten(o *happened) string {
	if len(o.rows) == 0 && o.summary.Files.Changed == 1 && len(o.summary.Warnings) > 0 {
		return "not loaded again; counted, and a warning"
	}
	return fmt.Sprint(o.rows)
}

// ruleHappenings are rows that a rule is about, and what becomes of them by the four words of onViolation. A
// build with SQL holds them, see TestWhatHappensWithExpectations.
var ruleHappenings = []struct {
	event, line string
	cells       []string
}{
	{"`n` of 4", `{"id":2,"n":4}`, []string{"in the table", "in the table", "in the table", "in the table"}},
	{"`n` of 5", `{"id":2,"n":5}`, []string{"quarantined", "dropped, and counted", "in the table, and a warning", "**the run stops**, nothing is loaded"}},
	{"no `n`, so that the check is NULL", `{"id":2}`, []string{"quarantined", "dropped, and counted", "in the table, and a warning", "**the run stops**, nothing is loaded"}},
	{"text in `n`, which is rescued", `{"id":2,"n":"many"}`, []string{"quarantined", "dropped, and counted", "in the table, and a warning", "**the run stops**, nothing is loaded"}},
}

// TestWhatHappensPageIsUpToDate lets everything happen in every mode of both profiles, and compares with the page.
func TestWhatHappensPageIsUpToDate(t *testing.T) {
	profiles := []string{"", "autoloader"}
	cells := make([]string, len(profiles)*len(happenings)*len(readings))
	t.Run("cells", func(t *testing.T) {
		for i, compat := range profiles {
			for j := range happenings {
				for k, r := range readings {
					t.Run(strings.ReplaceAll(compat+" "+happenings[j].event+" "+r.title, " ", "_"), func(t *testing.T) {
						t.Parallel()
						cells[(i*len(happenings)+j)*len(readings)+k] = happenings[j].happen(t, compat, r.options).words()
					})
				}
			}
		}
	})
	var b strings.Builder
	b.WriteString("# What happens to your data\n\n" +
		"A first run has made a table of one file, with the line\n\n```json\n" + firstLine + "\n```\n\n" +
		"Then a second file brings what stands in the first column. The other columns are the modes of evolution\n" +
		"(`cloudFiles.schemaEvolutionMode`). A value that is *rescued* is in the column `_rescued_data` of its row; a record that is\n" +
		"*quarantined* is in the quarantine table, with its file, line and the reason; the rest of the record, or of the file, is loaded\n" +
		"in each case. What is **bold** deserves a second look.\n\n" +
		"Each cell is what a test saw when it ran the two loads; `make golden` writes this page.\n")
	for i, compat := range profiles {
		if compat == "" {
			b.WriteString("\n## silt's own profile\n\n`none` is without rescued data when the mode is asked for by name.\n\n")
		} else {
			b.WriteString("\n## compat: autoloader\n\nWith `inferColumnTypes` and `mergeSchema` on. A stop for each new column, as Auto Loader makes it, comes with\n" +
				"`onSchemaChange: fail`. Without rescued data, a value that does not fit makes its record malformed: the corrupt record column,\n" +
				"`DROPMALFORMED` and `FAILFAST` take it, see the option `mode`.\n\n")
		}
		b.WriteString("| a file brings |")
		for _, r := range readings {
			b.WriteString(" " + r.title + " |")
		}
		b.WriteString("\n|---" + strings.Repeat("|---", len(readings)) + "|\n")
		for j, h := range happenings {
			b.WriteString("| " + h.event + " |")
			for k := range readings {
				b.WriteString(" " + cells[(i*len(happenings)+j)*len(readings)+k] + " |")
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n## With expectations\n\n" +
		"What happens to a row that a rule under `expect` is about, by its `onViolation`, in every mode and profile\n" +
		"([expectations.md](expectations.md)).\n\n" +
		"| the rule `n < 5` and a row with | `quarantine` | `drop` | `warn` | `fail` |\n|---|---|---|---|---|\n")
	for _, r := range ruleHappenings {
		b.WriteString("| " + r.event + " | " + strings.Join(r.cells, " | ") + " |\n")
	}
	const page = "docs/what-happens.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what happens (%v); run make golden and look at the difference", page, err)
	}
}
