package jsonscan

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// valid reports whether a text is one JSON value and nothing else.
func valid(text []byte, depth int) bool {
	s := Scanner{Space: Anywhere, MaxDepth: depth}
	s.Reset(text)
	i := s.Blank(0)
	if i >= s.End {
		return false
	}
	end := s.Value(i, 0)
	return end >= 0 && s.Blank(end) == s.End
}

// FuzzScanner compares the scanner with encoding/json, which takes bytes that are not UTF-8 and is asked
// only about text that is, and what AppendCompact makes of a value with the value.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,2.5e3,"x\u0041"]}`, `[true,false,null]`, `-0`, `01`, `"\ud800"`, "{\"a\" : 1 ,}", `[[]`, ` {} x`,
		`{"a":[1,2.5e-3,"x\u00e9",null,true]}`, `"\ud83d\ude00"`, "[1\n,\t2]", `-0.0`, "\"\x80\"", `"a long one, of more than eight bytes\\"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) {
			return
		}
		got := valid(text, 5000)
		if want := json.Valid(text); got != want {
			t.Errorf("%q: valid %v, encoding/json says %v", text, got, want)
		}
		if !got {
			return
		}
		compact := AppendCompact(nil, text)
		if a, b := canonical(t, text), canonical(t, compact); !bytes.Equal(a, b) {
			t.Errorf("%q became %q", text, compact)
		}
	})
}

// canonical is a value as encoding/json writes it.
func canonical(t *testing.T, text []byte) []byte {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return out
}

// FuzzRewrite holds that leniency leaves JSON as it is, ends, and stays within the text.
func FuzzRewrite(f *testing.F) {
	for _, seed := range []string{`{a:'x',/* c */"b":007}`, `{'a':"\q"}`, "{\"a\":\"\t\"} // end", `{`, `'`, `/*`, `{"a":1}`} {
		f.Add([]byte(seed))
	}
	all := Leniency{Comments: true, SingleQuotes: true, UnquotedNames: true, LeadingZeros: true, AnyEscape: true, ControlChars: true}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.IndexByte(text, 0) >= 0 || len(bytes.TrimLeft(text, " \t\r\n")) == 0 {
			return
		}
		s := Scanner{Space: Anywhere, MaxDepth: 1000}
		s.Reset(text)
		var out Rewritten
		at, why := all.Rewrite(&s, s.Blank(0), &out)
		if at < 0 || at > s.End {
			t.Fatalf("%q: came to %d of %d", text, at, s.End)
		}
		if valid(text, 1000) && strings.ContainsAny(string(text[s.Blank(0)]), "{[") {
			if why != None || string(out.Text) != string(text[s.Blank(0):at]) {
				t.Fatalf("%q became %q (%v)", text, out.Text, why)
			}
		}
		if i := out.Origin(len(out.Text)); i < 0 {
			t.Fatalf("%q: origin %d", text, i)
		}
	})
}
