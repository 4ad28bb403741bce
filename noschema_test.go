package silt_test

import (
	"errors"
	"testing"

	"github.com/siltlake/silt"
)

// TestNothingToInferFrom holds where Auto Loader's first run stops. Source: Auto Loader, "FAQ".
func TestNothingToInferFrom(t *testing.T) {
	for _, test := range []struct {
		name, compat, text string
		options            map[string]string
		files              int
		stops              bool
	}{
		{name: "an_empty_source", compat: "autoloader", stops: true},
		{name: "an_empty_source_in_silts_own_profile"},
		{name: "an_empty_source_with_hints", compat: "autoloader", options: map[string]string{"schemaHints": "a int"}},
		{name: "an_empty_source_with_a_schema", compat: "autoloader", options: map[string]string{"schema": "a int"}},
		{name: "corrupt_records_alone", compat: "autoloader", text: "{bad\n{worse\n", files: 1, stops: true},
		{name: "empty_records_alone", compat: "autoloader", text: "{}\n{}\n", files: 1, stops: true},
		{name: "corrupt_records_alone_with_hints", compat: "autoloader", text: "{bad\n", options: map[string]string{"schemaHints": "a int"}},
		{name: "corrupt_records_alone_in_silts_own_profile", text: "{bad\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t)
			l.cfg.Compat, l.cfg.Options = test.compat, test.options
			if test.text != "" {
				l.file("1.json", test.text)
			}
			_, err := l.tryRun()
			var stop *silt.NoSchemaError
			if errors.As(err, &stop) != test.stops || err != nil && !test.stops || stop != nil && stop.Files != test.files {
				t.Fatal(err)
			}
			if test.stops {
				l.file("2.json", `{"a":1}`+"\n")
				l.run()
				l.want(append([]string{`{"a":"1"}`}, map[string][]string{"{bad\n{worse\n": {`{}`, `{}`}, "{}\n{}\n": {`{}`, `{}`}}[test.text]...)...)
			}
		})
	}
}
