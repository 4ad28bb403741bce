package delta

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Detail is what DESCRIBE DETAIL shows of a table.
type Detail struct {
	Format            string
	ID                string
	Name              string
	Description       string
	CreatedAt         time.Time // zero when the table does not say
	LastModified      time.Time
	PartitionColumns  []string
	ClusteringColumns []string
	NumFiles          int64
	SizeInBytes       int64
	Properties        map[string]string
	MinReaderVersion  int
	MinWriterVersion  int
	TableFeatures     []string // those that a version implies included
}

// Detail describes the snapshot.
func (s *Snapshot) Detail(ctx context.Context) (Detail, error) {
	m, p := s.metadata, s.protocol
	d := Detail{
		Format: "delta", ID: m.ID, Name: m.Name, Description: m.Description,
		PartitionColumns: append([]string{}, m.PartitionColumns...), Properties: m.Configuration,
		MinReaderVersion: p.MinReaderVersion, MinWriterVersion: p.MinWriterVersion, TableFeatures: p.Features(),
	}
	if m.CreatedTime != nil {
		d.CreatedAt = time.UnixMilli(*m.CreatedTime).UTC()
	}
	var err error
	if d.ClusteringColumns, err = s.clusteringNames(); err != nil {
		return d, err
	}
	if d.LastModified, err = s.lastModified(ctx); err != nil {
		return d, err
	}
	for a, err := range s.Files(ctx) {
		if err != nil {
			return d, err
		}
		d.NumFiles++
		d.SizeInBytes += a.Size
	}
	return d, nil
}

// lastModified is the time of the commit's file, or of the checkpoint where the commit is gone.
func (s *Snapshot) lastModified(ctx context.Context) (time.Time, error) {
	for _, key := range []string{commitKey(s.version), checkpointKey(s.version)} {
		body, o, err := s.store.Open(ctx, key, objstore.Range{Len: 1})
		if err == nil {
			body.Close()
			return o.ModTime.UTC(), nil
		}
	}
	return time.Time{}, nil
}

// Features returns the features that the protocol supports, by name or by version, sorted.
func (p *Protocol) Features() []string {
	names := append(slices.Clone(p.ReaderFeatures), p.WriterFeatures...)
	for _, f := range features {
		if p.has(f) {
			names = append(names, f.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// clusteringDomain is where a table keeps the columns it is clustered by. Source: protocol, "Clustered
// Table".
const clusteringDomain = "delta.clustering"

// clusteringColumns returns the physical paths of the columns the table is clustered by. Engines write
// a path as an array; the protocol's example has plain names.
func (s *Snapshot) clusteringColumns() ([][]string, error) {
	text, ok := s.Domain(clusteringDomain)
	if !ok {
		return nil, nil
	}
	var config struct{ ClusteringColumns []json.RawMessage }
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return nil, fmt.Errorf("domain %s: %w", clusteringDomain, err)
	}
	var paths [][]string
	for _, raw := range config.ClusteringColumns {
		var path []string
		if json.Unmarshal(raw, &path) != nil {
			var name string
			if err := json.Unmarshal(raw, &name); err != nil {
				return nil, fmt.Errorf("domain %s: %w", clusteringDomain, err)
			}
			path = []string{name}
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// clusteringPaths returns the same as logical names.
func (s *Snapshot) clusteringPaths() ([][]string, error) {
	paths, err := s.clusteringColumns()
	for i, p := range paths {
		paths[i] = logicalPath(s.schema, p, s.columnMapping())
	}
	return paths, err
}

func (s *Snapshot) clusteringNames() ([]string, error) {
	paths, err := s.clusteringPaths()
	names := []string{}
	for _, p := range paths {
		names = append(names, strings.Join(p, "."))
	}
	return names, err
}

// logicalPath returns the logical names of a physical path, as far as it leads to fields.
func logicalPath(t schema.Type, physical []string, mode string) []string {
	var names []string
	for _, name := range physical {
		st, ok := t.(*schema.Struct)
		if !ok {
			return append(names, physical[len(names):]...)
		}
		i := slices.IndexFunc(st.Fields, func(f schema.Field) bool {
			p, err := physicalName(f, mode)
			return err == nil && p == name
		})
		if i < 0 {
			return append(names, physical[len(names):]...)
		}
		names, t = append(names, st.Fields[i].Name), st.Fields[i].Type
	}
	return names
}
