package objstore

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openPlain opens a file without an [os.Root], which takes more than twice as many calls, where nothing is
// lost by that: the key is one name, and no link is followed there. It is nil when the file must be opened
// in the other way, which also says what is wrong with it.
func (d *Dir) openPlain(key string) (openFile, version) {
	if d.path == "" || key == "" || key == "." || key == ".." || strings.Contains(key, "/") {
		return nil, version{}
	}
	fd, err := syscall.Open(d.path+"/"+key, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, version{}
	}
	f := &plainFile{fd}
	v, err := f.version()
	if err != nil {
		_ = f.Close()
		return nil, version{}
	}
	return f, v
}

// plainFile is the descriptor of a regular file: one that never waits for its data, so that it needs
// nothing of what an [os.File] does. It is used by one goroutine.
type plainFile struct{ fd int } // negative after Close

func (f *plainFile) version() (version, error) {
	var st unix.Stat_t
	err := again(func() error { return unix.Fstat(f.fd, &st) })
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = ErrNotRegular
	}
	if err != nil {
		return version{}, f.wrong("stat", err)
	}
	return versionIn(&st), nil
}

func versionIn(st *unix.Stat_t) version {
	t := time.Unix(st.Mtim.Unix())
	return version{st.Size, t.UnixNano(), st.Ino, t}
}

// readEntries returns what is in a folder, in any order. It asks for each name what it is, and makes nothing
// of what a general [fs.FileInfo] holds beside.
func readEntries(folder *os.File) ([]dirEntry, error) {
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	conn, err := folder.SyscallConn()
	if err != nil {
		return nil, err
	}
	entries := make([]dirEntry, 0, len(names))
	var wrong error
	err = conn.Control(func(fd uintptr) {
		for _, name := range names {
			if strings.HasPrefix(name, tempPrefix) {
				continue
			}
			var e dirEntry
			if e, wrong = entryOf(int(fd), name); wrong == nil {
				entries = append(entries, e)
			} else if errors.Is(wrong, fs.ErrNotExist) {
				wrong = nil
			} else {
				return
			}
		}
	})
	return entries, cmp.Or(err, wrong)
}

// entryOf is what a name in an open folder stands for.
func entryOf(folder int, name string) (dirEntry, error) {
	var st unix.Stat_t
	err := again(func() error { return unix.Fstatat(folder, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return dirEntry{}, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	e := dirEntry{key: name, version: versionIn(&st)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return dirEntry{key: name + "/", folder: true}, nil
	case unix.S_IFREG:
	case unix.S_IFLNK:
		e.mode = fs.ModeSymlink
	default:
		e.mode = fs.ModeIrregular
	}
	return e, nil
}

func (f *plainFile) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	err = again(func() (err error) {
		n, err = syscall.Read(f.fd, p[:min(len(p), 1<<30)]) // the most that the kernel reads at once is 2 GiB
		return err
	})
	switch {
	case err != nil:
		return 0, f.wrong("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (f *plainFile) Seek(offset int64, whence int) (at int64, err error) {
	if at, err = syscall.Seek(f.fd, offset, whence); err != nil {
		err = f.wrong("seek", err)
	}
	return at, err
}

func (f *plainFile) Close() error {
	if f.fd < 0 {
		return os.ErrClosed
	}
	err := syscall.Close(f.fd)
	f.fd = -1
	return err
}

func (f *plainFile) wrong(op string, err error) error {
	if f.fd < 0 {
		err = os.ErrClosed
	}
	return os.NewSyscallError(op, err)
}

// again calls until no signal interrupts.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
