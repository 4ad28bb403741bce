package silt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

// FileAction is what can be done about files by hand. See [PlanFiles].
type FileAction string

const (
	// SkipFiles makes that files are never loaded. Those that are loaded stay so.
	SkipFiles FileAction = "skip"
	// ForgetFiles makes that files that are loaded, skipped or given up are new files: the next run loads
	// them. Rows that a table has of them stay.
	ForgetFiles FileAction = "forget"
	// RetryFiles makes that files that could not be read are read by the next run, those that were given up
	// too, and count their tries anew.
	RetryFiles FileAction = "retry"
)

// FileRequest names files and what is to be done about them.
type FileRequest struct {
	Action FileAction
	// Files are URIs, paths, keys below the source, or globs of those, in which * matches slashes too.
	Files []string
	// Reason and Actor are kept with the files, for people.
	Reason, Actor string
}

// FilePlan is what a request does in one pipeline. Nothing is changed until [FilePlan.Put].
type FilePlan struct {
	Pipeline string     `json:"pipeline"`
	Action   FileAction `json:"action"`
	Reason   string     `json:"reason,omitempty"`
	// Files are concerned; one that no batch has met has the status "new".
	Files []FileState `json:"files"`
	// Left are the files that were named and stay as they are.
	Left []LeftFile `json:"left"`
	// Gone are files that are not in the source any more, so that nothing can load them again.
	Gone []string `json:"gone,omitempty"`
	// Rows are those that the table got of the files. When they are appended, a file that is loaded again
	// brings them a second time.
	Rows    int64 `json:"rows"`
	Appends bool  `json:"appends"`
	// Request is the id under which the request is kept, once it is put.
	Request string `json:"request,omitempty"`

	actor string
	state objstore.Store
}

// LeftFile is a file that a request does not change, and why.
type LeftFile struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// FileRequestState is a request that no loader has carried out yet.
type FileRequestState struct {
	ID     string     `json:"id"`
	Time   time.Time  `json:"time"`
	Actor  string     `json:"actor,omitempty"`
	Action FileAction `json:"action"`
	Reason string     `json:"reason,omitempty"`
	Files  []string   `json:"files"`
}

// A NoFileError says that a name or glob meets no file.
type NoFileError struct{ Name, Target string }

func (e *NoFileError) Error() string {
	return fmt.Sprintf("%s is no file that was found for %s", e.Name, e.Target)
}

// PlanFiles works out what a request does to the pipelines that load into the target. It is a [*NoFileError]
// when one of the names meets nothing.
func PlanFiles(ctx context.Context, cfg Config, r FileRequest) ([]*FilePlan, error) {
	states, err := cfg.remembered(ctx)
	if err != nil {
		return nil, err
	}
	used := make([]bool, len(r.Files))
	var plans []*FilePlan
	for _, s := range states {
		p := &FilePlan{Pipeline: s.Pipeline, Action: r.Action, Reason: r.Reason, Files: []FileState{}, Left: []LeftFile{},
			Appends: !strings.EqualFold(cfg.Target.Write, "merge"), actor: r.Actor, state: s.store}
		from, err := s.from(ctx)
		if err != nil {
			return nil, err
		}
		m := newNameMatch(r.Files, from)
		if err := p.fill(ctx, s, from, m); err != nil {
			return nil, err
		}
		for i, u := range m.used {
			used[i] = used[i] || u
		}
		if len(p.Files)+len(p.Left) > 0 {
			plans = append(plans, p)
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return nil, &NoFileError{r.Files[i], cfg.Target.String()}
	}
	return plans, nil
}

// remembered is [States], with that of a pipeline of the Config that has not run yet.
func (c Config) remembered(ctx context.Context) ([]*State, error) {
	states, err := States(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(states) == 0 && c.Source != "" {
		p, faults := open(c)
		if len(faults) > 0 {
			return nil, &ConfigError{faults}
		}
		states = append(states, &State{Pipeline: p.name, Location: p.statePath, source: p.source, store: p.state})
	}
	return states, nil
}

// fill sorts the files that are named by what is known of them.
func (p *FilePlan) fill(ctx context.Context, s *State, from folder, m *nameMatch) error {
	met := map[string]FileState{} // as the last batch left them
	if s.log != nil {
		for f, err := range s.Files(ctx) {
			if err != nil {
				return err
			}
			if _, later := met[f.key]; !later && m.is(f.key, f.Path) {
				met[f.key] = f
			}
		}
	}
	there := map[string]objstore.Object{}
	if from.store != nil {
		for o, err := range m.present(ctx, from, sortedKeys(met)) {
			if err != nil {
				return fmt.Errorf("source %s: %w", from, err)
			}
			there[o.Key] = o
		}
	}
	for key, o := range there {
		if _, known := met[key]; !known {
			met[key] = FileState{key: key, Path: from.URI(key), Size: o.Size, ModTime: o.ModTime, CreateTime: o.ModTime, ETag: o.ETag, Status: "new", Batch: -1}
		}
	}
	for _, key := range sortedKeys(met) {
		f := met[key]
		if why := p.Action.leaves(f.Status); why != "" {
			p.Left = append(p.Left, LeftFile{f.Path, why})
			continue
		}
		if _, is := there[key]; !is && from.store != nil && p.Action != SkipFiles {
			p.Gone = append(p.Gone, f.Path)
		}
		p.Files = append(p.Files, f)
		if p.Action == ForgetFiles {
			p.Rows += f.Rows
		}
	}
	return nil
}

// leaves says why a file of a status is left alone; empty is that it is not.
func (a FileAction) leaves(status string) string {
	state := checkpoint.FileState(status)
	switch {
	case status == "planned":
		return "a batch that is not complete loads it"
	case a == SkipFiles && state == checkpoint.Loaded:
		return "it is loaded"
	case a == SkipFiles && state == checkpoint.Skipped:
		return "it is skipped already"
	case a == SkipFiles:
		return ""
	case status == "new" || state == checkpoint.Forgotten || state == checkpoint.Retried:
		return "the next run loads it anyway"
	case a == ForgetFiles && state.Again():
		return "it was not loaded, and the next run takes it anyway"
	case a == RetryFiles && state == checkpoint.Loaded:
		return "it is loaded; forget makes it new"
	case a == RetryFiles && state == checkpoint.Skipped:
		return "it is skipped; forget makes it new"
	}
	return ""
}

// Put asks the loaders of the pipeline to carry the plan out: the one at work does before its next batch, or
// else the next run. The request is kept in the checkpoint, and happens once.
func (p *FilePlan) Put(ctx context.Context) error {
	if len(p.Files) == 0 {
		return nil
	}
	r := checkpoint.Request{RequestHead: checkpoint.RequestHead{ID: ulid.Make().String(), Time: time.Now().UTC(), Actor: p.actor,
		Action: checkpoint.Verb(p.Action), Reason: p.Reason}}
	for _, f := range p.Files {
		r.Files = append(r.Files, checkpoint.RequestFile{Object: objstore.Object{Key: f.key, Size: f.Size, ModTime: f.ModTime, ETag: f.ETag}})
	}
	if err := checkpoint.PutRequest(ctx, p.state, "", r); err != nil {
		return fmt.Errorf("pipeline %s: %w", p.Pipeline, err)
	}
	p.Request = r.ID
	return nil
}

// Requests returns what loaders have been asked to do about files and have not done yet, the oldest first.
func (s *State) Requests(ctx context.Context) ([]FileRequestState, error) {
	var all []FileRequestState
	for r, err := range checkpoint.Requests(ctx, s.store, "") {
		if err != nil {
			return nil, err
		}
		out := FileRequestState{ID: r.ID, Time: r.Time, Actor: r.Actor, Action: FileAction(r.Action), Reason: r.Reason}
		for _, f := range r.Files {
			out.Files = append(out.Files, f.Key)
		}
		all = append(all, out)
	}
	return all, nil
}

// nameMatch knows files by the names that people give.
type nameMatch struct {
	names []string
	paths []string            // the same as URIs, where they may be local paths
	globs []func(string) bool // nil for a name that is none
	used  []bool              // which of them met a file
	keys  map[string]bool     // that names which are no globs may stand for
}

// newNameMatch reads names of files of a source.
func newNameMatch(names []string, from folder) *nameMatch {
	m := &nameMatch{names: names, used: make([]bool, len(names)), keys: map[string]bool{}}
	for _, name := range names {
		path := name
		if abs, err := absolute(name); err == nil {
			path = uriOf(abs)
		}
		m.paths = append(m.paths, path)
		var is func(string) bool
		byName, err := source.Matcher(name)
		byPath, err2 := source.Matcher(path)
		if strings.ContainsAny(name, "*?[{") && err == nil && err2 == nil {
			is = func(s string) bool { return byName(s) || byPath(s) }
		} else { // a name, such as one with a bracket in it
			if fs.ValidPath(name) {
				m.keys[name] = true
			}
			if key, below := strings.CutPrefix(path, uriOf(from.path)+"/"); below {
				m.keys[key] = true
			}
		}
		m.globs = append(m.globs, is)
	}
	return m
}

// is reports whether a file is named, by its key or its full name.
func (m *nameMatch) is(key, path string) bool {
	found := false
	for i, name := range m.names {
		if name == key || name == path || m.paths[i] == path || m.globs[i] != nil && (m.globs[i](key) || m.globs[i](path)) {
			m.used[i], found = true, true
		}
	}
	return found
}

// present yields the files that are named and in the source, and those of more that are. It lists the source
// only when there are globs.
func (m *nameMatch) present(ctx context.Context, from folder, more []string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		if slices.ContainsFunc(m.globs, func(g func(string) bool) bool { return g != nil }) {
			for o, err := range from.store.List(ctx, "", "") {
				var one *objstore.ObjectError
				if errors.As(err, &one) || err == nil && (strings.HasSuffix(o.Key, "/") || !m.is(o.Key, from.URI(o.Key))) {
					continue
				}
				if !yield(o, err) || err != nil {
					return
				}
			}
			return
		}
		for _, key := range merged(sortedKeys(m.keys), more) {
			body, o, err := from.store.Open(ctx, key, objstore.Range{})
			if errors.Is(err, objstore.ErrNotExist) || errors.Is(err, objstore.ErrNotRegular) {
				continue
			}
			if err == nil {
				err = body.Close()
				_ = m.is(key, from.URI(key))
			}
			if !yield(o, err) || err != nil {
				return
			}
		}
	}
}

// FilesNamed yields what batches made of the files that a name or glob stands for, the newest batch first.
func (s *State) FilesNamed(ctx context.Context, name string) iter.Seq2[FileState, error] {
	return func(yield func(FileState, error) bool) {
		from, err := s.from(ctx)
		if err != nil {
			yield(FileState{}, err)
			return
		}
		m := newNameMatch([]string{name}, from)
		for f, err := range s.Files(ctx) {
			if err == nil && !m.is(f.key, f.Path) {
				continue
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}
