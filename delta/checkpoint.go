package delta

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// checkpoint is a complete checkpoint of any form. Source: protocol, "Checkpoints".
type checkpoint struct {
	version int64
	parts   []objstore.Object // one, unless it is multi-part
}

// newCheckpoint returns the checkpoint that the objects of one version make up, or nil when none of
// them is complete.
func newCheckpoint(version int64, objects []objstore.Object) *checkpoint {
	multi := map[string][]objstore.Object{}
	var other *objstore.Object
	for _, o := range objects {
		m := checkpointName.FindStringSubmatch(strings.TrimPrefix(o.Key, logDir))
		switch {
		case o.Key == checkpointKey(version):
			return &checkpoint{version, []objstore.Object{o}}
		case m[3] != "":
			multi[m[3]] = append(multi[m[3]], o)
		default:
			other = &o
		}
	}
	if other != nil {
		return &checkpoint{version, []objstore.Object{*other}}
	}
	for of, parts := range multi {
		if fmt.Sprintf("%010d", len(parts)) == of {
			return &checkpoint{version, parts}
		}
	}
	return nil
}

// The columns of a checkpoint, one for each kind of action, as far as they are used.
// Source: protocol, "Checkpoint Schema".
var (
	stringMap  = &schema.Map{Key: schema.String, Value: schema.String, ValueContainsNull: true}
	stringList = &schema.Array{Element: schema.String, ContainsNull: true}

	dvColumn = schema.NewStruct(
		schema.Nullable("storageType", schema.String),
		schema.Nullable("pathOrInlineDv", schema.String),
		schema.Nullable("offset", schema.Integer),
		schema.Nullable("sizeInBytes", schema.Integer),
		schema.Nullable("cardinality", schema.Long))
	addColumn = schema.NewStruct(
		schema.Nullable("path", schema.String),
		schema.Nullable("partitionValues", stringMap),
		schema.Nullable("size", schema.Long),
		schema.Nullable("modificationTime", schema.Long),
		schema.Nullable("dataChange", schema.Boolean),
		schema.Nullable("stats", schema.String),
		schema.Nullable("tags", stringMap),
		schema.Nullable("deletionVector", dvColumn),
		schema.Nullable("baseRowId", schema.Long),
		schema.Nullable("defaultRowCommitVersion", schema.Long),
		schema.Nullable("clusteringProvider", schema.String))
	removeColumn = schema.NewStruct(
		schema.Nullable("path", schema.String),
		schema.Nullable("deletionTimestamp", schema.Long),
		schema.Nullable("dataChange", schema.Boolean),
		schema.Nullable("extendedFileMetadata", schema.Boolean),
		schema.Nullable("partitionValues", stringMap),
		schema.Nullable("size", schema.Long),
		schema.Nullable("deletionVector", dvColumn),
		schema.Nullable("baseRowId", schema.Long),
		schema.Nullable("defaultRowCommitVersion", schema.Long))
	metaDataColumn = schema.NewStruct(
		schema.Nullable("id", schema.String),
		schema.Nullable("name", schema.String),
		schema.Nullable("description", schema.String),
		schema.Nullable("format", schema.NewStruct(
			schema.Nullable("provider", schema.String),
			schema.Nullable("options", stringMap))),
		schema.Nullable("schemaString", schema.String),
		schema.Nullable("partitionColumns", stringList),
		schema.Nullable("configuration", stringMap),
		schema.Nullable("createdTime", schema.Long))
	protocolColumn = schema.NewStruct(
		schema.Nullable("minReaderVersion", schema.Integer),
		schema.Nullable("minWriterVersion", schema.Integer),
		schema.Nullable("readerFeatures", stringList),
		schema.Nullable("writerFeatures", stringList))
	txnColumn = schema.NewStruct(
		schema.Nullable("appId", schema.String),
		schema.Nullable("version", schema.Long),
		schema.Nullable("lastUpdated", schema.Long))
	domainColumn = schema.NewStruct(
		schema.Nullable("domain", schema.String),
		schema.Nullable("configuration", schema.String),
		schema.Nullable("removed", schema.Boolean))
	sidecarColumn = schema.NewStruct(
		schema.Nullable("path", schema.String),
		schema.Nullable("sizeInBytes", schema.Long))
)

// The actions of a checkpoint that are not about files, and those that are.
var (
	tableColumns = schema.NewStruct(
		schema.Nullable("protocol", protocolColumn),
		schema.Nullable("metaData", metaDataColumn),
		schema.Nullable("txn", txnColumn),
		schema.Nullable("domainMetadata", domainColumn),
		schema.Nullable("sidecar", sidecarColumn))
	addColumns    = schema.NewStruct(schema.Nullable("add", addColumn))
	removeColumns = schema.NewStruct(schema.Nullable("remove", removeColumn))
)

// table yields the checkpoint's actions that are not about files, sidecars included.
func (c *checkpoint) table(ctx context.Context, store objstore.Store) iter.Seq2[action, error] {
	return c.actions(ctx, store, c.parts, tableColumns)
}

// files yields the actions of the given columns, adds or removes, those in the sidecars too.
func (c *checkpoint) files(ctx context.Context, store objstore.Store, sidecars []sidecar, columns *schema.Struct) iter.Seq2[action, error] {
	files, err := c.withSidecars(sidecars)
	if err != nil {
		return func(yield func(action, error) bool) { yield(action{}, err) }
	}
	return c.actions(ctx, store, files, columns)
}

// withSidecars returns the files of the checkpoint. Whatever path a sidecar is named by, it is in the
// folder of sidecars. Source: protocol, "Sidecar File Information".
func (c *checkpoint) withSidecars(sidecars []sidecar) ([]objstore.Object, error) {
	files := slices.Clone(c.parts)
	for _, s := range sidecars {
		name, err := url.PathUnescape(s.Path[strings.LastIndexByte(s.Path, '/')+1:])
		if err != nil || name == "" || name == ".." || strings.Contains(name, "/") || s.SizeInBytes < 0 {
			return nil, &LogError{c.version, fmt.Sprintf("its checkpoint names a sidecar %q of %d bytes", s.Path, s.SizeInBytes)}
		}
		files = append(files, objstore.Object{Key: sidecarDir + name, Size: s.SizeInBytes})
	}
	return files, nil
}

// actions yields the actions of the given columns in the files.
func (c *checkpoint) actions(ctx context.Context, store objstore.Store, files []objstore.Object, columns *schema.Struct) iter.Seq2[action, error] {
	return func(yield func(action, error) bool) {
		for _, o := range files {
			read := readCheckpointParquet
			if strings.HasSuffix(o.Key, ".json") {
				read = readCheckpointJSON
			}
			for a, err := range read(ctx, store, o, columns) {
				if err != nil {
					err = fmt.Errorf("checkpoint %s: %w", strings.TrimPrefix(o.Key, logDir), err)
				}
				if !yield(a, err) || err != nil {
					return
				}
			}
		}
	}
}

func readCheckpointJSON(ctx context.Context, store objstore.Store, o objstore.Object, columns *schema.Struct) iter.Seq2[action, error] {
	return func(yield func(action, error) bool) {
		text, _, err := objstore.ReadAll(ctx, store, o.Key)
		if err != nil {
			yield(action{}, err)
			return
		}
		actions, err := parseActions(text)
		if err != nil {
			yield(action{}, err)
			return
		}
		for _, a := range actions {
			if columns.Index(a.kind()) >= 0 && !yield(a, nil) {
				return
			}
		}
	}
}

func (a action) kind() string {
	switch {
	case a.Add != nil:
		return "add"
	case a.Remove != nil:
		return "remove"
	case a.MetaData != nil:
		return "metaData"
	case a.Protocol != nil:
		return "protocol"
	case a.Txn != nil:
		return "txn"
	case a.DomainMetadata != nil:
		return "domainMetadata"
	case a.Sidecar != nil:
		return "sidecar"
	case a.CheckpointMetadata != nil:
		return "checkpointMetadata"
	case a.CommitInfo != nil:
		return "commitInfo"
	}
	return ""
}

func readCheckpointParquet(ctx context.Context, store objstore.Store, o objstore.Object, columns *schema.Struct) iter.Seq2[action, error] {
	return func(yield func(action, error) bool) {
		mem := memory.DefaultAllocator
		f, err := openParquet(ctx, mem, store, o.Key, o.Size)
		if err != nil {
			yield(action{}, err)
			return
		}
		err = f.skipNulls(keyLeaves(columns))
		columns := f.withParsedStats(columns)
		var cols []*column
		if err == nil {
			cols, err = readColumns(columns, "")
		}
		if err != nil {
			yield(action{}, err)
			return
		}
		for rec, err := range f.batches(ctx, cols, fillNull(mem)) {
			if err != nil {
				yield(action{}, err)
				return
			}
			for c, f := range columns.Fields {
				st := rec.Column(c).(*array.Struct)
				for i := range st.Len() {
					if a, ok := actionAt(f.Name, st, i); ok && !yield(a, nil) {
						return
					}
				}
			}
		}
	}
}

// keyLeaves returns the leaf of each kind of action that is never null in an action.
func keyLeaves(columns *schema.Struct) []string {
	leaves := make([]string, len(columns.Fields))
	for i, f := range columns.Fields {
		leaves[i] = f.Name + "." + f.Type.(*schema.Struct).Fields[0].Name
	}
	return leaves
}

// actionAt returns the action in row i of its column, if there is one. The first field of every kind
// is never null in an action.
func actionAt(kind string, st *array.Struct, i int) (action, bool) {
	if st.IsNull(i) || st.Field(0).IsNull(i) {
		return action{}, false
	}
	r := row{st, i}
	switch kind {
	case "add":
		a := &Add{
			Path: r.text(0), PartitionValues: r.values(1), Size: deref(r.long(2)), ModificationTime: deref(r.long(3)),
			DataChange: r.bool(4), Stats: r.text(5), Tags: r.texts(6), DeletionVector: r.deletionVector(7),
			BaseRowID: r.long(8), DefaultRowCommitVersion: r.long(9), ClusteringProvider: r.text(10),
		}
		if parsed := len(addColumn.Fields); a.Stats == "" && st.NumField() > parsed {
			a.Stats = statsText(st.Field(parsed), i)
		}
		return action{Add: a}, true
	case "remove":
		return action{Remove: &Remove{
			Path: r.text(0), DeletionTimestamp: r.long(1), DataChange: r.bool(2), ExtendedFileMetadata: r.bool(3),
			PartitionValues: r.values(4), Size: r.long(5), DeletionVector: r.deletionVector(6),
			BaseRowID: r.long(7), DefaultRowCommitVersion: r.long(8),
		}}, true
	case "metaData":
		format := row{st.Field(3).(*array.Struct), i}
		return action{MetaData: &Metadata{
			ID: r.text(0), Name: r.text(1), Description: r.text(2),
			Format:       Format{Provider: format.text(0), Options: format.texts(1)},
			SchemaString: r.text(4), PartitionColumns: r.list(5), Configuration: r.texts(6), CreatedTime: r.long(7),
		}}, true
	case "protocol":
		return action{Protocol: &Protocol{
			MinReaderVersion: r.int(0), MinWriterVersion: r.int(1), ReaderFeatures: r.list(2), WriterFeatures: r.list(3),
		}}, true
	case "txn":
		return action{Txn: &Txn{AppID: r.text(0), Version: deref(r.long(1)), LastUpdated: r.long(2)}}, true
	case "domainMetadata":
		return action{DomainMetadata: &DomainMetadata{Domain: r.text(0), Configuration: r.text(1), Removed: r.bool(2)}}, true
	case "sidecar":
		return action{Sidecar: &sidecar{Path: r.text(0), SizeInBytes: deref(r.long(1))}}, true
	}
	return action{}, false
}

// row reads the fields of one value of a struct column; null is the zero value.
type row struct {
	st *array.Struct
	i  int
}

func (r row) text(f int) string {
	if a := r.st.Field(f).(*array.String); a.IsValid(r.i) {
		return strings.Clone(a.Value(r.i))
	}
	return ""
}

func (r row) long(f int) *int64 {
	if a := r.st.Field(f).(*array.Int64); a.IsValid(r.i) {
		v := a.Value(r.i)
		return &v
	}
	return nil
}

func (r row) int(f int) int {
	if a := r.st.Field(f).(*array.Int32); a.IsValid(r.i) {
		return int(a.Value(r.i))
	}
	return 0
}

func (r row) bool(f int) bool {
	a := r.st.Field(f).(*array.Boolean)
	return a.IsValid(r.i) && a.Value(r.i)
}

func (r row) list(f int) []string {
	a := r.st.Field(f).(*array.List)
	if a.IsNull(r.i) {
		return nil
	}
	values := a.ListValues().(*array.String)
	out := []string{}
	for from, to := a.ValueOffsets(r.i); from < to; from++ {
		out = append(out, strings.Clone(values.Value(int(from))))
	}
	return out
}

// values returns a map whose values can be null.
func (r row) values(f int) map[string]*string {
	a := r.st.Field(f).(*array.Map)
	if a.IsNull(r.i) {
		return nil
	}
	keys, items := a.Keys().(*array.String), a.Items().(*array.String)
	out := map[string]*string{}
	for from, to := a.ValueOffsets(r.i); from < to; from++ {
		key := strings.Clone(keys.Value(int(from)))
		out[key] = nil
		if items.IsValid(int(from)) {
			v := strings.Clone(items.Value(int(from)))
			out[key] = &v
		}
	}
	return out
}

func (r row) texts(f int) map[string]string {
	values := r.values(f)
	if values == nil {
		return nil
	}
	out := make(map[string]string, len(values))
	for k, v := range values {
		out[k] = deref(v)
	}
	return out
}

func (r row) deletionVector(f int) *DeletionVectorDescriptor {
	st := r.st.Field(f).(*array.Struct)
	if st.IsNull(r.i) || st.Field(0).IsNull(r.i) {
		return nil
	}
	d := row{st, r.i}
	dv := &DeletionVectorDescriptor{StorageType: d.text(0), PathOrInlineDV: d.text(1), SizeInBytes: int32(d.int(3)), Cardinality: deref(d.long(4))}
	if st.Field(2).IsValid(r.i) {
		offset := int32(d.int(2))
		dv.Offset = &offset
	}
	return dv
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
