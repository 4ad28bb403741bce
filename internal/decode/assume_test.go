package decode

import (
	"context"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A file of which the first line is read as a record before its framing is known is framed as by a look
// at it, and what was tried in vain leaves nothing.
func TestAssumedLines(t *testing.T) {
	parts := rapid.SampledFrom([]string{"{", "}", "{}", `{"a":1}`, `{"a":`, "1", `{"a":NaN}`, "[", "]", "\n", "\r\n", "\r", " ", ",", `"b":[`, "NaN", `"`, "x", "{\n", "}\n", "{\"a\":1}\n"})
	columns := ddl(t, "a BIGINT")
	rapid.Check(t, func(t *rapid.T) {
		known := Options{Schema: columns, Rescue: "_r", MaxDepth: defaultMaxDepth, NonNumeric: rapid.Bool().Draw(t, "nonNumeric")}
		text := strings.Join(rapid.SliceOfN(parts, 1, 12).Draw(t, "text"), "")
		want := detect([]byte(text), true, &known)
		got, framed := readAll(t, text, known)
		if framed != want {
			t.Fatalf("%q is framed %d, want %d", text, framed, want)
		}
		known.Framing = map[framing]string{byLine: "lines", byValue: "values"}[want]
		if want == byLine {
			return // records that span lines are read only in files that are looked at
		}
		if wanted, _ := readAll(t, text, known); got != wanted {
			t.Fatalf("%q is read as %+v, want %+v", text, got, wanted)
		}
	})
}

// readAll returns what came of a text, and how it was framed.
func readAll(t *rapid.T, text string, opts Options) (FileReport, framing) {
	r, err := NewReader([]File{{URI: "f", Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := r.Next(context.Background())
		if err == io.EOF {
			return r.Reports()[0], r.framing
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Record.Release()
	}
}
