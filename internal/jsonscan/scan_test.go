package jsonscan

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// whole returns nil if text is one JSON value with blanks around it.
func whole(text []byte) *SyntaxError {
	s := Scanner{Space: Anywhere, MaxDepth: 10_000}
	s.Reset(text)
	i := s.Value(s.Blank(0), 0)
	if i >= 0 {
		if i = s.Blank(i); i < s.End {
			s.Fail(i, NoComma)
			i = Bad
		}
	}
	if i < 0 {
		return &SyntaxError{Offset: int64(s.At), Line: 1, Reason: s.Why}
	}
	return nil
}

func TestErrorsSayWhereAndWhy(t *testing.T) {
	for _, c := range []struct {
		text string
		at   int64
		why  Reason
	}{
		{`{"a":1,}`, 7, TrailingComma}, {`[1,]`, 3, TrailingComma}, {`{"a" 1}`, 5, NoColon}, {`{a:1}`, 1, NoName},
		{`{"a":1 "b"}`, 7, NoComma}, {`[1 2]`, 3, NoComma}, {`{"a":}`, 5, NoValue}, {`tru`, 3, Truncated}, {`trux`, 3, Literal},
		{`"a`, 2, Truncated}, {"\"a\nb\"", 2, ControlCharacter}, {`"\x"`, 2, Escape}, {`"\u12g4"`, 5, Escape}, {`"\u12`, 5, Truncated},
		{"\"ab\xffc\"", 3, InvalidUTF8}, {`01`, 1, Number}, {`-`, 1, Truncated}, {`1.`, 2, Truncated}, {`1.x`, 2, Number}, {`1e+`, 3, Truncated},
		{`1abc`, 1, Number}, {`{"a":[1,{"b":`, 13, Truncated}, {``, 0, Truncated}, {`{`, 1, Truncated}, {strings.Repeat("[", 10_001), 10_000, TooDeep},
		{"\"abcdefgh", 9, Truncated}, {"\"abcdefg\x80", 9, Truncated},
	} {
		err := whole([]byte(c.text))
		if err == nil || err.Offset != c.at || err.Reason != c.why {
			t.Errorf("%.40q: got %v, want byte %d: %v", c.text, err, c.at, c.why)
		}
	}
}

func TestALineFeedEndsARecordThatIsALine(t *testing.T) {
	s := Scanner{Space: Lines, MaxDepth: 10}
	s.Reset([]byte("{\"a\": \t1}"))
	if end := s.Value(0, 0); end != 9 {
		t.Errorf("got %d (%v)", end, s.Why)
	}
	s.Reset([]byte("{\"a\":\n1}"))
	if end := s.Value(0, 0); end != Bad || s.At != 5 || s.Why != NoValue {
		t.Errorf("got %d, %d %v, want a missing value at 5", end, s.At, s.Why)
	}
}

func TestNumbersAreConvertedExactly(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "1", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "18446744073709551616",
		"1.5", "0.1", "-123.456", "1e22", "1e23", "1E-22", "9007199254740993", "9007199254740993.0", "1e400", "-1e400", "5e-324", "1e-400",
		"123456789012345678901234567890", "0.30000000000000004", "1.7976931348623157e308", "2.2250738585072014e-308", "0.000001", "100000000000000000000e-20", "1e99999999999",
	} {
		s := Scanner{Space: Anywhere, MaxDepth: 1}
		s.Reset([]byte(text))
		n, end := s.Number(0)
		if end != len(text) {
			t.Errorf("%s: got end %d", text, end)
			continue
		}
		want, _ := strconv.ParseFloat(text, 64)
		if got := n.Float64([]byte(text)); got != want || math.Signbit(got) != math.Signbit(want) {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
		wantInt, err := strconv.ParseInt(text, 10, 64)
		if got, ok := n.Int64(); ok != (err == nil) || ok && got != wantInt {
			t.Errorf("%s: got integer %d, %v, want %d, %v", text, got, ok, wantInt, err)
		}
	}
}

func TestWholeNumbersMayBeSpelledWithAPoint(t *testing.T) {
	for text, want := range map[string]string{
		"80.0": "80", "8e1": "80", "-8.50e1": "-85", "0.0": "0", "0e99": "0", "1e18": "1000000000000000000", "922337203685477580.0": "922337203685477580", "9223372036854775807.0": "no",
		"80.5": "no", "1e19": "no", "9223372036854775808": "no", "1e-1": "no", "0.00000000000000000000": "0", "1e1000000": "no",
	} {
		s := Scanner{MaxDepth: 1}
		s.Reset([]byte(text))
		n, _ := s.Number(0)
		got := "no"
		if v, ok := n.Whole(); ok {
			got = strconv.FormatInt(v, 10)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestCompactTextKeepsNumbersAndEscapesLittle(t *testing.T) {
	in := ` { "a\/b" : [ 1.50 , 1e2, "\u0041\u00e9\ud83d\ude00\ud800x\u0001\n\"\\" ] , "n" : null }`
	want := `{"a/b":[1.50,1e2,"Aé😀\ud800x\u0001\n\"\\"],"n":null}`
	if got := string(AppendCompact(nil, []byte(in))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestJSONTestSuite(t *testing.T) {
	dir := filepath.Join(os.Getenv("SILT_TESTDATA"), "data/json/JSONTestSuite/test_parsing")
	if os.Getenv("SILT_TESTDATA") == "" {
		dir = filepath.Join("../../../shared/data/json/JSONTestSuite/test_parsing")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	if len(files) == 0 {
		t.Skip("no SILT_TESTDATA")
	}
	count := map[byte]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		got := whole(text)
		switch count[name[0]]++; {
		case name[0] == 'y' && got != nil:
			t.Errorf("%s: %v", name, got)
		case name[0] == 'n' && got == nil:
			t.Errorf("%s is accepted", name)
		}
	}
	if count['y'] != 95 || count['n'] != 188 || count['i'] != 35 {
		t.Errorf("got %v files, want 95 y, 188 n, 35 i", count)
	}
}
