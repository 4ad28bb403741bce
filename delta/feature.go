package delta

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/siltlake/silt/schema"
)

// An UnsupportedError says which features of a table keep the package from an operation.
type UnsupportedError struct {
	// Operation is "read" or "write".
	Operation string
	// Features are named as in the protocol; where a switch or a column makes the difference, it stands
	// in parentheses.
	Features []string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("this version of silt cannot %s a table with %s", e.Operation, strings.Join(e.Features, ", "))
}

// feature is a table feature. Source: protocol, "Valid Feature Names in Table Features".
type feature struct {
	name   string
	reader int // the reader version that implies it, 0 for none
	writer int // the writer version that implies it
	// readerWriter says that readers, too, must know it.
	readerWriter bool
	// read and write say whether the package honours it. Where write depends on use, inUse tells whether
	// the table makes use of it.
	read, write bool
	inUse       func(*Metadata, *schema.Struct) string
	// sql says that an [Evaluator] can do what the package itself cannot.
	sql bool
}

var features = []feature{
	{name: "appendOnly", writer: 2, write: true},
	{name: "invariants", writer: 2, inUse: fieldsWith(metaInvariants), sql: true},
	{name: "checkConstraints", writer: 3, inUse: propertiesWith(propConstraint), sql: true},
	{name: "changeDataFeed", writer: 4, write: true}, // appends need no change files
	{name: "generatedColumns", writer: 4, inUse: fieldsWith(metaGenerated), sql: true},
	{name: "columnMapping", reader: 2, writer: 5, readerWriter: true, read: true, write: true},
	{name: "identityColumns", writer: 6, write: true},
	{name: "allowColumnDefaults", inUse: unknownDefault},
	{name: "checkpointProtection", write: true}, // nothing is cleaned up
	{name: "clustering", write: true},
	{name: "deletionVectors", readerWriter: true, read: true, write: true},
	{name: "domainMetadata", write: true},
	{name: "inCommitTimestamp", write: true},
	{name: "rowTracking", write: true},
	{name: "timestampNtz", readerWriter: true, read: true, write: true},
	{name: "typeWidening", readerWriter: true, read: true, write: true},
	{name: "typeWidening-preview", readerWriter: true, read: true, write: true},
	{name: "v2Checkpoint", readerWriter: true, read: true, write: true},
	{name: "vacuumProtocolCheck", readerWriter: true, read: true, write: true},
	{name: "variantType", readerWriter: true, read: true, write: true},
	{name: "variantType-preview", readerWriter: true, read: true, write: true},
	{name: "variantShredding", readerWriter: true, read: true, write: true}, // may, and need not, be done
	{name: "variantShredding-preview", readerWriter: true, read: true, write: true},
}

// The versions from which on a protocol lists its features by name.
const (
	featureReader = 3
	featureWriter = 7
)

// checkRead fails when the table needs something of its readers that the package does not have.
func (p *Protocol) checkRead() error {
	var missing []string
	switch {
	case p.MinReaderVersion > featureReader:
		missing = append(missing, fmt.Sprintf("reader version %d", p.MinReaderVersion))
	case p.MinReaderVersion == featureReader:
		for _, name := range p.ReaderFeatures {
			if i := indexFeature(name); i < 0 || !features[i].read {
				missing = append(missing, name)
			}
		}
	}
	if len(missing) > 0 {
		return &UnsupportedError{"read", missing}
	}
	return nil
}

// checkRead fails when the data files are not what the package can read.
func (m *Metadata) checkRead(p *Protocol) error {
	var missing []string
	if provider := m.Format.Provider; provider != "" && !strings.EqualFold(provider, "parquet") {
		missing = append(missing, "data files of the format "+provider)
	}
	if mode := columnMapping(p, m); mode != "" && mode != mappingName && mode != mappingID {
		missing = append(missing, "columnMapping ("+propMappingMode+" "+mode+")")
	}
	if len(missing) > 0 {
		return &UnsupportedError{"read", missing}
	}
	return nil
}

// checkAppend fails when the table needs something of a writer of new files that the package does not
// have.
func (p *Protocol) checkAppend(m *Metadata, s *schema.Struct) error {
	if err := p.checkRead(); err != nil {
		return err
	}
	var missing []string
	if p.MinWriterVersion > featureWriter {
		missing = append(missing, fmt.Sprintf("writer version %d", p.MinWriterVersion))
	}
	for _, f := range features {
		if !p.has(f) || f.write || f.sql {
			continue
		}
		if use := f.inUse(m, s); use != "" {
			missing = append(missing, f.name+" ("+use+")")
		}
	}
	if p.MinWriterVersion == featureWriter {
		for _, name := range p.WriterFeatures {
			if indexFeature(name) < 0 {
				missing = append(missing, name)
			}
		}
	}
	if mode := columnMapping(p, m); mode != "" && mode != mappingName && mode != mappingID {
		missing = append(missing, "column mapping mode "+mode)
	}
	if len(missing) > 0 {
		return &UnsupportedError{"write", missing}
	}
	return nil
}

// needsSQL names the features of the table that need an [Evaluator] of whoever writes rows. Constraints
// and generated columns count whether or not the protocol has their feature: they are meant.
func needsSQL(m *Metadata, s *schema.Struct) (names []string) {
	for _, f := range features {
		if f.sql {
			if use := f.inUse(m, s); use != "" {
				names = append(names, f.name+" ("+use+")")
			}
		}
	}
	return names
}

// has reports whether the protocol supports a feature, by name or by version.
func (p *Protocol) has(f feature) bool {
	if p.MinWriterVersion >= featureWriter {
		return slices.Contains(p.WriterFeatures, f.name)
	}
	return f.writer > 0 && p.MinWriterVersion >= f.writer
}

// supports reports whether the protocol supports the feature of this name.
func (p *Protocol) supports(name string) bool {
	if i := indexFeature(name); i >= 0 {
		return p.has(features[i])
	}
	return slices.Contains(p.WriterFeatures, name)
}

// widening reports whether the types of columns may differ between files.
func (p *Protocol) widening() bool {
	return p.supports("typeWidening") || p.supports("typeWidening-preview")
}

func indexFeature(name string) int {
	return slices.IndexFunc(features, func(f feature) bool { return f.name == name })
}

// fieldsWith finds a field, at any depth, whose metadata has the key.
func fieldsWith(key string) func(*Metadata, *schema.Struct) string {
	return func(_ *Metadata, s *schema.Struct) (use string) {
		walkFields(nil, s, func(path []string, f schema.Field) {
			if _, ok := f.Metadata[key]; ok && use == "" {
				use = "column " + schema.Path(path...)
			}
		})
		return use
	}
}

// fieldsOf finds a field, at any depth, of the type.
func fieldsOf(typ schema.Type) func(*Metadata, *schema.Struct) string {
	return func(_ *Metadata, s *schema.Struct) (use string) {
		walkFields(nil, s, func(path []string, f schema.Field) {
			if uses(f.Type, typ) && use == "" {
				use = "column " + schema.Path(path...)
			}
		})
		return use
	}
}

func propertiesWith(prefix string) func(*Metadata, *schema.Struct) string {
	return func(m *Metadata, _ *schema.Struct) string {
		for _, key := range slices.Sorted(maps.Keys(m.Configuration)) {
			if strings.HasPrefix(key, prefix) {
				return "property " + key
			}
		}
		return ""
	}
}

// walkFields visits every field below t, a struct before its fields.
func walkFields(path []string, t schema.Type, visit func(path []string, f schema.Field)) {
	switch t := t.(type) {
	case *schema.Struct:
		for _, f := range t.Fields {
			at := append(path[:len(path):len(path)], f.Name)
			visit(at, f)
			walkFields(at, f.Type, visit)
		}
	case *schema.Array:
		walkFields(append(path[:len(path):len(path)], "element"), t.Element, visit)
	case *schema.Map:
		walkFields(append(path[:len(path):len(path)], "key"), t.Key, visit)
		walkFields(append(path[:len(path):len(path)], "value"), t.Value, visit)
	}
}

// switches are the properties that ask for a feature, and what they say to ask for it.
var switches = []struct{ property, value, feature string }{
	{"delta.enableDeletionVectors", "true", "deletionVectors"},
	{"delta.enableChangeDataFeed", "true", "changeDataFeed"},
	{"delta.enableInCommitTimestamps", "true", "inCommitTimestamp"},
	{"delta.enableRowTracking", "true", "rowTracking"},
	{"delta.enableTypeWidening", "true", "typeWidening"},
	{"delta.checkpointPolicy", "v2", "v2Checkpoint"},
}

// featurePrefix starts the properties that ask for a feature by its name. They are not kept.
const featurePrefix = "delta.feature."

// needs are the features without which a feature cannot be.
var needs = map[string]string{"rowTracking": "domainMetadata", "clustering": "domainMetadata"}

// withSwitches returns a protocol with the features that the properties of a new table ask for.
func (p *Protocol) withSwitches(m *Metadata) *Protocol {
	for _, f := range features {
		if key := featurePrefix + f.name; m.Configuration[key] == "supported" {
			delete(m.Configuration, key)
			p = p.withFeature(f.name)
		}
	}
	for _, sw := range switches {
		if !strings.EqualFold(m.Configuration[sw.property], sw.value) {
			continue
		}
		if need := needs[sw.feature]; need != "" {
			p = p.withFeature(need)
		}
		p = p.withFeature(sw.feature)
	}
	return p
}

// newProtocol returns the lowest protocol for a new table of the schema, so that everybody can write
// to it.
func newProtocol(m *Metadata, s *schema.Struct, mapped bool) *Protocol {
	p := plainProtocol(s, mapped)
	for _, f := range features {
		uses := f.sql && f.inUse(m, s) != "" || f.name == "identityColumns" && fieldsWith(metaIdentity)(m, s) != ""
		switch {
		case !uses || p.has(f):
		case p.MinWriterVersion < featureWriter:
			p = &Protocol{MinReaderVersion: p.MinReaderVersion, MinWriterVersion: f.writer}
		default:
			p = p.withFeature(f.name)
		}
	}
	if fieldsWith(metaDefault)(m, s) != "" {
		p = p.withFeature("allowColumnDefaults")
	}
	return p
}

func plainProtocol(s *schema.Struct, mapped bool) *Protocol {
	named := typeFeatures(s)
	switch {
	case len(named) > 0:
		p := &Protocol{MinReaderVersion: 1, MinWriterVersion: featureWriter, WriterFeatures: []string{"appendOnly", "invariants"}}
		if mapped {
			p = p.withFeature("columnMapping")
		}
		return p.withFeatures(named)
	case mapped:
		return &Protocol{MinReaderVersion: 2, MinWriterVersion: 5}
	}
	return &Protocol{MinReaderVersion: 1, MinWriterVersion: 2}
}

// typeFeatures returns the features that columns need for their types.
func typeFeatures(s *schema.Struct) (names []string) {
	for _, f := range []struct {
		typ  schema.Type
		name string
	}{{schema.TimestampNTZ, "timestampNtz"}, {schema.Variant, "variantType"}} {
		if fieldsOf(f.typ)(nil, s) != "" {
			names = append(names, f.name)
		}
	}
	return names
}

func (p *Protocol) withFeatures(names []string) *Protocol {
	for _, name := range names {
		if !p.supports(name) && !p.supports(name+"-preview") {
			p = p.withFeature(name)
		}
	}
	return p
}

// withFeature returns a protocol that supports the feature too. Source: protocol, "Table Features":
// whoever raises a legacy version lists what that version implied.
func (p *Protocol) withFeature(name string) *Protocol {
	f := features[indexFeature(name)]
	if p.has(f) {
		return p
	}
	up := &Protocol{MinReaderVersion: max(p.MinReaderVersion, f.minReader()), MinWriterVersion: featureWriter}
	for _, g := range features {
		if p.has(g) {
			up.WriterFeatures = append(up.WriterFeatures, g.name)
		}
	}
	if up.MinReaderVersion == featureReader {
		up.ReaderFeatures = slices.Clone(p.ReaderFeatures)
		for _, g := range features {
			if p.MinReaderVersion < featureReader && g.readerWriter && p.has(g) {
				up.ReaderFeatures = append(up.ReaderFeatures, g.name)
			}
		}
	}
	for _, unknown := range p.WriterFeatures {
		if !slices.Contains(up.WriterFeatures, unknown) {
			up.WriterFeatures = append(up.WriterFeatures, unknown)
		}
	}
	up.WriterFeatures = append(up.WriterFeatures, name)
	if f.readerWriter {
		up.ReaderFeatures = append(up.ReaderFeatures, name)
	}
	return up
}

// minReader is the reader version that a table needs to list the feature.
func (f feature) minReader() int {
	if f.readerWriter {
		return featureReader
	}
	return 1
}

// uses reports whether t is p, or an array or map of it.
func uses(t, p schema.Type) bool {
	switch t := t.(type) {
	case *schema.Array:
		return uses(t.Element, p)
	case *schema.Map:
		return uses(t.Key, p) || uses(t.Value, p)
	}
	return t == p
}
