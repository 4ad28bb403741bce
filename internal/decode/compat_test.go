package decode

import (
	"slices"
	"testing"
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
