package decode

import (
	"testing"
	"time"
)

func TestPatterns(t *testing.T) {
	for _, test := range []struct{ pattern, text, want string }{
		{"dd/MM/yyyy HH:mm", "02/01/2024 10:11", "2024-01-02T10:11:00Z"},
		{"dd/MM/yyyy HH:mm", "2/1/2024 10:11", ""},
		{"d/M/y H:m", "2/1/2024 3:4", "2024-01-02T03:04:00Z"},
		{"d/M/y H:m", "12/11/2024 13:14", "2024-11-12T13:14:00Z"},
		{"yyyyMMddHHmmssSSS", "20240102030405678", "2024-01-02T03:04:05.678Z"},
		{"yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-02T03:04:05", "2024-01-02T03:04:05Z"},
		{"yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-02T03:04:05.12+05:30", "2024-01-01T21:34:05.12Z"},
		{"yyyy-MM-dd'T'HH:mm:ss[.SSS][XXX]", "2024-01-02T03:04:05.1234", ""},
		{"yyyy-MM-dd HH:mm:ssX", "2024-01-02 03:04:05-08", "2024-01-02T11:04:05Z"},
		{"yyyy-MM-dd HH:mm:ssX", "2024-01-02 03:04:05Z", "2024-01-02T03:04:05Z"},
		{"yyyy-MM-dd HH:mm:ssx", "2024-01-02 03:04:05Z", ""},
		{"yyyy-MM-dd HH:mm:ss Z", "2024-01-02 03:04:05 +0100", "2024-01-02T02:04:05Z"},
		{"yyyy-MM-dd HH:mm:ss z", "2024-01-02 03:04:05 PST", "2024-01-02T11:04:05Z"},
		{"yyyy-MM-dd HH:mm VV", "2024-07-02 03:04 Europe/Berlin", "2024-07-02T01:04:00Z"},
		{"MMM d, yyyy h:mm a", "jan 2, 2024 3:04 PM", "2024-01-02T15:04:00Z"},
		{"MMMM d yyyy h a", "January 2 2024 12 am", "2024-01-02T00:00:00Z"},
		{"E, d MMM yyyy", "Tue, 2 Jan 2024", "2024-01-02T00:00:00Z"},
		{"E, d MMM yyyy", "Mon, 2 Jan 2024", ""},
		{"EEEE d.M.yy", "Tuesday 2.1.24", "2024-01-02T00:00:00Z"},
		{"yyyy-DDD", "2024-366", "2024-12-31T00:00:00Z"},
		{"yyyy-DDD", "2023-366", ""},
		{"yyyy-MM-dd", "2024-02-30", ""},
		{"yyyy-MM-dd", "2024-02-29 ", ""},
		{"HH:mm", "24:00", ""},
		{"'it''s' yyyy", "it's 2024", "2024-01-01T00:00:00Z"},
		{"MM.yyyy Q", "05.2024 2", "2024-05-01T00:00:00Z"},
	} {
		t.Run(test.pattern+" "+test.text, func(t *testing.T) {
			if err := ParsePattern(test.pattern); err != nil {
				t.Fatal(err)
			}
			f, err := (&Options{TimestampFormat: test.pattern}).formats()
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if micros, ok := f.parseTimestamp([]byte(test.text), time.UTC, true); ok {
				got = time.UnixMicro(micros).UTC().Format(time.RFC3339Nano)
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	for _, bad := range []string{"yyyy-ww", "yyyy 'open", "yyyy[", "yyyy]", "MMMMM", "{", "GG", "ddd"} {
		if ParsePattern(bad) == nil {
			t.Errorf("pattern %q is taken", bad)
		}
	}
}

func TestFormatsInColumns(t *testing.T) {
	s := ddl(t, "t TIMESTAMP, n TIMESTAMP_NTZ, d DATE, m DECIMAL(10,2)")
	opts := Options{Schema: s, Framing: "lines", Rescue: "_r", NoFilePath: true, DateFormat: "dd/MM/yyyy",
		TimestampFormat: "dd/MM/yyyy HH:mm", NTZFormat: "HH:mm dd/MM/yyyy", Locale: "de-DE"}
	text := `{"t":"02/01/2024 10:11","n":"10:11 02/01/2024","d":"02/01/2024","m":"1.234,5"}` + "\n" + `{"t":"2024-01-02T10:11:00Z","n":"2024-01-02T10:11:00","d":"2024-01-02","m":"1,234.5"}` + "\n"
	first := `{"d":"2024-01-02","m":"1234.5","n":"2024-01-02T10:11:00","t":"2024-01-02T10:11:00Z"}`
	strict := decodeTest{opts: opts, text: text, rows: []string{first,
		`{"_r":"{\"t\":\"2024-01-02T10:11:00Z\",\"n\":\"2024-01-02T10:11:00\",\"d\":\"2024-01-02\",\"m\":\"1,234.5\"}"}`}}
	t.Run("only_the_patterns_are_read", strict.run)
	opts.DateFallback = true
	lenient := decodeTest{opts: opts, text: text, rows: []string{first,
		`{"_r":"{\"m\":\"1,234.5\"}","d":"2024-01-02","n":"2024-01-02T10:11:00","t":"2024-01-02T10:11:00Z"}`}}
	t.Run("with_a_fallback_the_usual_forms_too", lenient.run)
}

func TestInferenceOptions(t *testing.T) {
	text := `{"a":1,"b":1.50,"c":"2.25","d":"x","e":true,"f":"2024-01-02","g":"","h":{"x":0.05},"i":1e3}` + "\n" +
		`{"a":1.5,"b":100,"c":"10","d":"1","e":null,"f":"2024","g":"","h":{"x":12},"i":2}` + "\n"
	for _, test := range []struct {
		name string
		opts Options
		want string
	}{
		{"by_default", Options{}, "a DOUBLE,b DOUBLE,c STRING,d STRING,e BOOLEAN,f STRING,g STRING,h STRUCT<x: DOUBLE>,i DOUBLE"},
		{"prefersDecimal", Options{PrefersDecimal: true}, "a DECIMAL(21,1),b DECIMAL(22,2),c DECIMAL(4,2),d STRING,e BOOLEAN,f STRING,g STRING,h STRUCT<x: DECIMAL(22,2)>,i DOUBLE"},
		{"inferTimestamp", Options{InferTimestamp: true}, "a DOUBLE,b DOUBLE,c STRING,d STRING,e BOOLEAN,f TIMESTAMP,g STRING,h STRUCT<x: DOUBLE>,i DOUBLE"},
		{"primitivesAsString", Options{PrimitivesAsString: true}, "a STRING,b STRING,c STRING,d STRING,e STRING,f STRING,g STRING,h STRUCT<x: STRING>,i STRING"},
		{"dropFieldIfAllNull", Options{BlankAsNull: true}, "a DOUBLE,b DOUBLE,c STRING,d STRING,e BOOLEAN,f STRING,g VOID,h STRUCT<x: DOUBLE>,i DOUBLE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.opts.Schema, test.opts.Observe = ddl(t, ""), true
			got := decodeFiles(t, test.opts, file("f", text)).reader.Observed()[""].Struct().DDL()
			if got != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestCaseIsIgnored(t *testing.T) {
	test := decodeTest{opts: Options{Schema: ddl(t, "aB BIGINT, s STRUCT<x: BIGINT>"), Rescue: "_r", NoFilePath: true, IgnoreCase: true},
		text: `{"AB":1,"S":{"X":2}}` + "\n" + `{"ab":1,"aB":2}` + "\n", rows: []string{`{"aB":1,"s":{"x":2}}`, `{"_r":"{\"ab\":1}","aB":2}`}}
	t.Run("when_asked_for", test.run)
}
