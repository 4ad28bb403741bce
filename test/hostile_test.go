package test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
)

// mostMemory is what a load may take at its peak, in bytes, at default settings and without SQL, whatever
// its input is.
const mostMemory = 512 << 20

// hostile is a record, or what stands in place of one, between good rows 0 to 49 and 50 to 99.
type hostile struct {
	name string
	// write writes lines; the first of them is line 51.
	write func(w *bufio.Writer)
	// rows are the numbers of rows that come of them, beside the good ones.
	rows []int
	// bad are the lines that are quarantined.
	bad []int
	// long means that it takes a while.
	long bool
	// options are those of the load.
	options []string
}

func text(lines string) func(*bufio.Writer) {
	return func(w *bufio.Writer) { w.WriteString(lines) }
}

// times writes the parts n times between what stands before and behind.
func times(before string, n int, part func(int) string, behind string) func(*bufio.Writer) {
	return func(w *bufio.Writer) {
		w.WriteString(before)
		for i := range n {
			w.WriteString(part(i))
		}
		w.WriteString(behind)
	}
}

func same(part string) func(int) string { return func(int) string { return part } }

const mega = 1 << 20

var hostiles = []hostile{
	{name: "100000_lists_deep", write: text(`{"n":1000,"d":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}\n"), bad: []int{51}},
	{name: "100000_objects_deep", write: text(`{"n":1000,"d":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000) + "}\n"), bad: []int{51}},
	{name: "100000_brackets_that_stay_open", write: text(strings.Repeat("[", 100_000) + "\n" + strings.Repeat(`{"a":`, 100_000) + "\n"), bad: []int{51, 52}},
	{name: "49_levels", write: text(`{"n":1000,"d":` + strings.Repeat("[", 49) + `"x"` + strings.Repeat("]", 49) + "}\n"), rows: []int{1000}},
	{name: "900_levels", write: text(`{"n":1000,"d":` + strings.Repeat("[", 900) + `"x"` + strings.Repeat("]", 900) + "}\n"), rows: []int{1000}},
	{name: "a_million_keys", write: times(`{"n":1000`, 1_000_000, func(i int) string { return fmt.Sprintf(`,"k%07d":%d`, i, i) }, "}\n"), rows: []int{1000}},
	{name: "a_million_keys_inside", write: times(`{"n":1000,"o":{"a":1`, 1_000_000, func(i int) string { return fmt.Sprintf(`,"k%07d":%d`, i, i) }, "}}\n"), rows: []int{1000}},
	{name: "a_key_each_in_20000_rows", write: times("", 20_000, func(i int) string { return fmt.Sprintf(`{"n":%d,"k%d":1}`+"\n", 1000+i, i) }, ""), rows: span(1000, 20_000), long: true},
	{name: "a_key_of_10_MB", write: times(`{"n":1000,"`, 10, same(strings.Repeat("k", mega)), `":1}`+"\n"), rows: []int{1000}},
	{name: "a_number_of_a_million_digits", write: times(`{"n":1000,"big":`, 1000, same(strings.Repeat("7", 1000)), "}\n"), rows: []int{1000}},
	{name: "a_string_of_60_MB", write: times(`{"n":1000,"s":"`, 60, same(strings.Repeat("x", mega)), `"}`+"\n"), rows: []int{1000}},
	{name: "a_string_of_100_MB", write: times(`{"n":1000,"s":"`, 100, same(strings.Repeat("x", mega)), `"}`+"\n"), bad: []int{51}},
	{name: "8_strings_of_60_MB", write: strings8(60, `"}`), rows: span(1000, 8), long: true},
	{name: "8_broken_records_of_60_MB", write: strings8(60, `"x}`), bad: span(51, 8), long: true},
	{name: "8_records_of_80_MB", write: strings8(80, `"}`), bad: span(51, 8), long: true},
	{name: "60_MB_that_do_not_fit_their_column", write: times(`{"n":["`, 60, same(strings.Repeat("x", mega)), `"]}`+"\n"), rows: []int{-1}, long: true, options: []string{"--option", "cloudFiles.schemaHints=n bigint"}},
	{name: "20_million_empty_objects", write: times(`{"n":1000,"l":[{"a":1,"b":{"c":"x","d":1.5}}`, 20, same(strings.Repeat(`,{}`, mega)), "]}\n"), bad: []int{51}, long: true},
	{name: "20_million_numbers", write: times(`{"n":1000,"l":[1`, 20, same(strings.Repeat(`,2`, mega)), "]}\n"), bad: []int{51}, long: true},
	{name: "5_million_numbers", write: times(`{"n":1000,"l":[1`, 5, same(strings.Repeat(`,2`, mega)), "]}\n"), rows: []int{1000}, long: true},
	{name: "bytes_that_are_no_UTF-8", write: text("{\"n\":1000,\"text\":\"\xff\xfe\"}\n{\"\xc3\x28\":1}\n"), bad: []int{51, 52}},
	{name: "a_character_cut_off", write: text("{\"n\":1000,\"text\":\"\xe2\x82\n"), bad: []int{51}},
	{name: "lone_surrogates", write: text(`{"n":1000,"text":"\ud800"}` + "\n" + `{"n":1001,"text":"\udc00\ud800x"}` + "\n"), rows: []int{1000, 1001}},
	{name: "a_key_twice", write: text(`{"n":1,"n":1000,"text":"a","text":"b"}` + "\n"), rows: []int{1000}},
	{name: "a_key_100000_times", write: times(`{"n":1000`, 100_000, same(`,"text":"x"`), "}\n"), rows: []int{1000}},
	{name: "numbers_out_of_range", write: text(`{"n":1000,"x":1e400}` + "\n" + `{"n":1001,"x":-1e400}` + "\n" + `{"n":1002,"x":0.5}` + "\n" + `{"y":1e999999999}` + "\n"), rows: []int{1000, 1001, 1002, -1}},
	{name: "whole_numbers_beyond_doubles", write: text(`{"n":9007199254740993}` + "\n" + `{"y":123456789012345678901234567890}` + "\n"), rows: []int{9007199254740993, -1}},
	{name: "NUL_bytes", write: text("\x00\x00\x00\n{\"n\":1000,\"text\":\"a\x00b\"}\n{\"n\":1001}\x00\n"), bad: []int{51, 52, 53}, rows: []int{1001}},
	{name: "a_BOM_inside", write: text("\ufeff{\"n\":1000}\n"), rows: []int{1000}},
	{name: "CR_LF", write: text("{\"n\":1000}\r\n\r\n{\"n\":1001}\r\n"), rows: []int{1000, 1001}},
	{name: "CR_only", write: text("{\"n\":1000}\r{\"n\":1001}\r{\"n\":\r"), rows: []int{1000, 1001}, bad: []int{53}},
	{name: "text_behind_a_record", write: text(`{"n":1000}{"n":1001} trash` + "\n"), rows: []int{1000, 1001}, bad: []int{51}},
	{name: "values_that_are_no_records", write: text("42\n\"text\"\nnull\ntrue\n[1]\n[]\n"), bad: []int{51, 52, 53, 54, 55}},
	{name: "names_of_all_kinds", write: text(`{"n":1000,"":1,".":2,"a.b":3,"` + "`" + `":4,"__proto__":{"x":1},"` + "\u200b" + `":5,"a\u0000b":6,"_rescued_data":7,"_file_path":8,"source_file":9}` + "\n"), rows: []int{1000}},
	{name: "blanks", write: text(strings.Repeat(" ", mega) + "\n" + strings.Repeat("\t", 100) + `{"n":1000}` + strings.Repeat(" ", mega) + "\n"), rows: []int{1000}},
}

func span(first, n int) (all []int) {
	for i := range n {
		all = append(all, first+i)
	}
	return all
}

// strings8 writes eight records with a string of so many MB, which does not compress well.
func strings8(megabytes int, behind string) func(*bufio.Writer) {
	return func(w *bufio.Writer) {
		x := uint64(megabytes)
		for i := range 8 {
			fmt.Fprintf(w, `{"n":%d,"s":"`, 1000+i)
			for range megabytes * mega {
				x = x*6364136223846793005 + 1442695040888963407
				w.WriteByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[x>>58])
			}
			w.WriteString(behind + "\n")
		}
	}
}

// TestHostileInput brings what breaks other loaders, each between good rows. No good row is lost, what is
// bad is in the quarantine under its file and line, and the memory is within bounds.
func TestHostileInput(t *testing.T) {
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			if h.long && testing.Short() {
				t.Skip("left out: it takes a while")
			}
			dir := t.TempDir()
			hostileFile(t, filepath.Join(dir, "in", "a.json"), h.write)
			measured(t, dir, filepath.Join(dir, "in"), 0, h.options...)
			wantRows(t, dir, h.rows)
			wantQuarantined(t, dir, "a.json", h.bad)
		})
	}

	t.Run("the_short_ones_by_four_workers", func(t *testing.T) {
		dir := t.TempDir()
		var rows, bad int
		for _, h := range hostiles {
			if h.long {
				continue
			}
			hostileFile(t, filepath.Join(dir, "in", h.name+".json"), h.write)
			rows, bad = rows+100+len(h.rows), bad+len(h.bad)
		}
		s := measured(t, dir, filepath.Join(dir, "in"), 0, "--workers", "4")
		if s.Rows != int64(rows) || s.Records.Quarantined != int64(bad) {
			t.Errorf("got %d rows and %d quarantined, want %d and %d", s.Rows, s.Records.Quarantined, rows, bad)
		}
	})
	t.Run("a_line_of_1_GB", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "in", "a.json")
		hostileFile(t, file, text(`{"n":1000,"s":"`))
		grown(t, file, 1<<30)
		more(t, file, "\"}\n"+string(numbered(100, 50)))
		measured(t, dir, filepath.Join(dir, "in"), 0)
		wantNumbers(t, lake(dir, "main.h.t"), 0, 50, 100, 50)
		wantQuarantined(t, dir, "a.json", []int{51})
	})
	t.Run("a_bomb", func(t *testing.T) {
		bombs := map[string]func(io.Writer) io.WriteCloser{
			"gz":  func(w io.Writer) io.WriteCloser { z, _ := gzip.NewWriterLevel(w, gzip.BestCompression); return z },
			"zst": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
		}
		for extension, compress := range bombs {
			t.Run(extension, func(t *testing.T) {
				dir := t.TempDir()
				write(t, filepath.Join(dir, "in", "good.json"), numbered(0, 100))
				var packed bytes.Buffer
				z := compress(&packed)
				z.Write(numbered(1000, 10))
				for range 500 {
					z.Write(bytes.Repeat([]byte(" "), mega))
				}
				if err := z.Close(); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, "in", "bomb.json."+extension), packed.Bytes())
				s := measured(t, dir, filepath.Join(dir, "in"), 0)
				if s.Files.Failed != 1 || s.Files.Loaded != 1 {
					t.Errorf("got %+v, want the bomb failed and the other loaded", s)
				}
				wantNumbers(t, lake(dir, "main.h.t"), 0, 100)
			})
		}
	})
	t.Run("a_torn_tail", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "in", "a.json")
		write(t, file, append(numbered(0, 100), `{"n":1000,"te`...))
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
		measured(t, dir, filepath.Join(dir, "in"), 0)
		wantNumbers(t, lake(dir, "main.h.t"), 0, 100)
		wantQuarantined(t, dir, "a.json", []int{101})
	})
	t.Run("wide_characters", func(t *testing.T) {
		dir := t.TempDir()
		for name, order := range map[string]binary.AppendByteOrder{"le": binary.LittleEndian, "be": binary.BigEndian} {
			var out []byte
			for _, u := range utf16.Encode([]rune("\ufeff" + string(numbered(0, 10)))) {
				out = order.AppendUint16(out, u)
			}
			write(t, filepath.Join(dir, "in", name+".json"), out)
		}
		if s := measured(t, dir, filepath.Join(dir, "in"), 0); s.Rows != 20 {
			t.Errorf("got %+v, want 20 rows", s)
		}
	})
}

// hostileFile writes good rows around what is hostile. The file is an hour old.
func hostileFile(t *testing.T, name string, hostile func(*bufio.Writer)) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, mega)
	w.Write(numbered(0, 50))
	hostile(w)
	if !strings.HasSuffix(t.Name(), "1_GB") {
		w.Write(numbered(50, 50))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(name, old, old); err != nil {
		t.Fatal(err)
	}
}

// grown makes a file longer, without taking the space.
func grown(t *testing.T, name string, by int64) {
	t.Helper()
	info, err := os.Stat(name)
	if err == nil {
		err = os.Truncate(name, info.Size()+by)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func more(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// measured loads a folder and wants the exit status, and the memory within bounds. To what a process took
// at its peak counts what this one took before it began, so tests must not hold what they write.
func measured(t *testing.T, dir, source string, code int, args ...string) summary {
	t.Helper()
	cmd := siltCommand(t, dir, append([]string{"load", source, "main.h.t", "--json"}, args...)...)
	s, r := tryLoad(t, cmd)
	if r.code != code {
		t.Fatalf("%v", r)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && runtime.GOOS == "linux" {
		peak := usage.Maxrss << 10
		t.Logf("peak memory %d MB", peak/mega)
		if peak > mostMemory {
			t.Errorf("peak memory %d MB, want at most %d", peak/mega, mostMemory/mega)
		}
	}
	return s
}

// wantRows wants the good rows and those with the given numbers; -1 is a row without one.
func wantRows(t *testing.T, dir string, more []int) {
	t.Helper()
	var want []string
	for _, n := range append(span(0, 100), more...) {
		if n == -1 {
			want = append(want, "{}")
			continue
		}
		want = append(want, fmt.Sprintf(`{"n": %d}`, n))
	}
	got := strings.Split(strings.TrimSpace(rows(t, lake(dir, "main.h.t"), "--columns", "n")), "\n")
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %d rows, want %d: %.300q", len(got), len(want), got[max(0, len(got)-5):])
	}
}

// wantQuarantined wants the lines of a file in the quarantine, and no others.
func wantQuarantined(t *testing.T, dir, file string, lines []int) {
	t.Helper()
	var got []int
	for line := range strings.Lines(rows(t, lake(dir, "main.h.t")+"_quarantine", "--columns", "source_file,line")) {
		var q struct {
			File string `json:"source_file"`
			Line int    `json:"line"`
		}
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		if path.Base(q.File) != file {
			t.Errorf("got a record of %s", q.File)
		}
		got = append(got, q.Line)
	}
	slices.Sort(got)
	if !slices.Equal(got, lines) {
		t.Errorf("lines %v are quarantined, want %v", got, lines)
	}
}
