package delta

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

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

func FuzzManifest(f *testing.F) {
	table := `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["v2Checkpoint"],"writerFeatures":["v2Checkpoint"]}}
{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}}}
{"checkpointMetadata":{"version":3}}
`
	f.Add([]byte(table+`{"sidecar":{"path":"a.parquet","sizeInBytes":100,"modificationTime":1}}`), []byte("PAR1"))
	f.Add([]byte(table+`{"sidecar":{"path":"../a.parquet","sizeInBytes":-1,"modificationTime":1,"tags":{}}}`+"\n"+`{"add":{"path":"a","partitionValues":{},"size":1,"modificationTime":1,"dataChange":false}}`), []byte{})
	f.Fuzz(func(t *testing.T, manifest, sidecar []byte) {
		store := new(objstore.Mem)
		for key, content := range map[string][]byte{
			logDir + "00000000000000000003.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json": manifest,
			sidecarDir + "a.parquet": sidecar} {
			if _, err := objstore.PutBytes(t.Context(), store, key, content, objstore.Cond{}); err != nil {
				t.Fatal(err)
			}
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
		_ = s.WriteCheckpoint(t.Context())
	})
}

func FuzzChecksum(f *testing.F) {
	f.Add([]byte(`{"txnId":"t","tableSizeBytes":1,"numFiles":1,"numMetadata":1,"numProtocol":1,"setTransactions":[],"domainMetadata":[],"metadata":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}},"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`),
		[]byte(`{"version":3,"size":1,"checksum":"x"}`))
	f.Fuzz(func(t *testing.T, sum, hint []byte) {
		store := new(objstore.Mem)
		for key, content := range map[string][]byte{checksumKey(3): sum, lastCheckpointKey: hint,
			commitKey(3): []byte(`{"commitInfo":{"txnId":"t"}}`)} {
			if _, err := objstore.PutBytes(t.Context(), store, key, content, objstore.Cond{}); err != nil {
				t.Fatal(err)
			}
		}
		checksum := objstore.Object{Key: checksumKey(3)}
		seg := &segment{version: 3, checksum: &checksum, checkpoint: &checkpoint{version: 3, parts: []objstore.Object{{Size: shortLog}}}}
		if c := seg.shortcut(t.Context(), store); c != nil {
			b := &snapshotBuilder{*noTable(store)}
			b.start(3, c)
			_, _ = b.finish()
		}
		_, _ = jsonChecksum(hint)
		_, _ = Load(t.Context(), store, LoadOptions{})
	})
}

func FuzzPath(f *testing.F) {
	for _, p := range []string{"a%20b", "../x", "a/../../x", "s3://b/k", "/etc/passwd", "%2e%2e/x", "a//b", ".", "././", "././x", "%00"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		canonicalPath(p)
		key, err := decodePath(p)
		if err != nil {
			return
		}
		if c := path.Clean("/table/" + key); !strings.HasPrefix(c+"/", "/table/") {
			t.Errorf("%q leads out of the table: %q", p, key)
		}
		if again, err := decodePath(encodePath(key)); err != nil || again != key {
			t.Errorf("%q becomes %q, and then %q, %v", p, key, again, err)
		}
	})
}

func FuzzParsedStatistics(f *testing.F) {
	f.Add(`{"numRecords":1,"minValues":{"s":"a","d":"2024-01-01","t":"2024-01-01T00:00:00Z","n":1.5,"x":{"y":1}},"maxValues":{},"nullCount":{"s":0}}`)
	f.Add(`{"numRecords":1e400,"minValues":[],"maxValues":{"n":"NaN","x":{"y":"z"}}}`)
	columns := schema.NewStruct(schema.Nullable("s", schema.String), schema.Nullable("d", schema.Date), schema.Nullable("t", schema.Timestamp),
		schema.Nullable("n", schema.Double), schema.Nullable("m", schema.Decimal{Precision: 5, Scale: 2}), schema.Nullable("x", schema.NewStruct(schema.Nullable("y", schema.Long))))
	p := &parsedColumns{values: columns, nulls: columns}
	f.Fuzz(func(t *testing.T, stats string) {
		row := p.row(&Add{Path: "a", Stats: stats}, make([]any, len(addColumn.Fields)))
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema.NewStruct(p.fields()...).Arrow())
		defer b.Release()
		values, _ := row[len(row)-1].([]any)
		appendRow(b.Field(0).(*array.StructBuilder), values)
		rec := b.NewRecordBatch()
		defer rec.Release()
		if text := statsText(rec.Column(0), 0); text != "" && !json.Valid([]byte(text)) {
			t.Errorf("%s becomes %s", stats, text)
		}
	})
}
