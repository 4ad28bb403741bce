//go:build unix

package checkpoint

import "syscall"

// pidGone reports whether there is no such process on this host.
func pidGone(pid int) bool {
	return pid > 0 && syscall.Kill(pid, 0) == syscall.ESRCH
}
