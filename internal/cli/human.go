package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// thousands writes n as 1,318,402.
func thousands[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// count writes a number of things: "1 file", "1,204 files".
func count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return thousands(n) + " " + thing + "s"
}

// size writes bytes as 2.3 GiB.
func size(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, unit := float64(n), 0
	for f >= 1023.5 && unit < len("KMGTPE") {
		f /= 1024
		unit++
	}
	digits := 0
	if f < 9.95 {
		digits = 1
	}
	return strconv.FormatFloat(f, 'f', digits, 64) + " " + "KMGTPE"[unit-1:unit] + "iB"
}

// compact writes a count in few letters: 918k.
func compact(n int64) string {
	f, unit := float64(n), 0
	for f >= 999.5 && unit < len("kMGT") {
		f /= 1000
		unit++
	}
	switch {
	case unit == 0:
		return strconv.FormatInt(n, 10)
	case f < 9.95:
		return strconv.FormatFloat(f, 'f', 1, 64) + "kMGT"[unit-1:unit]
	}
	return strconv.FormatFloat(f, 'f', 0, 64) + "kMGT"[unit-1:unit]
}

// took writes a duration: 340 ms, 38.4 s, 4 min 05 s, 2 h 14 min.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Hour:
		s := int(d.Round(time.Second).Seconds())
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	}
	m := int(d.Round(time.Minute).Minutes())
	return fmt.Sprintf("%d h %02d min", m/60, m%60)
}

// share writes part of whole in per cent.
func share(part, whole int64) string {
	switch {
	case part == 0 || whole == 0:
		return "0%"
	case part*10000 < whole:
		return "<.01%"
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 2, 64) + "%"
}

// cut shortens s to n characters, on one line.
func cut(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f {
			return '\uFFFD'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// some joins the first few of words, and says how many more there are.
func some(words []string, most int) string {
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return strings.Join(words[:most], ", ") + " and " + thousands(len(words)-most) + " more"
}

// clock writes a time for people: in the local zone, with its offset.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 -07:00")
}
