package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/siltlake/silt/objstore"
)

// logDir is where the log is. Source: protocol, "File Types".
const logDir = "_delta_log/"

const lastCheckpointKey = logDir + "_last_checkpoint"

func commitKey(version int64) string { return fmt.Sprintf("%s%020d.json", logDir, version) }

func checkpointKey(version int64) string {
	return fmt.Sprintf("%s%020d.checkpoint.parquet", logDir, version)
}

var (
	commitName     = regexp.MustCompile(`^(\d{20})\.json$`)
	checkpointName = regexp.MustCompile(`^(\d{20})\.checkpoint\.(?:parquet|(\d{10})\.(\d{10})\.parquet|[0-9a-fA-F-]{36}\.(?:json|parquet))$`)
)

// ErrNoTable means that there is no log.
var ErrNoTable = errors.New("there is no Delta table")

// A LogError says what is wrong with a log.
type LogError struct {
	Version int64
	Reason  string
}

func (e *LogError) Error() string {
	return fmt.Sprintf("the Delta log is broken at version %d: %s", e.Version, e.Reason)
}

// segment is the part of a log that makes up one version: a checkpoint and the commits behind it.
type segment struct {
	version    int64
	checkpoint *objstore.Object
	cpVersion  int64             // -1 without a checkpoint
	commits    []objstore.Object // of cpVersion+1 to version
}

// lastCheckpoint is the content of _last_checkpoint, as far as it is used. It is a hint: it may be
// stale, and then the listing has what is newer.
type lastCheckpoint struct {
	Version       int64 `json:"version"`
	Size          int64 `json:"size"`
	SizeInBytes   int64 `json:"sizeInBytes,omitempty"`
	NumOfAddFiles int64 `json:"numOfAddFiles,omitempty"`
}

func readLastCheckpoint(ctx context.Context, store objstore.Store) (lastCheckpoint, bool) {
	var hint lastCheckpoint
	text, _, err := objstore.ReadAll(ctx, store, lastCheckpointKey)
	return hint, err == nil && json.Unmarshal(text, &hint) == nil
}

// listSegment finds what makes up the version, or the newest one when version is negative.
func listSegment(ctx context.Context, store objstore.Store, version int64) (*segment, error) {
	hint, ok := readLastCheckpoint(ctx, store)
	if ok && (version < 0 || hint.Version <= version) {
		seg, err := listSegmentFrom(ctx, store, hint.Version, version)
		if err != nil || seg.checkpoint != nil {
			return seg, err
		}
		// The checkpoint that the hint names is not there.
	}
	return listSegmentFrom(ctx, store, 0, version)
}

func listSegmentFrom(ctx context.Context, store objstore.Store, from, version int64) (*segment, error) {
	var commits []objstore.Object
	checkpoints := map[int64][]objstore.Object{}
	after := fmt.Sprintf("%s%020d", logDir, from)
	for o, err := range store.List(ctx, logDir, after) {
		if err != nil {
			return nil, fmt.Errorf("list the Delta log: %w", err)
		}
		name := strings.TrimPrefix(o.Key, logDir)
		if m := commitName.FindStringSubmatch(name); m != nil {
			if v, _ := strconv.ParseInt(m[1], 10, 64); version < 0 || v <= version {
				commits = append(commits, o)
			}
		} else if m := checkpointName.FindStringSubmatch(name); m != nil {
			if v, _ := strconv.ParseInt(m[1], 10, 64); version < 0 || v <= version {
				checkpoints[v] = append(checkpoints[v], o)
			}
		}
	}
	seg := &segment{cpVersion: -1, version: -1}
	for v, parts := range checkpoints {
		if v <= seg.cpVersion {
			continue
		}
		for _, o := range parts {
			if o.Key == checkpointKey(v) { // the other forms are passed over; the commits do as well
				seg.cpVersion, seg.checkpoint = v, &o
			}
		}
	}
	seg.version = seg.cpVersion
	for _, o := range commits {
		v := versionOf(o.Key)
		if v <= seg.cpVersion {
			continue
		}
		if v != seg.version+1 {
			return nil, gap(seg.version+1, v, checkpoints)
		}
		seg.version, seg.commits = v, append(seg.commits, o)
	}
	switch {
	case seg.version < 0:
		return nil, ErrNoTable
	case version > seg.version:
		return nil, fmt.Errorf("the table has no version %d, its newest is %d", version, seg.version)
	}
	return seg, nil
}

func versionOf(key string) int64 {
	v, _ := strconv.ParseInt(strings.TrimPrefix(key, logDir)[:20], 10, 64)
	return v
}

// gap explains why version is missing although next is there.
func gap(version, next int64, checkpoints map[int64][]objstore.Object) error {
	newest := int64(-1)
	for v := range checkpoints {
		newest = max(newest, v)
	}
	if newest >= version {
		var names []string
		for _, o := range checkpoints[newest] {
			names = append(names, strings.TrimPrefix(o.Key, logDir))
		}
		slices.Sort(names)
		return &UnsupportedError{"read", []string{"the checkpoint " + names[0] + " (multi-part or V2)"}}
	}
	return &LogError{version, fmt.Sprintf("its commit is missing, the next one is %d", next)}
}

func readCommit(ctx context.Context, store objstore.Store, version int64) ([]action, error) {
	text, _, err := objstore.ReadAll(ctx, store, commitKey(version))
	if err != nil {
		return nil, err
	}
	actions, err := parseActions(text)
	if err != nil {
		return nil, &LogError{version, err.Error()}
	}
	return actions, nil
}
