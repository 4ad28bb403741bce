package objstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Dir keeps objects as files below a folder, one file a key.
//
// A put is a temporary file that is synced, then given its name: by link(2) when the name must be
// absent, which is the one call that fails instead of replacing, else by rename(2). A file is durable
// together with its name before a put returns. All access goes through [os.Root], so no key and no
// symbolic link leads out of the folder.
//
// An ETag is made of size, modification time and inode, because a local file has no other mark of its
// version.
type Dir struct{ path string }

// NewDir returns the store of the folder at path. The folder need not exist: it is made by the first
// write, and an absent folder lists nothing.
func NewDir(path string) *Dir { return &Dir{path} }

// tempPrefix starts the names of files that are being written. A listing passes over them.
const tempPrefix = ".silt-tmp-"

func (d *Dir) root(create bool) (*os.Root, error) {
	if create {
		if err := os.MkdirAll(d.path, 0o777); err != nil {
			return nil, err
		}
	}
	return os.OpenRoot(d.path)
}

// Open implements [Store].
func (d *Dir) Open(ctx context.Context, key string, r Range) (io.ReadCloser, Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, Object{}, err
	}
	f, v, err := d.open(key)
	if err != nil {
		return nil, Object{}, err
	}
	o := v.object(key)
	if r.IfMatch != "" && r.IfMatch != o.ETag {
		err = fmt.Errorf("%s: %w", key, ErrPrecondition)
	}
	if err == nil && r.Off > 0 {
		_, err = f.Seek(r.Off, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, o, err
	}
	left := r.Len
	if left == 0 {
		left = max(0, o.Size-r.Off)
	}
	return &dirReader{f: f, key: key, version: v, left: left}, o, nil
}

// openFile is a regular file that is read.
type openFile interface {
	io.ReadSeekCloser
	// version is that of now.
	version() (version, error)
}

// open opens a regular file, and returns its version.
func (d *Dir) open(key string) (openFile, version, error) {
	if f, v := d.openPlain(key); f != nil {
		return f, v, nil
	}
	root, err := d.root(false)
	if err != nil {
		return nil, version{}, err
	}
	defer root.Close()
	f, err := root.OpenFile(key, os.O_RDONLY|nonblock, 0) // a pipe must not block the open
	if err != nil {
		return nil, version{}, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", key, ErrNotRegular)
	}
	if err != nil {
		f.Close()
		return nil, version{}, err
	}
	return rootFile{f}, versionOf(fi), nil
}

// rootFile is a file that was opened below a root.
type rootFile struct{ *os.File }

func (f rootFile) version() (version, error) {
	fi, err := f.Stat()
	if err != nil {
		return version{}, err
	}
	return versionOf(fi), nil
}

// version is what an ETag is made of.
type version struct {
	size    int64
	modTime int64 // nanoseconds since 1970, as [time.Time.UnixNano] has them
	inode   uint64
	time    time.Time // the same as modTime, where that can hold it
}

func versionOf(fi fs.FileInfo) version {
	return version{fi.Size(), fi.ModTime().UnixNano(), inode(fi), fi.ModTime()}
}

func (v *version) object(key string) Object {
	return Object{Key: key, Size: v.size, ModTime: v.time, ETag: v.etag()}
}

func (v *version) etag() string {
	b := strconv.AppendInt(make([]byte, 0, 48), v.size, 16)
	b = strconv.AppendInt(append(b, '-'), v.modTime, 16)
	b = strconv.AppendUint(append(b, '-'), v.inode, 16)
	return string(b)
}

// dirReader ends with ErrPrecondition when the file changed while it was read.
type dirReader struct {
	f       openFile
	key     string
	version version
	left    int64 // bytes still to read
}

func (r *dirReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, r.end()
	}
	n, err := r.f.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF {
		err = r.end()
	}
	return n, err
}

func (r *dirReader) end() error {
	v, err := r.f.version()
	if err == nil && (v.size != r.version.size || v.modTime != r.version.modTime || v.inode != r.version.inode) {
		err = fmt.Errorf("%s changed while it was read: %w", r.key, ErrPrecondition)
	}
	if err == nil {
		err = io.EOF
	}
	return err
}

func (r *dirReader) Close() error { return r.f.Close() }

func dirObject(key string, fi fs.FileInfo) Object {
	v := versionOf(fi)
	return v.object(key)
}

// Put implements [Store].
func (d *Dir) Put(ctx context.Context, key string, body io.ReadSeeker, cond Cond) (Object, error) {
	if err := ctx.Err(); err != nil {
		return Object{}, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return Object{}, err
	}
	root, err := d.root(true)
	if err != nil {
		return Object{}, err
	}
	defer root.Close()
	dir := path.Dir(key)
	if err := mkdirAll(root, dir); err != nil {
		return Object{}, err
	}
	temp := path.Join(dir, tempPrefix+rand.Text())
	defer root.Remove(temp)
	fi, err := writeFile(root, temp, body)
	if err != nil {
		return Object{}, err
	}
	switch {
	case cond.IfAbsent:
		err = linkAbsent(root, temp, key)
	case cond.IfMatch != "":
		err = whileLocked(root, dir, func() error {
			if err := matches(root, key, cond.IfMatch); err != nil {
				return err
			}
			return root.Rename(temp, key)
		})
	default:
		err = root.Rename(temp, key)
	}
	if err == nil {
		err = syncDir(root, dir)
	}
	if err != nil {
		return Object{}, err
	}
	return dirObject(key, fi), nil
}

func writeFile(root *os.Root, name string, body io.Reader) (fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(f, body)
	if err == nil {
		err = f.Sync()
	}
	fi, statErr := f.Stat()
	return fi, cmp.Or(err, statErr, f.Close())
}

// linkAbsent gives temp its name if no file has it. A network file system can make the link and lose
// the answer: then temp has two names.
func linkAbsent(root *os.Root, temp, key string) error {
	err := root.Link(temp, key)
	if err == nil {
		return nil
	}
	if fi, statErr := root.Lstat(temp); statErr == nil && links(fi) == 2 {
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", key, ErrPrecondition)
	}
	return err
}

// matches fails unless the file has the ETag.
func matches(root *os.Root, key, etag string) error {
	fi, err := root.Lstat(key)
	if err == nil && dirObject(key, fi).ETag != etag {
		err = fmt.Errorf("%s: %w", key, ErrPrecondition)
	}
	return err
}

// mkdirAll makes the folder and syncs each one that holds a new name.
func mkdirAll(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if fi, err := root.Stat(dir); err == nil && fi.IsDir() {
		return nil
	}
	if err := mkdirAll(root, path.Dir(dir)); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(root, path.Dir(dir))
}

func syncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) { // a file system without folders to sync
		err = nil
	}
	return cmp.Or(err, f.Close())
}

// Create implements [Creator]. The file has its name from the start.
func (d *Dir) Create(ctx context.Context, key string) (Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := d.root(true)
	if err != nil {
		return nil, err
	}
	if err = mkdirAll(root, path.Dir(key)); err == nil {
		var f *os.File
		if f, err = root.OpenFile(key, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666); err == nil {
			return &dirWriter{File: f, root: root, key: key}, nil
		}
	}
	root.Close()
	return nil, err
}

type dirWriter struct {
	*os.File
	root *os.Root // nil after Close or Abort
	key  string
}

func (w *dirWriter) Close() (Object, error) {
	err := w.Sync()
	fi, statErr := w.Stat()
	err = cmp.Or(err, statErr, w.File.Close())
	if err == nil {
		err = syncDir(w.root, path.Dir(w.key))
	}
	if err != nil {
		return Object{}, err
	}
	w.root.Close()
	w.root = nil
	return dirObject(w.key, fi), nil
}

func (w *dirWriter) Abort() {
	if w.root == nil {
		return
	}
	w.File.Close()
	w.root.Remove(w.key)
	w.root.Close()
	w.root = nil
}

// Delete implements [Store]. Folders that become empty stay.
func (d *Dir) Delete(ctx context.Context, key string, cond Cond) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	root, err := d.root(false)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && cond.IfMatch == "" {
			return nil
		}
		return err
	}
	defer root.Close()
	if cond.IfMatch == "" {
		if err := root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return whileLocked(root, path.Dir(key), func() error {
		if err := matches(root, key, cond.IfMatch); err != nil {
			return err
		}
		return root.Remove(key)
	})
}

// List implements [Store].
func (d *Dir) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		root, err := d.root(false)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				yield(Object{}, err)
			}
			return
		}
		w := dirWalk{ctx: ctx, prefix: prefix, startAfter: startAfter, yield: yield}
		w.walk(root, "")
	}
}

// CheckFolder is ErrNotExist unless there is a folder at the prefix: a listing does not tell an absent
// folder from an empty one.
func (d *Dir) CheckFolder(ctx context.Context, prefix string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	root, err := d.root(false)
	if err != nil {
		return err
	}
	defer root.Close()
	sub, err := root.OpenRoot(path.Join(".", prefix))
	if err != nil {
		return err
	}
	return sub.Close()
}

type dirWalk struct {
	ctx                context.Context
	prefix, startAfter string
	yield              func(Object, error) bool
}

// walk yields the files below folder, whose name ends in a slash or is empty, and closes it. It
// reports whether to go on.
func (w *dirWalk) walk(folder *os.Root, name string) bool {
	defer folder.Close()
	entries, err := readDir(folder)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return true // it vanished since its name was read
		}
		return w.yield(Object{}, &ObjectError{Key: name, Err: err})
	}
	for _, e := range entries {
		key := name + e.key
		if e.folder {
			if w.skipFolder(key) {
				continue
			}
			sub, err := folder.OpenRoot(strings.TrimSuffix(e.key, "/"))
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				if !w.yield(Object{}, &ObjectError{Key: key, Err: err}) {
					return false
				}
			case !w.walk(sub, key):
				return false
			}
			continue
		}
		if !strings.HasPrefix(key, w.prefix) || w.startAfter != "" && key <= w.startAfter {
			continue
		}
		if err := w.ctx.Err(); err != nil {
			w.yield(Object{}, err)
			return false
		}
		o, err := e.object(folder, key)
		if !w.yield(o, err) {
			return false
		}
	}
	return true
}

// skipFolder reports whether no key below the folder is wanted.
func (w *dirWalk) skipFolder(key string) bool {
	if !strings.HasPrefix(key, w.prefix) && !strings.HasPrefix(w.prefix, key) {
		return true
	}
	return key < w.startAfter && !strings.HasPrefix(w.startAfter, key)
}

type dirEntry struct {
	key     string // ends in a slash for a folder, so that the order of entries is the order of keys
	folder  bool
	mode    fs.FileMode // of a file: its type alone
	version version     // of a file
}

// readDir returns what is in a folder, in the order of keys. What vanishes meanwhile is left out.
func readDir(folder *os.Root) ([]dirEntry, error) {
	f, err := folder.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := readEntries(f)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b dirEntry) int { return strings.Compare(a.key, b.key) })
	return entries, nil
}

// object is what the entry says of a file, or of the file that a link leads to, if that is inside the
// folder.
func (e *dirEntry) object(folder *os.Root, key string) (o Object, err error) {
	mode, v := e.mode, e.version
	if mode == fs.ModeSymlink {
		fi, err := folder.Stat(e.key)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrNotRegular, err)
			return Object{}, &ObjectError{Key: key, Err: err}
		}
		mode, v = fi.Mode().Type(), versionOf(fi)
	}
	if mode != 0 {
		return Object{}, &ObjectError{Key: key, Err: ErrNotRegular}
	}
	return v.object(key), nil
}
