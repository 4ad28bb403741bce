package silt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/schema"
)

// SchemaDiff is how one version of a source schema differs from an earlier one.
type SchemaDiff struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Added are fields that To has and From lacks. A field below an added one is not listed by itself.
	Added   []AddedField   `json:"added,omitempty"`
	Removed []NewField     `json:"removed,omitempty"`
	Changed []ChangedField `json:"changed,omitempty"`
}

// Empty reports whether the versions are the same.
func (d *SchemaDiff) Empty() bool { return len(d.Added)+len(d.Removed)+len(d.Changed) == 0 }

// AddedField is a field and the version that brought it.
type AddedField struct {
	NewField
	Version int64 `json:"version"`
	// Uncarried means that the transform does not carry it into the table.
	Uncarried bool `json:"uncarried,omitempty"`
}

// ChangedField is a field whose type is another one.
type ChangedField struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// DiffSchemas compares two of the versions of a source schema, which are the oldest first.
func DiffSchemas(versions []SchemaVersion, from, to int64) (*SchemaDiff, error) {
	i, err := findVersion(versions, from)
	if err != nil {
		return nil, err
	}
	k, err := findVersion(versions, to)
	if err != nil {
		return nil, err
	}
	before, after := versions[i], versions[k]
	d := &SchemaDiff{From: from, To: to}
	for _, a := range schema.Additions(before.Schema, after.Schema) {
		f := AddedField{NewField: NewField{Path: schema.Path(a.Path...), DDL: a.Type.String()}, Version: to}
		f.Uncarried = slices.Contains(after.Uncarried, f.Path)
		for _, v := range versions[min(i, k)+1 : max(i, k)+1] {
			if n := slices.IndexFunc(v.Added, func(n NewField) bool { return n.Path == f.Path }); n >= 0 {
				f.Version, f.File, f.Line, f.Rows = v.Version, v.Added[n].File, v.Added[n].Line, v.Added[n].Rows
				break
			}
			if slices.Contains(v.Uncarried, f.Path) {
				f.Version = v.Version
				break
			}
		}
		d.Added = append(d.Added, f)
	}
	for _, r := range schema.Additions(after.Schema, before.Schema) {
		d.Removed = append(d.Removed, NewField{Path: schema.Path(r.Path...), DDL: r.Type.String()})
	}
	d.Changed = changed(nil, before.Schema, after.Schema, nil)
	return d, nil
}

// ErrNoSchemaVersion means that a source schema has no such version.
var ErrNoSchemaVersion = errors.New("there is no such version of the source schema")

func findVersion(versions []SchemaVersion, n int64) (int, error) {
	i := slices.IndexFunc(versions, func(v SchemaVersion) bool { return v.Version == n })
	if i < 0 {
		return i, fmt.Errorf("version %d: %w", n, ErrNoSchemaVersion)
	}
	return i, nil
}

// changed lists the fields that both schemas have with other types.
func changed(path []string, before, after schema.Type, out []ChangedField) []ChangedField {
	step := func(name string) []string { return append(slices.Clip(path), name) }
	switch b := before.(type) {
	case *schema.Struct:
		if a, ok := after.(*schema.Struct); ok {
			for _, f := range b.Fields {
				if i := a.IndexFold(f.Name); i >= 0 {
					out = changed(step(f.Name), f.Type, a.Fields[i].Type, out)
				}
			}
			return out
		}
	case *schema.Array:
		if a, ok := after.(*schema.Array); ok {
			return changed(step("element"), b.Element, a.Element, out)
		}
	case *schema.Map:
		if a, ok := after.(*schema.Map); ok {
			return changed(step("value"), b.Value, a.Value, changed(step("key"), b.Key, a.Key, out))
		}
	default:
		if before == after {
			return out
		}
	}
	return append(out, ChangedField{schema.Path(path...), before.String(), after.String()})
}

// An UnfinishedError says that a batch must be finished before the schema may change.
type UnfinishedError struct {
	Pipeline string
	Batch    int64
}

func (e *UnfinishedError) Error() string {
	return fmt.Sprintf("pipeline %s: batch %d is not finished", e.Pipeline, e.Batch)
}

// RollbackSchema makes an earlier version of the source schema the newest one, by writing it again under
// the next number, which it returns. The table keeps its columns; records are read by that schema from
// the next batch on, which adds fields it meets anew as the mode of the pipeline has it. The lease of
// the pipeline is held meanwhile. When the newest version is the same already, nothing is written.
func RollbackSchema(ctx context.Context, s *State, version int64) (int64, error) {
	host, _ := os.Hostname()
	log, err := checkpoint.Open(ctx, s.store, "", checkpoint.Options{
		Pipeline: s.Pipeline, Owner: fmt.Sprintf("%s:%d", host, os.Getpid()),
	})
	if err != nil {
		return 0, err
	}
	defer log.Close()
	for b, err := range log.Batches(ctx) {
		if err != nil {
			return 0, err
		}
		if b.Commits == nil { // it has chosen the number of its schema
			return 0, &UnfinishedError{s.Pipeline, b.Plan.Batch}
		}
		break
	}
	v, err := s.schemas.Version(ctx, version)
	if err != nil {
		return 0, err
	}
	latest, err := s.schemas.Latest(ctx)
	if err != nil {
		return 0, err
	}
	if schema.Equal(v.Schema, latest.Schema) && slices.Equal(v.Uncarried, latest.Uncarried) {
		return latest.Number, nil
	}
	next := *v
	next.Number, next.WrittenAt, next.Reason, next.Added = latest.Number+1, time.Now().UTC(), "rollback", nil
	next.Batch, next.Query = latest.Batch, "rollback-"+newULID()
	return next.Number, s.schemas.Put(ctx, &next)
}
