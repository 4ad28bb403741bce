package decode

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/schema"
)

// BenchmarkReader reads the NDJSON files of SILT_BENCHDATA in the ways that matter. Machines are shared:
// compare MB per CPU-second, of two builds that run in turns.
func BenchmarkReader(b *testing.B) {
	names, _ := filepath.Glob(filepath.Join(os.Getenv("SILT_BENCHDATA"), "*.json"))
	if len(names) == 0 {
		b.Skip("SILT_BENCHDATA names no folder of NDJSON files")
	}
	var files []File
	for _, name := range names {
		files = append(files, File{URI: name, Open: func(context.Context) (io.ReadCloser, error) { return os.Open(name) }})
	}
	few := files[:min(10, len(files))]
	known := inferSchema(b, files)
	b.Run("known", func(b *testing.B) {
		benchmark(b, files, Options{Schema: known, Rescue: "_rescued_data", Observe: true})
	})
	b.Run("without_rescue", func(b *testing.B) {
		benchmark(b, files, Options{Schema: known})
	})
	b.Run("shuffled", func(b *testing.B) {
		benchmark(b, rewritten(b, few, shuffled), Options{Schema: known, Rescue: "_rescued_data", Observe: true})
	})
	b.Run("clean", func(b *testing.B) { // what dirty is compared with, as both are in memory
		benchmark(b, rewritten(b, files, func(_ *rand.Rand, line []byte) []byte { return line }), Options{Schema: known, Rescue: "_rescued_data", Observe: true})
	})
	b.Run("dirty", func(b *testing.B) {
		benchmark(b, rewritten(b, files, dirtied), Options{Schema: known, Rescue: "_rescued_data", Observe: true})
	})
	b.Run("unknown_object", func(b *testing.B) {
		benchmark(b, few, Options{Schema: without(known, "battery"), Rescue: "_rescued_data"})
	})
	b.Run("first_look", func(b *testing.B) {
		benchmark(b, few, Options{Schema: &schema.Struct{}, Observe: true})
	})
}

func benchmark(b *testing.B, files []File, opts Options) {
	var size int64
	for _, f := range files {
		body, err := f.Open(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		n, _ := io.Copy(io.Discard, body)
		body.Close()
		size += n
	}
	b.SetBytes(size)
	b.ReportAllocs()
	start := cpuTime(b)
	n := 0
	for b.Loop() {
		if n == 0 {
			start = cpuTime(b)
		}
		n++
		r, err := NewReader(files, opts)
		if err != nil {
			b.Fatal(err)
		}
		drain(b, r)
	}
	b.ReportMetric(float64(size)*float64(n)/1e6/(cpuTime(b)-start).Seconds(), "MB/cpu-s")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func without(s *schema.Struct, name string) *schema.Struct {
	out := &schema.Struct{}
	for _, f := range s.Fields {
		if f.Name != name {
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// rewritten returns copies of files, in memory, whose lines went through edit.
func rewritten(b *testing.B, files []File, edit func(rnd *rand.Rand, line []byte) []byte) []File {
	rnd := rand.New(rand.NewPCG(1, 2))
	var out []File
	for _, f := range files {
		text, err := os.ReadFile(f.URI)
		if err != nil {
			b.Fatal(err)
		}
		var edited []byte
		for line := range bytes.Lines(text) {
			edited = append(append(edited, edit(rnd, bytes.TrimRight(line, "\n"))...), '\n')
		}
		out = append(out, File{URI: f.URI, Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(edited)), nil
		}})
	}
	return out
}

// shuffled puts the members of each object in any order.
func shuffled(rnd *rand.Rand, line []byte) []byte {
	s := jsonscan.Scanner{Space: jsonscan.Anywhere, MaxDepth: 100}
	s.Reset(line)
	return shuffle(nil, &s, 0, rnd)
}

func shuffle(dst []byte, s *jsonscan.Scanner, i int, rnd *rand.Rand) []byte {
	open := s.Text[i]
	if open != '{' && open != '[' {
		return append(dst, s.Text[i:s.Value(i, 0)]...)
	}
	var members [][]byte
	for i = s.Blank(i + 1); s.Text[i] != '}' && s.Text[i] != ']'; {
		var member []byte
		value := i
		if open == '{' {
			end, _, v := s.Name(i)
			member, value = append(append(member, s.Text[i:end]...), ':'), v
		}
		members = append(members, shuffle(member, s, value, rnd))
		if i = s.Blank(s.Value(value, 0)); s.Text[i] == ',' {
			i = s.Blank(i + 1)
		}
	}
	if open == '{' {
		rnd.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	}
	dst = append(append(dst, open), bytes.Join(members, []byte(","))...)
	return append(dst, open+2)
}

// dirtied spoils one line in a hundred: it is cut, is no JSON, has a value of another type, an unknown
// field, or a key twice.
func dirtied(rnd *rand.Rand, line []byte) []byte {
	if rnd.IntN(100) > 0 {
		return line
	}
	switch rnd.IntN(5) {
	case 0:
		return line[:len(line)/2]
	case 1:
		return append([]byte("ERROR "), line...)
	case 2:
		return bytes.Replace(line, []byte(`"soc":`), []byte(`"soc":"high","was":`), 1)
	case 3:
		return bytes.Replace(line, []byte(`"user":{`), []byte(`"user":{"vip":{"since":2020,"level":1.5},`), 1)
	}
	return bytes.Replace(line, []byte(`{"event_id":`), []byte(`{"seq":-1,"event_id":`), 1)
}
