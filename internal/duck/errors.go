//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// duckError is an error as DuckDB tells it when errors_as_json is set.
type duckError struct {
	Kind     string `json:"exception_type"`
	Message  string `json:"exception_message"`
	Position string `json:"position"` // in bytes of the statement; empty when not known
}

func (e *duckError) Error() string { return oneLine(e.Message) }

// parseError reads the text of an error; what is not JSON is the message.
func parseError(text string) error {
	e := &duckError{}
	if i := strings.IndexByte(text, '{'); i >= 0 && json.Unmarshal([]byte(text[i:]), e) == nil && e.Message != "" {
		return e
	}
	kind, message, ok := strings.Cut(text, " Error: ")
	if !ok || strings.ContainsAny(kind, "\n.") {
		kind, message = "", text
	}
	return &duckError{Kind: kind, Message: message}
}

// ofRow reports whether an error comes from the values of a row and not from the statement, the
// memory or the machine.
func ofRow(err error) bool {
	var e *duckError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case "Conversion", "Out of Range", "Invalid Input", "Divide by Zero", "Mismatch Type", "Decimal",
		"Constraint", "Invalid", "Invalid type", "Object Size", "Parameter Not Allowed", "Expression":
		return true
	}
	return false
}

// sqlError tells a mistake in the SQL; at maps a position in the statement that DuckDB saw to one in
// the user's, or is nil when there is no way back. An error that is no mistake stays as it is.
func sqlError(err error, sql string, at func(int) int) error {
	var e *duckError
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case "INTERRUPT", "Out of Memory", "IO", "FATAL", "INTERNAL":
		return err
	}
	message, hint := split(e.Message)
	out := &SQLError{Message: message, Hint: hint, SQL: sql}
	if pos, perr := strconv.Atoi(e.Position); perr == nil && at != nil {
		out.place(at(pos))
	}
	return out
}

// place sets line and column from an offset in bytes of the SQL.
func (e *SQLError) place(pos int) {
	if pos < 0 || pos > len(e.SQL) {
		return
	}
	before := e.SQL[:pos]
	e.Line = strings.Count(before, "\n") + 1
	e.Column = utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}

// split parts what is wrong from what DuckDB suggests, each in one line.
func split(message string) (what, hint string) {
	message, _, _ = strings.Cut(message, "\nLINE ")
	lines := strings.Split(strings.TrimSpace(message), "\n")
	n := 1
	for n < len(lines) && !isHint(lines[n]) {
		n++
	}
	return oneLine(strings.Join(lines[:n], "\n")), oneLine(strings.Join(lines[n:], "\n"))
}

func isHint(line string) bool {
	for _, start := range []string{"Candidate", "Did you mean", "Possible solutions", "Hint:", "HINT:", "Either ", "\tCandidate"} {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return false
}

// oneLine joins the lines of a message; what comes after a blank line is the statement again.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
