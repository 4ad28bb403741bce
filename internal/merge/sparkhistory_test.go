package merge_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
)

// sparkHistory is a table and merges into it that silt and Spark both make, and what Spark made of them.
// Rows are without their nulls.
type sparkHistory struct {
	Name        string            `json:"name"`
	Schema      string            `json:"schema"` // DDL
	PartitionBy []string          `json:"partitionBy,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	Rows        []row             `json:"rows"`
	Steps       []sparkStep       `json:"steps"`
}

// sparkStep is a merge. SQL is it for Spark: {t} is the table, arrived are the change rows.
type sparkStep struct {
	Schema string     `json:"schema"` // DDL
	Rows   []row      `json:"rows"`
	Spec   merge.Spec `json:"spec"`
	SQL    string     `json:"sql"`
	Spark  outcome    `json:"spark"`
}

// outcome is what came of a merge.
type outcome struct {
	// SeveralMatches: it was refused, because several change rows meet one row of the table.
	SeveralMatches bool   `json:"severalMatches,omitempty"`
	Schema         string `json:"schema,omitempty"` // DDL, after the merge
	Rows           []row  `json:"rows"`             // after the merge
}

// drawSparkHistory draws a history under the rules of pipelines, or of Delta.
func drawSparkHistory(t *testing.T, rt *rapid.T) sparkHistory {
	mapped, strict := rapid.Bool().Draw(rt, "column mapping"), rapid.IntRange(0, 2).Draw(rt, "Delta's rules") == 0
	keys := ddl(t, rapid.SampledFrom([]string{"id BIGINT", "k STRING", "id BIGINT, k STRING"}).Draw(rt, "keys"))
	h := sparkHistory{Properties: map[string]string{}}
	if mapped {
		h.Properties["delta.columnMapping.mode"] = "name"
	}
	if rapid.Bool().Draw(rt, "deletion vectors") {
		h.Properties["delta.enableDeletionVectors"] = "true"
	}
	if rapid.IntRange(0, 3).Draw(rt, "partitioned") == 0 {
		h.PartitionBy = keys.Names()[len(keys.Fields)-1:]
	}
	first, rows := batch(rt, keys, subset(rt, ddl(t, pool), mapped), true)
	h.Schema, h.Rows = first.DDL(), rows
	columns := first.Names()
	for range rapid.IntRange(1, 3).Draw(rt, "steps") {
		s, rows := batch(rt, keys, subset(rt, ddl(t, pool), mapped), strict)
		x := sparkStep{Schema: s.DDL(), Rows: rows, Spec: merge.Spec{Keys: keys.Names(), Duplicates: merge.LastWins}}
		if strict {
			x.Spec.Duplicates = merge.FailOnDuplicates
			if rapid.IntRange(0, 2).Draw(rt, "several of a key") > 0 {
				x.Rows = oneOfEach(rows, keys.Names())
			}
		} else if s.Index("ts") >= 0 && rapid.Bool().Draw(rt, "sequence") {
			x.Spec.SequenceBy = "ts"
		}
		kind := rapid.IntRange(0, 7).Draw(rt, "kind")
		x.Spec.InsertOnly, x.Spec.DeleteMissing = kind == 0, kind == 1
		// Where all of several rows of a key delete, silt deletes, and Delta refuses.
		if s.Index("n") >= 0 && kind&2 != 0 && (!strict || len(oneOfEach(x.Rows, keys.Names())) == len(x.Rows)) {
			x.Spec.DeleteWhen = "source.n >= 4"
		}
		if s.Index("n") >= 0 && kind&4 != 0 {
			if x.Spec.UpdateWhen = "source.n < 3"; first.Index("n") >= 0 {
				x.Spec.UpdateWhen = "source.n > target.n"
			}
		}
		x.SQL = sparkSQL(x.Spec, columns)
		columns = append(columns, s.Names()...)
		h.Steps = append(h.Steps, x)
	}
	return h
}

// oneOfEach is the first row of each key.
func oneOfEach(rows []row, keys []string) []row {
	known := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool {
		key := ""
		for _, k := range keys {
			if r[k] == nil {
				return false
			}
			key += fmt.Sprint(r[k], "|")
		}
		again := known[key]
		known[key] = true
		return again
	})
}

// sparkSQL is the statement with which Spark makes the merge into a table of these columns. What silt
// adds to MERGE is written out: which row of a key counts, and which is late.
func sparkSQL(spec merge.Spec, columns []string) string {
	using := "arrived"
	if spec.Duplicates == merge.LastWins {
		order := "_position DESC"
		if spec.SequenceBy != "" {
			order = spec.SequenceBy + " DESC NULLS LAST, " + order
		}
		using = "(SELECT * EXCEPT (_position, _nth) FROM (SELECT *, row_number() OVER (PARTITION BY " + strings.Join(spec.Keys, ", ") +
			" ORDER BY " + order + ") AS _nth FROM arrived) WHERE _nth = 1)"
	}
	var on []string
	for _, k := range spec.Keys {
		on = append(on, "target."+k+" = source."+k)
	}
	matched := []string{"WHEN MATCHED"}
	if spec.SequenceBy != "" && slices.Contains(columns, spec.SequenceBy) {
		matched = append(matched, fmt.Sprintf("(target.%[1]s IS NULL OR source.%[1]s >= target.%[1]s)", spec.SequenceBy))
	}
	when := func(also, then string) string {
		parts := matched
		if also != "" {
			parts = append(slices.Clone(matched), also)
		}
		return " " + strings.Join(parts, " AND ") + " THEN " + then
	}
	text := "MERGE WITH SCHEMA EVOLUTION INTO {t} AS target USING " + using + " AS source ON " + strings.Join(on, " AND ")
	if spec.DeleteWhen != "" {
		text += when(spec.DeleteWhen, "DELETE")
	}
	if !spec.InsertOnly {
		text += when(spec.UpdateWhen, "UPDATE SET *")
	}
	text += " WHEN NOT MATCHED"
	if spec.DeleteWhen != "" {
		text += " AND NOT coalesce(" + spec.DeleteWhen + ", false)"
	}
	text += " THEN INSERT *"
	if spec.DeleteMissing {
		text += " WHEN NOT MATCHED BY SOURCE THEN DELETE"
	}
	return text
}

// needsSQL reports whether silt needs SQL for the history.
func (h sparkHistory) needsSQL() bool {
	return slices.ContainsFunc(h.Steps, func(s sparkStep) bool { return s.Spec.DeleteWhen+s.Spec.UpdateWhen != "" })
}

// create makes the table as silt does.
func (h sparkHistory) create(t *testing.T, store objstore.Store) *table {
	t.Helper()
	var files []lines
	for part := range slices.Chunk(h.Rows, 3) {
		files = append(files, asLines(part))
	}
	x := createIn(t, store, delta.TableOptions{Schema: ddl(t, h.Schema), PartitionBy: h.PartitionBy, Properties: h.Properties}, files...)
	x.options.SQL = engine
	return x
}

// make is what silt makes of a step.
func (s sparkStep) make(x *table) outcome {
	x.t.Helper()
	tx, _, err := x.begin(s.Spec, changes(x.t, ddl(x.t, s.Schema), asLines(s.Rows)))
	var several *merge.DuplicateError
	switch {
	case errors.As(err, &several):
		o := x.outcome()
		o.SeveralMatches = true
		return o
	case err != nil:
		x.t.Fatal(err)
	}
	if _, err := tx.Commit(x.t.Context(), nil); err != nil {
		x.t.Fatal(err)
	}
	return x.outcome()
}

// outcome is the table as it is.
func (x *table) outcome() outcome {
	x.t.Helper()
	return outcome{Schema: x.load().Schema().DDL(), Rows: x.parsed()}
}
