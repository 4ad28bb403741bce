//go:build crashpoints

package crash_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/siltlake/silt/internal/crash"
)

// TestPoint starts this test binary again, which reaches two points three times each and says so.
func TestPoint(t *testing.T) {
	if os.Getenv("SILT_CRASH_CHILD") != "" {
		for range 3 {
			for _, name := range []string{"after-sources", "after-offsets"} {
				os.Stdout.WriteString(name + " ")
				crash.Point(name)
			}
		}
		os.Stdout.WriteString("end ")
		os.Exit(0)
	}
	for _, c := range []struct{ name, at, want, exit string }{
		{"no_point_is_named", "", "after-sources after-offsets after-sources after-offsets after-sources after-offsets end", ""},
		{"the_first_time", "after-offsets", "after-sources after-offsets", "signal: killed"},
		{"the_third_time", "after-sources:3", "after-sources after-offsets after-sources after-offsets after-sources", "signal: killed"},
		{"a_point_that_does_not_exist", "nowhere", "after-sources", "exit status 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestPoint$")
			cmd.Env = append(os.Environ(), "SILT_CRASH_CHILD=1", "SILT_CRASH_AT="+c.at)
			out, err := cmd.Output()
			got, _, _ := strings.Cut(strings.TrimSpace(string(out)), " ---") // the rest of it is a panic
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			var exit string
			if err != nil {
				exit = err.Error()
			}
			if exit != c.exit {
				t.Errorf("got exit %q, want %q", exit, c.exit)
			}
		})
	}
}

func TestAnUnlistedNamePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	crash.Point("nowhere")
}
