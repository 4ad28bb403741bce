package decode

import (
	"strings"
	"time"
)

// Dates and times are read as leniently as Spark reads them when no format is set: a year may stand
// alone, months and days may have one digit, seconds up to nine of fraction, and a zone may follow as
// an offset, a Z, or a name. What Spark accepts by accident is refused: a time without a date, and
// integers in strings.
//
// Source: Spark's SparkDateTimeUtils.stringToTimestamp; years 1 to 9999 only, the range that Delta's
// statistics and most readers share.

const (
	minYear = 1
	maxYear = 9999
)

// parseDate returns the days since 1970 of a date, whatever time follows it.
func parseDate(text []byte) (days int32, ok bool) {
	t := trim(text)
	d, rest, ok := dateOf(t)
	if !ok || len(rest) > 0 && (rest[0] != 'T' && rest[0] != ' ' || len(rest) == 1) {
		return 0, false
	}
	return int32(d), true
}

// parseTimestamp returns the microseconds since 1970, in UTC. Without a zone in the text the time is
// in loc; when zoned is false the text must not have one, and the time is taken as it stands. Digits
// beyond microseconds are cut.
func parseTimestamp(text []byte, loc *time.Location, zoned bool) (micros int64, ok bool) {
	t := trim(text)
	days, rest, ok := dateOf(t)
	if !ok {
		return 0, false
	}
	var clock int64
	if len(rest) > 0 {
		if rest[0] != 'T' && rest[0] != ' ' {
			return 0, false
		}
		if clock, rest, ok = clockOf(rest[1:]); !ok {
			return 0, false
		}
	}
	micros = days*24*3600*1_000_000 + clock
	if !zoned {
		return micros, len(rest) == 0
	}
	if len(rest) == 0 {
		if loc == time.UTC {
			return micros, true
		}
	} else if loc, ok = zoneOf(string(rest)); !ok {
		return 0, false
	}
	return inZone(micros, loc), true
}

// inZone returns the instant at which clocks in loc show the given time.
func inZone(micros int64, loc *time.Location) int64 {
	if loc == time.UTC {
		return micros
	}
	u := time.UnixMicro(micros).UTC()
	return time.Date(u.Year(), u.Month(), u.Day(), u.Hour(), u.Minute(), u.Second(), u.Nanosecond(), loc).UnixMicro()
}

func trim(b []byte) []byte {
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] <= ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// number reads between lo and hi digits.
func number(b []byte, lo, hi int) (n int, rest []byte, ok bool) {
	i := 0
	for i < len(b) && i < hi && b[i]-'0' <= 9 {
		n = n*10 + int(b[i]-'0')
		i++
	}
	return n, b[i:], i >= lo && (i == len(b) || b[i]-'0' > 9)
}

// dateOf reads a year, a month and a day, the last two optional, and returns days since 1970.
func dateOf(b []byte) (days int64, rest []byte, ok bool) {
	month, day := 1, 1
	year, rest, ok := number(b, 4, 4)
	if !ok || year < minYear || year > maxYear {
		return 0, nil, false
	}
	if len(rest) > 0 && rest[0] == '-' {
		if month, rest, ok = number(rest[1:], 1, 2); !ok {
			return 0, nil, false
		}
		if len(rest) > 0 && rest[0] == '-' {
			if day, rest, ok = number(rest[1:], 1, 2); !ok {
				return 0, nil, false
			}
		}
	}
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, nil, false
	}
	return daysSinceEpoch(year, month, day), rest, true
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysSinceEpoch counts in eras of 400 years that start in March, so that the leap day comes last.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	yearOfEra := year % 400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	return int64(era)*146097 + int64(yearOfEra*365+yearOfEra/4-yearOfEra/100+dayOfYear) - 719468
}

// clockOf reads hours, minutes, seconds and a fraction, all but the first optional.
func clockOf(b []byte) (micros int64, rest []byte, ok bool) {
	var minute, second, fraction int
	hour, rest, ok := number(b, 1, 2)
	if ok && len(rest) > 0 && rest[0] == ':' {
		minute, rest, ok = number(rest[1:], 1, 2)
		if ok && len(rest) > 0 && rest[0] == ':' {
			second, rest, ok = number(rest[1:], 1, 2)
			if ok && len(rest) > 0 && rest[0] == '.' {
				fraction, rest = fractionOf(rest[1:])
			}
		}
	}
	if !ok || hour > 23 || minute > 59 || second > 59 {
		return 0, nil, false
	}
	return int64(hour*3600+minute*60+second)*1_000_000 + int64(fraction), rest, true
}

// fractionOf reads digits after the point as microseconds.
func fractionOf(b []byte) (micros int, rest []byte) {
	i := 0
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		if i < 6 {
			micros = micros*10 + int(b[i]-'0')
		}
	}
	for n := i; n < 6; n++ {
		micros *= 10
	}
	return micros, b[i:]
}

// zoneOf reads what may follow a time: Z, an offset such as +05:30, +0530 or -08, UTC or GMT with an
// offset, or the name of a zone.
func zoneOf(s string) (*time.Location, bool) {
	s = strings.TrimLeft(s, " ")
	if s == "Z" || s == "UTC" || s == "GMT" {
		return time.UTC, true
	}
	offset := strings.TrimPrefix(strings.TrimPrefix(s, "UTC"), "GMT")
	if offset != "" && (offset[0] == '+' || offset[0] == '-') {
		return offsetOf(offset)
	}
	if !strings.Contains(s, "/") {
		return nil, false
	}
	loc, err := time.LoadLocation(s)
	return loc, err == nil
}

func offsetOf(s string) (*time.Location, bool) {
	hour, rest, ok := number([]byte(s[1:]), 1, 2)
	minute := 0
	switch {
	case !ok && len(s) == 5: // +0530
		hour, _, _ = number([]byte(s[1:3]), 2, 2)
		minute, rest, ok = number([]byte(s[3:]), 2, 2)
	case ok && len(rest) > 0 && rest[0] == ':':
		minute, rest, ok = number(rest[1:], 1, 2)
	}
	if !ok || len(rest) > 0 || hour > 18 || minute > 59 {
		return nil, false
	}
	seconds := hour*3600 + minute*60
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone(s, seconds), true
}
