package decode

import (
	"bytes"
	"encoding/binary"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/siltlake/silt/internal/jsonscan"
)

// decimal reads a number, or a string that holds one, exactly. Digits beyond the scale make it not
// fit; under compat they are rounded half up, without a word, as Spark does.
func (p *parser) decimal(i int, c *column) int {
	text := p.Text[i:]
	if text[0] == '"' {
		end, info := p.String(i)
		if end < 0 {
			return corrupt
		}
		if info&jsonscan.Escaped != 0 {
			return misfit
		}
		text = p.separators.plain(trim(p.Text[i+1 : end-1]))
		s := jsonscan.Scanner{Space: jsonscan.Anywhere, MaxDepth: 1}
		s.Reset(text)
		if n, last := s.Number(0); last == s.End && s.End > 0 {
			return p.storeDecimal(n, text, end, c)
		}
		return misfit
	}
	if text[0]-'0' > 9 && text[0] != '-' {
		return misfit
	}
	n, end := p.Number(i)
	if end < 0 {
		return corrupt
	}
	return p.storeDecimal(n, p.Text[i:end], end, c)
}

func (p *parser) storeDecimal(n jsonscan.Num, text []byte, end int, c *column) int {
	if n.Special {
		return misfit
	}
	v, ok := scaled(n, text, c.decimal.Scale, p.opts.Compat && !p.opts.Widen)
	if !ok || !v.FitsInPrecision(int32(c.decimal.Precision)) {
		return misfit
	}
	c.fixed = binary.LittleEndian.AppendUint64(c.fixed, v.LowBits())
	c.fixed = binary.LittleEndian.AppendUint64(c.fixed, uint64(v.HighBits()))
	c.appended()
	return end
}

// scaled returns the number times 10^scale.
func scaled(n jsonscan.Num, text []byte, scale int, round bool) (v decimal128.Num, ok bool) {
	shift := n.Exp10 + scale
	if n.Digits <= 19 && shift >= 0 && shift <= 18 {
		v = decimal128.FromU64(n.Mantissa).Mul(decimal128.FromU64(uint64(pow10[shift])))
		if n.Negative {
			v = v.Negate()
		}
		return v, true
	}
	return scaledBig(text, scale, round)
}

var pow10 = [19]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// scaledBig is scaled for numbers of any length.
func scaledBig(text []byte, scale int, round bool) (v decimal128.Num, ok bool) {
	s := jsonscan.Scanner{Space: jsonscan.Anywhere, MaxDepth: 1}
	s.Reset(text)
	n, _ := s.Number(0)
	digits := make([]byte, 0, len(text))
	for _, c := range text {
		if c|0x20 == 'e' {
			break
		}
		if c-'0' <= 9 {
			digits = append(digits, c)
		}
	}
	digits = bytes.TrimLeft(digits, "0")
	if len(digits) == 0 {
		return v, true
	}
	shift := n.Exp10 + scale
	if len(digits)+shift > 39 || shift < -len(digits)-1 && !round {
		return v, false
	}
	up := false
	if shift < 0 {
		cut := max(0, len(digits)+shift)
		lost := digits[cut:]
		if !round && len(bytes.Trim(lost, "0")) > 0 {
			return v, false
		}
		up = len(digits)+shift >= 0 && lost[0] >= '5'
		digits, shift = digits[:cut], 0
	}
	m := new(big.Int)
	if len(digits) > 0 {
		m.SetString(string(digits)+string(bytes.Repeat([]byte("0"), shift)), 10)
	}
	if up {
		m.Add(m, big.NewInt(1))
	}
	if m.BitLen() > 127 {
		return v, false
	}
	if n.Negative {
		m.Neg(m)
	}
	return decimal128.FromBigInt(m), true
}
