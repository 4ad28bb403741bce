package decode

import (
	"bytes"
	"fmt"
	"strings"
)

// separators are how a locale writes a number: what stands between groups of digits, any of several
// characters, and before the fraction.
type separators struct {
	group []string
	point string
}

// Source: Unicode CLDR, "Number symbols", as Java's DecimalFormat has them.
var (
	commaPoint = separators{[]string{","}, "."}
	pointComma = separators{[]string{"."}, ","}
	spaceComma = separators{[]string{"\u00a0", "\u202f", " "}, ","}
	swiss      = separators{[]string{"’", "'"}, "."}
)

var localeSeparators = map[string]separators{
	"en": commaPoint, "us": commaPoint, "ja": commaPoint, "zh": commaPoint, "ko": commaPoint, "th": commaPoint, "he": commaPoint, "hi": commaPoint,
	"de": pointComma, "es": pointComma, "it": pointComma, "nl": pointComma, "pt": pointComma, "tr": pointComma, "da": pointComma,
	"el": pointComma, "id": pointComma, "ro": pointComma, "hr": pointComma, "sl": pointComma, "vi": pointComma,
	"fr": spaceComma, "ru": spaceComma, "pl": spaceComma, "cs": spaceComma, "sv": spaceComma, "nb": spaceComma, "no": spaceComma,
	"fi": spaceComma, "uk": spaceComma, "bg": spaceComma, "hu": spaceComma, "sk": spaceComma,
	"de-ch": swiss, "de-li": swiss, "it-ch": swiss, "es-mx": commaPoint,
}

func separatorsOf(locale string) (separators, error) {
	tag := strings.ToLower(strings.ReplaceAll(locale, "_", "-"))
	if tag == "" {
		return commaPoint, nil
	}
	if s, ok := localeSeparators[tag]; ok {
		return s, nil
	}
	language, _, _ := strings.Cut(tag, "-")
	if s, ok := localeSeparators[language]; ok {
		return s, nil
	}
	return separators{}, fmt.Errorf("how numbers are written in locale %q is not known", locale)
}

// CheckLocale reports whether numbers in a locale's form can be read.
func CheckLocale(locale string) error {
	_, err := separatorsOf(locale)
	return err
}

// plain returns a number in a locale's form as JSON has it, or nil when groups stand behind the point.
func (s *separators) plain(text []byte) []byte {
	whole, fraction, pointed := bytes.Cut(text, []byte(s.point))
	for _, g := range s.group {
		if bytes.Contains(fraction, []byte(g)) {
			return nil
		}
		whole = bytes.ReplaceAll(whole, []byte(g), nil)
	}
	if !pointed {
		return whole
	}
	return append(append(whole[:len(whole):len(whole)], '.'), fraction...)
}
