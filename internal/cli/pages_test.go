package cli

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	errorpages "github.com/siltlake/silt/docs/errors"
)

var codePattern = regexp.MustCompile(`"(SILT-\d{4})"`)

// TestPages holds the codes in the code of the whole module and the pages in docs/errors to each other.
func TestPages(t *testing.T) {
	used := map[string]string{} // a file that has the code
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range codePattern.FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range slices.Sorted(maps.Keys(used)) {
		if !slices.Contains(errorCodes(), code) {
			t.Errorf("%s has the code %s, which docs/errors has no page for", used[code], code)
		}
	}
	for _, code := range errorCodes() {
		if used[code] == "" {
			t.Errorf("docs/errors/%s.md is a page about a code that nothing has", code)
		}
		page, err := fs.ReadFile(errorpages.FS, code+".md")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(page), "# "+code+": ") {
			t.Errorf("%s.md does not start with # %s: and a title", code, code)
		}
		for _, section := range []string{"\n## What happened\n", "\n## Example\n\n```\n", "\n## Fix\n"} {
			if !strings.Contains(string(page), section) {
				t.Errorf("%s.md has no section %s", code, strings.TrimSpace(section))
			}
		}
	}
}
