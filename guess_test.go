package silt_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/siltlake/silt"
)

// A source that is loaded at once is loaded by a guess of its schema, which is checked as it is loaded;
// one that is loaded file by file after a look at all of it. Both must come to the same, whatever stands
// in the last line of the last file.
func TestAGuessIsAsGoodAsALook(t *testing.T) {
	for _, tc := range []struct{ name, last, schema string }{
		{"all_fits", `{"n":7,"s":"z","o":{"x":1.5},"a":[1],"flag":true}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
		{"a_new_field", `{"n":7,"new":true}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,new BOOLEAN,o STRUCT<x: DOUBLE>,s STRING"},
		{"a_new_field_that_is_null", `{"n":7,"new":null}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
		{"a_fraction_in_whole_numbers", `{"n":7.5}`, "a ARRAY<BIGINT>,flag BOOLEAN,n DOUBLE,o STRUCT<x: DOUBLE>,s STRING"},
		{"a_whole_number_written_as_a_fraction", `{"n":80.0}`, "a ARRAY<BIGINT>,flag BOOLEAN,n DOUBLE,o STRUCT<x: DOUBLE>,s STRING"},
		{"a_fraction_in_a_list", `{"a":[1,2.5]}`, "a ARRAY<DOUBLE>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
		{"a_string_in_numbers", `{"o":{"x":"high"}}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: STRING>,s STRING"},
		{"NaN_in_quotes", `{"o":{"x":"NaN"}}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: STRING>,s STRING"},
		{"NaN", `{"o":{"x":NaN}}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
		{"a_number_in_strings", `{"s":5}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
		{"an_object_in_strings", `{"s":{"k":1}}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
		{"an_empty_string_in_numbers", `{"n":""}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
		{"a_number_too_large", `{"n":99999999999999999999999999}`, "a ARRAY<BIGINT>,flag BOOLEAN,n DECIMAL(26,0),o STRUCT<x: DOUBLE>,s STRING"},
		{"another_case", `{"N":7}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
		{"a_key_twice", `{"n":7,"n":8}`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
		{"no_record", `{"n":`, "a ARRAY<BIGINT>,flag BOOLEAN,n BIGINT,o STRUCT<x: DOUBLE>,s STRING"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ddl, atOnce := guessRun(t, tc.last, nil)
			_, byFile := guessRun(t, tc.last, map[string]string{"maxFilesPerTrigger": "1"})
			if want := tc.schema + ",_rescued_data STRING"; !strings.HasPrefix(ddl, want) {
				t.Errorf("schema is %s, want %s", ddl, want)
			}
			if diff := cmp.Diff(byFile, atOnce); diff != "" {
				t.Errorf("(-by file +at once):\n%s", diff)
			}
		})
	}
}

// guessRun loads files of which only the last line does not look like the others. It returns the table's
// schema, and the schema and the sums of the run.
func guessRun(t *testing.T, last string, options map[string]string) (ddl, sums string) {
	l := newLab(t)
	l.cfg.Options = options
	lines := 0
	for file := range 3 {
		var b strings.Builder
		for b.Len() < 3<<20 {
			fmt.Fprintf(&b, `{"n":%d,"s":"%0500d","o":{"x":%d.25},"a":[%d,2],"flag":%v}`+"\n", lines, lines, lines, lines, lines%2 == 0)
			lines++
		}
		if file == 2 {
			b.WriteString(last + "\n")
		}
		l.file(fmt.Sprintf("%d.json", file), b.String())
	}
	s := l.run()
	text, err := json.MarshalIndent(silt.Summary{Files: s.Files, Bytes: s.Bytes, Records: s.Records, Rows: s.Rows, Schema: s.Schema, Rescued: s.Rescued}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return l.schema(), strings.ReplaceAll(string(text), l.dir, "")
}
