package silt

import (
	"time"

	"github.com/siltlake/silt/objstore"
)

// In is the Config for another world: one with its own stores and clock.
func (c Config) In(open func(location string) objstore.Store, clock func() time.Time) Config {
	c.world = world{open, clock}
	return c
}
