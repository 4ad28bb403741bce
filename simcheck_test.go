package silt_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/objstore"
)

// check holds what must be so once all has come to rest:
//
//   - a further run finds nothing to do, and leaves all as it is
//   - the checkpoint is whole: every batch is closed, and its files are those that were there
//   - no version of a file is loaded twice, and what is in the source and was never loaded says why
//   - the table has the rows of all versions that are loaded, those of others, and no more; the quarantine
//     what is no record
//   - a batch is one version of each table, under the name of the checkpoint, and the logs of the tables
//     have no gap
//   - the archive has the files that are loaded, and the source does not have them any more
//   - what the state says of where files went is so
func (s *simulation) check(ctx context.Context) error {
	for len(s.flying) > 0 { // what lands after everything does no harm
		s.land()
	}
	time.Sleep(8 * 24 * time.Hour) // until what is loaded may be deleted
	for i := range 2 {
		before := s.objects()
		summary, err := s.load(ctx, s.outside(), nil)
		if err != nil {
			return fmt.Errorf("a further run: %w", err)
		}
		if summary.Batches > 0 {
			return fmt.Errorf("a further run makes %d batches", summary.Batches)
		}
		if after := s.objects(); i == 1 && !maps.Equal(before, after) { // the first one may clean
			return fmt.Errorf("a further run changes what is there: %v", difference(before, after))
		}
	}
	loaded, err := s.loaded(ctx, false)
	if err != nil {
		return err
	}
	return cmp.Or(s.checkSource(loaded), s.checkArchive(loaded), s.checkState(ctx), s.checkTable(ctx, loaded), s.checkQuarantine(ctx, loaded),
		s.checkLog(loaded, "t"), s.checkLog(loaded, "t_quarantine"))
}

// objects are all that are there, without those that each run writes.
func (s *simulation) objects() map[string]string {
	all := map[string]string{}
	for o := range s.cloud.mem.List(context.Background(), "", "") {
		if !strings.HasPrefix(o.Key, "lake/cp/lease") && !strings.HasPrefix(o.Key, "lake/cp/runs/") {
			all[o.Key] = o.ETag
		}
	}
	return all
}

func difference(before, after map[string]string) (keys []string) {
	for key, etag := range before {
		if after[key] != etag {
			keys = append(keys, key)
		}
	}
	for key := range after {
		if before[key] == "" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// outcomes are what became of the versions that batches took.
type outcomes struct {
	loaded  []*version
	givenUp []*version
	batches map[int64]*checkpoint.Staged
	query   string
}

// loaded reads the checkpoint. Unless some batches may be open, all must be closed.
func (s *simulation) loaded(ctx context.Context, some bool) (*outcomes, error) {
	log, err := checkpoint.OpenReadOnly(ctx, s.outside().at("s3://lake/cp"), "")
	if err != nil {
		return nil, err
	}
	out := &outcomes{batches: map[int64]*checkpoint.Staged{}, query: log.ID()}
	states := map[*version]checkpoint.FileState{}
	for b, err := range log.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		if b.Commits == nil && some {
			continue
		}
		if b.Commits == nil || b.Archived == nil && s.clean == "OFF" && !some {
			return nil, fmt.Errorf("batch %d is not closed", b.Plan.Batch)
		}
		out.batches[b.Plan.Batch] = b.Staged
		for _, f := range b.Files {
			v := s.files.versions[landing+f.Key+" "+f.ETag]
			if v == nil {
				return nil, fmt.Errorf("batch %d has a version of %s that never was", b.Plan.Batch, f.Key)
			}
			switch f.Outcome.State {
			case checkpoint.Loaded:
				out.loaded = append(out.loaded, v)
			case checkpoint.Quarantined:
				out.givenUp = append(out.givenUp, v)
			default:
				continue
			}
			if before := states[v]; before != "" {
				return nil, fmt.Errorf("%s is %s in batch %d, and was %s before", f.Key, f.Outcome.State, b.Plan.Batch, before)
			}
			states[v] = f.Outcome.State
		}
	}
	for n := range int64(len(out.batches)) {
		if out.batches[n] == nil && !some {
			return nil, fmt.Errorf("there are %d batches, and none of number %d", len(out.batches), n)
		}
	}
	return out, nil
}

// checkSource holds that nothing was forgotten.
func (s *simulation) checkSource(o *outcomes) error {
	known := map[string]bool{} // keys
	for _, v := range o.loaded {
		known[v.key] = true
	}
	for obj := range s.cloud.mem.List(context.Background(), landing, "") {
		v := s.files.versions[obj.Key+" "+obj.ETag]
		switch {
		case slices.Contains(o.loaded, v):
			if bad := len(v.bad) > 0; s.clean == "MOVE" || s.clean == "DELETE" && !bad {
				return fmt.Errorf("%s is loaded, and still in the source", obj.Key)
			}
		case slices.Contains(o.givenUp, v):
		case known[obj.Key] && !s.overwrite: // it is reported as changed
		default:
			return fmt.Errorf("%s is in the source, and no batch has loaded it", obj.Key)
		}
	}
	return nil
}

func (s *simulation) checkArchive(o *outcomes) error {
	archived := map[string]string{} // key by content
	for obj := range s.cloud.mem.List(context.Background(), "lake/old/", "") {
		content, _, err := objstore.ReadAll(context.Background(), &s.cloud.mem, obj.Key)
		if err != nil {
			return err
		}
		archived[string(content)] = obj.Key
	}
	for _, v := range o.loaded {
		key, ok := archived[v.text]
		if ok && path.Base(key)[:1] != path.Base(v.key)[:1] {
			return fmt.Errorf("%s is archived as %s", v.key, key)
		}
		if !ok && s.clean == "MOVE" && !v.replaced {
			return fmt.Errorf("%s is loaded, and not archived", v.key)
		}
		delete(archived, v.text)
	}
	for _, key := range archived {
		return fmt.Errorf("%s is archived, and was not loaded", key)
	}
	return nil
}

// checkState holds that a file of which it is said that it was moved or deleted is so, and that all are that
// nobody else took away.
func (s *simulation) checkState(ctx context.Context) error {
	states, err := silt.States(ctx, s.config(s.outside(), time.Now))
	if err != nil {
		return err
	}
	for f, err := range states[0].Files(ctx) {
		if err != nil {
			return err
		}
		v := s.files.versions[strings.TrimPrefix(f.Path, "s3://")+" "+f.ETag]
		told := fmt.Errorf("%s of batch %d: the state says %q, %v, %q", f.Path, f.Batch, f.ArchiveMode, f.ArchiveTime, f.MoveLocation)
		if f.ArchiveMode == "" {
			// A deleted file that is there again is not told from one that was replaced.
			kept := s.clean == "OFF" || s.clean == "DELETE" && (len(v.bad) > 0 || s.files.again(v))
			if f.ArchiveTime != nil || f.MoveLocation != "" || f.Status == "loaded" && !kept && !v.replaced && s.weather.loaders == 1 {
				return told
			}
			continue
		}
		if f.ArchiveMode != s.clean || f.ArchiveTime == nil || f.Status != "loaded" {
			return told
		}
		if there, _, err := s.cloud.mem.Open(ctx, v.key, objstore.Range{IfMatch: v.etag}); err == nil {
			there.Close()
			return fmt.Errorf("%w, and it is in the source", told)
		}
		if s.clean == "MOVE" {
			content, _, err := objstore.ReadAll(ctx, &s.cloud.mem, strings.TrimPrefix(f.MoveLocation, "s3://"))
			if err != nil || string(content) != v.text {
				return fmt.Errorf("%w, and that is %q, %w", told, content, err)
			}
		}
	}
	return nil
}

// mayTake holds, whenever a loader takes a file of the source away, that its batch is closed.
func (s *simulation) mayTake(c simCall, etag string) {
	if !strings.HasPrefix(c.key, landing) || s.failure != nil {
		return
	}
	o, err := s.loaded(context.Background(), true)
	if err == nil && !slices.Contains(o.loaded, s.files.versions[c.key+" "+etag]) {
		err = errors.New("no closed batch has loaded it")
	}
	if err != nil {
		s.fail(fmt.Errorf("%s takes %s away: %w", c.by.name, c.key, err))
	}
}

// tableRow is a row of the table as it is read.
type tableRow struct {
	ID, K, Seq int64
	all        map[string]any
}

func (s *simulation) rows(ctx context.Context) ([]tableRow, error) {
	t, err := delta.Load(ctx, s.outside().at("s3://lake/t"), delta.LoadOptions{})
	if errors.Is(err, delta.ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []tableRow
	for rec, err := range t.Scan(delta.ScanOptions{}).Batches(ctx) {
		if err != nil {
			return nil, err
		}
		text, err := rec.MarshalJSON()
		rec.Release()
		if err != nil {
			return nil, err
		}
		var all []map[string]any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&all); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for _, row := range all {
			r := tableRow{all: row}
			for name, to := range map[string]*int64{"id": &r.ID, "k": &r.K, "seq": &r.Seq} {
				n, _ := row[name].(json.Number)
				if *to, err = n.Int64(); err != nil {
					return nil, fmt.Errorf("%s: %w in %v", name, err, row)
				}
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// checkTable holds that the table has the rows that it must have.
func (s *simulation) checkTable(ctx context.Context, o *outcomes) error {
	got, err := s.rows(ctx)
	if err != nil {
		return fmt.Errorf("the table: %w", err)
	}
	want := slices.Clone(s.other.rows)
	for _, v := range o.loaded {
		want = append(want, v.rows...)
	}
	if s.merge {
		want = newest(want)
	}
	by := map[int64]simRow{}
	for _, r := range want {
		by[r.ID] = r
	}
	for _, r := range got {
		w, ok := by[r.ID]
		if !ok {
			return fmt.Errorf("the table has a row of id %d, once more or at all", r.ID)
		}
		delete(by, r.ID)
		rescued, _ := r.all["_rescued_data"].(string)
		value := fmt.Sprintf("y%d", r.ID)
		if r.K != w.K || r.Seq != w.Seq || w.field != "" && r.all[w.field] != value && !strings.Contains(rescued, `"`+w.field+`":"`+value+`"`) {
			return fmt.Errorf("row %v is not as it was: %+v", r.all, w)
		}
	}
	for id := range by {
		return fmt.Errorf("the table lacks the row of id %d", id)
	}
	return nil
}

// newest are of the rows of each key those of the greatest sequence.
func newest(rows []simRow) (out []simRow) {
	last := map[int64]simRow{}
	for _, r := range rows {
		if old, ok := last[r.K]; !ok || r.Seq > old.Seq {
			last[r.K] = r
		}
	}
	return slices.Collect(maps.Values(last))
}

func (s *simulation) checkQuarantine(ctx context.Context, o *outcomes) error {
	want := map[string]int{}
	for _, v := range o.loaded {
		for _, text := range v.bad {
			want[text]++
		}
	}
	for _, v := range o.givenUp {
		want["s3://"+v.key]++
	}
	for q, err := range silt.Quarantine(ctx, s.config(s.outside(), nil)) {
		if err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
		text := strings.TrimSuffix(string(q.Record), "\n")
		if q.Reason == "file" {
			text = q.File
		}
		if want[text]--; want[text] < 0 {
			return fmt.Errorf("the quarantine has %q of %s, once more or at all", text, q.File)
		}
	}
	for text, n := range want {
		if n > 0 {
			return fmt.Errorf("the quarantine lacks %q", text)
		}
	}
	return nil
}

// checkLog holds that the log of a table has no gap, and that a batch is one version.
func (s *simulation) checkLog(o *outcomes, table string) error {
	next := 0
	versions := map[int64]int{} // by batch
	for obj := range s.cloud.mem.List(context.Background(), "lake/"+table+"/_delta_log/", "") {
		name := path.Base(obj.Key)
		if !strings.HasSuffix(name, ".json") || len(name) != len("00000000000000000000.json") {
			continue
		}
		if name != fmt.Sprintf("%020d.json", next) {
			return fmt.Errorf("%s: version %d is missing", table, next)
		}
		content, _, err := objstore.ReadAll(context.Background(), &s.cloud.mem, obj.Key)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(content) {
			var a struct {
				Txn *struct {
					AppID   string
					Version int64
				}
			}
			if err := json.Unmarshal(line, &a); err != nil {
				return fmt.Errorf("%s: %w", obj.Key, err)
			}
			if a.Txn == nil {
				continue
			}
			if a.Txn.AppID != o.query {
				return fmt.Errorf("%s: version %d is of %s, and the checkpoint is %s", table, next, a.Txn.AppID, o.query)
			}
			if before, ok := versions[a.Txn.Version]; ok {
				return fmt.Errorf("%s: batch %d is versions %d and %d", table, a.Txn.Version, before, next)
			}
			versions[a.Txn.Version] = next
		}
		next++
	}
	return nil
}
