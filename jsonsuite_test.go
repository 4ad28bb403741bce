package silt_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// suiteFiles are the files of JSONTestSuite by their names: y_ must be read, n_ must not, and i_ may be.
// Source: https://github.com/nst/JSONTestSuite.
func suiteFiles(t *testing.T) map[string]string {
	t.Helper()
	dir := filepath.Join(cmp.Or(os.Getenv("SILT_TESTDATA"), "../shared"), "data/json/JSONTestSuite/test_parsing")
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) == 0 {
		t.Skip("left out: no JSONTestSuite; SILT_TESTDATA is the folder that holds data/json/JSONTestSuite")
	}
	files := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = string(text)
	}
	return files
}

// isWhole reports whether a file is about what a file begins with, so that it must be read as it is. Of
// the others each is the value of a record.
func isWhole(name string) bool {
	return strings.Contains(strings.ToLower(name), "utf-16") || strings.Contains(name, "utf16") || strings.Contains(name, "BOM")
}

// suiteProfiles are how files are read: by silt's defaults, by its defaults without what is no JSON, and
// as Auto Loader does.
var suiteProfiles = []struct {
	name, compat string
	options      map[string]string
}{
	{name: "silt"},
	{name: "strict", options: map[string]string{"allowNonNumericNumbers": "false"}},
	{name: "autoloader", compat: "autoloader", options: map[string]string{"rescuedDataColumn": "_rescued_data"}},
}

// suiteOutcome is what came of each file in a profile, in words: "read", with the value where it is not
// the one that stands there, "rescued", or why it is no record.
func suiteOutcome(t *testing.T, compat string, options map[string]string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, whole := range []bool{false, true} {
		l := newLab(t)
		l.cfg.Compat = compat
		l.cfg.Lineage = []string{"source_file"}
		l.cfg.Options = map[string]string{"multiLine": "true", "schema": "v string"}
		if compat != "" {
			l.cfg.Options["schema"] = "v string, _corrupt_record string"
		}
		if whole {
			l.cfg.Options = map[string]string{"multiLine": "true", "singleVariantColumn": "v"}
		}
		for k, v := range options {
			if !whole || k != "rescuedDataColumn" {
				l.cfg.Options[k] = v
			}
		}
		for name, text := range suiteFiles(t) {
			if isWhole(name) != whole {
				continue
			}
			if !whole {
				text = `{"v":` + text + `}`
			}
			l.file(name, text)
			out[name] = "no record"
		}
		l.run()
		rows := map[string][]map[string]any{}
		for _, row := range tableRows(t, l.cfg.Target.Path) {
			at := path.Base(row["source_file"].(string))
			rows[at] = append(rows[at], row)
		}
		for name, of := range rows {
			out[name] = outcomeOf(of, whole, suiteFiles(t)[name])
		}
		for _, row := range tableRows(t, l.cfg.Target.Path+"_quarantine") {
			out[path.Base(row["source_file"].(string))] = "quarantined: " + row["detail"].(string)
		}
	}
	return out
}

func outcomeOf(rows []map[string]any, whole bool, text string) string {
	corrupt := func(row map[string]any) bool { return row["_corrupt_record"] != nil }
	row := rows[0]
	value, isText := row["v"].(string)
	rescued, _ := row["_rescued_data"].(string)
	switch {
	case slices.ContainsFunc(rows, corrupt):
		return "corrupt record"
	case len(rows) > 1:
		return fmt.Sprintf("read as %d records", len(rows))
	case whole && row["v"] == nil:
		return "corrupt record"
	case rescued != "":
		return "read and rescued"
	case isText && !whole && value != strings.TrimSpace(text) && strconvQuote(value) != strings.TrimSpace(text):
		return fmt.Sprintf("read as %.40q", value)
	}
	return "read"
}

// strconvQuote is the string as JSON.
func strconvQuote(s string) string {
	out, _ := json.Marshal(s)
	return string(out)
}

func tableRows(t *testing.T, dir string) (rows []map[string]any) {
	t.Helper()
	s, err := delta.Load(t.Context(), objstore.NewDir(dir), delta.LoadOptions{})
	if err != nil {
		return nil
	}
	for rec, err := range s.Scan(delta.ScanOptions{}).Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := rec.MarshalJSON()
		rec.Release()
		if err != nil {
			t.Fatal(err)
		}
		var part []map[string]any
		if err := json.Unmarshal(text, &part); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, part...)
	}
	return rows
}

// TestJSONSuitePageIsUpToDate loads JSONTestSuite in both profiles. What must be read is read, what must
// not is not, and docs/json.md says what becomes of the rest.
func TestJSONSuitePageIsUpToDate(t *testing.T) {
	files := suiteFiles(t)
	outcomes := map[string]map[string]string{}
	for _, p := range suiteProfiles {
		outcomes[p.name] = suiteOutcome(t, p.compat, p.options)
	}
	lenient := map[string][]string{}
	counts := map[byte]int{}
	for name := range files {
		counts[name[0]]++
		for profile, of := range outcomes {
			isRead := strings.HasPrefix(of[name], "read")
			switch {
			case name[0] == 'y' && !isRead:
				t.Errorf("%s, %s: %s", profile, name, of[name])
			case name[0] == 'n' && isRead && profile == "strict":
				t.Errorf("%s, %s: %s", profile, name, of[name])
			case name[0] == 'n' && isRead:
				lenient[profile] = append(lenient[profile], name)
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# What is JSON

<!-- Generated from the tests; run make golden. -->

silt reads RFC 8259 in UTF-8, and nothing else, but for what options allow. Its tests load the %d files of
[JSONTestSuite](https://github.com/nst/JSONTestSuite) with all that a load does: %d must be read and are, in
both profiles; %d must not be read; of %d the standard lets the reader decide.

A file that is not read is a record in the quarantine, with file, line and the place where it stops being
JSON, or a row with a corrupt record under `+"`compat: autoloader`"+`. No other record is lost for it.

## Read although it is no JSON

With `+"`allowNonNumericNumbers=false`"+` silt reads none of the %d. By default it reads NaN and the infinities,
as Spark does; under `+"`compat: autoloader`"+` also what Spark reads otherwise: strings in single quotes, and a
value behind which something else stands.

| file | text | silt | autoloader |
|---|---|---|---|
`, len(files), counts['y'], counts['n'], counts['i'], counts['n'])
	for _, name := range sorted(lenient["silt"], lenient["autoloader"]) {
		suiteRow(&b, name, files[name], outcomes["silt"][name], outcomes["autoloader"][name])
	}
	b.WriteString(`
## Left to the reader

| file | text | silt | autoloader |
|---|---|---|---|
`)
	var open []string
	for name := range files {
		if name[0] == 'i' {
			open = append(open, name)
		}
	}
	for _, name := range sorted(open) {
		suiteRow(&b, name, files[name], outcomes["silt"][name], outcomes["autoloader"][name])
	}
	b.WriteString(`
"Rescued" is a value that its column cannot hold as it is, here half of a surrogate pair, which no UTF-8 text
can express: it is kept in the rescued data as it is written. Bytes that are not UTF-8 are kept in the
quarantine as bytes.

## Limits

| of | default | option |
|---|---|---|
| a record | 64 MiB | ` + "`maxRecordBytes`" + ` |
| nesting of a record | 1000 | ` + "`maxNestingDepth`" + ` |
| nesting of columns | 50; what is deeper is rescued | |
| columns, the fields inside of them counted | 5000; what is beyond is rescued | ` + "`maxColumns`" + ` |
| keys of an object inside a record | 1000; an object with more is rescued | ` + "`maxObjectKeys`" + ` |
| values in the lists and maps of a record, empty fields of their objects counted | a quarter of ` + "`maxRecordBytes`" + ` | |
| a name of a column | 1024 bytes, without NUL; a value under another is rescued | |
| a compressed file | 200 times its size, from 64 MiB on | |

A record beyond a limit is in the quarantine; of one that is too long, the first 4 KiB.
`)
	const page = "docs/json.md"
	want := b.String()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what JSONTestSuite gives (%v); run make golden", page, err)
	}
}

func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

func suiteRow(b *strings.Builder, name, text, silt, autoloader string) {
	if len(text) > 40 {
		text = fmt.Sprintf("%s… %d bytes", text[:24], len(text))
	}
	shown := strings.ReplaceAll(strings.Trim(fmt.Sprintf("%+q", text), `"`), `\"`, `"`)
	shown = strings.ReplaceAll(strings.ReplaceAll(shown, `\\`, `\`), "|", `\|`)
	fmt.Fprintf(b, "| %s | `%s` | %s | %s |\n", strings.TrimSuffix(name, ".json"), shown, silt, autoloader)
}
