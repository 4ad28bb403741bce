package cli

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/siltlake/silt"
)

// watcher shows how far work on a table is: a line that is replaced on a terminal, a log line now and
// then elsewhere. Nothing of it stays on a terminal.
type watcher struct {
	app   *app
	verb  string
	total silt.TableProgress // where the work itself does not know it
	line  bool               // on a terminal
	log   *slog.Logger       // nil: it says nothing

	mu    sync.Mutex
	shown time.Time
	drawn bool
}

// watch starts to show progress. Nothing appears before the work has taken a moment.
func (a *app) watch(verb string) *watcher {
	w := &watcher{app: a, verb: verb, shown: time.Now()}
	switch a.progressKind() {
	case "bar":
		w.line = true
	case "log":
		w.log = slog.New(a.logHandler(a.stderr))
	}
	return w
}

// drawEvery is the time between two drawings of the line.
const drawEvery = 200 * time.Millisecond

// tell takes progress, from any goroutine.
func (w *watcher) tell(p silt.TableProgress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	every := logEvery
	if w.line {
		every = drawEvery
	}
	if !w.line && w.log == nil || time.Since(w.shown) < every {
		return
	}
	w.shown = time.Now()
	if p.FilesTotal == 0 {
		p.FilesTotal, p.BytesTotal = w.total.FilesTotal, w.total.BytesTotal
	}
	files, bytes := thousands(p.Files), ""
	if p.FilesTotal > 0 {
		files = thousands(min(p.Files, p.FilesTotal)) + "/" + thousands(p.FilesTotal)
	}
	if p.BytesTotal > 0 {
		bytes = size(min(p.BytesRead, p.BytesTotal)) + "/" + size(p.BytesTotal)
	}
	if w.line {
		w.drawn = true
		fmt.Fprintf(w.app.stderr, "\r\x1b[K%s… %s files  %s", w.verb, files, bytes)
		return
	}
	w.log.Info(w.verb, "files", files, "bytes", bytes)
}

// close takes the line away.
func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drawn {
		fmt.Fprint(w.app.stderr, "\r\x1b[K")
	}
	w.line, w.log = false, nil
}
