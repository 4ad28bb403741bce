package test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/siltlake/silt/internal/telemetry"
)

// TestConservation loads with default options, and rebuilds each record from what other programs find
// in the table and in quarantine. See oracle/conserve.py for what equal means.
func TestConservation(t *testing.T) {
	for _, set := range []string{
		"github-webhooks/data", "cloudtrail/data", "fhir-synthea/data", "fhir-synthea/bundles", "otlp/data",
		"aws-service-events/data", "naughty-strings/data",
	} {
		t.Run(strings.ReplaceAll(set, "/", "_"), func(t *testing.T) {
			t.Parallel()
			source, dir := filepath.Join(t.TempDir(), "in"), t.TempDir()
			settled(t, filepath.Join(testData(t), "data", "json", "real", filepath.FromSlash(set)), source)
			t.Logf("%+v", load(t, dir, source, "main.real.t"))
			conserved(t, lake(dir, "main.real.t"), source)
		})
	}
	t.Run("naughty_strings_as_values", func(t *testing.T) {
		t.Parallel()
		source, dir := filepath.Join(t.TempDir(), "in"), t.TempDir()
		var lines bytes.Buffer
		for i, s := range naughty(t) {
			lines.Write(object("n", i, "s", s, "deep", map[string]any{"list": []any{s, map[string]any{"s": s}}}))
		}
		write(t, filepath.Join(source, "values.json"), lines.Bytes())
		load(t, dir, source, "main.naughty.t")
		conserved(t, lake(dir, "main.naughty.t"), source)
	})
	t.Run("naughty_strings_as_keys", func(t *testing.T) {
		t.Parallel()
		source, dir := filepath.Join(t.TempDir(), "in"), t.TempDir()
		var top, nested bytes.Buffer
		for i, s := range naughty(t) {
			top.Write(object("n", i, s, i))
			nested.Write(object("n", i, "in", map[string]any{s: map[string]any{"list": []any{map[string]any{s: "x"}}}}))
		}
		write(t, filepath.Join(source, "top.json"), top.Bytes())
		write(t, filepath.Join(source, "nested.json"), nested.Bytes())
		load(t, dir, source, "main.naughty.t")
		conserved(t, lake(dir, "main.naughty.t"), source)
	})
	t.Run("naughty_strings_as_names_of_files", func(t *testing.T) {
		t.Parallel()
		source, dir := filepath.Join(t.TempDir(), "in"), t.TempDir()
		for i, s := range naughty(t) {
			// Names with a slash, with NUL, too long ones, and those that are passed over by their first
			// character, are no names here.
			if name := s + ".json"; !strings.ContainsAny(s, "/\x00") && len(name) < 255 && !strings.HasPrefix(s, ".") && !strings.HasPrefix(s, "_") && s != "" {
				write(t, filepath.Join(source, name), object("n", i, "s", s))
			}
		}
		for i, name := range []string{"no text \xff\xfe.json", "new\nline.json", "a b%20c+d#?.json", "\xed\xa0\x80.json"} {
			write(t, filepath.Join(source, name), append(object("n", i), "no record"...))
		}
		load(t, dir, source, "main.naughty.t")
		conserved(t, lake(dir, "main.naughty.t"), source)
	})
	t.Run("keys_that_are_called_as_columns_of_silt", func(t *testing.T) {
		t.Parallel()
		source, dir := filepath.Join(t.TempDir(), "in"), t.TempDir()
		write(t, filepath.Join(source, "a.json"), []byte(`{"id":1,"_rescued_data":"mine","source_file":"mine too","ingestion_timestamp":"2026-01-01T00:00:00Z"}
{"id":"two","_file_path":"here","_metadata":{"file_path":"x"},"source_file":7,"in":{"_file_path":1,"_rescued_data":2}}
{"id":3,"_corrupt_record":"no","processing_date":"2026-01-01","batch_id":4}
`))
		load(t, dir, source, "main.own.t")
		conserved(t, lake(dir, "main.own.t"), source)
	})
	t.Run("repeated_keys_case_twins_and_numbers_that_do_not_fit", func(t *testing.T) {
		t.Parallel()
		source, dir := filepath.Join(t.TempDir(), "in"), t.TempDir()
		write(t, filepath.Join(source, "a.json"), []byte(`{"id":1,"ID":2,"Id":"three","x":{"a":1,"A":"b","a":2}}
{"id":9007199254740993,"d":1.5,"e":1e400,"big":123456789012345678901234567890,"m":-0.0,"x":{"a":1.0,"a":"text"}}
{"id":80.0,"d":9007199254740993,"e":1e2,"big":1,"m":0,"x":null,"x":{"a":3},"l":[1,"two",null,{"a":[]}]}
{"id":"\ud800 lone","\ud800":1,"e":"\u0000","l":[[1],[2,[3]]],"empty":{},"none":[],"null":null}
{"d":0.1000000000000000055511151231257827,"id":-9223372036854775808,"big":-0}
`))
		load(t, dir, source, "main.own.t")
		conserved(t, lake(dir, "main.own.t"), source)
	})
	t.Run("dirty_telemetry_that_evolves", func(t *testing.T) {
		t.Parallel()
		source, dir := filepath.Join(t.TempDir(), "in"), t.TempDir()
		generate(t, source, telemetry.Options{Records: 3000, Files: 40, Seed: 11, Evolve: true, Widen: true, Dirty: 5})
		load(t, dir, source, "main.dirty.t")
		conserved(t, lake(dir, "main.dirty.t"), source)
	})
	t.Run("waves_that_bring_new_fields_file_by_file", func(t *testing.T) {
		t.Parallel()
		source, dir := filepath.Join(t.TempDir(), "in"), t.TempDir()
		all := filepath.Join(t.TempDir(), "all")
		generate(t, all, telemetry.Options{Records: 600, Files: 20, Seed: 12, Evolve: true, Widen: true, Dirty: 5})
		names, err := filepath.Glob(filepath.Join(all, "*"))
		if err != nil || len(names) != 20 {
			t.Fatal(names, err)
		}
		write(t, filepath.Join(source, ".keep"), nil)
		for _, wave := range [][2]int{{0, 1}, {1, 14}, {14, 16}, {16, 19}, {19, 20}} {
			for _, name := range names[wave[0]:wave[1]] {
				copyFile(t, name, filepath.Join(source, filepath.Base(name)))
			}
			load(t, dir, source, "main.waves.t", "--option", "maxFilesPerTrigger=4")
		}
		conserved(t, lake(dir, "main.waves.t"), source)
	})
	t.Run("a_changed_character_is_noticed", func(t *testing.T) {
		t.Parallel()
		source, dir := filepath.Join(t.TempDir(), "in"), t.TempDir()
		file := filepath.Join(source, "a.json")
		write(t, file, []byte(`{"a":{"b":[1.25,{"c":"text"}]}}`))
		load(t, dir, source, "main.own.t")
		for _, other := range []string{`{"a":{"b":[1.26,{"c":"text"}]}}`, `{"a":{"b":[1.25,{"c":"Text"}]}}`, `{"a":{"b":[1.25,{"d":"text"}]}}`, `{"a":{"b":[1.25,{"c":"text"}]}}{}`} {
			write(t, file, []byte(other))
			if out, err := oracle(t, "conserve.py", lake(dir, "main.own.t"), source); err == nil {
				t.Errorf("the oracle finds %s the same: %s", other, out)
			}
		}
	})
}

// naughty returns the strings of the big list, each once.
func naughty(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testData(t), "data", "json", "real", "naughty-strings", "data", "blns.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all, once []string
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, s := range all {
		if !seen[s] {
			once = append(once, s)
		}
		seen[s] = true
	}
	return once
}

// object is a line of JSON with the members given.
func object(members ...any) []byte {
	out := []byte("{")
	for i := 0; i < len(members); i += 2 {
		if i > 0 {
			out = append(out, ',')
		}
		key, _ := json.Marshal(members[i])
		value, _ := json.Marshal(members[i+1])
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, "}\n"...)
}

func generate(t testing.TB, dir string, o telemetry.Options) {
	t.Helper()
	if _, err := telemetry.Generate(dir, o); err != nil {
		t.Fatal(err)
	}
}
