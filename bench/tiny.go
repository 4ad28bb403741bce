package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/siltlake/silt/objstore/s3store/s3test"
)

// tinyFiles is the number of files of part tiny, each of about tinySize bytes: a record or two.
const (
	tinyFiles = 20_000
	tinySize  = 2_000
)

// tinyPart loads very small files, from disk and from a store that speaks S3.
func tinyPart(config) *part {
	return &part{"tiny", func(c config, peers []*contender, g *gates) error {
		d, err := c.data(tinyFiles*tinySize, tinyFiles)
		if err != nil {
			return err
		}
		url, stop, err := c.serve(d.dir)
		if err != nil {
			return err
		}
		defer stop()
		remote := &contender{key: "s3", name: "silt, from an S3 server", command: func(_, out string) *exec.Cmd {
			cmd := c.loads("s3://landing/", out)
			cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL="+url, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test")
			return cmd
		}}
		r, err := c.load(d, append([]*contender{remote}, peers...))
		if err != nil {
			return err
		}
		spark := float64(r["spark"].cpu)
		g.atLeast("files of 2 KB: the processor time of Spark", spark/float64(r["silt"].cpu), 20)
		g.atLeast("files of 2 KB: that of Spark from disk by that of silt from S3", spark/float64(r["s3"].cpu), 20)
		return nil
	}}
}

// serve starts a server that has the files of a folder in its bucket "landing".
func (c *config) serve(dir string) (url string, stop func(), err error) {
	cmd := c.child("serve", dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = in.Close() // ends it
		_ = cmd.Wait()
	}
	if url, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		stop()
		return "", nil, fmt.Errorf("the S3 server does not start: %w", err)
	}
	return strings.TrimSpace(url), stop, nil
}

// serveFiles is the server, until its standard input ends: DIR.
func serveFiles(args []string) error {
	s := s3test.New("landing")
	defer s.Close()
	entries, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(args[0], e.Name()))
		if err != nil {
			return err
		}
		s.Put("landing", e.Name(), string(content))
	}
	fmt.Println(s.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
