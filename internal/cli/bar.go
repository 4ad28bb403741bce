package cli

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/siltlake/silt"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bar shows the progress of pipelines on a terminal, a line each, and log lines above them. Nothing of
// it stays when it is closed; the next progress opens it again.
type bar struct {
	app      *app
	progress *mpb.Progress // nil: closed
	lines    map[string]*barLine
}

// barLine is the line of one pipeline. What it shows is replaced as a whole, since mpb draws it from
// another goroutine.
type barLine struct {
	bar  *mpb.Bar
	text atomic.Pointer[string]
}

// set shows how far a pipeline is, after so long.
func (b *bar) set(pipeline string, p silt.Progress, since time.Duration) {
	if b.progress == nil {
		options := []mpb.ContainerOption{mpb.WithOutput(b.app.stderr), mpb.WithRefreshRate(100 * time.Millisecond), mpb.WithWidth(20)}
		if !b.app.isTerminal(b.app.stderr) {
			options = append(options, mpb.WithAutoRefresh())
		}
		b.progress, b.lines = mpb.New(options...), map[string]*barLine{}
	}
	l := b.lines[pipeline]
	if l == nil {
		l = &barLine{}
		l.text.Store(new(string))
		l.bar = b.progress.New(0, mpb.BarStyle().Lbound("").Filler("█").Tip("").Padding("░").Rbound(""),
			mpb.BarFillerTrim(),
			mpb.PrependDecorators(decor.Name(pipeline+"  ")),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return "  " + *l.text.Load() })))
		b.lines[pipeline] = l
	}
	text := progressText(p, since)
	l.text.Store(&text)
	total := max(p.BytesTotal, 1)
	l.bar.SetTotal(total+1, false) // one more, so that it never completes by itself
	l.bar.SetCurrent(min(p.BytesDone, total))
}

// close takes all lines away.
func (b *bar) close() {
	if b.progress == nil {
		return
	}
	for _, l := range b.lines {
		l.bar.Abort(true)
	}
	b.progress.Wait()
	b.progress = nil
}

// Write writes log lines above the bars.
func (b *bar) Write(p []byte) (int, error) {
	if b.progress == nil {
		return b.app.stderr.Write(p)
	}
	return b.progress.Write(p)
}

// progressText is what stands behind the bar. The time left is told only when the total is known.
func progressText(p silt.Progress, since time.Duration) string {
	if p.FilesTotal == 0 {
		return "looking for files…"
	}
	text := fmt.Sprintf("%s/%s files  %s/%s", thousands(p.FilesDone), thousands(p.FilesTotal), size(p.BytesDone), size(p.BytesTotal))
	if p.Phase == "infer" {
		return text + "  looking at the data"
	}
	rate := float64(p.BytesDone) / max(since.Seconds(), 0.001)
	text += fmt.Sprintf("  %s/s  %s rows", size(int64(rate)), compact(p.Rows))
	if p.RescuedRows > 0 {
		text += "  rescued " + share(p.RescuedRows, p.Rows)
	}
	if rate > 0 && since > 2*time.Second && p.BytesDone < p.BytesTotal {
		left := time.Duration(float64(p.BytesTotal-p.BytesDone) / rate * float64(time.Second))
		text += "  ETA " + strings.Replace(took(max(left.Round(time.Second), time.Second)), ".0 s", " s", 1)
	}
	return text
}
