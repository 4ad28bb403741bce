package checkpoint

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
)

// appendFile appends what encoding/json makes of the line, without its newline.
func appendFile(b []byte, l fileLine) []byte {
	b = appendWireKey(b, l.wireKey)
	b = strconv.AppendInt(append(b, `"size":`...), l.Size, 10)
	b = append(l.ModTime.AppendFormat(append(b, `,"modTime":"`...), time.RFC3339Nano), '"')
	b = appendQuoted(append(b, `,"etag":`...), l.ETag)
	if l.VersionID != "" {
		b = appendQuoted(append(b, `,"versionId":`...), l.VersionID)
	}
	return append(b, '}')
}

// appendOutcome appends what encoding/json makes of the line, without its newline.
func appendOutcome(b []byte, l outcomeLine) []byte {
	b = appendWireKey(b, l.wireKey)
	b = appendQuoted(append(b, `"etag":`...), l.ETag)
	b = appendQuoted(append(b, `,"state":`...), string(l.State))
	for _, f := range [...]struct {
		start string
		n     int64
	}{{`,"records":`, l.Records}, {`,"rows":`, l.Rows}, {`,"bad":`, l.Bad}, {`,"rescued":`, l.Rescued}, {`,"tries":`, int64(l.Tries)}} {
		if f.n != 0 {
			b = strconv.AppendInt(append(b, f.start...), f.n, 10)
		}
	}
	if l.Error != "" {
		b = appendQuoted(append(b, `,"error":`...), l.Error)
	}
	return append(b, '}')
}

// appendWireKey begins a line that goes on after the key.
func appendWireKey(b []byte, k wireKey) []byte {
	b = append(b, '{')
	if k.Key != "" {
		b = append(appendQuoted(append(b, `"key":`...), k.Key), ',')
	}
	if len(k.Bytes) > 0 {
		b = append(base64.StdEncoding.AppendEncode(append(b, `"keyBase64":"`...), k.Bytes), `",`...)
	}
	return b
}

func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a text always can be
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
