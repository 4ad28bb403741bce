package silt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/catalog"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/objstore/s3store"
)

// QueryOptions say where the tables of a query are.
type QueryOptions struct {
	Catalogs map[string]Catalog
	// Configs are pipelines whose state the tables silt.files, silt.cloud_files_state, silt.runs,
	// silt.schema_history and silt.quarantine show. Without any, they show those of all tables in the lake.
	Configs []Config
	// Version, when set, is the version at which every table is read.
	Version *int64
	// Time, when set, is the time as of which every table is read: the newest version that it had then.
	Time time.Time
	// TimeZone is that of timestamps; empty is UTC.
	TimeZone string
	TempDir  string
}

// Query runs SQL over tables that are named as catalog.schema.table, or as a quoted path. The caller
// releases the reader, which releases the engine with it.
func Query(ctx context.Context, sql string, o QueryOptions) (array.RecordReader, error) {
	engine, err := duck.Open(ctx, duck.Options{TimeZone: o.TimeZone, TempDir: cmp.Or(o.TempDir, os.TempDir()), Files: true,
		MemoryLimit: queryMemory, Threads: queryThreads})
	if err != nil {
		return nil, err
	}
	names, err := engine.Tables(ctx, sql)
	if err != nil {
		engine.Close()
		return nil, err
	}
	tables := make(map[duck.TableName]func() (array.RecordReader, error), len(names))
	for _, n := range names {
		open, err := o.table(ctx, n)
		if err != nil {
			engine.Close()
			return nil, err
		}
		if open != nil {
			tables[n] = open
		}
	}
	out, err := engine.Query(ctx, sql, tables)
	if err != nil {
		engine.Close()
		return nil, err
	}
	return &queryReader{RecordReader: out, engine: engine}, nil
}

const (
	queryMemory  = 1 << 30 // bytes
	queryThreads = 2
)

// queryReader closes the engine with the result.
type queryReader struct {
	array.RecordReader
	engine *duck.Engine
}

func (q *queryReader) Release() {
	q.RecordReader.Release()
	if q.engine != nil {
		q.engine.Close()
		q.engine = nil
	}
}

// table finds a table that a query names. It is nil for a name that the engine may know itself.
func (o QueryOptions) table(ctx context.Context, n duck.TableName) (func() (array.RecordReader, error), error) {
	if n.Catalog == "" && n.Schema == ownSchema {
		return o.own(ctx, n.Name)
	}
	var place catalog.Place
	switch {
	case n.Catalog != "":
		name, err := catalog.ParseName(catalog.Name{Catalog: n.Catalog, Schema: n.Schema, Table: n.Name}.String())
		if err != nil {
			return nil, err
		}
		place = lakeOf(o.Catalogs, n.Catalog).Place(name)
	case n.Schema == "" && isPath(n.Name):
		path := n.Name
		if !isRemote(path) {
			var err error
			if path, err = localPath(path); err != nil {
				return nil, err
			}
		}
		if fi, err := os.Stat(path); err == nil && !fi.IsDir() {
			return nil, nil // a file of data, which SQL reads by itself
		}
		place = catalog.AtPath(path)
	case n.Schema == "" && isTableFolder(n.Name):
		return nil, &UnquotedPathError{n.Name}
	default:
		return nil, fmt.Errorf("%s: %w%s", n, ErrNoTable, knownTables(o.Catalogs, true))
	}
	at := o.places()
	s, err := delta.Load(ctx, at.open(place.Path), delta.LoadOptions{Version: o.Version, Timestamp: o.Time, Resolve: at.filesOf(place.Path)})
	if errors.Is(err, delta.ErrNoTable) {
		return nil, fmt.Errorf("%s: %w%s", place.Table, ErrNoTable, knownTables(o.Catalogs, n.Schema != ""))
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", place.Table, err)
	}
	return func() (array.RecordReader, error) {
		return variantsAsText(s.Scan(delta.ScanOptions{}).Reader(ctx)), nil
	}, nil
}

// places are those that the pipelines of the query reach, or else those that need no options.
func (o QueryOptions) places() *places {
	for _, c := range o.Configs {
		if at := c.places(); at.o != (s3store.Options{}) {
			return at
		}
	}
	return new(places)
}

// An UnquotedPathError says that a query names a folder that is a table as if it were a name in a catalog.
type UnquotedPathError struct{ Folder string }

func (e *UnquotedPathError) Error() string {
	return fmt.Sprintf("%s: %v; the folder ./%s is one, and a path has a slash and stands in quotes: %s", e.Folder, ErrNoTable, e.Folder, e.Quoted())
}

func (e *UnquotedPathError) Unwrap() error { return ErrNoTable }

// Quoted is the folder as SQL writes it.
func (e *UnquotedPathError) Quoted() string {
	return "'./" + strings.ReplaceAll(e.Folder, "'", "''") + "'"
}

// isTableFolder reports whether the working directory has a table in a folder of the name.
func isTableFolder(name string) bool {
	fi, err := os.Stat(filepath.Join(name, "_delta_log"))
	return err == nil && fi.IsDir()
}

func isPath(name string) bool { return strings.ContainsAny(name, "/\\") || name == "." || name == ".." }

// knownTables is the end of an error about a table that is not there: where it was looked for, when it has
// a name, and which there are.
func knownTables(catalogs map[string]Catalog, named bool) string {
	text := ""
	if named {
		text = " in " + lakes(catalogs)
	}
	names := Tables(catalogs)
	if len(names) == 0 {
		return text
	}
	const most = 10
	text += "; there are " + strings.Join(names[:min(len(names), most)], ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}

// lakes names the folders in which tables are looked for by their names.
func lakes(catalogs map[string]Catalog) string {
	var all []string
	for _, name := range sortedKeys(catalogs) {
		if at := lakeOf(catalogs, name).Lake; !slices.Contains(all, at) {
			all = append(all, at)
		}
	}
	if len(all) == 0 {
		all = []string{DefaultLake}
	}
	for i, at := range all {
		if abs, err := filepath.Abs(at); err == nil && !isRemote(at) {
			all[i] = abs
		}
	}
	if len(all) == 1 {
		return "the lake " + all[0]
	}
	return "the lakes " + strings.Join(all, ", ")
}

// Tables returns the names of the tables in the catalogs, and in [DefaultLake].
func Tables(catalogs map[string]Catalog) []string {
	var names []string
	add := func(lake catalog.Local, name string) {
		tables, err := lake.Tables(name)
		if err != nil {
			return // a list for people, who are told of what can be seen
		}
		for _, t := range tables {
			names = append(names, t.String())
		}
	}
	for name := range catalogs {
		add(lakeOf(catalogs, name), name)
	}
	folders, _ := lakeOf(nil, "").Catalogs()
	for _, name := range folders {
		if _, known := catalogs[name]; !known {
			add(lakeOf(nil, ""), name)
		}
	}
	slices.Sort(names)
	return names
}

// ownSchema is the schema of silt's own tables.
const ownSchema = "silt"

// ownTables are the tables that show what silt remembers.
var ownTables = map[string]func(context.Context, *ownRows, Config) error{
	"files": func(ctx context.Context, rows *ownRows, cfg Config) error {
		return eachState(ctx, cfg, func(s *State) error {
			for f, err := range s.Files(ctx) {
				if err != nil {
					return err
				}
				rows.add(s.Pipeline, f.Path, f.Size, f.ModTime, f.ETag, f.Status, f.Batch, f.DiscoveryTime, timeOrNull(f.ProcessedTime), timeOrNull(f.CommitTime),
					timeOrNull(f.ArchiveTime), textOrNull(f.ArchiveMode), textOrNull(f.MoveLocation), f.Records, f.Rows, f.Rescued, f.Bad, int64(f.Tries), f.Error, f.Reason, f.SchemaVersion)
			}
			return nil
		})
	},
	// One row a file, under the names that Databricks' function of the name has.
	"cloud_files_state": func(ctx context.Context, rows *ownRows, cfg Config) error {
		return eachState(ctx, cfg, func(s *State) error {
			told := map[string]bool{}
			for f, err := range s.Files(ctx) {
				if err != nil {
					return err
				}
				if !told[f.Path] {
					told[f.Path] = true
					rows.add(f.Path, f.Size, f.CreateTime, f.DiscoveryTime, timeOrNull(f.ProcessedTime), timeOrNull(f.CommitTime),
						timeOrNull(f.ArchiveTime), textOrNull(f.ArchiveMode), textOrNull(f.MoveLocation), "0", s.Pipeline, f.Status)
				}
			}
			return nil
		})
	},
	"runs": func(ctx context.Context, rows *ownRows, cfg Config) error {
		return eachState(ctx, cfg, func(s *State) error {
			runs, err := s.Runs(ctx)
			for _, r := range runs {
				rows.add(s.Pipeline, r.Run, r.Source, r.Target, r.Started, r.Took.Seconds(), int64(r.Batches), int64(r.Files.Found),
					int64(r.Files.Loaded), int64(r.Files.Failed), r.Bytes, r.Records.Read, r.Records.Loaded, r.Records.Quarantined,
					r.Rows, r.Rescued.Rows, r.Error)
			}
			return err
		})
	},
	"schema_history": func(ctx context.Context, rows *ownRows, cfg Config) error {
		return eachState(ctx, cfg, func(s *State) error {
			versions, err := s.SchemaHistory(ctx)
			for _, v := range versions {
				rows.add(s.Pipeline, v.Version, v.WrittenAt, v.Reason, v.Batch, int64(len(v.Added)), v.Schema.DDL())
			}
			return err
		})
	},
	"quarantine": func(ctx context.Context, rows *ownRows, cfg Config) error {
		for q, err := range Quarantine(ctx, cfg) {
			if err != nil {
				return err
			}
			rows.add(cfg.Target.String(), q.ID, q.Time, q.Batch, q.File, q.Line, q.Offset, q.Length, q.Cut, q.Reason, q.Detail, q.ErrorAt, strings.Join(q.Rules, ","),
				strings.ToValidUTF8(string(q.Record), "\uFFFD"))
		}
		return nil
	},
}

// ownColumns are the columns of silt's own tables: a name, and the kind of what is added.
var ownColumns = map[string][]string{
	"files": {"pipeline:s", "path:s", "size:i", "modification_time:t", "etag:s", "status:s", "batch_id:i", "discovery_time:t",
		"processed_time:t", "commit_time:t", "archive_time:t", "archive_mode:s", "move_location:s", "records:i", "rows:i", "rescued_rows:i", "corrupt_records:i", "tries:i", "error:s", "reason:s", "schema_version:i"},
	"cloud_files_state": {"path:s", "size:i", "create_time:t", "discovery_time:t", "processed_time:t", "commit_time:t",
		"archive_time:t", "archive_mode:s", "move_location:s", "source_id:s", "flow_name:s", "status:s"},
	"runs": {"pipeline:s", "run:s", "source:s", "target:s", "started:t", "seconds:f", "batches:i", "files_found:i", "files_loaded:i",
		"files_failed:i", "bytes:i", "records_read:i", "records_loaded:i", "records_quarantined:i", "rows:i", "rescued_rows:i", "error:s"},
	"schema_history": {"pipeline:s", "version:i", "written_at:t", "reason:s", "batch_id:i", "added:i", "schema:s"},
	"quarantine": {"table:s", "id:s", "quarantined_at:t", "batch_id:i", "source_file:s", "line:i", "offset:i", "length:i", "cut:b",
		"reason:s", "detail:s", "error_at:i", "rules:s", "record:s"},
}

func timeOrNull(t *time.Time) any {
	if t == nil {
		return nil
	}
	return *t
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

var ownKinds = map[string]arrow.DataType{
	"s": arrow.BinaryTypes.String, "i": arrow.PrimitiveTypes.Int64, "f": arrow.PrimitiveTypes.Float64,
	"b": arrow.FixedWidthTypes.Boolean, "t": &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
}

func eachState(ctx context.Context, cfg Config, do func(*State) error) error {
	states, err := States(ctx, cfg)
	if err != nil {
		return err
	}
	for _, s := range states {
		if err := do(s); err != nil {
			return err
		}
	}
	return nil
}

// own opens one of silt's own tables.
func (o QueryOptions) own(ctx context.Context, name string) (func() (array.RecordReader, error), error) {
	fill, ok := ownTables[strings.ToLower(name)]
	if !ok {
		return nil, fmt.Errorf("%s.%s: %w; silt's own are silt.%s", ownSchema, name, ErrNoTable, strings.Join(sortedKeys(ownTables), ", silt."))
	}
	configs := o.Configs
	if len(configs) == 0 {
		for _, t := range Tables(o.Catalogs) {
			if !strings.HasSuffix(strings.TrimSuffix(t, "`"), catalog.QuarantineSuffix) {
				configs = append(configs, Config{Catalogs: o.Catalogs, Target: Table(t)})
			}
		}
	}
	return func() (array.RecordReader, error) {
		rows := newOwnRows(ownColumns[strings.ToLower(name)])
		defer rows.b.Release()
		for _, cfg := range configs {
			if err := fill(ctx, rows, cfg); err != nil {
				return nil, err
			}
		}
		rec := rows.b.NewRecordBatch()
		defer rec.Release()
		return array.NewRecordReader(rec.Schema(), []arrow.RecordBatch{rec})
	}, nil
}

// ownRows builds the rows of one of silt's own tables.
type ownRows struct{ b *array.RecordBuilder }

func newOwnRows(columns []string) *ownRows {
	var fields []arrow.Field
	for _, c := range columns {
		name, kind, _ := strings.Cut(c, ":")
		fields = append(fields, arrow.Field{Name: name, Type: ownKinds[kind], Nullable: true})
	}
	return &ownRows{array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))}
}

func (r *ownRows) add(values ...any) {
	for i, v := range values {
		appendValue(r.b.Field(i), v)
	}
}
