package jsonscan

import (
	"math"
	"strconv"
	"unsafe"
)

// Num is a JSON number as it is written: (-)Mantissa × 10^Exp10 when Digits is at most 19, the most
// that surely fit Mantissa.
type Num struct {
	Mantissa uint64
	Exp10    int
	Digits   int // significant digits: without leading zeros, with trailing ones
	Negative bool
	Integer  bool // there is neither a point nor an exponent
	Special  bool // it is NaN or infinite, and nothing else is known of it
}

// maxExponent bounds a written exponent; what lies beyond is infinite or zero for every type.
const maxExponent = 1 << 20

// nonNumeric are the words for what is no number. Source: Spark's allowNonNumericNumbers.
var nonNumeric = [...]string{"NaN", "Infinity", "+Infinity", "-Infinity", "+INF", "-INF"}

// word returns the end of the word for what is no number at i, or Bad. Its Num has more digits than any
// fast path takes.
func (s *Scanner) word(i int) (n Num, end int) {
	if s.NonNumeric {
		for _, w := range nonNumeric {
			if end := i + len(w); end <= s.End && string(s.Text[i:end]) == w && !isNumberTail(s.Text[end]) {
				return Num{Digits: math.MaxInt, Special: true}, end
			}
		}
	}
	return n, s.Fail(i, Number)
}

// Number returns the number that starts at i, and its end. The end is Bad when the text is not JSON.
func (s *Scanner) Number(i int) (n Num, end int) {
	b := s.Text
	if b[i] == '-' {
		n.Negative = true
		i++
	}
	start := i
	m := uint64(0)
	for c := b[i] - '0'; c <= 9; c = b[i] - '0' {
		m = m*10 + uint64(c)
		i++
	}
	digits := i - start
	if digits == 0 {
		if n.Negative {
			start--
		}
		if n, end = s.word(start); end < 0 {
			return n, s.Fail(i, Number)
		}
		return n, end
	}
	if digits > 1 && b[start] == '0' {
		return n, s.Fail(start+1, Number)
	}
	if digits == 1 && m == 0 {
		digits = 0
	}
	n.Integer = true
	if b[i] == '.' {
		n.Integer = false
		i++
		first := i
		for c := b[i] - '0'; c <= 9; c = b[i] - '0' {
			m = m*10 + uint64(c)
			if m != 0 {
				digits++
			}
			i++
		}
		if i == first {
			return n, s.Fail(i, Number)
		}
		n.Exp10 = first - i
	}
	if b[i]|0x20 == 'e' {
		n.Integer = false
		exp, end := s.exponent(i)
		if end < 0 {
			return n, Bad
		}
		n.Exp10 += exp
		i = end
	}
	if isNumberTail(b[i]) && i < s.End {
		return n, s.Fail(i, Number)
	}
	if i-start > s.MaxNumber && s.MaxNumber > 0 {
		return n, s.Fail(start, NumberTooLong)
	}
	n.Mantissa, n.Digits = m, digits
	return n, i
}

// isNumberTail is true for what must not follow a number directly; a blank, comma or bracket does.
func isNumberTail(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '.' || c == '+' || c == '-' || c == '_'
}

func (s *Scanner) exponent(i int) (exp, end int) {
	i++
	negative := s.Text[i] == '-'
	if negative || s.Text[i] == '+' {
		i++
	}
	first := i
	for c := s.Text[i] - '0'; c <= 9; c = s.Text[i] - '0' {
		exp = min(exp*10+int(c), maxExponent)
		i++
	}
	if i == first {
		return 0, s.Fail(i, Number)
	}
	if negative {
		exp = -exp
	}
	return exp, i
}

// Int64 returns the number as an integer; ok is false when it is not one as written, or out of range.
func (n Num) Int64() (v int64, ok bool) {
	switch {
	case !n.Integer || n.Digits > 19:
		return 0, false
	case !n.Negative:
		return int64(n.Mantissa), n.Mantissa <= math.MaxInt64
	}
	return -int64(n.Mantissa), n.Mantissa <= -math.MinInt64
}

// Whole returns the number as an integer whatever its spelling: 80.0 and 8e1 are 80. Ok is false when
// it has a fraction, is out of range, or is written with more than 19 digits.
func (n Num) Whole() (v int64, ok bool) {
	if n.Integer {
		return n.Int64()
	}
	if n.Mantissa == 0 && n.Digits == 0 {
		return 0, true
	}
	if n.Digits > 19 { // Special too
		return 0, false
	}
	m := n.Mantissa
	for e := n.Exp10; e < 0; e++ {
		if m%10 != 0 {
			return 0, false
		}
		m /= 10
	}
	for e := n.Exp10; e > 0; e-- {
		if m > math.MaxUint64/10 {
			return 0, false
		}
		m *= 10
	}
	return Num{Mantissa: m, Digits: 1, Negative: n.Negative, Integer: true}.Int64()
}

var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// Float64 returns the double nearest to the number, whose text is given. It is infinite when the
// number is out of range.
//
// A mantissa below 2^53 and a power of ten up to 22 are both exact doubles, so one operation on them
// is rounded once and right (Clinger's fast path). Everything else is strconv's.
func (n Num) Float64(text []byte) float64 {
	if n.Digits <= 19 && n.Mantissa < 1<<53 {
		f := float64(n.Mantissa)
		if n.Negative {
			f = -f
		}
		switch {
		case n.Exp10 == 0:
			return f
		case n.Exp10 > 0 && n.Exp10 < len(pow10):
			return f * pow10[n.Exp10]
		case n.Exp10 < 0 && -n.Exp10 < len(pow10):
			return f / pow10[-n.Exp10]
		}
	}
	f, _ := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64) //nolint:gosec // the text outlives the call
	return f
}
