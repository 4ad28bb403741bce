package objstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Mem keeps objects in memory. The zero Mem is empty and ready.
type Mem struct {
	mu      sync.Mutex
	objects map[string]memObject
	version int64
}

type memObject struct {
	Object
	content []byte
}

// Open implements [Store].
func (m *Mem) Open(ctx context.Context, key string, r Range) (io.ReadCloser, Object, error) {
	m.mu.Lock()
	o, ok := m.objects[key]
	m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, Object{}, ctx.Err()
	case !ok:
		return nil, Object{}, fmt.Errorf("%s: %w", key, ErrNotExist)
	case r.IfMatch != "" && r.IfMatch != o.ETag:
		return nil, o.Object, fmt.Errorf("%s: %w", key, ErrPrecondition)
	}
	content := o.content[min(r.Off, o.Size):]
	if r.Len > 0 {
		content = content[:min(r.Len, int64(len(content)))]
	}
	return io.NopCloser(bytes.NewReader(content)), o.Object, nil
}

// Put implements [Store].
func (m *Mem) Put(ctx context.Context, key string, body io.ReadSeeker, cond Cond) (Object, error) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return Object{}, err
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return Object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, key, cond); err != nil {
		return Object{}, err
	}
	if m.objects == nil {
		m.objects = make(map[string]memObject)
	}
	m.version++
	o := Object{Key: key, Size: int64(len(content)), ModTime: time.Now(), ETag: strconv.FormatInt(m.version, 10)}
	m.objects[key] = memObject{o, content}
	return o, nil
}

// check returns the error of an operation on key under cond. The caller holds the lock.
func (m *Mem) check(ctx context.Context, key string, cond Cond) error {
	o, ok := m.objects[key]
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case cond.IfMatch != "" && !ok:
		return fmt.Errorf("%s: %w", key, ErrNotExist)
	case cond.IfAbsent && ok, cond.IfMatch != "" && cond.IfMatch != o.ETag:
		return fmt.Errorf("%s: %w", key, ErrPrecondition)
	}
	return nil
}

// List implements [Store].
func (m *Mem) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		m.mu.Lock()
		keys := slices.Sorted(maps.Keys(m.objects))
		m.mu.Unlock()
		for _, key := range keys {
			if !strings.HasPrefix(key, prefix) || key <= startAfter && startAfter != "" {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield(Object{}, err)
				return
			}
			m.mu.Lock()
			o, ok := m.objects[key]
			m.mu.Unlock()
			if ok && !yield(o.Object, nil) {
				return
			}
		}
	}
}

// Delete implements [Store].
func (m *Mem) Delete(ctx context.Context, key string, cond Cond) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check(ctx, key, cond); err != nil {
		return err
	}
	delete(m.objects, key)
	return nil
}
