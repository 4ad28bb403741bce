package checkpoint

import (
	"context"
	"fmt"
	"time"

	"github.com/siltlake/silt/objstore"
)

// Seen knows which version of a file is planned. It is no copy: RunBatch adds each batch it closes.
type Seen struct {
	end   int64 // the batch to add next
	files map[string]objstore.Object
	tried map[string]try
	// givenUp are the files no version of which was ever loaded.
	givenUp map[string]bool
}

// try is the last outcome of a file that is taken again.
type try struct {
	FileOutcome
	at time.Time
}

// Lookup returns the version of the file that was planned last and is not taken again.
func (s *Seen) Lookup(key string) (objstore.Object, bool) {
	o, ok := s.files[key]
	return o, ok
}

// GivenUp reports whether the file was given up and no version of it loaded, so that another version is
// a new file.
func (s *Seen) GivenUp(key string) bool { return s.givenUp[key] }

// Len is the number of files.
func (s *Seen) Len() int { return len(s.files) }

// Tried returns the last outcome of this version of a file, if it was deferred or failed, and when its
// batch was planned.
func (s *Seen) Tried(o objstore.Object) (last FileOutcome, at time.Time, ok bool) {
	t, ok := s.tried[o.Key]
	if !ok || t.ETag != o.ETag {
		return FileOutcome{}, time.Time{}, false
	}
	return t.FileOutcome, t.at, true
}

// add takes batch n in, unless it has it. Without outcomes, the batch is planned and not staged.
func (s *Seen) add(n int64, p Plan, files []objstore.Object, outcomes []FileOutcome) {
	if n < s.end {
		return
	}
	s.end = n + 1
	for i, f := range files {
		if outcomes == nil || !outcomes[i].State.Again() {
			_, known := s.files[f.Key]
			s.files[f.Key] = f
			delete(s.tried, f.Key)
			if outcomes != nil && outcomes[i].State == Quarantined && (!known || s.givenUp[f.Key]) {
				s.givenUp[f.Key] = true
			} else {
				delete(s.givenUp, f.Key)
			}
			continue
		}
		if state := outcomes[i].State; state == Deferred || state == Failed {
			s.tried[f.Key] = try{outcomes[i], p.Time}
		} else {
			delete(s.tried, f.Key)
		}
	}
}

// Seen returns the files of all closed batches, less those that are taken again. In a log that is open
// to be looked at, the files of a batch that is not closed yet are in it too.
func (l *Log) Seen(ctx context.Context) (*Seen, error) {
	if l.seen != nil {
		return l.seen, nil
	}
	end := l.at
	closed, err := l.exists(ctx, name("commits", l.at))
	switch {
	case err != nil:
		return nil, err
	case l.lease == nil:
		end = l.last + 1
	case closed:
		end++
	}
	seen := &Seen{files: map[string]objstore.Object{}, tried: map[string]try{}, givenUp: map[string]bool{}}
	parent := ""
	for n := range end {
		b, sum, err := l.readBatch(ctx, n)
		if err != nil {
			return nil, err
		}
		if b.Plan.Parent != parent {
			return nil, &StateError{name("offsets", n), "it does not follow " + name("offsets", n-1) + " (another digest)", nextDoctor}
		}
		parent = sum
		files, outcomes := b.split()
		seen.add(n, b.Plan, files, outcomes)
	}
	if l.lease != nil {
		l.seen = seen
	}
	return seen, nil
}

// readBatch reads all objects of a batch that has a plan, and the digest of the plan.
func (l *Log) readBatch(ctx context.Context, n int64) (Batch, string, error) {
	var b Batch
	content, err := l.mustRead(ctx, name("offsets", n))
	if err != nil {
		return b, "", err
	}
	if b.Plan, err = decodeHead[Plan](content); err != nil {
		return b, "", l.broken(name("offsets", n), err)
	}
	sum := digest(content)
	if content, err = l.mustRead(ctx, name("sources/0", n)); err != nil {
		return b, sum, err
	}
	files, filesSum, err := decodeSources(content)
	if err != nil {
		return b, sum, l.broken(name("sources/0", n), err)
	}
	if filesSum != b.Plan.FilesDigest {
		return b, sum, &StateError{name("sources/0", n), "its files are not those of " + name("offsets", n), nextDoctor}
	}
	b.Files = make([]File, len(files))
	for i, f := range files {
		b.Files[i].Object = f
	}
	content, known, err := l.look(ctx, name("staged", n))
	if err != nil || known == Absent {
		return b, sum, err
	}
	s, err := decodeStaged(content, len(files))
	if err != nil {
		return b, sum, l.broken(name("staged", n), err)
	}
	b.Staged = &s
	for i := range b.Files {
		b.Files[i].Outcome = &s.Files[i]
	}
	return b, sum, nil
}

// split is the inverse of joining files and outcomes.
func (b *Batch) split() ([]objstore.Object, []FileOutcome) {
	files := make([]objstore.Object, len(b.Files))
	for i, f := range b.Files {
		files[i] = f.Object
	}
	if b.Staged == nil {
		return files, nil
	}
	return files, b.Staged.Files
}

// look reads an object and changes nothing.
func (l *Log) look(ctx context.Context, object string) ([]byte, Known, error) {
	there, err := l.exists(ctx, object)
	if err != nil || !there {
		return nil, Absent, err
	}
	content, _, err := objstore.ReadAll(ctx, l.store, l.prefix+object)
	if err != nil {
		return nil, Unknown, fmt.Errorf("read %s: %w", object, err)
	}
	if _, _, err := decode(content); err != nil {
		return nil, Unknown, l.broken(object, err)
	}
	return content, Have, nil
}

func (l *Log) mustRead(ctx context.Context, object string) ([]byte, error) {
	content, known, err := l.look(ctx, object)
	if err == nil && known == Absent {
		err = &StateError{object, "it is missing", nextDoctor}
	}
	return content, err
}
