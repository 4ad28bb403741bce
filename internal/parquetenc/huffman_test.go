package parquetenc

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func TestAFrameOfCodesIsReadAsZstandard(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	hex := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = "0123456789abcdef"[random.IntN(16)]
		}
		return b
	}
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	r, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var h huffman
	for name, b := range map[string][]byte{
		"nothing": {}, "a byte": {7}, "few bytes": []byte("abcabcabd"), "one byte again and again": bytes.Repeat([]byte{9}, 200_000),
		"noise": noise, "a block of noise": noise[:blockMax], "all bytes": bytes.Repeat(noise[:256], 700),
		"half of it noise": append(hex(blockMax), noise[:blockMax]...),
	} {
		back, err := r.DecodeAll(h.append(nil, b), nil)
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%s: %d bytes are read of %d, %v", name, len(back), len(b), err)
		}
	}
	for _, n := range []int{1, 15, 31, 255, 256, 1023, 1024, 16_383, 16_384, blockMax - 1, blockMax, blockMax + 1, 2 * blockMax, 1_000_000} {
		b := hex(n)
		packed := h.append([]byte("before"), b)
		back, err := r.DecodeAll(packed[6:], nil)
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%d digits: %d bytes are read, %v", n, len(back), err)
		}
		if n > 10_000 && len(packed) > n*51/100 {
			t.Errorf("%d digits of four bits each take %d bytes", n, len(packed))
		}
	}
}

// A reader that streams keeps a window in memory, and refuses large ones: RFC 8878 wants 8 MB of it at least.
func TestAFrameOfCodesNeedsOnlyASmallWindow(t *testing.T) {
	b := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	var h huffman
	r, err := zstd.NewReader(bytes.NewReader(h.append(nil, b)), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if back, err := io.ReadAll(r); err != nil || !bytes.Equal(back, b) {
		t.Errorf("%d bytes are read of %d, %v", len(back), len(b), err)
	}
}

func TestCodesAreUsedWhereNothingIsThereTwice(t *testing.T) {
	var ids, times bytes.Buffer
	random := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		fmt.Fprintf(&ids, "%016x%016x", random.Uint64(), random.Uint64())
		fmt.Fprintf(&times, "2026-11-01T%02d:%02d:%02d.%03dZ", random.IntN(24), random.IntN(60), random.IntN(60), random.IntN(1000))
	}
	var p packer
	if err := p.open(Zstd); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, test := range []struct {
		name string
		b    []byte
		want bool
	}{{"ids", ids.Bytes(), true}, {"times", times.Bytes(), false}, {"few", ids.Bytes()[:1000], false}} {
		if got := p.codesSuit(test.b, len(p.compress(test.b))); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
