package checkpoint

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/siltlake/silt/objstore"
)

// A Request changes what is remembered of files. Anybody may put one at any time, without the lease. The
// loader makes a batch of it before it plans any other: then the request is as durable as that batch, and
// happens once. Two objects hold it, each created once:
//
//	requests/ID       what is wanted
//	requests/done/ID  a batch has done it, or nothing was left to do
type Request struct {
	RequestHead
	Files []RequestFile `json:"-"` // a line each
}

// RequestHead is a request without its files.
type RequestHead struct {
	// ID sorts requests by age.
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Actor  string    `json:"actor,omitempty"` // who asks, for people
	Action Verb      `json:"action"`
	Reason string    `json:"reason,omitempty"`
}

// Verb is what a request wants to be done with its files.
type Verb string

const (
	// Skip makes files count as dealt with that were not loaded.
	Skip Verb = "skip"
	// Forget makes files that count as dealt with new ones.
	Forget Verb = "forget"
	// Retry makes files new that were given up, and lets those that failed begin to count their tries anew.
	Retry Verb = "retry"
	// Adopt makes files count as loaded that the checkpoint does not know.
	Adopt Verb = "adopt"
)

// states are what becomes of the files of a request.
var states = map[Verb]FileState{Skip: Skipped, Forget: Forgotten, Retry: Retried, Adopt: Loaded}

// RequestFile is a version of a file that a request is about.
type RequestFile struct {
	objstore.Object
	// Rows are those that the table has of it, Bad the records in quarantine; for Adopt.
	Rows, Bad int64
}

type requestLine struct {
	fileLine
	Rows int64 `json:"rows,omitempty"`
	Bad  int64 `json:"bad,omitempty"`
}

type requestHead struct {
	RequestHead
	Files int `json:"files"`
}

// requestDone is the object requests/done/ID.
type requestDone struct {
	ID    string    `json:"id"`
	Time  time.Time `json:"time"`
	Batch int64     `json:"batch"` // -1: none was needed
}

const (
	requests     = "requests/"
	requestsDone = "requests/done/"
)

// PutRequest asks the loaders of the checkpoint below prefix for something. There need not be a checkpoint
// yet.
func PutRequest(ctx context.Context, store objstore.Store, prefix string, r Request) error {
	if states[r.Action] == "" || r.ID == "" || strings.Contains(r.ID, "/") || len(r.Files) == 0 {
		return fmt.Errorf("request %q to %q %d files", r.ID, r.Action, len(r.Files))
	}
	slices.SortFunc(r.Files, func(a, b RequestFile) int { return strings.Compare(a.Key, b.Key) })
	lines := []any{headed[requestHead]{Body: requestHead{r.RequestHead, len(r.Files)}}}
	for _, f := range r.Files {
		lines = append(lines, requestLine{toFileLine(f.Object), f.Rows, f.Bad})
	}
	content, err := encode(lines...)
	if err != nil {
		return err
	}
	ours, err := newLog(store, prefix, Options{}).put(ctx, requests+r.ID, content)
	if err == nil && !ours {
		err = fmt.Errorf("%s%s: there is another one", requests, r.ID)
	}
	return err
}

// Requests yields the requests below prefix that no batch has done yet, the oldest first. There need not be
// a checkpoint. An error ends it.
func Requests(ctx context.Context, store objstore.Store, prefix string) iter.Seq2[Request, error] {
	return func(yield func(Request, error) bool) {
		l := newLog(store, prefix, Options{})
		ids, err := l.asked(ctx)
		if err != nil {
			yield(Request{}, err)
			return
		}
		for _, id := range ids {
			r, err := l.readRequest(ctx, id)
			if isMissing(err) { // done since, and removed
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// asked lists the requests that are not done, the oldest first.
func (l *Log) asked(ctx context.Context) ([]string, error) {
	var all []string
	done := map[string]bool{}
	for o, err := range l.store.List(ctx, l.prefix+requests, "") {
		if err != nil {
			return nil, fmt.Errorf("list requests: %w", err)
		}
		name := strings.TrimPrefix(o.Key, l.prefix)
		if id, is := strings.CutPrefix(name, requestsDone); is {
			done[id] = true
		} else {
			all = append(all, strings.TrimPrefix(name, requests))
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(id string) bool { return done[id] }), nil
}

func (l *Log) readRequest(ctx context.Context, id string) (Request, error) {
	content, err := l.mustRead(ctx, requests+id)
	if err != nil {
		return Request{}, err
	}
	h, err := decodeHead[requestHead](content)
	r := Request{RequestHead: h.RequestHead}
	if err == nil {
		_, rest, _ := decode(content)
		r.Files, err = decodeLines(rest, h.Files, func([]byte) (l requestLine, ok bool) { return }, func(l requestLine) RequestFile {
			return RequestFile{l.object(), l.Rows, l.Bad}
		})
	}
	if err == nil && (r.ID != id || states[r.Action] == "") {
		err = fmt.Errorf("it is %q to %q", r.ID, r.Action)
	}
	if err != nil {
		return r, l.broken(requests+id, err)
	}
	return r, nil
}

// requested returns the oldest request that is not done, and the files that it still applies to. What the
// batch before this one has done is marked as done first, and so is a request that has come to nothing:
// that is why no other batch than the last can have done a request without the mark.
func (b *batch) requested(ctx context.Context) (*RequestHead, []objstore.Object, error) {
	ids, err := b.asked(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		if b.did != nil && b.did.ID == id {
			if err := b.requestIsDone(ctx, id, b.n-1); err != nil {
				return nil, nil, err
			}
			continue
		}
		r, err := b.readRequest(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		files, err := b.applies(ctx, r)
		if err != nil || len(files) > 0 {
			return &r.RequestHead, files, err
		}
		if err := b.requestIsDone(ctx, id, -1); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

func (l *Log) requestIsDone(ctx context.Context, id string, batch int64) error {
	content, err := encode(headed[requestDone]{Body: requestDone{id, l.clock().UTC(), batch}})
	if err == nil {
		_, err = l.put(ctx, requestsDone+id, content)
	}
	return err
}

// applies returns the files of a request that are still as who asked has seen them: batches may have met
// them since.
func (b *batch) applies(ctx context.Context, r Request) (files []objstore.Object, err error) {
	seen, err := b.Seen(ctx)
	if err != nil {
		return nil, err
	}
	lookup, end, err := seen.Pass(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	for i, f := range r.Files {
		if i > 0 && r.Files[i-1].Key == f.Key {
			continue
		}
		v, known, givenUp, err := lookup(f.Key)
		if err != nil {
			return nil, err
		}
		same := known && v.ETag == f.ETag
		_, _, failing := seen.Tried(f.Object)
		var is bool
		switch r.Action {
		case Skip:
			is = !known || givenUp
		case Forget:
			is = same
		case Retry:
			is = same && givenUp || !known && failing
		case Adopt:
			is = !known
		}
		if is {
			files = append(files, f.Object)
		}
	}
	return files, nil
}

// carryOut is the stage of a batch that is a request: no table gets anything.
func (b *batch) carryOut(ctx context.Context, head RequestHead) (Staged, error) {
	asked := map[string]RequestFile{}
	if head.Action == Adopt {
		r, err := b.readRequest(ctx, head.ID)
		if err != nil {
			return Staged{}, err
		}
		for _, f := range r.Files {
			asked[f.Key] = f
		}
	}
	s := Staged{Batch: b.n, Nonce: b.newID(), SchemaVersion: b.out.Plan.SchemaVersion}
	for _, f := range b.files {
		a := asked[f.Key]
		s.Files = append(s.Files, FileOutcome{Key: f.Key, ETag: f.ETag, State: states[head.Action], Records: a.Rows + a.Bad, Rows: a.Rows, Bad: a.Bad, Error: head.Reason})
	}
	return s, nil
}

// purgeRequests removes requests that were done long ago. The request goes first: without its mark it would
// be done again.
func (l *Log) purgeRequests(ctx context.Context) error {
	for o, err := range l.store.List(ctx, l.prefix+requestsDone, "") {
		if err != nil {
			return fmt.Errorf("list requests: %w", err)
		}
		if l.clock().Sub(o.ModTime) <= orphanAge {
			continue
		}
		id := strings.TrimPrefix(o.Key, l.prefix+requestsDone)
		for _, object := range []string{requests + id, requestsDone + id} {
			if err := l.remove(ctx, object); err != nil {
				return err
			}
		}
	}
	return nil
}
