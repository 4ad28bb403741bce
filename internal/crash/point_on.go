//go:build crashpoints

package crash

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Point kills the process if SILT_CRASH_AT says so. A name that [Points] does not list is a panic.
func Point(name string) {
	if !slices.Contains(Points, name) {
		panic("crash point " + name + " is not listed in crash.Points")
	}
	if target.reached(name) {
		kill()
	}
}

// target is read once, at the first point.
var target crashAt

type crashAt struct {
	once sync.Once
	name string
	mu   sync.Mutex
	left int // times the point is still to be reached
}

func (c *crashAt) reached(name string) bool {
	c.once.Do(func() {
		name, count, _ := strings.Cut(os.Getenv("SILT_CRASH_AT"), ":")
		c.name = name
		c.left = 1
		if count != "" {
			n, err := strconv.Atoi(count)
			if err != nil || n < 1 {
				panic(fmt.Sprintf("SILT_CRASH_AT: %q is not a count", count))
			}
			c.left = n
		}
		if c.name != "" && !slices.Contains(Points, c.name) {
			panic("SILT_CRASH_AT: there is no crash point " + c.name)
		}
	})
	if name != c.name {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
	return c.left == 0
}

func kill() {
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // the signal is on its way
}
