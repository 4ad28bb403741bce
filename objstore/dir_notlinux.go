//go:build !linux

package objstore

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// openPlain is for systems on which it is known to be worth it.
func (d *Dir) openPlain(string) (openFile, version) { return nil, version{} }

// readEntries returns what is in a folder, in any order.
func readEntries(folder *os.File) ([]dirEntry, error) {
	list, err := folder.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	entries := make([]dirEntry, 0, len(list))
	for _, e := range list {
		switch {
		case strings.HasPrefix(e.Name(), tempPrefix):
		case e.IsDir():
			entries = append(entries, dirEntry{key: e.Name() + "/", folder: true})
		default:
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			entries = append(entries, dirEntry{key: e.Name(), mode: info.Mode().Type(), version: versionOf(info)})
		}
	}
	return entries, nil
}
