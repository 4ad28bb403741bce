package silt

import (
	"fmt"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// strayShare is how many numbers there are at least for each other value, where that is a stray.
const strayShare = 20

// maxStrays is the number of columns that are told one by one.
const maxStrays = 5

// strays warns of columns that a first look made STRING because of a few values, while nearly all are
// numbers: a schema does not take that back.
func strays(s *schema.Struct, o *decode.Observed) []Warning {
	var out []Warning
	more := 0
	var walk func(path []string, o *decode.Observed)
	walk = func(path []string, o *decode.Observed) {
		if o == nil {
			return
		}
		numbers := o.Longs + o.Decimals + o.Doubles
		others := o.Values() - numbers - o.Blanks
		if others > 0 && numbers >= strayShare*others && schema.At(s, path) == schema.String {
			if len(out) == maxStrays {
				more++
				return
			}
			t := schema.Long
			if o.Doubles > 0 || o.Decimals > 0 {
				t = schema.Double
			}
			at := schema.Path(path...)
			out = append(out, Warning{Code: "SILT-3008",
				Text: fmt.Sprintf("%s became STRING because of %s; the other %d are numbers", at, plural(int(others), "value", "values"), numbers),
				Hint: fmt.Sprintf("for a new table, keep the numbers and rescue the others: schemaHints: %s %s", at, t)})
			return
		}
		walk(append(path[:len(path):len(path)], "element"), o.Element)
		for _, f := range o.Fields {
			walk(append(path[:len(path):len(path)], f.Name), f.Observed)
		}
	}
	walk(nil, o)
	if more > 0 {
		out = append(out, Warning{Code: "SILT-3008", Text: fmt.Sprintf("%d more columns became STRING because of a few values that are no numbers", more), Hint: "silt plan lists fields of several kinds"})
	}
	return out
}
