package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Protocol names the features a table needs of its readers and writers.
type Protocol struct {
	MinReaderVersion int      `json:"minReaderVersion"`
	MinWriterVersion int      `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures,omitempty"`
	WriterFeatures   []string `json:"writerFeatures,omitempty"`
}

// Metadata is what a table is: its schema, partitioning and properties.
type Metadata struct {
	ID               string            `json:"id"`
	Name             string            `json:"name,omitempty"`
	Description      string            `json:"description,omitempty"`
	Format           Format            `json:"format"`
	SchemaString     string            `json:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns"`
	Configuration    map[string]string `json:"configuration"`
	CreatedTime      *int64            `json:"createdTime,omitempty"` // milliseconds since 1970
}

// Format is the format of the data files; the provider is always parquet.
type Format struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

// Add makes a data file part of the table.
type Add struct {
	// Path is URI-encoded, and relative to the table or absolute.
	Path string `json:"path"`
	// PartitionValues holds the value of each partition column as text; nil is null.
	PartitionValues  map[string]*string `json:"partitionValues"`
	Size             int64              `json:"size"`             // bytes
	ModificationTime int64              `json:"modificationTime"` // milliseconds since 1970
	// DataChange is false when the rows were in the table before, in other files.
	DataChange bool `json:"dataChange"`
	// Stats is the JSON of the file's statistics.
	Stats                   string                    `json:"stats,omitempty"`
	Tags                    map[string]string         `json:"tags,omitempty"`
	DeletionVector          *DeletionVectorDescriptor `json:"deletionVector,omitempty"`
	BaseRowID               *int64                    `json:"baseRowId,omitempty"`
	DefaultRowCommitVersion *int64                    `json:"defaultRowCommitVersion,omitempty"`
	ClusteringProvider      string                    `json:"clusteringProvider,omitempty"`
}

// value returns the text of a partition value. Some writers spell the column by another case than the schema.
func (a *Add) value(column string) *string {
	if text, ok := a.PartitionValues[column]; ok {
		return text
	}
	for name, text := range a.PartitionValues {
		if strings.EqualFold(name, column) {
			return text
		}
	}
	return nil
}

// Remove takes a data file out of the table. The file itself stays until it is vacuumed.
type Remove struct {
	Path                    string                    `json:"path"`
	DeletionTimestamp       *int64                    `json:"deletionTimestamp,omitempty"` // milliseconds since 1970
	DataChange              bool                      `json:"dataChange"`
	ExtendedFileMetadata    bool                      `json:"extendedFileMetadata,omitempty"`
	PartitionValues         map[string]*string        `json:"partitionValues,omitempty"`
	Size                    *int64                    `json:"size,omitempty"`
	Stats                   string                    `json:"stats,omitempty"`
	Tags                    map[string]string         `json:"tags,omitempty"`
	DeletionVector          *DeletionVectorDescriptor `json:"deletionVector,omitempty"`
	BaseRowID               *int64                    `json:"baseRowId,omitempty"`
	DefaultRowCommitVersion *int64                    `json:"defaultRowCommitVersion,omitempty"`
}

// Remove returns the action that takes the file, with its deletion vector, out of the table. DataChange
// is false when its rows stay in the table, in other files.
func (a *Add) Remove(at time.Time, dataChange bool) *Remove {
	when, size := millis(at), a.Size
	return &Remove{
		Path: a.Path, DeletionTimestamp: &when, DataChange: dataChange, ExtendedFileMetadata: true,
		PartitionValues: notNil(a.PartitionValues), Size: &size, Tags: a.Tags, DeletionVector: a.DeletionVector,
		BaseRowID: a.BaseRowID, DefaultRowCommitVersion: a.DefaultRowCommitVersion,
	}
}

// DeletionVectorDescriptor says where the deletion vector of a file is.
type DeletionVectorDescriptor struct {
	StorageType    string `json:"storageType"`
	PathOrInlineDV string `json:"pathOrInlineDv"`
	Offset         *int32 `json:"offset,omitempty"`
	SizeInBytes    int32  `json:"sizeInBytes"`
	Cardinality    int64  `json:"cardinality"`
}

// id tells deletion vectors of one file apart. Source: protocol, "Deletion Vector Descriptor Schema".
func (d *DeletionVectorDescriptor) id() string {
	switch {
	case d == nil:
		return ""
	case d.Offset == nil:
		return d.StorageType + d.PathOrInlineDV
	}
	return fmt.Sprintf("%s%s@%d", d.StorageType, d.PathOrInlineDV, *d.Offset)
}

// Txn is the newest version that an application has written into the table.
type Txn struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated *int64 `json:"lastUpdated,omitempty"` // milliseconds since 1970
}

// DomainMetadata is configuration that a feature keeps in the table under its name.
type DomainMetadata struct {
	Domain        string `json:"domain"`
	Configuration string `json:"configuration"`
	Removed       bool   `json:"removed"`
}

// CommitInfo is where a version came from.
type CommitInfo struct {
	Timestamp           int64                      `json:"timestamp,omitempty"` // milliseconds since 1970
	InCommitTimestamp   *int64                     `json:"inCommitTimestamp,omitempty"`
	UserID              string                     `json:"userId,omitempty"`
	UserName            string                     `json:"userName,omitempty"`
	Operation           string                     `json:"operation,omitempty"`
	OperationParameters map[string]json.RawMessage `json:"operationParameters,omitempty"`
	ReadVersion         *int64                     `json:"readVersion,omitempty"`
	IsolationLevel      string                     `json:"isolationLevel,omitempty"`
	IsBlindAppend       *bool                      `json:"isBlindAppend,omitempty"`
	OperationMetrics    map[string]json.RawMessage `json:"operationMetrics,omitempty"`
	UserMetadata        string                     `json:"userMetadata,omitempty"`
	EngineInfo          string                     `json:"engineInfo,omitempty"`
	// TxnID is the nonce by which a writer knows its own commit.
	TxnID string `json:"txnId,omitempty"`
	// Tags say what a feature wants to be said of the commit.
	Tags map[string]json.RawMessage `json:"tags,omitempty"`
}

// sidecar names a file with the file actions of a V2 checkpoint.
type sidecar struct {
	Path             string `json:"path"`
	SizeInBytes      int64  `json:"sizeInBytes"`
	ModificationTime int64  `json:"modificationTime"` // milliseconds since 1970
}

// checkpointMetadata opens a V2 checkpoint.
type checkpointMetadata struct {
	Version int64 `json:"version"`
}

// action is one line of a log entry or of a checkpoint: exactly one member is set, or none for an
// action that is not known, which readers pass over.
type action struct {
	CommitInfo     *CommitInfo     `json:"commitInfo,omitempty"`
	Protocol       *Protocol       `json:"protocol,omitempty"`
	MetaData       *Metadata       `json:"metaData,omitempty"`
	Txn            *Txn            `json:"txn,omitempty"`
	DomainMetadata *DomainMetadata `json:"domainMetadata,omitempty"`
	Add            *Add            `json:"add,omitempty"`
	Remove         *Remove         `json:"remove,omitempty"`
	CDC            *ChangeFile     `json:"cdc,omitempty"`
	// In checkpoints only.
	Sidecar            *sidecar            `json:"sidecar,omitempty"`
	CheckpointMetadata *checkpointMetadata `json:"checkpointMetadata,omitempty"`
}

// Source: protocol, "Delta Log Entries": an entry is newline-delimited JSON.
func marshalActions(actions []action) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, a := range actions {
		if err := e.Encode(a); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func parseActions(text []byte) ([]action, error) {
	actions, lines, err := parseTableActions(text)
	if err != nil {
		return nil, err
	}
	files, err := parseFileActions(lines)
	return append(actions, files...), err
}

// parseTableActions reads the actions that are not about files, and returns the lines of the others,
// which are many and are not needed to write to a table.
func parseTableActions(text []byte) (actions []action, files [][]byte, err error) {
	for n := 1; len(text) > 0; n++ {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0:
		case isFileAction(line):
			files = append(files, line)
		default:
			a, err := parseAction(line)
			if err != nil {
				return nil, nil, fmt.Errorf("line %d: %w", n, err)
			}
			actions = append(actions, a)
		}
	}
	return actions, files, nil
}

// isFileAction recognises the adds and removes of most writers. Others are parsed like other actions.
func isFileAction(line []byte) bool {
	return (bytes.HasPrefix(line, []byte(`{"add":{`)) || bytes.HasPrefix(line, []byte(`{"remove":{`))) && bytes.HasSuffix(line, []byte("}}"))
}

func parseFileActions(lines [][]byte) ([]action, error) {
	actions := make([]action, len(lines))
	for i, line := range lines {
		var err error
		if actions[i], err = parseAction(line); err != nil {
			return nil, err
		}
	}
	return actions, nil
}

func parseAction(line []byte) (a action, err error) {
	if err = json.Unmarshal(line, &a); err == nil {
		return a, nil
	}
	if onlyCommitInfo(line) {
		// operationParameters and the like vary by engine, and nothing depends on them.
		return action{CommitInfo: new(CommitInfo)}, nil
	}
	var other any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if d.Decode(&other) != nil {
		return a, err
	}
	text, marshalErr := json.Marshal(asType(other, reflect.TypeFor[action]()))
	a = action{}
	if marshalErr != nil || json.Unmarshal(text, &a) != nil {
		return a, err
	}
	return a, nil
}

// asType returns a JSON value with its scalars written as the type wants them: numbers and booleans are
// texts and the other way round, and 5.0 is 5, as Java's writers and readers of logs take them.
func asType(v any, t reflect.Type) any {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			switch t.Kind() {
			case reflect.Map:
				v[name] = asType(member, t.Elem())
			case reflect.Struct:
				if f, ok := memberType(t, name); ok {
					v[name] = asType(member, f)
				}
			}
		}
	case []any:
		if t.Kind() == reflect.Slice {
			for i := range v {
				v[i] = asType(v[i], t.Elem())
			}
		}
	case json.Number:
		switch t.Kind() {
		case reflect.String:
			return v.String()
		case reflect.Int, reflect.Int32, reflect.Int64:
			return whole(v)
		}
	case bool:
		if t.Kind() == reflect.String {
			return strconv.FormatBool(v)
		}
	case string:
		switch t.Kind() {
		case reflect.Int, reflect.Int32, reflect.Int64:
			return whole(json.Number(v))
		case reflect.Bool:
			if b, err := strconv.ParseBool(v); err == nil {
				return b
			}
		}
	}
	return v
}

// memberType returns the type of the member of that name.
func memberType(t reflect.Type, name string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tag == name {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}

// whole returns a number that is an integer without fraction and exponent; others as they are.
func whole(n json.Number) any {
	if _, err := n.Int64(); err == nil {
		return n
	}
	f, err := n.Float64()
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return n.String()
	}
	return json.Number(strconv.FormatFloat(f, 'f', 0, 64))
}

func onlyCommitInfo(line []byte) bool {
	var keys map[string]json.RawMessage
	if json.Unmarshal(line, &keys) != nil {
		return false
	}
	_, ok := keys["commitInfo"]
	return ok && len(keys) == 1
}

func millis(t time.Time) int64 { return t.UnixMilli() }
