package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/siltlake/silt/objstore"
)

// Put implements [objstore.Store]. What is larger than a part goes up in parts, and the condition is
// that of their completion.
func (s *Store) Put(ctx context.Context, key string, body io.ReadSeeker, cond objstore.Cond) (objstore.Object, error) {
	if err := ctx.Err(); err != nil {
		return objstore.Object{}, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return objstore.Object{}, err
	}
	return s.put(ctx, key, body, cond, conditional(cond))
}

// put is a Put of which a request for a whole object is made again after the answers that a allows.
func (s *Store) put(ctx context.Context, key string, body io.Reader, cond objstore.Cond, a again) (objstore.Object, error) {
	first, err := readPart(body, s.client.o.Part)
	if err == nil { // there is more
		return s.putParts(ctx, key, first, body, cond)
	}
	if err != io.EOF {
		return objstore.Object{}, err
	}
	return s.putWhole(ctx, key, first, cond, a)
}

// readPart reads n bytes, or less and io.EOF.
func readPart(r io.Reader, n int) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, min(n, 64<<10)))
	_, err := io.CopyN(b, r, int64(n))
	return b.Bytes(), err
}

func conditional(c objstore.Cond) again {
	if c.IfAbsent || c.IfMatch != "" {
		return nothingLanded
	}
	return harmless
}

func ifNoneMatch(c objstore.Cond) *string {
	if c.IfAbsent {
		return aws.String("*")
	}
	return nil
}

func (s *Store) putWhole(ctx context.Context, key string, content []byte, cond objstore.Cond, a again) (objstore.Object, error) {
	var out *s3.PutObjectOutput
	size := int64(len(content))
	err := s.request(ctx, "PutObject", key, size, a, func(ctx context.Context) (err error) {
		out, err = s.client.api.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &s.bucket, Key: s.key(key), Body: bytes.NewReader(content), ContentLength: &size,
			IfNoneMatch: ifNoneMatch(cond), IfMatch: quoted(cond.IfMatch),
		})
		return err
	})
	if err != nil {
		return objstore.Object{}, err
	}
	return objstore.Object{Key: key, Size: size, ModTime: time.Now(), ETag: unquoted(out.ETag), VersionID: version(out.VersionId)}, nil
}

func (s *Store) putParts(ctx context.Context, key string, first []byte, rest io.Reader, cond objstore.Cond) (objstore.Object, error) {
	u, err := s.startUpload(ctx, key, cond)
	if err != nil {
		return objstore.Object{}, err
	}
	u.send(first)
	for {
		part, err := readPart(rest, u.partSize())
		if err != nil && err != io.EOF {
			u.abort()
			return objstore.Object{}, err
		}
		if len(part) > 0 {
			u.send(part)
		}
		if err == io.EOF {
			return u.complete()
		}
	}
}

// atOnce is how many parts of an object go up at once.
const atOnce = 3

// upload is a multipart upload. Its methods are called by one goroutine.
type upload struct {
	store *Store
	ctx   context.Context // of the call that began it
	key   string
	id    *string
	cond  objstore.Cond
	sent  int // parts
	size  int64
	slots chan struct{}
	wg    sync.WaitGroup

	mu    sync.Mutex
	parts []types.CompletedPart
	err   error // the first of a part
}

func (s *Store) startUpload(ctx context.Context, key string, cond objstore.Cond) (*upload, error) {
	u := &upload{store: s, ctx: ctx, key: key, cond: cond, slots: make(chan struct{}, atOnce)}
	err := s.request(ctx, "CreateMultipartUpload", key, 0, harmless, func(ctx context.Context) error {
		out, err := s.client.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: s.key(key)})
		if err == nil {
			u.id = out.UploadId
		}
		return err
	})
	return u, err
}

// partSize is that of the next part. It grows, because an object has at most 10,000.
func (u *upload) partSize() int { return u.store.client.o.Part << (u.sent / 1500) }

// send uploads a part in the background. It waits while many are under way.
func (u *upload) send(content []byte) {
	n := int32(u.sent + 1)
	u.sent++
	u.size += int64(len(content))
	u.mu.Lock()
	u.parts = append(u.parts, types.CompletedPart{PartNumber: &n})
	u.mu.Unlock()
	u.slots <- struct{}{}
	u.wg.Go(func() {
		defer func() { <-u.slots }()
		s := u.store
		size := int64(len(content))
		err := s.request(u.ctx, "UploadPart", u.key, size, harmless, func(ctx context.Context) error {
			out, err := s.client.api.UploadPart(ctx, &s3.UploadPartInput{Bucket: &s.bucket, Key: s.key(u.key), UploadId: u.id,
				PartNumber: &n, Body: bytes.NewReader(content), ContentLength: &size})
			if err == nil {
				u.mu.Lock()
				u.parts[n-1].ETag = out.ETag
				u.mu.Unlock()
			}
			return err
		})
		u.fail(err)
	})
}

func (u *upload) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
	}
}

func (u *upload) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// complete makes the parts an object.
func (u *upload) complete() (objstore.Object, error) {
	u.wg.Wait()
	if u.err != nil {
		u.abort()
		return objstore.Object{}, u.err
	}
	s := u.store
	o := objstore.Object{Key: u.key, Size: u.size}
	err := s.request(u.ctx, "CompleteMultipartUpload", u.key, 0, conditional(u.cond), func(ctx context.Context) error {
		out, err := s.client.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.bucket, Key: s.key(u.key), UploadId: u.id, MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
			IfNoneMatch: ifNoneMatch(u.cond), IfMatch: quoted(u.cond.IfMatch),
		})
		if err == nil {
			o.ModTime, o.ETag, o.VersionID = time.Now(), unquoted(out.ETag), version(out.VersionId)
		}
		return err
	})
	var e *Error
	switch {
	case err == nil:
		return o, nil
	case errors.As(err, &e) && e.Code == "NoSuchUpload" && conditional(u.cond) == harmless:
		// A completion whose answer was lost takes the upload away, and the second one does not find it.
		there, headErr := s.head(u.ctx, u.key, "")
		if headErr == nil && there.Size == u.size {
			return there, nil
		}
	case errors.Is(err, objstore.ErrPrecondition):
		u.abort()
	}
	return objstore.Object{}, err
}

// abort gives the parts up. Its failure leaves them, invisible, to the bucket's rule for old uploads.
func (u *upload) abort() {
	u.wg.Wait()
	s := u.store
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), s.client.o.Timeout)
	defer cancel()
	_ = s.request(ctx, "AbortMultipartUpload", u.key, 0, harmless, func(ctx context.Context) error {
		_, err := s.client.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: s.key(u.key), UploadId: u.id})
		return err
	})
}

// Create implements [objstore.Creator]. The object is not visible before Close.
func (s *Store) Create(ctx context.Context, key string) (objstore.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &writer{store: s, ctx: ctx, key: key}, nil
}

// writer collects a part, and sends it when the next begins.
type writer struct {
	store *Store
	ctx   context.Context // of the Create call
	key   string
	part  []byte
	up    *upload // nil: all is in part
	done  bool
}

func (w *writer) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		size := w.store.client.o.Part
		if w.up != nil {
			if err := w.up.failed(); err != nil {
				return n, err
			}
			size = w.up.partSize()
		}
		if len(w.part) >= size {
			if w.up == nil {
				if w.up, err = w.store.startUpload(w.ctx, w.key, objstore.Cond{}); err != nil {
					w.up = nil
					return n, err
				}
			}
			w.up.send(w.part)
			w.part = nil
			continue
		}
		k := min(len(p), size-len(w.part))
		w.part = append(w.part, p[:k]...)
		p = p[k:]
		n += k
	}
	return n, nil
}

func (w *writer) Close() (objstore.Object, error) {
	if w.done {
		return objstore.Object{}, fmt.Errorf("%s: it is closed", w.store.URI(w.key))
	}
	w.done = true
	if w.up == nil {
		return w.store.putWhole(w.ctx, w.key, w.part, objstore.Cond{}, harmless)
	}
	if len(w.part) > 0 {
		w.up.send(w.part)
	}
	return w.up.complete()
}

func (w *writer) Abort() {
	if !w.done && w.up != nil {
		w.up.abort()
	}
	w.done = true
}

// Delete implements [objstore.Store]. S3 does not say whether there was something to delete, so that
// under a condition an absent object may be no error.
func (s *Store) Delete(ctx context.Context, key string, cond objstore.Cond) error {
	tries := 0
	err := s.request(ctx, "DeleteObject", key, 0, harmless, func(ctx context.Context) error {
		tries++
		_, err := s.client.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(key), IfMatch: quoted(cond.IfMatch)})
		return err
	})
	if errors.Is(err, objstore.ErrNotExist) && (cond.IfMatch == "" || tries > 1) {
		err = nil // an earlier try may have deleted it
	}
	return err
}
