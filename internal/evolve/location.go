package evolve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Version is a schema that a source had from some batch on.
type Version struct {
	Number int64 `json:"-"`
	// Schema holds the columns of the data, without the rescued data and lineage.
	Schema *schema.Struct `json:"-"`
	// Partitions are the columns whose values stand in folders k=v; nil is none.
	Partitions *schema.Struct `json:"-"`

	WrittenAt time.Time `json:"writtenAt"`
	// Reason is "inferred", "new fields", "new fields refused", "too many fields", "wider types", "given",
	// "hints", "partition columns", "transform" or "rollback".
	Reason string `json:"reason"`
	Batch  int64  `json:"batch"`
	// Query is the id of the checkpoint whose batch wrote the version.
	Query   string   `json:"query"`
	Added   []Field  `json:"added,omitempty"`
	Widened []Field  `json:"widened,omitempty"`
	Pending []string `json:"pending,omitempty"`
	// Wide are the objects with too many fields, and those that would better be maps.
	Wide []Wide `json:"wide,omitempty"`
	// Transform is the digest of the SQL in force, empty for none.
	Transform string `json:"transform,omitempty"`
	// Uncarried are the paths of fields that came after the transform was accepted and that it does
	// not carry into the table. They are read as if they had no column, so that they are rescued.
	Uncarried []string `json:"uncarried,omitempty"`
}

// versionHeader is the first line of a version. Source: Auto Loader's files in _schemas.
const versionHeader = "v1"

// MarshalText writes the version as it is kept.
func (v *Version) MarshalText() ([]byte, error) {
	data, err := json.Marshal(v.Schema)
	if err != nil {
		return nil, err
	}
	partitions := v.Partitions
	if partitions == nil {
		partitions = &schema.Struct{}
	}
	folders, err := json.Marshal(partitions)
	if err != nil {
		return nil, err
	}
	type plain Version // without the methods
	text, err := json.Marshal(struct {
		DataSchemaJSON      string `json:"dataSchemaJson"`
		PartitionSchemaJSON string `json:"partitionSchemaJson"`
		*plain
	}{string(data), string(folders), (*plain)(v)})
	return append(append([]byte(versionHeader+"\n"), text...), '\n'), err
}

// UnmarshalText reads a version.
func (v *Version) UnmarshalText(text []byte) error {
	header, body, _ := bytes.Cut(text, []byte("\n"))
	if string(bytes.TrimSpace(header)) != versionHeader {
		return fmt.Errorf("starts with %q, want %q", header, versionHeader)
	}
	type plain Version
	in := struct {
		DataSchemaJSON      string `json:"dataSchemaJson"`
		PartitionSchemaJSON string `json:"partitionSchemaJson"`
		*plain
	}{plain: (*plain)(v)}
	if err := json.Unmarshal(body, &in); err != nil {
		return err
	}
	s, err := schema.ParseJSON([]byte(in.DataSchemaJSON))
	if err != nil {
		return fmt.Errorf("dataSchemaJson: %w", err)
	}
	v.Schema = s
	if in.PartitionSchemaJSON != "" {
		if v.Partitions, err = schema.ParseJSON([]byte(in.PartitionSchemaJSON)); err != nil {
			return fmt.Errorf("partitionSchemaJson: %w", err)
		}
		if len(v.Partitions.Fields) == 0 {
			v.Partitions = nil
		}
	}
	for i, f := range v.Added {
		if v.Added[i].Type, err = schema.ParseType(f.DDL); err != nil {
			return fmt.Errorf("added: %w", err)
		}
	}
	for i, f := range v.Widened {
		if v.Widened[i].Type, err = schema.ParseType(f.DDL); err != nil {
			return fmt.Errorf("widened: %w", err)
		}
	}
	return nil
}

// Read is the schema of the rows that are read: with the columns that folders fill, and without the
// fields that the transform does not carry.
func (v *Version) Read() *schema.Struct {
	s := withPartitions(v.Schema, v.Partitions)
	for _, at := range v.Uncarried {
		if path, err := schema.ParsePath(at); err == nil {
			s = without(s, path).(*schema.Struct)
		}
	}
	return s
}

// Data is the schema of the data. A column that folders fill has the type of the folders' values.
func (v *Version) Data() *schema.Struct {
	if v.Partitions == nil {
		return v.Schema
	}
	out := v.Schema.Append()
	for i, f := range out.Fields {
		if k := v.Partitions.IndexFold(f.Name); k >= 0 {
			out.Fields[i].Type = v.Partitions.Fields[k].Type
		}
	}
	return out
}

// without returns t less the field at path.
func without(t schema.Type, path []string) schema.Type {
	switch t := t.(type) {
	case *schema.Struct:
		i := t.Index(path[0])
		if i < 0 {
			return t
		}
		out := &schema.Struct{}
		for k, f := range t.Fields {
			if k == i && len(path) == 1 {
				continue
			}
			if k == i {
				f.Type = without(f.Type, path[1:])
			}
			out.Fields = append(out.Fields, f)
		}
		return out
	case *schema.Array:
		if path[0] == "element" && len(path) > 1 {
			return &schema.Array{Element: without(t.Element, path[1:]), ContainsNull: t.ContainsNull}
		}
	case *schema.Map:
		if path[0] == "value" && len(path) > 1 {
			return &schema.Map{Key: t.Key, Value: without(t.Value, path[1:]), ValueContainsNull: t.ValueContainsNull}
		}
	}
	return t
}

// Location keeps the versions of one source, as objects 0, 1, 2 … below a prefix. A version is written
// once and never changed.
type Location struct {
	store  objstore.Store
	prefix string
}

// NewLocation returns the schema location whose versions are below prefix, which ends in a slash.
func NewLocation(store objstore.Store, prefix string) *Location { return &Location{store, prefix} }

func (l *Location) key(n int64) string { return l.prefix + strconv.FormatInt(n, 10) }

// ErrNoVersion means that a version was never written.
var ErrNoVersion = errors.New("there is no such version of the schema")

// Version returns version n.
func (l *Location) Version(ctx context.Context, n int64) (*Version, error) {
	text, _, err := objstore.ReadAll(ctx, l.store, l.key(n))
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, fmt.Errorf("%d: %w", n, ErrNoVersion)
	}
	if err != nil {
		return nil, err
	}
	v := &Version{Number: n}
	if err := v.UnmarshalText(text); err != nil {
		return nil, fmt.Errorf("schema version %s: %w", l.key(n), err)
	}
	return v, nil
}

// Latest returns the newest version, or nil when there is none.
func (l *Location) Latest(ctx context.Context) (*Version, error) {
	newest := int64(-1)
	for o, err := range l.store.List(ctx, l.prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list schema versions: %w", err)
		}
		if n, err := strconv.ParseInt(strings.TrimPrefix(o.Key, l.prefix), 10, 64); err == nil {
			newest = max(newest, n)
		}
	}
	if newest < 0 {
		return nil, nil
	}
	return l.Version(ctx, newest)
}

// History returns all versions, the oldest first.
func (l *Location) History(ctx context.Context) ([]*Version, error) {
	last, err := l.Latest(ctx)
	if last == nil || err != nil {
		return nil, err
	}
	var all []*Version
	for n := range last.Number {
		v, err := l.Version(ctx, n)
		if errors.Is(err, ErrNoVersion) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return append(all, last), nil
}

// ErrVersionTaken means that somebody else has written another schema under the number.
var ErrVersionTaken = errors.New("another schema has this version already")

// Put writes a version under its number. Writing the same batch's version again does nothing.
func (l *Location) Put(ctx context.Context, v *Version) error {
	text, err := v.MarshalText()
	if err != nil {
		return err
	}
	_, err = objstore.PutBytes(ctx, l.store, l.key(v.Number), text, objstore.Cond{IfAbsent: true})
	if err == nil {
		return nil
	}
	// The answer to an earlier try of this put may have been lost, so what is there decides.
	there, readErr := l.Version(ctx, v.Number)
	switch {
	case readErr != nil && errors.Is(err, objstore.ErrPrecondition): // whose it is, is not known for this reason
		return readErr
	case readErr != nil:
		return fmt.Errorf("schema version %d: %w", v.Number, err)
	case there.Query != v.Query || there.Batch != v.Batch:
		return fmt.Errorf("%s (batch %d of query %s): %w", l.key(v.Number), there.Batch, there.Query, ErrVersionTaken)
	}
	return nil
}
