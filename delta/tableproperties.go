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

	"github.com/siltlake/silt/schema"
)

// A PropertyError says why a table cannot have a property.
type PropertyError struct{ Name, Value, Reason string }

func (e *PropertyError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("property %s: %s", e.Name, e.Reason)
	}
	return fmt.Sprintf("property %s=%s: %s", e.Name, e.Value, e.Reason)
}

// property checks the values of one property; an empty text is no fault.
type property func(value string) (fault string)

// knownProperties are those that start with "delta." and may be set. Source: Delta, "Table properties
// reference", and DeltaConfig.scala.
var knownProperties = map[string]property{
	propAppendOnly:                      isBool,
	propCheckpointInterval:              isCount(1),
	propCheckpointPolicy:                isOneOf("classic", "v2"),
	propStatsAsJSON:                     isBool,
	propStatsAsStruct:                   isBool,
	propMappingMode:                     isOneOf(mappingName, mappingID, "none"),
	propStatsLeaves:                     isCount(-1),
	propStatsColumns:                    isColumnList,
	propStatsPrefix:                     isCount(0),
	propRetention:                       isInterval,
	propLogRetention:                    isInterval,
	propLogCleanup:                      isBool,
	propTargetFileSize:                  isSize,
	propCodec:                           isCodec,
	propICT:                             isBool,
	propTypeWidening:                    isBool,
	"delta.autoOptimize":                isBool,
	"delta.autoOptimize.autoCompact":    anyValue,
	"delta.autoOptimize.optimizeWrite":  isBool,
	"delta.checkpointRetentionDuration": isInterval,
	"delta.compatibility.symlinkFormatManifest.enabled": isBool,
	"delta.enableChangeDataFeed":                        isBool,
	"delta.enableDeletionVectors":                       isBool,
	"delta.enableFullRetentionRollback":                 isBool,
	"delta.enableRowTracking":                           isBool,
	"delta.enableVariantShredding":                      isBool,
	"delta.isolationLevel":                              isOneOf("Serializable", "WriteSerializable", "SnapshotIsolation"),
	"delta.parquet.format.version":                      anyValue,
	"delta.randomPrefixLength":                          isCount(1),
	"delta.randomizeFilePrefixes":                       isBool,
	"delta.sampleRetentionDuration":                     isInterval,
	"delta.setTransactionRetentionDuration":             isInterval,
	"delta.tuneFileSizesForRewrites":                    isBool,
	"delta.writePartitionColumnsToParquet":              isBool,
	propProtectedVersions:                               isCount(0),
}

// reservedProperties are kept by those who write, and are nobody else's.
var reservedProperties = map[string]string{
	propMaxColumnID:          "it is kept with the columns",
	propICTVersion:           "it is set with " + propICT,
	propICTTime:              "it is set with " + propICT,
	propRowIDColumn:          "it is set with delta.enableRowTracking",
	propRowVersion:           "it is set with delta.enableRowTracking",
	"delta.minReaderVersion": "ask for a feature by delta.feature.<name>=supported instead",
	"delta.minWriterVersion": "ask for a feature by delta.feature.<name>=supported instead",
}

func anyValue(string) string { return "" }

func isBool(v string) string {
	if strings.EqualFold(v, "true") || strings.EqualFold(v, "false") {
		return ""
	}
	return "want true or false"
}

func isCount(least int64) property {
	return func(v string) string {
		if n, err := strconv.ParseInt(v, 10, 32); err != nil || n < least {
			return fmt.Sprintf("want a whole number from %d on", least)
		}
		return ""
	}
}

func isOneOf(values ...string) property {
	return func(v string) string {
		if slices.ContainsFunc(values, func(x string) bool { return strings.EqualFold(x, v) }) {
			return ""
		}
		return "want " + strings.Join(values, " or ")
	}
}

func isInterval(v string) string {
	if d, err := parseInterval(v); err != nil || d < 0 {
		return `want an interval, such as "interval 30 days"`
	}
	return ""
}

func isColumnList(v string) string {
	if _, err := parseColumnList(v); err != nil {
		return err.Error()
	}
	return ""
}

func isSize(v string) string {
	if n, err := parseSize(strings.ToLower(v)); err != nil || n <= 0 {
		return "want a number of bytes, such as 134217728 or 128mb"
	}
	return ""
}

func isCodec(v string) string {
	if _, err := parquetCodec(v); err != nil {
		return err.Error()
	}
	return ""
}

// checkProperty returns the property under the name that Delta has for it.
func checkProperty(name, value string) (string, error) {
	lower := strings.ToLower(name)
	if !strings.HasPrefix(lower, "delta.") {
		if name == "" {
			return "", &PropertyError{"", value, "a property has a name"}
		}
		return name, nil
	}
	if feature, ok := strings.CutPrefix(lower, featurePrefix); ok {
		for _, f := range features {
			if strings.EqualFold(f.name, feature) {
				if value != "supported" && value != "enabled" {
					return "", &PropertyError{name, value, "want supported"}
				}
				return featurePrefix + f.name, nil
			}
		}
		return "", &PropertyError{name, value, "silt does not have the feature"}
	}
	for known, why := range reservedProperties {
		if strings.EqualFold(known, name) {
			return "", &PropertyError{name, "", why}
		}
	}
	switch {
	case strings.HasPrefix(lower, "delta.constraints."):
		return "", &PropertyError{name, "", "constraints are added and dropped, and rows are checked then"}
	case strings.HasPrefix(lower, "delta.enableicebergcompat"), strings.HasPrefix(lower, "delta.universalformat."):
		return "", &PropertyError{name, value, "silt does not write what Iceberg needs"}
	}
	for known, check := range knownProperties {
		if strings.EqualFold(known, name) {
			if fault := check(value); fault != "" {
				return "", &PropertyError{known, value, fault}
			}
			return known, nil
		}
	}
	return "", &PropertyError{name, value, "Delta has no such property"}
}

// CheckProperties says whether a table can have the properties at all: all faults at once, each a
// [*PropertyError]. Names that start with "delta." are Delta's; others are free.
func CheckProperties(properties map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if _, err := checkProperty(name, properties[name]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// SetProperties sets table properties in one commit, with the table features that they ask for. Columns
// of a table can begin to be mapped by name (delta.columnMapping.mode=name), in-commit timestamps begin
// with the commit, and rows that are there get ids when they begin to be tracked. A property that Delta does not have, a value that it cannot have, and a change that
// would need the data files to be written anew is a [*PropertyError], and nothing is changed.
func (s *Snapshot) SetProperties(ctx context.Context, properties map[string]string) (*Snapshot, error) {
	if err := CheckProperties(properties); err != nil {
		return nil, err
	}
	named := make(map[string]string, len(properties))
	for k, v := range properties {
		name, _ := checkProperty(k, v)
		named[name] = v
	}
	text, err := json.Marshal(named)
	if err != nil {
		return nil, err
	}
	return s.alter(ctx, "SET TBLPROPERTIES", func(base *Snapshot) (alteration, error) {
		a, err := base.withProperties(ctx, named)
		a.parameters = map[string]json.RawMessage{"properties": quoteJSON(string(text))}
		return a, err
	})
}

// UnsetProperties takes properties away in one commit; those that the table does not have do not count.
// Features that they had asked for stay: others may have come to rely on them.
func (s *Snapshot) UnsetProperties(ctx context.Context, names ...string) (*Snapshot, error) {
	for _, name := range names {
		if why, ok := reservedProperties[name]; ok {
			return nil, &PropertyError{name, "", why}
		}
		if strings.HasPrefix(name, "delta.constraints.") || strings.EqualFold(name, propProtectedVersions) {
			return nil, &PropertyError{name, "", "the table relies on it"}
		}
	}
	text, err := json.Marshal(append([]string{}, names...))
	if err != nil {
		return nil, err
	}
	return s.alter(ctx, "UNSET TBLPROPERTIES", func(base *Snapshot) (alteration, error) {
		a := base.alteration()
		for _, name := range names {
			if name == propMappingMode && base.columnMapping() != "" {
				return a, &PropertyError{name, "", "the data files are named by it"}
			}
			delete(a.metadata.Configuration, name)
			if name == propICT {
				delete(a.metadata.Configuration, propICTVersion)
				delete(a.metadata.Configuration, propICTTime)
			}
		}
		a.parameters = map[string]json.RawMessage{"properties": quoteJSON(string(text)), "ifExists": json.RawMessage("true")}
		return a, nil
	})
}

// withProperties returns what becomes of the table. Every property has been checked by itself.
func (s *Snapshot) withProperties(ctx context.Context, properties map[string]string) (alteration, error) {
	a := s.alteration()
	m := a.metadata
	before := *s.metadata
	for name, value := range properties {
		if feature, ok := strings.CutPrefix(name, featurePrefix); ok {
			a.need(feature)
			continue
		}
		m.Configuration[name] = value
	}
	if err := s.mapExisting(&a, before.Configuration[propMappingMode]); err != nil {
		return a, err
	}
	a.protocol = a.protocol.withSwitches(m)
	if m.isTrue(propAppendOnly) {
		a.need("appendOnly")
	}
	if m.isTrue("delta.enableVariantShredding") {
		a.need("variantShredding")
	}
	if m.isTrue("delta.enableChangeDataFeed") && !before.isTrue("delta.enableChangeDataFeed") {
		for _, name := range []string{"_change_type", "_commit_version", "_commit_timestamp"} {
			if s.schema.IndexFold(name) >= 0 {
				return a, &PropertyError{"delta.enableChangeDataFeed", "true", "column " + name + " has a name that change data has"}
			}
		}
	}
	if m.isTrue("delta.enableRowTracking") && !before.isTrue("delta.enableRowTracking") {
		if strings.EqualFold(m.Configuration["delta.rowTrackingSuspended"], "true") {
			return a, &PropertyError{"delta.enableRowTracking", "true", "the tracking of rows is suspended (delta.rowTrackingSuspended)"}
		}
		var err error
		if a.adds, err = s.untracked(ctx); err != nil {
			return a, err
		}
		if m.Configuration[propRowIDColumn] == "" {
			nameRowColumns(m)
		}
	}
	switch on, was := m.isTrue(propICT), before.isTrue(propICT); {
	case on && !was:
		at, err := s.lastModified(ctx)
		if err != nil {
			return a, err
		}
		m.Configuration[propICTVersion] = strconv.FormatInt(s.version+1, 10)
		m.Configuration[propICTTime] = strconv.FormatInt(max(millis(time.Now()), millis(at)+1), 10)
	case was && !on:
		delete(m.Configuration, propICTVersion)
		delete(m.Configuration, propICTTime)
	}
	return a, nil
}

// need adds a feature, and those that it needs.
func (a *alteration) need(name string) {
	if more := needs[name]; more != "" && !a.protocol.supports(more) {
		a.protocol = a.protocol.withFeature(more)
	}
	if !a.protocol.supports(name) {
		a.protocol = a.protocol.withFeature(name)
	}
}

// mapExisting lets the columns of a table be mapped by name from now on: each is found by the name that
// it has, whatever it is called later. Source: protocol, "Writer Requirements for Column Mapping".
func (s *Snapshot) mapExisting(a *alteration, before string) error {
	mode := strings.ToLower(a.metadata.Configuration[propMappingMode])
	was := s.columnMapping()
	switch {
	case mode == "" || mode == "none":
		if was != "" {
			return &PropertyError{propMappingMode, mode, "the columns are mapped by " + was + ", and the data files are named by it"}
		}
		return nil
	case mode == was:
		return nil
	case was != "":
		return &PropertyError{propMappingMode, mode, "the columns are mapped by " + was}
	case mode == mappingID:
		return &PropertyError{propMappingMode, mode, "columns can be mapped by id in a new table only; by name they can be now"}
	case before != "" && before != "none":
		return &PropertyError{propMappingMode, mode, "the table says " + before + " and does not support it"}
	}
	a.metadata.Configuration[propMappingMode] = mode
	named, err := rewriteFields(s.schema, func(f schema.Field) (schema.Field, error) {
		return f.WithMetadata(metaPhysicalName, f.Name)
	})
	if err != nil {
		return err
	}
	a.need("columnMapping")
	return a.setSchema(named.(*schema.Struct))
}

// untracked returns the files whose rows have no ids, to be added again with some. Source: protocol,
// "Writer Requirements for Row Tracking".
func (s *Snapshot) untracked(ctx context.Context) (files []*Add, err error) {
	for f, err := range s.Files(ctx) {
		if err != nil {
			return nil, err
		}
		if f.BaseRowID == nil || f.DefaultRowCommitVersion == nil {
			again := *f
			again.DataChange, again.BaseRowID, again.DefaultRowCommitVersion = false, nil, nil
			files = append(files, &again)
		}
	}
	return files, nil
}
