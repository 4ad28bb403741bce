//go:build duckdb_arrow

package silt_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTransformRecipes runs the recipes of docs/transform.md on the record that stands before them.
func TestTransformRecipes(t *testing.T) {
	page, err := os.ReadFile("docs/transform.md")
	if err != nil {
		t.Fatal(err)
	}
	_, recipes, _ := strings.Cut(string(page), "## Recipes\n")
	_, input, _ := strings.Cut(recipes, "```json\n")
	input, _, _ = strings.Cut(input, "```")
	all := regexp.MustCompile("(?s)```sql\n(.*?)```\n```json\n(.*?)```").FindAllStringSubmatch(recipes, -1)
	if len(all) < 5 || !strings.HasPrefix(input, "{") {
		t.Fatalf("%d recipes on %s", len(all), input)
	}
	for _, r := range all {
		l := newLab(t)
		l.cfg.Lineage = []string{}
		l.cfg.Transform = r[1]
		l.file("1.json", input)
		if _, err := l.tryRun(); err != nil {
			t.Errorf("%s: %v", r[1], err)
			continue
		}
		var want []string
		for line := range strings.SplitSeq(strings.TrimSpace(r[2]), "\n") {
			want = append(want, canonicalJSON(t, []byte(line)))
		}
		if got := l.rows(); !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", r[1], got, want)
		}
	}
}
