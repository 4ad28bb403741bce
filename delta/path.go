package delta

import (
	"fmt"
	"net/url"
	"strings"
)

// decodePath returns the key that the path of an add or remove names, relative to the table.
// Source: protocol, "Add File and Remove File": a path is a URI.
func decodePath(path string) (key string, err error) {
	if i := strings.Index(path, ":/"); i > 0 || strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("data file %s lies outside the table", path)
	}
	key, err = url.PathUnescape(path)
	if err != nil {
		return "", fmt.Errorf("path of a data file: %w", err)
	}
	return key, nil
}

// encodePath is the inverse of decodePath: what is not allowed in a URI path is percent-encoded.
func encodePath(key string) string {
	u := url.URL{Path: key}
	return strings.TrimPrefix(u.EscapedPath(), "./") // EscapedPath guards a colon in the first segment
}
