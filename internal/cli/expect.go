package cli

import (
	"errors"
	"fmt"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/internal/duck"
)

// expectations are the rules of a pipeline of the file.
func expectations(docs map[string]expectDoc) map[string]silt.Expectation {
	if docs == nil {
		return nil
	}
	out := map[string]silt.Expectation{}
	for name, x := range docs {
		out[name] = silt.Expectation(x)
	}
	return out
}

// placed puts the mistakes that a run found in the configuration of its pipeline into their places.
func (c *configuration) placed(p *pipeline, err error) error {
	var mistakes *silt.ConfigError
	var stopped *silt.StagedMergeError
	switch {
	case p == nil:
	case errors.As(err, &mistakes):
		return faultsOrNil(locate(mistakes, c.root, p.value, p.path()...))
	case errors.As(err, &stopped) && stopped.Setting != nil:
		found, at := p.value.find(stopped.Setting)
		if found != nil && found.at.line > 0 {
			at = found.at
		}
		if mistake, ok := errors.AsType[*duck.SQLError](stopped.Err); ok {
			at = inSQL(found, at, mistake)
		}
		return &placedError{err, at}
	}
	return err
}

// placedError is an error with the place in the configuration that it comes from.
type placedError struct {
	error
	at place
}

func (e *placedError) Unwrap() error { return e.error }

// expectText is the sum of the rows that were held against rules.
func expectText(e *silt.ExpectCounts) string {
	text := fmt.Sprintf("%s made = %s kept", thousands(e.Rows), thousands(e.Kept))
	for _, p := range []struct {
		n    int64
		what string
	}{{e.Quarantined, "quarantined"}, {e.Dropped, "dropped"}} {
		if p.n > 0 {
			text += " + " + thousands(p.n) + " " + p.what
		}
	}
	return text + wrong(e.Rows == e.Kept+e.Quarantined+e.Dropped)
}

// ruleLines tells of the rules that rows broke, and how many were met by all.
func ruleLines(line func(label, format string, args ...any), all []silt.RuleCounts) {
	met := 0
	for _, r := range all {
		if r.Broken == 0 {
			met += min(1, int(r.Met)) // no row meets a rule that none was held against
			continue
		}
		text := fmt.Sprintf("%s: %s", r.Rule, count(r.Broken, "row")+map[bool]string{true: " breaks it", false: " break it"}[r.Broken == 1])
		if r.Constraint {
			text += ", a rule of the table"
		}
		text += " (" + r.OnViolation + ")"
		if r.File != "" {
			text += ", first " + where(r.File, r.Line)
		}
		line("", "%s", text)
	}
	if met > 0 {
		line("", "%s met by all rows", count(met, "rule"))
	}
}
