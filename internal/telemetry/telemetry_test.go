package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// files reads a folder and all below it.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[path], err = os.ReadFile(filepath.Join(dir, path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameFiles(t *testing.T, a, b map[string][]byte) {
	t.Helper()
	if !maps.EqualFunc(a, b, bytes.Equal) {
		t.Error("two runs wrote different files")
	}
}

// records returns the objects in a text: lines, values one after the other, or an array.
func records(t *testing.T, text []byte) (out []map[string]any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		var v any
		err := d.Decode(&v)
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if list, ok := v.([]any); ok {
			for _, e := range list {
				out = append(out, e.(map[string]any))
			}
			continue
		}
		out = append(out, v.(map[string]any))
	}
}

func TestDemo(t *testing.T) {
	t.Chdir(t.TempDir())
	sum, err := WriteDemo("silt-demo")
	if err != nil {
		t.Fatal(err)
	}
	all := files(t, "silt-demo")

	t.Run("each_wave_is_as_large_as_it_says", func(t *testing.T) {
		for _, wave := range sum.Waves {
			n, size := 0, int64(0)
			for path, data := range all {
				if strings.HasPrefix(path, wave.Name+"/") {
					n, size = n+1, size+int64(len(data))
				}
			}
			if n != wave.Files || size != wave.Bytes {
				t.Errorf("%s has %d files of %d bytes, want %d of %d", wave.Name, n, size, wave.Files, wave.Bytes)
			}
		}
	})
	t.Run("the_clean_days_are_json", func(t *testing.T) {
		n := 0
		for path, data := range all {
			if strings.HasPrefix(path, "day1/") || strings.HasPrefix(path, "day2/") {
				n += len(records(t, data))
			}
		}
		if want := sum.Waves[0].Records + sum.Waves[1].Records; n != want {
			t.Errorf("%d records, want %d", n, want)
		}
	})
	t.Run("whole_numbers_first_fractions_later", func(t *testing.T) {
		for day, want := range map[string]bool{"day1/": false, "day2/": true} {
			fraction := false
			for path, data := range all {
				if !strings.HasPrefix(path, day) {
					continue
				}
				for _, r := range records(t, data) {
					soc := r["vehicle"].(map[string]any)["battery"].(map[string]any)["soc"].(float64)
					fraction = fraction || soc != float64(int64(soc))
				}
			}
			if fraction != want {
				t.Errorf("%s has fractions: %v, want %v", day, fraction, want)
			}
		}
	})
	t.Run("of_the_compressed_files_one_is_cut_off", func(t *testing.T) {
		var outcomes []string
		for path, data := range all {
			var text []byte
			var err error
			switch filepath.Ext(path) {
			case ".gz":
				z, openErr := gzip.NewReader(bytes.NewReader(data))
				if openErr != nil {
					t.Fatal(openErr)
				}
				text, err = io.ReadAll(z)
			case ".zst":
				z, _ := zstd.NewReader(nil)
				text, err = z.DecodeAll(data, nil)
			default:
				continue
			}
			if err != nil {
				outcomes = append(outcomes, err.Error())
			} else if len(records(t, text)) == recordsPerFile {
				outcomes = append(outcomes, "good")
			}
		}
		slices.Sort(outcomes)
		if want := []string{"good", "good", "unexpected EOF"}; !slices.Equal(outcomes, want) {
			t.Errorf("got %q, want %q", outcomes, want)
		}
	})
	t.Run("a_folder_with_something_in_it_is_left_alone", func(t *testing.T) {
		if _, err := WriteDemo("silt-demo"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v, want %v", err, fs.ErrExist)
		}
		sameFiles(t, all, files(t, "silt-demo"))
	})
	t.Run("the_same_each_time", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if _, err := WriteDemo("silt-demo"); err != nil {
			t.Fatal(err)
		}
		sameFiles(t, all, files(t, "silt-demo"))
	})
	t.Run("the_configuration_finds_the_lake_of_the_working_directory", func(t *testing.T) {
		if text := string(all["silt.yml"]); !strings.Contains(text, `path: "../lake"`) {
			t.Errorf("no ../lake in\n%s", text)
		}
	})
}

func TestGenerate(t *testing.T) {
	write := func(t *testing.T, o Options) (Generated, map[string][]byte) {
		dir := t.TempDir()
		made, err := Generate(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return made, files(t, dir)
	}
	t.Run("about_as_many_bytes_as_asked_for", func(t *testing.T) {
		made, all := write(t, Options{Bytes: 1 << 20, Files: 7, Seed: 1})
		if made.Bytes < 1<<20*98/100 || made.Bytes > 1<<20*102/100 || len(all) != 7 {
			t.Errorf("got %+v", made)
		}
	})
	t.Run("every_record_is_json", func(t *testing.T) {
		made, all := write(t, Options{Records: 500, Files: 10, Seed: 2, Evolve: true, Widen: true})
		n := 0
		for _, data := range all {
			n += len(records(t, data))
		}
		if n != 500 || made.Records != 500 {
			t.Errorf("%d records and %+v, want 500", n, made)
		}
	})
	t.Run("late_files_have_new_fields", func(t *testing.T) {
		_, all := write(t, Options{Records: 100, Files: 10, Seed: 3, Evolve: true})
		for name, want := range map[string][2]bool{"ev-000000.json": {}, "ev-000007.json": {true, false}, "ev-000009.json": {true, true}} {
			r := records(t, all[name])[0]
			_, grid := r["grid"]
			_, v2g := r["v2g"]
			if got := [2]bool{grid, v2g}; got != want {
				t.Errorf("%s has grid and v2g: %v, want %v", name, got, want)
			}
		}
	})
	t.Run("some_records_are_dirty_when_asked_for", func(t *testing.T) {
		made, _ := write(t, Options{Records: 1000, Files: 4, Seed: 4, Dirty: 10})
		if made.Dirty < 50 || made.Dirty > 150 {
			t.Errorf("%d of 1000 are dirty, want about 100", made.Dirty)
		}
	})
	t.Run("the_same_each_time", func(t *testing.T) {
		o := Options{Records: 300, Files: 5, Seed: 5, Evolve: true, Dirty: 20, Gzip: true}
		_, a := write(t, o)
		_, b := write(t, o)
		sameFiles(t, a, b)
	})
}
