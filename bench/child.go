package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/siltlake/silt/internal/decode"
	"github.com/siltlake/silt/internal/telemetry"
	"github.com/siltlake/silt/schema"
)

// childVariable names what this program does instead when it is started by itself, in a process of its
// own that can be measured.
const childVariable = "SILT_BENCH_CHILD"

var children = map[string]func(args []string) error{
	"generate":   generate,
	"schema":     findSchema,
	"decode":     decodeAll,
	"table":      makeTable,
	"append":     appendRows,
	"checkpoint": checkpoint,

	"telemetry-table":   telemetryTable,
	"telemetry-changes": telemetryChanges,
	"narrow-table":      narrowTable,
	"narrow-changes":    narrowChanges,
	"vectors":           allowVectors,
	"count":             countRows,

	"serve": serveFiles,
}

// child returns a command that runs one of the children.
func (c *config) child(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(c.self, args...)
	cmd.Env = append(os.Environ(), childVariable+"="+name, "GOMAXPROCS="+strconv.Itoa(c.threads))
	return cmd
}

// generate makes data: DIR BYTES FILES SEED EVOLVE.
func generate(args []string) error {
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	files, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[3], 10, 64)
	if err != nil {
		return err
	}
	_, err = telemetry.Generate(args[0], telemetry.Options{Bytes: size, Files: files, Seed: seed, Evolve: args[4] == "true"})
	return err
}

// sources are the NDJSON files in a folder.
func sources(dir string) (files []decode.File, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s: there is no file", dir)
	}
	for _, name := range names {
		files = append(files, decode.File{URI: name, Open: func(context.Context) (io.ReadCloser, error) { return os.Open(name) }})
	}
	return files, err
}

// findSchema writes the schema of all files to a file: DIR FILE.
func findSchema(args []string) error {
	files, err := sources(args[0])
	if err != nil {
		return err
	}
	r, err := read(files, decode.Options{Schema: &schema.Struct{}, Observe: true})
	if err != nil {
		return err
	}
	text, err := json.Marshal(r.Observed()[""].Struct())
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], text, 0o666)
}

// readSchema reads a schema as inferred ones are kept.
func readSchema(path string) (*schema.Struct, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := new(schema.Struct)
	return s, json.Unmarshal(text, s)
}

// decodeAll reads files into Arrow records as a load does, with rescued data: DIR SCHEMA THREADS.
func decodeAll(args []string) error {
	s, err := readSchema(args[1])
	if err != nil {
		return err
	}
	files, err := sources(args[0])
	if err != nil {
		return err
	}
	threads, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	var g errgroup.Group
	for i := range threads {
		g.Go(func() error {
			_, err := read(files[len(files)*i/threads:len(files)*(i+1)/threads], decode.Options{Schema: s, Rescue: "_rescued_data", Observe: true})
			return err
		})
	}
	return g.Wait()
}

// read reads all records of files.
func read(files []decode.File, o decode.Options) (*decode.Reader, error) {
	r, err := decode.NewReader(files, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		b, err := r.Next(context.Background())
		if err == io.EOF {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
		b.Record.Release()
	}
}
