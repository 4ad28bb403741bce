//go:build !unix

package objstore

import (
	"errors"
	"io/fs"
	"os"
)

const nonblock = 0

func inode(fs.FileInfo) uint64 { return 0 }

func links(fs.FileInfo) uint64 { return 0 }

func whileLocked(*os.Root, string, func() error) error {
	return errors.New("a file cannot be replaced by version on this system")
}
