package silt

import (
	"context"
	"errors"
	"time"

	"github.com/siltlake/silt/internal/watch"
)

// folderHints hears of files from the system that has the folder.
type folderHints struct{ folder *watch.Folder }

func (f *folderHints) hear(ctx context.Context, wait time.Duration) (heard, error) {
	if h, err := f.take(); len(h.keys) > 0 || h.lost || err != nil {
		return h, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-f.folder.Changed():
		return f.take()
	case <-timer.C:
	case <-ctx.Done():
	}
	return heard{}, nil
}

func (f *folderHints) take() (h heard, err error) {
	h.keys, h.lost, err = f.folder.Take()
	return h, err
}

func (f *folderHints) settle([]string) {}

func (f *folderHints) broken(err error) (Warning, bool) { return unwatched(err), true }

func (f *folderHints) close(context.Context) error { return f.folder.Close() }

// unwatched is the warning that the system does not tell of files.
func unwatched(err error) Warning {
	w := Warning{Code: "SILT-5007", Text: "the source is not watched, so it is listed again and again: " + err.Error()}
	if errors.Is(err, watch.ErrLimit) {
		w.Hint = "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances, see man 7 inotify"
	}
	return w
}
