package decode

import (
	"fmt"
	"slices"
	"testing"
)

func TestFolders(t *testing.T) {
	s := ddl(t, "a BIGINT, dt DATE, n INT, w STRING, ok BOOLEAN")
	for _, compat := range []bool{false, true} {
		opts := Options{Schema: s, Framing: "lines", Rescue: "_r", NoFilePath: true, Observe: true, Compat: compat, Partitions: []string{"dt", "n", "w", "ok"}}
		one, two := file("one", "{\"a\":1}\n{\"a\":2,\"n\":9}\n"), file("two", "{\"a\":3}\n")
		one.Key, two.Key = "dt=2024-01-02/n=007/w=a%20b/ok=TRUE/f.json", "dt=__HIVE_DEFAULT_PARTITION__/N=x/f.json"
		got := decodeFiles(t, opts, one, two)
		want := []string{`{"a":1,"dt":"2024-01-02","n":7,"ok":true,"w":"a b"}`, `{"_r":"{\"n\":9}","a":2,"dt":"2024-01-02","n":7,"ok":true,"w":"a b"}`, `{"a":3}`}
		if compat {
			want[1] = `{"a":2,"dt":"2024-01-02","n":7,"ok":true,"w":"a b"}`
		}
		if !slices.Equal(got.rows, want) {
			t.Errorf("compat %v\n got %q\nwant %q", compat, got.rows, want)
		}
		if o := got.reader.Observed(); len(o) > 0 {
			t.Errorf("observed %v", o)
		}
	}
	for value, want := range map[string]string{"01": "INT", "3000000000": "BIGINT", "12345678901234567890": "DECIMAL(20,0)", "1.5": "DOUBLE",
		"2024-01-02": "DATE", "2024-01-02 03:04:05": "TIMESTAMP", "2024": "INT", "2024-13-01": "STRING", "x": "STRING", "": "STRING"} {
		if got := fmt.Sprint(FolderType(value)); got != want {
			t.Errorf("%q is %s, want %s", value, got, want)
		}
	}
}
