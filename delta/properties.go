package delta

import (
	"fmt"
	"strconv"
	"strings"
)

// The table properties that the package understands. Source: Delta, "Table properties reference".
const (
	propAppendOnly         = "delta.appendOnly"
	propStatsLeaves        = "delta.dataSkippingNumIndexedCols"
	propStatsColumns       = "delta.dataSkippingStatsColumns"
	propStatsPrefix        = "delta.dataSkippingStringPrefixLength"
	propCodec              = "delta.parquet.compression.codec"
	propTargetFileSize     = "delta.targetFileSize"
	propCheckpointInterval = "delta.checkpointInterval"
	propCheckpointPolicy   = "delta.checkpointPolicy"
	propStatsAsStruct      = "delta.checkpoint.writeStatsAsStruct"
	propStatsAsJSON        = "delta.checkpoint.writeStatsAsJson"
	propICT                = "delta.enableInCommitTimestamps"
	propICTVersion         = "delta.inCommitTimestampEnablementVersion"
	propICTTime            = "delta.inCommitTimestampEnablementTimestamp"
	propRetention          = "delta.deletedFileRetentionDuration"
)

func (m *Metadata) isTrue(property string) bool {
	return strings.EqualFold(m.Configuration[property], "true")
}

// CheckpointInterval is the number of versions from one log checkpoint to the next.
func (m *Metadata) CheckpointInterval() int64 {
	if n, err := strconv.ParseInt(m.Configuration[propCheckpointInterval], 10, 64); err == nil && n > 0 {
		return n
	}
	return 10
}

func (m *Metadata) statsColumns() (StatsColumns, error) {
	s := StatsColumns{Leaves: defaultStatsLeaves, PrefixLength: defaultStatsStrings}
	if text, ok := m.Configuration[propStatsLeaves]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < -1 {
			return s, fmt.Errorf("property %s: %q is no number of columns", propStatsLeaves, text)
		}
		s.Leaves = n
	}
	if text, ok := m.Configuration[propStatsPrefix]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return s, fmt.Errorf("property %s: %q is no length", propStatsPrefix, text)
		}
		s.PrefixLength = n
	}
	if text, ok := m.Configuration[propStatsColumns]; ok {
		var err error
		if s.Names, err = parseColumnList(text); err != nil {
			return s, fmt.Errorf("property %s: %w", propStatsColumns, err)
		}
	}
	return s, nil
}

// parseColumnList reads column names between commas, nested ones with dots, in back-ticks where they
// hold other characters.
func parseColumnList(text string) ([][]string, error) {
	names := [][]string{}
	var path []string
	part := func(s string) { path = append(path, s) }
	for text = strings.TrimSpace(text); text != ""; {
		var name string
		if text[0] == '`' {
			var b strings.Builder
			rest := text[1:]
			for {
				i := strings.IndexByte(rest, '`')
				if i < 0 {
					return nil, fmt.Errorf("a back-tick is not closed in %q", text)
				}
				b.WriteString(rest[:i])
				if rest = rest[i+1:]; !strings.HasPrefix(rest, "`") {
					break
				}
				b.WriteByte('`')
				rest = rest[1:]
			}
			name, text = b.String(), strings.TrimSpace(rest)
		} else {
			i := strings.IndexAny(text, ".,")
			if i < 0 {
				i = len(text)
			}
			name, text = strings.TrimSpace(text[:i]), text[i:]
		}
		part(name)
		switch {
		case strings.HasPrefix(text, "."):
			text = text[1:]
		case text == "" || text[0] == ',':
			names, path = append(names, path), nil
			text = strings.TrimSpace(strings.TrimPrefix(text, ","))
		default:
			return nil, fmt.Errorf("unexpected %q", text)
		}
	}
	return names, nil
}
