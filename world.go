package silt

import (
	"crypto/rand"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/siltlake/silt/objstore"
)

// world is what a pipeline finds around it. The zero world is the real one.
type world struct {
	open  func(location string) objstore.Store // nil: folders of this machine, and S3
	clock func() time.Time                     // nil: time.Now
}

func (w world) now() time.Time {
	if w.clock == nil {
		return time.Now()
	}
	return w.clock()
}

// newULID is a name that no other process makes, and that sorts by its time.
func newULID() string {
	return ulid.MustNew(ulid.Now(), rand.Reader).String()
}
