package cli

import (
	"bytes"
	"compress/gzip"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the outputs that scripts compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"silt": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)) },
	})
}

// TestScripts runs the real command on the scripts in testdata/script. Those with [sql] need a build
// with the SQL engine.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// cut-gzip FILE writes a gzip file that ends too early.
			"cut-gzip": func(ts *testscript.TestScript, _ bool, args []string) {
				var b bytes.Buffer
				w := gzip.NewWriter(&b)
				w.Write([]byte(strings.Repeat(`{"id":2}`+"\n", 1000)))
				ts.Check(w.Close())
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes()[:b.Len()-12], 0o666))
			},
			// remove-data FOLDER removes the data files of a table.
			"remove-data": func(ts *testscript.TestScript, _ bool, args []string) {
				files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*.parquet"))
				ts.Check(err)
				for _, f := range files {
					ts.Check(os.Remove(f))
				}
			},
			// await FILE waits until there is such a file.
			"await": func(ts *testscript.TestScript, _ bool, args []string) {
				for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
					if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
						return
					}
				}
				ts.Fatalf("there is no %s after 30 s", args[0])
			},
		},
		Condition: func(name string) (bool, error) {
			if name == "sql" {
				return hasSQL, nil
			}
			if program, ok := strings.CutPrefix(name, "program:"); ok {
				_, err := exec.LookPath(program)
				return err == nil, nil
			}
			return false, nil
		},
	})
}
