package decode

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRecordPath(t *testing.T) {
	tests := []struct {
		name, path, keep, content string
		rows                      []string // rescued texts and columns
		bad                       []string
	}{
		{"records_of_an_event", "$.Records[*]", "", `{"Records":[{"a":1},{"a":2}]}`, []string{`{"a":1}`, `{"a":2}`}, nil},
		{"one_record", "$.detail", "", `{"id":7,"detail":{"a":1},"x":[1,{"detail":{"a":9}}]}`, []string{`{"a":1}`}, nil},
		{"a_path_through_lists", "$.pages[*].items[*]", "", `{"pages":[{"items":[{"a":1}]},{"n":0},{"items":[]},{"items":[{"a":2},{"a":3}]}]}`,
			[]string{`{"a":1}`, `{"a":2}`, `{"a":3}`}, nil},
		{"a_top_level_list", "$[*].r", "", `[{"r":{"a":1}},{"r":{"a":2}}]`, []string{`{"a":1}`, `{"a":2}`}, nil},
		{"a_name_with_a_blank", "$['my records'][*]", "", `{"my records":[{"a":1}]}`, []string{`{"a":1}`}, nil},
		{"an_escaped_name", "$.Records[*]", "", `{"Rec\u006frds":[{"a":1}]}`, []string{`{"a":1}`}, nil},
		{"several_values_in_a_file", "$.Records[*]", "", `{"Records":[{"a":1}]}` + "\n" + `{"Records":[{"a":2}]}` + "\n", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"blanks_and_lines", "$.Records[*]", "", "{\n  \"v\" : 1 ,\n \"Records\" : [\n  {\"a\" : 1} ,\n {\"a\":2}\n ]\n}\n", []string{`{"a":1}`, `{"a":2}`}, nil},
		{"null_and_nothing", "$.Records[*]", "", `{"Records":null}{"Records":[]}{}`, nil, nil},
		{"a_record_that_is_none", "$.Records[*]", "", `{"Records":[{"a":1},7,{"a":2}]}`, []string{`{"a":1}`, `{"a":2}`}, []string{"f:1@20 7 (a record must be an object)"}},
		{"another_kind_of_container", "$.Records[*]", "", `{"Records":{"a":1}}` + "\n" + `[1]` + "\n" + `{"Records":[{"a":2}]}`, []string{`{"a":2}`},
			[]string{`f:1@11 {"a":1} (the record path leads into a container of another kind)`, "f:2@20 [1] (the record path leads into a container of another kind)"}},
		{"what_is_kept_may_stand_behind", "$.d.Records[*]", "account,d.region", `{"account":"1","d":{"Records":[{"a":1}],"region":{"n":2}},"x":0}`,
			[]string{`{"_r":"{\"_envelope\":{\"account\":\"1\",\"d\":{\"region\":{\"n\":2}}}}","a":1}`}, nil},
		{"an_error_ends_the_file", "$.Records[*]", "", `{"Records":[{"a":1},{"a":}]}` + "\n" + `{"Records":[{"a":3}]}`, []string{`{"a":1}`},
			[]string{`f:1@20 {"a":}]}` + "\n" + `{"Records":[{"a":3}]} (a value is expected here)`}},
		{"a_torn_file", "$.Records[*]", "", `{"Records":[{"a":1},{"a":2}`, []string{`{"a":1}`, `{"a":2}`}, []string{"f:1@27  (the text ends inside a value)"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := Options{Schema: ddl(t, "a BIGINT"), Rescue: "_r", NoFilePath: true, RecordPath: test.path}
			if test.keep != "" {
				opts.RecordKeep = strings.Split(test.keep, ",")
			}
			got := decodeFiles(t, opts, file("f", test.content))
			if fmt.Sprint(got.rows) != fmt.Sprint(test.rows) || fmt.Sprint(got.bad) != fmt.Sprint(test.bad) {
				t.Errorf("rows %q\nwant %q\nbad  %q\nwant %q", got.rows, test.rows, got.bad, test.bad)
			}
		})
	}
	t.Run("an_envelope_of_any_size_is_read_in_bounded_memory", func(t *testing.T) {
		const records, size = 3000, 1 << 10
		head := `{"account":"1","Records":[`
		record := `{"a":1,"pad":"` + strings.Repeat("x", size) + `"}`
		f := File{URI: "f", Open: func(context.Context) (io.ReadCloser, error) {
			parts := []io.Reader{strings.NewReader(head + record)}
			for range records - 1 {
				parts = append(parts, strings.NewReader(","+record))
			}
			return io.NopCloser(iotest.HalfReader(io.MultiReader(append(parts, strings.NewReader("]}"))...))), nil
		}}
		r, err := NewReader([]File{f}, Options{Schema: ddl(t, "a BIGINT,_envelope STRUCT<account: STRING>"), RecordPath: "$.Records[*]",
			RecordKeep: []string{"account"}, MaxRecord: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		rows := int64(0)
		for {
			b, err := r.Next(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(b.Bad) > 0 {
				t.Fatalf("bad record %+v", b.Bad[0].Reason)
			}
			rows += b.Record.NumRows() - int64(b.Record.Column(1).NullN())
			b.Record.Release()
		}
		if rows != records || cap(r.buf) > 4<<20 {
			t.Errorf("%d rows with an envelope, want %d; the buffer has %d bytes", rows, records, cap(r.buf))
		}
	})
	for _, path := range []string{"", "Records", "$Records", "$.", "$.a[0]", "$['a", "$.a..b"} {
		t.Run("no_path_"+path, func(t *testing.T) {
			if CheckRecordPath(path) == nil {
				t.Errorf("%q is taken for a record path", path)
			}
		})
	}
}
