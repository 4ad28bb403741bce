//go:build !linux

package objstore

// openPlain is for systems on which it is known to be worth it.
func (d *Dir) openPlain(string) (openFile, version) { return nil, version{} }
