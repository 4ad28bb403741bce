package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/objstore"
)

// OptimizeOptions say how small files become larger ones.
type OptimizeOptions struct {
	// TargetSize is about the size of the new files in bytes, and what is smaller is packed; 0 is what the
	// table says, or else 128 MiB.
	TargetSize int64
	// DryRun finds the files that would be packed, and writes nothing.
	DryRun bool
	// Allocator is where Arrow memory comes from; nil is Go's.
	Allocator memory.Allocator
}

// OptimizeMetrics says what an optimization did. Sizes are in bytes.
type OptimizeMetrics struct {
	NumAddedFiles, NumAddedBytes     int64
	NumRemovedFiles, NumRemovedBytes int64
	NumDeletionVectorsRemoved        int64
	// AddedSizes are the sizes of the new files, in order.
	AddedSizes []int64
}

// maxDeleted is the share of deleted rows from which on a file is written again without them.
// Source: Delta Lake, "spark.databricks.delta.optimize.maxDeletedRowsRatio".
const maxDeleted = 0.05

// Optimize packs small files of each partition into larger ones, in one commit that changes no row, and
// leaves out rows that deletion vectors delete. Rows that were written together stay together. It holds
// one file at a time in memory, as far as a [DataWriter] does.
//
// Others may append meanwhile. Where they remove or change a file that is being packed, what was made
// of it is given up, and the rest is committed.
func (s *Snapshot) Optimize(ctx context.Context, o OptimizeOptions) (*Snapshot, OptimizeMetrics, error) {
	var m OptimizeMetrics
	if err := s.protocol.checkMaintain(); err != nil {
		return nil, m, err
	}
	x := &optimizer{s: s, o: o, wc: s.beginSpecial("OPTIMIZE", special{}).WriteContext()}
	if o.TargetSize > 0 {
		x.wc.TargetSize = o.TargetSize
	}
	if x.o.Allocator == nil {
		x.o.Allocator = memory.DefaultAllocator
	}
	x.scan = s.Scan(ScanOptions{RowIDs: s.TracksRows(), Allocator: x.o.Allocator})
	bins, err := x.bins(ctx)
	if err != nil || len(bins) == 0 {
		return s, m, err
	}
	if o.DryRun {
		return s, metricsOf(bins), nil
	}
	for _, b := range bins {
		if err := x.pack(ctx, b); err != nil {
			x.giveUp(ctx, bins...)
			return nil, m, err
		}
	}
	return x.commit(ctx, bins)
}

type optimizer struct {
	s    *Snapshot
	o    OptimizeOptions
	wc   WriteContext
	scan *Scan
}

// bin is files of one partition that become one, or as many as its rows need.
type bin struct {
	files []packed
	size  int64
	added []*Add
}

// packed is a file to pack. Its statistics are not kept: there can be very many.
type packed struct {
	*Add
	rows    int64 // that are not deleted
	counted bool  // whether rows is known
	holes   bool  // whether so many are deleted that it is worth while to write it again alone
}

func newPacked(a *Add) packed {
	kept := *a
	p := packed{Add: &kept}
	p.rows, p.counted = a.records()
	kept.Stats = ""
	if dv := a.DeletionVector; dv != nil {
		p.holes = !p.counted || float64(dv.Cardinality) > maxDeleted*float64(p.rows)
		p.rows -= dv.Cardinality
	}
	return p
}

// bins groups what is worth packing. Files that an engine has clustered are left to it.
func (x *optimizer) bins(ctx context.Context) ([]*bin, error) {
	var all []*bin
	open := map[string]*bin{} // by partition
	for a, err := range x.s.Files(ctx) {
		if err != nil {
			return nil, err
		}
		f := newPacked(a)
		if a.ClusteringProvider != "" || a.Size >= x.wc.TargetSize && !f.holes {
			continue
		}
		key := valuesKey(a.PartitionValues)
		b := open[key]
		if b == nil || b.size+a.Size > x.wc.TargetSize {
			b = &bin{}
			open[key], all = b, append(all, b)
		}
		b.files, b.size = append(b.files, f), b.size+a.Size
	}
	return slices.DeleteFunc(all, func(b *bin) bool { return len(b.files) == 1 && !b.files[0].holes }), nil
}

// valuesKey tells partitions apart by the texts of their values.
func valuesKey(values map[string]*string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(strconv.Quote(k))
		if v := values[k]; v != nil && *v != "" {
			b.WriteString("=" + strconv.Quote(*v))
		}
		b.WriteByte(',')
	}
	return b.String()
}

// pack writes the rows of a bin's files into new ones.
func (x *optimizer) pack(ctx context.Context, b *bin) error {
	w, err := NewDataWriter(ctx, x.s.store, x.wc, DataWriterOptions{RowIDs: x.s.TracksRows(), Allocator: x.o.Allocator})
	if err != nil {
		return err
	}
	defer w.Abort(ctx)
	var rows int64
	for _, f := range b.files {
		n, err := x.copy(ctx, w, f.Add)
		switch {
		case err != nil:
			return err
		case f.counted && n != f.rows:
			return fmt.Errorf("data file %s: it has %d rows, and the log says %d", f.Path, n, f.rows)
		}
		rows += n
	}
	if b.added, err = w.Close(ctx); err != nil {
		return err
	}
	for _, a := range b.added {
		// The very texts of the values: engines write them in more than one way.
		a.PartitionValues, a.DataChange = maps.Clone(b.files[0].PartitionValues), false
		n, _ := a.records()
		rows -= n
	}
	if rows != 0 {
		return fmt.Errorf("packing %s and %d more: %d rows are missing in the new files", b.files[0].Path, len(b.files)-1, rows)
	}
	return nil
}

func (x *optimizer) copy(ctx context.Context, w *DataWriter, a *Add) (rows int64, err error) {
	for rec, err := range x.scan.File(ctx, a) {
		if err != nil {
			return rows, err
		}
		rows += rec.NumRows()
		err = w.Write(ctx, rec.RecordBatch)
		rec.Release()
		if err != nil {
			return rows, fmt.Errorf("rows of data file %s: %w", a.Path, err)
		}
	}
	return rows, nil
}

// commit puts the new files in the place of the old ones.
func (x *optimizer) commit(ctx context.Context, bins []*bin) (*Snapshot, OptimizeMetrics, error) {
	for s, try := x.s, 1; ; try++ {
		m := metricsOf(bins)
		next, err := x.transaction(s, bins, m).Commit(ctx, nil)
		var conflict *ConflictError
		switch {
		case err == nil:
			return next, m, nil
		case errors.Is(err, ErrOutcomeUnknown): // the files may be in the table
			return nil, m, err
		case !errors.As(err, &conflict) || try == maxUnknown:
			x.giveUp(ctx, bins...)
			return nil, m, err
		}
		var kept []*bin
		if s, err = s.Update(ctx); err == nil {
			kept, err = x.stillWanted(ctx, s, bins)
		}
		switch {
		case err != nil:
			x.giveUp(ctx, bins...)
			return nil, m, errors.Join(conflict, err)
		case len(kept) == 0:
			return nil, m, conflict
		}
		bins = kept
	}
}

func (x *optimizer) transaction(s *Snapshot, bins []*bin, m OptimizeMetrics) *Transaction {
	t := s.beginSpecial("OPTIMIZE", special{isolation: snapshotIsolation, metrics: m.texts(), parameters: map[string]json.RawMessage{
		"predicate": quoteJSON("[]"), "zOrderBy": quoteJSON("[]"), "clusterBy": quoteJSON("[]"), "auto": json.RawMessage("false")}})
	t.files = &x.wc
	if s.TracksRows() {
		t.KeepsRowIDs()
	}
	now := time.Now()
	for _, b := range bins {
		for _, f := range b.files {
			t.Remove(f.Remove(now, false))
		}
		t.Add(b.added...)
	}
	return t
}

// stillWanted returns the bins all of whose files are in a later version, and deletes what was made of
// the others.
func (x *optimizer) stillWanted(ctx context.Context, s *Snapshot, bins []*bin) ([]*bin, error) {
	p := plan{schema: s.schema, metadata: s.metadata, protocol: s.protocol}
	if err := p.fits(x.wc.Schema, s.columnMapping()); err != nil {
		return nil, err
	}
	live := map[fileKey]bool{}
	for a, err := range s.Files(ctx) {
		if err != nil {
			return nil, err
		}
		live[a.key()] = true
	}
	var kept []*bin
	for _, b := range bins {
		if slices.ContainsFunc(b.files, func(f packed) bool { return !live[f.key()] }) {
			x.giveUp(ctx, b)
		} else {
			kept = append(kept, b)
		}
	}
	return kept, nil
}

// giveUp deletes new files that are in no table, as far as it can: what stays is vacuumed.
func (x *optimizer) giveUp(ctx context.Context, bins ...*bin) {
	for _, b := range bins {
		for _, a := range b.added {
			if key, err := decodePath(a.Path); err == nil {
				_ = x.s.store.Delete(context.WithoutCancel(ctx), key, objstore.Cond{})
			}
		}
	}
}

func metricsOf(bins []*bin) (m OptimizeMetrics) {
	for _, b := range bins {
		for _, f := range b.files {
			m.NumRemovedFiles++
			m.NumRemovedBytes += f.Size
			if f.DeletionVector != nil {
				m.NumDeletionVectorsRemoved++
			}
		}
		for _, a := range b.added {
			m.NumAddedFiles++
			m.NumAddedBytes += a.Size
			m.AddedSizes = append(m.AddedSizes, a.Size)
		}
	}
	slices.Sort(m.AddedSizes)
	return m
}

func (m OptimizeMetrics) texts() map[string]string {
	size := func(share float64) int64 {
		if len(m.AddedSizes) == 0 {
			return 0
		}
		return m.AddedSizes[int(share*float64(len(m.AddedSizes)-1))]
	}
	return countTexts(map[string]int64{
		"numAddedFiles": m.NumAddedFiles, "numAddedBytes": m.NumAddedBytes,
		"numRemovedFiles": m.NumRemovedFiles, "numRemovedBytes": m.NumRemovedBytes,
		"numDeletionVectorsRemoved": m.NumDeletionVectorsRemoved,
		"minFileSize":               size(0), "p25FileSize": size(0.25), "p50FileSize": size(0.5), "p75FileSize": size(0.75), "maxFileSize": size(1),
	})
}
