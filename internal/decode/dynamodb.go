package decode

import (
	"bytes"

	"github.com/siltlake/silt/internal/jsonscan"
)

// SequenceMember is the member of a change of DynamoDB that grows with the changes of an item.
const SequenceMember = "_sequence"

// The text of a DynamoDB item has its values inside objects that name their types: {"id":{"S":"x"}}.
// Such a record is written again as plain JSON, and that is read. Numbers keep all their digits.
//
// The record is an item, or it holds one:
//
//	{"Item":{…}}                                                      a full export
//	{"Keys":{…},"NewImage":{…},"OldImage":{…},"Metadata":{…}}         an incremental export
//	{"eventName":"MODIFY","dynamodb":{"Keys":{…},"NewImage":{…},…}}   a stream record
//
// The last two get the members _op, which is insert, update or delete, and _sequence, a number that
// grows with the changes of an item. A deleted item is its old image, or its keys when there is none.
//
// Source: Amazon DynamoDB, "Data type descriptors", "Table export output format", "DynamoDB Streams".

// unwrapped reads a DynamoDB record as the row.
func (p *parser) unwrapped(i, row int) int {
	end := p.Value(i, 0)
	switch {
	case end < 0:
		return corrupt
	case p.Text[i] != '{':
		return p.Fail(i, jsonscan.NotAnObject)
	}
	p.plain = p.appendItem(p.plain[:0], i)
	if len(p.envelope) > 0 {
		p.plain = p.plain[:len(p.plain)-1]
		if p.plain[len(p.plain)-1] != '{' {
			p.plain = append(p.plain, ',')
		}
		p.plain = append(append(p.plain, p.envelope...), '}')
	}
	return p.instead(row, end)
}

// instead reads the text in plain in place of a record that is valid and ends at end.
func (p *parser) instead(row, end int) int {
	original := p.Scanner
	n := len(p.plain)
	p.plain = append(p.plain, make([]byte, jsonscan.Padding)...)
	p.Text, p.End, p.Space = p.plain, n, jsonscan.Anywhere
	good := p.strict(0, row)
	if good >= 0 {
		p.settle()
		p.misfitAt = 0 // it stands elsewhere in the original
	}
	why := p.Why
	p.Scanner = original
	if good < 0 { // too deep, or a name or number that is too long: nothing else is left to be wrong
		return p.Fail(end-1, why)
	}
	return end
}

// members are the values of an object under some names, by offset; 0 is absent.
type members struct{ item, keys, newImage, oldImage, metadata, eventName, dynamodb, sequence, micros, other int }

// members finds the members of the object at i, whose text is known to be valid.
func (p *parser) members(i int) (m members) {
	p.eachMember(i, func(name []byte, value, _ int) {
		switch string(name) {
		case "Item":
			m.item = value
		case "Keys":
			m.keys = value
		case "NewImage":
			m.newImage = value
		case "OldImage":
			m.oldImage = value
		case "Metadata":
			m.metadata = value
		case "eventName":
			m.eventName = value
		case "dynamodb":
			m.dynamodb = value
		case "SequenceNumber":
			m.sequence = value
		case "WriteTimestampMicros":
			m.micros = value
		default:
			m.other = value
		}
	})
	return m
}

// eachMember calls do with the raw name, the start and the end of the value of each member of the
// object at i, whose text is known to be valid, and returns the end of the object.
func (p *parser) eachMember(i int, do func(name []byte, value, end int)) int {
	for i = p.Blank(i + 1); p.Text[i] != '}'; {
		nameEnd, _ := p.String(i)
		name := p.Text[i+1 : nameEnd-1]
		value := p.Blank(p.Blank(nameEnd) + 1)
		end := p.Value(value, 0)
		do(name, value, end)
		if i = p.Blank(end); p.Text[i] == ',' {
			i = p.Blank(i + 1)
		}
	}
	return i + 1
}

func (p *parser) isObject(i int) bool { return i > 0 && p.Text[i] == '{' }

// appendItem appends the item that the object at i is or holds.
func (p *parser) appendItem(dst []byte, i int) []byte {
	m := p.members(i)
	switch {
	case p.isObject(m.item) && m.keys+m.other+m.dynamodb == 0:
		dst, _ = p.appendMap(dst, m.item)
		return dst
	case p.isObject(m.dynamodb) && m.eventName > 0:
		change := p.members(m.dynamodb)
		op := "update"
		switch raw := p.Text[m.eventName:]; {
		case bytes.HasPrefix(raw, []byte(`"INSERT"`)):
			op = "insert"
		case bytes.HasPrefix(raw, []byte(`"REMOVE"`)):
			op = "delete"
		}
		return p.appendChange(dst, change, op, change.sequence)
	case p.isObject(m.keys) && p.isObject(m.metadata) && m.item+m.dynamodb == 0:
		op := "update"
		switch {
		case m.newImage == 0:
			op = "delete"
		case m.oldImage == 0:
			op = "insert"
		}
		at := p.members(m.metadata).micros
		if p.isObject(at) {
			p.eachMember(at, func(_ []byte, value, _ int) { at = value }) // {"N":"…"}
		}
		return p.appendChange(dst, m, op, at)
	}
	dst, _ = p.appendMap(dst, i)
	return dst
}

// appendChange appends the item after a change, with what the change was and its place among others.
func (p *parser) appendChange(dst []byte, m members, op string, sequence int) []byte {
	item := m.newImage
	if !p.isObject(item) {
		item = m.oldImage
	}
	if !p.isObject(item) {
		item = m.keys
	}
	if p.isObject(item) {
		dst, _ = p.appendMap(dst, item)
	} else {
		dst = append(dst, "{}"...)
	}
	dst = dst[:len(dst)-1]
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(append(append(dst, `"_op":"`...), op...), '"')
	if sequence > 0 {
		dst = append(dst, `,"`+SequenceMember+`":`...)
		dst, _ = p.appendNumber(dst, sequence)
	}
	return append(dst, '}')
}

// appendMap appends the object at i, whose values name their types, and returns its end.
func (p *parser) appendMap(dst []byte, i int) ([]byte, int) {
	dst = append(dst, '{')
	first := true
	end := p.eachMember(i, func(name []byte, value, _ int) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(append(append(dst, '"'), name...), '"'), ':')
		dst, _ = p.appendAttribute(dst, value)
	})
	return append(dst, '}'), end
}

// appendAttribute appends the value at i without its type. What has none stays as it is.
func (p *parser) appendAttribute(dst []byte, i int) ([]byte, int) {
	end := p.Value(i, 0)
	if p.Text[i] != '{' {
		return append(dst, p.Text[i:end]...), end
	}
	var kind []byte
	n, value, valueEnd := 0, 0, 0
	p.eachMember(i, func(name []byte, v, e int) {
		n++
		kind, value, valueEnd = name, v, e
	})
	if n != 1 {
		return append(dst, p.Text[i:end]...), end
	}
	c := p.Text[value]
	switch string(kind) {
	case "N":
		if c == '"' {
			dst, _ = p.appendNumber(dst, value)
			return dst, end
		}
	case "S", "B":
		if c == '"' {
			return append(dst, p.Text[value:valueEnd]...), end
		}
	case "BOOL":
		if c == 't' || c == 'f' {
			return append(dst, p.Text[value:valueEnd]...), end
		}
	case "NULL":
		if c == 't' {
			return append(dst, "null"...), end
		}
	case "M":
		if c == '{' {
			dst, _ = p.appendMap(dst, value)
			return dst, end
		}
	case "L":
		if c == '[' {
			return p.appendList(dst, value, p.appendAttribute), end
		}
	case "NS":
		if c == '[' {
			return p.appendList(dst, value, p.appendNumber), end
		}
	case "SS", "BS":
		if c == '[' {
			return append(dst, p.Text[value:valueEnd]...), end
		}
	}
	return append(dst, p.Text[i:end]...), end
}

// appendList appends the array at i, each element by the function.
func (p *parser) appendList(dst []byte, i int, element func([]byte, int) ([]byte, int)) []byte {
	dst = append(dst, '[')
	for i = p.Blank(i + 1); p.Text[i] != ']'; {
		if dst[len(dst)-1] != '[' {
			dst = append(dst, ',')
		}
		dst, i = element(dst, i)
		if i = p.Blank(i); p.Text[i] == ',' {
			i = p.Blank(i + 1)
		}
	}
	return append(dst, ']')
}

// appendNumber appends the number in the string at i, or the value as it is when it is none.
func (p *parser) appendNumber(dst []byte, i int) ([]byte, int) {
	end := p.Value(i, 0)
	if p.Text[i] == '"' && (p.Text[i+1]-'0' <= 9 || p.Text[i+1] == '-') {
		at, why := p.At, p.Why
		if _, stop := p.Number(i + 1); stop == end-1 {
			return append(dst, p.Text[i+1:end-1]...), end
		}
		p.At, p.Why = at, why
	}
	return append(dst, p.Text[i:end]...), end
}
