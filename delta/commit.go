package delta

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/siltlake/silt/objstore"
)

// How a commit stays exactly one.
//
// An entry is put under the number after the version that the transaction builds on, if nobody has that
// number. Three things can come back. Committed: done. Taken: this call wrote nothing, but an earlier
// one of ours, whose answer was lost, may have. Unknown: the entry may be there, or may still come.
// In both latter cases the log is read:
//
//	our nonce, our txn or our files in an entry   the change is in the table: done, never again
//	entries of others                             our number is gone for ever, so nothing of ours can
//	                                              still land there; check for conflicts, build on the
//	                                              newest version, try the next number
//	nothing                                       the entry may still come: put the same bytes again
//	                                              under the same number, never others
//
// An error means that the table does not have the change, except ErrOutcomeUnknown.

// ErrOutcomeUnknown means that the table may have the change, now or later. Committing it again with
// the same nonce or txn finds out.
var ErrOutcomeUnknown = errors.New("it is unknown whether the commit took place")

// Outcome is what became of an attempt to commit. The zero value is the cautious one.
type Outcome int

const (
	Unknown   Outcome = iota // the entry may be in the log, or may still get there
	Committed                // this attempt put the entry into the log
	Taken                    // this attempt put nothing: the version exists
)

// Entry is what a transaction puts into the log.
type Entry struct {
	Version int64
	Content []byte // the lines of the entry
}

// Committer puts entries into a log. Commit is called for one entry at a time; an error explains
// Unknown, and is nil otherwise.
type Committer interface {
	Commit(ctx context.Context, e Entry) (Outcome, error)
}

// LogCommitter commits by a conditional put into the log, the way of tables that no catalog manages.
type LogCommitter struct{ Store objstore.Store }

// Commit implements [Committer].
func (c LogCommitter) Commit(ctx context.Context, e Entry) (Outcome, error) {
	_, err := objstore.PutBytes(ctx, c.Store, commitKey(e.Version), e.Content, objstore.Cond{IfAbsent: true})
	switch {
	case err == nil:
		return Committed, nil
	case errors.Is(err, objstore.ErrPrecondition):
		return Taken, nil
	}
	return Unknown, err
}

// ConflictKind names a conflict as Delta does.
type ConflictKind string

// The kinds. Source: Delta Lake, "Concurrency control".
const (
	MetadataChanged        ConflictKind = "MetadataChanged"
	ProtocolChanged        ConflictKind = "ProtocolChanged"
	ConcurrentAppend       ConflictKind = "ConcurrentAppend"
	ConcurrentDeleteRead   ConflictKind = "ConcurrentDeleteRead"
	ConcurrentDeleteDelete ConflictKind = "ConcurrentDeleteDelete"
	ConcurrentTransaction  ConflictKind = "ConcurrentTransaction"
	ConcurrentWrite        ConflictKind = "ConcurrentWrite"
)

// A ConflictError means that a version committed meanwhile contradicts the transaction.
type ConflictError struct {
	Kind    ConflictKind
	Version int64 // of the table, that contradicts
	Reason  string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict with version %d (%s): %s", e.Version, e.Kind, e.Reason)
}

// The most attempts at one number after unknown outcomes, and at all numbers together. The time in
// which an attempt is looked up in the log, even if the caller has given up by then.
const (
	maxUnknown = 5
	maxTries   = 100
	lookTime   = 30 * time.Second
)

// Commit makes the transaction the next version of the table and returns it. A nil Committer is the
// [LogCommitter] of the table's store.
func (t *Transaction) Commit(ctx context.Context, c Committer) (*Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c == nil {
		c = LogCommitter{t.store}
	}
	if t.nonce == "" {
		t.nonce = uuid.NewString()
	}
	base, err := t.found(ctx)
	if err != nil {
		return nil, err
	}
	unknown := 0
	if base != nil && t.applied(base) {
		t.already = true
		return base, nil
	}
	if err := t.vectors.flush(ctx, t.store); err != nil {
		return nil, err
	}
	if err := t.completeChanges(ctx); err != nil {
		return nil, fmt.Errorf("overwrite: %w", err)
	}
	var next *draft
	for try := 1; ; try++ {
		if next == nil {
			var err error
			if next, err = t.draft(ctx, base); err != nil {
				return nil, err
			}
		}
		outcome, err := c.Commit(ctx, next.entry)
		if outcome == Committed {
			t.inTable = true
			next.snapshot.settle(ctx)
			return next.snapshot, nil
		}
		var paused error
		if outcome == Taken {
			// Before the look and not after it: the next try must not be behind a busy table.
			paused = pause(ctx, try)
		}
		met, lookErr := t.look(ctx, next.entry.Version)
		switch {
		case lookErr != nil:
			return nil, fmt.Errorf("%w: read version %d: %w", ErrOutcomeUnknown, next.entry.Version, errors.Join(lookErr, err))
		case len(met) == 0 && errors.Is(err, objstore.ErrPermission) && unknown == 0:
			return nil, fmt.Errorf("commit version %d: %w", next.entry.Version, err)
		case len(met) == 0:
			if unknown++; unknown == maxUnknown || ctx.Err() != nil {
				return nil, fmt.Errorf("%w: version %d: %w", ErrOutcomeUnknown, next.entry.Version, errors.Join(err, ctx.Err()))
			}
		default:
			s, found, err := t.meet(ctx, base, met, unknown > 0 || outcome == Unknown)
			if err != nil || found {
				s.settle(ctx)
				return s, err
			}
			if try >= maxTries {
				return nil, fmt.Errorf("commit: %d attempts lost against other writers", try)
			}
			if err := cmp.Or(paused, ctx.Err()); err != nil {
				return nil, err
			}
			base, next, unknown = s, nil, 0
			continue
		}
		_ = pause(ctx, try) // with a draft in flight, look once more in any case
	}
}

// found returns the snapshot to build on. For a new table that is none, unless there is a table already
// whose first commits are gone: then nothing else would keep version 0 from being put into it.
func (t *Transaction) found(ctx context.Context) (*Snapshot, error) {
	if t.read != nil {
		return t.read, nil
	}
	s, err := Load(ctx, t.store, LoadOptions{})
	if errors.Is(err, ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	body, _, err := t.store.Open(ctx, commitKey(0), objstore.Range{Len: 1})
	if errors.Is(err, objstore.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		body.Close() // putting version 0 will find it, and what followed
	}
	return nil, err
}

// pause waits longer from try to try, by a random part so that two writers do not meet again.
func pause(ctx context.Context, try int) error {
	if try <= 2 {
		return ctx.Err()
	}
	d := min(10*time.Millisecond<<min(try, 10), time.Second)
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look reads the log from a version on.
func (t *Transaction) look(ctx context.Context, version int64) ([][]action, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	return readEntries(ctx, t.store, version)
}

// applied reports whether the snapshot has one of the transaction's txns.
func (t *Transaction) applied(s *Snapshot) bool {
	return slices.ContainsFunc(t.txns, func(x Txn) bool {
		v, ok := s.TxnVersion(x.AppID)
		return ok && v >= x.Version
	})
}

// meet compares the transaction with entries that were committed since base. It returns the snapshot
// they make, and whether the change is found in it. Wrote says that this call may have written it.
func (t *Transaction) meet(ctx context.Context, base *Snapshot, entries [][]action, wrote bool) (s *Snapshot, found bool, err error) {
	if base == nil {
		base = noTable(t.store)
	}
	for i, e := range entries {
		if t.isOwn(e) {
			t.already = !wrote
			t.inTable = t.names(e)
			found = true
		} else if !found {
			err = errors.Join(err, t.conflict(ctx, base.version+1+int64(i), e))
		}
	}
	s, afterErr := base.after(entries...)
	switch {
	case found && afterErr != nil: // it is in the table all the same
		return base, true, nil //nolint:nilerr // what cannot be read does not undo the commit
	case found:
		return s, true, nil
	case err != nil:
		return nil, false, err
	case afterErr != nil:
		return nil, false, afterErr
	case base.metadata != nil && base.metadata.ID != s.metadata.ID:
		return nil, false, &ConflictError{MetadataChanged, s.version, "the table was replaced by another"}
	}
	if t.applied(s) {
		t.already = true
		return s, true, nil
	}
	return s, false, nil
}

// isOwn reports whether the entry is this change: by the nonce, or because it adds the same files.
func (t *Transaction) isOwn(entry []action) bool {
	if slices.ContainsFunc(entry, func(a action) bool { return a.CommitInfo != nil && a.CommitInfo.TxnID == t.nonce }) {
		return true
	}
	return len(t.adds) > 0 && len(t.removes) == 0 && t.names(entry)
}

// names reports whether the entry adds all files that the transaction does.
func (t *Transaction) names(entry []action) bool {
	paths := map[string]bool{}
	for _, a := range entry {
		if a.Add != nil {
			paths[canonicalPath(a.Add.Path)] = true
		}
	}
	return !slices.ContainsFunc(t.adds, func(a *Add) bool { return !paths[canonicalPath(a.Path)] })
}

// conflict checks an entry of another writer. Source: Delta, "Concurrency control". An append that
// reads no file conflicts with nothing here; whether its files still fit is checked when it is planned
// again.
func (t *Transaction) conflict(ctx context.Context, version int64, entry []action) error {
	if t.special != nil && t.special.alone {
		return &ConflictError{ConcurrentWrite, version, "the operation builds on version " + strconv.FormatInt(t.read.version, 10) + " alone"}
	}
	if len(t.removes) == 0 && !t.dependent() {
		return nil
	}
	blind := slices.ContainsFunc(entry, func(a action) bool { return a.CommitInfo != nil && deref(a.CommitInfo.IsBlindAppend) })
	own, removed := map[string]bool{}, map[string]*Remove{}
	for _, r := range t.removes {
		own[canonicalPath(r.Path)] = true
	}
	for _, a := range entry {
		if a.Remove != nil {
			removed[canonicalPath(a.Remove.Path)] = a.Remove
		}
	}
	for _, a := range entry {
		switch {
		case a.MetaData != nil:
			return &ConflictError{MetadataChanged, version, "the table's metadata changed"}
		case a.Protocol != nil:
			return &ConflictError{ProtocolChanged, version, "the table's protocol changed"}
		case a.Remove != nil && own[canonicalPath(a.Remove.Path)]:
			return &ConflictError{ConcurrentDeleteDelete, version, "both remove " + a.Remove.Path}
		case a.Add != nil && a.Add.DataChange && bringsRows(a.Add, removed[canonicalPath(a.Add.Path)]) && t.mayMiss(a.Add, blind):
			return &ConflictError{ConcurrentAppend, version, "rows came in " + a.Add.Path}
		}
	}
	return t.conflictOfReads(ctx, version, removed)
}

// bringsRows reports whether the file, which was removed with the same commit or not (nil), has rows that
// it did not have before: when only its deletion vector has grown, it has fewer.
func bringsRows(a *Add, before *Remove) bool {
	return before == nil || a.DeletionVector == nil || before.DeletionVector != nil && before.DeletionVector.Cardinality > a.DeletionVector.Cardinality
}

// mayMiss reports whether the file, which somebody has added, may hold rows that the transaction should
// have read. Blind says that whoever added it has read nothing.
func (t *Transaction) mayMiss(a *Add, blind bool) bool {
	if t.reads != nil && t.reads(a) {
		return true
	}
	after := blind && !t.plan.metadataChanged && t.isolation() != serializable
	return len(t.readRows) > 0 && !after && t.read.mayHold(t.readRows, a)
}

// conflictOfReads finds removed files that the transaction has read.
func (t *Transaction) conflictOfReads(ctx context.Context, version int64, removed map[string]*Remove) error {
	if len(t.readRows) == 0 || len(removed) == 0 {
		return nil
	}
	for a, err := range t.read.Files(ctx) {
		switch {
		case err != nil:
			return err
		case removed[canonicalPath(a.Path)] != nil && t.read.mayHold(t.readRows, a):
			return &ConflictError{ConcurrentDeleteRead, version, "a file that was read is gone: " + a.Path}
		}
	}
	return nil
}

// The property that says how far transactions are kept apart, and its other value. Source: Delta Lake,
// "Isolation levels".
const (
	propIsolation     = "delta.isolationLevel"
	writeSerializable = "WriteSerializable"
)

// isolation is the level at which the transaction is kept apart from others.
func (t *Transaction) isolation() string {
	switch {
	case t.special != nil:
		return t.special.isolation
	case !t.dependent() || strings.EqualFold(t.plan.metadata.Configuration[propIsolation], serializable):
		return serializable
	}
	return writeSerializable
}

// draft is an entry that may be committed, and the version it makes.
type draft struct {
	entry    Entry
	snapshot *Snapshot
}

// draft builds the entry on top of base. All that can be wrong with the change is found here, before
// anything is written.
func (t *Transaction) draft(ctx context.Context, base *Snapshot) (*draft, error) {
	p := t.plan
	if base != t.read {
		var err error
		if p, err = t.replan(base); err != nil {
			return nil, err
		}
	} else if base != nil {
		if err := t.checkWrite(base); err != nil {
			return nil, err
		}
	}
	if err := t.check(p, base); err != nil {
		return nil, err
	}
	if err := t.checkReplaced(ctx, base); err != nil {
		return nil, err
	}
	if !t.moves() && len(t.adds) > 0 {
		var err error
		if p, err = p.markIdentities(t.adds, len(t.removes) > 0, versionOrZero(base)); err != nil {
			return nil, err
		}
	}
	if base == nil {
		base = noTable(t.store)
	}
	info := t.commitInfo(base, p)
	if p.metadata.isTrue(propICT) {
		last, err := base.inCommitTime(ctx)
		if err != nil {
			return nil, err
		}
		info.Timestamp = cmp.Or(p.metadata.switchedOn(base.version+1), max(info.Timestamp, last+1))
		info.InCommitTimestamp = &info.Timestamp
	}
	actions := []action{{CommitInfo: info}}
	if p.protoChange {
		actions = append(actions, action{Protocol: p.protocol})
	}
	if p.metadataChanged {
		actions = append(actions, action{MetaData: p.metadata})
	}
	for i := range t.txns {
		actions = append(actions, action{Txn: &t.txns[i]})
	}
	if t.special != nil {
		for i := range t.special.domains {
			actions = append(actions, action{DomainMetadata: &t.special.domains[i]})
		}
	}
	adds := t.adds
	if p.protocol.supports("rowTracking") {
		var domain *DomainMetadata
		var err error
		if adds, domain, err = trackRows(base, adds); err != nil {
			return nil, err
		}
		if domain != nil {
			actions = append(actions, action{DomainMetadata: domain})
		}
	}
	for _, r := range t.removes {
		actions = append(actions, action{Remove: r})
	}
	for _, a := range adds {
		actions = append(actions, action{Add: a})
	}
	for _, f := range t.changes {
		f.PartitionValues = notNil(f.PartitionValues)
		actions = append(actions, action{CDC: f})
	}
	content, err := marshalActions(actions)
	if err != nil {
		return nil, err
	}
	next, err := base.after(actions)
	if err != nil {
		return nil, err
	}
	return &draft{Entry{next.version, content}, next}, nil
}

// replan plans the transaction anew on a later version, and checks that its files fit there.
func (t *Transaction) replan(base *Snapshot) (plan, error) {
	if t.exclusive {
		return plan{}, &ConflictError{MetadataChanged, base.version, "another table was made here"}
	}
	incoming := t.incoming
	if t.files != nil && t.incoming != nil { // keep the names that the files were written with
		t.incoming = t.files.Schema
	}
	p, err := t.makePlan(base)
	t.incoming = incoming
	if err != nil {
		return p, err
	}
	if t.created != nil && !slices.Equal(t.created.PartitionColumns, base.metadata.PartitionColumns) {
		return p, &ConflictError{MetadataChanged, base.version, "another table was made here, with other partition columns"}
	}
	if t.files != nil {
		if err := p.fits(t.files.Schema, base.columnMapping()); err != nil {
			return p, &ConflictError{MetadataChanged, base.version, err.Error()}
		}
	}
	return p, nil
}

// check refuses what the table does not allow.
func (t *Transaction) check(p plan, base *Snapshot) error {
	if t.files == nil && t.incoming != nil && len(t.adds) > 0 { // the files were written elsewhere
		if err := p.fits(t.incoming, columnMapping(p.protocol, p.metadata)); err != nil {
			return &ConflictError{MetadataChanged, versionOrZero(base), err.Error()}
		}
	}
	if err := t.checkRules(p, versionOrZero(base)); err != nil {
		return err
	}
	if p.metadata.isTrue(propAppendOnly) {
		for _, r := range t.removes {
			if r.DataChange {
				return fmt.Errorf("the table is append-only (%s), and the change removes %s", propAppendOnly, r.Path)
			}
		}
	}
	seen := map[fileKey]bool{}
	for _, a := range t.adds {
		k := fileKey{canonicalPath(a.Path), a.DeletionVector.id()}
		if seen[k] {
			return fmt.Errorf("data file %s is added twice", a.Path)
		}
		seen[k] = true
	}
	return nil
}

func versionOrZero(s *Snapshot) int64 {
	if s == nil {
		return 0
	}
	return s.version
}

func (t *Transaction) commitInfo(base *Snapshot, p plan) *CommitInfo {
	blind := len(t.removes) == 0 && !t.dependent()
	ci := &CommitInfo{
		Timestamp: millis(time.Now()), Operation: t.name(base), OperationParameters: t.parameters(p),
		IsolationLevel: t.isolation(), IsBlindAppend: &blind, OperationMetrics: t.metrics(),
		UserMetadata: t.details.UserMetadata, EngineInfo: "silt/" + version(), TxnID: t.nonce,
	}
	if base.version >= 0 {
		ci.ReadVersion = &base.version
	}
	if id, _ := rowColumns(p.protocol, p.metadata); id != "" {
		ci.Tags = map[string]json.RawMessage{tagRowTracking: quoteJSON(strconv.FormatBool(t.keepsIDs || len(t.removes) == 0))}
	}
	if x := t.special; x != nil {
		ci.OperationParameters, ci.OperationMetrics, ci.IsolationLevel = x.parameters, rawTexts(x.metrics), x.isolation
	}
	return ci
}

// name is what the history calls the operation.
func (t *Transaction) name(base *Snapshot) string {
	switch {
	case t.created == nil:
		return t.operation
	case base.version >= 0:
		return "WRITE"
	case len(t.adds) > 0:
		return "CREATE TABLE AS SELECT"
	}
	return "CREATE TABLE"
}

// parameters are those of the operation under Spark's names.
func (t *Transaction) parameters(p plan) map[string]json.RawMessage {
	columns, _ := json.Marshal(append([]string{}, p.metadata.PartitionColumns...))
	texts := map[string]string{"partitionBy": string(columns)}
	if t.dependent() && t.replaces == nil {
		texts = map[string]string{}
	}
	if t.operation == "WRITE" && t.replaces == nil {
		texts["mode"] = "Append"
	}
	maps.Copy(texts, t.details.Parameters)
	return rawTexts(texts)
}

// metrics are those of the operation under Spark's names.
func (t *Transaction) metrics() map[string]json.RawMessage {
	if t.dependent() && t.replaces == nil {
		return rawTexts(t.details.Metrics)
	}
	var size, rows int64
	counted := true
	for _, a := range t.adds {
		n, ok := a.records()
		size, rows, counted = size+a.Size, rows+n, counted && ok
	}
	texts := map[string]string{"numFiles": strconv.Itoa(len(t.adds)), "numOutputBytes": strconv.FormatInt(size, 10)}
	if counted {
		texts["numOutputRows"] = strconv.FormatInt(rows, 10)
	}
	if len(t.removes) > 0 {
		texts["numRemovedFiles"] = strconv.Itoa(len(t.removes))
	}
	maps.Copy(texts, t.details.Metrics)
	return rawTexts(texts)
}

func rawTexts(texts map[string]string) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(texts))
	for k, v := range texts {
		out[k] = quoteJSON(v)
	}
	return out
}

// records returns the number of rows in the file, if its statistics say.
func (a *Add) records() (int64, bool) {
	var s struct {
		NumRecords *int64 `json:"numRecords"`
	}
	if a.Stats == "" || json.Unmarshal([]byte(a.Stats), &s) != nil || s.NumRecords == nil {
		return 0, false
	}
	return *s.NumRecords, true
}
