package delta

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/siltlake/silt/objstore"
)

// A checksum says what a version of a table is, beside its commit. With it an append to a table costs the
// same whatever the table's size: neither what the log says of the table, nor how many files it has, need
// be read from the start. But the log decides. Where it is short it is read, and a checksum is taken for
// it only when it names the very commit.
//
// Who writes one must be exact, since other engines fail on a table whose checksum is wrong. What is not
// known for sure is left out; a checksum without its counts cannot be, so then there is none.

// checksum is the content of a version checksum file. Source: protocol, "Version Checksum File".
type checksum struct {
	TxnID             string           `json:"txnId,omitempty"`
	TableSizeBytes    *int64           `json:"tableSizeBytes"`
	NumFiles          *int64           `json:"numFiles"`
	NumMetadata       int64            `json:"numMetadata"`
	NumProtocol       int64            `json:"numProtocol"`
	InCommitTimestamp *int64           `json:"inCommitTimestampOpt,omitempty"`
	Txns              []Txn            `json:"setTransactions,omitzero"` // nil when not known
	Domains           []DomainMetadata `json:"domainMetadata,omitzero"`
	Metadata          *Metadata        `json:"metadata"`
	Protocol          *Protocol        `json:"protocol"`
	AllFiles          []*Add           `json:"allFiles,omitzero"`
}

func checksumKey(version int64) string { return fmt.Sprintf("%s%020d.crc", logDir, version) }

// counts are the number and the size in bytes of the live files of a version.
type counts struct{ version, files, bytes int64 }

// The longest text of a checksum that is read, and the most transactions that one is written with, in
// which Spark stops at fewer. A longer log than shortLog bytes is worth a checksum.
const (
	maxChecksum     = 64 << 20
	maxChecksumTxns = 10_000
	shortLog        = 1 << 20
)

// errNoChecksum means that a checksum does not say what it must.
var errNoChecksum = errors.New("it lacks what a checksum must have")

func readChecksum(ctx context.Context, store objstore.Store, version int64) (*checksum, error) {
	body, o, err := store.Open(ctx, checksumKey(version), objstore.Range{})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if o.Size > maxChecksum {
		return nil, fmt.Errorf("it has %d bytes", o.Size)
	}
	text, err := io.ReadAll(io.LimitReader(body, maxChecksum))
	if err != nil {
		return nil, err
	}
	var c checksum
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	if c.NumMetadata != 1 || c.NumProtocol != 1 || c.Metadata == nil || c.Protocol == nil ||
		c.NumFiles == nil || c.TableSizeBytes == nil || *c.NumFiles < 0 || *c.TableSizeBytes < 0 {
		return nil, errNoChecksum
	}
	return &c, nil
}

func (c *checksum) counts(version int64) *counts {
	return &counts{version, *c.NumFiles, *c.TableSizeBytes}
}

// shortcut returns the segment's checksum when it can stand for the log up to its version, and the log is
// so long that this is worth it.
func (s *segment) shortcut(ctx context.Context, store objstore.Store) *checksum {
	version := s.checksumVersion()
	var spared int64
	if s.checkpoint != nil {
		for _, o := range s.checkpoint.parts {
			spared += o.Size
		}
	}
	for _, f := range s.commits {
		if f.to <= version {
			spared += f.Size
		} else if versionOf(f.Key) <= version {
			return nil // a compaction that starts before the checksum
		}
	}
	if s.checksum == nil || spared < shortLog {
		return nil
	}
	c, err := readChecksum(ctx, store, version)
	if err != nil || c.Txns == nil || c.Domains == nil || c.Metadata.isTrue(propICT) != (c.InCommitTimestamp != nil) {
		return nil
	}
	if c.TxnID == "" || c.TxnID != commitTxnID(ctx, store, version) {
		return nil
	}
	return c
}

// commitTxnID returns the nonce of a commit, if its first line says.
func commitTxnID(ctx context.Context, store objstore.Store, version int64) string {
	const most = 64 << 10
	body, _, err := store.Open(ctx, commitKey(version), objstore.Range{Len: most})
	if err != nil {
		return ""
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, most))
	line, _, whole := bytes.Cut(text, []byte("\n"))
	if err != nil || !whole && len(text) == most {
		return ""
	}
	a, err := parseAction(line)
	if err != nil || a.CommitInfo == nil {
		return ""
	}
	return a.CommitInfo.TxnID
}

// settle leaves beside a commit what makes it quick to find again: its checksum, and now and then a log
// checkpoint. Whatever fails of it changes nothing about the table, and is passed over. It is called
// before anybody else has s.
func (s *Snapshot) settle(ctx context.Context) {
	if s == nil || ctx.Err() != nil {
		return
	}
	if n, ok := s.countFiles(ctx); ok {
		s.total = &n
		_ = s.writeChecksum(ctx)
	}
	if every := s.metadata.CheckpointInterval(); s.version > 0 && s.version%every == 0 {
		if cp, err := s.writeCheckpoint(ctx); err == nil {
			s.checkpoint, s.sidecars, s.unlisted, s.tail = cp, nil, true, nil
		}
	}
}

// writeChecksum writes the checksum of the version, which is counted, unless there is one.
func (s *Snapshot) writeChecksum(ctx context.Context) error {
	c, err := s.makeChecksum(ctx)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		return err
	}
	_, err = objstore.PutBytes(ctx, s.store, checksumKey(s.version), bytes.TrimSpace(b.Bytes()), objstore.Cond{IfAbsent: true})
	if err == nil || errors.Is(err, objstore.ErrPrecondition) {
		s.checksum = s.version
		return nil
	}
	return err
}

func (s *Snapshot) makeChecksum(ctx context.Context) (*checksum, error) {
	m := *s.metadata
	m.Format.Options, m.Configuration = notNil(m.Format.Options), notNil(m.Configuration)
	m.PartitionColumns = append([]string{}, m.PartitionColumns...)
	c := &checksum{
		TxnID: s.nonce, TableSizeBytes: &s.total.bytes, NumFiles: &s.total.files, NumMetadata: 1, NumProtocol: 1,
		Domains: []DomainMetadata{}, Metadata: &m, Protocol: s.protocol,
	}
	if enabled, _ := s.inCommitTimestamps(); enabled {
		t, err := s.inCommitTime(ctx)
		if err != nil {
			return nil, err
		}
		c.InCommitTimestamp = &t
	}
	// Where transactions expire, engines do not agree which are there.
	if _, expire := m.Configuration["delta.setTransactionRetentionDuration"]; !expire && len(s.txns) <= maxChecksumTxns {
		c.Txns = []Txn{}
		for _, id := range slices.Sorted(maps.Keys(s.txns)) {
			c.Txns = append(c.Txns, s.txns[id])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.domains)) {
		c.Domains = append(c.Domains, s.domains[name])
	}
	return c, nil
}

// countFiles returns the counts of the version. They are not known when the list of a large table would
// have to be read for them, or when a commit does not say enough.
func (s *Snapshot) countFiles(ctx context.Context) (counts, bool) {
	base := s.total
	if base == nil && s.checksum >= 0 {
		if c, err := readChecksum(ctx, s.store, s.checksum); err == nil && c.Metadata.ID == s.metadata.ID {
			base = c.counts(s.checksum)
		}
	}
	if base == nil {
		return s.countAll(ctx)
	}
	n := *base
	tail := slices.DeleteFunc(slices.Clone(s.tail), func(e entryFiles) bool { return e.version <= base.version })
	if unparsed(tail) > shortLog {
		return n, false
	}
	for _, e := range tail {
		e, err := e.read(ctx, s.store)
		if err != nil || e.from <= base.version || !n.add(e) {
			return s.countAll(ctx)
		}
	}
	return n, n.version == s.version && n.files >= 0 && n.bytes >= 0
}

// countAll counts the files of a table that has few.
func (s *Snapshot) countAll(ctx context.Context) (n counts, ok bool) {
	var size int64
	if s.checkpoint != nil {
		for _, o := range s.checkpoint.parts {
			size += o.Size
		}
		for _, x := range s.sidecars {
			size += x.SizeInBytes
		}
	}
	size += unparsed(s.tail)
	if size > shortLog || s.unlisted {
		return n, false
	}
	n.version = s.version
	for a, err := range s.Files(ctx) {
		if err != nil {
			return n, false
		}
		n.files++
		n.bytes += a.Size
	}
	return n, true
}

// unparsed returns how many bytes of the entries have not been parsed yet.
func unparsed(tail []entryFiles) (size int64) {
	for _, e := range tail {
		if e.unread != nil {
			size += e.unread.Size
		}
		for _, line := range e.lines {
			size += int64(len(line))
		}
	}
	return size
}

// add counts what an entry changes. It cannot when the entry removes a file without its size, or may name
// a file again that the table has already: then nothing is counted.
func (n *counts) add(e entryFiles) bool {
	if e.from != e.version || e.from != n.version+1 {
		return false
	}
	next := counts{e.version, n.files, n.bytes}
	adds, removes := slices.Clone(e.adds), slices.Clone(e.removes)
	for _, line := range e.lines {
		a, err := parseAction(line)
		switch {
		case err != nil:
			return false
		case a.Add != nil:
			adds = append(adds, a.Add)
		case a.Remove != nil:
			removes = append(removes, a.Remove)
		}
	}
	for _, r := range removes {
		if r.Size == nil {
			return false
		}
		next.files--
		next.bytes -= *r.Size
	}
	for _, a := range adds {
		if !a.DataChange && len(removes) == 0 {
			return false
		}
		next.files++
		next.bytes += a.Size
	}
	*n = next
	return true
}
