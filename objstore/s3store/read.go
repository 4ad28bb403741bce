package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/siltlake/silt/objstore"
)

// Open implements [objstore.Store]. A body that ends early is continued where it broke off, from the
// same version.
func (s *Store) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	out, o, err := s.get(ctx, key, r)
	var e *Error
	if errors.As(err, &e) && e.Code == "InvalidRange" {
		// The range starts at the end, or beyond it; there is no other way to ask for the version.
		if o, err = s.head(ctx, key, r.IfMatch); err == nil && o.Size > r.Off {
			err = fmt.Errorf("GetObject %s: it changed while it was opened: %w", s.URI(key), objstore.ErrPrecondition)
		}
		if err != nil {
			return nil, o, err
		}
		return io.NopCloser(strings.NewReader("")), o, nil
	}
	if err != nil {
		return nil, o, err
	}
	left := max(0, o.Size-r.Off)
	if r.Len > 0 {
		left = min(left, r.Len)
	}
	return &reader{store: s, ctx: ctx, key: key, etag: o.ETag, body: out, at: r.Off, left: left}, o, nil
}

// get opens a part of an object once.
func (s *Store) get(ctx context.Context, key string, r objstore.Range) (*body, objstore.Object, error) {
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: s.key(key), IfMatch: quoted(r.IfMatch)}
	switch {
	case r.Len > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", r.Off, r.Off+r.Len-1))
	case r.Off > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.Off))
	}
	var b *body
	var out *s3.GetObjectOutput
	err := s.client.repeat(ctx, harmless, func(ctx context.Context) (err error) {
		b = newBody(ctx, s.client.o.Timeout)
		if out, err = s.client.api.GetObject(b.ctx, in); err != nil {
			err = errors.Join(err, b.Close())
		}
		return err
	})
	if err != nil {
		return nil, objstore.Object{}, s.named(ctx, "GetObject", key, err)
	}
	b.ReadCloser = out.Body
	o := objstore.Object{Key: key, Size: aws.ToInt64(out.ContentLength), ModTime: aws.ToTime(out.LastModified),
		ETag: unquoted(out.ETag), VersionID: version(out.VersionId)}
	if out.ContentRange != nil {
		_, total, _ := strings.Cut(*out.ContentRange, "/")
		if o.Size, err = strconv.ParseInt(total, 10, 64); err != nil {
			_ = b.Close()
			return nil, o, fmt.Errorf("GetObject %s: the store says that it is the range %q", s.URI(key), *out.ContentRange)
		}
	} else if in.Range != nil && (r.Off > 0 || o.Size > r.Len) {
		_ = b.Close()
		return nil, o, fmt.Errorf("GetObject %s: the store does not honour ranges", s.URI(key))
	}
	if r.IfMatch != "" && o.ETag != r.IfMatch { // not every store looks at the condition
		_ = b.Close()
		return nil, o, fmt.Errorf("GetObject %s: %w", s.URI(key), objstore.ErrPrecondition)
	}
	return b, o, nil
}

// head asks what is under a key. The answer to it has no code, so an absent bucket looks like an
// absent object.
func (s *Store) head(ctx context.Context, key, etag string) (objstore.Object, error) {
	var out *s3.HeadObjectOutput
	err := s.request(ctx, "HeadObject", key, 0, harmless, func(ctx context.Context) (err error) {
		out, err = s.client.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.key(key), IfMatch: quoted(etag)})
		return err
	})
	if err != nil {
		return objstore.Object{}, err
	}
	o := objstore.Object{Key: key, Size: aws.ToInt64(out.ContentLength), ModTime: aws.ToTime(out.LastModified),
		ETag: unquoted(out.ETag), VersionID: version(out.VersionId)}
	if etag != "" && o.ETag != etag {
		return o, fmt.Errorf("HeadObject %s: %w", s.URI(key), objstore.ErrPrecondition)
	}
	return o, nil
}

// version is the id of a version; the word null is that of a bucket that has none.
func version(id *string) string {
	if v := aws.ToString(id); v != "null" {
		return v
	}
	return ""
}

// body is the body of one answer. It ends in errIdle when nothing comes for a while.
type body struct {
	io.ReadCloser
	ctx    context.Context // of the request, which lasts as long as the body
	cancel context.CancelCauseFunc
	timer  *time.Timer
	wait   time.Duration
}

var errIdle = errors.New("the store sends nothing")

func newBody(ctx context.Context, wait time.Duration) *body {
	b := &body{wait: wait}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	b.timer = time.AfterFunc(wait, func() { b.cancel(errIdle) })
	return b
}

func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.wait)
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	b.timer.Stop() // who reads slowly is not cut off
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	if b.ReadCloser == nil {
		return nil
	}
	return b.ReadCloser.Close()
}

// reader reads one version of an object to its end, over as many answers as that takes.
type reader struct {
	store     *Store
	ctx       context.Context // of the Open call, whose second half reading is
	key, etag string

	mu     sync.Mutex // Close may come from another goroutine
	closed bool
	body   *body // nil: it broke off
	at     int64 // offset of the next byte
	left   int64
	stuck  int // answers in a row that brought nothing
}

// maxStuck bounds how many answers in a row may bring nothing.
const maxStuck = 5

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.left == 0 {
			return 0, io.EOF
		}
		if r.body == nil {
			if err := r.resume(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
		r.at += int64(n)
		r.left -= int64(n)
		if n > 0 {
			r.stuck = 0
		}
		if err != nil && r.left > 0 { // an early EOF too
			if r.ctx.Err() != nil {
				return n, context.Cause(r.ctx)
			}
			_ = r.body.Close()
			r.body = nil
			if r.stuck++; r.stuck > maxStuck {
				return n, fmt.Errorf("read %s: %w at byte %d", r.store.URI(r.key), early(err), r.at)
			}
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
}

// early is the error of a body that ended before its end.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// resume opens what is left, of the same version.
func (r *reader) resume() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("read of a closed object")
	}
	if r.stuck > 0 {
		if err := pause(r.ctx, r.store.client.o.Backoff, r.stuck); err != nil {
			return err
		}
	}
	var err error
	r.body, _, err = r.store.get(r.ctx, r.key, objstore.Range{Off: r.at, Len: r.left, IfMatch: r.etag})
	if errors.Is(err, objstore.ErrNotExist) { // so is another version
		err = fmt.Errorf("read %s: it is gone: %w", r.store.URI(r.key), objstore.ErrPrecondition)
	}
	return err
}

func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
