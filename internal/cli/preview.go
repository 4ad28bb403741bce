package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/siltlake/silt"
	"github.com/spf13/cobra"
)

func (a *app) previewCommand() *cobra.Command {
	var options []string
	var transform, compat string
	var o silt.PreviewOptions
	cmd := &cobra.Command{
		Use:   "preview [PIPELINE] | preview SOURCE",
		Short: "Show the first rows of a source, before and after the SQL, and write nothing",
		Long: `Reads the first records of a source as a run would that loads all of it, and shows the rows that it makes
of them; with a transform also those that the SQL makes. It needs no table, and writes nothing.`,
		Example: `  silt preview ./landing
  silt preview telemetry -n 5
  silt preview ./landing --transform "select vehicle.vin, unnest(signals) from source"
  silt preview ./landing --file 2024/05/01/a.json --json`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completePipelines,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, place, err := a.previewed(cmd, args, options, transform, compat)
			if err != nil {
				return err
			}
			defer p.Close()
			shown, err := p.Preview(cmd.Context(), o)
			if errors.Is(err, silt.ErrNoFile) {
				return &usageError{problem: err.Error(), hint: "name a file by its path below the source"}
			}
			if err != nil {
				return place(err)
			}
			defer shown.Release()
			if err := a.showPreview(shown); err != nil || a.machine() {
				return err
			}
			words := []string{"silt", "plan", p.Name()}
			if len(args) == 1 && p.Name() != args[0] {
				words = []string{"silt", "init", args[0]}
			} else if a.flags.config != "" {
				words = append(words, "-c", a.flags.config)
			}
			a.next(words...)
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.Rows, "rows", "n", 20, "the number of records to read")
	f.StringVar(&o.File, "file", "", "read the file at `PATH` below the source alone")
	f.StringArrayVar(&options, "option", nil, "with SOURCE: an option, as `name=value`; repeatable")
	f.StringVar(&transform, "transform", "", "with SOURCE: `SQL` over the records; or @file")
	f.StringVar(&compat, "compat", "", "with SOURCE: the `PROFILE` to follow")
	complete(cmd, "option", completeOptions)
	complete(cmd, "compat", cobra.FixedCompletions([]string{"autoloader"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// previewed opens what the argument of preview means: a pipeline of the file, or a source. What it returns
// beside says where in the file, or in the arguments, a mistake is.
func (a *app) previewed(cmd *cobra.Command, args, options []string, transform, compat string) (*silt.Pipeline, func(error) error, error) {
	loose := len(options) > 0 || transform != "" || compat != ""
	c, err := a.configuration(len(args) == 0 && !loose)
	if err != nil {
		return nil, nil, err
	}
	all := c.pipelines()
	if len(args) == 1 && (loose || !slices.Contains(pipelineNames(all), args[0])) {
		p, err := commandPipeline(&configuration{origins: &a.origins}, args[0], "./nowhere", options, transform, compat)
		if err != nil {
			return nil, nil, err
		}
		opened, err := silt.OpenSource(cmd.Context(), p.config)
		return opened, p.located, p.located(err)
	}
	if loose {
		return nil, nil, &usageError{problem: "--option, --transform and --compat go with SOURCE; a pipeline has its own",
			hint: "change them with --set pipelines.NAME.options.name=value"}
	}
	chosen, err := c.choose(args)
	if err != nil {
		return nil, nil, err
	}
	if len(chosen) > 1 {
		return nil, nil, &usageError{problem: "which pipeline?", hint: "name one of " + some(pipelineNames(chosen), 8)}
	}
	opened, err := c.open(cmd.Context(), chosen)
	if err != nil {
		return nil, nil, err
	}
	return opened[0], func(err error) error { return c.placed(&chosen[0], err) }, nil
}

// showPreview writes rows: as tables, as one object, or those of the last step alone.
func (a *app) showPreview(p *silt.Preview) error {
	switch a.flags.output {
	case "json":
		read, err := rowsJSON(p.Read)
		if err != nil {
			return err
		}
		out := []member{{"pipeline", p.Pipeline}, {"source", p.Source}, {"read", read}}
		if p.Made != nil {
			made, err := rowsJSON(p.Made)
			if err != nil {
				return err
			}
			out = append(out, member{"made", made})
		}
		if p.Broken != nil {
			out = append(out, member{"broken", p.Broken})
		}
		if p.Targets != nil {
			targets := []any{}
			for _, t := range p.Targets {
				one := object{{"table", t.Table}}
				if t.Made != nil {
					made, err := rowsJSON(t.Made)
					if err != nil {
						return err
					}
					one = append(one, member{"made", made})
				}
				if t.Broken != nil {
					one = append(one, member{"broken", t.Broken})
				}
				targets = append(targets, one)
			}
			out = append(out, member{"targets", targets})
		}
		bad := p.Bad
		if bad == nil {
			bad = []silt.QuarantinedRecord{}
		}
		out = append(out, member{"quarantine", p.Quarantine}, member{"bad", bad})
		if len(p.Failed) > 0 {
			out = append(out, member{"failed", p.Failed})
		}
		return a.printJSON(result("silt.preview/v1", out...))
	case "jsonl", "csv", "plain":
		if p.Targets != nil {
			return &usageError{problem: "the pipeline writes several tables, whose rows have other columns", hint: "take --json"}
		}
		last := p.Read
		if p.Made != nil {
			last = p.Made
		}
		_, err := a.writeRows(last)
		return err
	}
	fmt.Fprintf(a.stdout, "%s  %s\n\n", p.Pipeline, p.Source)
	marks := p.Broken
	if p.Made != nil {
		marks = nil // they are about what is made
	}
	if err := a.previewRows(p.Read, marks); err != nil {
		return err
	}
	if p.Made != nil {
		fmt.Fprint(a.stdout, "\nthrough the SQL\n\n")
		if err := a.previewRows(p.Made, p.Broken); err != nil {
			return err
		}
	}
	for _, t := range p.Targets {
		if t.Made == nil {
			fmt.Fprintf(a.stdout, "\n%s gets them as they are\n", t.Table)
			for _, b := range t.Broken {
				fmt.Fprintf(a.stdout, "  row %d breaks %s (%s)\n", b.Row+1, b.Rule, b.OnViolation)
			}
			continue
		}
		fmt.Fprintf(a.stdout, "\nthrough the SQL of %s\n\n", t.Table)
		if err := a.previewRows(t.Made, t.Broken); err != nil {
			return err
		}
	}
	for i, why := range p.Failed[:min(len(p.Failed), 3)] {
		fmt.Fprintf(a.stdout, "%s! the SQL fails on a row, which would be quarantined: %s\n", map[bool]string{true: "\n"}[i == 0], cut(why, 200))
	}
	if p.Quarantine > 0 {
		fmt.Fprintf(a.stdout, "\n%s on the way would be quarantined:\n", count(p.Quarantine, "record"))
		for _, r := range p.Bad[:min(len(p.Bad), 3)] {
			fmt.Fprintf(a.stdout, "  %s  %s\n    %s\n", where(r.File, r.Line), r.Detail, cut(string(r.Record), 100))
		}
	}
	return nil
}

// previewRows writes rows for people, without columns that say nothing of these rows: where a row comes
// from, and what is NULL in all of them, which are counted. Before them stands which rules each breaks.
func (a *app) previewRows(r array.RecordReader, broken []silt.BrokenRule) error {
	var records []arrow.RecordBatch
	for r.Next() {
		rec := r.RecordBatch()
		rec.Retain()
		defer rec.Release()
		records = append(records, rec)
	}
	if r.Err() != nil {
		return r.Err()
	}
	var keep []int
	left := 0
	for i, f := range r.Schema().Fields() {
		empty := !slices.ContainsFunc(records, func(rec arrow.RecordBatch) bool { return rec.Column(i).NullN() < rec.Column(i).Len() })
		if slices.Contains([]string{"ingestion_timestamp", "source_file", "processing_date", "batch_id"}, f.Name) || empty && f.Name == "_rescued_data" {
			continue
		}
		if empty && len(records) > 0 {
			left++
			continue
		}
		keep = append(keep, i)
	}
	fields := make([]arrow.Field, len(keep))
	for k, i := range keep {
		fields[k] = r.Schema().Field(i)
	}
	marked := len(broken) > 0
	if marked {
		fields = append([]arrow.Field{{Name: "! breaks", Type: arrow.BinaryTypes.String}}, fields...)
	}
	some := arrow.NewSchema(fields, nil)
	var shown []arrow.RecordBatch
	first := int64(0)
	for _, rec := range records {
		columns := make([]arrow.Array, len(keep))
		for k, i := range keep {
			columns[k] = rec.Column(i)
		}
		if marked {
			marks := marksOf(broken, first, rec.NumRows())
			defer marks.Release()
			columns = append([]arrow.Array{marks}, columns...)
		}
		first += rec.NumRows()
		part := array.NewRecordBatch(some, columns, rec.NumRows())
		defer part.Release()
		shown = append(shown, part)
	}
	table, err := array.NewRecordReader(some, shown)
	if err != nil {
		return err
	}
	defer table.Release()
	if _, err = a.writeRows(table); err == nil && left > 0 {
		fmt.Fprintf(a.stdout, "and %s, NULL in all of these rows\n", count(left, "more column"))
	}
	return err
}

// marksOf says of n rows, from the first on, which rules each breaks and what that means for it.
func marksOf(broken []silt.BrokenRule, first, n int64) arrow.Array {
	texts := make([]string, n)
	for _, b := range broken {
		if i := b.Row - first; i >= 0 && i < n {
			if texts[i] != "" {
				texts[i] += ", "
			}
			texts[i] += b.Rule + " (" + b.OnViolation + ")"
		}
	}
	out := array.NewStringBuilder(memory.DefaultAllocator)
	defer out.Release()
	out.AppendValues(texts, nil)
	return out.NewArray()
}

// rowsJSON are rows as JSON has them elsewhere: objects, behind the names and types of their columns.
func rowsJSON(r array.RecordReader) (object, error) {
	names := columnNames(r.Schema())
	columns := make([]any, len(names))
	for i, name := range names {
		columns[i] = object{{"name", name}, {"type", typeText(r.Schema().Field(i).Type)}}
	}
	rows := []json.RawMessage{}
	for r.Next() {
		structs := array.RecordToStructArray(r.RecordBatch())
		for i := range structs.Len() {
			rows = append(rows, encoding{}.json(nil, structs, i))
		}
		structs.Release()
	}
	return object{{"columns", columns}, {"rows", rows}}, r.Err()
}
