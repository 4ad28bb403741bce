package delta

import (
	"fmt"
	"net/url"
	"path"
	"strings"
)

// decodePath returns the key that the path of an add or remove names, relative to the table.
// Source: protocol, "Add File and Remove File": a path is a URI.
func decodePath(p string) (key string, err error) {
	if isAbsolute(p) {
		return "", fmt.Errorf("data file %s lies outside the table", p)
	}
	key, err = url.PathUnescape(p)
	if err != nil {
		return "", fmt.Errorf("path of a data file: %w", err)
	}
	for strings.HasPrefix(key, "./") {
		key = key[len("./"):]
	}
	if hasDots(key) {
		key = path.Clean(key)
	}
	if key == "" || key == ".." || key[0] == '/' || strings.HasPrefix(key, "../") || strings.ContainsRune(key, 0) {
		return "", fmt.Errorf("data file %q lies outside the table", p)
	}
	return key, nil
}

// hasDots reports whether a part of the key leads upwards.
func hasDots(key string) bool {
	return strings.HasPrefix(key, "../") || strings.HasSuffix(key, "/..") || strings.Contains(key, "/../") || key == ".."
}

// isAbsolute reports whether the path is an absolute URI or an absolute path of a file system.
func isAbsolute(p string) bool {
	if strings.HasPrefix(p, "/") {
		return true
	}
	i := strings.IndexByte(p, ':')
	return i > 0 && strings.HasPrefix(p[i:], ":/") && !strings.ContainsAny(p[:i], "/%")
}

// canonicalPath is the form in which two spellings of one path are equal: decoded, and with an
// absolute one in the shortest form of its URI.
func canonicalPath(p string) string {
	if !strings.ContainsAny(p, "%:/") {
		return p
	}
	decoded, err := url.PathUnescape(p)
	if err != nil {
		decoded = p
	}
	if !isAbsolute(p) {
		return strings.TrimPrefix(decoded, "./")
	}
	scheme, rest, ok := strings.Cut(decoded, ":/")
	if !ok || strings.HasPrefix(decoded, "/") {
		scheme, rest = "file", decoded
	}
	return scheme + ":/" + strings.TrimPrefix(path.Clean("/"+rest), "/")
}

// encodePath is the inverse of decodePath: what is not allowed in a URI path is percent-encoded.
func encodePath(key string) string {
	u := url.URL{Path: key}
	return strings.TrimPrefix(u.EscapedPath(), "./") // EscapedPath guards a colon in the first segment
}
