package silt

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

// Step is a named SELECT of a transform.
type Step struct {
	// Name is what later steps call its rows.
	Name string
	// SQL reads the table "source", steps before it, or both.
	SQL string
}

// Steps makes one transform of steps: the rows of the last are those of the table. The error names the step
// that is at fault.
func Steps(steps ...Step) (string, error) {
	if len(steps) == 0 {
		return "", nil
	}
	var b strings.Builder
	seen := map[string]bool{schema.Fold(duck.Source): true}
	for i, s := range steps {
		sql := strings.TrimRightFunc(s.SQL, func(r rune) bool { return r == ';' || unicode.IsSpace(r) })
		switch folded := schema.Fold(s.Name); {
		case s.Name == "":
			return "", fmt.Errorf("step %d has no name", i+1)
		case folded == duck.Source:
			return "", fmt.Errorf("step %d cannot be called %s: that is what the transform reads", i+1, s.Name)
		case seen[folded]:
			return "", fmt.Errorf("two steps are called %s", s.Name)
		case sql == "":
			return "", fmt.Errorf("step %s has no SQL", s.Name)
		default:
			seen[folded] = true
		}
		b.WriteString([]string{"WITH ", ", "}[min(i, 1)])
		fmt.Fprintf(&b, "%s AS (\n%s\n)", quoted(s.Name), sql)
	}
	fmt.Fprintf(&b, "\nSELECT * FROM %s", quoted(steps[len(steps)-1].Name))
	return b.String(), nil
}

// quoted is a name as SQL writes it.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
