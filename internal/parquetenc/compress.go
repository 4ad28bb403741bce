package parquetenc

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Codec is how pages are compressed.
type Codec uint8

// The codecs.
const (
	Zstd Codec = iota
	Snappy
	Gzip
	Uncompressed
)

// number is the codec's in Parquet.
func (c Codec) number() int { return [...]int{Zstd: 6, Snappy: 1, Gzip: 2, Uncompressed: 0}[c] }

// packer compresses pages. What it returns is valid until the next one.
type packer struct {
	kind   Codec
	zstd   *zstd.Encoder
	frames framer
	gzip   *gzip.Writer
	buf    bytes.Buffer // of gzip
	packed []byte
}

func (p *packer) open(c Codec) (err error) {
	p.kind = c
	switch c {
	case Zstd:
		p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	case Gzip:
		p.gzip = gzip.NewWriter(&p.buf)
	case Snappy, Uncompressed:
	default:
		err = fmt.Errorf("no codec has number %d", c)
	}
	return err
}

func (p *packer) close() {
	if p.zstd != nil {
		_ = p.zstd.Close() // nothing is open in it
	}
}

// compressBy makes a frame of a page whose values have width bytes.
func (p *packer) compressBy(b []byte, how finder, width int) []byte {
	p.packed = p.frames.append(p.packed[:0], b, how, width)
	return p.packed
}

// enough is the size from which on it pays to find out how a page is to be compressed.
const enough = 64 << 10

// suits returns the first finder by which a frame of the page, and of those like it, is about as small as that
// of compress, which takes several times as long. It tries a part.
func (p *packer) suits(b []byte, width int, finders ...finder) (how finder, ok bool) {
	part := b[len(b)-enough/4:]
	general := len(p.compress(part))
	for _, how := range finders {
		size := len(p.compressBy(part, how, width))
		if how == nothing && size*3 <= general*4 || how != nothing && size*8 <= general*9 {
			return how, true
		}
	}
	return nothing, false
}

func (p *packer) compress(b []byte) []byte {
	switch p.kind {
	case Zstd:
		p.packed = p.zstd.EncodeAll(b, p.packed[:0])
	case Snappy:
		if n := s2.MaxEncodedLen(len(b)); n > cap(p.packed) {
			p.packed = make([]byte, n)
		}
		p.packed = s2.EncodeSnappy(p.packed[:cap(p.packed)], b)
	case Gzip:
		p.buf.Reset()
		p.gzip.Reset(&p.buf)
		_, _ = p.gzip.Write(b) // into memory
		_ = p.gzip.Close()
		p.packed = append(p.packed[:0], p.buf.Bytes()...)
	default:
		return b
	}
	return p.packed
}
