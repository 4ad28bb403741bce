package silt_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/siltlake/silt"
	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// simFiles are the files of the source, and all versions that they ever had.
type simFiles struct {
	sim      *simulation
	left     int // files that are still to come
	keys     []string
	versions map[string]*version // by key and ETag
	rows     int64
	fields   int
}

// version is one version of a file.
type version struct {
	key, etag, text string
	rows            []simRow
	bad             []string // text that is no record
	broken          bool     // it cannot be read at all
	replaced        bool     // by another version, or removed, by who wrote it
}

// again reports whether there was another version under the key.
func (f *simFiles) again(v *version) bool {
	for _, other := range f.versions {
		if other.key == v.key && other != v {
			return true
		}
	}
	return false
}

// simRow is a record, and a row of the table.
type simRow struct {
	ID, K, Seq int64
	field      string // another one that it has
}

const landing = "landing/in/"

func newSimFiles(s *simulation) *simFiles {
	return &simFiles{sim: s, left: s.weather.files, versions: map[string]*version{}}
}

// arrive puts a new file, and reports whether there was one left.
func (f *simFiles) arrive() bool {
	if f.left == 0 {
		return false
	}
	f.left--
	s := f.sim
	key := fmt.Sprintf("%s%c%d.json", landing, 'a'+s.dice.IntN(26), len(f.keys))
	if s.dice.IntN(12) == 0 {
		key += ".gz"
	}
	if s.dice.IntN(4) == 0 {
		s.cloud.aged[key] = time.Duration(s.dice.IntN(24*20)) * time.Hour
	}
	f.keys = append(f.keys, key)
	f.write(key)
	return true
}

// write puts a version of a file.
func (f *simFiles) write(key string) {
	s := f.sim
	v := &version{key: key, broken: strings.HasSuffix(key, ".gz")}
	var lines []string
	bad := false
	for range 1 + s.dice.IntN(3) {
		if s.dice.IntN(6) == 0 && !bad { // bad lines that follow each other are one
			bad = true
			v.bad = append(v.bad, fmt.Sprintf("no record %d", f.rows))
			lines = append(lines, v.bad[len(v.bad)-1])
			f.rows++
			continue
		}
		bad = false
		f.rows++
		r := simRow{ID: f.rows, K: int64(s.dice.IntN(5)), Seq: int64(s.dice.IntN(1000))<<20 + f.rows}
		line := fmt.Sprintf(`{"id":%d,"k":%d,"seq":%d}`, r.ID, r.K, r.Seq)
		if s.dice.IntN(4) == 0 {
			if f.fields == 0 || s.dice.IntN(2) == 0 {
				f.fields++
			}
			r.field = fmt.Sprintf("x%d", f.fields)
			line = fmt.Sprintf(`{"id":%d,"k":%d,"seq":%d,"%s":"y%d"}`, r.ID, r.K, r.Seq, r.field, r.ID)
		}
		v.rows = append(v.rows, r)
		lines = append(lines, line)
	}
	v.text = strings.Join(lines, "\n") + "\n"
	switch {
	case v.broken:
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(v.text)); err != nil {
			panic(err)
		}
		if err := z.Close(); err != nil {
			panic(err)
		}
		v.text = b.String()[:b.Len()-10]
	case s.dice.IntN(8) == 0 && !bad: // a record whose end is still to come
		f.rows++
		v.bad = append(v.bad, fmt.Sprintf(`{"id":%d,"k`, f.rows))
		v.text += v.bad[len(v.bad)-1]
	}
	f.put(v)
}

// put stores a version of a file.
func (f *simFiles) put(v *version) {
	o, err := objstore.PutBytes(context.Background(), &f.sim.cloud.mem, v.key, []byte(v.text), objstore.Cond{})
	if err != nil {
		panic(err)
	}
	v.etag = o.ETag
	f.versions[v.key+" "+v.etag] = v
	f.sim.note("%s arrives, %d bytes", v.key, len(v.text))
}

// change overwrites or removes a file.
func (f *simFiles) change() {
	if len(f.keys) == 0 {
		return
	}
	s := f.sim
	key := f.keys[s.dice.IntN(len(f.keys))]
	if s.dice.IntN(3) > 0 {
		f.replace(key)
		return
	}
	f.replaced(key)
	s.note("%s vanishes", key)
	_ = s.cloud.mem.Delete(context.Background(), key, objstore.Cond{})
}

// replace puts another version of a file.
func (f *simFiles) replace(key string) {
	f.replaced(key)
	f.write(key)
}

// replaced says of the version that is there that it is about to be gone.
func (f *simFiles) replaced(key string) {
	if etag, err := f.sim.cloud.etag(key); err == nil {
		f.versions[key+" "+etag].replaced = true
	}
}

// foreigner writes to the table beside the loaders, and meets no faults.
type foreigner struct {
	sim     *simulation
	merge   bool
	process *process // at work; nil is none
	rows    []simRow // in the table
	n       int64
	doing   func() // what is so when its work has ended well
}

// begin starts what the foreigner does next.
func (f *foreigner) begin(ctx context.Context) {
	if f.process != nil {
		return
	}
	s := f.sim
	f.n++
	p := s.newProcess(fmt.Sprintf("foreign.%d", f.n))
	ctx, p.kill = context.WithCancel(ctx)
	f.process, f.doing = p, nil
	table := p.at("s3://lake/t")
	var do func(*delta.Snapshot) error
	switch s.dice.IntN(4) {
	case 0, 1:
		r := simRow{ID: -f.n, K: -f.n, Seq: f.n}
		f.doing = func() { f.rows = append(f.rows, r) }
		do = func(t *delta.Snapshot) error { return appendRow(ctx, table, t, r) }
	case 2:
		do = func(t *delta.Snapshot) error {
			_, _, err := t.Optimize(ctx, delta.OptimizeOptions{})
			return err
		}
	case 3:
		if len(f.rows) == 0 {
			f.process = nil
			p.kill()
			return
		}
		id := f.rows[0].ID
		f.doing = func() { f.rows = f.rows[1:] }
		do = func(t *delta.Snapshot) error {
			_, _, err := t.DeleteRows(ctx, delta.Compare{Column: []string{"id"}, Op: delta.Equal, Value: id}, delta.ChangeOptions{})
			return err
		}
	}
	s.note("%s begins", p.name)
	go s.guard(p, nil, func() (*silt.Summary, error) {
		t, err := delta.Load(ctx, table, delta.LoadOptions{})
		if err != nil {
			return nil, err
		}
		return nil, do(t)
	})
}

func (f *foreigner) ended(e ended) {
	conflict := (*delta.ConflictError)(nil)
	switch {
	case e.panic != "":
		f.sim.fail(errors.New("panic: " + e.panic))
	case e.by.dead.Load(), errors.Is(e.err, delta.ErrNoTable), errors.As(e.err, &conflict):
	case e.err != nil:
		f.sim.fail(fmt.Errorf("%s: %w", e.by.name, e.err))
	case f.doing != nil:
		f.doing()
	}
	f.sim.note("%s ends: %v", e.by.name, e.err != nil)
	f.process = nil
}

// appendRow adds a row to a table.
func appendRow(ctx context.Context, store objstore.Store, t *delta.Snapshot, r simRow) error {
	columns, err := schema.ParseDDL("id BIGINT, k BIGINT, seq BIGINT")
	if err != nil {
		return err
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, columns.Arrow(),
		strings.NewReader(fmt.Sprintf(`[{"id":%d,"k":%d,"seq":%d}]`, r.ID, r.K, r.Seq)))
	if err != nil {
		return err
	}
	defer rec.Release()
	tx := t.Begin("WRITE")
	if err := tx.SetSchema(columns); err != nil {
		return err
	}
	w, err := delta.NewDataWriter(ctx, store, tx.WriteContext(), delta.DataWriterOptions{})
	if err != nil {
		return err
	}
	defer w.Abort(ctx)
	if err := w.Write(ctx, rec); err != nil {
		return err
	}
	adds, err := w.Close(ctx)
	if err != nil {
		return err
	}
	tx.Add(adds...)
	_, err = tx.Commit(ctx, nil)
	return err
}
