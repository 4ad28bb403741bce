package checkpoint

import (
	"encoding/binary"
	"time"

	"github.com/siltlake/silt/objstore"
)

func appendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// appendKey writes a key as what differs from the one before it.
func appendKey(b []byte, last, key string) []byte {
	shared := 0
	for shared < min(len(last), len(key)) && last[shared] == key[shared] {
		shared++
	}
	return appendText(appendUint(b, uint64(shared)), key[shared:])
}

func appendText(b []byte, s string) []byte {
	return append(appendUint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	b = binary.AppendVarint(append(b, 1), t.Unix())
	return appendUint(b, uint64(t.Nanosecond()))
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

// key reads a key into the one before it.
func (d *decoder) key(last []byte) []byte {
	shared, suffix := d.uint(), d.text()
	if shared > uint64(len(last)) {
		d.bad = true
		return last[:0]
	}
	return append(last[:shared], suffix...)
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
