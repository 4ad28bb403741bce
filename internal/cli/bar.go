package cli

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/siltlake/silt"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// bar shows the progress of pipelines on a terminal, a line each. The lines are gone when it ends.
type bar struct {
	progress *mpb.Progress
	lines    map[string]*barLine
}

// barLine is the line of one pipeline. What it shows is replaced as a whole, since mpb draws it from
// another goroutine.
type barLine struct {
	bar  *mpb.Bar
	text atomic.Pointer[string]
}

func newBar(a *app) *bar {
	options := []mpb.ContainerOption{mpb.WithOutput(a.stderr), mpb.WithRefreshRate(100 * time.Millisecond), mpb.WithWidth(20)}
	if !a.isTerminal(a.stderr) {
		options = append(options, mpb.WithAutoRefresh())
	}
	return &bar{progress: mpb.New(options...), lines: map[string]*barLine{}}
}

// set shows how far a pipeline is, after so long.
func (b *bar) set(pipeline string, p silt.Progress, since time.Duration) {
	l := b.lines[pipeline]
	if l == nil {
		l = &barLine{}
		text := ""
		l.text.Store(&text)
		l.bar = b.progress.New(0, mpb.BarStyle().Lbound("").Filler("█").Tip("").Padding("░").Rbound(""),
			mpb.BarRemoveOnComplete(), mpb.BarFillerTrim(),
			mpb.PrependDecorators(decor.Name(pipeline+"  ")),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return "  " + *l.text.Load() })))
		b.lines[pipeline] = l
	}
	text := progressText(p, since)
	l.text.Store(&text)
	total := p.BytesTotal
	l.bar.SetTotal(max(total, 1)+1, false) // one more, so that only done completes it
	l.bar.SetCurrent(min(p.BytesDone, total))
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
		text += "  ETA " + took(max(left.Round(time.Second), time.Second))
	}
	return text
}

// done removes the line of a pipeline.
func (b *bar) done(pipeline string) {
	if l := b.lines[pipeline]; l != nil {
		l.bar.Abort(true)
		delete(b.lines, pipeline)
	}
}

// Write writes log lines above the bars.
func (b *bar) Write(p []byte) (int, error) { return b.progress.Write(p) }

// close removes all lines.
func (b *bar) close() {
	for p := range b.lines {
		b.done(p)
	}
	b.progress.Wait()
}
