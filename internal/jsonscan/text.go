package jsonscan

import (
	"unicode/utf16"
	"unicode/utf8"
)

// AppendUnescaped appends the text of a string, given without its quotes. Exact is false when the
// string holds half of a surrogate pair, which no UTF-8 text can express; it becomes a question mark,
// as in Java.
func AppendUnescaped(dst, raw []byte) (text []byte, exact bool) {
	exact = true
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		r, n := unescape(raw[i:])
		if r < 0 {
			exact = false
			r = '?'
		}
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return dst, exact
}

// unescape returns the character that the escape at the start of raw stands for, and its length. A
// lone surrogate is -1.
func unescape(raw []byte) (r rune, n int) {
	switch raw[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r = hex4(raw[2:])
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(raw) >= 12 && raw[6] == '\\' && raw[7] == 'u' {
			if pair := utf16.DecodeRune(r, hex4(raw[8:])); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return -1, 6
	}
	return rune(raw[1]), 2
}

func hex4(b []byte) (r rune) {
	for _, c := range b[:4] {
		r = r<<4 | rune(hexDigit(c))
	}
	return r
}

// AppendCompact appends a valid JSON value without the blanks between its tokens. Numbers stay as
// they are written; strings are escaped only where JSON demands it, and at lone surrogates. The words
// for what is no number become strings, because they are no JSON.
func AppendCompact(dst, value []byte) []byte {
	for i := 0; i < len(value); {
		switch c := value[i]; c {
		case ' ', '\t', '\n', '\r':
			i++
		case '"':
			n := stringLen(value[i:])
			dst = AppendRequoted(dst, value[i+1:i+n-1])
			i += n
		case 'N', 'I', '+', '-':
			n := wordLen(value[i:])
			if n == 0 {
				dst = append(dst, c)
				i++
				continue
			}
			dst = append(append(append(dst, '"'), value[i:i+n]...), '"')
			i += n
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

// wordLen returns the length of the word for what is no number that b starts with, or 0.
func wordLen(b []byte) int {
	for _, w := range nonNumeric {
		if len(b) >= len(w) && string(b[:len(w)]) == w {
			return len(w)
		}
	}
	return 0
}

// stringLen returns the length of the valid string that b starts with, quotes included.
func stringLen(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// AppendRequoted appends a string, given without its quotes as it is written, with quotes and the
// fewest escapes.
func AppendRequoted(dst, raw []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			i++
			continue
		}
		r, n := unescape(raw[i:])
		if r < 0 {
			dst = append(dst, raw[i:i+n]...)
		} else {
			dst = appendEscaped(dst, r)
		}
		i += n
	}
	return append(dst, '"')
}

// AppendQuoted appends text as a JSON string with the fewest escapes. Bytes that are not UTF-8 become
// U+FFFD.
func AppendQuoted[T ~string | ~[]byte](dst []byte, text T) []byte {
	dst = append(dst, '"')
	for _, r := range string(text) {
		dst = appendEscaped(dst, r)
	}
	return append(dst, '"')
}

const hexDigits = "0123456789abcdef"

func appendEscaped(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	if r < 0x20 {
		return append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
	}
	return utf8.AppendRune(dst, r)
}
