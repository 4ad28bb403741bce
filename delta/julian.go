package delta

import (
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// julian says which values of a file that are older than the Gregorian calendar count their days by the
// Julian one, as Spark did before version 3, and does still when it is told to. Source: Spark, "Parquet
// Files", datetimeRebaseModeInRead; the keys are in the footers of its files.
type julian struct{ dates, times bool }

func julianOf(m *metadata.FileMetaData) (j julian) {
	value := func(key string) string {
		if v := m.KeyValueMetadata().FindValue(key); v != nil {
			return *v
		}
		return ""
	}
	has := func(key string) bool { return m.KeyValueMetadata().FindValue(key) != nil }
	version := value("org.apache.spark.version")
	before3 := strings.HasPrefix(version, "2.") || strings.HasPrefix(version, "1.")
	j.dates = before3 || has("org.apache.spark.legacyDateTime")
	j.times = j.dates
	for i := range m.Schema.NumColumns() {
		if m.Schema.Column(i).PhysicalType() == parquet.Types.Int96 {
			j.times = before3 || strings.HasPrefix(version, "3.0.") || has("org.apache.spark.legacyINT96")
			break
		}
	}
	return j
}

// gregorianDay is the first day of the Gregorian calendar, 1582-10-15, in days since 1970.
const gregorianDay = -141427

// rebaseDay returns the day that has the name in the Gregorian calendar, reckoned backwards, which the day
// has in the Julian one. Days are since 1970.
func rebaseDay(day int64) int64 {
	if day >= gregorianDay {
		return day
	}
	// Years start with March here, so that a leap day is the last. The Julian 0000-03-01 is the Gregorian
	// 0000-02-28, 719470 days before 1970.
	n := day + 719470
	year := floorDiv(4*n+3, 1461)
	ofYear := n - floorDiv(1461*year, 4)
	month := (5*ofYear + 2) / 153
	ofMonth := ofYear - (153*month+2)/5 + 1
	return floorDiv(time.Date(int(year), time.Month(month+3), int(ofMonth), 0, 0, 0, 0, time.UTC).Unix(), 86400)
}

// rebase returns a with its old days by the Gregorian calendar, and releases a. Days begin in UTC.
func (j julian) rebase(mem memory.Allocator, a arrow.Array) arrow.Array {
	if j == (julian{}) {
		return a
	}
	data := j.rebaseData(mem, a.Data())
	if data == a.Data() {
		return a
	}
	defer data.Release()
	defer a.Release()
	return array.MakeFromData(data)
}

// rebaseData returns data itself when nothing of it is so old.
func (j julian) rebaseData(mem memory.Allocator, data arrow.ArrayData) arrow.ArrayData {
	const day = 86400 * 1_000_000
	from, to := data.Offset(), data.Offset()+data.Len()
	buffers, kids := data.Buffers(), data.Children()
	switch data.DataType().ID() {
	case arrow.DATE32:
		if !j.dates || buffers[1] == nil {
			return data
		}
		days := append([]int32(nil), arrow.Int32Traits.CastFromBytes(buffers[1].Bytes())[:to]...)
		for i, d := range days[from:] {
			days[from+i] = int32(rebaseDay(int64(d)))
		}
		buffers = []*memory.Buffer{buffers[0], memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(days))}
	case arrow.TIMESTAMP:
		if !j.times || buffers[1] == nil {
			return data
		}
		times := append([]int64(nil), arrow.Int64Traits.CastFromBytes(buffers[1].Bytes())[:to]...)
		for i, us := range times[from:] {
			d := floorDiv(us, day)
			times[from+i] = us + (rebaseDay(d)-d)*day
		}
		buffers = []*memory.Buffer{buffers[0], memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(times))}
	default:
		changed := false
		out := make([]arrow.ArrayData, len(kids))
		for i, k := range kids {
			out[i] = j.rebaseData(mem, k)
			changed = changed || out[i] != k
		}
		if !changed {
			return data
		}
		kids = out
	}
	return array.NewData(data.DataType(), data.Len(), buffers, kids, data.NullN(), data.Offset())
}
