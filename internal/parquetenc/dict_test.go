package parquetenc

import (
	"math/rand/v2"
	"testing"
)

// undo is the text of so many bytes that has a hash.
func undo(hash uint64, n int) []byte {
	const k = 0x9E3779B97F4A7C15
	inverse := uint64(k) // of k, by Newton's steps
	for range 6 {
		inverse *= 2 - k*inverse
	}
	h := hash * inverse
	h ^= h >> 32
	x := h*inverse ^ uint64(n)*k
	v := make([]byte, n)
	switch {
	case n == 8:
		for i := range v {
			v[i] = byte(x >> (8 * i))
		}
	case n >= 4:
		for i := range 4 {
			v[i], v[n-4+i] = byte(x>>(8*i)), byte(x>>(32+8*i))
		}
	case n > 0:
		v[0], v[n/2], v[n-1] = byte(x), byte(x>>8), byte(x>>16)
	}
	return v
}

// A dictionary takes short texts for the same by length and hash alone.
func TestAHashTellsAShortText(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for n := range hashedWhole + 1 {
		for range 1000 {
			v := make([]byte, n)
			for i := range v {
				v[i] = byte(random.Uint32() >> (random.IntN(2) * 8)) // zeros are likely
			}
			if got := undo(hashBytes(v), n); string(got) != string(v) {
				t.Fatalf("the hash of %x is that of %x", v, got)
			}
		}
	}
	var d texts
	d.reset()
	index := map[string]uint32{}
	for range 100_000 {
		v := make([]byte, random.IntN(10))
		for i := range v {
			v[i] = byte(random.IntN(3))
		}
		i := d.find(v)
		if known, ok := index[string(v)]; ok && known != i || string(d.at(i)) != string(v) {
			t.Fatalf("%x is %d, and was %d", v, i, known)
		}
		index[string(v)] = i
	}
}
