package checkpoint_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/objstore"
)

// toy is a pipeline small enough to be looked through: a source file is a record a line, and a table is
// a sequence of create-once versions that hold records. Each try sends each record to the main table or
// to quarantine as its coin falls.
type toy struct {
	store  objstore.Store
	log    *checkpoint.Log
	batch  int // most files in one
	coin   *rand.Rand
	keep   bool            // loaded files stay where they are
	later  bool            // sources are cleaned when all is loaded
	broken map[string]bool // files that cannot be read
}

type toyVersion struct {
	Txn  int64 // batch plus 1
	Rows []string
}

var toyTargets = []string{"quarantine", "main"}

func (y *toy) Discover(ctx context.Context) ([]objstore.Object, error) {
	seen, err := y.log.Seen(ctx)
	if err != nil {
		return nil, err
	}
	if err := y.log.Compact(ctx); err != nil {
		return nil, err
	}
	lookup, end, err := seen.Pass(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var files []objstore.Object
	for o, err := range y.store.List(ctx, "src/", "") {
		if err != nil {
			return nil, err
		}
		_, known, _, err := lookup(o.Key)
		if err != nil {
			return nil, err
		}
		last, _, _ := seen.Tried(o)
		if !known && last.Tries < 3 && len(files) < y.batch {
			files = append(files, o)
		}
	}
	return files, nil
}

func (y *toy) Plan(context.Context, int64, []objstore.Object) (checkpoint.Plan, error) {
	p := checkpoint.Plan{Config: json.RawMessage(`{"a":1}`), Engine: "toy", SchemaVersion: -1}
	for _, name := range toyTargets {
		p.Targets = append(p.Targets, checkpoint.Target{Name: name, URI: "mem:" + name, Version: -1})
	}
	return p, nil
}

func (y *toy) Convert(ctx context.Context, p checkpoint.Plan, files []objstore.Object) (checkpoint.Staged, error) {
	rows := make([][]string, len(toyTargets))
	var s checkpoint.Staged
	for _, f := range files {
		out := checkpoint.FileOutcome{Key: f.Key, State: checkpoint.Loaded}
		content, o, err := objstore.ReadAll(ctx, y.store, f.Key)
		switch {
		case errors.Is(err, objstore.ErrNotExist):
			out.State = checkpoint.Vanished
		case err != nil:
			return s, err
		case o.ETag != f.ETag:
			out.State = checkpoint.Overwritten
		case y.broken[f.Key]:
			out.State, out.Error = checkpoint.Failed, "it is broken"
		default:
			for record := range strings.FieldsSeq(string(content)) {
				to := y.coin.IntN(2)
				rows[to] = append(rows[to], record)
				out.Records++
			}
		}
		s.Files = append(s.Files, out)
	}
	for i, name := range toyTargets {
		delta, err := json.Marshal(rows[i])
		if err != nil {
			return s, err
		}
		s.Targets = append(s.Targets, checkpoint.StagedTarget{Name: name, URI: "mem:" + name, Delta: delta, Rows: int64(len(rows[i]))})
	}
	return s, nil
}

func (y *toy) PutSchema(context.Context, checkpoint.Plan, checkpoint.Staged) error { return nil }

func (y *toy) Commit(ctx context.Context, p checkpoint.Plan, s checkpoint.Staged, target int) (checkpoint.Committed, error) {
	t := s.Targets[target]
	v := toyVersion{Txn: p.Batch + 1}
	if err := json.Unmarshal(t.Delta, &v.Rows); err != nil {
		return checkpoint.Committed{}, err
	}
	content, err := json.Marshal(v)
	if err != nil {
		return checkpoint.Committed{}, err
	}
	for range 20 { // as often as a commit can be refused or its answer be lost
		var versions []toyVersion
		if versions, err = readTable(ctx, y.store, t.Name); err != nil {
			continue
		}
		at := int64(len(versions))
		if i := slices.IndexFunc(versions, func(v toyVersion) bool { return v.Txn > p.Batch }); i >= 0 {
			return checkpoint.Committed{Version: int64(i), Already: true}, nil
		}
		key := fmt.Sprintf("%s/%d", t.Name, at)
		if _, err = objstore.PutBytes(ctx, y.store, key, content, objstore.Cond{IfAbsent: true}); err == nil {
			return checkpoint.Committed{Version: at}, nil
		}
	}
	return checkpoint.Committed{}, err
}

func readTable(ctx context.Context, s objstore.Store, name string) ([]toyVersion, error) {
	var versions []toyVersion
	for {
		content, _, err := objstore.ReadAll(ctx, s, fmt.Sprintf("%s/%d", name, len(versions)))
		if errors.Is(err, objstore.ErrNotExist) {
			return versions, nil
		}
		var v toyVersion
		if err == nil {
			err = json.Unmarshal(content, &v)
		}
		if err != nil {
			return nil, err
		}
		versions = append(versions, v)
	}
}

func (y *toy) Archive(ctx context.Context, _ checkpoint.Plan, s checkpoint.Staged) error {
	if y.later {
		return checkpoint.ErrLater
	}
	for _, f := range s.Files {
		if _, err := y.move(ctx, f, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// toyRule is how a toy cleans the files of a batch.
func toyRule(n int64) checkpoint.Rule {
	return checkpoint.Rule{Mode: "MOVE", Location: fmt.Sprintf("mem:old/%d", n)}
}

func (y *toy) clean(ctx context.Context, b *checkpoint.Cleaning) (checkpoint.Archived, error) {
	out := checkpoint.Archived{Rule: toyRule(b.Plan.Batch)}
	for _, f := range b.Staged.Files {
		moved, err := y.move(ctx, f, func() error { return b.Begin(ctx, out.Rule) })
		if err != nil {
			return out, err
		}
		if !moved && !y.keep && f.State == checkpoint.Loaded {
			_, _, err := objstore.ReadAll(ctx, y.store, f.Key)
			begun, errBegun := b.Begun(ctx)
			if err := cmp.Or(errBegun, err); err != nil && !errors.Is(err, objstore.ErrNotExist) {
				return out, err
			}
			moved = errors.Is(err, objstore.ErrNotExist) && begun.Mode != ""
		}
		if !moved {
			out.Other = append(out.Other, checkpoint.ArchivedFile{Key: f.Key})
		}
	}
	return out, nil
}

// move moves a file that was loaded, unless it is gone, or another version is there, which is not ours to
// move. Begin is called before it is taken away.
func (y *toy) move(ctx context.Context, f checkpoint.FileOutcome, begin func() error) (moved bool, err error) {
	if y.keep || f.State != checkpoint.Loaded {
		return false, nil
	}
	content, o, err := objstore.ReadAll(ctx, y.store, f.Key)
	if errors.Is(err, objstore.ErrNotExist) || err == nil && o.ETag != f.ETag {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := objstore.PutBytes(ctx, y.store, archiveOf(f.Key), content, objstore.Cond{}); err != nil {
		return false, err
	}
	if err := begin(); err != nil {
		return false, err
	}
	err = y.store.Delete(ctx, f.Key, objstore.Cond{IfMatch: f.ETag})
	if errors.Is(err, objstore.ErrNotExist) {
		err = nil
	}
	return err == nil, err
}

// archiveOf is where a toy moves a file.
func archiveOf(key string) string { return "old/" + strings.TrimPrefix(key, "src/") }

// run runs batches until there is nothing to do.
func (y *toy) run(ctx context.Context) ([]checkpoint.Outcome, error) {
	var all []checkpoint.Outcome
	for {
		out, err := y.log.RunBatch(ctx, y)
		if err != nil || out.Idle {
			return all, err
		}
		all = append(all, out)
	}
}

func putFile(s objstore.Store, key, content string) {
	if _, err := s.Put(context.Background(), key, bytes.NewReader([]byte(content)), objstore.Cond{}); err != nil {
		panic(err) // of a store in memory
	}
}

// rows are the records of all tables, sorted.
func rows(s objstore.Store) []string {
	var all []string
	for _, name := range toyTargets {
		versions, err := readTable(context.Background(), s, name)
		if err != nil {
			panic(err) // of a store in memory
		}
		for _, v := range versions {
			all = append(all, v.Rows...)
		}
	}
	slices.Sort(all)
	return all
}
