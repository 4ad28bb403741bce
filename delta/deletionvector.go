package delta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/google/uuid"

	"github.com/siltlake/silt/objstore"
)

// The kinds of storage of deletion vectors. Source: protocol, "Deletion Vector Descriptor Schema".
const (
	dvInline   = "i"
	dvRelative = "u"
	dvAbsolute = "p"
)

// dvMagic starts the bytes of a deletion vector. Source: protocol, "Deletion Vector Format".
const dvMagic = 1681511377

// maxDeletionVector bounds what is read of one; a roaring bitmap of every other row of 2^31 is smaller.
const maxDeletionVector = 1 << 30

// readDeletionVector returns the positions of the rows of a data file that are deleted.
func (s *Snapshot) readDeletionVector(ctx context.Context, d *DeletionVectorDescriptor) (*roaring64.Bitmap, error) {
	content, err := s.deletionVectorBytes(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("deletion vector: %w", err)
	}
	rows, err := parseDeletionVector(content)
	if err != nil {
		return nil, fmt.Errorf("deletion vector: %w", err)
	}
	if n := int64(rows.GetCardinality()); n != d.Cardinality {
		return nil, fmt.Errorf("deletion vector: it has %d rows, and the log says %d", n, d.Cardinality)
	}
	return rows, nil
}

func parseDeletionVector(content []byte) (rows *roaring64.Bitmap, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("broken bitmap: %v", p)
		}
	}()
	if len(content) < 4 || binary.LittleEndian.Uint32(content) != dvMagic {
		return nil, errors.New("it does not start with the number of the format")
	}
	// Room is made for as many buckets as the count says, so it is checked first: each has a key of four
	// bytes, and a bitmap of eight or more.
	if content = content[4:]; len(content) < 8 || binary.LittleEndian.Uint64(content) > uint64(len(content)-8)/12 {
		return nil, errors.New("broken bitmap: it is cut off")
	}
	rows = roaring64.New()
	if err := rows.UnmarshalBinary(content); err != nil {
		return nil, fmt.Errorf("broken bitmap: %w", err)
	}
	return rows, nil
}

func (s *Snapshot) deletionVectorBytes(ctx context.Context, d *DeletionVectorDescriptor) ([]byte, error) {
	if d.SizeInBytes < 0 || d.SizeInBytes > maxDeletionVector {
		return nil, fmt.Errorf("a size of %d bytes", d.SizeInBytes)
	}
	switch d.StorageType {
	case dvInline:
		content, err := decodeZ85(d.PathOrInlineDV)
		if err == nil && len(content) < int(d.SizeInBytes) {
			err = fmt.Errorf("it has %d bytes, and the log says %d", len(content), d.SizeInBytes)
		}
		if err != nil {
			return nil, err
		}
		return content[:d.SizeInBytes], nil
	case dvRelative:
		key, err := deletionVectorKey(d.PathOrInlineDV)
		if err != nil {
			return nil, err
		}
		return readFramedVector(ctx, s.store, key, d)
	case dvAbsolute:
		store, key, err := s.locate(d.PathOrInlineDV)
		if err != nil {
			return nil, err
		}
		return readFramedVector(ctx, store, key, d)
	}
	return nil, fmt.Errorf("unknown storage type %q", d.StorageType)
}

// deletionVectorKey returns the key of the file with the encoded name: a prefix of any length, and
// twenty characters for a UUID.
func deletionVectorKey(name string) (string, error) {
	if len(name) < 20 {
		return "", fmt.Errorf("%q is no name of a file", name)
	}
	prefix := name[:len(name)-20]
	id, err := decodeZ85(name[len(name)-20:])
	if err != nil {
		return "", err
	}
	u, err := uuid.FromBytes(id)
	if err != nil {
		return "", err
	}
	if prefix != "" {
		prefix += "/"
	}
	return prefix + "deletion_vector_" + u.String() + ".bin", nil
}

// readFramedVector reads a vector between its size and its checksum.
func readFramedVector(ctx context.Context, store objstore.Store, key string, d *DeletionVectorDescriptor) ([]byte, error) {
	size := int64(d.SizeInBytes)
	body, _, err := store.Open(ctx, key, objstore.Range{Off: int64(deref(d.Offset)), Len: 4 + size + 4})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	framed := make([]byte, 4+size+4)
	if _, err := io.ReadFull(body, framed); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if n := binary.BigEndian.Uint32(framed); int64(n) != size {
		return nil, fmt.Errorf("%s: it has %d bytes, and the log says %d", key, n, size)
	}
	content := framed[4 : 4+size]
	if crc32.ChecksumIEEE(content) != binary.BigEndian.Uint32(framed[4+size:]) {
		return nil, fmt.Errorf("%s: wrong checksum", key)
	}
	return content, nil
}

// z85 is the alphabet of the encoding. Source: ZeroMQ RFC 32.
const z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

func decodeZ85(text string) ([]byte, error) {
	if len(text)%5 != 0 {
		return nil, fmt.Errorf("%d characters of Z85, want a multiple of 5", len(text))
	}
	out := make([]byte, 0, len(text)/5*4)
	for ; text != ""; text = text[5:] {
		var v uint64
		for i := range 5 {
			digit := strings.IndexByte(z85, text[i])
			if digit < 0 {
				return nil, fmt.Errorf("%q is no character of Z85", text[i])
			}
			v = v*85 + uint64(digit)
		}
		if v > 1<<32-1 {
			return nil, errors.New("Z85 of more than 32 bits")
		}
		out = binary.BigEndian.AppendUint32(out, uint32(v))
	}
	return out, nil
}
