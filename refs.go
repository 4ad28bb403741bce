package silt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/catalog"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/duck"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// refs reads Config.Refs.
func (p *parser) refs() {
	seen := map[string]bool{}
	for _, name := range sortedKeys(p.config.Refs) {
		at, key := p.config.Refs[name], []string{"refs", name}
		folded := schema.Fold(name)
		switch {
		case folded == duck.Source:
			p.fault(CodeValue, key, "give it another name", "source is what the transform reads")
		case name == "" || strings.HasPrefix(folded, "__silt"):
			p.fault(CodeValue, key, "give it another name", "%q is no name for a ref", name)
		case seen[folded]:
			p.fault(CodeContradiction, key, "keep one of them", "another ref has this name in other letters")
		case at == "":
			p.fault(CodeMissing, key, "give a table name such as main.ref.vehicles, or a path", "no table")
		}
		seen[folded] = true
		if isTableName(at) {
			if _, err := catalog.ParseName(at); err != nil {
				p.fault(CodeValue, key, "", "%v", err)
			}
		}
	}
	if len(p.config.Refs) > 0 && !slices.ContainsFunc(p.set.targets, func(t *targetSettings) bool { return t.transform != "" || len(t.given.Expect) > 0 }) {
		p.fault(CodeContradiction, []string{"refs"}, "take them out, or join them in a transform", "there is no SQL that could read them")
	}
}

// isTableName tells a name of three parts from a path.
func isTableName(s string) bool { return !isPath(s) && strings.Count(s, ".") >= 2 }

// refTable is the table that a ref names.
func (p *Pipeline) refTable(name string) (table, error) {
	at := Config{Catalogs: p.cfg.Catalogs, Target: Path(p.cfg.Refs[name])}
	if isTableName(p.cfg.Refs[name]) {
		at.Target = Table(p.cfg.Refs[name])
	}
	place, err := at.place()
	if err != nil {
		return table{}, fmt.Errorf("ref %s: %w", schema.Quote(name), err)
	}
	return openTable(p.at, name, place.Table, place.Path), nil
}

// pinRefs are the versions of the refs that a batch reads from now on.
func (p *Pipeline) pinRefs(ctx context.Context) (pins []checkpoint.Target, err error) {
	for _, name := range sortedKeys(p.cfg.Refs) {
		t, s, err := p.loadRef(ctx, name, nil)
		if err != nil {
			return nil, err
		}
		pins = append(pins, checkpoint.Target{Name: name, URI: t.uri(), TableID: s.Metadata().ID, Version: s.Version()})
	}
	return pins, nil
}

// loadRef loads the table of a ref as of the version that a batch was planned with. Without a pin for that
// table, as when the configuration has changed since, it is the newest.
func (p *Pipeline) loadRef(ctx context.Context, name string, pins []checkpoint.Target) (table, *delta.Snapshot, error) {
	t, err := p.refTable(name)
	if err != nil {
		return t, nil, err
	}
	o, id := delta.LoadOptions{Resolve: t.files}, ""
	for i, pin := range pins {
		if pin.Name == name && pin.URI == t.uri() {
			o.Version, id = &pins[i].Version, pin.TableID
		}
	}
	s, err := delta.Load(ctx, t.store, o)
	var old *delta.VersionError
	switch {
	case errors.As(err, &old) && o.Version != nil:
		return t, nil, &refGoneError{name, t.name, *o.Version, err}
	case err == nil && id != "" && s.Metadata().ID != id:
		return t, nil, &refGoneError{name, t.name, *o.Version, errors.New("another table is there now")}
	case errors.Is(err, delta.ErrNoTable):
		return t, nil, fmt.Errorf("ref %s: table %s: %w%s", schema.Quote(name), t.name, ErrNoTable, knownTables(p.cfg.Catalogs, isTableName(p.cfg.Refs[name])))
	case err != nil:
		return t, nil, fmt.Errorf("ref %s: table %s: %w", schema.Quote(name), t.name, err)
	}
	return t, s, nil
}

// sqlOptions are those of engines that run transforms: with the refs, as of the pins.
func (p *Pipeline) sqlOptions(ctx context.Context, pins []checkpoint.Target) (duck.Options, error) {
	o := p.duckOptions(p.set)
	for _, name := range sortedKeys(p.cfg.Refs) {
		t, s, err := p.loadRef(ctx, name, pins)
		if err != nil {
			return o, err
		}
		if o.Refs == nil {
			o.Refs = map[string]duck.Ref{}
		}
		columns := &schema.Struct{}
		for _, f := range s.Schema().Fields {
			columns.Fields = append(columns.Fields, schema.Nullable(f.Name, withoutVariants(f.Type)))
		}
		o.Refs[name] = duck.Ref{Schema: columns, Open: func(ctx context.Context, columns []string) (array.RecordReader, error) {
			return &refReader{variantsAsText(s.Scan(delta.ScanOptions{Columns: columns}).Reader(ctx)), name, t.name, s.Version()}, nil
		}}
	}
	return o, nil
}

// refReader names the table in the error of its rows.
type refReader struct {
	array.RecordReader
	name, table string
	version     int64
}

func (r *refReader) Err() error {
	err := r.RecordReader.Err()
	switch {
	case errors.Is(err, objstore.ErrNotExist):
		return &refGoneError{r.name, r.table, r.version, err}
	case err != nil:
		return fmt.Errorf("table %s at version %d: %w", r.table, r.version, err)
	}
	return nil
}

// refGoneError says that a ref cannot be read at a version: its files were vacuumed, its log was cleaned, or
// the table was made anew.
type refGoneError struct {
	name, table string
	version     int64
	err         error
}

func (e *refGoneError) Error() string {
	return fmt.Sprintf("ref %s: version %d of table %s is not there any more: %v", schema.Quote(e.name), e.version, e.table, e.err)
}

func (e *refGoneError) Unwrap() error { return e.err }

// repin pins a ref whose version is gone to its newest one, for a batch of which nothing is staged: all of its
// rows are made by that. There is no other version to read when the one that is gone is the newest.
func (p *Pipeline) repin(ctx context.Context, pins []checkpoint.Target, gone *refGoneError) ([]checkpoint.Target, Warning, error) {
	t, s, err := p.loadRef(ctx, gone.name, nil)
	if err != nil {
		return nil, Warning{}, err
	}
	now := checkpoint.Target{Name: gone.name, URI: t.uri(), TableID: s.Metadata().ID, Version: s.Version()}
	pins = slices.Clone(pins)
	i := slices.IndexFunc(pins, func(pin checkpoint.Target) bool { return pin.Name == now.Name && pin.URI == now.URI })
	switch {
	case i >= 0 && pins[i] == now, i < 0 && now.Version == gone.version: // without a pin, the newest was read
		return nil, Warning{}, fmt.Errorf("%w; it is the newest: silt table check %s says what the table lacks", gone, t.name)
	case i >= 0:
		pins[i] = now
	default:
		pins = append(pins, now)
	}
	return pins, Warning{Code: "SILT-4016", Text: fmt.Sprintf("version %d of table %s, which the batch was planned with, is not there any more (%v); all of its rows were made with version %d", gone.version, t.name, gone.err, now.Version),
		Hint: "keep versions for longer than a batch may wait: silt table vacuum --retain"}, nil
}
