package silt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/siltlake/silt/internal/convert"
	"github.com/siltlake/silt/objstore"
	"github.com/siltlake/silt/schema"
)

// Preview is the first rows of a source: as they are read, and as the SQL makes them.
type Preview struct {
	Pipeline string
	Source   string
	Target   string
	// Read are the rows as they are read. Made are those that the transform makes of them; nil without one,
	// and when there are several targets.
	Read, Made array.RecordReader
	// Broken are the expectations that rows break, of those that are made, or else of those that are read;
	// nil when there are several targets, and where none is broken.
	Broken []BrokenRule
	// Targets are those of several targets, in their order.
	Targets []PreviewTarget
	// Quarantine is the number of records on the way to these rows that would be quarantined, Bad the first
	// of them; Failed says why the SQL fails on rows.
	Quarantine int64
	Bad        []QuarantinedRecord
	Failed     []string
	Warnings   []Warning
}

// PreviewTarget is what one of several targets gets.
type PreviewTarget struct {
	Table string
	Made  array.RecordReader // nil: the rows as they are read
	// Broken are the expectations that these rows break.
	Broken []BrokenRule
}

// BrokenRule is an expectation that a row of a preview breaks.
type BrokenRule struct {
	// Row is the number of the row, from 0.
	Row         int64  `json:"row"`
	Rule        string `json:"rule"`
	Check       string `json:"check"`
	OnViolation string `json:"onViolation"`
	// Values are those of the columns that the check names.
	Values string `json:"values,omitempty"`
}

// broken are the rules of the target that rows of a sample break.
func (t *target) broken(all []convert.SampledBreak) (out []BrokenRule) {
	for _, b := range all {
		r := t.expect[b.Rule]
		out = append(out, BrokenRule{b.Row, r.Name, r.Check, violationName(r.Then), b.Values})
	}
	return out
}

// Release gives the rows back.
func (p *Preview) Release() {
	p.Read.Release()
	if p.Made != nil {
		p.Made.Release()
	}
	for _, t := range p.Targets {
		if t.Made != nil {
			t.Made.Release()
		}
	}
}

// ErrNoFile means that a source has no such file.
var ErrNoFile = errors.New("the source has no such file")

// PreviewOptions say what to show.
type PreviewOptions struct {
	// Rows is the most rows to read; 0 is 20.
	Rows int
	// File is the file to read, below the source or as a URI; empty: the files in the order of a run.
	File string
}

// defaultPreview is the number of rows of a preview.
const defaultPreview = 20

// Preview reads the first rows of the source as a run would that loads all of it, whether it is loaded or
// not. It needs no table, and writes nothing.
func (p *Pipeline) Preview(ctx context.Context, o PreviewOptions) (*Preview, error) {
	plan, l, err := p.looked(ctx, PlanOptions{again: true})
	if l != nil {
		defer l.close()
	}
	if err != nil {
		return nil, err
	}
	files := l.all
	if o.File != "" {
		files = slices.DeleteFunc(slices.Clone(files), func(f objstore.Object) bool {
			return f.Key != o.File && p.source.URI(f.Key) != o.File && !strings.HasSuffix(f.Key, "/"+o.File)
		})
		if len(files) == 0 {
			return nil, fmt.Errorf("%s: %w", o.File, ErrNoFile)
		}
	}
	task := p.set.task(plan.SourceSchema)
	for _, f := range plan.Folders {
		if path, err := schema.ParsePath(f.Path); err == nil {
			task.Decode.Partitions = append(task.Decode.Partitions, path[0])
		}
	}
	task.Files = files
	l.types(&task)
	n := o.Rows
	if n <= 0 {
		n = defaultPreview
	}
	s, err := l.workers[0].Sample(ctx, task, int64(n))
	if err != nil {
		return nil, err
	}
	defer s.Release()
	out := &Preview{Pipeline: p.name, Source: p.source.String(), Target: p.targets[0].name, Quarantine: s.Bad, Failed: s.Failed, Warnings: plan.Warnings}
	for _, b := range s.FirstBad {
		out.Bad = append(out.Bad, QuarantinedRecord{File: b.File, Line: b.Line, Offset: b.Offset, Length: b.Length, Cut: b.Cut,
			Reason: convert.ReasonNotJSON, Detail: b.Reason.String(), ErrorAt: b.At, Record: b.Text})
	}
	out.Broken = p.targets[0].broken(s.Broken[0])
	if out.Read, err = recordsOf(s.Read, task.Read()); err != nil || len(p.set.sqls()) == 0 {
		return out, err
	}
	for i := range task.Targets {
		to := &task.Targets[i]
		t := PreviewTarget{Table: p.targets[i].name, Broken: p.targets[i].broken(s.Broken[i])}
		if to.SQL != "" {
			made, _, err := rowsOf(ctx, l.workers[0], &task, to)
			if err != nil {
				return nil, err
			}
			if t.Made, err = recordsOf(s.Made[i], made); err != nil {
				return nil, err
			}
		}
		out.Targets = append(out.Targets, t)
	}
	if len(out.Targets) == 1 {
		out.Made, out.Targets = out.Targets[0].Made, nil
		return out, nil
	}
	out.Broken = nil
	return out, nil
}

// recordsOf reads records, of which there may be none.
func recordsOf(records []arrow.RecordBatch, s *schema.Struct) (array.RecordReader, error) {
	columns := s.Arrow()
	if len(records) > 0 {
		columns = records[0].Schema()
	}
	return array.NewRecordReader(columns, records)
}
