package delta

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"

	"github.com/siltlake/silt/objstore"
)

// maxInlineVector is the size in bytes up to which a deletion vector stands in the log itself: that is
// less than a file costs to put and to open, and little for a checkpoint to carry.
const maxInlineVector = 256

// maxVectorFile is the size in bytes from which on the next vector goes into another file.
const maxVectorFile = 8 << 20

// propVectors is the property that lets writers make deletion vectors.
const propVectors = "delta.enableDeletionVectors"

// WritesDeletionVectors reports whether rows of the table may be deleted by deletion vectors. Otherwise
// the files they are in have to be written again without them.
func (s *Snapshot) WritesDeletionVectors() bool {
	return s.protocol.supports("deletionVectors") && s.metadata.isTrue(propVectors)
}

// Delete deletes rows of one of the table's data files by their places in it, which [FileRows] tells,
// beside those that are deleted already: the file comes back with another deletion vector, or not at all
// when no row is left. It returns how many rows were not deleted before. A file is given once.
//
// Only for a file of which no row is left does a table need not allow deletion vectors, see
// [Snapshot.WritesDeletionVectors].
func (t *Transaction) Delete(ctx context.Context, file *Add, rows *roaring64.Bitmap) (deleted int64, err error) {
	deleted, err = t.delete(ctx, file, rows)
	if err != nil {
		return 0, fmt.Errorf("delete rows of %s: %w", file.Path, err)
	}
	return deleted, nil
}

func (t *Transaction) delete(ctx context.Context, file *Add, rows *roaring64.Bitmap) (int64, error) {
	if t.read == nil {
		return 0, errors.New("the table does not exist yet")
	}
	key := canonicalPath(file.Path)
	if slices.ContainsFunc(t.removes, func(r *Remove) bool { return canonicalPath(r.Path) == key }) {
		return 0, errors.New("the transaction removes the file already")
	}
	file, total, err := t.read.counted(ctx, file)
	if err != nil {
		return 0, err
	}
	all := rows.Clone()
	if !all.IsEmpty() && all.Maximum() >= uint64(total) {
		return 0, fmt.Errorf("row %d of a file of %d", all.Maximum(), total)
	}
	var before int64
	if file.DeletionVector != nil {
		old, err := t.read.readDeletionVector(ctx, file.DeletionVector)
		if err != nil {
			return 0, err
		}
		before = int64(old.GetCardinality())
		all.Or(old)
	}
	n := int64(all.GetCardinality())
	now := time.Now()
	switch {
	case n == before:
		return 0, nil
	case n == total:
		t.Remove(file.Remove(now, true))
		return n - before, nil
	case !t.read.WritesDeletionVectors():
		return 0, fmt.Errorf("the table does not allow deletion vectors (%s)", propVectors)
	}
	again := *file
	if again.DeletionVector, err = t.vectors.add(ctx, t.store, all); err != nil {
		return 0, err
	}
	again.DataChange = true
	again.Stats = looseStats(file.Stats, total)
	t.Remove(file.Remove(now, true))
	t.Add(&again)
	return n - before, nil
}

// counted returns the file and the number of its rows, deleted ones included. Without statistics the
// file itself is asked.
func (s *Snapshot) counted(ctx context.Context, file *Add) (*Add, int64, error) {
	if n, ok := file.records(); ok {
		return file, n, nil
	}
	store, key, err := s.locate(file.Path)
	if err != nil {
		return nil, 0, err
	}
	f, err := openParquet(ctx, memory.DefaultAllocator, store, key, file.Size)
	if err != nil {
		return nil, 0, err
	}
	return file, f.rows(), nil
}

// looseStats returns the statistics of a file some rows of which are deleted: they count all rows, and
// their bounds need not be met by any. Source: protocol, "Per-file Statistics".
func looseStats(stats string, rows int64) string {
	var s struct {
		NumRecords  int64           `json:"numRecords"`
		MinValues   json.RawMessage `json:"minValues,omitempty"`
		MaxValues   json.RawMessage `json:"maxValues,omitempty"`
		NullCount   json.RawMessage `json:"nullCount,omitempty"`
		TightBounds bool            `json:"tightBounds"`
	}
	if stats != "" && json.Unmarshal([]byte(stats), &s) != nil {
		s.MinValues, s.MaxValues, s.NullCount = nil, nil, nil
	}
	s.NumRecords, s.TightBounds = rows, false
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Sprintf(`{"numRecords":%d,"tightBounds":false}`, rows)
	}
	return string(text)
}

// vectorWriter puts deletion vectors into files, many into one.
type vectorWriter struct {
	id      uuid.UUID
	content []byte // of the file that is not written yet
}

// add returns the descriptor of a deletion vector that is, or will be after flush, in a file.
func (w *vectorWriter) add(ctx context.Context, store objstore.Store, rows *roaring64.Bitmap) (*DeletionVectorDescriptor, error) {
	rows.RunOptimize()
	bitmap, err := rows.ToBytes()
	if err != nil {
		return nil, err
	}
	vector := append(binary.LittleEndian.AppendUint32(nil, dvMagic), bitmap...)
	d := &DeletionVectorDescriptor{SizeInBytes: int32(len(vector)), Cardinality: int64(rows.GetCardinality())}
	switch {
	case len(vector) > maxDeletionVector:
		return nil, fmt.Errorf("a deletion vector of %d bytes", len(vector))
	case len(vector) <= maxInlineVector:
		d.StorageType, d.PathOrInlineDV = dvInline, encodeZ85(vector)
		return d, nil
	}
	if len(w.content) > 0 && len(w.content)+len(vector) > maxVectorFile {
		if err := w.flush(ctx, store); err != nil {
			return nil, err
		}
	}
	if len(w.content) == 0 {
		w.id, w.content = uuid.New(), []byte{dvFileVersion}
	}
	offset := int32(len(w.content))
	d.StorageType, d.PathOrInlineDV, d.Offset = dvRelative, encodeZ85(w.id[:]), &offset
	w.content = binary.BigEndian.AppendUint32(w.content, uint32(len(vector)))
	w.content = append(w.content, vector...)
	w.content = binary.BigEndian.AppendUint32(w.content, crc32.ChecksumIEEE(vector))
	return d, nil
}

// dvFileVersion starts a file of deletion vectors. Source: protocol, "Deletion Vector File Storage
// Format".
const dvFileVersion = 1

// flush puts the file that is not written yet into the store.
func (w *vectorWriter) flush(ctx context.Context, store objstore.Store) error {
	if len(w.content) == 0 {
		return nil
	}
	key := "deletion_vector_" + w.id.String() + ".bin"
	if _, err := objstore.PutBytes(ctx, store, key, w.content, objstore.Cond{}); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	w.content = nil
	return nil
}

// encodeZ85 writes bytes, filled up with zeros to a multiple of four, as text.
func encodeZ85(content []byte) string {
	out := make([]byte, 0, (len(content)+3)/4*5)
	for len(content) > 0 {
		var four [4]byte
		content = content[copy(four[:], content):]
		v := binary.BigEndian.Uint32(four[:])
		var digits [5]byte
		for i := range digits {
			digits[4-i] = z85[v%85]
			v /= 85
		}
		out = append(out, digits[:]...)
	}
	return string(out)
}
