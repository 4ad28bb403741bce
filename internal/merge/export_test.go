package merge

// WithHashBits returns options under which keys have hashes of so few bits that many have the same.
func WithHashBits(o Options, bits int) Options {
	o.hashBits = bits
	return o
}
