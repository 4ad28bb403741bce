package evolve

import (
	"slices"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/schema"
)

// Partitions returns the columns that folders k=v on the way to the files make. Without wanted names
// they are those of all files, when these agree; no name wanted means none. Types come from hints, the
// table or a given schema, else from the values; a column that is wanted and found nowhere is a STRING.
//
// Source: Auto Loader, "cloudFiles.partitionColumns"; Spark, "Partition Discovery".
func Partitions(keys []string, wanted []string, opts Options) *schema.Struct {
	names := wanted
	if names == nil && opts.Given == nil {
		names = common(keys)
	}
	out := &schema.Struct{}
	for _, name := range names {
		if name == "" || out.IndexFold(name) >= 0 || opts.rejects([]string{name}) {
			continue
		}
		out.Fields = append(out.Fields, schema.Nullable(name, opts.partitionType(name, keys)))
	}
	return out
}

// common returns the names of the folders that all files have in the same order.
func common(keys []string) (names []string) {
	for i, key := range keys {
		var here []string
		for _, f := range decode.FolderValues(key) {
			here = append(here, f.Name)
		}
		if i > 0 && !slices.Equal(here, names) {
			return nil
		}
		names = here
	}
	return names
}

func (o Options) partitionType(name string, keys []string) schema.Type {
	for _, known := range []*schema.Struct{o.Given, o.Table} {
		if known == nil {
			continue
		}
		if i := known.IndexFold(name); i >= 0 {
			return known.Fields[i].Type
		}
	}
	for _, h := range slices.Backward(o.Hints) {
		if len(h.Path) == 1 && schema.Fold(h.Path[0]) == schema.Fold(name) {
			return h.Type
		}
	}
	if o.StringsOnly {
		return schema.String
	}
	var t schema.Type = schema.Void
	for _, key := range keys {
		for _, f := range decode.FolderValues(key) {
			if f.Value != nil && schema.Fold(f.Name) == schema.Fold(name) {
				t = unifyFolders(t, decode.FolderType(*f.Value))
			}
		}
	}
	if t == schema.Void {
		return schema.String
	}
	return t
}

// unifyFolders is as schema.Unify, but for dates, which fit timestamps.
func unifyFolders(a, b schema.Type) schema.Type {
	if a == schema.Date && b == schema.Timestamp || a == schema.Timestamp && b == schema.Date {
		return schema.Timestamp
	}
	return schema.Unify(a, b)
}

// withPartitions returns s with the columns of folders: in the place of a field of the same name, else
// behind all others.
func withPartitions(s, partitions *schema.Struct) *schema.Struct {
	if partitions == nil || len(partitions.Fields) == 0 {
		return s
	}
	out := s.Append()
	for _, f := range partitions.Fields {
		if i := out.IndexFold(f.Name); i >= 0 {
			out.Fields[i].Type = f.Type
		} else {
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// PartitionNames are the names, in the schema that is read, of the columns that folders fill.
func (v *Version) PartitionNames() (names []string) {
	if v.Partitions == nil {
		return nil
	}
	read := v.Read()
	for _, f := range v.Partitions.Fields {
		if i := read.IndexFold(f.Name); i >= 0 {
			names = append(names, read.Fields[i].Name)
		}
	}
	return names
}
