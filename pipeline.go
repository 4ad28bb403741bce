package silt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/siltlake/silt/internal/catalog"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/internal/evolve"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

// Version is the version of silt.
const Version = "0.1.0"

// Pipeline loads new files into its table. It is used by one goroutine at a time, but for
// [Pipeline.Stop].
type Pipeline struct {
	cfg    Config
	set    *settings
	name   string
	source folder
	at     *places

	state     objstore.Store // rooted at the checkpoint location
	statePath string
	schemas   *evolve.Location

	targets    []*target
	quarantine table

	stop    atomic.Bool
	stopped chan struct{} // closed by Stop
	once    sync.Once
}

// folder is where files arrive.
type folder struct {
	store objstore.Store
	path  string // its location
	glob  string // below path; may be empty
	// single says that glob is the name of one file.
	single bool
}

// URI is the full name of a file. It is not encoded, so that it reads as the file is named, but for
// bytes that are no text: they would make a table unreadable.
func (f folder) URI(key string) string {
	name := uriOf(f.path) + "/" + key
	if utf8.ValidString(name) {
		return name
	}
	var uri []byte
	for i, r := range name {
		if size := utf8.RuneLen(r); r == utf8.RuneError && !strings.HasPrefix(name[i:], string(r)) {
			uri = fmt.Appendf(uri, "%%%02X", name[i])
		} else {
			uri = append(uri, name[i:i+size]...)
		}
	}
	return string(uri)
}

func (f folder) String() string {
	return uriOf(f.path) + "/" + f.glob
}

// Open checks the whole Config and returns its pipeline. All mistakes are in one [*ConfigError].
// Nothing is written.
func Open(ctx context.Context, cfg Config) (*Pipeline, error) {
	p, faults := open(cfg)
	if len(faults) > 0 {
		return nil, &ConfigError{faults}
	}
	if err := p.checkTransform(ctx); err != nil {
		return nil, err
	}
	if err := p.checkExpectations(ctx); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(p.targets, (*target).mergesBySQL) {
		engine, err := duck.Open(ctx, p.duckOptions(p.set))
		if err != nil {
			return nil, err
		}
		engine.Close()
	}
	return p, nil
}

func open(cfg Config) (*Pipeline, []Fault) {
	set, faults := cfg.parse()
	p := &Pipeline{cfg: cfg, set: set, stopped: make(chan struct{})}
	at := &places{o: set.s3, world: cfg.world}
	p.at = at
	fault := func(key string, err error) {
		f := Fault{Code: CodeValue, Key: strings.SplitN(key, ".", 2), Problem: err.Error()} // the name of an option has dots
		if unsupported := (*unsupportedError)(nil); errors.As(err, &unsupported) {
			f.Code = CodeUnsupported
		}
		faults = append(faults, f)
	}
	var err error
	if cfg.Source != "" {
		if p.source, err = openFolder(at, cfg.Source); err != nil {
			fault("source", err)
		}
		if err := source.CheckGlob(p.source.glob); err != nil {
			fault("source", err)
		}
	}
	for k, to := range set.targets {
		t := &target{targetSettings: to}
		if to.given.Table != "" || to.given.Path != "" {
			if t.place, err = cfg.placeOf(to.given); err != nil {
				fault(strings.Join(cfg.targetKey(k), "."), err)
			}
		}
		t.table = openTable(at, targetRole(k), t.place.Table, t.place.Path)
		p.targets = append(p.targets, t)
	}
	if len(faults) == 0 {
		faults = p.apart()
	}
	if len(faults) > 0 {
		return nil, faults
	}
	for k, t := range p.targets {
		if p.source.holds(t.path, set.source.StrictGlobber) {
			return nil, []Fault{{Code: CodeContradiction, Key: cfg.targetKey(k),
				Problem: fmt.Sprintf("the table %s lies inside the source %s, which would load the table's own files", t.path, p.source.path),
				Hint:    "load from a folder beside the table, or with a glob such as " + strings.TrimRight(cfg.Source, "/") + "/*.json"}}
		}
	}
	for _, to := range []struct {
		place              *string
		option, what, hint string
	}{
		{&p.set.clean.destination, "cloudFiles.cleanSource.moveDestination", "find the moved files", "move them beside the source"},
		{&p.set.badRecords, "badRecordsPath", "load the bad records", "take a folder beside the source"},
	} {
		given := *to.place
		if given == "" {
			continue
		}
		if *to.place, err = absolute(given); err != nil {
			fault("options."+to.option, err)
		} else if p.source.mayHold(*to.place) {
			return nil, []Fault{{Code: CodeContradiction, Key: []string{"options", to.option},
				Problem: fmt.Sprintf("%s lies inside the source %s, which would %s", given, p.source.path, to.what), Hint: to.hint}}
		}
		for _, t := range p.targets {
			for _, table := range []string{t.path, t.place.Quarantine} {
				if vacuums(table, *to.place) {
					return nil, []Fault{{Code: CodeContradiction, Key: []string{"options", to.option},
						Problem: fmt.Sprintf("%s lies inside the table %s, and VACUUM deletes what a table does not know", given, table),
						Hint:    "take a folder beside the table"}}
				}
			}
		}
	}
	p.name = cfg.pipelineName(p.source)
	first := p.targets[0].place
	p.statePath = catalog.Join(first.State, p.name)
	if set.checkpoint != "" {
		if p.statePath, err = absolute(set.checkpoint); err != nil {
			fault("checkpointLocation", err)
		}
	}
	p.state = at.open(p.statePath)
	schemas := p.state
	if set.schemaLocation != "" {
		path, err := absolute(set.schemaLocation)
		if err != nil {
			fault("options.cloudFiles.schemaLocation", err)
		}
		schemas = at.open(path)
	}
	p.schemas = evolve.NewLocation(schemas, schemasPrefix)
	p.quarantine = openTable(at, quarantineTable, first.Table+catalog.QuarantineSuffix, first.Quarantine)
	p.quarantine.checkpoint, p.quarantine.source, p.quarantine.pipeline = p.statePath, p.source.String(), p.name
	for _, t := range p.targets {
		t.checkpoint, t.source, t.pipeline = p.statePath, p.source.String(), p.name
	}
	return p, faults
}

// schemasPrefix is the folder of a schema location that holds the versions. Source: Auto Loader,
// "Configure schema inference and evolution".
const schemasPrefix = "_schemas/"

// openFolder finds the folder and the glob of a source.
func openFolder(at *places, location string) (folder, error) {
	path, err := absolute(location)
	if err != nil {
		return folder{}, err
	}
	glob := ""
	file, noFolder := isFile(location, path)
	if i := strings.IndexAny(path, "*?[{"); file {
		cut := strings.LastIndexByte(path, '/')
		path, glob = path[:max(cut, 1)], quoteGlob(path[cut+1:])
	} else if noFolder && i >= 0 {
		cut := strings.LastIndexByte(path[:i], '/')
		path, glob = path[:max(cut, 1)], path[cut+1:]
	}
	return folder{store: at.open(path), path: path, glob: glob, single: file}, nil
}

// dataNames are the ends of names by which an object is told from a folder, without a look.
var dataNames = []string{".json", ".jsonl", ".ndjson", ".gz", ".gzip", ".zst", ".bz2", ".lz4", ".snappy", ".txt", ".log"}

// isFile reports whether a source is one file, and whether it is no folder, so that it may be a glob.
func isFile(location, path string) (file, noFolder bool) {
	if isRemote(path) {
		named := func(end string) bool { return strings.HasSuffix(strings.ToLower(path), end) }
		return !strings.HasSuffix(location, "/") && !strings.ContainsAny(path, "*?[{") && slices.ContainsFunc(dataNames, named), true
	}
	fi, err := os.Stat(path)
	return err == nil && !fi.IsDir(), err != nil
}

// quoteGlob is the glob that only name matches.
func quoteGlob(name string) string {
	var b strings.Builder
	for _, r := range name {
		if strings.ContainsRune(`*?[]{}\,`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// holds reports whether a listing of the folder would meet files at path.
func (f folder) holds(path string, strict bool) bool {
	rel, err := filepath.Rel(realPath(f.path), realPath(path))
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return false
	}
	return f.glob == "" || !strict
}

// mayHold reports whether a destination, in which a day may stand, lies in the folder on some day.
func (f folder) mayHold(destination string) bool {
	of, to := strings.Split(realPath(f.path), "/"), strings.Split(realPath(destination), "/")
	if len(to) < len(of) {
		return false
	}
	for i, name := range of {
		pattern := strings.NewReplacer(`\{yyyy\}`, `\d{4}`, `\{MM\}`, `\d\d`, `\{dd\}`, `\d\d`).Replace(regexp.QuoteMeta(to[i]))
		if !regexp.MustCompile("^" + pattern + "$").MatchString(name) {
			return false
		}
	}
	return true
}

// vacuums reports whether VACUUM of a table deletes files at a destination: it passes over hidden folders.
func vacuums(table, destination string) bool {
	if !(folder{path: table}).mayHold(destination) {
		return false
	}
	below := strings.Split(realPath(destination), "/")[len(strings.Split(realPath(table), "/")):]
	return !slices.ContainsFunc(below, func(name string) bool { return strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") })
}

// pipelineName is the name of the pipeline and of its folder in the state.
func (c Config) pipelineName(f folder) string {
	if c.Name != "" {
		return c.Name
	}
	sum := sha256.Sum256([]byte(f.String()))
	return "load-" + hex.EncodeToString(sum[:4])
}

// checkTransform fails when there is a transform and no SQL in this binary, or when the SQL is none.
func (p *Pipeline) checkTransform(ctx context.Context) error {
	all := p.set.sqls()
	if len(all) == 0 {
		return nil
	}
	engine, err := duck.Open(ctx, duck.Options{})
	if err != nil {
		return err
	}
	defer engine.Close()
	for _, sql := range all {
		if _, err := engine.Tables(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// CheckSQL fails when the transform names columns that are not there, as far as columns are known: those of
// the newest source schema, or of the option schema.
func (p *Pipeline) CheckSQL(ctx context.Context) error {
	if len(p.set.sqls()) == 0 && !p.set.expects() {
		return nil
	}
	v, err := p.schemas.Latest(ctx)
	if err != nil {
		return err
	}
	read := p.set.evolution.Given
	if read == nil && v != nil {
		read = v.Read()
	}
	if read == nil {
		return nil
	}
	sql, err := p.sqlOptions(ctx, nil)
	if err != nil {
		return err
	}
	w := convert.New(p.stores(), sql)
	defer func() { _ = w.Close() }() // nothing is in it that is needed
	task := p.set.task(read)
	tables, err := p.snapshots(ctx)
	if err != nil {
		return err
	}
	for i, t := range p.targets {
		rows, transform, err := w.TargetSchema(ctx, &task, &task.Targets[i])
		if err != nil {
			return err
		}
		if transform != nil {
			transform.Close()
		}
		if err := t.checkRules(ctx, w, rows, tables[i]); err != nil {
			return err
		}
	}
	return nil
}

// Name is the name of the pipeline.
func (p *Pipeline) Name() string { return p.name }

// Close releases what the pipeline holds.
func (p *Pipeline) Close() error { return nil }

// Stop makes RunOnce and Watch return when the batch they are in is complete. It may be called from any
// goroutine, any number of times.
func (p *Pipeline) Stop() {
	p.once.Do(func() { p.stop.Store(true); close(p.stopped) })
}

// RunOnce loads every file that is there when it looks, in batches, and stops. The Summary is not nil when the run
// started, even when err is not nil.
func (p *Pipeline) RunOnce(ctx context.Context) (*Summary, error) {
	log, err := p.openLog(ctx)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r := newRun(p, log)
	r.start()
	if err = r.listen(ctx); err == nil {
		defer func() { r.deafen(ctx) }()
	}
	for err == nil && !p.stop.Load() {
		var idle bool
		if idle, err = r.batch(ctx); idle && !r.more(ctx) {
			if err == nil {
				err = r.nothingToInfer(ctx)
			}
			break
		} else if !idle && (r.emptied() || p.cfg.Trigger.Once && r.summary.Batches > r.recovered) {
			break
		}
	}
	if err == nil {
		r.clean(ctx)
	}
	return r.finish(ctx, err)
}

func (p *Pipeline) openLog(ctx context.Context) (*checkpoint.Log, error) {
	if err := p.checkStores(ctx); err != nil {
		return nil, err
	}
	if err := p.checkCheckpoint(ctx); err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	return checkpoint.Open(ctx, p.state, "", checkpoint.Options{
		Pipeline: p.name, Owner: fmt.Sprintf("%s:%d", host, os.Getpid()), Clock: p.cfg.world.clock,
	})
}

func (p *Pipeline) emit(e Event) {
	if p.cfg.Events != nil {
		p.cfg.Events(e)
	}
}

func (p *Pipeline) workers() int {
	if p.cfg.Workers > 0 {
		return p.cfg.Workers
	}
	return runtime.GOMAXPROCS(0)
}

func (p *Pipeline) stores() convert.Stores {
	s := convert.Stores{Source: p.source.store, URI: p.source.URI, Quarantine: p.quarantine.store}
	for _, t := range p.targets {
		s.Targets = append(s.Targets, t.store)
	}
	return s
}

// duckOptions bound the SQL of one worker.
func (p *Pipeline) duckOptions(set *settings) duck.Options {
	dir := p.cfg.TempDir
	if dir == "" {
		dir = os.TempDir()
	}
	return duck.Options{TimeZone: set.decode.TimeZone, TempDir: dir}
}
