package decode

import (
	"math"

	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/schema"
)

// Demands returns, by the path of the column, what was seen of numbers that a wider column could hold,
// under [Options.Widen].
func (r *Reader) Demands() map[string]*Observed {
	out := make(map[string]*Observed)
	r.p.root.walk(nil, func(path []string, c *column) {
		if c.demand != nil {
			out[schema.Path(path...)] = c.demand
		}
	})
	return out
}

// demands notes what the value at i, which does not fit c, would need. In a list or a map that does not
// fit as a whole it is the parts that count.
func (p *parser) demands(c *column, i int) {
	switch {
	case c.kind == kindList && p.Text[i] == '[':
		for i = p.Blank(i + 1); p.Text[i] != ']'; {
			p.demands(c.kids[0], i)
			if i = p.Blank(p.Value(i, 0)); p.Text[i] == ',' {
				i = p.Blank(i + 1)
			}
		}
	case c.kind == kindMap && p.Text[i] == '{':
		p.eachMember(i, func(_ []byte, value, _ int) { p.demands(c.kids[1], value) })
	case c.kind >= kindByte && c.kind <= kindDecimal && p.isNumber(i):
		if n, end := p.Number(i); !c.holds(n, p.Text[i:end], p.opts.Compat) {
			p.observe(c.wanted(), i)
		}
	case c.kind == kindDecimal && p.Text[i] == '"':
		end, info := p.String(i)
		var o Observed
		if p.observeString(&o, i, end, info); o.Decimals > 0 { // else it is no number
			o.note(p.position)
			c.wanted().Merge(&o)
		}
	}
}

func (p *parser) isNumber(i int) bool { return p.Text[i] == '-' || p.Text[i]-'0' <= 9 }

func (c *column) wanted() *Observed {
	if c.demand == nil {
		c.demand = new(Observed)
	}
	return c.demand
}

// holds reports whether a column of a numeric kind holds a number without loss.
func (c *column) holds(n jsonscan.Num, text []byte, compat bool) bool {
	switch c.kind {
	case kindFloat:
		f := n.Float64(text)
		return math.IsInf(f, 0) || !math.IsInf(float64(float32(f)), 0)
	case kindDouble:
		return true // nothing is wider
	case kindDecimal:
		v, ok := scaled(n, text, c.decimal.Scale, false)
		return ok && v.FitsInPrecision(int32(c.decimal.Precision))
	}
	v, ok := n.Int64()
	if !ok && !compat {
		v, ok = n.Whole()
	}
	shift := 64 - 8*widths[c.kind]
	return ok && v<<shift>>shift == v
}
