package silt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/siltlake/silt/internal/catalog"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

// Finding is what [Doctor] found out about one thing.
type Finding struct {
	Level  string `json:"level"` // "ok", "warn" or "fail"
	What   string `json:"what"`
	Detail string `json:"detail"`
	// Err is nil when all is well.
	Err error `json:"-"`
}

// The levels of a Finding.
const (
	LevelOK   = "ok"
	LevelWarn = "warn"
	LevelFail = "fail" // silt does not work like this
)

// An UnsafeStoreError says that a store does not keep a promise that exactly-once rests on, so that silt
// does not write to it.
type UnsafeStoreError struct {
	Location string
	Err      error
}

func (e *UnsafeStoreError) Error() string { return fmt.Sprintf("%s: %v", e.Location, e.Err) }

func (e *UnsafeStoreError) Unwrap() error { return e.Err }

// Doctor lists so many files of a source, and looks at so many objects for them.
const listMost, lookMost = 1000, 20_000

// Doctor tries out what a pipeline needs: that its source is listed and read, that the queue of its
// notifications brings events, that its stores keep their promises, that its checkpoint is whole and its
// table readable. What it writes it removes again. Cfg may be without a source.
func Doctor(ctx context.Context, cfg Config) ([]Finding, error) {
	place, err := cfg.place()
	if err != nil {
		return nil, err
	}
	d := &doctor{at: cfg.places()}
	if cfg.Source != "" {
		if err := d.source(ctx, cfg); err != nil {
			return nil, err
		}
	}
	states, err := States(ctx, cfg)
	if err != nil {
		d.add("checkpoint", place.State, err)
	}
	set, _ := cfg.parse()
	d.cleaning(ctx, set, cfg.Source)
	d.queue(ctx, set, cfg.Source)
	location := place.State
	if set.checkpoint != "" {
		if location, err = absolute(set.checkpoint); err != nil {
			return nil, err
		}
	}
	d.probe(ctx, "checkpoint", location, "")
	for k, to := range cfg.each() {
		if place, err = cfg.placeOf(to); err != nil {
			return nil, err
		}
		if place.Path != location {
			d.probe(ctx, "table", place.Path, "_silt/")
		}
		if k == 0 {
			for _, s := range states {
				d.checkpoint(ctx, s)
			}
		}
		d.table(ctx, place)
	}
	return d.findings, nil
}

func (d *doctor) table(ctx context.Context, place catalog.Place) {
	t := openTable(d.at, mainTable, place.Table, place.Path)
	switch s, err := t.load(ctx); {
	case err != nil:
		d.add("table", place.Table, err)
	case s == nil:
		d.add("table", place.Table+" is not there yet", nil)
	default:
		d.add("table", fmt.Sprintf("%s is at version %d", place.Table, s.Version()), nil)
	}
}

type doctor struct {
	at       *places
	findings []Finding
}

func (d *doctor) add(what, detail string, err error) {
	f := Finding{Level: LevelOK, What: what, Detail: detail, Err: err}
	if err != nil {
		f.Level, f.Detail = LevelFail, fmt.Sprintf("%s: %v", detail, err)
	}
	d.findings = append(d.findings, f)
}

func (d *doctor) source(ctx context.Context, cfg Config) error {
	from, err := openFolder(d.at, cfg.Source)
	if err != nil {
		return err
	}
	set, _ := cfg.parse()
	o := set.source
	o.Glob = from.glob
	filter, err := o.Filter()
	if err != nil {
		d.add("list source", from.String(), err)
		return nil
	}
	began, n, passed := time.Now(), 0, 0
	var first objstore.Object
	for o, err := range from.store.List(ctx, "", "") {
		if err != nil {
			d.add("list source", from.String(), err)
			return nil
		}
		switch by := filter(o); {
		case by != source.Kept:
			if by != source.Elsewhere {
				passed++
			}
		case first.Key == "" && o.Size > 0:
			first = o
			n++
		default:
			n++
		}
		if n == listMost || n+passed == lookMost {
			break
		}
	}
	detail := fmt.Sprintf("%s  %s in %d ms", from, plural(n, "file", "files"), time.Since(began).Milliseconds())
	if passed > 0 {
		detail += fmt.Sprintf(", %s passed over", plural(passed, "other", "others"))
	}
	d.add("list source", detail, nil)
	if first.Key == "" {
		return nil
	}
	body, _, err := from.store.Open(ctx, first.Key, objstore.Range{Len: 1, IfMatch: first.ETag})
	if err == nil {
		err = body.Close()
	}
	d.add("read source", from.URI(first.Key), err)
	return nil
}

// probe tries a location out. A folder of this machine is tried beside it, so that none is made.
func (d *doctor) probe(ctx context.Context, what, location, prefix string) {
	store := d.at.open(location)
	if !isRemote(location) {
		dir, err := os.MkdirTemp(existing(location), ".silt-probe-")
		if err != nil {
			d.add("write "+what, location, err)
			return
		}
		defer os.RemoveAll(dir)
		store, prefix = objstore.NewDir(dir), ""
	}
	for _, c := range objstore.Probe(ctx, store, prefix) {
		d.add(what+": "+c.Name, fmt.Sprintf("%s  %d ms", location, c.Took.Milliseconds()), c.Err)
		if last := &d.findings[len(d.findings)-1]; c.Err != nil && !c.Needed {
			last.Level = LevelWarn
		}
	}
}

// cleaning tries out whether files may be taken from a source in S3, and put where they are moved to. It changes
// nothing: each request has a condition on an object that is not there.
func (d *doctor) cleaning(ctx context.Context, set *settings, location string) {
	absent := ".silt-probe-" + rand.Text()
	no := objstore.Cond{IfMatch: "none"}
	if mode := set.clean.mode; (mode == cleanMove || mode == cleanDelete) && isRemote(location) {
		from, err := openFolder(d.at, location)
		if err != nil {
			return // it is told of where the source is listed
		}
		d.add("delete in source", from.String(), refused(from.store.Delete(ctx, absent, no)))
	}
	if set.clean.mode != cleanMove {
		return
	}
	to, err := absolute(set.clean.rule(time.Now()).Location)
	if err != nil || !isRemote(to) {
		return
	}
	store := d.at.open(to)
	_, _, err = store.Open(ctx, absent, objstore.Range{Len: 1})
	if err = refused(err); err == nil {
		if _, err = objstore.PutBytes(ctx, store, absent, nil, no); err == nil {
			err = store.Delete(ctx, absent, objstore.Cond{}) // the store ignores the condition
		}
		err = refused(err)
	}
	d.add("move to", to, err)
}

// refused is nil where an error says that a condition did not hold, and nothing else.
func refused(err error) error {
	if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrPrecondition) {
		return nil
	}
	return err
}

// existing is the nearest folder at or above path that is there.
func existing(path string) string {
	for {
		if fi, err := os.Stat(path); err == nil && fi.IsDir() || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

func (d *doctor) checkpoint(ctx context.Context, s *State) {
	if _, err := s.log.Seen(ctx); err != nil {
		d.add("checkpoint", s.Location, err)
		return
	}
	for b, err := range s.log.Batches(ctx) {
		switch {
		case err != nil:
			d.add("checkpoint", s.Location, err)
		case b.Commits == nil:
			d.add("checkpoint", fmt.Sprintf("%s  batch %d is not finished; the next run finishes it", s.Pipeline, b.Plan.Batch), nil)
		default:
			d.add("checkpoint", fmt.Sprintf("%s  whole, %s", s.Pipeline, plural(int(b.Plan.Batch)+1, "batch", "batches")), nil)
		}
		return
	}
	d.add("checkpoint", s.Pipeline+"  no batch yet", nil)
}

// checkStores refuses stores that a pipeline is about to use for the first time and that do not keep
// their promises. A request that fails says nothing about that.
func (p *Pipeline) checkStores(ctx context.Context) error {
	locations := map[string]objstore.Store{p.statePath: p.state}
	for _, t := range p.targets {
		locations[t.path] = t.store
	}
	if !slices.ContainsFunc(sortedKeys(locations), isRemote) {
		return nil
	}
	if _, err := checkpoint.OpenReadOnly(ctx, p.state, ""); !errors.Is(err, objstore.ErrNotExist) {
		return nil // it is in use, or its opening tells what is wrong
	}
	for _, location := range sortedKeys(locations) {
		if !isRemote(location) {
			continue
		}
		prefix := "_silt/"
		if location == p.statePath {
			prefix = ""
		}
		if err := objstore.Unsafe(objstore.Probe(ctx, locations[location], prefix)); errors.Is(err, objstore.ErrUnsafe) {
			return &UnsafeStoreError{location, err}
		}
	}
	return nil
}
