package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/lmittmann/tint"
	"github.com/siltlake/silt"
)

// teller turns events of pipelines into log lines, progress and, under -o jsonl, lines of JSON. It
// remembers what was committed, for the report of an error.
type teller struct {
	app *app
	log *slog.Logger
	bar *bar // nil: progress goes to the log, or nowhere

	mu       sync.Mutex
	runs     map[string]*runState // by pipeline
	lastLine time.Time
	silent   bool // no lines about progress
}

// runState is what a teller knows about a running pipeline.
type runState struct {
	run      string
	batches  int
	last     silt.BatchCommitted
	progress silt.Progress
	started  time.Time
}

// logEvery is the time between two log lines about progress.
const logEvery = 10 * time.Second

// progressKind is how progress is shown: bar, log or none.
func (a *app) progressKind() string {
	switch {
	case a.flags.progress != "auto":
		return a.flags.progress
	case a.flags.quiet:
		return "none"
	case a.isTerminal(a.stderr) && a.env("CI") == "" && a.env("TERM") != "dumb" && a.flags.logFormat == "auto":
		return "bar"
	}
	return "log"
}

// newTeller starts to tell about pipelines.
func (a *app) newTeller() *teller {
	t := &teller{app: a, runs: map[string]*runState{}, lastLine: time.Now()}
	out := a.stderr
	switch a.progressKind() {
	case "bar":
		t.bar = &bar{app: a}
		out = t.bar
	case "none":
		t.silent = true
	}
	t.log = slog.New(a.logHandler(out))
	return t
}

// close takes the progress bar away.
func (t *teller) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bar != nil {
		t.bar.close()
	}
}

// logHandler writes log lines: for people on a terminal, else as text or JSON.
func (a *app) logHandler(out io.Writer) slog.Handler {
	options := &slog.HandlerOptions{Level: a.flags.level(), ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
		if at.Key == slog.TimeKey {
			return slog.String(at.Key, at.Value.Time().UTC().Format(time.RFC3339))
		}
		return at
	}}
	switch {
	case a.flags.logFormat == "json":
		return slog.NewJSONHandler(out, options)
	case a.flags.logFormat == "auto" && a.isTerminal(a.stderr):
		return tint.NewTextHandler(out, &tint.Options{Level: a.flags.level(), TimeFormat: time.TimeOnly, NoColor: !a.colour(a.stderr)})
	}
	return &lineHandler{out: out, level: a.flags.level()}
}

// handler takes the events of one pipeline, whose name is known once it is open.
func (t *teller) handler(p *pipeline) silt.Handler {
	return func(e silt.Event) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.app.flags.output == "jsonl" {
			_ = t.app.printJSON(eventJSON(p.name, e)) // the load goes on without its reader
		}
		t.take(p.name, e)
	}
}

func (t *teller) take(pipeline string, e silt.Event) {
	r := t.runs[pipeline]
	if r == nil {
		r = &runState{started: time.Now()}
		t.runs[pipeline] = r
	}
	log := t.log.With("pipeline", pipeline)
	if r.run != "" {
		log = log.With("run", r.run)
	}
	switch e := e.(type) {
	case silt.RunStarted:
		*r = runState{run: e.Run, started: e.Time}
		t.line(slog.LevelDebug, log.With("run", e.Run), "run started", "source", e.Source, "target", e.Target)
	case silt.Recovered:
		t.line(slog.LevelInfo, log, "finishing the batch that an earlier run left", "batch", e.Batch)
	case silt.Listed:
		r.started = time.Now()
		t.line(slog.LevelInfo, log, "files found", "files", e.Files, "bytes", e.Bytes, "changed", e.Changed)
	case silt.Progress:
		r.progress = e
		t.progress(log, pipeline, r)
	case silt.SchemaEvolved:
		if e.From < 0 {
			t.line(slog.LevelInfo, log, "schema inferred", "version", e.To)
			break
		}
		args := []any{"from", e.From, "to", e.To}
		if len(e.Added) > 0 {
			args = append(args, "added", some(paths(e.Added), 8))
		}
		if len(e.Widened) > 0 {
			args = append(args, "widened", some(paths(e.Widened), 8))
		}
		t.line(slog.LevelWarn, log, "schema evolved", append(args, "code", "SILT-2001")...)
	case silt.FileFailed:
		t.line(slog.LevelWarn, log, "file cannot be read", "file", e.File, "tries", e.Tries, "given_up", e.GivenUp, "error", e.Err, "code", "SILT-3003")
	case silt.BatchCommitted:
		if len(e.Tables) == 0 {
			t.line(slog.LevelInfo, log, "batch done, nothing to commit", "batch", e.Batch, "took", e.Took.Round(time.Millisecond))
			break
		}
		r.batches, r.last = r.batches+1, e
		if len(e.Tables) > 1 {
			log = log.With("tables", tablesText(e.Tables))
		}
		t.line(slog.LevelInfo, log, "batch committed", "batch", e.Batch, "version", e.Tables[0].Version, "files", e.Files, "rows", e.Rows,
			"rescued_rows", e.RescuedRows, "quarantined", e.Quarantined, "took", e.Took.Round(time.Millisecond))
	case silt.FilesChanged:
		args := []any{"request", e.Request, "action", e.Action, "files", e.Files, "batch", e.Batch}
		if e.Reason != "" {
			args = append(args, "reason", e.Reason)
		}
		if e.Actor != "" {
			args = append(args, "actor", e.Actor)
		}
		t.line(slog.LevelInfo, log, "request carried out", args...)
	case silt.Warning:
		t.line(slog.LevelWarn, log, e.Text, "code", e.Code)
	case silt.RunFinished:
		if t.bar != nil {
			t.bar.close()
		}
		if s := e.Summary; s != nil {
			t.line(slog.LevelDebug, log, "run finished", "files", s.Files.Loaded, "records", s.Records.Read, "rows", s.Rows, "quarantined", s.Records.Quarantined, "took", s.Took.Round(time.Millisecond))
		}
	}
}

func paths(fields []silt.NewField) []string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.Path
	}
	return all
}

// interrupted is called when the user asked to end.
func (t *teller) interrupted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line(slog.LevelWarn, t.log, "finishing the batch; interrupt again to stop now")
}

// line writes a log line, above the bar if there is one. On a terminal only what needs attention is
// worth a line: the rest is in the summary.
func (t *teller) line(level slog.Level, log *slog.Logger, text string, args ...any) {
	if t.app.machine() && level < slog.LevelWarn && t.app.flags.logFormat == "auto" {
		return
	}
	if t.app.flags.logFormat == "auto" && t.app.isTerminal(t.app.stderr) && level < slog.LevelWarn && !t.app.flags.verbose {
		return
	}
	log.Log(context.Background(), level, text, args...)
}

func (t *teller) progress(log *slog.Logger, pipeline string, r *runState) {
	if t.bar != nil {
		t.bar.set(pipeline, r.progress, time.Since(r.started))
		return
	}
	if t.silent || time.Since(t.lastLine) < logEvery {
		return
	}
	t.lastLine = time.Now()
	p := r.progress
	t.line(slog.LevelInfo, log, "progress", "phase", p.Phase, "files", fmt.Sprintf("%d/%d", p.FilesDone, p.FilesTotal), "bytes", fmt.Sprintf("%d/%d", p.BytesDone, p.BytesTotal),
		"rows", p.Rows, "rescued", share(p.RescuedRows, p.Rows))
}

// written says what the runs so far put into tables, for the report of an error.
func (t *teller) written() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.runs {
		switch {
		case r.batches == 1:
			return "1 batch was committed (" + tablesText(r.last.Tables) + "); nothing else was written"
		case r.batches > 1:
			return fmt.Sprintf("%d batches were committed (%s); nothing else was written", r.batches, tablesText(r.last.Tables))
		}
	}
	return "nothing was written"
}

// tablesText names tables with their versions.
func tablesText(all []silt.TableVersion) string {
	texts := make([]string, len(all))
	for i, t := range all {
		texts[i] = fmt.Sprintf("%s version %d", t.Table, t.Version)
	}
	return strings.Join(texts, ", ")
}

// lineHandler writes lines of time, level, text and key=value.
type lineHandler struct {
	out   io.Writer
	level slog.Level
	attrs []slog.Attr
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Time.UTC().Format(time.RFC3339) + " " + r.Level.String() + " " + r.Message)
	attr := func(at slog.Attr) bool {
		text := at.Value.String()
		if strings.ContainsAny(text, " \"=\n\t") || text == "" {
			text = string(appendString(nil, text))
		}
		b.WriteString(" " + at.Key + "=" + text)
		return true
	}
	for _, at := range h.attrs {
		attr(at)
	}
	r.Attrs(attr)
	_, err := h.out.Write([]byte(b.String() + "\n"))
	return err
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append(c.attrs[:len(c.attrs):len(c.attrs)], attrs...)
	return &c
}

func (h *lineHandler) WithGroup(string) slog.Handler { return h }

// eventJSON is an event as a line of -o jsonl.
func eventJSON(pipeline string, e silt.Event) object {
	line := func(name string, members ...member) object {
		return append(object{{"schema", "silt.event/v1"}, {"event", name}, {"time", time.Now().UTC()}, {"pipeline", pipeline}}, members...)
	}
	switch e := e.(type) {
	case silt.RunStarted:
		return line("run_started", member{"run", e.Run}, member{"source", e.Source}, member{"target", e.Target})
	case silt.Recovered:
		return line("recovered", member{"batch", e.Batch})
	case silt.Listed:
		return line("listed", member{"files", e.Files}, member{"bytes", e.Bytes}, member{"changed", e.Changed}, member{"skipped", e.Skipped}, member{"passedOver", e.PassedOver})
	case silt.Progress:
		return line("progress", member{"phase", e.Phase}, member{"filesDone", e.FilesDone}, member{"filesTotal", e.FilesTotal},
			member{"bytesDone", e.BytesDone}, member{"bytesTotal", e.BytesTotal}, member{"rows", e.Rows}, member{"rescuedRows", e.RescuedRows})
	case silt.SchemaEvolved:
		return line("schema_evolved", member{"batch", e.Batch}, member{"from", e.From}, member{"to", e.To}, member{"added", e.Added}, member{"widened", e.Widened})
	case silt.FileFailed:
		return line("file_failed", member{"file", e.File}, member{"bytes", e.Bytes}, member{"tries", e.Tries}, member{"givenUp", e.GivenUp}, member{"error", fmt.Sprint(e.Err)})
	case silt.BatchCommitted:
		return line("batch_committed", member{"batch", e.Batch}, member{"table", e.Table}, member{"version", e.Version}, member{"tables", append([]silt.TableVersion{}, e.Tables...)}, member{"files", e.Files}, member{"rows", e.Rows},
			member{"rescuedRows", e.RescuedRows}, member{"quarantined", e.Quarantined}, member{"took", e.Took})
	case silt.FilesChanged:
		return line("files_changed", member{"batch", e.Batch}, member{"request", e.Request}, member{"action", e.Action}, member{"files", e.Files},
			member{"reason", e.Reason}, member{"actor", e.Actor})
	case silt.Warning:
		return line("warning", member{"code", e.Code}, member{"text", e.Text}, member{"hint", e.Hint})
	case silt.RunFinished:
		if e.Err != nil {
			return line("run_finished", member{"summary", e.Summary}, member{"error", e.Err.Error()})
		}
		return line("run_finished", member{"summary", e.Summary})
	}
	return line("unknown")
}
