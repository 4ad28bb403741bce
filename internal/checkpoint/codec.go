package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/siltlake/silt/objstore"
)

// An object is JSON lines. The first holds what there is one of, format number first; lists follow, a
// line each. The last line is the trailer: the length of all before it and its CRC32C. An object
// without its trailer was never written to its end.

const format = 1

// errTorn means that an object has no trailer that fits it.
var errTorn = errors.New("empty or torn: it does not end in its length and checksum")

// formatError means that a newer silt wrote the object.
type formatError int

func (e formatError) Error() string {
	return fmt.Sprintf("format %d, this silt knows %d", int(e), format)
}

type trailer struct {
	Length int    `json:"length"`
	CRC    string `json:"crc32c"`
}

// encode makes an object of its lines.
func encode(lines ...any) ([]byte, error) {
	var b []byte
	for _, line := range lines {
		text, err := json.Marshal(line)
		if err != nil {
			return nil, err
		}
		b = append(append(b, text...), '\n')
	}
	return seal(b)
}

// encodeList makes an object of its first line and a list.
func encodeList[T any](head any, list []T, line func(b []byte, item *T) []byte) ([]byte, error) {
	b, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	start := len(b)
	for i := range list {
		if i == 1 { // the others are about as long as the first
			b = slices.Grow(b, (len(b)-start)*len(list)*9/8+256)
		}
		b = append(line(b, &list[i]), '\n')
	}
	return seal(b)
}

// seal appends the trailer.
func seal(b []byte) ([]byte, error) {
	end, err := json.Marshal(trailer{len(b), checksum(b)})
	if err != nil {
		return nil, err
	}
	return append(append(b, end...), '\n'), nil
}

func checksum(b []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// digest names the content of an object.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// decode checks an object and returns its first line, and the lines after it without the trailer. Both
// alias content.
func decode(content []byte) (head, rest []byte, err error) {
	body, last, ok := cutLastLine(content)
	var end trailer
	if !ok || json.Unmarshal(last, &end) != nil || end.Length != len(body) || end.CRC != checksum(body) {
		return nil, nil, errTorn
	}
	head, rest, _ = bytes.Cut(body, []byte("\n"))
	var f struct{ Format int }
	if err := json.Unmarshal(head, &f); err != nil {
		return nil, nil, err
	}
	if f.Format != format {
		return nil, nil, formatError(f.Format)
	}
	return head, rest, nil
}

// cutLastLine splits content before its last line.
func cutLastLine(content []byte) (body, last []byte, ok bool) {
	text, ok := bytes.CutSuffix(content, []byte("\n"))
	if !ok {
		return nil, nil, false
	}
	at := bytes.LastIndexByte(text, '\n') + 1
	return content[:at], text[at:], at > 0
}

// headed puts the format number before the fields of a first line.
type headed[T any] struct {
	Format int `json:"format"`
	Body   T   `json:"-"`
}

func (h headed[T]) MarshalJSON() ([]byte, error) {
	body, err := json.Marshal(h.Body)
	if err != nil {
		return nil, err
	}
	fields, ok := bytes.CutPrefix(body, []byte("{"))
	if !ok {
		return nil, fmt.Errorf("%.20s is no JSON object", body)
	}
	if len(fields) > 1 {
		fields = append([]byte(","), fields...)
	}
	return fmt.Appendf(nil, `{"format":%d%s`, format, fields), nil
}

// wireKey is a key in JSON, which has no way to write bytes that are not UTF-8.
type wireKey struct {
	Key   string `json:"key,omitempty"`
	Bytes []byte `json:"keyBase64,omitempty"`
}

func toWire(key string) wireKey {
	if utf8.ValidString(key) {
		return wireKey{Key: key}
	}
	return wireKey{Bytes: []byte(key)}
}

func (k wireKey) key() string {
	if k.Bytes != nil {
		return string(k.Bytes)
	}
	return k.Key
}

// sourcesHead is the first line of sources/0/N.
type sourcesHead struct {
	Batch int64  `json:"batch"`
	Nonce string `json:"nonce"`
	Files int    `json:"files"`
	// Request, when set, is what the files are for.
	Request *RequestHead `json:"request,omitempty"`
}

type fileLine struct {
	wireKey
	Size      int64     `json:"size"`
	ModTime   time.Time `json:"modTime"`
	ETag      string    `json:"etag"`
	VersionID string    `json:"versionId,omitempty"`
}

// lastTime is the greatest time JSON can hold. Files can be younger; their ETag tells them apart.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

func toFileLine(f objstore.Object) fileLine {
	t := f.ModTime.UTC()
	if t.After(lastTime) {
		t = lastTime
	}
	return fileLine{toWire(f.Key), f.Size, t, f.ETag, f.VersionID}
}

func (l *fileLine) object() objstore.Object {
	return objstore.Object{Key: l.key(), Size: l.Size, ModTime: l.ModTime, ETag: l.ETag, VersionID: l.VersionID}
}

func encodeSources(n int64, nonce string, files []objstore.Object, request *RequestHead) ([]byte, error) {
	return encodeList(headed[sourcesHead]{Body: sourcesHead{n, nonce, len(files), request}}, files, func(b []byte, f *objstore.Object) []byte {
		return appendFile(b, toFileLine(*f))
	})
}

// sourcesObject is what sources/0/N says.
type sourcesObject struct {
	files   []objstore.Object
	sum     string // digest of their lines
	request *RequestHead
}

func decodeSources(content []byte) (s sourcesObject, err error) {
	head, rest, err := decode(content)
	if err != nil {
		return s, err
	}
	var h sourcesHead
	if err := json.Unmarshal(head, &h); err != nil {
		return s, err
	}
	s.files, err = decodeLines(rest, h.Files, quickFile, func(l fileLine) objstore.Object { return l.object() })
	s.sum, s.request = digest(rest), h.Request
	return s, err
}

type outcomeLine struct {
	wireKey
	ETag    string    `json:"etag"`
	State   FileState `json:"state"`
	Records int64     `json:"records,omitempty"`
	Rows    int64     `json:"rows,omitempty"`
	Bad     int64     `json:"bad,omitempty"`
	Rescued int64     `json:"rescued,omitempty"`
	Tries   int       `json:"tries,omitempty"`
	Error   string    `json:"error,omitempty"`
}

func encodeStaged(s Staged) ([]byte, error) {
	return encodeList(headed[Staged]{Body: s}, s.Files, func(b []byte, o *FileOutcome) []byte {
		return appendOutcome(b, outcomeLine{toWire(o.Key), o.ETag, o.State, o.Records, o.Rows, o.Bad, o.Rescued, o.Tries, o.Error})
	})
}

func decodeStaged(content []byte, files int) (Staged, error) {
	head, rest, err := decode(content)
	if err != nil {
		return Staged{}, err
	}
	var s Staged
	if err := json.Unmarshal(head, &s); err != nil {
		return Staged{}, err
	}
	s.Files, err = decodeLines(rest, files, quickOutcome, func(l outcomeLine) FileOutcome {
		return FileOutcome{l.key(), l.ETag, l.State, l.Records, l.Rows, l.Bad, l.Rescued, l.Tries, l.Error}
	})
	return s, err
}

// decodeLines reads a list: the lines that quick knows by it, and the others as any JSON.
func decodeLines[L, T any](text []byte, count int, quick func([]byte) (L, bool), of func(L) T) ([]T, error) {
	list := make([]T, 0, max(0, min(count, len(text)))) // count is not to be trusted yet
	for line := range bytes.Lines(text) {
		l, ok := quick(line)
		if !ok {
			l = *new(L)
			if err := json.Unmarshal(line, &l); err != nil {
				return nil, err
			}
		}
		list = append(list, of(l))
	}
	if len(list) != count {
		return nil, fmt.Errorf("it has %d lines of files, want %d", len(list), count)
	}
	return list, nil
}

// decodeHead reads an object of one line.
func decodeHead[T any](content []byte) (T, error) {
	var t T
	head, _, err := decode(content)
	if err == nil {
		err = json.Unmarshal(head, &t)
	}
	return t, err
}
