package decode

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/siltlake/silt/internal/jsonscan"
	"github.com/siltlake/silt/schema"
)

func ddl(t testing.TB, text string) *schema.Struct {
	t.Helper()
	s, err := schema.ParseDDL(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// result is what a reader makes of files, as text.
type result struct {
	rows    []string // as JSON, without nulls
	bad     []string // file:line text (reason)
	reports []FileReport
	reader  *Reader
}

func decodeFiles(t testing.TB, opts Options, files ...File) result {
	t.Helper()
	r, err := NewReader(files, opts)
	if err != nil {
		t.Fatal(err)
	}
	out := result{reader: r}
	for {
		b, err := r.Next(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rows, err := b.Record.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var list []json.RawMessage
		if err := json.Unmarshal(rows, &list); err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, run := range b.Runs {
			total += run.Rows
		}
		if total != len(list) || len(b.Places) != len(list) {
			t.Fatalf("%d rows have runs of %d and %d places", len(list), total, len(b.Places))
		}
		for _, row := range list {
			out.rows = append(out.rows, withoutNulls(row))
		}
		for _, bad := range b.Bad {
			out.bad = append(out.bad, fmt.Sprintf("%s:%d@%d %.60s (%v)", bad.File, bad.Line, bad.Offset, bad.Text, bad.Reason))
		}
	}
	out.reports = r.Reports()
	return out
}

// withoutNulls drops the null members of objects.
func withoutNulls(row []byte) string {
	d := json.NewDecoder(bytes.NewReader(row))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return string(row)
	}
	b := new(bytes.Buffer)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	e.Encode(dropNulls(v))
	return strings.TrimSpace(b.String())
}

func dropNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, m any) bool { return m == nil })
		for k := range v {
			v[k] = dropNulls(v[k])
		}
	case []any:
		for i := range v {
			v[i] = dropNulls(v[i])
		}
	}
	return v
}

func file(name, content string) File {
	return File{URI: name, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

func check(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got  %s\n want %s", what, strings.Join(got, "\n      "), strings.Join(want, "\n      "))
	}
}

const table = "a BIGINT,d DOUBLE,s STRING,v ARRAY<BIGINT>,o ARRAY<STRUCT<x: BIGINT, y: STRING>>,n STRUCT<x: BIGINT, m: STRUCT<z: BOOLEAN>>"

func TestValuesAndRescuedData(t *testing.T) {
	for _, c := range []struct {
		name, record, row string
		compat            string // the row under compat, when it differs
	}{
		{"everything fits", `{"a":1,"d":1.5,"s":"x","v":[1,2],"o":[{"x":1,"y":"k"},{"y":"l"}],"n":{"x":2,"m":{"z":true}}}`,
			`{"a":1,"d":1.5,"n":{"m":{"z":true},"x":2},"o":[{"x":1,"y":"k"},{"y":"l"}],"s":"x","v":[1,2]}`, ""},
		{"any order, blanks and escaped keys", " { \"\\u0073\" : \"x\" ,\t\"a\" : 1 } ", `{"a":1,"s":"x"}`, ""},
		{"missing and null", `{"a":null,"o":null,"v":[null],"n":{"m":null}}`, `{"n":{},"v":[null]}`, ""},
		{"empty containers", `{"v":[],"o":[],"n":{}}`, `{"n":{},"o":[],"v":[]}`, ""},
		{"unknown key", `{"a":1,"new":[1, {"k": "v"}]}`, `{"_r":"{\"new\":[1,{\"k\":\"v\"}],\"_file_path\":\"f\"}","a":1}`, ""},
		{"unknown null is no loss", `{"a":1,"new":null}`, `{"a":1}`, ""},
		{"text in a number", `{"a":"x","d":"y"}`, `{"_r":"{\"a\":\"x\",\"d\":\"y\",\"_file_path\":\"f\"}"}`, ""},
		{"anything in a string", `{"s":{"k": 1}}`, `{"s":"{\"k\": 1}"}`, ""},
		{"a number in a string keeps its spelling", `{"s":1.50}`, `{"s":"1.50"}`, ""},
		{"a bad field inside a struct loses only itself", `{"n":{"x":"q","m":{"z":1,"w":2}}}`,
			`{"_r":"{\"n\":{\"x\":\"q\",\"m\":{\"z\":1,\"w\":2}},\"_file_path\":\"f\"}","n":{"m":{}}}`, ""},
		{"a bad element loses the array", `{"v":[1,"x",3]}`, `{"_r":"{\"v\":[1,\"x\",3],\"_file_path\":\"f\"}"}`, ""},
		{"a bad field in an array of structs is rescued in its place", `{"o":[{"x":1},{"x":"q","z":2},{"y":"k"},{"x":[]},{"x":5}]}`,
			`{"_r":"{\"o\":[null,{\"x\":\"q\",\"z\":2},null,{\"x\":[]},null],\"_file_path\":\"f\"}","o":[{"x":1},{},{"y":"k"},{},{"x":5}]}`, ""},
		{"an element of another shape loses the array and what was rescued in it", `{"o":[{"q":1},5]}`, `{"_r":"{\"o\":[{\"q\":1},5],\"_file_path\":\"f\"}"}`, ""},
		{"object for array and back", `{"v":{"k":1},"n":[1]}`, `{"_r":"{\"v\":{\"k\":1},\"n\":[1],\"_file_path\":\"f\"}"}`, ""},
		{"other case is another key", `{"A":1}`, `{"_r":"{\"A\":1,\"_file_path\":\"f\"}"}`, ""},
		{"several reasons in record order", `{"zz":1,"n":{"q":1},"a":"x"}`, `{"_r":"{\"zz\":1,\"n\":{\"q\":1},\"a\":\"x\",\"_file_path\":\"f\"}","n":{}}`, ""},
		{"keys like ours", `{"_file_path":1,"__file_path":2,"\u005ffile_path":3,"file_path":4}`,
			`{"_r":"{\"__file_path\":1,\"___file_path\":2,\"__file_path\":3,\"file_path\":4,\"_file_path\":\"f\"}"}`, ""},
		{"the record's own file path key", `{"_file_path":"mine"}`, `{"_r":"{\"__file_path\":\"mine\",\"_file_path\":\"f\"}"}`, ""},
		{"whole number with a point", `{"a":80.0,"v":[8e1]}`, `{"a":80,"v":[80]}`, `{"_r":"{\"a\":80.0,\"v\":[8e1],\"_file_path\":\"f\"}"}`},
		{"fraction in an integer", `{"a":80.5}`, `{"_r":"{\"a\":80.5,\"_file_path\":\"f\"}"}`, ""},
		{"integer out of range", `{"a":9223372036854775808}`, `{"_r":"{\"a\":9223372036854775808,\"_file_path\":\"f\"}"}`, ""},
		{"integer that a double cannot hold", `{"d":9007199254740993}`, `{"_r":"{\"d\":9007199254740993,\"_file_path\":\"f\"}"}`, `{"d":9007199254740992}`},
		{"integer that a double can hold", `{"d":9007199254740992}`, `{"d":9007199254740992}`, ""},
		{"a repeated key: the last wins", `{"a":1,"a":2}`, `{"_r":"{\"a\":1,\"_file_path\":\"f\"}","a":2}`, `{"a":2}`},
		{"a repeated key: the one that fits wins", `{"a":5,"a":"x"}`, `{"_r":"{\"a\":\"x\",\"_file_path\":\"f\"}","a":5}`, ""},
		{"a repeated key: bad first", `{"a":"x","a":5}`, `{"_r":"{\"a\":\"x\",\"_file_path\":\"f\"}","a":5}`, ""},
		{"a repeated key: null last", `{"a":5,"a":null}`, `{"_r":"{\"a\":5,\"_file_path\":\"f\"}"}`, `{}`},
		{"a repeated struct", `{"n":{"x":1,"q":7},"n":{"m":{"z":false}}}`,
			`{"_r":"{\"n\":{\"x\":1,\"q\":7},\"_file_path\":\"f\"}","n":{"m":{"z":false}}}`,
			`{"_r":"{\"n\":{\"q\":7},\"_file_path\":\"f\"}","n":{"m":{"z":false}}}`},
		{"a repeated unknown key", `{"q":1,"w":2,"q":[3]}`, `{"_r":"{\"q\":1,\"w\":2,\"q\":[3],\"_file_path\":\"f\"}"}`, `{"_r":"{\"q\":[3],\"w\":2,\"_file_path\":\"f\"}"}`},
		{"half a surrogate pair", `{"s":"A\ud83dz"}`, `{"_r":"{\"s\":\"A\\ud83dz\",\"_file_path\":\"f\"}"}`, `{"s":"A?z"}`},
		{"a whole surrogate pair", `{"s":"\ud83d\ude00\n\u0000"}`, `{"s":"😀\n\u0000"}`, ""},
		{"empty key", `{"":1,"a":2}`, `{"_r":"{\"\":1,\"_file_path\":\"f\"}","a":2}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := Options{Schema: ddl(t, table), Rescue: "_r"}
			check(t, "silt", decodeFiles(t, opts, file("f", c.record)).rows, []string{c.row})
			if c.compat == "" {
				c.compat = c.row
			}
			opts.Compat = true
			check(t, "compat", decodeFiles(t, opts, file("f", c.record+"\n")).rows, []string{c.compat})
		})
	}
}

// TestBlanksMeanNothing holds that a record is read the same however it is spaced.
func TestBlanksMeanNothing(t *testing.T) {
	s := ddl(t, "n ARRAY<BIGINT>,d ARRAY<DOUBLE>,p ARRAY<ARRAY<ARRAY<DOUBLE>>>,t ARRAY<STRING>,s STRUCT<a: BIGINT, l: ARRAY<INT>>,o ARRAY<STRUCT<x: DOUBLE>>,m MAP<STRING, BIGINT>,k MAP<INT, ARRAY<BIGINT>>,c DECIMAL(5,2),b BOOLEAN,x BIGINT")
	for _, tokens := range []string{
		"{ \"n\" : [ 1 , -2 , null , 3 ] , \"d\" : [ 1.5 , 2 , 3e1 ] , \"x\" : 7 }",
		"{ \"p\" : [ [ [ 1.5 , 2 ] , [ 3 , 4.25 ] ] , [ [ 0 , 1 ] , [ ] ] , [ ] ] }",
		"{ \"n\" : [ 1 , \"x\" , 3 ] , \"d\" : [ 1 , true ] , \"p\" : [ [ 1 ] ] , \"y\" : [ 1 , { \"z\" : 2 } ] }",
		"{ \"t\" : [ \"a\" , \"b\" , null ] , \"s\" : { \"a\" : 1 , \"l\" : [ 1 , 2 ] , \"u\" : 5 } , \"o\" : [ { \"x\" : 1 } , null , { \"x\" : \"q\" } ] }",
		"{ \"m\" : { \"a\" : 1 , \"b\" : null } , \"k\" : { \"1\" : [ 1 , 2 ] , \"-2\" : [ ] } , \"c\" : 1.25 , \"b\" : true , \"x\" : null }",
		"{ \"x\" : 1 , \"x\" : \"y\" , \"n\" : [ 1 , 2 ] , \"n\" : [ 3 , 4 ] }",
	} {
		for _, compat := range []bool{false, true} {
			opts := Options{Schema: s, Rescue: "_r", NoFilePath: true, Compat: compat}
			want := decodeFiles(t, opts, file("f", strings.ReplaceAll(tokens, " ", "")+"\n"))
			for _, blank := range []string{" ", "  ", "\t", " \t      "} {
				got := decodeFiles(t, opts, file("f", strings.ReplaceAll(tokens, " ", blank)+"\n"))
				check(t, fmt.Sprintf("%s with %q", tokens, blank), append(got.rows, got.bad...), append(want.rows, want.bad...))
			}
			if compat {
				continue
			}
			for _, blank := range []string{"\n", "\r\n  "} {
				got := decodeFiles(t, opts, file("f", strings.ReplaceAll(tokens, " ", blank)+"\n"))
				check(t, fmt.Sprintf("%s with %q", tokens, blank), append(got.rows, got.bad...), append(want.rows, want.bad...))
			}
		}
	}
}

func TestHintedTypes(t *testing.T) {
	s := ddl(t, "b BOOLEAN,y TINYINT,h SMALLINT,i INT,f FLOAT,c DECIMAL(5,2),t TIMESTAMP,z TIMESTAMP_NTZ,e DATE,x BINARY,m MAP<STRING, BIGINT>,p MAP<STRING, STRUCT<q: BIGINT>>,g MAP<INT, BIGINT>")
	for _, c := range []struct{ record, row string }{
		{`{"b":true}`, `{"b":true}`}, {`{"b":false}`, `{"b":false}`}, {`{"b":"true"}`, ``}, {`{"b":1}`, ``},
		{`{"y":127,"h":-32768,"i":2147483647}`, `{"h":-32768,"i":2147483647,"y":127}`}, {`{"y":128}`, ``}, {`{"h":-32769}`, ``}, {`{"i":2147483648}`, ``},
		{`{"f":0.5}`, `{"f":0.5}`}, {`{"f":1e39}`, ``},
		{`{"c":123.45}`, `{"c":"123.45"}`}, {`{"c":-0.5}`, `{"c":"-0.5"}`}, {`{"c":"1.2"}`, `{"c":"1.2"}`}, {`{"c":1e2}`, `{"c":"100"}`}, {`{"c":1.005}`, ``}, {`{"c":1000}`, ``}, {`{"c":1.2000000000000000000000}`, `{"c":"1.2"}`},
		{`{"t":"2024-01-02T03:04:05.123456789Z"}`, `{"t":"2024-01-02T03:04:05.123456Z"}`},
		{`{"t":"2024-01-02 03:04:05+05:30"}`, `{"t":"2024-01-01T21:34:05Z"}`}, {`{"t":"2024-1-2T3:4 UTC"}`, `{"t":"2024-01-02T03:04:00Z"}`},
		{`{"t":"2024"}`, `{"t":"2024-01-01T00:00:00Z"}`}, {`{"t":"2024-01-02T03:04:05 America/Los_Angeles"}`, `{"t":"2024-01-02T11:04:05Z"}`},
		{`{"t":1704164645}`, `{"t":"2024-01-02T03:04:05Z"}`}, {`{"t":"1704164645"}`, ``}, {`{"t":"03:04:05"}`, ``}, {`{"t":"2024-02-30"}`, ``}, {`{"t":"2024-01-02T24:00:00"}`, ``}, {`{"t":""}`, ``},
		{`{"z":"2024-01-02T03:04:05"}`, `{"z":"2024-01-02T03:04:05"}`}, {`{"z":"2024-01-02T03:04:05Z"}`, ``},
		{`{"e":"2024-01-02T23:59:59-08:00"}`, `{"e":"2024-01-02"}`}, {`{"e":"2024-1"}`, `{"e":"2024-01-01"}`}, {`{"e":19000}`, ``}, {`{"e":"20240102"}`, ``},
		{`{"x":"aGk="}`, `{"x":"aGk="}`}, {`{"x":"?"}`, ``},
		{`{"m":{"k":1,"l":null}}`, `{"m":[{"key":"k","value":1},{"key":"l"}]}`}, {`{"m":{"k":"x"}}`, ``}, {`{"m":{"k":1,"k":2}}`, ``},
		{`{"g":{"1":2,"-30":4}}`, `{"g":[{"key":1,"value":2},{"key":-30,"value":4}]}`}, {`{"g":{"01":1}}`, ``}, {`{"g":{"x":1}}`, ``}, {`{"g":{"99999999999":1}}`, ``}, {`{"g":{"":1}}`, ``},
		{`{"p":{"k":{"q":1},"l":{"q":"x"}}}`, `{"_r":"{\"p\":{\"l\":{\"q\":\"x\"}},\"_file_path\":\"f\"}","p":[{"key":"k","value":{"q":1}},{"key":"l","value":{}}]}`},
	} {
		want := c.row
		if want == "" {
			b, _ := json.Marshal(strings.TrimSuffix(c.record, "}") + `,"_file_path":"f"}`)
			want = `{"_r":` + string(b) + `}`
		}
		check(t, c.record, decodeFiles(t, Options{Schema: s, Rescue: "_r"}, file("f", c.record)).rows, []string{want})
	}
}

func TestFraming(t *testing.T) {
	for _, c := range []struct {
		name, text string
		rows, bad  []string
	}{
		{"lines", "{\"a\":1}\n{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"no line end at the end", "{\"a\":1}\n{\"a\":2}", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"blank lines and all line ends", "\n{\"a\":1}\r\n \t\r\n{\"a\":2}\r{\"a\":3}\n\n", []string{`{"a":1}`, `{"a":2}`, `{"a":3}`}, nil},
		{"carriage returns alone", "{\"a\":1}\r{\"a\":2}\r", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"a byte order mark", "\ufeff{\"a\":1}\n\ufeff{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"empty", "", nil, nil},
		{"only blanks", " \n\t\n", nil, nil},
		{"a bad line beside good ones", "{\"a\":1}\n{\"a\":2\n{\"a\":3}\n", []string{`{"a":1}`, `{"a":3}`}, []string{`f:2@8 {"a":2 (the text ends inside a value)`}},
		{"a bad first line", "{\"a\":1\n{\"a\":2}\n{\"a\":3}\n", []string{`{"a":2}`, `{"a":3}`}, []string{`f:1@0 {"a":1 (the text ends inside a value)`}},
		{"several values on a line", "{\"a\":1}{\"a\":2} {\"a\":3}\n{\"a\":4}\n", []string{`{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":4}`}, nil},
		{"text behind a value", "{\"a\":1} x\n{\"a\":2},\n", []string{`{"a":1}`, `{"a":2}`}, []string{`f:1@8 x (a value is expected here)`, `f:2@17 , (a value is expected here)`}},
		{"values that are no objects", "1\n\"x\"\nnull\n{\"a\":1}\n", []string{`{"a":1}`},
			[]string{`f:1@0 1 (a record must be an object)`, `f:2@2 "x" (a record must be an object)`, `f:3@6 null (a record must be an object)`}},
		{"a line that is an array", "{\"a\":0}\n[{\"a\":1},{\"a\":2}]\n[]\n", []string{`{"a":0}`, `{"a":1}`, `{"a":2}`}, nil},
		{"a line that is an array with something else in it", "{\"a\":0}\n[{\"a\":1},2]\n{\"a\":3}\n", []string{`{"a":0}`, `{"a":3}`}, []string{`f:2@8 [{"a":1},2] (a record must be an object)`}},
		{"a pretty-printed record", "{\n  \"a\": 1,\n  \"n\": {\n    \"x\": 2\n  }\n}\n", []string{`{"a":1,"n":{"x":2}}`}, nil},
		{"pretty-printed records", "{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"a bad pretty-printed record between good ones", "{\n  \"a\": 1\n}\n{\n  \"a\": \n}\n{\n  \"a\": 3\n}\n", []string{`{"a":1}`, `{"a":3}`}, []string{"f:4@13 {\n  \"a\": \n} (a value is expected here)"}},
		{"a pretty-printed array", "[\n  {\n    \"a\": 1\n  },\n  {\n    \"a\": 2\n  }\n]\n", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"a bad element of a pretty-printed array", "[\n  {\"a\": 1},\n  {\"a\": x},\n  {\"a\": 3}\n]\n", []string{`{"a":1}`, `{"a":3}`}, []string{`f:3@16 {"a": x} (a value is expected here)`}},
		{"an array on one line", `[{"a":1},{"a":2},{"a":3}]`, []string{`{"a":1}`, `{"a":2}`, `{"a":3}`}, nil},
		{"an array that does not end", `[{"a":1},{"a":2}`, []string{`{"a":1}`, `{"a":2}`}, []string{"f:1@16  (the text ends inside a value)"}},
		{"an array element that does not end", `[{"a":1},{"a":`, []string{`{"a":1}`}, []string{`f:1@9 {"a": (the text ends inside a value)`}},
		{"arrays behind each other", "[{\"a\":1}]\n[{\"a\":2}]\n{\"a\":3}", []string{`{"a":1}`, `{"a":2}`, `{"a":3}`}, nil},
		{"no comma in an array", `[{"a":1} {"a":2}]`, []string{`{"a":1}`}, []string{`f:1@9 {"a":2}] (a comma or a closing bracket is expected here)`}},
		{"no JSON at all", "# Title\n\nSome text.\n", nil, []string{"f:1@0 # Title\n\nSome text. (a value is expected here)"}},
		{"bytes that are not UTF-8", "{\"s\":\"\xff\"}\n{\"a\":1}\n", []string{`{"a":1}`}, []string{"f:1@0 {\"s\":\"\xff\"} (a string is not valid UTF-8)"}},
		{"a raw NUL", "\x00{\"a\":1}\n{\"a\":2}\n", []string{`{"a":2}`}, []string{"f:1@0 \x00{\"a\":1} (a value is expected here)"}},
		{"a torn last line", "{\"a\":1}\n{\"a\":", []string{`{"a":1}`}, []string{`f:2@8 {"a": (the text ends inside a value)`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decodeFiles(t, Options{Schema: ddl(t, table), Rescue: "_r"}, file("f", c.text))
			check(t, "rows", got.rows, c.rows)
			check(t, "bad", got.bad, c.bad)
			if r := got.reports[0]; r.Records != int64(len(got.rows)+len(got.bad)) || r.Rows != int64(len(got.rows)) || r.Bad != int64(len(got.bad)) || r.Text != int64(len(c.text)) {
				t.Errorf("got report %+v", r)
			}
		})
	}
}

func TestATornRecordLeavesNothingBehind(t *testing.T) {
	const columns = "o array<struct<x: bigint, l: array<array<string>>>>, m map<string, array<struct<y: bigint>>>, a bigint"
	const whole = `{"o":[{"x":1,"l":[["a","b"],["c"]]},{"x":2,"l":[["d"]]}],"m":{"k":[{"y":1},{"y":2}]},"a":1}`
	want := decodeFiles(t, Options{Schema: ddl(t, columns)}, file("f", whole)).rows
	for n := 1; n < len(whole); n++ {
		got := decodeFiles(t, Options{Schema: ddl(t, columns)}, file("f", whole[:n]+"\n"+whole+"\n"+whole[:n]+"\n"+whole+"\n"))
		check(t, whole[:n], got.rows, append(want, want...))
	}
}

func TestFramingUnderCompat(t *testing.T) {
	for _, c := range []struct {
		name, framing, text string
		rows                []string
	}{
		{"text behind the first value is ignored", "lines", "{\"a\":1}{\"a\":2}\n{\"a\":3} x\n", []string{`{"a":1}`, `{"a":3}`}},
		{"only the first document of a file is read", "file", "{\"a\":1}\n{\"a\":2}\n", []string{`{"a":1}`}},
		{"an array is read", "file", "[{\"a\":1},\n{\"a\":2}]\n", []string{`{"a":1}`, `{"a":2}`}},
		{"a truncated file is one corrupt record", "file", "[{\"a\":1},\n{\"a\":", []string{`{"s":"[{\"a\":1},\n{\"a\":"}`}},
		{"a corrupt line", "lines", " {\"a\":1,\n{\"a\":2}\n", []string{`{"s":" {\"a\":1,"}`, `{"a":2}`}},
		{"an empty file", "file", "", nil},
	} {
		opts := Options{Schema: ddl(t, "a BIGINT,s STRING"), Corrupt: "s", Framing: c.framing, Compat: true}
		got := decodeFiles(t, opts, file("f", c.text))
		check(t, c.name, got.rows, c.rows)
		check(t, c.name, got.bad, nil)
	}
}

func TestATornFileIsDeferredWhole(t *testing.T) {
	for _, text := range []string{"{\"a\":1}\n{\"a\":", "[{\"a\":1},{\"a\"", "[{\"a\":1}", "{\n\"a\":1"} {
		torn := file("torn", text)
		torn.DeferTorn = true
		got := decodeFiles(t, Options{Schema: ddl(t, table)}, file("before", `{"a":0}`), torn, file("after", `{"a":9}`))
		check(t, text, got.rows, []string{`{"a":0}`, `{"a":9}`})
		if !errors.Is(got.reports[1].Err, ErrTorn) || got.reports[1].Rows+got.reports[1].Bad != 0 {
			t.Errorf("%q: got report %+v", text, got.reports[1])
		}
	}
	bad := file("bad", "{\"a\":\n{\"a\":1}\n")
	bad.DeferTorn = true
	got := decodeFiles(t, Options{Schema: ddl(t, table)}, bad)
	check(t, "a bad line before a good one is not torn", got.rows, []string{`{"a":1}`})
}

func gz(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func TestCompressedFilesAreKnownByTheirFirstBytes(t *testing.T) {
	var z bytes.Buffer
	w, _ := zstd.NewWriter(&z)
	io.WriteString(w, "{\"a\":3}\n")
	w.Close()
	got := decodeFiles(t, Options{Schema: ddl(t, table)}, file("plain.gz", "{\"a\":0}\n"), file("x", gz(t, "{\"a\":1}\n")+gz(t, "{\"a\":2}\n")), file("y", z.String()))
	check(t, "rows", got.rows, []string{`{"a":0}`, `{"a":1}`, `{"a":2}`, `{"a":3}`})
	if r := got.reports[1]; r.Text != 16 || r.Bytes == 16 {
		t.Errorf("got report %+v", r)
	}
}

func TestATruncatedStreamLoadsNoRow(t *testing.T) {
	whole := gz(t, strings.Repeat("{\"a\":1}\n", 100))
	for n := 2; n < len(whole); n++ {
		got := decodeFiles(t, Options{Schema: ddl(t, table)}, file("before", `{"a":0}`), file("cut", whole[:n]), file("after", `{"a":9}`))
		check(t, fmt.Sprint(n), got.rows, []string{`{"a":0}`, `{"a":9}`})
		var e *ContentError
		if !errors.As(got.reports[1].Err, &e) {
			t.Fatalf("cut at %d: got report %+v", n, got.reports[1])
		}
	}
}

func TestAFileThatFailsLateStopsTheReader(t *testing.T) {
	text := gz(t, strings.Repeat(`{"a":1,"s":"`+strings.Repeat("x", 1000)+"\"}\n", 10_000))
	r, err := NewReader([]File{file("cut", text[:len(text)-4])}, Options{Schema: ddl(t, table), BatchBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := r.Next(t.Context())
		var fe *FileError
		if errors.As(err, &fe) && fe.Index == 0 {
			return
		}
		if err != nil {
			t.Fatalf("got %v, want a FileError", err)
		}
	}
}

func TestABombIsRefused(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	blanks := bytes.Repeat([]byte{' '}, 1<<20)
	for range 100 {
		w.Write(blanks)
	}
	w.Close()
	got := decodeFiles(t, Options{Schema: ddl(t, table)}, file("bomb", b.String()))
	if !errors.Is(got.reports[0].Err, ErrInflates) {
		t.Errorf("got %+v", got.reports[0])
	}
}

func TestARecordBeyondTheLimitIsCutAndPassed(t *testing.T) {
	long := `{"s":"` + strings.Repeat("x", 3<<20) + `"}`
	got := decodeFiles(t, Options{Schema: ddl(t, table), MaxRecord: 1 << 20}, file("f", "{\"a\":1}\n"+long+"\n{\"a\":2}\n"))
	check(t, "rows", got.rows, []string{`{"a":1}`, `{"a":2}`})
	if len(got.bad) != 1 || !strings.Contains(got.bad[0], "f:2@8 {\"s\":\"xxx") || !strings.Contains(got.bad[0], jsonscan.TooLong.String()) {
		t.Errorf("got %s", got.bad)
	}
}

func TestRecordsAcrossWindows(t *testing.T) {
	long := strings.Repeat("y", 700_000)
	var lines, values []string
	for i := range 10 {
		lines = append(lines, fmt.Sprintf(`{"a":%d,"s":"%s"}`, i, long))
		values = append(values, fmt.Sprintf("{\n  \"a\": %d,\n  \"s\": \"%s\"\n}", i, long))
	}
	for name, text := range map[string]string{
		"lines": strings.Join(lines, "\n"), "values": strings.Join(values, "\n"), "array": "[" + strings.Join(values, ",\n") + "]", "compact array": "[" + strings.Join(lines, ",") + "]",
	} {
		got := decodeFiles(t, Options{Schema: ddl(t, table)}, file("f", text))
		if len(got.rows) != 10 || len(got.bad) != 0 || !strings.HasPrefix(got.rows[9], `{"a":9,`) {
			t.Errorf("%s: got %d rows, %.200s", name, len(got.rows), got.bad)
		}
	}
}

func TestDeepNesting(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"q":`, n) + "1" + strings.Repeat("}", n) }
	got := decodeFiles(t, Options{Schema: ddl(t, "a BIGINT"), Observe: true}, file("f", deep(1000)+"\n"+deep(1001)+"\n"+strings.Repeat("[", 100_000)+"\n{\"a\":1}\n"))
	check(t, "rows", got.rows, []string{`{}`, `{"a":1}`})
	if len(got.bad) != 2 || !strings.Contains(got.bad[0], jsonscan.TooDeep.String()) {
		t.Errorf("got %.300s", got.bad)
	}
}

func TestUnknownFieldsAreObserved(t *testing.T) {
	opts := Options{Schema: ddl(t, table), Rescue: "_r", Observe: true}
	got := decodeFiles(t, opts,
		file("g", "{\"new\":1,\"n\":{\"w\":\"x\"}}\n{\"new\":2.5,\"o\":[{\"z\":true},{\"z\":null}],\"id\":{\"k\":[]}}\n{\"A\":null,\"\":1}\n"),
		file("f", "{\"big\":9223372036854775808,\"big2\":1234567890123456789012345678901234567890}\n{\"a\":1,\"bad\":1"))
	want := map[string]string{
		"": "A VOID,big DECIMAL(19,0),big2 DOUBLE,id STRUCT<k: ARRAY<VOID>>,new DOUBLE", "n": "w STRING", "o.element": "z BOOLEAN",
	}
	seen := got.reader.Observed()
	for path, w := range want {
		if seen[path] == nil || seen[path].Struct().DDL() != w {
			t.Errorf("%q: got %v, want %s", path, seen[path].Struct().DDL(), w)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("got %d places, want %d", len(seen), len(want))
	}
	if f := seen[""].Field("new").First; f == nil || f.File != "g" || f.Line != 1 {
		t.Errorf("new was first seen at %+v, want g:1", f)
	}
	if f := seen["o.element"].Field("z"); f.Booleans != 1 || f.Nulls != 1 || f.First.Line != 2 {
		t.Errorf("got %+v", f)
	}
}

func TestMisfitsAreCountedByPath(t *testing.T) {
	got := decodeFiles(t, Options{Schema: ddl(t, table), Rescue: "_r"}, file("f", "{\"a\":\"x\"}\n{\"a\":1.5,\"n\":{\"x\":\"y\"},\"o\":[{\"x\":\"q\"},{\"x\":\"r\"}]}\n{\"a\":\"x\"\n"))
	var lines []string
	for path, m := range got.reader.Misfits() {
		lines = append(lines, fmt.Sprintf("%s %d line %d", path, m.Count, m.First.Line))
	}
	slices.Sort(lines)
	check(t, "misfits", lines, []string{"a 2 line 1", "n.x 1 line 2", "o.element.x 2 line 2"})
}

func TestABatchIsBoundedAndNothingIsLostBetween(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "{\"a\":%d,\"s\":\"%d\",\"q\":%d}\n", i, i, i)
	}
	all := decodeFiles(t, Options{Schema: ddl(t, table), Rescue: "_r"}, file("f", text.String()))
	parts := decodeFiles(t, Options{Schema: ddl(t, table), Rescue: "_r", BatchRows: 7}, file("f", text.String()))
	check(t, "rows", parts.rows, all.rows)
	if len(all.rows) != 1000 {
		t.Errorf("got %d rows", len(all.rows))
	}
}

func TestManyUnknownKeysStayFast(t *testing.T) {
	var text strings.Builder
	text.WriteString(`{"a":1`)
	for i := range 200_000 {
		fmt.Fprintf(&text, `,"k%d":%d`, i, i)
	}
	text.WriteString("}\n{\"a\":2}\n")
	for _, compat := range []bool{false, true} {
		got := decodeFiles(t, Options{Schema: ddl(t, table), Rescue: "_r", Observe: true, Compat: compat}, file("f", text.String()))
		seen := got.reader.Observed()[""]
		if len(got.rows) != 2 || seen.Wide || len(seen.Fields) != maxRootKeys {
			t.Errorf("got %d rows, %d fields", len(got.rows), len(seen.Fields))
		}
	}
}

func TestAnObservationCanBeMergedInAnyOrder(t *testing.T) {
	observe := func(text string) *Observed {
		return decodeFiles(t, Options{Schema: &schema.Struct{}, Observe: true}, file(text, text)).reader.Observed()[""]
	}
	texts := []string{`{"a":1,"b":{"c":[1]}}`, `{"a":2.5,"b":{"d":null}}`, `{"b":{"c":["x"]},"e":""}`, `{"b":7}`}
	merged := func(order ...int) string {
		var o Observed
		for _, i := range order {
			o.Merge(observe(texts[i]))
		}
		return o.Struct().DDL() + fmt.Sprint(o.Field("b").First)
	}
	want := merged(0, 1, 2, 3)
	for _, order := range [][]int{{3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}} {
		if got := merged(order...); got != want {
			t.Errorf("order %v: got %s, want %s", order, got, want)
		}
	}
	b, err := json.Marshal(observe(texts[0]))
	if err != nil {
		t.Fatal(err)
	}
	var back Observed
	if err := json.Unmarshal(b, &back); err != nil || back.Struct().DDL() != observe(texts[0]).Struct().DDL() {
		t.Errorf("%s came back as %s (%v)", b, back.Struct().DDL(), err)
	}
}

func drain(t testing.TB, r *Reader) {
	t.Helper()
	for {
		if _, err := r.Next(t.Context()); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// inferSchema returns the schema of all that is in files.
func inferSchema(t testing.TB, files []File) *schema.Struct {
	t.Helper()
	r, err := NewReader(files, Options{Schema: &schema.Struct{}, Observe: true})
	if err != nil {
		t.Fatal(err)
	}
	drain(t, r)
	return r.Observed()[""].Struct()
}

func TestText(t *testing.T) {
	const text = `{"a":1}
[{"a":2}, {"a":"x"}]
[{"a":3}, 4]
{"a": 5} {"a":6}
`
	r, err := NewReader([]File{file("f", text)}, Options{Schema: ddl(t, "a BIGINT"), Rescue: "_rescued_data", KeepText: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for row := range int(b.Record.NumRows()) {
		got = append(got, string(b.Text(row)))
	}
	if want := []string{`{"a":1}`, `{"a":2}`, `{"a":"x"}`, `{"a": 5}`, `{"a":6}`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLongKeysThatBeginAlikeAreToldApart(t *testing.T) {
	table := "a_long_name_1 BIGINT,a_long_name_2 BIGINT,a_long_name_that_goes_on_1 BIGINT,a_long_name_that_went_on_1 BIGINT,a_long_ BIGINT,a_long_n BIGINT"
	var text, want string
	for _, name := range []string{"a_long_name_2", "a_long_name_1", "a_long_name_that_went_on_1", "a_long_name_that_goes_on_1", "a_long_", "a_long_n"} {
		text += fmt.Sprintf("{%q:1}\n", name)
		want += fmt.Sprintf("{%q:1}\n", name)
	}
	for _, name := range []string{"a_long_name_3", "a_long_na", "a_long_name_that_goes_up_1", "a_long_name_that_goes_on_12"} {
		text += fmt.Sprintf("{%q:1}\n", name)
		want += fmt.Sprintf("{\"_r\":\"{\\\"%s\\\":1}\"}\n", name)
	}
	got := decodeFiles(t, Options{Schema: ddl(t, table), Rescue: "_r", NoFilePath: true}, file("f", text))
	check(t, "rows", got.rows, strings.Split(strings.TrimSpace(want), "\n"))
}
