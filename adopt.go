package silt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

// A LoadedBeforeError says that the checkpoint is new and the table has rows of the source: its memory was
// lost, or another pipeline loads the same files. They would be there twice.
type LoadedBeforeError struct {
	Table, Source, Checkpoint string
	Version                   int64  // of the table, in which a batch of the source came last
	Query                     string // that brought it
}

func (e *LoadedBeforeError) Error() string {
	return fmt.Sprintf("table %s has rows of %s since version %d, and the checkpoint %s knows nothing of them", e.Table, e.Source, e.Version, e.Checkpoint)
}

// historyMost is how many versions of a table are looked at for batches of the same source.
const historyMost = 1000

// The parameters of a commit, beside those of Spark, that say where its rows come from.
const (
	sourceParameter   = "source"
	pipelineParameter = "pipeline"
)

// checkNew fails when the checkpoint is new and the table tells of an earlier one for the same source. Rows
// that are merged by key are not doubled, and a version that the user names is in the table or is not.
func (r *run) checkNew(ctx context.Context) error {
	if !r.log.IsNew() {
		return nil
	}
	return r.loadedBefore(ctx)
}

// loadedBefore is checkNew of a pipeline whose checkpoint was new, or not there, when it was opened. Another
// loader may have made the first batch since, whose rows the table has by now: then the checkpoint knows them.
func (p *Pipeline) loadedBefore(ctx context.Context) error {
	if p.cfg.FromScratch || p.set.txn != nil {
		return nil
	}
	for _, t := range p.targets {
		if t.merge != nil {
			continue
		}
		last, err := p.lastBatch(ctx, &t.table)
		if err != nil {
			return err
		}
		if last == nil {
			continue
		}
		if known, err := checkpoint.HasBatch(ctx, p.state, ""); known || err != nil {
			return err
		}
		return last
	}
	return nil
}

// lastBatch looks for the last batch of the source that a table got; nil is none.
func (p *Pipeline) lastBatch(ctx context.Context, t *table) (*LoadedBeforeError, error) {
	history, err := delta.History(ctx, t.store, historyMost)
	if errors.Is(err, delta.ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	for _, e := range history {
		if parameter(e, sourceParameter) == p.source.String() {
			return &LoadedBeforeError{Table: t.name, Source: p.source.String(), Checkpoint: p.statePath,
				Version: e.Version, Query: parameter(e, "queryId")}, nil
		}
	}
	return nil, nil
}

func parameter(e delta.HistoryEntry, name string) (text string) {
	_ = json.Unmarshal(e.OperationParameters[name], &text) // another writer may mean something else by the name
	return text
}

// An AdoptError says why a checkpoint cannot be made from the table.
type AdoptError struct{ Table, Why, Hint string }

func (e *AdoptError) Error() string { return e.Table + ": " + e.Why }

// AdoptPlan is a new memory for a pipeline whose checkpoint was lost, made from what its table says.
type AdoptPlan struct {
	Pipeline string `json:"pipeline"`
	Location string `json:"location"` // of the checkpoint
	Table    string `json:"table"`
	Version  int64  `json:"version"` // of the table
	// Files are in the table, or only in its quarantine, and will count as loaded.
	Files int64 `json:"files"`
	Rows  int64 `json:"rows"`
	// Gone are those among them that are not in the source any more.
	Gone int64 `json:"gone"`
	// Changed are files of which the source has a version that is younger than their rows. They count as
	// changed.
	Changed []string `json:"changed"`
	// New files are in the source, and no row is of them: the next run loads them. Those that were loaded and
	// have no row, such as empty ones, are among them.
	New      int64  `json:"new"`
	FirstNew string `json:"first_new,omitempty"`
	// Foreign are rows of other sources.
	Foreign int64 `json:"foreign_rows"`

	request checkpoint.Request
	state   objstore.Store
}

// loadedFile is what tables tell of one file.
type loadedFile struct {
	rows, bad int64
	last      time.Time // when the last of its rows was made; zero is not known
}

// unknownVersion is the ETag of a file that is adopted when its version is not known.
const unknownVersion = "unknown"

// PlanAdopt reads from the table which files of the source it has. It is an [*AdoptError] when the table does
// not tell, or when the pipeline has a memory.
func PlanAdopt(ctx context.Context, cfg Config) (*AdoptPlan, error) {
	if cfg.Source == "" {
		return nil, &AdoptError{cfg.Target.String(), "which source its files come from is not known", "name a pipeline of silt.yml, which has a source"}
	}
	p, faults := open(cfg)
	if len(faults) > 0 {
		return nil, &ConfigError{faults}
	}
	log, err := checkpoint.OpenReadOnly(ctx, p.state, "")
	switch {
	case errors.Is(err, objstore.ErrNotExist):
	case err != nil:
		return nil, err
	case !log.IsNew():
		return nil, &AdoptError{p.targets[0].name, "the pipeline remembers what it has loaded", "silt checkpoint show; to begin anew, silt checkpoint reset first"}
	}
	if len(p.targets) > 1 {
		return nil, &AdoptError{p.targets[0].name, "the pipeline has several targets, and which of them got a file to its end is not known",
			"load into new tables"}
	}
	main := &p.targets[0].table
	waiting, err := (&State{store: p.state}).Requests(ctx)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(waiting, func(r FileRequestState) bool { return checkpoint.Verb(r.Action) == checkpoint.Adopt }) {
		return nil, &AdoptError{main.name, "its files are to be adopted already", "silt run does it"}
	}
	s, err := main.load(ctx)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, &AdoptError{main.name, "there is no table yet", "silt run makes it"}
	}
	if s.Schema().Index("source_file") < 0 {
		return nil, &AdoptError{main.name, "it has no column source_file (lineage is off), so that nothing tells which files it has",
			"load into a new table, or load all files again beside the rows that are there: silt run --from-scratch"}
	}
	out := &AdoptPlan{Pipeline: p.name, Location: p.statePath, Table: main.name, Version: s.Version(), Changed: []string{}, state: p.state}
	files := map[string]*loadedFile{} // by key
	prefix := uriOf(p.source.path) + "/"
	columns := []string{"source_file"}
	if s.Schema().Index("ingestion_timestamp") >= 0 {
		columns = append(columns, "ingestion_timestamp")
	}
	err = eachRow(ctx, s, columns, func(r row) {
		key, ours := strings.CutPrefix(r.text("source_file"), prefix)
		if !ours {
			out.Foreign++
			return
		}
		f := files[key]
		if f == nil {
			f = new(loadedFile)
			files[strings.Clone(key)] = f
		}
		f.rows++
		if at := r.time("ingestion_timestamp"); at.After(f.last) {
			f.last = at
		}
	})
	if err == nil {
		err = p.readAside(ctx, s, prefix, files)
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", main.name, err)
	}
	return out, out.compare(ctx, p, files)
}

// eachRow calls f for the rows of some columns.
func eachRow(ctx context.Context, s *delta.Snapshot, columns []string, f func(row)) error {
	for rec, err := range s.Scan(delta.ScanOptions{Columns: columns}).Batches(ctx) {
		if err != nil {
			return err
		}
		for n := range int(rec.NumRows()) {
			f(row{rec, n})
		}
		rec.Release()
	}
	return nil
}

// readAside adds what the quarantine tells: files of which it has records, and the table none, are loaded too.
// A batch reaches the quarantine first; one that the table may not have got is not counted, so that its files
// are loaded, and no row is missed.
func (p *Pipeline) readAside(ctx context.Context, main *delta.Snapshot, prefix string, files map[string]*loadedFile) error {
	aside, err := p.quarantine.load(ctx)
	if err != nil || aside == nil {
		return err
	}
	whole := int64(-1) // the last batch that is in the table
	last, err := p.lastBatch(ctx, &p.targets[0].table)
	if err != nil {
		return err
	}
	if last != nil {
		if n, ok := main.TxnVersion(last.Query); ok {
			whole = n
		}
	}
	return eachRow(ctx, aside, []string{"source_file", "quarantined_at", "batch_id"}, func(r row) {
		key, ours := strings.CutPrefix(r.text("source_file"), prefix)
		f := files[key]
		switch {
		case !ours, f == nil && r.long("batch_id") > whole:
			return
		case f == nil:
			f = new(loadedFile)
			files[strings.Clone(key)] = f
		}
		f.bad++
		if at := r.time("quarantined_at"); at.After(f.last) {
			f.last = at
		}
	})
}

// compare lists the source and decides what each file counts as.
func (p *AdoptPlan) compare(ctx context.Context, from *Pipeline, files map[string]*loadedFile) error {
	o := from.set.source
	o.Glob = from.source.glob
	filter, err := o.Filter()
	if err != nil {
		return err
	}
	p.request.RequestHead = checkpoint.RequestHead{ID: ulid.Make().String(), Time: time.Now().UTC(), Action: checkpoint.Adopt,
		Reason: fmt.Sprintf("adopted from version %d of the table", p.Version)}
	add := func(o objstore.Object, f *loadedFile) {
		p.Files++
		p.Rows += f.rows
		p.request.Files = append(p.request.Files, checkpoint.RequestFile{Object: o, Rows: f.rows, Bad: f.bad})
	}
	for o, err := range from.source.store.List(ctx, "", "") {
		var one *objstore.ObjectError
		if errors.As(err, &one) {
			continue
		}
		if err != nil {
			return fmt.Errorf("source %s: %w", from.source, err)
		}
		f := files[o.Key]
		if f == nil {
			if filter(o) == source.Kept {
				if p.New++; p.New == 1 {
					p.FirstNew = from.source.URI(o.Key)
				}
			}
			continue
		}
		delete(files, o.Key)
		if !f.last.IsZero() && o.ModTime.After(f.last) {
			p.Changed = append(p.Changed, from.source.URI(o.Key))
			o.ETag = unknownVersion
		}
		add(o, f)
	}
	for _, key := range sortedKeys(files) {
		p.Gone++
		add(objstore.Object{Key: key, ETag: unknownVersion}, files[key])
	}
	return nil
}

// Adopt asks the next run of the pipeline to take the files as loaded, before it loads any.
func (p *AdoptPlan) Adopt(ctx context.Context, actor string) error {
	if p.Files == 0 {
		return nil
	}
	p.request.Actor = actor
	return checkpoint.PutRequest(ctx, p.state, "", p.request)
}

// CheckpointInfo tells what a checkpoint holds.
type CheckpointInfo struct {
	Pipeline string    `json:"pipeline"`
	Location string    `json:"location"`
	Query    string    `json:"query_id"` // under which tables know it
	Created  time.Time `json:"created"`
	Batches  int64     `json:"batches"`
	// Unfinished is the batch that the next run goes on with; -1 is none.
	Unfinished int64 `json:"unfinished_batch"`
	// Files counts the files by their status, a file once, as the last batch left it.
	Files    map[string]int64   `json:"files"`
	Requests []FileRequestState `json:"requests"`
	// Owner is who works on it, as host:pid, until its lease ends; empty is nobody.
	Owner string    `json:"owner,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// Checkpoint tells what the checkpoint holds.
func (s *State) Checkpoint(ctx context.Context) (*CheckpointInfo, error) {
	out := &CheckpointInfo{Pipeline: s.Pipeline, Location: s.Location, Query: s.log.ID(), Created: s.log.Created(), Unfinished: -1, Files: map[string]int64{}}
	var err error
	if out.Requests, err = s.Requests(ctx); err != nil {
		return nil, err
	}
	if out.Owner, out.Until, err = s.log.Owner(ctx); err != nil {
		return nil, err
	}
	for b, err := range s.log.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		out.Batches = b.Plan.Batch + 1
		if b.Commits == nil {
			out.Unfinished = b.Plan.Batch
		}
		break
	}
	told := map[string]bool{}
	for f, err := range s.Files(ctx) {
		if err != nil {
			return nil, err
		}
		if !told[f.key] {
			told[f.key] = true
			out.Files[f.Status]++
		}
	}
	return out, nil
}

// ResetPlan is what [ResetPlan.Reset] removes: all that a pipeline remembers of files. The versions of its
// schema and the summaries of its runs stay, and so do its tables.
type ResetPlan struct {
	*CheckpointInfo
	Removed int `json:"removed_objects"`

	state *State
}

// PlanReset looks at the checkpoints of the pipelines that load into the target.
func PlanReset(ctx context.Context, cfg Config) ([]*ResetPlan, error) {
	states, err := States(ctx, cfg)
	if err != nil {
		return nil, err
	}
	var all []*ResetPlan
	for _, s := range states {
		info, err := s.Checkpoint(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, &ResetPlan{CheckpointInfo: info, state: s})
	}
	return all, nil
}

// Reset makes the pipeline forget all files. It is a *checkpoint.HeldError while somebody loads.
func (p *ResetPlan) Reset(ctx context.Context) (err error) {
	host, _ := os.Hostname()
	p.Removed, err = checkpoint.Reset(ctx, p.state.store, "", fmt.Sprintf("%s:%d", host, os.Getpid()), changesFolder)
	return err
}
