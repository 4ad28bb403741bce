package schema

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Fold returns the form of a name in which two names that differ only by case are equal.
func Fold(name string) string {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, strings.ReplaceAll(name, "\u0130", "i\u0307")) // as Java and Rust lower it
		}
	}
	return name
}

// foldRune maps through upper case first, so that letters with several lower-case forms meet.
func foldRune(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }

// CompareNames orders names by UTF-16 code units, the order in which Spark sorts inferred columns.
// It differs from byte order only for characters beyond U+FFFF.
func CompareNames(a, b string) int {
	if i := firstDifference(a, b); i >= 0 {
		ra, _ := utf8.DecodeRuneInString(a[i:])
		rb, _ := utf8.DecodeRuneInString(b[i:])
		return cmp.Compare(firstUnit(ra), firstUnit(rb))*2 + cmp.Compare(ra, rb)
	}
	return cmp.Compare(len(a), len(b))
}

// firstDifference returns the start of the first character in which a and b differ, or -1 when one
// is a prefix of the other.
func firstDifference(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		for i > 0 && !utf8.RuneStart(a[i]) {
			i--
		}
		return i
	}
	return -1
}

func firstUnit(r rune) rune {
	if hi, _ := utf16.EncodeRune(r); hi != unicode.ReplacementChar {
		return hi
	}
	return r
}

// SortFields sorts fields by [CompareNames].
func SortFields(fields []Field) {
	slices.SortFunc(fields, func(a, b Field) int { return CompareNames(a.Name, b.Name) })
}

// Quote returns name as an identifier in DDL: in back-ticks unless it is made of ASCII letters,
// digits and underscores and does not start with a digit.
func Quote(name string) string {
	if isPlainName(name) {
		return name
	}
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

func isPlainName(name string) bool {
	if name == "" || '0' <= name[0] && name[0] <= '9' {
		return false
	}
	for i := 0; i < len(name); i++ {
		if !isNameByte(name[i]) {
			return false
		}
	}
	return true
}

func isNameByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// Path joins the names of nested fields with dots, quoting those that need it. Array elements are
// the step "element", map entries "key" and "value".
func Path(names ...string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = Quote(n)
	}
	return strings.Join(quoted, ".")
}
