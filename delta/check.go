package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/objstore"
)

// Finding is something about a table that is not as it should be.
type Finding struct {
	// Subject is what it is about: log, checkpoint, checksum, file or statistics.
	Subject string
	Version int64
	Path    string // of the file it is about; empty when it is about none
	Problem string
}

// CheckReport is what a check has looked at and found.
type CheckReport struct {
	Files, Bytes int64 // that are live
	Commits      int64 // that are in the log
	Checksum     bool  // whether the version has one
	Findings     []Finding
}

// Check compares what the table says with what is there: that the log has no gap, that the checkpoint
// and the checksum agree with the commits, as far as these are there, and that every data file and
// deletion vector is there in its size with statistics that can be read. It reads no rows. An error means
// that the check could not be made.
func (s *Snapshot) Check(ctx context.Context) (CheckReport, error) {
	var r CheckReport
	l, err := listLog(ctx, s.store, 0)
	if err != nil {
		return r, err
	}
	for i, o := range l.commits {
		v := versionOf(o.Key)
		if v > s.version {
			break
		}
		r.Commits++
		if i > 0 && v != versionOf(l.commits[i-1].Key)+1 {
			r.find("log", v-1, "", "its commit is missing, the next one is there")
		}
	}
	if err := s.checkLive(ctx, &r); err != nil {
		return r, err
	}
	if err := s.checkCheckpoint(ctx, l, &r); err != nil {
		return r, err
	}
	return r, s.checkChecksum(ctx, &r)
}

func (r *CheckReport) find(subject string, version int64, path, problem string) {
	r.Findings = append(r.Findings, Finding{subject, version, path, problem})
}

// checkBatch is how many files are looked at before their findings are put in order.
const checkBatch = 1024

func (s *Snapshot) checkLive(ctx context.Context, r *CheckReport) error {
	var batch []*Add
	flush := func() error {
		problems := make([]string, len(batch))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(lookups)
		for i, a := range batch {
			g.Go(func() (err error) {
				problems[i], err = s.problem(ctx, a)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i, a := range batch {
			if problems[i] != "" {
				r.find("file", s.version, a.Path, problems[i])
			}
			if a.Stats != "" && !json.Valid([]byte(a.Stats)) {
				r.find("statistics", s.version, a.Path, "they are no JSON")
			} else if n, ok := a.records(); ok && (n < 0 || a.DeletionVector != nil && a.DeletionVector.Cardinality > n) {
				r.find("statistics", s.version, a.Path, fmt.Sprintf("they say that it has %d rows", n))
			}
		}
		batch = batch[:0]
		return nil
	}
	for a, err := range s.Files(ctx) {
		if err != nil {
			return err
		}
		r.Files++
		r.Bytes += a.Size
		if batch = append(batch, a); len(batch) == checkBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// problem says what is wrong with a data file or its deletion vector; empty when nothing is.
func (s *Snapshot) problem(ctx context.Context, a *Add) (string, error) {
	if isAbsolute(a.Path) && s.resolve == nil {
		return "it lies outside the table and was not looked at", nil
	}
	size, err := s.sizeOf(ctx, a.Path)
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		return "it is not there", nil
	case err != nil:
		return "", fmt.Errorf("data file %s: %w", a.Path, err)
	case size != a.Size:
		return fmt.Sprintf("it has %d bytes, and the log says %d", size, a.Size), nil
	}
	if a.DeletionVector != nil {
		if _, err := s.readDeletionVector(ctx, a.DeletionVector); err != nil {
			return err.Error(), ctx.Err()
		}
	}
	return "", nil
}

// checkCheckpoint compares the snapshot with what all commits make without the checkpoint, when they
// are all there.
func (s *Snapshot) checkCheckpoint(ctx context.Context, l *listing, r *CheckReport) error {
	if s.checkpoint == nil || len(l.commits) == 0 || versionOf(l.commits[0].Key) != 0 {
		return nil
	}
	for _, f := range r.Findings {
		if f.Subject == "log" {
			return nil
		}
	}
	bare := &listing{commits: l.commits}
	seg, err := bare.segment(s.version)
	if err != nil {
		return err
	}
	replay, err := loadSegment(ctx, s.store, seg)
	if err != nil {
		return err
	}
	want := map[fileKey]int64{}
	for a, err := range replay.Files(ctx) {
		if err != nil {
			return err
		}
		want[a.key()] = a.Size
	}
	at := s.checkpoint.version
	for a, err := range s.Files(ctx) {
		if err != nil {
			return err
		}
		if size, ok := want[a.key()]; !ok || size != a.Size {
			r.find("checkpoint", at, a.Path, "the commits do not have this file")
		}
		delete(want, a.key())
	}
	for k := range want {
		r.find("checkpoint", at, k.path, "it lacks this file of the commits")
	}
	if !sameMetadata(s.metadata, replay.metadata) {
		r.find("checkpoint", at, "", "its metadata is not that of the commits")
	}
	for id, x := range replay.txns {
		if s.txns[id].Version != x.Version {
			r.find("checkpoint", at, "", fmt.Sprintf("its txn of %s is %d, and that of the commits %d", id, s.txns[id].Version, x.Version))
		}
	}
	return nil
}

// checkChecksum compares the snapshot with its checksum. Source: protocol, "Version Checksum File".
func (s *Snapshot) checkChecksum(ctx context.Context, r *CheckReport) error {
	text, _, err := objstore.ReadAll(ctx, s.store, fmt.Sprintf("%s%020d.crc", logDir, s.version))
	if errors.Is(err, objstore.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Checksum = true
	var c struct {
		TableSizeBytes, NumFiles *int64
		Metadata                 *Metadata
	}
	switch err := json.Unmarshal(text, &c); {
	case err != nil:
		r.find("checksum", s.version, "", err.Error())
	case c.NumFiles != nil && *c.NumFiles != r.Files:
		r.find("checksum", s.version, "", fmt.Sprintf("it says %d files, and there are %d", *c.NumFiles, r.Files))
	case c.TableSizeBytes != nil && *c.TableSizeBytes != r.Bytes:
		r.find("checksum", s.version, "", fmt.Sprintf("it says %d bytes, and there are %d", *c.TableSizeBytes, r.Bytes))
	case c.Metadata != nil && c.Metadata.SchemaString != s.metadata.SchemaString:
		r.find("checksum", s.version, "", "its schema is not that of the commits")
	}
	return nil
}
