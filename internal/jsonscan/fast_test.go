package jsonscan

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// checkDouble compares Double with strconv on a text that may be a number.
func checkDouble(t testing.TB, text string) (quick bool) {
	t.Helper()
	var s Scanner
	s.Reset([]byte(text))
	s.Text[s.End] = ','
	f, end := s.Double(0)
	if end == 0 {
		return false
	}
	n, slow := s.Number(0)
	if slow != end {
		t.Fatalf("%q ends at %d, want %d", text, end, slow)
	}
	want, err := strconv.ParseFloat(text[:end], 64)
	if err != nil || math.Float64bits(f) != math.Float64bits(want) {
		t.Fatalf("%s: got %v, want %v (%v)", text[:end], f, want, err)
	}
	if n.Integer && strconv.FormatFloat(f, 'f', 0, 64) != text[:end] {
		t.Fatalf("%s: got %v, which is not exact", text[:end], f)
	}
	return true
}

// checkLong compares Long with strconv.
func checkLong(t testing.TB, text string) (quick bool) {
	t.Helper()
	var s Scanner
	s.Reset([]byte(text))
	v, end := s.Long(0)
	if end == 0 {
		return false
	}
	if n, slow := s.Number(0); slow != end || !n.Integer {
		t.Fatalf("%q ends at %d, want %d", text, end, slow)
	}
	if want, err := strconv.ParseInt(text[:end], 10, 64); err != nil || v != want {
		t.Fatalf("%s: got %d, want %d (%v)", text[:end], v, want, err)
	}
	return true
}

func TestQuickNumbersAreTheNearest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 1))
	quick := 0
	try := func(text string) {
		t.Helper()
		if checkDouble(t, text) {
			quick++
		}
		if checkDouble(t, "-"+text) {
			quick++
		}
		checkLong(t, text)
		checkLong(t, "-"+text)
	}
	for range 100_000 {
		// Digits with a point anywhere among them.
		digits := strconv.FormatUint(rnd.Uint64()>>rnd.IntN(64), 10)
		try(digits)
		for k := range len(digits) {
			if k > 0 && (k == 1 || digits[0] != '0') {
				try(digits[:k] + "." + digits[k:])
			}
		}
		try("0." + strings.Repeat("0", rnd.IntN(6)) + digits)
		// The shortest form of any double of usual size, and its 17 digits.
		f := math.Float64frombits(rnd.Uint64()&(1<<52-1) | uint64(1023-30+rnd.IntN(90))<<52)
		try(strconv.FormatFloat(f, 'f', -1, 64))
		try(fmt.Sprintf("%.17g", f))
		// The middle between two doubles, and its neighbours in the last of 19 digits.
		middle := new(big.Float).SetPrec(200).SetFloat64(f)
		middle.Add(middle, new(big.Float).SetFloat64(math.Nextafter(f, math.Inf(1))))
		middle.Quo(middle, big.NewFloat(2))
		exact := middle.Text('f', 60)
		exact = exact[:min(len(exact), 20)]
		try(exact)
		last := exact[len(exact)-1]
		if last < '9' && last != '.' {
			try(exact[:len(exact)-1] + string(last+1))
		}
		if last > '0' {
			try(exact[:len(exact)-1] + string(last-1))
		}
	}
	if quick < 1_000_000 {
		t.Errorf("only %d were read in the quick way", quick)
	}
}

// Halves, quarters and so on of odd integers just above 2^53 have few digits and lie half way between two
// doubles exactly.
func TestHalfWayGoesToEven(t *testing.T) {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 2))
	for range 200_000 {
		bits := 1 + rnd.IntN(10)                                 // behind the point
		whole := 1<<53 | rnd.Uint64N(1<<53)                      // 54 bits
		text := new(big.Float).SetPrec(200).SetUint64(whole | 1) // the last is half of the double's
		text.SetMantExp(text, -bits)
		checkDouble(t, text.Text('f', bits))
	}
	for m := uint64(1) << 53; m < 1<<53+1000; m++ {
		for k := 1; k <= 16; k++ {
			text := strconv.FormatUint(m, 10)
			if !checkDouble(t, text[:len(text)-k]+"."+text[len(text)-k:]) && k < 16 {
				t.Fatalf("%s with %d behind the point is not read", text, k)
			}
		}
	}
}

func TestWhatIsNoQuickNumberIsLeftAlone(t *testing.T) {
	for _, text := range []string{
		"", "-", ".", "-.", ".5", "5.", "-5.", "00", "-00", "01", "01.5", "00.5", "1.5.2", "1..5", "1e5", "1E5", "1.5e3", "1.5x", "1-", "1.5-", "1.5+2", "1_0", "+1",
		"12345678901234567890", "9007199254740993", "1.2345678901234567890", "NaN", `"1"`, "1.\x80", "1\xb1", "\xb1.5", "1/5", "1:5", "1;",
	} {
		if checkDouble(t, text) {
			t.Errorf("%q is read as a double", text)
		}
		if text != "9007199254740993" && checkLong(t, text) {
			t.Errorf("%q is read as an integer", text)
		}
	}
}

func FuzzQuickNumbersAgreeWithStrconv(f *testing.F) {
	for _, seed := range []string{"27.9", "-2.940238", "0.30000000000000004", "9007199254740993", "1e5", "-0", "1.5,2", "9007199254740993.5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkDouble(t, text)
		checkLong(t, text)
	})
}

func FuzzAppendStringAgreesWithString(f *testing.F) {
	for _, seed := range []string{"abc\"", "\"", "é\"", "\x80\"", "a\nb\"", `a\"`, "01234567890123456789\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s Scanner
		s.Reset([]byte(`"` + text))
		out := []byte("x")
		end := s.AppendString(&out, 0)
		want, info := s.String(0)
		if want < 0 || info&Escaped != 0 || end == 0 && want > 40 { // there may be no room for it
			want = 0
		}
		if end != want || end > 0 && string(out) != "x"+string(s.Text[1:end-1]) || end == 0 && string(out) != "x" {
			t.Fatalf("%q: got %q and end %d, want end %d", text, out, end, want)
		}
	})
}
