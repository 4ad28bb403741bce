// Command silt loads nested JSON files into Delta Lake tables.
package main

import (
	"os"

	"github.com/siltlake/silt/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
