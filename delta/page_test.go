package delta

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/delta.md")

// featureNotes say what the package does about a feature, where yes and no do not say it.
var featureNotes = map[string]string{
	"appendOnly":               "a change that takes rows away is refused before anything is written",
	"invariants":               "of SQL, by the `Evaluator`; NOT NULL columns are checked by the package itself",
	"checkConstraints":         "by the `Evaluator`",
	"changeDataFeed":           "appends are change data themselves; deletions, updates and merges write change files, which can be read",
	"generatedColumns":         "by the `Evaluator`",
	"columnMapping":            "by name and by id; a mapped table can be made, and a table can begin to be mapped",
	"identityColumns":          "new rows are numbered",
	"allowColumnDefaults":      "defaults that are constants are filled in",
	"checkpointProtection":     "a log clean-up keeps what is protected",
	"clustering":               "statistics of the clustering columns are written; files are not clustered",
	"deletionVectors":          "inline and in files; rows are deleted by them where the table allows it",
	"domainMetadata":           "kept through commits, checkpoints and restores",
	"inCommitTimestamp":        "time travel goes by them",
	"rowTracking":              "row ids and commit versions are assigned, and kept when rows move",
	"timestampNtz":             "",
	"typeWidening":             "types grow as a transaction asks for it",
	"typeWidening-preview":     "as typeWidening",
	"v2Checkpoint":             "with sidecars; written where `delta.checkpointPolicy` is `v2`",
	"vacuumProtocolCheck":      "a vacuum checks the protocol in any case",
	"variantType":              "written unshredded",
	"variantType-preview":      "as variantType",
	"variantShredding":         "shredded files are read; files are written unshredded, as is allowed",
	"variantShredding-preview": "as variantShredding",
}

// featureTable is the table of features as Markdown.
func featureTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| feature | implied by | read | write | |\n|---|---|---|---|---|\n")
	known := map[string]bool{}
	for _, f := range features {
		note, ok := featureNotes[f.name]
		if !ok {
			t.Errorf("feature %s has no note", f.name)
		}
		known[f.name] = true
		implied := ""
		switch {
		case f.reader > 0:
			implied = fmt.Sprintf("reader %d, writer %d", f.reader, f.writer)
		case f.writer > 0:
			implied = fmt.Sprintf("writer %d", f.writer)
		}
		read := "no"
		switch {
		case !f.readerWriter:
			read = "–" // readers need not know it
		case f.read:
			read = "yes"
		}
		write := "no"
		switch {
		case f.write:
			write = "yes"
		case f.sql:
			write = "with SQL"
		case f.inUse != nil:
			write = "in part"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.name, implied, read, write, note)
	}
	for name := range featureNotes {
		if !known[name] {
			t.Errorf("there is no feature %s", name)
		}
	}
	return b.String()
}

func TestFeaturePageIsUpToDate(t *testing.T) {
	const page, from, to = "../docs/delta.md", "<!-- features, from feature.go -->\n", "<!-- end -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), from)
	_, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks around the table", page)
	}
	for _, name := range regexp.MustCompile("`(Snapshot|Transaction)\\.(\\w+)`").FindAllStringSubmatch(string(text), -1) {
		of := reflect.TypeFor[*Snapshot]()
		if name[1] == "Transaction" {
			of = reflect.TypeFor[*Transaction]()
		}
		if _, ok := of.MethodByName(name[2]); !ok {
			t.Errorf("%s: there is no %s.%s", page, name[1], name[2])
		}
	}
	want := head + from + featureTable(t) + to + tail
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("%s is not what feature.go says; run make golden", page)
	}
}
