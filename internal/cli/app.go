package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/term"
)

// app is one invocation: its streams, environment and flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	flags          globalFlags

	// stopping is closed by the first interrupt. While graceful is set, the command itself ends at the
	// next good moment, else its context is cancelled.
	stopping chan struct{}
	graceful atomic.Bool

	// origins are where the SQL of transforms was written.
	origins []sqlOrigin

	// status is the exit status of a command that returned no error.
	status int
}

// isTerminal says whether w is a terminal that takes escape sequences.
func (a *app) isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// isTerminalInput says whether somebody can answer a question.
func (a *app) isTerminalInput() bool {
	f, ok := a.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width returns the number of columns of the terminal w, or 0.
func (a *app) width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}

// colour says whether w gets colours.
func (a *app) colour(w io.Writer) bool {
	switch a.flags.color {
	case "always":
		return true
	case "never":
		return false
	}
	return !a.flags.noColor && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" && a.isTerminal(w)
}

// next tells the command that usually comes next, to people.
func (a *app) next(words ...string) {
	if a.flags.quiet || a.machine() {
		return
	}
	fmt.Fprintln(a.stderr, "Next: "+shell(words...))
}

// machine says whether the output is for a program.
func (a *app) machine() bool {
	return a.flags.output == "json" || a.flags.output == "jsonl"
}

// printJSON writes v as one line, or indented on a terminal.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	if a.isTerminal(a.stdout) && a.flags.output != "jsonl" {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// result is the JSON form of what a command that went well has to say.
func result(marker string, members ...member) object {
	return append(append(object{{"schema", marker}}, members...), member{"exit_code", 0})
}

func (o object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(m.value); err != nil {
			return nil, err
		}
		out = append(append(appendString(out, m.name), ':'), bytes.TrimSpace(b.Bytes())...)
	}
	return append(out, '}'), nil
}

// shell joins words to a command line, in quotes where a shell needs them.
func shell(words ...string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quoteWord(w))
	}
	return b.String()
}

func quoteWord(w string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@,+%"
	switch {
	case w != "" && strings.Trim(w, plain) == "":
		return w
	case !strings.ContainsAny(w, "\"$`\\!"):
		return `"` + w + `"`
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// say tells people something about a result that is no part of it.
func (a *app) say(text string) {
	if !a.flags.quiet && !a.machine() {
		fmt.Fprintln(a.stderr, text)
	}
}
