package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, what it was built from, and whether it has SQL",
		Args:  arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			v := built()
			if a.machine() {
				return a.printJSON(v)
			}
			sql := "no (build with -tags duckdb_arrow and cgo)"
			if v.SQL {
				sql = "yes"
			}
			fmt.Fprintf(a.stdout, "silt %s\ncommit   %s\ngo       %s %s\nsql      %s\n", v.Version, v.Commit, v.Go, v.Platform, sql)
			return nil
		},
	}
}

// build is what a binary was made from.
type build struct {
	Schema   string `json:"schema"`
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	SQL      bool   `json:"sql"`
}

func built() build {
	b := build{Schema: "silt.version/v1", Version: silt.Version, Commit: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, SQL: hasSQL}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}
