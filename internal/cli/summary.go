package cli

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/siltlake/silt"
)

// summaryText writes what a run did, in sums that add up.
func summaryText(s *silt.Summary) string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s %s\n", label, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	f, r := s.Files, s.Records
	if f.Found == 0 && s.Error == "" && s.Batches == 0 {
		fmt.Fprintf(&b, "%s  no new files in %s\n", s.Pipeline, s.Source)
		if text := passedText(f.PassedOver); text != "" {
			line("files", "%s", text)
		}
		cleaned(line, f)
		warnings(line, s.Warnings)
		return b.String()
	}
	state := "done in"
	if s.Error != "" {
		state = "stopped after"
	}
	fmt.Fprintf(&b, "%s  %s %s\n", s.Pipeline, state, took(s.Took))
	line("files", "%s", filesSum(f))
	if text := passedText(f.PassedOver); text != "" {
		line("", "%s", text)
	}
	line("records", "%s", recordsSum(r, s.Transform != nil))
	for i, text := range rowsTexts(s) {
		line([]string{"rows", ""}[min(i, 1)], "%s", text)
	}
	if s.Expect != nil {
		line("expect", "%s", expectText(s.Expect))
		ruleLines(line, s.Expect.Rules)
	}
	if text := schemaText(s.Schema); text != "" {
		line("schema", "%s", text)
		changed := slices.Concat(s.Schema.Added, s.Schema.Widened)
		for _, n := range changed[:min(len(changed), mostAdded)] {
			line("", "%s", fieldText(n))
		}
		if more := len(changed) - mostAdded; more > 0 {
			line("", "and %d more: silt schema history", more)
		}
	}
	if n := len(s.Schema.Uncarried); n > 0 {
		line("transform", "%s read but not in the table; the values are in the rescued data", count(n, "field"))
		uncarriedList(line, s.Schema.Uncarried, mostAdded)
	}
	if len(s.Schema.Pending) > 0 {
		pendingLines(line, s.Schema.Pending, mostPending, ": silt schema show --all")
	}
	if s.Rescued.Rows > 0 || len(s.Rescued.Paths) > 0 {
		line("rescued", "%s", rescuedText(s.Rescued))
		for _, p := range s.Rescued.Paths[:min(len(s.Rescued.Paths), 5)] {
			line("", "%s: %s, %s, first %s", p.Path, count(p.Values, "value"), misfit(p.Reason), where(p.File, p.Line))
		}
		if more := len(s.Rescued.Paths) - 5; more > 0 {
			line("", "and %s", count(more, "more path"))
		}
	}
	cleaned(line, f)
	warnings(line, s.Warnings)
	return b.String()
}

func warnings(line func(label, format string, args ...any), all []silt.Warning) {
	for _, w := range all {
		line("! "+w.Code, "%s", w.Text)
		if w.Hint != "" {
			line("", "%s", w.Hint)
		}
	}
}

const mostAdded = 8

// cleaned tells of files of which cleanSource was due, whether or not there were new ones.
func cleaned(line func(label, format string, args ...any), f silt.FileCounts) {
	if f.Cleaned > 0 {
		line("cleaned", "%s of the source", count(f.Cleaned, "file"))
	}
}

// filesSum is the sum of files, or the one number when there is nothing to sum.
func filesSum(f silt.FileCounts) string {
	parts := []string{thousands(f.Loaded) + " loaded"}
	sum := f.Loaded
	for _, p := range []struct {
		n    int
		what string
	}{
		{f.Failed, "failed, tried again by the next run"}, {f.Quarantined, "given up"}, {f.Deferred, "still being written"}, {f.Waiting, "waiting for others"}, {f.Vanished, "gone or replaced before they were read"},
	} {
		if sum += p.n; p.n > 0 {
			parts = append(parts, thousands(p.n)+" "+p.what)
		}
	}
	text := strings.Join(parts, " + ")
	if len(parts) > 1 {
		text += " = " + thousands(f.Found) + " found"
	}
	if f.WithBad > 0 {
		text += "   (" + thousands(f.WithBad) + " with bad records)"
	}
	return text + wrong(sum == f.Found)
}

// passedText says which options keep how many files out, most first; empty: none.
func passedText(by silt.PassedOver) string {
	sum := 0
	for _, n := range by {
		sum += n
	}
	if sum == 0 {
		return ""
	}
	filters := slices.Sorted(maps.Keys(by))
	slices.SortStableFunc(filters, func(a, b string) int { return by[b] - by[a] })
	var parts []string
	for _, f := range filters {
		name := f
		switch f {
		case "hidden":
			name = "names that begin with _ or ."
		case "glob":
			name = "the pattern of the source"
		}
		parts = append(parts, thousands(by[f])+" by "+name)
	}
	return count(sum, "file") + " passed over: " + strings.Join(parts, ", ")
}

func recordsSum(r silt.RecordCounts, transformed bool) string {
	text := fmt.Sprintf("%s read = %s %s + %s quarantined", thousands(r.Read), thousands(r.Loaded),
		map[bool]string{true: "transformed", false: "loaded"}[transformed], thousands(r.Quarantined))
	if r.Dropped > 0 {
		text += " + " + thousands(r.Dropped) + " dropped"
	}
	return text + wrong(r.Read == r.Loaded+r.Quarantined+r.Dropped)
}

func wrong(right bool) string {
	if right {
		return ""
	}
	return "   DOES NOT ADD UP: this is a bug of silt, please report it"
}

// rowsTexts says what each table got, and what it is of several together. Those have rows of quarantined
// records too, where another table could not take these, so that of several it does not say of how many
// records the rows are.
func rowsTexts(s *silt.Summary) (all []string) {
	sum := int64(0)
	for _, t := range s.Targets {
		all = append(all, tableText(s, t))
		sum += t.Rows
	}
	made := ""
	switch t := s.Transform; {
	case t != nil && !t.Unknown && t.None+t.Several > 0 && len(all) < 2:
		made = fmt.Sprintf("   (%s with none, %s with several)", count(t.None, "record"), thousands(t.Several))
	case s.Rows != s.Records.Loaded:
		made = fmt.Sprintf("   (the SQL made them of %s)", count(s.Records.Loaded, "record"))
	}
	switch len(all) {
	case 0: // a summary of before there were several
		return []string{tableText(s, silt.TargetSummary{Table: s.Target, Rows: s.Rows, Merge: s.Merge}) + made}
	case 1:
		return []string{all[0] + made}
	}
	return append(all, fmt.Sprintf("%s in %d tables", thousands(s.Rows), len(all))+wrong(sum == s.Rows))
}

func tableText(s *silt.Summary, t silt.TargetSummary) string {
	text := thousands(t.Rows) + " inserted into " + t.Table
	if t.Merge != nil {
		text = mergeSum(*t.Merge) + " into " + t.Table
	}
	if t.Replaced != nil {
		text += " in place of " + thousands(*t.Replaced)
	}
	var versions []int64
	for _, c := range s.Commits {
		if sameTable(c.Table, t.Table) {
			versions = append(versions, c.Version)
		}
	}
	switch {
	case len(versions) == 1:
		text += fmt.Sprintf("   version %d", versions[0])
	case len(versions) > 1:
		text += fmt.Sprintf("   versions %d to %d", slices.Min(versions), slices.Max(versions))
	}
	return text
}

// mergeSum is the sum of rows that were merged.
func mergeSum(m silt.MergeCounts) string {
	parts := []string{thousands(m.Inserted) + " inserted", thousands(m.Updated) + " updated"}
	sum := m.Inserted + m.Updated
	for _, p := range []struct {
		n    int64
		what string
	}{
		{m.Deleted, "deleted"}, {m.Unchanged, "unchanged"}, {m.Duplicates, "duplicate"}, {m.Late, "late"}, {m.Skipped, "skipped"},
	} {
		if sum += p.n; p.n > 0 {
			text := thousands(p.n) + " " + p.what
			if p.what == "duplicate" {
				text = count(p.n, p.what)
			}
			parts = append(parts, text)
		}
	}
	return thousands(m.Rows) + " made = " + strings.Join(parts, " + ") + wrong(sum == m.Rows)
}

// sameTable compares the names of tables, which may be paths of different lengths.
func sameTable(a, b string) bool {
	return a == b || strings.HasSuffix(path.Clean(a), "/"+strings.TrimPrefix(path.Clean(b), "/"))
}

func schemaText(c silt.SchemaChange) string {
	switch {
	case c.From == c.To:
		return ""
	case c.From < 0:
		return fmt.Sprintf("v%d   %s", c.To, count(c.Columns, "column"))
	}
	return fmt.Sprintf("v%d -> v%d   %s", c.From, c.To, changesText(c))
}

// changesText counts what a new version of a source schema has.
func changesText(c silt.SchemaChange) string {
	var parts []string
	if n := len(c.Added); n > 0 {
		parts = append(parts, count(n, "new field"))
	}
	if n := len(c.Widened); n > 0 {
		parts = append(parts, count(n, "wider column"))
	}
	if parts == nil {
		return "no new column"
	}
	return strings.Join(parts, ", ")
}

// mostPending is how many paths without a type are named where they are not what was asked for.
const mostPending = 3

// pendingLines tells which paths have no type yet; all is how to see them all.
func pendingLines(line func(label, format string, args ...any), pending []string, most int, all string) {
	if text := strings.Join(pending, ", "); len(pending) <= most && len(text) <= 60 {
		line("pending", "only null, [] or {} so far, so no column yet: %s", text)
		return
	}
	line("pending", "%s with only null, [] or {} so far, so no column yet", count(len(pending), "path"))
	for _, at := range pending[:min(len(pending), most)] {
		line("", "%s", at)
	}
	if more := len(pending) - most; more > 0 {
		line("", "+%s more%s", thousands(more), all)
	}
}

// fieldText is a line about a field that came, or that became wider.
func fieldText(n silt.NewField) string {
	text := "+ " + n.Path + "  " + cut(ddlText(n.DDL), 60)
	if n.From != "" {
		text = "~ " + n.Path + "  " + ddlText(n.From) + " -> " + ddlText(n.DDL)
	}
	if n.File != "" {
		text += "   first " + where(n.File, n.Line)
	}
	return text
}

func rescuedText(r silt.RescuedCounts) string {
	var values int64
	for _, p := range r.Paths {
		values += p.Values
	}
	text := count(r.Rows, "row") + " with values kept in _rescued_data"
	if values > 0 {
		text += fmt.Sprintf(": %s at %s", count(values, "value"), count(len(r.Paths), "path"))
	}
	return text
}

func misfit(reason string) string {
	switch reason {
	case "unknown":
		return "no column"
	case "mismatch":
		return "do not fit the column"
	case "case":
		return "the column has another case"
	case "untyped":
		return "only [] or {} so far"
	}
	return reason
}

// where is the place of a record: the last parts of its file, and the line.
func where(file string, line int64) string {
	short := file
	if parts := strings.Split(file, "/"); len(parts) > 2 {
		short = strings.Join(parts[len(parts)-2:], "/")
	}
	if line > 0 {
		short += fmt.Sprintf(":%d", line)
	}
	return short
}
