// Command silt loads nested JSON files into Delta Lake tables.
package main

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/siltlake/silt/internal/cli"
)

// softLimit is the size of Go's memory, but for what is in use, near which garbage is collected more often
// than when the memory has doubled.
const softLimit = 320 << 20

// gcPercent is by how much the memory grows before garbage is collected: most of it is buffers that are
// used again, so that little is won by looking often.
const gcPercent = 200

func main() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 { // GOMEMLIMIT is not set
		debug.SetMemoryLimit(softLimit)
	}
	if given := debug.SetGCPercent(gcPercent); given != 100 { // GOGC is set
		debug.SetGCPercent(given)
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
