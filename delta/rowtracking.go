package delta

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
)

// The domain in which a table keeps the greatest row id given out, and the properties that name the
// columns in which files keep the ids and versions of rows that have moved. Source: protocol, "Row
// Tracking".
const (
	rowTrackingDomain = "delta.rowTracking"
	propRowIDColumn   = "delta.rowTracking.materializedRowIdColumnName"
	propRowVersion    = "delta.rowTracking.materializedRowCommitVersionColumnName"
)

type rowTracking struct {
	HighWaterMark int64 `json:"rowIdHighWaterMark"`
}

func nameRowColumns(m *Metadata) {
	m.Configuration[propRowIDColumn] = "_row-id-col-" + uuid.NewString()
	m.Configuration[propRowVersion] = "_row-commit-version-col-" + uuid.NewString()
}

// trackRows gives the rows of new files the next ids, on top of base, and returns the files with them
// and the domain with the mark behind them. Files that have ids keep them.
func trackRows(base *Snapshot, adds []*Add) ([]*Add, *DomainMetadata, error) {
	mark := rowTracking{-1}
	if text, ok := base.Domain(rowTrackingDomain); ok {
		if err := json.Unmarshal([]byte(text), &mark); err != nil {
			return nil, nil, fmt.Errorf("domain %s: %w", rowTrackingDomain, err)
		}
	}
	out := make([]*Add, len(adds))
	changed := false
	for i, a := range adds {
		if out[i] = a; a.BaseRowID != nil {
			continue
		}
		n, ok := a.records()
		if !ok {
			return nil, nil, fmt.Errorf("data file %s does not say how many rows it has, which row tracking needs", a.Path)
		}
		tracked, first, version := *a, mark.HighWaterMark+1, base.version+1
		tracked.BaseRowID, tracked.DefaultRowCommitVersion = &first, &version
		out[i], changed = &tracked, true
		mark.HighWaterMark += n
	}
	if !changed {
		return out, nil, nil
	}
	text, err := json.Marshal(mark)
	return out, &DomainMetadata{Domain: rowTrackingDomain, Configuration: string(text)}, err
}
