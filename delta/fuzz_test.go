package delta

import (
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// The fuzz targets are inside the package, because what they feed is not exported. None may panic, hang
// or take memory that the input does not justify.

func FuzzLogEntry(f *testing.F) {
	f.Add([]byte(`{"commitInfo":{"operation":"WRITE"}}` + "\n" + `{"add":{"path":"a%20b","partitionValues":{"p":null},"size":1,"modificationTime":2,"dataChange":true,"stats":"{}"}}`))
	f.Add([]byte(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}`))
	f.Add([]byte(`{"metaData":{"id":"x","schemaString":"{\"type\":\"struct\",\"fields\":[]}","configuration":null}}` + "\n" + `{"txn":{"appId":"a","version":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		store := new(objstore.Mem)
		if _, err := objstore.PutBytes(t.Context(), store, commitKey(0), text, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
		s, err := Load(t.Context(), store, LoadOptions{})
		if err != nil {
			return
		}
		for _, err := range s.Scan(ScanOptions{}).Batches(t.Context()) {
			if err != nil {
				return
			}
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	store := new(objstore.Mem)
	tx, err := NewTable(store, TableOptions{Schema: schema.NewStruct(schema.Nullable("id", schema.Long))})
	if err != nil {
		f.Fatal(err)
	}
	tx.Add(&Add{Path: "a", PartitionValues: map[string]*string{}, Tags: map[string]string{"k": "v"}})
	s, err := tx.Commit(f.Context(), nil)
	if err == nil {
		err = s.WriteCheckpoint(f.Context())
	}
	if err != nil {
		f.Fatal(err)
	}
	content, _, err := objstore.ReadAll(f.Context(), store, checkpointKey(0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		store := new(objstore.Mem)
		if _, err := objstore.PutBytes(t.Context(), store, checkpointKey(3), content, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
		s, err := Load(t.Context(), store, LoadOptions{})
		if err != nil {
			return
		}
		for _, err := range s.Files(t.Context()) {
			if err != nil {
				return
			}
		}
	})
}

func FuzzDataFile(f *testing.F) {
	content, err := os.ReadFile(filepath.Join("testdata", "int96.parquet"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	log := `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"ts\",\"type\":\"timestamp\",\"nullable\":true,\"metadata\":{}},{\"name\":\"l\",\"type\":{\"type\":\"array\",\"elementType\":\"timestamp\",\"containsNull\":true},\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{}}}
{"add":{"path":"a","partitionValues":{},"size":0,"modificationTime":2,"dataChange":true}}`
	f.Fuzz(func(t *testing.T, content []byte) {
		store := new(objstore.Mem)
		for key, content := range map[string][]byte{"a": content, commitKey(0): []byte(log)} {
			if _, err := objstore.PutBytes(t.Context(), store, key, content, objstore.Cond{}); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Load(t.Context(), store, LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range s.Scan(ScanOptions{}).Batches(t.Context()) {
			if err != nil {
				return
			}
			rec.Release()
		}
	})
}

func FuzzDeletionVector(f *testing.F) {
	f.Add([]byte{0xD1, 0xD3, 0x39, 0x64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3A, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 7, 0})
	f.Fuzz(func(t *testing.T, content []byte) {
		if rows, err := parseDeletionVector(content); err == nil {
			rows.GetCardinality()
		}
	})
}

func FuzzTruncate(f *testing.F) {
	f.Add("", 0)
	f.Add("\U0010FFFF\U0010FFFFx", 1)
	f.Fuzz(func(t *testing.T, s string, prefix int) {
		if !utf8.ValidString(s) || prefix < 0 || prefix > 1000 {
			return
		}
		if lo := truncateMin(s, prefix); lo > s {
			t.Errorf("the lower bound %q of %q is above it", lo, s)
		}
		if hi, ok := truncateMax(s, prefix); ok && hi < s {
			t.Errorf("the upper bound %q of %q is below it", hi, s)
		}
	})
}
