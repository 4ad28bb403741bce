package decode

import (
	"net/url"
	"strings"

	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/schema"
)

// FolderValue is a folder of the form k=v on the way to a file.
type FolderValue struct {
	Name string
	// Value is nil for Hive's word for NULL.
	Value *string
}

// hiveNull is what Hive calls a folder whose column is NULL.
const hiveNull = "__HIVE_DEFAULT_PARTITION__"

// FolderValues returns the folders k=v in the path of a file below its source, from the top. Names and
// values are percent-decoded.
func FolderValues(key string) []FolderValue {
	var out []FolderValue
	for strings.Contains(key, "=") {
		folder, rest, inside := strings.Cut(key, "/")
		if key = rest; !inside {
			break
		}
		name, value, ok := strings.Cut(folder, "=")
		if !ok || name == "" {
			continue
		}
		f := FolderValue{Name: unescapePath(name)}
		if value != hiveNull {
			value = unescapePath(value)
			f.Value = &value
		}
		out = append(out, f)
	}
	return out
}

func unescapePath(s string) string {
	if t, err := url.PathUnescape(s); err == nil {
		return t
	}
	return s
}

// FolderType is the type that inference gives to the value of a folder. Source: Spark's
// PartitioningUtils.inferPartitionColumnValue.
func FolderType(value string) schema.Type {
	s := jsonscan.Scanner{Space: jsonscan.Anywhere, MaxDepth: 1}
	s.Reset(plainNumber(value))
	if n, end := s.Number(0); end == s.End && end > 0 {
		v, ok := n.Int64()
		switch {
		case ok && v == int64(int32(v)):
			return schema.Integer
		case ok:
			return schema.Long
		case n.Integer && n.Digits <= schema.MaxPrecision:
			return schema.Decimal{Precision: n.Digits}
		}
		return schema.Double
	}
	digits := len(value) >= 10 && value[4] == '-' && value[7] == '-'
	if _, ok := parseDate([]byte(value)); ok && digits && len(value) == 10 {
		return schema.Date
	}
	if f := (&formats{}); digits {
		if _, ok := f.parseTimestamp([]byte(value), nil, false); ok {
			return schema.Timestamp
		}
	}
	return schema.String
}

// plainNumber returns text without leading zeros, if it may be a number.
func plainNumber(text string) []byte {
	sign, digits := "", text
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		sign, digits = "-", rest
	}
	for len(digits) > 1 && digits[0] == '0' && '0' <= digits[1] && digits[1] <= '9' {
		digits = digits[1:]
	}
	return []byte(sign + digits)
}

// partition is a column whose values are in the path of the file.
type partition struct {
	c *column
	// texts hold, for each file, the value as JSON; nil is NULL.
	texts [][]byte
}

// bindPartitions takes the columns that folders fill out of the reach of keys.
func (r *Reader) bindPartitions() {
	root := r.p.root
	for _, name := range r.opts.Partitions {
		i, ok := root.index[name]
		if !ok {
			continue
		}
		kid := root.kids[i]
		delete(root.folded, schema.Fold(name))
		root.hide(i)
		part := partition{c: kid}
		for _, f := range r.files {
			var text []byte
			for _, folder := range FolderValues(f.Key) {
				if folder.Value != nil && schema.Fold(folder.Name) == schema.Fold(name) {
					text = folderText(*folder.Value, kid.kind)
				}
			}
			part.texts = append(part.texts, text)
		}
		r.partitions = append(r.partitions, part)
	}
}

// folderText is the value of a folder as JSON for a column of a kind, or nil if it cannot fit.
func folderText(value string, k kind) []byte {
	switch {
	case k == kindBoolean:
		if value = strings.ToLower(value); value != "true" && value != "false" {
			return nil
		}
		return []byte(value)
	case k >= kindByte && k <= kindDecimal:
		s := jsonscan.Scanner{Space: jsonscan.Anywhere, MaxDepth: 1}
		s.Reset(plainNumber(value))
		if _, end := s.Number(0); end != s.End || end == 0 {
			return nil
		}
		return s.Text[:s.End]
	}
	return jsonscan.AppendQuoted(nil, value)
}

// fillPartitions gives the columns of folders their values in the rows collected so far.
func (r *Reader) fillPartitions() {
	original := r.p.Scanner
	for _, part := range r.partitions {
		row := 0
		for _, run := range r.runs {
			if text := part.texts[run.File]; text != nil {
				r.p.Reset(text)
				for i := range run.Rows {
					r.p.value(0, part.c, row+i, 0) // what does not fit stays NULL
				}
			}
			row += run.Rows
		}
	}
	r.p.Scanner = original
}

// isPartition reports whether a column of this name at the top level is filled by folders.
func (o *Options) isPartition(name []byte) bool {
	for _, p := range o.Partitions {
		if p == string(name) {
			return true
		}
	}
	return false
}
