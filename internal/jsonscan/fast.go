package jsonscan

import (
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// What follows reads the usual form of a token in as few steps as possible, eight bytes at a time, and
// leaves all others, the wrong ones among them, to the methods of [Scanner]. Each function returns the
// end 0, which is the end of no token, for what it does not read.

// endsNumber holds the bytes that may follow a number in JSON.
var endsNumber = [256]bool{',': true, ']': true, '}': true, ' ': true, '\t': true, '\n': true, '\r': true, 0: true}

// notDigits marks, in the high bit of each byte, the bytes of w that are more than 9.
func notDigits(w uint64) uint64 { return ((w&^highs + 0x76*ones) | w) & highs }

// number8 returns the number that eight digits make, each a byte of w, the first one lowest.
func number8(w uint64) uint64 {
	w = w*10 + w>>8
	return (w&0xff000000ff*(100+1_000_000<<32) + w>>16&0xff000000ff*(1+10_000<<32)) >> 32
}

// Double returns the number at i as the double nearest to it. It takes at most 19 digits with no
// exponent, and no integer that a double may not hold.
func (s *Scanner) Double(i int) (f float64, end int) {
	text := s.Text
	c := At(text, i)
	negative := 0
	if c == '-' {
		negative = 1
	}
	i += negative
	w := Load(text, i) ^ '0'*ones
	stops := notDigits(w)
	point := bits.TrailingZeros64(stops) &^ 7
	stops &= stops - 1
	stop := bits.TrailingZeros64(stops) &^ 7
	end = i + stop/8
	// The usual number is at most seven bytes long and has a point. All of it is in w then.
	if stops == 0 || w>>(point&63)&0xff != '.'^'0' || stop-point <= 8 || point != 8 && (point == 0 || w&0xff == 0) || !endsNumber[At(text, end)] {
		return double(text, i, negative)
	}
	before := uint64(1)<<point - 1
	m := number8((w&before | w>>8&^before) << (64 + 8 - stop))
	f = float64(m) / pow10[(stop-point)/8-1]
	return math.Float64frombits(math.Float64bits(f) | uint64(negative)<<63), end
}

// double is Double for longer numbers, and integers. The sign was before i.
func double(text []byte, i, negative int) (f float64, end int) {
	first := i
	m, i := digits(text, i, 0)
	n := i - first
	if n == 0 || n > 1 && At(text, first) == '0' {
		return 0, 0
	}
	fraction := 0
	if At(text, i) == '.' {
		first = i + 1
		if m, i = digits(text, first, m); i == first {
			return 0, 0
		}
		fraction = i - first
	}
	if n+fraction > 19 || !endsNumber[At(text, i)] {
		return 0, 0
	}
	switch {
	case m <= 1<<53:
		f = float64(m) / pow10[fraction]
	case fraction > 0:
		f = quotient(m, fraction)
	default:
		return 0, 0
	}
	return math.Float64frombits(math.Float64bits(f) | uint64(negative)<<63), i
}

// digits reads the digits at i behind those of m, and returns what they make and their end. What more
// than 19 digits make has no meaning.
func digits(text []byte, i int, m uint64) (uint64, int) {
	for {
		w := Load(text, i) ^ '0'*ones
		stops := notDigits(w)
		if stops == 0 {
			m = m*1e8 + number8(w)
			i += 8
			continue
		}
		n := bits.TrailingZeros64(stops) &^ 7
		if n == 0 {
			return m, i
		}
		return m*powers[n/8] + number8(w<<(64-n)), i + n/8
	}
}

// powers are those of ten.
var powers = [...]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// quotient returns the double nearest to m ÷ 10^k. M is not 0, and k at most 19.
//
// Both are shifted until their highest bit is set. Then the quotient has 63 or 64 bits, ten more than a
// double, and what is left of the division is no more than a doubt whether it lies half way between
// two: it goes into the lowest bit. So the conversion rounds once and right.
func quotient(m uint64, k int) float64 {
	d := powers[k]
	up, down := bits.LeadingZeros64(d), bits.LeadingZeros64(m)
	m, d = m<<down, d<<up
	q, rest := bits.Div64(m>>1, m<<63, d)
	if rest != 0 {
		q |= 1
	}
	return float64(q) * math.Float64frombits(uint64(1023-63+up-down)<<52)
}

// Long returns the integer at i. It takes at most 18 digits.
func (s *Scanner) Long(i int) (v int64, end int) {
	text := s.Text
	negative := At(text, i) == '-'
	if negative {
		i++
	}
	first := i
	m, i := digits(text, i, 0)
	n := i - first
	if n == 0 || n > 18 || n > 1 && At(text, first) == '0' || !endsNumber[At(text, i)] {
		return 0, 0
	}
	if v = int64(m); negative {
		v = -v
	}
	return v, i
}

// AppendString appends the string at i to dst if it holds no escape.
func (s *Scanner) AppendString(dst *[]byte, i int) (end int) {
	n := len(*dst)
	last := cap(*dst) - 8
	if last < n {
		return s.growString(dst, i)
	}
	i++
	first, seen := i, uint64(0)
	for {
		w := Load(s.Text, i)
		store((*dst)[:cap(*dst)], n, w)
		if stop := stringStops(w); stop != 0 {
			k := bits.TrailingZeros64(stop)
			seen |= w & (1<<(k&^7) - 1)
			i += k / 8
			if At(s.Text, i) != '"' || seen&highs != 0 && !s.validUTF8(first, i) {
				return 0
			}
			*dst = (*dst)[:n+k/8]
			return i + 1
		}
		seen |= w
		i += 8
		if n += 8; n > last {
			return 0
		}
	}
}

// growString is AppendString when there is no room.
//
//go:noinline
func (s *Scanner) growString(dst *[]byte, i int) (end int) {
	*dst = slices.Grow(*dst, max(64, len(*dst)))
	return s.AppendString(dst, i)
}

//go:noinline
func (s *Scanner) validUTF8(i, end int) bool { return utf8.Valid(s.Text[i:end]) }
