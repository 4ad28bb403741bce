package silt

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/siltlake/silt/schema"
)

// State is what silt remembers about one pipeline, read without changing it.
type State struct {
	// Pipeline is its name, Location the canonical URI of its checkpoint location.
	Pipeline, Location string
}

// FileState is what became of one version of a file.
type FileState struct {
	Path    string    `json:"path"` // URI
	Size    int64     `json:"size"`
	ModTime time.Time `json:"modification_time"`
	ETag    string    `json:"etag"`
	// Status is planned, loaded, quarantined, vanished, overwritten, deferred or failed.
	Status        string     `json:"status"`
	Batch         int64      `json:"batch_id"`
	DiscoveryTime time.Time  `json:"discovery_time"`
	CommitTime    *time.Time `json:"commit_time"`
	Records       int64      `json:"records"`
	Rows          int64      `json:"rows"`
	Rescued       int64      `json:"rescued_rows"`
	Bad           int64      `json:"corrupt_records"`
	Tries         int        `json:"tries"`
	Error         string     `json:"error,omitempty"`
	SchemaVersion int64      `json:"schema_version"`
}

// SchemaVersion is one version of the source schema.
type SchemaVersion struct {
	Version   int64          `json:"version"`
	WrittenAt time.Time      `json:"written_at"`
	Reason    string         `json:"reason"` // "inferred", "new fields", "given", "hints", "transform"
	Batch     int64          `json:"batch_id"`
	Schema    *schema.Struct `json:"schema"`
	Added     []NewField     `json:"added"`
	// Uncarried are known fields that the transform leaves out and whose values are rescued.
	Uncarried []string `json:"uncarried,omitempty"`
	Pending   []string `json:"pending,omitempty"`
}

// Files yields the files that were planned, the newest batch first.
func (s *State) Files(ctx context.Context) iter.Seq2[FileState, error] { panic("not yet") }

// Runs returns the summaries of runs, the newest first.
func (s *State) Runs(ctx context.Context) ([]*Summary, error) { panic("not yet") }

// SchemaHistory returns the versions of the source schema, the oldest first.
func (s *State) SchemaHistory(ctx context.Context) ([]SchemaVersion, error) { panic("not yet") }

// States returns what is remembered about the pipelines that load into the target. When cfg has a
// CheckpointLocation or a Name, only that pipeline's.
func States(ctx context.Context, cfg Config) ([]*State, error) { panic("not yet") }

// QuarantinedRecord is a record that could not become a row.
type QuarantinedRecord struct {
	ID      string    `json:"id"` // batch and number, stable
	Time    time.Time `json:"quarantined_at"`
	Batch   int64     `json:"batch_id"`
	File    string    `json:"source_file"`
	Line    int64     `json:"line"`
	Offset  int64     `json:"offset"` // bytes into the decompressed file
	Length  int64     `json:"length"` // bytes
	Cut     bool      `json:"cut"`    // Record holds only the start
	Reason  string    `json:"reason"` // "not JSON", "transform"
	Detail  string    `json:"detail"`
	ErrorAt int64     `json:"error_at"` // bytes into Record
	Record  []byte    `json:"-"`
}

// Quarantine yields the records in the quarantine table of the target, the newest first.
func Quarantine(ctx context.Context, cfg Config) iter.Seq2[QuarantinedRecord, error] {
	panic("not yet")
}

// TableInfo describes a table.
type TableInfo struct {
	Name       string            `json:"name"`
	Location   string            `json:"location"`
	Version    int64             `json:"version"`
	ID         string            `json:"id"`
	Files      int64             `json:"numFiles"`
	Bytes      int64             `json:"sizeInBytes"`
	Rows       int64             `json:"numRecords"` // -1 when statistics are missing
	CreatedAt  *time.Time        `json:"createdAt"`
	Modified   time.Time         `json:"lastModified"`
	Partition  []string          `json:"partitionColumns"`
	Properties map[string]string `json:"properties"`
	MinReader  int               `json:"minReaderVersion"`
	MinWriter  int               `json:"minWriterVersion"`
	Features   []string          `json:"tableFeatures"`
	Schema     *schema.Struct    `json:"schema"`
}

// TableHistoryEntry is one version of a table, under the names of DESCRIBE HISTORY.
type TableHistoryEntry struct {
	Version             int64                      `json:"version"`
	Timestamp           time.Time                  `json:"timestamp"`
	Operation           string                     `json:"operation"`
	OperationParameters map[string]json.RawMessage `json:"operationParameters"`
	OperationMetrics    map[string]json.RawMessage `json:"operationMetrics"`
	EngineInfo          string                     `json:"engineInfo"`
	UserMetadata        string                     `json:"userMetadata,omitempty"`
}

// DescribeTable tells what the table is. With version nil it is the newest.
func DescribeTable(ctx context.Context, cfg Config, version *int64) (*TableInfo, error) {
	panic("not yet")
}

// TableHistory returns the newest versions of the table, at most limit (0: all), the newest first.
func TableHistory(ctx context.Context, cfg Config, limit int) ([]TableHistoryEntry, error) {
	panic("not yet")
}
