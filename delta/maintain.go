package delta

import (
	"encoding/json"
	"fmt"
)

// special is what sets a transaction of maintenance apart from one that changes rows.
type special struct {
	// parameters and metrics are all that the history shows, under Spark's names.
	parameters map[string]json.RawMessage
	metrics    map[string]string
	isolation  string
	// alone means that no commit of others may come between: there is no other version to plan it on.
	alone   bool
	domains []DomainMetadata // that the commit sets
}

// The levels at which maintenance is isolated. Source: Delta Lake, "Isolation levels": what changes no
// row needs no more than a snapshot.
const (
	serializable      = "Serializable"
	snapshotIsolation = "SnapshotIsolation"
)

// beginSpecial starts a transaction of maintenance.
func (s *Snapshot) beginSpecial(operation string, x special) *Transaction {
	t := s.Begin(operation)
	t.special = &x
	return t
}

// checkWrite fails when the package lacks what the table needs of the transaction.
func (t *Transaction) checkWrite(base *Snapshot) error {
	if t.moves() {
		return base.protocol.checkMaintain()
	}
	return base.protocol.checkAppend(base.metadata, base.schema)
}

// checkMaintain fails when the table needs something of its writers that is not known at all. Rows that
// are in the table already have met its constraints, and have their generated values.
func (p *Protocol) checkMaintain() error {
	if err := p.checkRead(); err != nil {
		return err
	}
	var missing []string
	if p.MinWriterVersion > featureWriter {
		missing = append(missing, fmt.Sprintf("writer version %d", p.MinWriterVersion))
	}
	if p.MinWriterVersion == featureWriter {
		for _, name := range p.WriterFeatures {
			if indexFeature(name) < 0 {
				missing = append(missing, name)
			}
		}
	}
	if len(missing) > 0 {
		return &UnsupportedError{"write", missing}
	}
	return nil
}

// union returns a protocol that supports what either does, and p itself where that is enough. All their
// features are known.
func (p *Protocol) union(q *Protocol) *Protocol {
	more := false
	for _, name := range q.Features() {
		more = more || !p.supports(name)
	}
	switch {
	case !more && p.MinReaderVersion >= q.MinReaderVersion:
		return p
	case p.MinWriterVersion < featureWriter && q.MinWriterVersion < featureWriter:
		return &Protocol{MinReaderVersion: max(p.MinReaderVersion, q.MinReaderVersion), MinWriterVersion: max(p.MinWriterVersion, q.MinWriterVersion)}
	}
	return p.withFeatures(q.Features())
}
