package silt

import (
	"context"
	"errors"

	"github.com/siltlake/silt/internal/checkpoint"
	"github.com/siltlake/silt/objstore"
)

// requestedFiles are files that the next run does not load, because it carries out a request first.
type requestedFiles map[string]struct{}

func (r requestedFiles) leave(o objstore.Object) bool {
	_, is := r[o.Key]
	return is
}

// requestsAhead tells what the next run does before it looks for files: the requests that wait, and whether it
// stops because the checkpoint knows nothing of what the table has. Log is nil when there is no checkpoint.
func (p *Pipeline) requestsAhead(ctx context.Context, out *Plan, log *checkpoint.Log) (requestedFiles, error) {
	left, adopts := requestedFiles{}, false
	for r, err := range checkpoint.Requests(ctx, p.state, "") {
		if err != nil {
			return nil, err
		}
		for _, f := range r.Files {
			if r.Action == checkpoint.Adopt || r.Action == checkpoint.Skip {
				left[f.Key] = struct{}{}
			} else {
				delete(left, f.Key)
			}
		}
		adopts = adopts || r.Action == checkpoint.Adopt
	}
	if adopts || log != nil && !log.IsNew() {
		return left, nil
	}
	before := (*LoadedBeforeError)(nil)
	if err := p.loadedBefore(ctx); errors.As(err, &before) {
		out.Warnings = append(out.Warnings, Warning{Code: "SILT-6014", Text: "the next run stops, because the checkpoint is new: " + err.Error(),
			Hint: "silt checkpoint adopt reads from the table which files it has; silt run --from-scratch loads all of them beside the rows that are there"})
	} else if err != nil {
		return nil, err
	}
	return left, nil
}
