//go:build cgo && duckdb_arrow && !nosql

package duck

import (
	"cmp"
	"context"
	"fmt"
	"runtime/cgo"
	"strconv"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// Engine is one in-memory database, used by one goroutine at a time; tasks that run in parallel open
// one each. Transforms and readers end before the engine they come from is closed.
type Engine struct {
	db    bindings.Database
	c     *conn
	feeds *feeds
	h     cgo.Handle // by which DuckDB knows feeds
	feed  *feed      // behind the view called source, on which SQL is described
	refs  []*ref
	names int // for views and tables of silt's own, which no two share
}

// Open opens an empty database that is locked: extensions stay where they are, files too unless o says
// otherwise, and no SQL can change that.
func Open(ctx context.Context, o Options) (*Engine, error) {
	e := &Engine{}
	if err := e.open(o); err != nil {
		return nil, fmt.Errorf("open duckdb: %w", err)
	}
	var err error
	if e.c, err = e.connect(); err != nil {
		e.Close()
		return nil, err
	}
	e.feeds = &feeds{byID: map[int64]*feed{}, c: e.c}
	if e.h, err = registerFeeds(e.c, e.feeds); err != nil {
		e.Close()
		return nil, err
	}
	for _, sql := range []string{
		"SET GLOBAL TimeZone = " + literal(cmp.Or(o.TimeZone, "UTC")),
		"SET GLOBAL errors_as_json = true",
		"SET GLOBAL lock_configuration = true",
	} {
		if err := e.c.exec(ctx, sql); err != nil {
			e.Close()
			return nil, fmt.Errorf("open duckdb: %s: %w", sql, err)
		}
	}
	if err := e.addRefs(ctx, o.Refs); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) open(o Options) error {
	var config bindings.Config
	if bindings.CreateConfig(&config) == bindings.StateError {
		return fmt.Errorf("no configuration")
	}
	defer bindings.DestroyConfig(&config)
	for _, set := range [][2]string{
		{"memory_limit", strconv.FormatInt(cmp.Or(o.MemoryLimit, 256<<20), 10) + "B"},
		{"threads", strconv.Itoa(cmp.Or(o.Threads, 1))},
		{"temp_directory", o.TempDir}, // before external access goes
		{"autoload_known_extensions", "false"},
		{"autoinstall_known_extensions", "false"},
		{"allow_community_extensions", "false"},
		{"enable_external_access", strconv.FormatBool(o.Files)},
	} {
		if bindings.SetConfig(config, set[0], set[1]) == bindings.StateError {
			return fmt.Errorf("%s cannot be %q", set[0], set[1])
		}
	}
	var text string
	if bindings.OpenExt("", &e.db, config, &text) == bindings.StateError {
		return parseError(text)
	}
	return nil
}

// Close gives back all that the engine holds.
func (e *Engine) Close() error {
	if e.feed != nil {
		e.feed.close()
	}
	for _, r := range e.refs {
		r.feed.forget()
	}
	if e.c != nil {
		e.c.close()
	}
	bindings.Close(&e.db)
	if e.h != 0 {
		e.h.Delete()
	}
	*e = Engine{}
	return nil
}

// name returns a name for a view or table that no user's SQL will use.
func (e *Engine) name() string {
	e.names++
	return "__silt_" + strconv.Itoa(e.names)
}
