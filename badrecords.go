package silt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/objstore"
)

// badRecord is a line of a file below badRecordsPath. Source: Databricks, "Handle bad records and files".
type badRecord struct {
	Path   string `json:"path"`
	Record string `json:"record,omitempty"`
	Reason string `json:"reason"`
}

// putBadRecords writes what a batch quarantined below badRecordsPath too: corrupt records as lines of
// <time of the batch>/bad_records/part-<batch>.json, files that were given up as bad_files. The files are
// the same however often the batch is finished, so they are simply written again.
// s is the quarantine table with the batch, nil when a commit before this one put it there.
func (r *run) putBadRecords(ctx context.Context, s *delta.Snapshot, plan checkpoint.Plan, target checkpoint.StagedTarget) error {
	var c change
	if err := json.Unmarshal(target.Delta, &c); err != nil {
		return fmt.Errorf("staged/%d: %s: %w", plan.Batch, target.Name, err)
	}
	if len(c.Adds) == 0 {
		return nil
	}
	if s == nil {
		var err error
		if s, err = r.quarantine.load(ctx); s == nil {
			return err
		}
	}
	var records, files bytes.Buffer
	scan := s.Scan(delta.ScanOptions{Columns: []string{"source_file", "reason", "detail", "record", "record_bytes"}})
	for _, add := range c.Adds {
		for rows, err := range scan.File(ctx, add) {
			if err != nil {
				return fmt.Errorf("table %s: %w", r.quarantine.name, err)
			}
			err = appendBadRecords(&records, &files, rows)
			rows.Release()
			if err != nil {
				return err
			}
		}
	}
	store := r.at.open(r.set.badRecords)
	at := plan.Time.UTC().Format("20060102T150405")
	for folder, text := range map[string]*bytes.Buffer{"bad_records": &records, "bad_files": &files} {
		if text.Len() == 0 {
			continue
		}
		key := fmt.Sprintf("%s/%s/part-%s-%05d.json", at, folder, r.log.ID(), plan.Batch)
		if _, err := objstore.PutBytes(ctx, store, key, text.Bytes(), objstore.Cond{}); err != nil {
			return fmt.Errorf("badRecordsPath %s: %w", r.set.badRecords, err)
		}
	}
	return nil
}

func appendBadRecords(records, files *bytes.Buffer, rows delta.FileRows) error {
	text := func(col, i int) string { return rows.Column(col).(*array.String).Value(i) }
	for i := range int(rows.NumRows()) {
		b := badRecord{Path: text(0, i), Record: text(3, i), Reason: text(2, i)}
		if raw := rows.Column(4).(*array.Binary); raw.IsValid(i) {
			b.Record = string(raw.Value(i)) // what is no UTF-8 is written as U+FFFD; the quarantine table has the bytes
		}
		to := records
		switch text(1, i) {
		case convert.ReasonNotJSON:
		case convert.ReasonFile:
			to = files
		default: // a record that is none of Spark's bad ones
			continue
		}
		line, err := json.Marshal(b)
		if err != nil {
			return err
		}
		to.Write(append(line, '\n'))
	}
	return nil
}
