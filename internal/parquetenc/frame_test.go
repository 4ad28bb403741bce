package parquetenc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/klauspost/compress/zstd"
)

func TestAFrameOfCodesAloneIsReadAsZstandard(t *testing.T) {
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
	var f framer
	for name, b := range map[string][]byte{
		"nothing": {}, "a byte": {7}, "few bytes": []byte("abcabcabd"), "one byte again and again": bytes.Repeat([]byte{9}, 200_000),
		"noise": noise, "a block of noise": noise[:blockMax], "all bytes": bytes.Repeat(noise[:256], 700),
		"half of it noise": append(hex(blockMax), noise[:blockMax]...),
	} {
		back, err := r.DecodeAll(f.append(nil, b, nothing, 0), nil)
		if err != nil || !bytes.Equal(back, b) {
			t.Errorf("%s: %d bytes are read of %d, %v", name, len(back), len(b), err)
		}
	}
	for _, n := range []int{1, 15, 31, 255, 256, 1023, 1024, 16_383, 16_384, blockMax - 1, blockMax, blockMax + 1, 2 * blockMax, 1_000_000} {
		b := hex(n)
		packed := f.append([]byte("before"), b, nothing, 0)
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
func TestAFrameNeedsOnlyASmallWindow(t *testing.T) {
	b := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	var f framer
	r, err := zstd.NewReader(bytes.NewReader(f.append(nil, b, above, blockMax)), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if back, err := io.ReadAll(r); err != nil || !bytes.Equal(back, b) {
		t.Errorf("%d bytes are read of %d, %v", len(back), len(b), err)
	}
}

// pages are made-up pages of columns.
func pages() map[string][]byte {
	r := rand.New(rand.NewPCG(3, 4))
	texts := func(n int, f func(i int) string) []byte {
		var b []byte
		for i := range n {
			v := f(i)
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(v))), v...)
		}
		return b
	}
	numbers := func(n int, f func(i int) uint64) []byte {
		var b []byte
		for i := range n {
			b = binary.LittleEndian.AppendUint64(b, f(i))
		}
		return b
	}
	return map[string][]byte{
		"nothing": {}, "a byte": {7}, "eight": []byte("abcdefgh"),
		"ids": texts(10_000, func(int) string { return fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()) }),
		"times": texts(20_000, func(i int) string {
			return fmt.Sprintf("2026-11-01T%02d:%02d:%02d.%03dZ", i/4000, i/60%60, r.IntN(60), r.IntN(1000))
		}),
		"names":     texts(20_000, func(int) string { return fmt.Sprintf("name %d", r.IntN(1e9)) }),
		"one text":  texts(20_000, func(int) string { return "always this" }),
		"counted":   numbers(50_000, func(i int) uint64 { return uint64(3000 + i) }),
		"few bits":  numbers(50_000, func(int) uint64 { return r.Uint64N(1 << 20) }),
		"noise":     numbers(50_000, func(int) uint64 { return r.Uint64() }),
		"zeros":     numbers(50_000, func(int) uint64 { return 0 }),
		"decimals":  numbers(90_000, func(int) uint64 { return math.Float64bits(float64(r.IntN(380_000)) / 1000) }),
		"wholes":    numbers(50_000, func(int) uint64 { return math.Float64bits(float64(r.IntN(1000))) }),
		"fractions": numbers(50_000, func(int) uint64 { return math.Float64bits(r.Float64()) }),
		"ever more": numbers(50_000, func(i int) uint64 { return r.Uint64() >> (i % 64) }),
	}
}

func TestFramesOfFoundSequencesAreReadAsZstandard(t *testing.T) {
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var f framer
	for name, b := range pages() {
		for _, how := range []finder{nothing, above, decimals} {
			widths := []int{8}
			if how == above { // the others do not look at it
				widths = []int{1, 4, 8, 15, 28, 36, 1000, blockMax, blockMax + 1}
			}
			for _, width := range widths {
				for _, cut := range []int{0, 1, 5} {
					b := b[min(cut, len(b)):]
					back, err := d.DecodeAll(f.append(nil, b, how, width), nil)
					if err != nil || !bytes.Equal(back, b) {
						t.Fatalf("%s, finder %d, width %d: %d bytes are read of %d, %v", name, how, width, len(back), len(b), err)
					}
				}
			}
		}
	}
}

// randomPage is made of values of width bytes, of each of which some places change a lot, some a little, and
// some not at all; some values are those before.
func randomPage(r *rand.Rand, size, width int) []byte {
	bits := make([]int, width)
	for i := range bits {
		bits[i] = max(0, r.IntN(14)-5)
	}
	repeats := r.IntN(3) * r.IntN(40)
	b := make([]byte, size)
	for i := range b {
		switch k := i % width; {
		case i >= width && repeats > 0 && i/width*2654435761>>7%100 < repeats:
			b[i] = b[i-width]
		case k < width/2 && i >= width && r.IntN(50) > 0:
			b[i] = b[i-width]
		default:
			b[i] = byte(r.IntN(1<<min(bits[k], 8))) + byte(r.IntN(100)/99)
		}
	}
	return b
}

func TestLibzstdReadsFrames(t *testing.T) {
	python := os.Getenv("SILT_PYTHON")
	if python == "" {
		t.Skip("SILT_PYTHON is not set: a Python with pyarrow, whose Zstandard is that of most readers")
	}
	const seed = 5
	r := rand.New(rand.NewPCG(seed, seed))
	var f framer
	var all, frame []byte
	add := func(b []byte, how finder, width int) {
		frame = f.append(frame[:0], b, how, width)
		all = binary.LittleEndian.AppendUint32(all, uint32(len(frame)))
		all = binary.LittleEndian.AppendUint32(all, uint32(len(b)))
		all = append(append(all, frame...), b...)
	}
	for _, b := range pages() {
		for how := range decimals + 1 {
			add(b, how, 8)
		}
	}
	for range 300 {
		width := 1 + r.IntN(70)
		if r.IntN(3) == 0 {
			width = 8
		}
		size := r.IntN(1 << r.IntN(19))
		if r.IntN(4) == 0 {
			size = blockMax*(1+r.IntN(2)) - 20 + r.IntN(40)
		}
		add(randomPage(r, size, width), finder(r.IntN(3)), width)
	}
	path := filepath.Join(t.TempDir(), "frames")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, filepath.Join("testdata", "frames.py"), path).CombinedOutput(); err != nil {
		t.Errorf("seed %d: %v\n%.3000s", seed, err, out)
	}
}

func TestAPageIsSearchedWhereItsValuesRepeat(t *testing.T) {
	var p packer
	if err := p.open(Zstd); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	all := pages()
	for _, test := range []struct {
		page  string
		find  finder
		width int
		want  bool
	}{
		{"ids", nothing, 36, true}, {"times", nothing, 28, false}, {"times", above, 28, true},
		{"few bits", nothing, 8, true}, {"counted", nothing, 8, false}, {"counted", above, 8, true},
		{"decimals", nothing, 8, false}, {"decimals", above, 8, false}, {"decimals", decimals, 8, true},
		{"wholes", decimals, 8, true}, {"one text", nothing, 15, false},
	} {
		if _, got := p.suits(all[test.page], test.width, test.find); got != test.want {
			t.Errorf("%s by finder %d: %v", test.page, test.find, got)
		}
	}
}

// Texts that are as random as ids take codes alone; those of the next file may repeat a lot.
func TestAChunkIsCompressedByWhatItsPagesAreLikeNow(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	id := func() string { return fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()) }
	message := func() string {
		return fmt.Sprintf(`{"level":"info","message":"the battery is charged","sensor":%d,"unit":"percent"}`, r.IntN(1e6))
	}
	size := func(text func() string, rows int) int64 {
		s := arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String}}, nil)
		w, err := NewWriter(io.Discard, s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := array.NewStringBuilder(memory.DefaultAllocator)
		for range rows {
			b.Append(text())
		}
		if err := w.Write(array.NewRecordBatch(s, []arrow.Array{b.NewArray()}, int64(rows))); err != nil {
			t.Fatal(err)
		}
		info, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		return info.Bytes
	}
	const ids, messages = 10_000, 150_000
	n := 0
	mixed := size(func() string {
		if n++; n <= ids {
			return id()
		}
		return message()
	}, ids+messages)
	if apart := size(id, ids) + size(message, messages); mixed > apart*3 {
		t.Errorf("ids and messages take %d bytes in one chunk, and %d in two", mixed, apart)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("2026-11-01T06:14:28.583Z"), uint8(above), uint16(24), uint16(900))
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, uint8(decimals), uint16(8), uint16(40_000))
	d, err := zstd.NewReader(nil)
	if err != nil {
		f.Fatal(err)
	}
	var made framer
	f.Fuzz(func(t *testing.T, data []byte, how uint8, width, times uint16) {
		b := bytes.Repeat(data, min(int(times), 300_000/max(len(data), 1)))
		for i := range b {
			if i%7 == int(width%7) && len(data) > 0 {
				b[i] += data[i/7%len(data)] * byte(i/len(data)) // what comes again is not all the same
			}
		}
		back, err := d.DecodeAll(made.append(nil, b, finder(how%3), int(width)+1), nil)
		if err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%d bytes are read of %d, %v", len(back), len(b), err)
		}
	})
}

// BenchmarkFrames is frames beside those of the general encoder.
func BenchmarkFrames(b *testing.B) {
	var p packer
	if err := p.open(Zstd); err != nil {
		b.Fatal(err)
	}
	all := pages()
	for _, test := range []struct {
		name  string
		how   finder
		width int
	}{{"ids", above, 36}, {"ids", nothing, 36}, {"times", above, 28}, {"counted", above, 8}, {"few bits", above, 8}, {"decimals", decimals, 8}, {"fractions", decimals, 8}} {
		page := all[test.name]
		b.Run(test.name+"/general", func(b *testing.B) {
			b.SetBytes(int64(len(page)))
			for b.Loop() {
				p.compress(page)
			}
			b.ReportMetric(float64(len(p.packed))/float64(len(page)), "ratio")
		})
		b.Run(test.name+"/frame", func(b *testing.B) {
			b.SetBytes(int64(len(page)))
			for b.Loop() {
				p.compressBy(page, test.how, test.width)
			}
			b.ReportMetric(float64(len(p.packed))/float64(len(page)), "ratio")
		})
	}
}
