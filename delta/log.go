package delta

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // what the protocol asks for, against mishaps
	"encoding/hex"
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

// sidecarDir is where the sidecars of V2 checkpoints are.
const sidecarDir = logDir + "_sidecars/"

const lastCheckpointKey = logDir + "_last_checkpoint"

func commitKey(version int64) string { return fmt.Sprintf("%s%020d.json", logDir, version) }

func checkpointKey(version int64) string {
	return fmt.Sprintf("%s%020d.checkpoint.parquet", logDir, version)
}

var (
	commitName     = regexp.MustCompile(`^(\d{20})\.json$`)
	checkpointName = regexp.MustCompile(`^(\d{20})\.checkpoint\.(?:parquet|(\d{10})\.(\d{10})\.parquet|[0-9a-fA-F-]{36}\.(?:json|parquet))$`)
	checksumName   = regexp.MustCompile(`^(\d{20})\.crc$`)
	compactedName  = regexp.MustCompile(`^(\d{20})\.(\d{20})\.compacted\.json$`)
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

// A VersionError means that the log does not have the version asked for, or not any more.
type VersionError struct{ Version, Oldest, Newest int64 }

func (e *VersionError) Error() string {
	if e.Oldest > 0 {
		return fmt.Sprintf("the table has no version %d, it has %d to %d", e.Version, e.Oldest, e.Newest)
	}
	return fmt.Sprintf("the table has no version %d, its newest is %d", e.Version, e.Newest)
}

// segment is the part of a log that makes up one version: a checkpoint and the commits behind it.
type segment struct {
	version    int64
	checkpoint *checkpoint // nil without
	commits    []logFile
	latest     int64            // the newest version that is listed
	checksum   *objstore.Object // the newest one from the checkpoint's version up to this one; nil without
}

// logFile holds the actions of one version, or the reconciled ones of several.
type logFile struct {
	objstore.Object
	to int64 // the last of its versions
}

func (s *segment) checkpointVersion() int64 {
	if s.checkpoint == nil {
		return -1
	}
	return s.checkpoint.version
}

func (s *segment) checksumVersion() int64 {
	if s.checksum == nil {
		return -1
	}
	return versionOf(s.checksum.Key)
}

// listing is what a log directory holds, as far as it is known by name.
type listing struct {
	commits     []objstore.Object // in order
	checkpoints map[int64][]objstore.Object
	compacted   []objstore.Object
	checksums   []objstore.Object // in order
}

// lastCheckpoint is the content of _last_checkpoint, as far as it is used or written. It is a hint: it may
// be stale, and then the listing has what is newer.
type lastCheckpoint struct {
	Version       int64   `json:"version"`
	Size          int64   `json:"size"`
	SizeInBytes   int64   `json:"sizeInBytes,omitempty"`
	NumOfAddFiles int64   `json:"numOfAddFiles"`
	V2            *lastV2 `json:"v2Checkpoint,omitempty"`
	Checksum      string  `json:"checksum,omitempty"`
}

// lastV2 is what Spark has of a V2 checkpoint in the hint.
type lastV2 struct {
	Path             string    `json:"path"` // name of the file
	SizeInBytes      int64     `json:"sizeInBytes"`
	ModificationTime int64     `json:"modificationTime"`
	SidecarFiles     []sidecar `json:"sidecarFiles,omitempty"`
}

// maxHintSidecars is how many sidecars the hint names at most.
const maxHintSidecars = 30

func (l lastCheckpoint) marshal() ([]byte, error) {
	l.Checksum = ""
	text, err := json.Marshal(l)
	if err == nil {
		l.Checksum, err = jsonChecksum(text)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(l)
}

// jsonChecksum returns the MD5 of the canonical form of a JSON object. Source: protocol, "JSON checksum".
func jsonChecksum(text []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return "", err
	}
	delete(object, "checksum")
	type pair struct{ path, value string }
	var pairs []pair
	var visit func(path string, v any)
	visit = func(path string, v any) {
		below := func(name string) string {
			if path == "" {
				return name
			}
			return path + "+" + name
		}
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				visit(below(urlQuote(k)), x)
			}
		case []any:
			for i, x := range v {
				visit(below(strconv.Itoa(i)), x)
			}
		case string:
			pairs = append(pairs, pair{path, urlQuote(v)})
		case json.Number:
			pairs = append(pairs, pair{path, v.String()})
		case bool:
			pairs = append(pairs, pair{path, strconv.FormatBool(v)})
		case nil:
			pairs = append(pairs, pair{path, "null"})
		}
	}
	visit("", object)
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.path, b.path) })
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(p.path + "=" + p.value)
	}
	sum := md5.Sum([]byte(b.String()))
	return hex.EncodeToString(sum[:]), nil
}

func urlQuote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func readLastCheckpoint(ctx context.Context, store objstore.Store) (lastCheckpoint, bool) {
	var hint lastCheckpoint
	text, _, err := objstore.ReadAll(ctx, store, lastCheckpointKey)
	return hint, err == nil && json.Unmarshal(text, &hint) == nil
}

// maxVersion bounds the versions of a log, as they are in the names of its files.
const maxVersion = "09223372036854775806"

// newest asks listSegment for the newest version.
const newest = -1

// listSegment finds what makes up the version.
func listSegment(ctx context.Context, store objstore.Store, version int64) (*segment, error) {
	hint, ok := readLastCheckpoint(ctx, store)
	if ok && hint.Version > 0 && (version == newest || hint.Version <= version) {
		l, err := listLog(ctx, store, hint.Version)
		if err != nil {
			return nil, err
		}
		seg, err := l.segment(version)
		if err == nil && seg.checkpoint != nil {
			return seg, nil
		}
		// The checkpoint that the hint names is not there.
	}
	l, err := listLog(ctx, store, 0)
	if err != nil {
		return nil, err
	}
	return l.segment(version)
}

// listLog lists the log from a version on.
func listLog(ctx context.Context, store objstore.Store, from int64) (*listing, error) {
	l := &listing{checkpoints: map[int64][]objstore.Object{}}
	for o, err := range store.List(ctx, logDir, fmt.Sprintf("%s%020d", logDir, from)) {
		if err != nil {
			return nil, fmt.Errorf("list the Delta log: %w", err)
		}
		name := strings.TrimPrefix(o.Key, logDir)
		if name > "a" || strings.HasPrefix(name, "_") { // what is behind the versions, such as many sidecars
			break
		}
		switch {
		case len(name) > 20 && name[:20] > maxVersion: // no version has such a number
		case commitName.MatchString(name):
			l.commits = append(l.commits, o)
		case checkpointName.MatchString(name):
			l.checkpoints[versionOf(o.Key)] = append(l.checkpoints[versionOf(o.Key)], o)
		case compactedName.MatchString(name):
			l.compacted = append(l.compacted, o)
		case checksumName.MatchString(name):
			l.checksums = append(l.checksums, o)
		}
	}
	return l, nil
}

// segment chooses the newest complete checkpoint and the commits behind it.
func (l *listing) segment(version int64) (*segment, error) {
	seg := &segment{version: -1}
	for v, objects := range l.checkpoints {
		if v > seg.checkpointVersion() && (version == newest || v <= version) {
			if cp := newCheckpoint(v, objects); cp != nil {
				seg.checkpoint, seg.version = cp, v
			}
		}
	}
	for _, o := range l.commits {
		v := versionOf(o.Key)
		if v <= seg.version || version != newest && v > version {
			continue
		}
		for v > seg.version+1 {
			c, ok := l.compaction(seg.version+1, v-1)
			if !ok {
				return nil, l.gap(seg, v, version)
			}
			seg.version, seg.commits = c.to, append(seg.commits, c)
		}
		seg.version, seg.commits = v, append(seg.commits, logFile{o, v})
	}
	switch {
	case seg.version < 0 && len(l.commits) == 0:
		return nil, ErrNoTable
	case seg.version < 0, version > seg.version:
		return nil, &VersionError{Version: version, Oldest: l.oldest(), Newest: l.newestVersion()}
	}
	seg.latest = l.newestVersion()
	for _, o := range l.checksums {
		if v := versionOf(o.Key); v >= seg.checkpointVersion() && v <= seg.version {
			seg.checksum = &o
		}
	}
	return seg, nil
}

// compaction returns the file that replaces the most commits from a version on, of those up to another.
// It is used only where commits are missing: whatever else it says, they say too.
func (l *listing) compaction(from, to int64) (best logFile, ok bool) {
	for _, o := range l.compacted {
		m := compactedName.FindStringSubmatch(strings.TrimPrefix(o.Key, logDir))
		y, _ := strconv.ParseInt(m[2], 10, 64)
		if versionOf(o.Key) == from && y <= to && (!ok || y > best.to) {
			best, ok = logFile{o, y}, true
		}
	}
	return best, ok
}

// oldest returns the oldest version that can be read.
func (l *listing) oldest() int64 {
	if len(l.commits) > 0 && versionOf(l.commits[0].Key) == 0 {
		return 0
	}
	v := int64(-1)
	for cp, objects := range l.checkpoints {
		if newCheckpoint(cp, objects) != nil && (v < 0 || cp < v) {
			v = cp
		}
	}
	return v
}

func (l *listing) newestVersion() int64 {
	v := int64(-1)
	for cp := range l.checkpoints {
		v = max(v, cp)
	}
	if n := len(l.commits); n > 0 {
		v = max(v, versionOf(l.commits[n-1].Key))
	}
	return v
}

func versionOf(key string) int64 {
	v, _ := strconv.ParseInt(strings.TrimPrefix(key, logDir)[:20], 10, 64)
	return v
}

// gap explains why a commit is missing although next is there.
func (l *listing) gap(seg *segment, next, version int64) error {
	if seg.version < 0 && version != newest {
		if oldest := l.oldest(); oldest > version {
			return &VersionError{Version: version, Oldest: oldest, Newest: l.newestVersion()}
		}
	}
	reason := fmt.Sprintf("its commit is missing, the next one is %d", next)
	for v, objects := range l.checkpoints {
		if v > seg.version && newCheckpoint(v, objects) == nil {
			names := make([]string, len(objects))
			for i, o := range objects {
				names[i] = strings.TrimPrefix(o.Key, logDir)
			}
			slices.Sort(names)
			reason += "; of the checkpoint of version " + strconv.FormatInt(v, 10) + " only " + strings.Join(names, ", ") + " is there"
			break
		}
	}
	return &LogError{seg.version + 1, reason}
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
