package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExample does what examples/ev-charging/README.md says, and compares what silt says with it.
func TestExample(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ev-charging")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "examples", "ev-charging"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "landing"), 0o777); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var last result
	for _, file := range []string{"full.json", "changes.json"} {
		copyFile(t, filepath.Join(dir, "export", file), filepath.Join(dir, "landing", file))
		if last = run(t, siltCommand(t, dir, "run", "-c", "silt.yml")); last.code != 0 {
			t.Fatalf("silt run after %s: %v", file, last)
		}
	}
	_, says, _ := strings.Cut(string(page), "The run says what it did:\n\n```\n")
	says, _, _ = strings.Cut(says, "```")
	if says == "" || !strings.Contains(last.stdout, says) {
		t.Errorf("the README says\n%sand the run\n%s", says, last.stdout)
	}

	events := lake(dir, "main.telemetry.events")
	want := `{"event_id": "ev-0001", "soc": 25.0}
{"event_id": "ev-0003", "soc": 35.0}
{"event_id": "ev-0004", "grid_freq_hz": 50.01, "soc": 47.0}
{"event_id": "ev-0005", "soc": 45.0}
{"event_id": "ev-0006", "soc": 50.0}
{"event_id": "ev-0007", "soc": 55.0}
{"event_id": "ev-0008", "soc": 60.0}
{"event_id": "ev-0009", "soc": 41.5}
{"event_id": "ev-0010", "soc": 77.0}
`
	if got := rows(t, events, "--columns", "event_id,grid_freq_hz,soc"); got != want {
		t.Errorf("the table has\n%s", got)
	}
	if n := strings.Count(rows(t, events+"_quarantine"), "\n"); n != 1 {
		t.Errorf("%d rows in quarantine, want the torn line", n)
	}
	for _, left := range []string{"landing", "archive"} {
		n := 0
		err := filepath.WalkDir(filepath.Join(dir, left), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return err
		})
		if want := map[string]int{"landing": 0, "archive": 2}[left]; n != want || err != nil {
			t.Errorf("%d files in %s, want %d: %v", n, left, want, err)
		}
	}
}
