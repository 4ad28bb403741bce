package decode

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
	"golang.org/x/text/transform"
)

// Files in other encodings than UTF-8 are turned into UTF-8 as they are read, so that nothing behind
// the input knows of them; positions are those in the UTF-8 text. What an encoding cannot express
// becomes U+FFFD, as in Java.

// encodings holds what can be read, by name in upper case.
var encodings = map[string]encoding.Encoding{
	"UTF-16":       unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"UTF-16BE":     unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
	"UTF-16LE":     unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
	"UTF-32":       utf32.UTF32(utf32.BigEndian, utf32.UseBOM),
	"UTF-32BE":     utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM),
	"UTF-32LE":     utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM),
	"ISO-8859-1":   charmap.ISO8859_1,
	"ISO-8859-2":   charmap.ISO8859_2,
	"ISO-8859-5":   charmap.ISO8859_5,
	"ISO-8859-7":   charmap.ISO8859_7,
	"ISO-8859-9":   charmap.ISO8859_9,
	"ISO-8859-15":  charmap.ISO8859_15,
	"WINDOWS-1250": charmap.Windows1250,
	"WINDOWS-1251": charmap.Windows1251,
	"WINDOWS-1252": charmap.Windows1252,
	"WINDOWS-1253": charmap.Windows1253,
	"WINDOWS-1254": charmap.Windows1254,
	"WINDOWS-1257": charmap.Windows1257,
	"KOI8-R":       charmap.KOI8R,
	"IBM437":       charmap.CodePage437,
	"IBM850":       charmap.CodePage850,
	"US-ASCII":     ascii{},
}

// aliases are other names that are in use. Source: IANA, "Character Sets".
var aliases = map[string]string{
	"UTF8": "UTF-8", "UTF16": "UTF-16", "UTF-16-LE": "UTF-16LE", "UTF-16-BE": "UTF-16BE", "UTF32": "UTF-32",
	"LATIN1": "ISO-8859-1", "ISO8859-1": "ISO-8859-1", "ISO8859_1": "ISO-8859-1", "ISO-LATIN-1": "ISO-8859-1",
	"ASCII": "US-ASCII", "CP1252": "WINDOWS-1252", "CP1250": "WINDOWS-1250", "CP1251": "WINDOWS-1251",
	"CP437": "IBM437", "CP850": "IBM850",
}

// ParseEncoding returns the usual form of the name of an encoding that can be read, empty for UTF-8.
func ParseEncoding(name string) (string, error) {
	n := strings.ToUpper(name)
	if alias, ok := aliases[n]; ok {
		n = alias
	}
	if n == "" || n == "UTF-8" {
		return "", nil
	}
	if encodings[n] == nil {
		return "", fmt.Errorf("there is no encoding %q", name)
	}
	return n, nil
}

// guess tells an encoding by the byte order mark of a text, or else by where the NULs are around its
// first two characters; it is empty for UTF-8.
func guess(head []byte) string {
	for _, b := range [...]struct{ mark, name string }{ // the longer come first
		{"\xff\xfe\x00\x00", "UTF-32LE"}, {"\x00\x00\xfe\xff", "UTF-32BE"}, {"\xff\xfe", "UTF-16LE"}, {"\xfe\xff", "UTF-16BE"},
	} {
		if bytes.HasPrefix(head, []byte(b.mark)) {
			return b.name
		}
	}
	if len(head) < 4 {
		return ""
	}
	nuls := 0
	for _, c := range head[:4] {
		nuls <<= 1
		if c == 0 {
			nuls |= 1
		}
	}
	switch nuls {
	case 0b0101:
		return "UTF-16LE"
	case 0b1010:
		return "UTF-16BE"
	case 0b0111:
		return "UTF-32LE"
	case 0b1110:
		return "UTF-32BE"
	}
	return ""
}

// isTranscoded reports whether a text that starts with head is turned into UTF-8, so that its offsets are
// not those of the file.
func (o *Options) isTranscoded(head []byte) bool {
	return o.Encoding != "" || o.looks() && guess(head) != ""
}

// looks reports whether the first bytes of a text may tell that it is no UTF-8.
func (o *Options) looks() bool { return !o.Compat || o.Framing == "file" }

// toUTF8 returns the text of r as UTF-8. Without a name the first bytes decide, if look is set.
func toUTF8(r io.Reader, name string, look bool) io.Reader {
	if name == "" && look {
		peek := bufio.NewReaderSize(r, headSize)
		r = peek
		head, _ := peek.Peek(4) // an error comes again when the text is read
		name = guess(head)
	}
	if name == "" {
		return r
	}
	return transform.NewReader(r, encodings[name].NewDecoder())
}

// ascii decodes bytes below 128.
type ascii struct{ transform.NopResetter }

func (a ascii) NewDecoder() *encoding.Decoder { return &encoding.Decoder{Transformer: a} }
func (a ascii) NewEncoder() *encoding.Encoder { return &encoding.Encoder{Transformer: a} }

func (ascii) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		r := rune(src[nSrc])
		if r >= utf8.RuneSelf {
			r = utf8.RuneError
		}
		if nDst+utf8.RuneLen(r) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
	}
	return nDst, nSrc, nil
}
