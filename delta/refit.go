package delta

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/siltlake/silt/schema"
)

// Data files name their columns as the table did when they were written: by the physical names and ids of
// column mapping, and without those by which the table is partitioned. When the table has others by the time at
// which files are committed, it would read NULL where they have values.

// Named returns s with the physical names and ids that other has for fields of the same paths, so that data
// files that were written under other fit a table that gets s.
func Named(s, other *schema.Struct) *schema.Struct { return withNames(s, other).(*schema.Struct) }

func withNames(t, other schema.Type) schema.Type {
	return schema.Replace(t, other, func(t, other schema.Type) (schema.Type, bool) {
		s, ok := t.(*schema.Struct)
		o, also := other.(*schema.Struct)
		if !ok || !also {
			return nil, false
		}
		out := &schema.Struct{Fields: slices.Clone(s.Fields)}
		for i, f := range out.Fields {
			k := o.IndexFold(f.Name)
			if k < 0 {
				continue
			}
			f.Metadata = notNil(maps.Clone(f.Metadata))
			for _, key := range []string{metaColumnID, metaPhysicalName} {
				if v, ok := o.Fields[k].Metadata[key]; ok {
					f.Metadata[key] = v
				}
			}
			f.Type = withNames(f.Type, o.Fields[k].Type)
			out.Fields[i] = f
		}
		return out, true
	})
}

// Unnamed returns s without physical names and ids: as columns that a table is to get by its own names.
func Unnamed(s *schema.Struct) *schema.Struct {
	out, _ := rewriteFields(s, func(f schema.Field) (schema.Field, error) {
		f.Metadata = withoutKeys(f.Metadata, metaColumnID, metaPhysicalName)
		return f, nil
	})
	return out.(*schema.Struct)
}

// writtenName is the name of a field in data files that were written under its schema.
func writtenName(f schema.Field) string {
	if name, ok := f.MetadataString(metaPhysicalName); ok {
		return name
	}
	return f.Name
}

// Fits reports whether files that were written under a schema, and are not in the table, have their columns
// where the table looks for them, or would when it gets those that it lacks by [Transaction.SetSchema]. Types
// are not compared.
func (s *Snapshot) Fits(files *schema.Struct, adds []*Add) bool {
	mode, last := s.columnMapping(), s.lastColumnID()
	fits := true
	fitFields(nil, files, s.schema, func(_ []string, f schema.Field, in *schema.Field) {
		_, hasName := f.MetadataString(metaPhysicalName)
		id, hasID := f.MetadataInt(metaColumnID)
		switch {
		case !fits:
		case in == nil:
			fits = hasName == (mode != "") && (mode == "" || id > last)
		default:
			name, err := physicalName(*in, mode)
			now, _ := in.MetadataInt(metaColumnID)
			// The parts of arrays and maps have neither.
			fits = f.Name == "" || err == nil && name == writtenName(f) && (mode != mappingID || hasID && id == now)
		}
	})
	var keys []string
	for _, name := range s.metadata.PartitionColumns {
		if i := s.schema.IndexFold(name); i >= 0 {
			name, _ = physicalName(s.schema.Fields[i], mode)
		}
		keys = append(keys, name)
	}
	slices.Sort(keys)
	return fits && !slices.ContainsFunc(adds, func(a *Add) bool { return !slices.Equal(keys, slices.Sorted(maps.Keys(a.PartitionValues))) })
}

// FitsReplaced is like Fits, for a table that gets the schema by [Transaction.ReplaceSchema], with the
// partitioning that the files have.
func (s *Snapshot) FitsReplaced(files *schema.Struct) bool {
	mode, last := s.columnMapping(), s.lastColumnID()
	fits := true
	taken := map[string]bool{}
	walkFields(nil, s.schema, func(_ []string, f schema.Field) { taken[writtenName(f)] = true })
	walkFields(nil, files, func(_ []string, f schema.Field) {
		name, hasName := f.MetadataString(metaPhysicalName)
		id, _ := f.MetadataInt(metaColumnID)
		fits = fits && hasName == (mode != "") && (mode == "" || !taken[name] && (mode != mappingID || id > last))
	})
	return fits
}

// lastColumnID is the greatest id that a column of the table has, or had.
func (s *Snapshot) lastColumnID() int64 {
	last, _ := strconv.ParseInt(s.metadata.Configuration[propMaxColumnID], 10, 64)
	return last
}

// Rewrite writes the rows of files that were written under a schema, and are not in the table, into files of
// the context. The rules of the table are not applied, and the files that are read stay.
func (s *Snapshot) Rewrite(ctx context.Context, files *schema.Struct, adds []*Add, to WriteContext) ([]*Add, error) {
	if len(adds) == 0 {
		return nil, nil
	}
	from := s.wroteUnder(files, adds[0]).Scan(ScanOptions{})
	to.Schema = withoutMetadata(to.Schema, metaGenerated, metaIdentity)
	to.Constraints, to.NeedsSQL = nil, nil
	w, err := NewDataWriter(ctx, s.store, to, DataWriterOptions{Tags: adds[0].Tags})
	if err != nil {
		return nil, err
	}
	defer w.Abort(context.WithoutCancel(ctx))
	for _, a := range adds {
		for rows, err := range from.File(ctx, a) {
			if err != nil {
				return nil, err
			}
			err = w.Write(ctx, rows.RecordBatch)
			rows.Release()
			if err != nil {
				return nil, err
			}
		}
	}
	return w.Close(ctx)
}

// wroteUnder is the table as if it were that for which the file was written.
func (s *Snapshot) wroteUnder(files *schema.Struct, a *Add) *Snapshot {
	out, m := *s, *s.metadata
	m.Configuration = withoutKeys(m.Configuration, propMappingMode)
	m.PartitionColumns = nil
	if hasPhysicalNames(files) {
		m.Configuration[propMappingMode] = mappingName
		out.protocol = s.protocol.withFeature("columnMapping")
	}
	for _, f := range files.Fields {
		if _, ok := a.PartitionValues[writtenName(f)]; ok {
			m.PartitionColumns = append(m.PartitionColumns, f.Name)
		}
	}
	out.schema, out.metadata = files, &m
	return &out
}
