// Package errorpages holds one page for each error code: what happened, an example, and the way out.
// "silt explain" shows them.
package errorpages

import "embed"

// FS holds the pages as SILT-1234.md.
//
//go:embed *.md
var FS embed.FS
