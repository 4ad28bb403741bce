package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Finding is something about a table that is not as it should be.
type Finding struct {
	// Subject is what it is about: log, checkpoint, checksum, file, statistics or rows.
	Subject string
	Version int64
	Path    string // of the file it is about; empty when it is about none
	Problem string
	// Fix is what can be done about it; empty when there is nothing to do.
	Fix string
}

// CheckReport is what a check has looked at and found.
type CheckReport struct {
	Files, Bytes int64 // that are live
	Commits      int64 // that are in the log
	Checksum     bool  // whether the version has one
	Rows         int64 // that were read
	// Orphans are the files below the table that no version in the log names. Somebody may be about to
	// commit them.
	Orphans, OrphanBytes int64
	Findings             []Finding
}

// What can be done about findings.
const (
	fixRestore    = "restore an older version whose files are all there, or put the file back from a copy"
	fixCheckpoint = "delete the checkpoint and write another: the commits have what it should say"
	fixDelete     = "delete the file: it is made again, and nothing needs it"
	fixStatistics = "write the file anew, as by optimizing: its statistics are wrong, and rows may not be found by them"
)

// Check compares what the table says with what is there: that the log has no gap, that checkpoints and
// checksums agree with the commits, as far as these are there, that no file is named twice, and that every
// data file and deletion vector is there in its size with statistics and partition values that can be
// read. It reads no rows. An error means that the check could not be made.
func (s *Snapshot) Check(ctx context.Context) (CheckReport, error) {
	return (&checker{s: s}).check(ctx)
}

// CheckRows is Check, and reads every row, too: that it can be read, that a file has as many as the log
// says, and that its statistics hold for them.
func (s *Snapshot) CheckRows(ctx context.Context) (CheckReport, error) {
	return (&checker{s: s, rows: true}).check(ctx)
}

// checker makes one check.
type checker struct {
	s    *Snapshot
	rows bool
	r    CheckReport
	log  *listing
	gaps bool
}

func (c *checker) check(ctx context.Context) (r CheckReport, err error) {
	if c.log, err = listLog(ctx, c.s.store, 0); err != nil {
		return r, err
	}
	for _, step := range []func(context.Context) error{c.commits, c.files, c.checkpoints, c.replay, c.checksums, c.orphans} {
		if err := step(ctx); err != nil {
			return c.r, err
		}
	}
	return c.r, nil
}

func (c *checker) find(subject string, version int64, path, problem, fix string) {
	c.r.Findings = append(c.r.Findings, Finding{subject, version, path, problem, fix})
}

// commits looks for gaps between the commits up to the version. Those before the first are cleaned up.
func (c *checker) commits(context.Context) error {
	before := int64(-1)
	for _, o := range c.log.commits {
		v := versionOf(o.Key)
		if v > c.s.version {
			break
		}
		c.r.Commits++
		if before >= 0 && v != before+1 {
			c.gaps = true
			fix := "put it back from a copy; versions from the next checkpoint on can be read without it"
			if _, ok := c.log.compaction(before+1, v-1); ok {
				fix = "none is needed: a compaction has what it said"
			}
			c.find("log", before+1, "", fmt.Sprintf("its commit is missing, the next one is %d", v), fix)
		}
		before = v
	}
	return nil
}

// checkBatch is how many files are looked at before their findings are put in order.
const checkBatch = 1024

// files looks at every live file.
func (c *checker) files(ctx context.Context) error {
	var batch []*Add
	paths := map[string]struct{}{}
	for a, err := range c.s.Files(ctx) {
		if err != nil {
			return err
		}
		c.r.Files++
		c.r.Bytes += a.Size
		path := canonicalPath(a.Path)
		if _, twice := paths[path]; twice {
			c.find("file", c.s.version, a.Path, "it is in the table twice, so its rows are there twice", "restore the version before the commit that named it again")
		}
		paths[path] = struct{}{}
		if batch = append(batch, a); len(batch) == checkBatch {
			if err := c.look(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return c.look(ctx, batch)
}

func (c *checker) look(ctx context.Context, batch []*Add) error {
	found := make([][]Finding, len(batch))
	counts := make([]int64, len(batch))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookups)
	for i, a := range batch {
		g.Go(func() (err error) {
			if found[i], err = c.file(ctx, a); err == nil && len(found[i]) == 0 && c.rows {
				found[i], counts[i], err = c.readRows(ctx, a)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, f := range found {
		c.r.Findings = append(c.r.Findings, f...)
		c.r.Rows += counts[i]
	}
	return nil
}

// file says what is wrong with a data file, its deletion vector, or what the log says of it.
func (c *checker) file(ctx context.Context, a *Add) (found []Finding, err error) {
	s := c.s
	find := func(subject, problem, fix string) {
		found = append(found, Finding{subject, s.version, a.Path, problem, fix})
	}
	if isAbsolute(a.Path) && s.resolve == nil {
		find("file", "it lies outside the table and was not looked at", "")
		return found, nil
	}
	if _, _, err := s.locate(a.Path); err != nil {
		find("file", err.Error(), fixRestore)
		return found, nil
	}
	size, err := s.sizeOf(ctx, a.Path)
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		find("file", "it is not there", fixRestore)
	case err != nil:
		return nil, fmt.Errorf("data file %s: %w", a.Path, err)
	case size != a.Size:
		find("file", fmt.Sprintf("it has %d bytes, and the log says %d", size, a.Size), fixRestore)
	}
	n, counted := a.records()
	if a.DeletionVector != nil {
		if _, err := s.readDeletionVector(ctx, a.DeletionVector); ctx.Err() != nil {
			return nil, ctx.Err()
		} else if err != nil {
			find("file", err.Error(), "put the file of the deletion vector back from a copy, or "+fixRestore)
		}
		if !counted {
			find("statistics", "it has a deletion vector, and does not say how many rows there are", fixStatistics)
		}
	}
	switch {
	case a.Stats != "" && !json.Valid([]byte(a.Stats)):
		find("statistics", "they are no JSON", fixStatistics)
	case counted && (n < 0 || a.DeletionVector != nil && a.DeletionVector.Cardinality > n):
		find("statistics", fmt.Sprintf("they say that it has %d rows", n), fixStatistics)
	}
	if problem := s.partitionProblem(a); problem != "" {
		find("file", problem, "take the file out of the table, and load its rows again")
	}
	return found, nil
}

// partitionProblem says what is wrong with the partition values of a file.
func (s *Snapshot) partitionProblem(a *Add) string {
	for _, name := range s.metadata.PartitionColumns {
		i := s.schema.IndexFold(name)
		if i < 0 {
			return fmt.Sprintf("the table is partitioned by %s, which is no column of it", schema.Quote(name))
		}
		physical, err := physicalName(s.schema.Fields[i], s.columnMapping())
		if err != nil {
			return err.Error()
		}
		text, ok := a.PartitionValues[physical]
		if !ok {
			return "it has no value of the partition column " + schema.Quote(name)
		}
		if _, err := parsePartitionValue(s.schema.Fields[i].Type, text); err != nil {
			return fmt.Sprintf("its value of the partition column %s: %v", schema.Quote(name), err)
		}
	}
	return ""
}

// readRows reads the rows of a file and compares them with what the log says of it.
func (c *checker) readRows(ctx context.Context, a *Add) (found []Finding, rows int64, err error) {
	s := c.s
	find := func(subject, problem, fix string) {
		found = append(found, Finding{subject, s.version, a.Path, problem, fix})
	}
	data := &schema.Struct{}
	for _, f := range dataColumns(s.schema, s.metadata) {
		if f.Type != schema.Void {
			data.Fields = append(data.Fields, f)
		}
	}
	read, err := readColumns(data, s.columnMapping())
	if err != nil {
		return nil, 0, err
	}
	written, err := writeColumns(data, s.columnMapping())
	if err != nil {
		written = nil // a struct of nothing: there are no statistics
	}
	stats := newFileStats(written, StatsColumns{Leaves: -1, PrefixLength: math.MaxInt32}, false)
	for rec, err := range s.readFile(ctx, memory.DefaultAllocator, a, read) {
		if ctx.Err() != nil {
			return nil, rows, ctx.Err()
		}
		if err != nil {
			find("rows", err.Error(), fixRestore)
			return found, rows, nil
		}
		rows += rec.NumRows()
		if written != nil {
			stats.add(rec)
		}
	}
	want, counted := a.records()
	if a.DeletionVector != nil {
		want -= a.DeletionVector.Cardinality
	}
	if counted && want != rows {
		find("rows", fmt.Sprintf("it has %d rows, and the log says %d", rows, want), fixStatistics)
		return found, rows, nil
	}
	if problem := s.statsProblem(a, stats); problem != "" {
		find("statistics", problem, fixStatistics)
	}
	return found, rows, nil
}

// statsProblem compares the statistics of a file with those that its rows have.
func (s *Snapshot) statsProblem(a *Add, is *fileStats) string {
	type parts struct{ MinValues, MaxValues, NullCount map[string]json.RawMessage }
	var say, have parts
	if a.Stats == "" || json.Unmarshal([]byte(a.Stats), &say) != nil || json.Unmarshal([]byte(is.json()), &have) != nil {
		return ""
	}
	var problem string
	var visit func(path, physical []string, t *schema.Struct)
	visit = func(path, physical []string, t *schema.Struct) {
		for _, f := range t.Fields {
			name, err := physicalName(f, s.columnMapping())
			if err != nil || problem != "" {
				return
			}
			path, physical := append(path[:len(path):len(path)], f.Name), append(physical[:len(physical):len(physical)], name)
			if st, ok := f.Type.(*schema.Struct); ok {
				visit(path, physical, st)
				continue
			}
			l := &leaf{typ: f.Type, class: classOf(f.Type), physical: physical}
			wide := s.protocol.widening()
			for _, b := range []struct {
				upper     bool
				say, have map[string]json.RawMessage
			}{{false, say.MinValues, have.MinValues}, {true, say.MaxValues, have.MaxValues}} {
				said, raw := memberOf(b.say, physical), memberOf(b.have, physical)
				limit, value := l.bound(said, b.upper, wide), l.bound(raw, false, wide)
				if limit == nil || value == nil {
					continue
				}
				if t := f.Type; b.upper && (t == schema.Timestamp || t == schema.TimestampNTZ) {
					value.i -= 999 // it was rounded up to the millisecond
				}
				if order := compareLiterals(l.class, *value, *limit); b.upper && order > 0 || !b.upper && order < 0 {
					problem = fmt.Sprintf("column %s has %s, and the bound is %s", schema.Path(path...), raw, said)
				}
			}
			nulls, count := memberOf(say.NullCount, physical), memberOf(have.NullCount, physical)
			if problem == "" && a.DeletionVector == nil && len(path) == 1 && nulls != nil && count != nil && string(nulls) != string(count) && schema.IsScalar(f.Type) {
				problem = fmt.Sprintf("column %s is null in %s rows, and they say %s", schema.Path(path...), count, nulls)
			}
		}
	}
	visit(nil, nil, s.schema)
	return problem
}

// checkpoints looks at the checkpoints that are there, and at the hint to the newest.
func (c *checker) checkpoints(ctx context.Context) error {
	for version, objects := range c.log.checkpoints {
		switch {
		case version > c.s.version:
		case newCheckpoint(version, objects) == nil:
			c.find("checkpoint", version, objects[0].Key, "parts of it are missing", fixDelete)
		case c.s.checkpoint == nil || version > c.s.checkpoint.version:
			c.find("checkpoint", version, objects[0].Key, "it cannot be read, and was passed over", fixCheckpoint)
		}
	}
	slices.SortStableFunc(c.r.Findings, func(a, b Finding) int {
		if a.Subject == "checkpoint" && b.Subject == "checkpoint" {
			return int(max(-1, min(1, a.Version-b.Version)))
		}
		return 0
	})
	text, _, err := objstore.ReadAll(ctx, c.s.store, lastCheckpointKey)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var hint lastCheckpoint
	readable := json.Unmarshal(text, &hint) == nil
	sum, err := jsonChecksum(text)
	switch {
	case !readable:
		c.find("checkpoint", c.s.version, lastCheckpointKey, "the hint to the newest is no JSON", fixDelete)
	case len(c.log.checkpoints[hint.Version]) == 0:
		c.find("checkpoint", hint.Version, lastCheckpointKey, "the hint to the newest names one that is not there", fixDelete)
	case hint.Checksum != "" && (err != nil || sum != hint.Checksum):
		c.find("checkpoint", hint.Version, lastCheckpointKey, "the hint to the newest does not have the sum that it says", fixDelete)
	}
	return nil
}

// replay compares the snapshot with what all commits make without a checkpoint, when they are all there,
// and each checksum with what is counted on the way.
func (c *checker) replay(ctx context.Context) error {
	if c.gaps || len(c.log.commits) == 0 || versionOf(c.log.commits[0].Key) != 0 {
		return nil
	}
	bare := &listing{commits: c.log.commits}
	seg, err := bare.segment(c.s.version)
	if err != nil {
		return err
	}
	replay, err := loadSegment(ctx, c.s.store, seg)
	if err != nil {
		var broken *LogError
		if errors.As(err, &broken) {
			c.find("log", broken.Version, "", broken.Reason, "put its commit back from a copy; versions from the next checkpoint on can be read without it")
			return nil
		}
		return err
	}
	c.counts(ctx, replay)
	if c.s.checkpoint == nil {
		return nil
	}
	want := map[fileKey]int64{}
	for a, err := range replay.Files(ctx) {
		if err != nil {
			return err
		}
		want[a.key()] = a.Size
	}
	at := c.s.checkpoint.version
	differs := func(path, problem string) { c.find("checkpoint", at, path, problem, fixCheckpoint) }
	for a, err := range c.s.Files(ctx) {
		if err != nil {
			return err
		}
		if size, ok := want[a.key()]; !ok || size != a.Size {
			differs(a.Path, "the commits do not have this file")
		}
		delete(want, a.key())
	}
	for k := range want {
		differs(k.path, "it lacks this file of the commits")
	}
	if !sameMetadata(c.s.metadata, replay.metadata) {
		differs("", "its metadata is not that of the commits")
	}
	if !slices.Equal(c.s.protocol.Features(), replay.protocol.Features()) {
		differs("", "its protocol is not that of the commits")
	}
	for id, x := range replay.txns {
		if c.s.txns[id].Version != x.Version {
			differs("", fmt.Sprintf("its txn of %s is %d, and that of the commits %d", id, c.s.txns[id].Version, x.Version))
		}
	}
	for name, d := range replay.domains {
		if c.s.domains[name].Configuration != d.Configuration {
			differs("", "its domain "+name+" is not that of the commits")
		}
	}
	return nil
}

// counts compares the checksums of versions before this one with what the commits up to each add up to.
func (c *checker) counts(ctx context.Context, replay *Snapshot) {
	n := counts{version: -1}
	for _, e := range replay.tail {
		e, err := e.read(ctx, c.s.store)
		if err != nil || !n.add(e) {
			return // it cannot be told from here on
		}
		if n.version == c.s.version || !slices.ContainsFunc(c.log.checksums, func(o objstore.Object) bool { return versionOf(o.Key) == n.version }) {
			continue
		}
		sum, err := readChecksum(ctx, c.s.store, n.version)
		switch {
		case err != nil:
			c.find("checksum", n.version, "", err.Error(), fixDelete)
		case *sum.NumFiles != n.files || *sum.TableSizeBytes != n.bytes:
			c.find("checksum", n.version, "", fmt.Sprintf("it says %d files of %d bytes, and the commits %d of %d", *sum.NumFiles, *sum.TableSizeBytes, n.files, n.bytes), fixDelete)
		}
	}
}

// checksums compares the snapshot with its checksum. Source: protocol, "State Validation".
func (c *checker) checksums(ctx context.Context) error {
	s := c.s
	sum, err := readChecksum(ctx, s.store, s.version)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil
	}
	if c.r.Checksum = true; ctx.Err() != nil {
		return ctx.Err()
	}
	find := func(problem string) { c.find("checksum", s.version, "", problem, fixDelete) }
	if err != nil {
		find(err.Error())
		return nil
	}
	switch {
	case *sum.NumFiles != c.r.Files:
		find(fmt.Sprintf("it says %d files, and there are %d", *sum.NumFiles, c.r.Files))
	case *sum.TableSizeBytes != c.r.Bytes:
		find(fmt.Sprintf("it says %d bytes, and there are %d", *sum.TableSizeBytes, c.r.Bytes))
	}
	if sum.Metadata.ID != s.metadata.ID || sum.Metadata.SchemaString != s.metadata.SchemaString {
		find("its metadata is not that of the commits")
	}
	if !slices.Equal(sum.Protocol.Features(), s.protocol.Features()) {
		find("its protocol is not that of the commits")
	}
	for _, x := range sum.Txns {
		if y, ok := s.txns[x.AppID]; !ok || y.Version != x.Version {
			find("its txn of " + x.AppID + " is not that of the commits")
		}
	}
	for _, d := range sum.Domains {
		if s.domains[d.Domain].Configuration != d.Configuration {
			find("its domain " + d.Domain + " is not that of the commits")
		}
	}
	if own := s.nonce; sum.TxnID != "" && own != "" && sum.TxnID != own {
		find("it is of another commit than the one that is there")
	}
	return nil
}

// orphans counts the files that no version names.
func (c *checker) orphans(ctx context.Context) error {
	needed, err := c.s.needed(ctx, time.Time{})
	if err != nil {
		return nil //nolint:nilerr // a path that cannot be read is a finding already
	}
	r := VacuumResult{Before: time.Now().Add(time.Hour)}
	if err := c.s.unneeded(ctx, needed, &r); err != nil {
		return err
	}
	for _, f := range r.Files {
		// Change data is named by commits, which are not all looked at here, and by no version's files.
		if !strings.HasSuffix(f.Key, "/") && !strings.HasPrefix(f.Key, changeData+"/") {
			c.r.Orphans++
			c.r.OrphanBytes += f.Size
		}
	}
	return nil
}
