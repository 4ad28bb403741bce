package decode

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/siltlake/silt/schema"
)

func TestRecordsThatSpanLinesAmongLines(t *testing.T) {
	opts := Options{Schema: ddl(t, "a BIGINT, b STRUCT<c: BIGINT>, s STRING"), Rescue: "_r", NoFilePath: true}
	for _, test := range []struct {
		name, text string
		rows       int
		lines      []int64
		bad        []string
	}{
		{"one", "{\"a\":1}\n{\n \"a\":2\n}\n{\"a\":3}\n", 3, []int64{1, 2, 5}, nil},
		{"the_last_one", "{\"a\":1}\n{\n \"a\":2\n}", 2, []int64{1, 2}, nil},
		{"text_behind_it", "{\"a\":1}\n{\n\"a\":2\n} {\"a\":3}\n{\"a\":4}\n", 4, []int64{1, 2, 4, 5}, nil},
		{"torn_lines_do_not_swallow_others", "{\"a\":1}\n{\"a\":2,\n{\"a\":3}\n{\"b\":{\n{\"a\":4}\n", 3, []int64{1, 3, 5}, []string{"f:2", "f:4"}},
		{"a_torn_string", "{\"a\":1}\n{\"s\":\"x\n{\"a\":3}\n", 2, []int64{1, 3}, []string{"f:2"}},
		{"longer_than_a_window", "{\"a\":1}\n{\n\"s\":\"" + strings.Repeat("x", 3<<20) + "\"\n}\n{\"a\":3}\n", 3, []int64{1, 2, 5}, nil},
		{"many", "{\"a\":1}\n" + strings.Repeat("{\n\"a\":2,\n\"s\":\"some text\"\n}\n", 100_000), 100_001, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := NewReader([]File{file("f", test.text)}, opts)
			if err != nil {
				t.Fatal(err)
			}
			var lines []int64
			var bad []string
			for {
				b, err := r.Next(t.Context())
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range b.Places {
					lines = append(lines, p.Line)
				}
				for _, x := range b.Bad {
					bad = append(bad, fmt.Sprintf("%s:%d", x.File, x.Line))
				}
			}
			if len(lines) != test.rows || test.lines != nil && !slices.Equal(lines, test.lines) || !slices.Equal(bad, test.bad) {
				t.Errorf("got %d rows at %v and bad %v, want %d at %v and bad %v", len(lines), lines[:min(len(lines), 9)], bad, test.rows, test.lines, test.bad)
			}
		})
	}
}

func TestGzipWithZerosBehind(t *testing.T) {
	opts := Options{Schema: ddl(t, "a BIGINT"), Rescue: "_r", NoFilePath: true}
	member := func(text string) string {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		z.Write([]byte(text))
		z.Close()
		return out.String()
	}
	for _, test := range []struct{ name, content, want string }{
		{"none", member("{\"a\":1}\n"), "1 <nil>"},
		{"a_block_of_them", member("{\"a\":1}\n") + strings.Repeat("\x00", 100_000), "1 <nil>"},
		{"two_members", member("{\"a\":1}\n") + member("{\"a\":2}\n"), "2 <nil>"},
		{"two_members_and_zeros_between", member("{\"a\":1}\n") + "\x00\x00" + member("{\"a\":2}\n") + "\x00", "2 <nil>"},
		{"an_empty_member", member("") + member("{\"a\":2}\n"), "1 <nil>"},
		{"trash", member("{\"a\":1}\n") + "\x00trash", "0 compressed stream ends badly near byte"},
		{"a_member_that_is_cut_off", member("{\"a\":1}\n") + member("{\"a\":2}\n")[:12], "0 compressed stream ends badly near byte"},
		{"a_header_that_is_cut_off", member("{\"a\":1}\n") + "\x1f", "0 compressed stream ends badly near byte"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := decodeFiles(t, opts, file("f.gz", test.content))
			if text := fmt.Sprint(len(got.rows), " ", got.reports[0].Err); !strings.HasPrefix(text, test.want) {
				t.Errorf("got %s, want %s", text, test.want)
			}
		})
	}
}

func TestARepeatedKeyIsRescuedOnce(t *testing.T) {
	opts := Options{Schema: ddl(t, "n STRUCT<x: BIGINT, y: STRUCT<z: BIGINT>>, m BIGINT"), Rescue: "_r", NoFilePath: true}
	for _, test := range []struct{ name, text, rescued string }{
		{"with_a_misfit", `{"n":{"x":"q"},"n":{"x":1}}`, `{"n":{"x":"q"}}`},
		{"twice", `{"n":{"x":"q"},"n":{"x":"r"},"n":{"x":1}}`, `{"n":{"x":"q"},"n":{"x":"r"}}`},
		{"with_others_between", `{"u":1,"n":{"x":"q"},"m":"bad","n":{"x":"r","v":2},"w":3}`, `{"u":1,"m":"bad","n":{"x":"r","v":2},"n":{"x":"q"},"w":3}`},
		{"inside", `{"n":{"y":{"z":"a"},"y":{"z":"b"}},"u":1}`, `{"n":{"y":{"z":"b"},"y":{"z":"a"}},"u":1}`},
		{"first_of_all", `{"n":{"x":"q"},"u":1,"n":{"x":1}}`, `{"u":1,"n":{"x":"q"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := decodeFiles(t, opts, file("f", test.text+"\n"))
			var row struct {
				R string `json:"_r"`
			}
			if err := json.Unmarshal([]byte(got.rows[0]), &row); err != nil {
				t.Fatal(err)
			}
			if row.R != test.rescued {
				t.Errorf("got %s, want %s", row.R, test.rescued)
			}
		})
	}
}

func TestOfCaseTwinsTheCommonerNamesTheColumn(t *testing.T) {
	for text, want := range map[string]string{
		"{\"Temp\":1}\n{\"temp\":2}\n{\"temp\":3}\n": "temp BIGINT",
		"{\"temp\":1}\n{\"Temp\":2}\n{\"Temp\":3}\n": "Temp BIGINT",
		"{\"temp\":1}\n{\"Temp\":2}\n":               "Temp BIGINT",
		"{\"Temp\":1}\n{\"temp\":2}\n":               "Temp BIGINT",
	} {
		got := decodeFiles(t, Options{Schema: &schema.Struct{}, Observe: true}, file("f", text))
		if s := got.reader.Observed()[""].Struct(); s.DDL() != want {
			t.Errorf("%q: got %s, want %s", text, s.DDL(), want)
		}
	}
}

func TestLongRecordsTakeTurns(t *testing.T) {
	long := `{"a":1,"s":"` + strings.Repeat("x", 12<<20) + "\"}\n"
	var turns sync.Mutex
	opts := Options{Schema: ddl(t, "a BIGINT, s STRING"), Rescue: "_r"}
	r, err := NewReader([]File{file("f", long+"{\"a\":2}\n"), file("g", long)}, opts)
	if err != nil {
		t.Fatal(err)
	}
	r.TakeTurns(&turns)
	held := 0
	for {
		_, err := r.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if turns.TryLock() {
			turns.Unlock()
		} else {
			held++
		}
	}
	if held < 2 || !turns.TryLock() {
		t.Errorf("the lock was held for %d batches, want 2 or more, and none behind the last", held)
	}
}

func TestMemoryOfARecordIsBounded(t *testing.T) {
	opts := Options{Schema: ddl(t, "a ARRAY<STRUCT<x: BIGINT, y: STRING>>, v ARRAY<BIGINT>, m MAP<STRING, BIGINT>"), Rescue: "_r", MaxRecord: 32 << 20}
	for name, text := range map[string]string{
		"objects_without_members": `{"a":[{}` + strings.Repeat(",{}", 4<<20) + `]}`,
		"numbers":                 `{"v":[1` + strings.Repeat(",1", 9<<20) + `]}`,
		"entries":                 `{"m":{"a":1` + strings.Repeat(`,"b":1`, 1<<20) + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got := decodeFiles(t, opts, file("f", text+"\n{\"v\":[1]}\n"))
			if len(got.rows) != 1 || len(got.bad) != 1 || !strings.Contains(got.bad[0], "more values than") {
				t.Errorf("got %d rows and bad %.200q", len(got.rows), got.bad)
			}
		})
	}
	t.Run("empty_columns_make_a_batch_short", func(t *testing.T) {
		fields := make([]schema.Field, 4000)
		for i := range fields {
			fields[i] = schema.Nullable(fmt.Sprintf("c%d", i), schema.Long)
		}
		r, err := NewReader([]File{file("f", strings.Repeat("{\"c1\":1}\n", 5000))}, Options{Schema: schema.NewStruct(fields...)})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := r.Next(t.Context())
		if err != nil || b.Record.NumRows() > 1100 {
			t.Errorf("got %d rows (%v)", b.Record.NumRows(), err)
		}
	})
}

// FuzzReader compares what a reader takes for a record with encoding/json, line by line, and holds that
// no text makes it fail in any framing or profile.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{"{\"a\":1}\n[2]\n{\"s\":\"\\ud800\"}", "[{\"a\":1},{\"b\":{\"c\":2}}]", "{\n\"a\":1\n}\n{\"a\"", "{\"a\":1}{\"a\":2} x\r{\"a\":3}\r\n", "\xef\xbb\xbf{}", "\xff\xfe{\x00}\x00", "{'a':007} // c"} {
		f.Add([]byte(seed))
	}
	s := ddl(f, "a BIGINT, b STRUCT<c: DOUBLE, d: ARRAY<STRUCT<e: STRING>>>, s STRING, m MAP<STRING, ARRAY<BIGINT>>, t TIMESTAMP, n DECIMAL(10,2), v ARRAY<DOUBLE>")
	lenient := Options{Schema: s, Rescue: "_r", Compat: true, NullRows: true, NonNumeric: true, IgnoreCase: true, MaxNumber: 20, MaxString: 20, Widen: true}
	lenient.Lenient.Comments, lenient.Lenient.SingleQuotes, lenient.Lenient.UnquotedNames = true, true, true
	lenient.Lenient.LeadingZeros, lenient.Lenient.AnyEscape, lenient.Lenient.ControlChars = true, true, true
	ways := []Options{
		lenient, {Schema: s, Rescue: "_r", Observe: true, KeepText: true}, {Schema: &schema.Struct{}, Observe: true, InferTimestamp: true, PrefersDecimal: true},
		{Schema: ddl(f, "v VARIANT"), Variant: true}, {Schema: s, Rescue: "_r", Unwrap: "dynamodb"}, {Schema: s, Rescue: "_r", RecordPath: "$.a[*]", RecordKeep: []string{"s"}},
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		// One way a text, so that more texts are tried.
		way := int(crc32.ChecksumIEEE(text))
		opts := ways[way%len(ways)]
		if opts.RecordPath == "" {
			opts.Framing = []string{"", "lines", "values", "file"}[way/len(ways)%4]
		}
		decodeFiles(t, opts, file("f", string(text)))
		if !utf8.Valid(text) || bytes.ContainsAny(text, "\x00\ufeff\r") || bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
			return
		}
		want, judged := 0, true
		for line := range bytes.Lines(text) {
			line = bytes.Trim(line, " \t\n")
			if len(line) == 0 {
				continue
			}
			if line[0] != '{' || !json.Valid(line) {
				judged = judged && line[0] != '[' && !severalValues(line)
				continue
			}
			want++
		}
		got := decodeFiles(t, Options{Schema: s, Rescue: "_r", Framing: "lines"}, file("f", string(text)))
		if judged && len(got.rows) != want {
			t.Errorf("%q: got %d records, encoding/json has %d", text, len(got.rows), want)
		}
	})
}

// severalValues reports whether a line begins with a value of JSON, so that what follows may be another.
func severalValues(line []byte) bool {
	var v json.RawMessage
	return json.NewDecoder(bytes.NewReader(line)).Decode(&v) == nil
}
