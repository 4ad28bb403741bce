// Package telemetry makes up telemetry of electric cars at charging stations: nested JSON as it comes
// from the field. [WriteDemo] writes the folder that "silt demo" shows silt with, [Generate] as much
// data as a measurement needs. The same arguments always give the same bytes.
package telemetry

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// epoch is when the first record was made.
var epoch = time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC)

// writer appends JSON to buf. A comma is put between members by who calls it.
type writer struct {
	*rand.Rand
	buf []byte
}

// raw appends text as it stands.
func (w *writer) raw(parts ...string) {
	for _, p := range parts {
		w.buf = append(w.buf, p...)
	}
}

// int appends a whole number.
func (w *writer) int(n int64) { w.buf = strconv.AppendInt(w.buf, n, 10) }

// padded appends n with zeroes before it, so that it has at least width digits.
func (w *writer) padded(n uint64, base, width int) {
	digits := 1
	for rest := n / uint64(base); rest > 0; rest /= uint64(base) {
		digits++
	}
	for ; digits < width; digits++ {
		w.buf = append(w.buf, '0')
	}
	w.buf = strconv.AppendUint(w.buf, n, base)
}

// float appends f with so many digits behind the point.
func (w *writer) float(f float64, digits int) { w.buf = strconv.AppendFloat(w.buf, f, 'f', digits, 64) }

// bool appends true or false by chance.
func (w *writer) bool() { w.buf = strconv.AppendBool(w.buf, w.bits(1) == 1) }

// time appends t as a string.
func (w *writer) time(t time.Time) { w.buf = t.UTC().AppendFormat(w.buf, `"2006-01-02T15:04:05.000Z"`) }

// between returns a number from low up to high.
func (w *writer) between(low, high float64) float64 { return low + (high-low)*w.Float64() }

// bits returns a number of n random bits.
func (w *writer) bits(n int) uint64 { return w.Uint64() >> (64 - n) }

// id appends a random UUID as a string.
func (w *writer) id() {
	w.raw(`"`)
	w.padded(w.bits(32), 16, 8)
	w.raw("-")
	w.padded(w.bits(16), 16, 4)
	w.raw("-4")
	w.padded(w.bits(12), 16, 3)
	w.raw("-a")
	w.padded(w.bits(12), 16, 3)
	w.raw("-")
	w.padded(w.bits(48), 16, 12)
	w.raw(`"`)
}
