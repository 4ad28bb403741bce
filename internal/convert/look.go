package convert

import (
	"bytes"
	"context"
	"io"

	"github.com/siltlake/silt/internal/decode"
)

// Look is what reading files by a schema would give.
type Look struct {
	Files, Records, Bad, Rescued int64
	Bytes                        int64 // as stored
	// FirstBad are the first bad records, a few of them.
	FirstBad []decode.BadRecord
	// Unreadable are the files that cannot be read to their end.
	Unreadable []Unreadable
	Observed   map[string]*decode.Observed
	Misfits    map[string]decode.Rescued
	Demands    map[string]*decode.Observed
	// Respelled is that of [decode.Reader].
	Respelled bool
}

// Unreadable is a file and why no row of it would be loaded.
type Unreadable struct {
	URI   string
	State State
	Err   error
}

// maxShown is how many bad records a Look keeps, and maxShownText how many bytes of each.
const maxShown, maxShownText = 20, 4 << 10

// Look reads files as a task would, and writes nothing.
func (c *Converter) Look(ctx context.Context, files []Piece, opts decode.Options) (*Look, error) {
	out := &Look{Observed: map[string]*decode.Observed{}, Misfits: map[string]decode.Rescued{}, Demands: map[string]*decode.Observed{}}
	var last *decode.Reader
	for _, o := range files { // one reader each, so that a file that fails leaves nothing behind
		r, err := decode.NewReader([]decode.File{c.open(o, o.Waits)}, o.framed(opts))
		if err != nil {
			return nil, err
		}
		if last != nil {
			r.Follow(last)
		}
		last = r
		r.TakeTurns(c.Long)
		var bad []decode.BadRecord
		for {
			b, err := r.Next(ctx)
			if err == io.EOF || err != nil && ctx.Err() == nil {
				break
			}
			if err != nil {
				return nil, err
			}
			for _, b := range b.Bad[:min(len(b.Bad), maxShown)] {
				if len(b.Text) > maxShownText {
					b.Text, b.Cut = bytes.Clone(b.Text[:maxShownText]), true
				}
				bad = append(bad, b)
			}
			b.Record.Release()
		}
		c.progress(o.bytes(), 0, 0)
		report := r.Reports()[0]
		out.Files++
		out.Bytes += report.Bytes
		if report.Err != nil {
			state, _ := stateOf(report.Err)
			out.Unreadable = append(out.Unreadable, Unreadable{report.URI, state, report.Err})
			continue
		}
		out.Records += report.Records
		out.Bad += report.Bad
		out.Rescued += report.Rescued
		out.FirstBad = append(out.FirstBad, bad[:min(len(bad), maxShown-len(out.FirstBad))]...)
		out.merge(r.Observed(), r.Misfits(), r.Demands())
		out.Respelled = out.Respelled || r.Respelled()
	}
	return out, nil
}

// Merge adds what another look saw.
func (l *Look) Merge(m *Look) {
	l.Files += m.Files
	l.Records += m.Records
	l.Bad += m.Bad
	l.Rescued += m.Rescued
	l.Bytes += m.Bytes
	l.FirstBad = append(l.FirstBad, m.FirstBad[:min(len(m.FirstBad), maxShown-len(l.FirstBad))]...)
	l.Unreadable = append(l.Unreadable, m.Unreadable...)
	l.merge(m.Observed, m.Misfits, m.Demands)
	l.Respelled = l.Respelled || m.Respelled
}

func (l *Look) merge(observed map[string]*decode.Observed, misfits map[string]decode.Rescued, demands map[string]*decode.Observed) {
	for _, pair := range [][2]map[string]*decode.Observed{{l.Observed, observed}, {l.Demands, demands}} {
		for at, o := range pair[1] {
			if pair[0][at] == nil {
				pair[0][at] = new(decode.Observed)
			}
			pair[0][at].Merge(o)
		}
	}
	for at, m := range misfits {
		all := l.Misfits[at]
		all.Merge(m)
		l.Misfits[at] = all
	}
}
