package parquetleaf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Decoder decodes the chunks of columns. It belongs to one goroutine.
type Decoder struct {
	zstd *zstd.Decoder
	page []byte
}

// Close frees what the decoder holds.
func (d *Decoder) Close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}

// maxPage is the largest page in bytes that is read here.
const maxPage = 256 << 20

var errShort = errors.New("the column chunk ends too early")

// The encodings of pages, as they are numbered in Parquet.
const (
	plain          = 0
	plainDict      = 2
	rle            = 3
	dictionaryPage = 8
)

// Decode returns the entries of a chunk, which is given with its dictionary page. Codec is that of the
// chunk, as it is numbered in Parquet, and entries the number that the footer says.
func (d *Decoder) Decode(c Column, chunk []byte, codec, entries int) (*Leaf, error) {
	if c.MaxDef > 255 || c.MaxRep > 255 || c.Physical == Fixed && c.Width <= 0 {
		return nil, ErrUnsupported
	}
	x := &chunkDecoder{Decoder: d, codec: codec, l: &Leaf{Column: c}}
	for x.l.Entries < entries {
		h, n, err := readHeader(chunk)
		if err != nil {
			return nil, err
		}
		chunk = chunk[n:]
		if h.packed < 0 || h.packed > len(chunk) || h.raw < 0 || h.raw > maxPage {
			return nil, errShort
		}
		if h.entries < 0 || h.kind != 2 && h.entries > entries-x.l.Entries {
			return nil, fmt.Errorf("a page of %d entries in a chunk of %d", h.entries, entries)
		}
		if err := x.add(h, chunk[:h.packed]); err != nil {
			return nil, err
		}
		chunk = chunk[h.packed:]
	}
	if !x.missing {
		x.l.Defs = nil
	}
	x.l.index()
	if want := x.l.Entries; x.l.Defs == nil && x.l.Values() != want {
		return nil, fmt.Errorf("%d values for %d entries", x.l.Values(), want)
	}
	return x.l, nil
}

// chunkDecoder is the decoding of one chunk.
type chunkDecoder struct {
	*Decoder
	codec int
	l     *Leaf
	dict  *Leaf // the dictionary; nil without
	// missing says that an entry is without a value.
	missing bool
}

func (x *chunkDecoder) add(h header, body []byte) error {
	switch h.kind {
	case 0:
		b, err := x.unpack(x.codec, body, h.raw)
		if err != nil {
			return err
		}
		return x.data(h, b, nil, nil)
	case 2:
		if h.encoding != plain && h.encoding != plainDict {
			return ErrUnsupported
		}
		b, err := x.unpack(x.codec, body, h.raw)
		if err != nil {
			return err
		}
		if h.entries > len(b)+1 {
			return errShort
		}
		x.dict = &Leaf{Column: x.l.Column}
		_, err = x.dict.plain(b, h.entries)
		return err
	case 3:
		if h.defs < 0 || h.reps < 0 || h.defs+h.reps > len(body) || h.defs+h.reps > h.raw {
			return errShort
		}
		reps, defs := body[:h.reps], body[h.reps:h.reps+h.defs]
		codec := x.codec
		if !h.compressed {
			codec = 0
		}
		b, err := x.unpack(codec, body[h.reps+h.defs:], h.raw-h.defs-h.reps)
		if err != nil {
			return err
		}
		return x.data(h, b, reps, defs)
	}
	return ErrUnsupported
}

// unpack returns the bytes of a page, which are valid until the next one.
func (d *Decoder) unpack(codec int, b []byte, size int) ([]byte, error) {
	var err error
	switch {
	case codec == 0:
		return b, nil
	case size == 0:
		return nil, nil
	}
	d.page = slices.Grow(d.page[:0], size)
	switch codec {
	case 1:
		if n, err := s2.DecodedLen(b); err != nil || n != size {
			return nil, fmt.Errorf("a page of %d bytes has others: %w", size, errors.Join(err, errShort))
		}
		d.page, err = s2.Decode(d.page[:size], b)
	case 2:
		r, gzErr := gzip.NewReader(bytes.NewReader(b))
		if gzErr != nil {
			return nil, gzErr
		}
		_, err = io.ReadFull(r, d.page[:size])
		d.page = d.page[:size]
	case 6:
		if d.zstd == nil {
			if d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage), zstd.WithDecoderLowmem(true)); err != nil {
				return nil, err
			}
		}
		d.page, err = d.zstd.DecodeAll(b, d.page)
	default:
		return nil, ErrUnsupported
	}
	if err == nil && len(d.page) != size {
		err = errShort
	}
	return d.page, err
}

// data adds a data page. In pages of the first version the levels stand before the values.
func (x *chunkDecoder) data(h header, b, reps, defs []byte) (err error) {
	l, n := x.l, h.entries
	if x.l.MaxRep > 0 {
		if h.kind == 0 {
			if reps, b, err = cutLevels(b); err != nil {
				return err
			}
		}
		at := len(l.Reps)
		l.Reps = slices.Grow(l.Reps, n)[:at+n]
		if _, err := levels(l.Reps[at:], reps, bits.Len(uint(l.MaxRep))); err != nil {
			return err
		}
	}
	values := n
	if l.MaxDef > 0 {
		if h.kind == 0 {
			if defs, b, err = cutLevels(b); err != nil {
				return err
			}
		}
		at := l.Entries
		l.Defs = slices.Grow(l.Defs, n)[:at+n]
		one, err := levels(l.Defs[at:], defs, bits.Len(uint(l.MaxDef)))
		if err != nil {
			return err
		}
		if !one || n > 0 && l.Defs[at] != byte(l.MaxDef) {
			values = bytes.Count(l.Defs[at:], []byte{byte(l.MaxDef)})
		}
	}
	x.missing = x.missing || values < n
	l.Entries += n
	return x.values(h, b, values)
}

func (x *chunkDecoder) values(h header, b []byte, n int) error {
	l := x.l
	switch {
	case n == 0:
		return nil
	case h.encoding == plain:
		x.leaveDict()
		_, err := l.plain(b, n)
		return err
	case h.encoding == rle && l.Physical == Boolean:
		if len(b) < 4 {
			return errShort
		}
		out := make([]byte, n)
		if _, err := levels(out, b[4:], 1); err != nil {
			return err
		}
		for _, v := range out {
			l.Numbers = append(l.Numbers, uint64(v))
		}
		return nil
	case (h.encoding == dictionaryPage || h.encoding == plainDict) && x.dict != nil:
		if len(b) == 0 {
			return errShort
		}
		size := x.dict.Values()
		if x.l.Values() > 0 && l.Indices == nil { // plain pages before
			got, err := indices(nil, b[1:], n, int(b[0]), size)
			if err != nil {
				return err
			}
			l.pick(x.dict, got)
			return nil
		}
		l.Numbers, l.Data, l.Ends = x.dict.Numbers, x.dict.Data, x.dict.Ends
		var err error
		l.Indices, err = indices(l.Indices, b[1:], n, int(b[0]), size)
		return err
	}
	return ErrUnsupported
}

// leaveDict makes plain values of those in the dictionary.
func (x *chunkDecoder) leaveDict() {
	l := x.l
	if l.Indices == nil {
		return
	}
	got := l.Indices
	l.Indices, l.Numbers, l.Data, l.Ends = nil, nil, nil, nil
	l.pick(x.dict, got)
}

// pick appends values of a dictionary.
func (l *Leaf) pick(dict *Leaf, at []uint32) {
	for _, i := range at {
		if len(dict.Numbers) > 0 {
			l.Numbers = append(l.Numbers, dict.Numbers[i])
			continue
		}
		l.Data = append(l.Data, dict.Entry(int(i))...)
		l.Ends = append(l.Ends, uint32(len(l.Data)))
	}
}

// plain appends n plain values, and returns what is left of b.
func (l *Leaf) plain(b []byte, n int) ([]byte, error) {
	switch l.Physical {
	case Boolean:
		if len(b) < (n+7)/8 {
			return nil, errShort
		}
		for i := range n {
			l.Numbers = append(l.Numbers, uint64(b[i/8]>>(i%8)&1))
		}
		return b[(n+7)/8:], nil
	case Int32, Float:
		if len(b)/4 < n {
			return nil, errShort
		}
		at := len(l.Numbers)
		l.Numbers = slices.Grow(l.Numbers, n)[:at+n]
		for i := range n {
			l.Numbers[at+i] = uint64(binary.LittleEndian.Uint32(b[4*i:]))
		}
		return b[4*n:], nil
	case Int64, Double:
		if len(b)/8 < n {
			return nil, errShort
		}
		at := len(l.Numbers)
		l.Numbers = slices.Grow(l.Numbers, n)[:at+n]
		for i := range n {
			l.Numbers[at+i] = binary.LittleEndian.Uint64(b[8*i:])
		}
		return b[8*n:], nil
	case Fixed:
		if len(b)/l.Width < n {
			return nil, errShort
		}
		l.Data = append(l.Data, b[:n*l.Width]...)
		for i := range n {
			l.Ends = append(l.Ends, uint32(len(l.Data)-(n-1-i)*l.Width))
		}
		return b[n*l.Width:], nil
	case ByteArray:
		l.Ends, l.Data = slices.Grow(l.Ends, n), slices.Grow(l.Data, max(0, len(b)-4*n))
		for range n {
			if len(b) < 4 {
				return nil, errShort
			}
			size := int(binary.LittleEndian.Uint32(b))
			if b = b[4:]; size > len(b) {
				return nil, errShort
			}
			l.Data = append(l.Data, b[:size]...)
			l.Ends = append(l.Ends, uint32(len(l.Data)))
			b = b[size:]
		}
		if len(l.Data) > 1<<31 {
			return nil, ErrUnsupported
		}
		return b, nil
	}
	return nil, ErrUnsupported
}

// cutLevels cuts levels, before which their length stands, off a page.
func cutLevels(b []byte) (levels, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errShort
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n > len(b)-4 {
		return nil, nil, errShort
	}
	return b[4 : 4+n], b[4+n:], nil
}

// levels fills out with levels of so many bits, and reports whether all are one run.
// Source: Parquet, "Run Length Encoding / Bit-Packing Hybrid".
func levels(out, b []byte, width int) (one bool, err error) {
	all := len(out)
	for len(out) > 0 {
		head, n := binary.Uvarint(b)
		if n <= 0 {
			return false, errShort
		}
		b = b[n:]
		if head&1 == 0 {
			run := int(min(head>>1, uint64(len(out))))
			if len(b) == 0 || run == 0 {
				return false, errShort
			}
			for i := range out[:run] {
				out[i] = b[0]
			}
			one = run == all
			out, b = out[run:], b[1:]
			continue
		}
		groups := int(min(head>>1, uint64(len(out)+7)/8))
		if len(b) < groups*width || groups == 0 {
			return false, errShort
		}
		mask := byte(1)<<width - 1
		for range groups {
			var acc uint64
			for i := range width {
				acc |= uint64(b[i]) << (8 * i)
			}
			b = b[width:]
			for i := range min(8, len(out)) {
				out[i] = byte(acc) & mask
				acc >>= width
			}
			out = out[min(8, len(out)):]
		}
		if rest := int(head>>1) - groups; rest > 0 {
			b = b[min(len(b), rest*width):]
		}
	}
	return one, nil
}

// indices appends n indices, of so many bits, of a dictionary of a size.
func indices(out []uint32, b []byte, n, width, size int) ([]uint32, error) {
	if width > 32 {
		return nil, ErrUnsupported
	}
	at := len(out)
	out = slices.Grow(out, n)[:at+n]
	left := out[at:]
	mask := uint64(1)<<width - 1
	bytesOf := (width + 7) / 8
	for len(left) > 0 {
		head, used := binary.Uvarint(b)
		if used <= 0 {
			return nil, errShort
		}
		b = b[used:]
		if head&1 == 0 {
			run := int(min(head>>1, uint64(len(left))))
			if len(b) < bytesOf || run == 0 {
				return nil, errShort
			}
			v := uint32(0)
			for i := range bytesOf {
				v |= uint32(b[i]) << (8 * i)
			}
			for i := range left[:run] {
				left[i] = v
			}
			left, b = left[run:], b[bytesOf:]
			continue
		}
		groups := int(min(head>>1, uint64(len(left)+7)/8))
		if len(b) < groups*width || groups == 0 {
			return nil, errShort
		}
		count := min(8*groups, len(left))
		var acc uint64
		have, pos := 0, 0
		for i := range count {
			for have < width {
				if have <= 32 && pos+4 <= groups*width {
					acc |= uint64(binary.LittleEndian.Uint32(b[pos:])) << have
					pos, have = pos+4, have+32
				} else {
					acc |= uint64(b[pos]) << have
					pos, have = pos+1, have+8
				}
			}
			left[i] = uint32(acc & mask)
			acc >>= width
			have -= width
		}
		left, b = left[count:], b[groups*width:]
	}
	for _, i := range out[at:] {
		if int(i) >= size {
			return nil, fmt.Errorf("index %d of a dictionary of %d", i, size)
		}
	}
	return out, nil
}
