package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/siltlake/silt/internal/telemetry"
)

// TestDemo runs what "make demo" runs and compares what it prints.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	cmd := exec.Command("bash", "demo/demo.sh", silt(t), dir)
	cmd.Env = environment()
	r := run(t, cmd)
	if r.code != 0 {
		t.Fatal(r)
	}
	got := steady(strings.ReplaceAll(r.stdout, dir, "DIR"))
	const golden = "demo/golden.txt"
	if *update {
		write(t, golden, []byte(got))
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	sameLines(t, golden, got, string(want))
}

// steady replaces what is another each time.
func steady(text string) string {
	for _, r := range []struct{ pattern, by string }{
		{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d| UTC)?`, "TIME"},
		{`\b[0-9A-HJKMNP-TV-Z]{26}\b`, "RUN"},
		{`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`, "UUID"},
		{`\bload-[0-9a-f]{8}\b`, "load-HASH"},
		{`\b\d+-[0-9a-f]{8}-\d+\b`, "ID"},
		{`\b\d+(\.\d+)? ?(ms|s)\b`, "DURATION"},
		{`\b\d+(\.\d+)? [KMG]i?B/s`, "RATE"},
		{` +`, " "}, // columns are as wide as what is in them
		{`-{2,}|─{2,}`, "--"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.by)
	}
	return text
}

// TestDemoIsDocumented holds the pages to the commands that are tested.
func TestDemoIsDocumented(t *testing.T) {
	text, err := os.ReadFile("demo/commands")
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.Split(strings.TrimSpace(string(text)), "\n")
	t.Run("in_the_readme", func(t *testing.T) {
		readme, err := os.ReadFile("../README.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commands {
			if !strings.Contains(string(readme), "\n"+c+"\n") {
				t.Errorf("README.md does not have the line\n%s", c)
			}
		}
	})
	t.Run("by_the_demo_itself", func(t *testing.T) {
		t.Chdir(t.TempDir())
		sum, err := telemetry.WriteDemo("silt-demo")
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range sum.Next {
			for _, c := range step.Commands {
				if !strings.Contains("\n"+string(text), "\n"+c+"\n") {
					t.Errorf("the demo tells people to try what is not tested:\n%s", c)
				}
			}
		}
	})
}
