package delta_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// sum is a version checksum file, with what must be in it and may be.
type sum struct {
	TxnID                string
	TableSizeBytes       int64
	NumFiles             int64
	NumMetadata          int64
	NumProtocol          int64
	InCommitTimestampOpt *int64
	SetTransactions      *[]delta.Txn
	DomainMetadata       *[]delta.DomainMetadata
	Metadata             *delta.Metadata
	Protocol             *delta.Protocol
}

func readSum(t *testing.T, store objstore.Store, version int64) (c sum) {
	t.Helper()
	text, _, err := objstore.ReadAll(t.Context(), store, crcKey(version))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func crcKey(version int64) string { return fmt.Sprintf("_delta_log/%020d.crc", version) }

// checkSum fails unless the checksum of the snapshot's version is there and says what the snapshot does.
func checkSum(t *testing.T, store objstore.Store, s *delta.Snapshot) {
	t.Helper()
	c := readSum(t, store, s.Version())
	var n, size int64
	for _, a := range files(t, s) {
		n++
		size += a.Size
	}
	if c.NumFiles != n || c.TableSizeBytes != size {
		t.Errorf("version %d: got %d files of %d bytes, want %d of %d", s.Version(), c.NumFiles, c.TableSizeBytes, n, size)
	}
	if c.NumMetadata != 1 || c.NumProtocol != 1 || c.TxnID == "" || c.SetTransactions == nil || c.DomainMetadata == nil {
		t.Errorf("version %d: got %+v", s.Version(), c)
	}
	sameJSON(t, c.Metadata, s.Metadata())
	sameJSON(t, c.Protocol, s.Protocol())
}

func TestChecksum(t *testing.T) {
	one := delta.TableOptions{Schema: ddl(t, "id BIGINT")}
	t.Run("each_commit_has_one", func(t *testing.T) {
		store := objstore.NewDir(t.TempDir())
		s := newTable(t, store, one, `{"id":1}`)
		checkSum(t, store, s)
		for i := range 12 {
			tx := s.Begin("WRITE")
			appendRows(t, store, tx, record(t, s.Schema(), fmt.Sprintf(`{"id":%d}`, i)))
			tx.SetTxn("app", int64(i))
			s = commit(t, tx)
			checkSum(t, store, s)
			if i%3 == 0 {
				s = load(t, store)
			}
		}
		if x := *readSum(t, store, 12).SetTransactions; len(x) != 1 || x[0].Version != 11 {
			t.Errorf("got transactions %+v", x)
		}
		s, _, err := s.Optimize(t.Context(), delta.OptimizeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		checkSum(t, store, s)
		v := int64(3)
		if s, _, err = s.Restore(t.Context(), delta.LoadOptions{Version: &v}); err != nil {
			t.Fatal(err)
		}
		checkSum(t, store, s)
	})
	t.Run("it_has_domains_and_in_commit_timestamps", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, delta.TableOptions{Schema: one.Schema, Properties: map[string]string{
			"delta.enableRowTracking": "true", "delta.enableInCommitTimestamps": "true"}}, `{"id":1}`)
		checkSum(t, store, s)
		c := readSum(t, store, 0)
		if len(*c.DomainMetadata) != 1 || c.InCommitTimestampOpt == nil || *c.InCommitTimestampOpt < time.Now().Add(-time.Hour).UnixMilli() {
			t.Errorf("got %+v", c)
		}
	})
	t.Run("one_that_is_there_is_not_overwritten", func(t *testing.T) {
		store := new(objstore.Mem)
		s := newTable(t, store, one, `{"id":1}`)
		put(t, store, crcKey(1), []byte("other"))
		tx := s.Begin("WRITE")
		appendRows(t, store, tx, record(t, s.Schema(), `{"id":2}`))
		commit(t, tx)
		if text, _, _ := objstore.ReadAll(t.Context(), store, crcKey(1)); string(text) != "other" {
			t.Errorf("got %s", text)
		}
	})
	t.Run("none_is_written_when_very_much_would_have_to_be_counted", func(t *testing.T) {
		store := new(objstore.Mem)
		manyFiles(t, store, 6_000) // too many to count them all
		tx := load(t, store).Begin("WRITE")
		tx.Add(&delta.Add{Path: "new", Size: 1, DataChange: true})
		s := commit(t, tx)
		if _, _, err := store.Open(t.Context(), crcKey(4), objstore.Range{}); !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("got %v, want no checksum", err)
		}
		if err := s.WriteCheckpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := readSum(t, store, 4); c.NumFiles != 6_001 { // now they have been counted
			t.Errorf("got %d files", c.NumFiles)
		}
		tx = load(t, store).Begin("WRITE")
		removed := files(t, load(t, store))[0].Remove(time.Now(), true)
		removed.Size = nil
		tx.Remove(removed)
		checkSum(t, store, commit(t, tx)) // a commit that does not say enough lets few files be counted
	})
	t.Run("it_spares_an_append_the_log", func(t *testing.T) {
		mem := new(objstore.Mem)
		longLog(t, mem)
		store := &countingStore{Store: mem}
		s := load(t, store)
		tx := s.Begin("WRITE")
		tx.Add(&delta.Add{Path: "new", Size: 1, DataChange: true})
		s = commit(t, tx)
		if n := store.bytes.Load(); n > 200_000 {
			t.Errorf("the append has read %d bytes", n)
		}
		if got := len(files(t, s)); got != 6_001 {
			t.Errorf("got %d files", got)
		}
		checkSum(t, store, s)
		if got := len(files(t, load(t, store))); got != 6_001 {
			t.Errorf("got %d files", got)
		}
	})
	for name, harm := range map[string]func(c map[string]any){
		"a_broken_checksum_is_passed_over":           func(c map[string]any) { clear(c) },
		"one_of_another_commit_is_passed_over":       func(c map[string]any) { c["txnId"] = "other"; c["protocol"] = map[string]any{"minReaderVersion": 9} },
		"one_without_transactions_is_passed_over":    func(c map[string]any) { delete(c, "setTransactions") },
		"one_with_an_absurd_number_is_passed_over":   func(c map[string]any) { c["numFiles"] = -1 },
		"one_with_text_for_a_number_is_passed_over":  func(c map[string]any) { c["numFiles"] = strings.Repeat("9", 100) },
		"one_with_a_schema_of_null_is_passed_over":   func(c map[string]any) { c["metadata"] = nil },
		"one_of_a_commit_that_is_gone_is_not_needed": func(c map[string]any) { c["txnId"] = "" },
	} {
		t.Run(name, func(t *testing.T) {
			store := new(objstore.Mem)
			longLog(t, store)
			text, _, err := objstore.ReadAll(t.Context(), store, crcKey(3))
			if err != nil {
				t.Fatal(err)
			}
			var c map[string]any
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			harm(c)
			text, _ = json.Marshal(c)
			put(t, store, crcKey(3), text)
			s := load(t, store)
			if got := len(files(t, s)); got != 6_000 || s.Protocol().MinReaderVersion != 1 {
				t.Errorf("got %d files, protocol %+v", got, s.Protocol())
			}
			tx := s.Begin("WRITE")
			tx.Add(&delta.Add{Path: "new", Size: 1, DataChange: true})
			if got := len(files(t, commit(t, tx))); got != 6_001 {
				t.Errorf("got %d files", got)
			}
		})
	}
	t.Run("other_readers_take_it", func(t *testing.T) {
		dir := t.TempDir()
		store := objstore.NewDir(dir)
		s := newTable(t, store, one, `{"id":1}`)
		tx := s.Begin("WRITE")
		appendRows(t, store, tx, record(t, s.Schema(), `{"id":2}`))
		readersSee(t, dir, rows(t, commit(t, tx))...)
	})
	t.Run("it_goes_on_from_one_of_another_engine", func(t *testing.T) {
		tables, _ := filepath.Glob(filepath.Join(testdata(t), "spark-4.4.0-generated", "*", "delta"))
		done := 0
		for _, from := range tables {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			store := objstore.NewDir(dir)
			tx := load(t, store).Begin("WRITE")
			tx.SetTxn("app", 1)
			s, err := tx.Commit(t.Context(), nil)
			if err != nil {
				continue // the table needs a feature that silt lacks
			}
			done++
			checkSum(t, store, s)
		}
		if done < 8 {
			t.Errorf("got %d tables that can be written", done)
		}
	})
}

// longLog makes a log of 6,000 files in megabytes of commits, whose newest version has a checksum.
func longLog(t *testing.T, store objstore.Store) {
	t.Helper()
	manyFiles(t, store, 6_000)
	if err := load(t, store).WriteCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"_delta_log/_last_checkpoint", "_delta_log/00000000000000000003.checkpoint.parquet"} {
		if err := store.Delete(t.Context(), key, objstore.Cond{}); err != nil {
			t.Fatal(err)
		}
	}
}

// countingStore counts the objects that are opened, and the bytes that are read from them.
type countingStore struct {
	objstore.Store
	bytes, opens atomic.Int64
}

func (c *countingStore) Open(ctx context.Context, key string, r objstore.Range) (io.ReadCloser, objstore.Object, error) {
	body, o, err := c.Store.Open(ctx, key, r)
	if err == nil {
		n := o.Size - r.Off
		if r.Len > 0 {
			n = min(n, r.Len)
		}
		c.bytes.Add(n)
		c.opens.Add(1)
	}
	return body, o, err
}
