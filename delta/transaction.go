package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Transaction is one change of a table: what it says becomes the table's next version, as a whole or
// not at all. It belongs to one goroutine.
type Transaction struct {
	store     objstore.Store
	operation string
	read      *Snapshot // nil when the table does not exist yet
	created   *Metadata // of NewTable
	exclusive bool      // see TableOptions
	incoming  *schema.Struct
	adds      []*Add
	removes   []*Remove
	changes   []*ChangeFile
	txns      []Txn
	nonce     string
	details   CommitDetails
	numbers   bool     // WidenNumbers
	special   *special // of maintenance; nil for a change of rows
	reads     func(*Add) bool
	readRows  anyOf // what Read was given
	vectors   vectorWriter
	onlyMoves bool      // see moves
	replaces  condition // of Replace; nil when it was not called
	kept      int       // of the adds, those that hold rows which Replace left
	told      int       // of the adds, those about whose rows the change data files tell
	replaced  *replacedSchema
	keepsIDs  bool // KeepsRowIDs

	plan plan
	// files is the context that was given out, under which the data files are written.
	files   *WriteContext
	already bool
	inTable bool // see InTable
}

// plan is what a transaction makes of the metadata and the protocol of the version it builds on.
type plan struct {
	schema                       *schema.Struct
	metadata                     *Metadata
	protocol                     *Protocol
	metadataChanged, protoChange bool
}

// CommitDetails go into the commitInfo of the transaction.
type CommitDetails struct {
	Parameters   map[string]string
	Metrics      map[string]string // beside those that are counted
	UserMetadata string
}

// TableOptions describe a new table.
type TableOptions struct {
	Schema      *schema.Struct
	PartitionBy []string
	Properties  map[string]string
	Name        string
	Description string
	// Exclusive makes the commit fail with a [ConflictError] when somebody else makes a table there meanwhile.
	Exclusive bool
}

// NewTable starts the transaction that makes a table at the root of the store. When somebody else makes
// one there meanwhile, the commit adds to that one, if the files fit and the table need not be new.
func NewTable(store objstore.Store, o TableOptions) (*Transaction, error) {
	t := &Transaction{store: store, incoming: o.Schema, exclusive: o.Exclusive}
	now := millis(time.Now())
	t.created = &Metadata{
		ID: uuid.NewString(), Name: o.Name, Description: o.Description,
		Format:           Format{Provider: "parquet", Options: map[string]string{}},
		PartitionColumns: append([]string{}, o.PartitionBy...), Configuration: map[string]string{}, CreatedTime: &now,
	}
	maps.Copy(t.created.Configuration, o.Properties)
	free := maps.Clone(o.Properties)
	maps.DeleteFunc(free, func(name, _ string) bool { return strings.HasPrefix(name, "delta.constraints.") }) // no row breaks them yet
	if err := CheckProperties(free); err != nil {
		return nil, err
	}
	if err := checkNewTable(t.created, o.Schema); err != nil {
		return nil, err
	}
	var err error
	t.plan, err = t.makePlan(nil)
	return t, err
}

func checkNewTable(m *Metadata, s *schema.Struct) error {
	for i, name := range m.PartitionColumns {
		j := s.IndexFold(name)
		if j < 0 {
			return fmt.Errorf("partition column %s is not in the schema", schema.Quote(name))
		}
		if !schema.IsScalar(s.Fields[j].Type) || s.Fields[j].Type == schema.Void || s.Fields[j].Type == schema.Variant {
			return fmt.Errorf("partition column %s is %s, want a scalar", schema.Quote(name), s.Fields[j].Type)
		}
		m.PartitionColumns[i] = s.Fields[j].Name
	}
	return checkNames(nil, s)
}

// checkNames refuses two fields of one struct whose names differ only by case.
func checkNames(path []string, t schema.Type) (err error) {
	if s, ok := t.(*schema.Struct); ok {
		seen := map[string]bool{}
		for _, f := range s.Fields {
			if seen[schema.Fold(f.Name)] {
				return fmt.Errorf("column %s is there twice", schema.Path(append(path, f.Name)...))
			}
			seen[schema.Fold(f.Name)] = true
		}
	}
	walkFields(path, t, func(at []string, f schema.Field) {
		if s, ok := f.Type.(*schema.Struct); ok && err == nil && len(at) == len(path)+1 {
			err = checkNames(at, s)
		}
	})
	return err
}

// Begin starts a transaction on the snapshot. The operation is what the history shows, such as WRITE.
func (s *Snapshot) Begin(operation string) *Transaction {
	return &Transaction{store: s.store, operation: operation, read: s,
		plan: plan{schema: s.schema, metadata: s.metadata, protocol: s.protocol}}
}

// SetSchema lets the table's schema grow by what incoming has more, as [schema.Merge] says. When the
// commit has to build on a later version, it is merged with that one's schema.
//
// The schema of a [WriteContext] brings the physical names and ids that were assigned to new columns:
// a transaction that adds files which were written under another one's context is given that context's
// schema, and the commit fails rather than add files that do not fit.
func (t *Transaction) SetSchema(incoming *schema.Struct) error {
	before := t.incoming
	t.incoming = incoming
	p, err := t.makePlan(t.read)
	if err != nil {
		t.incoming = before
		return err
	}
	t.plan, t.files = p, nil
	return nil
}

// Add makes data files part of the table. It keeps the files.
func (t *Transaction) Add(files ...*Add) {
	for _, f := range files {
		f.PartitionValues = notNil(f.PartitionValues)
	}
	t.adds = append(t.adds, files...)
}

// Remove takes data files out of the table.
func (t *Transaction) Remove(files ...*Remove) { t.removes = append(t.removes, files...) }

// SetReads makes the transaction one that depends on rows it has read, and not only on the files it
// removes. The commit fails with a [ConflictError] when meanwhile the table's metadata changed, or
// somebody added rows in a file for which concerns is true. The history shows of such a transaction the
// parameters and metrics that it is given, and no others.
func (t *Transaction) SetReads(concerns func(*Add) bool) { t.reads = concerns }

// Read makes the transaction one that depends on the rows for which p is true; nil is all rows. The
// commit fails with a [ConflictError] when meanwhile the table's metadata changed, when somebody removed
// files that may hold such rows, or added some. Under the isolation level WriteSerializable, which is the
// default and can be set to Serializable by the property delta.isolationLevel, files that were added by
// one who had read nothing do not count: they are taken to have come after this transaction.
func (t *Transaction) Read(p Predicate) error {
	if t.read == nil {
		return errors.New("a table that does not exist yet has no rows")
	}
	if p == nil {
		p = And{}
	}
	c, err := t.read.binder().predicate(p)
	if err == nil {
		t.readRows = append(t.readRows, c)
	}
	return err
}

// dependent reports whether the transaction depends on what it has read.
func (t *Transaction) dependent() bool { return t.reads != nil || len(t.readRows) > 0 }

// SetTxn notes that the application has written its version. Versions of one application grow: a
// table that has this version, or a later one, has the change.
func (t *Transaction) SetTxn(appID string, version int64) {
	now := millis(time.Now())
	t.txns = slices.DeleteFunc(t.txns, func(x Txn) bool { return x.AppID == appID })
	t.txns = append(t.txns, Txn{AppID: appID, Version: version, LastUpdated: &now})
}

// SetNonce sets the mark by which the commit knows its own entry. A change that may be committed again,
// by this process or another, keeps its nonce. By default it is random.
func (t *Transaction) SetNonce(nonce string) { t.nonce = nonce }

// SetCommitInfo sets what the history shows of the commit.
func (t *Transaction) SetCommitInfo(d CommitDetails) { t.details = d }

// Schema returns the schema that the table has after the commit.
func (t *Transaction) Schema() *schema.Struct { return t.plan.schema }

// AlreadyCommitted reports, after a commit, that the table had the change before, from an earlier try.
func (t *Transaction) AlreadyCommitted() bool { return t.already }

// InTable reports, after a commit, that the version which has the change names the files of this
// transaction. It does not when another try made the change, of files of its own; then nothing names these.
func (t *Transaction) InTable() bool { return t.inTable }

// WriteContext returns what is needed to write data files for the transaction. For a table that cannot
// be written it says why, and [NewDataWriter] refuses it.
func (t *Transaction) WriteContext() WriteContext {
	m := t.plan.metadata
	wc := WriteContext{
		Schema: t.plan.schema, Mapping: columnMapping(t.plan.protocol, m), PartitionBy: m.PartitionColumns,
		Codec: "zstd", TargetSize: 128 << 20, TightBounds: t.plan.protocol.supports("deletionVectors"),
	}
	wc.RowIDColumn, wc.RowVersionColumn = rowColumns(t.plan.protocol, m)
	if codec := m.Configuration[propCodec]; codec != "" {
		wc.Codec = codec
	}
	if size, err := parseSize(m.Configuration[propTargetFileSize]); err == nil && size > 0 {
		wc.TargetSize = size
	}
	var err error
	if wc.Stats, err = m.statsColumns(); err == nil && t.read != nil {
		wc.Stats.Always, err = t.read.clusteringPaths()
	}
	wc.Stats.Always = append(wc.Stats.Always, identityPaths(t.plan.schema)...)
	switch {
	case err != nil:
	case t.moves():
		err = t.plan.protocol.checkMaintain()
	default:
		err = t.plan.protocol.checkAppend(m, t.plan.schema)
	}
	if t.moves() {
		wc.Schema = withoutMetadata(wc.Schema, metaGenerated, metaIdentity) // the rows have these values
	} else if err == nil {
		wc.NeedsSQL = needsSQL(m, t.plan.schema)
		wc.Constraints, err = constraints(m, t.plan.schema)
	}
	if err != nil {
		wc.Refused, wc.refusal = err.Error(), err
	}
	t.files = &wc
	return wc
}

// moves reports whether the files that are added hold only rows that were in the table before.
func (t *Transaction) moves() bool { return t.special != nil || t.onlyMoves }

// KeepsRowIDs says that rows which were in the table before are in new files under the ids that they had,
// see [Snapshot.TracksRows]. The history shows it.
func (t *Transaction) KeepsRowIDs() { t.keepsIDs = true }

// WrittenUnder says that the files to be added were written under a context that another transaction gave
// out, so that the table's rules for rows have been applied. The commit fails when it has others by now.
func (t *Transaction) WrittenUnder(wc WriteContext) error {
	if err := t.SetSchema(wc.Schema); err != nil {
		return err
	}
	t.files = &wc
	return nil
}

// checkRules fails when rows are added that have not been held against the rules of the table.
func (t *Transaction) checkRules(p plan, version int64) error {
	needs := needsSQL(p.metadata, p.schema)
	if len(needs) == 0 || len(t.adds) == 0 || t.moves() {
		return nil
	}
	if t.files == nil {
		return &UnsupportedError{"write", needs}
	}
	now, err := constraints(p.metadata, p.schema)
	if err != nil {
		return err
	}
	if !slices.Equal(now, t.files.Constraints) || !slices.Equal(needs, t.files.NeedsSQL) {
		return &ConflictError{MetadataChanged, version, "the table has other constraints than the rows were checked by"}
	}
	return nil
}

// makePlan decides what becomes of metadata and protocol on top of a snapshot; nil is no table.
func (t *Transaction) makePlan(base *Snapshot) (plan, error) {
	if base == nil {
		return t.planNew()
	}
	if err := t.checkWrite(base); err != nil {
		return plan{}, err
	}
	if t.replaced != nil {
		return t.planReplaced(base)
	}
	p := plan{schema: base.schema, metadata: base.metadata, protocol: base.protocol}
	if t.incoming == nil {
		return p, nil
	}
	mode := base.columnMapping()
	incoming, err := checkMapping(base, t.incoming, mode)
	if err != nil {
		return plan{}, err
	}
	merged, err := schema.Merge(base.schema, incoming)
	if err != nil {
		return plan{}, err
	}
	if base.metadata.isTrue(propTypeWidening) && base.protocol.widening() {
		if merged, err = t.widening().fields(merged, incoming); err != nil {
			return plan{}, err
		}
	}
	if schema.Equal(merged, base.schema) {
		return p, nil
	}
	if path := NeedsMapping(merged); path != "" && mode == "" && NeedsMapping(base.schema) == "" {
		return plan{}, &NameError{path}
	}
	return p.evolve(merged, mode)
}

// A NameError means that a table whose columns are not mapped cannot have a field of this name.
type NameError struct{ Path string }

func (e *NameError) Error() string {
	return fmt.Sprintf("column %s: a name with one of the characters %q needs column mapping, which the table does not have", e.Path, invalidNameChars)
}

// evolve returns the plan with a new schema.
func (p plan) evolve(s *schema.Struct, mode string) (plan, error) {
	m := *p.metadata
	if mode != "" {
		var err error
		if s, m.Configuration, err = mapColumns(s, m.Configuration); err != nil {
			return plan{}, err
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return plan{}, err
	}
	m.SchemaString = string(text)
	p.schema, p.metadata, p.metadataChanged = s, &m, true
	up := p.protocol.withFeatures(typeFeatures(s))
	p.protoChange = p.protoChange || up != p.protocol
	p.protocol = up
	return p, p.protocol.checkAppend(&m, s)
}

func (t *Transaction) planNew() (plan, error) {
	m := *t.created
	m.Configuration = maps.Clone(m.Configuration)
	s, mode := t.incoming, m.Configuration[propMappingMode]
	if mode == "none" {
		mode = ""
	}
	if mode == "" && (NeedsMapping(s) != "" || hasPhysicalNames(s)) {
		mode = mappingName
		m.Configuration[propMappingMode] = mode
	}
	protocol := newProtocol(&m, s, mode != "")
	p := plan{metadata: &m, protocol: protocol.withSwitches(&m), protoChange: true}
	if p.protocol.supports("rowTracking") {
		nameRowColumns(&m)
	}
	p, err := p.evolve(s, mode)
	if err != nil {
		return p, err
	}
	// A second plan must not assign other names than those that files may have been written with.
	t.incoming = p.schema
	return p, nil
}

// hasPhysicalNames reports whether the schema is that of a write context of a mapped table.
func hasPhysicalNames(s *schema.Struct) bool {
	found := false
	walkFields(nil, s, func(_ []string, f schema.Field) { found = found || f.Metadata[metaPhysicalName] != nil })
	return found
}

// fits fails when data files written under the schema do not fit a table of the plan.
func (p plan) fits(files *schema.Struct, mode string) error {
	table, wide := p.schema, p.protocol.widening()
	var err error
	fitFields(nil, files, table, func(at []string, f schema.Field, in *schema.Field) {
		switch {
		case err != nil:
		case in == nil:
			err = fmt.Errorf("column %s is gone", schema.Path(at...))
		case f.Type == schema.Void: // no file holds it
		case schema.IsScalar(f.Type) && f.Type != in.Type && !(wide && (widens(f.Type, in.Type) || widensNumber(f.Type, in.Type))),
			!schema.IsScalar(f.Type) && fmt.Sprintf("%T", f.Type) != fmt.Sprintf("%T", in.Type):
			err = fmt.Errorf("column %s is %s and no longer %s", schema.Path(at...), in.Type, f.Type)
		case mode != "":
			if writtenName(f) != writtenName(*in) {
				err = fmt.Errorf("column %s has another physical name", schema.Path(at...))
			}
		}
	})
	return err
}

// fitFields visits each field of files together with the table's of the same path, or nil.
func fitFields(path []string, files, table schema.Type, visit func(path []string, f schema.Field, in *schema.Field)) {
	part := func(name string, a, b schema.Type) {
		at := append(path[:len(path):len(path)], name)
		visit(at, schema.Field{Type: a}, &schema.Field{Type: b})
		fitFields(at, a, b, visit)
	}
	switch files := files.(type) {
	case *schema.Struct:
		in, ok := table.(*schema.Struct)
		if !ok {
			return
		}
		for _, f := range files.Fields {
			at := append(path[:len(path):len(path)], f.Name)
			i := in.IndexFold(f.Name)
			if i < 0 {
				visit(at, f, nil)
				continue
			}
			visit(at, f, &in.Fields[i])
			fitFields(at, f.Type, in.Fields[i].Type, visit)
		}
	case *schema.Array:
		if in, ok := table.(*schema.Array); ok {
			part("element", files.Element, in.Element)
		}
	case *schema.Map:
		if in, ok := table.(*schema.Map); ok {
			part("key", files.Key, in.Key)
			part("value", files.Value, in.Value)
		}
	}
}

// checkMapping fails when the incoming schema brings physical names that contradict the table's, and
// returns it with new ids where others have taken them meanwhile. Ids can change as long as columns are
// found by name.
func checkMapping(base *Snapshot, incoming *schema.Struct, mode string) (*schema.Struct, error) {
	clash := func(at []string, what string) error {
		return &ConflictError{Kind: MetadataChanged, Version: base.version,
			Reason: fmt.Sprintf("column %s %s than the files were written with", schema.Path(at...), what)}
	}
	ids, names := map[int64]bool{}, map[string]bool{}
	walkFields(nil, base.schema, func(_ []string, f schema.Field) {
		if id, ok := f.MetadataInt(metaColumnID); ok {
			ids[id] = true
		}
		if name, ok := f.MetadataString(metaPhysicalName); ok {
			names[name] = true
		}
	})
	var err error
	drop := map[string]bool{} // paths of new fields whose id is taken
	fitFields(nil, incoming, base.schema, func(at []string, f schema.Field, in *schema.Field) {
		name, ok := f.MetadataString(metaPhysicalName)
		if !ok || err != nil {
			return
		}
		id, _ := f.MetadataInt(metaColumnID)
		if in != nil {
			have, mapped := in.MetadataString(metaPhysicalName)
			if !mapped || mode == "" {
				have = in.Name
			}
			if have != name {
				err = clash(at, "has another physical name")
			}
			return
		}
		switch {
		case mode == "":
			err = clash(at, "is not mapped, unlike the schema")
		case names[name]:
			err = clash(at, "has a physical name that is taken, so it is other")
		case ids[id] && mode == mappingID:
			err = clash(at, "has another id")
		case ids[id]:
			drop[schema.Path(at...)] = true
		}
	})
	if err != nil || len(drop) == 0 {
		return incoming, err
	}
	return dropIDs(incoming, drop)
}

// dropIDs takes the ids, and not the physical names, of the fields at the paths away.
func dropIDs(s *schema.Struct, paths map[string]bool) (*schema.Struct, error) {
	out, err := rewritePaths(nil, s, func(at []string, f schema.Field) schema.Field {
		if paths[schema.Path(at...)] {
			f.Metadata = maps.Clone(f.Metadata)
			delete(f.Metadata, metaColumnID)
		}
		return f
	})
	return out.(*schema.Struct), err
}

func rewritePaths(path []string, t schema.Type, f func([]string, schema.Field) schema.Field) (schema.Type, error) {
	step := func(name string) []string { return append(path[:len(path):len(path)], name) }
	switch t := t.(type) {
	case *schema.Struct:
		out := &schema.Struct{Fields: slices.Clone(t.Fields)}
		for i, field := range out.Fields {
			field = f(step(field.Name), field)
			var err error
			if field.Type, err = rewritePaths(step(field.Name), field.Type, f); err != nil {
				return nil, err
			}
			out.Fields[i] = field
		}
		return out, nil
	case *schema.Array:
		e, err := rewritePaths(step("element"), t.Element, f)
		return &schema.Array{Element: e, ContainsNull: t.ContainsNull}, err
	case *schema.Map:
		k, err := rewritePaths(step("key"), t.Key, f)
		if err != nil {
			return nil, err
		}
		v, err := rewritePaths(step("value"), t.Value, f)
		return &schema.Map{Key: k, Value: v, ValueContainsNull: t.ValueContainsNull}, err
	}
	return t, nil
}

// parseSize reads a number of bytes, or one with a unit, such as 256mb.
func parseSize(text string) (int64, error) {
	i := 0
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	n, err := strconv.ParseInt(text[:i], 10, 64)
	if err != nil {
		return 0, err
	}
	switch text[i:] {
	case "", "b":
		return n, nil
	case "k", "kb":
		return n << 10, nil
	case "m", "mb":
		return n << 20, nil
	case "g", "gb":
		return n << 30, nil
	}
	return 0, errors.New("unknown unit")
}
