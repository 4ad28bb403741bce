package merge

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/siltlake/silt/schema"
)

// parameters are those of the operation under Spark's names.
func (m *merger) parameters() map[string]string {
	var on []string
	for _, k := range m.src.met.keys {
		on = append(on, fmt.Sprintf("(target.%s = source.%s)", schema.Path(k...), schema.Path(k...)))
	}
	type clause struct {
		Predicate string `json:"predicate,omitempty"`
		Action    string `json:"actionType"`
	}
	text := func(clauses ...clause) string {
		b, _ := json.Marshal(append([]clause{}, clauses...))
		return string(b)
	}
	var matched, missing []clause
	if m.spec.DeleteWhen != "" {
		matched = append(matched, clause{m.spec.DeleteWhen, "delete"})
	}
	if !m.spec.InsertOnly {
		matched = append(matched, clause{m.spec.UpdateWhen, "update"})
	}
	if m.spec.DeleteMissing {
		missing = append(missing, clause{"", "delete"})
	}
	insert := clause{Action: "insert"}
	if m.spec.DeleteWhen != "" {
		insert.Predicate = "NOT (" + m.spec.DeleteWhen + ")"
	}
	predicate, _ := json.Marshal([]string{strings.Join(on, " AND ")})
	return map[string]string{"predicate": string(predicate), "matchedPredicates": text(matched...),
		"notMatchedPredicates": text(insert), "notMatchedBySourcePredicates": text(missing...)}
}

// metrics are those of the operation under Spark's names, and behind them those it does not have.
func (m *merger) metrics() map[string]string {
	c := &m.counts
	out := map[string]string{}
	took := time.Since(m.began).Milliseconds()
	for name, n := range map[string]int64{
		"numSourceRows": c.Rows, "numTargetRowsInserted": c.Inserted, "numTargetRowsUpdated": c.TargetUpdated,
		"numTargetRowsMatchedUpdated": c.TargetUpdated, "numTargetRowsNotMatchedBySourceUpdated": 0,
		"numTargetRowsMatchedDeleted": c.TargetDeleted - c.TargetMissing, "numTargetRowsNotMatchedBySourceDeleted": c.TargetMissing,
		"numTargetRowsDeleted": c.TargetDeleted, "numTargetRowsCopied": c.TargetCopied,
		"numOutputRows":       c.Inserted + c.TargetUpdated + c.TargetCopied,
		"numTargetFilesAdded": c.FilesAdded, "numTargetFilesRemoved": c.FilesRemoved,
		"numTargetBytesAdded": c.BytesAdded, "numTargetBytesRemoved": c.BytesRemoved,
		"numTargetChangeFilesAdded": int64(len(m.changes)), "numTargetDeletionVectorsAdded": c.VectorsAdded,
		"numTargetDeletionVectorsUpdated": c.VectorsUpdated, "numTargetDeletionVectorsRemoved": 0, "executionTimeMs": took,
	} {
		out[name] = strconv.FormatInt(n, 10)
	}
	counts, _ := json.Marshal(c)
	out["siltMerge"] = string(counts)
	return out
}
