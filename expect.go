package silt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

// Expectation is a rule for the rows that go to a table.
type Expectation struct {
	// Check is SQL over one row, as it goes to the table: true when the row meets the rule. A row for which
	// it is NULL, or on which it fails, breaks the rule.
	Check string `json:"check"`
	// OnViolation says what happens to a row that breaks the rule: "quarantine" (the default), "drop",
	// "fail" or "warn". Of several rules that a row breaks, fail counts before quarantine, quarantine before
	// drop, and drop before warn.
	OnViolation string `json:"onViolation,omitempty"`
}

// The words of OnViolation.
const (
	violationQuarantine = "quarantine"
	violationDrop       = "drop"
	violationFail       = "fail"
	violationWarn       = "warn"
)

var violations = map[string]convert.Action{"": convert.QuarantineRow, violationQuarantine: convert.QuarantineRow,
	violationDrop: convert.DropRow, violationFail: convert.FailOnRow, violationWarn: convert.WarnOfRow}

// ExpectCounts says what rules found in rows: Rows is the sum of Kept, Quarantined and Dropped.
type ExpectCounts struct {
	Rows int64 `json:"rows"` // held against the rules
	Kept int64 `json:"kept"` // to be loaded
	// Quarantined are rows whose records are in the quarantine table; a record of which SQL makes several
	// rows is there once. Rows without a key are among them.
	Quarantined int64 `json:"quarantined"`
	Dropped     int64 `json:"dropped"`
	// Rules are the rules of the pipeline in the order of their names, then those of the tables that rows
	// broke.
	Rules []RuleCounts `json:"rules"`
}

// RuleCounts says how many rows met a rule, and how many broke it.
type RuleCounts struct {
	Table string `json:"table"`
	Rule  string `json:"rule"`
	// Check is its SQL; empty for NOT NULL.
	Check       string `json:"check,omitempty"`
	OnViolation string `json:"onViolation"`
	// Constraint means that it is a rule of the table itself.
	Constraint bool  `json:"constraint,omitempty"`
	Met        int64 `json:"met"`
	Broken     int64 `json:"broken"`
	// File and Line are where the first row that broke it comes from, Values are what it holds.
	File   string `json:"file,omitempty"`
	Line   int64  `json:"line,omitempty"`
	Values string `json:"values,omitempty"`
}

// add adds what another batch found.
func (e *ExpectCounts) add(more *ExpectCounts) {
	e.Rows += more.Rows
	e.Kept += more.Kept
	e.Quarantined += more.Quarantined
	e.Dropped += more.Dropped
	for _, r := range more.Rules {
		i := slices.IndexFunc(e.Rules, func(o RuleCounts) bool {
			return o.Table == r.Table && o.Rule == r.Rule && o.Constraint == r.Constraint
		})
		if i < 0 {
			e.Rules = append(e.Rules, r)
			continue
		}
		o := &e.Rules[i]
		o.Met += r.Met
		o.Broken += r.Broken
		if o.Values == "" && o.File == "" {
			o.File, o.Line, o.Values = r.File, r.Line, r.Values
		}
	}
}

// A ViolationError says that rows break an expectation whose onViolation is fail. Nothing of their batch is
// in the table.
type ViolationError struct {
	Rule, Check string
	// Rows is how many rows of the batch break it.
	Rows int64
	// File and Line are where the first of them comes from; empty when SQL over the whole batch made it.
	File string
	Line int64
	// Values are those of the columns that the check names.
	Values string
}

func (e *ViolationError) Error() string {
	text := fmt.Sprintf("expectation %s (%s) is broken", schema.Quote(e.Rule), e.Check)
	if e.Values != "" {
		text += " by a row with " + e.Values
	}
	if e.File != "" {
		text = fmt.Sprintf("%s line %d: %s", e.File, e.Line, text)
	}
	return text
}

// expecting reads the expectations of the targets.
func (p *parser) expecting() {
	if len(p.config.Targets) > 0 && len(p.config.Target.Expect) > 0 {
		p.fault(CodeContradiction, []string{"expect"}, "give each of the targets its own: targets: [{ table: …, expect: … }]", "there are several targets")
	}
	for _, t := range p.set.targets {
		p.oneOf(strings.Join(t.at("onConstraint"), "."), t.given.OnConstraint, "", violationQuarantine, violationFail)
		t.failOnConstraint = t.given.OnConstraint == violationFail || t.given.OnConstraint == "" && p.set.compat
		for _, name := range sortedKeys(t.given.Expect) {
			t.expect = append(t.expect, p.expectation(t.ruleKey(name), name, t.given.Expect[name]))
		}
	}
}

// at is the place in the configuration of what the only target has from its pipeline.
func (t *targetSettings) at(path ...string) []string {
	if len(t.key) == 1 {
		return path
	}
	return slices.Concat(t.key, path)
}

// ruleKey is the place of a rule in the configuration.
func (t *targetSettings) ruleKey(name string) []string { return t.at("expect", name) }

func (p *parser) expectation(at []string, name string, x Expectation) convert.Rule {
	then, ok := violations[x.OnViolation]
	switch {
	case name == "":
		p.fault(CodeMissing, at, "give the rule a name", "a rule has no name")
	case strings.TrimSpace(x.Check) == "":
		p.fault(CodeMissing, at, "write SQL that is true for a row that is right, such as event_id IS NOT NULL", "the rule has no check")
	}
	if !ok {
		p.fault(CodeValue, append(slices.Clip(at), "onViolation"), "", "%q is none of %s", x.OnViolation,
			strings.Join([]string{violationQuarantine, violationDrop, violationFail, violationWarn}, ", "))
	}
	return convert.Rule{Name: name, Check: x.Check, Then: then}
}

// expects reports whether a target has expectations.
func (s *settings) expects() bool {
	return slices.ContainsFunc(s.targets, func(t *targetSettings) bool { return len(t.expect) > 0 })
}

// checkExpectations fails when there are expectations and no SQL in this binary, or when their SQL is none.
func (p *Pipeline) checkExpectations(ctx context.Context) error {
	if !p.set.expects() {
		return nil
	}
	engine, err := duck.Open(ctx, duck.Options{})
	if err != nil {
		return err
	}
	defer engine.Close()
	var faults []Fault
	for _, t := range p.set.targets {
		for _, r := range t.expect {
			err := convert.ParseRule(ctx, engine, r)
			var mistake *duck.SQLError
			if errors.As(err, &mistake) {
				faults = append(faults, t.sqlFault(codeCheck, t.ruleKey(r.Name), mistake))
			} else if err != nil {
				return err
			}
		}
	}
	if faults != nil {
		return &ConfigError{faults}
	}
	return nil
}

// codeCheck is the code of a check that is no condition on rows.
const codeCheck = "SILT-7007"

// sqlFault is a mistake in SQL that stands at a key.
func (t *targetSettings) sqlFault(code string, key []string, mistake *duck.SQLError) Fault {
	f := Fault{Code: code, Key: key, Problem: mistake.Message, Hint: cmp.Or(mistake.Later(), mistake.Hint), Err: mistake}
	if mistake.Missing != "" && t.makesColumns() {
		f.Hint = ofTransform
	}
	return f
}

// ofTransform is the hint of what names a column that a transform does not make.
const ofTransform = "it sees the columns that the transform makes"

// makesColumns reports whether the target has a transform that makes others than it reads.
func (t *targetSettings) makesColumns() bool { return t.transform != "" && t.transform != everything }

// rulesFault makes the mistakes in checks mistakes in the Config.
func (t *targetSettings) rulesFault(err error) error {
	var faults []Fault
	each := func(err error) {
		var rule *convert.RuleError
		var mistake *duck.SQLError
		if errors.As(err, &rule) && errors.As(rule.Err, &mistake) {
			faults = append(faults, t.sqlFault(codeCheck, t.ruleKey(rule.Rule), mistake))
		}
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range several.Unwrap() {
			each(e)
		}
	} else {
		each(err)
	}
	if faults == nil {
		return err
	}
	return &ConfigError{faults}
}

// checkRules fails when a check is no condition on rows with these columns; table may be nil.
func (t *targetSettings) checkRules(ctx context.Context, w *convert.Converter, rows *schema.Struct, table *delta.Snapshot) error {
	var known *schema.Struct
	if table != nil {
		known = table.Schema()
	}
	return t.rulesFault(w.CheckRules(ctx, t.expect, convert.RuleColumns(rows, known)))
}

// expectations is what the rules found in the batch; nil when there is nothing to tell.
func (c *conversion) expectations() *ExpectCounts {
	var out *ExpectCounts
	for i, d := range c.deliveries {
		out = out.with(d.judged(i, c.results))
	}
	return out
}

// judged is what the rules of the target with a number made of the rows of tasks, nil when there is nothing to
// tell.
func (t *target) judged(number int, results []*convert.Result) *ExpectCounts {
	var all convert.Expectations
	kept := int64(0)
	for _, r := range results {
		if len(r.Targets) > 0 { // else a part of its file could not be read
			all.Merge(&r.Targets[number].Expect)
			kept += r.Targets[number].Rows
		}
	}
	return t.counts(t.name, &all, kept)
}

// with adds what was found in another table. Both may be nil.
func (e *ExpectCounts) with(more *ExpectCounts) *ExpectCounts {
	if more == nil {
		return e
	}
	if e == nil {
		e = &ExpectCounts{}
	}
	e.add(more)
	return e
}

// stops is the first rule that is broken and is to stop the run; nil when none is.
func (e *ExpectCounts) stops() *RuleCounts {
	if e == nil {
		return nil
	}
	i := slices.IndexFunc(e.Rules, func(r RuleCounts) bool { return r.OnViolation == violationFail && r.Broken > 0 })
	if i < 0 {
		return nil
	}
	return &e.Rules[i]
}

// counts are those of what was found in the rows of a table, nil when it has no rules and no row broke any.
func (t *targetSettings) counts(table string, all *convert.Expectations, kept int64) *ExpectCounts {
	if len(t.expect)+len(all.Constraints) == 0 {
		return nil
	}
	out := &ExpectCounts{Rows: kept + all.Quarantined + all.Dropped, Kept: kept, Quarantined: all.Quarantined, Dropped: all.Dropped}
	for i, r := range t.expect {
		n := RuleCounts{Table: table, Rule: r.Name, Check: r.Check, OnViolation: violationName(r.Then)}
		if i < len(all.Rules) { // else there was no row to hold against them
			n.found(all.Rules[i], out.Rows)
		}
		out.Rules = append(out.Rules, n)
	}
	for _, name := range sortedKeys(all.Constraints) {
		o := all.Constraints[name]
		n := RuleCounts{Table: table, Rule: name, OnViolation: violationQuarantine, Constraint: true}
		n.found(o, out.Rows)
		out.Rules = append(out.Rules, n)
	}
	return out
}

func (n *RuleCounts) found(o convert.RuleOutcome, rows int64) {
	n.Broken, n.Met = o.Broken, rows-o.Broken
	if o.First != nil {
		n.File, n.Line, n.Values = o.First.File, o.First.Line, o.First.Values
	}
}

func violationName(a convert.Action) string {
	for _, name := range []string{violationQuarantine, violationDrop, violationFail, violationWarn} {
		if violations[name] == a {
			return name
		}
	}
	return ""
}

// violated fails when rows of the batch break a rule that stops it. It is asked when the schema has settled:
// a value that has no place yet, and is NULL, may have one when its task is done again.
func (c *conversion) violated() error {
	if r := c.expectations().stops(); r != nil {
		return &ViolationError{r.Rule, r.Check, r.Broken, r.File, r.Line, r.Values}
	}
	return nil
}

// warnings tells of the rules of which a broken one is to be told.
func (e *ExpectCounts) warnings() (all []Warning) {
	if e == nil {
		return nil
	}
	for _, r := range e.Rules {
		if r.OnViolation != violationWarn || r.Broken == 0 {
			continue
		}
		text := fmt.Sprintf("%s the expectation %s (%s)", plural(int(r.Broken), "row breaks", "rows break"), schema.Quote(r.Rule), r.Check)
		if r.Values != "" {
			text += ", first with " + r.Values
		}
		if r.File != "" {
			text += fmt.Sprintf(" at %s:%d", r.File, r.Line)
		}
		all = append(all, Warning{Code: "SILT-3012", Text: text, Hint: "to keep such rows aside, set onViolation: quarantine"})
	}
	return all
}
