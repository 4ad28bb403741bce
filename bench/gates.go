package main

import (
	"fmt"
	"os"
	"text/tabwriter"
)

// gate is a promise of silt's, and whether it was kept.
type gate struct {
	what      string
	got, want float64
	op        string
	state     state
}

type state string

const (
	kept    state = "kept"
	broken  state = "BROKEN"
	unknown state = "not measured"
)

type gates []gate

// atLeast is a gate for how many times as much another needs; got 0 is one that was not measured.
func (g *gates) atLeast(what string, got, want float64) {
	s := broken
	switch {
	case got == 0:
		s = unknown
	case got >= want:
		s = kept
	}
	*g = append(*g, gate{what, got, want, "at least", s})
}

func (g *gates) atMost(what string, got, want float64) {
	s := broken
	if got <= want {
		s = kept
	}
	*g = append(*g, gate{what, got, want, "at most", s})
}

// report prints the gates. Its error is that one is broken.
func (g gates) report(enforce bool) error {
	if len(g) == 0 {
		return nil
	}
	fmt.Print("\nGates; times are by silt's\n\n")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	n := 0
	for _, x := range g {
		fmt.Fprintf(w, "%s\t%s %.4g\t%.4g\t%s\n", x.what, x.op, x.want, x.got, x.state)
		if x.state == broken {
			n++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if n > 0 && enforce {
		return fmt.Errorf("%d of %d gates are broken", n, len(g))
	}
	return nil
}
