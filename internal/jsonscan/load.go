//go:build (amd64 || arm64) && !safe

package jsonscan

import "unsafe"

// Load returns the 8 bytes of text at i, the first one lowest, without asking whether they are there.
//
// It is the one place that trusts the [Padding]: an offset that a method of the Scanner takes or returns
// is at most End, and 8 bytes are readable behind End. The tag safe builds the version that asks.
func Load(text []byte, i int) uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(text)), i)) //nolint:gosec // see above
}

// store puts 8 bytes at i, where the caller has made sure of room.
func store(dst []byte, i int, w uint64) {
	*(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(dst)), i)) = w //nolint:gosec // see above
}

// At returns the byte of text at i, as Load does.
func At(text []byte, i int) byte {
	return *(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(text)), i)) //nolint:gosec // see Load
}
