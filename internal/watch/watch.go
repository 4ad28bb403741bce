// Package watch hears from the system which files below a folder were made or changed.
//
// What it hears is a hint. A file is told of when its name appears, which is before its content is there,
// and again while it is written; one that was made in the moment in which its folder was is told of too.
// On a network file system, nothing is told of what other machines do. So a listing decides, now and then.
package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// ErrLimit means that the system watches no more folders for this user.
var ErrLimit = errors.New("the system watches no more folders for this user")

// ErrNoWatch means that this system tells of files only at the cost of an open file for each.
var ErrNoWatch = errors.New("this system does not tell of changes in folders")

// maxKeys bounds how many files are kept that nobody has asked for; with more, only a listing helps.
const maxKeys = 100_000

// Folder watches a folder and those below it.
type Folder struct {
	root    string
	skip    func(key string) bool
	watcher *fsnotify.Watcher
	changed chan struct{}
	done    chan struct{} // closed when the goroutine has ended

	mu   sync.Mutex
	keys map[string]struct{}
	lost bool
	err  error
}

// Open watches the folder at root and all below it, but for those that skip says, by their key with a
// slash at its end. It is ErrLimit or ErrNoWatch when the system does not. The caller closes the Folder.
func Open(root string, skip func(folder string) bool) (*Folder, error) {
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		return nil, ErrNoWatch
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, limit(err)
	}
	f := &Folder{root: filepath.Clean(root), skip: skip, watcher: w, changed: make(chan struct{}, 1), done: make(chan struct{}), keys: map[string]struct{}{}}
	if err := f.add(f.root, false); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	go f.listen()
	return f, nil
}

// Close ends the watch.
func (f *Folder) Close() error {
	err := f.watcher.Close()
	<-f.done
	return err
}

// Changed has a value when there may be something to take.
func (f *Folder) Changed() <-chan struct{} { return f.changed }

// Take returns the files that may be new or changed since the last Take, by their keys below the folder, in no
// order. Lost says that there are others. After an error nothing is heard any more.
func (f *Folder) Take() (keys []string, lost bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.keys {
		keys = append(keys, k)
	}
	lost = f.lost
	clear(f.keys)
	f.lost = false
	return keys, lost, f.err
}

// listen ends when the watcher is closed.
func (f *Folder) listen() {
	defer close(f.done)
	for {
		select {
		case e, ok := <-f.watcher.Events:
			if !ok {
				return
			}
			f.event(e)
		case err, ok := <-f.watcher.Errors:
			if !ok {
				return
			}
			if f.note(func() { f.lost = true }); !errors.Is(err, fsnotify.ErrEventOverflow) {
				f.fail(err)
			}
		}
	}
}

func (f *Folder) event(e fsnotify.Event) {
	if e.Op&^(fsnotify.Remove|fsnotify.Rename) == 0 {
		if e.Name == f.root {
			f.note(func() { f.lost = true }) // a listing tells what became of it
		}
		return
	}
	if e.Has(fsnotify.Create) {
		if fi, err := os.Lstat(e.Name); err == nil && fi.IsDir() {
			if err := f.add(e.Name, true); err != nil {
				f.fail(err)
			}
			return
		}
	}
	f.file(e.Name)
}

// add watches a folder and those below it. With tell, it tells of the files that are there.
func (f *Folder) add(folder string, tell bool) error {
	return filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && name == f.root:
			return err
		case err != nil:
			return nil //nolint:nilerr // it may not be read, or is gone; a listing tells of it
		case d.IsDir():
			if name != f.root && f.skip != nil && f.skip(f.key(name)+"/") {
				return fs.SkipDir
			}
			err := f.watcher.Add(name) // before its files are listed
			if errors.Is(err, fs.ErrNotExist) && name != f.root {
				return fs.SkipDir
			}
			return limit(err)
		case tell:
			f.file(name)
		}
		return nil
	})
}

func (f *Folder) key(name string) string {
	return filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(name, f.root), string(filepath.Separator)))
}

// file tells of a file.
func (f *Folder) file(name string) {
	f.note(func() {
		if len(f.keys) >= maxKeys {
			f.lost = true
			return
		}
		f.keys[f.key(name)] = struct{}{}
	})
}

func (f *Folder) fail(err error) {
	f.note(func() { f.lost, f.err = true, err })
}

// note changes what Take returns.
func (f *Folder) note(change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default: // it was said before
	}
}

// limit names the errors by which a system says that it watches no more.
func limit(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return errors.Join(ErrLimit, err)
	}
	return err
}
