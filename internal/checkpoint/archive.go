package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/siltlake/silt/internal/crash"
	"github.com/siltlake/silt/objstore"
)

// Rule is how the files of a batch are cleaned.
type Rule struct {
	Mode     string `json:"mode,omitempty"`     // as the root names it; empty is that nothing is cleaned
	Location string `json:"location,omitempty"` // the folder that files are moved to, each under its key
}

// Archived says what became of the files of a closed batch in the source. It is archive/N. The rule is
// true of each file that was loaded, but for those in Other.
type Archived struct {
	Batch int64  `json:"batch"`
	Nonce string `json:"nonce,omitempty"`
	// Time is when the last file was cleaned; zero when none was to be, or an older silt wrote the object.
	Time time.Time `json:"time,omitzero"`
	Rule
	Other []ArchivedFile `json:"other,omitempty"` // sorted by key
}

// ArchivedFile is a file that was loaded, and what became of it.
type ArchivedFile struct {
	Key  string
	Mode string // empty: it was left, or was gone, or another version was there
	To   string // URI of where it was moved; empty: its key in the Location of the rule
}

// archivedFileLine is an ArchivedFile in JSON.
type archivedFileLine struct {
	wireKey
	Mode string `json:"mode,omitempty"`
	To   string `json:"to,omitempty"`
}

func (f ArchivedFile) MarshalJSON() ([]byte, error) {
	return json.Marshal(archivedFileLine{toWire(f.Key), f.Mode, f.To})
}

func (f *ArchivedFile) UnmarshalJSON(text []byte) error {
	var l archivedFileLine
	err := json.Unmarshal(text, &l)
	*f = ArchivedFile{l.key(), l.Mode, l.To}
	return err
}

// Of is what became of a file that the batch loaded.
func (a *Archived) Of(key string) ArchivedFile {
	i, found := slices.BinarySearchFunc(a.Other, key, func(f ArchivedFile, key string) int { return strings.Compare(f.Key, key) })
	if found {
		return a.Other[i]
	}
	return ArchivedFile{Key: key, Mode: a.Mode}
}

// Cleaning is a closed batch whose files are to be cleaned. Its methods may be called from several goroutines.
type Cleaning struct {
	Batch
	log   *Log
	turn        // guards what is below
	begun Known // whether archive/begun/N is there
	by    Rule  // that it names, when another call has written it
}

// begun says that files of a batch may have been taken away. It is archive/begun/N.
type begun struct {
	Batch int64     `json:"batch"`
	Nonce string    `json:"nonce"`
	Time  time.Time `json:"time"`
	Rule
}

// Begin is called before a file of the batch is taken away, so that who goes on after a crash knows that
// one that is gone may have been cleaned. It is written once; further calls do nothing.
func (c *Cleaning) Begin(ctx context.Context, rule Rule) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	l, n := c.log, c.Plan.Batch
	for c.begun != Have {
		content, err := encode(headed[begun]{Body: begun{n, l.newID(), l.clock().UTC(), rule}})
		if err != nil {
			return err
		}
		ours, err := l.put(ctx, name("archive/begun", n), content)
		switch {
		case err != nil:
			return err
		case ours:
			c.begun = Have
		default:
			if err := c.readBegun(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Begun is the rule by which an earlier call, here or in another process, began to take files away. It has
// no mode when there was none.
func (c *Cleaning) Begun(ctx context.Context) (Rule, error) {
	if err := c.lock(ctx); err != nil {
		return Rule{}, err
	}
	defer c.unlock()
	if c.begun == Unknown {
		if err := c.readBegun(ctx); err != nil {
			return Rule{}, err
		}
	}
	return c.by, nil
}

// readBegun asks for archive/begun/N. The caller has the lock.
func (c *Cleaning) readBegun(ctx context.Context) error {
	object := name("archive/begun", c.Plan.Batch)
	content, known, err := c.log.read(ctx, object, name("archive", c.Plan.Batch))
	if err == nil && known == Have {
		b, err := decodeHead[begun](content)
		if err != nil {
			return c.log.broken(object, err)
		}
		c.by = b.Rule
	}
	c.begun = known
	return err
}

// Sweep cleans the sources of closed batches for which that was left for later, the oldest first, until
// one is not due: clean returns ErrLater. Clean fills the rule and the other files; the Log fills the rest.
// Whatever it returns, nothing is wrong with the batches, and the next Sweep goes on where this one stopped.
func (l *Log) Sweep(ctx context.Context, clean func(context.Context, *Cleaning) (Archived, error)) error {
	if l.lease == nil {
		return errors.New("the checkpoint is open to be looked at only")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.lease.gone, func() { cancel(context.Cause(l.lease.gone)) })()
	if l.cleaned == nil {
		cleaned, err := l.ids(ctx, "archive")
		if err != nil {
			return err
		}
		closed, err := l.ids(ctx, "commits")
		if err != nil {
			return err
		}
		l.cleaned, l.swept = cleaned, l.at
		for closed[l.swept-1] { // what is below a gap was removed, because it was cleaned
			l.swept--
		}
	}
	for ; l.swept < l.at; l.swept++ {
		n := l.swept
		if l.cleaned[n] {
			delete(l.cleaned, n)
			continue
		}
		switch err := l.sweep(ctx, n, clean); {
		case errors.Is(err, ErrLater):
			return nil
		case err != nil:
			return fmt.Errorf("batch %d: clean: %w", n, err)
		}
	}
	return nil
}

func (l *Log) sweep(ctx context.Context, n int64, clean func(context.Context, *Cleaning) (Archived, error)) error {
	b, _, err := l.readBatch(ctx, n)
	if err == nil {
		err = l.readEnd(ctx, n, &b)
	}
	if isMissing(err) && n < l.held() {
		return nil // it was removed, because it was cleaned, and a late put brought a part of it back
	}
	if err != nil || b.Archived != nil {
		return err
	}
	if b.Commits == nil || b.Staged == nil {
		return &StateError{name("commits", n), "it is missing, and " + name("offsets", l.at) + " may be there", nextDoctor}
	}
	if err := l.lease.hold(ctx); err != nil {
		return err
	}
	a, err := clean(ctx, &Cleaning{Batch: b, log: l, turn: newTurn()})
	if err != nil {
		return err
	}
	crash.Point("after-archive")
	a.Batch, a.Nonce = n, l.newID()
	if a.Mode != "" {
		a.Time = l.clock().UTC()
	}
	slices.SortFunc(a.Other, func(x, y ArchivedFile) int { return strings.Compare(x.Key, y.Key) })
	content, err := encode(headed[Archived]{Body: a})
	if err != nil {
		return err
	}
	if _, err = l.put(ctx, name("archive", n), content); err == nil {
		crash.Point("after-archive-put")
	}
	return err
}

// readArchived reads archive/N. One that is torn is none, and is removed by who works on the checkpoint.
func (l *Log) readArchived(ctx context.Context, n int64) (*Archived, error) {
	object := name("archive", n)
	content, _, err := objstore.ReadAll(ctx, l.store, l.prefix+object)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	a, err := decodeHead[Archived](content)
	switch {
	case errors.Is(err, errTorn) && l.lease != nil:
		_, _, err = l.read(ctx, object)
		return nil, err
	case errors.Is(err, errTorn):
		return nil, nil
	case err != nil:
		return nil, l.broken(object, err)
	}
	return &a, nil
}
