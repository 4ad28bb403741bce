package source

import (
	"fmt"
	"regexp"
	"strings"
)

// A globber says how far the wildcards of a pattern reach.
type globber int

const (
	loose  globber = iota // * and ? match a slash too: the default of a load path
	strict                // * and ? stay inside one part of the path, ** does not
)

// CheckGlob reports what is wrong with a pattern of [Options.Glob] or [Options.PathGlobFilter].
func CheckGlob(pattern string) error {
	_, err := compile(pattern, strict)
	return err
}

// compile translates a load-path glob: ? * ** [abc] [a-z] [^x] {ab,cd} and \ before a character that
// stands for itself. It is a regular expression and not a matcher of its own so that the time of a
// match is bounded by the length of the name, whatever the pattern.
func compile(pattern string, g globber) (*regexp.Regexp, error) {
	one, many := `.`, `.*`
	if g == strict {
		one, many = `[^/]`, `[^/]*`
	}
	var re strings.Builder
	re.WriteString(`(?s)^`)
	braces := 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '?':
			re.WriteString(one)
		case '*':
			if !strings.HasPrefix(pattern[i:], "**") {
				re.WriteString(many)
				break
			}
			i++
			if strings.HasPrefix(pattern[i+1:], "/") && (i == 1 || pattern[i-2] == '/') {
				re.WriteString(`(?:.*/)?`) // a/**/b matches a/b
				i++
			} else {
				re.WriteString(`.*`)
			}
		case '[':
			n, err := class(&re, pattern[i:], g)
			if err != nil {
				return nil, fmt.Errorf("glob %q: character %d: %w", pattern, i+1, err)
			}
			i += n - 1
		case '{':
			braces++
			re.WriteString(`(?:`)
		case '}':
			if braces == 0 {
				return nil, fmt.Errorf("glob %q: character %d: } without {", pattern, i+1)
			}
			braces--
			re.WriteString(`)`)
		case ',':
			if braces > 0 {
				re.WriteString(`|`)
			} else {
				re.WriteString(`,`)
			}
		case '\\':
			if i++; i == len(pattern) {
				return nil, fmt.Errorf("glob %q: nothing follows the last \\", pattern)
			}
			fallthrough
		default:
			n := i + runeLen(pattern[i:])
			re.WriteString(regexp.QuoteMeta(pattern[i:n]))
			i = n - 1
		}
	}
	if braces > 0 {
		return nil, fmt.Errorf("glob %q: { without }", pattern)
	}
	re.WriteString(`$`)
	compiled, err := regexp.Compile(re.String())
	if err != nil {
		return nil, fmt.Errorf("glob %q: %w", pattern, err)
	}
	return compiled, nil
}

// runeLen is the length in bytes of the first character of a non-empty s.
func runeLen(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}

// class writes the set that starts s, and returns how many bytes of s it is.
func class(re *strings.Builder, s string, g globber) (int, error) {
	i, negated := 1, false
	if strings.HasPrefix(s[i:], "^") {
		i, negated = 2, true
	}
	end := strings.IndexByte(s[i:], ']')
	if end == 0 { // a ] that comes first stands for itself
		end = strings.IndexByte(s[i+1:], ']') + 1
	}
	if end <= 0 {
		return 0, fmt.Errorf("[ without ]")
	}
	members := s[i : i+end]
	re.WriteString(`[`)
	if negated {
		re.WriteString(`^`)
		if g == strict {
			re.WriteString(`/`)
		}
	}
	for j, c := range members {
		switch {
		case c == '-' && j > 0 && j < len(members)-1:
			re.WriteString(`-`)
		case strings.ContainsRune(`\[]^-&~|:`, c):
			re.WriteString(`\` + string(c))
		default:
			re.WriteRune(c)
		}
	}
	re.WriteString(`]`)
	return i + end + 1, nil
}

// Matcher compiles a glob of names, in which * and ? match slashes too.
func Matcher(pattern string) (func(name string) bool, error) {
	re, err := compile(pattern, loose)
	if err != nil {
		return nil, err
	}
	return re.MatchString, nil
}
