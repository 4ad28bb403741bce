//go:build !unix

package checkpoint

// pidGone reports whether there is no such process on this host; here nobody can tell.
func pidGone(int) bool { return false }
