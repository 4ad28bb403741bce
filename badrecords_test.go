package silt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// below returns the lines of all files below a folder, with paths of the lab cut off, by the folders that
// the files are in.
func below(t *testing.T, l *lab, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Base(filepath.Dir(name))
		out[folder] += strings.ReplaceAll(string(text), "file://"+filepath.ToSlash(l.cfg.Source)+"/", "")
	}
	return out
}

func TestBadRecordsPath(t *testing.T) {
	for name, options := range map[string]map[string]string{
		"there_is_no_column_for_them":           {},
		"it_wins_over_the_corrupt_column":       {"schemaHints": "_corrupt_record string"},
		"without_rescued_data_misfits_go_there": {"schema": "a bigint", "schemaEvolutionMode": "none"},
	} {
		for _, compat := range []string{"", "autoloader"} {
			t.Run(strings.TrimSuffix(name+"_under_compat_"+compat, "_under_compat_"), func(t *testing.T) {
				l := newLab(t)
				bad := filepath.Join(t.TempDir(), "bad")
				options["badRecordsPath"] = bad
				l.cfg.Compat, l.cfg.Options = compat, options
				text, n := `{"a":1}`+"\n"+`["no`+"\n"+`{"a":2}`+"\n", 1
				if options["schema"] != "" {
					text, n = text+`{"a":"x"}`+"\n", 2
				}
				l.file("1.json", text)
				l.run()
				got := below(t, l, bad)
				if len(l.rows()) != 2 || len(got) != 1 || strings.Count(got["bad_records"], "\n") != n ||
					!strings.HasPrefix(got["bad_records"], `{"path":"1.json","record":"[\"no","reason":"`) {
					t.Errorf("rows %v, files %v", l.rows(), got)
				}
				l.file("2.json", `{"a":3}`+"\n")
				l.run()
				if diff := cmp.Diff(got, below(t, l, bad)); diff != "" {
					t.Errorf("a batch without bad records changes the files: %s", diff)
				}
			})
		}
	}
	t.Run("it_cannot_lie_in_the_source", func(t *testing.T) {
		l := newLab(t)
		l.cfg.Options = map[string]string{"badRecordsPath": filepath.Join(l.cfg.Source, "bad")}
		l.file("1.json", `{"a":1}`)
		if _, err := l.tryRun(); err == nil || !strings.Contains(err.Error(), "inside the source") {
			t.Error(err)
		}
	})
}
