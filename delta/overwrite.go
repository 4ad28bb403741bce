package delta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/schema"
)

// Replace deletes the rows for which where is true, nil for all of them, in the same commit that adds
// others: an overwrite, or a replaceWhere. Rows that the transaction adds belong to what is replaced, see
// [DataWriterOptions.Where]. It is called once, before the commit, and counts what it deletes.
func (t *Transaction) Replace(ctx context.Context, where Predicate, o ChangeOptions) (ChangeMetrics, error) {
	if t.read == nil {
		return ChangeMetrics{}, errors.New("overwrite: the table does not exist yet")
	}
	x := &rowChange{s: t.read, o: o, started: time.Now(), tx: t}
	if x.o.Allocator == nil {
		x.o.Allocator = memory.DefaultAllocator
	}
	moves := t.read.Begin(t.operation)
	moves.onlyMoves = true
	if err := x.files(ctx, where, moves.WriteContext()); err != nil {
		x.abort(ctx)
		return x.m, fmt.Errorf("overwrite: %w", err)
	}
	if o.DryRun {
		return x.m, nil
	}
	if err := x.close(ctx); err != nil {
		x.abort(ctx)
		return x.m, fmt.Errorf("overwrite: %w", err)
	}
	if t.replaces = x.where; where == nil {
		t.replaces = all(nil)
	}
	t.kept = len(t.adds)
	details := map[string]string{"mode": "Overwrite"}
	if where != nil {
		details["predicate"] = x.shown(where)
	}
	maps.Copy(details, t.details.Parameters)
	t.details.Parameters = details
	t.KeepsRowIDs()
	return x.m, nil
}

// completeChanges says of the rows that come in the place of others that they are inserted, when the
// changes of the transaction are told by change data files: nothing else is looked at then.
func (t *Transaction) completeChanges(ctx context.Context) error {
	from := max(t.kept, t.told)
	if t.replaces == nil || len(t.changes) == 0 || from >= len(t.adds) {
		return nil
	}
	wc := t.files
	if wc == nil {
		given := t.WriteContext()
		wc = &given
	}
	w, err := NewChangeWriter(ctx, t.store, *wc, DataWriterOptions{})
	if err != nil {
		return err
	}
	defer w.Abort(ctx)
	after := *t.read
	after.schema, after.metadata, after.protocol = t.plan.schema, t.plan.metadata, t.plan.protocol
	for _, a := range t.adds[from:] {
		for rows, err := range after.Scan(ScanOptions{}).File(ctx, a) {
			if err != nil {
				return err
			}
			err = w.Write(ctx, rows.RecordBatch, ChangeInsert)
			rows.Release()
			if err != nil {
				return err
			}
		}
	}
	files, err := w.Close(ctx)
	t.AddChanges(files...)
	t.told = len(t.adds)
	return err
}

// ReplaceSchema gives the table another schema and partitioning, as an overwrite with overwriteSchema does:
// none of its files stays, see [Transaction.Replace]. The properties of the table do.
//
// The schema of a [WriteContext] that such a transaction gave out brings the physical names and ids by which
// files were written; the call fails when another has taken the ids since.
func (t *Transaction) ReplaceSchema(s *schema.Struct, partitionBy ...string) error {
	if t.read == nil {
		return errors.New("a table that does not exist yet has no schema to replace")
	}
	m := *t.read.metadata
	m.PartitionColumns = append([]string{}, partitionBy...)
	if err := checkNewTable(&m, s); err != nil {
		return err
	}
	if mode := t.read.columnMapping(); mode != "" { // names and ids of columns are never used again
		var err error
		if s, err = t.read.replacing(s, mode); err != nil {
			return err
		}
	} else if path := NeedsMapping(s); path != "" {
		return &NameError{path}
	}
	before := t.replaced
	t.replaced = &replacedSchema{s, m.PartitionColumns}
	p, err := t.makePlan(t.read)
	if err != nil {
		t.replaced = before
		return err
	}
	t.plan, t.files = p, nil
	t.replaced.schema = p.schema // with the names that files will be written with
	return nil
}

// replacing is a schema that comes in the place of the table's: what it has of the table's names and ids is
// taken from it.
func (s *Snapshot) replacing(with *schema.Struct, mode string) (*schema.Struct, error) {
	names := map[string]bool{}
	walkFields(nil, s.schema, func(_ []string, f schema.Field) {
		if name, ok := f.MetadataString(metaPhysicalName); ok {
			names[name] = true
		}
	})
	maxID, _ := strconv.ParseInt(s.metadata.Configuration[propMaxColumnID], 10, 64)
	out, err := rewriteFields(with, func(f schema.Field) (schema.Field, error) {
		name, written := f.MetadataString(metaPhysicalName)
		id, _ := f.MetadataInt(metaColumnID)
		switch {
		case !written || names[name]:
			f.Metadata = withoutKeys(f.Metadata, metaColumnID, metaPhysicalName)
		case id > maxID:
		case mode == mappingID:
			return f, &ConflictError{MetadataChanged, s.version, "column " + schema.Quote(f.Name) + " has another id than the files were written with"}
		default:
			f.Metadata = withoutKeys(f.Metadata, metaColumnID)
		}
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	return out.(*schema.Struct), nil
}

// replacedSchema is what ReplaceSchema was given.
type replacedSchema struct {
	schema      *schema.Struct
	partitionBy []string
}

func (t *Transaction) planReplaced(base *Snapshot) (plan, error) {
	m := *base.metadata
	m.Configuration = notNil(maps.Clone(m.Configuration))
	m.PartitionColumns = t.replaced.partitionBy
	return plan{schema: base.schema, metadata: &m, protocol: base.protocol}.evolve(t.replaced.schema, base.columnMapping())
}

// checkReplaced fails when files stay that the new schema does not describe, and when rows were added that
// are not of what is replaced.
func (t *Transaction) checkReplaced(ctx context.Context, base *Snapshot) error {
	if t.replaces != nil {
		for _, a := range t.adds[min(t.kept, len(t.adds)):] {
			if !t.read.mayHold(t.replaces, a) {
				return fmt.Errorf("data file %s has rows that are not of what is replaced", a.Path)
			}
		}
	}
	if t.replaced == nil {
		return nil
	}
	gone := map[fileKey]bool{}
	for _, r := range t.removes {
		gone[fileKey{canonicalPath(r.Path), r.DeletionVector.id()}] = true
	}
	for a, err := range base.Files(ctx) {
		if err != nil {
			return err
		}
		if !gone[a.key()] {
			return fmt.Errorf("the schema of the table is replaced, and data file %s stays", a.Path)
		}
	}
	return nil
}
