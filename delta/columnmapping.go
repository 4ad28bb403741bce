package delta

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/siltlake/silt/schema"
)

// The modes, properties and metadata keys of column mapping. Source: protocol, "Column Mapping".
const (
	mappingName = "name"
	mappingID   = "id"

	propMappingMode  = "delta.columnMapping.mode"
	propMaxColumnID  = "delta.columnMapping.maxColumnId"
	metaColumnID     = "delta.columnMapping.id"
	metaPhysicalName = "delta.columnMapping.physicalName"
)

// columnMapping returns the mode of a table, empty for none. The property alone does not make a table
// mapped: its protocol must support the feature.
func columnMapping(p *Protocol, m *Metadata) string {
	if mode := strings.ToLower(m.Configuration[propMappingMode]); mode != "none" && p.supports("columnMapping") {
		return mode
	}
	return ""
}

func (s *Snapshot) columnMapping() string { return columnMapping(s.protocol, s.metadata) }

// invalidNameChars may stand in the name of a column only under column mapping, because Parquet
// readers do not take them.
const invalidNameChars = " ,;{}()\n\t="

// NeedsMapping returns the path of a field whose name can be used only under column mapping, or "".
func NeedsMapping(s *schema.Struct) (path string) {
	walkFields(nil, s, func(at []string, f schema.Field) {
		if path == "" && strings.ContainsAny(f.Name, invalidNameChars) {
			path = schema.Path(at...)
		}
	})
	return path
}

// ValidName reports whether a table without column mapping can have a column of this name.
func ValidName(name string) bool { return name != "" && !strings.ContainsAny(name, invalidNameChars) }

// mapColumns gives each field that has none an id and a physical name, and returns the metadata's
// configuration with the greatest id.
func mapColumns(s *schema.Struct, configuration map[string]string) (*schema.Struct, map[string]string, error) {
	maxID, _ := strconv.ParseInt(configuration[propMaxColumnID], 10, 64)
	walkFields(nil, s, func(_ []string, f schema.Field) {
		if id, ok := f.MetadataInt(metaColumnID); ok {
			maxID = max(maxID, id)
		}
	})
	mapped, err := rewriteFields(s, func(f schema.Field) (schema.Field, error) {
		if _, ok := f.MetadataInt(metaColumnID); ok {
			return f, nil
		}
		maxID++
		f, err := f.WithMetadata(metaColumnID, maxID)
		if _, ok := f.MetadataString(metaPhysicalName); ok || err != nil {
			return f, err
		}
		return f.WithMetadata(metaPhysicalName, "col-"+uuid.NewString())
	})
	if err != nil {
		return nil, nil, err
	}
	configuration = maps.Clone(configuration)
	configuration[propMaxColumnID] = strconv.FormatInt(maxID, 10)
	return mapped.(*schema.Struct), configuration, nil
}

// rewriteFields returns t with every field replaced by what f makes of it, a struct before its fields.
func rewriteFields(t schema.Type, f func(schema.Field) (schema.Field, error)) (schema.Type, error) {
	switch t := t.(type) {
	case *schema.Struct:
		out := &schema.Struct{Fields: make([]schema.Field, len(t.Fields))}
		for i, field := range t.Fields {
			field, err := f(field)
			if err != nil {
				return nil, err
			}
			if field.Type, err = rewriteFields(field.Type, f); err != nil {
				return nil, err
			}
			out.Fields[i] = field
		}
		return out, nil
	case *schema.Array:
		e, err := rewriteFields(t.Element, f)
		return &schema.Array{Element: e, ContainsNull: t.ContainsNull}, err
	case *schema.Map:
		k, err := rewriteFields(t.Key, f)
		if err != nil {
			return nil, err
		}
		v, err := rewriteFields(t.Value, f)
		return &schema.Map{Key: k, Value: v, ValueContainsNull: t.ValueContainsNull}, err
	}
	return t, nil
}

// physicalName is the name a field has in data files, statistics and partition values.
func physicalName(f schema.Field, mode string) (string, error) {
	if mode == "" {
		return f.Name, nil
	}
	name, ok := f.MetadataString(metaPhysicalName)
	if !ok {
		return "", fmt.Errorf("column %s has no %s although columns are mapped", schema.Quote(f.Name), metaPhysicalName)
	}
	return name, nil
}
