package delta_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/siltlake/silt/delta"
	"github.com/siltlake/silt/objstore"
)

// checksum is what Spark says of a version. Source: protocol, "Version Checksum File".
type checksum struct {
	TableSizeBytes  int64
	NumFiles        int64
	Protocol        *delta.Protocol
	Metadata        *delta.Metadata
	SetTransactions []delta.Txn
	DomainMetadata  []delta.DomainMetadata
	AllFiles        []*delta.Add
}

// TestChecksumsOfOthers compares every version of Spark's tables with the checksum Spark has left of it.
func TestChecksumsOfOthers(t *testing.T) {
	sums, _ := filepath.Glob(filepath.Join(testdata(t), "spark-4.4.0-generated", "*", "delta", "_delta_log", "0*.crc"))
	if len(sums) < 50 {
		t.Fatalf("got %d checksums", len(sums))
	}
	for _, sum := range sums {
		table := filepath.Dir(filepath.Dir(sum))
		name := filepath.Base(filepath.Dir(table)) + "/" + strings.TrimLeft(strings.TrimSuffix(filepath.Base(sum), ".crc"), "0")
		t.Run(name, func(t *testing.T) {
			version, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(sum), ".crc"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(strings.TrimSuffix(sum, ".crc") + ".json"); err != nil {
				t.Skip("its commit is gone")
			}
			var want checksum
			readJSON(t, sum, &want)
			s, err := delta.Load(t.Context(), objstore.NewDir(table), delta.LoadOptions{Version: &version})
			if err != nil {
				t.Fatal(err)
			}
			var got checksum
			paths := map[string]string{}
			for a, err := range s.Files(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got.NumFiles++
				got.TableSizeBytes += a.Size
				paths[a.Path] = fmt.Sprint(a.Size, a.DeletionVector != nil, a.PartitionValues == nil)
			}
			if got.NumFiles != want.NumFiles || got.TableSizeBytes != want.TableSizeBytes {
				t.Errorf("got %d files of %d bytes, want %d of %d", got.NumFiles, got.TableSizeBytes, want.NumFiles, want.TableSizeBytes)
			}
			if want.AllFiles != nil {
				for _, a := range want.AllFiles {
					if paths[a.Path] != fmt.Sprint(a.Size, a.DeletionVector != nil, a.PartitionValues == nil) {
						t.Errorf("file %s: got %q", a.Path, paths[a.Path])
					}
				}
			}
			sameJSON(t, sortedProtocol(s.Protocol()), sortedProtocol(want.Protocol))
			sameJSON(t, s.Metadata(), want.Metadata)
			for _, x := range want.SetTransactions {
				if v, ok := s.TxnVersion(x.AppID); !ok || v != x.Version {
					t.Errorf("txn %s: got %d, want %d", x.AppID, v, x.Version)
				}
			}
			for _, d := range want.DomainMetadata {
				if c, ok := s.Domain(d.Domain); !ok || c != d.Configuration {
					t.Errorf("domain %s: got %q, want %q", d.Domain, c, d.Configuration)
				}
			}
		})
	}
}

func sortedProtocol(p *delta.Protocol) *delta.Protocol {
	out := *p
	out.ReaderFeatures, out.WriterFeatures = slices.Sorted(slices.Values(p.ReaderFeatures)), slices.Sorted(slices.Values(p.WriterFeatures))
	return &out
}
