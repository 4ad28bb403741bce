//go:build (!amd64 && !arm64) || safe

package jsonscan

import "encoding/binary"

// Load returns the 8 bytes of text at i, the first one lowest.
func Load(text []byte, i int) uint64 { return binary.LittleEndian.Uint64(text[i:]) }

// store puts 8 bytes at i, where the caller has made sure of room.
func store(dst []byte, i int, w uint64) { binary.LittleEndian.PutUint64(dst[i:], w) }

// At returns the byte of text at i.
func At(text []byte, i int) byte { return text[i] }
