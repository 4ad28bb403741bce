package silt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/crash"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/merge"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Merge says how the rows of a batch meet those of the table by key, instead of being appended.
// Columns are named without case. Keys and SequenceBy may be fields in structs, as [schema.ParsePath] reads
// them: device.id, and `a.b` in back-ticks where that is one name.
type Merge struct {
	// Keys are the columns that say which row of the table a row is about. A row without a value in one
	// of them goes to the quarantine; what lies in a struct that is NULL is NULL.
	Keys []string
	// SequenceBy is the column that orders the changes of a key. A row that is older than the one in the
	// table changes nothing.
	SequenceBy string
	// DeleteWhen is SQL over source and target: rows for which it is true are deleted.
	DeleteWhen string
	// UpdateWhen is SQL over source and target: rows for which it is not true are not updated.
	UpdateWhen string
	// InsertOnly leaves rows that are in the table as they are.
	InsertOnly bool
	// NotMatchedBySource is "delete" to delete the rows of the table that are not in the batch.
	NotMatchedBySource string
	// IgnoreNullUpdates keeps what the table has where a row has NULL.
	IgnoreNullUpdates bool
	// SCD is 2 to keep all versions of a row, a slowly changing dimension of type 2: the table gets the
	// columns valid_from, valid_to and is_current. 0 and 1 keep the last.
	SCD int
	// ExceptColumns are not written to the table, such as the one that says what a change is.
	ExceptColumns []string
}

// A MergeError says that rows cannot be merged: a key is missing or no key, several rows of the source are
// about one row of the table, or a file has what no column of the table can hold.
type MergeError struct{ Err error }

func (e *MergeError) Error() string { return e.Err.Error() }

func (e *MergeError) Unwrap() error { return e.Err }

// mergeError makes errors of a merge that the user can mend ones that callers can see into.
func mergeError(err error) error {
	var duplicate *merge.DuplicateError
	var column *merge.ColumnError
	if errors.As(err, &duplicate) || errors.As(err, &column) {
		return &MergeError{err}
	}
	return err
}

// MergeCounts say what became of the rows that were made: all but Rows, which is their sum.
type MergeCounts struct {
	Rows       int64 `json:"rows"`
	Inserted   int64 `json:"inserted"`
	Updated    int64 `json:"updated"`
	Deleted    int64 `json:"deleted"`
	Unchanged  int64 `json:"unchanged"`  // as the table has it
	Late       int64 `json:"late"`       // older than the row in the table
	Duplicates int64 `json:"duplicates"` // another row of the key counts
	Skipped    int64 `json:"skipped"`    // nothing to delete, or not to be updated
}

func (c *MergeCounts) add(more MergeCounts) {
	c.Rows += more.Rows
	c.Inserted += more.Inserted
	c.Updated += more.Updated
	c.Deleted += more.Deleted
	c.Unchanged += more.Unchanged
	c.Late += more.Late
	c.Duplicates += more.Duplicates
	c.Skipped += more.Skipped
}

// mergeOptions are the options that a [Merge] can be given by, with the place that each has in it.
func (m *Merge) texts() map[string]*string {
	return map[string]*string{"write.sequenceBy": &m.SequenceBy, "write.deleteWhen": &m.DeleteWhen,
		"write.updateWhen": &m.UpdateWhen, "write.notMatchedBySource": &m.NotMatchedBySource}
}

func (m *Merge) switches() map[string]*bool {
	return map[string]*bool{"write.insertOnly": &m.InsertOnly, "write.ignoreNullUpdates": &m.IgnoreNullUpdates}
}

// mergeGiven reads the options that say how rows are merged, and returns the name of one of them.
func (p *parser) mergeGiven(m *Merge) (given string) {
	for name, text := range m.texts() {
		if p.isGiven(name) {
			*text, given = p.value(name), name
		}
	}
	for name, is := range m.switches() {
		if p.isGiven(name) {
			*is, given = p.boolean(name), name
		}
	}
	if p.isGiven("write.keys") {
		m.Keys, given = nil, "write.keys"
		paths, err := schema.ParsePaths(p.value(given))
		if err != nil {
			m.Keys = []string{p.value(given)} // of which the fault is told with the others
		}
		for _, path := range paths {
			m.Keys = append(m.Keys, schema.Path(path...))
		}
	}
	if p.isGiven("write.exceptColumns") {
		given = "write.exceptColumns"
		m.ExceptColumns = names(p.value(given))
	}
	if p.isGiven("write.scd") {
		m.SCD, given = p.integer("write.scd"), "write.scd"
	}
	return given
}

// merging reads how rows are merged into the target t; key is where it is configured.
func (p *parser) merging(t *targetSettings, m Merge, key []string) {
	at := func(names ...string) []string { return slices.Concat(key, []string{"merge"}, names) }
	if len(m.Keys) == 0 {
		p.fault(CodeMissing, at("keys"), "name the columns that say which row of the table a row is about: keys: [id]", "a merge has no keys")
	}
	for _, key := range m.Keys {
		p.path(key, at("keys"), "write.keys")
	}
	if m.SequenceBy != "" {
		p.path(m.SequenceBy, at("sequenceBy"), "write.sequenceBy")
	}
	if m.NotMatchedBySource != "" && !strings.EqualFold(m.NotMatchedBySource, "delete") {
		p.fault(CodeValue, at("notMatchedBySource"), "", "%q is not delete", m.NotMatchedBySource)
	}
	switch {
	case m.SCD < 0 || m.SCD > 2:
		p.fault(CodeValue, at("scd"), "write 1 or 2", "%d is no type of a slowly changing dimension", m.SCD)
	case m.SCD < 2:
	case m.SequenceBy == "":
		p.fault(CodeMissing, at("sequenceBy"), "name the column that orders the changes of a key", "versions of a row need an order")
	case m.UpdateWhen != "" || m.InsertOnly || m.NotMatchedBySource != "":
		p.fault(CodeContradiction, at("scd"), "take updateWhen, insertOnly and notMatchedBySource out", "all versions of a row are kept, so that there is none to update")
	}
	spec := m.spec()
	t.merge, t.mergeKeys = spec, map[string][]string{}
	for _, name := range []string{"keys", "sequenceBy", "deleteWhen", "updateWhen"} {
		if t.mergeKeys[name] = at(name); p.isGiven("write." + name) {
			t.mergeKeys[name] = p.at(p.keys[optionKey("write."+name)])
		}
	}
	if spec.DeleteMissing {
		p.needsAll(at("notMatchedBySource"), "rows of the table that are not in a batch are deleted")
	} else if src := &p.set.source; !p.isGiven("cloudFiles.maxBytesPerTrigger") && !p.set.needsAll {
		src.MaxBytes = mergeBytes
	}
	spec.Passive = p.set.lineage
	if p.set.compat { // as Delta does
		spec.Duplicates = merge.FailOnDuplicates
	}
}

// path checks the path of a column, which is configured at a key, or by an option.
func (p *parser) path(text string, key []string, option string) {
	if _, err := schema.ParsePath(text); err != nil {
		if p.isGiven(option) {
			key = p.at(p.keys[optionKey(option)])
		}
		p.fault(CodeValue, key, "write a.b.c, with `...` around names that have other characters", "%q is no column: %v", text, err)
	}
}

// mergeBytes bounds the files of a batch that is merged, as stored, unless an option does: so its rows fit
// into memory as a rule, and need not go through files.
const mergeBytes = 128 << 20

func (m Merge) spec() *merge.Spec {
	return &merge.Spec{Keys: m.Keys, SequenceBy: m.SequenceBy, DeleteWhen: m.DeleteWhen, UpdateWhen: m.UpdateWhen,
		InsertOnly: m.InsertOnly, DeleteMissing: m.NotMatchedBySource != "", IgnoreNullUpdates: m.IgnoreNullUpdates,
		Except: m.ExceptColumns, History: m.SCD == 2, Duplicates: merge.LastWins}
}

// names reads a list of columns with commas between; a name may stand in back-ticks.
func names(text string) []string {
	var out []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.Trim(strings.TrimSpace(name), "`"); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// staging is where the change rows of a batch wait for their merge: a Delta table of one version, in a
// folder of the checkpoint that staged/N names. What a try left that was not staged is removed with it.
type staging struct {
	folder string
	store  objstore.Store
	schema *schema.Struct // as the data files have it, so far
	tx     *delta.Transaction
}

// changesFolder is the folder of a checkpoint that holds change rows.
const changesFolder = "changes/"

func batchChanges(batch int64) string { return changesFolder + strconv.FormatInt(batch, 10) + "/" }

func newStaging(state objstore.Store, batch int64, id string) *staging {
	s := &staging{folder: batchChanges(batch) + id}
	s.store = below{state, s.folder + "/"}
	return s
}

// context is what writers of change rows of the schema need. Files that were written under an earlier
// one stay valid: their columns keep their names.
func (s *staging) context(rows *schema.Struct) (delta.WriteContext, error) {
	if s.schema != nil {
		merged, err := schema.Merge(s.schema, rows)
		if err != nil {
			return delta.WriteContext{}, err
		}
		rows = retyped(merged, rows).(*schema.Struct)
	}
	var err error
	s.tx, err = delta.NewTable(s.store, delta.TableOptions{Schema: rows, Properties: map[string]string{"delta.columnMapping.mode": "name"}})
	if err != nil {
		return delta.WriteContext{}, err
	}
	wc := s.tx.WriteContext()
	s.schema = wc.Schema
	return wc, nil
}

// retyped is a type with the scalar types of another, which may be wider.
func retyped(t, from schema.Type) schema.Type {
	return schema.Replace(t, from, func(t, from schema.Type) (schema.Type, bool) {
		return from, schema.IsScalar(t) && schema.IsScalar(from)
	})
}

// put makes the table of the change rows.
func (s *staging) put(ctx context.Context, adds []*delta.Add) error {
	s.tx.Add(adds...)
	if _, err := s.tx.Commit(ctx, nil); err != nil {
		return fmt.Errorf("%s: %w", s.folder, err)
	}
	return nil
}

// checkMerge fails when the rows of a change cannot be merged as the pipeline says: once they are staged, that is
// too late. The table is nil where there is none yet.
func (t *target) checkMerge(ctx context.Context, w *convert.Converter, table *delta.Snapshot, c *change) error {
	tx, err := t.begin(table, c)
	if err != nil {
		return err
	}
	if tx.WriteContext().Refused != "" {
		return nil // who writes to it says so
	}
	return t.mergeFault(merge.Check(ctx, *t.merge, c.Source, tx.Schema(), w.Engine))
}

// codeMerge and codeSQL are the codes of what a merge names wrongly, and of SQL that is not right.
const (
	codeMerge = "SILT-7006"
	codeSQL   = "SILT-7001"
)

// mergeFault makes what is wrong with the settings of a merge a mistake in the Config.
func (t *targetSettings) mergeFault(err error) error {
	var condition *merge.ConditionError
	var column *merge.ColumnError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &condition):
		if mistake, ok := errors.AsType[*duck.SQLError](condition.Err); ok {
			return &ConfigError{[]Fault{t.sqlFault(codeSQL, t.mergeKeys[condition.Name], mistake)}}
		}
	case errors.As(err, &column) && column.Setting != "":
		f := Fault{Code: codeMerge, Key: t.mergeKeys[column.Setting], Problem: column.Error(), Err: &MergeError{err}}
		if column.Missing && t.makesColumns() {
			f.Hint = ofTransform
		}
		return &ConfigError{[]Fault{f}}
	}
	return mergeError(fmt.Errorf("merge: %w", err))
}

// mergeContext is the context of the change rows.
func (c *conversion) mergeContext(ctx context.Context, d *delivery) (delta.WriteContext, error) {
	tx, err := d.begin(d.snapshot, d.change)
	if err != nil {
		return delta.WriteContext{}, err
	}
	switch wc := tx.WriteContext(); {
	case wc.Refused != "":
		return wc, nil
	case len(wc.NeedsSQL) > 0 && len(c.workers) > 0:
		if _, err := c.workers[0].Engine(ctx); err != nil {
			return wc, err
		}
	}
	// A NULL may mean that the table keeps its value, which nobody can tell from the row.
	if d.merging = nil; !d.merge.IgnoreNullUpdates {
		d.merging = &convert.Merge{Write: tx.WriteContext(), DeleteWhen: d.merge.DeleteWhen}
	}
	return d.staging.context(d.change.Source)
}

// merged makes a change one that is merged: its files hold the change rows.
func (c *change) merged(ctx context.Context, s *staging, spec *merge.Spec) error {
	if err := s.put(ctx, c.Adds); err != nil {
		return err
	}
	crash.Point("after-changes")
	c.Adds, c.Merge, c.Changes = nil, spec, s.folder
	return nil
}

// mergeResult is a merge that is about to be committed.
type mergeResult struct{ *merge.Result }

// settle takes the merge's files back when the commit did not use them, and returns its counts else.
func (m *mergeResult) settle(ctx context.Context, tx *delta.Transaction, err error) (json.RawMessage, error) {
	if err != nil && !errors.Is(err, delta.ErrOutcomeUnknown) || err == nil && !tx.InTable() {
		m.Discard(ctx)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(m.Counts)
}

// merger computes the merge of a change into a version of a table, for the transaction on it.
type merger func(ctx context.Context, tx *delta.Transaction, s *delta.Snapshot, store objstore.Store, c *change) (*mergeResult, error)

// merger merges into one target, by the conditions that it has now; nil is a table that is no target any
// more.
func (p *Pipeline) merger(to *target) merger {
	return func(ctx context.Context, tx *delta.Transaction, s *delta.Snapshot, store objstore.Store, c *change) (*mergeResult, error) {
		spec := *c.Merge
		if to != nil && to.merge != nil {
			// A condition that fails on a row that is staged can be mended.
			spec.DeleteWhen, spec.UpdateWhen = to.merge.DeleteWhen, to.merge.UpdateWhen
		}
		return p.merge(ctx, tx, s, store, c.Changes, spec)
	}
}

func (p *Pipeline) merge(ctx context.Context, tx *delta.Transaction, s *delta.Snapshot, store objstore.Store, changes string, spec merge.Spec) (*mergeResult, error) {
	rows, err := delta.Load(ctx, below{p.state, changes + "/"}, delta.LoadOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", changes, err)
	}
	sql, done := p.sql()
	defer done()
	o := merge.Options{Workers: p.workers(), SQL: sql, TempDir: p.cfg.TempDir}
	if tx.WriteContext().NeedsSQL != nil {
		o.Writer.Evaluator = convert.Evaluator{Engine: sql}
	}
	r, err := merge.Into(ctx, tx, s, store, spec, merge.Changes{Schema: rows.Schema(), Rows: func(ctx context.Context, fields [][]string) iter.Seq2[arrow.RecordBatch, error] {
		return rows.Scan(delta.ScanOptions{Fields: fields}).Batches(ctx)
	}}, o)
	if err != nil {
		return nil, mergeError(err)
	}
	crash.Point("after-merge")
	return &mergeResult{r}, nil
}

// mergeTries bounds how often a merge is computed anew because others have changed the table meanwhile.
const mergeTries = 20

// earlierCounts finds the counts of a merge that is in the table from an earlier try, nil when its
// version is not in the history any more.
func (t *table) earlierCounts(ctx context.Context, txnID string) (json.RawMessage, int64) {
	entries, err := delta.History(ctx, t.store, 100)
	if err != nil {
		return nil, -1 // they are told to people only
	}
	for _, e := range entries {
		if e.TxnID == txnID {
			if text := e.Metrics()["siltMerge"]; text != nil {
				return json.RawMessage(*text), e.Version
			}
		}
	}
	return nil, -1
}

// mergedCounts are those of a commit; nil when it is no merge.
func mergedCounts(c checkpoint.Committed) (*MergeCounts, int64) {
	var counts merge.Counts
	if len(c.Counts) == 0 || json.Unmarshal(c.Counts, &counts) != nil {
		return nil, 0
	}
	of := countsOf(counts)
	return &of, counts.Conflicting
}

func countsOf(c merge.Counts) MergeCounts {
	return MergeCounts{Rows: c.Rows, Inserted: c.Inserted, Updated: c.Updated, Deleted: c.Deleted,
		Unchanged: c.Unchanged, Late: c.Late, Duplicates: c.Duplicates, Skipped: c.Skipped}
}

// addTable adds what a batch brought to a table; nil is one that is no target any more.
func (s *Summary) addTable(v TableVersion, c checkpoint.Committed, to *target) {
	k := slices.IndexFunc(s.Targets, func(t TargetSummary) bool { return t.Table == v.Table })
	if k < 0 {
		k = len(s.Targets)
		s.Targets = append(s.Targets, TargetSummary{Table: v.Table})
	}
	t := &s.Targets[k]
	t.Rows, t.Version = t.Rows+v.Rows, &v.Version
	if n := replacedRows(c); n != nil {
		if t.Replaced == nil {
			t.Replaced = new(int64)
		}
		*t.Replaced += *n
		return
	}
	counts, conflicting := mergedCounts(c)
	if counts == nil {
		return
	}
	if t.Merge == nil {
		t.Merge = &MergeCounts{}
	}
	t.Merge.add(*counts)
	if len(s.Targets) == 1 {
		s.Merge = t.Merge
	}
	if conflicting == 0 {
		return
	}
	sequenceBy, of := "", ""
	if to != nil && to.merge != nil {
		sequenceBy = to.merge.SequenceBy
	}
	if len(s.Targets) > 1 {
		of = v.Table + ": "
	}
	w := Warning{Code: "SILT-7005", Text: of + "rows of one key differ, and which is the last was decided by the order of the files and of the records in them",
		Hint: "name the column that orders the changes of a key: target.merge.sequenceBy"}
	if sequenceBy != "" {
		w.Hint = "they have the same " + sequenceBy + ": a finer column orders them"
	}
	if !slices.Contains(s.Warnings, w) {
		s.Warnings = append(s.Warnings, w)
	}
}

// forget removes the change rows of a closed batch, and of tries of it that came to nothing.
func (p *Pipeline) forget(ctx context.Context, batch int64) error {
	var keys []string
	for o, err := range p.state.List(ctx, batchChanges(batch), "") {
		if err != nil {
			return err
		}
		keys = append(keys, o.Key)
	}
	for _, k := range keys {
		if err := p.state.Delete(ctx, k, objstore.Cond{}); err != nil && !errors.Is(err, objstore.ErrNotExist) {
			return err
		}
	}
	return nil
}

// below is the part of a store whose keys start with a prefix.
type below struct {
	all    objstore.Store
	prefix string
}

func (b below) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	body, o, err := b.all.Open(ctx, b.prefix+key, r)
	return body, b.named(o), err
}

func (b below) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (objstore.Object, error) {
	o, err := b.all.Put(ctx, b.prefix+key, body, cond)
	return b.named(o), err
}

func (b below) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objstore.Object, error] {
	if startAfter != "" {
		startAfter = b.prefix + startAfter
	}
	return func(yield func(objstore.Object, error) bool) {
		for o, err := range b.all.List(ctx, b.prefix+prefix, startAfter) {
			if !yield(b.named(o), err) {
				return
			}
		}
	}
}

func (b below) Delete(ctx context.Context, key string, cond objstore.Cond) error {
	return b.all.Delete(ctx, b.prefix+key, cond)
}

// Create implements [objstore.Creator].
func (b below) Create(ctx context.Context, key string) (objstore.Writer, error) {
	return objstore.Create(ctx, b.all, b.prefix+key)
}

func (b below) named(o objstore.Object) objstore.Object {
	o.Key = strings.TrimPrefix(o.Key, b.prefix)
	return o
}
