package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/merge"
)

// The codes of mistakes that this package finds; the root has more.
const (
	codeUsage     = "SILT-1001" // the command line
	codeNoFile    = "SILT-1002" // the pipeline file cannot be read
	codeSyntax    = "SILT-1003" // the pipeline file is no YAML
	codeKey       = "SILT-1004" // no such key
	codeKind      = "SILT-1005" // a list where text belongs, and such
	codeVariable  = "SILT-1006" // ${...}
	codeName      = "SILT-1007" // no such pipeline, environment or table in the configuration
	codeNewColumn = "SILT-2002"
)

const (
	codeValue         = silt.CodeValue
	codeContradiction = silt.CodeContradiction
	codeUnsupported   = silt.CodeUnsupported
)

// fault is one mistake in the configuration, in its place.
type fault struct {
	code    string
	problem string
	hint    string // the fix; may be empty
	at      place
	path    string // of the key, with dots
}

// faultError holds all mistakes that were found.
type faultError struct{ faults []fault }

func (e *faultError) Error() string {
	texts := make([]string, len(e.faults))
	for i, f := range e.faults {
		texts[i] = f.at.String() + ": " + f.problem
	}
	return strings.Join(texts, "; ")
}

// faultsOrNil returns the faults as an error, in the order they were written, each once; nil when there are
// none.
func faultsOrNil(faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b fault) int {
		if a.at.source != b.at.source {
			return 0
		}
		return a.at.line - b.at.line
	})
	return &faultError{slices.Compact(faults)}
}

// locate puts the faults that the root found into their places below v, the value of the pipeline.
// document is the whole configuration, where faults about catalogs are.
func locate(e *silt.ConfigError, document, v *value, prefix ...string) []fault {
	var faults []fault
	for _, f := range e.Faults {
		if slices.ContainsFunc(e.Faults, func(o silt.Fault) bool { return o.Problem == f.Problem && len(o.Key) > len(f.Key) }) {
			continue // said of a key inside it
		}
		if len(f.Key) == 1 {
			f.Key = strings.SplitN(f.Key[0], ".", 2)
		}
		in, path := v, slices.Concat(prefix, f.Key)
		if len(f.Key) > 0 && f.Key[0] == "catalogs" {
			in, path = document, f.Key
		}
		found, key := in.find(f.Key)
		at := key
		if f.Code != silt.CodeUnknownOption && found != nil && found.at.line > 0 && len(found.entries) == 0 {
			at = found.at
		}
		hint := f.Hint
		if mistake, ok := errors.AsType[*duck.SQLError](f.Err); ok {
			at, hint = inSQL(found, at, mistake), withNearest(mistake.Name, mistake.Known, hint)
		}
		if column, ok := errors.AsType[*merge.ColumnError](f.Err); ok {
			hint = withNearest(column.Name, column.Known, hint)
		}
		if hint == "" && f.Code == silt.CodeUnknownOption && len(f.Key) > 0 {
			if n := nearest(f.Key[len(f.Key)-1], optionNames()); n != "" {
				hint = "did you mean " + n + "?"
			}
		}
		faults = append(faults, fault{f.Code, faultTitle(f), hint, at, strings.Join(path, ".")})
	}
	return faults
}

// inSQL is the place of a mistake in the SQL that a value is, or has as its check.
func inSQL(v *value, at place, mistake *duck.SQLError) place {
	if check := v.get("check"); check != nil {
		v, at = check.value, check.value.at
	}
	if offset, ok := offsetOf(mistake.SQL, mistake.Line, mistake.Column); ok && v != nil && v.text == mistake.SQL {
		return at.along(v.text, offset)
	}
	return at
}

// faultTitle is what the root found, with the key that it is about.
func faultTitle(f silt.Fault) string {
	if len(f.Key) == 0 {
		return f.Problem
	}
	key := f.Key[len(f.Key)-1]
	if f.Code == silt.CodeUnknownOption {
		return fmt.Sprintf("unknown option %q", key)
	}
	if _, err := strconv.Atoi(key); err == nil && len(f.Key) > 1 { // an element of a list
		key = f.Key[len(f.Key)-2] + "." + key
	}
	return key + ": " + f.Problem
}

func optionNames() []string {
	var names []string
	for _, o := range silt.OptionTable() {
		names = append(names, o.Name)
	}
	return names
}

// excerpt shows the line of a place with a caret below it; with context, the line before it too. The
// values of secrets are not shown.
func excerpt(p place, context bool) []string {
	if p.source == nil || p.line < 1 || p.line > len(p.source.lines) {
		return nil
	}
	line := p.source.lines[p.line-1]
	if !p.source.file {
		shown, column := window(line, p.column)
		return []string{"  " + shown, "  " + strings.Repeat(" ", column-1) + "^"}
	}
	var out []string
	if context && p.line > 1 {
		if before := p.source.lines[p.line-2]; strings.TrimSpace(before) != "" {
			shown, _ := window(maskLine(before), 1)
			out = append(out, fmt.Sprintf("  %4d | %s", p.line-1, shown))
		}
	}
	shown, column := window(maskLine(line), p.column)
	return append(out, fmt.Sprintf("> %4d | %s", p.line, shown), strings.Repeat(" ", 9+column-1)+"^")
}

// window cuts a long line to the part around a column, which it returns anew.
func window(line string, column int) (string, int) {
	const most = 100
	r := []rune(strings.ReplaceAll(line, "\t", " "))
	column = min(max(column, 1), len(r)+1)
	from := 0
	if column > most-20 {
		from = column - most/2
	}
	out := string(r[from:min(len(r), from+most)])
	column -= from
	if from > 0 {
		out, column = "…"+out, column+1
	}
	if from+most < len(r) {
		out += "…"
	}
	return out, column
}

var secretInLine = regexp.MustCompile(`(?i)([\w.-]*(?:` + strings.Join(secretWords, "|") + `)[\w.-]*["']?\s*:\s*)("[^"]*"|'[^']*'|[^,}\s#]+)`)

// maskLine hides values in a line whose keys name secrets, and keeps what follows in its place.
func maskLine(line string) string {
	return secretInLine.ReplaceAllStringFunc(line, func(found string) string {
		m := secretInLine.FindStringSubmatch(found)
		if strings.Contains(m[2], "${") {
			return found
		}
		n := utf8.RuneCountInString(m[2])
		return m[1] + strings.Repeat("•", min(n, 4)) + strings.Repeat(" ", max(0, n-4))
	})
}

const masked = "••••"

var secretWords = []string{"secret", "token", "password", "accesskey", "access_key", "connectionstring", "credential"}

// isSecret says whether a key names something that must not be shown.
func isSecret(key string) bool {
	key = strings.ToLower(key)
	for _, word := range secretWords {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}
