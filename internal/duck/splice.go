//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"slices"
	"strings"
)

// The user's SQL is edited where DuckDB's parser says a name stands, so that everything else, and with
// it the places that errors point to, stays as it was written.

// edit puts text where sql[from:to] was.
type edit struct {
	from, to int
	text     string
}

// splice makes the edits, which must not overlap, and returns with the text the way from a position in
// it back to one in sql. A position inside a replaced text is the start of what it replaced.
func splice(sql string, edits []edit) (string, func(int) int) {
	edits = slices.Clone(edits)
	slices.SortFunc(edits, func(a, b edit) int { return a.from - b.from })
	var out strings.Builder
	at := 0
	for _, e := range edits {
		out.WriteString(sql[at:e.from])
		out.WriteString(e.text)
		at = e.to
	}
	out.WriteString(sql[at:])
	return out.String(), func(pos int) int {
		shift := 0 // of the positions after the edits so far: result less sql
		for _, e := range edits {
			start := e.from + shift
			if pos < start {
				break
			}
			if pos < start+len(e.text) {
				return e.from
			}
			shift += len(e.text) - (e.to - e.from)
		}
		return pos - shift
	}
}

// token returns the end of the token that starts at i and whether it counts: space and comments do not.
// Words, strings and quoted names are one token each, every other character is one by itself.
func token(sql string, i int) (end int, counts bool) {
	until := func(from int, mark string) int {
		if j := strings.Index(sql[from:], mark); j >= 0 {
			return from + j + len(mark)
		}
		return len(sql)
	}
	rest := sql[i:]
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "--"):
		return until(i, "\n"), false
	case strings.HasPrefix(rest, "/*"):
		return until(i+2, "*/"), false
	case strings.IndexByte(" \t\r\n\f\v", c) >= 0:
		return i + 1, false
	case (c == 'e' || c == 'E') && len(rest) > 1 && rest[1] == '\'':
		for j := i + 2; j < len(sql); j++ {
			if sql[j] == '\\' {
				j++
			} else if sql[j] == '\'' {
				return j + 1, true
			}
		}
		return len(sql), true
	case c == '\'' || c == '"': // a doubled quote starts a second string, which does as well
		return until(i+1, string(c)), true
	case c == '$':
		if j := strings.IndexByte(rest[1:], '$'); j >= 0 && isWord(rest[1:1+j]) {
			return until(i+j+2, rest[:j+2]), true
		}
		return i + 1, true
	case isWord(rest[:1]):
		j := i + 1
		for j < len(sql) && (isWord(sql[j:j+1]) || sql[j] == '$') {
			j++
		}
		return j, true
	}
	return i + 1, true
}

func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && c < 0x80 && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// statement returns sql up to the semicolon that ends its first statement.
func statement(sql string) string {
	for i := 0; i < len(sql); {
		if sql[i] == ';' {
			return sql[:i]
		}
		i, _ = token(sql, i)
	}
	return sql
}

// nameParts returns where each part of the dotted name at pos starts and ends, at most n of them.
func nameParts(sql string, pos, n int) (parts [][2]int) {
	dot := true
	for i := pos; i < len(sql); {
		end, counts := token(sql, i)
		switch {
		case !counts:
		case sql[i] == '.' && !dot:
			dot = true
		case dot && len(parts) < n:
			// "a""b" comes as two tokens
			for end < len(sql) && (sql[i] == '"' || sql[i] == '\'') && sql[end] == sql[i] {
				end, _ = token(sql, end)
			}
			parts = append(parts, [2]int{i, end})
			dot = false
		default:
			return parts
		}
		i = end
	}
	return parts
}

// wordBefore returns the token before pos in capitals.
func wordBefore(sql string, pos int) string {
	last := ""
	for i := 0; i < pos; {
		end, counts := token(sql, i)
		if counts {
			last = sql[i:end]
		}
		i = end
	}
	return strings.ToUpper(last)
}
