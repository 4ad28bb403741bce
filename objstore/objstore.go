// Package objstore reads and writes objects under keys: in memory ([Mem]), in a folder ([Dir]), and,
// in sub-packages, in object storage.
//
// A key is a sequence of bytes with slashes between its parts; it is opaque, and never cleaned or
// re-encoded. An [Object] says which version of a key's content was met. Everything silt does once
// rests on one operation, the conditional [Store.Put], and on its three outcomes:
//
//	nil              this call stored the content
//	ErrPrecondition  this call stored nothing: the condition does not hold
//	any other error  unknown: the content may have been stored, or may still be
//
// A store never repeats a conditional put by itself, because the second try can lose against the
// first. The caller reads the object back and compares. Package objstoretest holds this contract as
// tests; every store passes them.
package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"
)

// The errors a caller branches on. Stores wrap them with the key.
var (
	// ErrNotExist means that there is no object under the key.
	ErrNotExist = fs.ErrNotExist
	// ErrPermission means that the store knows the caller and refuses.
	ErrPermission = fs.ErrPermission
	// ErrPrecondition means that a condition does not hold: an object is there that must be absent, or
	// is not the version that must match.
	ErrPrecondition = errors.New("precondition failed")
	// ErrNotRegular marks what a listing met and no one can load: a pipe, a device, a link that leads
	// out of the folder.
	ErrNotRegular = errors.New("not a regular file")
)

// Store is a flat space of keys. Its methods may be called from any number of goroutines.
type Store interface {
	// Open reads the part of the object that r names. The Object returned is the version that is read;
	// the reader fails with ErrPrecondition rather than mix two versions. The caller closes the reader.
	Open(ctx context.Context, key string, r Range) (io.ReadCloser, Object, error)
	// Put stores body under key if cond holds. Readers see the old content or the new, never a part.
	// Body is read from its start, and may be read again.
	Put(ctx context.Context, key string, body io.ReadSeeker, cond Cond) (Object, error)
	// List yields the objects whose keys start with prefix and come after startAfter, in the order of
	// the bytes of their keys. An *ObjectError concerns one object and the listing goes on; any other
	// error ends it. A listing of nothing is empty.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error]
	// Delete removes the object if cond holds. Removing what is not there is no error, but may be
	// ErrNotExist when cond asks for a version.
	Delete(ctx context.Context, key string, cond Cond) error
}

// Object is one version of the content under a key.
type Object struct {
	Key     string    `json:"key"`
	Size    int64     `json:"size"` // bytes
	ModTime time.Time `json:"modTime"`
	// ETag differs between any two versions under one key. It is opaque.
	ETag string `json:"etag"`
	// VersionID names the version in stores that keep more than one; otherwise empty.
	VersionID string `json:"versionId,omitempty"`
}

// Range names a part of an object. The zero Range is the whole of any version.
type Range struct {
	Off int64
	// Len is the number of bytes wanted; 0 is everything from Off on.
	Len int64
	// IfMatch, when set, is the ETag the object must have; otherwise the open is ErrPrecondition.
	IfMatch string
}

// Cond is the condition of a put or a delete. The zero Cond always holds.
type Cond struct {
	// IfAbsent holds when there is no object under the key.
	IfAbsent bool
	// IfMatch holds when the object has this ETag.
	IfMatch string
}

// An ObjectError is what a listing yields for an object or a folder that it cannot look at.
type ObjectError struct {
	Key string
	Err error
}

func (e *ObjectError) Error() string { return fmt.Sprintf("%s: %v", e.Key, e.Err) }

func (e *ObjectError) Unwrap() error { return e.Err }

// Creator is implemented by stores that take an object as a stream.
type Creator interface {
	// Create starts a new object under a key that nobody else uses. Until Close it may be visible in
	// part, or not at all.
	Create(ctx context.Context, key string) (Writer, error)
}

// Writer takes the content of one object. After an error of Write the only useful call is Abort.
type Writer interface {
	io.Writer
	// Close ends the content and makes it durable. After an error the object may or may not be there.
	Close() (Object, error)
	// Abort gives the object up and removes what is there of it. After Close it does nothing.
	Abort()
}

// Copier is implemented by stores that copy objects without their bytes passing through here.
type Copier interface {
	// CopyFrom stores version o of an object of another store under key, if key is absent. It is
	// errors.ErrUnsupported when only the caller can carry the bytes, and ErrPrecondition or ErrNotExist
	// when the version is not there any more, or key is not absent, which an earlier try may have made so.
	CopyFrom(ctx context.Context, key string, from Store, o Object) (Object, error)
}

// Copy stores version o of an object of one store under a key of another, if the key is absent: without its
// bytes passing through here where the stores can. ErrPrecondition may be either that the version is not
// there any more, or that the key is not absent.
func Copy(ctx context.Context, to Store, key string, from Store, o Object) (Object, error) {
	if c, ok := to.(Copier); ok {
		if copied, err := c.CopyFrom(ctx, key, from, o); !errors.Is(err, errors.ErrUnsupported) {
			return copied, err
		}
	}
	r, _, err := from.Open(ctx, o.Key, Range{IfMatch: o.ETag})
	if err != nil {
		return Object{}, err
	}
	defer r.Close()
	return to.Put(ctx, key, &onceReader{r: r}, Cond{IfAbsent: true})
}

// onceReader is a body that can be read once, from its start.
type onceReader struct {
	r    io.Reader
	read bool
}

func (o *onceReader) Read(p []byte) (int, error) {
	o.read = true
	return o.r.Read(p)
}

func (o *onceReader) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart || o.read {
		return 0, errors.New("the content of a copy is read once")
	}
	return 0, nil
}

// Tagger is implemented by stores that keep marks beside an object.
type Tagger interface {
	// Tag sets marks of an object and leaves its others. It may be repeated.
	Tag(ctx context.Context, key string, tags map[string]string) error
}

// Create starts a new object under a key that nobody else uses: as a stream where the store can, else
// collected in memory.
func Create(ctx context.Context, s Store, key string) (Writer, error) {
	if c, ok := s.(Creator); ok {
		return c.Create(ctx, key)
	}
	return &bufferWriter{ctx: ctx, store: s, key: key}, nil
}

type bufferWriter struct {
	bytes.Buffer
	ctx   context.Context // of the Create call, whose second half Close is
	store Store
	key   string
}

func (w *bufferWriter) Close() (Object, error) {
	return w.store.Put(w.ctx, w.key, bytes.NewReader(w.Bytes()), Cond{IfAbsent: true})
}

func (w *bufferWriter) Abort() { w.Reset() }

// ReadAll returns the whole content of an object.
func ReadAll(ctx context.Context, s Store, key string) ([]byte, Object, error) {
	r, o, err := s.Open(ctx, key, Range{})
	if err != nil {
		return nil, o, err
	}
	defer r.Close()
	buf := bytes.NewBuffer(make([]byte, 0, o.Size+bytes.MinRead))
	if _, err := buf.ReadFrom(r); err != nil {
		return nil, o, fmt.Errorf("read %s: %w", key, err)
	}
	return buf.Bytes(), o, nil
}

// PutBytes is [Store.Put] of content that is in memory.
func PutBytes(ctx context.Context, s Store, key string, content []byte, cond Cond) (Object, error) {
	return s.Put(ctx, key, bytes.NewReader(content), cond)
}
