package checkpoint

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/siltlake/silt/objstore"
)

// A run holds what the batches from First to Last did with each key, sorted by key. It repeats what the
// objects of the batches say, so that it may be made at any time, by anybody, and twice: it decides
// nothing. A listing is compared with runs key by key, in memory that does not grow with them.
//
// Its entries are in an object of their own, which is written first, under a name that nobody else uses:
//
//	seen/FIRST-LAST          the runHead, JSON lines as all objects
//	seen/data/FIRST-LAST-ID  blocks: length and CRC32C of what follows, four bytes each, the lower first;
//	                         then entries, compressed by zstd. The last block has length 0.
//
// Runs of as many batches are merged to longer ones, so that an entry is written again a few times only.
type runHead struct {
	First   int64     `json:"first"`
	Last    int64     `json:"last"`
	Entries int64     `json:"entries"`
	Data    string    `json:"data"`
	Parent  string    `json:"parent"` // digest of offsets/Last
	Failing []tryLine `json:"failing,omitempty"`
}

// tryLine is a file that the last of the batches that met it could not load.
type tryLine struct {
	wireKey
	ETag  string    `json:"etag"`
	State FileState `json:"state"`
	Tries int       `json:"tries"`
	At    time.Time `json:"at"`
	Error string    `json:"error,omitempty"`
}

func (t *tryLine) try() try {
	return try{FileOutcome{Key: t.key(), ETag: t.ETag, State: t.State, Tries: t.Tries, Error: t.Error}, t.At}
}

const (
	defaultFan  = 10
	defaultKeep = 100
	blockSize   = 256 << 10 // bytes, before compression
	maxBlock    = 64 << 20
	// orphanAge is how old the data of a run must be that no head names before it is taken for what a
	// process left that died.
	orphanAge = 24 * time.Hour
)

func (r *runHead) name() string { return fmt.Sprintf("seen/%d-%d", r.First, r.Last) }

// findRuns finds the runs that hold the batches from the first on without a gap, and those that longer
// ones have taken the place of. It looks again when one is gone that was listed: another process may have
// merged it, whose run the next listing names.
func (l *Log) findRuns(ctx context.Context) (runs []runHead, old []string, err error) {
	for gone := ""; ; {
		spans, err := l.listRuns(ctx)
		if err != nil {
			return nil, nil, err
		}
		runs, old, err = l.readRuns(ctx, spans)
		var e *StateError
		if !isMissing(err) || !errors.As(err, &e) || e.Object == gone {
			return runs, old, err
		}
		gone = e.Object
	}
}

// listRuns lists the first and the last batch of each run.
func (l *Log) listRuns(ctx context.Context) (spans [][2]int64, err error) {
	prefix := l.prefix + "seen/"
	for o, err := range l.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list seen: %w", err)
		}
		from, to, ok := strings.Cut(strings.TrimPrefix(o.Key, prefix), "-")
		first, err1 := strconv.ParseInt(from, 10, 64)
		last, err2 := strconv.ParseInt(to, 10, 64)
		if ok && err1 == nil && err2 == nil {
			spans = append(spans, [2]int64{first, last})
		}
	}
	return spans, nil
}

// readRuns reads the longest runs of those that were listed.
func (l *Log) readRuns(ctx context.Context, spans [][2]int64) (runs []runHead, old []string, err error) {
	longest := map[int64]int64{} // last batch by first
	for _, s := range spans {
		longest[s[0]] = max(longest[s[0]], s[1])
	}
	chosen := map[[2]int64]bool{}
	for at := int64(0); ; {
		last, ok := longest[at]
		if !ok {
			break
		}
		r := runHead{First: at, Last: last}
		content, err := l.mustRead(ctx, r.name())
		if err != nil {
			return nil, nil, err
		}
		if r, err = decodeHead[runHead](content); err != nil {
			return nil, nil, l.broken(fmt.Sprintf("seen/%d-%d", at, last), err)
		}
		runs = append(runs, r)
		chosen[[2]int64{at, last}] = true
		at = last + 1
	}
	for _, s := range spans {
		if len(runs) > 0 && !chosen[s] && s[1] <= runs[len(runs)-1].Last {
			old = append(old, fmt.Sprintf("seen/%d-%d", s[0], s[1]))
		}
	}
	return runs, old, nil
}

// Compact puts what closed batches did into runs, merges runs, and removes the objects of old batches
// that runs hold and whose sources are cleaned. What it does can be left undone: an error of it means
// nothing for any batch.
func (l *Log) Compact(ctx context.Context) error {
	if l.lease == nil {
		return errors.New("the checkpoint is open to be looked at only")
	}
	s, err := l.Seen(ctx)
	if err != nil {
		return err
	}
	err = l.compact(ctx, s)
	if isMissing(err) { // another process may have done it
		if changed, refreshErr := s.refresh(ctx); changed || refreshErr != nil {
			return refreshErr
		}
	}
	return err
}

func (l *Log) compact(ctx context.Context, s *Seen) error {
	grown := false
	for s.end-s.runsEnd() >= l.fan {
		if err := l.newRun(ctx, s); err != nil {
			return err
		}
		grown = true
		if err := l.mergeTail(ctx, s); err != nil {
			return err
		}
	}
	if err := l.mergeTail(ctx, s); err != nil { // what an earlier process left
		return err
	}
	l.runs = slices.Clone(s.runs)
	if !grown {
		return nil
	}
	return l.purge(ctx, s)
}

// mergeTail merges the last runs as long as there are enough of one length.
func (l *Log) mergeTail(ctx context.Context, s *Seen) error {
	for n := int(l.fan); len(s.runs) >= n; {
		tail := s.runs[len(s.runs)-n:]
		if slices.ContainsFunc(tail, func(r runHead) bool { return r.Last-r.First != tail[0].Last-tail[0].First }) {
			break
		}
		merged, err := l.mergeRuns(ctx, tail)
		if err != nil {
			return err
		}
		s.runs = append(s.runs[:len(s.runs)-n:len(s.runs)-n], merged)
	}
	return nil
}

func (s *Seen) runsEnd() int64 {
	if len(s.runs) == 0 {
		return 0
	}
	return s.runs[len(s.runs)-1].Last + 1
}

// newRun makes a run of the first batches that no run holds.
func (l *Log) newRun(ctx context.Context, s *Seen) error {
	r := runHead{First: s.runsEnd()}
	r.Last = r.First + l.fan - 1
	entries := map[string]entry{}
	for n := r.First; n <= r.Last; n++ {
		b, sum, err := l.readBatch(ctx, n)
		if err != nil {
			return err
		}
		if err := l.readEnd(ctx, n, &b); err != nil {
			return err
		}
		if b.Commits == nil || b.Staged == nil {
			return &StateError{name("commits", n), "it is missing, and the batch is closed", nextDoctor}
		}
		for _, row := range b.rows() {
			e := newEntry(row)
			if before, ok := entries[row.Key]; ok {
				e = before.then(e)
			}
			entries[row.Key] = e
		}
		r.Parent = sum
	}
	r, err := l.writeRun(ctx, r, func(yield func(keyed, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			if !yield(keyed{key, entries[key]}, nil) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	runs := append(slices.Clone(s.runs), r)
	groups := slices.DeleteFunc(slices.Clone(s.groups), func(g group) bool { return g.first <= r.Last })
	if len(groups) == 0 || groups[0].first > r.Last+1 { // a group held batches of both
		return s.refill(ctx, runs)
	}
	s.runs, s.groups = runs, groups
	return nil
}

// refill reads the batches again that no run holds; none, when the runs hold more than this process has
// seen. After an error the Seen is as it was.
func (s *Seen) refill(ctx context.Context, runs []runHead) error {
	fresh := &Seen{log: s.log, runs: runs, tried: s.tried}
	fresh.end = fresh.runsEnd()
	for n := fresh.end; n < s.end; n++ {
		b, _, err := s.log.readBatch(ctx, n)
		if err != nil {
			return err
		}
		fresh.add(n, b.rows())
	}
	*s = *fresh
	return nil
}

// mergeRuns makes one run of several that follow each other.
func (l *Log) mergeRuns(ctx context.Context, runs []runHead) (runHead, error) {
	last := runs[len(runs)-1]
	return l.writeRun(ctx, runHead{First: runs[0].First, Last: last.Last, Parent: last.Parent}, l.entries(ctx, runs))
}

// entries yields those of runs that follow each other, one for each key. An error ends it.
func (l *Log) entries(ctx context.Context, runs []runHead) iter.Seq2[keyed, error] {
	return func(yield func(keyed, error) bool) {
		var cursors []*cursor
		defer func() {
			for _, c := range cursors {
				c.close()
			}
		}()
		for _, r := range runs {
			c, err := l.openRun(ctx, r)
			if err == nil {
				cursors = append(cursors, c)
				err = c.next()
			}
			if err != nil {
				yield(keyed{}, err)
				return
			}
		}
		for k, err := range merged(cursors) {
			if !yield(k, err) || err != nil {
				return
			}
		}
	}
}

// merged yields the entries of runs that follow each other, one for each key. The cursors are at their
// first entries.
func merged(cursors []*cursor) iter.Seq2[keyed, error] {
	return func(yield func(keyed, error) bool) {
		for {
			least, found := "", false
			for _, c := range cursors {
				if c.ok && (!found || c.at.key < least) {
					least, found = c.at.key, true
				}
			}
			if !found {
				return
			}
			out := keyed{key: least}
			known := false
			for _, c := range cursors {
				if !c.ok || c.at.key != least {
					continue
				}
				out.entry, known = out.join(known, c.at.entry), true
				if err := c.next(); err != nil {
					yield(keyed{}, err)
					return
				}
			}
			if !yield(out, nil) {
				return
			}
		}
	}
}

// writeRun writes a run, or returns the one that another process has written meanwhile.
func (l *Log) writeRun(ctx context.Context, r runHead, entries iter.Seq2[keyed, error]) (runHead, error) {
	if err := l.lease.hold(ctx); err != nil {
		return r, err
	}
	r.Data = fmt.Sprintf("seen/data/%d-%d-%s", r.First, r.Last, l.newID())
	w, err := objstore.Create(ctx, l.store, l.prefix+r.Data)
	if err != nil {
		return r, fmt.Errorf("write %s: %w", r.Data, err)
	}
	defer w.Abort()
	e, err := newRunWriter(w)
	if err != nil {
		return r, err
	}
	for k, err := range entries {
		if err == nil {
			err = e.add(k)
		}
		if err != nil {
			return r, fmt.Errorf("write %s: %w", r.Data, err)
		}
		r.Entries++
		if row := &k.row; row.failing() {
			o := row.Outcome
			r.Failing = append(r.Failing, tryLine{toWire(k.key), row.ETag, o.State, o.Tries, row.Planned, o.Error})
		}
	}
	if err = e.end(); err == nil {
		_, err = w.Close()
	}
	if err != nil {
		return r, fmt.Errorf("write %s: %w", r.Data, err)
	}
	content, err := encode(headed[runHead]{Body: r})
	if err != nil {
		return r, err
	}
	ours, err := l.put(ctx, r.name(), content)
	if err != nil || ours {
		return r, err
	}
	content, err = l.mustRead(ctx, r.name())
	if err != nil {
		return r, err
	}
	theirs, err := decodeHead[runHead](content)
	if err != nil {
		return r, l.broken(r.name(), err)
	}
	return theirs, l.remove(ctx, r.Data)
}

func (l *Log) remove(ctx context.Context, object string) error {
	if err := l.lease.hold(ctx); err != nil {
		return err
	}
	if err := l.store.Delete(ctx, l.prefix+object, objstore.Cond{}); err != nil {
		return fmt.Errorf("remove %s: %w", object, err)
	}
	return nil
}

// purge removes what is not needed any more: runs that longer ones hold, with their data, and the
// objects of old batches. A plan stays, small as it is: a process that slept for long meets it, and does
// not take the batch for one that nobody has planned.
func (l *Log) purge(ctx context.Context, s *Seen) error {
	runs, old, err := l.findRuns(ctx)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, r := range runs {
		named[l.prefix+r.Data] = true
	}
	for _, object := range old {
		if err := l.remove(ctx, object); err != nil {
			return err
		}
	}
	for o, err := range l.store.List(ctx, l.prefix+"seen/data/", "") {
		if err != nil {
			return fmt.Errorf("list seen: %w", err)
		}
		name := strings.TrimPrefix(o.Key, l.prefix)
		_, span, _ := strings.Cut(name, "data/")
		merged := slices.ContainsFunc(old, func(object string) bool { return strings.HasPrefix("seen/"+span, object+"-") })
		if !named[o.Key] && (merged || l.clock().Sub(o.ModTime) > orphanAge) {
			if err := l.remove(ctx, name); err != nil {
				return err
			}
		}
	}
	if err := l.purgeRequests(ctx); err != nil {
		return err
	}
	archived, err := l.ids(ctx, "archive")
	if err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(archived)) {
		if n >= s.runsEnd() || n >= s.end-l.keep {
			continue
		}
		for _, kind := range []string{"sources/0", "staged", "commits", "archive"} {
			if err := l.remove(ctx, name(kind, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// keyed is an entry with its key.
type keyed struct {
	key string
	entry
}

// runWriter writes the entries of a run.
type runWriter struct {
	w    io.Writer
	z    *zstd.Encoder
	raw  []byte
	last string // key of the entry before, in this block
}

func newRunWriter(w io.Writer) (*runWriter, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	return &runWriter{w: w, z: z}, err
}

func (w *runWriter) add(k keyed) error {
	shared := 0
	for shared < min(len(w.last), len(k.key)) && w.last[shared] == k.key[shared] {
		shared++
	}
	w.raw = binary.AppendUvarint(w.raw, uint64(shared))
	w.raw = appendText(w.raw, k.key[shared:])
	w.raw = appendEntry(w.raw, &k.entry)
	if w.last = k.key; len(w.raw) < blockSize {
		return nil
	}
	return w.block()
}

func (w *runWriter) block() error {
	packed := w.z.EncodeAll(w.raw, make([]byte, 8, len(w.raw)/4))
	binary.LittleEndian.PutUint32(packed, uint32(len(packed)-8))
	binary.LittleEndian.PutUint32(packed[4:], crc32.Checksum(packed[8:], crc32.MakeTable(crc32.Castagnoli)))
	w.raw, w.last = w.raw[:0], ""
	_, err := w.w.Write(packed)
	return err
}

func (w *runWriter) end() error {
	if len(w.raw) > 0 {
		if err := w.block(); err != nil {
			return err
		}
	}
	_, err := w.w.Write(make([]byte, 8))
	return errors.Join(err, w.z.Close())
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	b = binary.AppendVarint(append(b, 1), t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

func appendObject(b []byte, o *objstore.Object) []byte {
	b = appendTime(binary.AppendVarint(b, o.Size), o.ModTime)
	return appendText(appendText(b, o.ETag), o.VersionID)
}

// appendEntry writes an entry without its key.
func appendEntry(b []byte, e *entry) []byte {
	flags := byte(0)
	if e.loaded {
		flags |= 1
	}
	if e.again() && e.file != nil {
		flags |= 2
	}
	if e.forgot {
		flags |= 4
	}
	b = appendObject(append(b, flags), &e.row.Object)
	b = appendTime(appendTime(binary.AppendVarint(b, e.row.Batch), e.row.Planned), e.row.Committed)
	b = binary.AppendVarint(b, e.row.SchemaVersion)
	o := e.row.Outcome
	b = appendText(b, string(o.State))
	for _, n := range []int64{o.Records, o.Rows, o.Bad, o.Rescued, int64(o.Tries)} {
		b = binary.AppendVarint(b, n)
	}
	b = appendText(b, o.Error)
	if flags&2 != 0 {
		b = appendObject(b, e.file)
	}
	return b
}

// cursor reads a run from its start to its end.
type cursor struct {
	log  *Log
	run  runHead
	body io.Closer
	r    *bufio.Reader
	z    *zstd.Decoder
	left []byte // of the block
	key  []byte
	at   keyed
	ok   bool // there is an entry at
	done bool
	read int64 // entries
}

func (l *Log) openRun(ctx context.Context, r runHead) (*cursor, error) {
	body, _, err := l.store.Open(ctx, l.prefix+r.Data, objstore.Range{})
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, &StateError{r.Data, "it is missing, and " + r.name() + " is there", nextDoctor}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.Data, err)
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return &cursor{log: l, run: r, body: body, r: bufio.NewReaderSize(body, 64<<10), z: z}, nil
}

func (c *cursor) close() {
	c.z.Close()
	_ = c.body.Close()
}

// seek goes to the first entry whose key is not below key.
func (c *cursor) seek(key string) error {
	for !c.done && (!c.ok || c.at.key < key) {
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}

var errRun = errors.New("it is damaged")

// next goes to the next entry; ok is false at the end.
func (c *cursor) next() error {
	if len(c.left) == 0 && !c.done {
		if err := c.block(); err != nil {
			return fmt.Errorf("read %s: %w", c.run.Data, err)
		}
	}
	if c.done {
		c.ok = false
		return nil
	}
	d := decoder{b: c.left}
	shared := d.uint()
	suffix := d.text()
	if shared > uint64(len(c.key)) {
		d.bad = true
		shared = 0
	}
	c.key = append(c.key[:shared], suffix...)
	c.at = keyed{key: string(c.key)}
	d.entry(&c.at.entry, c.at.key)
	if d.bad {
		return c.log.broken(c.run.Data, errRun)
	}
	c.left, c.ok = d.b, true
	c.read++
	return nil
}

func (c *cursor) block() error {
	var head [8]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 {
		if c.done = true; c.read != c.run.Entries || head != [8]byte{} {
			return c.log.broken(c.run.Data, errRun)
		}
		return nil
	}
	if n > maxBlock {
		return c.log.broken(c.run.Data, errRun)
	}
	packed := bytes.NewBuffer(make([]byte, 0, min(n, 1<<20)))
	if _, err := io.CopyN(packed, c.r, int64(n)); err != nil {
		return err
	}
	if crc32.Checksum(packed.Bytes(), crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(head[4:]) {
		return c.log.broken(c.run.Data, errRun)
	}
	raw, err := c.z.DecodeAll(packed.Bytes(), nil)
	if err != nil {
		return c.log.broken(c.run.Data, err)
	}
	c.left, c.key = raw, c.key[:0]
	return nil
}

// decoder reads what the append functions write. Bad tells that it is none of that.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) text() string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

// state is a text that is one of few.
func (d *decoder) state() FileState {
	if n := len(Loaded) + 1; len(d.b) >= n && int(d.b[0]) == len(Loaded) && string(d.b[1:n]) == string(Loaded) {
		d.b = d.b[n:]
		return Loaded
	}
	return FileState(d.text())
}

func (d *decoder) time() time.Time {
	if d.byte() == 0 {
		return time.Time{}
	}
	sec := d.int()
	return time.Unix(sec, int64(d.uint())).UTC()
}

func (d *decoder) object(key string) objstore.Object {
	o := objstore.Object{Key: key, Size: d.int(), ModTime: d.time()}
	o.ETag, o.VersionID = d.text(), d.text()
	return o
}

func (d *decoder) entry(e *entry, key string) {
	flags := d.byte()
	e.loaded, e.forgot = flags&1 != 0, flags&4 != 0
	e.row.Object = d.object(key)
	e.row.Batch, e.row.Planned, e.row.Committed, e.row.SchemaVersion = d.int(), d.time(), d.time(), d.int()
	o := &FileOutcome{Key: key, ETag: e.row.ETag, State: d.state()}
	o.Records, o.Rows, o.Bad, o.Rescued, o.Tries = d.int(), d.int(), d.int(), d.int(), int(d.int())
	o.Error = d.text()
	e.row.Outcome = o
	if flags&2 != 0 {
		file := d.object(key)
		e.file = &file
	}
}
