package decode

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/siltlake/silt/internal/jsonscan"
)

// decodeTest is one text and what a reader makes of it.
type decodeTest struct {
	name, text string
	opts       Options
	rows, bad  []string
}

func (d *decodeTest) run(t *testing.T) {
	t.Helper()
	got := decodeFiles(t, d.opts, file("f", d.text))
	if !slices.Equal(got.rows, d.rows) {
		t.Errorf("rows\n got %q\nwant %q", got.rows, d.rows)
	}
	if !slices.Equal(got.bad, d.bad) {
		t.Errorf("bad\n got %q\nwant %q", got.bad, d.bad)
	}
}

func TestCorruptRecords(t *testing.T) {
	s := ddl(t, "a BIGINT, b STRING, c STRING")
	for _, test := range []decodeTest{
		{name: "are_rows_of_NULLs_when_asked_for", opts: Options{Schema: s, Framing: "lines", NullRows: true},
			text: "{bad\n{\"a\":1}\nnull\n", rows: []string{`{}`, `{"a":1}`, `{}`}},
		{name: "a_lone_CR_ends_a_line_also_behind_the_last_LF", opts: Options{Schema: s, Framing: "lines"},
			text: "{\"a\":1}\r\n{\"a\":2}\r{\"a\":3}\r{\"a\":4}", rows: []string{`{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":4}`}},
		{name: "bytes_that_are_no_UTF8_are_shown_one_by_one", opts: Options{Schema: s, Framing: "lines", Corrupt: "c"},
			text: "{\"b\":\"\xff\xfe\"}\n{\"b\":\"\xe2\x82\"}\n", rows: []string{"{\"c\":\"{\\\"b\\\":\\\"\uFFFD\uFFFD\\\"}\"}", "{\"c\":\"{\\\"b\\\":\\\"\uFFFD\\\"}\"}"}},
	} {
		t.Run(test.name, test.run)
	}
}

// TestAValueThatDoesNotFit is what it does to its record where there is no rescued data. Source: Spark's
// FailureSafeParser.
func TestAValueThatDoesNotFit(t *testing.T) {
	s := ddl(t, "a BIGINT, s STRUCT<x: BIGINT, y: STRING>, l ARRAY<BIGINT>, o ARRAY<STRUCT<x: BIGINT>>, m MAP<STRING, BIGINT>, c STRING")
	text := `{"a":"x","s":{"x":1,"y":"k"}}` + "\n" + `{"a":1,"s":{"x":"bad","y":"k"}, "z":9}` + "\n" + `{"a":2,"l":[1,"x"]}` + "\n" +
		`{"a":3,"o":[{"x":1},{"x":false}]}` + "\n" + `{"a":4,"m":{"k":"v"}}` + "\n" + `{"a":5,"z":{"new":"x"},"s":null}` + "\n" + "{bad\n" + `{"a":6}` + "\n"
	bad := []string{
		`f:1@0 {"a":"x","s":{"x":1,"y":"k"}} (a value does not fit its column)`, `f:2@30 {"a":1,"s":{"x":"bad","y":"k"}, "z":9} (a value does not fit its column)`,
		`f:3@69 {"a":2,"l":[1,"x"]} (a value does not fit its column)`, `f:4@89 {"a":3,"o":[{"x":1},{"x":false}]} (a value does not fit its column)`,
		`f:5@123 {"a":4,"m":{"k":"v"}} (a value does not fit its column)`,
		`f:7@178 {bad (a name in double quotes is expected here)`,
	}
	for _, test := range []decodeTest{
		{name: "leaves_its_row_and_the_text_in_the_corrupt_column", opts: Options{Schema: s, Framing: "lines", Corrupt: "c", Strict: true}, text: text, rows: []string{
			`{"c":"{\"a\":\"x\",\"s\":{\"x\":1,\"y\":\"k\"}}","s":{"x":1,"y":"k"}}`, `{"a":1,"c":"{\"a\":1,\"s\":{\"x\":\"bad\",\"y\":\"k\"}, \"z\":9}","s":{"y":"k"}}`,
			`{"a":2,"c":"{\"a\":2,\"l\":[1,\"x\"]}"}`, `{"a":3,"c":"{\"a\":3,\"o\":[{\"x\":1},{\"x\":false}]}","o":[{"x":1},{}]}`, `{"a":4,"c":"{\"a\":4,\"m\":{\"k\":\"v\"}}"}`,
			`{"a":5}`, `{"c":"{bad"}`, `{"a":6}`}},
		{name: "makes_the_record_bad_where_bad_ones_are_set_aside", opts: Options{Schema: s, Framing: "lines", Corrupt: "c", Strict: true, Aside: true}, text: text,
			rows: []string{`{"a":5}`, `{"a":6}`}, bad: bad},
		{name: "also_without_the_column", opts: Options{Schema: s, Framing: "lines", Strict: true, Aside: true}, text: text, rows: []string{`{"a":5}`, `{"a":6}`}, bad: bad},
		{name: "does_nothing_else_where_there_is_no_column_for_it", opts: Options{Schema: s, Framing: "lines", Strict: true}, text: "{\"a\":\"x\"}\n", rows: []string{`{}`}},
		{name: "in_an_array_of_records_takes_its_own_record", opts: Options{Schema: s, Framing: "lines", Strict: true, Aside: true}, text: `[{"a":1},{"a":"x"},{"a":3}]` + "\n" + `[{"a":"x"},4]` + "\n",
			rows: []string{`{"a":1}`, `{"a":3}`}, bad: []string{`f:1@0 {"a":"x"} (a value does not fit its column)`, `f:2@28 [{"a":"x"},4] (a record must be an object)`}},
		{name: "under_compat_is_told_by_the_whole_line", opts: Options{Schema: s, Framing: "lines", Corrupt: "c", Strict: true, Compat: true}, text: ` {"a":"x"} rest ` + "\r\n" + `[{"a":1},{"a":"x"}]` + "\n" + `[{"a":2}]` + "\n" + `{"a":"z"}`,
			rows: []string{`{"c":" {\"a\":\"x\"} rest"}`, `{"a":1,"c":"[{\"a\":1},{\"a\":\"x\"}]"}`, `{"c":"[{\"a\":1},{\"a\":\"x\"}]"}`, `{"a":2}`, `{"c":"{\"a\":\"z\"}"}`}},
		{name: "under_compat_drops_a_list_whole", opts: Options{Schema: s, Framing: "lines", Strict: true, Aside: true, Compat: true}, text: `[{"a":1},{"a":"x"}]` + "\n" + `[{"a":2}]` + "\n",
			rows: []string{`{"a":2}`}, bad: []string{`f:1@0 [{"a":1},{"a":"x"}] (a value does not fit its column)`}},
		{name: "under_compat_is_told_by_the_whole_file", opts: Options{Schema: s, Framing: "file", Corrupt: "c", Strict: true, Compat: true}, text: "\n{\"a\":\n\"x\"}\n{}\n",
			rows: []string{`{"c":"\n{\"a\":\n\"x\"}\n{}"}`}},
		{name: "in_values_that_span_lines", opts: Options{Schema: s, Framing: "values", Strict: true, Aside: true}, text: "{\"a\":\n1}\n{\"a\":\n\"x\"}\n{\"a\":3}",
			rows: []string{`{"a":1}`, `{"a":3}`}, bad: []string{"f:3@9 {\"a\":\n\"x\"} (a value does not fit its column)"}},
	} {
		t.Run(test.name, test.run)
	}
}

func TestLeniency(t *testing.T) {
	s := ddl(t, "a BIGINT, b STRING, d DOUBLE")
	lines := func(l jsonscan.Leniency) Options {
		return Options{Schema: s, Framing: "lines", Rescue: "_r", NoFilePath: true, Lenient: l}
	}
	all := jsonscan.Leniency{Comments: true, SingleQuotes: true, UnquotedNames: true, LeadingZeros: true, AnyEscape: true, ControlChars: true}
	for _, test := range []decodeTest{
		{name: "nothing_is_lenient_unless_asked_for", opts: lines(jsonscan.Leniency{}), text: "{'a':1}\n{a:1}\n{\"a\":01}\n{\"a\":1}//\n{\"b\":\"\\q\"}\n{\"b\":\"\t\"}\n{\"d\":NaN}\n",
			rows: []string{`{"a":1}`}, bad: []string{
				`f:1@0 {'a':1} (a name in double quotes is expected here)`, `f:2@8 {a:1} (a name in double quotes is expected here)`,
				`f:3@14 {"a":01} (this is not a JSON number)`, `f:4@30 // (a value is expected here)`,
				`f:5@33 {"b":"\q"} (an unknown escape stands in a string)`, "f:6@44 {\"b\":\"\t\"} (a control character stands in a string)",
				`f:7@54 {"d":NaN} (a value is expected here)`}},
		{name: "single_quotes", opts: lines(jsonscan.Leniency{SingleQuotes: true}), text: `{'a':1,'b':'it\'s "x" \u0041'}` + "\n{\"a\":2}\n{'a':3,'x':'y'}\n{'a':4",
			rows: []string{`{"a":1,"b":"it's \"x\" A"}`, `{"a":2}`, `{"_r":"{\"x\":\"y\"}","a":3}`},
			bad:  []string{`f:4@55 {'a':4 (the text ends inside a value)`}},
		{name: "comments", opts: lines(jsonscan.Leniency{Comments: true}), text: "// first\n/* a */ {\"a\":/* { */1} // {\"a\":9}\n{\"a\":2}/**/{\"a\":3}\n[/**/{\"a\":4}/**/,{\"a\":5}]\n{\"b\":\"/*\"}\n/* open {\"a\":6}\n",
			rows: []string{`{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":4}`, `{"a":5}`, `{"b":"/*"}`}, bad: []string{`f:6@99 /* open {"a":6} (the text ends inside a value)`}},
		{name: "names_without_quotes", opts: lines(jsonscan.Leniency{UnquotedNames: true}), text: "{a:1,b:\"x\"}\n{ $new-1 : {k:[1,{z:2}]} , a : 2 }\n{é:1,a:3}\n{a:b}\n",
			rows: []string{`{"a":1,"b":"x"}`, `{"_r":"{\"$new-1\":{\"k\":[1,{\"z\":2}]}}","a":2}`, `{"_r":"{\"é\":1}","a":3}`},
			bad:  []string{`f:4@58 {a:b} (a value is expected here)`}},
		{name: "leading_zeros", opts: lines(jsonscan.Leniency{LeadingZeros: true}), text: "{\"a\":007}\n{\"a\":-007,\"d\":00.50}\n{\"d\":1.007}\n{\"a\":0}\n{\"b\":\"007\"}\n{\"a\":0x1}\n",
			rows: []string{`{"a":7}`, `{"a":-7,"d":0.5}`, `{"d":1.007}`, `{"a":0}`, `{"b":"007"}`}, bad: []string{`f:6@63 {"a":0x1} (this is not a JSON number)`}},
		{name: "any_escape", opts: lines(jsonscan.Leniency{AnyEscape: true}), text: `{"b":"a\qb\é\n\'"}` + "\n", rows: []string{`{"b":"aqbé\n'"}`}},
		{name: "control_characters", opts: lines(jsonscan.Leniency{ControlChars: true}), text: "{\"b\":\"a\tb\x01\"}\n", rows: []string{`{"b":"a\tb\u0001"}`}},
		{name: "what_is_no_record_stays_bad", opts: lines(all), text: "{a:1,}\n{a}\n'x'\n{a:1]\n", bad: []string{
			`f:1@0 {a:1,} (a name in double quotes is expected here)`, `f:2@7 {a} (a colon is expected after a name)`,
			`f:3@11 'x' (a record must be an object)`, `f:4@15 {a:1] (a comma or a closing bracket is expected here)`}},
		{name: "records_that_span_lines", opts: Options{Schema: s, Framing: "values", Lenient: all}, text: "/* all\nof it */\n[\n {a:1, // one\n  b:'x\ny'},\n {a:2}\n]\n",
			rows: []string{`{"a":1,"b":"x\ny"}`, `{"a":2}`}},
	} {
		t.Run(test.name, test.run)
	}
	t.Run("a_column_of_text_has_it_as_written", func(t *testing.T) {
		text := "{'b':{'x':01}}\n{\"b\": -00.50 }\n{\"b\":/* c */007/**/}\n{'b':0}\n{'b':true}\n{'b':[1, 'y' /* d */]}\n"
		numbers := []string{`{"b":"-00.50"}`, `{"b":"007"}`, `{"b":"0"}`, `{"b":"true"}`}
		opts := lines(all)
		check(t, "silt", decodeFiles(t, opts, file("f", text)).rows, slices.Concat([]string{`{"b":"{\"x\":1}"}`}, numbers, []string{`{"b":"[1, \"y\"  ]"}`}))
		opts.Compat = true
		check(t, "compat", decodeFiles(t, opts, file("f", text)).rows, slices.Concat([]string{`{"b":"{'x':01}"}`}, numbers, []string{`{"b":"[1, 'y' /* d */]"}`}))
	})
	t.Run("new_fields_are_observed", func(t *testing.T) {
		opts := lines(all)
		opts.Observe = true
		got := decodeFiles(t, opts, file("f", "{a:1,x:{y:'z'}}\n"))
		if o := got.reader.Observed()[""]; o == nil || o.Struct().DDL() != "x STRUCT<y: STRING>" {
			t.Errorf("observed %+v", o)
		}
	})
	t.Run("a_record_longer_than_the_window", func(t *testing.T) {
		text := "{a:1,b:'" + strings.Repeat("x", 3<<20) + "'}"
		for _, framing := range []string{"lines", "values", "file"} {
			opts := lines(all)
			opts.Framing = framing
			if got := decodeFiles(t, opts, file("f", text+"\n"+text)); len(got.bad) > 0 {
				t.Errorf("%s: bad %q", framing, got.bad)
			}
		}
	})
}

func TestNonNumericNumbers(t *testing.T) {
	s := ddl(t, "d DOUBLE, s STRING, l BIGINT, m DECIMAL(5,2)")
	text := "{\"d\":NaN,\"s\":-INF}\n{\"d\":Infinity}\n{\"d\":\"-Infinity\"}\n{\"l\":NaN}\n{\"m\":+INF}\n{\"d\":nan}\n{\"d\":+NaN}\n{\"d\":INF}\n{\"d\":NaNo}\n"
	test := decodeTest{opts: Options{Schema: s, Framing: "lines", Rescue: "_r", NoFilePath: true, NonNumeric: true}, text: text,
		rows: []string{`{"d":"NaN","s":"-INF"}`, `{"d":"+Inf"}`, `{"d":"-Inf"}`, `{"_r":"{\"l\":\"NaN\"}"}`, `{"_r":"{\"m\":\"+INF\"}"}`},
		bad: []string{"f:6@73 {\"d\":nan} (only true, false and null may stand without quotes)", "f:7@83 {\"d\":+NaN} (this is not a JSON number)",
			"f:8@94 {\"d\":INF} (this is not a JSON number)", "f:9@104 {\"d\":NaNo} (this is not a JSON number)"}}
	t.Run("are_read_as_doubles", test.run)
}

func TestSeparatorAndEncoding(t *testing.T) {
	s := ddl(t, "a BIGINT, b STRING")
	long := `{"b":"` + strings.Repeat("y", 5<<20) + `"}`
	for _, test := range []decodeTest{
		{name: "records_are_divided_by_a_text", opts: Options{Schema: s, LineSep: "|"}, text: "{\"a\":1}|{\"a\":\n2}||{bad|{\"a\":3}",
			rows: []string{`{"a":1}`, `{"a":2}`, `{"a":3}`}, bad: []string{"f:2@18 {bad (a name in double quotes is expected here)"}},
		{name: "of_several_bytes", opts: Options{Schema: s, LineSep: "::"}, text: "{\"a\":1}::{\"b\":\"x\"}:: ::{\"a\":3}::", rows: []string{`{"a":1}`, `{"b":"x"}`, `{"a":3}`}},
		{name: "a_record_that_is_too_long", opts: Options{Schema: s, LineSep: "||", MaxRecord: 1 << 20}, text: "{\"a\":1}||" + long + "||{\"a\":2}",
			rows: []string{`{"a":1}`, `{"a":2}`}, bad: []string{"f:1@9 " + long[:60] + " (the record is longer than the limit)"}},
		{name: "UTF16_by_its_name", opts: Options{Schema: s, Encoding: "UTF-16LE", Compat: true}, text: utf16le("{\"b\":\"é😀\"}\n{\"a\":2}\n"), rows: []string{`{"b":"é😀"}`, `{"a":2}`}},
		{name: "UTF16_by_its_first_bytes", opts: Options{Schema: s}, text: utf16le("{\"b\":\"é\"}\n{\"a\":2}\n"), rows: []string{`{"b":"é"}`, `{"a":2}`}},
		{name: "UTF16_with_a_byte_order_mark", opts: Options{Schema: s}, text: utf16le("\ufeff{\"b\":\"é\"}\n"), rows: []string{`{"b":"é"}`}},
		{name: "latin1", opts: Options{Schema: s, Encoding: "ISO-8859-1"}, text: "{\"b\":\"\xe9\x80\"}\n", rows: []string{"{\"b\":\"é\u0080\"}"}},
		{name: "windows1252", opts: Options{Schema: s, Encoding: "WINDOWS-1252"}, text: "{\"b\":\"\xe9\x80\"}\n", rows: []string{`{"b":"é€"}`}},
		{name: "ascii", opts: Options{Schema: s, Encoding: "US-ASCII"}, text: "{\"b\":\"x\xe9\"}\n", rows: []string{"{\"b\":\"x\uFFFD\"}"}},
	} {
		t.Run(test.name, test.run)
	}
}

func utf16le(text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func TestLimits(t *testing.T) {
	s := ddl(t, "a STRING, b BIGINT")
	for _, test := range []decodeTest{
		{name: "digits_of_a_number", opts: Options{Schema: s, Framing: "lines", MaxNumber: 5}, text: "{\"a\":-12345}\n{\"a\":123456}\n{\"x\":123456}\n",
			rows: []string{`{"a":"-12345"}`}, bad: []string{`f:2@13 {"a":123456} (a number has more digits than the limit)`, `f:3@26 {"x":123456} (a number has more digits than the limit)`}},
		{name: "characters_of_a_string", opts: Options{Schema: s, Framing: "lines", MaxString: 3}, text: "{\"a\":\"éé\\u0041\"}\n{\"a\":\"abcd\"}\n{\"longer\":\"abcd\"}\n{\"longer\":1}\n",
			rows: []string{`{"a":"ééA"}`, `{}`}, bad: []string{`f:2@19 {"a":"abcd"} (a string is longer than the limit)`, `f:3@32 {"longer":"abcd"} (a string is longer than the limit)`}},
	} {
		t.Run(test.name, test.run)
	}
}

func TestWordsForWhatIsNoNumberAreRescuedAsStrings(t *testing.T) {
	r := decodeFiles(t, Options{Schema: ddl(t, "i BIGINT"), Rescue: "_r", NoFilePath: true, NonNumeric: true},
		file("f", `{"i":NaN,"x":[-Infinity, -1, 1e+5, {"y":+INF}]}`+"\n"))
	if want := `{"_r":"{\"i\":\"NaN\",\"x\":[\"-Infinity\",-1,1e+5,{\"y\":\"+INF\"}]}"}`; len(r.rows) != 1 || r.rows[0] != want {
		t.Errorf("got %q %q, want %s", r.rows, r.bad, want)
	}
}
