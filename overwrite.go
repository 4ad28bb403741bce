package silt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// replacement says what of a table goes when the rows of a batch come.
type replacement struct {
	// Where is a condition, as [delta.ParsePredicate] reads it; empty: all rows go.
	Where string `json:"where,omitempty"`
	// Schema means that the schema and the partitioning go too.
	Schema bool `json:"schema,omitempty"`
}

// overwriting reads what a target replaces. Source: Delta Lake, "Overwrite" and "Arbitrary selective overwrite
// with replaceWhere"; the two options do not go together there either.
func (p *parser) overwriting(s *targetSettings, key []string, overwrites bool) {
	at := func(name string) []string { return append(slices.Clip(key), name) }
	r := replacement{Where: strings.TrimSpace(s.given.ReplaceWhere), Schema: s.given.OverwriteSchema}
	whereAt, schemaAt := at("replaceWhere"), at("overwriteSchema")
	for _, name := range []string{"replaceWhere", "overwriteSchema"} {
		if p.isGiven(name) && len(p.config.Targets) > 0 {
			p.fault(CodeContradiction, p.at(p.keys[optionKey(name)]), "put it under its target", "there are several targets")
			return
		}
	}
	if p.isGiven("replaceWhere") {
		r.Where, whereAt = strings.TrimSpace(p.value("replaceWhere")), p.at(p.keys["replacewhere"])
	}
	if p.isGiven("overwriteSchema") {
		r.Schema, schemaAt = p.boolean("overwriteSchema"), p.at(p.keys["overwriteschema"])
	}
	switch {
	case !overwrites && r.Where != "":
		p.fault(CodeContradiction, whereAt, "write: overwrite", "is for an overwrite, and rows are not overwritten")
	case !overwrites && r.Schema:
		p.fault(CodeContradiction, schemaAt, "write: overwrite", "is for an overwrite, and rows are not overwritten")
	case !overwrites:
		return
	case r.Where != "" && r.Schema:
		p.fault(CodeContradiction, schemaAt, "keep one of them", "replaceWhere keeps the other rows, which have the table's schema")
	}
	if _, err := r.predicate(); err != nil {
		p.fault(CodeValue, whereAt, "write a condition such as day = '2026-01-05' AND region IN ('eu', 'us')", "%v", err)
	}
	s.replaces = &r
	p.needsAll(at("write"), "the rows of a batch come in the place of others")
}

// predicate is the condition; nil is all rows.
func (r *replacement) predicate() (delta.Predicate, error) {
	if r.Where == "" {
		return nil, nil
	}
	return delta.ParsePredicate(r.Where)
}

// replacesSchema reports whether the schema of the table does not matter.
func (t *targetSettings) replacesSchema() bool { return t.replaces != nil && t.replaces.Schema }

// setSchema gives a transaction on s the schema of a change.
func (c *change) setSchema(tx *delta.Transaction, s *delta.Snapshot) error {
	if c.Replaces == nil || !c.Replaces.Schema {
		return tx.SetSchema(c.Schema)
	}
	m := s.Metadata()
	mapped := m.Configuration["delta.columnMapping.mode"]
	if mapped == "" && schema.Equal(s.Schema(), c.Schema) && slices.Equal(m.PartitionColumns, c.PartitionBy) {
		return nil
	}
	return tx.ReplaceSchema(c.Schema, c.PartitionBy...)
}

// replace takes out of the table what the rows of a change come in the place of, and says how many rows that is.
// Source: the history of a batch that Spark overwrites with.
func (c *change) replace(ctx context.Context, tx *delta.Transaction, query string, batch int64) (json.RawMessage, error) {
	where, err := c.Replaces.predicate()
	if err != nil {
		return nil, err
	}
	tx.SetCommitInfo(delta.CommitDetails{Parameters: map[string]string{"queryId": query, "epochId": strconv.FormatInt(batch, 10)}})
	m, err := tx.Replace(ctx, where, delta.ChangeOptions{Predicate: c.Replaces.Where})
	if err != nil {
		return nil, err
	}
	return json.Marshal(replacedCounts{&m.NumDeletedRows})
}

// replacedCounts is what a commit that replaces rows tells.
type replacedCounts struct {
	Replaced *int64 `json:"replacedRows"`
}

// replacedRows is the number of rows that a commit took out of its table; nil when it replaced none.
func replacedRows(c checkpoint.Committed) *int64 {
	var counts replacedCounts
	if len(c.Counts) == 0 || json.Unmarshal(c.Counts, &counts) != nil {
		return nil
	}
	return counts.Replaced
}

// postpone leaves all files of a batch to the next one when one of them could not be read and may be later:
// where a batch must be all there is, that file by itself would come in the place of the others.
func (c *conversion) postpone(ctx context.Context) {
	if !c.set.needsAll {
		return
	}
	missing, why, loaded := "", error(nil), false
	outcomes := c.outcomes()
	for _, o := range c.files {
		f := outcomes[o.Key]
		last, _, _ := c.seen.Tried(o)
		switch {
		case f.State == convert.Loaded:
			loaded = true
			continue
		case f.State == convert.Failed && last.Tries+1 >= maxTries:
			continue
		case f.State != convert.Vanished && f.State != convert.Overwritten:
			c.postponed = postponedUnreadable
		case c.postponed == "":
			c.postponed = postponedChanged
		}
		if missing == "" {
			missing, why = c.source.URI(o.Key), f.Err
		}
	}
	if c.postponed == postponedChanged && !loaded {
		c.postponed = "" // there is nothing for what comes later to come in the place of
	}
	if c.postponed == "" {
		return
	}
	c.discard(ctx)
	for i, r := range c.results {
		left := &convert.Result{Task: r.Task, Files: slices.Clone(r.Files)}
		for k := range left.Files {
			if left.Files[k].State == convert.Loaded {
				left.Files[k] = convert.FileOutcome{State: convert.Waiting, Err: errors.New("it waits for " + missing)}
			}
		}
		c.results[i] = left
	}
	w := Warning{Code: "SILT-4015", Text: fmt.Sprintf("nothing was replaced, because the rows of a batch come in the place of others and %s is not readable: %v", missing, why),
		Hint: "the next run takes all of its files again; mend the file, or take it out of the source"}
	if c.postponed == postponedChanged {
		w.Text = fmt.Sprintf("nothing was replaced, because the rows of a batch come in the place of others and %s is gone or another file by now: %v", missing, why)
		w.Hint = "the next batch takes all files that are there"
	}
	c.warnings = append(c.warnings, w)
}

// Why a batch left all of its files to the next one.
const (
	postponedUnreadable = "unreadable" // one of them may be readable later
	postponedChanged    = "changed"    // one of them is gone, or another file by now
)

// hold keeps a run whose batches must be all there is from making one of the files that happen to be left
// while others wait to be tried again.
type hold struct {
	times int       // batches in a row that were postponed
	is    bool      // no batch is made
	until time.Time // zero: as long as the run lasts
}

// after is the hold after a batch that was closed at now.
func (h hold) after(postponed string, watching bool, now time.Time) hold {
	if postponed == "" {
		return hold{}
	}
	h = hold{times: h.times + 1}
	h.is = postponed != postponedChanged || h.times >= retryChanging
	if h.is && watching {
		h.until = now.Add(retryWait(h.times))
	}
	return h
}

// holds reports whether no batch is made at now.
func (h hold) holds(now time.Time) bool { return h.is && (h.until.IsZero() || now.Before(h.until)) }

// nothingToReplace reports whether a batch leaves a table as it is: it has no row for it, and no file was
// loaded, or there is no table.
func (c *conversion) nothingToReplace(d *delivery) bool {
	loaded := slices.ContainsFunc(c.files, func(o objstore.Object) bool { return c.outcomes()[o.Key].State == convert.Loaded })
	return len(d.change.Adds) == 0 && (!loaded || d.snapshot == nil)
}
