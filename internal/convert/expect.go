package convert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/schema"
)

// Rule is a condition that rows meet which go to the target. Only true meets it: a row for which it is
// NULL, or on which its SQL fails, breaks it. Source: CHECK constraints of Delta, and the expectations of
// Databricks' pipelines.
type Rule struct {
	Name string `json:"name"`
	// Check is the condition: SQL over one row.
	Check string `json:"check"`
	// Then is what happens to a row that breaks it.
	Then Action `json:"then,omitempty"`
}

// Action is what happens to a row that breaks a rule. Of several that it breaks, the first of FailOnRow,
// QuarantineRow, DropRow and WarnOfRow counts.
type Action uint8

// The zero Action loses nothing.
const (
	QuarantineRow Action = iota
	DropRow
	WarnOfRow // it goes to the target all the same
	FailOnRow // the batch must not be
)

// RuleOutcome is what came of a rule.
type RuleOutcome struct {
	Broken int64 // rows
	// First is the first row that broke it, nil when none did.
	First *BrokenRow
}

func (o *RuleOutcome) merge(more RuleOutcome) {
	o.Broken += more.Broken
	if o.First == nil {
		o.First = more.First
	}
}

// BrokenRow is a row that breaks a rule.
type BrokenRow struct {
	// Position is that of its record; the zero Position when SQL over the whole batch made the row.
	decode.Position
	// Values are those of the columns that the rule names, as JSON by name.
	Values string
}

// Expectations are the outcomes of a target's rules.
type Expectations struct {
	// Quarantined and Dropped are rows that did not go to the target, for a rule, a constraint of the
	// target or a missing key.
	Quarantined, Dropped int64
	// Rules holds the outcomes in the order of the target's.
	Rules []RuleOutcome
	// Constraints holds the outcomes of rules that the target itself has and that were broken, by name.
	Constraints map[string]RuleOutcome
}

// Merge adds the outcomes of another task with the same rules.
func (e *Expectations) Merge(more *Expectations) {
	e.Quarantined += more.Quarantined
	e.Dropped += more.Dropped
	if len(e.Rules) == 0 {
		e.Rules = make([]RuleOutcome, len(more.Rules))
	}
	for i, o := range more.Rules {
		e.Rules[i].merge(o)
	}
	for name, o := range more.Constraints {
		e.constraint(name, o)
	}
}

func (e *Expectations) constraint(name string, more RuleOutcome) {
	if e.Constraints == nil {
		e.Constraints = map[string]RuleOutcome{}
	}
	all := e.Constraints[name]
	all.merge(more)
	e.Constraints[name] = all
}

// A RuleError means that a check is no condition on the rows.
type RuleError struct {
	Rule string
	// Err is a [*duck.SQLError] when it says where the mistake is.
	Err error
}

func (e *RuleError) Error() string { return fmt.Sprintf("rule %s: %v", e.Rule, e.Err) }

func (e *RuleError) Unwrap() error { return e.Err }

// checkPrefix is what stands before a check when it is looked at by itself, so that its first line is the
// second.
const checkPrefix = "SELECT (\n"

func checkSQL(r Rule) string { return checkPrefix + r.Check + "\n) AS ok FROM source" }

// ParseRule fails with a [*duck.SQLError] when a check is no SQL, or reads tables.
func ParseRule(ctx context.Context, engine *duck.Engine, r Rule) error {
	tables, err := engine.Tables(ctx, checkSQL(r))
	if err != nil {
		return ofCheck(r, err)
	}
	for _, t := range tables {
		if t.Catalog+t.Schema != "" || schema.Fold(t.Name) != duck.Source {
			return &duck.SQLError{Message: "it reads the table " + t.String(), SQL: r.Check, Hint: "a check is about one row: join the table in the transform"}
		}
	}
	return nil
}

// ofCheck makes a mistake in the statement of a check one in the check.
func ofCheck(r Rule, err error) error {
	var mistake *duck.SQLError
	if !errors.As(err, &mistake) {
		return err
	}
	if strings.HasPrefix(mistake.Message, "column ok:") {
		return notOne(r)
	}
	return mistake.In(r.Check, 2)
}

func notOne(r Rule) error {
	return &duck.SQLError{Message: "it is not one condition", SQL: r.Check, Hint: "write one expression that is true or false for a row"}
}

// CheckRules fails with a [*RuleError] for each check that is no condition on rows of these columns.
func (c *Converter) CheckRules(ctx context.Context, rules []Rule, columns *schema.Struct) error {
	if len(rules) == 0 {
		return nil
	}
	engine, err := c.Engine(ctx)
	if err != nil {
		return err
	}
	var all []error
	for _, r := range rules {
		if err := checkRule(ctx, engine, r, columns); err != nil {
			if ctx.Err() != nil {
				return err
			}
			all = append(all, &RuleError{r.Name, err})
		}
	}
	return errors.Join(all...)
}

func checkRule(ctx context.Context, engine *duck.Engine, r Rule, columns *schema.Struct) error {
	if err := ParseRule(ctx, engine, r); err != nil {
		return err
	}
	t, err := engine.Prepare(ctx, checkSQL(r), columns, duck.TransformOptions{})
	if err != nil {
		return ofCheck(r, err)
	}
	defer t.Close()
	fields := t.Schema().Fields
	switch {
	case len(fields) != 1:
		return notOne(r)
	case !t.RowLocal():
		return &duck.SQLError{Message: "it does not look at one row by itself", SQL: r.Check, Hint: "write a condition without aggregates, windows and subqueries"}
	case fields[0].Type != schema.Boolean:
		return &duck.SQLError{Message: fmt.Sprintf("it is %s, and not true or false", fields[0].Type), SQL: r.Check, Hint: "compare it with something, such as IS NOT NULL"}
	}
	if t, err = engine.Prepare(ctx, maskSQL([]Rule{r}), columns, duck.TransformOptions{}); err != nil {
		return &duck.SQLError{Message: "it may be another for the same row", SQL: r.Check, Hint: "write a condition without random(), sequences and subqueries"}
	}
	t.Close()
	return nil
}

// RuleColumns are the columns that rules see: those of the rows, and what the target has beyond them,
// which is NULL in these rows.
func RuleColumns(rows, target *schema.Struct) *schema.Struct {
	if target == nil {
		return rows
	}
	out := &schema.Struct{Fields: slices.Clone(rows.Fields)}
	for _, f := range target.Fields {
		i := rows.IndexFold(f.Name)
		if i < 0 {
			out.Fields = append(out.Fields, schema.Nullable(f.Name, f.Type))
			continue
		}
		inner, both := rows.Fields[i].Type.(*schema.Struct)
		if more, ok := f.Type.(*schema.Struct); ok && both {
			out.Fields[i].Type = RuleColumns(inner, more)
		}
	}
	return out
}

// maskRules is how many rules share a column of the answer: the bits of a BIGINT that is never negative.
const maskRules = 60

// maskSQL asks for the rules that each row breaks, as bits.
func maskSQL(rules []Rule) string {
	var columns []string
	for part := range slices.Chunk(rules, maskRules) {
		var bits []string
		for i, r := range part {
			// Where the SQL fails, TRY is NULL.
			bits = append(bits, fmt.Sprintf("CASE WHEN TRY((\n%s\n)) THEN 0 ELSE %d END", r.Check, uint64(1)<<i))
		}
		columns = append(columns, fmt.Sprintf("CAST(%s AS BIGINT) AS m%d", strings.Join(bits, " + "), len(columns)))
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM source"
}

// rules holds rows against the rules of a target.
type rules struct {
	list   []Rule
	asked  *duck.Transform
	shaper *delta.Shaper // to the columns that the rules see; nil when the rows have them all
	looks  [][]string    // of each rule, the columns that it looks at; nil when that cannot be told
	names  [][]int       // of each rule, the places of the columns that it names
	row    *arrow.Schema // that the places are of
}

// newRules prepares rules for rows with these columns, in a table that has those that are known.
func (c *Converter) newRules(ctx context.Context, list []Rule, known, rows *schema.Struct) (*rules, error) {
	if len(list) == 0 {
		return nil, nil
	}
	engine, err := c.Engine(ctx)
	if err != nil {
		return nil, err
	}
	out := &rules{list: list, looks: make([][]string, len(list))}
	for i, r := range list {
		f, err := engine.FilterOf(ctx, r.Check, duck.Source)
		if err != nil {
			return nil, fmt.Errorf("expectations: %w", err)
		}
		out.looks[i] = f.Columns
	}
	columns := RuleColumns(rows, known)
	if !schema.Equal(columns, rows) {
		if out.shaper, err = delta.NewShaper(columns); err != nil {
			return nil, err
		}
	}
	if out.asked, err = engine.Prepare(ctx, maskSQL(out.list), columns, duck.TransformOptions{}); err != nil {
		return nil, fmt.Errorf("expectations: %w", err)
	}
	return out, nil
}

func (s *rules) close() {
	if s != nil && s.asked != nil {
		s.asked.Close()
	}
}

// broken returns for each row of rec the rules that it breaks, as bits, a word for each [maskRules] of
// them; nil when no row breaks any.
func (s *rules) broken(ctx context.Context, rec arrow.RecordBatch) ([][]uint64, error) {
	if s == nil || rec.NumRows() == 0 {
		return nil, nil
	}
	shaped := rec
	if s.shaper != nil {
		var err error
		if shaped, err = s.shaper.Shape(ctx, rec); err != nil {
			return nil, err
		}
		defer shaped.Release()
	}
	parts, failed, err := s.asked.ApplyRows(ctx, shaped)
	if err != nil {
		return nil, fmt.Errorf("expectations: %w", err)
	}
	defer func() {
		for _, p := range parts {
			p.Batch.Release()
		}
	}()
	if len(failed) > 0 {
		return nil, fmt.Errorf("expectations: %w", failed[0].Err)
	}
	words := len(s.asked.Schema().Fields)
	var out [][]uint64
	for _, p := range parts {
		for w := range words {
			for i, bits := range p.Batch.Column(w).(*array.Int64).Int64Values() {
				if bits == 0 {
					continue
				}
				if out == nil {
					out = make([][]uint64, rec.NumRows())
				}
				at := p.From[i]
				if out[at] == nil {
					out[at] = make([]uint64, words)
				}
				out[at][w] = uint64(bits)
			}
		}
	}
	return out, nil
}

// of returns the rules among the bits of a row.
func (s *rules) of(bits []uint64) (broken []int) {
	for i := range s.list {
		if bits[i/maskRules]&(1<<(i%maskRules)) != 0 {
			broken = append(broken, i)
		}
	}
	return broken
}

// maxValueText is how many bytes of a value are shown.
const maxValueText = 100

// values shows the columns that a rule names in a row.
func (s *rules) values(rule int, rec arrow.RecordBatch, row int) string {
	if s.row != rec.Schema() {
		s.row, s.names = rec.Schema(), make([][]int, len(s.list))
		for i, r := range s.list {
			if s.names[i] = named(r.Check, rec.Schema()); s.looks[i] != nil {
				s.names[i] = slices.DeleteFunc(s.names[i], func(place int) bool {
					name := schema.Fold(rec.ColumnName(place))
					return !slices.ContainsFunc(s.looks[i], func(column string) bool { return schema.Fold(column) == name })
				})
			}
		}
	}
	return shown(rec, s.names[rule], row)
}

func shown(rec arrow.RecordBatch, columns []int, row int) string {
	var out []string
	for _, i := range columns {
		text, err := json.Marshal(rec.Column(i).GetOneForMarshal(row))
		if err != nil {
			text = []byte(rec.Column(i).ValueStr(row))
		}
		value := string(text)
		if len(value) > maxValueText {
			value = strings.ToValidUTF8(value[:maxValueText], "") + "…"
		}
		out = append(out, schema.Quote(rec.ColumnName(i))+" = "+value)
	}
	return strings.Join(out, ", ")
}

// named returns the columns whose names stand in SQL as words or in quotes.
func named(sql string, s *arrow.Schema) (places []int) {
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(sql, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		words[schema.Fold(w)] = true
	}
	for i, f := range s.Fields() {
		if words[schema.Fold(f.Name)] || strings.Contains(schema.Fold(sql), schema.Fold(ident(f.Name))) {
			places = append(places, i)
		}
	}
	return places
}
