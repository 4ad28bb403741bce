package decode

import (
	"bytes"
	"slices"
	"strings"

	"github.com/siltlake/silt/internal/jsonscan"
)

// Rescued counts values that went to the rescued data.
type Rescued struct {
	Count int64     `json:"count"`
	First *Position `json:"first,omitempty"`
}

func (r *Rescued) add(at Position) {
	r.Count++
	if r.First == nil || at.Compare(*r.First) < 0 {
		first := at // a copy, so that only the first one is allocated
		r.First = &first
	}
}

// Merge adds the counts of s.
func (r *Rescued) Merge(s Rescued) {
	if s.First != nil && (r.First == nil || s.First.Compare(*r.First) < 0) {
		r.First = s.First
	}
	r.Count += s.Count
}

// filePathKey is the last key of a rescued text: where the record came from.
const filePathKey = "_file_path"

// insertRescued puts text at the offset at of the rescued text.
func (p *parser) insertRescued(at int, text string) {
	n := len(p.rescued)
	p.rescued = append(p.rescued, text...)
	copy(p.rescued[at+len(text):], p.rescued[at:n])
	copy(p.rescued[at:], text)
}

// rescue adds a member whose value is at start to the object that began at mark in the rescued text.
func (p *parser) rescue(mark, named, name, nameEnd, start, end int) {
	if p.opts.Rescue == "" {
		return
	}
	if p.opts.Compat {
		if old := p.namesake(named, name, nameEnd); old != nil {
			p.replaceRescued(old, named, start, end)
			return
		}
	}
	if len(p.rescued) > mark {
		p.rescued = append(p.rescued, ',')
	}
	p.appendKey(name, nameEnd)
	valueStart := len(p.rescued)
	p.rescued = jsonscan.AppendCompact(p.rescued, p.Text[start:end])
	if p.opts.Compat {
		p.named = append(p.named, namedMember{name, nameEnd, valueStart, len(p.rescued)})
	}
}

// appendKey appends a key and a colon. The key that names the file is ours, so the record's own gets
// another underscore, and so does one that is the same but for more underscores: no two become one.
func (p *parser) appendKey(name, nameEnd int) {
	start := len(p.rescued)
	p.rescued = jsonscan.AppendRequoted(p.rescued, p.Text[name+1:nameEnd-1])
	if key := p.rescued[start+1 : len(p.rescued)-1]; len(key) > 0 && key[0] == '_' && string(bytes.TrimLeft(key, "_")) == filePathKey[1:] {
		p.insertRescued(start+1, "_")
	}
	p.rescued = append(p.rescued, ':')
}

// nameRescued puts the key of a member before what was rescued inside its value.
func (p *parser) nameRescued(mark, before, name, nameEnd int) {
	tail := len(p.rescued)
	if before > mark {
		p.rescued = append(p.rescued, ',')
	}
	p.appendKey(name, nameEnd)
	p.moveTail(before, tail)
}

// moveTail moves what stands from tail on to the offset at.
func (p *parser) moveTail(at, tail int) {
	p.valueBuffer = append(p.valueBuffer[:0], p.rescued[tail:]...)
	copy(p.rescued[at+len(p.valueBuffer):], p.rescued[at:tail])
	copy(p.rescued[at:], p.valueBuffer)
}

// padRescued puts nulls, for the elements from rescued up to n in which nothing was rescued, and the
// commas between them before what stands at the offset before.
func (p *parser) padRescued(before, n, rescued int) {
	if rescued > 0 {
		p.insertRescued(before, strings.Repeat(",null", n-rescued))
		if before += 5 * (n - rescued); before < len(p.rescued) {
			p.insertRescued(before, ",")
		}
		return
	}
	p.insertRescued(before, strings.Repeat("null,", n))
}

// unrescue takes back what was rescued inside a value that is rescued as a whole, and returns how much
// text that was. The object in which the value is began at mark.
func (p *parser) unrescue(mark int, s *span) (gone int) {
	p.misfits = slices.DeleteFunc(p.misfits, func(m misfitting) bool { return s.start <= m.value && m.value < s.end })
	from, to := s.from, s.to
	if from == to {
		return 0
	}
	if from == mark && to < len(p.rescued) {
		to++ // the comma behind
	}
	p.rescued = append(p.rescued[:from], p.rescued[to:]...)
	for k := range p.spans {
		if later := &p.spans[k]; later.from >= s.to {
			later.from, later.to = max(mark, later.from-(to-from)), max(mark, later.to-(to-from))
		}
	}
	return to - from
}

// maxNamed is the number of rescued members of one object among which a repeated key is found.
const maxNamed = 128

// namesake finds the rescued member of the open object that has the same key, as it is written.
func (p *parser) namesake(named, name, nameEnd int) *namedMember {
	key := p.Text[name:nameEnd]
	for k := named; k < min(len(p.named), named+maxNamed); k++ {
		if m := &p.named[k]; bytes.Equal(p.Text[m.name:m.nameEnd], key) {
			return m
		}
	}
	return nil
}

// replaceRescued gives a rescued member another value in its old place.
func (p *parser) replaceRescued(old *namedMember, named, start, end int) {
	rest := append([]byte(nil), p.rescued[old.end:]...)
	before := old.end
	p.rescued = jsonscan.AppendCompact(p.rescued[:old.start], p.Text[start:end])
	old.end = len(p.rescued)
	p.rescued = append(p.rescued, rest...)
	for k := named; k < len(p.named); k++ {
		if m := &p.named[k]; m.start >= before {
			m.start += old.end - before
			m.end += old.end - before
		}
	}
}

// rescueUnknown notes a member that has no column. A null is no loss, and only of interest to those
// who ask what is there.
func (p *parser) rescueUnknown(c *column, mark, named int, u unknown, end int) {
	if p.Text[u.value] == 'n' {
		if p.opts.Observe && len(p.unknown) < maxUnknown {
			p.unknown = append(p.unknown, u)
		}
		return
	}
	if c == p.root && len(p.opts.Partitions) > 0 && p.opts.isPartition(p.name(u.name, u.end, u.info)) {
		if !p.opts.Compat { // else the folder's value replaces it
			p.rescue(mark, named, u.name, u.end, u.value, end)
		}
		return
	}
	p.rescue(mark, named, u.name, u.end, u.value, end)
	if len(p.unknown) < maxUnknown {
		p.unknown = append(p.unknown, u)
	}
}

// maxUnknown is the number of members of one record for which there is no column that are observed one
// by one. All of them are rescued.
const maxUnknown = 1 << 17

// settle counts and observes the unknown members of a record that turned out to be good.
func (p *parser) settle() {
	p.settled = p.settled || len(p.unknown)+len(p.misfits) > 0
	if p.opts.Strict && len(p.misfits) > 0 {
		p.misfitted, p.misfitAt = true, p.misfits[0].value
	}
	for _, m := range p.misfits {
		m.c.misfit.add(p.position)
		if p.opts.Widen {
			p.demands(m.c, m.value)
		}
	}
	for _, u := range p.unknown {
		if u.parent.seen == nil {
			u.parent.seen = &Observed{Root: u.parent == p.root, limits: p.limits}
		}
		name := p.name(u.name, u.end, u.info)
		member := u.parent.seen.member(name)
		switch {
		case member == nil && canName(name) && p.Text[u.value] != 'n':
			u.parent.seen.leaveOut(1, p.position)
		case member == nil:
		case p.opts.Observe:
			p.observe(member, u.value)
		default:
			p.count(member, u.value)
		}
	}
}

// count adds the value at i to o without looking inside it.
func (p *parser) count(o *Observed, i int) {
	o.note(p.position)
	switch p.Text[i] {
	case 't', 'f':
		o.Booleans++
	case '"':
		o.Strings++
	case '{':
		o.Objects++
	case '[':
		o.Arrays++
	default:
		o.Doubles++
	}
}
