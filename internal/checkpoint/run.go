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
//	                         then entries, compressed by zstd. The last block has length 0. After it
//	                         comes, framed in the same way, where each block begins and its first key:
//	                         so a few keys are looked up among many without reading all blocks.
//
// Runs of as many batches are merged to longer ones, so that an entry is written again a few times only.
type runHead struct {
	First   int64     `json:"first"`
	Last    int64     `json:"last"`
	Entries int64     `json:"entries"`
	Data    string    `json:"data"`
	Index   int64     `json:"index"`  // where in the data it begins, in bytes; 0 is that there is none
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
	// readOn is over how many bytes a cursor reads on: another request takes a store as long as those.
	readOn = 1 << 20
	// orphanAge is how old the data of a run must be that no head names before it is taken for what a
	// process left that died.
	orphanAge = 24 * time.Hour
)

func (r *runHead) name() string { return fmt.Sprintf("seen/%d-%d", r.First, r.Last) }

// keyed is an entry with its key.
type keyed struct {
	key string
	entry
}

// runWriter writes the entries of a run.
type runWriter struct {
	w     io.Writer
	z     *zstd.Encoder
	raw   []byte
	last  string // key of the entry before, in this block
	at    int64  // bytes written
	index runIndex
}

func newRunWriter(w io.Writer) (*runWriter, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	return &runWriter{w: w, z: z}, err
}

func (w *runWriter) add(k keyed) error {
	if len(w.raw) == 0 {
		w.index = append(w.index, blockStart{k.key, w.at})
	}
	w.raw = appendKey(w.raw, w.last, k.key)
	w.raw = appendEntry(w.raw, &k.entry)
	if w.last = k.key; len(w.raw) < blockSize {
		return nil
	}
	return w.block()
}

// block writes what is raw as a block.
func (w *runWriter) block() error {
	packed := w.z.EncodeAll(w.raw, make([]byte, 8, len(w.raw)/4+8))
	binary.LittleEndian.PutUint32(packed, uint32(len(packed)-8))
	binary.LittleEndian.PutUint32(packed[4:], crc32.Checksum(packed[8:], crc32.MakeTable(crc32.Castagnoli)))
	w.raw, w.last = w.raw[:0], ""
	return w.write(packed)
}

func (w *runWriter) write(b []byte) error {
	n, err := w.w.Write(b)
	w.at += int64(n)
	return err
}

// end writes what is left, and returns where the index begins.
func (w *runWriter) end() (index int64, err error) {
	if len(w.raw) > 0 {
		err = w.block()
	}
	if err == nil {
		err = w.write(make([]byte, 8))
	}
	if index = w.at; err == nil {
		w.raw = w.index.append(w.raw)
		err = w.block()
	}
	return index, errors.Join(err, w.z.Close())
}

// cursor reads a run from its start to its end, or goes on at later keys.
type cursor struct {
	log    *Log
	run    runHead
	body   io.Closer
	r      *bufio.Reader
	z      *zstd.Decoder
	index  runIndex // nil until it is needed
	blocks int      // those up to the open one
	jumped bool     // over some
	left   []byte   // of the open block
	key    []byte
	at     keyed
	ok     bool // there is an entry at
	done   bool
	read   int64 // entries
}

func (l *Log) openRun(ctx context.Context, r runHead) (*cursor, error) {
	c := &cursor{log: l, run: r}
	if err := c.open(ctx, 0); err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		return nil, errors.Join(err, c.body.Close())
	}
	c.z = z
	return c, nil
}

// open goes on to read at an offset.
func (c *cursor) open(ctx context.Context, offset int64) error {
	body, _, err := c.log.store.Open(ctx, c.log.prefix+c.run.Data, objstore.Range{Off: offset})
	if errors.Is(err, objstore.ErrNotExist) {
		return &StateError{c.run.Data, "it is missing, and " + c.run.name() + " is there", nextDoctor}
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", c.run.Data, err)
	}
	if c.body != nil {
		_ = c.body.Close()
		c.r.Reset(body)
	} else {
		c.r = bufio.NewReaderSize(body, 64<<10)
	}
	c.body = body
	return nil
}

func (c *cursor) close() {
	c.z.Close()
	_ = c.body.Close()
}

// seek goes to the first entry whose key is not below key. It reads what lies before in the open block and
// in the next one, and passes over blocks after those.
func (c *cursor) seek(ctx context.Context, key string) error {
	if err := c.jump(ctx, key); err != nil {
		return err
	}
	for first := c.blocks; !c.done && (!c.ok || c.at.key < key); {
		if len(c.left) == 0 && c.index == nil && c.run.Index > 0 && c.blocks > first {
			if err := c.readIndex(ctx); err != nil {
				return err
			}
			if err := c.jump(ctx, key); err != nil {
				return err
			}
		}
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}

// jump goes on at the block that has the key, if it has any, unless that is the open one or the next. It does
// so by the index alone.
func (c *cursor) jump(ctx context.Context, key string) error {
	n := c.index.find(key)
	if n <= c.blocks || c.done {
		return nil
	}
	if gap := c.index[n].offset - c.index[c.blocks].offset; gap <= readOn {
		if _, err := c.r.Discard(int(gap)); err != nil {
			return fmt.Errorf("read %s: %w", c.run.Data, err)
		}
	} else if err := c.open(ctx, c.index[n].offset); isMissing(err) {
		c.unindexed()
		return nil
	} else if err != nil {
		return err
	}
	c.left, c.ok, c.blocks, c.jumped = nil, false, n, true
	return nil
}

// unindexed lets the cursor read on as it began: another process has merged the run, and removed its data.
func (c *cursor) unindexed() { c.index, c.run.Index = nil, 0 }

func (c *cursor) readIndex(ctx context.Context) error {
	body, o, err := c.log.store.Open(ctx, c.log.prefix+c.run.Data, objstore.Range{Off: c.run.Index})
	if errors.Is(err, objstore.ErrNotExist) {
		c.unindexed()
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", c.run.Data, err)
	}
	defer body.Close()
	raw, err := c.frame(body)
	if err == nil {
		if c.index, err = decodeIndex(raw, o.Size); err != nil {
			err = c.log.broken(c.run.Data, err)
		}
	}
	return err
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
	c.key = d.key(c.key)
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
	raw, err := c.frame(c.r)
	if err != nil {
		return err
	}
	if raw == nil {
		if c.done = true; !c.jumped && c.read != c.run.Entries {
			return c.log.broken(c.run.Data, errRun)
		}
		return nil
	}
	c.left, c.key = raw, c.key[:0]
	c.blocks++
	return nil
}

// frame reads one block; nil is the last one.
func (c *cursor) frame(r io.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxBlock || n == 0 && head != [8]byte{} {
		return nil, c.log.broken(c.run.Data, errRun)
	}
	if n == 0 {
		return nil, nil
	}
	packed := bytes.NewBuffer(make([]byte, 0, min(n, 1<<20)))
	if _, err := io.CopyN(packed, r, int64(n)); err != nil {
		return nil, err
	}
	if crc32.Checksum(packed.Bytes(), crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, c.log.broken(c.run.Data, errRun)
	}
	raw, err := c.z.DecodeAll(packed.Bytes(), []byte{})
	if err != nil {
		return nil, c.log.broken(c.run.Data, err)
	}
	return raw, nil
}
