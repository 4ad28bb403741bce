package cli

import (
	"strings"
	"unicode/utf8"
)

// nearest returns the word of known that name was probably meant to be, or "". It ignores case and
// the prefix cloudFiles.
func nearest(name string, known []string) string {
	name = plainName(name)
	best, least := "", 1+max(1, utf8.RuneCountInString(name)/3)
	for _, k := range known {
		p := plainName(k)
		if d := distance(name, p); d < least {
			best, least = k, d
		}
	}
	if best == "" && len(name) >= 4 {
		for _, k := range known {
			if strings.HasPrefix(plainName(k), name) {
				return k
			}
		}
	}
	return best
}

func plainName(s string) string {
	return strings.TrimPrefix(strings.ToLower(s), "cloudfiles.")
}

// distance is the number of letters to insert, remove, replace or swap with a neighbour to make b of a.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := [3][]int{make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)}
	before, last, row := rows[0], rows[1], rows[2]
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			change := last[j-1]
			if x[i-1] != y[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
