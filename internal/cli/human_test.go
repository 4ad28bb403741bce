package cli

import (
	"testing"
	"time"
)

func TestHuman(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{thousands(0), "0"}, {thousands(999), "999"}, {thousands(1318402), "1,318,402"}, {thousands(-1000), "-1,000"},
		{count(1, "file"), "1 file"}, {count(1204, "file"), "1,204 files"},
		{size(1023), "1023 B"}, {size(1024), "1.0 KiB"}, {size(2469606195), "2.3 GiB"}, {size(1<<20 - 1), "1.0 MiB"}, {size(15 << 20), "15 MiB"},
		{compact(918_000), "918k"}, {compact(999), "999"}, {compact(1_500_000), "1.5M"},
		{took(38400 * time.Millisecond), "38.4 s"}, {took(340 * time.Millisecond), "340 ms"}, {took(245 * time.Second), "4 min 05 s"}, {took(134 * time.Minute), "2 h 14 min"},
		{share(4, 10000), "0.04%"}, {share(0, 10), "0%"}, {share(1, 1_000_000), "<.01%"},
		{cut("a\nb", 10), "a b"}, {cut("abcdef", 4), "abc…"},
		{shell("silt", "query", "select * from t"), `silt query "select * from t"`}, {shell("a$b"), `'a$b'`}, {shell("it's $x"), `'it'\''s $x'`},
		{where("file:///a/b/day2/0113.json", 8), "day2/0113.json:8"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"cloudFiles.schemaEvolutionMode", "multiLine", "mode", "cloudFiles.maxFilesPerTrigger", "source"}
	for _, c := range []struct{ name, want string }{
		{"cloudFiles.schemaEvolutionMod", "cloudFiles.schemaEvolutionMode"},
		{"schemaEvolutonMode", "cloudFiles.schemaEvolutionMode"},
		{"MULTILINE", "multiLine"},
		{"sorce", "source"},
		{"soruce", "source"},
		{"maxFiles", "cloudFiles.maxFilesPerTrigger"},
		{"banana", ""},
	} {
		if got := nearest(c.name, known); got != c.want {
			t.Errorf("nearest(%q): got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTargetOf(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct{ arg, table, path string }{
		{"main.demo.events", "main.demo.events", ""},
		{"main.`de mo`.events", "main.`de mo`.events", ""},
		{"./events", "", "./events"},
		{"lake/events", "", "lake/events"},
		{"/lake/main.demo.events", "", "/lake/main.demo.events"},
		{"file:///lake/events", "", "file:///lake/events"},
		{".", "", "."},
	} {
		got, err := targetOf(c.arg)
		if err != nil || got.Table != c.table || got.Path != c.path {
			t.Errorf("%s: got %+v, %v", c.arg, got, err)
		}
	}
	for _, arg := range []string{"events", "demo.events", "a.b.c.d", ""} {
		if got, err := targetOf(arg); err == nil {
			t.Errorf("%s: got %+v, want an error", arg, got)
		}
	}
}
