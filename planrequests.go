package silt

import (
	"context"
	"errors"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/internal/source"
	"github.com/siltlake/silt/objstore"
)

// requestedFiles are files that requests are about, which the next run carries out first: those that it does not
// load then, and the versions of those that it takes again.
type requestedFiles struct {
	left  map[string]struct{}
	again map[string]string // the ETags, by the keys
}

func (r *requestedFiles) leave(o objstore.Object) bool {
	_, is := r.left[o.Key]
	return is
}

// seenAfter is what is known of files once requests are carried out.
type seenAfter struct {
	source.Seen
	asked *requestedFiles
}

func (s seenAfter) Pass(ctx context.Context) (func(string) (objstore.Object, bool, bool, error), func(), error) {
	lookup, end, err := s.Seen.Pass(ctx)
	if err != nil {
		return nil, nil, err
	}
	return func(key string) (objstore.Object, bool, bool, error) {
		v, known, givenUp, err := lookup(key)
		if tag, again := s.asked.again[key]; known && again && tag == v.ETag {
			return objstore.Object{}, false, false, err
		}
		return v, known, givenUp, err
	}, end, nil
}

// requestsAhead tells what the next run does before it looks for files: the requests that wait, and whether it
// stops because the checkpoint knows nothing of what the table has. Log is nil when there is no checkpoint.
func (p *Pipeline) requestsAhead(ctx context.Context, out *Plan, log *checkpoint.Log) (*requestedFiles, error) {
	asked, adopts := &requestedFiles{map[string]struct{}{}, map[string]string{}}, false
	for r, err := range checkpoint.Requests(ctx, p.state, "") {
		if err != nil {
			return nil, err
		}
		for _, f := range r.Files {
			if r.Action == checkpoint.Adopt || r.Action == checkpoint.Skip {
				asked.left[f.Key] = struct{}{}
				delete(asked.again, f.Key)
			} else {
				delete(asked.left, f.Key)
				asked.again[f.Key] = f.ETag
			}
		}
		adopts = adopts || r.Action == checkpoint.Adopt
	}
	if adopts || log != nil && !log.IsNew() {
		return asked, nil
	}
	before := (*LoadedBeforeError)(nil)
	if err := p.loadedBefore(ctx); errors.As(err, &before) {
		out.Warnings = append(out.Warnings, Warning{Code: "SILT-6014", Text: "the next run stops, because the checkpoint is new: " + err.Error(),
			Hint: "silt checkpoint adopt reads from the table which files it has; silt run --from-scratch loads all of them beside the rows that are there"})
	} else if err != nil {
		return nil, err
	}
	return asked, nil
}
