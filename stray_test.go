package silt_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestAFewTextsAmongNumbersAreTold(t *testing.T) {
	for _, test := range []struct {
		name    string
		texts   int
		options map[string]string
		want    string
	}{
		{"one", 1, nil, "t became STRING because of 1 value; the other 100 are numbers"},
		{"many", 50, nil, ""},
		{"none", 0, nil, ""},
		{"all_are_strings_anyway", 1, map[string]string{"inferColumnTypes": "false"}, ""},
		{"a_hint_settles_it", 1, map[string]string{"schemaHints": "t bigint"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Options = test.options
			var b strings.Builder
			for i := range 100 {
				fmt.Fprintf(&b, "{\"t\":%d}\n", i)
			}
			b.WriteString(strings.Repeat("{\"t\":\"n/a\"}\n", test.texts))
			l.file("1.json", b.String())
			got := ""
			for _, w := range l.run().Warnings {
				if w.Code == "SILT-3008" {
					got = w.Text
				}
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
